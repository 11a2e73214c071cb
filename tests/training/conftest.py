"""A small made-up speech folder in LJSpeech layout."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
RATE = 24000


def hum(count: int, seed: int) -> np.ndarray:
    """A gliding buzz with noise, between two silences."""
    random = np.random.default_rng(seed)
    t = np.arange(count) / RATE
    f0 = random.uniform(100, 220) * (1 + 0.2 * np.sin(2 * np.pi * random.uniform(0.5, 2) * t))
    phase = 2 * np.pi * np.cumsum(f0) / RATE
    x = sum(np.sin(k * phase) / k for k in range(1, 12)) * np.hanning(count) ** 0.3
    return 0.1 * x + 0.005 * random.standard_normal(count)


@pytest.fixture(scope="session")
def speech_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speech")
    (folder / "wavs").mkdir()
    lines = []
    for i in range(60):
        text = f"{WORDS[i % 10]} and {WORDS[(i // 10 + i) % 10]} take {WORDS[(3 * i) % 10]} {WORDS[i // 10]}."
        lines.append(f"u{i:02d}|{text}")
        soundfile.write(folder / "wavs" / f"u{i:02d}.wav", hum(24000 + 480 * (i % 7), i), RATE)
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n")
    return folder
