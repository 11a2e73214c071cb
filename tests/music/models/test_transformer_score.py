"""The causal Transformer: kept keys equal the whole, also beyond its context; places are relative; it learns."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from wavegen.errors import InputError
from wavegen.music.constraint import PianoRollConstraint, TuneConstraint
from wavegen.music.models.transformer import TransformerScore, TransformerScoreConfig, attend, rotated
from wavegen.music.sampling import sample


def built(vocab: str = "tune", **changes: Any) -> TransformerScore:
    torch.manual_seed(0)
    sizes = {"channels": 16, "hidden": 24, "layers": 2, "heads": 2, "context": 20, "dropout": 0.2, **changes}
    model = TransformerScore(TransformerScoreConfig(vocab, **sizes)).eval()
    for block in model.blocks:  # as large as trained ones, so that attention matters
        for last in (block.output, block.reduce):
            torch.nn.init.normal_(last.weight, std=0.3)
    return model


def sampled(model: TransformerScore, seed: int = 0) -> list[int]:
    if model.config.vocabulary == "tune":
        plan: Any = TuneConstraint(model.vocabulary, style="air", meter="9/8", mode="major", bars=5)
    else:
        plan = PianoRollConstraint(model.vocabulary, steps=12, voices=4)
    return sample(model, plan, generator=np.random.default_rng(seed))


@pytest.mark.parametrize("vocab", ["tune", "pianoroll"])
@pytest.mark.parametrize("context", [1, 7, 20, 500])
@torch.no_grad()
def test_steps_equal_the_whole(vocab: str, context: int) -> None:
    model = built(vocab, context=context)
    tokens = sampled(model)
    assert 45 < len(tokens) < 500
    whole = model(torch.tensor([tokens]))[0]
    may = model.vocabulary.follow[tokens]
    assert torch.allclose(whole.exp().sum(dim=-1), torch.ones(len(tokens)), atol=1e-5)
    state = model.start()
    for i, token in enumerate(tokens):
        log_probs, state = model.step(state, token)
        assert torch.allclose(log_probs[may[i]], whole[i][may[i]], atol=1e-5)
        assert torch.isneginf(log_probs[~may[i]]).all()
    assert state[2][0][0].shape[2] == min(context, len(tokens))


@pytest.mark.parametrize(("n", "context"), [(1, 1), (5, 5), (11, 4), (12, 4), (9, 1), (3, 8)])
def test_attention_is_that_of_its_definition(n: int, context: int) -> None:
    random = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 3, n, 6, generator=random, dtype=torch.float64) for _ in range(3))
    expected = torch.zeros_like(q)
    for i in range(n):
        first = max(0, i - context + 1)
        scores = torch.einsum("bhc,bhkc->bhk", q[:, :, i], k[:, :, first : i + 1]) / 6**0.5
        expected[:, :, i] = torch.einsum("bhk,bhkc->bhc", scores.softmax(-1), v[:, :, first : i + 1])
    assert torch.allclose(attend(q, k, v, context, 0.0), expected, atol=1e-12)


def test_rotation_makes_places_relative() -> None:
    model = built()
    random = torch.Generator().manual_seed(0)
    q, k = torch.randn(8, generator=random), torch.randn(8, generator=random)

    def score(i: int, j: int) -> float:
        return float(rotated(q[None], model.rotation(i, 1))[0] @ rotated(k[None], model.rotation(j, 1))[0])

    assert score(0, 0) == pytest.approx(float(q @ k), abs=1e-5)
    for i, j in ((5, 2), (40, 13), (1000, 999)):
        assert score(i, j) == pytest.approx(score(i + 3000, j + 3000), abs=1e-3)
    assert abs(score(9, 2) - score(9, 3)) > 1e-3


@pytest.mark.parametrize("vocab", ["tune", "pianoroll"])
@pytest.mark.parametrize("context", [20, 500])
def test_nothing_sees_the_future(vocab: str, context: int) -> None:
    model = built(vocab, context=context, layers=1)
    tokens = torch.tensor([sampled(model)])
    at = tokens.shape[1] // 2
    seen: list[Tensor] = []
    model.embedding.register_forward_hook(lambda _m, _i, y: seen.append(y.requires_grad_()) or None)
    out = model(tokens)[0, at]
    (gradient,) = torch.autograd.grad(out[torch.isfinite(out)].sum() + out.max(), seen[0])
    reached = gradient[0].abs().amax(dim=-1) > 0
    assert not reached[at + 1 :].any()
    assert reached[max(0, at - context + 1) : at + 1].all()
    assert not reached[: max(0, at - context + 1)].any()


@torch.no_grad()
def test_a_state_is_a_value() -> None:
    model = built(context=6)
    tokens = sampled(model)
    state = model.start()
    for token in tokens[:9]:
        _, state = model.step(state, token)
    first, _ = model.step(state, tokens[9])
    for other in (tokens[9], 40, 150):
        model.step(state, other)
    assert torch.equal(first, model.step(state, tokens[9])[0])


def test_it_learns_a_tune_by_heart() -> None:
    torch.manual_seed(0)
    model = TransformerScore(
        TransformerScoreConfig(channels=32, hidden=48, layers=2, heads=2, context=64, dropout=0.0)
    ).eval()
    plan = TuneConstraint(model.vocabulary, style="air", meter="6/8", mode="minor", bars=2)
    tokens = torch.tensor([sample(model, plan, generator=np.random.default_rng(4))])
    optimiser = torch.optim.Adam(model.parameters(), 0.01)
    counts = torch.tensor([tokens.shape[1]])
    for _ in range(80):
        optimiser.zero_grad()
        model.losses(tokens, counts)["total"].backward()
        optimiser.step()
    assert float(model.losses(tokens, counts)["nll"]) < 0.1
    assert sample(model, plan, temperature=0, generator=np.random.default_rng(0)) == tokens[0].tolist()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"layers": 0}, "TransformerScoreConfig.layers must be positive"),
        ({"context": 0}, "context must be positive"),
        ({"channels": 20, "heads": 4}, "channels 20 is not a multiple of twice the heads 4"),
        ({"dropout": -0.1}, "dropout must lie in"),
    ],
)
def test_sizes_that_cannot_be(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TransformerScoreConfig(**values)
