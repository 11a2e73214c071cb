"""Text in, waveform out.

    import wavegen
    audio = wavegen.speak("Hello there.")
    audio.samples, audio.sample_rate

The public names are imported at first use: ``import wavegen`` itself loads nothing heavy.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wavegen.audio.io import Audio
    from wavegen.checkpoints import load
    from wavegen.music_jobs import compose, render_score
    from wavegen.pipelines import render, resynth, speak, speak_stream
    from wavegen.separation_jobs import separate

__version__ = "0.1.0"
__all__ = [
    "Audio",
    "__version__",
    "compose",
    "load",
    "render",
    "render_score",
    "resynth",
    "separate",
    "speak",
    "speak_stream",
]

_HOMES = {
    "Audio": "wavegen.audio.io",
    "compose": "wavegen.music_jobs",
    "load": "wavegen.checkpoints",
    "render": "wavegen.pipelines",
    "render_score": "wavegen.music_jobs",
    "resynth": "wavegen.pipelines",
    "separate": "wavegen.separation_jobs",
    "speak": "wavegen.pipelines",
    "speak_stream": "wavegen.pipelines",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
