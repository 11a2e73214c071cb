"""How loud each note is: phrases that swell and fade, accents, balance, and a player's small unevenness."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from wavegen.music.arrange.frame import Event, Frame
from wavegen.music.pulses import pulses

BALANCE = {"melody": 8.0, "solo": 0.0, "bass": 1.0, "low": -4.0, "chords": -6.0, "pad": -10.0, "second": -2.0,
           "inner": -6.0, "double": -4.0, "drums": -1.0, "accompaniment": -11.0}  # fmt: skip
"""Role → MIDI velocity beside the mean."""

ARCH = 6.0  # how much a phrase rises to its peak, at two thirds
PHRASE = 4  # bars
UNEVEN = 2.0  # standard deviation
ACCENT = {2: 4.0, 1: 2.0, 0: 0.0}  # by weight of the beat; between beats:
BETWEEN = -2.0
LATER = {"A": 0.0, "B": 3.0, "C": 4.0, "D": 2.0}  # by the section's letter
LOWEST, LOUDEST = 10, 124


def shape(frame: Frame, onset: int) -> float:
    """What the place of a note adds to its velocity: its phrase, its section, its beat."""
    number = min(onset // frame.meter.ticks, len(frame.bars) - 1)
    bar = frame.bars[number]
    within = (bar.place % PHRASE + (onset - bar.start) / frame.meter.ticks) / PHRASE
    peak = 2 / 3
    rise = within / peak if within < peak else 1 - 0.7 * (within - peak) / (1 - peak)
    beat = next((pulse.weight for pulse in pulses(frame.meter) if pulse.tick == onset - bar.start), None)
    accent = BETWEEN if beat is None else ACCENT[beat]
    return ARCH * (math.sin(math.pi * min(rise, 1.0) / 2) - 0.6) + accent + LATER.get(bar.letter[:1], 0.0)


def velocities(
    frame: Frame, parts: Sequence[tuple[str, Sequence[Event]]], mean: float, generator: np.random.Generator
) -> list[NDArray[np.float64]]:
    """Velocities (notes,) of each part, given as (role, events); over all notes their mean is ``mean``, as far as
    10-124 allows.
    """
    raw = []
    for role, events in parts:
        uneven = generator.normal(0.0, UNEVEN, len(events))
        base = BALANCE[role]
        raw.append(np.array([base + shape(frame, e.onset) + e.accent for e in events]) + np.clip(uneven, -5, 5))
    everything = np.concatenate([*raw, np.zeros(0)])
    if not len(everything):
        return raw
    shift = mean - float(everything.mean())
    for _ in range(8):
        clipped = np.clip(np.round(everything + shift), LOWEST, LOUDEST)
        shift += mean - float(clipped.mean())
    return [np.clip(np.round(values + shift), LOWEST, LOUDEST) for values in raw]
