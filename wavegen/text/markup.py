"""What a text may say about its own speech: ``[[HH AH0 L OW1]]`` for a pronunciation, ``[pause:500ms]`` for silence.

Words inside ``[[ ]]`` are parted by a bar: ``[[K AE1 T | S AE1 T]]``. A word without stress marks is stressed on its
first vowel; in a word with some, vowels without a mark are unstressed.
"""

import re
from dataclasses import dataclass

from wavegen.errors import InputError
from wavegen.text.symbols import CONSONANTS, VOWELS, WORD

LONGEST_PAUSE = 60.0  # seconds
_MOST_SYMBOLS = 200  # in one pronunciation: it must fit in an utterance

_TAG = re.compile(
    r"\[\[(?P<said>[^\[\]]*)\]\]|\[pause:(?P<pause>[^\[\]]*)\]|(?P<stray>\[\[|\]\]|\[pause\b)", re.IGNORECASE
)
_LENGTH = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+) ?(ms|s)", re.IGNORECASE)


@dataclass(frozen=True)
class Said:
    """A pronunciation given in the text: the tag as written, and its symbols, words parted by WORD."""

    source: str
    phonemes: tuple[str, ...]


def parse(text: str) -> list[str | Said | float]:
    """The text's parts in order: plain text (none empty), given pronunciations, and pauses in seconds.

    Raises InputError for a tag without its other half, an unknown symbol, an empty pronunciation or one of over 200
    symbols, and for a pause that is no length in s or ms or is longer than a minute; the message quotes it.
    """
    parts: list[str | Said | float] = []
    end = 0
    for match in _TAG.finditer(text):
        if match["stray"]:
            raise InputError(f"'{match['stray']}' in the text has no other half: {_near(text, match.start())!r}")
        if before := text[end : match.start()]:
            parts.append(before)
        parts.append(_seconds(match["pause"]) if match["said"] is None else Said(match[0], _symbols(match["said"])))
        end = match.end()
    if rest := text[end:]:
        parts.append(rest)
    return parts


def _near(text: str, place: int) -> str:
    return text[place : place + 30]


def _seconds(written: str) -> float:
    written = " ".join(written.split())
    match = _LENGTH.fullmatch(written)
    if not match:
        raise InputError(f"[pause:{written}] is not a length such as 500ms or 1.5s")
    seconds = float(match[1]) / (1000.0 if match[2].lower() == "ms" else 1.0)
    if seconds > LONGEST_PAUSE:
        raise InputError(f"[pause:{written}] is longer than {LONGEST_PAUSE:g} s")
    return seconds


def _symbols(written: str) -> tuple[str, ...]:
    written = " ".join(written.split())
    words = [_word(part.split(), written) for part in written.split("|")]
    if not all(words):
        raise InputError(f"[[{written}]] has a word without phonemes")
    symbols = [symbol for word in words for symbol in (WORD, *word)][1:]
    if len(symbols) > _MOST_SYMBOLS:
        raise InputError(
            f"a pronunciation of {len(symbols)} symbols is too long, at most {_MOST_SYMBOLS}: {written[:30]!r}"
        )
    return tuple(symbols)


def _word(symbols: list[str], written: str) -> list[str]:
    found: list[str] = []
    marked = any(symbol[-1] in "012" for symbol in symbols)
    stressed = marked
    for symbol in (s.upper() for s in symbols):
        if symbol in VOWELS:
            symbol, stressed = f"{symbol}{'0' if stressed else '1'}", True
        elif symbol not in CONSONANTS and not (symbol[:-1] in VOWELS and symbol[-1] in "012"):
            raise InputError(f"'{symbol}' in [[{written}]] is not an ARPAbet phoneme")
        found.append(symbol)
    return found
