"""The jobs as plain functions: text → audio, mel → audio, audio → mel → audio.

Every function takes the names or files of models, checks its arguments (InputError names the argument and its range)
and gives back audio. Models are loaded once and kept for the next call.
"""

import dataclasses
import functools
import json
import numbers
import os
import re
import select
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol, TypedDict, Unpack, cast

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from torch import Tensor

from wavegen import checkpoints
from wavegen.audio import io
from wavegen.audio.features import CONVENTIONS, FeatureSpec, StreamingMel, convert_mel
from wavegen.audio.io import Audio
from wavegen.audio.resample import StreamResampler, resample
from wavegen.checkpoints.registry import DEFAULTS
from wavegen.errors import CheckpointError, InputError
from wavegen.nn.device import usable_device
from wavegen.text import Pause, Utterance, analyse
from wavegen.vocoders.base import Vocoder
from wavegen.vocoders.griffin_lim import GriffinLim, Refined

SPEED = (0.25, 4.0)
PITCH = (-12.0, 12.0)  # semitones
ENERGY = (0.25, 4.0)
VARIATION = (0.0, 1.0)
SENTENCE_SILENCE = (0.0, 10.0)  # seconds
SAMPLE_RATE = (4000, 384000)  # Hz
SEED = (0, 2**63 - 1)
TEMPERATURE = (0.0, 100.0)
TOP_K = (0, 1024)  # classes
TOP_P = (0.0, 1.0)
PEAK = 0.99
GRIFFIN_LIM = "griffin-lim"
REFINE = (0, 64)  # iterations
BLOCK = 1 << 16  # samples read at a time in copy-synthesis
LONGEST_BLOCK = 16  # seconds of them: a low rate would make many of few
FRAMES = 256  # vocoded at a time in copy-synthesis
MANY_CHANNELS = 32  # beyond, less is taken of each at a time
SPOOL = 1 << 26  # bytes of a pipe kept in memory before they go to disk
WAIT_MS = 200  # for a pipe, before looking whether to go on


class SamplingOptions(TypedDict, total=False):
    """How a vocoder draws its samples: see :class:`wavegen.vocoders.wavenet.Sampling`. None is as if not given."""

    temperature: float | None
    top_k: int | None
    top_p: float | None
    precision: str | None


class SeededOptions(SamplingOptions, total=False):
    """The same with the seed, where it is not an argument of its own."""

    seed: int | None


class SpeechModel(Protocol):
    """What an acoustic model of speech offers."""

    spec: FeatureSpec

    @property
    def pitch_range(self) -> tuple[float, float]: ...

    def synthesize(
        self,
        phonemes: Sequence[str],
        *,
        speed: float,
        pitch_shift: float,
        energy: float,
        variation: float,
        generator: torch.Generator | None,
    ) -> Tensor: ...


class SpeechStream(Iterator[NDArray[np.float32]]):
    """Speech as it is made: float32 samples (n,) in [-1, 1], one array a sentence or pause, at ``sample_rate``.

    ``seconds`` counts the audio given so far, ``busy`` the seconds that its making took.
    """

    def __init__(self, chunks: Iterator[NDArray[np.float32]], sample_rate: int) -> None:
        self._chunks = chunks
        self.sample_rate = sample_rate
        self.seconds = 0.0
        self.busy = 0.0

    def __next__(self) -> NDArray[np.float32]:
        start = time.perf_counter()
        chunk = next(self._chunks)
        self.busy += time.perf_counter() - start
        self.seconds += len(chunk) / self.sample_rate
        return chunk


def speak_stream(
    text: str,
    *,
    model: str = "default",
    vocoder: str = "default",
    speed: float = 1.0,
    pitch: float = 0.0,
    energy: float = 1.0,
    variation: float = 0.3,
    seed: int = 0,
    sentence_silence: float = 0.15,
    sample_rate: int | None = None,
    device: str = "cpu",
    **sampling: Unpack[SamplingOptions],
) -> SpeechStream:
    """Speak ``text`` sentence by sentence. Arguments are checked and models loaded at the call, not at the first chunk.

    ``model`` and ``vocoder`` are names of shipped models or checkpoint files, ``vocoder`` also "griffin-lim".
    ``speed`` is a factor in 0.25-4, ``pitch`` a shift of -12 to 12 semitones (beyond the voice's own range its timbre
    shifts too), ``energy`` a factor on the amplitude in 0.25-4, ``variation`` (0-1) how much timing and pitch differ
    from seed to seed, ``sentence_silence`` the seconds (0-10) between two sentences, ``sample_rate`` (4000-384000 Hz)
    by default the models' own. The same ``seed`` gives the same samples; it is that of a vocoder that samples too,
    whose other options are ``sampling``, as in :func:`load_vocoder`. A sentence whose peak would exceed 0.99 is scaled
    down to it.

    Raises InputError for a text without anything to say or an argument out of range, CheckpointError for a bad model.
    """
    speed = in_range("speed", speed, SPEED)
    pitch = in_range("pitch", pitch, PITCH)
    energy = in_range("energy", energy, ENERGY)
    variation = in_range("variation", variation, VARIATION)
    seed = whole("seed", seed, SEED)
    sentence_silence = in_range("sentence_silence", sentence_silence, SENTENCE_SILENCE)
    if sample_rate is not None:
        in_range("sample_rate", sample_rate, SAMPLE_RATE)
        sample_rate = io.checked_rate(sample_rate)
    if not isinstance(text, str):
        raise InputError(f"text: must be a string, not {type(text).__name__}")
    script = analyse(text)
    speech = cast(SpeechModel, ready_model(model, "speech", device))
    voice = load_vocoder(vocoder, device, speech.spec, **sampling)
    if voice.sampling is not None:
        voice = voice.with_sampling(dataclasses.replace(voice.sampling, seed=seed))
    speech.spec.require(voice.spec, f"speech model {model} and vocoder {vocoder} do not fit")
    rate = sample_rate or speech.spec.sample_rate
    low, high = speech.pitch_range
    within = min(max(pitch, low), high)
    # Beyond what the voice follows, the waveform is played slower or faster, and spoken faster or slower for that.
    played = 2 ** ((pitch - within) / 12)
    generator = torch.Generator().manual_seed(seed)

    def sentence(item: Utterance) -> NDArray[np.float32]:
        with torch.inference_mode():
            mel = speech.synthesize(
                item.phonemes,
                speed=speed / played,
                pitch_shift=within,
                energy=energy,
                variation=variation,
                generator=generator,
            )
            wave = vocoded(voice(mel))[0]
        return unclipped(resample(wave, round(speech.spec.sample_rate * played), rate))

    def chunks() -> Iterator[NDArray[np.float32]]:
        before: Utterance | Pause | None = None
        for item in script:
            if isinstance(item, Pause):
                yield _silence(item.seconds, rate)
            else:
                if isinstance(before, Utterance) and sentence_silence > 0:
                    yield _silence(sentence_silence, rate)
                yield sentence(item)
            before = item

    return SpeechStream(chunks(), rate)


def speak(text: str, **options: Any) -> Audio:
    """Speak ``text``: mono audio. Takes the arguments of :func:`speak_stream`, and is its chunks put together."""
    stream = speak_stream(text, **options)
    return Audio(np.concatenate(list(stream))[None], stream.sample_rate)


def render(
    mel: NDArray[np.floating[Any]],
    *,
    spec: FeatureSpec | None = None,
    convert: bool = False,
    vocoder: str = "default",
    refine: int | None = None,
    device: str = "cpu",
    name: str = "mel",
    **sampling: Unpack[SeededOptions],
) -> Audio:
    """The waveform of a log-mel (bands, frames) or (1, bands, frames): mono audio of frames × hop samples.

    ``spec`` is the mel's convention, by default the vocoder's own. Another one than the vocoder's is an InputError that
    names the fields, unless ``convert`` is set: then the mel is converted first, which loses some detail. ``refine``
    (None: the vocoder's own) and ``sampling`` are as in :func:`load_vocoder`. A peak over 0.99 is scaled down to it.
    ``name`` is what errors call the mel.
    """
    x = _mel_tensor(mel, name)
    if spec is not None and not isinstance(spec, FeatureSpec):
        raise InputError(f"spec: must be a FeatureSpec, not {type(spec).__name__}")
    voice = load_vocoder(vocoder, device, spec, refine=refine, **sampling)
    source = spec or voice.spec
    if x.shape[1] != source.bands:
        hint = "; is it transposed?" if x.shape[2] == source.bands else "; name its convention with spec (--spec)"
        raise InputError(f"{name}: has {x.shape[1]} bands, but its convention has {source.bands}{hint}")
    if convert:
        x = convert_mel(x, source, voice.spec)
    else:
        source.require(voice.spec, f"{name}: does not fit vocoder {vocoder}")
    with torch.inference_mode():
        return Audio(unclipped(vocoded(voice(x.to(device)))), voice.spec.sample_rate)


def read_mel(path: Path) -> tuple[NDArray[np.floating[Any]], FeatureSpec | None]:
    """A mel file and the convention it states, if any.

    ``.npy`` holds the array; ``.npz`` holds it as "mel", with an optional "spec", a convention's name or a JSON string
    of FeatureSpec fields; ``.pt`` holds a tensor, or a dict with "mel" and an optional "spec", and is read with
    ``weights_only``.
    """
    readers = {".npy": _read_npy, ".npz": _read_npz, ".pt": _read_pt}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path}: a mel is read from .npy, .npz or .pt files")
    try:
        mel, fields = reader(path)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    except KeyError:
        raise InputError(f'{path}: holds no "mel"') from None
    except InputError:
        raise
    except Exception as error:  # the readers raise nearly anything for a damaged file
        raise InputError(f"{path}: not a readable mel file ({type(error).__name__})") from None
    if not isinstance(mel, np.ndarray):
        raise InputError(f'{path}: "mel" is not an array')
    return mel, None if fields is None else _spec(fields, str(path))


class _SpecLoader(yaml.SafeLoader):
    """YAML 1.1 takes 1e-05, as JSON writes it, for a string; this takes it for the number it is."""


_SpecLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), "-+0123456789"
)


def read_spec(name: str) -> FeatureSpec:
    """A mel convention by its name in CONVENTIONS, or from a JSON or YAML file of FeatureSpec fields."""
    if name in CONVENTIONS:
        return CONVENTIONS[name]
    path = Path(name)
    if path.suffix.lower() not in (".json", ".yaml", ".yml"):
        raise InputError(f"no mel convention {name!r}; known are {', '.join(CONVENTIONS)}, or a .json or .yaml file")
    try:
        fields = yaml.load(path.read_text(encoding="utf-8"), _SpecLoader)  # JSON is YAML
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    except Exception:  # beside YAMLError, nearly anything where a value does not fit its YAML type
        raise InputError(f"{path}: not valid JSON or YAML") from None
    return _spec(fields, str(path))


def resynth(
    audio: Audio,
    *,
    vocoder: str = "default",
    refine: int | None = None,
    device: str = "cpu",
    **sampling: Unpack[SeededOptions],
) -> Audio:
    """Copy-synthesis: audio → mel → audio of the same rate, channels and length. Its peaks may pass 1.

    ``refine`` (None: the vocoder's own) and ``sampling`` are as in :func:`load_vocoder`.
    """
    if not isinstance(audio, Audio):
        raise InputError(f"audio: must be a wavegen.Audio, not {type(audio).__name__}")
    if audio.samples.shape[1] == 0:
        raise InputError("audio: holds no samples")
    voice = load_vocoder(vocoder, device, refine=refine, **sampling)
    rate, channels = audio.sample_rate, audio.channels
    # Blocks as of a file: the mels are then the same to the bit, and so are samples that are drawn from them.
    blocks = np.split(
        audio.samples, range(_block(rate, channels), audio.samples.shape[1], _block(rate, channels)), axis=1
    )
    return Audio(np.concatenate(list(_resynthesize(blocks, rate, channels, voice, device)), axis=1), rate)


def resynth_file(
    source: str | Path,
    target: str | Path,
    *,
    vocoder: str = "default",
    refine: int | None = None,
    device: str = "cpu",
    subtype: str | None = None,
    progress: Callable[[float, float], None] | None = None,
    **sampling: Unpack[SeededOptions],
) -> float:
    """:func:`resynth` from file to file in bounded memory; gives the seconds of audio. "-" is standard input or output.

    The target's sample format is ``subtype``, by default the closest to the source's that the target's format has.
    ``progress`` is called with the seconds of audio done and their total.
    """
    io.require_other(target, [source])
    voice = load_vocoder(vocoder, device, refine=refine, **sampling)
    with rereadable(source) as file:
        about = io.info(file)
        rate, channels = about.sample_rate, about.channels
        subtype = subtype or io.matching_subtype(about, io.format_of(target))
        with io.Writer(target, rate, channels, subtype=subtype) as writer:
            done = 0
            for chunk in _resynthesize(io.blocks(file, _block(rate, channels)), rate, channels, voice, device):
                writer.write(chunk)
                done += chunk.shape[1]
                if progress is not None:
                    progress(done / rate, about.duration)
        return about.duration


class _Spool(tempfile.SpooledTemporaryFile[bytes]):
    """A stream kept for a second reading, on disk if it is long."""

    name = "standard input"


@contextmanager
def rereadable(source: str | Path, watch: Callable[[], None] | None = None) -> Iterator[Path | BinaryIO]:
    """The source itself if it is a file; a pipe, which can be read but once, as a copy.

    While a pipe has nothing to give, ``watch`` is called several times a second; what it raises ends the wait.
    """
    if str(source) != "-" and not Path(source).is_fifo():
        yield Path(source)
        return
    with _Spool(SPOOL) as spool, ExitStack() as stack:
        watched = watch is not None and hasattr(select, "poll")
        if str(source) == "-":
            stream: BinaryIO = sys.stdin.buffer
        elif watched:  # opened without waiting for a writer
            stream = cast(BinaryIO, stack.enter_context(open(os.open(source, os.O_RDONLY | os.O_NONBLOCK), "rb")))
        else:
            stream = stack.enter_context(open(source, "rb"))
        if watch is not None and watched and _can_be_waited_for(stream):
            poll = select.poll()
            poll.register(stream, select.POLLIN)
            while True:
                watch()
                if poll.poll(WAIT_MS):
                    block = os.read(stream.fileno(), SPOOL)
                    if not block:
                        break
                    spool.write(block)
        else:
            shutil.copyfileobj(stream, spool)
        yield cast(BinaryIO, spool)


def _can_be_waited_for(stream: BinaryIO) -> bool:
    """Whether it is a pipe, a socket or a terminal, not a file or what tests put in its place."""
    try:
        mode = os.fstat(stream.fileno()).st_mode
    except (OSError, ValueError, AttributeError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISCHR(mode)


def _resynthesize(
    blocks: Iterable[NDArray[np.float32]], rate: int, channels: int, voice: Vocoder, device: str
) -> Iterator[NDArray[np.float32]]:
    """Blocks (channels, n) at ``rate`` → blocks of their copy-synthesis, as long in all; each stage holds a few."""
    spec = voice.spec
    down, up = StreamResampler(rate, spec.sample_rate, channels), StreamResampler(spec.sample_rate, rate, channels)
    taken = 0

    def counted() -> Iterator[NDArray[np.float32]]:
        nonlocal taken
        for block in blocks:
            taken += block.shape[1]
            yield down.process(block)
        yield down.flush()

    def resampled() -> Iterator[NDArray[np.float32]]:
        mels = (mel.to(device) for mel in _mels(counted(), spec))
        for wave in voice.stream(mels, block=_of_each(FRAMES, channels)):
            yield up.process(vocoded(wave))
        yield up.flush()

    given = 0
    for chunk in resampled():
        # The mel covers whole frames, so that the copy is never shorter than the source; cut what is over.
        chunk = chunk[:, : taken - given]
        given += chunk.shape[1]
        if chunk.shape[1]:
            yield chunk
    if given < taken:
        yield np.zeros((channels, taken - given), np.float32)


def _block(rate: int, channels: int) -> int:
    """How many samples of each channel to take in at a time."""
    return min(_of_each(BLOCK, channels), LONGEST_BLOCK * rate)


def _of_each(most: int, channels: int) -> int:
    """How much to take of each channel at a time, so that memory does not grow with their number."""
    return most * MANY_CHANNELS // max(MANY_CHANNELS, channels)


def _mels(blocks: Iterable[NDArray[np.float32]], spec: FeatureSpec) -> Iterator[Tensor]:
    """Blocks (channels, n) at the spec's rate → mels (channels, bands, frames), the end filled up to a whole frame."""
    extractor = StreamingMel(spec)
    length, channels = 0, 1
    for block in blocks:
        length, channels = length + block.shape[1], block.shape[0]
        yield extractor.push(torch.from_numpy(block))
    shortest = -(-spec.n_fft // spec.hop) * spec.hop
    yield extractor.push(torch.zeros(channels, max(shortest - length, -length % spec.hop)))
    yield extractor.finish()


def in_range(name: str, value: Any, limits: tuple[float, float]) -> float:
    low, high = limits
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number or not low <= value <= high:
        raise InputError(f"{name}: must be a number from {_plain(low)} to {_plain(high)}, not {value!r}")
    return float(value)


def whole(name: str, value: Any, limits: tuple[float, float]) -> int:
    in_range(name, value, limits)
    if not isinstance(value, numbers.Integral):
        raise InputError(f"{name}: must be a whole number, not {value!r}")
    return int(value)


def _plain(limit: float) -> str:
    return str(limit) if isinstance(limit, int) else f"{limit:g}"  # "g" would round a large whole number


def _silence(seconds: float, rate: int) -> NDArray[np.float32]:
    return np.zeros(round(seconds * rate), np.float32)


def vocoded(wave: Tensor) -> NDArray[np.float32]:
    """A vocoder's output (channels, n) as float32 samples."""
    samples: NDArray[np.float32] = wave.float().cpu().numpy()
    if not np.isfinite(samples).all():
        raise CheckpointError(
            "the vocoder gave NaN or infinite samples; its checkpoint is damaged, or the mel out of range"
        )
    return samples


def unclipped(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    peak = float(np.abs(samples).max(initial=0.0))
    return samples * np.float32(PEAK / peak) if peak > np.float32(PEAK) else samples


def _mel_tensor(mel: NDArray[np.floating[Any]], name: str) -> Tensor:
    """A checked mel as float32 (1, bands, frames)."""
    if not isinstance(mel, np.ndarray | np.generic):
        raise InputError(f"{name}: a mel is a numpy array, not {type(mel).__name__}")
    if not np.issubdtype(mel.dtype, np.floating):
        raise InputError(f"{name}: a mel is floating point, not {mel.dtype}")
    if mel.ndim == 3 and mel.shape[0] == 1:
        mel = mel[0]
    if mel.ndim != 2:
        raise InputError(f"{name}: a mel is (bands, frames) or (1, bands, frames), not {mel.shape}")
    if mel.shape[1] == 0:
        raise InputError(f"{name}: has no frames")
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(mel, np.float32)
    if not np.isfinite(values).all():
        raise InputError(f"{name}: holds NaN or infinite values in float32")
    return torch.from_numpy(values)[None]


class _MelFile(NamedTuple):
    mel: Any
    spec: Any


def _read_npy(path: Path) -> _MelFile:
    return _MelFile(np.load(path, allow_pickle=False), None)


def _read_npz(path: Path) -> _MelFile:
    with np.load(path, allow_pickle=False) as file:
        return _MelFile(file["mel"], _stated(str(file["spec"])) if "spec" in file else None)


def _read_pt(path: Path) -> _MelFile:
    loaded = torch.load(path, map_location="cpu", weights_only=True)
    mel, spec = (loaded["mel"], loaded.get("spec")) if isinstance(loaded, dict) else (loaded, None)
    if isinstance(mel, Tensor):
        mel = (mel.float() if mel.dtype == torch.bfloat16 else mel).numpy()
    return _MelFile(mel, _stated(spec) if isinstance(spec, str) else spec)


def _stated(spec: str) -> object:
    """A convention's fields, by its name or from JSON."""
    return CONVENTIONS[spec].to_dict() if spec in CONVENTIONS else json.loads(spec)


def _spec(fields: object, where: str) -> FeatureSpec:
    if not isinstance(fields, dict):
        raise InputError(f"{where}: a mel convention is a mapping of FeatureSpec fields")
    try:
        return FeatureSpec.from_dict(fields)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    except (TypeError, ValueError):
        raise InputError(f"{where}: a FeatureSpec field has a value of the wrong type") from None


def load_vocoder(
    name: str,
    device: str = "cpu",
    spec: FeatureSpec | None = None,
    *,
    refine: int | None = 0,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    precision: str | None = None,
    seed: int | None = None,
) -> Vocoder:
    """A vocoder by name or file. Griffin-Lim knows no convention of its own and works in ``spec``, if given.

    ``refine`` (0-64, None: the vocoder's own) is a number of iterations that draw a neural vocoder's output towards its
    mel, see :class:`wavegen.vocoders.griffin_lim.Refined`: for mels of recordings. Griffin-Lim is left as it is. The
    others are for a vocoder that samples, see :class:`wavegen.vocoders.wavenet.Sampling`: ``temperature`` 0-100,
    ``top_k`` 0-1024, ``top_p`` above 0 up to 1, ``precision`` "fp32", "bf16" or "int8", ``seed``; None: as usual.
    InputError names what is out of range, or given for a vocoder that does not sample.
    """
    if refine is not None:
        refine = whole("refine", refine, REFINE)
    options = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "precision": precision, "seed": seed}
    given = {option: value for option, value in options.items() if value is not None}
    if name == GRIFFIN_LIM:
        return _sampling(GriffinLim(spec or FeatureSpec()).to(usable_device(device)), name, given)
    voice = _sampling(cast(Vocoder, ready_model(name, "vocoder", device)), name, given)
    iterations = voice.refine if refine is None else refine
    return Refined(voice, iterations).to(usable_device(device)).eval() if iterations else voice


def _sampling(voice: Vocoder, name: str, options: dict[str, Any]) -> Vocoder:
    """The vocoder with these options of its sampling changed. Models stay packed: this costs next to nothing."""
    if not options:
        return voice
    if voice.sampling is None:
        raise InputError(f"{next(iter(options))}: the vocoder {name} does not sample; leave it out")
    checked = {option: _sampling_option(option, value) for option, value in options.items()}
    return voice.with_sampling(dataclasses.replace(voice.sampling, **checked))


def _sampling_option(option: str, value: Any) -> Any:
    match option:
        case "temperature":
            return in_range(option, value, TEMPERATURE)
        case "top_k":
            return whole(option, value, TOP_K)
        case "top_p":
            return in_range(option, value, TOP_P)
        case "seed":
            return whole(option, value, SEED)
    return value  # the precision is checked where precisions are known


def ready_model(name: str, role: str, device: str) -> torch.nn.Module:
    """A ready model, from memory if the same file was loaded before."""
    path = checkpoints.resolve(DEFAULTS[role] if name == "default" else name)
    try:
        stat = path.stat()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    return _loaded(path.resolve(), role, str(usable_device(device)), stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=4)
def _loaded(path: Path, role: str, device: str, modified: int, size: int) -> torch.nn.Module:
    """Modification time and size tell a file from its next version under the same name."""
    return checkpoints.load(path, device=device, role=role)
