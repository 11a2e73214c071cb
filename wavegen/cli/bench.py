"""``wavegen bench``: how fast WaveNet generates on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from wavegen.cli import options
from wavegen.cli.report import Report


def bench(
    context: typer.Context,
    streams: Annotated[
        list[int] | None,
        typer.Option("--streams", help="Waveforms made at a time; may be repeated (default 1 and 16)."),
    ] = None,
    threads: Annotated[
        int | None, typer.Option("--threads", help="By default 1 for one stream, and 2 for more if there are 2 cores.")
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option("--precision", metavar="fp32|bf16|int8", help="May be repeated (default: all three)."),
    ] = None,
    instruction_set: Annotated[
        str | None,
        typer.Option(
            "--instruction-set", metavar="portable|avx2|avx512|avx512_bf16", help="By default the best that there is."
        ),
    ] = None,
    seconds: Annotated[float, typer.Option("--seconds", help="About how long each setting is timed.")] = 4.0,
    layers: Annotated[int, typer.Option("--layers", help="Layers of the network.")] = 20,
    cycle: Annotated[int, typer.Option("--cycle", help="Layers after which the dilation is 1 again.")] = 10,
    width: Annotated[int, typer.Option("--width", help="Taps of each layer, 2 or 3.")] = 2,
    residual: Annotated[int, typer.Option("--residual", help="Residual channels.")] = 64,
    gate: Annotated[int, typer.Option("--gate", help="Channels of each half of a gate.")] = 64,
    skip: Annotated[int, typer.Option("--skip", help="Skip channels.")] = 256,
    head: Annotated[int, typer.Option("--head", help="Channels of the output layers.")] = 256,
    distribution: Annotated[
        str, typer.Option("--distribution", metavar="mulaw8|mulaw10|gaussian|logistics", help="What samples come from.")
    ] = "mulaw8",
    compiled: Annotated[
        bool, typer.Option("--compile", help="Also time torch.compile, which takes a minute or more to compile.")
    ] = False,
    nv_wavenet: Annotated[
        Path | None,
        typer.Option("--nv-wavenet", help="On cuda: nv_wavenet_perf, built from NVIDIA's nv-wavenet, to compare with."),
    ] = None,
    json_file: options.Json = None,
    device: Annotated[str, typer.Option("--device", help="Where to compute: cpu, cuda, cuda:1.")] = "cpu",
) -> None:
    """Time WaveNet's generation: a network of random weights, checked against torch first, and torch beside it.

    The table says how near the kernels come to what the machine allows. Let nothing else run meanwhile.
    """
    report: Report = context.obj
    options.require_json(json_file)

    from wavegen.evaluation import speed

    sizes = {"residual": residual, "gate": gate, "skip": skip, "head": head}
    config = speed.WaveNetConfig(**sizes, width=width, layers=layers, cycle=cycle, output=distribution)
    with report.progress() as step:
        result = speed.measure(
            config,
            streams=streams or (1, 16),
            threads=threads,
            precisions=precision or None,
            device=device,
            instruction_set=instruction_set,
            seconds=seconds,
            compiled=compiled,
            nv_wavenet=nv_wavenet,
            progress=step,
        )
    text = f"{speed.format_table(result)}\n\n{speed.summary(result)}"
    options.show(text, result.to_dict(), json_file, report)
