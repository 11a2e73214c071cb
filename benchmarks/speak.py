"""How fast speech comes: real-time factor, time to the first sample, peak memory; Griffin-Lim is the peer.

    python benchmarks/speak.py [--runs 5] [--hour]

First validates (both vocoders give the same number of finite samples for a mel), then times. The real-time factor is
the median over runs of the seconds a text takes, models loaded, over the seconds of audio it gives; "first sample" is
from the start of a process to the first byte of ``wavegen speak --raw``; memory is the peak resident size of that
process. ``--hour`` also sends an hour of audio through ``wavegen resynth``.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import wavegen
from wavegen import pipelines
from wavegen.audio.io import Writer

TEN_WORDS = "The quick brown fox jumps over the lazy dog again."
TEXT = (
    "Speech is made sentence by sentence. Each one is turned into phonemes, then into a spectrogram, and at last into "
    "sound. Nothing here needs a network, and nothing needs a graphics card."
)


def real_time_factor(vocoder: str, runs: int) -> float:
    factors = []
    for run in range(runs + 1):
        start = time.perf_counter()
        audio = wavegen.speak(TEXT, vocoder=vocoder, seed=run)
        factors.append((time.perf_counter() - start) / audio.duration)
    return statistics.median(factors[1:])  # the first run loads the models


def process(arguments: list[str]) -> tuple[float, float, float, int]:
    """Run wavegen: seconds to the first byte of output, seconds in all, peak memory in MB, bytes written."""
    command = [sys.executable, "-m", "wavegen", *arguments]
    start = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert child.stdout is not None
    count = len(child.stdout.read(1))
    first = time.perf_counter() - start
    while piece := child.stdout.read(1 << 16):
        count += len(piece)
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        raise SystemExit(f"wavegen {' '.join(arguments)}: failed")
    return first, time.perf_counter() - start, usage.ru_maxrss / 1024, count


def hour(folder: Path) -> tuple[float, float]:
    """Seconds and peak memory in MB of copy-synthesis of an hour at 24 kHz."""
    random = np.random.default_rng(0)
    with Writer(folder / "in.wav", 24000, 1) as writer:
        t = np.arange(24000 * 60) / 24000
        for minute in range(60):
            tone = 0.2 * np.sin(2 * np.pi * (110 + 5 * minute) * t) * (1 + np.sin(2 * np.pi * 3 * t)) / 2
            writer.write((tone + 0.01 * random.standard_normal(len(t)))[None].astype(np.float32))
    _, seconds, memory, _ = process(["resynth", str(folder / "in.wav"), "-o", str(folder / "out.wav")])
    frames = wavegen.audio.io.info(folder / "out.wav").frames
    if frames != 24000 * 3600:
        raise SystemExit(f"resynth wrote {frames} samples of {24000 * 3600}")
    return seconds, memory


def main() -> None:
    parser = argparse.ArgumentParser(description="Time wavegen's speech.")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--hour", action="store_true", help="copy-synthesis of an hour as well")
    arguments = parser.parse_args()

    mel = np.full((100, 50), -5.0, np.float32)
    for vocoder in ("default", "griffin-lim"):
        made = pipelines.render(mel, vocoder=vocoder)
        if made.samples.shape != (1, 50 * 256) or not np.isfinite(made.samples).all():
            raise SystemExit(f"{vocoder}: wrong output")

    ours, peer = (real_time_factor(v, arguments.runs) for v in ("default", "griffin-lim"))
    print(f"real-time factor           {ours:.4f}   (with Griffin-Lim {peer:.4f}: {peer / ours:.1f} times as long)")
    runs = [process(["speak", TEN_WORDS, "--raw"]) for _ in range(arguments.runs)]
    print(f"process start to sample 1  {statistics.median(r[0] for r in runs):.2f} s for ten words")
    print(f"peak memory                {max(r[2] for r in runs):.0f} MB")
    if arguments.hour:
        with tempfile.TemporaryDirectory() as folder:
            seconds, memory = hour(Path(folder))
        print(f"resynth of an hour         {seconds:.0f} s (real-time factor {seconds / 3600:.4f}), {memory:.0f} MB")


if __name__ == "__main__":
    main()
