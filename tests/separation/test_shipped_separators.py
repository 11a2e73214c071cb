"""The shipped separators keep the contract with their trained weights, too; cards and sizes are as they must be."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import wavegen
from wavegen import checkpoints, separation_jobs
from wavegen.audio.io import Audio, read
from wavegen.checkpoints.file import read_header
from wavegen.checkpoints.kinds import KINDS
from wavegen.checkpoints.registry import DEFAULTS, ModelCard, card, list_models
from wavegen.evaluation.separation import si_sdr
from wavegen.separation.base import Separator
from wavegen.separation.overlap import separate

SHIPPED = [model for model in list_models() if KINDS[model.kind].role == "separator"]
EXPECTED = {
    "separator-music",
    "separator-voice",
    "separator-speakers",
    "separator-deep-lstm",
    "separator-deep-clustering",
    "separator-gan",
    "separator-lstm-vae",
    "separator-tcn-vae",
}


def sound(model: Separator, seconds: float) -> Tensor:
    """(1, channels, samples): voices of partials that come and go, and beats of noise; no two channels alike."""
    rate, channels = model.spec.sample_rate, model.spec.channels
    rng = np.random.default_rng(1)
    t = np.arange(round(seconds * rate)) / rate
    total = np.zeros((channels, len(t)))
    for hertz, beat in ((82.4, 0.7), (220.0, 1.1), (311.0, 0.4), (554.0, 1.9)):
        vibrato = hertz * t + 0.3 * np.sin(2 * np.pi * 5 * t)
        wave = sum(np.sin(2 * np.pi * k * vibrato) / k for k in range(1, 9) if k * hertz < rate / 2.2)
        place = rng.uniform(0.3, 1.0, (channels, 1))
        total += place * 0.1 * wave * np.sin(np.pi * beat * t) ** 2
    decay = np.exp(-18 * (t % 0.5))
    total += 0.2 * decay * rng.standard_normal((channels, len(t)))
    return torch.from_numpy(total.astype(np.float32))[None]


def loaded(shipped: ModelCard) -> Separator:
    model = checkpoints.load(shipped.name, role="separator")
    assert isinstance(model, Separator)
    return model


def test_every_architecture_is_shipped() -> None:
    assert {model.name for model in SHIPPED} == EXPECTED
    assert DEFAULTS["separator"] == "separator-music"


@pytest.mark.parametrize("shipped", SHIPPED, ids=lambda model: model.name)
def test_cards(shipped: ModelCard) -> None:
    header = read_header(shipped.path)
    assert shipped.path.stat().st_size <= 16 << 20
    assert {"summary", "data", "licence", "minutes"} <= set(header.card)
    text = card(shipped.name)
    for word in (f"# {shipped.name}", "| data |", "| training |", "| licence |", "## Scores", "## Faults"):
        assert word in text
    json.dumps(header.card)


@pytest.mark.parametrize("shipped", SHIPPED, ids=lambda model: model.name)
@torch.inference_mode()
def test_the_contract(shipped: ModelCard) -> None:
    model = loaded(shipped)
    mix = sound(model, 4.0)
    sources = model(mix)
    scale = float(sources.abs().max())
    assert (sources.sum(dim=1) - mix).abs().max() <= 1e-6
    assert torch.equal(model(mix), sources)
    for gain in (0.1, 10.0, -1.0):
        assert (model(gain * mix) - gain * sources).abs().max() <= 1e-5 * abs(gain) * scale
    if model.spec.channels == 2:
        assert (model(mix.flip(1)) - sources.flip(2)).abs().max() <= 1e-5 * scale
    # It has learned something: no source is but a share of the mix.
    for source in sources[0]:
        error = (source - mix[0] * (source * mix[0]).sum() / mix.square().sum()).square().sum()
        assert error > 1e-3 * source.square().sum()


@pytest.mark.parametrize("shipped", SHIPPED, ids=lambda model: model.name)
@torch.inference_mode()
def test_chunks_are_the_whole(shipped: ModelCard) -> None:
    model = loaded(shipped)
    if model.spec.interchangeable:  # a whole may change its speakers over where a stream does not
        pytest.skip("sources without order are matched from chunk to chunk: see the streams' own tests")
    mix = sound(model, 30.0)
    whole = model(mix)[0]
    parts = separate(model, mix[0])
    for one, other in zip(whole.numpy(), parts.numpy(), strict=True):
        assert si_sdr(one, other) >= (100 if getattr(model.config, "window", 0) else 40)


@torch.inference_mode()
def test_the_default_is_exact_whatever_the_segment() -> None:
    model = loaded(next(shipped for shipped in SHIPPED if shipped.name == DEFAULTS["separator"]))
    mix = sound(model, 12.3)
    whole = model(mix)[0]
    for seconds in (0.5, 2.0, 5.0):
        torch.testing.assert_close(separate(model, mix[0], chunk_seconds=seconds), whole, atol=1e-6, rtol=0)


@pytest.mark.parametrize("bits", ["PCM_16", "PCM_24"])
def test_stems_of_files_sum_to_the_mix(tmp_path: Path, bits: str) -> None:
    """Within one step of the format, at a rate and channels that are not the model's."""
    model = separation_jobs.load_separator()
    mix = sound(model, 2.0)[0].numpy()
    audio = Audio(np.concatenate([mix, 0.5 * mix[:1]])[:, :70_001], 48000)
    path = tmp_path / "mix.wav"
    audio.save(path, subtype=bits)
    names = model.spec.sources
    places = {name: tmp_path / f"{name}.wav" for name in names}
    separation_jobs.separate_file(path, places, model, separation_jobs.Separation())
    step = 2.0 ** (1 - int(bits[-2:]))
    total = sum(read(places[name]).samples.astype(np.float64) for name in names)
    assert np.abs(total - read(path).samples).max() <= step


def test_from_python() -> None:
    audio = Audio(sound(separation_jobs.load_separator(), 1.0)[0].numpy(), 44100)
    stems = wavegen.separate(audio)
    assert set(stems) == {"vocals", "drums", "bass", "other"}
    drums = wavegen.separate(audio, two_stems="drums")
    assert set(drums) == {"drums", "no_drums"}
    np.testing.assert_allclose(drums["drums"].samples, stems["drums"].samples, atol=1e-6)
