"""``wavegen import``: published separators into checkpoints of ours."""

from pathlib import Path
from typing import Annotated

import typer

from wavegen.cli.report import Report
from wavegen.errors import InputError


def import_(
    context: typer.Context,
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="A checkpoint; for Open-Unmix those of all sources, or their folder."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write: OUT.safetensors.")],
    sources: Annotated[
        str | None,
        typer.Option(
            "--sources",
            help="Names of the sources, in the order of the file's, or of the files unless these are called so.",
        ),
    ] = None,
    sample_rate: Annotated[
        int | None, typer.Option("--sample-rate", help="Hz, where the file does not say, or is wrong.")
    ] = None,
    mask: Annotated[
        str | None,
        typer.Option(
            "--mask", metavar="relu|sigmoid", help="What ends a Conv-TasNet, which torchaudio's files do not say."
        ),
    ] = None,
    layers: Annotated[
        int | None,
        typer.Option("--layers", help="Layers a repeat of a Conv-TasNet, which torchaudio's files do not say."),
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="Store in half precision: half the size.")] = False,
) -> None:
    """Turn a published checkpoint into one of ours.

    Open-Unmix (.pth), Conv-TasNet (torchaudio, asteroid), HDemucs (also torchaudio's) and HTDemucs. Nothing in a
    file is ever run. wavegen separate --model takes these files too.
    """
    report: Report = context.obj
    if output.suffix != ".safetensors":
        raise InputError(f"{output}: a model is a .safetensors file")
    if mask not in (None, "relu", "sigmoid"):
        raise InputError(f"--mask: must be relu or sigmoid, not {mask}")
    for name, value in (("--sample-rate", sample_rate), ("--layers", layers)):
        if value is not None and value < 1:
            raise InputError(f"{name}: must be positive, not {value}")
    names = None if sources is None else tuple(name.strip() for name in sources.split(","))

    from wavegen.audio.io import require_other, require_writable
    from wavegen.checkpoints import importers, save

    require_other(output, files)
    require_writable(output)
    model = importers.import_separator(files, sources=names, sample_rate=sample_rate, mask=mask, layers=layers)
    origin = ", ".join(file.name for file in files)
    save(output, model, card={"name": output.stem, "summary": f"imported from {origin}"}, half=half)
    spec = model.spec
    sizes = f"{spec.sample_rate} Hz, {spec.channels} channel{'s' if spec.channels > 1 else ''}"
    report.say(f"{output}: {type(model).__name__}, {', '.join(spec.sources)}, {sizes}")
