import numpy as np
import pytest

from wavegen.music.arrange import arrange
from wavegen.music.arrange.accompaniment import Seat, accompany
from wavegen.music.arrange.bass import BassSeat, bass_line
from wavegen.music.arrange.figures import (
    BAR,
    TASTES,
    Family,
    Note,
    Pattern,
    beside,
    draw,
    fit,
    learnt,
    patterns,
    semitones,
)
from wavegen.music.arrange.frame import frame_of
from wavegen.music.attributes import METERS, MODES, STYLES, Attributes, Key, Meter
from wavegen.music.instruments import playable_range
from wavegen.music.leadsheet import QUALITIES, Bar, Chord, LeadSheet

FOUR = Meter(4, 4)
CHORDS = {
    "major": (Chord(0), Chord(9, "min"), Chord(5), Chord(7, "7")),
    "minor": (Chord(0, "min"), Chord(8), Chord(5, "min"), Chord(7)),
    "dorian": (Chord(0, "min"), Chord(10), Chord(5), Chord(7, "min")),
    "mixolydian": (Chord(0), Chord(10), Chord(5), Chord(7, "min")),
}


def sheet(key, bars=16):
    """The tonic held in every bar; each third bar of four changes its chord in the middle."""
    first, second, third, fourth = CHORDS[key.mode]
    loop = (((0, first),), ((0, second),), ((0, third), (24, fourth)), ((0, fourth),))
    last = bars - 1
    made = [
        Bar(loop[0] if n == last else loop[n % 4], ((60 + key.tonic, BAR, False),)) for n in range(bars)
    ]  # fmt: skip
    return LeadSheet(key, FOUR, "folk", tuple(made))


def played(style, key, seed=0, instruments=(73, 30, 27, 33), sections=(("A", 8), ("B", 4), ("A", 4))):
    attributes = Attributes(key, 120.0, FOUR, instruments, False, style, None, 16, 70, seed)
    return arrange(sheet(key), attributes, np.random.default_rng(seed), sections=sections)


def in_bar(notes, number):
    inside = notes[(notes[:, 0] >= 4 * number) & (notes[:, 0] < 4 * number + 4)]
    return [(round(onset - 4 * number, 6), pitch) for onset, _, pitch, _ in inside]


def pattern(*notes, **counts):
    known = {"after": {}, "turn": {}, "chords": {}, **counts}
    return Pattern(tuple(Note(*note) for note in notes), {"heavy": 1.0}, 120.0, **known)


def test_the_table_is_whole():
    known = patterns()
    assert len(known["bass"]) >= 150
    assert len(known["chords"]) >= 200
    for what, entries in known.items():
        assert len({tuple(note[:3] for note in entry.notes) for entry in entries}) == len(entries)
        for entry in entries:
            ends = [note.tick + note.ticks for note in entry.notes]
            starts = [note.tick for note in entry.notes]
            assert starts[0] >= 0
            assert all(end <= start for end, start in zip(ends, [*starts[1:], BAR], strict=True))
            assert all(note.ticks >= 2 and abs(note.accent) <= 6 for note in entry.notes)
            words = {note.tone for note in entry.notes if isinstance(note.tone, str)}
            assert words <= ({"below", "above"} if what == "bass" else {"chord", "power"})
            assert all(-7 <= note.tone <= 14 for note in entry.notes if isinstance(note.tone, int))
            assert entry.kinds
            assert set(entry.kinds) <= {"heavy", "synth", "band", "quiet"}
            assert all(0 <= place < len(entries) for place in (*entry.after, *entry.turn))
            assert all(0 <= place < len(known["chords"]) for place in entry.chords)
            assert 40 < entry.tempo < 300
    assert sum(bool(entry.after) for entry in known["bass"]) > 100
    assert sum(bool(entry.chords) for entry in known["bass"]) > 100
    assert all(entry.notes[0].tone in (0, 7, -7) for entry in known["bass"])  # they begin on the root


def test_syncopation_is_that_of_longuet_higgins_and_lee():
    assert pattern(*((tick, 6, 0) for tick in range(0, BAR, 6))).syncopation == 0
    assert pattern((0, 48, 0)).syncopation == 0
    assert pattern((6, 42, 0)).syncopation == 3  # an eighth held over the next bar line
    assert pattern((0, 9, 0), (9, 9, 0), (18, 6, 0), (24, 9, 0), (33, 9, 0), (42, 6, 0)).syncopation == 4
    assert pattern((0, 18, 0), (18, 30, 0)).syncopation == 2  # over the middle of the bar


def test_which_styles_and_metres_are_learnt():
    assert {"rock", "metal", "pop", "funk", "electronic"} == set(TASTES) <= set(STYLES)
    assert [meter.name for meter in METERS if learnt("rock", meter)] == ["4/4"]
    assert not learnt("waltz", FOUR)


@pytest.mark.parametrize("style", sorted(TASTES))
def test_styles_draw_what_they_like(style):
    tempo = float(np.mean(STYLES[style].tempo))
    drawn = [draw(style, tempo, ["A"], [False], np.random.default_rng(seed)).bass["A"].base for seed in range(60)]
    assert len({entry.notes for entry in drawn}) >= 20
    assert np.mean([len(entry.notes) for entry in drawn]) == pytest.approx(TASTES[style].bass, rel=0.35)


def test_metal_is_busier_than_rock_and_funk_more_syncopated():
    def mean(style, value):
        weights = [fit(entry, style, 120.0, TASTES[style].bass) for entry in patterns()["bass"]]
        return np.average([value(entry) for entry in patterns()["bass"]], weights=weights)

    assert mean("metal", lambda entry: len(entry.notes)) > mean("rock", lambda entry: len(entry.notes)) + 0.5
    assert mean("funk", lambda entry: entry.syncopation) > mean("rock", lambda entry: entry.syncopation) + 1.5


def test_a_drawing_follows_from_its_generator():
    drawn = [draw("rock", 120.0, "ABA", [True, False], np.random.default_rng(seed)) for seed in (4, 4, 5)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert set(drawn[0].bass) == {"A", "B"}
    assert len(drawn[0].chords) == 2


def test_letters_differ_and_phrases_close_otherwise():
    closes = 0
    for seed in range(20):
        bass = draw("metal", 150.0, "ABC", [], np.random.default_rng(seed)).bass
        assert len({family.base.notes for family in bass.values()}) == 3
        for family in bass.values():
            closes += family.turn != family.base
            for entry in family:
                assert 0.5 <= len(entry.notes) / len(family.base.notes) <= 2 or entry == family.turn
    assert closes >= 45  # of 60


def test_more_letters_than_can_differ_are_drawn():
    letters = [str(number) for number in range(300)]
    assert len(draw("rock", 120.0, letters, [False], np.random.default_rng(0)).bass) == 300


def test_parts_without_bare_fifths_get_chords_or_broken_ones():
    for seed in range(30):
        family = draw("metal", 150.0, "A", [False], np.random.default_rng(seed)).chords[0]["A"]
        assert family.base.chordal or family.base.broken


def test_a_chordal_part_goes_with_the_bass():
    together = 0
    for seed in range(40):
        drawn = draw("rock", 120.0, "A", [True], np.random.default_rng(seed))
        number = patterns()["chords"].index(drawn.chords[0]["A"].base)
        together += number in drawn.bass["A"].base.chords
    assert together >= 12


@pytest.mark.parametrize("mode", MODES)
def test_steps_are_tones_of_the_chord_or_of_the_scale(mode):
    key = Key(3, mode)
    for root in range(12):
        for quality, tones in QUALITIES.items():
            chord = Chord(root, quality)
            assert [semitones(step, chord, key) for step in (0, 2, 4)] == list(tones[:3])
            assert semitones(7, chord, key) == 12
            if len(tones) == 4:
                assert semitones(6, chord, key) == tones[3]
            for step in range(-7, 15):
                found = semitones(step, chord, key)
                assert (root + found) % 12 in {*key.scale, *chord.pitch_classes}
                assert abs(found - step * 12 / 7) < 12


def test_steps_beside_a_tone():
    assert beside(60, -1, Key(0)) == 59
    assert beside(60, 1, Key(0)) == 62
    assert beside(60, -1, Key(0, "mixolydian")) == 58


def test_a_bass_follows_the_chords_of_the_bar():
    key = Key(0)
    frame = frame_of(sheet(key, 4), "rock", (("A", 4),))
    line = pattern((0, 18, 0), (18, 18, 4), (36, 6, -3), (42, 6, "below"))
    events = bass_line(frame, "eighths", BassSeat(28, 56, 35.0), {"A": Family(line, line, line)})
    first = [event for event in events if event.onset < BAR]
    assert [event.pitch for event in first] == [36, 43, 31, 31]  # C, G, G below; G again leads up to A
    third = [event for event in events if 2 * BAR <= event.onset < 3 * BAR]
    assert [(event.onset - 2 * BAR, event.ticks) for event in third] == [(0, 18), (18, 6), (24, 12), (36, 6), (42, 6)]
    assert [event.pitch % 12 for event in third[:3]] == [5, 0, 7]  # F, its fifth, and G where that chord begins
    assert [(event.onset, event.ticks, event.pitch) for event in events if event.onset >= 3 * BAR] == [(144, 48, 36)]


def test_a_chord_begins_with_its_root():
    frame = frame_of(sheet(Key(0), 4), "rock", (("A", 4),))
    line = pattern((0, 24, 4), (24, 24, 2))
    events = bass_line(frame, "eighths", BassSeat(28, 56, 35.0), {"A": Family(line, line, line)})
    roots = {event.onset: event.pitch % 12 for event in events}
    assert [roots[tick] for tick in (0, 48, 96, 120)] == [0, 9, 5, 7]


def test_chords_are_struck_as_the_pattern_says():
    frame = frame_of(sheet(Key(0), 4), "rock", (("A", 4),))
    base = pattern((0, 12, "power"), (12, 6, 0), (30, 18, "chord"))
    turn = pattern((0, 48, "chord"))
    families = {"A": Family(base, turn, turn)}
    events = accompany(frame, "block", Seat(40, 86, 50.0, None, 3, True), families)
    first = [(event.onset, event.ticks, event.pitch) for event in events if event.onset < BAR]
    assert first == [(0, 12, 48), (0, 12, 55), (0, 12, 60), (12, 6, 48), (30, 18, 48), (30, 18, 55), (30, 18, 60)]
    second = {event.onset - BAR for event in events if BAR <= event.onset < 2 * BAR}
    assert second == {0}


@pytest.mark.parametrize("style", sorted(TASTES))
@pytest.mark.parametrize("mode", MODES)
def test_a_piece_keeps_key_range_and_length(style, mode):
    for seed in range(4):
        key = Key((seed * 5) % 12, mode)
        score = played(style, key, seed)
        assert score == played(style, key, seed)
        assert score.end == pytest.approx(64.0)
        allowed = set(key.scale)
        for chord in CHORDS[mode]:
            allowed |= set(chord.transposed(key.tonic).pitch_classes)
        for track in score.tracks:
            assert {int(pitch) % 12 for pitch in track.notes[:, 2]} <= allowed
            low, high = playable_range(track.program)
            assert low <= track.notes[:, 2].min() <= track.notes[:, 2].max() <= high
        bass = score.tracks[3].notes
        assert in_bar(bass, 15) == [(0.0, bass[-1, 2])]
        assert bass[-1, 2] % 12 == key.tonic
        assert bass[-1, 1] == pytest.approx(4.0)
        tonic = set(CHORDS[mode][0].transposed(key.tonic).pitch_classes)
        assert {int(pitch) % 12 for _, pitch in in_bar(score.merged(), 15)} <= tonic


def test_sections_return_with_their_patterns():
    returned = otherwise = 0
    for seed in range(10):
        for track in played("rock", Key(2), seed).tracks[1:3]:
            first, second, later = (in_bar(track.notes, bar) for bar in (0, 8, 12))
            returned += [onset for onset, _ in first] == [onset for onset, _ in later]
            otherwise += first != second
    assert returned == 20
    assert otherwise >= 12


def test_other_metres_and_styles_go_by_rules():
    def line(style, meter, seed):
        made = tuple(Bar(((0, Chord(0)),), ((72, meter.ticks, False),)) for _ in range(8))
        attributes = Attributes(Key(0), 120.0, meter, (73, 27, 33), False, style, None, 8, 70, seed)
        score = arrange(LeadSheet(Key(0), meter, "folk", made), attributes, np.random.default_rng(seed))
        return [track.notes[:, :3].tolist() for track in score.tracks]

    assert line("rock", Meter(3, 4), 0) == line("rock", Meter(3, 4), 1)
    assert line("blues", FOUR, 0) == line("blues", FOUR, 1)
    assert line("rock", FOUR, 0) != line("rock", FOUR, 1)


def test_a_bass_held_over_many_chords_follows_them_all():
    chords = tuple((tick, chord) for tick, chord in zip((0, 12, 24, 36), CHORDS["major"], strict=True))
    held = LeadSheet(Key(0), FOUR, "rock", (Bar(chords, ((60, BAR, False),)),) * 2)
    frame = frame_of(held, "rock", (("A", 2),))
    line = pattern((0, BAR, 0))
    events = bass_line(frame, "eighths", BassSeat(28, 56, 35.0), {"A": Family(line, line, line)})[:4]
    assert [(event.onset, event.ticks, event.pitch % 12) for event in events] == [
        (0, 12, 0), (12, 12, 9), (24, 12, 5), (36, 12, 7),
    ]  # fmt: skip
