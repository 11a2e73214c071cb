"""``wavegen mel``: recordings continued, mended, blended, given another timbre; sounds out of nothing."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wavegen.cli import options
from wavegen.cli.report import Report

if TYPE_CHECKING:
    from wavegen.audio.io import Audio

app = typer.Typer(no_args_is_help=True, help="Continue, mend, blend and re-voice recordings through their mels.")

Recording = Annotated[Path, typer.Argument(metavar="IN", help="An audio file, or - for standard input.")]
VAE = Annotated[str, typer.Option("--model", help="Name or checkpoint file of the mel VAE.")]
LSTM = Annotated[str, typer.Option("--model", help="Name or checkpoint file of the mel LSTM.")]
Seed = Annotated[int, typer.Option("--seed", help="The same seed gives the same samples.")]
Crossfade = Annotated[
    float, typer.Option("--crossfade", help="Seconds, 0.02 to 0.05, in which the recording gives way to what is made.")
]


@app.command("continue")
def continue_(
    context: typer.Context,
    source: Recording,
    output: options.Output,
    seconds: Annotated[float, typer.Option("--seconds", "-s", help="How much to add, 0.05 to 120.")] = 5.0,
    temperature: Annotated[
        float, typer.Option("--temperature", help="How freely to go on, 0 to 2; 0: the likeliest.")
    ] = 0.6,
    seed: Seed = 0,
    crossfade: Crossfade = 0.03,
    bit_depth: options.BitDepth = None,
    model: LSTM = "mel-lstm",
    vocoder: options.Vocoder = "default",
    device: options.Device = "cpu",
) -> None:
    """Write a recording and what might follow it.

    The recording's own samples stay as they are; rate, channels and sample format are the recording's (16 bits if it
    comes by standard input).
    """
    subtype = options.subtype(bit_depth) or _subtype(source, output)
    audio = _read(source, output)
    if _ends_silent(audio):
        report: Report = context.obj
        report.say("note: the recording ends in silence, and silence follows it; cut its end to go on from sound")

    from wavegen import mel_jobs

    made = mel_jobs.continue_audio(
        audio,
        seconds,
        model=model,
        vocoder=vocoder,
        temperature=temperature,
        seed=seed,
        crossfade=crossfade,
        device=device,
    )
    _write(context, output, made, subtype)


@app.command()
def fill(
    context: typer.Context,
    source: Recording,
    output: options.Output,
    start: Annotated[float, typer.Option("--from", help="Where the gap begins, in seconds.")],
    end: Annotated[float, typer.Option("--to", help="Where it ends, in seconds; at most 10 s later.")],
    crossfade: Crossfade = 0.03,
    bit_depth: options.BitDepth = None,
    model: VAE = "mel-vae",
    vocoder: options.Vocoder = "default",
    device: options.Device = "cpu",
) -> None:
    """Make a stretch of a recording anew from what lies on both sides of it.

    What was there is ignored; all other samples stay as they are, in the recording's sample format (16 bits if it comes
    by standard input).
    """
    subtype = options.subtype(bit_depth) or _subtype(source, output)
    audio = _read(source, output)

    from wavegen import mel_jobs

    made = mel_jobs.fill_gap(
        audio,
        start,
        end,
        model=model,
        vocoder=vocoder,
        crossfade=crossfade,
        device=device,
    )
    _write(context, output, made, subtype)


@app.command()
def interpolate(
    context: typer.Context,
    first: Annotated[Path, typer.Argument(metavar="A", help="The recording to start from.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="The recording to arrive at.")],
    output: options.Output,
    steps: Annotated[int, typer.Option("--steps", help="How many sounds, 2 to 64, both ends included.")] = 5,
    bit_depth: options.BitDepth = None,
    model: VAE = "mel-vae",
    vocoder: options.Vocoder = "default",
    device: options.Device = "cpu",
) -> None:
    """Write sounds that lead from one recording to another, one after the other.

    Each is as long as the shorter recording; the result is mono.
    """
    subtype = options.subtype(bit_depth)
    a, b = _read(first, output), _read(second, output)

    from wavegen import mel_jobs

    made = mel_jobs.interpolate(a, b, steps, model=model, vocoder=vocoder, device=device)
    _write(context, output, made, subtype)


@app.command()
def transfer(
    context: typer.Context,
    content: Annotated[Path, typer.Argument(metavar="CONTENT", help="The recording of what is played.")],
    timbre: Annotated[Path, typer.Argument(metavar="TIMBRE", help="The recording of how it shall sound.")],
    output: options.Output,
    bit_depth: options.BitDepth = None,
    model: VAE = "mel-vae",
    vocoder: options.Vocoder = "default",
    device: options.Device = "cpu",
) -> None:
    """Write what is played in one recording with the timbre of another: mono."""
    subtype = options.subtype(bit_depth)
    a, b = _read(content, output), _read(timbre, output)

    from wavegen import mel_jobs

    made = mel_jobs.transfer(a, b, model=model, vocoder=vocoder, device=device)
    _write(context, output, made, subtype)


@app.command()
def sample(
    context: typer.Context,
    output: options.Output,
    seconds: Annotated[float, typer.Option("--seconds", "-s", help="How long, 0.05 to 120.")] = 5.0,
    temperature: Annotated[float, typer.Option("--temperature", help="How far from the likeliest, 0 to 2.")] = 1.0,
    seed: Seed = 0,
    bit_depth: options.BitDepth = None,
    model: VAE = "mel-vae",
    vocoder: options.Vocoder = "default",
    device: options.Device = "cpu",
) -> None:
    """Write a sound drawn from the model alone: mono."""
    subtype = options.subtype(bit_depth)

    from wavegen import mel_jobs

    made = mel_jobs.sample_mel(seconds, seed, temperature=temperature, model=model, vocoder=vocoder, device=device)
    _write(context, output, made, subtype)


def _read(source: Path, output: Path) -> "Audio":
    from wavegen.audio.io import read, require_other
    from wavegen.mel_jobs import require_audio

    require_other(output, [source])
    audio = read(source)
    require_audio(audio, "standard input" if str(source) == "-" else str(source))
    return audio


def _subtype(source: Path, output: Path) -> str | None:
    """The sample format that keeps the recording's; None for a pipe, which is read but once."""
    from wavegen.audio import io

    if str(source) == "-" or not source.is_file():
        return None
    return io.matching_subtype(io.info(source), io.format_of(output))


def _write(context: typer.Context, output: Path, audio: "Audio", subtype: str | None) -> None:
    from wavegen.audio.io import write

    report: Report = context.obj
    write(output, audio, subtype=subtype)
    where = "standard output" if str(output) == "-" else output
    report.say(f"{where}: {audio.duration:.2f} s at {audio.sample_rate} Hz in {report.elapsed():.2f} s")


def _ends_silent(audio: "Audio") -> bool:
    """Whether the last quarter of a second lies 60 dB under the loudest sample."""
    import numpy as np

    samples = np.abs(audio.samples)
    return bool(samples[:, -(audio.sample_rate // 4) :].max(initial=0) <= 1e-3 * samples.max(initial=0))
