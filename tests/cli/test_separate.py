"""``wavegen separate``: what it writes, says, skips and refuses, and its exit status."""

import io as bytes_io
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from wavegen.audio import io
from wavegen.audio.io import Audio
from wavegen.checkpoints import save
from wavegen.cli.main import main
from wavegen.cli.separate import _signals_held
from wavegen.separation.band_split import BandSplitLSTM, BandSplitLSTMConfig
from wavegen.separation.base import SeparatorSpec

STEMS = ("vocals", "drums", "other")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(3)
    config = BandSplitLSTMConfig(
        channels=8, hidden=8, layers=1, bands=4, narrowest=2, head=8, n_fft=128, hop=32, context=0.05
    )
    path = tmp_path_factory.mktemp("separator") / "tiny.safetensors"
    save(path, BandSplitLSTM(config, SeparatorSpec(8000, 2, STEMS)))
    return str(path)


def song(path: Path, *, seconds: float = 1.0, rate: int = 8000, channels: int = 1, subtype: str = "PCM_16") -> Path:
    random = np.random.default_rng(len(path.name))
    path.parent.mkdir(parents=True, exist_ok=True)
    io.write(path, Audio(random.normal(0, 0.1, (channels, round(rate * seconds))), rate), subtype=subtype)
    return path


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_one_file(model: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = song(tmp_path / "a song.flac", rate=44100, channels=2)
    assert main(["separate", str(source), "-o", str(tmp_path / "out"), "--model", model]) == 0
    assert files(tmp_path / "out") == [f"a song/{name}.flac" for name in sorted(STEMS)]
    mix, _ = soundfile.read(source, dtype="int16")
    total = sum(soundfile.read(tmp_path / "out" / "a song" / f"{s}.flac", dtype="int16")[0].astype(int) for s in STEMS)
    assert np.array_equal(total, mix)
    shown = capfd.readouterr()
    assert shown.out == ""
    assert "a song.flac: 3 stems of 1.00 s in " in shown.err
    assert "x real time" in shown.err


def test_a_folder_keeps_its_structure_and_is_resumed(
    model: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("x/Ünïcode ♫.wav", "y/Ünïcode ♫.wav", "z.wav"):
        song(tmp_path / "in" / name)
    command = ["separate", str(tmp_path / "in"), "-o", str(tmp_path / "in" / "out"), "--model", model, "--jobs", "2"]
    assert main(command) == 0
    expected = sorted(f"{f}/{stem}.wav" for f in ("x/Ünïcode ♫", "y/Ünïcode ♫", "z") for stem in STEMS)
    assert files(tmp_path / "in" / "out") == expected
    assert "3 files: 3 separated, 0 failed" in capfd.readouterr().err
    before = (tmp_path / "in" / "out" / "z" / "drums.wav").stat().st_mtime_ns
    (tmp_path / "in" / "out" / "x" / "Ünïcode ♫" / "drums.wav").unlink()
    assert main(command) == 0
    assert files(tmp_path / "in" / "out") == expected
    assert "3 files: 1 separated, 2 done before (--overwrite does them again), 0 failed" in capfd.readouterr().err
    assert (tmp_path / "in" / "out" / "z" / "drums.wav").stat().st_mtime_ns == before
    assert main([*command, "--overwrite"]) == 0
    assert (tmp_path / "in" / "out" / "z" / "drums.wav").stat().st_mtime_ns > before


def test_failures_are_told_one_by_one(model: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    good = [song(tmp_path / "a.wav"), song(tmp_path / "d.wav", seconds=1 / 8000)]
    bad = tmp_path / "b.wav"
    bad.write_bytes(b"RIFF nonsense")
    late = tmp_path / "c.flac"
    song(late, seconds=20.0)
    late.write_bytes(late.read_bytes()[: late.stat().st_size // 2])
    nothing = tmp_path / "nothing" / "*.wav"
    arguments = [str(p) for p in (good[0], bad, late, tmp_path / "absent.wav", nothing, good[1])]
    for quiet in ([], ["--quiet"]):
        command = ["separate", *arguments, "-o", str(tmp_path / "out"), "--model", model, "--overwrite", *quiet]
        assert main(command) == 1
        shown = capfd.readouterr().err.splitlines()
        errors = [line for line in shown if line.startswith("error: ")]
        assert len(errors) == 4
        for path in (bad, late, tmp_path / "absent.wav", nothing):
            assert sum(str(path) in line for line in errors) == 1
        assert (shown[-1].startswith("6 files: 2 separated, 4 failed")) != bool(quiet)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a", "d"]


def test_a_single_failure_is_status_1(model: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["separate", str(tmp_path / "no.wav"), "-o", str(tmp_path / "out"), "--model", model]) == 1
    assert capfd.readouterr().err == f"error: {tmp_path}/no.wav: No such file or directory\n"
    assert list(tmp_path.iterdir()) == []


def test_a_fault_in_one_file_stops_no_other(
    model: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.wav", "b.wav"):
        song(tmp_path / name)
    original = BandSplitLSTM.estimate_within
    calls = []

    def fails_once(self: BandSplitLSTM, mix: torch.Tensor, start: int, stop: int) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 1:
            raise ZeroDivisionError("oh")
        return original(self, mix, start, stop)

    monkeypatch.setattr(BandSplitLSTM, "estimate_within", fails_once)
    arguments = [str(tmp_path / "a.wav"), str(tmp_path / "b.wav"), "-o", str(tmp_path / "out"), "--model", model]
    assert main(["separate", *arguments]) == 1
    assert f"error: {tmp_path}/a.wav: ZeroDivisionError: oh (a fault in wavegen; " in capfd.readouterr().err
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["b"]


def test_dry_run(model: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    song(tmp_path / "in" / "a.wav", seconds=1.5)
    (tmp_path / "in" / "b.wav").write_bytes(b"x")
    command = ["separate", str(tmp_path / "in"), "-o", "out", "--model", model, "--dry-run", "--stems", "drums,vocals"]
    assert main(command) == 1
    shown = capfd.readouterr()
    assert shown.out == f"{tmp_path}/in/a.wav (1.50 s) -> out/a/drums.wav, out/a/vocals.wav\n"
    assert shown.err.count("error: ") == 1
    assert not Path("out").exists()


def test_dry_run_tells_what_a_format_cannot_hold(model: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    song(tmp_path / "in" / "a.wav", seconds=0.5)
    song(tmp_path / "in" / "b.wav", channels=3, seconds=0.5)
    command = ["separate", str(tmp_path / "in"), "-o", "out", "--model", model, "--dry-run", "--format", "mp3"]
    assert main(command) == 1
    shown = capfd.readouterr()
    assert shown.out.startswith(f"{tmp_path}/in/a.wav (0.50 s) -> out/a/")
    assert shown.out.count("\n") == 1
    assert shown.err == f"error: {tmp_path}/in/b.wav: results: MP3 holds 1 to 2 channels, not 3\n"


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["--stems", "vocals"], ["vocals"]),
        (["--stems", "vocals,other"], ["other", "vocals"]),
        (["--stems", "vocals", "--stems", "other"], ["other", "vocals"]),
        (["--two-stems", "drums"], ["drums", "no_drums"]),
        (["--stems", "vocals", "--residual"], ["residual", "vocals"]),
    ],
)
def test_which_stems(options: list[str], names: list[str], model: str, tmp_path: Path) -> None:
    source = song(tmp_path / "a.wav")
    assert main(["separate", str(source), "-o", str(tmp_path / "out"), "--model", model, *options]) == 0
    assert files(tmp_path / "out") == [f"a/{name}.wav" for name in names]


@pytest.mark.parametrize(
    ("options", "format_", "subtype"),
    [
        ([], "WAV", "PCM_24"),
        (["--format", "flac"], "FLAC", "PCM_24"),
        (["--format", "FLAC", "--bit-depth", "16"], "FLAC", "PCM_16"),
        (["--float32"], "WAV", "FLOAT"),
        (["--bit-depth", "float", "--format", "wav", "--normalize", "rescale"], "WAV", "FLOAT"),
        (["--format", "ogg"], "OGG", "VORBIS"),
    ],
)
def test_formats(options: list[str], format_: str, subtype: str, model: str, tmp_path: Path) -> None:
    source = song(tmp_path / "a.wav", subtype="PCM_24")
    assert main(["separate", str(source), "-o", str(tmp_path / "out"), "--model", model, *options]) == 0
    for path in (tmp_path / "out" / "a").iterdir():
        about = soundfile.info(path)
        assert (about.format, about.subtype, about.samplerate) == (format_, subtype, 8000)
        assert path.suffix[1:].upper() == format_


def test_a_part_a_template_and_a_plot(model: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    source = song(tmp_path / "a.wav", seconds=2.0)
    template = ["--filename-template", "{name} ({stem}, {model}).{ext}"]
    part = ["--start", "0.5", "--duration", "1", "--plot", "--overlap", "0.5", "--segment", "0.5", "--shifts", "1"]
    assert main(["separate", str(source), "-o", str(tmp_path / "out"), "--model", model, *template, *part]) == 0
    names = [f"a ({stem}, tiny).{'png' if stem == 'spectrograms' else 'wav'}" for stem in (*STEMS, "spectrograms")]
    assert files(tmp_path / "out") == sorted(names)
    assert io.info(tmp_path / "out" / names[0]).duration == 1.0
    arguments = ["--model", model, "--plot", "--filename-template", "{stem}/{name}.{ext}"]
    assert main(["separate", str(source), "-o", str(tmp_path / "folders"), *arguments]) == 0
    made = [f"{stem}/a.wav" for stem in STEMS]
    assert files(tmp_path / "folders") == sorted([*made, "spectrograms/a.png"])


def test_standard_streams(model: str, tmp_path: Path) -> None:
    source = song(tmp_path / "a.wav", channels=2)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "wavegen", "separate", "-", "--model", model]
    done = subprocess.run(
        [*command, "-o", "-", "--stems", "drums"],
        input=source.read_bytes(),
        capture_output=True,
        env=environment,
        check=True,
    )
    piped, rate = soundfile.read(bytes_io.BytesIO(done.stdout), dtype="int16")
    assert main(["separate", str(source), "-o", str(tmp_path / "out"), "--model", model]) == 0
    assert rate == 8000
    assert np.abs(piped - soundfile.read(tmp_path / "out" / "a" / "drums.wav", dtype="int16")[0]).max() <= 1
    subprocess.run(
        [*command, "-o", str(tmp_path / "in")], input=source.read_bytes(), check=True, env=environment, cwd=tmp_path
    )
    assert files(tmp_path / "in") == [f"stdin/{name}.wav" for name in sorted(STEMS)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--stems", "piano"], "the model has no source 'piano'; it has vocals, drums, other"),
        (["--stems", ","], "--stems: names no source"),
        (["--two-stems", "x"], "no source 'x'"),
        (["--two-stems", "drums", "--stems", "drums"], "exclude each other"),
        (["--shifts", "33"], "shifts: must be a number from 0 to 32"),
        (["--overlap", "1"], "overlap: must be a number from 0 to 0.9"),
        (["--segment", "0"], "segment"),
        (["--format", "aac"], "--format: must be one of wav, flac"),
        (["--format", "flac", "--float32"], "FLAC has no subtype"),
        (["--bit-depth", "16", "--float32"], "exclude each other"),
        (["--bit-depth", "8"], "--bit-depth"),
        (["--normalize", "loud"], "normalize must be one of none, rescale, clamp"),
        (["--jobs", "0"], "--jobs: must be from 1 to 64"),
        (["--start", "-1"], "start must be 0 s or later"),
        (["--duration", "0"], "duration must be above 0 s"),
        (["--filename-template", "{title}"], "the fields are"),
        (["--filename-template", "all"], "two stems of"),
        (["--filename-template", "{stem:>9}"], "the fields are"),
        (["--filename-template", "{stem[a]}"], "the fields are"),
        (["--model", ""], "names no model"),
        ([""], "an empty name"),
        (["--seed", "-1"], "seed"),
        (["--device", "abacus"], "device 'abacus' cannot be used"),
        (["--model", "no-such-model"], "no model named"),
        (["-o", "-"], "takes one stem of one file"),
        (["-o", "-", "--stems", "drums", "--plot"], "need a folder"),
    ],
)
def test_options_that_make_no_sense(
    options: list[str], message: str, model: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = song(tmp_path / "a.wav")
    command = ["separate", str(source), "-o", str(tmp_path / "out"), "--model", model, *options]
    assert main(command) == 2
    shown = capfd.readouterr()
    assert message in shown.err
    assert shown.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_input_is_no_output(model: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    song(tmp_path / "in" / "a.wav")
    assert main(["separate", str(tmp_path / "in"), "-o", str(tmp_path / "in"), "--model", model]) == 2
    assert "is the input too" in capfd.readouterr().err


def test_output_that_cannot_be_written(model: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = song(tmp_path / "a.wav")
    (tmp_path / "file").write_text("")
    assert main(["separate", str(source), "-o", str(tmp_path / "file"), "--model", model]) == 2
    shown = capfd.readouterr().err
    assert shown == f"error: {tmp_path}/file: is not a folder\n"
    assert (tmp_path / "file").read_text() == ""
    assert main(["separate", str(source), "-o", "", "--model", model]) == 2
    assert "an empty name stands for no file or folder" in capfd.readouterr().err


def test_no_input_is_overwritten_even_one_that_fails(
    model: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    song(tmp_path / "a.wav", seconds=2.0)
    short = song(tmp_path / "drums.wav").read_bytes()
    arguments = ["separate", str(tmp_path / "a.wav"), str(tmp_path / "drums.wav"), "-o", str(tmp_path)]
    assert main([*arguments, "--model", model, "--filename-template", "{stem}.{ext}", "--start", "1.5"]) == 2
    assert "drums.wav: would be overwritten by a result" in capfd.readouterr().err
    assert (tmp_path / "drums.wav").read_bytes() == short


def test_a_link_is_followed(model: str, tmp_path: Path) -> None:
    source = song(tmp_path / "a.wav")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "drums.wav").symlink_to(tmp_path / "elsewhere" / "x.wav")
    arguments = ["separate", str(source), "-o", str(tmp_path), "--model", model, "--stems", "drums"]
    assert main([*arguments, "--filename-template", "{stem}.{ext}"]) == 0
    assert (tmp_path / "drums.wav").is_symlink()
    assert io.info(tmp_path / "elsewhere" / "x.wav").frames == 8000


@pytest.mark.parametrize("form", ["wav", "flac", "mp3", "ogg", "opus"])
def test_every_format_is_resumed(form: str, model: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = song(tmp_path / "a.wav")
    command = ["separate", str(source), "-o", str(tmp_path / "out"), "--model", model, "--format", form]
    assert main(command) == 0
    capfd.readouterr()
    assert main(command) == 0
    assert "1 file: 0 separated, 1 done before" in capfd.readouterr().err


def test_a_model_of_another_kind(vocoder: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = song(tmp_path / "a.wav")
    assert main(["separate", str(source), "-o", str(tmp_path / "out"), "--model", vocoder]) == 2
    assert "what is needed here is a separator" in capfd.readouterr().err


def test_what_a_format_cannot_hold_is_told_before_anything_is_made(
    model: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    io.write(tmp_path / "a.wav", Audio(np.full((1, 4000), 0.1), 44100))
    out = tmp_path / "out"
    assert main(["separate", str(tmp_path / "a.wav"), "-o", str(out), "--model", model, "--format", "opus"]) == 1
    shown = capfd.readouterr().err.splitlines()
    assert shown[0].startswith(f"error: {tmp_path}/a.wav: results: OPUS cannot hold a sample rate of 44100 Hz")
    assert not out.exists()


def test_clipping_is_told(model: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(0)
    io.write(tmp_path / "a.wav", Audio(random.normal(0, 3, (1, 8000)), 8000), subtype="FLOAT")
    arguments = ["separate", str(tmp_path / "a.wav"), "-o", str(tmp_path / "out"), "--model", model]
    assert main([*arguments, "--bit-depth", "16"]) == 0
    assert (
        "samples beyond full scale were clipped; WAV with --float32, or --normalize rescale, keeps them"
        in capfd.readouterr().err
    )
    assert main([*arguments, "--overwrite", "--bit-depth", "16", "--normalize", "rescale"]) == 0
    shown = capfd.readouterr().err
    assert "turned down to 0." in shown
    assert "clipped" not in shown
    assert main([*arguments, "--overwrite", "--normalize", "clamp"]) == 0
    assert "samples beyond full scale were clipped, as --normalize clamp has it\n" in capfd.readouterr().err


def has_samples(path: Path) -> bool:
    """Whether there is more than a header; the file that tries whether a place can be written is soon gone again."""
    try:
        return path.stat().st_size > 44
    except FileNotFoundError:
        return False


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
@pytest.mark.parametrize(
    ("number", "jobs", "status", "message"),
    [
        (signal.SIGINT, "1", 130, b"error: interrupted\n"),
        (signal.SIGINT, "2", 130, b"error: interrupted\n"),
        (signal.SIGTERM, "2", 143, b""),
    ],
)
def test_signals_leave_whole_files_alone(
    number: int, jobs: str, status: int, message: bytes, model: str, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        song(tmp_path / "in" / f"{name}.wav", seconds=600.0)
    command = ["separate", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--model", model, "--jobs", jobs]
    with subprocess.Popen(
        [sys.executable, "-m", "wavegen", *command], stderr=subprocess.PIPE, env=os.environ | {"OMP_NUM_THREADS": "1"}
    ) as program:
        assert program.stderr is not None
        while program.poll() is None and not any(map(has_samples, tmp_path.glob("out/*/.*.wav"))):
            time.sleep(0.01)
        program.send_signal(number)
        assert program.stderr.read() == message
    assert program.returncode == status
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals and FIFOs")
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_signals_end_the_wait_for_a_pipe(jobs: str, model: str, tmp_path: Path) -> None:
    """After a file that is done, with nobody who writes into the pipe; what comes on the way out is not told."""
    song(tmp_path / "a.wav")
    os.mkfifo(tmp_path / "pipe")
    files = [str(tmp_path / name) for name in ("a.wav", "pipe")]
    command = ["separate", *files, "-o", str(tmp_path / "out"), "--model", model, "--jobs", jobs]
    with subprocess.Popen([sys.executable, "-m", "wavegen", *command], stderr=subprocess.PIPE) as program:
        assert program.stderr is not None
        while program.poll() is None and not list(tmp_path.glob("out/a/[!.]*.wav")):
            time.sleep(0.01)
        program.send_signal(signal.SIGINT)
        told = [program.stderr.readline().decode(), program.stderr.readline().decode()]
        program.send_signal(signal.SIGTERM)
        told.append(program.stderr.read().decode())
    assert "x real time" in told[0]
    assert told[1:] == ["error: interrupted\n", ""]
    assert program.returncode == 130
    assert not (tmp_path / "out" / "pipe").exists()


def test_a_pipe_is_separated_as_a_file_is(model: str, tmp_path: Path) -> None:
    source = song(tmp_path / "a.wav")
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(source.read_bytes()))
    writer.start()
    files = [str(source), str(tmp_path / "pipe")]
    assert main(["separate", *files, "-o", str(tmp_path / "out"), "--model", model]) == 0
    writer.join()
    for stem in (tmp_path / "out" / "a").iterdir():
        assert (tmp_path / "out" / "pipe" / stem.name).read_bytes() == stem.read_bytes()


def test_a_start_beyond_the_end(model: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = song(tmp_path / "a.wav")
    for start in ("5000", "1e308"):
        assert main(["separate", str(source), "-o", str(tmp_path / "out"), "--model", model, "--start", start]) == 1
        assert "is not before the end" in capfd.readouterr().err


def test_what_is_done_is_of_the_part_and_format_asked_for(model: str, tmp_path: Path) -> None:
    source = song(tmp_path / "a.wav", seconds=2.0)
    arguments = ["separate", str(source), "-o", str(tmp_path / "out"), "--model", model]
    stem = tmp_path / "out" / "a" / "vocals.wav"
    seen = set()
    for options in (["--duration", "1"], ["--start", "1", "--duration", "1"], [], ["--float32"]):
        assert main([*arguments, *options]) == 0
        seen.add(stem.read_bytes())
    assert len(seen) == 4
    changed = stem.stat().st_mtime_ns
    assert main([*arguments, "--float32"]) == 0
    assert stem.stat().st_mtime_ns == changed


def test_ctrl_c_in_a_destructor_is_neither_lost_nor_told_twice(
    model: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dropped:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    original = BandSplitLSTM.estimate_within

    def estimate_within(self: BandSplitLSTM, mix: torch.Tensor, start: int, stop: int) -> torch.Tensor:
        Dropped()
        return original(self, mix, start, stop)

    monkeypatch.setattr(BandSplitLSTM, "estimate_within", estimate_within)
    before = signal.getsignal(signal.SIGINT)
    source = song(tmp_path / "a.wav")
    assert main(["separate", str(source), "-o", str(tmp_path / "out"), "--model", model]) == 130
    assert capfd.readouterr().err == "error: interrupted\n"
    assert not (tmp_path / "out").exists()
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_while_standard_input_is_awaited(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Waits:
        def read(self, _: int = -1) -> bytes:
            for _ in range(2):  # the first must do
                signal.raise_signal(signal.SIGINT)
                passed.append(True)
            return b""

    passed: list[bool] = []
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=Waits()))
    assert main(["separate", "-", "-o", str(tmp_path / "out"), "--model", model]) == 130
    assert not passed


def test_a_second_ctrl_c_does_not_wait_and_a_third_is_ignored() -> None:
    layers = torch.nn.Sequential(torch.nn.Identity())
    before = signal.getsignal(signal.SIGINT)
    held = ExitStack()
    check = held.enter_context(_signals_held(layers))  # type: ignore[arg-type]
    check()
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGINT)
    for safe in (check, lambda: layers(torch.ones(1)), held.close):
        with pytest.raises(KeyboardInterrupt):
            safe()
    assert signal.getsignal(signal.SIGINT) is before
    assert layers(torch.ones(1)) == 1
