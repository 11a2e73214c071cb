"""Output distributions: likelihoods against formulas in float64, samples against brute force and probabilities."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from scipy import stats
from torch import Tensor

from wavegen.audio.torchaudio_bridge import torchaudio
from wavegen.errors import InputError, MissingDependencyError
from wavegen.vocoders.distributions import BIN, Gaussian, Logistics, MuLaw, check_sampling, distribution

NAMES = ("mulaw8", "mulaw10", "gaussian", "logistics")


def random(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def evenly(count: int, uniforms: int = 1) -> Tensor:
    """(1, count, uniforms): the centres of ``count`` equal parts of (0, 1)."""
    return ((torch.arange(count, dtype=torch.float64) + 0.5) / count)[None, :, None].expand(1, count, uniforms)


@pytest.mark.parametrize(
    ("name", "parameters", "uniforms", "offset"),
    [("mulaw8", 256, 1, 0), ("mulaw10", 1024, 1, 0), ("gaussian", 2, 1, 15 - 2.2e-5), ("logistics", 21, 2, 0)],
)
def test_sizes(name: str, parameters: int, uniforms: int, offset: float) -> None:
    d = distribution(name, 7)
    assert (d.parameters, d.uniforms) == (parameters, uniforms)
    assert d.bits_offset == pytest.approx(offset, abs=1e-6)


# Likelihoods


@pytest.mark.parametrize("log_scale", [-20.0, -9.0, -7.0, -4.0, -1.0, 1.0, 3.0])
@pytest.mark.parametrize("mean", [-1.2, -1.0, 0.0, 0.33333, 0.99999, 1.5])
def test_logistics_sum_to_one_over_all_levels(mean: float, log_scale: float) -> None:
    levels = torch.linspace(-1, 1, 65536, dtype=torch.float64)[None]
    p = torch.tensor([0.3, -1.0, mean, 0.1 - mean, log_scale, -3.0], dtype=torch.float64)
    nll = Logistics(2).nll(p[None, :, None].expand(1, 6, 65536), levels)
    assert float(torch.exp(-nll).sum()) == pytest.approx(1.0, abs=1e-9)


def naive_logistics(p: np.ndarray, y: float) -> float:
    """-log of the mass of a level's bin as equation 2 of PixelCNN++ has it, in extended precision.

    By symmetry the bin is taken to lie below the mean, where differences of small numbers are exact enough.
    """
    logits, mean, log_scale = np.asarray(p, np.longdouble).reshape(3, -1)
    scale = np.exp(np.maximum(log_scale, -9))

    def below(x: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-x / scale))

    if y < -1 + BIN / 2:
        masses = below(y + BIN / 2 - mean)
    elif y > 1 - BIN / 2:
        masses = below(mean - y + BIN / 2)
    else:
        distance = -abs(y - mean)
        masses = below(distance + BIN / 2) - below(distance - BIN / 2)
    weights = np.exp(logits - logits.max())
    return float(-np.log((weights / weights.sum() * masses).sum()))


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    level=st.one_of(st.sampled_from([0, 1, 65534, 65535]), st.integers(0, 65535)),
    mixtures=st.integers(1, 4),
)
def test_logistics_equal_the_naive_formula(seed: int, level: int, mixtures: int) -> None:
    generator = np.random.default_rng(seed)
    y = -1 + level * BIN
    p = np.concatenate(
        [
            generator.normal(0, 2, mixtures),
            np.clip(y + generator.normal(0, 0.02, mixtures), -1.1, 1.1),
            generator.uniform(-7, 1, mixtures),
        ]
    )
    expected = naive_logistics(p, y)
    d = Logistics(mixtures)
    found = float(d.nll(torch.from_numpy(p)[None, :, None], torch.tensor([[y]], dtype=torch.float64)))
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)
    single = d.nll(torch.from_numpy(p).float()[None, :, None], torch.tensor([[y]], dtype=torch.float32))
    assert float(single) == pytest.approx(expected, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_logistics_far_from_the_sample(dtype: torch.dtype) -> None:
    """Where the naive difference underflows, the tail's slope remains: finite values and gradients."""
    p = torch.tensor([0.0, -1.0, -9.0], dtype=dtype)[None, :, None].requires_grad_()
    nll = Logistics(1).nll(p, torch.tensor([[0.999]], dtype=dtype))
    # log(sigmoid(a) - sigmoid(b)) -> -b + log(1 - exp(b - a)) far right of the mean
    expected = (1.999 - BIN / 2) * math.e**9 - math.log(-math.expm1(-BIN * math.e**9))
    assert float(nll.detach()) == pytest.approx(expected, rel=1e-5)
    nll.sum().backward()
    assert p.grad is not None
    assert torch.isfinite(p.grad).all()
    assert float(p.grad[0, 1, 0]) == pytest.approx(-(math.e**9), rel=1e-4)


def test_logistics_gradients() -> None:
    y = torch.tensor([[-1.0, -0.99998, 0.01, 0.7, 1.0]], dtype=torch.float64)
    p = torch.cat([random(1, 3, 5), y[:, None] + 0.05 * random(1, 3, 5, seed=1), -3 + random(1, 3, 5, seed=2)], 1)
    assert torch.autograd.gradcheck(lambda p: Logistics(3).nll(p, y), p.requires_grad_())


def test_gaussian_equals_scipy() -> None:
    p = torch.cat([random(2, 1, 50, scale=0.2), -3 + random(2, 1, 50, seed=1, scale=3)], dim=1)
    y = random(2, 50, seed=2, scale=0.2)
    scale = np.exp(np.maximum(p[:, 1].numpy(), -9))
    expected = -stats.norm.logpdf(y.numpy(), p[:, 0].numpy(), scale)
    assert np.allclose(Gaussian().nll(p, y).numpy(), expected, rtol=1e-12)


def test_gaussian_bits_are_those_of_16_bit_samples() -> None:
    """Density times bin width is the bin's mass, summed over all levels: one."""
    levels = torch.linspace(-1, 1, 65536, dtype=torch.float64)[None]
    p = torch.tensor([0.1, -4.0], dtype=torch.float64)[None, :, None].expand(1, 2, 65536)
    bits = Gaussian().nll(p, levels) / math.log(2) + Gaussian().bits_offset
    assert float(torch.exp2(-bits).sum()) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("classes", [256, 1024])
def test_mulaw_is_cross_entropy(classes: int) -> None:
    d = MuLaw(classes)
    logits = random(2, classes, 9, scale=3)
    samples = d.waveform(torch.arange(18, dtype=torch.float64).reshape(2, 9) * 7)
    expected = -torch.log_softmax(logits, 1).gather(1, (torch.arange(18).reshape(2, 1, 9) * 7))[:, 0]
    assert torch.allclose(d.nll(logits, samples), expected, rtol=1e-12)


# Values


@pytest.mark.parametrize("classes", [256, 1024])
def test_mulaw_equals_torchaudio(classes: int) -> None:
    try:
        functional = torchaudio().functional
    except MissingDependencyError:
        pytest.skip("torchaudio is not installed")
    d = MuLaw(classes)
    samples = torch.cat([torch.linspace(-1, 1, 65536), random(1000, scale=0.01).float()])[None]
    assert torch.equal(d.value(samples), functional.mu_law_encoding(samples, classes).float())
    values = torch.arange(classes)[None]
    assert torch.equal(d.waveform(values.float()), functional.mu_law_decoding(values, classes))


@pytest.mark.parametrize("classes", [256, 1024])
def test_mulaw_round_trip(classes: int) -> None:
    """A class stands for a sample that it encodes; at most half a class's width is lost, in companded terms."""
    d = MuLaw(classes)
    values = torch.arange(classes, dtype=torch.float32)[None]
    samples = d.waveform(values)
    assert torch.equal(d.value(samples), values)
    assert samples[0, 0] == -1.0
    assert samples[0, -1] == pytest.approx(1.0, abs=1e-6)
    assert d.value(torch.zeros(1, 1)) == classes // 2
    assert (samples[0, 1:] > samples[0, :-1]).all()
    y = torch.linspace(-1, 1, 9999, dtype=torch.float64)[None]
    lost = (d.waveform(d.value(y)) - y).abs()
    slope = math.log(classes) / (classes - 1) * (1 / (classes - 1) + y.abs().clamp(min=d.waveform(d.value(y)).abs()))
    assert (lost <= slope * 1.0001).all()


@pytest.mark.parametrize("name", ["gaussian", "logistics"])
def test_samples_are_their_own_values(name: str) -> None:
    y = random(2, 5)
    assert distribution(name).value(y) is y
    assert distribution(name).waveform(y) is y


# Sampling from a softmax


def brute_force(logits: np.ndarray, u: float, temperature: float, top_k: int, top_p: float) -> int:
    p = np.exp((logits - logits.max()) / temperature)
    p = p / p.sum()
    order = sorted(range(len(p)), key=lambda c: (-p[c], c))
    kept = order[:top_k] if top_k else order
    if top_p < 1:
        mass, total, prefix = 0.0, sum(p[c] for c in kept), []
        for c in kept:
            prefix.append(c)
            mass += p[c]
            if mass / total >= top_p:
                break
        kept = prefix
    total, mass = sum(p[c] for c in kept), 0.0
    for c in sorted(kept):
        mass += p[c]
        if mass > u * total:
            return c
    raise AssertionError


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    u=st.floats(1e-6, 1 - 1e-6),
    temperature=st.floats(0.05, 3),
    top_k=st.sampled_from([0, 1, 2, 5, 50, 255, 256, 1000]),
    top_p=st.floats(0.01, 1),
    ties=st.booleans(),
)
def test_softmax_equals_brute_force(
    seed: int, u: float, temperature: float, top_k: int, top_p: float, ties: bool
) -> None:
    logits = np.random.default_rng(seed).normal(0, 2, 256)
    if ties:
        logits = np.round(logits)
    found = MuLaw(256).sample(
        torch.from_numpy(logits)[None, :, None], torch.tensor([[[u]]], dtype=torch.float64), temperature, top_k, top_p
    )
    expected = brute_force(logits, u, temperature, top_k, top_p)
    if int(found) != expected:  # only where u or top_p falls on a boundary to within rounding
        near = [brute_force(logits, u, temperature, top_k, max(0.0, top_p + e)) for e in (-1e-9, 1e-9)]
        near += [brute_force(logits, u + e, temperature, top_k, top_p) for e in (-1e-9, 1e-9)]
        assert int(found) in near


def planted(masses: dict[int, float]) -> Tensor:
    """Logits (1, 256, 1) whose softmax has the given masses, and exactly 0 elsewhere."""
    logits = torch.full((256,), -torch.inf, dtype=torch.float64)
    for c, mass in masses.items():
        logits[c] = math.log2(mass) * math.log(2)
    return logits[None, :, None]


@pytest.mark.parametrize(
    ("u", "top_k", "top_p", "expected"),
    [
        (1e-300, 0, 1.0, 3),  # classes 0 to 2 have no mass
        (0.2499, 0, 1.0, 3),
        (0.2501, 0, 1.0, 100),
        (0.7499, 0, 1.0, 100),
        (0.7501, 0, 1.0, 200),
        (1 - 1e-16, 0, 1.0, 200),  # never a class after the last with mass
        (0.999, 1, 1.0, 100),
        (0.3, 2, 1.0, 3),  # 3 and 200 tie: the lower class is kept, with 1/3 of the mass
        (0.34, 2, 1.0, 100),
        (0.999, 0, 0.49, 100),
        (0.34, 0, 0.6, 100),
        (0.3, 0, 0.6, 3),
        (0.76, 0, 0.8, 200),
        (0.999, 2, 0.6, 100),  # of the kept two thirds and a third, the first is enough
        (0.999, 0, 1e-9, 100),  # at least one
    ],
)
def test_softmax_edges(u: float, top_k: int, top_p: float, expected: int) -> None:
    logits = planted({3: 0.25, 100: 0.5, 200: 0.25})
    uniform = torch.tensor([[[u]]], dtype=torch.float64)
    assert int(MuLaw(256).sample(logits, uniform, 1.0, top_k, top_p)) == expected


def test_softmax_at_temperature_0_takes_the_first_of_the_likeliest() -> None:
    logits = torch.zeros(1, 256, 3)
    logits[0, [7, 9], 0] = 2.0
    logits[0, 255, 1] = 1e-6
    found = MuLaw(256).sample(logits, torch.full((1, 3, 1), 0.999), 0.0)
    assert found.tolist() == [[7, 255, 0]]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("temperature", [1e-38, 1e-12])
def test_the_coldest_temperatures_equal_0(name: str, temperature: float) -> None:
    d = distribution(name, 3)
    p = random(2, d.parameters, 20, scale=0.5).float()
    uniforms = torch.rand(2, 20, d.uniforms, generator=torch.Generator().manual_seed(1)).clamp(1e-6, 1 - 1e-6)
    assert torch.allclose(d.sample(p, uniforms, temperature), d.sample(p, uniforms, 0.0), atol=1e-9)


@pytest.mark.parametrize("u", [1 - 2**-24, 2**-149])
def test_largest_and_smallest_float32_uniforms(u: float) -> None:
    """Rounding cannot push the draw beyond the last class that has mass, nor before the first."""
    logits = random(64, 1024, 4, scale=2).float()
    logits[:, [0, 1, -2, -1]] = -torch.inf
    found = MuLaw(1024).sample(logits, torch.full((64, 4, 1), u))
    assert (found == 2).all() if u < 0.5 else ((found > 1000) & (found <= 1021)).all()


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"), [(1.0, 0, 1.0), (0.7, 0, 1.0), (1.3, 40, 1.0), (1.0, 0, 0.8)]
)
def test_softmax_frequencies(temperature: float, top_k: int, top_p: float) -> None:
    """Random uniforms: a chi-square test against the kept, renormalised probabilities."""
    logits = random(256, scale=1.5, seed=5).numpy()
    p = np.exp((logits - logits.max()) / temperature)
    order = np.argsort(-p)
    keep = np.zeros(256)
    keep[order[: top_k or 256]] = 1
    p = p / p.sum() * keep
    if top_p < 1:
        keep[order[int(np.searchsorted(np.cumsum(p[order]), top_p)) + 1 :]] = 0
        p = p * keep
    p = p / p.sum()
    count = 40000
    uniforms = torch.rand(1, count, 1, generator=torch.Generator().manual_seed(3)).clamp(1e-7, 1 - 1e-7)
    values = MuLaw(256).sample(
        torch.from_numpy(logits).float()[None, :, None].expand(1, 256, count), uniforms, temperature, top_k, top_p
    )
    found = np.bincount(values[0].long().numpy(), minlength=256)
    assert found[p == 0].sum() == 0
    often = p * count >= 5
    expected = np.append(p[often], p[~often].sum()) * count
    observed = np.append(found[often], found[~often].sum())
    chi = ((observed - expected) ** 2 / np.maximum(expected, 1e-9)).sum()
    assert chi < stats.chi2.ppf(0.9999, often.sum())


# Sampling from densities


def test_gaussian_quantiles() -> None:
    """Evenly spread uniforms give the distribution's quantiles; temperature scales the deviation from the mean."""
    count = 999
    p = torch.tensor([0.1, math.log(0.05)], dtype=torch.float64)[None, :, None].expand(1, 2, count)
    y = Gaussian().sample(p, evenly(count), 0.8)[0].numpy()
    assert np.allclose(stats.norm.cdf(y, 0.1, 0.04), evenly(count)[0, :, 0].numpy(), atol=1e-12)
    assert np.allclose(Gaussian().sample(p, evenly(count), 0.0).numpy(), 0.1, atol=0)


def test_logistics_quantiles_and_components() -> None:
    d = Logistics(3)
    p = torch.tensor([math.log(0.2), math.log(0.5), math.log(0.3), -0.5, 0.0, 0.5, -3, -4, -20], dtype=torch.float64)
    count = 500
    second = evenly(count)[..., 0]
    for first, mean, scale in ((0.1999, -0.5, -3), (0.2001, 0, -4), (0.6999, 0, -4), (0.7001, 0.5, -9)):
        uniforms = torch.stack([torch.full_like(second, first), second], dim=-1)
        y = d.sample(p[None, :, None].expand(1, 9, count), uniforms)[0].numpy()
        assert np.allclose(stats.logistic.cdf(y, mean, math.exp(scale)), second[0].numpy(), atol=1e-9)
    uniforms = torch.tensor([[[0.999, 0.999]]], dtype=torch.float64)
    assert float(d.sample(p[None, :, None], uniforms, 0.0)) == 0.0  # the mean of the likeliest component
    sharp = d.sample(p[None, :, None], torch.tensor([[[0.15, 0.5]]], dtype=torch.float64), 0.25)
    assert float(sharp) == 0.0  # the fourth power of its weight leaves the first component 0.0016 / 0.0722


def test_logistics_samples_follow_their_likelihood() -> None:
    """A histogram of 100,000 samples against the masses that ``nll`` gives to 64 bins."""
    d = Logistics(3)
    p = torch.tensor([0.0, 0.5, -1.0, -0.3, 0.05, 0.98, -3.0, -2.0, -2.5], dtype=torch.float64)[None, :, None]
    generator = torch.Generator().manual_seed(2)
    uniforms = torch.rand(1, 100000, 2, generator=generator, dtype=torch.float64).clamp(1e-9, 1 - 1e-9)
    y = d.sample(p.expand(1, 9, 100000), uniforms)[0]
    assert y.abs().max() == 1.0  # the tails are clamped
    levels = torch.linspace(-1, 1, 65536, dtype=torch.float64)
    masses = torch.exp(-d.nll(p.expand(1, 9, 65536), levels[None]))[0].reshape(64, -1).sum(dim=1).numpy()
    places = torch.round((y + 1) / BIN).long() // 1024
    found = np.bincount(places.numpy(), minlength=64)
    assert masses.sum() == pytest.approx(1.0)
    chi = ((found - masses * 1e5) ** 2 / (masses * 1e5)).sum()
    assert masses.min() * 1e5 > 5
    assert chi < stats.chi2.ppf(0.9999, 63)


@pytest.mark.parametrize("name", ["gaussian", "logistics"])
def test_samples_stay_within_full_scale(name: str) -> None:
    d = distribution(name, 2)
    p = torch.full((1, d.parameters, 4), 3.0)
    uniforms = torch.tensor([1e-30, 0.3, 0.7, 1 - 2**-24])[None, :, None].expand(1, 4, d.uniforms)
    assert torch.equal(d.sample(p, uniforms), d.sample(p, uniforms).clamp(-1, 1))
    assert torch.equal(d.sample(-p, uniforms, 0.0), torch.full((1, 4), -1.0))


@pytest.mark.parametrize("name", NAMES)
def test_items_of_a_batch_are_sampled_alone(name: str) -> None:
    d = distribution(name, 4)
    p = random(3, d.parameters, 5).float()
    uniforms = torch.rand(3, 5, d.uniforms, generator=torch.Generator().manual_seed(0)).clamp(1e-6, 1 - 1e-6)
    whole = d.sample(p, uniforms)
    assert whole.shape == (3, 5)
    assert whole.dtype == torch.float32
    assert torch.equal(whole[1:2, 3:4], d.sample(p[1:2, :, 3:4], uniforms[1:2, 3:4]))
    assert d.sample(p, uniforms.double()).dtype == torch.float64
    assert d.sample(p[..., :0], uniforms[:, :0]).shape == (3, 0)


# Bad input


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": -0.1}, "temperature must be 0 or more and finite, not -0.1"),
        ({"temperature": math.nan}, "temperature"),
        ({"temperature": math.inf}, "temperature"),
        ({"top_k": -1}, "top_k must be 0"),
        ({"top_p": 0.0}, r"top_p must lie in \(0, 1\], not 0.0"),
        ({"top_p": 1.01}, "top_p"),
        ({"top_p": math.nan}, "top_p"),
    ],
)
def test_bad_settings(settings: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        MuLaw(256).sample(torch.zeros(1, 256, 2), torch.full((1, 2, 1), 0.5), **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["gaussian", "logistics"])
@pytest.mark.parametrize(("top_k", "top_p"), [(5, 1.0), (0, 0.9)])
def test_densities_have_no_classes_to_choose_from(name: str, top_k: int, top_p: float) -> None:
    d = distribution(name, 1)
    with pytest.raises(InputError, match="top_k and top_p choose among classes"):
        d.sample(torch.zeros(1, d.parameters, 2), torch.full((1, 2, d.uniforms), 0.5), 1.0, top_k, top_p)
    check_sampling(1.0, top_k, top_p, softmax=True)


@pytest.mark.parametrize(
    ("parameters", "uniforms", "message"),
    [
        ((1, 255, 2), (1, 2, 1), r"parameters must be \(batch, 256, time\), not \(1, 255, 2\)"),
        ((256, 2), (1, 2, 1), "parameters must be"),
        ((1, 256, 2), (1, 2, 2), r"uniforms must be \(1, 2, 1\), not \(1, 2, 2\)"),
        ((1, 256, 2), (1, 2), "uniforms must be"),
        ((2, 256, 2), (1, 2, 1), "uniforms must be"),
    ],
)
def test_bad_shapes(parameters: tuple[int, ...], uniforms: tuple[int, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        MuLaw(256).sample(torch.zeros(parameters), torch.full(uniforms, 0.5))


@pytest.mark.parametrize("u", [0.0, 1.0, -0.5, math.nan])
def test_uniforms_out_of_range(u: float) -> None:
    with pytest.raises(InputError, match="uniforms must lie in the open interval"):
        Gaussian().sample(torch.zeros(1, 2, 1), torch.full((1, 1, 1), u))


def test_bad_names() -> None:
    with pytest.raises(InputError, match="output must be one of mulaw8, mulaw10, gaussian, logistics, not 'mulaw9'"):
        distribution("mulaw9")
    with pytest.raises(InputError, match="mixtures must be positive, not 0"):
        distribution("logistics", 0)
