"""Keys, metres, styles, attributes and instruments: names, numbers, ranges and what is refused."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavegen.errors import InputError
from wavegen.music.attributes import METERS, MODES, STYLES, TUNE_STYLES, Attributes, Key, Meter
from wavegen.music.instruments import FAMILIES, GM_NAMES, family, playable_range, roles, usual_name

PIECE = Attributes(Key(7), 90.0, Meter(3, 4), (73, 0), False, "waltz", None, 32, 80, 7)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("G major", "G major"),
        ("Bb minor", "Bb minor"),
        ("F#m", "F# minor"),
        ("Bbm", "Bb minor"),
        ("Bbmaj", "Bb major"),
        ("Am", "A minor"),
        ("AM", "A major"),
        ("D dorian", "D dorian"),
        ("g mixolydian mode", "G mixolydian"),
        ("G大调", "G major"),
        ("升F小调", "F# minor"),
        ("降B大调", "Bb major"),
        ("C调", "C major"),
        ("F sharp minor", "F# minor"),
        ("B flat", "Bb major"),
        ("E-flat minor", "Eb minor"),
        ("C♯ minor", "C# minor"),
        ("e♭", "Eb major"),
        ("Gb major", "F# major"),
        ("Cb major", "B major"),
        ("b", "B major"),
        ("bb", "Bb major"),
        ("B-Dur", "Bb major"),
        ("h-Moll", "B minor"),
        ("Fis-Moll", "F# minor"),
    ],
)
def test_a_key_is_read_and_spelt_by_usage(text: str, name: str) -> None:
    assert Key.parse(text).name == name


@pytest.mark.parametrize("text", ["", "H", "Gg", "b b b", "升F#", "major", "G majorr", "🎵", "H major"])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is not a key"):
        Key.parse(text)


def test_other_modes_are_refused_by_name() -> None:
    with pytest.raises(InputError, match="'lydian' is not supported; supported are major, minor, dorian, mixolydian"):
        Key.parse("F lydian")
    with pytest.raises(InputError, match="phrygian"):
        Key(0, "phrygian")
    with pytest.raises(InputError, match="pitch class"):
        Key(12)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("tonic", range(12))
def test_a_key_survives_its_name_and_its_signature_gives_its_scale(tonic: int, mode: str) -> None:
    key = Key(tonic, mode)
    assert Key.parse(key.name) == key
    assert -6 <= key.fifths <= 6
    assert {(7 * key.fifths + step) % 12 for step in MODES["major"]} == set(key.scale)
    assert key.scale[0] == tonic


def test_metres_have_the_ticks_and_beats_of_notation() -> None:
    found = {meter.name: (meter.ticks, meter.beat, meter.beats, meter.tempo_unit) for meter in METERS}
    assert len(found) == 13
    assert found["3/4"] == (36, 12, 3, 12)
    assert found["2/2"] == (48, 24, 2, 12)
    assert found["3/8"] == (18, 6, 3, 12)
    assert found["6/8"] == (36, 18, 2, 18)
    assert found["12/8"] == (72, 18, 4, 18)
    assert found["7/8"] == (42, 6, 7, 12)
    assert all(beat * beats == ticks for ticks, beat, beats, _ in found.values())


def test_a_metre_is_parsed_or_refused_with_a_list() -> None:
    assert Meter.parse(" 6/8 ") == Meter(6, 8)
    for text in ("11/8", "3/5", "4", "three", "4/4/4", "-3/4", "0/4"):
        with pytest.raises(InputError, match="supported are 2/4, 3/4, 4/4"):
            Meter.parse(text)


@pytest.mark.parametrize("style", STYLES.values(), ids=lambda style: style.name)
def test_a_style_is_whole(style) -> None:
    assert 20 <= style.tempo[0] < style.tempo[1] <= 300
    assert 0 <= style.major <= 1
    assert style.meters
    assert set(style.meters) <= set(METERS)
    assert style.instruments
    assert all(0 <= program <= 127 for program in style.instruments)
    assert style.tune in TUNE_STYLES
    assert "lead" in roles(style.instruments[0]) or style.name == "ambient"


def test_the_styles_of_the_contract_are_there() -> None:
    names = (
        "chorale waltz jig reel hornpipe march polka air strathspey slip-jig ballad lullaby pop rock metal blues jazz"
    )
    names += " bossa funk classical ambient tango minuet folk electronic"
    assert set(names.split()) == set(STYLES)


def test_seconds_count_the_metres_own_beat() -> None:
    assert PIECE.seconds == pytest.approx(32 * 3 * 60 / 90)
    jig = dataclasses.replace(PIECE, meter=Meter(6, 8), tempo=120.0, style="jig")
    assert jig.quarter_tempo == 180
    assert jig.seconds == pytest.approx(32)
    assert dataclasses.replace(PIECE, meter=Meter(7, 8), tempo=120.0, style="folk").seconds == pytest.approx(
        32 * 3.5 / 2
    )


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("tempo", 19.9, "tempo 19.9 is outside 20 to 300"),
        ("tempo", float("nan"), "outside 20 to 300"),
        ("bars", 0, "0 bars is outside 1 to 512"),
        ("bars", 513, "513 bars"),
        ("dynamics", 121, "dynamics 121"),
        ("seed", -1, "seed -1"),
        ("style", "polonaise", "'polonaise' is unknown; known are"),
        ("instruments", (), "0 instruments"),
        ("instruments", (128,), "program 128"),
        ("instruments", (0,) * 16, "16 instruments"),
    ],
)
def test_attributes_out_of_range_are_refused(field: str, value: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        dataclasses.replace(PIECE, **{field: value})


@given(
    st.integers(0, 11), st.sampled_from(list(MODES)), st.floats(20, 300), st.sampled_from(METERS),
    st.lists(st.integers(0, 127), min_size=1, max_size=15), st.booleans(), st.sampled_from(list(STYLES)),
    st.none() | st.just("sad"), st.integers(1, 512), st.integers(20, 120), st.integers(0, 2**63 - 1),
)  # fmt: skip
def test_attributes_survive_json(tonic, mode, tempo, meter, programs, drums, style, mood, bars, dynamics, seed) -> None:
    piece = Attributes(Key(tonic, mode), tempo, meter, tuple(programs), drums, style, mood, bars, dynamics, seed)
    assert Attributes.from_dict(json.loads(json.dumps(piece.to_dict()))) == piece


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"key": 3}, "field 'key' cannot be 3"),
        ({"bars": True}, "field 'bars' cannot be True"),
        ({"drums": 1}, "field 'drums'"),
        ({"instruments": ["flute"]}, "must hold whole numbers"),
        ({"colour": 1}, "'colour' is unknown"),
        ({"tempo": "90"}, "field 'tempo'"),
    ],
)
def test_a_wrong_dictionary_is_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Attributes.from_dict(PIECE.to_dict() | change)
    with pytest.raises(InputError, match="'key' is missing"):
        Attributes.from_dict({name: value for name, value in PIECE.to_dict().items() if name != "key"})


def test_instruments_are_those_of_general_midi() -> None:
    assert len(GM_NAMES) == len(set(GM_NAMES)) == 128
    known = {0: "Acoustic Grand Piano", 24: "Acoustic Guitar (nylon)", 40: "Violin", 56: "Trumpet", 73: "Flute"}
    known |= {
        19: "Church Organ",
        47: "Timpani",
        63: "Synth Brass 2",
        88: "Pad 1 (new age)",
        104: "Sitar",
        127: "Gunshot",
    }
    assert {program: GM_NAMES[program] for program in known} == known
    assert [family(program) for program in (0, 39, 40, 127)] == ["piano", "bass", "strings", "sound effects"]
    assert len(FAMILIES) == 16
    assert len({usual_name(program) for program in range(128)}) == 128


def test_ranges_and_roles_are_usable() -> None:
    for program in range(128):
        low, high = playable_range(program)
        assert 21 <= low < high <= 108
        assert high - low >= 12
        assert roles(program)
        assert set(roles(program)) <= {"lead", "chordal", "bass", "pad"}
    assert playable_range(40) == (55, 103)
    assert playable_range(0) == (21, 108)
    assert roles(33) == ("bass",)
    for program in (-1, 128):
        with pytest.raises(InputError, match="outside 0 to 127"):
            playable_range(program)
