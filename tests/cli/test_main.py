"""The program as a whole: options, errors, statuses and the streams they go to."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import typer

import wavegen
from wavegen.audio import io
from wavegen.audio.io import Audio
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
        "", "speak", "compose", "render", "resynth", "mel", "mel continue", "mel fill", "mel interpolate",
        "mel transfer", "mel sample", "separate", "import", "train", "evaluate", "evaluate vocoder", "evaluate speech",
        "evaluate separation", "models", "models list", "models show", "info", "bench",
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
        ["render"], ["resynth"], ["resynth", "a.wav"], ["train"], ["evaluate"], ["evaluate", "singing"],
        ["models", "show"],
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


def test_a_reader_of_the_help_that_leaves_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "wavegen", "--help"], stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


def in_shell(command: str, cwd: Path, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    """Runs ``wavegen ARGUMENTS COMMAND``, where COMMAND is for the shell."""
    line = f'"$0" -m wavegen "$@" {command}'
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        ["/bin/sh", "-c", line, sys.executable, *arguments], capture_output=True, cwd=cwd, env=environment, check=False
    )


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")
def test_streams_that_are_closed(tmp_path: Path) -> None:
    """What is said to a closed stderr must not turn up in stdout, and a closed stdin is an empty one."""
    unheard = in_shell("2>&-", tmp_path, "speak", "", "-o", "-")
    assert (unheard.returncode, unheard.stdout) == (2, b"")
    unread = in_shell("<&-", tmp_path, "speak", "-")
    assert unread.returncode == 2
    assert unread.stderr == b"error: the text is empty: there is nothing to speak\n"
    unshown = in_shell(">&-", tmp_path, "--version")
    assert (unshown.returncode, unshown.stderr) == (0, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_streams_that_are_full(tmp_path: Path, speech: str, vocoder: str) -> None:
    shown = in_shell("> /dev/full", tmp_path, "models")
    assert (shown.returncode, shown.stderr) == (2, b"error: No space left on device\n")
    assert in_shell("2> /dev/full", tmp_path, "speak", "").returncode == 2
    models = ["--model", speech, "--vocoder", vocoder]
    assert in_shell("2> /dev/full", tmp_path, "speak", "Hi.", "-o", "a.wav", *models).returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
@pytest.mark.parametrize(
    ("number", "times", "status", "message"),
    [
        (signal.SIGINT, 1, 130, b"error: interrupted\n"),
        (signal.SIGINT, 3, 130, b"error: interrupted\n"),
        (signal.SIGTERM, 1, 143, b""),
    ],
)
def test_a_signal_leaves_nothing_behind(
    number: int, times: int, status: int, message: bytes, tmp_path: Path, speech: str, vocoder: str
) -> None:
    text = "One sentence. " * 4000
    with subprocess.Popen(
        [sys.executable, "-m", "wavegen", "speak", "-", "-o", "a.wav", "--model", speech, "--vocoder", vocoder],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    ) as program:
        assert program.stdin is not None
        assert program.stderr is not None
        program.stdin.write(text.encode())
        program.stdin.close()
        while program.poll() is None and not any(path.stat().st_size > 44 for path in tmp_path.iterdir()):
            time.sleep(0.01)
        for _ in range(times):
            program.send_signal(number)
            time.sleep(0.02)
        assert program.stderr.read() == message
    assert program.returncode == status
    assert list(tmp_path.iterdir()) == []


def seconds_computed(program: "subprocess.Popen[bytes]") -> float:
    """Of the processor's time, by Linux's count."""
    fields = Path(f"/proc/{program.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads Linux's /proc")
@pytest.mark.parametrize("command", ["resynth", "render", "speak"])
def test_ctrl_c_ends_what_is_sampled(command: str, tmp_path: Path, speech: str, wavenet: str) -> None:
    """With little work after the signal: wall time would also count what else the machine does."""
    random = np.random.default_rng(0)
    io.write(tmp_path / "in.wav", Audio(random.uniform(-0.5, 0.5, (2, 4_000_000)).astype(np.float32), 24000))
    np.save(tmp_path / "in.npy", random.normal(-4, 1, (20, 40_000)))
    arguments = {
        "resynth": ["in.wav"],
        "render": ["in.npy"],
        "speak": ["and then we went on " * 3000, "--model", speech],
    }[command]
    before = set(tmp_path.iterdir())
    with subprocess.Popen(
        [sys.executable, "-m", "wavegen", command, *arguments, "-o", "out.wav", "--vocoder", wavenet],
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    ) as program:
        assert program.stderr is not None
        while "_C.abi3.so" not in Path(f"/proc/{program.pid}/maps").read_text():
            time.sleep(0.01)
        time.sleep(1.0)
        assert program.poll() is None
        computed = seconds_computed(program)
        program.send_signal(signal.SIGINT)
        assert program.stderr.read() == b"error: interrupted\n"
        _, status, usage = os.wait4(program.pid, 0)
        program.returncode = os.waitstatus_to_exitcode(status)
    assert program.returncode == 130
    assert usage.ru_utime + usage.ru_stime - computed < 0.2
    assert set(tmp_path.iterdir()) == before
