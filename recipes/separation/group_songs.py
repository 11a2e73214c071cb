"""Real songs as vocals, drums, bass and other: everythingisremixed (CC0) publishes some 20 stems of each.

    git clone https://github.com/ichbinsoftware/everythingisremixed
    python recipes/separation/group_songs.py everythingisremixed/src OUTPUT

Stems are grouped by their names, and where a name tells nothing, by their sound: the synthesiser of 4.Potassium and of
5.Rubidium is a bass. Written as OUTPUT/<song>/<stem>.flac, 44.1 kHz stereo, 16 bits; what clips is told. Files that are
there already are kept. Reads AAC: `pip install av`.
"""

import argparse
import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wavegen.audio import io
from wavegen.errors import InputError, MissingDependencyError, WavegenError

RATE = 44100
SONGS = ("1.Hydrogen", "2.Lithium", "3.Sodium", "4.Potassium", "5.Rubidium", "6.Caesium", "7.Francium")
GROUPS = {  # the first whose words are in the name
    "vocals": "VOX|BGVOX",
    "bass": "BASS",
    "other": "MELODY BREAK|FILL BUILD|FILL SCRATCH",
    "drums": "DRUMS?|KICK|K & SN|SNARE|HH|HATS?|TOPS|CLAPS?|CRASH|CYMBALS|TOMS?|PERC|PRC|BEAT|BREAKBEAT|BREAK",
}
BY_EAR = {song: {"MINILOGUE_SYNTH": "bass"} for song in ("4.Potassium", "5.Rubidium")}
LEFT_OUT = {"7.Francium": {"TEXTURE"}}  # a rumble that could be bass or not


def group(song: str, name: str) -> str:
    """The source that a stem of a song belongs to."""
    known = BY_EAR.get(song, {})
    if name in known:
        return known[name]
    return next((source for source, words in GROUPS.items() if re.search(rf"\b(?:{words})\b", name)), "other")


def decoded(path: Path) -> NDArray[np.float32]:
    """(2, samples) at RATE."""
    import av

    resampler = av.AudioResampler(format="fltp", layout="stereo", rate=RATE)
    with av.open(str(path)) as container:
        parts = [part.to_ndarray() for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    if not parts:
        raise InputError(f"{path}: no audio samples")
    return np.concatenate([*parts, *(part.to_ndarray() for part in resampler.resample(None))], axis=1)


def grouped(source: Path, output: Path) -> None:
    """The stems of a song's folder, as the sources in another. InputError where not all of them are there."""
    song = source.name
    files = {path.stem.partition("_Stem_")[2]: path for path in source.glob("*_Stem_*.m4a")}
    names = {name.removesuffix("_mobile") for name in files} - LEFT_OUT.get(song, set())  # copies for telephones
    if not names:
        raise InputError(f"{source}: no stems, *_Stem_*.m4a")
    if lacking := sorted(names - set(files)):
        raise InputError(f"{source}: lacks {', '.join(lacking)}, of which only the smaller copy is there")
    sources: dict[str, list[Path]] = {}
    for name in sorted(names):
        sources.setdefault(group(song, name), []).append(files[name])
    for target, stems in sources.items():
        path = output / f"{target}.flac"
        if path.is_file():
            continue
        sounds = [decoded(stem) for stem in stems]
        total = np.zeros((2, max(sound.shape[1] for sound in sounds)), np.float32)
        for sound in sounds:
            total[:, : sound.shape[1]] += sound
        path.parent.mkdir(parents=True, exist_ok=True)
        io.write(path, io.Audio(total, RATE))
    print(f"{song}: {len(names)} stems as {', '.join(sorted(sources))}", flush=True)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("source", type=Path, help="the repository's folder src")
    parser.add_argument("output", type=Path)
    options = parser.parse_args(arguments)
    try:
        if importlib.util.find_spec("av") is None:
            raise MissingDependencyError("PyAV", None, "reading AAC", command="pip install av")
        for song in SONGS:
            grouped(options.source / song, options.output / song)
    except (WavegenError, OSError, ValueError) as error:  # PyAV's errors are OSErrors and ValueErrors
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
