"""Tuning a model of tunes by reinforcement: policy gradient with music-theory rewards, held near where it began.

RL Tuner (Jaques et al. 2017) with KL control, as a policy gradient: the model writes whole tunes inside a plan, every
token is credited with the rewards that follow it, less a baseline (REINFORCE, Williams 1992), and the divergence from
the model that learned from data is a cost: loss = - mean(advantage * log p) + kl * KL(p || p before).
"""

import argparse
import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from wavegen.errors import InputError
from wavegen.music import rewards
from wavegen.music.constraint import TuneConstraint
from wavegen.music.models.base import NeuralScoreModel, State, TokenEmbedding
from wavegen.music.models.recurrent import RecurrentScore
from wavegen.music.sampling import distribution, draw
from wavegen.music.tokens import IntArray

JUDGES = 60  # about how many held-out tunes the command line takes to follow the NLL


@dataclass(frozen=True)
class ReinforceConfig:
    """One of ``steps`` and ``minutes`` ends the tuning. A step writes ``batch`` tunes of ``bars`` bars of one plan.

    ``kl`` is the weight of the divergence at first, in units of the advantage's standard deviation per nat; every
    ``validate_steps`` it follows the held-out NLL, which may rise by the fraction ``nll_limit``: beyond, the weights go
    back to the last that kept it. ``weights`` are those of ``wavegen.music.rewards``.
    """

    steps: int | None = None
    minutes: float | None = None
    batch: int = 12
    bars: int = 8
    learning_rate: float = 3e-4
    kl: float = 0.2
    nll_limit: float = 0.05
    validate_steps: int = 10
    clip: float = 1.0
    seed: int = 1
    weights: Mapping[str, float] = field(default_factory=lambda: dict(rewards.WEIGHTS))

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            raise InputError("reinforce: give one of steps and minutes")
        for name in ("steps", "minutes", "bars", "learning_rate", "nll_limit", "validate_steps", "clip"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"reinforce.{name} must be positive, not {value}")
        if self.batch < 2:
            raise InputError(
                f"reinforce.batch must be at least 2, as tunes are judged against each other: {self.batch}"
            )
        if self.kl < 0 or self.seed < 0:
            raise InputError(f"reinforce: kl and seed must not be negative: {self.kl}, {self.seed}")


@dataclass(frozen=True)
class Checkpoint:
    """Where the tuning stood: mean reward of the tunes written since the last one, and held-out nats a token."""

    step: int
    minutes: float
    reward: float
    nll: float
    kl_weight: float
    kept: bool  # whether the NLL was within its limit


@dataclass(frozen=True)
class Tuned:
    """What came of it: held-out nats a token before and after, and the checkpoints. The model was changed in place."""

    nll_before: float
    nll_after: float
    history: tuple[Checkpoint, ...]


@dataclass
class Episode:
    """A tune that was written: tokens (n,), and which tokens its plan allowed at each place after the first, (n - 1,

    size). Places where the plan left no choice teach nothing.
    """

    tokens: IntArray
    allowed: NDArray[np.bool_]


@torch.no_grad()
def write(model: NeuralScoreModel, plan: TuneConstraint, count: int, generator: np.random.Generator) -> list[Episode]:
    """Sample ``count`` tunes side by side inside a plan that writes its own prefix, at temperature 1."""
    plans = [plan.copy() for _ in range(count)]
    states = [model.start() for _ in range(count)]
    tokens: list[list[int]] = [[] for _ in range(count)]
    masks: list[list[NDArray[np.bool_]]] = [[] for _ in range(count)]
    log_probs: list[NDArray[np.float64]] = [np.zeros(model.vocabulary.size) for _ in range(count)]
    active = list(range(count))
    while active:
        for i in active:
            allowed = plans[i].allowed()
            options = np.flatnonzero(allowed)
            single = len(options) == 1
            token = int(options[0]) if single else draw(distribution(log_probs[i], allowed), generator.random())
            if tokens[i]:
                masks[i].append(allowed)
            tokens[i].append(token)
            plans[i].advance(token)
        active = [i for i in active if not plans[i].done]
        for i, (found, state) in zip(
            active, _steps(model, [states[i] for i in active], [tokens[i][-1] for i in active]), strict=True
        ):
            log_probs[i], states[i] = found, state
    return [Episode(np.array(row, np.int64), np.stack(mask)) for row, mask in zip(tokens, masks, strict=True)]


def _steps(
    model: NeuralScoreModel, states: Sequence[State], tokens: Sequence[int]
) -> list[tuple[NDArray[np.float64], State]]:
    """``model.step`` of many; recurrent models read their weights once for all, which is what such a step costs."""
    if not isinstance(model, RecurrentScore) or len(states) < 2:
        stepped = [model.step(state, token) for state, token in zip(states, tokens, strict=True)]
        return [(log_probs.double().cpu().numpy(), state) for log_probs, state in stepped]
    embedding: TokenEmbedding = model.embedding
    embedded = [embedding.step(state[0], token) for state, token in zip(states, tokens, strict=True)]
    zeros = embedded[0][0].new_zeros(model.config.layers, 1, model.config.hidden)
    parts = 2 if model.cell is torch.nn.LSTM else 1  # an LSTM has a cell beside its output
    rows = [(zeros,) * parts if s[1] is None else s[1] if parts == 2 else (s[1],) for s in states]
    joined = tuple(torch.cat([row[part] for row in rows], dim=1) for part in range(parts))
    y, hidden = model.recurrent(torch.cat([x for x, _ in embedded]), joined if parts == 2 else joined[0])
    row_of_tokens = torch.tensor(tokens, device=y.device)[:, None]
    log_probs = model.normalised(model.output(y), row_of_tokens)[:, 0].double().cpu().numpy()
    after = [h.split(1, dim=1) for h in (hidden if parts == 2 else (hidden,))]
    kept = [tuple(h[i].contiguous() for h in after) for i in range(len(states))]
    return [(log_probs[i], (where, kept[i] if parts == 2 else kept[i][0])) for i, (_, where) in enumerate(embedded)]


def tune(
    model: NeuralScoreModel,
    tunes: Sequence[IntArray],
    held_out: Sequence[IntArray],
    config: ReinforceConfig,
    *,
    report: Callable[[Checkpoint], None] = lambda checkpoint: None,
) -> Tuned:
    """Tune a model in place. Styles, metres and modes are drawn from ``tunes``; ``held_out`` judges the NLL.

    Of the weights that kept the NLL within ``config.nll_limit``, those of the highest mean reward are left in the
    model. InputError if nothing is given to draw from or to judge by, or the model does not write tunes.
    """
    if model.vocabulary.kind != "tune":
        raise InputError(f"the rewards are for tunes; the model writes {model.vocabulary.kind}")
    if not tunes or not held_out:
        raise InputError("reinforce: tunes to draw plans from and held-out tunes are needed")
    run = _Run(model, tunes, held_out, config)
    start = time.monotonic()
    step, earned = 0, list[float]()
    while not run.over(step, start):
        earned.append(run.step())
        step += 1
        if step % config.validate_steps == 0 or run.over(step, start):
            report(run.validate(step, (time.monotonic() - start) / 60, float(np.mean(earned))))
            earned = []
    model.load_state_dict(run.best)
    return Tuned(run.nll_before, heldout_nll(model, held_out), tuple(run.history))


def mean_rewards(
    model: NeuralScoreModel, tunes: Sequence[IntArray], config: ReinforceConfig, *, count: int = 204, seed: int = 0
) -> dict[str, float]:
    """Each reward by name, and "total", as means over ``count`` or a few more tunes that a model writes.

    They are written as in tuning: ``config.batch`` of a plan, whose style, metre and mode a random tune gives.
    """
    generator = np.random.default_rng(seed)
    rows: list[dict[str, float]] = []
    while len(rows) < count:
        plan = draw_plan(model, tunes, config.bars, generator)
        for episode in write(model, plan, config.batch, generator):
            found = rewards.scores(rewards.read_line(episode.tokens))
            rows.append(found | {"total": rewards.total(found, config.weights)})
    table = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return {name: float(np.nanmean(v)) if not np.isnan(v).all() else math.nan for name, v in table.items()}


def draw_plan(
    model: NeuralScoreModel, tunes: Sequence[IntArray], bars: int, generator: np.random.Generator
) -> TuneConstraint:
    """A plan with the style, metre and mode of a random tune; no cadence, so that ending well is learned."""
    vocab = model.vocabulary
    prefix = tunes[int(generator.integers(len(tunes)))][:3]
    style, meter, mode = (vocab.names[token].partition("_")[2] for token in prefix)
    return TuneConstraint(vocab, style=style, meter=meter, mode=mode, bars=bars, cadence=None, prefix=True)


class _Run:
    """The state of one tuning."""

    def __init__(
        self, model: NeuralScoreModel, tunes: Sequence[IntArray], held_out: Sequence[IntArray], config: ReinforceConfig
    ) -> None:
        self.model, self.tunes, self.held_out, self.config = model.eval(), tunes, held_out, config
        self.before = copy.deepcopy(model).requires_grad_(False)
        self.optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
        self.generator = np.random.default_rng(config.seed)
        self.kl = config.kl
        self.nll_before = heldout_nll(model, held_out)
        self.best = self.kept = copy.deepcopy(model.state_dict())
        self.best_reward = -math.inf
        self.history: list[Checkpoint] = []

    def over(self, step: int, start: float) -> bool:
        if self.config.steps is not None:
            return step >= self.config.steps
        assert self.config.minutes is not None
        return time.monotonic() - start >= 60 * self.config.minutes

    def step(self) -> float:
        """Write a batch, learn from it; its mean reward comes back."""
        plan = draw_plan(self.model, self.tunes, self.config.bars, self.generator)
        episodes = write(self.model, plan, self.config.batch, self.generator)
        credits = [rewards.credit(episode.tokens, self.config.weights) for episode in episodes]
        vocab = self.model.vocabulary
        durations = np.where(vocab.family("Dur"), vocab.values, 0)
        ticks = [np.concatenate(([0], durations[episode.tokens].cumsum()[:-1])) for episode in episodes]
        advantage = _advantages(credits, ticks)
        tokens = pad_sequence([torch.from_numpy(e.tokens) for e in episodes], True, vocab.padding)
        allowed = pad_sequence([torch.from_numpy(e.allowed) for e in episodes], True, False)
        weight = pad_sequence([torch.from_numpy(a[1:]).float() for a in advantage], True, 0.0)
        chosen = allowed.sum(-1) > 1  # the plan left a choice
        device = next(self.model.parameters()).device
        tokens, allowed, weight, chosen = (x.to(device) for x in (tokens, allowed, weight, chosen))
        ours = _within(self.model(tokens[:, :-1]), allowed)
        with torch.no_grad():
            theirs = _within(self.before(tokens[:, :-1]), allowed)
        picked = ours.gather(-1, tokens[:, 1:, None])[..., 0]
        divergence = (ours.exp() * torch.where(allowed, ours - theirs, 0.0)).sum(-1)
        loss = ((self.kl * divergence - weight * picked) * chosen).sum() / chosen.sum()
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        self.optimizer.step()
        return float(np.mean([values.sum() for values in credits]))

    def validate(self, step: int, minutes: float, reward: float) -> Checkpoint:
        """Judge by held-out tunes; the KL's weight follows, and weights that went too far are taken back."""
        nll = heldout_nll(self.model, self.held_out)
        rise = (nll / self.nll_before - 1) / self.config.nll_limit
        kept = rise <= 1
        checkpoint = Checkpoint(step, minutes, reward, nll, self.kl, kept)
        self.history.append(checkpoint)
        if kept:
            self.kept = copy.deepcopy(self.model.state_dict())
            if reward > self.best_reward:
                self.best, self.best_reward = self.kept, reward
        else:
            self.model.load_state_dict(self.kept)
        self.kl = max(self.kl, 1e-3) * 2 if rise > 0.8 else self.kl / 1.5 if rise < 0.4 else self.kl
        return checkpoint


def _advantages(
    credits: Sequence[NDArray[np.float64]], ticks: Sequence[NDArray[np.int64]]
) -> list[NDArray[np.float64]]:
    """Each token's rewards to come, less what the others had to come from the same tick on, over the deviation."""
    to_come = [values[::-1].cumsum()[::-1] for values in credits]
    advantage = []
    for own, now in zip(to_come, ticks, strict=True):
        at = [
            theirs[np.searchsorted(then, now).clip(max=len(then) - 1)]
            for theirs, then in zip(to_come, ticks, strict=True)
        ]
        everyone = np.sum(at, axis=0)
        mine = own[np.searchsorted(now, now)]
        advantage.append(own - (everyone - mine) / (len(to_come) - 1))
    deviation = float(np.concatenate(advantage).std())
    return [values / (deviation + 1e-8) for values in advantage]


def _within(log_probs: Tensor, allowed: Tensor) -> Tensor:
    """Log-probabilities (batch, n, size) renormalised over what the plan allows; a very low floor elsewhere."""
    floor = torch.where(allowed, log_probs.clamp(min=-1e4), -1e9)
    return floor.log_softmax(-1)


@torch.no_grad()
def heldout_nll(model: NeuralScoreModel, tunes: Sequence[IntArray], *, batch: int = 16) -> float:
    """Nats a token, over all tokens of all tunes but each one's first; the model is switched to eval."""
    model.eval()
    device = next(model.parameters()).device
    ordered = sorted(tunes, key=len)
    nats, count = 0.0, 0
    for i in range(0, len(ordered), batch):
        part = ordered[i : i + batch]
        tokens = pad_sequence([torch.from_numpy(np.asarray(t, np.int64)) for t in part], True, model.vocabulary.padding)
        counts = torch.tensor([len(t) for t in part])
        nats += float(model.nll(tokens.to(device), counts.to(device)).double().sum())
        count += int((counts - 1).sum())
    return nats / count


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line: tunes a checkpoint, prints each reward and the NLL before and after, writes a checkpoint."""
    from wavegen.checkpoints import load, save
    from wavegen.training.tasks.score import read_corpus

    parser = argparse.ArgumentParser(
        prog="python -m wavegen.training.reinforce", description="Tune a score model with music-theory rewards."
    )
    parser.add_argument("model", help="a checkpoint of an LSTM, GRU or Transformer of tunes")
    parser.add_argument("corpus", type=Path, help="the .npz of tunes it learned from")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="the checkpoint to write")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--learning-rate", type=float, default=ReinforceConfig.learning_rate)
    parser.add_argument("--kl", type=float, default=ReinforceConfig.kl)
    parser.add_argument("--nll-limit", type=float, default=ReinforceConfig.nll_limit)
    parser.add_argument("--seed", type=int, default=ReinforceConfig.seed)
    options = parser.parse_args(arguments)
    config = ReinforceConfig(
        minutes=options.minutes,
        learning_rate=options.learning_rate,
        kl=options.kl,
        nll_limit=options.nll_limit,
        seed=options.seed,
    )
    model = load(options.model, role="score")
    if not isinstance(model, NeuralScoreModel):
        raise InputError(f"{options.model}: only a model that learns by gradients can be tuned")
    corpus = read_corpus(options.corpus)
    stride = max(2, len(corpus.validation) // JUDGES)
    judges = corpus.validation[::stride]
    # The others say what the tuning did to tunes that did not guide it.
    others = [tune for place, tune in enumerate(corpus.validation) if place % stride]
    before = {"nll": heldout_nll(model, others)} | mean_rewards(model, corpus.train, config)
    tuned = tune(model, corpus.train, judges, config, report=lambda checkpoint: print(checkpoint, flush=True))
    after = {"nll": heldout_nll(model, others)} | mean_rewards(model, corpus.train, config)
    for name in before:
        print(f"{name:18} {before[name]:.4f} -> {after[name]:.4f}")
    print(f"{'NLL that guided':18} {tuned.nll_before:.4f} -> {tuned.nll_after:.4f}")
    card: dict[str, Any] = dict(getattr(model, "card", {}))
    scores = {
        f"{name}_{when}": round(row[name], 4) for when, row in (("before", before), ("after", after)) for name in row
    }
    save(options.output, model, card=card | {"summary": "Tuned with music-theory rewards", "scores": scores})


if __name__ == "__main__":
    main()
