"""Real songs as vocals, drums, bass and other: everythingisremixed (CC0) publishes some 20 stems of each.

    git clone https://github.com/ichbinsoftware/everythingisremixed
    python recipes/separation/group_songs.py everythingisremixed/src OUTPUT

Stems are grouped by their names, and where a name tells nothing, by their sound: the synthesiser of 4.Potassium and of
5.Rubidium has eight and nine tenths of its energy below 60 Hz and is a bass. Written as OUTPUT/<song>/<stem>.flac,
44.1 kHz stereo, 16 bits. Files that are there already are kept. Reads AAC: `pip install av`.
"""

import argparse
import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from wavegen.audio.io import atomic

RATE = 44100
SONGS = ("1.Hydrogen", "2.Lithium", "3.Sodium", "4.Potassium", "5.Rubidium", "6.Caesium", "7.Francium")
GROUPS = {  # the first whose words are in the name
    "vocals": "VOX|BGVOX",
    "bass": "BASS|BASS STAB",
    "other": "MELODY BREAK|FILL BUILD|FILL SCRATCH|FILL PIANO|SLOW BEAT PAD",
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
        frames = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    return np.concatenate([part.to_ndarray() for part in (*frames, *resampler.resample(None))], axis=1)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("source", type=Path, help="the repository's folder src")
    parser.add_argument("output", type=Path)
    options = parser.parse_args(arguments)
    if importlib.util.find_spec("av") is None:
        print("group_songs.py reads AAC by PyAV, which is not installed: pip install av", file=sys.stderr)
        return 2
    for song in SONGS:
        stems = {path.stem.partition("_Stem_")[2]: path for path in (options.source / song).glob("*_Stem_*.m4a")}
        if not stems:
            print(f"{options.source / song}: no stems, *_Stem_*.m4a", file=sys.stderr)
            return 2
        # Of each there is a smaller copy, for telephones.
        names = {name for name in stems if not name.endswith("_mobile")} - LEFT_OUT.get(song, set())
        sources: dict[str, NDArray[np.float32]] = {}
        for name in sorted(names):
            target = group(song, name)
            if (options.output / song / f"{target}.flac").is_file():
                continue
            sound = decoded(stems[name])
            total = sources.setdefault(target, np.zeros((2, 0), np.float32))
            length = max(total.shape[1], sound.shape[1])
            sources[target] = sum(np.pad(x, ((0, 0), (0, length - x.shape[1]))) for x in (total, sound))
        for target, samples in sources.items():
            path = options.output / song / f"{target}.flac"
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic(path) as temporary:
                sf.write(temporary, np.clip(samples.T, -1, 1), RATE, "PCM_16", format="FLAC")
        print(f"{song}: {len(names)} stems as {', '.join(sorted({group(song, name) for name in names}))}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
