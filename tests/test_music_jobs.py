"""From a prompt to a score and its sound: the jobs, with small untrained models."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from wavegen import load, music_jobs
from wavegen.acoustic.rolls import Part, parts_of
from wavegen.errors import InputError
from wavegen.music.midi import read_midi, write_midi
from wavegen.music.score import Score, Track
from wavegen.music_jobs import _passages, _perform

PROMPT = "a waltz in G major for flute and piano, 120 bpm, 4 bars"


def tune(bars: int = 4) -> Score:
    """C major arpeggios in 4/4 on a violin over a bass."""
    melody = [[b * 4 + i, 0.9, 60 + 4 * i, 80] for b in range(bars) for i in range(4)]
    bass = [[b * 4.0, 4.0, 36, 70] for b in range(bars)]
    return Score((Track(40, False, "violin", np.array(melody, float)), Track(32, False, "bass", np.array(bass))))


def compose(orchestra: dict[str, str], prompt: str = PROMPT, **options: object) -> music_jobs.Composed:
    return music_jobs.compose(prompt, **{**orchestra, **options})  # type: ignore[arg-type]


def test_what_the_prompt_asks_for(orchestra: dict[str, str]) -> None:
    made = compose(orchestra)
    assert (made.attributes.key.name, made.attributes.meter.name, made.attributes.bars) == ("G major", "3/4", 4)
    assert [track.program for track in made.score.tracks] == [73, 0]
    assert made.score.tempos == ((0.0, 120.0),)
    assert made.audio is not None
    assert made.audio.duration == pytest.approx(6.0, abs=1.5)
    assert set(made.stems) == {"flute", "acoustic-grand-piano"}
    assert float(np.abs(made.audio.samples).max()) == pytest.approx(music_jobs.PEAK, abs=1e-3)


def test_stems_sum_to_the_mix(orchestra: dict[str, str]) -> None:
    made = compose(orchestra)
    assert made.audio is not None
    total = sum(stem.samples for stem in made.stems.values())
    np.testing.assert_allclose(total, made.audio.samples, atol=1e-6)


def test_the_same_seed_gives_the_same_samples(orchestra: dict[str, str]) -> None:
    a, b, c = (compose(orchestra, seed=seed) for seed in (3, 3, 4))
    assert a.score == b.score
    assert a.audio is not None
    assert b.audio is not None
    np.testing.assert_array_equal(a.audio.samples, b.audio.samples)
    assert a.score != c.score


def test_without_sound_nothing_else_is_loaded(orchestra: dict[str, str], tmp_path: Path) -> None:
    made = music_jobs.compose(PROMPT, model=orchestra["model"], acoustic="none", vocoder="none", render=False)
    assert made.audio is None
    write_midi(tmp_path / "a.mid", made.score)
    assert read_midi(tmp_path / "a.mid").note_count == made.score.note_count


def test_a_primer_decides_what_is_not_said(orchestra: dict[str, str]) -> None:
    primer = tune()
    made = compose(orchestra, "", primer=primer, render=False)
    assert made.attributes.bars == 8
    assert made.attributes.meter.name == "4/4"
    assert [t.program for t in made.score.tracks] == [40, 32]
    first = made.score.tracks[0].notes
    np.testing.assert_array_equal(first[first[:, 0] < 16], primer.tracks[0].notes)
    assert (first[:, 0] >= 16).any()
    assert compose(orchestra, "", primer=primer, seed=5, render=False).attributes.seed == 5
    longer = compose(orchestra, "10 bars", primer=primer, render=False)
    assert longer.attributes.bars == 10


def test_dynamics_beside_a_primer(orchestra: dict[str, str]) -> None:
    primer = tune()
    own = compose(orchestra, "", primer=primer, render=False)
    loud = compose(orchestra, "", primer=primer, render=False, dynamics=115)
    assert own.plan.stated["dynamics"] == "by the primer"
    means = [
        np.concatenate([track.notes[track.notes[:, 0] >= 16, 3] for track in made.score.tracks]).mean()
        for made in (own, loud)
    ]
    assert means[1] > means[0] + 15
    np.testing.assert_array_equal(loud.score.tracks[0].notes[: len(primer.tracks[0].notes)], primer.tracks[0].notes)


def test_the_pedal_of_a_midi_file_is_followed(
    orchestra: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[bool] = []
    read = music_jobs.read_score
    monkeypatch.setattr(music_jobs, "read_score", lambda *a, **k: given.append(k["pedal"]) or read(*a, **k))
    write_midi(tmp_path / "a.mid", tune(1))
    music_jobs.render_score(tmp_path / "a.mid", acoustic=orchestra["acoustic"], vocoder=orchestra["vocoder"])
    assert given == [True]


def test_infill_leaves_the_rest(orchestra: dict[str, str]) -> None:
    primer = tune()
    made = compose(orchestra, "", primer=primer, infill=(2, 3), render=False)
    for before, after in zip(primer.tracks, made.score.tracks, strict=True):
        outside = [n[(n[:, 0] < 4) | (n[:, 0] >= 12)] for n in (before.notes, after.notes)]
        np.testing.assert_array_equal(*outside)
    assert made.score.tracks[0] != primer.tracks[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt": "  "}, "prompt is empty"),
        ({"infill": (1, 2)}, "infill: names bars"),
        ({"temperature": -1.0}, "temperature"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_k": 2.5}, "top_k"),
        ({"renderer": "magic"}, "renderer"),
        ({"prompt": "a waltz in 4/4"}, "4/4"),
        ({"bars": 0}, "bars"),
        ({"bars": 10000}, "bars"),
        ({"tempo": 0}, "tempo"),
        ({"tempo": 10000}, "tempo"),
        ({"instruments": "theremophone"}, "theremophone"),
        ({"primer": tune(), "meter": "3/4", "prompt": ""}, "primer is in 4/4"),
        ({"primer": Score(()), "prompt": ""}, "no notes"),
        ({"primer": tune(), "prompt": "", "infill": (3, 9)}, "3-9"),
        ({"primer": tune(), "prompt": "", "instruments": "flute"}, "leave instruments out"),
        ({"primer": tune(), "prompt": "at 150 bpm", "infill": (1, 2)}, "keeps the primer's tempo"),
        ({"primer": tune(), "prompt": "", "infill": (1.5, 2)}, "two bars"),
        ({"primer": replace(tune(), tempos=((0.0, 9000.0),)), "prompt": ""}, "its tempo of 9000"),
        ({"primer": Score((Track(0, True, "", np.array([[0.0, 1.0, 36, 80]])),)), "prompt": ""}, "only drums"),
        ({"primer": 5}, "a Score or a file"),
        ({"prompt": None}, "must be a text"),
        ({"bars": 8.5}, "bars: must be a whole number"),
        ({"bars": True}, "bars"),
        ({"seed": "a"}, "seed"),
        ({"drums": "no"}, "drums: must be true or false"),
        ({"instruments": [1.5]}, "instruments"),
        ({"tempoo": 3}, "tempoo: is not an attribute"),
        ({"key": 5}, "key: must be a text"),
    ],
)
def test_refused(orchestra: dict[str, str], options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        compose(orchestra, **options)  # type: ignore[arg-type]


def test_rendering_keeps_time(orchestra: dict[str, str]) -> None:
    """A part is silent until its first note, and after its last has rung out."""
    rests = Score((Track(73, False, "", np.array([[8.0, 1.0, 72, 90], [24.0, 0.5, 60, 90]])),))
    wave = music_jobs.render_score(rests, acoustic=orchestra["acoustic"], vocoder=orchestra["vocoder"]).audio
    heard = np.abs(wave.samples[0]) > 0
    assert 3.5 * 24000 < np.argmax(heard) < 4.0 * 24000
    assert not heard[round(6.0 * 24000) : round(11.5 * 24000)].any()
    assert heard[round(12.0 * 24000) : round(12.2 * 24000)].any()


def test_long_rests_are_left_out(orchestra: dict[str, str]) -> None:
    names = {name: orchestra[name] for name in ("acoustic", "vocoder")}
    late = 64.0  # quarters
    notes = np.array([[0.0, 1.0, 60.0, 90.0], [0.5, 1.0, 64.0, 80.0], [late, 1.0, 67.0, 90.0]])
    score = Score((Track(0, False, "", notes),), tempos=((0.0, 120.0),))
    spec = load(names["vocoder"]).spec
    part = parts_of(score)["acoustic-grand-piano"]
    passages = list(_passages(part, spec))
    assert [len(passage.onset) for _, passage in passages] == [2, 1]
    performer, voice = load(names["acoustic"]), load(names["vocoder"])
    wave = _perform(part, performer, voice)
    assert len(wave) == part.frames(spec) * spec.hop
    first, alone = passages[1]
    begin = first * spec.hop
    np.testing.assert_array_equal(wave[begin:], _perform(alone, performer, voice)[: len(wave) - begin])
    assert np.abs(wave[begin:]).max() > 1e-4
    assert not wave[round(0.75 * begin) : begin].any()


def test_passages_have_the_mel_of_the_whole(orchestra: dict[str, str]) -> None:
    performer = load(orchestra["acoustic"])
    spec = performer.spec
    rng = np.random.default_rng(4)
    onset = np.concatenate([[0.0], 4 + rng.uniform(0, 2, 6), 9.5 + rng.uniform(0, 1, 5), [31.25]])
    pitch, velocity = rng.integers(40, 80, len(onset)), rng.integers(30, 120, len(onset))
    part = Part(0, onset, onset + rng.uniform(0.1, 0.7, len(onset)), pitch, velocity)
    whole = performer.render(part)
    passages = list(_passages(part, spec))
    assert [len(passage.onset) for _, passage in passages] == [1, 6, 5, 1]
    for first, passage in passages:
        mel = performer.render(passage)
        inside = slice(performer.context, mel.shape[-1] - performer.context)
        torch.testing.assert_close(mel[..., inside], whole[..., first:][..., inside], atol=2e-3, rtol=0)
        assert float((mel[..., inside] - whole[..., first + 1 :][..., inside]).abs().max()) > 0.01


def test_stems_are_kept_only_where_they_are_wanted(orchestra: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    names = {name: orchestra[name] for name in ("acoustic", "vocoder")}
    both = music_jobs.render_score(tune(1), **names)
    alone = music_jobs.render_score(tune(1), **names, stems=False)
    np.testing.assert_array_equal(alone.audio.samples, both.audio.samples)
    assert both.stems
    assert not alone.stems
    monkeypatch.setattr(music_jobs, "MOST_STEMS", 1.0)
    with pytest.raises(InputError, match=r"s of stems; at most 1 s fit, or the mix alone"):
        music_jobs.render_score(tune(1), **names)
    assert music_jobs.render_score(tune(1), **names, stems=False).audio.samples.any()


def test_a_score_that_cannot_be_rendered(orchestra: dict[str, str], tmp_path: Path) -> None:
    small = {name: orchestra[name] for name in ("acoustic", "vocoder")}
    with pytest.raises(InputError, match="no notes"):
        music_jobs.render_score(Score(()), **small)
    with pytest.raises(InputError, match="at most 7,200 s"):
        music_jobs.render_score(replace(tune(), tempos=((0.0, 0.1),)), **small)
    with pytest.raises(InputError, match="soundfont: is for the renderer fluidsynth"):
        music_jobs.render_score(tune(), **small, soundfont="x.sf2")
    with pytest.raises(InputError, match="score: must be a Score or a file, not int"):
        music_jobs.render_score(3, **small)  # type: ignore[arg-type]
    (tmp_path / "bad.mid").write_bytes(b"MThd nothing")
    with pytest.raises(InputError, match=r"bad\.mid"):
        music_jobs.render_score(tmp_path / "bad.mid", **small)


def test_drawing_gets_seconds() -> None:
    notes = music_jobs.notes_in_seconds(tune(1))
    np.testing.assert_allclose(notes["acoustic-bass"], [[0.0, 2.0, 36, 70]])
