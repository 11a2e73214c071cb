"""Sampling: distributions against their definitions, frequencies against probabilities, and that a seed repeats."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavegen.errors import InputError
from wavegen.music.constraint import PianoRollConstraint, TuneConstraint
from wavegen.music.models.recurrent import GRUScore, GRUScoreConfig
from wavegen.music.sampling import distribution, draw, sample
from wavegen.music.tokens import vocabulary

P = np.array([0.4, 0.3, 0.15, 0.1, 0.05])
ALL = np.ones(5, bool)


def test_plain_distribution_is_the_models() -> None:
    assert distribution(np.log(P), ALL) == pytest.approx(P)
    allowed = np.array([False, True, True, False, True])
    assert distribution(np.log(P), allowed) == pytest.approx(np.array([0, 0.6, 0.3, 0, 0.1]))


def test_temperature() -> None:
    assert distribution(np.log(P), ALL, temperature=0.5) == pytest.approx(P**2 / (P**2).sum())
    assert distribution(np.log(P), ALL, temperature=1e-3) == pytest.approx([1, 0, 0, 0, 0])
    assert distribution(np.log(P), ALL, temperature=0).tolist() == [1, 0, 0, 0, 0]
    assert distribution(np.log(P), ALL, temperature=1e6) == pytest.approx(np.full(5, 0.2), abs=1e-5)


def test_the_likeliest_and_the_nucleus() -> None:
    assert distribution(np.log(P), ALL, top_k=2) == pytest.approx([4 / 7, 3 / 7, 0, 0, 0])
    assert distribution(np.log(P), ALL, top_k=9) == pytest.approx(P)
    assert distribution(np.log(P), ALL, top_p=0.71) == pytest.approx([8 / 17, 6 / 17, 3 / 17, 0, 0])
    assert distribution(np.log(P), ALL, top_p=0.69) == pytest.approx([4 / 7, 3 / 7, 0, 0, 0])
    assert distribution(np.log(P), ALL, top_p=1e-9).tolist() == [1, 0, 0, 0, 0]
    allowed = np.array([False, False, True, True, True])
    assert distribution(np.log(P), allowed, top_k=1).tolist() == [0, 0, 1, 0, 0]


def test_bias_is_added() -> None:
    bias = np.array([0, 0, 0, 0, np.log(10)])
    assert distribution(np.log(P), ALL, bias=bias) == pytest.approx(np.array([8, 6, 3, 2, 10]) / 29)


def test_what_the_model_rules_out_but_the_plan_needs() -> None:
    log_probs = np.array([0.0, -np.inf, -np.inf])
    assert distribution(log_probs, np.array([False, True, True])).tolist() == [0, 0.5, 0.5]
    assert distribution(log_probs, np.array([False, True, True]), temperature=0).sum() == 1
    assert distribution(log_probs, np.ones(3, bool)).tolist() == [1, 0, 0]
    with pytest.raises(InputError, match="allows no token"):
        distribution(log_probs, np.zeros(3, bool))


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=9).filter(lambda p: sum(p) > 1e-3), st.floats(0, 1, exclude_max=True)
)
def test_only_what_is_possible_is_drawn(weights: list[float], uniform: float) -> None:
    p = np.array(weights) / sum(weights)
    token = draw(p, uniform)
    assert p[token] > 0
    assert p[:token].sum() <= uniform + 1e-9
    assert uniform <= p[: token + 1].sum() + 1e-9


def test_frequencies() -> None:
    random = np.random.default_rng(0)
    counts = np.bincount([draw(P, random.random()) for _ in range(20000)], minlength=5) / 20000
    assert counts == pytest.approx(P, abs=4 * (0.25 / 20000) ** 0.5)


@pytest.fixture(scope="module")
def model() -> GRUScore:
    import torch

    torch.manual_seed(0)
    return GRUScore(GRUScoreConfig(embedding=8, hidden=8, layers=1)).eval()


def plan(bars: int = 4, prefix: bool = True, seed: int = 0) -> TuneConstraint:
    return TuneConstraint(vocabulary("tune"), style="waltz", meter="3/4", mode="major", bars=bars, prefix=prefix)


def test_a_seed_repeats_and_another_does_not(model: GRUScore) -> None:
    first, again, other = (sample(model, plan(), generator=np.random.default_rng(s)) for s in (7, 7, 8))
    assert first == again
    assert first != other
    constraint = plan()
    sample(model, constraint, generator=np.random.default_rng(0))
    assert not constraint.done  # it was left as it was
    greedy = [sample(model, plan(), temperature=0, generator=np.random.default_rng(s)) for s in (1, 2)]
    assert greedy[0] == greedy[1]


def test_the_primer_is_heard_but_not_repeated(model: GRUScore) -> None:
    whole = sample(model, plan(6), generator=np.random.default_rng(3))
    cut = [i for i, t in enumerate(whole) if vocabulary("tune").families[t] == "Bar"][2]
    rest = sample(model, plan(4, prefix=False), primer=whole[:cut], temperature=0, generator=np.random.default_rng(0))
    vocabulary("tune").check([*whole[:cut], *rest])
    assert rest[0] == whole[cut]
    # Greedy decoding goes on as greedy decoding from the start does: the state after the primer is the same.
    greedy = sample(model, plan(6), temperature=0, generator=np.random.default_rng(0))
    cut = [i for i, t in enumerate(greedy) if vocabulary("tune").families[t] == "Bar"][2]
    constraint = plan(6)
    for token in greedy[:cut]:
        constraint.advance(token)
    rest = sample(model, constraint, primer=greedy[:cut], temperature=0, generator=np.random.default_rng(0))
    assert rest == greedy[cut:]


def test_bad_settings(model: GRUScore) -> None:
    random = np.random.default_rng(0)
    for settings, message in (
        ({"temperature": -1.0}, "temperature must not be negative"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_k": -1}, "top_k"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_p": 1.5}, "top_p"),
    ):
        with pytest.raises(InputError, match=message):
            sample(model, plan(), generator=random, **settings)  # type: ignore[arg-type]
    roll = PianoRollConstraint(vocabulary("pianoroll"), steps=2)
    with pytest.raises(InputError, match="the model writes tune, the plan is of pianoroll"):
        sample(model, roll, generator=random)
    open_start = PianoRollConstraint(vocabulary("pianoroll"), steps=2, prefix=False)
    rolls = GRUScore(GRUScoreConfig("pianoroll", 4, 4, 1)).eval()
    with pytest.raises(InputError, match="give a primer"):
        sample(rolls, open_start, generator=random)
