"""``wavegen mel``: each command does what the function does; nothing is written where the input is bad."""

from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from wavegen import mel_jobs
from wavegen.acoustic.mel_lstm import MelLSTM, MelLSTMConfig
from wavegen.acoustic.mel_vae import MelVAE, MelVAEConfig
from wavegen.audio import io
from wavegen.audio.features import FeatureSpec
from wavegen.audio.io import Audio
from wavegen.checkpoints import save
from wavegen.cli.mel import app
from wavegen.cli.report import Report
from wavegen.errors import InputError

SPEC = FeatureSpec(bands=20)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(3)
    sizes = MelVAEConfig(content=4, timbre=3, channels=16, layers=1, fine=8, fine_layers=1, kernel=3, prior=8)
    save(folder / "vae.safetensors", MelVAE(sizes, SPEC))
    save(folder / "lstm.safetensors", MelLSTM(MelLSTMConfig(hidden=8, layers=1, embedding=8, components=2), SPEC))
    return folder


@pytest.fixture(autouse=True)
def recordings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """a.wav (24 kHz, mono), b.wav (16 kHz, stereo) and short.wav in the present folder."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for name, rate, channels in (("a.wav", 24000, 1), ("b.wav", 16000, 2)):
        samples = random.uniform(-0.3, 0.3, (channels, rate // 2)).astype(np.float32)
        io.write(name, Audio(samples, rate), subtype="FLOAT")
    io.write("short.wav", Audio(np.full((1, 100), 0.1), 24000))


def run(*arguments: str) -> str:
    """What is said on stderr; an error of the command is raised."""
    result = CliRunner().invoke(app, list(arguments), obj=Report())
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stderr


def test_continue(models: Path, vocoder: str) -> None:
    chosen = ("--model", str(models / "lstm.safetensors"), "--vocoder", vocoder)
    flags = ("--seconds", "0.3", "--temperature", "0.5", "--seed", "4", "--bit-depth", "float")
    said = run("continue", "b.wav", "-o", "c.wav", *flags, *chosen)
    assert said.startswith("c.wav: 0.80 s at 16000 Hz")
    expected = mel_jobs.continue_audio(io.read("b.wav"), 0.3, temperature=0.5, seed=4, model=chosen[1], vocoder=vocoder)
    np.testing.assert_allclose(io.read("c.wav").samples, expected.samples, atol=1e-6)


@pytest.mark.parametrize("subtype", ["FLOAT", "PCM_24", "PCM_16"])
def test_the_recordings_own_samples_stay(subtype: str, models: Path, vocoder: str) -> None:
    io.write("own.wav", io.read("b.wav"), subtype=subtype)
    source = io.read("own.wav").samples
    lstm, vae = (("--model", str(models / f"{name}.safetensors"), "--vocoder", vocoder) for name in ("lstm", "vae"))
    run("continue", "own.wav", "-o", "c.wav", "--seconds", "0.3", *lstm)
    run("fill", "own.wav", "-o", "f.wav", "--from", "0.1", "--to", "0.3", *vae)
    kept = source.shape[1] - 480  # the last 0.03 s give way
    assert np.array_equal(io.read("c.wav").samples[:, :kept], source[:, :kept])
    assert np.array_equal(io.read("f.wav").samples[:, 4800:], source[:, 4800:])
    assert io.info("c.wav").subtype == io.info("f.wav").subtype == subtype


def test_silence_goes_on_and_that_is_said(models: Path, vocoder: str) -> None:
    sound = io.read("a.wav")
    faded = sound.samples.copy()
    faded[:, -sound.sample_rate // 4 :] *= 5e-4
    io.write("faded.wav", Audio(faded, sound.sample_rate))
    chosen = ("--model", str(models / "lstm.safetensors"), "--vocoder", vocoder, "--seconds", "0.2")
    assert "ends in silence" in run("continue", "faded.wav", "-o", "c.wav", *chosen)
    assert "silence" not in run("continue", "a.wav", "-o", "c.wav", *chosen)


def test_fill(models: Path, vocoder: str) -> None:
    chosen = ("--model", str(models / "vae.safetensors"), "--vocoder", vocoder)
    run("fill", "b.wav", "-o", "c.wav", "--from", "0.1", "--to", "0.3", "--bit-depth", "float", *chosen)
    filled, source = io.read("c.wav").samples, io.read("b.wav").samples
    assert np.array_equal(filled[:, :1600], source[:, :1600])
    assert np.array_equal(filled[:, 4800:], source[:, 4800:])
    assert not np.array_equal(filled, source)


def test_interpolate_transfer_and_sample(models: Path, vocoder: str) -> None:
    chosen = ("--model", str(models / "vae.safetensors"), "--vocoder", vocoder)
    assert run("interpolate", "a.wav", "b.wav", "-o", "c.wav", "--steps", "3", *chosen).startswith("c.wav: 2.00 s")
    run("transfer", "a.wav", "b.wav", "-o", "d.flac", *chosen)
    assert io.info("d.flac").frames == 12000
    run("sample", "-o", "e.wav", "--seconds", "0.4", "--seed", "2", "--bit-depth", "float", *chosen)
    expected = mel_jobs.sample_mel(0.4, 2, model=chosen[1], vocoder=vocoder)
    np.testing.assert_allclose(io.read("e.wav").samples, expected.samples, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("continue", "a.wav", "-o", "a.wav"), "a.wav: is the input too"),
        (("transfer", "a.wav", "b.wav", "-o", "./b.wav"), "b.wav: is the input too"),
        (("continue", "missing.wav", "-o", "c.wav"), "missing.wav"),
        (("transfer", "a.wav", "short.wav", "-o", "c.wav"), "^short.wav: lasts 0.004 s"),
        (("fill", "a.wav", "-o", "c.wav", "--from", "0.3", "--to", "0.1"), "end: must lie after start"),
        (("fill", "a.wav", "-o", "c.wav", "--from", "0.1", "--to", "3"), "end: must be a number"),
        (("interpolate", "a.wav", "b.wav", "-o", "c.wav", "--steps", "1"), "steps"),
        (("sample", "-o", "c.wav", "--seconds", "0"), "seconds"),
        (("sample", "-o", "c.wav", "--bit-depth", "8"), "--bit-depth"),
        (("sample", "-o", "c.docx"), "c.docx"),
    ],
)
def test_refused(arguments: tuple[str, ...], message: str, models: Path, vocoder: str) -> None:
    kind = "lstm" if arguments[0] == "continue" else "vae"
    before = sorted(Path().iterdir())
    with pytest.raises(InputError, match=message):
        run(*arguments, "--model", str(models / f"{kind}.safetensors"), "--vocoder", vocoder)
    assert sorted(Path().iterdir()) == before


def test_usage() -> None:
    shown = CliRunner().invoke(app, ["--help"], obj=Report()).output
    for name in ("continue", "fill", "interpolate", "transfer", "sample"):
        assert name in shown
    assert CliRunner().invoke(app, ["fill", "a.wav", "-o", "c.wav"], obj=Report()).exit_code == 2
