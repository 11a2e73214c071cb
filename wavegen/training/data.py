"""Speech folders in LJSpeech layout: reading, splitting by text, and waveforms cached as one file.

A folder holds ``metadata.csv`` with lines ``id|text`` (or ``id|raw text|normalised text``) and the audio as ``id.wav``,
``.flac``, ``.ogg``, ``.opus`` or ``.mp3``, beside it or in ``wavs/``.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wavegen.audio.io import atomic, read
from wavegen.audio.resample import resample
from wavegen.errors import InputError

EXTENSIONS = (".wav", ".flac", ".ogg", ".opus", ".mp3")
LEVEL_DB = -23.0
PEAK = 0.95
MARGIN_SECONDS = 0.1


@dataclass(frozen=True)
class Utterance:
    """One recording: its name, what is said in it, and its audio file."""

    id: str
    text: str
    path: Path


def read_metadata(folder: Path) -> list[Utterance]:
    """The utterances of a folder in LJSpeech layout, in its order. InputError names the line that does not fit."""
    source = Path(folder) / "metadata.csv"
    try:
        lines = source.read_text(encoding="utf-8-sig").split("\n")  # splitlines would break texts at U+2028 and others
    except OSError as error:
        raise InputError(f"{source}: {error.strerror or error} (expected a folder in LJSpeech layout)") from None
    except UnicodeDecodeError:
        raise InputError(f"{source}: not UTF-8 text") from None
    utterances, seen = [], set()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        columns = line.split("|")
        if len(columns) < 2 or not columns[-1].strip():
            raise InputError(f"{source}, line {number}: expected id|text")
        name = columns[0].strip()
        if name in seen:
            raise InputError(f"{source}, line {number}: {name} occurs twice")
        seen.add(name)
        utterances.append(Utterance(name, columns[-1].strip(), _audio_path(Path(folder), name, source, number)))
    if not utterances:
        raise InputError(f"{source}: no utterances")
    return utterances


def _audio_path(folder: Path, name: str, source: Path, number: int) -> Path:
    for place in (folder / "wavs", folder):
        for extension in EXTENSIONS:
            path = place / f"{name}{extension}"
            if path.is_file():
                return path
    raise InputError(f"{source}, line {number}: no audio file {name}.wav (or {', '.join(EXTENSIONS[1:])}) in {folder}")


def split_by_text(utterances: list[Utterance]) -> dict[str, list[Utterance]]:
    """Train, validation and test (about 93, 2 and 5 %), so that no text is in two of them.

    A text's place depends on its letters alone, so it stays where it is when the folder grows. Only a folder so small
    that nothing falls to validation lends it one training text.
    """
    parts: dict[str, list[Utterance]] = {"train": [], "validation": [], "test": []}
    for utterance in utterances:
        bucket = _digest(_letters(utterance)) % 100
        parts["test" if bucket < 5 else "validation" if bucket < 7 else "train"].append(utterance)
    if not parts["validation"] and len({_letters(u) for u in parts["train"]}) > 1:
        last = max(map(_letters, parts["train"]), key=_digest)
        parts["validation"] = [u for u in parts["train"] if _letters(u) == last]
        parts["train"] = [u for u in parts["train"] if _letters(u) != last]
    return parts


def _letters(utterance: Utterance) -> str:
    return "".join(c for c in utterance.text.lower() if c.isalnum())


def _digest(letters: str) -> int:
    return int.from_bytes(hashlib.sha256(letters.encode()).digest()[:4], "big")


def prepare_waveform(samples: NDArray[np.float32], source_rate: int, target_rate: int) -> NDArray[np.float32]:
    """A recording (channels, samples) as training material (samples,): mono, resampled, trimmed and levelled.

    The mean is removed; silence further than 0.1 s from the first and last sound (40 dB under the loudest 20 ms) is
    cut; the root mean square of the 20 ms blocks above that threshold is brought to -23 dB, the peak kept under 0.95.
    """
    x: NDArray[np.float32] = resample(samples.mean(axis=0, dtype=np.float32), source_rate, target_rate)
    x = x - x.mean(dtype=np.float64).astype(np.float32)
    block = max(1, target_rate // 50)
    if len(x) < 2 * block:
        return x
    power = np.square(x[: len(x) // block * block].reshape(-1, block), dtype=np.float64).mean(axis=1)
    loud = np.flatnonzero(power > power.max() * 1e-4)
    if len(loud) == 0:
        return x
    margin = int(MARGIN_SECONDS * target_rate)
    x = x[max(0, loud[0] * block - margin) : (loud[-1] + 1) * block + margin]
    gain = 10 ** (LEVEL_DB / 20) / np.sqrt(power[loud].mean())
    gain = min(gain, PEAK / float(np.abs(x).max()))
    return np.asarray(x * gain, np.float32)


@dataclass(frozen=True)
class WaveformSet:
    """Waveforms laid end to end in one memory-mapped int16 array: item i is ``samples[starts[i]:starts[i + 1]]``."""

    ids: list[str]
    samples: NDArray[np.int16]
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)

    def length(self, index: int) -> int:
        return int(self.starts[index + 1] - self.starts[index])

    def waveform(self, index: int, start: int = 0, count: int | None = None) -> NDArray[np.float32]:
        """Float samples of an item, or of a span of it."""
        low, high = int(self.starts[index]), int(self.starts[index + 1])
        stop = high if count is None else min(high, low + start + count)
        return self.samples[low + start : stop].astype(np.float32) / 32768.0


def cache_key(*parts: object) -> str:
    """A short name for everything that decides a cached file's content."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def cached_waveforms(
    utterances: list[Utterance], sample_rate: int, cache: Path, progress: Callable[[int, int], None] | None = None
) -> WaveformSet:
    """Prepared waveforms of the utterances, decoded once and kept in ``cache``.

    The file's name is a digest of every source's path, size and modification time and of the preparation's constants.
    """
    stats = [(u.id, str(u.path.resolve()), u.path.stat().st_size, u.path.stat().st_mtime_ns) for u in utterances]
    key = cache_key("waveforms-1", sample_rate, LEVEL_DB, PEAK, MARGIN_SECONDS, stats)
    samples_path, index_path = cache / f"waveforms-{key}.npy", cache / f"waveforms-{key}.json"
    if not (samples_path.is_file() and index_path.is_file()):
        pieces = []
        for done, utterance in enumerate(utterances):
            audio = read(utterance.path)
            if not audio.samples.size:
                raise InputError(f"{utterance.path}: no samples")
            x = prepare_waveform(audio.samples, audio.sample_rate, sample_rate)
            pieces.append(np.clip(np.round(x * 32768.0), -32768, 32767).astype(np.int16))
            if progress is not None:
                progress(done + 1, len(utterances))
        lengths = [len(p) for p in pieces]
        cache.mkdir(parents=True, exist_ok=True)
        with atomic(samples_path) as temporary, open(temporary, "wb") as file:
            np.save(file, np.concatenate(pieces))
        with atomic(index_path) as temporary:
            temporary.write_text(json.dumps({"lengths": lengths}))
    lengths = json.loads(index_path.read_text())["lengths"]
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return WaveformSet([u.id for u in utterances], np.load(samples_path, mmap_mode="r"), starts)


def seed_of(*values: int) -> int:
    """One seed of several non-negative integers."""
    return int(np.random.SeedSequence(values).generate_state(1, np.uint64)[0] >> np.uint64(1))


def epoch_order(count: int, epoch: int, seed: int) -> NDArray[np.int64]:
    """The order of items in an epoch: a function of the seed alone, so a resumed run sees what the whole would."""
    return np.random.default_rng([seed, epoch]).permutation(count)


def require_batch(batch: int) -> None:
    """Raise InputError unless a batch has a positive size."""
    if batch < 1:
        raise InputError(f"task.batch must be positive, not {batch}")


def share(items: Sequence[int], rank: int, world: int) -> list[int]:
    """One process's part of a batch. InputError unless all get equally many, without which gradients weigh unevenly."""
    if len(items) % world:
        raise InputError(f"task.batch: {len(items)} utterances cannot be shared evenly by {world} processes")
    return list(items[rank::world])


def batch_indices(count: int, step: int, batch: int, seed: int) -> list[int]:
    """The items of one step's batch, drawn without replacement within each epoch."""
    positions = range(step * batch, (step + 1) * batch)
    orders = {epoch: epoch_order(count, epoch, seed) for epoch in {p // count for p in positions}}
    return [int(orders[p // count][p % count]) for p in positions]
