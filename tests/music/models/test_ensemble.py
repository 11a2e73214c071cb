"""Ensembles: the mixture and the product against their definitions."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from wavegen.errors import InputError
from wavegen.music.constraint import TuneConstraint
from wavegen.music.models.ensemble import Ensemble
from wavegen.music.models.recurrent import GRUScore, GRUScoreConfig, LSTMScore, LSTMScoreConfig
from wavegen.music.sampling import sample

torch.manual_seed(0)
MEMBERS = [
    LSTMScore(LSTMScoreConfig(embedding=8, hidden=16, layers=1)).eval(),
    GRUScore(GRUScoreConfig(embedding=8, hidden=16, layers=1)).eval(),
]
for member in MEMBERS:  # far from uniform, and apart
    torch.nn.init.normal_(member.output.weight, std=3.0)


def sampled(model: Any) -> list[int]:
    plan = TuneConstraint(model.vocabulary, style="air", meter="6/8", mode="minor", bars=3)
    return sample(model, plan, generator=np.random.default_rng(0))


@pytest.mark.parametrize("average", ["probabilities", "logs"])
@pytest.mark.parametrize("weights", [(), (3.0, 1.0)])
@torch.no_grad()
def test_the_average_is_that_of_its_definition(average: str, weights: tuple[float, ...]) -> None:
    model = Ensemble(MEMBERS, average=average, weights=weights)
    share = torch.tensor([0.75, 0.25] if weights else [0.5, 0.5])
    tokens = sampled(model)
    states, state = [m.start() for m in MEMBERS], model.start()
    found, far = [], 0.0
    for token, following in itertools.pairwise(tokens):
        pairs = [m.step(s, token) for m, s in zip(MEMBERS, states, strict=True)]
        states = [s for _, s in pairs]
        p = torch.stack([log_probs.exp() for log_probs, _ in pairs])
        far = max(far, float((p[0] - p[1]).abs().max()))
        expected = share @ p if average == "probabilities" else (p ** share[:, None]).prod(dim=0)
        log_probs, state = model.step(state, token)
        assert torch.allclose(log_probs.exp(), expected / expected.sum(), atol=1e-6)
        found.append(log_probs[following])
    assert far > 0.5
    assert torch.allclose(model.log_prob(tokens), torch.stack(found), atol=1e-4)


@torch.no_grad()
def test_a_mixture_is_never_far_worse_than_its_best_member() -> None:
    model = Ensemble(MEMBERS)
    for source in MEMBERS:
        tokens = sampled(source)
        best = max(float(m.log_prob(tokens).sum()) for m in MEMBERS)
        assert float(model.log_prob(tokens).sum()) >= best - np.log(2) * (len(tokens) - 1)
    alone = Ensemble(MEMBERS[:1])
    tokens = sampled(alone)
    assert torch.allclose(alone.log_prob(tokens), MEMBERS[0].log_prob(tokens), atol=1e-5)
    assert tokens == sampled(MEMBERS[0])


def test_what_makes_no_ensemble() -> None:
    roll = GRUScore(GRUScoreConfig("pianoroll", embedding=4, hidden=4, layers=1))
    with pytest.raises(InputError, match="models of one vocabulary, not of: no model"):
        Ensemble([])
    with pytest.raises(InputError, match="not of: pianoroll, tune"):
        Ensemble([MEMBERS[0], roll])
    with pytest.raises(InputError, match="3 weights are given for 2 models"):
        Ensemble(MEMBERS, weights=(1, 2, 3))
    with pytest.raises(InputError, match="weights must be positive"):
        Ensemble(MEMBERS, weights=(1, 0))
    with pytest.raises(InputError, match="average must be probabilities or logs"):
        Ensemble(MEMBERS, average="median")
