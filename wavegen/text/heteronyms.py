"""Which pronunciation of a word that has several, by the words around it.

The rules, in order:

1. A word with a rule of its own (``read``, ``lead``, ``live``, ``wind``, ``close`` ...) follows that rule.
2. A word of two stresses (``RECord`` the noun, ``reCORD`` the verb) or of two endings (``an estimAHT``, ``to
   estimEYT``) is a verb after "to", an auxiliary, a subject pronoun or an adverb in -ly; a noun or adjective after a
   determiner, a preposition or a form of "be"; else a verb before a determiner or an object pronoun; else what it
   mostly is. Its form in -s is a verb after "he", "she", "it" and "who", else likewise.
3. Any other word has the dictionary's first pronunciation.
"""

from collections.abc import Callable, Sequence

from wavegen.text import lexicon

Phonemes = tuple[str, ...]

_AUXILIARIES = frozenset(
    "to will would can could shall should may might must do does did don't won't can't cannot couldn't didn't doesn't "
    "wouldn't shouldn't mustn't let's please not i'll you'll he'll she'll we'll they'll it'll i'd you'd he'd she'd we'd "
    "they'd never always often help".split()
)
_SUBJECTS = frozenset("i you we they who".split())
_THIRD_PERSONS = frozenset("he she it who which that".split())
_DETERMINERS = frozenset(
    "a an the this these those my your his her its our their no some any each every another whose what which one two "
    "three four five six seven eight nine ten many few several all both such more most first second third last next new "
    "old good great".split()
)
_PREPOSITIONS = frozenset(
    "of in on at by for from with without under over into as between during about through per".split()
)
_BE = frozenset(
    "am is are was were be been being isn't aren't wasn't weren't i'm you're he's she's it's we're they're".split()
)
_HAVE = frozenset("have has had having haven't hasn't hadn't i've you've we've they've".split())
_OBJECTS = frozenset(
    "the a an this that these those my your his her its our their him them it us me himself themselves".split()
)
_PAST_CUES = frozenset("yesterday ago last once then had was were did when before after earlier previously".split())

_NOUNS = frozenset(
    "record object present project permit conduct conflict contest contract convict desert digest escort export extract "
    "import increase decrease insult impact perfect progress protest rebel subject suspect survey transfer transport "
    "compound compact console content defect detail discount incline segment attribute addict affix ally annex "
    "construct contrast converse exploit fragment implant overlap pervert prospect recall recap recount refund remake "
    "rewrite torment transplant update upgrade ferment intern misprint insert reject retake rerun upset advocate "
    "alternate appropriate associate delegate deliberate duplicate elaborate estimate graduate intimate moderate "
    "approximate articulate degenerate subordinate aggregate legitimate separate animate combine default research "
    "address finance collect invite".split()
)
_VERBS = frozenset("combine convert produce refuse invite collect address transport transfer import export reject "
                   "construct ferment".split())  # mostly verbs where nothing else tells  # fmt: skip


def pronounce(words: Sequence[str], place: int) -> Phonemes | None:
    """The phonemes of ``words[place]`` (lower-case, but with the capital of a name), or None if the dictionary lacks it."""
    word = words[place].lower()
    rule = _RULES.get(word)
    if rule:
        return rule(_Context(words, place))
    stem = word.removesuffix("s")
    if word in _NOUNS | _VERBS or (stem in _NOUNS | _VERBS and lexicon.pronunciation(word, 2)):
        return _noun_or_verb(word, _Context(words, place))
    return lexicon.pronunciation(word)


class _Context:
    """The lower-case words before and after one word; "" beyond the sentence's ends."""

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
        return before in _AUXILIARIES or before in _SUBJECTS or (before.endswith("ly") and self.at(-2) not in _BE)

    @property
    def after_noun_cue(self) -> bool:
        before = self.at(-1)
        return before in _DETERMINERS or before in _PREPOSITIONS or before.endswith("'s")

    @property
    def before_object(self) -> bool:
        return self.at(1) in _OBJECTS


def _noun_or_verb(word: str, context: _Context) -> Phonemes | None:
    ways = [way for i in range(1, 5) if (way := lexicon.pronunciation(word, i))]
    nouns = [way for way in ways if _is_nominal(way)]
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


def _is_past_read(c: _Context) -> bool:
    before = c.at(-1)
    if before in _HAVE | _BE | _THIRD_PERSONS or (before.endswith("ly") and c.at(-2) in _HAVE | _BE):
        return True
    if c.starts or before in _AUXILIARIES or before in _DETERMINERS:
        return False
    return before not in _SUBJECTS or c.any(_PAST_CUES)


_LEAD_THINGS = _next_in(
    "pipe pipes paint poisoning bullet bullets shot pencil pencils weight weights acid ore mine mines"
)
_LIVE_THINGS = _next_in(
    "music show shows concert concerts performance performances audience audiences broadcast broadcasts coverage stream "
    "streaming wire wires ammunition event events video chat band recording recordings from on tv television animals ones"
)
_SHOWN = frozenset(
    "go goes going went broadcast broadcasting streamed streaming recorded performed performing aired".split()
)
_FISH = frozenset("fish fishing caught sea striped largemouth smallmouth lake river".split())
_PARTICLES = frozenset("down up apart off out open away at into through".split())
_TINY = _next_in("detail details amount amounts particle particles quantity quantities difference differences changes")
_FEELINGS = _BE | frozenset("feel feels felt seem seems seemed remain remained perfectly quite very".split())
_POLES = _next_in("people language government army border capital jews immigrants zloty president air")


def _live_is_adjective(c: _Context) -> bool:
    if c.after_verb_cue:
        return False
    return _LIVE_THINGS(c) and c.at(1) not in {"from", "on"} or c.at(-1) in _SHOWN | {"a", "the"} | _BE


def _is_close_verb(c: _Context) -> bool:
    if c.at(1) in {"to", "by", "enough", "friend", "friends", "together"} and c.at(-1) != "to":
        return False
    return c.after_verb_cue or c.before_object or c.at(-1) == "the" and c.at(1) in {"of", ""}


def _is_use_noun(c: _Context) -> bool:
    return not c.after_verb_cue and (
        c.after_noun_cue or c.at(1) in {"of", "for", "is", "was"} or c.at(-1) in {"make", "made", "put"}
    )


def _is_tear_verb(c: _Context) -> bool:
    return c.after_verb_cue or c.at(1) in _PARTICLES or (c.before_object and not c.after_noun_cue)


def _is_wind_verb(c: _Context) -> bool:
    return (c.after_verb_cue or c.at(1) in {"up", "down"} or c.before_object) and not c.after_noun_cue


def _polish_is_nation(c: _Context) -> bool:
    return c.capital or _POLES(c)


def _is_noun_lives(c: _Context) -> bool:
    return c.after_noun_cue or c.at(-1) in {
        "save",
        "saved",
        "saving",
        "lost",
        "human",
        "people's",
        "private",
        "whose",
        "and",
    }


_RULES: dict[str, Callable[[_Context], Phonemes]] = {
    "read": _choice("R EH1 D", "R IY1 D", _is_past_read),
    "lead": _choice("L EH1 D", "L IY1 D", lambda c: _LEAD_THINGS(c) or c.at(-1) in {"molten", "of"}),
    "live": _choice("L AY1 V", "L IH1 V", _live_is_adjective),
    "lives": _choice("L AY1 V Z", "L IH1 V Z", _is_noun_lives),
    "wind": _choice("W AY1 N D", "W IH1 N D", _is_wind_verb),
    "winds": _choice("W AY1 N D Z", "W IH1 N D Z", lambda c: c.at(-1) in _THIRD_PERSONS or c.at(1) in {"up", "down"}),
    "wound": _choice("W AW1 N D", "W UW1 N D", lambda c: c.at(1) in {"up", "around", "down", "round", "tightly"}),
    "tear": _choice("T EH1 R", "T IH1 R", _is_tear_verb),
    "tears": _choice("T EH1 R Z", "T IH1 R Z", lambda c: c.at(-1) in _THIRD_PERSONS or c.at(1) in _PARTICLES),
    "close": _choice("K L OW1 Z", "K L OW1 S", _is_close_verb),
    "use": _choice("Y UW1 S", "Y UW1 Z", _is_use_noun),
    "uses": _choice("Y UW1 S IH0 Z", "Y UW1 Z IH0 Z", lambda c: c.after_noun_cue and c.at(-1) not in {"which", "what", "one"}),
    "used": _choice("Y UW1 S T", "Y UW1 Z D", lambda c: c.at(1) == "to" and c.at(-1) not in {"is", "are", "be", "been", "being"}),
    "house": _choice("HH AW1 Z", "HH AW1 S", lambda c: c.after_verb_cue and c.at(-1) not in {"not", "to"} or c.at(-1) == "to" and c.before_object),
    "excuse": _choice("IH0 K S K Y UW1 S", "IH0 K S K Y UW1 Z", lambda c: c.after_noun_cue),
    "abuse": _choice("AH0 B Y UW1 Z", "AH0 B Y UW1 S", lambda c: c.after_verb_cue),
    "dove": _choice("D OW1 V", "D AH1 V", lambda c: c.at(-1) in _SUBJECTS | _THIRD_PERSONS and c.at(1) in {"into", "in", "under", "down", "off", "for"}),
    "minute": _choice("M AY0 N UW1 T", "M IH1 N AH0 T", lambda c: _TINY(c) or c.at(-1) in {"very", "so", "extremely"}),
    "bow": _choice("B OW1", "B AW1", lambda c: c.at(1) in {"tie", "ties", "and"} and c.at(1) + c.at(2) != "andscrape"),
    "bass": _choice("B AE1 S", "B EY1 S", lambda c: c.any(_FISH)),
    "sow": _choice("S AW1", "S OW1", lambda c: c.at(-1) in {"a", "the", "her", "his"}),
    "polish": _choice("P OW1 L IH0 SH", "P AA1 L IH0 SH", _polish_is_nation),
    "content": _choice("K AH0 N T EH1 N T", "K AA1 N T EH0 N T", lambda c: c.at(-1) in _FEELINGS),
    "desert": _choice("D IH0 Z ER1 T", "D EH1 Z ER0 T", lambda c: c.after_verb_cue),
    "resume": _choice("R EH1 Z AH0 M EY2", "R IH0 Z UW1 M", lambda c: c.after_noun_cue),
    "produce": _choice("P R OW1 D UW0 S", "P R AH0 D UW1 S", lambda c: c.after_noun_cue and c.at(1) not in _OBJECTS),
    "perfect": _choice("P ER0 F EH1 K T", "P ER1 F IH2 K T", lambda c: c.after_verb_cue and c.before_object),
    "separate": _choice("S EH1 P ER0 EY2 T", "S EH1 P ER0 IH0 T", lambda c: c.after_verb_cue or c.before_object),
    "invalid": _choice("IH1 N V AH0 L IH0 D", "IH2 N V AE1 L AH0 D", lambda c: c.at(-1) in {"an", "the"} and c.at(1) in {"", "who", "and"}),
}  # fmt: skip
