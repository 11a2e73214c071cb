"""Builds wavegen. Its name, needs and contents stand in pyproject.toml; here stands how csrc/ is compiled.

The kernels of the CPU are compiled once per instruction set and chosen from at run time; those of CUDA are compiled if
torch has CUDA and a CUDA toolkit is found (CUDA_HOME). Environment:

    WAVEGEN_CUDA=1        fail unless the CUDA kernels can be built;  WAVEGEN_CUDA=0  leave them out
    WAVEGEN_CUDA_ARCHS    the architectures to build for (default "80;90+PTX")
    WAVEGEN_SANITIZE=1    compile with AddressSanitizer and UndefinedBehaviorSanitizer, for the kernels' tests
    CXX, MAX_JOBS         the compiler; how many files to compile at a time
"""

import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent
CSRC = ROOT / "csrc"
# The flags of each instruction set. Contraction is off so that every product is rounded where the source says so.
INSTRUCTION_SETS = {"portable": []}
if platform.machine().lower() in ("x86_64", "amd64"):
    avx2 = ["-mavx2", "-mfma"]
    avx512 = [*avx2, "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl"]
    INSTRUCTION_SETS |= {"avx2": avx2, "avx512": avx512, "avx512_bf16": [*avx512, "-mavx512bf16", "-mavx512vnni"]}
CXX_FLAGS = ["-O3", "-std=c++17", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off", "-Wall", "-Wno-psabi"]
# The stable ABI of torch 2.10, so that one build loads on every later torch, and the limited API of Python 3.11.
DEFINES = ["-DTORCH_TARGET_VERSION=0x020a000000000000", "-DPy_LIMITED_API=0x030b0000"]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer", "-g", "-O1"]


def compiler() -> str:
    """The C++ compiler, or the end of the build with one line that says what to install."""
    name = os.environ.get("CXX") or next((c for c in ("g++", "clang++", "c++") if shutil.which(c)), None)
    if not name or not name.strip() or shutil.which(shlex.split(name)[0]) is None:
        sys.exit(
            f"wavegen: no C++ compiler found{f' (CXX is {name})' if name else ''}; its kernels need one with C++17, "
            "such as g++ 10 or clang 11 (Debian and Ubuntu: apt-get install g++; macOS: xcode-select --install)"
        )
    return name


def cuda_home() -> Path | None:
    """Where the CUDA toolkit is, if the CUDA kernels are to be built."""
    import torch
    from torch.utils.cpp_extension import CUDA_HOME

    wish = os.environ.get("WAVEGEN_CUDA", "")
    if wish not in ("", "0", "1"):
        sys.exit(f"wavegen: WAVEGEN_CUDA must be 0 or 1, not {wish}")
    if wish == "0":
        return None
    if torch.version.cuda and CUDA_HOME and (Path(CUDA_HOME) / "bin" / "nvcc").exists():
        return Path(CUDA_HOME)
    if wish == "1":
        missing = "a CUDA toolkit (set CUDA_HOME)" if torch.version.cuda else "a torch that was built with CUDA"
        sys.exit(f"wavegen: WAVEGEN_CUDA is 1, but the CUDA kernels need {missing}")
    return None


def cuda_architectures() -> list[str]:
    """nvcc's flags for WAVEGEN_CUDA_ARCHS."""
    flags = []
    for name in os.environ.get("WAVEGEN_CUDA_ARCHS", "80;90+PTX").replace(" ", ";").split(";"):
        number = name.removesuffix("+PTX").replace(".", "")
        if not number:
            continue
        flags.append(f"-gencode=arch=compute_{number},code=sm_{number}")
        if name.endswith("+PTX"):
            flags.append(f"-gencode=arch=compute_{number},code=compute_{number}")
    return flags


class Build(build_ext):
    """Compiles each source with its own flags, several at a time, and links them to torch's libraries."""

    def build_extension(self, ext: Extension) -> None:
        from torch.utils.cpp_extension import include_paths, library_paths

        cxx, home = shlex.split(compiler()), cuda_home()
        includes = [*include_paths(), sysconfig.get_path("include"), str(CSRC)]
        flags = [*CXX_FLAGS, *DEFINES, *(f"-I{path}" for path in includes)]
        link = []
        if os.environ.get("WAVEGEN_SANITIZE") == "1":
            flags += SANITIZE
            link += SANITIZE
        if home is not None:
            flags += ["-DUSE_CUDA", "-DWAVEGEN_CUDA", f"-I{home / 'include'}"]
            # torch_cuda holds the current stream's accessor; without the flag the linker may drop it.
            link += [f"-L{home / 'lib64'}", "-lcudart", "-Wl,--no-as-needed", "-ltorch_cuda"]
        # In one place, whatever temporary folder an installer gives, so that only what has changed is compiled again.
        place = ROOT / "build" / ("sanitized" if os.environ.get("WAVEGEN_SANITIZE") == "1" else "objects")
        commands: dict[Path, list[str]] = {}
        objects = []
        for source in sources(home is not None):
            target = place / source.relative_to(CSRC).with_suffix(".o")
            target.parent.mkdir(parents=True, exist_ok=True)
            objects.append(str(target))
            stamp = target.with_suffix(".command")
            # Fresh unless the source or any header is younger, or it was compiled otherwise.
            inputs = [source, Path(__file__), *CSRC.rglob("*.h"), *CSRC.rglob("*.cuh")]
            if source.suffix == ".cu":
                nvcc = [str(home / "bin" / "nvcc"), "-O3", "-std=c++17", "-Xcompiler=-fPIC,-fvisibility=hidden"]
                command = [*nvcc, *cuda_architectures(), f"-I{CSRC}", "-c", str(source), "-o", str(target)]
            else:
                isa = source.stem.removeprefix("isa_") if source.stem.startswith("isa_") else "portable"
                command = [*cxx, *flags, *INSTRUCTION_SETS[isa], "-c", str(source), "-o", str(target)]
            fresh = target.exists() and all(p.stat().st_mtime < target.stat().st_mtime for p in inputs)
            if self.force or not fresh or not stamp.exists() or stamp.read_text() != shlex.join(command):
                stamp.unlink(missing_ok=True)
                commands[stamp] = command
        jobs = os.environ.get("MAX_JOBS") or str(os.cpu_count() or 1)
        if not jobs.isdecimal() or int(jobs) < 1:
            sys.exit(f"wavegen: MAX_JOBS must be a positive whole number, not {jobs}")
        with ThreadPoolExecutor(int(jobs)) as pool:
            for stamp, _ in zip(commands, pool.map(run, commands.values()), strict=True):
                stamp.write_text(shlex.join(commands[stamp]))
        library = Path(self.get_ext_fullpath(ext.name))
        library.parent.mkdir(parents=True, exist_ok=True)
        shared = ["-bundle", "-undefined", "dynamic_lookup"] if sys.platform == "darwin" else ["-shared"]
        torch_libraries = [f"-L{path}" for path in library_paths()]
        run([*cxx, *shared, *objects, *torch_libraries, *link, "-ltorch", "-ltorch_cpu", "-lc10", "-o", str(library)])


def sources(cuda: bool) -> list[Path]:
    """Every file to compile: bindings, the CPU's kernels for each instruction set, and CUDA's."""
    found = [p for p in sorted(CSRC.glob("*.cpp")) if cuda or not p.name.startswith("cuda_")]
    found += [p for p in sorted((CSRC / "cpu").glob("*.cpp")) if not p.name.startswith("isa_")]
    found += [CSRC / "cpu" / f"isa_{name}.cpp" for name in INSTRUCTION_SETS]
    return found + (sorted((CSRC / "cuda").glob("*.cu")) if cuda else [])


def run(command: list[str]) -> None:
    """Run a compiler; end the build with its own words if it fails."""
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"wavegen: the kernels do not compile\n{' '.join(command)}\n{result.stdout}{result.stderr}")


setup(
    ext_modules=[Extension("wavegen._C", sources=[], py_limited_api=True)],
    cmdclass={"build_ext": Build},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
