"""What the package promises at import, and what it ships."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

import wavegen

ROOT = Path(wavegen.__file__).parent
HEAVY = ("torch", "scipy", "numba", "librosa", "numpy", "soundfile", "matplotlib", "safetensors", "yaml")


def loaded_after(code: str) -> set[str]:
    """The heavy packages that a fresh interpreter has loaded once it has run ``code``."""
    script = f"{code}\nimport sys\nprint('LOADED', *[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split()[1:])


def test_import_is_light() -> None:
    assert loaded_after("import wavegen; assert 'speak' in dir(wavegen); wavegen.__version__") == set()


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["speak", "--help"], ["models", "--help"], ["evaluate", "vocoder", "--help"], ["--version"]],
)
def test_help_is_light(arguments: list[str]) -> None:
    assert loaded_after(f"from wavegen.cli.main import main; assert main({arguments!r}) == 0") == set()


def test_help_is_quick() -> None:
    times = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "wavegen", "--help"], capture_output=True, check=True)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.5


def test_a_usage_error_is_light() -> None:
    assert loaded_after("from wavegen.cli.main import main; assert main(['speak', '--nonsense']) == 2") == set()


def test_public_names_are_there() -> None:
    for name in wavegen.__all__:
        assert getattr(wavegen, name) is not None
    assert wavegen.speak.__module__ == "wavegen.pipelines"
    assert set(wavegen.__all__) <= set(dir(wavegen))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'sing'"):
        _ = wavegen.sing


def test_speaking_is_lean(speech: str, vocoder: str, tmp_path: Path) -> None:
    """What speaking loads decides how long the first sound takes."""
    arguments = ["speak", "Hello 2 you.", "-o", str(tmp_path / "a.wav"), "--model", speech, "--vocoder", vocoder]
    heavy = loaded_after(f"from wavegen.cli.main import main; assert main({arguments!r}) == 0")
    assert "torch" in heavy
    assert heavy.isdisjoint({"librosa", "numba", "matplotlib", "scipy"})


def test_version_is_in_the_changelog() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", wavegen.__version__)
    assert f"[{wavegen.__version__}]" in (ROOT.parent / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_folder_with_code_is_a_package() -> None:
    folders = {path.parent for path in ROOT.rglob("*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_typed() -> None:
    assert (ROOT / "py.typed").is_file()
