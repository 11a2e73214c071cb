"""``wavegen render``: mels from files, conventions checked or converted."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

import wavegen
from wavegen.audio import io
from wavegen.audio.features import CONVENTIONS, FeatureSpec
from wavegen.cli.main import main

SPEC = FeatureSpec(bands=20)
MEL = np.random.default_rng(0).normal(-4, 1, (20, 9)).astype(np.float32)


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def save_mel(name: str, mel: "np.typing.ArrayLike" = MEL, spec: FeatureSpec | None = None) -> str:
    stated = "" if spec is None else json.dumps(spec.to_dict())
    if spec is None:
        np.savez(name, mel=mel)
    else:
        np.savez(name, mel=mel, spec=stated)
    return name


def test_a_mel_without_convention(vocoder: str, capfd: pytest.CaptureFixture[str]) -> None:
    np.save("a.npy", MEL)
    assert main(["render", "a.npy", "-o", "a.wav", "--bit-depth", "float", "--vocoder", vocoder]) == 0
    np.testing.assert_allclose(io.read("a.wav").samples, wavegen.render(MEL, vocoder=vocoder).samples, atol=1e-6)
    assert capfd.readouterr().err == "a.wav: 0.10 s at 24000 Hz\n"


def test_to_standard_output(vocoder: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    np.save("a.npy", MEL)
    assert main(["render", "a.npy", "-o", "-", "--vocoder", vocoder]) == 0
    shown = capfdbinary.readouterr()
    assert shown.out.startswith(b"RIFF")
    assert shown.err == b"standard output: 0.10 s at 24000 Hz\n"


def test_a_mel_of_the_same_convention(vocoder: str) -> None:
    assert main(["render", save_mel("a.npz", spec=SPEC), "-o", "a.flac", "--vocoder", vocoder]) == 0
    assert io.info("a.flac").frames == 9 * 256


def test_another_convention_is_refused_unless_named(vocoder: str, capfd: pytest.CaptureFixture[str]) -> None:
    other = dataclasses.replace(SPEC, fmax=11000.0)
    save_mel("a.npz", spec=other)
    assert main(["render", "a.npz", "-o", "a.wav", "--vocoder", vocoder]) == 2
    shown = capfd.readouterr().err
    assert shown.startswith("error: a.npz: ")
    assert "fmax: 11000.0 != 12000.0" in shown
    assert not Path("a.wav").exists()
    Path("other.json").write_text(json.dumps(other.to_dict()))
    assert main(["render", "a.npz", "-o", "a.wav", "--vocoder", vocoder, "--spec", "other.json"]) == 0
    assert io.info("a.wav").frames == 9 * 256


def test_a_convention_may_be_stated_by_name(vocoder: str, capfd: pytest.CaptureFixture[str]) -> None:
    np.savez("named.npz", mel=MEL, spec="hifigan-22k")
    assert main(["render", "named.npz", "-o", "a.wav", "--vocoder", vocoder]) == 2
    assert "named.npz: has 20 bands, but its convention has 80" in capfd.readouterr().err


def test_a_named_convention_is_converted(vocoder: str) -> None:
    np.save("a.npy", np.full((80, 40), -5.0))
    assert main(["render", "a.npy", "-o", "a.wav", "--vocoder", vocoder, "--spec", "hifigan-22k"]) == 0
    assert io.info("a.wav").duration == pytest.approx(40 * 256 / 22050, abs=0.02)
    assert main(["render", "a.npy", "-o", "b.wav", "--vocoder", "griffin-lim", "--spec", "hifigan-22k"]) == 0
    assert io.info("b.wav").sample_rate == CONVENTIONS["hifigan-22k"].sample_rate


@pytest.mark.parametrize(
    ("mel", "message"),
    [
        (np.zeros((21, 9)), "has 21 bands"),
        (np.zeros((20, 0)), "no frames"),
        (np.full((20, 9), np.nan), "NaN"),
        (np.zeros((20, 9), int), "floating point"),
        (np.zeros((2, 20, 9)), "(2, 20, 9)"),
    ],
)
def test_a_bad_mel(mel: "np.typing.ArrayLike", message: str, vocoder: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["render", save_mel("a.npz", mel), "-o", "a.wav", "--vocoder", vocoder]) == 2
    shown = capfd.readouterr().err
    assert shown.startswith("error: a.npz: ")
    assert message in shown
    assert shown.count("\n") == 1
    assert not Path("a.wav").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.npy", "-o", "a.wav"], "missing.npy: No such file"),
        (["a.txt", "-o", "a.wav"], "a.txt: a mel is read from .npy, .npz or .pt files"),
        (["a.npz", "-o", "a.wav", "--spec", "unheard-of"], "no mel convention 'unheard-of'"),
        (["a.npz", "-o", "a.wav", "--vocoder", "nobody"], "no model named 'nobody'"),
        (["a.npz", "-o", "missing/a.wav"], "missing/a.wav"),
    ],
)
def test_refused(arguments: list[str], message: str, vocoder: str, capfd: pytest.CaptureFixture[str]) -> None:
    save_mel("a.npz")
    assert main(["render", "--vocoder", vocoder, *arguments]) == 2
    shown = capfd.readouterr().err
    assert message in shown
    assert shown.count("\n") == 1
    assert sorted(path.name for path in Path().iterdir()) == ["a.npz"]


def test_refinement_is_the_vocoders_own_by_default(vocoder: str, wavenet: str) -> None:
    np.save("a.npy", MEL)
    for name, refine in ((vocoder, 8), (wavenet, 0)):
        assert main(["render", "a.npy", "-o", "a.wav", "--bit-depth", "float", "--vocoder", name]) == 0
        expected = wavegen.render(MEL, vocoder=name, refine=refine).samples
        np.testing.assert_allclose(io.read("a.wav").samples, expected, atol=1e-6)


def test_options_of_sampling_reach_the_vocoder(wavenet: str) -> None:
    np.save("a.npy", MEL)
    options = {"temperature": 0.7, "top_k": 40, "top_p": 0.9, "precision": "fp32", "seed": 9}
    flags = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    assert main(["render", "a.npy", "-o", "a.wav", "--bit-depth", "float", "--vocoder", wavenet, *flags]) == 0
    samples = wavegen.render(MEL, vocoder=wavenet, **options).samples
    np.testing.assert_allclose(io.read("a.wav").samples, samples, atol=1e-6)
    for name in options:  # and each of them counts
        less = {key: value for key, value in options.items() if key != name}
        assert np.abs(wavegen.render(MEL, vocoder=wavenet, **less).samples - samples).max() > 1e-4, name


@pytest.mark.parametrize(
    ("flag", "value"), [("temperature", "0.5"), ("top-k", "3"), ("top-p", "0.5"), ("precision", "fp32"), ("seed", "0")]
)
def test_options_of_sampling_are_refused_where_nothing_is_sampled(
    flag: str, value: str, vocoder: str, capfd: pytest.CaptureFixture[str]
) -> None:
    np.save("a.npy", MEL)
    for name in (vocoder, "griffin-lim"):
        assert main(["render", "a.npy", "-o", "a.wav", "--vocoder", name, f"--{flag}", value]) == 2
        option = flag.replace("-", "_")
        assert capfd.readouterr().err == f"error: {option}: the vocoder {name} does not sample; leave it out\n"
        assert not Path("a.wav").exists()
