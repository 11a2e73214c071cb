"""Training of score → mel: what a batch pairs up, that it learns, and what data is refused."""

import contextlib
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from wavegen.acoustic.rolls import Sounding
from wavegen.acoustic.score import ScoreTransformer, ScoreTransformerConfig
from wavegen.audio.features import CONVENTIONS, MelSpectrogram
from wavegen.errors import InputError
from wavegen.training.loop import LoopConfig, Trainer
from wavegen.training.rendered import read_rendered
from wavegen.training.tasks.score_mel import ScoreMelTask, ScoreMelTaskConfig

SPEC = dataclasses.replace(CONVENTIONS["music-24k"], n_fft=512, window=512, bands=32, hop=256)
TINY = ScoreTransformerConfig(width=32, depth=1, embedding=8, channels=16, hidden=16, layers=1, reach=8, fonts=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Sine tones that decay, as "renderings" of single notes."""
    rng = np.random.default_rng(0)
    audio, items = [], []
    for number in range(12):
        notes, wave = [], np.zeros(24000, np.float32)
        for onset in (0.05, 0.4):
            pitch, velocity = int(rng.integers(60, 84)), int(rng.integers(30, 120))
            t = np.arange(24000) / 24000 - onset
            tone = np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * t) * np.exp(-6 * np.maximum(t, 0)) * (t >= 0)
            wave += (velocity / 127) ** 2 * 0.4 * tone.astype(np.float32)
            notes.append([onset, 0.3, pitch, velocity])
        audio.append(np.round(wave * 32767).astype(np.int16))
        split = "validation" if number % 6 == 0 else "train"
        items.append({"id": str(number), "split": split, "instrument": 0, "font": 0, "samples": 24000, "notes": notes})
    np.save(tmp_path / "audio.npy", np.concatenate(audio))
    (tmp_path / "index.json").write_text(json.dumps({"sample_rate": 24000, "fonts": ["sine"], "items": items}))
    return tmp_path


def task(folder: Path) -> ScoreMelTask:
    torch.manual_seed(0)
    return ScoreMelTask(ScoreMelTaskConfig(TINY, batch=4, frames=32), SPEC, folder, folder, 1)


def test_a_batch_pairs_notes_with_their_sound(folder: Path) -> None:
    t = task(folder)
    item = t.train_set.items[0]
    whole = MelSpectrogram(SPEC)(torch.from_numpy(t.train_set.waveform(item, 0, item.samples // 256 * 256))[None])[0]
    batch = t._example(t.train_set, [(item, 20), (item, 40)], 32)
    torch.testing.assert_close(batch["mel"][0], whole[:, 20:52], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(batch["mel"][1], whole[:, 40:72], rtol=1e-4, atol=1e-4)
    # The second onset, at 0.4 s, lies in frame 37: 17 in the first span.
    first = batch["frame"] < 32
    late = batch["kind"] == int(item.part.pitch[1])
    nearest = torch.argmin(torch.where(first & late, batch["age"].abs(), torch.inf))
    assert int(batch["frame"][nearest]) == 17
    assert (whole[:, 39] - whole[:, 35]).max() > 1
    assert (whole[:, 35] - whole[:, 31]).max() < 1


def test_batches_are_a_function_of_seed_and_step(folder: Path) -> None:
    a, b = task(folder).batch(5, 0, 1), task(folder).batch(5, 0, 1)
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert not torch.equal(a["mel"], task(folder).batch(6, 0, 1)["mel"])


@pytest.mark.parametrize(("base", "rise", "peak"), [(0.0, 0.0, 0.0), (0.5, 0.5, 3.0)])
def test_the_loss_is_the_weighted_sum(folder: Path, base: float, rise: float, peak: float) -> None:
    torch.manual_seed(0)
    config = ScoreMelTaskConfig(TINY, batch=4, frames=32, base_weight=base, rise_weight=rise, peak_weight=peak)
    t = ScoreMelTask(config, SPEC, folder, folder, 1)
    batch = t.batch(0, 0, 1)
    seen = {}

    class Recorder:
        def autocast(self) -> contextlib.AbstractContextManager[None]:
            return contextlib.nullcontext()

        def update(self, name: str, loss: torch.Tensor) -> None:
            seen[name] = float(loss.detach())

    scalars = t.step(Recorder(), batch)  # type: ignore[arg-type]
    mel = batch["mel"].numpy()
    notes = Sounding(**{name: batch[name] for name in Sounding.__dataclass_fields__})
    with torch.no_grad():
        alone = t.model.base(notes, batch["font"], 4, 32)
        both = (alone + t.model.correction(alone)).numpy() - mel
    single = alone.numpy() - mel
    rises = both[..., 2:] - both[..., :-2]
    loud = 1 + peak * np.exp((mel - mel.max(axis=(1, 2), keepdims=True)) / 3.0)
    expected = (loud * abs(both)).mean() + base * (loud * abs(single)).mean()
    expected += rise * (loud[..., 2:] * abs(rises)).mean()
    assert seen["model"] == pytest.approx(expected, rel=1e-5)
    assert float(scalars["mel"]) == pytest.approx(abs(both).mean(), rel=1e-5)
    assert float(scalars["rise"]) == pytest.approx(abs(rises).mean(), rel=1e-5)


def test_it_learns_and_its_model_is_read_again(folder: Path) -> None:
    from wavegen import load

    t = task(folder)
    before = t.validate(t.model).scalars
    loop = LoopConfig(steps=200, learning_rate=1e-2, warmup_steps=10, tensorboard=False, amp=False, ema=0.9)
    Trainer(t, loop, folder / "run", card={"summary": "sines"}).run()
    model = load(folder / "run" / "model.safetensors")
    assert isinstance(model, ScoreTransformer)
    after = t.validate(model).scalars
    assert after["mel"] < 0.5 * before["mel"]
    assert after["mel"] < 0.75 * after["mean mel"]


def test_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="24000 Hz, not 22050"):
        ScoreMelTask(ScoreMelTaskConfig(TINY), dataclasses.replace(SPEC, sample_rate=22050), folder, folder, 1)
    with pytest.raises(InputError, match="1 SoundFonts"):
        ScoreMelTask(ScoreMelTaskConfig(dataclasses.replace(TINY, fonts=2)), SPEC, folder, folder, 1)
    with pytest.raises(InputError, match="at least 8"):
        ScoreMelTaskConfig(frames=4)
    with pytest.raises(InputError, match="no item in the test part"):
        read_rendered(folder, "test")
    with pytest.raises(InputError, match="rendered parts"):
        read_rendered(folder / "nowhere", "train")
    index = json.loads((folder / "index.json").read_text())
    index["items"][0]["samples"] = 5
    (folder / "index.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match=r"audio\.npy holds"):
        read_rendered(folder, "train")
    (folder / "index.json").write_text('{"items": [{}]}')
    with pytest.raises(InputError, match="does not describe"):
        read_rendered(folder, "train")
    (folder / "index.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        read_rendered(folder, "train")
