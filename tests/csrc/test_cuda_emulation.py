"""The CUDA kernels' own source, compiled for the CPU over an emulated device, against plain numpy."""

import ctypes
import itertools
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import ndtri, softmax

from wavegen.ops import wavenet_cuda
from wavegen.ops.gated_layer import gated_layer_reference
from wavegen.ops.wavenet import WaveNetWeights
from wavegen.ops.wavenet_cuda import new_state, pack_wavenet

HERE = Path(__file__).parent / "emulation"
SHARED = 232448  # bytes of shared memory a block of an H100 may have
Floats = NDArray[np.float32]

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ compiles the emulation")


def build(name: str, folder: Path) -> ctypes.CDLL:
    library = folder / f"{name}.so"
    flags = ["-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", "-fPIC", "-shared"]
    subprocess.run(["g++", *flags, f"-I{HERE}", "-o", library, HERE / f"{name}.cpp"], check=True)
    return ctypes.CDLL(str(library))


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    library = build("generate_emulated", tmp_path_factory.mktemp("generate"))
    library.generate.restype = library.plan.restype = ctypes.c_char_p
    library.weights_bytes.restype = library.bytes_of_state.restype = ctypes.c_int64
    library.ndtri_of.restype = ctypes.c_float
    return library


def machine(device: ctypes.CDLL, *, shared: int = SHARED, clusters: int = 4, seed: int = 0) -> None:
    device.machine(ctypes.c_int64(shared), clusters, ctypes.c_uint64(seed))


def pointer(array: np.ndarray | None) -> ctypes.c_void_p | None:
    return None if array is None else ctypes.c_void_p(array.ctypes.data)


def network(
    output: str, *, width: int = 2, sizes: tuple[int, ...] = (20, 12, 40, 33), dilations: tuple[int, ...] = (1, 2, 3)
) -> WaveNetWeights:
    """Random weights at a scale where every part of the network matters; awkward channel counts."""
    residual, gate, skip, head = sizes
    layers, hop = len(dilations), 5
    outputs = {"mulaw8": 256, "mulaw10": 1024, "gaussian": 2, "logistics": 12}[output]
    rows = outputs if output.startswith("mulaw") else 2
    draw = torch.Generator().manual_seed(7)

    def normal(*shape: int, scale: float) -> torch.Tensor:
        return torch.randn(shape, generator=draw) * scale

    return WaveNetWeights(
        input=normal(rows, residual, scale=0.7),
        dilated=normal(layers, 2 * gate, residual, width, scale=1.3 / (residual * width) ** 0.5),
        dilated_bias=normal(layers, 2 * gate, scale=0.3),
        residual=normal(layers - 1, residual, gate, scale=1.0 / gate**0.5),
        residual_bias=normal(layers - 1, residual, scale=0.1),
        skip=normal(skip, layers * gate, scale=1.0 / gate**0.5),
        skip_bias=normal(skip, scale=0.2),
        head1=normal(head, skip, scale=1.5 / skip**0.5),
        head1_bias=normal(head, scale=0.2),
        head2=normal(outputs, head, scale=2.0 / head**0.5),
        head2_bias=normal(outputs, scale=0.2) - (1.5 if output == "gaussian" else 0.0),
        interpolation=normal(3, hop, scale=0.5),
        dilations=dilations,
        output=output,
    )


@dataclass
class Call:
    """What one call takes, for B streams and T samples after ``time`` others."""

    conditioning: Floats
    uniforms: Floats
    lengths: NDArray[np.int64]
    forced: Floats | None
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0


def make_call(weights: WaveNetWeights, streams: int, samples: int, *, seed: int = 1, forced: bool = True) -> Call:
    random = np.random.default_rng(seed)
    layers, channels = weights.dilated_bias.shape
    hop = weights.interpolation.shape[1]
    frames = (samples - 1) // hop + 3
    uniforms = random.uniform(1e-6, 1 - 1e-6, (streams, samples, 2 if weights.output == "logistics" else 1))
    classes = weights.input.shape[0]
    values = (
        random.integers(0, classes, (streams, samples))
        if weights.output.startswith("mulaw")
        else random.uniform(-1, 1, (streams, samples))
    )
    return Call(
        random.standard_normal((streams, frames, layers, channels)).astype(np.float32) * 0.5,
        uniforms.astype(np.float32),
        np.full(streams, samples, np.int64),
        values.astype(np.float32) if forced else None,
    )


def generate(
    device: ctypes.CDLL, weights: WaveNetWeights, call: Call, precision: str, *, variant: int = 1, pieces: int = 1
) -> tuple[Floats, Floats]:
    """(values, parameters), made in so many calls of the kernel."""
    packed = pack_wavenet(weights, precision)
    streams, samples, _ = call.uniforms.shape
    state = new_state(packed, streams).numpy()
    assert device.weights_bytes(pointer(packed.numpy())) == packed.numel()
    assert device.bytes_of_state(pointer(packed.numpy()), ctypes.c_int64(streams)) == state.size
    hop = weights.interpolation.shape[1]
    outputs = weights.head2_bias.numel()
    whole = np.zeros((streams, samples), np.float32), np.zeros((streams, samples, outputs), np.float32)
    edges = np.linspace(0, samples, pieces + 1).astype(int)
    for start, stop in itertools.pairwise(edges):
        first = start // hop
        conditioning = np.ascontiguousarray(call.conditioning[:, first : (stop - 1) // hop + 3])
        uniforms = np.ascontiguousarray(call.uniforms[:, start:stop])
        forced = None if call.forced is None else np.ascontiguousarray(call.forced[:, start:stop])
        lengths = np.clip(call.lengths - start, 0, stop - start)
        values = np.zeros((streams, stop - start), np.float32)
        parameters = np.zeros((streams, stop - start, outputs), np.float32)
        wrong = device.generate(
            pointer(packed.numpy()),
            *(pointer(a) for a in (state, conditioning, uniforms, lengths, forced, values, parameters)),
            *(ctypes.c_int64(n) for n in (streams, stop - start, conditioning.shape[1])),
            ctypes.c_float(call.temperature),
            call.top_k,
            ctypes.c_float(call.top_p),
            variant,
        )
        assert wrong is None, wrong
        whole[0][:, start:stop], whole[1][:, start:stop] = values, parameters
    return whole


def rounder(precision: str):
    """(weights, activations, z) as a precision has them."""

    def bf16(x: Floats) -> Floats:
        return torch.from_numpy(np.ascontiguousarray(x, np.float32)).to(torch.bfloat16).float().numpy()

    def rows(w: Floats) -> Floats:
        scale = np.abs(w).max(-1, keepdims=True) / np.float32(127)
        return np.rint(w / scale) * scale

    def vector(x: Floats) -> Floats:
        scale = np.abs(x).max(-1, keepdims=True) / np.float32(32767)
        return np.rint(x / np.where(scale > 0, scale, 1)) * scale

    same = (lambda x: x,) * 3
    return {"fp32": same, "bf16": (bf16, bf16, bf16), "int8": (rows, vector, lambda z: np.rint(z * 32767) / 32767)}[
        precision
    ]


def head_outputs(weights: WaveNetWeights, call: Call, precision: str) -> NDArray[np.float64]:
    """The head's outputs (B, T, O) where call.forced is fed back: the network as its definition has it, in float64."""
    w, act, act_z = rounder(precision)
    streams, samples, _ = call.uniforms.shape
    layers, twice, _, width = weights.dilated.shape
    gate, hop = twice // 2, weights.interpolation.shape[1]
    a = {
        name: getattr(weights, name).numpy()
        for name in WaveNetWeights.__dataclass_fields__
        if name not in ("dilations", "output")
    }
    assert call.forced is not None
    softmaxed = weights.output.startswith("mulaw")
    first = np.full((streams, 1), a["input"].shape[0] // 2 if softmaxed else 0.0)
    fed = np.concatenate([first, call.forced[:, :-1]], 1)
    x = a["input"][fed.astype(int)] if softmaxed else fed[..., None] * a["input"][0] + a["input"][1]
    t = np.arange(samples)
    skip_weight = w(a["skip"])
    skip = np.zeros((streams, samples, len(skip_weight))) + a["skip_bias"]
    for layer, dilation in enumerate(weights.dilations):
        pre = np.zeros((streams, samples, twice)) + a["dilated_bias"][layer]
        for j in range(3):
            pre += a["interpolation"][j, t % hop][:, None] * call.conditioning[:, t // hop + j, layer]
        for tap in range(width):
            back = (width - 1 - tap) * dilation
            delayed = np.pad(act(x), ((0, 0), (back, 0), (0, 0)))[:, :samples]
            pre += delayed @ w(a["dilated"][layer, :, :, tap]).T
        z = act_z(np.tanh(pre[..., :gate]) / (1 + np.exp(-pre[..., gate:])))
        skip += z @ skip_weight[:, layer * gate : (layer + 1) * gate].T
        if layer + 1 < layers:
            x = x + a["residual_bias"][layer] + z @ w(a["residual"][layer]).T
    h = act(np.maximum(skip, 0)) @ w(a["head1"]).T + a["head1_bias"]
    return act(np.maximum(h, 0)) @ w(a["head2"]).T + a["head2_bias"]


def draw(parameters: Floats, output: str, call: Call, u: Floats) -> float:
    """One sample from one head's outputs, by the definition."""
    p, tau = parameters.astype(np.float64), call.temperature
    if output == "gaussian":
        noise = 0 if tau == 0 else np.exp(max(p[1], -9)) * tau * ndtri(np.float64(u[0]))
        return float(np.clip(p[0] + noise, -1, 1))
    count = p.size // 3 if output == "logistics" else p.size
    if tau == 0:
        k = int(np.argmax(p[:count]))
    else:
        mass = softmax(p[:count] / tau)
        if output != "logistics":
            order = np.lexsort((np.arange(count), -mass))
            order = order[: call.top_k or count]
            reached = np.cumsum(mass[order]) / mass[order].sum()
            if call.top_p < 1:
                order = order[: int(np.searchsorted(reached, call.top_p)) + 1]
            mass = np.where(np.isin(np.arange(count), order), mass, 0)
        k = int(np.argmax(np.cumsum(mass) > u[0] * mass.sum()))
    if output != "logistics":
        return k
    noise = 0 if tau == 0 else np.exp(max(p[2 * count + k], -9)) * tau * (np.log(u[1]) - np.log1p(-np.float64(u[1])))
    return float(np.clip(p[count + k] + noise, -1, 1))


BOUNDS = {"fp32": 4e-6, "bf16": 1e-2, "int8": 5e-4}  # bf16: a value at the edge of two roundings may fall to either


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
@pytest.mark.parametrize(("output", "width"), [("mulaw8", 2), ("gaussian", 3), ("logistics", 2)])
def test_head_outputs_are_the_networks(device: ctypes.CDLL, precision: str, output: str, width: int) -> None:
    machine(device, seed=3)
    weights = network(output, width=width)
    call = make_call(weights, 3, 17)
    values, parameters = generate(device, weights, call, precision)
    expected = head_outputs(weights, call, precision)
    assert np.abs(expected).max() > 1
    assert np.abs(parameters - expected).max() < BOUNDS[precision] * np.abs(expected).max()
    for b in range(3):
        for t in range(17):
            sample = draw(parameters[b, t], output, call, call.uniforms[b, t])
            assert values[b, t] == pytest.approx(sample, abs=0 if output == "mulaw8" else 2e-6)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
@pytest.mark.parametrize("variant", [2, 4, 8, 16])
def test_a_cluster_makes_what_the_grid_makes(device: ctypes.CDLL, precision: str, variant: int) -> None:
    """To the bit, whatever the order of threads, how many streams are in flight, and what fits in shared memory."""
    weights = network("mulaw8", dilations=(1, 2, 4, 1, 2, 4))
    call = make_call(weights, 11, 9, forced=False)
    machine(device)
    expected = generate(device, weights, call, precision, variant=1)
    assert len(np.unique(expected[0])) > 20
    needs = plan(device, weights, precision, 11, variant)
    for seed, clusters, shared in ((1, 1, SHARED), (2, 3, 60_000), (3, 1, 44_000)):
        machine(device, shared=shared, clusters=clusters, seed=seed)
        if shared == SHARED:
            assert needs["cluster"] == variant
        made = generate(device, weights, call, precision, variant=variant)
        assert np.array_equal(made[0], expected[0])
        assert np.array_equal(made[1], expected[1])


def plan(device: ctypes.CDLL, weights: WaveNetWeights, precision: str, streams: int, variant: int = 0) -> dict:
    numbers = np.zeros(6 + 17, np.int64)
    packed = pack_wavenet(weights, precision).numpy()
    wrong = device.plan(pointer(packed), ctypes.c_int64(streams), variant, pointer(numbers))
    if wrong is not None:
        return {"wrong": wrong.decode()}
    names = ("cluster", "tiles", "columns", "group", "clusters", "shared")
    return dict(zip(names, numbers[:6].tolist(), strict=True)) | {"first": numbers[6:].tolist()}


@pytest.mark.parametrize("output", ["mulaw8", "mulaw10", "gaussian", "logistics"])
def test_a_stream_is_its_own(device: ctypes.CDLL, output: str) -> None:
    """Its samples depend neither on its batch, nor on how the call is divided, nor on the order of threads."""
    weights = network(output, width=3)
    call = make_call(weights, 10, 13, forced=False)
    machine(device, seed=11)
    values, parameters = generate(device, weights, call, "bf16")
    assert np.abs(parameters).max() > 1
    for pieces, variant, seed in ((5, 1, 12), (3, 4, 13)):
        machine(device, seed=seed)
        again = generate(device, weights, call, "bf16", pieces=pieces, variant=variant)
        assert np.array_equal(again[0], values)
        assert np.array_equal(again[1], parameters)
    one = Call(call.conditioning[9:], call.uniforms[9:], call.lengths[9:], None)
    alone = generate(device, weights, one, "bf16")
    assert np.array_equal(alone[0][0], values[9])
    assert np.array_equal(alone[1][0], parameters[9])
    call.forced = values  # what is fed back is what was made
    forced = generate(device, weights, call, "bf16", variant=2)
    assert np.array_equal(forced[0], values)
    assert np.array_equal(forced[1], parameters)


def test_streams_end_where_their_length_says(device: ctypes.CDLL) -> None:
    weights = network("gaussian")
    call = make_call(weights, 9, 12, forced=False)
    machine(device, seed=5)
    whole, _ = generate(device, weights, call, "fp32")
    call.lengths = np.array([12, 0, 5, 1, 12, 11, 0, 3, 4])
    for variant, pieces in ((1, 1), (4, 1), (1, 4)):
        machine(device, clusters=1, seed=6)
        values, parameters = generate(device, weights, call, "fp32", variant=variant, pieces=pieces)
        for b, length in enumerate(call.lengths):
            assert np.array_equal(values[b, :length], whole[b, :length])
            assert not values[b, length:].any()
            assert not parameters[b, length:].any()
            assert parameters[b, :length].any() == (length > 0)


@pytest.mark.parametrize("output", ["mulaw8", "mulaw10", "gaussian", "logistics"])
@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"),
    [(0.0, 0, 1.0), (0.7, 0, 1.0), (1.3, 5, 1.0), (1.0, 1, 1.0), (1.0, 0, 0.8), (2.0, 40, 0.5), (1.0, 0, 1e-6)],
)
def test_samples_are_drawn_by_the_definition(
    device: ctypes.CDLL, output: str, temperature: float, top_k: int, top_p: float
) -> None:
    machine(device, seed=4)
    weights = network(output)
    call = make_call(weights, 8, 10)
    call.temperature, call.top_k, call.top_p = temperature, top_k, top_p
    values, parameters = generate(device, weights, call, "fp32")
    for b in range(8):
        for t in range(10):
            sample = draw(parameters[b, t], output, call, call.uniforms[b, t])
            assert values[b, t] == pytest.approx(sample, abs=0 if output.startswith("mulaw") else 3e-6)


def test_equal_logits_keep_the_lower_classes(device: ctypes.CDLL) -> None:
    """With no weights in the head all classes are as likely: ties fall to the lower class, in each cut."""
    weights = network("mulaw8")
    weights.head2.zero_()
    weights.head2_bias.zero_()
    call = make_call(weights, 1, 40)
    machine(device)
    for temperature, top_k, top_p, classes in (
        (0.0, 0, 1.0, 1),
        (1.0, 7, 1.0, 7),
        (1.0, 0, 0.125, 32),
        (1.0, 8, 0.5, 4),
    ):
        call.temperature, call.top_k, call.top_p = temperature, top_k, top_p
        values, _ = generate(device, weights, call, "fp32")
        assert np.array_equal(values[0], np.floor(call.uniforms[0, :, 0] * classes))


def test_normal_quantiles(device: ctypes.CDLL) -> None:
    p = np.concatenate([np.geomspace(1e-30, 0.5, 200), 1 - np.geomspace(1e-7, 0.4, 100)]).astype(np.float32)
    ours = np.array([device.ndtri_of(ctypes.c_float(v)) for v in p])
    expected = ndtri(p.astype(np.float64))
    assert np.abs(ours - expected).max() < 2e-6 * np.abs(expected).max()


def test_bad_values_are_found(device: ctypes.CDLL) -> None:
    machine(device, seed=2)
    values = np.random.default_rng(1).integers(1, 9, 300_000).astype(np.float32)

    def found(low: float, high: float, whole: bool = False) -> int:
        return device.check_of(
            pointer(values), ctypes.c_int64(values.size), ctypes.c_float(low), ctypes.c_float(high), whole
        )

    assert found(0, 9, True) == found(-np.inf, np.inf) == 0
    assert found(1, 9) == found(0, 8) == 1
    for bad in (2.5, np.nan, np.inf, -np.inf):
        values[-1] = bad
        assert found(-np.inf, np.inf, True) == 1
    values[-1] = 2.5
    assert found(-np.inf, np.inf) == 0


def test_limits_are_those_of_the_python_side(device: ctypes.CDLL) -> None:
    numbers = np.zeros(5, np.int64)
    device.limits(pointer(numbers))
    limits = wavenet_cuda.LIMITS
    assert limits["residual"] == limits["gate"]
    assert limits["skip"] == limits["head"] == limits["outputs"]
    ours = [limits["gate"], limits["skip"], limits["layers"], limits["hop"], wavenet_cuda.MAX_DILATION]
    assert numbers.tolist() == ours


def test_plans(device: ctypes.CDLL) -> None:
    weights = network("mulaw8", sizes=(64, 64, 256, 256), dilations=tuple(2 ** (i % 10) for i in range(20)))
    machine(device, clusters=8)
    few = plan(device, weights, "bf16", 1)
    assert few["cluster"] == 16  # 1.74 MB do not fit into eight blocks beside the buffers
    assert few["clusters"] == few["columns"] == few["tiles"] == 1
    assert few["first"][0] == 0
    assert few["first"][-1] == 22
    assert sorted(few["first"]) == few["first"]
    assert plan(device, weights, "int8", 1)["cluster"] == 8
    many = plan(device, weights, "bf16", 100)
    assert many["clusters"] * many["tiles"] * many["columns"] >= 100
    assert (many["clusters"] - 1) * many["tiles"] * many["columns"] < 100
    crowd = plan(device, weights, "bf16", 1024)
    assert (crowd["cluster"], crowd["clusters"], crowd["columns"]) == (1, 128, 8)
    machine(device, shared=166_912, clusters=0)  # an A100
    assert plan(device, weights, "bf16", 1)["cluster"] == 1
    assert "no cluster" in plan(device, weights, "bf16", 1, 8)["wrong"]
    largest = network("mulaw10", width=3, sizes=(256, 256, 1024, 1024), dilations=(1, 2))
    for precision in ("fp32", "bf16", "int8"):
        assert plan(device, largest, precision, 3)["cluster"] == 1
    machine(device, shared=65_536, clusters=0)
    assert "shared memory" in plan(device, largest, "fp32", 3)["wrong"]


@pytest.mark.slow
def test_the_largest_network(device: ctypes.CDLL) -> None:
    weights = network("mulaw10", width=3, sizes=(256, 256, 1024, 1024), dilations=(1, 2, 5))
    call = make_call(weights, 1, 3)
    machine(device, shared=166_912, clusters=0)
    _, parameters = generate(device, weights, call, "fp32")
    expected = head_outputs(weights, call, "fp32")
    assert np.abs(parameters - expected).max() < 4e-6 * np.abs(expected).max()


# --- the gated layer

ELEMENTS = {torch.float32: 0, torch.bfloat16: 1, torch.float64: 2}


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    library = build("layer_emulated", tmp_path_factory.mktemp("layer"))
    library.forward_of.restype = library.backward_of.restype = ctypes.c_int64
    return library


@dataclass
class Layer:
    """A layer's tensors in float64, and how it dilates."""

    x: torch.Tensor
    conditioning: torch.Tensor | None
    dilated_weight: torch.Tensor
    dilated_bias: torch.Tensor | None
    conditioning_weight: torch.Tensor | None
    output_weight: torch.Tensor
    output_bias: torch.Tensor | None
    dilation: int
    causal: bool

    def tensors(self) -> list[torch.Tensor | None]:
        return [getattr(self, name) for name in list(Layer.__dataclass_fields__)[:7]]

    def numbers(self) -> np.ndarray:
        batch, residual, length = self.x.shape
        rows, gate = self.output_weight.shape
        channels = 0 if self.conditioning is None else self.conditioning.shape[1]
        width = self.dilated_weight.shape[2]
        sizes = (batch, length, residual, gate, rows - residual, channels, width, self.dilation, self.causal)
        return np.array(sizes, np.int64)


def make_layer(
    sizes: tuple[int, int, int, int, int, int],
    width: int,
    dilation: int,
    causal: bool,
    dtype: torch.dtype,
    biased: bool = True,
) -> Layer:
    batch, length, residual, gate, skip, channels = sizes
    draw = torch.Generator().manual_seed(sum(sizes))

    def normal(*shape: int, scale: float = 1.0) -> torch.Tensor:
        values = torch.randn(shape, generator=draw, dtype=torch.float64) * scale
        return values.to(dtype).double()  # what the kernel is given, exactly

    return Layer(
        normal(batch, residual, length),
        normal(batch, channels, length) if channels else None,
        normal(2 * gate, residual, width, scale=(residual * width) ** -0.5),
        normal(2 * gate, scale=0.3) if biased else None,
        normal(2 * gate, channels, scale=channels**-0.5) if channels else None,
        normal(residual + skip, gate, scale=gate**-0.5),
        normal(residual + skip, scale=0.3) if biased else None,
        dilation,
        causal,
    )


def call_layer(function: object, numbers: np.ndarray, dtype: torch.dtype, tensors: list[torch.Tensor | None]) -> int:
    """Hands tensors of ``dtype`` to the emulated kernels, which write into them; the bytes of workspace."""
    pointers = (ctypes.c_void_p * len(tensors))(*(None if t is None else t.data_ptr() for t in tensors))
    sizes = np.array([0 if t is None else t.numel() * t.element_size() for t in tensors], np.int64)
    used = function(pointer(numbers), ELEMENTS[dtype], pointers, pointer(sizes))
    assert used >= 0
    return used


def given(tensors: list[torch.Tensor | None], dtype: torch.dtype) -> list[torch.Tensor | None]:
    return [None if t is None else t.to(dtype).contiguous() for t in tensors]


def blank(tensors: list[torch.Tensor | None], dtype: torch.dtype) -> list[torch.Tensor | None]:
    return [None if t is None else torch.full(t.shape, float("nan"), dtype=dtype) for t in tensors]


LAYERS = [  # (batch, length, residual, gate, skip, conditioning), width, dilation, causal
    ((2, 70, 20, 12, 37, 9), 2, 3, True),
    ((1, 131, 65, 33, 1, 0), 3, 64, True),
    ((2, 65, 5, 40, 0, 70), 3, 7, False),
    ((3, 1, 1, 1, 1, 1), 1, 1, False),
    ((1, 600, 33, 8, 70, 3), 3, 500, True),
]
# Error over the largest value: of one product in that precision; bf16 rounds z and the gradients in between.
LAYER_BOUNDS = {torch.float32: 3e-6, torch.float64: 1e-14, torch.bfloat16: 1.2e-2}


@pytest.mark.parametrize("dtype", LAYER_BOUNDS)
@pytest.mark.parametrize(("sizes", "width", "dilation", "causal"), LAYERS)
def test_layer_forward(
    layer: ctypes.CDLL,
    dtype: torch.dtype,
    sizes: tuple[int, int, int, int, int, int],
    width: int,
    dilation: int,
    causal: bool,
) -> None:
    case = make_layer(sizes, width, dilation, causal, dtype, biased=sizes[0] != 3)
    expected = gated_layer_reference(*case.tensors(), dilation, causal)
    operands = 19456 if dtype == torch.float64 else 9728
    for seed, shared in ((0, SHARED), (1, operands)):  # z in shared memory; z in the workspace where it does not fit
        layer.machine(ctypes.c_int64(shared), ctypes.c_uint64(seed))
        made = blank(list(expected), dtype)
        used = call_layer(layer.forward_of, case.numbers(), dtype, given(case.tensors(), dtype) + made)
        assert (used > 0) == (seed == 1)
        for ours, theirs in zip(made, expected, strict=True):
            assert ours.numel() == 0 or (ours.double() - theirs).abs().max() < LAYER_BOUNDS[dtype] * theirs.abs().max()


@pytest.mark.parametrize("dtype", LAYER_BOUNDS)
@pytest.mark.parametrize(("sizes", "width", "dilation", "causal"), LAYERS)
def test_layer_backward(
    layer: ctypes.CDLL,
    dtype: torch.dtype,
    sizes: tuple[int, int, int, int, int, int],
    width: int,
    dilation: int,
    causal: bool,
) -> None:
    layer.machine(ctypes.c_int64(SHARED), ctypes.c_uint64(9))
    case = make_layer(sizes, width, dilation, causal, dtype, biased=sizes[0] != 3)
    leaves = [None if t is None else t.requires_grad_() for t in case.tensors()]
    residual, skip = gated_layer_reference(*leaves, dilation, causal)
    draw = torch.Generator().manual_seed(3)
    upstream = [torch.randn(t.shape, generator=draw, dtype=torch.float64).to(dtype).double() for t in (residual, skip)]
    torch.autograd.backward([residual, skip], upstream)
    gradients = blank(leaves, dtype)
    if gradients[6] is None:
        gradients[6] = torch.full((residual.shape[1] + skip.shape[1],), float("nan"), dtype=dtype)
    tensors = given([*upstream, *(None if t is None else t.detach() for t in leaves[:6])], dtype)
    call_layer(layer.backward_of, case.numbers(), dtype, tensors + gradients)
    for ours, leaf in zip(gradients, leaves, strict=True):
        if leaf is not None:
            assert (ours.double() - leaf.grad).abs().max() < LAYER_BOUNDS[dtype] * leaf.grad.abs().max()
    if leaves[6] is None:  # the bias that is not there has a gradient all the same
        rows = torch.cat([upstream[0], upstream[1]], 1).sum((0, 2))
        assert (gradients[6].double() - rows).abs().max() < LAYER_BOUNDS[dtype] * rows.abs().max()
