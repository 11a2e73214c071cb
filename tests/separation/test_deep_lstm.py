"""The deep LSTM's own parts: the published network written down plainly, its layout, its options."""

import pytest
import torch
from torch import Tensor, nn

from wavegen.errors import InputError
from wavegen.separation.base import SeparatorSpec
from wavegen.separation.deep_lstm import DeepLSTM, DeepLSTMConfig
from wavegen.separation.stft import istft, stft
from wavegen.separation.wiener import wiener

SPEC = SeparatorSpec(4000, 2, ("vocals", "drums"))
SIZES = {"hidden": 12, "layers": 2, "n_fft": 64, "hop": 16, "bins": 20}


def model_of(spec: SeparatorSpec = SPEC, **changes: object) -> DeepLSTM:
    torch.manual_seed(0)
    model = DeepLSTM(DeepLSTMConfig(**{**SIZES, **changes}), spec).eval()
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if any(part in name for part in ("bn", "mean", "scale")) and tensor.is_floating_point():
                tensor.uniform_(0.4, 1.5)
            if "input_mean" in name:
                tensor.neg_()
    return model


def published(weights: dict[str, Tensor], magnitudes: Tensor) -> Tensor:
    """One target's magnitudes (channels, bins, frames) from the mix's, as the paper's network has them."""
    channels, bins, frames = magnitudes.shape

    def norm(x: Tensor, name: str) -> Tensor:
        w = {part: weights[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")}
        return (x - w["running_mean"]) / (w["running_var"] + 1e-5).sqrt() * w["weight"] + w["bias"]

    lstm = nn.LSTM(12, 6, 2, bidirectional=True)
    lstm.load_state_dict({name[5:]: w for name, w in weights.items() if name.startswith("lstm.")})
    x = magnitudes.permute(2, 0, 1)[..., :20]
    x = ((x + weights["input_mean"]) * weights["input_scale"]).reshape(frames, -1)
    x = norm(x @ weights["fc1.weight"].T, "bn1").tanh()
    x = torch.cat([x, lstm(x[:, None])[0][:, 0]], dim=1)
    x = norm(x @ weights["fc2.weight"].T, "bn2").relu()
    x = norm(x @ weights["fc3.weight"].T, "bn3").reshape(frames, channels, bins)
    mask = (x * weights["output_scale"] + weights["output_mean"]).relu()
    return mask.permute(1, 2, 0) * magnitudes


@pytest.mark.parametrize("iterations", [0, 1])
def test_equals_the_published_network(iterations: int) -> None:
    model = model_of(joint=True, rms=0.2, wiener=iterations)
    mix = torch.randn(2, 2, 1003, generator=torch.Generator().manual_seed(0))
    spectrum = stft(0.2 * mix, 64, 16)
    with torch.inference_mode():
        targets = torch.stack(
            [
                torch.stack([published(dict(network.state_dict()), item.abs()) for item in spectrum])
                for network in model.networks.values()
            ],
            dim=1,
        )
        estimates = torch.polar(targets, spectrum.angle()[:, None].expand_as(targets))
        expected = istft(wiener(estimates, spectrum, iterations=iterations), 64, 16, 1003) / 0.2
        found = model.estimate(mix)
    assert expected.std() > 0.1
    assert torch.allclose(found, expected, atol=2e-4 if iterations else 1e-5)


def test_the_layout_is_the_published_one() -> None:
    model = DeepLSTM(DeepLSTMConfig(hidden=512, bins=1487, joint=True), SeparatorSpec(44100, 2, ("vocals",)))
    shapes = {name: tuple(tensor.shape) for name, tensor in model.networks["vocals"].state_dict().items()}
    expected = {
        "input_mean": (1487,),
        "input_scale": (1487,),
        "output_mean": (2049,),
        "output_scale": (2049,),
        "fc1.weight": (512, 2974),
        "fc2.weight": (512, 1024),
        "fc3.weight": (4098, 512),
        "bn3.running_var": (4098,),
        "bn1.num_batches_tracked": (),
        "lstm.weight_ih_l0": (1024, 512),
        "lstm.weight_hh_l2_reverse": (1024, 256),
    }
    assert {name: shapes[name] for name in expected} == expected
    assert len(shapes) == 4 + 3 + 3 * 5 + 3 * 2 * 4


def test_joint_channels_have_an_order_and_single_ones_have_none() -> None:
    mix = torch.randn(1, 2, 900)
    for joint in (False, True):
        model = model_of(joint=joint)
        with torch.inference_mode():
            same = torch.allclose(model(mix.flip(1)), model(mix).flip(2), atol=1e-5)
        assert same != joint


def test_nothing_above_the_looked_at_bins_matters() -> None:
    model = model_of(SeparatorSpec(4000, 1, ("a", "b")))
    magnitudes = torch.rand(9, 1, 1, 33)
    louder = magnitudes.clone()
    louder[..., 20:] *= 10
    network = model.networks["a"]
    with torch.inference_mode():
        assert torch.equal(network(magnitudes), network(louder))
        louder[..., 19] *= 10
        assert not torch.allclose(network(magnitudes), network(louder))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden": 7}, "even"),
        ({"layers": 0}, "positive"),
        ({"hop": 32}, "at least 4 hops"),
        ({"bins": 34}, r"bins must be in \[0, 33\]"),
        ({"dropout": 1.0}, "dropout"),
        ({"rms": 0.0}, "rms"),
        ({"wiener": -1}, "negative"),
        ({"context": -0.1}, "negative"),
    ],
)
def test_options_that_are_none(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        DeepLSTMConfig(**{**SIZES, **change})
