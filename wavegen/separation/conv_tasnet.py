"""Conv-TasNet: a learned transform of short frames, and a temporal convolutional network that masks it.

Luo and Mesgarani 2019, "Conv-TasNet: surpassing ideal time-frequency magnitude masking for speech separation". With
``norm="global"``, ``encoder="linear"`` or ``"relu"`` it has the layout of the checkpoints that torchaudio and asteroid
publish. The defaults differ where the paper's choice keeps a chunk from being separated as the whole is, or a mix from
being separated as its negative is.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wavegen.errors import InputError
from wavegen.separation.base import Separator, SeparatorSpec

ENCODERS = ("even", "linear", "relu")
NORMS = ("frame", "global")
MASKS = ("relu", "sigmoid")


@dataclass(frozen=True)
class ConvTasNetConfig:
    """Sizes, in the paper's letters: ``filters`` N of ``kernel`` L samples each half of that, ``bottleneck`` B,
    ``hidden`` H, ``skip`` Sc, ``width`` P, ``layers`` X of dilations 1, 2, 4, … and ``repeats`` R of them.

    ``encoder``: what the masks are made from and multiply. "linear": the filters' output; "relu": its positive part;
    "even": masks of the output, made from its log-magnitudes, which do not know the sign. ``norm`` takes statistics of
    a "frame" or of all frames ("global"). ``mask`` is the masks' activation. ``padded``: whether the first and the last
    sample stand in two frames, as all others do.
    """

    filters: int = 512
    kernel: int = 16
    bottleneck: int = 128
    hidden: int = 512
    skip: int = 128
    width: int = 3
    layers: int = 8
    repeats: int = 3
    encoder: str = "even"
    norm: str = "frame"
    mask: str = "sigmoid"
    padded: bool = True

    def __post_init__(self) -> None:
        sizes = (self.filters, self.bottleneck, self.hidden, self.skip, self.layers, self.repeats)
        if min(sizes) < 1:
            raise InputError("ConvTasNetConfig: all sizes must be positive")
        if self.kernel < 2 or self.kernel % 2:
            raise InputError(f"ConvTasNetConfig.kernel must be even, not {self.kernel}")
        if self.width < 1 or self.width % 2 == 0:
            raise InputError(f"ConvTasNetConfig.width must be odd, not {self.width}")
        for name, known in (("encoder", ENCODERS), ("norm", NORMS), ("mask", MASKS)):
            if getattr(self, name) not in known:
                raise InputError(f"ConvTasNetConfig.{name} is one of {', '.join(known)}, not {getattr(self, name)!r}")


class FrameNorm(nn.Module):
    """(batch, channels, frames), each frame normalised over its channels, with a gain and a bias per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        variance, mean = torch.var_mean(x, dim=1, keepdim=True, correction=0)
        return (x - mean) * (torch.rsqrt(variance + 1e-5) * self.weight[:, None]) + self.bias[:, None]


def _norm(kind: str, channels: int) -> nn.Module:
    return FrameNorm(channels) if kind == "frame" else nn.GroupNorm(1, channels, eps=1e-8)


class ConvBlock(nn.Module):
    """Widen, filter each channel along time with a dilation, and give out what to add to the input and to the skips."""

    def __init__(self, config: ConvTasNetConfig, dilation: int, residual: bool) -> None:
        super().__init__()
        c = config
        self.expand = nn.Conv1d(c.bottleneck, c.hidden, 1)
        self.prelu1 = nn.PReLU()
        self.norm1 = _norm(c.norm, c.hidden)
        self.depthwise = nn.Conv1d(
            c.hidden, c.hidden, c.width, padding=(c.width // 2) * dilation, dilation=dilation, groups=c.hidden
        )
        self.prelu2 = nn.PReLU()
        self.norm2 = _norm(c.norm, c.hidden)
        self.residual = nn.Conv1d(c.hidden, c.bottleneck, 1) if residual else None
        self.skip = nn.Conv1d(c.hidden, c.skip, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.norm1(self.prelu1(self.expand(x)))
        y = self.norm2(self.prelu2(self.depthwise(y)))
        return x if self.residual is None else x + self.residual(y), self.skip(y)


class ConvTasNet(Separator):
    """Mono mix (batch, 1, samples) → sources (batch, sources, 1, samples).

    The last block has no ``residual``, which nothing would use. ``input_norm`` is there for the global norm alone: one
    that looks at a frame would hide how loud it is.
    """

    config: ConvTasNetConfig

    def __init__(self, config: ConvTasNetConfig, spec: SeparatorSpec) -> None:
        super().__init__()
        if spec.channels != 1:
            raise InputError(f"ConvTasNet separates mono, not {spec.channels} channels")
        self.config, self.spec = config, spec
        c, count = config, len(spec.sources)
        self.hop = c.kernel // 2
        self.encoder = nn.Conv1d(1, c.filters, c.kernel, stride=self.hop, bias=False)
        self.input_norm = _norm(c.norm, c.filters) if c.norm == "global" else nn.Identity()
        self.input_conv = nn.Conv1d(c.filters, c.bottleneck, 1)
        dilations = [2**layer for layer in range(c.layers)] * c.repeats
        self.blocks = nn.ModuleList(
            ConvBlock(c, dilation, residual=i + 1 < len(dilations)) for i, dilation in enumerate(dilations)
        )
        self.output_prelu = nn.PReLU()
        self.output_conv = nn.Conv1d(c.skip, count * c.filters, 1)
        self.decoder = nn.ConvTranspose1d(c.filters, 1, c.kernel, stride=self.hop, bias=False)
        self.context = (c.width // 2) * sum(dilations) * self.hop + 2 * c.kernel

    def estimate(self, mix: Tensor) -> Tensor:
        c, samples = self.config, mix.shape[-1]
        if c.padded:
            mix = F.pad(mix, (self.hop, self.hop + -samples % self.hop))
        elif samples < c.kernel:
            mix = F.pad(mix, (0, c.kernel - samples))
        code = self.encoder(mix)
        if c.encoder == "relu":
            code = F.relu(code)
        masked = self.masks(code) * code[:, None]
        waveform = self.decoder(masked.flatten(0, 1)).unflatten(0, masked.shape[:2])
        if c.padded:
            waveform = waveform[..., self.hop :]
        return F.pad(waveform, (0, max(0, samples - waveform.shape[-1])))[..., :samples]

    def masks(self, code: Tensor) -> Tensor:
        """Code (batch, filters, frames) → masks (batch, sources, filters, frames)."""
        c = self.config
        seen = torch.log(code.abs() + 1e-3) / 2 if c.encoder == "even" else code
        x = self.input_conv(self.input_norm(seen))
        total: Tensor | float = 0.0
        for block in self.blocks:
            x, skip = block(x)
            total = total + skip
        y = self.output_conv(self.output_prelu(total)).unflatten(1, (len(self.spec.sources), c.filters))
        return torch.sigmoid(y) if c.mask == "sigmoid" else F.relu(y)
