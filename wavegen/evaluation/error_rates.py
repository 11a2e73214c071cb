"""Character and word error rates: edit distance over the length of the reference (Levenshtein 1966)."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from wavegen.errors import InputError


@dataclass(frozen=True)
class Errors:
    """Edits (substitutions, insertions and deletions) against a reference of ``length`` units; sums pool utterances."""

    edits: int
    length: int

    @property
    def rate(self) -> float:
        """0 is perfect; insertions can take it above 1."""
        return self.edits / self.length


def words(text: str) -> list[str]:
    """Lower-case words without punctuation; accents are dropped, hyphens part words, inner apostrophes stay."""
    decomposed = unicodedata.normalize("NFKD", text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))
    plain = "".join(c for c in decomposed if not unicodedata.combining(c))
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*", plain)


def edit_distance(a: Sequence[str], b: Sequence[str]) -> int:
    """Fewest substitutions, insertions and deletions that turn ``a`` into ``b``: strings, or lists of words."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
    return row[-1]


def character_errors(reference: str, hypothesis: str) -> Errors:
    """Edits between characters; single spaces count, case and punctuation (apostrophes too) do not.

    Raises InputError if the reference has no letter or digit.
    """
    wanted, heard = (" ".join(words(text)).replace("'", "") for text in (reference, hypothesis))
    return _errors(wanted, heard, reference)


def word_errors(reference: str, hypothesis: str) -> Errors:
    """Edits between words, compared without case, punctuation and apostrophes. Raises InputError as above."""
    wanted, heard = ([word.replace("'", "") for word in words(text)] for text in (reference, hypothesis))
    return _errors(wanted, heard, reference)


def character_error_rate(reference: str, hypothesis: str) -> float:
    """Character edits over the characters of the reference, from 0 (the same) up; may exceed 1."""
    return character_errors(reference, hypothesis).rate


def word_error_rate(reference: str, hypothesis: str) -> float:
    """Word edits over the words of the reference, from 0 (the same) up; may exceed 1."""
    return word_errors(reference, hypothesis).rate


def _errors(wanted: Sequence[str], heard: Sequence[str], reference: str) -> Errors:
    if not wanted:
        raise InputError(f"reference text {reference!r} has no word to compare with")
    return Errors(edit_distance(wanted, heard), len(wanted))
