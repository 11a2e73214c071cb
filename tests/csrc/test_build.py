"""What the build says where it cannot succeed, and what it must not contain."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
pytestmark = pytest.mark.skipif(not (ROOT / "setup.py").is_file(), reason="needs a checkout")


def build(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "setup.py", "-q", "build_ext", "--build-lib", str(tmp_path)]
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_without_a_compiler(tmp_path: Path) -> None:
    result = build(tmp_path, CXX="no-such-compiler")
    assert result.returncode != 0
    assert (
        result.stderr.strip()
        .splitlines()[-1]
        .startswith("wavegen: no C++ compiler found (CXX is no-such-compiler); its kernels need one with C++17")
    )
    assert "apt-get install g++" in result.stderr
    assert not list(tmp_path.rglob("*.so"))


@pytest.mark.parametrize(("value", "message"), [("1", "WAVEGEN_CUDA is 1, but"), ("x", "WAVEGEN_CUDA must be 0 or 1")])
def test_cuda_asked_for_in_vain(tmp_path: Path, value: str, message: str) -> None:
    torch = pytest.importorskip("torch")
    if value == "1" and torch.version.cuda:
        pytest.skip("this torch has CUDA")
    result = build(tmp_path, WAVEGEN_CUDA=value)
    assert result.returncode != 0
    assert message in result.stderr


def test_flags() -> None:
    flags = re.findall(r'"(-[^"]+)"', (ROOT / "setup.py").read_text())
    assert "-ffp-contract=off" in flags
    assert not [f for f in flags if "native" in f or "fast" in f]


def test_the_stable_abi_is_kept() -> None:
    from wavegen.ops import extension

    path = Path(str(extension().__file__))
    assert path.name == "_C.abi3.so"
    symbols = subprocess.run(["nm", "-D", "--undefined-only", "-C", path], capture_output=True, text=True, check=True)
    bound = [line for line in symbols.stdout.splitlines() if re.search(r"\b(at|c10|torch)::", line)]
    assert not bound, bound[:5]
