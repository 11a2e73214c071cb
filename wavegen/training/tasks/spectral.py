"""Training of the spectral vocoder: mel → linear magnitude of the same frames."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from wavegen.audio.features import FeatureSpec, MelSpectrogram
from wavegen.errors import InputError
from wavegen.training.data import Utterance, cached_waveforms
from wavegen.training.loop import Batch, Task, Trainer, Validation
from wavegen.training.losses import MelLoss
from wavegen.training.segments import draws, require_segments, with_gain
from wavegen.vocoders.spectral import QUIETEST, SpectralVocoder, SpectralVocoderConfig

STATISTICS_SECONDS = 600


@dataclass(frozen=True)
class SpectralTaskConfig:
    """``frames`` a segment, ``batch`` segments a step; ``gain_db`` the range of random gains.

    ``convergence_weight`` weighs the error relative to a segment's loudest parts against that of its logarithm.
    """

    model: SpectralVocoderConfig = field(default_factory=SpectralVocoderConfig)
    batch: int = 8
    frames: int = 64
    convergence_weight: float = 1.0
    gain_db: tuple[float, ...] = (-12.0, 6.0)

    def __post_init__(self) -> None:
        require_segments(self.batch, self.frames, self.gain_db)


class SpectralTask(Task):
    """Segments of recordings: their mels, widened to the magnitudes they were made from. Trains in one process."""

    model: SpectralVocoder
    single = True
    statistics = ("mel_mean", "mel_std", "spectrum_mean")

    def __init__(
        self,
        config: SpectralTaskConfig,
        spec: FeatureSpec,
        parts: dict[str, list[Utterance]],
        cache: Path,
        seed: int,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.config, self.spec, self.seed = config, spec, seed
        self.model = SpectralVocoder(config.model, spec)
        self.modules = {"model": self.model}
        self.learning_rates = {}
        self.train_set = cached_waveforms(parts["train"], spec.sample_rate, cache, progress)
        self.validation_set = cached_waveforms(parts["validation"][:24], spec.sample_rate, cache, progress)
        self.extractor = MelSpectrogram(spec)
        self.mel_loss = MelLoss(spec)
        span = config.frames * spec.hop + 2 * spec.pad
        self.usable = [i for i in range(len(self.train_set)) if self.train_set.length(i) > span]
        if not self.usable:
            raise InputError(f"no training item is longer than a segment of {config.frames} frames")
        self.judged = [i for i in range(len(self.validation_set)) if self.validation_set.length(i) >= 2 * spec.n_fft]
        if not self.judged:
            raise InputError(f"no validation item is longer than {2 * spec.n_fft} samples")
        self._measure()

    def _measure(self) -> None:
        """The mean and deviation of bands and bins over some of the training items."""
        rng = np.random.default_rng(self.seed)
        mels, spectra, seconds = [], [], 0.0
        for i in rng.permutation(self.usable):
            wave = torch.from_numpy(self.train_set.waveform(int(i), 0, 4 * self.spec.sample_rate))[None]
            mel, spectrum = self._pair(wave)
            mels.append(mel[0])
            spectra.append(spectrum[0].mean(dim=1))
            seconds += wave.shape[-1] / self.spec.sample_rate
            if seconds > STATISTICS_SECONDS:
                break
        joined = torch.cat(mels, dim=1)
        self.model.mel_mean.copy_(joined.mean(dim=1))
        self.model.mel_std.copy_(joined.std(dim=1).clamp(min=0.1))
        self.model.spectrum_mean.copy_(torch.stack(spectra).mean(dim=0))

    def _pair(self, wave: Tensor) -> tuple[Tensor, Tensor]:
        """Mel and log-magnitude of the frames that lie wholly inside a waveform (batch, samples)."""
        s = self.spec
        spectrum = torch.stft(
            wave, s.n_fft, s.hop, s.window, self.extractor.hann, center=False, return_complex=True
        ).abs()
        return self.extractor(wave, pad=False), torch.log(spectrum.clamp(min=1e-12)).clamp(min=QUIETEST)

    def batch(self, step: int, rank: int, world: int) -> Batch:
        c, spec = self.config, self.spec
        span = c.frames * spec.hop + 2 * spec.pad
        waves = []
        for draw in draws(
            len(self.usable), step, c.batch, self.seed, rank, world, gain_db=c.gain_db, predicted_share=0.0
        ):
            index = self.usable[draw.item]
            start = int(draw.place * (self.train_set.length(index) - span))
            waves.append(torch.from_numpy(with_gain(self.train_set.waveform(index, start, span), draw.gain_db)))
        return {"waveform": torch.stack(waves)}

    def step(self, trainer: Trainer, batch: Batch) -> dict[str, Tensor]:
        self.extractor.to(batch["waveform"].device)
        with torch.no_grad():
            mel, target = self._pair(batch["waveform"])
        with trainer.autocast():
            output = self.model.log_magnitude(mel)
        logs = _losses(output, target)
        trainer.update("model", logs["log"] + self.config.convergence_weight * logs["convergence"])
        return {name: value.detach() for name, value in logs.items()}

    @torch.inference_mode()
    def validate(self, model: nn.Module) -> Validation:
        assert isinstance(model, SpectralVocoder)
        device = model.head.weight.device
        extractor, mel_loss = self.extractor.to(device), self.mel_loss.to(device)
        sums = {"log": 0.0, "convergence": 0.0, "mel": 0.0}
        audio, mels = {}, {}
        for place, i in enumerate(self.judged):
            wave = torch.from_numpy(self.validation_set.waveform(i)).to(device)[None, : 8 * self.spec.sample_rate]
            wave = wave[:, : wave.shape[-1] // self.spec.hop * self.spec.hop]
            mel, target = self._pair(wave)
            losses = _losses(model.log_magnitude(mel), target)
            output = model(extractor(wave))
            losses["mel"] = mel_loss(output, wave)
            for name, value in losses.items():
                sums[name] += float(value) / len(self.judged)
            if place < 2:
                audio[f"output/{place}"] = (output[0].cpu().numpy(), self.spec.sample_rate)
                audio[f"recording/{place}"] = (wave[0].cpu().numpy(), self.spec.sample_rate)
                mels[f"output/{place}"] = extractor(output)[0].cpu().numpy()
        return Validation(sums, audio, mels)


def _losses(output: Tensor, target: Tensor) -> dict[str, Tensor]:
    """L1 of the logarithms, and the error of magnitudes relative to each item's whole (spectral convergence)."""
    made, true = torch.exp(output), torch.exp(target)
    missed, size = (torch.linalg.norm(x, dim=(1, 2)) for x in (made - true, true))
    return {"log": (output - target).abs().mean(), "convergence": (missed / size.clamp(min=1.0)).mean()}
