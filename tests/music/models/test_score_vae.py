"""The VAE: its bound below the likelihood, latents that stay in use, steps that add up, and tunes from latents."""

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wavegen import checkpoints
from wavegen.errors import InputError
from wavegen.music.attributes import Key
from wavegen.music.constraint import TuneConstraint
from wavegen.music.models.vae import ScoreVAE, ScoreVAEConfig, slerp
from wavegen.music.tokens import decode, encode, encode_steps, vocabulary

SIZES = {"embedding": 24, "encoder": 24, "context": 8, "hidden": 48, "latent": 6, "particles": 8}
TUNE, ROLL = vocabulary("tune"), vocabulary("pianoroll")
FIGURES = ((72,) * 4, (77,) * 4, (74, 72, 74, 72), (67,) * 4)  # their means near C5


def toy(seed: int, bars: int = 4) -> list[int]:
    """Every two bars are one of four figures, chosen by chance: what a latent can tell and nothing else can."""
    random = np.random.default_rng(seed)
    names = ["Style_polka", "Meter_2/4", "Mode_major"]
    for k in range(bars, 0, -1):
        half = (bars - k) % 2
        if half == 0:
            figure = FIGURES[random.integers(len(FIGURES))]
        names += [f"Bar_{k}", "Chord_0:maj"]
        for pitch in figure[2 * half : 2 * half + 2]:
            names += [f"Pitch_{pitch}", "Dur_12"]
    return TUNE.tokens([*names, "End"]).tolist()


def trained(steps: int = 400) -> ScoreVAE:
    torch.manual_seed(1)
    model = ScoreVAE(ScoreVAEConfig(**SIZES, word_dropout=0.3, free=3.0))
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for step in range(steps):
        batch = torch.tensor([toy(16 * step + i) for i in range(16)])
        loss = model.losses(batch, torch.full((16,), batch.shape[1]))["total"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def model() -> ScoreVAE:
    return trained()


def untrained(kind: str = "tune", **options: int) -> ScoreVAE:
    torch.manual_seed(2)
    model = ScoreVAE(ScoreVAEConfig(kind, **{**SIZES, **options})).eval().requires_grad_(False)
    torch.nn.init.normal_(model.posterior.weight, std=0.5)
    torch.nn.init.normal_(model.output.weight, std=0.5)
    return model


def test_latents_are_in_use_and_tell_the_figure(model: ScoreVAE) -> None:
    found = model.elbo(toy(10_000))
    assert found.divergence.shape == (2, 6)
    assert bool((found.divergence >= 0).all())
    divergences = torch.cat([model.elbo(toy(10_000 + i)).divergence.sum(1) for i in range(8)])
    assert divergences.mean() > 1.0
    # Without the latent, the choice of two figures costs 2 ln 4 = 2.77 nats: it tells most of that.
    reconstruction = torch.stack([model.elbo(toy(10_000 + i)).reconstruction.sum() for i in range(8)])
    assert -float(reconstruction.mean()) < 2.2, reconstruction


def test_the_bound_lies_below_the_likelihood(model: ScoreVAE) -> None:
    gaps, estimates = [], []
    for i in range(6):
        tokens = toy(20_000 + i)
        bound, estimate = model.elbo(tokens, samples=32).total, model.importance(tokens, samples=64)
        gaps.append(estimate - bound)
        estimates.append(estimate)
        assert abs(float(model.log_prob(tokens).sum()) - model.elbo(tokens).total) < 1e-3
    assert min(gaps) > 0
    # Two figures of four, and a rest that is certain: the truth is -2 ln 4 = -2.77.
    assert -5.5 < np.mean(estimates) < -2.6, estimates


def test_importance_sampling_is_exact_where_the_latent_tells_nothing() -> None:
    model = untrained()
    for table in (model.writer.weight_ih_l0, model.opening.weight):
        table[:, -(6 + 8) :][:, :6] = 0.0
    model.opening.weight[:, :6] = 0.0
    torch.nn.init.zeros_(model.posterior.weight)
    torch.nn.init.zeros_(model.posterior.bias)
    tokens = toy(1)
    found = model.elbo(tokens)
    assert float(found.divergence.abs().max()) < 1e-9
    assert math.isclose(model.importance(tokens, 3), found.total, abs_tol=1e-4)
    state, total = model.start(), 0.0
    for token, following in pairwise(tokens):
        log_probs, state = model.step(state, token)
        total += float(log_probs[following])
    assert math.isclose(total, found.total, abs_tol=1e-3)


def roll(seed: int, steps: int = 9) -> list[int]:
    random = np.random.default_rng(seed)
    return encode_steps([random.integers(50, 70, 2).tolist() for _ in range(steps)]).tolist()


@pytest.mark.parametrize(("kind", "tokens"), [("tune", toy(3)), ("pianoroll", roll(3))])
def test_steps_are_a_mixture_over_the_prior(kind: str, tokens: list[int]) -> None:
    """Each step sums to one; a segment's steps make up the mean over particles of its probability, computed whole."""
    model = untrained(kind, bars=2, steps=4)
    state, states, found = model.start(), [], []
    for token, following in pairwise(tokens):
        log_probs, state = model.step(state, token)
        states.append(state)
        assert abs(float(log_probs.exp().sum()) - 1) < 1e-5
        assert torch.equal(log_probs > -math.inf, model.vocabulary.follow[token])
        found.append(float(log_probs[following]))
    row = torch.tensor([tokens])
    segments = model._segments(row, torch.tensor([len(tokens)]))
    assert [s.segment for s in states] == np.repeat(np.arange(len(segments.inside)), segments.inside.sum(1)).tolist()
    for number in range(len(segments.inside)):
        z = next(s for s in states if s.segment == number).condition[:, :6]
        whole = torch.stack(
            [model._reconstruction(segments, one.expand(len(segments.inside), -1))[number].sum() for one in z]
        )
        expected = float(torch.logsumexp(whole.double(), 0)) - math.log(len(z))
        steps = [f for f, s in zip(found, states, strict=True) if s.segment == number]
        assert math.isclose(sum(steps), expected, abs_tol=1e-3)


def test_the_seed_decides_what_is_drawn() -> None:
    model = untrained()

    def first(seed: int, token: str = "Style_polka") -> torch.Tensor:
        model.seed = seed
        return model.step(model.start(), TUNE.index(token))[0].exp()

    assert torch.equal(first(1), first(1))
    assert not torch.allclose(first(1), first(2), atol=1e-4)


def test_given_latents_are_followed_step_by_step(model: ScoreVAE) -> None:
    tokens = toy(5)
    z = model.encode(tokens)
    whole = model(torch.tensor([tokens[:-1]]))[0]
    state = model.start(z)
    for i, token in enumerate(tokens[:-1]):
        log_probs, state = model.step(state, token)
        if i < len(tokens) - 2:  # the last is read together with padding
            assert torch.allclose(log_probs.exp(), whole[i].exp(), atol=2e-2 if i > 20 else 1.0)
    segments = model._of(tokens)
    direct = model._written(segments, z)
    state = model.start(z)
    for place, token in enumerate(segments.inputs[0].tolist()):
        log_probs, state = model.step(state, token)
        assert torch.allclose(log_probs.exp(), direct[0, place].exp(), atol=1e-5)


def test_states_are_values(model: ScoreVAE) -> None:
    tokens = toy(6)
    state = model.start()
    for token in tokens[:9]:
        _, state = model.step(state, token)
    first, _ = model.step(state, tokens[9])
    model.step(state, TUNE.index("Dur_12"))
    assert torch.equal(first, model.step(state, tokens[9])[0])


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(0, 99))
def test_a_batch_equals_its_rows(lengths: list[int], seed: int) -> None:
    model = untrained("pianoroll", steps=4)
    rows = [roll(seed + i, n) for i, n in enumerate(lengths)]
    longest = max(map(len, rows))
    batch = torch.tensor([r + [ROLL.padding] * (longest - len(r)) for r in rows])
    segments = model._segments(batch, torch.tensor([len(r) for r in rows]))
    means = torch.cat([model.encode(r) for r in rows])
    assert torch.allclose(segments.mean, means, atol=1e-5)
    picked = model._reconstruction(segments, segments.mean).sum()
    alone = sum(float(model._reconstruction(model._of(r), model.encode(r)).sum()) for r in rows)
    assert math.isclose(float(picked), alone, rel_tol=1e-4, abs_tol=1e-3)


def test_a_tune_comes_back_from_its_latents(model: ScoreVAE) -> None:
    same = 0
    for i in range(10):
        tokens = toy(30_000 + i)
        plan = TuneConstraint(TUNE, style="polka", meter="2/4", mode="major", bars=4, cadence=None)
        same += model.decode(model.encode(tokens), plan) == tokens
    assert same >= 8


def test_interpolation_goes_from_one_tune_to_the_other(model: ScoreVAE) -> None:
    key = Key(7)
    a, b = (decode(toy(seed), key) for seed in (40_001, 40_002))
    way = model.interpolate(a, b, 5)
    assert len(way) == 5
    assert all(len(tune.bars) == 4 and tune.key == key for tune in way)

    def shared(x, y) -> float:
        return float(np.mean(np.array(encode(x)) == np.array(encode(y))))

    # a and b differ in both halves; on the way, what is a's goes and what is b's comes
    assert shared(way[0], a) > shared(way[-1], a)
    assert shared(way[-1], b) > shared(way[0], b)
    for end, tune in ((way[0], a), (way[-1], b)):
        assert encode(end).tolist() == encode(model.vary(tune, 0.0)).tolist()
    with pytest.raises(InputError, match="steps must be 2 or more"):
        model.interpolate(a, b, 1)


def test_variations_differ_as_much_as_asked(model: ScoreVAE) -> None:
    tune = decode(toy(50_001), Key(0))
    whole = encode(tune)

    def changed(amount: float) -> float:
        return float(np.mean([np.mean(encode(model.vary(tune, amount, seed)) != whole) for seed in range(8)]))

    little, much = changed(0.0), changed(1.0)
    assert little < 0.1
    assert much > little + 0.1
    assert encode(model.vary(tune, 0.5, 3)).tolist() == encode(model.vary(tune, 0.5, 3)).tolist()
    with pytest.raises(InputError, match="amount must lie from 0 to 1"):
        model.vary(tune, 1.5)


def test_without_free_bits_and_word_dropout_the_measure_sees_a_collapse() -> None:
    """An untrained posterior that ignores its segment has no divergence: the number that we bound can fail."""
    model = untrained()
    torch.nn.init.zeros_(model.posterior.weight)
    torch.nn.init.zeros_(model.posterior.bias)
    assert float(model.elbo(toy(1)).divergence.sum()) == 0.0


def test_free_bits_cost_nothing() -> None:
    model = untrained()
    batch, counts = torch.tensor([toy(1), toy(2)]), torch.tensor([len(toy(1))] * 2)
    torch.nn.init.zeros_(model.posterior.weight)
    torch.nn.init.zeros_(model.posterior.bias)
    losses = model.losses(batch, counts)
    # 4 segments, 4 free nats each, are charged in full where there is no divergence at all
    assert math.isclose(float(losses["total"] - losses["nll"]), 4 * 4.0 / float((counts - 1).sum()), rel_tol=1e-4)


def test_slerp() -> None:
    a, b = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    assert torch.allclose(slerp(a, b, 0.5), torch.full((2,), math.sqrt(0.5)))
    assert torch.allclose(slerp(a, 3 * a, 0.5), 2 * a)
    assert torch.allclose(slerp(-a, 2 * b, 1.0), 2 * b, atol=1e-6)


def test_comes_back_from_a_checkpoint(model: ScoreVAE, tmp_path: Path) -> None:
    checkpoints.save(tmp_path / "m.safetensors", model, half=False)
    loaded = checkpoints.load(tmp_path / "m.safetensors")
    assert isinstance(loaded, ScoreVAE)
    assert abs(loaded.elbo(toy(1)).total - model.elbo(toy(1)).total) < 1e-4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"latent": 0}, "latent must be positive"),
        ({"word_dropout": 1.0}, "word_dropout must lie in"),
        ({"free": -1.0}, "free must not be negative"),
    ],
)
def test_bad_sizes_are_named(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ScoreVAEConfig(**options)


def test_bad_input_is_named(model: ScoreVAE) -> None:
    with pytest.raises(InputError, match=r"latents: expected \(segments, 6\)"):
        model.start(torch.zeros(2, 5))
    with pytest.raises(InputError, match="two or more are needed"):
        model.encode([0])
    with pytest.raises(InputError, match="samples must be positive"):
        model.importance(toy(1), 0)
    assert model.log_prob([0]).shape == (0,)
