"""Statistics of notes against values worked out by hand, and copies that are found where they were put."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavegen.errors import InputError
from wavegen.evaluation import music
from wavegen.music.score import Score, Track


def notes(*rows: tuple[float, float, int]) -> np.ndarray:
    return np.array([(*row, 80) for row in rows], float).reshape(-1, 4)


def score(*tracks: np.ndarray, drums: np.ndarray | None = None) -> Score:
    made = [Track(0, False, "", track) for track in tracks]
    return Score((*made, *([] if drums is None else [Track(0, True, "", drums)])))


SCALE = notes(*((i, 1.0, pitch) for i, pitch in enumerate((60, 62, 64, 65, 67, 69, 71, 72))))
BARS = [(0.0, 4.0), (4.0, 4.0)]


def test_pitch_class_entropy_in_bits() -> None:
    assert music.pitch_class_entropy(notes((0, 1, 60), (1, 1, 72))) == 0
    assert music.pitch_class_entropy(notes(*((i, 1, 60 + i) for i in range(12)))) == pytest.approx(math.log2(12))
    # C twice of eight notes, six others once
    assert music.pitch_class_entropy(SCALE) == pytest.approx(0.25 * 2 + 6 * 0.125 * 3)


def test_scale_consistency_is_of_the_best_scale() -> None:
    assert music.scale_consistency(SCALE) == 1
    assert music.scale_consistency(notes(*((i, 1, 60 + i) for i in range(12)))) == pytest.approx(7 / 12)
    assert music.scale_consistency(np.concatenate([SCALE, notes((8, 1, 66), (9, 1, 66))])) == pytest.approx(0.9)  # G
    # A harmonic minor is no scale of the 24: G sharp is outside, or C, D and F are (A major)
    harmonic = notes(*((i, 1, pitch) for i, pitch in enumerate((69, 71, 72, 74, 76, 77, 80))))
    assert music.scale_consistency(harmonic) == pytest.approx(6 / 7)


def test_groove_consistency_counts_onsets_that_differ() -> None:
    same = notes((0, 1, 60), (1, 1, 60), (4, 1, 70), (5, 1, 71))
    assert music.groove_consistency(same, BARS) == 1
    moved = notes((0, 1, 60), (1, 1, 60), (4, 1, 70), (5.5, 1, 71))
    assert music.groove_consistency(moved, BARS) == pytest.approx(1 - 2 / 48)
    assert math.isnan(music.groove_consistency(same, BARS[:1]))
    assert math.isnan(music.groove_consistency(same, [(0.0, 4.0), (4.0, 3.0)]))  # never compared


def test_polyphony() -> None:
    both = notes((0, 2, 60), (1, 1, 64), (3, 1, 67))
    assert music.polyphony(both) == pytest.approx((12 + 24 + 12) / 36)
    assert music.polyphony_rate(both) == pytest.approx(12 / 48)
    assert music.polyphony(notes((0, 1, 60), (0, 1, 60))) == 1  # a pitch counts once
    assert math.isnan(music.polyphony(notes()))


def test_empty_bars_are_those_in_which_nothing_sounds() -> None:
    bars = [*BARS, (8.0, 4.0), (12.0, 4.0)]
    assert music.empty_bar_rate(notes((0, 1, 60), (12, 1, 60)), bars) == 0.5
    assert music.empty_bar_rate(notes((0, 9, 60)), bars) == 0.25  # held into the third
    assert music.empty_bar_rate(notes(), bars) == 1
    assert math.isnan(music.empty_bar_rate(SCALE, []))


def test_pitch_classes_a_bar_and_qualified_notes() -> None:
    assert music.used_pitch_classes(notes((0, 1, 60), (1, 1, 72), (2, 1, 64), (4, 1, 60)), BARS) == 1.5
    assert music.qualified_note_rate(notes((0, 0.125, 60), (1, 1 / 12, 60), (2, 1, 60))) == pytest.approx(2 / 3)


def test_measure_leaves_drums_out_of_pitch_and_polyphony() -> None:
    drums = notes(*((i / 2, 0.1, 42) for i in range(16)))
    with_drums, without = music.measure(score(SCALE, drums=drums)), music.measure(score(SCALE))
    assert tuple(with_drums) == music.METRICS
    for name in ("pitch_class_entropy", "scale_consistency", "polyphony", "polyphony_rate", "used_pitch_classes"):
        assert with_drums[name] == without[name]
    assert music.measure(score(SCALE))["empty_bar_rate"] == 0


def test_compare_gives_means_and_their_distance() -> None:
    chord = notes((0, 4, 60), (0, 4, 64))
    compared = music.compare([score(SCALE), score(chord)], [score(SCALE)])
    assert compared["polyphony"] == pytest.approx((1.5, 1.0, 0.5))
    assert compared["groove_consistency"].generated == 1  # the chord's single bar is left out of the mean
    table = music.table(compared)
    assert "| polyphony | 1.500 | 1.000 | 0.500 |" in table
    assert len(table.splitlines()) == 2 + len(music.METRICS)
    with pytest.raises(InputError, match="held-out"):
        music.compare([score(SCALE)], [])


@pytest.mark.parametrize(
    "bad", [np.zeros((3, 3)), np.zeros(4), np.full((1, 4), np.nan), np.array([[-1.0, 1, 60, 80]])], ids=str
)
def test_notes_are_checked(bad: np.ndarray) -> None:
    with pytest.raises(InputError, match="notes"):
        music.polyphony(bad)


def melody(seed: int, count: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    onsets = np.cumsum(random.choice([0.5, 1.0, 1.5], count)) - 0.5
    return np.stack([onsets, np.full(count, 0.5), random.integers(55, 80, count), np.full(count, 80)], 1)


def test_a_copy_is_found_in_another_key_and_elsewhere() -> None:
    training = [melody(seed, 40) for seed in range(5)]
    index = music.index_melodies(training)
    copied = training[3][10:22].copy()
    copied[:, 0] += 3.25
    copied[:, 2] += 5
    found = index.longest(copied)
    assert found == music.Copied(pairs=11, share=1.0, piece=3, at=10)
    stretched = copied.copy()
    stretched[:, 0] *= 2
    assert index.longest(stretched).pairs < 4
    assert index.longest(copied[:1]) == music.Copied(0, 0.0, -1, -1)
    assert music.index_melodies([]).longest(copied) == music.Copied(0, 0.0, -1, -1)


def test_chords_count_by_their_highest_note() -> None:
    low = melody(1, 30)
    low[:, 2] -= 24
    both = np.concatenate([low, melody(1, 30)])
    assert music.melody_steps(both) == music.melody_steps(melody(1, 30))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(60, 62), min_size=0, max_size=12), min_size=0, max_size=4),
    st.lists(st.integers(60, 62), min_size=0, max_size=12),
)
def test_the_longest_run_is_that_of_brute_force(training: list[list[int]], own: list[int]) -> None:
    lines = [notes(*((i, 1, p) for i, p in enumerate(pitches))) for pitches in training]
    query = notes(*((i, 1, p) for i, p in enumerate(own)))
    steps = music.melody_steps(query)
    best = 0
    for line in map(music.melody_steps, lines):
        for i in range(len(steps)):
            for j in range(len(line)):
                run = 0
                while i + run < len(steps) and j + run < len(line) and steps[i + run] == line[j + run]:
                    run += 1
                best = max(best, run)
    found = music.index_melodies(lines).longest(query)
    assert found.pairs == best
    if best:
        shared = music.melody_steps(lines[found.piece])[found.at : found.at + best]
        assert any(steps[i : i + best] == shared for i in range(len(steps)))
