"""Corpora of scores in their published layouts, and their parts for training, validation and test.

A loader takes the folder as it was published and yields pieces. Where a corpus has a published split, pieces keep it;
else `assign_splits` puts pieces into parts by what they are: versions of a tune stand under one title or begin with
the same intervals, in whatever key, and never come apart.
"""

import csv
import hashlib
import json
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavegen.audio.io import PathName
from wavegen.errors import InputError, MissingDependencyError
from wavegen.music.attributes import Key
from wavegen.music.midi import read_midi
from wavegen.music.notation import abc_tunes, parse_abc
from wavegen.music.score import DURATION, ONSET, PITCH, Notes, Score, Track

SPLITS = ("train", "validation", "test")
Progress = Callable[[int, int], None]  # pieces looked at, pieces in all
Steps = list[NDArray[np.int64]]  # the pitches, ascending, that sound in each step of time

_SPLIT_NAMES = {"train": "train", "valid": "validation", "validation": "validation", "test": "test"}
_SHARES = (0.8, 0.1)  # of training and validation, where a corpus is split here
_INCIPIT = 15  # intervals that tell a tune; by chance two tunes share no such run


@dataclass(frozen=True)
class Piece:
    """One score of a corpus.

    id: unique within the corpus. split: one of SPLITS. style: the corpus's own word for it, "" if it has none.
    meter: (numerator, denominator) at the beginning. licence: SPDX name, or "public domain".
    """

    id: str
    title: str
    score: Score
    split: str
    style: str
    meter: tuple[int, int]
    licence: str


# Loaders


def maestro(folder: PathName, *, pedal: bool = True, progress: Progress | None = None) -> Iterator[Piece]:
    """MAESTRO v3 (Hawthorne et al. 2019): piano performances of `maestro-v3.0.0.csv`, with its published split.

    pedal: notes sound as long as the sustain pedal holds them. Timing is the performer's: quarters and bars of the
    files are those of a constant 120 quarters a minute.
    Rows whose file is missing are left out. Raises InputError for a missing table or column, or no file at all.
    """
    root = Path(folder)
    columns = ("canonical_composer", "canonical_title", "split", "midi_filename")
    rows = _table(_only(sorted(root.glob("maestro-v*.csv")), root, "maestro-v3.0.0.csv"), columns)
    rows = _present(rows, root)
    for index, row in enumerate(rows):
        score = read_midi(root / row["midi_filename"], pedal=pedal)
        title = f"{row['canonical_composer']}: {row['canonical_title']}"
        split = _split_name(row["split"], row["midi_filename"])
        yield _piece(row["midi_filename"], title, score, split, "classical", "CC-BY-NC-SA-4.0")
        _report(progress, index, len(rows))


def musicnet(folder: PathName, *, progress: Progress | None = None) -> Iterator[Piece]:
    """MusicNet (Thickstun et al. 2017): note labels of `train_labels` and `test_labels`, aligned to the recordings.

    Times are samples at 44.1 kHz; here a quarter is a second (60 a minute). The published split knows training and
    test; a tenth of the training works, by title, becomes validation. Programs: the labels count from 1.
    Raises InputError for a missing table or column, or values that are no notes.
    """
    root = Path(folder)
    columns = ("id", "composer", "composition", "movement", "ensemble")
    works = {row["id"]: row for row in _table(root / "musicnet_metadata.csv", columns)}
    files = [(kind, file) for kind in ("train", "test") for file in sorted((root / f"{kind}_labels").glob("*.csv"))]
    _require_any(files, root, "train_labels/*.csv or test_labels/*.csv")
    for index, (kind, file) in enumerate(files):
        if file.stem not in works:
            raise InputError(f"{file}: work {file.stem} is not in musicnet_metadata.csv")
        work = works[file.stem]
        title = f"{work['composer']}: {work['composition']}"
        split = "validation" if kind == "train" and _share(" ".join(normalised_words(title))) < 0.1 else kind
        score = replace(_musicnet_score(file), title=f"{title}, {work['movement']}")
        yield _piece(file.stem, score.title, score, split, work["ensemble"], "CC-BY-4.0")
        _report(progress, index, len(files))


def _musicnet_score(file: Path) -> Score:
    columns = ("start_time", "end_time", "instrument", "note")
    rows = _table(file, columns)
    try:
        table = np.array([[float(row[column]) for column in columns] for row in rows]).reshape(-1, 4)
    except ValueError as error:
        raise InputError(f"{file}: a label is not a number ({error})") from error
    start, end, instrument, pitch = table.T
    seconds = np.stack((start / 44100, np.maximum(end - start, 1) / 44100, pitch, np.full(len(table), 80.0)), axis=1)
    tracks = []
    for code in np.unique(instrument):
        if not 1 <= code <= 128:
            raise InputError(f"{file}: instrument {code:g} is outside 1–128")
        tracks.append(Track(int(code) - 1, False, "", seconds[instrument == code]))
    return Score(tuple(tracks), ((0.0, 60.0),))


def nottingham(folder: PathName, *, progress: Progress | None = None) -> Iterator[Piece]:
    """The Nottingham tunes as MIDI files, a melody and a chord track each; GPL-3.0-only, so for measurements alone.

    Folders `train`, `valid` and `test` are the published split of Boulanger-Lewandowski et al. (2012); files that
    lie flat are split by their tunes. The style is the file's name without its number ("jigs", "waltzes").
    """
    root = Path(folder)
    folders = [root, *(root / name for name in _SPLIT_NAMES)]
    files = sorted((file for folder in folders for file in folder.glob("*.mid")), key=_natural)
    _require_any(files, root, "*.mid")
    pieces = []
    for index, file in enumerate(files):
        split = _SPLIT_NAMES.get(file.parent.name, "") if file.parent != root else ""
        style = match[0] if (match := re.match(r"reels|[a-z]+", file.stem)) else ""
        name = str(file.relative_to(root))
        pieces.append(_piece(name, file.stem, read_midi(file), split, style, "GPL-3.0-only"))
        _report(progress, index, len(files))
    yield from _with_splits(pieces, titles=False)


def freedoom(folder: PathName, *, progress: Progress | None = None) -> Iterator[Piece]:
    """The General MIDI music of Freedoom (BSD-3-Clause), `*.mid`; files that begin alike stay in one part."""
    root = Path(folder)
    files = sorted(root.glob("*.mid"), key=_natural)
    _require_any(files, root, "*.mid")
    pieces = []
    for index, file in enumerate(files):
        score = read_midi(file)
        pieces.append(_piece(file.name, score.title or file.stem, score, "", "game", "BSD-3-Clause"))
        _report(progress, index, len(files))
    yield from _with_splits(pieces, titles=False)


def groove(folder: PathName, *, progress: Progress | None = None) -> Iterator[Piece]:
    """The Groove MIDI Dataset (Gillick et al. 2019, CC BY 4.0): the drummers of `info.csv`, with its published split.

    Tempo and metre are those of the table, which the drummers played to. The style is the table's ("funk/groove1").
    Rows whose file is missing are left out. Raises InputError for a missing table or column, or no file at all.
    """
    root = Path(folder)
    columns = ("id", "style", "bpm", "time_signature", "midi_filename", "split")
    rows = _present(_table(root / "info.csv", columns), root)
    for index, row in enumerate(rows):
        score = read_midi(root / row["midi_filename"])
        try:
            numerator, denominator = map(int, row["time_signature"].split("-"))
            score = replace(score, tempos=((0.0, float(row["bpm"])),), meters=((0.0, numerator, denominator),))
        except ValueError as error:
            raise InputError(f"{root / 'info.csv'}: {row['id']}: {error}") from error
        split = _split_name(row["split"], row["id"])
        yield _piece(row["id"], row["id"], score, split, row["style"], "CC-BY-4.0")
        _report(progress, index, len(rows))


def jsb(path: PathName, *, progress: Progress | None = None) -> Iterator[Piece]:
    """Bach's chorales from `Jsb16thSeparated.json` (or its folder): four voices on a grid of sixteenths.

    The split is that of Boulanger-Lewandowski et al. (2012). The file knows neither held from repeated notes, nor
    metres, nor keys: equal steps become one note, the metre is taken for 4/4, the key is left out.
    """
    file = Path(path)
    file = file / "Jsb16thSeparated.json" if file.is_dir() else file
    try:
        parts = json.loads(file.read_text(encoding="utf-8"))
        chorales = [(part, index, np.array(steps)) for part in parts for index, steps in enumerate(parts[part])]
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{file}: not a readable file of chorales ({error})") from error
    for index, (part, number, steps) in enumerate(chorales):
        if steps.ndim != 2 or steps.shape[1] != 4:
            raise InputError(f"{file}: {part} {number}: the steps must have the shape (steps, 4), not {steps.shape}")
        voices = ("soprano", "alto", "tenor", "bass")
        tracks = tuple(Track(19, False, name, _runs(steps[:, voice])) for voice, name in enumerate(voices))
        name = f"{_split_name(part, str(file))}-{number:03d}"
        score = Score(tracks, ((0.0, 80.0),), title=name)
        yield _piece(name, name, score, _split_name(part, str(file)), "chorale", "public domain")
        _report(progress, index, len(chorales))


def _runs(pitches: NDArray[Any]) -> Notes:
    """Notes of the runs of equal pitches, one pitch a sixteenth; below 0 is silence."""
    pitches = np.nan_to_num(pitches.astype(np.float64), nan=-1.0)
    starts = np.flatnonzero(np.diff(pitches, prepend=np.nan) != 0)
    lengths = np.diff(starts, append=len(pitches))
    notes = np.stack((starts / 4, lengths / 4, pitches[starts], np.full(len(starts), 80.0)), axis=1)
    return np.asarray(notes[pitches[starts] >= 0])


def pianoroll_mat(path: PathName) -> dict[str, list[Steps]]:
    """A piano-roll benchmark of Boulanger-Lewandowski et al. (2012) as .mat: "train", "validation", "test" → pieces.

    The file holds `traindata`, `validdata` and `testdata`: cells of 0/1 arrays (steps, 88), the lowest key MIDI
    pitch 21. A piece becomes the ascending MIDI pitches of every step.
    Raises InputError for a file that is not so.
    """
    try:
        from scipy.io import loadmat  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingDependencyError("scipy", "train", "reading .mat files") from error
    try:
        content = loadmat(str(path))
    except Exception as error:  # scipy lets through whatever goes wrong inside
        raise InputError(f"{path}: not a readable .mat file ({error})") from error
    pieces: dict[str, list[Steps]] = {}
    for key, split in (("traindata", "train"), ("validdata", "validation"), ("testdata", "test")):
        if key not in content:
            raise InputError(f"{path}: there is no {key} in it")
        pieces[split] = []
        for roll in content[key].ravel():
            if getattr(roll, "ndim", 0) != 2 or roll.shape[1] != 88:
                raise InputError(f"{path}: {key}: a piece must be an array (steps, 88)")
            pieces[split].append([np.flatnonzero(row) + 21 for row in roll])
    return pieces


# The collections of tunes in music21, by how their transcribers published them. None states a restriction.
TUNE_COLLECTIONS = ("ryansMammoth", "oneills1850", "airdsAirs")
_RESTRICTED = re.compile(r"copyright|©|\(c\)\s*\d|all rights|permission|non-?commercial|personal use|may not be", re.I)


def music21_tunes(
    collections: Sequence[str] = ("ryansMammoth", "oneills1850"), *, progress: Progress | None = None
) -> Iterator[Piece]:
    """Public-domain fiddle tunes that music21 ships as ABC; each passage once, with the last of its endings.

    collections: of TUNE_COLLECTIONS. Left out are tunes whose own header restricts use (by the words of a notice),
    that are not readable, whose bars do not hold the metre (errors of transcription), or that change it. Takes some
    minutes for all; pieces come when all are read, since the split is by tune across the collections.
    Raises InputError for another collection; MissingDependencyError without music21 (extra "notation").
    """
    try:
        from music21 import corpus
    except ImportError as error:
        raise MissingDependencyError("music21", "notation", "reading its tunes") from error
    files = []
    for name in collections:
        if name not in TUNE_COLLECTIONS:
            raise InputError(f"there is no collection {name!r}; there are {', '.join(TUNE_COLLECTIONS)}")
        files += [
            (name, Path(path))
            for path in sorted(map(str, corpus.corpora.CoreCorpus().getComposer(name, fileExtensions=("abc",))))
        ]
    yield from abc_collection(files, licence="public domain", progress=progress)


def abc_collection(
    files: Iterable[tuple[str, Path]], *, licence: str, progress: Progress | None = None
) -> Iterator[Piece]:
    """The tunes of ABC files, each file with the name of its collection; see `music21_tunes` for what is left out."""
    tunes = []
    for name, file in files:
        try:
            text = file.read_bytes().decode("utf-8", errors="replace")
        except OSError as error:
            raise InputError(f"{file}: {error.strerror}") from error
        tunes += [(f"{name}/{file.stem}/{tune.first('X')}", tune) for tune in abc_tunes(text)]
    pieces, aliases = [], []
    for index, (name, tune) in enumerate(tunes):
        header = " ".join(value for letter in "ABCDFGHNOSZ" for value in tune.fields.get(letter, ()))
        _report(progress, index, len(tunes))
        if _RESTRICTED.search(header):
            continue
        try:
            score = parse_abc(tune.text, repeats=False, name=name, strict=True)
        except InputError:
            continue
        titles = [title for title in tune.fields.get("T", ()) if title] or [name]
        score = replace(score, title=titles[0])
        style = tune_style(tune.first("R"), titles, score.meters[0][1:])
        pieces.append(_piece(name, titles[0], score, "", style, licence))
        aliases.append(titles)
    yield from _with_splits(pieces, titles=True, aliases=aliases)


_STYLE_WORDS = (
    ("slip-jig", r"slip[ -]?jigs?|hop jig"),
    ("strathspey", r"strathspeys?|highland fling|fling|highland schottische"),
    ("hornpipe", r"hornpipes?|clog"),
    ("reel", r"reels?"),
    ("jig", r"jigs?|slide"),
    ("waltz", r"waltz(es)?"),
    ("polka", r"polkas?"),
    ("march", r"march(es)?|quick ?step|retreat"),
    ("minuet", r"minuets?|menuet"),
    ("air", r"airs?|song|lament|slow"),
)
_METER_STYLES = {(9, 8): "slip-jig", (6, 8): "jig"}


def tune_style(rhythm: str, titles: Iterable[str] = (), meter: tuple[int, int] = (4, 4)) -> str:
    """A style token of tunes from an ABC rhythm field, else the titles' last words, else the metre, else "folk"."""
    ends = [" ".join(normalised_words(title)[-2:]) for title in titles]
    for text in (rhythm.lower(), *ends):
        for style, pattern in _STYLE_WORDS:
            if re.search(rf"\b(?:{pattern})\b", text):
                return style
    return _METER_STYLES.get(meter, "folk")


# Splits


def normalised_words(title: str) -> list[str]:
    """The words of a title without case, accents, punctuation and parentheses."""
    plain = unicodedata.normalize("NFKD", title.casefold())
    plain = "".join(character for character in plain if not unicodedata.combining(character))
    plain = re.sub(r"\([^)]*\)|\[[^]]*\]", " ", plain)
    return re.sub(r"[^\w]+", " ", re.sub(r"['’`]", "", plain)).replace("_", " ").split()


_ARTICLES = frozenset(("the", "a", "an"))
_VARIANT = re.compile(r"\d+|[ivx]+|no|nr|number|version|variant|variation|setting|var|ver|part|a|b|c|d")
_KINDS = re.compile(r"(reel|jig|hornpipe|strathspey|clog|waltz|polka|air|fling)s?|march|slip|double|highland")


def normalised_title(title: str) -> str:
    """What versions of a tune have in common in their titles; "" if nothing is left that would tell a tune.

    Case, accents, punctuation, parentheses, articles, the dance at the end and numbers of versions are left out:
    "The Rights of Man -- Hornpipe (No. 2)" and "Rights of Man, The" are the same.
    """
    words = [word for word in normalised_words(title) if word not in _ARTICLES]
    while words and (_VARIANT.fullmatch(words[-1]) or _KINDS.fullmatch(words[-1])):
        words.pop()
    return "" if words in (["untitled"], ["unknown"], ["no", "name"], ["gan", "ainm"]) else " ".join(words)


def incipits(score: Score) -> list[tuple[int, ...]]:
    """The first 15 intervals of the melody, in semitones, from its first note and from its first barline.

    The melody is the highest pitch of each onset in the first track that is not drums; transposed versions, and those
    with another pickup, share one. None from a place after which too few notes are left, nor of a single tone.
    """
    tracks = [track for track in score.tracks if not track.is_drum and len(track)]
    if not tracks:
        return []
    notes = tracks[0].notes
    last = np.append(np.diff(notes[:, ONSET]) > 1e-6, True)  # sorted by pitch within an onset: the last is the highest
    notes = notes[last]
    first_bar = next((start for start, _ in score.bars() if start >= notes[0, ONSET] - 1e-6), 0.0)
    found = []
    for start in (notes[0, ONSET], first_bar):
        pitches = notes[notes[:, ONSET] >= start - 1e-6][: _INCIPIT + 1, PITCH]
        intervals = tuple(np.diff(pitches).astype(int).tolist())
        if len(intervals) == _INCIPIT and any(intervals) and intervals not in found:
            found.append(intervals)
    return found


def assign_splits(
    keys: Sequence[Collection[object]], *, train: float = _SHARES[0], validation: float = _SHARES[1]
) -> list[str]:
    """A part of SPLITS for each item, the same for all that share a key, directly or through others.

    keys: for each item what tells it (normalised titles, incipits); the part follows from a digest of the least key
    of all that belong together, so that it does not depend on order or chance. An item without keys raises InputError.
    """
    parent = list(range(len(keys)))

    def root(item: int) -> int:
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    owner: dict[object, int] = {}
    for item, own in enumerate(keys):
        if not own:
            raise InputError(f"item {item} has no key to be split by")
        for key in own:
            parent[root(item)] = root(owner.setdefault(key, item))
    least: dict[int, str] = {}
    for item, own in enumerate(keys):
        group = root(item)
        least[group] = min([*map(repr, own), *([least[group]] if group in least else [])])
    parts = {group: _part(_share(key), train, validation) for group, key in least.items()}
    return [parts[root(item)] for item in range(len(keys))]


def _with_splits(
    pieces: list[Piece], *, titles: bool, aliases: Sequence[Sequence[str]] | None = None
) -> Iterator[Piece]:
    """The pieces with a part each; those that have one keep it."""
    keys: list[set[object]] = []
    for index, piece in enumerate(pieces):
        names = (aliases[index] if aliases else (piece.title,)) if titles else ()
        own: set[object] = {name for name in map(normalised_title, names) if name}
        keys.append(own | set(incipits(piece.score)) or {piece.id})
    for piece, split in zip(pieces, assign_splits(keys), strict=True):
        yield piece if piece.split else replace(piece, split=split)


def _share(text: str) -> float:
    """A number in [0, 1) that follows from the text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def _part(share: float, train: float, validation: float) -> str:
    return SPLITS[0] if share < train else SPLITS[1] if share < train + validation else SPLITS[2]


# Augmentation and piano rolls


def transpositions(
    score: Score, semitones: Iterable[int] = range(-5, 7), *, low: int = 0, high: int = 127
) -> Iterator[Score]:
    """The score in each transposition whose pitches (drums apart) stay within [low, high]."""
    notes = score.merged()
    lowest, highest = (notes[:, PITCH].min(), notes[:, PITCH].max()) if len(notes) else (low, high)
    for shift in semitones:
        if lowest + shift >= low and highest + shift <= high:
            yield score.transposed(shift)


def in_tonic(score: Score, key: Key | None = None, tonic: int = 0) -> Score:
    """The score moved the shortest way (-5 to 6 semitones) so that `key`, or else its own, has the given tonic.

    Raises InputError for a score without key if none is given; see wavegen.music.keys.estimate_key.
    """
    key = key or score.key
    if key is None:
        raise InputError("a score without key cannot be normalised; estimate its key first")
    shift = (tonic - key.tonic + 5) % 12 - 5
    return replace(score, key=key).transposed(shift)


def pieces_to_steps(scores: Iterable[Score], step: float = 0.25, *, low: int = 21, high: int = 108) -> list[Steps]:
    """For each score the ascending pitches within [low, high] that sound in each step of `step` quarters.

    A note sounds in the steps whose middle it covers, and in one at least; drums are left out.
    """
    if not step > 0:
        raise InputError(f"step must be above 0 quarters, not {step}")
    result = []
    for score in scores:
        notes = score.merged()
        notes = notes[(notes[:, PITCH] >= low) & (notes[:, PITCH] <= high)]
        start = np.ceil(notes[:, ONSET] / step - 0.5 - 1e-6).astype(np.int64)
        stop = np.ceil((notes[:, ONSET] + notes[:, DURATION]) / step - 0.5 - 1e-6).astype(np.int64)
        stop = np.maximum(stop, start + 1)
        roll = np.zeros((int(stop.max(initial=0)), 128), dtype=bool)
        for first, last, pitch in zip(start, stop, notes[:, PITCH].astype(np.int64), strict=True):
            roll[first:last, pitch] = True
        result.append([np.flatnonzero(row) for row in roll])
    return result


# Tables


def _table(file: Path, columns: Sequence[str]) -> list[Mapping[str, str]]:
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            rows = list(reader)
            names = reader.fieldnames or ()
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{file}: {getattr(error, 'strerror', None) or error}") from error
    if missing := [column for column in columns if column not in names]:
        raise InputError(f"{file}: there is no column {missing[0]!r}")
    for number, row in enumerate(rows, 2):
        if any(row[column] is None for column in columns):
            raise InputError(f"{file}: line {number} is cut short")
    return list(rows)


def _present(rows: Sequence[Mapping[str, str]], root: Path) -> list[Mapping[str, str]]:
    """The rows whose MIDI file is there, since excerpts of a corpus keep its table; InputError if none is."""
    present = [row for row in rows if (root / row["midi_filename"]).is_file()]
    _require_any(present, root, "MIDI file of its table")
    return present


def _only(files: Sequence[Path], root: Path, name: str) -> Path:
    _require_any(files, root, name)
    return files[-1]


def _require_any(files: Sequence[object], root: Path, name: str) -> None:
    if not files:
        raise InputError(f"{root}: there is no {name} in it")


def _split_name(word: str, where: str) -> str:
    if word not in _SPLIT_NAMES:
        raise InputError(f"{where}: split {word!r}; known are {', '.join(_SPLIT_NAMES)}")
    return _SPLIT_NAMES[word]


def _piece(name: str, title: str, score: Score, split: str, style: str, licence: str) -> Piece:
    return Piece(name, title, score, split, style, score.meters[0][1:], licence)


def _natural(path: Path) -> list[tuple[str, int]]:
    """Orders paths by their text, but numbers in them by value."""
    return [(text, int(number or 0)) for text, number in re.findall(r"(\D+)(\d*)", "/" + str(path))]


def _report(progress: Progress | None, index: int, total: int) -> None:
    if progress is not None:
        progress(index + 1, total)
