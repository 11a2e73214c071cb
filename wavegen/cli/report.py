"""What the command line tells a person: always on stderr, so that stdout can carry audio."""

import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from wavegen.errors import WavegenError

FAILED = 1  # the exit status where files of a batch failed


@dataclass
class Report:
    """The state of one run of the command line, handed to the commands as ``ctx.obj``."""

    quiet: bool = False
    debug: bool = False
    started: float = field(default_factory=time.perf_counter)

    def say(self, message: str) -> None:
        if not self.quiet:
            with suppress(OSError):  # a stderr that is closed or full does not stop the work
                print(message, file=sys.stderr, flush=True)

    def elapsed(self) -> float:
        """Seconds since the command line began."""
        return time.perf_counter() - self.started

    @contextmanager
    def progress(self) -> Iterator[Callable[[float, float, str], None]]:
        """Gives a function to call with (done, total, what it is about); on a terminal, it draws a bar."""
        if self.quiet or not sys.stderr.isatty():
            yield lambda done, total, what: None
            return
        from rich.console import Console
        from rich.markup import escape
        from rich.progress import Progress

        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("")
            yield lambda done, total, what: bar.update(task, completed=done, total=total, description=escape(what))


class Failures:
    """The files of a batch that failed: a line for each on stderr, even with --quiet."""

    def __init__(self, report: Report, missing: Sequence[str] = ()) -> None:
        self.report = report
        self.count = 0
        self.late = 0  # those that failed while they were worked on
        for message in missing:
            self._tell(message)

    def _tell(self, message: str) -> None:
        self.count += 1
        with suppress(OSError):
            print(f"error: {' '.join(message.split())}", file=sys.stderr, flush=True)

    def add(self, source: str, error: Exception, *, late: bool = False) -> None:
        self.late += late
        if self.report.debug:
            traceback.print_exception(error)
        if isinstance(error, WavegenError):
            message = str(error)
            self._tell(message if source in message or source == "-" else f"{source}: {message}")
        else:
            self._tell(f"{source}: {type(error).__name__}: {error} (a fault in wavegen; --debug shows where)")
