"""Several models of one vocabulary that speak as one: their probabilities, or log-probabilities, are averaged."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wavegen.errors import InputError
from wavegen.music.models.base import ScoreModel, State, Tokens


@dataclass(frozen=True)
class EnsembleConfig:
    """What :class:`Ensemble` is made with.

    ``average``: "probabilities" (a mixture) or "logs" (a product of experts, Hinton 2002, normalised anew).
    ``weights`` of the members, positive, are scaled to sum to 1; none are equal weights.
    """

    vocabulary: str = "tune"
    average: str = "probabilities"
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.average not in ("probabilities", "logs"):
            raise InputError(f"EnsembleConfig.average must be probabilities or logs, not {self.average!r}")
        if any(not 0 < w < float("inf") for w in self.weights):
            raise InputError(f"EnsembleConfig.weights must be positive, not {self.weights}")


class Ensemble(ScoreModel):
    """The average of its ``members``; it is built from loaded models and has no checkpoint of its own."""

    log_weights: Tensor

    def __init__(
        self, members: Sequence[ScoreModel], *, average: str = "probabilities", weights: Sequence[float] = ()
    ) -> None:
        kinds = {member.vocabulary.kind for member in members}
        if len(kinds) != 1:
            held = ", ".join(sorted(kinds)) or "no model"
            raise InputError(f"an ensemble needs models of one vocabulary, not of: {held}")
        super().__init__(EnsembleConfig(kinds.pop(), average, tuple(weights)))
        weights = weights or (1.0,) * len(members)
        if len(weights) != len(members):
            raise InputError(f"{len(weights)} weights are given for {len(members)} models")
        self.members = nn.ModuleList(members)
        share = torch.tensor(weights, dtype=torch.float64)
        self.register_buffer("log_weights", (share / share.sum()).log().float(), persistent=False)

    def start(self) -> State:
        return tuple(member.start() for member in self._members())

    def step(self, state: State, token: int) -> tuple[Tensor, State]:
        pairs = [member.step(s, token) for member, s in zip(self._members(), state, strict=True)]
        stacked = torch.stack([log_probs for log_probs, _ in pairs])
        if self.config.average == "probabilities":
            joined = torch.logsumexp(stacked + self.log_weights[:, None], dim=0)
        else:
            joined = (stacked * self.log_weights.exp()[:, None]).sum(dim=0).log_softmax(dim=0)
        return joined, tuple(s for _, s in pairs)

    def log_prob(self, tokens: Tokens) -> Tensor:
        if self.config.average == "logs":
            return super().log_prob(tokens)
        stacked = torch.stack([member.log_prob(tokens) for member in self._members()])
        return torch.logsumexp(stacked + self.log_weights[:, None], dim=0)

    def _members(self) -> list[ScoreModel]:
        return [member for member in self.members if isinstance(member, ScoreModel)]
