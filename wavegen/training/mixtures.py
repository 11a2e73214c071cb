"""Mixtures made while training: stems of songs, speakers over one another, a voice over music and noise.

A set draws an example (sources, channels, samples) from a generator of random numbers; the mix is the sum over the
sources. :func:`batch` gives it generators that follow from seed, step and place in the batch alone, so that a resumed
run, or one shared by several processes, sees the same examples.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache as cached
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from wavegen.audio.io import atomic, checked_rate, read
from wavegen.audio.resample import resample
from wavegen.errors import InputError
from wavegen.training.data import Utterance, WaveformSet, cache_key, cached_waveforms, require_batch, share
from wavegen.training.stem_folders import STEMS, Notes, StemFiles, StemLabels, read_labels

Samples = NDArray[np.float32]
Progress = Callable[[int, int], None]

UNVOICED, POLYPHONIC = -1, -2
"""In place of a MIDI pitch: no note sounds in the frame, or more than one does."""

SILENCE_DB = -60.0  # under which an excerpt counts as silent
VOICE_DB = -25.0  # of a voice where it speaks
TRIES = 4  # of an excerpt that is not silent


class MixtureSet(Protocol):
    """What examples are drawn from."""

    @property
    def sources(self) -> tuple[str, ...]: ...
    @property
    def sample_rate(self) -> int: ...
    @property
    def channels(self) -> int: ...
    def example(self, rng: np.random.Generator, seconds: float) -> Samples:
        """(sources, channels, samples)."""


def generator(seed: int, step: int, item: int) -> np.random.Generator:
    """The random numbers of one item of one step's batch."""
    return np.random.default_rng([seed, step, item])


def batch(
    data: MixtureSet, step: int, size: int, seconds: float, seed: int, *, rank: int = 0, world: int = 1
) -> Samples:
    """One process's part (items, sources, channels, samples) of a step's batch of ``size`` examples."""
    require_batch(size)
    return np.stack([data.example(generator(seed, step, k), seconds) for k in share(range(size), rank, world)])


def held_out(data: MixtureSet, count: int, seconds: float, seed: int = 0) -> Iterator[tuple[str, Samples]]:
    """``count`` examples that are always the same for a set and a seed, with names, to be scored on."""
    for number in range(count):
        yield f"{number:04d}", data.example(np.random.default_rng([seed, number]), seconds)


# ------------------------------------------------------------------------------------------------------- recordings


@dataclass(frozen=True)
class Recording:
    """int16 samples, interleaved, from byte ``offset`` of a file on.

    They are read anew each time, not mapped: a mapped file holds a descriptor, and a set has more files than a process
    may have open.
    """

    path: Path
    offset: int
    samples: int
    channels: int
    sample_rate: int

    @property
    def seconds(self) -> float:
        return self.samples / self.sample_rate

    def read(self, start: float, count: int, sample_rate: int, channels: int) -> Samples:
        """(channels, count) at a rate, from ``start`` seconds on; beyond the ends there is silence.

        One channel is the mean of two; two of one are the same. Another rate than the file's is resampled to.
        """
        if sample_rate == self.sample_rate:
            return _as_channels(self._cut(round(start * sample_rate), count), channels)
        margin = 0.02  # seconds in which the resampler settles
        first = round((start - margin) * self.sample_rate)
        wanted = round((count / sample_rate + 2 * margin) * self.sample_rate)
        wide = resample(_as_channels(self._cut(first, wanted), channels), self.sample_rate, sample_rate)
        skip = round(margin * sample_rate)
        return np.ascontiguousarray(wide[:, skip : skip + count])

    def _cut(self, first: int, count: int) -> Samples:
        low, high = max(0, first), min(self.samples, first + count)
        out = np.zeros((self.channels, count), np.float32)
        if high > low:
            where = self.offset + 2 * self.channels * low
            raw = np.fromfile(self.path, np.int16, (high - low) * self.channels, offset=where)
            out[:, low - first : high - first] = raw.reshape(-1, self.channels).T
            out *= np.float32(1 / 32768)
        return out


def _as_channels(samples: Samples, channels: int) -> Samples:
    if len(samples) == channels:
        return samples
    mono = samples.mean(axis=0, keepdims=True, dtype=np.float32)
    return mono if channels == 1 else np.repeat(mono, channels, axis=0)


def recording(path: Path, cache: Path | None) -> Recording:
    """A sound file to take excerpts from.

    An .npy file, int16 (samples, channels), is used as it is: its rate is the "sample_rate" of the labels.json beside
    it. Anything else is decoded once into such a file in ``cache``. InputError for what is neither.
    """
    if path.suffix == ".npy":
        return _npy(path, _labelled_rate(path.parent))
    if cache is None:
        raise InputError(f"{path}: sound files are decoded into a cache folder, and none is given")
    stat = path.stat()
    key = cache_key("stem-1", str(path.resolve()), stat.st_size, stat.st_mtime_ns)
    facts = cache / f"stem-{key}.json"
    target = facts.with_suffix(".npy")
    if not (facts.is_file() and target.is_file()):
        audio = read(path)
        cache.mkdir(parents=True, exist_ok=True)
        with atomic(target) as temporary, open(temporary, "wb") as file:
            np.save(file, np.clip(np.round(audio.samples.T * 32768.0), -32768, 32767).astype(np.int16, order="C"))
        with atomic(facts) as temporary:
            temporary.write_text(json.dumps({"sample_rate": audio.sample_rate}))
    return _npy(target, int(json.loads(facts.read_text())["sample_rate"]))


@lru_cache(maxsize=16)
def _labelled_rate(folder: Path) -> int:
    try:
        return checked_rate(json.loads((folder / "labels.json").read_text(encoding="utf-8"))["sample_rate"])
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{folder}: no labels.json that says the sample_rate of its .npy files") from None


def _npy(path: Path, sample_rate: int) -> Recording:
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, fortran, dtype = header(file)
            offset = file.tell()
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not an array file ({error})") from None
    if len(shape) != 2 or dtype != np.int16 or fortran or shape[1] not in (1, 2) or not shape[0]:
        raise InputError(f"{path}: stems are int16 (samples, 1 or 2) in C order, not {dtype} {shape}")
    if path.stat().st_size < offset + 2 * shape[0] * shape[1]:
        raise InputError(f"{path}: cut short")
    return Recording(path, offset, shape[0], shape[1], sample_rate)


# ------------------------------------------------------------------------------------------------------------ songs


@dataclass(frozen=True)
class Augmentation:
    """How stems are changed on their way into a mix.

    remix: the share of examples whose sources come from songs and places of their own. gain_db: of each source.
    flip, swap: the chance that a source's polarity is turned, or its channels exchanged. silent: the chance that a
    source is left out; the last one that sounds never is. transpose: by how many semitones, at random from one number
    to another, each source of a remixed example is played faster or slower. lowpass: the chance that all sources
    together lose what is above some frequency, so that no source is told by where it ends; mono: that they are all
    mono, so that none is told by that.
    """

    remix: float = 0.5
    gain_db: tuple[float, float] = (-6.0, 6.0)
    flip: float = 0.5
    swap: float = 0.5
    silent: float = 0.05
    transpose: tuple[int, int] = (0, 0)
    lowpass: float = 0.0
    mono: float = 0.0

    def __post_init__(self) -> None:
        for name in ("remix", "flip", "swap", "silent", "lowpass", "mono"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"Augmentation.{name} must be a chance, from 0 to 1, not {getattr(self, name)}")
        whole = all(isinstance(semitones, int) for semitones in self.transpose)
        if len(self.transpose) != 2 or not whole or not -12 <= self.transpose[0] <= self.transpose[1] <= 12:
            raise InputError(f"Augmentation.transpose must be two whole numbers from -12 to 12, not {self.transpose}")
        if len(self.gain_db) != 2 or not -60 <= self.gain_db[0] <= self.gain_db[1] <= 60:
            raise InputError(f"Augmentation.gain_db must be two values from -60 to 60 dB, not {self.gain_db}")


PLAIN = Augmentation(remix=0.0, gain_db=(0.0, 0.0), flip=0.0, swap=0.0, silent=0.0)
"""Excerpts of the songs as they are."""


@dataclass(frozen=True)
class Song:
    """A piece's stems, ready to be cut from."""

    id: str
    stems: Mapping[str, tuple[Recording, ...]]
    labels: Path | None

    @property
    def seconds(self) -> float:
        return max(part.seconds for parts in self.stems.values() for part in parts)


@dataclass(frozen=True)
class LabelledExample:
    """An example and what is played in it.

    sources (sources, channels, samples). pitches (sources, frames): MIDI pitch, UNVOICED or POLYPHONIC at the frames'
    centres, which stand at multiples of the hop; frames = samples // hop + 1. families (sources,): the place of the
    source's stem in STEMS, -1 where it has several or none. labelled (sources,): whether its notes are known.
    """

    sources: Samples
    pitches: NDArray[np.int64]
    families: NDArray[np.int64]
    labelled: NDArray[np.bool_]


@dataclass(frozen=True)
class _Cut:
    """Where a source is taken from, and by how many semitones it is played faster; no stems: silence."""

    song: int
    start: float
    stems: tuple[str, ...]
    semitones: int = 0

    @property
    def speed(self) -> float:
        return float(2 ** (self.semitones / 12))


class StemSet:
    """Excerpts of songs as named sources.

    groups: the stems that make up each source; by default the stem of that name, and for "other" every stem that no
    other source takes. solo: a source is one stem of its group, chosen at random, not their sum; ``monophonic``: one
    whose labels say that its notes never sound together (drums are exempt). weights: of the items, how often each is
    drawn. Sound files other than .npy are decoded into ``cache`` once. InputError if no item has a certain source, but
    with ``require_all`` False, which gives silence.
    """

    def __init__(
        self,
        items: Sequence[StemFiles],
        sources: Sequence[str],
        *,
        sample_rate: int = 44100,
        channels: int = 2,
        groups: Mapping[str, Collection[str]] | None = None,
        solo: bool = False,
        monophonic: bool = False,
        augmentation: Augmentation | None = None,
        weights: Sequence[float] | None = None,
        require_all: bool = True,
        cache: Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.sources = tuple(sources)
        self.sample_rate, self.channels = checked_rate(sample_rate), channels
        if channels not in (1, 2):
            raise InputError(f"a set of stems has 1 or 2 channels, not {channels}")
        if monophonic and not solo:
            raise InputError("monophonic stems are chosen one by one: that needs solo")
        self.solo, self.augmentation = solo, augmentation or Augmentation()
        self._labels = cached(read_labels)
        self.songs: list[Song] = []
        for done, item in enumerate(items):
            stems = {name: tuple(recording(path, cache) for path in paths) for name, paths in item.stems.items()}
            self.songs.append(Song(item.id, stems, item.labels))
            if progress is not None:
                progress(done + 1, len(items))
        taken = {stem for name in self.sources if name != "other" for stem in (groups or {}).get(name, (name,))}
        self._stems = [
            {name: self._of_source(song, name, groups or {}, taken, monophonic) for name in self.sources}
            for song in self.songs
        ]
        share = np.ones(len(items)) if weights is None else np.asarray(weights, np.float64)
        if share.shape != (len(items),) or not (share >= 0).all():
            raise InputError(f"weights: one number of 0 or more for each of {len(items)} items is needed")
        self._chances: dict[str, NDArray[np.float64]] = {}
        for name in self.sources:
            own = share * [bool(stems[name]) for stems in self._stems]
            if own.sum() > 0:
                self._chances[name] = own / own.sum()
            elif require_all:
                raise InputError(f"no item has a stem for the source {name!r}")
        whole = share * [any(stems.values()) for stems in self._stems]
        if solo:  # one that lacks a source says nothing of how to tell it from the others
            whole = share * [all(stems.values()) for stems in self._stems]
        self._coherent = whole / whole.sum() if whole.sum() > 0 else None

    def _of_source(
        self, song: Song, name: str, groups: Mapping[str, Collection[str]], taken: set[str], monophonic: bool
    ) -> tuple[str, ...]:
        own = groups.get(name)
        if own is None:
            own = [stem for stem in song.stems if stem not in taken] if name == "other" else (name,)
        stems = tuple(stem for stem in song.stems if stem in own)
        return tuple(s for s in stems if s == "drums" or self._notes(song, s).monophonic) if monophonic else stems

    def _notes(self, song: Song, stem: str) -> StemLabels:
        known = {} if song.labels is None else self._labels(song.labels)
        return known.get(stem) or StemLabels(np.empty((0, 5)), False)

    def example(self, rng: np.random.Generator, seconds: float) -> Samples:
        """(sources, channels, samples): excerpts, augmented; zeros where a source does not play."""
        return self._draw(rng, seconds)[1]

    def labelled_example(self, rng: np.random.Generator, seconds: float, hop: int) -> LabelledExample:
        """The same example as :meth:`example` draws, with its labels every ``hop`` samples."""
        cuts, sources = self._draw(rng, seconds)
        frames = sources.shape[-1] // hop + 1
        pitches = np.full((len(cuts), frames), UNVOICED, np.int64)
        families = np.full(len(cuts), -1, np.int64)
        labelled = np.zeros(len(cuts), np.bool_)
        for place, cut in enumerate(cuts):
            song = self.songs[cut.song]
            if song.labels is None or any(stem not in self._labels(song.labels) for stem in cut.stems):
                continue
            labelled[place] = True
            if len(cut.stems) == 1:
                families[place] = STEMS.index(cut.stems[0]) if cut.stems[0] in STEMS else -1
            tuned = [self._notes(song, stem).notes for stem in cut.stems if stem != "drums"]
            if tuned:
                notes = np.concatenate(tuned)
                notes[:, :2] = cut.start + (notes[:, :2] - cut.start) / cut.speed
                notes[:, 2] = np.clip(notes[:, 2] + cut.semitones, 0, 127)
                pitches[place] = frame_pitches(notes, cut.start, frames, hop, self.sample_rate)
        return LabelledExample(sources, pitches, families, labelled)

    def song(self, index: int, *, start: float = 0.0, seconds: float | None = None) -> Samples:
        """Sources (sources, channels, samples) of one song as they are, or a part of it; the whole groups, no solos."""
        song = self.songs[index]
        count = round((song.seconds - start if seconds is None else seconds) * self.sample_rate)
        return np.stack([self._cut(_Cut(index, start, self._stems[index][name]), count) for name in self.sources])

    def _draw(self, rng: np.random.Generator, seconds: float) -> tuple[list[_Cut], Samples]:
        count = samples_in(seconds, self.sample_rate)
        change = self.augmentation
        remix = self._coherent is None or rng.random() < change.remix
        cuts, parts = self._remixed(rng, seconds, count) if remix else self._excerpt(rng, seconds, count)
        sounding = [k for k, part in enumerate(parts) if not _silent(part)]
        left_out = [k for k in sounding if rng.random() < change.silent]
        for place in left_out if len(left_out) < len(sounding) else left_out[1:]:
            cuts[place] = _Cut(cuts[place].song, cuts[place].start, ())
            parts[place][:] = 0
        for part in parts:
            gain = 10 ** (rng.uniform(*change.gain_db) / 20)
            part *= np.float32(-gain if rng.random() < change.flip else gain)
            if rng.random() < change.swap:
                part[:] = part[::-1].copy()
        sources = np.stack(parts)
        if change.lowpass and rng.random() < change.lowpass:
            sources = lowpassed(sources, self.sample_rate, rng)
        if change.mono and rng.random() < change.mono:
            sources[:] = sources.mean(axis=1, keepdims=True)
        return cuts, sources

    def _excerpt(self, rng: np.random.Generator, seconds: float, count: int) -> tuple[list[_Cut], list[Samples]]:
        """All sources from one place of one song."""
        for last in (False,) * (TRIES - 1) + (True,):
            index = int(rng.choice(len(self.songs), p=self._coherent))
            start = self._place(rng, self.songs[index], seconds)
            cuts: list[_Cut] = []
            for name in self.sources:
                used = {stem for cut in cuts for stem in cut.stems}
                cuts.append(_Cut(index, start, self._chosen(rng, index, name, used)))
            parts = [self._cut(cut, count) for cut in cuts]
            if last or not all(map(_silent, parts)):
                break
        return cuts, parts

    def _remixed(self, rng: np.random.Generator, seconds: float, count: int) -> tuple[list[_Cut], list[Samples]]:
        """Each source from a place of its own, where it sounds."""
        cuts, parts = [], []
        for name in self.sources:
            if name not in self._chances:
                cuts.append(_Cut(0, 0.0, ()))
                parts.append(np.zeros((self.channels, count), np.float32))
                continue
            for last in (False,) * (TRIES - 1) + (True,):
                index = int(rng.choice(len(self.songs), p=self._chances[name]))
                low, high = self.augmentation.transpose
                semitones = int(rng.integers(low, high + 1)) if low < high else low
                start = self._place(rng, self.songs[index], seconds * 2 ** (semitones / 12))
                cut = _Cut(index, start, self._chosen(rng, index, name, set()), semitones)
                part = self._cut(cut, count)
                if last or not _silent(part):
                    break
            cuts.append(cut)
            parts.append(part)
        return cuts, parts

    def _chosen(self, rng: np.random.Generator, index: int, name: str, used: set[str]) -> tuple[str, ...]:
        stems = self._stems[index][name]
        if not self.solo:
            return stems
        free = [stem for stem in stems if stem not in used]
        return (free[rng.integers(len(free))],) if free else ()

    @staticmethod
    def _place(rng: np.random.Generator, song: Song, seconds: float) -> float:
        return float(rng.uniform(0, max(0.0, song.seconds - seconds)))

    def _cut(self, cut: _Cut, count: int) -> Samples:
        total = np.zeros((self.channels, count), np.float32)
        for stem in cut.stems:
            for part in self.songs[cut.song].stems[stem]:
                total += part.read(cut.start, count, round(self.sample_rate / cut.speed), self.channels)
        return total


def frame_pitches(notes: Notes, start: float, frames: int, hop: int, sample_rate: int) -> NDArray[np.int64]:
    """The MIDI pitch (frames,) that sounds at start + k·hop/sample_rate seconds, UNVOICED or POLYPHONIC.

    Where a note goes on up to 30 ms into the next, the next counts.
    """
    times = start + np.arange(frames) * (hop / sample_rate)
    pitches = np.full(frames, UNVOICED, np.int64)
    ends = np.full(frames, -np.inf)
    for onset, offset, pitch, *_ in notes[np.argsort(notes[:, 0], kind="stable")]:
        low, high = np.searchsorted(times, (onset, offset))
        here = slice(low, high)
        clash = (ends[here] > onset + 0.03) & (pitches[here] != pitch)
        pitches[here] = np.where(clash, POLYPHONIC, pitch)
        ends[here] = np.maximum(ends[here], offset)
    return pitches


def samples_in(seconds: float, sample_rate: int) -> int:
    """The samples of an example; InputError unless there is one at least."""
    count = round(seconds * sample_rate)
    if count < 1:
        raise InputError(f"an example must last at least a sample, not {seconds} s")
    return count


def _silent(samples: Samples) -> bool:
    return bool(np.square(samples).mean() < 10 ** (SILENCE_DB / 10))


# --------------------------------------------------------------------------------------------------------- speakers


def split_speakers(speakers: Mapping[str, Sequence[Path]], split: str) -> dict[str, list[Path]]:
    """The speakers of a split (about 80, 10 and 10 % of them), by a digest of their names alone."""
    if split not in ("train", "validation", "test"):
        raise InputError(f"split {split!r}; there are train, validation, test")
    return {name: list(files) for name, files in speakers.items() if _part(name) == split}


def _part(name: str) -> str:
    bucket = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") % 10
    return "test" if bucket == 0 else "validation" if bucket == 1 else "train"


class Voices:
    """Recordings by speaker, decoded into ``cache`` once: mono, levelled, without silence at their ends."""

    def __init__(
        self,
        speakers: Mapping[str, Sequence[Path]],
        sample_rate: int,
        cache: Path,
        *,
        speed: tuple[float, float] = (1.0, 1.0),
        progress: Progress | None = None,
    ) -> None:
        if not 0.5 <= speed[0] <= speed[1] <= 2:
            raise InputError(f"speed must be two factors from 0.5 to 2, not {speed}")
        files = [Utterance(str(path), "", path) for paths in speakers.values() for path in paths]
        if not files:
            raise InputError("there are no recordings of speakers")
        self.waveforms: WaveformSet = cached_waveforms(files, checked_rate(sample_rate), cache, progress)
        self.names = list(speakers)
        self._items: list[range] = []
        first = 0
        for paths in speakers.values():
            if not paths:
                raise InputError(f"speaker {self.names[len(self._items)]} has no recordings")
            self._items.append(range(first, first + len(paths)))
            first += len(paths)
        self._speed = (round(100 * speed[0]), round(100 * speed[1]))

    def excerpt(self, rng: np.random.Generator, speaker: int, count: int) -> Samples:
        """(count,): a passage of a speaker, of several recordings where one is too short, at a random speed.

        The speed changes pitch and formants, too: it makes other speakers of the same ones.
        """
        percent = int(rng.integers(self._speed[0], self._speed[1] + 1))
        wanted = count * percent // 100 + 1
        pieces: list[Samples] = []
        while sum(map(len, pieces)) < wanted and len(pieces) < 100:
            item = int(rng.choice(self._items[speaker]))
            missing = wanted - sum(map(len, pieces))
            start = int(rng.integers(0, max(1, self.waveforms.length(item) - missing + 1)))
            pieces.append(self.waveforms.waveform(item, start, missing))
        joined = np.concatenate(pieces)
        if percent != 100:
            joined = resample(joined, percent, 100)
        return np.pad(joined[:count], (0, max(0, count - len(joined))))


class SpeakerSet:
    """Two or more speakers over one another, mono.

    level_db: of each against the first. overlap: the share of the example in which all speak (1: from beginning to
    end); the others begin later or end earlier. speed: see :class:`Voices`.
    """

    channels = 1

    def __init__(
        self,
        speakers: Mapping[str, Sequence[Path]],
        *,
        sample_rate: int = 16000,
        cache: Path,
        count: int = 2,
        level_db: tuple[float, float] = (-5.0, 5.0),
        overlap: tuple[float, float] = (0.6, 1.0),
        speed: tuple[float, float] = (1.0, 1.0),
        progress: Progress | None = None,
    ) -> None:
        if not 2 <= count <= len(speakers):
            raise InputError(f"{count} of {len(speakers)} speakers cannot be mixed; at least 2 are")
        if not 0 <= overlap[0] <= overlap[1] <= 1 or not level_db[0] <= level_db[1]:
            raise InputError(f"overlap {overlap} and level_db {level_db} must be ranges, the overlap's within 0–1")
        self.sources = tuple(f"speaker{number + 1}" for number in range(count))
        self.sample_rate, self.level_db, self.overlap = sample_rate, level_db, overlap
        self.voices = Voices(speakers, sample_rate, cache, speed=speed, progress=progress)

    def example(self, rng: np.random.Generator, seconds: float) -> Samples:
        """(speakers, 1, samples); levels are those of the passages that are spoken in."""
        count = samples_in(seconds, self.sample_rate)
        chosen = rng.choice(len(self.voices.names), len(self.sources), replace=False)
        gap = round(count * (1 - rng.uniform(*self.overlap)))
        out = np.zeros((len(chosen), 1, count), np.float32)
        for place, speaker in enumerate(chosen):
            first, last = (0, count)
            if gap and place % 2 == 0:
                last = count - int(rng.integers(0, gap + 1))
            elif gap:
                first = int(rng.integers(0, gap + 1))
            part = self.voices.excerpt(rng, int(speaker), max(1, last - first))
            level = 0.0 if place == 0 else rng.uniform(*self.level_db)
            out[place, 0, first : first + len(part)] = _levelled(part, self.sample_rate, VOICE_DB + level)
        return out


class VoiceBackgroundSet:
    """A voice over music or noise: the sources "voice" and "background", mono.

    backgrounds: songs; a random choice of their stems but vocals sounds. noise: the chance of coloured noise instead of
    music (always, without songs). snr_db: of the voice to the background. reverb: the chance that the voice stands in
    a room, with which it is to be separated.
    """

    channels = 1
    sources = ("voice", "background")

    def __init__(
        self,
        speakers: Mapping[str, Sequence[Path]],
        backgrounds: Sequence[StemFiles],
        *,
        sample_rate: int = 16000,
        cache: Path,
        snr_db: tuple[float, float] = (-5.0, 10.0),
        noise: float = 0.3,
        reverb: float = 0.3,
        speed: tuple[float, float] = (1.0, 1.0),
        progress: Progress | None = None,
    ) -> None:
        if not snr_db[0] <= snr_db[1] or not 0 <= noise <= 1 or not 0 <= reverb <= 1:
            raise InputError(f"snr_db {snr_db} must be a range, noise {noise} and reverb {reverb} chances")
        self.sample_rate, self.snr_db, self.noise, self.reverb = sample_rate, snr_db, noise, reverb
        self.voices = Voices(speakers, sample_rate, cache, speed=speed, progress=progress)
        self.songs = []
        for item in backgrounds:
            stems = {s: tuple(recording(p, cache) for p in ps) for s, ps in item.stems.items() if s != "vocals"}
            if stems:
                self.songs.append(Song(item.id, stems, None))

    def example(self, rng: np.random.Generator, seconds: float) -> Samples:
        """(2, 1, samples)."""
        count = samples_in(seconds, self.sample_rate)
        voice = self.voices.excerpt(rng, int(rng.integers(len(self.voices.names))), count)
        if rng.random() < self.reverb:
            voice = in_room(voice, self.sample_rate, rng)
        background = self._background(rng, count)
        snr = rng.uniform(*self.snr_db)
        voice = _levelled(voice, self.sample_rate, VOICE_DB)
        background = _levelled(background, self.sample_rate, VOICE_DB - snr)
        return np.stack([voice, background])[:, None]

    def _background(self, rng: np.random.Generator, count: int) -> Samples:
        if self.songs and rng.random() >= self.noise:
            for _ in range(TRIES):
                song = self.songs[rng.integers(len(self.songs))]
                names = [name for name in song.stems if rng.random() < 0.7] or list(song.stems)
                start = rng.uniform(0, max(0.0, song.seconds - count / self.sample_rate))
                parts = [part for name in names for part in song.stems[name]]
                total = sum(part.read(start, count, self.sample_rate, 1)[0] for part in parts)
                if not _silent(np.asarray(total)):
                    return np.asarray(total, np.float32)
        return coloured_noise(count, self.sample_rate, rng)


def coloured_noise(count: int, sample_rate: int, rng: np.random.Generator) -> Samples:
    """Noise (count,) whose power falls by 0 to 6 dB an octave, in a random band, swelling slowly; RMS about 1."""
    spectrum = np.fft.rfft(rng.standard_normal(count))
    hertz = np.fft.rfftfreq(count, 1 / sample_rate)
    low, high = 10 ** rng.uniform(1.3, 2.7), sample_rate / 2 * rng.uniform(0.3, 1.0)
    spectrum *= np.maximum(hertz, 20.0) ** (-rng.uniform(0, 1)) / (1 + (hertz / high) ** 8) * hertz / (hertz + low)
    noise = np.fft.irfft(spectrum, count)
    knots = 2 + 2 * count // sample_rate
    swell = 10 ** (rng.uniform(-6, 6, knots) * rng.uniform(0, 1) / 20)
    noise *= np.interp(np.arange(count), np.linspace(0, count, knots), swell)
    return np.asarray(noise / max(1e-12, float(np.sqrt(np.square(noise).mean()))), np.float32)


def lowpassed(samples: Samples, sample_rate: int, rng: np.random.Generator) -> Samples:
    """(..., samples) without what is above a random frequency, 2 kHz at least; gently or all at once, without delay."""
    count = samples.shape[-1]
    edge = 2000.0 * (sample_rate / 2 / 2000.0) ** rng.uniform(0, 1)
    steepness = 2 ** rng.uniform(2, 7)
    hertz = np.fft.rfftfreq(count, 1 / sample_rate)
    kept = 1 / (1 + np.minimum(hertz / edge, 4.0) ** (2 * steepness))
    return np.fft.irfft(np.fft.rfft(samples) * kept, count).astype(np.float32)


def in_room(samples: Samples, sample_rate: int, rng: np.random.Generator) -> Samples:
    """(samples,) with the decaying tail of a room: T60 of 0.1 to 0.6 s, 3 to 18 dB under the direct sound."""
    decay, ratio = rng.uniform(0.1, 0.6), 10 ** (-rng.uniform(3, 18) / 20)
    tail = rng.standard_normal(max(2, round(decay * sample_rate)))
    tail *= 10 ** (-3 * np.arange(len(tail)) / len(tail))
    tail *= ratio / np.sqrt(np.square(tail).sum())
    tail[0] = 1.0
    size = 1 << (len(samples) + len(tail) - 1).bit_length()
    return np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(tail, size), size)[: len(samples)].astype(np.float32)


def active_rms(samples: Samples, sample_rate: int) -> float:
    """The RMS of (channels, samples) over the blocks of 50 ms that are less than 40 dB under the loudest; 0: silence.

    Of less than a block, that of the whole.
    """
    block = min(samples.shape[-1], max(1, sample_rate // 20))
    blocks = samples[:, : samples.shape[-1] // block * block].reshape(len(samples), -1, block)
    power = np.square(blocks, dtype=np.float64).mean(axis=(0, 2))
    loud = power[power > power.max() * 1e-4]
    return float(np.sqrt(loud.mean())) if len(loud) else 0.0


def _levelled(samples: Samples, sample_rate: int, level_db: float) -> Samples:
    """(samples,) so loud where it sounds; silence stays."""
    rms = active_rms(samples[None], sample_rate)
    return samples * np.float32(10 ** (level_db / 20) / rms) if rms > 0 else samples
