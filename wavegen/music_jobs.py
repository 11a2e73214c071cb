"""The jobs of music as plain functions: prompt → score → stems → mix; score → stems → mix.

As those of :mod:`wavegen.pipelines`, they check their arguments, give back audio, print nothing and keep models for the
next call.
"""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from wavegen.acoustic.fluidsynth import render_midi
from wavegen.acoustic.rolls import Part, named_tracks, parts_of
from wavegen.acoustic.score import ScoreTransformer
from wavegen.audio.features import FeatureSpec
from wavegen.audio.io import Audio
from wavegen.checkpoints.registry import DEFAULTS
from wavegen.errors import InputError
from wavegen.music.attributes import (
    MAX_BARS,
    MAX_INSTRUMENTS,
    MAX_TEMPO,
    MAX_VELOCITY,
    MIN_TEMPO,
    MIN_VELOCITY,
    TICKS,
    Attributes,
    Key,
    Meter,
)
from wavegen.music.compose import compose as compose_score
from wavegen.music.keys import estimate_key
from wavegen.music.leadsheet import LeadSheet
from wavegen.music.midi import write_midi
from wavegen.music.models.base import ScoreModel
from wavegen.music.models.ensemble import Ensemble
from wavegen.music.models.gan import BarGAN
from wavegen.music.models.mcts import MCTS
from wavegen.music.models.vae import ScoreVAE
from wavegen.music.notation import read_score
from wavegen.music.prompt import Plan, parse
from wavegen.music.score import VELOCITY, Score
from wavegen.pipelines import TOP_P, in_range, load_vocoder, ready_model, vocoded, whole
from wavegen.vocoders.base import Vocoder

Renderer = Literal["neural", "fluidsynth"]
PEAK = 0.9  # of the mix
LEAD = 8  # frames rendered before the first, whose windows hold a first note's attack
EDGE = 72  # samples over which what begins at the very start fades in
QUIET = 1e-4  # of the peak, below which a sampler's end is cut off
FADE = 16  # frames over which a part's silence is faded in and out
REST = 256  # frames: rests of a part that are longer are not rendered
LONGEST = 7200.0  # seconds of a rendered score
MOST_STEMS = 40000.0  # seconds of all stems together: 4 GB
SCORE_TEMPERATURE = (0.0, 10.0)
SCORE_TOP_K = (0, 10000)
SCORE_MODELS = ("transformer", "lstm", "gru", "ngram", "hmm", "gmm", "vae", "gan", "reinforce", "mcts", "ensemble")
SIMULATIONS = 8  # a bar, of the tree search
MEMBERS = ("transformer", "lstm", "gru")  # of the ensemble


@dataclass(frozen=True)
class Rendered:
    """A score as sound: the mix, and the stems, by track, whose sum it is; mono, as long as each other."""

    audio: Audio
    stems: dict[str, Audio]


@dataclass(frozen=True)
class Composed:
    """A composed piece. ``plan`` says how the prompt was understood; ``audio`` is None where it was not rendered."""

    score: Score
    leadsheet: LeadSheet
    attributes: Attributes
    plan: Plan
    audio: Audio | None = None
    stems: dict[str, Audio] = field(default_factory=dict)


def compose(
    prompt: str = "",
    *,
    model: str = "default",
    primer: Score | str | Path | None = None,
    infill: tuple[int, int] | None = None,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 0.95,
    render: bool = True,
    renderer: Renderer = "neural",
    acoustic: str = "default",
    vocoder: str = "default",
    soundfont: str | Path | None = None,
    device: str = "cpu",
    **options: Any,
) -> Composed:
    """Compose what ``prompt`` (English or Chinese) asks for, and render it.

    ``options`` are the attributes of :func:`wavegen.music.prompt.parse`, which go before the words: key, tempo, meter,
    instruments, drums, style, bars or seconds, dynamics, seed. ``model`` is a score model's name (see SCORE_MODELS) or
    checkpoint file, sampled with ``temperature`` (0-10, 0 takes the likeliest), ``top_k`` (0: all) and ``top_p``
    (0-1]. ``primer`` is a score, or its file, that is continued; ``infill`` = (first, last) are bars of it, counted
    from 1, that are composed anew while all else stays. The rest is as in :func:`render_score`; ``render=False``
    composes only. The same arguments give the same piece and the same samples.

    Raises InputError for a prompt or option that cannot be followed, in one line.
    """
    temperature = in_range("temperature", temperature, SCORE_TEMPERATURE)
    top_k = whole("top_k", top_k, SCORE_TOP_K)
    top_p = in_range("top_p", top_p, TOP_P)
    if top_p == 0:
        raise InputError("top_p: must be above 0")
    require_renderer(renderer, soundfont)
    if infill is not None and primer is None:
        raise InputError("infill: names bars of a score; give that as the primer")
    if not isinstance(prompt, str):
        raise InputError(f"prompt: must be a text, not {type(prompt).__name__}")
    start = None if primer is None else primer if isinstance(primer, Score) else read_score(_path("primer", primer))
    if infill is not None and not (isinstance(infill, tuple) and len(infill) == 2 and all(map(_is_whole, infill))):
        raise InputError(f"infill: must be two bars, (first, last), not {infill!r}")
    given = _options(options)
    if start is None:
        plan = parse(prompt, **given)
    else:
        stated = parse(prompt, **given).stated if prompt.strip() or set(given) - {"seed"} else {}
        for name in ("instruments", "drums"):
            if name in stated:
                raise InputError(f"primer: its own instruments play on; leave {name} out")
        for name in ("key", "tempo", "bars") if infill is not None else ():
            if name in stated:
                raise InputError(f"infill: keeps the primer's {name}; leave that out")
        decided = _as_primer(start, stated, infill)
        plan = parse(prompt, **given, **decided)
        plan = replace(plan, stated={**plan.stated, **dict.fromkeys(decided, "by the primer")})
    attributes = replace(plan.attributes, model=model)
    chosen = score_model(model, device)
    if isinstance(chosen, ScoreVAE | BarGAN):
        chosen.seed = attributes.seed  # of the noise it starts from
    made = compose_score(
        attributes, chosen, temperature=temperature, top_k=top_k, top_p=top_p, primer=start, infill=infill
    )
    composed = Composed(made.score, made.leadsheet, made.attributes, plan)
    if not render:
        return composed
    sound = render_score(
        made.score, renderer=renderer, acoustic=acoustic, vocoder=vocoder, soundfont=soundfont, device=device
    )
    return replace(composed, audio=sound.audio, stems=sound.stems)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _path(name: str, value: Any) -> str | Path:
    if not isinstance(value, str | Path):
        raise InputError(f"{name}: must be a Score or a file, not {type(value).__name__}")
    return value


def _options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes that are given, of the right types; their ranges are the parser's to check."""
    kinds: dict[str, tuple[Any, str]] = {
        "key": (str | Key, "a text"),
        "meter": (str | Meter, "a text"),
        "style": (str, "a text"),
        "mood": (str, "a text"),
        "tempo": (int | float, "a number"),
        "seconds": (int | float, "a number"),
        "bars": (int, "a whole number"),
        "dynamics": (int, "a whole number"),
        "seed": (int, "a whole number"),
        "drums": (bool, "true or false"),
        "instruments": (str | list | tuple, "a text or a list of names and programs"),
    }
    given = {name: value for name, value in options.items() if value is not None}
    for name, value in given.items():
        if name not in kinds:
            raise InputError(f"{name}: is not an attribute; there are {', '.join(kinds)}")
        kind, words = kinds[name]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise InputError(f"{name}: must be {words}, not {value!r}")
    players = given.get("instruments", ())
    if not isinstance(players, str) and not all(isinstance(p, str) or _is_whole(p) for p in players):
        raise InputError(f"instruments: must be names and programs, not {players!r}")
    return given


def _as_primer(primer: Score, stated: Mapping[str, str], infill: tuple[int, int] | None) -> dict[str, Any]:
    """What a primer decides of a piece, as options: all that neither the prompt nor an option states."""
    if primer.note_count == 0:
        raise InputError("primer: holds no notes")
    _, numerator, denominator = primer.meters[0]
    if all(track.is_drum or not len(track) for track in primer.tracks):
        raise InputError("primer: holds only drums; there is no melody to go on from")
    meter = Meter(numerator, denominator)
    tempo = primer.tempos[0][1] * TICKS / meter.tempo_unit
    if not MIN_TEMPO <= tempo <= MAX_TEMPO and "tempo" not in stated:
        raise InputError(f"primer: its tempo of {tempo:g} is outside {MIN_TEMPO:g} to {MAX_TEMPO:g}; state another")
    bars = len(primer.bars())
    loud = np.concatenate([track.notes[:, VELOCITY] for track in primer.tracks])
    found: dict[str, Any] = {
        "key": primer.key or estimate_key(primer, last_note=True)[0],
        "meter": meter,
        "tempo": tempo,
        "instruments": [track.program for track in primer.tracks if len(track) and not track.is_drum][:MAX_INSTRUMENTS],
        "drums": any(track.is_drum and len(track) for track in primer.tracks),
        "dynamics": int(np.clip(round(float(loud.mean())), MIN_VELOCITY, MAX_VELOCITY)),
    }
    if infill is not None:
        found["bars"] = bars
    elif "bars" not in stated:
        found["bars"] = min(2 * bars, MAX_BARS)
    return {name: value for name, value in found.items() if name not in stated}


def score_model(name: str, device: str = "cpu") -> ScoreModel:
    """A score model by its name in SCORE_MODELS, a shipped model's name or a file; "mcts" and "ensemble" are made of
    others. InputError for an unknown name.
    """
    if name == "default":
        name = "transformer"
    if name == "ensemble":
        return Ensemble([_score_model(member, device) for member in MEMBERS])
    if name == "mcts":
        return MCTS(_score_model("lstm", device), simulations=SIMULATIONS)
    return _score_model(name, device)


def _score_model(name: str, device: str) -> ScoreModel:
    if name not in SCORE_MODELS and not Path(name).suffix and not name.startswith("tune-"):
        raise InputError(f"model: no score model {name!r}; there are {', '.join(SCORE_MODELS)}, or a file")
    return cast(ScoreModel, ready_model(f"tune-{name}" if name in SCORE_MODELS else name, "score", device))


def require_renderer(renderer: str, soundfont: str | Path | None = None) -> None:
    """Raise InputError unless it is one of the renderers, and takes the soundfont, if any."""
    if renderer not in get_args(Renderer):
        raise InputError(f"renderer: must be one of {', '.join(get_args(Renderer))}, not {renderer!r}")
    if renderer == "neural" and soundfont is not None:
        raise InputError("soundfont: is for the renderer fluidsynth; the neural one has its own sounds")


def render_score(
    score: Score | str | Path,
    *,
    renderer: Renderer = "neural",
    acoustic: str = "default",
    vocoder: str = "default",
    soundfont: str | Path | None = None,
    stems: bool = True,
    number: int | None = None,
    device: str = "cpu",
) -> Rendered:
    """A score, or its MIDI, ABC or MusicXML file, as sound: each track a stem, their sum the mix, its peak at 0.9.

    Without ``stems`` only the mix is kept, which is what a long score of many tracks has memory for. A MIDI file's
    sustain pedal is followed, its other controllers and pitch bends are not; ``number`` is which tune of an ABC file
    that holds several is played.

    ``renderer`` "neural" takes every track through the acoustic model of scores and the music vocoder (``acoustic`` and
    ``vocoder`` are names or files); "fluidsynth" takes it through the program of that name and ``soundfont``.
    InputError for a soundfont without it, for a score without notes or longer than two hours.
    """
    require_renderer(renderer, soundfont)
    given = score if isinstance(score, Score) else read_score(_path("score", score), number=number, pedal=True)
    where = "score" if isinstance(score, Score) else str(score)
    if given.note_count == 0:
        raise InputError(f"{where}: holds no notes")
    if given.duration > LONGEST:
        raise InputError(f"{where}: lasts {given.duration:,.0f} s; at most {LONGEST:,.0f} s are rendered")
    seconds = given.duration * sum(1 for _ in named_tracks(given))
    if stems and seconds > MOST_STEMS:
        raise InputError(f"{where}: {seconds:,.0f} s of stems; at most {MOST_STEMS:,.0f} s fit, or the mix alone")
    if renderer == "fluidsynth":
        rate, waves = 24000, _by_fluidsynth(given, soundfont)
    else:
        rate, waves = _by_network(given, acoustic, vocoder, device)
    kept: dict[str, NDArray[np.float32]] = {}
    mix = np.zeros(0, np.float32)
    for name, wave in waves:
        mix = np.pad(mix, (0, max(0, len(wave) - len(mix))))
        mix[: len(wave)] += wave
        if stems:
            kept[name] = wave
    scale = np.float32(PEAK / max(float(np.abs(mix).max()), 1e-6))  # of stems and mix alike
    for name, wave in kept.items():
        kept[name] = np.pad(wave, (0, len(mix) - len(wave)))
        kept[name] *= scale
    mix *= scale
    return Rendered(Audio(mix[None], rate), {name: Audio(wave[None], rate) for name, wave in kept.items()})


Waves = Iterator[tuple[str, NDArray[np.float32]]]


def _by_network(score: Score, acoustic: str, vocoder: str, device: str) -> tuple[int, Waves]:
    voice = load_vocoder(DEFAULTS["music-vocoder"] if vocoder == "default" else vocoder, device, refine=None)
    performer = cast(ScoreTransformer, ready_model(acoustic, "score-mel", device))
    performer.spec.require(voice.spec, f"acoustic model {acoustic} and vocoder {vocoder} do not fit")
    parts = parts_of(score)
    return voice.spec.sample_rate, ((name, _perform(part, performer, voice)) for name, part in parts.items())


def _perform(part: Part, performer: ScoreTransformer, voice: Vocoder) -> NDArray[np.float32]:
    """One part's waveform, exactly silent where nothing sounds; long rests are not rendered."""
    spec = voice.spec
    frames = part.frames(spec)
    wave = np.zeros(frames * spec.hop, np.float32)
    for first, passage in _passages(part, spec):
        made = _perform_passage(passage, performer, voice)[: len(wave) - first * spec.hop]
        wave[first * spec.hop :][: len(made)] += made
    return wave


def _passages(part: Part, spec: FeatureSpec) -> Iterator[tuple[int, Part]]:
    """What lies between the rests of over REST frames: the frame where it begins, and its notes from there on."""
    low, high = part.heard(spec)
    order = np.argsort(low, kind="stable")
    low, ends = low[order], np.maximum.accumulate(high[order])
    breaks = np.flatnonzero(low[1:] - ends[:-1] > REST) + 1
    for place, notes in zip([0, *breaks], np.split(order, breaks), strict=True):
        first = max(0, int(low[place]))
        start = first * spec.hop / spec.sample_rate
        onset, end = part.onset[notes] - start, part.end[notes] - start
        yield first, replace(part, onset=onset, end=end, pitch=part.pitch[notes], velocity=part.velocity[notes])


@torch.inference_mode()
def _perform_passage(part: Part, performer: ScoreTransformer, voice: Vocoder) -> NDArray[np.float32]:
    """One part's waveform, its rests rendered too and then silenced."""
    spec = voice.spec
    seconds = LEAD * spec.hop / spec.sample_rate
    late = replace(part, onset=part.onset + seconds, end=part.end + seconds)
    frames = late.frames(spec)
    waves = [vocoded(wave)[0] for wave in voice.stream(performer.stream(late, frames), block=512)]
    gate = _gate(late, spec, frames)
    wave = (np.concatenate(waves) * gate)[LEAD * spec.hop :]
    wave[:EDGE] *= np.linspace(0, 1, EDGE, dtype=np.float32)
    return wave


def _gate(part: Part, spec: FeatureSpec, frames: int) -> NDArray[np.float32]:
    """1 where notes sound, 0 elsewhere, with fades: a vocoder's silence is not quite silent."""
    heard = np.zeros(frames + 2 * FADE, np.float32)
    for low, high in zip(*part.heard(spec), strict=True):
        heard[max(0, low) + FADE : min(high, frames) + FADE] = 1
    smooth = np.convolve(heard, np.ones(FADE) / FADE, "same")
    smooth = np.maximum(heard, smooth)[FADE:-FADE]
    return np.repeat(smooth, spec.hop).astype(np.float32)


def _by_fluidsynth(score: Score, soundfont: str | Path | None) -> Waves:
    with tempfile.TemporaryDirectory(prefix="wavegen-") as folder:
        for name, track in named_tracks(score):
            path = Path(folder) / "stem.mid"
            write_midi(path, replace(score, tracks=(track,)))
            wave = render_midi(path, 24000, soundfont=soundfont)
            heard = np.flatnonzero(np.abs(wave) > QUIET * np.abs(wave).max(initial=0))
            yield name, wave[: heard[-1] + 1] if len(heard) else wave[:1]


def notes_in_seconds(score: Score) -> dict[str, NDArray[np.float64]]:
    """The notes of every track by name, for drawing: (n, 4) with onset and end in seconds, pitch, velocity."""
    return {
        name: np.stack([part.onset, part.end, part.pitch, part.velocity], axis=1)
        for name, part in parts_of(score).items()
    }
