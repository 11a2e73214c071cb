"""What a machine computes with: its processor, its GPU, and the compiled kernels that it can use."""

import os
import platform
from pathlib import Path

import torch

from wavegen import __version__
from wavegen.errors import KernelsError
from wavegen.ops import INSTRUCTION_SETS, extension, instruction_set


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """The processor's name, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def instruction_sets() -> list[str]:
    """The instruction sets whose kernels this build and this processor offer. KernelsError if there is no build."""
    module = extension()
    return [name for name in INSTRUCTION_SETS if module.offers(name)]


def cuda_kernels() -> bool:
    """Whether the build has kernels for CUDA, be there a GPU or not. KernelsError if there is no build."""
    extension()
    return torch._C._dispatch_has_kernel_for_dispatch_key("wavegen::wavenet_generate", "CUDA")


def compiled_ops() -> str:
    """One line on the compiled kernels: what they are, or why they cannot be used."""
    try:
        offered, used = instruction_sets(), instruction_set()
        cuda = "built" if cuda_kernels() else "not built"
    except KernelsError as error:
        return " ".join(str(error).split())
    return f"{used} in use; offered: {', '.join(offered)}; CUDA kernels: {cuda}"


def describe(device: str = "cpu") -> dict[str, object]:
    """What a measurement on this machine has to say of it; ``load`` is the mean of the last minute."""
    facts: dict[str, object] = {
        "processor": processor(),
        "cores": cores(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "instruction_sets": instruction_sets(),
        "wavegen": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    if torch.device(device).type == "cuda":
        facts |= {"gpu": torch.cuda.get_device_name(device), "cuda": torch.version.cuda}
    return facts
