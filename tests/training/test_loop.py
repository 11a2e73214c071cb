"""The training loop on a small vocoder: resuming, data parallelism, guards, configuration."""

import math
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from wavegen import checkpoints
from wavegen.errors import CheckpointError, InputError, MissingDependencyError, WavegenError
from wavegen.training.loop import LoopConfig, Trainer
from wavegen.training.run import train

TINY: dict[str, Any] = {
    "kind": "vocoder",
    "task": {
        "model": {"channels": 8, "hidden": 12, "layers": 1, "kernel": 3},
        "discriminators": {"periods": [2, 3], "resolutions": [256], "period_channels": 16, "resolution_channels": 4},
        "batch": 4,
        "frames": 12,
        "stft_sizes": [256, 128],
        "adversarial_from": 0.5,
    },
    "loop": {"steps": 12, "warmup_steps": 3, "tensorboard": False, "amp": False, "threads": 1, "checkpoint_steps": 4},
    "card": {"summary": "test", "licence": "none"},
}


def write_config(path: Path, **loop: Any) -> Path:
    values = {**TINY, "loop": {**TINY["loop"], **loop}}
    path.write_text(yaml.safe_dump(values))
    return path


def weights(folder: Path) -> dict[str, torch.Tensor]:
    state = torch.load(folder / "state.pt", weights_only=True)
    flat = {f"{m}.{k}": v for m, tensors in state["modules"].items() for k, v in tensors.items()}
    return flat | {f"ema.{k}": v for k, v in state["ema"].items()}


def assert_same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def test_train_writes_a_loadable_model(tmp_path: Path, speech_folder: Path) -> None:
    config = write_config(tmp_path / "c.yaml", tensorboard=True, log_steps=1)
    train(config, data=speech_folder, output=tmp_path / "run", device="cpu")
    model = checkpoints.load(tmp_path / "run" / "model.safetensors", role="vocoder")
    header = checkpoints.read_header(tmp_path / "run" / "model.safetensors")
    assert header.kind == "istft-vocoder"
    assert header.card["steps"] == 12
    assert model(torch.zeros(1, 100, 5)).shape == (1, 1280)
    assert list((tmp_path / "run" / "logs").iterdir())
    ema = torch.load(tmp_path / "run" / "state.pt", weights_only=True)["ema"]
    for name, tensor in model.state_dict().items():  # stored as fp16
        assert torch.allclose(tensor, ema[name], atol=1e-3)


def test_quiet_says_nothing(tmp_path: Path, speech_folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    config = write_config(tmp_path / "c.yaml", steps=1)
    train(config, data=speech_folder, output=tmp_path / "loud", device="cpu")
    assert "training for 1 steps" in capfd.readouterr().err
    train(config, data=speech_folder, output=tmp_path / "run", device="cpu", quiet=True)
    assert capfd.readouterr() == ("", "")


def test_without_tensorboard_nothing_is_begun(
    tmp_path: Path, speech_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    config = write_config(tmp_path / "c.yaml", tensorboard=True)
    with pytest.raises(MissingDependencyError, match="tensorboard"):
        train(config, data=speech_folder, output=tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_resume_after_kill_equals_uninterrupted(tmp_path: Path, speech_folder: Path) -> None:
    """kill -9 in the middle, then --resume: the same weights to the bit as a run left alone."""
    config = write_config(tmp_path / "c.yaml", steps=60, checkpoint_steps=5)
    train(config, data=speech_folder, output=tmp_path / "whole", device="cpu")
    command = [
        sys.executable, "-c",
        "import sys; from pathlib import Path; from wavegen.training.run import train\n"
        "train(Path(sys.argv[1]), data=Path(sys.argv[2]), output=Path(sys.argv[3]), device='cpu')",
        str(config), str(speech_folder), str(tmp_path / "killed"),
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    state = tmp_path / "killed" / "state.pt"
    for _ in range(1200):
        if state.exists() or process.poll() is not None:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = torch.load(state, weights_only=True)["steps_done"]
    assert 5 <= done < 60, "the run was to be killed in its middle"
    train(config, data=speech_folder, output=tmp_path / "killed", resume=True, device="cpu")
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "killed"))


def test_same_seed_same_weights_and_another_seed_not(tmp_path: Path, speech_folder: Path) -> None:
    runs = []
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        config = write_config(tmp_path / f"{name}.yaml", steps=3, seed=seed)
        train(config, data=speech_folder, output=tmp_path / name, device="cpu")
        runs.append(weights(tmp_path / name))
    assert_same(runs[0], runs[1])
    assert any(not torch.equal(runs[0][k], runs[2][k]) for k in runs[0])


def gradients(folder: Path) -> list[torch.Tensor]:
    """Adam's first moments: after one step, a tenth of the clipped gradients."""
    optimisers = torch.load(folder / "state.pt", weights_only=True)["optimisers"]
    return [s["exp_avg"] for name in sorted(optimisers) for s in optimisers[name]["state"].values()]


def test_two_processes_give_the_gradients_of_one(tmp_path: Path, speech_folder: Path) -> None:
    """Data-parallel by gloo: a step on two halves of a batch, discriminators included, equals one on the whole."""
    values = {**TINY, "task": {**TINY["task"], "adversarial_from": 0.0}}
    values["loop"] = {**TINY["loop"], "steps": 1}
    config = tmp_path / "c.yaml"
    config.write_text(yaml.safe_dump(values))
    script = tmp_path / "script.py"
    script.write_text(
        "import sys; from pathlib import Path; from wavegen.training.run import train\n"
        f"train(Path({str(config)!r}), data=Path({str(speech_folder)!r}), output=Path(sys.argv[1]), device='cpu')\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    subprocess.run([sys.executable, str(script), str(tmp_path / "one")], check=True, env=environment)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--master_addr=127.0.0.1"]
    subprocess.run(
        [*torchrun, "--master_port=29617", str(script), str(tmp_path / "two")], check=True, env=environment, timeout=180
    )
    one, two = gradients(tmp_path / "one"), gradients(tmp_path / "two")
    assert len(one) == len(two) > 10
    for a, b in zip(one, two, strict=True):
        assert a.abs().max() > 0
        assert (a - b).abs().max() < 1e-4 * a.abs().max() + 1e-9


def test_existing_run_is_not_overwritten(tmp_path: Path, speech_folder: Path) -> None:
    config = write_config(tmp_path / "c.yaml", steps=1)
    train(config, data=speech_folder, output=tmp_path / "run", device="cpu")
    with pytest.raises(InputError, match="--resume"):
        train(config, data=speech_folder, output=tmp_path / "run", device="cpu")


def test_resume_refuses_another_configuration(tmp_path: Path, speech_folder: Path) -> None:
    config = write_config(tmp_path / "c.yaml", steps=1)
    train(config, data=speech_folder, output=tmp_path / "run", device="cpu")
    with pytest.raises(InputError, match="another configuration"):
        train(config, data=speech_folder, output=tmp_path / "run", resume=True, overrides=["task.batch=2"])
    train(config, data=speech_folder, output=tmp_path / "run", resume=True, overrides=["loop.steps=2"], device="cpu")
    assert torch.load(tmp_path / "run" / "state.pt", weights_only=True)["steps_done"] == 2


def test_resume_refuses_another_folder_but_not_a_moved_one(tmp_path: Path, speech_folder: Path) -> None:
    config = write_config(tmp_path / "c.yaml", steps=1)
    data = tmp_path / "data"
    shutil.copytree(speech_folder, data)
    train(config, data=speech_folder, output=tmp_path / "run", device="cpu")
    train(config, data=data, output=tmp_path / "run", resume=True, overrides=["loop.steps=2"], device="cpu")
    lines = (data / "metadata.csv").read_text().splitlines()
    (data / "metadata.csv").write_text("\n".join(lines[:-10]))
    with pytest.raises(InputError, match=r"another configuration \(data\)"):
        train(config, data=data, output=tmp_path / "run", resume=True, overrides=["loop.steps=3"], device="cpu")


def test_resume_of_a_checkpoint_that_names_no_data(tmp_path: Path, speech_folder: Path) -> None:
    config = write_config(tmp_path / "c.yaml", steps=1)
    train(config, data=speech_folder, output=tmp_path / "run", device="cpu")
    state = torch.load(tmp_path / "run" / "state.pt", weights_only=True)
    del state["description"]["data"]
    torch.save(state, tmp_path / "run" / "state.pt")
    train(config, data=speech_folder, output=tmp_path / "run", resume=True, overrides=["loop.steps=2"], device="cpu")


def test_resume_from_nothing_and_from_damage(tmp_path: Path, speech_folder: Path) -> None:
    config = write_config(tmp_path / "c.yaml")
    with pytest.raises(InputError, match="no such training checkpoint"):
        train(config, data=speech_folder, output=tmp_path / "none", resume=True, device="cpu")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "state.pt").write_bytes(b"PK\x03\x04 not really")
    with pytest.raises(CheckpointError, match=r"state\.pt: damaged"):
        train(config, data=speech_folder, output=tmp_path / "bad", resume=True, device="cpu")


def test_fine_tuning_starts_from_the_averaged_weights_and_keeps_discriminators(
    tmp_path: Path, speech_folder: Path
) -> None:
    config = write_config(tmp_path / "c.yaml")
    train(config, data=speech_folder, output=tmp_path / "run", device="cpu")
    before = weights(tmp_path / "run")
    for source in ("state.pt", "model.safetensors"):
        output = tmp_path / f"tuned-{source}"
        start = [f"init={tmp_path / 'run' / source}", "loop.steps=1", "loop.learning_rate=1e-12"]
        train(config, data=speech_folder, output=output, overrides=start, device="cpu")
        after = weights(output)
        for name in before:
            if name.startswith("ema."):
                assert torch.allclose(before[name], after[name], atol=1e-3), name
            if name.startswith("discriminators.") and source == "state.pt":
                assert torch.equal(before[name], after[name]), name


def test_init_of_another_size_names_the_mismatch(tmp_path: Path, speech_folder: Path) -> None:
    config = write_config(tmp_path / "c.yaml", steps=1)
    train(config, data=speech_folder, output=tmp_path / "run", device="cpu")
    bigger = [f"init={tmp_path / 'run' / 'model.safetensors'}", "task.model.channels=16"]
    with pytest.raises(CheckpointError, match=r"does not fit this configuration \(.*mel_?.*|.*embed\.weight.*\)"):
        train(config, data=speech_folder, output=tmp_path / "other", overrides=bigger, device="cpu")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["loop.stepz=3"], r"c\.yaml\.loop\.stepz: unknown key"),
        (["task.model.width=3"], r"c\.yaml\.task\.model\.width: unknown key"),
        (["extra=1"], r"c\.yaml\.extra: unknown key"),
        (["loop.steps=many"], r"loop\.steps: expected int, not 'many'"),
        (["loop.amp=3"], r"loop\.amp: expected bool"),
        (["task.batch=true"], r"task\.batch: expected int"),
        (["loop.steps=null"], "one of loop.steps and loop.minutes"),
        (["loop.minutes=3"], "one of loop.steps and loop.minutes"),
        (["loop.steps=0"], "steps must be positive"),
        (["loop.ema=1.0"], "ema must lie"),
        (["loop.learning_rate=-1"], "learning_rate must be positive"),
        (["loop.learning_rate=.nan"], "learning_rate must be positive"),
        (["loop.log_steps=0"], "log_steps must be positive"),
        (["loop.threads=0"], "threads must be positive"),
        (["loop.clip=0"], "clip must be positive"),
        (["loop.seed=-1"], "seed must not be negative"),
        (["loop.weight_decay=-0.1"], "weight_decay must not be negative"),
        (["task.batch=0"], "task.batch must be positive"),
        (["task.discriminators.period_channels=8"], "period_channels must be 16 or more"),
        (["card.date=2024-01-01"], r"c\.yaml\.card: must hold plain texts and numbers"),
        (["loop.betas=[0.9]"], "betas must be two values"),
        (["kind=poem"], "must be one of vocoder"),
        (["features=mel-9000"], "'mel-9000' is not one of"),
        (["features.hop=3"], "features is not a section"),
        (["task.predicted_mels=/nowhere"], "no predicted mel"),
        (["task.frames=100000"], "no training utterance is longer"),
        (["nonsense"], "expected section.key=value"),
    ],
)
def test_bad_configuration_names_the_key(
    tmp_path: Path, speech_folder: Path, overrides: list[str], message: str
) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(yaml.safe_dump({**TINY, "features": "bigvgan-24k"}))
    with pytest.raises(InputError, match=message):
        train(config, data=speech_folder, output=tmp_path / "run", overrides=overrides, device="cpu")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"elapsed": None},
        {"elapsed": float("nan")},
        {"steps_done": "x"},
        {"modules": [1]},
        {"modules": {"vocoder": 3}},
        {"description": 3},
        {"ema": {}},
    ],
)
def test_resume_from_a_forged_checkpoint(tmp_path: Path, speech_folder: Path, changes: dict[str, Any]) -> None:
    config = write_config(tmp_path / "c.yaml", steps=1)
    train(config, data=speech_folder, output=tmp_path / "run", device="cpu")
    path = tmp_path / "run" / "state.pt"
    torch.save({**torch.load(path, weights_only=True), **changes}, path)
    with pytest.raises(CheckpointError, match=r"state\.pt: "):
        train(config, data=speech_folder, output=tmp_path / "run", resume=True, device="cpu")


@pytest.mark.parametrize("text", ["a: 2001-99-99", "a: !!float x", "[" * 3000, "", "- a\n- b\n", "a: [", "kind: 3"])
def test_bad_yaml(tmp_path: Path, speech_folder: Path, text: str) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(text)
    with pytest.raises(InputError, match=r"c\.yaml"):
        train(config, data=speech_folder, output=tmp_path / "run", device="cpu")


def test_missing_configuration(tmp_path: Path, speech_folder: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        train(tmp_path / "none.yaml", data=speech_folder, output=tmp_path / "run")


class Parabola:
    """The least task: minimise (w - 3)², with losses that can be spoiled."""

    def __init__(self, spoil: set[int]) -> None:
        from wavegen.audio.features import FeatureSpec
        from wavegen.vocoders.istft import ISTFTVocoder, ISTFTVocoderConfig

        self.spec = FeatureSpec()
        self.model = ISTFTVocoder(ISTFTVocoderConfig(2, 2, 1, 1), self.spec)
        self.modules = {"model": self.model}
        self.learning_rates: dict[str, float] = {}
        self.spoil = spoil
        self.norms: list[float] = []

    def batch(self, step: int, rank: int, world: int) -> dict[str, Any]:
        return {"step": step}

    def step(self, trainer: Trainer, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
        bias = self.model.norm.bias
        loss = 1000 * (bias - 3).square().sum()
        if batch["step"] in self.spoil:
            loss = loss * torch.nan
        self.norms.append(trainer.update("model", loss))
        return {"loss": loss.detach()}

    def validate(self, model: torch.nn.Module) -> Any:
        from wavegen.training.loop import Validation

        return Validation({})

    def finish(self, model: torch.nn.Module, output: Path) -> None:
        pass


def test_nan_steps_are_left_out(tmp_path: Path) -> None:
    task = Parabola(spoil={3, 4, 17})
    config = LoopConfig(steps=150, learning_rate=0.1, warmup_steps=1, tensorboard=False, weight_decay=0.0)
    Trainer(task, config, tmp_path / "run").run()  # type: ignore[arg-type]
    assert torch.isfinite(task.model.norm.bias).all()
    assert (task.model.norm.bias - 3).abs().max() < 0.3
    assert sum(math.isnan(n) for n in task.norms) == 3


def test_running_statistics_are_left_out_of_nan_steps(tmp_path: Path) -> None:
    """They change before the loss is known."""
    task = Parabola(spoil={3, 9})
    task.model.norm.register_buffer("seen", torch.zeros(()))
    step = task.step

    def counted(trainer: Trainer, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
        task.model.norm.seen += torch.nan if batch["step"] in task.spoil else 1
        return step(trainer, batch)

    task.step = counted  # type: ignore[method-assign]
    trainer = Trainer(task, LoopConfig(steps=20, tensorboard=False), tmp_path / "run")  # type: ignore[arg-type]
    trainer.run()
    assert float(task.model.norm.seen) == float(trainer.ema.norm.seen) == 18


def test_divergence_ends_the_run(tmp_path: Path) -> None:
    config = LoopConfig(steps=150, tensorboard=False)
    with pytest.raises(WavegenError, match="training diverged"):
        Trainer(Parabola(spoil=set(range(5, 150))), config, tmp_path / "run").run()  # type: ignore[arg-type]


def test_divergence_of_one_module_ends_the_run(tmp_path: Path) -> None:
    """A second module whose losses are finite does not hide the first one's."""
    task = Parabola(spoil=set(range(5, 150)))
    task.modules["other"] = torch.nn.Linear(1, 1)
    step = task.step

    def both(trainer: Trainer, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
        trainer.update("other", task.modules["other"](torch.ones(1)).square().sum())
        return step(trainer, batch)

    task.step = both  # type: ignore[method-assign]
    trainer = Trainer(task, LoopConfig(steps=150, tensorboard=False), tmp_path / "run")  # type: ignore[arg-type]
    with pytest.raises(WavegenError, match="training diverged: model's loss or gradient was not finite 21 times"):
        trainer.run()


def test_a_loss_that_another_process_lost_is_left_out_here_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = Parabola(spoil=set())
    config = LoopConfig(steps=3, tensorboard=False, warmup_steps=0)
    trainer = Trainer(task, config, tmp_path / "run")  # type: ignore[arg-type]
    others: list[float] = [1.0, 0.0]
    trainer.world = 2
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor: tensor.add_(others.pop(0)))
    before = task.model.norm.bias.detach().clone()
    task.step(trainer, {"step": 0})
    assert torch.equal(task.model.norm.bias, before)
    assert trainer.left_out == "model"
    task.step(trainer, {"step": 0})
    assert not torch.equal(task.model.norm.bias, before)


def test_ctrl_c_in_a_step_waits_for_its_end(
    tmp_path: Path, speech_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted between the two optimisers of a step, then resumed: the weights of a run left alone."""
    config = write_config(tmp_path / "c.yaml", checkpoint_steps=None)
    train(config, data=speech_folder, output=tmp_path / "whole", device="cpu")
    update = Trainer.update
    monkeypatch.setattr(Trainer, "update", lambda t, name, loss: (update(t, name, loss), interrupt(t, name))[0])

    def interrupt(trainer: Trainer, name: str) -> None:
        if trainer.steps_done == 8 and name == "discriminators":
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(config, data=speech_folder, output=tmp_path / "stopped", device="cpu")
    monkeypatch.undo()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert torch.load(tmp_path / "stopped" / "state.pt", weights_only=True)["steps_done"] == 9
    train(config, data=speech_folder, output=tmp_path / "stopped", resume=True, device="cpu")
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "stopped"))


def test_second_ctrl_c_takes_effect_at_once(tmp_path: Path) -> None:
    task = Parabola(spoil=set())

    def endless(trainer: Trainer, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("was to be interrupted")

    task.step = endless  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        Trainer(task, LoopConfig(steps=3, tensorboard=False), tmp_path / "run").run()  # type: ignore[arg-type]


def test_warm_start_takes_moments_but_not_settings(tmp_path: Path, speech_folder: Path) -> None:
    config = write_config(tmp_path / "c.yaml", steps=2)
    train(config, data=speech_folder, output=tmp_path / "run", device="cpu")
    settings = [
        f"init={tmp_path / 'run' / 'state.pt'}", "loop.steps=1", "loop.betas=[0.5, 0.9]", "loop.weight_decay=0.25",
    ]  # fmt: skip
    train(config, data=speech_folder, output=tmp_path / "tuned", overrides=settings, device="cpu")
    optimiser = torch.load(tmp_path / "tuned" / "state.pt", weights_only=True)["optimisers"]["model"]
    assert tuple(optimiser["param_groups"][0]["betas"]) == (0.5, 0.9)
    assert optimiser["param_groups"][0]["weight_decay"] == 0.25
    assert optimiser["state"][0]["step"] == 3


def test_full_disk_is_one_line_and_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    trainer = Trainer(Parabola(spoil=set()), LoopConfig(steps=3, tensorboard=False), tmp_path)  # type: ignore[arg-type]
    trainer.save()
    before = (tmp_path / "state.pt").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
        with pytest.raises(WavegenError, match=r"state\.pt: ") as caught:
            trainer.save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "state.pt").read_bytes() == before
    assert {p.name for p in tmp_path.iterdir()} == {"state.pt", "model.safetensors"}


def test_unusable_device_is_named_before_any_work(tmp_path: Path, speech_folder: Path) -> None:
    config = write_config(tmp_path / "c.yaml", steps=1)
    with pytest.raises(InputError, match="device 'abacus' cannot be used"):
        train(config, data=speech_folder, output=tmp_path / "run", device="abacus")
    assert not (tmp_path / "cache").exists()


def test_minutes_of_an_empty_loop_section(tmp_path: Path, speech_folder: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("kind: vocoder\nloop:\n")
    with pytest.raises(InputError, match="loop is not a section"):
        train(config, data=speech_folder, output=tmp_path / "run", minutes=1.0)


def test_minutes_bound_the_run_and_key_the_schedule(tmp_path: Path) -> None:
    task = Parabola(spoil=set())
    config = LoopConfig(minutes=0.02, learning_rate=0.1, warmup_steps=1, tensorboard=False)
    trainer = Trainer(task, config, tmp_path / "run")  # type: ignore[arg-type]
    rates = []
    step = task.step

    def spy(t: Trainer, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
        rates.append((t.progress, t._learning_rate()))
        return step(t, batch)

    task.step = spy  # type: ignore[method-assign]
    began = time.monotonic()
    trainer.run()
    assert 0.5 < time.monotonic() - began < 20
    assert trainer.elapsed >= 1.2
    for progress, rate in rates:
        assert rate == pytest.approx(0.1 * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress))), rel=1e-6)
    assert rates[-1][1] < 0.01


def test_average_follows_with_the_given_decay(tmp_path: Path) -> None:
    task = Parabola(spoil=set())
    trainer = Trainer(task, LoopConfig(steps=1, ema=0.9, tensorboard=False), tmp_path)  # type: ignore[arg-type]
    trainer.steps_done = 10**6
    with torch.no_grad():
        trainer.ema.norm.bias.fill_(0.0)
        task.model.norm.bias.fill_(1.0)
    trainer._average()
    assert torch.allclose(trainer.ema.norm.bias, torch.tensor(0.1), atol=1e-6)
