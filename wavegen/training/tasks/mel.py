"""Training of the models of mels, the variational autoencoder and the LSTM, on a folder of audio."""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wavegen.acoustic.mel_lstm import MelLSTM, MelLSTMConfig
from wavegen.acoustic.mel_vae import MelVAE, MelVAEConfig, bridge
from wavegen.audio.features import FeatureSpec, MelSpectrogram
from wavegen.errors import InputError
from wavegen.training.data import Utterance, WaveformSet, batch_indices, cached_waveforms, share
from wavegen.training.loop import Batch, Task, Trainer, Validation
from wavegen.training.segments import require_segments, with_gain

DESCRIBED = 128  # recordings that mean and deviation are taken from
JUDGED = 16  # recordings of the validation part
LONGEST = 512  # frames of each that are judged
LOUD = 3.0  # how far under the loudest, in a mel's own units, a value counts 1/e as much: 26 dB for natural logarithms
SHORTEST_STD = 0.05  # of a band that hardly changes


@dataclass(frozen=True)
class MelVAETaskConfig:
    """``frames`` a segment, ``batch`` segments a step; ``gain_db`` the range of random gains.

    The loss is the mean absolute error in bands' standard deviations, a segment's loudest values weighing
    1 + ``peak_weight``, plus the weights × KL in nats a frame (risen to over the run's first ``kl_rise``), plus
    ``prior_weight`` × the prior's, plus ``fill_weight`` × the filled gaps' own. A ``gap_share`` of the segments misses
    ``gap_frames`` (fewest, most) somewhere; a ``distortion_share`` shows the content encoder a waveform with other
    overtones of the same pitches. The timbre comes from ``timbre_frames`` at another place of the recording.
    """

    model: MelVAEConfig = field(default_factory=MelVAEConfig)
    batch: int = 16
    frames: int = 160
    gain_db: tuple[float, ...] = (-12.0, 6.0)
    timbre_frames: int = 96
    peak_weight: float = 3.0
    content_weight: float = 0.001
    timbre_weight: float = 0.01
    kl_rise: float = 0.2
    prior_weight: float = 0.005
    fill_weight: float = 0.5
    gap_share: float = 0.5
    gap_frames: tuple[int, ...] = (6, 48)
    distortion_share: float = 0.3

    def __post_init__(self) -> None:
        require_segments(self.batch, self.frames, self.gain_db)
        if not 1 <= self.timbre_frames <= self.frames:
            raise InputError(f"task.timbre_frames must be from 1 to task.frames, not {self.timbre_frames}")
        for name in ("gap_share", "distortion_share", "kl_rise"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"task.{name} must be from 0 to 1, not {getattr(self, name)}")
        for name in ("peak_weight", "content_weight", "timbre_weight", "prior_weight", "fill_weight"):
            if not getattr(self, name) >= 0:
                raise InputError(f"task.{name} must not be negative: {getattr(self, name)}")
        if len(self.gap_frames) != 2 or not 1 <= self.gap_frames[0] <= self.gap_frames[1] < self.frames:
            raise InputError(f"task.gap_frames must be two values from 1 to below task.frames, not {self.gap_frames}")


@dataclass(frozen=True)
class MelLSTMTaskConfig:
    """``frames`` a segment, ``batch`` segments a step; ``gain_db`` the range of random gains.

    The loss is the negative log-likelihood in nats a value; ``noise`` is the most that is added to what is fed back.
    """

    model: MelLSTMConfig = field(default_factory=MelLSTMConfig)
    batch: int = 16
    frames: int = 192
    gain_db: tuple[float, ...] = (-12.0, 6.0)
    noise: float = 0.1

    def __post_init__(self) -> None:
        require_segments(self.batch, self.frames, self.gain_db)
        if not 0 <= self.noise <= 10:
            raise InputError(f"task.noise must be from 0 to 10, not {self.noise}")


class _MelTask(Task):
    """Segments of recordings as mels."""

    config: MelVAETaskConfig | MelLSTMTaskConfig
    model: MelVAE | MelLSTM
    statistics = ("mel_mean", "mel_std")

    def __init__(
        self,
        config: MelVAETaskConfig | MelLSTMTaskConfig,
        spec: FeatureSpec,
        parts: dict[str, list[Utterance]],
        cache: Path,
        seed: int,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.config, self.spec, self.seed = config, spec, seed
        self.model = self.fresh()
        self.modules = {"model": self.model}
        self.learning_rates = {}
        self.train_set = cached_waveforms(parts["train"], spec.sample_rate, cache, progress)
        validation = cached_waveforms(parts["validation"][:JUDGED], spec.sample_rate, cache, progress)
        self.extractor = MelSpectrogram(spec)
        need = config.frames * spec.hop + 2 * spec.pad
        self.usable = [i for i in range(len(self.train_set)) if self.train_set.length(i) >= need]
        if not self.usable:
            raise InputError(f"no training recording is longer than a segment of {config.frames} frames")
        self.judged = [
            self.extractor(torch.from_numpy(validation.waveform(i)))[None, :, :LONGEST]
            for i in range(len(validation))
            if validation.length(i) >= spec.n_fft
        ]
        if not self.judged:
            raise InputError(f"no validation recording is longer than {spec.n_fft} samples")
        mean, std = described(self.train_set, self.usable, self.extractor)
        self.model.mel_mean.copy_(mean)
        self.model.mel_std.copy_(std)

    @abstractmethod
    def fresh(self) -> MelVAE | MelLSTM:
        """The untrained model."""

    def draws(self, step: int, rank: int, world: int) -> Iterator[tuple[int, np.random.Generator]]:
        """(recording, random numbers) of each segment that is one process's: functions of the seed and the step."""
        items = batch_indices(len(self.usable), step, self.config.batch, self.seed)
        for k in share(range(self.config.batch), rank, world):
            yield self.usable[items[k]], np.random.default_rng([self.seed, step, k])

    def gain(self, random: np.random.Generator) -> float:
        low, high = self.config.gain_db
        return float(random.uniform(low, high))

    def cut(
        self, index: int, random: np.random.Generator, gain_db: float, frames: int | None = None
    ) -> NDArray[np.float32]:
        """A segment with the padding's worth of neighbours, from anywhere in a recording."""
        span = (frames or self.config.frames) * self.spec.hop + 2 * self.spec.pad
        start = int(random.integers(self.train_set.length(index) - span + 1))
        return with_gain(self.train_set.waveform(index, start, span), gain_db)

    def mels(self, waves: list[NDArray[np.float32]]) -> Tensor:
        mel: Tensor = self.extractor(torch.from_numpy(np.stack(waves)), pad=False)
        return mel


class MelVAETask(_MelTask):
    """Segments, some with a gap, back to their mels, with the timbre taken from another place of the recording."""

    config: MelVAETaskConfig
    model: MelVAE

    def fresh(self) -> MelVAE:
        return MelVAE(self.config.model, self.spec)

    def batch(self, step: int, rank: int, world: int) -> Batch:
        c = self.config
        targets, timbres, known = [], [], []
        others = {}  # the distorted waveforms, by place in the batch
        for place, (index, random) in enumerate(self.draws(step, rank, world)):
            gain = self.gain(random)
            targets.append(self.cut(index, random, gain))
            timbres.append(self.cut(index, random, gain, c.timbre_frames))
            if random.random() < c.distortion_share:
                others[place] = distorted(targets[-1], random)
            mask = np.ones(c.frames, np.bool_)
            if random.random() < c.gap_share:
                length = int(random.integers(c.gap_frames[0], c.gap_frames[1] + 1))
                start = int(random.integers(c.frames - length + 1))
                mask[start : start + length] = False
            known.append(mask)
        mel = self.mels(targets)
        content = mel.clone()
        if others:
            content[list(others)] = self.mels(list(others.values()))
        return {
            "mel": mel,
            "content": content,
            "timbre": self.mels(timbres),
            "known": torch.from_numpy(np.stack(known)),
        }

    def step(self, trainer: Trainer, batch: Batch) -> dict[str, Tensor]:
        c, mel, known = self.config, batch["mel"], batch["known"]
        with trainer.autocast():
            output = self.parallel["model"](batch["content"], timbre=batch["timbre"], known=known, around=mel)
        scale = self.model.mel_std[:, None]
        error = ((output.mel - mel) / scale).abs()
        missing = ~known
        gap = (((output.filled - mel) / scale).abs().mean(dim=1) * missing).sum() / missing.sum().clamp(min=1)
        content_kl = output.content_kl.mean() / c.frames
        timbre_kl = output.timbre_kl.mean() / c.frames
        prior = output.prior_nll.mean() / c.frames
        risen = min(1.0, trainer.progress / c.kl_rise) if c.kl_rise else 1.0
        kl = c.content_weight * content_kl + c.timbre_weight * timbre_kl
        weighed = (error * (1 + c.peak_weight * loudness(mel))).mean()
        trainer.update("model", weighed + c.fill_weight * gap + risen * kl + c.prior_weight * prior)
        return {
            "error": error.mean().detach(),
            "gap": gap.detach(),
            "kl": (content_kl + timbre_kl).detach(),
            "prior": prior.detach(),
        }

    @torch.inference_mode()
    def validate(self, model: nn.Module) -> Validation:
        """Absolute errors in bands' deviations: all frames', and gaps' filled or bridged linearly; nats a frame."""
        assert isinstance(model, MelVAE)
        device = model.mel_mean.device
        losses = dict.fromkeys(("error", "mean_mel", "kl", "prior", "gap", "gap_linear"), 0.0)
        mels = {}
        for place, stored in enumerate(self.judged):
            mel = stored.to(device)
            frames = mel.shape[-1]
            output = model(mel)
            known = torch.ones(1, frames, dtype=torch.bool, device=device)
            length = min(24, frames // 2)
            known[:, (frames - length) // 2 : (frames + length) // 2] = False
            for name, guess, where in (
                ("error", output.mel, None),
                ("mean_mel", model.mel_mean[None, :, None], None),
                ("gap", model.fill(mel, known), ~known[0]),
                ("gap_linear", bridge(mel, known), ~known[0]),
            ):
                error = ((guess - mel) / model.mel_std[:, None]).abs()
                losses[name] += float((error if where is None else error[..., where]).mean()) / len(self.judged)
            losses["kl"] += float(output.content_kl + output.timbre_kl) / frames / len(self.judged)
            losses["prior"] += float(output.prior_nll) / frames / len(self.judged)
            if place < 2:
                mels[f"output/{place}"] = output.mel[0].cpu().numpy()
                mels[f"recording/{place}"] = mel[0].cpu().numpy()
        return Validation(losses, mels=mels)


class MelLSTMTask(_MelTask):
    """The likelihood of each frame of a segment, given those before it."""

    config: MelLSTMTaskConfig
    model: MelLSTM

    def fresh(self) -> MelLSTM:
        return MelLSTM(self.config.model, self.spec)

    def batch(self, step: int, rank: int, world: int) -> Batch:
        waves = [self.cut(index, random, self.gain(random)) for index, random in self.draws(step, rank, world)]
        return {"mel": self.mels(waves)}

    def step(self, trainer: Trainer, batch: Batch) -> dict[str, Tensor]:
        mel = batch["mel"]
        with trainer.autocast():
            output = self.parallel["model"](mel, self.config.noise)
        nll = -output.log_prob(self.model.standardised(mel)).mean() / self.spec.bands
        trainer.update("model", nll)
        return {"nll": nll.detach()}

    @torch.inference_mode()
    def validate(self, model: nn.Module) -> Validation:
        """Nats a value, and the next frame's mean absolute error in bands' deviations, against the last frame's."""
        assert isinstance(model, MelLSTM)
        losses = dict.fromkeys(("nll", "error", "copy"), 0.0)
        mels = {}
        for place, stored in enumerate(self.judged):
            mel = stored.to(model.mel_mean.device)
            x = model.standardised(mel)
            output = model(mel)
            losses["nll"] -= float(output.log_prob(x).mean()) / self.spec.bands / len(self.judged)
            losses["error"] += float((output.expected[:, 1:] - x[:, 1:]).abs().mean()) / len(self.judged)
            losses["copy"] += float((x[:, 1:] - x[:, :-1]).abs().mean()) / len(self.judged)
            if place < 2:
                heard = mel[..., : max(1, mel.shape[-1] // 2)]
                generator = torch.Generator().manual_seed(place)
                following = model.continued(heard, heard.shape[-1], temperature=0.7, generator=generator)
                mels[f"continued/{place}"] = torch.cat([heard, following], dim=-1)[0].cpu().numpy()
        return Validation(losses, mels=mels)


def described(waves: WaveformSet, usable: list[int], extractor: MelSpectrogram) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (bands,) of the log-mels of some of the recordings, evenly spread."""
    step = -(-len(usable) // DESCRIBED)
    mels = torch.cat([extractor(torch.from_numpy(waves.waveform(i))) for i in usable[::step]], dim=-1)
    return mels.mean(dim=-1), mels.std(dim=-1).clamp(min=SHORTEST_STD)


def loudness(mel: Tensor) -> Tensor:
    """How loud each value of a log-mel (batch, bands, frames) is beside its segment's loudest: from 1 down to 0."""
    return torch.exp((mel - mel.amax(dim=(1, 2), keepdim=True)) / LOUD)


def distorted(wave: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """The waveform through a random asymmetric tanh: other overtones of the same pitches, at the same power."""
    level = float(np.sqrt(np.square(wave, dtype=np.float64).mean()))
    if level < 1e-5:
        return wave
    drive, bias = np.exp(random.uniform(np.log(0.3), np.log(4.0))), random.uniform(-0.7, 0.7)
    y = np.tanh(drive / (3 * level) * wave + bias)
    y = y - y.mean()
    return np.asarray(y * (level / max(float(np.sqrt(np.square(y).mean())), 1e-9)), np.float32)
