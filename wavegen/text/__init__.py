"""Text to phonemes: sentences and pauses, normalised words, pronunciations."""

from wavegen.text.frontend import Pause, Utterance, analyse, phonemize

__all__ = ["Pause", "Utterance", "analyse", "phonemize"]
