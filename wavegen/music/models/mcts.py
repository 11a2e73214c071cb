"""Decoding by Monte-Carlo tree search: PUCT (Rosin 2011; Silver et al. 2017) with a score model as the policy.

A tune is written bar by bar. From a bar's start, every simulation descends the tree of tokens by

    Q(s, a) + c P(s, a) sqrt(N(s)) / (1 + N(s, a)),

where P is the model's probability and Q the mean value, scaled to 0..1 by the values seen in this bar (Schrittwieser
et al. 2020), adds one leaf, and plays on to the bar's end by sampling. The value is the reward of all tokens so far.
There is no opponent and no chance, so that the best bar that was played is taken (Schadd et al. 2008).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wavegen.errors import InputError
from wavegen.music import rewards
from wavegen.music.constraint import Constraint
from wavegen.music.models.base import ScoreModel, State, Tokens
from wavegen.music.sampling import distribution, draw, require_settings

Value = Callable[[Sequence[int]], float]


@dataclass
class Node:
    """A place in the plan: what the model says comes next, and what the simulations through here were worth."""

    constraint: Constraint
    state: State
    log_probs: Tensor
    tokens: tuple[int, ...]  # from the bar's start to here
    closed: bool  # whether the bar is full
    options: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    prior: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    visits: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))  # by option
    worth: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))  # sum of values by option
    children: dict[int, "Node"] = field(default_factory=dict)


class MCTS(ScoreModel):
    """Wraps any model of tunes, and as a model is that one: but ``sample`` searches each bar for a high reward.

    ``simulations`` are made a bar (1 is plain sampling); ``exploration`` is c. ``value`` takes all tokens from the
    primer's first on and gives a number; without it, it is ``rewards.reward`` with ``weights``. The same generator
    seed gives the same tokens. InputError for a model of another vocabulary, or settings out of range.
    """

    def __init__(
        self,
        model: ScoreModel,
        *,
        simulations: int = 32,
        exploration: float = 1.5,
        value: Value | None = None,
        weights: Mapping[str, float] = rewards.WEIGHTS,
    ) -> None:
        super().__init__(model.config)
        if model.vocabulary.kind != "tune":
            raise InputError(f"tree search writes tunes bar by bar; the model writes {model.vocabulary.kind}")
        if simulations < 1:
            raise InputError(f"simulations must be positive: {simulations}")
        if not 0 <= exploration < math.inf:
            raise InputError(f"exploration must not be negative: {exploration}")
        self.model = model
        self.simulations, self.exploration = simulations, exploration
        self.value: Value = value if value is not None else lambda tokens: rewards.reward(tokens, weights)

    def start(self) -> State:
        return self.model.start()

    def step(self, state: State, token: int) -> tuple[Tensor, State]:
        return self.model.step(state, token)

    def log_prob(self, tokens: Tokens) -> Tensor:
        return self.model.log_prob(tokens)

    @torch.no_grad()
    def sample(
        self,
        constraint: Constraint,
        *,
        primer: Sequence[int] = (),
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        generator: np.random.Generator,
    ) -> list[int]:
        """Tokens that lead the constraint to its end, without the primer; the arguments are those of sampling.sample.

        ``temperature``, ``top_k`` and ``top_p`` shape the policy. The constraint is left as it was.
        """
        require_settings(temperature, top_k, top_p)
        if constraint.vocabulary.kind != self.vocabulary.kind:
            raise InputError(f"the search writes tunes, the plan is of {constraint.vocabulary.kind}")
        search = _Search(self, temperature, top_k, top_p, generator)
        state, log_probs = self.model.start(), None
        before = [int(token) for token in primer]
        for token in before:
            log_probs, state = self.model.step(state, token)
        plan, found = constraint.copy(), list[int]()
        while not plan.done and (log_probs is None or len(np.flatnonzero(plan.allowed())) == 1):
            options = np.flatnonzero(plan.allowed())
            if len(options) > 1:
                raise InputError("the plan leaves the first token open: give a primer that begins with it")
            found.append(int(options[0]))
            plan.advance(found[-1])
            log_probs, state = self.model.step(state, found[-1])
        if plan.done:
            return found
        assert log_probs is not None
        node = Node(plan, state, log_probs, (), False)
        while True:
            end = search.bar(node, [*before, *found])
            found.extend(end.tokens)
            if end.constraint.done:
                return found
            node = Node(end.constraint, end.state, end.log_probs, (), False)


class _Search:
    """The search of one call of ``MCTS.sample``."""

    def __init__(
        self, owner: MCTS, temperature: float, top_k: int, top_p: float, generator: np.random.Generator
    ) -> None:
        self.owner, self.generator = owner, generator
        self.settings = {"temperature": temperature, "top_p": top_p}
        self.top_k = top_k
        self.opening = owner.vocabulary.family("Bar", "End")  # a bar is full where only these may come

    def bar(self, root: Node, before: Sequence[int]) -> Node:
        """The end of the best bar that the simulations from ``root`` played."""
        best, best_value = root, -math.inf
        low, high = math.inf, -math.inf
        for _ in range(self.owner.simulations):
            path: list[tuple[Node, int]] = []
            node = root
            while not node.closed:
                choice = self._choose(node, low, high)
                path.append((node, choice))
                token = int(node.options[choice])
                if token not in node.children:
                    node.children[token] = self._advance(node, token)
                    node = node.children[token]
                    break
                node = node.children[token]
            end = self._play(node)
            value = float(self.owner.value([*before, *end.tokens]))
            low, high = min(low, value), max(high, value)
            for visited, choice in path:
                visited.visits[choice] += 1
                visited.worth[choice] += value
            if value > best_value:
                best, best_value = end, value
        return best

    def _choose(self, node: Node, low: float, high: float) -> int:
        """The option of a node with the highest PUCT; options never tried are worth what the node is on average."""
        if not len(node.options):
            p = self._policy(node)
            node.options = np.flatnonzero(p)
            node.prior = p[node.options]
            node.visits = np.zeros(len(node.options), np.int64)
            node.worth = np.zeros(len(node.options))
        total = int(node.visits.sum())
        mean = node.worth.sum() / total if total else 0.0
        q = np.where(node.visits > 0, node.worth / np.maximum(node.visits, 1), mean)
        scaled = (q - low) / (high - low) if high > low else np.zeros(len(q))
        bonus = self.owner.exploration * node.prior * math.sqrt(total + 1) / (1 + node.visits)
        return int((scaled + bonus).argmax())

    def _play(self, node: Node) -> Node:
        """Sample from the policy until the bar is full."""
        while not node.closed:
            node = self._advance(node, draw(self._policy(node), self.generator.random()))
        return node

    def _policy(self, node: Node) -> NDArray[np.float64]:
        return distribution(
            node.log_probs.double().cpu().numpy(),
            node.constraint.allowed(),
            bias=node.constraint.bias(),
            top_k=self.top_k,
            **self.settings,
        )

    def _advance(self, node: Node, token: int) -> Node:
        """The place after a token and after all that must follow it; a full bar takes the next one's opening along."""
        constraint, state, log_probs = node.constraint.copy(), node.state, node.log_probs
        tokens, closed = list(node.tokens), False
        while True:
            tokens.append(token)
            constraint.advance(token)
            if constraint.done:
                return Node(constraint, state, log_probs, tuple(tokens), True)
            log_probs, state = self.owner.model.step(state, token)
            allowed = constraint.allowed()
            options = np.flatnonzero(allowed)
            if self.opening[options].all():
                closed = True
            if len(options) > 1:
                return Node(constraint, state, log_probs, tuple(tokens), closed)
            token = int(options[0])
