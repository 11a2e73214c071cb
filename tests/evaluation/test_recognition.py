import numpy as np
import pytest

from wavegen.audio.io import Audio
from wavegen.errors import InputError
from wavegen.evaluation import recognition
from wavegen.evaluation.harvard import HARVARD_SENTENCES
from wavegen.text.symbols import CONSONANTS, VOWELS


def tone(seconds: float, rate: int = 24000, level: float = 0.1, channels: int = 1) -> Audio:
    t = np.arange(round(seconds * rate)) / rate
    return Audio(np.tile(level * np.sin(2 * np.pi * 220 * t), (channels, 1)).astype(np.float32), rate)


class TestGrammar:
    def test_of_sentences(self) -> None:
        assert recognition.jsgf(["It's, well -- fine.", "No!"]) == (
            "#JSGF V1.0; grammar sentences; public <sentence> = it's well fine | no;"
        )

    @pytest.mark.parametrize(
        ("sentences", "message"),
        [
            ([], "at least one"),
            (["Yes.", "?!"], r"'\?!' has no words"),
            (["Yes.", "No.", "yes"], "'Yes.' is in the closed set more than once"),
        ],
    )
    def test_that_cannot_be_one(self, sentences: list[str], message: str) -> None:
        with pytest.raises(InputError, match=message):
            recognition.jsgf(sentences)


def test_pronunciation_is_in_the_recognisers_phonemes() -> None:
    phonemes = recognition.pronunciation("smoky")
    assert len(phonemes) >= 4
    assert set(phonemes) <= {*VOWELS, *CONSONANTS}


class TestInput:
    @pytest.mark.parametrize(("rate", "channels", "level"), [(24000, 1, 0.01), (16000, 2, 0.9), (44100, 1, 0.3)])
    def test_rate_level_and_padding(self, rate: int, channels: int, level: float) -> None:
        x = recognition.recogniser_input(tone(1.0, rate, level, channels))
        assert x.dtype == np.int16
        assert len(x) == pytest.approx(16000 + 2 * 3200, abs=2)
        assert not x[:3200].any()
        assert not x[-3200:].any()
        inside = x[3200:-3200] / 32767
        assert np.sqrt(np.mean(inside**2)) == pytest.approx(0.1, rel=0.01)
        crossings = np.count_nonzero(np.diff(np.signbit(inside[1000:-1000]))) / 2 / (len(inside) - 2000) * 16000
        assert crossings == pytest.approx(220, rel=0.01)

    def test_never_clips(self) -> None:
        click = np.zeros(16000, np.float32)
        click[8000] = 0.02
        x = recognition.recogniser_input(Audio(click, 16000))
        assert np.abs(x.astype(int)).max() == 32767

    def test_silence_stays_silent(self) -> None:
        assert not recognition.recogniser_input(Audio(np.zeros((1, 800), np.float32), 16000)).any()

    def test_no_samples(self) -> None:
        with pytest.raises(InputError, match="no samples"):
            recognition.recogniser_input(Audio(np.zeros((1, 0), np.float32), 16000))


@pytest.fixture(scope="module")
def recognizer() -> recognition.Recognizer:
    pytest.importorskip("pocketsphinx")
    return recognition.Recognizer()


class TestRecognizer:
    @pytest.mark.parametrize(
        "audio", [tone(0.001), tone(1.0), tone(1.0, level=0.0)], ids=["24 samples", "tone", "silence"]
    )
    def test_hears_no_sentence_in_what_is_none(self, recognizer: recognition.Recognizer, audio: Audio) -> None:
        assert len(recognizer.transcribe(audio).split()) <= 2
        assert recognizer.identify(audio, HARVARD_SENTENCES) is None

    def test_does_not_remember_what_it_heard(self, recognizer: recognition.Recognizer) -> None:
        """The score of the best path shows what a transcript may hide: means or noise learnt from other recordings."""
        noise = Audio(np.random.default_rng(0).standard_normal((1, 8000)) * 0.1, 16000)

        def score(audio: Audio) -> float:
            recognizer.transcribe(audio)
            return float(recognizer._decoder.hyp().best_score)

        first = score(tone(0.5))
        score(noise)
        recognizer.identify(noise, ["yes", "no"])
        assert score(tone(0.5)) == first

    def test_words_beyond_the_dictionary_and_new_closed_sets(self, recognizer: recognition.Recognizer) -> None:
        for sentences in (["The zorblatt sang.", "No."], ["A wuzzlefen, 'twas.", "It's it."], ["The zorblatt sang."]):
            assert recognizer.identify(tone(0.3), sentences) in (None, *range(len(sentences)))

    def test_duplicates_are_refused(self, recognizer: recognition.Recognizer) -> None:
        with pytest.raises(InputError, match="more than once"):
            recognizer.identify(tone(0.3), ["Yes.", "yes"])
