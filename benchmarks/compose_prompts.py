"""Two hundred prompts with the attributes each states: how many are read exactly, and is every unknown word reported.

    python benchmarks/compose_prompts.py

The prompts are made from templates in a fixed order, half English and half Chinese: every style, keys with sharps and
flats, tempi and lengths in digits, words and notes, every supported metre, one to five instruments, soft words, and in
every fifth prompt a word that means nothing. An attribute that a prompt does not state is None and not checked.
"""

# Chinese prompts have Chinese punctuation.
# ruff: noqa: RUF001

from dataclasses import dataclass

from wavegen.errors import InputError
from wavegen.music.attributes import STYLES
from wavegen.music.prompt import Plan, parse


@dataclass(frozen=True)
class Prompt:
    """A prompt and what it states: key, BPM, metre, GM programs in order, drums, bars, style, and words unknown."""

    text: str
    key: str | None = None
    tempo: float | None = None
    meter: str | None = None
    programs: tuple[int, ...] | None = None
    drums: bool | None = None
    bars: int | None = None
    style: str | None = None
    unknown: tuple[str, ...] = ()


KEYS = (
    ("G major", "G major", "G大调"),
    ("Bb minor", "B flat minor", "降B小调"),
    ("F# minor", "F♯ minor", "升F小调"),
    ("D major", "D", "D大调"),
    ("Eb major", "E♭ major", "♭E大调"),
    ("A minor", "A minor", "A小调"),
    ("C# minor", "C sharp minor", "#C小调"),
    ("A major", "A", "A大调"),
    ("D dorian", "D dorian", "D多利亚调式"),
    ("Ab major", "A-flat major", "降A大调"),
    ("E minor", "Em", "e小调"),
    ("C major", "C", "C调"),
    ("G mixolydian", "G mixolydian", "G混合利底亚调式"),
)
TEMPI = (
    (90, "90 bpm", "每分钟90拍"),
    (120, "a tempo of 120", "120拍"),
    (72, "seventy-two beats per minute", "七十二拍"),
    (144, "144 BPM", "速度为144"),
    (105, "bpm 105", "一百零五拍"),
    (66, "about 66 bpm", "约66拍每分钟"),
    (110, "one hundred and ten bpm", "BPM 110"),
)
BARS = (
    (32, "32 bars", "32小节"),
    (16, "sixteen bars", "十六小节"),
    (8, "8 measures", "八小节"),
    (24, "a 24-bar form", "共24个小节"),
    (48, "forty-eight bars", "四十八小节"),
    (64, "64 bars", "64 小节"),
)
PLAYERS = (
    ((73, 0), "flute and piano", "长笛和钢琴"),
    ((40,), "solo violin", "小提琴独奏"),
    ((40, 40, 41, 42), "string quartet", "弦乐四重奏"),
    ((71, 60, 70), "clarinet, French horn and bassoon", "单簧管、圆号与巴松"),
    ((46, 68), "harp with oboe", "竖琴、双簧管"),
    ((110, 21), "fiddle and accordion", "民间提琴与手风琴"),
    ((56, 57, 58), "trumpet, trombone and tuba", "小号，长号和大号"),
    ((6, 42), "a harpsichord and a cello", "羽管键琴和大提琴"),
    ((40, 40, 0), "two violins and piano", "两把小提琴和一架钢琴"),
    ((11, 12), "vibraphone & marimba", "颤音琴与马林巴"),
    ((104, 108), "sitar and kalimba", "西塔琴与卡林巴"),
    ((52, 19), "choir and church organ", "合唱团与管风琴"),
    ((72, 8, 45), "piccolo, celesta and pizzicato strings", "短笛、钢片琴、弦乐拨奏"),
    ((24, 22), "nylon guitar and harmonica", "古典吉他和口琴"),
    ((64, 32), "soprano sax and double-plucked upright bass", "高音萨克斯和原声贝斯"),
)
STYLE_WORDS = {
    "chorale": ("chorale", "众赞歌"),
    "waltz": ("waltz", "圆舞曲"),
    "jig": ("Irish jig", "吉格舞曲"),
    "reel": ("reel", "里尔舞曲"),
    "hornpipe": ("hornpipe", "角笛舞曲"),
    "march": ("march", "进行曲"),
    "polka": ("polka", "波尔卡"),
    "air": ("slow air", "歌调"),
    "strathspey": ("strathspey", "斯特拉斯佩舞曲"),
    "slip-jig": ("slip jig", "滑步吉格"),
    "ballad": ("ballad", "叙事曲"),
    "lullaby": ("lullaby", "摇篮曲"),
    "pop": ("pop song", "流行歌曲"),
    "rock": ("rock piece", "摇滚乐"),
    "metal": ("heavy metal track", "重金属音乐"),
    "blues": ("blues", "蓝调"),
    "jazz": ("jazz tune", "爵士乐"),
    "bossa": ("bossa nova", "波萨诺瓦"),
    "funk": ("funky piece", "放克音乐"),
    "classical": ("classical piece", "古典音乐"),
    "ambient": ("ambient piece", "氛围音乐"),
    "tango": ("tango", "探戈"),
    "minuet": ("minuet", "小步舞曲"),
    "folk": ("folk song", "民谣"),
    "electronic": ("techno track", "电子音乐"),
}
MOODS = (
    ("slow", "缓慢"),
    ("happy", "欢快"),
    ("sad", "悲伤"),
    ("calm", "宁静"),
    ("heroic", "英勇"),
    ("quiet", "轻声"),
    ("", ""),
)
MADE_UP = (("brindlewock", "魑魅"), ("zorfy", "氪氙"), ("quintuplish", "饕餮"), ("snarvel", "犄角"))
METERS = (
    ("5/4", "5/4", "5/4拍"),
    ("7/8", "7/8 time", "八分之七拍"),
    ("6/8", "six-eight", "八六拍"),
    ("3/4", "three-four time", "四三拍"),
    ("4/4", "common time", "四四拍"),
    ("2/2", "cut time", "2/2拍"),
    ("12/8", "12/8", "12/8拍"),
    ("3/4", "in three", "三拍子"),
    ("2/4", "2/4 time", "四分之二拍"),
    ("9/8", "nine-eight", "九八拍"),
    ("5/8", "5/8", "八分之五拍"),
    ("3/8", "3/8", "八三拍"),
    ("6/4", "6/4", "四分之六拍"),
    ("7/4", "7/4", "7/4拍"),
)


def _full(index: int, style: str, chinese: bool) -> Prompt:
    """A prompt that states style, key, players, tempo and bars, in one of four orders of words."""
    key, *key_words = KEYS[index % len(KEYS)]
    tempo, *tempo_words = TEMPI[index % len(TEMPI)]
    bars, *bar_words = BARS[index % len(BARS)]
    programs, *player_words = PLAYERS[index % (len(PLAYERS) - 1)]
    side = int(chinese)
    k, t, b, p = key_words[side], tempo_words[side], bar_words[side], player_words[side]
    s, mood = STYLE_WORDS[style][side], MOODS[index % len(MOODS)][side]
    made_up = MADE_UP[index % len(MADE_UP)][side] if index % 5 == 0 else ""
    if chinese:
        text = (
            f"一首{mood + '的' if mood else ''}{k}{s}，{p}，{t}，{b}",
            f"请为{p}写一首{b}的{s}，{k}，{t}{'，' + mood if mood else ''}",
            f"{s}，{k}，用{p}演奏，{t}，长度{b}{'，气氛' + mood if mood else ''}",
            f"我想要一段{mood + '的' if mood else ''}{s}。调性：{k}；乐器：{p}；速度：{t}；{b}。",
        )[index % 4] + (f"，{made_up}" if made_up else "")
    else:
        text = (
            f"A {mood} {s} in {k} for {p}, {t}, {b}",
            f"Please write {b} of {s} for {p} in {k}, {t}{', ' + mood if mood else ''}",
            f"{s}, {p}, in {k}, {b}, {t}{', with a ' + mood + ' feel' if mood else ''}",
            f"I'd like a {mood} {s}. Key: {k}; instruments: {p}; tempo: {t}; length: {b}.",
        )[index % 4].replace("  ", " ") + (f", {made_up}" if made_up else "")
    return Prompt(text, key, float(tempo), None, programs, False, bars, style, (made_up,) if made_up else ())


def _metre(index: int, chinese: bool) -> Prompt:
    """A prompt that states metre, key and players, a length in seconds being left to the tempo."""
    meter, *meter_words = METERS[index % len(METERS)]
    key, *key_words = KEYS[(3 * index + 1) % len(KEYS)]
    programs, *player_words = PLAYERS[(2 * index + 1) % (len(PLAYERS) - 1)]
    bars, *bar_words = BARS[(index + 1) % len(BARS)]
    side = int(chinese)
    m, k, p, b = meter_words[side], key_words[side], player_words[side], bar_words[side]
    text = f"{m}，{k}，{p}，{b}" if chinese else f"{p}, {m}, in {k}, {b}"
    return Prompt(text, key, None, meter, programs, False, bars)


ENGLISH = (
    Prompt(
        "A slow waltz in G major for flute and piano, 90 bpm, 32 bars",
        "G major",
        90,
        "3/4",
        (73, 0),
        False,
        32,
        "waltz",
    ),
    Prompt("sad piano", None, None, None, (0,), False),
    Prompt("epic orchestra 2 minutes, 120 bpm, 4/4", None, 120, "4/4", (48, 73, 60, 47), False, 60),
    Prompt("rock with drums, guitar and bass in A, 140 bpm", "A major", 140, "4/4", (29, 33), True, None, "rock"),
    Prompt("a jig in a happy mood, ♩.=100, one minute", None, 100, "6/8", None, False, 50, "jig"),
    Prompt(
        "jazz waltz for alto sax, piano and upright bass, 150 bpm", None, 150, "3/4", (65, 0, 32), False, None, "jazz"
    ),
    Prompt("march without drums in B flat, 112 bpm, 4/4, 1:00", "Bb major", 112, "4/4", None, False, 28, "march"),
    Prompt("quarter = 60, 3/4, 20 seconds, music box", None, 60, "3/4", (10,), False, 7),
    Prompt("FUNK IN E MINOR, SLAP BASS, 100 BPM, DRUMS", "E minor", 100, "4/4", (36,), True, None, "funk"),
    Prompt("brass quintet in f minor, twenty-four bars", "F minor", None, None, (56, 56, 60, 57, 58), False, 24),
    Prompt("minor key lament for cello", None, None, None, (42,), False, None, None, ("lament",)),
)
CHINESE = (
    Prompt("一首欢快的D大调吉格舞曲，长笛和吉他，120拍，16小节", "D major", 120, "6/8", (73, 25), False, 16, "jig"),
    Prompt("悲伤的钢琴曲", None, None, None, (0,), False),
    Prompt("史诗般的管弦乐，两分钟，每分钟120拍，四四拍", None, 120, "4/4", (48, 73, 60, 47), False, 60),
    Prompt("A小调摇滚，电吉他、贝斯和架子鼓，140拍", "A minor", 140, "4/4", (29, 33), True, None, "rock"),
    Prompt("吉格舞曲，附点四分音符=100，一分钟", None, 100, "6/8", None, False, 50, "jig"),
    Prompt("爵士圆舞曲，中音萨克斯、钢琴、原声贝斯，150拍", None, 150, "3/4", (65, 0, 32), False, None, "jazz"),
    Prompt("降B大调进行曲，不要鼓，112拍，4/4拍，1分钟", "Bb major", 112, "4/4", None, False, 28, "march"),
    Prompt("四分音符=60，四分之三拍，20秒，八音盒", None, 60, "3/4", (10,), False, 7),
    Prompt("一段氛围音乐，一分半，80拍，4/4", None, 80, "4/4", None, False, 30, "ambient"),
    Prompt("铜管五重奏，f小调，二十四小节", "F minor", None, None, (56, 56, 60, 57, 58), False, 24),
    Prompt("1=G，两把小提琴，慢板，貔貅", "G major", None, None, (40, 40), False, None, None, ("貔貅",)),
)


def _all() -> list[Prompt]:
    prompts = [*ENGLISH, *CHINESE]
    for chinese in (False, True):
        prompts += [_full(i, style, chinese) for i, style in enumerate([*STYLES, *STYLES, *STYLES])]
        prompts += [_metre(i, chinese) for i in range(len(METERS))]
    return prompts


PROMPTS: list[Prompt] = _all()


def mistakes(prompt: Prompt, plan: Plan) -> list[str]:
    """The hard attributes of a plan that differ from what the prompt states, as "name: found, not stated"."""
    found = plan.attributes
    pairs = {
        "key": (prompt.key, found.key.name),
        "tempo": (prompt.tempo, found.tempo),
        "meter": (prompt.meter, found.meter.name),
        "programs": (prompt.programs, found.instruments),
        "drums": (prompt.drums, found.drums),
        "bars": (prompt.bars, found.bars),
        "style": (prompt.style, found.style),
    }
    wrong = [f"{name}: {got}, not {stated}" for name, (stated, got) in pairs.items() if stated not in (None, got)]
    return wrong + ([] if plan.unknown == prompt.unknown else [f"unknown: {plan.unknown}, not {prompt.unknown}"])


def check_parse() -> int:
    """Parse all prompts, print each mistake and the totals; the number of prompts read without a mistake."""
    stated = sum(
        value is not None for p in PROMPTS for value in (p.key, p.tempo, p.meter, p.programs, p.drums, p.bars, p.style)
    )
    right, wrong_attributes, unreported = 0, 0, 0
    for prompt in PROMPTS:
        try:
            wrong = mistakes(prompt, plan := parse(prompt.text))
            unreported += len(set(prompt.unknown) - set(plan.unknown))
        except InputError as error:
            wrong = [f"refused: {error}"]
        right += not wrong
        wrong_attributes += sum(not line.startswith("unknown") for line in wrong)
        for line in wrong:
            print(f"{prompt.text!r}: {line}")
    print(f"{right}/{len(PROMPTS)} prompts exact; {stated - wrong_attributes}/{stated} hard attributes exact;", end=" ")
    print(f"{sum(len(p.unknown) for p in PROMPTS)} unknown words, {unreported} unreported")
    return right


if __name__ == "__main__":
    raise SystemExit(check_parse() != len(PROMPTS))
