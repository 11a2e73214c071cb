"""How fast WaveNet generates: samples/s beside the machine's roofline; torch, torch.compile and nv-wavenet are peers.

    python benchmarks/wavenet.py [--streams 1 16] [--threads N] [--device cuda --nv-wavenet PATH] [--json FILE]

First validates (parameters against the reference in float64, draws against torch's), then times in turns: the kernels
at each precision, a streaming read of as many bytes as the weights have, multiply-adds in registers, and the peers in
torch. nv-wavenet is not ours to ship: build nv_wavenet_perf from github.com/NVIDIA/nv-wavenet and give its path.
`wavegen bench` is the short form.
"""

import argparse
import json
import sys
from pathlib import Path

from wavegen.errors import WavegenError
from wavegen.evaluation.speed import format_table, measure, summary
from wavegen.ops.wavenet import PRECISIONS
from wavegen.vocoders.wavenet import WaveNetConfig

SIZES = {"residual": 64, "gate": 64, "skip": 256, "head": 256, "width": 2, "layers": 20, "cycle": 10}


def main() -> None:
    parser = argparse.ArgumentParser(description="Time WaveNet's generation.")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 16], help="waveforms made at a time")
    parser.add_argument("--threads", type=int, help="default: 1 for one stream, up to 2 for more")
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    parser.add_argument("--instruction-set", help="portable, avx2, avx512 or avx512_bf16; default: the best there is")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long each setting is timed")
    for name, value in SIZES.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--distribution", default="mulaw8", help="mulaw8, mulaw10, gaussian or logistics")
    parser.add_argument("--no-compile", action="store_true", help="leave out torch.compile, which takes minutes")
    parser.add_argument("--nv-wavenet", type=Path, help="nv_wavenet_perf, with --device cuda")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--json", type=Path, help="write all figures to this file too")
    arguments = parser.parse_args()
    try:
        report = measure(
            WaveNetConfig(**{name: getattr(arguments, name) for name in SIZES}, output=arguments.distribution),
            streams=arguments.streams,
            threads=arguments.threads,
            precisions=arguments.precision,
            device=arguments.device,
            instruction_set=arguments.instruction_set,
            seconds=arguments.seconds,
            compiled=not arguments.no_compile,
            nv_wavenet=arguments.nv_wavenet,
        )
    except WavegenError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print(format_table(report), summary(report), sep="\n\n")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(report.to_dict(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
