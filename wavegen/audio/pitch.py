"""Fundamental frequency by pYIN (Mauch & Dixon, "pYIN: A Fundamental Frequency Estimator Using Probabilistic
Threshold Distributions", ICASSP 2014), on the frame grid of a mel spectrogram."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wavegen.audio.io import as_samples, checked_rate
from wavegen.errors import InputError, MissingDependencyError

_FRAMES_AT_ONCE = 8192  # the Viterbi search holds some 6 kB a frame
_CONTEXT_FRAMES = 128  # decoded on both sides of each such part and thrown away
_OCTAVES_PER_SECOND = 35.92  # librosa's default: pYIN's limit to how fast the pitch may move
# The probability of a pitch in a frame without a trough. librosa's 0.01 exceeds the share of one unvoiced state, about
# 1 / 350, so that the search calls long stretches of noise voiced.
_NO_TROUGH = 0.001


@dataclass(frozen=True, eq=False)
class Pitch:
    """One value a frame. f0: Hz, 0 where unvoiced; voiced: its flag; periodicity: probability of voicing in [0, 1]."""

    f0: NDArray[np.float32]
    voiced: NDArray[np.bool_]
    periodicity: NDArray[np.float32]


def pitch(
    waveform: NDArray[np.float32], sample_rate: int, hop: int, *, fmin: float = 65.0, fmax: float = 500.0
) -> Pitch:
    """The pitch of a waveform (n,) between fmin and fmax Hz, in n // hop frames.

    Frame i is centred at sample (i + 0.5) * hop, like a mel frame of (n_fft - hop) / 2 padding, so that the two go
    side by side. What is shorter than one analysis frame (four periods of fmin or a little more) is all unvoiced.
    Raises InputError for another shape, NaN, or a range that is not 0 < fmin < fmax <= sample_rate / 2, and
    MissingDependencyError without librosa.
    """
    rate = checked_rate(sample_rate)
    if np.ndim(waveform) != 1:
        raise InputError(f"waveform must have the shape (n,), not {np.shape(waveform)}")
    if hop < 1:
        raise InputError(f"hop must be 1 sample or more, not {hop}")
    if not 0 < fmin < fmax <= rate / 2:
        raise InputError(f"pitch needs 0 < fmin < fmax <= {rate / 2} Hz, not fmin {fmin} and fmax {fmax}")
    signal = as_samples(waveform, "waveform")[0].astype(np.float64)
    frames = signal.size // hop
    length = _frame_length(rate, fmin)
    f0 = np.zeros(frames, dtype=np.float32)
    voiced = np.zeros(frames, dtype=np.bool_)
    periodicity = np.zeros(frames, dtype=np.float32)
    if signal.size >= length:
        framed = _on_grid(signal - signal.mean(), frames, hop, length)
        for first in range(0, frames, _FRAMES_AT_ONCE):
            last = min(first + _FRAMES_AT_ONCE, frames)
            start, stop = max(0, first - _CONTEXT_FRAMES), min(last + _CONTEXT_FRAMES, frames)
            part = _pyin(framed[start * hop : (stop - 1) * hop + length], rate, hop, length, fmin, fmax)
            for whole, values in zip((f0, voiced, periodicity), part, strict=True):
                whole[first:last] = values[first - start : last - start]
    return Pitch(f0, voiced, periodicity)


def _frame_length(rate: int, fmin: float) -> int:
    """A power of two that holds four periods of fmin: librosa's difference function lets the frame's end count as a
    difference, a share period / length that drowns a low voice in frames of two periods."""
    return 1 << math.ceil(math.log2(4 * rate / fmin))


def _on_grid(signal: NDArray[np.float64], frames: int, hop: int, length: int) -> NDArray[np.float64]:
    """The signal cut and padded with zeros so that frame i, samples [i * hop, i * hop + length), is centred at
    (i + 0.5) * hop of the original."""
    before = (length - hop) // 2
    needed = (frames - 1) * hop + length
    shifted = np.pad(signal, (before, 0)) if before >= 0 else signal[-before:]
    return np.pad(shifted, (0, max(0, needed - shifted.size)))[:needed]


def _pyin(
    signal: NDArray[np.float64], rate: int, hop: int, length: int, fmin: float, fmax: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]:
    try:
        import librosa
    except ImportError as error:
        raise MissingDependencyError("librosa", "evaluate", "pitch tracking") from error
    f0, voiced, probability = librosa.pyin(
        signal,
        fmin=fmin,
        fmax=fmax,
        sr=rate,
        frame_length=length,
        hop_length=hop,
        max_transition_rate=_transition_rate(rate, hop, fmin, fmax),
        no_trough_prob=_NO_TROUGH,
        fill_na=0.0,
        center=False,
    )
    return f0, voiced, np.clip(probability, 0.0, 1.0)


def _transition_rate(rate: int, hop: int, fmin: float, fmax: float) -> float:
    """Octaves a second, such that the step from frame to frame is at least one semitone, librosa's unit (a short hop
    would round to none and freeze the pitch), and at most the whole range."""
    step = hop / rate
    return min(max(_OCTAVES_PER_SECOND, 1 / (12 * step)), math.log2(fmax / fmin) / step)
