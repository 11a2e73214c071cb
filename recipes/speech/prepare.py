"""A folder in LJSpeech layout from recordings that lie beside their texts.

    python recipes/speech/prepare.py SOURCE TARGET

SOURCE holds audio files anywhere in it, each with its text in a file of the same name and the ending ``.txt``. TARGET
gets ``metadata.csv`` (``id|text``) and the audio in ``wavs/``, as links where the system has them. A folder that has a
``metadata.csv`` already needs no preparation.
"""

import argparse
import shutil
import sys
from pathlib import Path

from wavegen.audio.io import atomic
from wavegen.errors import InputError
from wavegen.training.data import EXTENSIONS


def prepare(source: Path, target: Path) -> int:
    """Write TARGET and return the number of utterances. InputError if there are none, or two have one name.

    Recordings that lie in ``TARGET/wavs`` already stay as they are.
    """
    recordings = sorted(p for p in source.rglob("*") if p.suffix.lower() in EXTENSIONS and p.is_file())
    lines: dict[str, tuple[str, Path]] = {}
    for path in recordings:
        text_file = path.with_suffix(".txt")
        if not text_file.is_file():
            continue
        try:
            text = " ".join(text_file.read_text(encoding="utf-8-sig").replace("|", " ").split())
        except UnicodeDecodeError:
            raise InputError(f"{text_file}: not UTF-8 text") from None
        if not text:
            raise InputError(f"{text_file}: empty")
        if "|" in path.stem:
            raise InputError(f"{path}: a name in metadata.csv cannot hold |")
        if path.stem in lines:
            raise InputError(f"{path}: another recording is called {path.stem} too")
        lines[path.stem] = text, path
    if not lines:
        raise InputError(f"{source}: no recordings with a text of the same name beside them")
    wavs = target / "wavs"
    wavs.mkdir(parents=True, exist_ok=True)
    for name, (_, path) in lines.items():
        place = wavs / f"{name}{path.suffix.lower()}"
        if place.exists() and place.samefile(path):
            continue
        place.unlink(missing_ok=True)
        try:
            place.symlink_to(path.resolve())
        except OSError:
            shutil.copyfile(path, place)
    with atomic(target / "metadata.csv") as temporary:
        temporary.write_text("".join(f"{name}|{text}\n" for name, (text, _) in lines.items()), encoding="utf-8")
    return len(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description="Make a folder in LJSpeech layout.")
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    try:
        count = prepare(arguments.source, arguments.target)
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{arguments.target}: {count} utterances")
    return 0


if __name__ == "__main__":
    sys.exit(main())
