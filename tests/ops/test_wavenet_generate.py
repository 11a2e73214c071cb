"""WaveNet's generation on the CPU against its references: every output, precision and instruction set; bad input.

That generation equals the reference sample for sample is shown by induction: at each sample the reference, in float64
and given the values that the kernels themselves made before it, must choose the same value from the same uniform.
"""

import dataclasses
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor
from torch.nn import functional as F

from wavegen.audio.features import FeatureSpec
from wavegen.errors import InputError
from wavegen.ops import INSTRUCTION_SETS, extension
from wavegen.ops.wavenet import PRECISIONS, PackedWaveNet, ReferenceWaveNet, WaveNetWeights
from wavegen.vocoders.distributions import Distribution, MuLaw, distribution
from wavegen.vocoders.wavenet import Sampling, WaveNet, WaveNetConfig

OUTPUTS = ("mulaw8", "mulaw10", "gaussian", "logistics")
MIXTURES = 3
OFFERED = tuple(name for name in INSTRUCTION_SETS if extension().offers(name))
MAX_DILATION = 1 << 20
MARGIN = 1e-5  # of probability; what a uniform keeps from the bounds of a class once it is settled


@pytest.fixture(autouse=True)
def _chosen_instruction_set() -> Iterator[None]:
    """Whatever a test switches to, the next one begins with the machine's own choice, and with one thread."""
    chosen, threads = extension().instruction_set(), torch.get_num_threads()
    yield
    extension().use_instruction_set(chosen)
    torch.set_num_threads(threads)


@pytest.fixture(params=OFFERED)
def instructions(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    extension().use_instruction_set(name)
    return name


# Networks, and what they are fed


def network(
    output: str = "mulaw8",
    sizes: tuple[int, int, int, int] = (20, 12, 40, 33),
    dilations: tuple[int, ...] = (1, 2, 3),
    width: int = 2,
    hop: int = 5,
    seed: int = 7,
) -> WaveNetWeights:
    """Random weights at a scale where every part of the network matters, whatever its sizes and depth."""
    residual, gate, skip, head = sizes
    layers, draw = len(dilations), torch.Generator().manual_seed(seed)
    classes = {"mulaw8": 256, "mulaw10": 1024}.get(output, 0)
    outputs = classes or {"gaussian": 2, "logistics": 3 * MIXTURES}[output]

    def normal(*shape: int, scale: float) -> Tensor:
        return torch.randn(shape, generator=draw) * scale

    head2_bias = normal(outputs, scale=0.2)
    if output == "gaussian":
        head2_bias[1] -= 1.5
    if output == "logistics":
        head2_bias[2 * MIXTURES :] -= 2.0
    return WaveNetWeights(
        input=normal(classes or 2, residual, scale=0.7 if classes else 1.5),
        dilated=normal(layers, 2 * gate, residual, width, scale=1.3 / (residual * width) ** 0.5),
        dilated_bias=normal(layers, 2 * gate, scale=0.3),
        residual=normal(layers - 1, residual, gate, scale=(4 / (gate * layers)) ** 0.5),
        residual_bias=normal(layers - 1, residual, scale=0.1),
        skip=normal(skip, layers * gate, scale=(4 / (gate * layers)) ** 0.5),
        skip_bias=normal(skip, scale=0.2),
        head1=normal(head, skip, scale=1.5 / skip**0.5),
        head1_bias=normal(head, scale=0.2),
        head2=normal(outputs, head, scale=(2.0 if classes else 0.4) / head**0.5),
        head2_bias=head2_bias,
        interpolation=normal(3, hop, scale=0.5),
        dilations=dilations,
        output=output,
    )


@dataclasses.dataclass(frozen=True)
class Feed:
    """Conditioning (streams, frames, layers, 2 gate) from the frame before the first on, uniforms (streams, T, U)."""

    conditioning: Tensor
    uniforms: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        return self.uniforms.shape[0], self.uniforms.shape[1]

    def part(self, packed: PackedWaveNet, start: int, stop: int) -> "Feed":
        """Samples start … stop - 1, with the frames that a call for them takes."""
        low, high = packed.frames(start, stop - start)
        return Feed(self.conditioning[:, low + 1 : high + 1], self.uniforms[:, start:stop])

    def of(self, streams: Any) -> "Feed":
        return Feed(self.conditioning[streams], self.uniforms[streams])


def feed(weights: WaveNetWeights, streams: int, samples: int, seed: int = 0) -> Feed:
    draw = torch.Generator().manual_seed(seed)
    layers, twice = weights.dilated_bias.shape
    frames = (samples - 1) // weights.interpolation.shape[1] + 3
    uniforms = 2 if weights.output == "logistics" else 1
    return Feed(
        0.7 * torch.randn((streams, frames, layers, twice), generator=draw),
        torch.rand((streams, samples, uniforms), generator=draw).clamp(2**-24, 1 - 2**-24),
    )


def distribution_of(weights: WaveNetWeights) -> Distribution:
    return distribution(weights.output, weights.head2_bias.numel() // 3)


def random_values(weights: WaveNetWeights, streams: int, samples: int, seed: int = 1) -> Tensor:
    """Values to force: classes, or samples."""
    draw = torch.Generator().manual_seed(seed)
    if weights.output.startswith("mulaw"):
        return torch.randint(0, weights.head2_bias.numel(), (streams, samples), generator=draw).float()
    return torch.rand((streams, samples), generator=draw) * 1.6 - 0.8


def whole(packed: PackedWaveNet, f: Feed, **settings: Any) -> tuple[Tensor, Tensor]:
    """Values and parameters of one call from the first sample on."""
    return packed.generate(packed.state(f.shape[0]), f.conditioning, f.uniforms, **settings)


# References


def fed_back(weights: WaveNetWeights, values: Tensor) -> Tensor:
    """What stands before each sample: the values one sample late, silence first."""
    silence = weights.head2_bias.numel() // 2 if weights.output.startswith("mulaw") else 0
    return F.pad(values[:, :-1], (1, 0), value=float(silence))


def plain(x: Tensor, peak: float | None = None) -> Tensor:
    return x


def to_bf16(x: Tensor, peak: float | None = None) -> Tensor:
    return x.bfloat16().to(x.dtype)


def to_int16(x: Tensor, peak: float | None = None) -> Tensor:
    """Rounded to 32767ths of the largest magnitude of each vector, or of ``peak``."""
    largest = x.abs().amax(dim=-1, keepdim=True) if peak is None else torch.tensor(peak, dtype=x.dtype)
    unit = largest.clamp(min=1e-30) / 32767
    return (x / unit).round() * unit


def to_int8(matrix: Tensor) -> Tensor:
    """What int8 weights with one scale a row, the last axis but one, are worth."""
    scale = matrix.abs().amax(dim=-1, keepdim=True).clamp(min=1e-30) / 127
    return (matrix / scale).round() * scale


def in_parallel(
    weights: WaveNetWeights,
    values: Tensor,
    conditioning: Tensor,
    dtype: torch.dtype = torch.float64,
    rounded: Callable[..., Tensor] = plain,
    rounded_weights: Callable[[Tensor], Tensor] = plain,
) -> Tensor:
    """Parameters (streams, T, O) at every sample, given all values: convolutions over the whole, layer by layer.

    ``rounded`` is applied to whatever enters a product, ``rounded_weights`` to the matrix it is multiplied with.
    """
    w = {f.name: getattr(weights, f.name) for f in dataclasses.fields(weights)}
    w = {name: t.to(dtype) for name, t in w.items() if isinstance(t, Tensor)}
    samples, before = values.shape[1], fed_back(weights, values)

    def product(x: Tensor, matrix: Tensor, peak: float | None = None) -> Tensor:
        return rounded(x, peak) @ rounded_weights(matrix).T

    if weights.output.startswith("mulaw"):
        x = w["input"][before.long()]
    else:
        x = before[..., None].to(dtype) * w["input"][0] + w["input"][1]
    gate, width, outs = w["dilated"].shape[1] // 2, w["dilated"].shape[3], []
    for layer, dilation in enumerate(weights.dilations):
        frames = conditioning[:, :, layer].to(dtype).unfold(1, 3, 1) @ w["interpolation"]  # (B, frames, 2G, hop)
        a = frames.transpose(2, 3).flatten(1, 2)[:, :samples] + w["dilated_bias"][layer]
        for tap in range(width):
            late = min((width - 1 - tap) * dilation, samples)
            a = a + product(F.pad(x, (0, 0, late, 0))[:, :samples], w["dilated"][layer, :, :, tap])
        z = torch.tanh(a[..., :gate]) * torch.sigmoid(a[..., gate:])
        outs.append(z)
        if layer + 1 < len(weights.dilations):
            x = x + product(z, w["residual"][layer], 1.0) + w["residual_bias"][layer]
    s = torch.relu(product(torch.cat(outs, dim=-1), w["skip"], 1.0) + w["skip_bias"])
    h = torch.relu(product(s, w["head1"]) + w["head1_bias"])
    outputs: Tensor = product(h, w["head2"]) + w["head2_bias"]
    return outputs


def step_by_step(weights: WaveNetWeights, values: Tensor, conditioning: Tensor, dtype: torch.dtype) -> Tensor:
    """Parameters (streams, T, O) by ReferenceWaveNet, given all values."""
    reference = ReferenceWaveNet(weights, values.shape[0], dtype)
    upsampled, before = reference.condition(conditioning), fed_back(weights, values)
    steps = [reference.step(before[:, t], upsampled[t], t) for t in range(values.shape[1])]
    return torch.stack(steps, dim=1)


def free_running(weights: WaveNetWeights, f: Feed, **sampling: Any) -> Tensor:
    """Values (streams, T) that ReferenceWaveNet makes in float64 from its own."""
    reference, d = ReferenceWaveNet(weights, f.shape[0], torch.float64), distribution_of(weights)
    upsampled, uniforms = reference.condition(f.conditioning), f.uniforms.double()
    values = fed_back(weights, torch.zeros(f.shape[0], 1, dtype=torch.float64))
    for t in range(f.shape[1]):
        parameters = reference.step(values[:, -1], upsampled[t], t)
        values = torch.cat([values, d.sample(parameters[..., None], uniforms[:, t : t + 1], **sampling)], dim=1)
    return values[:, 1:]


def settled(parameters: Tensor, chosen: Tensor, uniforms: Tensor, d: Distribution) -> Tensor:
    """Uniforms (streams, T) again, where those within MARGIN of another class go to the middle of the chosen one.

    parameters (streams, T, classes) in float64. A class too narrow for that gives way to the likeliest.
    """
    p = torch.softmax(parameters, dim=-1)
    upper = p.cumsum(dim=-1)
    wide = p.gather(-1, chosen[..., None])[..., 0] > 4 * MARGIN
    aim = torch.where(wide, chosen, p.argmax(dim=-1))[..., None]
    high, own = upper.gather(-1, aim)[..., 0], p.gather(-1, aim)[..., 0]
    # cumulative sums end at 1 and begin at 0: beyond these lies no other class
    inner = upper[..., :-1]
    near = ((inner - uniforms[..., None].double()).abs() < MARGIN).any(dim=-1)
    return torch.where(near, (high - own / 2).float(), uniforms)


def distinct(values: Tensor) -> list[float]:
    """Every value once, from the smallest on."""
    return sorted(set(values.flatten().tolist()))


def by_induction(weights: WaveNetWeights, packed: PackedWaveNet, f: Feed) -> tuple[Feed, Tensor]:
    """Asserts that generation makes at each sample what the reference makes, and returns the feed that was settled.

    Uniforms that lie where the last bit of a float decides are moved first, and generation is run anew with these.
    """
    d, uniforms = distribution_of(weights), f.uniforms
    for _ in range(30):
        values, _ = whole(packed, Feed(f.conditioning, uniforms))
        parameters = in_parallel(weights, values, f.conditioning)
        expected = d.sample(parameters.transpose(1, 2), uniforms.double())
        if weights.output == "gaussian":
            break
        if isinstance(d, MuLaw):
            moved = settled(parameters, expected.long(), uniforms[..., 0], d)[..., None]
        else:
            logits = parameters[..., :MIXTURES]
            component = (torch.softmax(logits, -1).cumsum(-1) > uniforms[..., :1]).int().argmax(-1)
            moved = torch.stack([settled(logits, component, uniforms[..., 0], d), uniforms[..., 1]], dim=-1)
        if torch.equal(moved, uniforms):
            break
        uniforms = moved
    else:
        pytest.fail("the uniforms do not settle")
    if isinstance(d, MuLaw):
        assert torch.equal(values.double(), expected)
        assert len(distinct(values)) > min(values.numel(), 200) / 10
    else:
        assert (values - expected).abs().max() <= 2e-5
        assert values.numel() < 20 or (values.abs() < 1).double().mean() > 0.5
    return Feed(f.conditioning, uniforms), values


# Values


CASES: dict[str, tuple[str, int, tuple[int, int, int, int], tuple[int, ...], int, int, int]] = {
    # output, width, (residual, gate, skip, head), dilations, streams, samples, hop
    "one of each": ("mulaw8", 2, (1, 1, 1, 1), (1,), 1, 1, 1),
    "one of each, many streams": ("gaussian", 3, (1, 1, 1, 1), (2, 1), 17, 129, 5),
    "one layer": ("logistics", 2, (16, 24, 3, 64), (7,), 3, 129, 16),
    "as the recipes have it": ("mulaw8", 2, (64, 64, 256, 256), (1, 2, 4, 8, 16, 32), 1, 1001, 256),
    "wide": ("mulaw8", 3, (128, 192, 64, 128), (1, 5, 3), 5, 129, 16),
    "wider": ("mulaw10", 2, (256, 128, 192, 256), (3, 1), 2, 129, 256),
    "wide skip": ("mulaw10", 3, (24, 16, 256, 3), (1, 6, 36), 4, 129, 5),
    "narrow skip": ("gaussian", 2, (192, 64, 1, 16), (9, 2, 4), 8, 129, 16),
    "narrow stream": ("gaussian", 3, (3, 256, 128, 24), (4, 1, 11, 2), 2, 1001, 256),
    "narrow gate": ("logistics", 3, (64, 3, 24, 192), (13, 1, 1, 500), 16, 129, 16),
    "thirty layers": ("logistics", 2, (24, 16, 64, 64), tuple(2 ** (i % 10) for i in range(30)), 1, 1001, 256),
    "thirty layers, three taps": ("mulaw8", 3, (16, 16, 24, 16), tuple(1 + i for i in range(30)), 3, 129, 5),
    "dilations beyond the whole": ("mulaw10", 2, (16, 24, 16, 24), (130, 200000, 1, 129, 128), 1, 129, 5),
    "as many rows as look ahead": ("mulaw8", 2, (24, 64, 16, 64), (15, 16, 17, 33), 1, 1001, 5),
    "seventeen": ("mulaw8", 3, (48, 40, 17, 31), (2, 3, 16, 17), 17, 129, 16),
    "seven": ("gaussian", 2, (17, 15, 33, 65), (5, 1, 40, 7), 7, 129, 7),
}


@pytest.mark.parametrize("name", CASES)
def test_every_sample_equals_the_reference(instructions: str, name: str) -> None:
    output, width, sizes, dilations, streams, samples, hop = CASES[name]
    weights = network(output, sizes, dilations, width, hop)
    by_induction(weights, PackedWaveNet(weights), feed(weights, streams, samples))


def test_the_cases_hold_every_output_and_width() -> None:
    assert {(c[0], c[1]) for c in CASES.values()} == set(itertools.product(OUTPUTS, (2, 3)))


@settings(max_examples=40, deadline=None)
@given(
    output=st.sampled_from(OUTPUTS),
    width=st.sampled_from((2, 3)),
    sizes=st.tuples(*[st.integers(1, 50)] * 4),
    dilations=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    streams=st.integers(1, 17),
    samples=st.integers(1, 70),
    hop=st.integers(1, 20),
    name=st.sampled_from(OFFERED),
    seed=st.integers(0, 2**31),
)
def test_any_shape_equals_the_reference(
    output: str,
    width: int,
    sizes: tuple[int, int, int, int],
    dilations: list[int],
    streams: int,
    samples: int,
    hop: int,
    name: str,
    seed: int,
) -> None:
    weights = network(output, sizes, tuple(dilations), width, hop, seed)
    f = feed(weights, streams, samples, seed)
    extension().use_instruction_set(name)
    packed = PackedWaveNet(weights)
    values, _ = whole(packed, f, with_parameters=True)
    _, parameters = whole(packed, f, forced=values, with_parameters=True)
    expected = in_parallel(weights, values, f.conditioning)
    assert (parameters - expected).abs().max() <= 3e-5 * max(1.0, float(expected.abs().max()))
    # cut into two calls, and each stream alone
    cut = seed % samples
    if cut:
        state = packed.state(streams)
        pieces = [f.part(packed, 0, cut), f.part(packed, cut, samples)]
        made = [packed.generate(state, p.conditioning, p.uniforms)[0] for p in pieces]
        assert torch.equal(torch.cat(made, dim=1), values)
    alone = seed % streams
    assert torch.equal(whole(packed, f.of([alone]))[0], values[[alone]])


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("width", [2, 3])
def test_running_freely_equals_the_reference_running_freely(instructions: str, output: str, width: int) -> None:
    """Each from its own values, for as long as the past reaches and further: float64 steps, float32 kernels."""
    weights = network(output, (16, 24, 20, 24), (1, 4, 3), width, hop=16)
    f, values = by_induction(weights, PackedWaveNet(weights), feed(weights, 2, 129, seed=3))
    expected = free_running(weights, f)
    assert (values - expected).abs().max() <= (0 if output.startswith("mulaw") else 2e-5)


@pytest.mark.parametrize("width", [2, 3])
def test_both_references_agree(width: int) -> None:
    for output in OUTPUTS:
        weights = network(output, (5, 7, 6, 4), (1, 9, 4, 60), width, hop=6)
        f, values = feed(weights, 2, 50), random_values(weights, 2, 50)
        found = in_parallel(weights, values, f.conditioning)
        assert torch.allclose(found, step_by_step(weights, values, f.conditioning, torch.float64), atol=1e-12)


SAMPLING: tuple[dict[str, Any], ...] = (
    {"temperature": 0.0},
    {"temperature": 0.5},
    {"temperature": 1.7},
    {"top_k": 1},
    {"top_k": 5},
    {"top_k": 255, "temperature": 1.7},
    {"top_k": 256},
    {"top_k": 100000},
    {"top_p": 0.9},
    {"top_p": 0.3, "temperature": 1.7},
    {"top_p": 1e-9},
    {"top_p": 0.99, "temperature": 0.5},
    {"top_k": 20, "top_p": 0.8},
    {"top_k": 3, "top_p": 0.5, "temperature": 0.5},
)


@pytest.mark.parametrize("sampling", SAMPLING, ids=str)
@pytest.mark.parametrize("output", OUTPUTS)
def test_sampling_equals_the_reference(instructions: str, output: str, sampling: dict[str, Any]) -> None:
    """Forced values lead, so that each sample is at stake by itself. Classes are drawn from their middles."""
    weights = network(output, (16, 24, 20, 24), (1, 4), hop=16)
    packed, d, f, forced = PackedWaveNet(weights), distribution_of(weights), feed(weights, 1, 129), None
    if not isinstance(d, MuLaw) and ("top_k" in sampling or "top_p" in sampling):
        with pytest.raises(InputError, match="top_k and top_p choose among classes"):
            whole(packed, f, **sampling)
        return
    forced, state, moved = random_values(weights, 1, 129), packed.state(1), 0
    every = in_parallel(weights, forced, f.conditioning)
    for t in range(129):
        part, parameters, chosen = f.part(packed, t, t + 1), every[:, t : t + 1].transpose(1, 2), dict(sampling)
        uniforms = part.uniforms
        if isinstance(d, MuLaw) and sampling.get("temperature") != 0:
            chosen, uniforms = away_from_bounds(parameters[0, :, 0], uniforms, sampling)
            moved += chosen != sampling
        expected = d.sample(parameters, uniforms.double(), **chosen)
        value, _ = packed.generate(state, part.conditioning, uniforms, forced=forced[:, t : t + 1], **chosen)
        assert (value - expected).abs().max() <= (0 if isinstance(d, MuLaw) else 2e-5)
    assert moved < 13 or sampling["top_p"] > 0.9


def away_from_bounds(logits: Tensor, uniform: Tensor, sampling: dict[str, Any]) -> tuple[dict[str, Any], Tensor]:
    """The sampling and the uniform (1, 1, 1) again, moved where they stand so that rounding would decide.

    A top_p next to a bound of what is kept goes to the middle of a class, a uniform to the middle of its class's.
    """
    p = torch.softmax(logits / sampling.get("temperature", 1.0), dim=0)
    ordered, order = p.sort(descending=True, stable=True)
    count = min(sampling.get("top_k") or len(p), len(p))
    assert count == len(p) or ordered[count - 1] > ordered[count] * (1 + 1e-6), "two classes as good as tie"
    mass, top_p = ordered[:count].cumsum(0) / ordered[:count].sum(), sampling.get("top_p", 1.0)
    if top_p < 1:
        last = int((mass < top_p).sum())
        if (mass - top_p).abs().min() < 2e-6:
            while ordered[last] < 1e-4:
                last -= 1
            top_p = float(mass[last] - ordered[last] / ordered[:count].sum() / 2)
            sampling = {**sampling, "top_p": top_p}
        assert ordered[last] > ordered[last + 1] * (1 + 1e-6), "two classes as good as tie"
        count = last + 1
    kept = torch.zeros_like(p).scatter(0, order[:count], ordered[:count])
    upper = kept.cumsum(0) / kept.sum()
    drawn = int((upper > uniform.double()).int().argmax())
    if kept[drawn] / kept.sum() < 1e-5:
        drawn = int(kept.argmax())
    middle = upper[drawn] - kept[drawn] / kept.sum() / 2
    return sampling, middle.float().clamp(2**-24, 1 - 2**-24)[None, None, None]


def constant(output: str, head2_bias: Tensor) -> WaveNetWeights:
    """A network whose head says the same at every sample."""
    weights = network(output, (4, 4, 4, 4), (1,))
    return dataclasses.replace(weights, head2=torch.zeros_like(weights.head2), head2_bias=head2_bias)


def test_ties_go_to_the_lower_class(instructions: str) -> None:
    logits = torch.zeros(256)
    logits[[200, 17, 90]] = 3.0
    packed = PackedWaveNet(constant("mulaw8", logits))
    f = feed(constant("mulaw8", logits), 1, 400)
    assert distinct(whole(packed, f, temperature=0.0)[0]) == [17]
    assert distinct(whole(packed, f, top_k=1)[0]) == [17]
    assert distinct(whole(packed, f, top_k=2)[0]) == [17, 90]
    assert distinct(whole(packed, f, top_k=5)[0]) == [0, 1, 17, 90, 200]
    assert distinct(whole(packed, f, top_p=0.03)[0]) == [17]  # each of the three holds 0.0640
    assert distinct(whole(packed, f, top_p=0.1)[0]) == [17, 90]
    assert distinct(whole(packed, f, top_k=3, top_p=0.5)[0]) == [17, 90]


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("temperature", [1.0, 1e-3, 1e-30, 1e-42, 1e-60, 1e6])
def test_extreme_heads_and_temperatures(instructions: str, output: str, temperature: float) -> None:
    """Logits, means and scales far beyond any trained network's, against the reference to the last sample."""
    outputs = {"mulaw8": 256, "mulaw10": 1024, "gaussian": 2, "logistics": 3 * MIXTURES}[output]
    d = distribution(output, MIXTURES)
    for seed, size in enumerate((1.0, 30.0, 1e4)):
        bias = size * torch.randn(outputs, generator=torch.Generator().manual_seed(seed))
        if not isinstance(d, MuLaw):
            bias[-outputs // 3 :] = torch.linspace(-20, -1, outputs)[-outputs // 3 :]
        weights = constant(output, bias)
        f = feed(weights, 2, 50, seed)
        values, parameters = whole(PackedWaveNet(weights), f, temperature=temperature, with_parameters=True)
        expected = d.sample(parameters.double().transpose(1, 2), f.uniforms.double(), temperature=temperature)
        assert torch.isfinite(values).all()
        if isinstance(d, MuLaw):
            assert (values != expected).double().mean() <= 0.01  # a uniform in a hundred may stand on a bound
            assert ((values - expected).abs() <= 1).all() or size > 1
        else:
            assert (values - expected).abs().max() <= 2e-5


def test_uniforms_next_to_0_and_1(instructions: str) -> None:
    least, most = 1e-30, 1 - 2**-24
    logits = torch.full((256,), -200.0)
    logits[[31, 32]] = 0.0
    for u, expected in ((least, 31), (most, 32), (0.4999, 31), (0.5001, 32)):
        packed = PackedWaveNet(constant("mulaw8", logits))
        f = feed(constant("mulaw8", logits), 1, 3)
        assert distinct(whole(packed, Feed(f.conditioning, torch.full((1, 3, 1), u)))[0]) == [expected]
    for output in ("gaussian", "logistics"):
        weights = constant(output, network(output).head2_bias)
        f = feed(weights, 1, 1)
        for u in (least, 1e-10, 0.5, most):
            uniforms = torch.full_like(f.uniforms, u)
            value, parameters = whole(PackedWaveNet(weights), Feed(f.conditioning, uniforms), with_parameters=True)
            reference = distribution_of(weights).sample(parameters.double().transpose(1, 2), uniforms.double())
            assert (value - reference).abs().max() <= 2e-5


# Parameters


def errors(found: Tensor, exact: Tensor) -> tuple[float, float]:
    """Root mean square and largest error, in terms of what the outputs vary by."""
    difference, size = (found.double() - exact).abs(), exact.std()
    return float(difference.square().mean().sqrt() / size), float(difference.max() / size)


DEEP = tuple(2 ** (i % 6) for i in range(12))


@pytest.mark.parametrize(
    ("output", "sizes", "dilations", "width"),
    [
        ("mulaw8", (64, 64, 256, 256), DEEP, 2),
        ("logistics", (24, 40, 17, 100), DEEP, 3),
        ("mulaw10", (256, 192, 128, 64), (1, 3), 3),
        ("gaussian", (32, 1, 600, 700), (5, 1, 2), 2),
    ],
)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_parameters_are_as_exact_as_plain_torch(
    instructions: str,
    precision: str,
    output: str,
    sizes: tuple[int, int, int, int],
    dilations: tuple[int, ...],
    width: int,
) -> None:
    """At most twice the error that torch makes in the same network at the same precision, against float64."""
    weights = network(output, sizes, dilations, width, hop=16)
    streams, samples = 2, 129
    f, forced = feed(weights, streams, samples), random_values(weights, streams, samples)
    _, found = whole(PackedWaveNet(weights, precision), f, forced=forced, with_parameters=True)
    assert found.shape == (streams, samples, weights.head2_bias.numel())
    arguments = (weights, forced, f.conditioning)
    exact, floor = in_parallel(*arguments), 2**-22
    if precision == "fp32":
        plains = [step_by_step(*arguments, torch.float32)]
    elif precision == "bf16":
        plains = [
            in_parallel(*arguments, torch.float32, to_bf16, to_bf16),
            step_by_step(*arguments, torch.bfloat16),
        ]
    else:  # nothing but the rounding of inputs to int16 stands between the two
        exact, floor = in_parallel(*arguments, rounded_weights=to_int8), 2e-6
        plains = [in_parallel(*arguments, torch.float32, to_int16, to_int8)]
    for error, *theirs in zip(errors(found, exact), *(errors(p, exact) for p in plains), strict=True):
        for other in theirs:
            assert error <= 2 * other + floor
    if precision == "int8":
        assert errors(found, exact)[1] < 1e-3


@pytest.mark.parametrize("precision", PRECISIONS)
def test_values_follow_from_the_parameters(instructions: str, precision: str) -> None:
    """Whatever the precision of the network, sampling is the reference's, in fp32."""
    for output in OUTPUTS:
        weights = network(output, hop=16)
        f = feed(weights, 2, 129)
        d, packed = distribution_of(weights), PackedWaveNet(weights, precision)
        values, parameters = whole(packed, f, with_parameters=True)
        expected = d.sample(parameters.double().transpose(1, 2), f.uniforms.double())
        if isinstance(d, MuLaw):
            assert (values == expected).double().mean() > 0.98
        else:
            assert (values - expected).abs().max() <= 2e-5
        again, same = whole(packed, f, forced=values, with_parameters=True)  # its own values, forced
        assert torch.equal(again, values)
        assert torch.equal(same, parameters)


# The same samples however they are asked for


def cuts(samples: int, seed: int) -> list[tuple[int, int]]:
    """A random division into pieces, of single samples too."""
    draw, bounds = torch.Generator().manual_seed(seed), [0]
    while bounds[-1] < samples:
        longest = (1, 3, 17, 60)[int(torch.randint(0, 4, (), generator=draw))]
        bounds.append(min(samples, bounds[-1] + int(torch.randint(1, longest + 1, (), generator=draw))))
    return list(itertools.pairwise(bounds))


VARIED = (
    ("mulaw8", (20, 12, 40, 33), (1, 2, 3, 50), 2, 5),
    ("mulaw10", (16, 64, 16, 16), (16, 1, 17), 3, 16),
    ("gaussian", (64, 24, 130, 16), (8, 31, 1), 2, 256),
    ("logistics", (136, 72, 24, 16), (3, 64), 3, 7),
)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("case", VARIED, ids=OUTPUTS)
def test_equal_to_the_bit(instructions: str, precision: str, case: tuple[Any, ...]) -> None:
    """Twice the same; cut into calls at random; a stream alone and among others; on one thread and on two."""
    weights = network(*case)
    streams, samples = 5, 100
    packed, f = PackedWaveNet(weights, precision), feed(weights, streams, samples)
    options: dict[str, Any] = {"with_parameters": True, "temperature": 0.8}
    state = packed.state(streams)
    values, parameters = packed.generate(state, f.conditioning, f.uniforms, **options)
    assert parameters.std() > 0.05

    again = whole(packed, f, **options)
    assert torch.equal(again[0], values)
    assert torch.equal(again[1], parameters)

    for seed in range(2):
        other, pieces = packed.state(streams), []
        for start, stop in cuts(samples, seed):
            p = f.part(packed, start, stop)
            pieces.append(packed.generate(other, p.conditioning, p.uniforms, **options))
        assert torch.equal(torch.cat([v for v, _ in pieces], dim=1), values)
        assert torch.equal(torch.cat([p for _, p in pieces], dim=1), parameters)
        assert torch.equal(other, state)

    for chosen in ([0], [4], [3, 1]):
        few = whole(packed, f.of(chosen), **options)
        assert torch.equal(few[0], values[chosen])
        assert torch.equal(few[1], parameters[chosen])

    torch.set_num_threads(2)
    assert torch.get_num_threads() == 2
    spread = whole(packed, f, **options)
    assert torch.equal(spread[0], values)
    assert torch.equal(spread[1], parameters)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_number_of_streams_changes_none(instructions: str, precision: str) -> None:
    """From one stream to more than are taken together."""
    weights = network("mulaw8", (24, 20, 16, 16), (1, 5, 16), 3, 5)
    packed, f = PackedWaveNet(weights, precision), feed(weights, 19, 40)
    values, _ = whole(packed, f)
    for streams in (1, 2, 3, 7, 8, 15, 16, 17):
        assert torch.equal(whole(packed, f.of(slice(0, streams)))[0], values[:streams])


@pytest.mark.parametrize("precision", PRECISIONS)
def test_streams_of_different_lengths(instructions: str, precision: str) -> None:
    """Each as if it were alone, then nothing; over two calls."""
    weights = network("gaussian", (24, 20, 16, 16), (1, 7, 16), 2, 5)
    packed, f = PackedWaveNet(weights, precision), feed(weights, 6, 90)
    total = torch.tensor([90, 0, 1, 47, 50, 51])
    expected, every = whole(packed, f, with_parameters=True)
    state = packed.state(6)
    for start, stop in ((0, 50), (50, 90)):
        p = f.part(packed, start, stop)
        lengths = (total - start).clamp(0, stop - start)
        values, parameters = packed.generate(state, p.conditioning, p.uniforms, lengths=lengths, with_parameters=True)
        for b, length in enumerate(lengths.tolist()):
            assert torch.equal(values[b, :length], expected[b, start : start + length])
            assert torch.equal(parameters[b, :length], every[b, start : start + length])
            assert not values[b, length:].any()
            assert not parameters[b, length:].any()


def test_forced_values_lead(instructions: str) -> None:
    """What is drawn at a sample depends on the values forced before it, not on the one forced there."""
    weights = network("mulaw8", (24, 20, 16, 16), (1, 2), 2, 5)
    packed, f = PackedWaveNet(weights), feed(weights, 2, 30)
    one = random_values(weights, 2, 30)
    two = one.clone()
    two[:, 12] = (two[:, 12] + 100) % 256
    _, first = whole(packed, f, forced=one, with_parameters=True)
    _, second = whole(packed, f, forced=two, with_parameters=True)
    changed = (first != second).any(dim=-1).any(dim=0)
    assert torch.nonzero(changed).flatten().tolist() == [13, 14, 15, 16]  # the past that two layers reach


def test_parameters_only_on_demand() -> None:
    weights = network()
    values, parameters = whole(PackedWaveNet(weights), feed(weights, 2, 3))
    assert values.shape == (2, 3)
    assert values.dtype == parameters.dtype == torch.float32
    assert parameters.numel() == 0


@pytest.mark.parametrize("precision", PRECISIONS)
def test_instruction_sets_agree(precision: str) -> None:
    """To rounding: what they sum up in another order, or not at all as their processor multiplies bf16."""
    weights = network("logistics", (24, 20, 130, 16), (1, 7, 16), 3, 5)
    packed, f, forced = PackedWaveNet(weights, precision), feed(weights, 2, 60), random_values(weights, 2, 60)
    found = []
    for name in OFFERED:
        extension().use_instruction_set(name)
        found.append(whole(packed, f, forced=forced, with_parameters=True)[1])
    bound = {"fp32": 1e-5, "bf16": 5e-3, "int8": 2e-4}[precision]
    for other in found[1:]:
        assert (other - found[0]).abs().max() <= bound


def test_tensors_of_any_strides_are_read_rightly(instructions: str) -> None:
    """Slices, transposes and expansions of larger tensors."""
    weights = network("logistics", hop=4)
    packed, f, forced = PackedWaveNet(weights), feed(weights, 3, 20), random_values(weights, 3, 20)
    expected = whole(packed, f, forced=forced, lengths=torch.tensor([20, 20, 20]), with_parameters=True)

    def strided(x: Tensor) -> Tensor:
        axes = tuple(reversed(range(x.dim())))
        wide = torch.full([2 * n + 1 for n in x.permute(axes).shape], 7).to(x.dtype)
        view = wide[tuple(slice(1, None, 2) for _ in axes)]
        view.copy_(x.permute(axes))
        return view.permute(axes)

    spread = Feed(strided(f.conditioning), strided(f.uniforms))
    assert not spread.conditioning.is_contiguous()
    found = whole(packed, spread, forced=strided(forced), lengths=strided(torch.tensor([20] * 3)), with_parameters=True)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])
    same = Feed(f.conditioning[:1].expand(3, -1, -1, -1), f.uniforms[:1].expand(3, -1, -1))
    values, _ = whole(packed, same)
    assert torch.equal(values, values[:1].expand(3, -1))


def test_weights_of_any_strides_are_read_rightly() -> None:
    weights = network("mulaw8")
    turned = dataclasses.replace(
        weights,
        dilated=weights.dilated.permute(3, 0, 2, 1).contiguous().permute(1, 3, 2, 0),
        skip=weights.skip.T.contiguous().T,
        head2=weights.head2.repeat_interleave(2, dim=1)[:, ::2],
    )
    assert not turned.dilated.is_contiguous()
    for precision in PRECISIONS:
        assert torch.equal(PackedWaveNet(turned, precision).packed, PackedWaveNet(weights, precision).packed)


# Bad input


@pytest.fixture(scope="module")
def small() -> tuple[PackedWaveNet, Feed]:
    weights = network("mulaw8", (4, 5, 6, 7), (1, 2), hop=5)
    return PackedWaveNet(weights), feed(weights, 2, 12)


def with_value(x: Tensor, value: float) -> Tensor:
    changed = x.clone()
    changed.view(-1)[-1] = value
    return changed


def plain_line(error: BaseException) -> bool:
    """Whether an error's message is one line for a user, that names no source file."""
    return "\n" not in str(error) and ".cpp" not in str(error) and ".h:" not in str(error)


NAN, INF = float("nan"), float("inf")
BAD: dict[str, tuple[str, Callable[[Feed], dict[str, Any]]]] = {
    "a stream too few in uniforms": ("uniforms|conditioning", lambda f: {"uniforms": f.uniforms[:1]}),
    "streams unlike the state's": (
        "uniforms",
        lambda f: {"uniforms": f.uniforms[:1], "conditioning": f.conditioning[:1]},
    ),
    "no streams": ("uniforms", lambda f: {"uniforms": f.uniforms[:0], "conditioning": f.conditioning[:0]}),
    "no samples": ("uniforms", lambda f: {"uniforms": f.uniforms[:, :0]}),
    "uniforms of two dimensions": ("uniforms", lambda f: {"uniforms": f.uniforms[..., 0]}),
    "two uniforms a sample": ("uniforms", lambda f: {"uniforms": f.uniforms.expand(-1, -1, 2)}),
    "uniforms in float64": ("uniforms", lambda f: {"uniforms": f.uniforms.double()}),
    "uniforms without memory": ("uniforms", lambda f: {"uniforms": f.uniforms.to("meta")}),
    "a uniform of 0": ("uniforms", lambda f: {"uniforms": with_value(f.uniforms, 0.0)}),
    "a uniform of 1": ("uniforms", lambda f: {"uniforms": with_value(f.uniforms, 1.0)}),
    "a uniform below 0": ("uniforms", lambda f: {"uniforms": with_value(f.uniforms, -0.5)}),
    "a uniform of NaN": ("uniforms", lambda f: {"uniforms": with_value(f.uniforms, NAN)}),
    "no frames": ("conditioning", lambda f: {"conditioning": f.conditioning[:, :0]}),
    "a frame too few": ("conditioning", lambda f: {"conditioning": f.conditioning[:, 1:]}),
    "a frame too many": ("conditioning", lambda f: {"conditioning": f.conditioning.repeat(1, 2, 1, 1)}),
    "a layer too few": ("conditioning", lambda f: {"conditioning": f.conditioning[:, :, 1:]}),
    "half the gate": ("conditioning", lambda f: {"conditioning": f.conditioning[..., :5]}),
    "conditioning of three dimensions": ("conditioning", lambda f: {"conditioning": f.conditioning[0]}),
    "conditioning in bf16": ("conditioning", lambda f: {"conditioning": f.conditioning.bfloat16()}),
    "conditioning without memory": ("conditioning", lambda f: {"conditioning": f.conditioning.to("meta")}),
    "NaN in conditioning": ("conditioning", lambda f: {"conditioning": with_value(f.conditioning, NAN)}),
    "infinite conditioning": ("conditioning", lambda f: {"conditioning": with_value(f.conditioning, -INF)}),
    "a length too few": ("lengths", lambda f: {"lengths": torch.tensor([12])}),
    "lengths of two dimensions": ("lengths", lambda f: {"lengths": torch.tensor([[12, 12]])}),
    "lengths in int32": ("lengths", lambda f: {"lengths": torch.tensor([12, 12], dtype=torch.int32)}),
    "lengths without memory": ("lengths", lambda f: {"lengths": torch.tensor([12, 12], device="meta")}),
    "a length below 0": ("lengths", lambda f: {"lengths": torch.tensor([12, -1])}),
    "a length beyond": ("lengths", lambda f: {"lengths": torch.tensor([13, 12])}),
    "a forced sample too few": ("forced", lambda f: {"forced": torch.zeros(2, 11)}),
    "forced in int64": ("forced", lambda f: {"forced": torch.zeros(2, 12, dtype=torch.int64)}),
    "forced without memory": ("forced", lambda f: {"forced": torch.zeros(2, 12, device="meta")}),
    "a class below 0": ("forced", lambda f: {"forced": with_value(torch.zeros(2, 12), -1.0)}),
    "a class beyond": ("forced", lambda f: {"forced": with_value(torch.zeros(2, 12), 256.0)}),
    "half a class": ("forced", lambda f: {"forced": with_value(torch.zeros(2, 12), 0.5)}),
    "a class of NaN": ("forced", lambda f: {"forced": with_value(torch.zeros(2, 12), NAN)}),
    "an infinite class": ("forced", lambda f: {"forced": with_value(torch.zeros(2, 12), INF)}),
    "a temperature below 0": ("temperature", lambda f: {"temperature": -0.1}),
    "a temperature of NaN": ("temperature", lambda f: {"temperature": NAN}),
    "an infinite temperature": ("temperature", lambda f: {"temperature": INF}),
    "top_k below 0": ("top_k", lambda f: {"top_k": -1}),
    "top_p of 0": ("top_p", lambda f: {"top_p": 0.0}),
    "top_p over 1": ("top_p", lambda f: {"top_p": 1.01}),
    "top_p of NaN": ("top_p", lambda f: {"top_p": NAN}),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named_and_leaves_the_state(small: tuple[PackedWaveNet, Feed], case: str) -> None:
    packed, f = small
    name, change = BAD[case]
    state = packed.state(2)
    expected, _ = packed.generate(state, f.conditioning, f.uniforms)
    later = Feed(f.conditioning[:, :5], f.uniforms[:, :3])  # from sample 12 on: frames 1 … 4
    good, _ = packed.generate(state.clone(), later.conditioning[:, :3], later.uniforms)
    fresh = packed.state(2)
    arguments: dict[str, Any] = {"conditioning": f.conditioning, "uniforms": f.uniforms, **change(f)}
    before = fresh.clone()
    with pytest.raises(InputError, match=name) as raised:
        packed.generate(fresh, **arguments)
    assert plain_line(raised.value)
    assert torch.equal(fresh, before)
    assert torch.equal(packed.generate(fresh, f.conditioning, f.uniforms)[0], expected)
    assert torch.equal(packed.generate(fresh, later.conditioning[:, :3], later.uniforms)[0], good)


@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("output", ["gaussian", "logistics"])
def test_forced_samples_must_be_finite(output: str, value: float) -> None:
    weights = network(output)
    with pytest.raises(InputError, match="forced holds NaN or infinite"):
        whole(PackedWaveNet(weights), feed(weights, 2, 5), forced=with_value(torch.zeros(2, 5), value))


def test_a_stream_that_ended_cannot_go_on(small: tuple[PackedWaveNet, Feed]) -> None:
    packed, f = small
    state = packed.state(2)
    first = f.part(packed, 0, 5)
    packed.generate(state, first.conditioning, first.uniforms, lengths=torch.tensor([5, 4]))
    then = f.part(packed, 5, 12)
    before = state.clone()
    for lengths in (None, torch.tensor([7, 1])):
        with pytest.raises(InputError, match="lengths: stream 1 has ended"):
            packed.generate(state, then.conditioning, then.uniforms, lengths=lengths)
    assert torch.equal(state, before)
    values, _ = packed.generate(state, then.conditioning, then.uniforms, lengths=torch.tensor([7, 0]))
    assert torch.equal(values[0], whole(packed, f)[0][0, 5:])


def test_states_of_another_network_and_damaged_ones(small: tuple[PackedWaveNet, Feed]) -> None:
    packed, f = small
    others = [
        network("mulaw8", (4, 5, 6, 7), (2, 1), hop=5),
        network("mulaw8", (4, 5, 6, 7), (1, 2), hop=6),
        network("mulaw8", (4, 5, 6, 7), (1, 2), hop=5, width=3),
        network("mulaw8", (4, 5, 7, 7), (1, 2), hop=5),
    ]
    states = [PackedWaveNet(w).state(2) for w in others]
    states += [PackedWaveNet(network("mulaw8", (4, 5, 6, 7), (1, 2), hop=5), p).state(2) for p in ("bf16", "int8")]
    good = packed.state(2)
    assert good.data_ptr() % 64 == 0
    longer = torch.cat([good, torch.zeros(64, dtype=torch.uint8)])
    states += [good[:-1], good[:64], good[:3], good[:0], longer, longer[:-63], good[None], good.repeat(2)[::2]]
    states += [longer[1 : 1 + good.numel()], torch.zeros_like(good), torch.full_like(good, 255), packed.packed]
    states += [good.view(torch.int8), good.float(), good.to("meta")]
    for state in states:
        with pytest.raises(InputError, match="state"):
            packed.generate(state, f.conditioning, f.uniforms)


def test_random_bytes_in_the_header_of_a_state(small: tuple[PackedWaveNet, Feed]) -> None:
    """Refused, or read as another time; never read wrongly."""
    packed, f = small
    draw = torch.Generator().manual_seed(0)
    refused = 0
    for _ in range(300):
        state = packed.state(2)
        at, count = int(torch.randint(0, 72, (), generator=draw)), int(torch.randint(1, 9, (), generator=draw))
        state[at : at + count] = torch.randint(0, 256, (count,), generator=draw).to(torch.uint8)
        try:
            values, _ = packed.generate(state, f.conditioning, f.uniforms)
        except InputError as error:
            refused += any(word in str(error) for word in ("state", "conditioning", "uniforms", "lengths"))
        else:
            refused += 1
            assert ((values >= 0) & (values < 256)).all()
    assert refused == 300


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (2, 2 + 2**62),  # streams: all products with it wrap around to the right number of bytes
        (2, -(2**62) + 2),
        (2, 2**63 - 1),
        (3, -1),  # time
        (3, 2**63 - 1),
        (3, 2**63 - 5),
        (3, -(2**63)),
    ],
)
def test_numbers_out_of_range_in_the_header_of_a_state(
    small: tuple[PackedWaveNet, Feed], field: int, value: int
) -> None:
    packed, f = small
    state = packed.state(2)
    state.view(torch.int64)[field] = value
    with pytest.raises(InputError, match="state is damaged"):
        packed.generate(state, f.conditioning, f.uniforms)


def test_last_values_that_are_no_classes(small: tuple[PackedWaveNet, Feed]) -> None:
    packed, f = small
    for value in (-1.0, 256.0, INF, -INF, 1e30):
        state = packed.state(2)
        state.view(torch.float32)[16] = value  # behind the header of 64 bytes
        with pytest.raises(InputError, match="state is damaged"):
            packed.generate(state, f.conditioning, f.uniforms)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_damaged_weights(precision: str) -> None:
    weights = network("mulaw8", (4, 5, 6, 7), (1, 2), hop=5)
    packed, f = PackedWaveNet(weights, precision), feed(weights, 2, 12)
    good = packed.packed
    state = packed.state(2)
    longer = torch.cat([good, torch.zeros(64, dtype=torch.uint8)])
    bad = [good[:-1], good[:64], good[:0], longer, good[None], longer[1 : 1 + good.numel()], good.repeat(2)[::2]]
    bad += [torch.zeros_like(good), torch.full_like(good, 255), good.view(torch.int8), state]
    for field in range(12):
        for value in (-1, 0, 1, 2, 3, 10, 17, 4096, 2**31, 2**62, 2**63 - 1):
            damaged = good.clone()
            damaged.view(torch.int64)[field] = value
            # within the padding of 16 some numbers give another network of the same layout: as safe to run
            if not torch.equal(damaged, good) and not (4 <= field <= 7 and 1 <= value <= 10):
                bad.append(damaged)
    for value in (0, -1, MAX_DILATION + 1, 2**63 - 1):  # of the dilations, behind a header of 128 bytes
        damaged = good.clone()
        damaged.view(torch.int64)[16] = value
        bad.append(damaged)
    for w in bad:
        packed.packed = w
        with pytest.raises(
            InputError, match=r"weights|state|dilated|residual|gate|skip|head|interpolation|format|output"
        ):
            packed.generate(state, f.conditioning, f.uniforms)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_weights_with_random_bytes_are_safe_to_run(instructions: str, precision: str) -> None:
    """Their outputs overflow, which is refused, but nothing is read that is not theirs; and the state is spent."""
    weights = network("mulaw8", (4, 5, 6, 7), (1, 2), hop=5)
    packed, f = PackedWaveNet(weights, precision), feed(weights, 2, 12)
    packed.packed = packed.packed.clone()
    draw = torch.Generator().manual_seed(1)
    packed.packed[192:] = torch.randint(0, 256, (packed.packed.numel() - 192,), generator=draw).to(torch.uint8)
    state = packed.state(2)
    with pytest.raises(InputError, match=r"^weights or conditioning are so large that .* outputs overflow$"):
        packed.generate(state, f.conditioning, f.uniforms)
    with pytest.raises(InputError, match="lengths: stream 0 has ended"):
        packed.generate(state, f.conditioning, f.uniforms)


@pytest.mark.parametrize("output", OUTPUTS)
def test_overflow_is_refused(output: str, instructions: str) -> None:
    weights = network(output, (4, 5, 6, 7), (1, 2), hop=5)
    huge = dataclasses.replace(weights, head2=weights.head2 * 1e38, head1_bias=weights.head1_bias.abs() * 1e38 + 1e30)
    for precision in PRECISIONS:
        packed, f = PackedWaveNet(huge, precision), feed(huge, 2, 12)
        with pytest.raises(InputError, match="overflow"):
            packed.generate(packed.state(2), f.conditioning, f.uniforms)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sizes": (4097, 1, 1, 1)}, "residual must have 1 to 4096 channels, not 4097"),
        ({"sizes": (1, 4097, 1, 1)}, "gate must have 1 to 4096 channels"),
        ({"sizes": (1, 1, 4097, 1)}, "skip must have 1 to 4096 channels"),
        ({"sizes": (1, 1, 1, 4097)}, "head must have 1 to 4096 channels"),
        ({"dilations": (1, MAX_DILATION + 1)}, "dilations must be from 1 to 1048576, not 1048577"),
        ({"dilations": (1, 2**70)}, "dilations"),
        ({"dilations": (1, 0)}, "dilations must be 2 positive integers"),
        ({"dilations": (1,) * 1025}, "dilated must have 1 to 1024 layers, not 1025"),
        ({"hop": 65537}, "interpolation must have 1 to 65536 samples a frame, not 65537"),
        ({"width": 4}, "width must be 2 or 3, not 4"),
    ],
    ids=lambda x: str(x)[:24] if isinstance(x, dict) else "",
)
def test_sizes_beyond_limits(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        PackedWaveNet(network(**{"sizes": (1, 1, 1, 1), **changes}))
    assert plain_line(raised.value)


def test_weights_of_nan_precision_device_and_streams() -> None:
    weights = network("gaussian")
    with pytest.raises(InputError, match="head1 holds NaN or infinite"):
        dataclasses.replace(weights, head1=with_value(weights.head1, NAN))
    with pytest.raises(InputError, match="precision must be one of fp32, bf16, int8, not 'fp16'"):
        PackedWaveNet(weights, "fp16")
    with pytest.raises(InputError, match="cpu or cuda, not on meta"):
        PackedWaveNet(weights, device="meta")
    for streams in (0, -1, 2**20 + 1, 2**62):
        with pytest.raises(InputError, match="streams must be"):
            PackedWaveNet(weights).state(streams)


def test_the_largest_dilation() -> None:
    """Its ring is as long as the furthest past that is allowed; it must not be copied or walked at each call."""
    weights = network("gaussian", (1, 1, 1, 1), (MAX_DILATION,), 2, hop=5)
    by_induction(weights, PackedWaveNet(weights), feed(weights, 1, 30))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_ops_keep_their_contracts_with_torch(precision: str) -> None:
    weights = network("mulaw8", (4, 5, 6, 7), (1, 2), hop=5)
    tensors = [getattr(weights, f.name) for f in dataclasses.fields(weights)][:-2]
    number = PRECISIONS.index(precision)
    torch.library.opcheck(torch.ops.wavegen.wavenet_pack.default, (*tensors, [1, 2], 0, number))
    packed, f = PackedWaveNet(weights, precision), feed(weights, 2, 12)
    torch.library.opcheck(torch.ops.wavegen.wavenet_state.default, (packed.packed, 2))
    for forced, with_parameters in ((None, False), (random_values(weights, 2, 12), True)):
        state, lengths = packed.state(2), torch.tensor([12, 3])
        arguments = (packed.packed, state, f.conditioning, f.uniforms, lengths, forced, 1.0, 0, 1.0, with_parameters)
        torch.library.opcheck(torch.ops.wavegen.wavenet_generate.default, arguments)


# The vocoder


SPEC = FeatureSpec(n_fft=32, window=32, hop=8, bands=5)
SMALL: dict[str, Any] = {
    **{"residual": 8, "gate": 9, "skip": 10, "head": 11, "layers": 5, "cycle": 4, "mixtures": 2},
    **{"encoder": 7, "encoder_layers": 1},
}


def vocoder(output: str = "mulaw8", emphasis: float = 0.0, **sampling: Any) -> WaveNet:
    torch.manual_seed(3)
    model = WaveNet(WaveNetConfig(**SMALL, output=output, emphasis=emphasis), SPEC)
    return model.with_sampling(Sampling(**sampling))


def mel(frames: int, batch: int = 1) -> Tensor:
    return torch.randn(batch, SPEC.bands, frames, generator=torch.Generator().manual_seed(frames))


@pytest.mark.parametrize(("output", "emphasis"), [*((o, 0.0) for o in OUTPUTS), ("gaussian", 0.85)])
@pytest.mark.parametrize("frames", [1, 63, 64, 65, 70, 197])
def test_streamed_equals_whole(output: str, emphasis: float, frames: int) -> None:
    model, x = vocoder(output, emphasis), mel(frames, batch=2)
    expected = model(x)
    assert expected.shape == (2, frames * SPEC.hop)
    assert emphasis or expected.abs().max() <= 1
    for seed in range(2):
        chunks = [x[..., start:stop] for start, stop in cuts(frames, seed)]
        assert torch.equal(torch.cat(list(model.stream(chunks)), dim=1), expected)
    assert torch.equal(torch.cat(list(model.stream([x], block=5)), dim=1), expected)


@pytest.mark.parametrize(("output", "emphasis"), [*((o, 0.0) for o in OUTPUTS), ("gaussian", 0.85)])
def test_the_waveform_is_what_teacher_forcing_on_it_says(output: str, emphasis: float) -> None:
    """The whole way at once: encoder, conditioning, kernels, companding, emphasis, over the bounds of blocks."""
    model, x = vocoder(output, emphasis, precision="fp32"), mel(130)
    waveform = model.emphasised(model(x))
    with torch.no_grad():
        parameters = model.teacher_forced(waveform, x).double()
    draw = torch.Generator().manual_seed(0)
    shape = (1, 64 * SPEC.hop, model.distribution.uniforms)
    uniforms = [torch.rand((1, n * SPEC.hop, shape[2]), generator=draw) for n in (64, 64, 2)]
    d = model.distribution
    expected = d.sample(parameters, torch.cat(uniforms, dim=1).double().clamp(2**-24, 1 - 2**-24))
    if isinstance(d, MuLaw):
        assert (d.value(waveform) == expected).double().mean() > 0.99
    else:
        assert ((waveform - expected).abs() <= 1e-4).double().mean() > 0.99


def test_the_seed_decides() -> None:
    x = mel(20)
    one, same, other = (vocoder(seed=s)(x) for s in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    torch.manual_seed(9)
    model = vocoder(seed=1)
    assert torch.equal(model(x), one)
    assert torch.equal(model(x), one)


def test_progress_is_told() -> None:
    calls: list[tuple[int, int]] = []
    vocoder()(mel(70), progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (560, 560)
    assert [done for done, _ in calls] == sorted({done for done, _ in calls})
    assert {total for _, total in calls} == {560}
    assert len(calls) >= 2


def test_an_interrupted_model_goes_on_to_work() -> None:
    model, x = vocoder(), mel(70)
    expected = model(x)

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model(x, progress=interrupt)
    assert torch.equal(model(x), expected)
    for piece in model.stream([x]):  # left after the first
        assert torch.equal(piece, expected[:, : piece.shape[1]])
        break
    assert torch.equal(model(x), expected)


def test_changed_weights_are_heard() -> None:
    model, x = vocoder("gaussian", precision="fp32"), mel(10)
    before = model(x)
    with torch.no_grad():
        model.head2.bias[0] += 0.1
    after = model(x)
    assert not torch.equal(before, after)
    model.half().float()  # rounds every weight, in new memory that may lie where the old lay
    rounded = model(x)
    assert not torch.equal(after, rounded)
    fresh = WaveNet(model.config, model.spec).with_sampling(model.sampling)
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(fresh(x), rounded)
    model.load_state_dict({name: 0.9 * t for name, t in model.state_dict().items()})
    assert not torch.equal(model(x), rounded)
    smaller = model(x)
    model.head2.weight.data.mul_(0.5)  # past the counter of versions
    assert not torch.equal(model(x), smaller)


def test_a_model_made_in_inference_mode() -> None:
    expected = vocoder()(mel(3))
    with torch.inference_mode():
        model = vocoder()
    assert torch.equal(model(mel(3)), expected)


@pytest.mark.parametrize("settings_", [{"top_k": 3}, {"top_p": 0.5}])
def test_sampling_that_needs_classes(settings_: dict[str, Any]) -> None:
    for output in ("gaussian", "logistics"):
        with pytest.raises(InputError, match="top_k and top_p choose among classes"):
            vocoder(output).with_sampling(Sampling(**settings_))
    assert vocoder("mulaw10").with_sampling(Sampling(**settings_))(mel(2)).shape == (1, 16)


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"temperature": -1.0}, "temperature"),
        ({"temperature": NAN}, "temperature"),
        ({"temperature": INF}, "temperature"),
        ({"top_k": -1}, "top_k"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_p": 1.5}, "top_p"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**63}, "seed"),
        ({"precision": "fp8"}, "precision must be one of fp32, bf16, int8, not 'fp8'"),
    ],
)
def test_bad_sampling(settings_: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Sampling(**settings_)


def test_bad_mels() -> None:
    model = vocoder()
    with pytest.raises(InputError, match="mel has no frames"):
        model(mel(0))
    with pytest.raises(InputError, match="mel holds NaN"):
        model(with_value(mel(3), NAN))
    assert list(model.stream([])) == []


def run_python(source: str, **environment: str) -> "subprocess.Popen[str]":
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", source], env={**os.environ, **environment}, **pipes)


def test_ctrl_c_stops_generation_at_once() -> None:
    source = """
import torch
from wavegen.audio.features import FeatureSpec
from wavegen.vocoders.wavenet import WaveNet, WaveNetConfig

model = WaveNet(WaveNetConfig(), FeatureSpec())
tell = iter(("three", "two", "one", "started"))
try:
    model(torch.zeros(1, 100, 100000), progress=lambda done, total: print(next(tell, "."), flush=True))
except KeyboardInterrupt:
    print("stopped", flush=True)
"""
    with run_python(source) as process:
        assert process.stdout is not None
        try:
            while process.stdout.readline() not in ("started\n", ""):
                pass
            time.sleep(0.02)  # into the midst of a call
            process.send_signal(signal.SIGINT)
            sent = time.perf_counter()
            line = "."
            while line.strip() == ".":
                line = process.stdout.readline()
            took = time.perf_counter() - sent
        finally:
            process.kill()
    assert line == "stopped\n"
    assert took < 1.0


def test_an_unknown_instruction_set_is_refused() -> None:
    source = """
import importlib

from wavegen import ops
from wavegen.errors import KernelsError

try:
    ops.instruction_set()
except KernelsError as error:
    print(error)

for module in ("ops.wavenet", "ops.gated_layer"):
    try:
        importlib.import_module(f"wavegen.{module}")
    except KernelsError as error:
        print(error)
"""
    with run_python(source, WAVEGEN_CPU_ISA="bogus") as process:
        out, error = process.communicate()
    assert error == ""
    names = ", ".join(reversed(OFFERED))
    assert out == f"WAVEGEN_CPU_ISA is bogus, but this processor offers {names}\n" * 3
    with pytest.raises(ValueError, match="this processor does not offer bogus"):
        extension().use_instruction_set("bogus")
