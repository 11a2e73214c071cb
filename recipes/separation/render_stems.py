"""Songs with aligned stems and labels, rendered from General MIDI scores by FluidSynth: 44.1 kHz, stereo, int16.

    python recipes/separation/render_stems.py OUTPUT --freedoom DIR --groove DIR --chorales FILE --soundfonts FILE... \
        [--minutes 120] [--chorale-share 0.35] [--solos] [--seed 5]

A song is half a minute: an excerpt of a Freedoom score with all its tracks, or a chorale whose four voices are given
to four instruments, with drums of Groove at its tempo. SoundFont, programs (within their family), tempo, transposition,
pan, gain and reverb are drawn at random. Written as OUTPUT/<split>/<song>/<stem>.npy, (samples, 2), and labels.json
with the notes of every stem. A stem that does not play is left out. The mix is the sum. Splits are those of the scores.
With --solos a song is one tune of a score on one instrument alone.
Songs that are there already are kept: a broken run is taken up where it stopped.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mido
import numpy as np
import soundfile
from numpy.typing import NDArray

from wavegen.acoustic.fluidsynth import find_soundfont
from wavegen.errors import MissingDependencyError, WavegenError
from wavegen.music.corpora import Piece, freedoom, groove, jsb
from wavegen.music.instruments import INSTRUMENTS
from wavegen.music.score import DURATION, ONSET, PITCH, VELOCITY
from wavegen.training.mixtures import active_rms
from wavegen.training.stem_folders import MELODIC, SPLITS, STEMS, stem_of

RATE = 44100
SECONDS, GAP, LEAD = 30.0, 2.5, 0.1
TICKS = 1000  # a second, in the MIDI files rendered
SHARES = {"train": 0.84, "validation": 0.06, "test": 0.10}
CHORALES = 0.35  # of the songs
PER_CALL = 6  # songs
KITS = (0, 0, 0, 8, 16, 24, 25, 32, 40)
LEVEL_DB, SPREAD_DB = -20.0, 3.5  # of a stem where it sounds, before the song is brought under full scale
PEAK = 0.9
DRUM_CHANNEL = 9
SOLOISTS = ("bass", *MELODIC)
SOLOS_BY_STEM = 1 / 3  # of all; the others by program, of which a stem has few or many
CHANNELS = [c for c in range(16) if c != DRUM_CHANNEL]
TO_GENERAL_MIDI = {22: 42, 26: 46, 58: 43}  # of the electronic kit that Groove was played on

Notes = NDArray[np.float64]  # (n, 4): onset and duration in seconds, pitch, velocity


@dataclass(frozen=True)
class Part:
    """One instrument of a stem; ``pan``, ``volume`` and ``reverb`` are controller values, 0–127."""

    stem: str
    program: int
    notes: Notes
    pan: int
    volume: int
    reverb: int


@dataclass(frozen=True)
class Song:
    """What is to be rendered, and where it is from."""

    id: str
    split: str
    parts: list[Part]
    facts: dict[str, Any]

    def stems(self) -> list[str]:
        return [stem for stem in STEMS if any(part.stem == stem for part in self.parts)]


def program_like(program: int, pitches: NDArray[np.float64], rng: np.random.Generator) -> int:
    """The program itself or another of its stem that can play the pitches."""
    low, high = np.percentile(pitches, (5, 95))
    fits = [
        other
        for other in range(120)
        if stem_of(other) == stem_of(program) and INSTRUMENTS[other].low <= low and INSTRUMENTS[other].high >= high
    ]
    return int(rng.choice(fits)) if fits and rng.random() < 0.6 else program


def placed(stem: str, program: int, notes: Notes, rng: np.random.Generator) -> Part:
    """A part at a random place in the room; what is low stands nearer to the middle."""
    width = 14 if stem in ("bass", "drums") else 45
    pan = int(np.clip(round(64 + rng.normal(0, width)), 0, 127))
    return Part(stem, program, notes, pan, int(rng.integers(70, 121)), int(rng.integers(0, 90)))


def excerpt(notes: Notes, start: float) -> Notes:
    """The notes that begin within SECONDS from ``start`` on, cut at the end."""
    inside = notes[(notes[:, 0] >= start) & (notes[:, 0] < start + SECONDS - 0.05)].copy()
    inside[:, 0] -= start
    inside[:, 1] = np.minimum(inside[:, 1], SECONDS - inside[:, 0])
    return inside


def freedoom_song(piece: Piece, rng: np.random.Generator) -> tuple[list[Part], dict[str, Any]]:
    score, tempo = piece.score, rng.uniform(0.8, 1.25)
    shift = int(rng.integers(-5, 7))
    start = rng.uniform(0, max(0.0, score.duration / tempo - 0.8 * SECONDS))
    parts = []
    for track in score.tracks:
        onset = score.seconds(track.notes[:, ONSET]) / tempo
        offset = score.seconds(track.notes[:, ONSET] + track.notes[:, DURATION]) / tempo
        notes = excerpt(np.stack([onset, offset - onset, track.notes[:, PITCH], track.notes[:, VELOCITY]], 1), start)
        if not len(notes):
            continue
        stem = stem_of(track.program, drums=track.is_drum)
        if track.is_drum:
            parts.append(placed(stem, int(rng.choice(KITS)), notes, rng))
        else:
            notes[:, 2] = np.clip(notes[:, 2] + shift, 0, 127)
            program = program_like(track.program, notes[:, 2], rng)
            parts.append(placed(stem, program, notes, rng))
    return parts, {"tempo": tempo, "transposition": shift, "licences": [piece.licence]}


def voice_programs(rng: np.random.Generator) -> list[int]:
    """Programs for soprano, alto, tenor and bass, each of another stem; the lowest is mostly a bass."""
    melodic = [p for p in range(104) if stem_of(p) not in ("bass", "other")]
    stems = list(rng.permutation(sorted({stem_of(p) for p in melodic})))[:4]
    programs = [int(rng.choice([p for p in melodic if stem_of(p) == stem])) for stem in stems]
    if rng.random() < 0.75:
        programs[3] = int(rng.choice(range(32, 40)))
    return programs


def chorale_song(piece: Piece, beats: list[Piece], rng: np.random.Generator) -> tuple[list[Part], dict[str, Any]]:
    """Four voices, in octaves that suit their instruments, and drums at the same tempo."""
    beat = beats[rng.integers(len(beats))]
    tempo = float(np.clip(beat.score.tempos[0][1], 60, 160)) * rng.uniform(0.9, 1.1)
    pace, shift = 60 / tempo, int(rng.integers(-5, 7))
    parts = []
    start = rng.uniform(0, max(0.0, piece.score.end * pace - SECONDS))
    for track, program in zip(piece.score.tracks, voice_programs(rng), strict=True):
        notes = repeated(track.notes * np.array([pace, pace, 1, 1]), piece.score.end * pace)
        notes[:, 1] *= rng.uniform(0.75, 0.98)
        notes[:, 2] = in_range(notes[:, 2] + shift, program)
        notes[:, 3] = np.clip(rng.uniform(60, 110) + rng.normal(0, 8, len(notes)), 20, 127).round()
        if len(notes := excerpt(notes, start)):
            parts.append(placed(stem_of(program), program, notes, rng))
    if rng.random() < 0.85:
        bars = np.ceil(beat.score.end / 4) * 4
        notes = excerpt(repeated(beat.score.tracks[0].notes * np.array([pace, pace, 1, 1]), bars * pace), 0)
        notes[:, 2] = [TO_GENERAL_MIDI.get(int(pitch), int(pitch)) for pitch in notes[:, 2]]
        parts.append(placed("drums", int(rng.choice(KITS)), notes, rng))
    else:
        beat = piece
    facts = {"tempo": tempo, "transposition": shift, "drums": "" if beat is piece else beat.id}
    return parts, facts | {"licences": sorted({piece.licence, beat.licence})}


def solo_song(piece: Piece, rng: np.random.Generator) -> tuple[list[Part], dict[str, Any]]:
    """The upper notes of a track, within the range of an instrument of any kind."""
    program = int(rng.choice([p for p in range(120) if stem_of(p) in SOLOISTS]))
    if rng.random() < SOLOS_BY_STEM:
        stem = rng.choice(SOLOISTS)
        program = int(rng.choice([p for p in range(120) if stem_of(p) == stem]))
    tracks = [track for track in piece.score.tracks if len(track.notes) and not track.is_drum]
    if not tracks:
        return [], {}
    track = tracks[rng.integers(len(tracks))]
    onset, offset = (piece.score.seconds(track.notes[:, ONSET] + k * track.notes[:, DURATION]) for k in (0, 1))
    notes = np.stack([onset, offset - onset, track.notes[:, PITCH], track.notes[:, VELOCITY]], 1)
    notes[:, :2] /= rng.uniform(0.7, 1.25)
    start = rng.uniform(0, max(0.0, notes[:, 0].max() - 0.8 * SECONDS))
    notes = one_voice(excerpt(notes, start))
    if not len(notes):
        return [], {}
    notes[:, 1] *= rng.uniform(0.5, 1)
    low, high = INSTRUMENTS[program].low, INSTRUMENTS[program].high
    moved = notes[:, 2] + int(rng.integers(-6, 7))
    octaves = [k for k in range(-9, 10) if moved.min() + 12 * k >= low and moved.max() + 12 * k <= high]
    if not octaves:
        return [], {}
    notes[:, 2] = moved + 12 * int(rng.choice(octaves))
    notes[:, 3] = np.clip(notes[:, 3] + rng.uniform(-20, 20), 25, 127).round()
    return [placed(stem_of(program), program, notes, rng)], {"licences": [piece.licence]}


def one_voice(notes: Notes) -> Notes:
    """The uppermost of the notes that begin within 30 ms, each until the next."""
    kept: list[NDArray[np.float64]] = []
    for note in notes[np.argsort(notes[:, 0], kind="stable")]:
        if kept and note[0] < kept[-1][0] + 0.03:
            if note[2] > kept[-1][2]:
                kept[-1] = note
        else:
            kept.append(note)
    found = np.array(kept).reshape(-1, 4)
    found[:-1, 1] = np.minimum(found[:-1, 1], np.diff(found[:, 0]))
    return found


def in_range(pitches: NDArray[np.float64], program: int) -> NDArray[np.float64]:
    """By octaves to where an instrument plays; a bass sounds an octave below the voice where it can."""
    low, high = INSTRUMENTS[program].low, INSTRUMENTS[program].high
    while pitches.max() > high and pitches.min() - 12 >= low:
        pitches = pitches - 12
    while pitches.min() < low and pitches.max() + 12 <= high:
        pitches = pitches + 12
    return pitches


def repeated(notes: Notes, length: float) -> Notes:
    """Again and again, every ``length`` seconds, long enough for any excerpt."""
    times = int(np.ceil(2 * SECONDS / length)) + 1
    return np.concatenate([notes + np.array([k * length, 0, 0, 0]) for k in range(times)])


def plan(
    number: int, corpora: dict[str, list[Piece]], seed: int, chorale_share: float = CHORALES, *, solo: bool = False
) -> Song:
    """Song ``number``: a function of the corpora and of all else that is given."""
    rng = np.random.default_rng([seed, number])
    split = SPLITS[int(np.searchsorted(np.cumsum([SHARES[s] for s in SPLITS]), rng.random()))]
    scores, chorales, beats = ([p for p in corpora[name] if p.split == split] for name in ("freedoom", "jsb", "groove"))
    for _ in range(50):
        chorale = rng.random() < chorale_share
        piece = (chorales if chorale else scores)[rng.integers(len(chorales if chorale else scores))]
        if solo:
            parts, facts = solo_song(piece, rng)
        else:
            parts, facts = chorale_song(piece, beats, rng) if chorale else freedoom_song(piece, rng)
        stems, notes = (1, 12) if solo else (3, 60)
        if len({part.stem for part in parts}) >= stems and sum(len(part.notes) for part in parts) >= notes:
            return Song(f"{number:04d}", split, parts, {"score": piece.id} | facts)
    raise WavegenError(f"no excerpt of the {split} scores has enough stems and notes")


def stem_midi(stems: Sequence[Sequence[Part]]) -> mido.MidiFile:
    """The stems one after the other, SECONDS and GAP apart, from LEAD on."""
    events: list[tuple[int, int, mido.Message]] = []
    for number, parts in enumerate(stems):
        start = number * (SECONDS + GAP) + LEAD

        def at(seconds: float, rank: int, kind: str, channel: int, start: float = start, **values: int) -> None:
            events.append((round((start + seconds) * TICKS), rank, mido.Message(kind, channel=channel, **values)))

        for order, part in enumerate(sorted(parts, key=lambda part: -len(part.notes))[: len(CHANNELS)]):
            channel = DRUM_CHANNEL if part.stem == "drums" else CHANNELS[order]
            at(-0.05, 0, "program_change", channel, program=part.program)
            for control, value in ((7, part.volume), (10, part.pan), (91, part.reverb)):
                at(-0.04, 0, "control_change", channel, control=control, value=value)
            for onset, duration, pitch, velocity in part.notes:
                at(onset, 2, "note_on", channel, note=int(pitch), velocity=int(velocity))
                at(onset + max(duration, 0.02), 1, "note_off", channel, note=int(pitch))
            at(SECONDS + 0.02, 3, "control_change", channel, control=120, value=0)
    end = round(len(stems) * (SECONDS + GAP) * TICKS)
    events.append((end, 4, mido.Message("control_change", control=7, value=100)))
    events.sort(key=lambda event: event[:2])
    track, last = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=500000)]), 0
    for when, _, message in events:
        track.append(message.copy(time=when - last))
        last = when
    return mido.MidiFile(tracks=[track], ticks_per_beat=TICKS // 2)


def synthesize(midi: mido.MidiFile, count: int, font: Path, room: float, level: float) -> list[NDArray[np.float32]]:
    """``count`` stems (samples, 2) of the file, rendered in one call with a reverb of such a room and level."""
    program = shutil.which("fluidsynth")
    if program is None:
        raise MissingDependencyError("the program fluidsynth", None, "rendering", command="apt-get install fluidsynth")
    with tempfile.TemporaryDirectory(prefix="wavegen-") as folder:
        source, target = Path(folder) / "stems.mid", Path(folder) / "stems.wav"
        midi.save(source)
        settings = {"dynamic-sample-loading": 1, "reverb.room-size": room, "reverb.level": level, "reverb.width": 0.8}
        options = [word for name, value in settings.items() for word in ("-o", f"synth.{name}={value}")]
        options += ["-ni", "-q", "-r", str(RATE), "-g", "0.5", "-R", "1", "-C", "0", "-O", "float", "-T", "wav"]
        run = subprocess.run(
            [program, *options, "-F", str(target), str(font), str(source)], capture_output=True, text=True, check=False
        )
        if run.returncode or not target.is_file():
            raise WavegenError(f"fluidsynth failed on {font}: {run.stderr.strip()[-200:] or run.returncode}")
        stems = []
        with soundfile.SoundFile(target) as sound:
            for number in range(count):
                sound.seek(round((number * (SECONDS + GAP) + LEAD) * RATE))
                samples = sound.read(round(SECONDS * RATE), dtype="float32", always_2d=True)
                stems.append(np.pad(samples, ((0, round(SECONDS * RATE) - len(samples)), (0, 0))))
    return stems


def levelled(song: Song, stems: dict[str, NDArray[np.float32]], seed: int) -> dict[str, NDArray[np.int16]]:
    """Stems at random levels, so that their sum stays under PEAK of full scale; silent ones are left out."""
    rng = np.random.default_rng([seed, int(song.id), 1])
    gained, total = {}, np.zeros((round(SECONDS * RATE), 2), np.float32)
    for name, samples in stems.items():
        wanted = LEVEL_DB + SPREAD_DB * rng.standard_normal()
        loudness = active_rms(samples.T, RATE)
        if loudness > 1e-4:
            gained[name] = samples * np.float32(10 ** (wanted / 20) / loudness)
            total += gained[name]
    peak = max(float(np.abs(x).max()) for x in (total, *gained.values()))
    scale = np.float32(32767 * min(1.0, PEAK / peak))
    return {name: np.round(samples * scale).astype(np.int16) for name, samples in gained.items()}


def monophonic(parts: Sequence[Part]) -> bool:
    """Whether no two notes of a stem sound together, but for 30 ms."""
    notes = np.concatenate([part.notes for part in parts])
    notes = notes[np.argsort(notes[:, 0])]
    return bool((notes[1:, 0] > notes[:-1, 0] + notes[:-1, 1] - 0.03).all())


def labels(song: Song, names: Sequence[str]) -> dict[str, Any]:
    """What labels.json says: facts of the song, and of each stem its parts and notes (onset, offset, pitch, …)."""
    stems = {}
    for name in names:
        parts = [part for part in song.parts if part.stem == name]
        rows = [
            (onset, onset + duration, pitch, velocity, part.program)
            for part in parts
            for onset, duration, pitch, velocity in part.notes.round(4).tolist()
        ]
        stems[name] = {
            "monophonic": name != "drums" and monophonic(parts),
            "parts": [{"program": p.program, "pan": p.pan, "volume": p.volume, "reverb": p.reverb} for p in parts],
            "notes": sorted([round(a, 4), round(b, 4), int(c), int(d), e] for a, b, c, d, e in rows),
        }
    return song.facts | {"split": song.split, "sample_rate": RATE, "seconds": SECONDS, "stems": stems}


def write_song(folder: Path, song: Song, stems: dict[str, NDArray[np.int16]], facts: dict[str, Any]) -> None:
    """The song's folder, whole or not at all."""
    target = folder / song.split / song.id
    temporary = target.with_name(f".{song.id}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    for name, samples in stems.items():
        np.save(temporary / f"{name}.npy", samples)
    (temporary / "labels.json").write_text(json.dumps(labels(song, list(stems)) | facts))
    temporary.rename(target)


def render(songs: Sequence[Song], fonts: Sequence[Path], folder: Path, seed: int) -> float:
    """Render songs with one SoundFont and reverb and write them; seconds of stems rendered."""
    rng = np.random.default_rng([seed, int(songs[0].id), 2])
    font = fonts[rng.integers(len(fonts))]
    room, level = round(rng.uniform(0.1, 0.65), 3), round(rng.uniform(0.2, 0.8), 3)
    names = [(song, stem) for song in songs for stem in song.stems()]
    midi = stem_midi([[part for part in song.parts if part.stem == stem] for song, stem in names])
    sounds = synthesize(midi, len(names), font, room, level)
    for song in songs:
        stems = {stem: x for (owner, stem), x in zip(names, sounds, strict=True) if owner is song}
        facts = {"soundfont": font.stem, "room": room, "reverb_level": level}
        write_song(folder, song, levelled(song, stems, seed), facts)
    return len(names) * SECONDS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--freedoom", type=Path, required=True)
    parser.add_argument("--groove", type=Path, required=True)
    parser.add_argument("--chorales", type=Path, required=True)
    parser.add_argument("--soundfonts", type=Path, nargs="+", required=True)
    parser.add_argument("--minutes", type=float, default=120.0, help="of mixes")
    parser.add_argument("--chorale-share", type=float, default=CHORALES, help="of the songs, from 0 to 1")
    parser.add_argument("--solos", action="store_true", help="one instrument a song")
    parser.add_argument("--seed", type=int, default=5)
    options = parser.parse_args()
    try:
        fonts = [find_soundfont(font) for font in options.soundfonts]
        corpora = {
            "freedoom": list(freedoom(options.freedoom)),
            "jsb": list(jsb(options.chorales)),
            "groove": [p for p in groove(options.groove) if p.score.duration > 8 and p.meter == (4, 4)],
        }
        count = max(1, round(options.minutes * 60 / SECONDS))
        for first in range(0, count, PER_CALL):
            numbers = range(first, min(first + PER_CALL, count))
            songs = [plan(n, corpora, options.seed, options.chorale_share, solo=options.solos) for n in numbers]
            if all((options.output / song.split / song.id).is_dir() for song in songs):
                continue
            for song in songs:
                shutil.rmtree(options.output / song.split / song.id, ignore_errors=True)
            start = time.perf_counter()
            seconds = render(songs, fonts, options.output, options.seed)
            speed = seconds / (time.perf_counter() - start)
            print(f"{first + len(songs)} of {count}: stems at {speed:.0f} × real time", flush=True)
    except WavegenError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
