"""What the process keeps to itself."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FAULTS = """
import resource, torch
from wavegen.nn.device import keep_freed_memory
torch.set_num_threads(1)
if not keep_freed_memory():
    print("no glibc")
    raise SystemExit
def once():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(32 << 20)  # 128 MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
for _ in range(24):
    once()
print(sum(once() for _ in range(4)))
"""


def test_freed_memory_is_kept() -> None:
    """A large tensor comes to lie where earlier ones lay: its pages are not new."""
    run = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    if run.stdout.strip() == "no glibc":
        pytest.skip("the C library is not glibc")
    assert int(run.stdout) < 1000  # of 4 × 32768 pages


ARENAS = """
import ctypes, sys, threading
from wavegen.nn.device import share_freed_memory
libc = ctypes.CDLL(None)
if not hasattr(libc, "malloc_info"):
    print("no glibc")
    raise SystemExit
if sys.argv[1] == "share":
    share_freed_memory()
def hold():
    held.append(libc.malloc(100))
    arrived.wait()
held, arrived = [], threading.Barrier(5)
threads = [threading.Thread(target=hold) for _ in range(4)]
for thread in threads:
    thread.start()
arrived.wait()
for thread in threads:
    thread.join()
libc.fopen.restype, libc.malloc_info.argtypes = ctypes.c_void_p, [ctypes.c_int, ctypes.c_void_p]
libc.fclose.argtypes = [ctypes.c_void_p]
file = libc.fopen(sys.argv[2].encode(), b"w")
libc.malloc_info(0, file)
libc.fclose(file)
print(open(sys.argv[2]).read().count("<heap nr"))
"""


def arenas(tmp_path: Path, *, share: bool, **environment: str) -> int:
    """Places of memory that a process with four more threads has."""
    command = [sys.executable, "-c", ARENAS, "share" if share else "", str(tmp_path / "info.xml")]
    alone = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=alone | environment)
    if run.stdout.strip() == "no glibc":
        pytest.skip("the C library is not glibc")
    return int(run.stdout)


def test_threads_share_what_they_free(tmp_path: Path) -> None:
    assert arenas(tmp_path, share=False) > 1
    assert arenas(tmp_path, share=True) == 1
    assert arenas(tmp_path, share=True, MALLOC_ARENA_MAX="8") > 1  # one who asks for it gets it
