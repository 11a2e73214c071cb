"""One gated layer of a WaveNet: dilated convolution, conditioning, tanh × sigmoid, output projection.

One compiled op, forward and backward (csrc/cpu/layer_kernel.h, csrc/cuda/layer.cu), that keeps nothing but its inputs
for the backward pass; plain torch on devices that have none, and on CUDA where the build left it out.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional as F

from wavegen.errors import InputError
from wavegen.ops import instruction_set

instruction_set()  # loads the kernels, and refuses a set that WAVEGEN_CPU_ISA asks for in vain

DTYPES = (torch.float32, torch.bfloat16, torch.float64)
# The types of device that this build has a kernel for; shapes alone ("meta") need none.
COMPILED = {"meta"} | {
    device
    for device in ("cpu", "cuda")
    if torch._C._dispatch_has_kernel_for_dispatch_key("wavegen::gated_layer", device.upper())
}


def gated_layer_reference(
    x: Tensor,
    conditioning: Tensor | None,
    dilated_weight: Tensor,
    dilated_bias: Tensor | None,
    conditioning_weight: Tensor | None,
    output_weight: Tensor,
    output_bias: Tensor | None,
    dilation: int,
    causal: bool,
) -> tuple[Tensor, Tensor]:
    """What :func:`gated_layer` computes, in plain torch."""
    width = dilated_weight.shape[-1]
    span = (width - 1) * dilation
    padded = F.pad(x, (span, 0) if causal else (span // 2, span // 2))
    pre = F.conv1d(padded, dilated_weight, dilated_bias, dilation=dilation)
    if conditioning is not None and conditioning_weight is not None:
        pre = pre + F.conv1d(conditioning, conditioning_weight[..., None])
    a, b = pre.chunk(2, dim=1)
    out = F.conv1d(torch.tanh(a) * torch.sigmoid(b), output_weight[..., None], output_bias)
    return x + out[:, : x.shape[1]], out[:, x.shape[1] :]


def gated_layer(
    x: Tensor,
    conditioning: Tensor | None,
    dilated_weight: Tensor,
    dilated_bias: Tensor | None,
    conditioning_weight: Tensor | None,
    output_weight: Tensor,
    output_bias: Tensor | None,
    dilation: int,
    causal: bool,
) -> tuple[Tensor, Tensor]:
    """(residual (B, R, T), skip (B, S, T)) of x (B, R, T) and conditioning (B, C, T).

    Van den Oord et al. 2016, sections 2.3 and 2.4. dilated_weight (2G, R, width) with a width of 1 to 3,
    conditioning_weight (2G, C), output_weight (R + S, G), where S may be 0. Causal: tap j reads
    t - (width - 1 - j) × dilation; else (odd width) t + (j - width // 2) × dilation; zeros outside. All tensors have
    one dtype, float32, bfloat16 (sums in float32) or float64; under autocast they are brought to its dtype.
    Results do not depend on the number of threads. InputError where an argument does not fit.
    """
    layer = _Arguments(
        x, conditioning, dilated_weight, dilated_bias, conditioning_weight, output_weight, output_bias, dilation, causal
    )
    if x.device.type != "meta" and torch.is_autocast_enabled(x.device.type) and x.dtype != torch.float64:
        dtype = torch.get_autocast_dtype(x.device.type)
        layer = _Arguments._make(t.to(dtype) if isinstance(t, Tensor) else t for t in layer)
    _check(layer)
    if forward_ad._current_level >= 0 and any(
        isinstance(t, Tensor) and forward_ad.unpack_dual(t).tangent is not None  # type: ignore[no-untyped-call]
        for t in layer
    ):
        raise InputError("gated_layer has no forward-mode derivative; use gated_layer_reference for that")
    if x.device.type not in COMPILED:
        return gated_layer_reference(*layer)
    residual, skip = torch.ops.wavegen.gated_layer(*layer)
    return residual, skip


class _Arguments(NamedTuple):
    x: Tensor
    conditioning: Tensor | None
    dilated_weight: Tensor
    dilated_bias: Tensor | None
    conditioning_weight: Tensor | None
    output_weight: Tensor
    output_bias: Tensor | None
    dilation: int
    causal: bool


def _check(layer: _Arguments) -> None:
    """InputError, naming the argument, unless the layer can be computed."""
    x, weight, out, dilation, causal = layer.x, layer.dilated_weight, layer.output_weight, layer.dilation, layer.causal
    if x.dim() != 3 or x.numel() == 0:
        raise InputError(f"gated_layer: x must be (batch, residual, length) and not empty, not {tuple(x.shape)}")
    if x.dtype not in DTYPES:
        raise InputError(f"gated_layer: x must be float32, bfloat16 or float64, not {x.dtype}")
    if weight.dim() != 3 or weight.shape[0] == 0 or weight.shape[0] % 2:
        raise InputError(f"gated_layer: dilated_weight must be (2 × gate, residual, width), not {tuple(weight.shape)}")
    width = weight.shape[2]
    if width not in (1, 2, 3) or (not causal and width % 2 == 0):
        wanted = "1, 2 or 3" if causal else "1 or 3 where the layer is not causal"
        raise InputError(f"gated_layer: dilated_weight must have a width of {wanted}, not {width}")
    if isinstance(dilation, bool) or not isinstance(dilation, int) or not 1 <= dilation <= 1 << 40:
        raise InputError(f"gated_layer: dilation must be an integer from 1 to 2^40, not {dilation!r}")
    if out.dim() != 2 or out.shape[0] < x.shape[1]:
        raise InputError(f"gated_layer: output_weight must be (residual + skip, gate), not {tuple(out.shape)}")
    conditioning = layer.conditioning
    if (conditioning is None) != (layer.conditioning_weight is None):
        raise InputError("gated_layer: conditioning and conditioning_weight go together; one of them is None")
    channels = 0
    if conditioning is not None:
        if conditioning.dim() != 3 or conditioning.shape[1] == 0:
            raise InputError(
                f"gated_layer: conditioning must be (batch, channels, length), not {tuple(conditioning.shape)}"
            )
        channels = conditioning.shape[1]
    batch, residual, length = x.shape
    shapes = {
        "x": (batch, residual, length),
        "conditioning": (batch, channels, length),
        "dilated_weight": (weight.shape[0], residual, width),
        "dilated_bias": (weight.shape[0],),
        "conditioning_weight": (weight.shape[0], channels),
        "output_weight": (out.shape[0], weight.shape[0] // 2),
        "output_bias": (out.shape[0],),
    }
    for name, shape in shapes.items():
        tensor: Tensor | None = getattr(layer, name)
        if tensor is None:
            continue
        if tuple(tensor.shape) != shape:
            raise InputError(f"gated_layer: {name} must be {shape}, not {tuple(tensor.shape)}")
        if tensor.dtype != x.dtype or tensor.device != x.device:
            raise InputError(
                f"gated_layer: {name} must be {x.dtype} on {x.device} as x is, not {tensor.dtype} on {tensor.device}"
            )


@torch.library.register_fake("wavegen::gated_layer")  # type: ignore[untyped-decorator]
def _fake(
    x: Tensor,
    conditioning: Tensor | None,
    dilated_weight: Tensor,
    dilated_bias: Tensor | None,
    conditioning_weight: Tensor | None,
    output_weight: Tensor,
    output_bias: Tensor | None,
    dilation: int,
    causal: bool,
) -> tuple[Tensor, Tensor]:
    skip = output_weight.shape[0] - x.shape[1]
    return x.new_empty(x.shape), x.new_empty((x.shape[0], skip, x.shape[2]))


@torch.library.register_fake("wavegen::gated_layer_backward")  # type: ignore[untyped-decorator]
def _fake_backward(
    d_residual: Tensor,
    d_skip: Tensor,
    x: Tensor,
    conditioning: Tensor | None,
    dilated_weight: Tensor,
    dilated_bias: Tensor | None,
    conditioning_weight: Tensor | None,
    output_weight: Tensor,
    dilation: int,
    causal: bool,
) -> tuple[Tensor, ...]:
    inputs = (x, conditioning, dilated_weight, dilated_bias, conditioning_weight, output_weight)
    return (
        *(x.new_empty(0 if t is None else t.shape) for t in inputs),
        x.new_empty(output_weight.shape[0]),
    )


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    *tensors, output_bias, dilation, causal = inputs
    ctx.save_for_backward(*tensors)
    ctx.dilation, ctx.causal = dilation, causal
    ctx.present = [t is not None for t in (*tensors, output_bias)]


def _backward(ctx: Any, d_residual: Tensor, d_skip: Tensor) -> tuple[Tensor | None, ...]:
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():  # create_graph: it would silently be zero
        raise InputError("gated_layer has no second derivative; use gated_layer_reference for that")
    gradients = torch.ops.wavegen.gated_layer_backward(d_residual, d_skip, *ctx.saved_tensors, ctx.dilation, ctx.causal)
    wanted = zip(gradients, ctx.present, ctx.needs_input_grad, strict=False)
    return (*(g if present and needed else None for g, present, needed in wanted), None, None)


torch.library.register_autograd("wavegen::gated_layer", _backward, setup_context=_setup_context)
