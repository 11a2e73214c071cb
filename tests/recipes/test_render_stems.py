"""The generator of stems: what it plans, the MIDI it hands over, the levels and labels it writes."""

import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import mido
import numpy as np
import pytest
import soundfile

from wavegen.errors import MissingDependencyError, WavegenError
from wavegen.music.corpora import Piece
from wavegen.music.instruments import INSTRUMENTS
from wavegen.music.score import Score, Track
from wavegen.training.mixtures import PLAIN, StemSet, generator
from wavegen.training.stem_folders import MELODIC, prepared, read_labels, stem_of


@pytest.fixture(scope="module")
def recipe(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("recipes/separation/render_stems.py")


def track(program: int, low: int, *, drums: bool = False, step: float = 0.5, count: int = 400) -> Track:
    rng = np.random.default_rng(low)
    rows = [(k * step, step * 0.9, low + int(rng.integers(0, 12)), 80) for k in range(count)]
    return Track(program, drums, "", np.array(rows, float))


@pytest.fixture
def corpora() -> dict[str, list[Piece]]:
    """A few pieces in each split, as the loaders give them."""
    found: dict[str, list[Piece]] = {"freedoom": [], "jsb": [], "groove": []}
    for split in ("train", "validation", "test"):
        band = Score((track(33, 30), track(29, 52), track(48, 60), track(0, 36, drums=True)), ((0.0, 120.0),))
        voices = Score(tuple(track(19, low, step=1, count=120) for low in (65, 58, 50, 43)), ((0.0, 80.0),))
        beat = Score((track(0, 36, drums=True, step=0.25, count=64),), ((0.0, 110.0),))
        for kind, score in (("freedoom", band), ("jsb", voices), ("groove", beat)):
            licence = {"freedoom": "BSD-3-Clause", "jsb": "public domain", "groove": "CC-BY-4.0"}[kind]
            found[kind].append(Piece(f"{kind}-{split}", "", score, split, "", (4, 4), licence))
    return found


def test_plans_follow_from_number_and_seed(recipe: ModuleType, corpora: dict[str, list[Piece]]) -> None:
    songs = [recipe.plan(number, corpora, 5) for number in range(60)]
    again = recipe.plan(7, corpora, 5)
    assert again.facts == songs[7].facts
    for mine, theirs in zip(again.parts, songs[7].parts, strict=True):
        np.testing.assert_array_equal(mine.notes, theirs.notes)
        assert (mine.program, mine.pan, mine.volume, mine.reverb) == (
            theirs.program,
            theirs.pan,
            theirs.volume,
            theirs.reverb,
        )
    assert recipe.plan(7, corpora, 6).facts != again.facts
    assert {song.split for song in songs} == {"train", "validation", "test"}
    for song in songs:
        assert song.facts["score"].endswith(song.split)  # no score in two splits
        assert not song.facts.get("drums") or song.facts["drums"].endswith(song.split)
        assert len(song.stems()) >= 3
        for part in song.parts:
            assert part.stem == stem_of(part.program, drums=part.stem == "drums")
            assert (part.notes[:, 0] >= 0).all()
            assert (part.notes[:, 0] + part.notes[:, 1] <= recipe.SECONDS + 1e-9).all()
            assert (part.notes[:, 2] == part.notes[:, 2].round()).all()
            assert part.notes[:, 2].min() >= 0
            assert part.notes[:, 2].max() <= 127
    tempi = [song.facts["tempo"] for song in songs if "drums" not in song.facts]
    assert min(tempi) < 0.95
    assert max(tempi) > 1.05
    assert len({song.facts["transposition"] for song in songs}) > 6


def test_solos_are_one_voice_on_one_instrument(recipe: ModuleType, corpora: dict[str, list[Piece]]) -> None:
    songs = [recipe.plan(number, corpora, 5, solo=True) for number in range(80)]
    assert {song.split for song in songs} == {"train", "validation", "test"}
    for song in songs:
        assert song.facts["score"].endswith(song.split)
        (part,) = song.parts
        assert part.stem == stem_of(part.program) in recipe.SOLOISTS
        onset, duration, pitch, velocity = part.notes.T
        assert len(onset) >= 12
        assert (np.diff(onset) >= 0.03 - 1e-9).all()
        assert (onset[:-1] + duration[:-1] <= onset[1:] + 1e-9).all()
        assert (onset + duration <= recipe.SECONDS + 1e-9).all()
        assert (pitch == pitch.round()).all()
        assert ((velocity >= 25) & (velocity <= 127)).all()
        assert INSTRUMENTS[part.program].low <= pitch.min()
        assert pitch.max() <= INSTRUMENTS[part.program].high
    assert {song.parts[0].stem for song in songs} == set(recipe.SOLOISTS)
    assert recipe.labels(songs[0], songs[0].stems())["stems"][songs[0].parts[0].stem]["monophonic"]


def test_the_upper_of_notes_that_begin_together_is_kept(recipe: ModuleType) -> None:
    notes = np.array([[0.0, 2, 60, 80], [0.01, 1, 67, 80], [0.5, 1, 64, 80], [0.52, 3, 55, 80], [2.0, 1, 62, 80]])
    found = recipe.one_voice(notes)
    np.testing.assert_allclose(found[:, 2], [67, 64, 62])
    np.testing.assert_allclose(found[:, 1], [0.49, 1, 1])


def test_chorales_give_four_instruments_one_voice_each(recipe: ModuleType, corpora: dict[str, list[Piece]]) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        parts, facts = recipe.chorale_song(corpora["jsb"][0], [corpora["groove"][0]], rng)
        voices = [part for part in parts if part.stem != "drums"]
        assert len(voices) == len({part.stem for part in voices}) == 4
        assert all(recipe.monophonic([part]) for part in voices)
        for part in voices:
            instrument = INSTRUMENTS[part.program]
            assert instrument.low - 12 < np.median(part.notes[:, 2]) < instrument.high + 12
        assert ("CC-BY-4.0" in facts["licences"]) == (len(parts) == 5)


def test_programs_stay_within_their_stem(recipe: ModuleType) -> None:
    rng = np.random.default_rng(0)
    drawn = {recipe.program_like(40, np.array([60.0, 72.0]), rng) for _ in range(100)}
    assert len(drawn) > 3
    assert {stem_of(program) for program in drawn} == {"strings"}
    assert recipe.program_like(40, np.array([0.0, 127.0]), rng) == 40  # nothing plays that


def test_stems_come_one_after_the_other(recipe: ModuleType) -> None:
    one = recipe.Part("bass", 33, np.array([[0.0, 1.0, 40, 90], [29.0, 1.0, 45, 90]]), 64, 100, 20)
    two = recipe.Part("drums", 8, np.array([[0.5, 0.1, 38, 90]]), 70, 90, 0)
    midi = recipe.stem_midi([[one], [two]])
    clock, strikes, programs, silenced = 0.0, [], [], []
    for message in mido.merge_tracks(midi.tracks):
        clock += mido.tick2second(message.time, midi.ticks_per_beat, 500000)
        if message.type == "note_on":
            strikes.append((round(clock, 3), message.channel == 9, message.note))
        elif message.type == "program_change":
            programs.append((round(clock, 3), message.program))
        elif message.type == "control_change" and message.control == 120:
            silenced.append(round(clock, 3))
    second = recipe.SECONDS + recipe.GAP
    lead = recipe.LEAD
    assert strikes == [(lead, False, 40), (lead + 29, False, 45), (round(lead + second + 0.5, 3), True, 38)]
    assert [program for _, program in programs] == [33, 8]
    assert all(time < strike for (time, _), strike in zip(programs, (lead, lead + second), strict=True))
    assert silenced[0] == pytest.approx(lead + recipe.SECONDS + 0.02)
    assert clock == pytest.approx(2 * second, abs=0.01)


def test_many_tracks_share_the_channels(recipe: ModuleType) -> None:
    parts = [recipe.Part("synth", 80, np.array([[0.0, 1.0, 40 + k, 90]]), 64, 100, 20) for k in range(20)]
    channels = {m.channel for m in recipe.stem_midi([parts]).tracks[0] if m.type == "note_on"}
    assert len(channels) == 15
    assert 9 not in channels


def test_levels_and_labels(recipe: ModuleType, tmp_path: Path) -> None:
    notes = np.array([[0.0, 15.0, 40, 90], [15.0, 15.0, 45, 80]])
    longer = notes + np.array([0, 1, 12, 0])
    parts = [recipe.Part("bass", 33, notes, 64, 100, 20), recipe.Part("piano", 0, longer, 64, 100, 20)]
    song = recipe.Song("0003", "test", parts, {"score": "x"})
    rng = np.random.default_rng(0)
    raw = {name: rng.standard_normal((30 * 44100, 2)).astype(np.float32) for name in ("bass", "piano")}
    raw["drums"] = np.zeros_like(raw["bass"])
    stems = recipe.levelled(song, raw, 5)
    assert set(stems) == {"bass", "piano"}  # what does not sound is left out
    total = sum(x.astype(int) for x in stems.values())
    assert np.abs(total).max() <= round(recipe.PEAK * 32767) + 2
    for name in stems:  # a factor alone
        scale = stems[name][0, 0] / raw[name][0, 0]
        assert np.abs(stems[name] - scale * raw[name]).max() < 0.01 * np.abs(stems[name]).max()
    recipe.write_song(tmp_path, song, stems, {"soundfont": "f"})
    (item,) = prepared(tmp_path, "test")
    assert item.id == "0003"
    assert item.labels is not None
    labels = read_labels(item.labels)
    assert labels["bass"].monophonic
    assert not labels["piano"].monophonic
    assert labels["bass"].notes.tolist() == [[0, 15, 40, 90, 33], [15, 30, 45, 80, 33]]
    assert not list((tmp_path / "test").glob(".*"))
    facts = json.loads(item.labels.read_text())
    assert (facts["sample_rate"], facts["soundfont"], facts["score"]) == (44100, "f", "x")
    data = StemSet([item], ("bass", "other"), augmentation=PLAIN)
    np.testing.assert_array_equal(data.song(0)[0], stems["bass"].T / np.float32(32768))
    example = StemSet([item], ("bass",), solo=True, monophonic=True).labelled_example(generator(0, 0, 0), 1.0, 4410)
    assert set(example.pitches[0].tolist()) <= {40, 45}


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for fluidsynth that writes a ramp of 75 s."""
    folder = tmp_path / "bin"
    folder.mkdir()
    ramp = np.arange(75 * 44100) / (75 * 44100)
    soundfile.write(tmp_path / "ramp.wav", np.stack([ramp, -ramp], 1), 44100, subtype="FLOAT")
    script = folder / "fluidsynth"
    script.write_text(
        f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\n'
        f'while [ "$1" != "-F" ]; do shift; done\ncp {tmp_path}/ramp.wav "$2"\n'
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return script


def test_the_sound_is_cut_where_the_stems_lie(recipe: ModuleType, program: Path, tmp_path: Path) -> None:
    midi = recipe.stem_midi([[], []])
    one, two, three = recipe.synthesize(midi, 3, tmp_path / "font.sf2", 0.3, 0.5)
    assert one.shape == two.shape == three.shape == (30 * 44100, 2)
    slope = 1 / (75 * 44100)
    assert one[0, 0] == pytest.approx(recipe.LEAD * 44100 * slope, abs=slope)
    assert two[0, 0] == pytest.approx((recipe.LEAD + recipe.SECONDS + recipe.GAP) * 44100 * slope, abs=slope)
    assert not three[int(9.95 * 44100) :].any()  # the file has ended
    arguments = (tmp_path / "arguments").read_text()
    assert "synth.reverb.room-size=0.3" in arguments
    assert "-R 1" in arguments
    program.write_text("#!/bin/sh\necho no font >&2\nexit 1\n")
    with pytest.raises(WavegenError, match="no font"):
        recipe.synthesize(midi, 1, tmp_path / "font.sf2", 0.3, 0.5)


def test_without_the_program(recipe: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependencyError, match="fluidsynth"):
        recipe.synthesize(recipe.stem_midi([[]]), 1, tmp_path / "font.sf2", 0.3, 0.5)


FONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")


@pytest.mark.skipif(not (shutil.which("fluidsynth") and FONT.is_file()), reason="needs fluidsynth and FluidR3_GM")
def test_stems_sound_when_their_notes_do(recipe: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "SECONDS", 3.0)
    piano = recipe.Part("piano", 0, np.array([[0.5, 1.0, 60, 100]]), 0, 110, 0)
    organ = recipe.Part("organ", 16, np.array([[1.25, 1.0, 69, 100], [2.9, 0.1, 69, 100]]), 127, 110, 60)
    stems = recipe.synthesize(recipe.stem_midi([[piano], [organ]]), 2, FONT, 0.3, 0.4)
    for samples, onset, hertz, side in ((stems[0], 0.5, 261.63, 0), (stems[1], 1.25, 440.0, 1)):
        level = np.abs(samples).max(axis=1)
        first = int(np.argmax(level > 0.02 * level.max()))
        assert first / 44100 == pytest.approx(onset, abs=0.02)
        assert level[: first - 2000].max() < 1e-4 * level.max()  # nothing of the other
        middle = samples[first + 4410 : first + 4410 + 22050, side] * np.hanning(22050)
        spectrum = np.abs(np.fft.rfft(middle, 1 << 17))
        peak = np.argmax(spectrum[: int(1.5 * hertz / 44100 * (1 << 17))]) / (1 << 17) * 44100
        octaves = np.log2(peak / hertz)
        assert abs(octaves - round(octaves)) < 0.03
        # Of instruments sampled in stereo, one channel goes no further than the middle.
        assert np.square(samples[:, side]).sum() > 1.5 * np.square(samples[:, 1 - side]).sum()


def test_the_melodic_stems_are_the_ones_voices_get(recipe: ModuleType) -> None:
    rng = np.random.default_rng(1)
    stems = {stem_of(program) for _ in range(100) for program in recipe.voice_programs(rng)}
    assert stems == {*MELODIC, "bass"}
