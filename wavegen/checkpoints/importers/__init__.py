"""Separators out of checkpoints that others publish: Open-Unmix, Conv-TasNet, HDemucs and HTDemucs.

Pickles are read by torch's restricted unpickler alone, which makes tensors and plain values and runs nothing.
"""

import os
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from wavegen.checkpoints.importers import conv_tasnet, demucs, openunmix
from wavegen.checkpoints.importers.content import Content, Wanted
from wavegen.errors import CheckpointError, InputError
from wavegen.separation.base import Separator

PICKLES = (".pth", ".pt", ".th", ".ckpt", ".bin", ".tar")


@dataclass(frozen=True)
class Importer:
    """One family of checkpoints: how to tell one, and how to make a separator of those of a model."""

    name: str
    matches: Callable[[Mapping[str, Any]], bool]
    convert: Callable[[Sequence[Content], Wanted], Separator]


IMPORTERS = (
    Importer("Open-Unmix", openunmix.matches, openunmix.convert),
    Importer("Conv-TasNet", conv_tasnet.matches, conv_tasnet.convert),
    Importer("HDemucs or HTDemucs", demucs.matches, demucs.convert),
)


def is_published(name_or_path: str | Path) -> bool:
    """Whether this names a file that others publish, or a folder of them, rather than a model of ours."""
    path = Path(name_or_path)
    try:
        if path.is_dir():
            return True
        if path.suffix.lower() == ".safetensors" and path.is_file():
            return demucs.is_safetensors(path)
    except OSError:
        return False
    return path.suffix.lower() in PICKLES


def import_separator(
    paths: Sequence[str | Path],
    *,
    sources: Sequence[str] | None = None,
    sample_rate: int | None = None,
    mask: str | None = None,
    layers: int | None = None,
) -> Separator:
    """The model in a file, in several (Open-Unmix has one a source), or in a folder of them, in eval mode.

    ``sources``: their names, in the order of the file's, or of the files (a folder's are sorted) unless these are
    called the same. ``sample_rate`` in Hz, and for Conv-TasNet ``mask`` ("relu" or "sigmoid") and the ``layers`` of a
    repeat take the place of what the file says, or does not say. InputError or CheckpointError for files that hold no
    such model, hold more than weights, or do not fit.
    """
    files = [file for path in paths for file in _files(Path(path))]
    if not files:
        raise InputError("no checkpoint files to import")
    contents = [Content(file, _read(file)) for file in files]
    wanted = Wanted(None if sources is None else tuple(sources), sample_rate, mask, layers)
    for importer in IMPORTERS:
        if importer.matches(contents[0].values):
            other = next((c for c in contents if not importer.matches(c.values)), None)
            if other is not None:
                raise InputError(f"{other.path}: is no {importer.name} checkpoint, as {files[0]} is")
            if importer.convert is not conv_tasnet.convert and (mask, layers) != (None, None):
                raise InputError(f"{files[0]}: mask and layers are for Conv-TasNet; this is {importer.name}")
            try:
                return importer.convert(contents, wanted).eval()
            except (InputError, CheckpointError) as error:
                raise type(error)(f"{files[0]}: {error}") from None
            except (KeyError, IndexError, TypeError, ValueError, RuntimeError, AttributeError) as error:
                reason = " ".join(str(error).split())[:300]
                raise CheckpointError(f"{files[0]}: not a whole {importer.name} checkpoint ({reason})") from None
    known = ", ".join(importer.name for importer in IMPORTERS)
    raise CheckpointError(f"{files[0]}: none of the checkpoints that can be imported: {known}")


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(p for p in path.iterdir() if p.suffix.lower() in PICKLES and p.is_file())
    if not found:
        raise InputError(f"{path}: no checkpoint files in it ({', '.join(PICKLES)})")
    return found


def _read(path: Path) -> Mapping[str, Any]:
    """What is in a file, tensors on the CPU."""
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint file")
    if path.suffix.lower() == ".safetensors":
        return demucs.read_safetensors(path)
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(demucs.PLACEHOLDERS):
            warnings.simplefilter("ignore")  # of protocols of pickles, to which nobody here can do anything
            values = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    except Exception as error:
        if "Weights only" in str(error) or "GLOBAL" in str(error):
            raise CheckpointError(f"{path}: refused, it holds more than weights, or is no checkpoint") from None
        damaged = "damaged" if zipfile.is_zipfile(path) or os.path.getsize(path) else "empty"
        raise CheckpointError(f"{path}: {damaged}, or not a PyTorch checkpoint") from None
    if not isinstance(values, Mapping) or not all(isinstance(key, str) for key in values):
        raise CheckpointError(f"{path}: holds no dictionary of weights")
    return values
