"""Make the corpus that tune models learn from: lead sheets as tokens, split by piece.

    python recipes/music/prepare_tunes.py tunes.npz --jsb Jsb16thSeparated.json

Tunes are the ABC files of music21's corpus, whose headers state no restriction: Ryan's Mammoth Collection (1883),
Aird's Airs (1778-1801) and O'Neill's Music of Ireland (1903). Chorales are the sopranos of Bach's four-part settings
with the chords of their own harmony, from https://github.com/czhuang/JSB-Chorales-dataset. All of it is public-domain
music.

A tune's first pickup is dropped, so that it begins on a downbeat; a passage that is repeated stands once, with its last
ending. Tunes whose bars do not hold their metre, that change metre, or that have notes which a grid of 12 ticks a
quarter cannot hold, are left out. Chords are those of wavegen's harmoniser. Variants of a tune share a split.

What the books hold too little of is derived, for training and validation alone: tunes of 3/4 and 2/4 come again as
waltzes, minuets and polkas; the rarer metres are made of the commoner ones by joining and halving bars, or by taking
a beat away.
"""

import argparse
import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from harmony_tables import chord_in, key_of, voices

from wavegen.audio.io import atomic
from wavegen.errors import InputError
from wavegen.music.attributes import MODES, Key, Meter
from wavegen.music.corpora import SPLITS, TUNE_COLLECTIONS, Piece, music21_tunes
from wavegen.music.harmony import HALVED, harmonise
from wavegen.music.keys import estimate_key
from wavegen.music.leadsheet import Bar, Chord, LeadSheet, NoteEvent, bars_of
from wavegen.music.score import Score
from wavegen.music.tokens import encode, vocabulary

TICKS = 12  # a quarter
MIN_BARS, MAX_BARS = 4, 64

# O'Neill's numbers, by what the book prints under them.
_ONEILL = ((635, "air"), (700, "folk"), (1115, "jig"), (1175, "slip-jig"), (1555, "reel"), (1780, "hornpipe"))
# The metres in which a dance is one; others make it "folk".
_DANCE_METERS = {
    "jig": {"6/8", "12/8"}, "slip-jig": {"9/8"}, "waltz": {"3/4"}, "minuet": {"3/4", "3/8"},
    "reel": {"4/4", "2/2", "2/4"}, "hornpipe": {"4/4", "2/2", "2/4"}, "strathspey": {"4/4", "2/2"},
    "polka": {"2/4", "4/4"},
}  # fmt: skip


def style_of(piece: Piece) -> str:
    """The style token of a tune: of O'Neill's book by its number, of others by title and metre."""
    meter = f"{piece.meter[0]}/{piece.meter[1]}"
    words = [piece.style]
    if piece.id.startswith("oneills") and (number := re.search(r"\d+$", piece.id)):
        words.insert(0, next((style for last, style in _ONEILL if int(number[0]) <= last), "march"))
    return next((word for word in words if meter in _DANCE_METERS.get(word, {meter})), "folk")


def tune_key(score: Score) -> Key:
    """The key: the header's if the tune ends on its tonic, else what header and notes agree on best."""
    last = int(score.merged()[-1, 2]) % 12
    header = score.key
    if header is not None and header.tonic == last:
        return header
    estimate, _ = estimate_key(score, last_note=True, modes=MODES)
    return estimate if header is None or estimate.tonic == last else header


def tune_sheet(piece: Piece) -> LeadSheet:
    """The lead sheet of a tune. InputError says why it is left out."""
    meter = Meter(*piece.meter)
    rows = quantised(piece.score)
    first = min(row[0] for row in rows)
    if first > 0:  # a pickup, and the bar that it stands in
        skip = (first // meter.ticks + 1) * meter.ticks
        rows = [(onset - skip, duration, pitch) for onset, duration, pitch in rows if onset >= skip]
    if not rows:
        raise InputError("no bars")
    count = -(-max(onset + duration for onset, duration, _ in rows) // meter.ticks)
    if count < MIN_BARS:
        raise InputError("too short")
    count = min(count, MAX_BARS)
    end = count * meter.ticks
    rows = [row for row in rows if row[0] < end]
    onset, duration, pitch = rows[-1]
    if end - onset - duration <= meter.ticks // 2:  # a last bar that the pickup completes
        rows[-1] = (onset, end - onset, pitch)
    bars = bars_of(rows, meter, count)
    if any(all(note[0] is None for note in bar) for bar in bars):
        raise InputError("an empty bar")
    key = tune_key(piece.score)
    chords = harmonise(bars, key, meter)
    return LeadSheet(key, meter, style_of(piece), tuple(Bar(c, n) for c, n in zip(chords, bars, strict=True)))


def quantised(score: Score) -> list[tuple[int, int, int]]:
    """(onset, duration, pitch) in ticks of the highest notes, one at a time. InputError if the grid is too coarse."""
    notes = score.merged()
    starts = notes[:, 0] * TICKS
    if np.abs(starts - np.round(starts)).max() > 0.51:
        raise InputError("off the grid")
    best: dict[int, tuple[int, int]] = {}
    for onset, duration, pitch, _ in notes:
        at, until = round(onset * TICKS), round((onset + duration) * TICKS)
        if until > at and (at not in best or best[at][1] < pitch):
            best[at] = (until, int(pitch))
    places = sorted(best)
    if not places or sum(until - at <= 1 for at, (until, _) in best.items()) > 0.02 * len(places):
        raise InputError("notes finer than the grid")
    following = [*places[1:], max(until for until, _ in best.values())]
    return [(at, min(best[at][0], after) - at, best[at][1]) for at, after in zip(places, following, strict=True)]


def chorale_sheet(piece: list[list[int]]) -> LeadSheet:
    """The soprano of a chorale with its chords. InputError where the bars cannot be told."""
    grid = voices(piece)
    if len(grid) < 64 or (grid[:, 0] < 0).mean() > 0.1:
        raise InputError("no soprano")
    key = key_of(grid)
    meter, phase = chorale_meter(grid)
    width = meter.ticks // 3  # sixteenths of a bar
    grid = grid[phase:]
    count = -(-len(grid) // width)
    lacking = count * width - len(grid)
    if lacking > width // 2 or count < MIN_BARS:
        raise InputError("the last bar is not full")
    grid = np.concatenate([grid, np.repeat(grid[-1:], lacking, axis=0)])
    bars = bars_of(soprano(grid), meter, count)
    halves = 2 if meter.name in HALVED else 1
    size = width // halves
    sheet = []
    for number, notes in enumerate(bars):
        chords: list[tuple[int, Chord]] = []
        for half in range(halves):
            start = number * width + half * size
            chord = chord_in(grid[start : start + size], key)
            if chord is None:
                raise InputError("silence")
            if not chords or chord != chords[-1][1]:
                chords.append((half * meter.ticks // 2, chord))
        sheet.append(Bar(tuple(chords), notes))
    return LeadSheet(key, meter, "chorale", tuple(sheet))


def soprano(grid: np.ndarray) -> list[tuple[int, int, int]]:
    """(onset, duration, pitch) in ticks: equal neighbours are one note, struck anew where the bass moves."""
    rows: list[tuple[int, int, int]] = []
    for step, (pitch, _, _, bass) in enumerate(grid.tolist()):
        if pitch < 0:
            continue
        held = step > 0 and grid[step - 1, 0] == pitch
        struck = held and step % 4 == 0 and grid[step - 1, 3] != bass
        if held and not struck and rows:
            onset, duration, _ = rows[-1]
            rows[-1] = (onset, duration + 3, pitch)
        else:
            rows.append((3 * step, 3, pitch))
    return rows


def chorale_meter(grid: np.ndarray) -> tuple[Meter, int]:
    """The metre, 4/4 or 3/4, and the sixteenths before the first bar line: where long tones and chords begin.

    InputError where no division stands out.
    """
    beats = len(grid) // 4
    accent = np.zeros(beats)
    for onset, duration, _ in soprano(grid):
        if onset % 12 == 0 and onset // 12 < beats:
            accent[onset // 12] += min(duration / 12 - 1, 2)
    for beat in range(beats - 1):
        accent[beat] += np.all(grid[4 * beat : 4 * beat + 4] == grid[4 * beat])  # a chord that is held
        accent[beat + 1] += 0.3 * (abs(grid[4 * beat + 4, 3] - grid[4 * beat + 3, 3]) >= 5)
    found = []
    for name, strong in (("4/4", (0, 2)), ("3/4", (0,))):
        meter = Meter.parse(name)
        for phase in (0, 1, 2, 3)[: meter.numerator]:
            place = (np.arange(beats) - phase) % meter.numerator
            inside = np.isin(place, strong)
            contrast = accent[inside].mean() - accent[~inside].mean()
            first = accent[place == 0].mean() - accent[place == 2].mean() if name == "4/4" else 0.0
            found.append((contrast + 0.25 * first + 0.02 * (phase == 3), meter, 4 * phase))
    found.sort(key=lambda entry: -entry[0])
    if found[0][0] < 0.15:
        raise InputError("no clear metre")
    return found[0][1], found[0][2]


def corpus(tunes: Iterable[Piece], chorales: dict[str, list[Any]]) -> tuple[dict[str, list[LeadSheet]], Counter[str]]:
    """Lead sheets by split, and why how many pieces were left out."""
    sheets: dict[str, list[LeadSheet]] = {split: [] for split in SPLITS}
    reasons: Counter[str] = Counter()
    seen: set[tuple[Any, ...]] = set()
    for piece in tunes:
        try:
            sheet = tune_sheet(piece)
        except InputError as error:
            reasons[str(error).partition(";")[0]] += 1
            continue
        melody = tuple(note for bar in sheet.bars for note in bar.notes)
        if melody in seen:
            reasons["the same notes again"] += 1
            continue
        seen.add(melody)
        sheets[piece.split].append(sheet)
    for split, part in zip(SPLITS, ("train", "valid", "test"), strict=True):
        for chorale in chorales[part]:
            try:
                sheets[split].append(chorale_sheet(chorale))
            except InputError as error:
                reasons[f"chorale: {error}"] += 1
    for split, most in _MOST.items():
        sheets[split] += derived(sheets[split], most)
    return sheets, reasons


def reshaped(bars: list[list[NoteEvent]], target: str) -> list[list[NoteEvent]]:
    """A melody's bars of one metre as bars of another; see _DERIVED for which."""
    if target in ("12/8", "6/4"):  # two bars are one
        return [a + b for a, b in zip(bars[::2], bars[1::2], strict=False)]
    if target == "3/8":
        return [half for bar in bars for half in (taken(bar, 0, 18), taken(bar, 18, 36))]
    if target == "5/4":  # the last note of a bar lasts a quarter longer
        return [[*bar[:-1], (bar[-1][0], bar[-1][1] + 12, bar[-1][2])] for bar in bars]
    if target == "7/4":
        return [a + taken(b, 0, 36) for a, b in zip(bars[::2], bars[1::2], strict=False)]
    return [taken(bar, 0, {"5/8": 30, "7/8": 42}[target]) for bar in bars]


def taken(bar: list[NoteEvent], start: int, end: int) -> list[NoteEvent]:
    """What sounds between two ticks of a bar; a note that began before is tied."""
    found: list[NoteEvent] = []
    tick = 0
    for pitch, duration, tied in bar:
        inside = min(tick + duration, end) - max(tick, start)
        if inside > 0:
            found.append((pitch, inside, (tied or tick < start) and pitch is not None))
        tick += duration
    return found


# Metre → the metre that it is made of.
_DERIVED = {"12/8": "6/8", "3/8": "6/8", "5/8": "6/8", "6/4": "3/4", "5/4": "4/4", "7/4": "4/4", "7/8": "4/4"}
_MOST = {"train": 80, "validation": 10}  # tunes of a derived metre
_STYLED = (
    ("waltz", "3/4", ("air", "folk")),
    ("minuet", "3/4", ("air", "folk")),
    ("polka", "2/4", ("folk", "reel", "march")),
)


def derived(sheets: list[LeadSheet], most: int) -> list[LeadSheet]:
    """More tunes for the styles and metres of which there are few, at most about so many of a metre."""
    found = []
    for style, meter, styles in _STYLED:
        for place, sheet in enumerate(s for s in sheets if s.meter.name == meter and s.style in styles):
            if style != "minuet" or place % 2:
                found.append(replace(sheet, style=style))
    for target, source in _DERIVED.items():
        meter = Meter.parse(target)
        tunes = [s for s in sheets if s.meter.name == source and s.style != "chorale"]
        for sheet in tunes[:: max(1, len(tunes) // most)]:
            bars = reshaped([list(bar.notes) for bar in sheet.bars], target)
            if len(bars) < MIN_BARS or any(bar[0][2] for bar in bars[:1]):
                continue
            chords = harmonise(bars, sheet.key, meter)
            style = sheet.style if sheet.style in ("air", "jig") and target == "12/8" else "folk"
            found.append(LeadSheet(sheet.key, meter, style, tuple(map(Bar, chords, map(tuple, bars)))))
    return found


def write(path: Path, sheets: dict[str, list[LeadSheet]]) -> dict[str, int]:
    """Write tokens (int32) and lengths (int64) of every split; the number of tokens by split comes back."""
    arrays: dict[str, Any] = {"vocabulary": np.array("tune")}
    for split in SPLITS:
        tokens = [encode(sheet) for sheet in sheets[split]]
        arrays[split] = np.concatenate(tokens).astype(np.int32)
        arrays[f"{split}_lengths"] = np.array([len(row) for row in tokens], dtype=np.int64)
    with atomic(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **arrays)
    return {split: len(arrays[split]) for split in SPLITS}


def report(sheets: dict[str, list[LeadSheet]], tokens: dict[str, int], reasons: Counter[str]) -> None:
    """Print what the corpus holds."""
    for split in SPLITS:
        bars = sum(len(sheet.bars) for sheet in sheets[split])
        print(f"{split}: {len(sheets[split])} tunes, {bars} bars, {tokens[split]} tokens")
    everything = [sheet for split in SPLITS for sheet in sheets[split]]
    for what in ("style", "meter", "mode"):
        words = [
            sheet.style if what == "style" else sheet.meter.name if what == "meter" else sheet.key.mode
            for sheet in everything
        ]
        print(f"{what}: " + ", ".join(f"{word} {count}" for word, count in Counter(words).most_common()))
    print("left out: " + ", ".join(f"{reason} {count}" for reason, count in reasons.most_common(12)))
    print(f"tokens in the vocabulary: {vocabulary('tune').size}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--jsb", type=Path, required=True, help="Jsb16thSeparated.json")
    arguments = parser.parse_args()
    sheets, reasons = corpus(music21_tunes(TUNE_COLLECTIONS), json.loads(arguments.jsb.read_text(encoding="utf-8")))
    report(sheets, write(arguments.output, sheets), reasons)


if __name__ == "__main__":
    main()
