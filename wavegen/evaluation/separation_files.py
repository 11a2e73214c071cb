"""Separation scored on folders of held-out pieces: by models, or by estimates that any program has written.

A mix is the sum of all stems of a piece, those that nothing is scored on included. Models work as ``wavegen separate``
does, at their own rate and channels, to which true sources are brought; without one, files are compared as they are.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from wavegen import separation_jobs
from wavegen.audio import io
from wavegen.audio.io import Audio
from wavegen.audio.resample import resample
from wavegen.errors import InputError
from wavegen.evaluation import machine
from wavegen.evaluation.bootstrap import CONFIDENCE, RESAMPLES
from wavegen.evaluation.separation import (
    ItemScores,
    Sources,
    SystemScores,
    best_order,
    ideal_mask,
    leakage,
    mask_size,
    score,
    table,
)
from wavegen.separation.base import Separator, SeparatorSpec
from wavegen.separation_jobs import Separation
from wavegen.training.mixtures import recording
from wavegen.training.stem_folders import LAYOUTS, SOUND, StemFiles

SHOWN = ("si_sdr", "si_sdr_i", "snr", "sdr", "museval_sdr")
NO_SPLIT = "none"
_VARIANTS = {"librimix": ("rate", "mode", "mixture"), "wsj0-2mix": ("rate", "mode")}

Samples = NDArray[np.float32]
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Format:
    """What files that sound together are: Hz, the most channels and the most samples of any."""

    sample_rate: int
    channels: int
    samples: int


@dataclass(frozen=True)
class Piece:
    """A mix: the files of each source (none: the piece lacks it), and of what else is in the mix."""

    name: str
    sources: Mapping[str, tuple[Path, ...]]
    rest: tuple[Path, ...]
    format: Format


@dataclass(frozen=True)
class Truth:
    """The part of a piece that is scored: ``count`` samples of its files from ``first`` on, and what they hold.

    references (sources, channels, n) and rest (channels, n) at ``sample_rate``; ``spec`` asks for rate and channels.
    """

    piece: Piece
    first: int
    count: int
    spec: SeparatorSpec | None
    sample_rate: int
    references: Samples
    rest: Samples

    @property
    def mix(self) -> NDArray[np.float64]:
        return np.asarray(self.references.sum(axis=0, dtype=np.float64) + self.rest)


Estimator = Callable[[Truth], Sources]
"""The estimates, of the shape of the references."""


@dataclass(frozen=True)
class Trial:
    """What is scored on what, all of it checked but for the samples. ``notes``: lines that a reader should know."""

    pieces: list[Piece]
    sources: tuple[str, ...]
    interchangeable: bool
    spec: SeparatorSpec | None
    systems: dict[str, Estimator]
    seconds: float | None
    notes: list[str]
    facts: dict[str, Any]


@dataclass(frozen=True)
class SeparationEvaluation:
    """The bounds and all systems on the same mixes, in the order of the table."""

    systems: list[SystemScores]
    facts: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON-serialisable; numbers that are not finite become None."""
        return {**self.facts, "systems": [system.to_dict() for system in self.systems]}

    def text(self) -> str:
        """A line on what was scored, and a Markdown table with a row for each system, in dB."""
        rates = "/".join(map(str, self.facts["sample_rates"]))
        order = ", in the best order" if self.facts["interchangeable"] else ""
        count = len(self.systems[0].items)
        about = f"{count} mix{'' if count == 1 else 'es'} at {rates} Hz of {', '.join(self.systems[0].sources)}{order}"
        rows = [replace(system, name=system.name.replace("|", "\\|")) for system in self.systems]
        return f"{about}; dB\n\n{table(rows, SHOWN)}"


# ------------------------------------------------------------------------------------------------- what is scored


def held_out(
    root: Path, *, layout: str = "prepared", split: str = "test", variant: str | None = None, limit: int | None = None
) -> list[StemFiles]:
    """The first ``limit`` pieces of a folder in one of the LAYOUTS.

    split: "train", "validation", "test", or "none" for prepared pieces that lie in the folder itself. variant: of
    librimix and wsj0-2mix, the folders "rate[/length[/mixture]]", as "wav8k/min". InputError for what is not there.
    """
    if layout not in LAYOUTS:
        raise InputError(f"layout must be one of {', '.join(LAYOUTS)}, not {layout!r}")
    reader = cast(Callable[..., list[StemFiles]], LAYOUTS[layout])
    if not root.is_dir():
        raise InputError(f"{root}: no such folder")
    if layout == "prepared" and split in ("train", "validation", "test") and not (root / split).is_dir():
        raise InputError(f"{root / split}: no such folder; where pieces lie in {root} itself, the split is {NO_SPLIT}")
    if split == NO_SPLIT and layout != "prepared":
        raise InputError(f"split {NO_SPLIT!r} is for the layout prepared; {layout} has train, validation, test")
    return reader(root, None if split == NO_SPLIT else split, **_variant(layout, variant))[:limit]


def _variant(layout: str, variant: str | None) -> dict[str, str]:
    if variant is None:
        return {}
    fields = _VARIANTS.get(layout)
    if fields is None:
        raise InputError(f"variant {variant!r}: the layout {layout} has none; {', '.join(_VARIANTS)} have")
    parts = variant.split("/")
    if not 1 <= len(parts) <= len(fields) or not all(re.fullmatch(r"\w+", part) for part in parts):
        raise InputError(f"variant must be folders RATE[/LENGTH], such as wav8k/min, not {variant!r}")
    return dict(zip(fields, parts, strict=False))


def row_names(given: Sequence[str]) -> list[str]:
    """A name for each model or folder, the shortest that tells them apart. InputError for one that is given twice."""
    places = [str(Path(name).resolve()) for name in given]
    for place, name in enumerate(given):
        if places[place] in places[:place]:
            raise InputError(f"{name}: given twice")
    short = [path.stem if path.is_file() else path.name for path in map(Path, places)]
    for names in (short, list(given)):
        if len({*names, *_BOUNDS}) == len(names) + len(_BOUNDS):
            return names
    return places


def plan(
    files: Sequence[StemFiles],
    models: Mapping[str, Separator],
    estimates: Mapping[str, Path],
    *,
    stems: Sequence[str] = (),
    interchangeable: bool | None = None,
    seconds: float | None = None,
    how: Separation | None = None,
) -> Trial:
    """Everything that is to be scored, by names.

    Sources are the models' own; without one, ``stems``, or of each piece all its stems. The source "other" is all stems
    that no other source takes. A source that a piece lacks is silent. estimates: folders with
    ``<piece>/<source>.<extension>``, or, where references are ``s1/<piece>.wav``, files named as these, for each source
    that a piece has. interchangeable: whether sources are scored in their best order; by default what the models say,
    or whether all are called speaker1, speaker2, ... seconds: of each piece, so much from its middle. InputError for
    models that differ in what they work on, and for files that are missing, broken or do not agree in rate, channels
    and length.
    """
    how = how or Separation()
    spec = _common_spec(models)
    for model in models.values():
        separation_jobs.check(model, how)
    if seconds is not None and not 0 < seconds < float("inf"):
        raise InputError(f"seconds must be positive, not {seconds:g}")
    if spec is not None and stems:
        raise InputError("stems are chosen where there is no model: a model has sources of its own")
    known = list(dict.fromkeys(name for item in files for name in item.stems))
    sources = tuple(spec.sources if spec is not None else stems or known)
    for name in stems:
        if name != "other" and name not in known:
            raise InputError(f"no piece has the stem {name!r}; there are {', '.join(known)}")
    if interchangeable is None:
        named = len(sources) > 1 and all(re.fullmatch(r"speaker\d+", name) for name in sources)
        interchangeable = named if spec is None else spec.interchangeable
    chosen = spec is not None or bool(stems)
    pieces = [_piece(item, sources if chosen else tuple(item.stems), spec) for item in files]
    systems = {name: _by_model(name, model, how) for name, model in models.items()}
    systems |= {name: _by_files(root, pieces) for name, root in estimates.items()}
    facts = {
        "pieces": len(pieces),
        "sources": list(sources),
        "interchangeable": interchangeable,
        "seconds": seconds,
        "sample_rates": sorted({spec.sample_rate if spec else piece.format.sample_rate for piece in pieces}),
        "separation": {name: getattr(how, name) for name in ("shifts", "overlap", "segment", "seed")},
    }
    notes = _notes(files, pieces, sources)
    return Trial(pieces, sources, interchangeable, spec, systems, seconds, notes, facts | {"notes": notes})


def _common_spec(models: Mapping[str, Separator]) -> SeparatorSpec | None:
    """What all models work on; the order of their sources is no difference."""
    found: SeparatorSpec | None = None
    first = ""
    for name, model in models.items():
        spec = model.spec
        if found is None:
            first, found = name, spec
            continue
        for label, one, other in (
            ("the sources", ", ".join(sorted(spec.sources)), ", ".join(sorted(found.sources))),
            ("the rate", f"{spec.sample_rate} Hz", f"{found.sample_rate} Hz"),
            ("channels:", spec.channels, found.channels),
            ("interchangeable sources:", spec.interchangeable, found.interchangeable),
        ):
            if one != other:
                raise InputError(f"{name} has {label} {one}, {first} {other}: score them apart")
    return found


def _piece(item: StemFiles, sources: tuple[str, ...], spec: SeparatorSpec | None) -> Piece:
    others = [stem for stem in item.stems if stem not in sources or stem == "other"]
    own = {name: others if name == "other" else [name] * (name in item.stems) for name in sources}
    if not any(own.values()):
        raise InputError(f"{item.id}: has the stems {', '.join(item.stems)}, and none of {', '.join(sources)}")
    rest = [] if "other" in sources else others
    together = _together([path for paths in item.stems.values() for path in paths])
    if spec is not None and together.channels > 2:
        raise InputError(f"{item.id}: {together.channels} channels; a model is scored on 1 or 2")
    files = {name: tuple(path for stem in stems for path in item.stems[stem]) for name, stems in own.items()}
    return Piece(item.id, files, tuple(path for stem in rest for path in item.stems[stem]), together)


def _notes(files: Sequence[StemFiles], pieces: Sequence[Piece], sources: Sequence[str]) -> list[str]:
    absent = [name for name in sources if not any(piece.sources.get(name) for piece in pieces)]
    unscored = {stem for item in files for stem in item.stems if stem not in sources and "other" not in sources}
    notes = [f"in the mixes, but not scored: {', '.join(sorted(unscored))}"] if unscored else []
    if absent:
        notes.append(f"in no mix, so that only what leaks into it is scored: {', '.join(absent)}")
    return notes


# ------------------------------------------------------------------------------------------------------------ files


def _format(path: Path) -> Format:
    if path.suffix == ".npy":
        stored = recording(path, None)
        return Format(stored.sample_rate, stored.channels, stored.samples)
    about = io.info(path)
    if not about.frames:
        raise InputError(f"{path}: no audio samples")
    return Format(about.sample_rate, about.channels, about.frames)


def _together(paths: Sequence[Path]) -> Format:
    """The format of files that are to be added up. InputError where rates differ, or channels other than 1 and n."""
    formats = [_format(path) for path in paths]
    most = max(formats, key=lambda one: one.channels)
    for path, one in zip(paths, formats, strict=True):
        if one.sample_rate != most.sample_rate:
            raise InputError(f"{path}: {one.sample_rate} Hz, beside stems of {most.sample_rate} Hz")
        if one.channels not in (1, most.channels):
            raise InputError(f"{path}: {one.channels} channels, beside stems of {most.channels}")
    return Format(most.sample_rate, most.channels, max(one.samples for one in formats))


def _samples(path: Path, whole: Format, first: int, count: int) -> Samples:
    """(whole.channels, count) of a file from sample ``first`` on; silence beyond its end."""
    own = _format(path)
    out = np.zeros((whole.channels, count), np.float32)
    if first < own.samples:
        start = first / own.sample_rate
        if path.suffix == ".npy":
            part = recording(path, None).read(start, count, own.sample_rate, own.channels)
        else:
            part = io.read(path, start=start, duration=count / own.sample_rate).samples
        out[:, : part.shape[1]] = part
    return out


def _sum(paths: Sequence[Path], whole: Format, first: int, count: int) -> Samples:
    total = np.zeros((whole.channels, count), np.float64)
    for path in paths:
        total += _samples(path, whole, first, count)
    return total.astype(np.float32)


def _converted(samples: Samples, rate: int, spec: SeparatorSpec | None) -> Samples:
    """(channels, n) as a model wants them: one channel is the mean of two, two of one are the same."""
    if spec is None:
        return samples
    if len(samples) != spec.channels:
        mono = samples.mean(axis=0, keepdims=True, dtype=np.float64).astype(np.float32)
        samples = np.repeat(mono, spec.channels, axis=0)
    return resample(samples, rate, spec.sample_rate)


def truth(piece: Piece, spec: SeparatorSpec | None, seconds: float | None) -> Truth:
    """A piece, or ``seconds`` from its middle, as it is scored. InputError for files that cannot be read whole."""
    whole = piece.format
    count = whole.samples if seconds is None else min(whole.samples, max(1, round(seconds * whole.sample_rate)))
    first = (whole.samples - count) // 2
    parts = [
        _converted(_sum(paths, whole, first, count), whole.sample_rate, spec)
        for paths in (*piece.sources.values(), piece.rest)
    ]
    if not parts[0].shape[-1]:
        raise InputError(f"{piece.name}: {count} samples are too few to be scored")
    rate = whole.sample_rate if spec is None else spec.sample_rate
    return Truth(piece, first, count, spec, rate, np.stack(parts[:-1]), parts[-1])


# ---------------------------------------------------------------------------------------------------------- systems


def _by_model(name: str, model: Separator, how: Separation) -> Estimator:
    def estimate(true: Truth) -> Sources:
        try:
            made = separation_jobs.separate(
                Audio(true.mix.astype(np.float32), true.sample_rate),
                model=model,
                shifts=how.shifts,
                overlap=how.overlap,
                segment=how.segment,
                seed=how.seed,
            )
        except InputError as error:
            raise InputError(f"{name}, {true.piece.name}: {error}") from error
        return np.stack([made[source].samples for source in true.piece.sources])

    return estimate


def _by_files(root: Path, pieces: Sequence[Piece]) -> Estimator:
    """Estimates on disk; that they are there and agree with their references is found out now."""
    if not root.is_dir():
        raise InputError(f"{root}: no such folder")
    found = {(piece.name, name): _estimate_file(root, piece, name) for piece in pieces for name in piece.sources}

    def estimate(true: Truth) -> Sources:
        whole, made = true.piece.format, []
        for name in true.piece.sources:
            path = found[true.piece.name, name]
            part = _sum([] if path is None else [path], whole, true.first, true.count)
            made.append(_converted(part, whole.sample_rate, true.spec))
        return np.stack(made)

    return estimate


def _estimate_file(root: Path, piece: Piece, source: str) -> Path | None:
    """The estimate of a source; None, which is silence, if there is none of a source that the piece does not have."""
    references = piece.sources[source]
    places = [root / piece.name / source]
    if len(references) == 1 and references[0].stem == piece.name:  # a folder for each source, as s1/<piece>.wav
        places.append(root / references[0].parent.name / piece.name)
    named = dict.fromkeys(place.with_name(place.name + extension) for place in places for extension in SOUND)
    paths = [path for path in named if path.is_file()]
    if len(paths) > 1:
        raise InputError(f"{paths[1]}: {paths[0]} is there, too")
    if not paths:
        if references:
            raise InputError(f"{places[0]}.wav: no such file, nor with another extension ({', '.join(SOUND)})")
        return None
    made, whole = _format(paths[0]), piece.format
    own = _together(references) if references else whole
    for label, found, wanted in (
        ("Hz", made.sample_rate, {own.sample_rate}),
        ("channels", made.channels, {own.channels, whole.channels}),
        ("samples", made.samples, {own.samples, whole.samples}),
    ):
        if found not in wanted:
            reference = references[0] if references else piece.name
            raise InputError(f"{paths[0]}: {found} {label}; {reference} has {' or '.join(map(str, sorted(wanted)))}")
    return paths[0]


def ideal(true: Truth, kind: str, *, block: int = 1 << 20) -> Sources:
    """The sources under an ideal mask that knows them and the rest of the mix, as :func:`ideal_mask` has it.

    ``block`` samples, a power of two of at least a window, are masked at a time: spectra of whole songs would take
    gigabytes. The result is the same, since frames stand at the same places.
    """
    size = mask_size(true.sample_rate)
    parts = np.concatenate([true.references, true.rest[None]]) if true.piece.rest else true.references
    out = np.empty(parts.shape, np.float64)
    for start in range(0, parts.shape[-1], block):
        low, high = max(0, start - size), start + block + size
        out[..., start : start + block] = ideal_mask(parts[..., low:high], kind, size)[..., start - low :][..., :block]
    return out[: len(true.references)]


_BOUNDS: dict[str, Estimator] = {
    "mixture": lambda true: np.broadcast_to(true.mix, true.references.shape),
    "IBM": lambda true: ideal(true, "IBM"),
    "IRM": lambda true: ideal(true, "IRM"),
}


# ------------------------------------------------------------------------------------------------------- evaluation


def evaluate(trial: Trial, *, device: str = "cpu", progress: Progress | None = None) -> SeparationEvaluation:
    """The bounds and every system of a trial on each piece, which is read once. InputError for files that are broken.

    ``device`` is only described. ``progress`` is called with (done, total, what was just finished).
    """
    facts = trial.facts | {
        "bootstrap_resamples": RESAMPLES,
        "confidence": CONFIDENCE,
        "machine": machine.describe(device),
    }
    systems = _BOUNDS | trial.systems
    rows: dict[str, list[ItemScores]] = {name: [] for name in systems}
    total = len(trial.pieces) * len(systems)
    for number, piece in enumerate(trial.pieces):
        true = truth(piece, trial.spec, trial.seconds)
        for place, (name, estimate) in enumerate(systems.items(), 1):
            rows[name].append(_scored(true, estimate(true), trial.interchangeable))
            if progress is not None:
                progress(number * len(systems) + place, total, f"{piece.name}: {name}")
    return SeparationEvaluation([SystemScores(name, trial.sources, items) for name, items in rows.items()], facts)


def _scored(true: Truth, made: Sources, interchangeable: bool) -> ItemScores:
    """Sources that the piece lacks take no windows from the others' framewise scores: only their leakage is told."""
    if interchangeable:
        made = made[best_order(true.references, made)]
    names, mix = list(true.piece.sources), true.mix
    there = [place for place, name in enumerate(names) if true.piece.sources[name]]
    pair = (true.references, made)
    if len(there) < len(names):
        pair = (true.references[there], made[there])
    found = score(true.piece.name, *pair, [names[place] for place in there], true.sample_rate, mixture=mix)
    lacking = {name: leakage(made[place], mix) for place, name in enumerate(names) if place not in there}
    return replace(found, leakage=found.leakage | lacking)
