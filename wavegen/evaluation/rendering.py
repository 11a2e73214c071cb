"""How close a rendering of a score comes to a sampler's, and how well the score can be read from it.

Every figure is also computed for the sampler's own rendering (FluidSynth): what it does not reach cannot be asked of a
network that learned from it.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from wavegen.audio.features import FeatureSpec, MelSpectrogram
from wavegen.evaluation.dependencies import require
from wavegen.music.score import DURATION, ONSET, PITCH, VELOCITY, Score

TOLERANCE = 0.030  # seconds
SEARCH = 0.080  # seconds around a written onset in which it is looked for
HOP, WINDOW = 128, 2048  # samples of the onset detector, of about 24 kHz audio
HARMONICS = 4
CHROMA_SECONDS = 0.5

Samples = NDArray[np.float32]


def log_mel_distance(waveform: Samples, reference: Samples, spec: FeatureSpec) -> float:
    """Mean absolute difference of two log-mels, natural logarithms; both (samples,) at the spec's rate and aligned."""
    count = min(len(waveform), len(reference))
    mel = MelSpectrogram(spec)
    a, b = (mel(torch.from_numpy(x[:count])[None]) for x in (waveform, reference))
    return float((a - b).abs().mean())


@dataclass(frozen=True)
class OnsetScore:
    """Shares of notes whose onset in a rendering lies within 30 ms of the sampler's own, and of where it is written.

    ``readable`` is the latter share among those notes whose onset is found there in the sampler's rendering.

    ``sampler`` is that share in the sampler's own rendering: soft attacks begin late in it too. ``notes`` were judged.
    """

    readable: float
    agreeing: float
    written: float
    sampler: float
    notes: int


def onset_score(waveform: Samples, reference: Samples, rate: int, score: Score) -> OnsetScore:
    """Compare the onsets of a rendering of one part (samples,) with those of the sampler's, aligned."""
    written, _ = _pitched_onsets(score)
    mine, theirs = (onset_times(x, rate, score) for x in (waveform, reference))
    judged = np.isfinite(mine) & np.isfinite(theirs)

    clear = judged & (np.abs(theirs - written) <= TOLERANCE)

    def share(a: NDArray[np.float64], b: NDArray[np.float64], among: NDArray[np.bool_]) -> float:
        return float((np.abs(a - b)[among] <= TOLERANCE).mean()) if among.any() else float("nan")

    return OnsetScore(
        share(mine, written, clear),
        share(mine, theirs, judged),
        share(mine, written, judged),
        share(theirs, written, judged),
        int(judged.sum()),
    )


def onset_times(waveform: Samples, rate: int, score: Score) -> NDArray[np.float64]:
    """Where each pitched note of a score, in the order of ``score.merged()``, begins to sound, in seconds; or NaN.

    The energy at a note's first four harmonics is followed in steps of 128 samples; it begins where its logarithm rises
    the most within 80 ms of the written time. A note near which the same pitch begins, or an octave, twelfth or double
    octave of it, is left out (NaN): the rise there is not its own. So are drums.
    """
    times, pitches = _pitched_onsets(score)
    spectrum = _spectrum(waveform)
    found = np.full(len(times), np.nan)
    for index, (time, pitch) in enumerate(zip(times, pitches, strict=True)):
        near = np.abs(times - time) < 2 * SEARCH
        shared = np.isin(np.abs(pitches - pitch), (0, 12, 19, 24))
        shared[index] = False
        if (near & shared).any():
            continue
        base = 440 * 2 ** ((pitch - 69) / 12)
        bins = [round(h * base * WINDOW / rate) for h in range(1, HARMONICS + 1) if h * base < 0.45 * rate]
        energy = np.sum([spectrum[b - 1 : b + 2].sum(axis=0) for b in bins if b >= 1], axis=0)
        level = np.log(energy + 1e-3 * energy.max() + 1e-12)
        rise = level[4:] - level[:-4]  # centred on frame i + 2
        centre = time * rate / HOP - 2
        reach = SEARCH * rate / HOP
        low, high = max(0, round(centre - reach)), min(len(rise), round(centre + reach) + 1)
        if high - low >= 3:
            found[index] = (low + int(np.argmax(rise[low:high])) + 2) * HOP / rate
    return found


def _pitched_onsets(score: Score) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    notes = score.merged()
    return score.seconds(notes[:, ONSET]), notes[:, PITCH]


def _spectrum(waveform: Samples) -> NDArray[np.float64]:
    """Power (bins, frames); frame i is centred on sample i × HOP."""
    window = torch.hann_window(WINDOW)
    s = torch.stft(torch.from_numpy(waveform), WINDOW, HOP, WINDOW, window, pad_mode="constant", return_complex=True)
    return np.asarray(s.abs().square().double().numpy())


def chroma_correlation(waveform: Samples, rate: int, score: Score) -> float:
    """Pearson correlation between the chroma of a waveform and the score's, in spans of half a second.

    The waveform's is that of the harmonic salience of a constant-Q transform: what a pitch and its first overtones
    hold, at its peaks, so that overtones do not count as pitches of their own (Salamon & Gómez 2012; librosa). The
    score's is the time that each pitch class is held in a span, weighted by velocity, drums left out: leave them
    out of the waveform too. A sampler's own rendering reaches about 0.83. MissingDependencyError without librosa.
    """
    require("librosa")
    import librosa

    hop, octaves = 512, 7
    lowest = float(librosa.note_to_hz("C1"))
    magnitudes = np.abs(librosa.cqt(waveform, sr=rate, hop_length=hop, fmin=lowest, n_bins=12 * octaves, tuning=0.0))
    salience = librosa.salience(
        magnitudes,
        freqs=librosa.cqt_frequencies(12 * octaves, fmin=lowest),
        harmonics=range(1, HARMONICS + 1),
        weights=[1 / h for h in range(1, HARMONICS + 1)],
        fill_value=0.0,
    )
    heard = salience.reshape(octaves, 12, -1).sum(axis=0)
    notes = score.merged()
    onset = score.seconds(notes[:, ONSET])
    end = score.seconds(notes[:, ONSET] + notes[:, DURATION])
    spans = int(len(waveform) / rate / CHROMA_SECONDS)
    written = np.zeros((12, spans))
    for start, stop, pitch, velocity in zip(onset, end, notes[:, PITCH].astype(int), notes[:, VELOCITY], strict=True):
        first, last = int(start / CHROMA_SECONDS), min(spans - 1, int(stop / CHROMA_SECONDS))
        for span in range(first, last + 1):
            low, high = span * CHROMA_SECONDS, (span + 1) * CHROMA_SECONDS
            written[pitch % 12, span] += velocity * max(0.0, min(stop, high) - max(start, low))
    edges = (np.arange(spans + 1) * CHROMA_SECONDS * rate / hop).astype(int)
    averaged = np.stack([heard[:, a : max(b, a + 1)].mean(axis=1) for a, b in pairwise(edges)], axis=1)
    sounding = written.sum(axis=0) > 0
    averaged /= averaged.max(axis=0, keepdims=True) + 1e-9
    written /= written.max(axis=0, keepdims=True) + 1e-9
    return float(np.corrcoef(averaged[:, sounding].ravel(), written[:, sounding].ravel())[0, 1])
