"""Single-line parts beside the melody: a second voice in thirds and sixths, inner voices, pads, and chorale voices."""

from collections.abc import Sequence
from itertools import pairwise

from wavegen.music.arrange.frame import BarFrame, Event, Frame
from wavegen.music.arrange.voicing import folded, lead_voices, voice_chord
from wavegen.music.pulses import eighths, pulses

Range = tuple[int, int]


def second_voice(frame: Frame, span: Range) -> list[Event]:
    """A voice that moves with the melody, mostly a third or sixth below it: a chord tone under chord tones, else the
    scale's third. It rests where the melody does.
    """
    low, high = span
    scale = set(frame.key.scale)
    events = []
    for note in frame.melody:
        bar = bar_at(frame, note.onset)
        chord = bar.chord_at(note.onset)
        classes = set(chord.pitch_classes)
        wanted = classes if note.pitch % 12 in classes or bar.final else scale | classes
        steps = [step for step in (3, 4, 8, 9, 5, 6, 7) if (note.pitch - step) % 12 in wanted]
        step = steps[0] if steps else 12
        events.append(note._replace(pitch=folded(note.pitch - step, low, high), accent=-3))
    return events


def inner_voices(frame: Frame, ranges: Sequence[Range], *, with_melody: bool = False) -> list[list[Event]]:
    """Voices between melody and bass, the highest first, led as smoothly as they can be: a note for every chord, or,
    ``with_melody``, on every beat where the melody begins a note (as in chorales).
    """
    voices: list[list[Event]] = [[] for _ in ranges]
    previous: list[int] = []
    for onset, ticks in _moments(frame, with_melody=with_melody):
        chord = bar_at(frame, onset).chord_at(onset)
        top = melody_at(frame, onset)
        previous = lead_voices(chord, previous, top, ranges)
        for voice, pitch in zip(voices, previous, strict=True):
            held = voice and voice[-1].pitch == pitch and voice[-1].onset + voice[-1].ticks == onset
            if held and not with_melody and onset % frame.meter.ticks:
                voice[-1] = voice[-1]._replace(ticks=voice[-1].ticks + ticks)
            else:
                voice.append(Event(onset, ticks, pitch, -3))
    return voices


def _moments(frame: Frame, *, with_melody: bool) -> list[tuple[int, int]]:
    """(onset, ticks) of where inner voices move."""
    starts = {span.onset for bar in frame.bars for span in bar.spans}
    if with_melody:
        beat = min(frame.meter.beat, 18) if frame.meter.beat >= 12 else 12
        final = next((bar.start for bar in frame.bars if bar.final), frame.ticks)
        starts |= {
            note.onset for note in frame.melody if note.onset % frame.meter.ticks % beat == 0 and note.onset < final
        }
    ordered = [*sorted(starts), frame.ticks]
    return [(start, end - start) for start, end in pairwise(ordered)]


RHYTHMS = {"waltz": "off", "jig": "off", "reel": "off", "hornpipe": "off", "march": "off", "polka": "off",
           "slip-jig": "off", "strathspey": "off", "tango": "beats", "classical": "eighths", "minuet": "beats",
           "rock": "eighths", "metal": "eighths", "funk": "off", "electronic": "eighths"}  # fmt: skip
"""Style → how inner voices strike the tones that they hold: off the strong beats, on every beat, in eighths; the
voices of other styles hold them.
"""


def pulsed(frame: Frame, events: Sequence[Event], rhythm: str) -> list[Event]:
    """Held tones struck anew in a rhythm of RHYTHMS; those of the last bar are held."""
    beats = pulses(frame.meter)
    if rhythm == "eighths":
        grid = [(tick, 5) for tick in eighths(frame.meter)]
    elif rhythm == "beats":
        grid = [(beat.tick, beat.ticks - 1) for beat in beats]
    else:
        grid = [(beat.tick, beat.ticks * 2 // 3) for beat in beats if not beat.weight and beat.ticks < 18]
        grid = grid or [(beat.tick + beat.ticks - 6, 5) for beat in beats]
    found: list[Event] = []
    for event in events:
        for number in range(event.onset // frame.meter.ticks, -(-(event.onset + event.ticks) // frame.meter.ticks)):
            bar = frame.bars[number]
            start, end = max(event.onset, bar.start), min(event.onset + event.ticks, bar.start + frame.meter.ticks)
            if bar.final:
                found.append(event._replace(onset=start, ticks=end - start))
                continue
            inside = [(bar.start + tick, ticks) for tick, ticks in grid if start <= bar.start + tick < end]
            found += [event._replace(onset=at, ticks=min(ticks, end - at)) for at, ticks in inside]
    return found


def pad(frame: Frame, span: Range, centre: float, count: int) -> list[Event]:
    """Held chords, tones that stay being held over, newly struck at each section."""
    events: list[Event] = []
    sounding: dict[int, int] = {}  # pitch → its place in events
    voicing: tuple[int, ...] = ()
    for bar in frame.bars:
        for chord_span in bar.spans:
            voicing = voice_chord(chord_span.chord, voicing, *span, centre, count)
            fresh = chord_span.onset == bar.start and bar.place % 4 == 0
            kept = {}
            for pitch in voicing:
                place = sounding.get(pitch)
                if place is not None and not fresh:
                    events[place] = events[place]._replace(
                        ticks=chord_span.onset + chord_span.ticks - events[place].onset
                    )
                else:
                    place = len(events)
                    events.append(Event(chord_span.onset, chord_span.ticks, pitch, -4))
                kept[pitch] = place
            sounding = kept
    return events


def doubled(frame: Frame, span: Range, octave: int) -> list[Event]:
    """The melody so many octaves higher or lower, as far as the range reaches."""
    low, high = span
    return [note._replace(pitch=folded(note.pitch + 12 * octave, low, high), accent=-4) for note in frame.melody]


def bar_at(frame: Frame, onset: int) -> BarFrame:
    """The bar in which a tick lies."""
    return frame.bars[onset // frame.meter.ticks]


def melody_at(frame: Frame, onset: int) -> int:
    """The melody's pitch at a tick: what sounds, or sounded last, or comes first."""
    pitch = frame.melody[0].pitch if frame.melody else 72
    for note in frame.melody:
        if note.onset > onset:
            break
        pitch = note.pitch
    return pitch
