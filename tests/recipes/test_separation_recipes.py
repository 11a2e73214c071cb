"""The recipes of separation: models that can be built, sources that their data has, the size of what ships."""

from pathlib import Path
from typing import Any

import pytest

from wavegen.separation.base import Separator
from wavegen.separation.tcn_vae import TCNVAE
from wavegen.training.config import build, read_yaml
from wavegen.training.run import TASKS, RunConfig
from wavegen.training.stem_folders import MELODIC
from wavegen.training.tasks.separation import ClusteringTaskConfig, configured

FOLDER = Path(__file__).parents[2] / "recipes" / "separation"
CONFIGS = sorted(FOLDER.glob("*.yaml"))


def read(path: Path) -> tuple[str, Any]:
    import importlib

    config = build(RunConfig, read_yaml(path), path.name)
    module, name = TASKS[config.kind]
    return config.kind, build(getattr(importlib.import_module(module), name + "Config"), config.task, path.name)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_model_can_be_built(path: Path) -> None:
    _, task = read(path)
    architecture = "chimera" if isinstance(task, ClusteringTaskConfig) else task.architecture
    config, model_class = configured(architecture, {} if architecture == "chimera" else task.model)
    model = model_class(task.model if architecture == "chimera" else config, task.separator)
    assert isinstance(model, Separator)
    assert sum(p.numel() for p in model.parameters()) < 8e6  # small enough to ship as fp16
    assert task.separator.interchangeable == (task.data.kind == "speakers")
    for songs in task.data.songs:
        assert not set(songs.train) & set(songs.validation)


def test_every_kind_is_there() -> None:
    kinds = {read(path)[0] for path in CONFIGS}
    assert kinds == {"separation", "clustering", "separation-vae"}
    script = (FOLDER / "run.sh").read_text()
    assert all(f'"$here/{path.name}"' in script for path in CONFIGS)


def test_the_tcn_begins_from_the_vocoder_it_names() -> None:
    from wavegen.checkpoints import load

    _, task = read(FOLDER / "tcn_vae.yaml")
    model = TCNVAE(configured(task.architecture, task.model)[0], task.separator)
    vocoder: Any = load(task.vocoder)
    model.warm_start(vocoder)
    assert model.decoder.embed.weight.equal(vocoder.embed.weight)
    assert set(task.data.groups["melody"]) == set(MELODIC)
