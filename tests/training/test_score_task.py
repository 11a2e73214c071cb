"""Score models' material and training: corpora on disk, excerpts, transposition, and that a run teaches and resumes."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from wavegen import checkpoints
from wavegen.audio.features import FeatureSpec
from wavegen.errors import InputError
from wavegen.music.models.base import ScoreModel
from wavegen.music.tokens import decode_steps, encode_steps, vocabulary
from wavegen.training.loop import LoopConfig, Trainer
from wavegen.training.run import train
from wavegen.training.tasks.score import (
    ScoreTask,
    ScoreTaskConfig,
    TokenCorpus,
    collate,
    excerpt,
    read_corpus,
    write_corpus,
)

TUNE, ROLL = vocabulary("tune"), vocabulary("pianoroll")
SIZES = {"lstm": {"embedding": 8, "hidden": 16, "layers": 1}, "gru": {"embedding": 8, "hidden": 16, "layers": 1}}
SIZES["transformer"] = {"channels": 8, "hidden": 16, "layers": 1, "heads": 2, "context": 32}


def roll(seed: int, steps: int = 20, low: int = 50, high: int = 70) -> np.ndarray:
    """A chord that climbs, so that there is something to learn."""
    start = np.random.default_rng(seed).integers(low, high - 8)
    return encode_steps([[start + k % 4, start + 4 + k % 4] for k in range(steps)])


def tune(bars: int) -> np.ndarray:
    names = ["Style_jig", "Meter_6/8", "Mode_major"]
    for left in range(bars, 0, -1):
        names += [f"Bar_{left}", "Chord_0:maj", f"Pitch_{60 + left}", "Dur_18", "Pitch_60", "Dur_18"]
    return TUNE.tokens([*names, "End"])


def rolls(count: int = 12) -> TokenCorpus:
    return TokenCorpus("pianoroll", [roll(i, 10 + i) for i in range(count)], [roll(100 + i) for i in range(3)])


def task_of(corpus: TokenCorpus, model: str = "lstm", **settings: Any) -> ScoreTask:
    torch.manual_seed(0)
    return ScoreTask(ScoreTaskConfig(model, SIZES[model], **settings), FeatureSpec(), corpus, seed=1)


def test_a_corpus_comes_back(tmp_path: Path) -> None:
    corpus = TokenCorpus("tune", [tune(3), tune(1), tune(7)], [tune(2)])
    write_corpus(tmp_path / "c.npz", corpus)
    again = read_corpus(tmp_path / "c.npz")
    assert again.vocabulary == "tune"
    for name in ("train", "validation"):
        pairs = zip(getattr(corpus, name), getattr(again, name), strict=True)
        assert all(np.array_equal(a, b) and b.dtype == np.int64 for a, b in pairs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocabulary": np.array("abc")}, "vocabulary: must be one of"),
        ({"train": None}, "train is missing"),
        ({"train_lengths": np.array([99])}, "train: its lengths must be at least 2 and sum to its 42 tokens"),
        ({"train_lengths": np.array([41, 1])}, "at least 2"),
        ({"validation": np.zeros(0, int), "validation_lengths": np.zeros(0, int)}, "validation: its lengths"),
        ({"train": np.full(42, 5)}, "train, sequence 0: token 1: Pitch_25 may not follow Pitch_25"),
        ({"train": np.full(42, 500)}, "sequence 0: token 0: 500 is outside"),
    ],
)
def test_corpora_in_error(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    tokens = encode_steps([[60], [62], [64]] * 6 + [[60, 64]] + [[60]])
    arrays: dict[str, Any] = {"vocabulary": np.array("pianoroll")}
    for name in ("train", "validation"):
        arrays |= {name: tokens, f"{name}_lengths": np.array([len(tokens)])}
    assert len(tokens) == 42
    arrays = {k: v for k, v in {**arrays, **change}.items() if v is not None}
    np.savez(tmp_path / "c.npz", **arrays)
    with pytest.raises(InputError, match=message):
        read_corpus(tmp_path / "c.npz")


def test_files_that_are_no_corpus(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_corpus(tmp_path)
    (tmp_path / "x.npz").write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(InputError, match=r"x\.npz: not a readable \.npz"):
        read_corpus(tmp_path / "x.npz")


@pytest.mark.parametrize("place", [0.0, 0.31, 0.5, 0.9])
def test_an_excerpt_begins_with_a_bar_or_step(place: float) -> None:
    whole = tune(20)
    cut = excerpt(whole, TUNE, 33, place)
    assert len(cut) == 33
    TUNE.check(cut)
    assert np.array_equal(cut[:3], whole[:3])
    first = np.flatnonzero(whole == cut[3])[0]
    assert TUNE.families[cut[3]] == "Bar"
    assert np.array_equal(cut[3:], whole[first : first + 30])
    long = roll(0, 50)
    cut = excerpt(long, ROLL, 31, place)
    assert len(cut) == 31
    ROLL.check(cut)
    whole_steps, steps = decode_steps(long), decode_steps(cut)
    assert [s.tolist() for s in steps] in [
        [s.tolist() for s in whole_steps[i : i + len(steps)]] for i in range(len(whole_steps))
    ]


def test_excerpts_reach_everywhere_and_short_ones_are_whole() -> None:
    whole = tune(20)
    starts = {int(TUNE.values[excerpt(whole, TUNE, 33, p)[3]]) for p in np.linspace(0, 0.9999, 200)}
    assert starts == set(range(4, 21))
    last = excerpt(whole, TUNE, 33, 0.9999)
    assert np.array_equal(last[3:], whole[-25:])  # four bars and End, which would else never be learned
    assert excerpt(whole, TUNE, len(whole), 0.7) is whole


def test_transposition_stays_on_the_piano() -> None:
    edge = encode_steps([[21, 60], [22, 106]] * 10)
    corpus = TokenCorpus("pianoroll", [edge] * 4, [edge])
    task = task_of(corpus, batch=4, transpose=6)
    moved = set()
    for step in range(40):
        for row, count in zip(*(task.batch(step, 0, 1)[k] for k in ("tokens", "counts")), strict=True):
            steps = decode_steps(row[:count].numpy())
            moved.add(int(steps[0][0]) - 21)
            assert [(s - steps[0][0] + 21).tolist() for s in steps] == [s.tolist() for s in decode_steps(edge)]
    assert moved == {0, 1, 2}
    with pytest.raises(InputError, match="tunes are all written in C"):
        task_of(TokenCorpus("tune", [tune(2)], [tune(2)]), transpose=1)


def test_batches_are_functions_of_seed_and_step() -> None:
    task = task_of(rolls(), batch=4, length=24, transpose=3)
    batch = task.batch(3, 0, 1)
    again = task.batch(3, 0, 1)
    assert all(torch.equal(batch[k], again[k]) for k in batch)
    assert not torch.equal(batch["tokens"], task.batch(4, 0, 1)["tokens"])
    for rank in (0, 1):
        half = task.batch(3, rank, 2)
        width = half["tokens"].shape[1]
        assert torch.equal(half["counts"], batch["counts"][rank::2])
        assert torch.equal(half["tokens"], batch["tokens"][rank::2, :width])
    with pytest.raises(InputError, match="cannot be shared evenly"):
        task.batch(0, 0, 3)


def test_validation_is_the_likelihood() -> None:
    corpus = rolls()
    corpus = dataclasses.replace(corpus, validation=[roll(1, 5), roll(2, 31), roll(3, 17)])
    task = task_of(corpus, batch=2)
    model = task.model.eval()
    found = task.validate(model).scalars
    total = -sum(float(model.log_prob(s).detach().sum()) for s in corpus.validation)
    assert found["nll"] == pytest.approx(total / sum(len(s) - 1 for s in corpus.validation), abs=1e-5)
    assert found["nll_per_step"] == pytest.approx(model.nll_per_step(corpus.validation), abs=1e-4)
    tunes = TokenCorpus("tune", [tune(2)] * 4, [tune(3)])
    assert set(task_of(tunes).validate(task_of(tunes).model.eval()).scalars) == {"total", "nll"}


@pytest.mark.parametrize("model", ["lstm", "gru", "transformer"])
def test_training_teaches(tmp_path: Path, model: str) -> None:
    task = task_of(rolls(), model, batch=4, length=40)
    before = task.validate(task.model.eval()).scalars["nll"]
    loop = LoopConfig(steps=40, learning_rate=0.03, warmup_steps=5, ema=0.8, amp=False, tensorboard=False, threads=1)
    trainer = Trainer(task, loop, tmp_path / "run")
    trainer.run()
    assert isinstance(trainer.ema, ScoreModel)
    after = task.validate(trainer.ema).scalars["nll"]
    assert before > 2.5
    assert after < before - 1
    loaded = checkpoints.load(tmp_path / "run" / "model.safetensors", role="score")
    assert isinstance(loaded, ScoreModel)
    assert loaded.nll_per_step(task.corpus.validation) == pytest.approx(
        trainer.ema.eval().nll_per_step(task.corpus.validation), rel=0.01
    )


def test_trained_and_resumed_from_a_configuration_file(tmp_path: Path) -> None:
    write_corpus(tmp_path / "c.npz", TokenCorpus("tune", [tune(2 + i) for i in range(8)], [tune(4)]))
    values = {
        "kind": "score",
        "task": {"model": "lstm", "sizes": SIZES["lstm"], "batch": 2, "length": 32},
        "loop": {"steps": 2, "tensorboard": False, "threads": 1},
        "card": {"summary": "s"},
    }
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(values))
    train(tmp_path / "c.yaml", data=tmp_path / "c.npz", output=tmp_path / "run", device="cpu")
    path = tmp_path / "run" / "model.safetensors"
    assert checkpoints.read_header(path).kind == "music-lstm"
    assert checkpoints.read_header(path).config["vocabulary"] == "tune"
    more = {"data": tmp_path / "c.npz", "output": tmp_path / "run", "device": "cpu", "resume": True}
    train(tmp_path / "c.yaml", overrides=["loop.steps=3"], **more)  # type: ignore[arg-type]
    assert checkpoints.read_header(path).card["steps"] == 3
    write_corpus(tmp_path / "c.npz", TokenCorpus("tune", [tune(3 + i) for i in range(8)], [tune(4)]))
    with pytest.raises(InputError, match=r"another configuration \(data\)"):
        train(tmp_path / "c.yaml", overrides=["loop.steps=4"], **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "rnn"}, "task.model: must be one of lstm, gru, transformer, vae"),
        ({"batch": 0}, "task.batch must be positive"),
        ({"length": 4}, "task.length must be at least 8"),
        ({"transpose": -1}, "task.transpose must not be negative"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ScoreTaskConfig(**settings)


def test_sizes_that_the_model_does_not_have() -> None:
    config = ScoreTaskConfig("gru", {"heads": 2})
    with pytest.raises(InputError, match=r"task\.sizes\.heads: unknown key"):
        ScoreTask(config, FeatureSpec(), rolls(), seed=1)


def test_padding_is_what_may_follow() -> None:
    batch = collate([tune(1), tune(2)], TUNE)
    assert batch["counts"].tolist() == [len(tune(1)), len(tune(2))]
    for row in batch["tokens"]:
        TUNE.check(row.numpy())
    for row in collate([roll(0, 3), roll(1, 9)], ROLL)["tokens"]:
        ROLL.check(row.numpy())
