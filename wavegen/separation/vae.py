"""Supervised variational autoencoders of separation: latents of each source, drawn from what the mix says of it.

An encoder reads the mix and gives q(z_k | mix) = N(mean, variance) for every source k and frame; a decoder for each
source turns z_k, beside a coarse view of the mix, into the source's magnitudes; the sources are cut out of the mix by
the Wiener filter of these magnitudes, so that they sum to it and have its phase (Kingma & Welling 2014; Sohn et al.
2015, "Learning structured output representation using deep conditional generative models"). Two heads read off z_k and
off the magnitudes of the separated source which note sounds and which instrument plays. Separation takes the
posterior's mean.
"""

from abc import abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wavegen.separation.base import Separator, SeparatorSpec
from wavegen.separation.masking import HarmonicSums, Transform, log_magnitude, magnitude, mel_means

UNVOICED = 128
"""The class of the pitch head beside the 128 MIDI pitches."""
TIMBRE = 48  # mel bands of a separated source that its family is read off
LOUDEST = 8.0  # natural logarithm of a magnitude, above which no bin of a mix of RMS 1 lies


class Latents(NamedTuple):
    """Means and log-variances, (batch, sources, units, frames)."""

    mean: Tensor
    log_variance: Tensor


class Reading(NamedTuple):
    """Logits of what each source plays: pitch (batch, sources, 129, frames), family (batch, sources, families)."""

    pitch: Tensor
    family: Tensor


class VAEOutput(NamedTuple):
    """All that is made of a mix of RMS 1.

    masks and the decoders' own log_magnitude, in nats, (batch, sources, bins, frames); its spectrum (batch, channels,
    bins, frames).
    """

    masks: Tensor
    log_magnitude: Tensor
    latents: Latents
    reading: Reading
    spectrum: Tensor


class SeparationVAE(Separator):
    """What the autoencoders share; a subclass has ``encoder`` and ``decoder`` of its own kind.

    ``encode_levels`` gives 2 × units × sources values a frame, ``decode`` the log-magnitude of one source.
    """

    transform: Transform
    units: int
    timbre: Tensor

    def __init__(self, config: Any, spec: SeparatorSpec) -> None:
        super().__init__()
        self.config, self.spec, self.hop = config, spec, config.hop
        self.transform = Transform(config.n_fft, config.hop)
        self.units = config.units
        self.sums = HarmonicSums(spec.sample_rate, config.n_fft)
        timbre = mel_means(spec.sample_rate, config.n_fft, config.hop, TIMBRE)
        self.register_buffer("timbre", timbre, persistent=False)
        self.pitch = PitchHead(config.units + self.sums.pitches, config.heads)
        self.family = FamilyHead(config.units + TIMBRE, config.heads, config.families)

    @abstractmethod
    def encode_levels(self, levels: Tensor) -> Tensor:
        """Magnitudes (batch, bins, frames) → (batch, sources × 2 × units, frames)."""

    @abstractmethod
    def decode(self, source: int, latent: Tensor, levels: Tensor) -> Tensor:
        """Latents of one source (batch, units, frames), beside the mix's levels (batch, bins, frames), →

        the natural logarithm of its magnitudes (batch, bins, frames).
        """

    def encode(self, mix: Tensor) -> Latents:
        """The posterior of a mix (batch, channels, samples) of RMS 1."""
        return self._posterior(magnitude(self.transform.spectrum(mix)))

    def analyse(self, mix: Tensor, *, draw: bool = False) -> VAEOutput:
        """Everything, for a mix of RMS 1. ``draw`` takes latents from the posterior instead of its mean."""
        spectrum = self.transform.spectrum(mix)
        levels = magnitude(spectrum)
        latents = self._posterior(levels)
        z = latents.mean
        if draw:
            z = z + torch.randn_like(z) * torch.exp(0.5 * latents.log_variance)
        made = self._decoded(z, levels)
        masks = wiener(made)
        return VAEOutput(masks, made, latents, self._read(z, masks, levels), spectrum)

    def estimate(self, mix: Tensor) -> Tensor:
        spectrum = self.transform.spectrum(mix)
        levels = magnitude(spectrum)
        made = self._decoded(self._posterior(levels).mean, levels)
        return self.transform.apply(wiener(made), spectrum, mix.shape[-1])

    def read(self, mix: Tensor) -> Reading:
        """What each source of a mix of RMS 1 plays, by the posterior's mean."""
        return self.analyse(mix).reading

    def _posterior(self, levels: Tensor) -> Latents:
        raw = self.encode_levels(levels).float()
        raw = raw.reshape(raw.shape[0], len(self.spec.sources), 2, self.units, raw.shape[-1])
        mean, log_variance = raw.unbind(2)
        return Latents(mean, log_variance.clamp(-10, 4))

    def _decoded(self, z: Tensor, levels: Tensor) -> Tensor:
        made = [self.decode(k, z[:, k], levels).float().clamp(max=LOUDEST) for k in range(z.shape[1])]
        return torch.stack(made, dim=1)

    def _read(self, z: Tensor, masks: Tensor, levels: Tensor) -> Reading:
        """Latents (batch, sources, units, frames), and the mix's magnitudes (batch, bins, frames) under the masks.

        The heads do not teach the separation by what they are shown of it, only by the latents.
        """
        source = (masks.detach() * levels[:, None]).flatten(0, 1)
        source = source / source.square().mean(dim=(1, 2), keepdim=True).sqrt().clamp(min=1e-4)
        flat, sums = z.flatten(0, 1), self.sums(source)
        timbre = log_magnitude(torch.matmul(self.timbre, source))
        pitch = self.pitch(torch.cat([flat, sums], dim=1))
        pitch[:, HarmonicSums.LOWEST : HarmonicSums.HIGHEST + 1] += sums
        family = self.family(torch.cat([flat, timbre], dim=1))
        return Reading(pitch.reshape(*z.shape[:2], *pitch.shape[1:]), family.reshape(*z.shape[:2], -1))


def wiener(log_magnitude: Tensor) -> Tensor:
    """Each source's share of the power, from log-magnitudes (batch, sources, bins, frames): they sum to 1."""
    return (2 * log_magnitude).softmax(dim=1)


class PitchHead(nn.Module):
    """Latents and harmonic sums (batch, inputs, frames) → logits of the 128 MIDI pitches and UNVOICED.

    (batch, 129, frames), to which a pitch's own sum is added.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.inlet = nn.Conv1d(inputs, hidden, 5, padding=2)
        self.outlet = nn.Conv1d(hidden, UNVOICED + 1, 1)

    def forward(self, z: Tensor) -> Tensor:
        logits: Tensor = self.outlet(F.gelu(self.inlet(z)))
        return logits.float()


class FamilyHead(nn.Module):
    """Latents and mel bands (batch, inputs, frames) → logits (batch, families), of the frames the head attends to."""

    def __init__(self, inputs: int, hidden: int, families: int) -> None:
        super().__init__()
        self.inlet = nn.Conv1d(inputs, hidden, 5, padding=2)
        self.attention = nn.Conv1d(hidden, 1, 1)
        self.outlet = nn.Linear(hidden, families)

    def forward(self, z: Tensor) -> Tensor:
        hidden = F.gelu(self.inlet(z))
        weight = self.attention(hidden).float().softmax(dim=2)
        logits: Tensor = self.outlet((hidden.float() * weight).sum(dim=2))
        return logits.float()
