"""Published layouts of stems and mixed speakers, each read from a small made-up copy."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from wavegen.errors import InputError
from wavegen.training.stem_folders import (
    LAYOUTS,
    MELODIC,
    MUSDB_VALIDATION,
    STEMS,
    librimix,
    musdb18hq,
    prepared,
    read_labels,
    slakh2100,
    speakers,
    stem_of,
    wsj0_2mix,
)


def sound(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.zeros(10), 8000)


def relative(items: tuple[Path, ...], root: Path) -> list[str]:
    return [str(path.relative_to(root)) for path in items]


OF_STEMS = {
    "piano": (0, 7),
    "mallets": (11,),
    "organ": (19,),
    "guitar": (30,),
    "bass": (33, 43),
    "strings": (40, 48, 110),
    "choir": (52,),
    "brass": (56,),
    "winds": (66, 73),
    "synth": (81, 99),
    "other": (47, 55, 105, 118, 127),
}


@pytest.mark.parametrize("stem", OF_STEMS)
def test_stems_of_programs(stem: str) -> None:
    for program in OF_STEMS[stem]:
        assert stem_of(program) == stem
        assert stem_of(program, drums=True) == "drums"


def test_every_program_has_a_known_stem() -> None:
    assert {stem_of(p) for p in range(128)} == set(STEMS) - {"drums"}
    assert set(MELODIC) | {"drums", "bass", "other"} == set(STEMS)
    with pytest.raises(InputError, match="128"):
        stem_of(128)


def test_prepared(tmp_path: Path) -> None:
    song = tmp_path / "train" / "b"
    sound(song / "drums.flac", song / "bass.ogg", song / "mixture.wav", tmp_path / "train" / "a" / "vocals.wav")
    (tmp_path / "train" / "empty").mkdir()
    sound(tmp_path / "train" / ".0003" / "drums.wav")  # one that is being written
    labels = {"stems": {"bass": {"notes": [[0.5, 1.0, 40, 90, 33]], "monophonic": True}}}
    (song / "labels.json").write_text(json.dumps(labels))
    a, b = prepared(tmp_path, "train")
    assert (a.id, set(a.stems), a.mixture, a.labels) == ("a", {"vocals"}, None, None)
    assert b.stems == {"drums": (song / "drums.flac",), "bass": (song / "bass.ogg",)}
    assert b.mixture == song / "mixture.wav"
    assert b.labels is not None
    read = read_labels(b.labels)["bass"]
    assert read.monophonic
    assert read.notes.tolist() == [[0.5, 1.0, 40.0, 90.0, 33.0]]
    assert [item.id for item in prepared(tmp_path / "train", None)] == ["a", "b"]


def test_prepared_refuses(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="train: no such folder"):
        prepared(tmp_path, "train")
    with pytest.raises(InputError, match="split 'dev'"):
        prepared(tmp_path, "dev")
    (tmp_path / "train").mkdir()
    with pytest.raises(InputError, match="no folder with stems"):
        prepared(tmp_path, "train")
    sound(tmp_path / "train" / "a" / "drums.wav", tmp_path / "train" / "a" / "drums.flac")
    with pytest.raises(InputError, match=r"drums\.flac is there, too"):
        prepared(tmp_path, "train")


@pytest.mark.parametrize(
    "text", ["", "[]", '{"stems": {"a": {"notes": [[1, 2]], "monophonic": true}}}', '{"stems": 3}']
)
def test_bad_labels_are_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "labels.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"labels\.json: not the labels"):
        read_labels(path)
    with pytest.raises(InputError, match="No such file"):
        read_labels(tmp_path / "none.json")


def test_musdb18hq(tmp_path: Path) -> None:
    held = "Leaf - Summerghost"
    for place in ("train/A - B", f"train/{held}", "test/C - D"):
        sound(*(tmp_path / place / f"{name}.wav" for name in ("mixture", "vocals", "drums", "bass", "other")))
    assert len(MUSDB_VALIDATION) == 14
    assert [song.id for song in musdb18hq(tmp_path, "train")] == ["A - B"]
    assert [song.id for song in musdb18hq(tmp_path, "validation")] == [held]
    (test,) = musdb18hq(tmp_path, "test")
    assert relative(test.stems["vocals"], tmp_path) == ["test/C - D/vocals.wav"]
    assert set(test.stems) == {"vocals", "drums", "bass", "other"}
    assert test.mixture == tmp_path / "test/C - D/mixture.wav"
    (tmp_path / "test/C - D/bass.wav").unlink()
    with pytest.raises(InputError, match=r"bass\.wav: no such file"):
        musdb18hq(tmp_path, "test")


SLAKH = """
UUID: 1
stems:
  S00: {audio_rendered: true, inst_class: Guitar, is_drum: false, program_num: 29}
  S01: {audio_rendered: true, inst_class: Drums, is_drum: true, program_num: 128}
  S02: {audio_rendered: false, inst_class: Piano, is_drum: false, program_num: 0}
  S03: {audio_rendered: true, inst_class: Guitar, is_drum: false, program_num: 26}
"""


def test_slakh2100(tmp_path: Path) -> None:
    track = tmp_path / "validation" / "Track01501"
    sound(*(track / "stems" / f"S0{k}.flac" for k in (0, 1, 3)), track / "mix.flac")
    (track / "metadata.yaml").write_text(SLAKH)
    (item,) = slakh2100(tmp_path, "validation")
    assert item.id == "Track01501"
    assert {name: relative(paths, track) for name, paths in item.stems.items()} == {
        "guitar": ["stems/S00.flac", "stems/S03.flac"],
        "drums": ["stems/S01.flac"],
    }
    assert item.mixture == track / "mix.flac"
    (track / "stems" / "S03.flac").unlink()
    with pytest.raises(InputError, match=r"S03\.flac: no such file"):
        slakh2100(tmp_path, "validation")


@pytest.mark.parametrize("text", ["", "stems: {S00: {is_drum: false}}", "stems: [a]", "{", "stems: {S00: 3}"])
def test_bad_metadata_is_named(tmp_path: Path, text: str) -> None:
    track = tmp_path / "train" / "Track00001"
    track.mkdir(parents=True)
    (track / "metadata.yaml").write_text(text)
    with pytest.raises(InputError, match=r"metadata\.yaml: does not describe stems"):
        slakh2100(tmp_path, "train")


def test_librimix(tmp_path: Path) -> None:
    base = tmp_path / "wav16k" / "min"
    for part in ("train-100", "dev", "test"):
        for source in ("mix_clean", "mix_both", "mix_single", "s1", "s2", "noise"):
            sound(base / part / source / f"{part}-1_2.wav")
    (clean,) = librimix(tmp_path, "validation")
    assert clean.id == "dev-1_2"
    assert relative(clean.stems["speaker2"], base) == ["dev/s2/dev-1_2.wav"]
    assert set(clean.stems) == {"speaker1", "speaker2"}
    (noisy,) = librimix(tmp_path, "train", mixture="mix_both")
    assert set(noisy.stems) == {"speaker1", "speaker2", "noise"}
    assert noisy.mixture == base / "train-100/mix_both/train-100-1_2.wav"
    (single,) = librimix(tmp_path, "test", mixture="mix_single")
    assert set(single.stems) == {"speaker1", "noise"}
    sound(base / "train-360" / "mix_clean" / "x.wav")
    with pytest.raises(InputError, match=r"train-360"):  # the larger part comes first, and it has no sources
        librimix(tmp_path, "train", mixture="mix_both")
    with pytest.raises(InputError, match="no folder dev"):
        librimix(tmp_path, "validation", rate="wav8k")


def test_wsj0_2mix(tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / "other" / "2speakers"):
        for part in ("tr", "cv", "tt"):
            for source in ("mix", "s1", "s2"):
                sound(root / "wav8k" / "min" / part / source / "011a_1.5_012b_-1.5.wav")
        (item,) = wsj0_2mix(tmp_path if root == tmp_path else tmp_path / "other", "validation")
        assert item.id == "011a_1.5_012b_-1.5"
        assert item.stems["speaker1"] == (root / "wav8k/min/cv/s1/011a_1.5_012b_-1.5.wav",)
    (tmp_path / "wav8k/min/tr/s2/011a_1.5_012b_-1.5.wav").unlink()
    with pytest.raises(InputError, match="tr/s2/011a"):
        wsj0_2mix(tmp_path, "train")


def test_every_layout_names_a_missing_folder(tmp_path: Path) -> None:
    for read in LAYOUTS.values():
        with pytest.raises(InputError, match=r"no such folder|no folder"):
            read(tmp_path / "none", "train")


def test_speakers(tmp_path: Path) -> None:
    sound(tmp_path / "libri/19/198/19-198-1.flac", tmp_path / "libri/19/198/19-198-2.flac", tmp_path / "libri/26/a.wav")
    sound(tmp_path / "kate/wavs/x.wav", tmp_path / "kate/y.wav")
    found = speakers([tmp_path / "libri", tmp_path / "kate"])
    assert {name: len(paths) for name, paths in found.items()} == {"19": 2, "26": 1, "kate": 2}
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no sound files"):
        speakers([tmp_path / "empty"])
    with pytest.raises(InputError, match="no such folder"):
        speakers([tmp_path / "none"])
