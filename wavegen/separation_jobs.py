"""Separation as plain functions: a mix in, its sources out, at the mix's own rate, channels, length and level.

The sources sum to the mix: what a model leaves over (above its Nyquist frequency, for one) is shared out evenly, and
integers are rounded so that they sum to the mix's too.
"""

import collections
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import torch
from numpy.typing import NDArray

from wavegen import checkpoints
from wavegen.audio import io
from wavegen.audio.batch import output_folders, remove_empty
from wavegen.audio.io import Audio
from wavegen.audio.resample import StreamResampler
from wavegen.checkpoints.registry import DEFAULTS
from wavegen.errors import InputError, WavegenError
from wavegen.nn.device import share_freed_memory as share_freed_memory  # to be called by a program, when it begins
from wavegen.nn.device import sharing_threads, usable_device
from wavegen.pipelines import SEED, in_range, rereadable, whole
from wavegen.separation.base import Separator
from wavegen.separation.channels import AnyChannels
from wavegen.separation.overlap import plan, separate_stream

SHIFTS = (0, 32)
OVERLAP = (0.0, 0.9)  # of a chunk
SEGMENT = (0.5, 600.0)  # seconds
RESIDUAL = "residual"
NORMALIZE = ("none", "rescale", "clamp")
_BLOCK = 1 << 16  # samples of all channels read at a time, at most
_BITS = {"PCM_16": 16, "PCM_24": 24}
_WAV_BYTES = {"PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4}
_WAV_LIMIT = 2**32 - 2**17

Samples = NDArray[np.float32]
Exact = NDArray[np.float64]
Progress = Callable[[float, float], None]


@dataclass(frozen=True)
class Separation:
    """How to separate. InputError, which names the field and its range, for what makes no sense.

    ``stems``: the sources asked for, all if empty. ``two_stems``: a source and, as "no_NAME", the rest of the mix.
    ``residual``: also what the sources asked for leave of the mix; nothing that the model left over is then shared out.
    ``shifts`` (0-32): passes to average, at places drawn from ``seed``. ``overlap`` (0-0.9 of a chunk) and ``segment``
    (0.5-600 s, a chunk) are the model's own if None.
    """

    stems: tuple[str, ...] = ()
    two_stems: str | None = None
    residual: bool = False
    shifts: int = 0
    overlap: float | None = None
    segment: float | None = None
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not isinstance(self.residual, bool):
            raise InputError(f"residual must be True or False, not {self.residual!r}")
        if self.stems and self.two_stems is not None:
            raise InputError("stems and two_stems exclude each other")
        if self.residual and self.two_stems is not None:
            raise InputError("two_stems has the rest of the mix in it: leave residual out")
        if len(set(self.stems)) < len(self.stems):
            raise InputError(f"stems: {', '.join(self.stems)} names one twice")
        whole("shifts", self.shifts, SHIFTS)
        whole("seed", self.seed, SEED)
        if self.overlap is not None:
            in_range("overlap", self.overlap, OVERLAP)
        if self.segment is not None:
            in_range("segment", self.segment, SEGMENT)

    def outputs(self, model: Separator) -> tuple[str, ...]:
        """The names of what comes out, in order. InputError for a source that the model does not have."""
        sources = model.spec.sources
        for name in (*self.stems, *([] if self.two_stems is None else [self.two_stems])):
            if name not in sources:
                raise InputError(f"the model has no source {name!r}; it has {', '.join(sources)}")
        if self.two_stems is not None:
            return (self.two_stems, f"no_{self.two_stems}")
        return (*(self.stems or sources), *((RESIDUAL,) if self.residual else ()))

    def is_whole(self, model: Separator) -> bool:
        """Whether what comes out sums to the mix."""
        return (
            self.residual
            or self.two_stems is not None
            or set(self.stems or model.spec.sources) == set(model.spec.sources)
        )


def load_separator(model: str = "default", device: str = "cpu") -> Separator:
    """A separator by a shipped model's name or a file's path, published checkpoints (see wavegen.checkpoints.importers)
    included, ready on ``device``. InputError or CheckpointError if it cannot be had.
    """
    from wavegen.checkpoints import importers

    if model == "default":
        model = DEFAULTS["separator"]
    if importers.is_published(model):
        return importers.import_separator([model]).to(usable_device(device)).eval()
    return cast(Separator, checkpoints.load(model, device, role="separator"))


def separate(
    audio: Audio,
    *,
    model: str | Path | Separator = "default",
    stems: Sequence[str] = (),
    two_stems: str | None = None,
    residual: bool = False,
    shifts: int = 0,
    overlap: float | None = None,
    segment: float | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> dict[str, Audio]:
    """The sources of a mix, by name, each with the mix's rate, channels, length and level; all of them sum to the mix.

    The arguments are those of :class:`Separation`; ``model`` is a name, a file or a Separator, which stays on its
    device. The same seed gives the same samples. InputError for an argument that makes no sense or audio without
    samples.
    """
    if not isinstance(audio, Audio):
        raise InputError(
            f"audio must be a wavegen.Audio, as wavegen.audio.io.read(path) gives it, not {type(audio).__name__}"
        )
    if audio.samples.shape[1] == 0:
        raise InputError("audio: no samples to separate")
    if isinstance(stems, str) or not isinstance(stems, Sequence):
        raise InputError(f"stems must be a sequence of names, not {stems!r}")
    how = Separation(tuple(stems), two_stems, residual, shifts, overlap, segment, seed, device)
    separator = load_separator(str(model), device) if isinstance(model, str | Path) else model
    if not isinstance(separator, Separator):
        raise InputError(f"model must be a name, a file or a Separator, not {type(model).__name__}")
    names = how.outputs(separator)
    level = _Level()
    level.add(audio.samples)
    size = _block(audio.sample_rate, audio.channels)
    blocks = (audio.samples[:, start : start + size] for start in range(0, audio.samples.shape[1], size))
    found = np.empty((len(names), *audio.samples.shape), dtype=np.float32)
    done = 0
    for mix, pieces in _separated(separator, blocks, audio.sample_rate, audio.channels, level.rms, how):
        found[..., done : done + mix.shape[1]] = _rounded(pieces, mix if how.is_whole(separator) else None, None)
        done += mix.shape[1]
    return {name: Audio(samples, audio.sample_rate) for name, samples in zip(names, found, strict=True)}


@dataclass(frozen=True)
class FileFormat:
    """How results are written. ``format`` and ``subtype`` are wavegen.audio.io's; by default FLAC for FLAC, WAV for
    all else, and the sample format of the source.

    ``normalize``: "none" keeps the mix's level, so that integers clip what is beyond full scale; "clamp" clips it
    in float too; "rescale" turns all results down by one gain where any would pass full scale.
    """

    format: str | None = None
    subtype: str | None = None
    normalize: str = "none"

    def __post_init__(self) -> None:
        if self.normalize not in NORMALIZE:
            raise InputError(f"normalize must be one of {', '.join(NORMALIZE)}, not {self.normalize!r}")

    def of(self, about: io.AudioInfo) -> tuple[str, str]:
        """The format and subtype for results of the file ``about``."""
        name = self.format or ("FLAC" if about.format == "FLAC" and about.channels <= 8 else "WAV")
        return name, self.subtype or io.matching_subtype(about, name)

    def check(self, about: io.AudioInfo, samples: int) -> None:
        """InputError where results cannot hold the rate, the channels or so many samples of the file ``about``."""
        container, subtype = self.of(about)
        io.Writer(f"{about.path}: results", about.sample_rate, about.channels, format=container, subtype=subtype)
        if container == "WAV" and samples * about.channels * _WAV_BYTES[subtype] > _WAV_LIMIT:
            raise InputError(f"{about.path}: results would be WAV files beyond 4 GiB; write FLAC, or fewer bits")

    def keeps_length(self, about: io.AudioInfo) -> bool:
        """Whether results have the source's length to the sample, and that is known from its header."""
        return about.format != "MP3" and self.of(about)[0] in ("WAV", "FLAC")


@dataclass(frozen=True)
class Part:
    """Of a file, ``duration`` seconds (to its end if None) from ``start``."""

    start: float = 0.0
    duration: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.start < float("inf"):
            raise InputError(f"start must be 0 s or later, not {self.start}")
        if self.duration is not None and not self.duration > 0:
            raise InputError(f"duration must be above 0 s, not {self.duration}")

    def samples(self, about: io.AudioInfo) -> tuple[int, int]:
        """First sample and number of samples. InputError for a start that is not before the end."""
        if about.frames == 0:
            raise InputError(f"{about.path}: no audio samples")
        first = round(min(self.start, about.duration) * about.sample_rate)
        if first >= about.frames:
            raise InputError(f"{about.path}: start {self.start} s is not before the end, {about.duration:.6g} s")
        count = about.frames - first
        if self.duration is not None and self.duration < about.duration:
            count = min(count, max(1, round(self.duration * about.sample_rate)))
        return first, count


@dataclass(frozen=True)
class Done:
    """What became of a file: seconds of audio, how many the work took, the gain of "rescale", and how many samples of
    which result were clipped."""

    seconds: float
    elapsed: float
    gain: float = 1.0
    clipped: dict[str, int] = field(default_factory=dict)


def separate_file(
    source: str | Path,
    places: Mapping[str, str | Path],
    model: Separator,
    how: Separation,
    *,
    file_format: FileFormat | None = None,
    part: Part | None = None,
    plot: Path | None = None,
    progress: Progress | None = None,
) -> Done:
    """Separate a file ("-": standard input) in memory that does not grow with it.

    ``places``: where each of ``how.outputs(model)`` goes ("-": standard output, for one alone). Folders are made.
    Results appear together and whole, or not at all. ``plot``: a sheet of spectrograms. ``progress`` is called with the
    seconds done and their total; what it raises stops the work. InputError, in one line, for whatever is wrong with the
    file or the places.
    """
    began = time.perf_counter()
    file_format, part = file_format or FileFormat(), part or Part()
    names = how.outputs(model)
    if set(names) != set(places):
        raise InputError(f"places must be given for {', '.join(names)}, not {', '.join(places)}")
    watch = progress or (lambda done, total: None)
    with rereadable(source, lambda: watch(0.0, 0.0)) as file:
        about = io.info(file)
        first, count = part.samples(about)
        file_format.check(about, count)
        container, subtype = file_format.of(about)
        watch(0.0, count / about.sample_rate)
        with ExitStack() as stack:
            outputs = stack.enter_context(_Outputs.open(places, plot, about, container, subtype))
            level = _Level()
            for block in _blocks(file, about, first, count):
                level.add(block)
                watch(0.0, count / about.sample_rate)
            total = level.samples / about.sample_rate
            sheet = None
            if plot is not None:
                from wavegen.audio.plots import SpectrogramSheet

                sheet = SpectrogramSheet(("mix", *names), about.sample_rate, level.samples)
            whole_mix = how.is_whole(model)
            blocks = _blocks(file, about, first, count)
            pieces = _separated(model, blocks, about.sample_rate, about.channels, level.rms, how)
            pieces = _reported(pieces, watch, total, about.sample_rate)
            gain = 1.0
            if file_format.normalize == "rescale":
                spool = stack.enter_context(_Spool(outputs.folder))
                pieces = spool.filled(pieces, lambda: watch(total, total))
                gain = spool.gain(subtype)
            for mix, found in pieces:
                rounded = _rounded(gain * found, gain * mix if whole_mix else None, subtype)
                outputs.write(dict(zip(names, rounded, strict=True)), clamp=file_format.normalize == "clamp")
                if sheet is not None:
                    sheet.add(np.concatenate([mix[None].astype(np.float32), rounded]))
            if sheet is not None and outputs.picture is not None:
                sheet.save(outputs.picture, title=Path(about.path).name)
            outputs.finish()
    return Done(total, time.perf_counter() - began, gain, outputs.clipped)


@dataclass(frozen=True)
class Task:
    """A file to separate, as for :func:`separate_file`; ``seconds`` of it are wanted."""

    source: Path
    places: Mapping[str, str | Path]
    seconds: float
    plot: Path | None = None


class _StoppedError(Exception):
    """Another thread has given up; so must this."""


def separate_files(
    tasks: Sequence[Task],
    model: Separator,
    how: Separation,
    *,
    file_format: FileFormat | None = None,
    part: Part | None = None,
    jobs: int = 1,
    progress: Callable[[float, float, str], None] | None = None,
) -> Iterator[tuple[Task, Done | Exception]]:
    """Separate files, ``jobs`` at a time, and give each as it is done, or with the error that it failed by.

    The results do not depend on ``jobs``. ``progress`` is called, in any thread, with the seconds done in all files,
    their total and a file's name.
    """
    stop, lock = threading.Event(), threading.Lock()
    total = sum(task.seconds for task in tasks)
    done: dict[int, float] = {}

    def one(number: int, task: Task) -> tuple[Task, Done | Exception]:
        def step(seconds: float, _: float) -> None:
            if stop.is_set():
                raise _StoppedError
            with lock:
                done[number] = min(seconds, task.seconds)
                if progress is not None:
                    progress(sum(done.values()), total, task.source.name)

        try:
            outcome: Done | Exception = separate_file(
                task.source, task.places, model, how, file_format=file_format, part=part, plot=task.plot, progress=step
            )
        except Exception as error:
            if isinstance(error, _StoppedError | BrokenPipeError) or isinstance(error.__cause__, BrokenPipeError):
                raise
            outcome = error
        with lock:
            done[number] = task.seconds
        return task, outcome

    if jobs == 1:
        yield from (one(number, task) for number, task in enumerate(tasks))
        return
    folders = {folder for task in tasks for folder in _folders(task.places, task.plot)}
    made = [place for place in {p for folder in folders for p in (folder, *folder.parents)} if not place.exists()]
    try:
        with sharing_threads(jobs) as pool:
            running = [pool.submit(one, number, task) for number, task in enumerate(tasks)]
            try:
                for finished in as_completed(running):
                    yield finished.result()
            finally:
                stop.set()
                for waiting in running:
                    waiting.cancel()
    finally:
        remove_empty(made)  # a folder that two files share may have outlived the first's failure


def _block(rate: int, channels: int) -> int:
    """How many samples of each channel to take in at a time."""
    return max(1, min(_BLOCK // max(1, channels // 2), 4 * rate))


def _blocks(file: Path | BinaryIO, about: io.AudioInfo, first: int, count: int) -> Iterator[Samples]:
    """Samples [first, first + count) of a file, all of them where that is its length."""
    position, end = 0, first + count
    for block in io.blocks(file, _block(about.sample_rate, about.channels)):
        wanted = block[:, max(0, first - position) : max(0, end - position) if end < about.frames else None]
        position += block.shape[1]
        if wanted.shape[1]:
            yield wanted
        if end < about.frames and position >= end:
            return


class _Level:
    """The RMS of what was added, over all channels."""

    def __init__(self) -> None:
        self.samples = 0
        self._values = 0
        self._squares = 0.0

    def add(self, block: Samples) -> None:
        self.samples += block.shape[1]
        self._values += block.size
        self._squares += float(np.square(block, dtype=np.float64).sum())

    @property
    def rms(self) -> float:
        """Zero for silence alone: what is too quiet for float32 counts as its smallest normal number."""
        if self._squares == 0:
            return 0.0
        return max(float(np.sqrt(self._squares / self._values)), float(np.finfo(np.float32).tiny))


def _separated(
    model: Separator, blocks: Iterable[Samples], rate: int, channels: int, level: float, how: Separation
) -> Iterator[tuple[Exact, Exact]]:
    """Blocks (channels, n) → pairs of the mix (channels, m) and what comes out of it (outputs, channels, m)."""
    sources = model.spec.sources
    picked = [sources.index(name) for name in (how.stems or sources)]
    for mix, found in _at_own_rate(model, blocks, rate, channels, level, how):
        if not how.residual:
            found += (mix - found.sum(axis=0)) / len(sources)
        if how.two_stems is not None:
            one = found[sources.index(how.two_stems)]
            yield mix, np.stack([one, mix - one])
        elif how.residual:
            asked = found[picked]
            yield mix, np.concatenate([asked, (mix - asked.sum(axis=0))[None]])
        else:
            yield mix, found[picked]


def _at_own_rate(
    model: Separator, blocks: Iterable[Samples], rate: int, channels: int, level: float, how: Separation
) -> Iterator[tuple[Exact, Exact]]:
    """Blocks (channels, n) at ``rate`` → pairs of the mix (channels, m) and its sources (sources, channels, m)."""
    count = len(model.spec.sources)
    down = StreamResampler(rate, model.spec.sample_rate, channels)
    up = StreamResampler(model.spec.sample_rate, rate, count * channels)
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    generator = torch.Generator().manual_seed(int(how.seed))
    waiting, early = _Queue(), _Queue()  # of the mix, until its sources are there; of these, until they are asked for

    def fed() -> Iterator[torch.Tensor]:
        for block in blocks:
            waiting.put(block)
            yield torch.from_numpy(down.process(block)).to(device)
        yield torch.from_numpy(down.flush()).to(device)

    def risen() -> Iterator[Samples]:
        for piece in separate_stream(
            AnyChannels(model, channels),
            fed(),
            chunk_seconds=how.segment,
            overlap=how.overlap,
            level=level,
            shifts=how.shifts,
            generator=generator,
        ):
            rows = up.process(np.ascontiguousarray(piece.reshape(count * channels, -1).cpu().numpy()))
            del piece  # nothing of a chunk is held while the next is separated
            yield rows
            del rows
        yield up.flush()

    for rows in risen():
        early.put(rows)
        del rows
        while ready := min(waiting.count, early.count, _BLOCK):  # little at a time: it is float64 from here on
            yield waiting.take(ready), early.take(ready).reshape(count, channels, ready)
    if waiting.count:  # resampled there and back, the end may lack a few samples, and very short sounds all
        mix = waiting.take(waiting.count)
        yield mix, np.zeros((count, *mix.shape))


class _Queue:
    """Samples (channels, any number) that are taken in the order in which they were put; ``count`` are there."""

    def __init__(self) -> None:
        self._blocks: collections.deque[Samples] = collections.deque()
        self.count = 0

    def put(self, block: Samples) -> None:
        self._blocks.append(block)
        self.count += block.shape[1]

    def take(self, count: int) -> Exact:
        """The first ``count``, which are there no longer."""
        self.count -= count
        parts: list[Samples] = []
        while count:
            block = self._blocks.popleft()
            if block.shape[1] > count:
                self._blocks.appendleft(block[:, count:])
                block = block[:, :count]
            parts.append(block)
            count -= block.shape[1]
        return np.concatenate(parts, axis=1, dtype=np.float64)


def _rounded(found: Exact, mix: Exact | None, subtype: str | None) -> Samples:
    """What comes out (outputs, channels, n) as float32 that ``subtype`` holds exactly, or nearest where it is lossy.

    Sums are rounded, not summands: the first k results add up to the nearest integer of what they should, so that all
    of them add up to that of the mix, which stands for their sum if it is given. Each is off by one step at most.
    """
    if subtype is None or subtype in ("FLOAT", "PCM_32"):
        result = found.astype(np.float32)
        if mix is not None:
            result[-1] = mix - result[:-1].sum(axis=0, dtype=np.float64)
        return result
    if subtype not in _BITS:
        return found.astype(np.float32)
    scale = 2.0 ** (_BITS[subtype] - 1)
    sums = np.cumsum(found, axis=0)
    if mix is not None:
        sums[-1] = mix
    steps = np.rint(sums * scale)
    return (np.diff(steps, axis=0, prepend=0.0) / scale).astype(np.float32)


def _reported(
    pieces: Iterable[tuple[Exact, Exact]], progress: Progress, total: float, rate: int
) -> Iterator[tuple[Exact, Exact]]:
    done = 0
    for mix, found in pieces:
        done += mix.shape[1]
        yield mix, found
        progress(done / rate, total)


def _highest(subtype: str) -> float:
    """The largest sample a subtype holds."""
    return 1.0 - 2.0 ** (1 - _BITS[subtype]) if subtype in _BITS else 1.0


class _Spool:
    """Pieces kept in a file without a name, in the folder of the results, until their peak is known."""

    def __init__(self, folder: Path | None) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by __exit__
        self._peak = 0.0
        self._count = 0

    def __enter__(self) -> "_Spool":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def filled(self, pieces: Iterable[tuple[Exact, Exact]], given: Callable[[], None]) -> Iterator[tuple[Exact, Exact]]:
        """Takes all pieces in, and gives them again, with a call after each."""
        for mix, found in pieces:
            self._peak = max(self._peak, float(np.abs(found).max(initial=0.0)))
            for array in (mix, found):
                np.save(self._file, array)
            self._count += 1
        self._file.seek(0)
        return self._again(given)

    def _again(self, given: Callable[[], None]) -> Iterator[tuple[Exact, Exact]]:
        for _ in range(self._count):
            yield np.load(self._file), np.load(self._file)
            given()

    def gain(self, subtype: str) -> float:
        """What brings the peak down to full scale; 1 where it is not beyond."""
        return min(1.0, _highest(subtype) / self._peak) if self._peak > 0 else 1.0


class _Outputs:
    """Files that are written together under names of their own, and renamed together at the end.

    ``picture``: where one is to be drawn, if it is to be, which then goes to ``plot``.
    """

    def __init__(
        self,
        places: Mapping[str, str | Path],
        plot: Path | None,
        about: io.AudioInfo,
        container: str,
        subtype: str,
        names: dict[str, str],
    ) -> None:
        """``names`` is told which name stands for which."""
        self._subtype = subtype
        self._names = names
        self._stack = ExitStack()
        self._renames: dict[Path, Path] = {}
        self._writers: dict[str, io.Writer] = {}
        self.clipped: dict[str, int] = {}
        self.folder: Path | None = None
        if len(places) > 1 and any(str(place) == "-" for place in places.values()):
            raise InputError("standard output takes one stem; name it, or write to a folder")
        for name, place in places.items():
            target = self._renamed(Path(place)) if str(place) != "-" else place
            rate, channels = about.sample_rate, about.channels
            self._writers[name] = io.Writer(target, rate, channels, format=container, subtype=subtype)
        self.picture = None if plot is None else self._renamed(plot)

    def _renamed(self, place: Path) -> Path:
        """A name of its own beside the file that is to be at ``place``, which may be a link."""
        io.require_writable(place)
        target = Path(os.path.realpath(place))
        temporary = target.with_name(f".{secrets.token_hex(8)}{target.suffix}")
        self.folder = target.parent
        self._renames[temporary] = target
        self._names[str(temporary)] = str(place)
        return temporary

    @classmethod
    @contextmanager
    def open(
        cls, places: Mapping[str, str | Path], plot: Path | None, about: io.AudioInfo, container: str, subtype: str
    ) -> Iterator["_Outputs"]:
        with _named(places, {}) as names, output_folders(_folders(places, plot)):
            self = cls(places, plot, about, container, subtype, names)
            try:
                with self._stack:
                    for writer in self._writers.values():
                        self._stack.enter_context(writer)
                    yield self
            finally:
                for temporary in self._renames:
                    with suppress(OSError):
                        temporary.unlink(missing_ok=True)

    def write(self, samples: Mapping[str, Samples], *, clamp: bool) -> None:
        limited = clamp or self._subtype != "FLOAT"
        for name, block in samples.items():
            if limited:
                top = _highest(self._subtype)
                # Half a step over is rounding, not clipping: a mix of full scale 1.0 has no integer of its own.
                beyond = int(np.count_nonzero((block > 1.0) | (block < -1.0)))
                if beyond:
                    self.clipped[name] = self.clipped.get(name, 0) + beyond
                block = np.clip(block, -1.0, top)
            self._writers[name].write(block)

    def finish(self) -> None:
        """Close all files, then give them their names."""
        self._stack.close()
        for temporary, target in self._renames.items():
            with suppress(FileNotFoundError):
                shutil.copymode(target, temporary)
            temporary.replace(target)


def _folders(places: Mapping[str, str | Path], plot: Path | None) -> list[Path]:
    """Where results that are files go."""
    return [Path(p).parent for p in (*places.values(), plot) if p is not None and str(p) != "-"]


@contextmanager
def _named(places: Mapping[str, str | Path], names: dict[str, str]) -> Iterator[dict[str, str]]:
    """Errors of files tell the names that these are to have; whatever the operating system says is an InputError."""
    try:
        yield names
    except WavegenError as error:
        message = str(error)
        for temporary, target in names.items():
            message = message.replace(temporary, target)
        if message == str(error):
            raise
        raise InputError(message) from error
    except BrokenPipeError:
        raise
    except OSError as error:
        place = names.get(str(error.filename), error.filename) or next(iter(places.values()))
        raise InputError(f"{place}: {error.strerror or error}") from error


def check(model: Separator, how: Separation) -> None:
    """Raise what :func:`separate_file` would for any file, before the first."""
    how.outputs(model)
    plan(model, how.segment, how.overlap, how.shifts, torch.Generator().manual_seed(int(how.seed)))
