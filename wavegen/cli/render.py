"""``wavegen render``: mel file to audio file."""

from pathlib import Path
from typing import Annotated

import typer

from wavegen.cli import options
from wavegen.cli.report import Report


def render(
    context: typer.Context,
    mel: Annotated[Path, typer.Argument(metavar="MEL", help="A log-mel (bands, frames): a .npy, .npz or .pt file.")],
    output: options.Output,
    spec: Annotated[
        str | None,
        typer.Option("--spec", help="The mel's convention, by name or .json/.yaml file; it is converted if need be."),
    ] = None,
    bit_depth: options.BitDepth = None,
    vocoder: options.Vocoder = "default",
    refine: options.Refine = None,
    temperature: options.Temperature = None,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
    precision: options.Precision = None,
    seed: options.Seed = None,
    device: options.Device = "cpu",
) -> None:
    """Render a mel spectrogram with a vocoder.

    A mel that states another convention than the vocoder's is refused, unless --spec says that it is known.
    """
    report: Report = context.obj
    subtype = options.subtype(bit_depth)

    from wavegen import pipelines
    from wavegen.audio.io import write

    values, stated = pipelines.read_mel(mel)
    given = None if spec is None else pipelines.read_spec(spec)
    audio = pipelines.render(
        values,
        spec=given or stated,
        convert=given is not None,
        vocoder=vocoder,
        refine=refine,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        precision=precision,
        seed=seed,
        device=device,
        name=str(mel),
    )
    write(output, audio, subtype=subtype)
    where = "standard output" if str(output) == "-" else output
    report.say(f"{where}: {audio.samples.shape[1] / audio.sample_rate:.2f} s at {audio.sample_rate} Hz")
