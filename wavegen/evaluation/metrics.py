"""What is measured between a reference and a candidate; PROTOCOL.md says how each compares with published figures.

Waveforms are arrays or tensors of shape (samples,) at one sample rate. Of two, the longer is cropped at its end. Every
function raises InputError for another shape, for samples that are not finite, and for fewer than it needs.
"""

import warnings
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wavegen.audio.features import FeatureSpec, MelSpectrogram
from wavegen.audio.resample import resample
from wavegen.errors import InputError
from wavegen.evaluation.dependencies import require

Waveform = NDArray[np.floating] | Tensor

RESOLUTIONS = ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240))
"""(n_fft, hop, window) in samples, of Yamamoto et al. 2020."""

CEPSTRA = 24
MCD_CONSTANT = 10.0 * np.sqrt(2.0) / np.log(10.0)
PESQ_RATE = 16000
PESQ_LONGEST = 20 * PESQ_RATE  # the P.862 code holds 50 utterances and overflows beyond them; each spans at least 0.4 s


class Track(Protocol):
    """A pitch track: arrays of shape (frames,). What :func:`wavegen.audio.pitch.pitch` returns is one."""

    @property
    def f0(self) -> NDArray[np.floating]:
        """Hz; 0 where unvoiced."""

    @property
    def voiced(self) -> NDArray[np.bool_]: ...

    @property
    def periodicity(self) -> NDArray[np.floating]:
        """0 to 1."""


def analysis_spec(sample_rate: int) -> FeatureSpec:
    """The mel analysis of :func:`log_mel_l1` and :func:`mcd`: 100 bands to 12 kHz; frames double from 34 kHz on."""
    scale = 2 if sample_rate > 24000 * np.sqrt(2.0) else 1
    return FeatureSpec(
        sample_rate=sample_rate,
        n_fft=1024 * scale,
        window=1024 * scale,
        hop=256 * scale,
        fmax=min(12000.0, sample_rate / 2),
    )


def log_mel_l1(reference: Waveform, candidate: Waveform, sample_rate: int) -> float:
    """Mean absolute difference of log-mel magnitudes in nepers, 0 or more (reconstruction loss of Kong et al. 2020)."""
    spec = analysis_spec(sample_rate)
    mel = MelSpectrogram(spec)
    a, b = (mel(torch.from_numpy(x)[None]) for x in _pair(reference, candidate, spec.n_fft))
    return float((a - b).abs().mean())


def multi_resolution_stft(reference: Waveform, candidate: Waveform) -> float:
    """Multi-resolution STFT distance (Yamamoto et al. 2020), 0 or more: over three resolutions the mean of

    ‖A - B‖ / ‖A‖ + mean |ln A - ln B|, A and B the magnitudes of reference and candidate, raised to at least 1e-4.
    Hann windows, centred frames, reflected ends.
    """
    a, b = (torch.from_numpy(x) for x in _pair(reference, candidate, max(n_fft for n_fft, _, _ in RESOLUTIONS)))
    distances = []
    for n_fft, hop, window in RESOLUTIONS:
        x, y = (_magnitudes(signal, n_fft, hop, window) for signal in (a, b))
        convergence = torch.linalg.norm(x - y) / torch.linalg.norm(x)
        distances.append(float(convergence + (x.log() - y.log()).abs().mean()))
    return float(np.mean(distances))


def mel_cepstra(waveform: Waveform, sample_rate: int) -> NDArray[np.float64]:
    """c1…c24 of the log-mel magnitudes L of :func:`analysis_spec`, shape (frames, 24).

    c_m = 2/B Σ_b L_b cos(πm(b + ½)/B), so that L = c_0/2 + Σ c_m cos(…): the scale of SPTK's mel-cepstrum, in which the
    MCD is the root mean square difference of the smoothed log spectra in dB.
    """
    spec = analysis_spec(sample_rate)
    mel = MelSpectrogram(spec)(torch.from_numpy(_mono(waveform, spec.n_fft, "waveform"))[None])[0]
    return cepstra_of(mel.double().numpy())


def cepstra_of(log_mel: NDArray[np.floating]) -> NDArray[np.float64]:
    """Natural-log mel magnitudes (bands, frames) → c1…c24 as defined in :func:`mel_cepstra`, (frames, 24)."""
    bands = log_mel.shape[0]
    basis = np.cos(np.pi / bands * np.outer(np.arange(1, CEPSTRA + 1), np.arange(bands) + 0.5))
    result: NDArray[np.float64] = 2.0 / bands * (basis @ log_mel.astype(np.float64)).T
    return result


def mcd(reference: Waveform, candidate: Waveform, sample_rate: int, *, warp: bool = True) -> float:
    """Mel-cepstral distortion in dB, 0 or more: 10√2/ln 10 times the mean distance of c1…c24 (Kubichek 1993).

    The mean is over the pairs of the best warping path, for which neither waveform is cropped, or with ``warp=False``
    over the frames as they stand. Without c0, a change of gain alone leaves it at 0 but for the logarithm's floor.
    """
    shortest = analysis_spec(sample_rate).n_fft
    if warp:
        from wavegen.evaluation.dtw import dtw

        a, b = (mel_cepstra(x, sample_rate) for x in (reference, candidate))
        path = dtw(a, b)
        return float(MCD_CONSTANT * path.total / path.pairs)
    a, b = (mel_cepstra(x, sample_rate) for x in _pair(reference, candidate, shortest))
    return float(MCD_CONSTANT * np.linalg.norm(a - b, axis=1).mean())


def pitch_track(waveform: Waveform, sample_rate: int) -> Track:
    """Pitch, voicing and periodicity every 10 ms, searched from 65 to 500 Hz. Raises MissingDependencyError."""
    require("librosa")
    from wavegen.audio.pitch import pitch

    hop = round(sample_rate / 100)
    x = _mono(waveform, analysis_spec(sample_rate).n_fft, "waveform")
    track: Track = pitch(x, sample_rate, hop, fmin=65.0, fmax=500.0)
    return track


PITCH_SUMS = ("both", "added", "missed", "neither", "squared_hz", "squared_cents", "squared_periodicity")
"""The columns of :func:`pitch_sums`: frames voiced in both, in the candidate alone, in the reference alone, in neither;
then sums of squared differences, those of the frequency over the frames voiced in both."""


def pitch_sums(reference: Track, candidate: Track) -> NDArray[np.float64]:
    """All that the pitch scores of an utterance need, shape (7,), in the order of PITCH_SUMS.

    Added up, those of several utterances are those of all their frames. Cents are 1200·log2 of the ratio. The longer
    track is cropped.
    """
    frames = min(len(reference.voiced), len(candidate.voiced))
    if not frames:
        raise InputError("pitch scores need at least one frame in both tracks")
    a, b = reference.voiced[:frames], candidate.voiced[:frames]
    both = a & b
    x, y = (track.f0[:frames][both].astype(np.float64) for track in (reference, candidate))
    p, q = (track.periodicity[:frames].astype(np.float64) for track in (reference, candidate))
    return np.array(
        [
            both.sum(),
            (b & ~a).sum(),
            (a & ~b).sum(),
            (~a & ~b).sum(),
            np.square(x - y).sum(),
            np.square(1200.0 * np.log2(y / x)).sum(),
            np.square(p - q).sum(),
        ],
        np.float64,
    )


def pitch_scores(sums: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Sums (..., 7) of :func:`pitch_sums` → every pitch score, each (...); NaN where its frames are none."""
    both, added, missed, neither, hz, cents, periodicity = np.moveaxis(sums, -1, 0)
    frames = both + added + missed + neither
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "f0_rmse_hz": np.sqrt(hz / both),
            "f0_rmse_cents": np.sqrt(cents / both),
            "periodicity_rmse": np.sqrt(periodicity / frames),
            "vuv_error": (added + missed) / frames,
            "voiced_precision": both / (both + added),
            "voiced_recall": both / (both + missed),
            "voiced_f1": 2.0 * both / (2.0 * both + added + missed),
        }


class F0Rmse(NamedTuple):
    """Root mean square error of the fundamental frequency in Hz and in cents."""

    hz: float
    cents: float


class Voicing(NamedTuple):
    """The voiced/unvoiced decision, each from 0 to 1; precision, recall and F1 are those of the voiced frames."""

    error: float
    precision: float
    recall: float
    f1: float


def f0_rmse(reference: Track, candidate: Track) -> F0Rmse:
    """Over the frames voiced in both; NaN if there is none."""
    scores = pitch_scores(pitch_sums(reference, candidate))
    return F0Rmse(float(scores["f0_rmse_hz"]), float(scores["f0_rmse_cents"]))


def voicing(reference: Track, candidate: Track) -> Voicing:
    """Frames on which the two disagree, over all frames; NaN for a precision, recall or F1 of no frames."""
    scores = pitch_scores(pitch_sums(reference, candidate))
    return Voicing(*(float(scores[n]) for n in ("vuv_error", "voiced_precision", "voiced_recall", "voiced_f1")))


def periodicity_rmse(reference: Track, candidate: Track) -> float:
    """Over all frames, 0 to 1 (Morrison et al. 2022, there with CREPE)."""
    return float(pitch_scores(pitch_sums(reference, candidate))["periodicity_rmse"])


def pesq_wb(reference: Waveform, candidate: Waveform, sample_rate: int) -> float:
    """Wide-band PESQ, MOS-LQO from 1.04 to 4.64 (ITU-T P.862.2), at 16 kHz, by the package ``pesq``.

    Beyond 20 s it is the mean over equal pieces of at most 20 s, leaving out those in which PESQ finds no utterance.
    Raises InputError below 0.25 s, if either is silent, and if PESQ finds no utterance; MissingDependencyError.
    """
    require("pesq")
    from pesq import NoUtterancesError, pesq  # type: ignore[import-untyped]

    a, b = _pair(reference, candidate, sample_rate // 4 + 1)
    if not a.any() or not b.any():
        raise InputError("PESQ: the reference or the candidate is silent")
    a, b = (np.asarray(resample(x, sample_rate, PESQ_RATE), np.float32) for x in (a, b))
    scores = []
    for x, y in zip(*(np.array_split(s, -(-len(s) // PESQ_LONGEST)) for s in (a, b)), strict=True):
        try:
            scores.append(pesq(PESQ_RATE, x, y, "wb") if y.any() and x.any() else np.nan)
        except NoUtterancesError:
            scores.append(np.nan)
    if not np.isfinite(scores).any():
        raise InputError("PESQ found no utterance in the reference")
    return float(np.nanmean(scores))


def estoi(reference: Waveform, candidate: Waveform, sample_rate: int) -> float:
    """Extended short-time objective intelligibility, up to 1 (Jensen & Taal 2016), by the package ``pystoi`` at 10 kHz.

    Raises InputError if less than 0.4 s of speech remains without its silent frames; MissingDependencyError.
    """
    require("pystoi")
    from pystoi import stoi  # type: ignore[import-untyped]

    a, b = (x.astype(np.float64) for x in _pair(reference, candidate, sample_rate // 4 + 1))
    if not a.any() or not b.any():
        raise InputError("eSTOI: the reference or the candidate is silent")
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        try:
            return float(stoi(a, b, sample_rate, extended=True))
        except (RuntimeWarning, ValueError) as error:
            raise InputError("eSTOI needs at least 0.4 s of speech") from error


def si_sdr(reference: Waveform, candidate: Waveform) -> float:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019), means removed.

    Without bound: a scaled copy reaches the rounding error or +inf. Raises InputError if either waveform is constant.
    """
    a, b = (x.astype(np.float64) - x.mean(dtype=np.float64) for x in _pair(reference, candidate, 2))
    energy = a @ a
    if not energy or not b.any():
        raise InputError("SI-SDR needs a reference and a candidate that are not constant")
    target = (a @ b) / energy * a
    distortion = np.square(b - target).sum()
    with np.errstate(divide="ignore"):
        return float(10.0 * (np.log10(target @ target) - np.log10(distortion)))


def _magnitudes(signal: Tensor, n_fft: int, hop: int, window: int) -> Tensor:
    hann = torch.hann_window(window, dtype=signal.dtype)
    spectrum = torch.stft(signal, n_fft, hop, window, hann, center=True, pad_mode="reflect", return_complex=True)
    return spectrum.abs().clamp(min=1e-4)


def _mono(waveform: Waveform, shortest: int, name: str) -> NDArray[np.float32]:
    if isinstance(waveform, Tensor):
        waveform = waveform.detach().cpu().numpy()
    x = np.ascontiguousarray(waveform, np.float32)
    if x.ndim != 1:
        raise InputError(f"{name} must have shape (samples,), not {x.shape}")
    if len(x) < shortest:
        raise InputError(f"{name} has {len(x)} samples, fewer than the {shortest} this metric needs")
    if not np.isfinite(x).all():
        raise InputError(f"{name} has samples that are not finite")
    return x


def _pair(reference: Waveform, candidate: Waveform, shortest: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    a, b = _mono(reference, shortest, "reference"), _mono(candidate, shortest, "candidate")
    samples = min(len(a), len(b))
    return a[:samples], b[:samples]
