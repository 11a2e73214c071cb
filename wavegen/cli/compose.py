"""``wavegen compose``: a piece of music from a prompt."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wavegen.cli import options
from wavegen.cli.report import Report
from wavegen.errors import InputError

if TYPE_CHECKING:
    from wavegen.music.prompt import Plan
    from wavegen.music_jobs import Composed

DEFAULT_OUTPUT = Path("music.wav")
MIDI = (".mid", ".midi")
MOST_VARIATIONS = 100


def compose(
    context: typer.Context,
    prompt: Annotated[
        str,
        typer.Argument(help='What to compose, in English or Chinese: "a slow waltz in G major for flute and piano".'),
    ] = "",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The file to write (default music.wav): .wav, .flac, .ogg, .mp3 or .mid."),
    ] = None,
    key: Annotated[str | None, typer.Option("--key", help='The key: "G major", "F# minor", "D dorian".')] = None,
    tempo: Annotated[
        float | None, typer.Option("--tempo", help="Beats a minute, 20 to 300; dotted quarters in 6/8, 9/8, 12/8.")
    ] = None,
    meter: Annotated[str | None, typer.Option("--meter", help="The metre: 3/4, 4/4, 6/8 ...")] = None,
    instruments: Annotated[
        str | None,
        typer.Option("--instruments", help='In order, the melody\'s first: "flute, piano" or programs "73, 0".'),
    ] = None,
    drums: Annotated[bool | None, typer.Option("--drums/--no-drums", help="With or without a drum kit.")] = None,
    style: Annotated[str | None, typer.Option("--style", help="waltz, jig, chorale, rock ...")] = None,
    mood: Annotated[str | None, typer.Option("--mood", help="happy, sad, calm, dark, heroic ...")] = None,
    bars: Annotated[int | None, typer.Option("--bars", help="Length in bars, 1 to 512.")] = None,
    seconds: Annotated[float | None, typer.Option("--seconds", help="Length in seconds, to the nearest bar.")] = None,
    dynamics: Annotated[int | None, typer.Option("--dynamics", help="Mean MIDI velocity, 20 to 120.")] = None,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            help="The score model: transformer (default), lstm, gru, ngram, hmm, gmm, vae, gan, reinforce, mcts, "
            "ensemble, or a file.",
        ),
    ] = "default",
    primer: Annotated[Path | None, typer.Option("--primer", help="A MIDI, ABC or MusicXML file to continue.")] = None,
    infill: Annotated[
        str | None, typer.Option("--infill", metavar="BARS", help="Bars of the primer to compose anew: 9-16.")
    ] = None,
    temperature: Annotated[float, typer.Option("--temperature", help="How freely notes are drawn, 0 to 10.")] = 1.0,
    top_k: Annotated[int, typer.Option("--top-k", help="Draw among the K likeliest tokens; 0: all.")] = 0,
    top_p: Annotated[
        float, typer.Option("--top-p", help="Draw among the likeliest tokens of this mass; 1: all.")
    ] = 0.95,
    seed: Annotated[int | None, typer.Option("--seed", help="The same seed gives the same file (default 0).")] = None,
    variations: Annotated[
        int, typer.Option("--variations", help="Compose N pieces, with the seeds that follow: music-1.wav, ...")
    ] = 1,
    renderer: Annotated[
        str, typer.Option("--renderer", metavar="neural|fluidsynth", help="What makes the sound of the notes.")
    ] = "neural",
    vocoder: options.MusicVocoder = "default",
    soundfont: Annotated[Path | None, typer.Option("--soundfont", help="For --renderer fluidsynth.")] = None,
    stems: Annotated[
        Path | None,
        typer.Option("--stems", metavar="DIR", parser=options.path, help="Also write every instrument by itself here."),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Also draw piano roll and spectrogram: .png, .svg or .pdf.")
    ] = None,
    show_plan: Annotated[bool, typer.Option("--show-plan", help="Print what was understood and assumed.")] = False,
    bit_depth: options.BitDepth = None,
    device: options.Device = "cpu",
) -> None:
    """Compose a piece of music with exactly the key, tempo, metre, instruments and length that a prompt asks for."""
    report: Report = context.obj
    subtype = options.subtype(bit_depth)
    if not 1 <= variations <= MOST_VARIATIONS:
        raise InputError(f"--variations: must be from 1 to {MOST_VARIATIONS}, not {variations}")
    target = output or DEFAULT_OUTPUT
    if variations > 1 and str(target) == "-":
        raise InputError("--variations: several pieces need a file name, not standard output")
    midi = target.suffix.lower() in MIDI
    sound = {
        "--stems": stems,
        "--plot": plot,
        "--bit-depth": bit_depth,
        "--soundfont": soundfont,
        "--renderer": None if renderer == "neural" else renderer,
    }
    for option, value in sound.items():
        if midi and value is not None:
            raise InputError(f"{option} needs sound; let --output be an audio file")
    targets = [_numbered(target, number, variations) for number in range(variations)]
    _require_places(targets, stems, primer, midi)
    if plot is not None:
        from wavegen.audio.plots import require_sheet

        require_sheet(plot)

    from wavegen import music_jobs
    from wavegen.pipelines import SEED

    first = 0
    for number in range(variations):
        arguments: dict[str, Any] = {
            "key": key,
            "tempo": tempo,
            "meter": meter,
            "instruments": instruments,
            "drums": drums,
            "style": style,
            "mood": mood,
            "bars": bars,
            "seconds": seconds,
            "dynamics": dynamics,
            "seed": seed if number == 0 else first + number,
        }
        composed = music_jobs.compose(
            prompt,
            model=model,
            primer=primer,
            infill=None if infill is None else _bars(infill),
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            render=not midi,
            renderer=renderer,  # type: ignore[arg-type]  # checked there
            vocoder=vocoder,
            soundfont=soundfont,
            device=device,
            **{name: value for name, value in arguments.items() if value is not None},
        )
        if number == 0:
            first = composed.attributes.seed
            if first + variations - 1 > SEED[1]:
                raise InputError(f"--variations: {variations} seeds from {first} on pass the highest, 2**63 - 1")
            _explain(composed.plan, show_plan, report)
        if stems is not None:
            folder = stems if variations == 1 else stems / str(number + 1)
            options.write_stems(composed.stems, folder, subtype, mix=targets[number])
        _write(composed, targets[number], subtype, report)
        if plot is not None:
            _plot(composed, _numbered(plot, number, variations))


def _require_places(targets: list[Path], stems: Path | None, primer: Path | None, midi: bool) -> None:
    """Refuse places that cannot be written, or that the primer has, before the work, not after it."""
    from wavegen.audio.batch import require_folder
    from wavegen.audio.io import format_of, require_other, require_writable

    for target in targets:
        if str(target) == "-":
            continue
        if not midi:
            try:
                format_of(target)
            except InputError as error:
                raise InputError(f"{error}; and .mid for the notes alone") from None
        require_other(target, [] if primer is None else [primer])
        require_writable(target)
    if stems is not None:
        require_folder(stems)


def _explain(plan: "Plan", whole: bool, report: Report) -> None:
    """The plan, or only what a reader must not miss: words that were not understood, and how contradictions end."""
    if whole:
        for line in plan.lines():
            report.say(line)
        return
    if plan.unknown:
        report.say(f"warning: not understood, and left aside: {', '.join(plan.unknown)}")
    for note in plan.notes:
        report.say(f"note: {note}")


def _bars(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+))?\s*", text)
    if not match:
        raise InputError(f"--infill: expected bars as 9-16, not {text!r}")
    return int(match[1]), int(match[2] or match[1])


def _numbered(path: Path, number: int, count: int) -> Path:
    return path if count == 1 else path.with_name(f"{path.stem}-{number + 1}{path.suffix}")


def _write(composed: "Composed", target: Path, subtype: str | None, report: Report) -> None:
    attributes = composed.attributes
    what = f"{attributes.bars} bars, {attributes.key.name}, {attributes.meter.name}, {attributes.tempo:g} bpm"
    where = "standard output" if str(target) == "-" else target
    if composed.audio is None:
        from wavegen.music.midi import write_midi

        write_midi(target, composed.score)
        report.say(f"{where}: {what}, {composed.score.note_count} notes, in {report.elapsed():.1f} s")
        return
    from wavegen.audio.io import write

    write(target, composed.audio, subtype=subtype)
    report.say(f"{where}: {what}; {composed.audio.duration:.2f} s of music in {report.elapsed():.1f} s")


def _plot(composed: "Composed", path: Path) -> None:
    from wavegen.audio.plots import score_sheet
    from wavegen.music_jobs import notes_in_seconds

    assert composed.audio is not None
    score_sheet(notes_in_seconds(composed.score), composed.audio, path, title=composed.score.title)
