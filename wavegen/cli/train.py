"""``wavegen train``: train a model from a recipe."""

from pathlib import Path
from typing import Annotated

import typer

from wavegen.cli import options
from wavegen.cli.report import Report


def train(
    context: typer.Context,
    config: Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="The recipe's configuration.")],
    data: Annotated[Path, typer.Option("--data", help="A folder in LJSpeech layout.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", parser=options.path, help="A folder for checkpoints, logs and samples.")
    ],
    minutes: Annotated[float | None, typer.Option("--minutes", help="Stop after this long, with a checkpoint.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in the output.")] = False,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Replace a value of the configuration.")
    ] = None,
    device: Annotated[str | None, typer.Option("--device", help="Where to compute (default: a GPU, if any).")] = None,
) -> None:
    """Train a model."""
    report: Report = context.obj

    from wavegen.training.run import train as run

    with report.progress() as step:
        run(
            config,
            data=data,
            output=output,
            minutes=minutes,
            resume=resume,
            overrides=overrides or [],
            device=device,
            progress=lambda done, total: step(done, total, "preparing"),
            quiet=report.quiet,
        )
    report.say(f"{output}: done in {report.elapsed() / 60:.1f} minutes")
