"""What music theory asks of a melody, as rewards between 0 and 1 on the tokens of a tune.

After RL Tuner (Jaques et al. 2017, section 4.1, whose rules are Gauldin's "A Practical Approach to Eighteenth-Century
Counterpoint"): notes in key, none repeated too often, leaps resolved, tonic first and last, motifs that return, one
highest and one lowest note, little autocorrelation. Of our own: chord tones on strong beats. Rules about notes give a
value per note, those about the piece one value; what does not apply (no leap, no end yet) is NaN and does not count.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from wavegen.errors import InputError
from wavegen.music.attributes import MODES
from wavegen.music.tokens import METERS, QUALITIES, IntArray, bar_ticks, beat_ticks, middle, vocabulary
from wavegen.music.tokens import MODES as MODE_NAMES

Values = NDArray[np.float64]

REPEATS = 4  # a tone may sound this often in a row (Jaques et al. 2017)
LEAP = 7  # semitones from which an interval is a leap: the fifth
CORRELATION = 0.15  # autocorrelation that is free (Jaques et al. 2017)
LAGS = (1, 2, 3)  # beats
MOTIF_NOTES = 3  # different notes that make a bar's melody a motif (Jaques et al. 2017)
RETURNS = 0.5  # the share of bars from which on more returning motifs earn nothing


@dataclass(frozen=True)
class Line:
    """The melody in a tune's tokens, in a key whose tonic is C; arrays are of shape (notes,), ties joined.

    ``onset`` and ``duration`` are ticks, 12 a quarter, from the tune's start; ``token`` is where the note's pitch
    stands among the tokens, ``chord`` the number of the chord token it begins over, ``rested`` whether silence comes
    before it. ``ended`` says whether the tune's ``End`` has been reached.
    """

    meter: str
    mode: str
    pitch: IntArray
    onset: IntArray
    duration: IntArray
    token: IntArray
    chord: IntArray
    rested: NDArray[np.bool_]
    ended: bool

    @property
    def bar(self) -> IntArray:
        """The number of each note's bar, from 0."""
        return self.onset // bar_ticks(self.meter)

    @property
    def strong(self) -> NDArray[np.bool_]:
        """Which notes begin on a bar's first beat, or on its middle one where beats are even in number."""
        place = self.onset % bar_ticks(self.meter)
        even = bar_ticks(self.meter) // beat_ticks(self.meter) % 2 == 0
        strong: NDArray[np.bool_] = (place == 0) | (even & (place == middle(self.meter)))
        return strong


def read_line(tokens: Sequence[int] | IntArray) -> Line:
    """The melody of a tune's tokens, whole or cut off anywhere; a note whose duration is still to come is left out.

    InputError for tokens that do not begin with style, metre and mode or cannot stand so.
    """
    vocab = vocabulary("tune")
    checked = vocab.check(tokens)
    if len(checked) < 3 or vocab.families[checked[0]] != "Style":
        raise InputError("token 0: a tune begins with its style, metre and mode")
    rows: list[list[int]] = []  # pitch, onset, duration, token, chord, rested
    tick, chord, silent, pending = 0, -1, False, (-1, "", 0)
    for place in range(3, len(checked)):
        token = int(checked[place])
        family, value = vocab.families[token], int(vocab.values[token])
        if family == "Chord":
            chord = token
        elif family in ("Pitch", "Rest", "Tie"):
            pending = (place, family, value)
        elif family == "Dur":
            where, kind, pitch = pending
            if kind == "Pitch":
                rows.append([pitch, tick, value, where, chord, silent])
            elif kind == "Tie" and rows:
                rows[-1][2] += value
            silent = kind == "Rest"
            tick += value
    table = np.array(rows, np.int64).reshape(-1, 6)
    return Line(
        meter=METERS[vocab.values[checked[1]]],
        mode=MODE_NAMES[vocab.values[checked[2]]],
        pitch=table[:, 0],
        onset=table[:, 1],
        duration=table[:, 2],
        token=table[:, 3],
        chord=table[:, 4],
        rested=table[:, 5].astype(bool),
        ended=vocab.families[checked[-1]] == "End",
    )


def in_key(line: Line) -> Values:
    """1 for notes of the mode's scale (in minor with the raised sixth and seventh), else 0."""
    return _scale(line.mode)[line.pitch % 12].astype(np.float64)


def not_repeated(line: Line) -> Values:
    """0 for a note that sounds the same pitch for the fifth time or more in a row, no rest between, else 1."""
    values = np.ones(len(line.pitch))
    run = 0
    for i in range(len(line.pitch)):
        same = i > 0 and line.pitch[i] == line.pitch[i - 1] and not line.rested[i]
        run = run + 1 if same else 1
        values[i] = float(run <= REPEATS)
    return values


def leaps_resolved(line: Line) -> Values:
    """For a note after a leap of a fifth or more: 1 if it turns back, 0.5 if it stays, 0 if it goes on the same way."""
    values = np.full(len(line.pitch), math.nan)
    intervals = np.diff(line.pitch)
    for i in np.flatnonzero(np.abs(intervals[:-1]) >= LEAP):
        turn = int(np.sign(intervals[i]) * np.sign(intervals[i + 1]))
        values[i + 2] = {-1: 1.0, 0: 0.5, 1: 0.0}[turn]
    return values


def chord_tones(line: Line) -> Values:
    """For notes on strong beats: 1 if they belong to the chord, else 0."""
    members = _members()[line.chord, line.pitch % 12].astype(np.float64)
    return np.where(line.strong & (line.chord >= 0), members, math.nan)


def starts_on_tonic(line: Line) -> float:
    """1 if the first note is the tonic, or else the first on a bar's first beat is (after an upbeat); else 0."""
    if not len(line.pitch):
        return math.nan
    down = np.flatnonzero(line.onset % bar_ticks(line.meter) == 0)[:1]
    return float((line.pitch[[0, *down]] % 12 == 0).any())


def ends_on_tonic(line: Line) -> float:
    """1 if the last note of a tune that has ended is the tonic, else 0."""
    if not line.ended or not len(line.pitch):
        return math.nan
    return float(line.pitch[-1] % 12 == 0)


def motifs_return(line: Line) -> float:
    """How many bars take up an earlier bar's motif; half of the bars earn 1.

    A motif is a bar of three or more different pitches. A bar with the intervals and the rhythm of an earlier one
    counts 1, with its rhythm alone 0.5.
    """
    bars = line.bar
    if not len(bars) or bars[-1] < 1:
        return math.nan
    melodies: set[tuple[tuple[int, ...], tuple[int, ...]]] = set()
    rhythms: set[tuple[int, ...]] = set()
    earned = 0.0
    for bar in range(int(bars[-1]) + 1):
        inside = bars == bar
        pitch = line.pitch[inside]
        if len(np.unique(pitch)) < MOTIF_NOTES:
            continue
        rhythm = tuple((line.onset[inside] - bar * bar_ticks(line.meter)).tolist())
        melody = (rhythm, tuple(np.diff(pitch).tolist()))
        earned += 1.0 if melody in melodies else 0.5 if rhythm in rhythms else 0.0
        melodies.add(melody)
        rhythms.add(rhythm)
    return min(1.0, earned / (RETURNS * float(bars[-1])))


def unique_extremes(line: Line) -> float:
    """Half for a highest note that comes once, half for a lowest that does."""
    if len(line.pitch) < 2:
        return math.nan
    counts = Counter(line.pitch.tolist())
    return 0.5 * (counts[int(line.pitch.max())] == 1) + 0.5 * (counts[int(line.pitch.min())] == 1)


def not_monotonous(line: Line) -> float:
    """1 - the mean, over lags of 1, 2 and 3 beats, of how far the pitch's autocorrelation exceeds 0.15 (of 0.85).

    The pitch is that which sounds, or sounded last, at every beat.
    """
    if len(line.pitch) < 2:
        return math.nan
    beats = np.arange(line.onset[0], line.onset[-1] + line.duration[-1], beat_ticks(line.meter))
    pitch = line.pitch[np.searchsorted(line.onset, beats, side="right") - 1].astype(np.float64)
    if len(pitch) <= 2 * max(LAGS):
        return math.nan
    pitch -= pitch.mean()
    energy = float(pitch @ pitch)
    if energy == 0:
        return 0.0
    excess = [max(0.0, abs(float(pitch[lag:] @ pitch[:-lag])) / energy - CORRELATION) for lag in LAGS]
    return 1.0 - float(np.mean(excess)) / (1.0 - CORRELATION)


PER_NOTE: dict[str, Callable[[Line], Values]] = {
    "in_key": in_key,
    "not_repeated": not_repeated,
    "leaps_resolved": leaps_resolved,
    "chord_tones": chord_tones,
}
PER_PIECE: dict[str, Callable[[Line], float]] = {
    "starts_on_tonic": starts_on_tonic,
    "ends_on_tonic": ends_on_tonic,
    "motifs_return": motifs_return,
    "unique_extremes": unique_extremes,
    "not_monotonous": not_monotonous,
}
WEIGHTS: dict[str, float] = {
    "in_key": 2.0,
    "not_repeated": 1.0,
    "leaps_resolved": 1.0,
    "chord_tones": 2.0,
    "starts_on_tonic": 1.0,
    "ends_on_tonic": 1.0,
    "motifs_return": 2.0,
    "unique_extremes": 1.0,
    "not_monotonous": 1.0,
}


def scores(line: Line) -> dict[str, float]:
    """Every reward by name, 0 to 1: of those per note the mean over the notes they apply to; NaN if they never do."""
    found = {}
    for name, function in PER_NOTE.items():
        values = function(line)
        values = values[~np.isnan(values)]
        found[name] = float(values.mean()) if len(values) else math.nan
    return found | {name: float(function(line)) for name, function in PER_PIECE.items()}


def total(found: Mapping[str, float], weights: Mapping[str, float] = WEIGHTS) -> float:
    """The weighted mean of the rewards that apply, 0 to 1; 0 if none does. InputError for a weight of no reward."""
    _require_known(weights)
    parts = [(weight, found[name]) for name, weight in weights.items() if not math.isnan(found[name])]
    weight = sum(w for w, _ in parts)
    return sum(w * value for w, value in parts) / weight if weight else 0.0


def reward(tokens: Sequence[int] | IntArray, weights: Mapping[str, float] = WEIGHTS) -> float:
    """The weighted mean of the rewards of a tune, 0 to 1; the tune may be cut off anywhere."""
    return total(scores(read_line(tokens)), weights)


def credit(tokens: Sequence[int] | IntArray, weights: Mapping[str, float] = WEIGHTS) -> Values:
    """What each token earns, (n,): a note's rewards stand at its pitch, the piece's at the last token.

    They sum to :func:`reward`.
    """
    _require_known(weights)
    line = read_line(tokens)
    per_note = {name: function(line) for name, function in PER_NOTE.items() if name in weights}
    per_note = {name: values for name, values in per_note.items() if not np.isnan(values).all()}
    per_piece = {name: function(line) for name, function in PER_PIECE.items() if name in weights}
    per_piece = {name: value for name, value in per_piece.items() if not math.isnan(value)}
    earned = np.zeros(len(tokens))
    whole = sum(weights[name] for name in (*per_note, *per_piece))
    if not whole:
        return earned
    for name, values in per_note.items():
        there = ~np.isnan(values)
        earned[line.token[there]] += weights[name] / whole * values[there] / there.sum()
    earned[-1] += sum(weights[name] / whole * value for name, value in per_piece.items())
    return earned


@lru_cache(maxsize=len(MODES))
def _scale(mode: str) -> NDArray[np.bool_]:
    steps = MODES[mode] + ((9, 11) if mode == "minor" else ())
    return np.isin(np.arange(12), steps)


@lru_cache(maxsize=1)
def _members() -> NDArray[np.bool_]:
    """Which pitch classes belong to each token's chord, (tokens, 12)."""
    from wavegen.music.leadsheet import Chord

    vocab = vocabulary("tune")
    members = np.zeros((vocab.size, 12), bool)
    for token in np.flatnonzero(vocab.family("Chord")):
        root, quality = divmod(int(vocab.values[token]), len(QUALITIES))
        members[token, list(Chord(root, QUALITIES[quality]).pitch_classes)] = True
    return members


def _require_known(weights: Mapping[str, float]) -> None:
    for name, weight in weights.items():
        if name not in WEIGHTS:
            raise InputError(f"reward {name!r} is unknown; known are {', '.join(WEIGHTS)}")
        if not 0 <= weight < math.inf:
            raise InputError(f"the weight of reward {name} must not be negative: {weight}")
