"""A score: tracks of notes in quarters, a tempo map, metres and a key.

Every position and length is in quarter notes as float64, whatever the metre; seconds come from the tempo map alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wavegen.errors import InputError
from wavegen.music.attributes import TICKS as TICKS  # of a quarter, on the grid of lead sheets
from wavegen.music.attributes import Key

Notes = NDArray[np.float64]  # (n, 4): onset and duration in quarters, MIDI pitch, MIDI velocity

ONSET, DURATION, PITCH, VELOCITY = range(4)  # the columns of Notes
_TOLERANCE = 1e-6  # quarters; finer than any file's tick, coarser than rounding


def as_notes(values: ArrayLike, name: str = "notes") -> Notes:
    """A sorted (by onset, pitch, duration, velocity), read-only copy of `values` as float64 (n, 4).

    Raises InputError for another shape, onsets below 0, durations of 0 or less, pitches that are not whole numbers in
    0–127, velocities outside 1–127, NaN or infinities.
    """
    notes = np.array(values, dtype=np.float64)
    if notes.size == 0:
        notes = notes.reshape(0, 4)
    if notes.ndim != 2 or notes.shape[1] != 4:
        raise InputError(f"{name}: notes must have the shape (n, 4), not {notes.shape}")
    _require(bool(np.isfinite(notes).all()), f"{name}: a note holds a value that is not finite")
    _require(bool((notes[:, ONSET] >= 0).all()), f"{name}: a note begins before 0")
    _require(bool((notes[:, DURATION] > 0).all()), f"{name}: a note lasts 0 quarters or less")
    pitch, velocity = notes[:, PITCH], notes[:, VELOCITY]
    whole = bool(((pitch >= 0) & (pitch <= 127) & (pitch == np.floor(pitch))).all())
    _require(whole, f"{name}: a pitch is not a whole number in 0–127")
    _require(bool(((velocity >= 1) & (velocity <= 127)).all()), f"{name}: a velocity is outside 1–127")
    notes = notes[np.lexsort((velocity, notes[:, DURATION], pitch, notes[:, ONSET]))]
    notes.flags.writeable = False
    return notes


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise InputError(message)


@dataclass(frozen=True, eq=False)
class Track:
    """The notes of one instrument.

    program: General MIDI program, 0–127 (of drums, the kit). notes: see `as_notes`, by which they are checked.
    """

    program: int
    is_drum: bool
    name: str
    notes: Notes

    def __post_init__(self) -> None:
        _require(0 <= self.program <= 127, f"track {self.name!r}: program {self.program} is outside 0–127")
        object.__setattr__(self, "notes", as_notes(self.notes, f"track {self.name!r}"))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Track):
            return NotImplemented
        mine, theirs = (self.program, self.is_drum, self.name), (other.program, other.is_drum, other.name)
        return mine == theirs and np.array_equal(self.notes, other.notes)

    def __hash__(self) -> int:
        return hash((self.program, self.is_drum, self.name, self.notes.tobytes()))

    def __len__(self) -> int:
        return len(self.notes)

    @property
    def end(self) -> float:
        """Where the last note stops, in quarters; 0 of an empty track."""
        return float((self.notes[:, ONSET] + self.notes[:, DURATION]).max(initial=0.0))

    def with_notes(self, notes: ArrayLike) -> Self:
        """The same instrument with other notes."""
        return replace(self, notes=np.asarray(notes, dtype=np.float64))


@dataclass(frozen=True)
class Score:
    """Tracks that sound together.

    tempos: (quarter, quarter notes a minute) and meters: (quarter, numerator, denominator); ascending, first at 0.
    Raises InputError for maps that are empty, unordered or late, a tempo that is not a number above 0, a numerator
    outside 1–255 or a denominator that is not a power of two up to 64.
    """

    tracks: tuple[Track, ...]
    tempos: tuple[tuple[float, float], ...] = ((0.0, 120.0),)
    meters: tuple[tuple[float, int, int], ...] = ((0.0, 4, 4),)
    key: Key | None = None
    title: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "tracks", tuple(self.tracks))
        object.__setattr__(self, "tempos", tuple((float(at), float(bpm)) for at, bpm in self.tempos))
        object.__setattr__(self, "meters", tuple((float(at), int(n), int(d)) for at, n, d in self.meters))
        _require_map([at for at, _ in self.tempos], "tempos")
        _require_map([at for at, _, _ in self.meters], "meters")
        for at, bpm in self.tempos:
            _require(bool(np.isfinite(bpm)) and bpm > 0, f"tempos: {bpm} quarters a minute at quarter {at:g}")
        for at, numerator, denominator in self.meters:
            good = 1 <= numerator <= 255 and denominator in (1, 2, 4, 8, 16, 32, 64)
            _require(good, f"meters: {numerator}/{denominator} at quarter {at:g} is not a metre")

    @property
    def end(self) -> float:
        """Where the last note stops, in quarters."""
        return max((track.end for track in self.tracks), default=0.0)

    @property
    def duration(self) -> float:
        """Seconds until the last note stops."""
        return float(self.seconds(self.end))

    @property
    def note_count(self) -> int:
        return sum(len(track) for track in self.tracks)

    def seconds(self, quarters: ArrayLike) -> NDArray[np.float64]:
        """The time in seconds of each position in quarters, of the same shape, by the tempo map."""
        starts = np.array([at for at, _ in self.tempos])
        pace = 60.0 / np.array([bpm for _, bpm in self.tempos])  # seconds a quarter
        clock = np.concatenate(([0.0], np.cumsum(np.diff(starts) * pace[:-1])))  # seconds where each tempo begins
        where = np.asarray(quarters, dtype=np.float64)
        at = np.maximum(np.searchsorted(starts, where, side="right") - 1, 0)
        return np.asarray(clock[at] + (where - starts[at]) * pace[at])

    def quarters(self, seconds: ArrayLike) -> NDArray[np.float64]:
        """The position in quarters of each time in seconds, of the same shape: the inverse of `seconds`."""
        starts = np.array([at for at, _ in self.tempos])
        pace = 60.0 / np.array([bpm for _, bpm in self.tempos])
        clock = np.concatenate(([0.0], np.cumsum(np.diff(starts) * pace[:-1])))
        when = np.asarray(seconds, dtype=np.float64)
        at = np.maximum(np.searchsorted(clock, when, side="right") - 1, 0)
        return np.asarray(starts[at] + (when - clock[at]) / pace[at])

    def bars(self) -> tuple[tuple[float, float], ...]:
        """(start, length) in quarters of every bar until the last note stops; a change of metre begins a bar."""
        end, bars = self.end, []
        for index, (start, numerator, denominator) in enumerate(self.meters):
            until = self.meters[index + 1][0] if index + 1 < len(self.meters) else end
            until = min(until, end)
            length = 4.0 * numerator / denominator
            count = max(0, int(np.ceil((until - start - _TOLERANCE) / length)))
            ends_here = index + 1 == len(self.meters) or until < self.meters[index + 1][0]
            for bar in range(count):
                at = start + bar * length
                cut = length if ends_here else min(length, until - at)
                bars.append((at, cut))
        return tuple(bars)

    def meter_at(self, quarter: float) -> tuple[int, int]:
        """(numerator, denominator) of the metre in force at a position in quarters."""
        starts = [at for at, _, _ in self.meters]
        index = max(int(np.searchsorted(starts, quarter + _TOLERANCE, side="right")) - 1, 0)
        return self.meters[index][1:]

    def merged(self, *, drums: bool = False) -> Notes:
        """The notes of all tracks as one sorted array; those of drums only if asked for."""
        parts = [track.notes for track in self.tracks if drums or not track.is_drum]
        return as_notes(np.concatenate(parts)) if parts else as_notes(np.empty((0, 4)))

    def transposed(self, semitones: int) -> "Score":
        """Every pitch but those of drums, and the key, moved by `semitones`; InputError if one leaves 0–127."""
        tracks = []
        for track in self.tracks:
            if track.is_drum or not len(track):
                tracks.append(track)
                continue
            low, high = track.notes[:, PITCH].min() + semitones, track.notes[:, PITCH].max() + semitones
            if low < 0 or high > 127:
                raise InputError(
                    f"transposing by {semitones} takes track {track.name!r} to {low:g}–{high:g}, beyond 0–127"
                )
            tracks.append(track.with_notes(track.notes + np.array([0.0, 0.0, semitones, 0.0])))
        key = None if self.key is None else replace(self.key, tonic=(self.key.tonic + semitones) % 12)
        return replace(self, tracks=tuple(tracks), key=key)

    def between(self, start: float, end: float) -> "Score":
        """What begins in [start, end) quarters, moved so that `start` becomes 0; notes are cut at `end`."""
        if not 0 <= start < end:
            raise InputError(
                f"a passage must begin at 0 or later and before its end, not be {start:g}–{end:g} quarters"
            )
        tracks = []
        for track in self.tracks:
            inside = track.notes[(track.notes[:, ONSET] >= start) & (track.notes[:, ONSET] < end)].copy()
            inside[:, DURATION] = np.minimum(inside[:, DURATION], end - inside[:, ONSET])
            inside[:, ONSET] -= start
            tracks.append(track.with_notes(inside))
        first = max(index for index, (at, _) in enumerate(self.tempos) if at <= start)
        tempos = tuple((max(at - start, 0.0), bpm) for at, bpm in self.tempos[first:] if at < end)
        first = max(index for index, (at, _, _) in enumerate(self.meters) if at <= start)
        meters = tuple((max(at - start, 0.0), n, d) for at, n, d in self.meters[first:] if at < end)
        return replace(self, tracks=tuple(tracks), tempos=tempos, meters=meters)

    def sounding(self) -> "Score":
        """The same score without its empty tracks."""
        return replace(self, tracks=tuple(track for track in self.tracks if len(track)))


def _require_map(starts: Sequence[float], name: str) -> None:
    _require(len(starts) > 0, f"{name}: the map is empty")
    _require(all(np.isfinite(at) for at in starts), f"{name}: a position is not finite")
    _require(starts[0] == 0, f"{name}: the first stands at quarter {starts[0]:g}, not 0")
    _require(all(a < b for a, b in pairwise(starts)), f"{name}: positions do not ascend")
