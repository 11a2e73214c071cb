import io
import zipfile

import numpy as np
import pytest

from wavegen.errors import InputError
from wavegen.music.attributes import Key
from wavegen.music.midi import write_midi
from wavegen.music.notation import abc_tunes, parse_abc, read_score
from wavegen.music.score import Score, Track

pytest.importorskip("music21")

HEADER = "X:1\nT:The Test\nT:Its Other Name\nR:reel\nM:{meter}\nL:1/8\nK:{key}\n"


def abc(body, meter="2/4", key="G", **options):
    return parse_abc(HEADER.format(meter=meter, key=key) + body + "\n", **options)


def melody(score):
    return [(onset, length, pitch) for onset, length, pitch, _ in score.tracks[0].notes.round(6).tolist()]


def test_notes_metre_key_and_title_of_a_tune():
    score = abc("G2 AB | c4 |]")
    assert melody(score) == [(0, 1, 67), (1, 0.5, 69), (1.5, 0.5, 71), (2, 2, 72)]
    assert (score.meters, score.key, score.title) == (((0, 2, 4),), Key(7), "The Test")
    assert score.tempos == ((0, 120),)
    assert set(score.tracks[0].notes[:, 3]) == {80}


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("Am", Key(9, "minor")),
        ("Ddor", Key(2, "dorian")),
        ("Amix", Key(9, "mixolydian")),
        ("Bb", Key(10)),
        ("Elyd", None),
    ],
)
def test_modes_of_abc(text, key):
    assert abc("A4 |]", key=text).key == key


def test_a_pickup_is_filled_up_with_rests_before_it():
    score = abc("D | G2 AB | c3 |]", strict=True)
    assert melody(score)[:2] == [(1.5, 0.5, 62), (2, 1, 67)]
    assert score.bars() == ((0, 2), (2, 2), (4, 2))


def test_a_pickup_to_a_repeated_part_stands_before_its_barline():
    """The last bar of the first part lacks what the pickup of the second brings, or does not: both stay on the grid."""
    for body in ("|: D | G2 AB | c3 :| D | e4 | d3 |]", "D | G2 AB | c4 || D | e4 | d3 |]"):
        score = abc(body, repeats=False, strict=True)
        onsets = {pitch: onset for onset, _, pitch in melody(score)}
        assert onsets[76] % 2 == 0  # the downbeat e
        assert onsets[76] - [onset for onset, _, pitch in melody(score) if pitch == 62][-1] == 0.5


def test_repeats_are_played_or_each_passage_once_with_its_last_ending():
    body = "G4 |: A4 |1 B4 :|2 c4 |] d4 |]"
    assert [pitch for _, _, pitch in melody(abc(body))] == [67, 69, 71, 69, 72, 74]
    score = abc(body, repeats=False)
    assert melody(score) == [(0, 2, 67), (2, 2, 69), (4, 2, 72), (6, 2, 74)]


def test_ties_join_notes_and_grace_notes_are_left_out():
    assert melody(abc("G2 A2- | A2 {c}B2 |]")) == [(0, 1, 67), (1, 2, 69), (3, 1, 71)]


def test_chord_symbols_become_a_track_and_other_quotes_vanish():
    score = abc('"G"G2 "4"AB | "D7""_mf"c4 |]')
    assert [track.name for track in score.tracks][1:] == ["Chords"]
    notes = score.tracks[1].notes
    assert {pitch % 12 for pitch in notes[notes[:, 0] == 0, 2]} == {7, 11, 2}
    assert {pitch % 12 for pitch in notes[notes[:, 0] == 2, 2]} == {2, 6, 9, 0}
    np.testing.assert_array_equal(notes[:, 1], 2)


def test_bars_that_do_not_hold_the_metre_are_refused_only_when_strict():
    body = "G2 AB | c2 | G4 | A4 |]"
    assert [onset % 2 for onset, _, pitch in melody(abc(body)) if pitch == 67] == [0, 0]
    with pytest.raises(InputError, match="1 quarters, not 2/4"):
        abc(body, strict=True)
    with pytest.raises(InputError, match="metre changes at quarter 2"):
        abc("G2 ABc | c4 | G4 | A4 |]", strict=True)


def test_tempo_marks_count_quarters():
    text = "X:1\nT:x\nM:6/8\nL:1/8\nQ:3/8=80\nK:C\nc3 d3 |]\n"
    assert parse_abc(text).tempos == ((0, 120),)
    assert parse_abc(text.replace("=80", "=60")).tempos == ((0, 90),)


@pytest.mark.parametrize("inline", [True, False])
def test_changes_of_key_and_note_length_within_a_tune(inline):
    key, length = ("[K:D]", "[L:1/8]") if inline else ("\nK:D\n", "\nL:1/8\n")
    notes = melody(abc(f"FGAB|{key}FFFF|{length}ABcdABcd|]", meter="4/4", key="C"))
    assert [note[2] for note in notes] == [65, 67, 69, 71, 66, 66, 66, 66, 69, 71, 73, 74, 69, 71, 73, 74]
    assert [note[1] for note in notes[-8:]] == [0.5] * 8


@pytest.mark.parametrize(
    "body",
    [
        "FGAB|FGAB|]\nw: la [K:C] la la la",
        "FGAB|FGAB|] % was [K:F] once",
        "FGAB|[K:clef=bass]FGAB|]",
        "FGAB|[K:octave=-1]FGAB|]",
    ],
)
def test_what_is_no_change_of_key_is_none(body):
    assert [note[2] for note in melody(abc(body, meter="4/4", key="G\nL:1/4"))] == [66, 67, 69, 71] * 2


@pytest.mark.parametrize("body", ["|:FGAB|1 FGAF:|2 [K:D]cGAB||", "|1 [K:D]cGAF:|2 cGAB||"])
def test_endings_stay_whole_and_a_change_of_key_within_them_is_told(tmp_path, body):
    path = tmp_path / "a.abc"
    path.write_text(f"X:1\nT:t\nM:4/4\nL:1/4\nK:G\n{body}\n", encoding="utf-8")
    with pytest.warns(UserWarning, match="a change of key within the tune is left out"):
        score = read_score(path)
    path.write_text(path.read_text(encoding="utf-8").replace("[K:D]", ""), encoding="utf-8")
    assert read_score(path) == score


@pytest.mark.parametrize("change", ["M:C\n", "[M:4/4]", "w: la [M:3/4] la\n", "% [Q:1/4=90]\n", "Q:1/4=60\n"])
def test_a_metre_or_tempo_said_again_is_no_change(tmp_path, change):
    path = tmp_path / "a.abc"
    path.write_text(f"X:1\nT:t\nM:4/4\nL:1/4\nQ:1/4=60\nK:C\nABcd|\n{change}ABcd|]\n", encoding="utf-8")
    read_score(path)  # warnings are errors


@pytest.mark.parametrize("inline", [True, False])
@pytest.mark.parametrize(("field", "what"), [("M:3/4", "metre"), ("Q:1/4=90", "tempo")])
def test_changes_of_metre_and_tempo_within_a_tune_are_told(tmp_path, field, what, inline):
    change = f"[{field}]" if inline else f"\n{field}\n"
    path = tmp_path / "a.abc"
    header = "X:1\nT:t\nM:4/4\nL:1/4\nQ:1/4=60\nK:C\n"
    path.write_text(f"{header}ABcd|{change}ABc|ABc|]\n", encoding="utf-8")
    with pytest.warns(UserWarning, match=rf"a\.abc: a change of {what} within the tune is left out"):
        read_score(path)
    path.write_text(f"{header}ABcd|ABcd|]\n", encoding="utf-8")
    read_score(path)  # warnings are errors


def test_tunes_of_a_file_are_told_apart(tmp_path):
    text = "% preamble\nX:1\nT:One\nZ:somebody % else\nK:C\nc4|]\n\nX: 2\nT: Two\nM:3/4\nK:Dm\nd6|]\nX:3\nT:no key\n"
    tunes = list(abc_tunes(text))
    assert [(tune.first("X"), tune.first("T"), tune.first("K"), tune.first("R")) for tune in tunes] == [
        ("1", "One", "C", ""),
        ("2", "Two", "Dm", ""),
    ]
    assert tunes[0].fields["Z"] == ("somebody",)
    path = tmp_path / "two.abc"
    path.write_text(text, encoding="utf-8")
    assert read_score(path, number=2).title == "Two"
    with pytest.raises(InputError, match="holds 2 tunes"):
        read_score(path)
    with pytest.raises(InputError, match="no tune X:7"):
        read_score(path, number=7)


MUSICXML = """<?xml version="1.0"?>
<score-partwise version="4.0"><movement-title>Duo</movement-title>
<part-list>
<score-part id="P1"><part-name>Clarinet</part-name><score-instrument id="I1"><instrument-name>Clarinet</instrument-name>
</score-instrument><midi-instrument id="I1"><midi-channel>1</midi-channel><midi-program>72</midi-program>
</midi-instrument>
</score-part></part-list>
<part id="P1"><measure number="1"><attributes><divisions>2</divisions><key><fifths>1</fifths><mode>minor</mode></key>
<time><beats>3</beats><beat-type>4</beat-type></time><transpose><diatonic>-1</diatonic><chromatic>-2</chromatic></transpose>
</attributes><direction><direction-type><dynamics><ff/></dynamics></direction-type><sound tempo="96"/></direction>
<note><pitch><step>C</step><octave>5</octave></pitch><duration>4</duration><type>half</type></note>
<note><chord/><pitch><step>E</step><octave>5</octave></pitch><duration>4</duration><type>half</type></note>
<note><pitch><step>D</step><octave>5</octave></pitch><duration>2</duration><type>quarter</type></note></measure></part>
</score-partwise>
"""


def test_musicxml_sounds_as_its_instruments_do(tmp_path):
    path = tmp_path / "duo.musicxml"
    path.write_text(MUSICXML, encoding="utf-8")
    score = read_score(path)
    assert melody(score) == [(0, 2, 70), (0, 2, 74), (2, 1, 72)]
    assert (score.meters, score.tempos, score.title) == (((0, 3, 4),), ((0, 96),), "Duo")
    assert (score.tracks[0].program, score.tracks[0].name, score.key) == (71, "Clarinet", Key(4, "minor"))
    assert score.tracks[0].notes[0, 3] > 100
    with zipfile.ZipFile(tmp_path / "duo.mxl", "w") as archive:
        archive.writestr("META-INF/container.xml", "<container/>")
        archive.writestr("duo.xml", MUSICXML)
    assert read_score(tmp_path / "duo.mxl") == score


def test_midi_is_read_by_its_extension(tmp_path):
    score = Score((Track(3, False, "x", [(0, 1, 60, 80)]),))
    write_midi(tmp_path / "a.MID", score)
    assert read_score(tmp_path / "a.MID") == score


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.abc", b"", "no ABC tune"),
        ("a.abc", b"X:1\nK:C\n", "a.abc"),
        ("a.abc", b"X:1\nM:4/4\nK:C\nz4|]\n", "no"),
        ("a.xml", b"<html><p>", "not readable as musicxml"),
        ("a.musicxml", bytes(range(256)), "not readable as musicxml"),
        ("a.mxl", b"PK\3\4nonsense", "not a readable .mxl"),
        ("a.wav", b"RIFF", "not '.wav'"),
        ("a.krn", None, "not '.krn'"),
        ("none.abc", None, "No such file"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(tmp_path, name, data, words):
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=words) as caught:
        read_score(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_archives_without_music_or_too_large_are_refused(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("META-INF/container.xml", "<container/>")
    (tmp_path / "a.mxl").write_bytes(buffer.getvalue())
    with pytest.raises(InputError, match="holds no MusicXML"):
        read_score(tmp_path / "a.mxl")
    with zipfile.ZipFile(tmp_path / "b.mxl", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("b.xml", bytes(1 << 26))
    with pytest.raises(InputError, match="unpacks to more than 32 MiB"):
        read_score(tmp_path / "b.mxl")


def test_an_endless_note_is_refused_at_once() -> None:
    with pytest.raises(InputError, match="length 10000 is too long"):
        parse_abc("X:1\nM:4/4\nL:1/4\nK:C\nC10000|C4|\n", name="x.abc")
