import importlib.util
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor, nn

from wavegen.audio.features import FeatureSpec
from wavegen.audio.io import Audio
from wavegen.errors import InputError, MissingDependencyError
from wavegen.evaluation import metrics, protocol
from wavegen.evaluation.error_rates import character_errors, word_errors
from wavegen.evaluation.results import SystemScores
from wavegen.vocoders.griffin_lim import GriffinLim

pytest.importorskip("librosa")
pytest.importorskip("numba")

PERCEPTUAL = all(importlib.util.find_spec(package) for package in ("pesq", "pystoi"))
RATE = 24000


def recording(seconds: float, f0: float, rate: int = RATE) -> Audio:
    t = np.arange(round(seconds * rate)) / rate
    tone = sum(np.sin(2 * np.pi * k * f0 * t) / k for k in range(1, 12))
    return Audio((0.05 * tone * np.clip(np.sin(2 * np.pi * 2 * t), 0, None) + 0.01).astype(np.float32), rate)


RECORDINGS = [recording(1.003, 120.0), recording(1.5, 210.0)]


class Oracle(nn.Module):
    """Knows what was recorded, by its length, and adds noise of a given level to it."""

    def __init__(self, recordings: list[Audio], noise: float, spec: FeatureSpec | None = None) -> None:
        super().__init__()
        self.spec = spec or FeatureSpec()
        self.known = {audio.samples.shape[-1] // self.spec.hop: audio.samples[0] for audio in recordings}
        self.noise = noise
        self.calls = 0

    def forward(self, mel: Tensor) -> Tensor:
        self.calls += 1
        x = self.known[mel.shape[-1]]
        x = x - x.mean(dtype=np.float64).astype(np.float32)
        x = x * np.float32(0.95 / np.abs(x).max())
        generator = torch.Generator().manual_seed(0)
        noise = self.noise * torch.randn(len(x), generator=generator)
        return (torch.from_numpy(x) + noise)[None, : mel.shape[-1] * self.spec.hop]


@pytest.fixture(scope="module")
def evaluation() -> protocol.VocoderEvaluation:
    return protocol.evaluate_vocoder(
        Oracle(RECORDINGS, 0.0),
        RECORDINGS,
        baseline=Oracle(RECORDINGS, 0.02),
        perceptual=PERCEPTUAL,
        name="oracle",
        baseline_name="noisy",
    )


class TestVocoder:
    def test_a_perfect_vocoder_has_the_best_scores(self, evaluation: protocol.VocoderEvaluation) -> None:
        best = {
            "log_mel_l1": 0, "multi_resolution_stft": 0, "mcd": 0, "f0_rmse_hz": 0, "f0_rmse_cents": 0,
            "periodicity_rmse": 0, "vuv_error": 0, "voiced_precision": 1, "voiced_recall": 1, "voiced_f1": 1,
        }  # fmt: skip
        if PERCEPTUAL:
            best |= {"pesq_wb": 4.644, "estoi": 1}
        pooled = evaluation.candidate.pooled
        assert {key: pooled[key].value for key in best} == pytest.approx(best, abs=2e-3)
        assert all(pooled[key].value == 0 for key in ("log_mel_l1", "multi_resolution_stft", "mcd"))
        assert pooled.keys() == {*best, "real_time_factor"}

    def test_the_baseline_is_worse_and_the_difference_is_paired(self, evaluation: protocol.VocoderEvaluation) -> None:
        assert evaluation.baseline is not None
        for key in ("log_mel_l1", "multi_resolution_stft", "mcd"):
            a, b = evaluation.candidate.pooled[key], evaluation.baseline.pooled[key]
            difference = evaluation.difference[key]
            assert difference.value == pytest.approx(a.value - b.value)
            assert difference.low <= difference.value <= difference.high < 0

    def test_pools_frames_and_seconds_not_files(self, evaluation: protocol.VocoderEvaluation) -> None:
        system = evaluation.baseline
        assert isinstance(system, SystemScores)
        seconds = np.array([file.seconds for file in system.files])
        assert seconds == pytest.approx([1.003, 1.5], abs=1e-4)
        factors = np.array([file.scores["real_time_factor"] for file in system.files])
        assert system.pooled["real_time_factor"].value == pytest.approx((factors @ seconds) / seconds.sum())
        errors = np.array([file.scores["vuv_error"] for file in system.files])
        frames = np.floor(seconds * 100)
        assert system.pooled["vuv_error"].value == pytest.approx((errors @ frames) / frames.sum(), rel=0.02, abs=1e-9)
        means = [file.scores["mcd"] for file in system.files]
        assert system.pooled["mcd"].value == pytest.approx(np.mean(means))

    def test_is_json_and_a_table(self, evaluation: protocol.VocoderEvaluation) -> None:
        json.dumps(evaluation.to_dict(), allow_nan=False)
        assert evaluation.conditions["seconds"] == pytest.approx(2.503, abs=1e-3)
        assert evaluation.conditions["packages"]["torch"] == torch.__version__
        assert "oracle [95 %]" in protocol.format_table(evaluation).splitlines()[0]

    def test_a_file_is_the_same_as_its_audio(self, tmp_path: Path) -> None:
        path = tmp_path / "a.wav"
        soundfile.write(path, RECORDINGS[0].samples[0], RATE, subtype="FLOAT")
        seen: list[tuple[int, int, str]] = []
        options = {"perceptual": False, "progress": lambda *state: seen.append(state)}
        results = [
            protocol.evaluate_vocoder(Oracle(RECORDINGS, 0.01), [source], **options)
            for source in (path, str(path), RECORDINGS[0])
        ]
        scores = [result.candidate.files[0].scores for result in results]
        for other in scores[1:]:
            assert {**other, "real_time_factor": 0} == {**scores[0], "real_time_factor": 0}
        assert seen == [(1, 1, "a.wav"), (1, 1, "a.wav"), (1, 1, "recording 1")]

    def test_one_untimed_run_then_one_a_file(self) -> None:
        oracle = Oracle(RECORDINGS, 0.0)
        protocol.evaluate_vocoder(oracle, RECORDINGS, perceptual=False)
        assert oracle.calls == 3

    def test_recordings_of_another_rate_and_two_channels(self) -> None:
        source = recording(1.2, 150.0, 48000)
        stereo = Audio(np.stack([1.5 * source.samples[0], 0.5 * source.samples[0]]), 48000)
        at_rate = source.resample(RATE)
        result = protocol.evaluate_vocoder(Oracle([at_rate], 0.0), [stereo], perceptual=False)
        assert result.candidate.pooled["log_mel_l1"].value < 0.01

    @pytest.mark.skipif(not PERCEPTUAL, reason="needs pesq and pystoi")
    def test_what_pesq_refuses_is_counted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse_the_short(reference: np.ndarray, candidate: np.ndarray, rate: int) -> float:
            if len(reference) < 1.2 * rate:
                raise InputError("no utterance")
            return 3.0

        monkeypatch.setattr(metrics, "pesq_wb", refuse_the_short)
        system = protocol.evaluate_vocoder(Oracle(RECORDINGS, 0.0), RECORDINGS).candidate
        assert system.unscored == {"pesq_wb": 1, "estoi": 0}
        assert np.isnan(system.files[0].scores["pesq_wb"])
        assert system.pooled["pesq_wb"].value == 3.0

    def test_bad_input_is_named(self, tmp_path: Path) -> None:
        oracle = Oracle(RECORDINGS, 0.0)
        for peak in (0.0, -0.5, 1.5, float("nan")):
            with pytest.raises(InputError, match="peak"):
                protocol.evaluate_vocoder(oracle, RECORDINGS, peak=peak, perceptual=False)
        with pytest.raises(InputError, match="no recordings"):
            protocol.evaluate_vocoder(oracle, [])
        other = Oracle(RECORDINGS, 0.0, FeatureSpec(sample_rate=22050, fmax=None))
        with pytest.raises(InputError, match="24000 Hz, the baseline at 22050 Hz"):
            protocol.evaluate_vocoder(oracle, RECORDINGS, baseline=other)
        for samples, message in ((0, "empty"), (500, "500 samples|too short"), (1500, "samples, fewer than")):
            audio = Audio(RECORDINGS[0].samples[:, 5000 : 5000 + samples], RATE)
            with pytest.raises(InputError, match=f"recording 1: .*({message})"):
                protocol.evaluate_vocoder(Oracle([audio], 0.0), [audio], perceptual=False)
        flat = Audio(np.full((1, RATE), 0.25, np.float32), RATE)
        with pytest.raises(InputError, match=r"recording 2: .*silent"):
            protocol.evaluate_vocoder(oracle, [RECORDINGS[0], flat], perceptual=False)
        with pytest.raises(InputError, match=r"absent\.wav"):
            protocol.evaluate_vocoder(oracle, [tmp_path / "absent.wav"], perceptual=False)

    @pytest.mark.parametrize("package", ["librosa", "numba", "pesq"])
    def test_a_missing_package_is_named_before_any_work(self, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, package, None)
        oracle = Oracle(RECORDINGS, 0.0)
        with pytest.raises(MissingDependencyError, match=rf"needs {package}; .*wavegen\[evaluate\]"):
            protocol.evaluate_vocoder(oracle, RECORDINGS)
        assert oracle.calls == 0


@dataclass(frozen=True)
class Said:
    id: str
    text: str
    path: Path


SENTENCES = ("The red hat.", "A blue coat here.", "Green shoes.")
HEARD = {
    "The red hat.": "the red hat",
    "A blue coat here.": "a new coat",
    "Green shoes.": "",
    "We came home.": "we came",
    "They went away again.": "they went away again",
}
CODES = {text: (i + 1) / 64 for i, text in enumerate(HEARD)}


class Listener:
    """Knows a text by the level of the audio; hears the recordings perfectly and the copies with a letter added."""

    def _origin(self, audio: Audio) -> tuple[str, str]:
        level = float(abs(audio.samples[0, 0]))
        text = next(text for text, code in CODES.items() if abs(code - level) < 1e-3)
        return text, {1: "synthetic", 2: "recording", 3: "copy"}[audio.samples.shape[-1] // 1000]

    def transcribe(self, audio: Audio) -> str:
        text, origin = self._origin(audio)
        return {"synthetic": HEARD[text], "recording": text, "copy": f"{text} x"}[origin]

    def identify(self, audio: Audio, sentences: tuple[str, ...]) -> int | None:
        index = sentences.index(self._origin(audio)[0])
        return {0: 0, 1: 2, 2: None}[index]


def coded(text: str, samples: int) -> Audio:
    return Audio(np.full((1, samples), CODES[text], np.float32), 1000)


class TestSpeech:
    @pytest.fixture
    def utterances(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Said]:
        pytest.importorskip("pocketsphinx")
        monkeypatch.setattr(protocol, "Recognizer", Listener)
        said = [Said(f"u{i}", text, tmp_path / f"u{i}.wav") for i, text in enumerate(list(HEARD)[3:])]
        for utterance in said:
            soundfile.write(utterance.path, coded(utterance.text, 2000).samples[0], 1000, subtype="FLOAT")
        return said

    def test_every_figure(self, utterances: list[Said]) -> None:
        spoken: list[str] = []
        seen: list[tuple[int, int, str]] = []

        def speak(text: str) -> Audio:
            spoken.append(text)
            return coded(text, 1000)

        result = protocol.evaluate_speech(
            speak,
            utterances,
            copy=lambda audio: Audio(np.pad(audio.samples, ((0, 0), (0, 1000)), mode="edge"), audio.sample_rate),
            sentences=SENTENCES,
            progress=lambda *state: seen.append(state),
        )
        assert spoken == [SENTENCES[0], *SENTENCES, *(u.text for u in utterances)]
        assert seen == [(i + 1, 5, name) for i, name in enumerate((*SENTENCES, "u0", "u1"))]

        def rate(errors, pairs):  # type: ignore[no-untyped-def]
            counts = [errors(text, heard) for text, heard in pairs]
            return sum(c.edits for c in counts) / sum(c.length for c in counts)

        harvard = [(text, HEARD[text]) for text in SENTENCES]
        held_out = [(u.text, HEARD[u.text]) for u in utterances]
        copies = [(u.text, f"{u.text} x") for u in utterances]
        expected = {
            "sentence_identification": 1 / 3,
            "harvard_cer": rate(character_errors, harvard),
            "harvard_wer": rate(word_errors, harvard),
            "cer_synthetic": rate(character_errors, held_out),
            "wer_synthetic": rate(word_errors, held_out),
            "cer_recording": 0.0,
            "wer_recording": 0.0,
            "cer_copy": rate(character_errors, copies),
            "wer_copy": rate(word_errors, copies),
            "cer_synthetic_minus_recording": rate(character_errors, held_out),
            "cer_copy_minus_recording": rate(character_errors, copies),
            "cer_synthetic_minus_copy": rate(character_errors, held_out) - rate(character_errors, copies),
        }
        values = {key: estimate.value for key, estimate in result.pooled.items()}
        assert 0 < values.pop("real_time_factor") < 1
        assert values == pytest.approx(expected)
        assert [s.identified for s in result.sentences] == [SENTENCES[0], SENTENCES[2], None]
        assert result.sentences[0].seconds == 1.0
        assert result.utterances[0].transcripts["copy"] == "We came home. x"
        assert result.utterances[0].character_error_rates["copy"] == pytest.approx(2 / 12)
        json.dumps(result.to_dict(), allow_nan=False)
        assert len(protocol.format_table(result).splitlines()) == 2 + 13

    def test_parts_that_are_left_out(self, utterances: list[Said]) -> None:
        def speak(text: str) -> Audio:
            return coded(text, 1000)

        without_copy = protocol.evaluate_speech(speak, utterances, sentences=SENTENCES)
        assert not any("copy" in key for key in without_copy.pooled)
        sentences_only = protocol.evaluate_speech(speak, sentences=SENTENCES)
        assert not any(key.startswith(("cer_", "wer_")) for key in sentences_only.pooled)

    def test_bad_input_is_named_before_anything_is_spoken(self, utterances: list[Said], tmp_path: Path) -> None:
        def speak(text: str) -> Audio:
            raise AssertionError(text)

        for sentences, message in (((), "at least one"), (("A b.", "a b"), "more than once"), (("...",), "no words")):
            with pytest.raises(InputError, match=message):
                protocol.evaluate_speech(speak, utterances, sentences=sentences)
        with pytest.raises(InputError, match="has no word"):
            protocol.evaluate_speech(speak, [Said("u", "?", tmp_path)], sentences=SENTENCES)

    def test_missing_recogniser(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pocketsphinx", None)
        with pytest.raises(MissingDependencyError, match="pocketsphinx"):
            protocol.evaluate_speech(lambda text: coded(text, 1000))


def test_labels_name_what_is_wrong() -> None:
    quiet = Audio(np.zeros(24000, np.float32), 24000)
    with pytest.raises(InputError, match=r"^song\.ogg: "):
        protocol.evaluate_vocoder(GriffinLim(FeatureSpec(), 1), [quiet], labels=["song.ogg"], perceptual=False)
