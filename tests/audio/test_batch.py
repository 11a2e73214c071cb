"""Which files a batch takes, where their results go, and which are finished."""

import os
from pathlib import Path, PurePath

import numpy as np
import pytest

from wavegen.audio import batch, io
from wavegen.audio.io import Audio
from wavegen.errors import InputError


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def named(items: list[batch.Input]) -> list[str]:
    return [str(item.folder / item.name) for item in items]


def test_folders_keep_their_structure(tmp_path: Path) -> None:
    touch(tmp_path / "b.WAV", tmp_path / "a" / "x.flac", tmp_path / "a" / "notes.txt", tmp_path / "a" / ".x.wav")
    touch(tmp_path / ".git" / "y.wav", tmp_path / "out" / "b" / "vocals.wav")
    found, missing = batch.find_inputs([str(tmp_path)], without=tmp_path / "out")
    assert named(found) == ["b", "a/x"]
    assert missing == []


def test_globs_keep_what_is_below_their_fixed_part(tmp_path: Path) -> None:
    touch(tmp_path / "one" / "a.wav", tmp_path / "two" / "deep" / "b.wav", tmp_path / "c [live].wav")
    found, missing = batch.find_inputs([f"{tmp_path}/**/*.wav"])
    assert sorted(named(found)) == ["c [live]", "one/a", "two/deep/b"]
    found, _ = batch.find_inputs([str(tmp_path / "c [live].wav")])  # a name, not a pattern, if there is such a file
    assert named(found) == ["c [live]"]
    assert missing == []


def test_what_stands_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    found, missing = batch.find_inputs(
        [f"{tmp_path}/*.wav", str(tmp_path / "empty"), str(tmp_path / "absent.wav"), "-"]
    )
    assert named(found) == ["absent", "stdin"]
    assert [line.split(": ")[1][:7] for line in missing] == ["no file", "no audi"]


def test_a_file_is_taken_once(tmp_path: Path) -> None:
    touch(tmp_path / "a.wav")
    (tmp_path / "link.wav").symlink_to(tmp_path / "a.wav")
    found, _ = batch.find_inputs([str(tmp_path / "a.wav"), str(tmp_path), str(tmp_path / "link.wav")])
    assert named(found) == ["a"]


def test_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    touch(*(tmp_path / name for name in ("p/x.wav", "q/x.wav", "q/x.flac", "q/y.wav")))
    found, _ = batch.find_inputs([str(tmp_path / name) for name in ("p/x.wav", "q/x.wav", "q/x.flac", "q/y.wav")])
    assert named(found) == ["p/x", "q/x.wav", "q/x.flac", "y"]


def test_files_of_one_name_in_a_folder_keep_the_structure(tmp_path: Path) -> None:
    names = ("album/cd1/x.flac", "album/cd1/x.wav", "album/x.wav")
    touch(*(tmp_path / name for name in names))
    found, _ = batch.find_inputs([str(tmp_path / "album")])
    assert named(found) == ["x", "cd1/x.flac", "cd1/x.wav"]


def test_what_came_apart_does_not_fall_together_again(tmp_path: Path) -> None:
    names = ("x/a.wav", "y/a.wav", "z/x/a.wav", "w/b.wav", "w/b.flac", "w/b.wav.wav", "w/...wav")
    touch(*(tmp_path / name for name in names))
    found, _ = batch.find_inputs([str(tmp_path / name) for name in ("x/a.wav", "y/a.wav", "z", "w", "w/...wav")])
    assert len(found) == len(names)
    assert len(set(named(found))) == len(names)
    assert len(places(found, "{folder}/{name}/{stem}.{ext}")) == 2 * len(names)


def test_a_glob_within_the_output_is_told(tmp_path: Path) -> None:
    touch(tmp_path / "a.wav", tmp_path / "b" / "vocals.wav")
    found, missing = batch.find_inputs([f"{tmp_path}/**/*.wav"], without=tmp_path)
    assert not found
    assert "lies in the output folder" in missing[0]
    with pytest.raises(InputError, match="empty name"):
        batch.find_inputs([""])


def places(items: list[batch.Input], template: str, stems: tuple[str, ...] = ("a", "b"), model: str = "m") -> list[str]:
    made = batch.targets(items, Path("out"), template, stems, ext=lambda item, stem: "wav", model=model)
    return [str(place) for of_one in made.values() for place in of_one.values()]


def test_where_results_go() -> None:
    items = [batch.Input(Path("in/f/x.mp3"), PurePath("f"), "x"), batch.Input(Path("y.wav"), PurePath(), "y")]
    expected = ["out/f/x/a.wav", "out/f/x/b.wav", "out/y/a.wav", "out/y/b.wav"]
    assert places(items, "{folder}/{name}/{stem}.{ext}") == expected
    assert places(items[1:], "{model}-{name}.{stem}") == ["out/m-y.a", "out/m-y.b"]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{stem}.wav", "would both write"), ("{name}.wav", "two stems of"), ("{what}", "the fields are"),
        ("{", "the fields are"), ("{0}", "the fields are"), ("/{name}/{stem}", "no file's name"),
        ("../{name}/{stem}", "no file's name"), ("", "no file's name"), ("{name.x}/{stem}", "the fields are"),
    ],
)  # fmt: skip
def test_templates_that_make_no_sense(template: str, message: str) -> None:
    items = [batch.Input(Path("x.wav"), PurePath(), "x"), batch.Input(Path("y.wav"), PurePath(), "y")]
    with pytest.raises(InputError, match=message):
        places(items, template)


@pytest.mark.parametrize("stem", ["../x", "a/b", "", ".", "..", "a\\b"])
def test_a_models_names_cannot_leave_the_folder(stem: str) -> None:
    with pytest.raises(InputError, match="part of a file's name"):
        places([batch.Input(Path("x.wav"), PurePath(), "x")], "{name}/{stem}", (stem,))


def test_no_input_is_overwritten(tmp_path: Path) -> None:
    touch(tmp_path / "x.wav")
    item = batch.Input(tmp_path / "x.wav", PurePath(), "x")
    with pytest.raises(InputError, match="would be overwritten"):
        batch.targets([item], tmp_path, "{name}.{ext}", ("a",), ext=lambda item, stem: "wav", model="m")
    other = batch.Input(tmp_path / "other.wav", PurePath(), "other")
    with pytest.raises(InputError, match=r"x\.wav: would be overwritten"):  # though nothing is made of it
        batch.targets([other], tmp_path, "x.{ext}", ("a",), ext=lambda *_: "wav", model="m", untouched=[item, other])


def test_links_to_one_place_are_one(tmp_path: Path) -> None:
    for stem in ("a", "b"):
        (tmp_path / f"{stem}.wav").symlink_to(tmp_path / "same.wav")
    item = batch.Input(tmp_path / "x.wav", PurePath(), "x")
    with pytest.raises(InputError, match=r"two stems of .*x\.wav would be"):
        batch.targets([item], tmp_path, "{stem}.{ext}", ("a", "b"), ext=lambda *_: "wav", model="m")


def test_an_extension_does_not_lie(tmp_path: Path) -> None:
    item = batch.Input(tmp_path / "x.wav", PurePath(), "x")
    for template, ext in (("{stem}.wav", "flac"), ("{stem}.FLAC", "wav"), ("{stem}.ogg", "opus")):
        with pytest.raises(InputError, match=rf"would hold {ext.upper()}; end it in \.{{ext}}"):
            batch.targets([item], tmp_path, template, ("a",), ext=lambda *_, ext=ext: ext, model="m")
    for template, ext in (("{stem}.oga", "ogg"), ("{stem}.WAV", "wav"), ("{name}.{stem}", "wav")):
        batch.targets([item], tmp_path, template, ("a",), ext=lambda *_, ext=ext: ext, model="m")


def test_where_no_folder_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    batch.require_folder(tmp_path)
    batch.require_folder(tmp_path / "new" / "newer")
    with pytest.raises(InputError, match="file: is not a folder"):
        batch.require_folder(tmp_path / "file")
    with pytest.raises(InputError, match=r"file/new: .*/file is not a folder"):
        batch.require_folder(tmp_path / "file" / "new")
    assert sorted(tmp_path.iterdir()) == [tmp_path / "file"]


def test_what_is_finished(tmp_path: Path) -> None:
    sound = Audio(np.zeros((1, 100)), 8000)
    for name in ("in.wav", "a.wav", "b.wav"):
        io.write(tmp_path / name, sound)
    about = io.info(tmp_path / "in.wav")
    results = [tmp_path / "a.wav", tmp_path / "b.wav"]
    assert batch.is_finished(about, results, frames=100)
    assert not batch.is_finished(about, results, frames=99)
    assert batch.is_finished(about, results, frames=None)
    assert batch.is_finished(about, results, frames=100, kind=(about.format, about.subtype))
    assert not batch.is_finished(about, results, frames=100, kind=("WAV", "FLOAT"))
    whole = (tmp_path / "b.wav").read_bytes()
    (tmp_path / "b.wav").write_bytes(whole[:-100])
    assert not batch.is_finished(about, results, frames=None)  # and no warning
    io.write(tmp_path / "b.wav", Audio(np.zeros((2, 100)), 8000))
    assert not batch.is_finished(about, results, frames=100)
    (tmp_path / "b.wav").write_bytes(b"RIFF")
    assert not batch.is_finished(about, results, frames=100)
    (tmp_path / "b.wav").unlink()
    assert not batch.is_finished(about, results, frames=100)
    os.utime(tmp_path / "in.wav", (2e9, 2e9))
    assert not batch.is_finished(about, results[:1], frames=100)


def test_a_folder_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "a.wav", tmp_path / "locked" / "b.wav")
    original = os.scandir

    def scandir(path: object) -> object:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return original(path)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "scandir", scandir)
    found, missing = batch.find_inputs([str(tmp_path)])
    assert named(found) == ["a"]
    assert missing == [f"{tmp_path}/locked: Permission denied"]


def test_a_name_that_is_too_long() -> None:
    found, missing = batch.find_inputs(["x" * 5000])
    assert found == []
    assert missing == [f"{'x' * 5000}: File name too long"]
