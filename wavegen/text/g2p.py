"""Letter to sound for words no dictionary has: a joint letter-phoneme n-gram, decoded by beam search.

The unit is the graphone, one letter with the zero, one or two phonemes it stands for; a word and its pronunciation are
one sequence of graphones, and the best sequence under a back-off n-gram model that spells the given letters is the
answer (M. Bisani, H. Ney, "Joint-sequence models for grapheme-to-phoneme conversion", Speech Communication 50, 2008).
``train_g2p.py`` makes the tables. They are an npz without objects:

- ``graphones`` (V, 3) uint8: letter and up to two phonemes as indices, 255 for none; rows 0 and 1: word start and end
- ``sizes`` (order,): how many n-grams of each order are kept
- ``tokens`` the last graphone of every n-gram, order after order, each order sorted by history, then by graphone
- ``children`` how many kept n-grams continue each n-gram
- ``logp``, ``backoff`` natural logarithms in steps of 1/8: minus log probability as uint8, back-off weight as int8
"""

import functools
import itertools
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wavegen.errors import InputError
from wavegen.text.symbols import PHONEMES

START, END, NONE = 0, 1, 255
STEPS = 8  # quantisation steps per nat
BEAM = 24
WIDTH = 8.0  # nats below the best hypothesis at which another is dropped
_UNSTRESSED_PENALTY = 20.0  # nats; only a word without a vowel ends without a primary stress


@dataclass(frozen=True)
class Tables:
    """The arrays of the file, as the module docstring lists them."""

    graphones: NDArray[np.uint8]
    sizes: NDArray[np.int64]
    tokens: NDArray[np.uint16]
    children: NDArray[np.uint16]
    logp: NDArray[np.uint8]
    backoff: NDArray[np.int8]


_Trail = tuple["_Trail", int] | None  # a hypothesis's graphones, last first
_Hypothesis = tuple[float, int, int, _Trail]  # log probability, n-gram it ends in, primary stresses, graphones


class LetterToSound:
    """Pronounces words spelled with a to z. Deterministic; about a millisecond a word."""

    def __init__(self, tables: Tables) -> None:
        vocabulary = len(tables.graphones)
        self._vocabulary = vocabulary
        self._logp: list[float] = (tables.logp / -STEPS).tolist()
        self._backoff: list[float] = (tables.backoff / STEPS).tolist()
        keys, suffixes = _links(tables, vocabulary)
        self._suffix: list[int] = suffixes.tolist()
        self._child: dict[int, int] = dict(zip(keys.tolist(), range(vocabulary, len(self._logp)), strict=True))
        self._sounds = [tuple(PHONEMES[i] for i in row[1:] if i != NONE) for row in tables.graphones.tolist()]
        self._spellings: dict[str, list[tuple[int, int]]] = {}  # letter: its graphones, each with its primary stresses
        for token, (letter, *_) in enumerate(tables.graphones.tolist()):
            if letter != NONE:
                stresses = sum(sound.endswith("1") for sound in self._sounds[token])
                self._spellings.setdefault(chr(ord("a") + letter), []).append((token, stresses))

    @classmethod
    def load(cls, path: Path | None = None) -> "LetterToSound":
        """The model in the npz at ``path``, or the shipped one. InputError for a file that is not such a model."""
        source = path or resources.files("wavegen.text") / "data" / "g2p.npz"
        try:
            with source.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                return cls(Tables(**{name: arrays[name] for name in Tables.__dataclass_fields__}))
        except (KeyError, ValueError, EOFError, OSError) as error:
            raise InputError(f"{source}: not a letter-to-sound model ({error})") from error

    def pronounce(self, word: str, beam: int = BEAM) -> tuple[str, ...]:
        """The phonemes of ``word`` (a to z, at least one letter), with exactly one primary stress if it has a vowel."""
        hypotheses: list[_Hypothesis] = [(0.0, START, 0, None)]
        for letter in word:
            reached: dict[tuple[int, int], _Hypothesis] = {}
            for score, node, stresses, trail in hypotheses:
                for token, stressed in self._spellings[letter]:
                    if stressed and stresses:
                        continue
                    after, logp = self._advance(node, token)
                    total = score + logp
                    state = after, stresses + stressed
                    rival = reached.get(state)
                    if rival is None or total > rival[0]:
                        reached[state] = total, *state, (trail, token)
            ranked = sorted(reached.values(), key=_score, reverse=True)[:beam]
            hypotheses = [h for h in ranked if h[0] > ranked[0][0] - WIDTH]
        *_, trail = max(hypotheses, key=self._final_score)
        return tuple(sound for token in _tokens(trail) for sound in self._sounds[token])

    def _final_score(self, hypothesis: _Hypothesis) -> float:
        score, node, stresses, _ = hypothesis
        return score + self._advance(node, END)[1] - (0.0 if stresses else _UNSTRESSED_PENALTY)

    def _advance(self, node: int, token: int) -> tuple[int, float]:
        """The n-gram that follows ``node`` with ``token``, and log P(token | node), backing off as far as it must."""
        logp = 0.0
        child = self._child.get(node * self._vocabulary + token)
        while child is None:
            logp += self._backoff[node]
            node = self._suffix[node]
            if node < 0:
                return token, logp + self._logp[token]
            child = self._child.get(node * self._vocabulary + token)
        return child, logp + self._logp[child]


def _links(tables: Tables, vocabulary: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The key ``history * V + token`` of every n-gram from the bigrams on, and for all the n-gram one token shorter."""
    histories = np.repeat(np.arange(len(tables.children), dtype=np.int64), tables.children)
    keys = histories * vocabulary + tables.tokens[vocabulary:].astype(np.int64)
    suffixes = np.full(len(tables.tokens), -1, dtype=np.int64)
    bounds = np.cumsum([0, *tables.sizes.tolist()])
    for begin, end in itertools.pairwise(bounds[1:]):
        shorter = suffixes[histories[begin - vocabulary : end - vocabulary]]
        tokens = tables.tokens[begin:end].astype(np.int64)
        found = vocabulary + np.searchsorted(keys, shorter * vocabulary + tokens)
        suffixes[begin:end] = np.where(shorter < 0, tokens, found)
    return keys, suffixes


def _score(hypothesis: _Hypothesis) -> float:
    return hypothesis[0]


def _tokens(trail: _Trail) -> list[int]:
    tokens: list[int] = []
    while trail is not None:
        trail, token = trail
        tokens.append(token)
    return tokens[::-1]


@functools.cache
def shipped() -> LetterToSound:
    """The model that comes with the package, loaded once."""
    return LetterToSound.load()
