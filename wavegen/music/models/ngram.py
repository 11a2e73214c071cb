"""A Markov model of scores: n-grams over tokens, smoothed by modified Kneser-Ney, interpolated.

Follows S. F. Chen, J. Goodman, "An empirical study of smoothing techniques for language modeling" (1998). The lowest
order is the distribution of single tokens, limited to those that may follow the last one; every higher order only adds
what was seen, so that no probability falls on a token that may not follow.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wavegen.errors import InputError
from wavegen.music.models.base import ScoreModel, Tokens

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_USUAL_DISCOUNTS = (0.5, 1.0, 1.5)  # where there is too little data to estimate them
_LEAST_DISCOUNT = 0.1  # something is always left for what was not seen


@dataclass(frozen=True)
class NGramConfig:
    """``order`` tokens an n-gram (2-8). Beyond bigrams, those counted less than ``least`` times are dropped.

    ``sizes`` (the number of n-grams of each order) and ``wide`` (counts need 32 bits) are found by ``fit``.
    """

    vocabulary: str = "tune"
    order: int = 8
    least: int = 1
    sizes: tuple[int, ...] = ()
    wide: bool = False

    def __post_init__(self) -> None:
        if not 2 <= self.order <= 8:
            raise InputError(f"NGramConfig.order must be from 2 to 8, not {self.order}")
        if self.least < 1:
            raise InputError(f"NGramConfig.least must be positive, not {self.least}")
        if self.sizes and len(self.sizes) != self.order:
            raise InputError(f"NGramConfig.sizes must hold {self.order} numbers, not {len(self.sizes)}")


@dataclass(frozen=True)
class _Order:
    """All n-grams of one length, sorted by (history, token): a level of the tree that histories span."""

    token: Ints
    count: Ints  # adjusted: how many tokens stand before it, or how often it occurs (highest order, or at a start)
    history: Ints  # its place in the level below


@dataclass(frozen=True)
class _Level:
    """What a history of one length holds: its tokens are ``token[first[i] : first[i + 1]]``."""

    first: Ints
    token: Ints
    share: Floats  # discounted counts over the history's total
    left: Floats  # the weight of shorter histories


class NGram(ScoreModel):
    """Kneser-Ney over tokens; the state is the place in the tree of each suffix of what came before."""

    config: NGramConfig

    def __init__(self, config: NGramConfig) -> None:
        super().__init__(config)
        self._make_buffers()
        self.register_load_state_dict_post_hook(lambda module, _: module._forget())  # type: ignore[no-untyped-call]

    def _make_buffers(self) -> None:
        c = self.config
        sizes = c.sizes or (self.vocabulary.size, *(0 for _ in range(c.order - 1)))
        for n, size in enumerate(sizes, start=1):
            count = torch.int32 if n <= 2 or c.wide else torch.int16
            self.register_buffer(f"count{n}", torch.zeros(size, dtype=count))
            if n > 1:
                self.register_buffer(f"token{n}", torch.zeros(size, dtype=torch.int16))
            if n < c.order:
                self.register_buffer(f"children{n}", torch.zeros(size, dtype=torch.int16))
                self.register_buffer(f"dropped{n}", torch.zeros(size, dtype=torch.int32 if n == 1 else count))
        self.register_buffer("counts_of_counts", torch.zeros(c.order, 4, dtype=torch.int64))
        self._forget()

    def _forget(self) -> None:
        self._levels: list[_Level] | None = None
        self._bases: dict[int, Floats] = {}

    def fit(self, sequences: Iterable[Tokens], validation: Iterable[Tokens] = ()) -> dict[str, float]:
        """Count. Nats per token of the validation sequences come back, as "validation", if there are any."""
        checked = [self.checked(tokens) for tokens in sequences]
        if not any(len(tokens) > 1 for tokens in checked):
            raise InputError("no training sequence has two tokens or more")
        orders = _count(checked, self.vocabulary.size, self.config.order)
        found = np.stack([np.bincount(np.minimum(o.count, 5), minlength=6)[1:5] for o in orders])
        kept = _kept(orders, self.config.least)
        counts = [o.count[k] for o, k in zip(orders, kept, strict=True)]
        wide = max(int(o.count.max(initial=0)) for o in orders[2:]) > 32767 if len(orders) > 2 else False
        # A history's total may pass 16 bits where no single count does.
        totals = [np.bincount(o.history, o.count, len(b.token)) for b, o in itertools.pairwise(orders)]
        remains = [
            np.bincount(o.history, o.count * k, len(b.token))
            for (b, o), k in zip(itertools.pairwise(orders), kept[1:], strict=True)
        ]
        dropped = [(t - r).astype(np.int64) for t, r in zip(totals, remains, strict=True)]
        wide = wide or any(int(d.max(initial=0)) > 32767 for d in dropped[1:])
        children = [
            np.bincount(o.history, k, len(b.token)).astype(np.int64)
            for (b, o), k in zip(itertools.pairwise(orders), kept[1:], strict=True)
        ]
        self.config = replace(self.config, sizes=tuple(len(c) for c in counts), wide=wide)
        self._make_buffers()
        for n, (order, keep) in enumerate(zip(orders, kept, strict=True), start=1):
            self._set(f"count{n}", order.count[keep])
            if n > 1:
                self._set(f"token{n}", order.token[keep])
            if n < len(orders):
                self._set(f"children{n}", children[n - 1][keep])
                self._set(f"dropped{n}", dropped[n - 1][keep])
        self._set("counts_of_counts", found)
        judged = [self.log_prob(tokens) for tokens in validation]
        return {"validation": -float(torch.cat(judged).mean())} if judged else {}

    def _set(self, name: str, values: Ints) -> None:
        buffer = self.get_buffer(name)
        buffer.copy_(torch.from_numpy(values).to(buffer.dtype))

    def _table(self) -> list[_Level]:
        """The levels that ``step`` looks up, made from the counts once."""
        if self._levels is None:
            c = self.config
            if not c.sizes:
                raise InputError("the n-gram model has counted nothing yet: fit it, or load one")
            self._levels = [
                self._level(n, self._discounts(self.get_buffer("counts_of_counts")[n].numpy()))
                for n in range(1, c.order)
            ]
        return self._levels

    def _level(self, n: int, discounts: Floats) -> _Level:
        """Histories of ``n`` tokens, and what may follow them."""
        children = self.get_buffer(f"children{n}").numpy().astype(np.int64)
        dropped = self.get_buffer(f"dropped{n}").numpy().astype(np.int64)
        count = self.get_buffer(f"count{n + 1}").numpy().astype(np.int64)
        history = np.repeat(np.arange(len(children)), children)
        total = np.maximum(np.bincount(history, count, len(children)) + dropped, 1)
        share = (count - discounts[np.minimum(count, 3)]) / total[history]
        return _Level(
            first=np.concatenate([[0], np.cumsum(children)]),
            token=self.get_buffer(f"token{n + 1}").numpy().astype(np.int64),
            share=share,
            left=np.asarray(1.0 - np.bincount(history, share, len(children)), dtype=np.float64),
        )

    @staticmethod
    def _discounts(found: Ints) -> Floats:
        """What counts of 0, 1, 2 and 3 or more give up, from how many n-grams were counted once to four times."""
        n1, n2, n3, n4 = (float(n) for n in found)
        y = n1 / max(n1 + 2 * n2, 1.0)
        estimates = [i - (i + 1) * y * above / max(n, 1.0) for i, n, above in ((1, n1, n2), (2, n2, n3), (3, n3, n4))]
        if min(n1, n2, n3, n4) == 0:
            estimates = list(_USUAL_DISCOUNTS)
        bounded = [min(max(d, _LEAST_DISCOUNT), float(i)) for i, d in enumerate(estimates, start=1)]
        return np.array([0.0, *bounded])

    def _base(self, last: int) -> Floats:
        """The distribution of single tokens, of those that may follow ``last``."""
        if last not in self._bases:
            count = self.get_buffer("count1").numpy().astype(np.float64)
            discount = self._discounts(self.get_buffer("counts_of_counts")[0].numpy())[np.minimum(count, 3).astype(int)]
            p = (count - discount + discount.sum() / len(count)) * self.vocabulary.table[last]
            self._bases[last] = p / p.sum()
        return self._bases[last]

    def _probabilities(self, places: tuple[int, ...], last: int) -> Floats:
        p = self._base(last)
        for level, place in zip(self._table(), places, strict=False):
            if place >= 0:
                span = slice(level.first[place], level.first[place + 1])
                p = p * level.left[place]
                p[level.token[span]] += level.share[span]
        return p

    def start(self) -> tuple[int, ...]:
        return ()

    def step(self, state: tuple[int, ...], token: int) -> tuple[Tensor, tuple[int, ...]]:
        levels = self._table()
        places = [token]
        for level, place in zip(levels, state[: self.config.order - 2], strict=False):
            found = -1
            if place >= 0:
                low, high = level.first[place], level.first[place + 1]
                at = low + int(np.searchsorted(level.token[low:high], token))
                found = int(at) if at < high and level.token[at] == token else -1
            places.append(found)
        with np.errstate(divide="ignore"):
            log_probs = np.log(self._probabilities(tuple(places), token))
        return torch.from_numpy(log_probs), tuple(places)


def _count(sequences: Sequence[Ints], vocabulary: int, longest: int) -> list[_Order]:
    tokens = np.concatenate(sequences)
    place = np.concatenate([np.arange(len(sequence)) for sequence in sequences])
    blank = np.zeros(vocabulary, dtype=np.int64)
    tokens_at_start = np.bincount(tokens[place == 0], minlength=vocabulary)
    orders = [_Order(np.arange(vocabulary), blank, blank)]
    at_start = [tokens_at_start]
    gram = tokens  # the n-gram that ends at each position
    for n in range(2, longest + 1):
        ends = np.flatnonzero(place >= n - 1)
        keys = gram[ends - 1] * vocabulary + tokens[ends]
        kinds, first, which, count = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
        # Kneser-Ney: an n-gram of a lower order counts as often as there are tokens that stand before it, and as often
        # as nothing does.
        before = np.bincount(gram[ends[first]], minlength=len(orders[-1].token))
        below = orders[-1]
        orders[-1] = replace(below, count=before + at_start[-1])
        orders.append(_Order(kinds % vocabulary, count.astype(np.int64), kinds // vocabulary))
        at_start.append(np.bincount(which[place[ends] == n - 1], minlength=len(kinds)))
        gram = np.zeros_like(gram)
        gram[ends] = which
    return orders


def _kept(orders: list[_Order], least: int) -> list[NDArray[np.bool_]]:
    """Which n-grams of each order are kept: all up to bigrams, those counted often, and the histories of those kept."""
    kept = [o.count >= (least if n > 2 else 0) for n, o in enumerate(orders, start=1)]
    for n in reversed(range(1, len(orders))):
        kept[n - 1][orders[n].history[kept[n]]] = True
    return kept
