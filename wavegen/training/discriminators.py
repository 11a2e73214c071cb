"""Discriminators of waveforms, used in training only.

Multi-period (Kong et al. 2020, HiFi-GAN) and multi-resolution (Jang et al. 2021, UnivNet) discriminators of any width.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from wavegen.errors import InputError

Judgement = tuple[Tensor, list[Tensor]]


@dataclass(frozen=True)
class DiscriminatorConfig:
    """``periods`` in samples and ``resolutions`` as FFT sizes; ``channels`` of the widest layer of each."""

    periods: tuple[int, ...] = (2, 3, 5, 7, 11)
    resolutions: tuple[int, ...] = (512, 1024, 2048)
    period_channels: int = 512
    resolution_channels: int = 64

    def __post_init__(self) -> None:
        if not (self.periods or self.resolutions):
            raise InputError("task.discriminators: give periods, resolutions or both")
        if min(self.periods, default=1) < 1 or min(self.resolutions, default=4) < 4:
            raise InputError("task.discriminators: periods must be positive, resolutions 4 or more")
        if self.period_channels < 16 or self.resolution_channels < 1:
            raise InputError("task.discriminators: period_channels must be 16 or more, resolution_channels 1 or more")


def _convolution(*arguments: Any, **keywords: Any) -> nn.Module:
    """A weight-normalised convolution that keeps the signal's size, so that a short training need not find it first."""
    layer = nn.Conv2d(*arguments, **keywords)
    nn.init.kaiming_normal_(layer.weight, a=0.1)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    normalised: nn.Module = weight_norm(layer)
    return normalised


class PeriodDiscriminator(nn.Module):
    """Judges a waveform folded into columns of one period. (batch, samples) → (logits, features)."""

    def __init__(self, period: int, channels: int) -> None:
        super().__init__()
        self.period = period
        widths = (1, channels // 16, channels // 8, channels // 4, channels)
        self.layers = nn.ModuleList(_convolution(a, b, (5, 1), (3, 1), padding=(2, 0)) for a, b in pairwise(widths))
        self.last = _convolution(channels, 1, (3, 1), padding=(1, 0))

    def forward(self, x: Tensor) -> Judgement:
        x = F.pad(x, (0, -x.shape[-1] % self.period), mode="reflect")
        y = x.view(x.shape[0], 1, -1, self.period)
        features = []
        for layer in self.layers:
            y = F.leaky_relu(layer(y), 0.1)
            features.append(y)
        return self.last(y).flatten(1), features


class ResolutionDiscriminator(nn.Module):
    """Judges the log-magnitude spectrogram of one FFT size. (batch, samples) → (logits, features)."""

    hann: Tensor

    def __init__(self, size: int, channels: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("hann", torch.hann_window(size), persistent=False)
        self.layers = nn.ModuleList(
            _convolution(a, channels, (3, 7), (1, s), padding=(1, 3))
            for a, s in ((1, 2), (channels, 2), (channels, 2), (channels, 1))
        )
        self.last = _convolution(channels, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Judgement:
        with torch.autocast(x.device.type, enabled=False):
            s = torch.stft(x.float(), self.size, self.size // 4, self.size, self.hann, return_complex=True)
            y = torch.log(s.real.square() + s.imag.square() + 1e-8).mul(0.1).transpose(1, 2)[:, None]
        features = []
        for layer in self.layers:
            y = F.leaky_relu(layer(y), 0.1)
            features.append(y)
        return self.last(y).flatten(1), features


class Discriminators(nn.Module):
    """All sub-discriminators of a configuration: (batch, samples) → (list of logits, list of lists of features)."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.members = nn.ModuleList(
            [
                *(PeriodDiscriminator(p, config.period_channels) for p in config.periods),
                *(ResolutionDiscriminator(r, config.resolution_channels) for r in config.resolutions),
            ]
        )

    def forward(self, x: Tensor) -> tuple[list[Tensor], list[list[Tensor]]]:
        judged = [member(x) for member in self.members]
        return [logits for logits, _ in judged], [features for _, features in judged]
