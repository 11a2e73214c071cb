"""``wavegen separate``: audio files split into their sources."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wavegen.cli import options
from wavegen.cli.report import FAILED, Failures, Report
from wavegen.errors import InputError

if TYPE_CHECKING:
    from wavegen.audio.batch import Input
    from wavegen.audio.io import AudioInfo
    from wavegen.separation_jobs import Done, FileFormat, Part, Task

FORMATS = {"wav": "WAV", "flac": "FLAC", "mp3": "MP3", "ogg": "OGG", "opus": "OPUS"}
TEMPLATE = "{folder}/{name}/{stem}.{ext}"
SHEET = "spectrograms"
JOBS = 64


def separate(
    context: typer.Context,
    sources: Annotated[
        list[str], typer.Argument(metavar="IN...", help="Audio files, folders, globs, or - for standard input.")
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            parser=options.path,
            help="The folder for the stems; - sends a single stem to standard output.",
        ),
    ],
    model: Annotated[
        str,
        typer.Option("--model", help="Name or checkpoint file of the separator; published checkpoints too."),
    ] = "default",
    stems: Annotated[
        list[str] | None, typer.Option("--stems", help="Write only these of the model's sources: vocals,drums.")
    ] = None,
    two_stems: Annotated[
        str | None, typer.Option("--two-stems", metavar="NAME", help="Write NAME, and the rest of the mix as no_NAME.")
    ] = None,
    residual: Annotated[
        bool, typer.Option("--residual", help="Also write what the stems written leave of the mix.")
    ] = False,
    shifts: Annotated[int, typer.Option("--shifts", help="Average over so many shifted passes, 0 to 32.")] = 0,
    overlap: Annotated[
        float | None, typer.Option("--overlap", help="How much of a segment is shared with the next, 0 to 0.9.")
    ] = None,
    segment: Annotated[
        float | None, typer.Option("--segment", help="Seconds at a time, 0.5 to 600, rounded to what the model allows.")
    ] = None,
    start: Annotated[float, typer.Option("--start", help="Begin at this second.")] = 0.0,
    duration: Annotated[float | None, typer.Option("--duration", help="Separate so many seconds.")] = None,
    format_: Annotated[
        str | None,
        typer.Option("--format", metavar="wav|flac|mp3|ogg|opus", help="Default: flac for flac, wav for all else."),
    ] = None,
    bit_depth: options.BitDepth = None,
    float32: Annotated[bool, typer.Option("--float32", help="The same as --bit-depth float.")] = False,
    normalize: Annotated[
        str,
        typer.Option(
            "--normalize",
            metavar="none|rescale|clamp",
            help="none keeps the mix's level; rescale turns all stems of a file down where one passes full scale; "
            "clamp clips it, in float files too.",
        ),
    ] = "none",
    template: Annotated[
        str,
        typer.Option("--filename-template", help="Where each stem goes; {model} may stand in it too."),
    ] = TEMPLATE,
    plot: Annotated[
        bool, typer.Option("--plot", help=f"Also draw the spectrograms of each file's stems: {SHEET}.png.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Separate anew what is finished; without it, that is skipped.")
    ] = False,
    jobs: Annotated[int, typer.Option("--jobs", "-j", help="Files separated at a time, 1 to 64.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be written.")] = False,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same samples.")] = 0,
    device: options.Device = "cpu",
) -> None:
    """Split mixes into their sources, which sum to the mix.

    The stems have the file's rate, channels, length, sample format and level. Files of any length are processed in
    bounded memory; stems appear whole or not at all, and a batch that was interrupted goes on where it stopped. A file
    that fails is told in one line, does not stop the others, and makes the exit status 1.
    """
    report: Report = context.obj
    if not 1 <= jobs <= JOBS:
        raise InputError(f"--jobs: must be from 1 to {JOBS}, not {jobs}")
    if format_ is not None and format_.lower() not in FORMATS:
        raise InputError(f"--format: must be one of {', '.join(FORMATS)}, not {format_!r}")
    if float32 and bit_depth not in (None, "float"):
        raise InputError(f"--float32 and --bit-depth {bit_depth} exclude each other")
    if not model:
        raise InputError("--model: names no model")
    subtype = options.subtype("float" if float32 else bit_depth)
    to_stdout = str(output) == "-"
    if to_stdout and (plot or dry_run):
        raise InputError("--plot and --dry-run need a folder as --output")
    asked = tuple(name.strip() for names in stems or [] for name in names.split(",") if name.strip())
    if stems and not asked:
        raise InputError("--stems: names no source")

    from wavegen import separation_jobs
    from wavegen.audio import batch, io, plots
    from wavegen.checkpoints.registry import DEFAULTS

    separation_jobs.share_freed_memory()  # or an hour takes a tenth more than a minute
    how = separation_jobs.Separation(asked, two_stems, residual, shifts, overlap, segment, seed, device)
    file_format = separation_jobs.FileFormat(FORMATS[format_.lower()] if format_ else None, subtype, normalize)
    part = separation_jobs.Part(start, duration)
    if file_format.format is not None:
        io.Writer("--bit-depth", 48000, 1, format=file_format.format, subtype=subtype)  # refuses what no file could be
    if plot:
        plots.require_drawing()
    if not to_stdout:
        batch.require_folder(output)
        for place in sources:
            if os.path.isdir(place) and Path(place).resolve() == output.resolve():
                raise InputError(f"{place}: is the input too; give another folder as --output")
    inputs, missing = batch.find_inputs(sources, without=None if to_stdout else output)
    separator = separation_jobs.load_separator(model, device)
    separation_jobs.check(separator, how)
    names = how.outputs(separator)
    if to_stdout and (len(names) > 1 or len(inputs) > 1):
        raise InputError("standard output takes one stem of one file; choose with --stems, or give a folder")

    failures = Failures(report, missing)
    abouts: dict[Input, AudioInfo | None] = {}
    for item in inputs:
        try:
            abouts[item] = _info(item, file_format, part)
        except InputError as error:
            failures.add(str(item.source), error)
    if to_stdout:
        targets: dict[Input, dict[str, Path]] = {item: dict.fromkeys(names, output) for item in abouts}
        finished: set[Input] = set()
    else:
        if plot and SHEET in names:
            raise InputError(f"--plot: a source of this model is called {SHEET}")

        def extension(item: "Input", stem: str) -> str:
            return "png" if plot and stem == SHEET else _extension(file_format, abouts[item])

        drawn = (*names, SHEET) if plot else names
        label = DEFAULTS["separator"] if model == "default" else Path(model).stem
        targets = batch.targets(abouts, output, template, drawn, ext=extension, model=label, untouched=inputs)
        finished = set() if overwrite else {i for i in abouts if _finished(abouts[i], targets[i], file_format, part)}
    tasks = []
    for item, about in abouts.items():
        places = dict(targets[item])
        sheet = places.pop(SHEET) if plot else None
        seconds = 0.0 if about is None else part.samples(about)[1] / about.sample_rate
        if dry_run:
            length = "length unknown" if about is None else f"{seconds:.2f} s"
            state = "done before" if item in finished else length
            print(f"{item.source} ({state}) -> {', '.join(str(place) for place in targets[item].values())}")
        elif item not in finished:
            tasks.append(separation_jobs.Task(item.source, places, seconds, sheet))
    if not dry_run:
        with report.progress() as shown, _signals_held(separator) as check:

            def step(done: float, total: float, what: str) -> None:
                check()
                shown(done, total, what)

            outcomes = separation_jobs.separate_files(
                tasks, separator, how, file_format=file_format, part=part, jobs=jobs, progress=step
            )
            _follow(outcomes, tasks, failures, report, clamped=normalize == "clamp")
        total = len(inputs) + len(missing)
        if total > 1 or finished:
            skipped = f", {len(finished)} done before (--overwrite does them again)" if finished else ""
            separated = len(abouts) - len(finished) - failures.late
            report.say(
                f"{total} file{'s' if total > 1 else ''}: {separated} separated{skipped}, {failures.count} failed, "
                f"in {_clock(report.elapsed())}"
            )
    if failures.count:
        raise typer.Exit(FAILED)


@contextmanager
def _signals_held(model: Any) -> Iterator[Callable[[], None]]:
    """A signal to end takes effect where the function given is called, in any thread, or a group of layers begins.

    Anywhere else it might hit a destructor or what a C library calls back, where Python prints an exception and goes
    on. One before the first call does not wait, as standard input may not come to an end, nor does a second one;
    further ones are ignored, so that what is half done can be cleared away.
    """
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: handler for number in numbers if callable(handler := signal.getsignal(number))}
    if threading.current_thread() is not threading.main_thread():  # which alone sets handlers and runs them
        before.clear()
    held: list[int] = []
    begun, ending = threading.Event(), threading.Event()

    def hold(number: int, frame: FrameType | None) -> None:
        held.append(number)
        if not ending.is_set() and (len(held) > 1 or not begun.is_set()):
            ending.set()
            before[number](number, frame)

    def check(*_: object) -> None:
        begun.set()
        if held:
            ending.set()
            before[held[0]](held[0], None)

    hooks = [layers.register_forward_pre_hook(check) for layers in model.modules() if any(layers.children())]
    for number in before:
        signal.signal(number, hold)
    try:
        yield check
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for hook in hooks:
            hook.remove()
    check()


def _info(item: "Input", file_format: "FileFormat", part: "Part") -> "AudioInfo | None":
    """What a file says of itself, if the part is there and results can hold it; None for a pipe, read but once."""
    from wavegen.audio import io

    try:
        if str(item.source) == "-" or item.source.is_fifo():
            return None
    except OSError as error:
        raise InputError(f"{item.source}: {error.strerror or error}") from None
    about = io.info(item.source)
    file_format.check(about, part.samples(about)[1])
    return about


def _extension(file_format: "FileFormat", about: "AudioInfo | None") -> str:
    name = (file_format.format or "WAV") if about is None else file_format.of(about)[0]
    return name.lower()


def _finished(about: "AudioInfo | None", places: dict[str, Path], file_format: "FileFormat", part: "Part") -> bool:
    from wavegen.audio import batch

    if about is None or part != type(part)():  # nothing there says which part of its file it is
        return False
    if SHEET in places and not os.path.isfile(places[SHEET]):
        return False
    frames = part.samples(about)[1] if file_format.keeps_length(about) else None
    results = [p for name, p in places.items() if name != SHEET]
    return batch.is_finished(about, results, frames=frames, kind=file_format.of(about))


def _follow(
    outcomes: "Iterator[tuple[Task, Done | Exception]]",
    tasks: "list[Task]",
    failures: Failures,
    report: Report,
    *,
    clamped: bool,
) -> None:
    """Say what became of each file, as they are done, and how long the rest will take."""
    total = sum(task.seconds for task in tasks)
    began = time.perf_counter()
    passed = 0.0
    why = ", as --normalize clamp has it" if clamped else "; WAV with --float32, or --normalize rescale, keeps them"
    for number, (task, outcome) in enumerate(outcomes, 1):
        passed += task.seconds
        if isinstance(outcome, Exception):
            failures.add(str(task.source), outcome, late=True)
        else:
            left = (time.perf_counter() - began) * (total - passed) / passed if passed else 0.0
            rest = f" [{number}/{len(tasks)}, {_clock(left)} to go]" if number < len(tasks) else ""
            stems = f"{len(task.places)} stem{'s' if len(task.places) > 1 else ''}"
            speed = outcome.seconds / max(outcome.elapsed, 1e-9)
            turned = f", turned down to {outcome.gain:.4f}" if outcome.gain < 1 else ""
            report.say(
                f"{task.source}: {stems} of {outcome.seconds:.2f} s in {outcome.elapsed:.2f} s "
                f"({speed:.1f} x real time){turned}{rest}"
            )
            for name, count in outcome.clipped.items():
                report.say(f"warning: {task.places[name]}: {count} samples beyond full scale were clipped{why}")


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"
