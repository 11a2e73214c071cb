"""Learnt bars of bass and of chords: which a style takes, drawn for each section and varied where phrases end.

A pattern is what a bass, or a guitar or keyboard, played in a bar of 4/4. ``recipes/music/figure_tables.py`` counted
them in the music of Freedoom (BSD-3-Clause), each with the bars it stood in, what came after it, what closed the four
bars that it opened, and, for a bass, the chordal patterns that sounded with it. A style draws among them by its taste;
tones are steps of the key's scale from the chord's root, thirds and fifths (and sevenths) those of the chord itself.
"""

import gzip
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np

from wavegen.music.arrange.frame import BarFrame
from wavegen.music.attributes import Key, Meter
from wavegen.music.leadsheet import Chord

BAR = 48  # ticks
PHRASE = 4  # bars

Tone = int | str
"""Steps of the scale above the chord's root (7 an octave); or "below", "above": the scale's step from there to the root
of the next bar; or "chord", "power": a whole chord, a bare fifth.
"""


class Note(NamedTuple):
    """One stroke of a pattern; ``accent`` is added to its MIDI velocity."""

    tick: int
    ticks: int
    tone: Tone
    accent: float = 0.0


@dataclass(frozen=True)
class Pattern:
    """A bar that was counted. ``kinds``: how much it was played in bars of each kind ("heavy": drums and distorted
    guitars, "synth", "band", "quiet"); ``tempo``: at how many quarters a minute, the geometric mean; ``after``,
    ``turn``, ``chords``: how often which pattern (its place in the table) came next, three bars on, and with it.
    """

    notes: tuple[Note, ...]
    kinds: dict[str, float]
    tempo: float
    after: dict[int, int]
    turn: dict[int, int]
    chords: dict[int, int]

    @cached_property
    def syncopation(self) -> int:
        """The syncopation of Longuet-Higgins and Lee (1984), 0 for a bar without, on a grid of sixteenths."""
        onsets = sorted({note.tick // 3 for note in self.notes})
        found = 0
        for here, following in zip(onsets, [*onsets[1:], onsets[0] + 16], strict=True):
            passed = max((_level(place) for place in range(here + 1, following)), default=-9)
            found += max(0, passed - _level(here))
        return found

    @property
    def broken(self) -> bool:
        """Whether it holds no chord, but three tones or more, one after the other."""
        return len({note.tone for note in self.notes}) > 2 and not self.chordal

    @property
    def chordal(self) -> bool:
        """Whether it strikes chords."""
        return any(note.tone in ("chord", "power") for note in self.notes)


def _level(place: int) -> int:
    """The metrical weight of a sixteenth of 4/4: 0 begins a bar, -1 its half, and so on to -4."""
    place %= 16
    return -4 if place % 2 else -3 if place % 4 else -2 if place % 8 else -1 if place else 0


class Taste(NamedTuple):
    """What a style takes: kinds of bar and how much they count, onsets in a bar of bass and of chords, and how
    syncopated both are.
    """

    kinds: dict[str, float]
    bass: float
    chords: float
    syncopation: float


TASTES: dict[str, Taste] = {
    "rock": Taste({"heavy": 1.0, "band": 1.5, "synth": 0.3}, 8, 7, 2),
    "metal": Taste({"heavy": 1.0}, 12, 11, 3),
    "pop": Taste({"band": 2.0, "synth": 1.0, "heavy": 0.3}, 7, 5, 4),
    "funk": Taste({"band": 2.0, "synth": 1.0, "heavy": 0.7}, 9, 7, 9),
    "electronic": Taste({"synth": 1.0, "band": 0.5}, 10, 6, 5),
}
"""The styles whose bass and chords are learnt in 4/4; all else goes by rules. Freedoom's music is loud and straight: no
figure in triplets and 32 bars of a bass without drums are too few for blues, jazz, ballads or ambient music.
"""

PARTS = 2  # chordal parts that play learnt patterns; further ones go by rules
_DENSITY, _SYNCOPATION, _TEMPO = 0.5, 4.0, 0.4  # standard deviations: octaves, steps, octaves
_TOGETHER = 0.5  # the share of chordal patterns that are drawn among those that sounded with the bass's
_RANGE = 2.0  # what follows has at most so many times the onsets, and at least their inverse


class Family(NamedTuple):
    """The patterns of a section's phrases: the first and third bar, the second, and the last."""

    base: Pattern
    answer: Pattern
    turn: Pattern

    def of(self, bar: BarFrame) -> Pattern:
        """The pattern of a bar."""
        if bar.closing or bar.place % PHRASE == PHRASE - 1:
            return self.turn
        return self.answer if bar.place % PHRASE == 1 else self.base


Families = dict[str, Family]
"""Letter of a section → its patterns."""


class Learnt(NamedTuple):
    """The patterns of a piece: of its bass, and of its chordal parts, in order."""

    bass: Families
    chords: tuple[Families, ...]


@lru_cache(maxsize=1)
def patterns() -> dict[str, tuple[Pattern, ...]]:
    """The patterns of "bass" and "chords", the commonest first."""
    packed = (files("wavegen.music") / "data" / "figures.json.gz").read_bytes()
    return {
        what: tuple(
            Pattern(
                tuple(Note(*note) for note in entry["notes"]),
                entry["kinds"],
                entry["tempo"],
                *({int(n): count for n, count in entry.get(name, {}).items()} for name in ("after", "turn", "chords")),
            )
            for entry in entries
        )
        for what, entries in json.loads(gzip.decompress(packed)).items()
    }


def learnt(style: str, meter: Meter) -> bool:
    """Whether there are patterns for a style in a metre."""
    return style in TASTES and meter.name == "4/4"


def draw(
    style: str, tempo: float, letters: Sequence[str], power: Sequence[bool], generator: np.random.Generator
) -> Learnt:
    """Patterns for the sections' letters in a style of TASTES, at so many quarters a minute.

    ``power`` says of every chordal part whether it plays bare fifths; the first PARTS get patterns. Letters have
    patterns of their own as far as there are enough.
    """
    bass: Families = {}
    chords: tuple[Families, ...] = tuple({} for _ in power[:PARTS])
    taken: dict[str, set[int]] = {"bass": set(), "chords": set()}
    basses, others = patterns()["bass"], patterns()["chords"]
    bass_fit = [fit(pattern, style, tempo, TASTES[style].bass) for pattern in basses]
    for letter in dict.fromkeys(letters):
        number = _drawn(bass_fit, taken["bass"], generator)
        bass[letter] = _family(basses, number, generator)
        for part, families in enumerate(chords):
            weights = _with_bass(basses[number], style, tempo, power=power[part])
            families[letter] = _family(others, _drawn(weights, taken["chords"], generator), generator)
    return Learnt(bass, chords)


def _with_bass(bass: Pattern, style: str, tempo: float, *, power: bool) -> list[float]:
    """The weights of all chordal patterns over a bass: partly how common they are, partly how often they sounded with
    it. Without ``power``, one string that is driven on is left out.
    """
    density = TASTES[style].chords
    others = patterns()["chords"]
    played = np.array([power or pattern.chordal or pattern.broken for pattern in others], float)
    common = played * [fit(pattern, style, tempo, density) for pattern in others]
    together = played * [
        bass.chords[place] * closeness(pattern, style, tempo, density) if place in bass.chords else 0.0
        for place, pattern in enumerate(others)
    ]
    if not together.sum() > 0:
        return list(common)
    return list((1 - _TOGETHER) * common / common.sum() + _TOGETHER * together / together.sum())


def fit(pattern: Pattern, style: str, tempo: float, density: float) -> float:
    """How much a pattern counts for a style: how often it was played in bars of the kinds that the style takes, times
    its closeness.
    """
    weight = sum(TASTES[style].kinds.get(kind, 0.0) * count for kind, count in pattern.kinds.items())
    return weight * closeness(pattern, style, tempo, density)


def closeness(pattern: Pattern, style: str, tempo: float, density: float) -> float:
    """1 for a pattern with so many onsets, the style's syncopation and the tempo; less the farther it is away."""
    away = (
        math.log2(len(pattern.notes) / density) / _DENSITY,
        (pattern.syncopation - TASTES[style].syncopation) / _SYNCOPATION,
        math.log2(pattern.tempo / tempo) / _TEMPO,
    )
    return math.exp(-0.5 * sum(distance**2 for distance in away))


def _drawn(weights: Sequence[float], taken: set[int], generator: np.random.Generator) -> int:
    """A place by its weight, none that is taken while others have any; it is taken from then on."""
    free = [0.0 if place in taken else weight for place, weight in enumerate(weights)]
    cumulative = np.cumsum(free if sum(free) > 0 else weights)
    place = min(int(np.searchsorted(cumulative, generator.random() * cumulative[-1], side="right")), len(free) - 1)
    taken.add(place)
    return place


def _family(known: Sequence[Pattern], number: int, generator: np.random.Generator) -> Family:
    """A pattern with what comes after it, and what closes its phrase: another that was played there or next, or else
    the one most like it.
    """
    base = known[number]

    def like(counts: dict[int, int], *, other: bool) -> dict[int, int]:
        size = len(base.notes)
        return {
            place: count
            for place, count in counts.items()
            if size / _RANGE <= len(known[place].notes) <= size * _RANGE and not (other and place == number)
        }

    def chosen(counts: dict[int, int]) -> Pattern:
        if not counts:
            return base
        places = list(counts)
        return known[places[_drawn([counts[place] for place in places], set(), generator)]]

    answer = chosen(like(base.after, other=False))
    closing = like(base.turn, other=True) or like(base.after, other=True)
    return Family(base, answer, chosen(closing) if closing else _nearest(known, number))


def _nearest(known: Sequence[Pattern], number: int) -> Pattern:
    """The pattern that shares most strokes with another, at least half of both; that one if there is none."""
    own = {(note.tick, note.tone) for note in known[number].notes}
    shares = []
    for place, pattern in enumerate(known):
        strokes = {(note.tick, note.tone) for note in pattern.notes}
        share = len(own & strokes) / len(own | strokes)
        shares.append(share if place != number and share < 1 else 0.0)
    place = int(np.argmax(shares))
    return known[place] if shares[place] >= 0.5 else known[number]


# Tones

_STEPS = ((0,), (2, 1), (4, 3), (5, 6), (7, 6), (9, 8), (10, 11))  # semitones above the root that a step may have


def semitones(step: int, chord: Chord, key: Key) -> int:
    """How many semitones so many steps above (or below) a chord's root are: tones of the chord as they are, others
    those of the key's scale, and the root where neither has one.
    """
    octave, degree = divmod(step, 7)
    own = [(tone - chord.root) % 12 for tone in chord.pitch_classes]
    place = degree // 2
    if degree % 2 == 0 and place < len(own):
        return 12 * octave + own[place]
    found = next((size for size in _STEPS[degree] if (chord.root + size) % 12 in key.scale), 0)
    return 12 * octave + found


def beside(goal: int, side: int, key: Key) -> int:
    """The scale's nearest pitch below (``side`` -1) or above (1) a pitch."""
    return next(goal + side * size for size in range(1, 12) if (goal + side * size) % 12 in key.scale)
