"""The band-split LSTM's own parts: bands, features, masks; what every separator keeps is tested elsewhere."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wavegen.errors import InputError
from wavegen.separation import band_split
from wavegen.separation.band_split import BLOCK, BandSplitLSTM, BandSplitLSTMConfig, band_widths
from wavegen.separation.base import SeparatorSpec
from wavegen.separation.stft import stft

SPEC = SeparatorSpec(4000, 2, ("a", "b", "c"))
SMALL = BandSplitLSTMConfig(channels=6, hidden=5, layers=1, bands=7, head=9, n_fft=128, hop=32)


@given(
    st.sampled_from([(44100, 2048), (16000, 512), (8000, 256), (4000, 128)]),
    st.integers(1, 40),
    st.integers(1, 4),
)
def test_bands_tile_the_spectrum(transform: tuple[int, int], bands: int, narrowest: int) -> None:
    rate, n_fft = transform
    if bands * narrowest > n_fft // 2 + 1:
        with pytest.raises(InputError, match="do not fit"):
            band_widths(rate, n_fft, bands, narrowest)
        return
    widths = band_widths(rate, n_fft, bands, narrowest)
    assert len(widths) == bands
    assert sum(widths) == n_fft // 2 + 1
    assert min(widths) >= narrowest


def test_bands_of_music_are_narrow_where_notes_are() -> None:
    widths = band_widths(44100, 2048, 32, 3)
    below_1k = sum(1 for i in range(32) if sum(widths[: i + 1]) * 44100 / 2048 <= 1000)
    assert 7 <= below_1k <= 9
    assert list(widths[4:]) == sorted(widths[4:])
    assert widths[0] <= 4
    assert widths[-1] >= 90


def test_features_know_neither_sign_nor_order() -> None:
    model = BandSplitLSTM(SMALL, SPEC)
    mix = torch.randn(2, 2, 1000)
    spectrum = stft(mix, 128, 32).transpose(2, 3)
    features = model.features(spectrum)
    assert features.shape == (32, 4, 65 * 4)
    assert torch.equal(features, model.features(-spectrum))
    swapped = model.features(spectrum.flip(1)).unflatten(1, (2, 2)).flip(2).flatten(1, 2)
    assert torch.allclose(features, swapped, atol=1e-5)


def test_features_of_white_noise_and_of_silence() -> None:
    model = BandSplitLSTM(SMALL, SeparatorSpec(4000, 1, ("a", "b")))
    noise = torch.randn(1, 1, 40_000, generator=torch.Generator().manual_seed(0))
    features = model.features(stft(noise, 128, 32).transpose(2, 3))[5:-5, :, 2:-2]
    power = torch.exp((features - 1) * 6)
    assert power.mean().item() == pytest.approx(1.0, abs=0.03)
    silent = model.features(torch.zeros(1, 1, 3, 65, dtype=torch.complex64))
    assert torch.isfinite(silent).all()
    assert (silent < -2).all()


def test_masks_sum_to_one_and_blocks_make_no_difference() -> None:
    torch.manual_seed(0)
    model = BandSplitLSTM(SMALL, SPEC).eval()
    for mask in model.masks:
        torch.nn.init.normal_(mask.weight)
    frames = BLOCK + 11
    spectrum = torch.randn(1, 2, frames, 65, dtype=torch.complex64)
    with torch.inference_mode():
        x = model.trunk(model.embedded(model.features(spectrum)))
        whole = model.masked(x, spectrum)
        assert whole.shape == (1, 3, 2, frames, 65)
        assert torch.allclose(whole.sum(dim=1), spectrum, atol=1e-4)
        ends = model.masked(x[BLOCK:], spectrum[:, :, BLOCK:])
        assert torch.allclose(whole[..., BLOCK:, :], ends, atol=1e-5)


@settings(deadline=None, max_examples=60)
@given(
    window=st.sampled_from([0, 2, 4, 8]),
    layers=st.integers(1, 5),
    ratio=st.sampled_from([4, 5, 6]),
    samples=st.integers(1, 1500),
    ends=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_a_part_is_that_of_the_whole(
    window: int, layers: int, ratio: int, samples: int, ends: tuple[float, float]
) -> None:
    torch.manual_seed(layers)
    sizes = replace(SMALL, n_fft=16 * ratio, hop=16, layers=layers, window=window, bands=4)
    model = BandSplitLSTM(sizes, SPEC).eval().double()
    start, stop = round(min(ends) * (samples - 1)), 1 + round(max(ends) * (samples - 1))
    mix = torch.randn(1, 2, samples, dtype=torch.float64)
    with torch.inference_mode():
        whole = model.estimate(mix)
        assert whole.shape == (1, 3, 2, samples)
        torch.testing.assert_close(model.estimate_within(mix, start, stop), whole[..., start:stop], rtol=0, atol=1e-5)


def test_channels_one_after_the_other_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where an LSTM's output would be too large for all of them at once."""
    torch.manual_seed(0)
    model = BandSplitLSTM(replace(SMALL, window=4), SPEC).eval()
    mix = torch.randn(3, 2, 900)
    seen: list[int] = []
    trunk = model.trunk
    monkeypatch.setattr(model, "trunk", lambda x, spans: (seen.append(x.shape[1]), trunk(x, spans))[1])
    with torch.inference_mode():
        together = model.estimate_within(mix, 100, 700)
        assert seen == [6]
        for largest, pieces in ((1, [1] * 6), (seen_values(model, 900) // 2, [3, 3])):
            seen.clear()
            monkeypatch.setattr(band_split, "AT_ONCE", largest)
            torch.testing.assert_close(model.estimate_within(mix, 100, 700), together, rtol=0, atol=1e-5)
            assert seen == pieces


def seen_values(model: BandSplitLSTM, samples: int) -> int:
    """Of an LSTM's output, for six channels of a mix all of which is seen."""
    frames = 1 + samples // model.config.hop
    return 6 * frames * model.config.bands * 2 * model.config.hidden


def test_no_frame_is_seen_that_a_part_does_not_depend_on() -> None:
    """Samples under frames 15 to 18 are made of 14 to 21 in the last layer, whose windows begin at 2, 6, 10, ..."""
    model = BandSplitLSTM(replace(SMALL, layers=4, window=4), SPEC).eval()
    seen: list[int] = []
    for layer in model.along_time:
        layer.register_forward_hook(lambda _, given, __: seen.append(given[0].numel() // (6 * 7 * 2)))
    with torch.inference_mode():
        model.estimate_within(torch.randn(1, 2, 31 * 32), 16 * 32, 17 * 32)
        assert seen == [16, 12, 12, 8]
        seen.clear()
        model.estimate(torch.randn(1, 2, 31 * 32))
    assert sum(seen) == 4 * 32


def test_an_untrained_model_gives_about_equal_shares() -> None:
    torch.manual_seed(0)
    model = BandSplitLSTM(SMALL, SPEC).eval()
    mix = torch.randn(1, 2, 4000)
    with torch.inference_mode():
        shares = model(mix)
    assert (shares - mix[:, None] / 3).abs().mean() < 0.2 * mix.abs().mean()


def test_what_is_missing_goes_to_those_that_sound() -> None:
    """One source with a mask of 0.8, the others silent: the loud one gets all that is missing."""
    model = BandSplitLSTM(SMALL, SPEC).eval()
    with torch.no_grad():
        for mask, width in zip(model.masks, model.widths, strict=True):
            mask.weight.zero_()
            shares = mask.bias.view(3, 3, width)
            shares.zero_()
            shares[0, 0] = 1.6
        mix = torch.randn(1, 2, 2000)
        sources = model(mix)
    assert torch.allclose(sources[:, 0], mix, atol=1e-4)
    assert sources[:, 1:].abs().max() < 1e-4


def test_bfloat16_training_is_close_to_float32() -> None:
    torch.manual_seed(0)
    model = BandSplitLSTM(SMALL, SPEC)
    mix = torch.randn(1, 2, 2000)
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(mix)
    assert rough.dtype == torch.float32
    assert (rough - model(mix)).abs().max() < 0.05
    assert (rough.sum(dim=1) - mix).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": 0}, "positive"),
        ({"bands": 0}, "positive"),
        ({"hop": 64}, "at least 4 whole hops"),
        ({"hop": 30}, "at least 4 whole hops"),
        ({"n_fft": 129}, "even"),
        ({"context": -1.0}, "context"),
        ({"window": 3}, "window"),
        ({"window": -2}, "window"),
        ({"context": float("nan")}, "context"),
        ({"bands": 40}, "do not fit"),
    ],
)
def test_sizes_that_cannot_be(change: dict, message: str) -> None:
    fields = {"channels": 4, "hidden": 4, "layers": 1, "bands": 4, "n_fft": 128, "hop": 32}
    with pytest.raises(InputError, match=message):
        BandSplitLSTM(BandSplitLSTMConfig(**{**fields, **change}), SPEC)
