import numpy as np
import pytest

from wavegen.errors import InputError
from wavegen.music.attributes import METERS, STYLES, Meter
from wavegen.music.drums import DRUMS, draw_bars, drum_part, groove_names, grooves, probabilities

FOUR = Meter.parse("4/4")
KEYS = {key for _, key in DRUMS}


def part(groove, meter=FOUR, sections=(("A", 4), ("B", 4)), seed=0, **options):
    return drum_part(groove, meter, sections, np.random.default_rng(seed), **options)


@pytest.mark.parametrize("meter", METERS, ids=lambda meter: meter.name)
@pytest.mark.parametrize("groove", ["rock", "jazz", "march", "waltz", "latin"])
def test_every_bar_has_strokes_inside_it(groove, meter):
    bars = part(groove, meter)
    assert len(bars) == 8
    for strokes in bars:
        assert strokes
        assert strokes == sorted(strokes)
        assert all(0 <= tick < meter.ticks and key in KEYS and 0.2 < loud < 2 for tick, key, loud in strokes)
        assert len({(tick, key) for tick, key, _ in strokes}) == len(strokes)


def test_every_style_has_a_groove():
    assert {style.groove for style in STYLES.values()} <= set(groove_names())
    with pytest.raises(InputError, match="polka"):
        part("polka")


def test_the_same_seed_gives_the_same_part_and_another_another():
    assert part("funk", seed=3) == part("funk", seed=3)
    assert part("funk", seed=3) != part("funk", seed=4)


@pytest.mark.parametrize("seed", range(5))
def test_rock_has_kick_on_one_and_a_back_beat(seed):
    bars = part("rock", seed=seed)[:3]
    assert all((0, 36) in {(tick, key) for tick, key, _ in bar} for bar in bars)
    snares = sum((tick, key) in {(12, 38), (36, 38)} for bar in bars for tick, key, _ in bar)
    assert snares >= 5  # of 6


def test_jazz_swings_in_triplets():
    ticks = {tick for bar in part("jazz")[:3] for tick, _, _ in bar}
    assert all(tick % 4 == 0 for tick in ticks)
    assert ticks & {8, 20, 32, 44}


def test_letters_bring_their_groove_back_and_the_end_is_one_stroke():
    bars = part("rock", sections=(("A", 4), ("B", 4), ("A", 4)))
    assert bars[1] == bars[9]
    assert bars[1] != bars[5]
    assert {tick for tick, _, _ in bars[-1]} == {0}
    assert part("rock", sections=(("A", 4),), end=False)[-1] != [(0, 36, 1.15), (0, 49, 1.1)]


def test_sections_close_with_a_fill():
    bars = part("rock")
    toms = {43, 47, 50}
    assert any(key in toms for _, key, _ in bars[3])
    assert not any(key in toms for _, key, _ in bars[2])


def test_an_ngram_step_sums_to_one():
    groove = grooves()["rock"]
    masks, nats = draw_bars(groove, 2, np.random.default_rng(0))
    assert len(masks) == 32
    assert nats < 0
    for place in (0, 1, 7, 16, 31):
        assert sum(probabilities(groove, masks[:place]).values()) == pytest.approx(1)


def test_the_likelihood_of_a_bar_is_that_of_its_steps():
    groove = grooves()["pop"]
    masks, nats = draw_bars(groove, 1, np.random.default_rng(1))
    expected = sum(np.log(probabilities(groove, masks[:i])[mask]) for i, mask in enumerate(masks))
    assert nats == pytest.approx(expected)
