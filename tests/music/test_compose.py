from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from wavegen.errors import InputError
from wavegen.music.attributes import METERS, STYLES, Attributes, Key, Meter
from wavegen.music.compose import compose, is_poor, melody_span
from wavegen.music.leadsheet import Bar, Chord
from wavegen.music.models.base import ScoreModel
from wavegen.music.score import Score, Track


@dataclass(frozen=True)
class Config:
    vocabulary: str = "tune"


class Plain(ScoreModel):
    """Likes scale tones near C5 in eighths and quarters, whatever came before."""

    def __init__(self, kind="tune"):
        super().__init__(Config(kind))
        v = self.vocabulary
        scores = torch.full((v.size,), -2.0)
        if kind == "tune":
            for i, (family, value) in enumerate(zip(v.families, v.values, strict=True)):
                if family == "Pitch":
                    scores[i] = -0.15 * abs(value - 73) - (0 if value % 12 in (0, 2, 4, 5, 7, 9, 11) else 4)
                elif family == "Dur":
                    scores[i] = 2.0 if value in (6, 12) else -4.0
                elif family in ("Rest", "Tie"):
                    scores[i] = -6.0
        self.scores = scores

    def start(self):
        return 0

    def step(self, state, token):
        return self.scores.masked_fill(~self.vocabulary.follow[token], -torch.inf).log_softmax(-1), state + 1


MODEL = Plain()


def asked(style="folk", key="G major", meter="4/4", instruments=(73, 0), bars=16, drums=False, seed=3, tempo=100.0):
    return Attributes(
        Key.parse(key), tempo, Meter.parse(meter), tuple(instruments), drums, style, None, bars, 70, seed, "plain"
    )


def check(made, attributes):
    meter, bars = attributes.meter, attributes.bars
    assert len(made.leadsheet.bars) == bars == made.form.bars
    assert made.leadsheet.key == attributes.key
    assert made.leadsheet.meter == meter
    end = bars * meter.quarters
    assert end - meter.quarters < made.score.end <= end + 1e-9
    assert tuple(t.program for t in made.score.tracks if not t.is_drum) == attributes.instruments
    last = made.leadsheet.bars[-1]
    pitch, _, _ = last.notes[-1]
    assert pitch is not None
    assert pitch % 12 == attributes.key.tonic
    assert last.chords[-1][1] == Chord(0, "min" if attributes.key.is_minor else "maj")
    if bars > 1:
        assert made.leadsheet.bars[-2].chords[-1][1].root in (5, 7, 10)


@pytest.mark.parametrize("style", sorted(STYLES))
def test_every_style_is_composed_as_asked(style):
    given = STYLES[style]
    attributes = asked(style, "A minor", given.meters[0].name, given.instruments, 12, given.drums)
    check(compose(attributes, MODEL), attributes)


@pytest.mark.parametrize("meter", METERS, ids=lambda meter: meter.name)
def test_every_metre_is_composed_as_asked(meter):
    attributes = asked("folk", "D dorian", meter.name, (40,), 9)
    check(compose(attributes, MODEL), attributes)


@pytest.mark.parametrize("bars", [1, 2, 3, 7, 33, 64])
def test_every_length_is_composed_as_asked(bars):
    for style in ("rock", "reel"):
        attributes = asked(style, bars=bars, instruments=(29, 33), drums=True)
        check(compose(attributes, MODEL), attributes)


@pytest.mark.parametrize("program", [9, 14, 32, 47, 58, 72, 115, 122])
def test_narrow_and_extreme_instruments_can_have_the_melody(program):
    attributes = asked(key="F# major", instruments=(program,), bars=8)
    check(compose(attributes, MODEL), attributes)
    low, high = melody_span(attributes)
    assert high - low >= 11


def test_seed_and_variation_decide():
    first = compose(asked(), MODEL)
    assert compose(asked(), MODEL).score == first.score
    assert compose(asked(), MODEL, variation=1).score != first.score
    assert compose(asked(seed=4), MODEL).score != first.score


def test_sections_return():
    made = compose(asked(bars=32), MODEL)
    bars = made.leadsheet.bars
    a, varied, _, last = (bars[i : i + 8] for i in (0, 8, 16, 24))
    assert a[:6] == varied[:6]
    assert varied == last
    assert a[7] != varied[7]
    assert a[7].chords[-1][1].root == 7  # half a cadence


def test_a_primer_is_continued_and_stays_as_it_is():
    primer = compose(asked(bars=8, instruments=(73, 0, 32), drums=True, style="jazz"), MODEL).score
    attributes = asked(bars=20, instruments=(40,), style="jazz")
    made = compose(attributes, MODEL, primer=primer)
    assert made.form.sections[0].label == "primer"
    assert made.form.bars == 20
    assert made.attributes.instruments == (73, 0, 32)
    assert made.attributes.drums
    for before, after in zip(primer.tracks, made.score.tracks, strict=True):
        kept = after.notes[after.notes[:, 0] < 32 - 1e-9]
        assert np.array_equal(before.notes, kept)
        assert len(after) > len(before)
        assert after.end <= 80 + 1e-9
    assert made.leadsheet.bars[-1].notes[-1][0] % 12 == attributes.key.tonic


def test_infilling_changes_those_bars_alone():
    primer = compose(asked(bars=16), MODEL).score
    made = compose(asked(seed=9), MODEL, primer=primer, infill=(5, 6))
    changed = False
    for before, after in zip(primer.tracks, made.score.tracks, strict=True):
        outside = [t.notes[(t.notes[:, 0] < 16 - 1e-9) | (t.notes[:, 0] >= 24 - 1e-9)] for t in (before, after)]
        assert np.array_equal(*outside)
        inside = after.notes[(after.notes[:, 0] >= 16 - 1e-9) & (after.notes[:, 0] < 24 - 1e-9)]
        assert len(inside)
        assert (inside[:, 0] + inside[:, 1]).max() <= 24 + 1e-9
        changed |= before != after
    assert changed
    assert made.score.tempos == primer.tempos


def test_what_cannot_be_done_is_said():
    primer = compose(asked(bars=4), MODEL).score
    with pytest.raises(InputError, match=r"primer is in 4/4, but 3/4"):
        compose(asked(meter="3/4"), MODEL, primer=primer)
    with pytest.raises(InputError, match="has 4 bars already"):
        compose(asked(bars=4), MODEL, primer=primer)
    for bars in ((0, 2), (3, 2), (2, 5)):
        with pytest.raises(InputError, match="bars 1 to 4"):
            compose(asked(), MODEL, primer=primer, infill=bars)
    with pytest.raises(InputError, match="primer"):
        compose(asked(), MODEL, infill=(1, 2))
    with pytest.raises(InputError, match="pianoroll"):
        compose(asked(), Plain("pianoroll"))
    drums = Score((Track(0, True, "", np.array([[0.0, 1.0, 36, 80]])),))
    with pytest.raises(InputError, match="no melody"):
        compose(asked(), MODEL, primer=drums)


def test_a_model_with_a_sampler_of_its_own_is_asked():
    class Own(Plain):
        calls = 0

        def sample(self, constraint, *, primer=(), temperature=1.0, top_k=0, top_p=1.0, generator):
            from wavegen.music.sampling import sample

            Own.calls += 1
            return sample(self, constraint, primer=primer, temperature=temperature, top_k=top_k, generator=generator)

    made = compose(asked(), Own(), temperature=0.5, top_p=0.9)
    check(made, asked())
    assert Own.calls >= 2


def test_tempo_of_a_primer():
    primer = replace(compose(asked(bars=4), MODEL).score, tempos=((0.0, 90.0), (8.0, 60.0)))
    made = compose(asked(bars=8, tempo=120.0), MODEL, primer=primer)
    assert made.score.tempos == ((0.0, 90.0), (8.0, 60.0), (16.0, 120.0))


def test_poor_melodies_are_told():
    def bars(*notes):
        return [Bar(((0, Chord(0)),), notes)] * 4

    assert is_poor(bars((None, 24, False), (60, 24, False)))
    assert is_poor(bars(*((60, 12, False),) * 4))
    assert is_poor(bars((60, 48, False)))
    assert not is_poor(bars((60, 12, False), (62, 12, False), (64, 12, False), (65, 12, False)))
