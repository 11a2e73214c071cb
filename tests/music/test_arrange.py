import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavegen.music.arrange import arrange, note_rows, track_names
from wavegen.music.arrange.accompaniment import FIGURES, STYLE_FIGURES
from wavegen.music.arrange.bass import LINES, STYLE_LINES
from wavegen.music.arrange.frame import Event
from wavegen.music.arrange.roles import assign
from wavegen.music.arrange.voices import RHYTHMS
from wavegen.music.arrange.voicing import lead_voices, placed, tones, voice_chord
from wavegen.music.attributes import METERS, STYLES, Attributes, Key, Meter
from wavegen.music.instruments import playable_range
from wavegen.music.leadsheet import Bar, Chord, LeadSheet

LOOP = (Chord(0), Chord(9, "min"), Chord(5), Chord(7, "7"))


def sheet(meter=Meter(4, 4), bars=8, key=Key(2)):  # noqa: B008
    minor = key.is_minor
    made = []
    for number in range(bars):
        last = number == bars - 1
        chord = Chord(0, "min" if minor else "maj") if last else LOOP[number % 4]
        tone = key.tonic + 72 + chord.root - (12 if chord.root > 6 else 0)
        count = 1 if last else meter.ticks // 6
        notes = [(tone + (i % 3) * 2, meter.ticks // count, False) for i in range(count)]
        made.append(Bar(((0, chord),), tuple(notes)))
    return LeadSheet(key, meter, "folk", tuple(made))


def attributes(style="folk", instruments=(73, 0), meter=Meter(4, 4), bars=8, drums=False, dynamics=70):  # noqa: B008
    return Attributes(Key(2), 100.0, meter, tuple(instruments), drums, style, None, bars, dynamics, 1)


def played(sheet_, given_, seed=0, **options):
    return arrange(sheet_, given_, np.random.default_rng(seed), **options)


def sounding_bars(notes, quarters, bars):
    found = set()
    for onset, duration in notes[:, :2]:
        found |= set(range(int(onset / quarters + 1e-9), int(np.ceil((onset + duration) / quarters - 1e-9))))
    return len(found & set(range(bars))) / bars


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 127), min_size=1, max_size=15),
    st.sampled_from(sorted(STYLES)),
    st.sampled_from(METERS),
    st.booleans(),
    st.integers(30, 100),
)
def test_any_instruments_in_any_style_and_metre(programs, style, meter, drums, dynamics):
    bars = 8
    score = played(sheet(meter, bars), attributes(style, programs, meter, bars, drums, dynamics))
    pitched = [track for track in score.tracks if not track.is_drum]
    assert [track.program for track in pitched] == programs
    assert sum(track.is_drum for track in score.tracks) == drums
    assert score.end <= bars * meter.quarters + 1e-9
    for track in pitched:
        low, high = playable_range(track.program)
        assert low <= track.notes[:, 2].min()
        assert track.notes[:, 2].max() <= high
        assert sounding_bars(track.notes, meter.quarters, bars) >= 0.5
    loud = np.concatenate([track.notes[:, 3] for track in score.tracks])
    assert abs(loud.mean() - dynamics) < 1.0


def test_metre_tempo_key_are_written_exactly():
    score = played(sheet(Meter(6, 8)), attributes("jig", (73, 25), Meter(6, 8)))
    assert score.tempos == ((0.0, 150.0),)  # 100 dotted quarters
    assert score.meters == ((0.0, 6, 8),)
    assert score.key == Key(2)


def test_the_melody_keeps_its_notes_and_the_first_instrument_has_it():
    given_ = sheet()
    score = played(given_, attributes())
    melody = np.array([(onset / 12, ticks / 12, pitch % 12) for onset, ticks, pitch in given_.melody()])
    notes = score.tracks[0].notes
    assert np.allclose(np.stack([notes[:, 0], notes[:, 1], notes[:, 2] % 12], axis=1), melody)


def test_the_same_generator_gives_the_same_score():
    first, again = (played(sheet(), attributes(drums=True), seed=5) for _ in range(2))
    assert first == again
    assert first != played(sheet(), attributes(drums=True), seed=6)


@pytest.mark.parametrize("style", sorted(STYLES))
def test_the_last_bar_holds_the_tonic_chord(style):
    score = played(sheet(), attributes(style, (40, 0, 42)))
    start = 7 * 4.0
    classes = set()
    for track in score.tracks:
        last = track.notes[track.notes[:, 0] + track.notes[:, 1] > start + 1e-9]
        assert len(last)
        assert (last[:, 0] + last[:, 1]).max() == pytest.approx(32.0)
        classes |= {int(pitch) % 12 for pitch in last[last[:, 0] >= start, 2]}
    assert classes <= {2, 6, 9}
    assert {2, 6} <= classes
    bass = score.tracks[2].notes
    assert bass[-1, 2] % 12 == 2


def test_without_an_end_the_figure_goes_on():
    given_ = attributes("rock", (29, 27, 33))
    assert len(played(sheet(), given_, final=False).tracks[2]) > len(played(sheet(), given_).tracks[2])


def test_a_flute_is_alone_and_a_piano_accompanies_itself():
    flute = played(sheet(), attributes(instruments=(73,))).tracks[0].notes
    assert len(flute) == len(list(sheet().melody()))
    piano = played(sheet(), attributes("waltz", (0,))).tracks[0].notes
    assert len(piano) > len(flute)
    assert piano[:, 2].min() < 55


@pytest.mark.parametrize("style", ["classical", "waltz", "chorale", "pop"])
def test_a_solo_accompaniment_stays_below_its_melody(style):
    notes = played(sheet(), attributes(style, (0,))).tracks[0].notes
    for onset in np.unique(notes[:, 0]):
        at = notes[(notes[:, 0] <= onset) & (notes[:, 0] + notes[:, 1] > onset + 1e-9)]
        assert len(set(at[:, 2])) == len(at)


def test_no_pitch_is_struck_while_it_sounds():
    score = played(sheet(bars=16), attributes("metal", (30, 29, 34, 0, 48), bars=16, drums=True))
    for track in score.tracks:
        for pitch in np.unique(track.notes[:, 2]):
            own = track.notes[track.notes[:, 2] == pitch]
            assert (own[1:, 0] >= own[:-1, 0] + own[:-1, 1] - 1e-9).all()


def test_phrases_swell():
    score = played(sheet(bars=16), attributes(instruments=(73,), bars=16))
    notes = score.tracks[0].notes
    by_bar = [notes[(notes[:, 0] // 4) == bar, 3].mean() for bar in range(4)]
    assert max(by_bar[1:3]) > by_bar[0] + 2


def test_instruments_of_a_kind_are_numbered():
    assert track_names((40, 40, 41, 42)) == ["violin 1", "violin 2", "viola", "cello"]


def test_roles():
    def roles(*programs):
        return [part.role for part in assign(programs)]

    assert roles(73) == ["melody"]
    assert roles(0) == ["solo"]
    assert roles(73, 0) == ["melody", "chords"]
    assert assign((73, 0))[1].bass
    assert roles(42, 43) == ["melody", "bass"]
    assert roles(40, 40, 41, 42) == ["melody", "second", "inner", "bass"]
    assert roles(66, 0, 32) == ["melody", "chords", "bass"]
    assert not assign((66, 0, 32))[1].bass
    assert roles(73, 73, 73, 73).count("melody") == 1


def test_every_style_names_what_exists():
    assert set(STYLE_FIGURES) == set(STYLE_LINES) == set(STYLES) >= set(RHYTHMS)
    assert {name for names in STYLE_FIGURES.values() for name in names} <= set(FIGURES)
    assert set(STYLE_LINES.values()) <= set(LINES)


@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize("meter", METERS, ids=lambda meter: meter.name)
def test_figures_lie_inside_the_bar(figure, meter):
    for bar in range(4):
        drawn = FIGURES[figure](meter, bar)
        assert drawn
        assert all(0 <= tick < meter.ticks and ticks > 0 and tick + ticks <= meter.ticks for tick, ticks, _, _ in drawn)


def test_chords_move_little():
    voicing = voice_chord(Chord(0), (), 48, 72, 58)
    for chord in (Chord(5), Chord(7, "7"), Chord(0), Chord(9, "min"), Chord(2, "min7")):
        following = voice_chord(chord, voicing, 48, 72, 58)
        assert {pitch % 12 for pitch in following} <= set(chord.pitch_classes)
        assert chord.pitch_classes[1] in {pitch % 12 for pitch in following}
        assert max(abs(a - b) for a, b in zip(voicing, following, strict=True)) <= 5
        voicing = following


def test_voicings_fit_narrow_ranges():
    for low in range(30, 43):
        pitches = voice_chord(Chord(7, "7"), (), low, low + 11, low + 6, 4)
        assert pitches
        assert low <= min(pitches)
        assert max(pitches) <= low + 11
    assert tones(Chord(7, "7"), 3) == (7, 11, 5)
    assert len(tones(Chord(0), 4)) == 4


def test_inner_voices_take_the_third_and_do_not_cross():
    voices = lead_voices(Chord(0), (), 72, [(48, 79), (40, 70)])
    assert 4 in {pitch % 12 for pitch in voices}
    assert 72 > voices[0] > voices[1]


def test_melodies_are_moved_by_octaves():
    melody = [Event(0, 12, 36), Event(12, 12, 43)]
    high = placed(melody, 60, 96)
    assert [event.pitch % 12 for event in high] == [0, 7]
    assert high[1].pitch - high[0].pitch == 7
    assert all(60 <= event.pitch <= 96 for event in high)
    assert placed([], 60, 96) == []


def test_rows_are_cut_at_the_end_and_where_struck_again():
    rows = note_rows([(Event(0, 30, 60), 50.0), (Event(12, 100, 60), 60.0), (Event(48, 5, 62), 70.0)], 48)
    assert rows.tolist() == [[0, 1, 60, 50], [1, 3, 60, 60]]
