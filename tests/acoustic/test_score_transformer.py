"""Score → mel: which frames a note is heard in, superposition, spans against the whole, and what is refused."""

import dataclasses

import numpy as np
import pytest
import torch

from wavegen.acoustic.rolls import (
    CYMBAL_TAIL,
    DRUM_KINDS,
    DRUM_TAIL,
    DRUMS,
    LEAD,
    TAILS,
    Part,
    Sounding,
    named_tracks,
    parts_of,
)
from wavegen.acoustic.score import ABOVE, BELOW, STEPS, NoteSpectrum, ScoreTransformer, ScoreTransformerConfig
from wavegen.audio.features import CONVENTIONS, mel_edges
from wavegen.errors import InputError
from wavegen.music.score import Score, Track

SPEC = dataclasses.replace(CONVENTIONS["music-24k"], bands=24)
TINY = ScoreTransformerConfig(width=16, depth=1, embedding=8, channels=16, hidden=24, layers=2, heads=2, reach=6)


def part(notes: list[tuple[float, float, int, int]], instrument: int = 0) -> Part:
    a = np.array(notes, float).reshape(-1, 4)
    return Part(instrument, a[:, 0], a[:, 1], a[:, 2].astype(np.int64), a[:, 3].astype(np.int64))


@pytest.fixture
def model() -> ScoreTransformer:
    torch.manual_seed(0)
    model = ScoreTransformer(TINY, SPEC).eval()
    with torch.no_grad():
        model.output.weight.normal_(std=0.3)  # as if trained: it begins as zero
    return model


def test_frames_of_a_note() -> None:
    rate = SPEC.frame_rate
    p = part([(1.0, 2.0, 60, 100)])
    s = p.sounding(SPEC, 0, 10_000)
    assert s.frame.min() == np.ceil(rate - 0.5 - LEAD)
    assert s.frame.max() == np.floor((2.0 + TAILS[0]) * rate - 0.5)
    assert p.frames(SPEC) > s.frame.max()
    at = int(torch.argmin(s.age.abs()))
    assert abs(float(s.age[at])) <= 0.5
    # A frame's centre lies half a hop behind its first sample.
    assert float(s.age[at]) == pytest.approx(int(s.frame[at]) + 0.5 - rate)
    torch.testing.assert_close(s.age - s.over, torch.full_like(s.age, rate))


def test_windows_cut_what_the_whole_holds() -> None:
    rng = np.random.default_rng(1)
    onset = rng.uniform(0, 5, 40)
    p = part([(t, t + rng.uniform(0.01, 1), rng.integers(30, 90), rng.integers(1, 128)) for t in onset])
    whole = p.sounding(SPEC, 0, 700)
    window = p.sounding(SPEC, 123, 77)
    inside = (whole.frame >= 123) & (whole.frame < 200)
    assert sorted(zip(window.frame.tolist(), window.kind.tolist(), window.age.tolist(), strict=True)) == sorted(
        zip((whole.frame[inside] - 123).tolist(), whole.kind[inside].tolist(), whole.age[inside].tolist(), strict=True)
    )


def test_drums_ring_out_whatever_their_end() -> None:
    short, long = part([(0.5, 0.51, 36, 90)], DRUMS), part([(0.5, 3.0, 36, 90)], DRUMS)
    assert torch.equal(short.sounding(SPEC, 0, 1000).frame, long.sounding(SPEC, 0, 1000).frame)
    assert short.tails.tolist() == [DRUM_TAIL]
    assert part([(0, 1, 49, 90)], DRUMS).tails.tolist() == [CYMBAL_TAIL]
    assert int(short.sounding(SPEC, 0, 100).kind[0]) == 128 + 36


def test_notes_add_up_as_power(model: ScoreTransformer) -> None:
    a, b = part([(0.1, 0.5, 60, 90)]), part([(0.3, 0.9, 67, 50)])
    both = part([(0.1, 0.5, 60, 90), (0.3, 0.9, 67, 50)])

    def power(p: Part) -> torch.Tensor:
        s = p.sounding(SPEC, 0, 150)
        with torch.no_grad():
            return torch.exp(2 * model.base(s, torch.zeros(len(s), dtype=torch.long), 1, 150))

    floor = SPEC.floor**2
    torch.testing.assert_close(power(both), power(a) + power(b) - floor, rtol=1e-4, atol=1e-12)


@pytest.mark.parametrize("span", [7, 64, 101])
def test_spans_equal_the_whole(model: ScoreTransformer, span: int) -> None:
    p = part([(0.0, 0.4, 60, 90), (0.2, 1.5, 64, 70), (1.3, 1.4, 40, 127)])
    whole = model.render(p)
    assert whole.shape == (1, SPEC.bands, p.frames(SPEC))
    pieces = torch.cat(list(model.stream(p, span=span)), dim=-1)
    torch.testing.assert_close(pieces, whole, rtol=1e-4, atol=1e-4)


def test_a_frame_sees_its_context_and_no_further(model: ScoreTransformer) -> None:
    base = torch.randn(1, SPEC.bands, 120, requires_grad=True)
    (gradient,) = torch.autograd.grad(model.correction(base)[..., 60].sum(), base)
    seen = gradient.abs().sum(dim=(0, 1)).nonzero()[:, 0]
    assert seen.min() >= 60 - model.context
    assert seen.max() <= 60 + model.context
    assert seen.min() < 60 < seen.max()


def test_items_of_a_batch_do_not_mix(model: ScoreTransformer) -> None:
    parts = [part([(0.1, 0.6, 60, 90)]), part([(0.2, 0.3, 72, 30)], 40), part([])]
    soundings = [p.sounding(SPEC, 0, 80) for p in parts]
    joined = Sounding.joined(soundings, 80)
    with torch.no_grad():
        batch = model(joined, torch.zeros(len(joined), dtype=torch.long), 3, 80)
        for i, s in enumerate(soundings):
            alone = model(s, torch.zeros(len(s), dtype=torch.long), 1, 80)
            torch.testing.assert_close(batch[i : i + 1], alone, rtol=1e-4, atol=1e-4)


def test_a_shift_by_frames_shifts_the_mel(model: ScoreTransformer) -> None:
    hop = SPEC.hop / SPEC.sample_rate
    late = [(1.0, 1.5, 60, 90), (1.2, 1.3, 50, 40)]
    p, q = part(late), part([(a + 8 * hop, b + 8 * hop, c, d) for a, b, c, d in late])
    n, c = p.frames(SPEC), model.context  # the edges' padding reaches as far as the context
    shifted = model.render(q, n + 8)[..., 8:]
    torch.testing.assert_close(shifted[..., c:-c], model.render(p, n)[..., c:-c], rtol=1e-3, atol=1e-3)


def test_parts_of_a_score_follow_its_tempo() -> None:
    notes = np.array([[0.0, 1.0, 60, 64], [4.0, 2.0, 62, 100]])
    tracks = (
        Track(0, False, "", notes),
        Track(0, False, "", notes),
        Track(0, True, "", notes),
        Track(5, False, "", []),
    )  # type: ignore[arg-type]
    score = Score(tracks, tempos=((0.0, 120.0), (4.0, 60.0)))
    parts = parts_of(score)
    assert list(parts) == ["acoustic-grand-piano", "acoustic-grand-piano-2", "drums"]
    assert [name for name, _ in named_tracks(score)] == list(parts)
    np.testing.assert_allclose(parts["drums"].onset, [0.0, 2.0])
    np.testing.assert_allclose(parts["acoustic-grand-piano"].end, [0.5, 4.0])
    assert parts["drums"].instrument == DRUMS


def test_refused(model: ScoreTransformer) -> None:
    with pytest.raises(InputError, match="program"):
        part([], 129)
    with pytest.raises(InputError, match="pitch"):
        part([(0, 1, 128, 5)])
    with pytest.raises(InputError, match="velocity"):
        part([(0, 1, 60, 0)])
    with pytest.raises(InputError, match="as many"):
        Part(0, np.zeros(1), np.zeros(2), np.zeros(1, np.int64), np.ones(1, np.int64))
    with pytest.raises(InputError, match="font"):
        next(model.stream(part([(0, 1, 60, 5)]), font=2))
    with pytest.raises(InputError, match="natural"):
        ScoreTransformer(TINY, dataclasses.replace(SPEC, log="log10"))
    with pytest.raises(InputError, match="multiple of heads"):
        ScoreTransformerConfig(channels=10, heads=3)
    with pytest.raises(InputError, match="reach"):
        ScoreTransformerConfig(reach=0)


def test_the_relative_spectrum_lies_alike_for_all_pitches() -> None:
    spec = CONVENTIONS["music-24k"]
    notes = NoteSpectrum(TINY, spec)
    for parameter in (notes.output.weight, notes.output.bias, notes.relative.weight):
        torch.nn.init.zeros_(parameter)
    top = (BELOW + ABOVE) * STEPS
    with torch.no_grad():  # a tone at the fundamental, one at its double, and a last value for what lies outside
        notes.relative.bias.zero_()
        notes.relative.bias[[BELOW * STEPS, (BELOW + 1) * STEPS]] = 1.0
        notes.relative.bias[top] = -7.0
    centres = mel_edges(spec)[1:-1]
    kinds = torch.tensor([57, 64, 69, 81, DRUM_KINDS + 38])
    sounding = Sounding(
        frame=torch.zeros(5, dtype=torch.long),
        instrument=torch.tensor([0, 0, 0, 0, 128]),
        kind=kinds,
        velocity=torch.full((5,), 0.7),
        age=torch.full((5,), 4.0),
        over=torch.full((5,), -4.0),
    )
    with torch.no_grad():
        spectra = notes(sounding, torch.zeros(5, dtype=torch.long))
    assert (spectra[4] == -7.0).all()
    for spectrum, pitch in zip(spectra[:4], kinds[:4].tolist(), strict=True):
        fundamental = 440 * 2 ** ((pitch - 69) / 12)
        loud = centres[spectrum > 0.3]
        distance = torch.minimum((loud / fundamental).log2().abs(), (loud / fundamental / 2).log2().abs())
        assert len(loud)
        assert float(distance.max()) < 1 / STEPS
        outside = (centres < fundamental / 2**BELOW) | (centres > fundamental * 2**ABOVE)
        assert (spectrum[outside] == -7.0).all()
