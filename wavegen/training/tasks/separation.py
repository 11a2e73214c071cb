"""Training of separators on mixtures made on the fly: any separator, Chimera's two heads, the autoencoders.

Everything is computed for mixes of RMS 1. Sources that are interchangeable are trained in the order that fits best
(Yu et al. 2017, permutation-invariant training). Discriminators, where they are asked for, judge each separated source.
"""

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache as cached
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wavegen import checkpoints
from wavegen.audio.features import FeatureSpec
from wavegen.checkpoints.kinds import KINDS
from wavegen.errors import InputError
from wavegen.separation.band_split import BandSplitLSTM
from wavegen.separation.base import Separator, SeparatorSpec, level_of
from wavegen.separation.chimera import Chimera, ChimeraConfig
from wavegen.separation.deep_lstm import DeepLSTM, SourceNetwork
from wavegen.separation.masking import Transform, audible, magnitude
from wavegen.separation.stft import stft
from wavegen.separation.tcn_vae import TCNVAE
from wavegen.separation.vae import UNVOICED as NO_NOTE
from wavegen.separation.vae import Reading, SeparationVAE, VAEOutput
from wavegen.training import stem_folders
from wavegen.training.config import build
from wavegen.training.data import cache_key, require_batch, share
from wavegen.training.discriminators import DiscriminatorConfig, Discriminators
from wavegen.training.loop import Batch, Task, Trainer, Validation
from wavegen.training.losses import adversarial_loss, discriminator_loss, feature_matching_loss
from wavegen.training.mixtures import (
    PLAIN,
    UNVOICED,
    Augmentation,
    MixtureSet,
    SpeakerSet,
    StemSet,
    VoiceBackgroundSet,
    batch,
    generator,
    held_out,
    split_speakers,
)
from wavegen.training.separation_losses import (
    ComplexSTFTLoss,
    active_units,
    best_order,
    clustering_loss,
    cut_by_complex_masks,
    cut_by_masks,
    free_bits_kl,
    negative_snr,
    pairwise_negative_snr,
    reordered,
    si_sdr,
    spectral_l1,
    spectral_negative_snr,
)
from wavegen.vocoders.istft import ISTFTVocoder
from wavegen.vocoders.spectral import SpectralVocoder

Progress = Callable[[int, int], None]

IGNORED = -100  # a label that no loss counts
SILENT_DB = -40.0  # under the mix; sources quieter than that have no SI-SDR worth a mean
DESCRIBED = 32  # training mixes that a network's input is standardised by
HEARD = 2  # validation mixes that are kept to be heard
DRUMS = stem_folders.STEMS.index("drums")
JUDGES = DiscriminatorConfig((2, 3, 5), (256, 1024), 64, 16)


@dataclass(frozen=True)
class SongsConfig:
    """A folder of songs within the data folder, in one of the published layouts.

    ``weight`` is its share of what is drawn, beside that of other folders. A "prepared" folder without splits has its
    songs named: those to train on, and those to validate on. "speech" is a folder of speakers, whose recordings are
    vocals: songs with vocals of their own are few.
    """

    folder: str
    layout: Literal["prepared", "musdb18hq", "slakh2100", "librimix", "wsj0-2mix", "speech"] = "prepared"
    weight: float = 1.0
    train: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.weight <= 1e6:
            raise InputError(f"task.data.songs.weight must be positive, 1e6 at most, not {self.weight}")

    def items(self, data: Path, split: str) -> list[stem_folders.StemFiles]:
        """The songs of "train" or "validation"; InputError for one that is named and not there."""
        root = data / self.folder
        if self.layout == "speech":
            people = split_speakers(stem_folders.speakers([root]), split)
            files = [(name, path) for name, paths in people.items() for path in paths]
            return [stem_folders.StemFiles(f"{name}/{path.stem}", {"vocals": (path,)}) for name, path in files]
        if self.layout != "prepared":
            readers: dict[str, Callable[[Path, str], list[stem_folders.StemFiles]]] = {
                "musdb18hq": stem_folders.musdb18hq,
                "slakh2100": stem_folders.slakh2100,
                "librimix": stem_folders.librimix,
                "wsj0-2mix": stem_folders.wsj0_2mix,
            }
            return readers[self.layout](root, split)
        if not (self.train or self.validation):
            return stem_folders.prepared(root, split)
        named = self.train if split == "train" else self.validation
        found = {item.id: item for item in stem_folders.prepared(root, None)}
        for name in named:
            if name not in found:
                raise InputError(f"{root}: has no song {name!r}")
        return [found[name] for name in named]


@dataclass(frozen=True)
class MixtureConfig:
    """What is mixed: "songs" of their own stems, "speakers" over one another, or a "voice" over songs and noise.

    ``speakers`` are folders within the data folder. The rest is as in :class:`StemSet`, :class:`Augmentation`,
    :class:`SpeakerSet` and :class:`VoiceBackgroundSet`; ``groups`` gives for a source the list of its stems.
    """

    kind: Literal["songs", "speakers", "voice"]
    songs: tuple[SongsConfig, ...] = ()
    speakers: tuple[str, ...] = ()
    groups: dict[str, Any] = field(default_factory=dict)
    solo: bool = False
    monophonic: bool = False
    remix: float = 0.5
    gain_db: tuple[float, ...] = (-6.0, 6.0)
    silent: float = 0.05
    transpose: tuple[int, ...] = (0, 0)
    lowpass: float = 0.0
    mono: float = 0.0
    level_db: tuple[float, ...] = (-5.0, 5.0)
    overlap: tuple[float, ...] = (0.6, 1.0)
    snr_db: tuple[float, ...] = (-5.0, 10.0)
    noise: float = 0.3
    reverb: float = 0.3
    speed: tuple[float, ...] = (0.9, 1.1)

    def __post_init__(self) -> None:
        if self.kind == "songs" and not self.songs:
            raise InputError("task.data.songs: name a folder of songs")
        if self.kind != "songs" and not self.speakers:
            raise InputError("task.data.speakers: name a folder of speakers")
        for name in ("gain_db", "transpose", "level_db", "overlap", "snr_db", "speed"):
            if len(getattr(self, name)) != 2:
                raise InputError(f"task.data.{name} must be two values, not {getattr(self, name)}")
        for source, stems in self.groups.items():
            if not isinstance(stems, list) or not all(isinstance(stem, str) for stem in stems):
                raise InputError(f"task.data.groups.{source}: expected a list of stems, not {stems!r}")

    def open(self, data: Path, split: str, spec: SeparatorSpec, cache: Path, progress: Progress | None) -> MixtureSet:
        """The mixtures of "train" or "validation"; the latter are of songs as they are and of voices at their speed."""
        training = split == "train"
        items, weights = [], []
        for songs in self.songs:
            found = songs.items(data, split)
            items += found
            weights += [songs.weight / max(1, len(found))] * len(found)
        opened: MixtureSet
        if self.kind == "songs":
            change = Augmentation(
                remix=self.remix,
                gain_db=_pair(self.gain_db),
                silent=self.silent,
                transpose=(self.transpose[0], self.transpose[1]),
                lowpass=self.lowpass,
                mono=self.mono,
            )
            opened = StemSet(
                items,
                spec.sources,
                sample_rate=spec.sample_rate,
                channels=spec.channels,
                groups=self.groups,
                solo=self.solo,
                monophonic=self.monophonic,
                augmentation=change if training else PLAIN,
                weights=weights,
                cache=cache,
                progress=progress,
            )
            return _fitting(opened, spec)
        speakers = split_speakers(stem_folders.speakers([data / folder for folder in self.speakers]), split)
        speed = _pair(self.speed) if training else (1.0, 1.0)
        if self.kind == "speakers":
            opened = SpeakerSet(
                speakers,
                sample_rate=spec.sample_rate,
                cache=cache,
                count=len(spec.sources),
                level_db=_pair(self.level_db),
                overlap=_pair(self.overlap),
                speed=speed,
                progress=progress,
            )
        else:
            opened = VoiceBackgroundSet(
                speakers,
                items,
                sample_rate=spec.sample_rate,
                cache=cache,
                snr_db=_pair(self.snr_db),
                noise=self.noise,
                reverb=self.reverb,
                speed=speed,
                progress=progress,
            )
        return _fitting(opened, spec)


def _fitting(opened: MixtureSet, spec: SeparatorSpec) -> MixtureSet:
    """The set, whose sources and channels are the separator's; InputError if they are not."""
    for name in ("sources", "channels"):
        if getattr(opened, name) != getattr(spec, name):
            raise InputError(
                f"task.separator.{name}: these mixtures have {getattr(opened, name)}, not {getattr(spec, name)}"
            )
    return opened


def _contents(opened: Any) -> list[object]:
    """What of a set decides what is drawn from it, wherever it lies."""
    songs = [
        (song.id, {name: [part.samples for part in parts] for name, parts in song.stems.items()})
        for song in getattr(opened, "songs", [])
    ]
    voices = getattr(opened, "voices", None)
    return [songs, [] if voices is None else [voices.names, voices.waveforms.starts.tolist()]]


def _pair(values: tuple[float, ...]) -> tuple[float, float]:
    return values[0], values[1]


@dataclass(frozen=True)
class AdversarialConfig:
    """Weights of the least-squares adversarial loss and of feature matching (both 0: no discriminators).

    Discriminators join at ``begin`` of the run, and learn at ``rate`` of the loop's learning rate.
    """

    weight: float = 0.0
    feature_weight: float = 0.0
    begin: float = 0.1
    rate: float = 0.5
    discriminators: DiscriminatorConfig = JUDGES

    def __post_init__(self) -> None:
        for name in ("weight", "feature_weight", "rate"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"task.adversarial.{name} must be 0 or more, and finite, not {getattr(self, name)}")
        if not 0 <= self.begin <= 1:
            raise InputError(f"task.adversarial.begin must lie in [0, 1], not {self.begin}")

    @property
    def used(self) -> bool:
        return self.weight > 0 or self.feature_weight > 0


class SourceDiscriminators(nn.Module):
    """Judges sources (batch, sources, channels, samples): each by its own judge, or all by one if they are alike."""

    def __init__(self, config: DiscriminatorConfig, spec: SeparatorSpec) -> None:
        super().__init__()
        count = 1 if spec.interchangeable else len(spec.sources)
        self.judges = nn.ModuleList(Discriminators(config) for _ in range(count))

    def forward(self, sources: Tensor) -> tuple[list[Tensor], list[list[Tensor]]]:
        logits: list[Tensor] = []
        features: list[list[Tensor]] = []
        parts = [sources] if len(self.judges) == 1 else list(torch.split(sources, 1, dim=1))
        for judge, part in zip(self.judges, parts, strict=True):
            more_logits, more_features = judge(part.flatten(0, 2))
            logits += more_logits
            features += more_features
        return logits, features


@dataclass(frozen=True)
class _Common:
    """``batch`` mixtures of ``seconds`` a step; ``validation`` mixtures of ``validation_seconds`` are judged by.

    ``loss`` "waveform" is the L1 of waveforms, plus ``stft_weight`` × that of spectra of ``stft_sizes``; "snr" the
    negative SNR, over 20 dB, in which errors more than ``limit_db`` under the mix count no less; ``snr_weight`` × that
    is added to the first, whose bins all count alike, few as those of a bass may be. ``spectral`` takes
    both (of the first, the L1 of spectra alone) on the spectrum that the model masks, of one channel: several times
    faster. ``compiled`` fuses what is done there by torch.compile, which needs a C++ compiler.
    """

    separator: SeparatorSpec
    data: MixtureConfig
    batch: int = 4
    seconds: float = 3.0
    loss: Literal["waveform", "snr"] = "waveform"
    stft_weight: float = 1.0
    stft_sizes: tuple[int, ...] = (2048, 512)
    limit_db: float = 30.0
    snr_weight: float = 0.0
    spectral: bool = False
    compiled: bool = False
    validation: int = 16
    validation_seconds: float = 6.0
    adversarial: AdversarialConfig = AdversarialConfig()

    def __post_init__(self) -> None:
        require_batch(self.batch)
        for name, most in (("seconds", 600), ("validation", 100_000), ("validation_seconds", 600), ("limit_db", 200)):
            if not 0 < getattr(self, name) <= most:
                raise InputError(f"task.{name} must be positive, {most} at most, not {getattr(self, name)}")
        for name in ("stft_weight", "snr_weight"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"task.{name} must be 0 or more, and finite, not {getattr(self, name)}")
        if not self.stft_sizes or min(self.stft_sizes) < 4:
            raise InputError(f"task.stft_sizes must be FFT sizes of 4 or more, not {self.stft_sizes}")
        if self.spectral and self.adversarial.used:
            raise InputError("task.spectral: discriminators judge waveforms; leave it or task.adversarial out")
        if self.spectral and self.loss == "waveform" and self.separator.interchangeable:
            raise InputError("task.spectral: sources without order ask for task.loss snr")
        longest = max(self.adversarial.discriminators.resolutions, default=0)
        if self.adversarial.used and self.seconds * self.separator.sample_rate <= longest // 2:
            raise InputError(f"task.seconds: {self.seconds} s are too short for a resolution of {longest}")


@dataclass(frozen=True, kw_only=True)
class SeparationTaskConfig(_Common):
    """Any separator: ``architecture`` as checkpoints name their kinds, ``model`` its own configuration."""

    architecture: str
    model: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        configured(self.architecture, self.model)
        if self.spectral and self.architecture not in ("band-split-lstm", "deep-lstm"):
            raise InputError(f"task.spectral: a {self.architecture} does not mask a spectrum; leave it out")


@dataclass(frozen=True, kw_only=True)
class ClusteringTaskConfig(_Common):
    """Chimera: ``alpha`` × the clustering loss + (1 - alpha) × the loss of what the mask head separates.

    Bins more than ``range_db`` under the loudest are not clustered.
    """

    model: ChimeraConfig = field(default_factory=ChimeraConfig)
    loss: Literal["waveform", "snr"] = "snr"
    alpha: float = 0.5
    range_db: float = 40.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.alpha <= 1:
            raise InputError(f"task.alpha must lie in [0, 1], not {self.alpha}")
        if not 0 < self.range_db < math.inf:
            raise InputError(f"task.range_db must be positive and finite, not {self.range_db}")


@dataclass(frozen=True, kw_only=True)
class SeparationVAETaskConfig(_Common):
    """The autoencoders, "lstm-vae-separator" or "tcn-vae-separator", ``model`` their own configuration.

    ``beta`` × the KL in nats a source and frame, risen to over the run's first ``kl_rise``, where no unit is pushed
    under ``free_bits`` nats; with 0 nothing is drawn either: a plain autoencoder. ``magnitude_weight`` × the L1 of the
    decoders' own magnitudes, as log(1 + ·); ``pitch_weight`` and ``family_weight`` × the heads' cross entropies, where
    the notes are known. ``heads_only`` holds all else as it is: heads learn faster of a separation that stands still.
    A step separates a batch, and makes ``heads_steps`` steps of ``heads_batch`` of the last ``memory`` sources. These
    take 17 kB a second each, and are not kept with a checkpoint: a run that is resumed gathers them anew.
    ``vocoder``: a model's name or file that the TCN's decoder begins from.
    """

    architecture: Literal["lstm-vae-separator", "tcn-vae-separator"]
    model: dict[str, Any] = field(default_factory=dict)
    beta: float = 0.001
    free_bits: float = 0.05
    kl_rise: float = 0.2
    magnitude_weight: float = 0.3
    pitch_weight: float = 0.05
    family_weight: float = 0.05
    heads_only: bool = False
    memory: int = 20_000
    heads_steps: int = 8
    heads_batch: int = 48
    vocoder: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("beta", "free_bits", "kl_rise", "magnitude_weight", "pitch_weight", "family_weight"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"task.{name} must be 0 or more, and finite, not {getattr(self, name)}")
        if self.heads_only and self.data.kind != "songs":
            raise InputError("task.heads_only: notes and instruments are known of task.data.kind songs alone")
        for name in ("memory", "heads_steps", "heads_batch"):
            if not 1 <= getattr(self, name) <= 1_000_000:
                raise InputError(f"task.{name} must be from 1 to 1000000, not {getattr(self, name)}")
        if self.heads_only and (self.adversarial.used or not (self.pitch_weight or self.family_weight)):
            raise InputError("task.heads_only: nothing but task.pitch_weight and task.family_weight is trained then")
        if self.vocoder is not None and self.architecture != "tcn-vae-separator":
            raise InputError("task.vocoder: only the decoder of a tcn-vae-separator begins from a vocoder")
        configured(self.architecture, self.model)


def configured(architecture: str, model: dict[str, Any]) -> tuple[Any, type[Separator]]:
    """The configuration and class of a separator. InputError for what is none, or does not fit it."""
    names = [kind.name for kind in KINDS.values() if kind.role == "separator"]
    if architecture not in names:
        raise InputError(f"task.architecture: must be one of {', '.join(names)}, not {architecture!r}")
    config_class, model_class = KINDS[architecture].classes()
    return build(config_class, model, "task.model"), model_class


class _SeparationTask(Task):
    """Mixtures and discriminators, which all tasks share."""

    config: Any
    model: Separator

    def __init__(
        self, config: Any, spec: FeatureSpec, data: Path, cache: Path, seed: int, progress: Progress | None = None
    ) -> None:
        self.config, self.spec, self.seed = config, spec, seed
        self.separator: SeparatorSpec = config.separator
        self.train_set: MixtureSet = config.data.open(data, "train", self.separator, cache, progress)
        self.validation_set: MixtureSet = config.data.open(data, "validation", self.separator, cache, progress)
        self.model = self.fresh()
        self.modules = {"model": self.model}
        self.learning_rates = {}
        if config.adversarial.used:
            self.modules["discriminators"] = SourceDiscriminators(config.adversarial.discriminators, self.separator)
            self.learning_rates["discriminators"] = config.adversarial.rate
        self.stft_loss = ComplexSTFTLoss(config.stft_sizes)
        self._snr = partial(spectral_negative_snr, limit_db=config.limit_db)
        self._l1 = partial(spectral_l1, snr_weight=config.snr_weight, limit_db=config.limit_db)

    @classmethod
    def prepare(
        cls, config: Any, spec: FeatureSpec, data: Path, cache: Path, seed: int, progress: Progress | None = None
    ) -> tuple[Self, str]:
        """The task on a folder of songs, of speakers or of both, and a digest of what is drawn from."""
        task = cls(config, spec, data, cache, seed, progress)
        return task, cache_key(_contents(task.train_set))

    @abstractmethod
    def fresh(self) -> Separator:
        """The untrained model."""

    def batch(self, step: int, rank: int, world: int) -> Batch:
        c = self.config
        found = batch(self.train_set, step, c.batch, c.seconds, self.seed, rank=rank, world=world)
        return {"sources": torch.from_numpy(found)}

    def levelled(self, sources: Tensor) -> tuple[Tensor, Tensor]:
        """Targets (batch, sources, channels, samples) and their mix, scaled so that the mix has an RMS of 1."""
        mix = sources.sum(dim=1)
        level = level_of(mix).clamp(min=1e-4)
        return sources / level[:, None, None, None], mix / level[:, None, None]

    def order(self, output: Tensor, target: Tensor, mix: Tensor) -> Tensor:
        """Which estimate belongs to each target, (batch, sources)."""
        if not self.separator.interchangeable:
            return torch.arange(output.shape[1], device=output.device).expand(output.shape[0], -1)
        with torch.no_grad():
            return best_order(pairwise_negative_snr(output, target, mix, self.config.limit_db))[1]

    def distance(self, output: Tensor, target: Tensor, mix: Tensor) -> Tensor:
        """The loss of separated sources in their targets' order."""
        c: _Common = self.config
        loss = output.new_zeros(())
        if c.loss == "waveform":
            loss = F.l1_loss(output, target)
            if c.stft_weight:
                loss = loss + c.stft_weight * self.stft_loss.to(output.device)(output, target)
        weight = 1.0 if c.loss == "snr" else c.snr_weight
        if weight:
            snr = negative_snr(output.flatten(2), target.flatten(2), mix.flatten(1)[:, None], c.limit_db)
            loss = loss + weight * snr.mean() / 20
        return loss

    def spectral_distance(self, masks: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """:meth:`distance` of what the masks cut out, and the order: on the model's own spectrum of the first channel.

        Which of two channels that is, is chance. ``masks`` as the model's ``spectral_masks`` has them.
        """
        c: _Common = self.config
        cut = cut_by_complex_masks if isinstance(self.model, BandSplitLSTM) else cut_by_masks
        true = torch.view_as_real(self.spectra(target[:, :, 0]))
        order = torch.arange(target.shape[1], device=target.device).expand(target.shape[0], -1)
        if c.loss == "waveform":
            return _fused(cut, self._l1, c.compiled)(masks, true), order
        costs = _fused(cut, self._snr, c.compiled)(masks, true) / 20
        if not self.separator.interchangeable:
            return costs.diagonal(dim1=1, dim2=2).mean(), order
        least, order = best_order(costs)
        return least.mean(), order

    def cut_out(
        self, masks: Tensor, spectrum: Tensor, target: Tensor, mix: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """:meth:`distance` of what masks cut out of the spectrum, the order; the sources, too, unless ``spectral``."""
        if self.config.spectral:
            return *self.spectral_distance(masks, target), None
        transform: Transform = self.model.transform  # type: ignore[assignment]
        output = transform.apply(masks, spectrum, mix.shape[-1])
        order = self.order(output, target, mix)
        output = reordered(output, order)
        return self.distance(output, target, mix), order, output

    def spectra(self, waveforms: Tensor) -> Tensor:
        """Complex spectra (..., bins, frames) of (..., samples), on the grid of the model's, noise of RMS 1 being 1."""
        c = self.model.config
        return stft(waveforms, c.n_fft, c.hop) / math.sqrt(0.375 * c.n_fft)  # the window's energy

    def judged(self, trainer: Trainer, output: Tensor | None, target: Tensor, logs: dict[str, Tensor]) -> Tensor:
        """What the discriminators add to the loss, after a step of their own."""
        c: AdversarialConfig = self.config.adversarial
        if output is None or not c.used or trainer.progress < c.begin:
            return target.new_zeros(())
        with trainer.autocast():
            logits, _ = self.parallel["discriminators"](torch.cat([target, output.detach()]))
        loss = discriminator_loss(*_halves(logits))
        trainer.update("discriminators", loss)
        judge = self.modules["discriminators"].requires_grad_(False)
        with trainer.autocast():
            logits, features = judge(torch.cat([target, output]))
        judge.requires_grad_(True)
        adversary = adversarial_loss(_halves(logits)[1])
        pairs = [_halves(member) for member in features]
        matching = feature_matching_loss([a for a, _ in pairs], [b for _, b in pairs])
        logs |= {"discriminator": loss.detach(), "adversarial": adversary.detach(), "features": matching.detach()}
        return c.weight * adversary + c.feature_weight * matching

    @torch.inference_mode()
    def validate(self, model: nn.Module) -> Validation:
        assert isinstance(model, Separator)
        device = next(model.parameters()).device
        losses, improvements, audio = [], [], {}
        for place, sources in enumerate(self.validation_mixtures()):
            target, mix = self.levelled(sources[None].to(device))
            output = model(mix)
            output = reordered(output, self.order(output, target, mix))
            losses.append(float(self.distance(output, target, mix)))
            better = si_sdr(output.flatten(2), target.flatten(2)) - si_sdr(mix.flatten(1)[:, None], target.flatten(2))
            sounds = 10 * torch.log10(target.square().mean(dim=(2, 3)) + 1e-12) > SILENT_DB
            improvements += better[sounds].tolist()
            if place < HEARD:
                peak = float(mix.abs().max().clamp(min=1e-9))
                for name, source in zip(self.separator.sources, output[0], strict=True):
                    audio[f"{name}/{place}"] = ((source.mean(dim=0) / peak).cpu().numpy(), self.separator.sample_rate)
        scalars = {"loss": float(np.mean(losses))}
        if improvements:
            scalars["negative_si_sdri"] = -float(np.mean(improvements))
        return Validation(scalars, audio)

    def validation_mixtures(self) -> list[Tensor]:
        """Sources (sources, channels, samples) of each, always the same."""
        c = self.config
        return [torch.from_numpy(x) for _, x in held_out(self.validation_set, c.validation, c.validation_seconds)]


class SeparationTask(_SeparationTask):
    """Mixes back to their sources, by any separator."""

    config: SeparationTaskConfig

    def fresh(self) -> Separator:
        self.single = self.config.spectral
        config, model_class = configured(self.config.architecture, self.config.model)
        model = model_class(config, self.separator)
        if isinstance(model, DeepLSTM):
            self.statistics = tuple(
                f"networks.{name}.{value}" for name in self.separator.sources for value in ("input_mean", "input_scale")
            )
            self._describe(model)
        return model

    def _describe(self, model: DeepLSTM) -> None:
        """Give every network the mean and deviation of the mixes' magnitudes, bin by bin."""
        seen = []
        for number in range(DESCRIBED):
            example = self.train_set.example(generator(self.seed, 0, number), self.config.seconds)
            _, mix = self.levelled(torch.from_numpy(example)[None])
            spectrum = stft(mix * model.config.rms, model.config.n_fft, model.config.hop)
            seen.append(model.magnitudes(spectrum)[:, :, 0].flatten(0, 1))
        deviation, mean = torch.std_mean(torch.cat(seen), dim=0)
        least = 1e-4 * deviation.max().clamp(min=1e-8)
        for network in model.networks.values():
            assert isinstance(network, SourceNetwork)
            network.input_mean.copy_(-mean[: network.bins])
            network.input_scale.copy_(1 / deviation[: network.bins].clamp(min=least))

    def step(self, trainer: Trainer, batch: Batch) -> dict[str, Tensor]:
        target, mix = self.levelled(batch["sources"])
        if self.config.spectral:
            assert isinstance(self.model, BandSplitLSTM | DeepLSTM)
            with trainer.autocast():
                masks = self.model.spectral_masks(mix)
            loss, _ = self.spectral_distance(masks, target)
            trainer.update("model", loss)
            return {"loss": loss.detach()}
        with trainer.autocast():
            output = self.parallel["model"](mix)
        output = reordered(output.float(), self.order(output, target, mix))
        loss = self.distance(output, target, mix)
        logs = {"loss": loss.detach()}
        trainer.update("model", loss + self.judged(trainer, output, target, logs))
        return logs


class ClusteringTask(_SeparationTask):
    """Mixes back to embeddings that cluster by source, and to the sources. Trains in one process."""

    config: ClusteringTaskConfig
    model: Chimera
    single = True

    def fresh(self) -> Chimera:
        return Chimera(self.config.model, self.separator)

    def step(self, trainer: Trainer, batch: Batch) -> dict[str, Tensor]:
        c = self.config
        target, mix = self.levelled(batch["sources"])
        with trainer.autocast():
            found = self.model.analyse(mix)
        separated, _, output = self.cut_out(found.masks, found.spectrum, target, mix)
        clustered = self.clustered(found.embedding, found.spectrum, target)
        logs = {"clusters": clustered.detach(), "loss": separated.detach()}
        loss = c.alpha * clustered + (1 - c.alpha) * separated
        trainer.update("model", loss + self.judged(trainer, output, target, logs))
        return logs

    def clustered(self, embedding: Tensor, spectrum: Tensor, target: Tensor) -> Tensor:
        """The clustering loss of the mix's audible bins, each weighed by its magnitude."""
        with torch.no_grad():
            sources = magnitude_of(self.model, target)
            levels = magnitude(spectrum)
            weight = levels * audible(levels, self.config.range_db)
        dominant = sources.argmax(dim=1).flatten(1)
        return clustering_loss(embedding.flatten(1, 2), dominant, weight.flatten(1)).mean()


class Memory:
    """The last ``size`` sources that heads heard: what they saw (inputs, spaced frames), in half precision, the pitches
    (frames,) and the family ().

    All in one block from the start: thousands of small ones among what comes and goes would leave holes everywhere.
    """

    def __init__(self, size: int) -> None:
        self.size, self.count = size, 0
        self.seen = self.pitch = self.family = torch.empty(0)

    def __len__(self) -> int:
        return min(self.count, self.size)

    def add(self, seen: Tensor, pitch: Tensor, family: Tensor) -> None:
        if not self.count:
            self.seen = seen.new_empty(self.size, *seen.shape, dtype=torch.half)
            self.pitch, self.family = pitch.new_empty(self.size, *pitch.shape), family.new_empty(self.size)
        place = self.count % self.size
        self.seen[place], self.pitch[place], self.family[place] = seen, pitch, family
        self.count += 1

    def draw(self, rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """A batch of ``count`` items of one source each."""
        places = torch.from_numpy(rng.integers(len(self), size=count)).to(self.seen.device)
        return self.seen[places].float()[:, None], self.pitch[places][:, None], self.family[places][:, None]


class SeparationVAETask(_SeparationTask):
    """Mixes back to their sources through latents that also tell the notes, whose partials tell the instruments.

    Trains in one process.
    """

    config: SeparationVAETaskConfig
    model: SeparationVAE
    single = True

    def fresh(self) -> SeparationVAE:
        self.remembered = Memory(self.config.memory)
        config, model_class = configured(self.config.architecture, self.config.model)
        model: Any = model_class(config, self.separator)
        if config.families < len(stem_folders.STEMS):
            raise InputError(f"task.model.families: {len(stem_folders.STEMS)} are told apart, not {config.families}")
        if self.config.vocoder is not None:
            vocoder = checkpoints.load(self.config.vocoder, role="vocoder")
            if not isinstance(vocoder, ISTFTVocoder | SpectralVocoder) or not isinstance(model, TCNVAE):
                raise InputError(
                    f"task.vocoder: {self.config.vocoder} has no network that the decoder could begin from"
                )
            model.warm_start(vocoder)
        assert isinstance(model, SeparationVAE)
        if self.config.heads_only:
            model.requires_grad_(False)
            model.pitch.requires_grad_(self.config.pitch_weight > 0)
            model.family.requires_grad_(self.config.family_weight > 0)
        return model

    def batch(self, step: int, rank: int, world: int) -> Batch:
        c = self.config
        if not isinstance(self.train_set, StemSet):
            return super().batch(step, rank, world)
        items = [
            self._labelled(self.train_set, generator(self.seed, step, k), c.seconds)
            for k in share(range(c.batch), rank, world)
        ]
        return {name: torch.stack([item[name] for item in items]) for name in items[0]}

    def _labelled(self, data: StemSet, rng: np.random.Generator, seconds: float) -> dict[str, Tensor]:
        """An example with the classes that the heads are to give, IGNORED where they are not known."""
        found = data.labelled_example(rng, seconds, self.model.config.hop)
        known = torch.from_numpy(found.labelled)
        pitch, family = torch.from_numpy(found.pitches), torch.from_numpy(found.families)
        note = torch.where(pitch == UNVOICED, NO_NOTE, torch.where(pitch >= 0, pitch, IGNORED))
        return {
            "sources": torch.from_numpy(found.sources),
            "pitch": torch.where(known[:, None], note, IGNORED),
            "family": torch.where(known & (family >= 0), family, IGNORED),
        }

    def step(self, trainer: Trainer, batch: Batch) -> dict[str, Tensor]:
        c = self.config
        target, mix = self.levelled(batch["sources"])
        with trainer.autocast():
            read = "pitch" in batch and (c.pitch_weight > 0 or c.family_weight > 0)
            out = self.model.analyse(mix, draw=c.beta > 0 and not c.heads_only, hear=read)
        if c.heads_only:
            self.remember(out.heard, batch["pitch"], batch["family"])
            return self.replay(trainer)
        logs: dict[str, Tensor] = {}
        loss, order, output = self.separated(trainer, out, target, mix, logs)
        if read:
            heard = reordered(out.heard, order)
            loss = loss + self.misread(trainer, heard, batch["pitch"], batch["family"], logs)
        trainer.update("model", loss + self.judged(trainer, output, target, logs))
        return logs

    def misread(
        self, trainer: Trainer, heard: Tensor, pitch: Tensor, family: Tensor, logs: dict[str, Tensor]
    ) -> Tensor:
        """The heads' weighted cross entropies; one of no weight is not asked."""
        c, loss = self.config, heard.new_zeros(())
        with trainer.autocast():
            notes = self.model.read_pitch(heard, pitch.shape[-1]) if c.pitch_weight else None
            kinds = self.model.read_family(heard) if c.family_weight else None
        for name, weight, logits, true in (
            ("pitch", c.pitch_weight, notes, pitch),
            ("family", c.family_weight, kinds, family),
        ):
            if logits is not None:
                missed = _cross_entropy(logits, true)
                logs[name] = missed.detach()
                loss = loss + weight * missed
        return loss

    def remember(self, heard: Tensor, pitch: Tensor, family: Tensor) -> None:
        """Keep what there is to learn from: of drums, which are but drums, one source a batch."""
        for item, kinds in enumerate(family.tolist()):
            for source, kind in enumerate(kinds):
                known = (self.config.family_weight > 0 and kind != IGNORED) or (
                    self.config.pitch_weight > 0 and bool((pitch[item, source] != IGNORED).any())
                )
                if known and (kind != DRUMS or item == 0):
                    self.remembered.add(heard[item, source], pitch[item, source], family[item, source])

    def replay(self, trainer: Trainer) -> dict[str, Tensor]:
        """Steps of the heads on sources of what has been in this run."""
        c, logs = self.config, dict[str, Tensor]()
        rng = generator(self.seed, trainer.steps_done, c.heads_batch)
        for _ in range(c.heads_steps if len(self.remembered) else 0):
            seen, pitch, family = self.remembered.draw(rng, c.heads_batch)
            trainer.update("model", self.misread(trainer, seen, pitch, family, logs))
        return logs

    def separated(
        self, trainer: Trainer, out: VAEOutput, target: Tensor, mix: Tensor, logs: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """The loss of all but the heads, the sources' order and, unless ``spectral``, the sources."""
        c = self.config
        loss, order, output = self.cut_out(out.masks, out.spectrum, target, mix)
        kl = free_bits_kl(out.latents.mean, out.latents.log_variance, c.free_bits)
        logs |= {"loss": loss.detach(), "kl": kl.nats.detach()}
        risen = min(1.0, trainer.progress / c.kl_rise) if c.kl_rise else 1.0
        loss = loss + c.beta * risen * kl.penalised
        if c.magnitude_weight:
            made, true = reordered(out.log_magnitude, order), magnitude_of(self.model, target)
            distance = _fused(magnitude_distance, None, c.compiled)(made, true)
            loss = loss + c.magnitude_weight * distance
            logs["magnitude"] = distance.detach()
        return loss, order, output

    @torch.inference_mode()
    def validate(self, model: nn.Module) -> Validation:
        """Adds the KL, how many latent units say nothing, and how often the heads are wrong where they can be right."""
        assert isinstance(model, SeparationVAE)
        result = super().validate(model)
        device = next(model.parameters()).device
        c = self.config
        means, kls = [], []
        wrong: dict[str, list[float]] = {"pitch_errors": [], "family_errors": []}
        for number, sources in enumerate(self.validation_mixtures()):
            target, mix = self.levelled(sources[None].to(device))
            out = model.analyse(mix)
            means.append(out.latents.mean.movedim(2, -1).flatten(0, -2))
            kls.append(float(free_bits_kl(out.latents.mean, out.latents.log_variance, 0.0).nats))
            if not isinstance(self.validation_set, StemSet):
                continue
            rng = np.random.default_rng([0, number])  # the mixture's own
            labels = self._labelled(self.validation_set, rng, c.validation_seconds)
            order = self.order(model.transform.apply(out.masks, out.spectrum, mix.shape[-1]), target, mix)
            read = model.read_heard(out.heard, out.masks.shape[-1])
            reading = Reading(*(reordered(logits, order)[0].cpu() for logits in read))
            for name, logits, true in (
                ("pitch_errors", reading.pitch, labels["pitch"]),
                ("family_errors", reading.family, labels["family"]),
            ):
                counted = (true != IGNORED) & (true != NO_NOTE)
                wrong[name] += (logits.argmax(dim=1) != true)[counted].double().tolist()
        result.scalars["kl"] = float(np.mean(kls))
        result.scalars["silent_units"] = float(model.units - active_units(torch.cat(means)))
        result.scalars |= {name: float(np.mean(values)) for name, values in wrong.items() if values}
        return result


def magnitude_of(model: Chimera | SeparationVAE, sources: Tensor) -> Tensor:
    """Magnitudes (batch, sources, bins, frames) of waveforms (batch, sources, channels, samples)."""
    found = magnitude(model.transform.spectrum(sources.flatten(0, 1)))
    return found.reshape(*sources.shape[:2], *found.shape[1:])


def magnitude_distance(log_magnitude: Tensor, true: Tensor) -> Tensor:
    """L1 of log(1 + magnitude): a scalar."""
    return (torch.log1p(log_magnitude.exp()) - torch.log1p(true)).abs().mean()


@cached
def _fused(inner: Any, outer: Any, compiled: bool) -> Callable[..., Tensor]:
    """``outer`` of ``inner``, or this alone, run as it is or compiled as one: it touches much less memory then."""

    def both(*arguments: Tensor) -> Tensor:
        found = inner(*arguments)
        return found if outer is None else outer(found)  # type: ignore[no-any-return]

    return torch.compile(both, dynamic=False) if compiled else both


def _cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Over (batch, sources, classes, ...) and labels (batch, sources, ...); 0 where all labels are ignored."""
    total = F.cross_entropy(logits.flatten(0, 1), target.flatten(0, 1), ignore_index=IGNORED, reduction="sum")
    return total / (target != IGNORED).sum().clamp(min=1)


def _halves(tensors: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    pairs = [t.chunk(2) for t in tensors]
    return [a for a, _ in pairs], [b for _, b in pairs]
