"""Neural rendering of scores against FluidSynth's, on scores that no model was trained on.

    python benchmarks/rendering.py OUTPUT SCORE... [--seconds 12] [--soundfont FILE]

Every track is rendered by itself both ways, at the same level. Reported for each score and over all: the log-mel L1 to
FluidSynth of the acoustic model's mel and of the vocoded waveform, beside that of the training set's mean mel; the
share of notes whose onset lies within 30 ms of where it is written, among those that can be found there in FluidSynth's
rendering, and other shares; the correlation of the chroma of all but drums with the
score's, and what FluidSynth's own rendering reaches. Results go to OUTPUT/rendering.json, mixes to OUTPUT/NAME-*.wav.
"""

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from wavegen import load
from wavegen.acoustic.fluidsynth import render_midi
from wavegen.acoustic.rolls import named_tracks, part_of
from wavegen.acoustic.score import ScoreTransformer
from wavegen.audio.features import MelSpectrogram
from wavegen.audio.io import Audio
from wavegen.checkpoints.registry import DEFAULTS
from wavegen.errors import InputError
from wavegen.evaluation.rendering import OnsetScore, chroma_correlation, log_mel_distance, onset_score
from wavegen.music.midi import write_midi
from wavegen.music.notation import read_score
from wavegen.music.score import Score, Track
from wavegen.vocoders.base import Vocoder

LEVEL = 0.9 * 0.5 / 0.45  # of the training material over the renderer's


def sampled(score: Score, track: Track, rate: int, soundfont: str | None) -> NDArray[np.float32]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "track.mid"
        write_midi(path, replace(score, tracks=(track,)))
        return render_midi(path, rate, soundfont=soundfont) * np.float32(LEVEL)


def excerpt(score: Score, seconds: float) -> Score:
    """A passage from the middle on."""
    start = float(score.quarters(max(0.0, min(score.duration / 3, score.duration - seconds))))
    return score.between(start, min(score.end, float(score.quarters(score.seconds(start) + seconds)))).sounding()


@torch.inference_mode()
def judge(path: Path, options: argparse.Namespace, performer: ScoreTransformer, voice: Vocoder) -> dict[str, Any]:
    spec = performer.spec
    extractor = MelSpectrogram(spec)
    score = excerpt(read_score(path), options.seconds)
    mixes, pitched, distances, onsets = [], [], [], []
    for _, track in named_tracks(score):
        reference = sampled(score, track, spec.sample_rate, options.soundfont)
        frames = len(reference) // spec.hop
        reference = reference[: frames * spec.hop]
        true = extractor(torch.from_numpy(reference)[None])
        mel = performer.render(part_of(score, track), frames)
        wave = voice(mel)[0].numpy()
        mean = performer.mel_mean[None, :, None]
        alone, unlearned = (float((x - true).abs().mean()) for x in (mel, mean))
        distances.append([alone, log_mel_distance(wave, reference, spec), unlearned, frames])
        if not track.is_drum:
            onsets.append(onset_score(wave, reference, spec.sample_rate, replace(score, tracks=(track,))))
            pitched.append((wave, reference))
        mixes.append((wave, reference))
    for name, mix in zip(("neural", "fluidsynth"), summed(mixes), strict=True):
        peak = np.float32(0.9 / max(1e-6, np.abs(mix).max()))
        Audio((mix * peak)[None], spec.sample_rate).save(options.output / f"{path.stem}-{name}.wav")
    table = np.array(distances)
    if not pitched:
        raise InputError(f"{path}: only drums, which have neither pitch nor onsets to compare")
    made, true = summed(pitched)
    mel, vocoded, mean = np.average(table[:, :3], axis=0, weights=table[:, 3])
    return {
        "score": path.name,
        "mel": mel,
        "vocoded": vocoded,
        "mean mel": mean,
        **pooled(onsets),
        "chroma": chroma_correlation(made, spec.sample_rate, score),
        "chroma of FluidSynth": chroma_correlation(true, spec.sample_rate, score),
    }


def summed(pairs: list[tuple[NDArray[np.float32], NDArray[np.float32]]]) -> list[NDArray[np.float32]]:
    """The sums of the first and of the second waveforms, each as long as the longest."""
    longest = max(len(pair[0]) for pair in pairs)
    return [np.sum([np.pad(p[i], (0, longest - len(p[i]))) for p in pairs], axis=0, dtype=np.float32) for i in (0, 1)]


def pooled(onsets: list[OnsetScore]) -> dict[str, float]:
    judged = [o for o in onsets if o.notes]
    count = sum(o.notes for o in judged)
    share = lambda name: sum(getattr(o, name) * o.notes for o in judged) / max(1, count)  # noqa: E731
    clear = [o for o in judged if o.sampler > 0]
    readable = sum(o.readable * o.sampler * o.notes for o in clear) / max(1e-9, sum(o.sampler * o.notes for o in clear))
    return {
        "onsets": readable,
        "onsets as FluidSynth's": share("agreeing"),
        "onsets as written": share("written"),
        "FluidSynth's as written": share("sampler"),
        "notes": count,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("scores", type=Path, nargs="+")
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--soundfont", default=None)
    parser.add_argument("--acoustic", default=DEFAULTS["score-mel"])
    parser.add_argument("--vocoder", default=DEFAULTS["music-vocoder"])
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    performer = cast(ScoreTransformer, load(options.acoustic))
    voice = cast(Vocoder, load(options.vocoder))
    rows = []
    for path in options.scores:
        rows.append(judge(path, options, performer, voice))
        print("  ".join(f"{k} {v:.3f}" if isinstance(v, float) else f"{v}" for k, v in rows[-1].items()), flush=True)
    notes = sum(row["notes"] for row in rows)
    means = {
        name: sum(row[name] * row["notes"] for row in rows) / notes
        if "onset" in name or "written" in name
        else float(np.mean([row[name] for row in rows]))
        for name in rows[0]
        if name not in ("score", "notes")
    }
    print("all: " + "  ".join(f"{name} {value:.3f}" for name, value in means.items()))
    (options.output / "rendering.json").write_text(json.dumps({"scores": rows, "all": means}, indent=1))


if __name__ == "__main__":
    main()
