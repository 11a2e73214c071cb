import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

pytest.importorskip("numba")

from wavegen.errors import InputError
from wavegen.evaluation.dtw import dtw

# Multiples of 1/4 add up without rounding, so equally cheap paths tie exactly in both implementations.
sequences = st.lists(st.lists(st.integers(-6, 6), min_size=1, max_size=1), min_size=1, max_size=7).map(
    lambda rows: np.array(rows, np.float64) / 4
)


def reference(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[float, int]:
    """The definition: the best path into (i, j) is the best into one of its three predecessors, and (i, j)."""

    @functools.cache
    def best(i: int, j: int) -> tuple[float, int]:
        here = float(np.sqrt(((a[i] - b[j]) ** 2).sum()))
        if i == 0 and j == 0:
            return here, 1
        before = [best(*p) for p in ((i - 1, j - 1), (i - 1, j), (i, j - 1)) if min(p) >= 0]
        cost, pairs = min(before)
        return cost + here, pairs + 1

    return best(len(a) - 1, len(b) - 1)


@settings(deadline=None, max_examples=200)
@given(sequences, sequences)
def test_equals_the_plain_recursion(a: NDArray[np.float64], b: NDArray[np.float64]) -> None:
    path = dtw(a, b)
    assert (path.total, path.pairs) == reference(a, b)


@pytest.mark.parametrize(("m", "n", "d"), [(1, 1, 3), (1, 9, 2), (9, 1, 24), (40, 31, 24)])
def test_equals_the_plain_recursion_in_many_dimensions(m: int, n: int, d: int) -> None:
    rng = np.random.default_rng(m + n)
    a, b = rng.standard_normal((m, d)), rng.standard_normal((n, d))
    total, pairs = reference(a, b)
    path = dtw(a.astype(np.float64), b)
    assert path.total == pytest.approx(total, rel=1e-12)
    assert path.pairs == pairs


@settings(deadline=None)
@given(sequences, sequences)
def test_bounds(a: NDArray[np.float64], b: NDArray[np.float64]) -> None:
    distances = np.abs(a - b.T)
    path = dtw(a, b)
    assert path.total >= max(distances.min(axis=0).sum(), distances.min(axis=1).sum())  # every row and column is met
    assert max(len(a), len(b)) <= path.pairs <= len(a) + len(b) - 1
    if len(a) == len(b):
        assert path.total <= np.trace(distances)
    assert dtw(b, a) == path


def test_undoes_a_stretch() -> None:
    a = np.sin(np.arange(50) / 5.0)[:, None]
    stretched = np.repeat(a, 3, axis=0)
    assert dtw(a, stretched) == (0.0, 150)
    assert dtw(a, a) == (0.0, 50)


@pytest.mark.parametrize(("a", "b"), [((0, 2), (3, 2)), ((3, 2), (0, 2)), ((3, 2), (3, 4)), ((3,), (3,))])
def test_bad_shapes(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="dtw"):
        dtw(np.zeros(a), np.zeros(b))
