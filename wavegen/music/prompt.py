"""From a prompt in English or Chinese to the attributes of a piece, and an account of what was read and assumed."""

import difflib
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from wavegen.errors import InputError
from wavegen.music import gazetteer as en
from wavegen.music import gazetteer_zh as zh
from wavegen.music.attributes import (
    MAX_BARS,
    MAX_INSTRUMENTS,
    MAX_TEMPO,
    MAX_VELOCITY,
    MIN_TEMPO,
    MIN_VELOCITY,
    STYLES,
    Attributes,
    Key,
    Meter,
    Style,
)
from wavegen.music.instruments import GM_NAMES, usual_name
from wavegen.music.scanner import Item, Scanner, lexicon, look_up, lowered, normalised, number

MAX_CHARACTERS = 2000
# Numbers that a reader of plain digits would misread: fractions, powers, signs.
_ODD_NUMBER = re.compile(r"[0-9]*[¼-¾⅐-⅞²³¹⁰-₉①-⓿]|(?<![^\s,(])[-−][0-9][0-9.]*")

# Styles that give way to a more particular one named beside them, and those that combine with a form (a jazz waltz).
_GENERAL = ("folk", "classical")
_GENRES = ("pop", "rock", "metal", "blues", "jazz", "bossa", "funk", "ambient", "electronic", "tango")
_TONICS = {0: (0, 7, 2, 5, 10, 9, 3), 1: (9, 4, 2, 7, 11, 0, 5)}
_LISTED = re.compile(r"\s*[,、&+]?\s*(?:(?:and|plus|with|和|与|及)\s*)?(?:an?(?:other)?\s)?\s*")
_PLAYS = re.compile(
    r"[\s:(]*(?:(?:plays?|playing|has|having|takes?|taking|carries|carrying|sings?|is|on|for|as|演奏|担任|是|为)\s*)?"
    r"(?:(?:the|its|an?)\b\s*)?"
)
_ROLE = re.compile(r"\s*[:=]\s*")
_PLAYERS = re.compile(r"\s*[:=(]\s*")
_PARTS = ("bass", "低音")
_OR = ("or", "或", "或者")
_DECADE = re.compile(r"[5-9]0s")
_SUBSTITUTES = en.SUBSTITUTES | {word + "s": program for word, program in en.SUBSTITUTES.items()} | zh.SUBSTITUTES


@dataclass(frozen=True)
class Plan:
    """What a prompt was taken to mean.

    ``stated``: attribute → the words that state it. ``assumed``: attribute → what was assumed and why. ``unknown``: the
    words that were not understood. ``notes``: contradictions and how they were resolved, substitutions, suggestions.
    """

    attributes: Attributes
    stated: dict[str, str]
    assumed: dict[str, str]
    unknown: tuple[str, ...]
    notes: tuple[str, ...]

    def lines(self) -> list[str]:
        """The plan for people: a line for every attribute, then what was not understood, then the notes."""
        found = self.attributes
        players = ", ".join(usual_name(program) for program in found.instruments)
        values = {
            "style": found.style,
            "mood": found.mood or "none",
            "key": found.key.name,
            "meter": found.meter.name,
            "tempo": f"{found.tempo:g} BPM",
            "instruments": players,
            "drums": "yes" if found.drums else "no",
            "bars": f"{found.bars} ({found.seconds:.1f} s)",
            "dynamics": f"velocity {found.dynamics}",
            "seed": str(found.seed),
        }
        lines = []
        for name, value in values.items():
            reasons = [f"stated: {self.stated[name]}"] if name in self.stated else []
            reasons += [f"assumed: {self.assumed[name]}"] if name in self.assumed else []
            lines.append(f"{name}: {value}" + (f" ({'; '.join(reasons)})" if reasons else ""))
        if self.unknown:
            lines.append("not understood: " + ", ".join(self.unknown))
        return lines + [f"note: {note}" for note in self.notes]


def parse(
    text: str,
    *,
    key: Key | str | None = None,
    tempo: float | None = None,
    meter: Meter | str | None = None,
    instruments: str | Sequence[str | int] | None = None,
    bars: int | None = None,
    seconds: float | None = None,
    style: str | None = None,
    mood: str | None = None,
    dynamics: int | str | None = None,
    seed: int | None = None,
    drums: bool | None = None,
    model: str = "transformer",
) -> Plan:
    """The plan of a prompt of at most 2,000 characters; an option that is not None replaces what the words say of it.

    What is left open is chosen by style and mood; ``seed`` (0 when not stated) picks inside ranges, so that the same
    text, options and seed give the same plan.

    Raises:
        InputError: the prompt is empty or too long, nothing in it is understood, two hard attributes contradict each
            other ("a waltz in 4/4", two keys, two tempi), a value is out of range, or an option is not understood.
    """
    if len(text) > MAX_CHARACTERS:
        raise InputError(f"the prompt has {len(text)} characters; at most {MAX_CHARACTERS} are read")
    if odd := _ODD_NUMBER.search(text):
        raise InputError(f"the prompt's number {odd[0]!r} cannot be read; write a plain one, as 4 or 4.5")
    options = {
        name: value
        for name, value in {
            "key": Key.parse(key) if isinstance(key, str) else key,
            "tempo": tempo,
            "meter": Meter.parse(meter) if isinstance(meter, str) else meter,
            "instruments": None if instruments is None else instruments_option(instruments),
            "bars": bars,
            "seconds": seconds,
            "style": None if style is None else _style_option(style),
            "mood": None if mood is None else _mood_option(mood),
            "dynamics": _dynamics_option(dynamics) if isinstance(dynamics, str) else dynamics,
            "seed": seed,
            "drums": drums,
        }.items()
        if value is not None
    }
    scanner = Scanner(text)
    items = scanner.items()
    understood = any(item.kind not in ("unknown", "stop", "first", "last", "seed") for item in items)
    if not understood and not set(options) - {"seed"}:
        unknown = [item.words for item in items if item.kind == "unknown"]
        if not items:
            raise InputError("the prompt is empty; write for example 'a slow waltz in G major for flute and piano'")
        about = (
            f"nothing in the prompt is understood: {', '.join(unknown[:8])[:200]}"
            if unknown
            else "the prompt says nothing"
        )
        raise InputError(f"{about}; name for example a style, a mood, a key or instruments")
    return _Reading(scanner.text, items, options, model).plan()


def instruments_option(value: str | Sequence[str | int]) -> tuple[tuple[int | str, ...], bool]:
    """Programs of "flute, 2 violins, drums" or ["flute", 0], and whether drums play; the style decides generic names.

    Raises:
        InputError: a name that is no instrument, or a program outside 0 to 127.
    """
    names = re.split(r"\s*(?:[,;+/&|、]|\band\b|和)\s*", normalised(value)) if isinstance(value, str) else list(value)
    programs: list[int | str] = []
    drums = False
    for name in names:
        if isinstance(name, str) and re.fullmatch(r"[0-9]{1,3}", name.strip()):
            name = int(name)
        if isinstance(name, int):
            if not 0 <= name <= 127:
                raise InputError(f"instrument program {name} is outside 0 to 127")
            programs.append(name)
            continue
        low = lowered(normalised(name))
        count, rest = 1, low
        if (
            match := re.match(r"(\d{1,2}|[a-z]+|[一二两三四五六七八九十]+)[ 把支架台个只件名位]*(?=\S)", low)
        ) and not look_up_all(low):
            value_of = number(match[1])
            if value_of is not None and 1 <= value_of <= MAX_INSTRUMENTS:
                count, rest = int(value_of), low[match.end() :]
        found = look_up_all(rest)
        if found is None:
            raise InputError(f"{name!r} is not an instrument that is known{_suggestion(low, ('instrument', 'drums'))}")
        kind, entry = found
        drums |= kind in ("drums", "drummed")
        programs += [] if kind == "drums" else list(entry) * count
    return tuple(programs), drums


def look_up_all(low: str) -> tuple[str, Any] | None:
    """Kind and value of an instrument's name that is the whole of a lowered text, or None."""
    found = look_up(low, 0)
    return found[1:] if found and found[0] == len(low) and found[1] in ("instrument", "drummed", "drums") else None


def _style_option(text: str) -> str:
    found = lexicon().get(lowered(normalised(text)).replace("-", " "))
    if not found or found[0] != "style":
        raise InputError(f"style {text!r} is unknown; known are {', '.join(STYLES)}")
    return str(found[1])


def _mood_option(text: str) -> str:
    found = lexicon().get(lowered(normalised(text)).replace("-", " "))
    if not found or found[0] != "mood":
        raise InputError(f"mood {text!r} is unknown; known are {', '.join(en.MOODS)}")
    return str(found[1])


def _dynamics_option(text: str) -> int:
    found = lexicon().get(lowered(normalised(text)).replace("-", " "))
    if not found or found[0] != "mark":
        raise InputError(f"dynamics {text!r} is unknown; write a velocity or one of ppp, pp, p, mp, mf, f, ff, fff")
    return int(found[1])


def _suggestion(word: str, kinds: tuple[str, ...] = ()) -> str:
    if len(word) < 4 or not word.isascii():
        return ""
    words = [
        alias for alias, (kind, _) in lexicon().items() if (kind in kinds if kinds else kind not in ("stop", "first"))
    ]
    near = difflib.get_close_matches(word, words, 1, 0.75)
    return f"; did you mean {near[0]!r}?" if near else ""


def _quoted(items: Sequence[Item]) -> str:
    return ", ".join(dict.fromkeys(item.words for item in items))


class _Reading:
    """Decides every attribute in turn: by the options, else by the words, else by what style and mood suggest."""

    def __init__(self, text: str, items: list[Item], options: dict[str, Any], model: str) -> None:
        self.text = text
        self.items = items
        self.options = options
        self.model = model
        self.stated: dict[str, str] = {}
        self.assumed: dict[str, str] = {}
        self.notes: list[str] = []
        self.form_style: Style | None = None  # a form beside a genre: the waltz of a jazz waltz
        self.seed = int(self.hard("seed", self.of("seed"), "seeds") or 0)
        if "seed" not in self.stated:
            self.assumed["seed"] = "none given"

    def plan(self) -> Plan:
        unknown = tuple(dict.fromkeys(item.words for item in self.of("unknown")))
        for word in unknown:
            if suggestion := _suggestion(lowered(word)):
                self.notes.append(f"{word!r} was not understood{suggestion}")
        self.moods = self.moods_named()
        mood = self.moods[0] if self.moods else None
        wanted = self.instruments_named()
        style = self.style_named(wanted)
        meter = self.meter(style)
        programs, drums = self.players(style, wanted)
        key = self.key(style)
        self.decades()
        tempo, bars = self.tempo_and_bars(style, meter)
        attributes = Attributes(
            key, tempo, meter, programs, drums, style.name, mood, bars, self.dynamics(), self.seed, self.model
        )
        return Plan(attributes, self.stated, self.assumed, unknown, tuple(dict.fromkeys(self.notes)))

    def of(self, *kinds: str) -> list[Item]:
        return [item for item in self.items if item.kind in kinds]

    def pick(self, name: str, low: float, high: float) -> float:
        """A value in [low, high) that depends on the seed and the attribute's name alone."""
        digest = hashlib.sha256(f"{self.seed}:{name}".encode()).digest()
        return low + (high - low) * int.from_bytes(digest[:6], "big") / 2**48

    def hard(self, name: str, items: Sequence[Item], plural: str) -> Any:
        """The one value that items agree on, or the option that replaces it; None where there is neither."""
        if name in self.options:
            self.stated[name] = "by option"
            if items and any(item.value != self.options[name] for item in items):
                self.notes.append(f"the option for {name} replaces {_quoted(items)!r}")
            return self.options[name]
        if not items:
            return None
        if len({item.value for item in items}) > 1:
            raise InputError(f"the prompt names two {plural}, {_two(items)}; give one")
        self.stated[name] = _quoted(items)
        return items[0].value

    def moods_named(self) -> list[str]:
        items = self.of("mood")
        if "mood" in self.options:
            return [str(self.hard("mood", items, "moods"))]
        moods = list(dict.fromkeys(item.value for item in items))
        if moods:
            self.stated["mood"] = _quoted(items)
            clash = [m for m in moods if {en.MOODS[m].major, en.MOODS[moods[0]].major} == {0, 1}]
            if clash:
                self.notes.append(
                    f"the moods {moods[0]!r} and {clash[0]!r} pull apart: key and mood follow {moods[0]!r}"
                )
        return moods

    def style_named(self, wanted: tuple[tuple[int | str, ...] | None, bool | None]) -> Style:
        items = self.of("style", "near", "form")
        items = [Item("style", "blues", i.words, i.start, i.end) if i.kind == "form" else i for i in items]
        if "style" in self.options:
            return STYLES[self.hard("style", items, "styles")]
        for item in items:
            if item.kind == "near":
                self.notes.append(
                    f"{item.words!r} is not among the styles; {item.value} is the nearest and is composed"
                )
        if not items:
            name, reason = self.style_guessed(*wanted)
            self.assumed["style"] = f"no style named, {reason}"
            return STYLES[name]
        self.stated["style"] = _quoted(items)
        particular = [item for item in items if item.value not in _GENERAL] or items
        genres = self.last_of([item for item in particular if item.value in _GENRES])
        forms = self.last_of([item for item in particular if item.value not in _GENRES])
        chosen = genres or forms
        if genres and forms:
            self.form_style = STYLES[forms.value]
            self.notes.append(
                f"{forms.words!r} beside {genres.words!r}: metre and tempo of the first, style of the second"
            )
        assert chosen is not None
        left = [item for item in items if item.value in _GENERAL and item.value != chosen.value]
        if left:
            self.notes.append(f"{left[0].words!r} beside {chosen.words!r}: the style is {chosen.value}")
        return STYLES[chosen.value]

    def last_of(self, items: list[Item]) -> Item | None:
        """The one style of a kind; of two that stand side by side ("blues rock") the last; else they contradict."""
        for first, second in pairwise(items):
            if first.value == second.value:
                continue
            between = [item for item in self.items if first.end <= item.start < second.start]
            shared = set(STYLES[first.value].meters) & set(STYLES[second.value].meters)
            if between or second.start - first.end > 1 or not shared:
                raise InputError(f"the prompt names two styles, {_two([first, second])}; give one")
            self.notes.append(f"{first.words!r} beside {second.words!r}: the style is {second.value}")
        return items[-1] if items else None

    def style_guessed(self, programs: tuple[int | str, ...] | None, drums: bool | None) -> tuple[str, str]:
        families = {program // 8 for program in programs or () if isinstance(program, int)}
        names = {program for program in programs or () if isinstance(program, str)}
        for item in self.of("drummed"):
            name = "march" if "march" in lowered(item.words) else "rock" if "power" in lowered(item.words) else "jazz"
            return name, f"by {item.words!r}"
        if {29, 30} & set(programs or ()):
            return "rock", "by the distorted guitar"
        if families & {10, 11, 12} or "synth" in names:
            calm = set(self.moods) & {"calm", "dreamy", "sad", "lonely"}
            return ("ambient" if calm else "electronic"), "by the synthesiser"
        if drums or families & {4} or names & {"bass", "electric guitar"}:
            return "pop", "by the rhythm section"
        if families & {0, 2, 5, 6, 7, 8} or "organ" in names:
            return "classical", "by the instruments"
        return "folk", "the commonest"

    def meter(self, style: Style) -> Meter:
        items = self.of("meter")
        given = self.hard("meter", items, "metres")
        for owner in (style, self.form_style):
            by_words = "meter" not in self.options and "style" not in self.options
            if owner and owner.fixed and given and given not in owner.meters:
                usual = " or ".join(meter.name for meter in owner.meters)
                if by_words:
                    raise InputError(f"a {owner.name} is in {usual}, not in {given.name} as {_quoted(items)!r} says")
                self.notes.append(f"a {owner.name} is usually in {usual}; the metre is {given.name}")
        if given:
            return Meter(given.numerator, given.denominator)
        source = self.form_style or style
        self.assumed["meter"] = f"usual for {source.name}"
        return source.meters[0]

    def key(self, style: Style) -> Key:
        keys, tonics, modes = self.of("key"), self.of("tonic"), self.of("mode")
        if "key" in self.options:
            given = self.hard("key", [*keys, *tonics], "keys")
            return Key(given.tonic, given.mode)
        if tonics and (keys or len({item.value for item in tonics}) > 1):
            # "clarinet in B flat" names the clarinet's pitch where another key is stated
            weak = [item for item in tonics if self.transposing(item)]
            weak = weak if keys or len(weak) < len(tonics) else []
            self.notes += [f"{item.words!r} is read as the pitch of the instrument before it" for item in weak]
            tonics = [item for item in tonics if item not in weak]
        named = {item.value for item in modes}
        if (
            len({item.value.tonic for item in keys} | {item.value for item in tonics}) > 1
            or len({item.value.mode for item in keys}) > 1
        ):
            raise InputError(f"the prompt names two keys, {_two([*keys, *tonics])}; give one")
        named |= {item.value.mode for item in keys}
        if len(named) > 1:
            raise InputError(f"the prompt names two modes, {_two([*keys, *modes])}; give one")
        if keys or tonics:
            self.stated["key"] = _quoted([*keys, *tonics, *modes])
            self.notes += [
                f"{item.words!r} is read as the key {item.value.name}" for item in keys if self.article(item)
            ]
            if not named:
                self.assumed["key"] = "a key without a mode is major"
            found = Key(keys[0].value.tonic if keys else tonics[0].value, named.pop() if named else "major")
            self.check_mood(found)
            return found
        mode, reason = self.mode_wanted(style)
        if named:
            mode, reason = named.pop(), f"the mode by {_quoted(modes)!r}"
            self.stated["key"] = _quoted(modes)
        tonics_usual = _TONICS[int(mode in ("minor", "dorian"))]
        found = Key(tonics_usual[int(self.pick("tonic", 0, len(tonics_usual)))], mode)
        if modes:
            self.check_mood(found)
        self.assumed["key"] = f"{reason}, the tonic by the seed"
        return found

    def article(self, item: Item) -> bool:
        """Whether the A of "a minor waltz" might be the article."""
        after = next((other for other in self.items if other.start >= item.end), None)
        might = re.fullmatch(r"a (?:major|minor)", item.words, re.IGNORECASE if item.start == 0 else 0)
        return bool(might) and after is not None and after.kind != "stop" and after.start - item.end == 1

    def mode_wanted(self, style: Style) -> tuple[str, str]:
        for mood in self.moods:
            if en.MOODS[mood].major is not None:
                return ("major" if en.MOODS[mood].major else "minor"), f"the mode by the mood {mood!r}"
        return ("major" if self.pick("mode", 0, 1) < style.major else "minor"), f"the mode by the style {style.name}"

    def check_mood(self, key: Key) -> None:
        for mood in self.moods:
            wanted = en.MOODS[mood].major
            if wanted is not None and wanted == int(key.is_minor):
                usual = "major" if wanted else "minor"
                self.notes.append(f"{mood!r} music is usually {usual}, but {key.name} is stated and kept")

    def transposing(self, item: Item) -> bool:
        before = [other for other in self.items if other.end <= item.start]
        return bool(before) and before[-1].kind == "instrument" and set(before[-1].value) & {
            *range(64, 72), 56, 59, 60, "sax"
        } != set()  # fmt: skip

    def instruments_named(self) -> tuple[tuple[int | str, ...] | None, bool | None]:
        """The programs and generic names asked for, and whether drums are; None where nothing is said."""
        drums, no_drums = self.of("drums", "drummed"), self.of("no_drums")
        wants: bool | None = None
        if "drums" in self.options:
            wants = bool(self.options["drums"])
            self.stated["drums"] = "by option"
            if (drums and not wants) or (no_drums and wants):
                self.notes.append(f"the option for drums replaces {_quoted(drums + no_drums)!r}")
        elif drums and no_drums:
            raise InputError(f"the prompt asks for drums and for none: {_two(drums + no_drums)}")
        elif drums or no_drums:
            wants = bool(drums)
            self.stated["drums"] = _quoted(drums + no_drums)
        items = self.of("instrument", "drummed")
        if "instruments" in self.options:
            programs, with_drums = self.options["instruments"]
            self.stated["instruments"] = "by option"
            if items:
                self.notes.append(f"the option for instruments replaces {_quoted(items)!r}")
            if with_drums and wants is None:
                wants, self.stated["drums"] = True, "by option"
            elif with_drums and not wants:
                self.notes.append("the option for drums replaces those among the instruments")
            if not programs and not with_drums:
                raise InputError("the option for instruments names none")
            return programs or None, wants
        if not items:
            return None, wants
        self.stated["instruments"] = _quoted(items)
        for item in items:
            if (low := lowered(item.words).split(" ", 1)[-1]) in _SUBSTITUTES or (
                low := lowered(item.words)
            ) in _SUBSTITUTES:
                name = usual_name(_SUBSTITUTES[low])
                self.notes.append(f"General MIDI has no {low}; {name} plays instead")
        for item, between, other in zip(self.items, self.items[1:], self.items[2:], strict=False):
            if item in items and other in items and lowered(between.words) in _OR:
                self.notes.append(f"{item.words!r} or {other.words!r}: both play")
        return tuple(self.ordered(self.without_roles(items))), wants

    def without_roles(self, items: list[Item]) -> list[Item]:
        """Without the part in "bass: tuba", and without the players that an ensemble's name lists behind it."""
        kept = [
            item
            for item, other in zip(items, [*items[1:], None], strict=True)
            if other is None
            or lowered(item.words) not in _PARTS
            or not _ROLE.fullmatch(self.text[item.end : other.start])
        ]
        ensemble, *others = kept
        if (
            others
            and len(set(ensemble.value)) > 1
            and _PLAYERS.fullmatch(self.text[ensemble.end : others[0].start])
            and not self.of("first", "last")
            and _are_among([player for item in others for player in item.value], ensemble.value)
        ):
            self.notes.append(f"{_quoted(others)!r} is read as players of the {ensemble.words!r}")
            return [ensemble]
        return kept

    def ordered(self, items: list[Item]) -> list[int | str]:
        """Programs in playing order: the melody's first, the accompaniment last; a mere repetition adds no player."""
        first: list[int | str] = []
        middle: list[int | str] = []
        last: list[int | str] = []
        content = [item for item in self.items if item.kind != "stop"]
        named = [item for item in content if item.kind != "unknown"]
        leads = [
            item
            if item in items
            and (role.start - item.end <= 1 or _PLAYS.fullmatch(lowered(self.text[item.end : role.start])))
            else other
            for item, role, other in zip([None, *named], named, [*named[1:], None], strict=False)
            if role.kind == "first"
        ]
        for place, item in enumerate(content):
            if item not in items:
                continue
            before = content[place - 1] if place else None
            after = content[place + 1] if place + 1 < len(content) else None
            # "violin, violin and viola" lists two violins; "flute and piano; the piano" names one piano twice
            listed = (
                before is not None
                and before.kind in ("instrument", "drums", "drummed")
                and _LISTED.fullmatch(lowered(self.text[before.end : item.start])) is not None
            )
            known = [*first, *middle, *last]
            new = list(item.value)
            if len(new) == 1 and new[0] in known and not listed:
                continue
            glued = after is not None and after.start - item.end <= 1
            if after is not None and glued and after.kind == "last":
                last += new
            elif item in leads:
                first += new
            else:
                middle += new
        return first + middle + last

    def players(
        self, style: Style, wanted: tuple[tuple[int | str, ...] | None, bool | None]
    ) -> tuple[tuple[int, ...], bool]:
        named, drums = wanted
        excluded = self.programs(style, [p for item in self.of("no_instrument") for p in item.value], note=False)
        if named is None:
            programs = [program for program in style.instruments if program not in excluded]
            programs = programs or [next(p for p in range(128) if p not in excluded)]
            self.assumed["instruments"] = f"usual for {style.name}"
            if excluded:
                self.stated["instruments"] = _quoted(self.of("no_instrument"))
        else:
            programs = self.programs(style, named, note=True)
            if both := set(programs) & set(excluded):
                raise InputError(f"the prompt asks for {usual_name(both.pop())} and for none")
        programs = self.counted(programs, bool(drums), named is None)
        if len(programs) > MAX_INSTRUMENTS:
            raise InputError(
                f"{len(programs)} instruments are named; at most {MAX_INSTRUMENTS} can play (drums not counted)"
            )
        if drums is None:
            drums = style.drums and named is None
            self.assumed["drums"] = f"usual for {style.name}" if named is None else "only the instruments named play"
        return tuple(programs), drums

    def programs(self, style: Style, names: Sequence[int | str], *, note: bool) -> list[int]:
        """Programs for generic names ("guitar") as the style has them."""
        found = []
        for name in names:
            if isinstance(name, int):
                found.append(name)
                continue
            found.append(en.GENERIC_BY_STYLE[name].get(style.name, en.GENERIC[name]))
            if note:
                self.assumed["instruments"] = "; ".join(
                    dict.fromkeys([*self.assumed.get("instruments", "").split("; "), f"{name} → {GM_NAMES[found[-1]]}"])
                ).lstrip("; ")
        return found

    def counted(self, programs: list[int], drums: bool, free: bool) -> list[int]:
        if solo := self.of("solo_drums"):
            raise InputError(f"{_quoted(solo)!r}: an instrument must play the melody beside the drums")
        items = self.of("count")
        if not items or "instruments" in self.options:
            return programs
        if len({item.value for item in items}) > 1 and min(item.value for item in items) > 1:
            raise InputError(f"the prompt names two sizes of ensemble, {_two(items)}; give one")
        count = int(max(item.value for item in items))
        if free and len(programs) >= count:
            self.stated["instruments"] = _quoted(items)
            return programs[:count]
        if len(programs) == 1 and count > 1 and not drums:
            return programs * count
        if count > 1 and count not in (len(programs), len(programs) + drums):
            self.notes.append(f"{_quoted(items)!r} means {count} players, but {len(programs)} play")
        return programs

    def decades(self) -> None:
        """Tell that "80s pop" is read as a length."""
        for item, after in pairwise(self.items):
            adjective = after.start - item.end == 1 and self.text[item.end] == " "
            named = after.kind in ("style", "near") or "synth" in lowered(after.words)
            if item.kind == "seconds" and _DECADE.fullmatch(lowered(item.words)) and adjective and named:
                self.notes.append(f"{item.words!r} is read as a length; decades are not known")

    def tempo_and_bars(self, style: Style, meter: Meter) -> tuple[float, int]:
        tempo = self.tempo_stated(meter)
        bars = self.bars_stated()
        seconds = self.seconds_stated()
        if bars is not None and seconds is not None and tempo is None:
            tempo = 60 * bars * meter.ticks / meter.tempo_unit / seconds
            if not MIN_TEMPO <= tempo <= MAX_TEMPO:
                raise InputError(f"{bars} bars in {seconds:g} s would need a tempo of {tempo:g}; it must be 20 to 300")
            self.assumed["tempo"] = f"{bars} bars in {seconds:g} s"
            return tempo, bars
        soft_low, soft_high, reason = self.tempo_range(style)
        if tempo is None:
            tempo = float(round(self.pick("tempo", soft_low, soft_high)))
            self.assumed["tempo"] = reason
        else:
            words = self.of("tempo_range", "tempo_word")
            if words and not soft_low / 1.15 <= tempo <= soft_high * 1.15:
                self.notes.append(
                    f"{_quoted(words)!r} is {soft_low:.0f} to {soft_high:.0f} BPM, but {tempo:g} is stated and kept"
                )
        bar_seconds = 60 * meter.ticks / meter.tempo_unit / tempo
        if seconds is not None:
            fitting = max(1, round(seconds / bar_seconds))
            if bars is not None and abs(bars * bar_seconds - seconds) > max(bar_seconds, 1.0):
                raise InputError(
                    f"{bars} bars at {tempo:g} BPM last {bars * bar_seconds:.1f} s, not {seconds:g} s; leave one out"
                )
            if fitting > MAX_BARS:
                raise InputError(
                    f"{seconds:g} s at {tempo:g} BPM is {fitting} bars; at most {MAX_BARS} can be composed"
                )
            bars = fitting if bars is None else bars
        return tempo, self.bars_assumed(style) if bars is None else bars

    def tempo_stated(self, meter: Meter) -> float | None:
        items = self.of("tempo")
        values = []
        for item in items:
            low, high, unit = item.value
            scale = 1.0 if unit is None else unit / meter.tempo_unit
            values.append(Item("tempo", (low * scale, high * scale), item.words, item.start, item.end))
        if "tempo" in self.options:
            given = float(self.options["tempo"])
            self.hard("tempo", [Item("tempo", i.value[0], i.words, i.start, i.end) for i in values], "tempi")
        else:
            span = self.hard("tempo", values, "tempi")
            if span is None:
                return None
            given = span[0] if span[0] == span[1] else float(round(self.pick("tempo", *span)))
        if not MIN_TEMPO <= given <= MAX_TEMPO:
            raise InputError(f"tempo {given:.10g} is outside {MIN_TEMPO:g} to {MAX_TEMPO:g} beats a minute")
        return given

    def tempo_range(self, style: Style) -> tuple[float, float, str]:
        """The range that soft words leave, the first word foremost, and why."""
        source = self.form_style or style
        low, high = source.tempo
        ranges: list[tuple[float, float, str]] = []
        for item in self.of("tempo_range"):
            ranges.append((*item.value, repr(item.words)))
        for item in self.of("tempo_word"):
            ranges.append((*_part(item.value, low, high), repr(item.words)))
        for mood in self.moods:
            ranges.append((*_part(en.MOODS[mood].tempo, low, high), f"the mood {mood!r}"))
        if not ranges:
            return low, high, f"usual for {source.name}"
        words = self.of("tempo_range", "tempo_word")
        soft_low, soft_high, reasons = ranges[0][0], ranges[0][1], [ranges[0][2]]
        for place, (other_low, other_high, reason) in enumerate(ranges[1:], 1):
            if other_low < soft_high and other_high > soft_low:
                soft_low, soft_high = max(soft_low, other_low), min(soft_high, other_high)
                reasons.append(reason)
            elif place < len(words):
                self.notes.append(f"{ranges[0][2]} and {reason} are different tempi: the first is kept")
        return max(soft_low, MIN_TEMPO), min(soft_high, MAX_TEMPO), " and ".join(reasons)

    def bars_stated(self) -> int | None:
        items = self.of("bars")
        if "bars" in self.options:
            given = self.hard("bars", items, "lengths")
        elif "seconds" in self.options:
            return None
        else:
            span = self.hard("bars", items, "lengths")
            if span is None:
                form = self.of("form")
                if not form or self.of("seconds"):
                    return None
                self.stated["bars"] = _quoted(form)
                span = (form[0].value, form[0].value)
            if span[0] != int(span[0]) or span[1] != int(span[1]):
                raise InputError(f"{self.stated['bars']!r}: bars must be a whole number")
            given = int(min(self.pick("bars", span[0], span[1] + 1), span[1]))
            if not 1 <= span[0] <= span[1] <= MAX_BARS:
                given = int(span[1]) if span[1] > MAX_BARS else int(span[0])
        if not 1 <= given <= MAX_BARS:
            raise InputError(f"{given} bars is outside 1 to {MAX_BARS}")
        self.check_length(given)
        return int(given)

    def seconds_stated(self) -> float | None:
        items = self.of("seconds")
        if "seconds" in self.options:
            self.stated["bars"] = "by option" if "bars" not in self.options else self.stated["bars"]
            given = float(self.options["seconds"])
        elif "bars" in self.options or not items:
            return None
        else:
            if len({item.value for item in items}) > 1:
                raise InputError(f"the prompt names two lengths, {_two(items)}; give one")
            given = self.pick("seconds", *items[0].value)
            self.stated["bars"] = ", ".join(filter(None, [self.stated.get("bars"), _quoted(items)]))
        if not 0 < given < float("inf"):
            raise InputError(f"a length of {given:g} s cannot be composed; it must be above 0")
        return given

    def check_length(self, bars: int) -> None:
        for item in self.of("length"):
            low, high = item.value
            if (low >= 64 and bars < 32) or (high <= 16 and bars > 32):
                self.notes.append(f"{item.words!r} would be {low} to {high} bars, but {bars} is stated and kept")

    def bars_assumed(self, style: Style) -> int:
        if items := self.of("length"):
            low, high = items[0].value
            if len({item.value for item in items}) > 1:
                self.notes.append(f"{_two(items)} are different lengths: the first is kept")
            self.assumed["bars"] = repr(items[0].words)
            return 4 * round(self.pick("bars", low, high) / 4)
        self.assumed["bars"] = f"usual for {style.name}"
        return {"blues": 24, "chorale": 16}.get(style.name, 32)

    def dynamics(self) -> int:
        marks, words = self.of("mark"), self.of("loudness")
        given = self.hard("dynamics", marks, "marks of loudness")
        if given is not None:
            if isinstance(given, bool) or not MIN_VELOCITY <= given <= MAX_VELOCITY:
                raise InputError(f"dynamics {given} is outside {MIN_VELOCITY} to {MAX_VELOCITY}")
            for item in words:
                if not item.value[0] - 12 <= given <= item.value[1] + 12:
                    self.notes.append(f"{item.words!r} goes against the mark of loudness, which is kept")
            return int(given)
        if words:
            if len({item.value for item in words}) > 1:
                self.notes.append(f"{_two(words)} are different levels: the first is kept")
            self.stated["dynamics"] = words[0].words
            return round(self.pick("dynamics", *words[0].value))
        if self.moods:
            self.assumed["dynamics"] = f"the mood {self.moods[0]!r}"
            return round(self.pick("dynamics", *en.MOODS[self.moods[0]].dynamics))
        self.assumed["dynamics"] = "mezzo forte"
        return round(self.pick("dynamics", 72, 88))


def _are_among(players: Sequence[int | str], ensemble: Sequence[int | str]) -> bool:
    """Whether each player, by program or generic name, is another one of the ensemble."""
    left = list(ensemble)
    for player in players:
        may = {player, en.GENERIC[player], *en.GENERIC_BY_STYLE[player].values()} if player in en.GENERIC else {player}
        found = next((other for other in left if other in may), None)
        if found is None:
            return False
        left.remove(found)
    return True


def _part(part: tuple[float, float], low: float, high: float) -> tuple[float, float]:
    return low + part[0] * (high - low), low + part[1] * (high - low)


def _two(items: Sequence[Item]) -> str:
    """The words of the first two items whose values differ."""
    first = items[0]
    other = next((item for item in items[1:] if item.value != first.value), items[-1])
    return f"{first.words!r} and {other.words!r}"
