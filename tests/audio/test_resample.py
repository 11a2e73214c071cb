import importlib
import importlib.util
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from wavegen.audio.resample import StreamResampler, resample, resample_tensor, resampled_length
from wavegen.audio.torchaudio_bridge import torchaudio
from wavegen.errors import InputError, MissingDependencyError

needs_torchaudio = pytest.mark.skipif(
    importlib.util.find_spec("torchaudio") is None, reason="the extra `torchaudio` is not installed"
)
PAIRS = [(44100, 24000), (24000, 44100), (48000, 44100), (24000, 16000), (8000, 192000), (192000, 8000)]
Samples = NDArray[np.float32]


def tone(hertz: float, rate: int, samples: int) -> Samples:
    return np.sin(2 * np.pi * hertz * np.arange(samples) / rate + 0.3).astype(np.float32)


def level(signal: Samples, rate: int) -> float:
    """The peak in dB of full scale, without the tenth of a second at each end that the edges disturb."""
    return float(20 * np.log10(np.abs(signal[rate // 10 : -(rate // 10)]).max() + 1e-12))


def noise(shape: tuple[int, ...], seed: int = 0) -> Samples:
    return (0.1 * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


@pytest.mark.parametrize(("source", "target"), PAIRS)
@pytest.mark.parametrize(("share", "bound"), [(0.01, -120), (0.1, -120), (0.3, -115), (0.45, -55)])
def test_tones_keep_amplitude_and_phase(source: int, target: int, share: float, bound: float) -> None:
    hertz = share * min(source, target)
    result = resample(tone(hertz, source, source), source, target)
    assert level(result - tone(hertz, target, target), target) < bound


@pytest.mark.parametrize(("source", "target"), [(s, t) for s, t in PAIRS if s > t])
@pytest.mark.parametrize("share", [0.51, 0.55, 0.6, 0.9, 1.3])
def test_what_would_alias_is_gone(source: int, target: int, share: float) -> None:
    hertz = share * target
    if hertz < source / 2:
        assert level(resample(tone(hertz, source, source), source, target), target) < -100


@pytest.mark.parametrize(("source", "target"), [(s, t) for s, t in PAIRS if s < t])
def test_no_images_appear(source: int, target: int) -> None:
    result = resample(tone(0.3 * source, source, source), source, target)
    window = np.hanning(result.size) ** 2
    spectrum = np.abs(np.fft.rfft(result * window))
    frequencies = np.fft.rfftfreq(result.size, 1 / target)
    images = spectrum[frequencies > 0.5 * source].max() / spectrum.max()
    assert 20 * np.log10(images + 1e-12) < -100


def test_an_impulse_stays_where_it_is() -> None:
    signal = np.zeros(2000, np.float32)
    signal[1000] = 1
    assert int(np.argmax(resample(signal, 8000, 24000))) == 3000


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 700),
    st.sampled_from([8000, 11025, 16000, 22050, 24000, 44100, 48000, 192000]),
    st.sampled_from([8000, 11025, 16000, 22050, 24000, 44100, 48000, 192000]),
    st.lists(st.integers(0, 300), max_size=6),
)
def test_a_stream_gives_what_the_whole_gives(samples: int, source: int, target: int, sizes: list[int]) -> None:
    signal = noise((2, samples))
    whole = resample(signal, source, target)
    assert whole.shape == (2, resampled_length(samples, source, target))
    assert whole.dtype == np.float32
    stream = StreamResampler(source, target, 2)
    for _ in range(2):  # the second time after flush
        cuts = np.minimum(np.cumsum([0, *sizes]), samples)
        parts = [stream.process(signal[:, a:b]) for a, b in zip(cuts, [*cuts[1:], samples], strict=True)]
        parts.append(stream.flush())
        joined = np.concatenate(parts, axis=1)
        assert joined.shape == whole.shape
        np.testing.assert_allclose(joined, whole, atol=1e-5)


@pytest.mark.parametrize("size", [1, 7, 63, 1000, 4097])
def test_awkward_blocks_of_a_longer_signal(size: int) -> None:
    signal = noise((1, 9001))
    stream = StreamResampler(44100, 24000, 1)
    parts = [stream.process(signal[:, start : start + size]) for start in range(0, 9001, size)]
    joined = np.concatenate([*parts, stream.flush()], axis=1)
    np.testing.assert_allclose(joined, resample(signal, 44100, 24000), atol=1e-5)


def test_the_length_is_rounded_halves_up() -> None:
    assert [resampled_length(n, 2, 1) for n in range(6)] == [0, 1, 1, 2, 2, 3]
    assert resample(noise((297,)), 18, 7).shape == (116,)  # 115.5, of which libsoxr by itself makes 115
    assert resampled_length(10**15, 44100, 48000) == round(10**15 * 48000 / 44100)


def test_one_sample() -> None:
    one = np.array([0.5], np.float32)
    assert resample(one, 24000, 48000).shape == (2,)
    assert resample(one, 8000, 192000).shape == (24,)
    assert resample(one, 192000, 8000).shape == (0,)
    assert np.abs(resample(one, 24000, 48000)).max() < 0.6


def test_equal_rates_give_a_copy() -> None:
    signal = noise((2, 100))
    result = resample(signal, 24000, 24000)
    np.testing.assert_array_equal(result, signal)
    assert not np.shares_memory(result, signal)
    stream = StreamResampler(24000, 24000, 2)
    np.testing.assert_array_equal(stream.process(signal), signal)
    assert stream.flush().shape == (2, 0)


def test_any_leading_axes_and_layouts() -> None:
    signal = noise((2, 3, 500))
    result = resample(signal, 24000, 16000)
    assert result.shape == (2, 3, 333)
    np.testing.assert_array_equal(result[1, 2], resample(signal[1, 2], 24000, 16000))
    turned = np.ascontiguousarray(signal[0].T).T
    np.testing.assert_array_equal(resample(turned, 24000, 16000), result[0])
    assert resample(np.zeros((0, 50), np.float32), 24000, 16000).shape == (0, 33)


@pytest.mark.parametrize("rate", [0, -8000, 1.5, True, "8000"])
def test_bad_rates(rate: int) -> None:
    for call in (
        lambda: resample(noise((10,)), rate, 8000),
        lambda: resample(noise((10,)), 8000, rate),
        lambda: StreamResampler(rate, 8000, 1),
    ):
        with pytest.raises(InputError, match=r"(source|target)_rate"):
            call()


def test_bad_samples() -> None:
    with pytest.raises(InputError, match="int16"):
        resample(np.zeros(10, np.int16), 8000, 16000)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="time axis"):
        resample(np.float32(1), 8000, 16000)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"shape \(2, n\), not \(1, 10\)"):
        StreamResampler(8000, 16000, 2).process(noise((1, 10)))
    with pytest.raises(InputError, match="channels"):
        StreamResampler(8000, 16000, 0)


# ------------------------------------------------------------------------------------------------------- torchaudio


@needs_torchaudio
@pytest.mark.parametrize(("source", "target"), PAIRS[:4])
def test_tensors_keep_tones_and_reject_aliases(source: int, target: int) -> None:
    import torch

    for share, bound in ((0.01, -95), (0.1, -95), (0.3, -95), (0.45, -50)):
        hertz = share * min(source, target)
        result = resample_tensor(torch.from_numpy(tone(hertz, source, source)), source, target).numpy()
        assert level(result - tone(hertz, target, target), target) < bound
    for share in (0.53, 0.6, 0.9):
        if target < source and share * target < source / 2:
            above = torch.from_numpy(tone(share * target, source, source))
            assert level(resample_tensor(above, source, target).numpy(), target) < -90


@needs_torchaudio
@pytest.mark.parametrize("samples", [1, 2, 333, 1000])
def test_tensors_have_the_same_lengths_and_axes(samples: int) -> None:
    import torch

    for source, target in ((44100, 24000), (24000, 44100), (24000, 24000)):
        result = resample_tensor(torch.zeros(2, 3, samples, dtype=torch.float64), source, target)
        assert result.shape == (2, 3, resampled_length(samples, source, target))
        assert result.dtype == torch.float64


@needs_torchaudio
def test_tensors_are_differentiable() -> None:
    import torch

    waveform = torch.randn(1, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: resample_tensor(x, 3, 2), (waveform,))


@needs_torchaudio
def test_tensors_must_be_floating_point() -> None:
    import torch

    with pytest.raises(InputError, match="int64"):
        resample_tensor(torch.zeros(10, dtype=torch.int64), 8000, 16000)
    with pytest.raises(InputError, match="target_rate"):
        resample_tensor(torch.zeros(10), 8000, 0)


@needs_torchaudio
def test_torchaudio_loads_beside_this_torch() -> None:
    module = torchaudio()
    assert module is torchaudio() is sys.modules["torchaudio"]
    filters = module.functional.melscale_fbanks(513, 0.0, 12000.0, 80, 24000, norm="slaney", mel_scale="slaney")
    assert filters.shape == (513, 80)
    assert float(filters.min()) == 0
    assert bool((filters.sum(dim=0) > 0).all())
    mel = module.transforms.MelSpectrogram(24000, n_fft=1024, n_mels=80)
    assert mel.mel_scale.n_mels == 80


BROKEN = """
import sys, torch
before = (torch.__version__, torch.__file__, torch.ops.load_library)
def load(path):
    raise OSError("libcudart.so.13: cannot open shared object file")
torch.ops.load_library = load
from wavegen.audio.torchaudio_bridge import torchaudio
module = torchaudio()
torch.ops.load_library = before[2]
assert (torch.__version__, torch.__file__, torch.ops.load_library) == before
assert module._extension._IS_TORCHAUDIO_EXT_AVAILABLE is False
tone = torch.sin(torch.arange(4800) * 0.1)
assert module.functional.resample(tone, 48000, 24000).shape == (2400,)
assert module.functional.lowpass_biquad(tone, 48000, 3000.0).shape == (4800,)
import torchaudio as again
assert again is module
try:
    module.functional.forced_align(torch.zeros(1, 2, 3), torch.zeros(1, 1, dtype=torch.int32))
except RuntimeError as error:
    assert "forced_align needs its compiled library" in str(error), error
else:
    sys.exit("forced_align worked")
"""


@needs_torchaudio
def test_a_library_that_cannot_be_linked_is_left_out() -> None:
    result = subprocess.run([sys.executable, "-c", BROKEN], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr


def test_without_torchaudio_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'wavegen\[torchaudio\]'"):
        torchaudio()
