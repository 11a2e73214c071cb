"""Registers and voice leading: where a melody lies best, and chords that move as little as they can."""

from collections.abc import Sequence

from wavegen.music.arrange.frame import Event
from wavegen.music.leadsheet import Chord

_HOME = 0.25  # what a semitone away from the register's centre costs, beside a semitone of movement
_DOUBLED_THIRD = 3.0


def folded(pitch: int, low: int, high: int) -> int:
    """The pitch moved by octaves into low to high (at least 11 semitones apart), as little as possible."""
    while pitch < low:
        pitch += 12
    while pitch > high:
        pitch -= 12
    return pitch


def placed(melody: Sequence[Event], low: int, high: int, centre: float | None = None) -> list[Event]:
    """A melody moved by whole octaves to lie in a range, its mean nearest to ``centre`` (by default what sounds well
    in the range); single notes that still lie outside are moved by octaves themselves.
    """
    if not melody:
        return []
    total = sum(event.ticks for event in melody)
    mean = sum(event.pitch * event.ticks for event in melody) / total
    goal = min(max((low + high) / 2 + 1, 60), 76) if centre is None else centre
    goal = min(max(goal, low + 5), high - 5)

    def cost(shift: int) -> float:
        outside = sum(event.ticks for event in melody if not low <= event.pitch + shift <= high) / total
        return abs(mean + shift - goal) + 60 * outside

    shift = min(range(-84, 85, 12), key=cost)
    return [event._replace(pitch=folded(event.pitch + shift, low, high)) for event in melody]


def tones(chord: Chord, count: int) -> tuple[int, ...]:
    """The pitch classes to play of a chord with so many voices: without the fifth if a seventh needs its place, with
    the root doubled if there are more voices than tones.
    """
    classes = chord.pitch_classes
    if count < len(classes):
        root, third, *rest = classes
        order = [root, third, rest[-1], *rest[:-1]] if len(classes) == 4 else [root, third, *rest]
        if count == 1:
            return (root,)
        return tuple(order[:count])
    return classes + tuple(classes[i % 2 * 2] for i in range(count - len(classes)))


def voice_chord(
    chord: Chord, previous: Sequence[int], low: int, high: int, centre: float, count: int = 3
) -> tuple[int, ...]:
    """A chord in close position (ascending pitches in low to high) with the smallest movement from ``previous``, and
    near ``centre``. Fewer voices than asked for where the range cannot hold them.
    """
    for size in range(count, 0, -1):
        best: tuple[float, tuple[int, ...]] | None = None
        classes = sorted(tones(chord, size))
        for start in range(len(classes)):
            order = classes[start:] + classes[:start]
            for base in range(low + (order[0] - low) % 12, high + 1, 12):
                pitches = [base]
                for tone in order[1:]:
                    step = (tone - pitches[-1]) % 12
                    pitches.append(pitches[-1] + (step or 12))
                if pitches[-1] > high:
                    continue
                cost = _HOME * abs(sum(pitches) / size - centre)
                if len(previous) == size:
                    cost += sum(abs(a - b) for a, b in zip(pitches, previous, strict=True)) / size
                if best is None or cost < best[0] - 1e-9:
                    best = (cost, tuple(pitches))
        if best is not None:
            return best[1]
    return (folded(chord.root + 12 * (low // 12), low, high),)


def lead_voices(chord: Chord, previous: Sequence[int], top: int, ranges: Sequence[tuple[int, int]]) -> list[int]:
    """One chord tone for each inner voice, below ``top`` where its range allows, the highest voice first.

    Voices take the nearest tones to their last ones, do not cross, and prefer tones that no voice has yet (the third
    before all); the third is doubled only in need.
    """
    classes = chord.pitch_classes
    taken = {top % 12: 1}
    found: list[int] = []
    ceiling = top
    for voice, (low, high) in enumerate(ranges):
        centre = previous[voice] if voice < len(previous) else min(max(ceiling - 5, low + 4), high - 4)
        options = [pitch for pitch in range(low, high + 1) if pitch % 12 in classes]
        below = [pitch for pitch in options if pitch < ceiling] or options

        def cost(pitch: int, centre: int = centre, ceiling: int = ceiling) -> float:
            place = classes.index(pitch % 12)
            count = taken.get(pitch % 12, 0)
            doubled = 2.5 * count + (_DOUBLED_THIRD if count and place == 1 else 0.0)
            wanted = -2.5 if place == 1 and not count else 0.0
            return abs(pitch - centre) + doubled + wanted + 0.5 * max(0, ceiling - pitch - 12)

        best = min(below, key=lambda pitch: (cost(pitch), pitch))
        found.append(best)
        taken[best % 12] = taken.get(best % 12, 0) + 1
        ceiling = best
    return found


def nearest(pitch_class: int, goal: float, low: int, high: int) -> int:
    """The pitch of a class in low to high that lies nearest to ``goal``."""
    options = range(low + (pitch_class - low) % 12, high + 1, 12)
    return min(options, key=lambda pitch: abs(pitch - goal))
