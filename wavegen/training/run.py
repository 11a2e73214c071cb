"""Training from a configuration file: ``wavegen train CONFIG --data FOLDER --output FOLDER``."""

import dataclasses
import importlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from wavegen.audio.features import CONVENTIONS, FeatureSpec
from wavegen.errors import InputError
from wavegen.nn.device import keep_freed_memory
from wavegen.training.config import build, override, read_yaml
from wavegen.training.data import Utterance, cache_key, read_metadata, split_by_text
from wavegen.training.loop import LoopConfig, Task, Trainer, own_device

TASKS = {
    "vocoder": ("wavegen.training.tasks.vocoder", "VocoderTask"),
    "spectral-vocoder": ("wavegen.training.tasks.spectral", "SpectralTask"),
    "wavenet": ("wavegen.training.tasks.wavenet", "WaveNetTask"),
    "aligner": ("wavegen.training.tasks.aligner", "AlignerTask"),
    "speech": ("wavegen.training.tasks.speech", "SpeechTask"),
    "score": ("wavegen.training.tasks.score", "ScoreTask"),
    "bar-gan": ("wavegen.training.tasks.bar_gan", "BarGANTask"),
    "score-mel": ("wavegen.training.tasks.score_mel", "ScoreMelTask"),
    "mel-vae": ("wavegen.training.tasks.mel", "MelVAETask"),
    "mel-lstm": ("wavegen.training.tasks.mel", "MelLSTMTask"),
    "separation": ("wavegen.training.tasks.separation", "SeparationTask"),
    "clustering": ("wavegen.training.tasks.separation", "ClusteringTask"),
    "separation-vae": ("wavegen.training.tasks.separation", "SeparationVAETask"),
}


@dataclass(frozen=True)
class RunConfig:
    """A configuration file: which ``kind`` of task, its own section ``task``, the ``loop``, and the rest.

    ``features`` is a FeatureSpec's name or its fields; ``init`` a training checkpoint or model to start from;
    ``cache`` the folder for prepared data (default: "cache" beside the output folder); ``card`` goes into the
    exported model's header.
    """

    kind: str
    task: dict[str, Any] = field(default_factory=dict)
    loop: LoopConfig = field(default_factory=LoopConfig)
    features: Any = "bigvgan-24k"
    init: Path | None = None
    cache: Path | None = None
    card: dict[str, Any] = field(default_factory=dict)


def train(
    config_path: Path,
    *,
    data: Path,
    output: Path,
    minutes: float | None = None,
    resume: bool = False,
    overrides: list[str] | None = None,
    device: str | None = None,
    progress: Callable[[int, int], None] | None = None,
    quiet: bool = False,
) -> None:
    """Train what a configuration file describes on a folder in LJSpeech layout, or on what the kind of task reads.

    A task that reads data of its own has a class method ``prepare(config, spec, data, cache, seed, progress)``, which
    gives the task and a digest of its data; it raises InputError for data that it cannot use.

    ``minutes`` replaces the file's length; ``overrides`` are ``section.key=value``. The process keeps the memory it has
    freed from then on. Raises InputError for anything wrong in the configuration or the data, naming the key, file or
    line.
    """
    keep_freed_memory()
    values = read_yaml(config_path)
    override(values, overrides or [])
    if minutes is not None:
        override(values, [f"loop.minutes={minutes}", "loop.steps=null"])
    config = build(RunConfig, values, config_path.name)
    try:
        json.dumps(config.card)
    except (TypeError, ValueError) as error:  # YAML knows dates, for one
        raise InputError(f"{config_path.name}.card: must hold plain texts and numbers ({error})") from None
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    own_device(device)  # before hours of preparation
    if config.kind not in TASKS:
        raise InputError(f"{config_path.name}.kind: must be one of {', '.join(TASKS)}, not {config.kind!r}")
    spec = read_spec(config.features, f"{config_path.name}.features")
    module_name, class_name = TASKS[config.kind]
    module = importlib.import_module(module_name)
    task_class = getattr(module, class_name)
    task_config = build(getattr(module, class_name + "Config"), config.task, f"{config_path.name}.task")
    torch.manual_seed(config.loop.seed)
    cache = config.cache or output.parent / "cache"
    prepare = getattr(task_class, "prepare", partial(_on_speech, task_class))
    task, digest = prepare(task_config, spec, data, cache, config.loop.seed, progress)
    description = {
        "kind": config.kind,
        "task": str(dataclasses.asdict(task_config)),
        "features": str(spec.to_dict()),
        "loop": str(_schedule(config.loop)),
        "data": digest,
    }
    Trainer(
        task,
        config.loop,
        output,
        card=config.card,
        device=device,
        resume=resume,
        init=None if resume else config.init,
        description=description,
        quiet=quiet,
    ).run()


def _on_speech(
    task_class: type[Any],
    config: Any,
    spec: FeatureSpec,
    data: Path,
    cache: Path,
    seed: int,
    progress: Callable[[int, int], None] | None,
) -> tuple[Task, str]:
    """A task on a folder in LJSpeech layout, and the digest of its training part."""
    parts = split_by_text(read_metadata(data))
    for name in ("train", "validation"):
        if not parts[name]:
            raise InputError(f"{data}: no utterance falls into the {name} part; the folder is too small")
    return task_class(config, spec, parts, cache, seed, progress), _digest(parts["train"])


def _digest(utterances: list[Utterance]) -> str:
    """Changes with what batches are drawn from, wherever it lies."""
    return cache_key([(u.id, u.text, u.path.stat().st_size) for u in utterances])


def _schedule(loop: LoopConfig) -> dict[str, Any]:
    """What of the loop decides the weights; a run may be made longer or shorter when it is resumed."""
    logistics = "checkpoint_minutes checkpoint_steps validate_minutes log_steps tensorboard threads"
    free = {"steps", "minutes", *logistics.split()}
    return {k: v for k, v in dataclasses.asdict(loop).items() if k not in free}


def read_spec(value: Any, where: str) -> FeatureSpec:
    """A FeatureSpec from a convention's name or a mapping of fields."""
    if isinstance(value, str):
        if value not in CONVENTIONS:
            raise InputError(f"{where}: {value!r} is not one of {', '.join(CONVENTIONS)}")
        return CONVENTIONS[value]
    return build(FeatureSpec, value, where)
