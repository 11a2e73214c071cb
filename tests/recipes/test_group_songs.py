"""Real songs: which source each of their stems belongs to, and what is written of it."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import soundfile as sf


@pytest.fixture(scope="module")
def recipe(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("recipes/separation/group_songs.py")


@pytest.mark.parametrize(
    ("song", "name", "source"),
    [
        ("4.Potassium", "VOX LEAD", "vocals"),
        ("2.Lithium", "BGVOX HARMONY GLITCH", "vocals"),
        ("4.Potassium", "PAD + BASS", "bass"),
        ("3.Sodium", "BASS STAB", "bass"),
        ("5.Rubidium", "MINILOGUE_SYNTH", "bass"),
        ("2.Lithium", "MINILOGUE_SYNTH", "other"),
        ("3.Sodium", "K & SN", "drums"),
        ("2.Lithium", "TOM BREAK", "drums"),
        ("4.Potassium", "BREAKBEAT", "drums"),
        ("7.Francium", "FILL SCRATCH", "other"),
        ("7.Francium", "SCRATCH BEAT", "drums"),
        ("5.Rubidium", "MELODY BREAK", "other"),
        ("2.Lithium", "CRASH FADE", "drums"),
        ("1.Hydrogen", "BEEPS", "other"),
    ],
)
def test_stems_by_name(recipe: ModuleType, song: str, name: str, source: str) -> None:
    assert recipe.group(song, name) == source


def test_songs_are_written_once(
    recipe: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stems of unlike length are padded, copies for telephones and what is left out are not heard."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: SimpleNamespace(name=name))
    monkeypatch.setattr(recipe, "SONGS", ("7.Francium",))
    folder = tmp_path / "src" / "7.Francium"
    folder.mkdir(parents=True)
    lengths = {"KICK": 300, "HATS": 200, "KICK_mobile": 900, "TEXTURE": 800, "SINE": 500}
    for name in lengths:
        (folder / f"7.Francium_Stem_{name}.m4a").touch()
    heard: list[str] = []

    def decoded(path: Path) -> np.ndarray:
        name = path.stem.partition("_Stem_")[2]
        heard.append(name)
        return np.full((2, lengths[name]), 0.25, np.float32)

    monkeypatch.setattr(recipe, "decoded", decoded)
    arguments = [str(tmp_path / "src"), str(tmp_path / "out")]
    assert recipe.main(arguments) == 0
    assert sorted(heard) == ["HATS", "KICK", "SINE"]
    drums, rate = sf.read(tmp_path / "out" / "7.Francium" / "drums.flac")
    assert (drums.shape, rate) == ((300, 2), 44100)
    assert (drums[:200] == 0.5).all()
    assert (drums[200:] == 0.25).all()
    assert len(sf.read(tmp_path / "out" / "7.Francium" / "other.flac")[0]) == 500
    assert recipe.main(arguments) == 0
    assert len(heard) == 3
    (folder / "7.Francium_Stem_CLAPS_mobile.m4a").touch()
    assert recipe.main(arguments) == 2
    assert "7.Francium: lacks CLAPS" in capsys.readouterr().err
    monkeypatch.setattr(recipe, "SONGS", ("8.Radium",))
    assert recipe.main(arguments) == 2
    assert "8.Radium: no stems" in capsys.readouterr().err


def test_what_is_missing_is_named(
    recipe: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert recipe.main([str(tmp_path), str(tmp_path)]) == 2
    assert "pip install av" in capsys.readouterr().err
