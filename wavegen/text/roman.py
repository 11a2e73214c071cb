"""Roman numerals after the names and headings that take them: "Henry VIII", "Chapter IV", "World War II"."""

import re

from wavegen.text import numbers

_RULERS = str.split(
    "Alexander Alfonso Anne Benedict Boniface Catherine Charles Christian Clement Constantine Darius "
    "David Edmund Edward Elizabeth Ferdinand Francis Frederick George Gregory Gustav Haakon Harald Henry "
    "Innocent Ivan James John Julius Juan Carlos Leo Leopold Louis Mary Napoleon Nicholas Olaf Otto Paul "
    "Pedro Peter Philip Pius Ptolemy Ramesses Ramses Richard Robert Sixtus Stephen Theodosius Umberto "
    "Urban Victor Wilhelm William Xerxes"
)
_HEADINGS = str.split(
    "Act Annex Apollo Appendix Article Book Canto Chapter Class Division Episode Exhibit Figure Grade "
    "Item Lesson Level Mark Paragraph Part Phase Psalm Scene Section Stage Step Table Title Type Unit Vol "
    "Volume War Bowl"
)
_NUMERAL = r"(?=[IVXL])(?:XL|L?X{0,3})(?:IX|IV|V?I{0,3})(?<=[IVXL])"
_AFTER_RULER = re.compile(rf"\b({'|'.join(_RULERS)})\s+({_NUMERAL})\b(?!\.\s?[A-Z]\b|'(?!s\b))")
_AFTER_HEADING = re.compile(
    rf"\b({'|'.join(_HEADINGS)}|{'|'.join(_HEADINGS).lower()})(s?\s+)({_NUMERAL})\b(?!'(?!s\b))"
)
_AFTER_NAME = re.compile(r"\b([A-Z][a-z]+\s+)(IV|VI|IX|XI)\b")
_IN_ORDER = re.compile(rf"\b({_NUMERAL})(?=\s+(?:[Cc]entury|[Dd]ynasty|Congress|Army|Corps|Olympiad|Legion)\b)")
_UNMISTAKABLE = re.compile(r"\b(II|III|VII|VIII|XII|XIII|XIV|XV|XVI|XVII|XVIII|XIX|XX)\b")
# "Charles I" but not "Charles, I think" or "to George I said"
_AFTER_ONE = re.compile(
    r"'s\b|\s*(?:[,.;:?!)]|$|(?:of|was|is|died|and|in|became|ruled|reigned|had|who|or|to|on|at|has|begins|ends|ended|began)\b)"
)
_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50}


def say(sentence: str) -> str:
    """``sentence`` with those numerals as words: after a ruler's name "the eighth", elsewhere "eight"."""
    sentence = _AFTER_RULER.sub(
        lambda m: f"{m[1]} the {numbers.ordinal(_value(m[2]))}" if _sure(m, 2) else m[0], sentence
    )
    sentence = _AFTER_HEADING.sub(
        lambda m: f"{m[1]}{m[2]}{numbers.cardinal(_value(m[3]))}" if _sure(m, 3) else m[0], sentence
    )
    sentence = _IN_ORDER.sub(lambda m: numbers.ordinal(_value(m[1])), sentence)
    sentence = _AFTER_NAME.sub(lambda m: f"{m[1]}{numbers.cardinal(_value(m[2]))}", sentence)
    return _UNMISTAKABLE.sub(lambda m: numbers.cardinal(_value(m[1])), sentence)


def _sure(match: re.Match[str], group: int) -> bool:
    return match[group] != "I" or _AFTER_ONE.match(match.string, match.end()) is not None


def _value(numeral: str) -> int:
    values = [_VALUES[letter] for letter in numeral]
    return sum(-v if v < after else v for v, after in zip(values, [*values[1:], 0], strict=True))
