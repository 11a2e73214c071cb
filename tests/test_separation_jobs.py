"""From a mix to stems and from file to files: sums, levels, lengths, formats, memory, and what can be wrong."""

import errno
import os
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import wavegen
from wavegen.audio import io
from wavegen.audio.io import Audio
from wavegen.audio.resample import StreamResampler
from wavegen.errors import CheckpointError, InputError
from wavegen.separation.base import Separator, SeparatorSpec
from wavegen.separation.channels import AnyChannels
from wavegen.separation_jobs import (
    FileFormat,
    Part,
    Separation,
    Task,
    load_separator,
    separate,
    separate_file,
    separate_files,
)


class Halves(Separator):
    """A moving average times ``gain``, and what it leaves; deaf beyond two samples and to other channels."""

    def __init__(
        self,
        rate: int = 8000,
        channels: int = 2,
        names: tuple[str, ...] = ("low", "high", "none"),
        gain: float = 1.0,
        interchangeable: bool = False,
    ) -> None:
        super().__init__()
        self.config = None
        self.spec = SeparatorSpec(rate, channels, names, interchangeable)
        self.hop, self.context = 16, 16
        self.chunk_seconds = 0.5
        self.gain = gain

    def estimate(self, mix: Tensor) -> Tensor:
        padded = torch.nn.functional.pad(mix, (2, 2))
        low = padded.unfold(-1, 5, 1).mean(dim=-1) * self.gain
        return torch.stack([low, mix - low, torch.zeros_like(mix)][: len(self.spec.sources)], dim=1)


def noise(rate: int, seconds: float, channels: int, scale: float = 0.2) -> Audio:
    random = np.random.default_rng(round(rate + channels))
    return Audio(np.clip(random.normal(0, scale, (channels, max(1, round(rate * seconds)))), -1, 0.999), rate)


def lsb(subtype: str) -> float:
    return {"PCM_16": 2.0**-15, "PCM_24": 2.0**-23, "FLOAT": 2.0**-23, "PCM_32": 2.0**-22}[subtype]


# --- arrays


@pytest.mark.parametrize("rate", [8000, 11025, 44100, 192000])
@pytest.mark.parametrize("channels", [1, 2, 3, 7])
@pytest.mark.parametrize("model_channels", [1, 2])
def test_stems_sum_to_the_mix_at_its_own_rate_and_channels(rate: int, channels: int, model_channels: int) -> None:
    audio = noise(rate, 1.3, channels)
    stems = separate(audio, model=Halves(channels=model_channels))
    assert list(stems) == ["low", "high", "none"]
    for stem in stems.values():
        assert stem.sample_rate == rate
        assert stem.samples.shape == audio.samples.shape
    total = sum(stem.samples.astype(np.float64) for stem in stems.values())
    assert np.abs(total - audio.samples).max() < 1e-7


def test_the_sources_are_the_models_and_stay_in_place() -> None:
    audio = noise(8000, 2.0, 2)
    stems = separate(audio, model=Halves())
    padded = np.pad(audio.samples, ((0, 0), (2, 2)))
    expected = np.lib.stride_tricks.sliding_window_view(padded, 5, axis=1).mean(axis=2)
    assert np.abs(stems["low"].samples - expected).max() < 1e-6
    assert np.abs(stems["none"].samples).max() < 1e-6


def test_a_tone_keeps_its_place_through_another_rate() -> None:
    t = np.arange(44100) / 44100
    audio = Audio((0.3 * np.sin(2 * np.pi * 100 * t)).astype(np.float32), 44100)
    stems = separate(audio, model=Halves(channels=1))
    inner = slice(2000, -2000)
    assert np.abs(stems["low"].samples[0, inner] - audio.samples[0, inner]).max() < 0.01
    assert np.abs(stems["high"].samples[0, inner]).max() < 0.01


@pytest.mark.parametrize("channels", [2, 5, 6, 7, 9])
def test_each_channel_is_separated_by_itself(channels: int) -> None:
    audio = noise(8000, 0.7, channels)
    whole = separate(audio, model=Halves())
    for channel in range(channels):
        alone = separate(Audio(audio.samples[channel], 8000), model=Halves())
        assert np.abs(whole["low"].samples[channel] - alone["low"].samples[0]).max() < 1e-5


@pytest.mark.parametrize("gain", [0.1, 10.0, -1.0, 1e-6])
def test_gain_and_polarity_commute(gain: float) -> None:
    audio = noise(11025, 1.0, 2)
    plain = separate(audio, model=Halves(gain=0.7))
    turned = separate(Audio(audio.samples * np.float32(gain), 11025), model=Halves(gain=0.7))
    for name in plain:
        difference = np.abs(turned[name].samples - gain * plain[name].samples).max()
        assert difference < 1e-5 * abs(gain), name


@given(
    count=st.integers(1, 3000),
    rate=st.sampled_from([7, 8000, 22050, 96000, 192000]),
    channels=st.integers(1, 4),
    segment=st.sampled_from([None, 0.5]),
)
@settings(max_examples=30, deadline=None)
def test_any_length(count: int, rate: int, channels: int, segment: float | None) -> None:
    audio = Audio(np.random.default_rng(count).normal(0, 0.1, (channels, count)), rate)
    stems = separate(audio, model=Halves(), segment=segment)
    total = sum(stem.samples.astype(np.float64) for stem in stems.values())
    assert np.abs(total - audio.samples).max() < 1e-6


def test_silence_stays_silence() -> None:
    stems = separate(Audio(np.zeros((2, 10000)), 44100), model=Halves())
    assert all(not stem.samples.any() for stem in stems.values())


def test_a_silent_channel_stays_silent() -> None:
    class Loud(Halves):
        def estimate(self, mix: Tensor) -> Tensor:
            return super().estimate(mix) + 1.0

    samples = noise(8000, 0.5, 2).samples.copy()
    samples[1] = 0
    stems = separate(Audio(samples, 8000), model=Loud(channels=1))
    assert all(not stem.samples[1].any() for stem in stems.values())
    assert stems["low"].samples[0].any()


def test_the_quietest_sound() -> None:
    stems = separate(Audio(np.full((1, 5000), 1e-44, dtype=np.float32), 8000), model=Halves())
    assert all(np.isfinite(stem.samples).all() for stem in stems.values())


def test_stems_two_stems_and_residual() -> None:
    audio, model = noise(44100, 0.5, 2), Halves()
    everything = separate(audio, model=model)
    high = separate(audio, model=model, stems=["high"])
    assert list(high) == ["high"]
    assert np.array_equal(high["high"].samples, everything["high"].samples)
    two = separate(audio, model=model, two_stems="low")
    assert list(two) == ["low", "no_low"]
    assert np.array_equal(two["low"].samples, everything["low"].samples)
    assert np.abs(two["low"].samples + two["no_low"].samples - audio.samples).max() < 1e-6
    rest = separate(audio, model=model, stems=["high", "low"], residual=True)
    assert list(rest) == ["high", "low", "residual"]
    assert np.abs(sum(stem.samples for stem in rest.values()) - audio.samples).max() < 1e-6
    # Noise at 44.1 kHz is mostly above what a model of 8 kHz hears: the residual has it, and the stems have not.
    assert rest["residual"].samples.std() > 0.8 * audio.samples.std()
    assert rest["high"].samples.std() < 0.5 * everything["high"].samples.std() + 0.1


def test_shifts_are_drawn_from_the_seed() -> None:
    class Framed(Halves):
        def estimate(self, mix: Tensor) -> Tensor:
            place = torch.arange(mix.shape[-1]) % 7 / 7.0
            return torch.stack([mix * place, mix * (1 - place)], dim=1)

    audio = noise(8000, 1.5, 2)
    model = Framed(names=("a", "b"))
    runs = [separate(audio, model=model, shifts=2, seed=seed)["a"].samples for seed in (1, 1, 2)]
    assert np.array_equal(runs[0], runs[1])
    assert np.abs(runs[0] - runs[2]).max() > 1e-3


def test_sources_without_order_agree_between_channels() -> None:
    class Loudest(Halves):
        """Names the louder of two the first."""

        def estimate(self, mix: Tensor) -> Tensor:
            found = super().estimate(mix)
            order = found.square().sum(dim=(2, 3)).argsort(dim=1, descending=True)
            return torch.stack([f[o] for f, o in zip(found, order, strict=True)])

    model = Loudest(channels=1, names=("one", "two"), interchangeable=True)
    t = torch.arange(4000) / 8000
    low, high = torch.sin(2 * torch.pi * 50 * t), torch.sin(2 * torch.pi * 1600 * t)
    mix = torch.stack([low + 0.2 * high, 0.2 * low + high])[None]
    found = AnyChannels(model, 2).estimate(mix)[0]
    assert (found[0, :, 10:-10] * low[10:-10]).sum(dim=-1).min() > 100
    assert (found[1, :, 10:-10] * high[10:-10]).sum(dim=-1).min() > 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stems": ["vocals"]}, "no source 'vocals'; it has low, high, none"),
        ({"two_stems": "x"}, "no source 'x'"),
        ({"stems": ["low"], "two_stems": "low"}, "exclude"),
        ({"two_stems": "low", "residual": True}, "leave residual out"),
        ({"stems": ["low", "low"]}, "twice"),
        ({"shifts": -1}, "shifts"),
        ({"shifts": 1.5}, "shifts"),
        ({"overlap": 1.0}, "overlap"),
        ({"overlap": float("nan")}, "overlap"),
        ({"segment": 0.0}, "segment"),
        ({"seed": -1}, "seed"),
    ],
)
def test_arguments_that_make_no_sense(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        separate(noise(8000, 0.1, 1), model=Halves(), **arguments)  # type: ignore[arg-type]


def test_audio_that_makes_no_sense() -> None:
    with pytest.raises(InputError, match="no samples"):
        separate(Audio(np.zeros((2, 0)), 8000), model=Halves())
    with pytest.raises(InputError, match=r"wavegen\.Audio"):
        separate(np.zeros(100), model=Halves())  # type: ignore[arg-type]


def test_the_public_name() -> None:
    assert wavegen.separate is separate


def test_a_separator_is_wanted(vocoder: str) -> None:
    with pytest.raises(CheckpointError, match="separator"):
        load_separator(vocoder)


# --- files


def run(source: Path, folder: Path, model: Separator | None = None, how: Separation | None = None, **options: object):
    model, how = model or Halves(), how or Separation()
    extension = ".flac" if soundfile.info(source).format == "FLAC" else ".wav"
    places = {name: folder / f"{name}{extension}" for name in how.outputs(model)}
    return places, separate_file(source, places, model, how, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "subtype"), [
    ("a.wav", "PCM_16"), ("a.wav", "PCM_24"), ("a.wav", "FLOAT"), ("a.wav", "PCM_32"), 
    ("a.flac", "PCM_16"), ("a.flac", "PCM_24"),
])  # fmt: skip
@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (44100, 2), (48000, 7)])
def test_the_files_sum_to_the_file(name: str, subtype: str, rate: int, channels: int, tmp_path: Path) -> None:
    source = tmp_path / name
    io.write(source, noise(rate, 1.1, channels, scale=0.1), subtype=subtype)
    places, done = run(source, tmp_path / "out")
    mix, _ = soundfile.read(source, dtype="float64")
    total = np.zeros_like(mix)
    for place in places.values():
        about = soundfile.info(place)
        assert (about.samplerate, about.channels, about.frames) == (rate, channels, len(mix))
        assert (about.subtype, about.format) == (subtype, source.suffix[1:].upper())
        total += soundfile.read(place, dtype="float64")[0]
    # Integers of up to 24 bits sum exactly; others to float32's rounding.
    exact = subtype in ("PCM_16", "PCM_24")
    assert np.abs(total - mix).max() <= (0 if exact else lsb(subtype))
    assert done.seconds == pytest.approx(1.1, abs=1e-3)
    assert done.clipped == {}
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(p.name for p in places.values())


def test_files_and_arrays_agree(tmp_path: Path) -> None:
    audio = noise(22050, 3.0, 2)
    io.write(tmp_path / "a.wav", audio, subtype="FLOAT")
    places, _ = run(tmp_path / "a.wav", tmp_path / "out")
    for name, stem in separate(audio, model=Halves()).items():
        assert np.abs(io.read(places[name]).samples - stem.samples).max() < 1e-6


def test_a_part_of_a_file(tmp_path: Path) -> None:
    audio = noise(44100, 3.0, 2)
    io.write(tmp_path / "a.flac", audio, subtype="PCM_16")
    places, done = run(tmp_path / "a.flac", tmp_path / "out", part=Part(0.75, 1.5))
    assert done.seconds == 1.5
    total = sum(io.read(place).samples for place in places.values())
    assert np.array_equal(total, io.read(tmp_path / "a.flac", start=0.75, duration=1.5).samples)


@pytest.mark.parametrize(("start", "duration"), [(-1, None), (float("nan"), None), (0, 0), (0, -1.0)])
def test_parts_that_make_no_sense(start: float, duration: float | None) -> None:
    with pytest.raises(InputError):
        Part(start, duration)


def test_a_part_beyond_the_end(tmp_path: Path) -> None:
    io.write(tmp_path / "a.wav", noise(8000, 1.0, 1))
    with pytest.raises(InputError, match="not before the end"):
        run(tmp_path / "a.wav", tmp_path / "out", part=Part(1.0))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("normalize", ["none", "clamp", "rescale"])
@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_what_passes_full_scale(normalize: str, subtype: str, tmp_path: Path) -> None:
    class Opposed(Halves):
        """Two stems of five times the mix that cancel each other out, and the mix."""

        def estimate(self, mix: Tensor) -> Tensor:
            return torch.stack([5 * mix, -5 * mix, mix], dim=1)

    audio = noise(8000, 0.5, 2)
    io.write(tmp_path / "a.wav", audio, subtype=subtype)
    audio = io.read(tmp_path / "a.wav")
    places, done = run(tmp_path / "a.wav", tmp_path / "out", Opposed(), file_format=FileFormat(normalize=normalize))
    found = {name: io.read(place).samples for name, place in places.items()}
    peak = 5 * np.abs(audio.samples).max()
    if normalize == "rescale":
        assert done.gain == pytest.approx(1 / peak, rel=1e-3)
        assert done.clipped == {}
        assert np.abs(sum(found.values()) - done.gain * audio.samples).max() < 2e-5
        assert max(np.abs(f).max() for f in found.values()) == pytest.approx(1, abs=1e-4)
    elif normalize == "none" and subtype == "FLOAT":
        assert done.clipped == {}
        assert np.abs(found["low"] - 5 * audio.samples).max() < 1e-5
    else:
        assert done.gain == 1
        assert done.clipped["low"] == pytest.approx(np.count_nonzero(5 * np.abs(audio.samples) > 1), abs=3)
        assert np.abs(found["low"]).max() <= 1
        assert np.abs(found["low"] - np.clip(5 * audio.samples, -1, 1)).max() < 1e-4


def test_rescale_leaves_alone_what_fits(tmp_path: Path) -> None:
    io.write(tmp_path / "a.wav", noise(8000, 0.5, 1, scale=0.05))
    _, done = run(tmp_path / "a.wav", tmp_path / "out", file_format=FileFormat(normalize="rescale"))
    assert done.gain == 1


def test_a_mix_at_full_scale_is_not_clipped(tmp_path: Path) -> None:
    io.write(tmp_path / "a.wav", Audio(np.ones((1, 4000), dtype=np.float32), 8000), subtype="FLOAT")
    places = {name: tmp_path / f"{name}.wav" for name in ("low", "high", "none")}
    done = separate_file(tmp_path / "a.wav", places, Halves(), Separation(), file_format=FileFormat(subtype="PCM_16"))
    assert done.clipped == {}


@pytest.mark.parametrize("name", ["mp3", "ogg", "opus"])
def test_lossy_files(name: str, tmp_path: Path) -> None:
    t = np.arange(48000) / 48000
    tone = 0.3 * np.sin(2 * np.pi * 300 * t) * np.ones((2, 1))
    io.write(tmp_path / f"a.{name}", Audio(tone.astype(np.float32), 48000))
    model = Halves()
    places: dict[str, str | Path] = {n: tmp_path / f"{n}.{name}" for n in model.spec.sources}
    done = separate_file(tmp_path / f"a.{name}", places, model, Separation(), file_format=FileFormat(name.upper()))
    low = io.read(places["low"])
    assert (low.sample_rate, low.channels) == (48000, 2)
    assert low.duration == pytest.approx(done.seconds, abs=0.1)
    assert low.samples[:, 5000:40000].std() == pytest.approx(0.3 / 2**0.5, rel=0.1)


@pytest.mark.parametrize("content", ["corrupt", "empty", "nothing", "truncated", "nan", "absent", "folder", "text"])
def test_files_that_cannot_be_separated(content: str, tmp_path: Path) -> None:
    path = tmp_path / "Ünïcode ♫.wav"
    io.write(path, noise(44100, 4.0, 2))
    whole = path.read_bytes()
    if content == "corrupt":
        path.write_bytes(bytes(reversed(whole)))
    elif content == "empty":
        path.write_bytes(b"")
    elif content == "nothing":
        soundfile.write(path, np.zeros((0, 2)), 44100)
    elif content == "truncated":
        flac = path.with_suffix(".flac")
        io.write(flac, noise(44100, 4.0, 2))
        flac.write_bytes(flac.read_bytes()[: flac.stat().st_size // 2])
        path = flac
    elif content == "nan":
        samples = np.zeros((200000, 1), dtype=np.float32)
        samples[190000] = np.nan
        soundfile.write(path, samples, 44100, subtype="FLOAT")
    elif content == "absent":
        path = tmp_path / "absent.wav"
    elif content == "folder":
        path = tmp_path / "folder.wav"
        path.mkdir()
    else:
        path.write_text("no audio\n" * 100)
    places = {name: tmp_path / "out" / f"{name}.wav" for name in ("low", "high", "none")}
    with pytest.raises(InputError) as caught:
        separate_file(path, places, Halves(), Separation())
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_failure_late_in_the_work_leaves_nothing(tmp_path: Path) -> None:
    class Fails(Halves):
        calls = 0

        def estimate(self, mix: Tensor) -> Tensor:
            self.calls += 1
            if self.calls > 3:
                raise RuntimeError("no more memory")
            return super().estimate(mix)

    io.write(tmp_path / "a.wav", noise(8000, 5.0, 1))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "low.wav").write_bytes(b"as it was")
    with pytest.raises(RuntimeError, match="no more memory"):
        run(tmp_path / "a.wav", tmp_path / "out", Fails(channels=1))
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["low.wav"]
    assert (tmp_path / "out" / "low.wav").read_bytes() == b"as it was"


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    io.write(tmp_path / "a.wav", noise(8000, 5.0, 1))
    written = 0
    original = io._PcmEncoder.write

    def full(self: object, samples: np.ndarray) -> None:
        nonlocal written
        written += samples.size
        if written > 30000:
            raise OSError(errno.ENOSPC, "No space left on device")
        original(self, samples)  # type: ignore[arg-type]

    monkeypatch.setattr(io._PcmEncoder, "write", full)
    with pytest.raises(InputError, match=r"out.*\.wav: No space left on device$") as caught:
        run(tmp_path / "a.wav", tmp_path / "out")
    assert any(f"{name}.wav" in str(caught.value) for name in ("low", "high", "none"))
    assert [p.name for p in tmp_path.iterdir()] == ["a.wav"]


def test_folders_that_cannot_be_made(tmp_path: Path) -> None:
    io.write(tmp_path / "a.wav", noise(8000, 0.1, 1))
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made"):
        run(tmp_path / "a.wav", tmp_path / "file" / "out")


def test_wav_ends_at_4_gib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    io.write(tmp_path / "a.wav", noise(8000, 0.1, 1))
    monkeypatch.setattr("wavegen.separation_jobs._WAV_LIMIT", 1000)
    with pytest.raises(InputError, match="beyond 4 GiB"):
        run(tmp_path / "a.wav", tmp_path / "out")


def test_places_must_be_those_of_the_stems(tmp_path: Path) -> None:
    io.write(tmp_path / "a.wav", noise(8000, 0.1, 1))
    with pytest.raises(InputError, match="places must be given for low, high, none"):
        separate_file(tmp_path / "a.wav", {"low": tmp_path / "x.wav"}, Halves(), Separation())
    places = {"low": "-", "high": "-", "none": "-"}
    with pytest.raises(InputError, match="takes one stem"):
        separate_file(tmp_path / "a.wav", places, Halves(), Separation())


def test_progress_reaches_the_end(tmp_path: Path) -> None:
    io.write(tmp_path / "a.wav", noise(8000, 3.0, 1))
    steps: list[tuple[float, float]] = []
    run(tmp_path / "a.wav", tmp_path / "out", progress=lambda done, total: steps.append((done, total)))
    assert len(steps) > 3
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)
    assert steps[-1] == (3.0, 3.0)


@pytest.mark.parametrize("normalize", ["none", "rescale"])
def test_progress_may_stop_the_work_at_any_step(normalize: str, tmp_path: Path) -> None:
    io.write(tmp_path / "a.wav", noise(8000, 1.0, 1))
    form = FileFormat(normalize=normalize)
    steps: list[float] = []
    run(tmp_path / "a.wav", tmp_path / "whole", file_format=form, progress=lambda done, total: steps.append(done))
    assert steps == sorted(steps)
    for last in range(len(steps)):
        left = last

        def stop(done: float, total: float) -> None:
            nonlocal left
            if left == 0:
                raise KeyboardInterrupt
            left -= 1

        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "a.wav", tmp_path / "out", file_format=form, progress=stop)
        assert not (tmp_path / "out").exists()


def test_a_sheet_of_spectrograms(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for seconds in (0.001, 2.0):
        io.write(tmp_path / "a.wav", noise(8000, seconds, 2))
        run(tmp_path / "a.wav", tmp_path / "out", plot=tmp_path / "out" / "sheet.png")
        assert (tmp_path / "out" / "sheet.png").read_bytes()[:4] == b"\x89PNG"


def test_a_sheet_that_cannot_be_drawn_leaves_no_stems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    io.write(tmp_path / "a.wav", noise(8000, 0.5, 1))

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", full)
    with pytest.raises(InputError, match=r"out/sheet\.png: No space left on device$"):
        run(tmp_path / "a.wav", tmp_path / "out", plot=tmp_path / "out" / "sheet.png")
    assert [p.name for p in tmp_path.iterdir()] == ["a.wav"]


# --- many files


def tasks_in(folder: Path, count: int) -> list[Task]:
    tasks = []
    for number in range(count):
        source = folder / f"{number}.wav"
        io.write(source, noise(8000, 1.0 + number / 4, 1))
        places = {name: folder / "out" / str(number) / f"{name}.wav" for name in ("low", "high", "none")}
        tasks.append(Task(source, places, 1.0 + number / 4))
    return tasks


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_failure_stops_no_other_file(jobs: int, tmp_path: Path) -> None:
    tasks = tasks_in(tmp_path, 5)
    tasks[1].source.write_bytes(b"nonsense")
    tasks[3].source.unlink()
    seen: list[float] = []
    threads = torch.get_num_threads()
    outcomes = {}
    for task, outcome in separate_files(
        tasks, Halves(), Separation(), jobs=jobs, progress=lambda done, total, name: seen.append(done / total)
    ):
        outcomes[task.source.name] = outcome
    assert {name for name, outcome in outcomes.items() if isinstance(outcome, InputError)} == {"1.wav", "3.wav"}
    assert len(outcomes) == 5
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["0", "2", "4"]
    assert seen == sorted(seen)
    assert max(seen) <= 1
    assert torch.get_num_threads() == threads


def test_jobs_do_not_change_the_samples(tmp_path: Path) -> None:
    found = []
    for jobs in (1, 4):
        folder = tmp_path / str(jobs)
        folder.mkdir()
        tasks = tasks_in(folder, 4)
        list(separate_files(tasks, Halves(), Separation(shifts=2, seed=5), jobs=jobs))
        found.append([place.read_bytes() for task in tasks for place in map(Path, task.places.values())])
    assert found[0] == found[1]


def test_giving_up_stops_the_other_threads(tmp_path: Path) -> None:
    """As ctrl-C in the consumer does: nothing half-written is left."""

    class Slow(Halves):
        def estimate(self, mix: Tensor) -> Tensor:
            threading.Event().wait(0.02)
            return super().estimate(mix)

    tasks = tasks_in(tmp_path, 1) + [Task(t.source, t.places, t.seconds) for t in tasks_in(tmp_path, 4)[1:]]
    io.write(tasks[1].source, noise(8000, 60.0, 1))
    io.write(tasks[2].source, noise(8000, 60.0, 1))
    outcomes = separate_files(tasks, Slow(channels=1), Separation(), jobs=3)
    next(outcomes)
    outcomes.close()
    assert not any(".wav" in p.name and p.name.startswith(".") for p in (tmp_path / "out").rglob("*"))
    assert not (tmp_path / "out" / "1").exists()


@pytest.mark.parametrize("rate", [8000, 11025])
def test_nothing_of_a_chunk_is_held_while_the_next_is_separated(
    rate: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[weakref.ref[np.ndarray]] = []
    original = StreamResampler.process

    def process(self: StreamResampler, block: np.ndarray) -> np.ndarray:
        found = original(self, block)
        if len(block) == 6 and found.size:
            given.append(weakref.ref(found))
        return found

    class Counts(Halves):
        def estimate(self, mix: Tensor) -> Tensor:
            held.append(sum(reference() is not None for reference in given))
            return super().estimate(mix)

    held: list[int] = []
    monkeypatch.setattr(StreamResampler, "process", process)
    io.write(tmp_path / "a.wav", noise(rate, 3.0, 2))
    run(tmp_path / "a.wav", tmp_path / "out", Counts())
    assert len(given) > 5
    assert max(held) == 0


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Of a fresh process each: 10 s and 3 min of stereo, whose mix alone would be 57 MB more; malloc wastes some 10."""
    peaks = []
    for seconds in (10, 180):
        source = tmp_path / f"{seconds}.flac"
        soundfile.write(source, np.zeros((44100 * seconds, 2), dtype=np.int16) + 5, 44100)
        code = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
import torch; torch.set_num_threads(1)
from test_separation_jobs import Halves
from wavegen.separation_jobs import Separation, separate_file
names = ("low", "high", "none")
places = {{n: Path({str(tmp_path)!r}) / "out" / f"{{n}}.flac" for n in names}}
model = Halves(rate=44100)
model.chunk_seconds = 4.0
separate_file({str(source)!r}, places, model, Separation())
print([l for l in open("/proc/self/status") if l.startswith("VmHWM")][0].split()[1])
"""
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
        peaks.append(int(done.stdout) / 1024)
    assert peaks[1] - peaks[0] < 40, peaks
