"""Onsets and chroma of renderings, on tones whose onsets and pitches are known."""

import numpy as np
import pytest

from wavegen.audio.features import FeatureSpec
from wavegen.evaluation.rendering import chroma_correlation, log_mel_distance, onset_score, onset_times
from wavegen.music.score import Score, Track

RATE = 24000
NOTES = np.array([[i * 1.0, 0.9, p, 90.0] for i, p in enumerate((60, 64, 67, 71, 62, 65, 69, 72))])
SCORE = Score((Track(0, False, "", NOTES),), tempos=((0.0, 120.0),))


def tones(shift: float = 0.0, transpose: int = 0) -> np.ndarray:
    wave = np.zeros(int(4.5 * RATE), np.float32)
    t = np.arange(len(wave)) / RATE
    for quarter, duration, pitch, _ in NOTES:
        start = quarter / 2 + shift
        gate = (t >= start) & (t < start + duration / 2)
        frequency = 440 * 2 ** ((pitch + transpose - 69) / 12)
        wave += 0.2 * gate * np.exp(-4 * np.maximum(t - start, 0)) * np.sin(2 * np.pi * frequency * (t - start))
    return wave.astype(np.float32)


def test_onsets_are_where_they_are_written() -> None:
    found = onset_times(tones(), RATE, SCORE)
    written = NOTES[:, 0] / 2
    np.testing.assert_allclose(found[1:], written[1:], atol=0.03)


@pytest.mark.parametrize(("shift", "within"), [(0.0, True), (0.006, True), (0.06, False)])
def test_late_onsets_are_seen(shift: float, within: bool) -> None:
    score = onset_score(tones(shift), tones(), RATE, SCORE)
    assert score.notes >= 7
    assert score.sampler > 0.85
    assert (score.agreeing > 0.85) == within
    assert (score.readable > 0.85) == within
    assert score.readable >= score.written or score.sampler == 1.0


def test_repeated_pitches_and_drums_are_left_out() -> None:
    twice = np.array([[0.0, 0.1, 60, 90], [0.1, 0.5, 60, 90], [1.0, 0.5, 64, 90]])
    score = Score((Track(0, False, "", twice), Track(0, True, "", twice)))
    found = onset_times(tones(), RATE, score)
    assert found.shape == (3,)
    assert np.isnan(found[:2]).all()


def test_chroma_follows_the_score() -> None:
    right = chroma_correlation(tones(), RATE, SCORE)
    wrong = chroma_correlation(tones(transpose=1), RATE, SCORE)
    assert right > 0.85
    assert wrong < 0.2


def test_overtones_are_not_read_as_pitches() -> None:
    wave = np.zeros(int(4.5 * RATE), np.float32)
    t = np.arange(len(wave)) / RATE
    for quarter, duration, pitch, _ in NOTES:
        gate = (t >= quarter / 2) & (t < (quarter + duration) / 2)
        frequency = 440 * 2 ** ((pitch - 12 - 69) / 12)
        for harmonic, level in ((1, 0.06), (2, 0.04), (3, 0.10)):  # by its loudest partials, a fifth too high
            wave += level * gate * np.sin(2 * np.pi * harmonic * frequency * t)
    assert chroma_correlation(wave.astype(np.float32), RATE, SCORE) > 0.85


def test_chroma_counts_notes_by_their_velocity() -> None:
    rows = [[0.0, 8.0, 60.0, 110.0], [0.0, 8.0, 66.0, 8.0]]
    t = np.arange(int(4.0 * RATE)) / RATE
    loud, soft = (np.sin(2 * np.pi * 440 * 2 ** ((p - 69) / 12) * t) for p in (60, 66))
    wave = (0.3 * loud + 0.02 * soft).astype(np.float32)
    right = Score((Track(0, False, "", np.array(rows)),), tempos=((0.0, 120.0),))
    rows[0][3], rows[1][3] = rows[1][3], rows[0][3]
    turned = Score((Track(0, False, "", np.array(rows)),), tempos=((0.0, 120.0),))
    assert chroma_correlation(wave, RATE, right) > 0.9
    assert chroma_correlation(wave, RATE, turned) < 0.5


def test_distance_of_mels() -> None:
    spec = FeatureSpec()
    assert log_mel_distance(tones(), tones(), spec) == 0.0
    louder = log_mel_distance(tones() * np.float32(2), tones(), spec)
    assert 0.1 < louder <= np.log(2) + 1e-3
