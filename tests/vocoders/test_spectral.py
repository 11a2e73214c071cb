"""The spectral vocoder: steady tones stay steady, streaming equals whole, contexts, and what is refused."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wavegen.audio.features import CONVENTIONS
from wavegen.errors import InputError
from wavegen.vocoders.spectral import PhaseIntegrator, SpectralVocoder, SpectralVocoderConfig

SPEC = dataclasses.replace(CONVENTIONS["music-24k"], bands=20)
TINY = SpectralVocoderConfig(channels=8, hidden=16, layers=2, kernel=3, iterations=2)


def tiny(config: SpectralVocoderConfig = TINY) -> SpectralVocoder:
    torch.manual_seed(0)
    model = SpectralVocoder(config, SPEC).eval()
    with torch.no_grad():
        model.head.weight.normal_(std=0.3)
        model.direct.weight.normal_(std=0.3)
    return model


MODEL = tiny()


def magnitudes(wave: torch.Tensor) -> torch.Tensor:
    padded = torch.nn.functional.pad(wave, (SPEC.pad, SPEC.pad))[None]
    window = torch.hann_window(SPEC.n_fft)
    s = torch.stft(padded, SPEC.n_fft, SPEC.hop, SPEC.window, window, center=False, return_complex=True)
    return s.abs()


def rebuilt(magnitude: torch.Tensor) -> torch.Tensor:
    angle = PhaseIntegrator(SPEC)(magnitude)
    wave: torch.Tensor = MODEL.projection.iterate(magnitude, torch.polar(torch.ones_like(angle), angle))
    return wave[0]


@pytest.mark.parametrize("frequency", [82.41, 441.3, 997.0, 5274.04])
def test_a_tone_stays_one(frequency: float) -> None:
    t = torch.arange(36000) / SPEC.sample_rate
    wave = rebuilt(magnitudes(0.5 * torch.sin(2 * math.pi * frequency * t)))[4000:-4000]
    spectrum = torch.fft.rfft(wave * torch.hann_window(len(wave))).abs().square()
    peak = int(spectrum.argmax())
    assert abs(peak * SPEC.sample_rate / len(wave) - frequency) < 1.0
    assert float(wave.abs().max()) == pytest.approx(0.5, abs=0.02)
    # A phase that is the same in every frame would put sidebands at multiples of the frame rate.
    aside = spectrum.sum() - spectrum[max(0, peak - 6) : peak + 7].sum()
    assert float(aside / spectrum.sum()) < 1e-4


def test_two_tones_keep_their_pitches() -> None:
    t = torch.arange(36000) / SPEC.sample_rate
    both = 0.3 * torch.sin(2 * math.pi * 440 * t) + 0.3 * torch.sin(2 * math.pi * 554.37 * t)
    wave = rebuilt(magnitudes(both))[4000:-4000]
    spectrum = torch.fft.rfft(wave * torch.hann_window(len(wave))).abs().numpy()
    peaks = [i for i in range(1, len(spectrum) - 1) if spectrum[i] >= max(spectrum[i - 1], spectrum[i + 1])]
    found = sorted(sorted(peaks, key=lambda i: -spectrum[i])[:2])
    np.testing.assert_allclose(np.array(found) * SPEC.sample_rate / len(wave), [440, 554.37], atol=1.5)


def test_silence_is_silent() -> None:
    assert float(rebuilt(torch.zeros(1, 1025, 40)).abs().max()) == 0.0
    quietest = torch.full((1, 20, 30), math.log(SPEC.floor))
    assert float(MODEL(quietest).abs().max()) < 1e-3


def test_integration_goes_on_where_it_stopped() -> None:
    magnitude = torch.rand(2, 1025, 50)
    whole = PhaseIntegrator(SPEC)(magnitude)
    part = PhaseIntegrator(SPEC)
    pieces = torch.cat([part(m) for m in magnitude.split([1, 9, 40], dim=-1)], dim=-1)
    torch.testing.assert_close(torch.cos(pieces), torch.cos(whole), rtol=0, atol=1e-4)


@settings(max_examples=12, deadline=None)
@given(
    frames=st.integers(1, 120),
    block=st.sampled_from([1, 7, 32, 300]),
    piece=st.integers(1, 130),
    batch=st.integers(1, 2),
)
def test_streaming_equals_whole(frames: int, block: int, piece: int, batch: int) -> None:
    mel = torch.randn(batch, 20, frames, generator=torch.Generator().manual_seed(frames))
    whole = MODEL(mel)
    assert whole.shape == (batch, frames * SPEC.hop)
    pieces = list(MODEL.stream(mel.split(piece, dim=-1), block=block))
    torch.testing.assert_close(torch.cat(pieces, dim=-1), whole, rtol=1e-4, atol=1e-4 * float(whole.abs().max()))


@torch.no_grad()
def test_the_spectrum_is_brought_to_its_mel() -> None:
    """The network's fine structure at the mel's level, whatever the network's own level is."""
    model, louder = tiny(), tiny()
    for each in (model, louder):
        each.head.weight.mul_(0.1)
        each.direct.weight.mul_(0.1)
    louder.spectrum_mean.add_(math.log(3.0))
    mel = torch.randn(1, 20, 40) - 2
    filters = model.projection.extractor.filters

    def distance(magnitude: torch.Tensor) -> float:
        return float((torch.log(torch.matmul(filters, magnitude)) - mel).abs().mean())

    assert distance(model.magnitude(mel)) < 0.5 * distance(torch.exp(model.log_magnitude(mel)))
    torch.testing.assert_close(louder.magnitude(mel), model.magnitude(mel), rtol=1e-3, atol=1e-4)


def test_refused() -> None:
    with pytest.raises(InputError, match="padding"):
        SpectralVocoder(TINY, dataclasses.replace(SPEC, padding="center"))
    with pytest.raises(InputError, match="quarter"):
        SpectralVocoder(TINY, dataclasses.replace(SPEC, hop=1024))
    for wrong in ({"layers": 0}, {"kernel": 2}, {"momentum": 1.0}, {"iterations": 0}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            dataclasses.replace(TINY, **wrong)
    with pytest.raises(InputError, match="20, frames"):
        MODEL(torch.zeros(1, 21, 4))
    with pytest.raises(InputError, match="no frames"):
        MODEL(torch.zeros(1, 20, 0))
    with pytest.raises(InputError, match="NaN"):
        MODEL(torch.full((1, 20, 4), torch.nan))
    assert list(MODEL.stream([])) == []
