"""``wavegen resynth``: copy-synthesis of audio files."""

import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wavegen.cli import options
from wavegen.cli.report import FAILED, Failures, Report
from wavegen.errors import InputError

if TYPE_CHECKING:
    from wavegen.pipelines import SeededOptions


def resynth(
    context: typer.Context,
    sources: Annotated[
        list[Path], typer.Argument(metavar="IN...", parser=options.path, help="Audio files, or - for standard input.")
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            parser=options.path,
            help="The file to write, - for stdout, or a folder for several files.",
        ),
    ],
    bit_depth: options.BitDepth = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", help="Draw waveform, spectrogram and pitch of the copy: .png, .svg or .pdf."),
    ] = None,
    vocoder: options.Vocoder = "default",
    refine: options.Refine = None,
    temperature: options.Temperature = None,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
    precision: options.Precision = None,
    seed: options.Seed = None,
    device: options.Device = "cpu",
) -> None:
    """Copy-synthesis: audio to mel and back through a vocoder.

    Any sample rate and any number of channels; the copy has the same, and the same length. Files of any length are
    processed in bounded memory. Of several files, one that fails is told and does not stop the others; the exit status
    is then 1.
    """
    report: Report = context.obj
    subtype = options.subtype(bit_depth)
    if plot is not None and (len(sources) > 1 or str(output) == "-"):
        raise InputError("--plot draws one copy that goes to a file; leave it out here")
    into_folder = len(sources) > 1 or output.is_dir()
    targets = _targets(sources, output) if into_folder else [output]

    from wavegen import pipelines
    from wavegen.audio import io, plots
    from wavegen.audio.batch import output_folders

    for target in targets:
        io.require_other(target, sources)
    if plot is not None:
        io.require_other(plot, sources)
        plots.require_sheet(plot)
    sampling: SeededOptions = {
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "precision": precision,
        "seed": seed,
    }
    pipelines.load_vocoder(vocoder, device, refine=refine, **sampling)  # what is wrong with it is wrong for all files
    failures = Failures(report)
    with output_folders([output]) if into_folder else nullcontext(), report.progress() as step:
        for number, (source, target) in enumerate(zip(sources, targets, strict=True), 1):

            def within(done: float, whole: float, before: int = number - 1, name: str = source.name) -> None:
                step(before + done / whole, len(sources), name)

            start = time.perf_counter()
            try:
                seconds = pipelines.resynth_file(
                    source,
                    target,
                    vocoder=vocoder,
                    refine=refine,
                    device=device,
                    subtype=subtype,
                    progress=within,
                    **sampling,
                )
            except Exception as error:
                if len(sources) == 1:
                    raise
                failures.add(str(source), error)
                continue
            busy = time.perf_counter() - start
            where = "standard output" if str(target) == "-" else target
            report.say(f"{where}: {seconds:.2f} s copied in {busy:.2f} s (real-time factor {busy / seconds:.3f})")
        if failures.count:
            report.say(f"{len(sources)} files: {len(sources) - failures.count} copied, {failures.count} failed")
            raise typer.Exit(FAILED)
    if plot is not None:
        plots.sheet(io.read(targets[0]), plot, title=targets[0].name)
        report.say(f"{plot}: drawn")


def _targets(sources: list[Path], output: Path) -> list[Path]:
    """Where each source goes in the folder ``output``."""
    if str(output) == "-":
        raise InputError("standard output takes one file; give a folder as --output")
    names = [source.name for source in sources]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{twice[0]}: several inputs have this name and would overwrite each other in {output}")
    return [output / ("stdin.wav" if name == "-" else name) for name in names]
