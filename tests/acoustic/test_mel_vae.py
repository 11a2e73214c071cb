"""The mel VAE: shapes of any length, KL against torch, gaps against loops, great circles, seeds, bad input."""

import math
from pathlib import Path

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from wavegen import checkpoints
from wavegen.acoustic.mel_vae import MelVAE, MelVAEConfig, bridge, distance, slerp
from wavegen.audio.features import FeatureSpec
from wavegen.errors import InputError

SPEC = FeatureSpec(bands=20)
SIZES = {"content": 4, "timbre": 3, "channels": 16, "layers": 1, "fine": 8, "fine_layers": 1, "kernel": 3, "prior": 8}


def small(network: str = "conv", seed: int = 0) -> MelVAE:
    torch.manual_seed(seed)
    model = MelVAE(MelVAEConfig(network=network, **SIZES), SPEC).eval()  # type: ignore[arg-type]
    model.mel_mean.fill_(-4.0)
    model.mel_std.copy_(torch.linspace(1, 2, 20))
    return model


def mel(frames: int, batch: int = 1, seed: int = 0) -> torch.Tensor:
    return -4 + 2 * torch.randn(batch, 20, frames, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("network", ["conv", "dense"])
@pytest.mark.parametrize("frames", [1, 2, 7, 8, 9, 16, 61])
def test_any_length(network: str, frames: int) -> None:
    model = small(network)
    x = mel(frames, batch=2)
    latents = model.encode(x)
    assert latents.content.shape == (2, 4, math.ceil(frames / 8))
    assert latents.timbre.shape == (2, 3)
    output = model(x)
    assert output.mel.shape == x.shape
    assert torch.equal(output.mel, model.decode(latents.content, latents.timbre, frames))
    assert torch.isfinite(output.prior_nll).all()


def test_kl_is_torchs() -> None:
    from torch.distributions import Normal, kl_divergence

    model = small()
    x = mel(24, batch=2)
    latents, output = model.encode(x), model(x)
    for mean, log_variance, kl in (
        (latents.content, latents.content_log_variance, output.content_kl),
        (latents.timbre, latents.timbre_log_variance, output.timbre_kl),
    ):
        expected = kl_divergence(Normal(mean, torch.exp(log_variance / 2)), Normal(0.0, 1.0)).flatten(1).sum(1)
        torch.testing.assert_close(kl, expected, rtol=1e-4, atol=1e-4)
        assert (kl > 0).all()


def test_latents_are_drawn_in_training_alone() -> None:
    model, x = small(), mel(16)
    assert torch.equal(model(x).mel, model(x).mel)
    model.train()
    torch.manual_seed(1)
    a, b = model(x).mel, model(x).mel
    assert not torch.allclose(a, b, atol=1e-3)
    torch.manual_seed(1)
    assert torch.equal(model(x).mel, a)


def test_the_prior_teaches_the_encoder_nothing() -> None:
    model = small().train()
    model(mel(16)).prior_nll.sum().backward()
    assert all(p.grad is None for p in model.encoder.parameters())
    assert all(p.grad is None for p in model.timbre_encoder.parameters())
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in model.prior.parameters())


def test_content_is_blind_to_level_and_a_smooth_envelope() -> None:
    """Another gain and a gentle tilt change the timbre, and the content hardly."""
    model, x = small(), mel(40)
    model.mel_std.fill_(1.5)
    tilt = torch.linspace(1, -1, 20)[:, None]
    before, after = model.encode(x), model.encode(x + 3.0)
    torch.testing.assert_close(before.content, after.content, rtol=1e-3, atol=1e-4)
    assert (before.timbre - after.timbre).abs().max() > 0.01
    other = model.encode(mel(40, seed=5))
    tilted = model.encode(x + tilt)
    assert (tilted.content - before.content).norm() < 0.3 * (other.content - before.content).norm()


def test_padding_with_unknown_frames_changes_no_normalisation() -> None:
    """What stands in a missing frame is ignored."""
    model, x = small(), mel(32)
    known = torch.ones(1, 32, dtype=torch.bool)
    known[:, 10:15] = False
    spoilt = x.clone()
    spoilt[..., 10:15] = 50.0
    for a, b in zip(vars(model.encode(x, known=known)).values(), vars(model.encode(spoilt, known=known)).values()):  # noqa: B905
        assert torch.equal(a, b)
    assert not torch.allclose(model.encode(x).content, model.encode(spoilt).content, atol=1e-3)


@pytest.mark.parametrize("network", ["conv", "dense"])
def test_timbre_of_another_mel(network: str) -> None:
    model = small(network)
    a, b = mel(30), 2 + 0.2 * mel(17, seed=3)
    moved = model.transfer(a, b)
    assert moved.shape == a.shape
    torch.testing.assert_close(model.transfer(a, a), model(a).mel)
    torch.testing.assert_close(moved, model(a, timbre=b).mel)
    assert not torch.allclose(moved, model(a).mel, atol=1e-3)


masks = st.lists(st.booleans(), min_size=1, max_size=30).filter(any)


@settings(max_examples=60, deadline=None)
@given(masks)
def test_bridge_and_distance_equal_loops(mask: list[bool]) -> None:
    frames = len(mask)
    known = torch.tensor([mask, [True] * frames])
    x = torch.randn(2, 3, frames)
    filled, far = bridge(x, known), distance(known)
    assert torch.equal(filled[1], x[1])
    assert not far[1].any()
    places = [i for i in range(frames) if mask[i]]
    for t in range(frames):
        left = max((i for i in places if i <= t), default=None)
        right = min((i for i in places if i >= t), default=None)
        assert int(far[0, t]) == min(abs(t - i) for i in places)
        if left is None or right is None:
            expected = x[0, :, right if left is None else left]
        else:
            share = (t - left) / max(right - left, 1)
            expected = x[0, :, left] * (1 - share) + x[0, :, right] * share
        torch.testing.assert_close(filled[0, :, t], expected)


@pytest.mark.parametrize("network", ["conv", "dense"])
@pytest.mark.parametrize("gap", [(10, 11), (0, 5), (55, 60), (3, 59), (20, 40)])
def test_fill_keeps_what_is_known(network: str, gap: tuple[int, int]) -> None:
    model, x = small(network), mel(60, batch=2)
    known = torch.ones(2, 60, dtype=torch.bool)
    known[0, slice(*gap)] = False
    holed = x.clone()
    holed[0][:, slice(*gap)] = -99.0
    filled = model.fill(holed, known)
    assert torch.equal(filled[1], x[1])
    assert torch.equal(filled[0][:, known[0]], x[0][:, known[0]])
    assert filled.min() > -50
    assert torch.equal(model.fill(x, known), filled)


def test_what_fills_a_gap() -> None:
    """Linear, plus half of how the reconstruction departs from linear; training may change the half and add more."""
    model, x = small(), mel(60)
    known = torch.ones(1, 60, dtype=torch.bool)
    known[:, 25:35] = False
    made = model(x, known=known).mel
    expected = bridge(x, known) + 0.5 * (made - bridge(made, known))
    torch.testing.assert_close(model.fill(x, known), expected, rtol=1e-4, atol=1e-4)
    assert (expected - bridge(x, known)).abs().max() > 1e-3
    assert torch.equal(model(x, known=known, around=x + 1).filled[..., :25], x[..., :25] + 1)
    with torch.no_grad():
        model.trust.fill_(0.0)
        model.filler[-1].bias.fill_(0.5)  # type: ignore[operator, union-attr]
    torch.testing.assert_close(
        (model.fill(x, known) - bridge(x, known))[..., 25:35], 0.5 * model.mel_std[:, None].expand(1, 20, 10)
    )


def test_long_gaps_are_filled_inwards(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = small(), mel(150)
    known = torch.ones(1, 150, dtype=torch.bool)
    known[:, 20:130] = False  # 110 frames, 24 from each end at a time: three passes
    missing = []
    patch = model._patch

    def counted(mel: torch.Tensor, known: torch.Tensor, reconstruction: torch.Tensor) -> torch.Tensor:
        missing.append(int((~known).sum()))
        return patch(mel, known, reconstruction)

    monkeypatch.setattr(model, "_patch", counted)
    model.fill(x, known)
    assert missing == [110, 62, 14]


def test_slerp() -> None:
    a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    third = slerp(a, b, 1 / 3)
    torch.testing.assert_close(third, torch.tensor([[math.cos(math.pi / 6), math.sin(math.pi / 6)]]))
    for w in (0.0, 0.4, 1.0):
        torch.testing.assert_close(slerp(a, a * 3, w), a * (1 + 2 * w))
        torch.testing.assert_close(slerp(torch.zeros(1, 2), torch.zeros(1, 2), w), torch.zeros(1, 2))
        assert torch.isfinite(slerp(a, -a, w)).all()
    x, y = torch.randn(2, 4, 6), torch.randn(2, 4, 6)
    torch.testing.assert_close(slerp(x, y, 0.0), x)
    torch.testing.assert_close(slerp(x, y, 1.0), y)


def test_interpolate_begins_and_ends_at_the_reconstructions() -> None:
    model, a, b = small(), mel(19), mel(19, seed=1)
    between = model.interpolate(a, b, [0.0, 0.5, 1.0])
    assert between.shape == (3, 20, 19)
    torch.testing.assert_close(between[:1], model(a).mel, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(between[2:], model(b).mel, rtol=1e-4, atol=1e-4)
    assert (between[1] - between[0]).abs().max() > 1e-3
    assert (between[1] - between[2]).abs().max() > 1e-3


@pytest.mark.parametrize("network", ["conv", "dense"])
def test_samples_follow_the_seed(network: str) -> None:
    model = small(network)

    def drawn(seed: int, temperature: float = 1.0, frames: int = 21) -> torch.Tensor:
        return model.sample(frames, generator=torch.Generator().manual_seed(seed), temperature=temperature)

    assert drawn(1).shape == (1, 20, 21)
    assert torch.equal(drawn(1), drawn(1))
    assert not torch.allclose(drawn(1), drawn(2), atol=1e-3)
    assert torch.equal(drawn(1, 0.0), drawn(2, 0.0))
    assert drawn(1, frames=1).shape == (1, 20, 1)


def test_a_checkpoint_gives_the_same_mels(tmp_path: Path) -> None:
    for network in ("conv", "dense"):
        model = small(network)
        checkpoints.save(tmp_path / "vae.safetensors", model, half=False)
        again = checkpoints.load(tmp_path / "vae.safetensors", role="mel-vae")
        assert torch.equal(again(mel(13)).mel, model(mel(13)).mel)


def test_bad_input() -> None:
    model, x = small(), mel(10)
    known = torch.ones(1, 10, dtype=torch.bool)
    for wrong in (mel(10)[:, :19], mel(10)[0], mel(10)[..., :0]):
        with pytest.raises(InputError, match=r"mel must be \(batch, 20, frames\)"):
            model(wrong)
    with pytest.raises(InputError, match="NaN"):
        model(x / 0)
    with pytest.raises(InputError, match=r"known must be booleans \(batch, frames\)"):
        model.fill(x, known[:, :9])
    with pytest.raises(InputError, match="known must be booleans"):
        model.fill(x, known.float())
    with pytest.raises(InputError, match="no frame is known"):
        model.fill(x, ~known)
    with pytest.raises(InputError, match="alike"):
        model.interpolate(x, mel(11), [0.5])
    for weights in ([], [1.5]):
        with pytest.raises(InputError, match="weights"):
            model.interpolate(x, x, weights)
    with pytest.raises(InputError, match="frames must be positive"):
        model.sample(0)
    for key, value in (("network", "deep"), ("stride", 0), ("kernel", 4), ("content", 0), ("envelope", 0.0)):
        with pytest.raises(InputError, match=key):
            MelVAEConfig(**{key: value})
