"""The jobs on mels: what is kept is kept to the bit, joints are smooth, seeds decide, bad input is named."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from wavegen import mel_jobs
from wavegen.acoustic.mel_lstm import MelLSTM, MelLSTMConfig
from wavegen.acoustic.mel_vae import MelVAE, MelVAEConfig
from wavegen.audio.features import FeatureSpec
from wavegen.audio.io import Audio
from wavegen.checkpoints import save
from wavegen.errors import CheckpointError, InputError
from wavegen.mel_jobs import burg, continue_audio, extrapolated, fill_gap, interpolate, sample_mel, transfer

SPEC = FeatureSpec(bands=20)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """vae and lstm.safetensors in the convention of the vocoder "vocoder"; other.safetensors in another one."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(3)
    sizes = MelVAEConfig(content=4, timbre=3, channels=16, layers=1, fine=8, fine_layers=1, kernel=3, prior=8)
    for name, spec in (("vae", SPEC), ("other", FeatureSpec(bands=20, fmax=11000.0))):
        model = MelVAE(sizes, spec)
        model.mel_mean.fill_(-5.0)
        model.mel_std.fill_(2.0)
        with torch.no_grad():  # so that the latents tell
            for parameter in model.encoder.parameters():
                parameter.mul_(2)
            for parameter in model.decoder.parameters():
                parameter.mul_(2)
        save(folder / f"{name}.safetensors", model)
    lstm = MelLSTM(MelLSTMConfig(hidden=8, layers=1, embedding=8, components=2), SPEC)
    lstm.mel_mean.fill_(-5.0)
    save(folder / "lstm.safetensors", lstm)
    return folder


@pytest.fixture
def vae(models: Path, vocoder: str) -> dict[str, Any]:
    return {"model": str(models / "vae.safetensors"), "vocoder": vocoder}


@pytest.fixture
def lstm(models: Path, vocoder: str) -> dict[str, Any]:
    return {"model": str(models / "lstm.safetensors"), "vocoder": vocoder}


def tone(seconds: float = 1.0, rate: int = 24000, channels: int = 1, pitch: float = 440.0) -> Audio:
    t = np.arange(round(seconds * rate)) / rate
    rows = [0.3 * np.sin(2 * np.pi * pitch * (k + 1) * t) + 0.1 * np.sin(5 * pitch * t) for k in range(channels)]
    return Audio(np.stack(rows).astype(np.float32), rate)


@pytest.mark.parametrize(("rate", "channels"), [(24000, 1), (44100, 2), (8000, 3)])
def test_a_continuation_keeps_the_recording(rate: int, channels: int, lstm: dict[str, Any]) -> None:
    audio = tone(0.7, rate, channels)
    longer = continue_audio(audio, 0.5, **lstm)
    assert longer.sample_rate == rate
    assert longer.samples.shape == (channels, audio.samples.shape[1] + round(0.5 * rate))
    assert np.array_equal(longer.samples[:, : audio.samples.shape[1]], audio.samples)
    following = longer.samples[:, audio.samples.shape[1] :]
    assert np.isfinite(following).all()
    beyond = round(0.03 * rate)  # the crossfade, after which all channels are alike
    assert np.array_equal(following[:1, beyond:].repeat(channels, 0), following[:, beyond:])
    if channels > 1:
        assert not np.array_equal(following[0, : beyond // 2], following[1, : beyond // 2])


def test_a_continuation_follows_the_seed(lstm: dict[str, Any]) -> None:
    audio = tone(0.4)
    a, b = (continue_audio(audio, 0.3, seed=5, **lstm).samples for _ in range(2))
    assert np.array_equal(a, b)
    assert not np.array_equal(continue_audio(audio, 0.3, seed=6, **lstm).samples, a)
    cold = [continue_audio(audio, 0.3, seed=seed, temperature=0.0, **lstm).samples for seed in (1, 2)]
    assert np.array_equal(*cold)


def test_a_continuation_is_the_models(lstm: dict[str, Any], models: Path) -> None:
    """Far from the joint, the samples are the vocoder's of the frames that the model draws."""
    from wavegen import checkpoints
    from wavegen.audio.features import MelSpectrogram

    audio = tone(1.024)  # 96 frames
    made = continue_audio(audio, 0.6, seed=4, **lstm).samples[0, audio.samples.shape[1] :]
    model = checkpoints.load(lstm["model"])
    assert isinstance(model, MelLSTM)
    beyond = extrapolated(audio.samples[0], 1200, 24000)
    fall = 0.5 + 0.5 * np.cos(np.pi * (np.arange(1200) + 0.5) / 1200)
    wave = np.concatenate([audio.samples[0], (beyond * fall).astype(np.float32), np.zeros(80, np.float32)])
    mel = MelSpectrogram(SPEC)(torch.from_numpy(wave))[None, :, :96]
    following = model.continued(mel, 59, temperature=0.6, generator=torch.Generator().manual_seed(4))
    with torch.inference_mode():
        expected = checkpoints.load(lstm["vocoder"])(torch.cat([mel, following], dim=-1))[0].numpy()
    expected = expected[audio.samples.shape[1] :][: len(made)]
    np.testing.assert_allclose(made[720:], expected[720:], atol=1e-4)


@pytest.mark.parametrize(("rate", "channels"), [(24000, 1), (44100, 2), (8000, 1)])
@pytest.mark.parametrize(("start", "end"), [(0.3, 0.55), (0.0, 0.2), (0.8, 1.0), (0.5, 0.501), (0.1, 0.85)])
def test_a_filled_gap_leaves_the_rest_to_the_bit(
    rate: int, channels: int, start: float, end: float, vae: dict[str, Any]
) -> None:
    audio = tone(1.0, rate, channels)
    a, b = round(start * rate), round(end * rate)
    holed = audio.samples.copy()
    holed[:, a:b] = 0.9
    filled = fill_gap(Audio(holed, rate), start, end, **vae)
    assert filled.sample_rate == rate
    assert np.array_equal(filled.samples[:, :a], audio.samples[:, :a])
    assert np.array_equal(filled.samples[:, b:], audio.samples[:, b:])
    assert not np.array_equal(filled.samples[:, a:b], holed[:, a:b])
    assert np.isfinite(filled.samples).all()
    # What stood in the gap has no say.
    assert np.array_equal(fill_gap(audio, start, end, **vae).samples, filled.samples)


def test_joints_are_smooth(vae: dict[str, Any], lstm: dict[str, Any]) -> None:
    """Across the joint of a recorded tone and what is made, no step exceeds those of the tone itself by much."""
    audio = tone(1.0, pitch=300.0)
    largest = float(np.abs(np.diff(audio.samples)).max())
    filled = fill_gap(audio, 0.4, 0.6, **vae).samples[0]
    longer = continue_audio(audio, 0.2, **lstm).samples[0]
    for samples, joint in ((filled, 9600), (filled, 14400), (longer, 24000)):
        assert np.abs(np.diff(samples[joint - 3 : joint + 3])).max() < 1.2 * largest


def test_a_short_gap_in_a_tone_is_mended(vae: dict[str, Any]) -> None:
    """In a gap of 20 ms, extrapolation from both ends does most of the work, whatever the network is."""
    audio = tone(1.0)
    filled = fill_gap(audio, 0.5, 0.504, **vae).samples[0, 12000:12096]
    true = audio.samples[0, 12000:12096]
    assert np.square(filled - true).mean() < 0.5 * np.square(true).mean()


def test_interpolation(vae: dict[str, Any]) -> None:
    a, b = tone(0.5), tone(0.8, 44100, 2, pitch=200.0)
    sounds = interpolate(a, b, 3, **vae)
    assert sounds.sample_rate == 24000
    assert sounds.samples.shape == (1, 3 * 12000 + 2 * 6000)
    first, middle, last = (sounds.samples[0, k * 18000 : k * 18000 + 12000] for k in range(3))
    assert not sounds.samples[0, 12000:18000].any()
    assert not np.allclose(first, last, atol=1e-3)
    assert np.abs(middle - first).max() > 1e-4
    backwards = interpolate(b, a, 2, **vae).samples[0]
    np.testing.assert_allclose(backwards[-12000:], first, atol=1e-4)


def test_transfer_is_as_long_and_as_loud_as_its_content(vae: dict[str, Any]) -> None:
    content, timbre = tone(0.9, 44100, 2), tone(0.4, 16000, pitch=150.0)
    made = transfer(content, timbre, **vae)
    assert made.sample_rate == 24000
    assert made.samples.shape == (1, round(0.9 * 24000))
    played = content.mono().samples
    power = float(np.square(made.samples).mean())
    assert power == pytest.approx(float(np.square(played).mean()), rel=0.02) or np.abs(made.samples).max() > 0.98
    other = transfer(content, tone(0.4, pitch=1000.0), **vae)
    assert not np.allclose(other.samples, made.samples, atol=1e-3)


def test_samples_of_the_prior(vae: dict[str, Any]) -> None:
    made = sample_mel(0.51, 7, **vae)
    assert made.sample_rate == 24000
    assert made.samples.shape == (1, 12240)
    assert np.array_equal(sample_mel(0.51, 7, **vae).samples, made.samples)
    assert not np.allclose(sample_mel(0.51, 8, **vae).samples, made.samples, atol=1e-3)
    assert np.array_equal(
        sample_mel(0.1, 7, temperature=0, **vae).samples, sample_mel(0.1, 8, temperature=0, **vae).samples
    )


def test_griffin_lim_will_do(models: Path) -> None:
    filled = fill_gap(tone(0.5), 0.2, 0.3, model=str(models / "vae.safetensors"), vocoder="griffin-lim")
    assert filled.samples.shape == (1, 12000)


@pytest.mark.parametrize("order", [1, 2, 7])
def test_burg_finds_an_autoregression(order: int) -> None:
    random = np.random.default_rng(order)
    roots = random.uniform(0.5, 0.95, order) * np.exp(1j * random.uniform(0, np.pi, order))
    polynomial = np.real(np.poly(np.concatenate([roots, roots.conj()])))
    x = np.zeros(40000)
    noise = random.standard_normal(len(x))
    for n in range(2 * order, len(x)):
        x[n] = noise[n] - polynomial[1:] @ x[n - 2 * order : n][::-1]
    np.testing.assert_allclose(burg(x, 2 * order), -polynomial[1:], atol=0.05)


@pytest.mark.parametrize(
    ("signal", "tolerance"),
    [
        (lambda t: np.sin(2 * np.pi * 440 * t), 0.02),
        (lambda t: np.sin(2 * np.pi * 110 * t) + 0.3 * np.sin(2 * np.pi * 1234 * t + 1), 0.05),
        (lambda t: np.exp(-3 * t) * np.sin(2 * np.pi * 440 * t), 0.02),
    ],
)
def test_extrapolation_goes_on(signal: Callable[[NDArray[Any]], NDArray[Any]], tolerance: float) -> None:
    t = np.arange(12000) / 24000
    x = signal(t)
    guess = extrapolated(x[:11400].astype(np.float32), 600, 24000)
    assert np.abs(guess - x[11400:]).max() < tolerance * np.abs(x).max()


def test_extrapolation_of_little_or_nothing() -> None:
    assert not extrapolated(np.zeros(500, np.float32), 50, 24000).any()
    assert not extrapolated(np.ones(2, np.float32), 50, 24000).any()
    assert extrapolated(np.zeros(0, np.float32), 5, 24000).shape == (5,)
    noise = np.random.default_rng(0).standard_normal(9600).astype(np.float32)
    assert np.abs(extrapolated(noise, 4000, 24000)).max() < 6


def test_joining_keeps_the_power() -> None:
    random = np.random.default_rng(1)
    old, new = random.standard_normal((2, 1, 20000)).astype(np.float32)
    joined = mel_jobs._joined(new, old, 20000)
    assert np.square(joined[:, 8000:12000]).mean() == pytest.approx(1.0, abs=0.08)
    assert np.array_equal(mel_jobs._joined(new, new, 500), new) or np.allclose(
        mel_jobs._joined(new, new, 500), new, atol=1e-5
    )
    assert joined[0, 0] == pytest.approx(old[0, 0], abs=1e-3)


def test_bad_arguments(vae: dict[str, Any], lstm: dict[str, Any], models: Path, vocoder: str) -> None:
    audio, short = tone(0.5), tone(0.05)
    for call, message in (
        (lambda: continue_audio(short, 1, **lstm), r"audio: lasts 0\.050 s, less than 0\.1 s"),
        (lambda: continue_audio("a.wav", 1, **lstm), "audio: must be a wavegen.Audio, not str"),
        (lambda: continue_audio(audio, 0, **lstm), r"seconds: must be a number from 0\.05 to 120, not 0"),
        (lambda: continue_audio(audio, math.nan, **lstm), "seconds: must be a number"),
        (lambda: continue_audio(audio, 1, temperature=3, **lstm), "temperature: must be a number from 0 to 2"),
        (lambda: continue_audio(audio, 1, seed=-1, **lstm), "seed: must be a number"),
        (lambda: continue_audio(audio, 1, crossfade=0.1, **lstm), r"crossfade: must be a number from 0\.02 to 0\.05"),
        (lambda: continue_audio(audio, 1, **vae), "what is needed here is a mel-lstm model"),
        (lambda: fill_gap(audio, 0.2, 0.2, **vae), r"end: must lie after start, which is 0\.2 s"),
        (lambda: fill_gap(audio, 0.3, 0.2, **vae), "end: must lie after start"),
        (lambda: fill_gap(audio, -0.1, 0.2, **vae), r"start: must be a number from 0 to 0\.5"),
        (lambda: fill_gap(audio, 0.1, 0.6, **vae), "end: must be a number from 0 to"),
        (lambda: fill_gap(audio, 0.0, 0.45, **vae), r"audio: under 0\.1 s lie outside the gap"),
        (lambda: fill_gap(tone(11), 0.2, 10.5, **vae), r"end: a gap is at most 10 s long, not 10\.3 s"),
        (lambda: fill_gap(audio, 0.1, 0.2, **lstm), "what is needed here is a mel-vae model"),
        (lambda: interpolate(audio, short, **vae), "b: lasts"),
        (lambda: interpolate(audio, audio, 1, **vae), "steps: must be a number from 2 to 64"),
        (lambda: interpolate(audio, audio, 2.5, **vae), "steps: must be a whole number"),  # type: ignore[arg-type]
        (lambda: interpolate(tone(10), tone(10), 13, **vae), r"steps: 13 sounds of 10\.0 s are more than 120 s"),
        (lambda: transfer(short, audio, **vae), "content: lasts"),
        (lambda: transfer(audio, short, **vae), "timbre: lasts"),
        (lambda: sample_mel(1000, **vae), "seconds: must be a number"),
        (lambda: sample_mel(1, model=str(models / "other.safetensors"), vocoder=vocoder), "do not fit: .*fmax"),
        (lambda: sample_mel(1, model="nobody", vocoder=vocoder), "no model named 'nobody'"),
    ):
        with pytest.raises((InputError, CheckpointError), match=message):
            call()
