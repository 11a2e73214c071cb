"""Constraints: every sample of an untrained model, in every metre and length, is exactly what the plan asks for."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wavegen.errors import InputError
from wavegen.music.attributes import Key
from wavegen.music.constraint import CADENCES, PianoRollConstraint, TuneConstraint
from wavegen.music.leadsheet import Chord, LeadSheet
from wavegen.music.models.recurrent import LSTMScore, LSTMScoreConfig
from wavegen.music.sampling import sample
from wavegen.music.tokens import (
    HALVED,
    METERS,
    MODES,
    bar_ticks,
    decode,
    decode_steps,
    encode,
    middle,
    vocabulary,
)

TUNE, ROLL = vocabulary("tune"), vocabulary("pianoroll")
torch.manual_seed(0)
MODEL = LSTMScore(LSTMScoreConfig(embedding=8, hidden=8, layers=1)).eval()


def plan(**changes: Any) -> TuneConstraint:
    return TuneConstraint(TUNE, **{"style": "folk", "meter": "4/4", "mode": "major", "bars": 4, **changes})


def composed(seed: int, **changes: Any) -> LeadSheet:
    tokens = sample(MODEL, plan(**changes), generator=np.random.default_rng(seed))
    TUNE.check(tokens)
    leadsheet = decode(tokens, Key(0, changes.get("mode", "major")))
    assert encode(leadsheet, bars_after=changes.get("bars_after", 0))[0] == tokens[0]
    return leadsheet


def walked(seed: int, **changes: Any) -> tuple[list[int], LeadSheet]:
    """A walk that takes any allowed token, which is quicker than a model and meets rarer turns."""
    constraint, random = plan(**changes), np.random.default_rng(seed)
    tokens: list[int] = []
    while not constraint.done:
        options = np.flatnonzero(constraint.allowed())
        assert len(options)
        tokens.append(int(random.choice(options)))
        constraint.advance(tokens[-1])
    TUNE.check(tokens)
    assert not constraint.allowed().any()
    return tokens, decode(tokens, Key(0, changes.get("mode", "major")))


def assert_cadence(leadsheet: LeadSheet, cadence: str | None, meter: str, mode: str) -> None:
    last = leadsheet.bars[-1]
    pitch, duration, _ = last.notes[-1]
    onset = bar_ticks(meter) - duration
    minor = mode in ("minor", "dorian")
    approach = leadsheet.bars[-2].chords[-1][1] if len(leadsheet.bars) > 1 else None
    if cadence in ("authentic", "plagal"):
        assert [chord for _, chord in last.chords] == [Chord(0, "min" if minor else "maj")]
        assert pitch is not None
        assert pitch % 12 == 0
        assert onset in (0, middle(meter))
        assert not last.notes[-1][2]
        if cadence == "authentic" and approach is not None:
            modal = mode in ("dorian", "mixolydian")
            dominants = (Chord(10, "maj"), Chord(7, "min")) if modal else (Chord(7, "maj"), Chord(7, "7"))
            assert approach in dominants
        elif approach is not None:
            assert approach == Chord(5, "min" if mode == "minor" else "maj")
    elif cadence == "half":
        assert last.chords[-1][1] == Chord(7, "min" if mode in ("dorian", "mixolydian") else "maj")
        assert pitch is not None
        assert pitch % 12 in (7, 10 if mode in ("dorian", "mixolydian") else 11, 2)


plans = st.fixed_dictionaries(
    {
        "meter": st.sampled_from(METERS),
        "mode": st.sampled_from(MODES),
        "cadence": st.sampled_from([*CADENCES, None]),
        "span": st.sampled_from([(36, 96), (60, 72), (67, 79), (72, 86)]),
    }
)


@pytest.mark.parametrize("meter", METERS)
@pytest.mark.parametrize("cadence", [*CADENCES, None])
def test_an_untrained_model_keeps_to_the_plan(meter: str, cadence: str | None) -> None:
    for seed, (bars, mode) in enumerate([(1, "major"), (2, "minor"), (7, "dorian")]):
        leadsheet = composed(seed, meter=meter, mode=mode, cadence=cadence, bars=bars)
        assert len(leadsheet.bars) == bars
        assert leadsheet.meter.name == meter
        assert_cadence(leadsheet, cadence, meter, mode)


@settings(max_examples=80)
@given(plans, st.integers(1, 36), st.integers(0, 40), st.integers(0, 2**32))
def test_every_way_leads_to_the_plans_end(settings_: dict[str, Any], bars: int, after: int, seed: int) -> None:
    tokens, leadsheet = walked(seed, bars=bars, bars_after=after, **settings_)
    assert len(leadsheet.bars) == bars
    assert_cadence(leadsheet, settings_["cadence"], settings_["meter"], settings_["mode"])
    countdown = [int(TUNE.values[t]) for t in tokens if TUNE.families[t] == "Bar"]
    assert countdown == [min(k + after, 32) for k in range(bars, 0, -1)]
    assert (TUNE.names[tokens[-1]] == "End") == (after == 0)
    low, high = settings_["span"]
    heard = [int(TUNE.values[t]) for t in tokens if TUNE.families[t] == "Pitch"]
    assert all(low <= pitch <= high for pitch in heard)


@settings(max_examples=50)
@given(plans, st.integers(1, 6), st.integers(0, 2**32))
def test_given_chords_are_kept(settings_: dict[str, Any], bars: int, seed: int) -> None:
    random, half = np.random.default_rng(seed), bar_ticks(settings_["meter"]) // 2
    chords = []
    for _ in range(bars):
        pair = [Chord(int(random.integers(12)), str(random.choice(["maj", "min", "dim", "7"]))) for _ in range(2)]
        both = settings_["meter"] in HALVED and random.random() < 0.5
        chords.append([(0, pair[0]), (half, pair[1])] if both else [(0, pair[0])])
    _, leadsheet = walked(seed, bars=bars, chords=chords, **settings_)
    for bar, given_chords in zip(leadsheet.bars, chords, strict=True):
        expected = given_chords if given_chords[-1][1] != given_chords[0][1] else given_chords[:1]
        assert list(bar.chords) == expected


def test_walks_are_written_as_lead_sheets_are() -> None:
    """What a plan allows is what ``encode`` writes of it, so that a model meets what it has learned from."""
    for seed in range(40):
        tokens, leadsheet = walked(seed, meter=METERS[seed % len(METERS)], bars=6, span=(67, 77))
        again = encode(leadsheet)
        shift = {int(a) - b for a, b in zip(again, tokens, strict=True) if TUNE.families[b] == "Pitch"}
        assert shift <= {0} or shift <= {12} or shift <= {-12}
        assert all(a == b or TUNE.families[b] == "Pitch" for a, b in zip(again, tokens, strict=True))


def test_without_prefix_the_bars_alone_are_written() -> None:
    tokens = sample(
        MODEL,
        plan(prefix=False, last_pitch=60),
        primer=TUNE.tokens(["Style_folk", "Meter_4/4", "Mode_major"]).tolist(),
        generator=np.random.default_rng(0),
    )
    assert TUNE.names[tokens[0]] == "Bar_4"
    tie = TUNE.index("Tie")
    for pitch, expected in ((None, False), (60, True)):
        constraint = plan(prefix=False, last_pitch=pitch)
        constraint.advance(TUNE.index("Bar_4"))
        constraint.advance(TUNE.index("Chord_0:maj"))
        assert constraint.allowed()[tie] == expected


def test_a_copy_goes_its_own_way() -> None:
    constraint = plan()
    for token in TUNE.tokens(["Style_folk", "Meter_4/4", "Mode_major", "Bar_4", "Chord_0:maj", "Pitch_60"]):
        constraint.advance(int(token))
    before = constraint.allowed()
    other = constraint.copy()
    other.advance(TUNE.index("Dur_48"))
    assert np.array_equal(constraint.allowed(), before)
    assert other.allowed()[TUNE.index("Bar_3")]
    mask = constraint.allowed()
    mask[:] = False  # ours to change
    assert constraint.allowed().any()
    with pytest.raises(InputError, match="Bar_3 is not allowed here by the plan"):
        constraint.advance(TUNE.index("Bar_3"))
    with pytest.raises(InputError, match="-1 is not allowed"):
        constraint.advance(-1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"style": "techno"}, "style must be one of chorale"),
        ({"meter": "11/8"}, "meter must be one of 2/4"),
        ({"mode": "locrian"}, "mode must be one of"),
        ({"cadence": "deceptive"}, "cadence must be one of authentic, half, plagal"),
        ({"bars": 0}, "bars must be positive"),
        ({"bars_after": -1}, "bars_after not negative"),
        ({"span": (61, 71)}, r"the span 61-71 has no note to close with \(authentic cadence\)"),
        ({"span": (72, 73), "cadence": "half"}, "no note to close with"),
        ({"span": (80, 60)}, "span: no pitch of 36-96 lies in 80-60"),
        ({"last_pitch": 20}, "last_pitch must lie in 36-96"),
        ({"chords": [[(0, Chord(0))]]}, "chords are given for 1 bars, but there are 4"),
        ({"chords": [[(0, Chord(0)), (12, Chord(0))]] * 4}, "chords of bar 1: they stand at tick 0 and then 24"),
        ({"chords": [[]] * 4}, "chords of bar 1"),
        ({"meter": "3/4", "chords": [[(0, Chord(0)), (18, Chord(0))]] * 4}, "they stand at tick 0, not"),
    ],
)
def test_plans_that_cannot_be(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        plan(**changes)


def test_plans_need_their_vocabulary() -> None:
    with pytest.raises(InputError, match="not pianoroll"):
        TuneConstraint(ROLL, style="folk", meter="4/4", mode="major", bars=1)
    with pytest.raises(InputError, match="not tune"):
        PianoRollConstraint(TUNE, steps=1)


@settings(max_examples=30)
@given(st.integers(1, 12), st.integers(1, 6), st.sampled_from([(21, 108), (60, 64), (108, 200)]), st.integers(0, 99))
def test_rolls(steps: int, voices: int, span: tuple[int, int], seed: int) -> None:
    constraint = PianoRollConstraint(ROLL, steps=steps, voices=voices, span=span)
    random, tokens = np.random.default_rng(seed), []
    while not constraint.done:
        tokens.append(int(random.choice(np.flatnonzero(constraint.allowed()))))
        constraint.advance(tokens[-1])
    found = decode_steps(tokens)
    assert len(found) == steps
    assert all(len(step) <= voices for step in found)
    assert all(span[0] <= p <= span[1] for step in found for p in step)
    with pytest.raises(InputError, match="complete"):
        constraint.advance(0)


@pytest.mark.parametrize(("steps", "voices", "span"), [(0, 1, (21, 108)), (1, 0, (21, 108)), (1, 1, (1, 20))])
def test_rolls_that_cannot_be(steps: int, voices: int, span: tuple[int, int]) -> None:
    with pytest.raises(InputError, match=r"must be positive|no pitch of 21-108"):
        PianoRollConstraint(ROLL, steps=steps, voices=voices, span=span)


def test_a_mode_keeps_its_own_notes() -> None:
    """With a model that knows nothing, what lies outside the mode and the chord is rare."""
    generator = np.random.default_rng(3)
    strange = total = 0
    for mode, scale in (("mixolydian", {0, 2, 4, 5, 7, 9, 10}), ("dorian", {0, 2, 3, 5, 7, 9, 10})):
        constraint = TuneConstraint(TUNE, style="jig", meter="6/8", mode=mode, bars=16, cadence="authentic")
        uniform = np.zeros(TUNE.size)
        while not constraint.done:
            scores = np.where(constraint.allowed(), uniform + constraint.bias(), -np.inf)
            p = np.exp(scores - scores.max())
            token = int(generator.choice(len(p), p=p / p.sum()))
            if TUNE.families[token] == "Pitch":
                total += 1
                strange += int(TUNE.values[token]) % 12 not in scale
            constraint.advance(token)
    assert total > 100
    assert strange < 0.08 * total
