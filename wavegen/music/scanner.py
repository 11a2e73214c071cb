"""From the words of a prompt to items, each with a kind, a value and the words themselves; nothing is left out.

The scan goes left to right and takes, at each place, the longest of what the rules and the gazetteers match there; a
word that none matches becomes an item of kind "unknown". What items mean together is decided in ``prompt``.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from wavegen.music import gazetteer as en
from wavegen.music import gazetteer_zh as zh
from wavegen.music.attributes import TICKS, Key, Meter


@dataclass(frozen=True)
class Item:
    """A stretch of the prompt that means something, or nothing known.

    Kind and value: "key" (Key), "tonic" (pitch class), "mode" (name), "tempo" (low, high, ticks of the note counted or
    None), "tempo_range" (low, high BPM), "tempo_word" (part of the style's range), "meter" (Meter), "bars" (low, high),
    "seconds" (low, high), "length" (range of bars), "form" (bars), "instrument" (programs or generic names),
    "drummed" (the same, with drums), "drums", "solo_drums", "no_drums", "no_instrument" (as "instrument"), "style",
    "near" (style), "mood", "mark" (velocity), "loudness" (range), "seed", "count", "first", "last", "stop", "unknown".
    """

    kind: str
    value: Any
    words: str
    start: int
    end: int


_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
)
_ONES = {word: number for number, word in enumerate([*_UNITS.split(), "eighteen", "nineteen"])}
_TENS = {
    word: 10 * number
    for number, word in enumerate(("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"), 2)
}
_SCALES = {"dozen": 12, "hundred": 100, "thousand": 1000}
_ZH_DIGITS = {
    "\u3007": 0,
    "零": 0,
    "一": 1,
    "二": 2,
    "两": 2,
    "三": 3,
    "四": 4,
    "五": 5,
    "六": 6,
    "七": 7,
    "八": 8,
    "九": 9,
}
_ZH_SCALES = {"十": 10, "百": 100, "千": 1000}

_WORD = rf"(?:{'|'.join(sorted([*_ONES, *_TENS, *_SCALES], key=len, reverse=True))})(?![a-z])"
_DIGITS = r"\d{1,9}(?:\.\d{1,6})?"
_AND = r"(?:[ -]|(?<=hundred) and |(?<=thousand) and )"
_NUMBER = rf"(?:{_DIGITS}|(?:an? )?{_WORD}(?:{_AND}{_WORD}){{0,8}}|[\u3007零一二两三四五六七八九十百千]{{1,12}})"
_TO = r"\s*(?:-|–|~|to|or|到|至)\s*"
_RANGE = rf"(?P<between>between )?(?P<low>{_NUMBER})(?:(?:{_TO}|(?(between) and |(?!)))(?P<high>{_NUMBER}))?"
_STOP_AFTER = r"(?=\s*(?:$|[,;.!?:。、()\d]|(?:for|with|at|and|on|by|played|using|about|please)\b))"


def number(text: str) -> float | None:
    """The number that digits, English words ("a hundred and twenty", "one twenty") or Chinese ones mean, or None."""
    text = text.strip()
    if re.fullmatch(_DIGITS, text):
        return float(text)
    if text and set(text) <= set(_ZH_DIGITS) | set(_ZH_SCALES):
        return _chinese_number(text)
    total, current, last = 0.0, 0.0, ""
    for word in re.split(r"[ -]+", text):
        if word in ("a", "an", "and"):
            continue
        if word in _SCALES:
            if last == "scale" and word != "thousand":
                return None
            current, last = max(current, 1) * _SCALES[word], "scale"
            if word == "thousand":
                total, current = total + current, 0.0
        elif word in _TENS or _ONES.get(word, 0) > 9:
            if last == "tens" or (last == "ones" and current >= 10):
                return None
            # "one twenty" is 120
            current = (current * 100 if last == "ones" else current) + (_TENS.get(word) or _ONES[word])
            last = "tens" if word in _TENS else "teens"
        elif word in _ONES:
            if last in ("ones", "teens"):
                return None
            current, last = current + _ONES[word], "ones"
        else:
            return None
    return total + current if last else None


def _chinese_number(text: str) -> float | None:
    if not set(text) & set(_ZH_SCALES):
        return float("".join(str(_ZH_DIGITS[char]) for char in text)) if len(text) < 10 else None
    total, digit, scale = 0, None, 10000
    for char in text:
        if char in _ZH_SCALES:
            if _ZH_SCALES[char] >= scale or digit == 0:
                return None
            scale = _ZH_SCALES[char]
            total += (1 if digit is None else digit) * scale
            digit = None
        elif char in "零\u3007":
            continue
        elif digit is None:
            digit = _ZH_DIGITS[char]
        else:
            return None
    if digit is not None:
        # 一百二 is 120, 一百零二 is 102
        total += digit * (scale // 10 if scale >= 100 and not set(text) & set("零\u3007") else 1)
    return float(total)


def normalised(text: str) -> str:
    """NFKC (full-width forms become ASCII), white space single."""
    return re.sub(r"\s+", " ", unicodedata.normalize("NFKC", text.replace("\ufe0f", ""))).strip()


def lowered(text: str) -> str:
    """Lower case, of the same length as the text."""
    return "".join(low if len(low := char.lower()) == 1 else char for char in text)


def is_han(char: str) -> bool:
    """Whether a character is a CJK ideograph."""
    return "\u4e00" <= char <= "\u9fff" or char == "\u3007"


def _is_letter(char: str) -> bool:
    return (char.isalnum() or char == "'") and not is_han(char)


@cache
def lexicon() -> dict[str, tuple[str, Any]]:
    """Every word and phrase of the gazetteers → (kind, value). Later tables win over earlier ones."""
    table: dict[str, tuple[str, Any]] = {}

    def add(kind: str, entries: dict[str, Any]) -> None:
        table.update({alias: (kind, value) for alias, value in entries.items()})

    for words in (en, zh):
        add("stop", dict.fromkeys(words.STOP_WORDS))
        add("instrument", words.INSTRUMENT_WORDS)
        add("drummed", words.ENSEMBLES_WITH_DRUMS)
        add("drums", dict.fromkeys(words.DRUM_WORDS, True))
        add("solo_drums", dict.fromkeys(words.SOLO_DRUMS))
        add("mood", words.MOOD_WORDS)
        add("near", words.NEAR_STYLES)
        add("style", words.STYLE_WORDS)
        add("tempo_range", words.TEMPO_RANGES)
        add("tempo_word", words.TEMPO_WORDS)
        add("mark", words.MARKS)
        add("loudness", words.LOUDNESS)
        add("length", words.LENGTHS)
        add("meter", {alias: Meter.parse(name) for alias, name in words.METER_WORDS.items()})
        add("mode", words.MODE_WORDS)
        add("count", words.COUNTS)
        add("first", dict.fromkeys(words.FIRST_WORDS))
        add("last", dict.fromkeys(words.LAST_WORDS))
    add("stop", dict.fromkeys(en.STOP_PHRASES))
    add("mark", {"p": 49, "f": 96})
    for picture, word in en.EMOJI.items():
        table[picture] = table[word]
    return {alias.replace("-", " "): entry for alias, entry in table.items()}


@cache
def _longest() -> int:
    return max(map(len, lexicon()))


Found = tuple[int, str, Any]
"""End of a match, kind, value."""


def look_up(low: str, start: int) -> Found | None:
    """The longest entry of the gazetteers at a place of the lowered text."""
    flat = low[start : start + _longest()].replace("-", " ").replace("_", " ")
    for length in range(len(flat), 0, -1):
        entry = lexicon().get(flat[:length])
        following = low[start + length : start + length + 1]
        if entry and not (following and _is_letter(flat[length - 1]) and _is_letter(following)):
            return start + length, *entry
    return None


def _span(match: re.Match[str]) -> tuple[float, float] | None:
    low = number(match["low"])
    high = number(match["high"]) if match["high"] else low
    return None if low is None or high is None else (min(low, high), max(low, high))


_BPM = re.compile(
    rf"{_RANGE}[\s-]*(?:bpm(?![a-z])|b\.p\.m\.?|beats?\s*(?:per|a|/)\s*min(?:ute)?(?![a-z])|拍(?![子号])(?:/分钟?|每分钟?)?)"
)
_TEMPO = re.compile(
    rf"(?:(?:bpm|tempo|m\.m\.|mm)(?![a-z])|速度|每分钟|一分钟)\s*(?:(?:of|is|at|about|around)(?![a-z])|为|是|约|大约|在|:|=|\s)*"
    rf"(?P<low>{_NUMBER})(?:{_TO}(?P<high>{_NUMBER}))?(?!\d|\s*[/:]|\s*(?:小节|秒|分))\s*(?:bpm(?![a-z])|beats?\s*(?:per|a|/)\s*min(?:ute)?(?![a-z])|拍(?![子号])(?:/分钟?|每分钟?)?)?"
)
_AT = re.compile(r"(?:at |@ ?)(?P<low>\d{2,3})(?P<high>)(?=\s*(?:[,;!。、]|\.(?!\d)|$))")
_NOTE = re.compile(
    rf"(?P<dot>dotted |附点)?(?P<note>♩|♪|(?:quarter|half|eighth)(?: notes?)?|crotchet|minim|quaver|"
    rf"四分音符|二分音符|八分音符)(?P<after>\.)?\s*(?:=|:|at|等于)\s*(?P<low>{_NUMBER})(?P<high>)(?!\d|\s*[/:])(?:\s*bpm)?"
)
_NOTES = {
    **dict.fromkeys(("♩", "quarter", "crotchet", "四分音符"), TICKS),
    **dict.fromkeys(("half", "minim", "二分音符"), 2 * TICKS),
    **dict.fromkeys(("♪", "eighth", "quaver", "八分音符"), TICKS // 2),
}
_BARS = re.compile(rf"{_RANGE}[\s-]*(?:(?:bars?|measures?)(?: long)?(?![a-z])|个?小[节節])")
_BARS_AFTER = re.compile(r"(?:bars?|measures?|小节数?)\s*(?:[:=]|count)\s*(?P<low>\d+)(?P<high>)(?![\d./])")
_BLUES = re.compile(r"(?:12|twelve)[\s-]bar blues(?![a-z])")
_CLOCK = re.compile(r"(?P<minutes>\d{1,3}):(?P<seconds>[0-5]\d)(?![\d:])(?:\s*(?:min(?:ute)?s?|long))?(?![a-z])")
_HOUR, _MINUTE, _SECOND = r"(?:hours?|hrs?|h|个?小时)", r"(?:minutes?|mins?|m|分钟?)", r"(?:seconds?|secs?|s|秒钟?)"
_HALF = r"(?P<half> and a half(?![a-z]))?"
_UNIT = rf"(?P<unit>{_HOUR}|{_MINUTE}|{_SECOND})(?![a-z之音])"
_LENGTH = re.compile(
    rf"(?P<number>{_NUMBER}|half an?(?= )|an?(?= (?:min|sec|h))|半){_HALF}(?P<middle>半)?[\s-]*{_UNIT}"
    r"(?P<later>半(?!分)| and a half)?钟?(?: long(?![a-z]))?"
)
_BARE_SECONDS = re.compile(r"([0-5]?\d)(?![\d./:]|\s*(?:[a-z♩-]|[拍小秒]))")
_DECADE = re.compile(r"(?:1[5-9]|20)\d0s(?= [a-z])|[89]0[89]s(?![a-z])")  # the 1920s, and drum machines: no lengths
_PART_TO = re.compile(rf"{_RANGE}[\s-]*{_UNIT}")
_METER = re.compile(r"(?P<n>\d{1,3})\s?/\s?(?P<d>1|2|4|8|16|32)(?![\d/])(?:\s*(?:拍子?|time|met(?:er|re))(?![a-z]))?")
_METER_OF = re.compile(r"(?P<d>[一二四八十]+|\d+)分之(?P<n>[\u3007一二两三四五六七八九十]+|\d+)(?:拍子?)?")
_METER_PAIR = re.compile(r"(?P<x>十二|[二三四五六七八九])(?P<y>[二三四五六七八九])拍子?")
_IN_BEATS = re.compile(rf"in (?P<n>two|three|four|five|six|seven|[2-7])(?![a-z/:.]|[ -]?\d){_STOP_AFTER}")
_SEED = re.compile(r"(?:(?:random )?seed|(?:随机)?种子)\s*(?:of|is|number|[:=#为是])?\s*(?P<n>\d{1,19})(?![\d.])")

_ACCIDENTAL = r"(?:\s?[♯♭#]|b(?![a-z])|b(?=m(?:aj|ajor|in|inor)?(?![a-z]))|[\s-]?(?:sharp|flat)(?![a-z]))"
_MODES = "major|minor|maj|min|dorian|mixolydian|ionian|aeolian|phrygian|lydian|locrian"
_IN = (
    r"(?:(?:in |in the key of |key of |key is |the key of |key ?[:=]? ?|"
    r"tonality ?[:=]? ?|调性?(?:为|是|[:=])? ?)(?:the )?)"
)
_KEY = re.compile(
    rf"(?P<intro>{_IN})?(?P<letter>[a-g])(?P<acc>{_ACCIDENTAL})?[\s-]*(?P<mode>{_MODES})(?![a-z])"
    rf"(?P<noun> (?:key|mode|scale)(?![a-z]))?",
    re.IGNORECASE,
)
_GERMAN_KEY = re.compile(
    r"(?:in )?(?P<key>(?:cis|des|dis|es|fis|ges|gis|as|ais|[a-h])[\s-]*(?:dur|moll))(?![a-z])", re.IGNORECASE
)
_KEY_SHORT = re.compile(rf"(?P<letter>[A-G])(?P<acc>{_ACCIDENTAL})?(?P<mode>m|M|min|maj)?(?![A-Za-z0-9'♯♭#])")
_KEY_IN = re.compile(rf"(?P<intro>{_IN})(?P<letter>[a-g])(?P<acc>{_ACCIDENTAL})?(?![a-z0-9'♯♭#])", re.IGNORECASE)
_KEY_HAN = re.compile(
    r"(?P<before>[升降♯♭#b]?)\s?(?P<letter>[A-Ga-g])\s?(?P<after>[升降♯♭#b]?)\s?(?:自然|和声|旋律)?"
    r"(?P<mode>[大小][调調]|(?:多利亚|混合利底亚|弗里几亚|利底亚|洛克里亚)(?:调式)?|[调調])"
)
_KEY_DO = re.compile(r"1\s?=\s?(?P<before>[♯♭#b]?)(?P<letter>[A-Ga-g])(?P<after>[♯♭#b]?)(?![A-Za-z0-9])")
_ARTICLE_MODE = re.compile(
    r"an? (?P<mode>major|minor) (?:key|mode|scale|tonality|mood|feel|feeling|sound|vibe)(?![a-z])"
)
_TRANSPOSING = re.compile(
    r"(?:b ?♭|b[ -]?flat|bb|e ?♭|e[ -]?flat|eb|f) (?=clarinet|trumpet|cornet|alto|tenor|soprano|bari|sax|horn|french)"
)
_NOT = re.compile(
    r"(?:(?:without|no|not|except|excluding|minus|never)(?![a-z])(?: (?:any|the|an?|too|so)(?![a-z]))*"
    rf"|{'|'.join(sorted(zh.NEGATIONS, key=len, reverse=True))}) ?"
)
_COUNT = re.compile(rf"(?P<n>{_NUMBER})\s*(?:[{zh.MEASURE_WORDS}]|-| )?")
_DECORATION = "|=~<>^`+*×→♩♪♫♬🎵🎶🎼✨"
_ACCIDENTALS = {"♯": 1, "#": 1, "sharp": 1, "升": 1, "♭": -1, "b": -1, "flat": -1, "降": -1}


def _tonic(letter: str, accidental: str | None) -> int:
    shift = _ACCIDENTALS[(accidental or "").strip(" -").lower()] if (accidental or "").strip() else 0
    return (dict(zip("cdefgab", (0, 2, 4, 5, 7, 9, 11), strict=True))[letter.lower()] + shift) % 12


class Scanner:
    """One scan of one prompt; ``items`` gives what it found in order."""

    def __init__(self, text: str) -> None:
        self.text = normalised(text)
        self.low = lowered(self.text)
        # In a text all in capitals, A may be the article.
        self.shouting = self.text == self.text.upper()
        self.rules: tuple[Callable[[int], Iterable[Found]], ...] = (
            self._keys,
            self._meters,
            self._tempi,
            self._lengths,
            self._others,
            self._negations,
            self._counted,
        )

    def items(self) -> list[Item]:
        """All items in order, unknown ones included; together they cover every letter, digit and symbol of the text."""
        found: list[Item] = []
        place = 0
        while place < len(self.low):
            char = self.low[place]
            best = None if char.isspace() else self._best(place)
            silent = char.isspace() or char in _DECORATION or unicodedata.category(char)[0] in "PCM"
            if best is None and silent and char not in "@#&":
                place += 1
                continue
            end, kind, value = best or (self._unknown_end(place), "unknown", None)
            found.append(Item(kind, value, self.text[place:end].strip(), place, end))
            place = end
        return _merged(found, self.text)

    def _best(self, place: int) -> Found | None:
        best = look_up(self.low, place)
        for rule in self.rules:
            for found in rule(place):
                # Between equals, what the rules read stands before the gazetteers.
                if (
                    best is None
                    or found[0] > best[0]
                    or (found[0] == best[0] and best[1] == "stop" and found[1] != "unknown")
                ):
                    best = found
        return best

    def _unknown_end(self, place: int) -> int:
        if not _is_letter(self.low[place]):
            return place + 1
        match = re.compile(r"[^\W_]+(?:['’][^\W_]+)*").match(self.low, place)
        end = match.end() if match else place + 1
        for offset in range(place + 1, end):
            if is_han(self.low[offset]):
                return offset
        return end

    def _keys(self, place: int) -> Iterable[Found]:
        text, low = self.text, self.low
        if match := _ARTICLE_MODE.match(low, place):
            capital = text[place] == "A" and not self.shouting and place > 0
            if not capital:
                yield match.end(), "mode", match["mode"]
                return
        if match := _GERMAN_KEY.match(text, place):
            yield match.end(), "key", Key.parse(match["key"])
        if match := _KEY.match(text, place):
            mode = match["mode"].lower()
            intro = match["intro"] or ""
            article = match["letter"] == "a" or (match["letter"] == "A" and self.shouting)
            if not (article and not match["acc"] and match["noun"] and intro.lower() == "in "):
                tonic = _tonic(match["letter"], match["acc"])
                yield match.end(), "key", Key(tonic, Key.parse(f"{match['letter'].upper()} {mode}").mode)
        if (match := _KEY_HAN.match(text, place)) and not (match["before"] and match["after"]):
            tonic = _tonic(match["letter"], match["before"] or match["after"])
            if match["mode"] in "调調":
                yield match.end(), "tonic", tonic
            else:
                yield match.end(), "key", Key(tonic, Key.parse(f"{match['letter'].upper()}{match['mode']}").mode)
        if (match := _KEY_DO.match(text, place)) and not (match["before"] and match["after"]):
            yield match.end(), "key", Key(_tonic(match["letter"], match["before"] or match["after"]))
        if match := _KEY_SHORT.match(text, place):
            tonic = _tonic(match["letter"], match["acc"])
            if match["mode"]:
                yield match.end(), "key", Key(tonic, "minor" if match["mode"] in ("m", "min") else "major")
            elif match["acc"] or self._stands_alone(place, match.end()):
                yield match.end(), "tonic", tonic
        if match := _KEY_IN.match(text, place):
            article = match["letter"] == "a" or (match["letter"] == "A" and self.shouting)
            if not article or match["acc"] or re.compile(_STOP_AFTER).match(low, match.end()):
                yield match.end(), "tonic", _tonic(match["letter"], match["acc"])

    def _stands_alone(self, start: int, end: int) -> bool:
        before, after = self.text[:start].rstrip()[-1:], self.text[end:].lstrip()[:1]
        return before in ("", *",;:、。") and after in ("", *",;、。") and (before + after) != ""

    def _tempi(self, place: int) -> Iterable[Found]:
        for pattern in (_BPM, _TEMPO, _AT):
            if (match := pattern.match(self.low, place)) and (span := _span(match)):
                if match[0].endswith("拍") and pattern is _BPM and span[1] in range(2, 8) and not match["high"]:
                    yield match.end(), "meter", Meter(int(span[1]), 4)
                else:
                    yield match.end(), "tempo", (*span, None)
        if (match := _NOTE.match(self.low, place)) and (span := _span(match)):
            ticks = _NOTES[match["note"].removesuffix("s").removesuffix(" note")]
            yield match.end(), "tempo", (*span, ticks * 3 // 2 if match["dot"] or match["after"] else ticks)

    def _meters(self, place: int) -> Iterable[Found]:
        if match := _METER.match(self.low, place):
            yield match.end(), "meter", Meter(int(match["n"]), int(match["d"]))
        if match := _METER_OF.match(self.low, place):
            n, d = number(match["n"]), number(match["d"])
            if n is not None and d is not None:
                yield match.end(), "meter", Meter(int(n), int(d))
        if match := _METER_PAIR.match(self.low, place):
            # Said denominator first (四三拍) or numerator first (三四拍); only one of the two exists.
            x, y = int(number(match["x"]) or 0), int(number(match["y"]) or 0)
            yield (
                match.end(),
                "meter",
                Meter(y, x) if x in (2, 4, 8) and (y, x) not in ((4, 2), (8, 6)) else Meter(x, y),
            )
        if match := _IN_BEATS.match(self.low, place):
            yield match.end(), "meter", Meter(int(number(match["n"]) or 0), 4)

    def _lengths(self, place: int) -> Iterable[Found]:
        if match := _BLUES.match(self.low, place):
            yield match.end(), "form", 12
        for pattern in (_BARS, _BARS_AFTER):
            if (match := pattern.match(self.low, place)) and (span := _span(match)):
                yield match.end(), "bars", span
        if match := _CLOCK.match(self.low, place):
            seconds = float(int(match["minutes"]) * 60 + int(match["seconds"]))
            yield match.end(), "seconds", (seconds, seconds)
        if (match := _PART_TO.match(self.low, place)) and match["high"] and (span := _span(match)):
            scale = _scale(match["unit"])
            yield match.end(), "seconds", (span[0] * scale, span[1] * scale)
        end, total, scale = place, 0.0, float("inf")
        if match := _DECADE.match(self.low, place):
            yield match.end(), "unknown", None
            return
        while match := _LENGTH.match(self.low, end):
            value = _length(match)
            unit = _scale(match["unit"])
            if value is None or unit >= scale:
                break
            end, total, scale = match.end(), total + value * unit, unit
            yield end, "seconds", (total, total)
            following = re.compile(r"\s*(?:and\s+|,\s*|零|又)?").match(self.low, end)
            end = following.end() if following else end
            # "1 min 30" leaves the seconds unsaid.
            bare = _BARE_SECONDS.match(self.low, end)
            if scale == 60 and bare and not self.low[match.end() : end].strip():
                yield bare.end(), "seconds", (total + int(bare[1]), total + int(bare[1]))

    def _others(self, place: int) -> Iterable[Found]:
        if match := _SEED.match(self.low, place):
            yield match.end(), "seed", int(match["n"])
        match = _TRANSPOSING.match(self.low, place)
        found = look_up(self.low, match.end()) if match else None
        if found and found[1] == "instrument":
            yield found

    def _negations(self, place: int) -> Iterable[Found]:
        match = _NOT.match(self.low, place)
        if not match:
            return
        found = look_up(self.low, match.end())
        if found and found[1] == "drums":
            yield found[0], "no_drums", True
        elif found and found[1] == "instrument":
            yield found[0], "no_instrument", found[2]
        else:
            # What is not wanted is said back as not understood, never taken for its opposite.
            end = found[0] if found else self._unknown_end(match.end()) if match.end() < len(self.low) else match.end()
            yield end, "unknown", None

    def _counted(self, place: int) -> Iterable[Found]:
        match = _COUNT.match(self.low, place)
        count = number(match["n"]) if match else None
        if match and count and count == int(count) and 1 <= count <= 15:
            found = look_up(self.low, match.end())
            if found and found[1] == "instrument":
                yield found[0], "instrument", tuple(found[2]) * int(count) if count > 1 else found[2]


def _scale(unit: str) -> float:
    if re.fullmatch(_HOUR, unit):
        return 3600.0
    return 60.0 if re.fullmatch(_MINUTE, unit) else 1.0


def _length(match: re.Match[str]) -> float | None:
    text = match["number"]
    value = 0.5 if text == "半" or text.startswith("half") else 1.0 if text in ("a", "an") else number(text)
    if value is None:
        return None
    return value + 0.5 * bool(match["half"] or match["middle"] or match["later"])


def _merged(items: list[Item], text: str) -> list[Item]:
    """Unknown Chinese characters that touch become one word, with any one-character word of content beside them."""
    merged: list[Item] = []
    for item in items:
        previous = merged[-1] if merged else None
        touching = previous is not None and previous.end == item.start and is_han(text[item.start])
        if touching and previous is not None and is_han(text[previous.end - 1]) and _joins(previous, item):
            merged[-1] = Item("unknown", None, text[previous.start : item.end].strip(), previous.start, item.end)
        else:
            merged.append(item)
    return merged


def _joins(left: Item, right: Item) -> bool:
    single = [item.kind == "unknown" or (item.kind != "stop" and len(item.words) == 1) for item in (left, right)]
    return all(single) and "unknown" in (left.kind, right.kind)
