"""Audio files: WAV, FLAC, MP3, Ogg Vorbis and Opus in and out, whole or in blocks, and `-` for the standard streams.

Samples are float32 of shape (channels, samples), full scale being [-1, 1]; an integer sample q of b bits stands for
q / 2^(b-1). WAV is written here, so that it can be streamed into a pipe, is exact to the quantiser and the same for
the same samples; the other formats go through libsndfile.
"""

import base64
import io
import operator
import os
import secrets
import shutil
import struct
import sys
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Protocol, Self, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wavegen.errors import InputError

PathName = str | os.PathLike[str]
Source = PathName | BinaryIO
Samples = NDArray[np.float32]

_BLOCK = 1 << 16  # samples of each channel handled at once; libsndfile's Vorbis encoder overflows the stack beyond some
_SPOOL_BYTES = 1 << 26  # of a standard stream held in memory before it goes to a temporary file
_MAX_CHANNELS = 256
_OTHERS = (".m4a", ".mp4", ".aac", ".wma")  # what people have too, and libsndfile does not read
_UNKNOWN_SIZE = 0xFFFFFFFF
_OPEN_END = 0x7FFF0000  # programs that write into a pipe leave a size beyond it, or 0, in the header
_SLACK = 64  # bytes by which sizes in headers may be wrong
_OGG_PAGE = 65307  # bytes of a page at most
_OGG_LAST = 4  # the flag of the last page
_MAX_RATE = 2**31 - 1  # Hz; no file holds more
_UNKNOWN_FRAMES = 1 << 62  # libsndfile gives 2^63 - 1 for a stream whose header leaves the length open


class ClippingWarning(UserWarning):
    """Samples beyond [-1, 1] were limited to it on the way into a file."""


class TruncatedWarning(UserWarning):
    """A WAV, AIFF, Ogg Vorbis or Opus file is not there to its end; what is there was read."""


@dataclass(frozen=True, eq=False)
class Audio:
    """Samples and their rate.

    samples: float32 (channels, samples), nominally in [-1, 1]; 1-D becomes one channel; other floats are converted.
    sample_rate: Hz, a positive whole number.
    Raises InputError for another shape, integer samples, NaN or infinities, or a bad rate.
    """

    samples: Samples
    sample_rate: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "samples", as_samples(self.samples, "samples"))
        object.__setattr__(self, "sample_rate", checked_rate(self.sample_rate))

    @property
    def channels(self) -> int:
        return int(self.samples.shape[0])

    @property
    def duration(self) -> float:
        """Seconds."""
        return float(self.samples.shape[1] / self.sample_rate)

    def mono(self) -> "Audio":
        """The mean of the channels, as one channel."""
        return self if self.channels == 1 else Audio(self.samples.mean(axis=0, dtype=np.float64), self.sample_rate)

    def resample(self, rate: int) -> "Audio":
        """The same sound at `rate` Hz (see wavegen.audio.resample)."""
        from wavegen.audio.resample import resample

        return Audio(resample(self.samples, self.sample_rate, rate), checked_rate(rate))

    def save(self, path: PathName, *, format: str | None = None, subtype: str | None = None) -> None:
        """Write to `path`, as `write` does."""
        write(path, self, format=format, subtype=subtype)

    def _repr_html_(self) -> str:
        """A player for notebooks, with the sound inside it as a 16-bit WAV."""
        file = io.BytesIO()
        encoder = _PcmEncoder(file, _Layout("audio", self.sample_rate, self.channels, "WAV", "PCM_16"), seekable=True)
        encoder.write(self.samples)
        encoder.close()
        data = base64.b64encode(file.getvalue()).decode("ascii")
        return f'<audio controls src="data:audio/wav;base64,{data}"></audio>'


@dataclass(frozen=True)
class AudioInfo:
    """What a file says of itself; format and subtype are libsndfile's names (an .opus file is OGG, OPUS).

    frames is an estimate for an MP3 that has no length header.
    """

    path: str
    sample_rate: int
    channels: int
    frames: int
    format: str
    subtype: str

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.frames / self.sample_rate


def checked_rate(value: Any, name: str = "sample_rate") -> int:
    """`value` as an int if it is a whole number above 0 and below 2^31; InputError otherwise."""
    try:
        rate = operator.index(value)
    except TypeError:
        rate = int(value) if isinstance(value, float) and value.is_integer() else 0
    if rate <= 0 or isinstance(value, bool):
        raise InputError(f"{name} must be a whole number of Hz above 0, not {value!r}")
    if rate > _MAX_RATE:
        raise InputError(f"{name} must be at most {_MAX_RATE} Hz, not {value!r}")
    return rate


def as_samples(values: ArrayLike, name: str) -> Samples:
    """`values` as C-contiguous float32 (channels, samples); InputError if they cannot be audio samples."""
    try:
        array = np.asarray(values)
    except (ValueError, TypeError, RuntimeError):  # rows of different lengths; a tensor elsewhere or with a gradient
        raise InputError(f"{name}: {type(values).__name__} cannot be made an array (channels, samples)") from None
    if not np.issubdtype(array.dtype, np.floating):
        raise InputError(f"{name}: samples must be floating point in [-1, 1], not {array.dtype}")
    if array.ndim == 1:
        array = array[np.newaxis]
    if array.ndim != 2:
        raise InputError(f"{name}: samples must have the shape (channels, samples) or (samples,), not {array.shape}")
    if not 1 <= array.shape[0] <= _MAX_CHANNELS:
        raise InputError(f"{name}: {array.shape[0]} channels in {array.shape}; the shape is (channels, samples)")
    with np.errstate(over="ignore"):
        samples = np.ascontiguousarray(array, dtype=np.float32)
    _require_finite(samples, name)
    return samples


def _require_finite(samples: Samples, name: str, first_sample: int = 0) -> None:
    bad = ~np.isfinite(samples)
    count = int(np.count_nonzero(bad))
    if count:
        first = int(np.argmax(bad.any(axis=0)))
        channel = int(np.argmax(bad[:, first]))
        where = f"sample {first_sample + first} of channel {channel}"
        raise InputError(f"{name}: {count} of the samples NaN or infinite, the first at {where} (both from 0)")


# ---------------------------------------------------------------------------------------------------------- reading


def info(source: Source) -> AudioInfo:
    """Rate, channels, length and encoding of a file, a binary stream, or `-` (which is read to its end).

    Raises InputError if there is no such file or it is not audio.
    """
    with _Decoder(source) as decoder:
        return decoder.info


def read(source: Source, *, start: float = 0.0, duration: float | None = None) -> Audio:
    """Read a file, a seekable binary stream or, for `-`, standard input.

    start and duration are seconds; a duration that passes the end stops there. Raises InputError for anything that
    cannot be read, is damaged, holds NaN or infinities, or has no samples in the part asked for. A WAV, AIFF,
    Ogg or Opus file that was cut short gives what is there, with a TruncatedWarning, as everywhere here.
    """
    if not (np.isfinite(start) and start >= 0):
        raise InputError(f"start must be 0 s or later, not {start}")
    if duration is not None and not duration > 0:
        raise InputError(f"duration must be above 0 s, not {duration}")
    with _Decoder(source) as decoder:
        facts = decoder.info
        first = round(start * facts.sample_rate)
        if facts.frames == 0:
            raise InputError(f"{facts.path}: no audio samples")
        if first >= facts.frames:
            raise InputError(f"{facts.path}: start {start} s is not before the end, {facts.duration:.6g} s")
        count = facts.frames - first
        if duration is not None and duration < facts.duration:
            count = min(count, max(1, round(duration * facts.sample_rate)))
        decoder.skip(first)
        samples = decoder.take_all(count)
    _require_finite(samples, facts.path, first)
    return Audio(samples, facts.sample_rate)


def blocks(source: Source, block_samples: int, *, overlap: int = 0) -> Iterator[Samples]:
    """The file as consecutive arrays (channels, block_samples), the last one shorter, in bounded memory.

    Each block after the first starts with the last `overlap` samples of the one before. Raises InputError as `read`.
    """
    if block_samples < 1:
        raise InputError(f"block_samples must be 1 or more, not {block_samples}")
    if not 0 <= overlap < block_samples:
        raise InputError(f"overlap must be from 0 to block_samples - 1 = {block_samples - 1}, not {overlap}")
    return _blocks(source, block_samples, overlap)


def _blocks(source: Source, block_samples: int, overlap: int) -> Iterator[Samples]:
    with _Decoder(source) as decoder:
        facts = decoder.info
        if facts.frames == 0:
            raise InputError(f"{facts.path}: no audio samples")
        kept = np.empty((facts.channels, 0), dtype=np.float32)
        while True:
            position = decoder.position
            fresh = decoder.take(block_samples - kept.shape[1])
            if fresh.shape[1] == 0:
                return
            _require_finite(fresh, facts.path, position)
            block = np.concatenate((kept, fresh), axis=1)
            kept = block[:, max(0, block.shape[1] - overlap) :].copy()
            yield block


class _Decoder:
    """An open audio file: its facts, and its samples in order as (channels, n)."""

    def __init__(self, source: Source) -> None:
        import soundfile  # type: ignore[import-untyped]

        with ExitStack() as stack:
            name, file = _open_input(source, stack)
            self._guard = _Guard(file)
            try:
                sound = stack.enter_context(soundfile.SoundFile(self._guard))
            except soundfile.LibsndfileError:
                self._raise_read_error(name)
                kind = os.path.splitext(str(name))[1].lower()
                if kind in _OTHERS:
                    raise InputError(f"{name}: {kind} files are not read; convert it to WAV or FLAC") from None
                raise InputError(f"{name}: not an audio file that can be read, or its header is damaged") from None
            sound.seekable = lambda: False  # or soundfile seeks after each block, which breaks MP3 decoding there
            self._sound = sound
            self.position = 0
            self.info = AudioInfo(name, sound.samplerate, sound.channels, sound.frames, sound.format, sound.subtype)
            if sound.frames >= _UNKNOWN_FRAMES:
                self.info = replace(self.info, frames=self._count())
            lacking = self._guard.lacking() if sound.frames else ""
            self._raise_read_error(name)
            if lacking:
                # From here whoever reads, so that it is told once.
                warnings.warn(f"{name}: the file was cut short: {lacking}", TruncatedWarning, stacklevel=1)
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _count(self) -> int:
        total = 0
        while got := self._decode(_BLOCK).shape[1]:
            total += got
        self._sound.seek(0)
        return total

    def skip(self, count: int) -> None:
        """Go `count` samples on, to where decoding the whole would have been."""
        import soundfile

        if self.info.format in ("MP3", "OGG"):  # their frames depend on those before, which a seek leaves out
            while count > 0 and (got := self.take(min(_BLOCK, count)).shape[1]):
                count -= got
        elif count > 0:
            try:
                self._sound.seek(self.position + count)
            except soundfile.LibsndfileError as error:
                raise InputError(f"{self.info.path}: damaged audio after {self._seconds()}") from error
            self.position += count

    def take(self, count: int) -> Samples:
        """The next `count` samples, fewer only at the end of the file; InputError if the file stops before its end."""
        wanted = min(count, self.info.frames - self.position)
        block = self._decode(wanted) if wanted else np.empty((self.info.channels, 0), dtype=np.float32)
        self.position += block.shape[1]
        missing = self.info.frames - self.position
        if block.shape[1] < wanted and missing > self._tolerated():
            raise InputError(f"{self.info.path}: the audio ends or is damaged at {self._seconds()}")
        if missing == 0 and wanted:
            self._require_end()
        return block

    def take_all(self, count: int) -> Samples:
        """The next `count` samples in one array, without a second copy of them all."""
        try:
            samples = np.empty((self.info.channels, count), dtype=np.float32)
        except (MemoryError, ValueError):
            raise InputError(f"{self.info.path}: {count} samples do not fit into memory; read it in blocks") from None
        filled = 0
        while filled < count:
            block = self.take(min(_BLOCK, count - filled))
            if block.shape[1] == 0:
                break
            samples[:, filled : filled + block.shape[1]] = block
            filled += block.shape[1]
        return samples[:, :filled]

    def _decode(self, count: int) -> Samples:
        import soundfile

        try:
            block = self._sound.read(count, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            self._raise_read_error(self.info.path)
            raise InputError(f"{self.info.path}: damaged audio after {self._seconds()}") from error
        self._raise_read_error(self.info.path)
        return cast(Samples, block.T)

    def _raise_read_error(self, name: str) -> None:
        if self._guard.error is not None:
            raise InputError(f"{name}: {_reason(self._guard.error)}") from self._guard.error

    def _seconds(self) -> str:
        return f"{self.position / self.info.sample_rate:.3f} of {self.info.duration:.3f} s"

    def _tolerated(self) -> int:
        """Samples that may be missing: an MP3 without a length header has its length estimated from its size."""
        return max(4 * 1152, self.info.frames // 100) if self.info.format == "MP3" else 0

    def _require_end(self) -> None:
        """Refuse an MP3 of variable bit rate without a length header, of which libsndfile would give only a part."""
        if self.info.format != "MP3":
            return
        rest = self._guard.remaining()
        if len(rest) > 4096 and b"APETAGEX" not in rest and b"LYRICSBEGIN" not in rest:
            raise InputError(f"{self.info.path}: an MP3 whose length header is missing or wrong; re-encode it")


class _Guard:
    """A binary file for libsndfile's callbacks, which would lose a Python exception: it is kept and raised later."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: OSError | None = None

    def read(self, count: int) -> bytes:
        try:
            return self._file.read(count)
        except OSError as error:
            self.error = error
            return b""

    def write(self, data: bytes) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            return 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError):  # a damaged header may point before the start
            return self._file.tell()

    def tell(self) -> int:
        return self._file.tell()

    def remaining(self) -> bytes:
        """What was not read yet, without moving."""
        position = self._file.tell()
        rest = self._file.read()
        self._file.seek(position)
        return rest

    def lacking(self) -> str:
        """What a RIFF, AIFF or Ogg file lacks of its end, if it does, without moving."""
        position = self._file.tell()
        end = self._file.seek(0, os.SEEK_END)
        found = ""
        self._file.seek(0)
        head = self.read(8)
        if head[:4] in (b"RIFF", b"RIFX", b"FORM"):
            said = 8 + int.from_bytes(head[4:], "little" if head[:4] == b"RIFF" else "big")
            found = f"{end} bytes of {said} are there" if end + _SLACK < said < _OPEN_END else ""
        elif head[:4] == b"OggS":
            self._file.seek(max(0, end - _OGG_PAGE))
            tail = self.read(_OGG_PAGE)
            page = tail[tail.rfind(b"OggS") :] if b"OggS" in tail else b""  # not there: something else follows
            # RFC 3533, section 6: flags, and lengths of segments that sum to the page's.
            whole = len(page) > 26 and len(page) >= 27 + page[26] + sum(page[27 : 27 + page[26]])
            found = "" if not page or (whole and page[5] & _OGG_LAST) else "its last page is not there"
        self._file.seek(position)
        return found


def _open_input(source: Source, stack: ExitStack) -> tuple[str, BinaryIO]:
    """The name for messages and a seekable, non-empty binary file, which `stack` will close if it is ours."""
    if not isinstance(source, (str, os.PathLike)):
        name = str(getattr(source, "name", "audio stream"))
        file = source
    elif os.fspath(source) == "-":
        name = "standard input"
        file = _standard(sys.stdin, name)
        if file.isatty():
            raise InputError(f"{name}: is a terminal; pipe an audio file into it")
        file = _spooled(file, name, stack)
    else:
        name = os.fspath(source)
        try:
            file = stack.enter_context(open(name, "rb"))  # noqa: SIM115 - the stack closes it
        except (OSError, ValueError) as error:
            raise InputError(f"{name}: {_reason(error)}") from error
        if not file.seekable():
            file = _spooled(file, name, stack)
    try:
        if file.seek(0, os.SEEK_END) == 0:
            raise InputError(f"{name}: the file is empty")
        file.seek(0)
    except OSError as error:
        raise InputError(f"{name}: {_reason(error)}") from error
    return name, file


def _spooled(stream: BinaryIO, name: str, stack: ExitStack) -> BinaryIO:
    spool = cast(BinaryIO, tempfile.SpooledTemporaryFile(_SPOOL_BYTES))  # noqa: SIM115 - the stack closes it
    stack.enter_context(spool)
    try:
        shutil.copyfileobj(stream, spool)
    except OSError as error:
        raise InputError(f"{name}: {_reason(error)}") from error
    return spool


def _standard(stream: Any, name: str) -> BinaryIO:
    buffer = getattr(stream, "buffer", None)
    if buffer is None:
        raise InputError(f"{name}: takes no bytes here")
    return cast(BinaryIO, buffer)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


# ---------------------------------------------------------------------------------------------------------- formats


@dataclass(frozen=True)
class _Format:
    extensions: tuple[str, ...]
    subtypes: tuple[str, ...]  # the first is the default
    max_channels: int
    max_rate: int = _MAX_RATE  # Hz
    rates: tuple[int, ...] = ()  # Hz; none named means any


_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_PCM = ("PCM_16", "PCM_24", "PCM_32", "FLOAT")
_FORMATS = {
    "WAV": _Format((".wav",), _PCM, _MAX_CHANNELS),
    "FLAC": _Format((".flac",), ("PCM_16", "PCM_24"), 8, max_rate=655_350),
    "MP3": _Format((".mp3",), ("MPEG_LAYER_III",), 2, rates=_MP3_RATES),
    "OGG": _Format((".ogg", ".oga"), ("VORBIS",), 255, max_rate=200_000),  # beyond it libsndfile crashes
    "OPUS": _Format((".opus",), ("OPUS",), 255, rates=(8000, 12000, 16000, 24000, 48000)),
    "RAW": _Format((), _PCM, _MAX_CHANNELS),
}
_BY_EXTENSION = {extension: name for name, form in _FORMATS.items() for extension in form.extensions}
_BITS = {"PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
_NEAREST = {
    "PCM_24": ("PCM_24",),
    "PCM_32": ("PCM_32", "PCM_24"),
    "FLOAT": ("FLOAT", "PCM_24"),
    "DOUBLE": ("FLOAT", "PCM_24"),
}


def matching_subtype(info: AudioInfo, format: str) -> str:
    """The subtype of `format` (WAV, FLAC, MP3, OGG, OPUS, RAW) that keeps the precision of the file `info` is of.

    So 24-bit stays 24-bit; float becomes 24-bit where the format has no float; all that is coarser, and every lossy
    file, becomes the format's default.
    """
    known = _format(format).subtypes
    return next((subtype for subtype in _NEAREST.get(info.subtype, ()) if subtype in known), known[0])


def format_of(path: PathName) -> str:
    """The format name that the extension of `path` stands for (`-` is WAV); InputError if it stands for none."""
    name = os.fspath(path)
    if name == "-":
        return "WAV"
    extension = os.path.splitext(name)[1].lower()
    if extension not in _BY_EXTENSION:
        shown = f"extension {extension!r}" if extension else "a name without extension"
        raise InputError(f"{name}: no audio format for {shown}; the known ones are {', '.join(_BY_EXTENSION)}")
    return _BY_EXTENSION[extension]


def _format(name: str) -> _Format:
    if name.upper() not in _FORMATS:
        raise InputError(f"format {name!r} is unknown; choose {', '.join(_FORMATS)}")
    return _FORMATS[name.upper()]


@dataclass(frozen=True)
class _Layout:
    """What a file to be written holds; `name` is for messages."""

    name: str
    sample_rate: int
    channels: int
    format: str
    subtype: str


def _layout(path: PathName, sample_rate: int, channels: int, format: str | None, subtype: str | None) -> _Layout:
    name = "standard output" if os.fspath(path) == "-" else os.fspath(path)
    chosen = (format or format_of(path)).upper()
    if chosen == "OGG" and subtype is not None and subtype.upper() == "OPUS":
        chosen = "OPUS"
    form = _format(chosen)
    encoding = (subtype or form.subtypes[0]).upper()
    if encoding not in form.subtypes:
        raise InputError(f"{name}: {chosen} has no subtype {subtype!r}; choose {', '.join(form.subtypes)}")
    rate = checked_rate(sample_rate)
    if form.rates and rate not in form.rates:
        legal = ", ".join(str(legal) for legal in form.rates)
        raise InputError(f"{name}: {chosen} cannot hold a sample rate of {rate} Hz; the legal ones are {legal}")
    if rate > form.max_rate:
        raise InputError(f"{name}: {chosen} cannot hold a sample rate of {rate} Hz; the highest is {form.max_rate}")
    if not 1 <= channels <= form.max_channels:
        raise InputError(f"{name}: {chosen} holds 1 to {form.max_channels} channels, not {channels}")
    return _Layout(name, rate, channels, chosen, encoding)


# ---------------------------------------------------------------------------------------------------------- writing


def write(path: PathName, audio: Audio, *, format: str | None = None, subtype: str | None = None) -> None:
    """Write `audio` to a file, whole or not at all, or to standard output for `-`; see Writer for the formats."""
    with Writer(path, audio.sample_rate, audio.channels, format=format, subtype=subtype) as writer:
        writer.write(audio.samples)


class Writer:
    """Write audio piece by piece: `with Writer("out.flac", 24000, 1) as writer: writer.write(samples)`.

    format: WAV, FLAC, MP3, OGG (Vorbis), OPUS or RAW (little-endian samples without a header); by default what the
    extension says, and WAV for `-`. subtype: PCM_16 (default), PCM_24, and for WAV and RAW also PCM_32 and FLOAT.
    Vorbis takes 6 channels, and Opus 6 to 8, for surround sound, whose last channel keeps only low frequencies.
    The file appears under its name when the block ends well, and not at all otherwise. Standard output gets WAV
    into a pipe, and RAW, while they are being written (the WAV header then leaves the length open), anything else
    at the end. Except for FLOAT, samples beyond [-1, 1] are clipped and a ClippingWarning says how many.
    Raises InputError for what the format cannot hold, for NaN or infinities, for no samples at all, and when the
    file cannot be written.
    """

    def __init__(
        self,
        path: PathName,
        sample_rate: int,
        channels: int,
        *,
        format: str | None = None,
        subtype: str | None = None,
    ) -> None:
        self._path = path
        self._layout = _layout(path, sample_rate, channels, format, subtype)
        self._stack = ExitStack()
        self._encoder: _Encoder | None = None
        self._written = 0
        self._clipped = 0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            output = _standard_output(self._layout) if os.fspath(self._path) == "-" else _file_output(self._path)
            file, seekable = stack.enter_context(output)
            self._encoder = _encoder(file, self._layout, seekable)
            stack.push(self._finish)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._stack.__exit__(*exception)

    def _finish(self, kind: type[BaseException] | None, *_: object) -> None:
        assert self._encoder is not None
        encoder, self._encoder = self._encoder, None
        if kind is not None:
            with suppress(Exception):  # the first error is the one to tell
                encoder.close()
            return
        encoder.close()
        if self._written == 0:
            raise InputError(f"{self._layout.name}: no audio samples to write")
        if self._clipped:
            message = f"{self._layout.name}: {self._clipped} samples beyond [-1, 1] were clipped"
            warnings.warn(message, ClippingWarning, stacklevel=4)

    def write(self, samples: ArrayLike) -> None:
        """Append float samples (channels, n), or (n,) for one channel."""
        if self._encoder is None:
            raise InputError(f"{self._layout.name}: write() outside of the `with` block of its Writer")
        array = as_samples(samples, self._layout.name)
        if array.shape[0] != self._layout.channels:
            raise InputError(f"{self._layout.name}: {array.shape[0]} channels for a file of {self._layout.channels}")
        for start in range(0, array.shape[1], _BLOCK):
            block = array[:, start : start + _BLOCK]
            if self._layout.subtype != "FLOAT":
                self._clipped += int(np.count_nonzero(np.abs(block) > 1))
            self._encoder.write(block)
        self._written += array.shape[1]


class _Encoder(Protocol):
    def write(self, samples: Samples) -> None: ...
    def close(self) -> None: ...


def _encoder(file: BinaryIO, layout: _Layout, seekable: bool) -> _Encoder:
    if layout.format in ("WAV", "RAW"):
        return _PcmEncoder(file, layout, seekable)
    return _LibraryEncoder(file, layout)


class _PcmEncoder:
    """WAV (RIFF, Microsoft 1991) and headerless samples; without seeking the header leaves the length open."""

    def __init__(self, file: BinaryIO, layout: _Layout, seekable: bool) -> None:
        self._file = file
        self._layout = layout
        self._seekable = seekable
        self._bytes = 0

    def write(self, samples: Samples) -> None:
        data = _pcm(samples, self._layout.subtype)
        if self._layout.format == "WAV":
            if self._seekable and self._bytes + len(data) > _UNKNOWN_SIZE - 64:
                raise InputError(f"{self._layout.name}: a WAV file ends at 4 GiB; write FLAC instead")
            if self._bytes == 0:
                self._file.write(_wav_header(self._layout, None))
        self._file.write(data)
        self._file.flush()
        self._bytes += len(data)

    def close(self) -> None:
        if self._layout.format == "WAV" and self._seekable:
            self._file.write(bytes(self._bytes % 2))  # chunks have even lengths
            self._file.seek(0)
            self._file.write(_wav_header(self._layout, self._bytes))


def _wav_header(layout: _Layout, data_bytes: int | None) -> bytes:
    tag = 3 if layout.subtype == "FLOAT" else 1
    bits = _BITS.get(layout.subtype, 32)
    frame = layout.channels * bits // 8
    size = _UNKNOWN_SIZE if data_bytes is None else data_bytes
    riff = _UNKNOWN_SIZE if data_bytes is None else 36 + data_bytes + data_bytes % 2
    rate = layout.sample_rate
    fields = (b"RIFF", riff, b"WAVE", b"fmt ", 16, tag, layout.channels, rate, rate * frame, frame, bits, b"data", size)
    return struct.pack("<4sI4s4sIHHIIHH4sI", *fields)


def _pcm(samples: Samples, subtype: str) -> bytes:
    """Interleaved little-endian samples."""
    if subtype == "FLOAT":
        return samples.T.astype("<f4").tobytes()
    bits = _BITS[subtype]
    integers = np.ascontiguousarray(_quantised(samples, bits).T.astype("<i4"))
    whole = integers.view(np.uint8).reshape(*integers.shape, 4)
    return whole[..., : bits // 8].tobytes()


def _quantised(samples: Samples, bits: int) -> NDArray[np.int32]:
    """The nearest integers of `bits` bits, limited to what these can hold."""
    scale = 2.0 ** (bits - 1)
    integers = np.rint(samples.astype(np.float64) * scale)
    return np.clip(integers, -scale, scale - 1).astype(np.int32)


class _LibraryEncoder:
    """FLAC, MP3, Ogg Vorbis and Opus through libsndfile."""

    def __init__(self, file: BinaryIO, layout: _Layout) -> None:
        import soundfile

        self._guard = _Guard(file)
        self._layout = layout
        container = "OGG" if layout.format == "OPUS" else layout.format
        try:
            self._sound = soundfile.SoundFile(
                self._guard, "w", layout.sample_rate, layout.channels, layout.subtype, format=container
            )
        except soundfile.LibsndfileError as error:
            raise InputError(f"{_attempt(layout)} is not possible: {error}") from error

    def write(self, samples: Samples) -> None:
        if self._layout.subtype == "PCM_16":
            self._run(self._sound.write, _quantised(samples, 16).T.astype(np.int16))
        elif self._layout.subtype == "PCM_24":
            self._run(self._sound.write, _quantised(samples, 24).T << 8)
        else:
            self._run(self._sound.write, np.clip(samples, -1, 1).T)

    def close(self) -> None:
        self._run(self._sound.close)

    def _run(self, action: Any, *arguments: Any) -> None:
        """`action`, raising what went wrong in the file rather than libsndfile's account of it."""
        import soundfile

        try:
            action(*arguments)
        except (soundfile.LibsndfileError, AssertionError) as error:
            if self._guard.error is None:
                raise InputError(f"{_attempt(self._layout)} failed: {error}") from error
        if self._guard.error is not None:
            raise self._guard.error


def _attempt(layout: _Layout) -> str:
    return f"{layout.name}: {layout.format} of {layout.channels} channels at {layout.sample_rate} Hz"


@contextmanager
def _file_output(path: PathName) -> Iterator[tuple[BinaryIO, bool]]:
    with atomic(path) as temporary, open(temporary, "w+b") as file:
        yield file, True


@contextmanager
def _standard_output(layout: _Layout) -> Iterator[tuple[BinaryIO, bool]]:
    output = _standard(sys.stdout, layout.name)
    if output.isatty():
        raise InputError(f"{layout.name}: is a terminal; send the audio to a file or into a pipe")
    try:
        if layout.format == "RAW" or (layout.format == "WAV" and not output.seekable()):
            yield output, False
        else:
            with cast(BinaryIO, tempfile.SpooledTemporaryFile(_SPOOL_BYTES)) as spool:
                yield spool, True
                spool.seek(0)
                shutil.copyfileobj(spool, output)
        output.flush()
    except BrokenPipeError as error:
        _discard_rest_of(output)
        raise InputError(f"{layout.name}: {_reason(error)}") from error
    except OSError as error:
        if error.filename is not None:  # not the stream's own trouble
            raise
        raise InputError(f"{layout.name}: {_reason(error)}") from error


def _discard_rest_of(output: BinaryIO) -> None:
    """What is still buffered for a closed pipe would make the interpreter complain once more on its way out."""
    with suppress(OSError), open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), output.fileno())


@contextmanager
def atomic(path: PathName) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`, with its extension, that takes its place when the block ends.

    If the block raises, the temporary file is removed and what was at `path` stays. A symbolic link is followed, an
    existing file's permissions are kept. Raises InputError when the file cannot be written.
    """
    name = os.fspath(path)
    target, temporary = _temporary_beside(name)
    try:
        yield temporary
        if target.exists():
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except OSError as error:
        if error.filename in (None, str(temporary)):
            raise InputError(f"{name}: {_reason(error)}") from error
        raise
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def require_writable(path: PathName) -> None:
    """Raise InputError if `atomic` would: for what is written at the end of long work."""
    _, temporary = _temporary_beside(os.fspath(path))
    temporary.unlink()


def require_other(path: PathName, inputs: Iterable[PathName]) -> None:
    """Raise InputError where what is to be written at `path` is one of the inputs."""
    for source in inputs:
        if os.fspath(source) != "-" and os.path.realpath(source) == os.path.realpath(path):
            raise InputError(f"{os.fspath(path)}: is the input too; write to another file")


def _temporary_beside(name: str) -> tuple[Path, Path]:
    """The file that `name` stands for, and a new, empty one in the same folder."""
    try:
        target = Path(os.path.realpath(name))
        temporary = target.with_name(f".{secrets.token_hex(8)}{target.suffix}")
        _create_beside(target, temporary, name)
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise InputError(f"{name}: {_reason(error)}") from error
    return target, temporary


def _create_beside(target: Path, temporary: Path, name: str) -> None:
    if target.is_dir():
        raise InputError(f"{name}: is a folder, not a file")
    if target.exists() and not target.is_file():
        raise InputError(f"{name}: not a regular file; `-` stands for standard output")
    if target.exists() and not os.access(target, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        raise InputError(f"{name}: the file there is write-protected")
    if not target.parent.is_dir():
        raise InputError(f"{name}: there is no folder {target.parent}")
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
