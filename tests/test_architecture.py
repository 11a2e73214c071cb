"""Who may import whom, as ARCHITECTURE.md has it, read off the source: imports inside functions count too."""

import ast
from pathlib import Path

import pytest

import wavegen

ROOT = Path(wavegen.__file__).parent

KNOWN_TO_ALL = {"audio", "errors"}
MODELS = {"text", "music", "acoustic", "vocoders", "separation", "nn", "ops"}
JOBS = {"pipelines", "music_jobs", "mel_jobs", "separation_jobs"}
BESIDE = {"training", "evaluation", "checkpoints", "wavegen"} | JOBS | MODELS
# Part of the package → the other parts it may import. "wavegen" is the top-level module itself.
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "audio": set(),
    "_C": set(),  # the compiled module
    "ops": {"_C"},
    "nn": {"ops"},
    "text": {"nn", "ops"},
    "music": {"nn", "ops"},
    "acoustic": {"text", "music", "nn", "ops"},
    "vocoders": {"nn", "ops"},
    "separation": {"vocoders", "nn", "ops"},
    "checkpoints": {"wavegen"} | MODELS,
    "pipelines": {"checkpoints", "wavegen"} | MODELS,
    "music_jobs": {"pipelines", "checkpoints", "wavegen"} | MODELS,
    "mel_jobs": {"pipelines", "checkpoints", "wavegen"} | MODELS,
    "separation_jobs": {"pipelines", "checkpoints", "wavegen"} | MODELS,
    "training": BESIDE,
    "evaluation": BESIDE,
    "cli": {"music", "checkpoints", "training", "evaluation", "wavegen"} | JOBS,
    "wavegen": {"checkpoints"} | JOBS,
    "__main__": {"cli"},
}


def imported_modules(source: str, package: str) -> set[str]:
    """The full names of the wavegen modules a source imports; ``package`` is the one that relative imports start from.

    ``import_module("...")`` with a literal name counts as an import.
    """
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, *filter(None, [node.module])])
            found.update(f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.update([node.value] if node.value.startswith("wavegen.") and " " not in node.value else [])
    return {name for name in found if name == "wavegen" or name.startswith("wavegen.")}


def part_of(module: str) -> str:
    """The part of the package a full module name belongs to."""
    names = module.split(".")
    return names[1] if len(names) > 1 and names[1] in ALLOWED else "wavegen"


def violations(source: str, module: str) -> set[str]:
    """The imports of a module's source that the architecture forbids, as part names."""
    package = module.rpartition(".")[0] or module
    mine = part_of(module)
    known = set() if mine == "errors" else KNOWN_TO_ALL
    return {part_of(name) for name in imported_modules(source, package)} - ALLOWED[mine] - known - {mine}


def module_name(path: Path) -> str:
    names = ["wavegen", *path.relative_to(ROOT).with_suffix("").parts]
    return ".".join(names[:-1] if names[-1] == "__init__" else names)


MODULES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_imports_follow_the_architecture(path: Path) -> None:
    forbidden = violations(
        path.read_text(encoding="utf-8"), module_name(path) + (".x" if path.stem == "__init__" else "")
    )
    assert not forbidden, f"{module_name(path)} imports {', '.join(sorted(forbidden))}"


def test_every_part_is_known() -> None:
    parts = {p.stem for p in ROOT.glob("*.py")} - {"__init__"} | {p.parent.name for p in ROOT.glob("*/__init__.py")}
    assert parts <= set(ALLOWED)


@pytest.mark.parametrize(
    ("source", "module", "expected"),
    [
        ("from wavegen.cli.main import main", "wavegen.pipelines", {"cli"}),
        ("def f():\n    from wavegen.checkpoints import load", "wavegen.vocoders.istft", {"checkpoints"}),
        ("import wavegen.training.loop as t", "wavegen.acoustic.speech", {"training"}),
        ("from wavegen import pipelines", "wavegen.text.frontend", {"pipelines"}),
        ("from ..cli import speak", "wavegen.training.run", {"cli"}),
        ("from .. import nn", "wavegen.audio.io", {"nn"}),
        ("from wavegen.text import analyse", "wavegen.cli.speak", {"text"}),
        ("from wavegen.acoustic import speech", "wavegen.vocoders.istft", {"acoustic"}),
        ("from importlib import import_module\nimport_module('wavegen.nn.x')", "wavegen.ops.x", {"nn"}),
        ("import wavegen", "wavegen.nn.x", {"wavegen"}),
        ("from wavegen.audio import io", "wavegen.errors", {"audio"}),
        ("from importlib import import_module\nimport_module('wavegen._C')", "wavegen.vocoders.x", {"_C"}),
        ("import wavegen._C", "wavegen.training.loop", {"_C"}),
        ("from wavegen import _C", "wavegen.cli.info", {"_C"}),
    ],
)
def test_a_violation_is_seen(source: str, module: str, expected: set[str]) -> None:
    assert violations(source, module) == expected


@pytest.mark.parametrize(
    ("source", "module"),
    [
        ("import torch\nfrom wavegen.errors import InputError", "wavegen.ops.x"),
        ("from importlib import import_module\nimport_module('wavegen._C')", "wavegen.ops"),
        ("from wavegen.nn.convnext import ConvNeXtBlock", "wavegen.vocoders.istft"),
        ("from . import file", "wavegen.checkpoints.registry"),
        ("from wavegen import __version__", "wavegen.cli.info"),
        ("import wavegenerator", "wavegen.nn.x"),
        ('"""See wavegen.cli for more."""', "wavegen.nn.x"),
    ],
)
def test_what_is_allowed_passes(source: str, module: str) -> None:
    assert violations(source, module) == set()
