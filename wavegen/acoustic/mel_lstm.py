"""An autoregressive LSTM over mel frames: each frame's distribution, given all before it.

A recurrent mixture density network (Graves 2013, "Generating Sequences With Recurrent Neural Networks") whose
components stand for whole frames and lie about the frame before, so that an untrained model repeats what it heard.
Training adds noise to what is fed back: the model learns to return to the data from its own errors.
"""

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wavegen.audio.features import FeatureSpec, MelSpectrogram
from wavegen.errors import InputError

LOG_STD = (-4.0, 2.0)
NEAR = 8  # bands to each side whose loudest value limits a band
FARTHEST = 6.0  # standard deviations of a band; no sampled value lies further from its mean


@dataclass(frozen=True)
class MelLSTMConfig:
    """``layers`` of ``hidden`` units on frames embedded in ``embedding``; 1 of ``components`` is a plain Gaussian."""

    hidden: int = 384
    layers: int = 2
    embedding: int = 256
    components: int = 4

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value < 1:
                raise InputError(f"MelLSTMConfig.{name} must be positive, not {value}")


@dataclass(frozen=True)
class Mixture:
    """Diagonal Gaussians over standardised frames: log-weights (batch, frames, k), the rest (batch, frames, k, bands).

    ``hidden`` and ``cell`` (layers, batch, hidden) are the state after the last frame.
    """

    log_weights: Tensor
    mean: Tensor
    log_std: Tensor
    hidden: Tensor
    cell: Tensor

    def log_prob(self, frames: Tensor) -> Tensor:
        """Nats (batch, frames) of standardised frames (batch, frames, bands)."""
        deviation = (frames[:, :, None] - self.mean) * torch.exp(-self.log_std)
        densities = -0.5 * deviation.square() - self.log_std - 0.5 * math.log(2 * math.pi)
        return torch.logsumexp(self.log_weights + densities.sum(dim=-1), dim=-1)

    @property
    def expected(self) -> Tensor:
        """The mixture's mean (batch, frames, bands)."""
        return (self.log_weights.exp()[..., None] * self.mean).sum(dim=2)


@dataclass(frozen=True)
class MelState:
    """Where a continuation stands: the LSTM's state and the last frame (batch, bands), standardised. A value.

    ``loudest`` (batch, bands) is the loudest mel heard so far in a band or one near it, ``power`` (batch, 1) the
    natural logarithm of the loudest frame's power: −∞ before any.
    """

    hidden: Tensor
    cell: Tensor
    frame: Tensor
    loudest: Tensor
    power: Tensor


class MelLSTM(nn.Module):
    """Continues log-mels (batch, bands, frames); ``mel_mean`` and ``mel_std`` (bands,) are the training data's."""

    mel_mean: Tensor
    mel_std: Tensor

    def __init__(self, config: MelLSTMConfig, spec: FeatureSpec) -> None:
        super().__init__()
        self.config, self.spec = config, spec
        c, bands = config, spec.bands
        self.embed = nn.Linear(bands, c.embedding)
        self.lstm = nn.LSTM(c.embedding, c.hidden, c.layers, batch_first=True)
        self.head = nn.Linear(c.hidden, c.components * (2 * bands + 1))
        with torch.no_grad():
            self.head.weight.mul_(0.1)
        self.register_buffer("mel_mean", torch.zeros(bands))
        self.register_buffer("mel_std", torch.ones(bands))
        self.lowest = float(MelSpectrogram(spec).compress(torch.zeros(bands, 1)).min())

    def forward(self, mel: Tensor, noise: float = 0.0) -> Mixture:
        """The distribution of every frame (the first too) given those before it.

        Each sequence is fed back with white noise of a standard deviation (in bands' own) drawn from 0 to ``noise``.
        """
        x = self.standardised(mel)
        before = F.pad(x, (0, 0, 1, 0))[:, :-1]
        if noise:
            before = before + noise * torch.rand_like(before[:, :1, :1]) * torch.randn_like(before)
        return self._mixture(before, None)

    def standardised(self, mel: Tensor) -> Tensor:
        """Mel (batch, bands, frames) → frames (batch, frames, bands). InputError for a mel of another shape."""
        if mel.dim() != 3 or mel.shape[1] != self.spec.bands or mel.shape[-1] == 0:
            raise InputError(f"mel must be (batch, {self.spec.bands}, frames), not {tuple(mel.shape)}")
        if not torch.isfinite(mel).all():
            raise InputError("mel holds NaN or infinite values")
        return ((mel - self.mel_mean[:, None]) / self.mel_std[:, None]).transpose(1, 2)

    def start(self, batch: int = 1) -> MelState:
        """The state before any frame."""
        zeros = self.mel_mean.new_zeros(self.config.layers, batch, self.config.hidden)
        bands = self.mel_mean.new_zeros(batch, self.spec.bands)
        return MelState(zeros, zeros, bands, bands - math.inf, bands[:, :1] - math.inf)

    @torch.inference_mode()
    def listen(self, mel: Tensor, state: MelState | None = None) -> MelState:
        """The state after the frames of a mel (batch, bands, frames) that follow ``state``; in pieces as at once."""
        x = self.standardised(mel)
        state = state or self.start(x.shape[0])
        out = self._mixture(torch.cat([state.frame[:, None], x[:, :-1]], dim=1), state)
        heard = F.max_pool1d(mel.amax(dim=-1, keepdim=True).transpose(1, 2), 2 * NEAR + 1, 1, NEAR)[:, 0]
        power = torch.maximum(state.power, _power(mel.transpose(1, 2)).amax(dim=1))
        return MelState(out.hidden, out.cell, x[:, -1], torch.maximum(state.loudest, heard), power)

    @torch.inference_mode()
    def generate(
        self, state: MelState, frames: int, *, temperature: float = 1.0, generator: torch.Generator | None = None
    ) -> tuple[Tensor, MelState]:
        """The next ``frames`` as a mel (batch, bands, frames), and the state after them.

        ``temperature`` (0: the likeliest component's mean) sharpens the choice of component and scales the deviation.
        No band gets louder than it or its neighbours were in what was heard, and no frame louder than all frames were:
        fed back on itself, a model may run away.
        With one generator, pieces put together are what would have been drawn at once.
        """
        if frames < 1:
            raise InputError(f"frames must be positive, not {frames}")
        if not 0 <= temperature < math.inf:
            raise InputError(f"temperature must be 0 or more, not {temperature}")
        drawn = []
        lowest, highest = self.mel_mean - FARTHEST * self.mel_std, self.mel_mean + FARTHEST * self.mel_std
        if bool(torch.isfinite(state.power).all()):
            highest = torch.minimum(highest, state.loudest)
        for _ in range(frames):
            out = self._mixture(state.frame[:, None], state)
            mel = _draw(out, temperature, generator) * self.mel_std + self.mel_mean
            mel = torch.minimum(torch.maximum(mel, lowest), highest)
            if bool(torch.isfinite(state.power).all()):
                mel = mel - 0.5 * (_power(mel) - state.power).clamp(min=0.0)
            frame = (mel - self.mel_mean) / self.mel_std
            state = MelState(out.hidden, out.cell, frame, state.loudest, state.power)
            drawn.append(mel)
        return torch.stack(drawn, dim=-1).clamp(min=self.lowest), state

    @torch.inference_mode()
    def continued(
        self, mel: Tensor, frames: int, *, temperature: float = 1.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """``frames`` that follow a mel: :meth:`listen`, then :meth:`generate`."""
        return self.generate(self.listen(mel), frames, temperature=temperature, generator=generator)[0]

    def _mixture(self, before: Tensor, state: MelState | None) -> Mixture:
        """The distributions of the frames after ``before`` (batch, frames, bands)."""
        start = None if state is None else (state.hidden, state.cell)
        y, (hidden, cell) = self.lstm(F.gelu(self.embed(before)), start)
        out = self.head(y).float()
        k = self.config.components
        shape = (*out.shape[:2], k, self.spec.bands)
        step, log_std = out[..., k:].chunk(2, dim=-1)
        return Mixture(
            log_weights=out[..., :k].log_softmax(dim=-1),
            mean=before.float()[:, :, None] + step.reshape(shape),
            log_std=log_std.reshape(shape).clamp(*LOG_STD),
            hidden=hidden,
            cell=cell,
        )


def _power(mel: Tensor) -> Tensor:
    """The natural logarithm of the power of frames (..., bands) of log-magnitudes: (..., 1)."""
    return torch.logsumexp(2 * mel, dim=-1, keepdim=True)


def _draw(out: Mixture, temperature: float, generator: torch.Generator | None) -> Tensor:
    """One frame (batch, bands) of a mixture over one frame."""
    weights, mean, log_std = out.log_weights[:, 0], out.mean[:, 0], out.log_std[:, 0]
    uniforms = torch.rand(weights.shape, generator=generator).clamp(min=1e-30).to(weights.device)
    noise = torch.randn(mean[:, 0].shape, generator=generator).to(mean.device)
    if temperature > 0:  # Gumbel's trick: the greatest of log-weights plus noise is a draw
        weights = weights / temperature - torch.log(-torch.log(uniforms))
    chosen = weights.argmax(dim=-1)[:, None, None].expand(-1, 1, mean.shape[-1])
    return mean.gather(1, chosen)[:, 0] + temperature * log_std.gather(1, chosen)[:, 0].exp() * noise
