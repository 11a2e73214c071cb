import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavegen.errors import InputError
from wavegen.music.attributes import STYLES
from wavegen.music.form import form_of


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 512), st.sampled_from(sorted(STYLES)))
def test_sections_fill_the_piece_without_gaps(bars, style):
    form = form_of(bars, style)
    at = 0
    for number, section in enumerate(form.sections):
        assert section.start == at
        assert section.bars >= 1
        assert section.cadence in ("half", "authentic", "plagal")
        at = section.end
        if section.source is None:
            assert section.fresh == section.bars
        else:
            source = form.sections[section.source]
            assert section.source < number
            assert 0 <= section.bars - section.fresh <= source.bars
            # What is not new must close as it did.
            assert section.fresh or (source.cadence, source.bars) == (section.cadence, section.bars)
    assert at == bars == form.bars
    assert form.sections[-1].cadence in ("authentic", "plagal")


@pytest.mark.parametrize(
    ("bars", "labels"),
    [(1, "A1"), (8, "A8"), (16, "A4 A'4 B4 A'4"), (24, "A8 B8 A'8"), (32, "A8 A'8 B8 A'8"), (20, "A8 B8 coda4"),
     (33, "A8 A'8 B8 A'9")],
)  # fmt: skip
def test_usual_lengths_have_usual_forms(bars, labels):
    assert form_of(bars).labels == labels


def test_periods_open_and_close():
    first, second, bridge, last = form_of(32).sections
    assert (first.cadence, second.cadence, bridge.cadence, last.cadence) == ("half", "authentic", "half", "authentic")
    assert second.source == 0
    assert 0 < second.fresh < 8
    assert bridge.source is None
    assert last.source == 1
    assert last.fresh == 0


def test_blues_goes_in_twelves_and_chorales_go_on():
    assert [section.bars for section in form_of(36, "blues").sections] == [12, 12, 12]
    assert [section.label for section in form_of(32, "chorale").sections] == ["A", "A'", "B", "C"]


def test_long_pieces_return_to_their_refrain():
    form = form_of(512)
    new = sum(section.fresh for section in form.sections)
    assert new < 512 / 3
    assert form.section_at(0).label == "A"
    assert form.section_at(511).label == "A'"


@pytest.mark.parametrize("bars", [0, -1, 513])
def test_impossible_lengths_are_refused(bars):
    with pytest.raises(InputError, match="1 to 512"):
        form_of(bars)
