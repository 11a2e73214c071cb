import itertools

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from wavegen.errors import InputError
from wavegen.evaluation import metrics

RATE = 24000
Wave = NDArray[np.float32]


def speech_like(seconds: float = 2.0, rate: int = RATE, seed: int = 0) -> Wave:
    """Syllables of a gliding harmonic tone under formant-like weights, noise between them, and pauses."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * np.pi * 0.7 * t)) / rate
    harmonics = np.arange(1, 30)
    formant = 500 + 300 * np.sin(2 * np.pi * 1.3 * t)
    tone = sum(
        np.exp(-(((k * 120 - formant) / 400) ** 2)) * np.sin(k * phase) + 0.05 * np.sin(k * phase) for k in harmonics
    )
    envelope = np.clip(np.sin(2 * np.pi * 2.5 * t), 0, None)
    x = tone * envelope + 0.2 * rng.standard_normal(len(t)) * np.clip(-np.sin(2 * np.pi * 2.5 * t) - 0.7, 0, None)
    return (0.5 * x / np.abs(x).max()).astype(np.float32)


def noisy(x: Wave, level: float) -> Wave:
    return x + np.float32(level) * np.random.default_rng(9).standard_normal(len(x)).astype(np.float32)


SPEECH = speech_like()
NOISE_LEVELS = (0.001, 0.003, 0.01, 0.03, 0.1)


def naive_stft_magnitudes(x: NDArray[np.float64], n_fft: int, hop: int, window: int) -> NDArray[np.float64]:
    hann = np.zeros(n_fft)
    left = (n_fft - window) // 2
    hann[left : left + window] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    padded = np.pad(x, n_fft // 2, mode="reflect")
    frames = [padded[i : i + n_fft] * hann for i in range(0, len(padded) - n_fft + 1, hop)]
    return np.maximum(np.abs(np.fft.rfft(frames, axis=1)), 1e-4)


class TestMultiResolutionSTFT:
    def test_equals_a_plain_computation(self) -> None:
        a, b = SPEECH[:5001], noisy(SPEECH, 0.05)[:5001]
        expected = 0.0
        for n_fft, hop, window in ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240)):
            x, y = (naive_stft_magnitudes(s.astype(np.float64), n_fft, hop, window) for s in (a, b))
            expected += np.sqrt(((x - y) ** 2).sum() / (x**2).sum()) + np.abs(np.log(x) - np.log(y)).mean()
        assert metrics.multi_resolution_stft(a, b) == pytest.approx(expected / 3, rel=1e-4)

    def test_half_the_gain_costs_a_half_and_ln_2(self) -> None:
        loud = np.random.default_rng(0).standard_normal(8000).astype(np.float32)  # far above the floor
        assert metrics.multi_resolution_stft(loud, 0.5 * loud) == pytest.approx(0.5 + np.log(2), rel=1e-3)


class TestLogMel:
    def test_a_gain_is_its_logarithm(self) -> None:
        loud = np.random.default_rng(0).standard_normal(8000).astype(np.float32)
        assert metrics.log_mel_l1(loud, 2 * loud, RATE) == pytest.approx(np.log(2), rel=1e-3)

    @pytest.mark.parametrize(
        ("rate", "n_fft", "top"),
        [(16000, 1024, 8000), (22050, 1024, 11025), (24000, 1024, 12000), (44100, 2048, 12000), (48000, 2048, 12000)],
    )
    def test_analysis(self, rate: int, n_fft: int, top: float) -> None:
        spec = metrics.analysis_spec(rate)
        assert (spec.n_fft, spec.hop, spec.top_frequency, spec.bands, spec.log) == (n_fft, n_fft // 4, top, 100, "ln")


class TestMCD:
    def test_constant(self) -> None:
        assert pytest.approx(6.14185, abs=1e-5) == metrics.MCD_CONSTANT

    @pytest.mark.parametrize("m", [1, 7, 24])
    def test_cepstra_of_a_cosine(self, m: int) -> None:
        bands = 100
        log_mel = 3.0 + 0.4 * np.cos(np.pi * m * (np.arange(bands) + 0.5) / bands)[:, None] * np.array([1.0, -2.0])
        expected = np.zeros((2, 24))
        expected[:, m - 1] = 0.4, -0.8
        np.testing.assert_allclose(metrics.cepstra_of(log_mel), expected, atol=1e-12)

    def test_is_the_rms_difference_of_log_spectra_in_decibels(self) -> None:
        """Parseval, for spectra within the span of 24 cosines: the RMS over bands of 20·log10 of the ratio."""
        rng = np.random.default_rng(3)
        basis = np.cos(np.pi * np.outer(np.arange(100) + 0.5, np.arange(1, 25)) / 100)
        a, b = (basis @ rng.normal(0, 0.1, (24, 1)) for _ in range(2))
        decibels = 20 / np.log(10) * (a - b)
        distortion = metrics.MCD_CONSTANT * np.linalg.norm(metrics.cepstra_of(a) - metrics.cepstra_of(b))
        assert distortion == pytest.approx(np.sqrt((decibels**2).mean()), rel=1e-9)

    def test_without_warping_is_the_mean_over_frames(self) -> None:
        a, b = SPEECH[:9000], noisy(SPEECH, 0.02)[:9000]
        x, y = metrics.mel_cepstra(a, RATE), metrics.mel_cepstra(b, RATE)
        expected = np.mean([10 * np.sqrt(2 * ((p - q) ** 2).sum()) / np.log(10) for p, q in zip(x, y, strict=True)])
        assert metrics.mcd(a, b, RATE, warp=False) == pytest.approx(expected, rel=1e-9)

    def test_gain_does_not_count_above_the_floor(self) -> None:
        loud = np.random.default_rng(0).standard_normal(8000).astype(np.float32)
        assert metrics.mcd(loud, 0.25 * loud, RATE) < 0.01
        assert metrics.mcd(loud, noisy(loud, 0.5), RATE) > 1.0

    def test_warping_forgives_a_delay(self) -> None:
        pytest.importorskip("numba")
        delayed = np.concatenate([SPEECH[:1], np.zeros(10 * 256, np.float32), SPEECH])
        assert metrics.mcd(SPEECH, delayed, RATE) < 0.3 * metrics.mcd(SPEECH, delayed, RATE, warp=False)


class TestSiSdr:
    def test_of_orthogonal_noise(self) -> None:
        """By the Pythagorean definition: the ratio of the powers, whatever the gain or the offset."""
        t = np.arange(2400) / RATE
        a, n = np.sin(2 * np.pi * 100 * t), np.sin(2 * np.pi * 300 * t)
        assert metrics.si_sdr(a, a + 0.1 * n) == pytest.approx(20.0, abs=1e-3)
        assert metrics.si_sdr(a, -7 * (a + 0.1 * n) + 0.4) == pytest.approx(20.0, abs=1e-3)

    def test_of_a_scaled_copy_is_without_bound(self) -> None:
        assert metrics.si_sdr(SPEECH, 0.5 * SPEECH) > 120

    @pytest.mark.parametrize("constant", [0.0, 0.3])
    def test_constant(self, constant: float) -> None:
        flat = np.full(1000, constant, np.float32)
        for pair in ((SPEECH[:1000], flat), (flat, SPEECH[:1000])):
            with pytest.raises(InputError, match="not constant"):
                metrics.si_sdr(*pair)


class TestPesq:
    @pytest.fixture(autouse=True)
    def _package(self) -> None:
        pytest.importorskip("pesq")

    def test_best_and_worse(self) -> None:
        scores = [metrics.pesq_wb(SPEECH, noisy(SPEECH, level), RATE) for level in NOISE_LEVELS]
        assert metrics.pesq_wb(SPEECH, SPEECH, RATE) == pytest.approx(4.644, abs=2e-3)
        assert all(a > b for a, b in zip([4.644, *scores], scores, strict=False))

    def test_gain_is_aligned(self) -> None:
        degraded = noisy(SPEECH, 0.01)
        assert metrics.pesq_wb(SPEECH, 0.3 * degraded, RATE) == pytest.approx(
            metrics.pesq_wb(SPEECH, degraded, RATE), abs=0.02
        )

    def test_more_utterances_than_the_code_holds(self) -> None:
        """A minute of 0.5 s bursts is 60 utterances, on which P.862's own arrays overflow."""
        rate = metrics.PESQ_RATE
        x = np.random.default_rng(0).standard_normal(60 * rate).astype(np.float32) * 0.1
        x *= np.arange(len(x)) % rate < rate // 2
        assert metrics.pesq_wb(x, x, rate) == pytest.approx(4.644, abs=2e-3)

    def test_pieces_without_an_utterance_stay_out(self) -> None:
        rate = metrics.PESQ_RATE
        speech = speech_like(18.0, rate)
        long = np.concatenate([speech, np.zeros(len(speech), np.float32)])
        degraded = noisy(speech, 0.01)
        padded = np.concatenate([degraded, np.zeros(len(speech), np.float32)])
        assert metrics.pesq_wb(long, padded, rate) == pytest.approx(metrics.pesq_wb(speech, degraded, rate), abs=1e-6)

    def test_no_utterance(self) -> None:
        clicks = noisy(np.zeros(3 * RATE, np.float32), 0.1) * (np.arange(3 * RATE) % 7200 < 1200)  # 50 ms every 300 ms
        with pytest.raises(InputError, match="no utterance"):
            metrics.pesq_wb(clicks, clicks, RATE)
        with pytest.raises(InputError, match="silent"):
            metrics.pesq_wb(SPEECH, np.zeros_like(SPEECH), RATE)


class TestEstoi:
    @pytest.fixture(autouse=True)
    def _package(self) -> None:
        pytest.importorskip("pystoi")

    def test_best_and_worse(self) -> None:
        scores = [metrics.estoi(SPEECH, noisy(SPEECH, level), RATE) for level in NOISE_LEVELS]
        assert metrics.estoi(SPEECH, SPEECH, RATE) == pytest.approx(1.0, abs=1e-9)
        assert all(a > b for a, b in zip([1.0, *scores], scores, strict=False))

    def test_gain_does_not_count(self) -> None:
        degraded = noisy(SPEECH, 0.03)
        assert metrics.estoi(SPEECH, 0.1 * degraded, RATE) == pytest.approx(
            metrics.estoi(SPEECH, degraded, RATE), abs=1e-4
        )

    def test_too_little_speech(self) -> None:
        with pytest.raises(InputError, match=r"0\.4 s"):
            metrics.estoi(SPEECH[:7000], SPEECH[:7000], RATE)
        with pytest.raises(InputError, match="silent"):
            metrics.estoi(np.zeros_like(SPEECH), SPEECH, RATE)


distances = pytest.mark.parametrize(
    "distance",
    [
        lambda a, b: metrics.log_mel_l1(a, b, RATE),
        metrics.multi_resolution_stft,
        lambda a, b: metrics.mcd(a, b, RATE),
        lambda a, b: metrics.mcd(a, b, RATE, warp=False),
    ],
    ids=["log_mel_l1", "multi_resolution_stft", "mcd", "mcd_unwarped"],
)


@distances
def test_distance_of_a_waveform_to_itself_is_0(distance) -> None:  # type: ignore[no-untyped-def]
    assert distance(SPEECH, SPEECH.copy()) == 0.0


@distances
def test_distance_grows_with_the_noise(distance) -> None:  # type: ignore[no-untyped-def]
    values = [distance(SPEECH, noisy(SPEECH, level)) for level in NOISE_LEVELS]
    assert values[0] > 0
    assert all(a < b for a, b in itertools.pairwise(values))


def test_si_sdr_falls_with_the_noise() -> None:
    values = [metrics.si_sdr(SPEECH, noisy(SPEECH, level)) for level in NOISE_LEVELS]
    assert all(a > b for a, b in itertools.pairwise(values))


EVERY = {
    "log_mel_l1": lambda a, b: metrics.log_mel_l1(a, b, RATE),
    "multi_resolution_stft": metrics.multi_resolution_stft,
    "mcd": lambda a, b: metrics.mcd(a, b, RATE),
    "mcd_unwarped": lambda a, b: metrics.mcd(a, b, RATE, warp=False),
    "si_sdr": metrics.si_sdr,
    "pesq_wb": lambda a, b: metrics.pesq_wb(a, b, RATE),
    "estoi": lambda a, b: metrics.estoi(a, b, RATE),
}
every = pytest.mark.parametrize("name", EVERY)


def ready(name: str):  # type: ignore[no-untyped-def]
    package = {"pesq_wb": "pesq", "estoi": "pystoi", "mcd": "numba"}.get(name)
    if package is not None:
        pytest.importorskip(package)
    return EVERY[name]


@every
def test_waveforms_that_cannot_be_measured(name: str) -> None:
    metric = ready(name)
    broken = SPEECH.copy()
    broken[7] = np.nan
    for bad, message in (
        (SPEECH[:1], "1 samples"),
        (SPEECH[:0], "0 samples"),
        (SPEECH[None], r"shape \(samples,\)"),
        (broken, "not finite"),
    ):
        with pytest.raises(InputError, match=f"{'waveform' if name == 'mcd' else 'reference'}.*{message}"):
            metric(bad, SPEECH)
        with pytest.raises(InputError, match=message):
            metric(SPEECH, bad)


@pytest.mark.parametrize("name", ["log_mel_l1", "multi_resolution_stft", "mcd", "mcd_unwarped"])
def test_shortest_and_awkward_lengths(name: str) -> None:
    shortest = 2048 if name == "multi_resolution_stft" else 1024
    for length in (shortest, shortest + 1, shortest + 257):
        assert 0 < ready(name)(SPEECH[:length], noisy(SPEECH, 0.1)[:length]) < 100
    with pytest.raises(InputError, match=f"{shortest - 1} samples, fewer than the {shortest}"):
        ready(name)(SPEECH[: shortest - 1], SPEECH)


@pytest.mark.parametrize("name", [name for name in EVERY if name != "mcd"])
def test_the_longer_is_cropped(name: str) -> None:
    metric = ready(name)
    short, degraded = SPEECH[:-777], noisy(SPEECH, 0.02)
    expected = metric(short, degraded[:-777])
    assert metric(short, degraded) == pytest.approx(expected, rel=1e-9)
    assert metric(SPEECH, degraded[:-777]) == pytest.approx(expected, rel=1e-9)


@every
def test_tensors_are_taken_too(name: str) -> None:
    metric = ready(name)
    degraded = noisy(SPEECH, 0.02)
    a, b = torch.from_numpy(SPEECH), torch.from_numpy(degraded).requires_grad_()
    assert metric(a, b) == pytest.approx(metric(SPEECH, degraded), rel=1e-9)


def test_f0_of_analytic_tones() -> None:
    """A quarter tone between two complex tones is 50 cents, whatever tracker found them."""
    pytest.importorskip("librosa")
    t = np.arange(RATE) / RATE

    def tone(f0: float) -> Wave:
        return (0.1 * sum(np.sin(2 * np.pi * k * f0 * t) / k for k in range(1, 8))).astype(np.float32)

    tracks = [metrics.pitch_track(tone(f0), RATE) for f0 in (150.0, 150.0 * 2 ** (50 / 1200))]
    hz, cents = metrics.f0_rmse(*tracks)
    assert cents == pytest.approx(50.0, abs=12.0)
    assert hz == pytest.approx(150.0 * (2 ** (50 / 1200) - 1), abs=1.1)
    assert metrics.voicing(*tracks).f1 > 0.97


def test_noise_is_unvoiced_against_a_tone() -> None:
    pytest.importorskip("librosa")
    t = np.arange(RATE) / RATE
    tone = (0.1 * sum(np.sin(2 * np.pi * k * 150.0 * t) / k for k in range(1, 8))).astype(np.float32)
    noise = 0.1 * np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    a, b = metrics.pitch_track(tone, RATE), metrics.pitch_track(noise, RATE)
    assert metrics.voicing(a, b).error > 0.7
    assert metrics.periodicity_rmse(a, b) > 0.4
