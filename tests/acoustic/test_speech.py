"""The speech Transformer: expansion against a loop, padding, controls, seeds, bad input, and its training."""

from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings

from wavegen.acoustic.speech import SpeechTransformer, SpeechTransformerConfig, expand
from wavegen.acoustic.tokens import token_ids
from wavegen.audio.features import FeatureSpec
from wavegen.errors import InputError
from wavegen.text.symbols import SYMBOLS

SPEC = FeatureSpec()
SMALL = SpeechTransformerConfig(
    channels=16, hidden=32, encoder_layers=1, decoder_layers=2, heads=2, kernel=3, predictor_channels=16
)
HELLO = ("HH", "AH0", "L", "OW1", " ", "W", "ER1", "L", "D", ".")


def small_model() -> SpeechTransformer:
    torch.manual_seed(0)
    model = SpeechTransformer(SMALL, SPEC).eval()
    with torch.no_grad():
        model.duration_predictor.output.bias.fill_(1.6)  # about five frames a token
        model.pitch_mean.fill_(5.2)
        model.pitch_std.fill_(0.2)
        model.residual.fill_(0.3)
    return model


@settings(max_examples=40, deadline=None)
@given(
    durations=st.lists(st.lists(st.integers(0, 5), min_size=4, max_size=4), min_size=1, max_size=3).filter(
        lambda rows: all(sum(row) > 0 for row in rows)
    )
)
def test_expand_equals_a_loop(durations: list[list[int]]) -> None:
    x = torch.randn(len(durations), 4, 3)
    frames, mask, place = expand(x, torch.tensor(durations))
    for b, row in enumerate(durations):
        expected = [(x[b, i], (k + 0.5) / d, d) for i, d in enumerate(row) for k in range(d)]
        assert int(mask[b].sum()) == len(expected)
        for t, (vector, passed, d) in enumerate(expected):
            assert torch.equal(frames[b, t], vector)
            assert place[b, t].tolist() == pytest.approx([passed, 1 - passed, np.log(d) / 3], abs=1e-6)
        assert (frames[b, len(expected) :] == 0).all()


def test_padding_changes_nothing() -> None:
    model = small_model()
    tokens, durations = torch.tensor([token_ids(HELLO)]), torch.full((1, 12), 4)
    pitch, energy = torch.randn(1, 12), torch.randn(1, 12)
    alone = model(tokens, torch.tensor([12]), durations, pitch, energy)
    pad = torch.nn.functional.pad
    padded = model(
        pad(tokens, (0, 5)), torch.tensor([12]), pad(durations, (0, 5)), pad(pitch, (0, 5)), pad(energy, (0, 5))
    )
    assert (padded.mel - alone.mel).abs().max() < 1e-4
    assert (padded.log_duration[:, :12] - alone.log_duration).abs().max() < 1e-5
    both = model(
        torch.cat([pad(tokens, (0, 5)), torch.ones(1, 17, dtype=torch.long)]),
        torch.tensor([12, 17]),
        torch.cat([pad(durations, (0, 5)), torch.full((1, 17), 6)]),
        torch.randn(2, 17).index_copy(0, torch.tensor([0]), pad(pitch, (0, 5))),
        torch.randn(2, 17).index_copy(0, torch.tensor([0]), pad(energy, (0, 5))),
    )
    assert (both.mel[:1, :, :48] - alone.mel).abs().max() < 1e-4


def test_mel_has_the_frames_the_durations_ask_for() -> None:
    model = small_model()
    slow, fast = model.synthesize(HELLO, speed=0.5), model.synthesize(HELLO, speed=2.0)
    assert slow.shape[:2] == (1, 100)
    assert slow.shape[-1] / fast.shape[-1] == pytest.approx(4, rel=0.25)


def test_seed_decides_the_mel() -> None:
    model = small_model()

    def mel(seed: int | None, variation: float = 1.0) -> torch.Tensor:
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        return model.synthesize(HELLO, variation=variation, generator=generator)

    assert torch.equal(mel(1), mel(1))
    assert mel(1).shape != mel(2).shape or not torch.equal(mel(1), mel(2))
    assert torch.equal(mel(None), mel(None))
    assert torch.equal(mel(5, 0.0), mel(None))


def test_pitch_reaches_the_decoder_in_its_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model()
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    decode = model._decode

    def spy(encoded: Any, mask: Any, durations: Any, pitch: torch.Tensor, energy: torch.Tensor) -> torch.Tensor:
        seen.append((pitch, energy))
        return decode(encoded, mask, durations, pitch, energy)

    monkeypatch.setattr(model, "_decode", spy)
    model.synthesize(HELLO)
    model.synthesize(HELLO, pitch_shift=12.0)
    octave = seen[1][0] - seen[0][0]
    assert octave.numpy() == pytest.approx(np.log(2) / 0.2, rel=1e-4)
    assert torch.equal(seen[1][1], seen[0][1])


@pytest.mark.parametrize("name", ["bigvgan-24k", "parallel-wavegan-22k", "diffwave-22k"])
def test_energy_is_a_factor_on_amplitude_in_any_convention(name: str) -> None:
    from wavegen.audio.features import CONVENTIONS, MelSpectrogram

    spec = CONVENTIONS[name]
    torch.manual_seed(0)
    model = SpeechTransformer(SMALL, spec).eval()
    model.mel_mean.fill_({"ln": -3.0, "log10": -2.0, "db": 0.5}[spec.log])
    model.mel_std.fill_(0.05)
    scale = MelSpectrogram(spec)
    plain, louder = (scale.expand(model.synthesize(HELLO, energy=e)) for e in (1.0, 2.0))
    assert torch.allclose(louder / plain, torch.tensor(2.0), rtol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"speed": 0.01}, "speed must lie between 0.1 and 10, not 0.01"),
        ({"speed": float("nan")}, "speed must lie"),
        ({"pitch_shift": 13.0}, "pitch_shift must lie between -12 and 12"),
        ({"energy": 0.0}, "energy must lie"),
        ({"variation": 2.0}, "variation must lie"),
    ],
)
def test_bad_controls(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        small_model().synthesize(HELLO, **arguments)


def test_bad_phonemes() -> None:
    with pytest.raises(InputError, match="unknown phoneme 'QQ'"):
        token_ids(("HH", "QQ"))
    with pytest.raises(InputError, match="no phonemes"):
        token_ids(())
    assert len(set(SYMBOLS)) == len(SYMBOLS)


def test_long_text_does_not_fade() -> None:
    """What stands far away does not change a phoneme's frames much: attention is biased to what is near."""
    model = small_model()
    short = model.synthesize(HELLO * 3)
    long = model.synthesize(HELLO * 40)
    frames = short.shape[-1] // 2
    assert (short[..., :frames] - long[..., :frames]).abs().mean() < 0.2 * short.std()


def test_bad_sizes() -> None:
    with pytest.raises(InputError, match="multiple of heads"):
        SpeechTransformerConfig(channels=10, heads=4)
    with pytest.raises(InputError, match="kernel must be odd"):
        SpeechTransformerConfig(kernel=2)
    with pytest.raises(InputError, match="heads must be positive"):
        SpeechTransformerConfig(heads=0)
    with pytest.raises(InputError, match="dropout must lie"):
        SpeechTransformerConfig(dropout=1.0)


def test_a_step_that_is_left_out_leaves_the_residual(tmp_path: Path, speech_folder: Path) -> None:
    """The statistic of the predictors' misses must stay finite, or nothing can be exported."""
    from wavegen import checkpoints
    from wavegen.acoustic.aligner import Aligner, AlignerConfig
    from wavegen.training.data import read_metadata
    from wavegen.training.loop import LoopConfig, Trainer
    from wavegen.training.tasks.speech import SpeechTask, SpeechTaskConfig

    torch.manual_seed(0)
    checkpoints.save(tmp_path / "a.safetensors", Aligner(AlignerConfig(channels=8, keys=4), SPEC))
    config = SpeechTaskConfig(tmp_path / "a.safetensors", SMALL, batch=2)
    utterances = read_metadata(speech_folder)
    parts = {"train": utterances[:3], "validation": utterances[3:4]}
    task = SpeechTask(config, SPEC, parts, tmp_path / "cache", seed=1)
    trainer = Trainer(task, LoopConfig(steps=4, tensorboard=False, amp=False), tmp_path / "run")
    batch = task.batch(0, 0, 1)
    task.step(trainer, batch)
    before = task.model.residual.clone()
    assert before.min() > 0
    trainer.steps_done = 1
    task.step(trainer, {**batch, "pitch": batch["pitch"] * torch.nan})
    assert trainer.left_out == "model"
    assert torch.isfinite(task.model.residual).all()
    assert task.model.residual[1] == before[1]


def test_recipe_trains_aligner_speech_and_vocoder_in_turn(tmp_path: Path, speech_folder: Path) -> None:
    """The whole chain at a small size: its losses fall, and each stage takes what the one before left."""
    import yaml

    from wavegen import checkpoints
    from wavegen.training.run import train

    loop = {"steps": 12, "warmup_steps": 2, "tensorboard": False, "amp": False, "threads": 1, "learning_rate": 0.002}

    def run(name: str, kind: str, task: dict[str, Any]) -> Path:
        config = tmp_path / f"{name}.yaml"
        config.write_text(yaml.safe_dump({"kind": kind, "task": task, "loop": loop}))
        train(config, data=speech_folder, output=tmp_path / name, device="cpu")
        return tmp_path / name

    aligner = run("aligner", "aligner", {"batch": 4, "model": {"channels": 16, "keys": 8}})
    sizes = {"channels": 16, "hidden": 32, "encoder_layers": 1, "decoder_layers": 1, "heads": 2, "kernel": 3}
    speech = run("acoustic", "speech", {"batch": 4, "model": sizes, "aligner": str(aligner / "model.safetensors")})
    model = checkpoints.load(speech / "model.safetensors", role="speech")
    assert model.pitch_mean.item() == pytest.approx(np.log(150), abs=0.4)  # the folder hums at 100 to 220 Hz
    assert model.residual.min() > 0
    of_the_data = model.pitch_mean.clone()
    model.pitch_mean.fill_(0.0)  # as if it had been trained on another voice
    checkpoints.save(tmp_path / "other.safetensors", model)
    tuned = tmp_path / "tuned"
    start = [f"init={tmp_path / 'other.safetensors'}", "loop.steps=1"]
    train(tmp_path / "acoustic.yaml", data=speech_folder, output=tuned, overrides=start, device="cpu")
    assert checkpoints.load(tuned / "model.safetensors").pitch_mean.item() == pytest.approx(
        of_the_data.item(), abs=0.01
    )
    mel = np.load(speech / "predicted" / "u00.npy")
    assert mel.shape[0] == 100
    assert np.isfinite(mel).all()
    tiny = {
        "model": {"channels": 8, "hidden": 12, "layers": 1, "kernel": 3},
        "batch": 4, "frames": 12, "stft_sizes": [256], "adversarial_from": 1.0,
        "predicted_mels": str(speech / "predicted"), "predicted_share": 1.0,
    }  # fmt: skip
    vocoder = run("vocoder", "vocoder", tiny)
    assert checkpoints.load(vocoder / "model.safetensors", role="vocoder").spec == model.spec


def test_speech_without_aligner(tmp_path: Path, speech_folder: Path) -> None:
    from wavegen.training.run import train

    config = tmp_path / "c.yaml"
    config.write_text("kind: speech\ntask:\n  aligner: none.safetensors\nloop:\n  steps: 1\n")
    with pytest.raises(InputError, match="train the aligner first"):
        train(config, data=speech_folder, output=tmp_path / "run", device="cpu")
