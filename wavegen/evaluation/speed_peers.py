"""What WaveNet's kernels are timed against: a loop in torch, the same loop compiled, and NVIDIA's nv-wavenet."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from wavegen.errors import InputError
from wavegen.ops.wavenet import ReferenceWaveNet, WaveNetWeights
from wavegen.vocoders.distributions import Distribution, MuLaw
from wavegen.vocoders.wavenet import WaveNetConfig

NV_SAMPLES = 8192
NV_RUNS = 3  # of the quickest setting
NV_TIMEOUT = 120.0  # seconds


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def draw(distribution: Distribution, parameters: Tensor, uniforms: Tensor) -> Tensor:
    """The next values (streams) from parameters (streams, O) and uniforms (streams, U), as short as torch has it."""
    if isinstance(distribution, MuLaw):
        mass = torch.softmax(parameters.float(), dim=-1).cumsum(dim=-1)
        return torch.searchsorted(mass, uniforms * mass[:, -1:], right=True)[:, 0]
    return distribution.sample(parameters.float()[:, :, None], uniforms[:, None])[:, 0]


class EagerLoop:
    """:class:`ReferenceWaveNet`, a step at a time, each feeding the next. Its conditioning is interpolated beforehand.

    ``conditioning`` (streams, 3, layers, 2 × gate) and ``uniforms`` (streams, hop, U) serve for every frame.
    """

    def __init__(
        self,
        weights: WaveNetWeights,
        distribution: Distribution,
        conditioning: Tensor,
        uniforms: Tensor,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.reference = ReferenceWaveNet(weights, uniforms.shape[0], dtype)
        self.conditioning = self.reference.condition(conditioning).to(device)
        self.distribution, self.device, self.time = distribution, device, 0
        self.uniforms = uniforms.transpose(0, 1).contiguous().to(device)  # (hop, streams, U)
        self.values = distribution.value(torch.zeros(1, uniforms.shape[0]))[0].to(device)
        for name, value in vars(self.reference).items():
            if isinstance(value, Tensor):
                setattr(self.reference, name, value.to(device))
        self.reference.rings = [ring.to(device) for ring in self.reference.rings]

    def __call__(self, steps: int) -> None:
        for _ in range(steps):
            at = self.time % len(self.uniforms)
            parameters = self.reference.step(self.values, self.conditioning[at], self.time)
            self.values = draw(self.distribution, parameters, self.uniforms[at])
            self.time += 1
        synchronize(self.device)


class RingStep(nn.Module):
    """A step of :class:`ReferenceWaveNet` in tensors alone, for torch.compile: the time, too, is one.

    With a number for the time, every step would be compiled anew. What older taps read is known from the beginning, so
    that the rings are read once and written once a step.
    """

    def __init__(self, reference: ReferenceWaveNet, distribution: Distribution) -> None:
        super().__init__()
        self.distribution, self.gate, self.width = distribution, reference.gate, reference.width
        for name, value in vars(reference).items():
            if isinstance(value, Tensor):
                self.register_buffer(name, value)
        dilations, sizes = torch.tensor(reference.dilations), torch.tensor([len(ring) for ring in reference.rings])
        self.register_buffer("ring", torch.cat(reference.rings))
        self.register_buffer("sizes", sizes[:, None])
        self.register_buffer("starts", (sizes.cumsum(0) - sizes)[:, None])
        self.register_buffer("behind", torch.arange(self.width - 1, -1, -1) * dilations[:, None])
        self.register_buffer("time", torch.zeros(1, dtype=torch.int64))

    def restart(self) -> None:
        self.get_buffer("ring").zero_()
        self.get_buffer("time").zero_()

    def forward(self, values: Tensor, uniforms: Tensor, conditioning: Tensor) -> tuple[Tensor, Tensor]:
        """Values before (streams), uniforms (streams, U), conditioning (layers, streams, 2G) → values, parameters."""
        b = dict(self.named_buffers())
        slots = (b["time"] - b["behind"]) % b["sizes"] + b["starts"]  # (layers, width)
        older = b["ring"][slots[:, :-1]]  # (layers, width - 1, streams, R)
        classes = isinstance(self.distribution, MuLaw)
        x = b["input"][values.long()] if classes else values[:, None] * b["input"][0] + b["input"][1]
        total, inputs = b["skip_bias"], []
        for layer in range(len(slots)):
            inputs.append(x)
            taps = torch.cat([*older[layer].unbind(), x], dim=1)
            before = torch.addmm(b["dilated_bias"][layer], taps, b["dilated"][layer].T) + conditioning[layer]
            z = torch.tanh(before[:, : self.gate]) * torch.sigmoid(before[:, self.gate :])
            total = total + z @ b["skip"][layer].T
            if layer + 1 < len(slots):
                x = x + torch.addmm(b["residual_bias"][layer], z, b["residual"][layer].T)
        b["ring"].index_copy_(0, slots[:, -1], torch.stack(inputs))
        b["time"].add_(1)
        hidden = torch.relu(torch.addmm(b["head1_bias"], torch.relu(total), b["head1"].T))
        parameters = torch.addmm(b["head2_bias"], hidden, b["head2"].T)
        return draw(self.distribution, parameters, uniforms), parameters


class CompiledLoop:
    """As :class:`EagerLoop`, in float32, with the step through torch.compile; on a GPU also as a CUDA graph."""

    def __init__(
        self,
        weights: WaveNetWeights,
        distribution: Distribution,
        conditioning: Tensor,
        uniforms: Tensor,
        device: torch.device,
    ) -> None:
        self.reference = ReferenceWaveNet(weights, uniforms.shape[0])
        self.module = RingStep(self.reference, distribution).to(device)
        mode = "reduce-overhead" if device.type == "cuda" else None
        self.step: Callable[..., tuple[Tensor, Tensor]] = torch.compile(self.module, dynamic=False, mode=mode)
        self.conditioning = self.reference.condition(conditioning).to(device)
        self.uniforms = uniforms.transpose(0, 1).contiguous().to(device)
        self.values = _typed(distribution.value(torch.zeros(1, uniforms.shape[0]))[0], distribution).to(device)
        self.distribution, self.device, self.time = distribution, device, 0

    def teacher_forced(self, fed: Tensor, conditioning: Tensor) -> Tensor:
        """Parameters (streams, time, O) for the values before each sample (streams, time); then all begins anew."""
        upsampled, given = self.reference.condition(conditioning).to(self.device), _typed(fed, self.distribution)
        found = []
        for time in range(fed.shape[1]):
            at = time % len(self.uniforms)
            self._begin()
            _, parameters = self.step(given[:, time].to(self.device), self.uniforms[at], upsampled[time])
            found.append(parameters.cpu())
        self.module.restart()
        return torch.stack(found, dim=1)

    def _begin(self) -> None:
        if self.device.type == "cuda":
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]

    def __call__(self, steps: int) -> None:
        for _ in range(steps):
            at = self.time % len(self.uniforms)
            self._begin()
            values, _ = self.step(self.values, self.uniforms[at], self.conditioning[at])
            self.values = values.clone()  # a CUDA graph writes its next result to the same place
            self.time += 1
        synchronize(self.device)


def _typed(values: Tensor, distribution: Distribution) -> Tensor:
    """Values in the type that :func:`draw` gives them, so that the first step is compiled like the others."""
    return values.long() if isinstance(distribution, MuLaw) else values


def fits_nv_wavenet(config: WaveNetConfig) -> bool:
    """Whether nv_wavenet_perf has the network among those that it was compiled for."""
    sizes = (config.residual, config.skip) in ((32, 128), (64, 128), (64, 256))
    whole = config.gate == config.residual and config.head == 256 and config.width == 2
    return sizes and whole and config.output == "mulaw8"


def nv_wavenet(program: Path, config: WaveNetConfig, streams: int, bits: int) -> list[float]:
    """Rates (samples/s of all streams) of nv_wavenet_perf in its quickest setting, weights in ``bits`` (16 or 32).

    Each of its three ways to map the network onto the GPU is tried, with 1, 2 and 4 streams a block. InputError if
    none of them runs.
    """
    # Its conditioning is in memory as float32 for every sample, counted in an int.
    room = (2**31 - 1) // (config.layers * streams * 2 * config.residual * 4)
    samples = min(NV_SAMPLES, room)
    problem = "its buffers do not hold so many streams"
    found: dict[tuple[int, int], float] = {}
    for mode in (1, 2, 3):
        for block in (1, 2, 4):
            if samples < 1 or streams % block:
                continue
            try:
                found[mode, block] = _run_nv_wavenet(program, config, streams, bits, samples, mode, block)
            except InputError as error:
                problem = str(error)
    if not found:
        raise InputError(problem)
    mode, block = max(found, key=lambda key: found[key])
    return [_run_nv_wavenet(program, config, streams, bits, samples, mode, block) for _ in range(NV_RUNS)]


def _run_nv_wavenet(
    program: Path, config: WaveNetConfig, streams: int, bits: int, samples: int, mode: int, block: int
) -> float:
    sizes = {"l": config.layers, "r": config.residual, "s": config.skip, "a": 256, "d": max(config.dilations)}
    sizes |= {"b": streams, "c": block, "n": samples, "m": mode, "p": bits}
    command = [str(program.absolute()), *(word for key, value in sizes.items() for word in (f"-{key}", str(value)))]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=NV_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"{program}: does not run: {error}") from None
    rate = re.search(r"Sample rate:\s*([0-9.eE+-]+)\s*kHz", done.stdout)
    if done.returncode != 0 or rate is None:
        said = (done.stderr.strip() or done.stdout.strip() or f"exit status {done.returncode}").splitlines()[-1]
        raise InputError(f"{program}: {said}")
    if not float(rate[1]) > 0:
        raise InputError(f"{program}: the GPU cannot hold this network in mode {mode}")
    return float(rate[1]) * 1000 * streams
