"""Recipes: every configuration fits its dataclasses, names its stages, and the preparation makes readable folders."""

import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

from wavegen.errors import InputError
from wavegen.training.config import build, read_yaml
from wavegen.training.data import read_metadata
from wavegen.training.run import TASKS, RunConfig, read_spec

RECIPES = Path(__file__).parents[2] / "recipes"
CONFIGS = sorted(RECIPES.rglob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_configuration_fits(path: Path) -> None:
    config = build(RunConfig, read_yaml(path), path.name)
    module, name = TASKS[config.kind]
    task = build(getattr(importlib.import_module(module), name + "Config"), config.task, path.name)
    assert task.batch >= 1
    assert read_spec(config.features, path.name).sample_rate == 24000
    assert config.card["licence"]
    assert (config.loop.steps is None) != (config.loop.minutes is None)


def test_every_configuration_is_used_by_its_script() -> None:
    assert len(CONFIGS) >= 5
    for path in CONFIGS:
        assert path.name in (path.parent / "run.sh").read_text()


@pytest.mark.parametrize("recipe", ["speech", "vocoder"])
def test_script_names_its_usage(recipe: str) -> None:
    done = subprocess.run([str(RECIPES / recipe / "run.sh")], capture_output=True, text=True)
    assert done.returncode != 0
    assert f"usage: recipes/{recipe}/run.sh DATA [RUNS]" in done.stderr


@pytest.fixture
def preparation(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("recipes/speech/prepare.py")


def recording(path: Path, text: str | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(100), 8000)
    if text is not None:
        path.with_suffix(".txt").write_text(text, encoding="utf-8")


def test_preparation_makes_a_readable_folder(preparation: ModuleType, tmp_path: Path) -> None:
    recording(tmp_path / "in" / "b.wav", "Second |\n one. ")
    recording(tmp_path / "in" / "deep" / "a.FLAC", "Première.")
    recording(tmp_path / "in" / "silent.wav", None)
    assert preparation.prepare(tmp_path / "in", tmp_path / "out") == 2
    assert preparation.prepare(tmp_path / "in", tmp_path / "out") == 2  # again, over itself
    found = {u.id: u.text for u in read_metadata(tmp_path / "out")}
    assert found == {"a": "Première.", "b": "Second one."}


def test_preparation_refuses(preparation: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no recordings with a text"):
        preparation.prepare(tmp_path, tmp_path / "out")
    recording(tmp_path / "x" / "a.wav", "One.")
    recording(tmp_path / "y" / "a.wav", "Two.")
    with pytest.raises(InputError, match="another recording is called a too"):
        preparation.prepare(tmp_path, tmp_path / "out")
    recording(tmp_path / "z" / "b.wav", " ")
    with pytest.raises(InputError, match=r"b\.txt: empty"):
        preparation.prepare(tmp_path / "z", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_preparation_as_a_program(tmp_path: Path) -> None:
    script = [sys.executable, str(RECIPES / "speech" / "prepare.py")]
    done = subprocess.run(
        [*script, str(tmp_path), str(tmp_path / "out")], capture_output=True, text=True, env=os.environ
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_preparation_keeps_recordings_that_lie_in_the_target(preparation: ModuleType, tmp_path: Path) -> None:
    recording(tmp_path / "wavs" / "a.wav", "One.")
    before = (tmp_path / "wavs" / "a.wav").read_bytes()
    assert preparation.prepare(tmp_path / "wavs", tmp_path) == 1
    assert not (tmp_path / "wavs" / "a.wav").is_symlink()
    assert (tmp_path / "wavs" / "a.wav").read_bytes() == before
    assert [u.id for u in read_metadata(tmp_path)] == ["a"]


def test_preparation_names_what_metadata_cannot_hold(preparation: ModuleType, tmp_path: Path) -> None:
    recording(tmp_path / "x" / "a.wav", "One.")
    (tmp_path / "x" / "a.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"a\.txt: not UTF-8"):
        preparation.prepare(tmp_path / "x", tmp_path / "out")
    recording(tmp_path / "y" / "a|b.wav", "One.")
    with pytest.raises(InputError, match=r"a\|b\.wav: a name"):
        preparation.prepare(tmp_path / "y", tmp_path / "out")
