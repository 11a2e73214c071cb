"""Attributes read back from scores, and tempo and key heard in tones whose tempo and key are known."""

import dataclasses

import numpy as np
import pytest

from wavegen.errors import InputError
from wavegen.evaluation.attributes import (
    HARD,
    cadence_bar,
    check,
    extract,
    extraction_modes,
    hear_key,
    hear_tempo,
    tempo_right,
)
from wavegen.music.attributes import Attributes, Key, Meter
from wavegen.music.score import Score, Track

RATE = 24000
STEPS = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10), "mixolydian": (0, 2, 4, 5, 7, 9, 10)}
# Degrees of a melody in eight bars of four quarters that closes on the tonic, and the roots beneath.
MELODY = (0, 2, 4, 2, 3, 1, 5, 3, 4, 6, 4, 1, 0, 4, 2, 0, 5, 3, 1, 3, 4, 2, 0, 2, 1, 3, 6, 1, 0)
ROOTS = (0, 3, 4, 0, 3, 0, 4, 0)


def written(key: Key, *, tempo: float = 96.0, meter: Meter | None = None) -> Score:
    """A melody with triads beneath: eight bars of 4/4, or ten of 6/8 and so on, the last one a held tonic."""
    scale = STEPS[key.mode]
    pitch = lambda degree, base: base + key.tonic + scale[degree % 7] + 12 * (degree // 7)  # noqa: E731
    melody = [(i, 1.0 if i < 28 else 4.0, pitch(degree, 60), 90) for i, degree in enumerate(MELODY)]
    chords = [(4.0 * bar, 4.0, pitch(root + third, 36), 60) for bar, root in enumerate(ROOTS) for third in (0, 2, 4)]
    used = meter or Meter(4, 4)
    return Score(
        (Track(73, False, "flute", np.array(melody, float)), Track(0, False, "piano", np.array(chords, float))),
        tempos=((0.0, tempo * used.tempo_unit / 12),),
        meters=((0.0, used.numerator, used.denominator),),
        key=key,
    )


def asked(own: Key, **changes: object) -> Attributes:
    attributes = Attributes(own, 96.0, Meter(4, 4), (73, 0), False, "folk", None, 8, 70, 1)
    return dataclasses.replace(attributes, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("key", [Key(0), Key(7), Key(10), Key(4, "minor"), Key(9, "minor"), Key(7, "mixolydian")])
def test_everything_is_read_back(key: Key) -> None:
    found = extract(written(key), modes=extraction_modes(key))
    assert found.heard == found.written == key
    assert found.tempo == 96
    assert found.meter == "4/4"
    assert found.programs == (73, 0)
    assert not found.drums
    assert found.bars == 8
    assert found.cadence_bar == 8
    assert found.seconds == pytest.approx(32 * 60 / 96)
    assert check(found, asked(key)) == dict.fromkeys(HARD, True)


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"key": Key(2)}, "key"),
        ({"tempo": 96.1}, "tempo"),
        ({"meter": Meter(2, 2)}, "meter"),
        ({"instruments": (73, 1)}, "instruments"),
        ({"instruments": (73,)}, "instruments"),
        ({"drums": True}, "drums"),
    ],
)
def test_one_wrong_attribute_is_told(changes: dict[str, object], wrong: str) -> None:
    found = check(extract(written(Key(7))), asked(Key(7), **changes))
    assert [name for name, right in found.items() if not right] == [wrong]


def test_a_wrong_length_is_told_and_the_cadence_within_a_bar() -> None:
    found = extract(written(Key(7)))
    assert not check(found, asked(Key(7), bars=9))["bars"]
    assert check(found, asked(Key(7), bars=9))["cadence"]
    assert not check(found, asked(Key(7), bars=10))["cadence"]


def test_tempo_counts_dotted_quarters_in_compound_metres() -> None:
    score = written(Key(7), tempo=80.0, meter=Meter(6, 8))
    assert score.tempos[0][1] == 120
    assert extract(score).tempo == pytest.approx(80)
    rounded = dataclasses.replace(score, tempos=((0.0, 60e6 / round(60e6 / 120.01)),))
    found = extract(rounded)
    assert check(found, asked(Key(7), tempo=120.01 / 1.5, meter=Meter(6, 8)))["tempo"]


def test_a_close_needs_the_tonic_and_its_triad() -> None:
    key = Key(7)
    score = written(key)
    flute, piano = score.tracks
    above = flute.notes.copy()
    above[-1, 2] += 4
    assert cadence_bar(dataclasses.replace(score, tracks=(flute.with_notes(above), piano)), key) is None
    wrong = piano.notes.copy()
    wrong[-3:, 2] += 2
    assert cadence_bar(dataclasses.replace(score, tracks=(flute, piano.with_notes(wrong))), key) is None
    assert cadence_bar(score, Key(0)) is None
    assert cadence_bar(Score(()), key) is None


def test_a_score_without_pitches_is_refused() -> None:
    drums = Track(0, True, "drums", np.array([[0.0, 1, 36, 80]]))
    with pytest.raises(InputError, match="no pitched notes"):
        extract(Score((drums,)))


def rendered(score: Score, *, rate: int = RATE) -> np.ndarray:
    """Decaying tones of six harmonics."""
    sound = np.zeros(round((score.duration + 0.3) * rate))
    for track in score.tracks:
        for onset, duration, pitch, velocity in track.notes:
            start, length = float(score.seconds(onset)), float(score.seconds(onset + duration) - score.seconds(onset))
            t = np.arange(round(length * rate)) / rate
            f = 440 * 2 ** ((pitch - 69) / 12)
            tone = sum(np.sin(2 * np.pi * f * k * t) / k**1.5 for k in range(1, 7)) * np.exp(-2 * t)
            first = round(start * rate)
            sound[first : first + len(t)] += velocity / 1000 * tone * np.minimum(1, (length - t) / 0.02)
    return sound.astype(np.float32)


@pytest.mark.parametrize("tempo", [63.0, 88.5, 120.0, 171.0])
def test_tempo_is_heard_to_a_thousandth_on_some_level(tempo: float) -> None:
    heard = hear_tempo(rendered(written(Key(7), tempo=tempo)), RATE)
    assert tempo_right(heard, tempo, tolerance=0.001)
    assert not tempo_right(heard, tempo * 1.05, tolerance=0.02)


def test_the_level_of_the_beat_is_heard_where_it_is_usual() -> None:
    assert hear_tempo(rendered(written(Key(7), tempo=92.0)), RATE) == pytest.approx(92, rel=1e-3)


def test_tempo_right_states_its_levels() -> None:
    assert tempo_right(101.9, 100)
    assert not tempo_right(102.1, 100)
    assert tempo_right(50, 100)
    assert tempo_right(300, 100)
    assert not tempo_right(150, 100)
    assert not tempo_right(50, 100, levels=(1.0,))


@pytest.mark.parametrize("key", [Key(0), Key(6), Key(9), Key(2, "minor"), Key(11, "minor"), Key(2, "mixolydian")])
def test_the_key_is_heard(key: Key) -> None:
    assert hear_key(rendered(written(key)), RATE, modes=extraction_modes(key)) == key


def test_recordings_of_any_rate_and_channels_do() -> None:
    score = written(Key(10), tempo=92.0)
    sound = rendered(score, rate=44100)
    assert hear_key(np.stack([sound, 0.5 * sound]), 44100) == Key(10)
    assert hear_tempo(sound, 44100) == pytest.approx(92, rel=2e-3)


@pytest.mark.parametrize(
    "bad",
    [np.zeros(RATE * 5, np.float32), np.ones(RATE * 2, np.float32), np.full(RATE * 5, np.nan), np.zeros((1, 1, 9))],
    ids=["silent", "short", "nan", "shape"],
)
def test_what_cannot_be_heard_is_refused(bad: np.ndarray) -> None:
    for hear in (hear_tempo, hear_key):
        with pytest.raises(InputError, match="recording"):
            hear(bad, RATE)
