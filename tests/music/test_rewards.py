"""Rewards on tunes whose worth is known by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavegen.errors import InputError
from wavegen.music import rewards
from wavegen.music.constraint import TuneConstraint
from wavegen.music.tokens import vocabulary


def tokens(bars: list[str], *, mode: str = "major", meter: str = "4/4", end: bool = True) -> list[int]:
    """Bars as "0:maj 60.12 r.12 t.24": a chord, then pitches, rests or ties with their ticks."""
    names = ["Style_folk", f"Meter_{meter}", f"Mode_{mode}"]
    for left, bar in zip(range(len(bars), 0, -1), bars, strict=True):
        names.append(f"Bar_{left}")
        for word in bar.split():
            if ":" in word:
                names.append(f"Chord_{word}")
                continue
            what, ticks = word.split(".")
            names += [{"r": "Rest", "t": "Tie"}.get(what, f"Pitch_{what}"), f"Dur_{ticks}"]
    return vocabulary("tune").tokens([*names, "End"] if end else names).tolist()


def line(bars: list[str], **options: object) -> rewards.Line:
    return rewards.read_line(tokens(bars, **options))  # type: ignore[arg-type]


def test_a_line_joins_ties_and_knows_rests_chords_and_bars() -> None:
    read = line(["0:maj 60.12 r.12 64.24", "7:7 t.12 65.36"])
    assert read.pitch.tolist() == [60, 64, 65]
    assert read.onset.tolist() == [0, 24, 60]
    assert read.duration.tolist() == [12, 36, 36]
    assert read.rested.tolist() == [False, True, False]
    assert read.bar.tolist() == [0, 0, 1]
    assert read.strong.tolist() == [True, True, False]
    names = vocabulary("tune").names
    assert [names[c] for c in read.chord] == ["Chord_0:maj", "Chord_0:maj", "Chord_7:7"]
    assert read.ended


def test_notes_in_key_follow_the_mode() -> None:
    bar = ["0:maj 60.12 61.12 63.12 71.12"]
    assert rewards.in_key(line(bar)).tolist() == [1, 0, 0, 1]
    assert rewards.in_key(line(bar, mode="minor")).tolist() == [1, 0, 1, 1]
    assert rewards.in_key(line(bar, mode="dorian")).tolist() == [1, 0, 1, 0]
    assert rewards.in_key(line(["0:maj 70.24 66.24"], mode="mixolydian")).tolist() == [1, 0]


def test_the_fifth_repetition_in_a_row_is_too_many_unless_a_rest_comes_between() -> None:
    assert rewards.not_repeated(line(["0:maj " + "60.8 " * 6])).tolist() == [1, 1, 1, 1, 0, 0]
    assert rewards.not_repeated(line(["0:maj 60.8 60.8 60.8 r.8 60.8 60.8"])).tolist() == [1] * 5


def test_leaps_turn_back() -> None:
    values = rewards.leaps_resolved(line(["0:maj 60.12 67.12 65.12 72.12", "0:maj 79.12 71.12 71.12 72.12"]))
    # 60-67 turns to 65; 65-72 goes on to 79; 72-79 turns to 71; 79-71 stays on 71
    np.testing.assert_array_equal(values, [math.nan, math.nan, 1, math.nan, 0, 1, 0.5, math.nan])
    assert math.isnan(rewards.scores(line(["0:maj 60.12 62.12 64.24"]))["leaps_resolved"])


def test_chord_tones_count_on_strong_beats_alone() -> None:
    values = rewards.chord_tones(line(["0:maj 60.12 61.12 62.24", "7:7 65.24 72.24"]))
    np.testing.assert_array_equal(values, [1, math.nan, 0, 1, 0])
    values = rewards.chord_tones(line(["0:maj 60.12 61.12 62.12"], meter="3/4"))
    np.testing.assert_array_equal(values, [1, math.nan, math.nan])


def test_tonic_first_and_last() -> None:
    assert rewards.starts_on_tonic(line(["0:maj 67.24 72.24"])) == 0
    assert rewards.starts_on_tonic(line(["0:maj r.36 67.12", "0:maj 72.48"])) == 1  # an upbeat
    assert rewards.ends_on_tonic(line(["0:maj 67.24 72.24"])) == 1
    assert rewards.ends_on_tonic(line(["0:maj 72.24 67.24"])) == 0
    assert math.isnan(rewards.ends_on_tonic(line(["0:maj 67.24 72.24"], end=False)))


def test_motifs_return() -> None:
    motif, other = "0:maj 60.12 62.12 64.24", "0:maj 67.24 65.12 62.12"
    assert rewards.motifs_return(line([motif, other, other, motif])) == 1
    assert rewards.motifs_return(line([motif, other])) == 0
    transposed, rhythm = "0:maj 62.12 64.12 66.24", "0:maj 72.12 71.12 67.24"
    assert rewards.motifs_return(line([motif, other, "0:maj 60.48", "0:maj 60.48", transposed])) == 0.5
    assert rewards.motifs_return(line([motif, other, "0:maj 60.48", "0:maj 60.48", rhythm])) == 0.25
    flat = "0:maj 60.12 60.12 62.24"  # two pitches are no motif
    assert rewards.motifs_return(line([flat, flat])) == 0


def test_extremes_are_unique() -> None:
    assert rewards.unique_extremes(line(["0:maj 60.12 62.12 64.12 62.12"])) == 1
    assert rewards.unique_extremes(line(["0:maj 60.12 64.12 64.12 62.12"])) == 0.5
    assert rewards.unique_extremes(line(["0:maj 60.12 64.12 64.12 60.12"])) == 0


def test_monotony_is_correlation_with_oneself() -> None:
    constant = line(["0:maj 60.12 60.12 60.12 60.12"] * 3)
    alternating = line(["0:maj 60.12 72.12 60.12 72.12"] * 3)
    varied = line(["0:maj 60.12 67.12 64.12 72.12", "0:maj 62.12 59.12 65.12 67.12", "0:maj 64.12 71.12 60.12 69.12"])
    assert rewards.not_monotonous(constant) == 0
    # of twelve alternating beats r = -11/12, 10/12, -9/12; each exceeds 0.15
    assert rewards.not_monotonous(alternating) == pytest.approx(1 - (30 / 36 - 0.15) / 0.85)
    assert rewards.not_monotonous(varied) > 0.75


def test_total_is_the_weighted_mean_of_what_applies() -> None:
    found = dict.fromkeys(rewards.WEIGHTS, math.nan) | {"in_key": 1.0, "chord_tones": 0.5, "ends_on_tonic": 0.0}
    assert rewards.total(found) == pytest.approx((2 * 1 + 2 * 0.5 + 0) / 5)
    assert rewards.total(found, {"in_key": 1.0}) == 1
    assert rewards.total(dict.fromkeys(rewards.WEIGHTS, math.nan)) == 0


@pytest.mark.parametrize("weights", [{"beauty": 1.0}, {"in_key": -1.0}, {"in_key": math.inf}])
def test_weights_are_checked(weights: dict[str, float]) -> None:
    with pytest.raises(InputError, match=r"beauty|in_key"):
        rewards.reward(tokens(["0:maj 60.48"]), weights)
    with pytest.raises(InputError, match=r"beauty|in_key"):
        rewards.credit(tokens(["0:maj 60.48"]), weights)


def test_tokens_must_be_a_tune() -> None:
    with pytest.raises(InputError, match="style, metre and mode"):
        rewards.read_line(tokens(["0:maj 60.48"])[3:])
    with pytest.raises(InputError, match="may not follow"):
        rewards.read_line([0, 0, 0])


def random_tune(seed: int, bars: int) -> list[int]:
    random = np.random.default_rng(seed)
    plan = TuneConstraint(
        vocabulary("tune"), style="folk", meter=random.choice(["4/4", "3/4", "6/8"]), mode="minor", bars=bars
    )
    written: list[int] = []
    while not plan.done:
        written.append(int(random.choice(np.flatnonzero(plan.allowed()))))
        plan.advance(written[-1])
    return written


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.floats(0.1, 1.0))
def test_credit_sums_to_the_reward_wherever_the_tune_is_cut(seed: int, bars: int, part: float) -> None:
    whole = random_tune(seed, bars)
    cut = whole[: max(3, round(part * len(whole)))]
    earned = rewards.credit(cut)
    assert earned.shape == (len(cut),)
    assert (earned >= 0).all()
    assert earned.sum() == pytest.approx(rewards.reward(cut), abs=1e-12)
    assert 0 <= rewards.reward(cut) <= 1
    families = vocabulary("tune").families
    assert all(families[t] == "Pitch" for t, value in zip(cut[:-1], earned[:-1], strict=True) if value > 0)


def test_a_well_made_tune_beats_noise() -> None:
    good = ["0:maj 60.12 64.12 67.12 64.12", "5:maj 65.12 69.12 72.12 69.12", "7:maj 67.12 62.12 59.24", "0:maj 60.48"]
    assert rewards.reward(tokens(good)) > 0.8
    assert max(rewards.reward(random_tune(seed, 4)) for seed in range(10)) < 0.75
