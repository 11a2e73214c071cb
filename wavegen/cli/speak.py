"""``wavegen speak``: text to speech."""

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wavegen.cli import options
from wavegen.cli.report import Report
from wavegen.errors import InputError

if TYPE_CHECKING:
    from wavegen.pipelines import SpeechStream

DEFAULT_OUTPUT = Path("speech.wav")


def speak(
    context: typer.Context,
    text: Annotated[str | None, typer.Argument(help="What to say, or - to read it from standard input.")] = None,
    input_file: Annotated[Path | None, typer.Option("--input-file", "-i", help="Read the text from this file.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write (default speech.wav), or - for stdout.")
    ] = None,
    output_dir: Annotated[
        Path | None,
        typer.Option(
            "--output-dir",
            parser=options.path,
            help="Write every line of the text that is not blank to a file here: 001.wav, ...",
        ),
    ] = None,
    raw: Annotated[
        bool,
        typer.Option("--raw", help="Write bare samples (16-bit little-endian, mono) to stdout as they are made."),
    ] = False,
    speed: Annotated[float, typer.Option("--speed", help="How fast, as a factor from 0.25 to 4.")] = 1.0,
    pitch: Annotated[
        float,
        typer.Option("--pitch", help="How much higher, from -12 to 12 semitones."),
    ] = 0.0,
    energy: Annotated[float, typer.Option("--energy", help="How loud, as a factor from 0.25 to 4.")] = 1.0,
    variation: Annotated[
        float, typer.Option("--variation", help="How much timing and pitch differ from seed to seed, from 0 to 1.")
    ] = 0.3,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same samples.")] = 0,
    sentence_silence: Annotated[
        float, typer.Option("--sentence-silence", help="Seconds of silence between two sentences, from 0 to 10.")
    ] = 0.15,
    sample_rate: Annotated[
        int | None, typer.Option("--sample-rate", help="Resample to this rate in Hz (default: the model's).")
    ] = None,
    bit_depth: options.BitDepth = None,
    model: options.Model = "default",
    vocoder: options.Vocoder = "default",
    temperature: options.Temperature = None,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
    precision: options.Precision = None,
    device: options.Device = "cpu",
) -> None:
    """Speak a text.

    The format of a file follows its name: .wav, .flac, .ogg and others. Sentences are written as they are made.
    """
    report: Report = context.obj
    _one_target(output, output_dir, raw)
    subtype = options.subtype(bit_depth)
    if raw and subtype is not None:
        raise InputError("--raw is always 16-bit; leave out --bit-depth")
    words = _text(text, input_file)

    from wavegen import pipelines
    from wavegen.audio import io

    texts = [] if input_file is None else [input_file]
    stream = functools.partial(
        pipelines.speak_stream,
        model=model,
        vocoder=vocoder,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        precision=precision,
        speed=speed,
        pitch=pitch,
        energy=energy,
        variation=variation,
        seed=seed,
        sentence_silence=sentence_silence,
        sample_rate=sample_rate,
        device=device,
    )
    if output_dir is not None:
        _write_lines(stream, words, output_dir, subtype, report, texts=texts)
    else:
        target = Path("-") if raw else output or DEFAULT_OUTPUT
        io.require_other(target, texts)
        _write(stream(words), target, subtype, report, raw=raw)


def _one_target(output: Path | None, output_dir: Path | None, raw: bool) -> None:
    given = [
        n for n, v in (("--output", output), ("--output-dir", output_dir), ("--raw", raw or None)) if v is not None
    ]
    if len(given) > 1:
        raise InputError(f"{' and '.join(given)} say each where the sound goes; give one of them")


def _text(text: str | None, input_file: Path | None) -> str:
    if (text is None) == (input_file is None):
        raise InputError("give one text: as the argument, as - for standard input, or as --input-file")
    if text is not None and text != "-":
        return text
    where = "standard input" if input_file is None else str(input_file)
    try:
        data = sys.stdin.buffer.read() if input_file is None else input_file.read_bytes()
        return data.decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{where}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise InputError(f"{where}: not UTF-8 text") from None


def _write_lines(
    stream: "Callable[[str], SpeechStream]",
    words: str,
    folder: Path,
    subtype: str | None,
    report: Report,
    *,
    texts: list[Path],
) -> None:
    from wavegen.audio.batch import output_folders
    from wavegen.audio.io import require_other

    lines = [(number, line) for number, line in enumerate(words.splitlines(), 1) if line.strip()]
    if not lines:
        raise InputError("text: is empty")
    # All lines are checked before the first is written.
    streams = [_line(stream, number, line) for number, line in lines]
    width = max(3, len(str(len(streams))))
    targets = [folder / f"{number:0{width}}.wav" for number in range(1, len(streams) + 1)]
    for target in targets:
        require_other(target, texts)
    with output_folders([folder]), report.progress() as step:
        for number, (target, sentences) in enumerate(zip(targets, streams, strict=True), 1):
            _write(sentences, target, subtype, report)
            step(number, len(streams), target.name)


def _line(stream: "Callable[[str], SpeechStream]", number: int, line: str) -> "SpeechStream":
    try:
        return stream(line)
    except InputError as error:
        raise InputError(f"line {number}: {error}") from None


def _write(stream: "SpeechStream", target: Path, subtype: str | None, report: Report, *, raw: bool = False) -> None:
    from wavegen.audio.io import Writer

    if raw:
        report.say(f"raw samples: signed 16-bit little-endian, 1 channel, {stream.sample_rate} Hz")
    first = 0.0
    with Writer(target, stream.sample_rate, 1, format="RAW" if raw else None, subtype=subtype) as writer:
        for chunk in stream:
            first = first or report.elapsed()
            writer.write(chunk)
    report.say(
        f"{'standard output' if str(target) == '-' else target}: {stream.seconds:.2f} s of speech "
        f"in {stream.busy:.2f} s (real-time factor {stream.busy / stream.seconds:.3f}), "
        f"first sound {first:.2f} s after the start"
    )
