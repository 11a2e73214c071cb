"""What all score models share: likelihoods by steps, the piano roll's average, embeddings, and saving."""

import copy
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from wavegen import checkpoints
from wavegen.errors import CheckpointError, InputError
from wavegen.music.models.base import ScoreModel, State, TokenEmbedding
from wavegen.music.models.recurrent import GRUScore, GRUScoreConfig, LSTMScore, LSTMScoreConfig
from wavegen.music.models.transformer import TransformerScore, TransformerScoreConfig
from wavegen.music.tokens import encode_steps, vocabulary

ROLL, TUNE = vocabulary("pianoroll"), vocabulary("tune")
BAR = ["Bar_2", "Chord_0:maj", "Pitch_60", "Dur_12", "Rest", "Dur_12", "Chord_7:7", "Pitch_62", "Dur_24"]
PHRASE = TUNE.tokens(["Style_jig", "Meter_4/4", "Mode_minor", *BAR, *BAR, "End"])


@dataclass(frozen=True)
class UniformConfig:
    vocabulary: str = "pianoroll"


class Uniform(ScoreModel):
    """All that may follow is equally likely; it has no more than the two methods that a model must have."""

    def start(self) -> State:
        return ()

    def step(self, state: State, token: int) -> tuple[Tensor, State]:
        may = self.vocabulary.follow[token]
        return torch.where(may, -math.log(int(may.sum())), -torch.inf), (*state, token)


def test_likelihood_by_steps() -> None:
    model = Uniform(UniformConfig())
    tokens = encode_steps([[21, 108], [], [60]])
    # After Begin and Step 88 keys or Step; after key 21 87 or Step; after key 108 only Step; after 60 (key 39) 49.
    expected = [math.log(89), math.log(88), 0.0, math.log(89), math.log(89), math.log(49)]
    assert (-model.log_prob(tokens)).tolist() == pytest.approx(expected)
    assert model.log_prob(tokens[:1]).shape == (0,)
    assert torch.equal(model.log_prob(torch.from_numpy(tokens)), model.log_prob(tokens.tolist()))
    with pytest.raises(InputError, match="none given"):
        model.log_prob([])
    with pytest.raises(InputError, match="token 1: Pitch_60 may not follow Pitch_62"):
        model.log_prob(ROLL.tokens(["Pitch_62", "Pitch_60"]))


def test_steps_are_pooled_over_sequences() -> None:
    model = Uniform(UniformConfig())
    sequences = [encode_steps([[]]), encode_steps([[108]] * 3)]
    assert model.nll_per_step(sequences) == pytest.approx(math.log(89))
    sequences = [encode_steps([[]]), encode_steps([[21]] * 3)]
    assert model.nll_per_step(sequences) == pytest.approx((math.log(89) * 4 + math.log(88) * 3) / 4)
    with pytest.raises(InputError, match="no time step"):
        model.nll_per_step([])
    with pytest.raises(InputError, match="tune has no time steps"):
        Uniform(UniformConfig("tune")).nll_per_step([PHRASE])
    with pytest.raises(InputError, match="vocabulary: must be one of"):
        Uniform(UniformConfig("abc"))


def tune_places(tokens: Any) -> list[tuple[int, int]]:
    """The slow reference of a tune's places and chords."""
    found, place, chord = [], 0, 0
    for token in tokens:
        family, value = TUNE.families[token], int(TUNE.values[token])
        place = 0 if family == "Bar" else place + (value if family == "Dur" else 0)
        chord = value + 1 if family == "Chord" else chord
        found.append((place, chord))
    return found


def test_embedding_knows_the_place_in_the_bar() -> None:
    torch.manual_seed(0)
    embedding = TokenEmbedding(TUNE, 6)
    whole = embedding(torch.from_numpy(PHRASE)[None])[0]
    for i, (place, chord) in enumerate(tune_places(PHRASE)):
        parts = embedding.token.weight[PHRASE[i]] + embedding.place.weight[place] + embedding.chord.weight[chord]
        assert torch.allclose(whole[i], parts, atol=1e-6)


def test_embedding_knows_the_notes_of_this_step_and_the_one_before() -> None:
    torch.manual_seed(0)
    embedding = TokenEmbedding(ROLL, 6)
    steps = [[60, 64], [], [61, 65, 70], [60]]
    whole = embedding(torch.from_numpy(encode_steps(steps))[None])[0]

    def expected(name: str, place: int, before: list[int], within: list[int]) -> Tensor:
        keys = [torch.zeros(88), torch.zeros(88)]
        for k, pitches in zip(keys, (before, within), strict=True):
            k[[p - 21 for p in pitches]] = 1
        own = embedding.token.weight[ROLL.index(name)] + embedding.place.weight[place]
        return own + embedding.before.weight @ keys[0] + embedding.within.weight @ keys[1]

    for i, place in {
        0: ("Begin", 0, [], []),
        2: ("Pitch_64", 2, [], [60, 64]),
        3: ("Step", 0, [60, 64], []),
        4: ("Step", 0, [], []),
        6: ("Pitch_65", 2, [], [61, 65]),
        8: ("Step", 0, [61, 65, 70], []),
        9: ("Pitch_60", 1, [61, 65, 70], [60]),
    }.items():
        assert torch.allclose(whole[i], expected(*place), atol=1e-5), i


@pytest.mark.parametrize(("vocab", "tokens"), [(TUNE, PHRASE), (ROLL, encode_steps([[60, 64], [], [61], [21, 108]]))])
def test_embedding_step_by_step(vocab: Any, tokens: Any) -> None:
    torch.manual_seed(0)
    embedding = TokenEmbedding(vocab, 6)
    whole = embedding(torch.from_numpy(tokens)[None])[0]
    where, found = embedding.start(), []
    for token in tokens.tolist():
        x, where = embedding.step(where, token)
        found.append(x[0, 0])
    assert torch.allclose(torch.stack(found), whole, atol=1e-5)


MODELS = [
    LSTMScore(LSTMScoreConfig(embedding=6, hidden=5, layers=2)),
    GRUScore(GRUScoreConfig("pianoroll", embedding=6, hidden=5, layers=1)),
    TransformerScore(TransformerScoreConfig(channels=8, hidden=8, layers=1, heads=2, context=16)),
]


@pytest.mark.parametrize("model", MODELS, ids=lambda m: type(m).__name__)
def test_a_checkpoint_without_features(tmp_path: Path, model: ScoreModel) -> None:
    path = tmp_path / "m.safetensors"
    checkpoints.save(path, model, card={"summary": "s"}, half=False)
    header = checkpoints.read_header(path)
    assert header.spec == {}
    assert header.kind.startswith("music-")
    again = checkpoints.load(path, role="score")
    assert type(again) is type(model)
    assert again.config == model.config
    assert type(again.config) is type(model.config)
    assert again.card == {"summary": "s"}
    assert not again.training
    tokens = PHRASE if model.config.vocabulary == "tune" else encode_steps([[60, 64], [61]])
    assert isinstance(again, ScoreModel)
    assert torch.equal(again.log_prob(tokens), copy.deepcopy(model).eval().log_prob(tokens))
    with pytest.raises(CheckpointError, match="what is needed here is a vocoder model"):
        checkpoints.load(path, role="vocoder")


def test_a_sequence_alone_and_padded_in_a_batch() -> None:
    model = copy.deepcopy(MODELS[0]).eval()
    short = PHRASE[:9]
    rows = np.full((2, len(PHRASE)), TUNE.padding)
    rows[0, : len(short)], rows[1] = short, PHRASE
    counts = torch.tensor([len(short), len(PHRASE)])
    nll = model.nll(torch.from_numpy(rows), counts)
    assert torch.allclose(-nll[0, :8], model.log_prob(short), atol=1e-6)
    assert (nll[0, 8:] == 0).all()
    losses = model.losses(torch.from_numpy(rows), counts)
    assert float(losses["total"].detach()) == pytest.approx(float(nll.detach().sum()) / (8 + len(PHRASE) - 1))
    losses["total"].backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
