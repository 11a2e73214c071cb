"""The compiled gated layer against its plain torch form in float64, at every precision and instruction set."""

import math
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from wavegen.errors import InputError
from wavegen.ops import INSTRUCTION_SETS, extension, instruction_set
from wavegen.ops.gated_layer import gated_layer, gated_layer_reference

Layer = Callable[..., tuple[Tensor, Tensor]]
FUSED: Layer = gated_layer
PLAIN: Layer = gated_layer_reference
NAMES = (
    *("residual", "skip", "d_x", "d_conditioning", "d_dilated_weight", "d_dilated_bias", "d_conditioning_weight"),
    *("d_output_weight", "d_output_bias"),
)
# What rounding allows: relative to the largest value; and of a sum over time, times the root of the number of its
# terms, which are products of values of about unit variance, rounded to the precision, and may cancel.
ROUNDING = {torch.float32: 2.0**-20, torch.bfloat16: 2.0**-9, torch.float64: 2.0**-49}
SUMMING = {torch.float32: 2.0**-22, torch.bfloat16: 2.0**-10, torch.float64: 2.0**-47}


class Case(NamedTuple):
    residual: int
    gate: int
    skip: int
    conditioning: int
    width: int
    dilation: int
    causal: bool
    batch: int
    length: int
    biased: bool = True


CORE = (
    Case(1, 1, 0, 0, 1, 1, True, 1, 1, False),
    Case(3, 5, 2, 1, 2, 3, True, 2, 129),
    Case(16, 24, 3, 7, 3, 4, False, 3, 129),
    Case(24, 3, 1, 0, 3, 200, True, 2, 129, False),
    Case(16, 16, 64, 80, 2, 64, True, 1, 1001),
    Case(64, 64, 0, 3, 2, 1, True, 1, 129),
)
CASES = (
    *CORE,
    Case(1, 3, 1, 2, 3, 2, False, 2, 1001),
    Case(24, 16, 24, 0, 2, 512, True, 3, 1001),
    Case(64, 64, 256, 80, 2, 8, True, 1, 1001),
    Case(128, 192, 0, 0, 3, 1, False, 1, 129),
    Case(192, 128, 24, 5, 1, 7, True, 2, 1, False),
    Case(256, 256, 256, 0, 2, 2, True, 1, 129),
)


def arguments(case: Case, dtype: torch.dtype, seed: int = 0) -> list[Tensor | None]:
    """x, conditioning and weights of a case, of about unit variance in all that is summed."""
    random = torch.Generator().manual_seed(seed)

    def draw(scale: float, *shape: int) -> Tensor:
        return (torch.randn(shape, generator=random, dtype=torch.float64) * scale).to(dtype)

    c = case
    return [
        draw(1.0, c.batch, c.residual, c.length),
        draw(1.0, c.batch, c.conditioning, c.length) if c.conditioning else None,
        draw((c.width * c.residual) ** -0.5, 2 * c.gate, c.residual, c.width),
        draw(0.3, 2 * c.gate) if c.biased else None,
        draw(c.conditioning**-0.5, 2 * c.gate, c.conditioning) if c.conditioning else None,
        draw((c.residual + c.skip) ** -0.5, c.residual + c.skip, c.gate),
        draw(0.3, c.residual + c.skip) if c.biased else None,
    ]


def results(layer: Layer, case: Case, tensors: list[Tensor | None], dtype: torch.dtype) -> list[Tensor | None]:
    """Outputs and all gradients, by NAMES; tensors and the outputs' gradients are brought to ``dtype``."""
    own = [None if t is None else t.to(dtype, copy=True).requires_grad_() for t in tensors]
    residual, skip = layer(*own, case.dilation, case.causal)
    random = torch.Generator().manual_seed(9)
    coarse = next(t.dtype for t in tensors if t is not None)
    d_outputs = [torch.randn(t.shape, generator=random).to(coarse).to(dtype) for t in (residual, skip)]
    given_ = [t for t in own if t is not None]
    gradients = iter(torch.autograd.grad((residual, skip), given_, d_outputs))
    return [residual.detach(), skip.detach(), *(None if t is None else next(gradients) for t in own)]


def check(case: Case, dtype: torch.dtype) -> None:
    """At most twice the error of plain torch at this precision, but for what rounding allows."""
    tensors = arguments(case, dtype)
    exact = results(PLAIN, case, tensors, torch.float64)
    plain = results(PLAIN, case, tensors, dtype)
    fused = results(FUSED, case, tensors, dtype)
    for index, (name, wanted, usual, got) in enumerate(zip(NAMES, exact, plain, fused, strict=True)):
        assert (wanted is None) == (got is None), name
        if wanted is None or usual is None or got is None:
            continue
        assert (got.shape, got.dtype) == (wanted.shape, dtype), name
        if wanted.numel() == 0:
            continue
        allowed = ROUNDING[dtype] * max(1.0, wanted.abs().max().item())  # x is of order one, and may cancel
        if index >= NAMES.index("d_x"):  # sums of terms of order one, which may cancel
            terms = case.batch * case.length if index >= NAMES.index("d_dilated_weight") else 1
            allowed += SUMMING[dtype] * math.sqrt(terms)
        error, usual_error = ((t.double() - wanted).abs().max().item() for t in (got, usual))
        assert error <= 2 * usual_error + allowed, f"{name}: {error} against {usual_error} for {case} in {dtype}"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(str(int(v)) for v in case))
def test_no_less_precise_than_plain_torch(case: Case, dtype: torch.dtype) -> None:
    check(case, dtype)


@settings(max_examples=60, deadline=None)
@given(
    channels=st.tuples(st.integers(1, 20), st.integers(1, 20), st.integers(0, 9), st.integers(0, 9)),
    taps=st.sampled_from([(1, True), (2, True), (3, True), (1, False), (3, False)]),
    dilation=st.integers(1, 70),
    batch=st.integers(1, 3),
    length=st.integers(1, 230),
    biased=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float64]),
)
def test_any_shape(
    channels: tuple[int, int, int, int],
    taps: tuple[int, bool],
    dilation: int,
    batch: int,
    length: int,
    biased: bool,
    dtype: torch.dtype,
) -> None:
    check(Case(*channels, taps[0], dilation, taps[1], batch, length, biased), dtype)


@pytest.mark.parametrize("name", INSTRUCTION_SETS)
def test_every_instruction_set(name: str) -> None:
    if not extension().offers(name):
        pytest.skip(f"this processor does not offer {name}")
    if name == instruction_set():
        return  # all other tests are about it
    program = f"import runpy; runpy.run_path({__file__!r})['check_core']({name!r})"
    environment = os.environ | {"WAVEGEN_CPU_ISA": name, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == [name, str(2 * len(CORE))]


def check_core(name: str) -> None:
    """What the process of another instruction set runs."""
    assert instruction_set() == name
    for case in CORE:
        for dtype in (torch.float32, torch.bfloat16):
            check(case, dtype)
    sys.stdout.write(f"{name} {2 * len(CORE)}\n")


def test_the_check_of_another_set_can_fail() -> None:
    with pytest.raises(AssertionError):
        runpy.run_path(__file__)["check_core"]("none such")


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("conditioning", [0, 2])
def test_gradcheck(conditioning: int, biased: bool) -> None:
    case = Case(3, 2, 2, conditioning, 3, 2, conditioning == 0, 2, 9, biased)
    tensors = arguments(case, torch.float64)
    given_ = [t.requires_grad_() for t in tensors if t is not None]

    def layer(*values: Tensor) -> tuple[Tensor, Tensor]:
        rest = iter(values)
        own = [None if t is None else next(rest) for t in tensors]
        return FUSED(*own, case.dilation, case.causal)

    assert torch.autograd.gradcheck(layer, given_)


@pytest.mark.parametrize("biased", [True, False])
def test_opcheck(biased: bool) -> None:
    case = Case(5, 4, 3, 6 if biased else 0, 2, 3, True, 2, 33, biased)
    tensors = [None if t is None else t.requires_grad_() for t in arguments(case, torch.float32)]
    torch.library.opcheck(torch.ops.wavegen.gated_layer, (*tensors, case.dilation, case.causal))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_results_do_not_depend_on_the_threads(dtype: torch.dtype) -> None:
    case = Case(16, 16, 24, 5, 2, 16, True, 3, 2000)
    tensors = arguments(case, dtype)
    before = torch.get_num_threads()
    try:
        per_count = []
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            per_count.append(results(FUSED, case, tensors, dtype))
    finally:
        torch.set_num_threads(before)
    for name, one, two, five in zip(NAMES, *per_count, strict=True):
        assert one is not None
        assert two is not None
        assert five is not None
        assert torch.equal(one, two), name
        assert torch.equal(one, five), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sliced_and_expanded_inputs(dtype: torch.dtype) -> None:
    case = Case(6, 5, 4, 3, 2, 3, True, 2, 77)
    tensors = arguments(case, dtype)
    sliced: list[Tensor | None] = []
    for t in tensors:
        assert t is not None
        wide = torch.full((*t.shape[:-1], 2 * t.shape[-1] + 1), math.nan, dtype=dtype)
        wide[..., 1::2] = t
        sliced.append(wide[..., 1::2])
    assert sliced[0] is not None
    assert not sliced[0].is_contiguous()
    plain = results(FUSED, case, tensors, dtype)
    for name, a, b in zip(NAMES, plain, results(FUSED, case, sliced, dtype), strict=True):
        assert a is not None
        assert b is not None
        assert torch.equal(a, b), name

    x = sliced[0].detach().requires_grad_()
    residual, skip = FUSED(x, *tensors[1:], case.dilation, case.causal)
    (expanded,) = torch.autograd.grad(residual.sum() + skip.sum(), x)  # gradients with all strides 0
    residual, skip = FUSED(x, *tensors[1:], case.dilation, case.causal)
    ones = [torch.ones_like(residual), torch.ones_like(skip)]
    assert torch.equal(expanded, torch.autograd.grad((residual, skip), x, ones)[0])


def test_one_output_may_go_unused() -> None:
    case = Case(6, 5, 4, 3, 2, 3, True, 2, 77)
    tensors = [t.requires_grad_(i != 3) for i, t in enumerate(arguments(case, torch.float64)) if t is not None]
    wanted = [t for t in tensors if t.requires_grad]
    for index in (0, 1):
        fused, plain = (layer(*tensors, case.dilation, case.causal)[index].square().sum() for layer in (FUSED, PLAIN))
        for a, b in zip(torch.autograd.grad(fused, wanted), torch.autograd.grad(plain, wanted), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)
        with pytest.raises(RuntimeError, match="does not require grad"):
            torch.autograd.grad(FUSED(*tensors, case.dilation, case.causal)[index].sum(), tensors[3])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_causal(dtype: torch.dtype) -> None:
    case = Case(17, 9, 5, 4, 3, 5, True, 1, 300)
    tensors = arguments(case, dtype)
    before = FUSED(*tensors, case.dilation, True)
    assert tensors[0] is not None
    assert tensors[1] is not None
    tensors[0][:, :, 211:] = 7.0
    tensors[1][:, :, 211:] = -3.0
    after = FUSED(*tensors, case.dilation, True)
    for a, b in zip(before, after, strict=True):
        assert torch.equal(a[..., :211], b[..., :211])
        assert not torch.equal(a[..., 211], b[..., 211])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_nan_and_infinity_are_not_hidden(dtype: torch.dtype) -> None:
    case = Case(4, 3, 2, 0, 2, 10, True, 1, 100)
    for bad in (math.nan, math.inf):
        tensors = arguments(case, dtype)
        assert tensors[0] is not None
        assert tensors[2] is not None
        tensors[0][0, 1, 50] = bad
        tensors[2][:, 0, :] = 0.0
        _, skip = FUSED(*tensors, case.dilation, True)
        _, wanted = PLAIN(*tensors, case.dilation, True)
        assert torch.equal(skip.isnan(), wanted.isnan())
        assert skip.isfinite()[..., [49, 51, 59, 61]].all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_saturated_gates(dtype: torch.dtype) -> None:
    x = torch.tensor([-3e38, -1e4, -90.0, -20.0, 0.0, 20.0, 90.0, 1e4, 3e38], dtype=torch.float64).to(dtype)
    x = x.reshape(1, 1, -1).clone().requires_grad_()
    one, gates = torch.ones(1, 1, dtype=dtype), torch.ones(2, 1, 1, dtype=dtype)
    residual, _ = FUSED(x, None, gates, None, None, one, None, 1, True)
    wanted = x + torch.tanh(x) * torch.sigmoid(x)
    torch.testing.assert_close(residual, wanted, rtol=2**-7 if dtype == torch.bfloat16 else 1e-6, atol=1e-8)
    (gradient,) = torch.autograd.grad(residual.sum(), x)
    assert gradient.isfinite().all()
    torch.testing.assert_close(gradient[0, 0, 4].item(), 1.5)


def test_autocast_computes_in_bfloat16() -> None:
    case = Case(8, 8, 8, 8, 2, 4, True, 2, 100)
    tensors = [None if t is None else t.requires_grad_() for t in arguments(case, torch.float32)]
    with torch.autocast("cpu", torch.bfloat16):
        residual, skip = FUSED(*tensors, case.dilation, True)
    halves = [None if t is None else t.detach().bfloat16() for t in tensors]
    assert residual.dtype == skip.dtype == torch.bfloat16
    for a, b in zip((residual, skip), FUSED(*halves, case.dilation, True), strict=True):
        assert torch.equal(a, b)
    assert tensors[2] is not None
    (gradient,) = torch.autograd.grad(skip.sum(), tensors[2])
    assert gradient.dtype == torch.float32


def test_meta_tensors_give_shapes() -> None:
    case = Case(8, 4, 6, 3, 2, 4, True, 2, 100)
    tensors = [None if t is None else t.to("meta") for t in arguments(case, torch.float32)]
    residual, skip = FUSED(*tensors, case.dilation, True)
    assert (residual.shape, skip.shape) == ((2, 8, 100), (2, 6, 100))


GOOD = Case(4, 3, 2, 5, 2, 1, True, 2, 10)


@pytest.mark.parametrize(
    ("index", "value", "message"),
    [
        (0, torch.zeros(4, 10), "x must be"),
        (0, torch.zeros(2, 4, 0), "x must be"),
        (0, torch.zeros(2, 4, 10, dtype=torch.float16), "x must be float32"),
        (0, torch.zeros(2, 4, 10, dtype=torch.float64), "conditioning must be torch.float64"),
        (0, torch.zeros(2, 5, 10), "dilated_weight must be"),
        (1, torch.zeros(2, 5, 11), "conditioning must be"),
        (1, torch.zeros(2, 0, 10), "conditioning must be"),
        (1, None, "go together"),
        (4, None, "go together"),
        (2, torch.zeros(5, 4, 2), "dilated_weight must be"),
        (2, torch.zeros(6, 4), "dilated_weight must be"),
        (2, torch.zeros(6, 4, 4), "width of 1, 2 or 3"),
        (3, torch.zeros(7), "dilated_bias must be"),
        (4, torch.zeros(6, 4), "conditioning_weight must be"),
        (5, torch.zeros(3, 3), "output_weight must be"),
        (5, torch.zeros(6, 4), "output_weight must be"),
        (6, torch.zeros(5), "output_bias must be"),
        (6, torch.zeros(6, device="meta"), "output_bias must be"),
        (7, 0, "dilation must be"),
        (7, 1.5, "dilation must be"),
        (8, False, "width of 1 or 3"),
    ],
)
def test_bad_input_is_named(index: int, value: object, message: str) -> None:
    all_arguments: list[object] = [*arguments(GOOD, torch.float32), GOOD.dilation, GOOD.causal]
    all_arguments[index] = value
    with pytest.raises(InputError, match=message) as caught:
        FUSED(*all_arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("index", "value", "name"),
    [
        (0, torch.zeros(2, 4, 0), "x"),
        (1, torch.zeros(2, 5, 10, dtype=torch.int32), "conditioning"),
        (1, torch.zeros(2, 5, 9), "conditioning"),
        (2, torch.zeros(6, 3, 2), "dilated_weight"),
        (3, torch.zeros(6, dtype=torch.float64), "dilated_bias"),
        (5, torch.zeros(6, 9), "output_weight"),
        (7, -1, "dilation"),
    ],
)
def test_the_op_itself_checks_too(index: int, value: object, name: str) -> None:
    """Called past its wrapper it still reads nothing that is not there."""
    all_arguments: list[object] = [*arguments(GOOD, torch.float32), GOOD.dilation, GOOD.causal]
    all_arguments[index] = value
    with pytest.raises(RuntimeError, match=f"{name} must"):
        torch.ops.wavegen.gated_layer(*all_arguments)
    residual, skip = torch.zeros(2, 4, 10), torch.zeros(2, 2, 10)
    x, conditioning, *weights, _, dilation, causal = all_arguments
    with pytest.raises(RuntimeError, match=f"{name} must"):
        torch.ops.wavegen.gated_layer_backward(residual, skip, x, conditioning, *weights, dilation, causal)


def test_gradients_of_another_shape_are_refused() -> None:
    x, conditioning, *weights, _ = arguments(GOOD, torch.float32)
    for residual, skip, name in (
        (torch.zeros(2, 4, 9), torch.zeros(2, 2, 10), "d_residual"),
        (torch.zeros(2, 4, 10), torch.zeros(2, 3, 10), "d_skip"),
    ):
        with pytest.raises(RuntimeError, match=f"{name} must"):
            torch.ops.wavegen.gated_layer_backward(residual, skip, x, conditioning, *weights, 1, True)


def test_a_second_derivative_is_refused() -> None:
    x, w, o = (torch.randn(*shape, requires_grad=True) for shape in ((1, 4, 9), (8, 4, 2), (6, 4)))
    residual, skip = gated_layer(x, None, w, None, None, o, None, 1, True)
    with pytest.raises(InputError, match="gated_layer has no second derivative"):
        torch.autograd.grad(residual.sum() + skip.sum(), w, create_graph=True)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch.func itself
def test_a_forward_mode_derivative_is_refused() -> None:
    x, w, o = (torch.randn(*shape) for shape in ((1, 4, 9), (8, 4, 2), (6, 4)))
    with pytest.raises(InputError, match="gated_layer has no forward-mode derivative"):
        torch.func.jvp(lambda x: gated_layer(x, None, w, None, None, o, None, 1, True), (x,), (x,))


def test_gradients_over_several_stretches_of_work() -> None:
    """Long enough that the kernel cannot hold all pre-activations at once, and sums over parts of the batch."""
    torch.manual_seed(0)
    x = torch.randn(3, 64, 40000)
    w, o = 0.1 * torch.randn(128, 64, 2), 0.1 * torch.randn(80, 64)
    gradients = []
    for layer in (gated_layer, gated_layer_reference):
        inputs = [t.clone().requires_grad_() for t in (x, w, o)]
        residual, skip = layer(inputs[0], None, inputs[1], None, None, inputs[2], None, 16, True)
        gradients.append(torch.autograd.grad((residual * residual).sum() + skip.sum(), inputs))
    for fused, plain in zip(*gradients, strict=True):
        assert (fused - plain).abs().max() < 1e-4 * plain.abs().max()
