"""Text to what is spoken: a list of sentences as phonemes, and the pauses asked for between them."""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from wavegen.errors import InputError
from wavegen.text import characters, markup, normalize, pronounce, sentences
from wavegen.text.normalize import MARK
from wavegen.text.symbols import PUNCTUATION, WORD

LONGEST = 250  # symbols in an utterance

_TOKEN = re.compile(rf"[A-Za-z']+|{MARK}|[,.?!]")


@dataclass(frozen=True)
class Utterance:
    """One sentence, or a part of a long one: as written, and as at most 250 symbols of ``symbols.py``."""

    text: str
    phonemes: tuple[str, ...]


@dataclass(frozen=True)
class Pause:
    """Silence of ``seconds``, above 0 and at most 60, asked for by ``[pause:1.5s]``."""

    seconds: float


def analyse(text: str) -> list[Utterance | Pause]:
    """The sentences and pauses of ``text`` in order; at least one sentence.

    Raises InputError if the text is empty or has nothing that is spoken, holds letters of another script (emoji and
    ornaments are passed over in silence), or has a faulty ``[[pronunciation]]`` or ``[pause:...]``.
    """
    found: list[Utterance | Pause] = []
    stretch = _Marked()
    for part in markup.parse(_checked(text)):
        if isinstance(part, float):
            found.extend(stretch.utterances())
            if part > 0.0:
                found.append(Pause(part))
            stretch = _Marked()
        else:
            stretch.add(part)
    found.extend(stretch.utterances())
    if not any(isinstance(item, Utterance) for item in found):
        raise _nothing_in(text)
    return found


def phonemize(sentence: str) -> tuple[str, ...]:
    """The symbols of ``sentence``: phonemes, WORD between words, and , . ? ! straight after the word they follow.

    Raises InputError as ``analyse`` does, and for a ``[pause:...]``, which no single sentence can hold.
    """
    marked = _Marked()
    for part in markup.parse(_checked(sentence)):
        if isinstance(part, float):
            raise InputError("a sentence to phonemize cannot hold a [pause:...]")
        marked.add(part)
    phonemes = _phonemes(marked.text, marked.given)
    if not phonemes:
        raise _nothing_in(sentence)
    return phonemes


class _Marked:
    """A stretch of text without pauses, with MARK in the place of every given pronunciation."""

    def __init__(self) -> None:
        self.text = ""
        self.given: list[markup.Said] = []

    def add(self, part: str | markup.Said) -> None:
        if isinstance(part, markup.Said):
            self.given.append(part)
            self.text += MARK
        else:
            self.text += part

    def utterances(self) -> Iterator[Utterance]:
        used = 0
        for sentence in sentences.split_sentences(self.text):
            given = self.given[used : used + sentence.count(MARK)]
            used += len(given)
            yield from _utterances(sentence, given)


def _checked(text: str) -> str:
    if MARK in text:
        raise InputError(f"the text holds {characters.named(MARK)}, which English speech cannot say")
    return text


def _utterances(sentence: str, given: Sequence[markup.Said]) -> Iterator[Utterance]:
    """One utterance, or, where the sentence comes to too many symbols, those of its parts."""
    phonemes = _phonemes(sentence, given)
    if len(phonemes) <= LONGEST:
        if phonemes:
            written = iter(given)
            yield Utterance(re.sub(MARK, lambda _: next(written).source, sentence), phonemes)
        return
    used = 0
    for piece in sentences.pieces(sentence, max(1, 2 * len(sentence) // 3)):
        part = given[used : used + piece.count(MARK)]
        used += len(part)
        yield from _utterances(piece, part)


def _phonemes(text: str, given: Sequence[markup.Said]) -> tuple[str, ...]:
    tokens = _TOKEN.findall(" ".join(normalize.spoken_sentences(characters.plain(text, keep=MARK))))
    said = iter(given)
    sounds: list[tuple[str, ...]] = []
    for in_clause, clause in itertools.groupby(tokens, key=lambda token: token not in PUNCTUATION):
        if in_clause:
            words = list(clause)
            sounds += [
                next(said).phonemes if word == MARK else pronounce.word_in_context(words, place)
                for place, word in enumerate(words)
            ]
    words = [token for token in tokens if token not in PUNCTUATION]
    for place, word in enumerate(words[:-1]):
        if word.lower() == "the":
            sounds[place] = ("DH", "IY0" if pronounce.starts_with_vowel(sounds[place + 1]) else "AH0")
    return _joined(tokens, sounds)


def _joined(tokens: Sequence[str], sounds: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    symbols: list[str] = []
    following = iter(sounds)
    for token in tokens:
        if token in PUNCTUATION:
            symbols.append(token)
        else:
            symbols += (WORD, *next(following)) if symbols else next(following)
    return tuple(symbols)


def _nothing_in(text: str) -> InputError:
    first = next((char for char in text if not char.isspace()), None)
    if first is None:
        return InputError("the text is empty: there is nothing to speak")
    if text.lower().lstrip().startswith("[pause"):
        return InputError("the text has nothing to speak, only pauses")
    return InputError(f"the text has nothing to speak, only signs such as {characters.named(first)}")
