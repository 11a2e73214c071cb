"""Pronounces possessives, contractions, plurals and past tenses from the dictionary's entry for the bare word.

Only the endings whose sound the rules get right more often than the letter-to-sound model does are here: on the model's
held-out words, plurals by rule have half its phoneme errors, while it beats rules for compounds, prefixes, -ing
and the other suffixes, having learned those from the dictionary's thousands.
"""

import functools

from wavegen.text import lexicon

Phonemes = tuple[str, ...]

_HISSING = frozenset(str.split("S Z SH ZH CH JH"))
_VOICELESS = frozenset(str.split("P T K F TH S SH CH"))
_CLITICS = {"'ll": "AH0 L", "'ve": "AH0 V", "'re": "ER0", "'m": "M", "n't": "AH0 N T", "'d": "D", "'em": "AH0 M"}
_AFTER_HISS = ("ses", "xes", "zes", "ches", "shes", "oes")
_SHORTEST_STEM = 3  # letters
_VOWELS = frozenset("aeiouy")


@functools.lru_cache(maxsize=65536)
def derive(word: str) -> Phonemes | None:
    """The phonemes of the lower-case ``word`` if it is a dictionary word with one of those endings, else None."""
    return _plural(word) or _past(word)


def split_clitic(word: str) -> tuple[str, str]:
    """ "irs's" is ("irs", "'s") and "they'd" ("they", "'d"); a word without such an ending is (word, "")."""
    for clitic in ("'s", *_CLITICS):
        if word.endswith(clitic) and len(word) > len(clitic):
            return word.removesuffix(clitic), clitic
    return word, ""


def with_clitic(stem: Phonemes, clitic: str) -> Phonemes:
    """The phonemes of ``stem`` with one of the endings that ``split_clitic`` finds."""
    if clitic == "'s":
        return _sibilant(stem)
    if clitic == "'d" and stem[-1] in {"D", "T"}:
        return (*stem, "AH0", "D")
    return (*stem, *_CLITICS[clitic].split())


def _sibilant(stem: Phonemes) -> Phonemes:
    if stem[-1] in _HISSING:
        return (*stem, "IH0", "Z")
    return (*stem, "S" if stem[-1] in _VOICELESS else "Z")


def _plural(word: str) -> Phonemes | None:
    if not word.endswith("s") or word.endswith(("ss", "us", "is")) or len(word) <= _SHORTEST_STEM:
        return None
    stem = lexicon.pronunciation(word[:-1])
    if stem is None and word.endswith("ies"):
        stem = lexicon.pronunciation(f"{word[:-3]}y")
    if stem is None and word.endswith(_AFTER_HISS):
        stem = lexicon.pronunciation(word[:-2])
    return stem and _sibilant(stem)


def _past(word: str) -> Phonemes | None:
    if not word.endswith("ed"):
        return None
    for stem in _verbs(word[:-2]):
        if sounds := lexicon.pronunciation(stem):
            if sounds[-1] in {"T", "D"}:
                return (*sounds, "IH0", "D")
            return (*sounds, "T" if sounds[-1] in _VOICELESS else "D")
    return None


def _verbs(trunk: str) -> list[str]:
    """What may have lost its ending before -ed: "hope" or "fix", "stop" ("stopp-"), "carry" ("carri-")."""
    if len(trunk) < _SHORTEST_STEM:
        return []
    ends_short = trunk[-1] not in _VOWELS and trunk[-2] in _VOWELS
    found = [f"{trunk}e", trunk] if ends_short else [trunk, f"{trunk}e"]
    if trunk[-1] == trunk[-2] and trunk[-1] not in _VOWELS:
        found.append(trunk[:-1])
    if trunk.endswith("i"):
        found.append(f"{trunk[:-1]}y")
    return found
