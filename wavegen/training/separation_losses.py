"""Losses of source separation: SI-SDR, SNR, the best order of sources, complex STFT, clustering, free bits."""

import math
from itertools import permutations
from typing import NamedTuple

import torch
from torch import Tensor, nn

from wavegen.errors import InputError
from wavegen.separation.band_split import consistent_masks

MOST_PERMUTED = 6  # sources; 720 orders are still cheap to try one by one
SILENCE = 1e-8  # energy per sample at which an SI-SDR of mixes of RMS 1 levels off


def si_sdr(estimate: Tensor, target: Tensor) -> Tensor:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019), (..., samples) twice → (...).

    Without removal of the mean. Finite everywhere, gradients too: it levels off 80 dB from signals of RMS 1.
    """
    floor = SILENCE * target.shape[-1]
    product = (estimate * target).sum(dim=-1, keepdim=True)
    projected = product / (target.square().sum(dim=-1, keepdim=True) + floor) * target
    signal, noise = projected.square().sum(dim=-1), (estimate - projected).square().sum(dim=-1)
    return 10 * (torch.log10(signal + floor) - torch.log10(noise + floor))


def negative_snr(estimate: Tensor, target: Tensor, mix: Tensor, limit_db: float = 30.0) -> Tensor:
    """Negative signal-to-noise ratio in dB, (..., samples) three times → (...).

    Errors more than ``limit_db`` under the mix count no less, so that easy examples do not rule a batch; a target
    quieter than that is measured against that level (Wisdom et al. 2021, "What's all the fuss about free universal
    sound separation data?", eq. 2 and 3, in one expression). Finite for silent targets; ``mix`` of RMS about 1.
    """
    error = (target - estimate).square().mean(dim=-1)
    return negative_snr_of(error, target.square().mean(dim=-1), mix.square().mean(dim=-1), limit_db)


def best_order(costs: Tensor) -> tuple[Tensor, Tensor]:
    """Permutation-invariant training (Yu et al. 2017): the least mean cost of an order, and the order.

    ``costs`` (batch, estimates, targets), square → costs (batch,) and order (batch, targets): the estimate that belongs
    to each target. InputError for more than six sources.
    """
    count = costs.shape[1]
    if costs.dim() != 3 or costs.shape[2] != count or not 1 <= count <= MOST_PERMUTED:
        raise InputError(f"costs must be (batch, n, n) with n from 1 to {MOST_PERMUTED}, not {tuple(costs.shape)}")
    orders = torch.tensor(list(permutations(range(count))), device=costs.device)
    totals = costs[:, orders, torch.arange(count, device=costs.device)].mean(dim=-1)
    least, which = totals.min(dim=1)
    return least, orders[which]


def reordered(sources: Tensor, order: Tensor) -> Tensor:
    """Sources (batch, sources, ...) in the order (batch, sources) that :func:`best_order` found."""
    index = order.reshape(*order.shape, *[1] * (sources.dim() - 2))
    return sources.gather(1, index.expand(-1, -1, *sources.shape[2:]))


def pairwise_negative_snr(estimate: Tensor, target: Tensor, mix: Tensor, limit_db: float = 30.0) -> Tensor:
    """:func:`negative_snr` of every estimate against every target, all channels as one signal.

    (batch, sources, channels, samples) twice and the mix (batch, channels, samples) → (batch, estimates, targets).
    """
    estimate, target, mix = estimate.flatten(2), target.flatten(2), mix.flatten(1)
    return negative_snr(estimate[:, :, None], target[:, None], mix[:, None, None], limit_db)


class ComplexSTFTLoss(nn.Module):
    """L1 between real parts, imaginary parts and magnitudes of spectra, averaged over FFT sizes.

    The spectral part of Luo & Yu 2023 (BSRNN, section III-C), at several resolutions. No logarithm: in a stem's silence
    what leaks counts by its level. Scaled so that white noise counts the same at every size. (..., samples) twice →
    scalar.
    """

    def __init__(self, sizes: tuple[int, ...]) -> None:
        super().__init__()
        if not sizes or min(sizes) < 4:
            raise InputError(f"FFT sizes must be 4 or more, not {sizes}")
        self.sizes = sizes
        for size in sizes:
            self.register_buffer(f"hann_{size}", torch.hann_window(size), persistent=False)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        output, target = output.reshape(-1, output.shape[-1]), target.reshape(-1, target.shape[-1])
        total = output.new_zeros(())
        for size in self.sizes:
            made, true = self._spectrum(output, size), self._spectrum(target, size)
            # The root's slope is infinite at 0, which silence would meet.
            sizes = ((x.real.square() + x.imag.square() + 1e-10).sqrt() for x in (made, true))
            magnitude = torch.sub(*sizes).abs().mean()
            difference = made - true
            total = total + difference.real.abs().mean() + difference.imag.abs().mean() + magnitude
        return total / (3 * len(self.sizes))

    def _spectrum(self, x: Tensor, size: int) -> Tensor:
        window = getattr(self, f"hann_{size}")
        spectrum = torch.stft(x, size, size // 4, size, window, center=True, pad_mode="constant", return_complex=True)
        return spectrum / math.sqrt(0.375 * size)  # the window's energy


class Cut(NamedTuple):
    """Real and imaginary parts of estimates and of targets, (batch, sources, ...), the rest in any one order.

    Scaled so that white noise of RMS 1 has bins of RMS 1.
    """

    real: Tensor
    imag: Tensor
    true_real: Tensor
    true_imag: Tensor


def cut_by_complex_masks(raw: Tensor, target: Tensor) -> Cut:
    """``raw`` (frames, batch, sources, 3, bins), as :func:`consistent_masks` takes it, on the sum of the targets.

    ``target`` (batch, sources, bins, frames, 2): real and imaginary parts.
    """
    mask_real, mask_imag = consistent_masks(raw.permute(1, 0, 2, 3, 4))  # (batch, frames, sources, bins)
    true_real, true_imag = target.permute(0, 3, 1, 2, 4).unbind(dim=-1)
    mix_real, mix_imag = true_real.sum(dim=2, keepdim=True), true_imag.sum(dim=2, keepdim=True)
    real, imag = mask_real * mix_real - mask_imag * mix_imag, mask_real * mix_imag + mask_imag * mix_real
    return Cut(*(part.transpose(1, 2) for part in (real, imag, true_real, true_imag)))


def cut_by_masks(masks: Tensor, target: Tensor) -> Cut:
    """Real ``masks`` (batch, sources, bins, frames), on the sum of the targets (batch, sources, bins, frames, 2)."""
    true_real, true_imag = target.unbind(dim=-1)
    mix_real, mix_imag = true_real.sum(dim=1, keepdim=True), true_imag.sum(dim=1, keepdim=True)
    return Cut(masks.float() * mix_real, masks.float() * mix_imag, true_real, true_imag)


def spectral_l1(cut: Cut, snr_weight: float = 0.0, limit_db: float = 30.0) -> Tensor:
    """L1 of real parts, imaginary parts and magnitudes, as :class:`ComplexSTFTLoss` has it at one size: a scalar.

    Plus ``snr_weight`` × the mean of :func:`negative_snr` over 20 dB.
    """
    real, imag, true_real, true_imag = cut
    made = (real.square() + imag.square() + 1e-10).sqrt()
    true = (true_real.square() + true_imag.square() + 1e-10).sqrt()
    loss = ((real - true_real).abs().mean() + (imag - true_imag).abs().mean() + (made - true).abs().mean()) / 3
    if not snr_weight:
        return loss
    error = ((real - true_real).square() + (imag - true_imag).square()).flatten(2).mean(dim=2)
    target, mix = _energies(true_real.flatten(2), true_imag.flatten(2))
    return loss + snr_weight / 20 * negative_snr_of(error, target, mix[:, None], limit_db).mean()


def _energies(real: Tensor, imag: Tensor) -> tuple[Tensor, Tensor]:
    """Mean squares of targets (batch, sources, n) → those of each (batch, sources), and of their sum (batch,)."""
    target = (real.square() + imag.square()).mean(dim=2)
    return target, (real.sum(dim=1).square() + imag.sum(dim=1).square()).mean(dim=1)


def spectral_negative_snr(cut: Cut, limit_db: float) -> Tensor:
    """:func:`pairwise_negative_snr` of spectra, which by Parseval have the waveforms' energies: (batch, n, n)."""
    real, imag, true_real, true_imag = (part.flatten(2) for part in cut)
    error = (real[:, :, None] - true_real[:, None]).square() + (imag[:, :, None] - true_imag[:, None]).square()
    target, mix = _energies(true_real, true_imag)
    return negative_snr_of(error.mean(dim=3), target[:, None], mix[:, None, None], limit_db)


def negative_snr_of(error: Tensor, target: Tensor, mix: Tensor, limit_db: float = 30.0) -> Tensor:
    """:func:`negative_snr` of mean squares instead of signals, of the same shape or broadcastable."""
    least = 10 ** (-limit_db / 10) * mix + SILENCE
    return 10 * (torch.log10(error + least) - torch.log10(torch.maximum(target, least)))


def clustering_loss(embedding: Tensor, dominant: Tensor, weight: Tensor) -> Tensor:
    """Deep clustering's loss (Hershey et al. 2016, eq. 1), weighted by bin as in Wang et al. 2018, eq. 3 and 4.

    Unit ``embedding`` (batch, bins, dimensions), index ``dominant`` (batch, bins) of the loudest source, ``weight``
    (batch, bins) >= 0 → (batch,): the mean square error of the affinities, from 0 to 1. It inverts nothing, so a source
    that never dominates adds nothing; where no bin has weight, the loss is 0.
    """
    share = (weight / weight.sum(dim=1, keepdim=True).clamp(min=1e-12)).sqrt()[..., None]
    count = int(dominant.max()) + 1 if dominant.numel() else 1
    v, y = share * embedding, share * nn.functional.one_hot(dominant, count).to(embedding.dtype)

    def square(a: Tensor, b: Tensor) -> Tensor:
        return (a.transpose(1, 2) @ b).square().sum(dim=(1, 2))

    return square(v, v) - 2 * square(v, y) + square(y, y)


class Divergence(NamedTuple):
    """``penalised``: nats a frame with every unit at least at its free bits; ``nats``: the KL itself, a frame."""

    penalised: Tensor
    nats: Tensor


def free_bits_kl(mean: Tensor, log_variance: Tensor, free: float) -> Divergence:
    """KL of N(mean, exp(log_variance)) from N(0, I): (batch, ..., units, frames) → scalars, summed over the units.

    Each unit's KL, averaged over all else, costs nothing below ``free`` nats (Kingma et al. 2016, "Improving
    variational inference with inverse autoregressive flow", eq. 15).
    """
    kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)
    units = kl.movedim(-2, 0).flatten(1).mean(dim=1)
    return Divergence(units.clamp(min=free).sum(), units.sum())


def active_units(means: Tensor, least: float = 0.01) -> int:
    """How many latent units say something: those whose posterior mean (examples, units) varies by more than ``least``.

    Burda et al. 2016, "Importance weighted autoencoders", section 5.2.
    """
    return int((means.var(dim=0, correction=0) > least).sum())
