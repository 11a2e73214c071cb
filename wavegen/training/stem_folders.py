"""Folders of stems and of mixed speakers in their published layouts, read as one kind of item.

A reader takes the folder as it was published and gives the items of one split, in the order of their names. Nothing of
the audio is read but what the layout needs to know.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavegen.audio.io import PathName
from wavegen.errors import InputError
from wavegen.music.instruments import FAMILIES

SOUND = (".npy", ".flac", ".ogg", ".wav", ".opus", ".mp3")
SPLITS = ("train", "validation", "test")

STEMS = ("drums", "bass", "piano", "mallets", "organ", "guitar", "strings", "choir", "brass", "winds", "synth", "other")
"""The stems of rendered sets, and the classes of instruments that a family head tells apart."""

_OF_FAMILY = {
    "piano": "piano",
    "chromatic percussion": "mallets",
    "organ": "organ",
    "guitar": "guitar",
    "bass": "bass",
    "strings": "strings",
    "ensemble": "strings",
    "brass": "brass",
    "reed": "winds",
    "pipe": "winds",
    "synth lead": "synth",
    "synth pad": "synth",
    "synth effects": "synth",
}
_OF_PROGRAM = {43: "bass", 47: "other", 52: "choir", 53: "choir", 54: "choir", 55: "other", 110: "strings"}
"""Contrabass, timpani, choirs, orchestra hit and fiddle stand with what they sound like."""

MELODIC = tuple(stem for stem in STEMS if stem not in ("drums", "bass", "other"))
"""The stems that play tunes and chords."""

Notes = NDArray[np.float64]  # (n, 5): onset and offset in seconds, MIDI pitch, velocity, program

MUSDB_VALIDATION = frozenset(
    (
        "ANiMAL - Rockshow",
        "Actions - One Minute Smile",
        "Alexander Ross - Goodbye Bolero",
        "Clara Berry And Wooldog - Waltz For My Victims",
        "Fergessen - Nos Palpitants",
        "James May - On The Line",
        "Johnny Lokke - Promises & Lies",
        "Leaf - Summerghost",
        "Meaxic - Take A Step",
        "Patrick Talbot - A Reason To Leave",
        "Skelpolu - Human Mistakes",
        "Traffic Experiment - Sirens",
        "Triviul - Angelsaint",
        "Young Griffo - Pennies",
    )
)
"""The songs of MUSDB18's training part that its authors' tools set aside for validation."""


def stem_of(program: int, *, drums: bool = False) -> str:
    """The stem, one of STEMS, of a General MIDI program (0–127); of every kit, "drums"."""
    if not 0 <= program <= 127:
        raise InputError(f"program {program} is outside 0–127")
    if drums:
        return "drums"
    return _OF_PROGRAM.get(program) or _OF_FAMILY.get(FAMILIES[program // 8], "other")


@dataclass(frozen=True)
class StemFiles:
    """One piece: the files of each stem, which sound together, and what is known of it.

    ``mixture``: the published mix, where there is one. ``labels``: a file in the layout of :func:`read_labels`.
    """

    id: str
    stems: Mapping[str, tuple[Path, ...]]
    mixture: Path | None = None
    labels: Path | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StemLabels:
    """What is played in a stem: ``notes`` sorted by onset, and whether no two of them sound together."""

    notes: Notes
    monophonic: bool


def read_labels(path: Path) -> dict[str, StemLabels]:
    """The notes of each stem from a ``labels.json``. InputError if it is not one."""
    try:
        stems = json.loads(path.read_text(encoding="utf-8"))["stems"]
        return {
            name: StemLabels(np.asarray(entry["notes"], np.float64).reshape(-1, 5), bool(entry["monophonic"]))
            for name, entry in stems.items()
        }
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not the labels of a song ({type(error).__name__}: {error})") from None


def prepared(root: PathName, split: str | None) -> list[StemFiles]:
    """``<root>/<split>/<song>/<stem>.npy`` (or any sound file), as recipes/separation/render_stems.py writes them.

    ``labels.json`` beside the stems is optional, and so is ``mixture.*``, which is no stem. ``split`` None: the songs
    lie in ``root`` itself. InputError for a folder that is missing, or holds no song with a stem.
    """
    folder = Path(root) if split is None else Path(root) / _known(split)
    items = []
    for song in _folders(folder):
        stems = _sounds(song)
        mixture = stems.pop("mixture", None)
        if stems:
            labels = song / "labels.json"
            files = {name: (path,) for name, path in stems.items()}
            items.append(StemFiles(song.name, files, mixture, labels if labels.is_file() else None))
    return _some(items, folder, "no folder with stems")


def musdb18hq(root: PathName, split: str) -> list[StemFiles]:
    """MUSDB18-HQ (Rafii et al. 2019): ``train`` and ``test``, each ``<song>/{mixture,vocals,drums,bass,other}.wav``.

    The validation part is the usual 14 songs of ``train``. InputError names the file a song lacks.
    """
    folder = Path(root) / ("test" if _known(split) == "test" else "train")
    names = ("vocals", "drums", "bass", "other")
    items = []
    for song in _folders(folder):
        if split == "test" or (song.name in MUSDB_VALIDATION) == (split == "validation"):
            paths = {name: _file(song / f"{name}.wav") for name in (*names, "mixture")}
            items.append(StemFiles(song.name, {name: (paths[name],) for name in names}, paths["mixture"]))
    return _some(items, folder, f"no song of the {split} part")


def slakh2100(root: PathName, split: str) -> list[StemFiles]:
    """Slakh2100 (Manilow et al. 2019), full or redux: ``<split>/TrackNNNNN/{metadata.yaml,mix.flac,stems/SNN.flac}``.

    Stems are grouped as :func:`stem_of` groups the programs of ``metadata.yaml``; those that were not rendered are left
    out. InputError for metadata that does not say what a stem plays, or names a stem that is not there.
    """
    import yaml

    folder = Path(root) / _known(split)
    items = []
    for track in _folders(folder):
        source = _file(track / "metadata.yaml")
        groups: dict[str, list[Path]] = {}
        try:
            entries = yaml.safe_load(source.read_text(encoding="utf-8"))["stems"]
            for name, entry in sorted(entries.items()):
                if not entry.get("audio_rendered", True):
                    continue
                stem = stem_of(0, drums=True) if entry["is_drum"] else stem_of(int(entry["program_num"]))
                groups.setdefault(stem, []).append(_sound(track / "stems" / name))
        except (yaml.YAMLError, KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
            raise InputError(f"{source}: does not describe stems ({type(error).__name__}: {error})") from None
        if groups:
            stems = {stem: tuple(paths) for stem, paths in groups.items()}
            items.append(StemFiles(track.name, stems, _sound(track / "mix")))
    return _some(items, folder, "no track with stems")


_LIBRI_SPLITS = {"train": ("train-360", "train-100"), "validation": ("dev",), "test": ("test",)}
_WSJ_SPLITS = {"train": "tr", "validation": "cv", "test": "tt"}


def librimix(
    root: PathName, split: str, *, rate: str = "wav16k", mode: str = "min", mixture: str = "mix_clean"
) -> list[StemFiles]:
    """LibriMix (Cosentino et al. 2020): ``<root>/<wav8k|wav16k>/<min|max>/<part>/{mix_clean,s1,s2[,s3][,noise]}``.

    Stems are "speaker1", "speaker2" (and so on); "noise" with ``mixture`` "mix_both" or "mix_single". The training part
    is train-360, or train-100 where there is no other. InputError names the source a mixture lacks.
    """
    parent = Path(root) / rate / mode
    parts = [parent / name for name in _LIBRI_SPLITS[_known(split)] if (parent / name).is_dir()]
    if not parts:
        raise InputError(f"{parent}: no folder {' or '.join(_LIBRI_SPLITS[split])} (expected LibriMix)")
    names = {name: f"speaker{name[1:]}" for name in ("s1", "s2", "s3") if (parts[0] / name).is_dir()}
    if mixture == "mix_single":
        names = {"s1": "speaker1"}
    if mixture in ("mix_both", "mix_single"):
        names["noise"] = "noise"
    return _mixtures(parts[0], mixture, names)


def wsj0_2mix(root: PathName, split: str, *, rate: str = "wav8k", mode: str = "min") -> list[StemFiles]:
    """WSJ0-2mix (Hershey et al. 2016): ``[2speakers/]<wav8k|wav16k>/<min|max>/<tr|cv|tt>/{mix,s1,s2}/*.wav``."""
    base = Path(root)
    base = base / "2speakers" if (base / "2speakers").is_dir() else base
    folder = base / rate / mode / _WSJ_SPLITS[_known(split)]
    return _mixtures(folder, "mix", {"s1": "speaker1", "s2": "speaker2"})


def _mixtures(folder: Path, mixture: str, names: Mapping[str, str]) -> list[StemFiles]:
    if not (folder / mixture).is_dir():
        raise InputError(f"{folder / mixture}: no such folder")
    mixes = sorted(path for path in (folder / mixture).iterdir() if path.suffix in SOUND)
    items = [
        StemFiles(path.stem, {name: (_file(folder / own / path.name),) for own, name in names.items()}, path)
        for path in mixes
    ]
    return _some(items, folder / mixture, "no sound files")


LAYOUTS = {
    "prepared": prepared,
    "musdb18hq": musdb18hq,
    "slakh2100": slakh2100,
    "librimix": librimix,
    "wsj0-2mix": wsj0_2mix,
}
"""The readers by name: each takes the folder and the split."""


def speakers(roots: Iterable[PathName]) -> dict[str, list[Path]]:
    """The sound files of each speaker: ``<root>/<speaker>/**/*`` of all roots, as in LibriSpeech.

    A root whose sound files lie in it directly, or in ``wavs``, is one speaker. InputError for a root without sound.
    """
    found: dict[str, list[Path]] = {}
    for root in map(Path, roots):
        if not root.is_dir():
            raise InputError(f"{root}: no such folder")
        files = sorted(path for path in root.rglob("*") if path.suffix.lower() in SOUND and path.is_file())
        if not files:
            raise InputError(f"{root}: no sound files ({', '.join(SOUND)})")
        for path in files:
            inside = path.relative_to(root).parts
            alone = len(inside) == 1 or inside[0] == "wavs"
            found.setdefault(root.name if alone else inside[0], []).append(path)
    return found


def _known(split: str) -> str:
    if split not in SPLITS:
        raise InputError(f"split {split!r}; there are {', '.join(SPLITS)}")
    return split


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _sounds(folder: Path) -> dict[str, Path]:
    """The sound files of a folder by name; InputError if two differ in their extension alone."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in SOUND and path.is_file():
            if path.stem in found:
                raise InputError(f"{path}: {found[path.stem].name} is there, too")
            found[path.stem] = path
    return found


def _sound(stem: Path) -> Path:
    """The sound file of a name without extension."""
    for extension in (".flac", ".wav", ".ogg"):
        if (path := stem.with_name(stem.name + extension)).is_file():
            return path
    raise InputError(f"{stem}.flac: no such file")


def _file(path: Path) -> Path:
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    return path


def _some(items: list[StemFiles], folder: Path, lack: str) -> list[StemFiles]:
    if not items:
        raise InputError(f"{folder}: {lack}")
    return items
