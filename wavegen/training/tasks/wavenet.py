"""Training of WaveNet: the likelihood of each sample, given those before it and the mel."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wavegen.audio.features import FeatureSpec, MelSpectrogram
from wavegen.errors import InputError
from wavegen.training.data import Utterance, WaveformSet, cached_waveforms, seed_of, share
from wavegen.training.loop import Batch, Task, Trainer, Validation
from wavegen.training.segments import Draw, PredictedMels, draws, require_segments, with_gain
from wavegen.vocoders.wavenet import WaveNet, WaveNetConfig

VALIDATION_SECONDS = 4.0  # of each utterance: bounds the memory of a whole pass


@dataclass(frozen=True)
class WaveNetTaskConfig:
    """``frames`` a segment, ``batch`` segments a step; ``gain_db`` the range of random gains.

    The first ``warm`` frames of a segment do not count, for their samples lack the history that there was; but they do
    where the segment is the recording's beginning. ``predicted_share`` of the segments have the mel that an acoustic
    model predicted, from the folder ``predicted_mels``, if given. What is fed back gets white noise of a standard
    deviation of up to ``noise``, drawn for each segment, so that the mel counts and errors heal (as LPCNet does).
    """

    model: WaveNetConfig = field(default_factory=WaveNetConfig)
    batch: int = 8
    frames: int = 32
    warm: int = 2
    gain_db: tuple[float, ...] = (-12.0, 6.0)
    predicted_mels: Path | None = None
    predicted_share: float = 0.5
    noise: float = 0.0

    def __post_init__(self) -> None:
        require_segments(self.batch, self.frames, self.gain_db)
        if not 0 <= self.warm < self.frames:
            raise InputError(f"task.warm must be from 0 to {self.frames - 1}, less than task.frames, not {self.warm}")
        if not 0 <= self.noise <= 1:
            raise InputError(f"task.noise must be from 0 to 1, not {self.noise}")
        if not 0 <= self.predicted_share <= 1:
            raise InputError(f"task.predicted_share must be from 0 to 1, not {self.predicted_share}")


class WaveNetTask(Task):
    """Segments of recordings, with the mels of the recordings or mels predicted for them."""

    model: WaveNet

    def __init__(
        self,
        config: WaveNetTaskConfig,
        spec: FeatureSpec,
        parts: dict[str, list[Utterance]],
        cache: Path,
        seed: int,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.config, self.spec, self.seed = config, spec, seed
        self.model = WaveNet(config.model, spec)
        self.modules = {"model": Likelihood(self.model)}
        self.learning_rates = {}
        self.train_set = cached_waveforms(parts["train"], spec.sample_rate, cache, progress)
        self.validation_set = cached_waveforms(parts["validation"][:16], spec.sample_rate, cache, progress)
        self.extractor = MelSpectrogram(spec)
        self.predicted = (
            None
            if config.predicted_mels is None
            else PredictedMels(config.predicted_mels, self.train_set.ids, spec.bands)
        )
        need = max(config.frames * spec.hop, spec.n_fft)
        self.usable = [i for i in range(len(self.train_set)) if self.train_set.length(i) >= need]
        if not self.usable:
            raise InputError(f"no training utterance is longer than a segment of {config.frames} frames")
        self.judged = [i for i in range(len(self.validation_set)) if self.validation_set.length(i) >= spec.n_fft]
        if not self.judged:
            raise InputError(f"no validation utterance is longer than {spec.n_fft} samples")

    def batch(self, step: int, rank: int, world: int) -> Batch:
        """``waveform`` with the neighbours that its mel needs; ``places`` (frames and neighbours) of that mel's frames.

        ``counts`` says which frames enter the loss; ``mel`` is used in place of the waveform's where ``predicted``;
        ``noise`` is added to what is fed back.
        """
        c = self.config
        items = [
            self._segment(draw)
            for draw in draws(
                len(self.usable),
                step,
                c.batch,
                self.seed,
                rank,
                world,
                gain_db=c.gain_db,
                predicted_share=c.predicted_share,
            )
        ]
        generator = torch.Generator().manual_seed(seed_of(self.seed, step, 11))
        levels = c.noise * torch.rand(c.batch, 1, generator=generator)
        noise = levels * torch.randn(c.batch, c.frames * self.spec.hop, generator=generator)
        batch = {name: torch.stack([item[name] for item in items]) for name in items[0]}
        return batch | {"noise": noise[share(range(c.batch), rank, world)]}

    def _segment(self, draw: Draw) -> dict[str, Tensor]:
        c, spec, margin = self.config, self.spec, self.model.context
        index = self.usable[draw.item]
        total = self.train_set.length(index) // spec.hop
        # A start within the warm frames is the recording's first frame, so that beginnings are learnt as well.
        frame = max(0, int(draw.place * (total - c.frames + 1 + c.warm)) - c.warm)
        wanted = torch.arange(frame - margin, frame + c.frames + margin).clamp(0, total - 1)
        first, last = int(wanted[0]), int(wanted[-1])
        mel = None
        if self.predicted is not None and draw.predicted:
            mel = self.predicted.segment(index, first, last - first + 1)
        start = (frame - margin) * spec.hop - spec.pad
        count = (c.frames + 2 * margin) * spec.hop + 2 * spec.pad
        wave = _padded(self.train_set, index, start, count, spec.pad_mode)
        if mel is None:
            wave = with_gain(wave, draw.gain_db)
        counts = torch.ones(c.frames, dtype=torch.bool)
        counts[: c.warm if frame else 0] = False
        return {
            "waveform": torch.from_numpy(wave),
            "places": wanted - (frame - margin),
            "mel": torch.zeros(spec.bands, len(wanted)) if mel is None else mel[:, wanted - first],
            "predicted": torch.tensor(mel is not None),
            "counts": counts,
        }

    def mels(self, batch: Batch) -> Tensor:
        """The batch's mels (batch, bands, frames + 2 × margin): of the recording, its edges repeated, or predicted."""
        extracted: Tensor = self.extractor.to(batch["waveform"].device)(batch["waveform"], pad=False)
        places = batch["places"][:, None].expand(-1, self.spec.bands, -1)
        return torch.where(batch["predicted"][:, None, None], batch["mel"], extracted.gather(2, places))

    def samples(self, batch: Batch) -> Tensor:
        """The batch's segments without neighbours, pre-emphasised, (batch, frames × hop)."""
        edge = self.model.context * self.spec.hop + self.spec.pad
        segments: Tensor = self.model.emphasised(batch["waveform"])[:, edge:-edge]
        return segments

    def step(self, trainer: Trainer, batch: Batch) -> dict[str, Tensor]:
        with torch.no_grad():
            mel = self.mels(batch)
        with trainer.autocast():
            nll = self.parallel["model"](self.samples(batch), mel, self.model.context, batch["noise"])
        counts = batch["counts"].repeat_interleave(self.spec.hop, dim=1)
        loss = (nll * counts).sum() / counts.sum()
        trainer.update("model", loss)
        return {"nll": loss.detach(), "bits": loss.detach() / math.log(2) + self.model.distribution.bits_offset}

    @torch.inference_mode()
    def validate(self, model: nn.Module) -> Validation:
        """Bits per sample of held-out utterances, each cut to its first seconds."""
        judge = Likelihood(model)  # type: ignore[arg-type]
        device = next(model.parameters()).device
        longest = int(VALIDATION_SECONDS * self.spec.frame_rate)
        total, count = 0.0, 0
        for i in self.judged:
            frames = min(longest, self.validation_set.length(i) // self.spec.hop)
            wave = torch.from_numpy(self.validation_set.waveform(i, 0, frames * self.spec.hop)).to(device)[None]
            mel = self.extractor.to(device)(wave)
            total += float(judge(self.model.emphasised(wave), mel).double().sum())
            count += wave.numel()
        bits = total / count / math.log(2) + self.model.distribution.bits_offset
        return Validation({"bits": bits})


class Likelihood(nn.Module):
    """A WaveNet's negative log-likelihood in nats, (batch, time), as a module's forward: what runs data-parallel."""

    def __init__(self, model: WaveNet) -> None:
        super().__init__()
        self.model = model

    def forward(self, samples: Tensor, mel: Tensor, margin: int = 0, noise: Tensor | None = None) -> Tensor:
        parameters = self.model.teacher_forced(samples, mel, margin, noise)
        with torch.autocast(samples.device.type, enabled=False):
            return self.model.distribution.nll(parameters.float(), samples)


def _padded(data: WaveformSet, index: int, start: int, count: int, mode: str) -> NDArray[np.float32]:
    """``count`` samples of an item from ``start`` on, which may lie outside it: mirrored there, or zeros, as for mels.

    What lies further outside than a mirror image reaches repeats its end; no mel frame that is used sees it.
    """
    length = data.length(index)
    wanted = np.arange(start, start + count)
    places = np.abs(wanted)
    places = np.clip(np.where(places >= length, 2 * (length - 1) - places, places), 0, length - 1)
    low, high = int(places.min()), int(places.max())
    samples: NDArray[np.float32] = data.waveform(index, low, high + 1 - low)[places - low]
    if mode == "constant":
        samples[(wanted < 0) | (wanted >= length)] = 0.0
    return samples
