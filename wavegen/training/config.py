"""YAML → dataclasses, with an error that names the field for whatever does not fit."""

import dataclasses
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

import yaml

from wavegen.errors import InputError

T = TypeVar("T")


def read_yaml(path: Path) -> dict[str, Any]:
    """A mapping read from a YAML file. InputError if it is missing, not YAML, or not a mapping."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    except Exception as error:  # besides YAMLError: impossible dates, numbers, depth
        raise InputError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: a configuration is a mapping of keys to values")
    return values


def override(values: dict[str, Any], assignments: list[str]) -> None:
    """Apply ``section.key=value`` assignments in place; values are read as YAML."""
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not key:
            raise InputError(f"--set {assignment!r}: expected section.key=value")
        *sections, last = key.split(".")
        target = values
        for section in sections:
            target = target.setdefault(section, {})
            if not isinstance(target, dict):
                raise InputError(f"--set {assignment!r}: {section} is not a section")
        try:
            target[last] = yaml.safe_load(text)
        except Exception:
            raise InputError(f"--set {assignment!r}: the value is not valid YAML") from None


def build(cls: type[T], values: Any, where: str) -> T:
    """An instance of a dataclass from a mapping, nested dataclasses included.

    ``where`` is the dotted name used in errors. Raises InputError that names an unknown key, a missing one, or one
    whose value has another type.
    """
    if not isinstance(values, dict):
        raise InputError(f"{where}: expected a section with keys, not {values!r}")
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            raise InputError(f"{where}.{key}: unknown key; known are {', '.join(fields)}")
    hints = typing.get_type_hints(cls)
    arguments = {}
    for name, field in fields.items():
        if name in values:
            arguments[name] = _convert(hints[name], values[name], f"{where}.{name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise InputError(f"{where}.{name}: missing")
    return cls(**arguments)


def _convert(kind: Any, value: Any, where: str) -> Any:
    origin, options = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in options:
            return None
        return _convert(next(o for o in options if o is not type(None)), value, where)
    if dataclasses.is_dataclass(kind):
        return build(typing.cast(type[Any], kind), value, where)
    if origin is typing.Literal:
        if value not in options:
            raise InputError(f"{where}: must be one of {', '.join(map(str, options))}, not {value!r}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise InputError(f"{where}: expected a list, not {value!r}")
        return tuple(_convert(options[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if kind is Any:
        return value
    kind = origin or kind
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is Path and isinstance(value, str):
        return Path(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        if kind is float and isinstance(value, str):  # YAML 1.1 reads 1e-4 as a string
            try:
                return float(value)
            except ValueError:
                pass
        raise InputError(f"{where}: expected {kind.__name__}, not {value!r}")
    return value
