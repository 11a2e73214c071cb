"""Lead sheets: a melody and its chords, bar by bar, on a grid of 12 ticks a quarter."""

from collections.abc import Iterator
from dataclasses import dataclass

from wavegen.errors import InputError
from wavegen.music.attributes import Key, Meter

QUALITIES: dict[str, tuple[int, ...]] = {
    "maj": (0, 4, 7),
    "min": (0, 3, 7),
    "dim": (0, 3, 6),
    "7": (0, 4, 7, 10),
    "min7": (0, 3, 7, 10),
}
"""A chord's quality → its tones in semitones above the root."""

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
