"""The evaluation protocol, written out in PROTOCOL.md: a vocoder on recordings, and a speech system on texts."""

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wavegen.audio.features import FeatureSpec, MelSpectrogram
from wavegen.audio.io import Audio, read
from wavegen.errors import InputError
from wavegen.evaluation import metrics
from wavegen.evaluation.bootstrap import CONFIDENCE, RESAMPLES, Estimate, mean_parts, pooled, ratio
from wavegen.evaluation.dependencies import require
from wavegen.evaluation.error_rates import Errors, character_errors, word_errors
from wavegen.evaluation.harvard import HARVARD_SENTENCES
from wavegen.evaluation.recognition import Recognizer, jsgf
from wavegen.evaluation.results import (
    FileScores,
    SentenceResult,
    SpeechEvaluation,
    SystemScores,
    UtteranceResult,
    VocoderEvaluation,
    format_table,
)

__all__ = [
    "SpeechEvaluation",
    "VocoderEvaluation",
    "evaluate_speech",
    "evaluate_vocoder",
    "format_table",
]

Progress = Callable[[int, int, str], None]
"""Called with (done, total, what was just finished)."""


class Vocoder(Protocol):
    """A model that turns a log-mel (batch, bands, frames) by its ``spec`` into a waveform (batch, frames * hop)."""

    @property
    def spec(self) -> FeatureSpec: ...

    def __call__(self, mel: Tensor) -> Tensor: ...


class Text(Protocol):
    """A held-out utterance: what is said, and the file with the recording of it."""

    @property
    def id(self) -> str: ...

    @property
    def text(self) -> str: ...

    @property
    def path(self) -> Path: ...


@dataclass(frozen=True)
class _Scored:
    """One file through one vocoder: its scores, and what pooling needs of it."""

    file: FileScores
    pitch: NDArray[np.float64]
    elapsed: float


def evaluate_vocoder(
    vocoder: Vocoder,
    recordings: Sequence[Path | str | Audio],
    *,
    baseline: Vocoder | None = None,
    name: str = "vocoder",
    baseline_name: str = "baseline",
    perceptual: bool = True,
    peak: float | None = 0.95,
    seed: int = 0,
    labels: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> VocoderEvaluation:
    """Copy-synthesis of recordings through a vocoder, and a baseline, scored against the recordings.

    Each recording is averaged to one channel, resampled to the vocoder's rate, freed of its mean and scaled to
    ``peak`` (None: level left as it is). ``labels`` name the recordings in errors and results. ``perceptual=False``
    leaves out PESQ and eSTOI and their packages. ``seed`` is that of the bootstrap. Raises InputError for no
    recordings, vocoders of two sample rates, or a recording that is silent or too short, by name;
    MissingDependencyError before any work is done.
    """
    if not recordings:
        raise InputError("evaluate_vocoder: no recordings")
    systems = [vocoder] if baseline is None else [vocoder, baseline]
    rate = vocoder.spec.sample_rate
    if baseline is not None and baseline.spec.sample_rate != rate:
        raise InputError(
            f"evaluate_vocoder: the vocoder runs at {rate} Hz, the baseline at {baseline.spec.sample_rate} Hz"
        )
    if peak is not None and not 0.0 < peak <= 1.0:
        raise InputError(f"evaluate_vocoder: peak must be above 0 and at most 1, not {peak}")
    require("librosa", "numba", *(("pesq", "pystoi") if perceptual else ()))
    scored: list[list[_Scored]] = [[] for _ in systems]
    for index, recording in enumerate(recordings):
        label = f"recording {index + 1}" if isinstance(recording, Audio) else Path(recording).name
        label = label if labels is None else labels[index]
        audio = recording if isinstance(recording, Audio) else read(Path(recording))
        try:
            reference = _reference(audio, rate, peak)
            track = metrics.pitch_track(reference, rate)
            for system, results in zip(systems, scored, strict=True):
                if not results:
                    _synthesise(system, reference)  # the first run of a model also pays for its set-up
                results.append(_score(system, reference, track, label, perceptual))
        except InputError as error:
            raise InputError(f"{label}: {error}") from error
        if progress is not None:
            progress(index + 1, len(recordings), label)
    return VocoderEvaluation(
        candidate=_pool(name, scored[0], seed),
        baseline=None if baseline is None else _pool(baseline_name, scored[1], seed),
        difference={} if baseline is None else _differences(scored[0], scored[1], seed),
        conditions={
            "sample_rate": rate,
            "peak": peak,
            "files": len(recordings),
            "seconds": sum(result.file.seconds for result in scored[0]),
            **_conditions(seed, ("pesq", "pystoi", "librosa")),
        },
    )


def evaluate_speech(
    speak: Callable[[str], Audio],
    utterances: Sequence[Text] = (),
    *,
    copy: Callable[[Audio], Audio] | None = None,
    sentences: Sequence[str] = HARVARD_SENTENCES,
    seed: int = 0,
    progress: Progress | None = None,
) -> SpeechEvaluation:
    """How well a recogniser understands synthetic speech, the recordings of the same texts, and their copy-synthesis.

    ``speak`` turns a text into audio, ``copy`` a recording into the vocoder's copy of it (None: left out).
    ``sentences`` is the closed set. ``seed`` is that of the bootstrap. Raises InputError for no sentences, two alike,
    or a text without words, before any audio is made; MissingDependencyError without pocketsphinx.
    """
    require("pocketsphinx")
    jsgf(sentences)
    for utterance in utterances:
        character_errors(utterance.text, "")
    recognizer = Recognizer()
    total = len(sentences) + len(utterances)
    speak(sentences[0])  # the first run of a model also pays for its loading
    spoken = []
    for index, text in enumerate(sentences):
        spoken.append(_say(recognizer, speak, text, sentences))
        if progress is not None:
            progress(index + 1, total, text)
    compared = []
    for index, utterance in enumerate(utterances):
        compared.append(_compare(recognizer, speak, copy, utterance))
        if progress is not None:
            progress(len(sentences) + index + 1, total, utterance.id)
    return SpeechEvaluation(
        pooled=_pool_speech(spoken, compared, seed),
        sentences=[result for result, _, _ in spoken],
        utterances=[result for result, _, _ in compared],
        conditions={
            "sentences": len(sentences),
            "utterances": len(utterances),
            **_conditions(seed, ("pocketsphinx",)),
        },
    )


def _reference(audio: Audio, rate: int, peak: float | None) -> NDArray[np.float32]:
    if not audio.samples.size:
        raise InputError("the recording is empty")
    waveform = audio.mono().resample(rate).samples[0]
    mono: NDArray[np.float32] = waveform - waveform.mean(dtype=np.float64).astype(np.float32)
    loudest = float(np.abs(mono).max(initial=0.0))
    if loudest == 0.0:
        raise InputError("what is scored of the recording is silent")
    return mono if peak is None else mono * np.float32(peak / loudest)


def _synthesise(vocoder: Vocoder, reference: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
    """The copy of a recording, and the seconds that the vocoder alone took."""
    device = _device(vocoder)
    mel = MelSpectrogram(vocoder.spec)(torch.from_numpy(reference)[None]).to(device)
    with torch.inference_mode():
        _wait(device)
        start = time.perf_counter()
        waveform = vocoder(mel)
        _wait(device)
        elapsed = time.perf_counter() - start
    candidate: NDArray[np.float32] = waveform[0].float().cpu().numpy()
    return candidate, elapsed


def _device(vocoder: Vocoder) -> torch.device:
    if isinstance(vocoder, torch.nn.Module):
        for tensor in (*vocoder.parameters(), *vocoder.buffers()):
            return tensor.device
    return torch.device("cpu")


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _score(
    vocoder: Vocoder, reference: NDArray[np.float32], track: metrics.Track, label: str, perceptual: bool
) -> _Scored:
    rate = vocoder.spec.sample_rate
    candidate, elapsed = _synthesise(vocoder, reference)
    seconds = len(reference) / rate
    samples = min(len(reference), len(candidate))
    reference, candidate = reference[:samples], candidate[:samples]
    scores = {
        "log_mel_l1": metrics.log_mel_l1(reference, candidate, rate),
        "multi_resolution_stft": metrics.multi_resolution_stft(reference, candidate),
        "mcd": metrics.mcd(reference, candidate, rate),
    }
    if perceptual:
        scores["pesq_wb"] = _or_nan(metrics.pesq_wb, reference, candidate, rate)
        scores["estoi"] = _or_nan(metrics.estoi, reference, candidate, rate)
    sums = metrics.pitch_sums(track, metrics.pitch_track(candidate, rate))
    scores |= {key: float(value) for key, value in metrics.pitch_scores(sums).items()}
    if hasattr(vocoder, "bits_per_sample"):
        scores["bits_per_sample"] = _bits(vocoder, reference)
    scores["real_time_factor"] = elapsed / seconds
    return _Scored(FileScores(label, seconds, scores), sums, elapsed)


def _bits(vocoder: Any, reference: NDArray[np.float32]) -> float:
    """What a sample of the recording costs on average, given those before it and the mel."""
    device = _device(vocoder)
    hop = vocoder.spec.hop
    waveform = torch.from_numpy(reference)[None, : len(reference) // hop * hop].to(device)
    mel = MelSpectrogram(vocoder.spec).to(device)(waveform)
    return float(vocoder.bits_per_sample(waveform, mel).double().mean())


def _or_nan(
    metric: Callable[[metrics.Waveform, metrics.Waveform, int], float],
    reference: NDArray[np.float32],
    candidate: NDArray[np.float32],
    rate: int,
) -> float:
    """PESQ and eSTOI refuse some files (no utterance found, too little speech): those stay out of the mean, counted."""
    try:
        return metric(reference, candidate, rate)
    except InputError:
        return float("nan")


Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def _parts(files: Sequence[_Scored]) -> dict[str, tuple[NDArray[np.float64], Statistic]]:
    """For every score, one row of sums a file and the statistic that turns their total into the pooled score."""
    pitch = np.stack([result.pitch for result in files])
    parts: dict[str, tuple[NDArray[np.float64], Statistic]] = {}
    for key in files[0].file.scores:
        if key == "real_time_factor":
            parts[key] = (np.array([[r.elapsed, r.file.seconds] for r in files]), ratio)
        elif key in metrics.pitch_scores(pitch[0]):
            parts[key] = (pitch, functools.partial(_pitch_score, key))
        else:
            parts[key] = (mean_parts(np.array([r.file.scores[key] for r in files])), ratio)
    return parts


def _pitch_score(key: str, sums: NDArray[np.float64]) -> NDArray[np.float64]:
    return metrics.pitch_scores(sums)[key]


def _pool(name: str, files: Sequence[_Scored], seed: int) -> SystemScores:
    unscored: dict[str, int] = {
        key: sum(not np.isfinite(result.file.scores[key]) for result in files)
        for key in ("pesq_wb", "estoi")
        if key in files[0].file.scores
    }
    return SystemScores(
        name=name,
        pooled={key: pooled(parts, statistic, seed=seed) for key, (parts, statistic) in _parts(files).items()},
        unscored=unscored,
        files=[result.file for result in files],
    )


def _differences(candidate: Sequence[_Scored], baseline: Sequence[_Scored], seed: int) -> dict[str, Estimate]:
    """Candidate minus baseline, both pooled over the same redrawn files."""
    first, second = _parts(candidate), _parts(baseline)
    return {
        key: pooled(*_difference(parts, statistic, second[key][0]), seed=seed)
        for key, (parts, statistic) in first.items()
        if key in second
    }


def _difference(
    a: NDArray[np.float64], statistic: Statistic, b: NDArray[np.float64]
) -> tuple[NDArray[np.float64], Statistic]:
    columns = a.shape[1]
    return np.hstack([a, b]), lambda sums: statistic(sums[..., :columns]) - statistic(sums[..., columns:])


_Sentence = tuple[SentenceResult, tuple[Errors, Errors], float]
_Compared = tuple[UtteranceResult, dict[str, Errors], dict[str, Errors]]


def _say(recognizer: Recognizer, speak: Callable[[str], Audio], text: str, sentences: Sequence[str]) -> _Sentence:
    start = time.perf_counter()
    audio = speak(text)
    elapsed = time.perf_counter() - start
    seconds = audio.samples.shape[-1] / audio.sample_rate
    index = recognizer.identify(audio, sentences)
    transcript = recognizer.transcribe(audio)
    characters, words = character_errors(text, transcript), word_errors(text, transcript)
    result = SentenceResult(
        text=text,
        identified=None if index is None else sentences[index],
        transcript=transcript,
        character_error_rate=characters.rate,
        word_error_rate=words.rate,
        seconds=seconds,
        real_time_factor=elapsed / seconds,
    )
    return result, (characters, words), elapsed


def _compare(
    recognizer: Recognizer,
    speak: Callable[[str], Audio],
    copy: Callable[[Audio], Audio] | None,
    utterance: Text,
) -> _Compared:
    recording = read(utterance.path)
    origins = {"synthetic": speak(utterance.text), "recording": recording}
    if copy is not None:
        origins["copy"] = copy(recording)
    transcripts = {origin: recognizer.transcribe(audio) for origin, audio in origins.items()}
    characters = {origin: character_errors(utterance.text, heard) for origin, heard in transcripts.items()}
    words = {origin: word_errors(utterance.text, heard) for origin, heard in transcripts.items()}
    result = UtteranceResult(
        id=utterance.id,
        text=utterance.text,
        transcripts=transcripts,
        character_error_rates={origin: errors.rate for origin, errors in characters.items()},
        word_error_rates={origin: errors.rate for origin, errors in words.items()},
    )
    return result, characters, words


def _pool_speech(spoken: Sequence[_Sentence], compared: Sequence[_Compared], seed: int) -> dict[str, Estimate]:
    right = np.array([[result.identified == result.text, 1.0] for result, _, _ in spoken], np.float64)
    time_parts = np.array([[elapsed, result.seconds] for result, _, elapsed in spoken])
    estimates = {
        "sentence_identification": pooled(right, ratio, seed=seed),
        "harvard_cer": pooled(_error_parts([errors[0] for _, errors, _ in spoken]), ratio, seed=seed),
        "harvard_wer": pooled(_error_parts([errors[1] for _, errors, _ in spoken]), ratio, seed=seed),
        "real_time_factor": pooled(time_parts, ratio, seed=seed),
    }
    if not compared:
        return estimates
    origins = list(compared[0][1])
    characters = {o: _error_parts([errors[o] for _, errors, _ in compared]) for o in origins}
    words = {o: _error_parts([errors[o] for _, _, errors in compared]) for o in origins}
    for origin in origins:
        estimates[f"cer_{origin}"] = pooled(characters[origin], ratio, seed=seed)
        estimates[f"wer_{origin}"] = pooled(words[origin], ratio, seed=seed)
    for a, b in (("synthetic", "recording"), ("synthetic", "copy"), ("copy", "recording")):
        if a in origins and b in origins:
            parts, statistic = _difference(characters[a], ratio, characters[b])
            estimates[f"cer_{a}_minus_{b}"] = pooled(parts, statistic, seed=seed)
    return estimates


def _error_parts(errors: Sequence[Errors]) -> NDArray[np.float64]:
    return np.array([[e.edits, e.length] for e in errors], np.float64)


def _conditions(seed: int, packages: Sequence[str]) -> dict[str, Any]:
    """What the figures depend on beside the audio."""
    return {
        "seed": seed,
        "bootstrap_resamples": RESAMPLES,
        "confidence": CONFIDENCE,
        "threads": torch.get_num_threads(),
        "packages": {p: metadata.version(p) for p in ("numpy", "torch", *packages) if _installed(p)},
    }


def _installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True
