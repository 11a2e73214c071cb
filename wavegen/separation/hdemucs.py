"""Hybrid Demucs: two U-nets, over the spectrogram and over the waveform, that share their innermost layers.

Défossez 2021, "Hybrid spectrogram and waveform source separation". The names and shapes of the parameters are those of
the published checkpoints. The spectrogram's real and imaginary parts are channels, in and out.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wavegen.errors import InputError
from wavegen.separation.base import Separator, SeparatorSpec

_LSTM_STEPS = 200  # frames that an LSTM inside a layer sees at once; frames of half that are kept of each
_LONGEST_CHUNK = 12.0  # seconds


@dataclass(frozen=True)
class HDemucsConfig:
    """``channels`` of the outermost of ``depth`` layers, ``growth`` times as many in each further one.

    ``kernel`` and ``stride`` along frequency, or along time in the waveform's branch; ``time_stride`` where only one
    frequency is left. ``context``: half-width of the convolutions that widen, in decoders, ``context_enc`` in encoders.
    Group norms of ``norm_groups`` from layer ``norm_starts`` on; ``residual_depth`` dilated residual branches, narrower
    by ``residual_compress``, with LSTM and attention from the layers ``lstm_starts`` and ``attention_starts`` on, in
    encoders and, if ``residual_decoder``, in decoders. ``embedding`` weighs what is added per frequency, which is
    stored ``embedding_scale`` times smaller. ``segment``: seconds of a training example. ``zero_padded``: the
    spectrogram's ends are zeros, as in the oldest models, not mirrored.
    """

    channels: int = 48
    growth: int = 2
    depth: int = 6
    n_fft: int = 4096
    kernel: int = 8
    stride: int = 4
    time_stride: int = 2
    context: int = 1
    context_enc: int = 0
    norm_starts: int = 4
    norm_groups: int = 4
    residual_depth: int = 2
    residual_compress: int = 4
    residual_decoder: bool = False
    lstm_starts: int = 4
    attention_starts: int = 4
    embedding: float = 0.2
    embedding_scale: float = 10.0
    segment: float = 40.0
    zero_padded: bool = False

    def __post_init__(self) -> None:
        c, name = self, type(self).__name__
        sizes = (c.channels, c.growth, c.depth, c.stride, c.time_stride, c.norm_groups, c.residual_compress)
        if min(sizes) < 1 or min(c.context, c.context_enc, c.norm_starts, c.residual_depth) < 0:
            raise InputError(f"{name}: sizes must be positive")
        if c.n_fft < 16 or c.n_fft & (c.n_fft - 1) or c.kernel != 2 * c.stride or c.stride % 2:
            raise InputError(f"{name}: n_fft must be a power of two, and kernel twice the stride, which is even")
        if c.residual_compress > c.channels:
            raise InputError(f"{name}: residual_compress must be at most {c.channels}, the channels")
        if not 0 < c.segment < math.inf:
            raise InputError(f"{name}.segment must be positive, not {c.segment}")


class LayerScale(nn.Module):
    """(..., channels, frames) times a gain per channel, or (..., channels) with ``last`` (Touvron et al. 2021)."""

    def __init__(self, channels: int, value: float, *, last: bool = False) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((channels,), value))
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        return x * (self.scale if self.last else self.scale[:, None])


class FramedLSTM(nn.Module):
    """(batch, channels, frames) + a bidirectional LSTM of it, which sees 200 frames at a time of long inputs."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(channels, channels, num_layers=2, bidirectional=True)
        self.linear = nn.Linear(2 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        frames = x.shape[-1]
        if frames <= _LSTM_STEPS:
            return x + self._run(x)
        # Windows at every half of their width; of each, the outer quarters go, but for the outermost.
        stride = _LSTM_STEPS // 2
        count = -(-frames // stride)
        padded = F.pad(x, (0, (count - 1) * stride + _LSTM_STEPS - frames))
        windows = padded.unfold(-1, _LSTM_STEPS, stride).permute(0, 2, 1, 3)  # (batch, windows, channels, steps)
        y = self._run(windows.flatten(0, 1)).reshape(windows.shape)
        edge = stride // 2
        middle = y[:, 1:-1, :, edge:-edge].permute(0, 2, 1, 3).flatten(2)
        whole = torch.cat([y[:, 0, :, :-edge], middle, y[:, -1, :, edge:]], dim=-1)
        return x + whole[..., :frames]

    def _run(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(self.lstm(x.permute(2, 0, 1))[0])
        return y.permute(1, 2, 0)


class LocalAttention(nn.Module):
    """(batch, channels, frames) + attention whose heads each learn how fast it fades with distance; none on itself."""

    def __init__(self, channels: int, heads: int = 4, decays: int = 4) -> None:
        super().__init__()
        if channels % heads:
            raise InputError(f"{channels} channels cannot be split among {heads} heads of attention")
        self.heads, self.decays = heads, decays
        self.content = nn.Conv1d(channels, channels, 1)
        self.query = nn.Conv1d(channels, channels, 1)
        self.key = nn.Conv1d(channels, channels, 1)
        self.query_decay = nn.Conv1d(channels, heads * decays, 1)
        self.proj = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        batch, _, frames = x.shape
        place = torch.arange(frames, device=x.device, dtype=x.dtype)
        distance = (place[:, None] - place).abs()
        query, key, content, decay = (
            layer(x).reshape(batch, self.heads, -1, frames)
            for layer in (self.query, self.key, self.content, self.query_decay)
        )
        # Rows are keys, columns queries.
        score = torch.einsum("bhck,bhcq->bhkq", key, query) / key.shape[2] ** 0.5
        rates = torch.arange(1, self.decays + 1, device=x.device, dtype=x.dtype)
        fading = torch.einsum("d,bhdq->bhq", rates, torch.sigmoid(decay) / 2) / self.decays**0.5
        score = score - distance * fading[:, :, None]
        score = score.masked_fill(torch.eye(frames, device=x.device, dtype=torch.bool), -100.0)
        heard = torch.einsum("bhkq,bhck->bhcq", torch.softmax(score, dim=2), content)
        y: Tensor = self.proj(heard.reshape(batch, -1, frames))
        return x + y


class ResidualBranches(nn.Module):
    """(batch, channels, frames): dilated convolutions in few channels, with LSTM and attention, added one by one."""

    def __init__(self, channels: int, depth: int, compress: int, scale: float, *, lstm: bool, attention: bool) -> None:
        super().__init__()
        hidden = channels // compress
        self.layers = nn.ModuleList()
        for index in range(depth):
            dilation = 2**index
            between: list[nn.Module] = [FramedLSTM(hidden)] if lstm else []
            between += [LocalAttention(hidden)] if attention else []
            self.layers.append(
                nn.Sequential(
                    nn.Conv1d(channels, hidden, 3, dilation=dilation, padding=dilation),
                    nn.GroupNorm(1, hidden),
                    nn.GELU(),
                    *between,
                    nn.Conv1d(hidden, 2 * channels, 1),
                    nn.GroupNorm(1, 2 * channels),
                    nn.GLU(1),
                    LayerScale(channels, scale),
                )
            )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = x + layer(x)
        return x


@dataclass(frozen=True)
class Shape:
    """What a layer and its mirror image share: convolution along frequency or time, and what surrounds it."""

    kernel: int
    stride: int
    frequency: bool
    padding: int
    groups: int  # of the norms; 0: none
    lstm: bool
    attention: bool
    bare: bool = False  # the convolution alone

    def norm(self, channels: int) -> nn.Module:
        return nn.GroupNorm(self.groups, channels) if self.groups else nn.Identity()


def _along_time(branch: nn.Module, x: Tensor) -> Tensor:
    """A module of (batch, channels, frames) on each frequency of (batch, channels, bins, frames), if there are any."""
    if x.dim() == 3:
        return branch(x)  # type: ignore[no-any-return]
    y: Tensor = branch(x.transpose(1, 2).flatten(0, 1))
    return y.reshape(x.shape[0], x.shape[2], *y.shape[1:]).transpose(1, 2)


class EncoderLayer(nn.Module):
    """(batch, channels, [bins,] frames) → wider and ``stride`` times shorter along frequency, or time."""

    def __init__(self, config: Any, inputs: int, outputs: int, shape: Shape, scale: float) -> None:
        super().__init__()
        c, s = config, shape
        self.shape = shape
        if s.frequency:
            self.conv: nn.Module = nn.Conv2d(inputs, outputs, (s.kernel, 1), (s.stride, 1), (s.padding, 0))
        else:
            self.conv = nn.Conv1d(inputs, outputs, s.kernel, s.stride, s.padding)
        if s.bare:
            return
        convolution: Any = nn.Conv2d if s.frequency else nn.Conv1d
        self.norm1 = s.norm(outputs)
        self.rewrite = convolution(outputs, 2 * outputs, 1 + 2 * c.context_enc, 1, c.context_enc)
        self.norm2 = s.norm(2 * outputs)
        self.dconv = ResidualBranches(
            outputs, c.residual_depth, c.residual_compress, scale, lstm=s.lstm, attention=s.attention
        )

    def forward(self, x: Tensor, joined: Tensor | None = None) -> Tensor:
        """``joined`` (batch, channels, frames) of the other branch is added after the convolution."""
        if not self.shape.frequency:
            x = x.flatten(1, 2) if x.dim() == 4 else x
            x = F.pad(x, (0, -x.shape[-1] % self.shape.stride))
        y: Tensor = self.conv(x)
        if self.shape.bare:
            return y
        if joined is not None:
            y = y + (joined[:, :, None] if y.dim() == 4 else joined)
        y = _along_time(self.dconv, F.gelu(self.norm1(y)))
        return F.glu(self.norm2(self.rewrite(y)), dim=1)


class DecoderLayer(nn.Module):
    """The mirror image of an :class:`EncoderLayer`."""

    def __init__(self, config: Any, inputs: int, outputs: int, shape: Shape, scale: float, *, last: bool) -> None:
        super().__init__()
        c, s = config, shape
        self.shape, self.inputs, self.last = shape, inputs, last
        if s.frequency:
            self.conv_tr: nn.Module = nn.ConvTranspose2d(inputs, outputs, (s.kernel, 1), (s.stride, 1))
        else:
            self.conv_tr = nn.ConvTranspose1d(inputs, outputs, s.kernel, s.stride)
        self.norm2 = s.norm(outputs)
        if s.bare:
            return
        convolution: Any = nn.Conv2d if s.frequency else nn.Conv1d
        self.rewrite = convolution(inputs, 2 * inputs, 1 + 2 * c.context, 1, c.context)
        self.norm1 = s.norm(2 * inputs)
        self.dconv: nn.Module | None = None
        if c.residual_decoder:
            self.dconv = ResidualBranches(
                inputs, c.residual_depth, c.residual_compress, scale, lstm=s.lstm, attention=s.attention
            )

    def forward(self, x: Tensor, skip: Tensor | None, length: int) -> tuple[Tensor, Tensor]:
        """Gives its output, ``length`` samples long where it works along time, and what went into the convolution."""
        s = self.shape
        if s.frequency and x.dim() == 3:
            x = x.reshape(x.shape[0], self.inputs, -1, x.shape[2])
        if skip is not None:
            x = F.glu(self.norm1(self.rewrite(x + skip)), dim=1)
            if self.dconv is not None:
                x = _along_time(self.dconv, x)
        y: Tensor = self.norm2(self.conv_tr(x))
        if not s.frequency:
            y = y[..., s.padding : s.padding + length]
        elif s.padding:
            y = y[..., s.padding : -s.padding, :]
        return (y if self.last else F.gelu(y)), x


class FrequencyEmbedding(nn.Module):
    """A vector per frequency, stored ``scale`` times smaller."""

    def __init__(self, bins: int, channels: int, scale: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(bins, channels)
        self.scale = scale

    def forward(self) -> Tensor:
        """(channels, bins, 1)"""
        return (self.embedding.weight * self.scale).T[..., None]


class HybridUNet(Separator):
    """The two U-nets; a subclass says, by :meth:`bottom`, what happens between encoders and decoders."""

    def __init__(self, config: Any, spec: SeparatorSpec, residual_scale: float) -> None:
        super().__init__()
        c = config
        self.config, self.spec = config, spec
        self.hop = c.n_fft // 4
        self.context = 0
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        self.tencoder, self.tdecoder = nn.ModuleList(), nn.ModuleList()
        self.freq_emb: FrequencyEmbedding | None = None
        ins, ins_t = 2 * spec.channels, spec.channels
        outs = outs_t = c.channels
        bins = c.n_fft // 2
        for index in range(c.depth):
            frequency, merges = bins > 1, 1 < bins <= c.kernel
            groups = c.norm_groups if index >= c.norm_starts else 0
            inner = {"lstm": index >= c.lstm_starts, "attention": index >= c.attention_starts, "groups": groups}
            # Where the branches meet, the waveform's has come to the spectrogram's hop.
            step = self.hop // c.stride**index if merges else c.stride
            if merges and (step < 2 or step % 2 or step * c.stride**index != self.hop):
                raise InputError(f"{type(c).__name__}: the branches would meet at different rates")
            beside = Shape(2 * step, step, False, step // 2, bare=merges, **inner)
            if not frequency:
                shape = Shape(2 * c.time_stride, c.time_stride, False, c.time_stride // 2, **inner)
            elif merges:
                shape = Shape(bins, c.stride, True, 0, **inner)
                outs = outs_t = max(outs, outs_t)
            else:
                shape = Shape(c.kernel, c.stride, True, c.stride // 2, **inner)
            self.encoder.append(EncoderLayer(c, ins, outs, shape, residual_scale))
            if frequency:
                self.tencoder.append(EncoderLayer(c, ins_t, outs_t, beside, residual_scale))
            if index == 0:
                ins, ins_t = ins * len(spec.sources), ins_t * len(spec.sources)
            last = index == 0
            self.decoder.insert(0, DecoderLayer(c, outs, ins, shape, residual_scale, last=last))
            if frequency:
                self.tdecoder.insert(0, DecoderLayer(c, outs_t, ins_t, beside, residual_scale, last=last))
                bins = 1 if merges else bins // c.stride
            if index == 0 and c.embedding:
                self.freq_emb = FrequencyEmbedding(bins, outs, c.embedding_scale)
            ins, ins_t = outs, outs_t
            outs, outs_t = c.growth * outs, c.growth * outs_t

    def bottom(self, x: Tensor, xt: Tensor) -> tuple[Tensor, Tensor]:
        """What the decoders of the spectrogram (batch, channels, [bins,] frames) and the waveform (batch, channels,
        frames) begin with."""
        raise NotImplementedError

    def estimate(self, mix: Tensor) -> Tensor:
        samples = mix.shape[-1]
        sizes = (len(self.spec.sources), self.spec.channels)
        spectrum = torch.view_as_real(self._spectrum(mix))  # (batch, channels, bins, frames, 2)
        bins, frames = spectrum.shape[2:4]
        x, mean, deviation = _standardised(spectrum.permute(0, 1, 4, 2, 3).flatten(1, 2))
        xt, mean_t, deviation_t = _standardised(mix)
        x, xt = self._unets(x, xt)
        found = x.reshape(-1, *sizes, 2, bins, frames) * deviation[:, None, None] + mean[:, None, None]
        spectra = torch.view_as_complex(found.permute(0, 1, 2, 4, 5, 3).contiguous())
        waves = xt.reshape(-1, *sizes, samples) * deviation_t[:, None] + mean_t[:, None]
        return waves + self._waveform(spectra, samples)

    def _unets(self, x: Tensor, xt: Tensor) -> tuple[Tensor, Tensor]:
        skips: list[tuple[Tensor, int]] = []
        skips_t: list[tuple[Tensor | None, int]] = []
        for index, encode in enumerate(self.encoder):
            length, joined = x.shape[-1], None
            if index < len(self.tencoder):
                layer: Any = self.tencoder[index]
                length_t = xt.shape[-1]
                xt = layer(xt)
                joined = xt if layer.shape.bare else None
                skips_t.append((None if layer.shape.bare else xt, length_t))
            x = encode(x, joined)
            if index == 0 and self.freq_emb is not None:
                x = x + self.config.embedding * self.freq_emb()
            skips.append((x, length))
        x, xt = self.bottom(x, xt)
        for index, decode in enumerate(self.decoder):
            skip, length = skips.pop()
            x, before = decode(x, skip, length)
            beside = index - len(self.decoder) + len(self.tdecoder)
            if beside >= 0:
                skip_t, length_t = skips_t.pop()
                xt, _ = self.tdecoder[beside](before[:, :, 0] if skip_t is None else xt, skip_t, length_t)
        return x, xt

    def _spectrum(self, mix: Tensor) -> Tensor:
        """(..., samples) → (..., n_fft / 2, ceil(samples / hop)), complex; the highest frequency is left out.

        Frame t covers what the convolutions of the waveform's branch cover in as many steps.
        """
        n_fft, hop, samples = self.config.n_fft, self.hop, mix.shape[-1]
        frames = -(-samples // hop)
        edge = hop // 2 * 3
        padded = _mirrored(mix, edge, edge + frames * hop - samples, zeros=self.config.zero_padded)
        window = torch.hann_window(n_fft, dtype=mix.dtype, device=mix.device)
        spectrum = torch.stft(
            padded.flatten(0, -2), n_fft, hop, window=window, normalized=True, center=True, return_complex=True
        )
        return spectrum[:, :-1, 2 : 2 + frames].reshape(*mix.shape[:-1], n_fft // 2, frames)

    def _waveform(self, spectra: Tensor, samples: int) -> Tensor:
        """The inverse of :meth:`_spectrum`."""
        n_fft, hop = self.config.n_fft, self.hop
        edge = hop // 2 * 3
        padded = F.pad(spectra, (2, 2, 0, 1)).flatten(0, -3)
        window = torch.hann_window(n_fft, dtype=spectra.real.dtype, device=spectra.device)
        frames = -(-samples // hop) * hop
        first = 0 if self.config.zero_padded else edge
        length = frames if self.config.zero_padded else frames + 2 * edge
        waves = torch.istft(padded, n_fft, hop, window=window, normalized=True, center=True, length=length)
        return waves[:, first : first + samples].reshape(*spectra.shape[:-2], samples)


class HDemucs(HybridUNet):
    """Mix (batch, channels, samples) → sources; the decoders begin with silence, and know all through the skips."""

    config: HDemucsConfig

    def __init__(self, config: HDemucsConfig, spec: SeparatorSpec) -> None:
        super().__init__(config, spec, residual_scale=1e-4)
        self.chunk_seconds = min(config.segment, _LONGEST_CHUNK)

    def bottom(self, x: Tensor, xt: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(x), torch.zeros_like(x)


def _standardised(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """x less its mean, over its deviation; and these, an item each."""
    dims = tuple(range(1, x.dim()))
    mean = x.mean(dim=dims, keepdim=True)
    deviation = x.std(dim=dims, keepdim=True, correction=min(1, x[0].numel() - 1))
    return (x - mean) / (1e-5 + deviation), mean, deviation


def _mirrored(x: Tensor, before: int, after: int, *, zeros: bool) -> Tensor:
    """(..., samples) with both ends mirrored; what is too short for that gets zeros behind it, then before it."""
    if zeros:
        return F.pad(x, (before, after))
    missing = max(0, max(before, after) - x.shape[-1] + 1)
    behind = min(after, missing)
    x = F.pad(x, (missing - behind, behind))
    return F.pad(x, (before - (missing - behind), after - behind), mode="reflect")
