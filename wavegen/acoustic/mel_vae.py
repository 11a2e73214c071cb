"""A variational autoencoder of log-mels: one timbre latent a clip, content latents every ``stride`` frames.

Kingma & Welling 2014 ("Auto-Encoding Variational Bayes"), split in time as Li & Mandt 2018 ("Disentangled Sequential
Autoencoder"): what stays constant through a clip is cheapest coded once, in the timbre, so the KL term drives it out of
the content. Three things help it: the content encoder sees mels without their clip's average envelope (instance
normalisation, Ulyanov et al. 2016), the timbre may be taken from another stretch of the same recording, and training
distorts the content's waveform. A GRU learns how content follows content, so that samples of the prior hang together.

Frames may be missing: the encoder is told which are known and sees the others bridged linearly; a small network then
tells, from the reconstruction, what that bridge leaves out.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wavegen.audio.features import FeatureSpec
from wavegen.errors import InputError
from wavegen.nn.convnext import ConvNeXtBlock

TIMBRE_STRIDE = 4  # frames between those that the timbre is averaged over
FARTHEST = 8.0  # standard deviations of a band; nothing that is decoded lies further from its mean
EDGE = 1e-4  # radians; closer directions are interpolated linearly


@dataclass(frozen=True)
class MelVAEConfig:
    """``network`` "conv" sees neighbouring frames, "dense" each patch of ``stride`` frames alone.

    ``content`` and ``timbre`` count the latents, ``channels`` and ``layers`` are the network's size a patch, ``fine``
    and ``fine_layers`` that a frame (convolutional only), ``prior`` the GRU's. ``envelope`` is the standard deviation
    in bands of the smoothing that tells an envelope from partials. Gaps are filled ``reach`` frames from either end at
    a time.
    """

    network: Literal["conv", "dense"] = "conv"
    stride: int = 8
    content: int = 32
    timbre: int = 32
    channels: int = 224
    layers: int = 3
    fine: int = 128
    fine_layers: int = 2
    kernel: int = 7
    prior: int = 128
    envelope: float = 10.0
    reach: int = 24

    def __post_init__(self) -> None:
        if self.network not in ("conv", "dense"):
            raise InputError(f'MelVAEConfig.network must be "conv" or "dense", not {self.network!r}')
        for name, value in asdict(self).items():
            if name != "network" and not value > 0:
                raise InputError(f"MelVAEConfig.{name} must be positive, not {value}")
        if self.kernel % 2 == 0:
            raise InputError(f"MelVAEConfig.kernel must be odd, not {self.kernel}")


@dataclass(frozen=True)
class Latents:
    """Means and log-variances: content (batch, content, patches), timbre (batch, timbre)."""

    content: Tensor
    content_log_variance: Tensor
    timbre: Tensor
    timbre_log_variance: Tensor


@dataclass(frozen=True)
class MelVAEOutput:
    """``mel`` and ``filled`` (batch, bands, frames), and in nats (batch,) the KLs from N(0, I) and the prior's NLL.

    ``filled`` is the given mel with other values where it was missing. ``prior_nll`` is that of the content under the
    GRU, which learns from it alone: no gradient reaches the encoder.
    """

    mel: Tensor
    filled: Tensor
    content_kl: Tensor
    timbre_kl: Tensor
    prior_nll: Tensor


class MelVAE(nn.Module):
    """Log-mels (batch, bands, any number of frames) to latents and back.

    ``mel_mean`` and ``mel_std`` (bands,) are the training data's; in eval mode latents are their means.
    """

    mel_mean: Tensor
    mel_std: Tensor
    smoothing: Tensor

    def __init__(self, config: MelVAEConfig, spec: FeatureSpec) -> None:
        super().__init__()
        self.config, self.spec = config, spec
        c, bands = config, spec.bands
        conv = c.network == "conv"
        self.encoder: nn.Module = _ConvEncoder(c, bands) if conv else _DenseEncoder(c, bands)
        self.decoder: nn.Module = _ConvDecoder(c, bands) if conv else _DenseDecoder(c, bands)
        self.timbre_encoder = _TimbreEncoder(c, bands)
        self.prior = _Prior(c)
        self.filler = _filler(c, bands)
        self.trust = nn.Parameter(torch.full((bands,), 0.5))  # how far the reconstruction decides what fills a gap
        self.register_buffer("mel_mean", torch.zeros(bands))
        self.register_buffer("mel_std", torch.ones(bands))
        self.register_buffer("smoothing", _smoothing(bands, c.envelope), persistent=False)

    def forward(
        self,
        mel: Tensor,
        *,
        timbre: Tensor | None = None,
        known: Tensor | None = None,
        around: Tensor | None = None,
    ) -> MelVAEOutput:
        """Reconstruction and its KL terms. ``timbre`` is the mel whose timbre is taken (default: ``mel`` itself).

        ``known`` (batch, frames) is false where a frame is missing; ``around`` is the mel that is filled there, by
        default ``mel``. In training mode latents are drawn.
        """
        latents = self.encode(mel, timbre=timbre, known=known)
        content = self._drawn(latents.content, latents.content_log_variance)
        voice = self._drawn(latents.timbre, latents.timbre_log_variance)
        reconstruction = self.decode(content, voice, mel.shape[-1])
        given = mel if around is None else around
        return MelVAEOutput(
            mel=reconstruction,
            filled=given if known is None else self._patch(given, known, reconstruction),
            content_kl=_kl(latents.content, latents.content_log_variance),
            timbre_kl=_kl(latents.timbre, latents.timbre_log_variance),
            prior_nll=self.prior.nll(content.detach().float(), voice.detach().float()),
        )

    def encode(self, mel: Tensor, *, timbre: Tensor | None = None, known: Tensor | None = None) -> Latents:
        """The posterior of a mel; the arguments are as in :meth:`forward`. InputError for a mel of another shape."""
        self.check(mel)
        x, mask = self._standardised(mel), None if known is None else self._mask(known, mel)
        if mask is not None:
            x = bridge(x, mask)
        content = self._content(x, mask)
        if timbre is None:
            voice = self.timbre_encoder(x, mask)
        else:
            self.check(timbre)
            voice = self.timbre_encoder(self._standardised(timbre), None)
        mean, log_variance = content.float().chunk(2, dim=1)
        voice_mean, voice_log_variance = voice.float().chunk(2, dim=1)
        return Latents(mean, log_variance.clamp(-10, 4), voice_mean, voice_log_variance.clamp(-10, 4))

    def decode(self, content: Tensor, timbre: Tensor, frames: int | None = None) -> Tensor:
        """Latents (batch, content, patches) and (batch, timbre) → mel of ``frames`` (default: patches × stride)."""
        y: Tensor = self.decoder(content, timbre).float().clamp(-FARTHEST, FARTHEST)
        return (y * self.mel_std[:, None] + self.mel_mean[:, None])[..., :frames]

    @torch.inference_mode()
    def sample(self, frames: int, *, generator: torch.Generator | None = None, temperature: float = 1.0) -> Tensor:
        """A mel (1, bands, frames) from the prior: a timbre from N(0, I), content as the GRU goes on from nothing.

        ``temperature`` scales every draw's standard deviation. The same generator state gives the same mel.
        """
        if frames < 1:
            raise InputError(f"frames must be positive, not {frames}")
        device = self.mel_mean.device
        timbre = temperature * torch.randn(1, self.config.timbre, generator=generator).to(device)
        content = self.prior.sample(timbre, -(-frames // self.config.stride), generator, temperature)
        return self.decode(content, timbre, frames)

    @torch.inference_mode()
    def interpolate(self, a: Tensor, b: Tensor, weights: Sequence[float]) -> Tensor:
        """Mels (len(weights), bands, frames) between two of the same shape (1, bands, frames): 0 is a, 1 is b.

        Content (at each time) and timbre go along great circles (slerp, Shoemake 1985; White 2016).
        """
        if a.shape != b.shape or a.shape[0] != 1:
            raise InputError(
                f"mels to interpolate must be alike (1, bands, frames): {tuple(a.shape)}, {tuple(b.shape)}"
            )
        if not weights or not all(0 <= w <= 1 for w in weights):
            raise InputError(f"weights must be one or more numbers from 0 to 1, not {list(weights)}")
        x, y = self.encode(a), self.encode(b)
        content = torch.cat([slerp(x.content, y.content, w) for w in weights])
        timbre = torch.cat([slerp(x.timbre, y.timbre, w) for w in weights])
        return self.decode(content, timbre, a.shape[-1])

    @torch.inference_mode()
    def transfer(self, content: Tensor, timbre: Tensor) -> Tensor:
        """The content of one mel (batch, bands, frames) with the timbre of another: a mel as long as the first."""
        latents = self.encode(content, timbre=timbre)
        return self.decode(latents.content, latents.timbre, content.shape[-1])

    @torch.inference_mode()
    def fill(self, mel: Tensor, known: Tensor) -> Tensor:
        """The mel with its missing frames filled from both sides; known frames stay as they are, to the bit.

        ``known`` (batch, frames) is true where a frame counts; what stands in the others is ignored, if it is finite.
        Long gaps are filled from their ends inwards, ``reach`` frames at a time. InputError if nothing is known.
        """
        self.check(mel)
        self._mask(known, mel)
        while not bool(known.all()):
            near = known | (distance(known) <= self.config.reach)
            mel = torch.where(near[:, None], self(mel, known=known).filled, mel)
            known = near
        return mel

    def _patch(self, mel: Tensor, known: Tensor, reconstruction: Tensor) -> Tensor:
        """Missing frames in one pass: what a line between the gap's ends leaves out, told from it and the latents."""
        x, y = bridge(self._standardised(mel), known), self._standardised(reconstruction)
        missing = ~known[:, None]
        departure = y - bridge(y, known)  # of the reconstruction from its own line
        more = self.filler(torch.cat([x, departure, missing.to(x.dtype)], dim=1)).float()
        z = x + (self.trust[:, None] * departure + more).clamp(-FARTHEST, FARTHEST)
        return torch.where(missing, z * self.mel_std[:, None] + self.mel_mean[:, None], mel)

    def check(self, mel: Tensor) -> None:
        """Raise InputError unless the mel has the model's shape and finite values."""
        if mel.dim() != 3 or mel.shape[1] != self.spec.bands or mel.shape[-1] == 0:
            raise InputError(f"mel must be (batch, {self.spec.bands}, frames), not {tuple(mel.shape)}")
        if not torch.isfinite(mel).all():
            raise InputError("mel holds NaN or infinite values")

    def _mask(self, known: Tensor, mel: Tensor) -> Tensor:
        if known.shape != (mel.shape[0], mel.shape[-1]) or known.dtype != torch.bool:
            raise InputError(f"known must be booleans (batch, frames), not {known.dtype} {tuple(known.shape)}")
        if not bool(known.any(dim=1).all()):
            raise InputError("no frame is known: there is nothing to fill a gap from")
        return known

    def _standardised(self, mel: Tensor) -> Tensor:
        return (mel - self.mel_mean[:, None]) / self.mel_std[:, None]

    def _content(self, x: Tensor, known: Tensor | None) -> Tensor:
        """Instance-normalised mel with the mask as one more band, padded to whole patches → mean and log-variance."""
        weight = x.new_ones(x.shape[0], 1, x.shape[-1]) if known is None else known[:, None].to(x.dtype)
        total = weight.sum(dim=-1)
        envelope = ((x * weight).sum(dim=-1) / total) @ self.smoothing
        y = x - envelope[..., None]
        power = (y.square() * weight).sum(dim=(1, 2)) / (total[:, 0] * x.shape[1])
        y = y / power.sqrt().clamp(min=0.1)[:, None, None]
        y = torch.cat([y, weight], dim=1)
        short = -y.shape[-1] % self.config.stride
        return torch.as_tensor(self.encoder(F.pad(y, (0, short), mode="replicate") if short else y))

    def _drawn(self, mean: Tensor, log_variance: Tensor) -> Tensor:
        return mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance) if self.training else mean


class _ConvEncoder(nn.Module):
    def __init__(self, c: MelVAEConfig, bands: int) -> None:
        super().__init__()
        self.embed = nn.Conv1d(bands + 1, c.fine, 3, padding=1)
        self.fine = ConvNeXtBlock(c.fine, 2 * c.fine, c.kernel, 0.5)
        self.patches = nn.Conv1d(c.fine, c.channels, c.stride, c.stride)
        self.blocks = nn.Sequential(
            *(ConvNeXtBlock(c.channels, 2 * c.channels, c.kernel, 1 / c.layers) for _ in range(c.layers))
        )
        self.head = nn.Conv1d(c.channels, 2 * c.content, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.blocks(self.patches(self.fine(self.embed(x)))))
        return y


class _ConvDecoder(nn.Module):
    def __init__(self, c: MelVAEConfig, bands: int) -> None:
        super().__init__()
        self.stride = c.stride
        self.embed = nn.Conv1d(c.content, c.channels, 3, padding=1)
        self.blocks = nn.ModuleList(_Conditioned(c.channels, c.timbre, c.kernel, 1 / c.layers) for _ in range(c.layers))
        self.frames = nn.Conv1d(c.channels, c.fine * c.stride, 1)
        self.fine = nn.ModuleList(
            _Conditioned(c.fine, c.timbre, c.kernel, 1 / c.fine_layers) for _ in range(c.fine_layers)
        )
        self.head = nn.Conv1d(c.fine, bands, 3, padding=1)

    def forward(self, content: Tensor, timbre: Tensor) -> Tensor:
        x = self.embed(content)
        for block in self.blocks:
            x = block(x, timbre)
        x = self.frames(x)
        x = x.unflatten(1, (-1, self.stride)).transpose(2, 3).flatten(2)  # (batch, fine, patches × stride)
        for block in self.fine:
            x = block(x, timbre)
        y: Tensor = self.head(x)
        return y


class _Conditioned(nn.Module):
    """A ConvNeXt block whose input the timbre scales and shifts (FiLM, Perez et al. 2018)."""

    def __init__(self, channels: int, timbre: int, kernel: int, scale: float) -> None:
        super().__init__()
        self.film = nn.Linear(timbre, 2 * channels)
        self.block = ConvNeXtBlock(channels, 2 * channels, kernel, scale)

    def forward(self, x: Tensor, timbre: Tensor) -> Tensor:
        scale, shift = self.film(timbre)[..., None].chunk(2, dim=1)
        y: Tensor = self.block(x * (1 + scale) + shift)
        return y


class _DenseEncoder(nn.Module):
    def __init__(self, c: MelVAEConfig, bands: int) -> None:
        super().__init__()
        self.stride = c.stride
        self.layers = _dense((bands + 1) * c.stride, 2 * c.channels, c.layers, 2 * c.content)

    def forward(self, x: Tensor) -> Tensor:
        batch, bands, frames = x.shape
        patches = x.reshape(batch, bands, frames // self.stride, self.stride).transpose(1, 2).flatten(2)
        y: Tensor = self.layers(patches).transpose(1, 2)
        return y


class _DenseDecoder(nn.Module):
    def __init__(self, c: MelVAEConfig, bands: int) -> None:
        super().__init__()
        self.stride = c.stride
        self.layers = _dense(c.content + c.timbre, 2 * c.channels, c.layers, bands * c.stride)

    def forward(self, content: Tensor, timbre: Tensor) -> Tensor:
        x = torch.cat([content, timbre[..., None].expand(-1, -1, content.shape[-1])], dim=1)
        patches: Tensor = self.layers(x.transpose(1, 2))
        batch, count, values = patches.shape
        y = patches.reshape(batch, count, values // self.stride, self.stride)
        return y.transpose(1, 2).flatten(2)


def _dense(inputs: int, hidden: int, layers: int, outputs: int) -> nn.Sequential:
    sizes = [inputs, *[hidden] * layers]
    steps: list[nn.Module] = []
    for a, b in pairwise(sizes):
        steps += [nn.Linear(a, b), nn.LayerNorm(b, eps=1e-6), nn.GELU()]
    return nn.Sequential(*steps, nn.Linear(hidden, outputs))


class _TimbreEncoder(nn.Module):
    """Means and deviations over the known frames → mean and log-variance (batch, 2 × timbre)."""

    def __init__(self, c: MelVAEConfig, bands: int) -> None:
        super().__init__()
        conv = c.network == "conv"
        kernel = 5 if conv else 1
        self.embed = nn.Conv1d(bands, c.fine, kernel, TIMBRE_STRIDE, kernel // 2)
        width = c.kernel if conv else 1
        self.blocks = nn.Sequential(*(ConvNeXtBlock(c.fine, 2 * c.fine, width, 0.5) for _ in range(2)))
        self.head = nn.Linear(2 * c.fine, 2 * c.timbre)

    def forward(self, x: Tensor, known: Tensor | None) -> Tensor:
        y = self.blocks(self.embed(x)).float()
        weight = torch.ones_like(y[:, :1]) if known is None else known[:, None, ::TIMBRE_STRIDE].to(y.dtype) + 1e-6
        weight = weight / weight.sum(dim=-1, keepdim=True)
        mean = (y * weight).sum(dim=-1)
        deviation = ((y - mean[..., None]).square() * weight).sum(dim=-1).add(1e-6).sqrt()
        out: Tensor = self.head(torch.cat([mean, deviation], dim=1))
        return out


def _filler(c: MelVAEConfig, bands: int) -> nn.Sequential:
    """Bridged mel, the reconstruction's departure from its own, mask → what both lack: untrained, nothing."""
    embed, head = nn.Conv1d(2 * bands + 1, c.fine, 3, padding=1), nn.Conv1d(c.fine, bands, 3, padding=1)
    for parameter in head.parameters():
        nn.init.zeros_(parameter)
    return nn.Sequential(embed, *(ConvNeXtBlock(c.fine, 2 * c.fine, c.kernel, 0.5) for _ in range(2)), head)


class _Prior(nn.Module):
    """What content follows what, given the timbre: a GRU that gives a Gaussian."""

    def __init__(self, c: MelVAEConfig) -> None:
        super().__init__()
        self.start = nn.Linear(c.timbre, c.prior)
        self.gru = nn.GRU(c.content, c.prior, batch_first=True)
        self.head = nn.Linear(c.prior, 2 * c.content)

    def nll(self, content: Tensor, timbre: Tensor) -> Tensor:
        """−log p of content (batch, content, patches), in nats (batch,)."""
        with torch.autocast(content.device.type, enabled=False):  # it is small, and its gates want the precision
            z = content.transpose(1, 2)
            before = F.pad(z, (0, 0, 1, 0))[:, :-1]
            hidden, _ = self.gru(before, torch.tanh(self.start(timbre))[None])
            mean, log_std = self._gaussian(hidden)
            density = torch.distributions.Normal(mean, log_std.exp(), validate_args=False)
            return -density.log_prob(z).sum(dim=(1, 2))  # type: ignore[no-untyped-call, no-any-return]

    def sample(self, timbre: Tensor, patches: int, generator: torch.Generator | None, temperature: float) -> Tensor:
        state = torch.tanh(self.start(timbre))[None]
        z = timbre.new_zeros(timbre.shape[0], 1, self.gru.input_size)
        drawn = []
        for _ in range(patches):
            hidden, state = self.gru(z, state)
            mean, log_std = self._gaussian(hidden)
            z = mean + temperature * log_std.exp() * torch.randn(z.shape, generator=generator).to(z.device)
            drawn.append(z)
        return torch.cat(drawn, dim=1).transpose(1, 2)

    def _gaussian(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std = self.head(hidden).chunk(2, dim=-1)
        return mean, log_std.clamp(-4, 2)


def slerp(a: Tensor, b: Tensor, weight: float) -> Tensor:
    """Spherical linear interpolation along dimension 1: ``a`` at weight 0, ``b`` at 1, linear where nearly parallel."""
    unit_a, unit_b = F.normalize(a, dim=1), F.normalize(b, dim=1)
    angle = (unit_a * unit_b).sum(dim=1, keepdim=True).clamp(-1, 1).acos()
    sine = angle.sin()
    flat = sine < EDGE
    sine = sine.where(~flat, torch.ones_like(sine))
    first = torch.where(flat, 1 - weight, ((1 - weight) * angle).sin() / sine)
    second = torch.where(flat, weight, (weight * angle).sin() / sine)
    return first * a + second * b


def bridge(x: Tensor, known: Tensor) -> Tensor:
    """x (batch, channels, frames) with unknown frames interpolated linearly between known ones, held at the ends.

    ``known`` (batch, frames) has one true value or more in every row.
    """
    before, after = _neighbours(known)
    last = x.shape[-1] - 1
    low = torch.where(before < 0, after, before)
    high = torch.where(after > last, before, after)
    place = torch.arange(x.shape[-1], device=x.device)
    weight = ((place - low) / (high - low).clamp(min=1)).clamp(0, 1).to(x.dtype)[:, None]

    def at(index: Tensor) -> Tensor:
        return x.gather(2, index[:, None].expand(-1, x.shape[1], -1))

    return torch.where(known[:, None], x, at(low) * (1 - weight) + at(high) * weight)


def distance(known: Tensor) -> Tensor:
    """Frames (batch, frames) from each frame to the nearest known one."""
    before, after = _neighbours(known)
    frames = known.shape[1]
    place = torch.arange(frames, device=known.device)
    left = torch.where(before < 0, frames, place - before)
    return torch.minimum(left, torch.where(after >= frames, frames, after - place))


def _neighbours(known: Tensor) -> tuple[Tensor, Tensor]:
    """The last known frame up to each one (−1: none), and the next from it on (frames: none)."""
    frames = known.shape[1]
    place = torch.arange(frames, device=known.device)
    before = torch.where(known, place, -1).cummax(dim=1).values
    after = torch.where(known, place, frames).flip(1).cummin(dim=1).values.flip(1)
    return before, after


def _smoothing(bands: int, deviation: float) -> Tensor:
    """A matrix (bands, bands) that smooths a row vector by a Gaussian, normalised at the ends."""
    place = torch.arange(bands, dtype=torch.float32)
    weights = torch.exp(-0.5 * ((place[:, None] - place) / deviation).square())
    return (weights / weights.sum(dim=1, keepdim=True)).T.contiguous()


def _kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, variance) ‖ N(0, I)) in nats (batch,): Kingma & Welling 2014, appendix B."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).flatten(1).sum(dim=1)
