"""Held-out scores of every separator beside the bounds, and how fast the command is: the tables of the README.

    python benchmarks/separation.py OUTPUT --models NAME_OR_FILE... [--stems DIR] [--songs DIR --song NAME]
        [--speech DIR...] [--read DIR...] [--limit 40] [--speed [--minutes 1 60] [--peer DIR]]

Each model is scored on what its own sources ask for: speakers over one another (``--speech``, test speakers), a voice
over music and noise (``--speech`` and ``--stems``), melodies (``--stems``), or songs: rendered ones (``--stems``, as
recipes/separation/render_stems.py writes them, test part), some of them once more without treble, and real ones
(``--songs``, folders of stems; ``--song`` are those that no model was trained on). What heads read of melodies is
judged on five times as many mixes, since there is one melody in each, and on mixes of ``--read``, more rendered songs.
The mixture, ideal binary and ratio masks, and baselines without learning (harmonic-percussive separation, spectral
clustering) stand in each table. Examples follow from a seed. ``--speed`` runs ``wavegen separate`` of the
default music model and, where the package demucs can be imported (from ``--peer``, a folder, or as installed),
``python -m demucs`` with an HTDemucs of random weights on the same file, and measures time, CPU time and resident
memory of the processes; ``--minutes`` are the lengths. What is printed is saved in OUTPUT/separation.json, too.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

import wavegen
from wavegen.audio.io import atomic
from wavegen.audio.resample import resample
from wavegen.errors import InputError
from wavegen.evaluation import machine
from wavegen.evaluation.separation import (
    Items,
    Separate,
    SystemScores,
    evaluate,
    evaluate_heads,
    song_items,
    table,
    with_heads,
    with_model,
)
from wavegen.separation.base import Separator, SeparatorSpec
from wavegen.separation.clustering import SpectralClustering, SpectralClusteringConfig
from wavegen.separation.hpss import HPSS, HPSSConfig
from wavegen.training.mixtures import PLAIN, SpeakerSet, StemSet, VoiceBackgroundSet, held_out, split_speakers
from wavegen.training.stem_folders import MELODIC, StemFiles, prepared, speakers

SPEECH_SECONDS, MELODY_SECONDS = 6.0, 8.0
NARROW = 20_000  # Hz
READINGS = 5  # mixes whose melodies are read, for one that is scored
VOICE = ("voice", "background")
# The HTDemucs of the published checkpoint, but for its weights; a file that the program's own loader takes.
HTDEMUCS = """
import sys
from fractions import Fraction
import torch
from demucs.htdemucs import HTDemucs
torch.manual_seed(0)
settings = {"sources": ["drums", "bass", "other", "vocals"], "bottom_channels": 512, "segment": Fraction(39, 5)}
model = HTDemucs(**settings)
state = {name: value.half() for name, value in model.state_dict().items()}
torch.save({"klass": HTDemucs, "args": (), "kwargs": settings, "state": state, "training_args": {}}, sys.argv[1])
"""


@dataclass(frozen=True)
class Test:
    """A held-out set for separators of one kind, and what needs no training on it."""

    title: str
    items: Callable[[], Items]
    baselines: dict[str, Separate]
    metrics: tuple[str, ...]


def kind(model: Separator) -> str:
    """Which tests a separator is for."""
    if model.spec.interchangeable:
        return "speakers"
    if set(model.spec.sources) == set(VOICE):
        return "voice"
    return "melodies" if hasattr(model, "read") else "songs"


def hpss(spec: SeparatorSpec) -> dict[str, Separate]:
    """Drums are what strikes, and each other source all that lasts."""
    if "drums" not in spec.sources or len(spec.sources) < 2:
        return {}
    run = with_model(HPSS(HPSSConfig(), SeparatorSpec(spec.sample_rate, spec.channels, ("other", "drums"))).eval())

    def separate(mix: Any) -> Any:
        lasting, striking = run(mix)
        return np.stack([striking if name == "drums" else lasting for name in spec.sources])

    return {"HPSS": separate}


def tests(name: str, spec: SeparatorSpec, options: argparse.Namespace, cache: Path) -> list[Test]:
    """The tests of a kind for which there are folders."""
    found = []
    rate = spec.sample_rate
    if name == "speakers" and options.speech:
        people = split_speakers(speakers(options.speech), "test")
        mixed = SpeakerSet(people, sample_rate=rate, cache=cache, count=len(spec.sources))
        clusters = SpectralClustering(SpectralClusteringConfig(), spec).eval()
        found.append(
            Test(
                f"{len(spec.sources)} speakers, {len(people)} unseen ones",
                lambda: held_out(mixed, options.limit, SPEECH_SECONDS),
                {"spectral clustering": with_model(clusters)},
                ("si_sdr", "sdr", "si_sdr_i"),
            )
        )
    elif name == "voice" and options.speech:
        people = split_speakers(speakers(options.speech), "test")
        music = prepared(options.stems, "test") if options.stems else []
        voices = VoiceBackgroundSet(people, music, sample_rate=rate, cache=cache)
        order = [voices.sources.index(source) for source in spec.sources]
        found.append(
            Test(
                f"voice and background, {len(people)} unseen speakers",
                lambda: ((item, x[order]) for item, x in held_out(voices, options.limit, SPEECH_SECONDS)),
                {},
                ("si_sdr", "sdr", "si_sdr_i"),
            )
        )
    elif name == "melodies" and options.stems:
        melodies = melody_set(spec, prepared(options.stems, "test"), cache)
        found.append(
            Test(
                "melodies of unseen scores",
                lambda: held_out(melodies, options.limit, MELODY_SECONDS),
                hpss(spec),
                ("sdr", "sdr_i", "si_sdr", "si_sdr_i"),
            )
        )
    elif name == "songs":
        sets: list[tuple[str, list[StemFiles], int]] = []  # title, songs, the rate that they have been through
        if options.stems:
            rendered = prepared(options.stems, "test")[: options.limit]
            sets.append(("rendered songs of unseen scores", rendered, rate))
            title = f"the first of these once more, nothing above {NARROW // 2000} kHz"
            sets.append((title, rendered[: math.ceil(options.limit / 4)], NARROW))
        if options.songs:
            songs = [song for song in prepared(options.songs, None) if not options.song or song.id in options.song]
            sets.append(("real songs kept out of training", songs[: options.limit], rate))
        for title, files, through in sets:
            whole = partial(song_items, files, spec.sources, rate, spec.channels, cache, seconds=options.seconds)
            items = partial(narrowed, whole, rate, through)
            found.append(Test(title, items, hpss(spec), ("si_sdr", "si_sdr_i", "museval_sdr", "sdr_i", "sdr")))
    return found


def narrowed(items: Callable[[], Items], rate: int, through: int) -> Items:
    """Sources that were at another rate in between, which takes what is above half of it."""
    for name, sources in items():
        there = sources if through >= rate else resample(resample(sources, rate, through), through, rate)
        yield name, there[..., : sources.shape[-1]]


def melody_set(spec: SeparatorSpec, files: Sequence[StemFiles], cache: Path) -> StemSet:
    """One instrument for each source, whose notes never sound together."""
    groups = {source: MELODIC for source in spec.sources if source not in ("drums", "bass", "vocals", *MELODIC)}
    return StemSet(
        files,
        spec.sources,
        sample_rate=spec.sample_rate,
        channels=spec.channels,
        groups=groups,
        solo=True,
        monophonic=True,
        augmentation=PLAIN,
        cache=cache,
    )


def heads(name: str, model: Separator, folder: Path, mixes: int, cache: Path) -> list[dict[str, Any]]:
    """How well the heads read unseen melodies of a folder, a row for each source but drums."""
    data = melody_set(model.spec, prepared(folder, "test"), cache)
    examples = (
        data.labelled_example(np.random.default_rng([0, number]), MELODY_SECONDS, model.config.hop)
        for number in range(mixes)
    )
    found = dict(zip(model.spec.sources, evaluate_heads(with_heads(model), examples, model.config.hop), strict=True))
    return [
        {
            "model": name,
            "scores": str(folder),
            "source": source,
            "pitch": own.pitch.rate,
            "octaves left open": own.chroma.rate,
            "voicing recall": own.recall.rate,
            "false alarms": own.false_alarm.rate,
            "family": own.family.rate,
            "frames": own.pitch.total,
            "examples": own.family.total,
        }
        for source, own in found.items()
        if source != "drums"
    ]


def scored(options: argparse.Namespace, cache: Path) -> tuple[list[tuple[str, list[SystemScores]]], list[Any]]:
    """Every test with all its systems, models of one test and spec side by side; and what heads read."""
    models: dict[tuple[str, SeparatorSpec], dict[str, Separator]] = {}
    for given in options.models:
        model = wavegen.load(given)
        if not isinstance(model, Separator):
            raise InputError(f"{given}: not a separator")
        models.setdefault((kind(model), model.spec), {})[Path(given).stem] = model.eval()
    results, readings = [], []
    for (name, spec), group in models.items():
        for test in tests(name, spec, options, cache):
            systems = test.baselines | {model: with_model(group[model]) for model in group}
            found = evaluate(
                systems,
                test.items(),
                spec.sources,
                spec.sample_rate,
                interchangeable=spec.interchangeable,
                progress=lambda item, title=test.title: print(f"{title}: {item}", file=sys.stderr, flush=True),
            )
            title = f"{test.title} ({spec.sample_rate} Hz, {', '.join(spec.sources)}; {len(found[0].items)} mixes)"
            print(f"\n{title}\n\n{table(found, test.metrics)}", flush=True)
            results.append((title, found))
        if name == "melodies" and options.stems:
            for model in group:
                for folder in dict.fromkeys([options.stems, *options.read]):
                    readings += heads(model, group[model], folder, READINGS * options.limit, cache)
    if readings:
        print(
            "\n| heads | scores | source | right note | octaves left open | voicing recall | false alarms | family |"
            "\n| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |"
        )
        for row in readings:
            keys = ("pitch", "octaves left open", "voicing recall", "false alarms", "family")
            shares = ("–" if math.isnan(row[key]) else f"{100 * row[key]:.1f} %" for key in keys)
            known = f"{' | '.join(shares)} of {row['examples']}"
            print(f"| {row['model']} | {row['scores']} | {row['source']} | {known} |", flush=True)
    return results, readings


# A process's greatest memory counts that of the one it was forked from, until then: so one that is small starts it.
LAUNCHER = """
import json, resource, subprocess, sys
status = subprocess.run(sys.argv[2:]).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
with open(sys.argv[1], "w") as file:
    json.dump([status, used.ru_utime + used.ru_stime, used.ru_maxrss], file)
"""


def run(command: Sequence[str], environment: dict[str, str]) -> dict[str, float]:
    """Wall and CPU seconds and the greatest resident memory (MB) of a process with all its children."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "used.json"
        launcher = [sys.executable, "-I", "-S", "-c", LAUNCHER, str(report)]
        start = time.perf_counter()
        done = subprocess.run([*launcher, *command], env=environment, capture_output=True, text=True, errors="replace")
        wall = time.perf_counter() - start
        status, cpu, kilobytes = json.loads(report.read_text()) if report.exists() else (done.returncode or 1, 0, 0)
    if status:
        said = (done.stdout + done.stderr).strip().splitlines()
        raise InputError(f"{' '.join(command[:4])} failed: {said[-1] if said else status}")
    scale = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return {"wall": wall, "cpu": cpu, "megabytes": kilobytes / scale}


def music(path: Path, stems: Path | None, seconds: float) -> None:
    """A stereo file of rendered songs one after the other, or of noise without any."""
    rate, done = 44100, 0
    files = prepared(stems, "test") if stems else []
    with soundfile.SoundFile(path, "w", rate, 2, "PCM_16") as sound, tempfile.TemporaryDirectory() as cache:
        songs = song_items(files, ("drums", "bass", "other"), rate, 2, Path(cache)) if files else iter(())
        for _, sources in songs:
            piece = sources.sum(axis=0).T[: round(seconds * rate) - done]
            sound.write(piece)
            done += len(piece)
            if done >= seconds * rate:
                return
        first = done
        rng = np.random.default_rng(0)
        while done < seconds * rate:  # again from the beginning, or noise
            sound.flush()
            count = min(rate, round(seconds * rate) - done)
            if first:
                piece, _ = soundfile.read(path, count, done % first)
            else:
                piece = 0.1 * rng.standard_normal((count, 2))
            sound.write(piece[:count])
            done += len(piece[:count])


def timed(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The commands on the same files, each length in turn; the peer on the first length alone."""
    environment = dict(os.environ)
    roots = [str(options.peer)] if options.peer else []
    peer = environment | {"PYTHONPATH": os.pathsep.join([*roots, environment.get("PYTHONPATH", "")])}
    known = subprocess.run([sys.executable, "-c", "import demucs"], env=peer, capture_output=True, check=False)
    rows = []
    with tempfile.TemporaryDirectory(prefix="wavegen-") as folder:
        root = Path(folder)
        for place, minutes in enumerate(options.minutes):
            path = root / f"music{minutes:g}.wav"
            music(path, options.stems, 60 * minutes)
            chosen = ["--model", options.speed_model] if options.speed_model else []
            ours = [sys.executable, "-m", "wavegen", "separate", str(path), "-o", str(root / "ours"), *chosen]
            rows.append({"command": "wavegen separate", "minutes": minutes} | run(ours, environment))
            if place == 0 and known.returncode == 0:
                repository = root / "models"
                repository.mkdir()
                run([sys.executable, "-c", HTDEMUCS, str(repository / "random.th")], peer)
                theirs = [sys.executable, "-m", "demucs", "-n", "random", "--repo", str(repository)]
                theirs += ["-o", str(root / "theirs"), str(path)]
                rows.append({"command": "demucs (HTDemucs)", "minutes": minutes} | run(theirs, peer))
            path.unlink()
    return rows


def show_speed(rows: Sequence[dict[str, Any]]) -> None:
    print("\n| command | minutes | × real time | CPU s per s | resident MB |\n| --- | ---: | ---: | ---: | ---: |")
    for row in rows:
        seconds = 60 * row["minutes"]
        figures = (f"{seconds / row['wall']:.1f}", f"{row['cpu'] / seconds:.3f}", f"{row['megabytes']:.0f}")
        print(f"| {row['command']} | {row['minutes']:g} | {' | '.join(figures)} |")


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="folder for separation.json")
    parser.add_argument("--models", nargs="*", default=[], help="names of models, or checkpoints")
    parser.add_argument("--stems", type=Path, help="rendered songs, with a test part")
    parser.add_argument("--read", type=Path, nargs="+", default=[], help="more rendered songs, for the heads alone")
    parser.add_argument("--songs", type=Path, help="folder of real songs, each a folder of stems")
    parser.add_argument("--song", nargs="*", default=[], help="those kept out of training; all, if none is named")
    parser.add_argument("--speech", type=Path, nargs="*", default=[], help="folders of speakers")
    parser.add_argument("--limit", type=int, default=40, help="mixes of a test")
    parser.add_argument("--seconds", type=float, help="of each song, this much from its middle")
    parser.add_argument("--cache", type=Path, help="where decoded recordings are kept; OUTPUT/cache by default")
    parser.add_argument("--speed", action="store_true", help="time the commands")
    parser.add_argument("--speed-model", help="the model that is timed; the default one otherwise")
    parser.add_argument("--minutes", type=float, nargs="+", default=[1.0], help="lengths of the files timed")
    parser.add_argument("--peer", type=Path, help="folder in which the package demucs lies")
    options = parser.parse_args(arguments)
    if options.read and not options.stems:
        parser.error("--read: more of what heads read goes with --stems")
    try:  # or hours of scores would be lost for want of one
        for folder in [*([options.stems] if options.stems else []), *options.read]:
            prepared(folder, "test")
    except InputError as error:
        parser.error(str(error))
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    options = parsed(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    results, readings = scored(options, options.cache or options.output / "cache")
    speed = timed(options) if options.speed else []
    if speed:
        show_speed(speed)
    found = {
        "tests": {title: [system.to_dict() for system in systems] for title, systems in results},
        "heads": readings,
        "speed": speed,
        "machine": machine.describe(),
    }
    with atomic(options.output / "separation.json") as temporary:
        temporary.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
