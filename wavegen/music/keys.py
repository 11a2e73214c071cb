"""The key of notes, by correlating how long each pitch class sounds with the profile of every key."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from wavegen.errors import InputError
from wavegen.music.attributes import MODES, Key
from wavegen.music.score import DURATION, ONSET, PITCH, Notes, Score

# Probe-tone ratings: Krumhansl and Kessler, "Tracing the dynamic changes in perceived tonal organization" (1982).
KRUMHANSL_KESSLER = (
    (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
    (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
)
# Shares of pitch classes in 982 pieces: Albrecht and Shanahan, "The Use of Large Corpora to Train a New Type of
# Key-Finding Algorithm" (2013).
ALBRECHT_SHANAHAN = (
    (0.238, 0.006, 0.111, 0.006, 0.137, 0.094, 0.016, 0.214, 0.009, 0.080, 0.008, 0.081),
    (0.220, 0.006, 0.104, 0.123, 0.019, 0.103, 0.012, 0.214, 0.062, 0.022, 0.061, 0.052),
)
Profiles = tuple[tuple[float, ...], tuple[float, ...]]
_LAST_NOTE = 0.1  # of correlation, that a last note gives to the keys on it; best on fiddle tunes of known key


def histogram(notes: Score | Notes) -> NDArray[np.float64]:
    """How long each pitch class sounds in all, in quarters, shape (12,), C first; the drums of a score are left out."""
    array = notes.merged() if isinstance(notes, Score) else notes
    classes = array[:, PITCH].astype(np.int64) % 12
    return np.bincount(classes, weights=array[:, DURATION], minlength=12).astype(np.float64)


def estimate_key(
    notes: Score | Notes,
    *,
    last_note: bool = False,
    modes: Iterable[str] = ("major", "minor"),
    profiles: Profiles = ALBRECHT_SHANAHAN,
) -> tuple[Key, float]:
    """The key whose profile correlates best with `histogram(notes)`, and the correlation, in [-1, 1].

    last_note: prefer keys whose tonic is the lowest pitch of those struck last, as melodies mostly end on it.
    modes: the modes to choose from. Dorian and mixolydian are judged by the profile of minor and major with the
    degree in which they differ exchanged for its neighbour.
    A histogram without any contrast correlates with no key: 0, and the first key, C. Raises InputError for no notes.
    """
    array = notes.merged() if isinstance(notes, Score) else notes
    if not len(array):
        raise InputError("the key of no notes cannot be estimated")
    last = -1
    if last_note:
        final = array[array[:, ONSET] == array[:, ONSET].max()]
        last = int(final[:, PITCH].min()) % 12
    durations = histogram(array)
    best, best_score, best_correlation = Key(0), -np.inf, 0.0
    for mode in modes:
        profile = _profile(mode, profiles)
        for tonic in range(12):
            correlation = _correlation(durations, np.roll(profile, tonic))
            score = correlation + (_LAST_NOTE if tonic == last else 0.0)
            if score > best_score + 1e-12:
                best, best_score, best_correlation = Key(tonic, mode), score, correlation
    return best, best_correlation


def _profile(mode: str, profiles: Profiles) -> NDArray[np.float64]:
    if mode not in MODES:
        raise InputError(f"mode {mode!r} is not supported; supported are {', '.join(MODES)}")
    profile = np.array(profiles[1 if mode in ("minor", "dorian") else 0])
    swap = {"dorian": (8, 9), "mixolydian": (10, 11)}.get(mode)
    if swap:
        profile[list(swap)] = profile[list(swap[::-1])]
    return profile


def _correlation(durations: NDArray[np.float64], profile: NDArray[np.float64]) -> float:
    if np.ptp(durations) <= 1e-12 * durations.max():
        return 0.0
    return float(np.corrcoef(durations, profile)[0, 1])
