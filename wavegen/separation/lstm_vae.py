"""The LSTM autoencoder of separation: bidirectional LSTMs encode the mix and decode each source."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wavegen.errors import InputError
from wavegen.separation.base import SeparatorSpec
from wavegen.separation.masking import Transform, log_magnitude, mel_means
from wavegen.separation.vae import SeparationVAE


@dataclass(frozen=True)
class LSTMVAEConfig:
    """``units`` latents a source and frame; ``hidden`` units a direction in each of the encoder's ``layers`` LSTMs,
    ``decoder`` in a decoder's one. What is seen of the mix are ``bands`` equally wide in mel and the sums over each
    pitch's partials; decoders see ``view`` values of each of these frames (0: the latents alone).

    ``heads`` is the width of the pitch and family heads, ``families`` how many kinds of instruments there are.
    ``n_fft`` and ``hop`` are in samples, ``context`` in seconds: the margin within which the LSTMs are taken to forget.
    """

    units: int = 32
    hidden: int = 192
    layers: int = 2
    decoder: int = 128
    view: int = 64
    bands: int = 128
    heads: int = 96
    families: int = 12
    n_fft: int = 1024
    hop: int = 256
    context: float = 1.0

    def __post_init__(self) -> None:
        Transform(self.n_fft, self.hop)
        sizes = (self.units, self.hidden, self.layers, self.decoder, self.bands, self.heads, self.families)
        if min(sizes) < 1 or self.view < 0:
            raise InputError("LSTMVAEConfig: units, hidden and the other sizes must be positive, view not negative")
        if not 0 <= self.context < math.inf:
            raise InputError(f"LSTMVAEConfig.context must be at least 0 s, not {self.context}")


class LSTMVAE(SeparationVAE):
    """See :mod:`wavegen.separation.vae`."""

    config: LSTMVAEConfig
    filters: Tensor

    def __init__(self, config: LSTMVAEConfig, spec: SeparatorSpec) -> None:
        super().__init__(config, spec)
        c, bins, count = config, self.transform.bins, len(spec.sources)
        self.context = math.ceil(c.context * spec.sample_rate / c.hop) * c.hop
        self.register_buffer("filters", mel_means(spec.sample_rate, c.n_fft, c.hop, c.bands), persistent=False)
        seen = c.bands + self.sums.pitches
        self.encoder = nn.LSTM(seen, c.hidden, c.layers, batch_first=True, bidirectional=True)
        self.posterior = nn.Linear(2 * c.hidden, count * 2 * c.units)
        self.view = nn.Linear(seen, c.view) if c.view else None
        self.decoders = nn.ModuleList(
            nn.LSTM(c.units + c.view, c.decoder, batch_first=True, bidirectional=True) for _ in range(count)
        )
        self.outlets = nn.ModuleList(nn.Linear(2 * c.decoder, bins) for _ in range(count))

    def seen(self, levels: Tensor) -> Tensor:
        """Magnitudes (batch, bins, frames) → (batch, frames, bands + pitches)."""
        bands = log_magnitude(torch.matmul(self.filters, levels))
        return torch.cat([bands, self.sums(levels)], dim=1).transpose(1, 2)

    def encode_levels(self, levels: Tensor) -> Tensor:
        hidden = self.encoder(self.seen(levels))[0]
        posterior: Tensor = self.posterior(hidden)
        return posterior.transpose(1, 2)

    def decode(self, source: int, latent: Tensor, levels: Tensor) -> Tensor:
        x = latent.transpose(1, 2)
        if self.view is not None:
            x = torch.cat([x, self.view(self.seen(levels))], dim=2)
        made: Tensor = self.outlets[source](self.decoders[source](x)[0])
        return made.transpose(1, 2)
