"""One model, one safetensors file, whose header carries kind, config, spec and card as JSON.

Tensors are stored as fp16 by default and come back as fp32. Nothing in a file is ever executed.
"""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from wavegen.audio.features import FeatureSpec
from wavegen.audio.io import atomic
from wavegen.checkpoints.kinds import KINDS, kind_of
from wavegen.checkpoints.registry import resolve
from wavegen.errors import CheckpointError, InputError, WavegenError
from wavegen.nn.device import usable_device
from wavegen.separation.base import SeparatorSpec

FORMAT = 1
KEY = "wavegen"


@dataclass(frozen=True)
class Header:
    """What a checkpoint says of itself. ``card`` holds name, summary, data, licence and scores, in plain JSON types.

    ``spec`` holds the FeatureSpec's fields, ``separation`` the SeparatorSpec's; each is empty where a model has none.
    """

    kind: str
    config: dict[str, Any]
    spec: dict[str, Any]
    card: dict[str, Any] = field(default_factory=dict)
    separation: dict[str, Any] = field(default_factory=dict)


def save(path: str | Path, model: nn.Module, *, card: dict[str, Any] | None = None, half: bool = True) -> None:
    """Write a model (its ``config``, and its ``spec`` if it has one) atomically; ``half`` stores fp16.

    CheckpointError for values that are not finite (in fp16, if ``half``), or where the disk is full.
    """
    from safetensors.torch import save as serialised

    config: Any = model.config
    kind = kind_of(model)
    header = {
        "format": FORMAT,
        "kind": kind.name,
        "config": dataclasses.asdict(config),
        "spec": {},
        "card": card or {},
    }
    if kind.role != "score":
        spec: Any = model.spec
        header["separation" if kind.role == "separator" else "spec"] = spec.to_dict()
    tensors = {
        name: (t.half() if half and t.is_floating_point() else t).detach().cpu().contiguous()
        for name, t in model.state_dict().items()
    }
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise CheckpointError(f"{path}: not saved, {name} holds values that are not finite")
    with atomic(Path(path)) as temporary:
        temporary.write_bytes(serialised(tensors, metadata={KEY: json.dumps(header)}))


def read_header(path: str | Path) -> Header:
    """The header alone. CheckpointError if the file is not a whole wavegen checkpoint of a known format."""
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint file")
    if path.suffix == ".pt":
        raise InputError(f"{path}: a model is a .safetensors file; training leaves it beside {path.name}")
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: damaged or not a safetensors file ({error})") from None
    try:
        header = json.loads(metadata[KEY])
        if header["format"] != FORMAT:
            raise CheckpointError(f"{path}: format {header['format']}, but this version reads format {FORMAT}")
        parts = [header[key] for key in ("config", "spec", "card")] + [header.get("separation", {})]
        if not (isinstance(header["kind"], str) and all(isinstance(part, dict) for part in parts)):
            raise TypeError
        return Header(header["kind"], *parts)
    except (KeyError, ValueError, TypeError):
        raise CheckpointError(f"{path}: a safetensors file, but without wavegen's header") from None


def load(name_or_path: str | Path, device: str = "cpu", *, role: str | None = None) -> nn.Module:
    """A ready model in eval mode, by a shipped model's name or a file's path.

    ``role`` ("speech", "vocoder", "aligner", "score", "separator") refuses a checkpoint of another role. The model
    carries its ``config`` and ``card``, and its ``spec`` unless it is a score model. Raises InputError for an unknown
    name, CheckpointError for a damaged or unfitting file.
    """
    from safetensors.torch import load_file

    path = resolve(name_or_path, role)
    header = read_header(path)
    kind = KINDS.get(header.kind)
    if kind is None:
        raise CheckpointError(f"{path}: kind {header.kind!r} is not known to this version")
    if role is not None and kind.role != role:
        raise CheckpointError(
            f"{path}: holds a model of kind {header.kind} ({kind.role}); what is needed here is a {role} model"
        )
    config_class, model_class = kind.classes()
    try:
        config = config_class(**{k: tuple(v) if isinstance(v, list) else v for k, v in header.config.items()})
        model: nn.Module = model_class(config, *_spec(kind.role, header))
        tensors = {n: t.float() if t.is_floating_point() else t for n, t in load_file(str(path)).items()}
        for name, mine in model.state_dict().items():
            if name in tensors and tensors[name].is_floating_point() and not torch.isfinite(tensors[name]).all():
                raise ValueError(f"{name} holds NaN or infinite values")
            if name in tensors and tensors[name].dtype != mine.dtype:
                raise TypeError(f"{name} is {tensors[name].dtype}, not {mine.dtype}")
        model.load_state_dict(tensors)
    except (TypeError, ValueError, RuntimeError, WavegenError) as error:
        raise CheckpointError(f"{path}: the weights do not fit their header ({' '.join(str(error).split())})") from None
    model.card = header.card  # type: ignore[assignment]
    return model.to(usable_device(device)).eval()


def _spec(role: str, header: Header) -> tuple[FeatureSpec | SeparatorSpec, ...]:
    """What stands beside the config where a model of this role is made."""
    if role == "score":
        return ()
    if role == "separator":
        return (SeparatorSpec.from_dict(header.separation),)
    return (FeatureSpec.from_dict(header.spec),)
