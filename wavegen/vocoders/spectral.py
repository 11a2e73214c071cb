"""A vocoder for music: a network widens the mel to a linear spectrum, whose phases follow from its peaks.

A network that gives phases frame by frame cannot hold a steady tone: the same mel must give the same phase, so only
multiples of the frame rate come out pure. Here phases are integrated instead: every peak of the spectrum is a sinusoid
whose frequency is read between bins and whose phase runs on from the frame before, and the bins around a peak are
locked to it (Beauregard, Harish & Wyse 2015, "Single pass spectrogram inversion"). A few Griffin-Lim iterations then
make neighbouring frames agree.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wavegen.audio.features import FeatureSpec
from wavegen.errors import InputError
from wavegen.nn.convnext import ConvNeXtBlock
from wavegen.vocoders.base import Vocoder, spans
from wavegen.vocoders.griffin_lim import Projection

QUIETEST, LOUDEST = -9.0, 8.0  # natural logarithms of magnitudes: below nothing is heard, above lies no waveform
CORRECTIONS = 2


@dataclass(frozen=True)
class SpectralVocoderConfig:
    """Sizes of the network as in ISTFTVocoderConfig; ``iterations`` of Griffin-Lim, with ``momentum``."""

    channels: int = 256
    hidden: int = 768
    layers: int = 6
    kernel: int = 7
    iterations: int = 4
    momentum: float = 0.5

    def __post_init__(self) -> None:
        if min(self.channels, self.hidden, self.layers, self.iterations) < 1:
            raise InputError("SpectralVocoderConfig: channels, hidden, layers and iterations must be positive")
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise InputError(f"SpectralVocoderConfig.kernel must be odd, not {self.kernel}")
        if not 0 <= self.momentum < 1:
            raise InputError(f"SpectralVocoderConfig.momentum must lie in [0, 1), not {self.momentum}")


class SpectralVocoder(Vocoder):
    """Mel (batch, bands, frames) → waveform (batch, frames × hop). The spec's padding must be "same"."""

    refine = 0
    mel_mean: Tensor
    mel_std: Tensor
    spectrum_mean: Tensor

    def __init__(self, config: SpectralVocoderConfig, spec: FeatureSpec) -> None:
        super().__init__()
        if spec.padding != "same" or spec.n_fft != spec.window or spec.n_fft < 4 * spec.hop:
            raise InputError(
                'SpectralVocoder needs padding "same", window = n_fft and a hop of at most a quarter of it'
            )
        self.config, self.spec = config, spec
        c = config
        bins = spec.n_fft // 2 + 1
        self.embed = nn.Conv1d(spec.bands, c.channels, c.kernel, padding=c.kernel // 2)
        self.norm = nn.LayerNorm(c.channels, eps=1e-6)
        self.blocks = nn.ModuleList(
            ConvNeXtBlock(c.channels, c.hidden, c.kernel, 1.0 / c.layers) for _ in range(c.layers)
        )
        self.last_norm = nn.LayerNorm(c.channels, eps=1e-6)
        self.head = nn.Linear(c.channels, bins)
        # What the network has not learned to move, the nearest band's level explains.
        self.direct = nn.Linear(spec.bands, bins, bias=False)
        nn.init.normal_(self.direct.weight, std=0.01)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.register_buffer("mel_mean", torch.zeros(spec.bands))
        self.register_buffer("mel_std", torch.ones(spec.bands))
        self.register_buffer("spectrum_mean", torch.zeros(bins))
        self.projection = Projection(spec, c.iterations, c.momentum)
        self.shared = -(-spec.n_fft // spec.hop)  # frames that a frame shares samples with, on each side
        self.reach = self.shared * (c.iterations + 1)
        self.network_context = (c.kernel // 2) * (c.layers + 1)
        self.context = self.network_context + self.reach

    def log_magnitude(self, mel: Tensor) -> Tensor:
        """Natural logarithm of the linear magnitude, (batch, n_fft // 2 + 1, frames), of the mel's own frames."""
        standard = (mel - self.mel_mean[:, None]) / self.mel_std[:, None]
        x = self.norm(self.embed(standard).transpose(1, 2)).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        y = self.head(self.last_norm(x.transpose(1, 2))) + self.direct(standard.transpose(1, 2))
        log: Tensor = y.transpose(1, 2).float() + self.spectrum_mean[:, None]
        return log.clamp(max=LOUDEST)

    def magnitude(self, mel: Tensor) -> Tensor:
        """The linear magnitude, brought to the mel that it was made from by Richardson-Lucy steps.

        Each step scales a bin by what its bands ask for, so the network's fine structure stays, and its level is right.
        """
        magnitude = torch.exp(self.log_magnitude(mel))
        filters = self.projection.extractor.filters
        target, weight = self.projection.extractor.expand(mel), filters.sum(dim=0).clamp(min=1e-8)[:, None]
        for _ in range(CORRECTIONS):
            ratio = target / torch.matmul(filters, magnitude).clamp(min=self.spec.floor)
            magnitude = magnitude * torch.matmul(filters.T, ratio) / weight
        return torch.where(magnitude > math.exp(QUIETEST), magnitude, 0.0)

    def forward(self, mel: Tensor) -> Tensor:
        self.check(mel)
        return torch.cat(list(self.stream([mel], block=mel.shape[-1])), dim=-1)

    @torch.inference_mode()
    def stream(self, chunks: Iterable[Tensor], block: int = 256) -> Iterator[Tensor]:
        """As :meth:`Vocoder.stream`. Phases run on from chunk to chunk."""
        hop, extra = self.spec.hop, self.projection.extra
        bins = self.spec.n_fft // 2 + 1
        before = extra  # frames still to come that stand before the mel's first
        held: Tensor | None = None  # samples of as many frames as stand behind its last
        for joint, start, count in spans(self._joint(chunks, block), block, self.reach):
            magnitude, angle = joint[:, :bins], joint[:, bins:]
            wave = self.projection.iterate(magnitude, torch.polar(torch.ones_like(angle), angle))
            skipped = min(before, count)
            before -= skipped
            if skipped == count:
                continue
            # A frame's first sample lies half a hop before its centre, where the transform counts from.
            first, last = (start + skipped) * hop - hop // 2, (start + count) * hop - hop // 2
            wave = F.pad(wave, (0, max(0, last - wave.shape[-1])))[:, first:last]
            wave = wave if held is None else torch.cat([held, wave], dim=-1)
            ready = max(0, wave.shape[-1] - extra * hop)
            held = wave[:, ready:]
            if ready:
                yield wave[:, :ready]

    def _joint(self, chunks: Iterable[Tensor], block: int) -> Iterator[Tensor]:
        """Magnitudes and phase angles, (batch, 2 × bins, frames), with ``extra`` frames before and behind the mel's."""
        extra = self.projection.extra
        phases = PhaseIntegrator(self.spec)
        final: Tensor | None = None
        checked = (self._checked(chunk) for chunk in chunks)
        for mel, start, count in spans(checked, block, self.network_context):
            magnitude = self.magnitude(mel)[..., start : start + count]
            if final is None:
                magnitude = F.pad(magnitude, (extra, 0), mode="replicate")
            final = magnitude[..., -1:]
            yield torch.cat([magnitude, phases(magnitude)], dim=1)
        if final is not None:
            magnitude = final.expand(-1, -1, extra)
            yield torch.cat([magnitude, phases(magnitude)], dim=1)


class PhaseIntegrator:
    """Magnitudes (batch, bins, frames) → phase angles of the same shape; goes on where the call before has stopped.

    Angles are those of a transform that counts time from the start of a frame, as torch's does.
    """

    def __init__(self, spec: FeatureSpec) -> None:
        self.spec = spec
        self._angle: Tensor | None = None  # (batch, bins), of the frame before, counted from the frame's centre
        self._frequency: Tensor | None = None

    def __call__(self, magnitude: Tensor) -> Tensor:
        batch, bins, frames = magnitude.shape
        owner, frequency = self._peaks(magnitude)
        hop = self.spec.hop
        angle, before = self._angle, self._frequency
        if angle is None or before is None:
            generator = torch.Generator().manual_seed(0)
            angle = 2 * math.pi * torch.rand(bins, generator=generator).to(magnitude).expand(batch, bins)
            before = frequency[..., 0]
        angles = torch.empty_like(magnitude)
        for frame in range(frames):
            place, now = owner[..., frame], frequency[..., frame]
            angle = torch.gather(angle, 1, place) + (0.5 * hop) * (now + torch.gather(before, 1, place))
            angle = angle - (2 * math.pi) * torch.floor(angle / (2 * math.pi))  # or float32 would lose the turns
            angles[..., frame] = angle
            before = now
        self._angle, self._frequency = angle, before
        return angles + math.pi * torch.arange(bins, device=magnitude.device).remainder(2)[:, None]

    def _peaks(self, magnitude: Tensor) -> tuple[Tensor, Tensor]:
        """For every bin, the bin of the nearest peak and that peak's frequency in radians a sample.

        A parabola through the logarithms of a peak and its neighbours gives the frequency between bins.
        """
        bins = magnitude.shape[1]
        level = torch.log(magnitude.clamp(min=1e-8))
        padded = F.pad(level.transpose(1, 2), (1, 1), mode="replicate").transpose(1, 2)
        below, above = padded[:, :-2], padded[:, 2:]
        peak = (level > below) & (level >= above)
        curvature = below - 2 * level + above
        offset = torch.where(peak & (curvature < -1e-6), 0.5 * (below - above) / curvature, 0.0).clamp(-0.5, 0.5)
        index = torch.arange(bins, device=magnitude.device)[None, :, None].expand_as(magnitude)
        far = 4 * bins
        low = torch.where(peak, index, -far).cummax(dim=1).values
        high = torch.where(peak, index, far).flip(1).cummin(dim=1).values.flip(1)
        nearest = torch.where(index - low <= high - index, low, high)
        owner = torch.where(nearest.abs() < bins, nearest, index)  # no peak at all: silence
        frequency = (index + offset) * (2 * math.pi / self.spec.n_fft)
        return owner, torch.gather(frequency, 1, owner)
