"""What a piece is to be: key, metre, tempo, instruments, style, length; all decided before a note is composed."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from wavegen.errors import InputError

TICKS = 12
"""Ticks of a quarter note on the grid of lead sheets."""

MODES: dict[str, tuple[int, ...]] = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
}
"""Mode → its scale in semitones above the tonic (minor is natural minor)."""

MIN_TEMPO, MAX_TEMPO = 20.0, 300.0
MAX_BARS = 512
MAX_INSTRUMENTS = 15  # MIDI's channels but the drums'
MIN_VELOCITY, MAX_VELOCITY = 20, 120

_MODE_WORDS = {
    **dict.fromkeys(("major", "maj", "dur", "ionian", "大调", "大調"), "major"),
    **dict.fromkeys(("minor", "min", "m", "moll", "aeolian", "小调", "小調"), "minor"),
    **dict.fromkeys(("dorian", "dor", "多利亚", "多利亚调式", "多利亞調式"), "dorian"),
    **dict.fromkeys(("mixolydian", "mix", "mixo", "混合利底亚", "混合利底亚调式", "混合利底亞調式"), "mixolydian"),
}
# Modes that are known to music but not composed in: refused by name.
_OTHER_MODES = ("phrygian", "lydian", "locrian", "弗里几亚", "利底亚", "洛克里亚")
_LETTERS = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}
_ACCIDENTALS = {"": 0, **dict.fromkeys(("#", "♯", "sharp", "升"), 1), **dict.fromkeys(("b", "♭", "flat", "降"), -1)}
_KEY = re.compile(
    r"(?P<before>[升降]?)\s*(?P<letter>[a-g])[\s-]*(?P<after>♯|#|♭|b(?![a-z])|b(?=m(?:aj|in)?\b|maj|min|dor|mix)|sharp|flat|)(?:\s*-\s*|\s*)(?P<mode>\S.*|)",
    re.IGNORECASE,
)
# German names mean B flat by B and B natural by H; they count only where "Dur" or "Moll" follows.
_GERMAN = dict(
    zip(
        ["c", "cis", "des", "d", "dis", "es", "e", "f", "fis", "ges", "g", "gis", "as", "a", "ais", "b", "h"],
        (0, 1, 1, 2, 3, 3, 4, 5, 6, 6, 7, 8, 8, 9, 10, 10, 11),
        strict=True,
    )
)
_GERMAN_KEY = re.compile(rf"({'|'.join(sorted(_GERMAN, key=len, reverse=True))})[\s-]*(dur|moll)")
# How each tonic is spelt: the signature with fewer accidentals, and between F#/Gb and the like the usual one.
_SPELLING = {
    "major": ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"),
    "minor": ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B"),
    "dorian": ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B"),
    "mixolydian": ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"),
}


@dataclass(frozen=True)
class Key:
    """A tonic (pitch class 0-11, C is 0) and a mode: "major", "minor", "dorian" or "mixolydian"."""

    tonic: int
    mode: str = "major"

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise InputError(f"key: mode {self.mode!r} is not supported; supported are {', '.join(MODES)}")
        if isinstance(self.tonic, bool) or not isinstance(self.tonic, int) or not 0 <= self.tonic <= 11:
            raise InputError(f"key: the tonic must be a pitch class from 0 to 11, not {self.tonic!r}")

    @classmethod
    def parse(cls, text: str) -> "Key":
        """The key of "G major", "Bb minor", "F#m", "Am", "D dorian", "G大调", "升F小调", "降B大调"; no mode is major.

        With "Dur" and "Moll" letters are German: "B-Dur" is B flat major, "h-Moll" B minor.

        Raises:
            InputError: not a key, or a mode that is not supported.
        """
        if german := _GERMAN_KEY.fullmatch(text.strip().lower()):
            return cls(_GERMAN[german[1]], _MODE_WORDS[german[2]])
        match = _KEY.fullmatch(text.strip())
        mode = match["mode"].strip() if match else ""
        word = "m" if mode == "m" else "major" if mode == "M" else mode.lower()
        word = word.removesuffix(" mode").removesuffix(" key").strip() if len(word) > 1 else word
        if match and word in ("", "调", "調"):
            word = "major"
        if word in _OTHER_MODES or word.removesuffix("调式") in _OTHER_MODES:
            raise InputError(f"key {text!r}: mode {word!r} is not supported; supported are {', '.join(MODES)}")
        if not match or word not in _MODE_WORDS or (match["before"] and match["after"]):
            raise InputError(f"{text!r} is not a key; write for example 'G major', 'Bb minor' or 'D dorian'")
        shift = _ACCIDENTALS[(match["before"] or match["after"]).lower()]
        return cls((_LETTERS[match["letter"].lower()] + shift) % 12, _MODE_WORDS[word])

    @property
    def tonic_name(self) -> str:
        """The tonic spelt by usage: "Bb", "F#", "Eb"."""
        return _SPELLING[self.mode][self.tonic]

    @property
    def name(self) -> str:
        """For example "G major" or "Bb minor"."""
        return f"{self.tonic_name} {self.mode}"

    @property
    def scale(self) -> tuple[int, ...]:
        """The pitch classes of the scale, the tonic first."""
        return tuple((self.tonic + step) % 12 for step in MODES[self.mode])

    @property
    def is_minor(self) -> bool:
        """Whether the third is minor (minor, dorian)."""
        return 3 in MODES[self.mode]

    @property
    def fifths(self) -> int:
        """The key signature as sharps (positive) or flats (negative), -6 to 6, of the scale as it is spelt."""
        name = self.tonic_name
        place = "FCGDAEB".index(name[0]) - 1 + 7 * (name.count("#") - name[1:].count("b"))
        return place - {"major": 0, "mixolydian": 1, "dorian": 2, "minor": 3}[self.mode]


_METERS = ("2/4", "3/4", "4/4", "5/4", "6/4", "7/4", "2/2", "3/8", "6/8", "9/8", "12/8", "5/8", "7/8")
_COMPOUND = ((6, 8), (9, 8), (12, 8))


@dataclass(frozen=True)
class Meter:
    """A time signature, one of METERS."""

    numerator: int
    denominator: int

    def __post_init__(self) -> None:
        if f"{self.numerator}/{self.denominator}" not in _METERS:
            raise InputError(
                f"metre {self.numerator}/{self.denominator} is not supported; supported are {', '.join(_METERS)}"
            )

    @classmethod
    def parse(cls, text: str) -> "Meter":
        """The metre of "3/4".

        Raises:
            InputError: not a metre, or one that is not supported; the message lists those that are.
        """
        match = re.fullmatch(r"\s*([0-9]{1,3})\s*[/\uff0f]\s*([0-9]{1,3})\s*", text)
        if not match:
            raise InputError(f"{text!r} is not a metre; supported are {', '.join(_METERS)}")
        return cls(int(match[1]), int(match[2]))

    @property
    def name(self) -> str:
        """For example "3/4"."""
        return f"{self.numerator}/{self.denominator}"

    @property
    def ticks(self) -> int:
        """Ticks of a bar, 12 a quarter."""
        return self.numerator * 4 * TICKS // self.denominator

    @property
    def compound(self) -> bool:
        """Whether beats divide by three: 6/8, 9/8, 12/8."""
        return (self.numerator, self.denominator) in _COMPOUND

    @property
    def beat(self) -> int:
        """Ticks of a beat: a dotted quarter (18) in compound metres, else the denominator's note."""
        return 3 * TICKS // 2 if self.compound else 4 * TICKS // self.denominator

    @property
    def beats(self) -> int:
        """Beats of a bar."""
        return self.ticks // self.beat

    @property
    def tempo_unit(self) -> int:
        """Ticks of the note a tempo counts: a dotted quarter (18) in compound metres, else a quarter (12)."""
        return 3 * TICKS // 2 if self.compound else TICKS

    @property
    def quarters(self) -> float:
        """Quarter notes of a bar."""
        return self.ticks / TICKS


METERS: tuple[Meter, ...] = tuple(Meter.parse(name) for name in _METERS)

TUNE_STYLES = (
    "chorale",
    "waltz",
    "jig",
    "reel",
    "hornpipe",
    "march",
    "polka",
    "air",
    "strathspey",
    "slip-jig",
    "minuet",
    "folk",
)
"""The style tokens of lead sheets: the kinds of tune there are corpora of."""


@dataclass(frozen=True)
class Style:
    """What is usual in a style; a prompt overrides any of it.

    ``meters``: usual ones, the first the commonest. ``tempo``: BPM of the metre's tempo unit, low and high.
    ``major``: the share of pieces in a major key. ``instruments``: GM programs, the melody's first. ``groove``: the
    word for drum patterns (a primary style of the Groove set, or "march", "waltz"). ``tune``: the style token its
    melody is composed under. ``fixed``: whether a metre outside ``meters`` contradicts the style (a waltz in 4/4).
    """

    name: str
    meters: tuple[Meter, ...]
    tempo: tuple[float, float]
    major: float
    instruments: tuple[int, ...]
    drums: bool
    groove: str
    tune: str
    fixed: bool = False


def _style(
    name: str,
    meters: str,
    tempo: tuple[float, float],
    major: float,
    instruments: tuple[int, ...],
    groove: str,
    tune: str,
    *,
    drums: bool = False,
    fixed: bool = False,
) -> Style:
    return Style(name, tuple(map(Meter.parse, meters.split())), tempo, major, instruments, drums, groove, tune, fixed)


STYLES: dict[str, Style] = {
    style.name: style
    for style in (
        _style("chorale", "4/4 3/4", (60, 84), 0.5, (19,), "pop", "chorale"),
        _style("waltz", "3/4", (90, 180), 0.75, (40, 0), "waltz", "waltz", fixed=True),
        _style("jig", "6/8", (100, 130), 0.75, (73, 25), "march", "jig", fixed=True),
        _style("reel", "4/4 2/2", (160, 220), 0.7, (110, 25), "march", "reel", fixed=True),
        _style("hornpipe", "4/4 2/2", (130, 180), 0.85, (110, 21), "march", "hornpipe", fixed=True),
        _style("march", "4/4 2/4 2/2 6/8", (100, 126), 0.85, (56, 60, 58), "march", "march", drums=True, fixed=True),
        _style("polka", "2/4 4/4", (110, 138), 0.95, (21, 58), "march", "polka", fixed=True),
        _style("air", "3/4 4/4 6/8", (50, 84), 0.6, (73, 46), "pop", "air"),
        _style("strathspey", "4/4", (100, 130), 0.75, (110, 0), "march", "strathspey", fixed=True),
        _style("slip-jig", "9/8", (90, 126), 0.7, (73, 25), "march", "slip-jig", fixed=True),
        _style("ballad", "4/4 3/4 6/8 12/8", (58, 80), 0.65, (0, 48, 33), "pop", "air", drums=True),
        _style("lullaby", "3/4 6/8 4/4", (50, 76), 0.85, (10, 46), "pop", "air"),
        _style("pop", "4/4", (96, 128), 0.75, (80, 25, 33), "pop", "folk", drums=True),
        _style("rock", "4/4", (108, 148), 0.6, (29, 27, 33), "rock", "folk", drums=True),
        _style("metal", "4/4", (120, 184), 0.1, (30, 29, 34), "rock", "folk", drums=True),
        _style("blues", "4/4 12/8", (70, 116), 0.7, (26, 16, 32), "blues", "folk", drums=True),
        _style("jazz", "4/4 3/4 5/4", (100, 190), 0.6, (66, 0, 32), "jazz", "folk", drums=True),
        _style("bossa", "4/4 2/4", (110, 144), 0.6, (73, 24, 32), "latin", "folk", drums=True),
        _style("funk", "4/4", (92, 116), 0.4, (65, 27, 36), "funk", "folk", drums=True),
        _style("classical", "4/4 3/4 2/4 6/8", (72, 132), 0.7, (40, 41, 42), "pop", "minuet"),
        _style("ambient", "4/4 3/4 6/8", (50, 76), 0.6, (88, 89), "pop", "air"),
        _style("tango", "4/4 2/4", (108, 132), 0.2, (40, 23, 0, 32), "latin", "folk"),
        _style("minuet", "3/4", (96, 132), 0.8, (40, 6), "waltz", "minuet", fixed=True),
        _style("folk", "4/4 3/4 2/4 6/8", (84, 126), 0.7, (73, 25), "country", "folk"),
        _style("electronic", "4/4", (118, 134), 0.35, (81, 90, 38), "dance", "folk", drums=True),
    )
}
"""Style name → what is usual in it."""


@dataclass(frozen=True)
class Attributes:
    """What is to be composed; every field is decided.

    ``tempo``: BPM, 20 to 300, counting dotted quarters in 6/8, 9/8 and 12/8 and quarters in every other metre.
    ``instruments``: 1 to 15 GM programs (0-127) in order, the first plays the melody; a program may stand twice.
    ``bars``: 1 to 512. ``dynamics``: the mean MIDI velocity, 20 to 120. ``seed``: 0 to 2**63 - 1. ``model``: the name
    of the score model.

    Raises:
        InputError: a field outside its range, which the message names.
    """

    key: Key
    tempo: float
    meter: Meter
    instruments: tuple[int, ...]
    drums: bool
    style: str
    mood: str | None
    bars: int
    dynamics: int
    seed: int
    model: str = "transformer"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.tempo) and MIN_TEMPO <= self.tempo <= MAX_TEMPO):
            raise InputError(f"tempo {self.tempo:g} is outside {MIN_TEMPO:g} to {MAX_TEMPO:g} beats a minute")
        if not 1 <= self.bars <= MAX_BARS:
            raise InputError(f"{self.bars} bars is outside 1 to {MAX_BARS}")
        if not MIN_VELOCITY <= self.dynamics <= MAX_VELOCITY:
            raise InputError(f"dynamics {self.dynamics} is outside {MIN_VELOCITY} to {MAX_VELOCITY}")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"seed {self.seed} is outside 0 to 2**63 - 1")
        if self.style not in STYLES:
            raise InputError(f"style {self.style!r} is unknown; known are {', '.join(STYLES)}")
        if not 1 <= len(self.instruments) <= MAX_INSTRUMENTS:
            raise InputError(
                f"{len(self.instruments)} instruments is outside 1 to {MAX_INSTRUMENTS} (drums not counted)"
            )
        if bad := [program for program in self.instruments if not 0 <= program <= 127]:
            raise InputError(f"instrument program {bad[0]} is outside 0 to 127")

    @property
    def quarter_tempo(self) -> float:
        """Quarter notes a minute, as MIDI files count them."""
        return self.tempo * self.meter.tempo_unit / TICKS

    @property
    def seconds(self) -> float:
        """The length of all bars at the tempo, in seconds."""
        return self.bars * self.meter.quarters * 60.0 / self.quarter_tempo

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain JSON values; ``from_dict`` gives the same attributes back."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return values | {"key": self.key.name, "meter": self.meter.name, "instruments": list(self.instruments)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Attributes":
        """Attributes from what ``to_dict`` gave.

        Raises:
            InputError: a field is missing, unknown, of another type or out of range.
        """
        names = {field.name for field in fields(cls)}
        if wrong := sorted(names - {"model"} - set(values)) or sorted(set(values) - names):
            raise InputError(f"attributes: field {wrong[0]!r} is {'unknown' if wrong[0] in values else 'missing'}")
        types: dict[str, Any] = {"key": str, "meter": str, "style": str, "model": str, "drums": bool}
        types |= {"instruments": (list, tuple), "tempo": (int, float), "bars": int, "dynamics": int, "seed": int}
        for name, value in values.items():
            wanted = types.get(name, (str, type(None)))
            if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
                raise InputError(f"attributes: field {name!r} cannot be {value!r}")
        if not all(isinstance(p, int) and not isinstance(p, bool) for p in values["instruments"]):
            raise InputError("attributes: field 'instruments' must hold whole numbers")
        changed: dict[str, Any] = {
            "key": Key.parse(values["key"]),
            "meter": Meter.parse(values["meter"]),
            "instruments": tuple(values["instruments"]),
            "tempo": float(values["tempo"]),
        }
        return cls(**{**values, **changed})
