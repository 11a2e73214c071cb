"""``wavegen render``: a mel file, or a score, to an audio file."""

from pathlib import Path
from typing import Annotated, Any

import typer

from wavegen.cli import options
from wavegen.cli.report import Report
from wavegen.errors import InputError

SCORES = (".mid", ".midi", ".abc", ".musicxml", ".mxl", ".xml")


def render(
    context: typer.Context,
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A score: .mid, .abc, .musicxml, .mxl; or a log-mel (bands, frames): .npy, .npz, .pt.",
        ),
    ],
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
    renderer: Annotated[
        str | None,
        typer.Option("--renderer", metavar="neural|fluidsynth", help="Of a score: what makes the sound (neural)."),
    ] = None,
    soundfont: Annotated[Path | None, typer.Option("--soundfont", help="For --renderer fluidsynth.")] = None,
    tune: Annotated[
        int | None, typer.Option("--tune", help="Of an ABC file that holds several: the number of one, after X:.")
    ] = None,
    stems: Annotated[
        Path | None,
        typer.Option(
            "--stems", metavar="DIR", parser=options.path, help="Of a score: also write every track by itself here."
        ),
    ] = None,
    device: options.Device = "cpu",
) -> None:
    """Render a score with its instruments, or a mel spectrogram with a vocoder.

    A mel that states another convention than the vocoder's is refused, unless --spec says that it is known.
    """
    report: Report = context.obj
    subtype = options.subtype(bit_depth)

    given = {
        "--spec": spec,
        "--refine": refine,
        "--temperature": temperature,
        "--top-k": top_k,
        "--top-p": top_p,
        "--precision": precision,
        "--seed": seed,
    }
    if source.suffix.lower() in SCORES:
        _refuse(given, "a score")
        _refuse({} if source.suffix.lower() == ".abc" else {"--tune": tune}, "this file")
        _score(source, output, subtype, report, renderer, vocoder, soundfont, stems, tune, device)
        return
    _refuse({"--renderer": renderer, "--soundfont": soundfont, "--tune": tune, "--stems": stems}, "a mel")

    from wavegen import pipelines
    from wavegen.audio.io import write

    values, stated = pipelines.read_mel(source)
    convention = None if spec is None else pipelines.read_spec(spec)
    audio = pipelines.render(
        values,
        spec=convention or stated,
        convert=convention is not None,
        vocoder=vocoder,
        refine=refine,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        precision=precision,
        seed=seed,
        device=device,
        name=str(source),
    )
    write(output, audio, subtype=subtype)
    where = "standard output" if str(output) == "-" else output
    report.say(f"{where}: {audio.samples.shape[1] / audio.sample_rate:.2f} s at {audio.sample_rate} Hz")


def _refuse(given: dict[str, Any], kind: str) -> None:
    for option, value in given.items():
        if value is not None:
            raise InputError(f"{option}: is not for {kind}; leave it out")


def _score(
    source: Path,
    output: Path,
    subtype: str | None,
    report: Report,
    renderer: str | None,
    vocoder: str,
    soundfont: Path | None,
    stems: Path | None,
    tune: int | None,
    device: str,
) -> None:
    from wavegen import music_jobs
    from wavegen.audio.batch import require_folder
    from wavegen.audio.io import write

    if stems is not None:
        require_folder(stems)
    rendered = music_jobs.render_score(
        source,
        renderer=renderer or "neural",  # type: ignore[arg-type]  # checked there
        vocoder=vocoder,
        soundfont=soundfont,
        stems=stems is not None,
        number=tune,
        device=device,
    )
    if stems is not None:
        options.write_stems(rendered.stems, stems, subtype, mix=output)
    write(output, rendered.audio, subtype=subtype)
    where = "standard output" if str(output) == "-" else output
    report.say(f"{where}: {rendered.audio.duration:.2f} s of music in {report.elapsed():.1f} s")
