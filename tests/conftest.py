"""Small models with random weights, saved as checkpoints: what the pipelines and the command line are tested with."""

from pathlib import Path

import pytest
import torch

from wavegen.acoustic.speech import SpeechTransformer, SpeechTransformerConfig
from wavegen.audio.features import FeatureSpec
from wavegen.checkpoints import save
from wavegen.vocoders.istft import ISTFTVocoder, ISTFTVocoderConfig

SPEC = FeatureSpec(bands=20)

torch.set_num_threads(1)  # the tests' tensors are small: more threads only wait for each other


def small_speech_model() -> SpeechTransformer:
    """About five frames a phoneme, and durations and pitch that vary with the seed."""
    sizes = {"channels": 16, "hidden": 24, "encoder_layers": 1, "decoder_layers": 1, "predictor_channels": 16}
    model = SpeechTransformer(SpeechTransformerConfig(**sizes, heads=2, kernel=5), SPEC)
    torch.nn.init.constant_(model.duration_predictor.output.bias, 1.6)
    model.residual.fill_(0.5)
    model.mel_mean.fill_(-4.0)
    return model


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with speech.safetensors and vocoder.safetensors of one convention, and other.safetensors of another."""
    folder = tmp_path_factory.mktemp("checkpoints")
    torch.manual_seed(1)
    save(folder / "speech.safetensors", small_speech_model())
    sizes = ISTFTVocoderConfig(channels=16, hidden=24, layers=2, kernel=5)
    save(folder / "vocoder.safetensors", ISTFTVocoder(sizes, SPEC))
    save(folder / "other.safetensors", ISTFTVocoder(sizes, FeatureSpec(bands=20, fmax=11000.0)))
    return folder


@pytest.fixture(scope="session")
def speech(checkpoints: Path) -> str:
    return str(checkpoints / "speech.safetensors")


@pytest.fixture(scope="session")
def vocoder(checkpoints: Path) -> str:
    return str(checkpoints / "vocoder.safetensors")
