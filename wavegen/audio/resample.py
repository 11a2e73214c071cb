"""Sample-rate conversion: libsoxr for arrays and streams, a differentiable windowed sinc for tensors.

All three give round(n * target / source) samples for n, halves rounded up (`resampled_length`).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from wavegen.audio.io import checked_rate
from wavegen.errors import InputError

if TYPE_CHECKING:
    import torch

_QUALITY = "VHQ"  # libsoxr's 28 bits: pass band to 0.91 of the lower Nyquist frequency


def resampled_length(samples: int, source_rate: int, target_rate: int) -> int:
    """round(samples * target_rate / source_rate), halves up, in exact arithmetic."""
    return (2 * samples * target_rate + source_rate) // (2 * source_rate)


def resample(samples: NDArray[np.float32], source_rate: int, target_rate: int) -> NDArray[np.float32]:
    """Band-limited conversion of (..., n) float32 from source_rate to target_rate, whole numbers of Hz.

    Gives (..., resampled_length(n)), which is no sample at all where n lasts less than half a target sample; a copy
    if the rates are equal. Linear phase, no delay; what is below 0.91 of the lower Nyquist frequency is kept. Values
    may pass the input's range a little. Raises InputError for rates or samples that make no sense.
    """
    source, target = checked_rate(source_rate, "source_rate"), checked_rate(target_rate, "target_rate")
    array = _as_float32(samples)
    if array.ndim == 0:
        raise InputError("samples must have a time axis, shape (..., n)")
    if source == target:
        return array.copy()
    flat = array.reshape(int(np.prod(array.shape[:-1])), array.shape[-1])
    result = np.empty((flat.shape[0], resampled_length(flat.shape[1], source, target)), dtype=np.float32)
    for row, signal in zip(result, flat, strict=True):
        resampler = StreamResampler(source, target, 1)
        head = resampler.process(signal[np.newaxis])
        row[: head.shape[1]] = head[0]
        row[head.shape[1] :] = resampler.flush()[0]
    return result.reshape(*array.shape[:-1], result.shape[1])


class StreamResampler:
    """`resample` for a signal that comes in blocks: the results, put together, are those of the whole.

    After `flush` it is ready for another signal.
    """

    def __init__(self, source_rate: int, target_rate: int, channels: int) -> None:
        self._source = checked_rate(source_rate, "source_rate")
        self._target = checked_rate(target_rate, "target_rate")
        if channels < 1:
            raise InputError(f"channels must be 1 or more, not {channels}")
        self._channels = channels
        self._restart()

    def _restart(self) -> None:
        self._taken = 0
        self._given = 0
        self._convert = _converter(self._source, self._target, self._channels)

    def process(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take (channels, n) float32, n from 0 up; give the (channels, m) that are ready, m from 0 up."""
        array = _as_float32(block)
        if array.ndim != 2 or array.shape[0] != self._channels:
            raise InputError(f"block must have the shape ({self._channels}, n), not {array.shape}")
        self._taken += array.shape[1]
        ready = self._convert(array, False)
        self._given += ready.shape[1]
        return ready

    def flush(self) -> NDArray[np.float32]:
        """Give the rest, (channels, m), as if silence followed; the total is then resampled_length exactly."""
        missing = resampled_length(self._taken, self._source, self._target) - self._given
        # libsoxr rounds the length its own way: silence enough for one more sample, and the cut, settle it.
        silence = np.zeros((self._channels, -(-2 * self._source // self._target)), dtype=np.float32)
        rest = self._convert(silence, True)[:, :missing]
        self._restart()
        return rest


def _converter(source: int, target: int, channels: int) -> Callable[[NDArray[np.float32], bool], NDArray[np.float32]]:
    """A function of (block, is it the last?) that keeps the filter's state."""
    if source == target:
        return lambda block, last: block[:, :0] if last else block.copy()
    import soxr  # type: ignore[import-untyped]

    try:
        stream = soxr.ResampleStream(source, target, channels, dtype="float32", quality=_QUALITY)
    except (RuntimeError, ValueError) as error:
        raise InputError(f"cannot resample {channels} channels from {source} to {target} Hz: {error}") from error

    def convert(block: NDArray[np.float32], last: bool) -> NDArray[np.float32]:
        return np.ascontiguousarray(stream.resample_chunk(np.ascontiguousarray(block.T), last=last).T)

    return convert


def _as_float32(samples: Any) -> NDArray[np.float32]:
    array = np.asarray(samples)
    if not np.issubdtype(array.dtype, np.floating):
        raise InputError(f"samples must be floating point, not {array.dtype}")
    return array.astype(np.float32, copy=False)


def resample_tensor(waveform: "torch.Tensor", source_rate: int, target_rate: int) -> "torch.Tensor":
    """Differentiable conversion of a float tensor (..., n), on its device and in its type, by torchaudio.

    A Kaiser-windowed sinc (Smith, "Digital Audio Resampling", 2002) of 64 zero crossings: flat to 0.9 of the lower
    Nyquist frequency. Gives (..., resampled_length(n)). Raises InputError for bad rates and MissingDependencyError
    without torchaudio.
    """
    source, target = checked_rate(source_rate, "source_rate"), checked_rate(target_rate, "target_rate")
    if not waveform.is_floating_point() or waveform.dim() == 0:
        raise InputError(f"waveform must be floating point (..., n), not {waveform.dtype} {tuple(waveform.shape)}")
    from wavegen.audio.torchaudio_bridge import torchaudio

    if source == target:
        return waveform
    result = torchaudio().functional.resample(
        waveform,
        source,
        target,
        lowpass_filter_width=64,
        rolloff=0.9475937167399596,
        resampling_method="sinc_interp_kaiser",
        beta=14.769656459379492,
    )
    return cast("torch.Tensor", result[..., : resampled_length(waveform.shape[-1], source, target)])
