"""Where to compute: devices by name, and threads that share the cores."""

import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

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


@contextmanager
def sharing_threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of ``count`` threads, each with its share of the cores that torch may use; all have ended afterwards."""
    threads = torch.get_num_threads()
    try:
        share = max(1, threads // count)
        with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(share,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)  # which a thread that began meanwhile would otherwise take from the pool's
