"""``wavegen models``: what is installed, and its model cards."""

from typing import Annotated

import typer

from wavegen.cli.report import Report

app = typer.Typer(invoke_without_command=True, help="List the installed models, or show a model's card.")


@app.callback()
def models(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        list_models(context)


@app.command("list")
def list_models(context: typer.Context) -> None:
    """One line a model: name, kind, licence, summary; * marks the default of its kind."""
    from wavegen.checkpoints import list_models as installed

    report: Report = context.obj
    rows = [("*" if c.default else " ", c.name, c.kind, c.licence, c.summary) for c in installed()]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
    if not rows:
        report.say("no models are installed; train one, and name its file as --model or --vocoder")
    for row in rows:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(row[:4], widths, strict=True)), row[4]]).rstrip())


@app.command()
def show(name: Annotated[str, typer.Argument(help="The name of an installed model.")]) -> None:
    """Print a model's card."""
    from wavegen.checkpoints import card

    print(card(name))
