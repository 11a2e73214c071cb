"""Training of the models of mels: batches, their gaps and timbres, losses that fall, resuming, bad settings."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from wavegen import checkpoints
from wavegen.acoustic.mel_lstm import MelLSTM, MelLSTMConfig
from wavegen.acoustic.mel_vae import MelVAE, MelVAEConfig
from wavegen.audio.features import FeatureSpec
from wavegen.errors import InputError
from wavegen.training.data import Utterance, read_metadata, split_by_text
from wavegen.training.loop import LoopConfig, Trainer
from wavegen.training.tasks.mel import (
    MelLSTMTask,
    MelLSTMTaskConfig,
    MelVAETask,
    MelVAETaskConfig,
    distorted,
    loudness,
)

SPEC = FeatureSpec(bands=20)
VAE = MelVAEConfig(content=4, timbre=4, channels=16, layers=1, fine=8, fine_layers=1, kernel=3, prior=8)
LSTM = MelLSTMConfig(hidden=16, layers=1, embedding=12, components=2)
LOOP = LoopConfig(steps=60, learning_rate=0.01, warmup_steps=2, tensorboard=False, amp=False, ema=0.8)


@pytest.fixture(scope="module")
def parts(speech_folder: Path) -> dict[str, list[Utterance]]:
    return split_by_text(read_metadata(speech_folder))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def vae_task(parts: dict[str, list[Utterance]], cache: Path, **settings: Any) -> MelVAETask:
    torch.manual_seed(0)
    given = {"batch": 6, "frames": 40, "timbre_frames": 24, "gap_frames": (3, 9), **settings}
    return MelVAETask(MelVAETaskConfig(model=VAE, **given), SPEC, parts, cache, 1)


def lstm_task(parts: dict[str, list[Utterance]], cache: Path, **settings: Any) -> MelLSTMTask:
    torch.manual_seed(0)
    return MelLSTMTask(MelLSTMTaskConfig(model=LSTM, batch=6, frames=30, **settings), SPEC, parts, cache, 1)


def test_a_batch(parts: dict[str, list[Utterance]], cache: Path) -> None:
    task = vae_task(parts, cache, gap_share=1.0, distortion_share=0.5)
    batch = task.batch(3, 0, 1)
    assert batch["mel"].shape == batch["content"].shape == (6, 20, 40)
    assert batch["timbre"].shape == (6, 20, 24)
    same = (batch["mel"] == batch["content"]).flatten(1).all(dim=1)
    assert 0 < int(same.sum()) < 6
    for row in ~batch["known"]:
        places = torch.nonzero(row)[:, 0]
        assert 3 <= len(places) <= 9
        assert int(places[-1] - places[0]) == len(places) - 1
    again = task.batch(3, 0, 1)
    assert all(torch.equal(batch[name], again[name]) for name in batch)
    assert not torch.equal(task.batch(4, 0, 1)["mel"], batch["mel"])
    shares = [task.batch(3, rank, 2) for rank in (0, 1)]
    assert torch.equal(shares[1]["mel"], batch["mel"][1::2])
    assert torch.equal(shares[0]["known"], batch["known"][::2])


def test_without_gaps_or_distortion(parts: dict[str, list[Utterance]], cache: Path) -> None:
    batch = vae_task(parts, cache, gap_share=0.0, distortion_share=0.0).batch(0, 0, 1)
    assert batch["known"].all()
    assert torch.equal(batch["mel"], batch["content"])


def test_a_batch_for_the_lstm(parts: dict[str, list[Utterance]], cache: Path) -> None:
    task = lstm_task(parts, cache)
    batch = task.batch(0, 0, 1)
    assert batch["mel"].shape == (6, 20, 30)
    assert torch.equal(batch["mel"], task.batch(0, 0, 1)["mel"])


def test_statistics_are_the_recordings(parts: dict[str, list[Utterance]], cache: Path) -> None:
    task = lstm_task(parts, cache)
    waves = [torch.from_numpy(task.train_set.waveform(i)) for i in range(len(task.train_set))]
    mels = torch.cat([task.extractor(wave) for wave in waves], dim=-1)
    torch.testing.assert_close(task.model.mel_mean, mels.mean(dim=-1), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(task.model.mel_std, mels.std(dim=-1), rtol=1e-3, atol=1e-3)


def test_the_vae_learns(parts: dict[str, list[Utterance]], cache: Path, tmp_path: Path) -> None:
    task = vae_task(parts, cache)
    trainer = Trainer(task, LOOP, tmp_path)
    batch = task.batch(0, 0, 1)
    losses = [{name: float(loss) for name, loss in trainer._step(batch).items()} for _ in range(80)]
    assert losses[-1]["error"] < 0.7 * losses[0]["error"]
    assert losses[-1]["gap"] < 0.8 * losses[0]["gap"]
    assert losses[-1]["kl"] > 2 * losses[0]["kl"]
    assert losses[-1]["prior"] < losses[40]["prior"]


def test_what_a_vae_is_judged_by(parts: dict[str, list[Utterance]], cache: Path, tmp_path: Path) -> None:
    task = vae_task(parts, cache)
    Trainer(task, dataclasses.replace(LOOP, steps=3), tmp_path).run()
    model = checkpoints.load(tmp_path / "model.safetensors", role="mel-vae")
    assert isinstance(model, MelVAE)
    result = task.validate(model)
    assert set(result.scalars) == {"error", "mean_mel", "kl", "prior", "gap", "gap_linear"}
    assert set(result.mels) == {"output/0", "recording/0"}
    mel = task.judged[0]
    error = ((model(mel).mel - mel) / model.mel_std[:, None]).abs().mean()
    assert result.scalars["error"] == pytest.approx(error.item())
    assert result.mels["recording/0"].shape == (20, mel.shape[-1])


def test_the_lstm_learns(parts: dict[str, list[Utterance]], cache: Path, tmp_path: Path) -> None:
    task = lstm_task(parts, cache, noise=0.1)
    before = task.validate(task.model).scalars
    Trainer(task, LOOP, tmp_path).run()
    model = checkpoints.load(tmp_path / "model.safetensors", role="mel-lstm")
    assert isinstance(model, MelLSTM)
    after = task.validate(model).scalars
    assert after["nll"] < before["nll"] - 0.1
    assert after["copy"] == pytest.approx(before["copy"], rel=1e-3)  # statistics are kept in half precision
    assert after["error"] < before["error"]


def test_resuming_repeats_the_whole(parts: dict[str, list[Utterance]], cache: Path, tmp_path: Path) -> None:
    whole = vae_task(parts, cache)
    loop = dataclasses.replace(LOOP, steps=6)
    Trainer(whole, loop, tmp_path / "whole").run()
    stopped = Trainer(vae_task(parts, cache), loop, tmp_path / "parts")
    (tmp_path / "parts").mkdir()
    for step in range(3):
        stopped._step(stopped.task.batch(step, 0, 1))
        stopped.progress = stopped._position()
    stopped.save()
    resumed = vae_task(parts, cache)
    Trainer(resumed, loop, tmp_path / "parts", resume=True).run()
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name


def test_distortion_keeps_pitch_and_power_and_adds_overtones() -> None:
    t = np.arange(24000) / 24000
    wave = (0.2 * np.sin(2 * np.pi * 300 * t)).astype(np.float32)
    spectra = []
    for seed in range(5):
        other = distorted(wave, np.random.default_rng(seed))
        assert other.dtype == np.float32
        assert float(np.square(other).mean()) == pytest.approx(float(np.square(wave).mean()), rel=1e-3)
        spectrum = np.abs(np.fft.rfft(other)) / 12000
        assert spectrum.argmax() == 300
        partials = spectrum[300::300]
        assert np.delete(spectrum, np.arange(300, 12001, 300)).max() < 1e-3 * partials[0]
        spectra.append(partials[1:4] / partials[0])
    assert np.ptp(np.stack(spectra), axis=0).max() > 0.05
    silence = np.zeros(100, np.float32)
    assert distorted(silence, np.random.default_rng(0)) is silence


def test_loudness() -> None:
    mel = torch.tensor([[[0.0, -3.0], [-6.0, -30.0]], [[-5.0, -5.0], [-8.0, -5.0]]])
    expected = torch.exp(torch.tensor([[[0.0, -1], [-2, -10]], [[0, 0], [-1, 0]]]))
    torch.testing.assert_close(loudness(mel), expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch": 0}, "batch"),
        ({"frames": 0}, "frames"),
        ({"timbre_frames": 0}, "timbre_frames"),
        ({"timbre_frames": 161}, "timbre_frames"),
        ({"gap_share": 1.1}, "gap_share"),
        ({"distortion_share": -0.1}, "distortion_share"),
        ({"kl_rise": 2.0}, "kl_rise"),
        ({"content_weight": -1.0}, "content_weight"),
        ({"timbre_weight": float("nan")}, "timbre_weight"),
        ({"gap_frames": (0, 5)}, "gap_frames"),
        ({"gap_frames": (9, 5)}, "gap_frames"),
        ({"gap_frames": (9, 160)}, "gap_frames"),
        ({"gap_frames": (9,)}, "gap_frames"),
        ({"gain_db": (0.0,)}, "gain_db"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"task.{message}"):
        MelVAETaskConfig(**settings)


def test_more_bad_settings(parts: dict[str, list[Utterance]], cache: Path) -> None:
    with pytest.raises(InputError, match=r"task\.noise"):
        MelLSTMTaskConfig(noise=-1.0)
    with pytest.raises(InputError, match="no training recording is longer than a segment of 9000 frames"):
        MelLSTMTask(MelLSTMTaskConfig(model=LSTM, frames=9000), SPEC, parts, cache, 1)
    with pytest.raises(InputError, match="evenly"):
        vae_task(parts, cache, batch=5).batch(0, 0, 2)
