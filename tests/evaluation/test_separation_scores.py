"""Scores of separation on signals whose scores are known by construction, bounds that bound, heads that are counted."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from wavegen.errors import InputError
from wavegen.evaluation.separation import (
    LIMIT_DB,
    METRICS,
    HeadReading,
    HeadScores,
    Share,
    active_frames,
    best_order,
    bounds,
    evaluate,
    evaluate_heads,
    family_share,
    global_sdr,
    ideal_mask,
    leakage,
    mask_size,
    mixture_as_estimate,
    museval_sdr,
    pitch_share,
    score,
    si_sdr,
    si_sdr_improvement,
    snr,
    song_items,
    table,
    with_heads,
    with_model,
)
from wavegen.separation.base import Separator, SeparatorSpec
from wavegen.training.mixtures import LabelledExample
from wavegen.training.stem_folders import prepared

Array = NDArray[np.float64]


def orthogonal(shape: tuple[int, ...], seed: int = 0) -> tuple[Array, Array]:
    """Two signals of energy 1 at right angles."""
    rng = np.random.default_rng(seed)
    s, n = rng.standard_normal((2, *shape))
    s /= np.linalg.norm(s)
    n -= (s * n).sum() * s
    return s, n / np.linalg.norm(n)


@settings(max_examples=60, deadline=None)
@given(st.floats(-60, 80), st.floats(-3, 3).filter(lambda a: abs(a) > 1e-3), st.integers(2, 400), st.integers(1, 2))
def test_si_sdr_by_construction(decibels: float, gain: float, samples: int, channels: int) -> None:
    s, n = orthogonal((channels, samples + 1))
    estimate = gain * (s + 10 ** (-decibels / 20) * n)
    assert si_sdr(s, estimate) == pytest.approx(decibels, abs=1e-5)
    assert si_sdr(7.0 * s, estimate) == pytest.approx(decibels, abs=1e-5)


def test_snr_and_global_sdr_by_construction() -> None:
    s, n = orthogonal((2, 1000))
    estimate = 0.5 * s + 0.1 * n
    assert snr(s, estimate) == pytest.approx(10 * math.log10(1 / (0.25 + 0.01)), abs=1e-9)
    assert global_sdr(s, estimate) == pytest.approx(10 * math.log10((1 + 1e-7) / (0.26 + 1e-7)), abs=1e-9)
    assert global_sdr(0 * s, 0 * s) == 0  # by its definition
    quiet = 1e-4 * s
    assert global_sdr(quiet, 0 * s) == pytest.approx(0, abs=1e-9)
    assert global_sdr(quiet, quiet) == pytest.approx(10 * math.log10((1e-8 + 1e-7) / 1e-7), abs=1e-9)
    assert snr(s, s) == LIMIT_DB
    assert leakage(0.1 * n, s) == pytest.approx(-20, abs=1e-9)
    assert leakage(0 * s, s) == -LIMIT_DB


def test_silence_has_no_ratio() -> None:
    s, n = orthogonal((1, 50))
    assert math.isnan(si_sdr(0 * s, n))
    assert math.isnan(snr(0 * s, n))
    assert si_sdr(s, 0 * s) == -LIMIT_DB  # nothing is not as good as the mixture at 0 dB
    assert si_sdr(s, n) < -LIMIT_DB / 2
    assert si_sdr(s, 2 * s) == LIMIT_DB
    assert snr(s, 0 * s) == 0


def test_improvement_is_over_the_mixture() -> None:
    s, n = orthogonal((300,))
    mixture, estimate = s + n, s + 0.1 * n
    assert si_sdr(s, mixture) == pytest.approx(0, abs=1e-9)
    assert si_sdr_improvement(s, estimate, mixture) == pytest.approx(20, abs=1e-9)


def test_scores_are_in_double_precision() -> None:
    s, n = orthogonal((2000,))
    loud = (s + 1e-6 * n).astype(np.float64)
    assert si_sdr(s, loud) == pytest.approx(min(120.0, LIMIT_DB))
    assert si_sdr(s, s + 2e-5 * n) == pytest.approx(-20 * math.log10(2e-5), abs=1e-3)


@pytest.mark.parametrize("pair", [((2, 5), (5,)), ((0,), (0,)), ((2, 3, 4), (2, 3, 4))])
def test_shapes_are_checked(pair: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    a, b = (np.ones(shape) for shape in pair)
    for metric in (si_sdr, snr, global_sdr, leakage):
        with pytest.raises(InputError, match="one shape"):
            metric(a, b)
    with pytest.raises(InputError, match="finite"):
        si_sdr(np.ones(3), np.array([1.0, np.nan, 0.0]))
    with pytest.raises(InputError, match="one shape"):
        museval_sdr(np.ones((2, 1, 9)), np.ones((2, 2, 9)), 4)


def test_framewise_sdr_is_the_median_over_seconds() -> None:
    rate, rng = 100, np.random.default_rng(0)
    s = rng.standard_normal((2, 2, 5 * rate + 37))
    errors = np.repeat(10 ** (-np.array([0.0, 10, 20, 30, 40]) / 20), rate)
    e = s.copy()
    e[0, :, : 5 * rate] *= 1 + errors
    e[1] *= 0.9
    e[..., 5 * rate :] = 99  # beyond the last whole second nothing counts
    assert museval_sdr(s, e, rate) == pytest.approx([20, 20], abs=1e-9)
    s[1, :, 4 * rate : 5 * rate] = 0  # a silent source takes the window from all
    assert museval_sdr(s, e, rate) == pytest.approx([15, 20], abs=1e-9)
    e[0, :, : 2 * rate] = 0  # so does a silent estimate
    assert museval_sdr(s, e, rate) == pytest.approx([25, 20], abs=1e-9)
    assert np.isnan(museval_sdr(0 * s, e, rate)).all()
    short = s[..., :30]
    assert museval_sdr(short, 1.1 * short, rate) == pytest.approx([20, 20], abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(4)))
def test_the_best_order_is_found(order: list[int]) -> None:
    rng = np.random.default_rng(3)
    s = rng.standard_normal((4, 1, 200))
    e = -0.3 * s[order] + 0.1 * rng.standard_normal(s.shape)
    found = best_order(s, e)
    assert [order[k] for k in found] == [0, 1, 2, 3]


def sources(seconds: float = 2.0, rate: int = 8000) -> Array:
    """Three tones and bursts that a mask can part, in two channels."""
    t = np.arange(round(seconds * rate)) / rate
    low, high = np.sin(2 * np.pi * 220 * t), np.sin(2 * np.pi * 1760 * t) * (np.sin(2 * np.pi * 2 * t) > 0)
    noise = np.random.default_rng(0).standard_normal(len(t)) * (t % 0.5 < 0.05)
    return np.stack([np.stack([x, 0.3 * x]) for x in (low, 0.5 * high, 0.5 * noise)])


def test_ideal_masks_bound_and_sum() -> None:
    s = sources()
    mix = s.sum(axis=0)
    for kind, least in (("IBM", 10.0), ("IRM", 10.0)):
        e = ideal_mask(s, kind, 256)
        np.testing.assert_allclose(e.sum(axis=0), mix, atol=1e-9)
        for true, made in zip(s, e, strict=True):
            assert si_sdr_improvement(true, made, mix) > least
    parts = np.stack([s[0], np.zeros_like(s[0])])
    np.testing.assert_allclose(ideal_mask(parts, "IRM", 256), parts, atol=1e-9)
    np.testing.assert_allclose(ideal_mask(0 * parts, "IRM", 256), 0 * parts, atol=0)
    np.testing.assert_allclose(ideal_mask(s[..., :1], "IBM", 256).sum(axis=0), mix[..., :1], atol=1e-9)
    with pytest.raises(InputError, match="IBM and IRM"):
        ideal_mask(s, "PSM", 256)


def test_the_ratio_mask_is_the_share_of_power() -> None:
    rng = np.random.default_rng(1)
    one = rng.standard_normal((1, 4000))
    e = ideal_mask(np.stack([one, 0.5 * one]), "IRM", 512)
    np.testing.assert_allclose(e[0], 0.8 * 1.5 * one, atol=1e-9)  # 1 / (1 + 0.25) of the mix


def test_bounds() -> None:
    s = sources()
    assert (mask_size(44100), mask_size(16000), mask_size(8000)) == (2048, 512, 256)
    ideal = bounds(8000)
    assert list(ideal) == ["mixture", "IBM", "IRM"]
    np.testing.assert_array_equal(ideal["mixture"](s)[2], s.sum(axis=0))
    np.testing.assert_array_equal(ideal["IBM"](s), ideal_mask(s, "IBM", 256))
    np.testing.assert_array_equal(mixture_as_estimate(s)[0], s.sum(axis=0))


def test_one_mix_is_scored() -> None:
    s = sources()
    e = s + 0.1 * s.sum(axis=0)
    found = score("x", s, e, ("a", "b", "c"), 8000)
    assert set(found.scores["a"]) == set(METRICS)
    mix = s.sum(axis=0)
    assert found.scores["b"]["si_sdr_i"] == pytest.approx(si_sdr(s[1], e[1]) - si_sdr(s[1], mix))
    assert found.scores["b"]["sdr_i"] == pytest.approx(global_sdr(s[1], e[1]) - global_sdr(s[1], mix))
    assert not found.leakage
    turned = score("x", s, e[[2, 0, 1]], ("a", "b", "c"), 8000, interchangeable=True)
    assert turned.scores == found.scores
    assert score("x", s, e[[2, 0, 1]], ("a", "b", "c"), 8000).scores["a"]["si_sdr"] < found.scores["a"]["si_sdr"] - 10
    with pytest.raises(InputError, match="3 sources for the names"):
        score("x", s, e, ("a", "b"), 8000)


def test_silent_references_stand_apart() -> None:
    s = sources()
    s[1] = 0
    s[2] *= 1e-6
    mix = s.sum(axis=0)
    e = np.stack([s[0], 0.01 * mix, 0 * mix])
    found = score("x", s, e, ("a", "b", "c"), 8000)
    assert set(found.scores) == {"a"}
    assert found.leakage["b"] == pytest.approx(-40, abs=1e-6)
    assert found.leakage["c"] == -LIMIT_DB
    assert math.isnan(found.scores["a"]["si_sdr_i"])  # the mix is the source: there is nothing to improve
    everything = score("x", 0 * s, e, ("a", "b", "c"), 8000)
    assert not everything.scores


def test_systems_on_the_same_mixes() -> None:
    s = sources().astype(np.float32)
    items = [("one", s), ("two", 0.1 * s)]
    true = iter(s for _, s in items)
    found = evaluate({"truth": lambda mix: next(true), "half": lambda mix: np.stack([mix / 2] * 3)}, items, "abc", 8000)
    assert [system.name for system in found] == ["mixture", "IBM", "IRM", "truth", "half"]
    mixture, _, irm, truth, half = found
    assert truth.mean("si_sdr") == LIMIT_DB
    assert mixture.mean("si_sdr_i") == pytest.approx(0, abs=1e-9)
    assert half.mean("si_sdr_i") == pytest.approx(0, abs=1e-5)  # its scale does not matter
    assert irm.mean("sdr_i") > 10
    per_source = [irm.mean("sdr", name) for name in "abc"]
    assert irm.mean("sdr") == pytest.approx(np.mean(per_source))
    interval = irm.estimate("sdr", "a")
    assert interval.low <= interval.value <= interval.high
    lines = table(found, ("si_sdr", "sdr")).splitlines()
    assert lines[0] == "| system | SI-SDR | global SDR | global SDR: a | global SDR: b | global SDR: c |"
    assert lines[5].startswith(f"| truth | {LIMIT_DB:.2f} |")
    assert len({line.count("|") for line in lines}) == 1
    json.dumps(irm.to_dict(), allow_nan=False)
    with pytest.raises(InputError, match="bad: "):
        evaluate({"bad": lambda mix: mix}, items, "abc", 8000)
    with pytest.raises(InputError, match="no mix"):
        evaluate({}, [], "abc", 8000)


def test_leakage_has_its_own_column() -> None:
    s = sources().astype(np.float32)
    s[2] = 0
    found = evaluate({"half": lambda mix: np.stack([mix / 2] * 3)}, [("x", s)], "abc", 8000, with_bounds=False)
    assert found[0].mean_leakage() == pytest.approx(20 * math.log10(0.5), abs=1e-6)
    assert math.isnan(found[0].mean("sdr", "c"))
    lines = table(found).splitlines()
    assert lines[0].endswith("| global SDR: c | silent: leakage |")
    assert lines[2].endswith("| – | -6.02 |")
    assert found[0].to_dict()["sources"]["c"]["sdr"]["value"] is None


class Halves(Separator):
    """A third to one source, two to the other; and what it would read."""

    context, hop, config = 0, 100, None

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.spec = SeparatorSpec(8000, channels, ("a", "b"))

    def estimate(self, mix: Tensor) -> Tensor:
        return torch.stack([mix / 3, 2 * mix / 3], dim=1)

    def read(self, mix: Tensor) -> object:
        assert mix.square().mean() == pytest.approx(1, abs=1e-5)
        frames = mix.shape[-1] // self.hop + 1
        pitch = torch.zeros(1, 2, 129, frames)
        pitch[0, 0, 60] = 1
        pitch[0, 1, 128] = 1

        class Reading:
            family = torch.tensor([[[0.0, 1, 0], [0, 0, 1]]])

        Reading.pitch = pitch  # type: ignore[attr-defined]
        return Reading


def test_a_model_separates_in_chunks() -> None:
    mix = np.random.default_rng(0).standard_normal((1, 100_001)).astype(np.float32)
    made = with_model(Halves().eval())(mix)
    assert made.shape == (2, 1, 100_001)
    np.testing.assert_allclose(made[1], 2 * mix / 3, atol=1e-5)


def test_songs_are_read_whole_or_in_part(tmp_path: Path) -> None:
    rate = 8000
    s = sources(3.0).astype(np.float32) * 0.5
    for name, part in zip(("drums", "bass", "piano"), s, strict=True):
        (tmp_path / "song").mkdir(exist_ok=True)
        soundfile.write(tmp_path / "song" / f"{name}.wav", part.T, rate, subtype="FLOAT")
    files = prepared(tmp_path, None)
    names = ("vocals", "drums", "bass", "other")
    ((name, whole),) = song_items(files, names, rate, 2, tmp_path / "cache")
    assert name == "song"
    np.testing.assert_allclose(whole[1:], np.clip(s, -1, 32767 / 32768), atol=1 / 32768)
    assert not whole[0].any()
    ((_, middle),) = song_items(files, names, rate, 2, tmp_path / "cache", seconds=1.0)
    np.testing.assert_array_equal(middle, whole[..., rate : 2 * rate])
    ((_, longer),) = song_items(files, names, rate, 1, tmp_path / "cache", seconds=9.0)
    assert longer.shape == (4, 1, 3 * rate)


# ------------------------------------------------------------------------------------------------ heads on a source


def test_shares_add_up() -> None:
    total = Share(3, 4) + Share(0, 2)
    assert (total.right, total.total, total.rate) == (3, 6, 0.5)
    assert math.isnan(Share(0, 0).rate)


def test_only_voiced_and_active_frames_count() -> None:
    true = np.array([60, 60, -1, -2, 62, 64])
    read = np.array([60, 61, -1, -2, -1, 64])
    assert pitch_share(read, true) == Share(2, 4)
    assert pitch_share(read, true, np.array([True, False, True, True, True, False])) == Share(1, 2)
    assert family_share(np.array([1, 2, 3]), np.array([1, -1, 4])) == Share(1, 2)
    with pytest.raises(InputError, match="frame by frame"):
        pitch_share(read[:-1], true)
    with pytest.raises(InputError, match="source by source"):
        family_share(read[:-1], true)


def test_active_frames() -> None:
    x = np.zeros((2, 1000))
    x[0, 300:600] = 1.0
    x[1, 800:900] = 0.005  # 46 dB under the loudest
    found = active_frames(x, 100, 11)
    assert np.flatnonzero(found).tolist() == [3, 4, 5, 6]
    assert 8 in np.flatnonzero(active_frames(x, 100, 11, floor_db=-50))
    assert not active_frames(0 * x, 100, 11).any()


def test_heads_are_judged() -> None:
    rng = np.random.default_rng(0)
    wave = rng.standard_normal((2, 1, 1000)).astype(np.float32)
    pitches = np.array([[60] * 6 + [72] * 3 + [-1] * 2, [-2] * 11])
    both = LabelledExample(wave, pitches, np.array([1, 0]), np.array([True, True]))
    silent = LabelledExample(np.stack([wave[0], 0 * wave[1]]), pitches, np.array([1, 0]), np.array([True, True]))
    found = evaluate_heads(with_heads(Halves()), [both, silent], 100)
    first, second = found
    assert first == HeadScores(Share(12, 18), Share(18, 18), Share(18, 18), Share(0, 0), Share(2, 2))
    assert second == HeadScores(family=Share(0, 1))  # a silent source has no family to be heard
    assert first + second == replace(first, family=Share(2, 3))
    with pytest.raises(InputError, match="no example"):
        evaluate_heads(with_heads(Halves()), [], 100)
    short = HeadReading(pitches[:, :5], pitches[:, :5] >= 0, np.array([1, 0]))
    with pytest.raises(InputError, match="the labels are"):
        evaluate_heads(lambda mix: short, [both], 100)


def test_notes_are_judged_apart_from_whether_one_sounds() -> None:
    """Frames 0-4 sound a note, 5-7 ring after it, 8-10 are silent."""
    wave = np.ones((1, 1, 1000), np.float32)
    wave[..., 700:] = 0
    true = np.array([[60] * 5 + [-1] * 6])
    example = LabelledExample(wave, true, np.array([-1]), np.array([True]))
    pitch = np.array([[60, 60, 48, 61, 60, 60, 60, 60, 60, 60, 60]])
    voiced = np.array([[True, False, True, True, False, True, True, True, False, True, False]])
    (found,) = evaluate_heads(lambda mix: HeadReading(pitch, voiced, np.array([3])), [example], 100)
    assert found == HeadScores(Share(3, 5), Share(4, 5), Share(3, 5), Share(1, 3), Share(0, 0))
