"""Chords for a melody, and chords that are found in notes.

The harmoniser is a hidden Markov model, as in Simon, Morris and Basu's MySong (2008): chords are hidden, the melody's
tones are what they emit, and Viterbi's algorithm finds the likeliest chords. How one chord follows another and which
tones a melody takes over it were counted in Bach's chorales (``recipes/music/harmony_tables.py``); which chords are
tried in each mode, and how slowly they change, are those of tunes.
"""

import json
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wavegen.errors import InputError
from wavegen.music.attributes import MODES, Key, Meter
from wavegen.music.leadsheet import QUALITIES, Chord, NoteEvent

Array = NDArray[np.float64]
Chords = tuple[tuple[int, Chord], ...]

HALVED = ("4/4", "2/2", "6/8", "12/8")
"""The metres in whose middle the chord may change."""

# The chords that are tried, by mode, with how common each is in tunes (weights, not normalised).
_PALETTE: dict[str, dict[str, float]] = {
    "major": {"0:maj": 10, "5:maj": 5, "7:maj": 5, "7:7": 3, "2:min": 2, "9:min": 2, "4:min": 0.4},
    "minor": {"0:min": 10, "5:min": 3, "7:maj": 2.5, "7:7": 2, "10:maj": 4, "3:maj": 3, "8:maj": 2, "7:min": 1},
    "dorian": {"0:min": 10, "10:maj": 6, "5:maj": 3, "3:maj": 2, "7:min": 2, "2:min": 0.7, "7:maj": 0.3},
    "mixolydian": {"0:maj": 10, "10:maj": 6, "5:maj": 4, "7:min": 2, "2:min": 1, "9:min": 1, "7:maj": 0.5},
}
_PALETTE_SHARE = 0.5  # of a change's probability; the rest is the chorales'
_HOLD_BAR, _HOLD_HALF = 0.3, 0.8  # the probability that a chord goes on over a bar line, and over a bar's middle
_STRONG = 1.6  # how much more a tone counts that begins where the chord may change
_CADENCE = 1.5  # nats for a tonic chord at the end, and a dominant before it
_PSEUDO = 6.0  # notes, in quarters, that the pooled tones of a quality count for beside a chord's own
_OUTSIDE = 0.25  # what a tone outside the scale is thought less likely over a chord that the chorales lack


class Table(NamedTuple):
    """What was counted in pieces of a mode: chords (root from the tonic), ``change[i, j]`` how often chord j follows
    i, ``tones[i, p]`` how many quarters the soprano has pitch class p (from the tonic) over chord i.
    """

    chords: tuple[Chord, ...]
    change: Array
    tones: Array


def parse_chord(text: str) -> Chord:
    """The chord of "7:min7": root and quality. InputError for another text."""
    root, _, quality = text.partition(":")
    if not (root.isdigit() and quality in QUALITIES):
        raise InputError(f"{text!r} is not a chord; write root and quality, for example '7:min7'")
    return Chord(int(root), quality)


@lru_cache(maxsize=1)
def tables() -> dict[str, Table]:
    """The counts of the chorales in "major" and "minor"."""
    data = json.loads((files("wavegen.music") / "data" / "harmony.json").read_text(encoding="utf-8"))
    return {
        mode: Table(
            tuple(map(parse_chord, part["chords"])), np.array(part["change"], float), np.array(part["tones"], float)
        )
        for mode, part in data.items()
    }


@lru_cache(maxsize=1)
def tones_by_quality() -> dict[str, Array]:
    """Quality → how likely a melody takes the tone so many semitones above a chord's root, shape (12,)."""
    pooled = {quality: np.full(12, 1.0) for quality in QUALITIES}
    for table in tables().values():
        for chord, row in zip(table.chords, table.tones, strict=True):
            pooled[chord.quality] += np.roll(row, -chord.root)
    return {quality: row / row.sum() for quality, row in pooled.items()}


class _Model(NamedTuple):
    chords: tuple[Chord, ...]
    tones: Array  # log-probability of pitch class by chord
    change: Array  # probability of the next chord, another one
    start: Array  # log-probability


@lru_cache(maxsize=len(MODES))
def _model(mode: str) -> _Model:
    chords = tuple(map(parse_chord, _PALETTE[mode]))
    common = np.array(list(_PALETTE[mode].values()))
    table = tables()["minor" if mode in ("minor", "dorian") else "major"]
    # A modal chord follows what the chord on the same degree does in major or minor.
    place = [_nearest(chord, table.chords) for chord in chords]
    learned = np.array([[table.change[i, j] for j in place] for i in place]) + 1.0
    np.fill_diagonal(learned, 0.0)
    usual = np.tile(common, (len(chords), 1))
    np.fill_diagonal(usual, 0.0)
    change = _PALETTE_SHARE * usual / usual.sum(1, keepdims=True)
    change += (1 - _PALETTE_SHARE) * learned / learned.sum(1, keepdims=True)
    tones = np.empty((len(chords), 12))
    scale = np.isin(np.arange(12), MODES[mode])
    for i, chord in enumerate(chords):
        pooled = np.roll(tones_by_quality()[chord.quality], chord.root)
        exact = chord in table.chords and mode in ("major", "minor")
        own = table.tones[table.chords.index(chord)] if exact else np.zeros(12)
        pooled = pooled if exact else pooled * np.where(scale, 1.0, _OUTSIDE)
        row = own + _PSEUDO * pooled / pooled.sum() + 0.05
        tones[i] = np.log(row / row.sum())
    return _Model(chords, tones, change, np.log(common / common.sum()))


def _nearest(chord: Chord, chords: Sequence[Chord]) -> int:
    """The place of the chord itself, or else of one on the same or the nearest degree."""
    return min(
        range(len(chords)),
        key=lambda i: (
            min((chords[i].root - chord.root) % 12, (chord.root - chords[i].root) % 12),
            chords[i].quality != chord.quality,
        ),
    )


def harmonise(
    bars: Sequence[Sequence[NoteEvent]], key: Key, meter: Meter, *, cadence: bool = True, halves: bool = True
) -> list[Chords]:
    """The likeliest chords for a melody: per bar (tick, chord), roots counted from the tonic.

    ``bars`` hold (MIDI pitch or None, ticks, tied) and are full. Where ``halves``, chords may also change in the
    middle of bars of 4/4, 2/2, 6/8 and 12/8. ``cadence``: the piece ends there, best on the tonic chord after a
    dominant.
    """
    if not bars:
        return []
    model = _model(key.mode)
    slots = 2 if halves and meter.name in HALVED else 1
    width = meter.ticks // slots
    weights = np.concatenate([_weights(bar, key, width, slots) for bar in bars])
    score = weights @ model.tones.T
    if cadence:
        score[-1] += _CADENCE * np.array([chord.root == 0 for chord in model.chords])
        if len(score) > slots:
            score[-1 - slots] += 0.5 * _CADENCE * np.array([chord.root == 7 for chord in model.chords])
    path = _viterbi(score, model, slots)
    found: list[Chords] = []
    for number in range(len(bars)):
        states = path[number * slots : (number + 1) * slots]
        places = [slot for slot in range(slots) if slot == 0 or states[slot] != states[slot - 1]]
        found.append(tuple((slot * width, model.chords[states[slot]]) for slot in places))
    return found


def _weights(bar: Sequence[NoteEvent], key: Key, width: int, slots: int) -> Array:
    """How many quarters each pitch class, counted from the tonic, sounds in each slot (slots, 12)."""
    found = np.zeros((slots, 12))
    tick = 0
    for pitch, duration, tied in bar:
        if pitch is not None:
            for slot in range(slots):
                inside = min(tick + duration, (slot + 1) * width) - max(tick, slot * width)
                if inside > 0:
                    strong = _STRONG if tick == slot * width and not tied else 1.0
                    found[slot, (pitch - key.tonic) % 12] += strong * inside / 12
        tick += duration
    return found


def _viterbi(score: Array, model: _Model, slots: int) -> list[int]:
    steps = []
    for hold in (_HOLD_BAR, _HOLD_HALF):
        step = (1 - hold) * model.change
        np.fill_diagonal(step, hold)
        steps.append(np.log(step))
    best = model.start + score[0]
    back = np.zeros(score.shape, np.int64)
    for n in range(1, len(score)):
        total = best[:, None] + steps[1 if n % slots else 0]
        back[n] = total.argmax(0)
        best = total.max(0) + score[n]
    path = [int(best.argmax())]
    for n in range(len(score) - 1, 0, -1):
        path.append(int(back[n, path[-1]]))
    return path[::-1]


def chord_of(weights: Array, bass: int | None = None) -> Chord | None:
    """The chord that fits how long each pitch class (12,) sounds, and the pitch class of the lowest tone; None if
    nothing sounds. Roots are as the pitch classes are counted.
    """
    total = float(weights.sum())
    if total <= 0:
        return None
    shares = weights / total
    best, best_score = Chord(0), -np.inf
    for root in range(12):
        for quality, steps in QUALITIES.items():
            tones = [(root + step) % 12 for step in steps]
            inside = float(shares[tones].sum())
            missing = sum(shares[tone] < 0.03 for tone in tones)
            score = inside - 0.12 * missing - 0.03 * (len(steps) - 3) + 0.08 * float(shares[root])
            score += 0.08 * (bass == root) - 0.04 * (quality == "dim")
            if score > best_score + 1e-12:
                best, best_score = Chord(root, quality), score
    return best


_ROMAN = ("I", "bII", "II", "bIII", "III", "IV", "bV", "V", "bVI", "VI", "bVII", "VII")
_TONES = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
_SUFFIX = {"maj": "", "min": "m", "dim": "dim", "7": "7", "min7": "m7"}


def roman(chord: Chord) -> str:
    """A chord whose root counts from the tonic as a Roman numeral: "I", "ii", "V7", "bVII", "viio"."""
    name = _ROMAN[chord.root]
    if chord.quality in ("min", "min7", "dim"):
        name = name.lower()
    return name + {"7": "7", "min7": "7", "dim": "o"}.get(chord.quality, "")


def symbol(chord: Chord, key: Key | None = None) -> str:
    """A chord symbol: "C", "Dm", "G7". With a key, the chord's root counts from its tonic."""
    root = (chord.root + (key.tonic if key else 0)) % 12
    names = list(_TONES)
    if key is not None and key.fifths > 0:
        names[1], names[3], names[8], names[10] = "C#", "D#", "G#", "A#"
    return names[root] + _SUFFIX[chord.quality]
