"""How a generated score compares with scores that people wrote: statistics of notes, their distance, and copying.

The statistics are those of MuseGAN (Dong et al. 2018, section 5.2) and MusPy (Dong et al. 2020, section 4.3). Notes are
arrays (n, 4) of onset and duration in quarters, MIDI pitch and velocity; bars are pairs (start, length) in quarters.
A statistic that is undefined (no notes, a single bar) is NaN, which the means over a set leave out.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wavegen.errors import InputError
from wavegen.music.score import Score

GRID = 12  # steps a quarter: thirds and quarters of a beat are whole
MAJOR = (0, 2, 4, 5, 7, 9, 11)
NATURAL_MINOR = (0, 2, 3, 5, 7, 8, 10)
QUALIFIED = 0.125  # quarters: a 32nd, which is three of the steps of MuseGAN, 24 a quarter

Notes = NDArray[np.float64]
Bars = Sequence[tuple[float, float]]


def pitch_class_histogram(notes: Notes) -> NDArray[np.float64]:
    """How many notes have each pitch class, as shares of shape (12,) that sum to 1; zeros without notes."""
    counts = np.bincount(np.round(_checked(notes)[:, 2]).astype(int) % 12, minlength=12).astype(np.float64)
    return np.asarray(counts / max(counts.sum(), 1.0))


def pitch_class_entropy(notes: Notes) -> float:
    """Entropy of the pitch-class histogram in bits, 0 to log2 12 = 3.58 (Wu and Yang 2020, section 5.1; MusPy)."""
    if not len(notes):
        return math.nan
    shares = pitch_class_histogram(notes)
    shares = shares[shares > 0]
    return float(-(shares * np.log2(shares)).sum()) + 0.0


def scale_consistency(notes: Notes) -> float:
    """The largest share of notes in any of the 24 major and natural minor scales, 0 to 1 (Mogren 2016; MusPy)."""
    if not len(notes):
        return math.nan
    shares = pitch_class_histogram(notes)
    scales = [[(root + step) % 12 for step in scale] for scale in (MAJOR, NATURAL_MINOR) for root in range(12)]
    return float(max(shares[scale].sum() for scale in scales))


def groove_consistency(notes: Notes, bars: Bars) -> float:
    """1 - the mean normalised Hamming distance of the onsets in neighbouring bars, 0 to 1 (Wu and Yang 2020; MusPy).

    A bar's onsets are a binary vector on a grid of 12 steps a quarter. Neighbours of unequal length are not compared.
    """
    onsets = np.round(np.sort(_checked(notes)[:, 0]) * GRID).astype(int)
    distances = []
    previous: NDArray[np.bool_] | None = None
    for start, length in bars:
        steps = max(1, round(length * GRID))
        first = round(start * GRID)
        low, high = np.searchsorted(onsets, (first, first + steps))
        groove = np.zeros(steps, bool)
        groove[onsets[low:high] - first] = True
        if previous is not None and len(previous) == steps:
            distances.append(float((groove != previous).mean()))
        previous = groove
    return 1.0 - float(np.mean(distances)) if distances else math.nan


def polyphony(notes: Notes) -> float:
    """The mean number of pitches that sound at once, over the grid steps where any does; 1 or more (MusPy)."""
    counts = _sounding(notes)
    counts = counts[counts > 0]
    return float(counts.mean()) if len(counts) else math.nan


def polyphony_rate(notes: Notes) -> float:
    """The share of grid steps, up to the last note's end, where two or more pitches sound, 0 to 1 (MusPy)."""
    counts = _sounding(notes)
    return float((counts >= 2).mean()) if len(counts) else math.nan


def empty_bar_rate(notes: Notes, bars: Bars) -> float:
    """The share of bars in which nothing sounds, 0 to 1 (MuseGAN's EB, MusPy's empty_measure_rate)."""
    if not bars:
        return math.nan
    array = _checked(notes)
    ends = array[:, 0] + array[:, 1]
    edge = 0.5 / GRID
    filled = [bool(((array[:, 0] < start + length - edge) & (ends > start + edge)).any()) for start, length in bars]
    return 1.0 - float(np.mean(filled))


def used_pitch_classes(notes: Notes, bars: Bars) -> float:
    """The mean number of pitch classes that begin in a bar, over bars where any does, 1 to 12 (MuseGAN's UPC)."""
    array = _checked(notes)
    edge = 0.5 / GRID
    counts = []
    for start, length in bars:
        inside = (array[:, 0] >= start - edge) & (array[:, 0] < start + length - edge)
        if inside.any():
            counts.append(len(np.unique(np.round(array[inside, 2]).astype(int) % 12)))
    return float(np.mean(counts)) if counts else math.nan


def qualified_note_rate(notes: Notes) -> float:
    """The share of notes no shorter than a 32nd, 0 to 1 (MuseGAN's QN: low where music is fragmented)."""
    if not len(notes):
        return math.nan
    return float((_checked(notes)[:, 1] >= QUALIFIED - 0.5 / GRID / 2).mean())


METRICS = (
    "pitch_class_entropy",
    "scale_consistency",
    "groove_consistency",
    "polyphony",
    "polyphony_rate",
    "empty_bar_rate",
    "used_pitch_classes",
    "qualified_note_rate",
)


def measure(score: Score) -> dict[str, float]:
    """All METRICS of a score by name. Drums count for the groove and for empty bars alone."""
    pitched = gather([track.notes for track in score.tracks if not track.is_drum])
    everything = gather([track.notes for track in score.tracks])
    bars = [(float(start), float(length)) for start, length in score.bars()]
    return {
        "pitch_class_entropy": pitch_class_entropy(pitched),
        "scale_consistency": scale_consistency(pitched),
        "groove_consistency": groove_consistency(everything, bars),
        "polyphony": polyphony(pitched),
        "polyphony_rate": polyphony_rate(pitched),
        "empty_bar_rate": empty_bar_rate(everything, bars),
        "used_pitch_classes": used_pitch_classes(pitched, bars),
        "qualified_note_rate": qualified_note_rate(pitched),
    }


class Comparison(NamedTuple):
    """A metric's means over the generated and the held-out scores, and |generated - held-out|."""

    generated: float
    held_out: float
    difference: float


def compare(generated: Iterable[Score], held_out: Iterable[Score]) -> dict[str, Comparison]:
    """Each of METRICS as means over two sets of scores. Raises InputError if either is empty."""
    means = []
    for name, scores in (("generated", generated), ("held-out", held_out)):
        rows = [measure(score) for score in scores]
        if not rows:
            raise InputError(f"no {name} scores to compare")
        means.append({key: _mean([row[key] for row in rows]) for key in METRICS})
    ours, theirs = means
    return {key: Comparison(ours[key], theirs[key], abs(ours[key] - theirs[key])) for key in METRICS}


def table(comparison: Mapping[str, Comparison]) -> str:
    """The comparison as lines of Markdown."""
    lines = ["| metric | generated | held-out | absolute difference |", "|---|---|---|---|"]
    for name, row in comparison.items():
        lines.append(f"| {name.replace('_', ' ')} | " + " | ".join(f"{value:.3f}" for value in row) + " |")
    return "\n".join(lines)


class Copied(NamedTuple):
    """The longest run of (interval, inter-onset interval) pairs that a melody shares with the training melodies.

    ``pairs`` is its length (its notes are one more), ``share`` that over the melody's own pairs, ``piece`` the index
    of the training melody and ``at`` the first of its notes that is shared; ``piece`` and ``at`` are -1 if none is.
    """

    pairs: int
    share: float
    piece: int
    at: int


@dataclass(frozen=True)
class CopyIndex:
    """The training melodies' steps in one row, made by :func:`index_melodies`; look up with :meth:`longest`."""

    places: Mapping[tuple[int, int], NDArray[np.int64]]  # step → where it stands in the row
    owner: NDArray[np.int64]  # (row,) index of the melody
    offset: NDArray[np.int64]  # (row,) index inside the melody; a melody's steps begin after one empty place

    def longest(self, melody: Notes) -> Copied:
        """The nearest neighbour of a melody (n, 4): the longest common substring, exact up to transposition."""
        steps = melody_steps(melody)
        run = np.zeros(len(self.owner) + 1, np.int64)  # run[i]: how many steps up to place i - 1 match up to here
        standing = np.empty(0, np.int64)
        best, end = 0, -1
        for step in steps:
            here = self.places.get(step, np.empty(0, np.int64))
            lengths = run[here] + 1
            run[standing + 1] = 0
            run[here + 1] = lengths
            standing = here
            if len(here) and lengths.max() > best:
                best, end = int(lengths.max()), int(here[lengths.argmax()])
        if best == 0:
            return Copied(0, 0.0, -1, -1)
        return Copied(best, best / len(steps), int(self.owner[end]), int(self.offset[end]) - best + 1)


def melody_steps(melody: Notes) -> list[tuple[int, int]]:
    """Between each note and the next: the interval in semitones and the inter-onset interval on the grid.

    ``melody`` is (n, 4), n - 1 steps come back; of notes that begin together the highest counts.
    """
    array = _checked(melody)
    onsets = np.round(array[:, 0] * GRID).astype(int)
    order = np.lexsort((-array[:, 2], onsets))
    _, first = np.unique(onsets[order], return_index=True)
    chosen = order[first]
    intervals, gaps = np.diff(np.round(array[chosen, 2]).astype(int)), np.diff(onsets[chosen])
    return list(zip(intervals.tolist(), gaps.tolist(), strict=True))


def index_melodies(melodies: Iterable[Notes]) -> CopyIndex:
    """Prepare training melodies, each (n, 4), for :meth:`CopyIndex.longest`."""
    places: dict[tuple[int, int], list[int]] = {}
    owner, offset = [-1], [-1]
    for index, melody in enumerate(melodies):
        for position, step in enumerate(melody_steps(melody)):
            places.setdefault(step, []).append(len(owner))
            owner.append(index)
            offset.append(position)
        owner.append(-1)  # no run crosses from one melody into the next
        offset.append(-1)
    rows = {step: np.array(row, np.int64) for step, row in places.items()}
    return CopyIndex(rows, np.array(owner, np.int64), np.array(offset, np.int64))


def gather(tracks: Sequence[Notes]) -> Notes:
    """The notes of several tracks as one array (n, 4)."""
    return np.concatenate([np.empty((0, 4)), *map(_checked, tracks)])


def _sounding(notes: Notes) -> NDArray[np.int64]:
    """How many pitches sound at each grid step up to the last note's end; a note lasts at least one step."""
    array = _checked(notes)
    if not len(array):
        return np.empty(0, np.int64)
    begin = np.round(array[:, 0] * GRID).astype(int)
    end = np.maximum(begin + 1, np.round((array[:, 0] + array[:, 1]) * GRID).astype(int))
    pitches, row = np.unique(np.round(array[:, 2]).astype(int), return_inverse=True)
    roll = np.zeros((len(pitches), int(end.max())), bool)
    for r, b, e in zip(row, begin, end, strict=True):
        roll[r, b:e] = True
    return np.asarray(roll.sum(0), np.int64)


def _mean(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return float(np.mean(finite)) if finite else math.nan


def _checked(notes: Notes) -> Notes:
    array = np.asarray(notes, np.float64)
    if array.ndim != 2 or array.shape[1] != 4:
        raise InputError(f"notes must be of shape (n, 4), not {array.shape}")
    if not np.isfinite(array).all():
        raise InputError("notes must be finite")
    if len(array) and array[:, :2].min() < 0:
        raise InputError("onsets and durations of notes must not be negative")
    return array
