"""The letter-to-sound model: what the shipped one says, and that training makes one that works."""

import math
from pathlib import Path

import numpy as np
import pytest

from wavegen.errors import InputError
from wavegen.text import graphones, lexicon, ngram, train_g2p
from wavegen.text.g2p import LetterToSound, shipped
from wavegen.text.symbols import PHONEMES

INDEX = {phoneme: i for i, phoneme in enumerate(PHONEMES)}


def held_out() -> train_g2p.Pronunciations:
    """The dictionary's words that the shipped model never saw, one in ten of them."""
    lines = [f"{word} {entry}" for word, entry in lexicon._entries().items()]
    words = train_g2p.read_dictionary("\n".join(lines))[1]
    return {word: words[word] for word in sorted(words)[::10]}


def test_held_out_error_rates() -> None:
    words = held_out()
    assert len(words) > 500
    assert train_g2p.error_rates(shipped(), words, stress=True)[0] < 0.11
    phoneme, word = train_g2p.error_rates(shipped(), words, stress=False)
    assert phoneme < 0.085
    assert word < 0.32


@pytest.mark.parametrize(
    ("word", "phonemes"),
    [
        ("spectrogram", "S P EH1 K T R AH0 G R AE2 M"),
        ("chatbot", "CH AE1 T B AH2 T"),
        ("calcraft", "K AE1 L K R AE2 F T"),
        ("phinkly", "F IH1 NG K L IY0"),
        ("strobing", "S T R OW1 B IH0 NG"),
    ],
)
def test_plausible(word: str, phonemes: str) -> None:
    assert shipped().pronounce(word) == tuple(phonemes.split())


def test_one_primary_stress() -> None:
    for word in ("antidisestablishmentarianism", "zorblaxian", "blorp", "wugs", "a"):
        assert sum(sound.endswith("1") for sound in shipped().pronounce(word)) == 1


def test_edit_distance() -> None:
    assert train_g2p._distance("kitten", "sitting") == 3
    assert train_g2p._distance("", "abc") == 3
    assert train_g2p._distance("abc", "abc") == 0


def test_error_rates_count_against_the_nearest_pronunciation() -> None:
    class Parrot(LetterToSound):
        def __init__(self) -> None:
            pass

        def pronounce(self, word: str, beam: int = 1) -> tuple[str, ...]:
            return ("K", "AE1", "T")

    words: train_g2p.Pronunciations = {
        "cat": [("S",), ("K", "AE1", "T")],
        "bat": [("B", "AE1", "T")],
        "cad": [("K", "AE0", "T", "S")],
    }
    assert train_g2p.error_rates(Parrot(), words, stress=True) == (3 / 10, 2 / 3)
    assert train_g2p.error_rates(Parrot(), words, stress=False) == (2 / 10, 2 / 3)


def test_graphone_codes_round_trip() -> None:
    for sounds in ((), (0,), (68,), (0, 0), (68, 68), (3, 41)):
        assert graphones.parts(graphones.code(25, sounds)) == (25, sounds)


def test_alignment_finds_the_silent_letters() -> None:
    pairs = {
        "ban": "B AE1 N",
        "nab": "N AE1 B",
        "bane": "B EY1 N",
        "nabe": "N EY1 B",
        "box": "B AA1 K S",
        "ox": "AA1 K S",
        "bob": "B AA1 B",
    }
    entries = [(word, [INDEX[sound] for sound in sounds.split()]) for word, sounds in pairs.items()] * 5
    aligned = graphones.align([*entries, ("b", [0, 1, 2])])  # three phonemes cannot stand for one letter
    assert len(aligned) == len(entries)
    read = {
        "".join(chr(97 + graphones.parts(g)[0]) for g in row): [graphones.parts(g)[1] for g in row] for row in aligned
    }
    assert read["bane"] == [(INDEX["B"],), (INDEX["EY1"],), (INDEX["N"],), ()]
    assert read["box"] == [(INDEX["B"],), (INDEX["AA1"],), (INDEX["K"], INDEX["S"])]


def test_ngram_probabilities_sum_to_one() -> None:
    rng = np.random.default_rng(0)
    vocabulary = 9
    sequences = [rng.integers(2, vocabulary, size=rng.integers(1, 9)).tolist() for _ in range(300)]
    orders = ngram.train(sequences, vocabulary, 4, threshold=0.5)
    kept = [len(order.token) for order in orders]
    whole = [len(order.token) for order in ngram.train(sequences, vocabulary, 4, threshold=0.0)]
    assert kept[:2] == whole[:2]
    assert sum(kept) < sum(whole)

    def probability(order: int, history: int, token: int) -> float:
        """P(token | n-gram ``history`` of ``order`` tokens), straight from the definition of backing off."""
        if order == 0:
            return float(orders[0].probability[token])
        above = orders[order] if order < len(orders) else None
        if above is not None:
            found = np.nonzero((above.history == history) & (above.token == token))[0]
            if found.size:
                return float(above.probability[found[0]])
        below = orders[order - 1]
        shorter = int(below.suffix[history]) if order > 1 else 0
        return float(below.backoff[history]) * probability(order - 1, shorter, token)

    for order in (1, 2, 3):
        for history in range(0, len(orders[order - 1].token), 7):
            if order == 1 and history == ngram.END:
                continue
            total = math.fsum(probability(order, history, token) for token in range(1, vocabulary))
            if orders[order - 1].token[history] != ngram.END:
                assert total == pytest.approx(1.0, abs=1e-6)


@pytest.fixture(scope="module")
def dictionary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language whose spelling is its sound, "x" excepted, which is two, and "e" at the end, which is none."""
    sounds = {"b": "B", "d": "D", "f": "F", "k": "K", "m": "M", "n": "N", "x": "K S"}
    lines = []
    for first in sounds:
        for vowel, said in (("a", "AE1"), ("i", "IH1"), ("o", "AA1")):
            for last in sounds:
                for silent in ("", "e"):
                    lines.append(f"{first}{vowel}{last}{silent} {sounds[first]} {said} {sounds[last]}")
    path = tmp_path_factory.mktemp("g2p") / "toy.dict"
    path.write_text("\n".join([*lines, "x2 EH1 K S", "tsk T S K", "bad(2) B EY1 D # comment"]))
    return path


def test_training_command(dictionary: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = dictionary.with_name("toy.npz")
    train_g2p.main([str(dictionary), "-o", str(output)])
    report = capsys.readouterr().out
    assert "held-out words, with stress: PER 0.00%, WER 0.00%" in report
    assert "without stress" in report
    assert LetterToSound.load(output).pronounce("fixe") == ("F", "IH1", "K", "S")
    first = output.read_bytes()
    train_g2p.main([str(dictionary), "-o", str(output)])
    assert output.read_bytes() == first
    assert sorted(path.name for path in dictionary.parent.iterdir()) == ["toy.dict", "toy.npz"]


def test_held_out_words_are_not_trained_on(dictionary: Path) -> None:
    train, test = train_g2p.read_dictionary(dictionary.read_text())
    assert test
    assert not set(train) & set(test)
    assert {"x2", "tsk"}.isdisjoint(train | test)
    assert ("B", "EY1", "D") in (train | test)["bad"]


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "notes.npz"
    text.write_text("not a zip")
    with pytest.raises(InputError, match=r"notes\.npz"):
        LetterToSound.load(text)
    other = tmp_path / "other.npz"
    np.savez(other, something=np.zeros(3))
    with pytest.raises(InputError, match=r"other\.npz"):
        LetterToSound.load(other)
    with pytest.raises(InputError, match=r"absent\.npz"):
        LetterToSound.load(tmp_path / "absent.npz")
