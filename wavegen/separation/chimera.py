"""Chimera: an LSTM whose embeddings cluster by source, with a second head that gives the masks themselves.

Deep clustering (Hershey et al. 2016) with the mask head of Luo et al. 2017, "Deep clustering and conventional networks
for music separation: stronger together".
"""

import math
from dataclasses import dataclass
from itertools import permutations
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wavegen.errors import InputError
from wavegen.separation.base import Separator, SeparatorSpec
from wavegen.separation.clustering import kmeans
from wavegen.separation.masking import Transform, audible, log_magnitude, magnitude


@dataclass(frozen=True)
class ChimeraConfig:
    """``hidden`` units a direction in each of ``layers`` LSTMs; ``embedding`` dimensions of a bin.

    ``read`` says what separates: the mask head's "masks", or the "clusters" that seeded k-means finds among the
    embeddings of the bins less than ``range_db`` under the loudest. ``n_fft`` and ``hop`` are in samples, ``context``
    in seconds: the margin within which the LSTMs are taken to forget.
    """

    hidden: int = 200
    layers: int = 2
    embedding: int = 20
    n_fft: int = 512
    hop: int = 128
    dropout: float = 0.0
    read: Literal["masks", "clusters"] = "masks"
    range_db: float = 40.0
    seed: int = 0
    context: float = 1.0

    def __post_init__(self) -> None:
        Transform(self.n_fft, self.hop)
        if min(self.hidden, self.layers, self.embedding) < 1:
            raise InputError("ChimeraConfig: hidden, layers and embedding must be positive")
        if self.read not in ("masks", "clusters"):
            raise InputError(f'ChimeraConfig.read must be "masks" or "clusters", not {self.read!r}')
        if not 0 <= self.dropout < 1:
            raise InputError(f"ChimeraConfig.dropout must lie in [0, 1), not {self.dropout}")
        if not 0 < self.range_db < math.inf or not 0 <= self.context < math.inf or self.seed < 0:
            raise InputError("ChimeraConfig: range_db must be positive, context and seed not negative")


class ChimeraOutput(NamedTuple):
    """What both heads say of a mix of RMS 1.

    embedding (batch, bins, frames, dimensions) of unit length; masks (batch, sources, bins, frames), which sum to 1;
    the mix's spectrum (batch, channels, bins, frames).
    """

    embedding: Tensor
    masks: Tensor
    spectrum: Tensor


class Chimera(Separator):
    """Mix (batch, channels, samples) → sources, each a mask on the mix's spectrum."""

    config: ChimeraConfig

    def __init__(self, config: ChimeraConfig, spec: SeparatorSpec) -> None:
        super().__init__()
        self.config, self.spec, self.hop = config, spec, config.hop
        self.transform = Transform(config.n_fft, config.hop)
        self.context = math.ceil(config.context * spec.sample_rate / config.hop) * config.hop
        c, bins = config, self.transform.bins
        dropout = c.dropout if c.layers > 1 else 0.0
        self.lstm = nn.LSTM(bins, c.hidden, c.layers, batch_first=True, bidirectional=True, dropout=dropout)
        self.embed = nn.Linear(2 * c.hidden, bins * c.embedding)
        self.mask = nn.Linear(2 * c.hidden, bins * len(spec.sources))

    def analyse(self, mix: Tensor) -> ChimeraOutput:
        """Both heads, for a mix (batch, channels, samples) of RMS 1."""
        spectrum = self.transform.spectrum(mix)
        hidden = self._hidden(magnitude(spectrum))
        return ChimeraOutput(self._embedding(hidden), self._masks(hidden), spectrum)

    def estimate(self, mix: Tensor) -> Tensor:
        spectrum = self.transform.spectrum(mix)
        levels = magnitude(spectrum)
        hidden = self._hidden(levels)
        masks = self._masks(hidden)
        if self.config.read == "clusters":
            pairs = zip(self._embedding(hidden), levels, masks, strict=True)
            masks = torch.stack([self._clustered(*item) for item in pairs])
        return self.transform.apply(masks, spectrum, mix.shape[-1])

    def _hidden(self, levels: Tensor) -> Tensor:
        hidden: Tensor = self.lstm(log_magnitude(levels).transpose(1, 2))[0]
        return hidden

    def _embedding(self, hidden: Tensor) -> Tensor:
        """(batch, bins, frames, dimensions) of unit length."""
        raw: Tensor = self.embed(hidden).float().unflatten(2, (-1, self.config.embedding))
        return F.normalize(raw.transpose(1, 2), dim=3)

    def _masks(self, hidden: Tensor) -> Tensor:
        """(batch, sources, bins, frames), which sum to 1."""
        raw: Tensor = self.mask(hidden).float().unflatten(2, (len(self.spec.sources), -1))
        return raw.permute(0, 2, 3, 1).softmax(dim=1)

    def _clustered(self, embedding: Tensor, levels: Tensor, masks: Tensor) -> Tensor:
        """Binary masks of the clusters of one item, in the order that agrees best with the mask head's.

        Bins too quiet to be clustered keep the mask head's word.
        """
        heard = audible(levels, self.config.range_db)
        if not bool(heard.any()):
            return masks
        count, weight = len(masks), levels[heard]
        labels, _ = kmeans(embedding[heard], count, seed=self.config.seed, weights=weight)
        member = F.one_hot(labels, count).to(masks.dtype)
        agreement = (masks[:, heard] * weight) @ member  # (sources, clusters)
        order = max(permutations(range(count)), key=lambda p: float(sum(agreement[i, j] for i, j in enumerate(p))))
        found = masks.clone()
        found[:, heard] = member.T[list(order)]
        return found
