"""Standard MIDI files in and out (RP-001, 1996).

Reading goes through symusic, which parses a million notes in tens of milliseconds; writing is done here, so that the
same score gives the same bytes and that every choice (channels, order of events) is stated.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from wavegen.audio.io import PathName, atomic
from wavegen.errors import InputError
from wavegen.music.attributes import Key
from wavegen.music.score import DURATION, ONSET, PITCH, VELOCITY, Notes, Score, Track

if TYPE_CHECKING:
    import symusic

MAX_NOTES = 200_000  # of a file; the longest pieces of the usual corpora hold some 30,000
MAX_QUARTERS = 200_000.0  # a day at 140 quarters a minute
_MAX_BYTES = 1 << 26
_MAX_CHANGES = 100_000  # of tempo or of metre
_RESOLUTION = 480  # ticks a quarter of what is written: 40 to a tick of the lead sheets' grid
_DRUM_CHANNEL = 9
_KEY_MARKER = re.compile(r"Key: (?P<name>\S+ \S+)")
_FILM_RATES = {24: 24.0, 25: 25.0, 29: 30000 / 1001, 30: 30.0}  # SMPTE frames a second


def read_midi(path: PathName, *, pedal: bool = False) -> Score:
    """The score in a Standard MIDI file of type 0 or 1.

    A note of no length gets one tick, a note that is never released is left out, channel 10 is drums; a track becomes
    one for each channel and program that it uses. Under an SMPTE division, whose ticks are fractions of a second, a
    quarter is a second (60 a minute). With `pedal`, notes go on while the sustain pedal (controller 64 from 64 up) is
    down, until the same pitch is struck again.
    Raises InputError for what cannot be read, is not MIDI, of type 2 or cut short, holds no note or more than
    MAX_NOTES, reaches beyond MAX_QUARTERS, or states a tempo or metre that is none.
    """
    name = os.fspath(path)
    data, pace = _in_ticks_of_quarters(_bytes(name), name)
    _require_whole(data, name)
    parsed = _parse(data, name)
    scale = float(parsed.ticks_per_quarter)
    tracks = []
    for track in parsed.tracks:
        notes = _notes(track, scale, name, pedal=pedal)
        if len(notes):
            tracks.append(Track(track.program, track.is_drum, track.name, notes))
    if not tracks:
        raise InputError(f"{name}: the MIDI file holds no notes")
    title = _first_track_name(data)
    if title == tracks[0].name:
        title = ""
    tempos = ((0.0, pace),) if pace else _tempos(parsed, scale, name)
    score = Score(tuple(tracks), tempos, _meters(parsed, scale, name), _key(parsed), title)
    if score.end > MAX_QUARTERS:
        raise InputError(f"{name}: the last note stops at quarter {score.end:.0f}; at most {MAX_QUARTERS:.0f} are read")
    return score


def _bytes(name: str) -> bytes:
    try:
        size = os.stat(name).st_size
        if size > _MAX_BYTES:
            raise InputError(f"{name}: {size >> 20} MiB; a MIDI file of at most {_MAX_BYTES >> 20} MiB is read")
        data = Path(name).read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{name}: {getattr(error, 'strerror', None) or error}") from error
    if data[:4] != b"MThd" or len(data) < 14:
        raise InputError(f"{name}: not a MIDI file (no MThd header)" if data else f"{name}: the file is empty")
    return data


def _in_ticks_of_quarters(data: bytes, name: str) -> tuple[bytes, float]:
    """The file with a division in ticks a quarter, and the tempo that its ticks imply, 0 where the file says it."""
    kind, division = int.from_bytes(data[8:10], "big"), int.from_bytes(data[12:14], "big")
    if kind > 1:
        raise InputError(f"{name}: a MIDI file of type {kind} (independent patterns); types 0 and 1 are read")
    if not division & 0x8000:
        if division == 0:
            raise InputError(f"{name}: the MIDI header gives 0 ticks to a quarter")
        return data, 0.0
    frames, ticks = 256 - (division >> 8), division & 0xFF
    if frames not in _FILM_RATES or ticks == 0:
        raise InputError(f"{name}: the MIDI header gives {frames} frames a second of {ticks} ticks (SMPTE)")
    nominal = 30 if frames == 29 else frames
    return data[:12] + (nominal * ticks).to_bytes(2, "big") + data[14:], 60.0 * _FILM_RATES[frames] / nominal


def _require_whole(data: bytes, name: str) -> None:
    """InputError for fewer tracks, or bytes of a track, than are announced: half a piece is not the piece."""
    at, tracks = 8 + int.from_bytes(data[4:8], "big"), int.from_bytes(data[10:12], "big")
    found = 0
    while found < tracks:
        if at + 8 > len(data):
            raise InputError(f"{name}: the MIDI file is cut short: {found} of {tracks} tracks")
        end = at + 8 + int.from_bytes(data[at + 4 : at + 8], "big")
        found += data[at : at + 4] == b"MTrk"
        if end > len(data):
            raise InputError(
                f"{name}: the MIDI file is cut short: {end - len(data)} bytes of track {found} are missing"
            )
        at = end


def _parse(data: bytes, name: str) -> "symusic.core.ScoreTick":
    import symusic

    try:
        parsed = cast("symusic.core.ScoreTick", symusic.Score.from_midi(data))
    except (RuntimeError, ValueError) as error:
        reason = (
            (str(error).splitlines() or ["unreadable"])[0].removeprefix("MiniMidi: ").removesuffix(": iostream error")
        )
        raise InputError(f"{name}: not a readable MIDI file ({reason})") from error
    if (count := parsed.note_num()) > MAX_NOTES:
        raise InputError(f"{name}: {count:,} notes; a MIDI file of at most {MAX_NOTES:,} is read")
    changes = max(len(parsed.tempos), len(parsed.time_signatures), len(parsed.key_signatures))
    if changes > _MAX_CHANGES:
        raise InputError(f"{name}: {changes:,} changes of tempo or metre; at most {_MAX_CHANGES:,} are read")
    return parsed


def _notes(track: "symusic.core.TrackTick", scale: float, name: str, *, pedal: bool) -> Notes:
    columns = track.notes.numpy()
    onset, length = columns["time"].astype(np.int64), columns["duration"].astype(np.int64)
    if len(onset) and (onset.min() < 0 or length.min() < 0):  # ticks beyond 2^31 wrap around
        raise InputError(f"{name}: a note lies beyond {MAX_QUARTERS:.0f} quarters")
    pitch = columns["pitch"].astype(np.int64)
    if pedal and len(onset):
        pedals = track.pedals.numpy()
        length = _held(onset, length, pitch, pedals["time"].astype(np.int64), pedals["duration"].astype(np.int64))
    return np.stack((onset / scale, np.maximum(length, 1) / scale, pitch, np.maximum(columns["velocity"], 1)), axis=1)


def _held(
    onset: NDArray[np.int64],
    length: NDArray[np.int64],
    pitch: NDArray[np.int64],
    down: NDArray[np.int64],
    held: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Lengths of notes that go on to the release of a pedal that is down at their end, or to their next strike."""
    if not len(down):
        return length
    order = np.argsort(down, kind="stable")
    down, up = down[order], np.maximum.accumulate(down[order] + held[order])
    end: NDArray[np.int64] = onset + length
    at = np.searchsorted(down, end, side="right") - 1
    end = np.where((at >= 0) & (up[at] > end), up[at], end)
    order = np.lexsort((onset, pitch))
    same = pitch[order][1:] == pitch[order][:-1]
    strike = np.full(len(onset), np.iinfo(np.int64).max)
    strike[order[:-1]] = np.where(same, onset[order][1:], strike[order[:-1]])
    end = np.minimum(end, np.maximum(strike, onset + length))  # a strike never shortens what the file holds longer
    return end - onset


def _tempos(parsed: "symusic.core.ScoreTick", scale: float, name: str) -> tuple[tuple[float, float], ...]:
    columns = parsed.tempos.numpy()
    changes: dict[float, float] = {}
    for tick, micros in sorted(zip(columns["time"].tolist(), columns["mspq"].tolist(), strict=True), key=_first):
        if tick < 0 or micros <= 0:
            raise InputError(f"{name}: a tempo of {micros} microseconds a quarter at tick {tick}")
        changes[tick / scale] = _tidy(60e6 / micros)
    return tuple(({0.0: 120.0} | changes).items())


def _first(entry: tuple[int, ...]) -> int:
    return entry[0]


def _tidy(bpm: float) -> float:
    """The tempo of at most two decimals that is written as the same whole number of microseconds, if there is one."""
    plain = round(bpm, 2)
    return plain if plain > 0 and round(60e6 / plain) == round(60e6 / bpm) else bpm


def _meters(parsed: "symusic.core.ScoreTick", scale: float, name: str) -> tuple[tuple[float, int, int], ...]:
    columns = parsed.time_signatures.numpy()
    rows = zip(columns["time"].tolist(), columns["numerator"].tolist(), columns["denominator"].tolist(), strict=True)
    changes: dict[float, tuple[int, int]] = {0.0: (4, 4)}
    for tick, numerator, denominator in sorted(rows, key=_first):
        if tick < 0 or numerator == 0 or denominator not in (1, 2, 4, 8, 16, 32, 64):
            raise InputError(f"{name}: a metre of {numerator}/{denominator} at tick {tick}")
        changes[tick / scale] = (numerator, denominator)
    meters: list[tuple[float, int, int]] = []
    for at, meter in changes.items():
        if not meters or meters[-1][1:] != meter:
            meters.append((at, *meter))
    return tuple(meters)


def _key(parsed: "symusic.core.ScoreTick") -> Key | None:
    """The key at the beginning; a marker such as "Key: D dorian" says what a key signature cannot."""
    for marker in parsed.markers:
        if marker.time == 0 and (match := _KEY_MARKER.fullmatch(marker.text)):
            try:
                return Key.parse(match["name"])
            except InputError:
                break
    for signature in parsed.key_signatures:
        if signature.time == 0 and -7 <= signature.key <= 7 and signature.tonality in (0, 1):
            minor = signature.tonality == 1
            return Key((7 * signature.key + (9 if minor else 0)) % 12, "minor" if minor else "major")
    return None


def _first_track_name(data: bytes) -> str:
    """The name that the first track states before anything sounds: of a type 1 file, the title."""
    at = 8 + int.from_bytes(data[4:8], "big")
    if data[at : at + 4] != b"MTrk":
        return ""
    at += 8
    while data[at : at + 2] == b"\x00\xff" and at + 4 <= len(data):
        kind, at, size = data[at + 2], at + 3, 0
        for _ in range(4):
            size, byte, at = size << 7 | data[at] & 0x7F, data[at], at + 1
            if not byte & 0x80 or at >= len(data):
                break
        if kind == 0x03:
            return data[at : at + size].decode("utf-8", errors="replace").strip("\0 ")
        at += size
    return ""


# Writing


def write_midi(path: PathName, score: Score) -> None:
    """Write `score` as a type 1 file, 480 ticks a quarter, whole or not at all; the same score gives the same bytes.

    The first track holds title, tempos, metres and key; each other its name, program and notes, drums on channel 10.
    Up to 15 melodic tracks have a channel each; beyond, tracks of one program share one. A note is cut where its
    track strikes the same pitch again, since a release could not say which it means. A mode that key signatures do
    not know is written as a marker too.
    Raises InputError for more than 15 programs that need more than 15 channels, a tempo below 3.58 or above 60
    million quarters a minute, or a path that cannot be written.
    """
    chunks = [_conductor(score)]
    chunks += [_melody(track, channel) for track, channel in zip(score.tracks, _channels(score), strict=True)]
    header = b"MThd" + (6).to_bytes(4, "big") + b"".join(n.to_bytes(2, "big") for n in (1, len(chunks), _RESOLUTION))
    body = b"".join(b"MTrk" + len(chunk).to_bytes(4, "big") + chunk for chunk in chunks)
    with atomic(path) as temporary:
        temporary.write_bytes(header + body)


@dataclass(frozen=True, order=True)
class _Event:
    """Ordered by time; at one time, what is said of the track comes first, then releases, then strikes."""

    tick: int
    rank: int
    data: bytes


def _channels(score: Score) -> list[int]:
    melodic = [track.program for track in score.tracks if not track.is_drum]
    free = [channel for channel in range(16) if channel != _DRUM_CHANNEL]
    if len(melodic) <= len(free):
        rest = iter(free)
        return [_DRUM_CHANNEL if track.is_drum else next(rest) for track in score.tracks]
    programs = list(dict.fromkeys(melodic))
    if len(programs) > len(free):
        raise InputError(f"{len(programs)} different programs; a MIDI file has {len(free)} channels besides drums")
    shared = dict(zip(programs, free, strict=False))
    return [_DRUM_CHANNEL if track.is_drum else shared[track.program] for track in score.tracks]


def _conductor(score: Score) -> bytes:
    events = [_Event(0, 0, _meta(0x03, score.title.encode("utf-8", errors="replace")))]
    if score.key is not None:
        minor = int(score.key.is_minor)
        events.append(_Event(0, 1, _meta(0x59, bytes((score.key.fifths & 0xFF, minor)))))
        if score.key.mode not in ("major", "minor"):
            events.append(_Event(0, 1, _meta(0x06, f"Key: {score.key.name}".encode())))
    for at, numerator, denominator in score.meters:
        compound = denominator == 8 and numerator % 3 == 0 and numerator > 3
        click = 36 if compound else max(1, 96 // denominator)  # MIDI clocks of a beat, 24 a quarter
        data = bytes((numerator, denominator.bit_length() - 1, click, 8))
        events.append(_Event(_tick(at), 2, _meta(0x58, data)))
    for at, bpm in score.tempos:
        micros = round(60e6 / bpm)
        if not 1 <= micros < 1 << 24:
            raise InputError(f"a tempo of {bpm:g} quarters a minute cannot be written; MIDI has 3.58 to 60,000,000")
        events.append(_Event(_tick(at), 3, _meta(0x51, micros.to_bytes(3, "big"))))
    return _chunk(events)


def _melody(track: Track, channel: int) -> bytes:
    events = [
        _Event(0, 0, _meta(0x03, track.name.encode("utf-8", errors="replace"))),
        _Event(0, 1, bytes((0xC0 | channel, track.program))),
    ]
    for start, stop, pitch, velocity in _strikes(track.notes).tolist():
        events.append(_Event(start, 3, bytes((0x90 | channel, pitch, velocity))))
        events.append(_Event(stop, 2, bytes((0x80 | channel, pitch, 0))))
    return _chunk(events)


def _strikes(notes: Notes) -> NDArray[np.int64]:
    """(n, 4) start and stop in ticks, pitch, velocity; of notes struck together on one pitch the longest stays."""
    start = np.rint(notes[:, ONSET] * _RESOLUTION).astype(np.int64)
    stop = np.maximum(np.rint((notes[:, ONSET] + notes[:, DURATION]) * _RESOLUTION).astype(np.int64), start + 1)
    pitch, velocity = notes[:, PITCH].astype(np.int64), np.rint(notes[:, VELOCITY]).astype(np.int64)
    order = np.lexsort((-stop, start, pitch))
    rows = np.stack((start, stop, pitch, velocity), axis=1)[order]
    if len(rows) > 1:
        again = (rows[1:, 2] == rows[:-1, 2]) & (rows[1:, 0] == rows[:-1, 0])
        rows = rows[np.concatenate(([True], ~again))]
        same = rows[1:, 2] == rows[:-1, 2]
        rows[:-1, 1] = np.where(same, np.minimum(rows[:-1, 1], rows[1:, 0]), rows[:-1, 1])
    return rows


def _chunk(events: list[_Event]) -> bytes:
    parts, now = [], 0
    for event in sorted(events):
        parts += [_variable(event.tick - now), event.data]
        now = event.tick
    return b"".join([*parts, b"\x00", _meta(0x2F, b"")])


def _meta(kind: int, data: bytes) -> bytes:
    return bytes((0xFF, kind)) + _variable(len(data)) + data


def _tick(quarter: float) -> int:
    return round(quarter * _RESOLUTION)


def _variable(value: int) -> bytes:
    """A number in groups of seven bits, all but the last marked by the top bit."""
    if value >= 1 << 28:
        raise InputError(f"{value / _RESOLUTION:.0f} quarters between two events; a MIDI file has room for 559,240")
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F | 0x80)
    return bytes(reversed(groups))
