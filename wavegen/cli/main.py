"""The program ``wavegen``: the table of commands, the global options, and how errors leave."""

import atexit
import io
import os
import signal
import sys
import traceback
import warnings
from contextlib import suppress
from types import FrameType
from typing import Annotated, NoReturn

import typer
from typer.exceptions import Abort, Exit, TyperException

from wavegen import __version__
from wavegen.cli import bench, compose, evaluate, import_, info, mel, models, render, resynth, separate, speak, train
from wavegen.cli.report import Report
from wavegen.errors import WavegenError

USAGE = 2
INTERRUPTED = 130
BROKEN_PIPE = 141  # what a shell reports of a program that SIGPIPE ended
FAULT = 1
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")  # to end; not every system has them all

app = typer.Typer(
    name="wavegen",
    add_completion=False,
    invoke_without_command=True,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": lambda name: name.replace("_", "-"),  # --output_dir is --output-dir
    },
)
app.command()(speak.speak)
app.command()(compose.compose)
app.command()(render.render)
app.command()(resynth.resynth)
app.command()(separate.separate)
app.command("import")(import_.import_)
app.command()(train.train)
app.add_typer(mel.app, name="mel")
app.add_typer(evaluate.app, name="evaluate")
app.add_typer(models.app, name="models")
app.command()(bench.bench)
app.command()(info.info)


@app.callback()
def wavegen(
    context: typer.Context,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error came from.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    """Text in, waveform out: speech, music, vocoders, copy-synthesis and source separation.

    Messages go to stderr, audio to files or stdout. --quiet and --debug may also stand behind the command.
    """
    context.obj.quiet, context.obj.debug = quiet, debug
    if version:
        print(__version__)
        raise Exit
    if context.invoked_subcommand is None:
        print(context.get_help(), end="")


class _Terminated(KeyboardInterrupt):
    """A signal to end came from elsewhere: as after ctrl-C, what was begun is cleared away."""

    def __init__(self, number: int) -> None:
        self.number = number


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit status; never raises. Without arguments, it is the program itself."""
    is_program = arguments is None
    if is_program:
        _prepare_process()
    report = Report()
    command = typer.main.get_command(app)
    try:
        arguments = _globals_first(sys.argv[1:] if arguments is None else arguments)
        with warnings.catch_warnings():
            warnings.simplefilter("default", UserWarning)
            warnings.showwarning = lambda message, *_: report.say(f"warning: {message}")
            with command.make_context("wavegen", arguments, obj=report) as context:
                command.invoke(context)
        if sys.stdout is not None:
            sys.stdout.flush()
    except Exit as end:
        return end.exit_code
    except BaseException as error:
        if is_program:
            for name in SIGNALS:  # a second one must not disturb the way out
                if hasattr(signal, name):
                    signal.signal(getattr(signal, name), signal.SIG_IGN)
        if report.debug:
            traceback.print_exception(error)
        status = _leave(error)
        if is_program and isinstance(error, KeyboardInterrupt):
            _end(status)
        return status
    return 0


def _end(status: int) -> NoReturn:
    """End the process now: Python would first take torch apart, which lasts longer than who interrupts will wait."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, AttributeError):  # closed by the caller, or without a reader
            stream.flush()
    atexit._run_exitfuncs()
    os._exit(status)


def _prepare_process() -> None:
    """Fill in the streams that the caller closed, and let signals to end clear away what is half done."""
    # Python has None in their place: print would then turn to stdout, and reading fail in many ways.
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115 - open until the process ends
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr has it: names of files may be in any script
    for name in SIGNALS[1:]:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:  # nohup has it ignored
            signal.signal(number, _terminate)


def _terminate(number: int, _: FrameType | None) -> None:
    raise _Terminated(number)


def _command(error: TyperException) -> str:
    """The command whose usage was wrong, if any, with a space behind it."""
    context = getattr(error, "ctx", None)
    path = [] if context is None else context.command_path.split()[1:]
    return "".join(f"{word} " for word in path)


def _globals_first(arguments: list[str]) -> list[str]:
    """The global flags may stand behind the command too: move them to the front."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    flags = [a for a in arguments[:end] if a in ("--debug", "--quiet", "-q")]
    return sorted(flags) + [a for a in arguments[:end] if a not in flags] + arguments[end:]


def _leave(error: BaseException) -> int:
    """Say what went wrong in one line and return the exit status that goes with it."""
    match error:
        case _Terminated():
            return 128 + error.number
        case SystemExit():  # rich's answer to a reader of the help that has gone
            return BROKEN_PIPE
        case KeyboardInterrupt() | Abort():
            return _say("interrupted", INTERRUPTED)
        case _ if isinstance(error, BrokenPipeError) or isinstance(error.__cause__, BrokenPipeError):
            # The reader has gone; what is still buffered must not fail once more when Python shuts down.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return BROKEN_PIPE
        case WavegenError():
            return _say(str(error), USAGE)
        case TyperException():
            return _say(f"{error.format_message().rstrip('.')}. See: wavegen {_command(error)}--help", USAGE)
        case OSError():
            where = f"{error.filename}: " if error.filename else ""
            return _say(f"{where}{error.strerror or error}", USAGE)
        case _:
            return _say(f"{type(error).__name__}: {error} (a fault in wavegen; --debug shows where)", FAULT)


def _say(message: str, status: int) -> int:
    with suppress(OSError):  # nobody can be told where stderr is closed or full
        print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return status
