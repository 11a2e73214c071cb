"""Options that more than one command takes."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wavegen.cli.report import Report
from wavegen.errors import InputError

if TYPE_CHECKING:
    from wavegen.audio.io import Audio

BIT_DEPTHS = {"16": "PCM_16", "24": "PCM_24", "float": "FLOAT"}


def path(value: str) -> Path:
    """For options that may name a folder, where a variable that was not set would stand for the current one."""
    if not value:
        raise typer.BadParameter("an empty name stands for no file or folder")
    return Path(value)


Vocoder = Annotated[
    str, typer.Option("--vocoder", help="Name or checkpoint file of the vocoder; griffin-lim needs no training.")
]
MusicVocoder = Annotated[str, typer.Option("--vocoder", help="Name or checkpoint file of the vocoder of music.")]
Refine = Annotated[
    int | None,
    typer.Option(
        "--refine",
        help="Iterations, 0 to 64, that draw a neural vocoder's output towards the mel; 0 suits predicted mels. "
        "Default: 8, but 0 for a vocoder that samples, as wavenet.",
    ),
]
Temperature = Annotated[
    float | None,
    typer.Option(
        "--temperature", help="How freely wavenet samples: 0 takes the likeliest, 1 (default) the model's distribution."
    ),
]
TopK = Annotated[int | None, typer.Option("--top-k", help="wavenet samples among its K likeliest classes; 0: all.")]
TopP = Annotated[
    float | None, typer.Option("--top-p", help="wavenet samples among the likeliest classes of this mass; 1: all.")
]
Precision = Annotated[
    str | None,
    typer.Option("--precision", metavar="fp32|bf16|int8", help="What wavenet computes in (default bf16)."),
]
Seed = Annotated[
    int | None, typer.Option("--seed", help="The same seed gives the same samples, of wavenet (default 0).")
]
Model = Annotated[str, typer.Option("--model", help="Name or checkpoint file of the speech model.")]
Device = Annotated[str, typer.Option("--device", help="Where to compute: cpu, cuda, cuda:1, mps.")]
BitDepth = Annotated[str | None, typer.Option("--bit-depth", metavar="16|24|float", help="Sample format of the file.")]
Json = Annotated[
    Path | None,
    typer.Option("--json", parser=path, help="Write all figures to this file too; - for standard output instead."),
]
Output = Annotated[Path, typer.Option("--output", "-o", help="The file to write, or - for standard output.")]


def subtype(bit_depth: str | None) -> str | None:
    """The sample format, in soundfile's words, of a --bit-depth."""
    if bit_depth is None:
        return None
    if bit_depth not in BIT_DEPTHS:
        raise InputError(f"--bit-depth: must be one of {', '.join(BIT_DEPTHS)}, not {bit_depth}")
    return BIT_DEPTHS[bit_depth]


def require_json(json_file: Path | None, inputs: Iterable[Path] = ()) -> None:
    """Raise InputError if :func:`show` could not write there, or would write over an input."""
    from wavegen.audio.io import require_other, require_writable

    if json_file is not None and str(json_file) != "-":
        require_other(json_file, inputs)
        require_writable(json_file)


def show(text: str, values: Mapping[str, Any], json_file: Path | None, report: Report) -> None:
    """Print a text, and write the same figures as JSON if asked to: to a file too, or to standard output instead."""
    from wavegen.audio.io import atomic

    written = json.dumps(values, indent=1)
    if str(json_file) == "-":
        print(written)
        return
    print(text)
    if json_file is not None:
        with atomic(json_file) as temporary:
            temporary.write_text(written + "\n", encoding="utf-8")
        report.say(f"{json_file}: written")


def write_stems(stems: "Mapping[str, Audio]", folder: Path, subtype: str | None, *, mix: Path) -> None:
    """Every stem as ``NAME.wav`` in a folder, which is made if need be; InputError if one would be the mix."""
    from wavegen.audio.batch import output_folders
    from wavegen.audio.io import write

    if clash := [name for name in stems if (folder / f"{name}.wav").resolve() == mix.resolve()]:
        raise InputError(f"{mix}: is the place of the stem {clash[0]}, too; give another --output")
    with output_folders([folder]):
        for name, audio in stems.items():
            write(folder / f"{name}.wav", audio, subtype=subtype)
