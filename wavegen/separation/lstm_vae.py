"""The LSTM autoencoder of separation: bidirectional LSTMs encode the mix and decode each source."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wavegen.errors import InputError
from wavegen.nn.windows import in_windows, reach
from wavegen.separation.base import SeparatorSpec
from wavegen.separation.masking import Transform, log_magnitude, mel_means
from wavegen.separation.vae import SeparationVAE, one_hot_sources


@dataclass(frozen=True)
class LSTMVAEConfig:
    """``units`` latents a source and frame; ``hidden`` units a direction in each of the encoder's ``layers`` LSTMs,
    ``decoder`` in the decoder's one. What is seen of the mix are ``bands`` equally wide in mel and the sums over each
    pitch's partials; the decoder sees ``view`` values of each of these frames (0: the latents alone).

    ``heads`` is the width of the pitch and family heads, ``families`` how many kinds of instruments there are.
    ``n_fft`` and ``hop`` are in samples. The LSTMs run in windows of ``window`` frames, an even number, the decoder's
    half a window later; 0: along all frames, and then ``context``, in seconds, is the margin within which they are
    taken to forget.
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
    window: int = 0

    def __post_init__(self) -> None:
        Transform(self.n_fft, self.hop)
        sizes = (self.units, self.hidden, self.layers, self.decoder, self.bands, self.heads, self.families)
        if min(sizes) < 1 or self.view < 0:
            raise InputError("LSTMVAEConfig: units, hidden and the other sizes must be positive, view not negative")
        if not 0 <= self.context < math.inf:
            raise InputError(f"LSTMVAEConfig.context must be at least 0 s, not {self.context}")
        if self.window < 0 or self.window % 2:
            raise InputError(f"LSTMVAEConfig.window must be even, and 0 or more, not {self.window}")


class LSTMVAE(SeparationVAE):
    """See :mod:`wavegen.separation.vae`."""

    config: LSTMVAEConfig
    filters: Tensor

    def __init__(self, config: LSTMVAEConfig, spec: SeparatorSpec) -> None:
        super().__init__(config, spec)
        c, bins, count = config, self.transform.bins, len(spec.sources)
        if c.window:
            self.hop, self.overlap, self.chunk_seconds = c.window * c.hop, 0.0, 12.0
            self.context = reach(c.window, (0, c.window // 2), -(-c.n_fft // (2 * c.hop))) * c.hop
        else:
            self.context = math.ceil(c.context * spec.sample_rate / c.hop) * c.hop
        self.register_buffer("filters", mel_means(spec.sample_rate, c.n_fft, c.hop, c.bands), persistent=False)
        seen = c.bands + self.sums.pitches
        self.encoder = nn.LSTM(seen, c.hidden, c.layers, bidirectional=True)
        self.posterior = nn.Linear(2 * c.hidden, count * 2 * c.units)
        self.view = nn.Linear(seen, c.view) if c.view else None
        self.decoder = nn.LSTM(c.units + count + c.view, c.decoder, bidirectional=True)
        self.outlet = nn.Linear(2 * c.decoder, bins)

    def encode_levels(self, levels: Tensor, sums: Tensor) -> tuple[Tensor, Tensor]:
        bands = log_magnitude(torch.matmul(self.filters, levels))
        seen = torch.cat([bands, sums], dim=1).permute(2, 0, 1)
        posterior: Tensor = self.posterior(in_windows(lambda x: self.encoder(x)[0], seen, self.config.window))
        view = seen[:, :, :0] if self.view is None else self.view(seen)
        return posterior.permute(1, 2, 0), view.permute(1, 2, 0)

    def decode(self, latents: Tensor, view: Tensor) -> Tensor:
        count = latents.shape[1]
        x = torch.cat([one_hot_sources(latents), view[:, None].expand(-1, count, -1, -1)], dim=2)
        window, frames = self.config.window, x.flatten(0, 1).permute(2, 0, 1)
        made: Tensor = self.outlet(in_windows(lambda part: self.decoder(part)[0], frames, window, window // 2))
        return made.permute(1, 2, 0).reshape(-1, count, made.shape[2], made.shape[0])
