"""Segments of recordings to train a vocoder on: which, at what gain, with the recording's mel or a predicted one."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wavegen.errors import InputError
from wavegen.training.data import batch_indices, require_batch, seed_of, share


@dataclass(frozen=True)
class Draw:
    """One segment of a batch: the ``item`` it is cut from, its ``place`` there in [0, 1), and what is done to it."""

    item: int
    place: float
    gain_db: float
    predicted: bool


def draws(
    count: int,
    step: int,
    batch: int,
    seed: int,
    rank: int,
    world: int,
    *,
    gain_db: tuple[float, ...],
    predicted_share: float,
) -> list[Draw]:
    """One process's segments of a step, of ``count`` items: a function of the seed and the step."""
    items = batch_indices(count, step, batch, seed)
    generator = torch.Generator().manual_seed(seed_of(seed, step, 7))
    numbers = torch.rand(batch, 3, generator=generator)
    low, high = gain_db
    return [
        Draw(
            items[k],
            float(numbers[k, 0]),
            low + (high - low) * float(numbers[k, 1]),
            float(numbers[k, 2]) < predicted_share,
        )
        for k in share(range(batch), rank, world)
    ]


def with_gain(waveform: NDArray[np.float32], gain_db: float) -> NDArray[np.float32]:
    """The waveform louder by so many dB, but no louder than full scale."""
    louder = waveform * 10 ** (gain_db / 20)
    scaled: NDArray[np.float32] = louder / max(float(abs(louder).max()), 1.0)
    return scaled


def require_segments(batch: int, frames: int, gain_db: tuple[float, ...]) -> None:
    """Raise InputError unless a task's sizes and range of gains are ones to draw segments by."""
    require_batch(batch)
    if frames < 1:
        raise InputError(f"task.frames must be positive, not {frames}")
    if len(gain_db) != 2 or not all(-120 <= g <= 120 for g in gain_db):
        raise InputError(f"task.gain_db must be two values from -120 to 120, not {gain_db}")


class PredictedMels:
    """Mels an acoustic model predicted for the training utterances with the recordings' own durations: ID.npy each.

    The files are opened when needed: a mapped file holds a descriptor, and thousands are more than a process may have.
    """

    def __init__(self, folder: Path, ids: list[str], bands: int) -> None:
        self.bands = bands
        self.paths = [folder / f"{name}.npy" for name in ids]
        missing = [path.name for path in self.paths if not path.is_file()]
        if missing:
            raise InputError(f"{folder}: no predicted mel {missing[0]} ({len(missing)} of {len(ids)} are missing)")

    def segment(self, index: int, frame: int, frames: int) -> Tensor | None:
        """(bands, frames) from a frame on, or None where the mel is shorter than that."""
        path = self.paths[index]
        try:
            mel = np.load(path, mmap_mode="r")
        except (ValueError, EOFError, OSError) as error:
            raise InputError(f"{path}: not a predicted mel ({error})") from None
        if mel.ndim != 2 or mel.shape[0] != self.bands:
            raise InputError(f"{path}: a predicted mel must be ({self.bands}, frames), not {mel.shape}")
        if frame + frames > mel.shape[-1]:
            return None
        return torch.from_numpy(mel[:, frame : frame + frames].astype("float32"))
