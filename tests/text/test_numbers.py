"""Numbers as words: every expectation is what a reader would say aloud."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavegen.text import numbers


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "zero"),
        (7, "seven"),
        (10, "ten"),
        (13, "thirteen"),
        (20, "twenty"),
        (21, "twenty one"),
        (99, "ninety nine"),
        (100, "one hundred"),
        (101, "one hundred one"),
        (110, "one hundred ten"),
        (999, "nine hundred ninety nine"),
        (1000, "one thousand"),
        (1001, "one thousand one"),
        (1010, "one thousand ten"),
        (12345, "twelve thousand three hundred forty five"),
        (100000, "one hundred thousand"),
        (1000000, "one million"),
        (1000001, "one million one"),
        (2500000000, "two billion five hundred million"),
        (10**12, "one trillion"),
        (10**15, "one quadrillion"),
        (10**63, "one vigintillion"),
        ("0007", "seven"),
        ("000", "zero"),
    ],
)
def test_cardinal(number: int | str, words: str) -> None:
    assert numbers.cardinal(number) == words


def test_cardinal_beyond_the_named_scales_is_digit_by_digit() -> None:
    assert numbers.cardinal("1" + "0" * 66) == "one" + " zero" * 66
    assert numbers.cardinal("9" * 66).startswith("nine hundred ninety nine vigintillion")
    assert len(numbers.cardinal("1" * 10_000).split()) == 10_000  # beyond Python's own limit on int()


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (1, "first"),
        (2, "second"),
        (3, "third"),
        (5, "fifth"),
        (8, "eighth"),
        (9, "ninth"),
        (12, "twelfth"),
        (13, "thirteenth"),
        (20, "twentieth"),
        (21, "twenty first"),
        (30, "thirtieth"),
        (100, "one hundredth"),
        (101, "one hundred first"),
        (1000, "one thousandth"),
        (112, "one hundred twelfth"),
    ],
)
def test_ordinal(number: int, words: str) -> None:
    assert numbers.ordinal(number) == words


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (1000, "one thousand"),
        (1066, "ten sixty six"),
        (1492, "fourteen ninety two"),
        (1500, "fifteen hundred"),
        (1800, "eighteen hundred"),
        (1905, "nineteen oh five"),
        (1910, "nineteen ten"),
        (1999, "nineteen ninety nine"),
        (2000, "two thousand"),
        (2007, "two thousand seven"),
        (2010, "twenty ten"),
        (2024, "twenty twenty four"),
        (2100, "twenty one hundred"),
        (79, "seventy nine"),
    ],
)
def test_year(number: int, words: str) -> None:
    assert numbers.year(number) == words


@pytest.mark.parametrize(
    ("number", "words"),
    [
        ("3.14", "three point one four"),
        ("0.5", "zero point five"),
        (".5", "point five"),
        ("10.05", "ten point zero five"),
        ("1.2.3", "one point two point three"),
        ("3.11.0", "three point eleven point zero"),
    ],
)
def test_decimal(number: str, words: str) -> None:
    assert numbers.decimal(number) == words


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ((1, 2), "one half"),
        ((3, 2), "three halves"),
        ((3, 4), "three quarters"),
        ((2, 3), "two thirds"),
        ((1, 8), "one eighth"),
        ((7, 10), "seven tenths"),
        ((5, 21), "five twenty firsts"),
        ((10, 10), "ten out of ten"),
        ((1, 0), "one over zero"),
        ((5, 1), "five over one"),
    ],
)
def test_fraction(parts: tuple[int, int], words: str) -> None:
    assert numbers.fraction(*parts) == words


def test_decade() -> None:
    assert numbers.decade(1980) == "nineteen eighties"
    assert numbers.decade(1900) == "nineteen hundreds"
    assert numbers.decade(2000) == "two thousands"
    assert numbers.decade(2010) == "twenty tens"
    assert numbers.decade(90) == "nineties"


_VALUES = {word: i for i, word in enumerate(numbers.cardinal(i) for i in range(21))} | {
    numbers.cardinal(i): i for i in range(20, 100, 10)
}
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "quadrillion": 10**15}


@given(st.integers(0, 10**18 - 1))
def test_cardinal_reads_back(number: int) -> None:
    """An independent reader of number words gets the number back."""
    total = group = 0
    for word in numbers.cardinal(number).split():
        if word == "hundred":
            group *= 100
        elif word in _SCALES:
            total, group = total + group * _SCALES[word], 0
        else:
            group += _VALUES[word]
    assert total + group == number
