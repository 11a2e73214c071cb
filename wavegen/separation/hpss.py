"""Harmonic-percussive separation by median filters (FitzGerald 2010): a baseline that has learned nothing."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from wavegen.errors import InputError
from wavegen.separation.base import Separator, SeparatorSpec
from wavegen.separation.masking import Transform, magnitude

BLOCK = 64  # frames, or bins, whose medians are taken together


@dataclass(frozen=True)
class HPSSConfig:
    """Medians over ``frames`` frames for what lasts, over ``bins`` bins for what strikes; odd. Masks to ``power``."""

    n_fft: int = 2048
    hop: int = 512
    frames: int = 31
    bins: int = 31
    power: float = 2.0

    def __post_init__(self) -> None:
        Transform(self.n_fft, self.hop)
        if min(self.frames, self.bins) < 1 or self.frames % 2 == 0 or self.bins % 2 == 0:
            raise InputError(f"HPSSConfig.frames and bins must be odd, not {self.frames} and {self.bins}")
        if not self.power > 0:
            raise InputError(f"HPSSConfig.power must be positive, not {self.power}")


class HPSS(Separator):
    """Two sources, first what lasts and then what strikes: ("other", "drums"), say. It has no weights."""

    config: HPSSConfig

    def __init__(self, config: HPSSConfig, spec: SeparatorSpec) -> None:
        super().__init__()
        if len(spec.sources) != 2 or spec.interchangeable:
            raise InputError(f"HPSS gives two sources in order, what lasts and what strikes, not {spec.sources}")
        self.config, self.spec, self.hop = config, spec, config.hop
        self.transform = Transform(config.n_fft, config.hop)
        self.context = config.n_fft + (config.frames // 2) * config.hop

    def estimate(self, mix: Tensor) -> Tensor:
        spectrum = self.transform.spectrum(mix)
        masks = torch.stack([self.masks(levels) for levels in magnitude(spectrum)])
        return self.transform.apply(masks, spectrum, mix.shape[-1])

    def masks(self, levels: Tensor) -> Tensor:
        """Masks (2, bins, frames), which sum to 1, of one item's magnitudes (bins, frames)."""
        lasting = median(levels, self.config.frames)
        striking = median(levels.T, self.config.bins).T
        both = torch.stack([lasting, striking])
        both = (both / both.amax(dim=0).clamp(min=1e-20)) ** self.config.power
        total = both.sum(dim=0)
        return torch.where(total > 0, both / total.clamp(min=1e-20), 0.5)


def median(x: Tensor, width: int) -> Tensor:
    """The median over ``width`` (odd) neighbours along the last dimension of (rows, n); the ends are repeated."""
    half = width // 2
    padded = F.pad(x[None], (half, half), mode="replicate")[0].unfold(1, width, 1)
    return torch.cat([part.median(dim=2).values for part in torch.split(padded, BLOCK)])
