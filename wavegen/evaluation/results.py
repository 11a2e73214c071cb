"""What the protocol gives back: plain dataclasses, their JSON and their tables."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from wavegen.evaluation.bootstrap import Estimate


class Quantity(NamedTuple):
    """How a score is shown: its name, its unit, the direction that is better, and its decimals."""

    label: str
    unit: str = ""
    better: str = "lower"
    digits: int = 3


VOCODER_QUANTITIES = {
    "log_mel_l1": Quantity("log-mel L1", "neper"),
    "multi_resolution_stft": Quantity("M-STFT"),
    "mcd": Quantity("MCD", "dB"),
    "pesq_wb": Quantity("PESQ-WB", "MOS-LQO", "higher"),
    "estoi": Quantity("eSTOI", "", "higher"),
    "f0_rmse_hz": Quantity("F0 RMSE", "Hz", digits=2),
    "f0_rmse_cents": Quantity("F0 RMSE", "cents", digits=1),
    "periodicity_rmse": Quantity("periodicity RMSE"),
    "vuv_error": Quantity("V/UV error"),
    "voiced_precision": Quantity("V/UV precision", "", "higher"),
    "voiced_recall": Quantity("V/UV recall", "", "higher"),
    "voiced_f1": Quantity("V/UV F1", "", "higher"),
    "bits_per_sample": Quantity("NLL", "bits/sample"),
    "real_time_factor": Quantity("real-time factor", digits=4),
}

SPEECH_QUANTITIES = {
    "sentence_identification": Quantity("Harvard sentences identified", "", "higher"),
    "harvard_cer": Quantity("CER, Harvard sentences"),
    "harvard_wer": Quantity("WER, Harvard sentences"),
    "cer_synthetic": Quantity("CER, synthetic"),
    "cer_recording": Quantity("CER, recordings"),
    "cer_copy": Quantity("CER, copy-synthesis"),
    "wer_synthetic": Quantity("WER, synthetic"),
    "wer_recording": Quantity("WER, recordings"),
    "wer_copy": Quantity("WER, copy-synthesis"),
    "cer_synthetic_minus_recording": Quantity("CER, synthetic - recordings"),
    "cer_synthetic_minus_copy": Quantity("CER, synthetic - copy-synthesis"),
    "cer_copy_minus_recording": Quantity("CER, copy-synthesis - recordings"),
    "real_time_factor": Quantity("real-time factor", digits=4),
}


@dataclass(frozen=True)
class FileScores:
    """One recording: seconds of audio, and every score by name, NaN where a metric cannot be taken of it."""

    name: str
    seconds: float
    scores: dict[str, float]


@dataclass(frozen=True)
class SystemScores:
    """One vocoder on all files; ``unscored`` counts, by metric, the files that PESQ or eSTOI refused."""

    name: str
    pooled: dict[str, Estimate]
    unscored: dict[str, int]
    files: list[FileScores]


@dataclass(frozen=True)
class VocoderEvaluation:
    """A vocoder, beside a baseline on the same files, and the paired differences candidate minus baseline."""

    candidate: SystemScores
    baseline: SystemScores | None
    difference: dict[str, Estimate]
    conditions: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON-serialisable; numbers that are not finite become None."""
        return _plain(dataclasses.asdict(self))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class SentenceResult:
    """A synthesised sentence: which of the closed set was heard (None: none), and the open-vocabulary transcript."""

    text: str
    identified: str | None
    transcript: str
    character_error_rate: float
    word_error_rate: float
    seconds: float
    real_time_factor: float


@dataclass(frozen=True)
class UtteranceResult:
    """A held-out text: transcripts and rates by origin, "synthetic", "recording" and "copy"."""

    id: str
    text: str
    transcripts: dict[str, str]
    character_error_rates: dict[str, float]
    word_error_rates: dict[str, float]


@dataclass(frozen=True)
class SpeechEvaluation:
    """The intelligibility of a speech system, with those of the recordings and of copy-synthesis to hold it against."""

    pooled: dict[str, Estimate]
    sentences: list[SentenceResult]
    utterances: list[UtteranceResult]
    conditions: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON-serialisable; numbers that are not finite become None."""
        return _plain(dataclasses.asdict(self))  # type: ignore[no-any-return]


def format_table(evaluation: VocoderEvaluation | SpeechEvaluation, *, markdown: bool = False) -> str:
    """The pooled scores with their 95 % intervals as aligned text, or as a Markdown table; no newline at the end."""
    if isinstance(evaluation, SpeechEvaluation):
        header = ["measure", "value [95 %]"]
        rows = [
            [_title(quantity), _cell(evaluation.pooled[key], quantity)]
            for key, quantity in SPEECH_QUANTITIES.items()
            if key in evaluation.pooled
        ]
        return _table(header, rows, markdown)
    columns: list[tuple[str, Mapping[str, Estimate]]] = [(evaluation.candidate.name, evaluation.candidate.pooled)]
    if evaluation.baseline is not None:
        columns += [(evaluation.baseline.name, evaluation.baseline.pooled), ("difference", evaluation.difference)]
    rows = [
        [_title(quantity), *(_cell(scores[key], quantity) if key in scores else "–" for _, scores in columns)]
        for key, quantity in VOCODER_QUANTITIES.items()
        if any(key in scores for _, scores in columns)
    ]
    table = _table(["measure", *(f"{name} [95 %]" for name, _ in columns)], rows, markdown)
    notes = [
        f"{VOCODER_QUANTITIES[key].label}: {count} of {len(system.files)} files could not be scored ({system.name})"
        for system in (evaluation.candidate, evaluation.baseline)
        if system is not None
        for key, count in system.unscored.items()
        if count
    ]
    return "\n".join([table, *(["", *notes] if notes else [])])


def _title(quantity: Quantity) -> str:
    arrow = "↑" if quantity.better == "higher" else "↓"
    return f"{quantity.label}, {quantity.unit} {arrow}" if quantity.unit else f"{quantity.label} {arrow}"


def _cell(estimate: Estimate, quantity: Quantity) -> str:
    value, low, high = (
        f"{x:.{quantity.digits}f}" if math.isfinite(x) else "-" for x in (estimate.value, estimate.low, estimate.high)
    )
    return f"{value} [{low}, {high}]"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], markdown: bool) -> str:
    if markdown:
        rule = ["---"] + ["---:"] * (len(header) - 1)
        return "\n".join(f"| {' | '.join(_escaped(cell) for cell in row)} |" for row in (header, rule, *rows))
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    lines = (
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in (header, ["-" * w for w in widths], *rows)
    )
    return "\n".join(line.rstrip() for line in lines)


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
