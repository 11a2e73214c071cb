"""Examples drawn while training: exact sums, ranges kept, labels in place, the same numbers for the same seed."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from wavegen.errors import InputError
from wavegen.training.mixtures import (
    PLAIN,
    POLYPHONIC,
    UNVOICED,
    Augmentation,
    SpeakerSet,
    StemSet,
    VoiceBackgroundSet,
    active_rms,
    batch,
    coloured_noise,
    frame_pitches,
    generator,
    held_out,
    in_room,
    lowpassed,
    recording,
    split_speakers,
)
from wavegen.training.stem_folders import STEMS, StemFiles, prepared, speakers

RATE = 8000


def tone(hertz: float, seconds: float, rate: int = RATE, channels: int = 2) -> NDArray[np.float64]:
    """(samples, channels), the second at half the level of the first."""
    wave = 0.4 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    return np.stack([wave, 0.5 * wave], 1)[:, :channels]


@pytest.fixture
def stems(tmp_path: Path) -> Path:
    """Two songs of .npy stems: drums, bass and flute; the second has no bass; labels for each."""
    for song, shift in (("a", 0), ("b", 7)):
        folder = tmp_path / "stems" / "train" / song
        folder.mkdir(parents=True)
        names = {"drums": 1500.0, "bass": 110.0, "winds": 440.0 * 2 ** (shift / 12)}
        if song == "b":
            del names["bass"]
        for name, hertz in names.items():
            np.save(folder / f"{name}.npy", np.round(tone(hertz, 4.0) * 32768).astype(np.int16))
        notes = {
            "drums": [[0.0, 4.0, 38, 90, 0]],
            "bass": [[0.0, 4.0, 45, 90, 33]],
            "winds": [[0.5, 2.0, 69 + shift, 90, 73], [2.0, 3.5, 71 + shift, 90, 73]],
        }
        facts = {name: {"notes": notes[name], "monophonic": name != "drums"} for name in names}
        (folder / "labels.json").write_text(json.dumps({"sample_rate": RATE, "stems": facts}))
    return tmp_path / "stems"


def a_set(stems: Path, **options: object) -> StemSet:
    settings: dict[str, object] = {"sample_rate": RATE, "augmentation": PLAIN} | options
    return StemSet(prepared(stems, "train"), ("drums", "bass", "other"), **settings)  # type: ignore[arg-type]


def test_a_recording_is_read_anywhere(stems: Path) -> None:
    found = recording(stems / "train" / "a" / "bass.npy", None)
    assert (found.samples, found.channels, found.sample_rate, found.seconds) == (4 * RATE, 2, RATE, 4.0)
    whole = np.load(found.path).T / np.float32(32768)
    np.testing.assert_array_equal(found.read(1.0, 100, RATE, 2), whole[:, RATE : RATE + 100])
    late = found.read(3.99, 200, RATE, 2)
    np.testing.assert_array_equal(late[:, :80], whole[:, -80:])
    assert not late[:, 80:].any()
    early = found.read(-0.005, 100, RATE, 1)
    assert not early[:, :40].any()
    np.testing.assert_allclose(early[0, 40:], whole[:, :60].mean(axis=0), atol=1e-7)
    assert not found.read(99.0, 50, RATE, 2).any()


def test_a_recording_at_another_rate(stems: Path) -> None:
    found = recording(stems / "train" / "a" / "bass.npy", None)
    excerpt = found.read(1.0, 3000, 12000, 2)
    want = tone(110.0, 4.0, 12000)[12000:15000].T
    assert np.abs(excerpt - want).max() < 2e-3


def test_sound_files_are_decoded_once(tmp_path: Path) -> None:
    path = tmp_path / "x.flac"
    soundfile.write(path, tone(300.0, 1.0), RATE, subtype="PCM_16")
    first = recording(path, tmp_path / "cache")
    time = first.path.stat().st_mtime_ns
    assert recording(path, tmp_path / "cache") == first
    assert first.path.stat().st_mtime_ns == time
    np.testing.assert_array_equal(first.read(0, RATE, RATE, 2), soundfile.read(path, dtype="float32")[0].T)
    with pytest.raises(InputError, match="none is given"):
        recording(path, None)


def test_what_is_no_stem_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.zeros((5, 2), np.int16))
    with pytest.raises(InputError, match="sample_rate"):
        recording(path, None)
    (tmp_path / "y").mkdir()
    (tmp_path / "y" / "labels.json").write_text('{"sample_rate": 8000}')
    for array in (np.zeros((5, 2)), np.zeros(5, np.int16), np.zeros((5, 3), np.int16), np.zeros((0, 2), np.int16)):
        np.save(tmp_path / "y" / "x.npy", array)
        with pytest.raises(InputError, match="int16"):
            recording(tmp_path / "y" / "x.npy", None)
    np.save(tmp_path / "y" / "x.npy", np.zeros((500, 2), np.int16))
    data = (tmp_path / "y" / "x.npy").read_bytes()
    (tmp_path / "y" / "x.npy").write_bytes(data[:-4])
    with pytest.raises(InputError, match="cut short"):
        recording(tmp_path / "y" / "x.npy", None)
    (tmp_path / "y" / "x.npy").write_bytes(b"nothing")
    with pytest.raises(InputError, match="not an array"):
        recording(tmp_path / "y" / "x.npy", None)


def test_plain_excerpts_are_the_songs(stems: Path) -> None:
    data = a_set(stems)
    whole = data.song(0)
    assert whole.shape == (3, 2, 4 * RATE)
    np.testing.assert_array_equal(whole[2], np.load(stems / "train/a/winds.npy").T / np.float32(32768))
    second = data.song(1, start=1.0, seconds=0.5)
    assert second.shape == (3, 2, RATE // 2)
    assert not second[1].any()  # no bass in b
    rng = np.random.default_rng(0)
    for _ in range(5):  # all sources from one place of one song: the excerpt is found in it
        x = data.example(rng, 0.5)
        song = data.song(1 if not x[1].any() else 0)
        start = np.flatnonzero(np.abs(song[:, 0, : 7 * RATE // 2 + 1][2] - x[2, 0, 0]) < 1e-9)
        assert any(np.array_equal(song[..., s : s + x.shape[-1]], x) for s in start)


def test_a_longer_example_than_the_song_ends_in_silence(stems: Path) -> None:
    x = a_set(stems).example(np.random.default_rng(1), 6.0)
    assert x.shape == (3, 2, 6 * RATE)
    assert not x[..., 4 * RATE :].any()
    assert x[0, :, : 4 * RATE].any()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 1000))
def test_a_batch_follows_from_seed_and_step(seed: int, step: int) -> None:
    class Noise:
        sources, sample_rate, channels = ("a", "b"), 100, 1

        def example(self, rng: np.random.Generator, seconds: float) -> NDArray[np.float32]:
            return rng.standard_normal((2, 1, round(seconds * 100))).astype(np.float32)

    whole = batch(Noise(), step, 4, 0.5, seed)
    assert whole.shape == (4, 2, 1, 50)
    np.testing.assert_array_equal(whole, batch(Noise(), step, 4, 0.5, seed))
    parts = [batch(Noise(), step, 4, 0.5, seed, rank=rank, world=2) for rank in (0, 1)]
    np.testing.assert_array_equal(whole[0::2], parts[0])
    np.testing.assert_array_equal(whole[1::2], parts[1])
    assert not np.array_equal(whole, batch(Noise(), step + 1, 4, 0.5, seed))
    assert not np.array_equal(whole[0], whole[1])


def test_augmentation_keeps_its_ranges(stems: Path) -> None:
    change = Augmentation(remix=1.0, gain_db=(-6.0, 6.0), flip=0.5, swap=0.5, silent=0.0)
    data = a_set(stems, augmentation=change)
    levels, louder_left = [], []
    for step in range(60):
        x = data.example(generator(0, step, 0), 0.5)
        rms = np.sqrt(np.square(x[1]).mean(axis=1))  # bass: there is one song with it, so remixing finds it
        louder_left.append(rms[0] > rms[1])
        levels.append(20 * np.log10(rms.max() / (0.4 / np.sqrt(2))))
        assert np.allclose(max(rms) / min(rms), 2, rtol=1e-2)
    assert -6.1 < min(levels) < -4
    assert 4 < max(levels) < 6.1
    assert 15 < sum(louder_left) < 45
    np.testing.assert_array_equal(data.example(generator(3, 1, 2), 1.0), data.example(generator(3, 1, 2), 1.0))


def test_polarity_is_turned(stems: Path) -> None:
    signs = set()
    data = a_set(stems, augmentation=Augmentation(remix=0.0, gain_db=(0.0, 0.0), flip=0.5, swap=0.0, silent=0.0))
    for step in range(30):  # 4 s: always the whole song
        x = data.example(generator(0, step, 0), 4.0)
        whole = data.song(0 if x[1].any() else 1)
        signs.add(tuple(int(np.sign((a * b).sum())) for a, b in zip(x[[0, 2]], whole[[0, 2]], strict=True)))
        np.testing.assert_allclose(np.abs(x), np.abs(whole), atol=1e-7)
    assert signs == {(1, 1), (1, -1), (-1, 1), (-1, -1)}


def test_sources_are_left_out_but_never_all(stems: Path) -> None:
    always = Augmentation(remix=0.5, silent=1.0)
    data = a_set(stems, augmentation=always)
    for step in range(20):
        x = data.example(generator(0, step, 0), 0.5)
        assert sum(part.any() for part in x) == 1


def peak_hertz(x: NDArray[np.float32]) -> float:
    spectrum = np.abs(np.fft.rfft(x * np.hanning(len(x))))
    return float(spectrum.argmax() * RATE / len(x))


def test_transposed_sources_are_at_another_pitch_each(stems: Path) -> None:
    data = a_set(stems, augmentation=Augmentation(remix=1.0, silent=0.0, transpose=(-5, 7)))
    semitones = []
    for step in range(60):
        x = data.example(generator(0, step, 0), 1.0)
        semitones.append(
            [12 * np.log2(peak_hertz(part[0]) / hertz) for part, hertz in zip(x, (1500, 110), strict=False)]
        )
    moved = np.array(semitones)
    np.testing.assert_allclose(moved[:, 0], moved[:, 0].round(), atol=0.02)  # 1 Hz apart: the bass is less exact
    assert (moved.min(axis=0).round() == -5).all()
    assert (moved.max(axis=0).round() == 7).all()
    assert abs(np.corrcoef(moved.T)[0, 1]) < 0.5
    plain = a_set(stems, augmentation=Augmentation(remix=0.0, silent=0.0, transpose=(5, 5)))
    assert peak_hertz(plain.example(generator(0, 0, 0), 1.0)[0, 0]) == 1500  # a song as it is stays together


def test_labels_follow_the_transposition(stems: Path) -> None:
    groups = {"melody": ("winds",)}
    seen = set()
    for semitones in (-12, 0, 12):
        change = Augmentation(remix=1.0, silent=0.0, transpose=(semitones, semitones))
        data = StemSet(
            prepared(stems, "train"), ("melody",), sample_rate=RATE, groups=groups, augmentation=change, weights=(1, 0)
        )
        example = data.labelled_example(generator(0, 1, 0), 1.5, 80)
        seen |= set(example.pitches[0].tolist()) - {UNVOICED}
        # Sound and label begin and end together: the tone is 440 Hz from beginning to end, and so is the first note.
        assert peak_hertz(example.sources[0, 0]) == pytest.approx(440 * 2 ** (semitones / 12), abs=1)
        whole = data.labelled_example(generator(0, 1, 0), 4.0 / 2 ** (semitones / 12), 80)
        onset = np.flatnonzero(whole.pitches[0] != UNVOICED)[0] * 80 / RATE
        assert onset == pytest.approx(0.5 / 2 ** (semitones / 12), abs=0.011)
    assert seen <= {69 + 12 * k + note for k in (-1, 0, 1) for note in (0, 2)}


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 9000))
def test_lowpassed_sources_lose_their_treble_alone(seed: int, count: int) -> None:
    x = np.random.default_rng(seed).standard_normal((2, 1, count)).astype(np.float32)
    kept = np.fft.rfft(lowpassed(x, 16000, np.random.default_rng(seed))) / np.fft.rfft(x)
    low = np.fft.rfftfreq(count, 1 / 16000) < 1500
    np.testing.assert_allclose(kept[..., low], 1, atol=0.1)  # a gentle one begins to fall before its edge
    np.testing.assert_allclose(kept[0], kept[1], atol=1e-2)  # all sources lose the same
    assert (np.diff(np.abs(kept[0, 0])) < 1e-2).all()
    assert np.abs(kept.imag).max() < 1e-2  # without delay


@pytest.mark.parametrize("what", ["lowpass", "mono"])
def test_all_sources_are_narrowed_as_often_as_asked(stems: Path, what: str) -> None:
    options = {"remix": 0.0, "gain_db": (0.0, 0.0), "flip": 0.0, "swap": 0.0, "silent": 0.0}
    plain = a_set(stems, augmentation=Augmentation(**options))  # type: ignore[arg-type]
    for chance, least, most in ((0.0, 0, 0), (0.5, 10, 30), (1.0, 40, 40)):
        data = a_set(stems, augmentation=Augmentation(**options | {what: chance}))  # type: ignore[arg-type]
        pairs = [[d.example(generator(0, step, 0), 4.0) for d in (data, plain)] for step in range(40)]
        assert least <= sum(not np.array_equal(a, b) for a, b in pairs) <= most
    if what == "mono":
        for changed, before in pairs:
            np.testing.assert_allclose(changed[:, 0], before.mean(axis=1), atol=1e-6)
            np.testing.assert_array_equal(changed[:, 0], changed[:, 1])


def test_weights_choose_songs(stems: Path) -> None:
    data = StemSet(prepared(stems, "train"), ("winds",), sample_rate=RATE, augmentation=PLAIN, weights=(0, 1))
    second = data.song(1)
    for step in range(5):
        np.testing.assert_array_equal(data.example(generator(0, step, 0), 4.0), second)
    for weights in ((1,), (-1, 2)):
        with pytest.raises(InputError, match="weights"):
            a_set(stems, weights=weights)
    with pytest.raises(InputError, match="'bass'"):
        a_set(stems, weights=(0, 1))


def test_mono_and_groups(stems: Path) -> None:
    files = prepared(stems, "train")
    rest = StemSet(files, ("drums", "rest"), groups={"rest": ("bass", "winds")}, channels=1, sample_rate=RATE)
    want = [np.load(stems / "train/a" / f"{name}.npy").T.mean(axis=0) / 32768 for name in ("drums", "bass", "winds")]
    np.testing.assert_allclose(rest.song(0), np.stack([want[0], want[1] + want[2]])[:, None], atol=1e-6)


def test_a_missing_source_is_an_error_or_silence(stems: Path) -> None:
    files = prepared(stems, "train")
    with pytest.raises(InputError, match="'vocals'"):
        StemSet(files, ("vocals", "drums"), sample_rate=RATE)
    data = StemSet(
        files, ("vocals", "drums"), sample_rate=RATE, require_all=False, augmentation=Augmentation(remix=1.0)
    )
    x = data.example(generator(0, 0, 0), 0.5)
    assert not x[0].any()
    assert x[1].any()


def test_labels_follow_the_excerpt(stems: Path) -> None:
    groups = {"melody": ("winds", "piano")}
    options = {"sample_rate": RATE, "groups": groups, "solo": True, "monophonic": True, "augmentation": PLAIN}
    data = StemSet(prepared(stems, "train"), ("bass", "melody"), **options)  # type: ignore[arg-type]
    hop = 80  # 10 ms
    example = data.labelled_example(generator(0, 0, 0), 4.0, hop)
    np.testing.assert_array_equal(example.sources, data.example(generator(0, 0, 0), 4.0))
    assert example.pitches.shape == (2, 401)
    assert example.families.tolist() == [STEMS.index("bass"), STEMS.index("winds")]
    assert example.labelled.all()
    assert (example.pitches[0, :400] == 45).all()
    melody = example.pitches[1]
    assert (melody[:50] == UNVOICED).all()
    assert (melody[50:200] == 69).all()  # only song a has a bass, and a melody stands beside it
    assert (melody[200:350] == 71).all()
    assert (melody[350:] == UNVOICED).all()
    short = data.labelled_example(generator(0, 9, 0), 1.0, hop)  # from the middle: one of the pitches, in place
    assert {69, 71} & set(short.pitches[1].tolist())
    with pytest.raises(InputError, match="solo"):
        StemSet(prepared(stems, "train"), ("bass",), monophonic=True)


def test_frame_pitches() -> None:
    rows = [[0.0, 0.1, 60, 1, 0], [0.1, 0.2, 62, 1, 0], [0.15, 0.3, 64, 1, 0], [0.29, 0.4, 65, 1, 0]]
    found = frame_pitches(np.array(rows), 0.0, 9, 50, 1000)
    assert found.tolist() == [60, 60, 62, POLYPHONIC, 64, 64, 65, 65, UNVOICED]
    assert frame_pitches(np.empty((0, 5)), 1.0, 3, 50, 1000).tolist() == [UNVOICED] * 3
    same = frame_pitches(np.array([[0.0, 0.2, 60, 1, 0], [0.1, 0.2, 60, 1, 9]]), 0.05, 3, 50, 1000)
    assert same.tolist() == [60, 60, 60]  # in unison


def test_a_song_without_labels_is_not_labelled(stems: Path) -> None:
    files = [StemFiles(f.id, f.stems) for f in prepared(stems, "train")]
    example = StemSet(files, ("drums", "winds"), sample_rate=RATE).labelled_example(generator(0, 0, 0), 1.0, 80)
    assert not example.labelled.any()
    assert (example.pitches == UNVOICED).all()


@pytest.mark.parametrize(
    "options",
    [
        {"remix": 1.5},
        {"gain_db": (3.0, -3.0)},
        {"gain_db": (-90.0, 0.0)},
        {"flip": -1},
        {"lowpass": 2.0},
        {"transpose": (0, 13)},
        {"transpose": (0.5, 1.0)},
    ],
)
def test_augmentation_refuses(options: dict[str, object]) -> None:
    with pytest.raises(InputError, match="Augmentation"):
        Augmentation(**options)  # type: ignore[arg-type]


def test_an_example_lasts_a_sample_at_least(stems: Path) -> None:
    assert a_set(stems).example(np.random.default_rng(0), 1 / RATE).shape == (3, 2, 1)
    with pytest.raises(InputError, match="at least a sample"):
        a_set(stems).example(np.random.default_rng(0), 0.0)
    with pytest.raises(InputError, match="channels"):
        a_set(stems, channels=3)


# --------------------------------------------------------------------------------------------------------- speakers


@pytest.fixture
def people(tmp_path: Path) -> dict[str, list[Path]]:
    """Ten speakers, each a tone of its own pitch in two recordings."""
    for number in range(10):
        for take in range(2):
            path = tmp_path / "speech" / f"s{number}" / f"{take}.flac"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, tone(200.0 + 100 * number, 1.5, RATE, 1), RATE)
    return speakers([tmp_path / "speech"])


def test_speakers_are_split_by_name(people: dict[str, list[Path]]) -> None:
    many = {f"speaker {k}": [Path("x")] for k in range(500)}
    parts = {name: split_speakers(many, name) for name in ("train", "validation", "test")}
    assert sum(map(len, parts.values())) == 500
    assert not set(parts["train"]) & set(parts["test"])
    assert 370 < len(parts["train"]) < 430
    assert 30 < len(parts["test"]) < 75
    with pytest.raises(InputError, match="dev"):
        split_speakers(people, "dev")


def test_speakers_at_their_levels(people: dict[str, list[Path]], tmp_path: Path) -> None:
    data = SpeakerSet(people, sample_rate=RATE, cache=tmp_path / "cache", overlap=(1.0, 1.0), level_db=(-5.0, 5.0))
    assert data.sources == ("speaker1", "speaker2")
    levels = []
    for step in range(40):
        x = data.example(generator(0, step, 0), 2.0)
        assert x.shape == (2, 1, 2 * RATE)
        peaks = np.abs(np.fft.rfft(x[:, 0])).argmax(axis=1)
        assert peaks[0] != peaks[1]  # two people, never one with himself
        rms = [active_rms(part, RATE) for part in x]
        levels.append(20 * np.log10(rms[1] / rms[0]))
        assert 20 * np.log10(rms[0]) == pytest.approx(-25, abs=0.2)
    assert -5.1 < min(levels) < -3
    assert 3 < max(levels) < 5.1
    np.testing.assert_array_equal(data.example(generator(0, 1, 0), 2.0), data.example(generator(0, 1, 0), 2.0))


def test_speakers_overlap_as_far_as_asked(people: dict[str, list[Path]], tmp_path: Path) -> None:
    data = SpeakerSet(people, sample_rate=RATE, cache=tmp_path / "cache", overlap=(0.5, 0.5))
    for step in range(20):
        spoken = [np.flatnonzero(part) for part in data.example(generator(0, step, 0), 1.0)[:, 0]]
        assert spoken[0][0] < 20  # the first begins at once, the second goes on to the end
        assert spoken[1][-1] > RATE - 20
        shared = spoken[0][-1] - spoken[1][0]
        assert shared >= -20
        assert shared < RATE
        assert min(x[-1] - x[0] for x in spoken) > 0.49 * RATE
    for overlap in ((0.5, 0.2), (0.0, 1.5)):
        with pytest.raises(InputError, match="overlap"):
            SpeakerSet(people, sample_rate=RATE, cache=tmp_path, overlap=overlap)
    with pytest.raises(InputError, match="1 of 10"):
        SpeakerSet(people, cache=tmp_path, count=1)


def test_speed_moves_the_pitch(people: dict[str, list[Path]], tmp_path: Path) -> None:
    one = {"s0": people["s0"], "s1": people["s1"]}
    data = SpeakerSet(one, sample_rate=RATE, cache=tmp_path / "cache", overlap=(1.0, 1.0), speed=(0.8, 1.25))
    peaks = [np.abs(np.fft.rfft(data.example(generator(0, k, 0), 1.0)[:, 0])).argmax(axis=1).min() for k in range(30)]
    assert 155 < min(peaks) < 185  # 200 Hz × 0.8
    assert 215 < max(peaks) < 255
    with pytest.raises(InputError, match="speed"):
        SpeakerSet(one, cache=tmp_path, speed=(0.1, 1.0))


def test_voice_over_background(people: dict[str, list[Path]], stems: Path, tmp_path: Path) -> None:
    music = prepared(stems, "train")
    options = {"sample_rate": RATE, "cache": tmp_path / "cache", "snr_db": (-3.0, 6.0)}
    data = VoiceBackgroundSet(people, music, **options)  # type: ignore[arg-type]
    ratios = []
    for step in range(40):
        x = data.example(generator(0, step, 0), 1.0)
        assert x.shape == (2, 1, RATE)
        ratios.append(20 * np.log10(active_rms(x[0], RATE) / active_rms(x[1], RATE)))
    assert -3.1 < min(ratios) < 0
    assert 3 < max(ratios) < 6.1
    np.testing.assert_array_equal(data.example(generator(0, 7, 0), 1.0), data.example(generator(0, 7, 0), 1.0))
    noise = VoiceBackgroundSet(people, [], reverb=0.0, **options)  # type: ignore[arg-type]
    x = noise.example(generator(0, 0, 0), 1.0)[1, 0]
    spectrum = np.sort(np.abs(np.fft.rfft(x)))[::-1]
    assert spectrum[0] < 0.5 * spectrum[:500].sum()  # not a tone
    with pytest.raises(InputError, match="snr_db"):
        VoiceBackgroundSet(people, [], cache=tmp_path, snr_db=(3.0, 0.0))


def test_vocals_are_no_background(people: dict[str, list[Path]], tmp_path: Path) -> None:
    path = tmp_path / "v.flac"
    soundfile.write(path, tone(300.0, 1.0), RATE)
    data = VoiceBackgroundSet(
        people, [StemFiles("x", {"vocals": (path,)})], cache=tmp_path / "cache", sample_rate=RATE, noise=0.0
    )
    assert data.songs == []


def test_noise_and_room() -> None:
    for seed in range(5):
        noise = coloured_noise(12345, 16000, np.random.default_rng(seed))
        assert noise.shape == (12345,)
        assert np.sqrt(np.square(noise).mean()) == pytest.approx(1, abs=1e-3)
        click = np.zeros(16000, np.float32)
        click[100] = 1
        room = in_room(click, 16000, np.random.default_rng(seed))
        assert room[100] == pytest.approx(1, abs=1e-5)
        assert np.abs(room[:100]).max() < 1e-5
        tail = np.square(room[101:]).sum()
        assert 10 ** (-1.85) < tail < 10 ** (-0.25)


def test_held_out_examples_stay(people: dict[str, list[Path]], tmp_path: Path) -> None:
    data = SpeakerSet(people, sample_rate=RATE, cache=tmp_path / "cache")
    first, again = list(held_out(data, 3, 0.5)), list(held_out(data, 5, 0.5))
    assert [name for name, _ in again] == ["0000", "0001", "0002", "0003", "0004"]
    for (_, a), (_, b) in zip(first, again, strict=False):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[0][1], first[1][1])


def test_active_level_ignores_pauses() -> None:
    wave = tone(400.0, 1.0).T.astype(np.float32)
    with_pause = np.concatenate([wave, np.zeros_like(wave)], axis=1)
    assert active_rms(with_pause, RATE) == pytest.approx(np.sqrt(np.square(wave).mean()), rel=1e-4)
    assert active_rms(np.zeros((1, 5), np.float32), RATE) == 0
    assert active_rms(np.full((1, 3), 0.5, np.float32), RATE) == pytest.approx(0.5)
