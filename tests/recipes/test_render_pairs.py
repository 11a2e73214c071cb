"""Single notes for the acoustic model of scores: every program in training and held out, in range and in time."""

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest

from wavegen.music.instruments import INSTRUMENTS


@pytest.fixture(scope="module")
def recipe(load_script: Callable[[str], ModuleType]) -> ModuleType:
    pytest.importorskip("mido")
    return load_script("recipes/music/render_pairs.py")


def test_every_program_is_trained_on_and_held_out(recipe: ModuleType) -> None:
    counts = np.zeros((2, 128), int)
    rng = np.random.default_rng(0)
    for number in range(3900, 8900):
        program, _ = recipe.single(number, rng)
        counts[int(number % recipe.HELD_OUT == 0), program] += 1
    assert counts[0, :120].min() >= 25
    assert counts[1, :120].min() >= 1
    assert counts[0, :120].max() < 2 * counts[0, :120].min()


def test_single_notes_follow_one_another(recipe: ModuleType) -> None:
    for number in range(40):
        program, notes = recipe.single(number, np.random.default_rng(number))
        instrument = INSTRUMENTS[program]
        onset, duration, pitch, velocity = notes.T
        assert (onset[1:] >= onset[:-1] + duration[:-1] - 1e-9).all()
        assert onset[0] >= 0
        assert onset[-1] + duration[-1] <= recipe.SECONDS
        assert pitch.min() >= max(0, instrument.low - 4)
        assert pitch.max() <= min(127, instrument.high + 4)
        assert velocity.min() >= 30
        assert velocity.max() <= 127
