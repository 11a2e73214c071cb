"""Reinforcement on a small recurrent model: rewards rise, the held-out likelihood stays, the same seed repeats."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from wavegen.checkpoints import load, save
from wavegen.errors import InputError
from wavegen.music import rewards
from wavegen.music.constraint import TuneConstraint
from wavegen.music.models.recurrent import (
    GRUScore,
    LSTMScore,
    LSTMScoreConfig,
    RecurrentScore,
    RecurrentScoreConfig,
)
from wavegen.music.tokens import vocabulary
from wavegen.training.reinforce import (
    ReinforceConfig,
    _advantages,
    _steps,
    draw_plan,
    heldout_nll,
    main,
    mean_rewards,
    tune,
    write,
)
from wavegen.training.tasks.score import TokenCorpus, write_corpus

TUNE = vocabulary("tune")


def small_model() -> LSTMScore:
    torch.manual_seed(4)
    return LSTMScore(LSTMScoreConfig(embedding=16, hidden=32, layers=1, dropout=0.3)).eval()


def plan(bars: int = 2) -> TuneConstraint:
    return TuneConstraint(TUNE, style="folk", meter="3/4", mode="major", bars=bars, cadence=None)


@pytest.fixture(scope="module")
def tunes() -> list[np.ndarray]:
    model, random = small_model(), np.random.default_rng(1)
    return [episode.tokens for episode in write(model, plan(), 12, random)]


def test_an_episode_keeps_what_its_plan_allowed() -> None:
    model = small_model()
    episode, second = write(model, plan(), 2, np.random.default_rng(0))
    TUNE.check(episode.tokens)
    assert episode.allowed.shape == (len(episode.tokens) - 1, TUNE.size)
    assert episode.allowed[np.arange(len(episode.tokens) - 1), episode.tokens[1:]].all()
    assert second.tokens.tolist() != episode.tokens.tolist()
    again = write(model, plan(), 2, np.random.default_rng(0))
    assert [e.tokens.tolist() for e in again] == [episode.tokens.tolist(), second.tokens.tolist()]


@pytest.mark.parametrize("kind", [LSTMScore, GRUScore])
def test_steps_side_by_side_are_the_models_steps(kind: type[RecurrentScore]) -> None:
    torch.manual_seed(0)
    model = kind(RecurrentScoreConfig(embedding=8, hidden=12, layers=2)).eval()
    rows = [
        TUNE.tokens(names)
        for names in (["Style_jig", "Meter_6/8", "Mode_minor"], ["Style_air", "Meter_3/4", "Mode_major"])
    ]
    alone, states = [], [model.start(), model.start()]
    for row in rows:
        state = model.start()
        for token in row:
            found, state = model.step(state, int(token))
        alone.append(found.detach().double().numpy())
    with torch.no_grad():
        for tokens in zip(*rows, strict=True):
            stepped = _steps(model, states, [int(token) for token in tokens])
            states = [state for _, state in stepped]
    for (found, _), expected in zip(stepped, alone, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_heldout_nll_is_the_mean_over_all_tokens(tunes: list[np.ndarray]) -> None:
    model = small_model()
    with torch.no_grad():
        logs = torch.cat([model.log_prob(tokens) for tokens in tunes])
    assert heldout_nll(model, tunes, batch=5) == pytest.approx(-float(logs.double().mean()), rel=1e-5)


def test_advantages_are_what_is_to_come_less_what_the_others_had_to_come() -> None:
    credits = [np.array([0.0, 1.0, 0.0, 2.0]), np.array([0.0, 0.0, 1.0])]
    ticks = [np.array([0, 0, 12, 24]), np.array([0, 12, 24])]
    first, second = _advantages(credits, ticks)
    expected = [np.array([3.0 - 1, 3 - 1, 2 - 1, 2 - 1]), np.array([1.0 - 3, 1 - 2, 1 - 2])]
    deviation = np.concatenate(expected).std()
    np.testing.assert_allclose(first, expected[0] / deviation, rtol=1e-6)
    np.testing.assert_allclose(second, expected[1] / deviation, rtol=1e-6)


def test_reward_rises_within_the_limit(tunes: list[np.ndarray]) -> None:
    model = small_model()
    held_out = tunes[:4]
    before = heldout_nll(model, held_out)
    weights = {"in_key": 1.0, "chord_tones": 1.0}
    config = ReinforceConfig(
        steps=30, batch=10, bars=2, learning_rate=3e-3, kl=0.02, nll_limit=0.5, validate_steps=10, weights=weights
    )
    tuned = tune(model, tunes, held_out, config)
    assert tuned.nll_before == pytest.approx(before)
    assert tuned.nll_after == pytest.approx(heldout_nll(model, held_out))
    assert tuned.nll_after <= before * 1.5
    assert [c.step for c in tuned.history] == [10, 20, 30]

    def earned(m: LSTMScore) -> float:
        random = np.random.default_rng(9)
        return float(np.mean([rewards.reward(e.tokens, weights) for e in write(m, plan(), 64, random)]))

    assert earned(model) > earned(small_model()) + 0.05
    assert not model.training


def test_the_same_seed_repeats_and_a_tight_limit_gives_the_weights_back(tunes: list[np.ndarray]) -> None:
    def run(limit: float, seed: int) -> tuple[LSTMScore, list[bool]]:
        model = small_model()
        config = ReinforceConfig(
            steps=6, batch=3, bars=1, learning_rate=0.1, kl=0.0, nll_limit=limit, validate_steps=2, seed=seed
        )
        return model, [c.kept for c in tune(model, tunes, tunes, config).history]

    loose, kept = run(100.0, 1)
    assert all(kept)
    same, _ = run(100.0, 1)
    other, _ = run(100.0, 2)
    weights = [m.output.weight.detach() for m in (loose, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])

    tight, kept = run(1e-6, 1)
    assert not any(kept)
    original = copy.deepcopy(small_model().state_dict())
    assert all(torch.equal(value, original[name]) for name, value in tight.state_dict().items())


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({}, "steps and minutes"),
        ({"steps": 1, "minutes": 1.0}, "steps and minutes"),
        ({"steps": 0}, "steps"),
        ({"steps": 1, "batch": 1}, "batch"),
        ({"steps": 1, "kl": -0.1}, "kl"),
        ({"steps": 1, "nll_limit": 0.0}, "nll_limit"),
    ],
)
def test_settings_are_checked(options: dict[str, float], match: str) -> None:
    with pytest.raises(InputError, match=match):
        ReinforceConfig(**options)  # type: ignore[arg-type]


def test_what_cannot_be_tuned_is_refused(tunes: list[np.ndarray]) -> None:
    config = ReinforceConfig(steps=1)
    with pytest.raises(InputError, match="held-out"):
        tune(small_model(), tunes, [], config)
    rolls = LSTMScore(LSTMScoreConfig(vocabulary="pianoroll", embedding=8, hidden=8, layers=1))
    with pytest.raises(InputError, match="pianoroll"):
        tune(rolls, tunes, tunes, config)


def test_mean_rewards_are_means_over_what_the_model_writes(tunes: list[np.ndarray]) -> None:
    config = ReinforceConfig(steps=1, batch=4, bars=1, weights={"in_key": 1.0})
    found = mean_rewards(small_model(), tunes, config, count=8, seed=3)
    assert set(found) == {*rewards.WEIGHTS, "total"}
    assert found["total"] == pytest.approx(found["in_key"])
    random = np.random.default_rng(3)
    model = small_model()
    rows = [e for _ in range(2) for e in write(model, draw_plan(model, tunes, 1, random), 4, random)]
    expected = np.mean([rewards.reward(e.tokens, {"in_key": 1.0}) for e in rows])
    assert found["in_key"] == pytest.approx(expected)


def test_the_command_writes_a_checkpoint_with_its_scores(
    tunes: list[np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path / "lstm.safetensors", small_model(), card={"licence": "CC0-1.0"})
    write_corpus(tmp_path / "tunes.npz", TokenCorpus("tune", tunes, tunes))
    output = tmp_path / "tuned.safetensors"
    main([str(tmp_path / "lstm.safetensors"), str(tmp_path / "tunes.npz"), "-o", str(output), "--minutes", "0.001"])
    assert "in_key" in capsys.readouterr().out
    tuned = load(output, role="score")
    assert isinstance(tuned, LSTMScore)
    assert tuned.card["licence"] == "CC0-1.0"
    assert {"nll_before", "nll_after", "total_after"} <= set(tuned.card["scores"])
