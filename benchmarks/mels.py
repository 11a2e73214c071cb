"""How good the models of mels are, on the held-out recordings of a folder.

    python benchmarks/mels.py FOLDER [--vae mel-vae] [--lstm mel-lstm] [--clips 40]

FOLDER is in LJSpeech layout, as recipes/music/vocoder_set.py writes it; its test part is judged, clips over three
seconds. Errors are mean absolute differences of log-mels, in neper or in the bands' standard deviations. The VAE is
judged by its reconstruction, by gaps that it fills (beside linear interpolation), and by transfers of timbre: how far
the average mel lies from the timbre's, and how the chroma correlates with the content's. The LSTM is judged by its
expectation of the next frame (beside copying the last one) and by two seconds that go on from four.
"""

import argparse
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from wavegen import load
from wavegen.acoustic.mel_lstm import MelLSTM
from wavegen.acoustic.mel_vae import MelVAE, bridge
from wavegen.audio.features import FeatureSpec, MelSpectrogram, mel_edges
from wavegen.audio.io import read
from wavegen.training.data import prepare_waveform, read_metadata, split_by_text

SHORTEST = 3.0  # seconds
GAPS = (12, 23, 47, 94)  # frames
HEARD, MADE = 400, 200  # frames of a continuation
TEMPERATURES = (0.3, 0.6, 1.0)


def held_out(folder: Path, spec: FeatureSpec, count: int) -> list[Tensor]:
    """Mels (1, bands, frames) of test recordings."""
    extractor, mels = MelSpectrogram(spec), list[Tensor]()
    for item in split_by_text(read_metadata(folder))["test"]:
        if len(mels) == count:
            break
        audio = read(item.path)
        samples = prepare_waveform(audio.samples, audio.sample_rate, spec.sample_rate)
        if len(samples) > SHORTEST * spec.sample_rate:
            mels.append(extractor(torch.from_numpy(samples))[None])
    return mels


def profile(mel: Tensor) -> Tensor:
    """The average log-mel of the frames within 30 dB of the loudest, its level taken out: (bands,)."""
    power = torch.exp(2 * mel[0]).sum(dim=0)
    mean = mel[0][:, power > power.max() * 1e-3].mean(dim=1)
    return mean - mean.mean()


def smooth_profile(mel: Tensor) -> Tensor:
    """The same, smoothed over about eight bands: timbre rather than pitches."""
    kernel = torch.exp(-0.5 * (torch.arange(-24, 25) / 8.0) ** 2)
    padded = F.pad(profile(mel)[None, None], (24, 24), mode="replicate")
    return F.conv1d(padded, (kernel / kernel.sum())[None, None])[0, 0]


def chroma_agreement(a: Tensor, b: Tensor, spec: FeatureSpec) -> float:
    """Mean correlation of the chroma of two mels, frame by frame, from bands between 100 and 2,500 Hz."""
    centre = mel_edges(spec)[1:-1].float()
    within = (centre > 100) & (centre < 2500)
    pitch = 12 * torch.log2(centre[within] / 440) + 69
    distance = (pitch[None] - torch.arange(12)[:, None] + 6) % 12 - 6
    weights = torch.exp(-0.5 * (distance / 0.6) ** 2)
    frames = min(a.shape[-1], b.shape[-1])
    powers = [torch.exp(2 * x[0, :, :frames]) for x in (a, b)]
    first, second = (weights @ power[within] for power in powers)
    first, second = (x - x.mean(dim=0) for x in (first, second))
    agreement = (first * second).sum(dim=0) / (first.norm(dim=0) * second.norm(dim=0) + 1e-9)
    loudness = powers[0].sum(dim=0)
    return float(agreement[loudness > loudness.max() * 1e-4].mean())


def row(name: str, *values: "list[float] | float") -> None:
    """A line of the table; of a list the mean."""
    print(f"| {name} | {' / '.join(f'{np.mean(value):.3f}' for value in values)} |", flush=True)


def judge_vae(model: MelVAE, mels: list[Tensor]) -> None:
    std, mean = model.mel_std[:, None], model.mel_mean[:, None]
    outputs = [model(mel) for mel in mels]
    pairs = list(zip(mels, outputs, strict=True))
    errors = [float((out.mel - mel).abs().mean()) for mel, out in pairs]
    row("log-mel L1 of the reconstruction, neper / mean mel", errors, [float((mean - m).abs().mean()) for m in mels])
    content = [float(out.content_kl) / mel.shape[-1] for mel, out in pairs]
    row("KL of the content, nats a frame / of the timbre, nats a clip", content, [float(o.timbre_kl) for o in outputs])
    rng = np.random.default_rng(0)
    for length in GAPS:
        filled, linear = list[float](), list[float]()
        for mel in mels:
            for _ in range(3):
                start = int(rng.integers(20, mel.shape[-1] - length - 20))
                known = torch.ones(1, mel.shape[-1], dtype=torch.bool)
                known[:, start : start + length] = False
                near = slice(max(0, start - HEARD), start + length + HEARD)
                piece, mask = mel[..., near], known[..., near]
                for found, made in ((filled, model.fill(piece, mask)), (linear, bridge(piece, mask))):
                    found.append(float(((made - piece) / std).abs()[..., ~mask[0]].mean()))
        seconds = length * model.spec.hop / model.spec.sample_rate
        row(f"error in gaps of {seconds:.2f} s, deviations / linear interpolation", filled, linear)
    before, after, kept, rebuilt, other = (list[float]() for _ in range(5))
    for place, (played, out) in enumerate(pairs):
        timbre = mels[(place + 1 + int(rng.integers(len(mels) - 1))) % len(mels)]
        made = model.transfer(played, timbre)
        target = smooth_profile(timbre)
        before.append(float((smooth_profile(out.mel) - target).abs().mean()))
        after.append(float((smooth_profile(made) - target).abs().mean()))
        for found, mel in ((kept, made), (rebuilt, out.mel), (other, timbre)):
            found.append(chroma_agreement(played, mel, model.spec))
    nearer = [float(b < a) for a, b in zip(before, after, strict=True)]
    row(
        "timbre transfer: distance of the average mel to the timbre, before / after / share nearer",
        before,
        after,
        nearer,
    )
    row(
        "timbre transfer: chroma correlation with the content / reconstruction's / another clip's", kept, rebuilt, other
    )


def judge_lstm(model: MelLSTM, mels: list[Tensor]) -> None:
    std = model.mel_std[:, None]
    expected, copied, nats = list[float](), list[float](), list[float]()
    for mel in mels:
        frames, out = model.standardised(mel), model(mel)
        expected.append(float((out.expected[:, 1:] - frames[:, 1:]).abs().mean()))
        copied.append(float((frames[:, 1:] - frames[:, :-1]).abs().mean()))
        nats.append(-float(out.log_prob(frames).mean()) / model.spec.bands)
    row("error of the next frame, deviations / copying the last frame", expected, copied)
    row("negative log-likelihood, nats a value", nats)
    long = [mel for mel in mels if mel.shape[-1] >= HEARD + MADE][:20]
    change = lambda mel: float(((mel[..., 1:] - mel[..., :-1]) / std).abs().mean())  # noqa: E731
    row("change from frame to frame of recordings, deviations", [change(mel) for mel in long])
    for temperature in TEMPERATURES:
        true, other, changes = list[float](), list[float](), list[float]()
        for place, mel in enumerate(long):
            generator = torch.Generator().manual_seed(place)
            made = model.continued(mel[..., :HEARD], MADE, temperature=temperature, generator=generator)
            true.append(float((profile(made) - profile(mel[..., HEARD : HEARD + MADE])).abs().mean()))
            other.append(float((profile(made) - profile(long[place - 1])).abs().mean()))
            changes.append(change(made))
        name = (
            f"going on at temperature {temperature}: distance of the average mel to the true / another clip's; change"
        )
        row(name, true, other, changes)


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--vae", default="mel-vae")
    parser.add_argument("--lstm", default="mel-lstm")
    parser.add_argument("--clips", type=int, default=40)
    options = parser.parse_args()
    vae, lstm = cast(MelVAE, load(options.vae)), cast(MelLSTM, load(options.lstm))
    mels = held_out(options.folder, vae.spec, options.clips)
    if len(mels) < 2:
        parser.error("two clips over three seconds are needed, to compare one with another")
    print(f"{len(mels)} clips\n\n{options.vae}")
    judge_vae(vae, mels)
    print(f"\n{options.lstm}")
    judge_lstm(lstm, held_out(options.folder, lstm.spec, options.clips))


if __name__ == "__main__":
    main()
