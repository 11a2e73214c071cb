"""FluidSynth as a program that may be missing: what is run, and what is said if it cannot be."""

import os
import stat
from pathlib import Path

import numpy as np
import pytest
import soundfile

from wavegen.acoustic import fluidsynth
from wavegen.errors import InputError, MissingDependencyError, WavegenError


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in on the PATH that copies a stereo file to where fluidsynth would write."""
    folder = tmp_path / "bin"
    folder.mkdir()
    t = np.arange(48000) / 48000
    wave = 0.5 * np.sin(2 * np.pi * 440 * t)
    soundfile.write(tmp_path / "tone.wav", np.stack([wave, 0 * wave], 1), 48000, subtype="FLOAT")
    script = folder / "fluidsynth"
    script.write_text(
        f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\n'
        f'while [ "$1" != "-F" ]; do shift; done\ncp {tmp_path}/tone.wav "$2"\n'
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    font = tmp_path / "font.sf2"
    font.write_bytes(b"RIFF\0\0\0\0sfbk")
    return font


def test_mono_at_the_rate_asked_for(program: Path, tmp_path: Path) -> None:
    wave = fluidsynth.render_midi(tmp_path / "x.mid", 24000, soundfont=program)
    assert wave.shape == (24000,)
    middle = wave[4000:20000]
    t = np.arange(4000, 20000) / 24000
    np.testing.assert_allclose(middle, 0.25 * np.sin(2 * np.pi * 440 * t), atol=1e-3)
    arguments = (tmp_path / "arguments").read_text()
    assert str(program) in arguments
    assert "-R 0 -C 0" in arguments


def test_a_failure_is_reported(program: Path, tmp_path: Path) -> None:
    script = tmp_path / "bin" / "fluidsynth"
    script.write_text("#!/bin/sh\necho cannot load >&2\nexit 3\n")
    with pytest.raises(WavegenError, match=r"could not render .*x\.mid: cannot load"):
        fluidsynth.render_midi(tmp_path / "x.mid", 24000, soundfont=program)


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependencyError, match="apt-get install fluidsynth"):
        fluidsynth.render_midi(tmp_path / "x.mid", 24000)
    monkeypatch.setattr(fluidsynth, "SOUNDFONTS", ())
    monkeypatch.delenv("WAVEGEN_SOUNDFONT", raising=False)
    with pytest.raises(MissingDependencyError, match="SoundFont"):
        fluidsynth.find_soundfont()
    with pytest.raises(InputError, match="no such SoundFont"):
        fluidsynth.find_soundfont(tmp_path / "none.sf2")
    (tmp_path / "text.sf2").write_text("no SoundFont at all")
    with pytest.raises(InputError, match="not a SoundFont"):
        fluidsynth.find_soundfont(tmp_path / "text.sf2")
    monkeypatch.setenv("WAVEGEN_SOUNDFONT", str(tmp_path / "gone.sf2"))
    with pytest.raises(InputError, match=r"gone\.sf2"):
        fluidsynth.find_soundfont()
