"""Band-split LSTM: the spectrum in bands, and LSTMs that run along time and across the bands in turn.

After Luo and Yu 2023, "Music source separation with band-split RNN", made small enough for a CPU: one model for all
sources, bands equally wide in mel, layer norms that look at a single frame, and, where asked for, LSTMs that run
along windows of time (:mod:`wavegen.nn.windows`), so that a chunk is separated as the whole is.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from wavegen.errors import InputError
from wavegen.nn.windows import cover, in_windows, reach
from wavegen.separation.base import Separator, SeparatorSpec
from wavegen.separation.stft import istft_blocks, stft

CHUNK = 12.0  # seconds of all channels that are separated at a time
WINDOWS = 6  # that are separated at a time: no crossfade is needed, and context takes a quarter of the time
BLOCK = 32  # frames whose masks are held at a time
LARGEST = 7 << 20  # values of an LSTM's output: from 32 MiB on, C libraries get and return fresh pages at each call
AT_ONCE = 2 << 20  # the same, of the channels that are separated at a time: more are no faster, and take more memory


@dataclass(frozen=True)
class BandSplitLSTMConfig:
    """Sizes: ``channels`` of a band's vector, ``hidden`` units of an LSTM in each direction, ``layers`` pairs of LSTMs.

    ``bands`` is how many bands, none narrower than ``narrowest`` bins; ``head`` the hidden width of a band's mask head.
    ``n_fft`` and ``hop`` are in samples. LSTMs along time run in windows of ``window`` frames, an even number; 0: along
    all frames, and then ``context``, in seconds, is the margin within which they are taken to forget.
    """

    channels: int = 40
    hidden: int = 48
    layers: int = 4
    bands: int = 32
    narrowest: int = 3
    head: int = 96
    n_fft: int = 2048
    hop: int = 512
    context: float = 1.0
    window: int = 0

    def __post_init__(self) -> None:
        if min(self.channels, self.hidden, self.layers, self.bands, self.narrowest, self.head) < 1:
            raise InputError("BandSplitLSTMConfig: all sizes must be positive")
        if self.hop < 1 or self.n_fft < 4 * self.hop or self.n_fft % 2 or self.n_fft % self.hop:
            raise InputError(f"BandSplitLSTMConfig.n_fft must be even, and at least 4 whole hops, not {self.n_fft}")
        if not 0 <= self.context < math.inf:
            raise InputError(f"BandSplitLSTMConfig.context must be at least 0 s, not {self.context}")
        if self.window < 0 or self.window % 2:
            raise InputError(f"BandSplitLSTMConfig.window must be even, and 0 or more, not {self.window}")

    @property
    def firsts(self) -> tuple[int, ...]:
        """The frame at which each layer's windows begin: half a window on in the first of four and the last.

        The edges of a window lie in the midst of the next ones, and no other order reaches less far for four layers.
        """
        return tuple(self.window // 2 if layer % 4 in (0, 3) else 0 for layer in range(self.layers))


def band_widths(sample_rate: int, n_fft: int, bands: int, narrowest: int) -> tuple[int, ...]:
    """Widths in bins of bands that tile 0 to n_fft // 2, about equal in mel. InputError where they do not fit."""
    bins = n_fft // 2 + 1
    if bands * narrowest > bins:
        raise InputError(f"{bands} bands of at least {narrowest} bins do not fit into {bins} bins")
    top = math.log1p(sample_rate / 2 / 700)
    edges = [0]
    for band in range(1, bands):
        mel = 700 * math.expm1(top * band / bands) * n_fft / sample_rate
        edges.append(min(max(round(mel), edges[-1] + narrowest), bins - (bands - band) * narrowest))
    edges.append(bins)
    return tuple(b - a for a, b in pairwise(edges))


def pieces(x: Tensor, values: int, most: int) -> tuple[Tensor, ...]:
    """x (steps, batch, ...), of which ``values`` are made, with as much of its batch in each as makes ``most``."""
    return torch.split(x, math.ceil(x.shape[1] / math.ceil(values / most)), dim=1)


class ResidualLSTM(nn.Module):
    """x (steps, batch, channels) → x + Linear(bidirectional LSTM(LayerNorm(x))), some of the batch at a time."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.lstm = nn.LSTM(channels, hidden, bidirectional=True)
        self.output = nn.Linear(2 * hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        steps, batch, _ = x.shape
        parts = pieces(x, batch * steps * self.output.in_features, LARGEST)
        return torch.cat([self._piece(part) for part in parts], dim=1)

    def _piece(self, x: Tensor) -> Tensor:
        added: Tensor = self.output(self.lstm(self.norm(x))[0])
        return x + added


class BandSplitLSTM(Separator):
    """Mix (batch, channels, samples) → sources, each a complex mask times the mix's spectrum.

    Each channel is an item of its own, and is seen by its log-magnitudes and those of the other channel, of their sum
    and of their difference: these know neither the sign nor the order of the channels, and masks multiply the spectrum,
    so polarity and channel swap commute with separation. The masks of a bin are made to sum to 1 by sharing out what
    is missing in proportion to their energies, so that a source that is silent stays so.
    """

    config: BandSplitLSTMConfig

    def __init__(self, config: BandSplitLSTMConfig, spec: SeparatorSpec) -> None:
        super().__init__()
        self.config, self.spec = config, spec
        c = config
        if c.window:
            self.hop, self.overlap = c.window * c.hop, 0.0
            self.chunk_seconds = WINDOWS * self.hop / spec.sample_rate
            self.context = reach(c.window, c.firsts, -(-c.n_fft // (2 * c.hop))) * c.hop
        else:
            self.hop, self.overlap, self.chunk_seconds = c.hop, 0.05, CHUNK / spec.channels
            self.context = math.ceil(c.context * spec.sample_rate / c.hop) * c.hop
        self.widths = band_widths(spec.sample_rate, c.n_fft, c.bands, c.narrowest)
        self.views = 4 if spec.channels == 2 else 1
        count = len(spec.sources)
        self.embed = nn.ModuleList(nn.Linear(self.views * width, c.channels) for width in self.widths)
        self.along_time = nn.ModuleList(ResidualLSTM(c.channels, c.hidden) for _ in range(c.layers))
        self.across_bands = nn.ModuleList(ResidualLSTM(c.channels, c.hidden) for _ in range(c.layers))
        self.norm = nn.LayerNorm(c.channels)
        self.head_weight = nn.Parameter(torch.empty(c.bands, c.channels, c.head))
        self.head_bias = nn.Parameter(torch.zeros(c.bands, 1, c.head))
        nn.init.normal_(self.head_weight, std=c.channels**-0.5)
        self.masks = nn.ModuleList(nn.Linear(c.head, count * 3 * width) for width in self.widths)
        for layer, width in zip(self.masks, self.widths, strict=True):
            assert isinstance(layer, nn.Linear)
            with torch.no_grad():  # equal shares: the gates let half of 2 / count through
                layer.weight.mul_(0.1)
                layer.bias.zero_()
                layer.bias.view(count, 3, width)[:, 0] = 2.0 / count

    def estimate(self, mix: Tensor) -> Tensor:
        return self.estimate_within(mix, 0, mix.shape[-1])

    def estimate_within(self, mix: Tensor, start: int, stop: int) -> Tensor:
        c = self.config
        frames, half = 1 + mix.shape[-1] // c.hop, c.n_fft // 2
        first = max(0, (start - half) // c.hop + 1)
        last = min(frames, (stop - 1 + half) // c.hop + 1)
        spans = self.spans(frames, first, last)
        # A few frames at a time: what is as large as the spectrum, or as all masks, had better stay in the cache.
        x = torch.cat([self.embedded(self.features(part)) for part in self.spectra(mix, *spans[0])])
        items = pieces(x, 2 * c.hidden * x[..., 0].numel(), AT_ONCE)
        x = torch.cat([self.trunk(item, spans) for item in items], dim=1)
        del items
        parts = zip(torch.split(x, BLOCK), self.spectra(mix, first, last), strict=True)
        masked = (self.masked(vectors, part) for vectors, part in parts)
        return istft_blocks(masked, c.n_fft, c.hop, stop - start, start - first * c.hop)

    def spans(self, frames: int, first: int, last: int) -> list[tuple[int, int]]:
        """The frames that each layer has to see for [first, last) to be known after the last one, and these."""
        spans = [(first, last)]
        for begin in reversed(self.config.firsts):
            spans.insert(0, cover(self.config.window, begin, *spans[0], frames))
        return spans

    def spectrum(self, mix: Tensor, first: int = 0, last: int | None = None) -> Tensor:
        """Mix (batch, channels, samples) → complex spectrum (batch, channels, frames, bins) of frames [first, last)."""
        c = self.config
        last = 1 + mix.shape[-1] // c.hop if last is None else last
        margin = c.n_fft // (2 * c.hop) + 1  # of frames, beyond which the ends, which are padded, are not seen
        before = max(0, first - margin)
        part = mix[..., before * c.hop : (last - 1 + margin) * c.hop]
        return stft(part, c.n_fft, c.hop)[..., first - before : last - before].transpose(2, 3)

    def spectra(self, mix: Tensor, first: int, last: int) -> Iterator[Tensor]:
        """The spectrum of frames [first, last), BLOCK of them at a time."""
        for begin in range(first, last, 4 * BLOCK):  # so that the margins are few
            yield from torch.split(self.spectrum(mix, begin, min(begin + 4 * BLOCK, last)), BLOCK, dim=2)

    def spectral_masks(self, mix: Tensor) -> Tensor:
        """Of mixes (batch, channels, samples) of RMS 1, for the first channel alone, what

        :func:`consistent_masks` makes masks of: (frames, batch, sources, 3, bins).
        """
        spectrum = self.spectrum(mix)
        raw = self.head(self.trunk(self.embedded(self.features(spectrum, first=True))))
        return raw.reshape(spectrum.shape[2], spectrum.shape[0], *raw.shape[1:])

    def features(self, spectrum: Tensor, *, first: bool = False) -> Tensor:
        """Complex spectrum (batch, channels, frames, bins) → log-magnitudes (frames, items, bins × views).

        Items are the channels of all of the batch, or the ``first`` of each.
        """
        views = [spectrum[:, 0]]
        if self.views > 1:
            own, other = spectrum[:, 0], spectrum[:, 1]
            views += [other, (own + other) / 2, (own - other) / 2]
        power = spectrum.real.new_empty(*views[0].shape, self.views)
        for place, view in enumerate(views):
            torch.add(view.real.square(), view.imag.square(), out=power[..., place])
        # White noise of RMS 1 has power 1. The floor, 80 dB below, lies where float32 still is exact to a part in 1000.
        logs = power.div_(0.375 * self.config.n_fft).add_(1e-8).log_().div_(6).add_(1)
        if self.views > 1 and not first:  # the other channel sees the same, with itself in the first place
            logs = torch.stack([logs, logs[..., [1, 0, 2, 3]]], dim=1).flatten(0, 1)
        return logs.flatten(2).transpose(0, 1)

    def embedded(self, features: Tensor) -> Tensor:
        """Features (frames, items, bins × views) → vectors (frames, items, bands, channels)."""
        bands = torch.split(features, [self.views * width for width in self.widths], dim=-1)
        return torch.stack([embed(band) for embed, band in zip(self.embed, bands, strict=True)], dim=2)

    def trunk(self, x: Tensor, spans: Sequence[tuple[int, int]] | None = None) -> Tensor:
        """Vectors (frames, items, bands, channels) that know their own place → those that know all others, too.

        ``spans``, as :meth:`spans` gives them: which frames x are, and which are wanted of each layer; by default, all.
        """
        frames, items, bands, channels = x.shape
        c = self.config
        spans = spans or [(0, frames)] * (c.layers + 1)
        layers = zip(self.along_time, self.across_bands, c.firsts, pairwise(spans), strict=True)
        for along_time, across_bands, first, ((start, _), (begin, end)) in layers:
            x = x.reshape(-1, items * bands, channels)
            x = in_windows(along_time, x, c.window, first if start == 0 else 0)[begin - start : end - start]
            x = x.reshape(-1, bands, channels).transpose(0, 1).contiguous()
            x = across_bands(x).transpose(0, 1)
        return x.reshape(-1, items, bands, channels)

    def head(self, x: Tensor) -> Tensor:
        """Vectors (frames, items, bands, channels) → what masks are made of (frames × items, sources, 3, bins)."""
        y = self.norm(x).flatten(0, 1).transpose(0, 1)
        y = torch.tanh(torch.baddbmm(self.head_bias, y, self.head_weight))
        count = len(self.spec.sources)
        raw = [layer(band).unflatten(1, (count, 3, -1)) for layer, band in zip(self.masks, y, strict=True)]
        return torch.cat(raw, dim=-1)

    def masked(self, x: Tensor, spectrum: Tensor) -> Tensor:
        """Vectors (frames, items, bands, channels) and spectrum → (batch, sources, channels, frames, bins)."""
        frames, count = x.shape[0], len(self.spec.sources)
        real, imag = consistent_masks(self.head(x))
        masks = torch.complex(real, imag).reshape(frames, *spectrum.shape[:2], count, -1)
        return masks.permute(1, 3, 2, 0, 4) * spectrum[:, None]


def consistent_masks(raw: Tensor) -> tuple[Tensor, Tensor]:
    """(..., sources, 3, bins) → real and imaginary parts (..., sources, bins) of masks that sum to 1.

    The three are a mask's parts and its gate. What the gated masks lack is shared out in proportion to their energies.
    """
    real, imag, gate = raw.float().unbind(dim=-2)
    gate = torch.sigmoid(gate)
    real, imag = real * gate, imag * gate
    energy = real.square() + imag.square() + 1e-6
    share = energy / energy.sum(dim=-2, keepdim=True)
    return real + share * (1 - real.sum(dim=-2, keepdim=True)), imag - share * imag.sum(dim=-2, keepdim=True)
