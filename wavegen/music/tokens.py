"""Scores as sequences of tokens, and what may follow what.

"tune" writes a lead sheet, normalised so that its tonic is C: ``Style_x Meter_n/d Mode_m``, then for every bar
``Bar_k`` (k bars are left, this one included, capped), ``Chord_root:quality``, and notes as ``Pitch_p``, ``Rest`` or
``Tie`` (the pitch before goes on), each with its ``Dur_d`` in ticks, 12 a quarter; a chord that changes in the middle
of the bar stands before the note that begins there. ``End`` closes the tune.

"pianoroll" writes a polyphonic roll: ``Begin``, then for every time step its pitches, ascending, and ``Step``.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from wavegen.errors import InputError
from wavegen.music.attributes import Key, Meter
from wavegen.music.leadsheet import Bar, Chord, LeadSheet

if TYPE_CHECKING:
    import torch

IntArray = NDArray[np.int64]

KINDS = ("tune", "pianoroll")
# Fixed, since the numbers of tokens in trained models depend on them: append at the end of the vocabulary only.
STYLES = (
    *("chorale", "waltz", "jig", "reel", "hornpipe", "march", "polka", "air", "strathspey", "slip-jig"),
    *("minuet", "folk"),
)
METERS = ("2/4", "3/4", "4/4", "5/4", "6/4", "7/4", "2/2", "3/8", "5/8", "6/8", "7/8", "9/8", "12/8")
MODES = ("major", "minor", "dorian", "mixolydian")
QUALITIES = ("maj", "min", "dim", "7", "min7")
LOWEST, HIGHEST = 36, 96
CENTRE = 72
LONGEST = 84  # ticks: a bar of 7/4
COUNTDOWN = 32
HALVED = ("4/4", "2/2", "6/8", "12/8")  # the metres in whose middle the chord may change
ROLL_LOWEST, ROLL_HIGHEST = 21, 108


def bar_ticks(meter: str) -> int:
    """Ticks of a bar of "3/4" or the like, 12 a quarter."""
    return Meter.parse(meter).ticks


def beat_ticks(meter: str) -> int:
    """Ticks of a beat: three eighths in 6/8, 9/8 and 12/8, else the denominator's note."""
    return Meter.parse(meter).beat


def middle(meter: str) -> int:
    """The tick of the bar's middle beat: the half of the bar, or the beat before it where beats are odd."""
    return bar_ticks(meter) // beat_ticks(meter) // 2 * beat_ticks(meter)


class Vocabulary:
    """The tokens of a kind ("tune" or "pianoroll"), their numbers, and which may stand after which.

    ``values`` holds each token's number: a pitch, a duration in ticks, a count of bars, a chord's root * 5 + quality,
    the place in STYLES, METERS or MODES; 0 for the others. ``families`` holds each token's first word ("Pitch", ...).
    """

    def __init__(self, kind: str) -> None:
        if kind not in KINDS:
            raise InputError(f"vocabulary: must be one of {', '.join(KINDS)}, not {kind!r}")
        self.kind = kind
        self.names: tuple[str, ...] = tuple(_tune_names() if kind == "tune" else _roll_names())
        self.size = len(self.names)
        self._index = {name: i for i, name in enumerate(self.names)}
        self.families: tuple[str, ...] = tuple(name.partition("_")[0] for name in self.names)
        self.values: IntArray = np.array([_value(name) for name in self.names], dtype=np.int64)
        self.table: NDArray[np.bool_] = self._tune_table() if kind == "tune" else self._roll_table()

    def index(self, name: str) -> int:
        """A token's number. InputError for a name that is not in the vocabulary."""
        try:
            return self._index[name]
        except KeyError:
            raise InputError(f"{name!r} is not a token of the vocabulary {self.kind}") from None

    def family(self, *names: str) -> NDArray[np.bool_]:
        """Which tokens belong to these families, bool (size,)."""
        return np.array([family in names for family in self.families])

    @property
    def follow(self) -> "torch.Tensor":
        """Which token (column) may stand after which (row), bool (size, size). After ``End`` there is only ``End``."""
        import torch

        return torch.from_numpy(self.table)

    @property
    def padding(self) -> int:
        """The token that fills a batch's shorter sequences."""
        return self.index("End" if self.kind == "tune" else "Step")

    def tokens(self, names: Iterable[str]) -> IntArray:
        """The numbers of named tokens."""
        return np.array([self.index(name) for name in names], dtype=np.int64)

    def check(self, tokens: Sequence[int] | IntArray) -> IntArray:
        """The tokens as int64 (n,). InputError, naming the place, if one is unknown or may not follow its neighbour."""
        checked = np.asarray(tokens)
        if checked.ndim != 1 or not np.issubdtype(checked.dtype, np.integer):
            raise InputError(f"tokens: expected a row of integers, not {checked.dtype} of shape {checked.shape}")
        for i in np.flatnonzero((checked < 0) | (checked >= self.size))[:1]:
            raise InputError(f"token {i}: {checked[i]} is outside the vocabulary {self.kind} of {self.size}")
        for i in np.flatnonzero(~self.table[checked[:-1], checked[1:]])[:1]:
            raise InputError(f"token {i + 1}: {self.names[checked[i + 1]]} may not follow {self.names[checked[i]]}")
        return checked.astype(np.int64)

    def _tune_table(self) -> NDArray[np.bool_]:
        after = {
            "Style": ("Meter",),
            "Meter": ("Mode",),
            "Mode": ("Bar",),
            "Bar": ("Chord",),
            "Chord": ("Pitch", "Rest", "Tie"),
            "Pitch": ("Dur",),
            "Rest": ("Dur",),
            "Tie": ("Dur",),
            "Dur": ("Pitch", "Rest", "Chord", "Bar", "End"),
            "End": ("End",),
        }
        return np.stack([self.family(*after[family]) for family in self.families])

    def _roll_table(self) -> NDArray[np.bool_]:
        higher = self.values[None] > self.values[:, None]  # Begin and Step have the value 0
        pitch, step = self.family("Pitch"), self.family("Step")
        table: NDArray[np.bool_] = (pitch[None] & higher) | step[None]
        return table


def _tune_names() -> list[str]:
    return [
        *(f"Style_{style}" for style in STYLES),
        *(f"Meter_{meter}" for meter in METERS),
        *(f"Mode_{mode}" for mode in MODES),
        *(f"Bar_{k}" for k in range(1, COUNTDOWN + 1)),
        *(f"Chord_{root}:{quality}" for root in range(12) for quality in QUALITIES),
        *(f"Pitch_{pitch}" for pitch in range(LOWEST, HIGHEST + 1)),
        "Rest",
        "Tie",
        *(f"Dur_{ticks}" for ticks in range(1, LONGEST + 1)),
        "End",
    ]


def _roll_names() -> list[str]:
    return ["Begin", *(f"Pitch_{pitch}" for pitch in range(ROLL_LOWEST, ROLL_HIGHEST + 1)), "Step"]


def _value(name: str) -> int:
    family, _, rest = name.partition("_")
    if family == "Chord":
        root, quality = rest.split(":")
        return int(root) * len(QUALITIES) + QUALITIES.index(quality)
    places: dict[str, Sequence[str]] = {"Style": STYLES, "Meter": METERS, "Mode": MODES}
    if family in places:
        return places[family].index(rest)
    return int(rest) if rest else 0


@lru_cache(maxsize=2)
def vocabulary(kind: str) -> Vocabulary:
    """The vocabulary of a kind, "tune" or "pianoroll", made once."""
    return Vocabulary(kind)


def encode(leadsheet: LeadSheet, *, bars_after: int = 0) -> IntArray:
    """A lead sheet's tokens, its tonic turned to C and its melody moved by octaves to have its mean nearest C5.

    ``bars_after`` bars will follow: the countdown allows for them, and ``End`` is left out. Notes beyond the
    vocabulary's range are moved by octaves, rests and held notes that a bar merely cuts in pieces are joined.
    InputError for a style, metre, mode, chord or duration that the vocabulary lacks, or a bar that is not full.
    """
    names = [f"Style_{leadsheet.style}", f"Meter_{leadsheet.meter.name}", f"Mode_{leadsheet.key.mode}"]
    shift = _normalising_shift(leadsheet)
    left = len(leadsheet.bars) + bars_after
    sounding: int | None = None
    for number, bar in enumerate(leadsheet.bars, start=1):
        names.append(f"Bar_{min(left, COUNTDOWN)}")
        left -= 1
        try:
            sounding = _encode_bar(names, bar, leadsheet.meter, shift, sounding)
        except InputError as error:
            raise InputError(f"bar {number}: {error}") from None
    if bars_after == 0:
        names.append("End")
    return vocabulary("tune").tokens(names)


def _normalising_shift(leadsheet: LeadSheet) -> int:
    shift = -leadsheet.key.tonic
    notes = [(n[0], n[1]) for bar in leadsheet.bars for n in bar.notes if n[0] is not None]
    if notes:
        mean = sum(pitch * ticks for pitch, ticks in notes) / sum(ticks for _, ticks in notes)
        shift += 12 * round((CENTRE - mean - shift) / 12)
    return shift


def _encode_bar(names: list[str], bar: Bar, meter: Meter, shift: int, sounding: int | None) -> int | None:
    """Append a bar's tokens; the pitch that sounds at its end comes back."""
    half = meter.ticks // 2 if meter.name in HALVED else None
    if bar.ticks != meter.ticks:
        raise InputError(f"its notes last {bar.ticks} ticks, but a bar of {meter.name} has {meter.ticks}")
    if any(tick not in (0, half) for tick, _ in bar.chords):
        places = "tick 0" if half is None else f"ticks 0 and {half}"
        raise InputError(f"chords stand at ticks {[t for t, _ in bar.chords]}; {meter.name} takes them at {places}")
    names.append(chord_name(bar.chords[0][1]))
    change = bar.chords[-1][1] if len(bar.chords) > 1 and bar.chords[-1][1] != bar.chords[0][1] else None
    cut = half if change is not None else None
    tick = 0
    events: list[tuple[str, int]] = []
    for pitch, duration, tied in bar.notes:
        pieces = [duration]
        if cut is not None and tick < cut < tick + duration:
            pieces = [cut - tick, tick + duration - cut]
        for i, piece in enumerate(pieces):
            if tick == cut:
                names.extend(word for name, d in events for word in (name, f"Dur_{d}"))
                assert change is not None
                names.append(chord_name(change))
                events = []
            value = None if pitch is None else _folded(pitch + shift)
            goes_on = (tied or i > 0) and value is not None and value == sounding
            if events and (goes_on or (value is None and events[-1][0] == "Rest")):
                events[-1] = (events[-1][0], events[-1][1] + piece)
            else:
                name = "Rest" if value is None else "Tie" if goes_on else f"Pitch_{value}"
                events.append((name, piece))
            sounding = value
            tick += piece
    names.extend(word for name, d in events for word in (name, f"Dur_{d}"))
    return sounding


def _folded(pitch: int) -> int:
    while pitch < LOWEST:
        pitch += 12
    while pitch > HIGHEST:
        pitch -= 12
    return pitch


def chord_name(chord: Chord) -> str:
    """A chord's token; its root counts from the tonic."""
    return f"Chord_{chord.root % 12}:{chord.quality}"


def decode(tokens: Sequence[int] | IntArray, key: Key) -> LeadSheet:
    """The lead sheet of a tune's tokens in a key, its tonic at most half an octave from C.

    The tokens begin with style, metre and mode; ``End`` may be missing. InputError names the token that does not fit:
    one in the wrong place, a bar that is too long or too short, a tie of nothing.
    """
    vocab = vocabulary("tune")
    checked = vocab.check(tokens)
    if len(checked) < 3 or vocab.families[checked[0]] != "Style":
        raise InputError("token 0: a tune begins with its style, metre and mode")
    style, meter = STYLES[vocab.values[checked[0]]], Meter.parse(METERS[vocab.values[checked[1]]])
    shift = key.tonic if key.tonic <= 6 else key.tonic - 12
    starts = [i for i in range(3, len(checked)) if vocab.families[checked[i]] == "Bar"]
    ends = [*starts[1:], len(checked)]
    bars = []
    sounding: int | None = None
    for start, end in zip(starts, ends, strict=True):
        bar, sounding = _decode_bar(vocab, checked, start, end, meter, shift, sounding)
        bars.append(bar)
    return LeadSheet(key=key, meter=meter, style=style, bars=tuple(bars))


def _decode_bar(
    vocab: Vocabulary, tokens: IntArray, start: int, end: int, meter: Meter, shift: int, sounding: int | None
) -> tuple[Bar, int | None]:
    chords: list[tuple[int, Chord]] = []
    notes: list[tuple[int | None, int, bool]] = []
    tick = 0
    for i in range(start + 1, end):
        family, value = vocab.families[tokens[i]], int(vocab.values[tokens[i]])
        if family == "Chord":
            if tick != 0 and (meter.name not in HALVED or 2 * tick != meter.ticks):
                raise InputError(f"token {i}: a chord at tick {tick} of a bar of {meter.name}")
            chords.append((tick, Chord(value // len(QUALITIES), QUALITIES[value % len(QUALITIES)])))
        elif family == "Tie" and sounding is None:
            raise InputError(f"token {i}: a tie, but no pitch sounds before it")
        elif family in ("Pitch", "Rest"):
            sounding = value + shift if family == "Pitch" else None
        elif family == "Dur":
            notes.append((sounding, value, vocab.families[tokens[i - 1]] == "Tie"))
            tick += value
    if tick != meter.ticks:
        raise InputError(f"token {start}: the bar lasts {tick} ticks, but a bar of {meter.name} has {meter.ticks}")
    return Bar(chords=tuple(chords), notes=tuple(notes)), sounding


def encode_steps(steps: Iterable[Sequence[int] | IntArray]) -> IntArray:
    """The tokens of a roll, given the MIDI pitches (21-108) that sound in every time step. InputError beyond them."""
    names = ["Begin"]
    for number, pitches in enumerate(steps):
        for pitch in sorted({int(p) for p in pitches}):
            if not ROLL_LOWEST <= pitch <= ROLL_HIGHEST:
                raise InputError(f"step {number}: pitch {pitch} is not one of a piano's {ROLL_LOWEST}-{ROLL_HIGHEST}")
            names.append(f"Pitch_{pitch}")
        names.append("Step")
    return vocabulary("pianoroll").tokens(names)


def decode_steps(tokens: Sequence[int] | IntArray) -> list[IntArray]:
    """The ascending pitches of every time step that is closed. InputError for a token in the wrong place."""
    vocab = vocabulary("pianoroll")
    checked = vocab.check(tokens)
    if len(checked) and vocab.families[checked[0]] != "Begin":
        raise InputError("token 0: a roll begins with Begin")
    ends = np.flatnonzero(vocab.family("Step")[checked])
    pitches = np.split(checked, ends + 1)[: len(ends)]
    return [vocab.values[part[vocab.family("Pitch")[part]]] for part in pitches]
