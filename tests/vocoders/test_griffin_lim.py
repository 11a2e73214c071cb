"""Griffin-Lim: consistency improves with iterations, timing is kept, seeds decide, bad input is refused."""

import dataclasses

import pytest
import torch

from wavegen.audio.features import CONVENTIONS, FeatureSpec, MelSpectrogram
from wavegen.errors import InputError
from wavegen.vocoders.griffin_lim import GriffinLim

SPEC = FeatureSpec()


def tones(samples: int, rate: int) -> torch.Tensor:
    t = torch.arange(samples) / rate
    x = 0.2 * torch.sin(2 * torch.pi * 220 * t) + 0.1 * torch.sin(2 * torch.pi * 660 * t)
    return (x * (t > 0.2))[None]


def test_mel_of_the_output_is_the_mel() -> None:
    mel = MelSpectrogram(SPEC)(tones(24000, 24000))
    distances = []
    for iterations in (1, 32):
        again = MelSpectrogram(SPEC)(GriffinLim(SPEC, iterations)(mel))
        loud = mel > -6
        distances.append(float((again - mel)[loud].abs().mean()))
    assert distances[1] < 0.35
    assert distances[1] < distances[0] * 0.7


@pytest.mark.parametrize("name", ["bigvgan-24k", "tacotron2-22k", "vocos-24k", "diffwave-22k"])
def test_onset_stays_in_place(name: str) -> None:
    spec = CONVENTIONS[name]
    x = tones(spec.sample_rate // 2, spec.sample_rate)
    mel = MelSpectrogram(spec)(x)
    y = GriffinLim(spec, 16)(mel)
    assert y.shape == (1, mel.shape[-1] * spec.hop)
    energy = y[0].square().cumsum(0)
    onset = int((energy > 0.01 * energy[-1]).nonzero()[0]) / spec.sample_rate
    assert abs(onset - 0.2) < 0.03
    assert 0.5 < float(y.abs().max() / x.abs().max()) < 2


def test_seed_decides_the_samples() -> None:
    mel = MelSpectrogram(SPEC)(tones(6000, 24000))
    assert torch.equal(GriffinLim(SPEC, 2, seed=3)(mel), GriffinLim(SPEC, 2, seed=3)(mel))
    assert not torch.equal(GriffinLim(SPEC, 2, seed=3)(mel), GriffinLim(SPEC, 2, seed=4)(mel))


def test_one_frame_and_many_streamed() -> None:
    vocoder = GriffinLim(SPEC, 2)
    assert vocoder(torch.full((1, 100, 1), -3.0)).shape == (1, 256)
    mel = MelSpectrogram(SPEC)(tones(48000, 24000))
    assert torch.cat(list(vocoder.stream([mel], block=50)), dim=-1).shape == (1, mel.shape[-1] * 256)


def test_bad_input() -> None:
    with pytest.raises(InputError, match="iterations must be from 1 to 1000, not 0"):
        GriffinLim(SPEC, 0)
    with pytest.raises(InputError, match="overlapping frames, not hop 1024 and window 1024"):
        GriffinLim(dataclasses.replace(SPEC, hop=1024))
    with pytest.raises(InputError, match="NaN"):
        GriffinLim(SPEC)(torch.full((1, 100, 3), torch.nan))
    with pytest.raises(InputError, match="100"):
        GriffinLim(dataclasses.replace(SPEC))(torch.zeros(1, 80, 3))
