"""The iSTFT vocoder: its synthesis against a plain overlap-add, streaming, receptive field, bad input."""

import dataclasses

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings

from wavegen.audio.features import CONVENTIONS, FeatureSpec
from wavegen.errors import InputError
from wavegen.vocoders.istft import ISTFTVocoder, ISTFTVocoderConfig

SPEC = FeatureSpec()
SMALL = ISTFTVocoderConfig(channels=16, hidden=24, layers=2, kernel=5)


def small_vocoder(spec: FeatureSpec = SPEC, seed: int = 0) -> ISTFTVocoder:
    torch.manual_seed(seed)
    vocoder = ISTFTVocoder(SMALL, spec).eval()
    with torch.no_grad():  # the initial head is almost silent
        vocoder.head.weight.mul_(20)
        vocoder.embed.weight.mul_(10)
    return vocoder


def reference_overlap_add(spectrum: np.ndarray, spec: FeatureSpec) -> np.ndarray:
    """One frame after the other, in float64."""
    n, hop, frames = spec.n_fft, spec.hop, spectrum.shape[1]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)
    y, w = np.zeros((frames - 1) * hop + n), np.zeros((frames - 1) * hop + n)
    for i in range(frames):
        y[i * hop : i * hop + n] += np.fft.irfft(spectrum[:, i]) * window
        w[i * hop : i * hop + n] += window**2
    pad = (n - hop) // 2
    return (y / np.maximum(w, 1e-30))[pad : pad + frames * hop]


@pytest.mark.parametrize("frames", [1, 2, 3, 50])
def test_overlap_add_equals_reference(frames: int) -> None:
    random = np.random.default_rng(frames)
    spectrum = random.standard_normal((513, frames)) + 1j * random.standard_normal((513, frames))
    ours = small_vocoder().overlap_add(torch.from_numpy(spectrum.astype(np.complex64))[None])[0].numpy()
    expected = reference_overlap_add(spectrum, SPEC)
    assert ours.shape == expected.shape
    assert np.abs(ours - expected).max() < 1e-5 * np.abs(expected).max()


def test_overlap_add_inverts_the_transform() -> None:
    x = torch.randn(1, 40 * 256, generator=torch.Generator().manual_seed(1))
    padded = torch.nn.functional.pad(x, (SPEC.pad, SPEC.pad))
    spectrum = torch.stft(padded, 1024, 256, 1024, torch.hann_window(1024), center=False, return_complex=True)
    assert (small_vocoder().overlap_add(spectrum) - x).abs().max() < 1e-4


@pytest.mark.parametrize("frames", [1, 2, 17, 129])
def test_length_is_frames_times_hop(frames: int) -> None:
    assert small_vocoder()(torch.randn(2, 100, frames)).shape == (2, frames * 256)


def test_batch_equals_single() -> None:
    mel = torch.randn(3, 100, 31)
    vocoder = small_vocoder()
    assert (vocoder(mel)[1] - vocoder(mel[1:2])[0]).abs().max() < 1e-5


@settings(max_examples=25, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 40), min_size=1, max_size=6),
    block=st.integers(1, 70),
    seed=st.integers(0, 3),
)
def test_stream_equals_whole(cuts: list[int], block: int, seed: int) -> None:
    vocoder = small_vocoder(seed=seed)
    frames = sum(cuts)
    mel = 2 * torch.randn(2, 100, frames, generator=torch.Generator().manual_seed(seed))
    pieces = list(vocoder.stream(mel.split(cuts, dim=-1), block=block))
    if frames == 0:
        assert pieces == []
        return
    with torch.inference_mode():
        whole = vocoder(mel)
    assert whole.abs().max() > 0.01
    assert (torch.cat(pieces, dim=-1) - whole).abs().max() < 1e-5


def test_stream_equals_whole_with_default_sizes() -> None:
    torch.manual_seed(0)
    vocoder = ISTFTVocoder(ISTFTVocoderConfig(), SPEC).eval()
    mel = torch.randn(1, 100, 700)
    with torch.inference_mode():
        whole = vocoder(mel)
    assert (torch.cat(list(vocoder.stream(mel.split(97, dim=-1))), dim=-1) - whole).abs().max() < 1e-5


def test_context_is_the_receptive_field() -> None:
    """By gradients: a frame's samples depend on ``context`` neighbours on each side, and on no more."""
    vocoder = small_vocoder()
    mel = torch.randn(1, 100, 61, requires_grad=True)
    vocoder(mel)[0, 30 * 256 : 31 * 256].square().sum().backward()
    assert mel.grad is not None
    touched = torch.nonzero(mel.grad[0].abs().sum(dim=0)).flatten()
    reach = max(30 - int(touched.min()), int(touched.max()) - 30)
    assert reach <= vocoder.context
    assert reach >= vocoder.context - 1  # not a gross overestimate


def test_other_convention() -> None:
    spec = CONVENTIONS["bigvgan-44k"]
    assert ISTFTVocoder(SMALL, spec)(torch.randn(1, 128, 9)).shape == (1, 9 * 512)


@pytest.mark.parametrize(
    ("mel", "message"),
    [
        (torch.zeros(1, 80, 5), r"mel must be \(batch, 100, frames\), not \(1, 80, 5\)"),
        (torch.zeros(100, 5), "mel must be"),
        (torch.zeros(1, 100, 0), "no frames"),
        (torch.full((1, 100, 5), torch.nan), "NaN"),
        (torch.full((1, 100, 5), torch.inf), "infinite"),
    ],
)
def test_bad_mel(mel: torch.Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        small_vocoder()(mel)


def test_stream_in_blocks_of_nothing() -> None:
    with pytest.raises(InputError, match="block must be at least one frame, not 0"):
        next(small_vocoder().stream([torch.zeros(1, 100, 50)], block=0))


def test_bad_sizes() -> None:
    with pytest.raises(InputError, match="kernel must be odd"):
        ISTFTVocoderConfig(kernel=4)
    with pytest.raises(InputError, match="must be positive"):
        ISTFTVocoderConfig(layers=0)
    with pytest.raises(InputError, match='padding "same"'):
        ISTFTVocoder(SMALL, CONVENTIONS["vocos-24k"])
    with pytest.raises(InputError, match="multiple of the hop"):
        ISTFTVocoder(SMALL, dataclasses.replace(SPEC, hop=300))
