"""Utterances as phonemes, mels and pitch, computed once and cached; and batches of similar length."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from wavegen import checkpoints, text
from wavegen.acoustic.aligner import Aligner
from wavegen.acoustic.tokens import token_ids
from wavegen.audio.features import FeatureSpec, MelSpectrogram
from wavegen.audio.io import atomic
from wavegen.audio.pitch import pitch
from wavegen.errors import InputError
from wavegen.training.data import LEVEL_DB, MARGIN_SECONDS, PEAK, Utterance, cache_key, cached_waveforms


@dataclass(frozen=True)
class SpeechSet:
    """Item i: ``tokens[i]``, ``mel(i)`` (bands, frames), ``f0(i)`` in Hz (frames,), 0 where unvoiced."""

    ids: list[str]
    tokens: list[Tensor]
    frames: NDArray[np.float16]
    pitch: NDArray[np.float32]
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def frame_counts(self) -> list[int]:
        return [int(n) for n in np.diff(self.starts)]

    def mel(self, index: int) -> Tensor:
        return torch.from_numpy(self.frames[self.starts[index] : self.starts[index + 1]].astype(np.float32)).T

    def f0(self, index: int) -> NDArray[np.float32]:
        return np.asarray(self.pitch[self.starts[index] : self.starts[index + 1]])

    def mel_statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each band over all frames."""
        x = torch.from_numpy(np.asarray(self.frames).astype(np.float32))
        return x.mean(dim=0), x.std(dim=0).clamp(min=1e-3)


def speech_set(
    utterances: list[Utterance], spec: FeatureSpec, cache: Path, progress: Callable[[int, int], None] | None = None
) -> SpeechSet:
    """The set of some utterances; mel and pitch are computed once and kept in ``cache``.

    InputError names the utterance whose text has no phonemes or more of them than its recording has frames.
    """
    tokens = [torch.tensor(token_ids(_phonemes(u))) for u in utterances]
    waves = cached_waveforms(utterances, spec.sample_rate, cache)
    stats = [(u.id, u.path.stat().st_size, u.path.stat().st_mtime_ns) for u in utterances]
    key = cache_key("speech-1", spec.to_dict(), LEVEL_DB, PEAK, MARGIN_SECONDS, stats)
    paths = {name: cache / f"speech-{key}.{name}.npy" for name in ("mel", "pitch", "starts")}
    if not all(path.is_file() for path in paths.values()):
        extractor = MelSpectrogram(spec)
        mels, pitches = [], []
        for i in range(len(waves)):
            wave = waves.waveform(i)
            try:
                mel = extractor(torch.from_numpy(wave)).T.numpy().astype(np.float16)
            except InputError as error:
                raise InputError(f"{utterances[i].path}: {error}") from None
            f0 = np.zeros(len(mel), np.float32)
            found = pitch(wave, spec.sample_rate, spec.hop).f0[: len(mel)]
            f0[: len(found)] = found
            mels.append(mel)
            pitches.append(f0)
            if progress is not None:
                progress(i + 1, len(waves))
        arrays = {
            "mel": np.concatenate(mels),
            "pitch": np.concatenate(pitches),
            "starts": np.concatenate([[0], np.cumsum([len(m) for m in mels])]).astype(np.int64),
        }
        for name, array in arrays.items():
            with atomic(paths[name]) as temporary, open(temporary, "wb") as file:
                np.save(file, array)
    starts = np.load(paths["starts"])
    for utterance, symbols, frames in zip(utterances, tokens, np.diff(starts), strict=True):
        if len(symbols) > frames:
            raise InputError(
                f"{utterance.path}: {len(symbols)} symbols cannot be aligned to {frames} frames; does its text belong?"
            )
    return SpeechSet(
        [u.id for u in utterances],
        tokens,
        np.load(paths["mel"], mmap_mode="r"),
        np.load(paths["pitch"], mmap_mode="r"),
        starts,
    )


def _phonemes(utterance: Utterance) -> tuple[str, ...]:
    """A transcript's phonemes; the sentences of a longer one follow each other."""
    symbols: list[str] = []
    try:
        parts = text.analyse(utterance.text)
    except InputError as error:
        raise InputError(f"{utterance.path}: {error}") from None
    for part in parts:
        if isinstance(part, text.Utterance):
            symbols += [" ", *part.phonemes] if symbols else part.phonemes
    return tuple(symbols)


def bucketed_batch(lengths: Sequence[int], step: int, batch: int, seed: int, group: int = 8) -> list[int]:
    """The items of one step: each epoch is shuffled, sorted by length within groups of batches, and shuffled again.

    A function of its arguments alone. An epoch leaves out the last few items that do not fill a batch.
    """
    batch = min(batch, len(lengths))
    per_epoch = len(lengths) // batch
    epoch, position = divmod(step, per_epoch)
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(lengths))[: per_epoch * batch]
    span = group * batch
    groups = [sorted(order[i : i + span], key=lambda k: (lengths[k], k)) for i in range(0, len(order), span)]
    flat = [int(k) for items in groups for k in items]
    chosen = int(random.permutation(per_epoch)[position])
    return flat[chosen * batch : (chosen + 1) * batch]


def pad_stack(items: list[Tensor]) -> Tensor:
    """Tensors of different length along their first axis, zero-padded to one batch."""
    return pad_sequence(items, batch_first=True)


def token_means(
    values: NDArray[np.float32], durations: NDArray[np.int64], valid: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Mean of the valid frames of each token, 0 where there is none. (frames,), (symbols,), (frames,) → (symbols,)."""
    ends = np.cumsum(durations)
    sums = np.concatenate([[0.0], np.cumsum(np.where(valid, values, 0.0), dtype=np.float64)])
    counts = np.concatenate([[0], np.cumsum(valid)])
    total = sums[ends] - sums[ends - durations]
    number = counts[ends] - counts[ends - durations]
    return np.asarray(np.divide(total, number, out=np.zeros(len(ends)), where=number > 0), np.float32)


def cached_durations(data: SpeechSet, spec: FeatureSpec, aligner: Path, cache: Path) -> list[NDArray[np.int64]]:
    """Frames of every token of every item, by a trained aligner of the same spec; kept in ``cache``."""
    tokens = [t.tolist() for t in data.tokens]
    key = cache_key("durations-1", data.ids, tokens, data.starts.tolist(), aligner.stat().st_mtime_ns, str(aligner))
    path = cache / f"durations-{key}.json"
    if not path.is_file():
        model = cast(Aligner, checkpoints.load(aligner, role="aligner"))
        model.spec.require(spec, str(aligner))
        found = [model.durations(data.tokens[i], data.mel(i)).tolist() for i in range(len(data))]
        with atomic(path) as temporary:
            temporary.write_text(json.dumps(found))
    return [np.array(d, np.int64) for d in json.loads(path.read_text())]
