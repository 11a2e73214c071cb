import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavegen.errors import InputError
from wavegen.music.attributes import MODES, Key
from wavegen.music.keys import ALBRECHT_SHANAHAN, KRUMHANSL_KESSLER, estimate_key, histogram
from wavegen.music.score import Score, Track


def tune(text, start=60):
    """Quarters of the degrees in semitones above `start`."""
    return np.array([(at, 1.0, start + int(step), 80) for at, step in enumerate(text.split())], dtype=float)


MELODIES = {
    "major": tune("0 2 4 5 7 9 7 5 4 2 0 4 7 4 0"),
    "minor": tune("0 2 3 5 7 8 7 5 3 2 0 3 7 3 0"),
    "dorian": tune("0 2 3 5 7 9 10 9 7 5 3 9 7 3 0"),
    "mixolydian": tune("0 4 7 10 9 7 5 4 2 0 10 9 7 4 0"),
}


@pytest.mark.parametrize("profiles", [KRUMHANSL_KESSLER, ALBRECHT_SHANAHAN])
@pytest.mark.parametrize("mode", ["major", "minor"])
@pytest.mark.parametrize("tonic", range(12))
def test_scale_tunes_are_heard_in_their_key(mode, tonic, profiles):
    notes = MELODIES[mode] + [0, 0, tonic, 0]
    key, correlation = estimate_key(notes, profiles=profiles)
    assert key == Key(tonic, mode)
    assert 0.7 < correlation <= 1


@pytest.mark.parametrize("mode", MODES)
def test_modes_are_told_apart_when_asked_for(mode):
    assert estimate_key(MELODIES[mode] + [0, 0, 2, 0], modes=MODES, last_note=True)[0] == Key(2, mode)


def test_the_last_note_decides_between_relatives():
    notes = tune("0 2 4 5 7 9 11 9 7 5 4 2 0 9 0 4 9", 60)
    assert estimate_key(np.vstack((notes, [(17, 1, 57, 80)])), last_note=True)[0] == Key(9, "minor")
    assert estimate_key(np.vstack((notes, [(17, 1, 60, 80)])), last_note=True)[0] == Key(0, "major")


def test_durations_weigh_and_drums_do_not():
    score = Score((Track(0, False, "", [(0, 3, 61, 80), (0, 0.5, 73, 1)]), Track(0, True, "", [(0, 9, 36, 80)])))
    np.testing.assert_array_equal(histogram(score), [0, 3.5] + 10 * [0])


@given(st.integers(0, 11), st.lists(st.tuples(st.integers(40, 80), st.integers(1, 8)), min_size=1, max_size=20))
def test_estimates_move_with_the_music(shift, notes):
    array = np.array([(at, length, pitch, 64) for at, (pitch, length) in enumerate(notes)], dtype=float)
    key, correlation = estimate_key(array)
    moved, again = estimate_key(array + np.array((0, 0, shift, 0)))
    assert again == pytest.approx(correlation, abs=1e-9)
    # Two keys may fit equally well; the one found must fit as well as any.
    assert moved == Key((key.tonic + shift) % 12, key.mode) or np.isclose(
        estimate_key(array, modes=(moved.mode,))[1], correlation, atol=1e-9
    )


def test_a_flat_histogram_has_no_correlation():
    notes = np.array([(at, 1.0, 60 + at, 64) for at in range(12)])
    assert estimate_key(notes) == (Key(0, "major"), 0.0)


def test_no_notes_and_strange_modes_are_refused():
    with pytest.raises(InputError, match="no notes"):
        estimate_key(np.empty((0, 4)))
    with pytest.raises(InputError, match="lydian"):
        estimate_key(MELODIES["major"], modes=("lydian",))
