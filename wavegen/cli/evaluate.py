"""``wavegen evaluate``: score a vocoder, a speech model with its vocoder, or separators."""

import functools
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wavegen.cli import options
from wavegen.cli.report import Report
from wavegen.errors import InputError

if TYPE_CHECKING:
    from wavegen.audio.io import Audio
    from wavegen.training.data import Utterance

app = typer.Typer(help="Score a vocoder on recordings, a speech model on texts, or separators on mixes of known stems.")

Limit = Annotated[int | None, typer.Option("--limit", help="Use only the first N recordings.")]
HELD_OUT = "A folder in LJSpeech layout; its held-out part (about 5 %, chosen by text) is used."


@app.command("vocoder")
def evaluate_vocoder(
    context: typer.Context,
    sources: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[RECORDINGS]...", parser=options.path, help="Audio files, or folders of them."),
    ] = None,
    data: Annotated[Path | None, typer.Option("--data", help=HELD_OUT)] = None,
    seconds: Annotated[
        float | None, typer.Option("--seconds", help="Of each recording, use this much from its middle.")
    ] = None,
    vocoder: options.Vocoder = "default",
    refine: options.Refine = None,
    temperature: options.Temperature = None,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
    precision: options.Precision = None,
    seed: options.Seed = None,
    baseline: Annotated[str, typer.Option("--baseline", help="The vocoder to compare with, or none.")] = "griffin-lim",
    perceptual: Annotated[
        bool, typer.Option("--perceptual/--no-perceptual", help="Score PESQ and eSTOI, which need their packages.")
    ] = True,
    limit: Limit = None,
    json_file: options.Json = None,
    device: options.Device = "cpu",
) -> None:
    """Copy-synthesis of recordings, or of a speech folder's held-out part, scored against the recordings."""
    report: Report = context.obj
    if (data is None) == (not sources):
        raise InputError("give recordings to score, or a speech folder with --data")
    if seconds is not None and not seconds > 0:
        raise InputError(f"--seconds: must be positive, not {seconds:g}")
    _check(limit)
    held_out = [] if data is None else [utterance.path for utterance in _held_out(data, limit)]
    paths = [*held_out, *_audio_files(sources or [])][:limit]
    options.require_json(json_file, paths)

    from wavegen import pipelines
    from wavegen.evaluation import protocol

    voice = pipelines.load_vocoder(
        vocoder,
        device,
        refine=refine,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        precision=precision,
        seed=seed,
    )
    with report.progress() as step:
        result = protocol.evaluate_vocoder(
            voice,
            paths if seconds is None else [_middle(path, seconds) for path in paths],
            baseline=None if baseline == "none" else pipelines.load_vocoder(baseline, device, voice.spec),
            name=", ".join([vocoder, *voice.settings]),
            baseline_name=baseline,
            perceptual=perceptual,
            labels=[path.name for path in paths],
            progress=step,
        )
    options.show(protocol.format_table(result), result.to_dict(), json_file, report)


@app.command("speech")
def evaluate_speech(
    context: typer.Context,
    data: Annotated[Path | None, typer.Option("--data", help=HELD_OUT)] = None,
    model: options.Model = "default",
    vocoder: options.Vocoder = "default",
    limit: Limit = None,
    json_file: options.Json = None,
    device: options.Device = "cpu",
) -> None:
    """How well a recogniser understands the speech: Harvard sentences, and held-out texts beside their recordings."""
    report: Report = context.obj
    _check(limit)
    options.require_json(json_file)
    utterances = [] if data is None else _held_out(data, limit)

    from wavegen import pipelines
    from wavegen.evaluation import protocol

    with report.progress() as step:
        result = protocol.evaluate_speech(
            functools.partial(pipelines.speak, model=model, vocoder=vocoder, device=device),
            utterances,
            copy=functools.partial(pipelines.resynth, vocoder=vocoder, refine=0, device=device),
            progress=step,
        )
    options.show(protocol.format_table(result), result.to_dict(), json_file, report)


@app.command("separation")
def evaluate_separation(
    context: typer.Context,
    data: Annotated[
        Path, typer.Option("--data", parser=options.path, help="A folder of held-out pieces whose stems are known.")
    ],
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model", help="Name or checkpoint file of a separator, published ones too; several stand side by side."
        ),
    ] = None,
    estimates: Annotated[
        list[Path] | None,
        typer.Option(
            "--estimates",
            metavar="DIR",
            help="Estimates of any program, DIR/PIECE/STEM.wav; several as above.",
        ),
    ] = None,
    layout: Annotated[
        str, typer.Option("--layout", metavar="prepared|musdb18hq|slakh2100|librimix|wsj0-2mix", help="Of --data.")
    ] = "prepared",
    split: Annotated[
        str,
        typer.Option(
            "--split", metavar="train|validation|test|none", help="none: prepared pieces, DATA/PIECE/STEM.wav."
        ),
    ] = "test",
    variant: Annotated[
        str | None,
        typer.Option("--variant", help="Which folders of librimix (wav8k/min/mix_both) or wsj0-2mix (wav16k/max)."),
    ] = None,
    stems: Annotated[
        list[str] | None,
        typer.Option("--stems", help="Score only these --estimates: vocals,drums. other is all stems not named."),
    ] = None,
    interchangeable: Annotated[
        bool | None,
        typer.Option(
            "--interchangeable/--ordered",
            help="Whether sources are scored in their best order. Default: as the model has it; of estimates, if all "
            "are called speaker1, speaker2, ...",
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", help="Use only the first N pieces.")] = None,
    seconds: Annotated[
        float | None, typer.Option("--seconds", help="Of each piece, use this much from its middle.")
    ] = None,
    shifts: Annotated[int, typer.Option("--shifts", help="As for separate.")] = 0,
    overlap: Annotated[float | None, typer.Option("--overlap", help="As for separate.")] = None,
    segment: Annotated[float | None, typer.Option("--segment", help="As for separate.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="As for separate.")] = 0,
    json_file: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            "--json",
            parser=options.path,
            help="Write all figures to this file too, as JSON; - for standard output instead.",
        ),
    ] = None,
    device: options.Device = "cpu",
) -> None:
    """Separators, or estimates on disk, scored on held-out pieces beside the mixture itself and ideal masks.

    A mix is the sum of its stems. Scores are in dB, means over mixes and then over sources; what leaks into sources
    that are silent has a column of its own.
    """
    report: Report = context.obj
    if seconds is not None and not seconds > 0:
        raise InputError(f"--seconds: must be positive, not {seconds:g}")
    _check(limit)
    asked = tuple(name.strip() for names in stems or [] for name in names.split(",") if name.strip())
    if stems and not asked:
        raise InputError("--stems: names no source")

    from wavegen import separation_jobs
    from wavegen.checkpoints.registry import DEFAULTS
    from wavegen.evaluation import separation_files

    how = separation_jobs.Separation(shifts=shifts, overlap=overlap, segment=segment, seed=seed, device=device)
    given, folders = models or ([] if estimates else ["default"]), estimates or []
    given = [DEFAULTS["separator"] if name == "default" else name for name in given]
    names = separation_files.row_names([*given, *map(str, folders)])
    files = separation_files.held_out(data, layout=layout, split=split, variant=variant, limit=limit)
    options.require_json(json_file, [path for piece in files for paths in piece.stems.values() for path in paths])
    trial = separation_files.plan(
        files,
        {name: separation_jobs.load_separator(model, device) for name, model in zip(names, given, strict=False)},
        dict(zip(names[len(given) :], folders, strict=True)),
        stems=asked,
        interchangeable=interchangeable,
        seconds=seconds,
        how=how,
    )
    for note in trial.notes:
        report.say(f"note: {note}")
    with report.progress() as step:
        result = separation_files.evaluate(trial, device=device, progress=step)
    scored = dict(zip(names, [*given, *map(str, folders)], strict=True))
    about = {"scored": scored, "data": str(data), "layout": layout, "split": split, "variant": variant, "limit": limit}
    options.show(result.text(), replace(result, facts=about | result.facts).to_dict(), json_file, report)


def _check(limit: int | None) -> None:
    if limit is not None and limit < 1:
        raise InputError(f"--limit: must be at least 1, not {limit}")


def _audio_files(sources: list[Path]) -> list[Path]:
    """The files named, and all audio files under the folders named, in the order of their names."""
    from wavegen.training.data import EXTENSIONS

    files = []
    for source in sources:
        inside = [source]
        if source.is_dir():
            inside = sorted(p for p in source.rglob("*") if p.suffix.lower() in EXTENSIONS and p.is_file())
            if not inside:
                raise InputError(f"{source}: no audio files in it ({', '.join(EXTENSIONS)})")
        files += inside
    return files


def _middle(path: Path, seconds: float) -> "Audio":
    from wavegen.audio import io

    start = max(0.0, (io.info(path).duration - seconds) / 2)
    return io.read(path, start=start, duration=seconds)


def _held_out(data: Path, limit: int | None) -> "list[Utterance]":
    from wavegen.training.data import read_metadata, split_by_text

    utterances = split_by_text(read_metadata(data))["test"][:limit]
    if not utterances:
        raise InputError(f"{data}: none of its texts falls into the held-out part")
    return utterances
