"""State machines that keep a sample inside its plan: the length, the metre, the chords and the cadence are exact."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from wavegen.errors import InputError
from wavegen.music.attributes import MODES as SCALES
from wavegen.music.leadsheet import Chord
from wavegen.music.tokens import (
    COUNTDOWN,
    HALVED,
    HIGHEST,
    LOWEST,
    METERS,
    MODES,
    QUALITIES,
    ROLL_HIGHEST,
    ROLL_LOWEST,
    STYLES,
    Vocabulary,
    bar_ticks,
    chord_name,
    middle,
)

Mask = NDArray[np.bool_]

STRANGE, SECONDARY = 4.0, 1.5  # nats taken from what is outside the mode, and from chords outside a major key

CADENCES = ("authentic", "half", "plagal")


class Constraint(ABC):
    """Which tokens may come next; every way that it leaves open can be gone on to the end."""

    vocabulary: Vocabulary
    done: bool = False

    @abstractmethod
    def allowed(self) -> Mask:
        """The tokens that may come next, a new array of bool (size,); at least one until ``done``."""

    def bias(self) -> NDArray[np.float64] | None:
        """What is added to the model's log-probabilities, (size,) in nats, or None."""
        return None

    @abstractmethod
    def advance(self, token: int) -> None:
        """Take a token in. InputError if it is not allowed."""

    def copy(self) -> Self:
        """One that goes its own way from here."""
        return copy.copy(self)

    def _require(self, token: int) -> None:
        if self.done:
            raise InputError("the plan is complete: no token may follow")
        if not (0 <= token < self.vocabulary.size and self.allowed()[token]):
            known = 0 <= token < self.vocabulary.size
            raise InputError(f"{self.vocabulary.names[token] if known else token} is not allowed here by the plan")


class TuneConstraint(Constraint):
    """A tune, or bars of one, of exact length in an exact metre, with a cadence or given chords.

    ``bars_after`` bars follow later: the countdown allows for them, and ``End`` is left out. ``prefix`` says whether
    style, metre and mode are written too. ``cadence``: "authentic" ends on I (i) after a bar that ends on V or V7, and
    "plagal" after one that ends on IV (iv); their last melody note is the tonic, begins on the last bar's first or
    middle beat and fills it. "half" ends on V with one of its tones. A single bar has only its last chord.
    ``chords`` gives every bar's chords as (tick, chord) with roots counted from the tonic, instead of the cadence's.
    ``span`` bounds the pitches, relative to a tonic of C; ``last_pitch`` is what sounds before (it may be tied).

    InputError for what the vocabulary lacks, or where the span has no note that the cadence needs.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        *,
        style: str,
        meter: str,
        mode: str,
        bars: int,
        bars_after: int = 0,
        cadence: str | None = "authentic",
        chords: Sequence[Sequence[tuple[int, Chord]]] | None = None,
        span: tuple[int, int] = (LOWEST, HIGHEST),
        last_pitch: int | None = None,
        prefix: bool = True,
    ) -> None:
        if vocabulary.kind != "tune":
            raise InputError(f"a tune is written in the vocabulary tune, not {vocabulary.kind}")
        _require_one_of("style", style, STYLES)
        _require_one_of("meter", meter, METERS)
        _require_one_of("mode", mode, MODES)
        if bars < 1 or bars_after < 0:
            raise InputError(f"bars must be positive and bars_after not negative: {bars}, {bars_after}")
        if cadence is not None:
            _require_one_of("cadence", cadence, CADENCES)
        if last_pitch is not None and not LOWEST <= last_pitch <= HIGHEST:
            raise InputError(f"last_pitch must lie in {LOWEST}-{HIGHEST}, not {last_pitch}")
        self.vocabulary = vocabulary
        self.bars, self.bars_after, self.cadence = bars, bars_after, cadence
        self.ticks = bar_ticks(meter)
        self.half = self.ticks // 2 if meter in HALVED else None
        self.last_start = middle(meter)
        names = [f"Style_{style}", f"Meter_{meter}", f"Mode_{mode}"] if prefix else []
        self.prefix = [vocabulary.index(name) for name in names]
        self.tonic_chord = "Chord_0:min" if mode in ("minor", "dorian") else "Chord_0:maj"
        self.subdominant = "Chord_5:min" if mode == "minor" else "Chord_5:maj"
        self._make_masks(span, mode)
        self.plan = None if chords is None else [self._planned(i, bar) for i, bar in enumerate(chords)]
        if self.plan is not None and len(self.plan) != bars:
            raise InputError(f"chords are given for {len(self.plan)} bars, but there are {bars}")
        if not self.final_pitches().any():
            raise InputError(f"the span {span[0]}-{span[1]} has no note to close with ({cadence} cadence)")
        # Where we are.
        self.written = 0  # tokens of the prefix
        self.bar = -1  # index of the bar we are in
        self.tick = 0
        self.chord: int | None = None  # the token of the chord in this bar
        self.changed = False  # whether its chord has changed in the middle
        self.event = -1  # the Pitch, Rest or Tie whose duration is due
        self.sounding = last_pitch
        self.previous = "Mode" if prefix else "Dur"

    def _make_masks(self, span: tuple[int, int], mode: str) -> None:
        v = self.vocabulary
        pitches = v.family("Pitch")
        self.pitches: Mask = pitches & (v.values >= span[0]) & (v.values <= span[1])
        if not self.pitches.any():
            raise InputError(f"span: no pitch of {LOWEST}-{HIGHEST} lies in {span[0]}-{span[1]}")
        self.tonics: Mask = self.pitches & (v.values % 12 == 0)
        # A church mode closes by its own chords: a major V would make it major or minor.
        modal = mode in ("dorian", "mixolydian")
        self.dominants = ("Chord_7:min",) if modal else ("Chord_7:maj",)
        self.approaches = ("Chord_10:maj", "Chord_7:min") if modal else ("Chord_7:maj", "Chord_7:7")
        self.dominant_tones: Mask = self.pitches & np.isin(v.values % 12, (7, 10 if modal else 11, 2))
        self.all_chords: Mask = v.family("Chord")
        scale = SCALES[mode]
        self.strange_pitches: Mask = pitches & ~np.isin(v.values % 12, scale)
        values = {int(i): int(v.values[i]) for i in np.flatnonzero(self.all_chords)}
        tones = {
            i: Chord(value // len(QUALITIES), QUALITIES[value % len(QUALITIES)]).pitch_classes
            for i, value in values.items()
        }
        self.tones: dict[int, Mask] = {i: pitches & np.isin(v.values % 12, t) for i, t in tones.items()}
        strange = {i for i, t in tones.items() if not set(t) <= set(scale)}
        if mode == "minor":
            strange -= {v.index("Chord_7:maj"), v.index("Chord_7:7")}
        self.strange_chords = np.zeros(v.size, bool)
        self.strange_chords[sorted(strange)] = True
        self.chord_penalty = SECONDARY if mode == "major" else STRANGE
        self.durations: Mask = v.family("Dur")
        self.rest, self.tie = v.index("Rest"), v.index("Tie")

    def _planned(self, number: int, bar: Sequence[tuple[int, Chord]]) -> tuple[int, int | None]:
        """A bar's given chords as tokens: the first, and the one after the half if another."""
        ticks = [tick for tick, _ in bar]
        if ticks != [0] and (self.half is None or ticks != [0, self.half]):
            places = "tick 0" if self.half is None else f"tick 0 and then {self.half}"
            raise InputError(f"chords of bar {number + 1}: they stand at {places}, not {ticks}")
        tokens = [self.vocabulary.index(chord_name(chord)) for _, chord in bar]
        return tokens[0], tokens[1] if len(tokens) > 1 and tokens[1] != tokens[0] else None

    def _mask(self, *names: str) -> Mask:
        mask = np.zeros(self.vocabulary.size, bool)
        mask[[self.vocabulary.index(name) for name in names]] = True
        return mask

    def final_pitches(self) -> Mask:
        """The pitches that may close the last bar."""
        if self.cadence in ("authentic", "plagal"):
            return self.tonics
        return self.dominant_tones if self.cadence == "half" else self.pitches

    def _chord_rule(self) -> tuple[Mask, Mask | None]:
        """Of the bar we are in: chords it may begin with, and chords on which it must end (None: as it likes)."""
        if self.plan is not None:
            first, second = self.plan[self.bar]
            only = np.arange(self.vocabulary.size)
            return only == first, only == (first if second is None else second)
        left = self.bars - 1 - self.bar
        if left == 0 and self.cadence in ("authentic", "plagal"):
            return self._mask(self.tonic_chord), self._mask(self.tonic_chord)
        if left == 0 and self.cadence == "half":
            goal = self._mask(*self.dominants)
        elif left == 1 and self.cadence == "authentic":
            goal = self._mask(*self.approaches)
        elif left == 1 and self.cadence == "plagal":
            goal = self._mask(self.subdominant)
        else:
            return self.all_chords, None
        return (goal if self.half is None else self.all_chords), goal

    def allowed(self) -> Mask:
        return self._allowed().copy()

    def bias(self) -> NDArray[np.float64]:
        """Nats taken from pitches outside the mode that are not the chord's either, and from chords outside it.

        The corpora hold few tunes in the rarer modes, and their models slip into the commoner ones.
        """
        stray = self.strange_pitches
        if self.chord is not None:
            stray = stray & ~self.tones[self.chord]
        return -STRANGE * stray - self.chord_penalty * self.strange_chords

    def _allowed(self) -> Mask:
        if self.done:
            return np.zeros(self.vocabulary.size, bool)
        if self.written < len(self.prefix):
            return self._mask(self.vocabulary.names[self.prefix[self.written]])
        if self.event >= 0:
            return self._allowed_durations()
        if self.bar < 0 or self.tick == self.ticks:
            if self.bar == self.bars - 1:
                return self._mask("End")
            left = self.bars + self.bars_after - 1 - self.bar
            return self._mask(f"Bar_{min(left, COUNTDOWN)}")
        if self.chord is None:
            return self._chord_rule()[0]
        return self._allowed_events()

    def _change_due(self) -> bool:
        """Whether the chord of this bar still has to change in the middle."""
        goal = self._chord_rule()[1]
        return goal is not None and not goal[self.chord] and not self.changed

    def _closing(self) -> bool:
        """Whether we are in the last bar before a cadence whose last note has its place."""
        return self.bar == self.bars - 1 and self.cadence in ("authentic", "plagal")

    def _allowed_durations(self) -> Mask:
        v = self.vocabulary
        longest = self.ticks - self.tick
        lasting: Mask = self.durations & (v.values == longest)
        final = bool(self.final_pitches()[self.event])
        if self._closing():
            # All but the last note reach at most the middle beat; the last begins at the start or there.
            if self.tick == self.last_start:
                return lasting
            short: Mask = self.durations & (v.values <= self.last_start - self.tick)
            whole = self.tick == 0 and final and not self._change_due()
            return short | lasting if whole else short
        if self._change_due() and self.half is not None and self.tick < self.half:
            before: Mask = self.durations & (v.values <= self.half - self.tick)
            return before
        mask: Mask = self.durations & (v.values <= longest)
        if self.bar == self.bars - 1 and self.cadence == "half" and not final:
            mask &= v.values < longest
        return mask

    def _allowed_events(self) -> Mask:
        goal = self._chord_rule()[1]
        at_half = self.half is not None and self.tick == self.half and not self.changed and self.previous == "Dur"
        if at_half and self._change_due():
            assert goal is not None
            return goal
        last_bar = self.bar == self.bars - 1
        if self._closing() and self.tick == self.last_start:
            return self.tonics
        mask = self.pitches.copy()
        fresh = self.previous == "Chord"
        mask[self.tie] = fresh and self.sounding is not None
        mask[self.rest] = fresh or self.sounding is not None
        if last_bar and self.cadence == "half" and self.ticks - self.tick == 1:  # a single tick is left
            mask = self.dominant_tones.copy()
        if at_half and goal is None:
            mask |= self.all_chords
            mask[self.chord] = False
        elif at_half and goal is not None:
            mask |= goal  # V may become V7
            mask[self.chord] = False
        return mask

    def advance(self, token: int) -> None:
        self._require(token)
        family, value = self.vocabulary.families[token], int(self.vocabulary.values[token])
        if self.written < len(self.prefix):
            self.written += 1
        elif family == "Bar":
            self.bar += 1
            self.tick, self.chord, self.changed = 0, None, False
        elif family == "Chord":
            self.changed = self.chord is not None
            self.chord = token
        elif family == "Dur":
            self.tick += value
            self.event = -1
            full = self.tick == self.ticks and self.bar == self.bars - 1
            self.done = full and self.bars_after > 0
        elif family == "End":
            self.done = True
        else:
            self.event = token
            if family != "Tie":
                self.sounding = value if family == "Pitch" else None
        self.previous = family


class PianoRollConstraint(Constraint):
    """A roll of so many time steps, of at most ``voices`` notes each, between two MIDI pitches.

    ``prefix`` says whether ``Begin`` is written too. InputError for sizes or a span that leave nothing.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        *,
        steps: int,
        voices: int = ROLL_HIGHEST - ROLL_LOWEST + 1,
        span: tuple[int, int] = (ROLL_LOWEST, ROLL_HIGHEST),
        prefix: bool = True,
    ) -> None:
        if vocabulary.kind != "pianoroll":
            raise InputError(f"a roll is written in the vocabulary pianoroll, not {vocabulary.kind}")
        if steps < 1 or voices < 1:
            raise InputError(f"steps and voices must be positive: {steps}, {voices}")
        self.vocabulary = vocabulary
        self.steps, self.voices = steps, voices
        values = vocabulary.values
        self.pitches: Mask = vocabulary.family("Pitch") & (values >= span[0]) & (values <= span[1])
        if not self.pitches.any():
            raise InputError(f"span: no pitch of {ROLL_LOWEST}-{ROLL_HIGHEST} lies in {span[0]}-{span[1]}")
        self.closing = vocabulary.index("Step")
        self.begun = not prefix
        self.highest = 0  # pitch in this step
        self.notes = 0  # in this step
        self.closed = 0  # steps

    def allowed(self) -> Mask:
        v = self.vocabulary
        if not self.begun:
            return v.family("Begin")
        if self.done:
            return np.zeros(v.size, bool)
        mask: Mask = self.pitches & (v.values > self.highest) & (self.notes < self.voices)
        mask[self.closing] = True
        return mask

    def advance(self, token: int) -> None:
        self._require(token)
        if not self.begun:
            self.begun = True
        elif token == self.closing:
            self.highest = self.notes = 0
            self.closed += 1
            self.done = self.closed == self.steps
        else:
            self.highest = int(self.vocabulary.values[token])
            self.notes += 1


def _require_one_of(what: str, value: str, options: Sequence[str]) -> None:
    if value not in options:
        raise InputError(f"{what} must be one of {', '.join(options)}, not {value!r}")
