import numpy as np
import pytest

from wavegen.errors import InputError
from wavegen.evaluation.bootstrap import mean_parts, pooled, ratio


def test_interval_of_a_mean_is_that_of_the_normal_approximation() -> None:
    values = np.random.default_rng(1).normal(3.0, 2.0, 400)
    estimate = pooled(mean_parts(values), ratio)
    assert estimate.value == pytest.approx(values.mean())
    half = 1.96 * values.std() / np.sqrt(400)
    assert estimate.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert estimate.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_pools_sums_not_rates() -> None:
    parts = np.array([[1.0, 10.0], [90.0, 100.0]])
    estimate = pooled(parts, ratio)
    assert estimate.value == pytest.approx(91.0 / 110.0)
    assert (estimate.low, estimate.high) == pytest.approx((0.1, 0.9))  # a redraw of either file alone


def test_seed_decides() -> None:
    parts = mean_parts(np.random.default_rng(0).standard_normal(30))
    assert pooled(parts, ratio, seed=5) == pooled(parts, ratio, seed=5)
    assert pooled(parts, ratio, seed=5) != pooled(parts, ratio, seed=6)


def test_values_that_are_not_finite_drop_out() -> None:
    values = np.array([1.0, np.nan, 3.0, np.inf])
    assert pooled(mean_parts(values), ratio).value == 2.0
    nothing = pooled(mean_parts(np.array([np.nan])), ratio)
    assert np.isnan([nothing.value, nothing.low, nothing.high]).all()


def test_one_file_has_no_width() -> None:
    estimate = pooled(mean_parts(np.array([0.7])), ratio)
    assert estimate.low == estimate.value == estimate.high == 0.7


def test_no_files() -> None:
    with pytest.raises(InputError, match="at least one file"):
        pooled(np.empty((0, 2)), ratio)
