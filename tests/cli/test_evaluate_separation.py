"""``wavegen evaluate separation``: the table, the file beside it, and what it refuses."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from wavegen.audio import io
from wavegen.audio.io import Audio
from wavegen.checkpoints import save
from wavegen.cli.main import main
from wavegen.separation.band_split import BandSplitLSTM, BandSplitLSTMConfig
from wavegen.separation.base import SeparatorSpec

STEMS = ("vocals", "drums", "other")
RATE = 8000


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tiny and twin of one spec, and speakers of another."""
    config = BandSplitLSTMConfig(
        channels=8, hidden=8, layers=1, bands=4, narrowest=2, head=8, n_fft=128, hop=32, context=0.05
    )
    folder = tmp_path_factory.mktemp("separators")
    for seed, (name, spec) in enumerate(
        {
            "tiny": SeparatorSpec(RATE, 2, STEMS),
            "twin": SeparatorSpec(RATE, 2, STEMS[::-1]),
            "speakers": SeparatorSpec(RATE, 1, ("speaker1", "speaker2"), interchangeable=True),
        }.items()
    ):
        torch.manual_seed(seed)
        save(folder / f"{name}.safetensors", BandSplitLSTM(config, spec))
    return folder


def songs(root: Path, gain: float = 1.0, names: tuple[str, ...] = STEMS, channels: int = 2) -> Path:
    """Two songs of noises, a second each."""
    for song in ("a", "b"):
        random = np.random.default_rng(ord(song))
        for stem in names:
            (root / song).mkdir(parents=True, exist_ok=True)
            samples = gain * random.normal(0, 0.1, (channels, RATE)).astype(np.float32)
            io.write(root / song / f"{stem}.wav", Audio(samples, RATE), subtype="FLOAT")
    return root


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    songs(tmp_path / "data" / "test")
    return tmp_path / "data"


def rows(text: str) -> dict[str, list[str]]:
    cells = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {name: values for name, *values in cells}


def test_models_side_by_side(data: Path, models: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", "separation", "--data", str(data), "-o", "scores.json"]
    for name in ("tiny", "twin"):
        command += ["--model", str(models / f"{name}.safetensors")]
    assert main([*command, "--seconds", "0.5", "--shifts", "1", "--seed", "3"]) == 0
    shown = capfd.readouterr()
    assert shown.err == "scores.json: written\n"
    assert shown.out.startswith(
        "2 mixes at 8000 Hz of vocals, drums, other; dB\n\n| system | SI-SDR | SI-SDRi | SNR | "
    )
    table = rows(shown.out)
    assert list(table) == ["system", "---", "mixture", "IBM", "IRM", "tiny", "twin"]
    assert table["system"][:5] == ["SI-SDR", "SI-SDRi", "SNR", "global SDR", "SDR (museval v4)"]
    assert float(table["mixture"][1]) == 0
    assert float(table["IRM"][0]) > float(table["tiny"][0])
    assert table["tiny"] != table["twin"]
    scores = json.loads(Path("scores.json").read_text())
    assert scores["scored"] == {name: str(models / f"{name}.safetensors") for name in ("tiny", "twin")}
    assert scores["separation"] == {"shifts": 1, "overlap": None, "segment": None, "seed": 3}
    assert (scores["layout"], scores["split"], scores["seconds"]) == ("prepared", "test", 0.5)
    assert scores["machine"]["processor"]
    tiny = scores["systems"][3]
    assert (tiny["name"], len(tiny["items"])) == ("tiny", 2)
    assert f"{tiny['overall']['si_sdr']:.2f}" == table["tiny"][0]


def test_what_separate_wrote_is_scored_as_the_model_is(
    data: Path, models: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for song in ("a", "b"):
        stems = [io.read(data / "test" / song / f"{stem}.wav") for stem in STEMS]
        mix = Audio(np.sum([stem.samples for stem in stems], axis=0, dtype=np.float64), RATE)
        io.write(data / "test" / song / "mixture.wav", mix, subtype="FLOAT")
    model = ["--model", str(models / "tiny.safetensors")]
    mixes = str(data / "test" / "*" / "mixture.wav")
    assert main(["separate", mixes, "-o", "est", *model, "--filename-template", "{folder}/{stem}.{ext}"]) == 0
    assert main(["evaluate", "separation", "--data", str(data), *model, "--estimates", "est"]) == 0
    table = rows(capfd.readouterr().out)
    assert table["est"] == table["tiny"]


def test_estimates_alone(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    songs(Path("half"), 0.5)
    songs(Path("same"))
    command = ["evaluate", "separation", "--data", str(data / "test"), "--split", "none", "--limit", "1"]
    assert main([*command, "--estimates", "half", "--estimates", "same", "--json", "scores.json"]) == 0
    shown = capfd.readouterr()
    assert shown.out.startswith("1 mix at 8000 Hz of drums, other, vocals; dB\n")
    table = rows(shown.out)
    assert table["half"][:5] == ["100.00", table["half"][1], "6.02", "6.02", "6.02"]
    assert [table["same"][k] for k in (0, 2, 4)] == ["100.00"] * 3
    assert float(table["same"][1]) == pytest.approx(100 - float(table["mixture"][0]), abs=0.011)
    systems = {system["name"]: system for system in json.loads(Path("scores.json").read_text())["systems"]}
    assert systems["half"]["overall"]["snr"] == pytest.approx(20 * math.log10(2), abs=1e-5)
    assert main([*command, "--estimates", "half", "--stems", "vocals"]) == 0
    shown = capfd.readouterr()
    assert shown.out.startswith("1 mix at 8000 Hz of vocals; dB\n")
    assert shown.err == "note: in the mixes, but not scored: drums, other\n"


def test_speakers_are_scored_in_the_best_order(
    tmp_path: Path, models: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    songs(Path("data"), names=("speaker1", "speaker2"), channels=1)
    for song in ("a", "b"):
        Path("est", song).mkdir(parents=True)
        for number in (1, 2):
            source = Path("data", song, f"speaker{3 - number}.wav")
            Path("est", song, f"speaker{number}.wav").write_bytes(source.read_bytes())
    command = ["evaluate", "separation", "--data", "data", "--split", "none", "--estimates", "est"]
    for extra in ([], ["--model", str(models / "speakers.safetensors")]):
        assert main([*command, *extra]) == 0
        shown = capfd.readouterr().out
        assert shown.startswith("2 mixes at 8000 Hz of speaker1, speaker2, in the best order; dB\n")
        assert rows(shown)["est"][2] == "100.00"
    assert main([*command, "--ordered"]) == 0
    assert float(rows(capfd.readouterr().out)["est"][2]) < 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing option '--data'. See: wavegen evaluate separation --help"),
        (["--data", "missing", "--model", "TINY"], "missing: no such folder"),
        (["--data", "EMPTY", "--model", "TINY"], "test: no such folder; where pieces lie in"),
        (["--data", "EMPTY", "--split", "none", "--model", "TINY"], "empty: no folder with stems"),
        (["--data", "DATA", "--layout", "flat", "--model", "TINY"], "layout must be one of prepared, musdb18hq"),
        (["--data", "DATA", "--split", "dev", "--model", "TINY"], "split 'dev'; there are train, validation, test"),
        (["--data", "DATA", "--variant", "wav8k", "--model", "TINY"], "the layout prepared has none"),
        (["--data", "DATA", "--model", "nobody"], "no model named 'nobody'"),
        (["--data", "DATA", "--model", "VOCODER"], "what is needed here is a separator"),
        (["--data", "DATA", "--model", "SPEAKERS"], "a: has the stems drums, other, vocals, and none of speaker1"),
        (["--data", "DATA", "--model", "TINY", "--model", "SPEAKERS"], "speakers has the sources speaker1, speaker2"),
        (["--data", "DATA", "--model", "TINY", "--model", "TINY"], "tiny.safetensors: given twice"),
        (["--data", "DATA", "--model", "TINY", "--stems", "vocals"], "a model has sources of its own"),
        (["--data", "DATA", "--estimates", "EMPTY"], "empty/a/drums.wav: no such file"),
        (["--data", "DATA", "--estimates", "missing"], "missing: no such folder"),
        (["--data", "DATA", "--estimates", "EMPTY", "--stems", ","], "--stems: names no source"),
        (["--data", "DATA", "--model", "TINY", "--limit", "0"], "--limit: must be at least 1, not 0"),
        (["--data", "DATA", "--model", "TINY", "--seconds", "0"], "--seconds: must be positive, not 0"),
        (["--data", "DATA", "--model", "TINY", "--overlap", "1"], "overlap: must be a number from 0 to 0.9"),
        (["--data", "DATA", "--model", "TINY", "--device", "abacus"], "device 'abacus' cannot be used"),
        (["--data", "DATA", "--model", "TINY", "-o", "missing/a.json"], "missing/a.json: there is no folder"),
        (["--data", "DATA", "--model", "TINY", "-o", "VOCALS"], "vocals.wav: is the input too"),
    ],
)
def test_evaluate_separation_refuses(
    arguments: list[str], message: str, data: Path, models: Path, vocoder: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (data.parent / "empty").mkdir()
    places = {"DATA": str(data), "EMPTY": str(data.parent / "empty"), "VOCODER": vocoder}
    places |= {name.upper(): str(models / f"{name}.safetensors") for name in ("tiny", "speakers")}
    places["VOCALS"] = str(data / "test" / "a" / "vocals.wav")
    output = [] if "-o" in arguments else ["-o", "scores.json"]
    assert main(["evaluate", "separation", *(places.get(a, a) for a in arguments), *output]) == 2
    shown = capfd.readouterr()
    assert message in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("kind", ["nan", "nonsense", "cut"])
def test_a_broken_file_leaves_nothing_behind(
    kind: str, data: Path, models: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = data / "test" / "b" / "drums.wav"
    content = bytearray(path.read_bytes())
    if kind == "nan":
        content[-4:] = np.float32("nan").tobytes()
    path.write_bytes({"nan": bytes(content), "nonsense": b"RIFF", "cut": bytes(content[:30])}[kind])
    Path("scores.json").write_text("before")
    command = ["evaluate", "separation", "--data", str(data), "-o", "scores.json"]
    assert main([*command, "--model", str(models / "tiny.safetensors")]) == 2
    shown = capfd.readouterr()
    assert shown.err.startswith(f"error: {path}: ")
    assert shown.err.count("\n") == 1
    assert shown.out == ""
    assert [(p.name, p.read_text()) for p in Path().iterdir()] == [("scores.json", "before")]


def test_the_default_model_is_used(data: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from wavegen.checkpoints.registry import DEFAULTS

    monkeypatch.setitem(DEFAULTS, "separator", str(models / "tiny.safetensors"))
    assert main(["evaluate", "separation", "--data", str(data), "--limit", "1", "-o", "a.json"]) == 0
    assert json.loads(Path("a.json").read_text())["scored"] == {"tiny": str(models / "tiny.safetensors")}


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from wavegen.cli.main import main; main(['evaluate', 'separation', '--help']); "
        "assert not {'torch', 'numba', 'scipy'} & set(sys.modules)"
    )
    environment = os.environ | {"COLUMNS": "200"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert "--estimates" in done.stdout
