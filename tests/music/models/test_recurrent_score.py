"""LSTM and GRU over tokens: steps equal the whole, states are values, nothing sees the future, and they learn."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from wavegen.errors import InputError
from wavegen.music.constraint import PianoRollConstraint, TuneConstraint
from wavegen.music.models.recurrent import GRUScore, GRUScoreConfig, LSTMScore, LSTMScoreConfig
from wavegen.music.sampling import sample
from wavegen.music.tokens import vocabulary

KINDS = [(LSTMScore, LSTMScoreConfig), (GRUScore, GRUScoreConfig)]


def built(kind: Any, vocab: str, layers: int = 2) -> Any:
    torch.manual_seed(0)
    return kind[0](kind[1](vocab, embedding=12, hidden=16, layers=layers, dropout=0.3)).eval()


def sampled(model: Any, seed: int = 0) -> list[int]:
    if model.config.vocabulary == "tune":
        plan: Any = TuneConstraint(model.vocabulary, style="air", meter="6/8", mode="minor", bars=5)
    else:
        plan = PianoRollConstraint(model.vocabulary, steps=12, voices=4)
    return sample(model, plan, generator=np.random.default_rng(seed))


@pytest.mark.parametrize("kind", KINDS, ids=["lstm", "gru"])
@pytest.mark.parametrize("vocab", ["tune", "pianoroll"])
@torch.no_grad()
def test_steps_equal_the_whole(kind: Any, vocab: str) -> None:
    model = built(kind, vocab)
    tokens = sampled(model)
    whole = model(torch.tensor([tokens]))[0]
    may = model.vocabulary.follow[tokens]
    assert torch.isneginf(whole[~may]).all()
    assert torch.allclose(whole.exp().sum(dim=-1), torch.ones(len(tokens)), atol=1e-5)
    state = model.start()
    for i, token in enumerate(tokens):
        log_probs, state = model.step(state, token)
        assert torch.allclose(log_probs[may[i]], whole[i][may[i]], atol=1e-5)
        assert torch.isneginf(log_probs[~may[i]]).all()


@pytest.mark.parametrize("kind", KINDS, ids=["lstm", "gru"])
@torch.no_grad()
def test_a_state_is_a_value(kind: Any) -> None:
    model = built(kind, "tune")
    tokens = sampled(model)
    state = model.start()
    for token in tokens[:9]:
        _, state = model.step(state, token)
    first, _ = model.step(state, tokens[9])
    for other in (tokens[9], 40, 150):
        model.step(state, other)
    again, _ = model.step(state, tokens[9])
    assert torch.equal(first, again)


@pytest.mark.parametrize("kind", KINDS, ids=["lstm", "gru"])
@pytest.mark.parametrize("vocab", ["tune", "pianoroll"])
def test_nothing_sees_the_future(kind: Any, vocab: str) -> None:
    model = built(kind, vocab)
    tokens = torch.tensor([sampled(model)])
    at = tokens.shape[1] // 2
    seen: list[Tensor] = []
    model.embedding.register_forward_hook(lambda _m, _i, y: seen.append(y.requires_grad_()) or None)
    out = model(tokens)[0, at]
    (gradient,) = torch.autograd.grad(out[torch.isfinite(out)].sum() + out.max(), seen[0])
    assert (gradient[0, at + 1 :] == 0).all()
    assert (gradient[0, : at + 1].abs().amax(dim=-1) > 0).all()
    # Nor do the embeddings themselves: what comes later may be anything.
    other = tokens.clone()
    other[0, at + 1 :] = model.vocabulary.padding
    with torch.no_grad():
        assert torch.equal(model.embedding(other)[0, : at + 1], model.embedding(tokens)[0, : at + 1])


@pytest.mark.parametrize("kind", KINDS, ids=["lstm", "gru"])
def test_it_learns_a_tune_by_heart(kind: Any) -> None:
    torch.manual_seed(0)
    model = kind[0](kind[1]("tune", embedding=16, hidden=32, layers=1, dropout=0.0))
    plan = TuneConstraint(model.vocabulary, style="air", meter="6/8", mode="minor", bars=2)
    tokens = torch.tensor([sample(model.eval(), plan, generator=np.random.default_rng(4))])
    optimiser = torch.optim.Adam(model.parameters(), 0.02)
    counts = torch.tensor([tokens.shape[1]])
    before = float(model.losses(tokens, counts)["nll"])
    for _ in range(60):
        optimiser.zero_grad()
        model.losses(tokens, counts)["total"].backward()
        optimiser.step()
    after = float(model.losses(tokens, counts)["nll"])
    assert before > 1.5
    assert after < 0.1
    assert sample(model, plan, temperature=0, generator=np.random.default_rng(0)) == tokens[0].tolist()


def test_a_seed_gives_the_same_tokens() -> None:
    model = built(KINDS[0], "pianoroll", layers=1)
    assert sampled(model, 3) == sampled(model, 3)
    assert sampled(model, 3) != sampled(model, 4)
    assert vocabulary("pianoroll").names[sampled(model)[-1]] == "Step"


@pytest.mark.parametrize(
    ("values", "message"),
    [({"hidden": 0}, "LSTMScoreConfig.hidden must be positive"), ({"dropout": 1.0}, "dropout must lie in")],
)
def test_sizes_that_cannot_be(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        LSTMScoreConfig(**values)
