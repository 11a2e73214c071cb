"""Electronic basses, synthesised: 44.1 kHz, stereo, int16. General MIDI has few, and none that is all fundamental.

    python recipes/separation/render_basses.py OUTPUT [--count 240] [--seed 5]

A piece is half a minute of one sound on one pattern of 16 steps that is moved and varied: 28 to 110 Hz, sine to
sawtooth, with a brightness that follows each note, glides, drive, often ducking on the beat, and often a pitch that
drops into each note as a bass drum's does, which only its length then tells from one. Written as
OUTPUT/<split>/<number>/bass.npy, (samples, 2), and labels.json. Pieces that are there already are kept.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wavegen.audio.io import atomic
from wavegen.training.mixtures import active_rms

RATE, SECONDS, STEPS = 44100, 30.0, 16
LEVEL_DB, PEAK = -18.0, 0.9
HARMONICS, TABLE = 96, 4096
SCALES = ((0, 3, 5, 7, 10), (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 5, 7, 9, 11), (0, 12), (0, 7, 12))
VALIDATION = 10  # every so many pieces

Floats = NDArray[np.float64]


def tables(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """One period of a sound (TABLE + 1,), dark and bright."""
    number = np.arange(1, HARMONICS + 1)
    odd = number % 2 == 1
    kinds = [(number == 1) * 1.0, odd / number**2, odd / number, 1 / number, 1 / number + 3.0 * (number == 1)]
    shape = kinds[rng.integers(len(kinds))] * np.where(number > 1, 10 ** (rng.normal(0, 3, HARMONICS) / 20), 1.0)
    dark, bright = 2 ** rng.uniform(0, 2.5), 2 ** rng.uniform(2.5, 6)
    phase = 2 * np.pi * np.outer(np.arange(TABLE + 1) / TABLE, number)
    made = [np.sin(phase) @ (shape / (1 + (number / edge) ** 4)) for edge in (dark, bright)]
    return made[0], made[1]


def steps(rng: np.random.Generator, count: int) -> tuple[Floats, Floats, Floats]:
    """A line of ``count`` steps: pitch of each, whether a note begins there, and whether one sounds."""
    scale = SCALES[rng.integers(len(SCALES))]
    chances = rng.dirichlet(np.ones(len(scale)))
    pattern = rng.choice(scale, STEPS, p=chances)
    begins = rng.random(STEPS) < rng.uniform(0.15, 0.9)
    begins[0] = True
    rests = rng.random(STEPS) < rng.uniform(0, 0.4)
    pitch, on, sounds = np.zeros(count), np.zeros(count), np.ones(count)
    now, silent, root = 0.0, False, 0.0
    for step in range(count):
        place = step % STEPS
        if place == 0 and rng.random() < 0.4:
            root = float(rng.choice((-5, -3, -2, 0, 0, 2, 3, 5)))
        if begins[place]:
            now, silent = root + float(pattern[place]), bool(rests[place]) and place > 0
            if rng.random() < 0.1:
                now += 12
            on[step] = not silent
        pitch[step], sounds[step] = now, not silent
    return pitch, on, sounds


def bass(rng: np.random.Generator) -> NDArray[np.int16]:
    """(samples, 2)."""
    count = round(SECONDS * RATE)
    step = 60 / rng.uniform(80, 175) / rng.choice((2, 4, 4))
    which = np.minimum((np.arange(count) / (step * RATE)).astype(int), int(SECONDS / step))
    line, on, sounds = steps(rng, which[-1] + 1)
    pitch = smoothed(line[which], rng.choice((0.002, 0.02, 0.06)))
    starts = np.flatnonzero(on) * step
    since = (
        np.arange(count) / RATE - starts[np.maximum(np.searchsorted(starts, np.arange(count) / RATE, "right") - 1, 0)]
    )
    struck = rng.random() < 0.45
    if struck:
        pitch = pitch + rng.uniform(4, 30) * np.exp(-since / rng.uniform(0.008, 0.06))
    hertz = 2 ** (rng.uniform(np.log2(28), np.log2(60))) * 2 ** (pitch / 12)
    held, decay = 0.0 if struck else rng.uniform(0, 1), np.exp(rng.uniform(np.log(0.06), np.log(1.5)))
    loudness = smoothed((held + (1 - held) * np.exp(-since / decay)) * sounds[which], 0.004)
    brightness = rng.uniform(0, 0.4) + rng.uniform(0, 0.8) * np.exp(-since / rng.uniform(0.03, 0.6))
    wobble = rng.uniform(0, 0.5) * (rng.random() < 0.2)
    brightness += wobble * np.sin(2 * np.pi * np.arange(count) / RATE / (step * rng.choice((1, 2, 4))))
    dark, bright = tables(rng)
    sound = mixed(dark, bright, hertz, brightness)
    wide = sound
    if rng.random() < 0.3:  # two voices, a little apart in pitch, one on each side
        apart = 2 ** (rng.uniform(3, 12) / 1200)
        sound, wide = (0.5 * sound + 0.5 * mixed(dark, bright, hertz * f, brightness) for f in (apart, 1 / apart))
    drive = 10 ** (rng.uniform(-12, 14) / 20)
    both = np.stack([sound, wide]) / np.abs(sound).max()
    both = np.tanh(drive * both) * loudness
    if rng.random() < 0.5:
        beat = np.arange(count) / RATE % (4 * step)
        both *= 1 - rng.uniform(0.3, 1) * np.exp(-((beat / rng.uniform(0.05, 0.2)) ** 2))
    both *= 10 ** (LEVEL_DB / 20) / active_rms(both.astype(np.float32), RATE)
    both *= min(1.0, PEAK / np.abs(both).max())
    return np.round(both.T * 32767).astype(np.int16)


def mixed(dark: Floats, bright: Floats, hertz: Floats, brightness: Floats) -> Floats:
    place = np.cumsum(hertz / RATE) % 1 * TABLE
    low = place.astype(int)
    part = place - low
    share = np.clip(brightness, 0, 1)
    one, two = (table[low] * (1 - part) + table[low + 1] * part for table in (dark, bright))
    return one * (1 - share) + two * share


def smoothed(x: Floats, seconds: float) -> Floats:
    """By a moving mean of that length, the ends held."""
    width = max(1, round(seconds * RATE))
    total = np.cumsum(np.concatenate([np.full(width, x[0]), x]))
    return (total[width:] - total[:-width]) / width


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--count", type=int, default=240)
    parser.add_argument("--seed", type=int, default=5)
    options = parser.parse_args(arguments)
    for number in range(options.count):
        split = "validation" if number % VALIDATION == VALIDATION - 1 else "train"
        folder = options.output / split / f"{number:04d}"
        if (folder / "labels.json").is_file():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        with atomic(folder / "bass.npy") as temporary, open(temporary, "wb") as file:
            np.save(file, np.ascontiguousarray(bass(np.random.default_rng([options.seed, number]))))
        with atomic(folder / "labels.json") as temporary:
            temporary.write_text(json.dumps({"sample_rate": RATE, "seconds": SECONDS, "licences": ["CC0-1.0"]}))
    print(f"{options.output}: {options.count} basses")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
