"""Phonemes as the numbers a model reads."""

from collections.abc import Sequence

from wavegen.errors import InputError
from wavegen.text.symbols import END, START, SYMBOLS

_NUMBERS = {symbol: number for number, symbol in enumerate(SYMBOLS)}


def token_ids(phonemes: Sequence[str]) -> list[int]:
    """Symbols of one utterance → numbers, with the silence before and after it. InputError names an unknown symbol."""
    if not phonemes:
        raise InputError("no phonemes to speak")
    try:
        return [_NUMBERS[symbol] for symbol in (START, *phonemes, END)]
    except KeyError as error:
        raise InputError(f"unknown phoneme {error.args[0]!r}") from None
