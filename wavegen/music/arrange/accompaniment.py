"""Chordal accompaniment: named figures by rule, for every metre, which style takes which, and learnt patterns."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from wavegen.music.arrange.figures import Families, Pattern, semitones
from wavegen.music.arrange.frame import BarFrame, Event, Frame
from wavegen.music.arrange.voicing import folded, nearest, voice_chord
from wavegen.music.attributes import Key, Meter
from wavegen.music.leadsheet import Chord
from wavegen.music.pulses import eighths, pulses

BASS, FIFTH, CHORD = "bass", "fifth", "chord"


class Step(NamedTuple):
    """A tone so many steps of the scale above the chord's root."""

    size: int


Figure = list[tuple[int, int, "str | int | Step", float]]
"""(tick in the bar, ticks, what, accent): what is "bass" (the root, low), "fifth" (below it), "chord" (all tones), a
step from the root, or the number of a tone of the voicing, from below; numbers beyond it go on an octave higher."""


def _oompah(meter: Meter, bar: int) -> Figure:
    """Bass on strong beats, chords on weak ones; in compound metres the chord is the beat's last eighth."""
    found: Figure = []
    beats = pulses(meter)
    strong = 0
    for beat in beats:
        if beat.ticks == 18:
            found += [(beat.tick, 10, FIFTH if strong % 2 else BASS, 4), (beat.tick + 12, 5, CHORD, -4)]
            strong += 1
        elif beat.weight:
            alone = sum(b.weight > 0 for b in beats) == 1
            fifth = bar % 2 == 1 if alone else strong % 2 == 1
            found.append((beat.tick, beat.ticks, FIFTH if fifth else BASS, 4))
            strong += 1
        else:
            found.append((beat.tick, max(4, beat.ticks * 2 // 3), CHORD, -4))
    return found


def _polka(meter: Meter, bar: int) -> Figure:
    """Bass on every beat, chords between."""
    found: Figure = []
    for place, beat in enumerate(pulses(meter)):
        found.append((beat.tick, 6, FIFTH if place % 2 else BASS, 3))
        found += [(tick, 5, CHORD, -4) for tick in range(beat.tick + 6, beat.tick + beat.ticks, 6)]
    return found


def _alberti(meter: Meter, bar: int) -> Figure:
    """Broken chords in eighths: low, high, middle, high; by threes in compound metres."""
    found: Figure = []
    for beat in pulses(meter):
        order = (0, 1, 2) if beat.ticks == 18 else (0, 2)
        if beat.ticks == 12 and not beat.weight:
            order = (1, 2)
        found += [(beat.tick + 6 * i, 6, tone, 2 if i == 0 and beat.weight else -2) for i, tone in enumerate(order)]
    return found


def _arpeggio(meter: Meter, bar: int) -> Figure:
    """The bass, then the chord's tones rising and falling in eighths, each held on a little."""
    places = eighths(meter)
    wave = (0, 1, 2, 3, 2, 1)
    found: Figure = [(0, meter.ticks, BASS, 3)]
    for i, tick in enumerate(places[1:]):
        found.append((tick, min(12, meter.ticks - tick), wave[i % len(wave)], -3 + (tick % 12 == 0)))
    return found


def _rolling(meter: Meter, bar: int) -> Figure:
    """Slow broken chords, a tone a beat, held to the bar's end."""
    found: Figure = [(0, meter.ticks, BASS, 0)]
    for i, beat in enumerate(pulses(meter)):
        found.append((beat.tick, meter.ticks - beat.tick, (i + bar) % 4, -3))
    return found


def _block(meter: Meter, bar: int) -> Figure:
    """The whole chord, held."""
    return [(0, meter.ticks, BASS, 0), (0, meter.ticks, CHORD, 0)]


def _beats(meter: Meter, bar: int) -> Figure:
    """The chord on every beat."""
    found: Figure = [(0, meter.ticks, BASS, 3)]
    return found + [(beat.tick, beat.ticks - 1, CHORD, 2 * beat.weight - 3) for beat in pulses(meter)]


def _strum(meter: Meter, bar: int) -> Figure:
    """Down on the beats, up between: down, down-up, up, down-up in four, else every beat and its last eighth."""
    if meter.ticks == 48:
        strokes = ((0, 12, 4), (12, 6, 0), (18, 12, -5), (30, 6, -4), (36, 6, 1), (42, 6, -5))
        return [(0, 24, BASS, 2), *((tick, ticks, CHORD, accent) for tick, ticks, accent in strokes)]
    found: Figure = [(0, meter.ticks, BASS, 2)]
    for beat in pulses(meter):
        cut = beat.ticks - 6 if beat.weight < 2 or beat.ticks == 18 else beat.ticks
        found.append((beat.tick, cut, CHORD, 2 * beat.weight - 1))
        if cut < beat.ticks:
            found.append((beat.tick + cut, 6, CHORD, -5))
    return found


def _power(meter: Meter, bar: int) -> Figure:
    """The chord driven in eighths."""
    starts = {beat.tick for beat in pulses(meter)}
    return [(tick, 5, CHORD, 3 if tick in starts else -3) for tick in eighths(meter)]


def _gallop(meter: Meter, bar: int) -> Figure:
    """An eighth and two sixteenths on every quarter."""
    found: Figure = []
    for beat in pulses(meter):
        for tick in range(beat.tick, beat.tick + beat.ticks, 6):
            if (tick - beat.tick) % 12 == 0:
                found.append((tick, 5, CHORD, 4 if tick == beat.tick else 0))
            else:
                found += [(tick, 2, CHORD, -4), (tick + 3, 2, CHORD, -4)]
    return found


def _shuffle(meter: Meter, bar: int) -> Figure:
    """Swung eighths."""
    found: Figure = []
    for beat in pulses(meter):
        long = beat.ticks * 2 // 3
        found += [(beat.tick, long, CHORD, 2), (beat.tick + long, beat.ticks - long, CHORD, -4)]
    return [(0, meter.ticks, BASS, 2), *found]


def _comp(meter: Meter, bar: int) -> Figure:
    """Jazz comping: the Charleston and its answer, swung."""
    if meter.ticks == 48:
        strokes = (((0, 14), (20, 8)), ((12, 6), (32, 10)), ((8, 6), (20, 6), (36, 8)), ((0, 10), (32, 12)))[bar % 4]
        return [(0, 24, BASS, 1), *((tick, ticks, CHORD, 1 - 2 * i) for i, (tick, ticks) in enumerate(strokes))]
    found: Figure = [(0, meter.ticks, BASS, 1)]
    for place, beat in enumerate(pulses(meter)):
        off = beat.ticks * 2 // 3 if (place + bar) % 2 else 0
        if (place + bar) % 3 != 2 or not place:
            found.append((beat.tick + off, beat.ticks - off, CHORD, -2 if off else 1))
    return found


def _bossa(meter: Meter, bar: int) -> Figure:
    """The guitar of the bossa nova, two bars long: thumb on the halves, fingers off the beat."""
    if meter.ticks != 48:
        return _strum(meter, bar)
    chords = ((0, 9), (18, 12), (36, 6)) if bar % 2 == 0 else ((6, 9), (18, 9), (30, 12))
    bass: Figure = [(0, 24, BASS, 2), (24, 24, FIFTH, 0)]
    return bass + [(tick, ticks, CHORD, -1) for tick, ticks in chords]


def _stabs(meter: Meter, bar: int) -> Figure:
    """Short chords off the beat in sixteenths."""
    places = (6, 15, 21, 30, 39) if bar % 2 == 0 else (3, 12, 21, 33, 42)
    return [(tick, 3, CHORD, 2 if tick % 12 else -1) for tick in places if tick < meter.ticks] or _beats(meter, bar)


def _tango(meter: Meter, bar: int) -> Figure:
    """Marcato: short chords on the beats; every fourth bar the syncopated figure."""
    if bar % 4 == 3 and meter.ticks == 48:
        return [(0, 12, BASS, 4), *((tick, ticks, CHORD, a) for tick, ticks, a in ((0, 5, 4), (6, 11, 5), (18, 5, 0),
                (24, 8, 3), (36, 8, 0)))]  # fmt: skip
    found: Figure = [(0, 12, BASS, 4)]
    return found + [(beat.tick, max(4, beat.ticks // 2), CHORD, 4 if beat.weight else -2) for beat in pulses(meter)]


def _ostinato(meter: Meter, bar: int) -> Figure:
    """Sixteenths that go round the chord."""
    order = (0, 1, 2, 3, 1, 2, 0, 2)
    return [(tick, 3, order[i % 8], 3 if tick % 12 == 0 else -2) for i, tick in enumerate(range(0, meter.ticks, 3))]


def _offbeat(meter: Meter, bar: int) -> Figure:
    """The chord between the beats."""
    return [(beat.tick + beat.ticks - 6, 5, CHORD, 0) for beat in pulses(meter) if beat.ticks > 6] or _beats(meter, bar)


def _drone(meter: Meter, bar: int) -> Figure:
    """The bass alone, held (the piece's tonic where the chord allows)."""
    return [(0, meter.ticks, BASS, -2), (0, meter.ticks, 0, -4)]


FIGURES: dict[str, Callable[[Meter, int], Figure]] = {
    "alberti": _alberti, "arpeggio": _arpeggio, "beats": _beats, "block": _block, "bossa": _bossa, "comp": _comp,
    "drone": _drone, "gallop": _gallop, "offbeat": _offbeat, "oompah": _oompah, "ostinato": _ostinato,
    "polka": _polka, "power": _power, "rolling": _rolling, "shuffle": _shuffle, "stabs": _stabs, "strum": _strum,
    "tango": _tango,
}  # fmt: skip
"""Figures by name: (metre, number of the bar) → what is played in it."""

STYLE_FIGURES: dict[str, tuple[str, ...]] = {
    "chorale": ("block",),
    "waltz": ("oompah", "arpeggio", "block"),
    "jig": ("oompah", "strum", "drone"),
    "reel": ("oompah", "strum", "drone"),
    "hornpipe": ("oompah", "strum"),
    "march": ("oompah", "beats"),
    "polka": ("polka", "beats"),
    "air": ("arpeggio", "block"),
    "strathspey": ("oompah", "drone"),
    "slip-jig": ("oompah", "strum"),
    "ballad": ("arpeggio", "strum", "block"),
    "lullaby": ("arpeggio", "rolling"),
    "pop": ("strum", "beats", "arpeggio"),
    "rock": ("power", "strum", "block"),
    "metal": ("gallop", "power", "block"),
    "blues": ("shuffle", "comp", "block"),
    "jazz": ("comp", "rolling", "block"),
    "bossa": ("bossa", "comp", "block"),
    "funk": ("stabs", "comp", "offbeat"),
    "classical": ("alberti", "block", "arpeggio"),
    "ambient": ("rolling", "block"),
    "tango": ("tango", "offbeat", "arpeggio"),
    "minuet": ("alberti", "block"),
    "folk": ("strum", "arpeggio", "oompah"),
    "electronic": ("ostinato", "offbeat", "block"),
}
"""Style → the figures of the first, second, ... chordal instrument where none is learnt; a further one begins again."""


@dataclass(frozen=True)
class Seat:
    """Where an accompaniment lies: the instrument's range, the centre of its chords, whether it also plays the bass
    (and near which pitch), how many tones a chord has, and whether chords are bare roots and fifths.
    """

    low: int
    high: int
    centre: float
    bass: float | None
    tones: int = 3
    power: bool = False


def accompany(frame: Frame, figure: str, seat: Seat, families: Families | None = None) -> list[Event]:
    """A figure of FIGURES, or the learnt patterns of the sections' letters, played through a piece; every chord change
    is heard, and the last bar holds its chord.
    """
    voicing: tuple[int, ...] = ()
    events: list[Event] = []
    voiced: Chord | None = None
    for bar in frame.bars:
        if families and not bar.final:
            drawn = _drawn(families[bar.letter].of(bar))
        else:
            drawn = FIGURES["block" if bar.final else figure](frame.meter, bar.place)
        if seat.bass is None:
            drawn = [entry for entry in drawn if entry[2] not in (BASS, FIFTH)] or FIGURES["beats"](frame.meter, 0)[1:]
        for tick, ticks, what, accent in _with_changes(drawn, bar):
            chord = bar.chord_at(bar.start + tick)
            if chord != voiced:
                voicing, voiced = _voiced(chord, voicing, seat), chord
            ticks = min(ticks, _until_change(bar, bar.start + tick) if what != FIFTH else ticks)
            for pitch in _pitches(what, chord, voicing, seat, frame.key):
                events.append(Event(bar.start + tick, ticks, pitch, accent))
    return events


def _drawn(pattern: Pattern) -> Figure:
    """A learnt pattern as a figure: whether its chords are bare or whole is the seat's."""
    return [
        (note.tick, note.ticks, Step(note.tone) if isinstance(note.tone, int) else CHORD, note.accent)
        for note in pattern.notes
    ]


def _voiced(chord: Chord, voicing: tuple[int, ...], seat: Seat) -> tuple[int, ...]:
    if seat.power:
        root = nearest(chord.root, seat.centre - 5, seat.low, seat.high)
        return tuple(
            pitch for pitch in (root, root + (6 if chord.quality == "dim" else 7), root + 12) if pitch <= seat.high
        )
    return voice_chord(chord, voicing, seat.low, seat.high, seat.centre, seat.tones)


def _with_changes(drawn: Figure, bar: BarFrame) -> Figure:
    """A figure, with the chord struck anew where it changes and the figure holds on."""
    found = sorted(drawn, key=lambda entry: entry[0])
    for span in bar.spans[1:]:
        tick = span.onset - bar.start
        for kind in (BASS, CHORD):
            held = [e for e in drawn if e[2] == kind and e[0] < tick < e[0] + e[1]]
            if held and not any(e[0] == tick and e[2] == kind for e in found):
                found.append((tick, held[0][0] + held[0][1] - tick, kind, held[0][3]))
    return sorted(found, key=lambda entry: entry[0])


def _until_change(bar: BarFrame, onset: int) -> int:
    return next((span.onset - onset for span in bar.spans if span.onset > onset), 10**6)


def _pitches(what: str | int | Step, chord: Chord, voicing: tuple[int, ...], seat: Seat, key: Key) -> list[int]:
    if what == CHORD:
        return list(voicing)
    if isinstance(what, Step):
        root = nearest(chord.root, voicing[0], seat.low, seat.high)
        return [folded(root + semitones(what.size, chord, key), seat.low, seat.high)]
    if isinstance(what, int):
        octave, place = divmod(what, len(voicing))
        pitch = voicing[place] + 12 * octave
        return [pitch if pitch <= seat.high else voicing[place]]
    assert seat.bass is not None
    root = nearest(chord.root, seat.bass, seat.low, seat.high)
    if what == BASS:
        return [root]
    fifth = chord.pitch_classes[2]
    return [nearest(fifth, root - 3, seat.low, seat.high)]
