"""Scores from notation files: ABC (v2.1) and MusicXML (4.0), read by music21; MIDI is handed to wavegen.music.midi.

Notation counts bars, a score counts quarters: a pickup is filled up with rests before it, so that every bar of the
score is whole.
"""

import io
import os
import re
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wavegen.audio.io import PathName
from wavegen.errors import InputError, MissingDependencyError
from wavegen.music.attributes import MODES, Key
from wavegen.music.midi import MAX_NOTES, read_midi
from wavegen.music.score import Score, Track

_MAX_BYTES = 1 << 25  # of a notation file, unpacked
_VELOCITY = 80.0  # where nothing is marked: mezzo-forte
_TOLERANCE = 1e-4  # quarters, below the shortest notes of notation (a 128th tuplet)
_QUOTED = re.compile(r'"(?P<text>[^"\n]*)"')
_CHORD_SYMBOL = re.compile(r"\(?[A-G][#b]?(m|min|maj|dim|aug|sus|\+)?[0-9]*(/[A-G][#b]?)?\)?")
_FIELD = re.compile(r"(?P<letter>[A-Za-z]):\s*(?P<value>.*?)\s*(?:%.*)?")
_INLINE = re.compile(r"\[(?P<letter>[A-Za-z]):\s*(?P<value>[^\]\n]*?)\s*\]")
_PLAIN = {
    "K": re.compile(r"[A-G][#b]?\s*(?:m|min|maj|minor|major|dor|mix|dorian|mixolydian)?"),
    "L": re.compile(r"\d+/\d+"),
}
_METRES = {"C": "4/4", "C|": "2/2"}
_ENDINGS = re.compile(r"[|\[]\s*[1-9]|^V:", re.MULTILINE)


def read_score(path: PathName, *, repeats: bool = True, number: int | None = None, pedal: bool = False) -> Score:
    """The score in a MIDI (.mid, .midi), ABC (.abc) or MusicXML (.musicxml, .xml, .mxl) file, told by its extension.

    repeats: play repeated passages as often as the notation says; else each once, with the last of its endings.
    number: which tune of an ABC file that holds several, as its X: field says. pedal: see `read_midi`.
    Chord symbols become a track named "Chords"; grace notes and unpitched notes are left out. In ABC, so are changes of
    metre and tempo within a tune, with a UserWarning.
    Raises InputError for another extension, a file that cannot be read or understood, one without notes, several
    tunes and no number, or repeats that do not add up; MissingDependencyError without music21 (extra "notation").
    """
    name = os.fspath(path)
    kind = Path(name).suffix.lower()
    if kind in (".mid", ".midi"):
        return read_midi(path, pedal=pedal)
    if kind == ".abc":
        text = _one_tune(_text(_bytes(name)), name, number).text
        score = parse_abc(text, repeats=repeats, name=name)
        inline = {found["letter"] for line in _on_lines(text).splitlines() for found in _INLINE.finditer(_music(line))}
        changes = {
            "metre": len(_in_force(text, "M")) > len(score.meters),
            "tempo": len(_in_force(text, "Q")) > len(score.tempos),
            "key": "K" in inline,
            "note length": "L" in inline,
        }
        if left_out := [what for what, lost in changes.items() if lost]:
            warnings.warn(f"{name}: a change of {' and of '.join(left_out)} within the tune is left out", stacklevel=2)
        return score
    if kind == ".mxl":
        return _convert(_text(_unzipped(_bytes(name), name)), "musicxml", repeats=repeats, name=name)
    if kind in (".musicxml", ".xml"):
        return _convert(_text(_bytes(name)), "musicxml", repeats=repeats, name=name)
    raise InputError(f"{name}: a score is read from .mid, .midi, .abc, .musicxml, .xml or .mxl, not {kind or 'this'!r}")


# Files


def _bytes(name: str) -> bytes:
    try:
        if os.stat(name).st_size > _MAX_BYTES:
            raise InputError(f"{name}: a notation file of at most {_MAX_BYTES >> 20} MiB is read")
        return Path(name).read_bytes()
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise InputError(f"{name}: {getattr(error, 'strerror', None) or error}") from error


def _text(data: bytes) -> str:
    for encoding in ("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig", "latin-1"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise AssertionError("latin-1 decodes everything")


def _unzipped(data: bytes, name: str) -> bytes:
    """The score of a compressed MusicXML file: its first XML file outside META-INF."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for info in archive.infolist():
                if info.filename.lower().endswith((".xml", ".musicxml")) and not info.filename.startswith("META-INF"):
                    if info.file_size > _MAX_BYTES:
                        raise InputError(f"{name}: {info.filename} unpacks to more than {_MAX_BYTES >> 20} MiB")
                    return archive.read(info)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError) as error:
        raise InputError(f"{name}: not a readable .mxl archive ({error})") from error
    raise InputError(f"{name}: the .mxl archive holds no MusicXML")


# ABC


@dataclass(frozen=True)
class AbcTune:
    """One tune of an ABC file. fields: letter → the values of its header's fields in order; text: header and body."""

    fields: dict[str, tuple[str, ...]]
    text: str

    def first(self, letter: str) -> str:
        """The first value of a field, "" if there is none."""
        return self.fields.get(letter, ("",))[0]


def abc_tunes(text: str) -> Iterator[AbcTune]:
    """The tunes of an ABC file, each from its X: field on; what stands before the first is left out."""
    lines: list[str] = []
    for line in text.splitlines():
        plain = line.strip()
        if plain.startswith("X:"):
            yield from _tune(lines)
            lines = [plain]
        elif lines and plain and not plain.startswith("%"):
            lines.append(plain)
    yield from _tune(lines)


def _tune(lines: list[str]) -> Iterator[AbcTune]:
    if not lines:
        return
    fields: dict[str, tuple[str, ...]] = {}
    for line in lines:
        match = _FIELD.fullmatch(line)
        if not match:
            continue
        value = match["value"].strip('" ')
        fields[match["letter"]] = (*fields.get(match["letter"], ()), value)
        if match["letter"] == "K":  # the last field of a header
            yield AbcTune(fields, "\n".join(lines) + "\n")
            return


def _one_tune(text: str, name: str, number: int | None) -> AbcTune:
    tunes = list(abc_tunes(text))
    if number is not None:
        tunes = [tune for tune in tunes if tune.first("X").isdecimal() and int(tune.first("X")) == number]
        if not tunes:
            raise InputError(f"{name}: there is no tune X:{number}")
    if not tunes:
        raise InputError(f"{name}: holds no ABC tune (X: to K:)")
    if len(tunes) > 1 and number is None:
        raise InputError(
            f"{name}: holds {len(tunes)} tunes; give the number of one, as its X: field says (render --tune)"
        )
    return tunes[0]


def parse_abc(text: str, *, repeats: bool = True, name: str = "abc", strict: bool = False) -> Score:
    """The score of one ABC tune; see `read_score`.

    strict: refuse tunes whose bars do not all hold one metre (pickups and what completes them apart), which is how
    errors of transcription show.
    """
    music = "\n".join(line for line in text.splitlines() if not re.match(r"\s*(%|[A-Za-z]:)", line))
    if found := re.search(r"[A-Ga-gzx][,']*([0-9]{4,})", music):  # music21 cuts it into bars for minutes
        raise InputError(f"{name}: a note of length {found[1]} is too long")
    return _convert(_QUOTED.sub(_only_chords, _on_lines(text)), "abc", repeats=repeats, name=name, strict=strict)


def _music(line: str) -> str:
    """What of a line is music: nothing of a field or of lyrics, and no comment."""
    return "" if _FIELD.fullmatch(line) else line.partition("%")[0]


def _on_lines(text: str) -> str:
    """Changes of key and note length inside a line of music as lines of their own, which alone music21 follows.

    Not where there are endings, which such a line would break, or several voices, of which it would change all.
    """
    if _ENDINGS.search(text):
        return text
    lines = text.splitlines()
    return "\n".join(_INLINE.sub(_on_its_line, music) if (music := _music(line)) else line for line in lines) + "\n"


def _on_its_line(match: re.Match[str]) -> str:
    """A field that is nothing but a key or a length (no clef, no octave) on its own line."""
    plain = _PLAIN.get(match["letter"])
    return f"\n{match['letter']}:{match['value']}\n" if plain and plain.fullmatch(match["value"]) else match[0]


def _in_force(text: str, letter: str) -> list[str]:
    """The values of a field while there is music, without those that only repeat the one before."""
    values: list[str] = []
    value = ""
    for line in text.splitlines():
        if field := _FIELD.fullmatch(line):
            value = field["value"] if field["letter"] == letter else value
            continue
        music, at = _music(line), 0
        for found in [*_INLINE.finditer(music), None]:
            value = _METRES.get(value, value)
            if re.search("[A-Ga-gxz]", music[at : found.start() if found else None]) and values[-1:] != [value]:
                values.append(value)
            if found:
                at = found.end()
                value = found["value"] if found["letter"] == letter else value
    return values


def _only_chords(match: re.Match[str]) -> str:
    """A quoted chord symbol as it is, nothing for another annotation (fingering, dynamics)."""
    return match[0] if _CHORD_SYMBOL.fullmatch(match["text"].strip()) else ""


# music21


def _convert(text: str, kind: str, *, repeats: bool, name: str, strict: bool = False) -> Score:
    try:
        import music21
    except ImportError as error:
        raise MissingDependencyError("music21", "notation", "reading ABC and MusicXML") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            stream: Any = music21.converter.parseData(text, format=kind)
        except Exception as error:  # its parsers let through whatever goes wrong inside
            raise InputError(f"{name}: not readable as {kind} ({_reason(error)})") from error
        if isinstance(stream, music21.stream.Opus):
            raise InputError(f"{name}: holds several scores")
        parts: list[Any] = list(getattr(stream, "parts", ())) or [stream]
        if repeats:
            try:
                parts = [part.expandRepeats() if _has_repeats(part) else part for part in parts]
            except Exception as error:
                message = f"{name}: its repeats do not add up ({_reason(error)}); it can be read without them"
                raise InputError(message) from error
        try:
            return _Reader(stream, parts, name, strict=strict, endings=not repeats).score()
        except InputError:
            raise
        except Exception as error:
            raise InputError(f"{name}: not understood as {kind} ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _has_repeats(part: Any) -> bool:
    classes = ("Repeat", "RepeatBracket", "RepeatExpression")
    return any(True for _ in part.recurse().getElementsByClass(classes))


@dataclass
class _Bar:
    old: float  # where music21 has it, in quarters
    length: float  # what it holds
    meter: tuple[int, int]
    closes: bool  # a repeat or the end of a section stands behind it
    skipped: bool = False
    new: float = 0.0

    @property
    def full(self) -> float:
        return 4.0 * self.meter[0] / self.meter[1]


class _Reader:
    """Takes a music21 stream apart: bars first, then what sounds at its place among them."""

    def __init__(self, stream: Any, parts: list[Any], name: str, *, strict: bool, endings: bool) -> None:
        # music21 leaves tunes of one or two bars without measures.
        self.parts = [part if part.hasMeasures() else part.makeMeasures() for part in parts]
        self.stream, self.name, self.strict = stream, name, strict
        self.bars = self._bars(endings=endings)
        self.starts = np.array([bar.old for bar in self.bars]) - _TOLERANCE
        self._place()

    def score(self) -> Score:
        tracks = [track for part in self.parts for track in self._tracks(part)]
        if not any(len(track) for track in tracks):
            raise InputError(f"{self.name}: holds no notes")
        if (count := sum(len(track) for track in tracks)) > MAX_NOTES:
            raise InputError(f"{self.name}: {count:,} notes; at most {MAX_NOTES:,} are read")
        meters = [(0.0, *self.bars[0].meter)]
        for bar in self.bars:
            if not bar.skipped and bar.meter != meters[-1][1:]:
                meters = [entry for entry in meters if entry[0] < bar.new] + [(bar.new, *bar.meter)]
        if self.strict and len(meters) > 1:
            raise InputError(f"{self.name}: the metre changes at quarter {meters[1][0]:g}")
        metadata = self.stream.metadata
        title = str((metadata.title or metadata.movementName or "") if metadata is not None else "")
        return Score(tuple(t for t in tracks if len(t)), self._tempos(), tuple(meters), self._key(), title)

    def _bars(self, *, endings: bool) -> list[_Bar]:
        measures = list(self.parts[0].getElementsByClass("Measure"))
        if not measures:
            raise InputError(f"{self.name}: holds no bars")
        skipped = self._first_endings(measures) if endings else set()
        bars, meter = [], (4, 4)
        for index, measure in enumerate(measures):
            if signature := measure.timeSignature:
                meter = (int(signature.numerator), int(signature.denominator))
            at = float(measure.offset)
            ends = index + 1 == len(measures)
            length = float(measure.duration.quarterLength) if ends else float(measures[index + 1].offset) - at
            right, after = measure.rightBarline, None if ends else measures[index + 1].leftBarline
            closes = any(line is not None and line.type != "regular" for line in (right, after))
            bars.append(_Bar(at, length, meter, closes, id(measure) in skipped))
        return bars

    def _first_endings(self, measures: list[Any]) -> set[int]:
        """The measures of endings that a later ending follows at once."""
        place = {id(measure): index for index, measure in enumerate(measures)}
        spans = []
        for bracket in self.stream.recurse().getElementsByClass("RepeatBracket"):
            inside = sorted(place[id(m)] for m in bracket.getSpannedElements() if id(m) in place)
            if inside:
                spans.append((inside[0], inside[-1]))
        begins = {first for first, _ in spans}
        return {
            id(measures[index])
            for first, last in spans
            if last + 1 in begins and last + 1 < len(measures)
            for index in range(first, last + 1)
        }

    def _place(self) -> None:
        """Give every bar its place so that each begins where the one before is full; short ones fill up together."""
        at, held = 0.0, 0.0  # where the bar under way began, and what it holds so far
        kept = [bar for bar in self.bars if not bar.skipped]
        for index, bar in enumerate(kept):
            full = bar.full
            if bar.length < _TOLERANCE:
                bar.new = at + held
                continue
            if held and held + bar.length > full + _TOLERANCE:  # the one before was never completed
                self._require_whole(index and not kept[index - 1].closes, bar)
                at, held = at + kept[index - 1].full, 0.0
            if not held and bar.length < full - _TOLERANCE and index + 1 < len(kept):
                completed = abs(bar.length + kept[index + 1].length - full) < _TOLERANCE
                if index == 0 or not (completed or bar.closes):  # a pickup
                    self._require_whole(index and not kept[index - 1].closes, bar)
                    held = full - bar.length
            bar.new = at + held
            held += bar.length
            if held > full + _TOLERANCE:
                self._require_whole(True, bar)
            if held > full - _TOLERANCE:
                bars = int(np.ceil(held / full - _TOLERANCE))
                at, held = at + bars * full, 0.0

    def _require_whole(self, broken: Any, bar: _Bar) -> None:
        if self.strict and broken:
            meter = f"{bar.meter[0]}/{bar.meter[1]}"
            raise InputError(f"{self.name}: a bar at quarter {bar.old:g} holds {bar.length:g} quarters, not {meter}")

    def _where(self, quarter: float) -> float | None:
        """The place in the score of a place in music21's stream; None in an ending that is skipped."""
        bar = self.bars[max(int(np.searchsorted(self.starts, quarter, side="right")) - 1, 0)]
        return None if bar.skipped else max(0.0, bar.new + quarter - bar.old)

    def _tempos(self) -> tuple[tuple[float, float], ...]:
        tempos = {0.0: 120.0}
        for mark in self.parts[0].flatten().getElementsByClass("MetronomeMark"):
            bpm, at = mark.getQuarterBPM(), self._where(float(mark.offset))
            if bpm and at is not None:
                # What is marked at the beginning holds in the rests before a pickup too.
                tempos[0.0 if float(mark.offset) == 0 else at] = float(bpm)
        return tuple(sorted(tempos.items()))

    def _key(self) -> Key | None:
        for signature in self.parts[0].recurse().getElementsByClass("KeySignature"):
            mode = getattr(signature, "mode", None)
            return Key(signature.tonic.pitchClass, mode) if mode in MODES else None
        return None

    def _tracks(self, part: Any) -> list[Track]:
        instrument = part.getInstrument(returnDefault=True)
        if instrument.transposition is not None:
            part = part.toSoundingPitch()
        drum = instrument.midiChannel == 9 or "UnpitchedPercussion" in instrument.classes
        program = 0 if drum or instrument.midiProgram is None else int(instrument.midiProgram)
        name = str(instrument.partName or instrument.instrumentName or "")
        notes, chords = self._events(part.flatten())
        tracks = [Track(program, drum, name, np.array(notes).reshape(-1, 4))]
        if chords:
            end = max((at + length for at, length, _, _ in notes), default=0.0)
            rows = []
            for index, (at, pitches) in enumerate(chords):
                until = chords[index + 1][0] if index + 1 < len(chords) else max(end, at + self.bars[-1].full)
                if until > at:
                    rows += [(at, until - at, pitch, 60.0) for pitch in pitches]
            tracks.append(Track(program, False, "Chords", np.array(rows).reshape(-1, 4)))
        return tracks

    def _events(self, flat: Any) -> tuple[list[tuple[float, float, float, float]], list[tuple[float, list[int]]]]:
        """(onset, duration, pitch, velocity) of the notes, ties joined; (onset, pitches) of the chord symbols."""
        notes: list[tuple[float, float, float, float]] = []
        chords: list[tuple[float, list[int]]] = []
        tied: dict[int, int] = {}  # pitch → the note that a tie holds over
        velocity = _VELOCITY
        for element in flat.getElementsByClass(("Dynamic", "NotRest")):
            if "Dynamic" in element.classes:
                velocity = float(np.clip(round(127 * element.volumeScalar), 1, 127))
                continue
            at, length = self._where(float(element.offset)), float(element.duration.quarterLength)
            if at is None:
                continue
            if "Harmony" in element.classes:
                pitches = sorted({int(pitch.midi) for pitch in element.pitches})
                if pitches and (not chords or at > chords[-1][0]):
                    chords.append((at, pitches))
                continue
            if length <= 0:  # a grace note
                continue
            for note in getattr(element, "notes", (element,)):
                if "Unpitched" in note.classes:
                    continue
                pitch, tie = int(note.pitch.midi), note.tie.type if note.tie is not None else ""
                before = tied.pop(pitch, None) if tie in ("stop", "continue") else None
                if before is not None and abs(notes[before][0] + notes[before][1] - at) < _TOLERANCE:
                    notes[before] = (notes[before][0], at + length - notes[before][0], *notes[before][2:])
                    index = before
                else:
                    index = len(notes)
                    notes.append((at, length, float(pitch), velocity))
                if tie in ("start", "continue"):
                    tied[pitch] = index
        return notes, chords
