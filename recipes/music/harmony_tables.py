"""Count chords in Bach's chorales: how they follow each other, and which tones sopranos take over them.

    python recipes/music/harmony_tables.py JSB wavegen/music/data/harmony.json

JSB is ``Jsb16thSeparated.json`` of https://github.com/czhuang/JSB-Chorales-dataset, public-domain music: four voices on
a sixteenth-note grid. Only its training part is counted.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from wavegen.audio.io import atomic
from wavegen.music.attributes import Key
from wavegen.music.harmony import chord_of
from wavegen.music.keys import estimate_key
from wavegen.music.leadsheet import Chord
from wavegen.music.score import as_notes

RARE = 8  # chords counted less often are left out
STEP = 4  # sixteenths of a quarter, the chorales' beat


def voices(piece: list[list[int]]) -> np.ndarray:
    """The voices of a piece, (steps, 4), soprano first, -1 where silent."""
    return np.array(piece, dtype=np.int64)


def key_of(grid: np.ndarray) -> Key:
    """The key of a chorale: by its tones, with a preference for the last bass tone."""
    steps, parts = np.nonzero(grid > 0)
    rows = np.stack([steps / STEP, np.full(len(steps), 1 / STEP), grid[steps, parts], np.full(len(steps), 80)], axis=1)
    return estimate_key(as_notes(rows), last_note=True)[0]


def chord_in(grid: np.ndarray, key: Key) -> Chord | None:
    """The chord of some steps of a chorale, its root counted from the tonic."""
    sounding = grid[grid > 0]
    weights = np.bincount((sounding - key.tonic) % 12, minlength=12).astype(float)
    bass = grid[0, 3]
    return chord_of(weights, None if bass < 0 else int(bass - key.tonic) % 12)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("jsb", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    pieces = json.loads(arguments.jsb.read_text(encoding="utf-8"))["train"]
    change: dict[str, dict[tuple[str, str], int]] = {"major": {}, "minor": {}}
    tones: dict[str, dict[str, np.ndarray]] = {"major": {}, "minor": {}}
    for piece in pieces:
        grid = voices(piece)
        key = key_of(grid)
        before = None
        for start in range(0, len(grid) - STEP + 1, STEP):
            beat = grid[start : start + STEP]
            chord = chord_in(beat, key)
            if chord is None:
                continue
            name = f"{chord.root}:{chord.quality}"
            row = tones[key.mode].setdefault(name, np.zeros(12))
            for pitch in beat[beat[:, 0] > 0, 0]:
                row[(pitch - key.tonic) % 12] += 1 / STEP
            if before is not None and name != before:
                pair = (before, name)
                change[key.mode][pair] = change[key.mode].get(pair, 0) + 1
            before = name
    result = {}
    for mode, rows in tones.items():
        names = sorted((n for n, row in rows.items() if row.sum() >= RARE), key=lambda n: -rows[n].sum())
        result[mode] = {
            "chords": names,
            "change": [[change[mode].get((a, b), 0) for b in names] for a in names],
            "tones": [[round(float(x), 2) for x in rows[n]] for n in names],
        }
    with atomic(arguments.output) as temporary:
        Path(temporary).write_text(json.dumps(result, separators=(",", ":")) + "\n", encoding="utf-8")
    for mode, part in result.items():
        print(mode, len(part["chords"]), part["chords"][:10])


if __name__ == "__main__":
    main()
