"""Negative log-likelihood a time step on the piano-roll benchmark of Boulanger-Lewandowski, Bengio & Vincent 2012.

    python benchmarks/pianoroll.py FOLDER --set JSB_Chorales --models lstm gru transformer --minutes 2.5 --json OUT.json

FOLDER holds JSB_Chorales.mat, Nottingham.mat, MuseData.mat and Piano_midi.mat, whose 88 keys begin with MIDI 21. A
model writes the notes of a step in ascending order and then closes it, so that the probability of a step is exact and
its notes depend on one another, as in RNN-RBM and RNN-NADE, but not in the published RNN. The weights that are best on
the validation split are judged once on the test split, all of whose steps count, the first included. Of the VAE it is
the negative ELBO, and the KL divergence in it is given beside it.
"""

import argparse
import copy
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from wavegen.audio.features import FeatureSpec
from wavegen.checkpoints.kinds import KINDS
from wavegen.errors import InputError
from wavegen.music.models.base import ScoreModel
from wavegen.music.models.vae import ScoreVAE
from wavegen.music.tokens import IntArray, encode_steps, vocabulary
from wavegen.training.loop import LoopConfig, Trainer, Validation
from wavegen.training.tasks.score import ScoreTask, ScoreTaskConfig, TokenCorpus

SETS = ("JSB_Chorales", "Nottingham", "MuseData", "Piano_midi")
SIZES: dict[str, dict[str, Any]] = {
    "lstm": {"embedding": 256, "hidden": 256, "layers": 1, "dropout": 0.25},
    "gru": {"embedding": 256, "hidden": 256, "layers": 1, "dropout": 0.25},
    "transformer": {"channels": 128, "hidden": 256, "layers": 2, "heads": 4, "context": 256, "dropout": 0.15},
}
RATES = {"lstm": 4e-3, "gru": 4e-3, "transformer": 2e-3, "vae": 2e-3}
FITTED = ("ngram", "hmm", "gmm")
# Test NLL in nats a time step, (JSB_Chorales, Nottingham): Boulanger-Lewandowski et al. 2012, table 1.
PUBLISHED = {"RNN": (8.71, 4.46), "RNN-RBM": (6.27, 2.39), "RNN-NADE": (5.56, 2.31)}


def read_rolls(path: Path) -> dict[str, list[IntArray]]:
    """The splits "train", "validation" and "test" as tokens. InputError for anything but the published file."""
    from scipy.io import loadmat

    if not path.is_file():
        raise InputError(f"{path}: no such file")
    mat = loadmat(path)
    names = {"train": "traindata", "validation": "validdata", "test": "testdata"}
    if not set(names.values()) <= set(mat):
        raise InputError(f"{path}: holds no {', '.join(names.values())}")
    return {
        part: [encode_steps([21 + np.flatnonzero(step) for step in roll]) for roll in mat[name][0]]
        for part, name in names.items()
    }


class BestOf(ScoreTask):
    """Keeps the averaged weights that were best on the validation split."""

    best = float("inf")
    weights: dict[str, torch.Tensor]

    def validate(self, model: nn.Module) -> Validation:
        found = super().validate(model)
        if found.scalars["nll_per_step"] < self.best:
            self.best = found.scalars["nll_per_step"]
            self.weights = copy.deepcopy(model.state_dict())
        return found


def trained(name: str, rolls: dict[str, list[IntArray]], options: argparse.Namespace) -> tuple[ScoreModel, float]:
    """A network trained by gradients, and its validation NLL."""
    torch.manual_seed(options.seed)
    config = ScoreTaskConfig(name, SIZES.get(name, {}), options.batch, options.length, options.transpose)
    corpus = TokenCorpus("pianoroll", rolls["train"], rolls["validation"])
    task = BestOf(config, FeatureSpec(), corpus, options.seed)
    loop = LoopConfig(
        minutes=options.minutes,
        learning_rate=RATES[name],
        warmup_steps=50,
        weight_decay=options.weight_decay,
        ema=0.99,
        amp=options.amp,
        seed=options.seed,
        validate_minutes=options.minutes / options.validations,
        checkpoint_minutes=1e9,
        tensorboard=False,
        threads=options.threads,
    )
    with tempfile.TemporaryDirectory() as folder:
        Trainer(task, loop, Path(folder) / "run", device=options.device).run()
    task.model.load_state_dict(task.weights)
    return task.model.eval(), task.best


def fitted(name: str, rolls: dict[str, list[IntArray]], options: argparse.Namespace) -> tuple[ScoreModel, float]:
    """A model that learns by counting, which it does in all keys, or by EM; and its validation NLL."""
    config_class, model_class = KINDS[f"music-{name}"].classes()
    model: Any = model_class(config_class("pianoroll"))
    reach = options.transpose if name == "ngram" else 0
    train = [copied for tokens in rolls["train"] for copied in transposed(tokens, reach)]
    model.fit(train, rolls["validation"])
    return model.eval(), model.nll_per_step(rolls["validation"])


def transposed(tokens: IntArray, reach: int) -> Iterator[IntArray]:
    """A roll moved by each number of semitones up to ``reach`` either way that the piano has the keys for."""
    notes = vocabulary("pianoroll").family("Pitch")
    for shift in range(-reach, reach + 1):
        moved = np.where(notes[tokens], tokens + shift, tokens)
        if notes[moved[notes[tokens]]].all():
            yield moved


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--set", choices=SETS, default="JSB_Chorales")
    parser.add_argument("--models", nargs="+", choices=[*RATES, *FITTED], default=[*SIZES])
    parser.add_argument("--minutes", type=float, default=2.5, help="of training, for each model that is trained")
    parser.add_argument("--validations", type=float, default=4, help="in that time, about")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--length", type=int, default=192, help="tokens of an excerpt")
    parser.add_argument("--transpose", type=int, default=6, help="semitones either way")
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--amp", action=argparse.BooleanOptionalAction, default=False, help="compute in bf16")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="where to write the results; those of other models there are kept")
    options = parser.parse_args()
    rolls = read_rolls(options.folder / f"{options.set}.mat")
    for name in options.models:
        began = time.perf_counter()
        model, validation = (fitted if name in FITTED else trained)(name, rolls, options)
        result = {
            "test_nll": model.nll_per_step(rolls["test"]),
            "validation_nll": validation,
            "parameters": sum(t.numel() for t in model.state_dict().values()),
            "train_minutes": None if name in FITTED else options.minutes,
            "wall_minutes": (time.perf_counter() - began) / 60,
        }
        if isinstance(model, ScoreVAE):  # test_nll is its bound
            divergence = sum(float(model.elbo(tokens).divergence.sum()) for tokens in rolls["test"])
            result["test_kl"] = divergence / sum(
                int((tokens == vocabulary("pianoroll").index("Step")).sum()) for tokens in rolls["test"]
            )
        print(options.set, name, json.dumps(result), flush=True)
        if options.json:
            known = json.loads(options.json.read_text()) if options.json.exists() else {}
            known.setdefault(options.set, {})[name] = result
            options.json.write_text(json.dumps(known, indent=2) + "\n")
    column = SETS.index(options.set)
    if column < 2:
        print("published:", ", ".join(f"{name} {values[column]}" for name, values in PUBLISHED.items()))


if __name__ == "__main__":
    main()
