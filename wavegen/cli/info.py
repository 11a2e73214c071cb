"""``wavegen info``: what this installation consists of and can use."""

import importlib.metadata
import platform

from wavegen import __version__

REQUIRED = ("torch", "numpy", "soundfile", "soxr", "safetensors")
OPTIONAL = ("librosa", "numba", "tensorboard", "matplotlib", "pesq", "pystoi", "pocketsphinx", "torchaudio")


def info() -> None:
    """Print versions, devices and instruction sets, for a bug report."""
    import torch

    from wavegen.checkpoints import list_models
    from wavegen.evaluation.machine import compiled_ops

    _line("wavegen", __version__)
    _line("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    for package in (*REQUIRED, *OPTIONAL):
        _line(package, _version(package) or ("not installed (optional)" if package in OPTIONAL else "MISSING"))
    _line("processor", f"{torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads")
    _line("devices", ", ".join(_devices()))
    _line("compiled ops", compiled_ops())
    _line("models", ", ".join(card.name for card in list_models()) or "none")


def _line(name: str, value: str) -> None:
    print(f"{name:<14}{value}")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _devices() -> list[str]:
    import torch

    gpus = [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    return ["cpu", *gpus, *(["mps"] if torch.backends.mps.is_available() else [])]
