"""What the command line tells a person: always on stderr, so that stdout can carry audio."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


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
