"""Where to compute: devices by name, and threads that share the cores."""

import ctypes
import os
import sys
import warnings
from collections.abc import Callable, Iterator
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


def _mallopt() -> Callable[[int, int], int] | None:
    """What sets how glibc allots memory; None where the C library is another."""
    return getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None


def keep_freed_memory() -> bool:
    """Have the C library keep what is freed, for the rest of the process; False where it is not glibc.

    It gives large blocks back to the system otherwise, and the fresh pages of the next ones, touched for the first
    time, take as long as what is computed on them: steps of training on a CPU take up to twice as long. What the
    process holds may come to several times what it uses.
    """
    mallopt = _mallopt()
    if mallopt is None:
        return False
    trim_threshold, top_pad, mmap_max = -1, -2, -4  # of malloc.h
    settings = {mmap_max: 0, trim_threshold: 2**31 - 1, top_pad: 256 << 20}
    return all([mallopt(name, value) == 1 for name, value in settings.items()])


def share_freed_memory() -> None:
    """Have threads that begin from now on share what they free, for the rest of the process, where the C library is
    glibc: each would keep its own otherwise, and these would not be full at the same time.

    To be called before other threads begin: it takes none away from those that have their own, and glibc takes no
    advice once these are many. A MALLOC_ARENA_MAX of the environment goes first.
    """
    mallopt = _mallopt()
    if mallopt is not None and "MALLOC_ARENA_MAX" not in os.environ:
        arena_max = -8  # of malloc.h
        mallopt(arena_max, 1)


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
