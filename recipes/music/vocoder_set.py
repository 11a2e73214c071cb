"""Training material of the music vocoder, in LJSpeech layout: rendered parts, mixes of them, and real music.

    python recipes/music/vocoder_set.py PAIRS OUTPUT [--stems DIR]

PAIRS is what render_pairs.py wrote. ``--stems`` is a folder of songs, each a folder of stems (.ogg, .wav, .flac); the
last song by name is left out, for scores.
"""

import argparse
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from wavegen.audio.io import read
from wavegen.audio.resample import resample
from wavegen.training.rendered import read_rendered

RATE, PIECE = 24000, 240000
MIXES = 300
SOUND = (".ogg", ".wav", ".flac")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--stems", type=Path)
    options = parser.parse_args()
    waves = options.output / "wavs"
    waves.mkdir(parents=True, exist_ok=True)
    lines = []

    def add(name: str, samples: NDArray[np.float32]) -> None:
        if np.abs(samples).max(initial=0) < 1e-3:
            return
        soundfile.write(waves / f"{name}.flac", samples / max(1.0, float(np.abs(samples).max()) / 0.95), RATE)
        lines.append(f"{name}|{name}\n")

    parts = read_rendered(options.pairs, "train")
    rng = np.random.default_rng(3)
    for item in parts.items:
        add(f"s{item.id}", parts.waveform(item, 0, item.samples))
    for number in range(MIXES):
        chosen = rng.choice(len(parts.items), rng.integers(2, 5), replace=False)
        count = min(parts.items[i].samples for i in chosen)
        gains = 10 ** (rng.uniform(-9, 0, len(chosen)) / 20)
        mix = sum(parts.waveform(parts.items[i], 0, count) * np.float32(g) for i, g in zip(chosen, gains, strict=True))
        add(f"m{number:05d}", np.asarray(mix, np.float32))
    songs = sorted(p for p in options.stems.iterdir() if p.is_dir())[:-1] if options.stems else []
    for number, song in enumerate(songs):
        stems = []
        for path in sorted(p for p in song.iterdir() if p.suffix in SOUND):
            audio = read(path)
            stems.append(resample(audio.samples.mean(axis=0), audio.sample_rate, RATE))
            for first in range(0, len(stems[-1]) - PIECE, 3 * PIECE):
                add(f"e{number}-{path.stem}-{first // PIECE:03d}", stems[-1][first : first + PIECE])
        count = min(map(len, stems))
        mix = np.sum([stem[:count] for stem in stems], axis=0, dtype=np.float32)
        for first in range(0, count - PIECE, 2 * PIECE):
            add(f"e{number}-mix-{first // PIECE:03d}", mix[first : first + PIECE])
    (options.output / "metadata.csv").write_text("".join(sorted(lines)), encoding="utf-8")


if __name__ == "__main__":
    main()
