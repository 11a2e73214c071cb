"""Dates, clock times, decades and years as words (month before day, as Americans write them)."""

import re

from wavegen.text import numbers
from wavegen.text.abbreviations import final_stop
from wavegen.text.spelling import letters

_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_SHORT = {
    "Jan": 1,
    "Feb": 2,
    "Mar": 3,
    "Apr": 4,
    "Jun": 6,
    "Jul": 7,
    "Aug": 8,
    "Sept": 9,
    "Sep": 9,
    "Oct": 10,
    "Nov": 11,
    "Dec": 12,
}
_NUMBER_OF = {**{name: i for i, name in enumerate(_MONTHS, start=1)}, **_SHORT}
_MONTH = rf"(?P<month>{'|'.join((*_MONTHS, *_SHORT))})\b\.?"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_NOT_MORE = r"(?![\d:%]|[.,/]\d|\w)"

_ISO = re.compile(r"(?<![\d.,/-])(?P<year>\d{4})([-/])(?P<m>\d{1,2})\2(?P<d>\d{1,2})(?:T(?=\d\d:)|(?![\d/-]))")
_NUMERIC = re.compile(r"(?<![\d.,/-])(?P<m>\d{1,2})([-/.])(?P<d>\d{1,2})\2(?P<year>\d{4}|\d\d)(?![\d/-]|\.\d)")
_MONTH_DAY = re.compile(
    rf"\b{_MONTH}\s+{_DAY}(?:\s?[-–]\s?(?P<until>\d{{1,2}})(?:st|nd|rd|th)?)?{_NOT_MORE}(?:,?\s+(?P<year>\d{{4}}){_NOT_MORE})?"
)
_DAY_MONTH = re.compile(
    rf"(?<![\d.,:$-])(?P<the>\b[Tt]he\s+)?\b{_DAY}\s+(?:of\s+)?{_MONTH}(?:,?\s+(?P<year>\d{{4}}){_NOT_MORE})?"
)
_MONTH_YEAR = re.compile(rf"\b{_MONTH},?\s+(?P<year>\d{{4}}){_NOT_MORE}")

_HALF = r"\s?(?P<half>[AaPp])(?:\.\s?[Mm]\b\.?|[Mm]\b)"
_CLOCK = re.compile(
    rf"(?<![\d:.,])(?P<hour>\d{{1,2}}):(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d))?(?![\d:])(?:{_HALF})?"
)
_HOUR = re.compile(rf"(?<![\d:.,])(?P<hour>\d{{1,2}}){_HALF}")
_UNTIL = re.compile(rf"(?<=\d)(?P<first>{_HALF})?\s?[-–]\s?(?=\d{{1,2}}(?::\d\d)?{_HALF.replace('?P<half>', '?:')})")
_TO = re.compile(r"(?<=:[0-5]\d)\s?[-–]\s?(?=\d{1,2}:[0-5]\d(?!\d))")

_DECADE = re.compile(
    r"(?<![\w.,$£€])(?:'?(?P<full>[12]\d\d0)|(?:'|(?P<before>\b(?:the|early|late|mid|his|her|their|my)[\s-]+)'?)(?P<short>[2-9]0))'?s\b",
    re.IGNORECASE,
)
_SHORT_YEAR = re.compile(r"(?<![\w'])'(\d\d)\b(?!['\w])")
_ERA = re.compile(r"\b(\d{4})(?=\s?(?:A\.?D|B\.?C|C\.?E|B\.?C\.?E)\b)")
_YEAR = re.compile(
    r"(?P<before>\b(?:in|since|by|until|till|from|of|during|before|after|year|circa|around|between|and|to|early|late|mid|AD)\s+)?"
    r"(?<![\w.,:/$-])(?P<year>1\d{3}|20\d\d)(?![\w:%/]|[.,]\d)(?P<counted>\s+(?:people|men|women|children|[a-z]+[^s\W]s)\b)?",
    re.IGNORECASE,
)


def say(sentence: str) -> str:
    """``sentence`` with dates, clock times and decades ("the 90s") as words; what is no date of a calendar stays."""
    sentence = _ISO.sub(_numeric, sentence)
    sentence = _NUMERIC.sub(_numeric, sentence)
    sentence = _MONTH_DAY.sub(_month_day, sentence)
    sentence = _DAY_MONTH.sub(_day_month, sentence)
    sentence = _MONTH_YEAR.sub(lambda m: f"{_name(m)} {numbers.year(int(m['year']))}", sentence)
    sentence = _UNTIL.sub(lambda m: f"{m['first'] or ''} to ", sentence)
    sentence = _TO.sub(" to ", sentence)
    sentence = _CLOCK.sub(_clock, sentence)
    sentence = _HOUR.sub(_clock, sentence)
    return _DECADE.sub(lambda m: (m["before"] or "") + numbers.decade(int(m["full"] or m["short"])), sentence)


def say_years(sentence: str) -> str:
    """Bare years ("1984", "'05", "44 BC") as words; run after all other kinds of number are gone.

    1100 to 2099 is a year unless things are counted with it; 1000 to 1099 only after "in", "since" and the like.
    """
    sentence = _SHORT_YEAR.sub(lambda m: numbers.year(1900 + int(m[1])).split(" ", 1)[1], sentence)
    sentence = _ERA.sub(lambda m: numbers.year(int(m[1])), sentence)
    return _YEAR.sub(_year, sentence)


def _year(match: re.Match[str]) -> str:
    value, before, counted = int(match["year"]), match["before"] or "", match["counted"] or ""
    is_year = bool(before) or (value >= 1100 and not counted)
    return f"{before}{numbers.year(value) if is_year else numbers.cardinal(value)}{counted}"


def _name(match: re.Match[str]) -> str:
    return _MONTHS[_NUMBER_OF[match["month"]] - 1]


def _with_year(words: str, year: str | None) -> str:
    return f"{words}, {numbers.year(int(year))}" if year else words


def _numeric(match: re.Match[str]) -> str:
    month, day, year = int(match["m"]), int(match["d"]), int(match["year"])
    if (month > 12 and match.re is _NUMERIC) or match[2] == ".":
        month, day = day, month
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return match[0]
    if len(match["year"]) == 2:
        year += 2000 if year < 70 else 1900
    words = f"{_MONTHS[month - 1]} {numbers.ordinal(day)}, {numbers.year(year)}"
    return f"{words}, " if match[0].endswith("T") else words


def _month_day(match: re.Match[str]) -> str:
    days = [int(day) for day in (match["day"], match["until"]) if day]
    if not all(1 <= day <= 31 for day in days):
        return match[0]
    return _with_year(f"{_name(match)} {' to '.join(numbers.ordinal(day) for day in days)}", match["year"])


def _day_month(match: re.Match[str]) -> str:
    day = int(match["day"])
    if not 1 <= day <= 31:
        return match[0]
    return _with_year(f"{match['the'] or 'the '}{numbers.ordinal(day)} of {_name(match)}", match["year"])


def _clock(match: re.Match[str]) -> str:
    parts = match.groupdict()
    hour, minute, half = int(parts["hour"]), int(parts.get("minute") or 0), parts["half"]
    if hour > (12 if half else 24):
        return match[0]
    words = [numbers.cardinal(hour)]
    if minute:
        words.append(f"{'oh ' if minute < 10 else ''}{numbers.cardinal(minute)}")
    elif not half:
        words.append("o'clock" if 1 <= hour <= 12 else "hundred")
    if parts.get("second"):
        seconds = int(parts["second"])
        words.append(f"and {numbers.cardinal(seconds)} second{'s' * (seconds != 1)}")
    if half:
        words.append(letters(f"{half}m") + final_stop(match))
    return " ".join(words)
