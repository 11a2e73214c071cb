"""Compiled kernels, each with its slow, obvious reference beside it.

The kernels live in ``wavegen._C``, built from csrc/ at installation. On a CPU they choose among the instruction sets of
the processor; the environment variable WAVEGEN_CPU_ISA (portable, avx2, avx512, avx512_bf16) forces one.
"""

from importlib import import_module
from types import ModuleType

from wavegen.errors import KernelsError

INSTRUCTION_SETS = ("portable", "avx2", "avx512", "avx512_bf16")


def extension() -> ModuleType:
    """The compiled module, with its ops registered. KernelsError if it was not built or does not load."""
    import torch  # noqa: F401 - its libraries must be there before the extension's

    try:
        return import_module("wavegen._C")
    except ImportError as error:
        raise KernelsError(
            f"wavegen's compiled kernels do not load ({error}); build them anew with a C++ compiler: "
            "pip install --no-build-isolation --force-reinstall --no-deps wavegen, or in a checkout: make kernels"
        ) from None


def instruction_set() -> str:
    """The instruction set whose kernels run on this CPU. KernelsError if WAVEGEN_CPU_ISA names one it lacks."""
    try:
        name: str = extension().instruction_set()
    except RuntimeError as error:
        raise KernelsError(str(error)) from None
    return name
