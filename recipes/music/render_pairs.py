"""Pairs of notes and audio for the acoustic model of scores: single parts, rendered by FluidSynth.

    python recipes/music/render_pairs.py OUTPUT --freedoom DIR --groove DIR --chorales FILE --soundfonts FILE...

A part is twelve seconds of one instrument: excerpts of the scores' tracks, voices of chorales under any program, and
melodies and chords drawn at random, so that all 128 programs, the drum kit and all velocities occur; after
``--items`` of these follow ``--singles`` of single notes, any program at any of its pitches. Every twelfth item is held
out for validation; scores it is cut from are never cut for training.
"""

import argparse
import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import mido
import numpy as np
import soundfile
from numpy.typing import NDArray

from wavegen.acoustic.rolls import DRUMS
from wavegen.audio.resample import resample
from wavegen.music.corpora import Piece, freedoom, groove, jsb
from wavegen.music.instruments import INSTRUMENTS

SECONDS, GAP = 12.0, 3.0
LEAD = 0.05
RATE, OWN_RATE = 24000, 48000
SCALE = 0.9  # of FluidSynth's output at gain 0.5
PER_FILE = 50
HELD_OUT = 12
WEIGHTS = {0: 14.0} | dict.fromkeys((24, 25, 32, 33, 40, 42, 46, 48, 56, 60, 65, 66, 68, 71, 73), 4.0)

Notes = NDArray[np.float64]  # (n, 4): onset, duration in seconds, pitch, velocity


@dataclass(frozen=True)
class Source:
    """A track of a score on the clock."""

    held_out: bool
    instrument: int
    notes: Notes


def sources(pieces: list[Piece]) -> list[Source]:
    """The tracks of twenty notes and more; a piece outside the training part is held out."""
    found = []
    for piece in pieces:
        for track in piece.score.tracks:
            if len(track) < 20:
                continue
            notes = track.notes.copy()
            onset = piece.score.seconds(notes[:, 0])
            notes[:, 1] = piece.score.seconds(notes[:, 0] + notes[:, 1]) - onset
            notes[:, 0] = onset
            found.append(Source(piece.split != "train", DRUMS if track.is_drum else track.program, notes))
    return found


def excerpt(notes: Notes, rng: np.random.Generator) -> Notes:
    """Twelve seconds from a note on."""
    start = min(notes[rng.integers(len(notes)), 0], max(0.0, notes[:, 0].max() - 0.7 * SECONDS))
    inside = notes[(notes[:, 0] >= start - 0.01) & (notes[:, 0] < start + SECONDS - 0.3)].copy()
    inside[:, 0] = np.maximum(inside[:, 0] - start, 0)
    inside[:, 1] = np.minimum(inside[:, 1], SECONDS - 0.1 - inside[:, 0])
    return inside


def random_notes(low: int, high: int, rng: np.random.Generator) -> Notes:
    """A melody or chords within a range, at a random tempo, loudness and articulation."""
    rows = []
    beat, legato = 60 / rng.uniform(60, 170), rng.uniform(0.5, 1.05)
    loudness, chords, voices = rng.uniform(50, 115), rng.random() < 0.35, rng.integers(2, 5)
    time, pitch = rng.uniform(0, 0.4), int(rng.integers(low, high + 1))
    lengths, chances = [0.25, 0.5, 1, 1.5, 2, 3, 4], [0.1, 0.35, 0.3, 0.08, 0.1, 0.04, 0.03]
    while time < SECONDS - 0.5:
        duration = beat * rng.choice(lengths, p=chances)
        if rng.random() > 0.1:
            velocity = np.clip(loudness + rng.normal(0, 12), 15, 127)
            length = min(duration * legato, SECONDS - 0.1 - time)
            if chords:
                root = int(rng.integers(low, max(low + 1, high - 12)))
                steps = rng.choice([0, 3, 4, 5, 7, 8, 9, 10, 12], voices, replace=False)
                rows += [(time, length, root + s, velocity) for s in steps if root + s <= high]
            else:
                pitch = int(np.clip(pitch + round(rng.normal(0, 4)), low, high))
                rows.append((time, length, pitch, velocity))
        time += duration
    return np.array(rows, float).reshape(-1, 4)


def single_notes(low: int, high: int, rng: np.random.Generator) -> Notes:
    """One note after the other, short and long, soft and loud, from anywhere in a range and a little beyond it."""
    rows, time = [], float(rng.uniform(0, 0.3))
    while time < SECONDS - 0.6:
        duration = min(float(rng.choice([0.12, 0.25, 0.5, 1.0, 2.2]) * rng.uniform(0.8, 1.2)), SECONDS - 0.1 - time)
        pitch = int(np.clip(rng.integers(low - 4, high + 5), 0, 127))
        rows.append((time, duration, pitch, float(rng.integers(30, 128))))
        time += duration + float(rng.uniform(0.0, 0.35))
    return np.array(rows, float)


def single(number: int, rng: np.random.Generator) -> tuple[int, Notes]:
    """A part of single notes: each program in turn, whether held out or not; sound effects seldom."""
    program = (number + number // 128) % 128
    if program >= 120 and rng.random() < 0.7:
        program = int(rng.integers(0, 120))
    return program, single_notes(INSTRUMENTS[program].low, INSTRUMENTS[program].high, rng)


def transposed_into(notes: Notes, low: int, high: int) -> Notes:
    """By octaves to where an instrument plays; what still lies outside is moved to the edge."""
    while notes[:, 2].mean() > high:
        notes[:, 2] -= 12
    while notes[:, 2].mean() < low:
        notes[:, 2] += 12
    notes[:, 2] = np.clip(notes[:, 2], low, high)
    return notes


def item(held_out: bool, scores: list[Source], voices: list[Source], rng: np.random.Generator) -> tuple[int, Notes]:
    """One part: its instrument and notes."""
    scores = [s for s in scores if s.held_out == held_out]
    voices = [s for s in voices if s.held_out == held_out]
    drums = [s for s in scores if s.instrument == DRUMS]
    pitched = [s for s in scores if s.instrument != DRUMS]
    weights = np.array([WEIGHTS.get(p, 0.1 if p >= 120 else 0.8) for p in range(128)])
    program = int(rng.choice(128, p=weights / weights.sum()))
    low, high = INSTRUMENTS[program].low, INSTRUMENTS[program].high
    match rng.choice(["drums", "track", "voices", "random"], p=[0.14, 0.26, 0.2, 0.4]):
        case "drums" if drums:
            instrument, notes = DRUMS, excerpt(drums[rng.integers(len(drums))].notes, rng)
        case "track" if pitched:
            source = pitched[rng.integers(len(pitched))]
            instrument, notes = source.instrument, excerpt(source.notes, rng)
        case "voices" if voices:
            notes = excerpt(voices[rng.integers(len(voices))].notes, rng)
            notes[:, 3] = rng.uniform(45, 115) + rng.normal(0, 8, len(notes))
            notes[:, 1] *= rng.uniform(0.7, 1.0)
            notes[:, 2] += rng.integers(-6, 7)
            instrument, notes = program, transposed_into(notes, low, high)
        case _:
            instrument, notes = program, random_notes(low, high, rng)
    if len(notes) < 2:
        return item(held_out, scores, voices, rng)
    notes[:, 2] = np.clip(notes[:, 2].round(), 0, 127)
    notes[:, 3] = np.clip(notes[:, 3].round(), 1, 127)
    return instrument, notes


def render(parts: list[tuple[int, Notes]], font: Path) -> list[NDArray[np.int16]]:
    """The parts one after the other through FluidSynth, dry, cut apart again."""
    events = []
    tick = lambda seconds: round(seconds * 960)  # noqa: E731
    for number, (instrument, notes) in enumerate(parts):
        start = number * (SECONDS + GAP) + LEAD
        channel = 9 if instrument == DRUMS else number % 9
        if instrument != DRUMS:
            program = mido.Message("program_change", channel=channel, program=instrument)
            events.append((tick(start - 0.03), 0, program))
        for onset, duration, pitch, velocity in notes:
            on = mido.Message("note_on", channel=channel, note=int(pitch), velocity=int(velocity))
            events.append((tick(start + onset), 2, on))
            off = mido.Message("note_off", channel=channel, note=int(pitch))
            events.append((tick(start + onset + max(duration, 0.02)), 1, off))
    end = mido.Message("control_change", channel=0, control=7, value=100)
    events.append((tick(len(parts) * (SECONDS + GAP)), 3, end))
    events.sort(key=lambda event: event[:2])
    track, last = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=500000)]), 0
    for time, _, message in events:
        track.append(message.copy(time=time - last))
        last = time
    with tempfile.TemporaryDirectory() as folder:
        midi, wave = Path(folder) / "parts.mid", Path(folder) / "parts.wav"
        mido.MidiFile(tracks=[track], ticks_per_beat=480).save(midi)
        options = ["-ni", "-q", "-r", str(OWN_RATE), "-g", "0.5", "-R", "0", "-C", "0", "-O", "float", "-T", "wav"]
        subprocess.run(["fluidsynth", *options, "-F", str(wave), str(font), str(midi)], check=True, capture_output=True)
        samples, _ = soundfile.read(wave, dtype="float32", always_2d=True)
    mono = resample(samples.mean(axis=1), OWN_RATE, RATE)
    pieces = []
    for number in range(len(parts)):
        first = round((number * (SECONDS + GAP) + LEAD) * RATE)
        piece = mono[first : first + int((SECONDS + GAP - 0.1) * RATE)]
        pieces.append(np.clip(np.round(piece * 32768 * SCALE), -32768, 32767).astype(np.int16))
    return pieces


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--freedoom", type=Path, required=True)
    parser.add_argument("--groove", type=Path, required=True)
    parser.add_argument("--chorales", type=Path, required=True)
    parser.add_argument("--soundfonts", type=Path, nargs="+", required=True, help="the first is the default one")
    parser.add_argument("--items", type=int, default=3900)
    parser.add_argument("--singles", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    scores = sources([*freedoom(options.freedoom), *groove(options.groove)])
    voices = sources(list(jsb(options.chorales)))
    audio, index = [], []
    total = options.items + options.singles
    for first in range(0, total, PER_FILE):
        font = (
            0 if len(options.soundfonts) == 1 or rng.random() < 0.6 else int(rng.integers(1, len(options.soundfonts)))
        )
        numbers = range(first, min(first + PER_FILE, total))
        parts = [
            item(number % HELD_OUT == 0, scores, voices, rng) if number < options.items else single(number, rng)
            for number in numbers
        ]
        for number, (instrument, notes), samples in zip(
            numbers, parts, render(parts, options.soundfonts[font]), strict=True
        ):
            audio.append(samples)
            index.append(
                {
                    "id": f"{number:05d}",
                    "split": "validation" if number % HELD_OUT == 0 else "train",
                    "instrument": instrument,
                    "font": font,
                    "samples": len(samples),
                    "notes": notes.round(4).tolist(),
                }
            )
        print(f"{first + len(parts)} of {total}", flush=True)
    options.output.mkdir(parents=True, exist_ok=True)
    np.save(options.output / "audio.npy", np.concatenate(audio))
    fonts = [font.stem for font in options.soundfonts]
    (options.output / "index.json").write_text(json.dumps({"sample_rate": RATE, "fonts": fonts, "items": index}))


if __name__ == "__main__":
    main()
