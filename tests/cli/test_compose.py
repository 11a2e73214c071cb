"""``wavegen compose`` and ``wavegen render`` of scores, from the command line."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from wavegen.cli.main import main
from wavegen.music.midi import read_midi, write_midi
from wavegen.music.score import Score, Track

PROMPT = "a march in D major for trumpet and piano, 4/4, 120 bpm, 2 bars"


@pytest.fixture
def models(orchestra: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    from wavegen.checkpoints import registry

    monkeypatch.setitem(registry.DEFAULTS, "score-mel", orchestra["acoustic"])
    return ["--model", orchestra["model"], "--vocoder", orchestra["vocoder"]]


@pytest.fixture
def midi(tmp_path: Path) -> Path:
    score = Score((Track(0, False, "piano", np.array([[0.0, 1.0, 60, 80], [1.0, 1.0, 64, 80], [4.0, 4.0, 60, 80]])),))
    write_midi(tmp_path / "in.mid", score)
    return tmp_path / "in.mid"


def run(*arguments: object) -> int:
    return main([str(a) for a in arguments])


def test_a_piece_its_stems_and_its_picture(
    models: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out, stems, plot = tmp_path / "out.wav", tmp_path / "stems", tmp_path / "out.png"
    assert run("compose", PROMPT, "-o", out, "--stems", stems, "--plot", plot, *models) == 0
    mix, rate = soundfile.read(out)
    assert rate == 24000
    assert len(mix) / rate == pytest.approx(4.0, abs=1.5)
    names = sorted(p.name for p in stems.iterdir())
    assert names == ["acoustic-grand-piano.wav", "trumpet.wav"]
    total = sum(soundfile.read(stems / name)[0] for name in names)
    np.testing.assert_allclose(total, mix, atol=3 / 32768)
    assert plot.stat().st_size > 1000
    assert "2 bars, D major, 4/4, 120 bpm" in capfd.readouterr().err


def test_a_stem_in_the_place_of_the_mix_is_refused(
    models: list[str], midi: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    piano = "acoustic-grand-piano"
    (tmp_path / "s").mkdir()
    assert run("compose", PROMPT, "-o", tmp_path / "s" / "trumpet.wav", "--stems", tmp_path / "s", *models) == 2
    assert "trumpet.wav: is the place of the stem trumpet, too" in capfd.readouterr().err
    assert run("render", midi, "-o", tmp_path / "s" / f"{piano}.wav", "--stems", tmp_path / "s", *models[2:]) == 2
    assert f"{piano}.wav: is the place of the stem {piano}, too" in capfd.readouterr().err
    assert list((tmp_path / "s").iterdir()) == []


def test_a_primer_is_not_overwritten(
    models: list[str], midi: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    second = tmp_path / "in-2.mid"
    second.write_bytes(midi.read_bytes())
    for primer, more in ((midi, []), (second, ["--variations", "2"])):
        assert run("compose", "", "--primer", primer, "-o", midi, *more, *models) == 2
        assert f"{primer}: is the input too" in capfd.readouterr().err
    assert sorted(tmp_path.glob("*.mid")) == [second, midi]
    assert second.read_bytes() == midi.read_bytes()


def test_seeds_that_pass_the_highest(models: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    options = ["--seed", 2**63 - 1, "--variations", 2]
    assert run("compose", PROMPT, "-o", tmp_path / "v.mid", *options, *models) == 2
    assert "--variations: 2 seeds" in capfd.readouterr().err
    assert list(tmp_path.glob("v*")) == []


def test_one_tune_of_an_abc_file(models: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("music21")
    two = "X:1\nT:One\nL:1/4\nK:C\nc4|]\n\nX:2\nT:Two\nL:1/4\nK:C\nc4|c4|c4|]\n"
    (tmp_path / "two.abc").write_text(two)
    command = ["render", tmp_path / "two.abc", "-o", tmp_path / "x.wav", *models[2:]]
    assert run(*command) == 2
    assert "--tune" in capfd.readouterr().err
    lengths = []
    for number in (1, 2):
        assert run(*command, "--tune", number) == 0
        lengths.append(soundfile.info(tmp_path / "x.wav").duration)
    assert lengths[1] - lengths[0] == pytest.approx(4.0, abs=0.3)
    assert run("render", tmp_path / "in.mid", "-o", tmp_path / "x.wav", "--tune", 1) == 2
    assert "--tune: is not for this file" in capfd.readouterr().err


def test_midi_and_seed(models: list[str], tmp_path: Path) -> None:
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        assert run("compose", PROMPT, "-o", tmp_path / f"{name}.mid", "--seed", seed, *models) == 0
    a, b, c = ((tmp_path / f"{name}.mid").read_bytes() for name in "abc")
    assert a == b != c
    score = read_midi(tmp_path / "a.mid")
    assert score.key is not None
    assert score.key.name == "D major"
    assert score.meters[0][1:] == (4, 4)


def test_variations_are_numbered(models: list[str], tmp_path: Path) -> None:
    assert run("compose", PROMPT, "-o", tmp_path / "v.mid", "--variations", 3, *models) == 0
    assert sorted(p.name for p in tmp_path.glob("v*")) == ["v-1.mid", "v-2.mid", "v-3.mid"]
    assert len({p.read_bytes() for p in tmp_path.glob("v*")}) == 3
    assert run("compose", f"{PROMPT}, seed 7", "-o", tmp_path / "w.mid", "--variations", 2, *models) == 0
    assert run("compose", PROMPT, "--seed", 8, "-o", tmp_path / "x.mid", *models) == 0
    assert (tmp_path / "w-2.mid").read_bytes() == (tmp_path / "x.mid").read_bytes()


def test_the_plan_and_what_was_not_understood(
    models: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("compose", f"{PROMPT}, zorbly", "-o", tmp_path / "a.mid", *models) == 0
    assert "not understood, and left aside: zorbly" in capfd.readouterr().err
    assert run("compose", PROMPT, "-o", tmp_path / "a.mid", "--show-plan", *models) == 0
    shown = capfd.readouterr().err
    assert "key: D major (stated: in D major)" in shown
    assert "seed: 0" in shown
    assert (
        run("compose", "a tune", "--mood", "sad", "--bars", "2", "-o", tmp_path / "a.mid", "--show-plan", *models) == 0
    )
    assert "mood: sad (stated: by option)" in capfd.readouterr().err


def test_continuation_and_infill(models: list[str], midi: Path, tmp_path: Path) -> None:
    assert run("compose", "4 bars", "--primer", midi, "-o", tmp_path / "on.mid", *models) == 0
    before, after = read_midi(midi), read_midi(tmp_path / "on.mid")
    kept = after.tracks[0].notes
    np.testing.assert_allclose(kept[kept[:, 0] < 8], before.tracks[0].notes)
    assert run("compose", "--primer", midi, "--infill", "1", "-o", tmp_path / "in2.mid", *models) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([""], "prompt is empty"),
        (["qwrt zzyx"], "understood"),
        (["a waltz in 4/4"], "4/4"),
        ([PROMPT, "--bars", "0"], "bars"),
        ([PROMPT, "--tempo", "10000"], "tempo"),
        ([PROMPT, "--instruments", "glorp"], "glorp"),
        ([PROMPT, "--key", "H flat"], "key"),
        ([PROMPT, "--primer", "missing.mid"], "missing.mid"),
        ([PROMPT, "--infill", "a-b"], "--infill"),
        ([PROMPT, "--infill", "1-2"], "primer"),
        ([PROMPT, "--variations", "0"], "--variations"),
        ([PROMPT, "--renderer", "magic"], "renderer"),
        ([PROMPT, "--top-p", "2"], "top_p"),
        ([PROMPT, "-o", "x.mid", "--stems", "s"], "--stems"),
        ([PROMPT, "-o", "x.xyz"], "xyz"),
        ([PROMPT, "-o", "nowhere/x.wav"], "nowhere"),
        ([PROMPT, "-o", "x.mid", "--renderer", "fluidsynth"], "--renderer"),
        ([PROMPT, "--soundfont", "x.sf2"], "soundfont: is for the renderer fluidsynth"),
        ([PROMPT, "--bit-depth", "8"], "--bit-depth"),
    ],
)
def test_refused_in_one_line(
    arguments: list[str],
    message: str,
    models: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("compose", *arguments, *models) == 2
    shown = capfd.readouterr()
    assert shown.out == ""
    lines = shown.err.strip().splitlines()
    assert len(lines) == 1
    assert message in lines[0]
    assert list(tmp_path.iterdir()) == []


def test_render_of_a_score(models: list[str], midi: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    vocoder = models[2:]
    assert run("render", midi, "-o", tmp_path / "out.flac", "--stems", tmp_path / "s", *vocoder) == 0
    samples, rate = soundfile.read(tmp_path / "out.flac")
    assert len(samples) / rate == pytest.approx(4.5, abs=0.5)
    assert [p.name for p in (tmp_path / "s").iterdir()] == ["acoustic-grand-piano.wav"]
    assert run("render", midi, "-o", tmp_path / "x.wav", "--spec", "bigvgan-24k") == 2
    assert "--spec: is not for a score" in capfd.readouterr().err
    np.save(tmp_path / "m.npy", np.zeros((20, 5), np.float32))
    assert run("render", tmp_path / "m.npy", "-o", tmp_path / "x.wav", "--renderer", "neural") == 2
    assert "--renderer: is not for a mel" in capfd.readouterr().err
    (tmp_path / "broken.mid").write_bytes(b"MThd")
    assert run("render", tmp_path / "broken.mid", "-o", tmp_path / "x.wav") == 2
    assert "broken.mid" in capfd.readouterr().err
    assert not (tmp_path / "x.wav").exists()
