"""Bars of bass and chords, counted in scores made here."""

import gzip
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from wavegen.music.midi import write_midi
from wavegen.music.score import Score, Track


@pytest.fixture(scope="module")
def recipe(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("recipes/music/figure_tables.py")


def track(program: int, rows: list[tuple[float, float, int]], *, drums: bool = False) -> Track:
    return Track(program, drums, "", np.array([(on, length, pitch, 80) for on, length, pitch in rows], float))


def song(bars: int = 4) -> Score:
    """C and F in turn: a distorted guitar in bare fifths, a bass in eighths with the fifth last, or a step to C."""
    guitar, bass, drums = [], [], []
    for bar in range(bars):
        root = 36 if bar % 2 == 0 else 41
        start = 4.0 * bar
        guitar += [(start + beat, 0.9, root + 12 + step) for beat in (0, 2) for step in (0, 7)]
        bass += [(start + n / 2, 0.5, root) for n in range(7)]
        bass.append((start + 3.5, 0.5, 43 if bar % 2 == 0 else 38))
        drums += [(start + n, 0.2, 36) for n in range(4)]
    return Score((track(30, guitar), track(33, bass), track(0, drums, drums=True)))


def test_figures_are_steps_from_the_root(recipe: ModuleType) -> None:
    bars = list(recipe.bars(song()))
    assert [bar.kind for bar in bars] == ["heavy"] * 4
    assert [bar.chords[0].root for bar in bars] == [0, 5, 0, 5]
    after = {bar.number: bar.notes[1] for bar in bars}
    figures = [recipe.bass_figure(bar, 1, after.get(bar.number + 1))[0] for bar in bars]
    assert figures[0] == (*((tick, 6, 0) for tick in range(0, 42, 6)), (42, 6, "above"))  # G over F
    assert figures[1] == (*((tick, 6, 0) for tick in range(0, 42, 6)), (42, 6, "above"))  # D over C
    assert figures[3][-1] == (42, 6, -2)  # the end: nothing to lead to
    chords = [recipe.chord_figure(bar, 0)[0] for bar in bars]
    assert chords == [((0, 12, "power"), (24, 12, "power"))] * 4


def test_what_is_no_figure_is_left_out(recipe: ModuleType) -> None:
    rows = [(n / 2 + 0.12, 0.4, 36) for n in range(8)]
    assert recipe.groups(np.array([(12 * on, 12 * length, pitch, 80) for on, length, pitch in rows])) is None
    melody = [(0.0, 1.0, 60), (1.0, 1.0, 62), (2.0, 2.0, 64)]
    score = Score((track(30, [(0, 4, 48), (0, 4, 55)]), track(0, melody), track(33, [(0, 4, 38)])))
    bar = next(recipe.bars(score))
    assert bar.kind == "heavy"
    assert recipe.chord_figure(bar, 1) is None
    assert recipe.bass_figure(bar, 2, None) is None  # D under C


def test_triplets_keep_their_grid(recipe: ModuleType) -> None:
    notes = np.array([(tick, 4, 36, 80) for tick in (0, 8, 12, 20)], float)
    assert [tick for tick, _, _, _ in recipe.groups(notes)] == [0, 8, 12, 20]


def test_a_folder_becomes_a_table(recipe: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(2):
        write_midi(
            tmp_path / f"{number}.mid", song(8).transposed(number)
        )  # they begin alike, so that one part has both
    piece = next(recipe.freedoom(tmp_path))
    monkeypatch.setattr(recipe, "freedoom", lambda _: [replace(piece, split=part) for part in ("train", "test")])
    found, read = recipe.count(tmp_path)
    assert read["bars"] == read["figures of bass"] == read["figures of chords"] == 8  # those of training alone
    bass = recipe.table(found)["bass"]
    assert [entry["notes"][-1] for entry in bass] == [(42, 6, "above", 0)]
    assert bass[0]["kinds"] == {"heavy": round(7**0.5, 2)}
    assert (bass[0]["after"], bass[0]["turn"], bass[0]["chords"]) == ({"0": 6}, {"0": 1}, {"0": 7})
    monkeypatch.setattr(sys, "argv", ["figure_tables.py", str(tmp_path), str(tmp_path / "table.gz")])
    recipe.main()
    once = (tmp_path / "table.gz").read_bytes()
    recipe.main()
    assert (tmp_path / "table.gz").read_bytes() == once
    assert json.loads(gzip.decompress(once))["bass"][0]["after"] == {"0": 6}
