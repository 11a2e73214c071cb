"""The benchmark of separation: which test a model gets, the tables it prints and writes, and what it times."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from wavegen.errors import InputError
from wavegen.separation.base import Separator, SeparatorSpec

RATE = 8000


@pytest.fixture(scope="module")
def benchmark_module(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("benchmarks/separation.py")


class Shares(Separator):
    """The mix in equal parts."""

    context, hop, config = 0, 80, SimpleNamespace(hop=80)

    def __init__(self, *sources: str, interchangeable: bool = False) -> None:
        super().__init__()
        self.spec = SeparatorSpec(RATE, 1, sources, interchangeable)

    def estimate(self, mix: Tensor) -> Tensor:
        return torch.stack([mix / len(self.spec.sources)] * len(self.spec.sources), dim=1)


class Reading(Shares):
    """One that says of everything that it is a piano's A4."""

    def read(self, mix: Tensor) -> "Reading":
        count = len(self.spec.sources)
        self.pitch = torch.zeros(1, count, 129, mix.shape[-1] // self.hop + 1)
        self.pitch[:, :, 69] = 1
        self.family = torch.zeros(1, count, 12)
        self.family[..., 2] = 1
        return self


MODELS = {
    "songs": Shares("drums", "bass", "other"),
    "speakers": Shares("speaker1", "speaker2", interchangeable=True),
    "voice": Shares("background", "voice"),
    "melodies": Reading("bass", "melody"),
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Rendered songs, real ones and speakers, of tones."""
    t = np.arange(9 * RATE) / RATE
    for number in range(2):
        folder = tmp_path / "stems" / "test" / f"{number:04d}"
        folder.mkdir(parents=True)
        facts = {}
        for name, hertz, pitch in (("drums", 1500, 38), ("bass", 110, 45), ("piano", 440, 69)):
            wave = np.sin(2 * np.pi * hertz * t) * (t % 0.5 < 0.1 if name == "drums" else 1)
            np.save(folder / f"{name}.npy", np.stack([9000 * wave] * 2, 1).astype(np.int16))
            facts[name] = {"notes": [[0.0, 9.0, pitch, 90, 0]], "monophonic": name != "drums"}
        (folder / "labels.json").write_text(json.dumps({"sample_rate": RATE, "stems": facts}))
        song = tmp_path / "songs" / f"song {number}"
        song.mkdir(parents=True)
        for name in ("drums", "bass"):
            noise = np.random.default_rng(len(name)).standard_normal((2 * RATE, 2))
            soundfile.write(song / f"{name}.ogg", 0.1 * noise, RATE)
    for number in range(60):  # of which a few are test speakers
        path = tmp_path / "speech" / f"s{number}" / "a.flac"
        path.parent.mkdir(parents=True)
        soundfile.write(path, 0.3 * np.sin(2 * np.pi * (150 + 10 * number) * t), RATE)
    return tmp_path


def arguments(data: Path, *more: str) -> list[str]:
    folders = ["--stems", str(data / "stems"), "--songs", str(data / "songs"), "--song", "song 1"]
    return [str(data / "out"), *folders, "--speech", str(data / "speech"), "--limit", "2", *more]


def test_every_model_gets_its_test(
    benchmark_module: ModuleType, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert {name: benchmark_module.kind(model) for name, model in MODELS.items()} == {name: name for name in MODELS}
    monkeypatch.setattr("wavegen.load", MODELS.__getitem__)
    (data / "more").symlink_to(data / "stems")
    benchmark_module.main(arguments(data, "--models", *MODELS, "--read", str(data / "more")))
    found = json.loads((data / "out" / "separation.json").read_text())
    titles = list(found["tests"])
    assert len(titles) == 6  # rendered songs, twice, and real ones, and one for each of the others
    systems = {title.split(" (")[0].split(",")[0]: [s["name"] for s in rows] for title, rows in found["tests"].items()}
    assert systems == {
        "rendered songs of unseen scores": ["mixture", "IBM", "IRM", "HPSS", "songs"],
        "the first of these once more": ["mixture", "IBM", "IRM", "HPSS", "songs"],
        "real songs kept out of training": ["mixture", "IBM", "IRM", "HPSS", "songs"],
        "2 speakers": ["mixture", "IBM", "IRM", "spectral clustering", "speakers"],
        "voice and background": ["mixture", "IBM", "IRM", "voice"],
        "melodies of unseen scores": ["mixture", "IBM", "IRM", "melodies"],
    }
    for rows in found["tests"].values():
        scores = {row["name"]: row["overall"] for row in rows}
        assert scores["IRM"]["si_sdr"] > scores["mixture"]["si_sdr"] + 3
    real = next(rows for title, rows in found["tests"].items() if title.startswith("real"))
    assert [item["name"] for item in real[0]["items"]] == ["song 1"]
    assert set(real[0]["items"][0]["leakage"]) == {"other"}  # a song without it
    rendered = next(rows for title, rows in found["tests"].items() if title.startswith("rendered"))
    hpss = next(row for row in rendered if row["name"] == "HPSS")
    assert hpss["sources"]["drums"]["si_sdr_i"]["value"] > 3
    bass, melody = found["heads"][:2]
    assert [row["scores"] for row in found["heads"]] == [
        str(data / name) for name in ("stems", "stems", "more", "more")
    ]
    assert found["heads"][2:] == [row | {"scores": str(data / "more")} for row in (bass, melody)]
    assert bass["examples"] == melody["examples"] == 10
    assert (bass["source"], bass["pitch"], bass["octaves left open"], bass["family"]) == ("bass", 0, 1, 0)  # A2 for A4
    assert (melody["source"], melody["pitch"], melody["family"]) == ("melody", 1, 1)
    assert "cores" in found["machine"]
    printed = capsys.readouterr().out
    assert f"| melodies | {data / 'stems'} | bass | 0.0 % | 100.0 % | 100.0 % | – | 0.0 % of 10 |" in printed
    assert printed.count("| IRM |") == 6


def test_narrowed_sources_end_at_half_of_the_rate(benchmark_module: ModuleType) -> None:
    rate, through = 44100, 20_000
    tones = np.sin(2 * np.pi * np.outer([3000.0, 15_000.0], np.arange(rate) / rate)).astype(np.float32)[:, None]
    (name, found), (_, same) = (
        next(benchmark_module.narrowed(lambda: iter([("a", tones)]), rate, t)) for t in (through, rate)
    )
    assert name == "a"
    assert found.shape == tones.shape
    middle = slice(2000, -2000)
    np.testing.assert_allclose(found[0, 0, middle], tones[0, 0, middle], atol=1e-3)
    assert np.abs(found[1, 0, middle]).max() < 1e-3
    assert same is tones or np.array_equal(same, tones)


def test_what_is_no_separator(benchmark_module: ModuleType, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wavegen.load", lambda name: torch.nn.Identity())
    with pytest.raises(InputError, match="x: not a separator"):
        benchmark_module.main(arguments(data, "--models", "x"))


def test_a_process_is_timed(benchmark_module: ModuleType) -> None:
    busy = (
        "import time\nx = bytearray(80 << 20)\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
    )
    large = np.ones(60_000_000)  # 480 MB of this process's own do not count
    found = benchmark_module.run([sys.executable, "-c", busy], dict(os.environ))
    assert large.any()
    assert found["wall"] > 0.3
    assert found["cpu"] > 0.3
    assert 80 < found["megabytes"] < 400
    with pytest.raises(InputError, match="failed: gone"):
        benchmark_module.run([sys.executable, "-c", "raise SystemExit('gone')"], dict(os.environ))


def test_the_file_that_is_timed(benchmark_module: ModuleType, data: Path) -> None:
    benchmark_module.music(data / "a.wav", data / "stems", 20.0)
    samples, rate = soundfile.read(data / "a.wav")
    assert samples.shape == (20 * 44100, 2)
    assert rate == 44100
    np.testing.assert_array_equal(samples[:44100], samples[18 * 44100 : 19 * 44100])  # the two songs, and again
    benchmark_module.music(data / "b.wav", data / "stems", 2.5)
    assert soundfile.info(data / "b.wav").frames == round(2.5 * 44100)
    benchmark_module.music(data / "c.wav", None, 1.5)
    noise, _ = soundfile.read(data / "c.wav")
    assert noise.shape == (66150, 2)
    assert noise.std() == pytest.approx(0.1, rel=0.05)


def test_speed_names_the_command(
    benchmark_module: ModuleType, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = []

    def run(command: list[str], environment: dict[str, str]) -> dict[str, float]:
        commands.append(command)
        return {"wall": 3.0, "cpu": 6.0, "megabytes": 321.0}

    monkeypatch.setattr(benchmark_module, "run", run)
    peer = data / "peer" / "demucs"
    peer.mkdir(parents=True)
    (peer / "__init__.py").write_text("")
    options = ["--speed", "--speed-model", "m", "--minutes", "0.05", "0.1", "--peer", str(data / "peer")]
    benchmark_module.main([str(data / "out"), *options])
    assert [command[2] for command in commands] == ["wavegen", benchmark_module.HTDEMUCS, "demucs", "wavegen"]
    assert commands[0][3:5] == ["separate", commands[2][-1]]  # the same file
    assert commands[0][-2:] == ["--model", "m"]
    printed = capsys.readouterr().out
    assert "| wavegen separate | 0.05 | 1.0 | 2.000 | 321 |" in printed
    assert "| wavegen separate | 0.1 | 2.0 | 1.000 | 321 |" in printed
    assert "| demucs (HTDemucs) | 0.05 | 1.0 | 2.000 | 321 |" in printed
    found = json.loads((data / "out" / "separation.json").read_text())
    assert [row["minutes"] for row in found["speed"]] == [0.05, 0.05, 0.1]
