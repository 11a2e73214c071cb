"""What the family head is shown: partials of known strength are found at any pitch, and nothing else is."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from wavegen.separation.masking import Transform, log_magnitude, magnitude
from wavegen.separation.partials import PARTIALS, TIMES, envelope, partials

RATE = 24000
GRID = Transform(8192, 1024)
SILENT = float(log_magnitude(torch.zeros(())))


def levels(wave: Tensor) -> Tensor:
    return magnitude(GRID.spectrum(wave[None, None]))


def tone(pitch: float, strengths: list[float], sharp: float = 0.0) -> Tensor:
    """A second of a note; partial k lies k² × ``sharp`` of its frequency above k times the fundamental."""
    t = torch.arange(RATE, dtype=torch.float64) / RATE
    hertz = 440 * 2 ** ((pitch - 69) / 12)
    waves = [
        strength * torch.sin(2 * math.pi * k * hertz * (1 + k * k * sharp) * t + k)
        for k, strength in enumerate(strengths, 1)
    ]
    return torch.stack(waves).sum(0).float()


def read(own: Tensor, mix: Tensor, pitch: int) -> dict[str, Tensor]:
    """What is seen in the midst of a note."""
    seen = partials(levels(own), levels(mix), torch.full((1, RATE // 1024 + 1), pitch), RATE)[0, :, 10]
    names = ("own", "between", "share", "strongest")
    return dict(zip(names, torch.split(seen, [PARTIALS, PARTIALS, PARTIALS, 1]), strict=True))


@settings(deadline=None, max_examples=25)
@given(pitch=st.integers(43, 84), seed=st.integers(0, 99))
def test_partials_are_read_at_any_pitch(pitch: int, seed: int) -> None:
    """Against the strongest, in thirds of a neper; half a partial away there is nothing, and beyond Nyquist silence."""
    decibels = np.random.default_rng(seed).uniform(-25, 0, 10)
    decibels[seed % 5] = 0
    wave = tone(pitch, (10 ** (decibels / 20)).tolist())
    seen = read(wave, wave, pitch)
    below = [k for k in range(10) if (k + 1) * 440 * 2 ** ((pitch - 69) / 12) < 0.9 * RATE / 2]
    wanted = torch.tensor(decibels[below] * math.log(10) / 20 / 3, dtype=torch.float32)
    torch.testing.assert_close(seen["own"][below], wanted, atol=0.08, rtol=0)  # 2 dB: a bin's edge
    assert float(seen["between"][below].max()) < float(seen["own"][below].min()) - 0.3
    assert torch.allclose(seen["share"], torch.zeros(PARTIALS), atol=1e-4)
    beyond = [k for k in range(PARTIALS) if (k + 1) * 440 * 2 ** ((pitch - 69) / 12) > RATE / 2]
    assert torch.allclose(seen["own"][beyond], SILENT - seen["strongest"], atol=1e-5)


def test_the_same_sound_is_the_same_an_octave_higher() -> None:
    low, high = (read(wave, wave, pitch) for pitch in (50, 62) for wave in [tone(pitch, [1.0, 0.2, 0.5, 0.1, 0.3])])
    assert torch.allclose(low["own"][:5], high["own"][:5], atol=0.08)
    wrong = read(tone(50, [1.0, 0.2, 0.5, 0.1, 0.3]), tone(50, [1.0, 0.2, 0.5, 0.1, 0.3]), 55)
    assert not torch.allclose(wrong["own"][:5], low["own"][:5], atol=0.5)


def test_what_else_sounds_takes_its_share_of_its_own_partials_alone() -> None:
    """A fifth above, every third partial falls on every second of the other note."""
    own, other = tone(48, [1 / k for k in range(1, 13)]), tone(55, [1 / k for k in range(1, 9)])
    share = read(own, own + 2 * other, 48)["share"][:12]
    hit = torch.zeros(12, dtype=torch.bool)
    hit[2::3] = True
    assert share[hit].max() < -0.15
    assert share[~hit].abs().max() < 0.05


def test_sharp_partials_are_found() -> None:
    """As a piano's: the tenth is 0.6 % sharp."""
    strengths = [1.0] * 10
    sharp = read(tone(60, strengths, 6e-5), tone(60, strengths), 60)["own"][:10]
    assert sharp.min() > -0.1


def test_noise_stands_between_partials_as_much_as_on_them() -> None:
    noise = torch.randn(RATE, generator=torch.Generator().manual_seed(0))
    seen = read(noise, noise, 69)
    assert 0.1 < (seen["own"] - seen["between"]).mean() < 0.3  # the largest and the mean of a few


@pytest.mark.parametrize("hop", [1024, 100, 9, 5])
def test_envelopes(hop: int) -> None:
    frames = 12
    wave = torch.ones(1, 2, (frames - 1) * hop)
    found = envelope(wave, hop, frames)
    assert found.shape == (1, TIMES, frames)
    assert torch.allclose(found[..., 1:-1], torch.full((1, TIMES, frames - 2), 0.5), atol=1e-4)
    assert torch.allclose(envelope(0 * wave, hop, frames), torch.tensor(math.log(1e-4) / 6 + 0.5))
    noise = torch.randn(2, 2, (frames - 1) * hop, generator=torch.Generator().manual_seed(1))
    assert torch.equal(envelope(-noise.flip(1), hop, frames), envelope(noise, hop, frames))
    assert torch.equal(envelope(noise, hop, frames)[1:], envelope(noise[1:], hop, frames))


@pytest.mark.parametrize("part", range(TIMES))
def test_a_click_is_in_its_part_of_its_frame(part: int) -> None:
    """Frame 4 is samples 3.5 to 4.5 hops."""
    click = torch.zeros(1, 1, 11 * 64)
    click[..., 4 * 64 - 32 + 8 * part + 3] = 1.0
    found = envelope(click, 64, 12)
    assert int(found.argmax()) == 12 * part + 4
    assert int((found > found.min() + 0.01).sum()) == 1


def test_items_of_a_batch_are_read_apart() -> None:
    waves = [tone(50, [1.0, 0.2]), tone(70, [0.3, 1.0, 0.5])]
    own = torch.cat([levels(wave) for wave in waves])
    pitch = torch.tensor([50, 70])[:, None].expand(2, own.shape[-1])
    both = partials(own, own, pitch, RATE)
    for item in (0, 1):
        alone = partials(own[item : item + 1], own[item : item + 1], pitch[item : item + 1], RATE)
        assert torch.allclose(both[item : item + 1], alone, atol=1e-6)
