"""A hidden Markov model of scores: tokens drawn from discrete hidden states (Rabiner 1989).

Learned by Baum-Welch over batches of sequences at once, scaled as in Rabiner's section V.A. The next token's
distribution is that of the forward recursion, limited to the tokens that may follow. Of tunes, each state emits tokens
of one family only (a pitch, a duration, ...), so that this limit changes nothing and the whole is a plain HMM.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wavegen.errors import InputError
from wavegen.music.models.base import ScoreModel, Tokens
from wavegen.music.tokens import IntArray

_FLOOR = -60.0  # nats: an impossible event in a file, where minus infinity is refused
_PIECE = 512  # tokens of a sequence that are learned from together


@dataclass(frozen=True)
class HMMConfig:
    """``states`` hidden states."""

    vocabulary: str = "tune"
    states: int = 128

    def __post_init__(self) -> None:
        if self.states < 1:
            raise InputError(f"HMMConfig.states must be positive, not {self.states}")


class _Counts(NamedTuple):
    """Expected counts: of first states (S,), of moves (S, S), of tokens drawn (S, V); and the log-likelihood."""

    initial: Tensor
    transition: Tensor
    emission: Tensor
    log_likelihood: float


class HMM(ScoreModel):
    """The state of a generation is the hidden states' distribution, given all tokens so far, (S,)."""

    config: HMMConfig
    initial: Tensor
    transition: Tensor
    emission: Tensor

    def __init__(self, config: HMMConfig) -> None:
        super().__init__(config)
        s = config.states
        self.register_buffer("initial", torch.zeros(s))  # all three: log-probabilities, each row's up to a constant
        self.register_buffer("transition", torch.zeros(s, s))
        self.register_buffer("emission", torch.zeros(s, self.vocabulary.size))
        self._forget()
        self.register_load_state_dict_post_hook(lambda module, _: module._forget())  # type: ignore[no-untyped-call]

    def _forget(self) -> None:
        self._parameters_found: tuple[Tensor, Tensor, Tensor] | None = None

    def parameters_of(self) -> tuple[Tensor, Tensor, Tensor]:
        """Probabilities of the first state (S,), of the next state (S, S), and of tokens (S, V), float64."""
        if self._parameters_found is None:
            a, b, c = (torch.softmax(t.double(), -1) for t in (self.initial, self.transition, self.emission))
            self._parameters_found = (a, b, c)
        return self._parameters_found

    def set_parameters(self, initial: Tensor, transition: Tensor, emission: Tensor) -> None:
        """Take in probabilities of the first state (S,), of the next state (S, S), and of tokens (S, V)."""
        for name, values in (("initial", initial), ("transition", transition), ("emission", emission)):
            buffer: Tensor = self.get_buffer(name)
            if values.shape != buffer.shape or not bool((values >= 0).all()) or not bool((values.sum(-1) > 0).all()):
                raise InputError(f"HMM.{name}: expected probabilities of shape {tuple(buffer.shape)}")
            buffer.copy_((values / values.sum(-1, keepdim=True)).log().clamp(min=_FLOOR))
        self._forget()

    def start(self) -> Tensor | None:
        return None

    def step(self, state: Tensor | None, token: int) -> tuple[Tensor, Tensor]:
        initial, transition, emission = self.parameters_of()
        hidden = (initial if state is None else state @ transition) * emission[:, token]
        hidden = hidden / hidden.sum()
        p = (hidden @ transition @ emission) * self.vocabulary.follow[token]
        return (p / p.sum()).log(), hidden

    def score(self, tokens: Tokens) -> float:
        """Log-likelihood in nats of a whole sequence, its first token too, whatever may follow what."""
        checked = self.checked(tokens)
        initial, transition, emission = self.parameters_of()
        hidden, total = initial, 0.0
        for token in checked.tolist():
            joint = hidden * emission[:, token]
            total += math.log(float(joint.sum()))
            hidden = joint / joint.sum() @ transition
        return total

    def fit(
        self,
        sequences: Iterable[Tokens],
        validation: Iterable[Tokens] = (),
        *,
        iterations: int = 40,
        seed: int = 1,
        pseudocount: float = 0.02,
        batch: int = 64,
    ) -> dict[str, float]:
        """Baum-Welch from a random start, for at most so many iterations: fewer if the validation gets worse.

        ``pseudocount`` is added to each expected count that the model's form allows. Sequences beyond 512 tokens are
        learned in pieces. Nats per token come back: "train", and "validation" if there is any.
        """
        pieces = []
        for tokens in sequences:
            checked = self.checked(tokens)
            pieces += [checked[i : i + _PIECE] for i in range(0, len(checked), _PIECE)]
        if not pieces:
            raise InputError("no training sequences")
        if iterations < 1 or pseudocount < 0 or batch < 1:
            raise InputError("iterations and batch must be positive, pseudocount not negative")
        held = [self.checked(tokens) for tokens in validation]
        self.randomise(pieces, seed)
        moves, draws = ((p > math.exp(_FLOOR + 1)).double() for p in self.parameters_of()[1:])
        pieces.sort(key=len)
        best, kept = math.inf, None
        result: dict[str, float] = {}
        for _ in range(iterations):
            counts = self.expected_counts(pieces, batch)
            self.set_parameters(
                counts.initial + pseudocount,
                counts.transition + pseudocount * moves,
                counts.emission + pseudocount * draws,
            )
            result["train"] = -counts.log_likelihood / sum(map(len, pieces))
            if held:
                judged = float(torch.cat([self.log_prob(tokens) for tokens in held]).mean())
                if -judged > best:
                    assert kept is not None
                    self.set_parameters(*kept)
                    break
                best, kept = -judged, self.parameters_of()
                result["validation"] = best
        return result

    def randomise(self, sequences: Sequence[IntArray], seed: int) -> None:
        """A random start, near what tokens the sequences hold; of tunes, with a share of the states for each family."""
        generator = torch.Generator().manual_seed(seed)
        s, v = self.config.states, self.vocabulary
        counts = np.bincount(np.concatenate(sequences), minlength=v.size)
        emission = torch.from_numpy(counts + 0.1)[None] * torch.empty(s, v.size).exponential_(generator=generator)
        transition = torch.empty(s, s).exponential_(generator=generator).double()
        if v.kind == "tune":
            families = sorted(set(v.families))
            if s < len(families):
                raise InputError(f"HMMConfig.states: tunes need {len(families)} or more, not {s}")
            shares = np.array([math.sqrt(counts[v.family(f)].sum()) for f in families])
            owner = np.concatenate([np.arange(len(families)), _apportioned(shares, s - len(families))])
            emission *= torch.from_numpy(np.stack([v.family(families[i]) for i in owner]))
            one = [v.families.index(families[i]) for i in owner]  # a token of each state; its family decides
            transition *= torch.from_numpy(v.table[np.ix_(one, one)])
        self.set_parameters(torch.ones(s).double(), transition, emission)

    def expected_counts(self, sequences: Sequence[IntArray], batch: int = 64) -> _Counts:
        """The E-step: what each state is expected to have done in the sequences, under the present parameters."""
        initial, transition, emission = self.parameters_of()
        found = _Counts(torch.zeros_like(initial), torch.zeros_like(transition), torch.zeros_like(emission), 0.0)
        total = 0.0
        for i in range(0, len(sequences), batch):
            total += self._count_batch(sequences[i : i + batch], found)
        return found._replace(transition=found.transition * transition, log_likelihood=total)

    def _count_batch(self, sequences: Sequence[IntArray], found: _Counts) -> float:
        """Adds a batch's counts to ``found`` (moves still without their own probability)."""
        initial, transition, emission = (p.float() for p in self.parameters_of())
        lengths = torch.tensor([len(tokens) for tokens in sequences])
        longest = int(lengths.max())
        tokens = torch.zeros(longest, len(sequences), dtype=torch.int64)
        for i, sequence in enumerate(sequences):
            tokens[: len(sequence), i] = torch.from_numpy(sequence)
        live = torch.arange(longest)[:, None] < lengths
        drawn = torch.where(live[..., None], emission.T[tokens], 1.0)  # (T, B, S)
        forward = torch.empty_like(drawn)
        scale = torch.ones(longest, len(sequences))
        joint = initial * drawn[0]
        for t in range(longest):
            if t:
                joint = (forward[t - 1] @ transition) * drawn[t]
            scale[t] = joint.sum(-1)
            forward[t] = joint / scale[t][:, None]
        # What comes after, given the state, over its probability given what came before; 1 at and past the end.
        after = torch.ones(len(sequences), self.config.states)
        coming = torch.zeros_like(drawn)  # drawn × after / scale, of live steps
        posterior = torch.empty_like(drawn)
        for t in reversed(range(longest)):
            posterior[t] = forward[t] * after
            coming[t] = torch.where(live[t][:, None], drawn[t] * after / scale[t][:, None], 0.0)
            if t:
                after = torch.where(live[t][:, None], coming[t] @ transition.T, 1.0)
        posterior = torch.where(live[..., None], posterior, 0.0)
        found.initial.add_(posterior[0].sum(0))
        found.transition.add_(forward[:-1].flatten(0, 1).T @ coming[1:].flatten(0, 1))
        by_token = torch.zeros_like(emission.T).index_add_(0, tokens.flatten(), posterior.flatten(0, 1))
        found.emission.add_(by_token.T)
        return float(torch.where(live, scale.log(), 0.0).sum(dtype=torch.float64))


def _apportioned(shares: NDArray[np.float64], seats: int) -> IntArray:
    """Which share each of so many seats goes to, in proportion, the largest remainders first."""
    exact = shares / shares.sum() * seats
    given = np.floor(exact).astype(int)
    given[np.argsort(given - exact, kind="stable")[: seats - given.sum()]] += 1
    return np.repeat(np.arange(len(shares)), given)
