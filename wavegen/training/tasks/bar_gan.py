"""Adversarial training of the bar-wise GAN of scores."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wavegen.audio.features import FeatureSpec
from wavegen.errors import InputError
from wavegen.music.models.gan import CHORDS, COLUMNS, HOLD, PITCHES, REST, BarGAN, BarGANConfig, Bars, bars_of, one_hot
from wavegen.music.tokens import METERS, MODES, STYLES, vocabulary
from wavegen.training.data import cache_key, require_batch, seed_of, share
from wavegen.training.loop import Batch, Task, Trainer, Validation
from wavegen.training.tasks.score import TokenCorpus, read_corpus

JUDGED = 512  # bars of the validation part


@dataclass(frozen=True)
class BarGANTaskConfig:
    """``batch`` bars a step. The discriminator of ``channels`` rests while it is right more often than ``ceiling``.

    ``smoothing`` is taken off the label of what is real (Salimans et al. 2016); ``feature_weight`` weighs how far the
    mean bar and the mean of the discriminator's first features are from those of real ones (Yang et al. 2017).
    """

    model: BarGANConfig = field(default_factory=BarGANConfig)
    channels: int = 32
    batch: int = 64
    ceiling: float = 0.8
    smoothing: float = 0.1
    feature_weight: float = 3.0
    discriminator_rate: float = 1.0

    def __post_init__(self) -> None:
        require_batch(self.batch)
        if self.channels < 1:
            raise InputError(f"task.channels must be positive, not {self.channels}")
        if not 0.5 < self.ceiling <= 1:
            raise InputError(f"task.ceiling must lie in (0.5, 1], not {self.ceiling}")
        if not 0 <= self.smoothing < 0.5 or self.feature_weight < 0:
            raise InputError("task.smoothing must lie in [0, 0.5), task.feature_weight must not be negative")


class BarDiscriminator(nn.Module):
    """Real or made: bars as one-hot columns (n, ROWS, COLUMNS) → logits (n,) and the first layer's features."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(
            nn.Embedding(size, channels) for size in (CHORDS + 1, len(METERS), len(MODES), len(STYLES))
        )
        layers = [nn.Conv2d(a, channels, 4, stride=2, padding=1) for a in (2, channels, channels)]
        self.layers = nn.ModuleList(layers)
        self.hidden = nn.Linear(channels * 8 * 4 + channels, 4 * channels)
        self.output = nn.Linear(4 * channels, 1)
        for weight in (*(layer.weight for layer in layers), self.hidden.weight):
            nn.init.kaiming_normal_(weight, a=0.2)
        # One cell of 64 is 1: at the usual scale all bars would look alike at first.
        nn.init.normal_(layers[0].weight, std=0.5)

    def forward(self, current: Tensor, bars: Bars) -> tuple[Tensor, Tensor]:
        x = torch.stack([current, one_hot(bars.previous)], 1)
        first = x = F.leaky_relu(self.layers[0](x), 0.2)
        for layer in list(self.layers)[1:]:
            x = F.leaky_relu(layer(x), 0.2)
        tables = zip(self.embeddings, (bars.chord, bars.meter, bars.mode, bars.style), strict=True)
        condition = torch.stack([table(index) for table, index in tables]).sum(0)
        hidden = F.leaky_relu(self.hidden(torch.cat([x.flatten(1), condition], 1)), 0.2)
        logits: Tensor = self.output(hidden)[:, 0]
        return logits, first


class BarGANTask(Task):
    """Bars of tunes, each with the bar before, against those that the generator makes in their place."""

    model: BarGAN

    def __init__(self, config: BarGANTaskConfig, spec: FeatureSpec, corpus: TokenCorpus, seed: int) -> None:
        if corpus.vocabulary != "tune":
            raise InputError(f"the GAN learns from tunes, not from {corpus.vocabulary}")
        self.config, self.spec, self.seed = config, spec, seed
        self.model = BarGAN(config.model)
        self.modules = {"model": self.model, "discriminator": BarDiscriminator(config.channels)}
        self.learning_rates = {"discriminator": config.discriminator_rate}
        self.statistics = ("chords", "change")
        v = vocabulary("tune")
        self.train_bars, self.validation_bars = bars_of(corpus.train, v), bars_of(corpus.validation, v)
        self.model.learn_chords(corpus.train)
        self.accuracy = 0.5  # of the discriminator, on average over the last steps

    @classmethod
    def prepare(
        cls,
        config: BarGANTaskConfig,
        spec: FeatureSpec,
        data: Path,
        cache: Path,
        seed: int,
        progress: Callable[[int, int], None] | None = None,
    ) -> "tuple[BarGANTask, str]":
        """A task on a corpus file of tunes, and the digest of its training part."""
        corpus = read_corpus(data)
        return cls(config, spec, corpus, seed), cache_key(*(s.tolist() for s in corpus.train))

    def batch(self, step: int, rank: int, world: int) -> Batch:
        generator = torch.Generator().manual_seed(seed_of(self.seed, step, 13))
        drawn = torch.randint(len(self.train_bars.chord), (self.config.batch,), generator=generator)
        mine = torch.tensor(list(share(drawn.tolist(), rank, world)))
        return {name: values[mine] for name, values in self.train_bars._asdict().items()}

    def step(self, trainer: Trainer, batch: Batch) -> dict[str, Tensor]:
        c, bars = self.config, Bars(**batch)
        real = one_hot(bars.current)
        noise = torch.randn(len(real), c.model.noise, device=real.device)
        made = self.model.draw(self.parallel["model"](noise, bars))
        judge = self.parallel["discriminator"]
        truth, _ = judge(real, bars)
        falsehood, _ = judge(made.detach(), bars)
        accuracy = 0.5 * ((truth > 0).float().mean() + (falsehood < 0).float().mean()).detach()
        loss = _cross_entropy(truth, 1 - c.smoothing) + _cross_entropy(falsehood, 0.0)
        if self.accuracy < c.ceiling:
            trainer.update("discriminator", loss)
        self.accuracy += 0.1 * (float(accuracy) - self.accuracy)
        for parameter in self.modules["discriminator"].parameters():
            parameter.requires_grad_(False)
        logits, features = self.modules["discriminator"](made, bars)
        _, wanted = self.modules["discriminator"](real, bars)
        for parameter in self.modules["discriminator"].parameters():
            parameter.requires_grad_(True)
        matching = F.mse_loss(made.mean(0), real.mean(0)) * COLUMNS + F.mse_loss(features.mean(0), wanted.mean(0))
        adversarial = _cross_entropy(logits, 1.0)
        trainer.update("model", adversarial + c.feature_weight * matching)
        found = {"adversarial": adversarial, "discriminator": loss, "features": matching, "accuracy": accuracy}
        return {name: value.detach() for name, value in found.items()}

    @torch.inference_mode()
    def validate(self, model: nn.Module) -> Validation:
        """How far made bars are from held-out ones, in the means of what a bar holds; see :func:`distances`."""
        assert isinstance(model, BarGAN)
        bars = Bars(*(values[:JUDGED].to(model.ends.device) for values in self.validation_bars))
        noise = torch.randn(len(bars.chord), model.config.noise, generator=torch.Generator().manual_seed(0))
        made = model.draw(model(noise.to(model.ends.device), bars)).argmax(1)
        judge = self.modules["discriminator"]
        truth, falsehood = (judge(one_hot(grid), bars)[0] for grid in (bars.current, made))
        right = 0.5 * float((truth > 0).float().mean() + (falsehood < 0).float().mean())
        return Validation({**distances(made, bars.current), "discriminator_excess": abs(right - 0.5)})


def distances(made: Tensor, real: Tensor) -> dict[str, float]:
    """Between grids (n, COLUMNS): notes a bar, and total variation of pitch classes and of where notes begin."""
    begins = [grid < PITCHES for grid in (made, real)]
    classes = [torch.bincount(grid[begin] % 12, minlength=12) for grid, begin in zip((made, real), begins, strict=True)]
    places = [begin.sum(0) for begin in begins]
    return {
        "notes_off": abs(float(begins[0].sum(1).float().mean() - begins[1].sum(1).float().mean())),
        "pitch_classes_off": _variation(*classes),
        "rhythm_off": _variation(*places),
        "rests_off": abs(float((made == REST).float().mean() - (real == REST).float().mean())),
        "held_off": abs(float((made == HOLD).float().mean() - (real == HOLD).float().mean())),
    }


def _variation(a: Tensor, b: Tensor) -> float:
    shares = [x.double() / x.sum().clamp(min=1) for x in (a, b)]
    return 0.5 * float((shares[0] - shares[1]).abs().sum())


def _cross_entropy(logits: Tensor, label: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))
