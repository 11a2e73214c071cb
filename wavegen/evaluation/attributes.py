"""What a piece turned out to be: attributes read back from a score, and tempo and key heard in a recording.

:func:`extract` reads a score (or a MIDI file through ``wavegen.music.midi.read_midi``); :func:`check` holds it against
what was asked. :func:`hear_tempo` and :func:`hear_key` know nothing but samples; they need librosa (extra "evaluate").
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from wavegen.audio.resample import resample
from wavegen.errors import InputError, MissingDependencyError
from wavegen.music.attributes import MODES, Attributes, Key
from wavegen.music.keys import ALBRECHT_SHANAHAN, histogram
from wavegen.music.score import Notes, Score

if TYPE_CHECKING:
    import types

RATE = 24000  # Hz at which recordings are analysed
SHORTEST = 3.0  # seconds of sound without which neither tempo nor key is estimated

ENVELOPE_HOP = 240  # 10 ms
SLOWEST, FASTEST = 40.0, 260.0  # BPM that hear_tempo may give
CENTRE, WIDTH = 85.0, 0.7  # BPM, octaves: which metrical level is taken for the beat
MULTIPLES = (1, 2, 3, 4, 6, 8)  # periods at which the envelope should repeat
LEVELS = (1 / 3, 1 / 2, 1.0, 2.0, 3.0)
"""Estimated over asked tempo where the metrical level is left open: Accuracy 2 of Gouyon et al. 2006 (theirs: 4 %)."""

CQT_HOP, CQT_BINS, CQT_OCTAVES = 2048, 36, 6  # from C2; three bins a semitone
COMPRESSION = 0.7  # exponent of the magnitudes
CLOSING = 2.0  # seconds: how much of the end counts as the last chord
CLOSING_WEIGHT, BASS_WEIGHT = 1.0, 0.3  # of the last chord and its bass, beside the profile's correlation
TRIAD = (1.2, 1.0, 0.9)  # of the last chord: root, third, fifth

Samples = NDArray[np.floating]


@dataclass(frozen=True)
class Extracted:
    """What a score says and what its notes do.

    ``tempo`` counts dotted quarters in 6/8, 9/8 and 12/8 and quarters in every other metre. ``written`` is the key it
    states. ``programs`` are those of the tracks that play, in order, without drums. ``bars`` run up to the last note's
    end. ``cadence_bar`` is the first bar (from 1) of the close (see :func:`cadence_bar`), None without one.
    """

    written: Key | None
    heard: Key
    tempo: float
    meter: str
    programs: tuple[int, ...]
    drums: bool
    bars: int
    cadence_bar: int | None
    velocity: float
    seconds: float
    notes: Notes


def extract(score: Score, *, modes: Iterable[str] = ("major", "minor")) -> Extracted:
    """Read the attributes back from a score; ``modes`` are those that the notes' key is chosen from.

    InputError for a score without pitched notes.
    """
    pitched = score.merged()
    if not len(pitched):
        raise InputError("the score has no pitched notes")
    heard = notes_key(pitched, modes)
    _, numerator, denominator = score.meters[0]
    unit = 1.5 if (numerator, denominator) in ((6, 8), (9, 8), (12, 8)) else 1.0
    everything = score.merged(drums=True)
    return Extracted(
        written=score.key,
        heard=heard,
        tempo=score.tempos[0][1] / unit,
        meter=f"{numerator}/{denominator}",
        programs=tuple(track.program for track in score.tracks if len(track.notes) and not track.is_drum),
        drums=any(track.is_drum and len(track.notes) for track in score.tracks),
        bars=len(score.bars()),
        cadence_bar=cadence_bar(score, score.key or heard),
        velocity=float(everything[:, 3].mean()),
        seconds=score.duration,
        notes=pitched,
    )


def in_key(notes: Notes, key: Key) -> bool:
    """Whether notes keep to a key: by time held, at least 85 % lie in its scale, its own third prevails over the other,
    and in major and mixolydian its own seventh does not yield to the other one.

    Minor and dorian may raise their sixth and seventh, as melodic minor does. This asks what defines a key; an
    estimator by profiles (``heard``) also takes major for its mixolydian neighbours.
    """
    held = np.bincount((notes[:, 2].astype(int) - key.tonic) % 12, weights=notes[:, 1], minlength=12)
    scale = set(MODES[key.mode]) | ({9, 11} if key.is_minor else set())
    inside = held[sorted(scale)].sum() >= IN_SCALE * held.sum()
    third = held[3] >= held[4] if key.is_minor else held[4] >= held[3]
    seventh = {"major": held[11] >= held[10], "mixolydian": held[10] >= held[11]}.get(key.mode, True)
    return bool(inside and third and seventh)


def cadence_bar(score: Score, key: Key) -> int | None:
    """The bar (from 1) in which the final tonic begins, or None if the piece does not close on one.

    It closes if the last note of the first pitched track, which plays the melody, is the tonic, and while it sounds,
    nothing but the tonic triad is struck in any pitched track.
    """
    tracks = [track for track in score.tracks if not track.is_drum and len(track.notes)]
    if not tracks:
        return None
    melody: Notes = tracks[0].notes
    start = float(melody[:, 0].max())
    last = melody[melody[:, 0] == start]
    if int(last[:, 2].max()) % 12 != key.tonic:
        return None
    everything = score.merged()
    struck = everything[everything[:, 0] >= start - 1e-6]
    triad = {(key.tonic + step) % 12 for step in (0, 3, 4, 7)}
    if {int(pitch) % 12 for pitch in struck[:, 2]} - triad:
        return None
    return 1 + max(index for index, (at, _) in enumerate(score.bars()) if at <= start + 1e-6)


IN_SCALE = 0.85
HARD = ("key", "tempo", "meter", "instruments", "drums", "bars", "cadence")


def check(found: Extracted, asked: Attributes) -> dict[str, bool]:
    """Which of the HARD attributes are exact.

    "key": the stated key is the asked one, and the notes keep to it (:func:`in_key`) or are heard in it
    (:func:`notes_key`, which takes the thirds and sevenths of blues for what they are). "tempo": to the resolution of
    MIDI files, a microsecond a quarter. "instruments": the set of programs. "cadence": the close begins within one bar
    of the last asked bar.
    """
    quarter = 60e6 / asked.quarter_tempo
    unit = asked.quarter_tempo / asked.tempo
    return {
        "key": found.written == asked.key and (in_key(found.notes, asked.key) or found.heard == asked.key),
        "tempo": abs(60e6 / (found.tempo * unit) - quarter) <= 1.0,
        "meter": found.meter == asked.meter.name,
        "instruments": set(found.programs) == set(asked.instruments),
        "drums": found.drums == asked.drums,
        "bars": found.bars == asked.bars,
        "cadence": found.cadence_bar is not None and abs(found.cadence_bar - asked.bars) <= 1,
    }


def extraction_modes(key: Key) -> tuple[str, ...]:
    """The modes among which a key is sought where this one was asked: all four for a church mode, else the two."""
    return ("major", "minor") if key.mode in ("major", "minor") else tuple(MODES)


def hear_tempo(samples: Samples, rate: int) -> float:
    """The tempo of a recording (samples,) or (channels, samples) of steady tempo, in BPM, 40 to 260.

    Onsets by spectral flux (librosa); for every tempo the product of the envelope's spectrum at the tempo and its
    harmonics and of its autocorrelation at multiples of the period (Peeters 2007), times a log-normal preference for
    tempi around 85 (Moelants 2002 has such a curve), which settles the metrical level; then the maximum is refined on
    the first eight harmonics over the whole length, to about 0.01 %. InputError for less than 3 s of sound.
    """
    envelope = _onset_envelope(_prepared(samples, rate))
    count = len(envelope)
    frames = RATE / ENVELOPE_HOP
    correlation = _autocorrelation(envelope)
    size = 1 << math.ceil(math.log2(8 * count))
    spectrum = np.abs(np.fft.rfft(envelope * np.hanning(count), size))
    frequencies = np.fft.rfftfreq(size, 1 / frames)

    def strength(bpm: NDArray[np.float64], weights: Iterable[float]) -> NDArray[np.float64]:
        """The spectrum at the tempo's harmonics, weighted."""
        found = np.zeros(len(bpm))
        for harmonic, weight in enumerate(weights, start=1):
            found += weight * np.interp(bpm / 60 * harmonic, frequencies, spectrum)
        return found

    tempi = np.exp(np.arange(math.log(SLOWEST), math.log(FASTEST), 0.003))
    periods = 60 / tempi * frames
    repetition = np.zeros(len(tempi))
    for multiple in MULTIPLES:
        lags = np.interp(periods * multiple, np.arange(count), correlation)
        repetition += np.where(periods * multiple < 0.8 * count, np.maximum(lags, 0.0), 0.0) * multiple**-0.3
    preference = np.exp(-0.5 * (np.log2(tempi / CENTRE) / WIDTH) ** 2)
    coarse = float(tempi[(strength(tempi, (1.0, 0.5, 0.3, 0.3)) * repetition * preference).argmax()])
    near = coarse * np.exp(np.linspace(-0.012, 0.012, 241))
    return float(near[strength(near, (1.0,) * 8).argmax()])


def tempo_right(heard: float, asked: float, *, tolerance: float = 0.02, levels: Iterable[float] = LEVELS) -> bool:
    """Whether a tempo is within ``tolerance`` of the asked one on any of the metrical ``levels``; (1.0,) is strict."""
    return any(abs(heard / (asked * level) - 1) <= tolerance for level in levels)


def hear_key(samples: Samples, rate: int, *, modes: Iterable[str] = ("major", "minor")) -> Key:
    """The key of a recording (samples,) or (channels, samples), tuned to A = 440 Hz, among ``modes``.

    Chroma from a constant-Q transform of six octaves (librosa), its frames compressed and normalised. For each key,
    the correlation of their mean with the profile of Albrecht and Shanahan 2013 is added to those of the last two
    sounding seconds with the tonic triad and of their bass with the tonic: pieces end on their tonic. InputError for
    less than 3 s of sound.
    """
    librosa = _librosa()
    transform = librosa.cqt(
        _prepared(samples, rate),
        sr=RATE,
        hop_length=CQT_HOP,
        fmin=float(librosa.note_to_hz("C2")),
        n_bins=CQT_BINS * CQT_OCTAVES,
        bins_per_octave=CQT_BINS,
        tuning=0.0,
    )
    magnitudes = np.abs(transform).astype(np.float64)
    energy = magnitudes.sum(0)
    magnitudes = magnitudes[:, energy > 0.02 * energy.max()]
    semitones = magnitudes[:: CQT_BINS // 12] ** COMPRESSION
    octaves = semitones.reshape(CQT_OCTAVES, 12, -1)
    chroma, bass = octaves.sum(0), octaves[:2].sum(0)
    frames = round(CLOSING * RATE / CQT_HOP)
    mean = (chroma / (chroma.sum(0) + 1e-9)).mean(1)
    closing, closing_bass = chroma[:, -frames:].mean(1), bass[:, -frames:].mean(1)
    return _best_key(mean, closing, closing_bass, modes)


def notes_key(notes: Notes, modes: Iterable[str] = ("major", "minor")) -> Key:
    """The key of notes (n, 4), as :func:`hear_key` finds it: how long each pitch class sounds, and the last chord.

    The last chord is all that sounds when the last note is struck; its bass is the lowest of it.
    """
    last = float(notes[:, 0].max())
    final = notes[notes[:, 0] + notes[:, 1] > last + 1e-6]
    closing = (np.bincount(final[:, 2].astype(int) % 12, minlength=12) > 0).astype(np.float64)
    bass = np.eye(12)[int(final[:, 2].min()) % 12]
    return _best_key(histogram(notes), closing, bass, modes)


def _best_key(
    mean: NDArray[np.float64], closing: NDArray[np.float64], bass: NDArray[np.float64], modes: Iterable[str]
) -> Key:
    """The key by weights (12,) of pitch classes: of the whole, of the last chord, and of its bass."""
    best, best_score = Key(0), -math.inf
    for mode in modes:
        profile, triad = _profile(mode), np.zeros(12)
        triad[[0, 3 if 3 in MODES[mode] else 4, 7]] = TRIAD
        for tonic in range(12):
            score = _correlated(mean, np.roll(profile, tonic))
            score += CLOSING_WEIGHT * _correlated(closing, np.roll(triad, tonic))
            score += BASS_WEIGHT * _correlated(bass, np.roll(np.eye(12)[0], tonic))
            if score > best_score:
                best, best_score = Key(tonic, mode), score
    return best


def _profile(mode: str) -> NDArray[np.float64]:
    """Church modes: the profile of the major or minor with the one degree exchanged for its neighbour."""
    profile = np.array(ALBRECHT_SHANAHAN[int(3 in MODES[mode])])
    for new, old in {"dorian": ((9, 8),), "mixolydian": ((10, 11),)}.get(mode, ()):
        profile[[new, old]] = profile[[old, new]]
    return profile


def _correlated(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return float(np.corrcoef(a, b)[0, 1]) if np.ptp(a) > 1e-12 else 0.0


def _onset_envelope(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """Spectral flux above its mean over a second, at 100 Hz, from the first onset to the last, zero-mean."""
    librosa = _librosa()
    flux = librosa.onset.onset_strength(
        y=samples, sr=RATE, hop_length=ENVELOPE_HOP, n_fft=1024, n_mels=80, fmax=11000, lag=2
    ).astype(np.float64)
    second = RATE // ENVELOPE_HOP + 1
    above = np.maximum(flux - np.convolve(flux, np.ones(second) / second, "same")[: len(flux)], 0.0)
    onsets = np.flatnonzero(above > 0.05 * above.max())
    if not len(onsets) or onsets[-1] - onsets[0] < 100:
        raise InputError("the recording has too few onsets to tell a tempo")
    above = above[onsets[0] : onsets[-1] + 1]
    centred: NDArray[np.float64] = (above - above.mean()) / above.std()
    return centred


def _autocorrelation(envelope: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unbiased, 1 at lag 0."""
    count = len(envelope)
    power = np.abs(np.fft.rfft(envelope, 2 * count)) ** 2
    found = np.fft.irfft(power)[:count] / (count - np.arange(count))
    return np.asarray(found / found[0], np.float64)


def _prepared(samples: Samples, rate: int) -> NDArray[np.float32]:
    """One channel at RATE without the silence at either end; InputError if less than SHORTEST is left."""
    array = np.asarray(samples, np.float32)
    if array.ndim == 2:
        array = array.mean(0)
    if array.ndim != 1 or not np.isfinite(array).all():
        raise InputError("a recording must be finite samples of shape (samples,) or (channels, samples)")
    if rate != RATE:
        array = resample(array, rate, RATE)
    level = np.abs(array)
    sounding = np.flatnonzero(level > 1e-3 * level.max(initial=0.0)) if level.any() else np.empty(0, int)
    if not len(sounding) or sounding[-1] - sounding[0] < SHORTEST * RATE:
        raise InputError(f"the recording has less than {SHORTEST:g} s of sound: too little to tell tempo or key")
    return np.ascontiguousarray(array[sounding[0] : sounding[-1] + 1])


def _librosa() -> "types.ModuleType":
    try:
        import librosa
    except ImportError as error:
        raise MissingDependencyError("librosa", "evaluate", "hearing tempo and key") from error
    module: types.ModuleType = librosa
    return module
