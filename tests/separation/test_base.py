"""The contract of separators: levels, silence, consistency, bad input, and the transform that they share."""

import numpy as np
import pytest
import scipy.signal
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from wavegen.errors import InputError
from wavegen.separation.base import Separator, SeparatorSpec, level_of, mixture_consistency
from wavegen.separation.stft import istft, istft_blocks, stft

SPEC = SeparatorSpec(8000, 2, ("voice", "rest"))


class Squares(Separator):
    """The positive part of each sample, and half of the rest: not linear, and not consistent."""

    def __init__(self, spec: SeparatorSpec = SPEC) -> None:
        super().__init__()
        self.spec, self.hop, self.context = spec, 1, 0
        self.seen: list[Tensor] = []

    def estimate(self, mix: Tensor) -> Tensor:
        self.seen.append(mix)
        return torch.stack([mix.relu().square(), -(-mix).relu() / 2], dim=1)


def test_the_estimate_sees_level_one_and_the_output_has_the_mix_s() -> None:
    torch.manual_seed(0)
    mix = torch.randn(3, 2, 501) * torch.tensor([1e-3, 1.0, 50.0])[:, None, None]
    model = Squares()
    sources = model(mix)
    assert torch.allclose(level_of(model.seen[0]), torch.ones(3), atol=1e-6)
    level = mix.square().mean(dim=(1, 2)).sqrt()[:, None, None]
    unit = mix / level
    first = level * unit.relu().square()
    second = -level * (-unit).relu() / 2
    missing = (mix - first - second) / 2
    assert torch.allclose(sources[:, 0], first + missing, rtol=1e-5, atol=1e-6 * 50)
    assert torch.allclose(model(mix, consistent=False)[:, 1], second, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("gain", [0.1, 10.0, 1e-12, 1e12])
def test_gain_commutes(gain: float) -> None:
    torch.manual_seed(1)
    mix = torch.randn(2, 2, 400)
    assert torch.allclose(Squares()(gain * mix), gain * Squares()(mix), rtol=1e-5, atol=1e-6 * gain)


def test_the_level_of_the_whole_takes_the_place_of_the_part_s() -> None:
    torch.manual_seed(2)
    mix = torch.randn(1, 2, 1000)
    mix[..., :500] *= 0.01
    whole = Squares()(mix)
    part = Squares()(mix[..., :500], level=level_of(mix))
    assert torch.allclose(part, whole[..., :500], atol=1e-6)
    assert not torch.allclose(Squares()(mix[..., :500]), part, atol=1e-3)


@pytest.mark.parametrize("consistent", [False, True])
def test_a_part_is_that_of_the_whole(consistent: bool) -> None:
    torch.manual_seed(3)
    mix = torch.randn(2, 2, 300)
    whole = Squares()(mix, consistent=consistent)
    assert torch.equal(Squares()(mix, consistent=consistent, within=(40, 41)), whole[..., 40:41])
    assert torch.equal(Squares()(mix, consistent=consistent, within=(0, 300)), whole)
    assert torch.equal(Squares()(0 * mix, within=(40, 60)), torch.zeros(2, 2, 2, 20))
    for within in ((-1, 5), (5, 5), (6, 5), (0, 301)):
        with pytest.raises(InputError, match="within must be a range of the mix's 300 samples"):
            Squares()(mix, within=within)


def test_silence_gives_exact_zeros_and_is_not_estimated() -> None:
    model = Squares()
    assert torch.equal(model(torch.zeros(2, 2, 100)), torch.zeros(2, 2, 2, 100))
    assert torch.equal(model(torch.zeros(1, 2, 0)), torch.zeros(1, 2, 2, 0))
    assert not model.seen
    mix = torch.stack([torch.zeros(2, 50), torch.ones(2, 50)])
    sources = model(mix)
    assert torch.equal(sources[0], torch.zeros(2, 2, 50))
    assert torch.allclose(sources[1], model(mix[1:])[0])
    assert torch.isfinite(sources).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    mix = torch.zeros(1, 2, 10)
    mix[0, 1, 3] = value
    with pytest.raises(InputError, match="NaN or infinite"):
        Squares()(mix)


@pytest.mark.parametrize("shape", [(2, 10), (1, 1, 10), (1, 3, 10), (1, 1, 2, 10)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"mix must be \(batch, 2, samples\)"):
        Squares()(torch.zeros(shape))


@pytest.mark.parametrize("level", [0.0, -1.0, float("nan"), float("inf")])
def test_levels_that_are_none_are_refused(level: float) -> None:
    with pytest.raises(InputError, match="level must be positive"):
        Squares()(torch.ones(1, 2, 10), level=torch.tensor([level]))
    with pytest.raises(InputError, match=r"level must be \(1,\)"):
        Squares()(torch.ones(1, 2, 10), level=torch.ones(2))
    assert not Squares()(torch.zeros(1, 2, 10), level=torch.tensor([level])).any()


@given(st.integers(1, 4), st.integers(0, 9), st.floats(1e-3, 1e3))
def test_consistent_sources_sum_to_the_mix_and_move_least(count: int, samples: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(samples)
    sources = torch.randn(2, count, 2, samples, generator=generator) * scale
    mix = torch.randn(2, 2, samples, generator=generator)
    found = mixture_consistency(sources, mix)
    assert torch.allclose(found.sum(dim=1), mix, atol=1e-6 * max(scale, 1.0) * count)
    moved = found - sources  # the same for all: orthogonal to every change that keeps the sum
    assert torch.allclose(moved, moved.mean(dim=1, keepdim=True), atol=1e-6 * max(scale, 1.0) * count)


def test_weighted_consistency_spares_the_silent() -> None:
    sources = torch.tensor([[[[1.0]], [[0.0]], [[3.0]]]])
    mix = torch.tensor([[[8.0]]])
    found = mixture_consistency(sources, mix, sources.square().sum(dim=(2, 3), keepdim=True))
    assert torch.allclose(found.flatten(), torch.tensor([1.4, 0.0, 6.6]))
    even = mixture_consistency(torch.zeros(1, 4, 1, 1), mix, torch.zeros(1, 4, 1, 1))
    assert torch.allclose(even.flatten(), torch.full((4,), 2.0))


def test_level_of_extremes() -> None:
    assert level_of(torch.full((1, 1, 4), 1e-30)).item() == pytest.approx(1e-30, rel=1e-5)
    assert level_of(torch.full((1, 2, 4), 1e30)).item() == pytest.approx(1e30, rel=1e-5)
    assert level_of(torch.zeros(2, 1, 0)).tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sample_rate": 0}, "sample_rate"),
        ({"channels": 3}, "channels must be 1 or 2"),
        ({"sources": ()}, "distinct names"),
        ({"sources": ("a", "a")}, "distinct names"),
        ({"sources": ("a", "../b")}, "distinct names"),
        ({"sources": ("a", "")}, "distinct names"),
    ],
)
def test_specs_that_are_none(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        SeparatorSpec(**{"sample_rate": 8000, "channels": 1, "sources": ("a", "b"), **change})


def test_a_spec_s_way_through_json() -> None:
    import json

    spec = SeparatorSpec(16000, 1, ("speaker1", "speaker2"), interchangeable=True)
    assert SeparatorSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    fields = spec.to_dict()
    for change in ({"colour": 1}, {"sample_rate": "8000"}, {"sources": "ab"}, {"interchangeable": 1}):
        with pytest.raises(InputError, match="has the fields"):
            SeparatorSpec.from_dict({**fields, **change})
    with pytest.raises(InputError, match="must be names"):
        SeparatorSpec.from_dict({**fields, "sources": [1, 2]})
    del fields["channels"]
    with pytest.raises(InputError, match="has the fields"):
        SeparatorSpec.from_dict(fields)


@pytest.mark.parametrize("samples", [1, 2, 31, 32, 33, 63, 64, 65, 127, 1000, 1001])
@pytest.mark.parametrize(("n_fft", "hop"), [(64, 16), (64, 8), (62, 13)])
def test_the_transform_is_inverted_to_the_sample(samples: int, n_fft: int, hop: int) -> None:
    x = torch.randn(2, 3, samples, generator=torch.Generator().manual_seed(0))
    spectrum = stft(x, n_fft, hop)
    assert spectrum.shape == (2, 3, n_fft // 2 + 1, 1 + samples // hop)
    assert torch.allclose(istft(spectrum, n_fft, hop, samples), x, atol=2e-6)


def test_the_transform_is_scipy_s() -> None:
    x = np.random.default_rng(0).standard_normal(1000)
    ours = stft(torch.from_numpy(x), 64, 16)
    assert ours.dtype == torch.complex128
    padded = np.pad(x, 32, mode="reflect")
    frame = padded[5 * 16 : 5 * 16 + 64] * scipy.signal.get_window("hann", 64)
    assert np.abs(ours[:, 5].numpy() - np.fft.rfft(frame)).max() < 1e-10


@pytest.mark.parametrize("samples", [1, 15, 16, 300, 1001])
@pytest.mark.parametrize("block", [1, 3, 1000])
def test_the_inverse_in_blocks_is_the_inverse(samples: int, block: int) -> None:
    generator = torch.Generator().manual_seed(samples)
    spectrum = stft(torch.randn(2, 3, samples, generator=generator), 64, 16) * torch.randn(33, 1, generator=generator)
    found = istft_blocks(spectrum.transpose(-1, -2).split(block, dim=-2), 64, 16, samples)
    assert torch.allclose(found, istft(spectrum, 64, 16, samples), atol=1e-5)
    with pytest.raises(InputError, match="multiple of the hop"):
        istft_blocks([], 64, 15, samples)


def test_hops_that_lose_the_last_samples_are_refused() -> None:
    with pytest.raises(InputError, match="at least 4 hops"):
        stft(torch.zeros(100), 64, 32)
    with pytest.raises(InputError, match="even"):
        stft(torch.zeros(100), 65, 16)
