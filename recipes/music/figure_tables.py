"""Count bars of bass and of chordal accompaniment by the company they keep.

    python recipes/music/figure_tables.py FREEDOOM wavegen/music/data/figures.json.gz

FREEDOOM is the folder of the General MIDI music of Freedoom (https://github.com/freedoom/freedoom, BSD-3-Clause). Bars
of 4/4 in its training part are counted. A bar of a bass, or of a guitar or keyboard, becomes a figure: onsets and
lengths on a grid of sixteenths or triplets, and tones as steps from the root of the chord that all other parts sound.
Equal figures are counted together, with the kind of bar and the tempo that they stood in, which figures came after
them, which ended a phrase of four bars, and which chordal figures sounded at the same time.
"""

import argparse
import gzip
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavegen.audio.io import atomic
from wavegen.music.arrange.figures import BAR, Note, Tone
from wavegen.music.corpora import freedoom
from wavegen.music.harmony import chord_of
from wavegen.music.leadsheet import Chord
from wavegen.music.score import Score, Track

BASSES = range(32, 40)
CHORDAL = (*range(8), *range(16, 32), 80, 81, 84, 87, *range(88, 96))  # keys, organs, guitars, synthesisers, pads
DRIVEN = (29, 30)  # guitars
SYNTHETIC = (38, 39, *range(80, 96))
DEGREES = (0, 1, 1, 2, 2, 3, 3, 4, 5, 5, 6, 6)  # of a scale, by semitones above the root
LATE = 0.04  # quarters that a note may come before its bar
LOOSE = 0.6  # mean distance from the grid, in ticks, above which a bar is left out
INSIDE = 0.75  # the share of a bass's time on tones of the chord, below which the chord is not believed
LOUD = 0.25  # of a difference in velocity, that becomes an accent; files are often made louder than they are played
LEAST = {"bass": 3, "chords": 3}  # bars in which a figure must stand
COMMON = 12  # figures kept of those that follow, turn, or sound with one

Notes = NDArray[np.float64]
Key = tuple[tuple[int, int, Tone], ...]  # (tick, ticks, tone): a figure without accents


@dataclass
class Counted:
    """What was counted of one figure."""

    bars: Counter[tuple[str, int]] = field(default_factory=Counter)  # by kind of bar and piece
    tempo: list[float] = field(default_factory=list)
    accents: list[tuple[float, ...]] = field(default_factory=list)
    after: Counter[Key] = field(default_factory=Counter)
    turn: Counter[Key] = field(default_factory=Counter)
    chords: Counter[Key] = field(default_factory=Counter)


@dataclass(frozen=True)
class Bar:
    """One bar of 4/4: the notes of each track, their onsets in ticks from the bar's start and durations in ticks."""

    number: int
    notes: dict[int, Notes]
    chords: tuple[Chord, Chord] | None  # of its halves, as all parts but the basses sound them
    kind: str


def bars(score: Score) -> Iterator[Bar]:
    """The bars of 4/4 in a score."""
    spans = score.bars()
    starts = np.array([start for start, _ in spans])
    place = {n: np.searchsorted(starts, t.notes[:, 0] + LATE, side="right") - 1 for n, t in enumerate(score.tracks)}
    for number, (start, length) in enumerate(spans):
        if length != 4 or score.meter_at(start) != (4, 4):
            continue
        inside = {}
        for n, track in enumerate(score.tracks):
            notes = track.notes[place[n] == number].copy()
            if len(notes):
                notes[:, 0] = (notes[:, 0] - start) * 12
                notes[:, 1] *= 12
                inside[n] = notes
        yield Bar(number, inside, _chords(score, start), kind_of(score.tracks, inside))


def kind_of(tracks: tuple[Track, ...], inside: dict[int, Notes]) -> str:
    """ "heavy" (drums and driven guitars), "synth" (drums, a synthetic bass or lead, no driven guitar), "band" (other
    bars with drums) or "quiet" (neither drums nor driven guitars).
    """
    drums = sum(len(notes) for n, notes in inside.items() if tracks[n].is_drum) >= 4
    programs = {tracks[n].program for n in inside if not tracks[n].is_drum}
    if programs & set(DRIVEN):
        return "heavy"
    if not drums:
        return "quiet"
    return "synth" if programs & set(SYNTHETIC) else "band"


def _chords(score: Score, start: float) -> tuple[Chord, Chord] | None:
    """The chords of a bar's halves, by all parts but the basses; None where a half is silent."""
    parts = [t.notes for t in score.tracks if not t.is_drum and t.program not in BASSES and len(t)]
    if not parts:
        return None
    notes = np.concatenate(parts)
    found = []
    for begin in (start, start + 2):
        sounding = np.clip(np.minimum(notes[:, 0] + notes[:, 1], begin + 2) - np.maximum(notes[:, 0], begin), 0, None)
        classes = notes[:, 2].astype(int) % 12
        weights = np.bincount(classes, weights=sounding, minlength=12).astype(np.float64)
        lowest = int(np.where(sounding > 0, notes[:, 2], 999).argmin())
        chord = chord_of(weights, int(classes[lowest]))
        if chord is None:
            return None
        found.append(chord)
    return found[0], found[1]


def groups(notes: Notes) -> list[tuple[int, int, list[int], float]] | None:
    """(tick, ticks, ascending pitches, velocity) of what is struck together, on a grid; None if it keeps to none."""
    best: tuple[float, NDArray[np.int64]] | None = None
    for step in (3, 4):
        nearest = np.round(notes[:, 0] / step) * step
        off = float(np.abs(notes[:, 0] - nearest).mean())
        if best is None or off < best[0] - 0.05:
            best = (off, nearest.astype(np.int64))
    assert best is not None
    off, ticks = best
    if off > LOOSE or ticks.min() < 0 or ticks.max() >= BAR:
        return None
    onsets = sorted(set(ticks.tolist()))
    found = []
    for tick, following in zip(onsets, [*onsets[1:], BAR], strict=True):
        at = notes[ticks == tick]
        gap = following - tick
        length = round(float(np.median(at[:, 1])) / 3) * 3
        found.append((tick, max(min(2, gap), min(length, gap)), sorted(set(at[:, 2].astype(int).tolist())),
                      float(at[:, 3].max())))  # fmt: skip
    return found


def step_of(pitch: int, anchor: int) -> int:
    """How many steps of a scale a pitch lies above a root."""
    octave, semitones = divmod(pitch - anchor, 12)
    return 7 * octave + DEGREES[semitones]


def _nearest(pitch_class: int, goal: int) -> int:
    return goal + (pitch_class - goal + 6) % 12 - 6


def bass_figure(bar: Bar, track: int, following: Notes | None) -> tuple[Key, tuple[float, ...]] | None:
    """The figure of a bass in a bar and its accents; None where it is not one line over a chord."""
    struck = groups(bar.notes[track])
    if struck is None or bar.chords is None:
        return None
    chords = bar.chords
    lowest = min(pitches[0] for _, _, pitches, _ in struck)
    anchors = [_nearest(chords[0].root, lowest + 2)]
    anchors.append(_nearest(chords[1].root, anchors[0]))
    found: list[tuple[int, int, Tone]] = []
    inside = total = root = 0
    for tick, ticks, pitches, _ in struck:
        half = tick >= BAR // 2
        chord, anchor = chords[half], anchors[half]
        found.append((tick, ticks, step_of(pitches[0], anchor)))
        total += ticks
        inside += ticks * (pitches[0] % 12 in chord.pitch_classes)
        root += ticks * (pitches[0] % 12 == chord.root)
    if inside < INSIDE * total or root < 0.3 * total or struck[0][2][0] % 12 != chords[struck[0][0] >= BAR // 2].root:
        return None
    if any(not -7 <= tone <= 14 for _, _, tone in found if isinstance(tone, int)):
        return None
    tick, ticks, _ = found[-1]
    if following is not None and tick >= 36 and ticks <= 12 and len(found) > 1 and following[0, 0] < 1.5:
        goal = int(following[following[:, 0] < 1.5, 2].min())
        step = goal - struck[-1][2][0]
        if 1 <= abs(step) <= 2:
            found[-1] = (tick, ticks, "below" if step > 0 else "above")
    return tuple(found), _accents(struck)


def chord_figure(bar: Bar, track: int) -> tuple[Key, tuple[float, ...]] | None:
    """The figure of a chordal part in a bar and its accents; None where it is a melody."""
    struck = groups(bar.notes[track])
    if struck is None or bar.chords is None:
        return None
    chords = bar.chords
    lowest = min(pitches[0] for _, _, pitches, _ in struck)
    anchor = _nearest(chords[0].root, lowest)
    found: list[tuple[int, int, Tone]] = []
    for tick, ticks, pitches, _ in struck:
        classes = {(pitch - pitches[0]) % 12 for pitch in pitches}
        chord = chords[tick >= BAR // 2]
        if len(classes) == 1:
            if pitches[0] % 12 not in chord.pitch_classes:
                return None
            found.append((tick, ticks, step_of(pitches[0], _nearest(chord.root, anchor))))
        else:
            found.append((tick, ticks, "power" if classes in ({0, 7}, {0, 5}) else "chord"))
    singles = [tone for _, _, tone in found if isinstance(tone, int)]
    if any(not -7 <= tone <= 14 for tone in singles):
        return None
    if len(singles) == len(found) and (len(found) < 6 or len(set(singles)) == 2):
        return None  # neither a broken chord nor one string that is driven
    return tuple(found), _accents(struck)


def _accents(struck: list[tuple[int, int, list[int], float]]) -> tuple[float, ...]:
    loud = np.array([velocity for _, _, _, velocity in struck])
    return tuple(np.clip(LOUD * (loud - loud.mean()), -6, 6).tolist())


def count(folder: Path) -> tuple[dict[str, dict[Key, Counted]], Counter[str]]:
    """What was counted of basses and chordal parts, and how many bars were read, by kind and in all."""
    found: dict[str, dict[Key, Counted]] = {"bass": defaultdict(Counted), "chords": defaultdict(Counted)}
    read: Counter[str] = Counter()
    for piece_number, piece in enumerate(piece for piece in freedoom(folder) if piece.split == "train"):
        score = piece.score
        tempo = score.tempos[0][1]
        all_bars = {bar.number: bar for bar in bars(score)}
        lines: dict[str, dict[int, dict[int, Key]]] = {"bass": {}, "chords": {}}  # track → bar → figure
        for number, bar in all_bars.items():
            read["bars"] += 1
            seen: dict[str, set[Key]] = {"bass": set(), "chords": set()}
            for track in bar.notes:
                program, is_drum = score.tracks[track].program, score.tracks[track].is_drum
                if is_drum or program not in (*BASSES, *CHORDAL):
                    continue
                what = "bass" if program in BASSES else "chords"
                read[f"bars of {what}"] += 1
                if what == "bass":
                    after = all_bars.get(number + 1)
                    figure = bass_figure(bar, track, after.notes.get(track) if after else None)
                else:
                    figure = chord_figure(bar, track)
                if figure is None:
                    continue
                read[f"figures of {what}"] += 1
                key, accents = figure
                lines[what].setdefault(track, {})[number] = key
                if key not in seen[what]:  # a part that is doubled counts once
                    seen[what].add(key)
                    counted = found[what][key]
                    counted.bars[bar.kind, piece_number] += 1
                    counted.tempo.append(tempo)
                    counted.accents.append(accents)
            for key in seen["bass"]:
                found["bass"][key].chords.update(seen["chords"])
        for what, tracks in lines.items():
            for line in tracks.values():
                _succession(found[what], line)
    return found, read


def _succession(found: dict[Key, Counted], line: dict[int, Key]) -> None:
    """Count what follows each figure, and what closes the four bars that it opened."""
    first = min(line)
    for number, key in line.items():
        if number + 1 in line:
            found[key].after[line[number + 1]] += 1
        if (number - first) % 4 == 0 and all(n in line for n in range(number, number + 4)):
            found[key].turn[line[number + 3]] += 1


def table(found: dict[str, dict[Key, Counted]]) -> dict[str, list[dict[str, Any]]]:
    """The figures that are kept, the commonest first, referring to each other by their numbers."""
    kept = {
        what: sorted(
            (key for key, counted in figures.items() if sum(counted.bars.values()) >= LEAST[what]),
            key=lambda key: (-sum(figures[key].bars.values()), str(key)),
        )
        for what, figures in found.items()
    }
    place = {what: {key: n for n, key in enumerate(keys)} for what, keys in kept.items()}
    result: dict[str, list[dict[str, Any]]] = {}
    for what, keys in kept.items():
        result[what] = []
        for key in keys:
            counted = found[what][key]
            accents = np.round(np.mean(counted.accents, axis=0)).astype(int).tolist()
            entry: dict[str, Any] = {
                "notes": [Note(*note, accent) for note, accent in zip(key, accents, strict=True)],
                "kinds": _weights(counted.bars),
                "tempo": round(float(np.exp(np.mean(np.log(counted.tempo)))), 1),
                "after": _common(counted.after, place[what]),
                "turn": _common(counted.turn, place[what]),
            }
            if what == "bass":
                entry["chords"] = _common(counted.chords, place["chords"])
            result[what].append(entry)
    return result


def _weights(bars: Counter[tuple[str, int]]) -> dict[str, float]:
    """Kind of bar → the sum over pieces of the square root of the bars, so that no piece counts for all."""
    found: dict[str, float] = defaultdict(float)
    for (kind, _), number in sorted(bars.items()):
        found[kind] += number**0.5
    return {kind: round(weight, 2) for kind, weight in found.items()}


def _common(counts: Counter[Key], place: dict[Key, int]) -> dict[str, int]:
    known = sorted(((place[key], n) for key, n in counts.items() if key in place), key=lambda pair: (-pair[1], pair[0]))
    return {str(number): n for number, n in known[:COMMON]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("freedoom", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    found, read = count(arguments.freedoom)
    result = table(found)
    data = gzip.compress(json.dumps(result, separators=(",", ":")).encode(), 9, mtime=0)
    with atomic(arguments.output) as temporary:
        Path(temporary).write_bytes(data)
    for name, number in read.items():
        print(number, name)
    for what, entries in result.items():
        print(len(entries), "of", len(found[what]), "figures of", what, "kept")
    print(len(data), "bytes")


if __name__ == "__main__":
    main()
