"""Interim."""

import re
import unicodedata
from dataclasses import dataclass

from wavegen.errors import InputError
from wavegen.text import lexicon

_LTS = dict(zip("abcdefghijklmnopqrstuvwxyz", "AE1|B|K|D|EH1|F|G|HH|IH0|JH|K|L|M|N|AO1|P|K|R|S|T|AH1|V|W|K S|IY0|Z".split("|")))
_ABBR = {"mr": "mister", "mrs": "missus", "dr": "doctor", "st": "saint", "lt": "lieutenant", "etc": "et cetera", "no": "number"}


@dataclass(frozen=True)
class Utterance:
    text: str
    phonemes: tuple[str, ...]


@dataclass(frozen=True)
class Pause:
    seconds: float


def _word(word: str) -> tuple[str, ...]:
    found = lexicon.pronunciation(word)
    if found:
        return found
    for cut in range(len(word) - 2, 2, -1):
        a, b = lexicon.pronunciation(word[:cut]), lexicon.pronunciation(word[cut:].strip("'"))
        if a and b:
            return a + b
    return tuple(p for c in word if c in _LTS for p in _LTS[c].split())


def phonemize(sentence: str) -> tuple[str, ...]:
    text = unicodedata.normalize("NFKD", sentence.replace("’", "'"))
    text = "".join(c for c in text if not unicodedata.combining(c))
    text = re.sub(r"\b(Mr|Mrs|Dr|St|Lt|etc)\.", lambda m: _ABBR[m[1].lower()], text)
    text = re.sub(r"\b([A-Za-z])\.(?=[A-Za-z]\.)", r"\1 ", text)
    text = re.sub(r"[-]", " ", text.replace("--", ", "))
    text = re.sub(r"[:;]", ", ", text).lower()
    out: list[str] = []
    for word, mark in re.findall(r"([a-z][a-z']*)|([,.?!])", text):
        if word:
            phones = _word(word)
            if phones:
                out += ([" "] if out else []) + list(phones)
        elif out and out[-1] not in ",.?!":
            out.append(mark)
    if not out:
        raise InputError("nothing to speak")
    return tuple(out)


def analyse(text: str) -> list[Utterance | Pause]:
    return [Utterance(s, phonemize(s)) for s in re.split(r"(?<=[.?!])\s+", text.strip())]
