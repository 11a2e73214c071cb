"""Separators in checkpoint files: each kind comes back, with its SeparatorSpec, and wrong headers are refused."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from wavegen import checkpoints
from wavegen.acoustic.mel_lstm import MelLSTM, MelLSTMConfig
from wavegen.audio.features import FeatureSpec
from wavegen.checkpoints.kinds import KINDS, kind_of
from wavegen.errors import CheckpointError
from wavegen.separation.band_split import BandSplitLSTMConfig
from wavegen.separation.base import Separator, SeparatorSpec
from wavegen.separation.chimera import ChimeraConfig
from wavegen.separation.conv_tasnet import ConvTasNetConfig
from wavegen.separation.deep_lstm import DeepLSTMConfig
from wavegen.separation.lstm_vae import LSTMVAEConfig
from wavegen.separation.tcn_vae import TCNVAEConfig

FRAMES = {"n_fft": 128, "hop": 32}
CONFIGS = {
    "band-split-lstm": BandSplitLSTMConfig(channels=4, hidden=4, layers=1, bands=5, head=4, **FRAMES),
    "conv-tasnet": ConvTasNetConfig(filters=4, bottleneck=4, hidden=4, skip=4, layers=2, repeats=1, mask="relu"),
    "deep-lstm": DeepLSTMConfig(hidden=8, layers=1, bins=30, **FRAMES),
    "chimera": ChimeraConfig(hidden=4, layers=1, embedding=3, **FRAMES),
    "lstm-vae-separator": LSTMVAEConfig(
        units=3, hidden=4, layers=1, decoder=4, view=3, bands=12, heads=4, families=3, **FRAMES
    ),
    "tcn-vae-separator": TCNVAEConfig(
        units=3, residual=8, gate=8, layers=2, cycle=2, channels=8, hidden=8, blocks=1, bands=8, heads=4, families=3
    ),
}
SPEC = SeparatorSpec(8000, 1, ("speaker1", "speaker2"), interchangeable=True)


def build(kind: str) -> Separator:
    torch.manual_seed(0)
    _, model_class = KINDS[kind].classes()
    model: Separator = model_class(CONFIGS[kind], SPEC)
    return model.eval()


def test_every_kind_of_our_own_is_a_separator() -> None:
    assert {KINDS[name].role for name in CONFIGS} == {"separator"}


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("half", [True, False])
def test_round_trip(tmp_path: Path, kind: str, half: bool) -> None:
    model = build(kind)
    path = tmp_path / "model.safetensors"
    checkpoints.save(path, model, card={"licence": "CC0-1.0"}, half=half)
    again = checkpoints.load(path, role="separator")
    assert type(again) is type(model)
    assert kind_of(again).name == kind
    assert (again.config, again.spec, again.card) == (CONFIGS[kind], SPEC, {"licence": "CC0-1.0"})
    mix = torch.randn(1, 1, 1500)
    if half:
        model.load_state_dict(
            {n: t.half().float() if t.is_floating_point() else t for n, t in model.state_dict().items()}
        )
    with torch.inference_mode():
        assert torch.equal(again(mix), model(mix))
    header = checkpoints.read_header(path)
    assert header.separation == {
        "sample_rate": 8000,
        "channels": 1,
        "sources": ["speaker1", "speaker2"],
        "interchangeable": True,
    }
    assert header.spec == {}


def rewrite(path: Path, **changes: object) -> None:
    with safe_open(str(path), framework="pt") as opened:
        header = json.loads(opened.metadata()["wavegen"])
    save_file(load_file(str(path)), str(path), metadata={"wavegen": json.dumps({**header, **changes})})


@pytest.mark.parametrize(
    "separation",
    [
        {},
        {**SPEC.to_dict(), "sample_rate": -1},
        {**SPEC.to_dict(), "channels": 2},
        {**SPEC.to_dict(), "sources": ["a", "a"]},
        {**SPEC.to_dict(), "sources": ["a", "b", "c"]},
        {**SPEC.to_dict(), "sources": "ab"},
        {**SPEC.to_dict(), "colour": "red"},
    ],
)
def test_a_spec_that_does_not_fit_is_refused(tmp_path: Path, separation: dict) -> None:
    path = tmp_path / "model.safetensors"
    checkpoints.save(path, build("conv-tasnet"))
    rewrite(path, separation=separation)
    with pytest.raises(CheckpointError, match="the weights do not fit their header") as caught:
        checkpoints.load(path)
    assert "\n" not in str(caught.value)


def test_a_spec_that_is_no_object_is_no_header(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    checkpoints.save(path, build("conv-tasnet"))
    rewrite(path, separation=["a"])
    with pytest.raises(CheckpointError, match="without wavegen's header"):
        checkpoints.load(path)


def test_roles_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    checkpoints.save(path, build("deep-lstm"))
    with pytest.raises(CheckpointError, match=r"kind deep-lstm \(separator\); what is needed here is a vocoder"):
        checkpoints.load(path, role="vocoder")
    checkpoints.save(path, MelLSTM(MelLSTMConfig(8, 1, 8, 1), FeatureSpec()))
    with pytest.raises(CheckpointError, match="needed here is a separator"):
        checkpoints.load(path, role="separator")
    assert checkpoints.read_header(path).separation == {}
