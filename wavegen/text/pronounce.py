"""One normalised sentence's words to phonemes: dictionary and context, then word endings, then letter to sound."""

import functools
import re
from collections.abc import Sequence

from wavegen.text import heteronyms, lexicon, morphology
from wavegen.text.symbols import VOWELS

Phonemes = tuple[str, ...]

_LONGEST = 40  # letters: whatever is longer is no word, so it is cut and read with less care
_QUICK_BEAM = 3
_LONGEST_SPELLED = 5
_VOWEL = re.compile(r"[aeiouy]")
_DRAWN_OUT = re.compile(r"([a-z])\1{2,}")


def starts_with_vowel(phonemes: Sequence[str]) -> bool:
    """Whether the first phoneme is a vowel, so that "the" before it is DH IY0."""
    return bool(phonemes) and phonemes[0].rstrip("012") in VOWELS


def word_in_context(words: Sequence[str], place: int) -> Phonemes:
    """The phonemes of ``words[place]`` in a clause; words are letters and apostrophes, capital only where written so.

    "the" is left in its form before a consonant. Every word of letters gets at least one phoneme.
    """
    return heteronyms.pronounce(words, place) or word(words[place].lower())


@functools.lru_cache(maxsize=65536)
def word(spelling: str) -> Phonemes:
    """The phonemes of one lower-case word of a-z and apostrophes, whatever its neighbours."""
    if found := lexicon.pronunciation(spelling) or morphology.derive(spelling):
        return found
    stem, clitic = morphology.split_clitic(spelling)
    if clitic:
        return morphology.with_clitic(word(stem), clitic)
    if "'" in spelling:
        return word(spelling.replace("'", ""))
    for times in _lengths(spelling):
        if (shorter := _DRAWN_OUT.sub(times, spelling)) != spelling and lexicon.known(shorter):
            return word(shorter)
    if len(spelling) <= _LONGEST_SPELLED and not _VOWEL.search(spelling):
        return tuple(sound for letter in spelling for sound in lexicon.pronunciation(letter) or ())
    return _from_letters(_DRAWN_OUT.sub(r"\1\1", spelling))


def _lengths(spelling: str) -> tuple[str, str]:
    """How often to keep the letter of a drawn-out run, likeliest first: "coool" has two, "sooo" and "yesss" one."""
    once_at_end = re.search(r"([a-df-z])\1\1$", spelling)
    return (r"\1", r"\1\1") if once_at_end else (r"\1\1", r"\1")


def _from_letters(spelling: str) -> Phonemes:
    from wavegen.text import g2p

    model = g2p.shipped()
    if len(spelling) <= _LONGEST:
        return model.pronounce(spelling)
    parts = (spelling[i : i + _LONGEST] for i in range(0, len(spelling), _LONGEST))
    return tuple(sound for part in parts for sound in model.pronounce(part, _QUICK_BEAM))
