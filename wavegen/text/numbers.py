"""Digits as words, the American way: no "and" inside a number, no hyphens."""

_ONES = str.split(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
)
_TENS = str.split("zero ten twenty thirty forty fifty sixty seventy eighty ninety")
_SCALES = str.split(
    " thousand million billion trillion quadrillion quintillion sextillion septillion octillion nonillion decillion "
    "undecillion duodecillion tredecillion quattuordecillion quindecillion sexdecillion septendecillion octodecillion "
    "novemdecillion vigintillion",
    " ",
)
_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
_FRACTIONS = {2: ("half", "halves"), 4: ("quarter", "quarters")}


def digits(number: str) -> str:
    """Each digit by itself: "007" is "zero zero seven"."""
    return " ".join(_ONES[int(digit)] for digit in number)


def cardinal(number: int | str) -> str:
    """A whole number of any length, as an int or a string of digits: 1234 is "one thousand two hundred thirty four".

    Beyond the vigintillions (66 digits) it is said digit by digit.
    """
    figures = str(number).lstrip("0") or "0"
    if len(figures) > 3 * len(_SCALES):
        return digits(figures)
    figures = figures.zfill(-(-len(figures) // 3) * 3)
    groups = [int(figures[i : i + 3]) for i in range(0, len(figures), 3)]
    words = [
        f"{_below_thousand(group)} {_SCALES[len(groups) - 1 - i]}".strip() for i, group in enumerate(groups) if group
    ]
    return " ".join(words) or "zero"


def _below_thousand(number: int) -> str:
    hundreds, rest = divmod(number, 100)
    words = [f"{_ONES[hundreds]} hundred"] if hundreds else []
    if rest >= 20:
        tens, ones = divmod(rest, 10)
        words.append(_TENS[tens] + (f" {_ONES[ones]}" if ones else ""))
    elif rest:
        words.append(_ONES[rest])
    return " ".join(words)


def decimal(number: str) -> str:
    """A number with any count of points: "3.14" is "three point one four", ".5" "point five", "1.2.3" a version."""
    whole, *parts = number.split(".")
    figures = [digits(part) if len(parts) == 1 or part.startswith("0") else cardinal(part) for part in parts]
    return " point ".join([cardinal(whole) if whole else "", *figures]).strip()


def ordinal(number: int | str) -> str:
    """22 is "twenty second"."""
    *front, last = cardinal(number).split()
    if last in _ORDINALS:
        last = _ORDINALS[last]
    elif last.endswith("y"):
        last = f"{last[:-1]}ieth"
    else:
        last += "th"
    return " ".join([*front, last])


def year(number: int) -> str:
    """1905 is "nineteen oh five", 1900 "nineteen hundred", 2007 "two thousand seven", 2024 "twenty twenty four"."""
    century, rest = divmod(number, 100)
    if not 1000 <= number <= 9999 or (century % 10 == 0 and rest < 10):
        return cardinal(number)
    if rest == 0:
        return f"{cardinal(century)} hundred"
    return f"{cardinal(century)} {'oh ' if rest < 10 else ''}{cardinal(rest)}"


def decade(number: int) -> str:
    """1980 is "nineteen eighties", 1900 "nineteen hundreds", 90 "nineties"; ``number`` ends in 0."""
    return plural(year(number) if number >= 100 else cardinal(number))


def plural(words: str) -> str:
    """ "twenty" is "twenties", "six" "sixes", "ten" "tens"."""
    if words.endswith("y"):
        return f"{words[:-1]}ies"
    return f"{words}es" if words.endswith("x") else f"{words}s"


def fraction(numerator: int, denominator: int) -> str:
    """3, 4 is "three quarters"; a denominator that has no common name gives "three over ..."."""
    if numerator == denominator:
        return f"{cardinal(numerator)} out of {cardinal(denominator)}"
    if not 2 <= denominator <= 100 or numerator > 100:
        return f"{cardinal(numerator)} over {cardinal(denominator)}"
    one, many = _FRACTIONS.get(denominator, (ordinal(denominator), f"{ordinal(denominator)}s"))
    return f"{cardinal(numerator)} {one if numerator == 1 else many}"


def spoken(number: str) -> str:
    """A number as it is written: thousands commas, points and mixed fractions ("3 1/4" is "three and one quarter")."""
    whole, _, part = number.replace(",", "").rpartition(" ")
    if "/" in part:
        numerator, denominator = part.split("/")
        words = fraction(int(numerator), int(denominator))
        return f"{cardinal(whole)} and {words}" if whole else words
    return decimal(part) if "." in part else cardinal(part)
