"""Shortened words written in full: titles, streets, Latin, references, companies, months and days."""

import re

_ALWAYS = {  # said so wherever they stand with a full stop
    "Mr": "mister", "Mrs": "missus", "Ms": "ms", "Messrs": "messieurs", "Mme": "madame", "Mlle": "mademoiselle",
    "Prof": "professor", "Rev": "reverend", "Gen": "general", "Sen": "senator", "Rep": "representative",
    "Gov": "governor", "Capt": "captain", "Lt": "lieutenant", "Col": "colonel", "Sgt": "sergeant", "Maj": "major",
    "Cpl": "corporal", "Cmdr": "commander", "Adm": "admiral", "Hon": "honorable", "Pres": "president",
    "Supt": "superintendent", "Insp": "inspector", "Jr": "junior", "Sr": "senior", "Esq": "esquire",
    "Inc": "incorporated", "Co": "company", "Corp": "corporation", "Ltd": "limited", "Bros": "brothers",
    "Ave": "avenue", "Blvd": "boulevard", "Rd": "road", "Ln": "lane", "Hwy": "highway", "Pkwy": "parkway",
    "Mt": "mount", "Ft": "fort", "Apt": "apartment", "Dept": "department", "Govt": "government",
    "Assn": "association", "Univ": "university", "Jan": "january", "Feb": "february", "Mar": "march", "Apr": "april",
    "Jun": "june", "Jul": "july", "Aug": "august", "Sept": "september", "Sep": "september", "Oct": "october",
    "Nov": "november", "Dec": "december", "Mon": "monday", "Tues": "tuesday", "Tue": "tuesday", "Wed": "wednesday",
    "Thurs": "thursday", "Thur": "thursday", "Thu": "thursday", "Fri": "friday", "Sat": "saturday", "Sun": "sunday",
    "Calif": "california", "Mass": "massachusetts", "Conn": "connecticut", "Fla": "florida", "Tex": "texas",
    "Penn": "pennsylvania",
}  # fmt: skip
_ANY_CASE = {  # likewise, however they are capitalised
    "etc": "et cetera", "vs": "versus", "cf": "compare", "approx": "approximately", "viz": "namely",
    "dept": "department", "govt": "government", "max": "maximum", "avg": "average", "misc": "miscellaneous",
    "incl": "including", "mr": "mister", "mrs": "missus", "ca": "circa",
    "ibid": "ibid", "tel": "telephone", "ext": "extension",
    "intl": "international", "natl": "national",
}  # fmt: skip
_BEFORE_NUMBER = {  # only before a figure or a Roman numeral
    "no": "number", "nos": "numbers", "p": "page", "pp": "pages", "ch": "chapter", "chap": "chapter", "vol": "volume",
    "vols": "volumes", "fig": "figure", "figs": "figures", "eq": "equation", "sec": "section", "art": "article",
    "c": "circa", "ed": "edition", "v": "version", "min": "minimum",
}  # fmt: skip
_LATIN = {"e.g": "for example", "i.e": "that is", "a.k.a": "also known as", "q.v": "which see", "n.b": "note well"}
_BARE = {"Mr": "mister", "Mrs": "missus", "Jr": "junior", "Sr": "senior", "vs": "versus"}
_NOT_A_NAME = frozenset(
    str.split(
        "a an and as at before behind beside by for from in into like near of off on or our outside over past "
        "that the their this to toward under visit visited when where while with your"
    )
)  # capitalised first words that do not make "St." a street

TITLES = frozenset(
    str.split(
        "mr mrs ms messrs mme mlle dr prof rev gen sen rep gov capt lt col sgt maj cpl cmdr adm hon pres supt "
        "insp st mt ft"
    )
)
KNOWN = frozenset(word.lower() for word in (*_ALWAYS, *_ANY_CASE)) | TITLES  # all that may end in a full stop

_ENDS = re.compile(r"""[\s"')\]}]*\Z""")


def _alternatives(table: dict[str, str]) -> str:
    return "|".join(re.escape(word) for word in sorted(table, key=len, reverse=True))


_LATIN_FORM = re.compile(rf"\b({_alternatives(_LATIN)})\.(?!\w),?", re.IGNORECASE)
_NUMBERED = re.compile(
    rf"(?<![\w.'])({_alternatives(_BEFORE_NUMBER)})\.(?:\s?(?=\d)|\s(?=(?-i:[IVXL]+)\b(?!\.)))", re.IGNORECASE
)
_SAINT_OR_STREET = re.compile(r"(?:(?<![\w'])([\w']{1,30})(\s+))?\bSt\b\.?(?=(\s*[A-Z])?)")
_DOCTOR_OR_DRIVE = re.compile(r"(?:(?<![\w'])([A-Z][\w']{1,30})(\s+))?\bDr\b\.?(?=(\s*[A-Z])?)")
_VERSUS = re.compile(r"(?<=[A-Za-z]) v\. (?=[A-Z])")
_SHORT = re.compile(rf"(?<![A-Za-z'])({_alternatives(_ALWAYS)})\.")
_SHORT_ANY_CASE = re.compile(rf"(?<![A-Za-z'])({_alternatives(_ANY_CASE)})\.", re.IGNORECASE)
_NO_STOP = re.compile(rf"\b({_alternatives(_BARE)})\b(?!\.)")
_WITH = ((re.compile(r"\bw/o\b\s?", re.I), "without "), (re.compile(r"\bw/\s?(?=\w|\s)", re.I), "with "))


def expand(sentence: str) -> str:
    """One sentence with its abbreviations in full; a full stop that also ends the sentence stays."""
    sentence = sentence.replace("&c.", "etc.")
    for pattern, word in _WITH:
        sentence = pattern.sub(word, sentence)
    sentence = _LATIN_FORM.sub(lambda m: f"{_LATIN[m[1].lower()]},", sentence)
    sentence = _NUMBERED.sub(lambda m: f"{_BEFORE_NUMBER[m[1].lower()]} ", sentence)
    sentence = _SAINT_OR_STREET.sub(_saint_or_street, sentence)
    sentence = _DOCTOR_OR_DRIVE.sub(_doctor_or_drive, sentence)
    sentence = _VERSUS.sub(" versus ", sentence)
    sentence = _SHORT.sub(lambda m: f" {_ALWAYS[m[1]]}{final_stop(m)} ", sentence)
    sentence = _SHORT_ANY_CASE.sub(lambda m: f" {_ANY_CASE[m[1].lower()]}{final_stop(m)} ", sentence)
    return _NO_STOP.sub(lambda m: _BARE[m[1]], sentence)


def final_stop(match: re.Match[str]) -> str:
    """The full stop to keep after an abbreviation: one if it was the last of the sentence."""
    return "." if match[0].endswith(".") and _ENDS.match(match.string, match.end()) else ""


def _saint_or_street(match: re.Match[str]) -> str:
    before, space = match[1] or "", match[2] or ""
    after_name = (before[:1].isupper() and before.lower() not in _NOT_A_NAME) or before[:1].isdigit()
    word = "saint" if match[3] and not after_name else "street"
    return f"{before}{space}{word}{final_stop(match)} "


def _doctor_or_drive(match: re.Match[str]) -> str:
    before, space = match[1] or "", match[2] or ""
    word = "drive" if before and not match[3] and before.lower() not in _NOT_A_NAME else "doctor"
    return f"{before}{space}{word}{final_stop(match)} "
