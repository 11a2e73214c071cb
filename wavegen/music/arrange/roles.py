"""Who plays what: the melody, the bass, chords, pads and further voices, given to the instruments asked for."""

from collections.abc import Sequence
from dataclasses import dataclass

from wavegen.music.instruments import instrument


@dataclass(frozen=True)
class Part:
    """An instrument's role: "melody", "solo" (melody and accompaniment), "bass", "low" (held roots), "chords", "pad",
    "second", "inner" or "double". ``order`` counts those of its role; ``bass``: its chords have a bass of their own.
    """

    place: int
    program: int
    role: str
    order: int = 0
    bass: bool = False

    @property
    def low(self) -> int:
        return instrument(self.program).low

    @property
    def high(self) -> int:
        return instrument(self.program).high


def assign(programs: Sequence[int], *, chorale: bool = False) -> tuple[Part, ...]:
    """A part for each program, in order: the first has the melody, alone with its own accompaniment if it can.

    The bass goes to the instrument that is most at home in it; chordal instruments play figures, pads hold chords, and
    what remains are further voices. ``chorale``: single voices move together, and no voice doubles the melody in
    thirds.
    """
    first = programs[0]
    if len(programs) == 1:
        return (Part(0, first, "solo" if _accompanies_itself(first) else "melody", bass=True),)
    bass = _bass_player(programs)
    counts: dict[str, int] = {}
    parts = [Part(0, first, "melody")]
    for place, program in enumerate(programs[1:], start=1):
        role = "bass" if place == bass else _role(program, counts, chorale=chorale)
        order = counts.get(role, 0)
        counts[role] = order + 1
        parts.append(Part(place, program, role, order))
    if bass is None and not any(part.role in ("bass", "low") for part in parts):
        lowest = min((part for part in parts if part.role == "chords"), key=lambda part: part.low, default=None)
        if lowest is not None and lowest.low <= 48:
            parts[lowest.place] = Part(lowest.place, lowest.program, "chords", lowest.order, bass=True)
    return tuple(parts)


def _accompanies_itself(program: int) -> bool:
    entry = instrument(program)
    return "chordal" in entry.roles and entry.low <= 53 and entry.high - entry.low >= 30


def _bass_player(programs: Sequence[int]) -> int | None:
    """The place of the instrument that plays the bass; None where chords are better off with a bass of their own."""
    others = range(1, len(programs))

    def rank(place: int) -> tuple[int, int]:
        roles = instrument(programs[place]).roles
        return (roles.index("bass") if "bass" in roles else 9, instrument(programs[place]).low)

    best = min(others, key=rank)
    order, low = rank(best)
    if order == 0 or (order < 9 and "chordal" not in instrument(programs[best]).roles):
        return best
    if len(programs) > 2 and not any("chordal" in instrument(programs[place]).roles for place in others):
        lowest = min(others, key=lambda place: (instrument(programs[place]).low, -place))
        return lowest if instrument(programs[lowest]).low <= 50 else None
    if len(programs) > 3 and low <= 40:
        return best
    return None


def _role(program: int, counts: dict[str, int], *, chorale: bool) -> str:
    entry = instrument(program)
    best = entry.roles[0]
    if best == "bass":
        return "low"
    if best == "pad":
        return "pad"
    if "chordal" in entry.roles:
        return "chords"
    if not chorale and not counts.get("second"):
        return "second"
    return "double" if counts.get("inner", 0) >= 3 and not chorale else "inner"
