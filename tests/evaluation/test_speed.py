"""WaveNet's benchmark: what it refuses to time, what its figures stand for, and that its peers do the same work."""

import dataclasses
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from wavegen.audio.features import FeatureSpec
from wavegen.errors import InputError, KernelsError
from wavegen.evaluation import machine, speed, speed_peers
from wavegen.evaluation.speed import Case, Roofline, Row, SpeedReport, Spread, measure
from wavegen.ops import instruction_set
from wavegen.ops.wavenet import PackedWaveNet, ReferenceWaveNet, WaveNetWeights
from wavegen.vocoders.wavenet import WaveNet, WaveNetConfig

SPEC = FeatureSpec(bands=8)
SIZES = {"residual": 5, "gate": 3, "skip": 7, "head": 9, "layers": 3, "cycle": 2, "encoder": 8, "encoder_layers": 0}
TINY = WaveNetConfig(**SIZES)
Generate = Callable[..., tuple[Tensor, Tensor]]


def quick(config: WaveNetConfig = TINY, **options: Any) -> SpeedReport:
    return measure(config, SPEC, **{"streams": (1,), "precisions": ("fp32",), "seconds": 0.02, **options})


def test_figures_belong_together() -> None:
    threads = torch.get_num_threads()
    count = min(2, machine.cores())
    steps: list[tuple[int, int]] = []
    report = measure(
        TINY, SPEC, streams=(1, 5), seconds=0.05, progress=lambda done, total, _: steps.append((done, total))
    )
    assert report.macs == 3 * 6 * 5 * 2 + 2 * 5 * 3 + 7 * 3 * 3 + 9 * 7 + 256 * 9
    assert report.checked == 102  # the longest dilation, and a hundred
    assert report.sample_rate == 24000
    assert [(c.streams, c.threads, c.device) for c in report.cases] == [(1, 1, "cpu"), (5, count, "cpu")]
    assert steps == [(0, 2), (1, 2), (2, 2)]
    for case in report.cases:
        assert case.instruction_set == instruction_set()
        assert list(case.kernels) == ["fp32", "bf16", "int8"]
        for size, row in zip((4, 2, 1), case.kernels.values(), strict=True):
            assert row.rate is not None
            assert row.roofline is not None
            assert row.error is not None
            assert 0 < row.rate.low <= row.rate.median <= row.rate.high
            assert row.macs_per_second == pytest.approx(row.rate.median * report.macs)
            passes = row.rate.median / case.streams * min(case.streams, case.threads)
            assert row.bytes_per_second == pytest.approx(passes * report.macs * size)
            bounds = {"memory": row.roofline.memory.median, "arithmetic": row.roofline.arithmetic.median}
            assert bounds[row.roofline.bound] == min(bounds.values())
            assert row.roofline.share.median == pytest.approx(row.rate.median / min(bounds.values()))
            assert 0 < row.roofline.share.low <= row.roofline.share.high
            assert row.error > 0
        assert case.peers[0].name == "torch, eager, fp32"
        assert case.peers[0].rate is not None
    assert torch.get_num_threads() == threads


def test_dict_is_json_with_real_time_factors() -> None:
    report = quick(streams=(3,), threads=1, precisions=("bf16", "bf16"))
    given = json.loads(json.dumps(report.to_dict()))
    (case,) = given["cases"]
    (row,) = case["kernels"].values()
    assert given["config"] == dataclasses.asdict(TINY)
    assert given["machine"]["instruction_sets"][0] == "portable"
    assert row["real_time_factor"] == pytest.approx(row["rate"]["median"] / 24000)
    assert row["real_time_factor_per_stream"] == pytest.approx(row["rate"]["median"] / 72000)
    assert "real_time_factor" in case["peers"][0]


@pytest.mark.parametrize("output", ["mulaw8", "mulaw10", "gaussian", "logistics"])
@pytest.mark.parametrize("width", [2, 3])
def test_right_kernels_pass(output: str, width: int) -> None:
    config = WaveNetConfig(**SIZES, width=width, output=output, mixtures=2)
    before = instruction_set()
    with torch.inference_mode():
        bench = speed._Bench(config, SPEC, torch.device("cpu"))
        for isa in machine.instruction_sets():
            with speed._instructions(isa):
                assert instruction_set() == isa
                for precision, allowed in speed.TOLERANCES.items():
                    # well inside, so that it is the kernels and not the network's size that decide
                    assert bench.validate(PackedWaveNet(bench.weights, precision), 3) < allowed / 2
    assert instruction_set() == before


def test_the_instruction_set_asked_for_is_timed() -> None:
    before = instruction_set()
    (case,) = quick(instruction_set="portable").cases
    assert case.instruction_set == "portable"
    assert instruction_set() == before


def one_parameter(generate: Generate) -> Generate:
    def wrong(self: PackedWaveNet, state: Tensor, *given: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
        values, parameters = generate(self, state, *given, **options)
        if len(parameters):
            parameters[-1, 17] += 1
        return values, parameters

    return wrong


def not_a_number(generate: Generate) -> Generate:
    def wrong(self: PackedWaveNet, state: Tensor, *given: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
        values, parameters = generate(self, state, *given, **options)
        if len(parameters):
            parameters[0, -1, -1] = torch.nan
        return values, parameters

    return wrong


def forgetful(generate: Generate) -> Generate:
    def wrong(self: PackedWaveNet, state: Tensor, *given: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
        after = state.clone()
        made = generate(self, after, *given, **options)
        state[:64] = after[:64]  # the time goes on, the rings do not
        return made

    return wrong


def other_draws(generate: Generate) -> Generate:
    def wrong(self: PackedWaveNet, state: Tensor, *given: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
        values, parameters = generate(self, state, *given, **options)
        values[:, ::20] = (values[:, ::20] + 1) % 256
        return values, parameters

    return wrong


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
@pytest.mark.parametrize("fault", [one_parameter, not_a_number, forgetful, other_draws])
def test_wrong_results_are_not_timed(
    fault: Callable[[Generate], Generate], precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def timed(probe: object) -> None:
        raise AssertionError("a wrong kernel was timed")

    monkeypatch.setattr(PackedWaveNet, "generate", fault(PackedWaveNet.generate))
    monkeypatch.setattr(speed._Probe, "_once", timed)
    complaint = "wrongly drawn" if fault is other_draws else "allowed"
    pattern = rf"the {precision} kernels \({instruction_set()}\) are wrong and were not timed: .*{complaint}"
    with pytest.raises(KernelsError, match=pattern):
        quick(precisions=(precision,), streams=(2,))


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
@pytest.mark.parametrize("part", ["dilated", "residual", "skip", "dilated_bias"])
def test_wrong_weights_are_noticed(part: str, precision: str) -> None:
    """One layer's weights in another layer's place, at the sizes that are measured by default."""
    with torch.inference_mode():
        bench = speed._Bench(WaveNetConfig(layers=4, cycle=4, residual=16, gate=16, skip=32, head=32), SPEC, CPU)
        with torch.no_grad():
            bench.weights.dilated_bias.normal_()
        bench._expect()
        tensor = getattr(bench.weights, part).clone()
        if part == "skip":
            tensor[:, :16], tensor[:, 16:32] = tensor[:, 16:32].clone(), tensor[:, :16].clone()
        else:
            tensor[:2] = tensor[:2].flip(0)
        wrong = dataclasses.replace(bench.weights, **{part: tensor})
        assert bench.validate(PackedWaveNet(bench.weights, precision), 1) < speed.TOLERANCES[precision]
        with pytest.raises(KernelsError, match="not timed"):
            bench.validate(PackedWaveNet(wrong, precision), 1)


CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"streams": ()}, "streams must be from 1 to 65536, not none"),
        ({"streams": (1, -1)}, "streams must be from 1 to 65536, not 1, -1"),
        ({"threads": 0}, "threads must be from 1 to"),
        ({"threads": 10000}, "the cores of this machine, not 10000"),
        ({"precisions": ("fp64",)}, "precision must be one of fp32, bf16, int8, not 'fp64'"),
        ({"precisions": ()}, "no precision"),
        ({"seconds": 0.0}, "seconds must be positive, not 0"),
        ({"seconds": float("nan")}, "seconds must be positive, not nan"),
        ({"seconds": float("inf")}, "seconds must be positive, not inf"),
        ({"instruction_set": "mmx"}, "instruction set must be one of portable.* not 'mmx'"),
        ({"device": "meta"}, "'meta' cannot be used"),
        ({"device": "nonsense"}, "'nonsense' cannot be used"),
        ({"nv_wavenet": Path("/bin/sh")}, "nv-wavenet needs the device cuda"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        quick(**options)


@pytest.mark.parametrize(
    ("built", "options", "error", "message"),
    [
        (False, {}, KernelsError, "without its CUDA kernels"),
        (True, {"instruction_set": "avx2"}, InputError, "no effect on cuda"),
        (True, {"nv_wavenet": Path("nowhere/nv")}, InputError, "nowhere/nv: not a program"),
    ],
)
def test_bad_options_on_cuda(
    built: bool, options: dict[str, Any], error: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "usable_device", lambda name: torch.device(name))
    monkeypatch.setattr(machine, "cuda_kernels", lambda: built)
    with pytest.raises(error, match=message):
        quick(device="cuda", **options)


def test_compiled_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.compile itself takes too long here; what it is given to compile runs as it is."""
    monkeypatch.setattr(torch, "compile", lambda module, **_: module)
    (case,) = quick(streams=(3,), compiled=True).cases
    row = case.peers[-1]
    assert row.name == "torch.compile, fp32"
    assert row.rate is not None

    def broken(module: object, **_: object) -> None:
        raise RuntimeError("no compiler\nat all")

    monkeypatch.setattr(torch, "compile", broken)
    (case,) = quick(compiled=True).cases
    assert case.peers[-1] == Row("torch.compile, fp32", note="fails here: RuntimeError: no compiler")
    assert "fails here" in speed.format_table(quick(compiled=True))

    def altered(module: Callable[..., tuple[Tensor, Tensor]], **_: object) -> Callable[..., tuple[Tensor, Tensor]]:
        def step(*given: Tensor) -> tuple[Tensor, Tensor]:
            values, parameters = module(*given)
            return values, 1.01 * parameters + 0.01

        return step

    monkeypatch.setattr(torch, "compile", altered)
    (case,) = quick(compiled=True).cases
    assert case.peers[-1] == Row("torch.compile, fp32", note="not timed: its results are wrong")


def given(config: WaveNetConfig, streams: int) -> tuple[WaveNet, WaveNetWeights, Tensor, Tensor]:
    torch.manual_seed(3)
    model = WaveNet(config, SPEC).eval()
    with torch.no_grad():
        model.head2.weight.mul_(10 if config.output == "mulaw8" else 1)  # samples that feed back too strongly go astray
    with torch.inference_mode():
        conditioning = model.conditioning(torch.randn(streams, SPEC.bands, 3))
    uniforms = torch.rand(streams, SPEC.hop, model.distribution.uniforms).clamp(1e-6, 1 - 1e-6)
    return model, model.weights(), conditioning, uniforms


@pytest.mark.parametrize("width", [2, 3])
@pytest.mark.parametrize("output", ["mulaw8", "gaussian", "logistics"])
def test_peers_do_what_the_kernels_do(output: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda module, **_: module)
    config = WaveNetConfig(**{**SIZES, "layers": 5, "cycle": 4}, width=width, output=output, mixtures=2)
    model, weights, conditioning, uniforms = given(config, 2)
    packed = PackedWaveNet(weights)
    with torch.inference_mode():
        expected, _ = packed.generate(packed.state(2), conditioning, uniforms)
        eager = speed_peers.EagerLoop(weights, model.distribution, conditioning, uniforms, CPU)
        compiled = speed_peers.CompiledLoop(weights, model.distribution, conditioning, uniforms, CPU)
        for loop in (eager, compiled):
            made = []
            for _ in range(150):
                loop(1)
                made.append(loop.values)
            # Rounding may turn a draw, and all that follow it: not within this many samples of this network.
            torch.testing.assert_close(torch.stack(made, 1).float(), expected[:, :150], rtol=0, atol=1e-4)
            assert len(expected.unique()) > 50


@pytest.mark.parametrize("width", [2, 3])
def test_compiled_step_is_the_reference(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda module, **_: module)
    config = WaveNetConfig(**{**SIZES, "layers": 7, "cycle": 6}, width=width)
    model, weights, conditioning, uniforms = given(config, 3)
    fed = torch.randint(0, 256, (3, 200)).float()
    reference = ReferenceWaveNet(weights, 3, torch.float64)
    with torch.inference_mode():
        upsampled = reference.condition(conditioning)
        expected = torch.stack([reference.step(fed[:, t], upsampled[t], t) for t in range(200)], dim=1)
        loop = speed_peers.CompiledLoop(weights, model.distribution, conditioning, uniforms, CPU)
        first = loop.teacher_forced(fed, conditioning)
        torch.testing.assert_close(first.double(), expected, rtol=0, atol=1e-5)
        assert torch.equal(loop.teacher_forced(fed, conditioning), first)  # it began anew


def test_draw_is_the_distributions() -> None:
    distribution = speed._Bench(TINY, SPEC, CPU).distribution
    torch.manual_seed(0)
    parameters, uniforms = 3 * torch.randn(500, 256), torch.rand(500, 1).clamp(1e-6, 1 - 1e-6)
    expected = distribution.sample(parameters[:, :, None], uniforms[:, None])[:, 0]
    assert (speed_peers.draw(distribution, parameters, uniforms) == expected).float().mean() >= 0.998


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """Stands in for nv_wavenet_perf, notes its arguments: mode 3, 2 streams a block is quickest; mode 2 fails."""
    path = tmp_path / "nv_wavenet_perf"
    path.write_text(
        "#!/bin/sh\n"
        f'echo "$@" >> {tmp_path}/calls\n'
        'case "$*" in\n'
        '*"-m 2"*) echo "out of registers" >&2; exit 134;;\n'
        '*"-c 2"*"-m 3"*) echo "Sample rate: 12.5 kHz";;\n'
        '*) echo "mode: AUTO"; echo "Sample rate: 2.000000 kHz";;\n'
        "esac\n"
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_nv_wavenet(program: Path) -> None:
    assert speed_peers.nv_wavenet(program, WaveNetConfig(), 4, 16) == [50000.0] * 3  # of four streams
    calls = (program.parent / "calls").read_text().splitlines()
    assert len(calls) == 3 * 3 + 3
    assert calls[-1] == "-l 20 -r 64 -s 256 -a 256 -d 512 -b 4 -c 2 -n 8192 -m 3 -p 16"
    assert sum("-c 4" in call for call in calls) == 3
    speed_peers.nv_wavenet(program, WaveNetConfig(), 512, 32)
    conditioning = 20 * 512 * 2 * 64 * 4
    samples = int((program.parent / "calls").read_text().splitlines()[-1].split("-n ")[1].split()[0])
    assert samples * conditioning < 2**31 <= (samples + 1) * conditioning


def test_nv_wavenet_that_fails(program: Path) -> None:
    program.write_text("#!/bin/sh\necho loading\necho 'no CUDA device' >&2\nexit 1\n")
    with pytest.raises(InputError, match="nv_wavenet_perf: no CUDA device"):
        speed_peers.nv_wavenet(program, WaveNetConfig(), 1, 32)
    program.write_text("#!/bin/sh\necho 'Sample rate: 0.0 kHz'\n")
    with pytest.raises(InputError, match="cannot hold this network"):
        speed_peers.nv_wavenet(program, WaveNetConfig(), 1, 32)
    with pytest.raises(InputError, match="buffers do not hold so many streams"):
        speed_peers.nv_wavenet(program, WaveNetConfig(), 10**9, 32)
    program.write_text("not a program")
    with pytest.raises(InputError, match="does not run"):
        speed_peers.nv_wavenet(program, WaveNetConfig(), 1, 32)


def test_nv_wavenet_rows(program: Path) -> None:
    bench = speed._Bench(TINY, SPEC, CPU)
    assert {row.note for row in bench._nv_wavenet(None, 1)} == {"not given: --nv-wavenet"}
    assert {row.note for row in bench._nv_wavenet(program, 1)} == {"does not offer this network"}
    bench.config = WaveNetConfig()
    rows = bench._nv_wavenet(program, 2)
    assert [row.name for row in rows] == ["nv-wavenet, fp32", "nv-wavenet, fp16"]
    assert [row.rate for row in rows] == [Spread(25000.0, 25000.0, 25000.0)] * 2
    program.write_text("#!/bin/sh\nexit 3\n")
    assert all(row.note.endswith("exit status 3") for row in bench._nv_wavenet(program, 2))


@pytest.mark.parametrize(
    ("change", "fits"),
    [
        ({}, True),
        ({"skip": 128}, True),
        ({"residual": 32, "gate": 32, "skip": 128}, True),
        ({"residual": 32, "gate": 32}, False),
        ({"gate": 32}, False),
        ({"head": 128}, False),
        ({"width": 3}, False),
        ({"output": "mulaw10"}, False),
    ],
)
def test_what_nv_wavenet_offers(change: dict[str, Any], fits: bool) -> None:
    assert speed_peers.fits_nv_wavenet(WaveNetConfig(**change)) is fits


def shown(streams: int = 1, threads: int = 1, load: float = 0.3) -> SpeedReport:
    kernels = {
        "int8": Row("int8", Spread(99.0, 98.0, 100.0), error=0.03, bytes_per_second=1e9, macs_per_second=1e9),
        "bf16": Row(
            "bf16",
            Spread(66012.0, 61000.0, 67000.0),
            error=0.0101,
            bytes_per_second=112.4e9,
            macs_per_second=57e9,
            roofline=Roofline(Spread(60000, 59000, 61000), Spread(9e5, 8e5, 1e6), "memory", Spread(1.1, 1.05, 1.15)),
        ),
    }
    peers = [
        Row("torch, eager, fp32", Spread(1608.0, 1500.0, 1700.0)),
        Row("torch.compile, fp32", note="fails here: x"),
    ]
    case = Case(streams, threads, "cpu", "avx512_bf16", kernels, peers)
    facts = {"processor": "Abacus 9", "cores": 2, "load": load}
    return SpeedReport(facts, WaveNetConfig(), 24000, 864256, 612, [case])


def test_summary() -> None:
    assert speed.summary(shown()) == (
        "WaveNet (20 layers, 64 residual and 256 skip channels): bf16 66,000 samples/s on one core: "
        "2.8 times real time at 24 kHz"
    )
    assert "bf16 66,000 samples/s in 16 streams on 2 cores: 2.8 times" in speed.summary(shown(16, 2))


def test_table() -> None:
    lines = speed.format_table(shown(16, 2)).splitlines()
    assert lines[0] == "Abacus 9"
    assert "864,256 weights; 612 samples checked against torch in float64" in lines[1]
    start = lines.index("16 streams, 2 threads, avx512_bf16")
    header, _, bf16, eager, failed = lines[start + 1 : start + 6]
    assert " ".join(bf16.split()) == (
        "kernels, bf16 66,000 [61,000–67,000] 2.75 112.4 57.0 1.10 [1.05–1.15] memory 1.0e-02"
    )
    assert eager.split() == ["torch,", "eager,", "fp32", "1,610", "[1,500–1,700]", "0.07"]
    assert failed == "torch.compile, fp32  fails here: x"
    for column in ("samples/s", "GMAC/s", "error"):  # right-aligned
        end = header.index(column) + len(column)
        assert bf16[end - 1] != " "
        assert bf16[end : end + 2] in ("", "  ")
    assert "share of memory's bound may exceed 1" in lines[-2] + lines[-3] + lines[-4]
    assert not any("Other programs" in line for line in lines)
    assert "Other programs are running (load 1.4 on 2 cores)" in speed.format_table(shown(load=1.4))


def test_machine() -> None:
    assert machine.cores() >= 1
    assert machine.processor()
    offered = machine.instruction_sets()
    assert offered[0] == "portable"
    assert instruction_set() in offered
    assert machine.describe()["torch"] == torch.__version__
    assert f"{instruction_set()} in use; offered: {', '.join(offered)}; CUDA kernels: " in machine.compiled_ops()
