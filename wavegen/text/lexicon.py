"""The pronouncing dictionary: CMUdict (see data/cmudict.LICENSE) below this project's own supplement.

``data/cmudict.txt.xz`` is the upstream file ``cmudict.dict`` unchanged, compressed with ``xz -9e``. Its lines read
``word PHONEME PHONEME ...``, and the second pronunciation of a word is headed ``word(2)``.
``data/supplement.txt`` has the same form; a word there replaces the dictionary's first pronunciation.
"""

import functools
import lzma
from importlib import resources


@functools.cache
def _entries() -> dict[str, str]:
    data = resources.files("wavegen.text") / "data"
    upstream = lzma.decompress((data / "cmudict.txt.xz").read_bytes()).decode("ascii")
    own = (data / "supplement.txt").read_text(encoding="ascii")
    return dict(line.split(" ", 1) for text in (upstream, own) for line in text.splitlines())


def known(word: str) -> bool:
    """Whether the dictionary has the lower-case ``word``."""
    return word in _entries()


def pronunciation(word: str, variant: int = 1) -> tuple[str, ...] | None:
    """The phonemes of pronunciation number ``variant`` (from 1) of the lower-case ``word``, None if there is none."""
    entry = _entries().get(word if variant == 1 else f"{word}({variant})")
    return None if entry is None else tuple(entry.partition(" #")[0].split())
