"""Griffin-Lim: consistency improves with iterations, timing is kept, seeds decide, bad input is refused; refinement."""

import dataclasses
from collections.abc import Iterable, Iterator

import pytest
import torch

from wavegen.audio.features import CONVENTIONS, FeatureSpec, MelSpectrogram
from wavegen.errors import InputError
from wavegen.vocoders.base import Vocoder
from wavegen.vocoders.griffin_lim import ROWS, GriffinLim, Refined

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


class Recording(Vocoder):
    """A vocoder without fault: it knows the recording. ``delay`` makes it late."""

    def __init__(self, spec: FeatureSpec, waveform: torch.Tensor, delay: int = 0) -> None:
        super().__init__()
        self.spec, self.context, self.waveform, self.delay = spec, 0, waveform, delay

    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        return self.waveform.roll(self.delay, -1)[:, : mel.shape[-1] * self.spec.hop]


def harmonics(spec: FeatureSpec, frames: int) -> torch.Tensor:
    t = torch.arange(frames * spec.hop) / spec.sample_rate
    k = torch.arange(1, 12)[:, None]
    return (0.1 / k**0.5 * torch.sin(2 * torch.pi * 180 * k * t * (1 + t) + k**2)).sum(0, keepdim=True)


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a * b).sum() / (a.norm() * b.norm()))


@pytest.mark.parametrize("name", ["bigvgan-24k", "tacotron2-22k", "diffwave-22k", "fatchord-wavernn-22k"])
def test_refinement_keeps_the_phase_it_starts_from(name: str) -> None:
    spec = CONVENTIONS[name]
    x = harmonics(spec, 60)
    mel = MelSpectrogram(spec)(x)[..., :60]
    y = Refined(Recording(spec, x), 4)(mel)
    assert y.shape == x.shape
    assert correlation(y, x) > 0.9
    late = Refined(Recording(spec, x, delay=3), 4)(mel)
    assert correlation(late, x) < correlation(late, x.roll(3, -1)) - 0.05


def test_refinement_of_many_rows_is_that_of_each() -> None:
    noise = torch.randn(ROWS + 3, 24 * 256, generator=torch.manual_seed(1))
    mel = MelSpectrogram(SPEC)(tones(6144, 24000)) + 0.5 * torch.arange(ROWS + 3)[:, None, None]
    rows = Refined(Recording(SPEC, noise), 2)(mel)
    assert rows.shape == (ROWS + 3, mel.shape[-1] * 256)
    for row in (0, 1, ROWS - 1, ROWS, ROWS + 2):
        alone = Refined(Recording(SPEC, noise[row : row + 1]), 2)(mel[row : row + 1])
        assert torch.allclose(rows[row], alone[0], rtol=1e-4, atol=1e-4 * float(alone.abs().max()))


def test_refinement_streams_and_takes_one_frame() -> None:
    class Network(Recording):
        def forward(self, mel: torch.Tensor) -> torch.Tensor:
            self.check(mel)
            mean = mel.double().mean(1)  # without rounding that would depend on the chunk, and grow in refinement
            return torch.sin(mean.repeat_interleave(256, 1) * 900).float()

    vocoder = Refined(Network(SPEC, torch.zeros(1, 0)), 3)
    assert torch.isfinite(vocoder(torch.full((1, 100, 1), -3.0))).all()
    mel = MelSpectrogram(SPEC)(harmonics(SPEC, 150) + 1e-3 * torch.randn(1, 150 * 256, generator=torch.manual_seed(0)))
    whole = vocoder(mel)
    streamed = torch.cat(list(vocoder.stream(mel.split(13, -1), block=20)), dim=-1)
    assert (streamed - whole).abs().max() < 1e-5 * whole.abs().max()
    for bad in (torch.zeros(1, 80, 3), torch.zeros(1, 100, 0), torch.full((1, 100, 3), torch.nan)):
        with pytest.raises(InputError, match="mel"):
            vocoder(bad)


def test_what_a_vocoder_draws_is_drawn_once() -> None:
    """A stream of noise has no second time, and its chunks are not those of the refinement."""

    class Noise(Recording):
        def forward(self, mel: torch.Tensor) -> torch.Tensor:
            generator = torch.Generator().manual_seed(5)
            return torch.randn((mel.shape[-1], mel.shape[0], 256), generator=generator).transpose(0, 1).flatten(1)

        def stream(self, chunks: Iterable[torch.Tensor], block: int = 256) -> Iterator[torch.Tensor]:
            mel = torch.cat(list(chunks), dim=-1)
            yield from self(mel).split(7 * 256, dim=-1)

    vocoder = Refined(Noise(SPEC, torch.zeros(0)), 2)
    mel = MelSpectrogram(SPEC)(harmonics(SPEC, 100)).repeat(ROWS + 1, 1, 1)
    whole = vocoder(mel)
    for block in (20, 256):
        chunks = [mel[..., :0], *mel.split(13, -1)]
        streamed = torch.cat(list(vocoder.stream(chunks, block)), dim=-1)
        assert streamed.shape == whole.shape
        assert (streamed - whole).abs().max() < 1e-5 * whole.abs().max()
