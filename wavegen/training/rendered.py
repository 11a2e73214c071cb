"""Rendered parts: pairs of notes and audio, as ``recipes/music/render_pairs.py`` writes them.

A folder holds ``audio.npy`` (int16, all items end to end) and ``index.json``: ``sample_rate``, ``fonts`` (names), and
``items``, each with ``id``, ``split``, ``instrument``, ``font``, ``samples`` and ``notes`` (onset, duration in seconds,
pitch, velocity).
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wavegen.acoustic.rolls import Part
from wavegen.errors import InputError


@dataclass(frozen=True)
class RenderedItem:
    """One part and where its audio lies."""

    id: str
    part: Part
    font: int
    start: int
    samples: int


@dataclass(frozen=True)
class RenderedSet:
    """The items of one split; ``audio`` is shared and memory-mapped."""

    items: list[RenderedItem]
    audio: NDArray[np.int16]
    sample_rate: int
    fonts: int

    def waveform(self, item: RenderedItem, first: int, count: int) -> NDArray[np.float32]:
        """``count`` samples from ``first`` on, which may begin before or end behind the item: there is silence."""
        low, high = max(0, first), min(item.samples, first + count)
        out = np.zeros(count, np.float32)
        if high > low:
            out[low - first : high - first] = self.audio[item.start + low : item.start + high] / np.float32(32768)
        return out


def read_rendered(folder: Path, split: str) -> RenderedSet:
    """The items of a split. InputError names the file that is missing or does not fit."""
    path = folder / "index.json"
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        audio = np.load(folder / "audio.npy", mmap_mode="r")
    except OSError as error:
        raise InputError(f"{error.filename}: {error.strerror} (expected a folder of rendered parts)") from None
    except ValueError:
        raise InputError(f"{folder}: index.json or audio.npy is damaged") from None
    items, start = [], 0
    try:
        for entry in index["items"]:
            if entry["split"] == split:
                notes = np.asarray(entry["notes"], np.float64).reshape(-1, 4)
                part = Part(
                    int(entry["instrument"]),
                    notes[:, 0],
                    notes[:, 0] + notes[:, 1],
                    notes[:, 2].astype(np.int64),
                    notes[:, 3].astype(np.int64),
                )
                items.append(RenderedItem(str(entry["id"]), part, int(entry["font"]), start, int(entry["samples"])))
            start += int(entry["samples"])
        rate, fonts = int(index["sample_rate"]), len(index["fonts"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: does not describe rendered parts ({type(error).__name__}: {error})") from None
    if start != len(audio):
        raise InputError(f"{path}: describes {start} samples, but audio.npy holds {len(audio)}")
    if not items:
        raise InputError(f"{path}: no item in the {split} part")
    return RenderedSet(items, audio, rate, fonts)
