"""Kneser-Ney against its formula, written out slowly; normalisation; pruning; the checkpoint."""

import math
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wavegen import checkpoints
from wavegen.errors import InputError
from wavegen.music.models.ngram import NGram, NGramConfig
from wavegen.music.tokens import encode_steps, vocabulary

ROLL = vocabulary("pianoroll")


def roll(steps: list[list[int]]) -> list[int]:
    return encode_steps(steps).tolist()


def random_rolls(seed: int, count: int = 12, length: int = 20) -> list[list[int]]:
    random = np.random.default_rng(seed)
    rolls = []
    for _ in range(count):
        walk = 60 + np.cumsum(random.integers(-2, 3, length))
        rolls.append(roll([[int(p), int(p) + int(random.choice([3, 4]))] for p in walk.clip(40, 80)]))
    return rolls


def brute_force(sequences: list[list[int]], order: int, context: list[int]) -> dict[int, float]:
    """P(token | context) by the recursion of Chen and Goodman (1998), section 3.2, straight from the sequences."""
    lefts: dict[tuple[int, ...], set[int]] = defaultdict(set)
    starts: Counter[tuple[int, ...]] = Counter()
    raw: Counter[tuple[int, ...]] = Counter()
    for sequence in sequences:
        for n in range(1, order + 1):
            for i in range(len(sequence) - n + 1):
                gram = tuple(sequence[i : i + n])
                raw[gram] += 1
                if i:
                    lefts[gram].add(sequence[i - 1])
                else:
                    starts[gram] += 1
    grams = list(raw)

    def adjusted(gram: tuple[int, ...]) -> int:
        return raw[gram] if len(gram) == order else len(lefts[gram]) + starts[gram]

    def discount(gram: tuple[int, ...]) -> float:
        found = Counter(adjusted(g) for g in grams if len(g) == len(gram))
        n1, n2, n3, n4 = (found[i] for i in (1, 2, 3, 4))
        if 0 in (n1, n2, n3, n4):
            d1, d2, d3 = 0.5, 1.0, 1.5
        else:
            y = n1 / (n1 + 2 * n2)
            d1, d2, d3 = 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3
        d1, d2, d3 = min(max(d1, 0.1), 1), min(max(d2, 0.1), 2), min(max(d3, 0.1), 3)
        return {0: 0.0, 1: d1, 2: d2}.get(adjusted(gram), d3)

    follow = np.flatnonzero(ROLL.table[context[-1]]).tolist()
    units = [(v,) for v in range(ROLL.size)]
    freed = sum(discount(u) for u in units)
    base = {v: adjusted((v,)) - discount((v,)) + freed / ROLL.size for v in follow}
    p = {v: b / sum(base.values()) for v, b in base.items()}
    for length in range(1, order):
        history = tuple(context[-length:])
        seen = [g for g in grams if len(g) == length + 1 and g[:-1] == history]
        if len(context) < length or not seen:
            break
        total = sum(adjusted(g) for g in seen)
        left = sum(discount(g) for g in seen) / total
        p = {v: left * q for v, q in p.items()}
        for g in seen:
            p[g[-1]] += (adjusted(g) - discount(g)) / total
    return p


@pytest.mark.parametrize(("order", "seed"), [(2, 1), (3, 2), (5, 3)])
def test_equals_the_formula(order: int, seed: int) -> None:
    train, other = random_rolls(seed), random_rolls(seed + 100, 1)[0]
    model = NGram(NGramConfig("pianoroll", order))
    model.fit(train)
    for text in (train[0][:14], other[:14]):
        state = model.start()
        for i, token in enumerate(text):
            log_probs, state = model.step(state, token)
            expected = brute_force(train, order, text[: i + 1])
            for v, q in expected.items():
                assert math.isclose(float(log_probs[v].exp()), q, rel_tol=1e-9, abs_tol=1e-12)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.lists(st.sets(st.integers(21, 108), max_size=4), min_size=1, max_size=8), min_size=1, max_size=5),
    st.integers(2, 8),
    st.integers(1, 3),
    st.lists(st.sets(st.integers(21, 108), max_size=4), min_size=1, max_size=5),
)
def test_sums_to_one_over_what_may_follow(train: list, order: int, least: int, other: list) -> None:
    model = NGram(NGramConfig("pianoroll", order, least))
    model.fit([encode_steps(map(list, steps)) for steps in train])
    tokens = roll([sorted(s) for s in other])
    state, found = model.start(), []
    for token, following in zip(tokens, [*tokens[1:], tokens[-1]], strict=True):
        log_probs, state = model.step(state, token)
        assert abs(float(log_probs.exp().sum()) - 1) < 1e-9
        assert torch.equal(log_probs > -math.inf, ROLL.follow[token])
        found.append(float(log_probs[following]))
    assert np.allclose(found[:-1], model.log_prob(tokens).tolist(), atol=1e-12)


def test_a_longer_history_tells_more() -> None:
    train, other = random_rolls(1, 60), random_rolls(2, 20)
    nll = {n: NGram(NGramConfig("pianoroll", n)).fit(train, other)["validation"] for n in (2, 4)}
    assert nll[4] < nll[2] - 0.1


def test_pruning_drops_singletons_and_keeps_the_sum() -> None:
    train = random_rolls(5, 40)
    whole, pruned = (NGram(NGramConfig("pianoroll", 6, least)) for least in (1, 2))
    whole.fit(train)
    pruned.fit(train)
    assert pruned.config.sizes[:2] == whole.config.sizes[:2]
    assert pruned.config.sizes[5] < 0.6 * whole.config.sizes[5]
    assert int(pruned.get_buffer("count6").min()) >= 2


def test_states_are_values() -> None:
    model = NGram(NGramConfig("pianoroll", 4))
    train = random_rolls(3)
    model.fit(train)
    _, state = model.step(model.start(), train[0][0])
    first, _ = model.step(state, train[0][1])
    model.step(state, ROLL.index("Step"))
    again, _ = model.step(state, train[0][1])
    assert torch.equal(first, again)


def test_comes_back_from_a_checkpoint(tmp_path: Path) -> None:
    model = NGram(NGramConfig("pianoroll", 5, 2))
    train = random_rolls(4)
    model.fit(train)
    checkpoints.save(tmp_path / "m.safetensors", model)
    loaded = checkpoints.load(tmp_path / "m.safetensors")
    assert isinstance(loaded, NGram)
    assert torch.equal(loaded.log_prob(train[0]), model.log_prob(train[0]))
    assert sum(math.prod(b.shape) * b.element_size() for b in model.buffers()) < 30 * sum(model.config.sizes)


def test_loading_weights_forgets_what_was_looked_up() -> None:
    train = random_rolls(4)
    model = NGram(NGramConfig("pianoroll", 3))
    model.fit(train)
    before = model.log_prob(train[0])
    state = {name: t.clone() for name, t in model.state_dict().items()}
    state["count1"] = torch.arange(len(state["count1"]), dtype=torch.int32)
    model.load_state_dict(state)
    assert not torch.equal(before, model.log_prob(train[0]))


def test_bad_input_is_named() -> None:
    with pytest.raises(InputError, match="order must be from 2 to 8, not 9"):
        NGramConfig(order=9)
    with pytest.raises(InputError, match="least must be positive"):
        NGramConfig(least=0)
    with pytest.raises(InputError, match="sizes must hold 8"):
        NGramConfig(sizes=(3, 4))
    model = NGram(NGramConfig("pianoroll", 3))
    with pytest.raises(InputError, match="two tokens"):
        model.fit([])
    with pytest.raises(InputError, match="counted nothing yet"):
        model.log_prob(roll([[60]]))
    model.fit(random_rolls(1))
    with pytest.raises(InputError, match="none given"):
        model.log_prob([])
    with pytest.raises(InputError, match="may not follow"):
        model.log_prob(ROLL.tokens(["Begin", "Pitch_60", "Pitch_59"]))
