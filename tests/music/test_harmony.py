import numpy as np
import pytest

from wavegen.errors import InputError
from wavegen.music.attributes import STYLES, Key, Meter
from wavegen.music.harmony import chord_of, harmonise, parse_chord, roman, symbol, tables, tones_by_quality
from wavegen.music.leadsheet import QUALITIES, Chord
from wavegen.music.progressions import chord, progression, styles

FOUR = Meter.parse("4/4")


def held(*pitches):
    return [[(pitch, 48, False)] for pitch in pitches]


def broken(*chords):
    return [[(pitch, 12, False) for pitch in four] for four in chords]


def test_tables_are_counts_of_known_chords():
    for mode, tonic in (("major", "maj"), ("minor", "min")):
        table = tables()[mode]
        size = len(table.chords)
        assert table.change.shape == (size, size)
        assert table.tones.shape == (size, 12)
        assert table.chords[0] == Chord(0, tonic)
        assert np.trace(table.change) == 0
        to_tonic = table.change[table.chords.index(Chord(7, "7")), 0]
        assert to_tonic == table.change[table.chords.index(Chord(7, "7"))].max()


def test_a_melody_prefers_the_tones_of_its_chord():
    for quality, row in tones_by_quality().items():
        assert row.sum() == pytest.approx(1)
        assert row[list(QUALITIES[quality])].sum() > 0.7


def test_broken_chords_are_harmonised_by_themselves():
    bars = broken((60, 64, 67, 72), (65, 69, 72, 69), (67, 71, 74, 71), (72, 67, 64, 60))
    found = [chords[0][1] for chords in harmonise(bars, Key(0), FOUR)]
    assert [c.root for c in found] == [0, 5, 7, 0]
    assert found[2].quality in ("maj", "7")


def test_harmony_moves_with_the_key():
    bars = broken((60, 64, 67, 72), (65, 69, 72, 69), (67, 71, 74, 71), (72, 67, 64, 60))
    higher = [[(pitch + 5, ticks, tied) for pitch, ticks, tied in bar] for bar in bars]
    assert harmonise(higher, Key(5), FOUR) == harmonise(bars, Key(0), FOUR)


def test_chords_change_in_the_middle_only_where_the_metre_has_one():
    halves = [[(60, 12, False), (64, 12, False), (67, 12, False), (71, 6, False), (74, 6, False)]] * 4
    for name, bar in (("4/4", halves), ("3/4", [[(60, 18, False), (71, 18, False)]] * 4)):
        ticks = {tick for chords in harmonise(bar, Key(0), Meter.parse(name)) for tick, _ in chords}
        assert ticks == ({0, 24} if name == "4/4" else {0})
    assert all(len(chords) == 1 for chords in harmonise(halves, Key(0), FOUR, halves=False))


def test_a_cadence_closes_on_the_tonic():
    minor = harmonise(held(69, 74, 71, 69), Key(9, "minor"), FOUR)
    assert minor[-1][-1][1] == Chord(0, "min")
    assert minor[-2][-1][1].root in (7, 10)
    assert harmonise([], Key(0), FOUR) == []


def test_modes_take_their_own_chords():
    bars = broken((62, 65, 69, 74), (60, 64, 67, 60), (62, 65, 69, 74), (62, 69, 65, 62))
    assert harmonise(bars, Key(2, "dorian"), FOUR)[1][0][1] == Chord(10, "maj")
    rests = [[(None, 48, False)]] * 3
    assert len(harmonise(rests, Key(2, "mixolydian"), FOUR)) == 3


@pytest.mark.parametrize("quality", QUALITIES)
@pytest.mark.parametrize("root", [0, 4, 11])
def test_chords_are_found_in_their_tones(root, quality):
    weights = np.bincount(Chord(root, quality).pitch_classes, minlength=12).astype(float)
    assert chord_of(weights, root) == Chord(root, quality)


def test_silence_has_no_chord_and_passing_tones_do_not_matter():
    assert chord_of(np.zeros(12)) is None
    weights = np.zeros(12)
    weights[[0, 4, 7]] = 4
    weights[2] = 1
    assert chord_of(weights, 0) == Chord(0)


def test_names():
    assert [roman(parse_chord(name)) for name in ("0:maj", "2:min7", "7:7", "10:maj", "11:dim")] == [
        "I", "ii7", "V7", "bVII", "viio",
    ]  # fmt: skip
    assert symbol(Chord(9, "min")) == "Am"
    assert symbol(Chord(7, "7"), Key(2)) == "A7"
    assert symbol(Chord(4, "min"), Key(2)) == "F#m"
    for bad in ("maj", "0:sus", "12:maj", ""):
        with pytest.raises(InputError):
            parse_chord(bad)


def test_numerals_are_read():
    assert chord("bVI") == Chord(8)
    assert chord("ii7") == Chord(2, "min7")
    assert chord("V7") == Chord(7, "7")
    assert chord("iio") == Chord(2, "dim")
    assert chord("bII") == Chord(1)
    assert chord("vi") == Chord(9, "min")


@pytest.mark.parametrize("style", styles())
@pytest.mark.parametrize("mode", ["dorian", "mixolydian"])
def test_church_modes_have_no_fixed_progression(style, mode):
    assert progression(style, mode, FOUR, 8, "authentic", np.random.default_rng(1)) is None


@pytest.mark.parametrize("style", styles())
@pytest.mark.parametrize("mode", ["major", "minor"])
@pytest.mark.parametrize("bars", [1, 2, 8, 13])
def test_progressions_fill_their_bars_and_close(style, mode, bars):
    tonic = "min" if mode == "minor" else "maj"
    generator = np.random.default_rng(bars)
    found = progression(style, mode, FOUR, bars, "authentic", generator)
    assert len(found) == bars
    assert found[-1] == ((0, Chord(0, tonic)),)
    if bars > 1:
        assert found[-2][0][1].root == 7
        assert progression(style, mode, FOUR, bars, "plagal", generator)[-2][0][1].root == 5
    assert progression(style, mode, FOUR, bars, "half", generator)[-1] == ((0, Chord(7)),)


def test_styles_without_progressions_leave_them_to_the_model():
    assert progression("jig", "major", Meter.parse("6/8"), 8, None, np.random.default_rng(0)) is None
    assert set(styles()) < set(STYLES)


def test_the_blues_has_twelve_bars():
    found = progression("blues", "major", FOUR, 12, "authentic", np.random.default_rng(0))
    assert [chords[0][1].root for chords in found[4:6]] == [5, 5]
    assert found[0][0][1] == Chord(0, "7")
