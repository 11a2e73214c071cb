"""Written text to spoken words: small letters, apostrophes and spaces, and the marks , . ? ! that are heard.

The kinds of token are taken in an order in which no step can mistake what an earlier one should have had: addresses,
dates, abbreviations, money, measures, telephone numbers, then ever plainer numbers, then capitals, then punctuation.
"""

import re
from collections.abc import Callable

from wavegen.text import (
    abbreviations,
    acronyms,
    addresses,
    amounts,
    characters,
    dates,
    lexicon,
    numbers,
    roman,
    sentences,
)
from wavegen.text.amounts import NUMBER, WHOLE

MARK = "\ue000"  # stands for a pronunciation given by the user; passes through as a word of its own

_PHONE = re.compile(
    r"(?<![\w.,-])(?:\+\d{1,3}[\s.-])?(?:\(\d{3}\)\s?|\d{3}[\s.-])\d{3}[\s.-]\d{4}(?![\w-]|\.\d)"
    r"|(?<![\w.,-])\+\d(?:[\s.-]?\d){6,14}(?![\w-])"
    r"|(?<![\w.,-])\d{3}-\d{4}(?![\w-]|\.\d)"
)
_PAIRS = re.compile(r"(?<![\w./])(24/7|9/11|50/50)(?![\w/])")
_FRACTION = re.compile(r"(?<![\w./,])(?:(\d+)[ -])?(\d{1,3})/(\d{1,3})(?![\w/]|[.,]\d)")
_ORDINAL = re.compile(rf"(?<![\w.,])({WHOLE})(?:st|nd|rd|th)\b", re.IGNORECASE)
_NUMBER_SIGN = re.compile(r"#\s?(?=\d)")
_TIMES = re.compile(rf"(?<![\w.])({NUMBER})[xX](?![\w])")
_BY = re.compile(r"(?<!\b0)(?<=\d)\s?[xX×]\s?(?=\.?\d)")
_RANGE = re.compile(rf"(?<![\w.-])({NUMBER})(?:-|\s?–\s?)({NUMBER})(?![\w-])")
_MINUS = re.compile(r"(?<![\w)\].])-(?=\.?\d)|(?<=\d) - (?=\d)")
_POWER = re.compile(r"(?<=[\w)])\^(-?\d+|[a-z]\b)")
_BESIDE = re.compile(r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])")
_NUMBER = re.compile(rf"(?:{WHOLE})(?:\.\d+)*|\.\d+")
_DIGIT = re.compile(r"\d")
_POWERS = {"2": "squared", "3": "cubed"}
_ROOT = re.compile(r"√\s?")
_TILDE = re.compile(r"~\s?(?=[\d$£€])")
_STAR = re.compile(r"(?<=\d)\s?\*\s?(?=\d)")
_SIGNS = {
    "&": "and", "+": "plus", "=": "equals", "@": "at", "×": "times", "÷": "divided by", "±": "plus or minus",
    "≈": "is about", "≠": "is not", "≤": "at most", "≥": "at least", "∞": "infinity", "§": "section",
    "¶": "paragraph", "©": "copyright",
}  # fmt: skip
_SIGN = re.compile(f"[{re.escape(''.join(_SIGNS))}]")
_SHARP = re.compile(r"(?<![\w#])([A-Ga-g])#(?!#)(?=\W|$|\d|m|dim|aug|sus|add)")
_FLAT = re.compile(r"(?<!\w)([A-G])b(?=\s(?:major|minor|maj|min|flat)\b|m\b|m?\d)")
_HASHTAG = re.compile(r"#(?=\w)")
_BOUND = re.compile(r"([<>])\s?(?=[\d.])")
_SCIENTIFIC = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)[eE]([+-]?)(\d+)(?![\w.])")
_NAME_WITH_DOT = re.compile(r"(?<![\w.])\.(?=[A-Za-z]{2})")
_COMPARED = re.compile(r"(?<=[\w\s]) ([<>]) (?=[\w\s-])")
_ARROW = re.compile(r"<?[-=]+>|<[-=]+|[←→]")
_NOTHING = re.compile(r"[*`^~|\\<>\"#]")

_JOINED = re.compile(
    r"\b(co|re|pre|non|anti|sub|e|un|bi|de|semi|multi|inter|pro|post|micro)-(?=\w)([A-Za-z]+)", re.IGNORECASE
)
_OPENING_APOSTROPHE = re.compile(r"(?<![\w'])'+(\w*)")
_APOSTROPHES = re.compile(r"'{2,}")
_CLOSING_APOSTROPHE = re.compile(r"(?<=\w)'(?!\w)")
_DASH = re.compile(r"\s*(?:—|–|-{2,}|(?<=\s)-+(?=\s)|^-+(?=\s))\s*")
_COMMA_LIKE = re.compile(r"[;:()\[\]{}]")
_LEFT_OUT = re.compile(rf"[^a-z',.?!{MARK} ]", re.IGNORECASE)
_LONE_APOSTROPHE = re.compile(r"(?<![a-z])'(?![a-z])", re.IGNORECASE)
_MARKS = re.compile(r"\s*([,.?!][\s,.?!]*)")
_SPACES = re.compile(r"\s+")


def normalize(text: str) -> str:
    """``text`` as it is spoken: lower-case words one space apart, each perhaps followed by one of , . ? !

    Sentences without a mark at their end get a full stop if another follows. The result normalises to itself; it is
    empty if nothing in the text is said. Raises InputError for characters of another script.
    """
    said = _said_once(characters.plain(text))
    while (again := _said_once(said)) != said:  # a sign that fell out can leave an abbreviation before a space
        said = again
    return said


def _said_once(text: str) -> str:
    return " ".join(spoken_sentences(text)).lower()


def spoken_sentences(text: str) -> list[str]:
    """The sentences of ``text`` (as ``characters.plain`` leaves it), each normalised but with its capitals as written.

    Only words that are read by their case (acronyms, initials) have already lost it.
    """
    said = [spoken for sentence in sentences.at_ends(text) if (spoken := _spoken(sentence))]
    return [s if s[-1] in ",.?!" else f"{s}." for s in said[:-1]] + said[-1:]


def _spoken(sentence: str) -> str:
    sentence = _SPACES.sub(" ", sentence)
    for step in _STEPS:
        sentence = step(sentence)
    return sentence.strip()


def _beside_anything(sentence: str) -> str:
    sentence = _SHARP.sub(lambda m: f"{_note(m[1])} sharp ", sentence)
    sentence = _FLAT.sub(lambda m: f"{_note(m[1])} flat ", sentence)
    sentence = _NAME_WITH_DOT.sub("dot ", _TILDE.sub("about ", sentence))
    return _SCIENTIFIC.sub(lambda m: f"{m[1]} times 10^{m[2].replace('+', '')}{m[3]}", sentence)


def _note(letter: str) -> str:
    return "ay" if letter in "Aa" else letter  # "a sharp" would be an article


def _phones(sentence: str) -> str:
    def dictate(match: re.Match[str]) -> str:
        groups = ", ".join(numbers.digits(group) for group in re.findall(r"\d+", match[0]))
        return f"plus {groups}" if match[0].startswith("+") else groups

    return _PHONE.sub(dictate, sentence)


def _fractions(sentence: str) -> str:
    sentence = _PAIRS.sub(lambda m: " ".join(numbers.cardinal(part) for part in m[1].split("/")), sentence)

    def words(match: re.Match[str]) -> str:
        if match[1] and int(match[2]) >= int(match[3]):
            return match[0]
        return numbers.spoken(f"{match[1] or ''} {match[2]}/{match[3]}".strip())

    return _FRACTION.sub(words, sentence)


def _ordinals(sentence: str) -> str:
    return _ORDINAL.sub(lambda m: numbers.ordinal(m[1].replace(",", "")), sentence)


def _between_numbers(sentence: str) -> str:
    """Signs that are words only beside a number: ranges, minus, by, times, powers, "#5"."""
    sentence = _NUMBER_SIGN.sub("number ", _ARROW.sub(", ", sentence))
    sentence = _COMPARED.sub(lambda m: f" is {'less' if m[1] == '<' else 'greater'} than ", sentence)
    sentence = _BOUND.sub(lambda m: f" {'less' if m[1] == '<' else 'greater'} than ", sentence)
    sentence = _TIMES.sub(r"\1 times ", sentence)
    sentence = _STAR.sub(" times ", sentence)
    sentence = _BY.sub(" by ", sentence)
    sentence = _RANGE.sub(r"\1 to \2", sentence)
    sentence = _POWER.sub(lambda m: f" {_POWERS.get(m[1]) or f'to the power of {_signed(m[1])}'} ", sentence)
    return _ROOT.sub(" the square root of ", _MINUS.sub(" minus ", sentence))


def _signed(number: str) -> str:
    return f"minus {number[1:]}" if number.startswith("-") else number


def _plain_numbers(sentence: str) -> str:
    sentence = _BESIDE.sub(" ", sentence)
    sentence = _NUMBER.sub(lambda m: f" {_number(m[0])} ", sentence)
    return _DIGIT.sub(lambda m: f" {numbers.digits(m[0])} ", sentence)


def _number(written: str) -> str:
    """A number without any context: a long or zero-led run of digits is an identifier and is said digit by digit."""
    if "," in written or "." in written:
        return numbers.spoken(written)
    size = len(written)
    is_code = size > 1 and written[0] == "0"
    is_phone = (size == 10 or (size == 11 and written[0] == "1")) and not written.endswith("0000")
    return numbers.digits(written) if is_code or is_phone or size > 15 else numbers.cardinal(written)


def _signs(sentence: str) -> str:
    sentence = _HASHTAG.sub(" hashtag ", sentence)
    sentence = _NOTHING.sub(" ", sentence)
    return _SIGN.sub(lambda m: f" {_SIGNS[m[0]]} ", sentence)


def _apostrophes(sentence: str) -> str:
    """Keeps apostrophes inside words and those of "'tis" and "'em"; drops quotation marks and bare plural ones."""

    def opening(match: re.Match[str]) -> str:
        return f"'{match[1]}" if match[1] and lexicon.known(f"'{match[1].lower()}") else match[1]

    sentence = _OPENING_APOSTROPHE.sub(opening, _APOSTROPHES.sub(" ", sentence))
    return _CLOSING_APOSTROPHE.sub("", sentence)


def _hyphens(sentence: str) -> str:
    def join(match: re.Match[str]) -> str:
        whole = f"{match[1]}{match[2]}"
        return whole if lexicon.known(whole.lower()) else f"{match[1]} {match[2]}"

    return _JOINED.sub(join, _DASH.sub(", ", sentence)).replace("-", " ").replace("/", " ").replace("_", " ")


def _punctuation(sentence: str) -> str:
    sentence = _COMMA_LIKE.sub(",", sentence).replace(MARK, f" {MARK} ")
    sentence = _LONE_APOSTROPHE.sub(" ", _LEFT_OUT.sub(" ", sentence))
    sentence = _MARKS.sub(_one_mark, _SPACES.sub(" ", sentence).strip())
    return sentence.lstrip(",.?! ").rstrip()


def _one_mark(match: re.Match[str]) -> str:
    """The one mark a run of them comes to: ? before ! before a full stop; an ellipsis inside a sentence is a comma."""
    run = match[1]
    for mark in "?!":
        if mark in run:
            return f"{mark} "
    inside = match.end() < len(match.string)
    return ", " if "." not in run or (inside and ".." in run) else ". "


_STEPS: tuple[Callable[[str], str], ...] = (
    _beside_anything,
    addresses.say,
    dates.say,
    abbreviations.expand,
    amounts.say_money,
    amounts.say_measures,
    _phones,
    _fractions,
    _ordinals,
    roman.say,
    _between_numbers,
    dates.say_years,
    _plain_numbers,
    _signs,
    acronyms.say_initials,
    _apostrophes,
    acronyms.say_acronyms,
    _hyphens,
    _punctuation,
)
