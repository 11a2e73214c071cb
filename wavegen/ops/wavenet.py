"""WaveNet's autoregressive generation: the whole network for many samples of many streams in one call.

Kernels: csrc/cpu/generate_kernel.h, csrc/cuda/generate.cu. Reference: :class:`ReferenceWaveNet`. The two compared::

    weights, frames = model.weights(), model.conditioning(mel)  # a WaveNet's; (streams, F, layers, 2 × gate)
    packed = PackedWaveNet(weights, "fp32")
    u = torch.rand(streams, samples, packed.uniforms)
    low, high = packed.frames(0, samples)  # -1 … : the edges' frames are repeated
    near = frames[:, torch.arange(low, high).clamp(0, frames.shape[1] - 1)]
    values, _ = packed.generate(packed.state(streams), near, u)

    reference = ReferenceWaveNet(weights, streams, torch.float64)
    upsampled = reference.condition(torch.cat([frames[:, :1], frames, frames[:, -1:]], dim=1))
    v = model.distribution.value(torch.zeros(streams))  # silence comes before the first sample
    for t in range(samples):
        outputs = reference.step(v, upsampled[t], t)
        v = model.distribution.sample(outputs[..., None], u[:, t : t + 1].double())[:, 0]
        assert torch.equal(v.float(), values[:, t])  # µ-law; densities agree to rounding
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from wavegen.errors import InputError, WavegenError
from wavegen.ops import instruction_set

instruction_set()  # loads the kernels, and refuses a set that WAVEGEN_CPU_ISA asks for in vain


@dataclass(frozen=True, eq=False)
class WaveNetWeights:
    """All tensors fp32 on the CPU. L layers, R residual, G gate, S skip, A head channels, O outputs.

    input (classes or 2, R); dilated (L, 2G, R, width); residual (L - 1, R, G); skip (S, L × G), column l × G + g;
    head1 (A, S); head2 (O, A); a bias to each of the last five; interpolation (3, hop); ``dilations`` any positive
    integers, one a layer; ``output`` the distribution's name. InputError where shapes do not fit, or values are not
    finite.
    """

    input: Tensor
    dilated: Tensor
    dilated_bias: Tensor
    residual: Tensor
    residual_bias: Tensor
    skip: Tensor
    skip_bias: Tensor
    head1: Tensor
    head1_bias: Tensor
    head2: Tensor
    head2_bias: Tensor
    interpolation: Tensor
    dilations: tuple[int, ...]
    output: str

    def __post_init__(self) -> None:
        if self.dilated.dim() != 4 or self.dilated.shape[1] % 2:
            raise InputError(f"WaveNetWeights.dilated must be (L, 2G, R, width), not {tuple(self.dilated.shape)}")
        layers, twice, residual, width = self.dilated.shape
        gate, skip, head = twice // 2, self.skip_bias.numel(), self.head1_bias.numel()
        outputs = self.head2_bias.numel()
        rows = {"mulaw8": 256, "mulaw10": 1024}.get(self.output, 2)
        hop = self.interpolation.shape[-1] if self.interpolation.dim() else 0
        shapes = {
            "input": (rows, residual),
            "dilated": (layers, 2 * gate, residual, width),
            "dilated_bias": (layers, 2 * gate),
            "residual": (layers - 1, residual, gate),
            "residual_bias": (layers - 1, residual),
            "skip": (skip, layers * gate),
            "skip_bias": (skip,),
            "head1": (head, skip),
            "head1_bias": (head,),
            "head2": (outputs, head),
            "head2_bias": (outputs,),
            "interpolation": (3, hop),
        }
        for name, shape in shapes.items():
            tensor: Tensor = getattr(self, name)
            if tuple(tensor.shape) != shape or (min(shape) < 1 and not name.startswith("residual")):
                raise InputError(f"WaveNetWeights.{name} must be {shape}, not {tuple(tensor.shape)}")
            if tensor.dtype != torch.float32 or tensor.device.type != "cpu":
                raise InputError(f"WaveNetWeights.{name} must be float32 on the CPU")
            if not torch.isfinite(tensor).all():
                raise InputError(f"WaveNetWeights.{name} holds NaN or infinite values")
        if width not in (2, 3):
            raise InputError(f"WaveNetWeights.dilated: the width must be 2 or 3, not {width}")
        if len(self.dilations) != layers or min(self.dilations) < 1:
            raise InputError(f"WaveNetWeights.dilations must be {layers} positive integers, not {self.dilations}")
        expected = {"mulaw8": outputs == 256, "mulaw10": outputs == 1024, "gaussian": outputs == 2}
        if not expected.get(self.output, self.output == "logistics" and outputs % 3 == 0):
            raise InputError(f"WaveNetWeights: output {self.output!r} with {outputs} rows in head2")


PRECISIONS = ("fp32", "bf16", "int8")
_KINDS = {"mulaw8": 0, "mulaw10": 0, "gaussian": 1, "logistics": 2}


class PackedWaveNet:
    """A WaveNet's weights packed once for its device's kernels, which make many samples of many streams in one call.

    ``precision`` is what weights are stored and multiplied in: "fp32"; "bf16", with inputs rounded to bf16 and sums in
    fp32; "int8", one scale a row, with inputs in int16 and sums in int32. Biases, conditioning and the residual stream
    stay in fp32. InputError for another precision, and for sizes beyond the device's limits.
    """

    def __init__(self, weights: WaveNetWeights, precision: str = "fp32", device: torch.device | str = "cpu") -> None:
        if precision not in PRECISIONS:
            raise InputError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}")
        self.precision, self.device = precision, torch.device(device)
        self.layers, twice, self.residual, self.width = weights.dilated.shape
        self.gate = twice // 2
        self.outputs = weights.head2_bias.numel()
        self.hop = weights.interpolation.shape[1]
        self.classes = self.outputs if weights.output.startswith("mulaw") else 0
        self.uniforms = 2 if weights.output == "logistics" else 1
        if self.device.type == "cuda":
            from wavegen.ops import wavenet_cuda

            self.packed = wavenet_cuda.pack_wavenet(weights, precision).to(self.device)
        elif self.device.type == "cpu":
            kind, number = _KINDS[weights.output], PRECISIONS.index(precision)
            tensors = [getattr(weights, name) for name in _PACKED]
            self.packed = _called(torch.ops.wavegen.wavenet_pack, *tensors, list(weights.dilations), kind, number)
        else:
            raise InputError(f"a WaveNet generates on cpu or cuda, not on {self.device.type}")

    def state(self, streams: int) -> Tensor:
        """The state before the first sample of ``streams`` streams (1-D uint8), to be handed to every call."""
        if self.device.type == "cuda":
            from wavegen.ops import wavenet_cuda

            return wavenet_cuda.new_state(self.packed, streams)
        state: Tensor = _called(torch.ops.wavegen.wavenet_state, self.packed, streams)
        return state

    def frames(self, time: int, samples: int) -> tuple[int, int]:
        """Which frames a call for ``samples`` samples from ``time`` on needs: from the first up to but not the last."""
        return time // self.hop - 1, (time + samples - 1) // self.hop + 2

    @torch.no_grad()
    def generate(
        self,
        state: Tensor,
        conditioning: Tensor,
        uniforms: Tensor,
        *,
        lengths: Tensor | None = None,
        forced: Tensor | None = None,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        with_parameters: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """The next samples of every stream: values (streams, samples), parameters (streams, samples, O) or empty.

        ``state`` is moved on by as many samples as ``uniforms`` (streams, samples, U), in (0, 1), has. ``conditioning``
        (streams, frames, layers, 2 × gate) at frame rate holds the frames of :meth:`frames`, edges repeated;
        ``lengths`` (streams) how many of the samples each stream makes (after fewer, it has ended); ``forced``
        (streams, samples) the values fed back in place of those drawn. Values are class numbers or samples.
        A stream's values depend neither on the other streams nor on how its samples are divided into calls, to the bit.
        InputError for what does not fit, NaN among it.
        """
        if not self.classes and (top_k > 0 or top_p < 1):
            raise InputError("top_k and top_p choose among classes; this model's output has none")
        if uniforms.dim() != 3 or uniforms.shape[1] == 0 or uniforms.shape[2] != self.uniforms:
            raise InputError(f"uniforms must be (streams, samples, {self.uniforms}), not {tuple(uniforms.shape)}")
        streams, samples = uniforms.shape[:2]
        if conditioning.dim() != 4 or (conditioning.shape[0], *conditioning.shape[2:]) != (
            streams,
            self.layers,
            2 * self.gate,
        ):
            raise InputError(
                f"conditioning must be ({streams}, frames, {self.layers}, {2 * self.gate}), "
                f"not {tuple(conditioning.shape)}"
            )
        if lengths is None:
            lengths = torch.full((streams,), samples, dtype=torch.int64, device=self.device)
        for name, tensor, dtype in (
            ("state", state, torch.uint8),
            ("conditioning", conditioning, torch.float32),
            ("uniforms", uniforms, torch.float32),
            ("lengths", lengths, torch.int64),
            ("forced", forced, torch.float32),
        ):
            if tensor is not None and (tensor.dtype != dtype or tensor.device.type != self.device.type):
                raise InputError(
                    f"{name} must be {dtype} on {self.device.type}, not {tensor.dtype} on {tensor.device.type}"
                )
        if forced is not None and forced.shape != (streams, samples):
            raise InputError(f"forced must be ({streams}, {samples}), not {tuple(forced.shape)}")
        values, parameters = _called(
            torch.ops.wavegen.wavenet_generate,
            self.packed,
            state,
            conditioning,
            uniforms,
            lengths,
            forced,
            temperature,
            top_k,
            top_p,
            with_parameters,
        )
        return values, parameters


def _called(op: Callable[..., Any], *arguments: object) -> Any:
    """An op's result, or an InputError with its own words: the kernels' checks name the argument."""
    try:
        return op(*arguments)
    except RuntimeError as error:
        text = str(error)
        if "API call failed" in text or "not enough memory" in text:  # torch's words for an allocation that failed
            raise WavegenError(f"{op.__name__}: not enough memory for this many streams or samples") from None
        raise InputError(text.split("\n")[0]) from None


_PACKED = (
    *("input", "dilated", "dilated_bias", "residual", "residual_bias", "skip", "skip_bias"),
    *("head1", "head1_bias", "head2", "head2_bias", "interpolation"),
)


class ReferenceWaveNet:
    """The same network, one sample a step, in plain torch over ring buffers: slow and obvious.

    ``dtype`` is what everything is computed in. Benchmarks take it as what a user would write without our kernels.
    """

    def __init__(self, weights: WaveNetWeights, streams: int, dtype: torch.dtype = torch.float32) -> None:
        def cast(x: Tensor) -> Tensor:
            return x.to(dtype)

        self.dilations, self.dtype = weights.dilations, dtype
        self.classes = weights.output.startswith("mulaw")
        layers, _, residual, self.width = weights.dilated.shape
        self.gate = weights.dilated.shape[1] // 2
        self.input = cast(weights.input)
        # (layers, 2G, width × R): the taps' inputs stand one after the other, the oldest first
        self.dilated = cast(weights.dilated.permute(0, 1, 3, 2).flatten(2))
        self.dilated_bias = cast(weights.dilated_bias)
        self.residual, self.residual_bias = cast(weights.residual), cast(weights.residual_bias)
        self.skip = cast(weights.skip.view(-1, layers, self.gate).transpose(0, 1))  # (layers, S, G)
        self.skip_bias = cast(weights.skip_bias)
        self.head1, self.head1_bias = cast(weights.head1), cast(weights.head1_bias)
        self.head2, self.head2_bias = cast(weights.head2), cast(weights.head2_bias)
        self.interpolation = cast(weights.interpolation)
        self.rings = [torch.zeros((self.width - 1) * d, streams, residual, dtype=dtype) for d in self.dilations]

    def condition(self, conditioning: Tensor) -> Tensor:
        """(streams, frames, layers, 2G), edges repeated by one frame → at sample rate (time, layers, streams, 2G)."""
        neighbours = conditioning.to(self.dtype).unfold(1, 3, 1)  # (streams, frames - 2, layers, 2G, 3)
        upsampled = torch.matmul(neighbours, self.interpolation)  # (..., hop)
        return upsampled.permute(1, 4, 2, 0, 3).flatten(0, 1)

    def step(self, values: Tensor, conditioning: Tensor, time: int) -> Tensor:
        """The head's outputs (streams, O) at a time (0, 1, …) from the values before it and its conditioning.

        ``values`` (streams) are those drawn at time - 1, silence at first; ``conditioning`` is (layers, streams, 2G).
        """
        if self.classes:
            x = self.input[values.long()]
        else:
            x = values[:, None].to(self.dtype) * self.input[0] + self.input[1]
        total = self.skip_bias
        for layer, (dilation, ring) in enumerate(zip(self.dilations, self.rings, strict=True)):
            older = [ring[(time - tap * dilation) % len(ring)] for tap in range(self.width - 1, 0, -1)]
            taps = torch.cat([*older, x], dim=1)
            ring[time % len(ring)] = x
            before = torch.addmm(self.dilated_bias[layer], taps, self.dilated[layer].T) + conditioning[layer]
            z = torch.tanh(before[:, : self.gate]) * torch.sigmoid(before[:, self.gate :])
            total = total + z @ self.skip[layer].T
            if layer + 1 < len(self.dilations):
                x = x + torch.addmm(self.residual_bias[layer], z, self.residual[layer].T)
        hidden = torch.relu(torch.addmm(self.head1_bias, torch.relu(total), self.head1.T))
        return torch.addmm(self.head2_bias, hidden, self.head2.T)


# Shapes alone, for torch.compile and torch.export. Packed weights hide their sizes, so most are unknown.
@torch.library.register_fake("wavegen::wavenet_pack")  # type: ignore[untyped-decorator]
def _pack(input: Tensor, *rest: object) -> Tensor:
    return input.new_empty(torch.library.get_ctx().new_dynamic_size(), dtype=torch.uint8)


@torch.library.register_fake("wavegen::wavenet_state")  # type: ignore[untyped-decorator]
def _state(weights: Tensor, streams: int) -> Tensor:
    return weights.new_empty(torch.library.get_ctx().new_dynamic_size())


@torch.library.register_fake("wavegen::wavenet_generate")  # type: ignore[untyped-decorator]
def _generate(
    weights: Tensor,
    state: Tensor,
    conditioning: Tensor,
    uniforms: Tensor,
    lengths: Tensor,
    forced: Tensor | None,
    temperature: float,
    top_k: int,
    top_p: float,
    with_parameters: bool,
) -> tuple[Tensor, Tensor]:
    streams, samples = uniforms.shape[:2]
    outputs = torch.library.get_ctx().new_dynamic_size()
    parameters = uniforms.new_empty(streams if with_parameters else 0, samples, outputs)
    return uniforms.new_empty(streams, samples), parameters
