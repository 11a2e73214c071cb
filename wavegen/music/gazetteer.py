"""What English words of a prompt mean: instruments, styles, moods, tempo and loudness words, and words without content.

Keys are lower case; a space also matches a hyphen or an underscore. Names of instruments in the singular also match the
plural in -s. Programs are those of General MIDI.
"""

from typing import NamedTuple

from wavegen.music.instruments import INSTRUMENTS


class Mood(NamedTuple):
    """What a mood asks for.

    ``major``: 1 for a major key, 0 for a minor one, None for either. ``tempo``: the part of the style's tempo range, 0
    its low and 1 its high end (below 0 and above 1 it goes beyond). ``dynamics``: the range of the mean MIDI velocity.
    """

    major: int | None
    tempo: tuple[float, float]
    dynamics: tuple[int, int]


MOODS: dict[str, Mood] = {
    "happy": Mood(1, (0.5, 0.9), (78, 92)),
    "sad": Mood(0, (-0.25, 0.2), (50, 66)),
    "calm": Mood(1, (-0.2, 0.2), (46, 60)),
    "dark": Mood(0, (0.0, 0.4), (60, 78)),
    "heroic": Mood(1, (0.4, 0.8), (90, 106)),
    "epic": Mood(0, (0.4, 0.8), (94, 110)),
    "romantic": Mood(1, (0.0, 0.35), (56, 74)),
    "tense": Mood(0, (0.5, 0.9), (72, 90)),
    "mysterious": Mood(0, (0.0, 0.35), (46, 64)),
    "playful": Mood(1, (0.5, 0.9), (66, 82)),
    "angry": Mood(0, (0.7, 1.0), (98, 114)),
    "dreamy": Mood(1, (-0.1, 0.25), (46, 62)),
    "nostalgic": Mood(None, (0.0, 0.35), (54, 70)),
    "solemn": Mood(None, (-0.1, 0.2), (60, 78)),
    "energetic": Mood(None, (0.75, 1.05), (86, 104)),
    "triumphant": Mood(1, (0.5, 0.8), (94, 110)),
    "hopeful": Mood(1, (0.3, 0.7), (64, 82)),
    "lonely": Mood(0, (-0.2, 0.15), (44, 60)),
}
"""The moods that are understood."""

MOOD_WORDS: dict[str, str] = {mood: mood for mood in MOODS} | {
    alias: mood
    for mood, aliases in {
        "happy": "cheerful|cheery|joyful|joyous|merry|jolly|glad|sunny|bright|upbeat|festive|jovial|bouncy|"
        "light hearted|lighthearted|happily|joyfully|cheerfully|giocoso",
        "sad": "sorrowful|mournful|melancholy|melancholic|gloomy|tragic|mourning|tearful|depressing|depressed|grief|"
        "sadness|sadly|wistful|heartbroken|plaintive|doleful|dolente|mesto",
        "calm": "peaceful|relaxed|relaxing|serene|tranquil|soothing|gentle|gently|quieting|meditative|mellow|chill|"
        "calming|restful|tender|tranquillo|dolce|pastoral|laid back",
        "dark": "sinister|ominous|gothic|grim|eerie|creepy|spooky|scary|brooding",
        "heroic": "brave|bold|courageous|noble|adventurous|eroico",
        "epic": "grand|grandiose|dramatic|cinematic|monumental|intense",
        "romantic": "loving|passionate|love|sentimental|amoroso|lyrical|cantabile",
        "tense": "suspenseful|suspense|anxious|nervous|urgent|agitated|thrilling|agitato",
        "mysterious": "mystic|mystical|enigmatic|misterioso|haunting",
        "playful": "funny|humorous|comic|whimsical|quirky|cute|childlike|mischievous|scherzando|cheeky",
        "angry": "aggressive|furious|rage|violent|fierce|brutal|furioso",
        "dreamy": "dreamlike|ethereal|floating|hypnotic|celestial|airy|heavenly|atmospheric",
        "nostalgic": "bittersweet|longing|reflective|yearning|reminiscent",
        "solemn": "serious|sacred|ceremonial|dignified|stately|majestic|religious|reverent|maestoso|pompous",
        "energetic": "lively|exciting|excited|powerful|dynamic|driving|spirited|animated|vigorous|vivid|con brio|"
        "con fuoco",
        "triumphant": "victorious|glorious|celebratory|victory|proud",
        "hopeful": "optimistic|inspiring|uplifting|inspirational|warm|motivational",
        "lonely": "lonesome|desolate|isolated|solitary",
    }.items()
    for alias in aliases.split("|")
}

STYLE_WORDS: dict[str, str] = {
    alias: style
    for style, aliases in {
        "chorale": "chorale|chorales|hymn|bach chorale|four part chorale",
        "waltz": "waltz|waltzes|viennese waltz|valse|waltz time",
        "jig": "jig|jigs|irish jig|double jig|celtic jig",
        "reel": "reel|reels|irish reel|scottish reel",
        "hornpipe": "hornpipe|hornpipes",
        "march": "march|marches|military march|marching|wedding march|funeral march",
        "polka": "polka|polkas",
        "air": "air|slow air|irish air",
        "strathspey": "strathspey|strathspeys",
        "slip-jig": "slip jig|slip jigs|slipjig",
        "ballad": "ballad|ballads|ballade",
        "lullaby": "lullaby|lullabies|cradle song|berceuse",
        "pop": "pop|pop music|pop song|k pop|j pop",
        "rock": "rock|rock music|rock song|rock n roll|rock 'n' roll|rock and roll|hard rock|soft rock|"
        "punk rock|rock band",
        "metal": "metal|heavy metal|death metal|thrash metal|metal band",
        "blues": "blues|bluesy|twelve bar blues",
        "jazz": "jazz|jazzy|jazz standard|swing|bebop|big band jazz",
        "bossa": "bossa|bossa nova",
        "funk": "funk|funky",
        "classical": "classical|classical music|baroque|orchestral|chamber music|symphonic|sonata|symphony|concerto",
        "ambient": "ambient|ambient music|new age",
        "tango": "tango|tangos|argentine tango|argentinian tango",
        "minuet": "minuet|minuets|menuet|minuetto",
        "folk": "folk|folk song|folk tune|folk music|folk dance|traditional|celtic|irish|scottish",
        "electronic": "electronic|electronic music|electronica|edm|techno|house music|trance|electronic dance music|"
        "dance music|synthwave|electro",
    }.items()
    for alias in aliases.split("|")
}

NEAR_STYLES: dict[str, str] = {
    "samba": "bossa",
    "latin": "bossa",
    "country": "folk",
    "bluegrass": "folk",
    "disco": "funk",
    "soul": "funk",
    "punk": "rock",
    "ragtime": "jazz",
    "nocturne": "classical",
    "sarabande": "minuet",
    "mazurka": "waltz",
    "carol": "chorale",
}
"""Styles there are no pieces of, and the nearest that is composed instead (the plan says so)."""

TEMPO_RANGES: dict[str, tuple[float, float]] = {
    "grave": (30, 44),
    "largo": (44, 60),
    "larghetto": (60, 66),
    "lento": (48, 60),
    "adagio": (60, 76),
    "andante": (76, 100),
    "andantino": (80, 104),
    "moderato": (100, 116),
    "allegretto": (108, 120),
    "allegro": (120, 156),
    "vivace": (156, 172),
    "vivo": (150, 170),
    "presto": (172, 200),
    "prestissimo": (200, 220),
}
"""Italian tempo words: beats a minute, as metronomes are marked."""

_VERY_SLOW, _SLOW, _MODERATE, _FAST, _VERY_FAST = (-0.5, -0.1), (-0.3, 0.15), (0.35, 0.65), (0.8, 1.1), (1.0, 1.3)
TEMPO_WORDS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("very slow", "very slowly", "extremely slow", "super slow"), _VERY_SLOW),
    **dict.fromkeys(
        (
            "slow",
            "slowly",
            "slow tempo",
            "low tempo",
            "unhurried",
            "leisurely",
            "slow paced",
            "not fast",
            "not too fast",
        ),
        _SLOW,
    ),
    **dict.fromkeys(
        ("moderate", "moderately", "medium tempo", "mid tempo", "midtempo", "moderate tempo", "medium speed"), _MODERATE
    ),
    **dict.fromkeys(("not too slow", "walking pace", "medium pace"), _MODERATE),
    **dict.fromkeys(
        ("fast", "quick", "quickly", "brisk", "briskly", "rapid", "up tempo", "uptempo", "fast tempo", "fast paced"),
        _FAST,
    ),
    **dict.fromkeys(
        ("very fast", "very quick", "extremely fast", "super fast", "breakneck", "as fast as possible"), _VERY_FAST
    ),
}
"""Tempo words relative to the style's tempo range: 0 is its low end, 1 its high end."""

MARKS: dict[str, int] = {
    "ppp": 24,
    "pp": 36,
    "pianissimo": 36,
    "mp": 64,
    "mezzo piano": 64,
    "mf": 80,
    "mezzo forte": 80,
    "mezzoforte": 80,
    "forte": 96,
    "ff": 110,
    "fortissimo": 110,
    "fff": 120,
}
"""Marks of loudness: the mean MIDI velocity."""

LOUDNESS: dict[str, tuple[int, int]] = {
    **dict.fromkeys(("soft", "softly", "quiet", "quietly", "hushed", "delicate", "delicately", "not loud"), (40, 58)),
    **dict.fromkeys(("very soft", "very softly", "very quiet", "very quietly", "whispering"), (26, 40)),
    **dict.fromkeys(("loud", "loudly", "noisy", "strong", "thunderous"), (94, 108)),
    **dict.fromkeys(("very loud", "very loudly"), (106, 118)),
}
"""Loudness words: ranges of the mean MIDI velocity."""

LENGTHS: dict[str, tuple[int, int]] = {
    **dict.fromkeys(("short", "brief", "tiny"), (8, 16)),
    **dict.fromkeys(("very short",), (4, 8)),
    **dict.fromkeys(("long", "lengthy", "extended"), (64, 96)),
    **dict.fromkeys(("very long",), (96, 160)),
}
"""Length words: ranges of bars."""

METER_WORDS: dict[str, str] = {
    "common time": "4/4",
    "four four": "4/4",
    "four four time": "4/4",
    "cut time": "2/2",
    "cut common time": "2/2",
    "alla breve": "2/2",
    "two two": "2/2",
    "two four": "2/4",
    "three four": "3/4",
    "three quarter": "3/4",
    "three quarter time": "3/4",
    "four quarter time": "4/4",
    "two quarter time": "2/4",
    "triple time": "3/4",
    "triple meter": "3/4",
    "triple metre": "3/4",
    "five four": "5/4",
    "six four": "6/4",
    "seven four": "7/4",
    "three eight": "3/8",
    "five eight": "5/8",
    "six eight": "6/8",
    "seven eight": "7/8",
    "nine eight": "9/8",
    "twelve eight": "12/8",
}

# Names that leave open which program is meant; the style decides, GENERIC_BY_STYLE first, then GENERIC.
GENERIC: dict[str, int] = {"guitar": 25, "bass": 33, "organ": 19, "sax": 65, "synth": 81, "electric guitar": 27}
GENERIC_BY_STYLE: dict[str, dict[str, int]] = {
    "guitar": {"rock": 29, "metal": 30, "jazz": 26, "funk": 27, "blues": 26, "bossa": 24, "tango": 24, "classical": 24},
    "electric guitar": {"rock": 29, "metal": 30, "jazz": 26},
    "bass": {"jazz": 32, "bossa": 32, "tango": 43, "classical": 43, "metal": 34, "electronic": 38, "funk": 36},
    "organ": {"rock": 18, "pop": 16, "jazz": 16, "blues": 16, "funk": 17},
    "sax": {"jazz": 66, "blues": 66},
    "synth": {"ambient": 88},
}

_NAMES: dict[str, tuple[int | str, ...]] = {
    **{item.usual.lower(): (program,) for program, item in enumerate(INSTRUMENTS)},
    **{item.name.lower().replace("(", "").replace(")", ""): (program,) for program, item in enumerate(INSTRUMENTS)},
    **{item.name.lower(): (program,) for program, item in enumerate(INSTRUMENTS)},
    **{name: (name,) for name in GENERIC},
}
_ALIASES: dict[str, int | str] = {
    "grand piano": 0,
    "acoustic piano": 0,
    "pianoforte": 0,
    "keyboard": 0,
    "honky tonk": 3,
    "honky tonk piano": 3,
    "electric piano": 4,
    "rhodes": 4,
    "rhodes piano": 4,
    "e piano": 4,
    "wurlitzer": 4,
    "dx7": 5,
    "fm piano": 5,
    "cembalo": 6,
    "clavi": 7,
    "celeste": 8,
    "bells": 14,
    "musical box": 10,
    "tubular bell": 14,
    "church bell": 14,
    "chimes": 14,
    "hammered dulcimer": 15,
    "hammond organ": 16,
    "hammond": 16,
    "jazz organ": 16,
    "electric organ": 16,
    "pipe organ": 19,
    "cathedral organ": 19,
    "harmonium": 20,
    "squeezebox": 21,
    "concertina": 21,
    "mouth organ": 22,
    "blues harp": 22,
    "bandoneon": 23,
    "bandonion": 23,
    "classical guitar": 24,
    "spanish guitar": 24,
    "nylon string guitar": 24,
    "steel guitar": 25,
    "steel string guitar": 25,
    "folk guitar": 25,
    "12 string guitar": 25,
    "twelve string guitar": 25,
    "acoustic guitar": 25,
    "clean guitar": 27,
    "clean electric guitar": 27,
    "rhythm guitar": 27,
    "palm muted guitar": 28,
    "overdrive guitar": 29,
    "lead guitar": 29,
    "distorted guitar": 30,
    "distorted electric guitar": 30,
    "metal guitar": 30,
    "heavy guitar": 30,
    "upright bass": 32,
    "jazz bass": 32,
    "walking bass": 32,
    "electric bass": 33,
    "fingered bass": 33,
    "electric bass guitar": 33,
    "pick bass": 34,
    "fretless bass guitar": 35,
    "slap bass": 36,
    "synthesizer bass": 38,
    "sub bass": 38,
    "first violin": 40,
    "second violin": 40,
    "solo violin": 40,
    "violas": 41,
    "violoncello": 42,
    "celli": 42,
    "string bass": 43,
    "double bass": 43,
    "double basses": 43,
    "upright double bass": 43,
    "tremolo violins": 44,
    "plucked strings": 45,
    "pizzicato": 45,
    "pizzicato string": 45,
    "harp": 46,
    "kettledrum": 47,
    "timpanis": 47,
    "tympani": 47,
    "string ensemble": 48,
    "string section": 48,
    "string orchestra": 48,
    "legato strings": 49,
    "synthesizer strings": 50,
    "synth string": 50,
    "choir": 52,
    "mixed choir": 52,
    "choral voices": 52,
    "boys choir": 52,
    "voice": 53,
    "humming": 53,
    "oohs": 53,
    "aahs": 52,
    "harmon mute trumpet": 59,
    "french horn": 60,
    "horn": 60,
    "brass": 61,
    "brasses": 61,
    "brass ensemble": 61,
    "synthesizer brass": 62,
    "saxophone": "sax",
    "saxes": "sax",
    "soprano saxophone": 64,
    "alto saxophone": 65,
    "tenor saxophone": 66,
    "baritone saxophone": 67,
    "bari sax": 67,
    "cor anglais": 69,
    "piccolo flute": 72,
    "transverse flute": 73,
    "concert flute": 73,
    "blockflute": 74,
    "panpipe": 75,
    "pan pipe": 75,
    "zampona": 75,
    "bottle": 76,
    "tin whistle": 78,
    "penny whistle": 78,
    "irish whistle": 78,
    "whistling": 78,
    "synthesizer": "synth",
    "lead synth": 81,
    "synth lead": 81,
    "synthesizer lead": 81,
    "square wave": 80,
    "square wave lead": 80,
    "chiptune": 80,
    "sawtooth": 81,
    "saw synth": 81,
    "sawtooth lead": 81,
    "calliope": 82,
    "pad": 89,
    "synth pad": 89,
    "synthesizer pad": 89,
    "strings pad": 89,
    "warm synth pad": 89,
    "bagpipes": 109,
    "bag pipes": 109,
    "uilleann pipes": 109,
    "great highland bagpipe": 109,
    "irish fiddle": 110,
    "folk fiddle": 110,
    "shehnai": 111,
    "shenai": 111,
    "mbira": 108,
    "thumb piano": 108,
    "steel drum": 114,
    "steelpan": 114,
    "steel pan": 114,
    "steel band": 114,
    "taiko drum": 116,
    "taiko drums": 116,
    "taikos": 116,
    "tom tom": 117,
    "sea waves": 122,
    "ocean waves": 122,
    "bird song": 123,
}

SUBSTITUTES: dict[str, int] = {
    "ukulele": 24,
    "lute": 24,
    "mandolin": 25,
    "bouzouki": 25,
    "bass clarinet": 71,
    "contrabassoon": 70,
    "alto flute": 73,
    "bass flute": 73,
    "cornet": 56,
    "piccolo trumpet": 56,
    "flugelhorn": 56,
    "euphonium": 57,
    "bass trombone": 57,
    "sousaphone": 58,
    "lyre": 46,
    "spinet": 6,
    "clavichord": 6,
    "zither": 15,
    "erhu": 110,
    "hurdy gurdy": 109,
    "guzheng": 107,
    "guqin": 107,
    "pipa": 106,
    "dizi": 73,
    "xiao": 77,
    "theremin": 85,
    "mellotron": 52,
    "didgeridoo": 58,
}
"""Instruments General MIDI lacks, and the nearest program, which plays instead (the plan says so)."""

_ENSEMBLES: dict[str, tuple[int | str, ...]] = {
    "string quartet": (40, 40, 41, 42),
    "string quintet": (40, 40, 41, 41, 42),
    "string trio": (40, 41, 42),
    "piano trio": (40, 42, 0),
    "piano quartet": (40, 41, 42, 0),
    "piano quintet": (40, 40, 41, 42, 0),
    "wind quintet": (73, 68, 71, 60, 70),
    "woodwind quintet": (73, 68, 71, 60, 70),
    "woodwinds": (73, 68, 71, 70),
    "woodwind": (73, 68, 71, 70),
    "woodwind quartet": (73, 68, 71, 70),
    "wind section": (73, 68, 71, 70),
    "woodwind section": (73, 68, 71, 70),
    "brass quintet": (56, 56, 60, 57, 58),
    "brass quartet": (56, 60, 57, 58),
    "brass band": (56, 60, 57, 58),
    "saxophone quartet": (64, 65, 66, 67),
    "sax quartet": (64, 65, 66, 67),
    "orchestra": (48, 73, 60, 47),
    "full orchestra": (48, 73, 71, 56, 60, 47),
    "symphony orchestra": (48, 73, 71, 56, 60, 47),
    "chamber orchestra": (48, 73, 68, 60),
    "big band": (56, 65, 66, 57, 0, 32),
}
ENSEMBLES_WITH_DRUMS: dict[str, tuple[int | str, ...]] = {
    "jazz trio": (0, 32),
    "jazz quartet": (66, 0, 32),
    "jazz band": (56, 66, 0, 32),
    "jazz combo": (66, 0, 32),
    "power trio": (29, 33),
    "marching band": (56, 65, 57, 58),
}
"""Ensembles that bring a drum kit."""

INSTRUMENT_WORDS: dict[str, tuple[int | str, ...]] = {
    **_NAMES,
    **{alias: (program,) for alias, program in _ALIASES.items()},
    **{alias: (program,) for alias, program in SUBSTITUTES.items()},
    **_ENSEMBLES,
    **ENSEMBLES_WITH_DRUMS,
}
"""Names of instruments and ensembles → programs, or names in GENERIC, in the order in which they enter the score."""
INSTRUMENT_WORDS |= {
    alias + "s": programs
    for alias, programs in list(INSTRUMENT_WORDS.items())
    if not alias.endswith(("s", ")")) and alias + "s" not in INSTRUMENT_WORDS
} | {"strings": (48,), "basses": ("bass",)}

DRUM_WORDS: tuple[str, ...] = (
    *(
        "drums",
        "drum",
        "drum kit",
        "drum kits",
        "drum set",
        "drumkit",
        "drumset",
        "drum machine",
        "drum beat",
        "drumming",
    ),
    *(
        "drummer",
        "percussion",
        "drum track",
        "snare",
        "snare drum",
        "bass drum",
        "kick drum",
        "hi hat",
        "hi hats",
    ),
    *("cymbal", "cymbals", "congas", "bongos", "tambourine", "backbeat", "drum groove"),
)
"""Words for the drum kit."""

SOLO_DRUMS: tuple[str, ...] = ("drum solo", "drums solo", "solo drums", "only drums", "drums only", "just drums")

MODE_WORDS: dict[str, str] = {
    **{
        f"{mode}{noun}": mode
        for mode in ("major", "minor", "dorian", "mixolydian")
        for noun in ("", " key", " mode", " scale")
    },
    "major keys": "major",
    "minor keys": "minor",
}

COUNTS: dict[str, int] = {
    "solo": 1,
    "unaccompanied": 1,
    "duet": 2,
    "duo": 2,
    "trio": 3,
    "quartet": 4,
    "quintet": 5,
    "sextet": 6,
    "septet": 7,
    "octet": 8,
}
"""Words for how many play."""

FIRST_WORDS = ("melody", "lead melody", "main melody", "lead")
LAST_WORDS = ("accompaniment", "accompanying", "backing", "background")

EMOJI: dict[str, str] = {
    "🎹": "piano",
    "🎻": "violin",
    "🎸": "guitar",
    "🎺": "trumpet",
    "🎷": "sax",
    "🪗": "accordion",
    "🪕": "banjo",
    "🥁": "drums",
    "😢": "sad",
    "😭": "sad",
    "😞": "sad",
    "😀": "happy",
    "😃": "happy",
    "😄": "happy",
    "😊": "happy",
    "🙂": "happy",
    "😡": "angry",
    "😌": "calm",
}
"""Emoji and the word each stands for."""

_STOP = """
a an the this that these those some it its it's i i'd i'll i'm me my we us our you your he she they them their one
is are be was were been being am has have had having do does did can could would should shall will may might must in
on at of for to from by with w into onto over as about around approximately roughly approx circa ca and or & + then
also so but which who there here where when while if just please pls kindly let let's make makes making create
creating compose composing composed write writing written generate generating generated give play plays played
playing want need like looking produce producing render performed perform performing using use uses used get hello
hi hey thanks thank music musical piece pieces song songs tune tunes track tracks composition compositions melody
melodies work number instrumental instrument instruments style styled styles genre feel feeling mood vibe vibes
sound sounds sounding tempo speed pace time timing meter metre signature key keys bpm length duration lasting
lasts total dynamics volume loudness arrangement arranged arrange scored score featuring features feature
ensemble consisting section tonality player players group together set end something kind sort type very quite
rather really somewhat slightly overall throughout form only bars bar measures measure
"""
STOP_WORDS: frozenset[str] = frozenset(_STOP.split())
"""Words that carry no attribute by themselves and are passed over."""
STOP_PHRASES: tuple[str, ...] = (
    *(
        "per minute",
        "time signature",
        "key signature",
        "in the style of",
        "in the key of",
        "key of",
        "no vocals",
        "no singing",
    ),
    *("without vocals", "without singing", "without lyrics", "no lyrics", "piece of music", "background music"),
)
