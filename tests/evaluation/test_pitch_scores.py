from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from wavegen.errors import InputError
from wavegen.evaluation import metrics


@dataclass
class Track:
    f0: NDArray[np.float64]
    voiced: NDArray[np.bool_]
    periodicity: NDArray[np.float64]


def track(f0: list[float], periodicity: list[float] | None = None) -> Track:
    x = np.array(f0, np.float64)
    return Track(x, x > 0, (x > 0).astype(np.float64) if periodicity is None else np.array(periodicity))


def test_f0_rmse_of_known_tracks() -> None:
    a, b = track([100, 200, 0, 300, 100]), track([103, 196, 150, 0, 100])
    hz, cents = metrics.f0_rmse(a, b)
    assert hz == pytest.approx(np.sqrt((9 + 16 + 0) / 3))
    expected = [1200 * np.log2(1.03), 1200 * np.log2(0.98), 0.0]
    assert cents == pytest.approx(np.sqrt(np.mean(np.square(expected))))


def test_an_octave_is_1200_cents() -> None:
    assert metrics.f0_rmse(track([110] * 4), track([220] * 4)) == pytest.approx((110.0, 1200.0))


def test_voicing_of_known_tracks() -> None:
    a = track([100, 100, 100, 100, 0, 0, 0, 0])
    b = track([100, 100, 100, 0, 100, 100, 0, 0])
    error, precision, recall, f1 = metrics.voicing(a, b)
    assert error == pytest.approx(3 / 8)
    assert precision == pytest.approx(3 / 5)
    assert recall == pytest.approx(3 / 4)
    assert f1 == pytest.approx(2 * (3 / 5) * (3 / 4) / (3 / 5 + 3 / 4))


def test_periodicity_rmse() -> None:
    a, b = track([0, 0, 0], [0.1, 0.5, 0.9]), track([0, 0, 0], [0.1, 0.8, 0.5])
    assert metrics.periodicity_rmse(a, b) == pytest.approx(np.sqrt((0.09 + 0.16) / 3))


def test_identity() -> None:
    a = track([0, 120, 130, 0, 90])
    assert metrics.f0_rmse(a, a) == (0.0, 0.0)
    assert metrics.voicing(a, a) == (0.0, 1.0, 1.0, 1.0)
    assert metrics.periodicity_rmse(a, a) == 0.0


def test_nothing_voiced_is_not_a_number() -> None:
    a, b = track([0, 0]), track([0, 0])
    assert np.isnan(metrics.f0_rmse(a, b)).all()
    assert metrics.voicing(a, b).error == 0.0
    assert np.isnan(metrics.voicing(a, b)[1:]).all()
    missed = metrics.voicing(track([100, 100]), b)
    assert (missed.error, missed.recall, missed.f1) == (1.0, 0.0, 0.0)
    assert np.isnan(missed.precision)


def test_the_longer_track_is_cropped_and_none_is_refused() -> None:
    assert metrics.f0_rmse(track([100, 100, 300]), track([100, 110])).hz == pytest.approx(np.sqrt(50))
    with pytest.raises(InputError, match="at least one frame"):
        metrics.voicing(track([]), track([100]))


f0s = st.lists(st.sampled_from([0.0, 80.0, 120.0, 333.0]), min_size=1, max_size=12)


@given(f0s, f0s)
def test_sums_pool_frames(first: list[float], second: list[float]) -> None:
    """Sums of two utterances are the sums of the utterances laid end to end, so pooling is over frames."""
    a = metrics.pitch_sums(track(first), track(first[::-1]))
    b = metrics.pitch_sums(track(second), track(second[::-1]))
    whole = metrics.pitch_sums(track(first + second), track(first[::-1] + second[::-1]))
    np.testing.assert_allclose(a + b, whole, rtol=1e-12)
    assert a[:4].sum() == len(first)
    for score, value in metrics.pitch_scores(np.stack([a, b])).items():
        np.testing.assert_array_equal(value, [metrics.pitch_scores(x)[score] for x in (a, b)])


@given(f0s)
def test_voicing_swaps_precision_and_recall(f0: list[float]) -> None:
    a, b = track(f0), track(f0[::-1])
    forward, backward = metrics.voicing(a, b), metrics.voicing(b, a)
    assert forward.error == backward.error
    np.testing.assert_equal(forward.precision, backward.recall)
    np.testing.assert_equal(forward.f1, backward.f1)
