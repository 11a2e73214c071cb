import base64
import errno
import io
import itertools
import os
import re
import stat
import struct
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

import wavegen.audio.io as wavegen_io
from wavegen.audio.io import (
    Audio,
    AudioInfo,
    ClippingWarning,
    TruncatedWarning,
    Writer,
    atomic,
    blocks,
    format_of,
    info,
    matching_subtype,
    read,
    write,
)
from wavegen.errors import InputError

Samples = NDArray[np.float32]
BITS = {"PCM_16": 16, "PCM_24": 24, "PCM_32": 32}


def speech_like(channels: int, samples: int, rate: int, seed: int = 0) -> Samples:
    """Harmonics of a gliding pitch under 3.5 kHz with an envelope, different in each channel, peak 0.6."""
    generator = np.random.default_rng(seed)
    seconds = np.arange(samples) / rate
    result = np.empty((channels, samples))
    for channel in range(channels):
        pitch = (110 + 23 * channel) * 2 ** (0.3 * np.sin(2 * np.pi * 1.7 * seconds))
        phase = 2 * np.pi * np.cumsum(pitch) / rate
        harmonics = sum(np.cos(k * phase + generator.uniform(0, 6)) / k for k in range(1, 12))
        result[channel] = harmonics * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * seconds))
    return (0.6 * result / np.abs(result).max()).astype(np.float32)


def best_correlation(reference: Samples, decoded: Samples, most_lag: int = 1500) -> tuple[float, int]:
    """The highest correlation of two signals (n,) over lags, and its lag."""
    size = 1 << (2 * max(reference.size, decoded.size)).bit_length()
    cross = np.fft.irfft(np.fft.rfft(decoded, size) * np.conj(np.fft.rfft(reference, size)), size)
    lags = np.arange(-most_lag, most_lag + 1)
    lag = int(lags[np.argmax(cross[lags])])
    a = reference[max(0, -lag) :]
    b = decoded[max(0, lag) :]
    length = min(a.size, b.size)
    return float(np.corrcoef(a[:length], b[:length])[0, 1]), lag


def run(code: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-c", code], input=stdin, capture_output=True, timeout=60, check=False)


# ------------------------------------------------------------------------------------------------------------ Audio


@given(
    hnp.arrays(
        dtype=st.sampled_from([np.float16, np.float32, np.float64]),
        shape=hnp.array_shapes(min_dims=1, max_dims=2, min_side=1, max_side=40),
        elements=st.floats(-1, 1, width=16),
    ),
    st.integers(1, 400_000),
)
def test_audio_holds_float32_channels_by_samples(values: NDArray[np.floating], rate: int) -> None:
    audio = Audio(values, rate)
    assert audio.samples.dtype == np.float32
    assert audio.samples.ndim == 2
    assert audio.samples.flags.c_contiguous
    assert audio.channels * audio.samples.shape[1] == values.size
    assert audio.duration == audio.samples.shape[1] / rate
    np.testing.assert_array_equal(audio.samples, np.atleast_2d(values).astype(np.float32))
    assert audio.mono().samples.shape == (1, audio.samples.shape[1])
    np.testing.assert_allclose(audio.mono().samples[0], audio.samples.mean(axis=0), atol=1e-6)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros((1, 2, 3), np.float32), "shape"),
        (np.float32(0), "shape"),
        (np.zeros(4, np.int16), "int16"),
        (np.zeros(4, complex), "complex"),
        (np.zeros((0, 4), np.float32), "0 channels"),
        (np.zeros((4000, 2), np.float32), "4000 channels"),
        ([[0.0, 1.0], [0.0]], "list cannot be made an array"),
        (np.array([0.0, 1.0, np.nan, np.inf]), "2 of the samples NaN or infinite, the first at sample 2 of channel 0"),
        (np.array([[0.0, 0.0], [1e300, 0.0]]), "1 of the samples NaN or infinite, the first at sample 0 of channel 1"),
    ],
)
def test_audio_refuses_what_is_no_audio(samples: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Audio(samples, 24000)  # type: ignore[arg-type]


@pytest.mark.parametrize("rate", [0, -1, 1.5, True, "24000", None, float("nan"), 2**31, 1e30])
def test_audio_refuses_a_bad_rate(rate: object) -> None:
    with pytest.raises(InputError, match="sample_rate"):
        Audio(np.zeros(4, np.float32), rate)  # type: ignore[arg-type]


def test_audio_takes_numpy_integers_and_whole_floats_as_rates() -> None:
    for rate in (np.int64(8000), 8000.0):
        audio = Audio(np.zeros(4, np.float32), rate)  # type: ignore[arg-type]
        assert audio.sample_rate == 8000
        assert type(audio.sample_rate) is int


def test_player_holds_the_sound_as_wav() -> None:
    audio = Audio(speech_like(2, 500, 24000), 24000)
    html = audio._repr_html_()
    match = re.fullmatch(r'<audio controls src="data:audio/wav;base64,([A-Za-z0-9+/=]+)"></audio>', html)
    assert match is not None
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(match.group(1))), always_2d=True)
    assert rate == 24000
    assert np.abs(samples.T - audio.samples).max() <= 0.5 / 32768


def test_audio_resamples_and_saves(tmp_path: Path) -> None:
    audio = Audio(speech_like(1, 2400, 24000), 24000).resample(48000)
    assert audio.samples.shape == (1, 4800)
    audio.save(tmp_path / "a.flac", subtype="PCM_24")
    again = read(tmp_path / "a.flac")
    assert again.sample_rate == 48000
    assert np.abs(again.samples - audio.samples).max() <= 0.5 / 2**23


# ------------------------------------------------------------------------------------------------------ round trips


@pytest.mark.parametrize("rate", [8000, 24000, 44100, 192000])
@pytest.mark.parametrize("channels", [1, 2, 7])
@pytest.mark.parametrize(
    ("extension", "subtype"),
    [
        (".wav", "PCM_16"),
        (".wav", "PCM_24"),
        (".wav", "PCM_32"),
        (".wav", "FLOAT"),
        (".flac", "PCM_16"),
        (".flac", "PCM_24"),
    ],
)
def test_lossless_is_exact_to_the_quantiser(
    tmp_path: Path, extension: str, subtype: str, channels: int, rate: int
) -> None:
    samples = speech_like(channels, 1237, rate)
    samples[0, :2] = (-1, 0.5)
    path = tmp_path / f"a{extension}"
    write(path, Audio(samples, rate), subtype=subtype)
    facts = info(path)
    assert (facts.sample_rate, facts.channels, facts.frames) == (rate, channels, 1237)
    assert (facts.format, facts.subtype) == (extension[1:].upper(), subtype)
    assert facts.duration == pytest.approx(1237 / rate)
    assert facts.path == str(path)
    decoded = read(path).samples
    assert decoded.shape == samples.shape
    bits = BITS.get(subtype)
    # 24 significant bits of float32 hold a 32-bit sample to 2^-25 of full scale
    bound = 0.0 if bits is None else max(0.5 / 2 ** (bits - 1), 2.0**-25)
    assert np.abs(decoded - samples).max() <= bound
    if bits == 16:
        np.testing.assert_array_equal(decoded, np.rint(samples.astype(float) * 32768) / 32768)


@pytest.mark.parametrize(
    ("extension", "channels", "rate", "least"),
    [
        (".mp3", 1, 8000, 0.98),
        (".mp3", 2, 24000, 0.99),
        (".mp3", 2, 44100, 0.99),
        (".ogg", 1, 8000, 0.97),
        (".ogg", 2, 24000, 0.99),
        (".ogg", 7, 44100, 0.99),
        (".ogg", 1, 192000, 0.98),
        (".oga", 1, 24000, 0.99),
        (".opus", 1, 8000, 0.95),
        (".opus", 2, 24000, 0.97),
        (".opus", 7, 48000, 0.97),
    ],
)
def test_lossy_keeps_length_and_waveform(
    tmp_path: Path, extension: str, channels: int, rate: int, least: float
) -> None:
    samples = speech_like(channels, rate // 2 + 13, rate)
    path = tmp_path / f"a{extension}"
    write(path, Audio(samples, rate))
    facts = info(path)
    decoded = read(path)
    assert (facts.sample_rate, facts.channels, facts.frames) == (rate, channels, samples.shape[1])
    assert decoded.samples.shape == samples.shape
    full_band = 6 if (extension, channels) == (".opus", 7) else channels  # the seventh is 6.1's low-frequency channel
    for original, copy in list(zip(samples, decoded.samples, strict=True))[:full_band]:
        correlation, lag = best_correlation(original, copy)
        assert correlation > least
        assert abs(lag) <= 2
        assert np.sqrt(np.mean(copy**2)) == pytest.approx(np.sqrt(np.mean(original**2)), rel=0.1)


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(np.int16, st.tuples(st.integers(1, 5), st.integers(1, 50)), elements=st.integers(-32768, 32767)),
    st.sampled_from(["a.wav", "a.flac"]),
)
def test_every_16_bit_value_survives(integers: NDArray[np.int16], name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, name)
        write(path, Audio((integers / 32768).astype(np.float32), 16000))
        back = read(path).samples
        np.testing.assert_array_equal((back * 32768).astype(np.int16), integers)


@pytest.mark.parametrize("count", [1, 2, 3, 100])
@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3", "a.ogg", "a.opus"])
def test_a_few_samples_keep_their_number(tmp_path: Path, name: str, count: int) -> None:
    write(tmp_path / name, Audio(np.full(count, 0.25, np.float32), 24000))
    assert read(tmp_path / name).samples.shape == (1, count)


@pytest.mark.parametrize("name", ["a.flac", "a.ogg", "a.opus", "a.mp3"])
def test_more_than_one_encoder_block(tmp_path: Path, name: str) -> None:
    samples = np.tile(speech_like(1, 24000, 24000), (1, 7))[:, :-11]
    write(tmp_path / name, Audio(samples, 24000))
    back = read(tmp_path / name).samples
    assert back.shape == samples.shape
    assert best_correlation(samples[0, -24000:], back[0, -24000:])[0] > 0.97


def test_wav_is_laid_out_as_the_format_says(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", Audio(np.array([[0.5, -1.0, 0.0]], np.float32), 8000), subtype="PCM_24")
    data = (tmp_path / "a.wav").read_bytes()
    fields = struct.unpack("<4sI4s4sIHHIIHH4sI", data[:44])
    assert fields == (b"RIFF", 36 + 10, b"WAVE", b"fmt ", 16, 1, 1, 8000, 24000, 3, 24, b"data", 9)
    assert data[44:] == bytes([0, 0, 0x40, 0, 0, 0x80, 0, 0, 0, 0])  # the last byte makes the chunk even


def test_same_samples_give_the_same_wav_bytes(tmp_path: Path) -> None:
    audio = Audio(speech_like(2, 1000, 24000), 24000)
    for subtype in ("PCM_16", "FLOAT"):
        write(tmp_path / "a.wav", audio, subtype=subtype)
        write(tmp_path / "b.wav", audio, subtype=subtype)
        assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


def test_a_wav_beyond_its_format_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wavegen_io, "_UNKNOWN_SIZE", 5000)
    with pytest.raises(InputError, match=r"a\.wav: a WAV file ends at 4 GiB"):
        write(tmp_path / "a.wav", Audio(np.zeros(3000, np.float32), 8000))
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------------ clipping and NaN


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
def test_integers_clip_without_wrapping(tmp_path: Path, name: str, subtype: str) -> None:
    with pytest.warns(ClippingWarning, match=rf"{name}: 4 samples beyond \[-1, 1\] were clipped"):
        write(tmp_path / name, Audio(np.array([1.5, -3, 1.0001, 1e30, 1, -1, 0]), 8000), subtype=subtype)
    top = 1 - 1 / 2 ** (BITS[subtype] - 1)
    np.testing.assert_allclose(read(tmp_path / name).samples[0], [top, -1, top, top, top, -1, 0], atol=1e-7)


def test_lossy_clips_too(tmp_path: Path) -> None:
    with pytest.warns(ClippingWarning, match="clipped"):
        write(tmp_path / "a.ogg", Audio(3 * speech_like(1, 12000, 24000), 24000))
    assert np.abs(read(tmp_path / "a.ogg").samples).max() < 1.3


def test_float_and_full_scale_do_not_clip(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write(tmp_path / "a.wav", Audio(np.array([2.5, -7.0]), 8000), subtype="FLOAT")
        write(tmp_path / "b.wav", Audio(np.array([1.0, -1.0]), 8000))
    np.testing.assert_array_equal(read(tmp_path / "a.wav").samples, [[2.5, -7.0]])


def test_nan_in_a_file_is_counted_and_located(tmp_path: Path) -> None:
    samples = np.zeros((70000, 2), np.float32)
    samples[66000, 1] = np.nan
    samples[66001, 0] = -np.inf
    soundfile.write(tmp_path / "a.wav", samples, 8000, subtype="FLOAT")
    with pytest.raises(InputError, match=r"a\.wav: 2 of the samples .* first at sample 66000 of channel 1"):
        read(tmp_path / "a.wav")
    with pytest.raises(InputError, match="sample 66000 of channel 1"):
        read(tmp_path / "a.wav", start=8.0)
    assert read(tmp_path / "a.wav", duration=8.0).samples.shape == (2, 64000)
    with pytest.raises(InputError, match="sample 66000 of channel 1"):
        list(blocks(tmp_path / "a.wav", 1000))


def test_nan_is_not_written(tmp_path: Path) -> None:
    def attempt() -> None:
        with Writer(tmp_path / "a.wav", 8000, 1) as writer:
            writer.write(np.zeros(10, np.float32))
            writer.write(np.array([0, np.nan], np.float32))

    with pytest.raises(InputError, match=r"a\.wav: 1 of the samples NaN"):
        attempt()
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------------- parts and blocks


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Samples]]:
    """One stereo file of each format, with all its decoded samples."""
    folder = tmp_path_factory.mktemp("encoded")
    audio = Audio(speech_like(2, 150_001, 24000), 24000)
    result = {}
    for extension in ("wav", "flac", "mp3", "ogg", "opus"):
        write(folder / f"a.{extension}", audio)
        result[extension] = (folder / f"a.{extension}", read(folder / f"a.{extension}").samples)
    return result


@pytest.mark.parametrize("extension", ["wav", "flac", "mp3", "ogg", "opus"])
@pytest.mark.parametrize(("size", "overlap"), [(150_001, 0), (200_000, 5), (4096, 0), (65_537, 1000), (9973, 9000)])
def test_blocks_are_the_whole(
    encoded: dict[str, tuple[Path, Samples]], extension: str, size: int, overlap: int
) -> None:
    path, whole = encoded[extension]
    parts = list(blocks(path, size, overlap=overlap))
    assert all(part.shape == (2, size) for part in parts[:-1])
    assert overlap < parts[-1].shape[1] <= size
    for before, after in itertools.pairwise(parts):
        np.testing.assert_array_equal(before[:, before.shape[1] - overlap :], after[:, :overlap])
    joined = np.concatenate([parts[0], *(part[:, overlap:] for part in parts[1:])], axis=1)
    np.testing.assert_array_equal(joined, whole)


def test_blocks_of_a_file_shorter_than_the_overlap(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", Audio(np.array([0.5, 0.25]), 8000))
    assert [part.tolist() for part in blocks(tmp_path / "a.wav", 10, overlap=8)] == [[[0.5, 0.25]]]
    assert [part.tolist() for part in blocks(tmp_path / "a.wav", 1)] == [[[0.5]], [[0.25]]]


def test_a_block_belongs_to_the_caller(encoded: dict[str, tuple[Path, Samples]]) -> None:
    path, whole = encoded["wav"]
    position = 0
    for block in blocks(path, 1000, overlap=10):
        np.testing.assert_array_equal(block, whole[:, position : position + block.shape[1]])
        position += 990
        block[:] = 9


@pytest.mark.parametrize(("size", "overlap"), [(0, 0), (-4, 0), (10, 10), (10, -1)])
def test_bad_block_sizes(tmp_path: Path, size: int, overlap: int) -> None:
    with pytest.raises(InputError, match=r"block_samples|overlap"):
        blocks(tmp_path / "a.wav", size, overlap=overlap)


def test_an_abandoned_block_iterator_closes_its_file(encoded: dict[str, tuple[Path, Samples]]) -> None:
    iterator = blocks(encoded["wav"][0], 10)
    next(iterator)
    descriptors = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 1
    iterator.close()  # type: ignore[attr-defined]
    if os.path.isdir("/proc/self/fd"):
        assert len(os.listdir("/proc/self/fd")) == descriptors - 1


@pytest.mark.parametrize("extension", ["wav", "flac", "mp3", "ogg", "opus"])
@pytest.mark.parametrize(("start", "duration"), [(0, None), (1.5, 2), (0.00011, 0.01), (6.25, 100), (3.3, 1e-9)])
def test_a_part_is_cut_from_the_whole(
    encoded: dict[str, tuple[Path, Samples]], extension: str, start: float, duration: float | None
) -> None:
    path, whole = encoded[extension]
    first = round(start * 24000)
    last = whole.shape[1] if duration is None else first + max(1, round(duration * 24000))
    part = read(path, start=start, duration=duration).samples
    expected = whole[:, first:last]
    assert part.shape == expected.shape
    np.testing.assert_allclose(part, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("start", "duration", "message"),
    [
        (-1, None, "start"),
        (float("nan"), None, "start"),
        (float("inf"), None, "start"),
        (7, None, r"a\.wav: start 7 s is not before the end, 6\.25004 s"),
        (0, 0, "duration"),
        (0, -2, "duration"),
        (0, float("nan"), "duration"),
    ],
)
def test_bad_parts(
    encoded: dict[str, tuple[Path, Samples]], start: float, duration: float | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read(encoded["wav"][0], start=start, duration=duration)


def test_an_endless_duration_is_the_rest(encoded: dict[str, tuple[Path, Samples]]) -> None:
    assert read(encoded["wav"][0], duration=float("inf")).samples.shape == (2, 150_001)


def test_binary_streams_are_read_and_left_open(encoded: dict[str, tuple[Path, Samples]]) -> None:
    for path, whole in encoded.values():
        stream = io.BytesIO(path.read_bytes())
        assert info(stream).frames == whole.shape[1]
        np.testing.assert_array_equal(read(stream).samples, whole)
        assert not stream.closed


# -------------------------------------------------------------------------------------------------------- bad input


def one_line(error: pytest.ExceptionInfo[InputError], *parts: str) -> None:
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


@pytest.mark.parametrize("use", [read, info, lambda path: list(blocks(path, 10))])
def test_unreadable_paths(tmp_path: Path, use: object) -> None:
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("not audio at all\n" * 100)
    (tmp_path / "noise.mp3").write_bytes(np.random.default_rng(0).bytes(20000))
    (tmp_path / "samples.raw").write_bytes(bytes(1000))
    (tmp_path / "song.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(1000))
    for name, reason in {
        "missing.wav": "No such file",
        "": "directory",
        "empty.wav": "empty",
        "text.wav": "not an audio file",
        "noise.mp3": "not an audio file",
        "song.m4a": ".m4a files are not read; convert it",
        "samples.raw": "not an audio file",
        "no\0name.wav": "null",
    }.items():
        path = os.path.join(tmp_path, name)
        with pytest.raises(InputError) as caught:
            use(path)  # type: ignore[operator]
        one_line(caught, path, reason)


@pytest.mark.parametrize("extension", ["wav", "flac", "mp3", "ogg", "opus"])
@pytest.mark.parametrize("size", [1, 20, 40])
def test_truncated_headers(tmp_path: Path, encoded: dict[str, tuple[Path, Samples]], extension: str, size: int) -> None:
    path = tmp_path / f"cut.{extension}"
    path.write_bytes(encoded[extension][0].read_bytes()[:size])
    with pytest.raises(InputError) as caught:
        read(path)
    one_line(caught, str(path))


def test_a_truncated_wav_gives_what_is_there(tmp_path: Path, encoded: dict[str, tuple[Path, Samples]]) -> None:
    path, whole = encoded["wav"]
    (tmp_path / "cut.wav").write_bytes(path.read_bytes()[: 44 + 4 * 1000 + 3])
    with pytest.warns(
        TruncatedWarning, match=rf"cut\.wav: the file was cut short: 4047 bytes of {path.stat().st_size} "
    ):
        np.testing.assert_array_equal(read(tmp_path / "cut.wav").samples, whole[:, :1000])


@pytest.mark.parametrize("size", [0, 0x7FFFF024, 0xFFFFFFFF])
def test_a_wav_that_leaves_its_length_open_is_not_cut_short(
    tmp_path: Path, encoded: dict[str, tuple[Path, Samples]], size: int
) -> None:
    data = bytearray(encoded["wav"][0].read_bytes())
    data[4:8] = size.to_bytes(4, "little")
    (tmp_path / "open.wav").write_bytes(data)
    np.testing.assert_array_equal(read(tmp_path / "open.wav").samples, encoded["wav"][1])


@pytest.mark.parametrize("extension", ["ogg", "opus"])
@pytest.mark.parametrize("part", [0.5, 0.99])
def test_a_truncated_ogg_gives_what_is_there(
    tmp_path: Path, encoded: dict[str, tuple[Path, Samples]], extension: str, part: float
) -> None:
    path, whole = encoded[extension]
    data = path.read_bytes()
    (tmp_path / f"cut.{extension}").write_bytes(data[: int(part * len(data))])
    with pytest.warns(TruncatedWarning, match=r"cut\.\w+: the file was cut short: its last page is not there"):
        got = read(tmp_path / f"cut.{extension}").samples
    assert 0 < got.shape[1] < whole.shape[1]


def test_an_ogg_that_ends_in_an_empty_page_or_in_junk_is_whole(
    tmp_path: Path, encoded: dict[str, tuple[Path, Samples]]
) -> None:
    data = bytearray(encoded["ogg"][0].read_bytes())
    for junk in (100, 70_000):
        (tmp_path / "junk.ogg").write_bytes(data + bytes(junk))
        read(tmp_path / "junk.ogg")  # warnings are errors
    last = data.rfind(b"OggS")
    assert data[last + 5] == 4  # the flag of the last page
    page = data[last : last + 27]
    page[18:22] = (int.from_bytes(page[18:22], "little") + 1).to_bytes(4, "little")  # its number
    page[26] = 0
    data[last + 5] = 0
    parts = [data[last:], page]
    del data[last:]
    for part in parts:  # with their checksums: RFC 3533, section 6
        part[22:26] = bytes(4)
        crc = 0
        for byte in part:
            crc ^= byte << 24
            for _ in range(8):
                crc = (crc << 1) ^ (0x104C11DB7 if crc & 0x80000000 else 0)
        part[22:26] = crc.to_bytes(4, "little")
        data += part
    (tmp_path / "empty.ogg").write_bytes(data)
    assert read(tmp_path / "empty.ogg").samples.shape == encoded["ogg"][1].shape


def test_a_cut_file_is_told_once(tmp_path: Path, encoded: dict[str, tuple[Path, Samples]]) -> None:
    (tmp_path / "cut.wav").write_bytes(encoded["wav"][0].read_bytes()[:5000])
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default")
        info(tmp_path / "cut.wav")
        read(tmp_path / "cut.wav")
        list(blocks(tmp_path / "cut.wav", 500))
    assert len(told) == 1


@pytest.mark.parametrize("extension", ["flac", "mp3"])
def test_a_truncated_compressed_file_is_refused(
    tmp_path: Path, encoded: dict[str, tuple[Path, Samples]], extension: str
) -> None:
    data = encoded[extension][0].read_bytes()
    path = tmp_path / f"cut.{extension}"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError) as caught:
        read(path)
    one_line(caught, str(path), "of 6.250 s")


@pytest.mark.parametrize("extension", ["flac", "mp3", "ogg", "opus"])
def test_damage_in_the_middle_is_refused(
    tmp_path: Path, encoded: dict[str, tuple[Path, Samples]], extension: str
) -> None:
    data = bytearray(encoded[extension][0].read_bytes())
    middle = len(data) // 2
    data[middle : middle + 9000] = np.random.default_rng(1).bytes(9000)
    path = tmp_path / f"damaged.{extension}"
    path.write_bytes(data)
    for use in (read, lambda path: list(blocks(path, 5000))):
        with pytest.raises(InputError) as caught:
            use(path)
        one_line(caught, str(path), "of 6.250 s")


def test_no_samples_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "none.wav"
    soundfile.write(path, np.zeros((0, 1)), 8000)
    with pytest.raises(InputError) as caught:
        read(path)
    one_line(caught, f"{path}: no audio samples")
    with pytest.raises(InputError, match="no audio samples"):
        next(blocks(path, 10))


def mpeg_frame_bytes(header: bytes) -> int:
    """The length of an MPEG-2 layer III frame at 24 kHz."""
    kilobits = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)[header[2] >> 4]
    return 72 * kilobits * 1000 // 24000 + (header[2] >> 1 & 1)


@pytest.mark.parametrize(
    ("mode", "quiet", "readable"),
    [("CONSTANT", slice(0, 120_000), True), ("VARIABLE", slice(0, 1), False), ("VARIABLE", slice(9000, -1), False)],
)
def test_an_mp3_without_a_length_header_is_read_whole_or_refused(
    tmp_path: Path, mode: str, quiet: slice, readable: bool
) -> None:
    """libsndfile guesses its length from the first frame: too long or, unnoticed but for our check, too short."""
    samples = speech_like(1, 240_000, 24000)[0]
    samples[quiet] *= 1e-4
    soundfile.write(tmp_path / "a.mp3", samples, 24000, bitrate_mode=mode, compression_level=0.3)
    data = (tmp_path / "a.mp3").read_bytes()
    (tmp_path / "b.mp3").write_bytes(data[mpeg_frame_bytes(data) :])
    (tmp_path / "c.mp3").write_bytes(data[mpeg_frame_bytes(data) :] + b"TAG" + bytes(125))
    for name in ("b.mp3", "c.mp3"):
        if readable:
            assert 240_000 <= read(tmp_path / name).samples.shape[1] <= 240_000 + 6 * 576
        else:
            with pytest.raises(InputError, match=rf"{name}: (an MP3 whose length|the audio ends)"):
                read(tmp_path / name)
    (tmp_path / "d.mp3").write_bytes(data + b"APETAGEX" + bytes(9000))
    assert read(tmp_path / "d.mp3").samples.shape[1] == 240_000


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000])
def test_a_wav_of_open_length_is_read_to_its_end(
    tmp_path: Path, encoded: dict[str, tuple[Path, Samples]], size: int
) -> None:
    path, whole = encoded["wav"]
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = struct.pack("<I", size)
    (tmp_path / "open.wav").write_bytes(data)
    np.testing.assert_array_equal(read(tmp_path / "open.wav").samples, whole)


def test_a_flac_of_open_length_is_counted(tmp_path: Path, encoded: dict[str, tuple[Path, Samples]]) -> None:
    path, whole = encoded["flac"]
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0  # STREAMINFO's 36 bits of total samples: 0 is "unknown"
    data[22:26] = bytes(4)
    (tmp_path / "open.flac").write_bytes(data)
    assert info(tmp_path / "open.flac").frames == whole.shape[1]
    np.testing.assert_array_equal(read(tmp_path / "open.flac").samples, whole)


def test_a_lying_flac_header_does_not_exhaust_memory(tmp_path: Path, encoded: dict[str, tuple[Path, Samples]]) -> None:
    data = bytearray(encoded["flac"][0].read_bytes())
    data[21] |= 0x0F
    (tmp_path / "long.flac").write_bytes(data)
    with pytest.raises(InputError, match=r"long\.flac"):
        read(tmp_path / "long.flac")


def test_a_failing_disk_is_reported(encoded: dict[str, tuple[Path, Samples]]) -> None:
    class Failing(io.BytesIO):
        name = "disk.wav"

        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > 100_000:
                raise OSError(errno.EIO, "Input/output error")
            return super().read(size)

    with pytest.raises(InputError, match=r"disk\.wav: Input/output error"):
        read(Failing(encoded["wav"][0].read_bytes()))


# ---------------------------------------------------------------------------------------------- formats and options


@pytest.mark.parametrize(
    ("name", "rate", "channels", "options", "message"),
    [
        ("a.xyz", 8000, 1, {}, r"a\.xyz: no audio format for extension '\.xyz'; the known ones are \.wav, \.flac, "),
        ("a", 8000, 1, {}, "a name without extension"),
        ("a.wav", 8000, 1, {"format": "WMA"}, "format 'WMA' is unknown"),
        ("a.flac", 8000, 1, {"subtype": "FLOAT"}, r"a\.flac: FLAC has no subtype 'FLOAT'; choose PCM_16, PCM_24"),
        ("a.opus", 44100, 1, {}, r"a\.opus: OPUS cannot .* 44100 Hz; .* 8000, 12000, 16000, 24000, 48000"),
        ("a.ogg", 22050, 1, {"subtype": "OPUS"}, "8000, 12000, 16000, 24000, 48000"),
        ("a.mp3", 192000, 1, {}, r"a\.mp3: MP3 cannot .* 192000 Hz"),
        ("a.mp3", 24000, 7, {}, "MP3 holds 1 to 2 channels, not 7"),
        ("a.flac", 24000, 9, {}, "FLAC holds 1 to 8 channels, not 9"),
        ("a.wav", 24000, 0, {}, "channels, not 0"),
        ("a.wav", 0, 1, {}, "sample_rate"),
        ("a.ogg", 200_001, 1, {}, "OGG cannot .* 200001 Hz; the highest is 200000"),
        ("a.flac", 700_000, 1, {}, "FLAC cannot .* 700000 Hz; the highest is 655350"),
    ],
)
def test_what_a_format_cannot_hold(
    tmp_path: Path, name: str, rate: int, channels: int, options: dict[str, str], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        Writer(tmp_path / name, rate, channels, **options)
    one_line(caught)
    assert list(tmp_path.iterdir()) == []


def test_what_the_library_refuses(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.flac: FLAC of 1 channels at 96001 Hz"):
        write(tmp_path / "a.flac", Audio(np.zeros((1, 100), np.float32), 96_001))
    assert list(tmp_path.iterdir()) == []


def test_ogg_with_the_subtype_opus_is_opus(tmp_path: Path) -> None:
    write(tmp_path / "a.ogg", Audio(speech_like(1, 4800, 48000), 48000), subtype="opus")
    assert info(tmp_path / "a.ogg").subtype == "OPUS"


def test_an_explicit_format_wins_over_the_extension(tmp_path: Path) -> None:
    write(tmp_path / "a.bin", Audio(np.array([0.5]), 8000), format="flac")
    assert info(tmp_path / "a.bin").format == "FLAC"


def test_raw_is_bare_little_endian_samples(tmp_path: Path) -> None:
    write(tmp_path / "a.raw", Audio(np.array([[0.5, -1.0], [0.25, 0.0]]), 8000), format="RAW")
    assert np.frombuffer((tmp_path / "a.raw").read_bytes(), "<i2").tolist() == [16384, 8192, -32768, 0]


def test_format_of_paths() -> None:
    names = {"a.WAV": "WAV", "b.Flac": "FLAC", "x.y/c.mp3": "MP3", "d.oga": "OGG", "e.opus": "OPUS", "-": "WAV"}
    assert {name: format_of(name) for name in names} == names


@pytest.mark.parametrize(
    ("subtype", "expected"),
    [
        ("PCM_16", ("PCM_16", "PCM_16")),
        ("PCM_U8", ("PCM_16", "PCM_16")),
        ("PCM_24", ("PCM_24", "PCM_24")),
        ("PCM_32", ("PCM_32", "PCM_24")),
        ("FLOAT", ("FLOAT", "PCM_24")),
        ("DOUBLE", ("FLOAT", "PCM_24")),
        ("VORBIS", ("PCM_16", "PCM_16")),
    ],
)
def test_matching_subtype(subtype: str, expected: tuple[str, str]) -> None:
    facts = AudioInfo("a", 8000, 1, 10, "WAV", subtype)
    assert (matching_subtype(facts, "WAV"), matching_subtype(facts, "flac")) == expected
    assert matching_subtype(facts, "MP3") == "MPEG_LAYER_III"
    with pytest.raises(InputError, match="unknown"):
        matching_subtype(facts, "AAC")


# ---------------------------------------------------------------------------------------------- writing and atomicity


def test_pieces_make_the_whole(tmp_path: Path) -> None:
    samples = speech_like(3, 70_001, 24000)
    write(tmp_path / "whole.wav", Audio(samples, 24000))
    with Writer(tmp_path / "pieces.wav", 24000, 3) as writer:
        for start, stop in ((0, 0), (0, 1), (1, 60_000), (60_000, 70_001)):
            writer.write(samples[:, start:stop])
    assert (tmp_path / "pieces.wav").read_bytes() == (tmp_path / "whole.wav").read_bytes()


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3", "a.ogg", "a.opus"])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_exception_leaves_nothing_and_touches_nothing(tmp_path: Path, name: str, error: type[BaseException]) -> None:
    def interrupted() -> None:
        with Writer(tmp_path / name, 24000, 1) as writer:
            writer.write(np.zeros(30_000, np.float32))
            raise error

    with pytest.raises(error):
        interrupted()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / name).write_bytes(b"precious")
    with pytest.raises(error):
        interrupted()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == b"precious"


def test_the_file_appears_only_at_the_end(tmp_path: Path) -> None:
    with Writer(tmp_path / "a.wav", 8000, 1) as writer:
        writer.write(np.zeros(100, np.float32))
        assert not (tmp_path / "a.wav").exists()
        assert len(list(tmp_path.iterdir())) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg"])
def test_nothing_written_is_an_error(tmp_path: Path, name: str) -> None:
    with (
        pytest.raises(InputError, match=f"{name}: no audio samples to write"),
        Writer(tmp_path / name, 8000, 2) as writer,
    ):
        writer.write(np.zeros((2, 0), np.float32))
    assert list(tmp_path.iterdir()) == []


def test_writer_refuses_other_channels_and_use_outside(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1 channels for a file of 2"), Writer(tmp_path / "a.wav", 8000, 2) as writer:
        writer.write(np.zeros(10, np.float32))
    with pytest.raises(InputError, match="outside"):
        writer.write(np.zeros((2, 10), np.float32))


def test_non_ascii_names(tmp_path: Path) -> None:
    for name in ("über straße.wav", "音声 😀.flac", "déjà.ogg", "звук.mp3", "ñandú.opus"):
        write(tmp_path / name, Audio(speech_like(1, 4800, 24000), 24000))
        assert read(tmp_path / name).samples.shape == (1, 4800)
        assert info(tmp_path / name).path == str(tmp_path / name)
    with pytest.raises(InputError, match="fehlt für immer"):
        read(tmp_path / "fehlt für immer.wav")


def test_names_as_long_as_the_file_system_takes(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 251 + ".wav")
    write(path, Audio(np.array([0.5]), 8000))
    assert path.exists()
    with pytest.raises(InputError, match="too long"):
        write(tmp_path / ("n" * 300 + ".wav"), Audio(np.array([0.5]), 8000))


def test_unwritable_places(tmp_path: Path) -> None:
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe.wav")
    for name, reason in {
        "nowhere/a.wav": "there is no folder",
        "folder.wav": "is a folder",
        "file/a.wav": "there is no folder",
        "pipe.wav": "not a regular file",
        "a\0b.wav": "null",
    }.items():
        path = os.path.join(tmp_path, name)
        with pytest.raises(InputError) as caught:
            write(path, Audio(np.array([0.5]), 8000))
        one_line(caught, path, reason)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.wav", "pipe.wav"]


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A folder of ours, while we are not root, to whom nothing is forbidden."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        root = os.geteuid() == 0
        if root:
            os.chown(folder, 65534, 65534)
            os.seteuid(65534)
        try:
            yield folder
        finally:
            if root:
                os.seteuid(0)
            folder.chmod(0o700)


def test_permissions_are_respected(unprivileged: Path) -> None:
    audio = Audio(np.array([0.5]), 8000)
    write(unprivileged / "a.wav", audio)
    (unprivileged / "a.wav").chmod(0o400)
    with pytest.raises(InputError, match=r"a\.wav: the file there is write-protected"):
        write(unprivileged / "a.wav", audio)
    (unprivileged / "a.wav").chmod(0)
    with pytest.raises(InputError, match=r"a\.wav: Permission denied"):
        read(unprivileged / "a.wav")
    unprivileged.chmod(0o500)
    with pytest.raises(InputError, match=r"b\.wav: Permission denied"):
        write(unprivileged / "b.wav", audio)


def test_permissions_of_new_and_replaced_files(tmp_path: Path) -> None:
    audio = Audio(np.array([0.5]), 8000)
    mask = os.umask(0o027)
    try:
        write(tmp_path / "new.wav", audio)
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "new.wav").stat().st_mode) == 0o640
    (tmp_path / "new.wav").chmod(0o604)
    write(tmp_path / "new.wav", audio)
    assert stat.S_IMODE((tmp_path / "new.wav").stat().st_mode) == 0o604


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link.wav").symlink_to("real/a.wav")
    write(tmp_path / "link.wav", Audio(np.array([0.5]), 8000))
    assert (tmp_path / "link.wav").is_symlink()
    assert info(tmp_path / "real" / "a.wav").frames == 1


FULL_DISK = """
import pathlib, resource, sys, numpy as np
from wavegen.audio.io import Audio, write
from wavegen.errors import InputError
folder, limits = pathlib.Path(sys.argv[1]), sys.argv[2:]
x = Audio(np.random.default_rng(0).uniform(-.5, .5, 48000), 24000)
for limit in limits:
    name, size = limit.split(":")
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(size), -1))
    try:
        write(folder / name, x)
        print("written", name, size)
    except InputError as error:
        assert "\\n" not in str(error)
        print("refused", name, size, error)
print(sorted(path.name for path in folder.iterdir()))
"""


def test_a_full_disk_is_noticed_to_the_last_byte(tmp_path: Path) -> None:
    audio = Audio(np.random.default_rng(0).uniform(-0.5, 0.5, 48000), 24000)
    limits = []
    for name in ("a.wav", "a.flac", "a.mp3", "a.ogg", "a.opus"):
        write(tmp_path / name, audio)
        size = (tmp_path / name).stat().st_size
        (tmp_path / name).unlink()
        limits += [f"{name}:{short}" for short in (size - 1, size - 200, size // 2, 10)]
    arguments = [sys.executable, "-c", FULL_DISK, str(tmp_path), *limits]
    result = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    lines = result.stdout.splitlines()
    assert result.returncode == 0, result.stderr
    assert [line.split()[0] for line in lines[:-1]] == ["refused"] * len(limits), result.stdout
    assert all(os.strerror(errno.EFBIG) in line for line in lines[:-1])
    assert lines[-1] == "[]"


@pytest.mark.parametrize("name", ["FLAC", "MP3", "OGG", "OPUS"])
def test_an_error_inside_of_the_library_is_the_disks(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BytesIO):
        def write(self, data: object, /) -> int:
            if self.tell() > 3000:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(data)  # type: ignore[arg-type]

    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO()))
    monkeypatch.setattr(tempfile, "SpooledTemporaryFile", lambda size: Full())
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 48000)
    with pytest.raises(InputError, match="standard output: No space left on device"):
        write("-", Audio(noise, 24000), format=name)


def test_atomic_replaces_or_keeps(tmp_path: Path) -> None:
    path = tmp_path / "note.json"
    with atomic(path) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".json"
        temporary.write_text("first")
        assert not path.exists()
    assert path.read_text() == "first"
    with pytest.raises(ZeroDivisionError), atomic(str(path)) as temporary:
        temporary.write_text(str(1 / 0))
    assert path.read_text() == "first"
    with pytest.raises(InputError, match=r"note\.json: No space left"), atomic(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(FileNotFoundError, match="elsewhere"), atomic(path):  # not this file's trouble
        (tmp_path / "elsewhere").read_text()
    assert [file.name for file in tmp_path.iterdir()] == ["note.json"]


# --------------------------------------------------------------------------------------------------- standard streams

COPY = "import sys; from wavegen.audio.io import read, write; write('-', read('-'), **{options})"


@pytest.mark.parametrize("format", ["WAV", "FLAC", "OGG", "MP3", "OPUS"])
def test_through_the_standard_streams(tmp_path: Path, encoded: dict[str, tuple[Path, Samples]], format: str) -> None:
    path, whole = encoded["flac"]
    result = run(COPY.format(options={"format": format}), path.read_bytes())
    assert result.returncode == 0, result.stderr.decode()
    back = read(io.BytesIO(result.stdout))
    assert back.samples.shape == whole.shape
    if format in ("WAV", "FLAC"):
        np.testing.assert_array_equal(back.samples, whole)
    else:
        assert best_correlation(whole[0], back.samples[0])[0] > 0.97


def test_wav_into_a_pipe_leaves_its_length_open(encoded: dict[str, tuple[Path, Samples]]) -> None:
    data = run(COPY.format(options={"subtype": "FLOAT"}), encoded["wav"][0].read_bytes()).stdout
    assert struct.unpack("<II", data[4:8] + data[40:44]) == (0xFFFFFFFF, 0xFFFFFFFF)
    np.testing.assert_array_equal(read(io.BytesIO(data)).samples, encoded["wav"][1])


def test_wav_into_a_redirected_file_is_complete(tmp_path: Path, encoded: dict[str, tuple[Path, Samples]]) -> None:
    path, _ = encoded["wav"]
    code = COPY.format(options={})
    with open(path, "rb") as source, open(tmp_path / "out.wav", "wb") as target:
        subprocess.run([sys.executable, "-c", code], stdin=source, stdout=target, timeout=60, check=True)
    assert (tmp_path / "out.wav").read_bytes() == path.read_bytes()


def test_raw_into_a_pipe(encoded: dict[str, tuple[Path, Samples]]) -> None:
    path, whole = encoded["wav"]
    data = run(COPY.format(options={"format": "RAW"}), path.read_bytes()).stdout
    np.testing.assert_array_equal(np.frombuffer(data, "<i2").reshape(-1, 2).T, whole * 32768)


def test_samples_reach_a_pipe_while_they_are_written() -> None:
    code = """
import sys, numpy as np
from wavegen.audio.io import Writer
with Writer("-", 8000, 1) as writer:
    writer.write(np.full(100, 0.5, np.float32))
    sys.stdin.read()  # until the reader has what was written
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert len(process.stdout.read(44 + 200)) == 244
        process.stdin.close()
        assert process.stdout.read() == b""
        assert process.wait(30) == 0


def test_bad_standard_input() -> None:
    for data, reason in ((b"", "the file is empty"), (b"text\n" * 99, "not an audio file")):
        result = run("from wavegen.audio.io import read; read('-')", data)
        assert result.returncode == 1
        last = result.stderr.decode().splitlines()[-1]
        assert last.startswith("wavegen.errors.InputError: standard input: ")
        assert reason in last


def test_a_named_pipe_is_read(tmp_path: Path, encoded: dict[str, tuple[Path, Samples]]) -> None:
    path, whole = encoded["flac"]
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cp", str(path), str(pipe)]):
        np.testing.assert_array_equal(read(pipe).samples, whole)


def test_a_closed_pipe_is_one_line() -> None:
    code = """
import sys, numpy as np
from wavegen.audio.io import Audio, write
from wavegen.errors import InputError
sys.stdin.read()
try:
    write("-", Audio(np.zeros(500_000, np.float32), 8000))
except InputError as error:
    sys.exit(str(error))
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stdin.close()
        assert process.stderr.read().decode() == "standard output: Broken pipe\n"
        assert process.wait(30) == 1


def test_a_failed_compressed_write_sends_nothing() -> None:
    code = """
import numpy as np
from wavegen.audio.io import Writer
with Writer("-", 8000, 1, format="FLAC") as writer:
    writer.write(np.zeros(100_000, np.float32))
    raise RuntimeError
"""
    result = run(code)
    assert result.returncode == 1
    assert result.stdout == b""


def test_a_terminal_is_neither_read_nor_written(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.BytesIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(Terminal()))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Terminal()))
    with pytest.raises(InputError, match="standard output: is a terminal"):
        write("-", Audio(np.array([0.5]), 8000))
    with pytest.raises(InputError, match="standard input: is a terminal"):
        read("-")


def test_streams_without_bytes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    with pytest.raises(InputError, match="standard output: takes no bytes"):
        write("-", Audio(np.array([0.5]), 8000))


# ------------------------------------------------------------------------------------------------------- the package


def test_the_package_is_light_and_lazy() -> None:
    code = """
import sys
import wavegen.audio
assert "wavegen.audio.io" in sys.modules  # resample shares its checks
assert not {"soundfile", "soxr", "scipy", "torch", "librosa", "numba", "matplotlib"} & set(sys.modules)
import wavegen.audio.resample
from wavegen.audio import Audio, info, read, resample, stream, write
assert callable(resample), resample
assert stream.__name__ == "blocks"
assert set(wavegen.audio.__all__) <= set(dir(wavegen.audio))
assert not {"soundfile", "soxr", "scipy", "torch", "librosa", "numba", "matplotlib"} & set(sys.modules)
try:
    wavegen.audio.nothing
except AttributeError as error:
    assert "nothing" in str(error)
else:
    sys.exit("no AttributeError")
"""
    result = run(code)
    assert result.returncode == 0, result.stderr.decode()
