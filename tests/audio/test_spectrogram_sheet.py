"""The sheet of spectrograms that is drawn from blocks."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from wavegen.audio.plots import SpectrogramSheet
from wavegen.errors import InputError

RATE = 8000


def sheet_of(signal: np.ndarray, sizes: list[int]) -> SpectrogramSheet:
    sheet = SpectrogramSheet(("a", "b"), RATE, signal.size)
    start = 0
    while start < signal.size:
        size = sizes[start % len(sizes)]
        block = signal[start : start + size].astype(np.float32)
        sheet.add(np.stack([block, block / 10])[:, None])
        start += size
    return sheet


@pytest.mark.parametrize("count", [1, 100, 30_000, 1_500_000])
def test_blocks_do_not_matter_and_a_tone_is_where_it_belongs(count: int, tmp_path: Path) -> None:
    signal = np.cos(2 * np.pi * 1000 * np.arange(count) / RATE)
    sheets = [sheet_of(signal, sizes) for sizes in ([count], [777, 64_000, 5000])]
    for sheet in sheets:
        sheet.save(tmp_path / "sheet.svg", title="$ not mathematics")
    levels = [sheet._levels for sheet in sheets]
    assert np.array_equal(levels[0], levels[1])
    assert levels[0].shape[2] <= 2000
    assert (levels[0] > 0).any(axis=1).sum() >= levels[0].shape[2]
    if count > 1000:
        bins = levels[0].shape[1] - 1
        assert (levels[0][0].argmax(axis=0) == round(1000 / (RATE / 2) * bins)).all()
        assert np.abs(levels[0][1] - levels[0][0] / 10).max() < 1e-4 * levels[0].max()


def test_silence_and_bad_paths(tmp_path: Path) -> None:
    sheet = sheet_of(np.zeros(5000), [5000])
    sheet.save(tmp_path / "silence.png")
    assert (tmp_path / "silence.png").stat().st_size > 1000
    with pytest.raises(InputError, match="a picture ends in"):
        sheet.save(tmp_path / "silence.wav")
