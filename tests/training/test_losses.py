"""Losses against plain numpy, and their behaviour where it matters."""

import numpy as np
import pytest
import torch

from wavegen.audio.features import FeatureSpec
from wavegen.training.discriminators import DiscriminatorConfig, Discriminators
from wavegen.training.losses import (
    MelLoss,
    MultiResolutionSTFTLoss,
    adversarial_loss,
    discriminator_loss,
    feature_matching_loss,
)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def numpy_stft_loss(output: np.ndarray, target: np.ndarray, size: int, floor: float) -> float:
    def magnitude(x: np.ndarray) -> np.ndarray:
        x = np.pad(x.astype(np.float64), size // 2)
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
        starts = range(0, len(x) - size + 1, size // 4)
        s = np.stack([np.fft.rfft(x[i : i + size] * window) for i in starts])
        return np.sqrt(np.abs(s) ** 2 + floor**2)

    losses = []
    for made, true in zip(output, target, strict=True):
        m, t = magnitude(made), magnitude(true)
        losses.append(np.linalg.norm(t - m) / max(np.linalg.norm(t), 1.0) + np.abs(np.log(m) - np.log(t)).mean())
    return float(np.mean(losses))


def test_stft_loss_equals_numpy() -> None:
    a, b = noise(3, 3001), noise(3, 3001, seed=1)
    ours = float(MultiResolutionSTFTLoss((512, 128))(a, b))
    expected = np.mean([numpy_stft_loss(a.numpy(), b.numpy(), size, 1e-5) for size in (512, 128)])
    assert ours == pytest.approx(float(expected), rel=1e-4)


def test_stft_loss_is_zero_only_for_the_same_and_grows() -> None:
    loss = MultiResolutionSTFTLoss((512, 128))
    a = noise(2, 4000)
    assert float(loss(a, a)) == 0
    values = [float(loss(a + k * noise(2, 4000, seed=9), a)) for k in (0.01, 0.1, 1.0)]
    assert 0 < values[0] < values[1] < values[2]


def test_batch_loss_is_the_mean_of_its_items() -> None:
    a, b = noise(4, 3000), noise(4, 3000, seed=1) * torch.tensor([0.1, 1, 2, 3])[:, None]
    for loss in (MultiResolutionSTFTLoss((256,)), MelLoss(FeatureSpec())):
        whole = float(loss(a, b))
        assert whole == pytest.approx(np.mean([float(loss(a[i : i + 1], b[i : i + 1])) for i in range(4)]), rel=1e-5)


def test_gradients_are_finite_in_silence() -> None:
    x = torch.zeros(1, 4000, requires_grad=True)
    (MultiResolutionSTFTLoss((512, 128))(x, noise(1, 4000)) + MelLoss(FeatureSpec())(x, noise(1, 4000))).backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


def test_least_squares_losses_on_known_values() -> None:
    real, fake = [torch.tensor([[1.0, 0.5]])], [torch.tensor([[0.0, 1.0]])]
    assert float(discriminator_loss(real, fake)) == pytest.approx(0.125 + 0.5)
    assert float(adversarial_loss(fake)) == pytest.approx(0.5)


def test_feature_matching_is_relative() -> None:
    real, fake = [[torch.full((2, 3, 4), 10.0)]], [[torch.full((2, 3, 4), 9.0)]]
    assert float(feature_matching_loss(real, fake)) == pytest.approx(0.1)
    assert float(feature_matching_loss(real, real)) == 0


@pytest.mark.parametrize("samples", [1500, 4097, 8192])
def test_discriminators_learn_to_tell(samples: int) -> None:
    """A few steps separate a tone from noise, for every sub-discriminator and any length."""
    torch.manual_seed(0)
    config = DiscriminatorConfig((2, 3, 7), (256, 512), period_channels=32, resolution_channels=8)
    judge = Discriminators(config)
    tone = torch.sin(torch.arange(samples) * 0.1)[None] * 0.3 * torch.ones(4, 1)
    optimiser = torch.optim.Adam(judge.parameters(), 5e-3)
    for _ in range(40):
        real, features = judge(tone)
        fake, _ = judge(noise(4, samples))
        optimiser.zero_grad()
        discriminator_loss(real, fake).backward()
        optimiser.step()
    assert len(real) == len(features) == 5
    for r, f in zip(real, fake, strict=True):
        assert float(r.detach().mean()) > float(f.detach().mean()) + 0.2
    for parameter in judge.parameters():
        assert parameter.grad is not None
