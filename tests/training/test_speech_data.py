"""Utterances as phonemes and mels: whatever is wrong with one is said with its file's name."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from wavegen import checkpoints
from wavegen.acoustic.aligner import Aligner, AlignerConfig
from wavegen.audio.features import FeatureSpec
from wavegen.errors import InputError
from wavegen.training.data import Utterance
from wavegen.training.speech_data import cached_durations, speech_set

SPEC = FeatureSpec()


def utterance(folder: Path, text: str, samples: int = 24000) -> Utterance:
    path = folder / "a.wav"
    soundfile.write(path, 0.1 * np.sin(np.arange(samples) * 0.05), 24000)
    return Utterance("a", text, path)


def test_set_holds_tokens_mel_and_pitch(tmp_path: Path) -> None:
    data = speech_set([utterance(tmp_path, "Hello.")], SPEC, tmp_path / "cache")
    assert data.mel(0).shape == (100, data.frame_counts[0])
    assert data.f0(0).shape == (data.frame_counts[0],)
    assert len(data.tokens[0]) > 4


@pytest.mark.parametrize(
    ("text", "samples", "message"),
    [
        ("!!!", 24000, "nothing to speak"),
        ("Привет", 24000, "letters|script|cannot"),
        ("Hello there, all of you who came here today.", 4800, "symbols cannot be aligned to 18 frames"),
        ("Hello.", 200, "too short"),
    ],
)
def test_faulty_utterance_is_named(tmp_path: Path, text: str, samples: int, message: str) -> None:
    with pytest.raises(InputError, match=rf"a\.wav: .*({message})"):
        speech_set([utterance(tmp_path, text, samples)], SPEC, tmp_path / "cache")


def test_durations_need_an_aligner_of_the_same_features(tmp_path: Path) -> None:
    torch.manual_seed(0)
    data = speech_set([utterance(tmp_path, "Hello.")], SPEC, tmp_path / "cache")
    aligner = tmp_path / "aligner.safetensors"
    checkpoints.save(aligner, Aligner(AlignerConfig(channels=8, keys=4), FeatureSpec(fmax=11000.0)))
    with pytest.raises(InputError, match=r"aligner\.safetensors: the mel conventions differ in fmax"):
        cached_durations(data, SPEC, aligner, tmp_path / "cache")
    checkpoints.save(aligner, Aligner(AlignerConfig(channels=8, keys=4), SPEC))
    (durations,) = cached_durations(data, SPEC, aligner, tmp_path / "cache")
    assert durations.sum() == data.frame_counts[0]
