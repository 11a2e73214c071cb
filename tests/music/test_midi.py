import io
import time
import tracemalloc

import mido
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavegen.errors import InputError
from wavegen.music.attributes import Key
from wavegen.music.midi import MAX_NOTES, read_midi, write_midi
from wavegen.music.score import Score, Track

HEADER = b"MThd\0\0\0\6\0\1\0\1\x01\xe0"
NOTE = b"\0\x90\x40\x40\x83\x60\x40\0"  # one quarter of E4, its release by running status and velocity 0
END = b"\0\xff\x2f\0"


def chunk(events):
    return b"MTrk" + len(events).to_bytes(4, "big") + events


@pytest.fixture
def read(tmp_path):
    def read(data, **options):
        path = tmp_path / "x.mid"
        path.write_bytes(data)
        return read_midi(path, **options)

    return read


def events(*messages):
    """A MIDI file of one track as mido, another implementation, writes it."""
    file = mido.MidiFile(ticks_per_beat=100)
    file.tracks.append(mido.MidiTrack(messages))
    buffer = io.BytesIO()
    file.save(file=buffer)
    return buffer.getvalue()


def on(note, delta, velocity=64, channel=0):
    return mido.Message("note_on", note=note, velocity=velocity, time=delta, channel=channel)


def off(note, delta, channel=0):
    return mido.Message("note_off", note=note, time=delta, channel=channel)


def example():
    violin = Track(40, False, "Geige №1", [(0, 1, 60, 80), (1, 0.5, 64, 90), (1 + 1 / 3, 1 / 6, 67, 1)])
    drums = Track(8, True, "Drums", [(0, 0.25, 36, 127), (0.5, 0.25, 42, 60)])
    return Score(
        (violin, Track(40, False, "Geige №2", [(0, 2, 55, 70)]), drums),
        tempos=((0, 90), (1.5, 133.37)),
        meters=((0, 6, 8), (3, 2, 2)),
        key=Key(2, "dorian"),
        title="Ein Stück",
    )


# Reading


def test_written_scores_read_back_exactly(tmp_path):
    path = tmp_path / "a.mid"
    score = example()
    write_midi(path, score)
    back = read_midi(path)
    assert (back.tempos, back.meters, back.key, back.title) == (score.tempos, score.meters, score.key, score.title)
    assert [(t.program, t.is_drum, t.name) for t in back.tracks] == [
        (t.program, t.is_drum, t.name) for t in score.tracks
    ]
    for mine, theirs in zip(back.tracks, score.tracks, strict=True):
        np.testing.assert_allclose(mine.notes, theirs.notes, atol=1e-12)


notes = st.tuples(st.integers(0, 200), st.integers(1, 48), st.integers(0, 127), st.integers(1, 127))


@settings(deadline=None, max_examples=60)
@given(st.lists(notes, min_size=1, max_size=30, unique_by=lambda note: (note[0] // 50, note[2])), st.integers(0, 127))
def test_grid_notes_survive_writing_and_reading(tmp_path_factory, rows, program):
    """12 ticks a quarter are exact; `unique_by` and the cut keep a pitch from being struck while it sounds."""
    array = np.array(rows, dtype=float)
    array[:, 1] = np.minimum(array[:, 1], 50 - array[:, 0] % 50)
    array[:, :2] /= 12
    track = Track(program, False, "t", array)
    path = tmp_path_factory.mktemp("midi") / "a.mid"
    write_midi(path, Score((track,)))
    back = read_midi(path).tracks[0]
    np.testing.assert_allclose(back.notes, track.notes, atol=1e-9)
    assert back.program == program


def test_running_status_and_releases_by_velocity_0(read):
    score = read(HEADER + chunk(NOTE + b"\0\x41\x50\x81\x70\x41\0" + END))
    assert score.tracks[0].notes.tolist() == [[0, 1, 64, 64], [1, 0.5, 65, 80]]
    assert (score.tempos, score.meters, score.key) == (((0, 120),), ((0, 4, 4),), None)


def test_a_note_of_no_length_gets_one_tick_and_one_never_released_none(read):
    score = read(events(on(60, 0), off(60, 0), on(62, 100), off(62, 100), on(70, 0)))
    assert score.tracks[0].notes.tolist() == [[0, 0.01, 60, 64], [1, 1, 62, 64]]


def test_channels_and_programs_of_one_track_become_tracks(read):
    change = mido.Message("program_change", program=5)
    score = read(events(on(60, 0), off(60, 100), change, on(61, 0), off(61, 100), on(36, 0, 64, 9), off(36, 10, 9)))
    got = [(t.program, t.is_drum, t.notes[:, 2].tolist()) for t in score.tracks]
    assert sorted(got) == [(0, False, [60]), (0, True, [36]), (5, False, [61])]


def test_names_that_are_not_utf_8_do_not_stop_reading(read):
    score = read(HEADER + chunk(b"\0\xff\3\5G\xe9\xff\xfei" + NOTE + END))
    assert score.tracks[0].name.startswith("G")
    assert score.tracks[0].name.encode("utf-8").endswith(b"i")


@pytest.mark.parametrize("share", np.linspace(0.05, 0.99, 20))
def test_a_file_cut_short_is_refused_wherever_it_ends(read, tmp_path, share):
    write_midi(tmp_path / "a.mid", example())
    whole = (tmp_path / "a.mid").read_bytes()
    assert read(whole + b"more").note_count == 6
    with pytest.raises(InputError, match=r"cut short|not a MIDI file"):
        read(whole[: int(share * len(whole))])


def test_tempo_0_metre_0_and_division_0_are_refused(read):
    with pytest.raises(InputError, match="tempo of 0 micro"):
        read(HEADER + chunk(b"\0\xff\x51\3\0\0\0" + NOTE + END))
    with pytest.raises(InputError, match="metre of 0/4"):
        read(HEADER + chunk(b"\0\xff\x58\4\0\2\x18\x08" + NOTE + END))
    with pytest.raises(InputError, match="0 ticks to a quarter"):
        read(HEADER[:12] + b"\0\0" + chunk(NOTE + END))


def test_the_fastest_and_slowest_tempos_are_read(read):
    score = read(HEADER + chunk(b"\0\xff\x51\3\0\0\1" + NOTE + b"\0\xff\x51\3\xff\xff\xff" + END))
    assert score.tempos[0] == (0, 60e6)
    assert score.tempos[1] == pytest.approx((1, 60e6 / 0xFFFFFF), rel=1e-6)


def test_smpte_divisions_count_seconds(read):
    """25 frames of 40 ticks: 480 ticks are 0.48 seconds, whatever tempo the file states."""
    data = HEADER[:12] + bytes((256 - 25, 40)) + chunk(b"\0\xff\x51\3\1\0\0" + NOTE + END)
    assert read(data).duration == pytest.approx(0.48)
    drop = HEADER[:12] + bytes((256 - 29, 80)) + chunk(NOTE + END)
    assert read(drop).duration == pytest.approx(480 / (80 * 30000 / 1001))
    with pytest.raises(InputError, match="SMPTE"):
        read(HEADER[:12] + bytes((256 - 26, 40)) + chunk(NOTE + END))


def test_the_pedal_holds_notes_until_it_rises_or_the_pitch_is_struck_again(read):
    pedal = [
        mido.Message("control_change", control=64, value=value, time=delta) for value, delta in ((127, 10), (0, 0))
    ]
    # the pedal is down from 0.1 to 4
    data = events(
        on(60, 0), pedal[0], off(60, 90), on(62, 0), off(62, 100), on(60, 0), off(60, 100), pedal[1].copy(time=100),
        on(64, 0), off(64, 50),
    )  # fmt: skip
    plain = [[0, 1, 60, 64], [1, 1, 62, 64], [2, 1, 60, 64], [4, 0.5, 64, 64]]
    np.testing.assert_allclose(read(data).tracks[0].notes, plain)
    held = [[0, 2, 60, 64], [1, 3, 62, 64], [2, 2, 60, 64], [4, 0.5, 64, 64]]
    np.testing.assert_allclose(read(data, pedal=True).tracks[0].notes, held)


@pytest.mark.parametrize("fifths", range(-7, 8))
def test_key_signatures_agree_with_mido(read, fifths):
    major = mido.midifiles.meta._key_signature_decode[(fifths, 0)]
    minor = mido.midifiles.meta._key_signature_decode[(fifths, 1)]
    for name in (major, minor):
        signature = mido.MetaMessage("key_signature", key=name)
        assert read(events(signature, on(60, 0), off(60, 10))).key == Key.parse(name)


def test_repeated_and_nonsensical_metadata_is_read_as_far_as_it_goes(read):
    metre = mido.MetaMessage("time_signature", numerator=3, denominator=4)
    score = read(events(metre, metre, on(60, 0), off(60, 300), metre))
    assert score.meters == ((0, 3, 4),)
    assert read(HEADER + chunk(b"\0\xff\x59\2\x7f\5" + NOTE + END)).key is None
    assert read(HEADER + chunk(b"\0\xff\x06\x0cKey: H minor" + NOTE + END)).key is None


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"MThd", "not a MIDI file"),
        (b"RIFF" + bytes(40), "not a MIDI file"),
        (HEADER[:10] + b"\0\0\1\xe0", "holds no notes"),
        (HEADER + chunk(END), "holds no notes"),
        (HEADER[:8] + b"\0\2" + HEADER[10:] + chunk(NOTE + END), "type 2"),
        (HEADER + chunk(b"\0\xf0\xff\xff\x7f\1"), "not a readable MIDI file"),
        (HEADER + chunk((b"\xff\xff\xff\x7f\x90\x40\x40\xff\xff\xff\x7f\x40\0") * 5 + END), "200000 quarters"),
        (HEADER + chunk(b"\xff\xff\xff\x7f\x90\x40\x40\0\x40\0" + END), "at most 200000"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(read, data, words):
    with pytest.raises(InputError, match=words) as caught:
        read(data)
    assert "\n" not in str(caught.value)
    assert "x.mid" in str(caught.value)


def test_missing_files_and_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_midi(tmp_path / "none.mid")
    with pytest.raises(InputError, match="directory"):
        read_midi(tmp_path)
    with pytest.raises(InputError, match="null"):
        read_midi("a\0.mid")


@settings(deadline=None, max_examples=80)
@given(st.data())
def test_damaged_files_give_a_score_or_one_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("midi") / "a.mid"
    write_midi(path, example())
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(4, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content[: data.draw(st.integers(14, len(content)))]))
    message = "\n"
    try:
        read = read_midi(path).note_count
    except InputError as error:
        read, message = 0, str(error)
    assert read > 0 or "\n" not in message


def test_a_million_notes_are_refused_at_once(read):
    body = b"".join(b"\1\x90" + bytes((pitch, 64)) + b"\1\x90" + bytes((pitch, 0)) for pitch in range(100)) * 10_000
    tracemalloc.start()
    begin = time.perf_counter()
    with pytest.raises(InputError, match="1,000,000 notes; a MIDI file of at most 200,000 is read"):
        read(HEADER + chunk(body + END))
    assert time.perf_counter() - begin < 2
    assert tracemalloc.get_traced_memory()[1] < 1e8
    tracemalloc.stop()
    assert MAX_NOTES == 200_000


# Writing


def test_the_same_score_gives_the_same_bytes_and_mido_reads_them(tmp_path):
    first, second = tmp_path / "a.mid", tmp_path / "b.mid"
    write_midi(first, example())
    write_midi(second, example())
    assert first.read_bytes() == second.read_bytes()
    file = mido.MidiFile(first, charset="utf-8")
    assert (file.type, file.ticks_per_beat, len(file.tracks)) == (1, 480, 4)
    head = [message.dict() for message in file.tracks[0]]
    assert {"type": "set_tempo", "tempo": 666667, "time": 0} in head
    found = [(m["numerator"], m["denominator"], m["clocks_per_click"]) for m in head if m["type"] == "time_signature"]
    assert found == [(6, 8, 36), (2, 2, 48)]
    assert [m["key"] for m in head if m["type"] == "key_signature"] == ["Am"]  # D dorian has no accidentals
    channels = [{m.channel for m in track if not m.is_meta} for track in file.tracks[1:]]
    assert channels == [{0}, {1}, {9}]
    strikes = [m for m in file.tracks[1] if m.type == "note_on"]
    assert [(m.note, m.velocity) for m in strikes] == [(60, 80), (64, 90), (67, 1)]
    assert file.length == pytest.approx(example().seconds(3), abs=1e-3)  # where the last metre stands


def test_a_pitch_struck_again_ends_the_note_before(tmp_path):
    track = Track(0, False, "", [(0, 4, 60, 80), (1, 1, 60, 81), (1, 2, 60, 82), (3, 1e-9, 60, 83)])
    write_midi(tmp_path / "a.mid", Score((track,)))
    expected = [[0, 1, 60, 80], [1, 2, 60, 82], [3, 1 / 480, 60, 83]]
    np.testing.assert_allclose(read_midi(tmp_path / "a.mid").tracks[0].notes, expected)


def test_beyond_15_melodic_tracks_programs_share_channels(tmp_path):
    path = tmp_path / "a.mid"
    tracks = [Track(index % 15, False, str(index), [(index, 1, 60, 80)]) for index in range(40)]
    write_midi(path, Score((*tracks, Track(0, True, "drums", [(0, 1, 36, 80)]))))
    used = {}
    for track in mido.MidiFile(path).tracks[1:]:
        change = next(message for message in track if message.type == "program_change")
        used.setdefault(change.channel, set()).add(change.program)
    assert len(used) == 16
    assert all(len(programs) == 1 for channel, programs in used.items() if channel != 9)
    assert [track.name for track in read_midi(path).tracks] == [str(index) for index in range(40)] + ["drums"]
    many = Score(tuple(Track(index, False, "", [(0, 1, 60, 80)]) for index in range(16)))
    with pytest.raises(InputError, match="16 different programs"):
        write_midi(tmp_path / "b.mid", many)
    assert not (tmp_path / "b.mid").exists()


def test_what_midi_cannot_hold_is_refused_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.mid"
    path.write_bytes(b"old")
    with pytest.raises(InputError, match="tempo of 3 quarters"):
        write_midi(path, Score((), tempos=((0, 3),)))
    with pytest.raises(InputError, match="between two events"):
        write_midi(path, Score((Track(0, False, "", [(1e6, 1, 60, 80)]),)))
    assert path.read_bytes() == b"old"
    with pytest.raises(InputError, match="none"):
        write_midi(tmp_path / "none" / "a.mid", example())
