"""``wavegen train`` and ``wavegen evaluate``: what they hand on, and what they refuse."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wavegen.audio import io
from wavegen.audio.io import Audio
from wavegen.cli.main import main
from wavegen.evaluation import protocol
from wavegen.training import run
from wavegen.training.data import Utterance, split_by_text


def held_out_texts(count: int) -> list[str]:
    texts = (f"sentence number {n}" for n in range(10000))
    found = [t for t in texts if split_by_text([Utterance("x", t, Path())])["test"]]
    return found[:count]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three held-out recordings of a buzzing tone in LJSpeech layout; the working directory is an empty folder."""
    folder = tmp_path / "data"
    (folder / "wavs").mkdir(parents=True)
    lines = []
    for index, text in enumerate(held_out_texts(3)):
        phase = 2 * np.pi * np.cumsum(np.linspace(120, 160, 24000)) / 24000
        buzz = sum(np.sin(k * phase) / k for k in range(1, 20))
        noise = np.random.default_rng(index).normal(0, 0.01, 24000)
        io.write(folder / "wavs" / f"r{index}.wav", Audio((0.2 * buzz + noise).astype(np.float32), 24000))
        lines.append(f"r{index}|{text}\n")
    (folder / "metadata.csv").write_text("".join(lines), encoding="utf-8")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return folder


def test_train_hands_on_its_options(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    calls: list[tuple[Any, dict[str, Any]]] = []
    monkeypatch.setattr(run, "train", lambda config, **options: calls.append((config, options)))
    flags = ["--minutes", "1.5", "--resume", "--set", "loop.seed=3", "--set", "task.batch=2", "--device", "cpu"]
    assert main(["train", "a.yaml", "--data", "d", "--output", "o", *flags]) == 0
    assert main(["train", "b.yaml", "--data", "d", "-o", "o"]) == 0
    for _, options in calls:
        options.pop("progress")(1, 2)
    assert calls == [
        (
            Path("a.yaml"),
            {
                "data": Path("d"),
                "output": Path("o"),
                "minutes": 1.5,
                "resume": True,
                "overrides": ["loop.seed=3", "task.batch=2"],
                "device": "cpu",
                "quiet": False,
            },
        ),
        (
            Path("b.yaml"),
            {
                "data": Path("d"),
                "output": Path("o"),
                "minutes": None,
                "resume": False,
                "overrides": [],
                "device": None,
                "quiet": False,
            },
        ),
    ]
    assert capfd.readouterr().err.startswith("o: done in 0.0 minutes\n")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, "a.yaml: No such file"),
        ("{", "a.yaml: not valid YAML"),
        ("kind: singing", "a.yaml.kind: must be one of"),
        ("kind: vocoder\nnonsense: 1", "a.yaml.nonsense: unknown key"),
    ],
)
def test_train_refuses(
    config: str | None,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if config is not None:
        Path("a.yaml").write_text(config)
    assert main(["train", "a.yaml", "--data", "d", "--output", "o"]) == 2
    shown = capfd.readouterr().err
    assert message in shown
    assert shown.count("\n") == 1
    assert not Path("o").exists()


def test_evaluate_a_vocoder(data: Path, vocoder: str, capfd: pytest.CaptureFixture[str]) -> None:
    flags = ["--no_perceptual", "--limit", "2", "--json", "scores.json", "--vocoder", vocoder]
    assert main(["evaluate", "vocoder", "--data", str(data), *flags]) == 0
    shown = capfd.readouterr()
    assert "griffin-lim" in shown.out
    assert "log-mel L1" in shown.out
    assert shown.err == "scores.json: written\n"
    scores = json.loads(Path("scores.json").read_text())
    assert [f["name"] for f in scores["candidate"]["files"]] == ["r0.wav", "r1.wav"]
    better = scores["baseline"]["pooled"]["log_mel_l1"]["value"]
    assert better < scores["candidate"]["pooled"]["log_mel_l1"]["value"]  # Griffin-Lim beats random weights


def test_scores_on_standard_output(data: Path, vocoder: str, capfd: pytest.CaptureFixture[str]) -> None:
    flags = ["--no_perceptual", "--limit", "1", "--json", "-", "--vocoder", vocoder]
    assert main(["evaluate", "vocoder", "--data", str(data), *flags]) == 0
    assert len(json.loads(capfd.readouterr().out)["candidate"]["files"]) == 1
    assert not Path("-").exists()


def test_evaluate_a_vocoder_alone(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, Any]] = []

    def spy(*arguments: Any, **options: Any) -> Any:
        calls.append({"recordings": arguments[1]} | options)
        raise KeyboardInterrupt

    monkeypatch.setattr(protocol, "evaluate_vocoder", spy)
    assert main(["evaluate", "vocoder", "--data", str(data), "--baseline", "none", "--vocoder", "griffin-lim"]) == 130
    assert calls[0]["baseline"] is None
    assert calls[0]["perceptual"] is True
    assert [path.name for path in calls[0]["recordings"]] == ["r0.wav", "r1.wav", "r2.wav"]


def test_evaluation_names_what_was_chosen(
    data: Path, vocoder: str, wavenet: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    calls: list[tuple[Any, str]] = []

    def spy(voice: Any, recordings: Any, **options: Any) -> Any:
        calls.append((voice, options["name"]))
        raise KeyboardInterrupt

    monkeypatch.setattr(protocol, "evaluate_vocoder", spy)
    for flags, name in (
        ([vocoder], f"{vocoder}, refined 8"),
        ([vocoder, "--refine", "0"], vocoder),
        (["griffin-lim", "--refine", "8"], "griffin-lim"),
        ([wavenet], wavenet),
        ([wavenet, "--temperature", "0.8"], f"{wavenet}, temperature 0.8"),
        (
            [wavenet, "--top-k", "5", "--top-p", "0.5", "--precision", "int8", "--seed", "2", "--refine", "4"],
            f"{wavenet}, top-k 5, top-p 0.5, seed 2, precision int8, refined 4",
        ),
    ):
        assert main(["evaluate", "vocoder", "--data", str(data), "--vocoder", *flags]) == 130
        assert calls[-1][1] == name
    assert calls[-1][0].vocoder.sampling.top_k == 5
    capfd.readouterr()
    assert main(["evaluate", "vocoder", "--data", str(data), "--vocoder", vocoder, "--seed", "1"]) == 2
    assert capfd.readouterr().err == f"error: seed: the vocoder {vocoder} does not sample; leave it out\n"


def test_evaluate_a_vocoder_that_samples(data: Path, wavenet: str) -> None:
    flags = ["--no-perceptual", "--limit", "1", "--baseline", "none", "--json", "scores.json", "--vocoder", wavenet]
    assert main(["evaluate", "vocoder", "--data", str(data), *flags, "--temperature", "0.5"]) == 0
    scores = json.loads(Path("scores.json").read_text())
    assert scores["candidate"]["name"] == f"{wavenet}, temperature 0.5"
    assert scores["candidate"]["pooled"]["log_mel_l1"]["value"] > 0


def test_evaluate_files_and_folders(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    def spy(vocoder: Any, recordings: Any, **options: Any) -> Any:
        calls.append(recordings)
        raise KeyboardInterrupt

    monkeypatch.setattr(protocol, "evaluate_vocoder", spy)
    flags = ["--baseline", "none", "--vocoder", "griffin-lim"]
    first = data / "wavs" / "r0.wav"
    assert main(["evaluate", "vocoder", str(data), str(first), *flags]) == 130
    assert [path.name for path in calls[0]] == ["r0.wav", "r1.wav", "r2.wav", "r0.wav"]
    assert main(["evaluate", "vocoder", str(first), "--seconds", "0.1", *flags]) == 130
    whole = io.read(first)
    start = round((whole.duration - 0.1) / 2 * whole.sample_rate)
    count = round(0.1 * whole.sample_rate)
    assert calls[1][0].samples.shape[1] == pytest.approx(count, abs=1)
    assert np.array_equal(calls[1][0].samples[:, :50], whole.samples[:, start : start + 50])


def test_evaluate_speech(
    data: Path, speech: str, vocoder: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    calls: list[Any] = []

    def evaluate(speak: Any, utterances: Any, *, copy: Any, progress: Any) -> Any:
        progress(1, 1, "x")
        calls.append(([u.id for u in utterances], speak("Hello."), copy(Audio(np.zeros(999, np.float32), 8000))))
        return protocol.SpeechEvaluation(pooled={}, sentences=[], utterances=[])

    monkeypatch.setattr(protocol, "evaluate_speech", evaluate)
    models = ["--model", speech, "--vocoder", vocoder]
    assert main(["evaluate", "speech", "--data", str(data), "--limit", "1", *models]) == 0
    assert main(["evaluate", "speech", *models]) == 0
    assert [ids for ids, _, _ in calls] == [["r0"], []]
    _, spoken, copied = calls[0]
    assert spoken.duration > 0.05
    assert copied.samples.shape == (1, 999)
    assert "measure" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "missing"], "missing/metadata.csv: No such file"),
        ([], "give recordings to score, or a speech folder"),
        (["--data", "DATA", "DATA"], "give recordings to score, or a speech folder"),
        (["DATA", "--seconds", "0"], "--seconds: must be positive, not 0"),
        (["missing.wav", "--limit", "-1"], "--limit: must be at least 1, not -1"),
        (["--data", "DATA", "--json", "missing/a.json"], "missing/a.json: there is no folder"),
        (["DATA", "--json", "DATA/RECORDING"], "r0.wav: is the input too"),
        ([""], "an empty name stands for no file or folder"),
        (["BARE"], "bare: no audio files in it"),
        (["missing.wav"], "missing.wav: No such file"),
        (["--data", "DATA", "--limit", "0"], "--limit: must be at least 1, not 0"),
        (["--data", "DATA", "--vocoder", "nobody"], "no model named 'nobody'"),
        (["--data", "EMPTY"], "none of its texts falls into the held-out part"),
    ],
)
def test_evaluate_refuses(arguments: list[str], message: str, data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    training_only = next(t for t in ("a", "b", "c", "d") if split_by_text([Utterance("x", t, Path())])["train"])
    Path("empty").mkdir()
    io.write("empty/r.wav", Audio(np.zeros(100, np.float32), 24000))
    Path("empty/metadata.csv").write_text(f"r|{training_only}\n")
    Path("bare").mkdir()
    recording = str(next(data.rglob("r0.wav")))
    places = {"DATA": str(data), "EMPTY": "empty", "BARE": "bare", "DATA/RECORDING": recording}
    assert main(["evaluate", "vocoder", *(places.get(a, a) for a in arguments)]) == 2
    shown = capfd.readouterr().err
    assert message in shown
    assert shown.count("\n") == 1


def test_evaluate_a_sampling_vocoder_beside_one_without_likelihood(
    data: Path, wavenet: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Only one of the two has bits per sample."""
    flags = ["--no-perceptual", "--limit", "1", "--seconds", "0.5", "--baseline", "griffin-lim"]
    assert main(["evaluate", "vocoder", "--data", str(data), "--vocoder", wavenet, *flags]) == 0
    row = next(line for line in capfd.readouterr().out.splitlines() if line.startswith("NLL, bits/sample"))
    assert row.count("–") == 2
