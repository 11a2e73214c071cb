"""Where sentences end, and where they do not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavegen.text.sentences import LONGEST, pieces, split_sentences


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Dr. Smith paid $3.50 at 5 p.m. He left.", ["Dr. Smith paid $3.50 at 5 p.m.", "He left."]),
        (
            "The U.S. Army came. We live in the U.S. He left.",
            ["The U.S. Army came.", "We live in the U.S.", "He left."],
        ),
        ("J. R. R. Tolkien wrote it, e.g. this. Yes.", ["J. R. R. Tolkien wrote it, e.g. this.", "Yes."]),
        ("Wait... what? No way?! Yes.", ["Wait... what?", "No way?!", "Yes."]),
        ("Well... He left.", ["Well...", "He left."]),
        ("“I left.” He did. (So did I.) End", ["“I left.”", "He did.", "(So did I.)", "End"]),
        ('"Stop!" he said. "Why?"', ['"Stop!" he said.', '"Why?"']),
        ("one\ntwo\n\n\nthree", ["one", "two", "three"]),
        ("1. Open it. 2. Close it.", ["1. Open it.", "2. Close it."]),
        ("It cost 3.14. Then 2.", ["It cost 3.14.", "Then 2."]),
        ("See No. 5. He said no. Then he left.", ["See No. 5.", "He said no.", "Then he left."]),
        ("Apple Inc. in Cupertino. At Apple Inc. They", ["Apple Inc. in Cupertino.", "At Apple Inc.", "They"]),
        ("Plan B. He left. J. Smith", ["Plan B.", "He left.", "J. Smith"]),
        ("St. Mary's is on Main St. He knew.", ["St. Mary's is on Main St.", "He knew."]),
        ("at 5 p.m. Monday, etc. And so on", ["at 5 p.m. Monday, etc.", "And so on"]),
        ("hello", ["hello"]),
        ("", []),
        (" \n\t ", []),
    ],
)
def test_split(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


@pytest.mark.parametrize("text", ["word " * 400, "a, b " * 400, "x" * 5000, "no stop; " * 300, "." * 2000 + "a"])
def test_long_sentences_are_cut(text: str) -> None:
    found = split_sentences(text)
    assert all(0 < len(piece) <= LONGEST for piece in found)
    assert "".join(found).replace(" ", "") == text.replace(" ", "")


def test_cuts_fall_where_they_hurt_least() -> None:
    text = "some words here " * 10 + "and more, " + "then words " * 10
    assert pieces(text, 200)[0].endswith("more,")
    text = "some words here " * 10 + "because " + "words again " * 10
    assert pieces(text, 200)[1].startswith("because")
    assert all(not piece.startswith(" ") for piece in pieces("word " * 100, 37))


@given(st.text(st.sampled_from("ab .,?!\"'\n()1")))
def test_nothing_is_lost(text: str) -> None:
    assert "".join("".join(split_sentences(text)).split()) == "".join(text.split())
