"""Training of the iSTFT vocoder: spectral losses, then discriminators as well."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from wavegen.audio.features import FeatureSpec, MelSpectrogram
from wavegen.errors import InputError
from wavegen.training.data import Utterance, cached_waveforms
from wavegen.training.discriminators import DiscriminatorConfig, Discriminators
from wavegen.training.loop import Batch, Task, Trainer, Validation
from wavegen.training.losses import (
    MelLoss,
    MultiResolutionSTFTLoss,
    adversarial_loss,
    discriminator_loss,
    feature_matching_loss,
)
from wavegen.training.segments import PredictedMels, draws, require_segments, with_gain
from wavegen.vocoders.istft import ISTFTVocoder, ISTFTVocoderConfig


@dataclass(frozen=True)
class VocoderTaskConfig:
    """``frames`` a segment, ``batch`` segments a step; loss weights; ``gain_db`` the range of random gains.

    Discriminators join at ``adversarial_from`` of the run (1 = never, 0 = from the start).
    """

    model: ISTFTVocoderConfig = field(default_factory=ISTFTVocoderConfig)
    discriminators: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    batch: int = 16
    frames: int = 64
    stft_sizes: tuple[int, ...] = (2048, 1024, 512, 256, 128)
    stft_weight: float = 1.0
    mel_weight: float = 1.0
    adversarial_weight: float = 0.1
    feature_weight: float = 0.2
    adversarial_from: float = 0.0
    discriminator_rate: float = 0.5
    gain_db: tuple[float, ...] = (-12.0, 6.0)
    predicted_mels: Path | None = None
    predicted_share: float = 0.5

    def __post_init__(self) -> None:
        require_segments(self.batch, self.frames, self.gain_db)
        if not self.stft_sizes or min(self.stft_sizes) < 4:
            raise InputError(f"task.stft_sizes must be FFT sizes of 4 or more, not {self.stft_sizes}")


class VocoderTask(Task):
    """Segments of recordings, or of mels predicted for them by an acoustic model, back to the recordings' waveforms."""

    def __init__(
        self,
        config: VocoderTaskConfig,
        spec: FeatureSpec,
        parts: dict[str, list[Utterance]],
        cache: Path,
        seed: int,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.config, self.spec, self.seed = config, spec, seed
        self.model = ISTFTVocoder(config.model, spec)
        self.modules = {"model": self.model}
        self.learning_rates = {}
        self.adversarial = config.adversarial_from < 1.0
        if self.adversarial:
            longest = max(config.discriminators.resolutions, default=0)
            if config.frames * spec.hop <= longest // 2:
                raise InputError(f"task.frames: {config.frames} frames are too short for a resolution of {longest}")
            self.modules["discriminators"] = Discriminators(config.discriminators)
            self.learning_rates["discriminators"] = config.discriminator_rate
        self.train_set = cached_waveforms(parts["train"], spec.sample_rate, cache, progress)
        self.validation_set = cached_waveforms(parts["validation"][:16], spec.sample_rate, cache, progress)
        self.extractor = MelSpectrogram(spec)
        self.stft_loss = MultiResolutionSTFTLoss(config.stft_sizes)
        self.mel_loss = MelLoss(spec)
        self.predicted = (
            None
            if config.predicted_mels is None
            else PredictedMels(config.predicted_mels, self.train_set.ids, spec.bands)
        )
        need = self._first() * spec.hop + config.frames * spec.hop + spec.pad
        self.usable = [i for i in range(len(self.train_set)) if self.train_set.length(i) >= need]
        if not self.usable:
            raise InputError(f"no training utterance is longer than a segment of {config.frames} frames")
        self.judged = [i for i in range(len(self.validation_set)) if self.validation_set.length(i) >= spec.n_fft]
        if not self.judged:
            raise InputError(f"no validation utterance is longer than {spec.n_fft} samples")

    def _span(self) -> int:
        """Samples a segment's mel is computed from: the segment and the padding's worth of neighbours."""
        return self.config.frames * self.spec.hop + 2 * self.spec.pad

    def _first(self) -> int:
        """The first frame that has the padding's worth of samples before it."""
        return -(-self.spec.pad // self.spec.hop)

    def batch(self, step: int, rank: int, world: int) -> Batch:
        c, spec = self.config, self.spec
        waves, mels, use = [], [], []
        for draw in draws(
            len(self.usable),
            step,
            c.batch,
            self.seed,
            rank,
            world,
            gain_db=c.gain_db,
            predicted_share=c.predicted_share,
        ):
            index = self.usable[draw.item]
            frames_total = self.train_set.length(index) // spec.hop
            first = self._first()
            last = frames_total - c.frames - first
            frame = first + int(draw.place * max(1, last - first))
            wave = self.train_set.waveform(index, frame * spec.hop - spec.pad, self._span())
            mel = None
            if self.predicted is not None and draw.predicted:
                mel = self.predicted.segment(index, frame, c.frames)
            if mel is None:
                wave = with_gain(wave, draw.gain_db)
            waves.append(torch.from_numpy(wave))
            use.append(mel is not None)
            mels.append(torch.zeros(spec.bands, c.frames) if mel is None else mel)
        return {"waveform": torch.stack(waves), "mel": torch.stack(mels), "predicted": torch.tensor(use)}

    def step(self, trainer: Trainer, batch: Batch) -> dict[str, Tensor]:
        c, spec = self.config, self.spec
        device = batch["waveform"].device
        for module in (self.extractor, self.stft_loss, self.mel_loss):
            module.to(device)
        with torch.no_grad():
            mel = self.extractor(batch["waveform"], pad=False)
            mel = torch.where(batch["predicted"][:, None, None], batch["mel"], mel)
        target = batch["waveform"][:, spec.pad : -spec.pad]
        with trainer.autocast():
            output = self.parallel["model"](mel)
        output = output.float()
        logs: dict[str, Tensor] = {}
        adversarial = self.adversarial and trainer.progress >= c.adversarial_from
        if adversarial:
            judge = self.parallel["discriminators"]
            with trainer.autocast():
                logits, _ = judge(torch.cat([target, output.detach()]))
            real, fake = _halves(logits)
            loss = discriminator_loss(real, fake)
            trainer.update("discriminators", loss)
            logs["discriminator"] = loss.detach()
        stft = self.stft_loss(output, target)
        mel_distance = self.mel_loss(output, target)
        total = c.stft_weight * stft + c.mel_weight * mel_distance
        logs |= {"stft": stft.detach(), "mel": mel_distance.detach()}
        if adversarial:
            for parameter in self.modules["discriminators"].parameters():
                parameter.requires_grad_(False)
            with trainer.autocast():
                logits, features = self.modules["discriminators"](torch.cat([target, output]))
            for parameter in self.modules["discriminators"].parameters():
                parameter.requires_grad_(True)
            _, fake = _halves(logits)
            pairs = [_halves(member) for member in features]
            adversary = adversarial_loss(fake)
            matching = feature_matching_loss([a for a, _ in pairs], [b for _, b in pairs])
            total = total + c.adversarial_weight * adversary + c.feature_weight * matching
            logs |= {"adversarial": adversary.detach(), "features": matching.detach()}
        trainer.update("model", total)
        return logs

    @torch.inference_mode()
    def validate(self, model: nn.Module) -> Validation:
        device = next(model.parameters()).device
        losses = {"mel": 0.0, "stft": 0.0}
        stft, mel_loss = self.stft_loss.to(device), self.mel_loss.to(device)
        audio, mels = {}, {}
        count = len(self.judged)
        for place, i in enumerate(self.judged):
            wave = torch.from_numpy(self.validation_set.waveform(i)).to(device)[None]
            wave = wave[:, : wave.shape[-1] // self.spec.hop * self.spec.hop]
            output = model(self.extractor.to(device)(wave))
            losses["mel"] += float(mel_loss(output, wave)) / count
            losses["stft"] += float(stft(output, wave)) / count
            if place < 2:
                audio[f"output/{place}"] = (output[0].cpu().numpy(), self.spec.sample_rate)
                audio[f"recording/{place}"] = (wave[0].cpu().numpy(), self.spec.sample_rate)
                mels[f"output/{place}"] = self.extractor(output)[0].cpu().numpy()
        return Validation(losses, audio, mels)


def _halves(tensors: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    pairs = [t.chunk(2) for t in tensors]
    return [a for a, _ in pairs], [b for _, b in pairs]
