"""The jobs as functions: what comes out, its shape and level, and every way to be refused."""

import dataclasses
import io as bytes_io
import json
import os
import re
import sys
import threading
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import wavegen
from wavegen import pipelines
from wavegen.audio import io
from wavegen.audio.features import CONVENTIONS, FeatureSpec, MelSpectrogram
from wavegen.audio.io import Audio
from wavegen.audio.resample import resample
from wavegen.errors import CheckpointError, InputError
from wavegen.text import Pause, Utterance

SPEC = FeatureSpec(bands=20)
TEXT = "Good morning. How are you today?"


def noise(channels: int, samples: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (channels, samples)).astype(np.float32)


def mel(frames: int = 7, bands: int = 20) -> NDArray[np.float32]:
    return np.random.default_rng(frames).normal(-4, 1, (bands, frames)).astype(np.float32)


# ------------------------------------------------------------------------------------------------------------ speak


def test_speak_gives_mono_audio_at_the_models_rate(speech: str, vocoder: str) -> None:
    audio = wavegen.speak(TEXT, model=speech, vocoder=vocoder)
    assert audio.sample_rate == 24000
    assert audio.samples.dtype == np.float32
    assert audio.channels == 1
    assert audio.samples.shape[1] > 256
    assert np.abs(audio.samples).max() <= 0.99 + 1e-6


def test_speak_is_its_stream_put_together(speech: str, vocoder: str) -> None:
    options: dict[str, Any] = {"model": speech, "vocoder": vocoder, "seed": 3, "sentence_silence": 0.5}
    stream = wavegen.speak_stream(TEXT, **options)
    chunks = list(stream)
    assert [chunk.ndim for chunk in chunks] == [1] * len(chunks)
    assert len(chunks) == 3  # a sentence, the silence, a sentence
    assert len(chunks[1]) == 12000
    assert not chunks[1].any()
    np.testing.assert_array_equal(np.concatenate(chunks), wavegen.speak(TEXT, **options).samples[0])
    assert stream.seconds == pytest.approx(sum(map(len, chunks)) / 24000)
    assert stream.busy > 0


def test_a_seed_fixes_the_samples(speech: str, vocoder: str) -> None:
    first, again, other = (wavegen.speak(TEXT, model=speech, vocoder=vocoder, seed=seed).samples for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert first.shape != other.shape
    steady = [wavegen.speak(TEXT, model=speech, vocoder=vocoder, seed=seed, variation=0.0).samples for seed in (5, 6)]
    np.testing.assert_array_equal(steady[0], steady[1])


def test_speed_and_silence_change_the_length(speech: str, vocoder: str) -> None:
    normal, fast, slow, apart = (
        wavegen.speak(
            TEXT, model=speech, vocoder=vocoder, variation=0.0, **{"sentence_silence": 0.0, **options}
        ).duration
        for options in ({}, {"speed": 2.0}, {"speed": 0.5}, {"sentence_silence": 1.0})
    )
    assert fast < 0.7 * normal
    assert slow > 1.7 * normal
    assert apart == pytest.approx(normal + 1.0, abs=1e-4)


def test_the_arguments_reach_the_model(monkeypatch: pytest.MonkeyPatch, vocoder: str) -> None:
    calls: list[dict[str, Any]] = []

    def synthesize(phonemes: tuple[str, ...], **options: Any) -> torch.Tensor:
        calls.append({"phonemes": phonemes} | options)
        return torch.full((1, 20, 4), -4.0)

    fake = types.SimpleNamespace(spec=SPEC, synthesize=synthesize, pitch_range=(-12.0, 12.0))
    voice = pipelines.load_vocoder(vocoder)
    monkeypatch.setattr(pipelines, "ready_model", lambda name, role, device: fake if role == "speech" else voice)
    script = [Pause(0.25), Utterance("a", ("AH0",)), Pause(0.5), Utterance("b", ("B", "IY1")), Utterance("c", ("S",))]
    monkeypatch.setattr(pipelines, "analyse", lambda text: script)
    chunks = list(
        pipelines.speak_stream("x", speed=2, pitch=-3, energy=0.5, variation=0.7, seed=9, sentence_silence=0.1)
    )
    assert [len(chunk) for chunk in chunks] == [6000, 1024, 12000, 1024, 2400, 1024]
    assert [call["phonemes"] for call in calls] == [("AH0",), ("B", "IY1"), ("S",)]
    given = {(call["speed"], call["pitch_shift"], call["energy"], call["variation"]) for call in calls}
    assert given == {(2, -3, 0.5, 0.7)}
    assert calls[0]["generator"].initial_seed() == 9
    assert not torch.is_inference_mode_enabled()


@pytest.mark.parametrize("pitch", [-12.0, 9.0])
def test_pitch_beyond_the_voice_is_played_slower_or_faster(
    pitch: float, monkeypatch: pytest.MonkeyPatch, vocoder: str
) -> None:
    """A tone stands for the voice: it comes out shifted by what the voice does not follow, at the speed asked for."""
    calls: list[dict[str, Any]] = []

    def synthesize(phonemes: tuple[str, ...], **options: Any) -> torch.Tensor:
        calls.append(options)
        return torch.full((1, 20, round(200 / options["speed"])), -4.0)

    class Tone:
        spec = SPEC
        sampling = None

        def __call__(self, mel: torch.Tensor) -> torch.Tensor:
            return 0.5 * torch.sin(2 * torch.pi * 440 * torch.arange(mel.shape[-1] * 256) / 24000)[None]

    fake = types.SimpleNamespace(spec=SPEC, synthesize=synthesize, pitch_range=(-3.0, 7.0))
    monkeypatch.setattr(pipelines, "ready_model", lambda name, role, device: fake)
    monkeypatch.setattr(pipelines, "load_vocoder", lambda *_, **__: Tone())
    audio = pipelines.speak("a", pitch=pitch, speed=2.0)
    assert calls[0]["pitch_shift"] == (-3.0 if pitch < 0 else 7.0)
    assert audio.samples.shape[1] == pytest.approx(100 * 256, rel=0.02)
    spectrum = np.abs(np.fft.rfft(audio.samples[0] * np.hanning(audio.samples.shape[1])))
    expected = 440 * 2 ** ((pitch - calls[0]["pitch_shift"]) / 12)
    assert spectrum.argmax() * 24000 / audio.samples.shape[1] == pytest.approx(expected, rel=0.01)


def test_speak_resamples_on_request(speech: str, vocoder: str) -> None:
    full = wavegen.speak(TEXT, model=speech, vocoder=vocoder)
    low = wavegen.speak(TEXT, model=speech, vocoder=vocoder, sample_rate=8000)
    assert low.sample_rate == 8000
    assert abs(low.duration - full.duration) < 1e-3


def test_speak_with_griffin_lim(speech: str) -> None:
    audio = wavegen.speak("Hi.", model=speech, vocoder="griffin-lim")
    assert audio.samples.shape[1] % 256 == 0
    assert 0 < np.abs(audio.samples).max() <= 0.99 + 1e-6


def test_a_loud_sentence_is_scaled_to_the_limit() -> None:
    wave = torch.tensor([[0.5, -2.0, 1.0]])
    np.testing.assert_allclose(pipelines.unclipped(pipelines.vocoded(wave)), [[0.2475, -0.99, 0.495]], rtol=1e-6)
    quiet = np.array([[0.5, -0.99]], np.float32)
    assert pipelines.unclipped(quiet) is quiet


def test_a_diverged_vocoder_is_refused() -> None:
    with pytest.raises(CheckpointError, match="NaN or infinite"):
        pipelines.vocoded(torch.tensor([[0.0, torch.inf]]))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("speed", 0.2), ("speed", 4.01), ("speed", float("nan")), ("speed", "fast"),
        ("pitch", -12.5), ("pitch", 13), ("energy", 0), ("energy", 5), ("energy", True), ("variation", 1.5),
        ("sentence_silence", -0.1), ("sentence_silence", 11), ("seed", -1), ("seed", 2**63),
        ("sample_rate", 100), ("sample_rate", 10**6),
    ],
)  # fmt: skip
def test_out_of_range(option: str, value: Any, speech: str, vocoder: str) -> None:
    with pytest.raises(InputError, match=rf"^{option}: must be a number from .* to .*, not "):
        wavegen.speak_stream(TEXT, model=speech, vocoder=vocoder, **{option: value})


def test_limits_are_told_exactly() -> None:
    for option, value, limits in (("seed", 2**63, "0 to 9223372036854775807"), ("speed", 5, "0.25 to 4")):
        with pytest.raises(InputError, match=rf"^{option}: must be a number from {limits}, not {value}$"):
            pipelines.speak_stream("x", **{option: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(("option", "value"), [("seed", 1.5), ("seed", 1.0), ("sample_rate", 16000.5)])
def test_no_whole_number(option: str, value: Any, speech: str, vocoder: str) -> None:
    with pytest.raises(InputError, match=f"^{option}:? must be a whole number.*, not {value}"):
        wavegen.speak_stream(TEXT, model=speech, vocoder=vocoder, **{option: value})


def test_numpy_numbers_are_numbers(speech: str, vocoder: str) -> None:
    plain = {"speed": 1.5, "pitch": 2.0, "energy": 0.5, "seed": 2**40, "sample_rate": 16000}
    numpy_ones = {name: np.asarray(value)[()] for name, value in plain.items()} | {"speed": np.float32(1.5)}
    expected = wavegen.speak(TEXT, model=speech, vocoder=vocoder, **plain)  # type: ignore[arg-type]
    given = wavegen.speak(TEXT, model=speech, vocoder=vocoder, **numpy_ones)
    np.testing.assert_array_equal(given.samples, expected.samples)


@pytest.mark.parametrize("text", ["", "  \n\t ", "***", "…—", "()[]{}"])
def test_nothing_to_say(text: str, speech: str, vocoder: str) -> None:
    with pytest.raises(InputError):
        wavegen.speak_stream(text, model=speech, vocoder=vocoder)


def test_text_of_another_type(speech: str) -> None:
    with pytest.raises(InputError, match="text: must be a string, not bytes"):
        wavegen.speak_stream(b"hello", model=speech)  # type: ignore[arg-type]


def test_a_long_text(speech: str, vocoder: str) -> None:
    stream = wavegen.speak_stream("The quick brown fox jumps over the lazy dog. " * 220, model=speech, vocoder=vocoder)
    chunks = list(stream)
    assert len(chunks) == 439
    assert all(np.isfinite(chunk).all() for chunk in chunks)


def test_models_that_do_not_fit(checkpoints: Path, speech: str) -> None:
    with pytest.raises(InputError, match=r"do not fit: .*fmax: 12000.0 != 11000.0"):
        wavegen.speak_stream(TEXT, model=speech, vocoder=str(checkpoints / "other.safetensors"))


@pytest.mark.parametrize("swapped", ["model", "vocoder"])
def test_a_model_of_another_kind(swapped: str, speech: str, vocoder: str) -> None:
    options: dict[str, Any] = {"model": speech, "vocoder": vocoder} | {
        swapped: vocoder if swapped == "model" else speech
    }
    with pytest.raises(CheckpointError, match=r"vocoder.*speech|speech.*vocoder"):
        wavegen.speak_stream(TEXT, **options)


def test_a_truncated_checkpoint(tmp_path: Path, vocoder: str) -> None:
    whole = Path(vocoder).read_bytes()
    damaged = tmp_path / "damaged.safetensors"
    for size in (0, 7, len(whole) // 2, len(whole) - 1):
        damaged.write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match=r"damaged\.safetensors"):
            pipelines.load_vocoder(str(damaged))


@pytest.mark.parametrize("name", ["no-such-model", "missing/file.safetensors", "missing.safetensors"])
def test_a_model_that_is_not_there(name: str) -> None:
    with pytest.raises(InputError, match=name):
        pipelines.load_vocoder(name)


def test_a_device_that_is_not_there(vocoder: str) -> None:
    for device in ("warp", "cuda:99", "meta", "hpu", "mkldnn", None, []):
        for name in (vocoder, "griffin-lim"):
            with pytest.raises(InputError, match=re.escape(f"device {device!r} cannot be used")):
                pipelines.load_vocoder(name, device)  # type: ignore[arg-type]


def test_the_reason_against_a_device_is_short() -> None:
    with pytest.raises(InputError) as caught:  # torch's own message lists every backend
        pipelines.load_vocoder("griffin-lim", "vulkan")
    assert len(str(caught.value)) < 200


def test_models_are_kept_until_their_file_changes(tmp_path: Path, checkpoints: Path, vocoder: str) -> None:
    path = tmp_path / "mine.safetensors"
    path.write_bytes(Path(vocoder).read_bytes())
    first = pipelines.load_vocoder(str(path))
    assert pipelines.load_vocoder(str(path)) is first
    path.write_bytes((checkpoints / "other.safetensors").read_bytes())
    os.utime(path, ns=(1, 1))
    assert pipelines.load_vocoder(str(path)).spec.fmax == 11000.0


# ----------------------------------------------------------------------------------------------------------- render


def test_render(vocoder: str) -> None:
    audio = wavegen.render(mel(), vocoder=vocoder)
    assert audio.samples.shape == (1, 7 * 256)
    voice = pipelines.load_vocoder(vocoder, refine=8)
    with torch.inference_mode():
        expected = voice(torch.from_numpy(mel())[None]).numpy()
    np.testing.assert_allclose(audio.samples, expected, atol=1e-6)
    np.testing.assert_array_equal(wavegen.render(mel()[None], vocoder=vocoder).samples, audio.samples)
    half = wavegen.render(mel().astype(np.float64), spec=SPEC, vocoder=vocoder)
    np.testing.assert_array_equal(half.samples, audio.samples)


def test_render_refuses_another_convention(vocoder: str) -> None:
    with pytest.raises(InputError, match=r"x\.npy: does not fit .*fmin: 30.0 != 0.0"):
        wavegen.render(mel(), spec=dataclasses.replace(SPEC, fmin=30.0), vocoder=vocoder, name="x.npy")


def test_render_converts_on_request(vocoder: str) -> None:
    source = CONVENTIONS["tacotron2-22k"]
    audio = wavegen.render(mel(10, 80), spec=source, convert=True, vocoder=vocoder)
    assert audio.sample_rate == 24000
    assert abs(audio.duration - 10 * 256 / 22050) < 0.02
    same = wavegen.render(mel(), spec=SPEC, convert=True, vocoder=vocoder)
    np.testing.assert_array_equal(same.samples, wavegen.render(mel(), vocoder=vocoder).samples)


def test_griffin_lim_renders_any_convention_and_keeps_the_tone() -> None:
    spec = CONVENTIONS["hifigan-22k"]
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(22016) / 22050).astype(np.float32)
    values = MelSpectrogram(spec)(torch.from_numpy(tone)).numpy()
    audio = wavegen.render(values, spec=spec, vocoder="griffin-lim")
    assert audio.sample_rate == 22050
    peak = int(np.abs(np.fft.rfft(audio.samples[0])).argmax())
    assert abs(peak * 22050 / audio.samples.shape[1] - 1000) < 25


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (mel(bands=21), "has 21 bands, but its convention has 20"),
        (mel()[:, :0], "has no frames"),
        (np.where(np.arange(7) == 3, np.nan, mel()), "NaN or infinite"),
        (np.where(np.arange(7) == 3, np.inf, mel()), "NaN or infinite"),
        (np.zeros((20, 7), np.int64), "floating point, not int64"),
        (np.zeros((20, 7), complex), "floating point, not complex128"),
        (np.zeros((20, 7), "U3"), "floating point"),
        (np.zeros(20), r"not \(20,\)"),
        (np.zeros((2, 20, 7)), r"not \(2, 20, 7\)"),
        (np.float32(1), r"not \(\)"),
        (np.full((20, 7), 1e300), "NaN or infinite values in float32"),
        (mel().tolist(), "a numpy array, not list"),
        (torch.zeros(20, 7), "a numpy array, not Tensor"),
        (None, "a numpy array, not NoneType"),
    ],
)
def test_render_refuses(values: Any, message: str, vocoder: str) -> None:
    with pytest.raises(InputError, match=f"^mel: .*{message}"):
        wavegen.render(values, vocoder=vocoder)


def test_render_takes_no_names_of_conventions(vocoder: str) -> None:
    with pytest.raises(InputError, match=r"^spec: must be a FeatureSpec, not str"):
        wavegen.render(mel(), spec="vocos-24k", vocoder=vocoder)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------------ reading mels


def write_mel(path: Path, values: Any, spec: FeatureSpec | None = None) -> Path:
    stated: dict[str, Any] = {} if spec is None else {"spec": json.dumps(spec.to_dict())}
    if path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix == ".npz":
        np.savez(path, mel=values, **stated)
    else:
        torch.save({"mel": torch.as_tensor(values), **stated}, path)
    return path


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".pt"])
def test_read_mel(suffix: str, tmp_path: Path) -> None:
    values, spec = pipelines.read_mel(write_mel(tmp_path / f"a{suffix}", mel()))
    np.testing.assert_array_equal(values, mel())
    assert spec is None


@pytest.mark.parametrize("suffix", [".npz", ".pt"])
def test_read_mel_with_its_convention(suffix: str, tmp_path: Path) -> None:
    values, spec = pipelines.read_mel(write_mel(tmp_path / f"a{suffix}", mel(), CONVENTIONS["vocos-24k"]))
    np.testing.assert_array_equal(values, mel())
    assert spec == CONVENTIONS["vocos-24k"]


def test_read_mel_from_a_bare_tensor(tmp_path: Path) -> None:
    torch.save(torch.from_numpy(mel()).bfloat16(), tmp_path / "a.pt")
    values, _ = pipelines.read_mel(tmp_path / "a.pt")
    np.testing.assert_allclose(values, mel(), rtol=0.01)
    assert values.dtype == np.float32


class Harmful:
    """Unpickling this makes a folder."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".pt"])
def test_read_mel_never_unpickles(suffix: str, tmp_path: Path) -> None:
    path, harmed = tmp_path / f"evil{suffix}", tmp_path / "harmed"
    values = np.array([Harmful(str(harmed))], dtype=object)
    if suffix == ".pt":
        torch.save({"mel": Harmful(str(harmed))}, path)
    else:
        write_mel(path, values)
    with pytest.raises(InputError, match="not a readable mel file"):
        pipelines.read_mel(path)
    assert not harmed.exists()


def test_read_mel_refuses(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", notmel=mel())
    torch.save({"notmel": 1}, tmp_path / "other.pt")
    torch.save({"mel": "words"}, tmp_path / "words.pt")
    np.savez(tmp_path / "badspec.npz", mel=mel(), spec=json.dumps({"bandz": 3}))
    np.savez(tmp_path / "typed.npz", mel=mel(), spec=json.dumps({"fmin": "low"}))
    (tmp_path / "junk.npy").write_bytes(b"junk")
    (tmp_path / "junk.npz").write_bytes(b"PK junk")
    (tmp_path / "junk.pt").write_bytes(b"")
    np.save(tmp_path / "cut.npy", mel())
    (tmp_path / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:-10])
    (tmp_path / "folder.npy").mkdir()
    for name, message in {
        "other.npz": 'no "mel"',
        "other.pt": 'no "mel"',
        "words.pt": "not an array",
        "badspec.npz": "no field bandz",
        "typed.npz": "wrong type",
        "junk.npy": "not a readable",
        "junk.npz": "not a readable",
        "junk.pt": "not a readable",
        "cut.npy": "not a readable",
        "folder.npy": "directory",
        "missing.npy": "No such file",
        "mel.txt": ".npy, .npz or .pt",
    }.items():
        with pytest.raises(InputError) as caught:
            pipelines.read_mel(tmp_path / name)
        assert str(caught.value).startswith(str(tmp_path / name))
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


def test_read_spec(tmp_path: Path) -> None:
    assert pipelines.read_spec("vocos-24k") == CONVENTIONS["vocos-24k"]
    (tmp_path / "a.json").write_text(json.dumps({"bands": 40, "fmax": None}))
    (tmp_path / "a.yaml").write_text("bands: 40\nfmax: null\n")
    (tmp_path / "whole.json").write_text(json.dumps(CONVENTIONS["fatchord-wavernn-22k"].to_dict()))
    assert pipelines.read_spec(str(tmp_path / "whole.json")) == CONVENTIONS["fatchord-wavernn-22k"]
    assert pipelines.read_spec(str(tmp_path / "a.json")) == FeatureSpec(bands=40, fmax=None)
    assert pipelines.read_spec(str(tmp_path / "a.yaml")) == FeatureSpec(bands=40, fmax=None)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("unheard-of", None, "known are .*bigvgan-24k"),
        ("missing.json", None, "No such file"),
        ("bad.json", b"{", "not valid JSON or YAML"),
        ("bytes.yaml", b"\xff\xfe\x00", "not valid JSON or YAML"),
        ("list.yaml", b"[1, 2]", "a mapping"),
        ("field.yaml", b"bandz: 3", "no field bandz"),
        ("value.yaml", b"bands: -3", "bands must be a positive integer"),
        ("type.yaml", b"clip: [a, 1]", "a value of the wrong type"),
        ("date.yaml", b"bands: 2001-99-99", "not valid JSON or YAML"),
        ("tag.yaml", b"bands: !!timestamp x", "not valid JSON or YAML"),
        ("deep.yaml", b"[" * 3000, "not valid JSON or YAML"),
    ],
)
def test_read_spec_refuses(name: str, content: bytes | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        pipelines.read_spec(name if content is None and "." not in name else str(tmp_path / name))


# ---------------------------------------------------------------------------------------------------------- resynth


def whole(audio: Audio, vocoder: str, refine: int = 0) -> NDArray[np.float32]:
    """Copy-synthesis in one piece, without anything of the streaming path."""
    voice = pipelines.load_vocoder(vocoder, refine=refine)
    x = resample(audio.samples, audio.sample_rate, SPEC.sample_rate)
    x = np.pad(x, ((0, 0), (0, max(SPEC.n_fft - x.shape[1], -x.shape[1] % SPEC.hop))))
    with torch.inference_mode():
        y = voice(MelSpectrogram(SPEC)(torch.from_numpy(x))).numpy()
    return resample(y, SPEC.sample_rate, audio.sample_rate)[:, : audio.samples.shape[1]]


@pytest.mark.parametrize(
    ("rate", "channels", "length"),
    [
        (24000, 1, 256 * 700), (24000, 2, 150001), (44100, 2, 300007), (8000, 1, 70001), (48000, 7, 20011),
        (24000, 1, 1), (96000, 1, 1), (8000, 3, 1), (24000, 1, 1023), (22050, 1, 4001),
    ],
)  # fmt: skip
def test_resynth_keeps_rate_channels_and_length(rate: int, channels: int, length: int, vocoder: str) -> None:
    audio = Audio(noise(channels, length), rate)
    copy = wavegen.resynth(audio, vocoder=vocoder, refine=0)
    assert (copy.sample_rate, copy.samples.shape) == (rate, (channels, length))
    np.testing.assert_allclose(copy.samples, whole(audio, vocoder), atol=1e-4)


def test_refinement_draws_the_copy_towards_the_source(vocoder: str) -> None:
    """With random weights the network alone gives noise; eight iterations give the source's spectrum."""
    audio = Audio(noise(2, 100_000, seed=2), 24000)
    plain, refined = (wavegen.resynth(audio, vocoder=vocoder, refine=n).samples for n in (0, 8))
    extractor = MelSpectrogram(SPEC)
    true, far, near = (extractor(torch.from_numpy(x)) for x in (audio.samples, plain, refined))
    assert (near - true).abs().mean() < 0.5
    assert (near - true).abs().mean() < 0.3 * (far - true).abs().mean()
    difference = np.abs(refined - whole(audio, vocoder, refine=8))
    assert difference.max() < 1e-2  # rounding grows where magnitudes are near zero
    assert difference.mean() < 1e-4


def test_refine_is_checked(vocoder: str) -> None:
    for wrong in (-1, 65, 1.5, "8", True):
        with pytest.raises(InputError, match="refine: must be"):
            wavegen.resynth(Audio(noise(1, 3000), 24000), vocoder=vocoder, refine=wrong)


def test_refinement_is_the_vocoders_own_by_default(vocoder: str, wavenet: str) -> None:
    audio = Audio(noise(1, 9000), 24000)
    for name, own, other in ((vocoder, 8, 0), (wavenet, 0, 2)):
        usual = wavegen.resynth(audio, vocoder=name).samples
        np.testing.assert_array_equal(wavegen.resynth(audio, vocoder=name, refine=own).samples, usual)
        assert np.abs(wavegen.resynth(audio, vocoder=name, refine=other).samples - usual).max() > 0.01
        rendered = wavegen.render(mel(), vocoder=name).samples
        np.testing.assert_array_equal(wavegen.render(mel(), vocoder=name, refine=own).samples, rendered)
        assert np.abs(wavegen.render(mel(), vocoder=name, refine=other).samples - rendered).max() > 0.01
    assert pipelines.load_vocoder("griffin-lim", refine=None).settings == ()
    assert pipelines.load_vocoder(vocoder, refine=None).settings == ("refined 8",)
    assert pipelines.load_vocoder(vocoder).settings == pipelines.load_vocoder(wavenet, refine=None).settings == ()


@pytest.mark.parametrize("block", [1000, 65536])
def test_resynth_of_a_file_equals_resynth_in_memory(
    block: int, tmp_path: Path, vocoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipelines, "BLOCK", block)
    audio = Audio(noise(2, 190001, seed=4), 44100)
    io.write(tmp_path / "in.wav", audio, subtype="FLOAT")
    told: list[tuple[float, float]] = []
    seconds = pipelines.resynth_file(
        tmp_path / "in.wav", tmp_path / "out.wav", vocoder=vocoder, refine=0, progress=lambda *at: told.append(at)
    )
    copy = io.read(tmp_path / "out.wav")
    assert seconds == pytest.approx(190001 / 44100)
    assert len(told) > 1
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert told[-1][0] == seconds
    assert {total for _, total in told} == {seconds}
    assert io.info(tmp_path / "out.wav").subtype == "FLOAT"
    np.testing.assert_allclose(copy.samples, wavegen.resynth(audio, vocoder=vocoder, refine=0).samples, atol=1e-5)


def test_resynth_holds_only_a_few_blocks(vocoder: str) -> None:
    """At no time has much more been taken in than was given out, however long the source."""
    taken = given = 0
    worst = 0

    def source() -> Any:
        nonlocal taken
        for _ in range(60):
            taken += 16384
            yield np.zeros((1, 16384), np.float32)

    for chunk in pipelines._resynthesize(source(), 44100, 1, pipelines.load_vocoder(vocoder), "cpu"):
        given += chunk.shape[1]
        worst = max(worst, taken - given)
    assert given == taken == 60 * 16384
    assert worst < 12 * 16384


@pytest.mark.parametrize(("rate", "channels"), [(100, 1), (8000, 200)])
def test_resynth_takes_less_at_a_time_of_low_rates_and_many_channels(
    rate: int, channels: int, tmp_path: Path, vocoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    io.write(tmp_path / "in.wav", Audio(noise(channels, 12000), rate))
    largest = 0
    original = pipelines.StreamingMel.push

    def spy(self: Any, samples: torch.Tensor) -> torch.Tensor:
        nonlocal largest
        largest = max(largest, samples.numel())
        return original(self, samples)

    monkeypatch.setattr(pipelines.StreamingMel, "push", spy)
    pipelines.resynth_file(tmp_path / "in.wav", tmp_path / "out.wav", vocoder=vocoder, refine=0)
    assert io.info(tmp_path / "out.wav").frames == io.info(tmp_path / "in.wav").frames
    # Of 120 s at 100 Hz, 16 s and what the resampler held back; of 200 channels, no more samples than of 32.
    assert largest <= (40 * 24000 if channels == 1 else 3.1 * 32 * pipelines.BLOCK)


def test_resynth_keeps_the_sample_format(tmp_path: Path, vocoder: str) -> None:
    io.write(tmp_path / "in.wav", Audio(noise(1, 3000), 24000), subtype="PCM_24")
    pipelines.resynth_file(tmp_path / "in.wav", tmp_path / "out.flac", vocoder=vocoder, refine=0)
    assert io.info(tmp_path / "out.flac").subtype == "PCM_24"
    pipelines.resynth_file(tmp_path / "in.wav", tmp_path / "low.flac", vocoder=vocoder, refine=0, subtype="PCM_16")
    assert io.info(tmp_path / "low.flac").subtype == "PCM_16"


def test_resynth_from_standard_input(tmp_path: Path, vocoder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    io.write(tmp_path / "in.wav", Audio(noise(1, 5000), 24000))
    stdin = types.SimpleNamespace(buffer=bytes_io.BytesIO((tmp_path / "in.wav").read_bytes()))
    monkeypatch.setattr(sys, "stdin", stdin)
    pipelines.resynth_file("-", tmp_path / "piped.wav", vocoder=vocoder, refine=0)
    pipelines.resynth_file(tmp_path / "in.wav", tmp_path / "plain.wav", vocoder=vocoder, refine=0)
    assert (tmp_path / "piped.wav").read_bytes() == (tmp_path / "plain.wav").read_bytes()
    stdin.buffer = bytes_io.BytesIO(b"no audio at all")
    with pytest.raises(InputError, match=r"^standard input: "):
        pipelines.resynth_file("-", tmp_path / "bad.wav", vocoder=vocoder, refine=0)
    assert not (tmp_path / "bad.wav").exists()


def test_resynth_from_a_named_pipe(tmp_path: Path, vocoder: str) -> None:
    io.write(tmp_path / "in.wav", Audio(noise(1, 5000), 24000))
    data, pipe = (tmp_path / "in.wav").read_bytes(), tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(data))
    writer.start()
    pipelines.resynth_file(pipe, tmp_path / "out.wav", vocoder=vocoder, refine=0)
    writer.join()
    assert io.info(tmp_path / "out.wav").frames == 5000


def test_resynth_of_nothing(vocoder: str) -> None:
    with pytest.raises(InputError, match="audio: holds no samples"):
        wavegen.resynth(Audio(np.zeros((1, 0), np.float32), 24000), vocoder=vocoder)


@pytest.mark.parametrize("audio", [None, "a.wav", np.zeros(100, np.float32)])
def test_resynth_of_another_type(audio: Any, vocoder: str) -> None:
    with pytest.raises(InputError, match=r"^audio: must be a wavegen.Audio, not "):
        wavegen.resynth(audio, vocoder=vocoder)


def test_resynth_onto_itself(tmp_path: Path, vocoder: str) -> None:
    io.write(tmp_path / "in.wav", Audio(noise(1, 5000), 24000))
    before = (tmp_path / "in.wav").read_bytes()
    (tmp_path / "link.wav").symlink_to(tmp_path / "in.wav")
    for target in (tmp_path / "in.wav", tmp_path / "link.wav"):
        with pytest.raises(InputError, match="is the input too"):
            pipelines.resynth_file(tmp_path / "in.wav", target, vocoder=vocoder, refine=0)
    assert (tmp_path / "in.wav").read_bytes() == before


# --------------------------------------------------------------------------------------------- a vocoder that samples


def test_a_vocoders_seed_fixes_its_samples(wavenet: str) -> None:
    audio = Audio(noise(2, 5000), 44100)
    for job in (
        lambda **options: wavegen.render(mel(), vocoder=wavenet, **options).samples,
        lambda **options: wavegen.resynth(audio, vocoder=wavenet, **options).samples,
    ):
        first = job(seed=3)
        np.testing.assert_array_equal(job(seed=3), first)
        np.testing.assert_array_equal(job(seed=np.int64(3)), first)
        assert np.abs(job(seed=4) - first).max() > 0.1
        np.testing.assert_array_equal(job(), job(seed=0))
        likeliest = job(temperature=0, seed=3)
        np.testing.assert_array_equal(job(temperature=0, seed=4), likeliest)
        np.testing.assert_array_equal(job(top_k=1, seed=5), likeliest)
        assert np.abs(likeliest - first).max() > 0.1


def test_the_options_are_those_of_sampling(wavenet: str) -> None:
    """Each changes what it names, and None leaves it as usual."""
    from wavegen.vocoders.wavenet import Sampling

    given: dict[str, Any] = {"temperature": 0.5, "top_k": 9, "top_p": 0.75, "precision": "int8", "seed": 2}
    for option, value in given.items():
        nothing = dict.fromkeys(given) | {option: value}
        assert pipelines.load_vocoder(wavenet, **nothing).sampling == dataclasses.replace(Sampling(), **{option: value})
    voice = pipelines.load_vocoder(wavenet, refine=3, **given)
    assert voice.settings == ("temperature 0.5", "top-k 9", "top-p 0.75", "seed 2", "precision int8", "refined 3")
    assert pipelines.load_vocoder(wavenet).sampling == Sampling()
    expected = pipelines.load_vocoder(wavenet).with_sampling(Sampling(**given))(torch.from_numpy(mel())[None])
    rendered = wavegen.render(mel(), vocoder=wavenet, **given).samples
    np.testing.assert_array_equal(rendered, pipelines.unclipped(expected.numpy()))


@pytest.mark.parametrize(
    ("option", "value"), [("temperature", 0.5), ("top_k", 0), ("top_p", 1.0), ("precision", "fp32"), ("seed", 0)]
)
def test_options_of_sampling_for_a_vocoder_that_does_not_sample(
    option: str, value: Any, speech: str, vocoder: str
) -> None:
    audio = Audio(noise(1, 3000), 24000)
    for name in (vocoder, "griffin-lim"):
        jobs = [
            lambda **options: wavegen.render(mel(), **options),
            lambda **options: wavegen.resynth(audio, **options),
            lambda **options: pipelines.resynth_file("missing.wav", "out.wav", **options),
            lambda **options: wavegen.speak(TEXT, model=speech, **options),
        ]
        for job in jobs[: 3 if option == "seed" else 4]:
            with pytest.raises(InputError, match=rf"^{option}: the vocoder {name} does not sample"):
                job(vocoder=name, **{option: value})
    with pytest.raises(InputError, match="ISTFTVocoder does not sample"):
        pipelines.load_vocoder(vocoder).with_sampling(None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("temperature", -0.1, "temperature: must be a number from 0 to 100, not -0.1"),
        ("temperature", float("nan"), "temperature: must be"),
        ("temperature", "hot", "temperature: must be a number"),
        ("top_k", -1, "top_k: must be a number from 0 to 1024"),
        ("top_k", 2**64, "top_k: must be a number from 0 to 1024"),
        ("top_k", 2.5, "top_k: must be a whole number"),
        ("top_p", 0.0, r"top_p must lie in \(0, 1\], not 0"),
        ("top_p", 1.1, "top_p: must be a number from 0 to 1"),
        ("precision", "fp64", "precision must be one of fp32, bf16, int8, not 'fp64'"),
        ("precision", [], r"precision must be one of fp32, bf16, int8, not \[\]"),
        ("seed", -1, "seed: must be"),
        ("seed", 1.5, "seed: must be a whole number"),
        ("seed", True, "seed: must be a number"),
    ],
)
def test_options_of_sampling_out_of_range(option: str, value: Any, message: str, wavenet: str) -> None:
    with pytest.raises(InputError, match=f"^{message}"):
        wavegen.render(mel(), vocoder=wavenet, **{option: value})


def test_classes_that_are_not_there(gaussian: str) -> None:
    for options in ({"top_k": 5}, {"top_p": 0.9}):
        with pytest.raises(InputError, match="top_k and top_p choose among classes; this model's output has none"):
            wavegen.render(mel(), vocoder=gaussian, **options)
    assert np.abs(wavegen.render(mel(), vocoder=gaussian, top_k=0, top_p=1).samples).max() > 0


def test_an_option_that_is_misspelt() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'tempreature'"):
        wavegen.render(mel(), vocoder="griffin-lim", tempreature=1.0)  # type: ignore[call-arg]


@pytest.mark.parametrize(("rate", "channels", "length"), [(24000, 1, 50001), (24000, 2, 40000), (44100, 2, 150001)])
@pytest.mark.parametrize("refine", [0, 2])
def test_drawn_in_chunks_equals_drawn_at_once(
    rate: int, channels: int, length: int, refine: int, wavenet: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rounding of a mel could change all that is drawn after it: the mels are those that the stream was given."""
    from wavegen.vocoders.wavenet import WaveNet

    mels: list[torch.Tensor] = []
    original = WaveNet.stream

    def spy(self: WaveNet, chunks: Any, block: int) -> Any:
        mels.extend(chunks)
        yield from original(self, mels, block)

    monkeypatch.setattr(pipelines, "BLOCK", 9000)
    audio = Audio(noise(channels, length), rate)
    with monkeypatch.context() as patch:
        patch.setattr(WaveNet, "stream", spy)
        copy = wavegen.resynth(audio, vocoder=wavenet, refine=refine, seed=7).samples
    assert len(mels) > 4
    once = pipelines.load_vocoder(wavenet, refine=refine, seed=7)(torch.cat(mels, dim=-1)).numpy()
    expected = resample(once, SPEC.sample_rate, rate)[:, :length]
    np.testing.assert_allclose(copy, expected, atol=1e-4)
    if channels == 2:
        assert np.abs(copy[0] - copy[1]).max() > 0.02
    io.write(tmp_path / "in.wav", audio, subtype="FLOAT")
    pipelines.resynth_file(tmp_path / "in.wav", tmp_path / "out.wav", vocoder=wavenet, refine=refine, seed=7)
    np.testing.assert_array_equal(io.read(tmp_path / "out.wav").samples, copy)


def test_drawing_holds_only_a_few_blocks(wavenet: str) -> None:
    taken = given = worst = 0

    def source() -> Any:
        nonlocal taken
        for _ in range(40):
            taken += 16384
            yield np.zeros((1, 16384), np.float32)

    for refine in (0, 1):
        taken = given = worst = 0
        voice = pipelines.load_vocoder(wavenet, refine=refine)
        for chunk in pipelines._resynthesize(source(), 24000, 1, voice, "cpu"):
            given += chunk.shape[1]
            worst = max(worst, taken - given)
        assert given == taken == 40 * 16384
        assert worst < 8 * 16384


def test_speak_with_a_vocoder_that_samples(speech: str, wavenet: str) -> None:
    options: dict[str, Any] = {"model": speech, "vocoder": wavenet, "variation": 0.0}
    first, again, other = (wavegen.speak(TEXT, seed=seed, **options).samples for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert first.shape == other.shape  # without variation the seed is that of the vocoder alone
    assert np.abs(first - other).max() > 0.1
    steady = [wavegen.speak(TEXT, seed=seed, temperature=0, **options).samples for seed in (5, 6)]
    np.testing.assert_array_equal(steady[0], steady[1])
    exact = wavegen.speak(TEXT, seed=5, precision="fp32", **options).samples
    assert exact.shape == first.shape
    assert np.abs(exact - first).max() > 0
