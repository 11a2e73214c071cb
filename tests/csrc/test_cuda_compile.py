"""The CUDA sources compile for every architecture that is built, and no kernel spills registers."""

import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest
import torch

CSRC = Path(__file__).parents[2] / "csrc"
KERNELS = {
    "generate": {"generate_kernel": 3, "advance_kernel": 1, "check_kernel": 1},
    "layer": {
        "forward_kernel": 3,
        "gate_gradient_kernel": 3,
        "pre_gradient_kernel": 3,
        "input_gradient_kernel": 6,
        "weight_gradient_kernel": 9,
        "reduce_kernel": 3,
    },
}


CUDA_HOME = os.environ.get("CUDA_HOME", "/usr/local/cuda")
NVCC = shutil.which("nvcc", path=f"{CUDA_HOME}/bin") or shutil.which("nvcc")
HEADERS = Path(CUDA_HOME) / "include"
needs_nvcc = pytest.mark.skipif(NVCC is None, reason="no nvcc on this machine")


@needs_nvcc
@pytest.mark.slow
@pytest.mark.parametrize("name", KERNELS)
def test_kernels_compile_without_spills(name: str, tmp_path: Path) -> None:
    targets = ["arch=compute_80,code=sm_80", "arch=compute_90,code=sm_90", "arch=compute_90,code=compute_90"]
    flags = ["-std=c++17", "-O3", "-Xptxas", "-v", "-Werror", "all-warnings", *(f"-gencode={t}" for t in targets)]
    done = subprocess.run(
        [str(NVCC), *flags, "-c", CSRC / "cuda" / f"{name}.cu", "-o", tmp_path / "kernels.o"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    reports = re.findall(
        r"Compiling entry function '(\w+)' for '(sm_\d+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, "
        r"(\d+) bytes spill loads",
        done.stderr,
        flags=re.DOTALL,
    )
    for kernel, count in KERNELS[name].items():
        for architecture in ("sm_80", "sm_90"):
            found = [r[2:] for r in reports if kernel in r[0] and r[1] == architecture]
            assert found == [("0", "0", "0")] * count, (kernel, architecture, found)


@pytest.mark.slow
@pytest.mark.skipif(not (HEADERS / "cuda_runtime_api.h").exists(), reason="no CUDA headers on this machine")
@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ on this machine")
@pytest.mark.parametrize("name", ["cuda_generate", "cuda_layer"])
def test_bindings_compile_against_torch(name: str) -> None:
    """Their headers are in every build of torch, with CUDA or without."""
    folders = [Path(torch.__file__).parent / "include", HEADERS, sysconfig.get_path("include")]
    includes = [flag for folder in folders for flag in ("-isystem", str(folder))]
    flags = ["-std=c++17", "-Wall", "-Wextra", "-Werror", "-DTORCH_TARGET_VERSION=0x020a000000000000"]
    done = subprocess.run(
        ["g++", "-fsyntax-only", *flags, *includes, CSRC / f"{name}.cpp"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
