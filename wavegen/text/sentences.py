"""Splits text into sentences at full stops, question and exclamation marks, and line ends.

A full stop after an abbreviation, an initial or a list number ends nothing, unless a likely first word follows.
"""

import re

from wavegen.text import abbreviations

LONGEST = 300  # characters; a longer sentence is cut where it hurts least

_STARTERS = frozenset(
    str.split(
        "a after all also although an and another any are as at because before both but by can despite did do "
        "does during each even every finally first for from had has have he her here hers his how however i "
        "if in indeed instead is it its last later let many meanwhile more most my neither nevertheless "
        "next no nobody none nor not nothing now of on once one only or others our over people perhaps please "
        "she should since so some someone soon still such than that the their them then there therefore these "
        "they this those though through thus to today together tomorrow under unless until was we were what "
        "when where whether which while who why will with within without would yes yet you your"
    )
)
_NEVER_LAST = abbreviations.TITLES | frozenset(
    str.split("e.g i.e cf v vs viz approx ca no nos p pp fig figs vol vols ch eq sec al")
)
_UNITS = frozenset(str.split("in ft yd mi lb lbs oz gal qt sec min hr hrs yr yrs"))
_NOT_AFTER_TIME = frozenset(
    str.split(
        "eastern central mountain pacific monday tuesday wednesday thursday friday saturday sunday est edt "
        "cst cdt mst mdt pst pdt gmt utc bst cet et pt ct"
    )
)
_END = re.compile(r"""(?<![.?!…])(?P<marks>[.?!…]+)(?P<closers>["'”’»)\]}*_]*)(?P<space>\s+|\Z)""")
_LAST_TOKEN = re.compile(r"""[^\s("'“\u2018«\[{—–-]*\Z""")
_NEXT_WORD = re.compile(r"""[\s"'“\u2018«(\[{*_¿¡-]*([^\W\d_][\w'’]*|\d|\S)?""")
_LINES = re.compile(r"[\n\r\x0b\x0c\x85\u2028\u2029]+")
_CUTS = (
    re.compile(r"[;:—–.?!][\"'”’)\]]*\s+|\s+[—–-]+\s+"),
    re.compile(r",[\"'”’)\]]*\s+"),
    re.compile(r"\s+(?=(?:and|or|but|because|which|that|while|when|where|who|so|then|if|as|than)\s)"),
    re.compile(r"\s+"),
)


def split_sentences(text: str) -> list[str]:
    """The sentences of ``text`` in order, stripped, none empty and none longer than 300 characters.

    A longer one is cut after a semicolon, else a comma, else before a conjunction, else between words, else anywhere.
    """
    return [piece for sentence in at_ends(text) for piece in pieces(sentence, LONGEST)]


def at_ends(text: str) -> list[str]:
    """The sentences of ``text`` whatever their length, stripped, none empty. Every line end also ends a sentence."""
    found: list[str] = []
    for line in _LINES.split(text):
        begin = 0
        for match in _END.finditer(line):
            if _is_end(line, begin, match):
                found.append(line[begin : match.end()])
                begin = match.end()
        found.append(line[begin:])
    return [sentence.strip() for sentence in found if sentence.strip()]


def _is_end(line: str, begin: int, match: re.Match[str]) -> bool:
    following = _NEXT_WORD.match(line, match.end())
    word = (following[1] or "") if following else ""
    if not word:
        return True
    marks, closers = match["marks"], match["closers"]
    lower = word[0].islower()
    if marks != ".":
        return not (lower and (closers or set(marks) <= {".", "…"}))
    if closers and lower:
        return False
    if closers:
        return True
    token = _LAST_TOKEN.search(line, max(begin, match.start() - 40), match.start())
    return _full_stop_ends(
        token[0] if token else "", word, first=not line[begin : match.start()].strip(" \t#*([{-0123456789")
    )


def _full_stop_ends(token: str, word: str, first: bool) -> bool:
    """Whether the full stop between ``token`` and ``word`` ends a sentence; ``first`` if only a number came before."""
    name = token.lower()
    starts = word[0].isupper() and word.lower() in _STARTERS
    if token.isdigit() and first:
        return False  # "1. Open the door."
    if name in ("no", "nos", "p", "pp", "fig", "figs", "vol", "vols", "ch", "eq", "sec") and not (
        word[0].isdigit() or re.fullmatch(r"[IVXL]+", word)
    ):
        return True
    if name in _NEVER_LAST:
        return name in ("al", "st") and starts
    if name in _UNITS and word[0].islower():
        return False
    if name in ("a.m", "p.m") or re.fullmatch(r"\d+[ap]\.?m", name):
        return word[0].isupper() and word.lower() not in _NOT_AFTER_TIME
    if name in ("etc", "ph.d"):
        return word[0].isupper()
    if (len(token) == 1 and token.isalpha() and token.isupper()) or re.fullmatch(r"(?:[a-z]\.)+[a-z]", name):
        return starts  # initials
    if name in abbreviations.KNOWN and (token[0].isupper() or word[0].islower()):
        return starts
    return True


def pieces(sentence: str, longest: int) -> list[str]:
    """``sentence`` cut into parts of at most ``longest`` characters, stripped, at the best place in the later half."""
    found: list[str] = []
    begin = 0
    while len(sentence) - begin > longest:
        cut = _cut(sentence, begin, begin + longest)
        found.append(sentence[begin:cut])
        begin = cut
    found.append(sentence[begin:])
    return [piece.strip() for piece in found if piece.strip()]


def _cut(sentence: str, begin: int, end: int) -> int:
    middle = begin + (end - begin) // 2
    for pattern in _CUTS:
        places = [match.end() for match in pattern.finditer(sentence, middle, end)]
        if places:
            return places[-1]
    return begin + max(1, (end - begin) * 2 // 3)  # a run of letters makes more symbols than words do
