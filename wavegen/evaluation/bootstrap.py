"""Pooled scores with percentile bootstrap intervals over files (Efron & Tibshirani 1993)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wavegen.errors import InputError

RESAMPLES = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A pooled value and its 95 % interval; NaN where no file has a value."""

    value: float
    low: float
    high: float


def pooled(
    parts: NDArray[np.float64], statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]], *, seed: int = 0
) -> Estimate:
    """``statistic`` of the column sums of ``parts`` (files, columns), and the interval when whole files are redrawn.

    ``statistic`` maps (..., columns) → (...). The draws depend on the seed and the number of files alone, so scores of
    the same files are resampled alike. One file gives an interval of no width. Raises InputError if there is no file.
    """
    if parts.ndim != 2 or not len(parts):
        raise InputError(f"pooling needs at least one file, got parts of shape {parts.shape}")
    files = len(parts)
    draws = np.random.default_rng(seed).multinomial(files, np.full(files, 1.0 / files), size=RESAMPLES)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = float(statistic(parts.sum(axis=0)))
        resampled = statistic(draws @ parts)
    resampled = resampled[np.isfinite(resampled)]
    if not resampled.size:
        return Estimate(value, float("nan"), float("nan"))
    tail = 50.0 * (1.0 - CONFIDENCE)
    low, high = np.percentile(resampled, [tail, 100.0 - tail])
    return Estimate(value, float(low), float(high))


def ratio(parts: NDArray[np.float64]) -> NDArray[np.float64]:
    """First column over second: a mean over files, or over whatever the second column counts."""
    result: NDArray[np.float64] = parts[..., 0] / parts[..., 1]
    return result


def mean_parts(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values (files,) → parts (files, 2) whose :func:`ratio` is their mean; files without a finite value drop out."""
    known = np.isfinite(values)
    return np.stack([np.where(known, values, 0.0), known.astype(np.float64)], axis=1)
