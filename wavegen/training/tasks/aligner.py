"""Training of the aligner, and the durations it yields."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from wavegen.acoustic.aligner import Aligner, AlignerConfig, forward_sum_loss
from wavegen.audio.features import FeatureSpec
from wavegen.training.data import Utterance, require_batch, share
from wavegen.training.loop import Batch, Task, Trainer, Validation
from wavegen.training.speech_data import SpeechSet, bucketed_batch, pad_stack, speech_set


@dataclass(frozen=True)
class AlignerTaskConfig:
    """``batch`` utterances a step."""

    model: AlignerConfig = field(default_factory=AlignerConfig)
    batch: int = 16

    def __post_init__(self) -> None:
        require_batch(self.batch)


class AlignerTask(Task):
    """Phonemes and mels → soft alignment, by the forward-sum loss."""

    def __init__(
        self,
        config: AlignerTaskConfig,
        spec: FeatureSpec,
        parts: dict[str, list[Utterance]],
        cache: Path,
        seed: int,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.config, self.spec, self.seed = config, spec, seed
        self.train_set = speech_set(parts["train"], spec, cache, progress)
        self.validation_set = speech_set(parts["validation"], spec, cache, progress)
        self.model = Aligner(config.model, spec)
        mean, std = self.train_set.mel_statistics()
        self.model.mean.copy_(mean)
        self.model.std.copy_(std)
        self.modules = {"model": self.model}
        self.learning_rates = {}

    def batch(self, step: int, rank: int, world: int) -> Batch:
        items = bucketed_batch(self.train_set.frame_counts, step, self.config.batch, self.seed)
        return self._collate(self.train_set, share(items, rank, world))

    @staticmethod
    def _collate(data: SpeechSet, items: list[int]) -> Batch:
        return {
            "tokens": pad_stack([data.tokens[i] for i in items]),
            "mel": pad_stack([data.mel(i).T for i in items]).transpose(1, 2),
            "token_counts": torch.tensor([len(data.tokens[i]) for i in items]),
            "frame_counts": torch.tensor([data.frame_counts[i] for i in items]),
        }

    def _loss(self, model: nn.Module, batch: Batch) -> Tensor:
        counts = batch["token_counts"], batch["frame_counts"]
        return forward_sum_loss(model(batch["tokens"], batch["mel"], *counts), *counts)

    def step(self, trainer: Trainer, batch: Batch) -> dict[str, Tensor]:
        with trainer.autocast():
            loss = self._loss(self.parallel["model"], batch)
        trainer.update("model", loss)
        return {"forward_sum": loss.detach()}

    @torch.inference_mode()
    def validate(self, model: nn.Module) -> Validation:
        device = next(model.parameters()).device
        total = 0.0
        for i in range(len(self.validation_set)):
            batch = {k: v.to(device) for k, v in self._collate(self.validation_set, [i]).items()}
            total += float(self._loss(model, batch))
        return Validation({"forward_sum": total / max(1, len(self.validation_set))})
