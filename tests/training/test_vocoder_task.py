"""The vocoder's material: segments of short recordings, and mels that were predicted."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from wavegen.audio.features import FeatureSpec
from wavegen.errors import InputError
from wavegen.training.data import Utterance
from wavegen.training.tasks.vocoder import PredictedMels, VocoderTask, VocoderTaskConfig
from wavegen.vocoders.istft import ISTFTVocoderConfig

SPEC = FeatureSpec()
FRAMES = 8
NEED = (2 + FRAMES) * 256 + 384  # two frames hold the padding before a segment, 384 samples follow it


def folder_of(folder: Path, lengths: list[int]) -> list[Utterance]:
    utterances = []
    for i, samples in enumerate(lengths):
        path = folder / f"u{i}.wav"
        soundfile.write(path, 0.1 * np.sin(np.arange(samples) * 0.05 + i), 24000)
        utterances.append(Utterance(f"u{i}", "x", path))
    return utterances


def task_of(folder: Path, lengths: list[int], validation: list[int], **settings: Any) -> VocoderTask:
    (folder / "train").mkdir()
    (folder / "validation").mkdir()
    parts = {
        "train": folder_of(folder / "train", lengths),
        "validation": folder_of(folder / "validation", validation),
    }
    config = VocoderTaskConfig(
        ISTFTVocoderConfig(8, 12, 1, 3), batch=4, frames=FRAMES, stft_sizes=(128,), adversarial_from=1.0, **settings
    )
    return VocoderTask(config, SPEC, parts, folder / "cache", seed=1)


def test_recordings_hardly_longer_than_a_segment(tmp_path: Path) -> None:
    """Every length around that of a segment is either left out or gives whole segments."""
    lengths = [NEED - 200, NEED - 100, NEED - 1, NEED, NEED + 1, NEED + 300]
    task = task_of(tmp_path, lengths, [4800])
    assert task.usable == [3, 4, 5]
    for step in range(6):
        batch = task.batch(step, 0, 1)
        assert batch["waveform"].shape == (4, FRAMES * 256 + 2 * 384)
        assert batch["waveform"].abs().amax(dim=1).min() > 0


def test_shares_of_two_processes_make_up_the_batch(tmp_path: Path) -> None:
    task = task_of(tmp_path, [9000, 8000, 7000], [4800])
    whole = task.batch(5, 0, 1)["waveform"]
    for rank in (0, 1):
        assert task.batch(5, rank, 2)["waveform"].equal(whole[rank::2])
    with pytest.raises(InputError, match="shared evenly by 3"):
        task.batch(5, 0, 3)


def test_validation_passes_over_what_is_too_short(tmp_path: Path) -> None:
    task = task_of(tmp_path, [9000], [100, 4800, 300])
    found = task.validate(task.model)
    assert found.scalars["mel"] > 0
    assert set(found.mels) == {"output/0"}
    (tmp_path / "other").mkdir()
    with pytest.raises(InputError, match="no validation utterance is longer than 1024"):
        task_of(tmp_path / "other", [9000], [100])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch": 0}, "task.batch must be positive"),
        ({"frames": 0}, "task.frames must be positive"),
        ({"stft_sizes": ()}, "task.stft_sizes"),
        ({"gain_db": (1.0,)}, "task.gain_db must be two values"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        VocoderTaskConfig(**settings)


def test_segment_too_short_for_a_discriminator_is_named(tmp_path: Path) -> None:
    parts = {"train": [], "validation": []}
    with pytest.raises(InputError, match="4 frames are too short for a resolution of 2048"):
        VocoderTask(VocoderTaskConfig(frames=4), SPEC, parts, tmp_path, seed=1)


def test_predicted_mels_hold_no_files_open(tmp_path: Path) -> None:
    names = [f"{i}" for i in range(40)]
    mels = np.random.default_rng(0).standard_normal((40, 100, 30)).astype(np.float16)
    for name, mel in zip(names, mels, strict=True):
        np.save(tmp_path / f"{name}.npy", mel)
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else 0
    predicted = PredictedMels(tmp_path, names, 100)
    for i in range(40):
        segment = predicted.segment(i, 5, 20)
        assert segment is not None
        assert np.array_equal(segment.numpy(), mels[i, :, 5:25].astype(np.float32))
    assert predicted.segment(0, 11, 20) is None
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before


def test_faulty_predicted_mels_are_named(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((80, 30), np.float16))
    (tmp_path / "b.npy").write_bytes(b"not an array")
    predicted = PredictedMels(tmp_path, ["a", "b"], 100)
    with pytest.raises(InputError, match=r"a\.npy: a predicted mel must be \(100, frames\), not \(80, 30\)"):
        predicted.segment(0, 0, 8)
    with pytest.raises(InputError, match=r"b\.npy: not a predicted mel"):
        predicted.segment(1, 0, 8)
