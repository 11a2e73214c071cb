"""Reading folders, splitting, preparing, caching, and the order of data."""

from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings

from wavegen.errors import InputError
from wavegen.training.data import (
    Utterance,
    batch_indices,
    cached_waveforms,
    prepare_waveform,
    read_metadata,
    share,
    split_by_text,
)
from wavegen.training.speech_data import bucketed_batch, token_means


def test_reads_the_folder(speech_folder: Path) -> None:
    utterances = read_metadata(speech_folder)
    assert len(utterances) == 60
    assert utterances[0].id == "u00"
    assert utterances[0].path.is_file()
    assert utterances[0].text.startswith("one and one")


def test_three_columns_and_a_byte_order_mark(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", np.zeros(100), 8000)
    (tmp_path / "metadata.csv").write_text("\ufeffa|Dr. A|Doctor A\n\n", encoding="utf-8")
    assert read_metadata(tmp_path)[0].text == "Doctor A"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "LJSpeech layout"),
        ("", "no utterances"),
        ("a", "line 1: expected id|text"),
        ("a|", "line 1: expected id|text"),
        ("a|text\nb|text", "line 2: no audio file b.wav"),
        ("a|text\na|other", "line 2: a occurs twice"),
    ],
)
def test_bad_metadata_names_the_line(tmp_path: Path, content: str | None, message: str) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(100), 8000)
    if content is not None:
        (tmp_path / "metadata.csv").write_text(content)
    with pytest.raises(InputError, match=message.replace("|", r"\|")):
        read_metadata(tmp_path)


def test_not_text(tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(InputError, match="not UTF-8"):
        read_metadata(tmp_path)


def test_split_is_disjoint_by_text_and_stable() -> None:
    utterances = [Utterance(f"{i}-{take}", f"Sentence {i}!", Path("x")) for i in range(1000) for take in range(2)]
    parts = split_by_text(utterances)
    texts = {name: {u.text for u in part} for name, part in parts.items()}
    assert sum(len(p) for p in parts.values()) == 2000
    assert not texts["train"] & texts["test"]
    assert not texts["train"] & texts["validation"]
    assert not texts["validation"] & texts["test"]
    assert 0.03 < len(texts["test"]) / 1000 < 0.07
    assert 0.01 < len(texts["validation"]) / 1000 < 0.035
    again = split_by_text([Utterance("x", u.text.upper().replace("!", ""), Path("y")) for u in parts["test"]])
    assert len(again["test"]) == len(parts["test"])


def test_a_small_folder_still_has_a_validation_text() -> None:
    texts = [f"Sentence {i}." for i in range(1000)]
    few = [u for u in (Utterance(str(i), t, Path("x")) for i, t in enumerate(texts)) if split_by_text([u])["train"]][:9]
    parts = split_by_text([*few, Utterance("again", few[0].text, Path("x"))])
    assert {u.text for u in parts["validation"]}.isdisjoint(u.text for u in parts["train"])
    assert len({u.text for u in parts["validation"]}) == 1
    assert sum(map(len, parts.values())) == 10
    assert not split_by_text(few[:1])["validation"]


def test_preparation_trims_levels_and_centres() -> None:
    rate = 24000
    t = np.arange(rate) / rate
    x = np.concatenate([np.zeros(rate), 0.05 * np.sin(2 * np.pi * 200 * t), np.zeros(rate)]) + 0.01
    y = prepare_waveform(x[None].astype(np.float32), rate, rate)
    assert len(y) == pytest.approx(1.2 * rate, abs=rate * 0.05)
    middle = y[len(y) // 3 : 2 * len(y) // 3]
    assert 20 * np.log10(np.sqrt(np.mean(middle**2))) == pytest.approx(-23, abs=0.5)
    assert abs(float(middle.mean())) < 2e-3


@pytest.mark.parametrize("samples", [1, 100, 959, 5000])
def test_preparation_of_short_and_silent(samples: int) -> None:
    assert np.isfinite(prepare_waveform(np.zeros((2, samples), np.float32), 24000, 24000)).all()


def test_cache_returns_what_was_prepared_and_notices_change(tmp_path: Path) -> None:
    t = np.arange(12000) / 24000
    x = (0.2 * np.sin(2 * np.pi * 220 * t)).astype(np.float32)
    path = tmp_path / "a.wav"
    soundfile.write(path, x, 24000, subtype="FLOAT")
    utterances = [Utterance("a", "a", path), Utterance("b", "b", path)]
    first = cached_waveforms(utterances, 24000, tmp_path / "cache")
    assert np.abs(first.waveform(1) - prepare_waveform(x[None], 24000, 24000)).max() < 1e-4
    assert np.array_equal(first.waveform(0, 100, 50), first.waveform(0)[100:150])
    files = set((tmp_path / "cache").iterdir())
    cached_waveforms(utterances, 24000, tmp_path / "cache")
    assert set((tmp_path / "cache").iterdir()) == files
    soundfile.write(path, x[:6000], 24000, subtype="FLOAT")
    assert cached_waveforms(utterances, 24000, tmp_path / "cache").length(0) < first.length(0)


@settings(max_examples=40, deadline=None)
@given(count=st.integers(1, 50), batch=st.integers(1, 20), seed=st.integers(0, 5))
def test_every_epoch_uses_each_item_once(count: int, batch: int, seed: int) -> None:
    drawn = [i for step in range(count) for i in batch_indices(count, step, batch, seed)]
    for epoch in range(batch):
        assert sorted(drawn[epoch * count : (epoch + 1) * count]) == list(range(count))


@settings(max_examples=40, deadline=None)
@given(lengths=st.lists(st.integers(1, 500), min_size=1, max_size=90), batch=st.integers(1, 16), seed=st.integers(0, 9))
def test_buckets_use_no_item_twice(lengths: list[int], batch: int, seed: int) -> None:
    per_epoch = len(lengths) // min(batch, len(lengths))
    items = [i for step in range(per_epoch) for i in bucketed_batch(lengths, step, batch, seed)]
    assert len(items) == len(set(items)) == per_epoch * min(batch, len(lengths))
    assert bucketed_batch(lengths, 3, batch, seed) == bucketed_batch(lengths, 3, batch, seed)


def test_buckets_hold_similar_lengths() -> None:
    lengths = list(np.random.default_rng(0).integers(50, 500, 640))
    spread = [np.ptp([lengths[i] for i in bucketed_batch(lengths, s, 16, 0)]) for s in range(40)]
    assert np.mean(spread) < 100


def test_token_means_against_a_loop() -> None:
    random = np.random.default_rng(1)
    durations = random.integers(1, 7, 30)
    values = random.standard_normal(durations.sum()).astype(np.float32)
    valid = random.random(len(values)) > 0.5
    found = token_means(values, durations, valid)
    start = 0
    for i, d in enumerate(durations):
        inside = values[start : start + d][valid[start : start + d]]
        assert found[i] == pytest.approx(inside.mean() if len(inside) else 0.0, abs=1e-6)
        start += d


def test_lines_end_at_newlines_alone(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(100), 8000)
    soundfile.write(tmp_path / "b.wav", np.zeros(100), 8000)
    (tmp_path / "metadata.csv").write_bytes("a|One\u2028two\x0bthree\r\nb|Four\r\n".encode())
    assert [u.text for u in read_metadata(tmp_path)] == ["One\u2028two\x0bthree", "Four"]


def test_recording_without_samples_is_named(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(0), 8000)
    with pytest.raises(InputError, match=r"a\.wav"):
        cached_waveforms([Utterance("a", "a", tmp_path / "a.wav")], 8000, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_shares_make_up_the_batch_and_are_equal() -> None:
    assert sorted(share(range(6), 0, 2) + share(range(6), 1, 2)) == list(range(6))
    with pytest.raises(InputError, match="5 utterances cannot be shared evenly by 2"):
        share(range(5), 0, 2)
