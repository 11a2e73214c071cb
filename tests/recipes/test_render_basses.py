"""Synthesised basses: deep, whole, at their level, in a layout that training reads."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from wavegen.training.mixtures import StemSet, active_rms, generator
from wavegen.training.stem_folders import prepared


@pytest.fixture(scope="module")
def script(load_script: Callable[[str], ModuleType]) -> Any:
    module = load_script("recipes/separation/render_basses.py")
    module.SECONDS = 4.0
    return module


def test_basses_are_deep_and_at_their_level(script: Any) -> None:
    for number in range(12):
        x = script.bass(np.random.default_rng([5, number]))
        assert x.shape == (4 * script.RATE, 2)
        assert x.dtype == np.int16
        assert np.abs(x).max() < 32767 * script.PEAK + 1
        level = 20 * np.log10(active_rms(x.T.astype(np.float32) / 32768, script.RATE))
        assert level < script.LEVEL_DB + 0.1
        power = np.square(np.abs(np.fft.rfft(x[:, 0] / 32768)))
        hertz = np.fft.rfftfreq(len(x), 1 / script.RATE)
        assert power[(hertz > 20) & (hertz < 500)].sum() > 0.7 * power.sum()


def test_a_folder_of_basses_can_be_trained_on(script: Any, tmp_path: Path) -> None:
    assert script.main([str(tmp_path), "--count", "10"]) == 0
    files = sorted(tmp_path.rglob("bass.npy"))
    assert [path.parent.relative_to(tmp_path).as_posix() for path in files][-2:] == ["train/0008", "validation/0009"]
    times = [path.stat().st_mtime_ns for path in files]
    script.main([str(tmp_path), "--count", "10"])  # nothing is done anew
    assert [path.stat().st_mtime_ns for path in files] == times
    data = StemSet(prepared(tmp_path, "train"), ("bass", "drums"), require_all=False)
    x = data.example(generator(0, 0, 0), 1.0)
    assert x[0].any()
    assert not x[1].any()
