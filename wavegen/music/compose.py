"""Composition: a form, a melody with chords that a score model writes inside it, and its arrangement."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from wavegen.errors import InputError
from wavegen.music.arrange import Sections, arrange
from wavegen.music.attributes import MAX_BARS, MAX_INSTRUMENTS, STYLES, TICKS, Attributes
from wavegen.music.constraint import TuneConstraint
from wavegen.music.form import Form, Section, form_of, plan_form
from wavegen.music.harmony import Chords
from wavegen.music.instruments import playable_range
from wavegen.music.leadsheet import Bar, LeadSheet, from_score, melodic_track
from wavegen.music.models.base import ScoreModel
from wavegen.music.progressions import progression
from wavegen.music.sampling import sample
from wavegen.music.score import DURATION, ONSET, PITCH, Score, Track
from wavegen.music.tokens import HIGHEST, LOWEST, decode, encode, vocabulary

_CONTEXT = 48  # bars that the model sees before those it writes
_TRIES = 4  # melodies that are written where the first is poor
_CANDIDATES = 3  # infilled passages, of which the one that joins best is taken
_LOW, _HIGH = 55, 91  # where the tunes that models learn from lie, their tonic being C


@dataclass(frozen=True)
class Composition:
    """A piece: the score, the lead sheet that it was arranged from, what was asked for, and its form."""

    score: Score
    leadsheet: LeadSheet
    attributes: Attributes
    form: Form


def compose(
    attributes: Attributes,
    model: ScoreModel,
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    primer: Score | None = None,
    infill: tuple[int, int] | None = None,
    variation: int = 0,
) -> Composition:
    """Compose what the attributes ask for: exactly their key, metre, tempo, instruments and number of bars.

    ``model`` writes tunes (vocabulary "tune"), sampled with ``temperature``, ``top_k`` and ``top_p``. A ``primer`` is
    continued by its own instruments up to ``attributes.bars`` bars in all, its notes untouched; with ``infill`` =
    (first, last), counted from 1, those bars of it are composed anew over their chords and all else stays. The same
    attributes and ``variation`` give the same piece; another variation another one.

    InputError for a model of another vocabulary, a primer in another metre or that leaves nothing to compose, or bars
    that it has not.
    """
    if model.vocabulary.kind != "tune":
        raise InputError(f"the model writes {model.vocabulary.kind}; composing needs one that writes tunes")
    if infill is not None and primer is None:
        raise InputError("infill: names bars of a score; give that as the primer")
    generators = [np.random.default_rng([attributes.seed, variation, stream]) for stream in range(3)]
    writer = _Writer(model, attributes, temperature, top_k, top_p, generators)
    if primer is None:
        form = plan_form(attributes)
        bars = writer.piece(form, [])
        sheet = LeadSheet(attributes.key, attributes.meter, writer.style, tuple(bars))
        score = arrange(sheet, attributes, generators[2], sections=_sections(form))
        return Composition(replace(score, title=_title(attributes)), sheet, attributes, form)
    given = _Primer.of(primer, attributes, writer.style)
    if infill is None:
        return _continued(given, writer, generators[2])
    return _infilled(given, writer, infill, generators[2])


def _title(attributes: Attributes) -> str:
    return f"{attributes.style.capitalize()} in {attributes.key.name}"


def _sections(form: Form) -> Sections:
    return [(section.label.rstrip("'"), section.bars) for section in form.sections]


class _Writer:
    """Writes bars with the model, section by section."""

    def __init__(
        self,
        model: ScoreModel,
        attributes: Attributes,
        temperature: float,
        top_k: int,
        top_p: float,
        generators: Sequence[np.random.Generator],
    ) -> None:
        self.model, self.attributes = model, attributes
        self.settings = {"temperature": temperature, "top_p": top_p}
        self.top_k = top_k
        self.generator, self.chords = generators[0], generators[1]
        self.style = STYLES[attributes.style].tune
        self.vocabulary = vocabulary("tune")
        self.span = melody_span(attributes)

    def piece(self, form: Form, before: Sequence[Bar]) -> list[Bar]:
        """The bars of a form, after others that stand already."""
        bars: list[Bar] = []
        fresh = sum(section.bars for section in form.sections if section.source is None)
        for section in form.sections:
            if section.source is None:
                fresh -= section.bars
                # The tune so far: what stands before, and each new section once, as tunes are written down.
                heard = [bar for s in form.sections if s.source is None and s.end <= section.start
                         for bar in bars[s.start : s.end]]  # fmt: skip
                bars += self.section(section, section.bars, fresh, [*before, *heard])
            else:
                source = form.sections[section.source]
                kept = bars[source.start : source.start + section.bars - section.fresh]
                bars += kept
                if section.fresh:
                    bars += self.section(section, section.fresh, 0, kept)
        return bars

    def section(self, section: Section, count: int, after: int, context: Sequence[Bar]) -> list[Bar]:
        """The last ``count`` bars of a section, in the style's progression where it has one."""
        planned = progression(
            self.attributes.style,
            self.attributes.key.mode,
            self.attributes.meter,
            section.bars,
            section.cadence,
            self.chords,
        )
        chords = None if planned is None else planned[-count:]
        return self.write(count, after, context, cadence=section.cadence, chords=chords)

    def write(
        self,
        count: int,
        after: int,
        context: Sequence[Bar],
        *,
        cadence: str | None,
        chords: Sequence[Chords] | None,
    ) -> list[Bar]:
        """``count`` new bars after some, with ``after`` to follow; the first that is not poor, else the last tried."""
        context = list(context)[-_CONTEXT:]
        primer: list[int] = []
        if context:
            sheet = LeadSheet(self.attributes.key, self.attributes.meter, self.style, tuple(_untied(context)))
            primer = [int(token) for token in encode(sheet, bars_after=count + after)]
        constraint = TuneConstraint(
            self.vocabulary,
            style=self.style,
            meter=self.attributes.meter.name,
            mode=self.attributes.key.mode,
            bars=count,
            bars_after=after,
            cadence=cadence,
            chords=chords,
            span=self.span,
            last_pitch=last_pitch(primer),
            prefix=not primer,
        )
        for _ in range(_TRIES):
            found = self._sample(constraint, primer)
            sheet = decode([*primer, *found], self.attributes.key)
            bars = list(sheet.bars[-count:])
            if not is_poor(bars):
                break
        return bars

    def _sample(self, constraint: TuneConstraint, primer: Sequence[int]) -> list[int]:
        own = getattr(self.model, "sample", None)
        if own is not None:
            return list(own(constraint, primer=primer, top_k=self.top_k, generator=self.generator, **self.settings))
        return sample(
            self.model, constraint, primer=primer, top_k=self.top_k, generator=self.generator, **self.settings
        )


def melody_span(attributes: Attributes) -> tuple[int, int]:
    """The pitches, the tonic being C, that the first instrument can play in the octave where tunes fit it best."""
    low, high = playable_range(attributes.instruments[0])
    shifts = [attributes.key.tonic + 12 * octave for octave in range(-6, 7)]

    def overlap(shift: int) -> tuple[int, float]:
        inside = min(high - shift, _HIGH) - max(low - shift, _LOW)
        return inside, -abs((low + high) / 2 - shift - 73)

    shift = max(shifts, key=overlap)
    span = max(low - shift, _LOW), min(high - shift, _HIGH)
    return span if span[1] - span[0] >= 12 else (_LOW, _HIGH)


def last_pitch(tokens: Sequence[int]) -> int | None:
    """The pitch that sounds at the end of tokens, None at a rest or where there is none."""
    vocab = vocabulary("tune")
    for token in reversed(tokens):
        family = vocab.families[token]
        if family == "Rest":
            return None
        if family == "Pitch":
            return min(max(int(vocab.values[token]), LOWEST), HIGHEST)
    return None


def is_poor(bars: Sequence[Bar]) -> bool:
    """Whether a melody is mostly rests, has hardly any notes, or dwells on a single pitch."""
    notes = [note for bar in bars for note in bar.notes]
    total = sum(ticks for _, ticks, _ in notes)
    rests = sum(ticks for pitch, ticks, _ in notes if pitch is None)
    struck = [pitch for pitch, _, tied in notes if pitch is not None and not tied]
    if len(bars) < 4:
        return rests > total / 2
    run, longest = 1, 1
    for before, after in pairwise(struck):
        run = run + 1 if before == after else 1
        longest = max(longest, run)
    return rests > 0.35 * total or len(set(struck)) < 4 or longest > 8 or len(struck) < 1.5 * len(bars)


def _untied(bars: list[Bar]) -> list[Bar]:
    """Bars whose first note is not tied to what is not there."""
    pitch, ticks, tied = bars[0].notes[0]
    return [replace(bars[0], notes=((pitch, ticks, False), *bars[0].notes[1:])), *bars[1:]] if tied else bars


# Primers


@dataclass(frozen=True)
class _Primer:
    """A score to go on from: its lead sheet, and the tracks that play on, the melody's first."""

    score: Score
    sheet: LeadSheet
    players: tuple[int, ...]
    attributes: Attributes
    centre: float

    @classmethod
    def of(cls, score: Score, attributes: Attributes, style: str) -> "_Primer":
        numerator, denominator = score.meters[0][1:]
        meter = attributes.meter
        if (numerator, denominator) != (meter.numerator, meter.denominator):
            raise InputError(f"the primer is in {numerator}/{denominator}, but {meter.name} is asked for")
        melody = melodic_track(score)
        sheet = from_score(score, melody, key=attributes.key, style=style)
        others = [n for n, t in enumerate(score.tracks) if n != melody and not t.is_drum and len(t)]
        others = sorted(sorted(others, key=lambda n: -len(score.tracks[n]))[: MAX_INSTRUMENTS - 1])
        players = (melody, *others)
        notes = score.tracks[melody].notes
        changed = replace(
            attributes,
            instruments=tuple(score.tracks[n].program for n in players),
            drums=any(track.is_drum and len(track) for track in score.tracks),
        )
        return cls(score, sheet, players, changed, float(np.average(notes[:, PITCH], weights=notes[:, DURATION])))

    def joined(self, played: Score, start: float, end: float) -> tuple[Track, ...]:
        """The primer's tracks, with what is played instead of their notes that begin in [start, end) quarters."""
        new = {n: track for n, track in zip(self.players, played.tracks, strict=False)}
        drums = next((track for track in played.tracks if track.is_drum), None)
        drummer = next((n for n, track in enumerate(self.score.tracks) if track.is_drum and len(track)), None)
        if drums is not None and drummer is not None:
            new[drummer] = drums
        tracks = []
        for number, track in enumerate(self.score.tracks):
            onsets = track.notes[:, ONSET]
            kept = track.notes[(onsets < start - 1e-9) | (onsets >= end - 1e-9)]
            if number in new:
                fresh = new[number].notes + np.array([start, 0.0, 0.0, 0.0])
                kept = np.concatenate([kept, fresh[~_covered(fresh, kept)]])
            tracks.append(track.with_notes(kept))
        return tuple(tracks)


def _covered(fresh: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Which notes begin while a kept note of the same pitch sounds."""
    same = fresh[:, None, PITCH] == kept[None, :, PITCH]
    ends = kept[:, ONSET] + kept[:, DURATION]
    sounding = (kept[None, :, ONSET] <= fresh[:, None, ONSET]) & (fresh[:, None, ONSET] < ends[None] - 1e-9)
    return np.asarray((same & sounding).any(axis=1))


def _continued(given: _Primer, writer: _Writer, generator: np.random.Generator) -> Composition:
    """The primer and what follows it, up to the bars asked for."""
    attributes = given.attributes
    has = len(given.sheet.bars)
    if has >= MAX_BARS:
        raise InputError(f"the primer has {has} bars already; pieces have at most {MAX_BARS}")
    if attributes.bars <= has:
        raise InputError(f"the primer has {has} bars already; ask for more than {has}, not {attributes.bars}")
    writer.span = melody_span(attributes)
    form = form_of(attributes.bars - has, attributes.style)
    bars = writer.piece(form, given.sheet.bars)
    new = replace(given.sheet, bars=tuple(bars))
    played = arrange(new, attributes, generator, sections=_sections(form), melody_centre=given.centre)
    start = has * attributes.meter.ticks / TICKS
    score = replace(
        given.score,
        tracks=given.joined(played, start, np.inf),
        tempos=_tempos(given.score, attributes, start),
        key=attributes.key,
    )
    sheet = replace(given.sheet, bars=(*given.sheet.bars, *bars))
    opening = Section("primer", 0, has, None, 0, "half")
    moved = [replace(s, start=s.start + has, source=None if s.source is None else s.source + 1) for s in form.sections]
    return Composition(score, sheet, attributes, Form((opening, *moved)))


def _tempos(primer: Score, attributes: Attributes, start: float) -> tuple[tuple[float, float], ...]:
    """The tempo asked for; a primer that changes its own keeps that as long as it lasts."""
    if len(primer.tempos) == 1:
        return ((0.0, attributes.quarter_tempo),)
    return (*(entry for entry in primer.tempos if entry[0] < start), (start, attributes.quarter_tempo))


def _infilled(given: _Primer, writer: _Writer, infill: tuple[int, int], generator: np.random.Generator) -> Composition:
    """The primer with some bars composed anew."""
    first, last = infill
    has = len(given.sheet.bars)
    if not 1 <= first <= last <= has:
        raise InputError(f"infill {first}-{last}: the primer has bars 1 to {has}")
    attributes = replace(given.attributes, bars=has)
    writer.span = melody_span(attributes)
    context, after = given.sheet.bars[: first - 1], has - last
    count = last - first + 1
    chords = [bar.chords for bar in given.sheet.bars[first - 1 : last]]
    found = [
        writer.write(count, after, context, cadence=None, chords=chords) for _ in range(_CANDIDATES if after else 1)
    ]
    bars = min(found, key=lambda candidate: _leap(candidate, given.sheet.bars[last:]))
    new = replace(given.sheet, bars=tuple(bars))
    played = arrange(new, attributes, generator, sections=[("A", count)], final=last == has, melody_centre=given.centre)
    length = attributes.meter.ticks / TICKS
    tracks = given.joined(played, (first - 1) * length, last * length if after else np.inf)
    sheet = replace(given.sheet, bars=(*given.sheet.bars[: first - 1], *bars, *given.sheet.bars[last:]))
    places = ((0, first - 1, "before"), (first - 1, last, "infill"), (last, has, "after"))
    sections = tuple(Section(label, a, b - a, None, 0, "half") for a, b, label in places if b > a)
    return Composition(replace(given.score, tracks=tracks), sheet, attributes, Form(sections))


def _leap(bars: Sequence[Bar], following: Sequence[Bar]) -> int:
    """How many semitones, octaves aside, lie between the last note of some bars and the first of those after."""
    before = [pitch for bar in bars for pitch, _, _ in bar.notes if pitch is not None]
    after = [pitch for bar in following for pitch, _, _ in bar.notes if pitch is not None]
    if not before or not after:
        return 0
    step = (after[0] - before[-1]) % 12
    return min(step, 12 - step)
