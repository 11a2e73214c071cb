"""The bar-wise GAN: grids, its policy over tokens, and a training in which neither side wins outright."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wavegen import checkpoints
from wavegen.audio.features import FeatureSpec
from wavegen.errors import InputError
from wavegen.music.attributes import Key
from wavegen.music.constraint import TuneConstraint
from wavegen.music.models.gan import (
    CHORDS,
    COLUMNS,
    HOLD,
    OUTSIDE,
    PITCHES,
    REST,
    BarGAN,
    BarGANConfig,
    Bars,
    bars_of,
    column_at,
    columns_of,
)
from wavegen.music.sampling import sample
from wavegen.music.tokens import LOWEST, METERS, bar_ticks, decode, vocabulary
from wavegen.training.loop import LoopConfig, Trainer
from wavegen.training.tasks.bar_gan import BarGANTask, BarGANTaskConfig, distances
from wavegen.training.tasks.score import TokenCorpus, write_corpus

TUNE = vocabulary("tune")
SMALL = BarGANConfig(channels=6, noise=4, condition=8)


def toy(seed: int, bars: int = 6) -> np.ndarray:
    """Bars of four eighths from a chord's three notes."""
    random = np.random.default_rng(seed)
    names = ["Style_polka", "Meter_2/4", "Mode_major"]
    for k in range(bars, 0, -1):
        root = int(random.choice([0, 5, 7]))
        names += [f"Bar_{k}", f"Chord_{root}:maj"]
        for _ in range(4):
            names += [f"Pitch_{60 + root + int(random.choice([0, 4, 7]))}", "Dur_6"]
    return TUNE.tokens([*names, "End"])


def model(seed: int = 1) -> BarGAN:
    torch.manual_seed(seed)
    found = BarGAN(SMALL).eval()
    found.learn_chords([toy(i) for i in range(20)])
    return found


def test_bars_become_grids() -> None:
    first = "Bar_2 Chord_0:min Pitch_60 Dur_12 Pitch_62 Dur_6 Chord_7:7 Rest Dur_6 Pitch_64 Dur_4 Pitch_65 Dur_4"
    text = f"Style_jig Meter_6/8 Mode_minor {first} Pitch_67 Dur_4 Bar_1 Chord_5:maj Tie Dur_36 End"
    names = text.split()
    bars = bars_of([TUNE.tokens(names)], TUNE)
    c, d, e, f, g = (p - LOWEST for p in (60, 62, 64, 65, 67))
    grid = [c, HOLD, HOLD, HOLD, d, HOLD, REST, REST, e, f, HOLD, g]
    assert bars.current[0].tolist() == grid + [OUTSIDE] * (COLUMNS - 12)
    assert bars.current[1].tolist() == [HOLD] * 12 + [OUTSIDE] * (COLUMNS - 12)
    assert bars.previous[0].tolist() == [OUTSIDE] * COLUMNS
    assert bars.previous[1].tolist() == bars.current[0].tolist()
    assert bars.chord.tolist() == [1, 25]  # 0:min and 5:maj, not the change in the middle
    assert METERS[bars.meter[0]] == "6/8"
    with pytest.raises(InputError, match="no bar"):
        bars_of([TUNE.tokens(["Style_jig", "Meter_6/8"])], TUNE)


def test_every_metre_fits_the_grid() -> None:
    for meter in METERS:
        assert columns_of(meter) * 3 == bar_ticks(meter)
        assert columns_of(meter) <= COLUMNS
    assert [column_at(t) for t in (0, 1, 2, 3, 4, 8, 12)] == [0, 0, 1, 1, 1, 3, 4]


def test_columns_hold_what_the_metre_allows() -> None:
    gan = model()
    bars = bars_of([toy(1)], TUNE)
    bars = bars._replace(meter=torch.arange(6) % len(METERS))
    made = gan.draw(gan(torch.randn(6, 4), bars)).argmax(1)
    ends = torch.tensor([columns_of(METERS[i % len(METERS)]) for i in range(6)])[:, None]
    past = torch.arange(COLUMNS) >= ends
    assert bool((made[past] == OUTSIDE).all())
    assert bool((made[~past] < OUTSIDE).all())


def test_gradients_go_straight_through() -> None:
    gan = model()
    bars = bars_of([toy(1)], TUNE)
    made = gan.draw(gan(torch.randn(6, 4), bars))
    assert set(made.detach().unique().tolist()) == {0.0, 1.0}
    made[:, :PITCHES].sum().backward()
    assert float(gan.input.weight.grad.abs().max()) > 0


def test_steps_sum_to_one_and_states_are_values() -> None:
    gan = model()
    tokens = toy(5).tolist()
    state = gan.start()
    for token in tokens:
        log_probs, after = gan.step(state, token)
        again, _ = gan.step(state, token)
        assert torch.equal(log_probs, again)
        assert abs(float(log_probs.exp().sum()) - 1) < 1e-9
        assert torch.equal(log_probs > -math.inf, TUNE.follow[token])
        state = after


def test_the_policy_is_that_of_the_columns() -> None:
    """Of a bar's first note: pitch and duration have the probabilities of the grid that says the same."""
    gan = model(3)
    state = gan.start()
    for name in ("Style_polka", "Meter_2/4", "Mode_major", "Bar_4", "Chord_0:maj"):
        log_probs, state = gan.step(state, TUNE.index(name))
    p = log_probs.exp().numpy()
    columns = state.probabilities
    assert abs(columns[:, 0].sum() - 1) < 1e-9
    even = 1e-3 / int(TUNE.follow[TUNE.index("Chord_0:maj")].sum())
    assert math.isclose(p[TUNE.index("Pitch_64")], 0.999 * columns[64 - LOWEST, 0] + even, rel_tol=1e-9)
    assert math.isclose(p[TUNE.index("Rest")], 0.999 * columns[REST, 0] + even, rel_tol=1e-9)
    durations = gan.step(state, TUNE.index("Pitch_64"))[0].exp().numpy()
    even = 1e-3 / 84
    holds = columns[HOLD]
    expected = holds[1] * (1 - holds[2])
    assert math.isclose(durations[TUNE.index("Dur_6")], 0.999 * expected + even, rel_tol=1e-9)
    assert math.isclose(durations[TUNE.index("Dur_24")], 0.999 * np.prod(holds[1:8]) + even, rel_tol=1e-9)
    assert math.isclose(durations[TUNE.index("Dur_27")], even, rel_tol=1e-9)


def test_noise_depends_on_the_seed_and_the_bars_before() -> None:
    gan = model(2)
    names = ("Style_polka", "Meter_2/4", "Mode_major", "Bar_4", "Chord_0:maj")

    def columns(seed: int, style: str) -> np.ndarray:
        gan.seed = seed
        state = gan.start()
        for name in (style, *names[1:]):
            _, state = gan.step(state, TUNE.index(name))
        return state.probabilities

    assert np.array_equal(columns(1, "Style_polka"), columns(1, "Style_polka"))
    assert not np.allclose(columns(1, "Style_polka"), columns(2, "Style_polka"))


@settings(max_examples=10, deadline=None)
@given(st.sampled_from(METERS), st.integers(1, 5), st.integers(0, 99))
def test_samples_keep_the_plan(meter: str, bars: int, seed: int) -> None:
    plan = TuneConstraint(TUNE, style="air", meter=meter, mode="minor", bars=bars)
    tokens = sample(model(), plan, generator=np.random.default_rng(seed))
    tune = decode(tokens, Key(2, "minor"))
    assert len(tune.bars) == bars
    assert tune.bars[-1].chords[-1][1].root == 0
    with pytest.raises(InputError, match="no likelihood"):
        model().log_prob(tokens)


def test_chords_follow_as_they_did() -> None:
    gan = model()
    first = gan.chords[CHORDS].exp()
    known = [0, 25, 35]  # 0:maj, 5:maj, 7:maj
    assert float(first[known].sum()) > 0.9
    assert abs(float(first.sum()) - 1) < 1e-5
    assert float(gan.change) < 0.2


def corpus() -> TokenCorpus:
    return TokenCorpus("tune", [toy(i) for i in range(40)], [toy(100 + i) for i in range(8)])


def test_training_comes_nearer_while_the_discriminator_neither_wins_nor_loses(tmp_path: Path) -> None:
    torch.manual_seed(1)
    config = BarGANTaskConfig(model=SMALL, channels=8, batch=16)
    task = BarGANTask(config, FeatureSpec(), corpus(), 1)
    torch.manual_seed(0)
    before = task.validate(task.model.eval()).scalars
    accuracies = []
    plain = task.step

    def recorded(trainer, batch):
        logs = plain(trainer, batch)
        accuracies.append(float(logs["accuracy"]))
        return logs

    task.step = recorded
    loop = LoopConfig(
        steps=100,
        learning_rate=4e-3,
        warmup_steps=5,
        betas=(0.5, 0.99),
        ema=0.9,
        amp=False,
        tensorboard=False,
        log_steps=50,
        threads=1,
    )
    Trainer(task, loop, tmp_path / "run").run()
    late = np.array(accuracies[30:])
    assert 0.55 < late.mean() < 0.95, late.mean()
    assert late.std() > 0.01
    loaded = checkpoints.load(tmp_path / "run" / "model.safetensors")
    assert isinstance(loaded, BarGAN)
    torch.manual_seed(0)
    after = task.validate(loaded).scalars
    assert after["notes_off"] < 0.5 * before["notes_off"]
    assert after["pitch_classes_off"] < before["pitch_classes_off"]
    assert after["rhythm_off"] < before["rhythm_off"]
    assert torch.allclose(loaded.chords, task.model.chords, atol=0.01)  # fp16


def test_a_file_is_prepared_and_batches_are_shared(tmp_path: Path) -> None:
    write_corpus(tmp_path / "tunes.npz", corpus())
    config = BarGANTaskConfig(model=SMALL, channels=4, batch=8)
    task, digest = BarGANTask.prepare(config, FeatureSpec(), tmp_path / "tunes.npz", tmp_path, 3)
    assert len(digest) > 8
    whole, parts = task.batch(5, 0, 1), [task.batch(5, rank, 2) for rank in (0, 1)]
    assert len(whole["chord"]) == 8
    assert sorted(whole["chord"].tolist()) == sorted(torch.cat([p["chord"] for p in parts]).tolist())
    assert Bars(**whole).current.shape == (8, COLUMNS)


def test_distances() -> None:
    bars = bars_of([toy(1)], TUNE).current
    assert set(distances(bars, bars).values()) == {0.0}
    moved = torch.where(bars < PITCHES, bars + 1, bars)
    found = distances(moved, bars)
    assert found["rhythm_off"] == found["notes_off"] == 0
    assert found["pitch_classes_off"] > 0.3
    empty = torch.where(bars < OUTSIDE, REST, bars)
    assert distances(empty, bars)["notes_off"] == 4


def test_bad_input_is_named() -> None:
    with pytest.raises(InputError, match="writes tunes, not 'pianoroll'"):
        BarGANConfig(vocabulary="pianoroll")
    with pytest.raises(InputError, match="noise must be positive"):
        replace(SMALL, noise=0)
    with pytest.raises(InputError, match=r"task\.ceiling must lie in \(0.5, 1\]"):
        BarGANTaskConfig(ceiling=0.4)
    with pytest.raises(InputError, match=r"task\.smoothing"):
        BarGANTaskConfig(smoothing=0.7)
    with pytest.raises(InputError, match="learns from tunes"):
        BarGANTask(BarGANTaskConfig(), FeatureSpec(), TokenCorpus("pianoroll", [], []), 1)
