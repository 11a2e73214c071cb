"""``wavegen bench``: what it prints and writes, and what it refuses. No test looks at how fast anything is."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from wavegen.cli.main import main
from wavegen.evaluation import speed
from wavegen.ops.wavenet import PackedWaveNet

SIZES = {"residual": 5, "gate": 3, "skip": 7, "head": 9, "layers": 3, "cycle": 2}
TINY = [word for name, value in SIZES.items() for word in (f"--{name}", str(value))] + ["--seconds", "0.02"]


def test_table_and_sentence(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *TINY, "--threads", "1"]) == 0
    shown = capfd.readouterr()
    assert shown.err == ""
    lines = shown.out.splitlines()
    assert sum(line.startswith(("1 stream, 1 thread, ", "16 streams, ")) for line in lines) == 2
    for precision in ("fp32", "bf16", "int8"):
        assert sum(line.startswith(f"kernels, {precision}") for line in lines) == 2
    assert re.fullmatch(
        r"WaveNet \(3 layers, 5 residual and 7 skip channels\): bf16 [\d,]+ samples/s on one core: "
        r"\S+ times real time at 24 kHz",
        lines[-1],
    )


def test_options_reach_the_benchmark(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    calls: list[tuple[Any, dict[str, Any]]] = []
    made = speed.measure

    def measure(config: speed.WaveNetConfig, **options: Any) -> speed.SpeedReport:
        calls.append((config, options))
        return made(config, streams=(1,), seconds=0.02)

    monkeypatch.setattr(speed, "measure", measure)
    arguments = [*TINY, "--width", "3", "--distribution", "gaussian", "--streams", "2", "--streams", "3"]
    arguments += ["--threads", "1", "--precision", "int8", "--instruction-set", "portable", "--compile"]
    arguments += ["--nv-wavenet", "nv", "--device", "cuda:1", "--quiet"]
    assert main(["bench", *arguments]) == 0
    ((config, options),) = calls
    options.pop("progress")(1, 2, "x")
    assert config == speed.WaveNetConfig(**SIZES, width=3, output="gaussian")
    assert options == {
        "streams": [2, 3],
        "threads": 1,
        "precisions": ["int8"],
        "device": "cuda:1",
        "instruction_set": "portable",
        "seconds": 0.02,
        "compiled": True,
        "nv_wavenet": Path("nv"),
    }


def test_json_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "speed.json"
    assert main(["bench", *TINY, "--streams", "2", "--threads", "1", "--precision", "fp32", "--json", str(path)]) == 0
    shown = capfd.readouterr()
    assert shown.err == f"{path}: written\n"
    assert "fp32" in shown.out
    (case,) = json.loads(path.read_text(encoding="utf-8"))["cases"]
    assert (case["streams"], case["threads"], list(case["kernels"])) == (2, 1, ["fp32"])


def test_json_on_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *TINY, "--streams", "1", "--precision", "int8", "--json", "-"]) == 0
    shown = capfd.readouterr()
    report = json.loads(shown.out)
    rate = report["cases"][0]["kernels"]["int8"]["rate"]
    assert 0 < rate["low"] <= rate["median"] <= rate["high"]
    assert report["config"]["layers"] == 3
    assert shown.err == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--streams", "0"], "streams must be from 1 to 65536"),
        (["--streams", "x"], "--streams"),
        (["--threads", "0"], "threads must be from 1"),
        (["--precision", "fp16"], "not 'fp16'"),
        (["--instruction-set", "mmx"], "not 'mmx'"),
        (["--seconds", "-1"], "seconds must be positive"),
        (["--layers", "0"], "layers must be from 1 to 1024, not 0"),
        (["--residual", "5000"], "residual must be from 1 to 4096"),
        (["--width", "4"], "width must be 2 or 3"),
        (["--distribution", "normal"], "not 'normal'"),
        (["--device", "nowhere"], "'nowhere' cannot be used"),
        (["--nv-wavenet", "nv"], "nv-wavenet needs the device cuda"),
        (["--json", "no/such/folder/x.json"], "no/such/folder"),
    ],
)
def test_bad_options(arguments: list[str], message: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *arguments]) == 2
    shown = capfd.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert message in shown.err
    assert shown.err.count("\n") == 1


def test_a_wrong_kernel_is_not_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    right = PackedWaveNet.generate

    def wrong(self: PackedWaveNet, *given: Any, **options: Any) -> Any:
        values, parameters = right(self, *given, **options)
        return values, 2 * parameters

    monkeypatch.setattr(PackedWaveNet, "generate", wrong)
    path = tmp_path / "speed.json"
    assert main(["bench", *TINY, "--json", str(path)]) == 2
    shown = capfd.readouterr()
    assert shown.out == ""
    assert re.fullmatch(r"error: the fp32 kernels \(\w+\) are wrong and were not timed: [^\n]*\n", shown.err)
    assert not path.exists()
