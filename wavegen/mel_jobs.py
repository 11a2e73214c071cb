"""Jobs on mels as plain functions: recordings continued, mended, blended, given another timbre; sounds out of nothing.

Models and vocoders are named as in :mod:`wavegen.pipelines`; a model's kind stands for the one that is shipped, and the
default vocoder is music's. Where a made sound meets a recording, the recording keeps every bit: it is extrapolated by
linear prediction into what was made, and the two are crossfaded there.
"""

from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wavegen.acoustic.mel_lstm import MelLSTM
from wavegen.acoustic.mel_vae import MelVAE
from wavegen.audio.features import FeatureSpec, MelSpectrogram
from wavegen.audio.io import Audio
from wavegen.audio.resample import resample
from wavegen.checkpoints.registry import DEFAULTS
from wavegen.errors import InputError
from wavegen.nn.device import usable_device
from wavegen.pipelines import SEED, in_range, load_vocoder, ready_model, unclipped, vocoded, whole
from wavegen.vocoders.base import Vocoder

SECONDS = (0.05, 120.0)  # of sound that is made
LONGEST_GAP = 10.0  # seconds
CROSSFADE = (0.02, 0.05)  # seconds
TEMPERATURE = (0.0, 2.0)
STEPS = (2, 64)
CONTEXT = 5.0  # seconds of a recording on each side that are listened to
SHORTEST = 0.1  # seconds of a recording without which there is nothing to go by
BRIDGE = 0.05  # seconds that a recording is extrapolated by
PAUSE = 0.25  # seconds between two sounds
ORDER = 512  # coefficients of linear prediction
HISTORY = 0.4  # seconds they are learnt from

Samples = NDArray[np.float32]


def continue_audio(
    audio: Audio,
    seconds: float,
    *,
    model: str = "mel-lstm",
    vocoder: str = "default",
    temperature: float = 0.6,
    seed: int = 0,
    crossfade: float = 0.03,
    device: str = "cpu",
) -> Audio:
    """The recording, to the bit, and ``seconds`` (0.05-120) of what might follow, at its own rate and channels.

    The model hears the channels' mean of the last 5 s; what follows is the same in all channels. ``temperature`` (0-2)
    is how freely it goes on; the same ``seed`` gives the same samples. ``crossfade`` (0.02-0.05 s) is the stretch after
    the recording in which its extrapolation gives way. InputError for a recording under 0.1 s or an argument out of
    range.
    """
    require_audio(audio, "audio")
    count = round(in_range("seconds", seconds, SECONDS) * audio.sample_rate)
    temperature = in_range("temperature", temperature, TEMPERATURE)
    generator = torch.Generator().manual_seed(whole("seed", seed, SEED))
    fade = _fade(crossfade, audio.sample_rate)
    lstm = cast(MelLSTM, ready_model(model, "mel-lstm", device))
    voice = _voice(vocoder, lstm.spec, model, device)
    rate, spec = audio.sample_rate, lstm.spec
    heard = audio.samples[:, -round(CONTEXT * rate) :]
    beyond = np.stack([extrapolated(channel, round(BRIDGE * rate), rate) for channel in heard])
    with_beyond = np.concatenate([heard, _faded(beyond)], axis=1).mean(axis=0, keepdims=True)
    own = resample(with_beyond, rate, spec.sample_rate)
    border = heard.shape[1] * spec.sample_rate / rate  # samples at the model's rate
    known = max(1, int(np.count_nonzero(_centres(spec, spec.frames(own.shape[1])) < border)))
    frames = -(-round(count / rate * spec.sample_rate) // spec.hop) + 2
    mel = _mel(own, spec, device)[..., :known]
    with torch.inference_mode():
        following = lstm.continued(mel, frames, temperature=temperature, generator=generator)
        wave = _vocoded(voice, torch.cat([mel, following], dim=-1))
    made = _cut(resample(wave, spec.sample_rate, rate), heard.shape[1], count)
    made = np.repeat(made, audio.channels, axis=0)
    made = _joined(made, beyond, fade)
    return Audio(np.concatenate([audio.samples, made], axis=1), rate)


def fill_gap(
    audio: Audio,
    start: float,
    end: float,
    *,
    model: str = "mel-vae",
    vocoder: str = "default",
    crossfade: float = 0.03,
    device: str = "cpu",
) -> Audio:
    """The recording with what lies from ``start`` to ``end`` (seconds, at most 10 s apart) made anew from both sides.

    Every sample outside stays as it is, to the bit; what was inside is ignored. Each channel is filled by itself.
    ``crossfade`` (0.02-0.05 s) is the stretch inside each end in which the recording's extrapolation gives way, shorter
    in a gap under twice that. InputError for a gap that is empty or not inside the recording, or leaves under 0.1 s.
    """
    require_audio(audio, "audio")
    rate, length = audio.sample_rate, audio.samples.shape[1]
    limits = (0.0, length / rate)
    a = round(in_range("start", start, limits) * rate)
    b = min(length, round(in_range("end", end, limits) * rate))
    if b <= a:
        raise InputError(f"end: must lie after start, which is {start} s, not at {end} s")
    if b - a > LONGEST_GAP * rate:
        raise InputError(f"end: a gap is at most {LONGEST_GAP:g} s long, not {(b - a) / rate:g} s")
    if length - (b - a) < SHORTEST * rate:
        raise InputError(f"audio: under {SHORTEST:g} s lie outside the gap, too little to fill it from")
    fade = min(_fade(crossfade, rate), (b - a) // 2)
    vae, voice = _vae(model, vocoder, device)
    context = round(CONTEXT * rate)
    first, last = max(0, a - context), min(length, b + context)
    left, right = audio.samples[:, first:a], audio.samples[:, b:last]
    reach = min(b - a, round(BRIDGE * rate))
    after = np.stack([extrapolated(channel, reach, rate) for channel in left])
    before = np.stack([extrapolated(channel[::-1], reach, rate)[::-1] for channel in right])
    gap = np.zeros((audio.channels, b - a), np.float32)
    gap[:, :reach] += _faded(after)
    gap[:, b - a - reach :] += _faded(before[:, ::-1])[:, ::-1]
    bridged = np.concatenate([left, gap, right], axis=1)
    made = _cut(_filled(bridged, (a - first) / rate, (b - first) / rate, rate, vae, voice, device), a - first, b - a)
    made = _joined(made, after, fade) if left.shape[1] else made
    made = _joined(made[:, ::-1], before[:, ::-1], fade)[:, ::-1] if right.shape[1] else made
    samples = audio.samples.copy()
    samples[:, a:b] = made
    return Audio(samples, rate)


def interpolate(
    a: Audio,
    b: Audio,
    steps: int = 5,
    *,
    model: str = "mel-vae",
    vocoder: str = "default",
    device: str = "cpu",
) -> Audio:
    """``steps`` (2-64) sounds from ``a`` to ``b`` by way of their latents, one after the other: mono, the model's rate.

    Each is as long as the shorter recording, at most 120 s in all; 0.25 s of silence lie between two. The first and
    last are the recordings as the model renders them.
    """
    for name, audio in (("a", a), ("b", b)):
        require_audio(audio, name)
    steps = whole("steps", steps, STEPS)
    vae, voice = _vae(model, vocoder, device)
    rate = vae.spec.sample_rate
    x, y = (_mono(audio, vae.spec) for audio in (a, b))
    length = min(x.shape[1], y.shape[1])
    if steps * length > SECONDS[1] * rate:
        raise InputError(f"steps: {steps} sounds of {length / rate:.1f} s are more than {SECONDS[1]:g} s; shorten them")
    first, last = (_mel(wave[:, :length], vae.spec, device) for wave in (x, y))
    mels = vae.interpolate(first, last, np.linspace(0, 1, steps).tolist())
    pause = np.zeros((1, round(PAUSE * rate)), np.float32)
    pieces: list[Samples] = []
    for mel in mels:
        pieces += [unclipped(_vocoded(voice, mel[None])[:, :length]), pause]
    return Audio(np.concatenate(pieces[:-1], axis=1), rate)


def transfer(
    content: Audio,
    timbre: Audio,
    *,
    model: str = "mel-vae",
    vocoder: str = "default",
    device: str = "cpu",
) -> Audio:
    """What is played in one recording with the sound of the other: mono, as long and as loud as ``content``.

    Its rate is the model's. InputError for recordings under 0.1 s.
    """
    for name, audio in (("content", content), ("timbre", timbre)):
        require_audio(audio, name)
    vae, voice = _vae(model, vocoder, device)
    played, sound = (_mono(audio, vae.spec) for audio in (content, timbre))
    mel = vae.transfer(_mel(played, vae.spec, device), _mel(sound, vae.spec, device))
    wave = _vocoded(voice, mel)[:, : played.shape[1]]
    loudness = _power(played) / max(_power(wave), 1e-12)
    return Audio(unclipped(wave * np.float32(np.sqrt(loudness))), vae.spec.sample_rate)


def sample_mel(
    seconds: float,
    seed: int = 0,
    *,
    temperature: float = 1.0,
    model: str = "mel-vae",
    vocoder: str = "default",
    device: str = "cpu",
) -> Audio:
    """``seconds`` (0.05-120) of sound from a mel that is drawn from the model's prior: mono, the model's rate.

    ``temperature`` (0-2) scales how far draws lie from the most likely. The same ``seed`` gives the same samples.
    """
    seconds = in_range("seconds", seconds, SECONDS)
    temperature = in_range("temperature", temperature, TEMPERATURE)
    generator = torch.Generator().manual_seed(whole("seed", seed, SEED))
    vae, voice = _vae(model, vocoder, device)
    count = round(seconds * vae.spec.sample_rate)
    mel = vae.sample(-(-count // vae.spec.hop), generator=generator, temperature=temperature)
    return Audio(unclipped(_vocoded(voice, mel)[:, :count]), vae.spec.sample_rate)


def extrapolated(signal: Samples, count: int, rate: int) -> Samples:
    """``count`` samples that follow a signal (n,) by linear prediction (Burg 1975): its partials ring on and decay."""
    x = signal[-round(HISTORY * rate) :].astype(np.float64)
    coefficients = burg(x, min(ORDER, len(x) // 3))
    order = len(coefficients)
    if order == 0:
        return np.zeros(count, np.float32)
    y = np.concatenate([x[-order:], np.zeros(count)])
    backwards = coefficients[::-1].copy()
    for i in range(order, len(y)):
        y[i] = y[i - order : i] @ backwards
    return y[order:].astype(np.float32)


def burg(x: NDArray[np.float64], order: int) -> NDArray[np.float64]:
    """Coefficients (order,) that predict x[n] from x[n − 1], x[n − 2], …; their filter is stable (Burg 1975)."""
    forward, backward = x.copy(), x.copy()
    a = np.ones(1)
    for _ in range(order):
        forward, backward = forward[1:], backward[:-1]
        power = forward @ forward + backward @ backward
        if power < 1e-15:  # nothing is left to predict
            break
        k = -2 * (forward @ backward) / power
        forward, backward = forward + k * backward, backward + k * forward
        a = np.append(a, 0.0)
        a = a + k * a[::-1]
    return -a[1:]


def _vae(name: str, vocoder: str, device: str) -> tuple[MelVAE, Vocoder]:
    vae = cast(MelVAE, ready_model(name, "mel-vae", device))
    return vae, _voice(vocoder, vae.spec, name, device)


def _voice(vocoder: str, spec: FeatureSpec, model: str, device: str) -> Vocoder:
    """The vocoder. InputError names what differs in its and the model's conventions."""
    voice = load_vocoder(DEFAULTS["music-vocoder"] if vocoder == "default" else vocoder, device, spec)
    spec.require(voice.spec, f"model {model} and vocoder {vocoder} do not fit")
    return voice


def require_audio(audio: Any, name: str) -> None:
    """Raise InputError for what is no Audio, or too short."""
    if not isinstance(audio, Audio):
        raise InputError(f"{name}: must be a wavegen.Audio, not {type(audio).__name__}")
    if audio.samples.shape[1] < SHORTEST * audio.sample_rate:
        raise InputError(f"{name}: lasts {audio.duration:.3f} s, less than {SHORTEST:g} s")


def _fade(crossfade: float, rate: int) -> int:
    return round(in_range("crossfade", crossfade, CROSSFADE) * rate)


def _mono(audio: Audio, spec: FeatureSpec) -> Samples:
    return audio.mono().resample(spec.sample_rate).samples


def _mel(wave: Samples, spec: FeatureSpec, device: str) -> Tensor:
    """Mel (channels, bands, frames) of (channels, samples), the end filled up to a whole frame."""
    shortest = -(-spec.n_fft // spec.hop) * spec.hop
    fill = max(shortest - wave.shape[1], -wave.shape[1] % spec.hop)
    place = usable_device(device)
    padded = torch.from_numpy(np.pad(wave, ((0, 0), (0, fill)))).to(place)
    mel: Tensor = MelSpectrogram(spec).to(place)(padded)
    return mel


def _centres(spec: FeatureSpec, frames: int) -> NDArray[np.float64]:
    """The sample over which each frame stands."""
    return np.arange(frames, dtype=np.float64) * spec.hop + (spec.n_fft / 2 - spec.pad)


def _filled(bridged: Samples, start: float, end: float, rate: int, vae: MelVAE, voice: Vocoder, device: str) -> Samples:
    """The whole (channels, n) through the mel whose frames from ``start`` to ``end`` (seconds) the model fills."""
    spec = vae.spec
    mel = _mel(resample(bridged, rate, spec.sample_rate), spec, device)
    seconds = _centres(spec, mel.shape[-1]) / spec.sample_rate
    within = (seconds >= start) & (seconds < end)
    known = torch.from_numpy(~within).to(mel.device).expand(mel.shape[0], -1)
    return resample(_vocoded(voice, vae.fill(mel, known)), spec.sample_rate, rate)


def _vocoded(voice: Vocoder, mel: Tensor) -> Samples:
    with torch.inference_mode():
        return vocoded(torch.cat(list(voice.stream([mel])), dim=-1))


def _cut(wave: Samples, start: int, count: int) -> Samples:
    """``count`` samples from ``start`` on, silence where the wave has ended."""
    piece = wave[:, start : start + count]
    return np.pad(piece, ((0, 0), (0, count - piece.shape[1])))


def _faded(wave: Samples) -> Samples:
    """Fades to silence along half a cosine."""
    n = wave.shape[1]
    fall: Samples = (0.5 + 0.5 * np.cos(np.pi * (np.arange(n) + 0.5) / max(n, 1))).astype(np.float32)
    return wave * fall


def _joined(made: Samples, recorded: Samples, fade: int) -> Samples:
    """``made`` with its first samples crossfaded from the recording's extrapolation, at even power.

    Two sounds that do not agree in phase would sink in the middle, two that do would swell: their correlation decides.
    """
    fade = min(fade, made.shape[1], recorded.shape[1])
    if fade == 0:
        return made
    old, new = recorded[:, :fade].astype(np.float64), made[:, :fade].astype(np.float64)
    powers = np.sqrt(np.square(old).sum(axis=1) * np.square(new).sum(axis=1))
    agreement = np.clip((old * new).sum(axis=1) / np.maximum(powers, 1e-12), -0.5, 1.0)[:, None]
    rise = 0.5 - 0.5 * np.cos(np.pi * (np.arange(fade) + 0.5) / fade)
    even = np.sqrt(rise**2 + (1 - rise) ** 2 + 2 * agreement * rise * (1 - rise))
    joined = made.copy()
    joined[:, :fade] = ((1 - rise) * old + rise * new) / even
    return joined


def _power(wave: Samples) -> float:
    return float(np.square(wave, dtype=np.float64).mean())
