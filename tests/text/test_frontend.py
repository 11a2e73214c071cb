"""Text to phonemes: form, pronunciations in context, markup, limits, errors."""

import itertools
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavegen.errors import InputError
from wavegen.text import Pause, Utterance, analyse, phonemize
from wavegen.text.symbols import PHONEMES, PUNCTUATION, SYMBOLS, WORD


def said(sentence: str) -> list[str]:
    """The words of ``sentence`` as strings of phonemes, punctuation apart."""
    symbols = " ".join("/" if symbol == WORD else symbol for symbol in phonemize(sentence) if symbol not in PUNCTUATION)
    return [word.strip() for word in symbols.split("/")]


def test_form() -> None:
    assert phonemize("The quick, fox.") == (
        "DH", "AH0", " ", "K", "W", "IH1", "K", ",", " ", "F", "AA1", "K", "S", ".",
    )  # fmt: skip
    assert phonemize("Hi") == ("HH", "AY1")
    assert phonemize("No. Yes!") == ("N", "OW1", ".", " ", "Y", "EH1", "S", "!")


PRONUNCIATIONS = [
    ("The apple", 0, "DH IY0"),
    ("The hour", 0, "DH IY0"),
    ("The FBI", 0, "DH IY0"),
    ("The one", 0, "DH AH0"),
    ("The university", 0, "DH AH0"),
    ("The [[IY]]", 0, "DH IY0"),
    ("A cat", 0, "AH0"),
    ("I will read it", 2, "R IY1 D"),
    ("He read it", 1, "R EH1 D"),
    ("I have read it", 2, "R EH1 D"),
    ("Read it", 0, "R IY1 D"),
    ("They read books", 1, "R IY1 D"),
    ("I read it yesterday", 1, "R EH1 D"),
    ("a good read", 2, "R IY1 D"),
    ("Lead the way", 0, "L IY1 D"),
    ("a lead pipe", 1, "L EH1 D"),
    ("made of lead", 2, "L EH1 D"),
    ("They live here", 1, "L IH1 V"),
    ("a live show", 1, "L AY1 V"),
    ("their lives", 1, "L AY1 V Z"),
    ("He lives here", 1, "L IH1 V Z"),
    ("The wind blew", 1, "W IH1 N D"),
    ("Wind up the clock", 0, "W AY1 N D"),
    ("a deep wound", 2, "W UW1 N D"),
    ("He wound up here", 1, "W AW1 N D"),
    ("Do not tear it", 2, "T EH1 R"),
    ("A tear rolled", 1, "T IH1 R"),
    ("Please close the door", 1, "K L OW1 Z"),
    ("It is close to me", 2, "K L OW1 S"),
    ("a close friend", 1, "K L OW1 S"),
    ("Use it", 0, "Y UW1 Z"),
    ("the use of it", 1, "Y UW1 S"),
    ("I used to go", 1, "Y UW1 S T"),
    ("It is used to cut", 2, "Y UW1 Z D"),
    ("to record it", 1, "R AH0 K AO1 R D"),
    ("a record", 1, "R EH1 K ER0 D"),
    ("He records it", 1, "R AH0 K AO1 R D Z"),
    ("They object", 1, "AH0 B JH EH1 K T"),
    ("The object", 1, "AA1 B JH EH0 K T"),
    ("to present it", 1, "P R IY0 Z EH1 N T"),
    ("the present", 1, "P R EH1 Z AH0 N T"),
    ("We strongly suspect him", 2, "S AH0 S P EH1 K T"),
    ("an estimate", 1, "EH1 S T AH0 M AH0 T"),
    ("We estimate it", 1, "EH1 S T AH0 M EY2 T"),
    ("The desert", 1, "D EH1 Z ER0 T"),
    ("I am content", 2, "K AH0 N T EH1 N T"),
    ("a minute amount", 1, "M AY0 N UW1 T"),
    ("Wait a minute", 2, "M IH1 N AH0 T"),
    ("the Polish flag", 1, "P OW1 L IH0 SH"),
    ("to polish it", 1, "P AA1 L IH0 SH"),
    ("to house the poor", 1, "HH AW1 Z"),
    ("Resume your resume", 2, "R EH1 Z AH0 M EY2"),
    ("Wavegen", 0, "W EY1 V JH EH2 N"),
    ("wavegen's", 0, "W EY1 V JH EH2 N Z"),
    ("NASA's", 0, "N AE1 S AH0 Z"),
    ("IRS's", 0, "AY1 AA2 R EH1 S IH0 Z"),
    ("tweeted", 0, "T W IY1 T IH0 D"),
    ("palmprints", 0, "P AA1 M P R IH2 N T S"),
    ("they'd've", 0, "DH EY1 D AH0 V"),
    ("sooooo coool", 1, "K UW1 L"),
    ("sooooo coool", 0, "S OW1"),
    ("xkcd", 0, "EH1 K S K EY1 S IY1 D IY1"),
    ("café", 0, "K AH0 F EY1"),
    ("U.S.A.", 2, "EY1"),
]


@pytest.mark.parametrize(("sentence", "place", "phonemes"), PRONUNCIATIONS)
def test_pronunciation(sentence: str, place: int, phonemes: str) -> None:
    assert said(sentence)[place] == phonemes


def test_inline_pronunciations() -> None:
    assert said("say [[HH AH L OW]] now")[1] == "HH AH1 L OW0"
    assert said("[[HH AH0 L OW1]]") == ["HH AH0 L OW1"]
    assert said("[[hh ah l ow1]]") == ["HH AH0 L OW1"]
    assert said("a [[K AE1 T | S AE T]], b") == ["AH0", "K AE1 T", "S AE1 T", "B IY1"]
    assert phonemize("one [[T UW1]].")[-3:] == ("T", "UW1", ".")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[[HH QQ1]]", "'QQ1'"),
        ("[[B1]]", "'B1'"),
        ("[[AH3]]", "'AH3'"),
        ("[[]]", "without phonemes"),
        ("[[K AE1 T | ]]", "without phonemes"),
        ("[[HH AH0", "other half"),
        ("HH]] it", "other half"),
        ("[[" + "AH " * 201 + "]]", "too long"),
        ("go [pause:fast] on", "pause:fast"),
        ("go [pause:-1s] on", "pause:-1s"),
        ("go [pause:61s] on", "longer than 60 s"),
        ("go [pause:5] on", "pause:5"),
        ("go [pause:500ms on", "other half"),
        ("", "empty"),
        (" \n ", "empty"),
        ("***", "ASTERISK"),
        ("😀", "GRINNING FACE"),
        ("[pause:1s]", "only pauses"),
        ("привет", "CYRILLIC SMALL LETTER PE"),
        ("hello мир", "CYRILLIC SMALL LETTER EM"),
        ("private \ue000 use", "U\\+E000"),
    ],
)
def test_faults_are_named_in_one_line(text: str, named: str) -> None:
    with pytest.raises(InputError, match=named) as caught:
        analyse(text)
    assert "\n" not in str(caught.value)


def test_phonemize_refuses_a_pause_and_silence() -> None:
    with pytest.raises(InputError, match="pause"):
        phonemize("one [pause:1s] two")
    with pytest.raises(InputError, match="empty"):
        phonemize("")


def test_analyse_keeps_order_pauses_and_the_written_text() -> None:
    items = analyse("Hello there. It's [[W AH1 N]]! [pause:500ms] Bye. [PAUSE: 1.5 s] [pause:0s] End")
    assert [item.seconds if isinstance(item, Pause) else item.text for item in items] == [
        "Hello there.", "It's [[W AH1 N]]!", 0.5, "Bye.", 1.5, "End",
    ]  # fmt: skip
    assert items[0] == Utterance("Hello there.", phonemize("Hello there."))
    assert isinstance(items[1], Utterance)
    assert items[1].phonemes == ("IH1", "T", "S", " ", "W", "AH1", "N", "!")


def test_each_sentence_gets_its_own_inline_pronunciations() -> None:
    items = analyse("[[AH1]] one. Two [[IY1]]. Three. " + "word [[UW1]] " * 100)
    vowels = [[s for s in item.phonemes if s in ("AH1", "IY1", "UW1")] for item in items if isinstance(item, Utterance)]
    assert vowels[0] == ["AH1", "AH1"]  # its own, and that of "one"
    assert vowels[1][-1] == "IY1"
    assert sum(found.count("UW1") for found in vowels[3:]) == 100


@pytest.mark.parametrize(
    "text",
    [
        "The quick brown fox jumped over a lazy dog while nobody was watching it " * 14,
        "onegiantword" * 840,
        "7" * 10_000,
        "a" * 10_000,
        "W" * 10_000,
        "[[AH0 B AH1]]" * 600,
        "[[" + "AH0 " * 200 + "]]" + "[[" + "AH0 " * 200 + "]]",
        "1/2" * 3000,
        "." * 9_999 + "a",
        " " * 9_999 + "a",
        "-" * 9_999 + "a",
        "a-" * 5_000,
        "'a" * 5_000,
        "5'" * 5_000,
    ],
)
def test_any_ten_thousand_characters_are_quick_and_in_small_parts(text: str) -> None:
    phonemize("warm up xqzvarg")  # loads the dictionary and the letter-to-sound model
    begin = time.process_time()
    items = analyse(text)
    assert time.process_time() - begin < 3.0  # ten times what it takes
    assert all(isinstance(item, Utterance) and 0 < len(item.phonemes) <= 250 for item in items)


@settings(max_examples=200, deadline=None)
@given(
    st.text(st.characters(max_codepoint=0x24F))
    | st.lists(st.sampled_from(str.split("[[ ]] AH0 [pause:1s] [ ] | hello 5 . ? U.S. é $ ' the"))).map(" ".join)
)
def test_symbols_or_an_input_error(text: str) -> None:
    try:
        items = analyse(text)
    except InputError:
        return
    for item in items:
        if isinstance(item, Utterance):
            assert set(item.phonemes) <= {*PHONEMES, *PUNCTUATION, WORD}
            assert 0 < len(item.phonemes) <= 250
            assert item.phonemes[0] in PHONEMES
            assert item.phonemes[-1] != WORD
            for before, after in itertools.pairwise(item.phonemes):
                assert before in PHONEMES or (after in PHONEMES if before == WORD else after == WORD)
        else:
            assert 0.0 < item.seconds <= 60.0


def test_symbols_are_those_of_the_models() -> None:
    assert len(SYMBOLS) == len(set(SYMBOLS)) == 77


def test_import_is_light() -> None:
    code = "import sys, wavegen.text as t; t.phonemize('hello world'); assert not {'numpy', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_dictionary_loads_quickly() -> None:
    code = (
        "import time; from wavegen.text import lexicon; begin = time.process_time(); "
        "assert lexicon.pronunciation('zebra'); assert time.process_time() - begin < 0.75"  # three times the budget
    )
    subprocess.run([sys.executable, "-c", code], check=True)
