"""Initials, acronyms and words with capitals inside: spelled, said as one word, or split."""

import re

from wavegen.text import lexicon
from wavegen.text.abbreviations import final_stop
from wavegen.text.spelling import letters

_SPELLED = frozenset(  # the dictionary has these as other words
    str.split("SEC SAT LED DEA FYI IDE NGO ROI UPS RAF AKA CIO ENT MIA EST")
)
_SHORT_WORDS = frozenset(  # two capitals that are a shouted word rather than an acronym
    str.split("AM AN AS AT BE BY DO GO HA HE HI HO IF IN IS IT ME MR MS MY NO OF OH OK ON OR OX SO TO UP WE YE YO")
)
_IT_TRADE = re.compile(
    r"\bIT(?=\s+(?:department|support|security|manager|professional|infrastructure|team|systems?|industry|staff|specialist|service)s?\b)"
)
_THE_WHO = re.compile(r"(?<=\b[Tt]he )WHO\b")
_LONGEST_SPELLED = 5
_VOWEL = re.compile(r"[AEIOUY]", re.IGNORECASE)

_INITIALS = re.compile(
    r"(?<![\w.'])(?:[A-Za-z]\.\s?(?=[A-Za-z]\.))+[A-Za-z]\.(?:'?s\b)?(?!\w)|(?<![\w.'])[A-Z]\.(?=\s+[A-Z]|\s*,)"
)
_DEGREE = re.compile(r"\bPh\.\s?D\b\.?")
_ACRONYM = re.compile(r"(?<![\w'])([A-Z]{2,})('?s|'S)?(?![\w'])")
_CAMEL = re.compile(r"(?<![\w'])[A-Za-z]*[a-z][A-Z][A-Za-z]*(?![\w'])")
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_NAME_PREFIX = re.compile(r"(?:Mc|Mac|O)[A-Z][a-z]+$")
_LETTER_A = re.compile(r"(?<![\w'])A(?=\s*(?:[,.;:?!)]|$))")


def say_initials(sentence: str) -> str:
    """ "U.S." is "u s", "J. R. R. Tolkien" "j r r Tolkien"; a full stop that ends the sentence stays."""
    sentence = _DEGREE.sub(lambda m: letters("phd") + final_stop(m), sentence)
    return _INITIALS.sub(_initials, sentence)


def say_acronyms(sentence: str) -> str:
    """Words in capitals: said as the dictionary has them (NASA), else spelled (HTTP) or, if long, left as a word.

    A sentence without any small letter is taken as shouted: then only what cannot be a word is spelled.
    """
    shouted = not re.search(r"[a-z]", sentence) and len(re.findall(r"[A-Z]{2,}", sentence)) > 1
    if not shouted:
        sentence = _IT_TRADE.sub("i t", sentence)
        sentence = _THE_WHO.sub(letters("who"), sentence)
    sentence = _CAMEL.sub(_split, sentence)
    sentence = _LETTER_A.sub(letters("a"), sentence)
    return _ACRONYM.sub(lambda m: _acronym(m[1], m[2] or "", shouted), sentence)


def _initials(match: re.Match[str]) -> str:
    owner = re.search(r"'?s$", match[0])
    names = letters("".join(re.findall(r"[A-Za-z](?=\.)", match[0])))
    return f"{names}'s" if owner else names + final_stop(match)


def _acronym(word: str, ending: str, shouted: bool) -> str:
    if _is_word(word, shouted) or (ending and lexicon.known(f"{word}{ending}".lower())):
        return f"{word}{ending}".lower()
    return letters(word) + ("'s" if ending else "")


def _is_word(word: str, shouted: bool) -> bool:
    if lexicon.known(word.lower()):
        pronounced = lexicon.pronunciation(word.lower()) or ()
        spelled = len(word) == 2 and sum(sound[-1] in "012" for sound in pronounced) == 1
        return shouted or (word not in _SPELLED and not (spelled and word not in _SHORT_WORDS))
    return bool(_VOWEL.search(word)) and len(word) > (3 if shouted else _LONGEST_SPELLED)


def _split(match: re.Match[str]) -> str:
    word = match[0]
    if lexicon.known(word.lower()) or _NAME_PREFIX.match(word):
        return word.lower()
    return _HUMP.sub(" ", word)
