"""What every model of scores offers: the probability of the next token, step by step and over whole sequences."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wavegen.errors import InputError
from wavegen.music.tokens import IntArray, Vocabulary, vocabulary

State = Any  # a value: ``step`` gives a new one and leaves the old as it was, so that a search may branch

Tokens = Sequence[int] | IntArray | Tensor


class ScoreModel(nn.Module, ABC):
    """An autoregressive model over a :class:`~wavegen.music.tokens.Vocabulary`.

    ``config`` is a frozen dataclass with the field ``vocabulary``, the vocabulary's kind. Probabilities are
    normalised over the tokens that may follow the token before. A sequence's first token is given, not predicted.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        self.vocabulary: Vocabulary = vocabulary(config.vocabulary)

    @abstractmethod
    def start(self) -> State:
        """The state before any token."""

    @abstractmethod
    def step(self, state: State, token: int) -> tuple[Tensor, State]:
        """Take a token in: the log-probabilities (size,) of the next in nats, -inf where none may be, and the state."""

    def log_prob(self, tokens: Tokens) -> Tensor:
        """Nats of every token after the first, (n - 1,). InputError for tokens that cannot stand so."""
        checked = self.checked(tokens)
        state = self.start()
        found = []
        for token, following in zip(checked[:-1].tolist(), checked[1:].tolist(), strict=True):
            log_probs, state = self.step(state, token)
            found.append(log_probs[following])
        return torch.stack(found) if found else torch.zeros(0)

    def checked(self, tokens: Tokens) -> IntArray:
        """The tokens as int64 (n,), n at least 1. InputError for tokens that cannot stand so."""
        values = tokens.detach().cpu().numpy() if isinstance(tokens, Tensor) else np.asarray(tokens)
        if values.size == 0:
            raise InputError("tokens: none given")
        return self.vocabulary.check(values)

    @torch.no_grad()
    def nll_per_step(self, sequences: Iterable[Tokens]) -> float:
        """Negative log-likelihood in nats per time step of rolls, exact, over all steps of all sequences together.

        The sum over every token of every sequence (a step's notes, and the Step that closes it) is divided by the
        number of steps, as the published tables of Boulanger-Lewandowski et al. 2012 and Bai et al. 2018 are pooled.
        """
        if self.vocabulary.kind != "pianoroll":
            raise InputError(f"the vocabulary {self.vocabulary.kind} has no time steps; only pianoroll has")
        closing = self.vocabulary.index("Step")
        total, steps = 0.0, 0
        for tokens in sequences:
            total -= float(self.log_prob(tokens).double().sum())
            steps += int((np.asarray(tokens) == closing).sum())
        if steps == 0:
            raise InputError("no time step in any sequence")
        return total / steps


@dataclass(frozen=True)
class Whereabouts:
    """What a token's embedding is told of the tokens before it: a place, the chord there, and two sets of keys."""

    place: int = 0
    chord: int = 0
    before: tuple[int, ...] = ()
    within: tuple[int, ...] = ()


class TokenEmbedding(nn.Module):
    """Tokens and where they stand: (batch, n) → (batch, n, channels), each from its own and earlier tokens alone.

    In tunes, where a token stands is the tick of the bar that it leads to, and the chord there. In rolls it is how
    many notes its step has so far, which, and which the step before had. ``step`` does the same token by token.
    """

    durations: Tensor
    resets: Tensor
    chords: Tensor
    keys: Tensor

    def __init__(self, vocabulary: Vocabulary, channels: int) -> None:
        super().__init__()
        v = vocabulary
        self.tune = v.kind == "tune"
        counted = np.where(v.family("Dur"), v.values, 0) if self.tune else v.family("Pitch").astype(np.int64)
        self.register_buffer("durations", torch.from_numpy(counted), persistent=False)
        self.register_buffer("resets", torch.from_numpy(v.family("Bar", "Step", "Begin")), persistent=False)
        self.places = int(v.values.max() if self.tune else counted.sum()) + 1
        self.token = nn.Embedding(v.size, channels)
        self.place = nn.Embedding(self.places, channels)
        tables = [self.token, self.place]
        if self.tune:
            chords = np.where(v.family("Chord"), v.values + 1, 0)
            self.register_buffer("chords", torch.from_numpy(chords), persistent=False)
            self.chord = nn.Embedding(int(chords.max()) + 1, channels)
            tables.append(self.chord)
        else:
            pitches = np.flatnonzero(v.family("Pitch"))
            keys = np.zeros((v.size, len(pitches)), np.float32)
            keys[pitches, np.arange(len(pitches))] = 1.0
            self.register_buffer("keys", torch.from_numpy(keys), persistent=False)
            self.before = nn.Linear(len(pitches), channels, bias=False)
            self.within = nn.Linear(len(pitches), channels, bias=False)
        for embedding in tables:
            nn.init.normal_(embedding.weight, std=channels**-0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        total = self.durations[tokens].cumsum(dim=-1)
        reset = self.resets[tokens]
        place = total - torch.where(reset, total, 0).cummax(dim=-1).values
        index = torch.arange(tokens.shape[-1], device=tokens.device).expand_as(tokens)
        x = self.token(tokens) + self.place(place.clamp(max=self.places - 1))
        if self.tune:
            chord = self.chords[tokens]
            last = torch.where(chord > 0, index, 0).cummax(dim=-1).values
            with_chord: Tensor = x + self.chord(chord.gather(-1, last))
            return with_chord
        sums = self.keys[tokens].cumsum(dim=-2)
        last = torch.where(reset, index, 0).cummax(dim=-1).values
        # Of the reset before the last, seen from the token before the last reset.
        former = last.gather(-1, (last - 1).clamp(min=0))
        at_last, at_former = (sums.gather(-2, i[..., None].expand_as(sums)) for i in (last, former))
        joined: Tensor = x + self.before(at_last - at_former) + self.within(sums - at_last)
        return joined

    def start(self) -> Whereabouts:
        """Before any token."""
        return Whereabouts()

    def step(self, where: Whereabouts, token: int) -> tuple[Tensor, Whereabouts]:
        """A token's embedding, (1, 1, channels), and the whereabouts after it."""
        device = self.durations.device
        if self.tune:
            place = 0 if self.resets[token] else min(where.place + int(self.durations[token]), self.places - 1)
            where = Whereabouts(place, int(self.chords[token]) or where.chord)
        elif self.resets[token]:
            where = Whereabouts(before=where.within)
        else:
            where = Whereabouts(where.place + 1, before=where.before, within=(*where.within, token))
        x = self.token(torch.tensor([[token]], device=device)) + self.place(
            torch.tensor([[where.place]], device=device)
        )
        if self.tune:
            x = x + self.chord(torch.tensor([[where.chord]], device=device))
        else:
            before, within = (self.keys[list(t)].sum(dim=0) for t in (where.before, where.within))
            x = x + self.before(before) + self.within(within)
        return x, where


class NeuralScoreModel(ScoreModel):
    """A model that is trained by gradients: ``forward`` predicts all places at once, as ``step`` does one by one."""

    follow: Tensor

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.register_buffer("follow", self.vocabulary.follow, persistent=False)

    @abstractmethod
    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (batch, n) → log-probabilities (batch, n, size) in nats of the token after each, from it and before.

        What follows a sequence as padding changes nothing before it.
        """

    def normalised(self, logits: Tensor, tokens: Tensor) -> Tensor:
        """Log-probabilities (..., size) in fp32 over what may follow the tokens (...)."""
        return logits.float().masked_fill(~self.follow[tokens], -torch.inf).log_softmax(dim=-1)

    def losses(self, tokens: Tensor, counts: Tensor) -> dict[str, Tensor]:
        """What training minimises, "total", and its parts: tokens (batch, n), of which the first counts (batch,) count.

        "nll" is the mean over all predicted tokens of the batch, in nats.
        """
        nll = self.nll(tokens, counts).sum() / (counts - 1).sum()
        return {"total": nll, "nll": nll.detach()}

    def nll(self, tokens: Tensor, counts: Tensor) -> Tensor:
        """Nats of every token after the first, (batch, n - 1), 0 where padded."""
        picked = self(tokens[:, :-1]).gather(-1, tokens[:, 1:, None])[..., 0]
        inside = torch.arange(1, tokens.shape[1], device=tokens.device)[None] < counts[:, None]
        return torch.where(inside, -picked, 0.0)

    def log_prob(self, tokens: Tokens) -> Tensor:
        row = torch.from_numpy(self.checked(tokens)).to(self.follow.device)[None]
        return -self.nll(row, torch.tensor([row.shape[1]], device=row.device))[0]
