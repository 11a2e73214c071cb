"""The mel code against librosa and independent numpy computations, in every published convention."""

import dataclasses

import hypothesis.strategies as st
import librosa
import numpy as np
import pytest
import torch
from hypothesis import given, settings

from wavegen.audio.features import (
    CONVENTIONS,
    FeatureSpec,
    MelSpectrogram,
    StreamingMel,
    convert_mel,
    hz_to_mel,
    mel_filterbank,
    mel_to_hz,
)
from wavegen.errors import InputError

SPEC = FeatureSpec()


def speech_like(samples: int, rate: int, seed: int = 0) -> np.ndarray:
    """Harmonics under a moving envelope, with noise: something in every band."""
    random = np.random.default_rng(seed)
    t = np.arange(samples) / rate
    f0 = 120 + 40 * np.sin(2 * np.pi * 1.3 * t)
    phase = 2 * np.pi * np.cumsum(f0) / rate
    x = sum(np.sin(k * phase) / k for k in range(1, 30)) * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * t))
    return (0.1 * x + 0.01 * random.standard_normal(samples)).astype(np.float32)


def numpy_magnitude(x: np.ndarray, spec: FeatureSpec) -> np.ndarray:
    """Magnitude spectrogram in float64 by a plain loop over frames: (bins, frames)."""
    pad = spec.n_fft // 2 if spec.padding == "center" else (spec.n_fft - spec.hop) // 2
    x = np.pad(x.astype(np.float64), pad, mode="reflect")
    window = np.zeros(spec.n_fft)
    offset = (spec.n_fft - spec.window) // 2
    window[offset : offset + spec.window] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(spec.window) / spec.window)
    starts = range(0, len(x) - spec.n_fft + 1, spec.hop)
    return np.stack([np.abs(np.fft.rfft(x[s : s + spec.n_fft] * window)) for s in starts], axis=1)


def librosa_filters(spec: FeatureSpec) -> np.ndarray:
    return librosa.filters.mel(
        sr=spec.sample_rate,
        n_fft=spec.n_fft,
        n_mels=spec.bands,
        fmin=spec.fmin,
        fmax=spec.fmax,
        htk=spec.mel_scale == "htk",
        norm="slaney" if spec.mel_norm == "slaney" else None,
        dtype=np.float64,
    )


def published(name: str, x: np.ndarray) -> np.ndarray:
    """Each convention as its own project states it, written out without FeatureSpec's processing."""
    spec = CONVENTIONS[name]
    s = numpy_magnitude(x, spec)
    if name in ("bigvgan-24k", "hifigan-22k", "bigvgan-44k"):
        return np.log(np.maximum(librosa_filters(spec) @ np.sqrt(s**2 + 1e-9), 1e-5))
    if name == "diffwave-22k":
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(spec.window) / spec.window)
        mel = librosa_filters(spec) @ (s / np.sqrt((window**2).sum()))
        return np.clip((20 * np.log10(np.maximum(mel, 1e-5)) - 20 + 100) / 100, 0, 1)
    mel = librosa_filters(spec) @ s
    if name == "tacotron2-22k":
        return np.log(np.maximum(mel, 1e-5))
    if name == "melgan-22k":
        return np.log10(np.maximum(mel, 1e-5))
    if name in ("parallel-wavegan-22k", "r9y9-wavenet-22k"):
        return np.log10(np.maximum(mel, 1e-10))
    if name == "fatchord-wavernn-22k":
        return np.clip((20 * np.log10(np.maximum(mel, 1e-5)) + 100) / 100, 0, 1)
    assert name == "vocos-24k"
    return np.log(np.maximum(mel, 1e-7))


@pytest.mark.parametrize("name", sorted(set(CONVENTIONS) - {"music-24k"}))
def test_convention_matches_its_publication(name: str) -> None:
    spec = CONVENTIONS[name]
    x = speech_like(spec.sample_rate // 2 + 37, spec.sample_rate)
    ours = MelSpectrogram(spec)(torch.from_numpy(x)).numpy()
    theirs = published(name, x)
    assert ours.shape == theirs.shape == (spec.bands, spec.frames(len(x)))
    assert np.abs(ours - theirs).max() < 1e-4
    assert ours.std() > 0.05  # not everything clipped


def test_our_own_convention_for_music() -> None:
    """BigVGAN's in all but its finer frequencies."""
    x = speech_like(12037, 24000)
    spec = CONVENTIONS["music-24k"]
    padded = np.pad(x, spec.pad, mode="reflect")
    spectrum = np.abs(librosa.stft(padded, n_fft=2048, hop_length=256, window="hann", center=False))
    filters = librosa.filters.mel(sr=24000, n_fft=2048, n_mels=192, fmin=0, fmax=12000)
    theirs = np.log(np.maximum(filters @ np.sqrt(spectrum**2 + 1e-9), 1e-5))
    ours = MelSpectrogram(spec)(torch.from_numpy(x)).numpy()
    assert np.abs(ours - theirs).max() < 1e-3


def test_matches_librosa_melspectrogram_centred() -> None:
    x = speech_like(11025, 22050)
    theirs = librosa.feature.melspectrogram(
        y=x, sr=22050, n_fft=1024, hop_length=256, power=1.0, n_mels=80, fmax=8000, pad_mode="reflect"
    )
    ours = MelSpectrogram(CONVENTIONS["tacotron2-22k"]).mel(torch.from_numpy(x)).numpy()
    assert np.abs(ours - theirs).max() < 1e-4


def test_mean_and_std_per_band() -> None:
    mean, std = tuple(float(i) for i in range(80)), tuple(1.0 + i / 10 for i in range(80))
    base = CONVENTIONS["parallel-wavegan-22k"]
    x = torch.from_numpy(speech_like(8000, 22050))
    plain = MelSpectrogram(base)(x)
    normalised = MelSpectrogram(dataclasses.replace(base, mean=mean, std=std))
    expected = (plain - torch.tensor(mean)[:, None]) / torch.tensor(std)[:, None]
    assert torch.allclose(normalised(x), expected, atol=1e-5)
    assert torch.allclose(normalised.expand(expected), torch.pow(10.0, plain), rtol=1e-3)


@pytest.mark.parametrize("scale", ["slaney", "htk"])
def test_mel_scales_match_librosa_and_invert(scale: str) -> None:
    hz = torch.linspace(0, 12000, 977, dtype=torch.float64)
    mel = hz_to_mel(hz, scale)
    assert np.allclose(mel.numpy(), librosa.hz_to_mel(hz.numpy(), htk=scale == "htk"), atol=1e-9)
    assert torch.allclose(mel_to_hz(mel, scale), hz, atol=1e-6)


@pytest.mark.parametrize("name", CONVENTIONS)
def test_filterbank_matches_librosa(name: str) -> None:
    spec = CONVENTIONS[name]
    assert np.abs(mel_filterbank(spec).numpy() - librosa_filters(spec)).max() < 1e-6


def test_batch_equals_single_and_is_differentiable() -> None:
    x = torch.from_numpy(np.stack([speech_like(5000, 24000, seed) for seed in range(3)])).requires_grad_()
    extractor = MelSpectrogram(SPEC)
    y = extractor(x)
    assert torch.allclose(y[1], extractor(x[1]), atol=1e-5)
    y.sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
    assert (x.grad.abs().sum(dim=1) > 0).all()


def test_gradient_is_finite_in_silence() -> None:
    for name in CONVENTIONS:
        x = torch.zeros(4096, requires_grad=True)
        MelSpectrogram(CONVENTIONS[name])(x).sum().backward()
        assert x.grad is not None
        assert torch.isfinite(x.grad).all(), name


def test_gain_shifts_the_log() -> None:
    x = torch.from_numpy(speech_like(9000, 24000))
    extractor = MelSpectrogram(dataclasses.replace(SPEC, magnitude_epsilon=0.0))
    assert torch.allclose(extractor(2 * x) - extractor(x), torch.tensor(2.0).log(), atol=1e-4)


def test_shift_by_a_hop_shifts_a_frame() -> None:
    x = torch.from_numpy(speech_like(9000, 24000))
    extractor = MelSpectrogram(SPEC)
    assert torch.allclose(extractor(x)[:, 5:-5], extractor(x[256:])[:, 4:-5], atol=1e-4)


@settings(max_examples=30, deadline=None)
@given(samples=st.integers(1100, 9000), piece=st.integers(1, 3000), name=st.sampled_from(sorted(CONVENTIONS)))
def test_streaming_equals_whole(samples: int, piece: int, name: str) -> None:
    spec = CONVENTIONS[name]
    if samples <= spec.n_fft:
        samples += spec.n_fft
    x = torch.from_numpy(np.stack([speech_like(samples, spec.sample_rate, s) for s in range(2)]))
    stream = StreamingMel(spec)
    parts = [stream.push(x[:, i : i + piece]) for i in range(0, samples, piece)] + [stream.finish()]
    whole = MelSpectrogram(spec)(x)
    assert torch.cat(parts, dim=-1).shape == whole.shape
    assert (torch.cat(parts, dim=-1) - whole).abs().max() < 1e-3


def test_streaming_memory_is_bounded() -> None:
    stream = StreamingMel(SPEC)
    for _ in range(50):
        stream.push(torch.zeros(1, 10_000))
        assert stream._buffer is not None
        assert stream._buffer.shape[-1] < 10_000 + 4 * SPEC.n_fft


def test_linear_reproduces_the_mel() -> None:
    x = torch.from_numpy(speech_like(24000, 24000))
    extractor = MelSpectrogram(SPEC)
    mel = extractor(x)
    again = extractor.compress(torch.matmul(extractor.filters, extractor.linear(mel)))
    assert (again - mel).abs().mean() < 0.05
    assert (extractor.linear(mel) >= 0).all()


def test_convert_between_conventions() -> None:
    source, target = CONVENTIONS["hifigan-22k"], SPEC
    rate = 66150
    x = librosa.resample(speech_like(rate, rate), orig_sr=rate, target_sr=24000)
    x22 = librosa.resample(x, orig_sr=24000, target_sr=22050)
    given_mel = MelSpectrogram(source)(torch.from_numpy(x22)[None])
    converted = convert_mel(given_mel, source, target)
    true = MelSpectrogram(target)(torch.from_numpy(x)[None])
    assert abs(converted.shape[-1] - true.shape[-1]) <= 1
    frames = min(converted.shape[-1], true.shape[-1])
    below = hz_bands(target, 7000)
    distance = (converted[:, below, :frames] - true[:, below, :frames])[..., 5:-5].abs().mean()
    assert distance < 0.3
    shuffled = (converted[:, below, :frames] - true[:, below, :frames].flip(-1))[..., 5:-5].abs().mean()
    assert distance < shuffled / 2


def hz_bands(spec: FeatureSpec, top: float) -> slice:
    centres = librosa.mel_frequencies(spec.bands + 2, fmin=spec.fmin, fmax=spec.fmax)[1:-1]
    return slice(0, int((centres < top).sum()))


def test_convert_to_the_same_convention_is_identity() -> None:
    mel = torch.randn(1, 100, 7)
    assert convert_mel(mel, SPEC, FeatureSpec()) is mel


def test_differences_name_the_field() -> None:
    other = dataclasses.replace(SPEC, hop=200, window=800)
    assert SPEC.differences(other) == ["hop: 256 != 200", "window: 1024 != 800"]
    assert SPEC.differences(FeatureSpec()) == []
    assert dataclasses.replace(SPEC, fmax=None).differences(SPEC) == []  # None means half the sample rate
    with pytest.raises(InputError, match="hop: 256 != 200"):
        SPEC.require(other, "render")


def test_dict_round_trip() -> None:
    for spec in CONVENTIONS.values():
        assert FeatureSpec.from_dict(spec.to_dict()) == spec
    with pytest.raises(InputError, match="no field bandz"):
        FeatureSpec.from_dict({"bandz": 3})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hop": 0}, "hop must be a positive integer"),
        ({"n_fft": 10**11, "window": 10**11}, "n_fft must be at most 65536"),
        ({"sample_rate": 10**9}, "sample_rate must be at most 768000"),
        ({"window_norm": "x"}, "window_norm must be true or false"),
        ({"bands": 2.5}, "bands must be a positive integer"),
        ({"window": 2048}, "hop <= window <= n_fft"),
        ({"fmax": 13000.0}, "fmin < fmax"),
        ({"fmin": -1.0}, "fmin < fmax"),
        ({"log": "log2"}, "log must be one of"),
        ({"floor": 0.0}, "floor must be positive"),
        ({"hop": 255}, "even n_fft - hop"),
        ({"mean": (1.0, 2.0)}, "mean has 2 values for 100 bands"),
    ],
)
def test_bad_spec(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        dataclasses.replace(SPEC, **change)


@pytest.mark.parametrize("samples", [0, 1, 255, 384])
def test_too_short_for_a_mel(samples: int) -> None:
    with pytest.raises(InputError, match="too short"):
        MelSpectrogram(SPEC)(torch.zeros(samples))
    stream = StreamingMel(SPEC)
    stream.push(torch.zeros(1, samples))
    with pytest.raises(InputError, match="too short"):
        stream.finish()


def test_wrong_rank() -> None:
    with pytest.raises(InputError, match="takes"):
        MelSpectrogram(SPEC)(torch.zeros(1, 1, 5000))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"clip": (0.0,)}, "clip must be a lower and a higher value"),
        ({"clip": (1.0, 0.0)}, "clip must be a lower and a higher value"),
        ({"scale": 0.0}, "scale other than 0"),
        ({"std": (1.0,) * 99 + (0.0,)}, "std must be positive"),
        ({"magnitude_epsilon": -1.0}, "magnitude_epsilon must not be negative"),
        ({"floor": float("nan")}, "floor must be positive"),
    ],
)
def test_fields_that_would_make_no_numbers(fields: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        FeatureSpec(**fields)


def test_everything_is_made_on_the_device_of_the_input() -> None:
    """The device "meta" computes shapes alone, and refuses to mix with the CPU as a GPU does."""
    mel = torch.zeros(1, 100, 20, device="meta")
    converted = convert_mel(mel, SPEC, CONVENTIONS["vocos-24k"])
    assert converted.device.type == "meta"
    stream = StreamingMel(SPEC)
    frames = stream.push(torch.zeros(1, 9000, device="meta"))
    assert frames.device.type == "meta"
    assert frames.shape[-1] + stream.finish().shape[-1] == SPEC.frames(9000)
