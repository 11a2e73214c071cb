"""The form of a piece: which bars are new, which come again, and how each section closes."""

from dataclasses import dataclass

from wavegen.errors import InputError
from wavegen.music.attributes import MAX_BARS, Attributes

PHRASE = 8  # bars of a section, unless the piece is short or very long
CLOSE = 2  # bars that a varied return composes anew, to close otherwise

# Sections by how many there are. A prime marks a return whose last bars are new.
_PATTERNS = {
    1: "A",
    2: "A B",
    3: "A B A'",
    4: "A A' B A'",
    5: "A A' B B' A'",
    6: "A A' B B' A A'",
    7: "A A' B A' C B A'",
    8: "A A' B A' C C' B A'",
}
_THROUGH = ("chorale",)  # styles whose sections are all new but the second, which repeats the first (bar form)
_TWELVE = ("blues",)  # styles in choruses of twelve bars


@dataclass(frozen=True)
class Section:
    """Some bars of a piece.

    ``start``: its first bar, from 0. ``source``: the number of the section whose bars it repeats, or None if all are
    new. ``fresh``: how many bars at its end are new. ``cadence``: "half", "authentic" or "plagal", how it closes.
    """

    label: str
    start: int
    bars: int
    source: int | None
    fresh: int
    cadence: str

    @property
    def end(self) -> int:
        """The bar after its last."""
        return self.start + self.bars


@dataclass(frozen=True)
class Form:
    """The sections of a piece in order, without gaps."""

    sections: tuple[Section, ...]

    @property
    def bars(self) -> int:
        return self.sections[-1].end

    @property
    def labels(self) -> str:
        """For example "A8 A'8 B8 A'8"."""
        return " ".join(f"{section.label}{section.bars}" for section in self.sections)

    def section_at(self, bar: int) -> Section:
        """The section that a bar, counted from 0, lies in."""
        return next(section for section in self.sections if section.start <= bar < section.end)


def plan_form(attributes: Attributes) -> Form:
    """The form of a piece of the style and the number of bars asked for."""
    return form_of(attributes.bars, attributes.style)


def form_of(bars: int, style: str = "folk") -> Form:
    """Sections that fill 1 to 512 bars: A, B, C of equal length, those that come again closing anew where they must.

    What equal sections leave over lengthens the last, or makes a coda. The piece ends with an authentic cadence (a
    plagal one in a coda); first halves of periods end with a half cadence. InputError for another number of bars.
    """
    if not 1 <= bars <= MAX_BARS:
        raise InputError(f"{bars} bars is outside 1 to {MAX_BARS}")
    unit = _unit(bars, style)
    count, rest = divmod(bars, unit)
    lengths = [unit] * count
    coda = rest >= 4 and rest >= unit // 2
    if rest and coda:
        lengths.append(rest)
    elif rest:
        lengths[-1] += rest
    names = _names(count, style) + (["coda"] if coda else [])
    return Form(_sections(names, lengths))


def _unit(bars: int, style: str) -> int:
    if style in _TWELVE and bars >= 12:
        return 12
    if bars < PHRASE + 4:
        return bars if bars < 8 else PHRASE
    if bars < 2 * PHRASE + 4:  # short enough for phrases of four bars, so that something returns
        return 4
    unit = PHRASE
    while bars // unit > 2 * len(_PATTERNS) and unit < 32:
        unit *= 2
    return unit


def _names(count: int, style: str) -> list[str]:
    if style in _THROUGH and count >= 3:
        return ["A", "A'"] + [_letter(1 + i) for i in range(count - 2)]
    if style in _TWELVE:
        return ["A", *("B" if i % 3 == 1 else "A'" for i in range(1, count))]
    if count in _PATTERNS:
        return _PATTERNS[count].split()
    # A rondo: the refrain, and episodes B, C, D in turn.
    names = ["A", "A'"]
    episode = 0
    while len(names) < count:
        names.append("BCD"[episode % 3] if len(names) % 2 == 0 else "A'")
        episode += len(names) % 2
    names[-1] = "A'"
    return names


def _letter(number: int) -> str:
    return chr(ord("A") + number) if number < 26 else f"{chr(ord('A') + number % 26)}{number // 26}"


def _sections(names: list[str], lengths: list[int]) -> tuple[Section, ...]:
    sections: list[Section] = []
    first: dict[str, int] = {}
    start = 0
    for number, (name, bars) in enumerate(zip(names, lengths, strict=True)):
        letter = name.rstrip("'")
        last = number + 1 == len(names)
        following = None if last else names[number + 1].rstrip("'")
        source = first.get(letter)
        cadence = "authentic"
        if name == "coda":
            cadence = "plagal"
        elif not last and following == letter and not name.endswith("'") and source is None:
            cadence = "half"  # the first half of a period
        elif not last and letter == "B" and following == "A":
            cadence = "half"  # the bridge leads back
        fresh = bars
        if source is not None:
            whole = next(
                (
                    i
                    for i, section in enumerate(sections)
                    if (section.label.rstrip("'"), section.cadence, section.bars) == (letter, cadence, bars)
                ),
                None,
            )
            fresh = 0 if whole is not None else min(bars, CLOSE + max(0, bars - sections[source].bars))
            source = source if whole is None else whole
        first.setdefault(letter, number)
        sections.append(Section(name, start, bars, source, fresh, cadence))
        start += bars
    return tuple(sections)
