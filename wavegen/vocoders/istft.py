"""A vocoder at frame rate: ConvNeXt over mel frames, then an inverse STFT.

Follows Vocos (Siuzdak 2023, "Vocos: Closing the gap between time-domain and Fourier-based neural vocoders"): no
upsampling in the network, one complex spectrum a frame, overlap-add by the inverse transform.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wavegen.audio.features import FeatureSpec
from wavegen.errors import InputError
from wavegen.nn.convnext import ConvNeXtBlock
from wavegen.vocoders.base import Vocoder


@dataclass(frozen=True)
class ISTFTVocoderConfig:
    """Sizes: ``channels`` of the trunk, ``hidden`` of each block's expansion, ``layers`` blocks of width ``kernel``."""

    channels: int = 256
    hidden: int = 768
    layers: int = 8
    kernel: int = 7

    def __post_init__(self) -> None:
        if min(self.channels, self.hidden, self.layers) < 1:
            raise InputError("ISTFTVocoderConfig: channels, hidden and layers must be positive")
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise InputError(f"ISTFTVocoderConfig.kernel must be odd, not {self.kernel}")


class ISTFTVocoder(Vocoder):
    """Mel (batch, bands, frames) → waveform (batch, frames × hop).

    The spec's padding must be "same", so that a frame stands over its own hop samples.
    """

    hann: Tensor

    def __init__(self, config: ISTFTVocoderConfig, spec: FeatureSpec) -> None:
        super().__init__()
        if spec.padding != "same" or spec.n_fft % spec.hop or spec.n_fft < 2 * spec.hop:
            raise InputError('ISTFTVocoder needs a FeatureSpec with padding "same" and n_fft a multiple of the hop')
        self.config = config
        self.spec = spec
        half = config.kernel // 2
        overlap = -(-(spec.n_fft + spec.hop) // (2 * spec.hop))
        self.context = half * (config.layers + 1) + overlap
        self.embed = nn.Conv1d(spec.bands, config.channels, config.kernel, padding=half)
        self.norm = nn.LayerNorm(config.channels, eps=1e-6)
        scale = 1.0 / config.layers
        self.blocks = nn.ModuleList(
            ConvNeXtBlock(config.channels, config.hidden, config.kernel, scale) for _ in range(config.layers)
        )
        self.last_norm = nn.LayerNorm(config.channels, eps=1e-6)
        self.head = nn.Linear(config.channels, spec.n_fft + 2)
        self.register_buffer("hann", torch.hann_window(spec.n_fft), persistent=False)
        for module in self.modules():
            if isinstance(module, nn.Conv1d | nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, mel: Tensor) -> Tensor:
        self.check(mel)
        magnitude, real, imag = self.spectrum(mel)
        return self.overlap_add(torch.complex(magnitude * real, magnitude * imag))

    def spectrum(self, mel: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Magnitude, and the cosine and sine of the phase, each (batch, n_fft // 2 + 1, frames) in float32."""
        x = self.norm(self.embed(mel).transpose(1, 2)).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        y = self.head(self.last_norm(x.transpose(1, 2))).transpose(1, 2).float()
        log_magnitude, phase = y.chunk(2, dim=1)
        # A magnitude above e^6 cannot occur for |waveform| <= 1 and would overflow early in training.
        return torch.exp(log_magnitude.clamp(max=6.0)), torch.cos(phase), torch.sin(phase)

    def overlap_add(self, spectrum: Tensor) -> Tensor:
        """Complex spectrum (batch, n_fft // 2 + 1, frames) → waveform (batch, frames × hop), windows compensated."""
        n_fft, hop, frames = self.spec.n_fft, self.spec.hop, spectrum.shape[-1]
        pieces = torch.fft.irfft(spectrum, n=n_fft, dim=1) * self.hann[:, None]
        length = (frames - 1) * hop + n_fft
        fold = {"output_size": (1, length), "kernel_size": (1, n_fft), "stride": (1, hop)}
        y = F.fold(pieces, **fold)[:, 0, 0]
        squares = self.hann.square()[None, :, None].expand(1, n_fft, frames)
        envelope = F.fold(squares, **fold)[0, 0, 0]
        pad = self.spec.pad
        return y[:, pad : length - pad] / envelope[pad : length - pad]
