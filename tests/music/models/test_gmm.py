"""Gaussian mixtures: their densities against scipy's, normalisation, and what they learn."""

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from wavegen import checkpoints
from wavegen.errors import InputError
from wavegen.music.models.gmm import GMM, Context, GMMConfig, numbers, token_numbers
from wavegen.music.tokens import encode_steps, vocabulary

ROLL, TUNE = vocabulary("pianoroll"), vocabulary("tune")


def rolls(seed: int, count: int = 12) -> list[np.ndarray]:
    """Parallel thirds that move by step: the note above follows from the note below."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        walk = 60 + np.cumsum(random.integers(-1, 2, 20))
        found.append(encode_steps([[int(p), int(p) + 4] for p in walk]))
    return found


def tunes(seed: int, count: int = 12) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        names = ["Style_jig", "Meter_6/8", "Mode_major"]
        for k in range(8, 0, -1):
            names += [f"Bar_{k}", f"Chord_{random.choice([0, 5, 7])}:maj"]
            for _ in range(2):
                names += [f"Pitch_{random.choice([60, 62, 64, 67])}", "Dur_18"]
        found.append(TUNE.tokens([*names, "End"]))
    return found


@pytest.fixture(scope="module")
def roll_model() -> GMM:
    model = GMM(GMMConfig("pianoroll", 3))
    model.fit(rolls(1), iterations=20)
    return model


@pytest.fixture(scope="module")
def tune_model() -> GMM:
    model = GMM(GMMConfig("tune", 3))
    model.fit(tunes(1), iterations=20)
    return model


def test_equals_the_densities_written_out(tune_model: GMM) -> None:
    """After a duration: each family by the marginal density of the context, a token by its conditional density."""
    model, tokens = tune_model, tunes(2)[0][:8].tolist()
    state, context = model.start(), Context()
    for token in tokens[:-1]:
        log_probs, state = model.step(state, token)
        context = context.after(token, TUNE)
    assert TUNE.families[tokens[6]] == "Dur"
    at = numbers(context, TUNE)
    scores = np.full(TUNE.size, -np.inf)
    for i, (before, options) in enumerate(model.pairs):
        if before != "Dur":
            continue
        prior, centre, scale, weight, mean, factor = (
            model.get_buffer(f"{name}{i}").double().numpy()
            for name in ("prior", "centre", "scale", "weight", "mean", "factor")
        )
        given = len(at)
        marginal, joint = [], []
        values = [np.array(token_numbers(TUNE, int(t))) for t in options]
        for w, m, f in zip(np.exp(weight), mean, factor, strict=True):
            covariance = np.linalg.inv(f @ f.T) * np.outer(scale, scale)
            at_mean = centre + scale * m
            inner = multivariate_normal(at_mean[:given], covariance[:given, :given], allow_singular=True)
            marginal.append(math.log(w) + inner.logpdf(at))
            whole = multivariate_normal(at_mean, covariance, allow_singular=True)
            joint.append([math.log(w) + whole.logpdf(np.concatenate([at, y])) for y in values])
        total = logsumexp(joint, axis=0)
        scores[options] = prior + logsumexp(marginal) + total - logsumexp(total)
    allowed = TUNE.table[tokens[6]]
    expected = 0.999 * np.exp(scores - logsumexp(scores)) + 0.001 * allowed / allowed.sum()
    assert np.abs(log_probs.exp().numpy() - expected).max() < 1e-6


def test_sums_to_one_and_steps_equal_the_whole(roll_model: GMM, tune_model: GMM) -> None:
    for model, data in ((roll_model, rolls(3)), (tune_model, tunes(3))):
        tokens = data[0].tolist()
        state, found = model.start(), []
        for token, following in pairwise(tokens):
            log_probs, state = model.step(state, token)
            assert abs(float(log_probs.exp().sum()) - 1) < 1e-9
            assert torch.equal(log_probs > -math.inf, model.vocabulary.follow[token])
            found.append(float(log_probs[following]))
        assert np.allclose(found, model.log_prob(tokens).tolist())


def test_unseen_contexts_keep_a_chance(roll_model: GMM, tune_model: GMM) -> None:
    strange = TUNE.tokens(["Style_reel", "Meter_7/8", "Mode_minor", "Bar_32", "Chord_6:dim", "Rest", "Dur_1", "End"])
    assert float(tune_model.log_prob(strange).min()) > math.log(1e-3 / TUNE.size) - 1e-6
    top = encode_steps([[21, 108], [], [108]])
    assert float(roll_model.log_prob(top).min()) > math.log(1e-3 / ROLL.size) - 1e-6


def test_what_follows_from_the_context_is_learned() -> None:
    model = GMM(GMMConfig("pianoroll", 6))
    found = model.fit(rolls(1, 60), rolls(2, 10))["validation"]
    # Of three tokens one is a choice of three; the others follow. Equal chances are ln 89 = 4.5 at first.
    assert math.log(3) / 3 < found < math.log(3) / 3 + 0.3


def test_in_tunes_the_bar_is_kept(tune_model: GMM) -> None:
    tokens = tunes(5)[0]
    families = np.array(TUNE.families)[tokens]
    found = tune_model.log_prob(tokens).numpy()
    assert found[families[1:] == "Bar"].mean() > -0.7  # 8 bars to tell apart: ln 8 = 2.1
    assert found[families[1:] == "Dur"].min() > -0.1
    pitches = found[families[1:] == "Pitch"].mean()
    assert -2.8 < pitches < -1.2  # a choice of four is 1.39, of all 61 it is 4.1


def test_states_are_values(tune_model: GMM) -> None:
    tokens = tunes(6)[0].tolist()
    state = tune_model.start()
    for token in tokens[:6]:
        _, state = tune_model.step(state, token)
    first, _ = tune_model.step(state, tokens[6])
    tune_model.step(state, TUNE.index("Dur_3"))
    assert torch.equal(first, tune_model.step(state, tokens[6])[0])


def test_comes_back_from_a_checkpoint(tune_model: GMM, tmp_path: Path) -> None:
    checkpoints.save(tmp_path / "m.safetensors", tune_model)
    loaded = checkpoints.load(tmp_path / "m.safetensors")
    assert isinstance(loaded, GMM)
    assert loaded.config == tune_model.config
    ours, theirs = (float(m.log_prob(tunes(7)[0]).mean()) for m in (tune_model, loaded))
    assert abs(ours - theirs) < 0.02  # fp16


def test_bad_input_is_named() -> None:
    with pytest.raises(InputError, match="components must be positive"):
        GMMConfig(components=0)
    with pytest.raises(InputError, match="counts must hold"):
        GMM(GMMConfig(counts=(1, 2)))
    model = GMM(GMMConfig("pianoroll"))
    with pytest.raises(InputError, match="learned nothing yet"):
        model.log_prob(rolls(1)[0])
    with pytest.raises(InputError, match="two tokens or more"):
        model.fit([])
