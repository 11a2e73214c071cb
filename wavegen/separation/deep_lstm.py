"""Deep LSTM: for each source one network, which masks the magnitudes of the mix.

Stöter, Uhlich, Liutkus and Mitsufuji 2019, "Open-Unmix: a reference implementation for music source separation". The
names and shapes of a network's parameters are those of the published ones.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wavegen.errors import InputError
from wavegen.separation.base import Separator, SeparatorSpec
from wavegen.separation.stft import istft, stft
from wavegen.separation.wiener import wiener


@dataclass(frozen=True)
class DeepLSTMConfig:
    """``hidden`` units in ``layers`` of LSTM, of which half run backwards; ``dropout`` between them, in training.

    Only the lowest ``bins`` are looked at (0: all). ``joint``: both channels in one network's input and output, as
    published, where the order of the channels then matters; otherwise each channel by itself, beside the other's
    magnitudes. ``rms`` is the level (RMS) at which mixes reach the networks, ``wiener`` the number of iterations of the
    filter that follows, ``context`` in seconds: the margin within which the LSTMs are taken to forget.
    """

    hidden: int = 256
    layers: int = 3
    n_fft: int = 4096
    hop: int = 1024
    bins: int = 0
    dropout: float = 0.4
    joint: bool = False
    rms: float = 1.0
    wiener: int = 0
    context: float = 1.0

    def __post_init__(self) -> None:
        if min(self.hidden, self.layers) < 1 or self.hidden % 2:
            raise InputError("DeepLSTMConfig: hidden must be positive and even, layers positive")
        if self.hop < 1 or self.n_fft < 4 * self.hop or self.n_fft % 2:
            raise InputError(f"DeepLSTMConfig.n_fft must be even and at least 4 hops, not {self.n_fft}")
        if not 0 <= self.bins <= self.n_fft // 2 + 1:
            raise InputError(f"DeepLSTMConfig.bins must be in [0, {self.n_fft // 2 + 1}], not {self.bins}")
        if not 0 <= self.dropout < 1:
            raise InputError(f"DeepLSTMConfig.dropout must be in [0, 1), not {self.dropout}")
        if not 0 < self.rms < math.inf:
            raise InputError(f"DeepLSTMConfig.rms must be positive, not {self.rms}")
        if self.wiener < 0 or not 0 <= self.context < math.inf:
            raise InputError("DeepLSTMConfig: wiener and context must not be negative")


class SourceNetwork(nn.Module):
    """Magnitudes (frames, batch, views × bins) → mask (frames, batch, outputs × all bins), at least 0.

    ``input_mean`` holds the negated mean and ``input_scale`` the reciprocal of the deviation of a bin's magnitude, as
    the published files do.
    """

    input_mean: Tensor
    input_scale: Tensor

    def __init__(self, config: DeepLSTMConfig, views: int, outputs: int) -> None:
        super().__init__()
        c = config
        every = c.n_fft // 2 + 1
        self.bins = c.bins or every
        self.views, self.outputs = views, outputs
        self.register_buffer("input_mean", torch.zeros(self.bins))
        self.register_buffer("input_scale", torch.ones(self.bins))
        self.output_scale = nn.Parameter(torch.ones(every))
        self.output_mean = nn.Parameter(torch.ones(every))
        self.fc1 = nn.Linear(views * self.bins, c.hidden, bias=False)
        self.bn1 = nn.BatchNorm1d(c.hidden)
        dropout = c.dropout if c.layers > 1 else 0.0
        self.lstm = nn.LSTM(c.hidden, c.hidden // 2, c.layers, bidirectional=True, dropout=dropout)
        self.fc2 = nn.Linear(2 * c.hidden, c.hidden, bias=False)
        self.bn2 = nn.BatchNorm1d(c.hidden)
        self.fc3 = nn.Linear(c.hidden, outputs * every, bias=False)
        self.bn3 = nn.BatchNorm1d(outputs * every)

    def forward(self, magnitudes: Tensor) -> Tensor:
        """(frames, batch, views, all bins) → (frames, batch, outputs, all bins)."""
        frames, batch = magnitudes.shape[:2]
        x = (magnitudes[..., : self.bins] + self.input_mean) * self.input_scale
        x = torch.tanh(self.bn1(self.fc1(x.flatten(2).flatten(0, 1)))).reshape(frames, batch, -1)
        x = torch.cat([x, self.lstm(x)[0]], dim=-1)
        x = F.relu(self.bn2(self.fc2(x.flatten(0, 1))))
        x = self.bn3(self.fc3(x)).reshape(frames, batch, self.outputs, -1)
        return F.relu(x * self.output_scale + self.output_mean)


class DeepLSTM(Separator):
    """Mix (batch, channels, samples) → sources, each the mix's spectrum times a mask of its own network."""

    config: DeepLSTMConfig
    chunk_seconds = 12.0
    overlap = 0.05

    def __init__(self, config: DeepLSTMConfig, spec: SeparatorSpec) -> None:
        super().__init__()
        self.config, self.spec = config, spec
        self.hop = config.hop
        self.context = math.ceil(config.context * spec.sample_rate / config.hop) * config.hop
        outputs = spec.channels if config.joint else 1
        self.networks = nn.ModuleDict({name: SourceNetwork(config, spec.channels, outputs) for name in spec.sources})

    def estimate(self, mix: Tensor) -> Tensor:
        c = self.config
        spectrum = stft(mix * c.rms, c.n_fft, c.hop)
        sources = self.masks(spectrum) * spectrum[:, None]
        return istft(wiener(sources, spectrum, iterations=c.wiener), c.n_fft, c.hop, mix.shape[-1]) / c.rms

    def masks(self, spectrum: Tensor) -> Tensor:
        """Complex spectrum (batch, channels, bins, frames) → masks (batch, sources, channels, bins, frames)."""
        magnitudes = self.magnitudes(spectrum)
        found = [self.networks[name](magnitudes).float().permute(1, 2, 3, 0) for name in self.spec.sources]
        return torch.stack([mask.reshape(spectrum.shape) for mask in found], dim=1)

    def spectral_masks(self, mix: Tensor) -> Tensor:
        """Masks (batch, sources, bins, frames) of mixes (batch, channels, samples) of RMS 1, for the first channel."""
        return self.masks(stft(mix * self.config.rms, self.config.n_fft, self.config.hop))[:, :, 0]

    def magnitudes(self, spectrum: Tensor) -> Tensor:
        """Complex spectrum (batch, channels, bins, frames) → magnitudes (frames, items, views, bins).

        Items are the batch's, or all their channels, each as the first of its views.
        """
        x = spectrum.abs().permute(3, 0, 1, 2)
        if self.config.joint:
            return x
        views = [x, x.flip(2)] if self.spec.channels == 2 else [x]
        return torch.stack(views, dim=3).flatten(1, 2)
