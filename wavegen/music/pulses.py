"""The pulses of a bar: where accompaniment and drums put their weight, in every metre."""

from functools import cache
from typing import NamedTuple

from wavegen.music.attributes import Meter

# How metres of unequal or many beats group them, in ticks.
_GROUPS = {
    "2/4": (24,),
    "3/4": (36,),
    "4/4": (24, 24),
    "2/2": (24, 24),
    "5/4": (36, 24),
    "6/4": (36, 36),
    "7/4": (48, 36),
    "3/8": (18,),
    "5/8": (18, 12),
    "6/8": (18, 18),
    "7/8": (12, 12, 18),
    "9/8": (18, 18, 18),
    "12/8": (18, 18, 18, 18),
}


class Pulse(NamedTuple):
    """A beat: its tick in the bar, its ticks, and its weight: 2 begins the bar, 1 a group of beats, 0 is weak."""

    tick: int
    ticks: int
    weight: int


@cache
def pulses(meter: Meter) -> tuple[Pulse, ...]:
    """The beats of a bar: quarters where the beat is a quarter or more, dotted quarters in compound metres, and the
    groups of two and three eighths in 3/8, 5/8 and 7/8.
    """
    found = []
    tick = 0
    for group in _GROUPS[meter.name]:
        width = group if meter.denominator == 8 else 12
        for at in range(tick, tick + group, width):
            found.append(Pulse(at, width, 2 if at == 0 else int(at == tick)))
        tick += group
    return tuple(found)


def eighths(meter: Meter) -> tuple[int, ...]:
    """The ticks of a bar's eighths."""
    return tuple(range(0, meter.ticks, 6))
