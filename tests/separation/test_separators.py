"""What every separator must keep, with random weights: sums, gain, polarity, channels, batch, seed, chunks, lengths."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from wavegen.errors import InputError
from wavegen.separation.band_split import WINDOWS, BandSplitLSTM, BandSplitLSTMConfig
from wavegen.separation.base import Separator, SeparatorSpec
from wavegen.separation.conv_tasnet import ConvTasNet, ConvTasNetConfig
from wavegen.separation.deep_lstm import DeepLSTM, DeepLSTMConfig
from wavegen.separation.overlap import plan, separate
from wavegen.separation.wiener import WienerSeparator

RATE = 4000
MUSIC = SeparatorSpec(RATE, 2, ("vocals", "drums", "bass"))
SPEECH = SeparatorSpec(RATE, 1, ("voice", "background"))
SPEAKERS = SeparatorSpec(RATE, 1, ("speaker1", "speaker2"), interchangeable=True)
BANDS = BandSplitLSTMConfig(channels=8, hidden=8, layers=2, bands=8, head=12, n_fft=128, hop=32, context=0.5)
DEEP = DeepLSTMConfig(hidden=16, layers=2, n_fft=128, hop=32, bins=50, context=0.5)
TASNET = ConvTasNetConfig(filters=16, bottleneck=8, hidden=12, skip=8, layers=4, repeats=2)


def build(name: str) -> Separator:
    """A small model whose random weights matter: its masks are far from equal shares."""
    torch.manual_seed(7)
    model: Separator = {
        "band-split": lambda: BandSplitLSTM(BANDS, MUSIC),
        "band-split mono": lambda: BandSplitLSTM(BANDS, SPEECH),
        "band-split windows": lambda: BandSplitLSTM(replace(BANDS, layers=4, window=6), MUSIC),
        "deep-lstm": lambda: DeepLSTM(DEEP, MUSIC),
        "deep-lstm mono": lambda: DeepLSTM(DEEP, SPEECH),
        "conv-tasnet": lambda: ConvTasNet(TASNET, SPEAKERS),
        "wiener": lambda: WienerSeparator(BandSplitLSTM(BANDS, MUSIC), n_fft=128, hop=32),
    }[name]()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, BandSplitLSTM):
                for mask in module.masks:
                    mask.weight.mul_(20)
            if isinstance(module, nn.BatchNorm1d):
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, std=0.3)
                module.running_mean.normal_(std=0.2)
            if isinstance(module, ConvTasNet):
                module.output_conv.weight.mul_(10)
    return model.eval()


ALL = ("band-split", "band-split mono", "band-split windows", "deep-lstm", "deep-lstm mono", "conv-tasnet", "wiener")
STEREO = ("band-split", "band-split windows", "deep-lstm", "wiener")
STREAMED = tuple(name for name in ALL if name != "wiener")  # whose windows of statistics begin anew with each chunk


def mix_for(model: Separator, samples: int, seed: int = 0, batch: int = 1) -> Tensor:
    """Coloured noise whose level changes, other in each channel."""
    x = torch.randn(batch, model.spec.channels, samples, generator=torch.Generator().manual_seed(seed))
    slow = 1.2 + torch.sin(torch.arange(samples) / 700)
    return 0.1 * slow * (x + torch.roll(x, 1, -1) + 0.5 * x.mean(dim=1, keepdim=True))


def decibels(reference: Tensor, other: Tensor) -> float:
    """Ratio of the reference's energy to that of the difference."""
    error = float((reference - other).double().square().sum())
    return 10 * math.log10(float(reference.double().square().sum()) / max(error, 1e-300))


@pytest.fixture(params=ALL)
def model(request: pytest.FixtureRequest) -> Separator:
    return build(request.param)


@pytest.mark.parametrize("samples", [1, 2, 63, 64, 65, 127, 1000, 4001])
@torch.inference_mode()
def test_any_length_sums_to_the_mix(model: Separator, samples: int) -> None:
    mix = mix_for(model, samples)
    sources = model(mix)
    assert sources.shape == (1, len(model.spec.sources), model.spec.channels, samples)
    assert torch.isfinite(sources).all()
    assert (sources.sum(dim=1) - mix).abs().max() <= 1e-6


@torch.inference_mode()
def test_the_weights_matter(model: Separator) -> None:
    """Else all that follows would be empty: no source is an equal share of the mix."""
    mix = mix_for(model, 4000)
    for source in model(mix)[0]:
        assert decibels(mix[0] / len(model.spec.sources), source) < 20


@pytest.mark.parametrize("gain", [0.1, 10.0, -1.0])
@torch.inference_mode()
def test_gain_and_polarity_commute(model: Separator, gain: float) -> None:
    mix = mix_for(model, 3001)
    expected = gain * model(mix)
    assert (model(gain * mix) - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("name", STEREO)
@torch.inference_mode()
def test_channel_swap_commutes(name: str) -> None:
    model = build(name)
    mix = mix_for(model, 3001)
    sources = model(mix)
    assert (model(mix.flip(1)) - sources.flip(2)).abs().max() <= 1e-5 * sources.abs().max()
    same = model(mix[:, :1].expand(1, 2, -1))
    assert (same[:, :, 0] - same[:, :, 1]).abs().max() <= 1e-5 * same.abs().max()


@torch.inference_mode()
def test_items_of_a_batch_do_not_know_each_other(model: Separator) -> None:
    mix = mix_for(model, 2000, batch=3)
    mix[1] *= 100
    mix[2] = 0
    together = model(mix)
    for i in range(3):
        alone = model(mix[i : i + 1])[0]
        assert (together[i] - alone).abs().max() <= 1e-5 * mix[i].abs().max()
    assert not together[2].any()


@torch.inference_mode()
def test_two_runs_are_equal(model: Separator) -> None:
    mix = mix_for(model, 3000)
    assert torch.equal(model(mix), model(mix))


@torch.inference_mode()
def test_silence_within_and_throughout(model: Separator) -> None:
    assert not model(torch.zeros(1, model.spec.channels, 777)).any()
    mix = mix_for(model, 6000)
    mix[..., 2000:4000] = 0
    sources = model(mix)
    assert torch.isfinite(sources).all()
    assert sources[..., 2200:3800].abs().max() <= 1e-6
    if model.spec.channels == 2:
        mix[:, 1] = 0
        assert torch.isfinite(model(mix)).all()
        assert model(mix)[:, :, 1].abs().max() <= 1e-6


@torch.inference_mode()
def test_bad_input_is_refused(model: Separator) -> None:
    mix = mix_for(model, 100)
    mix[0, 0, 50] = math.nan
    with pytest.raises(InputError, match="NaN or infinite"):
        model(mix)
    with pytest.raises(InputError, match="mix must be"):
        model(torch.zeros(1, 3, 100))
    assert model(torch.zeros(2, model.spec.channels, 0)).shape[-1] == 0


@pytest.mark.parametrize(("seconds", "overlap"), [(1.0, 0.25), (1.37, 0.0), (2.9, 0.5), (0.71, 0.1)])
@pytest.mark.parametrize("name", STREAMED)
def test_chunks_are_separated_as_the_whole(name: str, seconds: float, overlap: float) -> None:
    model = build(name)
    mix = mix_for(model, 5 * RATE + 321)
    with torch.inference_mode():
        whole = model(mix)[0]
    chunked = separate(model, mix[0], chunk_seconds=seconds, overlap=overlap)
    assert chunked.shape == whole.shape
    assert all(decibels(a, b) >= 40 for a, b in zip(whole, chunked, strict=True))
    assert (chunked.sum(dim=0) - mix[0]).abs().max() <= 1e-6


def test_windows_make_chunks_exactly_the_whole() -> None:
    """By the model's own habits, whatever the layers: their memory ends where the context does."""
    for layers, n_fft in ((1, 128), (1, 160), (2, 128), (3, 128), (4, 128), (4, 224), (5, 128)):
        model = BandSplitLSTM(replace(BANDS, layers=layers, window=6, n_fft=n_fft), MUSIC).eval()
        mix = mix_for(model, 9 * RATE + 55)
        with torch.inference_mode():
            whole = model(mix)[0]
        assert (model.overlap, model.chunk_seconds) == (0, WINDOWS * 6 * model.config.hop / RATE)
        chunked = separate(model, mix[0], chunk_seconds=0.5)
        torch.testing.assert_close(chunked, whole, atol=1e-6, rtol=0)


@pytest.mark.parametrize("seconds", [0.01, 0.2, 1.0])
def test_a_wiener_filter_fades_whatever_its_model_does(seconds: float) -> None:
    model = BandSplitLSTM(replace(BANDS, window=6), MUSIC)
    assert plan(model, seconds).fade == 0
    assert plan(model, seconds, overlap=0.01).fade >= model.hop
    assert plan(WienerSeparator(model, n_fft=128, hop=32), seconds).fade >= model.hop


def test_a_wiener_filter_streams_too() -> None:
    model = build("wiener")
    mix = mix_for(model, 3 * RATE + 1)
    chunked = separate(model, mix[0], chunk_seconds=1.1)
    assert chunked.shape == (3, 2, 3 * RATE + 1)
    assert (chunked.sum(dim=0) - mix[0]).abs().max() <= 1e-6


def test_gradients_reach_every_parameter(model: Separator) -> None:
    torch.manual_seed(0)
    model.train()
    loss = (model(mix_for(model, 2000, batch=2)) - 0.1 * torch.randn(1)).abs().mean()
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name
