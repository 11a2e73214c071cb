"""Training of the acoustic model of scores on rendered parts."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from wavegen.acoustic.rolls import Sounding
from wavegen.acoustic.score import ScoreTransformer, ScoreTransformerConfig
from wavegen.audio.features import FeatureSpec, MelSpectrogram
from wavegen.errors import InputError
from wavegen.training.data import batch_indices, cache_key, require_batch, seed_of, share
from wavegen.training.loop import Batch, Task, Trainer, Validation
from wavegen.training.rendered import RenderedItem, RenderedSet, read_rendered
from wavegen.training.tasks.mel import loudness
from wavegen.vocoders.griffin_lim import GriffinLim

STATISTICS_ITEMS = 200


@dataclass(frozen=True)
class ScoreMelTaskConfig:
    """``batch`` spans of ``frames`` mel frames a step.

    The loss is the L1 distance, a span's loudest values weighing 1 + ``peak_weight`` (partials rather than what lies
    between them), with ``base_weight`` times that of the summed notes alone, and ``rise_weight`` times that of the
    rises over two frames, which place the onsets.
    """

    model: ScoreTransformerConfig = field(default_factory=ScoreTransformerConfig)
    batch: int = 12
    frames: int = 128
    base_weight: float = 0.5
    rise_weight: float = 0.5
    peak_weight: float = 3.0

    def __post_init__(self) -> None:
        require_batch(self.batch)
        if self.frames < 8:
            raise InputError(f"task.frames must be at least 8, not {self.frames}")


class ScoreMelTask(Task):
    """Notes → the mel of their rendering. Trains in one process."""

    model: ScoreTransformer
    single = True
    statistics = ("mel_mean", "mel_std")

    def __init__(
        self,
        config: ScoreMelTaskConfig,
        spec: FeatureSpec,
        data: Path,
        cache: Path,
        seed: int,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.config, self.spec, self.seed = config, spec, seed
        self.train_set, self.validation_set = read_rendered(data, "train"), read_rendered(data, "validation")
        if self.train_set.sample_rate != spec.sample_rate:
            raise InputError(f"{data}: rendered at {self.train_set.sample_rate} Hz, not {spec.sample_rate} Hz")
        if self.train_set.fonts != config.model.fonts:
            raise InputError(f"task.model.fonts: {data} holds {self.train_set.fonts} SoundFonts")
        self.extractor = MelSpectrogram(spec)
        self.model = ScoreTransformer(config.model, spec)
        self._measure()
        self.modules = {"model": self.model}
        self.learning_rates = {}

    @classmethod
    def prepare(
        cls,
        config: ScoreMelTaskConfig,
        spec: FeatureSpec,
        data: Path,
        cache: Path,
        seed: int,
        progress: Callable[[int, int], None] | None = None,
    ) -> tuple["ScoreMelTask", str]:
        """The task on a folder of rendered parts, and a digest of what it holds."""
        task = cls(config, spec, data, cache, seed, progress)
        return task, cache_key([(item.id, item.samples) for item in task.train_set.items])

    def _measure(self) -> None:
        """Mean and deviation of the mel's bands over some of the training items."""
        rng = np.random.default_rng(self.seed)
        mels = []
        for i in rng.permutation(len(self.train_set.items))[:STATISTICS_ITEMS]:
            item = self.train_set.items[i]
            mels.append(self._mel([self._wave(self.train_set, item, 0, item.samples // self.spec.hop)])[0])
        joined = torch.cat(mels, dim=1)
        self.model.mel_mean.copy_(joined.mean(dim=1))
        self.model.mel_std.copy_(joined.std(dim=1).clamp(min=0.1))

    def _wave(self, data: RenderedSet, item: RenderedItem, first: int, frames: int) -> Tensor:
        hop, pad = self.spec.hop, self.spec.pad
        return torch.from_numpy(data.waveform(item, first * hop - pad, frames * hop + 2 * pad))

    def _mel(self, waves: list[Tensor]) -> Tensor:
        mel: Tensor = self.extractor(torch.stack(waves), pad=False)
        return mel

    def _example(self, data: RenderedSet, items: list[tuple[RenderedItem, int]], frames: int) -> Batch:
        notes = [item.part.sounding(self.spec, first, frames) for item, first in items]
        fonts = [torch.full((len(n),), item.font) for n, (item, _) in zip(notes, items, strict=True)]
        joined = Sounding.joined(notes, frames)
        waves = [self._wave(data, item, first, frames) for item, first in items]
        return {**vars(joined), "font": torch.cat(fonts), "mel": self._mel(waves)}

    def batch(self, step: int, rank: int, world: int) -> Batch:
        frames, chosen = self.config.frames, []
        places = batch_indices(len(self.train_set.items), step, self.config.batch, self.seed)
        for index in share(places, rank, world):
            item = self.train_set.items[index]
            rng = np.random.default_rng(seed_of(self.seed, step, index))
            chosen.append((item, int(rng.integers(0, max(1, item.samples // self.spec.hop - frames)))))
        return self._example(self.train_set, chosen, frames)

    def step(self, trainer: Trainer, batch: Batch) -> dict[str, Tensor]:
        mel = batch["mel"]
        notes = Sounding(**{name: batch[name] for name in Sounding.__dataclass_fields__})
        with trainer.autocast():
            base = self.model.base(notes, batch["font"], mel.shape[0], mel.shape[-1])
            output = base + self.model.correction(base)
        c, error = self.config, output - mel
        weight = 1 + c.peak_weight * loudness(mel)
        alone = (base - mel).abs()
        rise = (error[..., 2:] - error[..., :-2]).abs()
        loss = (weight * error.abs()).mean() + c.base_weight * (weight * alone).mean()
        trainer.update("model", loss + c.rise_weight * (weight[..., 2:] * rise).mean())
        distance, alone, rise = error.abs().mean(), alone.mean(), rise.mean()
        return {"mel": distance.detach(), "base": alone.detach(), "rise": rise.detach()}

    @torch.inference_mode()
    def validate(self, model: nn.Module) -> Validation:
        assert isinstance(model, ScoreTransformer)
        device = model.output.weight.device
        frames, hop = 512, self.spec.hop
        total, base_total, mean_total, count = 0.0, 0.0, 0.0, 0
        audio, mels = {}, {}
        voice = GriffinLim(self.spec, iterations=16)
        items = self.validation_set.items[:48]
        for place, item in enumerate(items):
            length = min(frames, item.samples // hop)
            batch = self._example(self.validation_set, [(item, 0)], length)
            notes = Sounding(**{name: batch[name] for name in Sounding.__dataclass_fields__}).to(device)
            mel = batch["mel"].to(device)
            base = model.base(notes, batch["font"].to(device), 1, length)
            output = base + model.correction(base)
            total += float((output - mel).abs().mean())
            base_total += float((base - mel).abs().mean())
            mean_total += float((mel - model.mel_mean[:, None]).abs().mean())
            count += 1
            if place < 2:
                audio[f"rendered/{place}"] = (voice(output.cpu())[0].numpy(), self.spec.sample_rate)
                mels[f"rendered/{place}"] = output[0].cpu().numpy()
                mels[f"reference/{place}"] = mel[0].cpu().numpy()
        scalars = {"mel": total / count, "base": base_total / count, "mean mel": mean_total / count}
        return Validation(scalars, audio, mels)
