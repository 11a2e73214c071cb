"""torchaudio beside any torch.

The torchaudio wheels on PyPI hold a library linked against CUDA, which cannot be loaded beside a CPU-only torch, so
that `import torchaudio` fails. Only forced alignment, the RNN-T loss and faster IIR filters live in that library;
functional, transforms, models and datasets are plain PyTorch. Here the import falls back to going without it.
"""

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any

from wavegen.errors import MissingDependencyError

_EXTENSION = "torchaudio._extension"


def torchaudio() -> ModuleType:
    """The torchaudio module, without its compiled library where that cannot be loaded.

    Raises MissingDependencyError if torchaudio is not installed.
    """
    if importlib.util.find_spec("torchaudio") is None:
        raise MissingDependencyError("torchaudio", "torchaudio", "differentiable resampling")
    try:
        return importlib.import_module("torchaudio")
    except (OSError, RuntimeError):  # the library cannot be linked, or was built for another CUDA than torch
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchaudio"]:
            del sys.modules[name]
        sys.modules[_EXTENSION] = _inert_extension()
        try:
            return importlib.import_module("torchaudio")
        except BaseException:
            del sys.modules[_EXTENSION]
            raise


def _inert_extension() -> ModuleType:
    """A stand-in that says, as torchaudio's own does when built without C++, that nothing compiled is there."""
    module = ModuleType(_EXTENSION, "Stands in for torchaudio's compiled library, which cannot be loaded here.")
    vars(module).update(
        _IS_TORCHAUDIO_EXT_AVAILABLE=False,
        _IS_ALIGN_AVAILABLE=False,
        _load_lib=lambda library: False,
        _check_cuda_version=lambda: None,
        fail_if_no_align=_failing,
    )
    return module


def _failing(function: Any) -> Any:
    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError(f"torchaudio's {function.__name__} needs its compiled library, which cannot be loaded here")

    fail.__name__ = function.__name__
    return fail
