"""The one training loop: schedule, precision, clipping, averaging, checkpoints, logs and data parallelism.

A :class:`Task` says what is trained and how a step's losses come about; :class:`Trainer` does the rest. Every step's
data and random numbers are functions of the seed and the step's number, so that a resumed run repeats the
uninterrupted one: to the bit on a CPU where ``steps`` bound it; ``minutes`` make the learning rate follow the clock.
"""

import copy
import math
import os
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wavegen import checkpoints
from wavegen.audio.features import FeatureSpec
from wavegen.audio.io import atomic
from wavegen.errors import CheckpointError, InputError, MissingDependencyError, WavegenError
from wavegen.nn.device import usable_device
from wavegen.training.data import seed_of

Batch = dict[str, Any]
STATE = "state.pt"
MODEL = "model.safetensors"
MAX_BAD_STEPS = 20


@dataclass(frozen=True)
class LoopConfig:
    """How long and how carefully to train. One of ``steps`` and ``minutes`` ends the run; the learning rate follows it.

    ``learning_rate`` rises linearly over ``warmup_steps`` and falls along a cosine to ``final_fraction`` of itself.
    ``clip`` bounds the gradient norm. ``ema`` is the decay of the averaged weights that are exported. ``amp``
    computes in bf16 where that is safe. ``tensorboard`` needs the package tensorboard (extra "train").
    """

    steps: int | None = None
    minutes: float | None = None
    learning_rate: float = 1e-3
    warmup_steps: int = 200
    final_fraction: float = 0.01
    betas: tuple[float, ...] = (0.9, 0.99)
    weight_decay: float = 0.01
    clip: float = 1.0
    ema: float = 0.999
    amp: bool = True
    seed: int = 1
    checkpoint_minutes: float = 5.0
    checkpoint_steps: int | None = None
    validate_minutes: float = 5.0
    log_steps: int = 20
    tensorboard: bool = True
    threads: int | None = None

    def __post_init__(self) -> None:
        for name in ("steps", "minutes", "learning_rate", "clip", "log_steps", "threads"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"loop.{name} must be positive, not {value}")
        for name in ("warmup_steps", "final_fraction", "weight_decay", "seed"):
            if not getattr(self, name) >= 0:
                raise InputError(f"loop.{name} must not be negative: {getattr(self, name)}")
        if len(self.betas) != 2 or not all(0 <= b < 1 for b in self.betas):
            raise InputError(f"loop.betas must be two values in [0, 1), not {self.betas}")
        if not 0 <= self.ema < 1:
            raise InputError(f"loop.ema must lie in [0, 1), not {self.ema}")


@dataclass
class Validation:
    """What a validation found: scalars to log (lower is better for all), and examples to hear and see."""

    scalars: dict[str, float]
    audio: dict[str, tuple[NDArray[np.float32], int]] = field(default_factory=dict)
    mels: dict[str, NDArray[np.float32]] = field(default_factory=dict)


class Task(ABC):
    """What is trained. ``model`` is exported; ``modules`` names all trained modules, one optimiser each.

    A step calls ``self.parallel[name]`` instead of the module itself, so that it works data-parallel.
    """

    model: nn.Module
    spec: FeatureSpec
    modules: dict[str, nn.Module]
    parallel: dict[str, nn.Module]
    learning_rates: dict[str, float]  # factors on the loop's learning rate, by module
    single = False  # whether its step calls modules in other ways than as a whole, which data parallelism does not see
    statistics: tuple[str, ...] = ()  # buffers that describe the data, so that a warm start leaves them alone

    @abstractmethod
    def batch(self, step: int, rank: int, world: int) -> Batch:
        """The step's share of the global batch for one of ``world`` processes: tensors on the CPU."""

    @abstractmethod
    def step(self, trainer: "Trainer", batch: Batch) -> dict[str, Tensor]:
        """Compute losses and call ``trainer.update`` for each module; the scalars come back for the log."""

    @abstractmethod
    def validate(self, model: nn.Module) -> Validation:
        """Judge the averaged model on validation material."""

    def finish(self, model: nn.Module, output: Path) -> None:  # noqa: B027  (most tasks have nothing left to do)
        """Work after the last step, on the averaged model."""


class Trainer:
    """Runs a task to its end in a folder that holds ``state.pt`` (to resume) and ``model.safetensors`` (to use)."""

    def __init__(
        self,
        task: Task,
        config: LoopConfig,
        output: Path,
        *,
        card: dict[str, Any] | None = None,
        device: str = "cpu",
        resume: bool = False,
        init: Path | None = None,
        description: dict[str, Any] | None = None,
        quiet: bool = False,
    ) -> None:
        if (config.steps is None) == (config.minutes is None):
            raise InputError("give one of loop.steps and loop.minutes (or --minutes)")
        self.task, self.config, self.output, self.quiet = task, config, output, quiet
        self.card = dict(card or {})
        self.description = description or {}
        self.rank, self.world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        self.device = own_device(device)
        if self.world > 1:
            if task.single:
                raise InputError(f"{type(task).__name__} trains in one process; start it without torchrun")
            _join_group(self.device)
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        for module in task.modules.values():
            module.to(self.device).train()
        task.parallel = {name: self._wrap(module) for name, module in task.modules.items()}
        self.optimisers = {
            name: torch.optim.AdamW(
                module.parameters(),
                config.learning_rate,
                (config.betas[0], config.betas[1]),
                weight_decay=config.weight_decay,
            )
            for name, module in task.modules.items()
        }
        self.ema = copy.deepcopy(task.model).eval().requires_grad_(False)
        self.steps_done = 0
        self.elapsed = 0.0
        self.bad_steps = 0  # in a row, up to now
        self.left_out = ""  # the module that this step has left out
        self.progress = 0.0
        if init is not None:
            self._warm_start(init)
        if resume:
            self._resume()
        elif (output / STATE).exists() and self.rank == 0:
            raise InputError(
                f"{output / STATE} exists: continue that run with --resume, or choose another output folder"
            )

    def _wrap(self, module: nn.Module) -> nn.Module:
        if self.world == 1 or not any(p.requires_grad for p in module.parameters()):
            return module
        ids = [self.device.index] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(module, device_ids=ids)

    def autocast(self) -> AbstractContextManager[Any]:
        """bf16 where the loop's ``amp`` asks for it."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.amp)

    def update(self, name: str, loss: Tensor) -> float:
        """One optimiser step of a module: backward, NaN guard, clipping. The gradient norm comes back.

        Where a loss or gradient is not finite, in any process, the module keeps its weights, and running statistics
        that are not finite are those of the last average again; too many such steps in a row end the run.
        """
        optimiser = self.optimisers[name]
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        parameters = [p for p in self.task.modules[name].parameters() if p.grad is not None]
        norm = float(nn.utils.clip_grad_norm_(parameters, self.config.clip))
        if not self._everywhere(math.isfinite(norm) and math.isfinite(float(loss.detach()))):
            self.left_out = name
            if name == "model":  # statistics have taken in already what the weights are kept from
                for mine, before in zip(self.task.model.buffers(), self.ema.buffers(), strict=True):
                    if not bool(torch.isfinite(mine).all()):
                        mine.copy_(before)
            return norm
        for group in optimiser.param_groups:
            group["lr"] = self._learning_rate() * self.task.learning_rates.get(name, 1.0)
        optimiser.step()
        return norm

    def _everywhere(self, condition: bool) -> bool:
        """Whether it holds in all processes: gradients are shared, losses are not, and all must decide alike."""
        if self.world == 1:
            return condition
        failures = torch.tensor(0.0 if condition else 1.0, device=self.device)
        torch.distributed.all_reduce(failures)
        return float(failures) == 0.0

    def _count_bad_steps(self) -> None:
        self.bad_steps = self.bad_steps + 1 if self.left_out else 0
        if self.bad_steps > MAX_BAD_STEPS:
            raise WavegenError(
                f"training diverged: {self.left_out}'s loss or gradient was not finite {self.bad_steps} times in a row "
                f"at step {self.steps_done}; lower loop.learning_rate"
            )

    def _learning_rate(self) -> float:
        c = self.config
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, self.progress)))
        warm = min(1.0, (self.steps_done + 1) / max(1, c.warmup_steps))
        return c.learning_rate * warm * (c.final_fraction + (1 - c.final_fraction) * cosine)

    def _average(self) -> None:
        decay = min(self.config.ema, (1 + self.steps_done) / (10 + self.steps_done))
        ours: list[Tensor] = [p.detach() for p in self.ema.parameters()]
        theirs: list[Tensor] = [p.detach() for p in self.task.model.parameters()]
        with torch.no_grad():
            torch._foreach_lerp_(ours, theirs, 1 - decay)
            for mine, other in zip(self.ema.buffers(), self.task.model.buffers(), strict=True):
                mine.copy_(other)

    def _position(self) -> float:
        c = self.config
        if c.steps is not None:
            return self.steps_done / c.steps
        assert c.minutes is not None
        return self.elapsed / (60 * c.minutes)

    def run(self) -> None:
        """Train to the end, then export. Ctrl-C ends the run after the step at hand, with a checkpoint."""
        writer = _summary_writer() if self.config.tensorboard and self.rank == 0 else None
        self.output.mkdir(parents=True, exist_ok=True)
        logs = _Logs(self, writer) if self.rank == 0 else None
        last_save = last_validation = time.monotonic()
        try:
            for batch in self._batches():
                with _interrupt_held():  # half a step must not be saved
                    losses = self._step(batch)
                self.progress = self._synchronised(self._position())
                if logs is not None:
                    logs.step(losses)
                now = time.monotonic()
                every = self.config.checkpoint_steps
                if now - last_save > 60 * self.config.checkpoint_minutes or (every and self.steps_done % every == 0):
                    self.save()
                    last_save = now
                if now - last_validation > 60 * self.config.validate_minutes:
                    if logs is not None:
                        logs.validation(self.task.validate(self.ema))
                    last_validation = time.monotonic()
            self.save()
            if logs is not None:
                logs.validation(self.task.validate(self.ema))
                self.task.finish(self.ema, self.output)
        except KeyboardInterrupt:
            self.save()
            raise
        finally:
            if logs is not None:
                logs.close()
            if self.world > 1:
                torch.distributed.destroy_process_group()

    def _step(self, batch: Batch) -> dict[str, Tensor]:
        began = time.monotonic()
        torch.manual_seed(seed_of(self.config.seed, self.steps_done, self.rank))
        self.left_out = ""
        losses = self.task.step(self, _to(batch, self.device))
        self._count_bad_steps()
        self._average()
        self.steps_done += 1
        self.elapsed += time.monotonic() - began
        return losses

    def _batches(self) -> Iterator[Batch]:
        """Batches until the run's end, the next one prepared while the present one is used."""
        self.progress = self._synchronised(self._position())
        with ThreadPoolExecutor(1) as pool:
            step = self.steps_done
            future = pool.submit(self.task.batch, step, self.rank, self.world)
            while self.progress < 1.0:
                batch = future.result()
                step += 1
                future = pool.submit(self.task.batch, step, self.rank, self.world)
                yield batch

    def _synchronised(self, value: float) -> float:
        """Rank 0's value, so that all processes stop at the same step."""
        if self.world == 1 or self.config.steps is not None:
            return value
        tensor = torch.tensor([value], dtype=torch.float64, device=self.device)
        torch.distributed.broadcast(tensor, 0)
        return float(tensor)

    def save(self) -> None:
        """Write ``state.pt`` and ``model.safetensors``, each whole or not at all."""
        if self.rank != 0:
            return
        state = {
            "format": 1,
            "steps_done": self.steps_done,
            "elapsed": self.elapsed,
            "bad_steps": self.bad_steps,
            "modules": {name: m.state_dict() for name, m in self.task.modules.items()},
            "optimisers": {name: o.state_dict() for name, o in self.optimisers.items()},
            "ema": self.ema.state_dict(),
            "description": self.description,
        }
        path = self.output / STATE
        with atomic(path) as temporary:
            try:
                torch.save(state, temporary)
            except RuntimeError as error:  # torch's writer says so of a full disk
                raise CheckpointError(f"{path}: could not be written ({str(error).splitlines()[0]})") from None
        card = {**self.card, "steps": self.steps_done, "minutes": round(self.elapsed / 60, 1)}
        checkpoints.save(self.output / MODEL, self.ema, card=card)

    def _read_state(self, path: Path) -> dict[str, Any]:
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
            if state["format"] != 1:
                raise KeyError("format")
            parts = [state[name] for name in ("modules", "optimisers", "ema", "description")]
            numbers = [state[name] for name in ("steps_done", "bad_steps", "elapsed")]
            if not (all(isinstance(p, dict) for p in parts) and all(isinstance(n, int | float) for n in numbers)):
                raise TypeError
            if not all(0 <= n < math.inf for n in numbers):
                raise ValueError
        except FileNotFoundError:
            raise InputError(f"{path}: no such training checkpoint") from None
        except Exception as error:
            raise CheckpointError(f"{path}: damaged, or not a training checkpoint ({type(error).__name__})") from None
        return dict(state)

    def _restore(self, state: dict[str, Any], path: Path) -> None:
        try:
            for name, module in self.task.modules.items():
                if name in state["modules"]:
                    module.load_state_dict(state["modules"][name])
                    self._restore_optimiser(self.optimisers[name], state["optimisers"][name])
            self.ema.load_state_dict(state["ema"])
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise _misfit(path, error) from None

    def _restore_optimiser(self, optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> None:
        """The moments of an earlier run, under the settings of this one."""
        optimiser.load_state_dict(state)
        for group in optimiser.param_groups:
            group["betas"] = (self.config.betas[0], self.config.betas[1])
            group["weight_decay"] = self.config.weight_decay

    def _resume(self) -> None:
        path = self.output / STATE
        state = self._read_state(path)
        keys = sorted(k for k, old in state["description"].items() if old != self.description.get(k))
        if keys:
            raise InputError(f"{path}: that run had another configuration ({', '.join(keys)}); use it, or start anew")
        if set(state["modules"]) != set(self.task.modules):
            raise CheckpointError(f"{path}: holds {', '.join(state['modules'])}, not {', '.join(self.task.modules)}")
        self._restore(state, path)
        self.steps_done, self.elapsed = state["steps_done"], state["elapsed"]
        self.bad_steps = state["bad_steps"]

    def _warm_start(self, path: Path) -> None:
        """Weights from a training checkpoint (averaged model, discriminators, optimisers) or from a model file."""
        described = {name: self.task.model.get_buffer(name).clone() for name in self.task.statistics}
        if path.suffix == ".pt":
            state = self._read_state(path)
            self._restore(state, path)
            self.task.model.load_state_dict(state["ema"])
        else:
            model = checkpoints.load(path)
            try:
                self.task.model.load_state_dict(model.state_dict())
                self.ema.load_state_dict(model.state_dict())
            except RuntimeError as error:
                raise _misfit(path, error) from None
        for name, value in described.items():
            self.task.model.get_buffer(name).copy_(value)
            self.ema.get_buffer(name).copy_(value)


def _summary_writer() -> Any:
    """TensorBoard's; MissingDependencyError without it."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise MissingDependencyError("tensorboard (or set loop.tensorboard=false)", "train", "logging") from None
    return SummaryWriter


class _Logs:
    """The progress bar with losses and ETA on stderr, and TensorBoard."""

    def __init__(self, trainer: Trainer, writer: Any) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        self.trainer = trainer
        self.sums: dict[str, float] = {}
        self.count = 0
        self.console = Console(stderr=True, quiet=trainer.quiet)
        self.bar = Progress(
            TextColumn("step {task.fields[step]}"),
            BarColumn(),
            TextColumn("{task.percentage:>4.1f} %"),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[losses]}"),
            console=self.console,
            disable=trainer.quiet or not self.console.is_terminal,
        )
        self.line = self.bar.add_task("", total=1.0, step=trainer.steps_done, losses="")
        self.writer = None if writer is None else writer(str(trainer.output / "logs"))
        self.bar.start()
        length = f"{c.steps} steps" if (c := trainer.config).steps is not None else f"{c.minutes:g} minutes"
        size = sum(p.numel() for p in trainer.task.model.parameters())
        self._print(f"training for {length} on {trainer.device}: {size:,} parameters, from step {trainer.steps_done}")

    def step(self, losses: dict[str, Tensor]) -> None:
        t = self.trainer
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value)
        self.count += 1
        if t.steps_done % t.config.log_steps == 0:
            means = {name: total / self.count for name, total in self.sums.items()}
            text = "  ".join(f"{name} {value:.4f}" for name, value in means.items())
            self.bar.update(self.line, completed=t.progress, step=t.steps_done, losses=text)
            if not self.console.is_terminal and t.steps_done % (10 * t.config.log_steps) == 0:
                self._print(f"step {t.steps_done}  {100 * t.progress:.1f} %  {t.elapsed / 60:.1f} min  {text}")
            if self.writer is not None:
                for name, mean in means.items():
                    self.writer.add_scalar(f"train/{name}", mean, t.steps_done)
                self.writer.add_scalar("train/learning_rate", t._learning_rate(), t.steps_done)
            self.sums, self.count = {}, 0

    def validation(self, result: Validation) -> None:
        text = "  ".join(f"{name} {value:.4f}" for name, value in result.scalars.items())
        self._print(f"validation at step {self.trainer.steps_done}: {text}")
        if self.writer is None:
            return
        step = self.trainer.steps_done
        for name, value in result.scalars.items():
            self.writer.add_scalar(f"validation/{name}", value, step)
        for name, (samples, rate) in result.audio.items():
            self.writer.add_audio(name, samples[None], step, rate)
        for name, mel in result.mels.items():
            low, high = float(mel.min()), float(mel.max())
            self.writer.add_image(name, (mel[None, ::-1] - low) / max(high - low, 1e-6), step)

    def _print(self, text: str) -> None:
        self.console.print(text, highlight=False, soft_wrap=True)

    def close(self) -> None:
        self.bar.stop()
        if self.writer is not None:
            self.writer.close()


def _to(batch: Batch, device: torch.device) -> Batch:
    return {k: v.to(device, non_blocking=True) if isinstance(v, Tensor) else v for k, v in batch.items()}


@contextmanager
def _interrupt_held() -> Iterator[None]:
    """Ctrl-C takes effect when the block ends; a second one at once. Only a main thread is ever interrupted."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    held: list[int] = []

    def hold(number: int, frame: FrameType | None) -> None:
        if held:
            raise KeyboardInterrupt
        held.append(number)

    signal.signal(signal.SIGINT, hold)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if held:
        signal.raise_signal(signal.SIGINT)


def _misfit(path: Path, error: Exception) -> CheckpointError:
    lines = str(error).splitlines()  # torch's first line names the class alone
    reason = lines[min(1, len(lines) - 1)].strip()
    return CheckpointError(f"{path}: does not fit this configuration ({reason})")


def own_device(name: str) -> torch.device:
    """The device of that name; under torchrun "cuda" is the process's own GPU. InputError if it cannot be used."""
    if name == "cuda" and "LOCAL_RANK" in os.environ:
        device = usable_device(f"cuda:{os.environ['LOCAL_RANK']}")
        torch.cuda.set_device(device)
        return device
    return usable_device(name)


def _join_group(device: torch.device) -> None:
    if not torch.distributed.is_initialized():
        backend = "nccl" if device.type == "cuda" else "gloo"
        # The others wait while the first validates, which takes longer than nccl's ten minutes on much material.
        torch.distributed.init_process_group(backend, timeout=timedelta(hours=2))
