"""FeatureSpec and the only mel code of the project.

A mel spectrogram is agreed upon by about fifteen numbers, and vocoders sound wrong when one of them differs. They are
all fields of :class:`FeatureSpec`; :data:`CONVENTIONS` names the conventions of published systems.
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wavegen.errors import InputError


@dataclass(frozen=True)
class FeatureSpec:
    """Everything that defines a log-mel spectrogram; the default is BigVGAN's 24 kHz convention (Lee et al. 2023).

    The value of a band is computed in this order: pad, Hann window, magnitude spectrum
    ``sqrt(re² + im² + magnitude_epsilon)``, mel filterbank, ``log(max(·, floor))``, ``(· + offset) * scale``, ``clip``,
    ``(· - mean) / std`` (one value a band).

    Frequencies are in Hz, lengths in samples. ``padding`` is "same", (n_fft - hop) / 2 on both sides so that
    frames × hop = samples, or "center", n_fft / 2 on both sides. ``fmax=None`` means half the sample rate.
    """

    sample_rate: int = 24000
    n_fft: int = 1024
    hop: int = 256
    window: int = 1024
    bands: int = 100
    fmin: float = 0.0
    fmax: float | None = 12000.0
    mel_scale: Literal["slaney", "htk"] = "slaney"
    mel_norm: Literal["slaney", "none"] = "slaney"
    magnitude_epsilon: float = 1e-9
    window_norm: bool = False
    log: Literal["ln", "log10", "db"] = "ln"
    floor: float = 1e-5
    padding: Literal["same", "center"] = "same"
    pad_mode: Literal["reflect", "constant"] = "reflect"
    offset: float = 0.0
    scale: float = 1.0
    clip: tuple[float, float] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("clip", "mean", "std"):  # JSON and YAML give lists
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, tuple(float(v) for v in value))
        for name in ("sample_rate", "n_fft", "hop", "window", "bands"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f"FeatureSpec.{name} must be a positive integer, not {value!r}")
        for name, most in (("sample_rate", 768000), ("n_fft", 2**16), ("bands", 1024)):
            if getattr(self, name) > most:
                raise InputError(f"FeatureSpec.{name} must be at most {most}, not {getattr(self, name)}")
        if not isinstance(self.window_norm, bool):
            raise InputError(f"FeatureSpec.window_norm must be true or false, not {self.window_norm!r}")
        choices = {
            "mel_scale": ("slaney", "htk"),
            "mel_norm": ("slaney", "none"),
            "log": ("ln", "log10", "db"),
            "padding": ("same", "center"),
            "pad_mode": ("reflect", "constant"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise InputError(f"FeatureSpec.{name} must be one of {', '.join(allowed)}, not {getattr(self, name)!r}")
        if self.window > self.n_fft or self.hop > self.window:
            raise InputError("FeatureSpec needs hop <= window <= n_fft")
        if self.padding == "same" and (self.n_fft - self.hop) % 2:
            raise InputError('FeatureSpec with padding "same" needs an even n_fft - hop')
        if not 0 <= self.fmin < self.top_frequency <= self.sample_rate / 2:
            raise InputError("FeatureSpec needs 0 <= fmin < fmax <= sample_rate / 2")
        if not self.floor > 0:
            raise InputError(f"FeatureSpec.floor must be positive, not {self.floor}")
        if not 0 <= self.magnitude_epsilon < math.inf:
            raise InputError(f"FeatureSpec.magnitude_epsilon must not be negative, not {self.magnitude_epsilon}")
        if not self.scale or not math.isfinite(self.scale) or not math.isfinite(self.offset):
            raise InputError("FeatureSpec needs a finite offset, and a finite scale other than 0")
        if self.clip is not None and not (len(self.clip) == 2 and self.clip[0] < self.clip[1]):
            raise InputError(f"FeatureSpec.clip must be a lower and a higher value, not {self.clip}")
        for name in ("mean", "std"):
            value = getattr(self, name)
            if value is not None and len(value) != self.bands:
                raise InputError(f"FeatureSpec.{name} has {len(value)} values for {self.bands} bands")
        if self.std is not None and not min(self.std) > 0:
            raise InputError("FeatureSpec.std must be positive in every band")

    @property
    def top_frequency(self) -> float:
        return self.sample_rate / 2 if self.fmax is None else self.fmax

    @property
    def pad(self) -> int:
        """Samples added on each side before framing."""
        return (self.n_fft - self.hop) // 2 if self.padding == "same" else self.n_fft // 2

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return self.sample_rate / self.hop

    def frames(self, samples: int) -> int:
        """Number of frames of a waveform of that many samples."""
        return max(0, (samples + 2 * self.pad - self.n_fft) // self.hop + 1)

    def differences(self, other: "FeatureSpec") -> list[str]:
        """The fields in which two specs differ, each as ``name: mine != theirs``."""
        return [
            f"{f.name}: {getattr(self, f.name)!r} != {getattr(other, f.name)!r}"
            for f in dataclasses.fields(self)
            if _resolved(self, f.name) != _resolved(other, f.name)
        ]

    def require(self, other: "FeatureSpec", what: str) -> None:
        """Raise InputError naming every differing field unless the two specs are the same."""
        different = self.differences(other)
        if different:
            raise InputError(f"{what}: the mel conventions differ in {'; '.join(different)}")

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "FeatureSpec":
        unknown = sorted(set(values) - {f.name for f in dataclasses.fields(cls)})
        if unknown:
            raise InputError(f"FeatureSpec has no field {', '.join(unknown)}")
        return cls(**values)


def _resolved(spec: FeatureSpec, name: str) -> Any:
    return spec.top_frequency if name == "fmax" else getattr(spec, name)


_22K = FeatureSpec(sample_rate=22050, bands=80, fmax=8000.0)

CONVENTIONS: dict[str, FeatureSpec] = {
    "bigvgan-24k": FeatureSpec(),
    "music-24k": FeatureSpec(n_fft=2048, window=2048, bands=192, fmax=None),
    "hifigan-22k": _22K,
    "bigvgan-44k": FeatureSpec(
        sample_rate=44100, n_fft=2048, hop=512, window=2048, bands=128, fmax=None, magnitude_epsilon=1e-9
    ),
    "tacotron2-22k": dataclasses.replace(_22K, padding="center", magnitude_epsilon=0.0),
    "melgan-22k": dataclasses.replace(_22K, fmax=None, log="log10", magnitude_epsilon=0.0),
    "parallel-wavegan-22k": dataclasses.replace(
        _22K, fmin=80.0, fmax=7600.0, log="log10", floor=1e-10, padding="center", magnitude_epsilon=0.0
    ),
    "r9y9-wavenet-22k": dataclasses.replace(
        _22K, fmin=125.0, fmax=7600.0, log="log10", floor=1e-10, padding="center", magnitude_epsilon=0.0
    ),
    "fatchord-wavernn-22k": dataclasses.replace(
        _22K, n_fft=2048, hop=275, window=1100, fmin=40.0, fmax=None, log="db", padding="center",
        magnitude_epsilon=0.0, offset=100.0, scale=0.01, clip=(0.0, 1.0),
    ),
    "diffwave-22k": dataclasses.replace(
        _22K, fmin=20.0, fmax=None, mel_scale="htk", mel_norm="none", magnitude_epsilon=0.0, window_norm=True,
        log="db", padding="center", offset=80.0, scale=0.01, clip=(0.0, 1.0),
    ),
    "vocos-24k": FeatureSpec(
        fmax=None, mel_scale="htk", mel_norm="none", magnitude_epsilon=0.0, floor=1e-7, padding="center"
    ),
}  # fmt: skip
"""Published conventions by name. "parallel-wavegan-22k" is completed by the recipe's own mean and std."""


def hz_to_mel(hz: Tensor, scale: str) -> Tensor:
    """Mel of a frequency in Hz: "htk" is 2595·log10(1 + f/700), "slaney" is linear below 1 kHz (Slaney 1998)."""
    if scale == "htk":
        return 2595.0 * torch.log10(1.0 + hz / 700.0)
    linear = hz * 3.0 / 200.0
    return torch.where(hz < 1000.0, linear, 15.0 + torch.log(hz.clamp(min=1.0) / 1000.0) * 27.0 / math.log(6.4))


def mel_to_hz(mel: Tensor, scale: str) -> Tensor:
    """Inverse of :func:`hz_to_mel`."""
    if scale == "htk":
        return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    return torch.where(mel < 15.0, mel * 200.0 / 3.0, 1000.0 * torch.exp((mel - 15.0) * math.log(6.4) / 27.0))


def mel_edges(spec: FeatureSpec) -> Tensor:
    """Where the triangles begin, peak and end, in Hz, float64 of shape (bands + 2,): band b's peak is value b + 1."""
    ends = hz_to_mel(torch.tensor([spec.fmin, spec.top_frequency], dtype=torch.float64), spec.mel_scale)
    steps = torch.linspace(float(ends[0]), float(ends[1]), spec.bands + 2, dtype=torch.float64)
    return mel_to_hz(steps, spec.mel_scale)


def mel_filterbank(spec: FeatureSpec) -> Tensor:
    """Triangular mel filters, float32 of shape (bands, n_fft // 2 + 1), computed in float64."""
    bins = torch.linspace(0.0, spec.sample_rate / 2, spec.n_fft // 2 + 1, dtype=torch.float64)
    edges = mel_edges(spec)
    low, peak, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    filters = torch.minimum((bins - low) / (peak - low), (high - bins) / (high - peak)).clamp(min=0.0)
    if spec.mel_norm == "slaney":
        filters = filters * 2.0 / (high - low)
    return filters.float()


class MelSpectrogram(nn.Module):
    """Log-mel spectrogram of a waveform by a FeatureSpec; batched, differentiable, on any device.

    Shape: (batch, samples) or (samples,) → (batch, bands, frames) or (bands, frames).
    Raises InputError if the waveform is too short for its padding, or shorter than one frame.
    """

    filters: Tensor
    hann: Tensor

    def __init__(self, spec: FeatureSpec) -> None:
        super().__init__()
        self.spec = spec
        self.register_buffer("filters", mel_filterbank(spec), persistent=False)
        self.register_buffer("hann", torch.hann_window(spec.window), persistent=False)

    def forward(self, waveform: Tensor, *, pad: bool = True) -> Tensor:
        """``pad=False`` takes a waveform that already carries ``spec.pad`` true samples on both sides."""
        return self.compress(self.mel(waveform, pad=pad))

    def mel(self, waveform: Tensor, *, pad: bool = True) -> Tensor:
        """Mel magnitudes before the logarithm."""
        spec = self.spec
        if waveform.dim() not in (1, 2):
            raise InputError(f"MelSpectrogram takes (samples,) or (batch, samples), not {tuple(waveform.shape)}")
        x = waveform if waveform.dim() == 2 else waveform[None]
        if pad:
            shortest = spec.pad + 1 if spec.pad_mode == "reflect" else 1
            if x.shape[-1] < shortest or spec.frames(x.shape[-1]) < 1:
                raise InputError(f"waveform of {x.shape[-1]} samples is too short for a mel of n_fft {spec.n_fft}")
            x = F.pad(x, (spec.pad, spec.pad), mode=spec.pad_mode)
        s = torch.stft(x, spec.n_fft, spec.hop, spec.window, self.hann, center=False, return_complex=True)
        if spec.magnitude_epsilon:
            magnitude = torch.sqrt(s.real.square() + s.imag.square() + spec.magnitude_epsilon)
        else:
            magnitude = s.abs()
        if spec.window_norm:
            magnitude = magnitude / self.hann.square().sum().sqrt()
        y = torch.matmul(self.filters, magnitude)
        return y if waveform.dim() == 2 else y[0]

    def compress(self, mel: Tensor) -> Tensor:
        """Mel magnitudes → the spec's logarithm and normalisation."""
        spec = self.spec
        x = mel.clamp(min=spec.floor)
        x = torch.log(x) if spec.log == "ln" else torch.log10(x)
        if spec.log == "db":
            x = 20.0 * x
        x = (x + spec.offset) * spec.scale
        if spec.clip is not None:
            x = x.clamp(*spec.clip)
        if spec.mean is not None:
            x = x - x.new_tensor(spec.mean)[:, None]
        if spec.std is not None:
            x = x / x.new_tensor(spec.std)[:, None]
        return x

    def expand(self, mel: Tensor) -> Tensor:
        """Inverse of :meth:`compress`, up to the floor and the clipping."""
        spec = self.spec
        x = mel
        if spec.std is not None:
            x = x * x.new_tensor(spec.std)[:, None]
        if spec.mean is not None:
            x = x + x.new_tensor(spec.mean)[:, None]
        x = x / spec.scale - spec.offset
        if spec.log == "ln":
            return torch.exp(x)
        return torch.pow(10.0, x / 20.0 if spec.log == "db" else x)

    def linear(self, mel: Tensor, iterations: int = 30) -> Tensor:
        """Non-negative linear magnitudes (…, n_fft // 2 + 1, frames) whose mel is closest to the given log-mel.

        Least squares by multiplicative updates (Lee & Seung 2001) from the clamped pseudo-inverse.
        """
        target = self.expand(mel)
        filters = self.filters
        x = torch.matmul(torch.linalg.pinv(filters), target).clamp(min=1e-8)
        numerator = torch.matmul(filters.T, target)
        for _ in range(iterations):
            x = x * numerator / torch.matmul(filters.T, torch.matmul(filters, x)).clamp(min=1e-12)
        if self.spec.window_norm:
            x = x * self.hann.square().sum().sqrt()
        return x


class StreamingMel:
    """The mel of a waveform that arrives in pieces; concatenated frames equal those of the whole waveform.

    ``push`` takes (channels, samples) and gives (channels, bands, frames), perhaps 0 of them; ``finish`` gives the
    rest, after which the object is spent. Memory is bounded by the size of a piece.
    """

    def __init__(self, spec: FeatureSpec) -> None:
        self.spec = spec
        self.extractor = MelSpectrogram(spec)
        self._buffer: Tensor | None = None
        self._started = False

    def push(self, samples: Tensor) -> Tensor:
        self.extractor.to(samples.device)
        self._buffer = samples if self._buffer is None else torch.cat([self._buffer, samples], dim=-1)
        return self._frames()

    def finish(self) -> Tensor:
        """The last frames, after the right-hand padding. InputError if the whole was too short for a frame."""
        if self._buffer is None:
            raise InputError("no samples: a mel needs at least one frame")
        pad = self.spec.pad
        if not self._started:
            out: Tensor = self.extractor(self._buffer)
            self._buffer = None
            return out
        self._buffer = F.pad(self._buffer, (0, pad), mode=self.spec.pad_mode)
        return self._frames(hold=0)

    def _frames(self, hold: int | None = None) -> Tensor:
        """Every complete frame; ``hold`` samples at the end are kept back for the right-hand reflection."""
        spec, buffer = self.spec, self._buffer
        assert buffer is not None
        hold = spec.pad + 1 if hold is None else hold
        empty = buffer.new_zeros(buffer.shape[0], spec.bands, 0)
        if not self._started:
            if buffer.shape[-1] < spec.n_fft + hold:
                return empty
            buffer = self._buffer = F.pad(buffer, (spec.pad, 0), mode=spec.pad_mode)
            self._started = True
        count = (buffer.shape[-1] - hold - spec.n_fft) // spec.hop + 1
        if count < 1:
            return empty
        used = (count - 1) * spec.hop + spec.n_fft
        out: Tensor = self.extractor(buffer[:, :used], pad=False)
        self._buffer = buffer[:, count * spec.hop :].clone()
        return out


def convert_mel(mel: Tensor, source: FeatureSpec, target: FeatureSpec) -> Tensor:
    """A mel (batch, bands, frames) of one convention in another: an estimate, since the mel bands lose detail.

    By way of linear magnitudes, interpolated over frequency in Hz and over time in seconds, and scaled by the ratio of
    the windows' sums. What lies above the source's range becomes silence.
    """
    if not source.differences(target):
        return mel
    a, b = (MelSpectrogram(spec).to(mel.device) for spec in (source, target))
    linear = a.linear(mel) / a.hann.sum() * b.hann.sum()
    bins = torch.arange(target.n_fft // 2 + 1, device=mel.device) * target.sample_rate / target.n_fft
    linear = _interpolate(linear, bins * source.n_fft / source.sample_rate, dim=1)
    linear = linear * (bins <= source.top_frequency)[:, None]
    seconds = mel.shape[-1] * source.hop / source.sample_rate
    frames = max(1, round(seconds * target.frame_rate))
    times = (torch.arange(frames, device=mel.device) * target.hop + _centre(target)) / target.sample_rate
    linear = _interpolate(linear, (times * source.sample_rate - _centre(source)) / source.hop, dim=2)
    if target.window_norm:
        linear = linear / b.hann.square().sum().sqrt()
    return b.compress(torch.matmul(b.filters, linear))


def _centre(spec: FeatureSpec) -> float:
    """The sample at the centre of frame 0."""
    return spec.n_fft / 2 - spec.pad


def _interpolate(x: Tensor, positions: Tensor, dim: int) -> Tensor:
    """Linear interpolation along one axis at fractional positions, held at the ends."""
    last = x.shape[dim] - 1
    positions = positions.clamp(0, last)
    low = positions.floor().long()
    high = (low + 1).clamp(max=last)
    shape = [1] * x.dim()
    shape[dim] = -1
    weight = (positions - low).to(x.dtype).view(shape)
    return x.index_select(dim, low) * (1 - weight) + x.index_select(dim, high) * weight
