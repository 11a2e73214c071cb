import functools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavegen.errors import InputError
from wavegen.evaluation.error_rates import (
    character_error_rate,
    character_errors,
    edit_distance,
    word_error_rate,
    word_errors,
    words,
)

texts = st.text("abc ", max_size=8)


def recursive_distance(a: str, b: str) -> int:
    @functools.cache
    def distance(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        return min(distance(i - 1, j) + 1, distance(i, j - 1) + 1, distance(i - 1, j - 1) + (a[i - 1] != b[j - 1]))

    return distance(len(a), len(b))


@given(texts, texts)
def test_equals_the_plain_recursion(a: str, b: str) -> None:
    assert edit_distance(a, b) == recursive_distance(a, b)


@given(texts, texts, texts)
def test_is_a_metric(a: str, b: str, c: str) -> None:
    assert edit_distance(a, b) == edit_distance(b, a)
    assert edit_distance(a, c) <= edit_distance(a, b) + edit_distance(b, c)
    assert (edit_distance(a, b) == 0) == (a == b)
    assert abs(len(a) - len(b)) <= edit_distance(a, b) <= max(len(a), len(b))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It's EASY -- isn't it?", ["it's", "easy", "isn't", "it"]),
        ("It\N{RIGHT SINGLE QUOTATION MARK}s the man's.", ["it's", "the", "man's"]),
        ("'Twas café-au-lait, 1906!", ["twas", "cafe", "au", "lait", "1906"]),
        ("under_score", ["under", "score"]),
        (" ... ", []),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize(
    ("reference", "hypothesis", "rate"),
    [
        ("The cat.", "the cat", 0.0),
        ("It's, well", "its well", 0.0),
        ("abcd", "", 1.0),
        ("abcd", "abxd", 0.25),
        ("ab cd", "abcd", 0.2),
        ("a", "abcd", 3.0),
    ],
)
def test_character_error_rate(reference: str, hypothesis: str, rate: float) -> None:
    assert character_error_rate(reference, hypothesis) == pytest.approx(rate)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "rate"),
    [
        ("The boy's hat.", "the boys hat", 0.0),
        ("the big red hat", "the red hat", 0.25),
        ("the hat", "the hat was big", 1.0),
        ("the hat", "that hat", 0.5),
    ],
)
def test_word_error_rate(reference: str, hypothesis: str, rate: float) -> None:
    assert word_error_rate(reference, hypothesis) == pytest.approx(rate)


def test_counts_say_what_the_rate_is_made_of() -> None:
    assert (character_errors("ab cd", "abcd").edits, character_errors("ab cd", "abcd").length) == (1, 5)
    assert (word_errors("ab cd", "abcd").edits, word_errors("ab cd", "abcd").length) == (2, 2)


@pytest.mark.parametrize("rate", [character_error_rate, word_error_rate])
def test_empty_reference(rate) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=r"'\?!' has no word"):
        rate("?!", "hello")
