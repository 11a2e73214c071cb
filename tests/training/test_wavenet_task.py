"""WaveNet's material and loss: segments with their recordings' mels, what counts, and that training teaches."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import yaml
from torch import Tensor

from wavegen import checkpoints
from wavegen.audio.features import CONVENTIONS, FeatureSpec, MelSpectrogram
from wavegen.errors import InputError
from wavegen.training.data import Utterance, read_metadata, split_by_text
from wavegen.training.loop import LoopConfig, Trainer
from wavegen.training.run import train
from wavegen.training.segments import Draw
from wavegen.training.tasks.wavenet import WaveNetTask, WaveNetTaskConfig
from wavegen.vocoders.wavenet import WaveNet, WaveNetConfig

SPEC = FeatureSpec(bands=20)
MODEL = WaveNetConfig(
    residual=4, gate=4, skip=6, head=6, layers=3, cycle=3, output="gaussian", encoder=8, encoder_layers=1
)
FRAMES = 6


def folder_of(folder: Path, lengths: list[int]) -> list[Utterance]:
    """Recordings of which no two stretches are alike."""
    folder.mkdir()
    utterances = []
    for i, count in enumerate(lengths):
        path = folder / f"u{i}.wav"
        soundfile.write(path, 0.1 * np.random.default_rng(i).standard_normal(count).clip(-4, 4), 24000)
        utterances.append(Utterance(f"u{i}", "x", path))
    return utterances


def task_of(
    folder: Path,
    lengths: list[int],
    validation: tuple[int, ...] = (4800,),
    spec: FeatureSpec = SPEC,
    model: WaveNetConfig = MODEL,
    **settings: Any,
) -> WaveNetTask:
    parts = {
        "train": folder_of(folder / "train", lengths),
        "validation": folder_of(folder / "validation", list(validation)),
    }
    torch.manual_seed(0)
    return WaveNetTask(WaveNetTaskConfig(model, 4, FRAMES, **settings), spec, parts, folder / "cache", seed=1)


def batch_of(task: WaveNetTask, draw: Draw) -> dict[str, Tensor]:
    return {name: value[None] for name, value in task._segment(draw).items()}


def place_of(segment: np.ndarray, whole: np.ndarray) -> int:
    """The frame at which a segment lies in its recording."""
    starts = [s for s in range(0, len(whole) - len(segment) + 1, 256) if np.array_equal(whole[s:][:128], segment[:128])]
    assert len(starts) == 1
    assert np.array_equal(whole[starts[0] :][: len(segment)], segment)
    return starts[0] // 256


@pytest.mark.parametrize("mode", ["reflect", "constant"])
@pytest.mark.parametrize("length", [FRAMES * 256, FRAMES * 256 + 255, 5000, 9001])
def test_a_segment_has_the_mel_of_the_whole(tmp_path: Path, mode: str, length: int) -> None:
    """Everywhere in a recording; beyond its ends the first or last frame is repeated, as the network repeats it."""
    spec = FeatureSpec(bands=20, pad_mode=mode)  # type: ignore[arg-type]
    task = task_of(tmp_path, [length], spec=spec)
    whole = task.train_set.waveform(0)
    mel = MelSpectrogram(spec)(torch.from_numpy(whole))
    total, margin, found = length // 256, task.model.context, set()
    assert mel.shape[-1] == total
    for place in np.linspace(0, 1 - 1e-7, 60):
        batch = batch_of(task, Draw(0, float(place), 0.0, False))
        frame = place_of(task.samples(batch)[0].numpy(), whole)
        found.add(frame)
        near = torch.arange(frame - margin, frame + FRAMES + margin).clamp(0, total - 1)
        assert torch.allclose(task.mels(batch)[0], mel[:, near], atol=1e-5)
        expected = [frame == 0 or k >= 2 for k in range(FRAMES)]
        assert batch["counts"][0].tolist() == expected
    assert found == set(range(total - FRAMES + 1))


def test_gain_reaches_samples_and_mel_alike(tmp_path: Path) -> None:
    task = task_of(tmp_path, [9000])
    plain, loud = (batch_of(task, Draw(0, 0.4, gain, False)) for gain in (0.0, 6.0))
    assert torch.allclose(task.samples(loud), task.samples(plain) * 10**0.3)
    assert torch.allclose(task.mels(loud) - task.mels(plain), torch.tensor(math.log(10) * 0.3), atol=1e-3)
    full = task.samples(batch_of(task, Draw(0, 0.4, 60.0, False)))
    assert 0.5 < full.abs().max() <= 1.0


def test_only_whole_segments_are_drawn(tmp_path: Path) -> None:
    task = task_of(tmp_path, [FRAMES * 256 - 1, FRAMES * 256, 4000])
    assert task.usable == [1, 2]
    for step in range(6):
        batch = task.batch(step, 0, 1)
        assert task.samples(batch).shape == (4, FRAMES * 256)
        assert task.samples(batch).abs().amax(dim=1).min() > 0
    for rank in (0, 1):
        half = task.batch(5, rank, 2)
        assert all(torch.equal(half[name], batch[name][rank::2]) for name in batch)


def test_predicted_mels_take_the_place_of_the_recordings(tmp_path: Path) -> None:
    total = 20
    predicted = np.random.default_rng(0).standard_normal((20, total)).astype(np.float16)
    (tmp_path / "predicted").mkdir()
    np.save(tmp_path / "predicted" / "u0.npy", predicted)
    task = task_of(tmp_path, [total * 256 + 9], predicted_mels=tmp_path / "predicted", predicted_share=1.0)
    whole = task.train_set.waveform(0)
    margin = task.model.context
    for place in (0.0, 0.3, 0.6, 0.999):
        batch = batch_of(task, Draw(0, place, -6.0, True))
        frame = place_of(task.samples(batch)[0].numpy(), whole)  # no gain: the mel would not follow it
        near = np.arange(frame - margin, frame + FRAMES + margin).clip(0, total - 1)
        assert torch.equal(task.mels(batch)[0], torch.from_numpy(predicted[:, near].astype(np.float32)))
    assert task.batch(0, 0, 1)["predicted"].all()
    np.save(tmp_path / "predicted" / "u0.npy", predicted[:, :FRAMES])  # too short for most places
    assert not batch_of(task, Draw(0, 0.999, 0.0, True))["predicted"].any()


class Catcher:
    """Stands for the trainer: keeps the loss that the task wants minimised."""

    def __init__(self, amp: bool) -> None:
        self.amp = amp

    def autocast(self) -> torch.autocast:
        return torch.autocast("cpu", torch.bfloat16, enabled=self.amp)

    def update(self, name: str, loss: Tensor) -> None:
        assert name == "model"
        self.loss = loss


@pytest.mark.parametrize(("amp", "tolerance"), [(False, 1e-6), (True, 0.05)])
def test_loss_is_the_mean_over_what_counts(tmp_path: Path, amp: bool, tolerance: float) -> None:
    task = task_of(tmp_path, [5000, 2000], warm=3)
    task.parallel = task.modules
    catcher = Catcher(amp)
    batch = task.batch(3, 0, 1)
    logs = task.step(catcher, batch)  # type: ignore[arg-type]
    assert catcher.loss.dtype == torch.float32
    assert catcher.loss.requires_grad
    with torch.no_grad():
        samples = task.samples(batch)
        nll = task.model.distribution.nll(
            task.model.teacher_forced(samples, task.mels(batch), task.model.context), samples
        )
    parts = [n[k * 256 : (k + 1) * 256] for n, c in zip(nll, batch["counts"], strict=True) for k in range(6) if c[k]]
    assert 4 * 3 <= len(parts) < 4 * 6
    expected = float(torch.cat(parts).mean())
    assert float(logs["nll"]) == pytest.approx(expected, abs=tolerance)
    assert float(logs["bits"]) == pytest.approx(float(logs["nll"]) / math.log(2) - math.log2(2 / 65535), abs=1e-5)


def test_noise_is_fed_back_but_not_predicted(tmp_path: Path) -> None:
    task = task_of(tmp_path, [9000] * 8, noise=0.2)
    batch = task.batch(3, 0, 1)
    assert torch.equal(batch["noise"], task.batch(3, 0, 1)["noise"])
    assert not torch.equal(batch["noise"], task.batch(4, 0, 1)["noise"])
    levels = batch["noise"].std(dim=1)
    assert 0 < levels.min() < levels.max() < 0.21
    halves = [task.batch(3, rank, 2)["noise"] for rank in range(2)]
    assert torch.equal(torch.stack(halves, dim=1).flatten(0, 1), batch["noise"])
    samples, mel, margin = task.samples(batch), task.mels(batch), task.model.context
    with torch.inference_mode():
        clean = task.model.teacher_forced(samples, mel, margin)
        noisy = task.model.teacher_forced(samples, mel, margin, batch["noise"])
        fed = task.model.teacher_forced((samples + batch["noise"]).clamp(-1, 1), mel, margin)
    assert torch.equal(noisy, fed)
    assert not torch.allclose(noisy, clean)
    quiet = WaveNetTaskConfig(MODEL, 4, FRAMES)
    assert quiet.noise == 0.0
    with pytest.raises(InputError, match="noise"):
        WaveNetTaskConfig(MODEL, 4, FRAMES, noise=-0.1)


def test_the_mel_is_centred_whatever_its_convention() -> None:
    for spec in (SPEC, CONVENTIONS["vocos-24k"], CONVENTIONS["bigvgan-24k"]):
        model = WaveNet(MODEL, dataclasses.replace(spec, padding="same"))
        extractor = MelSpectrogram(model.spec)
        silent, loud = extractor.compress(torch.tensor([0.0, 1.0])).tolist()
        assert model.silent == pytest.approx(silent)
        assert model.loud == pytest.approx(loud)
        assert silent < loud


def test_validation_counts_bits_of_the_first_seconds(tmp_path: Path) -> None:
    lengths = (100, 3000, 110000)  # too short, short, and longer than four seconds
    task = task_of(tmp_path, [9000], validation=lengths)
    found = task.validate(task.model).scalars
    total, count = 0.0, 0
    for index, frames in ((1, 3000 // 256), (2, 375)):
        wave = torch.from_numpy(task.validation_set.waveform(index, 0, frames * 256))[None]
        with torch.no_grad():
            parameters = task.model.teacher_forced(wave, MelSpectrogram(SPEC)(wave))
        total += float(task.model.distribution.nll(parameters, wave).double().sum())
        count += frames * 256
    assert found == {"bits": pytest.approx(total / count / math.log(2) + 15, abs=1e-4)}
    (tmp_path / "other").mkdir()
    with pytest.raises(InputError, match="no validation utterance is longer than 1024"):
        task_of(tmp_path / "other", [9000], validation=(100,))
    (tmp_path / "third").mkdir()
    with pytest.raises(InputError, match="no training utterance is longer than a segment of 6 frames"):
        task_of(tmp_path / "third", [1000])


@pytest.mark.parametrize("output", ["mulaw8", "gaussian", "logistics"])
def test_training_teaches(tmp_path: Path, speech_folder: Path, output: str) -> None:
    """A few steps on gliding buzzes, in bf16, save more than a bit of every sample."""
    model = WaveNetConfig(12, 12, 24, 24, layers=6, cycle=6, output=output, mixtures=4, encoder=12, encoder_layers=1)
    parts = split_by_text(read_metadata(speech_folder))
    torch.manual_seed(0)
    task = WaveNetTask(WaveNetTaskConfig(model, 4, 8), SPEC, parts, tmp_path / "cache", seed=1)
    task.judged = task.judged[:2]
    before = task.validate(task.model).scalars["bits"]
    loop = LoopConfig(steps=70, learning_rate=4e-3, warmup_steps=10, ema=0.9, tensorboard=False, threads=1)
    trainer = Trainer(task, loop, tmp_path / "run")
    trainer.run()
    after = task.validate(trainer.ema).scalars["bits"]
    assert before < {"mulaw8": 8.3}.get(output, 17)
    assert after < before - 1


def test_trained_from_a_configuration_file(tmp_path: Path, speech_folder: Path) -> None:
    values = {
        "kind": "wavenet",
        "task": {"model": {"residual": 4, "gate": 4, "layers": 2, "output": "logistics"}, "batch": 2, "frames": 4},
        "loop": {"steps": 2, "tensorboard": False, "threads": 1},
    }
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(values))
    train(tmp_path / "c.yaml", data=speech_folder, output=tmp_path / "run", device="cpu")
    model = checkpoints.load(tmp_path / "run" / "model.safetensors", role="vocoder")
    assert checkpoints.read_header(tmp_path / "run" / "model.safetensors").kind == "wavenet"
    assert model.config == WaveNetConfig(residual=4, gate=4, layers=2, output="logistics")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch": 0}, "task.batch must be positive"),
        ({"frames": 0}, "task.frames must be positive"),
        ({"warm": 32}, "task.warm must be from 0 to 31"),
        ({"warm": -1}, "task.warm"),
        ({"gain_db": (1.0, 2.0, 3.0)}, "task.gain_db must be two values"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        WaveNetTaskConfig(**settings)
