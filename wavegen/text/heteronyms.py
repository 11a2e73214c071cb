"""Which pronunciation of a word that has several, by the words around it in its clause (from mark to mark).

The rules, in order:

1. A word with a rule of its own (``read``, ``lead``, ``live``, ``wind``, ``close`` ...) follows that rule.
2. A word of two stresses (``RECord`` the noun, ``reCORD`` the verb) or of two endings (``an estimAHT``, ``to
   estimEYT``) is a verb after "to", an auxiliary or a subject pronoun, with or without an adverb in -ly between;
   a noun or adjective after a determiner, a preposition or a form of "be"; else a verb before a determiner or an
   object pronoun; else what it mostly is. Its form in -s is a verb after "he", "she", "it" and "who", else likewise.
3. Any other word has the dictionary's first pronunciation.
"""

from collections.abc import Callable, Sequence

from wavegen.text import lexicon

Phonemes = tuple[str, ...]


def _words(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


_AUXILIARIES = _words(
    "to will would can could shall should may might must do does did don't won't can't cannot couldn't "
    "didn't doesn't wouldn't shouldn't mustn't let's please not i'll you'll he'll she'll we'll they'll "
    "it'll i'd you'd he'd she'd we'd they'd never always often help"
)
_SUBJECTS = _words("i you we they who")
_THIRD_PERSONS = _words("he she it who which that")
_DETERMINERS = _words(
    "a an the this these those my your his her its our their no some any each every another whose what "
    "which one two three four five six seven eight nine ten many few several all both such more most "
    "first second third last next new old good great"
)
_PREPOSITIONS = _words("of in on at by for from with without under over into as between during about through per")
_BE = _words("am is are was were be been being isn't aren't wasn't weren't i'm you're he's she's it's we're they're")
_HAVE = _words("have has had having haven't hasn't hadn't i've you've we've they've")
_OBJECTS = _words("the a an this that these those my your his her its our their him them it us me himself themselves")
_PAST_CUES = _words("yesterday ago last once then had was were did when before after earlier previously")

_NOUNS = _words(
    "record object present project permit conduct conflict contest contract convict digest escort extract "
    "import increase decrease insult impact progress protest rebel subject suspect survey transfer transport "
    "compound compact console defect detail discount incline segment attribute addict ally construct contrast "
    "converse exploit implant pervert recall refund torment upgrade ferment insert reject advocate alternate "
    "appropriate associate delegate deliberate duplicate elaborate estimate graduate intimate moderate "
    "approximate articulate degenerate subordinate aggregate animate combine"
)
_VERBS = _words(
    "combine convert refuse transport transfer import reject construct ferment"
)  # mostly verbs where nothing else tells


def pronounce(words: Sequence[str], place: int) -> Phonemes | None:
    """The phonemes of ``words[place]`` (lower-case, or capital as written), or None if the dictionary lacks it."""
    word = words[place].lower()
    rule = _RULES.get(word)
    if rule:
        return rule(_Context(words, place))
    stem = word.removesuffix("s")
    if word in _NOUNS | _VERBS or (stem in _NOUNS | _VERBS and lexicon.pronunciation(word, 2)):
        return _noun_or_verb(word, _Context(words, place))
    return lexicon.pronunciation(word)


class _Context:
    """The lower-case words before and after one word; "" beyond the clause's ends."""

    def __init__(self, words: Sequence[str], place: int) -> None:
        self._words = words
        self._place = place

    def at(self, offset: int) -> str:
        place = self._place + offset
        return self._words[place].lower() if 0 <= place < len(self._words) else ""

    @property
    def capital(self) -> bool:
        return self._place > 0 and self._words[self._place][0].isupper()

    @property
    def starts(self) -> bool:
        return self._place == 0

    def any(self, words: frozenset[str]) -> bool:
        return any(word.lower() in words for word in self._words)

    @property
    def after_verb_cue(self) -> bool:
        before = self.at(-1)
        if before.endswith("ly"):
            before = self.at(-2)
        return before in _AUXILIARIES or before in _SUBJECTS

    @property
    def after_noun_cue(self) -> bool:
        before = self.at(-1)
        return before in _DETERMINERS or before in _PREPOSITIONS or before.endswith("'s")

    @property
    def before_object(self) -> bool:
        return self.at(1) in _OBJECTS


def _noun_or_verb(word: str, context: _Context) -> Phonemes | None:
    ways = [way for i in range(1, 5) if (way := lexicon.pronunciation(word, i))]
    bare = [way[:-1] if word.endswith("s") else way for way in ways]
    nouns = [way for way, stem in zip(ways, bare, strict=True) if _is_nominal(stem)]
    verbs = [way for way in ways if way not in nouns]
    if not (nouns and verbs):
        return ways[0] if ways else None
    return verbs[0] if _is_verb(word, context) else nouns[0]


def _is_nominal(way: Phonemes) -> bool:
    """Stressed on its first vowel, or ending in an unstressed -ate."""
    if "".join(way[-2:]) in ("EY2T", "EY0T", "EY1T"):
        return False
    if way[-2:] in (("AH0", "T"), ("IH0", "T")):
        return True
    return next(sound for sound in way if sound[-1] in "012").endswith("1")


def _is_verb(word: str, context: _Context) -> bool:
    third_person = word.endswith("s") and word not in _NOUNS | _VERBS
    if third_person:
        return context.at(-1) in _THIRD_PERSONS or (context.before_object and not context.after_noun_cue)
    if context.after_verb_cue:
        return True
    if context.after_noun_cue or context.at(-1) in _BE:
        return False
    return context.before_object or word in _VERBS


def _choice(first: str, otherwise: str, test: Callable[[_Context], bool]) -> Callable[[_Context], Phonemes]:
    """A rule: the pronunciation ``first`` where ``test`` holds, else the other."""
    ways = tuple(first.split()), tuple(otherwise.split())
    return lambda context: ways[0] if test(context) else ways[1]


def _next_in(words: str) -> Callable[[_Context], bool]:
    listed = frozenset(words.split())
    return lambda context: context.at(1) in listed


_LEAD_THINGS = _next_in("pipe pipes paint poisoning bullet bullets shot pencil pencils weight weights acid ore mines")
_LIVE_THINGS = _next_in(
    "music show shows concert concerts performance performances audience audiences broadcast broadcasts coverage "
    "stream streaming wire wires ammunition event events video chat band recording recordings tv television animals"
)
_TINY = _next_in("detail details amount amounts particle particles quantity quantities difference differences changes")
_POLES = _next_in("people language government army border capital jews immigrants zloty president")
_SHOWN = _words(
    "go goes going went broadcast broadcasting streamed streaming recorded performed performing aired a the"
)
_FISH = _words("fish fishing caught sea striped largemouth smallmouth lake river")
_PARTICLES = _words("down up apart off out open away at into through")
_FEELINGS = _BE | _words("feel feels felt seem seems seemed remain remained perfectly quite very")
_SAVED = _words("save saved saving lost human people's private whose and")


def _read_is_past(c: _Context) -> bool:
    before = c.at(-1)
    if before in _HAVE | _BE | _THIRD_PERSONS or (before.endswith("ly") and c.at(-2) in _HAVE | _BE):
        return True
    if c.starts or before in _AUXILIARIES or before in _DETERMINERS:
        return False
    return before not in _SUBJECTS or c.any(_PAST_CUES)


def _lead_is_metal(c: _Context) -> bool:
    return _LEAD_THINGS(c) or (c.at(-1) in {"molten", "of"} and c.at(1) in {"", "and", "or"})


def _live_is_adjective(c: _Context) -> bool:
    return not c.after_verb_cue and (_LIVE_THINGS(c) or c.at(-1) in _SHOWN | _BE)


def _lives_is_noun(c: _Context) -> bool:
    return c.after_noun_cue or c.at(-1) in _SAVED


def _wind_is_verb(c: _Context) -> bool:
    return (c.after_verb_cue or c.at(1) in {"up", "down"} or c.before_object) and not c.after_noun_cue


def _tear_is_verb(c: _Context) -> bool:
    return c.after_verb_cue or c.at(1) in _PARTICLES or (c.before_object and not c.after_noun_cue)


def _close_is_verb(c: _Context) -> bool:
    if c.at(1) in {"to", "by", "enough", "friend", "friends", "together"} and c.at(-1) != "to":
        return False
    return c.after_verb_cue or c.before_object or (c.at(-1) == "the" and c.at(1) in {"of", ""})


def _use_is_noun(c: _Context) -> bool:
    told = c.after_noun_cue or c.at(1) in {"of", "for", "is", "was"} or c.at(-1) in {"make", "made", "put"}
    return told and not c.after_verb_cue


def _uses_is_noun(c: _Context) -> bool:
    return c.after_noun_cue and c.at(-1) not in {"which", "what", "one"}


def _used_is_habit(c: _Context) -> bool:
    return c.at(1) == "to" and c.at(-1) not in {"is", "are", "be", "been", "being"}


def _house_is_verb(c: _Context) -> bool:
    return c.after_verb_cue and c.before_object


def _dove_is_verb(c: _Context) -> bool:
    return c.at(-1) in _SUBJECTS | _THIRD_PERSONS and c.at(1) in {"into", "in", "under", "down", "off", "for"}


def _bow_is_weapon(c: _Context) -> bool:
    return c.at(1) in {"tie", "ties"} or (c.at(1), c.at(2)) in {("and", "arrow"), ("and", "arrows")}


def _sow_is_pig(c: _Context) -> bool:
    return c.at(-1) in {"a", "the", "her", "his"}


def _invalid_is_person(c: _Context) -> bool:
    return c.at(-1) in {"an", "the"} and c.at(1) in {"", "who", "and"}


_RULES: dict[str, Callable[[_Context], Phonemes]] = {
    "read": _choice("R EH1 D", "R IY1 D", _read_is_past),
    "lead": _choice("L EH1 D", "L IY1 D", _lead_is_metal),
    "live": _choice("L AY1 V", "L IH1 V", _live_is_adjective),
    "lives": _choice("L AY1 V Z", "L IH1 V Z", _lives_is_noun),
    "wind": _choice("W AY1 N D", "W IH1 N D", _wind_is_verb),
    "winds": _choice("W AY1 N D Z", "W IH1 N D Z", lambda c: c.at(-1) in _THIRD_PERSONS or c.at(1) in {"up", "down"}),
    "wound": _choice("W AW1 N D", "W UW1 N D", _next_in("up around down round tightly")),
    "tear": _choice("T EH1 R", "T IH1 R", _tear_is_verb),
    "tears": _choice("T EH1 R Z", "T IH1 R Z", lambda c: c.at(-1) in _THIRD_PERSONS or c.at(1) in _PARTICLES),
    "close": _choice("K L OW1 Z", "K L OW1 S", _close_is_verb),
    "use": _choice("Y UW1 S", "Y UW1 Z", _use_is_noun),
    "uses": _choice("Y UW1 S IH0 Z", "Y UW1 Z IH0 Z", _uses_is_noun),
    "used": _choice("Y UW1 S T", "Y UW1 Z D", _used_is_habit),
    "house": _choice("HH AW1 Z", "HH AW1 S", _house_is_verb),
    "excuse": _choice("IH0 K S K Y UW1 S", "IH0 K S K Y UW1 Z", lambda c: c.after_noun_cue),
    "abuse": _choice("AH0 B Y UW1 Z", "AH0 B Y UW1 S", lambda c: c.after_verb_cue),
    "dove": _choice("D OW1 V", "D AH1 V", _dove_is_verb),
    "minute": _choice("M AY0 N UW1 T", "M IH1 N AH0 T", lambda c: _TINY(c) or c.at(-1) in {"very", "so", "extremely"}),
    "upset": _choice("AH1 P S EH2 T", "AH0 P S EH1 T", lambda c: c.at(-1) in {"an", "the", "big"}),
    "bow": _choice("B OW1", "B AW1", _bow_is_weapon),
    "bass": _choice("B AE1 S", "B EY1 S", lambda c: c.any(_FISH)),
    "sow": _choice("S AW1", "S OW1", _sow_is_pig),
    "polish": _choice("P OW1 L IH0 SH", "P AA1 L IH0 SH", lambda c: c.capital or _POLES(c)),
    "content": _choice("K AH0 N T EH1 N T", "K AA1 N T EH0 N T", lambda c: c.at(-1) in _FEELINGS),
    "desert": _choice("D IH0 Z ER1 T", "D EH1 Z ER0 T", lambda c: c.after_verb_cue),
    "resume": _choice("R EH1 Z AH0 M EY2", "R IH0 Z UW1 M", lambda c: c.after_noun_cue),
    "produce": _choice("P R OW1 D UW0 S", "P R AH0 D UW1 S", lambda c: c.after_noun_cue and not c.before_object),
    "perfect": _choice("P ER0 F EH1 K T", "P ER1 F IH2 K T", lambda c: c.after_verb_cue and c.before_object),
    "separate": _choice("S EH1 P ER0 EY2 T", "S EH1 P ER0 IH0 T", lambda c: c.after_verb_cue or c.before_object),
    "invalid": _choice("IH1 N V AH0 L IH0 D", "IH2 N V AE1 L AH0 D", _invalid_is_person),
}  # fmt: skip
