"""Drum parts: grooves of 4/4 learnt from drummers, and rules for the other metres.

A bar of 4/4 is a row of 16 steps, or of 12 where the style swings in triplets; a step is the set of drums that are
struck together. Sets are drawn step by step from an interpolated n-gram (Jelinek and Mercer 1980) given the step, the
two sets before and the set on the same step of the bar before. It was counted in the Groove MIDI Dataset (Gillick et
al. 2019, CC BY 4.0) by ``recipes/music/drum_tables.py``.
"""

import gzip
import json
import math
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wavegen.errors import InputError
from wavegen.music.attributes import Meter
from wavegen.music.pulses import eighths, pulses

DRUMS: tuple[tuple[str, int], ...] = (
    ("kick", 36),
    ("snare", 38),
    ("stick", 37),
    ("hat", 42),
    ("pedal", 44),
    ("open", 46),
    ("ride", 51),
    ("crash", 49),
    ("low", 43),
    ("mid", 47),
    ("high", 50),
)
"""The drums in the order of a set's bits, with their General MIDI keys."""

LENGTH = 3  # ticks that a stroke lasts
_BIT = {name: 1 << i for i, (name, _) in enumerate(DRUMS)}
_KEY = dict(DRUMS)
_CANDIDATES = 24  # grooves that are drawn, of which the most regular is played
_SHARPEN = 1.4  # the power that probabilities are raised to
_WEIGHT = 1.5  # what a shorter context counts for beside what was seen after the longer, in observations

Stroke = tuple[int, int, float]
"""Tick in the bar, General MIDI key, velocity around 1 (of the part's mean)."""


class Groove(NamedTuple):
    """What was counted in a style: ``steps`` of a bar; context ("step|two before|one before", "step|one before",
    "step", "step^bar before") → set → count; ``velocity[drum][step]`` around 1.
    """

    steps: int
    counts: dict[str, dict[int, int]]
    velocity: NDArray[np.float64]


@lru_cache(maxsize=1)
def grooves() -> dict[str, Groove]:
    """The learnt styles, and "fill"."""
    packed = (files("wavegen.music") / "data" / "drums.json.gz").read_bytes()
    data = json.loads(gzip.decompress(packed))
    return {
        name: Groove(
            part["steps"],
            {context: {int(m): n for m, n in row.items()} for context, row in part["counts"].items()},
            np.array(part["velocity"]),
        )
        for name, part in data.items()
    }


def groove_names() -> tuple[str, ...]:
    """The words for drum patterns: the learnt styles, "march" and "waltz"."""
    return (*(name for name in grooves() if name != "fill"), "march", "waltz")


def drum_part(
    groove: str, meter: Meter, sections: Sequence[tuple[str, int]], generator: np.random.Generator, *, end: bool = True
) -> list[list[Stroke]]:
    """The strokes of every bar. ``sections`` are (letter, bars): a letter's groove returns with it.

    Each section is a groove of two bars that goes round, a crash on its first beat where another came before, and a
    fill at its close. ``end``: the last bar is one stroke of kick and crash. InputError for an unknown groove.
    """
    if groove not in groove_names():
        raise InputError(f"groove {groove!r} is unknown; known are {', '.join(groove_names())}")
    learnt = meter.name in ("4/4", "2/2", "2/4") and groove in grooves()
    known: dict[str, list[list[Stroke]]] = {}
    bars: list[list[Stroke]] = []
    for number, (letter, count) in enumerate(sections):
        if letter not in known:
            known[letter] = _learnt(groove, meter, generator) if learnt else _ruled(groove, meter, len(known))
        pattern = known[letter]
        for bar in range(count):
            strokes = list(pattern[bar % len(pattern)])
            if bar == 0 and number and (groove not in ("jazz", "waltz", "march")):
                strokes = [s for s in strokes if not (s[0] == 0 and s[1] in (42, 44, 46, 51))] + [(0, 49, 1.1)]
            last = number + 1 == len(sections)
            if bar == count - 1 and count >= 4 and not last:
                strokes = _filled(strokes, meter, generator, swing=learnt and grooves()[groove].steps == 12)
            bars.append(sorted(strokes))
    if end and bars:
        bars[-1] = [(0, _KEY["kick"], 1.15), (0, _KEY["crash"], 1.1)]
    return bars


# Learnt


def _learnt(name: str, meter: Meter, generator: np.random.Generator) -> list[list[Stroke]]:
    """Two bars of a style: of the grooves that are drawn, the one that is likeliest and keeps time best."""
    groove = grooves()[name]
    best: tuple[float, list[int]] | None = None
    for _ in range(_CANDIDATES):
        masks, nats = draw_bars(groove, 2, generator)
        score = 0.5 * nats / len(masks) + _regularity(masks, groove.steps, back_beat=name not in _NO_BACK_BEAT)
        if best is None or score > best[0]:
            best = (score, masks)
    assert best is not None
    size = 48 // groove.steps
    bars: list[list[Stroke]] = [[], []]
    for place, mask in enumerate(best[1]):
        bar, step = divmod(place, groove.steps)
        if step * size < meter.ticks:
            bars[bar] += [
                (step * size, key, float(groove.velocity[i, step])) for i, (_, key) in enumerate(DRUMS) if mask >> i & 1
            ]
    return bars


_NO_BACK_BEAT = ("jazz", "latin", "afrocuban", "neworleans", "reggae")  # the snare is free


def _regularity(masks: Sequence[int], steps: int, *, back_beat: bool) -> float:
    """0 to 3: one cymbal throughout, kicks on the bars' first beats, snares on their second and fourth."""
    beat = steps // 4
    cymbal = max(
        sum(bool(mask & _BIT[name]) for place, mask in enumerate(masks) if steps == 12 or place % 2 == 0)
        for name in ("hat", "ride")
    ) / (len(masks) if steps == 12 else len(masks) / 2)
    kicks = np.mean([bool(mask & _BIT["kick"]) for mask in masks[::steps]])
    backs = np.mean([bool(mask & _BIT["snare"]) for mask in masks[beat :: 2 * beat]])
    return float(cymbal + kicks + (backs if back_beat else 0.0))


def draw_bars(groove: Groove, bars: int, generator: np.random.Generator) -> tuple[list[int], float]:
    """Sets of drums for so many bars, step by step, and their log-probability in nats."""
    masks: list[int] = []
    nats = 0.0
    for _ in range(bars * groove.steps):
        options = probabilities(groove, masks)
        found = list(options)
        cumulative = np.cumsum([options[mask] ** _SHARPEN for mask in found])
        index = int(np.searchsorted(cumulative, generator.random() * cumulative[-1], side="right"))
        mask = found[min(index, len(found) - 1)]
        nats += math.log(options[mask])
        masks.append(mask)
    return masks, nats


def probabilities(groove: Groove, masks: Sequence[int]) -> dict[int, float]:
    """How likely each set is on the next step, given those before, (set → probability), summing to 1."""
    place = len(masks)
    step = place % groove.steps
    one = masks[place - 1] if place else 0
    two = masks[place - 2] if place > 1 else 0
    contexts = [f"{step}", f"{step}|{one}", f"{step}|{two}|{one}"]
    if place >= groove.steps:
        contexts.append(f"{step}^{masks[place - groove.steps]}")
    found = {0: 1.0}
    for context in contexts:
        row = groove.counts.get(context)
        if row is None:
            continue
        total = sum(row.values())
        mixed = {mask: _WEIGHT * p / (total + _WEIGHT) for mask, p in found.items()}
        for mask, count in row.items():
            mixed[mask] = mixed.get(mask, 0.0) + count / (total + _WEIGHT)
        found = mixed
    return found


def _filled(strokes: list[Stroke], meter: Meter, generator: np.random.Generator, *, swing: bool) -> list[Stroke]:
    """A bar whose last beats are a fill: toms and snare, downwards."""
    length = 12 if meter.ticks <= 36 or generator.random() < 0.5 else 24
    start = meter.ticks - length
    kept = [stroke for stroke in strokes if stroke[0] < start]
    size = 4 if swing else 6 if meter.compound else 3
    ladder = [_KEY[name] for name in ("snare", "high", "mid", "low")]
    steps = list(range(start, meter.ticks, size))
    for number, tick in enumerate(steps):
        if number and generator.random() < 0.2:
            continue
        key = ladder[min(len(ladder) - 1, number * len(ladder) // len(steps))]
        kept.append((tick, key, 0.8 + 0.35 * number / len(steps)))
    return kept


# Rules


def _ruled(groove: str, meter: Meter, number: int) -> list[list[Stroke]]:
    """One bar by rule: "waltz", "march", and for all else time on hat or ride, kick on groups, snare between them."""
    beats = pulses(meter)
    if groove == "march":
        return [_march(meter)]
    strokes: list[Stroke] = []
    if groove == "waltz" or (meter.name in ("3/4", "3/8") and groove in ("jazz", "pop", "country")):
        cymbal = _KEY["ride"] if groove == "jazz" else _KEY["pedal"]
        for place, beat in enumerate(_thirds(meter)):
            strokes.append((beat, _KEY["kick"], 1.1) if place == 0 else (beat, _KEY["stick"], 0.75))
            strokes.append((beat, cymbal, 0.8))
        return [strokes]
    time = _KEY["ride"] if groove == "jazz" or number % 2 else _KEY["hat"]
    for tick in eighths(meter):
        on = any(beat.tick == tick for beat in beats)
        strokes.append((tick, time, 0.95 if on else 0.65))
    heavy = [beat for beat in beats if beat.weight]
    if len(heavy) == 1:  # one group: the back beat is the last beat
        strokes.append((0, _KEY["kick"], 1.1))
        strokes += [(beat.tick, _KEY["snare"], 1.0) for beat in beats[len(beats) // 2 :] if beat.tick]
        return [strokes]
    for place, group in enumerate(heavy):
        end = heavy[place + 1].tick if place + 1 < len(heavy) else meter.ticks
        inner = [beat.tick for beat in beats if group.tick < beat.tick < end]
        if inner:  # groups of several beats: kick, then snare on each second beat
            strokes.append((group.tick, _KEY["kick"], 1.1))
            strokes += [(tick, _KEY["snare"], 1.0) for tick in inner[::2]]
        else:  # groups of eighths: kick and snare take turns
            strokes.append((group.tick, _KEY["snare" if place % 2 else "kick"], 1.05))
    return [strokes]


def _thirds(meter: Meter) -> list[int]:
    """The three beats of a waltz; in other metres, its beats."""
    return list(eighths(meter)) if meter.name == "3/8" else [beat.tick for beat in pulses(meter)]


def _march(meter: Meter) -> list[Stroke]:
    """Bass drum on strong beats, snare on the others with pick-up strokes."""
    strokes: list[Stroke] = []
    beats = pulses(meter)
    for place, beat in enumerate(beats):
        strong = beat.weight > 0 if len(beats) > 2 else place == 0
        strokes.append((beat.tick, _KEY["kick"], 1.1) if strong else (beat.tick, _KEY["snare"], 1.05))
        if strong:
            strokes.append((beat.tick, _KEY["snare"], 0.8))
        if beat.ticks == 12:
            strokes.append((beat.tick + 6, _KEY["snare"], 0.6))
            if place == len(beats) - 1:
                strokes.append((beat.tick + 9, _KEY["snare"], 0.7))
        else:
            strokes.append((beat.tick + beat.ticks - 6, _KEY["snare"], 0.65))
    strokes.append((0, _KEY["crash"], 0.7))
    return strokes
