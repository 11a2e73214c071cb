"""How fast the compiled gated layer is, forward and backward; plain torch's layer and its autograd are the peer.

    python benchmarks/layer.py [--batch 8] [--length 16384] [--threads 2] [--runs 7] [--sizes 64x64x256 64x64x256x80]

First validates (outputs and gradients against plain torch in float64, at most twice the error that plain torch has at
the same precision), then times both in turn, run by run. Times are medians; the ratio is the median of the runs' own.
Memory is what either keeps between its forward and its backward pass, beyond inputs and outputs.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from wavegen.ops import instruction_set
from wavegen.ops.gated_layer import gated_layer, gated_layer_reference

Layer = Callable[..., tuple[Tensor, Tensor]]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
SIZES = ("64x64x256", "64x64x256x80", "32x32x64x128", "256x256x256", "256x256x256x80")


def draw(sizes: list[int], batch: int, length: int, dtype: torch.dtype) -> list[Tensor | None]:
    """x, conditioning, weights and biases of a layer of two taps."""
    residual, gate, skip, conditioning = sizes
    random = torch.Generator().manual_seed(0)

    def normal(scale: float, *shape: int) -> Tensor:
        return (torch.randn(shape, generator=random) * scale).to(dtype).requires_grad_()

    return [
        normal(1.0, batch, residual, length),
        normal(1.0, batch, conditioning, length) if conditioning else None,
        normal((2 * residual) ** -0.5, 2 * gate, residual, 2),
        normal(0.1, 2 * gate),
        normal(conditioning**-0.5, 2 * gate, conditioning) if conditioning else None,
        normal(gate**-0.5, residual + skip, gate),
        normal(0.1, residual + skip),
    ]


def gradients(layer: Layer, tensors: list[Tensor | None], d_outputs: list[Tensor]) -> tuple[list[Tensor], list[float]]:
    """Outputs and gradients, and the seconds that forward and backward took."""
    start = time.perf_counter()
    outputs = layer(*tensors, 8, True)
    middle = time.perf_counter()
    found = torch.autograd.grad(outputs, [t for t in tensors if t is not None], d_outputs)
    end = time.perf_counter()
    return [*(t.detach() for t in outputs), *found], [middle - start, end - middle]


def validate(sizes: list[int], dtype: torch.dtype) -> None:
    tensors = draw(sizes, 2, 1001, dtype)
    random = torch.Generator().manual_seed(1)
    d_outputs = [torch.randn(2, c, 1001, generator=random).to(dtype) for c in (sizes[0], sizes[2])]
    wide = [None if t is None else t.detach().double().requires_grad_() for t in tensors]
    exact, _ = gradients(gated_layer_reference, wide, [t.double() for t in d_outputs])
    plain, _ = gradients(gated_layer_reference, tensors, d_outputs)
    fused, _ = gradients(gated_layer, tensors, d_outputs)
    for index, (wanted, usual, got) in enumerate(zip(exact, plain, fused, strict=True)):
        error, usual_error = ((t.double() - wanted).norm() / wanted.norm() for t in (got, usual))
        if not error <= 2 * usual_error:
            raise SystemExit(
                f"result {index} of {sizes} in {dtype} is off by {error:.2e}, plain torch {usual_error:.2e}"
            )


def kept(layer: Layer, tensors: list[Tensor | None]) -> float:
    """MB that autograd keeps for the backward pass, inputs and outputs apart."""
    known = {t.untyped_storage().data_ptr() for t in tensors if t is not None}
    saved: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs = layer(*tensors, 8, True)
    known |= {t.untyped_storage().data_ptr() for t in outputs}
    return sum(size for address, size in saved.items() if address not in known) / 1e6


def compare(sizes: list[int], dtype: torch.dtype, batch: int, length: int, runs: int) -> str:
    tensors = draw(sizes, batch, length, dtype)
    d_outputs = [torch.ones(batch, c, length, dtype=dtype) for c in (sizes[0], sizes[2])]
    times: dict[Layer, list[list[float]]] = {gated_layer_reference: [], gated_layer: []}
    for run in range(runs + 1):
        for layer, all_seconds in times.items():
            _, seconds = gradients(layer, tensors, d_outputs)
            if run > 0:  # the first run warms up
                all_seconds.append(seconds)
    plain, fused = times.values()
    texts = []
    for found in (plain, fused):
        forward, backward = (1e3 * statistics.median(column) for column in zip(*found, strict=True))
        texts.append(f"{forward:7.1f} + {backward:7.1f}")
    ratio = statistics.median(sum(a) / sum(b) for a, b in zip(plain, fused, strict=True))
    memory = [kept(layer, tensors) for layer in times]
    return f"{texts[0]} | {texts[1]} | {ratio:5.2f} | {memory[0]:6.0f} | {memory[1]:6.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--length", type=int, default=16384, help="samples a sequence")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=list(DTYPES))
    parser.add_argument("--sizes", nargs="+", default=SIZES, help="residual x gate x skip [x conditioning]")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{options.batch} x {options.length} samples, {options.threads} threads, {instruction_set()}")
    print("R x G x S [x C] dtype | torch, ms: fwd + bwd | fused, ms: fwd + bwd | ratio | torch keeps, MB | fused")
    for text in options.sizes:
        sizes = [int(size) for size in text.split("x")]
        if len(sizes) not in (3, 4):
            parser.error(f"sizes are residual x gate x skip [x conditioning], as 64x64x256x80; not {text}")
        sizes += [0] * (4 - len(sizes))
        for name in options.dtypes:
            validate(sizes, DTYPES[name])
            result = compare(sizes, DTYPES[name], options.batch, options.length, options.runs)
            print(f"{text:15} {name} | {result}", flush=True)


if __name__ == "__main__":
    main()
