"""``wavegen speak``: what it writes where, what it says, and what it refuses without leaving a file behind."""

import io as bytes_io
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest

import wavegen
from wavegen.audio import io
from wavegen.cli.main import main

TEXT = "Good morning. How are you today?"


@pytest.fixture
def models(speech: str, vocoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The options that name small models; the working directory is an empty folder."""
    monkeypatch.chdir(tmp_path)
    return ["--model", speech, "--vocoder", vocoder]


def test_a_file(models: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["speak", TEXT, "-o", "hello.flac", *models]) == 0
    shown = capfd.readouterr()
    assert shown.out == ""
    said = re.fullmatch(
        r"hello\.flac: ([\d.]+) s of speech in ([\d.]+) s \(real-time factor ([\d.]+)\), "
        r"first sound ([\d.]+) s after the start\n",
        shown.err,
    )
    assert said is not None
    audio = io.read("hello.flac")
    assert audio.sample_rate == 24000
    assert float(said[1]) == pytest.approx(audio.duration, abs=0.006)
    assert float(said[4]) > 0
    expected = wavegen.speak(TEXT, model=models[1], vocoder=models[3])
    np.testing.assert_allclose(audio.samples, expected.samples, atol=1 / 32768)


def test_the_default_output(models: list[str]) -> None:
    assert main(["speak", TEXT, *models]) == 0
    assert [path.name for path in Path().iterdir()] == ["speech.wav"]


@pytest.mark.parametrize("flag", [["-q", "speak"], ["speak", "--quiet"]])
def test_quiet(flag: list[str], models: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main([*flag, TEXT, *models]) == 0
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("depth", "subtype"), [("16", "PCM_16"), ("24", "PCM_24"), ("float", "FLOAT")])
def test_bit_depth(depth: str, subtype: str, models: list[str]) -> None:
    assert main(["speak", "Hi.", "--bit-depth", depth, *models]) == 0
    assert io.info("speech.wav").subtype == subtype


def test_options_reach_the_pipeline(models: list[str]) -> None:
    options = {"speed": 1.5, "pitch": 2.0, "energy": 0.5, "variation": 0.9, "seed": 4, "sentence_silence": 0.4}
    flags = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    assert main(["speak", TEXT, "--sample-rate", "16000", "--bit-depth", "float", *flags, *models]) == 0
    expected = wavegen.speak(TEXT, sample_rate=16000, model=models[1], vocoder=models[3], **options)
    audio = io.read("speech.wav")
    assert audio.sample_rate == 16000
    np.testing.assert_allclose(audio.samples, expected.samples, atol=1e-6)


def test_a_vocoder_that_samples(models: list[str], wavenet: str, capfd: pytest.CaptureFixture[str]) -> None:
    drawn = [*models[:3], wavenet]
    options = {"seed": 4, "temperature": 0.6, "top_k": 100, "top_p": 0.9, "precision": "fp32"}
    flags = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    assert main(["speak", TEXT, "--bit-depth", "float", *flags, *drawn]) == 0
    expected = wavegen.speak(TEXT, model=models[1], vocoder=wavenet, **options)
    np.testing.assert_allclose(io.read("speech.wav").samples, expected.samples, atol=1e-6)
    Path("speech.wav").unlink()
    capfd.readouterr()
    line = refused(["speak", TEXT, "--temperature", "0.6", *models], capfd)
    assert line == f"error: temperature: the vocoder {models[3]} does not sample; leave it out\n"
    assert main(["speak", TEXT, "--seed", "4", *models]) == 0  # the speech model's


def test_raw_is_the_samples_of_the_file(models: list[str], capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["speak", TEXT, "-o", "a.wav", *models]) == 0
    capfdbinary.readouterr()
    assert main(["speak", TEXT, "--raw", *models]) == 0
    shown = capfdbinary.readouterr()
    samples = np.frombuffer(shown.out, "<i2")
    np.testing.assert_array_equal(samples, np.rint(io.read("a.wav").samples[0] * 32768))
    assert b"24000 Hz" in shown.err
    assert len(list(Path().iterdir())) == 1


def test_raw_comes_sentence_by_sentence(models: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The first sentence is out before the second is made."""
    out = bytes_io.BytesIO()
    monkeypatch.setattr(sys, "stdout", types.SimpleNamespace(buffer=out, flush=lambda: None))
    sizes: list[int] = []
    from wavegen.acoustic.speech import SpeechTransformer

    original = SpeechTransformer.synthesize

    def spy(self: SpeechTransformer, *arguments: object, **options: object) -> object:
        sizes.append(len(out.getvalue()))
        return original(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(SpeechTransformer, "synthesize", spy)
    assert main(["speak", "One. Two. Three.", "--raw", *models]) == 0
    assert len(sizes) == 3
    assert 0 == sizes[0] < sizes[1] < sizes[2] < len(out.getvalue())


def test_wav_to_standard_output(models: list[str], capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["speak", TEXT, "-o", "-", *models]) == 0
    shown = capfdbinary.readouterr()
    audio = io.read(bytes_io.BytesIO(shown.out))
    expected = wavegen.speak(TEXT, model=models[1], vocoder=models[3])
    np.testing.assert_allclose(audio.samples, expected.samples, atol=1 / 32768)
    assert shown.err.startswith(b"standard output: ")
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("source", ["-", "file"])
def test_where_the_text_comes_from(source: str, models: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    data = ("\ufeff" + TEXT + "\n").encode()
    Path("in.txt").write_bytes(data)
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=bytes_io.BytesIO(data)))
    given = ["-"] if source == "-" else ["--input_file", "in.txt"]
    assert main(["speak", *given, "-o", "a.wav", *models]) == 0
    assert main(["speak", TEXT, "-o", "b.wav", *models]) == 0
    assert Path("a.wav").read_bytes() == Path("b.wav").read_bytes()


def test_one_file_a_line(models: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    Path("in.txt").write_text("One.\n\n  Two, two.\nThree.\n", encoding="utf-8")
    assert main(["speak", "--input-file", "in.txt", "--output_dir", "new/out", *models]) == 0
    assert sorted(path.name for path in Path("new/out").iterdir()) == ["001.wav", "002.wav", "003.wav"]
    assert main(["speak", "Two, two.", "-o", "two.wav", *models]) == 0
    assert Path("new/out/002.wav").read_bytes() == Path("two.wav").read_bytes()
    assert len(capfd.readouterr().err.splitlines()) == 4


def test_a_text_is_not_overwritten(models: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    Path("d").mkdir()
    for place, where in ((Path("in.wav"), ["-o", "./in.wav"]), (Path("d/001.wav"), ["--output-dir", "d"])):
        place.write_text("One.\n", encoding="utf-8")
        assert main(["speak", "--input-file", str(place), *where, *models]) == 2
        assert f"{place}: is the input too; write to another file" in capfd.readouterr().err
        assert place.read_text(encoding="utf-8") == "One.\n"


def test_a_long_text(models: list[str]) -> None:
    text = ("the quick brown fox jumps over the lazy dog " * 300)[:10000]
    assert main(["speak", text, *models]) == 0
    assert io.info("speech.wav").duration > 60


def refused(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> str:
    """Runs the program, which must refuse in one line, and gives that line."""
    before = sorted(str(path) for path in Path().rglob("*"))
    assert main(arguments) == 2
    shown = capfd.readouterr()
    assert sorted(str(path) for path in Path().rglob("*")) == before
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1
    return shown.err


@pytest.mark.parametrize("text", ["", " \n", "***", "♪ ★"])
def test_nothing_to_say(text: str, models: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    refused(["speak", text, *models], capfd)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give one text"),
        (["x", "--input-file", "a.txt"], "give one text"),
        (["--input-file", "missing.txt"], "missing.txt: No such file"),
        (["--input-file", "."], "directory"),
        (["x", "--raw", "-o", "a.wav"], "--output and --raw"),
        (["x", "--output-dir", "d", "-o", "a.wav"], "--output and --output-dir"),
        (["x", "--raw", "--bit-depth", "24"], "--raw is always 16-bit"),
        (["x", "--bit-depth", "12"], "--bit-depth: must be one of 16, 24, float, not 12"),
        (["x", "--speed", "9"], "speed: must be a number from 0.25 to 4, not 9.0"),
        (["x", "--pitch", "nan"], "pitch: must be"),
        (["x", "--sample-rate", "1"], "sample_rate: must be"),
        (["x", "-o", "a.docx"], "a.docx"),
        (["x", "-o", "missing/a.wav"], "missing/a.wav"),
        (["x", "-o", "/dev/null/a.wav"], "/dev/null/a.wav"),
        (["x", "-o", "."], "."),
        (["x", "--output-dir", "/dev/null/d"], "/dev/null/d: cannot be made"),
        (["x", "-o", "a.flac", "--bit-depth", "float"], "a.flac"),
        (["x", "--device", "warp"], "device 'warp'"),
        (["One.\n***\nThree.", "--output-dir", "d"], "line 2: "),
        (["\n", "--output-dir", "d"], "text: is empty"),
        (["x", "--output-dir", ""], "an empty name stands for no file or folder"),
    ],
)
def test_refused(arguments: list[str], message: str, models: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert message in refused(["speak", *arguments, *models], capfd)


def test_text_that_is_not_utf8(models: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    Path("in.txt").write_bytes(b"caf\xe9")
    assert "in.txt: not UTF-8 text" in refused(["speak", "--input-file", "in.txt", *models], capfd)


def test_a_folder_as_output(models: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    Path("taken.wav").mkdir()
    assert "taken.wav" in refused(["speak", "x", "-o", "taken.wav", *models], capfd)


def test_a_model_of_another_kind(
    speech: str, vocoder: str, models: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    line = refused(["speak", "x", "--model", vocoder, "--vocoder", vocoder], capfd)
    assert "vocoder" in line
    assert "speech" in line
    line = refused(["speak", "x", "--model", speech, "--vocoder", speech], capfd)
    assert "vocoder" in line
    assert "speech" in line


def test_a_truncated_checkpoint(vocoder: str, models: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    Path("cut.safetensors").write_bytes(Path(vocoder).read_bytes()[:-100])
    assert "cut.safetensors" in refused(["speak", "x", *models[:2], "--vocoder", "cut.safetensors"], capfd)


def test_a_failure_halfway_leaves_no_file(
    models: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from wavegen import pipelines
    from wavegen.errors import CheckpointError

    calls = 0
    original = pipelines.vocoded

    def fail_later(wave: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise CheckpointError("bad weights")
        return original(wave)  # type: ignore[arg-type]

    monkeypatch.setattr(pipelines, "vocoded", fail_later)
    assert refused(["speak", TEXT, *models], capfd) == "error: bad weights\n"
