"""The alignment search against all paths, and on planted alignments."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from wavegen.errors import InputError
from wavegen.ops.alignment import monotonic_durations, monotonic_durations_reference


@settings(max_examples=150, deadline=None)
@given(symbols=st.integers(1, 6), extra=st.integers(0, 7), seed=st.integers(0, 10**6))
def test_equals_reference(symbols: int, extra: int, seed: int) -> None:
    scores = np.random.default_rng(seed).standard_normal((symbols, symbols + extra)).astype(np.float32)
    found = monotonic_durations(scores)
    assert (found == monotonic_durations_reference(scores)).all()
    assert found.min() >= 1
    assert found.sum() == symbols + extra


@pytest.mark.parametrize(("symbols", "frames"), [(1, 1), (1, 1001), (129, 129), (129, 130), (24, 1001), (250, 3000)])
def test_finds_a_planted_path(symbols: int, frames: int) -> None:
    random = np.random.default_rng(0)
    cuts = np.sort(random.choice(np.arange(1, frames), symbols - 1, replace=False))
    durations = np.diff([0, *cuts, frames])
    scores = np.full((symbols, frames), -5.0, np.float32)
    scores[np.repeat(np.arange(symbols), durations), np.arange(frames)] = 0.0
    scores += 0.01 * random.standard_normal(scores.shape).astype(np.float32)
    assert (monotonic_durations(scores) == durations).all()


def test_minus_infinity_is_avoided_and_order_in_memory_is_irrelevant() -> None:
    scores = np.zeros((2, 4), np.float32)
    scores[0, 2:] = -np.inf
    scores[1, :2] = -np.inf
    assert monotonic_durations(scores).tolist() == [2, 2]
    assert monotonic_durations(np.asfortranarray(scores)).tolist() == [2, 2]


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (np.zeros((3, 2), np.float32), "3 symbols cannot be aligned to 2 frames"),
        (np.zeros((0, 2), np.float32), "must be"),
        (np.zeros(4, np.float32), "must be"),
        (np.full((2, 3), np.nan, np.float32), "NaN"),
    ],
)
def test_bad_input(scores: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        monotonic_durations(scores)
