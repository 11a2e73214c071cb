"""What importers are handed: a file's values, and what the user knows better."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wavegen.errors import CheckpointError
from wavegen.separation.base import Separator


@dataclass(frozen=True)
class Content:
    """What is in the file at ``path``."""

    path: Path
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Wanted:
    """What the user says of a checkpoint; None leaves it to the file, or to what is usual."""

    sources: tuple[str, ...] | None = None
    sample_rate: int | None = None
    mask: str | None = None
    layers: int | None = None

    def names(self, count: int, usual: tuple[str, ...]) -> tuple[str, ...]:
        """``count`` names: those wanted, the usual ones if they are as many, or numbers."""
        if self.sources is not None:
            if len(self.sources) != count:
                raise CheckpointError(f"the checkpoint has {count} sources; {len(self.sources)} names were given")
            return self.sources
        return usual if len(usual) == count else tuple(f"source{number}" for number in range(1, count + 1))


def tensors_of(values: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors, floating-point ones as float32. CheckpointError for values that are not finite."""
    found = {}
    for name, value in values.items():
        if isinstance(value, Tensor):
            if value.is_floating_point() and not bool(torch.isfinite(value).all()):
                raise CheckpointError(f"{name} holds NaN or infinite values")
            found[name] = value.detach().float() if value.is_floating_point() else value.detach()
    return found


def settings(config_class: type[Any], values: Mapping[str, Any]) -> Any:
    """A config from fields by name, in the types of their defaults."""
    kinds: dict[str, Any] = {field.name: type(field.default) for field in dataclasses.fields(config_class)}
    return config_class(**{name: kinds[name](value) for name, value in values.items()})


def filled(model: Separator, weights: Mapping[str, Tensor]) -> Separator:
    """The model with these weights; CheckpointError, in one line, where they do not fit."""
    missing, unexpected = set(model.state_dict()) - set(weights), set(weights) - set(model.state_dict())
    if missing or unexpected:
        names = [f"{name} is missing" for name in sorted(missing)] + [
            f"{name} is unknown" for name in sorted(unexpected)
        ]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        raise CheckpointError(f"the weights do not fit: {', '.join(names[:3])}{more}")
    for name, tensor in model.state_dict().items():
        if tensor.shape != weights[name].shape:
            shapes = f"{tuple(weights[name].shape)}, not {tuple(tensor.shape)}"
            raise CheckpointError(f"the weights do not fit: {name} is {shapes}")
    model.load_state_dict(dict(weights))
    return model
