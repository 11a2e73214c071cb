"""Bass lines: named kinds by rule, which style takes which, and lines of learnt patterns."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from wavegen.music.arrange.figures import Families, Pattern, beside, semitones
from wavegen.music.arrange.frame import BarFrame, Event, Frame, Span
from wavegen.music.arrange.voicing import folded, nearest
from wavegen.music.leadsheet import Chord
from wavegen.music.pulses import Pulse, pulses


@dataclass(frozen=True)
class BassSeat:
    """The range of a bass instrument, and the pitch that its line keeps near to."""

    low: int
    high: int
    centre: float

    def near(self, pitch_class: int, goal: float | None = None) -> int:
        """The pitch of a class nearest to ``goal`` (the centre without it)."""
        return nearest(pitch_class, self.centre if goal is None else goal, self.low, self.high)


Line = Callable[[Frame, BarFrame, BassSeat, int], list[Event]]
"""(piece, bar, seat, the pitch before) → the notes of the bar."""


def _fifth(chord: Chord) -> int:
    return chord.pitch_classes[2]


def _beats(frame: Frame, bar: BarFrame) -> list[tuple[Pulse, Chord]]:
    """The beats of a bar with their chords."""
    return [(beat, bar.chord_at(bar.start + beat.tick)) for beat in pulses(frame.meter)]


def _roots(frame: Frame, bar: BarFrame, seat: BassSeat, before: int) -> list[Event]:
    """The root of every chord, held."""
    return [Event(span.onset, span.ticks, seat.near(span.chord.root), 0) for span in bar.spans]


def _two(frame: Frame, bar: BarFrame, seat: BassSeat, before: int) -> list[Event]:
    """Root and fifth in turn on strong beats; alone on the first beat of bars in three."""
    strong = [(beat, chord) for beat, chord in _beats(frame, bar) if beat.weight]
    if len(strong) == 1 and frame.meter.ticks <= 24:
        strong = _beats(frame, bar)
    found: list[Event] = []
    last: Chord | None = None
    for place, (beat, chord) in enumerate(strong):
        end = strong[place + 1][0].tick if place + 1 < len(strong) else frame.meter.ticks
        alternate = chord == last if len(strong) > 1 else bar.place % 2 == 1 and len(bar.spans) == 1
        root = seat.near(chord.root)
        pitch = nearest(_fifth(chord), root - 2, seat.low, seat.high) if alternate else root
        found.append(Event(bar.start + beat.tick, max(6, (end - beat.tick) * 3 // 4), pitch, 2))
        last = None if alternate else chord
    return found + _missed(bar, found, seat)


def _missed(bar: BarFrame, found: list[Event], seat: BassSeat) -> list[Event]:
    """Roots of chords that begin where the line has no note."""
    starts = {event.onset for event in found}
    return [Event(s.onset, min(s.ticks, 12), seat.near(s.chord.root), 0) for s in bar.spans if s.onset not in starts]


def _eighths(frame: Frame, bar: BarFrame, seat: BassSeat, before: int) -> list[Event]:
    """Roots in eighths, with a step to the next bar's root at the end."""
    found = []
    for tick in range(0, frame.meter.ticks, 6):
        chord = bar.chord_at(bar.start + tick)
        pitch = seat.near(chord.root)
        if tick == frame.meter.ticks - 6 and bar.following.root != chord.root:
            pitch = _approach(frame, seat.near(bar.following.root, pitch), pitch, seat)
        found.append(Event(bar.start + tick, 5, pitch, 3 if tick % 12 == 0 else -3))
    return found


def _gallop(frame: Frame, bar: BarFrame, seat: BassSeat, before: int) -> list[Event]:
    """Roots as an eighth and two sixteenths."""
    found = []
    for tick in range(0, frame.meter.ticks, 12):
        pitch = seat.near(bar.chord_at(bar.start + tick).root)
        for at, ticks, accent in ((0, 5, 3), (6, 3, -3), (9, 3, -3)):
            if tick + at < frame.meter.ticks:
                found.append(Event(bar.start + tick + at, ticks, pitch, accent))
    return found


def _walking(frame: Frame, bar: BarFrame, seat: BassSeat, before: int) -> list[Event]:
    """A tone on every beat: roots where chords begin, chord tones between, and a step into the next root."""
    beats = _beats(frame, bar)
    found: list[Event] = []
    pitch = before
    for place, (beat, chord) in enumerate(beats):
        onset = bar.start + beat.tick
        begins = any(span.onset == onset for span in bar.spans)
        following = beats[place + 1][1] if place + 1 < len(beats) else bar.following
        change = following != chord or place + 1 == len(beats)
        if begins:
            pitch = _bounded(chord.root, pitch, seat)
        elif change:
            pitch = _approach(frame, _bounded(following.root, pitch, seat), pitch, seat)
        else:
            options = [
                option
                for tone in chord.pitch_classes
                for option in range(seat.low + (tone - seat.low) % 12, seat.high + 1, 12)
                if option != pitch and abs(option - pitch) <= 5
            ]
            wish = pitch + (3 if bar.number % 2 == 0 else -3)
            goal = min(max(wish, seat.centre - 8), seat.centre + 8)
            pitch = min(options, key=lambda option: abs(option - goal), default=pitch)
        found.append(Event(onset, beat.ticks - 1, pitch, 1 if beat.weight else -1))
    return found


def _bounded(pitch_class: int, goal: float, seat: BassSeat) -> int:
    """The nearest such pitch to the goal that stays near the seat's centre."""
    return seat.near(pitch_class, min(max(goal, seat.centre - 5), seat.centre + 5))


def _approach(frame: Frame, goal: int, before: int, seat: BassSeat) -> int:
    """The scale's step to a tone, from the side of the tone before."""
    side = -1 if before < goal or (before == goal and goal - 2 >= seat.low) else 1
    scale = frame.key.scale
    step = next((size for size in (1, 2) if (goal + side * size) % 12 in scale), 1)
    pitch = goal + side * step
    return pitch if seat.low <= pitch <= seat.high else goal


def _bossa(frame: Frame, bar: BarFrame, seat: BassSeat, before: int) -> list[Event]:
    """Root, and the fifth on the off-beat and the half."""
    if frame.meter.ticks != 48:
        return _two(frame, bar, seat, before)
    found = []
    for tick, ticks, fifth in ((0, 17, False), (18, 6, True), (24, 17, True), (42, 6, False)):
        chord = bar.chord_at(bar.start + tick)
        fifth = fifth and not any(span.onset == bar.start + tick for span in bar.spans)
        root = seat.near(chord.root)
        pitch = nearest(_fifth(chord), root + 5, seat.low, seat.high) if fifth else root
        found.append(Event(bar.start + tick, ticks, pitch, 2 if tick % 24 == 0 else -2))
    return found


def _funk(frame: Frame, bar: BarFrame, seat: BassSeat, before: int) -> list[Event]:
    """Root on the one, sixteenths and octaves off the beat."""
    places = (
        (0, 6, 0, 5),
        (9, 3, 0, -2),
        (18, 5, 12, 2),
        (27, 3, 0, -3),
        (30, 6, 10, 0),
        (39, 3, 0, -3),
        (42, 5, 12, 1),
    )
    found = []
    for tick, ticks, step, accent in places:
        if tick + ticks > frame.meter.ticks:
            continue
        chord = bar.chord_at(bar.start + tick)
        root = seat.near(chord.root)
        pitch = root + step if step != 10 or chord.quality in ("7", "min7") else root + 7
        found.append(Event(bar.start + tick, ticks, pitch if pitch <= seat.high else root, accent))
    return found + _missed(bar, found, seat)


def _tango(frame: Frame, bar: BarFrame, seat: BassSeat, before: int) -> list[Event]:
    """The habanera: dotted eighth, sixteenth, two eighths, stretched over bars of four."""
    unit = 2 if frame.meter.ticks == 48 else 1
    if frame.meter.ticks not in (24, 48):
        return _two(frame, bar, seat, before)
    found = []
    for tick, ticks, fifth in ((0, 9, False), (9, 3, True), (12, 6, True), (18, 6, False)):
        chord = bar.chord_at(bar.start + tick * unit)
        root = seat.near(chord.root)
        pitch = nearest(_fifth(chord), root + 5, seat.low, seat.high) if fifth else root
        found.append(Event(bar.start + tick * unit, ticks * unit - 2, pitch, 3 if tick == 0 else -1))
    return found


def _offbeat(frame: Frame, bar: BarFrame, seat: BassSeat, before: int) -> list[Event]:
    """Roots between the beats, where the kick leaves room; chords that begin there are not missed."""
    found = []
    for beat in pulses(frame.meter):
        at = beat.tick + beat.ticks - 6
        found.append(Event(bar.start + at, 5, seat.near(bar.chord_at(bar.start + at).root), 1))
    return found


def _flowing(frame: Frame, bar: BarFrame, seat: BassSeat, before: int) -> list[Event]:
    """Roots, with a passing tone where the next root is a third away (a chorale's bass)."""
    found = _roots(frame, bar, seat, before)
    targets = [span.chord for span in bar.spans[1:]] + [bar.following]
    lines: list[Event] = []
    for span, event, target in zip(bar.spans, found, targets, strict=True):
        lines += _split(frame, span, event, target, seat)
    return lines


def _split(frame: Frame, span: Span, event: Event, target: Chord, seat: BassSeat) -> list[Event]:
    goal = seat.near(target.root)
    third = nearest(span.chord.pitch_classes[1], event.pitch + 4, seat.low, seat.high)
    half = span.ticks // 2
    if span.ticks < 12 or (target.root == span.chord.root and frame.style == "chorale"):
        return [event]
    if abs(goal - event.pitch) in (3, 4):
        middle = (goal + event.pitch) // 2
        passing = next((p for p in (middle, middle + 1, middle - 1) if p % 12 in frame.key.scale), third)
    elif goal == event.pitch:  # the chord stays: away to another of its tones, and back
        passing = nearest(_fifth(span.chord), event.pitch, seat.low, seat.high) if event.onset % 96 == 0 else third
    elif goal - event.pitch in (1, 2, 5, 6, 7) and span.ticks >= 24:
        passing = third  # first inversion on the way up
    else:
        return [event]
    return [event._replace(ticks=half), Event(span.onset + half, span.ticks - half, passing, -2)]


LINES: dict[str, Line] = {
    "bossa": _bossa, "eighths": _eighths, "flowing": _flowing, "funk": _funk, "gallop": _gallop, "offbeat": _offbeat,
    "roots": _roots, "tango": _tango, "two": _two, "walking": _walking,
}  # fmt: skip
"""Bass lines by name."""

STYLE_LINES: dict[str, str] = {
    "chorale": "flowing", "waltz": "two", "jig": "two", "reel": "two", "hornpipe": "two", "march": "two",
    "polka": "two", "air": "roots", "strathspey": "two", "slip-jig": "two", "ballad": "roots", "lullaby": "roots",
    "pop": "eighths", "rock": "eighths", "metal": "gallop", "blues": "walking", "jazz": "walking", "bossa": "bossa",
    "funk": "funk", "classical": "flowing", "ambient": "roots", "tango": "tango", "minuet": "flowing", "folk": "two",
    "electronic": "offbeat",
}  # fmt: skip
"""Style → its bass line where none is learnt."""


def _learnt(frame: Frame, bar: BarFrame, seat: BassSeat, pattern: Pattern) -> list[Event]:
    """A learnt pattern over the bar's chords: what is struck or held where a chord begins is that chord's root."""
    begins = {span.onset: span for span in bar.spans}
    found: list[Event] = []
    for note in pattern.notes:
        onset = bar.start + note.tick
        chord = bar.chord_at(onset)
        root = seat.near(chord.root)
        if onset in begins and (not isinstance(note.tone, int) or note.tone % 7):
            pitch = root
        elif isinstance(note.tone, int):
            pitch = root + semitones(note.tone, chord, frame.key)
        else:
            pitch = beside(seat.near(bar.following.root, root), -1 if note.tone == "below" else 1, frame.key)
        pitch = folded(pitch, seat.low, seat.high)
        changes = sorted(start for start in begins if onset < start < onset + note.ticks)
        pitches = [pitch, *(seat.near(begins[start].chord.root) for start in changes)]
        for (start, end), sounding in zip(pairwise([onset, *changes, onset + note.ticks]), pitches, strict=True):
            found.append(Event(start, end - start, sounding, note.accent))
    return found


def bass_line(frame: Frame, line: str, seat: BassSeat, families: Families | None = None) -> list[Event]:
    """A bass line through a piece, by a rule of LINES or by the learnt patterns of its sections' letters; the last bar
    holds its chord's root.
    """
    events: list[Event] = []
    before = round(seat.centre)
    for bar in frame.bars:
        if families and not bar.final:
            found = _learnt(frame, bar, seat, families[bar.letter].of(bar))
        else:
            found = LINES["roots" if bar.final else line](frame, bar, seat, before)
        events += sorted(found)
        before = events[-1].pitch
    return events
