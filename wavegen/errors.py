"""The errors a user can cause or mend. The command line prints each as one line and exits with status 2."""


class WavegenError(Exception):
    """Base of every error whose message is meant for the user: one line that says what is wrong and where."""


class InputError(WavegenError, ValueError):
    """Something handed in (a file, a text, an option, an array) cannot be used."""


class MissingDependencyError(WavegenError, ImportError):
    """An optional package is not installed; the message names the command that installs it: pip with our ``extra``, or
    another ``command``.
    """

    def __init__(self, package: str, extra: str | None, purpose: str, *, command: str | None = None) -> None:
        how = command or f"pip install 'wavegen[{extra}]'"
        super().__init__(f"{purpose} needs {package}; install it with: {how}")


class KernelsError(WavegenError, ImportError):
    """The compiled kernels do not load, or lack what was asked of them; the message says how to build them."""


class CheckpointError(WavegenError):
    """A checkpoint file is damaged, of another kind, or of another format version."""
