"""Where to compute, by name."""

import warnings

import torch

from wavegen.errors import InputError


def usable_device(name: str) -> torch.device:
    """The device of that name: "cpu", "cuda", "cuda:1", "mps". InputError if it cannot hold and compute a number."""
    try:
        with warnings.catch_warnings(action="ignore"):  # the error says it all
            device = torch.device(name)
            torch.ones(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError, TypeError, ImportError) as error:
        # The first sentence: torch adds all its backends to what it cannot run.
        reason = str(error).strip().splitlines()[0].split(". ")[0] if str(error).strip() else "not available"
        raise InputError(f"device {name!r} cannot be used: {reason}") from None
    return device
