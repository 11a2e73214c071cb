"""``wavegen resynth``: copy-synthesis of audio files."""

import time
from pathlib import Path
from typing import Annotated

import typer

from wavegen.cli import options
from wavegen.cli.report import Report
from wavegen.errors import InputError


def resynth(
    context: typer.Context,
    sources: Annotated[list[Path], typer.Argument(metavar="IN...", help="Audio files, or - for standard input.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The file to write, - for stdout, or a folder for several files.")
    ],
    bit_depth: options.BitDepth = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", help="Draw waveform, spectrogram and pitch of the copy: .png, .svg or .pdf."),
    ] = None,
    vocoder: options.Vocoder = "default",
    device: options.Device = "cpu",
) -> None:
    """Copy-synthesis: audio to mel and back through a vocoder.

    Any sample rate and any number of channels; the copy has the same, and the same length. Files of any length are
    processed in bounded memory.
    """
    report: Report = context.obj
    subtype = options.subtype(bit_depth)
    if plot is not None and (len(sources) > 1 or str(output) == "-"):
        raise InputError("--plot draws one copy that goes to a file; leave it out here")
    targets = _targets(sources, output)

    from wavegen import pipelines

    with report.progress() as step:
        for number, (source, target) in enumerate(zip(sources, targets, strict=True), 1):
            start = time.perf_counter()
            seconds = pipelines.resynth_file(source, target, vocoder=vocoder, device=device, subtype=subtype)
            busy = time.perf_counter() - start
            where = "standard output" if str(target) == "-" else target
            report.say(f"{where}: {seconds:.2f} s copied in {busy:.2f} s (real-time factor {busy / seconds:.3f})")
            step(number, len(sources), source.name)
    if plot is not None:
        from wavegen.audio import io, plots

        plots.sheet(io.read(targets[0]), plot, title=targets[0].name)
        report.say(f"{plot}: drawn")


def _targets(sources: list[Path], output: Path) -> list[Path]:
    """Where each source goes: ``output`` itself, or into it under its name if it is a folder or they are many."""
    if len(sources) == 1 and not output.is_dir():
        return [output]
    if len(sources) > 1 and str(output) == "-":
        raise InputError("standard output takes one file; give a folder as --output")
    names = [source.name for source in sources]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{twice[0]}: several inputs have this name and would overwrite each other in {output}")
    options.make_folder(output)
    return [output / ("stdin.wav" if name == "-" else name) for name in names]
