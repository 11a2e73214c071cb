"""The hidden Markov model against hmmlearn: the likelihood, and an iteration of Baum-Welch."""

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from wavegen import checkpoints
from wavegen.errors import InputError
from wavegen.music.models.hmm import HMM, HMMConfig
from wavegen.music.tokens import encode_steps, vocabulary

ROLL, TUNE = vocabulary("pianoroll"), vocabulary("tune")


def rolls(seed: int, count: int = 20) -> list[np.ndarray]:
    """Chords of two kinds that stay a while: a hidden state that bigrams do not see."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        kind, steps = 0, []
        for _ in range(int(random.integers(3, 12))):
            kind = kind if random.random() < 0.8 else 1 - kind
            steps.append(random.choice([60, 64, 67] if kind else [62, 65, 69], 2, replace=False).tolist())
        found.append(encode_steps(steps))
    return found


def tunes(seed: int, count: int = 20) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        names = ["Style_jig", "Meter_6/8", "Mode_major"]
        for k in range(4, 0, -1):
            names += [f"Bar_{k}", f"Chord_{random.choice([0, 5, 7])}:maj"]
            for _ in range(2):
                names += [f"Pitch_{random.choice([60, 62, 64, 67])}", "Dur_18"]
        found.append(TUNE.tokens([*names, "End"]))
    return found


def reference(model: HMM):
    hmmlearn = pytest.importorskip("hmmlearn.hmm")
    a, b, c = (p.numpy() for p in model.parameters_of())
    peer = hmmlearn.CategoricalHMM(model.config.states, init_params="", n_iter=1, implementation="scaling")
    peer.n_features = model.vocabulary.size
    peer.startprob_, peer.transmat_, peer.emissionprob_ = a.copy(), b.copy(), c.copy()
    return peer


@pytest.mark.parametrize(("kind", "states", "data"), [("pianoroll", 6, rolls), ("tune", 24, tunes)])
def test_likelihood_equals_hmmlearn(kind: str, states: int, data) -> None:
    model = HMM(HMMConfig(kind, states))
    model.randomise(data(1), 1)
    peer = reference(model)
    for tokens in data(2)[:5]:
        assert math.isclose(model.score(tokens), peer.score(tokens[:, None]), rel_tol=1e-9)


def test_of_tunes_the_conditional_probabilities_make_up_the_likelihood() -> None:
    model = HMM(HMMConfig("tune", 24))
    model.fit(tunes(1), iterations=3)
    peer = reference(model)
    for tokens in tunes(2)[:5]:
        conditional = float(model.log_prob(tokens).sum()) + model.score(tokens[:1])
        assert math.isclose(conditional, peer.score(tokens[:, None]), rel_tol=1e-7)


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_an_iteration_of_baum_welch_equals_hmmlearn(batch: int) -> None:
    data = rolls(3)
    model = HMM(HMMConfig("pianoroll", 5))
    model.fit(data, iterations=1, seed=4, pseudocount=0.0, batch=batch)
    ours = [p.numpy() for p in model.parameters_of()]
    model.randomise(data, 4)
    peer = reference(model)
    peer.fit(np.concatenate(data)[:, None], [len(tokens) for tokens in data])
    for mine, other in zip(ours, (peer.startprob_, peer.transmat_, peer.emissionprob_), strict=True):
        assert np.abs(mine - other).max() < 2e-5


def test_training_never_loses_likelihood_and_finds_the_hidden_state() -> None:
    model = HMM(HMMConfig("pianoroll", 8))
    data = rolls(5, 60)
    found = [model.fit(data, iterations=n, seed=2, pseudocount=0.0)["train"] for n in (1, 2, 4, 8, 16)]
    assert found == sorted(found, reverse=True)
    held = rolls(6, 20)
    trained = model.fit(data, held, iterations=60, seed=2)["validation"]
    two = float(np.log(3) / 3)  # nats a token: one of three pairs a step of three tokens, the kind known
    assert two < trained < two + 0.25


def test_next_tokens_sum_to_one_and_steps_equal_the_whole() -> None:
    for kind, data, states in (("pianoroll", rolls, 6), ("tune", tunes, 24)):
        model = HMM(HMMConfig(kind, states))
        model.fit(data(1), iterations=2)
        tokens = data(2)[0].tolist()
        state, found = model.start(), []
        for token, following in pairwise(tokens):
            before = None if state is None else state.clone()
            log_probs, after = model.step(state, token)
            assert before is None or torch.equal(state, before)
            state = after
            assert abs(float(log_probs.exp().sum()) - 1) < 1e-9
            assert not bool((log_probs.exp() > 0)[~model.vocabulary.follow[token]].any())
            found.append(float(log_probs[following]))
        assert np.allclose(found, model.log_prob(tokens).tolist(), atol=1e-12)
        assert min(found) > -math.inf


def test_long_sequences_are_learned_in_pieces() -> None:
    long = encode_steps([[60, 64], [62, 65]] * 200)
    model = HMM(HMMConfig("pianoroll", 8))
    assert model.fit([long], iterations=40, pseudocount=0.0)["train"] < 0.4  # log 2 / 3 where the half is not known


def test_comes_back_from_a_checkpoint(tmp_path: Path) -> None:
    model = HMM(HMMConfig("pianoroll", 6))
    model.fit(rolls(1), iterations=3)
    checkpoints.save(tmp_path / "m.safetensors", model)
    loaded = checkpoints.load(tmp_path / "m.safetensors")
    assert isinstance(loaded, HMM)
    tokens = rolls(2)[0]
    assert torch.allclose(loaded.log_prob(tokens), model.log_prob(tokens), atol=0.05)  # fp16
    other = loaded.log_prob(tokens)
    loaded.load_state_dict(model.state_dict())
    assert not torch.equal(loaded.log_prob(tokens), other)


def test_bad_input_is_named() -> None:
    with pytest.raises(InputError, match="states must be positive"):
        HMMConfig(states=0)
    with pytest.raises(InputError, match="tunes need 10 or more, not 3"):
        HMM(HMMConfig("tune", 3)).fit(tunes(1))
    model = HMM(HMMConfig("pianoroll", 3))
    with pytest.raises(InputError, match="no training sequences"):
        model.fit([])
    with pytest.raises(InputError, match="iterations and batch"):
        model.fit(rolls(1), iterations=0)
    with pytest.raises(InputError, match=r"HMM.transition: expected probabilities of shape \(3, 3\)"):
        model.set_parameters(torch.ones(3), -torch.ones(3, 3), torch.ones(3, ROLL.size))
