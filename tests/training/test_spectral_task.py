"""Training of the spectral vocoder on tones: the network learns where in a band the energy lies."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from wavegen.audio.features import CONVENTIONS
from wavegen.errors import InputError
from wavegen.training.data import read_metadata, split_by_text
from wavegen.training.loop import LoopConfig, Trainer
from wavegen.training.tasks.spectral import SpectralTask, SpectralTaskConfig
from wavegen.vocoders.spectral import SpectralVocoder, SpectralVocoderConfig

SPEC = dataclasses.replace(CONVENTIONS["music-24k"], n_fft=512, window=512, hop=128, bands=24)
CONFIG = SpectralTaskConfig(SpectralVocoderConfig(channels=24, hidden=48, layers=1, iterations=1), batch=6, frames=16)


def signal(frequency: float) -> np.ndarray:
    """A tone with harmonics over a little noise."""
    t = np.arange(12000) / 24000
    tone = sum(np.sin(2 * np.pi * h * frequency * t) / h for h in range(1, 6))
    return np.asarray(tone + 0.05 * np.random.default_rng(1).standard_normal(12000))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    lines = []
    for i in range(40):
        soundfile.write(tmp_path / f"t{i}.wav", 0.1 * signal(rng.uniform(200, 2000)), 24000)
        lines.append(f"t{i}|t{i}")
    (tmp_path / "metadata.csv").write_text("\n".join(lines))
    return tmp_path


def test_it_learns_and_its_model_is_read_again(folder: Path) -> None:
    from wavegen import load

    torch.manual_seed(0)
    task = SpectralTask(CONFIG, SPEC, split_by_text(read_metadata(folder)), folder / "cache", 1)
    before = task.validate(task.model).scalars
    loop = LoopConfig(steps=200, learning_rate=1e-2, warmup_steps=10, tensorboard=False, amp=False, ema=0.9)
    Trainer(task, loop, folder / "run", card={"summary": "tones"}).run()
    model = load(folder / "run" / "model.safetensors", role="vocoder")
    assert isinstance(model, SpectralVocoder)
    after = task.validate(model).scalars
    assert after["log"] < 0.9 * before["log"]
    assert after["mel"] < 0.6 * before["mel"]
    assert after["convergence"] < 0.6 * before["convergence"]


def test_pairs_are_of_the_same_frames(folder: Path) -> None:
    task = SpectralTask(CONFIG, SPEC, split_by_text(read_metadata(folder)), folder / "cache", 1)
    mel, spectrum = task._pair(task.batch(0, 0, 1)["waveform"])
    assert mel.shape == (6, 24, 16)
    assert spectrum.shape == (6, 257, 16)
    filters = task.extractor.filters if hasattr(task.extractor, "filters") else None
    if filters is not None:
        torch.testing.assert_close(
            torch.log((filters @ torch.exp(spectrum)).clamp(min=1e-5)), mel, rtol=1e-2, atol=5e-2
        )


def test_refused(folder: Path) -> None:
    parts = split_by_text(read_metadata(folder))
    with pytest.raises(InputError, match="longer than a segment"):
        SpectralTask(dataclasses.replace(CONFIG, frames=500), SPEC, parts, folder / "cache", 1)
    with pytest.raises(InputError, match="frames"):
        SpectralTaskConfig(frames=0)
