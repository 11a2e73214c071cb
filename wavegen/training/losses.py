"""Losses on waveforms: multi-resolution STFT, log-mel, and the least-squares adversarial pair with feature matching."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wavegen.audio.features import FeatureSpec, MelSpectrogram


class MultiResolutionSTFTLoss(nn.Module):
    """Spectral convergence plus log-magnitude L1, averaged over resolutions (Yamamoto et al. 2020, Parallel WaveGAN).

    ``sizes`` are FFT sizes in samples; the window is as long, the hop a quarter of it. (batch, samples) twice → scalar.
    """

    def __init__(self, sizes: tuple[int, ...], floor: float = 1e-5) -> None:
        super().__init__()
        self.sizes = sizes
        self.floor = floor
        for size in sizes:
            self.register_buffer(f"hann_{size}", torch.hann_window(size), persistent=False)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        total = output.new_zeros(())
        for size in self.sizes:
            with torch.no_grad():
                true = self._magnitude(target, size)
            made = self._magnitude(output, size)
            # Per item, so that the loss of a batch is the mean of the losses of its shares.
            missed, size_of_true = (torch.linalg.norm(x, dim=(1, 2)) for x in (true - made, true))
            total = total + (missed / size_of_true.clamp(min=1.0)).mean() + F.l1_loss(made.log(), true.log())
        return total / len(self.sizes)

    def _magnitude(self, x: Tensor, size: int) -> Tensor:
        window = getattr(self, f"hann_{size}")
        s = torch.stft(x, size, size // 4, size, window, center=True, pad_mode="constant", return_complex=True)
        return torch.sqrt(s.real.square() + s.imag.square() + self.floor**2)


class MelLoss(nn.Module):
    """L1 between log-mels of one FeatureSpec: (batch, samples) twice → scalar."""

    def __init__(self, spec: FeatureSpec) -> None:
        super().__init__()
        self.extractor = MelSpectrogram(spec)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        with torch.no_grad():
            true = self.extractor(target)
        return F.l1_loss(self.extractor(output), true)


def discriminator_loss(real: list[Tensor], fake: list[Tensor]) -> Tensor:
    """Least-squares discriminator loss (Mao et al. 2017), the mean over sub-discriminators."""
    terms = [(1 - r).square().mean() + f.square().mean() for r, f in zip(real, fake, strict=True)]
    return torch.stack(terms).mean()


def adversarial_loss(fake: list[Tensor]) -> Tensor:
    """Least-squares generator loss, the mean over sub-discriminators."""
    return torch.stack([(1 - f).square().mean() for f in fake]).mean()


def feature_matching_loss(real: list[list[Tensor]], fake: list[list[Tensor]]) -> Tensor:
    """L1 between the discriminators' features (Kumar et al. 2019, MelGAN), relative to each item's mean real feature.

    The division keeps layers of different scale equally heavy.
    """
    terms = [
        ((r.detach() - f).abs().flatten(1).mean(1) / r.detach().abs().flatten(1).mean(1).clamp(min=1e-3)).mean()
        for rs, fs in zip(real, fake, strict=True)
        for r, f in zip(rs, fs, strict=True)
    ]
    return torch.stack(terms).mean()
