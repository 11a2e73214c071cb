"""How fast WaveNet generates: the compiled kernels, checked and then timed, beside a roofline and what torch reaches.

The roofline (Williams, Waterman & Patterson 2009) of a case is the smaller of two rates of samples, measured in turns
with the kernels: reading as many bytes as the weights have once a sample of each thread's streams, and the processor's
multiply-adds in registers.
"""

import dataclasses
import math
import os
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from wavegen import ops
from wavegen.audio.features import FeatureSpec
from wavegen.errors import InputError, KernelsError
from wavegen.evaluation import machine, speed_peers
from wavegen.nn.device import usable_device
from wavegen.ops.wavenet import PRECISIONS, PackedWaveNet, ReferenceWaveNet
from wavegen.vocoders.wavenet import Sampling, WaveNet, WaveNetConfig

__all__ = ["Case", "Roofline", "Row", "SpeedReport", "Spread", "WaveNetConfig", "format_table", "measure", "summary"]

# The root mean square by which a sample's parameters may be off, as a share of their standard deviation.
TOLERANCES = {"fp32": 1e-3, "bf16": 0.1, "int8": 0.25}
WRONG_DRAWS = 0.01  # of a stream's samples may lie where rounding decides
MOST_CHECKED = 1200  # samples
ROUNDS, LEAST_ROUNDS = 7, 3
BYTES = {"fp32": 4, "bf16": 2, "int8": 1}
EAGER, COMPILED = "torch, eager", "torch.compile"
LEAST_SAMPLES = 64  # in one call of the kernels
BLOCK = 512  # bytes that the streaming read takes at a time
LEGEND = """\
samples/s       of all streams together: the median over rounds and, in brackets, the slowest and the quickest;
                with the mel's interpolation and the drawing of samples, without the mel's encoder (at frame rate)
x real time     samples/s over the sample rate: of all streams together
GB/s, GMAC/s    weights and multiply-adds, counted as one pass over all weights for a sample of each thread's streams
of the roofline median rate over the median of what the machine allows, measured in turns with it, and the range over
                rounds; memory or arithmetic is what bounds it. The kernels read the weights of older taps once for
                several samples, so that a share of memory's bound may exceed 1
error           of the worst sample's parameters, root mean square over their spread"""

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Spread:
    """Of several rounds: the median, the smallest and the largest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Roofline:
    """``memory`` and ``arithmetic`` are bounds on samples/s; ``share`` is of the lower, ``bound``."""

    memory: Spread
    arithmetic: Spread
    bound: str
    share: Spread


@dataclass(frozen=True)
class Row:
    """What was timed: ``rate`` in samples/s of all streams together, or None and in ``note`` why there is none.

    ``error`` is the root mean square error of the worst sample's parameters over their standard deviation.
    """

    name: str
    rate: Spread | None = None
    note: str = ""
    error: float | None = None
    bytes_per_second: float | None = None
    macs_per_second: float | None = None
    roofline: Roofline | None = None


@dataclass(frozen=True)
class Case:
    """One setting: rows of the kernels by precision, then of the peers."""

    streams: int
    threads: int
    device: str
    instruction_set: str | None
    kernels: dict[str, Row]
    peers: list[Row]


@dataclass(frozen=True)
class SpeedReport:
    """``checked`` samples of each stream were compared with the reference in float64 before anything was timed."""

    machine: dict[str, object]
    config: WaveNetConfig
    sample_rate: int
    macs: int
    checked: int
    cases: list[Case]

    def to_dict(self) -> dict[str, object]:
        """Plain types for JSON; each rate also as a multiple of real time, of all streams and of each."""
        whole = dataclasses.asdict(self)
        for case in whole["cases"]:
            for row in (*case["kernels"].values(), *case["peers"]):
                if row["rate"] is not None:
                    row["real_time_factor"] = row["rate"]["median"] / self.sample_rate
                    row["real_time_factor_per_stream"] = row["real_time_factor"] / case["streams"]
        return whole


def measure(
    config: WaveNetConfig,
    spec: FeatureSpec | None = None,
    *,
    streams: Sequence[int] = (1, 16),
    threads: int | None = None,
    precisions: Sequence[str] | None = None,
    device: str = "cpu",
    instruction_set: str | None = None,
    seconds: float = 5.0,
    compiled: bool = False,
    nv_wavenet: Path | None = None,
    progress: Progress = lambda done, total, what: None,
) -> SpeedReport:
    """Check, then time a WaveNet of random weights, once for each number of ``streams``.

    ``precisions`` are by default all; ``threads`` 1 for one stream and up to 2 for more. ``seconds`` is about how long
    each case is timed. ``compiled`` adds torch.compile to the peers, which takes a minute or more to compile;
    ``nv_wavenet`` is the path of nv_wavenet_perf, built from NVIDIA's nv-wavenet. InputError for what cannot be
    measured here; KernelsError, and nothing is timed, if the kernels' results are wrong.
    """
    place, precisions = usable_device(device), PRECISIONS if precisions is None else precisions
    _check(streams, threads, precisions, place, instruction_set, seconds, nv_wavenet)
    facts = machine.describe(device)  # with the load before there is our own
    most = min(2, machine.cores())
    with torch.inference_mode(), _instructions(instruction_set):
        bench = _Bench(config, spec or FeatureSpec(), place, precisions)
        cases = []
        for number, count in enumerate(streams):
            progress(number, len(streams), f"{count} streams" if count > 1 else "one stream")
            use = threads or (1 if count == 1 or place.type == "cuda" else most)
            with _torch_threads(use):
                cases.append(bench.case(count, use, seconds, compiled, nv_wavenet))
        progress(len(streams), len(streams), "")
    return SpeedReport(facts, config, bench.model.spec.sample_rate, bench.macs, bench.checked, cases)


def _check(
    streams: Sequence[int],
    threads: int | None,
    precisions: Sequence[str],
    device: torch.device,
    instruction_set: str | None,
    seconds: float,
    nv_wavenet: Path | None,
) -> None:
    if not streams or not 1 <= min(streams) <= max(streams) <= 65536:
        raise InputError(f"streams must be from 1 to 65536, not {', '.join(map(str, streams)) or 'none'}")
    if threads is not None and not 1 <= threads <= machine.cores():
        raise InputError(f"threads must be from 1 to {machine.cores()}, the cores of this machine, not {threads}")
    for name in precisions:
        if name not in PRECISIONS:
            raise InputError(f"precision must be one of {', '.join(PRECISIONS)}, not {name!r}")
    if not precisions:
        raise InputError("no precision is given to measure")
    if not (seconds > 0 and math.isfinite(seconds)):
        raise InputError(f"seconds must be positive, not {seconds:g}")
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"a WaveNet generates on cpu or cuda, not on {device.type}")
    if device.type == "cuda":
        if not machine.cuda_kernels():
            raise KernelsError("wavegen was built without its CUDA kernels; build it anew with CUDA_HOME set")
        if instruction_set is not None:
            raise InputError("an instruction set is one of the CPU; it has no effect on cuda")
    elif nv_wavenet is not None:
        raise InputError("nv-wavenet needs the device cuda")
    if nv_wavenet is not None and not (nv_wavenet.is_file() and os.access(nv_wavenet, os.X_OK)):
        raise InputError(f"{nv_wavenet}: not a program; build nv_wavenet_perf from NVIDIA's nv-wavenet")


@contextmanager
def _instructions(name: str | None) -> Iterator[None]:
    module, before = ops.extension(), ops.instruction_set()
    try:
        module.use_instruction_set(name or before)
    except ValueError:
        offered = ", ".join(machine.instruction_sets())
        raise InputError(f"instruction set must be one of {offered} on this machine, not {name!r}") from None
    try:
        yield
    finally:
        module.use_instruction_set(before)


@contextmanager
def _torch_threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _on_threads(count: int, run: Callable[[int], None]) -> Callable[[int], None]:
    def threaded(amount: int) -> None:
        with _torch_threads(count):
            run(amount)

    return threaded


class _Probe:
    """Something done ``amount`` times a round, each worth ``unit``; ``rates`` says how much a second, by round."""

    def __init__(self, run: Callable[[int], None], least: int = 1, most: int = 1 << 40, unit: float = 1.0) -> None:
        self.run, self.least, self.most, self.unit = run, least, most, unit
        self.amount, self.best, self.portion = least, 0.0, 0.0
        self.rates: list[float] = []

    def calibrate(self, portion: float) -> float:
        """Find the amount that takes so many seconds, and return the rate found on the way."""
        self.portion = portion
        self.run(self.least)  # what happens once only
        while self._once() < portion / 4 and self.amount < self.most:
            self.amount = min(self.most, 4 * self.amount)
        self._adapt()
        return self.best * self.unit

    def round(self) -> None:
        self.rates.append(self.unit * self.amount / self._once())
        self._adapt()

    def _once(self) -> float:
        start = time.perf_counter()
        self.run(self.amount)
        seconds = max(time.perf_counter() - start, 1e-9)
        self.best = max(self.best, self.amount / seconds)
        return seconds

    def _adapt(self) -> None:
        """By the quickest time so far: other programs only ever make it slower."""
        self.amount = max(self.least, min(self.most, round(self.best * self.portion)))


class _Bench:
    """One network of random weights, and what its outputs should be."""

    def __init__(
        self, config: WaveNetConfig, spec: FeatureSpec, device: torch.device, precisions: Sequence[str] = PRECISIONS
    ) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.model = WaveNet(config, spec).eval()
        self.config, self.device, self.hop = config, device, spec.hop
        self.distribution = self.model.distribution
        self.weights = self.model.weights()
        # First of all, as it refuses what is too large.
        self.packed = {name: PackedWaveNet(self.weights, name, device) for name in dict.fromkeys(precisions)}
        self.macs = sum(getattr(self.weights, name).numel() for name in _MATRICES)
        self.random = torch.Generator().manual_seed(0)
        # So many samples that the deepest ring comes round, if it is not too deep.
        deepest = (config.width - 1) * max(config.dilations)
        self.checked = min(deepest + 100, MOST_CHECKED)
        self._expect()

    def _expect(self) -> None:
        """Two streams of noise, and the reference's parameters for them in float64."""
        noise = 1.6 * torch.rand(2, self.checked, generator=self.random) - 0.8
        self.forced = self.distribution.value(noise)
        self.fed = torch.cat([self.distribution.value(torch.zeros(2, 1)), self.forced[:, :-1]], dim=1)
        self.uniforms = self.draws(2, self.checked)
        self.conditioning = self.frames(2, (self.checked - 1) // self.hop + 3)
        reference = ReferenceWaveNet(self.weights, 2, torch.float64)
        upsampled = reference.condition(self.conditioning)
        steps = range(self.checked)
        self.expected = torch.stack([reference.step(self.fed[:, t], upsampled[t], t) for t in steps], dim=1)
        if not torch.isfinite(self.expected).all():
            raise InputError("a network of these sizes and random weights has no finite outputs to measure")

    def frames(self, streams: int, count: int) -> Tensor:
        """Conditioning (streams, count, layers, 2 × gate) of random mels."""
        mel = torch.randn(streams, self.model.spec.bands, count, generator=self.random)
        return self.model.conditioning(mel)

    def draws(self, streams: int, count: int) -> Tensor:
        shape = (streams, count, self.distribution.uniforms)
        return torch.rand(shape, generator=self.random).clamp(2**-24, 1 - 2**-24)

    def error(self, parameters: Tensor) -> float:
        """The root mean square error of the worst sample's parameters (streams, time, O) over their spread.

        The spread is the standard deviation over samples of what is expected; streams are taken by turns.
        """
        turns = torch.arange(len(parameters)) % 2
        spread = (self.expected - self.expected.mean(dim=(0, 1))).square().mean().sqrt()
        worst = (parameters - self.expected[turns, : parameters.shape[1]]).square().mean(dim=2).amax().sqrt()
        return float(worst / spread.clamp(min=1e-12))

    def validate(self, packed: PackedWaveNet, streams: int) -> float:
        """The error of the kernels' parameters. KernelsError if it is too large, or if they draw wrongly.

        The samples come in two calls, as generation goes on from call to call.
        """
        turns = torch.arange(streams) % 2
        forced, uniforms, conditioning = (x[turns] for x in (self.forced, self.uniforms, self.conditioning))
        state, pieces, cut = packed.state(streams), [], self.checked // 3
        for start, stop in ((0, cut), (cut, self.checked)):
            low, high = packed.frames(start, stop - start)
            made = packed.generate(
                state,
                conditioning[:, low + 1 : high + 1].to(self.device),
                uniforms[:, start:stop].to(self.device),
                forced=forced[:, start:stop].to(self.device),
                with_parameters=True,
            )
            pieces.append([x.cpu() for x in made])
        values, parameters = (torch.cat(x, dim=1) for x in zip(*pieces, strict=True))
        name = f"the {packed.precision} kernels ({ops.instruction_set() if self.device.type == 'cpu' else self.device})"
        error, limit = self.error(parameters), TOLERANCES[packed.precision]
        if not error <= limit:  # NaN must not pass
            raise KernelsError(f"{name} are wrong and were not timed: their error is {error:.2g}, {limit:g} is allowed")
        drawn = self.distribution.sample(parameters.transpose(1, 2), uniforms)
        same = (self.distribution.waveform(drawn) - self.distribution.waveform(values)).abs() < 1e-4
        wrong = 1 - float(same.float().mean(dim=1).amin())
        if not wrong <= WRONG_DRAWS:
            raise KernelsError(f"{name} are wrong and were not timed: {100 * wrong:.0f} % of samples are wrongly drawn")
        return error

    def case(
        self,
        streams: int,
        threads: int,
        seconds: float,
        compiled: bool,
        nv_wavenet: Path | None,
    ) -> Case:
        """Everything of one case, timed in turns."""
        on_cpu = self.device.type == "cpu"
        errors = {name: self.validate(network, streams) for name, network in self.packed.items()}
        active = min(threads, streams)  # what the kernels use: a stream stays on one thread
        with ThreadPoolExecutor(active) as pool:
            probes: dict[tuple[str, str], _Probe] = {}
            for name, network in self.packed.items():
                probes["kernels", name] = self._kernels(network, streams)
                if on_cpu:
                    probes["memory", name] = _memory(self.macs * BYTES[name], active, pool)
                    probes["arithmetic", name] = _arithmetic(name, active, pool)
            portion = seconds / ROUNDS / (len(probes) + 1 + compiled)
            peers, notes = self._peers(streams, threads, compiled, portion)
            for probe in probes.values():
                probe.calibrate(portion)
            probes |= peers
            start = time.perf_counter()
            for number in range(ROUNDS):
                # A machine that has become slower meanwhile is not waited for.
                if number >= LEAST_ROUNDS and time.perf_counter() - start > 1.5 * seconds:
                    break
                for probe in probes.values():
                    probe.round()
        rows = {name: self._row(name, errors[name], probes, streams, active) for name in self.packed}
        found = [Row(f"{name}, {precision}", self._rate(p, streams)) for (name, precision), p in peers.items()]
        found += notes + ([] if on_cpu else self._nv_wavenet(nv_wavenet, streams))
        return Case(streams, threads, str(self.device), ops.instruction_set() if on_cpu else None, rows, found)

    def _kernels(self, packed: PackedWaveNet, streams: int) -> _Probe:
        """Samples of each stream, going on from call to call."""
        bytes_a_frame = streams * packed.layers * 2 * packed.gate * 4
        frames = max(4, min(67, (1 << 26) // bytes_a_frame))
        most = (frames - 3) * self.hop
        conditioning = self.frames(streams, frames).to(self.device)
        uniforms = self.draws(streams, most).to(self.device)
        state, time = packed.state(streams), 0

        def run(samples: int) -> None:
            nonlocal time
            low, high = packed.frames(time, samples)
            packed.generate(state, conditioning[:, : high - low], uniforms[:, :samples])
            speed_peers.synchronize(self.device)
            time += samples

        return _Probe(run, min(LEAST_SAMPLES, most), most)

    def _peers(
        self, streams: int, threads: int, compiled: bool, portion: float
    ) -> tuple[dict[tuple[str, str], _Probe], list[Row]]:
        """Those in torch, calibrated, and rows on what does not run; on one thread if that is quicker."""
        given = (self.weights, self.distribution, self.frames(streams, 3), self.draws(streams, self.hop), self.device)
        rates: dict[tuple[str, int], float] = {}
        eager: dict[tuple[str, int], _Probe] = {}
        for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
            for count in dict.fromkeys((1, threads)):
                probe = _Probe(_on_threads(count, speed_peers.EagerLoop(*given, dtype)))
                rates[precision, count] = probe.calibrate(portion)
                eager[precision, count] = probe
        # bf16 is worth a row only if it helps.
        best = max(dict.fromkeys((1, threads)), key=lambda count: rates["fp32", count])
        chosen = dict.fromkeys([("fp32", best), max(rates, key=rates.__getitem__)])
        probes = {(EAGER, precision): eager[precision, count] for precision, count in chosen}
        if not compiled:
            return probes, []
        count = min(64, self.checked)
        turns = torch.arange(streams) % 2
        try:
            with warnings.catch_warnings(action="ignore"), _torch_threads(best):  # they are compiled in
                loop = speed_peers.CompiledLoop(*given)
                parameters = loop.teacher_forced(self.fed[turns, :count], self.conditioning[turns])
                loop(3)
        except Exception as error:  # what compilation needs of a machine, only trying tells
            reason = str(error).strip().splitlines() or [""]
            return probes, [Row(f"{COMPILED}, fp32", note=f"fails here: {type(error).__name__}: {reason[0][:100]}")]
        if not self.error(parameters) <= TOLERANCES["fp32"]:
            return probes, [Row(f"{COMPILED}, fp32", note="not timed: its results are wrong")]
        probe = _Probe(_on_threads(best, loop))
        probe.calibrate(portion)
        return probes | {(COMPILED, "fp32"): probe}, []

    def _nv_wavenet(self, program: Path | None, streams: int) -> list[Row]:
        rows = []
        for bits in (32, 16):
            rate, note = None, ""
            if program is None:
                note = "not given: --nv-wavenet"
            elif not speed_peers.fits_nv_wavenet(self.config):
                note = "does not offer this network"
            else:
                try:
                    rate = Spread.of(speed_peers.nv_wavenet(program, self.config, streams, bits))
                except InputError as error:
                    note = f"fails here: {error}"
            rows.append(Row(f"nv-wavenet, fp{bits}", rate, note))
        return rows

    @staticmethod
    def _rate(probe: _Probe, streams: int) -> Spread:
        return Spread.of([streams * rate for rate in probe.rates])

    def _row(self, name: str, error: float, probes: dict[tuple[str, str], _Probe], streams: int, active: int) -> Row:
        rate = self._rate(probes["kernels", name], streams)
        passes = active * rate.median / streams
        figures = {"bytes_per_second": passes * self.macs * BYTES[name], "macs_per_second": rate.median * self.macs}
        if ("memory", name) not in probes:
            return Row(name, rate, error=error, **figures)
        # Passes of each thread, and multiply-adds of all threads, as samples of all streams.
        memory = [r * streams / active for r in probes["memory", name].rates]
        arithmetic = [r / self.macs for r in probes["arithmetic", name].rates]
        sides = {"memory": memory, "arithmetic": arithmetic}
        bound = min(sides, key=lambda side: statistics.median(sides[side]))
        shares = [streams * r / b for r, b in zip(probes["kernels", name].rates, sides[bound], strict=True)]
        share = Spread(rate.median / statistics.median(sides[bound]), min(shares), max(shares))
        roofline = Roofline(Spread.of(memory), Spread.of(arithmetic), bound, share)
        return Row(name, rate, error=error, roofline=roofline, **figures)


_MATRICES = ("dilated", "residual", "skip", "head1", "head2")


def _memory(count: int, threads: int, pool: ThreadPoolExecutor) -> _Probe:
    """Passes over ``count`` bytes, by all threads over the same ones at once."""
    read, name = ops.extension().stream_bytes, ops.instruction_set()
    size = max(BLOCK, count // BLOCK * BLOCK)
    buffer = torch.zeros(size, dtype=torch.uint8)

    def run(passes: int) -> None:
        list(pool.map(lambda _: read(name, buffer.data_ptr(), size, passes), range(threads)))

    return _Probe(run, unit=threads * size / count)


def _arithmetic(precision: str, threads: int, pool: ThreadPoolExecutor) -> _Probe:
    """Multiply-adds in registers, by all threads at once."""
    work, name, number = ops.extension().multiply_add, ops.instruction_set(), PRECISIONS.index(precision)

    def run(rounds: int) -> None:
        list(pool.map(lambda _: work(name, number, rounds), range(threads)))

    return _Probe(run, unit=threads * work(name, number, 1))


def format_table(report: SpeedReport) -> str:
    """Every case as aligned text, and what its columns mean; no newline at the end."""
    c = report.config
    network = (
        f"{describe(c)}: {c.output}, {c.gate} gate, {c.head} head channels, width {c.width}; "
        f"{report.macs:,} weights; {report.checked} samples checked against torch in float64"
    )
    header = ["", "samples/s", "x real time", "GB/s", "GMAC/s", "of the roofline", "error"]
    parts = [str(report.machine.get("gpu", report.machine["processor"])), network, *_busy(report.machine)]
    for case in report.cases:
        rows = [_cells(f"kernels, {name}", row, report.sample_rate) for name, row in case.kernels.items()]
        rows += [_cells(row.name, row, report.sample_rate) for row in case.peers]
        widths = [max(len(row[i]) for row in (header, *rows) if len(row) > 2) for i in range(len(header))]
        widths[0] = max(len(row[0]) for row in rows)
        setting = [_count(case.streams, "stream"), _count(case.threads, "thread"), case.instruction_set or case.device]
        parts.append("")
        for row in ([", ".join(setting)], header, *rows):
            first, *rest = row if len(row) != 1 else (row[0],)
            if len(row) == len(header):
                rest = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
            parts.append("  ".join([first.ljust(widths[0]), *rest]).rstrip())
    return "\n".join([*parts, "", LEGEND])


def summary(report: SpeedReport) -> str:
    """The first case in one sentence, in the precision that generation has by default if that was measured."""
    case = report.cases[0]
    usual = Sampling().precision
    name = usual if usual in case.kernels else next(iter(case.kernels))
    rate = case.kernels[name].rate
    assert rate is not None
    kilohertz = report.sample_rate / 1000
    streams = "" if case.streams == 1 else f" in {case.streams} streams"
    cores = "one core" if case.threads == 1 else f"{case.threads} cores"
    where = cores if case.instruction_set else str(report.machine["gpu"])
    return (
        f"WaveNet ({describe(report.config)}): {name} {_round(rate.median)} samples/s{streams} on {where}: "
        f"{rate.median / report.sample_rate:.2g} times real time at {kilohertz:g} kHz"
    )


def describe(config: WaveNetConfig) -> str:
    """The sizes that a network is known by."""
    return f"{config.layers} layers, {config.residual} residual and {config.skip} skip channels"


def _busy(facts: dict[str, object]) -> list[str]:
    load, cores = facts["load"], facts["cores"]
    if not (isinstance(load, float) and isinstance(cores, int) and load > cores / 2):
        return []
    return [f"Other programs are running (load {load:.1f} on {_count(cores, 'core')}): what follows is too slow."]


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _round(rate: float) -> str:
    """Three figures of a rate, with commas between thousands."""
    digits = max(0, 3 - len(str(int(rate))))
    return f"{float(f'{rate:.3g}'):,.{digits}f}"


def _cells(name: str, row: Row, sample_rate: int) -> list[str]:
    """A line of the table; of two cells if there is but a note."""
    if row.rate is None:
        return [name, row.note]
    rate = row.rate
    cells = [
        name,
        f"{_round(rate.median)} [{_round(rate.low)}–{_round(rate.high)}]",
        f"{rate.median / sample_rate:.2f}",
        "" if row.bytes_per_second is None else f"{row.bytes_per_second / 1e9:.1f}",
        "" if row.macs_per_second is None else f"{row.macs_per_second / 1e9:.1f}",
    ]
    roof = row.roofline
    share = "" if roof is None else f"{roof.share.median:.2f} [{roof.share.low:.2f}–{roof.share.high:.2f}] {roof.bound}"
    return [*cells, share, "" if row.error is None else f"{row.error:.1e}"]
