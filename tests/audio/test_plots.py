import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from wavegen.audio.io import Audio
from wavegen.audio.pitch import Pitch
from wavegen.audio.plots import mel_figure, pitch_figure, require_sheet, sheet, waveform_figure
from wavegen.errors import InputError, MissingDependencyError

pytest.importorskip("matplotlib", reason="the extra `plot` is not installed")
pytest.importorskip("librosa", reason="the extra `evaluate` or `train` is not installed")

RATE = 16000


def tone(seconds: float = 1.0, hertz: float = 220.0, channels: int = 1, rate: int = RATE) -> Audio:
    phase = 2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate
    return Audio(np.stack([0.5 * np.sin(phase) / (k + 1) for k in range(channels)]), rate)


@pytest.mark.parametrize(("name", "start"), [("a.png", b"\x89PNG"), ("b.svg", b"<?xml"), ("c.PDF", b"%PDF")])
def test_a_sheet_in_each_format(tmp_path: Path, name: str, start: bytes) -> None:
    sheet(tone(), tmp_path / name, title="über $x$")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    data = (tmp_path / name).read_bytes()
    assert data.startswith(start)
    assert len(data) > 5000


def test_a_sheet_names_its_axes(tmp_path: Path) -> None:
    sheet(tone(), tmp_path / "a.svg", title="the title")
    text = (tmp_path / "a.svg").read_text()
    for label in ("amplitude", "frequency (Hz)", "f0 (Hz)", "periodicity", "time (s)", "the title", "dB"):
        assert f"<!-- {label} -->" in text


def test_a_sheet_shows_the_sound(tmp_path: Path) -> None:
    """The picture of a tone is bright at its frequency and dark elsewhere; another sound gives another picture."""
    from matplotlib.image import imread

    pictures = []
    for hertz in (500, 6000):
        sheet(tone(hertz=hertz), tmp_path / "a.png")
        pixels = imread(tmp_path / "a.png")[:, :, :3].sum(axis=2)
        pictures.append(pixels)
    height, width = pictures[0].shape
    inside = (slice(round(0.27 * height), round(0.66 * height)), slice(width // 4, width // 2))
    low, high = (int(np.argmax(picture[inside].sum(axis=1))) for picture in pictures)
    rows = inside[0].stop - inside[0].start
    # 0 to 8000 Hz fill these rows, from the lower edge up
    assert low - high == pytest.approx(rows * 5500 / 8000, rel=0.1)


@pytest.mark.parametrize(
    ("samples", "channels", "rate"),
    [(1, 1, 24000), (300, 2, 24000), (5000, 7, 8000), (40_000, 1, 192_000), (90, 1, 200)],
)
@pytest.mark.parametrize("value", [0.0, 0.2])
def test_a_sheet_of_anything(tmp_path: Path, samples: int, channels: int, rate: int, value: float) -> None:
    sheet(Audio(np.full((channels, samples), value), rate), tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("name", "message"),
    [("a.jpg", r"a\.jpg: a picture ends in \.png, \.svg, \.pdf"), ("a", "picture"), ("no/a.png", "there is no folder")],
)
def test_bad_paths(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        sheet(tone(0.1), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_sheet_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    def fail(self: Figure, path: Path, **_: object) -> None:
        path.write_bytes(b"half")
        raise RuntimeError("no ink")

    (tmp_path / "a.png").write_bytes(b"precious")
    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(RuntimeError, match="no ink"):
        sheet(tone(0.1), tmp_path / "a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == b"precious"


def test_nothing_to_draw(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no samples"):
        waveform_figure(Audio(np.zeros((1, 0), np.float32), RATE))
    with pytest.raises(InputError, match="no samples"):
        sheet(Audio(np.zeros((1, 0), np.float32), RATE), tmp_path / "a.png")
    with pytest.raises(InputError, match="100 Hz is too low"):
        sheet(Audio(np.zeros((1, 500), np.float32), 100), tmp_path / "a.png")


@pytest.mark.parametrize("seconds", [0.01, 0.2, 5.0])
def test_the_waveform_in_seconds_and_full_height(seconds: float) -> None:
    figure = waveform_figure(tone(seconds, channels=2))
    assert len(figure.axes) == 2
    for index, axes in enumerate(figure.axes):
        assert axes.get_xlim() == pytest.approx((0, seconds))
        artists = [line.get_ydata() for line in axes.lines[:1]] if seconds < 0.25 else []
        artists += [path.vertices[:, 1] for filled in axes.collections for path in filled.get_paths()]
        peak = max(float(np.max(np.abs(values))) for values in artists)
        assert peak == pytest.approx(0.5 / (index + 1), rel=0.05)
    assert figure.axes[-1].get_xlabel() == "time (s)"


def test_an_envelope_loses_no_click() -> None:
    samples = np.zeros(100_001, np.float32)
    samples[77_777] = -0.9
    axes = waveform_figure(Audio(samples, RATE)).axes[0]
    vertices = axes.collections[0].get_paths()[0].vertices
    assert vertices[:, 1].min() == pytest.approx(-0.9)
    assert vertices[np.argmin(vertices[:, 1]), 0] == pytest.approx(77_777 / RATE, abs=50 / RATE)


def test_the_mel_in_seconds_and_hertz() -> None:
    mel = np.arange(12.0).reshape(4, 3)
    figure = mel_figure(mel, 24000, 8000, band_hz=np.array([100.0, 200.0, 400.0, 800.0]))
    axes = figure.axes[0]
    image = axes.images[0]
    np.testing.assert_array_equal(image.get_array(), mel)
    assert tuple(image.get_extent()) == (0, 1.0, -0.5, 3.5)
    assert image.origin == "lower"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["100", "200", "400", "800"]
    assert mel_figure(mel, 24000, 256).axes[0].get_ylabel() == "mel band"


@pytest.mark.parametrize(
    ("mel", "hop", "band_hz"),
    [
        (np.zeros(3), 256, None),
        (np.zeros((3, 0)), 256, None),
        (np.full((3, 3), np.nan), 256, None),
        (np.zeros((3, 3)), 0, None),
        (np.zeros((3, 3)), 256, np.zeros(4)),
    ],
)
def test_bad_mels(mel: np.ndarray, hop: int, band_hz: np.ndarray | None) -> None:
    with pytest.raises(InputError, match=r"mel|hop|band_hz"):
        mel_figure(mel, 24000, hop, band_hz=band_hz)


def test_the_pitch_has_gaps_where_unvoiced() -> None:
    f0 = np.array([0, 100, 110, 0, 600], np.float32)
    figure = pitch_figure(Pitch(f0, f0 > 0, np.full(5, 0.5, np.float32)), 1000, 100)
    axes = figure.axes[0]
    seconds, drawn = axes.lines[0].get_data()
    np.testing.assert_allclose(seconds, [0.05, 0.15, 0.25, 0.35, 0.45])
    np.testing.assert_array_equal(np.isnan(drawn), f0 == 0)
    assert axes.get_ylim()[1] >= 600
    empty = np.zeros(0, np.float32)
    pitch_figure(Pitch(empty, empty > 0, empty), 1000, 100)


def test_matplotlib_is_left_as_it_was(tmp_path: Path) -> None:
    code = f"""
import sys
import numpy as np
import wavegen.audio.plots as plots
assert "matplotlib" not in sys.modules
import matplotlib
before = dict(matplotlib.rcParams.copy())
from wavegen.audio.io import Audio
plots.waveform_figure(Audio(np.zeros(100, np.float32), 8000)).savefig({str(tmp_path / "a.png")!r})
assert "matplotlib.pyplot" not in sys.modules
assert dict(matplotlib.rcParams.copy()) == before
"""
    subprocess.run([sys.executable, "-c", code], timeout=60, check=True)


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match=r"matplotlib.*wavegen\[plot\]"):
        waveform_figure(tone(0.1))


def test_a_sheet_that_cannot_be_is_foretold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_sheet(tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []
    for name in ("a.txt", "missing/a.png"):
        with pytest.raises(InputError, match=name):
            require_sheet(tmp_path / name)
    monkeypatch.setitem(sys.modules, "librosa", None)
    with pytest.raises(MissingDependencyError, match=r"wavegen\[plot\]"):
        require_sheet(tmp_path / "a.png")
