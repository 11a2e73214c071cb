"""Pictures of audio for reports: waveform, mel and pitch on axes in seconds and Hz, without touching pyplot's state."""

import os
import warnings
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wavegen.audio.io import Audio, atomic, checked_rate, require_writable
from wavegen.audio.pitch import Pitch, pitch
from wavegen.errors import InputError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_EXTENSIONS = (".png", ".svg", ".pdf")
_COLUMNS = 2000  # more points than that in time cannot be seen
_RANGE_DB = 80.0
_N_FFT_SECONDS = 0.04
_PITCH_HOP_SECONDS = 0.01
_INK = "#1f4e79"
_WIDTH = 10.0  # inches


def waveform_figure(audio: Audio) -> "Figure":
    """The waveform, one row a channel; long ones as the envelope of their minima and maxima.

    Raises InputError for no samples and MissingDependencyError without matplotlib, as all figures here.
    """
    _require_samples(audio)
    figure = _figure(0.8 + 1.4 * audio.channels)
    rows = figure.subplots(audio.channels, 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for index, axes in enumerate(rows):
        _draw_waveform(axes, audio.samples[index], audio.sample_rate)
        axes.set_ylabel("amplitude" if audio.channels == 1 else f"channel {index + 1}")
    rows[-1].set_xlabel("time (s)")
    return figure


def mel_figure(
    mel: NDArray[np.float32],
    sample_rate: int,
    hop: int,
    *,
    band_hz: NDArray[np.floating[Any]] | None = None,
    label: str = "log mel",
) -> "Figure":
    """A mel (bands, frames) in whatever scale it is, hop samples a frame; `label` names the scale.

    band_hz: the centre of each band in Hz, (bands,), for the axis; without it the bands are numbered.
    Raises InputError for other shapes, or NaN.
    """
    values = np.asarray(mel)
    if values.ndim != 2 or 0 in values.shape or not np.isfinite(values).all():
        raise InputError(f"mel must be finite numbers of shape (bands, frames), not {values.shape} or with NaN")
    bands, frames = values.shape
    if band_hz is not None and np.shape(band_hz) != (bands,):
        raise InputError(f"band_hz must have the shape ({bands},), not {np.shape(band_hz)}")
    seconds = frames * _checked_hop(hop) / checked_rate(sample_rate)
    figure = _figure(3.6)
    axes = figure.subplots()
    image = axes.imshow(values, origin="lower", aspect="auto", extent=(0, seconds, -0.5, bands - 0.5), cmap="magma")
    figure.colorbar(image, ax=axes, label=label, pad=0.01)
    axes.set_xlabel("time (s)")
    axes.set_ylabel("mel band")
    if band_hz is not None:
        shown = np.unique(np.linspace(0, bands - 1, 7).round().astype(int))
        axes.set_yticks(shown, [f"{band_hz[band]:.0f}" for band in shown])
        axes.set_ylabel("frequency (Hz)")
    return figure


def pitch_figure(track: Pitch, sample_rate: int, hop: int) -> "Figure":
    """f0 over time, hop samples a frame, with gaps where unvoiced, over the periodicity as a shade."""
    figure = _figure(3.0)
    axes = figure.subplots()
    _draw_pitch(axes, track, _checked_hop(hop) / checked_rate(sample_rate))
    axes.set_xlabel("time (s)")
    return figure


def sheet(audio: Audio, path: str | os.PathLike[str], *, title: str | None = None) -> None:
    """Waveform, spectrogram (dB under the loudest point) and pitch (65 to 500 Hz) above each other, in one file.

    path: .png, .svg or .pdf, written whole or not at all. Several channels are drawn over each other in the waveform
    and averaged for the rest. Raises InputError for no samples, a rate under 200 Hz or a path that cannot be written,
    and MissingDependencyError without matplotlib or librosa.
    """
    kind = _picture_format(path)
    _require_samples(audio)
    if audio.sample_rate < 200:
        raise InputError(f"sample_rate {audio.sample_rate} Hz is too low for a pitch; it must be 200 or more")
    figure = _figure(8.0)
    wave_axes, spectrum_axes, pitch_axes = figure.subplots(3, 1, sharex=True, height_ratios=(1, 2, 1.2))
    for signal in audio.samples:
        _draw_waveform(wave_axes, signal, audio.sample_rate, alpha=1 / audio.channels**0.5)
    wave_axes.set_ylabel("amplitude")
    mono = audio.mono().samples[0]
    image = _draw_spectrogram(spectrum_axes, mono, audio.sample_rate)
    figure.colorbar(image, ax=spectrum_axes, label="dB", pad=0.01)
    hop = max(1, round(_PITCH_HOP_SECONDS * audio.sample_rate), -(-mono.size // (3 * _COLUMNS)))
    track = pitch(mono, audio.sample_rate, hop, fmax=min(500.0, audio.sample_rate / 2))
    _draw_pitch(pitch_axes, track, hop / audio.sample_rate)
    pitch_axes.set_xlabel("time (s)")
    pitch_axes.set_xlim(0, audio.duration)
    if title is not None:
        wave_axes.set_title(title, parse_math=False)
    with atomic(path) as temporary:
        _save(figure, temporary, kind)


def score_sheet(
    parts: "Mapping[str, NDArray[np.float64]]",
    audio: Audio,
    path: str | os.PathLike[str],
    *,
    title: str | None = None,
) -> None:
    """Piano roll and spectrogram (dB under the loudest point) above each other, in one file.

    parts: name → notes (n, 4), onset and end in seconds, pitch, velocity. path, errors: as of `sheet`.
    """
    kind = _picture_format(path)
    _require_samples(audio)
    figure = _figure(7.0)
    roll_axes, spectrum_axes = figure.subplots(2, 1, sharex=True, height_ratios=(1.2, 1))
    for number, (name, notes) in enumerate(parts.items()):
        lines = roll_axes.barh(
            notes[:, 2], notes[:, 1] - notes[:, 0], left=notes[:, 0], height=0.8, color=f"C{number % 10}", label=name
        )
        for line, velocity in zip(lines, notes[:, 3], strict=True):
            line.set_alpha(0.35 + 0.65 * velocity / 127)
    roll_axes.set_ylabel("pitch (MIDI)")
    roll_axes.grid(alpha=0.2)
    roll_axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0, fontsize="small")
    image = _draw_spectrogram(spectrum_axes, audio.mono().samples[0], audio.sample_rate)
    figure.colorbar(image, ax=spectrum_axes, label="dB", pad=0.01)
    spectrum_axes.set_xlabel("time (s)")
    spectrum_axes.set_xlim(0, audio.duration)
    if title is not None:
        roll_axes.set_title(title, parse_math=False)
    with atomic(path) as temporary:
        _save(figure, temporary, kind)


class SpectrogramSheet:
    """Spectrograms of sounds of one length under each other, in dB under the loudest point of the first, which come in
    blocks: memory does not grow with their length.

    names: a row each. samples: how many will come, 1 or more. MissingDependencyError without matplotlib.
    """

    def __init__(self, names: "Sequence[str]", sample_rate: int, samples: int) -> None:
        require_drawing()
        self._names = tuple(names)
        self._rate = checked_rate(sample_rate)
        self._samples = samples
        self._n_fft = _n_fft(sample_rate)
        columns = _column_count(samples, self._n_fft)
        self._centres = ((np.arange(columns) + 0.5) * samples / columns).astype(int)
        self._levels = np.zeros((len(self._names), self._n_fft // 2 + 1, columns), dtype=np.float32)
        self._done = 0
        # What frames may still need, from the place `_first` on; silence stands before the beginning.
        self._held = np.zeros((len(self._names), self._n_fft // 2), dtype=np.float32)
        self._first = -(self._n_fft // 2)

    def add(self, blocks: NDArray[np.float32]) -> None:
        """Append (names, channels, n), of which the channels' mean is shown."""
        self._extend(blocks.mean(axis=1, dtype=np.float32))

    def _extend(self, signals: NDArray[np.float32]) -> None:
        self._held = np.concatenate([self._held, signals], axis=1)
        window = np.hanning(self._n_fft + 1)[:-1].astype(np.float32)
        end = self._first + self._held.shape[1]
        while self._done < self._centres.size:
            begin = int(self._centres[self._done]) - self._n_fft // 2
            if begin + self._n_fft > end:
                break
            frames = self._held[:, begin - self._first : begin - self._first + self._n_fft]
            self._levels[..., self._done] = np.abs(np.fft.rfft(frames * window, axis=1))
            self._done += 1
        keep = min(self._n_fft, self._held.shape[1])
        self._held, self._first = self._held[:, self._held.shape[1] - keep :].copy(), end - keep

    def save(self, path: str | os.PathLike[str], *, title: str | None = None) -> None:
        """Draw what came, whole or not at all; path: .png, .svg or .pdf. Raises InputError as `sheet`."""
        kind = _picture_format(path)
        self._extend(np.zeros((len(self._names), self._n_fft), dtype=np.float32))
        peak = float(self._levels[0].max(initial=0.0)) or 1.0
        level = 20 * np.log10(np.maximum(self._levels / peak, 10 ** (-_RANGE_DB / 20)))
        figure = _figure(0.8 + 1.5 * len(self._names))
        rows = figure.subplots(len(self._names), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
        extent = (0, self._samples / self._rate, 0, self._rate / 2)
        for axes, name, values in zip(rows, self._names, level, strict=True):
            image = axes.imshow(
                values, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=-_RANGE_DB, vmax=0
            )
            axes.set_ylabel(name, parse_math=False)
        rows[-1].set_xlabel("time (s)")
        figure.colorbar(image, ax=list(rows), label="dB", pad=0.01)
        if title is not None:
            rows[0].set_title(title, parse_math=False)
        with atomic(path) as temporary:
            _save(figure, temporary, kind)


def require_sheet(path: str | os.PathLike[str]) -> None:
    """Raise what `sheet` would for this path or a package that is missing, before the work it is to show."""
    _picture_format(path)
    require_drawing()
    _require_package("librosa", "pitch tracking")
    require_writable(path)


def require_drawing() -> None:
    """Raise MissingDependencyError without matplotlib."""
    _require_package("matplotlib", "drawing")


def _require_package(package: str, purpose: str) -> None:
    if find_spec(package) is None:
        raise MissingDependencyError(package, "plot", purpose)


def _save(figure: "Figure", path: Path, kind: str) -> None:
    undated: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind, {})
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph", UserWarning)  # a title in a script that the font lacks shows boxes
        figure.savefig(path, format=kind, dpi=150, metadata=undated)


def _picture_format(path: str | os.PathLike[str]) -> str:
    extension = os.path.splitext(os.fspath(path))[1].lower()
    if extension not in _EXTENSIONS:
        raise InputError(f"{os.fspath(path)}: a picture ends in {', '.join(_EXTENSIONS)}, not {extension!r}")
    return extension[1:]


def _figure(height: float) -> "Figure":
    try:
        module = import_module("matplotlib.figure")
    except ImportError as error:
        raise MissingDependencyError("matplotlib", "plot", "drawing") from error
    figure: Figure = module.Figure(figsize=(_WIDTH, height), layout="constrained")
    return figure


def _require_samples(audio: Audio) -> None:
    if audio.samples.shape[1] == 0:
        raise InputError("audio: no samples to draw")


def _checked_hop(hop: int) -> int:
    if hop < 1:
        raise InputError(f"hop must be 1 sample or more, not {hop}")
    return hop


def _draw_waveform(axes: "Axes", signal: NDArray[np.float32], sample_rate: int, alpha: float = 1.0) -> None:
    if signal.size <= 2 * _COLUMNS:
        seconds = np.arange(signal.size) / sample_rate
        marker = "." if signal.size == 1 else ""
        axes.plot(seconds, signal, color=_INK, linewidth=0.8, marker=marker, alpha=alpha)
    else:
        starts = np.linspace(0, signal.size, _COLUMNS, endpoint=False).astype(int)
        low, high = np.minimum.reduceat(signal, starts), np.maximum.reduceat(signal, starts)
        axes.fill_between(starts / sample_rate, low, high, color=_INK, linewidth=0.4, alpha=alpha)
    axes.set_xlim(0, signal.size / sample_rate)
    axes.margins(y=0.05)
    axes.axhline(0, color="0.8", linewidth=0.5, zorder=0)


def _draw_spectrogram(axes: "Axes", signal: NDArray[np.float32], sample_rate: int) -> Any:
    level = _decibels(signal, sample_rate)
    extent = (0, signal.size / sample_rate, 0, sample_rate / 2)
    image = axes.imshow(level, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=-_RANGE_DB, vmax=0)
    axes.set_ylabel("frequency (Hz)")
    return image


def _decibels(signal: NDArray[np.float32], sample_rate: int) -> NDArray[np.float64]:
    """A Hann-windowed STFT in dB under its peak, (n_fft / 2 + 1, columns), column j centred in the j-th equal part
    of the signal; all at the lower limit for silence."""
    n_fft = _n_fft(sample_rate)
    columns = _column_count(signal.size, n_fft)
    centres = ((np.arange(columns) + 0.5) * signal.size / columns).astype(int)
    padded = np.pad(signal, n_fft // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[centres]
    magnitude = np.abs(np.fft.rfft(frames * np.hanning(n_fft + 1)[:-1], axis=1)).T
    peak = magnitude.max()
    if peak == 0:
        return np.full(magnitude.shape, -_RANGE_DB)
    return np.asarray(20 * np.log10(np.maximum(magnitude / peak, 10 ** (-_RANGE_DB / 20))), dtype=np.float64)


def _n_fft(sample_rate: int) -> int:
    return int(1 << max(4, round(np.log2(_N_FFT_SECONDS * sample_rate))))


def _column_count(samples: int, n_fft: int) -> int:
    return int(np.clip(samples // (n_fft // 4), 1, _COLUMNS))


def _draw_pitch(axes: "Axes", track: Pitch, seconds_per_frame: float) -> None:
    edges = np.arange(track.f0.size + 1) * seconds_per_frame
    f0 = np.where(track.voiced, track.f0, np.nan)
    shade = axes.twinx()
    shade.stairs(track.periodicity, edges, fill=True, color="0.9")
    shade.set_ylim(0, 1)
    shade.set_ylabel("periodicity", color="0.5")
    axes.plot(edges[:-1] + seconds_per_frame / 2, f0, color=_INK, linewidth=1.2, marker=".", markersize=3)
    axes.set_ylabel("f0 (Hz)")
    axes.set_ylim(0, max(500.0, 1.05 * float(track.f0.max(initial=0.0))))
    axes.set_xlim(0, max(float(edges[-1]), seconds_per_frame))
    axes.set_zorder(shade.get_zorder() + 1)  # the line over the shade
    axes.patch.set_visible(False)
