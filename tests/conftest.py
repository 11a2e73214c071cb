"""Small models with random weights, saved as checkpoints: what the pipelines and the command line are tested with."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
import torch

from wavegen.acoustic.score import ScoreTransformer, ScoreTransformerConfig
from wavegen.acoustic.speech import SpeechTransformer, SpeechTransformerConfig
from wavegen.audio.features import FeatureSpec
from wavegen.checkpoints import save
from wavegen.music.models.recurrent import LSTMScore, LSTMScoreConfig
from wavegen.vocoders.istft import ISTFTVocoder, ISTFTVocoderConfig
from wavegen.vocoders.spectral import SpectralVocoder, SpectralVocoderConfig
from wavegen.vocoders.wavenet import WaveNet, WaveNetConfig

SPEC = FeatureSpec(bands=20)
ROOT = Path(__file__).parents[1]

torch.set_num_threads(1)  # the tests' tensors are small: more threads only wait for each other


@pytest.fixture(scope="session")
def load_script() -> Callable[[str], ModuleType]:
    """A recipe or a benchmark, by its path in the repository, as a module."""

    def load(path: str) -> ModuleType:
        name = "script_" + path.removesuffix(".py").replace("/", "_")
        spec = importlib.util.spec_from_file_location(name, ROOT / path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look their module up there
        spec.loader.exec_module(module)
        return module

    return load


def small_speech_model() -> SpeechTransformer:
    """About five frames a phoneme, and durations and pitch that vary with the seed."""
    sizes = {"channels": 16, "hidden": 24, "encoder_layers": 1, "decoder_layers": 1, "predictor_channels": 16}
    model = SpeechTransformer(SpeechTransformerConfig(**sizes, heads=2, kernel=5), SPEC)
    torch.nn.init.constant_(model.duration_predictor.output.bias, 1.6)
    model.residual.fill_(0.5)
    model.mel_mean.fill_(-4.0)
    return model


def small_wavenet(output: str) -> WaveNet:
    """Weights so large that its samples follow the mel, its own past and chance, each by much."""
    sizes = {"residual": 8, "gate": 8, "skip": 16, "head": 16, "layers": 4, "cycle": 3, "encoder": 8}
    model = WaveNet(WaveNetConfig(**sizes, encoder_layers=1, output=output), SPEC)
    with torch.no_grad():
        model.head2.weight.mul_(10)
        model.mel_input.weight.mul_(10)
    return model


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with speech, vocoder, wavenet, gaussian.safetensors of one convention, other.safetensors of another."""
    folder = tmp_path_factory.mktemp("checkpoints")
    torch.manual_seed(1)
    save(folder / "speech.safetensors", small_speech_model())
    sizes = ISTFTVocoderConfig(channels=16, hidden=24, layers=2, kernel=5)
    save(folder / "vocoder.safetensors", ISTFTVocoder(sizes, SPEC))
    save(folder / "other.safetensors", ISTFTVocoder(sizes, FeatureSpec(bands=20, fmax=11000.0)))
    for name, output in (("wavenet", "mulaw8"), ("gaussian", "gaussian")):
        save(folder / f"{name}.safetensors", small_wavenet(output))
    return folder


@pytest.fixture(scope="session")
def speech(checkpoints: Path) -> str:
    return str(checkpoints / "speech.safetensors")


@pytest.fixture(scope="session")
def vocoder(checkpoints: Path) -> str:
    return str(checkpoints / "vocoder.safetensors")


@pytest.fixture(scope="session")
def wavenet(checkpoints: Path) -> str:
    """A vocoder that draws its samples, among classes."""
    return str(checkpoints / "wavenet.safetensors")


@pytest.fixture(scope="session")
def gaussian(checkpoints: Path) -> str:
    """A vocoder that draws its samples, without classes."""
    return str(checkpoints / "gaussian.safetensors")


@pytest.fixture(scope="session")
def orchestra(checkpoints: Path) -> dict[str, str]:
    """The options that compose and render with small models: score model, acoustic model and vocoder of one spec."""
    spec = FeatureSpec(n_fft=512, window=512, hop=128, bands=20)
    torch.manual_seed(2)
    performer = ScoreTransformer(ScoreTransformerConfig(16, 1, 8, 16, 16, 1, 2, 3, 4), spec)
    torch.nn.init.constant_(performer.notes.output.bias, -1.0)
    voice = SpectralVocoder(SpectralVocoderConfig(16, 16, 1, 3, 1), spec)
    voice.spectrum_mean.fill_(-1.0)
    models = {
        "model": LSTMScore(LSTMScoreConfig("tune", 16, 16, 1)),
        "acoustic": performer,
        "vocoder": voice,
    }
    for name, module in models.items():
        save(checkpoints / f"orchestra-{name}.safetensors", module)
    return {name: str(checkpoints / f"orchestra-{name}.safetensors") for name in models}


WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
RATE = 24000


def hum(count: int, seed: int) -> np.ndarray:
    """A gliding buzz with noise, between two silences."""
    random = np.random.default_rng(seed)
    t = np.arange(count) / RATE
    f0 = random.uniform(100, 220) * (1 + 0.2 * np.sin(2 * np.pi * random.uniform(0.5, 2) * t))
    phase = 2 * np.pi * np.cumsum(f0) / RATE
    x = sum(np.sin(k * phase) / k for k in range(1, 12)) * np.hanning(count) ** 0.3
    return 0.1 * x + 0.005 * random.standard_normal(count)


@pytest.fixture(scope="session")
def speech_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speech")
    (folder / "wavs").mkdir()
    lines = []
    for i in range(60):
        text = f"{WORDS[i % 10]} and {WORDS[(i // 10 + i) % 10]} take {WORDS[(3 * i) % 10]} {WORDS[i // 10]}."
        lines.append(f"u{i:02d}|{text}")
        soundfile.write(folder / "wavs" / f"u{i:02d}.wav", hum(24000 + 480 * (i % 7), i), RATE)
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n")
    return folder
