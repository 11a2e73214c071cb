"""Gaussian mixtures as a model of scores: the next token by the joint density of its number and those of the last ones.

For every pair of families that may follow each other (after a duration a pitch, a rest, a chord, ...), a Gaussian
mixture over the numbers of the next token y and of its context c, fitted by EM (Dempster et al. 1977; regression by
mixtures as in Ghahramani & Jordan 1994). A family's probability is that of c under its mixture, a token's within it
p(y(v) | c), normalised over the tokens that may follow. Pitch classes and chord roots enter as angles on the circle of
fifths, pitches and durations also on a line.
"""

import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wavegen.errors import InputError, MissingDependencyError
from wavegen.music.models.base import ScoreModel, Tokens
from wavegen.music.tokens import METERS, MODES, QUALITIES, Vocabulary, bar_ticks, beat_ticks

Floats = NDArray[np.float64]

_PITCHES = 3  # pitches and durations before that a context holds
_KEYS = 5  # notes of the step before that a context holds
_FLOOR = 0.03  # least standard deviation in any direction, of the numbers standardised
_NARROWEST, _BROADEST = 0.05, 100.0  # standard deviations that numbers are standardised by, where data tell none
_BACKGROUND = 1e-3  # of the probability is spread evenly


@dataclass(frozen=True)
class GMMConfig:
    """At most ``components`` Gaussians a mixture; ``counts`` is how many each has, found by ``fit``."""

    vocabulary: str = "tune"
    components: int = 24
    counts: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.components < 1:
            raise InputError(f"GMMConfig.components must be positive, not {self.components}")


@dataclass(frozen=True)
class Context:
    """What is known of the tokens before the next one. A value: ``after`` gives another."""

    last: int = -1  # token
    meter: str = "4/4"
    mode: int = 0
    bars: int = 0
    tick: int = 0
    chord: int = 0
    pitches: tuple[int, ...] = ()
    durations: tuple[int, ...] = ()
    step: tuple[int, ...] = ()  # of a roll: the pitches of this step so far
    before: tuple[int, ...] = ()  # and of the one before

    def after(self, token: int, vocabulary: Vocabulary) -> "Context":
        """The context one token on."""
        family, value = vocabulary.families[token], int(vocabulary.values[token])
        c = replace(self, last=token)
        if vocabulary.kind == "pianoroll":
            return replace(c, step=(*c.step, value)) if family == "Pitch" else replace(c, before=c.step, step=())
        if family == "Meter":
            return replace(c, meter=METERS[value])
        if family == "Mode":
            return replace(c, mode=value)
        if family == "Bar":
            return replace(c, bars=value, tick=0)
        if family == "Chord":
            return replace(c, chord=value)
        if family == "Pitch":
            return replace(c, pitches=(value, *c.pitches)[:_PITCHES])
        if family == "Dur":
            return replace(c, tick=c.tick + value, durations=(value, *c.durations)[:_PITCHES])
        return c


def _fifths(pitch_class: int) -> tuple[float, float]:
    angle = 2 * math.pi * (pitch_class * 7 % 12) / 12
    return math.cos(angle), math.sin(angle)


def numbers(context: Context, vocabulary: Vocabulary) -> list[float]:
    """The numbers that describe a context."""
    if vocabulary.kind == "pianoroll":
        last = context.step[-1] if context.step else 36
        above = [p for p in context.before if p > last][:_KEYS]
        filled = above + [above[-1] if above else last + 24] * (_KEYS - len(above))
        return [float(len(context.step)), float(len(above)), float(last), *map(float, filled)]
    root, quality = divmod(context.chord, len(QUALITIES))
    pitches = (*context.pitches, *[72] * (_PITCHES - len(context.pitches)))
    durations = (*context.durations, *[12] * (_PITCHES - len(context.durations)))
    ticks = bar_ticks(context.meter)
    beat = context.tick % beat_ticks(context.meter) / beat_ticks(context.meter)
    return [
        *map(float, pitches),
        *_fifths(pitches[0] % 12),
        *(math.log2(d) for d in durations),
        *_fifths(root),
        float(QUALITIES[quality] in ("min", "dim", "min7")),
        float(MODES[context.mode] in ("minor", "dorian")),
        float(context.bars),
        context.tick / ticks,
        float(context.tick == ticks),
        beat,
        math.log2(max(ticks - context.tick, 1)),
        float(ticks % 18 == 0),
    ]


def token_numbers(vocabulary: Vocabulary, token: int) -> list[float]:
    """The numbers that a token stands for; none for one that is alone in its family."""
    family, value = vocabulary.families[token], int(vocabulary.values[token])
    if family == "Pitch":
        return [float(value), *_fifths(value % 12)] if vocabulary.kind == "tune" else [float(value)]
    if family == "Dur":
        return [math.log2(value), float(value)]
    if family == "Chord":
        root, quality = divmod(value, len(QUALITIES))
        return [*_fifths(root), *(float(QUALITIES[quality] == q) for q in QUALITIES[1:])]
    return [float(value)] if family in ("Bar", "Style", "Meter", "Mode") else []


class GMM(ScoreModel):
    """The state of a generation is a :class:`Context`."""

    config: GMMConfig

    def __init__(self, config: GMMConfig) -> None:
        super().__init__(config)
        v = self.vocabulary
        self.context_size = len(numbers(Context(), v))
        families = list(dict.fromkeys(v.families))
        self.pairs = []  # (family before, tokens of the family that may come next)
        for before in families:
            if before == "End":
                continue
            for after in families:
                if bool((v.table[v.family(before)][:, v.family(after)]).any()):
                    self.pairs.append((before, np.flatnonzero(v.family(after))))
        self.candidates = [np.array([token_numbers(v, int(t)) for t in tokens]) for _, tokens in self.pairs]
        if config.counts and len(config.counts) != len(self.pairs):
            raise InputError(f"GMMConfig.counts must hold {len(self.pairs)} numbers, not {len(config.counts)}")
        self._make_buffers()
        self.register_load_state_dict_post_hook(lambda module, _: module._forget())  # type: ignore[no-untyped-call]

    def _make_buffers(self) -> None:
        """Per pair: prior, mean and scale of its numbers, weights, means, and factors of the precisions."""
        counts = self.config.counts or (1,) * len(self.pairs)
        for i, (count, candidates) in enumerate(zip(counts, self.candidates, strict=True)):
            d = self.context_size + candidates.shape[1]
            self.register_buffer(f"prior{i}", torch.zeros(()))
            self.register_buffer(f"centre{i}", torch.zeros(d))
            self.register_buffer(f"scale{i}", torch.ones(d))
            self.register_buffer(f"weight{i}", torch.zeros(count))
            self.register_buffer(f"mean{i}", torch.zeros(count, d))
            self.register_buffer(f"factor{i}", torch.eye(d).repeat(count, 1, 1))
        self._forget()

    def _forget(self) -> None:
        self._mixtures_found: list[_Mixture] | None = None

    def _mixtures(self) -> "list[_Mixture]":
        if self._mixtures_found is None:
            if not self.config.counts:
                raise InputError("the mixtures have learned nothing yet: fit them, or load some")
            found = []
            for i, candidates in enumerate(self.candidates):
                names = ("prior", "centre", "scale", "weight", "mean", "factor")
                values = {name: self.get_buffer(f"{name}{i}").double().numpy() for name in names}
                found.append(_Mixture(candidates=candidates, **values))
            self._mixtures_found = found
        return self._mixtures_found

    def fit(
        self,
        sequences: Iterable[Tokens],
        validation: Iterable[Tokens] = (),
        *,
        most: int = 10_000,
        iterations: int = 40,
        seed: int = 1,
    ) -> dict[str, float]:
        """EM by scikit-learn, for each pair of families on at most so many examples of it, drawn by the seed.

        Nats per token of the validation sequences come back, as "validation", if there are any.
        """
        try:
            from sklearn.exceptions import ConvergenceWarning  # type: ignore[import-untyped]
            from sklearn.mixture import GaussianMixture  # type: ignore[import-untyped]
        except ImportError:
            raise MissingDependencyError("scikit-learn", "train", "fitting Gaussian mixtures") from None
        examples = self._examples(sequences)
        if not any(examples):
            raise InputError("no training sequence has two tokens or more")
        random = np.random.default_rng(seed)
        learned = []
        for rows, candidates in zip(examples, self.candidates, strict=True):
            d = self.context_size + candidates.shape[1]
            if len(rows) > 1:
                data = np.array(rows)[random.permutation(len(rows))[:most]]
                centre, scale = data.mean(0), np.maximum(data.std(0), _NARROWEST)
            else:  # a single broad Gaussian of little weight
                data = np.repeat(np.array(rows or np.zeros((1, d))), 2, axis=0)
                centre, scale = data[0], np.full(d, _BROADEST)
            count = max(1, min(self.config.components, len(data) // (4 * d)))
            mixture = GaussianMixture(
                count, reg_covar=_FLOOR**2, max_iter=iterations, random_state=seed, init_params="k-means++"
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # the iterations are bounded on purpose
                mixture.fit((data - centre) / scale)
            learned.append((math.log(len(rows) + 0.1), centre, scale, mixture))
        self.config = replace(self.config, counts=tuple(len(m.weights_) for *_, m in learned))
        self._make_buffers()
        for i, (prior, centre, scale, mixture) in enumerate(learned):
            values = (prior, centre, scale, np.log(mixture.weights_), mixture.means_, mixture.precisions_cholesky_)
            names = ("prior", "centre", "scale", "weight", "mean", "factor")
            for name, value in zip(names, values, strict=True):
                self.get_buffer(f"{name}{i}").copy_(torch.as_tensor(value))
        judged = [self.log_prob(tokens) for tokens in validation]
        return {"validation": -float(torch.cat(judged).mean())} if judged else {}

    def _examples(self, sequences: Iterable[Tokens]) -> list[list[list[float]]]:
        """For each pair, what its tokens and their contexts were: rows of context and value."""
        v = self.vocabulary
        pair_of = {(before, v.families[tokens[0]]): i for i, (before, tokens) in enumerate(self.pairs)}
        values = [token_numbers(v, token) for token in range(v.size)]
        found: list[list[list[float]]] = [[] for _ in self.pairs]
        for tokens in sequences:
            context = Context()
            for token in self.checked(tokens).tolist():
                if context.last >= 0 and v.families[context.last] != "End":
                    pair = pair_of[v.families[context.last], v.families[token]]
                    found[pair].append(numbers(context, v) + values[token])
                context = context.after(token, v)
        return found

    def start(self) -> Context:
        return Context()

    def step(self, state: Context, token: int) -> tuple[Tensor, Context]:
        v = self.vocabulary
        context = state.after(token, v)
        allowed = v.table[token]
        family, at = v.families[token], np.array(numbers(context, v))
        scores = np.where(allowed, 0.0, -np.inf)  # after End there is only End
        for (before, tokens), mixture in zip(self.pairs, self._mixtures(), strict=True):
            if before == family and allowed[tokens].any():
                scores[tokens] = mixture.scores(at, allowed[tokens])
        p = np.exp(scores - np.logaddexp.reduce(scores))
        p = (1 - _BACKGROUND) * p + _BACKGROUND * allowed / allowed.sum()
        with np.errstate(divide="ignore"):
            return torch.from_numpy(np.log(p)), context


class _Mixture:
    """A mixture over (context, value), its factors triangular: the first whitened numbers tell of the context alone."""

    def __init__(
        self,
        prior: Floats,
        centre: Floats,
        scale: Floats,
        weight: Floats,
        mean: Floats,
        factor: Floats,
        candidates: Floats,
    ) -> None:
        given = len(centre) - candidates.shape[1]
        self.given, self.centre, self.scale = given, centre[:given], scale[:given]
        values = (candidates - centre[given:]) / scale[given:]
        # Rows of (x - mean) @ factor: the context's share is found at each step, the candidates' once.
        self.factor = factor[:, :given]
        self.offset = np.einsum("kd,kde->ke", mean, factor)
        self.values = np.einsum("vd,kde->kve", values, factor[:, given:, given:])
        diagonal = np.log(np.diagonal(factor, axis1=1, axis2=2))
        self.constant = weight - np.logaddexp.reduce(weight) + diagonal[:, :given].sum(1)
        self.constant += prior - np.log(self.scale).sum()
        self.further = diagonal[:, given:].sum(1)

    def scores(self, context: Floats, allowed: NDArray[np.bool_]) -> Floats:
        """ln (prior p(context)) + ln p(value | context) of the candidates that are allowed, -inf for the others."""
        x = (context - self.centre) / self.scale
        whitened = np.einsum("d,kde->ke", x, self.factor) - self.offset
        known = self.constant - 0.5 * np.square(whitened[:, : self.given]).sum(1)
        value = self.values + whitened[:, None, self.given :]
        logs = (known + self.further)[:, None] - 0.5 * np.square(value).sum(-1)
        joint = np.where(allowed, np.logaddexp.reduce(logs, axis=0), -np.inf)
        found: Floats = np.logaddexp.reduce(known) + joint - np.logaddexp.reduce(joint)
        return found
