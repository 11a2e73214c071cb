"""Recurrent models of scores: LSTM (Hochreiter & Schmidhuber 1997; Gers et al. 2000) and GRU (Cho et al. 2014)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from wavegen.errors import InputError
from wavegen.music.models.base import NeuralScoreModel, State, TokenEmbedding


@dataclass(frozen=True)
class RecurrentScoreConfig:
    """``embedding`` channels enter ``layers`` of ``hidden`` units; ``dropout`` acts on the input and between layers."""

    vocabulary: str = "tune"
    embedding: int = 128
    hidden: int = 256
    layers: int = 2
    dropout: float = 0.2

    def __post_init__(self) -> None:
        for name in ("embedding", "hidden", "layers"):
            if getattr(self, name) < 1:
                raise InputError(f"{type(self).__name__}.{name} must be positive, not {getattr(self, name)}")
        if not 0 <= self.dropout < 1:
            raise InputError(f"{type(self).__name__}.dropout must lie in [0, 1), not {self.dropout}")


class LSTMScoreConfig(RecurrentScoreConfig):
    """The sizes of :class:`LSTMScore`."""


class GRUScoreConfig(RecurrentScoreConfig):
    """The sizes of :class:`GRUScore`."""


class RecurrentScore(NeuralScoreModel):
    """Embedded tokens through recurrent layers; the state is theirs, and the place in the bar."""

    cell: ClassVar[type[nn.LSTM] | type[nn.GRU]]

    def __init__(self, config: RecurrentScoreConfig) -> None:
        super().__init__(config)
        c = config
        self.embedding = TokenEmbedding(self.vocabulary, c.embedding)
        between = c.dropout if c.layers > 1 else 0.0
        self.recurrent = self.cell(c.embedding, c.hidden, c.layers, dropout=between, batch_first=True)
        self.dropout = nn.Dropout(c.dropout)
        self.output = nn.Linear(c.hidden, self.vocabulary.size)

    def forward(self, tokens: Tensor) -> Tensor:
        y, _ = self.recurrent(self.dropout(self.embedding(tokens)))
        return self.normalised(self.output(self.dropout(y)), tokens)

    def start(self) -> State:
        return self.embedding.start(), None

    def step(self, state: State, token: int) -> tuple[Tensor, State]:
        where, hidden = state
        x, where = self.embedding.step(where, token)
        y, hidden = self.recurrent(self.dropout(x), hidden)
        log_probs = self.normalised(self.output(self.dropout(y)), torch.tensor([[token]], device=y.device))
        return log_probs[0, 0], (where, hidden)


class LSTMScore(RecurrentScore):
    """Long short-term memory over tokens."""

    cell = nn.LSTM


class GRUScore(RecurrentScore):
    """Gated recurrent units over tokens."""

    cell = nn.GRU
