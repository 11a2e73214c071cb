"""What a sample-level model says of the next sample: likelihoods, and sampling from uniforms that are passed in.

Plain and slow: the reference that generation kernels are held to. In all of it parameters are (batch, O, time),
samples and values (batch, time), uniforms (batch, time, U) in the open interval (0, 1).
"""

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from wavegen.errors import InputError

OUTPUTS = ("mulaw8", "mulaw10", "gaussian", "logistics")
MIN_LOG_SCALE = -9.0
BIN = 2 / 65535  # width of one of the 65,536 levels that lie evenly on [-1, 1]


def distribution(name: str, mixtures: int = 10) -> "Distribution":
    """One of "mulaw8", "mulaw10", "gaussian" and "logistics" (a mixture of ``mixtures``). InputError for others."""
    if name in ("mulaw8", "mulaw10"):
        return MuLaw(256 if name == "mulaw8" else 1024)
    if name == "gaussian":
        return Gaussian()
    if name == "logistics":
        return Logistics(mixtures)
    raise InputError(f"output must be one of {', '.join(OUTPUTS)}, not {name!r}")


class Distribution(ABC):
    """``parameters`` is O, ``uniforms`` is U; bits per sample are ``nll / ln 2 + bits_offset``."""

    parameters: int
    uniforms: int = 1
    bits_offset: float = 0.0
    softmax: ClassVar[bool] = False

    @abstractmethod
    def nll(self, parameters: Tensor, samples: Tensor) -> Tensor:
        """Negative log-likelihood in nats of samples in [-1, 1], (batch, time)."""

    def sample(
        self, parameters: Tensor, uniforms: Tensor, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0
    ) -> Tensor:
        """Values (batch, time), computed in the wider type of the two tensors.

        ``temperature`` 0 takes the likeliest. ``top_k`` (0: off) and ``top_p`` (1: off; Holtzman et al. 2020) keep the
        likeliest classes of a softmax; InputError where there is none, and for values out of range.
        """
        self._check(parameters, uniforms, temperature, top_k, top_p)
        dtype = torch.promote_types(parameters.dtype, uniforms.dtype)
        return self._sample(parameters.to(dtype), uniforms.to(dtype), temperature, top_k, top_p)

    @abstractmethod
    def _sample(self, parameters: Tensor, uniforms: Tensor, temperature: float, top_k: int, top_p: float) -> Tensor: ...

    def value(self, samples: Tensor) -> Tensor:
        """Samples in [-1, 1] → values as they are fed back: the class number as a float, or the sample itself."""
        return samples

    def waveform(self, values: Tensor) -> Tensor:
        """Values → samples in [-1, 1]."""
        return values

    def _check(self, parameters: Tensor, uniforms: Tensor, temperature: float, top_k: int, top_p: float) -> None:
        if parameters.dim() != 3 or parameters.shape[1] != self.parameters:
            raise InputError(f"parameters must be (batch, {self.parameters}, time), not {tuple(parameters.shape)}")
        expected = (parameters.shape[0], parameters.shape[2], self.uniforms)
        if uniforms.shape != expected:
            raise InputError(f"uniforms must be {expected}, not {tuple(uniforms.shape)}")
        if not ((uniforms > 0) & (uniforms < 1)).all():
            raise InputError("uniforms must lie in the open interval (0, 1)")
        check_sampling(temperature, top_k, top_p, softmax=self.softmax)


def check_sampling(temperature: float, top_k: int, top_p: float, *, softmax: bool) -> None:
    """Raise InputError for a temperature, top_k or top_p out of range, or where there are no classes to choose from."""
    if not 0 <= temperature < math.inf:
        raise InputError(f"temperature must be 0 or more and finite, not {temperature}")
    if top_k < 0:
        raise InputError(f"top_k must be 0 (off) or more, not {top_k}")
    if not 0 < top_p <= 1:
        raise InputError(f"top_p must lie in (0, 1], not {top_p}")
    if not softmax and (top_k > 0 or top_p < 1):
        raise InputError("top_k and top_p choose among classes; this model's output has none")


class MuLaw(Distribution):
    """A softmax over µ-law classes (ITU-T G.711's companding with µ = classes - 1; van den Oord et al. 2016, WaveNet).

    Parameters: one logit a class.
    """

    softmax = True

    def __init__(self, classes: int) -> None:
        self.classes = self.parameters = classes

    def nll(self, parameters: Tensor, samples: Tensor) -> Tensor:
        return F.cross_entropy(parameters, self.value(samples).long(), reduction="none")

    def _sample(self, parameters: Tensor, uniforms: Tensor, temperature: float, top_k: int, top_p: float) -> Tensor:
        logits = parameters.transpose(1, 2)
        if temperature == 0:
            return _first_largest(logits).to(parameters.dtype)
        p = _softmax(logits, temperature)
        p = p * _kept(p, top_k, top_p)
        return _draw(p, uniforms).to(parameters.dtype)

    def value(self, samples: Tensor) -> Tensor:
        mu = torch.tensor(self.classes - 1.0, dtype=samples.dtype, device=samples.device)
        companded = samples.sign() * torch.log1p(mu * samples.abs()) / torch.log1p(mu)
        return ((companded + 1) / 2 * mu + 0.5).floor()

    def waveform(self, values: Tensor) -> Tensor:
        mu = torch.tensor(self.classes - 1.0, dtype=values.dtype, device=values.device)
        companded = values / mu * 2 - 1
        return companded.sign() * (torch.exp(companded.abs() * torch.log1p(mu)) - 1) / mu


class Gaussian(Distribution):
    """One Gaussian (Ping et al. 2019, ClariNet): mean, log of the standard deviation. Scored as 16-bit samples."""

    parameters = 2
    bits_offset = -math.log2(BIN)

    def nll(self, parameters: Tensor, samples: Tensor) -> Tensor:
        mean, log_scale = parameters[:, 0], parameters[:, 1].clamp(min=MIN_LOG_SCALE)
        z = (samples - mean) * torch.exp(-log_scale)
        return 0.5 * z.square() + log_scale + 0.5 * math.log(2 * math.pi)

    def _sample(self, parameters: Tensor, uniforms: Tensor, temperature: float, top_k: int, top_p: float) -> Tensor:
        mean, log_scale = parameters[:, 0], parameters[:, 1].clamp(min=MIN_LOG_SCALE)
        normal: Tensor = torch.special.ndtri(uniforms[..., 0])
        return (mean + torch.exp(log_scale) * temperature * normal).clamp(-1, 1)


class Logistics(Distribution):
    """A mixture of logistics, discretised to 16 bits (Salimans et al. 2017, PixelCNN++, equation 2).

    Parameters: K logits, K means, K log scales. A sample stands for the bin of width 2 / 65535 around it; the bins at
    -1 and 1 take the tails.
    """

    uniforms = 2

    def __init__(self, mixtures: int) -> None:
        if mixtures < 1:
            raise InputError(f"mixtures must be positive, not {mixtures}")
        self.mixtures = mixtures
        self.parameters = 3 * mixtures

    def nll(self, parameters: Tensor, samples: Tensor) -> Tensor:
        logits, mean, log_scale = self._split(parameters)
        y = samples[:, None]
        inverse = torch.exp(-log_scale)
        upper = F.logsigmoid((y - mean + BIN / 2) * inverse)  # log of the mass below the bin's upper edge
        lower = F.logsigmoid(-(y - mean - BIN / 2) * inverse)  # log of the mass above its lower edge
        # log(sigmoid(a) - sigmoid(b)) = logsigmoid(a) + logsigmoid(-b) + log(1 - exp(b - a)): no cancellation
        inside = upper + lower + torch.log(-torch.expm1(-BIN * inverse))
        log_mass = torch.where(y < -1 + BIN / 2, upper, torch.where(y > 1 - BIN / 2, lower, inside))
        return -torch.logsumexp(torch.log_softmax(logits, dim=1) + log_mass, dim=1)

    def _sample(self, parameters: Tensor, uniforms: Tensor, temperature: float, top_k: int, top_p: float) -> Tensor:
        logits, mean, log_scale = (x.transpose(1, 2) for x in self._split(parameters))
        if temperature == 0:
            component = _first_largest(logits)
        else:
            component = _draw(_softmax(logits, temperature), uniforms[..., :1])
        mean, log_scale = (x.gather(-1, component[..., None])[..., 0] for x in (mean, log_scale))
        u = uniforms[..., 1]
        return (mean + torch.exp(log_scale) * temperature * (torch.log(u) - torch.log1p(-u))).clamp(-1, 1)

    def _split(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits, mean, log_scale = parameters.chunk(3, dim=1)
        return logits, mean, log_scale.clamp(min=MIN_LOG_SCALE)


def _first_largest(x: Tensor) -> Tensor:
    """The lowest index of a maximum along the last axis: argmax promises none among equals."""
    return (x == x.amax(dim=-1, keepdim=True)).int().argmax(dim=-1)


def _softmax(logits: Tensor, temperature: float) -> Tensor:
    """softmax(logits / temperature) along the last axis, also where the quotient would overflow."""
    return torch.softmax((logits - logits.amax(dim=-1, keepdim=True)) / temperature, dim=-1)


def _kept(p: Tensor, top_k: int, top_p: float) -> Tensor:
    """Which classes (last axis) take part: the first top_k by falling p, of these the smallest prefix of mass top_p."""
    ordered, order = torch.sort(p, dim=-1, descending=True, stable=True)
    kept = torch.ones_like(ordered, dtype=torch.bool)
    if 0 < top_k < p.shape[-1]:
        kept[..., top_k:] = False
    if top_p < 1:
        ordered = ordered * kept
        before = ordered.cumsum(dim=-1) - ordered
        kept &= before < top_p * ordered.sum(dim=-1, keepdim=True)
        kept[..., 0] = True
    return torch.zeros_like(kept).scatter(-1, order, kept)


def _draw(mass: Tensor, uniform: Tensor) -> Tensor:
    """The first index along the last axis whose cumulative mass exceeds uniform × the total mass."""
    cumulative = mass.cumsum(dim=-1)
    # cumulative[-1] > u * cumulative[-1] for u < 1 after rounding too, so that there always is such an index
    return (cumulative > uniform * cumulative[..., -1:]).int().argmax(dim=-1)
