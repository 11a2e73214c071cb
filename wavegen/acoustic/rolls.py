"""Scores on a grid of mel frames: which note sounds in which frame, how long it has sounded, how long it has been over.

One part (one instrument) at a time: parts are synthesised apart and summed as waveforms, which is exact where a mixed
mel would not be.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wavegen.audio.features import FeatureSpec
from wavegen.errors import InputError
from wavegen.music.instruments import GM_NAMES
from wavegen.music.score import DURATION, ONSET, PITCH, VELOCITY, Score, Track

DRUMS = 128  # the instrument number of the drum kit, behind General MIDI's 128 programs
INSTRUMENTS = 129
DRUM_KINDS = 128  # kinds of notes: pitches, and from here on drums by pitch
KINDS = 2 * DRUM_KINDS
LEAD = 5  # frames before an onset whose windows reach it
# Seconds that a note rings on behind its end, by General MIDI family of eight programs.
TAILS = (0.5, 1.5, 0.3, 0.4, 0.3, 0.5, 0.6, 0.4, 0.3, 0.3, 0.4, 1.2, 1.2, 0.5, 0.8, 1.2)
DRUM_TAIL, CYMBAL_TAIL = 0.5, 2.0
CYMBALS = (46, 49, 51, 52, 53, 55, 57, 59)


@dataclass(frozen=True)
class Part:
    """The notes of one instrument: ``onset`` and ``end`` in seconds, ``pitch`` 0-127, ``velocity`` 1-127, each (n,).

    ``instrument`` is a General MIDI program 0-127, or 128 for drums, whose notes ring out whatever their end.
    """

    instrument: int
    onset: NDArray[np.float64]
    end: NDArray[np.float64]
    pitch: NDArray[np.int64]
    velocity: NDArray[np.int64]

    def __post_init__(self) -> None:
        if not 0 <= self.instrument < INSTRUMENTS:
            raise InputError(f"an instrument is a program from 0 to 127, or 128 for drums, not {self.instrument}")
        if len({len(x) for x in (self.onset, self.end, self.pitch, self.velocity)}) != 1:
            raise InputError("a part needs as many onsets, ends, pitches and velocities")
        for name, values, low, high in (("pitch", self.pitch, 0, 127), ("velocity", self.velocity, 1, 127)):
            if len(values) and not (low <= values.min() and values.max() <= high):
                raise InputError(f"a part's {name} must lie from {low} to {high}")

    @property
    def tails(self) -> NDArray[np.float64]:
        """Seconds that each note may ring on behind its end."""
        if self.instrument == DRUMS:
            return np.where(np.isin(self.pitch, CYMBALS), CYMBAL_TAIL, DRUM_TAIL)
        return np.full(len(self.pitch), TAILS[self.instrument // 8])

    def frames(self, spec: FeatureSpec) -> int:
        """Mel frames until the last note has rung out."""
        last = float((self._ends() + self.tails).max(initial=0.0))
        return int(np.ceil(last * spec.frame_rate)) + 1

    def _ends(self) -> NDArray[np.float64]:
        return self.onset + 0.02 if self.instrument == DRUMS else np.maximum(self.end, self.onset + 0.02)

    def heard(self, spec: FeatureSpec) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The first frame in which each note can be heard, and the one behind the last; the first may be negative."""
        onset, end = self._in_frames(spec)
        low = np.ceil(onset - LEAD).astype(np.int64)
        return low, np.floor(end + self.tails * spec.frame_rate).astype(np.int64) + 1

    def _in_frames(self, spec: FeatureSpec) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Onsets and ends: frame i stands over samples i × hop …, its centre half a hop later."""
        return self.onset * spec.frame_rate - 0.5, self._ends() * spec.frame_rate - 0.5

    def sounding(self, spec: FeatureSpec, first: int, count: int) -> "Sounding":
        """The pairs (note, frame) of frames ``first`` … ``first + count - 1`` in which a note can be heard."""
        onset, end = self._in_frames(spec)
        low, high = (np.clip(edge, first, first + count) for edge in self.heard(spec))
        lengths = np.maximum(high - low, 0)
        note = np.repeat(np.arange(len(lengths)), lengths)
        starts = np.concatenate([[0], np.cumsum(lengths)])[:-1]
        frame = np.arange(len(note)) - np.repeat(starts, lengths) + np.repeat(low, lengths)
        kind = self.pitch + (DRUM_KINDS if self.instrument == DRUMS else 0)
        return Sounding(
            frame=torch.from_numpy(frame - first),
            instrument=torch.full((len(note),), self.instrument),
            kind=torch.from_numpy(kind[note]),
            velocity=torch.from_numpy((self.velocity[note] / 127).astype(np.float32)),
            age=torch.from_numpy((frame - onset[note]).astype(np.float32)),
            over=torch.from_numpy((frame - end[note]).astype(np.float32)),
        )


def named_tracks(score: Score) -> Iterator[tuple[str, Track]]:
    """The tracks that hold notes, each with a name that occurs once and may name a file."""
    seen: dict[str, int] = {}
    for track in score.tracks:
        if len(track):
            name = "drums" if track.is_drum else GM_NAMES[track.program].lower()
            name = re.sub("[^a-z0-9]+", "-", name).strip("-")
            seen[name] = seen.get(name, 0) + 1
            yield name if seen[name] == 1 else f"{name}-{seen[name]}", track


def parts_of(score: Score) -> dict[str, Part]:
    """The tracks that hold notes, by name, on the clock."""
    return {name: part_of(score, track) for name, track in named_tracks(score)}


def part_of(score: Score, track: Track) -> Part:
    """A track of a score on the score's clock."""
    notes = track.notes
    return Part(
        DRUMS if track.is_drum else track.program,
        score.seconds(notes[:, ONSET]),
        score.seconds(notes[:, ONSET] + notes[:, DURATION]),
        notes[:, PITCH].astype(np.int64),
        notes[:, VELOCITY].round().astype(np.int64),
    )


@dataclass(frozen=True)
class Sounding:
    """Pairs of note and frame, each field (pairs,): the frame's number, the note's instrument, kind (pitch, drums
    behind), velocity 0-1, and the frames since its onset (``age``) and its end (``over``), negative before them.
    """

    frame: Tensor
    instrument: Tensor
    kind: Tensor
    velocity: Tensor
    age: Tensor
    over: Tensor

    def __len__(self) -> int:
        return len(self.frame)

    @staticmethod
    def joined(parts: "list[Sounding]", count: int) -> "Sounding":
        """Several of ``count`` frames each as one, each in frames of its own, one behind the other."""
        fields = {}
        for name in ("instrument", "kind", "velocity", "age", "over"):
            fields[name] = torch.cat([getattr(p, name) for p in parts])
        return Sounding(frame=torch.cat([p.frame + i * count for i, p in enumerate(parts)]), **fields)

    def to(self, device: torch.device) -> "Sounding":
        """The same on another device."""
        return Sounding(**{name: value.to(device) for name, value in vars(self).items()})
