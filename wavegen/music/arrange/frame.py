"""What every part of an arrangement sees: the bars with their chords and melody, and the notes that it gives back."""

from dataclasses import dataclass, replace
from typing import NamedTuple

from wavegen.music.attributes import Key, Meter
from wavegen.music.leadsheet import Chord, LeadSheet


class Event(NamedTuple):
    """A note in ticks from the start; ``accent`` is added to its MIDI velocity."""

    onset: int
    ticks: int
    pitch: int
    accent: float = 0.0


class Span(NamedTuple):
    """A chord, its root an absolute pitch class, and where it holds, in ticks from the start."""

    onset: int
    ticks: int
    chord: Chord


@dataclass(frozen=True)
class BarFrame:
    """One bar. ``letter`` is its section's, ``place`` its number in the section, ``closing`` whether it is the last of
    the section, ``final`` whether it is the piece's last and holds its chord.
    """

    number: int
    start: int
    spans: tuple[Span, ...]
    following: Chord  # what the next bar begins with
    letter: str
    place: int
    closing: bool
    final: bool

    def chord_at(self, tick: int) -> Chord:
        """The chord at a tick from the piece's start."""
        return next(span.chord for span in reversed(self.spans) if span.onset <= tick or span is self.spans[0])


@dataclass(frozen=True)
class Frame:
    """The piece to be arranged; ``melody`` holds (onset, ticks, pitch), ties joined."""

    key: Key
    meter: Meter
    style: str
    bars: tuple[BarFrame, ...]
    melody: tuple[Event, ...]

    @property
    def ticks(self) -> int:
        return len(self.bars) * self.meter.ticks

    def with_melody(self, melody: list[Event]) -> "Frame":
        return replace(self, melody=tuple(melody))


def frame_of(sheet: LeadSheet, style: str, sections: tuple[tuple[str, int], ...], *, final: bool = True) -> Frame:
    """The frame of a lead sheet whose sections are (letter, bars) and fill it."""
    ticks = sheet.meter.ticks
    chords = [
        tuple(
            Span(number * ticks + tick, end - tick, chord.transposed(sheet.key.tonic))
            for (tick, chord), end in zip(bar.chords, [t for t, _ in bar.chords[1:]] + [ticks], strict=True)
        )
        for number, bar in enumerate(sheet.bars)
    ]
    places = [(letter, place, place == count - 1) for letter, count in sections for place in range(count)]
    bars = []
    for number, (spans, (letter, place, closing)) in enumerate(zip(chords, places, strict=True)):
        last = number + 1 == len(chords)
        following = spans[-1].chord if last else chords[number + 1][0].chord
        bars.append(BarFrame(number, number * ticks, spans, following, letter, place, closing or last, final and last))
    melody = tuple(Event(onset, duration, pitch) for onset, duration, pitch in sheet.melody())
    return Frame(sheet.key, sheet.meter, style, tuple(bars), melody)
