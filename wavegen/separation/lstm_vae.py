"""The LSTM autoencoder of separation: bidirectional LSTMs encode the mix and decode each source."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wavegen.errors import InputError
from wavegen.separation.base import SeparatorSpec
from wavegen.separation.masking import Transform, log_magnitude, mel_means
from wavegen.separation.vae import SeparationVAE, one_hot_sources


@dataclass(frozen=True)
class LSTMVAEConfig:
    """``units`` latents a source and frame; ``hidden`` units a direction in each of the encoder's ``layers`` LSTMs,
    ``decoder`` in the decoder's one. What is seen of the mix are ``bands`` equally wide in mel and the sums over each
    pitch's partials; the decoder sees ``view`` values of each of these frames (0: the latents alone).

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
        self.decoder = nn.LSTM(c.units + count + c.view, c.decoder, batch_first=True, bidirectional=True)
        self.outlet = nn.Linear(2 * c.decoder, bins)

    def encode_levels(self, levels: Tensor, sums: Tensor) -> tuple[Tensor, Tensor]:
        bands = log_magnitude(torch.matmul(self.filters, levels))
        seen = torch.cat([bands, sums], dim=1).transpose(1, 2)
        posterior: Tensor = self.posterior(self.encoder(seen)[0])
        view = seen[:, :, :0] if self.view is None else self.view(seen)
        return posterior.transpose(1, 2), view.transpose(1, 2)

    def decode(self, latents: Tensor, view: Tensor) -> Tensor:
        count = latents.shape[1]
        x = torch.cat([one_hot_sources(latents), view[:, None].expand(-1, count, -1, -1)], dim=2)
        made: Tensor = self.outlet(self.decoder(x.flatten(0, 1).transpose(1, 2))[0])
        return made.reshape(-1, count, *made.shape[1:]).transpose(2, 3)
