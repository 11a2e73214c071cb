"""FluidSynth: the sampler that neural rendering is trained on and measured against, and a renderer of its own right."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wavegen.audio.io import read
from wavegen.audio.resample import resample
from wavegen.errors import InputError, MissingDependencyError, WavegenError

SOUNDFONTS = (
    "/usr/share/sounds/sf2/FluidR3_GM.sf2",
    "/usr/share/soundfonts/FluidR3_GM.sf2",
    "/usr/share/sounds/sf2/default-GM.sf2",
    "/usr/share/sounds/sf3/default-GM.sf3",
    "/usr/share/soundfonts/default.sf2",
)
OWN_RATE = 48000  # it interpolates better at a high rate
GAIN = 0.45


def find_soundfont(path: str | Path | None = None) -> Path:
    """The SoundFont given, or named by WAVEGEN_SOUNDFONT, or the first installed General MIDI one."""
    given = path or os.environ.get("WAVEGEN_SOUNDFONT")
    if given:
        if not Path(given).is_file():
            raise InputError(f"{given}: no such SoundFont file")
        with open(given, "rb") as file:
            start = file.read(12)
        if start[:4] != b"RIFF" or start[8:] != b"sfbk":  # of which fluidsynth would silently take another
            raise InputError(f"{given}: not a SoundFont file")
        return Path(given)
    for candidate in SOUNDFONTS:
        if Path(candidate).is_file():
            return Path(candidate)
    raise _missing("a General MIDI SoundFont")


def _missing(what: str) -> MissingDependencyError:
    return MissingDependencyError(
        what, None, "the renderer fluidsynth", command="apt-get install fluidsynth fluid-soundfont-gm"
    )


def render_midi(midi: Path, rate: int, *, soundfont: str | Path | None = None) -> NDArray[np.float32]:
    """A MIDI file's sound, mono float32 (samples,) at ``rate`` Hz, dry, unscaled, until the last note has rung out.

    MissingDependencyError without the program fluidsynth or a SoundFont; WavegenError if the program fails.
    """
    program = shutil.which("fluidsynth")
    if program is None:
        raise _missing("the program fluidsynth")
    font = find_soundfont(soundfont)
    with tempfile.TemporaryDirectory(prefix="wavegen-") as folder:
        target = Path(folder) / "render.wav"
        options = ["-ni", "-q", "-r", str(OWN_RATE), "-g", str(GAIN), "-R", "0", "-C", "0", "-O", "float", "-T", "wav"]
        run = subprocess.run(
            [program, *options, "-F", str(target), str(font), str(midi)], capture_output=True, text=True, check=False
        )
        if run.returncode or not target.is_file():
            reason = (run.stderr or run.stdout).strip().splitlines()
            raise WavegenError(f"fluidsynth could not render {midi}: {reason[-1] if reason else run.returncode}")
        audio = read(target)
    return resample(audio.samples.mean(axis=0), OWN_RATE, rate)
