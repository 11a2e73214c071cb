import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import wavegen.audio.pitch as pitch_module
from wavegen.audio.pitch import pitch
from wavegen.errors import InputError, MissingDependencyError

pytest.importorskip("librosa", reason="the extra `evaluate` or `train` is not installed")

RATE = 24000
HOP = 256


def voice(f0: NDArray[np.float64], rate: int = RATE, harmonics: int = 12) -> NDArray[np.float32]:
    """A harmonic sound with the instantaneous frequency f0 (n,) Hz."""
    phase = 2 * np.pi * np.cumsum(f0) / rate
    total = np.zeros(f0.size)
    for k in range(1, harmonics + 1):
        total += np.where(k * f0 < rate / 2, np.cos(k * phase) / k, 0)
    return (0.1 * total).astype(np.float32)


def centres(frames: int, hop: int) -> NDArray[np.int64]:
    return np.round((np.arange(frames) + 0.5) * hop).astype(int)


@pytest.mark.parametrize("hertz", [68, 75, 90, 110, 155, 220, 311, 440, 490])
@pytest.mark.parametrize("harmonics", [1, 3, 12])
def test_steady_tones_without_octave_errors(hertz: float, harmonics: int) -> None:
    result = pitch(voice(np.full(RATE // 2, float(hertz)), harmonics=harmonics), RATE, HOP)
    inner = slice(4, -4)
    assert result.voiced[inner].all()
    np.testing.assert_allclose(result.f0[inner], hertz, rtol=0.01)
    assert result.periodicity[inner].mean() > 0.3


@pytest.mark.parametrize(("rate", "hop"), [(8000, 80), (16000, 256), (24000, 255), (44100, 512), (48000, 1200)])
def test_a_glide_is_followed_frame_by_frame(rate: int, hop: int) -> None:
    """One octave a second: an offset of one frame of 10 ms would be an error of 0.7 %."""
    f0 = 120 * 2 ** (np.arange(int(1.5 * rate)) / rate)
    result = pitch(voice(f0, rate), rate, hop)
    frames = f0.size // hop
    assert result.f0.shape == result.voiced.shape == result.periodicity.shape == (frames,)
    # The analysis frame must lie within the glide for its centre to be that of the pitch.
    inner = slice(round(0.07 * rate / hop), -round(0.07 * rate / hop))
    error = (result.f0 / f0[np.minimum(centres(frames, hop), f0.size - 1)] - 1)[inner]
    assert result.voiced[inner].all()
    assert np.abs(error).max() < 0.012
    assert abs(float(np.mean(error))) < 0.003


def test_voiced_where_the_voice_is() -> None:
    f0 = np.full(2 * RATE, 150.0)
    signal = voice(f0)
    signal[: RATE // 2] = 0
    signal[-RATE // 2 :] = 0
    result = pitch(signal, RATE, HOP)
    seconds = centres(result.f0.size, HOP) / RATE
    inside = (seconds > 0.55) & (seconds < 1.45)
    outside = (seconds < 0.45) | (seconds > 1.55)
    assert result.voiced[inside].all()
    assert not result.voiced[outside].any()
    assert (result.f0[~result.voiced] == 0).all()
    assert (result.f0[result.voiced] > 0).all()
    assert result.periodicity[outside].max() < 0.05


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_noise_is_unvoiced(seed: int) -> None:
    generator = np.random.default_rng(seed)
    white = 0.1 * generator.standard_normal(2 * RATE)
    dark = np.convolve(white, np.ones(8) / 8, "same")
    for noise in (white, dark):
        result = pitch(noise.astype(np.float32), RATE, HOP)
        assert result.voiced.mean() < 0.02
        assert result.periodicity.mean() < 0.05


def test_a_voice_in_noise_of_20_db() -> None:
    f0 = 120 + 30 * np.sin(2 * np.pi * 1.3 * np.arange(RATE) / RATE)
    clean = voice(f0)
    noise = np.random.default_rng(0).standard_normal(RATE) * np.sqrt(np.mean(clean**2)) / 10
    result = pitch((clean + noise).astype(np.float32), RATE, HOP)
    inner = slice(6, -6)
    assert result.voiced[inner].mean() > 0.95
    truth = f0[centres(result.f0.size, HOP)]
    voiced = result.voiced
    assert np.mean(np.abs(result.f0[voiced] / truth[voiced] - 1) < 0.03) > 0.97


@pytest.mark.parametrize("samples", [0, 1, 255, 256, 500, 1475])
def test_short_clips_are_unvoiced(samples: int) -> None:
    result = pitch(voice(np.full(samples, 200.0)), RATE, HOP)
    assert result.f0.shape == (samples // HOP,)
    assert not result.voiced.any()
    assert not result.f0.any()
    assert not result.periodicity.any()


@pytest.mark.parametrize("value", [0.0, 0.3])
def test_silence_and_a_constant_are_unvoiced(value: float) -> None:
    result = pitch(np.full(RATE // 2, value, np.float32), RATE, HOP)
    assert result.f0.shape == (46,)
    assert not result.voiced.any()
    assert not result.periodicity.any()


def test_a_constant_offset_does_not_matter() -> None:
    signal = voice(np.full(RATE // 2, 130.0))
    result = pitch(signal + np.float32(0.4), RATE, HOP)
    np.testing.assert_allclose(result.f0[4:-4], 130, rtol=0.01)


@settings(max_examples=15, deadline=None)
@given(st.integers(2048, 6000), st.integers(60, 3000))
def test_the_shape_for_any_length_and_hop(samples: int, hop: int) -> None:
    result = pitch(voice(np.full(samples, 210.0)), RATE, hop)
    assert result.f0.shape == (samples // hop,)
    assert result.f0.dtype == np.float32
    assert result.voiced.dtype == np.bool_
    assert result.periodicity.dtype == np.float32
    assert ((result.periodicity >= 0) & (result.periodicity <= 1)).all()
    assert ((result.f0 == 0) | ((result.f0 > 60) & (result.f0 < 510))).all()


def test_short_hops_let_the_pitch_move() -> None:
    f0 = 120 * 2 ** (np.arange(RATE // 2) / RATE)
    result = pitch(voice(f0), RATE, 24)
    truth = f0[centres(result.f0.size, 24)]
    np.testing.assert_allclose(result.f0[80:-80], truth[80:-80], rtol=0.012)


def test_long_clips_in_parts_are_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    f0 = 140 + 40 * np.sin(2 * np.pi * 2.1 * np.arange(3 * RATE) / RATE)
    signal = voice(f0)
    signal[RATE : RATE + RATE // 3] = 0
    whole = pitch(signal, RATE, HOP)
    monkeypatch.setattr(pitch_module, "_FRAMES_AT_ONCE", 50)
    monkeypatch.setattr(pitch_module, "_CONTEXT_FRAMES", 30)
    parts = pitch(signal, RATE, HOP)
    np.testing.assert_array_equal(parts.voiced, whole.voiced)
    np.testing.assert_allclose(parts.f0, whole.f0, rtol=0.01)
    np.testing.assert_allclose(parts.periodicity, whole.periodicity, atol=1e-6)


def test_other_ranges() -> None:
    result = pitch(voice(np.full(RATE, 800.0)), RATE, HOP, fmin=300, fmax=1200)
    np.testing.assert_allclose(result.f0[4:-4], 800, rtol=0.01)


@pytest.mark.parametrize(
    ("waveform", "rate", "hop", "bounds", "message"),
    [
        (np.zeros((1, 5000)), RATE, HOP, {}, r"shape \(n,\), not \(1, 5000\)"),
        (np.zeros(5000, np.int16), RATE, HOP, {}, "int16"),
        (np.full(5000, np.nan), RATE, HOP, {}, "5000 of the samples NaN"),
        (np.zeros(5000), 0, HOP, {}, "sample_rate"),
        (np.zeros(5000), RATE, 0, {}, "hop"),
        (np.zeros(5000), RATE, HOP, {"fmin": 0}, "fmin"),
        (np.zeros(5000), RATE, HOP, {"fmin": 500, "fmax": 100}, "fmin 500"),
        (np.zeros(5000), RATE, HOP, {"fmax": 12001}, "12000"),
    ],
)
def test_bad_arguments(
    waveform: NDArray[np.float32], rate: int, hop: int, bounds: dict[str, float], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        pitch(waveform, rate, hop, **bounds)


def test_without_librosa_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "librosa", None)
    with pytest.raises(MissingDependencyError, match=r"librosa.*wavegen\[evaluate\]"):
        pitch(np.zeros(5000, np.float32), RATE, HOP)
