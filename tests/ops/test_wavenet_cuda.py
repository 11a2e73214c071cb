"""WaveNet's CUDA kernels against those of the CPU; what needs no device is tested without."""

import pytest
import torch
from torch import Tensor

from wavegen.errors import InputError
from wavegen.ops import wavenet_cuda
from wavegen.ops.gated_layer import gated_layer_reference
from wavegen.ops.wavenet import PackedWaveNet, WaveNetWeights

OUTPUTS = {"mulaw8": 256, "mulaw10": 1024, "gaussian": 2, "logistics": 30}
PRECISIONS = ("fp32", "bf16", "int8")


def network(
    output: str = "mulaw8",
    *,
    width: int = 2,
    sizes: tuple[int, int, int, int] = (64, 48, 100, 80),
    dilations: tuple[int, ...] = (1, 2, 4, 8, 1, 2, 4, 8),
    hop: int = 7,
) -> WaveNetWeights:
    residual, gate, skip, head = sizes
    layers, outputs = len(dilations), OUTPUTS[output]
    draw = torch.Generator().manual_seed(5)

    def normal(*shape: int, scale: float) -> Tensor:
        return torch.randn(shape, generator=draw) * scale

    return WaveNetWeights(
        input=normal(outputs if output.startswith("mulaw") else 2, residual, scale=0.7),
        dilated=normal(layers, 2 * gate, residual, width, scale=1.3 / (residual * width) ** 0.5),
        dilated_bias=normal(layers, 2 * gate, scale=0.3),
        residual=normal(layers - 1, residual, gate, scale=gate**-0.5),
        residual_bias=normal(layers - 1, residual, scale=0.1),
        skip=normal(skip, layers * gate, scale=gate**-0.5),
        skip_bias=normal(skip, scale=0.2),
        head1=normal(head, skip, scale=1.5 / skip**0.5),
        head1_bias=normal(head, scale=0.2),
        head2=normal(outputs, head, scale=2.0 / head**0.5),
        head2_bias=normal(outputs, scale=0.2),
        interpolation=normal(3, hop, scale=0.5),
        dilations=dilations,
        output=output,
    )


# --- without a device


def test_packed_sizes_are_the_networks() -> None:
    packed = wavenet_cuda.pack_wavenet(network("logistics", width=3), "int8")
    sizes = wavenet_cuda.packed_sizes(packed)
    assert (sizes.format, sizes.output, sizes.width, sizes.layers, sizes.hop) == (2, 2, 3, 8, 7)
    assert (sizes.residual, sizes.gate, sizes.skip, sizes.head, sizes.outputs) == (64, 48, 100, 80, 30)
    assert sizes.slots == 2 * (2 + 4 + 8 + 16)


def test_a_ring_has_a_power_of_two_of_slots() -> None:
    packed = wavenet_cuda.pack_wavenet(network(width=3, dilations=(1, 3, 5)), "bf16")
    assert wavenet_cuda.packed_sizes(packed).slots == 2 + 8 + 16


def test_weights_take_the_bytes_of_their_precision() -> None:
    sizes = (64, 64, 256, 256)
    weights = network(sizes=sizes, dilations=tuple(2 ** (i % 10) for i in range(20)))
    products = 868_352 - 64 * 64  # of a sample; the last layer has no residual output
    tables = 4 * (256 * 64 + 3 * 7 + 20 * 192 + 3 * 256)
    for precision, size in (("fp32", 4), ("bf16", 2), ("int8", 1)):
        scales = 4 * (20 * (2 * 128 + 256) + 19 * 64 + 512) if precision == "int8" else 0
        beyond = wavenet_cuda.pack_wavenet(weights, precision).numel() - products * size - scales - tables
        assert 0 <= beyond < 1024


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_new_state_is_silence(precision: str) -> None:
    packed = wavenet_cuda.pack_wavenet(network("mulaw10"), precision)
    state = wavenet_cuda.new_state(packed, 3)
    assert state[64:76].view(torch.float32).tolist() == [512.0] * 3
    assert not state[76:].any()
    header = state[:64].view(torch.int64).tolist()
    assert header[1:4] == [state.numel(), 3, 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sizes": (257, 8, 8, 8)}, "residual must be between 1 and 256 on CUDA, not 257"),
        ({"sizes": (8, 300, 8, 8)}, "gate must be between 1 and 256"),
        ({"sizes": (8, 8, 1025, 8)}, "skip must be between 1 and 1024"),
        ({"sizes": (8, 8, 8, 1025)}, "head must be between 1 and 1024"),
        ({"sizes": (8, 8, 8, 8), "dilations": (1,) * 257}, "layers must be between 1 and 256"),
        ({"sizes": (8, 8, 8, 8), "hop": 65537}, "hop must be between 1 and 65536"),
        ({"sizes": (8, 8, 8, 8), "dilations": (1, 1048577)}, "dilations must not exceed 1048576"),
    ],
)
def test_sizes_out_of_range(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        wavenet_cuda.pack_wavenet(network(**change), "bf16")


def test_bad_arguments() -> None:
    with pytest.raises(InputError, match="precision must be one of fp32, bf16, int8, not 'fp16'"):
        wavenet_cuda.pack_wavenet(network(), "fp16")
    packed = wavenet_cuda.pack_wavenet(network(), "bf16")
    with pytest.raises(InputError, match="streams must be at least 1, not 0"):
        wavenet_cuda.new_state(packed, 0)
    with pytest.raises(InputError, match="damaged"):
        wavenet_cuda.packed_sizes(packed[:-1])
    with pytest.raises(InputError, match="1-D uint8"):
        wavenet_cuda.packed_sizes(packed.float())


# --- on a device

needs_device = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")


def on_device(function: object) -> object:
    return pytest.mark.cuda(needs_device(function))


def inputs(net: PackedWaveNet, streams: int, samples: int, *, seed: int = 3) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    first, last = net.frames(0, samples)
    conditioning = torch.randn(streams, last - first, net.layers, 2 * net.gate, generator=draw) * 0.5
    uniforms = torch.rand(streams, samples, net.uniforms, generator=draw).clamp(1e-6, 1 - 1e-6)
    forced = torch.rand(streams, samples, generator=draw) * 2 - 1
    if net.classes:
        forced = torch.randint(net.classes, (streams, samples), generator=draw).float()
    return {"conditioning": conditioning, "uniforms": uniforms, "forced": forced}


def run(net: PackedWaveNet, given: dict[str, Tensor | None], **options: object) -> tuple[Tensor, Tensor]:
    moved = {name: None if t is None else t.to(net.device) for name, t in given.items()}
    state = net.state(given["uniforms"].shape[0])
    values, parameters = net.generate(state, **moved, with_parameters=True, **options)
    return values.cpu(), parameters.cpu()


# Largest error of the head's outputs over their largest value. Reduced precision differs where a value lies at the edge
# of two roundings.
BOUNDS = {"fp32": 2e-5, "bf16": 4e-2, "int8": 4e-3}


@on_device
@pytest.mark.parametrize("cluster", ["", "1", "2", "8", "16"])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("width", [2, 3])
@pytest.mark.parametrize("output", OUTPUTS)
def test_the_device_makes_what_the_cpu_makes(
    output: str, width: int, precision: str, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if cluster not in ("", "1") and torch.cuda.get_device_capability()[0] < 9:
        pytest.skip("this device has no clusters")
    monkeypatch.setenv("WAVEGEN_CUDA_CLUSTER", cluster)
    weights = network(output, width=width)
    host, device = PackedWaveNet(weights, precision), PackedWaveNet(weights, precision, "cuda")
    given = inputs(host, 11, 60)
    expected_values, expected = run(host, given, temperature=0.8)
    values, parameters = run(device, given, temperature=0.8)
    assert (parameters - expected).abs().max() < BOUNDS[precision] * expected.abs().max()
    if precision == "fp32":  # a draw may fall on the other side of an edge, rarely
        same = (values - expected_values).abs() < (0.5 if host.classes else 1e-4)
        assert same.float().mean() > 0.99


@on_device
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_streams_samples_are_its_own(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the bit: whatever the batch, the cluster and the division into calls."""
    device = PackedWaveNet(network("mulaw10", width=3), precision, "cuda")
    given: dict[str, Tensor | None] = {**inputs(device, 40, 50), "forced": None}
    values, parameters = run(device, given)
    assert len(values.unique()) > 50
    sizes = ["1", "2", "4", "8"] if torch.cuda.get_device_capability()[0] >= 9 else ["1"]
    for size in sizes:
        monkeypatch.setenv("WAVEGEN_CUDA_CLUSTER", size)
        again = run(device, given)
        assert torch.equal(again[0], values)
        assert torch.equal(again[1], parameters)
    monkeypatch.delenv("WAVEGEN_CUDA_CLUSTER")
    alone = run(device, {name: None if t is None else t[17:18] for name, t in given.items()})
    assert torch.equal(alone[0][0], values[17])
    state, start, parts = device.state(40), 0, []
    for samples in (1, 13, 36):
        first, last = device.frames(start, samples)
        part = (
            given["conditioning"][:, first + 1 : last + 1].cuda(),
            given["uniforms"][:, start : start + samples].cuda(),
        )
        parts.append(device.generate(state, *part)[0].cpu())
        start += samples
    assert torch.equal(torch.cat(parts, 1), values)


@on_device
def test_many_streams_that_end() -> None:
    device = PackedWaveNet(network("gaussian"), "bf16", "cuda")
    given: dict[str, Tensor | None] = {**inputs(device, 1030, 20), "forced": None}
    whole, _ = run(device, given)
    lengths = torch.arange(1030) % 21
    values, parameters = run(device, {**given, "lengths": lengths})
    inside = torch.arange(20) < lengths[:, None]
    assert torch.equal(values, torch.where(inside, whole, 0))
    assert not parameters[~inside].any()


@on_device
def test_the_device_refuses_what_it_cannot_use(monkeypatch: pytest.MonkeyPatch) -> None:
    device = PackedWaveNet(network("mulaw8"), "bf16", "cuda")
    good = inputs(device, 2, 10)
    nan = torch.full_like(good["conditioning"], float("nan"))
    for change, message in (
        ({"conditioning": good["conditioning"][:, 1:]}, "conditioning must have size"),
        ({"conditioning": nan}, "conditioning holds NaN"),
        ({"uniforms": good["uniforms"] * 0}, "uniforms must lie between 0 and 1"),
        ({"forced": good["forced"] + 256}, "forced must hold classes"),
        ({"lengths": torch.tensor([3, 11])}, "lengths must lie between 0 and 10"),
    ):
        with pytest.raises(InputError, match=message):
            run(device, {**good, **change})
    for options, message in (
        ({"temperature": -1.0}, "temperature"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_k": -1}, "top_k"),
    ):
        with pytest.raises(InputError, match=message):
            run(device, good, **options)
    state = device.state(2)
    moved = {name: t.cuda() for name, t in good.items()}
    device.generate(state, **moved, lengths=torch.tensor([10, 4]).cuda())
    first, last = device.frames(10, 10)
    more = torch.zeros(2, last - first, device.layers, 2 * device.gate, device="cuda")
    with pytest.raises(InputError, match="stream 1 has ended before"):
        device.generate(state, more, moved["uniforms"])
    monkeypatch.setenv("WAVEGEN_CUDA_CLUSTER", "3")
    with pytest.raises(InputError, match="WAVEGEN_CUDA_CLUSTER must be 1, 2, 4, 8 or 16"):
        run(device, good)


LAYER_BOUNDS = {torch.float32: 5e-6, torch.float64: 1e-13, torch.bfloat16: 1.5e-2}


@on_device
@pytest.mark.parametrize("dtype", LAYER_BOUNDS)
@pytest.mark.parametrize(
    ("sizes", "width", "dilation", "causal"),
    [
        ((2, 1001, 64, 64, 256, 80), 2, 512, True),
        ((1, 131, 65, 33, 1, 0), 3, 64, True),
        ((2, 65, 5, 400, 0, 70), 3, 7, False),
        ((3, 1, 1, 1, 1, 1), 1, 1, False),
    ],
)
def test_the_gated_layer(
    sizes: tuple[int, int, int, int, int, int], width: int, dilation: int, causal: bool, dtype: torch.dtype
) -> None:
    """Both passes against float64, on what the kernels were given."""
    batch, length, residual, gate, skip, channels = sizes
    draw = torch.Generator().manual_seed(1)

    def leaf(*shape: int, scale: float = 1.0) -> Tensor:
        values = torch.randn(shape, generator=draw, dtype=torch.float64) * scale
        return values.to(dtype).double().requires_grad_()

    leaves: list[Tensor | None] = [
        leaf(batch, residual, length),
        leaf(batch, channels, length) if channels else None,
        leaf(2 * gate, residual, width, scale=(residual * width) ** -0.5),
        leaf(2 * gate, scale=0.3),
        leaf(2 * gate, channels, scale=channels**-0.5) if channels else None,
        leaf(residual + skip, gate, scale=gate**-0.5),
        leaf(residual + skip, scale=0.3),
    ]
    expected = gated_layer_reference(*leaves, dilation, causal)
    upstream = [leaf(*t.shape).detach() for t in expected]
    torch.autograd.backward(list(expected), upstream)
    given = [None if t is None else t.detach().to("cuda", dtype) for t in leaves]
    made = torch.ops.wavegen.gated_layer(*given, dilation, causal)
    arguments = [t.to("cuda", dtype) for t in upstream] + given[:6]
    gradients = torch.ops.wavegen.gated_layer_backward(*arguments, dilation, causal)
    pairs = [*zip(made, expected, strict=True)]
    pairs += [(g, t.grad) for g, t in zip(gradients, leaves, strict=True) if t is not None]
    for ours, theirs in pairs:
        if theirs.numel():
            assert (ours.cpu().double() - theirs).abs().max() < LAYER_BOUNDS[dtype] * theirs.abs().max()
