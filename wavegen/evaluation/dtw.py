"""Exact dynamic time warping between two sequences of vectors (Sakoe & Chiba 1978), compiled."""

from collections.abc import Callable
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from wavegen.errors import InputError
from wavegen.evaluation.dependencies import require

require("numba")
import numba  # noqa: E402


class Warp(NamedTuple):
    """The cheapest warping path: the sum of the distances of its pairs, and the number of its pairs."""

    total: float
    pairs: int


def dtw(a: NDArray[np.floating], b: NDArray[np.floating]) -> Warp:
    """Warping path of least summed Euclidean distance from (0, 0) to (m-1, n-1), by steps (1, 1), (1, 0) and (0, 1).

    ``a`` and ``b`` have shapes (m, dimensions) and (n, dimensions). No band, no slope weights. Of equally cheap paths
    the shortest counts. Time m·n·dimensions, memory n. Raises InputError for empty sequences or unequal dimensions.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or not len(a) or not len(b):
        raise InputError(f"dtw needs (m, d) and (n, d) with m, n > 0, not {a.shape} and {b.shape}")
    total, pairs = _accumulate(np.ascontiguousarray(a, np.float64), np.ascontiguousarray(b, np.float64))
    return Warp(float(total), int(pairs))


def _accumulate_rows(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[np.float64, np.int64]:
    """Row by row; ``cost[j]`` and ``length[j]`` hold the best path into column j of the newest row."""
    m, n, dimensions = len(a), len(b), a.shape[1]
    cost = np.empty(n)
    length = np.empty(n, np.int64)
    for i in range(m):
        diagonal_cost, diagonal_length = 0.0, 0  # of (i-1, j-1)
        for j in range(n):
            square = 0.0
            for k in range(dimensions):
                square += (a[i, k] - b[j, k]) ** 2
            best_cost, best_length = 0.0, 0
            if i or j:
                best_cost = np.inf
            if i and j:
                best_cost, best_length = diagonal_cost, diagonal_length
            if i and (cost[j] < best_cost or (cost[j] == best_cost and length[j] < best_length)):
                best_cost, best_length = cost[j], length[j]
            if j and (cost[j - 1] < best_cost or (cost[j - 1] == best_cost and length[j - 1] < best_length)):
                best_cost, best_length = cost[j - 1], length[j - 1]
            if i:
                diagonal_cost, diagonal_length = cost[j], length[j]
            cost[j] = best_cost + np.sqrt(square)
            length[j] = best_length + 1
    return cost[n - 1], length[n - 1]


_Rows = Callable[[NDArray[np.float64], NDArray[np.float64]], tuple[np.float64, np.int64]]
_accumulate = cast(_Rows, numba.njit(_accumulate_rows))
