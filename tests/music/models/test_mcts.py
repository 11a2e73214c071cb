"""Tree search: inside the plan, deterministic, and better than sampling by its own measure."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from wavegen.errors import InputError
from wavegen.music import rewards
from wavegen.music.constraint import PianoRollConstraint, TuneConstraint
from wavegen.music.models.mcts import MCTS
from wavegen.music.models.recurrent import LSTMScore, LSTMScoreConfig
from wavegen.music.sampling import sample
from wavegen.music.tokens import vocabulary

TUNE = vocabulary("tune")


@pytest.fixture(scope="module")
def model() -> LSTMScore:
    torch.manual_seed(3)
    return LSTMScore(LSTMScoreConfig(embedding=16, hidden=24, layers=1)).eval()


def plan(bars: int = 3, **options: object) -> TuneConstraint:
    return TuneConstraint(TUNE, style="folk", meter="3/4", mode="major", bars=bars, **options)  # type: ignore[arg-type]


def test_the_same_seed_gives_the_same_tune_inside_the_plan(model: LSTMScore) -> None:
    search = MCTS(model, simulations=6)
    asked = plan()
    found = search.sample(asked, generator=np.random.default_rng(5))
    assert found == search.sample(asked, generator=np.random.default_rng(5))
    assert found != search.sample(asked, generator=np.random.default_rng(6))
    follow = plan()
    for token in found:
        follow.advance(token)  # raises for a token outside the plan
    assert follow.done
    assert not asked.done
    assert [TUNE.names[t] for t in found if TUNE.families[t] == "Bar"] == ["Bar_3", "Bar_2", "Bar_1"]


def test_more_simulations_earn_more_than_sampling(model: LSTMScore) -> None:
    def mean(write: Callable[[np.random.Generator], list[int]]) -> float:
        return float(np.mean([rewards.reward(write(np.random.default_rng(seed))) for seed in range(5)]))

    sampled = mean(lambda generator: sample(model, plan(bars=2), generator=generator))
    one, many = (MCTS(model, simulations=count) for count in (1, 12))
    searched = mean(lambda generator: many.sample(plan(bars=2), generator=generator))
    assert searched > sampled + 0.08
    assert searched > mean(lambda generator: one.sample(plan(bars=2), generator=generator)) + 0.08


def test_search_finds_what_a_value_asks_for(model: LSTMScore) -> None:
    """A value that only likes long notes: sampling fills a bar in one stroke far less often."""

    def few_notes(tokens: object) -> float:
        return -float(len(rewards.read_line(tokens).pitch))  # type: ignore[arg-type]

    searched = MCTS(model, simulations=60, value=few_notes).sample(
        plan(bars=2, cadence=None), generator=np.random.default_rng(0)
    )
    assert len(rewards.read_line(searched).pitch) <= 3
    sampled = [sample(model, plan(bars=2, cadence=None), generator=np.random.default_rng(s)) for s in range(8)]
    assert np.mean([len(rewards.read_line(tokens).pitch) for tokens in sampled]) > 6


def test_visits_follow_the_policy_where_all_is_worth_the_same(model: LSTMScore) -> None:
    """With a constant value PUCT visits options in proportion to the prior, to within one visit of each."""
    from wavegen.music.models.mcts import Node, _Search

    search = MCTS(model, simulations=200, value=lambda tokens: 0.5)
    run = _Search(search, 1.0, 4, 1.0, np.random.default_rng(0))
    constraint = plan(bars=1, cadence=None)
    state = model.start()
    tokens = []
    with torch.no_grad():
        for name in ("Style_folk", "Meter_3/4", "Mode_major", "Bar_1"):
            tokens.append(TUNE.index(name))
            constraint.advance(tokens[-1])
            log_probs, state = model.step(state, tokens[-1])
        root = Node(constraint, state, log_probs, (), False)
        run.bar(root, tokens)
    assert root.visits.sum() == 200
    assert len(root.options) == 4
    np.testing.assert_allclose(root.visits / 200, root.prior, atol=0.02)
    assert root.worth.sum() == pytest.approx(100)


def test_a_primer_is_continued_and_not_repeated(model: LSTMScore) -> None:
    written = sample(model, plan(bars=2, bars_after=2, cadence=None), generator=np.random.default_rng(1))
    second = plan(bars=2, prefix=False)
    found = MCTS(model, simulations=4).sample(second, primer=written, generator=np.random.default_rng(2))
    assert [TUNE.families[t] for t in found[:2]] == ["Bar", "Chord"]
    assert TUNE.names[found[-1]] == "End"
    TUNE.check([*written, *found])


def test_what_cannot_be_searched_is_refused(model: LSTMScore) -> None:
    rolls = LSTMScore(LSTMScoreConfig(vocabulary="pianoroll", embedding=8, hidden=8, layers=1))
    with pytest.raises(InputError, match="pianoroll"):
        MCTS(rolls)
    with pytest.raises(InputError, match="simulations"):
        MCTS(model, simulations=0)
    with pytest.raises(InputError, match="exploration"):
        MCTS(model, exploration=-1.0)
    with pytest.raises(InputError, match="weight"):
        MCTS(model, weights={"in_key": -1}).sample(plan(), generator=np.random.default_rng(0))
    with pytest.raises(InputError, match="plan is of pianoroll"):
        MCTS(model).sample(PianoRollConstraint(vocabulary("pianoroll"), steps=2), generator=np.random.default_rng(0))
    with pytest.raises(InputError, match="temperature"):
        MCTS(model).sample(plan(), temperature=-1, generator=np.random.default_rng(0))
