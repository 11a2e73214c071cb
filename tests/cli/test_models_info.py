"""``wavegen models`` and ``wavegen info``: what they print, and where."""

from pathlib import Path

import pytest

import wavegen
from wavegen.checkpoints import registry, save
from wavegen.cli.main import main
from wavegen.errors import KernelsError
from wavegen.evaluation import machine
from wavegen.ops import instruction_set


@pytest.fixture
def weights(tmp_path: Path, vocoder: str, speech: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of shipped weights: a default vocoder with its card, and a speech model without."""
    cards = {
        "voc": (vocoder, {"summary": "A vocoder for tests", "licence": "CC0-1.0"}),
        "talk": (speech, {"summary": "A voice", "licence": "CC-BY-4.0"}),
    }
    for name, (path, card) in cards.items():
        save(tmp_path / f"{name}.safetensors", wavegen.load(path), card=card)
    (tmp_path / "voc.md").write_text("# voc\n\nTrained on noise.\n", encoding="utf-8")
    monkeypatch.setattr(registry, "WEIGHTS", tmp_path)
    monkeypatch.setattr(registry, "DEFAULTS", {"vocoder": "voc", "speech": "other"})
    return tmp_path


@pytest.mark.parametrize("arguments", [["models"], ["models", "list"]])
def test_list(arguments: list[str], weights: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    shown = capfd.readouterr()
    assert shown.err == ""
    assert shown.out.splitlines() == [
        "   talk  speech-transformer  CC-BY-4.0  A voice",
        "*  voc   istft-vocoder       CC0-1.0    A vocoder for tests",
    ]


def test_list_without_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(registry, "WEIGHTS", tmp_path)
    assert main(["models", "list"]) == 0
    shown = capfd.readouterr()
    assert shown.out == ""
    assert "no models are installed" in shown.err


def test_show(weights: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "show", "voc"]) == 0
    assert capfd.readouterr().out.startswith("# voc\n\nTrained on noise.\n")


def test_a_kind_stands_for_its_model(weights: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "show", "istft-vocoder"]) == 0
    assert capfd.readouterr().out.startswith("# voc\n\nTrained on noise.\n")


def test_show_what_is_not_there(weights: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "show", "nobody"]) == 2
    shown = capfd.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert "nobody" in shown.err


def test_info(weights: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import torch

    assert main(["info"]) == 0
    shown = capfd.readouterr()
    facts = dict(line.split(maxsplit=1) for line in shown.out.splitlines())
    assert facts["wavegen"] == wavegen.__version__
    assert facts["torch"] == torch.__version__
    assert facts["processor"].startswith(torch.backends.cpu.get_cpu_capability())
    assert facts["devices"].startswith("cpu")
    assert facts["models"] == "talk, voc"
    assert "MISSING" not in shown.out
    offered = facts["compiled"].partition("offered: ")[2].partition(";")[0].split(", ")
    assert facts["compiled"].startswith(f"ops  {instruction_set()} in use; ")
    assert instruction_set() in offered
    assert "portable" in offered
    assert facts["compiled"].rpartition("; ")[2] in ("CUDA kernels: built", "CUDA kernels: not built")


def test_info_without_kernels(
    weights: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def missing() -> None:
        raise KernelsError("wavegen's compiled kernels do not load\n(no such file)")

    monkeypatch.setattr(machine, "extension", missing)
    assert main(["info"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert "compiled ops  wavegen's compiled kernels do not load (no such file)" in lines
    assert lines[-1].split() == ["models", "talk,", "voc"]


def test_info_with_an_instruction_set_that_is_not_there(
    weights: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def missing() -> str:
        raise KernelsError("WAVEGEN_CPU_ISA is sse, but this processor offers portable")

    monkeypatch.setattr(machine, "instruction_set", missing)
    assert main(["info"]) == 0
    assert "compiled ops  WAVEGEN_CPU_ISA is sse, but this processor offers portable\n" in capfd.readouterr().out
