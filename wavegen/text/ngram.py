"""A back-off n-gram model over integer tokens: modified Kneser-Ney, interpolated, then pruned.

Smoothing follows S. F. Chen, J. Goodman, "An empirical study of smoothing techniques for language modeling" (1998);
pruning drops the n-grams whose count-weighted log probability their back-off gives nearly as well (K. Seymore,
R. Rosenfeld, "Scalable backoff language models", 1996).
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

START, END = 0, 1
_UNIGRAM_DISCOUNT = 0.5
_LEAST_MASS = 1e-6

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass
class Order:
    """All n-grams of one length, sorted by (history, token)."""

    history: Ints  # which n-gram of the order below comes before the token
    token: Ints
    suffix: Ints  # which n-gram of the order below is left without the first token
    count: Floats
    from_start: Flags  # begins with START: has no left neighbour to count
    probability: Floats
    lower: Floats  # P(token) under the suffix
    backoff: Floats  # weight of this n-gram's suffix for tokens never seen after it


def train(sequences: Sequence[Sequence[int]], vocabulary: int, length: int, threshold: float) -> list[Order]:
    """The pruned model of ``sequences`` (tokens from 2 to ``vocabulary`` - 1): one Order for each n to ``length``.

    All unigrams and bigrams stay; a longer n-gram stays if its count times its log gain over backing off is beyond
    ``threshold``, or if another that stays is built on it.
    """
    orders = _count(sequences, vocabulary, length)
    _smooth(orders, vocabulary)
    _set_backoffs(orders)
    _prune(orders, threshold)
    _set_backoffs(orders)
    return orders


def _count(sequences: Sequence[Sequence[int]], vocabulary: int, length: int) -> list[Order]:
    tokens = np.array([t for sequence in sequences for t in (START, *sequence, END)], dtype=np.int64)
    place = np.concatenate([np.arange(len(sequence) + 2) for sequence in sequences])
    every = np.arange(vocabulary)
    orders = [_order(np.zeros_like(every), every, np.zeros_like(every), np.bincount(tokens, minlength=vocabulary))]
    orders[0].count[START] = 0.0
    orders[0].from_start[START] = True
    gram = tokens  # the n-gram that ends at each position
    for n in range(2, length + 1):
        ends = np.nonzero(place >= n - 1)[0]
        keys = gram[ends - 1] * vocabulary + tokens[ends]
        kinds, first, which, counts = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
        order = _order(kinds // vocabulary, kinds % vocabulary, gram[ends[first]], counts)
        order.from_start = orders[-1].from_start[order.history]
        orders.append(order)
        gram = np.zeros_like(gram)
        gram[ends] = which
    return orders


def _order(history: Ints, token: Ints, suffix: Ints, count: Ints) -> Order:
    blank = np.zeros(len(token))
    return Order(
        history=history,
        token=token,
        suffix=suffix,
        count=count.astype(np.float64),
        from_start=np.zeros(len(token), dtype=np.bool_),
        probability=blank,
        lower=blank,
        backoff=np.ones(len(token)),
    )


def _smooth(orders: list[Order], vocabulary: int) -> None:
    for n, order in enumerate(orders):
        counts = order.count
        if n + 1 < len(orders):  # Kneser-Ney: how many different tokens come before, unless none can
            before = np.bincount(orders[n + 1].suffix, minlength=len(counts)).astype(np.float64)
            counts = np.where(order.from_start, order.count, before)
        order.lower = orders[n - 1].probability[order.suffix] if n else np.full(vocabulary, 1.0 / (vocabulary - 1))
        histories = len(orders[n - 1].token) if n else 1
        discount = _discounts(counts, first=n == 0)
        total = np.maximum(np.bincount(order.history, counts, histories), 1e-9)
        freed = np.bincount(order.history, discount, histories) / total
        order.probability = (counts - discount) / total[order.history] + freed[order.history] * order.lower


def _discounts(counts: Floats, first: bool) -> Floats:
    """What each count gives up (Chen and Goodman's three discounts; one fixed for unigrams)."""
    if first:
        return np.minimum(counts, _UNIGRAM_DISCOUNT)
    n1, n2, n3, n4 = (float((counts == i).sum()) for i in (1, 2, 3, 4))
    y = n1 / max(n1 + 2 * n2, 1.0)
    by_count = np.array(
        [0.0, *(i - (i + 1) * y * n / max(m, 1.0) for i, m, n in ((1, n1, n2), (2, n2, n3), (3, n3, n4)))]
    )
    discounts: Floats = np.clip(by_count, 0.0, None)[np.minimum(counts, 3).astype(np.int64)]
    return np.minimum(discounts, counts)


def _set_backoffs(orders: list[Order]) -> None:
    for below, order in itertools.pairwise(orders):
        histories = len(below.token)
        left = 1.0 - np.bincount(order.history, order.probability, histories)
        left_below = 1.0 - np.bincount(order.history, order.lower, histories)
        below.backoff = np.clip(left, _LEAST_MASS, None) / np.clip(left_below, _LEAST_MASS, None)


def _prune(orders: list[Order], threshold: float) -> None:
    needed = [np.zeros(len(order.token), dtype=np.bool_) for order in orders]
    for n in reversed(range(2, len(orders))):
        order = orders[n]
        backed_off = orders[n - 1].backoff[order.history] * order.lower
        gain = order.count * np.log(order.probability / backed_off)
        needed[n] |= np.abs(gain) > threshold
        needed[n - 1][order.history[needed[n]]] = True
        needed[n - 1][order.suffix[needed[n]]] = True
    for n in range(2, len(orders)):
        _keep(orders, n, needed[n])


def _keep(orders: list[Order], n: int, kept: Flags) -> None:
    """Drops the n-grams of ``orders[n]`` that are not ``kept`` and renumbers the references of the order above."""
    order = orders[n]
    if n + 1 < len(orders):
        number = np.cumsum(kept) - 1
        above = orders[n + 1]
        whole = kept[above.history] & kept[above.suffix]
        above.history, above.suffix = number[above.history], number[above.suffix]
        # n-grams above whose parts go are dropped in their own turn; their references must only stay in range
        above.history[~whole] = 0
        above.suffix[~whole] = 0
    for name in ("history", "token", "suffix", "count", "from_start", "probability", "lower", "backoff"):
        setattr(order, name, getattr(order, name)[kept])
