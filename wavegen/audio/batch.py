"""Many audio files at once: which ones, what comes of each, and whether that is there already."""

import glob
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from string import Formatter

from wavegen.audio import io
from wavegen.errors import InputError

EXTENSIONS = (
    ".wav", ".wave", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".w64",
    ".rf64",
)  # fmt: skip
FIELDS = ("folder", "name", "stem", "ext", "model")


@dataclass(frozen=True)
class Input:
    """A file to work on (`-`: standard input); its results belong in ``folder``, a relative path, under ``name``."""

    source: Path
    folder: PurePath
    name: str


def find_inputs(arguments: Sequence[str], *, without: Path | None = None) -> tuple[list[Input], list[str]]:
    """The audio files that files, folders, globs (``**`` too) and `-` stand for, and a line for each that has none.

    Folders are searched through, in the order of names, without hidden files and what is under ``without``; their
    structure, and a glob's, is kept. A file named twice is taken once. Files whose results would fall together are told
    apart by their folders below the one they share, else by their extensions, else by numbers. InputError for an empty
    argument, which is a variable that was not set.
    """
    found: list[Input] = []
    missing: list[str] = []
    for argument in arguments:
        if not argument:
            raise InputError("an empty name stands for no file")
        if argument == "-":
            found.append(Input(Path("-"), PurePath(), "stdin"))
            continue
        found += _inside(argument, None if without is None else without.resolve(), missing)
    unique = {_identity(item.source): item for item in reversed(found)}
    return _told_apart([unique[key] for key in dict.fromkeys(_identity(item.source) for item in found)]), missing


def _identity(source: Path) -> str:
    return str(source) if str(source) == "-" else os.path.realpath(source)


def _inside(argument: str, without: Path | None, missing: list[str]) -> list[Input]:
    """What an argument stands for; what it does not stand for goes to ``missing``."""
    place = Path(argument)
    try:
        if place.is_dir():
            before = len(missing)
            files = _walk(place, without, missing)
            if not files and len(missing) == before:
                missing.append(f"{argument}: no audio files in it ({', '.join(EXTENSIONS)})")
            return files
        if place.exists() or not glob.has_magic(argument):
            return [Input(place, PurePath(), _name(place))]  # one that is missing is a failure of its own, later
    except (OSError, ValueError) as error:
        missing.append(f"{argument}: {getattr(error, 'strerror', None) or error}")
        return []
    root = _fixed_part(argument)
    found: dict[Path, None] = {}
    matches = sorted(glob.glob(argument, recursive=True))
    for match in matches:
        path = Path(match)
        if path.is_dir():
            found |= dict.fromkeys(item.source for item in _walk(path, without, missing))
        elif without is None or not path.resolve().is_relative_to(without):
            found[path] = None
    if not found and matches:
        missing.append(
            f"{argument}: all that it matches lies in the output folder; name files one by one, or another -o"
        )
    elif not found:
        missing.append(f"{argument}: no file of such a name")
    return [Input(path, path.parent.relative_to(root), _name(path)) for path in found]


def _name(path: Path) -> str:
    """A file's name without its extension, or with it where there is nothing else but dots."""
    return path.stem if path.stem.strip(".") else path.name


def _walk(folder: Path, without: Path | None, missing: list[str]) -> list[Input]:
    def refused(error: OSError) -> None:
        missing.append(f"{error.filename}: {error.strerror or error}")

    found = []
    for where, folders, files in os.walk(folder, onerror=refused):
        here = Path(where)
        folders[:] = sorted(f for f in folders if not f.startswith(".") and (here / f).resolve() != without)
        for name in sorted(files):
            path = here / name
            if path.suffix.lower() in EXTENSIONS and not name.startswith("."):
                found.append(Input(path, here.relative_to(folder), _name(path)))
    return found


def _fixed_part(pattern: str) -> Path:
    """The folders of a glob before the first that holds a wildcard."""
    fixed = []
    for part in Path(pattern).parts[:-1]:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return Path(*fixed)


def _told_apart(items: list[Input]) -> list[Input]:
    def by_folder(group: list[Input]) -> list[Input]:
        parents = [Path(os.path.realpath(item.source)).parent for item in group]
        if len(set(parents)) < 2:  # their folder tells nothing
            return group
        shared = os.path.commonpath(parents)
        return [replace(item, folder=parent.relative_to(shared)) for item, parent in zip(group, parents, strict=True)]

    def by_extension(group: list[Input]) -> list[Input]:
        return [replace(item, name=item.source.name) for item in group]

    for change in (by_folder, by_extension):
        groups: dict[PurePath, list[Input]] = {}
        for item in items:
            groups.setdefault(item.folder / item.name, []).append(item)
        changed = {
            new.source: new
            for group in groups.values()
            if len(group) > 1
            for new in change([item for item in group if str(item.source) != "-"])
        }
        items = [changed.get(item.source, item) for item in items]
    taken: set[PurePath] = set()
    for place, item in enumerate(items):  # what came apart may have fallen onto something else
        name, number = item.name, 1
        while item.folder / name in taken:
            number += 1
            name = f"{item.name}-{number}"
        taken.add(item.folder / name)
        items[place] = replace(item, name=name)
    return items


def targets(
    inputs: Iterable[Input],
    output: Path,
    template: str,
    stems: Sequence[str],
    *,
    ext: Callable[[Input, str], str],
    model: str,
    untouched: Iterable[Input] = (),
) -> dict[Input, dict[str, Path]]:
    """Where each stem of each input goes under ``output``: ``template`` has {folder}, {name}, {stem}, {ext}, {model}.

    Raises InputError for another field, for a stem whose name or place would leave ``output``, for an extension of
    another format than ``ext``, for two results of one place and for a result in the place of an input, or of one that
    is to stay ``untouched``.
    """
    _check_fields(template)
    for stem in (*stems, *([model] if "{model}" in template else [])):
        if not stem or stem.startswith(".") or any(c in stem for c in "/\\\0"):
            raise InputError(f"{stem!r} cannot be part of a file's name")
    made: dict[Input, dict[str, Path]] = {}
    taken: dict[str, Input] = {}  # by where links lead
    for item in inputs:
        made[item] = {}
        for stem in stems:
            values = {
                "folder": str(item.folder),
                "name": item.name,
                "stem": stem,
                "ext": ext(item, stem),
                "model": model,
            }
            relative = _filled(template, values)
            place = output / relative
            _check_extension(template, place, values["ext"])
            real = os.path.realpath(place)
            if real in taken:
                both = sorted({str(taken[real].source), str(item.source)})
                who = f"two stems of {both[0]} would be" if len(both) == 1 else f"{' and '.join(both)} would both write"
                raise InputError(
                    f"--filename-template {template!r}: {who} {place}; use {{folder}}, {{name}} and {{stem}}"
                )
            taken[real] = item
            made[item][stem] = place
    sources = {os.path.realpath(i.source): i.source for i in (*made, *untouched) if str(i.source) != "-"}
    for real in taken:
        source = sources.get(real)
        if source is not None:
            raise InputError(f"{source}: would be overwritten by a result; give another folder")
    return made


def _check_fields(template: str) -> None:
    fields = ", ".join(f"{{{name}}}" for name in FIELDS)
    try:
        for _, name, form, conversion in Formatter().parse(template):
            if name is not None and (name not in FIELDS or form or conversion):
                raise ValueError
    except ValueError:
        raise InputError(f"--filename-template {template!r}: the fields are {fields}") from None


def _check_extension(template: str, place: Path, ext: str) -> None:
    """A template's own extension must not promise another format than is written."""
    try:
        promised = io.format_of(place)
    except InputError:  # none at all
        return
    if promised != ext.upper():
        raise InputError(f"--filename-template {template!r}: {place} would hold {ext.upper()}; end it in .{{ext}}")


def _filled(template: str, values: Mapping[str, str]) -> PurePath:
    text = template.format_map(values)
    relative = PurePath(text)
    if relative.is_absolute() or ".." in relative.parts or not relative.name or "\0" in text:
        raise InputError(f"--filename-template {template!r}: gives {text!r}, which is no file's name in the folder")
    return relative


def is_finished(
    source: io.AudioInfo, places: Iterable[Path], *, frames: int | None, kind: tuple[str, str] | None = None
) -> bool:
    """Whether every result is there, whole, at the rate and channels of ``source``, and not older than its file.

    ``frames``: how long it must be, or None where the format does not keep that exactly; ``kind``: its format and
    subtype, in the words of wavegen.audio.io.Writer.
    """
    try:
        changed = Path(source.path).stat().st_mtime_ns
        with warnings.catch_warnings():
            warnings.simplefilter("error", io.TruncatedWarning)
            for place in places:
                if place.stat().st_mtime_ns < changed:
                    return False
                about = io.info(place)
                if (about.sample_rate, about.channels) != (source.sample_rate, source.channels):
                    return False
                if frames is not None and about.frames != frames:
                    return False
                container = "OPUS" if about.subtype == "OPUS" else about.format  # as the Writer calls it
                if kind is not None and (container, about.subtype) != kind:
                    return False
    except (OSError, InputError, io.TruncatedWarning):
        return False
    return True


def require_folder(path: Path) -> None:
    """Raise InputError where there is no folder of this name and none can be made: before long work."""
    try:
        there = next(place for place in (path, *path.absolute().parents) if os.path.lexists(place))
        usable = there.is_dir() and os.access(there, os.W_OK | os.X_OK)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    if not usable:
        at = "" if there == path else f"{there} "
        raise InputError(f"{path}: {at}is {'write-protected' if there.is_dir() else 'not a folder'}")


@contextmanager
def output_folders(folders: Iterable[Path]) -> Iterator[None]:
    """Make folders for output, with their parents; what stays empty by an error goes again."""
    made: list[Path] = []
    try:
        for folder in dict.fromkeys(folders):
            missing = [place for place in (folder, *folder.parents) if not place.exists()]
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(f"{folder}: cannot be made: {error.strerror or error}") from None
            finally:
                made += missing
        yield
    except BaseException:
        remove_empty(made)
        raise


def remove_empty(folders: Iterable[Path]) -> None:
    """Remove those of the folders that are there and empty, the innermost first."""
    for folder in sorted(folders, key=lambda place: -len(place.parts)):
        with suppress(OSError):  # one that is not empty, or was not made, stays
            folder.rmdir()
