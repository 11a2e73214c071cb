import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavegen.errors import InputError
from wavegen.music.attributes import Key, Meter
from wavegen.music.leadsheet import Bar, Chord, LeadSheet, bars_of, from_score, melodic_track, skyline, to_score
from wavegen.music.score import Score, Track

C = Chord(0)


def sheet(notes, meter="4/4", key=None, chords=((0, C),)):
    return LeadSheet(key or Key(0), Meter.parse(meter), "folk", tuple(Bar(chords, tuple(bar)) for bar in notes))


def test_chords_hold_their_tones_wherever_they_stand():
    assert Chord(7, "7").pitch_classes == (7, 11, 2, 5)
    assert Chord(11, "dim").pitch_classes == (11, 2, 5)
    assert Chord(9, "min").transposed(5) == Chord(2, "min")


@pytest.mark.parametrize(("root", "quality"), [(12, "maj"), (-1, "maj"), (0, "sus4")])
def test_chords_that_are_none_are_refused(root, quality):
    with pytest.raises(InputError):
        Chord(root, quality)


def test_the_chord_at_a_tick_is_the_last_that_began():
    bar = Bar(((0, C), (24, Chord(7))), ((60, 48, False),))
    assert [bar.chord_at(tick).root for tick in (0, 23, 24, 47)] == [0, 0, 7, 7]


@pytest.mark.parametrize("places", [(), (12,), (0, 0), (0, 24, 12)])
def test_chords_begin_with_the_bar_and_ascend(places):
    with pytest.raises(InputError, match="chords"):
        Bar(tuple((tick, C) for tick in places), ((60, 48, False),))


def test_bars_that_are_not_full_name_their_number():
    with pytest.raises(InputError, match=r"bar 2: its notes last 36 ticks, but a bar of 4/4 has 48"):
        sheet([[(60, 48, False)], [(60, 36, False)]])


def test_a_tied_rest_and_a_chord_beyond_the_bar_are_refused():
    with pytest.raises(InputError, match="rest"):
        sheet([[(None, 48, True)]])
    with pytest.raises(InputError, match="beyond"):
        sheet([[(60, 36, False)]], "3/4", chords=((0, C), (36, C)))


def test_ties_join_notes_of_equal_pitch_only():
    joined = sheet([[(60, 24, False), (62, 24, False)], [(62, 12, True), (64, 36, True)]])
    assert list(joined.melody()) == [(0, 24, 60), (24, 36, 62), (60, 36, 64)]


def test_harmony_is_absolute():
    given = sheet([[(62, 48, False)]], key=Key(2), chords=((0, C), (24, Chord(7, "7"))))
    assert list(given.harmony()) == [(0, 24, Chord(2)), (24, 24, Chord(9, "7"))]


@st.composite
def lines(draw):
    notes, at = [], 0
    for _ in range(draw(st.integers(1, 20))):
        at += draw(st.integers(0, 15))
        ticks = draw(st.integers(1, 60))
        notes.append((at, ticks, draw(st.integers(40, 90))))
        at += ticks
    return notes


@settings(max_examples=60, deadline=None)
@given(lines(), st.sampled_from(["3/4", "4/4", "7/8", "12/8"]))
def test_bars_of_notes_give_the_same_notes_back(notes, name):
    meter = Meter.parse(name)
    count = -(-max(onset + ticks for onset, ticks, _ in notes) // meter.ticks)
    bars = bars_of(notes, meter, count)
    made = LeadSheet(Key(0), meter, "folk", tuple(Bar(((0, C),), bar) for bar in bars))
    assert list(made.melody()) == notes


def test_bars_of_leaves_out_what_lies_beyond():
    assert bars_of([(40, 20, 60), (70, 5, 62)], Meter.parse("4/4"), 1) == [((None, 40, False), (60, 8, False))]


def test_the_skyline_takes_the_highest_and_leaves_inner_voices():
    notes = np.array([[0, 2, 72, 80], [0, 1, 60, 80], [1, 1, 62, 80], [2, 2, 74, 80], [3, 1, 76, 80]], float)
    assert skyline(notes) == [(0, 24, 72), (24, 12, 74), (36, 12, 76)]


def test_a_lead_sheet_returns_from_its_score():
    bars = [[(72, 12, False), (74, 12, False), (76, 24, False)], [(79, 48, False)], [(74, 24, False), (71, 24, False)],
            [(72, 48, False)]]  # fmt: skip
    chords = [((0, C),), ((0, Chord(5)), (24, C)), ((0, Chord(7)),), ((0, C),)]
    given = LeadSheet(
        Key(2), Meter.parse("4/4"), "folk", tuple(Bar(c, tuple(b)) for c, b in zip(chords, bars, strict=True))
    )
    shifted = LeadSheet(
        given.key,
        given.meter,
        "folk",
        tuple(Bar(bar.chords, tuple((p + 2, d, t) for p, d, t in bar.notes)) for bar in given.bars),
    )
    score = to_score(shifted)
    assert score.end == 16.0
    assert from_score(score, 0, key=given.key).bars == shifted.bars


def test_the_melody_is_found_above_the_accompaniment():
    beats = np.arange(16.0)
    melody = np.stack([beats, np.ones(16), 72 + beats % 5, np.full(16, 80)], axis=1)
    low = np.stack([beats, np.ones(16), np.full(16, 40), np.full(16, 80)], axis=1)
    drums = np.stack([beats, np.ones(16), np.full(16, 99), np.full(16, 80)], axis=1)
    score = Score((Track(0, True, "drums", drums), Track(32, False, "", low), Track(73, False, "", melody)))
    assert melodic_track(score) == 2
    assert from_score(score).bars[0].notes[0] == (72, 12, False)
    with pytest.raises(InputError, match="no melody"):
        melodic_track(Score((Track(0, True, "drums", drums),)))
    with pytest.raises(InputError, match="track 0 holds no melody"):
        from_score(score, 0)


def test_a_score_that_changes_its_metre_has_no_lead_sheet():
    notes = np.array([[0.0, 8.0, 60, 80]])
    score = Score((Track(0, False, "", notes),), meters=((0.0, 4, 4), (4.0, 3, 4)))
    with pytest.raises(InputError, match="changes its metre"):
        from_score(score)


def test_a_note_that_ends_a_little_late_makes_no_bar():
    score = Score((Track(0, False, "", np.array([[0.0, 4.1, 60, 80]])),))
    assert len(from_score(score, key=Key(0)).bars) == 1
