"""Tokens: round trips of lead sheets and rolls, what may follow what, and every way that tokens can be wrong."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavegen.errors import InputError
from wavegen.music import attributes
from wavegen.music.attributes import Key, Meter
from wavegen.music.leadsheet import QUALITIES, Bar, Chord, LeadSheet
from wavegen.music.tokens import (
    HALVED,
    METERS,
    MODES,
    STYLES,
    Vocabulary,
    bar_ticks,
    beat_ticks,
    decode,
    decode_steps,
    encode,
    encode_steps,
    middle,
    vocabulary,
)
from wavegen.music.tokens import QUALITIES as TOKEN_QUALITIES

TUNE, ROLL = vocabulary("tune"), vocabulary("pianoroll")
C = Chord(0, "maj")


def names(tokens: Any) -> list[str]:
    return [TUNE.names[t] for t in tokens]


def sheet(*bars: Bar, key: str = "C major", meter: str = "4/4", style: str = "folk") -> LeadSheet:
    return LeadSheet(Key.parse(key), Meter.parse(meter), style, bars)


@st.composite
def sheets(draw: st.DrawFn) -> LeadSheet:
    """Lead sheets of any metre and key, with ties, rests and chords that change where they may."""
    meter = draw(st.sampled_from(METERS))
    key = Key(draw(st.integers(0, 11)), draw(st.sampled_from(MODES)))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    ticks, bars, sounding = bar_ticks(meter), [], None
    for _ in range(draw(st.integers(1, 40))):
        chords = [(0, Chord(int(random.integers(12)), str(random.choice(list(QUALITIES)))))]
        if meter in HALVED and random.random() < 0.4:
            chords.append((ticks // 2, Chord(int(random.integers(12)), str(random.choice(list(QUALITIES))))))
        notes, left = [], ticks
        while left:
            duration = int(random.integers(1, left + 1))
            tied = sounding is not None and random.random() < 0.3
            if not tied:
                sounding = None if random.random() < 0.2 else int(random.integers(60, 80))
            notes.append((sounding, duration, tied))
            left -= duration
        bars.append(Bar(tuple(chords), tuple(notes)))
    return LeadSheet(key, Meter.parse(meter), draw(st.sampled_from(STYLES)), tuple(bars))


def chord_at_every_tick(leadsheet: LeadSheet) -> list[Chord]:
    return [bar.chord_at(tick) for bar in leadsheet.bars for tick in range(leadsheet.meter.ticks)]


@settings(max_examples=50)
@given(sheets())
def test_a_lead_sheet_comes_back(leadsheet: LeadSheet) -> None:
    """The same melody, notes in pieces joined, up to octaves of the whole; the same chords at every tick."""
    tokens = encode(leadsheet)
    TUNE.check(tokens)
    again = decode(tokens, leadsheet.key)
    before, after = list(leadsheet.melody()), list(again.melody())
    assert [note[:2] for note in before] == [note[:2] for note in after]
    moved = {b[2] - a[2] for a, b in zip(before, after, strict=True)}
    assert len(moved) <= 1
    assert all(semitones % 12 == 0 for semitones in moved)
    assert chord_at_every_tick(again) == chord_at_every_tick(leadsheet)
    assert (again.meter, again.style, again.key) == (leadsheet.meter, leadsheet.style, leadsheet.key)
    assert np.array_equal(encode(again), tokens)


@settings(max_examples=50)
@given(sheets(), st.integers(0, 11))
def test_every_key_is_written_in_c(leadsheet: LeadSheet, tonic: int) -> None:
    """Transposed as a whole, it is the same tokens: but for a mean that lies just between two octaves."""
    up = (tonic - leadsheet.key.tonic) % 12
    bars = tuple(
        Bar(bar.chords, tuple((None if p is None else p + up, d, tied) for p, d, tied in bar.notes))
        for bar in leadsheet.bars
    )
    moved = dataclasses.replace(leadsheet, key=Key(tonic, leadsheet.key.mode), bars=bars)
    pitches = [(TUNE.values[t] if TUNE.families[t] == "Pitch" else 0) for t in encode(leadsheet)]
    others = [(TUNE.values[t] if TUNE.families[t] == "Pitch" else 0) for t in encode(moved)]
    assert len({a - b for a, b in zip(pitches, others, strict=True) if a}) <= 1
    assert all((a - b) % 12 == 0 for a, b in zip(pitches, others, strict=True))
    heard = [(d, p) for _, d, p in decode(encode(leadsheet), Key(0)).melody()]
    if heard:
        assert 65.5 <= sum(d * p for d, p in heard) / sum(d for d, _ in heard) <= 78.5


def test_what_is_written() -> None:
    bars = (
        Bar(((0, C), (24, Chord(7, "7"))), ((67, 36, False), (None, 6, False), (None, 6, False))),
        Bar(((0, C),), ((69, 24, False), (69, 12, True), (72, 12, False))),
        Bar(((0, Chord(9, "min")), (24, Chord(9, "min"))), ((72, 48, True),)),
    )
    assert " ".join(names(encode(sheet(*bars)))) == (
        "Style_folk Meter_4/4 Mode_major "
        "Bar_3 Chord_0:maj Pitch_67 Dur_24 Chord_7:7 Tie Dur_12 Rest Dur_12 "
        "Bar_2 Chord_0:maj Pitch_69 Dur_36 Pitch_72 Dur_12 "
        "Bar_1 Chord_9:min Tie Dur_48 End"
    )
    assert names(encode(sheet(bars[1]), bars_after=40))[3] == "Bar_32"
    part = names(encode(sheet(bars[1]), bars_after=1))[3:]
    assert " ".join(part) == "Bar_2 Chord_0:maj Pitch_69 Dur_36 Pitch_72 Dur_12"
    assert names(encode(sheet(bars[1], key="A minor", style="jig")))[:3] == ["Style_jig", "Meter_4/4", "Mode_minor"]


def test_the_melody_is_brought_to_the_middle_of_the_range() -> None:
    low = sheet(Bar(((0, C),), ((33, 36, False), (45, 12, False))), key="A major")
    assert names(encode(low))[5:9:2] == ["Pitch_72", "Pitch_84"]
    wide = sheet(Bar(((0, C),), ((12, 1, False), (72, 46, False), (120, 1, False))))
    assert names(encode(wide))[5:10:2] == ["Pitch_36", "Pitch_72", "Pitch_96"]
    assert [p for _, _, p in decode(encode(wide), Key.parse("F# major")).melody()] == [42, 78, 102]
    assert [p for _, _, p in decode(encode(wide), Key.parse("G major")).melody()] == [31, 67, 91]


def test_words_are_those_of_the_other_modules() -> None:
    """The numbers of tokens are fixed, so a new style or metre must be appended to the vocabulary by hand."""
    assert set(STYLES) == set(attributes.TUNE_STYLES)
    assert set(METERS) == {meter.name for meter in attributes.METERS}
    assert set(MODES) == set(attributes.MODES)
    assert set(TOKEN_QUALITIES) == set(QUALITIES)
    assert {style.tune for style in attributes.STYLES.values()} <= set(STYLES)


@pytest.mark.parametrize(
    ("meter", "ticks", "beat", "centre"),
    [
        *[("4/4", 48, 12, 24), ("3/4", 36, 12, 12), ("6/8", 36, 18, 18), ("9/8", 54, 18, 18), ("7/8", 42, 6, 18)],
        *[("2/2", 48, 24, 24), ("12/8", 72, 18, 36), ("2/4", 24, 12, 12), ("3/8", 18, 6, 6), ("5/4", 60, 12, 24)],
    ],
)
def test_bars_and_beats(meter: str, ticks: int, beat: int, centre: int) -> None:
    assert (bar_ticks(meter), beat_ticks(meter), middle(meter)) == (ticks, beat, centre)


def test_vocabularies() -> None:
    assert TUNE.size == len(set(TUNE.names)) == 12 + 13 + 4 + 32 + 60 + 61 + 2 + 84 + 1
    assert ROLL.size == 90
    for vocab in (TUNE, ROLL):
        assert vocab.follow.shape == (vocab.size, vocab.size)
        assert vocab.follow.any(dim=1).all()
        assert [vocab.index(name) for name in vocab.names] == list(range(vocab.size))
        assert vocab.table[vocab.padding, vocab.padding]
    for name, value in {"Pitch_60": 60, "Dur_84": 84, "Bar_7": 7, "Chord_7:7": 38, "Mode_dorian": 2, "Rest": 0}.items():
        assert TUNE.values[TUNE.index(name)] == value
    with pytest.raises(InputError, match="vocabulary: must be one of tune, pianoroll, not 'x'"):
        Vocabulary("x")
    with pytest.raises(InputError, match="'Pitch_20' is not a token of the vocabulary pianoroll"):
        ROLL.index("Pitch_20")


@given(st.lists(st.sets(st.integers(21, 108), max_size=12), max_size=30))
def test_a_roll_comes_back(steps: list[set[int]]) -> None:
    tokens = encode_steps([list(s) for s in steps])
    ROLL.check(tokens)
    assert [s.tolist() for s in decode_steps(tokens)] == [sorted(s) for s in steps]
    assert len(tokens) == 1 + sum(len(s) + 1 for s in steps)


def test_a_step_that_is_not_closed_is_left_out() -> None:
    tokens = ROLL.tokens(["Begin", "Pitch_60", "Pitch_64", "Step", "Pitch_60"])
    assert [s.tolist() for s in decode_steps(tokens)] == [[60, 64]]


@pytest.mark.parametrize("pitch", [20, 109])
def test_pitches_beyond_the_piano(pitch: int) -> None:
    with pytest.raises(InputError, match=f"step 1: pitch {pitch}"):
        encode_steps([[60], [pitch]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Pitch_60 Dur_48", "token 0: a tune begins with"),
        ("Style_jig Mode_major", "token 1: Mode_major may not follow Style_jig"),
        ("Style_jig Meter_3/4 Mode_major Bar_1 Pitch_60", "token 4: Pitch_60 may not follow Bar_1"),
        ("Style_jig Meter_3/4 Mode_major Bar_1 Chord_0:maj Tie Dur_36", "token 5: a tie, but no pitch sounds"),
        (
            "Style_jig Meter_3/4 Mode_major Bar_1 Chord_0:maj Pitch_60 Dur_35 End",
            "token 3: the bar lasts 35 ticks, but a bar of 3/4 has 36",
        ),
        (
            "Style_jig Meter_3/4 Mode_major Bar_1 Chord_0:maj Pitch_60 Dur_18 Chord_7:maj Pitch_60 Dur_18",
            "token 7: a chord at tick 18 of a bar of 3/4",
        ),
        ("Style_jig Meter_3/4 Mode_major Bar_2 Chord_0:maj Pitch_60 Dur_37 Bar_1", "token 3: the bar lasts 37"),
    ],
)
def test_tokens_that_make_no_tune(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        decode(TUNE.tokens(text.split()), Key.parse("C major"))


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([0, 999], "token 1: 999 is outside"),
        ([-1], "token 0: -1 is outside"),
        ([[0]], "row of integers"),
        ([0.5], "row of integers"),
    ],
)
def test_what_are_no_tokens(tokens: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        TUNE.check(tokens)


def test_lead_sheets_that_cannot_be_written() -> None:
    with pytest.raises(InputError, match="'Style_techno' is not a token"):
        encode(sheet(Bar(((0, C),), ((60, 48, False),)), style="techno"))
    odd = sheet(Bar(((0, C), (12, C)), ((60, 48, False),)))
    with pytest.raises(InputError, match=r"bar 1: chords stand at ticks \[0, 12\]; 4/4 takes them at ticks 0 and 24"):
        encode(odd)
    three = sheet(Bar(((0, C), (18, C)), ((60, 36, False),)), meter="3/4")
    with pytest.raises(InputError, match="3/4 takes them at tick 0"):
        encode(three)
