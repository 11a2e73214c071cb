from wavegen.evaluation.error_rates import words
from wavegen.evaluation.harvard import HARVARD_SENTENCES


def test_twenty_different_sentences() -> None:
    assert len({tuple(words(sentence)) for sentence in HARVARD_SENTENCES}) == 20


def test_each_is_a_plain_sentence_of_six_to_ten_words() -> None:
    for sentence in HARVARD_SENTENCES:
        assert sentence.endswith(".")
        assert sentence.isascii()
        assert 6 <= len(words(sentence)) <= 10
