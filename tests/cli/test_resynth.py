"""``wavegen resynth``: any audio in, the same shape of audio out; nothing written where the input is bad."""

import io as bytes_io
import sys
import types
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

import wavegen
from wavegen.audio import io
from wavegen.audio.io import Audio
from wavegen.cli.main import main


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def recording(name: str, rate: int = 24000, channels: int = 1, length: int = 6001) -> Audio:
    samples = np.random.default_rng(length).uniform(-0.5, 0.5, (channels, length)).astype(np.float32)
    io.write(name, Audio(samples, rate), subtype="PCM_24" if name.endswith(("wav", "flac")) else None)
    return Audio(samples, rate)


@pytest.mark.parametrize(
    ("name", "rate", "channels", "length"),
    [
        ("a.wav", 8000, 1, 9001), ("a.wav", 44100, 7, 5003), ("a.flac", 48000, 2, 20000),
        ("a.wav", 24000, 1, 1), ("a.wav", 96000, 2, 255), ("a.ogg", 22050, 2, 4000),
    ],
)  # fmt: skip
def test_the_copy_has_the_same_shape(
    name: str, rate: int, channels: int, length: int, vocoder: str, capfd: pytest.CaptureFixture[str]
) -> None:
    recording(name, rate, channels, length)
    assert main(["resynth", name, "-o", f"copy-{name}", "--vocoder", vocoder, "--refine", "0"]) == 0
    source, copy = io.info(name), io.info(f"copy-{name}")
    assert (copy.sample_rate, copy.channels, copy.frames) == (rate, channels, source.frames)
    assert copy.subtype == source.subtype
    assert capfd.readouterr().err.startswith(f"copy-{name}: ")


def test_several_files_go_into_a_folder(vocoder: str, capfd: pytest.CaptureFixture[str]) -> None:
    recording("a.wav", 8000)
    recording("b.flac", 44100, 2)
    assert main(["resynth", "a.wav", "b.flac", "-o", "out", "--vocoder", vocoder, "--refine", "0"]) == 0
    assert sorted(path.name for path in Path("out").iterdir()) == ["a.wav", "b.flac"]
    assert io.info("out/b.flac").channels == 2
    assert len(capfd.readouterr().err.splitlines()) == 2


def test_one_file_into_a_folder_that_is_there(vocoder: str) -> None:
    recording("a.wav")
    Path("out").mkdir()
    assert main(["resynth", "a.wav", "-o", "out", "--vocoder", vocoder]) == 0
    assert io.info("out/a.wav").frames == 6001


def test_a_vocoder_that_samples(wavenet: str, gaussian: str, capfd: pytest.CaptureFixture[str]) -> None:
    audio = recording("a.wav", 44100, 2)
    flags = ["--temperature", "0.8", "--top-k", "50", "--top_p", "0.95", "--precision", "int8", "--seed", "3"]
    assert main(["resynth", "a.wav", "-o", "b.wav", "--bit-depth", "float", "--vocoder", wavenet, *flags]) == 0
    options = {"temperature": 0.8, "top_k": 50, "top_p": 0.95, "precision": "int8", "seed": 3}
    expected = wavegen.resynth(io.read("a.wav"), vocoder=wavenet, **options)
    copy = io.read("b.wav")
    assert copy.samples.shape == audio.samples.shape
    np.testing.assert_allclose(copy.samples, expected.samples, atol=1e-6)
    capfd.readouterr()
    for vocoder, wrong, message in (
        (wavenet, ["--precision", "fp64"], "precision must be one of fp32, bf16, int8, not 'fp64'"),
        (wavenet, ["--temperature", "-1"], "temperature: must be a number from 0 to 100, not -1.0"),
        (gaussian, ["--top-k", "5"], "top_k and top_p choose among classes; this model's output has none"),
        ("griffin-lim", ["--seed", "0"], "seed: the vocoder griffin-lim does not sample; leave it out"),
    ):
        assert main(["resynth", "a.wav", "-o", "c.wav", "--vocoder", vocoder, *wrong]) == 2
        assert capfd.readouterr().err == f"error: {message}\n"
        assert not Path("c.wav").exists()


def test_progress_within_a_file_and_over_files(vocoder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from wavegen.cli.report import Report

    steps: list[tuple[float, float, str]] = []
    monkeypatch.setattr(Report, "progress", lambda self: nullcontext(lambda *step: steps.append(step)))
    recording("a.wav", length=150_000)
    recording("b.wav")
    assert main(["resynth", "a.wav", "b.wav", "-o", "out", "--vocoder", vocoder, "--refine", "0"]) == 0
    assert [done for done, _, _ in steps] == sorted(done for done, _, _ in steps)
    assert {name for done, _, name in steps if done <= 1} == {"a.wav"}
    assert any(0 < done < 0.9 for done, _, _ in steps)
    assert {done for done, _, _ in steps} >= {1.0, 2.0}
    assert steps[-1] == (2.0, 2, "b.wav")


def test_from_stdin_to_stdout(
    vocoder: str, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    audio = recording("a.wav", 44100, 2)
    stdin = types.SimpleNamespace(buffer=bytes_io.BytesIO(Path("a.wav").read_bytes()))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert main(["resynth", "-", "-o", "-", "--bit-depth", "float", "--refine", "0", "--vocoder", vocoder]) == 0
    copy = io.read(bytes_io.BytesIO(capfdbinary.readouterr().out))
    np.testing.assert_allclose(copy.samples, wavegen.resynth(audio, vocoder=vocoder, refine=0).samples, atol=1e-4)


def test_griffin_lim_keeps_a_tone() -> None:
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(22050) / 44100).astype(np.float32)
    io.write("tone.wav", Audio(tone, 44100))
    assert main(["resynth", "tone.wav", "-o", "copy.wav", "--vocoder", "griffin-lim"]) == 0
    spectrum = np.abs(np.fft.rfft(io.read("copy.wav").samples[0]))
    assert abs(int(spectrum.argmax()) * 2 - 440) < 12


def test_clipping_is_told(vocoder: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    from wavegen import pipelines

    recording("a.wav")
    original = pipelines.vocoded
    monkeypatch.setattr(pipelines, "vocoded", lambda wave: original(wave) * 1e6)
    assert main(["resynth", "a.wav", "-o", "b.wav", "--vocoder", vocoder]) == 0
    lines = capfd.readouterr().err.splitlines()
    assert lines[0].startswith("warning: b.wav: ")
    assert "clipped" in lines[0]


def test_a_picture_of_the_copy(vocoder: str, capfd: pytest.CaptureFixture[str]) -> None:
    recording("a.wav")
    assert main(["resynth", "a.wav", "-o", "b.wav", "--plot", "b.png", "--vocoder", vocoder]) == 0
    assert Path("b.png").read_bytes().startswith(b"\x89PNG")
    assert capfd.readouterr().err.endswith("b.png: drawn\n")
    for place in ("-", "out"):
        sources = ["a.wav"] if place == "-" else ["a.wav", "b.wav"]
        assert main(["resynth", *sources, "-o", place, "--plot", "c.png", "--vocoder", vocoder]) == 2
        assert "--plot" in capfd.readouterr().err
    assert not Path("out").exists()


def make_bad_inputs() -> None:
    recording("good.wav")
    good = Path("good.wav").read_bytes()
    Path("empty.wav").write_bytes(b"")
    Path("text.wav").write_text("this is no audio")
    Path("header.wav").write_bytes(good[:44])
    Path("cut.flac").write_bytes(b"fLaC" + bytes(20))
    Path("folder.wav").mkdir()
    Path("sub").mkdir()
    Path("sub/good.wav").write_bytes(good)
    Path("link.wav").symlink_to("good.wav")
    io.write("nan.wav", Audio(np.zeros((1, 4000), np.float32), 24000), subtype="FLOAT")
    nan = bytearray(Path("nan.wav").read_bytes())
    nan[-400:-396] = np.array([np.nan], "<f4").tobytes()
    Path("nan.wav").write_bytes(bytes(nan))


@pytest.mark.parametrize(
    "name", ["missing.wav", "empty.wav", "text.wav", "header.wav", "cut.flac", "folder.wav", "nan.wav"]
)
def test_bad_input(name: str, vocoder: str, capfd: pytest.CaptureFixture[str]) -> None:
    make_bad_inputs()
    assert main(["resynth", name, "-o", "out.wav", "--vocoder", vocoder]) == 2
    shown = capfd.readouterr().err
    assert shown.startswith(f"error: {name}: ")
    assert shown.count("\n") == 1
    assert not Path("out.wav").exists()
    assert not [path for path in Path().iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["good.wav", "-o", "good.wav"], "good.wav: is the input too"),
        (["good.wav", "-o", "."], "good.wav: is the input too"),
        (["good.wav", "-o", "missing/out.wav"], "missing/out.wav"),
        (["good.wav", "-o", "out.docx"], "out.docx"),
        (["good.wav", "text.wav", "-o", "-"], "standard output takes one file"),
        (["good.wav", "./good.wav", "-o", "out"], "good.wav: several inputs have this name"),
        (["good.wav", "text.wav", "-o", "text.wav"], "text.wav: cannot be made"),
        (["sub/good.wav", "link.wav", "-o", "."], "good.wav: is the input too"),
        (["good.wav", "-o", "out.wav", "--plot", "./good.wav"], "good.wav: is the input too"),
        (["", "-o", "out.wav"], "an empty name stands for no file or folder"),
        (["good.wav", "nan.wav", "-o", "out", "--vocoder", "nobody"], "no model named 'nobody'"),
        (["good.wav", "-o", "out.wav", "--plot", "a.txt"], "a.txt: a picture ends in"),
        (["good.wav", "-o", "out.wav", "--plot", "missing/a.png"], "missing/a.png: there is no folder"),
        (["good.wav", "-o", "out.wav", "--bit-depth", "8"], "--bit-depth"),
        (["good.wav", "-o", "out.wav", "--vocoder", "nobody"], "no model named 'nobody'"),
    ],
)
def test_refused(arguments: list[str], message: str, vocoder: str, capfd: pytest.CaptureFixture[str]) -> None:
    make_bad_inputs()
    before = sorted(path.name for path in Path().iterdir())
    assert main(["resynth", "--vocoder", vocoder, *arguments]) == 2
    shown = capfd.readouterr().err
    assert message in shown
    assert shown.count("\n") == 1
    assert sorted(path.name for path in Path().iterdir()) == before


def test_a_speech_model_is_no_vocoder(speech: str, capfd: pytest.CaptureFixture[str]) -> None:
    recording("a.wav")
    assert main(["resynth", "a.wav", "-o", "b.wav", "--vocoder", speech]) == 2
    shown = capfd.readouterr().err
    assert "speech" in shown
    assert "vocoder" in shown


def test_a_bad_file_does_not_stop_the_others(vocoder: str, capfd: pytest.CaptureFixture[str]) -> None:
    make_bad_inputs()
    recording("last.wav")
    assert main(["resynth", "good.wav", "text.wav", "nan.wav", "last.wav", "-o", "out", "--vocoder", vocoder]) == 1
    shown = capfd.readouterr().err
    for name in ("text.wav", "nan.wav"):
        assert shown.count(f"error: {name}: ") == 1
    assert shown.endswith("4 files: 2 copied, 2 failed\n")
    assert sorted(path.name for path in Path("out").iterdir()) == ["good.wav", "last.wav"]
    assert main(["resynth", "text.wav", "missing.wav", "-o", "new/out", "--vocoder", vocoder]) == 1
    assert not Path("new").exists()
