"""The names of shipped models: every ``weights/NAME.safetensors`` with its card ``weights/NAME.md``."""

import json
import struct
from dataclasses import dataclass
from pathlib import Path

from wavegen.checkpoints.kinds import KINDS
from wavegen.errors import InputError

WEIGHTS = Path(__file__).parent.parent / "weights"
DEFAULTS = {
    "speech": "speech-kathleen",
    "vocoder": "vocoder-kathleen",
    "score": "tune-transformer",
    "score-mel": "score-mel-gm",
    "music-vocoder": "vocoder-music",
    "separator": "separator-music",
}


@dataclass(frozen=True)
class ModelCard:
    """A shipped model in one line; ``default`` says whether it is used where none is named."""

    name: str
    kind: str
    path: Path
    summary: str
    licence: str
    default: bool


def list_models() -> list[ModelCard]:
    """Every shipped model, by name. Reads only the files' headers, without torch."""
    cards = []
    for path in sorted(WEIGHTS.glob("*.safetensors")):
        with open(path, "rb") as file:
            (size,) = struct.unpack("<Q", file.read(8))
            header = json.loads(json.loads(file.read(size))["__metadata__"]["wavegen"])
        info = header["card"]
        cards.append(
            ModelCard(
                name=path.stem,
                kind=header["kind"],
                path=path,
                summary=str(info.get("summary", "")),
                licence=str(info.get("licence", "")),
                default=path.stem in DEFAULTS.values(),
            )
        )
    return cards


def resolve(name_or_path: str | Path, role: str | None = None) -> Path:
    """The file behind a name or path; a kind ("wavenet") stands for its shipped model, the default or first by name.

    InputError names the shipped models, those of a ``role`` alone if it is given, if it is none of these.
    """
    if not isinstance(name_or_path, str | Path):
        raise InputError(f"a model is named by a str or a Path, not {type(name_or_path).__name__}")
    given = Path(name_or_path)
    path = WEIGHTS / f"{name_or_path}.safetensors"
    try:
        if "/" not in str(name_or_path) and path.is_file():
            return path
        model = _of_kind(str(name_or_path))
        if model is not None:
            return model.path
        if given.suffix or given.exists() or "/" in str(name_or_path):
            return given
    except OSError as error:  # a name too long for the file system, for one
        raise InputError(f"no model named {str(name_or_path)[:40]!r}: {error.strerror}") from None
    fitting = [model for model in list_models() if role is None or KINDS[model.kind].role == role]
    names = ", ".join(f"{model.name} ({model.kind})" for model in fitting) or "none"
    published = "; or give a file, published ones too" if role == "separator" else ""
    raise InputError(f"no model named {str(name_or_path)!r}; shipped are: {names}{published}")


def _of_kind(kind: str) -> ModelCard | None:
    if kind not in KINDS:  # most names are none, and need no file to be read
        return None
    alike = [model for model in list_models() if model.kind == kind]
    return min(alike, key=lambda model: (not model.default, model.name), default=None)


def card(name: str) -> str:
    """The model card of a shipped model, named as in :func:`resolve`, as Markdown."""
    cards = {path.stem: path for path in sorted(WEIGHTS.glob("*.md"))}
    model = None if name in cards else _of_kind(name)
    path = cards.get(name if model is None else model.name)
    if path is None:
        raise InputError(f"no model card for {name!r}; there are cards for: {', '.join(cards) or 'none'}")
    return path.read_text(encoding="utf-8")
