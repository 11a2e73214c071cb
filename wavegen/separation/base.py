"""The contract every separator keeps: levels are the mix's, and the sources sum to the mix."""

import re
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from wavegen.errors import InputError


@dataclass(frozen=True)
class SeparatorSpec:
    """What a separator works on: ``sample_rate`` (Hz), ``channels`` (1 or 2) and the names of its sources in order.

    ``interchangeable`` sources are alike (two speakers): their order has no meaning, neither in training nor from one
    chunk of a stream to the next, where it is kept by matching.
    """

    sample_rate: int
    channels: int
    sources: tuple[str, ...]
    interchangeable: bool = False

    def __post_init__(self) -> None:
        if self.sample_rate < 1:
            raise InputError(f"SeparatorSpec.sample_rate must be positive, not {self.sample_rate}")
        if self.channels not in (1, 2):
            raise InputError(f"SeparatorSpec.channels must be 1 or 2, not {self.channels}")
        distinct = len(set(self.sources)) == len(self.sources) > 0
        if not distinct or not all(re.fullmatch(r"[\w-]+", name) for name in self.sources):
            raise InputError(f"SeparatorSpec.sources must be distinct names of letters and digits, not {self.sources}")

    def to_dict(self) -> dict[str, Any]:
        """The fields in plain JSON types."""
        return {**asdict(self), "sources": list(self.sources)}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "SeparatorSpec":
        """The inverse of :meth:`to_dict`. InputError for fields that are missing, unknown or out of range."""
        types = {"sample_rate": int, "channels": int, "sources": list, "interchangeable": bool}
        if set(fields) != set(types) or any(type(fields[name]) is not kind for name, kind in types.items()):
            raise InputError(f"a SeparatorSpec has the fields {', '.join(types)}, not {fields}")
        if not all(isinstance(name, str) for name in fields["sources"]):
            raise InputError(f"SeparatorSpec.sources must be names, not {fields['sources']}")
        return cls(**{**fields, "sources": tuple(fields["sources"])})


def level_of(mix: Tensor) -> Tensor:
    """The RMS (batch,) of mixes (batch, channels, samples) over all channels; 0 for silence and for no samples.

    Taken about the peak, so that no square overflows or underflows.
    """
    if mix.shape[-1] == 0:
        return mix.new_zeros(mix.shape[0])
    flat = mix.flatten(1)
    peak = flat.abs().amax(dim=1)
    scaled = flat / torch.where(peak > 0, peak, 1.0)[:, None]
    return peak * scaled.square().mean(dim=1).sqrt()


def mixture_consistency(sources: Tensor, mix: Tensor, weights: Tensor | None = None) -> Tensor:
    """The nearest sources (batch, sources, channels, samples) that sum to the mix (batch, channels, samples).

    What is missing is shared out evenly (Wisdom et al. 2019, "Differentiable consistency constraints for improved deep
    speech enhancement", eq. 6), or in proportion to ``weights`` >= 0, broadcastable to the sources, such as their
    energies (batch, sources, 1, 1); where these are all zero, evenly.
    """
    count = sources.shape[1]
    missing = (mix - sources.sum(dim=1))[:, None]
    if weights is None:
        return sources + missing / count
    total = weights.sum(dim=1, keepdim=True)
    share = torch.where(total > 0, weights / torch.where(total > 0, total, 1.0), 1.0 / count)
    return sources + missing * share


class Separator(nn.Module, ABC):
    """A module that turns a mix (batch, channels, samples) into sources (batch, sources, channels, samples).

    A subclass sets ``config``, ``spec``, ``context`` and ``hop``, and writes :meth:`estimate`. ``context``: samples on
    each side of a chunk beyond which the chunk's output no longer depends on what is there, or is taken not to.
    ``hop``: samples; where a chunk starts at a multiple, frames fall on the same places as in the whole.
    ``chunk_seconds`` and ``overlap`` (a fraction of the chunk) are what suits a stream through this model.
    """

    config: Any
    spec: SeparatorSpec
    context: int
    hop: int
    chunk_seconds: float = 8.0
    overlap: float = 0.25

    @abstractmethod
    def estimate(self, mix: Tensor) -> Tensor:
        """Mix (batch, channels, samples) of RMS 1 → sources (batch, sources, channels, samples); samples >= 1."""

    def estimate_within(self, mix: Tensor, start: int, stop: int) -> Tensor:
        """The samples [start, stop) of :meth:`estimate`; a subclass that can do without some of the rest does."""
        return self.estimate(mix)[..., start:stop]

    def forward(
        self,
        mix: Tensor,
        *,
        consistent: bool = True,
        level: Tensor | None = None,
        within: tuple[int, int] | None = None,
    ) -> Tensor:
        """The sources of a mix, at the mix's level; they sum to it if ``consistent``.

        ``level`` (batch,) takes the place of each item's own RMS: that of the whole, where the mix is a part. The
        output scales with the mix and its level, and is exactly zero for silence. InputError for a shape other than
        (batch, channels, samples), for values that are not finite, and for a level that is not positive where the
        item is not silent. ``within``, samples [start, stop), is what is wanted of them, the rest being its context;
        InputError if there are none, or not all.
        """
        self.check(mix)
        start, stop = (0, mix.shape[-1]) if within is None else within
        if within is not None and not 0 <= start < stop <= mix.shape[-1]:
            raise InputError(f"within must be a range of the mix's {mix.shape[-1]} samples, not {within}")
        silent = mix.new_ones(mix.shape[0], dtype=torch.bool) if mix.numel() == 0 else (mix == 0).flatten(1).all(dim=1)
        if level is None:
            level = level_of(mix)
        elif level.shape != mix.shape[:1]:
            raise InputError(f"level must be ({mix.shape[0]},), not {tuple(level.shape)}")
        elif not bool((silent | (torch.isfinite(level) & (level > 0))).all()):
            raise InputError("level must be positive and finite")
        if bool(silent.all()):
            return mix.new_zeros(mix.shape[0], len(self.spec.sources), mix.shape[1], stop - start)
        scale = torch.where(silent, 1.0, level).to(mix.dtype)
        sources = self.estimate_within(mix / scale[:, None, None], start, stop).to(mix.dtype)
        sources = torch.where(silent, 0.0, scale)[:, None, None, None] * sources
        return mixture_consistency(sources, mix[..., start:stop]) if consistent else sources

    def check(self, mix: Tensor) -> None:
        """Raise InputError unless the mix has the separator's shape and finite values."""
        if mix.dim() != 3 or mix.shape[1] != self.spec.channels:
            raise InputError(f"mix must be (batch, {self.spec.channels}, samples), not {tuple(mix.shape)}")
        if not torch.isfinite(mix).all():
            raise InputError("mix holds NaN or infinite values")
