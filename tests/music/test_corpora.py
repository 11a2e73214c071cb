import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavegen.errors import InputError
from wavegen.music.attributes import Key
from wavegen.music.corpora import (
    SPLITS,
    abc_collection,
    assign_splits,
    freedoom,
    groove,
    in_tonic,
    incipits,
    jsb,
    maestro,
    music21_tunes,
    musicnet,
    normalised_title,
    nottingham,
    pianoroll_mat,
    pieces_to_steps,
    transpositions,
    tune_style,
)
from wavegen.music.midi import write_midi
from wavegen.music.score import Score, Track


def tune(seed, shift=0, program=0):
    """Twenty random quarters."""
    pitches = np.random.default_rng(seed).integers(50, 80, 20) + shift
    return Score((Track(program, False, "", [(at, 1, pitch, 80) for at, pitch in enumerate(pitches)]),))


def write(path, score):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_midi(path, score)


# Layouts


def test_maestro_keeps_its_split_and_leaves_out_what_is_missing(tmp_path):
    write(tmp_path / "2004" / "a.midi", tune(1))
    write(tmp_path / "2006" / "b.midi", tune(2))
    header = "canonical_composer,canonical_title,split,year,midi_filename,audio_filename,duration\n"
    rows = (
        'Bach,"Fugue, in C",train,2004,2004/a.midi,2004/a.wav,10.0\nLiszt,Étude,validation,2006,2006/b.midi,b.wav,9\n'
    )
    (tmp_path / "maestro-v3.0.0.csv").write_text(header + rows + "X,Y,test,2006,2006/none.midi,c.wav,9\n", "utf-8")
    seen = []
    pieces = list(maestro(tmp_path, progress=lambda done, total: seen.append((done, total))))
    assert [(p.id, p.title, p.split) for p in pieces] == [
        ("2004/a.midi", "Bach: Fugue, in C", "train"),
        ("2006/b.midi", "Liszt: Étude", "validation"),
    ]
    assert pieces[0].score == tune(1)
    assert pieces[0].licence == "CC-BY-NC-SA-4.0"
    assert seen == [(1, 2), (2, 2)]
    (tmp_path / "maestro-v3.0.0.csv").write_text("canonical_composer,split\n", "utf-8")
    with pytest.raises(InputError, match="no column 'canonical_title'"):
        list(maestro(tmp_path))
    with pytest.raises(InputError, match=r"maestro-v3\.0\.0\.csv"):
        list(maestro(tmp_path / "2004"))


def test_musicnet_labels_are_samples_and_programs_from_1(tmp_path):
    header = "id,composer,composition,movement,ensemble,source,transcriber,catalog_name,seconds\n"
    rows = "".join(f"{number},Bach,Suite {number},Air,Solo Cello,a,b,c,9\n" for number in range(100, 160))
    (tmp_path / "musicnet_metadata.csv").write_text(header + rows, "utf-8")
    labels = "start_time,end_time,instrument,note,start_beat,end_beat,note_value\n"
    labels += "44100,88200,43,53,4.0,1.5,Dotted Quarter\n22050,22050,1,60,0,1,Quarter\n"
    for number in range(100, 160):
        folder = tmp_path / ("test_labels" if number >= 150 else "train_labels")
        folder.mkdir(exist_ok=True)
        (folder / f"{number}.csv").write_text(labels, "utf-8")
    pieces = {piece.id: piece for piece in musicnet(tmp_path)}
    score = pieces["100"].score
    assert [(track.program, track.notes.tolist()) for track in score.tracks] == [
        (0, [[0.5, 1 / 44100, 60, 80]]),
        (42, [[1, 1, 53, 80]]),
    ]
    assert score.duration == pytest.approx(2)
    assert pieces["100"].title == "Bach: Suite 100, Air"
    assert {pieces[str(number)].split for number in range(150, 160)} == {"test"}
    rest = Counter(pieces[str(number)].split for number in range(100, 150))
    assert 1 <= rest["validation"] <= 12
    assert rest["test"] == 0
    (tmp_path / "train_labels" / "100.csv").write_text(labels.replace("53", "five"), "utf-8")
    with pytest.raises(InputError, match="not a number"):
        list(musicnet(tmp_path))
    (tmp_path / "train_labels" / "100.csv").write_text(labels.replace(",43,", ",129,"), "utf-8")
    with pytest.raises(InputError, match="instrument 129"):
        list(musicnet(tmp_path))


def test_nottingham_flat_files_are_split_by_tune_and_folders_as_published(tmp_path):
    for index in range(12):
        write(tmp_path / "flat" / f"jigs{index}.mid", tune(index))
    write(tmp_path / "flat" / "reelsa-c1.mid", tune(3, shift=-2))
    pieces = {piece.id: piece for piece in nottingham(tmp_path / "flat")}
    assert list(pieces)[:3] == ["jigs0.mid", "jigs1.mid", "jigs2.mid"]
    assert pieces["reelsa-c1.mid"].style == "reels"
    assert pieces["jigs11.mid"].style == "jigs"
    assert pieces["reelsa-c1.mid"].split == pieces["jigs3.mid"].split
    assert {piece.licence for piece in pieces.values()} == {"GPL-3.0-only"}
    for folder in ("train", "valid", "test"):
        write(tmp_path / "parts" / folder / "jigs1.mid", tune(5))
    splits = {piece.id: piece.split for piece in nottingham(tmp_path / "parts")}
    assert splits == {f"{a}/jigs1.mid": b for a, b in (("train", "train"), ("valid", "validation"), ("test", "test"))}
    with pytest.raises(InputError, match=r"no \*\.mid"):
        list(nottingham(tmp_path))


def test_freedoom_keeps_files_that_begin_alike_together(tmp_path):
    for index in range(20):
        write(tmp_path / f"d_e1m{index}.mid", tune(index % 10, shift=index // 10))
    pieces = list(freedoom(tmp_path))
    assert [piece.id for piece in pieces[:3]] == ["d_e1m0.mid", "d_e1m1.mid", "d_e1m2.mid"]
    assert [piece.split for piece in pieces[:10]] == [piece.split for piece in pieces[10:]]


def test_groove_takes_tempo_metre_and_split_from_its_table(tmp_path):
    beat = Score((Track(0, True, "", [(0, 0.25, 36, 100), (1, 0.25, 38, 100)]),), tempos=((0, 119.9),))
    write(tmp_path / "drummer1" / "1.mid", beat)
    columns = "drummer,session,id,style,bpm,beat_type,time_signature,midi_filename,audio_filename,duration,split\n"
    row = "drummer1,s,drummer1/s/1,jazz/march,{bpm},beat,{meter},drummer1/1.mid,,27.8,{split}\n"
    missing = "drummer1,s,drummer1/s/2,jazz,90,beat,3-4,drummer1/2.mid,,27.8,test\n"
    table = tmp_path / "info.csv"
    table.write_text(columns + row.format(bpm=120, meter="6-8", split="validation") + missing, "utf-8")
    (piece,) = groove(tmp_path)
    assert (piece.id, piece.style, piece.split, piece.meter) == ("drummer1/s/1", "jazz/march", "validation", (6, 8))
    assert piece.score.tempos == ((0, 120),)
    for change, words in (({"split": "dev"}, "split 'dev'"), ({"meter": "6"}, "drummer1/s/1"), ({"bpm": "x"}, "'x'")):
        table.write_text(columns + row.format(**{"bpm": 1, "meter": "4-4", "split": "test"} | change), "utf-8")
        with pytest.raises(InputError, match=words):
            list(groove(tmp_path))
    table.write_text(columns + missing, "utf-8")
    with pytest.raises(InputError, match="no MIDI file of its table"):
        list(groove(tmp_path))


def test_jsb_steps_become_voices(tmp_path):
    steps = [[67, 60, 55, 48]] * 4 + [[69, -1, 55, 48]] * 2 + [[69, 62, 55, 47]] * 2
    path = tmp_path / "Jsb16thSeparated.json"
    path.write_text(json.dumps({"train": [steps, steps], "valid": [steps], "test": [steps]}), "utf-8")
    pieces = list(jsb(tmp_path))
    assert [(piece.id, piece.split) for piece in pieces] == [
        ("train-000", "train"),
        ("train-001", "train"),
        ("validation-000", "validation"),
        ("test-000", "test"),
    ]
    voices = [[tuple(note[:3]) for note in track.notes.tolist()] for track in pieces[0].score.tracks]
    assert voices == [
        [(0, 1, 67), (1, 1, 69)],
        [(0, 1, 60), (1.5, 0.5, 62)],
        [(0, 2, 55)],
        [(0, 1.5, 48), (1.5, 0.5, 47)],
    ]
    (rebuilt,) = pieces_to_steps([pieces[0].score])
    assert [step.tolist() for step in rebuilt] == [sorted(p for p in step if p >= 0) for step in steps]
    path.write_text(json.dumps({"train": [[[60, 62]]]}), "utf-8")
    with pytest.raises(InputError, match=r"shape \(steps, 4\)"):
        list(jsb(path))
    path.write_text("[", "utf-8")
    with pytest.raises(InputError, match="not a readable file"):
        list(jsb(path))


def test_piano_rolls_become_pitches_from_21(tmp_path):
    scipy_io = pytest.importorskip("scipy.io")
    roll = np.zeros((3, 88), dtype=np.uint8)
    roll[0, [0, 39]] = roll[2, 87] = 1
    cells = np.empty((1, 2), dtype=object)
    cells[0, 0], cells[0, 1] = roll, roll[:1]
    path = tmp_path / "x.mat"
    scipy_io.savemat(path, {"traindata": cells, "validdata": cells[:, :1], "testdata": cells[:, :1]})
    pieces = pianoroll_mat(path)
    assert list(pieces) == list(SPLITS)
    assert [step.tolist() for step in pieces["train"][0]] == [[21, 60], [], [108]]
    assert [len(pieces[split]) for split in SPLITS] == [2, 1, 1]
    scipy_io.savemat(path, {"traindata": cells})
    with pytest.raises(InputError, match="no validdata"):
        pianoroll_mat(path)
    path.write_bytes(b"nonsense")
    with pytest.raises(InputError, match=r"not a readable \.mat"):
        pianoroll_mat(path)


def test_abc_collections_leave_out_restricted_and_broken_tunes_and_keep_versions_together(tmp_path):
    pytest.importorskip("music21")
    body = "GABc defg | abag fedc | GBdg bgdB | G4 G4 |]\n"
    header = "X:{}\nT:{}\nM:4/4\nL:1/8\nR:{}\nK:{}\n"
    text = header.format(1, "The Rights of Man -- Hornpipe", "", "G") + body
    text += header.format(2, "Rights of Man, The (2)", "hornpipe", "D") + "A8 | B8 |]\n"
    text += header.format(3, "Another Name", "reel", "A") + "ABcd efga | baba gfed | Acea c'aec | A4 A4 |]\n"
    text += header.format(4, "Mine", "jig", "G").replace("M:", "N:Copyright 1999, all rights reserved\nM:") + body
    text += header.format(5, "Broken", "jig", "G") + "G8 | A6 | B8 | G8 |]\n"
    (tmp_path / "a.abc").write_text(text, "utf-8")
    seen = []
    files = [("folk", tmp_path / "a.abc")]
    pieces = list(abc_collection(files, licence="CC0-1.0", progress=lambda *counts: seen.append(counts)))
    assert [(p.id, p.style, p.meter, p.licence) for p in pieces] == [
        ("folk/a/1", "hornpipe", (4, 4), "CC0-1.0"),
        ("folk/a/2", "hornpipe", (4, 4), "CC0-1.0"),
        ("folk/a/3", "reel", (4, 4), "CC0-1.0"),
    ]
    assert len({p.split for p in pieces}) == 1  # 1 and 2 by title, 1 and 3 by melody
    assert pieces[0].score.key == Key(7)
    assert seen[-1] == (5, 5)


def test_unknown_collections_are_refused():
    pytest.importorskip("music21")
    with pytest.raises(InputError, match="'nottingham'"):
        list(music21_tunes(("nottingham",)))


# Splits


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("The Rights of Man -- Hornpipe (No. 2)", "rights of man"),
        ("Rights of Man, The", "rights of man"),
        ("RIGHTS OF MAN [version b]", "rights of man"),
        ("7th Regiment Reel", "7th regiment"),
        ("Miss McLeod's", "miss mcleods"),
        ("Miss McLeod’s Reel No.3", "miss mcleods"),
        ("Seán Ó Duibhir", "sean o duibhir"),
        ("Jig", ""),
        ("Untitled", ""),
        ("Hornpipe #12", ""),
    ],
)
def test_titles_of_versions_agree(title, expected):
    assert normalised_title(title) == expected


def test_incipits_agree_across_transposition_and_pickups():
    first, moved = tune(7), tune(7, shift=5)
    assert incipits(first) == incipits(moved)
    assert not set(incipits(first)) & set(incipits(tune(8)))
    notes = first.tracks[0].notes.copy()
    notes[:, 0] += 4
    pickup = np.vstack(([(3.5, 0.5, 50, 80)], notes))
    with_pickup = Score((first.tracks[0].with_notes(pickup),))
    assert set(incipits(first)) & set(incipits(with_pickup))
    assert incipits(Score((Track(0, False, "", [(at, 1, 60, 80) for at in range(30)]),))) == []
    assert incipits(Score((Track(0, True, "", [(at, 1, 30 + at, 80) for at in range(30)]),))) == []


@given(st.lists(st.sets(st.integers(0, 60), min_size=1, max_size=3), max_size=40), st.randoms())
def test_whatever_shares_a_key_shares_a_part_in_any_order(keys, random):
    parts = assign_splits(keys)
    for mine, part in zip(keys, parts, strict=True):
        assert {p for other, p in zip(keys, parts, strict=True) if mine & other} == {part}
    order = list(range(len(keys)))
    random.shuffle(order)
    assert assign_splits([keys[index] for index in order]) == [parts[index] for index in order]


def test_parts_have_their_shares():
    counts = Counter(assign_splits([{f"tune {index}"} for index in range(4000)]))
    assert counts["train"] == pytest.approx(3200, abs=100)
    assert counts["validation"] == pytest.approx(400, abs=75)
    assert set(assign_splits([{index} for index in range(50)], train=0, validation=1)) == {"validation"}
    with pytest.raises(InputError, match="item 1 has no key"):
        assign_splits([{1}, set()])


@pytest.mark.parametrize(
    ("rhythm", "titles", "meter", "style"),
    [
        ("slipjig", (), (9, 8), "slip-jig"),
        ("Slip Jig", (), (9, 8), "slip-jig"),
        ("double jig", (), (6, 8), "jig"),
        ("REEL", ("Waltz",), (4, 4), "reel"),
        ("highland fling", (), (4, 4), "strathspey"),
        ("clog", (), (2, 4), "hornpipe"),
        ("", ("Arkansas Traveller -- Reel",), (2, 4), "reel"),
        ("", ("Nobody's Hornpipe (2)",), (4, 4), "hornpipe"),
        ("", ("The Fairies",), (6, 8), "jig"),
        ("", ("The Fairies",), (3, 4), "folk"),
    ],
)
def test_styles_of_tunes(rhythm, titles, meter, style):
    assert tune_style(rhythm, titles, meter) == style


# Augmentation and piano rolls


def test_transpositions_stay_in_range():
    score = Score((Track(0, False, "", [(0, 1, 60, 80), (1, 1, 72, 80)]),), key=Key(0))
    moved = list(transpositions(score, low=58, high=74))
    assert [s.tracks[0].notes[0, 2] for s in moved] == [58, 59, 60, 61, 62]
    assert [s.key.tonic for s in moved] == [10, 11, 0, 1, 2]
    assert len(list(transpositions(score))) == 12


@given(st.integers(0, 11), st.integers(0, 11))
def test_normalising_moves_the_shortest_way(tonic, target):
    score = replace(tune(1), key=Key(tonic, "minor"))
    moved = in_tonic(score, tonic=target)
    shift = moved.tracks[0].notes[0, 2] - score.tracks[0].notes[0, 2]
    assert -5 <= shift <= 6
    assert moved.key == Key(target, "minor")
    assert (tonic + shift - target) % 12 == 0


def test_a_score_without_key_needs_one_to_be_normalised():
    assert in_tonic(tune(1), Key(2)).key == Key(0)
    with pytest.raises(InputError, match="without key"):
        in_tonic(tune(1))


def test_steps_hold_what_covers_their_middle():
    track = Track(0, False, "", [(0, 0.5, 60, 80), (0.25, 0.01, 64, 80), (0.6, 0.4, 67, 80), (0, 1, 20, 80)])
    score = Score((track, Track(0, True, "", [(0, 9, 36, 80)])))
    assert [step.tolist() for step in pieces_to_steps([score])[0]] == [[60], [60, 64], [67], [67]]
    assert pieces_to_steps([Score(())]) == [[]]
    with pytest.raises(InputError, match="step"):
        pieces_to_steps([score], 0)
