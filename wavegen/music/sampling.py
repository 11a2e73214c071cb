"""Sampling from a model of scores inside a plan: temperature, the k likeliest, the nucleus (Holtzman et al. 2020)."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wavegen.errors import InputError
from wavegen.music.constraint import Constraint
from wavegen.music.models.base import ScoreModel


def require_settings(temperature: float, top_k: int, top_p: float) -> None:
    """InputError unless temperature ≥ 0, top_k ≥ 0 and 0 < top_p ≤ 1."""
    if not 0 <= temperature < float("inf"):
        raise InputError(f"temperature must not be negative: {temperature}")
    if top_k < 0:
        raise InputError(f"top_k must not be negative: {top_k}")
    if not 0 < top_p <= 1:
        raise InputError(f"top_p must lie in (0, 1], not {top_p}")


def distribution(
    log_probs: NDArray[np.float64],
    allowed: NDArray[np.bool_],
    *,
    bias: NDArray[np.float64] | None = None,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
) -> NDArray[np.float64]:
    """Probabilities (size,) of the tokens that are allowed, from log-probabilities (size,) in nats.

    ``bias`` is added to the log-probabilities; then they are divided by the temperature (0 leaves the likeliest
    alone); then the ``top_k`` likeliest are kept (0: all); then the fewest whose probabilities reach ``top_p``.
    Where the model gives no allowed token any chance, all are equally likely.
    """
    if not allowed.any():
        raise InputError("the plan allows no token here")
    scores = np.where(allowed, log_probs if bias is None else log_probs + bias, -np.inf)
    best = scores.max()
    if best == -np.inf:
        scores, best = np.where(allowed, 0.0, -np.inf), 0.0
    if temperature == 0:
        chosen = np.zeros(len(scores))
        chosen[int(scores.argmax())] = 1.0
        return chosen
    p = np.exp((scores - best) / temperature)
    order = np.argsort(-p, kind="stable")
    if top_k:
        p[order[top_k:]] = 0.0
    p /= p.sum()
    if top_p < 1:
        before = np.cumsum(p[order]) - p[order]
        p[order[before >= top_p]] = 0.0
        p /= p.sum()
    return np.asarray(p)


def draw(probabilities: NDArray[np.float64], uniform: float) -> int:
    """The token at which the cumulative probability passes a uniform number of [0, 1)."""
    likely = np.flatnonzero(probabilities)
    cumulative = np.cumsum(probabilities[likely])
    place = int(np.searchsorted(cumulative, uniform * cumulative[-1], side="right"))
    return int(likely[min(place, len(likely) - 1)])


@torch.no_grad()
def sample(
    model: ScoreModel,
    constraint: Constraint,
    *,
    primer: Sequence[int] = (),
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    generator: np.random.Generator,
) -> list[int]:
    """Tokens that lead the constraint to its end; the primer, which the model takes in first, is not among them.

    The constraint is left as it was. Where a single token is allowed, no random number is drawn. InputError if the
    first token is not fixed by primer or constraint, or if the constraint is of another vocabulary.
    """
    require_settings(temperature, top_k, top_p)
    if constraint.vocabulary.kind != model.vocabulary.kind:
        raise InputError(f"the model writes {model.vocabulary.kind}, the plan is of {constraint.vocabulary.kind}")
    constraint = constraint.copy()
    state = model.start()
    log_probs: Tensor | None = None
    for token in primer:
        log_probs, state = model.step(state, int(token))
    found: list[int] = []
    while not constraint.done:
        allowed = constraint.allowed()
        options = np.flatnonzero(allowed)
        if len(options) == 1:
            token = int(options[0])
        elif log_probs is None:
            raise InputError("the plan leaves the first token open: give a primer that begins with it")
        else:
            p = distribution(
                log_probs.double().cpu().numpy(),
                allowed,
                bias=constraint.bias(),
                temperature=temperature,
                top_k=top_k,
                top_p=top_p,
            )
            token = draw(p, generator.random())
        found.append(token)
        constraint.advance(token)
        if not constraint.done:
            log_probs, state = model.step(state, token)
    return found
