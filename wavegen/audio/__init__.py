"""Audio files in and out, resampling, features, pitch and plots.

`resample` is bound here at once because a submodule of the same name would otherwise take its place as soon as
anything imported it; the rest is loaded when first asked for (PEP 562).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from wavegen.audio.resample import resample

if TYPE_CHECKING:
    from wavegen.audio.io import Audio, info, read, write
    from wavegen.audio.io import blocks as stream

__all__ = ["Audio", "info", "read", "resample", "stream", "write"]

_IN_IO = {"Audio": "Audio", "info": "info", "read": "read", "stream": "blocks", "write": "write"}


def __getattr__(name: str) -> Any:
    if name not in _IN_IO:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module("wavegen.audio.io"), _IN_IO[name])
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
