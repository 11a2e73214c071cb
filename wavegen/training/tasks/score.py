"""Training of score models that learn by gradients, on corpora of token sequences."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from wavegen.audio.features import FeatureSpec
from wavegen.audio.io import atomic
from wavegen.checkpoints.kinds import KINDS
from wavegen.errors import InputError
from wavegen.music.models.base import NeuralScoreModel
from wavegen.music.tokens import ROLL_HIGHEST, ROLL_LOWEST, IntArray, Vocabulary, vocabulary
from wavegen.training.config import build
from wavegen.training.data import cache_key, require_batch, seed_of, share
from wavegen.training.loop import Batch, Task, Trainer, Validation
from wavegen.training.speech_data import bucketed_batch

MODELS = {"lstm": "music-lstm", "gru": "music-gru", "transformer": "music-transformer", "vae": "music-vae"}
PARTS = ("train", "validation")


@dataclass(frozen=True)
class TokenCorpus:
    """Token sequences of one vocabulary ("tune" or "pianoroll"), to learn from and to judge by."""

    vocabulary: str
    train: list[IntArray]
    validation: list[IntArray]


def write_corpus(path: Path, corpus: TokenCorpus) -> None:
    """Write a corpus as .npz: ``vocabulary``, and per part its tokens in one row and the sequences' ``_lengths``."""
    arrays: dict[str, Any] = {"vocabulary": np.array(corpus.vocabulary)}
    for name in PARTS:
        sequences: list[IntArray] = getattr(corpus, name)
        arrays[name] = np.concatenate([np.zeros(0, np.int32), *sequences]).astype(np.int32)
        arrays[f"{name}_lengths"] = np.array([len(s) for s in sequences], dtype=np.int64)
    with atomic(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **arrays)


def read_corpus(path: Path) -> TokenCorpus:
    """Read what :func:`write_corpus` wrote. InputError names a part that is missing, or a sequence in error."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; a corpus is an .npz of token sequences")
    try:
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ("vocabulary", *PARTS, *(f"{name}_lengths" for name in PARTS))}
    except KeyError as error:
        raise InputError(f"{path}: {str(error.args[0]).split()[0]} is missing; is this a corpus of tokens?") from None
    except Exception as error:  # numpy's and zipfile's own, of which there are many
        raise InputError(f"{path}: not a readable .npz ({type(error).__name__})") from None
    vocab = vocabulary(str(arrays["vocabulary"]))
    parts = {name: _split(arrays[name], arrays[f"{name}_lengths"], vocab, f"{path}: {name}") for name in PARTS}
    return TokenCorpus(vocab.kind, parts["train"], parts["validation"])


def _split(row: IntArray, lengths: IntArray, vocab: Vocabulary, where: str) -> list[IntArray]:
    if lengths.ndim != 1 or row.ndim != 1 or len(lengths) == 0 or lengths.min() < 2 or lengths.sum() != len(row):
        raise InputError(f"{where}: its lengths must be at least 2 and sum to its {row.size} tokens")
    sequences = []
    for i, tokens in enumerate(np.split(row, np.cumsum(lengths)[:-1])):
        try:
            sequences.append(vocab.check(tokens))
        except InputError as error:
            raise InputError(f"{where}, sequence {i}: {error}") from None
    return sequences


@dataclass(frozen=True)
class ScoreTaskConfig:
    """``model``: lstm, gru, transformer or vae, and ``sizes`` the fields of its config but for the vocabulary.

    A step takes ``batch`` sequences, of which one longer than ``length`` tokens gives a part that begins with a bar
    or step. ``transpose`` moves rolls by up to so many semitones either way, as far as the piano reaches; tunes are
    all in C already.
    """

    model: str = "transformer"
    sizes: dict[str, Any] = field(default_factory=dict)
    batch: int = 32
    length: int = 512
    transpose: int = 0

    def __post_init__(self) -> None:
        require_batch(self.batch)
        if self.model not in MODELS:
            raise InputError(f"task.model: must be one of {', '.join(MODELS)}, not {self.model!r}")
        if self.length < 8:
            raise InputError(f"task.length must be at least 8 tokens, not {self.length}")
        if self.transpose < 0:
            raise InputError(f"task.transpose must not be negative: {self.transpose}")


class _Losses(nn.Module):
    """The model's losses as a forward pass, so that it learns data-parallel."""

    def __init__(self, model: NeuralScoreModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor, counts: Tensor) -> dict[str, Tensor]:
        return self.model.losses(tokens, counts)


class ScoreTask(Task):
    """Next-token prediction, or whatever a model's ``losses`` minimise."""

    model: NeuralScoreModel

    def __init__(self, config: ScoreTaskConfig, spec: FeatureSpec, corpus: TokenCorpus, seed: int) -> None:
        if corpus.vocabulary == "tune" and config.transpose:
            raise InputError("task.transpose: tunes are all written in C; only rolls can be transposed")
        self.config, self.spec, self.corpus, self.seed = config, spec, corpus, seed
        self.vocabulary = vocabulary(corpus.vocabulary)
        kind = KINDS[MODELS[config.model]]
        config_class, model_class = kind.classes()
        sizes = {"vocabulary": corpus.vocabulary, **config.sizes}
        self.model = model_class(build(config_class, sizes, "task.sizes"))
        self.lengths = [min(len(s), config.length) for s in corpus.train]
        self.modules = {"model": _Losses(self.model)}
        self.learning_rates = {}

    @classmethod
    def prepare(
        cls,
        config: ScoreTaskConfig,
        spec: FeatureSpec,
        data: Path,
        cache: Path,
        seed: int,
        progress: Callable[[int, int], None] | None = None,
    ) -> "tuple[ScoreTask, str]":
        """A task on a corpus file (:func:`write_corpus`), and the digest of its training part."""
        corpus = read_corpus(data)
        digest = cache_key(corpus.vocabulary, *(s.tolist() for s in corpus.train))
        return cls(config, spec, corpus, seed), digest

    def batch(self, step: int, rank: int, world: int) -> Batch:
        items = bucketed_batch(self.lengths, step, self.config.batch, self.seed)
        numbers = np.random.default_rng(seed_of(self.seed, step, 11)).random((len(items), 2))
        mine = share(range(len(items)), rank, world)
        return collate([self._drawn(items[k], numbers[k]) for k in mine], self.vocabulary)

    def _drawn(self, item: int, numbers: Sequence[float]) -> IntArray:
        """A sequence of the training part, cut to length and transposed by two uniform numbers."""
        tokens = excerpt(self.corpus.train[item], self.vocabulary, self.config.length, numbers[0])
        if not self.config.transpose:
            return tokens
        pitches = self.vocabulary.values[tokens[self.vocabulary.family("Pitch")[tokens]]]
        down = min(self.config.transpose, int(pitches.min(initial=ROLL_HIGHEST)) - ROLL_LOWEST)
        up = min(self.config.transpose, ROLL_HIGHEST - int(pitches.max(initial=ROLL_LOWEST)))
        shift = int(numbers[1] * (down + up + 1)) - down
        return np.where(self.vocabulary.family("Pitch")[tokens], tokens + shift, tokens)

    def step(self, trainer: Trainer, batch: Batch) -> dict[str, Tensor]:
        with trainer.autocast():
            losses = self.parallel["model"](batch["tokens"], batch["counts"])
        trainer.update("model", losses["total"])
        return {name: loss.detach() for name, loss in losses.items()}

    @torch.inference_mode()
    def validate(self, model: nn.Module) -> Validation:
        """Each loss as the mean over predicted tokens, and for rolls the NLL of a time step."""
        assert isinstance(model, NeuralScoreModel)
        sums: dict[str, float] = {}
        total = sum(len(s) - 1 for s in self.corpus.validation)
        order = sorted(self.corpus.validation, key=len)
        for first in range(0, len(order), self.config.batch):
            batch = collate(order[first : first + self.config.batch], self.vocabulary)
            device = next(model.parameters()).device
            losses = model.losses(batch["tokens"].to(device), batch["counts"].to(device))
            share_of = float((batch["counts"] - 1).sum()) / total
            for name, loss in losses.items():
                sums[name] = sums.get(name, 0.0) + share_of * float(loss)
        if self.vocabulary.kind == "pianoroll" and "nll" in sums:
            steps = sum(int((s == self.vocabulary.index("Step")).sum()) for s in order)
            sums["nll_per_step"] = sums["nll"] * total / steps
        return Validation(sums)


def excerpt(tokens: IntArray, vocab: Vocabulary, length: int, place: float) -> IntArray:
    """At most so many tokens: what opens the sequence, then a part from a bar or step on, at a place in [0, 1)."""
    if len(tokens) <= length:
        return tokens
    if vocab.kind == "tune":
        starts, opening = np.flatnonzero(vocab.family("Bar")[tokens]), 3
    else:
        starts, opening = 1 + np.flatnonzero(vocab.family("Begin", "Step")[tokens])[:-1], 1
    enough = int((starts + length - opening <= len(tokens)).sum())
    begin = int(starts[min(int(place * (enough + 1)), len(starts) - 1)])  # the last of them reaches the sequence's end
    return np.concatenate([tokens[:opening], tokens[begin : begin + length - opening]])


def collate(sequences: list[IntArray], vocab: Vocabulary) -> Batch:
    """``tokens`` (batch, n), padded with what may stand at the end, and ``counts`` (batch,) of those that count."""
    rows = [torch.from_numpy(np.ascontiguousarray(s)) for s in sequences]
    return {
        "tokens": pad_sequence(rows, batch_first=True, padding_value=vocab.padding),
        "counts": torch.tensor([len(s) for s in sequences]),
    }
