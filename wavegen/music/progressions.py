"""The chord progressions that styles are known by, as Roman numerals, a bar each (two in a bar: "IV-V")."""

from collections.abc import Sequence

import numpy as np

from wavegen.music.attributes import Meter
from wavegen.music.harmony import HALVED, Chords
from wavegen.music.leadsheet import Chord

_DEGREES = {
    "i": 0, "bii": 1, "ii": 2, "biii": 3, "iii": 4, "iv": 5, "bv": 6, "v": 7, "bvi": 8, "vi": 9, "bvii": 10, "vii": 11,
}  # fmt: skip

# Style → mode (major or minor third) → progressions of 4, 8 or 12 bars.
_LOOPS: dict[str, dict[str, tuple[str, ...]]] = {
    "pop": {
        "major": ("I V vi IV", "vi IV I V", "I vi IV V", "I IV vi V"),
        "minor": ("i bVI bIII bVII", "i bVII bVI bVII", "i iv bVI V"),
    },
    "rock": {
        "major": ("I bVII IV I", "I IV V IV", "I V IV V", "I IV I V"),
        "minor": ("i bVII bVI bVII", "i bIII bVII iv", "i bVI bVII i"),
    },
    "metal": {
        "major": ("I bVII bVI bVII", "I bVI bVII I"),
        "minor": ("i i bVI bVII", "i bVI bIII bVII", "i i bVI V", "i bVII i bVI"),
    },
    "blues": {
        "major": ("I7 I7 I7 I7 IV7 IV7 I7 I7 V7 IV7 I7 V7", "I7 IV7 I7 I7 IV7 IV7 I7 I7 V7 IV7 I7 V7"),
        "minor": ("i7 i7 i7 i7 iv7 iv7 i7 i7 bVI V7 i7 V7",),
    },
    "jazz": {
        "major": ("ii7 V7 I vi7", "I vi7 ii7 V7", "ii7 V7 I I ii7 V7 iii7 VI7", "I VI7 ii7 V7"),
        "minor": ("i iv7 iio V7", "iv7 bVII7 bIII bVI iio V7 i i", "i i7 iio V7"),
    },
    "bossa": {
        "major": ("I I II7 II7 ii7 V7 I V7", "I VI7 ii7 V7", "I ii7 iii7 V7"),
        "minor": ("i i iv7 iv7 iio V7 i V7", "i iv7 bVII7 bIII bVI iio V7 i"),
    },
    "funk": {"major": ("I7 I7 IV7 IV7", "I7 IV7 I7 IV7"), "minor": ("i7 i7 iv7 iv7", "i7 IV7 i7 IV7")},
    "ballad": {
        "major": ("I vi IV V", "I iii IV V", "I V vi IV", "vi IV I V"),
        "minor": ("i bVI bIII bVII", "i iv bVII bIII", "i bVII bVI V"),
    },
    "ambient": {
        "major": ("I I IV IV", "I I vi vi", "I iii IV I"),
        "minor": ("i i bVI bVI", "i i bVII bVII", "i bIII bVI i"),
    },
    "tango": {
        "major": ("I I V7 V7 V7 V7 I I", "I IV V7 I"),
        "minor": ("i i V7 V7 V7 V7 i i", "i iv i V7", "i bVI iv V7"),
    },
    "electronic": {
        "major": ("vi IV I V", "I V vi IV", "IV I V vi"),
        "minor": ("i bVI bIII bVII", "i i bVI bVII", "i bVII bVI bVII", "i iv bVI bVII"),
    },
}


def chord(numeral: str) -> Chord:
    """The chord of a Roman numeral, its root from the tonic: capitals are major, "7" adds the minor seventh, "o" is
    diminished ("bVI", "V7", "ii7", "iio").
    """
    name = numeral.rstrip("7o")
    lower = name == name.lower().replace("B", "b")
    quality = "dim" if numeral.endswith("o") else "min" if lower else "maj"
    if numeral.endswith("7"):
        quality = "min7" if lower else "7"
    return Chord(_DEGREES[name.lower()], quality)


def styles() -> tuple[str, ...]:
    """The styles that have progressions of their own; others take the chords that their melody's model writes."""
    return tuple(_LOOPS)


def progression(
    style: str, mode: str, meter: Meter, bars: int, cadence: str | None, generator: np.random.Generator
) -> list[Chords] | None:
    """Chords for a section's bars, its close included, as (tick, chord); None for a style without progressions, and in
    the church modes, which theirs would turn into major or minor.

    One progression is drawn and goes round; "authentic" ends V7 | I, "plagal" IV | I, "half" on V.
    """
    if style not in _LOOPS or mode in ("dorian", "mixolydian"):
        return None
    minor = mode in ("minor", "dorian")
    options = _LOOPS[style]["minor" if minor else "major"]
    options = tuple(o for o in options if len(o.split()) <= max(4, bars)) or options
    loop = options[int(generator.integers(len(options)))].split()
    found: list[Chords] = [((0, chord(loop[bar % len(loop)])),) for bar in range(bars)]
    for place, numeral in enumerate(_close(cadence, minor=minor, sevenths=style not in ("rock", "metal", "pop"))):
        at = bars - 1 - place
        if at >= 0:
            found[at] = ((0, chord(numeral)),)
    if cadence == "half" and bars > 1 and meter.name in HALVED:
        before = found[-1][0][1]
        if found[-2][0][1] == before:
            found[-2] = ((0, chord("iv" if minor else "IV")),)
    return found


def _close(cadence: str | None, *, minor: bool, sevenths: bool) -> Sequence[str]:
    """The chords of the last bars, the last first."""
    tonic = "i" if minor else "I"
    dominant = "V7" if sevenths else "V"
    closes: dict[str | None, Sequence[str]] = {
        "authentic": (tonic, dominant),
        "plagal": (tonic, "iv" if minor else "IV"),
        "half": ("V",),
    }
    return closes.get(cadence, ())
