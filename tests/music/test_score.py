import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavegen.errors import InputError
from wavegen.music.attributes import Key
from wavegen.music.score import Score, Track, as_notes

MAPPED = Score(
    (Track(0, False, "", [(0, 1, 60, 80), (11, 2, 64, 80)]),),
    tempos=((0, 60), (4, 120), (10, 30)),
    meters=((0, 4, 4), (4, 3, 8), (8.5, 3, 4)),
)


def test_notes_are_sorted_by_onset_then_pitch_and_cannot_be_changed():
    track = Track(0, False, "x", [(1, 1, 60, 64), (0, 2, 67, 64), (0, 1, 60, 64)])
    assert track.notes[:, :3].tolist() == [[0, 1, 60], [0, 2, 67], [1, 1, 60]]
    with pytest.raises(ValueError, match="read-only"):
        track.notes[0, 0] = 5.0


@pytest.mark.parametrize(
    ("note", "words"),
    [
        ((-0.1, 1, 60, 64), "before 0"),
        ((0, 0, 60, 64), "lasts 0"),
        ((0, 1, 128, 64), "pitch"),
        ((0, 1, 60.5, 64), "pitch"),
        ((0, 1, -1, 64), "pitch"),
        ((0, 1, 60, 0), "velocity"),
        ((0, 1, 60, 128), "velocity"),
        ((np.nan, 1, 60, 64), "finite"),
        ((0, np.inf, 60, 64), "finite"),
        ((0, 1, 60), "shape"),
    ],
)
def test_impossible_notes_are_refused_by_what_is_wrong(note, words):
    with pytest.raises(InputError, match=words):
        as_notes([note])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tempos": ()}, "tempos: the map is empty"),
        ({"tempos": ((1, 120),)}, "tempos: the first stands at quarter 1"),
        ({"tempos": ((0, 120), (0, 90))}, "tempos: positions do not ascend"),
        ({"tempos": ((0, 0.0),)}, "tempos: 0.0 quarters a minute"),
        ({"tempos": ((0, np.inf),)}, "tempos: inf"),
        ({"meters": ((0, 0, 4),)}, "0/4 at quarter 0"),
        ({"meters": ((0, 3, 6),)}, "3/6 at quarter 0"),
        ({"meters": ((0, 3, 4), (np.nan, 3, 4))}, "meters: a position is not finite"),
    ],
)
def test_impossible_maps_are_refused_by_what_is_wrong(change, words):
    with pytest.raises(InputError, match=words):
        Score((), **change)


def test_a_program_outside_general_midi_is_refused():
    with pytest.raises(InputError, match="program 128"):
        Track(128, False, "x", [])


def test_seconds_follow_every_tempo():
    expected = [0, 2, 4, 4.5, 7, 9, 13]  # 4 quarters at 60, 6 at 120, the rest at 30
    np.testing.assert_allclose(MAPPED.seconds([0, 2, 4, 5, 10, 11, 13]), expected, atol=1e-12)
    assert MAPPED.duration == pytest.approx(13.0)
    assert MAPPED.seconds(np.zeros((2, 3))).shape == (2, 3)


@given(st.lists(st.floats(0, 50), min_size=1, max_size=20))
def test_quarters_undo_seconds(positions):
    np.testing.assert_allclose(MAPPED.quarters(MAPPED.seconds(positions)), positions, atol=1e-9)


def test_bars_follow_the_metres_and_end_with_the_last_note():
    lengths = [4, 1.5, 1.5, 1.5, 3, 3]
    starts = [0, 4, 5.5, 7, 8.5, 11.5]
    assert MAPPED.bars() == tuple(zip(starts, lengths, strict=True))
    assert Score(()).bars() == ()
    assert [MAPPED.meter_at(q) for q in (0, 3.9, 4, 8.4, 8.5, 99)] == [(4, 4), (4, 4), (3, 8), (3, 8), (3, 4), (3, 4)]


def test_a_change_of_metre_cuts_the_bar_it_falls_into():
    track = Track(0, False, "", [(0, 7, 60, 80)])
    assert Score((track,), meters=((0, 4, 4), (5, 2, 4))).bars() == ((0, 4), (4, 1), (5, 2))
    assert Score((track.with_notes([(0, 4, 60, 80)]),), meters=((0, 4, 4), (5, 2, 4))).bars() == ((0, 4),)


def test_transposition_moves_pitches_and_key_but_not_drums():
    drums = Track(0, True, "drums", [(0, 1, 36, 90)])
    score = Score((Track(40, False, "violin", [(0, 1, 60, 80)]), drums), key=Key(9, "minor"))
    moved = score.transposed(5)
    assert moved.tracks[0].notes[0, 2] == 65
    assert moved.tracks[1] == drums
    assert moved.key == Key(2, "minor")
    assert moved.transposed(-5) == score
    with pytest.raises(InputError, match=r"violin.*beyond 0–127"):
        score.transposed(68)


def test_merging_leaves_drums_out_unless_asked():
    score = Score((Track(0, False, "", [(1, 1, 60, 80)]), Track(0, True, "", [(0, 1, 36, 90)])))
    assert score.merged()[:, 2].tolist() == [60]
    assert score.merged(drums=True)[:, 2].tolist() == [36, 60]
    assert Score(()).merged().shape == (0, 4)


def test_a_passage_keeps_what_begins_in_it_and_the_maps_in_force():
    passage = MAPPED.between(5, 12)
    assert passage.tracks[0].notes.tolist() == [[6, 1, 64, 80]]
    assert passage.tempos == ((0, 120), (5, 30))
    assert passage.meters == ((0, 3, 8), (3.5, 3, 4))
    with pytest.raises(InputError, match="passage"):
        MAPPED.between(3, 3)


def test_scores_compare_by_their_notes_and_hash_alike():
    first, second = (Score((Track(0, False, "", [(0, 1, 60, 80)]),)) for _ in range(2))
    assert first == second
    assert hash(first) == hash(second)
    assert first != Score((Track(0, False, "", [(0, 1, 61, 80)]),))
    assert len(Score((*first.tracks, Track(1, False, "empty", []))).sounding().tracks) == 1
