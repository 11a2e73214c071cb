"""The program as a whole: options, errors, statuses and the streams they go to."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import wavegen
from wavegen.cli.main import app, main
from wavegen.errors import InputError


def wavegen_program(*arguments: str, cwd: Path) -> "subprocess.CompletedProcess[bytes]":
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "wavegen", *arguments], capture_output=True, cwd=cwd, env=environment, check=False
    )


def commands() -> dict[str, typer.main.TyperCommand]:  # type: ignore[name-defined]
    """Every command by its full name, those of groups too."""
    found = {}
    waiting = {"": typer.main.get_command(app)}
    while waiting:
        name, command = waiting.popitem()
        found[name] = command
        waiting |= {f"{name} {n}".strip(): c for n, c in getattr(command, "commands", {}).items()}
    return found


def test_the_commands() -> None:
    assert set(commands()) == {
        "", "speak", "render", "resynth", "train", "evaluate", "evaluate vocoder", "evaluate speech",
        "models", "models list", "models show", "info",
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_command_has_help_on_stdout(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([*name.split(), "--help"]) == 0
    shown = capfd.readouterr()
    assert "Usage: wavegen" in shown.out
    assert shown.err == ""


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_option_may_be_written_with_underscores(name: str) -> None:
    command = commands()[name]
    for parameter in command.params:
        for option in (o for o in parameter.opts if o.startswith("--") and "-" in o[2:]):
            spelled = "--" + option[2:].replace("-", "_")
            arguments = [spelled] if getattr(parameter, "is_flag", False) else [spelled, "1"]
            context = command.make_context(
                "wavegen", arguments, resilient_parsing=True, token_normalize_func=lambda n: n.replace("_", "-")
            )
            assert context.params[parameter.name] not in (None, parameter.default), option


def test_without_a_command_help_is_shown(capfd: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "speak" in capfd.readouterr().out


def test_version(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capfd.readouterr().out == f"{wavegen.__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["sing"], ["--loud"], ["speak", "x", "--loud"], ["speak", "x", "--speed", "fast"], ["speak", "x", "--speed"],
        ["render"], ["resynth"], ["resynth", "a.wav"], ["train"], ["evaluate", "singing"], ["models", "show"],
    ],
)  # fmt: skip
def test_wrong_usage(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    shown = capfd.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1


def test_an_error_is_one_line_and_status_2(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise InputError("x.wav: this\nand that")

    monkeypatch.setattr("wavegen.pipelines.speak_stream", refuse)
    assert main(["speak", "x"]) == 2
    assert capfd.readouterr().err == "error: x.wav: this and that\n"


@pytest.mark.parametrize("where", [["--debug", "speak", "x"], ["speak", "x", "--debug"]])
def test_debug_shows_the_traceback(
    where: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise InputError("no")

    monkeypatch.setattr("wavegen.pipelines.speak_stream", refuse)
    assert main(where) == 2
    shown = capfd.readouterr().err
    assert "Traceback" in shown
    assert shown.endswith("error: no\n")


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (KeyboardInterrupt(), 130, "error: interrupted"),
        (OSError(28, "No space left on device", "big.wav"), 2, "error: big.wav: No space left on device"),
        (ZeroDivisionError("division by zero"), 1, "error: ZeroDivisionError: division by zero (a fault in wavegen;"),
    ],
)
def test_how_errors_leave(
    error: BaseException,
    status: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("wavegen.pipelines.speak_stream", fail)
    assert main(["speak", "x"]) == status
    shown = capfd.readouterr().err
    assert shown.startswith(message)
    assert shown.count("\n") == 1


def test_as_a_module(tmp_path: Path) -> None:
    done = wavegen_program("speak", "", "-o", "x.wav", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == b""
    assert done.stderr == b"error: the text is empty: there is nothing to speak\n"
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_leaves_is_no_error(speech: str, vocoder: str) -> None:
    text = "One sentence. " * 400
    with subprocess.Popen(
        [sys.executable, "-m", "wavegen", "-q", "speak", text, "--raw", "--model", speech, "--vocoder", vocoder],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    ) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        assert len(program.stdout.read(1000)) == 1000
        program.stdout.close()
        assert program.stderr.read() == b""
    assert program.returncode == 141
