"""Conv-TasNet's own parts: the published network written down plainly, its receptive field, its options."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from wavegen.errors import InputError
from wavegen.separation.base import SeparatorSpec
from wavegen.separation.conv_tasnet import ConvTasNet, ConvTasNetConfig, FrameNorm

SPEC = SeparatorSpec(8000, 1, ("speaker1", "speaker2"), interchangeable=True)
SIZES = {"filters": 12, "kernel": 8, "bottleneck": 6, "hidden": 10, "skip": 7, "layers": 3, "repeats": 2}


def model_of(**changes: object) -> ConvTasNet:
    torch.manual_seed(0)
    model = ConvTasNet(ConvTasNetConfig(**{**SIZES, **changes}), SPEC).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.uniform_(-0.5, 1.5)
            if "output_conv" in name:
                parameter.mul_(5)
    return model


def published(weights: dict[str, Tensor], wave: Tensor, mask: str, relu: bool, padded: bool) -> Tensor:
    """Mono waveform (samples,) → (2, samples), from the paper's section II with global layer norms, frame by frame."""
    hop, samples = 4, len(wave)
    if padded:
        wave = F.pad(wave, (hop, hop + -samples % hop))
    frames = wave.unfold(0, 8, hop)
    code = weights["encoder.weight"][:, 0] @ frames.T
    code = code.relu() if relu else code

    def norm(x: Tensor, name: str) -> Tensor:
        scaled = (x - x.mean()) / (x.var(correction=0) + 1e-8).sqrt()
        return weights[f"{name}.weight"][:, None] * scaled + weights[f"{name}.bias"][:, None]

    def pointwise(x: Tensor, name: str) -> Tensor:
        return weights[f"{name}.weight"][..., 0] @ x + weights[f"{name}.bias"][:, None]

    def prelu(x: Tensor, name: str) -> Tensor:
        return torch.where(x > 0, x, weights[f"{name}.weight"] * x)

    x = pointwise(norm(code, "input_norm"), "input_conv")
    skips = torch.zeros(7, x.shape[1])
    for i in range(6):
        block, dilation = f"blocks.{i}", 2 ** (i % 3)
        y = norm(prelu(pointwise(x, f"{block}.expand"), f"{block}.prelu1"), f"{block}.norm1")
        around = F.pad(y, (dilation, dilation))
        taps = weights[f"{block}.depthwise.weight"][:, 0]
        length = y.shape[1]
        y = sum(taps[:, [k]] * around[:, k * dilation : k * dilation + length] for k in range(3))
        y = y + weights[f"{block}.depthwise.bias"][:, None]
        y = norm(prelu(y, f"{block}.prelu2"), f"{block}.norm2")
        skips = skips + pointwise(y, f"{block}.skip")
        if i < 5:
            x = x + pointwise(y, f"{block}.residual")
    masks = pointwise(prelu(skips, "output_prelu"), "output_conv").reshape(2, 12, -1)
    masked = (masks.sigmoid() if mask == "sigmoid" else masks.relu()) * code
    sources = torch.zeros(2, len(wave))
    for frame in range(code.shape[1]):
        sources[:, frame * hop : frame * hop + 8] += masked[:, :, frame] @ weights["decoder.weight"][:, 0]
    return sources[:, hop : hop + samples] if padded else sources


@pytest.mark.parametrize("samples", [100, 101, 103, 9, 8])
@pytest.mark.parametrize(
    ("mask", "encoder", "padded"), [("sigmoid", "linear", True), ("relu", "relu", False), ("relu", "linear", False)]
)
def test_equals_the_published_network(samples: int, mask: str, encoder: str, padded: bool) -> None:
    model = model_of(norm="global", encoder=encoder, mask=mask, padded=padded)
    wave = torch.randn(samples, generator=torch.Generator().manual_seed(samples))
    with torch.inference_mode():
        expected = published(dict(model.state_dict()), wave, mask, encoder == "relu", padded)
        found = model.estimate(wave[None, None])[0, :, 0]
    assert expected.abs().max() > 0.01
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("samples", [1, 2, 7])
def test_shorter_than_a_frame(padded: bool, samples: int) -> None:
    model = model_of(norm="global", encoder="linear", padded=padded)
    sources = model.estimate(torch.ones(1, 1, samples))
    assert sources.shape == (1, 2, 1, samples)
    assert torch.isfinite(sources).all()


def test_context_is_all_that_is_heard() -> None:
    model = model_of()
    generator = torch.Generator().manual_seed(0)
    samples = 4 * model.context
    mix = torch.randn(1, 1, samples, generator=generator)
    other = mix.clone()
    other[..., : model.context] += torch.randn(model.context, generator=generator)
    with torch.inference_mode():
        moved = (model.estimate(mix) - model.estimate(other)).abs().amax(dim=(0, 1, 2))
    assert not moved[2 * model.context :].any()
    last = int(moved.nonzero().max()) + 1 - model.context
    assert 0.7 * model.context < last <= model.context


def test_an_even_encoder_makes_an_odd_model() -> None:
    mix = torch.randn(1, 1, 400)
    for encoder, odd in (("even", True), ("linear", False), ("relu", False)):
        model = model_of(encoder=encoder)
        with torch.inference_mode():
            same = torch.allclose(model.estimate(-mix), -model.estimate(mix), atol=1e-5)
        assert same == odd


def test_frame_norm_is_a_layer_norm() -> None:
    norm = FrameNorm(5)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    x = torch.randn(2, 5, 9)
    expected = F.layer_norm(x.transpose(1, 2), (5,), norm.weight, norm.bias).transpose(1, 2)
    assert torch.allclose(norm(x), expected, atol=1e-5)


def test_parameters_that_nothing_would_use_are_not_there() -> None:
    names = set(model_of().state_dict())
    assert "blocks.5.residual.weight" not in names
    assert "blocks.4.residual.weight" in names
    assert not any(name.startswith("input_norm") for name in names)
    assert "input_norm.weight" in model_of(norm="global").state_dict()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"filters": 0}, "positive"),
        ({"kernel": 7}, "even"),
        ({"width": 2}, "odd"),
        ({"encoder": "odd"}, "encoder is one of even, linear, relu"),
        ({"norm": "batch"}, "norm is one of"),
        ({"mask": "tanh"}, "mask is one of"),
    ],
)
def test_options_that_are_none(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ConvTasNetConfig(**change)
    with pytest.raises(InputError, match="separates mono"):
        ConvTasNet(ConvTasNetConfig(**SIZES), SeparatorSpec(8000, 2, ("a", "b")))
