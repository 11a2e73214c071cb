"""Monotonic alignment search: the most probable path of a spoken text through its frames.

The search of Glow-TTS (Kim et al. 2020, algorithm 1): every symbol gets one frame or more, in order. Compiled by numba.
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavegen.errors import InputError


def monotonic_durations(log_probabilities: NDArray[np.float32]) -> NDArray[np.int64]:
    """Frames of each symbol on the path that maximises the sum of log-probabilities.

    Shape: (symbols, frames) → (symbols,), all at least 1, summing to frames. Where two paths are equal, the one that
    moves on later wins. InputError if there are more symbols than frames, or NaN.
    """
    _check(log_probabilities)
    durations: NDArray[np.int64] = _kernel()(np.ascontiguousarray(log_probabilities, dtype=np.float64))
    return durations


def monotonic_durations_reference(log_probabilities: NDArray[np.float32]) -> NDArray[np.int64]:
    """The same by trying every path: exponential, for tests."""
    from itertools import combinations

    _check(log_probabilities)
    symbols, frames = log_probabilities.shape
    best, winner = -np.inf, np.zeros(symbols, np.int64)
    for cuts in combinations(range(1, frames), symbols - 1):
        edges = (0, *cuts, frames)
        score = sum(float(log_probabilities[i, edges[i] : edges[i + 1]].sum(dtype=np.float64)) for i in range(symbols))
        if score > best:
            best, winner = score, np.diff(edges)
    return winner


def _check(log_probabilities: NDArray[np.float32]) -> None:
    if log_probabilities.ndim != 2 or 0 in log_probabilities.shape:
        raise InputError(f"log_probabilities must be (symbols, frames), not {log_probabilities.shape}")
    symbols, frames = log_probabilities.shape
    if symbols > frames:
        raise InputError(f"{symbols} symbols cannot be aligned to {frames} frames: each needs one at least")
    if np.isnan(log_probabilities).any():
        raise InputError("log_probabilities hold NaN")


@cache
def _kernel() -> Any:
    import numba

    return numba.njit(cache=True, nogil=True)(_search)


def _search(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    symbols, frames = scores.shape
    best = np.full((symbols, frames), -np.inf)
    best[0, 0] = scores[0, 0]
    for t in range(1, frames):
        # Only symbols that leave one frame each for those before and after them can be reached.
        for s in range(max(0, symbols - (frames - t)), min(symbols, t + 1)):
            value = best[s, t - 1]
            if s > 0 and best[s - 1, t - 1] > value:
                value = best[s - 1, t - 1]
            best[s, t] = value + scores[s, t]
    durations = np.zeros(symbols, np.int64)
    s = symbols - 1
    for t in range(frames - 1, -1, -1):
        durations[s] += 1
        if s > 0 and (t == s or best[s - 1, t - 1] > best[s, t - 1]):
            s -= 1
    return durations
