"""Losses of separation against closed forms and slow references; finite on silence."""

import math
from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from wavegen.errors import InputError
from wavegen.separation.band_split import BandSplitLSTM, BandSplitLSTMConfig
from wavegen.separation.base import SeparatorSpec
from wavegen.separation.stft import stft
from wavegen.training.separation_losses import (
    ComplexSTFTLoss,
    active_units,
    best_order,
    clustering_loss,
    cut_by_complex_masks,
    cut_by_masks,
    free_bits_kl,
    negative_snr,
    pairwise_negative_snr,
    reordered,
    si_sdr,
    spectral_l1,
    spectral_negative_snr,
)


def orthogonal(count: int = 1000) -> tuple[Tensor, Tensor]:
    """Two orthogonal signals of RMS 1."""
    t = 2 * math.pi * torch.arange(count) / count
    return math.sqrt(2) * torch.sin(5 * t), math.sqrt(2) * torch.cos(9 * t)


@pytest.mark.parametrize("db", [-10.0, 0.0, 6.0, 25.0])
def test_si_sdr_is_known_and_ignores_scale(db: float) -> None:
    s, n = orthogonal()
    estimate = s + 10 ** (-db / 20) * n
    assert si_sdr(estimate, s).item() == pytest.approx(db, abs=1e-3)
    assert si_sdr(-3 * estimate, s).item() == pytest.approx(db, abs=1e-3)
    assert si_sdr(estimate, 0.3 * s).item() == pytest.approx(db, abs=1e-3)


@pytest.mark.parametrize("db", [-10.0, 0.0, 6.0, 25.0])
def test_negative_snr_is_known_and_minds_scale(db: float) -> None:
    s, n = orthogonal()
    found = negative_snr(s + 10 ** (-db / 20) * n, s, s, limit_db=60)
    assert found.item() == pytest.approx(-db, abs=0.01)
    assert negative_snr(0 * s, s, s, limit_db=60).item() == pytest.approx(0, abs=1e-4)
    assert negative_snr(2 * s, s, s, limit_db=60).item() == pytest.approx(0, abs=1e-4)


def test_negative_snr_at_its_limits() -> None:
    s, n = orthogonal()
    assert negative_snr(s, s, s, limit_db=30).item() == pytest.approx(-30, abs=1e-3)
    silent = torch.zeros_like(s)  # a silent target: the leak against 30 dB under the mix
    assert negative_snr(silent, silent, s).item() == pytest.approx(0, abs=1e-4)
    assert negative_snr(0.1 * n, silent, s).item() == pytest.approx(10 * math.log10(11), abs=1e-3)


@pytest.mark.parametrize("which", ["estimate", "target", "mix", "all"])
def test_gradients_are_finite_on_silence(which: str) -> None:
    s, n = orthogonal()
    signals = {"estimate": s + n, "target": s.clone(), "mix": s + n}
    for name in signals if which == "all" else [which]:
        signals[name] = torch.zeros_like(s)
    estimate = signals["estimate"].clone().requires_grad_()
    stft = ComplexSTFTLoss((64, 128))(estimate[None], signals["target"][None])
    loss = negative_snr(estimate, signals["target"], signals["mix"]) - si_sdr(estimate, signals["target"]) + stft
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(estimate.grad).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(0, 10**6))
def test_the_best_order_is_that_of_a_search(count: int, seed: int) -> None:
    costs = torch.rand(3, count, count, generator=torch.Generator().manual_seed(seed))
    least, order = best_order(costs)
    for b in range(3):
        means = {p: sum(float(costs[b, e, t]) for t, e in enumerate(p)) / count for p in permutations(range(count))}
        assert float(least[b]) == pytest.approx(min(means.values()), abs=1e-6)
        assert means[tuple(order[b].tolist())] == pytest.approx(min(means.values()), abs=1e-6)


def test_sources_find_their_places() -> None:
    generator = torch.Generator().manual_seed(1)
    target = torch.randn(4, 3, 2, 500, generator=generator)
    mixed = torch.stack([torch.randperm(3, generator=generator) for _ in range(4)])
    estimate = reordered(target, mixed) + 0.01 * torch.randn(target.shape, generator=generator)
    loss, order = best_order(pairwise_negative_snr(estimate, target, target.sum(dim=1), limit_db=60))
    assert torch.equal(mixed.gather(1, order), torch.arange(3).expand(4, 3))
    torch.testing.assert_close(reordered(estimate, order), target, atol=0.06, rtol=0)
    assert -41 < loss.max() < -38
    with pytest.raises(InputError, match="n from 1 to 6"):
        best_order(torch.zeros(1, 7, 7))


def test_complex_stft_loss() -> None:
    loss = ComplexSTFTLoss((256, 512))
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 1, 8192, generator=generator)
    assert loss(x, x) == 0
    assert loss(2 * x, 3 * x).item() == pytest.approx(loss(x, 0 * x).item(), rel=1e-4)
    alone = [ComplexSTFTLoss((n,))(x, 0 * x).item() for n in (256, 2048)]
    assert alone[0] == pytest.approx(alone[1], rel=0.15)  # only the ends differ
    assert loss(-x, x) > loss(0 * x, x)  # phase counts
    with pytest.raises(InputError, match="FFT sizes"):
        ComplexSTFTLoss(())


def spectra(waveforms: Tensor, n_fft: int = 256) -> Tensor:
    return torch.view_as_real(stft(waveforms[:, :, 0], n_fft, n_fft // 4)) / math.sqrt(0.375 * n_fft)


def test_spectral_losses_are_those_of_the_waveforms() -> None:
    """Masks on a spectrum, judged there, and judged as what they make of the waveform."""
    torch.manual_seed(0)
    spec = SeparatorSpec(8000, 1, ("a", "b", "c"))
    model = BandSplitLSTM(BandSplitLSTMConfig(channels=6, hidden=5, layers=1, bands=7, n_fft=256, hop=64), spec)
    with torch.no_grad():
        shares = torch.randn(3, 3, 1)  # alike in all bins: what such masks cut out is the spectrum of something
        for layer, width in zip(model.masks, model.widths, strict=True):
            layer.bias.copy_(shares.expand(3, 3, width).flatten())
    target = torch.randn(2, 3, 1, 20_000) * torch.tensor([1.0, 0.5, 0.1])[None, :, None, None]
    mix = target.sum(dim=1)
    output = model.estimate(mix)
    cut = cut_by_complex_masks(model.spectral_masks(mix), spectra(target))
    found = spectral_negative_snr(cut, 30.0)
    torch.testing.assert_close(found, pairwise_negative_snr(output, target, mix, 30.0), atol=0.1, rtol=0)
    assert found.max() - found.min() > 1  # there is something to tell apart
    l1 = spectral_l1(cut)
    torch.testing.assert_close(l1, ComplexSTFTLoss((256,))(output, target), rtol=0.01, atol=0)
    snr = found.diagonal(dim1=1, dim2=2).mean() / 20
    torch.testing.assert_close(spectral_l1(cut, 0.5, 30.0), l1 + 0.5 * snr)


def test_real_masks_cut_the_mix() -> None:
    target = spectra(torch.randn(2, 3, 1, 4000))
    masks = torch.rand(2, 3, *target.shape[2:4])
    cut = cut_by_masks(masks, target)
    torch.testing.assert_close(torch.stack([cut.true_real, cut.true_imag], dim=-1), target)
    mix = target.sum(dim=1)[:, None]
    torch.testing.assert_close(torch.stack([cut.real, cut.imag], dim=-1), masks[..., None] * mix)


def test_clustering_loss_is_that_of_the_affinities() -> None:
    generator = torch.Generator().manual_seed(0)
    v = torch.nn.functional.normalize(torch.randn(2, 30, 5, generator=generator), dim=2)
    dominant = torch.randint(0, 3, (2, 30), generator=generator)
    weight = torch.rand(2, 30, generator=generator)
    found = clustering_loss(v, dominant, weight)
    for b in range(2):
        same = (dominant[b][:, None] == dominant[b][None]).float()
        share = weight[b] / weight[b].sum()
        slow = ((v[b] @ v[b].T - same).square() * share[:, None] * share[None]).sum()
        assert found[b].item() == pytest.approx(slow.item(), abs=1e-6)


def test_clustering_survives_sources_that_never_dominate() -> None:
    v = torch.nn.functional.normalize(torch.ones(1, 20, 4), dim=2).requires_grad_()
    for dominant in (torch.zeros(1, 20), torch.full((1, 20), 2.0)):
        loss = clustering_loss(v, dominant.long(), torch.ones(1, 20))
        assert loss.item() == pytest.approx(0, abs=1e-5)
    silent = clustering_loss(v, torch.zeros(1, 20).long(), torch.zeros(1, 20))
    assert silent.item() == 0
    silent.sum().backward()
    assert torch.isfinite(v.grad).all()


def test_free_bits() -> None:
    mean = torch.zeros(2, 3, 4, 7)
    mean[:, :, 1] = 2.0  # nats: 2 in one unit of four
    kl = free_bits_kl(mean, torch.zeros_like(mean), 0.25)
    assert kl.nats.item() == pytest.approx(2.0)
    assert kl.penalised.item() == pytest.approx(2.0 + 3 * 0.25)
    variance = 0.5
    alone = free_bits_kl(torch.zeros(1, 1, 3), torch.full((1, 1, 3), math.log(variance)), 0.0)
    assert alone.nats.item() == pytest.approx(0.5 * (variance - 1 - math.log(variance)))


def test_active_units() -> None:
    means = torch.randn(500, 6, generator=torch.Generator().manual_seed(0)) * torch.tensor([1, 0.5, 0.05, 0.2, 0, 0.09])
    assert active_units(means) == 3
