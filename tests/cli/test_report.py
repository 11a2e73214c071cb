"""Messages and progress: on stderr only, and never on a terminal's stdout."""

import io
import sys

import pytest

from wavegen.cli.report import Report


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_messages_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    Report().say("hello")
    Report(quiet=True).say("hidden")
    assert capsys.readouterr() == ("", "hello\n")


def test_progress_is_drawn_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    drawn = {}
    for name, stream, quiet in (
        ("tty", Terminal(), False),
        ("quiet", Terminal(), True),
        ("pipe", io.StringIO(), False),
    ):
        monkeypatch.setattr(sys, "stderr", stream)
        with Report(quiet=quiet).progress() as step:
            step(1, 2, "a [bold] name")
            step(2, 2, "b")
        drawn[name] = stream.getvalue()
    assert "a [bold] name" in drawn["tty"] or "b" in drawn["tty"]
    assert drawn["quiet"] == drawn["pipe"] == ""


def test_time_passes() -> None:
    report = Report()
    assert 0 <= report.elapsed() <= report.elapsed() < 5
