"""How well composed pieces are what the prompts asked for, and how like music that people wrote.

    python benchmarks/compose.py OUTPUT [--limit 20] [--audio] [--corpus tunes.npz] [--scores FOLDER]

Every prompt of compose_prompts.py goes through ``wavegen.compose``; the MIDI file that is written is read again and its
attributes are extracted from the notes. An attribute is exact if the plan has what the prompt states and the file has
what the plan has. ``--audio`` renders too, and tempo and key are heard in the WAV file: the tempo must lie within 2 %
of the asked one, on the level of the beat or one of those that halve, third, double or treble it; the strict figure is
given as well. ``--corpus`` (recipes/music/prepare_tunes.py makes it) compares the melodies with its held-out tunes and
looks for copies from its training tunes; ``--scores`` compares the scores with MIDI files in a folder. What is printed
is saved in OUTPUT/compose.json, too, piece by piece.
"""

import argparse
import json
import multiprocessing
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import torch
from compose_prompts import PROMPTS, Prompt, mistakes

import wavegen
from wavegen.audio.io import atomic, read
from wavegen.errors import InputError
from wavegen.evaluation.attributes import HARD, check, extract, extraction_modes, hear_key, hear_tempo, tempo_right
from wavegen.evaluation.music import CopyIndex, compare, index_melodies, table
from wavegen.music.attributes import Attributes, Key
from wavegen.music.leadsheet import LeadSheet
from wavegen.music.midi import read_midi, write_midi
from wavegen.music.rewards import reward
from wavegen.music.score import Notes, Score, Track, as_notes
from wavegen.music.tokens import decode, encode

STATED = {"key": "key", "tempo": "tempo", "meter": "meter", "programs": "instruments", "drums": "drums", "bars": "bars"}


@dataclass
class Piece:
    """What one prompt gave; ``hard`` and the like are None where a piece was refused or not rendered."""

    prompt: str
    seconds: float = 0.0  # it took
    duration: float = 0.0  # it lasts
    refused: str = ""
    misread: list[str] = field(default_factory=list)
    unreported: list[str] = field(default_factory=list)
    hard: dict[str, bool] | None = None
    reward: float | None = None  # of music theory, 0 to 1: wavegen.music.rewards
    asked_tempo: float | None = None
    heard_tempo: float | None = None
    tempo_strict: bool | None = None
    tempo_level: bool | None = None
    asked_key: str | None = None
    heard_key: str | None = None
    copied_pairs: int | None = None
    copied_share: float | None = None


def melody_score(sheet: LeadSheet) -> Score:
    """A lead sheet's melody as a score of one track, without its key's transposition being of account."""
    rows = [(onset / 12, duration / 12, pitch, 80) for onset, duration, pitch in sheet.melody()]
    meter = (0.0, sheet.meter.numerator, sheet.meter.denominator)
    return Score((Track(0, False, "melody", as_notes(rows)),), meters=(meter,), key=sheet.key)


def melody_notes(sheet: LeadSheet) -> Notes:
    return melody_score(sheet).tracks[0].notes


def one(prompt: Prompt, number: int, arguments: argparse.Namespace) -> tuple[Piece, Any]:
    """Compose, write, read and judge one prompt; the composition comes back, too, or None where it was refused."""
    piece = Piece(prompt.text)
    start = time.perf_counter()
    try:
        made = wavegen.compose(prompt.text, render=arguments.audio, renderer=arguments.renderer, model=arguments.model)
    except InputError as error:
        piece.refused = str(error)
        return piece, None
    piece.seconds = time.perf_counter() - start
    asked: Attributes = made.attributes
    piece.reward = reward(encode(made.leadsheet))
    piece.misread = mistakes(prompt, made.plan)
    piece.unreported = sorted(set(prompt.unknown) - set(made.plan.unknown))
    path = arguments.output / f"{number:03d}.mid"
    write_midi(path, made.score)
    found = extract(read_midi(path), modes=extraction_modes(asked.key))
    piece.hard, piece.duration = check(found, asked), found.seconds
    for line in piece.misread:
        name = STATED.get(line.partition(":")[0])
        if name is not None:
            piece.hard[name] = False
    if made.audio is not None:
        path = path.with_suffix(".wav")
        made.audio.save(path)
        listen(piece, path, asked)
    return piece, replace(made, audio=None, stems={})


def judged(numbers: Sequence[int], arguments: argparse.Namespace) -> Iterator[tuple[Piece, Any]]:
    """What :func:`one` gives for each prompt, in their order, whatever the number of processes."""
    if arguments.jobs == 1:
        yield from (one(PROMPTS[number], number, arguments) for number in numbers)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.jobs, context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        yield from pool.map(one, (PROMPTS[number] for number in numbers), numbers, repeat(arguments))


def listen(piece: Piece, path: Path, asked: Attributes) -> None:
    """Hear tempo and key in a WAV file."""
    audio = read(path)
    piece.asked_tempo, piece.asked_key = asked.tempo, asked.key.name
    try:
        piece.heard_tempo = hear_tempo(audio.samples, audio.sample_rate)
        heard = hear_key(audio.samples, audio.sample_rate, modes=extraction_modes(asked.key))
    except InputError:  # too short, or too few onsets: neither counts as right
        piece.tempo_strict = piece.tempo_level = False
        return
    piece.heard_key = heard.name
    piece.tempo_strict = tempo_right(piece.heard_tempo, asked.tempo, levels=(1.0,))
    piece.tempo_level = tempo_right(piece.heard_tempo, asked.tempo)


def share(values: Iterable[bool | None]) -> tuple[int, int]:
    """How many are true, of how many that are known."""
    known = [value for value in values if value is not None]
    return sum(known), len(known)


def corpus(path: Path) -> tuple[list[LeadSheet], list[LeadSheet]]:
    """The training and the held-out (test) tunes of a corpus."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in ("train", "train_lengths", "test", "test_lengths")}
    parts = []
    for name in ("train", "test"):
        rows = np.split(arrays[name], np.cumsum(arrays[f"{name}_lengths"])[:-1])
        parts.append([decode(row, Key(0, mode_of(row))) for row in rows])
    return parts[0], parts[1]


def mode_of(tokens: Sequence[int]) -> str:
    from wavegen.music.tokens import MODES, vocabulary

    return MODES[vocabulary("tune").values[tokens[2]]]


def copying(sheets: Sequence[LeadSheet], index: CopyIndex) -> list[tuple[int, float]]:
    found = [index.longest(melody_notes(sheet)) for sheet in sheets]
    return [(copied.pairs, copied.share) for copied in found]


def summary(pieces: Sequence[Piece]) -> dict[str, Any]:
    """The figures over all pieces, as (right, of how many) where they are counts."""
    made = [piece for piece in pieces if piece.hard is not None]
    per = {name: share(piece.hard[name] for piece in made if piece.hard) for name in HARD}
    took = [piece.seconds for piece in made]
    return {
        "prompts": len(pieces),
        "refused": [piece.prompt for piece in pieces if piece.refused],
        "hard attributes": per,
        "hard attributes in all": (sum(right for right, _ in per.values()), sum(count for _, count in per.values())),
        "pieces with every hard attribute": share(all(piece.hard.values()) for piece in made if piece.hard),
        "prompts misread": sum(bool(piece.misread) for piece in made),
        "unknown words unreported": sum(len(piece.unreported) for piece in made),
        "tempo heard within 2 %, any level": share(piece.tempo_level for piece in made),
        "tempo heard within 2 %, the beat's level": share(piece.tempo_strict for piece in made),
        "key heard": share(piece.heard_key == piece.asked_key for piece in made if piece.asked_key),
        "mean reward of music theory": float(np.mean([p.reward for p in pieces if p.reward is not None] or [np.nan])),
        "seconds a piece, median and longest": [float(np.median(took)), max(took)] if took else [],
        "seconds of music a second": sum(piece.duration for piece in made) / sum(took) if took else 0.0,
    }


def show(found: dict[str, Any]) -> None:
    for name, value in found.items():
        if isinstance(value, dict):
            for part, (right, count) in value.items():
                print(f"  {part:12} {right}/{count}")
        elif isinstance(value, tuple):
            right, count = value
            print(f"{name}: {right}/{count}" + (f" = {100 * right / count:.1f} %" if count else ""))
        else:
            print(f"{name}: {value}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path, help="folder for MIDI, WAV and compose.json")
    parser.add_argument("--limit", type=int, default=len(PROMPTS), help="this many prompts, evenly taken from all")
    parser.add_argument("--audio", action="store_true", help="render, and hear tempo and key in the WAV files")
    parser.add_argument("--jobs", type=int, default=1, help="processes, of one thread each where there are several")
    parser.add_argument("--renderer", default="neural", choices=("neural", "fluidsynth"))
    parser.add_argument("--model", default="default", help="score model")
    parser.add_argument("--corpus", type=Path, help="tunes.npz, to compare melodies with and look for copies in")
    parser.add_argument("--scores", type=Path, help="folder of MIDI files to compare whole scores with")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    chosen = np.unique(np.linspace(0, len(PROMPTS) - 1, max(1, arguments.limit)).round().astype(int))
    pieces, scores, sheets = [], list[Score](), list[LeadSheet]()
    for number, (piece, made) in zip(chosen, judged(chosen.tolist(), arguments), strict=True):
        pieces.append(piece)
        if made is not None:
            scores.append(made.score)
            sheets.append(made.leadsheet)
            wrong = [name for name, right in (piece.hard or {}).items() if not right]
            if wrong or piece.misread:
                print(f"{number:03d} {piece.prompt!r}: wrong {wrong}, misread {piece.misread}")
        else:
            print(f"{number:03d} {piece.prompt!r}: refused, {piece.refused}")
    found = summary(pieces)
    if arguments.corpus and sheets:
        training, held_out = corpus(arguments.corpus)
        melodies = compare(map(melody_score, sheets), map(melody_score, held_out))
        index = index_melodies(map(melody_notes, training))
        ours, theirs = copying(sheets, index), copying(held_out, index)
        made_pieces = [piece for piece in pieces if piece.hard is not None]
        for piece, (pairs, part) in zip(made_pieces, ours, strict=True):
            piece.copied_pairs, piece.copied_share = pairs, part
        found["melodies"] = {name: row._asdict() for name, row in melodies.items()}
        found["longest shared run of intervals and rhythm, generated: median, longest, mean share"] = spread(ours)
        found["longest shared run of intervals and rhythm, held-out: median, longest, mean share"] = spread(theirs)
    whole = None
    if arguments.scores and scores:
        whole = compare(scores, [read_midi(path) for path in sorted(arguments.scores.rglob("*.mid"))])
        found["scores"] = {name: row._asdict() for name, row in whole.items()}
    show({name: value for name, value in found.items() if name not in ("melodies", "scores")})
    if "melodies" in found:
        print(f"\nmelodies against held-out tunes\n\n{table(melodies)}")
    if whole is not None:
        print(f"\nscores against {arguments.scores}\n\n{table(whole)}")
    with atomic(arguments.output / "compose.json") as temporary:
        text = json.dumps(
            {"summary": found, "pieces": [asdict(piece) for piece in pieces]}, ensure_ascii=False, indent=1
        )
        temporary.write_text(text + "\n", encoding="utf-8")


def spread(found: Sequence[tuple[int, float]]) -> list[float]:
    pairs = [float(count) for count, _ in found]
    return [float(np.median(pairs)), max(pairs), float(np.mean([part for _, part in found]))]


if __name__ == "__main__":
    main()
