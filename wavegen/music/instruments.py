"""The 128 General MIDI programs: names, families, playable ranges and the roles they usually take in an arrangement."""

from typing import NamedTuple

from wavegen.errors import InputError

FAMILIES = (
    "piano",
    "chromatic percussion",
    "organ",
    "guitar",
    "bass",
    "strings",
    "ensemble",
    "brass",
    "reed",
    "pipe",
    "synth lead",
    "synth pad",
    "synth effects",
    "ethnic",
    "percussive",
    "sound effects",
)
"""The families of General MIDI, eight programs each."""


class Instrument(NamedTuple):
    """One program: its GM name, its usual short name, its sounding range (MIDI pitches) and its roles, the best first.

    Roles are "lead" (a melody), "chordal" (several notes at once, plucked or struck), "bass" and "pad" (held harmony).
    """

    name: str
    usual: str
    low: int
    high: int
    roles: tuple[str, ...]


_ROLES = {"l": "lead", "c": "chordal", "b": "bass", "p": "pad"}
# GM name | usual name | lowest and highest sounding pitch | roles, the best first. Ranges: Adler, The Study of
# Orchestration; for synthesisers and effects, what sounds well.
_TABLE = """
Acoustic Grand Piano|piano|21|108|clb
Bright Acoustic Piano|bright piano|21|108|clb
Electric Grand Piano|electric grand piano|21|108|clb
Honky-tonk Piano|honky-tonk piano|21|108|clb
Electric Piano 1|electric piano|28|103|clb
Electric Piano 2|FM electric piano|28|103|clb
Harpsichord|harpsichord|29|89|clb
Clavinet|clavinet|36|96|clb
Celesta|celesta|60|108|lc
Glockenspiel|glockenspiel|79|108|lc
Music Box|music box|60|96|lc
Vibraphone|vibraphone|53|89|lc
Marimba|marimba|45|96|lc
Xylophone|xylophone|65|108|lc
Tubular Bells|tubular bells|60|77|lc
Dulcimer|dulcimer|48|84|lc
Drawbar Organ|drawbar organ|36|96|cpl
Percussive Organ|percussive organ|36|96|cpl
Rock Organ|rock organ|36|96|cpl
Church Organ|church organ|36|96|pclb
Reed Organ|reed organ|36|96|pcl
Accordion|accordion|53|93|lcp
Harmonica|harmonica|60|96|l
Tango Accordion|bandoneon|41|89|lcp
Acoustic Guitar (nylon)|nylon guitar|40|83|cl
Acoustic Guitar (steel)|acoustic guitar|40|84|cl
Electric Guitar (jazz)|jazz guitar|40|86|cl
Electric Guitar (clean)|clean guitar|40|86|cl
Electric Guitar (muted)|muted guitar|40|86|cl
Overdriven Guitar|overdriven guitar|40|86|lc
Distortion Guitar|distortion guitar|40|86|cl
Guitar Harmonics|guitar harmonics|52|88|lc
Acoustic Bass|acoustic bass|28|60|b
Electric Bass (finger)|bass guitar|28|65|b
Electric Bass (pick)|picked bass|28|65|b
Fretless Bass|fretless bass|28|65|b
Slap Bass 1|slap bass|28|65|b
Slap Bass 2|popped bass|28|65|b
Synth Bass 1|synth bass|24|67|b
Synth Bass 2|rubber synth bass|24|67|b
Violin|violin|55|103|lp
Viola|viola|48|91|lp
Cello|cello|36|81|blp
Contrabass|double bass|28|60|b
Tremolo Strings|tremolo strings|28|96|pl
Pizzicato Strings|pizzicato strings|28|96|cl
Orchestral Harp|harp|24|103|cl
Timpani|timpani|38|57|b
String Ensemble 1|strings|28|100|plb
String Ensemble 2|slow strings|28|100|plb
Synth Strings 1|synth strings|28|96|pl
Synth Strings 2|slow synth strings|28|96|pl
Choir Aahs|choir|41|84|pl
Voice Oohs|voice|43|84|lp
Synth Voice|synth voice|41|84|lp
Orchestra Hit|orchestra hit|36|84|c
Trumpet|trumpet|54|86|l
Trombone|trombone|40|74|lb
Tuba|tuba|28|58|b
Muted Trumpet|muted trumpet|54|84|l
French Horn|horn|35|77|lp
Brass Section|brass|36|84|pl
Synth Brass 1|synth brass|36|84|pl
Synth Brass 2|soft synth brass|36|84|pl
Soprano Sax|soprano sax|56|88|l
Alto Sax|alto sax|49|81|l
Tenor Sax|tenor sax|44|76|l
Baritone Sax|baritone sax|36|69|lb
Oboe|oboe|58|91|l
English Horn|English horn|52|81|l
Bassoon|bassoon|34|75|bl
Clarinet|clarinet|50|94|l
Piccolo|piccolo|74|108|l
Flute|flute|60|96|l
Recorder|recorder|65|98|l
Pan Flute|pan flute|60|91|l
Blown Bottle|blown bottle|60|91|l
Shakuhachi|shakuhachi|55|86|l
Whistle|whistle|60|96|l
Ocarina|ocarina|60|89|l
Lead 1 (square)|square lead|36|96|l
Lead 2 (sawtooth)|saw lead|36|96|l
Lead 3 (calliope)|calliope lead|48|96|l
Lead 4 (chiff)|chiff lead|48|96|l
Lead 5 (charang)|charang lead|40|96|l
Lead 6 (voice)|voice lead|41|96|l
Lead 7 (fifths)|fifths lead|36|89|l
Lead 8 (bass + lead)|bass and lead|28|96|lb
Pad 1 (new age)|new age pad|36|96|p
Pad 2 (warm)|warm pad|36|96|p
Pad 3 (polysynth)|polysynth|36|96|pc
Pad 4 (choir)|choir pad|36|96|p
Pad 5 (bowed)|bowed pad|36|96|p
Pad 6 (metallic)|metallic pad|36|96|p
Pad 7 (halo)|halo pad|36|96|p
Pad 8 (sweep)|sweep pad|36|96|p
FX 1 (rain)|rain effect|36|96|p
FX 2 (soundtrack)|soundtrack effect|36|96|p
FX 3 (crystal)|crystal effect|48|96|cp
FX 4 (atmosphere)|atmosphere effect|36|96|cp
FX 5 (brightness)|brightness effect|36|96|p
FX 6 (goblins)|goblins effect|36|96|p
FX 7 (echoes)|echoes effect|36|96|p
FX 8 (sci-fi)|sci-fi effect|36|96|p
Sitar|sitar|48|84|lc
Banjo|banjo|48|86|cl
Shamisen|shamisen|50|82|lc
Koto|koto|48|86|lc
Kalimba|kalimba|48|89|lc
Bag pipe|bagpipe|57|84|l
Fiddle|fiddle|55|100|l
Shanai|shanai|60|84|l
Tinkle Bell|tinkle bell|72|96|l
Agogo|agogo|60|84|c
Steel Drums|steel drums|52|89|lc
Woodblock|woodblock|60|84|c
Taiko Drum|taiko|36|60|b
Melodic Tom|melodic tom|36|72|b
Synth Drum|synth drum|36|72|b
Reverse Cymbal|reverse cymbal|48|72|p
Guitar Fret Noise|fret noise|48|72|p
Breath Noise|breath noise|48|72|p
Seashore|seashore|48|72|p
Bird Tweet|birdsong|48|84|p
Telephone Ring|telephone|48|84|p
Helicopter|helicopter|48|72|p
Applause|applause|48|72|p
Gunshot|gunshot|48|72|p
"""


def _read(line: str) -> Instrument:
    name, usual, low, high, roles = line.split("|")
    return Instrument(name, usual, int(low), int(high), tuple(_ROLES[letter] for letter in roles))


INSTRUMENTS: tuple[Instrument, ...] = tuple(map(_read, _TABLE.split("\n")[1:-1]))
"""The instrument of every program, 0 to 127."""

GM_NAMES: tuple[str, ...] = tuple(instrument.name for instrument in INSTRUMENTS)
"""The General MIDI names, by program."""


def instrument(program: int) -> Instrument:
    """The instrument of a program.

    Raises:
        InputError: the program is not in 0 to 127.
    """
    if not 0 <= program < len(INSTRUMENTS):
        raise InputError(f"instrument program {program} is outside 0 to 127")
    return INSTRUMENTS[program]


def family(program: int) -> str:
    """The General MIDI family of a program, one of FAMILIES."""
    instrument(program)
    return FAMILIES[program // 8]


def usual_name(program: int) -> str:
    """What musicians call the program: "piano", "violin", "alto sax"; no two programs share one."""
    return instrument(program).usual


def playable_range(program: int) -> tuple[int, int]:
    """The lowest and the highest sounding MIDI pitch, both playable; at least an octave apart."""
    low, high = instrument(program)[2:4]
    return low, high


def roles(program: int) -> tuple[str, ...]:
    """The roles that suit a program, the best first, out of "lead", "chordal", "bass" and "pad"."""
    return instrument(program).roles
