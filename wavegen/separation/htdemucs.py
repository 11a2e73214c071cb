"""Hybrid Transformer Demucs: two U-nets whose innermost layers are Transformers that attend to each other.

Rouard, Massa and Défossez 2023, "Hybrid transformers for music source separation". The names and shapes of the
parameters are those of the published checkpoints.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wavegen.errors import InputError
from wavegen.separation.base import SeparatorSpec
from wavegen.separation.hdemucs import HDemucsConfig, HybridUNet, LayerScale


@dataclass(frozen=True)
class HTDemucsConfig(HDemucsConfig):
    """As HDemucsConfig, with other defaults and ``layers`` of Transformer in each branch (0: none).

    They are ``bottom_channels`` wide (0: as the U-nets), and ``hidden_scale`` times that inside; every second layer
    attends to the other branch, the first too if ``cross_first``. ``max_period`` of the sinusoids that tell places,
    which ``position_weight`` weighs. ``padded``: what is shorter than ``segment`` seconds is filled up to it.
    """

    depth: int = 4
    residual_compress: int = 8
    lstm_starts: int = 99
    attention_starts: int = 99
    segment: float = 7.8
    bottom_channels: int = 0
    layers: int = 5
    heads: int = 8
    hidden_scale: float = 4.0
    cross_first: bool = False
    max_period: float = 10000.0
    position_weight: float = 1.0
    padded: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        width = self.width
        if self.layers < 0 or self.heads < 1 or self.bottom_channels < 0:
            raise InputError("HTDemucsConfig: layers and bottom_channels must not be negative, heads positive")
        if self.layers and (width % self.heads or width % 4):
            raise InputError(f"HTDemucsConfig: {width} channels cannot be split among {self.heads} heads, or into four")
        if not 0 < self.hidden_scale < math.inf or not self.max_period > 1:
            raise InputError("HTDemucsConfig: hidden_scale must be positive and max_period above 1")

    @property
    def width(self) -> int:
        """Channels of the Transformers."""
        return self.bottom_channels or self.channels * self.growth ** (self.depth - 1)


class SequenceNorm(nn.GroupNorm):
    """(batch, places, channels), normalised over both."""

    def __init__(self, channels: int) -> None:
        super().__init__(1, channels)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class TransformerLayer(nn.Module):
    """(batch, places, channels): attention to itself or, if ``cross``, to another sequence; then a perceptron."""

    def __init__(self, channels: int, heads: int, hidden: int, *, cross: bool) -> None:
        super().__init__()
        self.cross = cross
        attention = nn.MultiheadAttention(channels, heads, batch_first=True)
        if cross:
            self.cross_attn = attention
            self.norm3 = nn.LayerNorm(channels)
        else:
            self.self_attn = attention
        self.linear1 = nn.Linear(channels, hidden)
        self.linear2 = nn.Linear(hidden, channels)
        self.norm1 = nn.LayerNorm(channels)
        self.norm2 = nn.LayerNorm(channels)
        self.norm_out = SequenceNorm(channels)
        self.gamma_1 = LayerScale(channels, 1e-4, last=True)
        self.gamma_2 = LayerScale(channels, 1e-4, last=True)

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        query = self.norm1(x)
        if self.cross:
            attention, key, norm = self.cross_attn, self.norm2(other), self.norm3
        else:
            attention, key, norm = self.self_attn, query, self.norm2
        x = x + self.gamma_1(attention(query, key, key, need_weights=False)[0])
        x = x + self.gamma_2(self.linear2(F.gelu(self.linear1(norm(x)))))
        y: Tensor = self.norm_out(x)
        return y


class CrossTransformer(nn.Module):
    """Spectrogram (batch, channels, bins, frames) and waveform (batch, channels, steps), each knowing the other."""

    def __init__(self, config: HTDemucsConfig) -> None:
        super().__init__()
        c = config
        self.config = c
        self.norm_in = nn.LayerNorm(c.width)
        self.norm_in_t = nn.LayerNorm(c.width)
        hidden = int(c.width * c.hidden_scale)
        crosses = [bool(index % 2) != c.cross_first for index in range(c.layers)]
        self.layers = nn.ModuleList(TransformerLayer(c.width, c.heads, hidden, cross=cross) for cross in crosses)
        self.layers_t = nn.ModuleList(TransformerLayer(c.width, c.heads, hidden, cross=cross) for cross in crosses)

    def forward(self, x: Tensor, xt: Tensor) -> tuple[Tensor, Tensor]:
        c = self.config
        bins, frames = x.shape[2:]
        flat = x.permute(0, 3, 2, 1).flatten(1, 2)  # frame after frame
        places = places_2d(c.width, bins, frames, c.max_period).permute(2, 1, 0).flatten(0, 1)
        y = self.norm_in(flat) + c.position_weight * places.to(x)
        yt = self.norm_in_t(xt.transpose(1, 2)) + c.position_weight * places_1d(xt.shape[2], c.width, c.max_period).to(
            x
        )
        for layer, layer_t in zip(self.layers, self.layers_t, strict=True):
            y, yt = layer(y, yt), layer_t(yt, y)
        return y.unflatten(1, (frames, bins)).permute(0, 3, 2, 1), yt.transpose(1, 2)


def places_1d(length: int, channels: int, max_period: float) -> Tensor:
    """(length, channels): cosines, then sines, of periods from 2π to 2π × max_period (Vaswani et al. 2017)."""
    half = channels // 2
    phase = torch.arange(length)[:, None] / max_period ** (torch.arange(half) / (half - 1))
    return torch.cat([torch.cos(phase), torch.sin(phase)], dim=1)


def places_2d(channels: int, height: int, width: int, max_period: float) -> Tensor:
    """(channels, height, width): sines and cosines by turns, of the column in one half, of the row in the other."""
    half = channels // 2
    rate = torch.exp(torch.arange(0.0, half, 2) * -(math.log(max_period) / half))
    table = torch.zeros(channels, height, width)
    for first, count, shape in ((0, width, (-1, 1, width)), (half, height, (-1, height, 1))):
        phase = (torch.arange(0.0, count)[:, None] * rate).T
        table[first : first + half : 2] = torch.sin(phase).reshape(shape)
        table[first + 1 : first + half : 2] = torch.cos(phase).reshape(shape)
    return table


class HTDemucs(HybridUNet):
    """Mix (batch, channels, samples) → sources, best in chunks as long as a training example."""

    config: HTDemucsConfig

    def __init__(self, config: HTDemucsConfig, spec: SeparatorSpec) -> None:
        super().__init__(config, spec, residual_scale=1e-3)
        c = config
        self.segment = int(c.segment * spec.sample_rate)
        self.chunk_seconds = max(1, self.segment // self.hop) * self.hop / spec.sample_rate
        inside = c.channels * c.growth ** (c.depth - 1)
        if c.bottom_channels:
            self.channel_upsampler = nn.Conv1d(inside, c.bottom_channels, 1)
            self.channel_downsampler = nn.Conv1d(c.bottom_channels, inside, 1)
            self.channel_upsampler_t = nn.Conv1d(inside, c.bottom_channels, 1)
            self.channel_downsampler_t = nn.Conv1d(c.bottom_channels, inside, 1)
        if c.layers:
            self.crosstransformer = CrossTransformer(c)

    def estimate(self, mix: Tensor) -> Tensor:
        samples = mix.shape[-1]
        least = self.segment if self.config.padded else self.hop
        mix = F.pad(mix, (0, max(0, least - samples)))
        return super().estimate(mix)[..., :samples]

    def bottom(self, x: Tensor, xt: Tensor) -> tuple[Tensor, Tensor]:
        c = self.config
        if not c.layers:
            return x, xt
        bins = x.shape[2]
        if c.bottom_channels:
            x = self.channel_upsampler(x.flatten(2)).unflatten(2, (bins, -1))
            xt = self.channel_upsampler_t(xt)
        x, xt = self.crosstransformer(x, xt)
        if c.bottom_channels:
            x = self.channel_downsampler(x.flatten(2)).unflatten(2, (bins, -1))
            xt = self.channel_downsampler_t(xt)
        return x, xt
