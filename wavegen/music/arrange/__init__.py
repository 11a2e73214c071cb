"""Arrangement: a lead sheet played by the instruments asked for, in a style, on time and to the end."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from wavegen.music.arrange.accompaniment import STYLE_FIGURES, Seat, accompany
from wavegen.music.arrange.bass import STYLE_LINES, BassSeat, bass_line
from wavegen.music.arrange.dynamics import velocities
from wavegen.music.arrange.figures import Learnt, draw, learnt
from wavegen.music.arrange.frame import Event, Frame, frame_of
from wavegen.music.arrange.roles import Part, assign
from wavegen.music.arrange.voices import RHYTHMS, doubled, inner_voices, pad, pulsed, second_voice
from wavegen.music.arrange.voicing import placed
from wavegen.music.attributes import STYLES, TICKS, Attributes
from wavegen.music.drums import LENGTH, drum_part
from wavegen.music.form import plan_form
from wavegen.music.instruments import instrument, usual_name
from wavegen.music.leadsheet import LeadSheet
from wavegen.music.score import Score, Track

Sections = Sequence[tuple[str, int]]
"""(letter, bars) of each section."""

_OVERDRIVEN = (29, 30)  # guitars that play bare fifths
_DRIVING = ("rock", "metal", "blues", "pop", "funk")
_SOLO_BASS = 43  # near which a keyboard's left hand lies


def arrange(
    leadsheet: LeadSheet,
    attributes: Attributes,
    generator: np.random.Generator,
    *,
    sections: Sections | None = None,
    final: bool = True,
    melody_centre: float | None = None,
) -> Score:
    """The score of a lead sheet for the attributes' instruments, style, tempo and dynamics; it lasts its bars exactly.

    Each instrument gets one track, in the order asked for, and drums one more. ``sections`` (by default the form
    planned for so many bars) shape phrases and fills. ``final``: the last bar holds its chord. ``melody_centre`` is
    the pitch around which the melody lies. Timing is exact; velocities carry the phrases.
    """
    sections = sections or [(s.label.rstrip("'"), s.bars) for s in plan_form(attributes).sections]
    if sum(bars for _, bars in sections) != len(leadsheet.bars):
        sections = [("A", len(leadsheet.bars))]
    frame = frame_of(leadsheet, attributes.style, tuple(sections), final=final)
    chorale = attributes.style == "chorale"
    parts = assign(attributes.instruments, chorale=chorale)
    lead = parts[0]
    melody = placed(frame.melody, lead.low, lead.high, _centre(lead, parts) if melody_centre is None else melody_centre)
    frame = frame.with_melody(melody)
    played: list[tuple[str, int, list[Event]]] = []  # role, place of the part, events
    inner = inner_parts(frame, parts, chorale=chorale)
    patterns = _patterns(frame, parts, attributes, generator)
    for part in parts:
        if part.role in ("melody", "solo"):
            played.append((part.role, part.place, melody))
        if part.role == "solo":
            played[-1] = ("melody", part.place, melody)
            played.append(("accompaniment", part.place, _solo(frame, part, chorale=chorale)))
        elif part.role != "melody":
            played.append(
                (part.role, part.place, inner.get(part.place) or _events(frame, part, patterns, chorale=chorale))
            )
    drums = _drums(frame, attributes, sections, generator, final=final) if attributes.drums else []
    everything = [(role, events) for role, _, events in played]
    loud = velocities(frame, [*everything, *([("drums", drums)] if drums else [])], attributes.dynamics, generator)
    names = track_names(attributes.instruments)
    tracks = []
    for part in parts:
        rows = [
            (event, velocity)
            for (_, place, events), values in zip(played, loud, strict=False)
            if place == part.place
            for event, velocity in zip(events, values, strict=True)
        ]
        tracks.append(Track(part.program, False, names[part.place], note_rows(rows, frame.ticks)))
    if attributes.drums:
        tracks.append(Track(0, True, "drums", note_rows(zip(drums, loud[-1], strict=True), frame.ticks)))
    return Score(
        tuple(tracks),
        ((0.0, attributes.quarter_tempo),),
        ((0.0, leadsheet.meter.numerator, leadsheet.meter.denominator),),
        leadsheet.key,
    )


def track_names(programs: Sequence[int]) -> list[str]:
    """The instruments' usual names, numbered where one stands twice: "violin 1", "violin 2", "cello"."""
    names = [usual_name(program) for program in programs]
    return [
        name if names.count(name) == 1 else f"{name} {names[: place + 1].count(name)}"
        for place, name in enumerate(names)
    ]


def note_rows(rows: "Sequence[tuple[Event, float]] | zip[tuple[Event, float]]", end: int) -> NDArray[np.float64]:
    """Notes (n, 4) in quarters of events with velocities: cut at the end and where their pitch is struck again."""
    found: dict[tuple[int, int], tuple[int, float]] = {}
    for event, velocity in rows:
        stop = min(event.onset + event.ticks, end)
        key = (event.pitch, event.onset)
        if event.onset < end and stop > event.onset and (key not in found or found[key][1] < velocity):
            found[key] = (max(stop, found[key][0]) if key in found else stop, velocity)
    ordered = sorted(found)
    notes = []
    for place, (pitch, onset) in enumerate(ordered):
        stop, velocity = found[pitch, onset]
        if place + 1 < len(ordered) and ordered[place + 1][0] == pitch:
            stop = min(stop, ordered[place + 1][1])
        notes.append((onset / TICKS, (stop - onset) / TICKS, float(pitch), float(velocity)))
    return np.array(notes, dtype=np.float64).reshape(-1, 4)


def _centre(part: Part, parts: Sequence[Part]) -> float | None:
    """Around which pitch the melody lies: where the instrument sounds well, higher over an accompaniment of its own."""
    if part.role == "solo":
        return 74.0
    if instrument(part.program).roles[0] == "bass":
        return part.low + 0.55 * (part.high - part.low)
    return None


def _mean(frame: Frame) -> float:
    total = sum(event.ticks for event in frame.melody)
    return sum(event.pitch * event.ticks for event in frame.melody) / total if total else 72.0


def _solo(frame: Frame, part: Part, *, chorale: bool) -> list[Event]:
    """What a keyboard or guitar plays under its own melody, no note as high as the melody's."""
    if chorale:
        ranges = [(max(part.low, 53), 72), (max(part.low, 46), 65)]
        voices = inner_voices(frame, ranges, with_melody=True)
        events = [event for voice in voices for event in voice]
        events += bass_line(frame, "flowing", BassSeat(part.low, min(part.high, 62), max(part.low + 7.0, 46.0)))
    else:
        top = min(part.high, round(_mean(frame)) - 3)
        guitar = 24 <= part.program <= 31
        centre = 55.0 if guitar else 57.0
        seat = Seat(
            part.low, max(top, part.low + 14), centre, max(part.low + 4.0, float(_SOLO_BASS)), 2 if guitar else 3
        )
        figure = STYLE_FIGURES[frame.style][0]
        events = accompany(frame, "arpeggio" if guitar and figure in ("strum", "stabs") else figure, seat)
    return _below(frame, events)


def _below(frame: Frame, events: list[Event]) -> list[Event]:
    """Events without those that would cover the melody while it sounds."""
    kept = []
    for event in events:
        over = [
            note.pitch
            for note in frame.melody
            if note.onset < event.onset + event.ticks and event.onset < note.onset + note.ticks
        ]
        if not over or event.pitch < min(over):
            kept.append(event)
    return kept


def inner_parts(frame: Frame, parts: Sequence[Part], *, chorale: bool) -> dict[int, list[Event]]:
    """The events of the inner voices, by the place of their part: they are led together."""
    players = [part for part in parts if part.role == "inner"]
    players.sort(key=lambda part: -(part.low + part.high))
    top = round(_mean(frame)) + (-6 if any(part.role == "second" for part in parts) else 2)
    ranges = []
    for order, part in enumerate(players):
        ceiling = top - 3 * order
        high = max(min(part.high, ceiling), part.low + 12)
        ranges.append((max(part.low, min(high - 16, part.high - 12)), min(high, part.high)))
    voices = inner_voices(frame, ranges, with_melody=chorale)
    if rhythm := RHYTHMS.get(frame.style):
        voices = [pulsed(frame, voice, rhythm) for voice in voices]
    return {part.place: events for part, events in zip(players, voices, strict=True)}


def _patterns(
    frame: Frame, parts: Sequence[Part], attributes: Attributes, generator: np.random.Generator
) -> Learnt | None:
    """The learnt patterns of the bass and of the chordal parts; None where the style goes by rules."""
    chordal = [part for part in parts if part.role == "chords"]
    if not learnt(frame.style, frame.meter) or not (chordal or any(part.role == "bass" for part in parts)):
        return None
    letters = [bar.letter for bar in frame.bars]
    power = [_plays_power(frame, part) for part in chordal]
    return draw(frame.style, attributes.quarter_tempo, letters, power, generator)


def _plays_power(frame: Frame, part: Part) -> bool:
    return part.program in _OVERDRIVEN and frame.style in _DRIVING


def _events(frame: Frame, part: Part, patterns: Learnt | None, *, chorale: bool) -> list[Event]:
    """What a part plays that is led by itself."""
    span = (part.low, part.high)
    if part.role in ("bass", "low"):
        line = STYLE_LINES[frame.style] if part.role == "bass" else "roots"
        if part.program == 47:  # timpani keep to the strong beats
            line = "two"
        goal = max(part.low + 7.0, 33.0) if part.low < 36 else part.low + 6.0
        own = patterns.bass if patterns and part.role == "bass" and part.program != 47 else None
        return bass_line(frame, line, BassSeat(part.low, min(part.high, part.low + 28), goal), own)
    if part.role == "second":
        return second_voice(frame, span)
    if part.role == "double":
        return doubled(frame, span, (1, -1)[part.order % 2])
    centre = min(max(_mean(frame) - 13, 57.0), 66.0)
    centre = min(max(centre, part.low + 6.0), part.high - 6.0)
    high = min(part.high, max(round(centre) + 12, part.low + 12))
    low = max(part.low, min(round(centre) - 12, high - 12))
    if part.role == "pad":
        return pad(frame, (low, high), centre - 3 * part.order, 3)
    figures = STYLE_FIGURES[frame.style]
    figure = "beats" if chorale else figures[part.order % len(figures)]
    power = _plays_power(frame, part)
    bass = max(part.low + 3.0, float(_SOLO_BASS) - 2) if part.bass else None
    if part.bass:
        low = part.low
    if power:
        low, centre = part.low, part.low + 10.0
    own = patterns.chords[part.order] if patterns and not part.bass and part.order < len(patterns.chords) else None
    return accompany(frame, figure, Seat(low, high, centre, bass, 3, power), own)


def _drums(
    frame: Frame, attributes: Attributes, sections: Sections, generator: np.random.Generator, *, final: bool
) -> list[Event]:
    """The drums' strokes; their velocity stands as an accent beside the mean."""
    bars = drum_part(STYLES[attributes.style].groove, frame.meter, sections, generator, end=final)
    events = []
    for bar, strokes in zip(frame.bars, bars, strict=True):
        for tick, key, loud in strokes:
            ticks = frame.meter.ticks if bar.final else LENGTH
            events.append(Event(bar.start + tick, ticks, key, 0.6 * attributes.dynamics * (loud - 1)))
    return events
