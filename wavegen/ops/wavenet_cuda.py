"""WaveNet's weights and state as the CUDA kernels take them; csrc/cuda/generate.h states the layout."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wavegen.errors import InputError
from wavegen.ops.wavenet import WaveNetWeights

FORMATS = {"fp32": 0, "bf16": 1, "int8": 2}
_OUTPUTS = {"mulaw8": 0, "mulaw10": 0, "gaussian": 1, "logistics": 2}
# Largest sizes, as in generate.h. The smallest is 1, of the dilation too.
LIMITS = {"residual": 256, "gate": 256, "skip": 1024, "head": 1024, "outputs": 1024, "layers": 256, "hop": 1 << 16}
MAX_DILATION = 1 << 20

_WEIGHTS_MAGIC = 0x3157444347455657
_STATE_MAGIC = 0x3153444347455657
_PAD = 32
_LINE = 128


@dataclass(frozen=True)
class CudaSizes:
    """What the header of packed weights says. Channels are those of the network, before padding."""

    format: int
    output: int
    residual: int
    gate: int
    skip: int
    head: int
    outputs: int
    width: int
    layers: int
    hop: int
    slots: int


def pack_wavenet(weights: WaveNetWeights, precision: str) -> Tensor:
    """The network as a 1-D uint8 tensor on the CPU, to be moved to the device once.

    ``precision`` is "fp32", "bf16" or "int8" (one scale a row). InputError for another, and for sizes beyond LIMITS or
    dilations beyond MAX_DILATION.
    """
    if precision not in FORMATS:
        raise InputError(f"precision must be one of {', '.join(FORMATS)}, not {precision!r}")
    sizes, table = _measure(weights, precision)
    arrays = {name: getattr(weights, name).detach().numpy() for name in _ARRAYS}
    residual, gate = _padded(sizes.residual), _padded(sizes.gate)
    parts: list[NDArray[np.float32] | NDArray[np.uint8]] = [
        _lined(table),
        _fit(arrays["input"], arrays["input"].shape[0], residual),
        _lined(np.ascontiguousarray(arrays["interpolation"])),
        _fit(arrays["skip_bias"][None], 1, _padded(sizes.skip)),
    ]
    skip_scale = _row_scale(_fit(arrays["skip"], _padded(sizes.skip), sizes.layers * sizes.gate))  # over all layers
    for layer in range(sizes.layers):
        taps = [_interleave(arrays["dilated"][layer, :, :, tap], gate, residual) for tap in range(sizes.width)]
        bias = _interleave(arrays["dilated_bias"][layer][:, None], gate, 1)[:, 0]
        columns = slice(layer * sizes.gate, (layer + 1) * sizes.gate)
        parts += _matrix(taps[-1], bias, precision)
        for tap in taps[:-1]:
            parts += _matrix(tap, None, precision)
        parts += _matrix(_fit(arrays["skip"][:, columns], _padded(sizes.skip), gate), None, precision, skip_scale)
        if layer + 1 < sizes.layers:
            bias = _fit(arrays["residual_bias"][layer][None], 1, residual)[0]
            parts += _matrix(_fit(arrays["residual"][layer], residual, gate), bias, precision)
    for name, rows, inputs in (("head1", sizes.head, sizes.skip), ("head2", sizes.outputs, sizes.head)):
        bias = _fit(arrays[f"{name}_bias"][None], 1, _padded(rows))[0]
        parts += _matrix(_fit(arrays[name], _padded(rows), _padded(inputs)), bias, precision)
    body = b"".join(part.tobytes() for part in parts)
    header = np.zeros(16, np.int64)
    header[:2] = _WEIGHTS_MAGIC, header.nbytes + len(body)
    header[2 : 2 + len(_FIELDS)] = [getattr(sizes, name) for name in _FIELDS]
    return torch.from_numpy(np.frombuffer(bytearray(header.tobytes() + body), np.uint8).copy())


def packed_sizes(packed: Tensor) -> CudaSizes:
    """The sizes that packed weights, on any device, carry. InputError if they are not packed weights."""
    if packed.dtype != torch.uint8 or packed.dim() != 1 or packed.numel() < 128:
        raise InputError("packed weights must be a 1-D uint8 tensor from pack_wavenet")
    header = packed[:128].cpu().numpy().view(np.int64)
    if header[0] != _WEIGHTS_MAGIC or header[1] != packed.numel():
        raise InputError("packed weights are damaged, or packed for another device or version")
    return CudaSizes(*(int(v) for v in header[2 : 2 + len(_FIELDS)]))


def new_state(packed: Tensor, streams: int) -> Tensor:
    """The state before the first sample of ``streams`` streams, on the device of ``packed``. InputError below 1."""
    if streams < 1:
        raise InputError(f"streams must be at least 1, not {streams}")
    sizes = packed_sizes(packed)
    elements = 4 if sizes.format == FORMATS["fp32"] else 2
    slot = _padded(sizes.residual) * elements + (16 if sizes.format == FORMATS["int8"] else 0)
    values = -(-4 * streams // _LINE) * _LINE
    header = np.zeros(8, np.int64)
    header[:6] = _STATE_MAGIC, header.nbytes + values + streams * sizes.slots * slot, streams, 0, sizes.slots, slot
    last = np.full(streams, sizes.outputs // 2 if sizes.output == 0 else 0, np.float32)
    state = torch.zeros(int(header[1]), dtype=torch.uint8, device=packed.device)
    start = torch.from_numpy(np.frombuffer(bytearray(header.tobytes() + last.tobytes()), np.uint8).copy())
    state[: start.numel()] = start.to(packed.device)
    return state


_ARRAYS = (
    *("input", "dilated", "dilated_bias", "residual", "residual_bias", "skip", "skip_bias"),
    *("head1", "head1_bias", "head2", "head2_bias", "interpolation"),
)
_FIELDS = tuple(CudaSizes.__dataclass_fields__)


def _measure(weights: WaveNetWeights, precision: str) -> tuple[CudaSizes, NDArray[np.int64]]:
    """The sizes, and of each layer (dilation, its ring's first slot, its ring's slots: a power of two)."""
    layers, twice, residual, width = weights.dilated.shape
    counts = {
        "residual": residual,
        "gate": twice // 2,
        "skip": weights.skip_bias.numel(),
        "head": weights.head1_bias.numel(),
        "outputs": weights.head2_bias.numel(),
        "layers": layers,
        "hop": weights.interpolation.shape[1],
    }
    for name, most in LIMITS.items():
        if not 1 <= counts[name] <= most:
            raise InputError(f"{name} must be between 1 and {most} on CUDA, not {counts[name]}")
    if max(weights.dilations) > MAX_DILATION:
        raise InputError(f"dilations must not exceed {MAX_DILATION} on CUDA, not {max(weights.dilations)}")
    table = np.zeros((layers, 3), np.int64)
    slots = 0
    for layer, dilation in enumerate(weights.dilations):
        ring = 1 << ((width - 1) * dilation - 1).bit_length()
        table[layer] = dilation, slots, ring
        slots += ring
    sizes = CudaSizes(format=FORMATS[precision], output=_OUTPUTS[weights.output], width=width, slots=slots, **counts)
    return sizes, table


def _padded(channels: int) -> int:
    return -(-channels // _PAD) * _PAD


def _lined(values: NDArray[np.int64] | NDArray[np.float32]) -> NDArray[np.uint8]:
    raw = np.frombuffer(values.tobytes(), np.uint8)
    return np.pad(raw, (0, -raw.size % _LINE))


def _fit(values: NDArray[np.float32], rows: int, columns: int) -> NDArray[np.float32]:
    return np.pad(values, ((0, rows - values.shape[0]), (0, columns - values.shape[1]))).astype(np.float32)


def _interleave(values: NDArray[np.float32], gate: int, columns: int) -> NDArray[np.float32]:
    """Rows by turns, 8 of the filter and the 8 of the gate that belong to them."""
    half = values.shape[0] // 2
    both = np.stack([_fit(values[:half], gate, columns), _fit(values[half:], gate, columns)])
    return both.reshape(2, gate // 8, 8, columns).transpose(1, 0, 2, 3).reshape(2 * gate, columns)


def _row_scale(values: NDArray[np.float32]) -> NDArray[np.float32]:
    scale: NDArray[np.float32] = np.abs(values).max(axis=1) / np.float32(127)
    return scale


def _matrix(
    values: NDArray[np.float32],
    bias: NDArray[np.float32] | None,
    precision: str,
    scale: NDArray[np.float32] | None = None,
) -> list[NDArray[np.float32] | NDArray[np.uint8]]:
    """Bias, scales, and the values in the order of the tensor cores' fragments."""
    parts: list[NDArray[np.float32] | NDArray[np.uint8]] = [] if bias is None else [bias.astype(np.float32)]
    rows, columns = values.shape
    if precision == "fp32":
        return [*parts, values.reshape(rows // 16, 16, columns // 4, 4).transpose(0, 2, 1, 3)]
    if precision == "int8":
        scale = _row_scale(values) if scale is None else scale
        parts.append(scale)
        steps = np.rint(values / np.where(scale > 0, scale, 1)[:, None])
        raw = np.clip(steps, -127, 127).astype(np.int8).view(np.uint8)
    else:
        raw = torch.from_numpy(np.ascontiguousarray(values)).to(torch.bfloat16).view(torch.uint8).numpy()
    # by (16 rows, 32 bytes): row = 8 × a + g, byte = 16 × b + 4 × q + i; lane 4 × g + q holds word 2 × b + a
    pieces = raw.reshape(rows // 16, 2, 8, -1, 2, 4, 4).transpose(0, 3, 2, 5, 4, 1, 6)
    return [*parts, np.ascontiguousarray(pieces)]
