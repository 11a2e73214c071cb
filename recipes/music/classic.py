"""The models of lead sheets that learn by counting or EM, and the scores of any model on the test part.

    python recipes/music/classic.py TUNES.npz OUTPUT --fit ngram hmm gmm
    python recipes/music/classic.py TUNES.npz OUTPUT --score OUTPUT/tune-vae.safetensors

TUNES.npz is the corpus that prepare_tunes.py writes. Fitted models go to OUTPUT/tune-NAME.safetensors, with their
scores in the header: nats per token and per note on the test part, whose tunes no model has seen. Each takes one
thread a few minutes.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wavegen import checkpoints
from wavegen.checkpoints.kinds import KINDS
from wavegen.music.models.base import ScoreModel
from wavegen.music.tokens import IntArray
from wavegen.training.tasks.score import read_corpus

SIZES: dict[str, dict[str, Any]] = {
    "ngram": {"order": 7, "least": 3},
    "hmm": {"states": 96},
    "gmm": {"components": 24},
}
LEARNING: dict[str, dict[str, Any]] = {"ngram": {}, "hmm": {"iterations": 25}, "gmm": {}}
SUMMARIES = {
    "ngram": "Markov model of lead sheets: Kneser-Ney over 7 tokens",
    "hmm": "Hidden Markov model of lead sheets, 96 states",
    "gmm": "Gaussian mixtures of the numbers of lead sheets' tokens",
}
DATA = "tunes of Ryan's Mammoth Collection and O'Neill's Music of Ireland, chorales by Bach (public domain)"


def test_part(path: Path) -> list[IntArray]:
    """The sequences that neither learning nor choices have seen."""
    with np.load(path, allow_pickle=False) as file:
        return list(np.split(file["test"].astype(np.int64), np.cumsum(file["test_lengths"])[:-1]))


@torch.no_grad()
def scores(model: ScoreModel, sequences: list[IntArray]) -> dict[str, float]:
    """Nats per predicted token and per note, over all sequences together; of a VAE, bounds, and the KL a segment."""
    pitches = model.vocabulary.family("Pitch")
    nats = -sum(float(model.log_prob(tokens).double().sum()) for tokens in sequences)
    found = {
        "test_nats_per_token": nats / sum(len(tokens) - 1 for tokens in sequences),
        "test_nats_per_note": nats / sum(int(pitches[tokens].sum()) for tokens in sequences),
    }
    if hasattr(model, "elbo"):
        divergences = torch.cat([model.elbo(tokens).divergence.sum(1) for tokens in sequences])
        found["test_divergence_per_segment"] = float(divergences.mean())
    return {name: round(value, 4) for name, value in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tunes", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--fit", nargs="+", choices=[*SIZES], default=[])
    parser.add_argument("--score", nargs="+", type=Path, default=[], help="checkpoints to score, and write again")
    options = parser.parse_args()
    torch.set_num_threads(1)
    corpus, test = read_corpus(options.tunes), test_part(options.tunes)
    options.output.mkdir(parents=True, exist_ok=True)
    for name in options.fit:
        began = time.process_time()
        config_class, model_class = KINDS[f"music-{name}"].classes()
        model = model_class(config_class(**SIZES[name]))
        model.fit(corpus.train, corpus.validation[:60], **LEARNING[name])
        minutes = round((time.process_time() - began) / 60, 1)
        card = {"name": f"tune-{name}", "summary": SUMMARIES[name], "data": DATA, "licence": "CC0-1.0"}
        save(options.output / f"tune-{name}.safetensors", model, {**card, "minutes": minutes}, test)
    for path in options.score:
        model = checkpoints.load(path, role="score")
        save(options.output / path.name, model, dict(model.card), test)


def save(path: Path, model: Any, card: dict[str, Any], test: list[IntArray]) -> None:
    """Write a model as fp16, and score what is then read back."""
    checkpoints.save(path, model, card=card)
    found = scores(checkpoints.load(path), test)
    checkpoints.save(path, model, card={**card, "scores": found})
    print(path.name, path.stat().st_size, "bytes", json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
