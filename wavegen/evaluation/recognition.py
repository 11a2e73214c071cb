"""Speech recognition by pocketsphinx (Huggins-Daines et al. 2006) with the US-English models its package brings."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from wavegen.audio.io import Audio
from wavegen.errors import InputError
from wavegen.evaluation.dependencies import require
from wavegen.evaluation.error_rates import words

RATE = 16000
LEVEL_DB = -20.0  # root mean square, full scale = 0 dB
PADDING = 0.2  # seconds of digital silence before and after
GRAMMAR = "sentences"


class Recognizer:
    """One decoder for many recordings; what it hears depends on the recording alone, never on those before it.

    Cepstral means are those of the whole recording, and the front end starts anew for each. Raises
    MissingDependencyError without pocketsphinx.
    """

    def __init__(self) -> None:
        require("pocketsphinx")
        from pocketsphinx import Decoder  # type: ignore[import-untyped]

        self._decoder = Decoder(loglevel="FATAL", samprate=RATE, cmn="batch")
        self._closed_set: tuple[str, ...] = ()

    def transcribe(self, audio: Audio) -> str:
        """The likeliest words by the package's trigram model, lower case; "" if nothing was heard."""
        self._decoder.activate_search()
        return self._decode(audio)

    def identify(self, audio: Audio, sentences: Sequence[str]) -> int | None:
        """Index of the one of ``sentences`` that was most likely said; None if no whole sentence fits.

        Raises InputError if there are no sentences, one of them has no words, or two have the same words.
        """
        spoken = [" ".join(words(sentence)) for sentence in sentences]
        if tuple(spoken) != self._closed_set:
            grammar = jsgf(sentences)
            self._add_words(sorted({word for sentence in spoken for word in sentence.split()}))
            self._decoder.add_jsgf_string(GRAMMAR, grammar)
            self._closed_set = tuple(spoken)
        self._decoder.activate_search(GRAMMAR)
        heard = self._decode(audio)
        return spoken.index(heard) if heard in spoken else None

    def _add_words(self, vocabulary: Sequence[str]) -> None:
        for word in vocabulary:
            if self._decoder.lookup_word(word) is None:
                self._decoder.add_word(word, " ".join(pronunciation(word)), True)

    def _decode(self, audio: Audio) -> str:
        decoder = self._decoder
        decoder.reinit_feat()  # forgets the noise that it has learnt from earlier recordings
        decoder.start_utt()
        decoder.process_raw(recogniser_input(audio).tobytes(), no_search=False, full_utt=True)
        decoder.end_utt()
        hypothesis = decoder.hyp()
        return "" if hypothesis is None else str(hypothesis.hypstr)


def recogniser_input(audio: Audio) -> NDArray[np.int16]:
    """Channels averaged, 16 kHz, -20 dB RMS unless that would clip, 0.2 s of silence at both ends; (samples,) int16.

    Raises InputError for audio without samples.
    """
    if not audio.samples.size:
        raise InputError("speech recognition needs audio, got no samples")
    mono = audio.mono().resample(RATE).samples[0].astype(np.float64)
    rms, peak = np.sqrt(np.mean(np.square(mono))), np.abs(mono).max()
    if peak > 0.0:
        mono = mono * min(10.0 ** (LEVEL_DB / 20.0) / rms, 1.0 / peak)
    return np.pad(np.rint(mono * 32767.0).astype(np.int16), round(PADDING * RATE))


def jsgf(sentences: Sequence[str]) -> str:
    """A JSGF grammar (Java Speech Grammar Format 1.0) in which every sentence is one alternative, all equally likely.

    Raises InputError if there are no sentences, one of them has no words, or two have the same words.
    """
    alternatives = [" ".join(words(sentence)) for sentence in sentences]
    if not alternatives:
        raise InputError("a closed set needs at least one sentence")
    for sentence, alternative in zip(sentences, alternatives, strict=True):
        if not alternative:
            raise InputError(f"sentence {sentence!r} has no words")
        if alternatives.count(alternative) > 1:
            raise InputError(f"sentence {sentence!r} is in the closed set more than once")
    return f"#JSGF V1.0; grammar {GRAMMAR}; public <sentence> = {' | '.join(alternatives)};"


def pronunciation(word: str) -> list[str]:
    """Phonemes of a word in the recogniser's set: ARPAbet without stress."""
    from wavegen.text import phonemize
    from wavegen.text.symbols import PHONEMES

    return [symbol.rstrip("012") for symbol in phonemize(word) if symbol in PHONEMES]
