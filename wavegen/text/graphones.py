"""Aligns spellings with pronunciations: each letter with zero, one or two phonemes, by expectation maximisation.

The model is P(phonemes | letter), every letter independent of the others; EM sums over all monotone alignments of a
word, then the Viterbi path gives each letter its phonemes (the one-letter case of M. Bisani, H. Ney, 2008, section 3).
Words of equal letter and phoneme counts are aligned together as arrays.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wavegen.text.symbols import PHONEMES

SOUNDS = len(PHONEMES)
CODES = 1 + SOUNDS + SOUNDS**2  # what a letter can stand for: nothing, a phoneme, two phonemes
LETTERS = 26
ITERATIONS = 8
_FIRST_GUESS = (0.2, 0.75, 0.05)  # for nothing, one and two phonemes: most letters have one

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class _Batch:
    """Words of one letter count L and phoneme count P, as graphone codes ``letter * CODES + sounds``."""

    none: Ints  # (words, L)
    one: Ints  # (words, L, P)
    two: Ints  # (words, L, P - 1)


def code(letter: int, sounds: Sequence[int]) -> int:
    """The number of a graphone: ``letter`` 0 to 25 standing for up to two phoneme indices."""
    return (
        letter * CODES
        + (0, 1 + sum(sounds), 1 + SOUNDS)[len(sounds)]
        + (sounds[0] * SOUNDS + sounds[1] if len(sounds) == 2 else 0)
    )


def parts(graphone: int) -> tuple[int, tuple[int, ...]]:
    """The letter and the phoneme indices of a graphone's number."""
    letter, rest = divmod(graphone, CODES)
    if rest == 0:
        return letter, ()
    if rest <= SOUNDS:
        return letter, (rest - 1,)
    return letter, divmod(rest - 1 - SOUNDS, SOUNDS)


def align(entries: Sequence[tuple[str, Sequence[int]]]) -> list[list[int]]:
    """The graphones of each (word in a-z, phoneme indices) entry; those with more than two phonemes a letter drop out.

    The order is by length, not that of ``entries``.
    """
    batches = list(_batches(entries))
    model = np.repeat([_FIRST_GUESS[0], _FIRST_GUESS[1] / SOUNDS, _FIRST_GUESS[2] / SOUNDS**2], [1, SOUNDS, SOUNDS**2])
    model = np.tile(model, LETTERS)
    for _ in range(ITERATIONS):
        counts = np.zeros_like(model)
        for batch in batches:
            _collect(batch, model, counts)
        by_letter = counts.reshape(LETTERS, CODES)
        model = (by_letter / np.maximum(by_letter.sum(axis=1, keepdims=True), 1e-300)).ravel()
    with np.errstate(divide="ignore"):
        logs = np.log(model)
    return [row for batch in batches for row in _best_path(batch, logs).tolist()]


def _batches(entries: Sequence[tuple[str, Sequence[int]]]) -> Iterator[_Batch]:
    groups: dict[tuple[int, int], list[tuple[str, Sequence[int]]]] = {}
    for word, sounds in entries:
        if 0 < len(sounds) <= 2 * len(word):
            groups.setdefault((len(word), len(sounds)), []).append((word, sounds))
    for group in groups.values():
        letters = np.array([[ord(letter) - ord("a") for letter in word] for word, _ in group], dtype=np.int64) * CODES
        sounds_ = np.array([sounds for _, sounds in group], dtype=np.int64)
        pairs = sounds_[:, :-1] * SOUNDS + sounds_[:, 1:]
        yield _Batch(
            none=letters,
            one=letters[:, :, None] + 1 + sounds_[:, None, :],
            two=letters[:, :, None] + 1 + SOUNDS + pairs[:, None, :],
        )


def _collect(batch: _Batch, model: Floats, counts: Floats) -> None:
    """Adds to ``counts`` how often each graphone is expected in the batch (forward-backward)."""
    words, letters, sounds = batch.one.shape
    none, one, two = model[batch.none], model[batch.one], model[batch.two]
    forward = np.zeros((letters + 1, words, sounds + 1))
    backward = np.zeros_like(forward)
    forward[0, :, 0] = 1.0
    backward[letters, :, sounds] = 1.0
    for i in range(letters):
        forward[i + 1] = forward[i] * none[:, i, None]
        forward[i + 1, :, 1:] += forward[i, :, :-1] * one[:, i]
        forward[i + 1, :, 2:] += forward[i, :, :-2] * two[:, i]
    for i in reversed(range(letters)):
        backward[i] = backward[i + 1] * none[:, i, None]
        backward[i, :, :-1] += backward[i + 1, :, 1:] * one[:, i]
        backward[i, :, :-2] += backward[i + 1, :, 2:] * two[:, i]
    scale = 1.0 / forward[letters, :, sounds]
    for i in range(letters):
        before, after = forward[i] * scale[:, None], backward[i + 1]
        _add(counts, batch.none[:, i], (before * after).sum(axis=1) * none[:, i])
        _add(counts, batch.one[:, i], before[:, :-1] * after[:, 1:] * one[:, i])
        _add(counts, batch.two[:, i], before[:, :-2] * after[:, 2:] * two[:, i])


def _add(counts: Floats, codes: Ints, weights: Floats) -> None:
    counts += np.bincount(codes.ravel(), weights.ravel(), len(counts))


def _best_path(batch: _Batch, logs: Floats) -> Ints:
    """The Viterbi graphones, (words, L)."""
    words, letters, sounds = batch.one.shape
    none, one, two = logs[batch.none], logs[batch.one], logs[batch.two]
    score = np.full((words, sounds + 1), -np.inf)
    score[:, 0] = 0.0
    taken = np.empty((letters, words, sounds + 1), dtype=np.int64)
    for i in range(letters):
        ways = np.full((3, words, sounds + 1), -np.inf)
        ways[0] = score + none[:, i, None]
        ways[1, :, 1:] = score[:, :-1] + one[:, i]
        ways[2, :, 2:] = score[:, :-2] + two[:, i]
        taken[i] = ways.argmax(axis=0)
        score = ways.max(axis=0)
    path = batch.none.copy()
    rows, at = np.arange(words), np.full(words, sounds)
    for i in reversed(range(letters)):
        step = taken[i, rows, at]
        at = at - step
        single, double = np.nonzero(step == 1)[0], np.nonzero(step == 2)[0]
        path[single, i] = batch.one[single, i, at[single]]
        path[double, i] = batch.two[double, i, at[double]]
    return path
