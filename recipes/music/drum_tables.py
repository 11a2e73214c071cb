"""Count drum grooves by style, step by step.

    python recipes/music/drum_tables.py GROOVE wavegen/music/data/drums.json.gz

GROOVE is the Groove MIDI Dataset (https://magenta.tensorflow.org/datasets/groove, CC BY 4.0), the folder with
``info.csv``. Grooves ("beat") of 4/4 in its training and validation parts are counted.
"""

import argparse
import csv
import gzip
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from wavegen.audio.io import atomic
from wavegen.music.corpora import groove
from wavegen.music.drums import DRUMS
from wavegen.music.score import Score

# Keys of the drum kit that was played → drum (an index of DRUMS).
_KEYS = {
    "kick": (35, 36), "snare": (38, 40), "stick": (37, 39), "hat": (42, 22), "pedal": (44,), "open": (46, 26),
    "ride": (51, 53, 59), "crash": (49, 52, 55, 57), "low": (41, 43, 58), "mid": (45, 47), "high": (48, 50),
}  # fmt: skip
_INDEX = {key: i for i, (name, _) in enumerate(DRUMS) for key in _KEYS[name]}
RARE = {1: 2, 2: 2, 3: 2}  # contexts seen less often are left out, by kind
COMMON = 8  # sets that a context keeps
TOMS = ("latin", "afrocuban")  # styles in which toms keep time
SWING = ("jazz", "blues")
STYLES = ("rock", "funk", "jazz", "latin", "hiphop", "soul", "punk", "country", "pop", "reggae", "dance", "blues",
          "afrocuban", "neworleans", "gospel")  # fmt: skip


def grid(score: Score, steps: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Sets (bars, steps), velocities (bars, steps, drums), and the mean distance from the steps in quarters."""
    notes = score.merged(drums=True)
    place = notes[:, 0] * steps / 4
    nearest = np.round(place).astype(int)
    bars = int(nearest.max()) // steps + 1
    masks = np.zeros((bars + 1, steps), np.int64)
    velocity = np.zeros((bars + 1, steps, len(DRUMS)))
    for at, pitch, loud in zip(nearest, notes[:, 2].astype(int), notes[:, 3], strict=True):
        if pitch in _INDEX and loud >= 20:  # quieter strokes are bounces
            bar, step = divmod(int(at), steps)
            masks[bar, step] |= 1 << _INDEX[pitch]
            velocity[bar, step, _INDEX[pitch]] = max(velocity[bar, step, _INDEX[pitch]], loud)
    return masks[:bars], velocity[:bars], float(np.abs(place - nearest).mean() * 4 / steps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("groove", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    with open(arguments.groove / "info.csv", newline="", encoding="utf-8") as file:
        beats = {row["id"] for row in csv.DictReader(file) if row["beat_type"] == "beat"}
    scores: dict[str, list[Score]] = defaultdict(list)
    for piece in groove(arguments.groove):
        style = piece.style.split("/")[0]
        if piece.id in beats and piece.meter == (4, 4) and piece.split != "test" and style in STYLES:
            scores[style].append(piece.score)
    result = {
        style: counted(scores[style], toms=style in TOMS, swing=style in SWING) for style in STYLES if scores[style]
    }
    data = gzip.compress(json.dumps(result, separators=(",", ":")).encode(), 9, mtime=0)
    with atomic(arguments.output) as temporary:
        Path(temporary).write_bytes(data)
    for style, part in result.items():
        print(style, len(scores[style]), "performances,", part["steps"], "steps,", len(part["counts"]), "contexts")
    print(len(data), "bytes")


def is_groove(bar: np.ndarray, *, toms: bool) -> bool:
    """Whether a bar keeps time: a kick, one cymbal throughout, no crash but at its start, and toms only if allowed."""
    struck = (bar[:, None] >> np.arange(len(DRUMS)) & 1).astype(bool)
    count = dict(zip((name for name, _ in DRUMS), struck.sum(0), strict=True))
    fill = count["low"] + count["mid"] + count["high"] + struck[1:, _INDEX[49]].sum()
    return bool(count["kick"] and max(count["hat"], count["ride"]) >= 4 and (toms or not fill))


def counted(scores: list[Score], *, toms: bool, swing: bool) -> dict[str, Any]:
    """The counts of a style, from the performances in triplets if it swings, else from those that are straight."""
    swung = [grid(score, 12)[2] < grid(score, 16)[2] for score in scores]
    steps = 12 if swing else 16
    counts: dict[str, Counter[int]] = defaultdict(Counter)
    loud = np.zeros((len(DRUMS), steps))
    struck = np.zeros((len(DRUMS), steps))
    for score, swings in zip(scores, swung, strict=True):
        if swings != swing:
            continue
        masks, velocity, _ = grid(score, steps)
        loud += velocity.sum(0).T
        struck += (velocity > 0).sum(0).T
        row = [0, 0, *masks.reshape(-1).tolist()]
        for place in range(2, len(row)):
            step, mask = (place - 2) % steps, row[place]
            if not is_groove(masks[(place - 2) // steps], toms=toms):
                continue
            two, one = row[place - 2], row[place - 1]
            contexts = [f"{step}", f"{step}|{one}", f"{step}|{two}|{one}"]
            if place - 2 >= steps:
                contexts.append(f"{step}^{row[place - steps]}")
            for context in contexts:
                counts[context][mask] += 1
    mean = loud.sum() / struck.sum()
    by_drum = (loud.sum(1) + mean) / (struck.sum(1) + 1)
    smooth = (loud + 4 * by_drum[:, None]) / (struck + 4) / mean
    kept = {
        context: {str(mask): n for mask, n in row.most_common(COMMON)}
        for context, row in sorted(counts.items())
        if sum(row.values()) >= RARE[1 + context.count("|")]
    }
    return {"steps": steps, "counts": kept, "velocity": np.round(smooth, 2).tolist()}


if __name__ == "__main__":
    main()
