"""The Wiener filter against a slow reference, and against what it is for."""

import numpy as np
import pytest
import torch

from wavegen.errors import InputError
from wavegen.separation.wiener import WienerSeparator, wiener


def slow(sources: np.ndarray, mix: np.ndarray, iterations: int, eps: float) -> np.ndarray:
    """One item, one window, in loops: sources (sources, channels, bins, frames), mix (channels, bins, frames)."""
    peak = max(1.0, np.abs(mix).max() / 10)
    x, y = mix / peak, sources / peak
    count, channels, bins, frames = y.shape
    for _ in range(iterations):
        v = (np.abs(y) ** 2).mean(axis=1)
        result = np.empty_like(y)
        for f in range(bins):
            spatial = [
                sum(np.outer(y[s, :, f, n], y[s, :, f, n].conj()) for n in range(frames)) / (v[s, f].sum() + eps)
                for s in range(count)
            ]
            for n in range(frames):
                total = sum(v[s, f, n] * spatial[s] for s in range(count)) + eps**0.5 * np.eye(channels)
                for s in range(count):
                    result[s, :, f, n] = v[s, f, n] * spatial[s] @ np.linalg.solve(total, x[:, f, n])
        y = result
    return y * peak


def random_spectra(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.complex(
        torch.randn(shape, generator=generator, dtype=torch.float64),
        torch.randn(shape, generator=generator, dtype=torch.float64),
    )


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("iterations", [1, 3])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_equals_the_slow_reference(channels: int, iterations: int, scale: float) -> None:
    sources = scale * random_spectra(2, 3, channels, 5, 7)
    mix = sources.sum(dim=1) + random_spectra(2, channels, 5, 7, seed=1)
    found = wiener(sources, mix, iterations=iterations)
    for item in range(2):
        expected = slow(sources[item].numpy(), mix[item].numpy(), iterations, 1e-10)
        assert np.abs(found[item].numpy() - expected).max() < 1e-8 * scale


def test_windows_are_filtered_apart() -> None:
    sources = random_spectra(1, 2, 2, 4, 25)
    mix = sources.sum(dim=1)
    found = wiener(sources, mix, window=10)
    for start in (0, 10, 20):
        part = slice(start, min(start + 10, 25))
        assert torch.allclose(found[..., part], wiener(sources[..., part], mix[..., part]))
    assert not torch.allclose(found, wiener(sources, mix), atol=1e-3)


def test_two_directions_are_told_apart() -> None:
    """Sources panned to two places, estimated with much of each other: the covariances see where each stands."""
    dry = random_spectra(2, 1, 6, 400)
    activity = torch.rand(2, 1, 6, 400, generator=torch.Generator().manual_seed(2)) ** 3
    directions = torch.tensor([[1.0, 0.3], [0.2, 1.0]], dtype=torch.complex128)
    true = (dry * activity) * directions[:, :, None, None]
    mix = true.sum(dim=0)
    rough = 0.8 * true + 0.2 * true.flip(0)
    found = wiener(rough[None], mix[None], iterations=2)[0]
    before = (rough - true).abs().square().mean(dim=(1, 2, 3))
    after = (found - true).abs().square().mean(dim=(1, 2, 3))
    assert (after < 0.25 * before).all()
    assert torch.allclose(found.sum(dim=0), mix, atol=1e-2)


def test_silence_and_nothing_to_do() -> None:
    zeros = torch.zeros(1, 2, 2, 4, 5, dtype=torch.complex64)
    assert not wiener(zeros, zeros[:, 0], iterations=2).any()
    sources = random_spectra(1, 2, 1, 4, 5)
    assert torch.equal(wiener(sources, sources.sum(dim=1), iterations=0), sources)
    assert wiener(sources[..., :0], sources.sum(dim=1)[..., :0]).shape[-1] == 0


def test_what_it_cannot_filter() -> None:
    sources = random_spectra(1, 2, 1, 4, 5)
    with pytest.raises(InputError, match="iterations"):
        wiener(sources, sources.sum(dim=1), iterations=-1)
    with pytest.raises(InputError, match="window"):
        wiener(sources, sources.sum(dim=1), window=0)
    with pytest.raises(InputError, match="do not fit"):
        wiener(sources, sources.sum(dim=1)[..., :3])
    with pytest.raises(InputError, match="1 or 2 channels"):
        wiener(random_spectra(1, 2, 3, 4, 5), random_spectra(1, 3, 4, 5))
    with pytest.raises(InputError, match="at least one iteration"):
        WienerSeparator(torch.nn.Module(), 0)  # type: ignore[arg-type]
