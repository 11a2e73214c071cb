"""Training of the speech Transformer on durations from a trained aligner."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wavegen.acoustic.speech import SpeechOutput, SpeechTransformer, SpeechTransformerConfig
from wavegen.audio.features import FeatureSpec
from wavegen.audio.io import atomic
from wavegen.errors import InputError
from wavegen.training.data import Utterance, require_batch, share
from wavegen.training.loop import Batch, Task, Trainer, Validation
from wavegen.training.speech_data import (
    SpeechSet,
    bucketed_batch,
    cached_durations,
    pad_stack,
    speech_set,
    token_means,
)
from wavegen.vocoders.griffin_lim import GriffinLim


@dataclass(frozen=True)
class SpeechTaskConfig:
    """``aligner`` is a trained aligner's model file; ``batch`` utterances a step; weights of the predictors' losses.

    ``predict`` writes the mels of the training and validation utterances, with their own durations, pitch and energy,
    to "predicted" in the output folder, for fine-tuning a vocoder on them.
    """

    aligner: Path
    model: SpeechTransformerConfig = field(default_factory=SpeechTransformerConfig)
    batch: int = 16
    duration_weight: float = 0.1
    pitch_weight: float = 0.1
    energy_weight: float = 0.1
    predict: bool = True

    def __post_init__(self) -> None:
        require_batch(self.batch)


@dataclass(frozen=True)
class Prosody:
    """Of one set, a list over items of one value a token: duration in frames, normalised pitch, normalised energy."""

    durations: list[NDArray[np.int64]]
    pitch: list[NDArray[np.float32]]
    energy: list[NDArray[np.float32]]


class SpeechTask(Task):
    """Phonemes → mel with durations, pitch and energy."""

    model: SpeechTransformer
    statistics = ("pitch_mean", "pitch_std", "energy_mean", "energy_std")

    def __init__(
        self,
        config: SpeechTaskConfig,
        spec: FeatureSpec,
        parts: dict[str, list[Utterance]],
        cache: Path,
        seed: int,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        if not config.aligner.is_file():
            raise InputError(f"task.aligner: {config.aligner}: no such file; train the aligner first")
        self.config, self.spec, self.seed = config, spec, seed
        self.train_set = speech_set(parts["train"], spec, cache, progress)
        self.validation_set = speech_set(parts["validation"], spec, cache, progress)
        self.model = SpeechTransformer(config.model, spec)
        mean, std = self.train_set.mel_statistics()
        self.model.mel_mean.copy_(mean)
        self.model.mel_std.copy_(std)
        self.train_prosody = self._prosody(self.train_set, cache, fit=True)
        self.validation_prosody = self._prosody(self.validation_set, cache, fit=False)
        self.modules = {"model": self.model}
        self.learning_rates = {}

    def _prosody(self, data: SpeechSet, cache: Path, fit: bool) -> Prosody:
        durations = cached_durations(data, self.spec, self.config.aligner, cache)
        pitch, energy = [], []
        for i, d in enumerate(durations):
            f0 = data.f0(i)
            pitch.append(token_means(np.log(np.maximum(f0, 1.0)), d, f0 > 0))
            frames = data.mel(i).mean(dim=0).numpy()
            energy.append(token_means(frames, d, np.ones(len(frames), bool)))
        if fit:
            voiced = np.concatenate(pitch)
            voiced = voiced[voiced > 0]
            if len(voiced) == 0:
                raise InputError("no voiced frame in the training utterances: is this speech?")
            self.model.pitch_mean.fill_(float(voiced.mean()))
            self.model.pitch_std.fill_(float(voiced.std()) + 1e-6)
            loud = np.concatenate(energy)
            self.model.energy_mean.fill_(float(loud.mean()))
            self.model.energy_std.fill_(float(loud.std()) + 1e-6)
        m = self.model
        pitch = [np.where(p > 0, (p - float(m.pitch_mean)) / float(m.pitch_std), 0).astype(np.float32) for p in pitch]
        energy = [((e - float(m.energy_mean)) / float(m.energy_std)).astype(np.float32) for e in energy]
        return Prosody(durations, pitch, energy)

    def batch(self, step: int, rank: int, world: int) -> Batch:
        items = bucketed_batch(self.train_set.frame_counts, step, self.config.batch, self.seed)
        return _collate(self.train_set, self.train_prosody, share(items, rank, world))

    def step(self, trainer: Trainer, batch: Batch) -> dict[str, Tensor]:
        c = self.config
        with trainer.autocast():
            output = self.parallel["model"](*(batch[name] for name in INPUTS))
        losses = _losses(output, batch, self.model.mel_std)
        total = losses["mel"] + (
            c.duration_weight * losses["duration"]
            + c.pitch_weight * losses["pitch"]
            + c.energy_weight * losses["energy"]
        )
        trainer.update("model", total)
        with torch.no_grad():
            missed = torch.stack([losses["duration"], losses["pitch"]]).sqrt()
            missed = torch.where(torch.isfinite(missed), missed, self.model.residual)  # a step may be left out
            self.model.residual.lerp_(missed, 0.01 if trainer.steps_done else 1.0)
        return {name: loss.detach() for name, loss in losses.items()}

    @torch.inference_mode()
    def validate(self, model: nn.Module) -> Validation:
        device = next(model.parameters()).device
        sums: dict[str, float] = {}
        audio, mels = {}, {}
        voice = GriffinLim(self.spec, iterations=16)
        count = len(self.validation_set)
        for i in range(count):
            batch = {k: v.to(device) for k, v in _collate(self.validation_set, self.validation_prosody, [i]).items()}
            output = model(*(batch[name] for name in INPUTS))
            for name, loss in _losses(output, batch, self.model.mel_std).items():
                sums[name] = sums.get(name, 0.0) + float(loss) / count
            if i < 2:
                audio[f"predicted/{i}"] = (voice(output.mel.cpu())[0].numpy(), self.spec.sample_rate)
                mels[f"predicted/{i}"] = output.mel[0].cpu().numpy()
                mels[f"recording/{i}"] = batch["mel"][0].cpu().numpy()
        return Validation(sums, audio, mels)

    @torch.inference_mode()
    def finish(self, model: nn.Module, output: Path) -> None:
        if not self.config.predict:
            return
        device = next(model.parameters()).device
        for data, prosody in ((self.train_set, self.train_prosody), (self.validation_set, self.validation_prosody)):
            for i, name in enumerate(data.ids):
                batch = {k: v.to(device) for k, v in _collate(data, prosody, [i]).items()}
                mel = model(*(batch[key] for key in INPUTS)).mel[0].cpu().numpy().astype(np.float16)
                path = output / "predicted" / f"{name}.npy"
                path.parent.mkdir(parents=True, exist_ok=True)  # a name may hold folders
                with atomic(path) as temporary, open(temporary, "wb") as file:
                    np.save(file, mel)


INPUTS = ("tokens", "token_counts", "durations", "pitch", "energy")


def _collate(data: SpeechSet, prosody: Prosody, items: list[int]) -> Batch:
    return {
        "tokens": pad_stack([data.tokens[i] for i in items]),
        "token_counts": torch.tensor([len(data.tokens[i]) for i in items]),
        "durations": pad_stack([torch.from_numpy(prosody.durations[i]) for i in items]),
        "pitch": pad_stack([torch.from_numpy(prosody.pitch[i]) for i in items]),
        "energy": pad_stack([torch.from_numpy(prosody.energy[i]) for i in items]),
        "mel": pad_stack([data.mel(i).T for i in items]).transpose(1, 2),
    }


def _losses(output: SpeechOutput, batch: Batch, mel_std: Tensor) -> dict[str, Tensor]:
    """Each loss is the mean over an utterance's frames or tokens, then over utterances: shares of a batch average
    exactly.

    The mel's L1 is in units of each band's standard deviation.
    """
    tokens = torch.arange(batch["tokens"].shape[1], device=mel_std.device)[None] < batch["token_counts"][:, None]
    counts = batch["durations"].sum(dim=1)
    frames = torch.arange(output.mel.shape[-1], device=mel_std.device)[None] < counts[:, None]
    difference = ((output.mel - batch["mel"][..., : output.mel.shape[-1]]).abs() / mel_std[:, None]).mean(dim=1)
    log_duration = torch.log(batch["durations"].clamp(min=1).float())
    return {
        "mel": _masked_mean(difference, frames),
        "duration": _masked_mean((output.log_duration - log_duration).square(), tokens),
        "pitch": _masked_mean((output.pitch - batch["pitch"]).square(), tokens),
        "energy": _masked_mean((output.energy - batch["energy"]).square(), tokens),
    }


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    return ((values * mask).sum(dim=1) / mask.sum(dim=1)).mean()
