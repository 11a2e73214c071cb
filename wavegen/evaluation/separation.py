"""How well sources are separated: scores in float64, bounds on the same files, and what heads read off the sources.

Signals are arrays (channels, samples) or (samples,), sources (sources, channels, samples); all channels of a source are
one signal. Decibels are limited to ±LIMIT_DB, so that a perfect or an absent estimate does not swallow every mean.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from itertools import permutations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wavegen.errors import InputError
from wavegen.evaluation.bootstrap import Estimate, mean_parts, pooled, ratio
from wavegen.separation.base import Separator
from wavegen.training.mixtures import UNVOICED, LabelledExample, StemSet
from wavegen.training.stem_folders import StemFiles

Signal = NDArray[np.floating[Any]]
Sources = NDArray[np.floating[Any]]  # (sources, channels, samples)
Separate = Callable[[NDArray[np.float32]], Sources]  # a mix (channels, samples) to its sources
Items = Iterable[tuple[str, NDArray[np.float32]]]  # names and true sources

LIMIT_DB = 100.0
SILENT_DB = -60.0
"""A reference so far under its mix is silent: there is nothing to separate, only something to leave out."""

METRICS = {
    "si_sdr": "SI-SDR",
    "si_sdr_i": "SI-SDRi",
    "snr": "SNR",
    "sdr": "global SDR",
    "sdr_i": "global SDRi",
    "museval_sdr": "SDR (museval v4)",
}


# ------------------------------------------------------------------------------------------------------------ scores


def si_sdr(reference: Signal, estimate: Signal) -> float:
    """Scale-invariant SDR in dB (Le Roux et al. 2019, "SDR – half-baked or well done?", eq. 5); no mean is removed.

    NaN for a silent reference, -LIMIT_DB for a silent estimate.
    """
    s, e = _pair(reference, estimate)
    energy = float(s @ s)
    if energy == 0:
        return math.nan
    target = float(s @ e) / energy * s
    noise = target - e
    return _decibels(float(target @ target), float(noise @ noise))


def si_sdr_improvement(reference: Signal, estimate: Signal, mixture: Signal) -> float:
    """How much nearer the estimate is than the mixture, in dB of SI-SDR."""
    return si_sdr(reference, estimate) - si_sdr(reference, mixture)


def snr(reference: Signal, estimate: Signal) -> float:
    """10 log10(|s|² / |s - e|²) in dB; NaN for a silent reference."""
    s, e = _pair(reference, estimate)
    noise = s - e
    return _decibels(float(s @ s), float(noise @ noise)) if s.any() else math.nan


def global_sdr(reference: Signal, estimate: Signal) -> float:
    """10 log10((Σ s² + 1e-7) / (Σ (s - e)² + 1e-7)) in dB, of the whole (Mitsufuji et al. 2022, eq. 1)."""
    s, e = _pair(reference, estimate)
    noise = s - e
    return _decibels(float(s @ s) + 1e-7, float(noise @ noise) + 1e-7)


def leakage(estimate: Signal, mixture: Signal) -> float:
    """The energy of an estimate against the mixture's, in dB: what is left of it where the reference is silent."""
    x, e = _pair(mixture, estimate)
    return _decibels(float(e @ e), float(x @ x))


def museval_sdr(references: Sources, estimates: Sources, sample_rate: int) -> NDArray[np.float64]:
    """The SDR of BSSEval v4 for images (sources,), in dB: the median over windows of a second, one after the other.

    The distortion filters of that measure part the error into kinds; their sum, on which SDR rests, does not depend on
    them (Stöter et al. 2018). A window in which any source, true or estimated, is silent counts for none; NaN where no
    window is left.
    """
    s, e = _sources(references, estimates)
    window = min(sample_rate, s.shape[-1])
    count = s.shape[-1] // window if window else 0
    heard = np.ones(count, np.bool_)
    power, noise = np.empty((2, len(s), count))
    for place, pair in enumerate(zip(s, e, strict=True)):  # one by one: whole songs are large
        true, made = (x[:, : count * window].reshape(len(x), count, window) for x in pair)
        heard &= np.all([(x.sum(axis=0) != 0).any(axis=-1) for x in (true, made)], axis=0)
        power[place], noise[place] = np.square(true).sum(axis=(0, 2)), np.square(true - made).sum(axis=(0, 2))
    scores = np.full(len(s), np.nan)
    if heard.any():
        frames = [[_decibels(a, b) for a, b in zip(*rows, strict=True)] for rows in zip(power, noise, strict=True)]
        scores = np.median(np.array(frames)[:, heard], axis=1)
    return scores


def best_order(references: Sources, estimates: Sources) -> list[int]:
    """Which estimate is each reference, so that the sum of SI-SDRs is greatest; silent references weigh nothing."""
    s, e = _sources(references, estimates)
    table = np.nan_to_num([[si_sdr(a, b) for b in e] for a in s])
    orders = list(permutations(range(len(s))))
    return list(max(orders, key=lambda order: sum(table[i, j] for i, j in enumerate(order))))


def _decibels(power: float, noise: float) -> float:
    if noise <= 0:
        return LIMIT_DB if power > 0 else -LIMIT_DB
    return float(np.clip(10 * np.log10(max(power / noise, 1e-30)), -LIMIT_DB, LIMIT_DB))


def _pair(reference: Signal, estimate: Signal) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    s, e = np.asarray(reference, np.float64), np.asarray(estimate, np.float64)
    if s.shape != e.shape or s.ndim not in (1, 2) or not s.size:
        raise InputError(f"signals to compare have one shape, (channels, samples), not {s.shape} and {e.shape}")
    if not (np.isfinite(s).all() and np.isfinite(e).all()):
        raise InputError("signals to compare must be finite")
    return s.ravel(), e.ravel()


def _sources(references: Sources, estimates: Sources) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    s, e = np.asarray(references, np.float64), np.asarray(estimates, np.float64)
    if s.shape != e.shape or s.ndim != 3 or not s.size:
        raise InputError(f"sources to compare have one shape, (sources, channels, samples), not {s.shape}, {e.shape}")
    if not (np.isfinite(s).all() and np.isfinite(e).all()):
        raise InputError("sources to compare must be finite")
    return s, e


# ------------------------------------------------------------------------------------------------------------ bounds


def mixture_as_estimate(references: Sources) -> NDArray[np.float64]:
    """The mix in place of every source: what separating nothing scores."""
    s = np.asarray(references, np.float64)
    return np.broadcast_to(s.sum(axis=0), s.shape).copy()


def ideal_mask(references: Sources, kind: str, n_fft: int) -> NDArray[np.float64]:
    """The mix (channels, samples) under the mask that knows the sources: an upper bound of masking magnitudes.

    kind: "IBM", each bin to its loudest source; "IRM", by the share |S|² / Σ|S|². Channel by channel, with hops of a
    quarter of ``n_fft``, and the mix's phase.
    """
    import torch

    from wavegen.separation.stft import istft, stft

    if kind not in ("IBM", "IRM"):
        raise InputError(f"ideal mask {kind!r}; there are IBM and IRM")
    s = torch.from_numpy(np.asarray(references, np.float64))
    if s.dim() != 3:
        raise InputError(f"sources are (sources, channels, samples), not {tuple(s.shape)}")
    found = torch.empty_like(s)
    for channel in range(s.shape[1]):  # one by one: whole songs are large
        x = s[:, channel]
        mask = stft(x, n_fft, n_fft // 4).abs().square_()
        if kind == "IBM":
            mask = torch.zeros_like(mask).scatter_(0, mask.argmax(dim=0, keepdim=True), 1.0)
        else:
            total = mask.sum(dim=0, keepdim=True)
            mask = torch.where(total > 0, mask / torch.where(total > 0, total, 1.0), 1.0 / len(x))
        mix = stft(x.sum(dim=0, keepdim=True), n_fft, n_fft // 4)
        for source in range(len(x)):
            found[source, channel] = istft(mask[source, None] * mix, n_fft, n_fft // 4, x.shape[-1])[0]
    return found.numpy()


def mask_size(sample_rate: int) -> int:
    """The n_fft of the ideal masks: 46 ms of music (above 32 kHz), 32 ms of speech, as powers of two."""
    return 1 << round(math.log2(sample_rate * (0.046 if sample_rate > 32000 else 0.032)))


def bounds(sample_rate: int) -> dict[str, Callable[[Sources], Sources]]:
    """What every table has beside the models: estimates made from the true sources."""
    size = mask_size(sample_rate)
    return {
        "mixture": mixture_as_estimate,
        "IBM": lambda s: ideal_mask(s, "IBM", size),
        "IRM": lambda s: ideal_mask(s, "IRM", size),
    }


# ------------------------------------------------------------------------------------------------------- evaluation


@dataclass(frozen=True)
class ItemScores:
    """One mix: scores by source and metric, and the leakage of each source whose reference is silent."""

    name: str
    scores: dict[str, dict[str, float]]
    leakage: dict[str, float]


@dataclass(frozen=True)
class SystemScores:
    """One separator, or bound, on all mixes."""

    name: str
    sources: tuple[str, ...]
    items: list[ItemScores]
    facts: dict[str, Any] = field(default_factory=dict)

    def estimate(self, metric: str, source: str | None = None) -> Estimate:
        """The mean over mixes, and its 95 % interval when whole mixes are redrawn; NaN where there is none to score.

        Without ``source``, a mix counts with the mean over its sources.
        """
        wanted = self.sources if source is None else (source,)
        rows = [[item.scores[name][metric] for name in wanted if name in item.scores] for item in self.items]
        means = [float(np.nanmean(row)) if row and not np.isnan(row).all() else math.nan for row in rows]
        values = np.array(means, np.float64)
        if not np.isfinite(values).any():
            return Estimate(math.nan, math.nan, math.nan)
        return pooled(mean_parts(values), ratio)

    def mean(self, metric: str, source: str | None = None) -> float:
        """The value of :meth:`estimate`; without ``source``, the mean over sources of their means."""
        if source is not None:
            return self.estimate(metric, source).value
        values = [self.estimate(metric, name).value for name in self.sources]
        return float(np.nanmean(values)) if np.isfinite(values).any() else math.nan

    def mean_leakage(self) -> float:
        """Mean leakage in dB over all silent references; NaN if there is none."""
        values = [value for item in self.items for value in item.leakage.values()]
        return float(np.mean(values)) if values else math.nan

    def to_dict(self) -> dict[str, Any]:
        """JSON-serialisable; numbers that are not finite become None."""
        summary = {name: {metric: asdict(self.estimate(metric, name)) for metric in METRICS} for name in self.sources}
        overall = {metric: self.mean(metric) for metric in METRICS} | {"leakage": self.mean_leakage()}
        items = [asdict(item) for item in self.items]
        plain = {"name": self.name, "overall": overall, "sources": summary, "items": items, **self.facts}
        return _finite(plain)  # type: ignore[no-any-return]


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def score(
    name: str,
    references: Sources,
    estimates: Sources,
    sources: Sequence[str],
    sample_rate: int,
    *,
    interchangeable: bool = False,
    mixture: Signal | None = None,
) -> ItemScores:
    """All metrics of one mix: the sum of the references, unless given. InputError for shapes that differ."""
    s, e = _sources(references, estimates)
    if len(s) != len(sources):
        raise InputError(f"{name}: {len(s)} sources for the names {', '.join(sources)}")
    if interchangeable:
        e = e[best_order(s, e)]
    mix = s.sum(axis=0) if mixture is None else np.asarray(mixture, np.float64)
    floor = max(10 ** (SILENT_DB / 10) * float(np.square(mix).sum()), 1e-30)
    framewise = museval_sdr(s, e, sample_rate)
    scores, leaks = {}, {}
    for place, source in enumerate(sources):
        true, made = s[place], e[place]
        if np.square(true).sum() <= floor:
            leaks[source] = leakage(made, mix)
            continue
        own = {"si_sdr": si_sdr(true, made), "snr": snr(true, made), "sdr": global_sdr(true, made)}
        alone = np.square(mix - true).sum() <= floor  # no improvement on a mix that is the source itself
        own["si_sdr_i"] = math.nan if alone else own["si_sdr"] - si_sdr(true, mix)
        own["sdr_i"] = math.nan if alone else own["sdr"] - global_sdr(true, mix)
        scores[source] = own | {"museval_sdr": float(framewise[place])}
    return ItemScores(name, scores, leaks)


def evaluate(
    systems: Mapping[str, Separate],
    items: Items,
    sources: Sequence[str],
    sample_rate: int,
    *,
    interchangeable: bool = False,
    with_bounds: bool = True,
    progress: Callable[[str], None] | None = None,
) -> list[SystemScores]:
    """Every system, after the bounds, on the same mixes, which are read once, in that order.

    items: names and true sources (sources, channels, samples). InputError if there is none, or an estimate does not
    have its shape.
    """
    ideal = bounds(sample_rate) if with_bounds else {}
    found: dict[str, list[ItemScores]] = {name: [] for name in (*ideal, *systems)}
    for item, references in items:
        mix = references.sum(axis=0, dtype=np.float64).astype(np.float32)
        for name in found:
            made = ideal[name](references) if name in ideal else systems[name](mix)
            if made.shape != references.shape:
                raise InputError(f"{name}: {made.shape} for {item}, whose sources are {references.shape}")
            found[name].append(score(item, references, made, sources, sample_rate, interchangeable=interchangeable))
        if progress is not None:
            progress(item)
    if not any(found.values()):
        raise InputError("there is no mix to be evaluated on")
    return [SystemScores(name, tuple(sources), rows) for name, rows in found.items()]


def with_model(model: Separator, *, seed: int = 0) -> Separate:
    """A separator as a function of the mix, in chunks as ``wavegen separate`` has them."""
    import torch

    from wavegen.separation.overlap import separate

    @torch.inference_mode()
    def run(mix: NDArray[np.float32]) -> Sources:
        generator = torch.Generator().manual_seed(seed)
        return separate(model, torch.from_numpy(mix), generator=generator).numpy()

    return run


class HeadReading(NamedTuple):
    """What the heads say of each source: the likeliest pitch and whether one sounds, (sources, frames); its family."""

    pitch: NDArray[np.int64]
    voiced: NDArray[np.bool_]
    family: NDArray[np.int64]


def with_heads(model: Any) -> Callable[[NDArray[np.float32]], HeadReading]:
    """What the heads of a model with ``read`` (mix of RMS 1 → logits of pitch and family) say: the likeliest classes.

    A frame is voiced where the class beyond the MIDI pitches is not the likeliest.
    """
    import torch

    from wavegen.separation.base import level_of
    from wavegen.separation.vae import UNVOICED as NO_NOTE

    @torch.inference_mode()
    def run(mix: NDArray[np.float32]) -> HeadReading:
        x = torch.from_numpy(mix)[None]
        found = model.read(x / level_of(x).clamp(min=1e-12)[:, None, None])
        pitch = found.pitch[0]
        return HeadReading(
            pitch[:, :NO_NOTE].argmax(dim=1).numpy(),
            (pitch.argmax(dim=1) != NO_NOTE).numpy(),
            found.family[0].argmax(dim=1).numpy(),
        )

    return run


def song_items(
    files: Sequence[StemFiles],
    sources: Sequence[str],
    sample_rate: int,
    channels: int,
    cache: Path,
    *,
    groups: Mapping[str, Sequence[str]] | None = None,
    seconds: float | None = None,
) -> Items:
    """Names and true sources of songs, whole or ``seconds`` from their middle. A source that none has is silence."""
    data = StemSet(
        files, sources, sample_rate=sample_rate, channels=channels, groups=groups, cache=cache, require_all=False
    )
    for index, song in enumerate(data.songs):
        start = 0.0 if seconds is None else max(0.0, (song.seconds - seconds) / 2)
        yield song.id, data.song(index, start=start, seconds=None if seconds is None else min(seconds, song.seconds))


def table(results: Sequence[SystemScores], metrics: Sequence[str] = ("si_sdr", "si_sdr_i", "sdr")) -> str:
    """Markdown: a row for each system; for each metric the mean over sources and, of the last metric, each source's."""
    sources = results[0].sources
    shown = sources if len(sources) > 1 else ()
    leaking = any(math.isfinite(result.mean_leakage()) for result in results)
    header = ["system", *(METRICS[m] for m in metrics), *(f"{METRICS[metrics[-1]]}: {name}" for name in shown)]
    rows = [header + ["silent: leakage"] * leaking, ["---", *["---:"] * (len(header) - 1 + leaking)]]
    for result in results:
        cells = [result.mean(metric) for metric in metrics] + [result.mean(metrics[-1], name) for name in shown]
        cells += [result.mean_leakage()] * leaking
        rows.append([result.name, *(f"{x:.2f}" if math.isfinite(x) else "–" for x in cells)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


# ------------------------------------------------------------------------------------------------ heads on a source


@dataclass(frozen=True)
class Share:
    """How many of how many were right; shares add up."""

    right: int
    total: int

    @property
    def rate(self) -> float:
        return self.right / self.total if self.total else math.nan

    def __add__(self, other: "Share") -> "Share":
        return Share(self.right + other.right, self.total + other.total)


def active_frames(source: Signal, hop: int, frames: int, *, floor_db: float = -40.0) -> NDArray[np.bool_]:
    """Whether a true source (channels, samples) sounds about each frame's centre k·hop: its power over two hops lies
    less than ``-floor_db`` under that of its loudest frame."""
    power = np.square(np.atleast_2d(np.asarray(source, np.float64))).sum(axis=0)
    total = np.concatenate([[0.0], np.cumsum(power)])
    centres = np.arange(frames) * hop
    low, high = np.clip(centres - hop, 0, len(power)), np.clip(centres + hop, 0, len(power))
    mean = (total[high] - total[low]) / np.maximum(high - low, 1)
    return np.asarray((mean > 0) & (mean >= mean.max(initial=0.0) * 10 ** (floor_db / 10)))


def pitch_share(
    read: NDArray[np.integer[Any]], true: NDArray[np.integer[Any]], active: NDArray[np.bool_] | None = None
) -> Share:
    """The voiced frames whose MIDI pitch was read rightly: the raw pitch accuracy of Poliner et al. 2007, "Melody
    transcription from music audio". Frames whose true pitch is negative, or that are not active, do not count. Arrays
    (frames,). InputError for lengths that differ."""
    if read.shape != true.shape or (active is not None and active.shape != true.shape):
        raise InputError(f"pitches are read and labelled frame by frame, not {read.shape} and {true.shape}")
    voiced = (true >= 0) if active is None else (true >= 0) & active
    return Share(int((read[voiced] == true[voiced]).sum()), int(voiced.sum()))


def family_share(read: NDArray[np.integer[Any]], true: NDArray[np.integer[Any]]) -> Share:
    """The sources whose family was read rightly; those without one (negative) do not count. InputError as above."""
    if read.shape != true.shape:
        raise InputError(f"families are read and labelled source by source, not {read.shape} and {true.shape}")
    known = true >= 0
    return Share(int((read[known] == true[known]).sum()), int(known.sum()))


@dataclass(frozen=True)
class HeadScores:
    """What was read off a separated source, in the terms of melody extraction (Poliner et al. 2007).

    pitch: frames where the true source sounds a note, and the likeliest pitch is that note, said to sound or not (raw
    pitch accuracy); chroma: the same up to octaves; recall: such frames that are said to be voiced; false_alarm: frames
    where the true source is silent that are. family: by example.
    """

    pitch: Share = Share(0, 0)
    chroma: Share = Share(0, 0)
    recall: Share = Share(0, 0)
    false_alarm: Share = Share(0, 0)
    family: Share = Share(0, 0)

    def __add__(self, other: "HeadScores") -> "HeadScores":
        return HeadScores(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


def evaluate_heads(
    read: Callable[[NDArray[np.float32]], HeadReading], examples: Iterable[LabelledExample], hop: int
) -> list[HeadScores]:
    """The scores of each source, apart: the family of a source that is always drums is no feat.

    ``read`` is given a mix (channels, samples). Families are judged where the source sounds at all. InputError if
    there is no example.
    """
    scores: list[HeadScores] = []
    for example in examples:
        found = read(example.sources.sum(axis=0))
        shapes = {found.pitch.shape, found.voiced.shape, example.pitches.shape}
        if len(shapes) > 1 or found.family.shape != example.families.shape:
            raise InputError(
                f"the heads read {found.pitch.shape}, {found.voiced.shape} and {found.family.shape}; the labels are "
                f"{example.pitches.shape} and {example.families.shape}"
            )
        scores = scores or [HeadScores()] * len(example.sources)
        for place, source in enumerate(example.sources):
            active = active_frames(source, hop, example.pitches.shape[1])
            true, pitch, said = example.pitches[place], found.pitch[place], found.voiced[place]
            voiced, silent = (true >= 0) & active, (true == UNVOICED) & ~active
            own = slice(place, place + 1) if active.any() else slice(0, 0)
            scores[place] += HeadScores(
                pitch_share(pitch, true, active),
                pitch_share(pitch % 12, np.where(true < 0, -1, true % 12), active),
                Share(int(said[voiced].sum()), int(voiced.sum())),
                Share(int(said[silent].sum()), int(silent.sum())),
                family_share(found.family[own], example.families[own]),
            )
    if not scores:
        raise InputError("there is no example to judge the heads on")
    return scores
