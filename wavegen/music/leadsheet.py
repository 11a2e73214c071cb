"""Lead sheets: a melody and its chords, bar by bar, on a grid of 12 ticks a quarter."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from wavegen.errors import InputError
from wavegen.music.attributes import TICKS, Key, Meter

if TYPE_CHECKING:
    from wavegen.music.score import Score

QUALITIES: dict[str, tuple[int, ...]] = {
    "maj": (0, 4, 7),
    "min": (0, 3, 7),
    "dim": (0, 3, 6),
    "7": (0, 4, 7, 10),
    "min7": (0, 3, 7, 10),
}
"""A chord's quality → its tones in semitones above the root."""

_LATE = 2  # ticks that a last note may sound over the last bar line

NoteEvent = tuple[int | None, int, bool]
"""MIDI pitch (None: a rest), duration in ticks, and whether the note before goes on in it."""


@dataclass(frozen=True)
class Chord:
    """A chord; in a lead sheet its ``root`` (0-11) counts semitones above the tonic."""

    root: int
    quality: str = "maj"

    def __post_init__(self) -> None:
        if not 0 <= self.root <= 11:
            raise InputError(f"chord: the root must be a pitch class from 0 to 11, not {self.root!r}")
        if self.quality not in QUALITIES:
            raise InputError(f"chord: quality {self.quality!r} is unknown; known are {', '.join(QUALITIES)}")

    @property
    def pitch_classes(self) -> tuple[int, ...]:
        """The pitch classes of its tones, the root first."""
        return tuple((self.root + step) % 12 for step in QUALITIES[self.quality])

    def transposed(self, semitones: int) -> "Chord":
        """The same chord so many semitones higher; from degrees to absolute pitch classes by the key's tonic."""
        return Chord((self.root + semitones) % 12, self.quality)


@dataclass(frozen=True)
class Bar:
    """One bar: chords as (tick, chord), the first at tick 0, ascending; notes one after the other, which fill it."""

    chords: tuple[tuple[int, Chord], ...]
    notes: tuple[NoteEvent, ...]

    def __post_init__(self) -> None:
        places = [tick for tick, _ in self.chords]
        if places[:1] != [0] or places != sorted(set(places)):
            raise InputError(f"bar: chords must begin at tick 0 and ascend, not stand at {places}")
        if any(duration < 1 for _, duration, _ in self.notes):
            raise InputError("bar: a note lasts less than a tick")

    @property
    def ticks(self) -> int:
        """How long its notes last together."""
        return sum(duration for _, duration, _ in self.notes)

    def chord_at(self, tick: int) -> Chord:
        """The chord that holds at a tick of the bar."""
        return next(chord for at, chord in reversed(self.chords) if at <= tick)


@dataclass(frozen=True)
class LeadSheet:
    """A melody with chords. Pitches are MIDI's, chords' roots count from the tonic; every bar is full.

    ``style`` is the style of tune (a word of ``attributes.TUNE_STYLES``).
    """

    key: Key
    meter: Meter
    style: str
    bars: tuple[Bar, ...]

    def __post_init__(self) -> None:
        for number, bar in enumerate(self.bars, start=1):
            if bar.ticks != self.meter.ticks:
                raise InputError(
                    f"bar {number}: its notes last {bar.ticks} ticks, but a bar of {self.meter.name} has "
                    f"{self.meter.ticks}"
                )
            if bar.chords[-1][0] >= self.meter.ticks:
                raise InputError(f"bar {number}: a chord stands at tick {bar.chords[-1][0]}, beyond its end")
            for pitch, _, tied in bar.notes:
                if pitch is not None and not 0 <= pitch <= 127:
                    raise InputError(f"bar {number}: pitch {pitch} is outside 0 to 127")
                if tied and pitch is None:
                    raise InputError(f"bar {number}: a rest cannot be tied")

    @property
    def ticks(self) -> int:
        """The length of all bars."""
        return len(self.bars) * self.meter.ticks

    def melody(self) -> Iterator[tuple[int, int, int]]:
        """(onset in ticks from the start, duration in ticks, pitch) of every note, ties joined."""
        onset, held = 0, None
        for bar in self.bars:
            for pitch, duration, tied in bar.notes:
                if held is not None and tied and held[2] == pitch:
                    held = (held[0], held[1] + duration, held[2])
                else:
                    if held is not None:
                        yield held
                    held = None if pitch is None else (onset, duration, pitch)
                onset += duration
        if held is not None:
            yield held

    def harmony(self) -> Iterator[tuple[int, int, Chord]]:
        """(onset, duration, chord) in ticks; the chords' roots are absolute pitch classes; none is joined."""
        for number, bar in enumerate(self.bars):
            ends = [tick for tick, _ in bar.chords[1:]] + [self.meter.ticks]
            for (tick, chord), end in zip(bar.chords, ends, strict=True):
                yield number * self.meter.ticks + tick, end - tick, chord.transposed(self.key.tonic)


def bars_of(notes: Sequence[tuple[int, int, int]], meter: Meter, bars: int) -> list[tuple[NoteEvent, ...]]:
    """Notes (onset, duration, pitch) in ticks, ascending and one at a time, as so many full bars.

    Gaps become rests; what goes on over a bar line is tied; what lies beyond the last bar is left out.
    """
    found: list[list[NoteEvent]] = [[] for _ in range(bars)]
    end = bars * meter.ticks
    at = 0
    for onset, duration, pitch in [*notes, (end, 0, 0)]:
        for value, until in ((None, min(onset, end)), (pitch, min(onset + duration, end))):
            tied = False
            while at < until:
                number = at // meter.ticks
                piece = min(until, (number + 1) * meter.ticks) - at
                found[number].append((value, piece, tied and value is not None))
                at, tied = at + piece, True
    return [tuple(bar) for bar in found]


def skyline(notes: NDArray[np.float64]) -> list[tuple[int, int, int]]:
    """(onset, duration, pitch) in ticks of the highest notes (n, 4) in quarters, each until the next at the latest."""
    best: dict[int, tuple[int, int]] = {}
    for onset, duration, pitch, _ in notes:
        at, until = round(onset * TICKS), round((onset + duration) * TICKS)
        if until > at and (at not in best or best[at][1] < pitch):
            best[at] = (until, int(pitch))
    found: list[tuple[int, int, int]] = []
    for at in sorted(best):
        until, pitch = best[at]
        if found:
            onset, duration, high = found[-1]
            if onset + duration > at and high > pitch + 2:  # an inner voice under a held melody
                continue
            found[-1] = (onset, min(duration, at - onset), high)
        found.append((at, until - at, pitch))
    return found


def melodic_track(score: "Score") -> int:
    """The number of the track that is most like a melody: high, mostly one note at a time, sounding most of the time.

    InputError for a score without pitched notes.
    """
    best: tuple[float, int] | None = None
    for number, track in enumerate(score.tracks):
        if track.is_drum or not len(track):
            continue
        line = skyline(track.notes)
        single = len(line) / len(track.notes)
        sounding = sum(duration for _, duration, _ in line) / TICKS / max(score.end, 1e-9)
        pitch = float(np.average(track.notes[:, 2], weights=track.notes[:, 1]))
        named = any(word in track.name.lower() for word in ("melody", "lead", "vocal", "soprano"))
        value = pitch / 12 + 2 * single + 2 * min(sounding, 1.0) + (3 if named else 0) - 0.1 * number
        if best is None or value > best[0]:
            best = (value, number)
    if best is None:
        raise InputError("the score holds no melody: every track is empty or drums")
    return best[1]


def from_score(
    score: "Score", melody_track: int | None = None, *, key: Key | None = None, style: str = "folk"
) -> LeadSheet:
    """The melody of a score, quantised to 12 ticks a quarter, and its chords: from the other notes, or harmonised.

    ``melody_track`` is a number of a track (by default the most melodic). ``key`` goes before the score's own, which
    goes before an estimate. InputError for a score without melody, or whose metre changes or is not supported.
    """
    from wavegen.music.harmony import harmonise
    from wavegen.music.keys import estimate_key

    if len({entry[1:] for entry in score.meters}) > 1:
        raise InputError("the score changes its metre; a lead sheet has one")
    meter = Meter(*score.meters[0][1:])
    number = melodic_track(score) if melody_track is None else melody_track
    if not 0 <= number < len(score.tracks) or not len(score.tracks[number]) or score.tracks[number].is_drum:
        raise InputError(f"track {number} holds no melody")
    key = key or score.key or estimate_key(score, last_note=True)[0]
    count = max(1, -(-(round(score.end * TICKS) - _LATE) // meter.ticks))
    track = score.tracks[number]
    line = skyline(track.notes)
    bars = bars_of(line, meter, count)
    merged = score.merged()
    if len(merged) > 1.3 * len(track) or len(line) < 0.7 * len(track):
        chords = _sounding_chords(merged, key, meter, count)
    else:
        chords = harmonise(bars, key, meter)
    return LeadSheet(key, meter, style, tuple(Bar(c, b) for c, b in zip(chords, bars, strict=True)))


def _sounding_chords(
    notes: NDArray[np.float64], key: Key, meter: Meter, count: int
) -> list[tuple[tuple[int, Chord], ...]]:
    """The chord of every bar, or half bar where the metre has a middle; silence goes on with the chord before."""
    from wavegen.music.harmony import HALVED, chord_of

    slots = 2 if meter.name in HALVED else 1
    width = meter.ticks // slots
    starts, ends = notes[:, 0] * TICKS, (notes[:, 0] + notes[:, 1]) * TICKS
    classes = (notes[:, 2].astype(np.int64) - key.tonic) % 12
    found: list[tuple[tuple[int, Chord], ...]] = []
    last = Chord(0, "min" if key.is_minor else "maj")
    for number in range(count):
        chords: list[tuple[int, Chord]] = []
        for slot in range(slots):
            begin = number * meter.ticks + slot * width
            inside = np.clip(np.minimum(ends, begin + width) - np.maximum(starts, begin), 0, None)
            lowest = np.where(inside > 0, notes[:, 2], 999).argmin()
            weights = np.bincount(classes, weights=inside, minlength=12).astype(np.float64)
            last = chord_of(weights, int(classes[lowest])) or last
            if not chords or chords[-1][1] != last:
                chords.append((slot * width, last))
        found.append(tuple(chords))
    return found


def to_score(leadsheet: LeadSheet, *, tempo: float = 120.0) -> "Score":
    """The melody and its chords in close position as two piano tracks, at so many quarters a minute."""
    from wavegen.music.score import Score, Track

    melody = [(onset / TICKS, ticks / TICKS, pitch, 80) for onset, ticks, pitch in leadsheet.melody()]
    chords = [
        (onset / TICKS, ticks / TICKS, (48 if chord.root < 8 else 36) + chord.root + step, 60)
        for onset, ticks, chord in leadsheet.harmony()
        for step in QUALITIES[chord.quality]
    ]
    tracks = (
        Track(0, False, "melody", np.array(melody, float).reshape(-1, 4)),
        Track(0, False, "chords", np.array(chords, float).reshape(-1, 4)),
    )
    meter = (0.0, leadsheet.meter.numerator, leadsheet.meter.denominator)
    return Score(tracks, ((0.0, tempo),), (meter,), leadsheet.key)
