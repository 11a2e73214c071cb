"""What all separators by one real mask share: sums, symmetries, lengths, seeds, chunks, learning one mix."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from wavegen.errors import InputError
from wavegen.separation.base import Separator, SeparatorSpec
from wavegen.separation.chimera import Chimera, ChimeraConfig
from wavegen.separation.clustering import SpectralClustering, SpectralClusteringConfig
from wavegen.separation.hpss import HPSS, HPSSConfig
from wavegen.separation.lstm_vae import LSTMVAE, LSTMVAEConfig
from wavegen.separation.masking import HarmonicSums, Transform, audible, log_magnitude, magnitude
from wavegen.separation.overlap import separate
from wavegen.separation.tcn_vae import TCNVAE, TCNVAEConfig
from wavegen.training.separation_losses import si_sdr

RATE = 8000
GRID = {"n_fft": 256, "hop": 64}
SIZES = {
    Chimera: ChimeraConfig(24, 1, 6, **GRID, context=0.2),
    LSTMVAE: LSTMVAEConfig(4, 24, 1, 16, 8, bands=20, heads=12, **GRID, context=0.2),
    TCNVAE: TCNVAEConfig(4, 12, 12, 4, 2, 16, 24, 1, 5, 20, 12, **GRID),
    SpectralClustering: SpectralClusteringConfig(**GRID, landmarks=60),
    HPSS: HPSSConfig(**GRID, frames=11, bins=11),
}
Build = Callable[..., Separator]


def built(kind: type, channels: int = 1, **changes: object) -> Separator:
    torch.manual_seed(0)
    ordered = kind is HPSS
    spec = SeparatorSpec(RATE, channels, ("a", "b"), interchangeable=not ordered)
    return kind(type(SIZES[kind])(**{**vars(SIZES[kind]), **changes}), spec).eval()


def voices(seconds: float = 2.0, channels: int = 1) -> tuple[Tensor, Tensor]:
    """Two buzzes that glide and pulse in turn, (2, channels, samples), and their mix (1, channels, samples)."""
    t = torch.arange(round(seconds * RATE), dtype=torch.float64) / RATE
    found = []
    for f0, beat, shift in ((110.0, 1.5, 0.0), (263.0, 2.3, 1.0)):
        phase = 2 * torch.pi * (f0 * t + 0.4 * torch.sin(2 * torch.pi * beat * t))
        buzz = sum(torch.sin(k * phase) / k for k in range(1, 9))
        found.append(buzz * (0.3 + (0.7 * torch.sin(torch.pi * beat * t + shift) ** 2)))
    sources = torch.stack(found).float()[:, None]
    pans = torch.tensor([[1.0, 0.5], [-0.3, 0.8]])[:, :channels, None]
    sources = sources * (pans if channels == 2 else 1.0)
    return sources, sources.sum(dim=0)[None]


@pytest.mark.parametrize("kind", SIZES)
def test_stems_sum_to_the_mix_and_keep_its_symmetries(kind: type) -> None:
    model = built(kind, 2)
    _, mix = voices(0.7, 2)
    with torch.no_grad():
        found = model(mix)
        assert found.shape == (1, 2, *mix.shape[1:])
        torch.testing.assert_close(found.sum(dim=1), mix, atol=1e-6, rtol=0)
        assert found.std(dim=1).max() > 1e-4  # it does tell them apart
        torch.testing.assert_close(model(-mix), -found, atol=1e-5, rtol=0)
        torch.testing.assert_close(model(mix.flip(1)), found.flip(2), atol=1e-5, rtol=0)
        for gain in (2.0**-10, 64.0):  # exact, as hard masks need it
            torch.testing.assert_close(model(gain * mix), gain * found, atol=1e-6 * gain, rtol=1e-6)
        assert torch.equal(model(mix), found)
        assert torch.equal(built(kind, 2)(mix), found)
        assert torch.equal(model(torch.cat([mix, 0 * mix]))[1], torch.zeros_like(found[0]))


@pytest.mark.parametrize("kind", [Chimera, LSTMVAE, TCNVAE, HPSS])
def test_any_gain_commutes(kind: type) -> None:
    model = built(kind)
    _, mix = voices(0.5)
    with torch.no_grad():
        for gain in (0.1, 10.0):
            torch.testing.assert_close(model(gain * mix) / gain, model(mix), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", SIZES)
@pytest.mark.parametrize("samples", [1, 2, 129, 1001])
def test_short_and_odd_lengths(kind: type, samples: int) -> None:
    mix = torch.randn(1, 1, samples, generator=torch.Generator().manual_seed(samples))
    with torch.no_grad():
        found = built(kind)(mix)
    assert found.shape == (1, 2, 1, samples)
    torch.testing.assert_close(found.sum(dim=1), mix, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", [Chimera, LSTMVAE, TCNVAE, HPSS])
def test_chunks_make_up_the_whole(kind: type) -> None:
    model = built(kind)
    _, mix = voices(2.5)
    with torch.no_grad():
        whole = model(mix)[0]
        level = float(mix.square().mean().sqrt())
        chunked = separate(model, mix[0], chunk_seconds=0.7, overlap=0.25, level=level)
    assert si_sdr(chunked, whole).min() > 40


@pytest.mark.parametrize("kind", [Chimera, LSTMVAE, TCNVAE])
def test_one_mix_is_learned(kind: type) -> None:
    model = built(kind).train()
    sources, mix = voices(1.0)
    before = si_sdr(model(mix)[0], sources).mean()
    optimiser = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(60):
        loss = -si_sdr(model(mix)[0], sources).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert -loss.detach() > before.detach() + 5


@pytest.mark.parametrize("kind", [Chimera, LSTMVAE, TCNVAE])
def test_gradients_are_finite_on_near_silence(kind: type) -> None:
    model = built(kind).train()
    mix = torch.zeros(2, 1, 2000)
    mix[1, 0, 1000] = 1e-6  # one click, and all around it nothing
    (model(mix) * 1e6).square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_transform() -> None:
    grid = Transform(256, 64)
    noise = torch.randn(1, 2, 40000, generator=torch.Generator().manual_seed(0))
    spectrum = grid.spectrum(noise)
    assert spectrum.shape == (1, 2, grid.bins, 626)
    assert magnitude(spectrum).square().mean().item() == pytest.approx(1, abs=0.02)
    halves = torch.full((1, 2, grid.bins, 626), 0.5)
    torch.testing.assert_close(grid.apply(halves, spectrum, 40000)[:, 1], noise / 2, atol=1e-5, rtol=0)
    assert log_magnitude(torch.tensor([0.0, 1.0])).tolist() == pytest.approx([-1.3026, 1.0003], abs=1e-3)
    levels = torch.tensor([[[1.0, 0.11, 0.09, 0.0]], [[0.0, 0.0, 0.0, 0.0]]])
    assert audible(levels, 20.0).tolist() == [[[True, True, False, False]], [[False] * 4]]
    with pytest.raises(InputError, match="at least 4 hops"):
        Transform(256, 65)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (Chimera, {"n_fft": 100}),
        (Chimera, {"read": "both"}),
        (Chimera, {"dropout": 1.0}),
        (Chimera, {"range_db": 0.0}),
        (LSTMVAE, {"units": 0}),
        (LSTMVAE, {"context": float("inf")}),
        (LSTMVAE, {"window": 3}),
        (LSTMVAE, {"window": -2}),
        (TCNVAE, {"kernel": 4}),
        (TCNVAE, {"cycle": 40}),
        (SpectralClustering, {"landmarks": 0}),
        (SpectralClustering, {"seed": -1}),
        (HPSS, {"frames": 8}),
        (HPSS, {"power": 0.0}),
    ],
)
def test_bad_settings(kind: type, change: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(change))):
        built(kind, **change)


@pytest.mark.parametrize(("rate", "n_fft", "lowest"), [(24000, 4096, 30), (24000, 2048, 45), (44100, 4096, 40)])
def test_harmonic_sums_are_highest_at_the_pitch(rate: int, n_fft: int, lowest: int) -> None:
    """Of a tone with many partials, and of one that lacks its fundamental."""
    transform, sums = Transform(n_fft, n_fft // 4), HarmonicSums(rate, n_fft)
    t = torch.arange(rate // 2) / rate
    for pitch in range(lowest, 85, 3):
        hertz = 440 * 2 ** ((pitch - 69) / 12)
        partials = [torch.sin(2 * torch.pi * k * hertz * t) / k for k in range(1, 15) if k * hertz < rate / 2.2]
        for tone in (sum(partials), sum(partials[1:])) if pitch < 72 else (sum(partials),):
            assert isinstance(tone, torch.Tensor)
            found = sums(magnitude(transform.spectrum((tone / tone.std())[None, None])))
            middle = found[0, :, found.shape[2] // 2]
            assert int(middle.argmax()) + HarmonicSums.LOWEST == pitch
            assert middle.shape == (sums.pitches,)
