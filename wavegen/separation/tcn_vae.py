"""The convolutional autoencoder of separation: a gated dilated TCN encodes the mix, a vocoder's network each source.

The encoder is made of WaveNet's gated layers (van den Oord et al. 2016; not causal here), one fused op each. The
decoder is built as the generator of a vocoder is (Siuzdak 2023, Vocos): ConvNeXt blocks that widen a mel to a spectrum.
What it is given is the mix's mel, moved by a source's latents; begun from a trained vocoder, it says what that mel
sounds like before it has learned anything of separation.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wavegen.audio.features import FeatureSpec, mel_filterbank
from wavegen.errors import InputError
from wavegen.nn.convnext import ConvNeXtBlock
from wavegen.ops.gated_layer import gated_layer
from wavegen.separation.base import SeparatorSpec
from wavegen.separation.masking import Transform, log_magnitude
from wavegen.separation.vae import SeparationVAE, one_hot_sources
from wavegen.vocoders.istft import ISTFTVocoder
from wavegen.vocoders.spectral import SpectralVocoder

SPEECH_LEVEL = 0.1  # RMS of what vocoders are trained on
QUIETEST = 1e-5  # of a mel band


@dataclass(frozen=True)
class TCNVAEConfig:
    """``units`` latents a source and frame. The encoder has ``layers`` gated layers of ``gate`` channels on a stream of
    ``residual`` channels, layer l with a dilation of 2 ** (l % cycle). The decoder has ``channels``, ``hidden``,
    ``blocks`` and ``kernel`` as ISTFTVocoderConfig, and as many mel ``bands`` as the vocoder it may begin from.

    ``heads`` is the width of the pitch and family heads, ``families`` how many kinds of instruments there are.
    ``n_fft`` and ``hop`` are in samples.
    """

    units: int = 32
    residual: int = 128
    gate: int = 128
    layers: int = 12
    cycle: int = 6
    channels: int = 256
    hidden: int = 768
    blocks: int = 2
    kernel: int = 7
    bands: int = 100
    heads: int = 96
    families: int = 12
    n_fft: int = 1024
    hop: int = 256

    def __post_init__(self) -> None:
        Transform(self.n_fft, self.hop)
        sizes = (self.units, self.residual, self.gate, self.layers, self.channels, self.hidden, self.blocks, self.bands)
        if min(*sizes, self.heads, self.families) < 1 or not 1 <= self.cycle <= 16:
            raise InputError("TCNVAEConfig: sizes must be positive, and cycle from 1 to 16")
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise InputError(f"TCNVAEConfig.kernel must be odd, not {self.kernel}")

    @property
    def dilations(self) -> tuple[int, ...]:
        return tuple(2 ** (layer % self.cycle) for layer in range(self.layers))


class TCNVAE(SeparationVAE):
    """See :mod:`wavegen.separation.vae`."""

    config: TCNVAEConfig

    def __init__(self, config: TCNVAEConfig, spec: SeparatorSpec) -> None:
        super().__init__(config, spec)
        c, bins, count = config, self.transform.bins, len(spec.sources)
        self.encoder = GatedTCN(bins + self.sums.pitches, c.residual, c.gate, c.dilations, count * 2 * c.units)
        self.decoder = VocoderDecoder(c, spec.sample_rate, count)
        frames = sum(c.dilations) + (c.kernel // 2) * (c.blocks + 1)
        self.context = frames * c.hop + c.n_fft

    def encode_levels(self, levels: Tensor, sums: Tensor) -> tuple[Tensor, Tensor]:
        posterior: Tensor = self.encoder(torch.cat([log_magnitude(levels), sums], dim=1))
        return posterior, self.decoder.mel(levels)

    def decode(self, latents: Tensor, view: Tensor) -> Tensor:
        made: Tensor = self.decoder(one_hot_sources(latents), view)
        return made

    def warm_start(self, vocoder: ISTFTVocoder | SpectralVocoder) -> None:
        """Begin the decoder from a vocoder's network, whose first ``blocks`` blocks are taken.

        InputError names the first of sample_rate, n_fft, hop, window, bands, channels, hidden, kernel in which they
        differ, and a vocoder with too few layers.
        """
        c, theirs, spec = self.config, vocoder.config, vocoder.spec
        pairs = {
            "sample_rate": (self.spec.sample_rate, spec.sample_rate),
            **{name: (getattr(c, name), getattr(spec, name)) for name in ("n_fft", "hop", "bands")},
            "window": (c.n_fft, spec.window),
            **{name: (getattr(c, name), getattr(theirs, name)) for name in ("channels", "hidden", "kernel")},
        }
        for name, (mine, other) in pairs.items():
            if mine != other:
                raise InputError(f"the decoder cannot begin from this vocoder: its {name} is {other}, not {mine}")
        if theirs.layers < c.blocks:
            raise InputError(
                f"the decoder cannot begin from this vocoder: it has {theirs.layers} layers, not {c.blocks}"
            )
        self.decoder.begin_from(vocoder)


class GatedTCN(nn.Module):
    """(batch, inputs, frames) → (batch, outputs, frames), of the sum of all gated layers' skips."""

    def __init__(self, inputs: int, residual: int, gate: int, dilations: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        layers = len(dilations)
        self.dilations = dilations
        self.inlet = nn.Conv1d(inputs, residual, 1)
        self.dilated = nn.Parameter(torch.randn(layers, 2 * gate, residual, 3) * math.sqrt(1 / (3 * residual)))
        self.dilated_bias = nn.Parameter(torch.zeros(layers, 2 * gate))
        # tanh × sigmoid has a variance of about 1 / 8; the layers' outputs add up.
        self.output = nn.Parameter(torch.randn(layers, 2 * residual, gate) * math.sqrt(8 / (gate * layers)))
        self.output_bias = nn.Parameter(torch.zeros(layers, 2 * residual))
        self.outlet = nn.Sequential(nn.GELU(), nn.Conv1d(residual, residual, 1), nn.GELU())
        self.last = nn.Conv1d(residual, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.inlet(x)
        total: Tensor | None = None
        for layer, dilation in enumerate(self.dilations):
            weight, bias = self.dilated[layer], self.dilated_bias[layer]
            out, out_bias = self.output[layer], self.output_bias[layer]
            x, skip = gated_layer(x, None, weight, bias, None, out, out_bias, dilation, False)
            total = skip if total is None else total + skip
        y: Tensor = self.last(self.outlet(total))
        return y


class VocoderDecoder(nn.Module):
    """Latents of each source, and the mix's mel, → log-magnitudes; the modules are named as a vocoder names its own."""

    filters: Tensor
    mel_mean: Tensor
    mel_std: Tensor

    def __init__(self, c: TCNVAEConfig, sample_rate: int, sources: int) -> None:
        super().__init__()
        spec = FeatureSpec(sample_rate, c.n_fft, c.hop, c.n_fft, c.bands, fmax=None)
        bins = c.n_fft // 2 + 1
        self.scale = SPEECH_LEVEL * math.sqrt(0.375 * c.n_fft)  # to the magnitudes of a vocoder's waveforms
        self.move = nn.Conv1d(c.units + sources, c.bands, 3, padding=1)
        self.embed = nn.Conv1d(c.bands, c.channels, c.kernel, padding=c.kernel // 2)
        self.norm = nn.LayerNorm(c.channels, eps=1e-6)
        self.blocks = nn.ModuleList(
            ConvNeXtBlock(c.channels, c.hidden, c.kernel, 1.0 / c.blocks) for _ in range(c.blocks)
        )
        self.last_norm = nn.LayerNorm(c.channels, eps=1e-6)
        self.head = nn.Linear(c.channels, bins)
        self.direct = nn.Linear(c.bands, bins, bias=False)
        nn.init.normal_(self.direct.weight, std=0.01)
        self.register_buffer("mel_mean", torch.full((c.bands,), -4.0))
        self.register_buffer("mel_std", torch.full((c.bands,), 2.5))
        self.register_buffer("filters", mel_filterbank(spec), persistent=False)

    def mel(self, levels: Tensor) -> Tensor:
        """Magnitudes of a mix (batch, bins, frames) → its mel, standardised, (batch, bands, frames)."""
        mel = torch.log(torch.matmul(self.filters, self.scale * levels).clamp(min=QUIETEST))
        return (mel - self.mel_mean[:, None]) / self.mel_std[:, None]

    def forward(self, z: Tensor, mel: Tensor) -> Tensor:
        """(batch, sources, units + sources, frames), (batch, bands, frames) → (batch, sources, bins, frames)."""
        count = z.shape[1]
        y = mel.repeat_interleave(count, dim=0) + self.move(z.flatten(0, 1))
        x = self.norm(self.embed(y).transpose(1, 2)).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        made: Tensor = self.head(self.last_norm(x.transpose(1, 2))) + self.direct(y.transpose(1, 2))
        return made.transpose(1, 2).float().reshape(-1, count, made.shape[2], made.shape[1]) - math.log(self.scale)

    @torch.no_grad()
    def begin_from(self, vocoder: ISTFTVocoder | SpectralVocoder) -> None:
        """Copy a vocoder's network; of its head, the rows that give log-magnitudes."""
        for name in ("embed", "norm", "last_norm"):
            getattr(self, name).load_state_dict(getattr(vocoder, name).state_dict())
        for mine, theirs in zip(self.blocks, vocoder.blocks, strict=False):
            mine.load_state_dict(theirs.state_dict())
        bins = self.head.out_features
        self.head.weight.copy_(vocoder.head.weight[:bins])
        self.head.bias.copy_(vocoder.head.bias[:bins])
        if isinstance(vocoder, SpectralVocoder):
            self.direct.weight.copy_(vocoder.direct.weight)
            self.head.bias.add_(vocoder.spectrum_mean)
            self.mel_mean.copy_(vocoder.mel_mean)
            self.mel_std.copy_(vocoder.mel_std)
        else:
            self.direct.weight.zero_()
            self.mel_mean.zero_()
            self.mel_std.fill_(1.0)
