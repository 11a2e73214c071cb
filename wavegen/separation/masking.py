"""Separation by one real mask a source for all channels, read off levels alone.

What these models see, the RMS over the channels of a bin's magnitude, knows neither the sign of the waveform nor the
order of the channels, and a mask multiplies the mix's own spectrum: polarity and channel swap commute with separation.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wavegen.audio.features import FeatureSpec, mel_filterbank
from wavegen.errors import InputError
from wavegen.separation.stft import istft, stft

FLOOR = 1e-3  # of a bin's magnitude, 60 dB under white noise of RMS 1


@dataclass(frozen=True)
class Transform:
    """The grid of bins: FFT size and hop in samples, at least four hops to a window."""

    n_fft: int
    hop: int

    def __post_init__(self) -> None:
        if self.hop < 1 or self.n_fft < 4 * self.hop or self.n_fft % 2:
            raise InputError(f"n_fft must be even and at least 4 hops, not {self.n_fft} with a hop of {self.hop}")

    @property
    def bins(self) -> int:
        return self.n_fft // 2 + 1

    def spectrum(self, mix: Tensor) -> Tensor:
        """Mix (batch, channels, samples) → complex spectrum (batch, channels, bins, frames).

        Scaled so that white noise of RMS 1 has bins of RMS 1.
        """
        return stft(mix, self.n_fft, self.hop) / self._unit

    def apply(self, masks: Tensor, spectrum: Tensor, samples: int) -> Tensor:
        """Masks (batch, sources, bins, frames) on a mix's spectrum → (batch, sources, channels, samples)."""
        masked = masks[:, :, None].float() * (spectrum * self._unit)[:, None]
        return istft(masked, self.n_fft, self.hop, samples)

    @property
    def _unit(self) -> float:
        return math.sqrt(0.375 * self.n_fft)  # the window's energy


def magnitude(spectrum: Tensor) -> Tensor:
    """RMS over the channels, (batch, channels, bins, frames) → (batch, bins, frames)."""
    power = spectrum.real.square() + spectrum.imag.square()
    return power.mean(dim=1).sqrt()


def log_magnitude(magnitude: Tensor) -> Tensor:
    """What networks are shown of magnitudes: about 1 in a mix's loud bins, -1.3 in silence."""
    return torch.log(magnitude + FLOOR) / 3 + 1


def mel_means(sample_rate: int, n_fft: int, hop: int, bands: int) -> Tensor:
    """Weights (bands, bins) of the mean magnitude in each of ``bands``, equally wide in mel, up to Nyquist."""
    mel = mel_filterbank(FeatureSpec(sample_rate, n_fft, hop, n_fft, bands, fmax=None))
    return mel / mel.sum(dim=1, keepdim=True).clamp(min=1e-9)


def audible(magnitude: Tensor, range_db: float) -> Tensor:
    """Bins (..., bins, frames) less than ``range_db`` under the loudest of the item; none of silence."""
    loudest = magnitude.amax(dim=(-2, -1), keepdim=True)
    return (magnitude > loudest * 10 ** (-range_db / 20)) & (loudest > 0)


class HarmonicSums(nn.Module):
    """Magnitudes (batch, bins, frames) → how much stands at the partials of each pitch, (batch, pitches, frames).

    For the MIDI pitches ``LOWEST`` to ``HIGHEST``: the weighted sum of log-magnitudes at the first partials (Klapuri
    2006, "Multiple fundamental frequency estimation by summing harmonic amplitudes"), less half of what stands halfway
    between them, so that neither the octave above nor the one below is as high. Nothing here is learned.
    """

    LOWEST, HIGHEST, PARTIALS = 24, 108, 12
    matrix: Tensor

    def __init__(self, sample_rate: int, n_fft: int) -> None:
        super().__init__()
        bins = torch.arange(n_fft // 2 + 1, dtype=torch.float64)
        pitches = torch.arange(self.LOWEST, self.HIGHEST + 1, dtype=torch.float64)
        base = 440 * 2 ** ((pitches[:, None] - 69) / 12) * n_fft / sample_rate  # in bins
        matrix = torch.zeros(len(pitches), len(bins), dtype=torch.float64)
        for partial in range(1, self.PARTIALS + 1):
            for place, sign in ((partial, 1.0), (partial - 0.5, -0.5)):
                centre = place * base
                width = (centre * (2 ** (0.25 / 12) - 1)).clamp(min=0.7)
                bump = torch.exp(-0.5 * ((bins - centre) / width).square())
                matrix += sign * 0.8 ** (partial - 1) * bump / bump.sum(dim=1, keepdim=True).clamp(min=1e-3)
        self.register_buffer("matrix", matrix.float(), persistent=False)

    @property
    def pitches(self) -> int:
        return self.HIGHEST - self.LOWEST + 1

    def forward(self, levels: Tensor) -> Tensor:
        return torch.matmul(self.matrix, torch.log1p(30 * levels)) / 2
