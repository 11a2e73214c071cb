"""WaveNet: the network against its equations step by step, what reaches a sample, and its weights for generation."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from wavegen import checkpoints
from wavegen.audio.features import FeatureSpec
from wavegen.errors import CheckpointError, InputError
from wavegen.ops.wavenet import WaveNetWeights
from wavegen.vocoders import wavenet
from wavegen.vocoders.distributions import MuLaw, distribution
from wavegen.vocoders.wavenet import Sampling, WaveNet, WaveNetConfig, linear_interpolation

HOP = 8
SPEC = FeatureSpec(n_fft=32, window=32, hop=HOP, bands=5)
OUTPUTS = ("mulaw8", "mulaw10", "gaussian", "logistics")
SIZES: dict[str, Any] = {
    "residual": 3,
    "gate": 4,
    "skip": 5,
    "head": 6,
    "layers": 5,
    "cycle": 3,
    "mixtures": 2,
    "encoder": 7,
    "encoder_layers": 1,
}


def network(**settings: Any) -> WaveNet:
    """A small network in float64, every parameter random, so that nothing hides behind a zero."""
    torch.manual_seed(3)
    model = WaveNet(WaveNetConfig(**{**SIZES, **settings}), SPEC).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        model.skip_bias.add_(1.0)  # few of the rectified units are dead
        model.head1.bias.add_(1.0)
    return model


def material(frames: int, batch: int = 2, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Samples (batch, frames × hop) and a mel (batch, bands, frames)."""
    generator = torch.Generator().manual_seed(seed)
    samples = torch.rand(batch, frames * HOP, generator=generator, dtype=torch.float64) * 1.8 - 0.9
    return samples, torch.randn(batch, SPEC.bands, frames, generator=generator, dtype=torch.float64)


def step_by_step(weights: WaveNetWeights, frames: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Head outputs (time, O) by the equations, one sample and one layer at a time, in float64.

    ``frames`` (frames, layers, 2 × gate) is the conditioning at frame rate.
    """
    w = {f.name: np.asarray(getattr(weights, f.name), float) for f in dataclasses.fields(weights) if f.name != "output"}
    layers, twice, _, width = w["dilated"].shape
    gate = twice // 2
    d = distribution(weights.output, 1)
    history: list[list[np.ndarray]] = [[] for _ in range(layers)]
    outputs = []
    for t in range(len(samples)):
        v = float(d.value(torch.tensor([[samples[t - 1] if t else 0.0]], dtype=torch.float64)))
        x = w["input"][int(v)] if isinstance(d, MuLaw) else v * w["input"][0] + w["input"][1]
        frame, place = divmod(t, HOP)
        skip = w["skip_bias"].copy()
        for layer in range(layers):
            history[layer].append(x)
            pre = w["dilated_bias"][layer].copy()
            for j in range(width):
                past = t - (width - 1 - j) * weights.dilations[layer]
                if past >= 0:
                    pre += w["dilated"][layer, :, :, j] @ history[layer][past]
            for j in range(3):
                near = min(max(frame + j - 1, 0), len(frames) - 1)
                pre += w["interpolation"][j, place] * frames[near, layer]
            z = np.tanh(pre[:gate]) / (1 + np.exp(-pre[gate:]))
            skip += w["skip"][:, layer * gate : (layer + 1) * gate] @ z
            if layer < layers - 1:
                x = x + w["residual"][layer] @ z + w["residual_bias"][layer]
        hidden = np.maximum(w["head1"] @ np.maximum(skip, 0) + w["head1_bias"], 0)
        outputs.append(w["head2"] @ hidden + w["head2_bias"])
    return np.array(outputs)


@pytest.mark.parametrize("width", [2, 3])
@pytest.mark.parametrize("output", OUTPUTS)
def test_teacher_forced_equals_the_equations(output: str, width: int) -> None:
    model = network(output=output, width=width)
    samples, mel = material(6)
    with torch.no_grad():
        found = model.teacher_forced(samples, mel)
        frames = torch.einsum("bcf,lgc->bflg", model.encode(mel), model.conditioning_weight)
    assert found.shape == (2, model.distribution.parameters, 6 * HOP)
    for item in range(2):
        expected = step_by_step(model.weights(), frames[item].numpy(), samples[item].numpy())
        assert np.allclose(found[item].T.numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("settings", [{"layers": 1}, {"cycle": 1}, {"encoder_layers": 0}, {"layers": 3, "cycle": 3}])
def test_awkward_sizes_equal_the_equations(settings: dict[str, int]) -> None:
    model = network(output="gaussian", **settings)
    samples, mel = material(1, batch=1)
    with torch.no_grad():
        found = model.teacher_forced(samples, mel)[0].T.numpy()
        frames = torch.einsum("bcf,lgc->bflg", model.encode(mel), model.conditioning_weight)
    expected = step_by_step(model.weights(), frames[0].numpy(), samples[0].numpy())
    assert np.allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("width", "field"), [(2, 11), (3, 21)])
def test_a_sample_sees_its_receptive_field_and_nothing_after(width: int, field: int) -> None:
    """Gradients of one sample's parameters, with respect to all samples and mel frames."""
    model = network(output="logistics", width=width)
    assert model.config.receptive_field == field  # dilations 1, 2, 4, 1, 2
    assert model.context == 1 + 3 + 1
    samples, mel = material(14, batch=1)
    t = 7 * HOP + 3
    samples.requires_grad_()
    mel.requires_grad_()
    model.teacher_forced(samples, mel)[0, :, t].sum().backward()
    assert samples.grad is not None
    assert mel.grad is not None
    reached = torch.nonzero(samples.grad[0]).flatten().tolist()
    assert reached == list(range(t - field, t))
    first = (t - field + 1) // HOP - model.context  # a sample in the past was conditioned on frames before it
    frames = torch.nonzero(mel.grad[0].abs().sum(dim=0)).flatten().tolist()
    assert frames == list(range(max(0, first), 7 + model.context + 1))


@pytest.mark.parametrize("output", ["mulaw8", "mulaw10"])
def test_classes_reach_no_earlier_sample(output: str) -> None:
    model = network(output=output)
    samples, mel = material(6, batch=1)
    other = samples.clone()
    other[0, 20] = -other[0, 20]
    with torch.no_grad():
        changed = (model.teacher_forced(samples, mel) != model.teacher_forced(other, mel)).any(dim=1)[0]
    assert torch.nonzero(changed).flatten().tolist() == list(range(21, 21 + model.config.receptive_field))


def test_projecting_after_interpolation_equals_the_reverse() -> None:
    model = network()
    _, mel = material(5)
    with torch.no_grad():
        late = torch.einsum("bct,lgc->bltg", model.upsample(model.encode(mel)), model.conditioning_weight)
        frames = model.conditioning(mel)
        assert frames.shape == (2, 5, 5, 8)
        assert frames.dtype == torch.float32
        early = model.upsample(frames.double().permute(0, 2, 3, 1).flatten(1, 2)).unflatten(1, (5, 8))
    assert torch.allclose(early.permute(0, 1, 3, 2), late, atol=1e-5)


@pytest.mark.parametrize("hop", [1, 2, 7, 256])
def test_interpolation_begins_linear(hop: int) -> None:
    """A ramp over frames becomes the ramp over samples that meets it at the frames' centres."""
    weights = linear_interpolation(hop)
    assert weights.min() >= 0
    assert torch.allclose(weights.sum(dim=0), torch.ones(hop))
    for sample in range(hop):
        value = float(weights[:, sample] @ torch.tensor([4.0, 5.0, 6.0]))
        assert value == pytest.approx(5 + (sample - (hop - 1) / 2) / hop, abs=1e-5)


def test_edges_are_as_if_the_first_and_last_frame_went_on() -> None:
    model = network()
    _, mel = material(4)
    longer = torch.cat([mel[..., :1].expand(-1, -1, 9), mel, mel[..., -1:].expand(-1, -1, 9)], dim=-1)
    with torch.no_grad():
        assert torch.allclose(model.encode(mel), model.encode(longer)[..., 9:-9], atol=1e-12)


@pytest.mark.parametrize("margin", [1, 5, 6])
def test_a_margin_of_true_neighbours(margin: int) -> None:
    """With ``context`` neighbours a segment is conditioned as in the whole; with fewer it is not."""
    model = network(output="gaussian")
    samples, mel = material(20)
    with torch.no_grad():
        whole = model.teacher_forced(samples, mel)[..., 8 * HOP : 12 * HOP]
        segment = model.teacher_forced(samples[:, 8 * HOP : 12 * HOP], mel[..., 8 - margin : 12 + margin], margin)
    same = torch.isclose(whole, segment, atol=1e-10)[..., 2 * HOP :]  # less the history that is cut off
    assert same.all() == (margin >= model.context)


def test_every_parameter_is_trained() -> None:
    model = network(output="logistics")
    samples, mel = material(5)
    model.distribution.nll(model.teacher_forced(samples, mel), samples).mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_autocast_reaches_the_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The layers compute in bf16, what leaves the network is float32 and close to what float32 gives."""
    seen: set[torch.dtype] = set()
    layer = wavenet.gated_layer

    def spy(*arguments: Any) -> tuple[Tensor, Tensor]:
        seen.update(a.dtype for a in arguments if isinstance(a, Tensor))
        return layer(*arguments)

    monkeypatch.setattr(wavenet, "gated_layer", spy)
    model = network(output="gaussian").float()
    samples, mel = (x.float() for x in material(6))
    with torch.no_grad():
        plain = model.teacher_forced(samples, mel)
        assert seen == {torch.float32}
        seen.clear()
        with torch.autocast("cpu", torch.bfloat16):
            half = model.teacher_forced(samples, mel)
    assert seen == {torch.bfloat16}
    assert half.dtype == torch.float32
    assert 0 < (half - plain).abs().max() < 0.1 * plain.std()


@pytest.mark.parametrize("output", OUTPUTS)
def test_first_likelihood_is_sane(output: str) -> None:
    """An untrained network of a usual size says little of speech-like samples, and is not surprised by them."""
    torch.manual_seed(0)
    config = WaveNetConfig(residual=32, gate=32, skip=64, head=64, layers=16, cycle=8, output=output, encoder=32)
    model = WaveNet(config, FeatureSpec())
    samples = 0.1 * torch.randn(2, 2048)
    with torch.no_grad():
        nll = model.distribution.nll(model.teacher_forced(samples, torch.randn(2, 100, 8) - 5), samples).mean()
    bits = float(nll) / math.log(2) + model.distribution.bits_offset
    assert bits < {"mulaw8": 8.3, "mulaw10": 10.3}.get(output, 17)


def test_saved_and_loaded(tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = WaveNet(WaveNetConfig(**SIZES, output="logistics"), SPEC)
    checkpoints.save(tmp_path / "w.safetensors", model, half=False)
    loaded = checkpoints.load(tmp_path / "w.safetensors", role="vocoder")
    assert isinstance(loaded, WaveNet)
    assert loaded.config == model.config
    assert loaded.spec == SPEC
    samples, mel = (x.float() for x in material(4))
    with torch.no_grad():
        assert torch.equal(loaded.teacher_forced(samples, mel), model.teacher_forced(samples, mel))
    with pytest.raises(CheckpointError, match="what is needed here is a speech model"):
        checkpoints.load(tmp_path / "w.safetensors", role="speech")


def test_weights_are_copies() -> None:
    model = WaveNet(WaveNetConfig(**SIZES), SPEC)
    weights = model.weights()
    assert weights.dilations == (1, 2, 4, 1, 2)
    assert weights.output == "mulaw8"
    before = weights.dilated.clone()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    assert torch.equal(weights.dilated, before)
    with torch.no_grad():
        model.skip[2, 1, 0] = math.nan
    with pytest.raises(InputError, match=r"WaveNetWeights\.skip holds NaN"):
        model.weights()


# Bad input


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"residual": 0}, "WaveNetConfig.residual must be from 1 to 4096, not 0"),
        ({"layers": 0}, "WaveNetConfig.layers"),
        ({"layers": 10**7}, "WaveNetConfig.layers must be from 1 to 1024"),
        ({"encoder_layers": 10**7}, "WaveNetConfig.encoder_layers must be from 0 to 64"),
        ({"emphasis": 1.0}, r"WaveNetConfig.emphasis must be in \[0, 1\), not 1.0"),
        ({"cycle": 0}, "WaveNetConfig.cycle must be from 1 to 16, not 0"),
        ({"cycle": 17}, "WaveNetConfig.cycle must be from 1 to 16, not 17"),
        ({"width": 1}, "WaveNetConfig.width must be 2 or 3, not 1"),
        ({"width": 4}, "WaveNetConfig.width"),
        ({"encoder_layers": -1}, "WaveNetConfig.encoder_layers must be from 0 to 64, not -1"),
        ({"output": "softmax"}, "WaveNetConfig: output must be one of"),
        ({"output": "logistics", "mixtures": 0}, "WaveNetConfig.mixtures must be from 1 to 1024, not 0"),
    ],
)
def test_bad_config(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        WaveNetConfig(**settings)


def test_bad_spec() -> None:
    with pytest.raises(InputError, match='WaveNet needs a FeatureSpec with padding "same"'):
        WaveNet(WaveNetConfig(**SIZES), FeatureSpec(padding="center"))


@pytest.mark.parametrize(
    ("samples", "mel", "margin", "message"),
    [
        ((1, 31), (1, 5, 4), 0, r"samples must be \(batch, 32\) for this mel, not \(1, 31\)"),
        ((1, 32), (1, 5, 4), 1, r"samples must be \(batch, 16\)"),
        ((32,), (1, 5, 4), 0, "samples must be"),
        ((2, 32), (1, 5, 4), 0, "samples are a batch of 2, the mel one of 1"),
        ((1, 32), (1, 6, 4), 0, r"mel must be \(batch, 5, frames\)"),
        ((1, 0), (1, 5, 2), 1, "margin of 1 frames leaves none of 2"),
        ((1, 48), (1, 5, 4), -1, "margin"),
    ],
)
def test_bad_shapes(samples: tuple[int, ...], mel: tuple[int, ...], margin: int, message: str) -> None:
    model = WaveNet(WaveNetConfig(**SIZES), SPEC)
    with pytest.raises(InputError, match=message):
        model.teacher_forced(torch.zeros(samples), torch.zeros(mel), margin)


def test_bad_weights() -> None:
    weights = WaveNet(WaveNetConfig(**SIZES), SPEC).weights()
    for change, message in (
        ({"dilated": weights.dilated[:, :-1]}, "dilated must be"),
        ({"dilated": weights.dilated[..., :1]}, "width must be 2 or 3"),
        ({"residual": weights.residual[:-1]}, r"residual must be \(4, 3, 4\), not \(3, 3, 4\)"),
        ({"input": weights.input[:2]}, r"input must be \(256, 3\)"),
        ({"head1": weights.head1.double()}, "head1 must be float32"),
        ({"interpolation": torch.zeros(3, 0)}, "interpolation must be"),
        ({"head2_bias": torch.full((256,), torch.inf)}, "head2_bias holds NaN or infinite"),
        ({"dilations": (1, 2, 4, 1)}, "dilations must be 5 positive integers"),
        ({"dilations": (1, 2, 4, 1, 0)}, "dilations must be 5 positive integers"),
        ({"output": "logistics"}, "input must be"),
        ({"output": "mulaw10"}, "input must be"),
        ({"output": "mulaw10", "input": torch.zeros(1024, 3)}, "output 'mulaw10' with 256 rows in head2"),
        ({"output": "gaussian", "input": torch.zeros(2, 3)}, "output 'gaussian' with 256 rows in head2"),
        ({"output": "cubic", "input": torch.zeros(2, 3)}, "output 'cubic'"),
    ):
        with pytest.raises(InputError, match=message):
            dataclasses.replace(weights, **change)


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("emphasis", [0.0, 0.9])
def test_bits_by_the_kernels_are_those_of_the_network(output: str, emphasis: float) -> None:
    torch.manual_seed(5)
    config = WaveNetConfig(residual=8, gate=8, skip=8, head=8, layers=4, cycle=4, output=output, emphasis=emphasis)
    model = WaveNet(config, SPEC).eval()
    mel, waveform = torch.randn(2, SPEC.bands, 70), 0.1 * torch.randn(2, 70 * SPEC.hop)
    samples = model.emphasised(waveform)
    with torch.inference_mode():
        nll = model.distribution.nll(model.teacher_forced(samples, mel), samples)
    bits = model.with_sampling(Sampling(precision="fp32")).bits_per_sample(waveform, mel)
    expected = nll / math.log(2) + model.distribution.bits_offset
    torch.testing.assert_close(bits, expected, atol=2e-3, rtol=1e-4)
    with pytest.raises(InputError, match="waveform must be"):
        model.bits_per_sample(waveform[:, 1:], mel)


def test_the_loudest_jumps_stay_in_range() -> None:
    for output in OUTPUTS:
        model = WaveNet(WaveNetConfig(**{**SIZES, "output": output, "emphasis": 0.9}), SPEC).eval()
        waveform = torch.ones(1, 4 * HOP)
        waveform[:, ::2] = -1.0
        samples = model.emphasised(waveform)
        assert samples.abs().max() <= 1
        bits = model.bits_per_sample(waveform, torch.zeros(1, SPEC.bands, 4))
        assert torch.isfinite(bits).all()


def test_emphasis_is_undone() -> None:
    config = WaveNetConfig(residual=8, gate=8, skip=8, head=8, layers=4, cycle=4, output="gaussian", emphasis=0.9)
    model = WaveNet(config, SPEC).eval()
    mel = torch.randn(2, SPEC.bands, 150)
    waveform = model(mel)
    plain = WaveNet(dataclasses.replace(config, emphasis=0.0), SPEC).eval()
    plain.load_state_dict(model.state_dict())
    drawn = plain(mel).double()
    expected = torch.zeros_like(drawn)
    for t in range(drawn.shape[1]):
        expected[:, t] = drawn[:, t] + (0.9 * expected[:, t - 1] if t else 0.0)
    torch.testing.assert_close(waveform.double(), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(model.emphasised(waveform).double(), drawn, atol=1e-5, rtol=1e-5)
