"""Supervised variational autoencoders of separation: latents of each source, drawn from what the mix says of it.

An encoder reads the mix and gives q(z_k | mix) = N(mean, variance) for every source k and frame; one decoder turns each
z_k, beside k and a coarse view of the mix, into the source's magnitudes; the sources are cut out of the mix by the
Wiener filter of these magnitudes, so that they sum to it and have its phase (Kingma & Welling 2014; Sohn et al. 2015,
"Learning structured output representation using deep conditional generative models"). One head reads off z_k and off
the separated source's spectrum which note sounds, and one off this note's partials which instrument plays. Separation
takes the posterior's mean.
"""

import math
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from wavegen.separation.base import Separator, SeparatorSpec
from wavegen.separation.masking import HarmonicSums, Transform, magnitude
from wavegen.separation.partials import VALUES, envelope, partials

UNVOICED = 128
"""The class of the pitch head beside the 128 MIDI pitches."""
SPACED = 0.04  # seconds between the frames that the heads look at
LONG = 0.34  # seconds of the heads' longer window, which tells the low notes apart
DROPPED = 0.2  # of what the heads' layers say, while they learn: melodies are few
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

    masks and the decoder's own log_magnitude, in nats, (batch, sources, bins, frames); what is heard of each source
    (batch, sources, inputs, spaced frames), for the heads, without inputs if not asked for; the mix's spectrum
    (batch, channels, bins, frames).
    """

    masks: Tensor
    log_magnitude: Tensor
    latents: Latents
    heard: Tensor
    spectrum: Tensor


class SeparationVAE(Separator):
    """What the autoencoders share; a subclass has ``encoder`` and ``decoder`` of its own kind."""

    transform: Transform
    units: int

    def __init__(self, config: Any, spec: SeparatorSpec) -> None:
        super().__init__()
        self.config, self.spec, self.hop = config, spec, config.hop
        self.transform = Transform(config.n_fft, config.hop)
        self.units = config.units
        self.sums = HarmonicSums(spec.sample_rate, config.n_fft)
        self.spaced = max(1, round(SPACED * spec.sample_rate / config.hop))
        hop = self.spaced * config.hop
        self.long = Transform(2 ** math.ceil(math.log2(max(4 * hop, LONG * spec.sample_rate))), hop)
        self.long_sums = HarmonicSums(spec.sample_rate, self.long.n_fft)
        self.pitch = PitchHead(config.units + 3 * self.sums.pitches, config.heads)
        self.family = FamilyHead(VALUES + 2, config.heads, config.families)

    @abstractmethod
    def encode_levels(self, levels: Tensor, sums: Tensor) -> tuple[Tensor, Tensor]:
        """Magnitudes (batch, bins, frames) and their harmonic sums (batch, pitches, frames) →

        (batch, sources × 2 × units, frames), and a view of the mix (batch, ..., frames) for the decoder.
        """

    @abstractmethod
    def decode(self, latents: Tensor, view: Tensor) -> Tensor:
        """Latents (batch, sources, units, frames) and the view → log-magnitudes (batch, sources, bins, frames)."""

    def encode(self, mix: Tensor) -> Latents:
        """The posterior of a mix (batch, channels, samples) of RMS 1."""
        levels = magnitude(self.transform.spectrum(mix))
        return self._posterior(levels, self.sums(levels))[0]

    def analyse(self, mix: Tensor, *, draw: bool = False, hear: bool = True) -> VAEOutput:
        """Everything, for a mix of RMS 1; what is heard only if asked for, as it takes long.

        ``draw`` takes latents from the posterior instead of its mean.
        """
        spectrum = self.transform.spectrum(mix)
        levels = magnitude(spectrum)
        sums = self.sums(levels)
        latents, view = self._posterior(levels, sums)
        z = latents.mean
        if draw:
            z = z + torch.randn_like(z) * torch.exp(0.5 * latents.log_variance)
        made = self._decoded(z, view)
        masks = wiener(made)
        heard = self._heard(z, masks.detach(), spectrum, levels, sums, mix) if hear else z[:, :, :0]
        return VAEOutput(masks, made, latents, heard, spectrum)

    def estimate(self, mix: Tensor) -> Tensor:
        spectrum = self.transform.spectrum(mix)
        levels = magnitude(spectrum)
        latents, view = self._posterior(levels, self.sums(levels))
        return self.transform.apply(wiener(self._decoded(latents.mean, view)), spectrum, mix.shape[-1])

    def read(self, mix: Tensor) -> Reading:
        """What each source of a mix of RMS 1 plays, by the posterior's mean."""
        out = self.analyse(mix)
        return self.read_heard(out.heard, out.masks.shape[-1])

    def read_heard(self, heard: Tensor, frames: int) -> Reading:
        """What is ``heard`` in :class:`VAEOutput` → what it says of each of the mix's ``frames``."""
        return Reading(self.read_pitch(heard, frames), self.read_family(heard))

    def read_pitch(self, heard: Tensor, frames: int) -> Tensor:
        """The logits of :class:`Reading` alone."""
        pitch = self._notes(heard[:, :, : -self.family.inputs])
        nearest = (torch.arange(frames, device=pitch.device) + self.spaced // 2) // self.spaced
        return pitch[..., nearest.clamp(max=pitch.shape[-1] - 1)]

    def read_family(self, heard: Tensor) -> Tensor:
        """The logits of :class:`Reading` alone."""
        family: Tensor = self.family(heard[:, :, -self.family.inputs :].flatten(0, 1))
        return family.reshape(*heard.shape[:2], -1)

    def _notes(self, heard: Tensor) -> Tensor:
        """Latents and sums (batch, sources, values, spaced frames) → logits of the pitch in each of these frames."""
        flat = heard.flatten(0, 1)
        pitch: Tensor = self.pitch(flat)
        long, short = torch.split(flat[:, self.units :], self.sums.pitches, dim=1)[:2]
        pitch[:, HarmonicSums.LOWEST : HarmonicSums.HIGHEST + 1] += long + short
        return pitch.reshape(*heard.shape[:2], *pitch.shape[1:])

    def _posterior(self, levels: Tensor, sums: Tensor) -> tuple[Latents, Tensor]:
        raw, view = self.encode_levels(levels, sums)
        raw = raw.float().reshape(raw.shape[0], len(self.spec.sources), 2, self.units, raw.shape[-1])
        mean, log_variance = raw.unbind(2)
        return Latents(mean, log_variance.clamp(-10, 4)), view

    def _decoded(self, z: Tensor, view: Tensor) -> Tensor:
        return self.decode(z, view).float().clamp(max=LOUDEST)

    def _heard(
        self, z: Tensor, masks: Tensor, spectrum: Tensor, levels: Tensor, mix_sums: Tensor, mix: Tensor
    ) -> Tensor:
        """Latents (batch, sources, units, frames), and what the masks leave of the mix, every ``spaced`` frames.

        The heads do not teach the separation by what they are shown of it: the pitch does by the latents, the family
        not at all. The partials are those of the note that is read at the moment.
        """
        source = masks * levels[:, None]
        source = source / source.square().mean(dim=(2, 3), keepdim=True).sqrt().clamp(min=1e-4)
        short = torch.cat([self.sums(source), mix_sums[:, None].expand(-1, z.shape[1], -1, -1)], dim=2)
        wave = self.transform.apply(masks, spectrum, mix.shape[-1])
        level = wave.square().mean(dim=(2, 3), keepdim=True).sqrt().clamp(min=1e-4)
        wave = (wave / level).flatten(0, 1)
        sharp = magnitude(self.long.spectrum(wave))
        long = self.long_sums(sharp)
        long = long.reshape(*z.shape[:2], *long.shape[1:])
        heard = torch.cat([self._spaced(z), long, self._spaced(short)], dim=2)
        with torch.no_grad(), _evaluating(self.pitch):
            chances = self._notes(heard).flatten(0, 1).softmax(dim=1)
        note = chances[:, :UNVOICED].argmax(dim=1).to(sharp.dtype)
        whole = (magnitude(self.long.spectrum(mix))[:, None] / level).flatten(0, 1)
        seen = [
            partials(sharp, whole, note, self.spec.sample_rate),
            envelope(wave, self.long.hop, sharp.shape[-1]),
            1 - chances[:, UNVOICED:],
            note[:, None] / 60 - 1,
        ]
        found = torch.cat(seen, dim=1)
        return torch.cat([heard, found.reshape(*z.shape[:2], *found.shape[1:])], dim=2)

    def _spaced(self, x: Tensor) -> Tensor:
        """(batch, sources, values, frames) → means about every ``spaced``-th frame."""
        width = self.spaced // 2 * 2 + 1
        mean = nn.functional.avg_pool1d(x.flatten(0, 1), width, self.spaced, width // 2, count_include_pad=False)
        return mean.reshape(*x.shape[:3], -1)


def one_hot_sources(latents: Tensor) -> Tensor:
    """Latents (batch, sources, units, frames) with units that say which source they are of: 1 for it, 0 for others."""
    batch, count, _, frames = latents.shape
    which = torch.eye(count, dtype=latents.dtype, device=latents.device)[None, :, :, None]
    return torch.cat([latents, which.expand(batch, -1, -1, frames)], dim=2)


def wiener(log_magnitude: Tensor) -> Tensor:
    """Each source's share of the power, from log-magnitudes (batch, sources, bins, frames): they sum to 1."""
    return (2 * log_magnitude).softmax(dim=1)


class PitchHead(nn.Module):
    """Latents and harmonic sums of source and mix (batch, inputs, frames) → logits of 128 MIDI pitches and UNVOICED.

    (batch, 129, frames), to which the source's own sums at a pitch are added.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.layers = _layers(inputs, hidden)
        self.outlet = nn.Conv1d(hidden, UNVOICED + 1, 1)

    def forward(self, z: Tensor) -> Tensor:
        logits: Tensor = self.outlet(self.layers(z))
        return logits.float()


class FamilyHead(nn.Module):
    """A note's partials and envelope, the chance that there is one, and its pitch (batch, inputs, frames) → families.

    Logits (batch, families), of the mean and deviation over the frames that the head attends to (Okabe et al. 2018,
    "Attentive statistics pooling").
    """

    def __init__(self, inputs: int, hidden: int, families: int) -> None:
        super().__init__()
        self.inputs = inputs
        self.layers = _layers(inputs, hidden)
        self.attention = nn.Conv1d(hidden, 1, 1)
        self.outlet = nn.Linear(2 * hidden, families)

    def forward(self, z: Tensor) -> Tensor:
        hidden = self.layers(z).float()
        weight = self.attention(hidden).float().softmax(dim=2)
        mean = (hidden * weight).sum(dim=2)
        variance = ((hidden - mean[:, :, None]).square() * weight).sum(dim=2)
        logits: Tensor = self.outlet(torch.cat([mean, (variance + 1e-4).sqrt()], dim=1))
        return logits.float()


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """The module without dropout, and with its statistics as they are."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)


def _layers(inputs: int, hidden: int) -> nn.Sequential:
    """(batch, inputs, frames) → (batch, hidden, frames), by what is within half a second on either side."""
    made: list[nn.Module] = [nn.BatchNorm1d(inputs), nn.Conv1d(inputs, hidden, 1, bias=False)]
    for dilation in (1, 2, 4):
        made += [nn.BatchNorm1d(hidden), nn.GELU(), nn.Dropout(DROPPED)]
        made.append(nn.Conv1d(hidden, hidden, 5, padding=2 * dilation, dilation=dilation, bias=False))
    return nn.Sequential(*made, nn.BatchNorm1d(hidden), nn.GELU(), nn.Dropout(DROPPED))
