"""Training of separators: mixtures of every kind, losses that fall, orders, judges, labels, bad settings."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from wavegen import checkpoints
from wavegen.audio.features import FeatureSpec
from wavegen.errors import InputError
from wavegen.separation.base import Separator, SeparatorSpec
from wavegen.separation.deep_lstm import DeepLSTM
from wavegen.separation.stft import stft
from wavegen.training.config import build
from wavegen.training.loop import LoopConfig, Trainer
from wavegen.training.mixtures import StemSet
from wavegen.training.run import train
from wavegen.training.separation_losses import si_sdr
from wavegen.training.stem_folders import STEMS, prepared
from wavegen.training.tasks.separation import (
    IGNORED,
    NO_NOTE,
    ClusteringTask,
    ClusteringTaskConfig,
    SeparationTask,
    SeparationTaskConfig,
    SeparationVAETask,
    SeparationVAETaskConfig,
    SourceDiscriminators,
)
from wavegen.vocoders.istft import ISTFTVocoder, ISTFTVocoderConfig

RATE = 8000
LOOP = LoopConfig(
    steps=200, learning_rate=0.01, warmup_steps=2, tensorboard=False, amp=False, ema=0.8, weight_decay=0.0
)
GRID = {"n_fft": 256, "hop": 64}
LSTM_VAE = {"units": 4, "hidden": 24, "layers": 1, "decoder": 16, "view": 8, "bands": 20, "heads": 12, **GRID}
TCN_VAE = {"units": 4, "residual": 12, "gate": 12, "layers": 4, "cycle": 2, "channels": 16, "hidden": 24, "blocks": 1}
TCN_VAE |= {"kernel": 5, "bands": 20, "heads": 12, **GRID}
JUDGES = {"periods": [2], "resolutions": [64], "period_channels": 16, "resolution_channels": 4}
SONGS = {"kind": "songs", "songs": [{"folder": "songs"}], "silent": 0.0}
MELODIES = {**SONGS, "groups": {"low": ["bass"], "high": ["winds"]}, "solo": True, "monophonic": True}
SPEAKERS = {"kind": "speakers", "speakers": ["speech"]}
MUSIC = {"sample_rate": RATE, "channels": 1, "sources": ["low", "high"]}
STEREO = {**MUSIC, "channels": 2}
TALK = {"sample_rate": RATE, "channels": 1, "sources": ["speaker1", "speaker2"], "interchangeable": True}


def buzz(hertz: float, beat: float, seconds: float, step: int = 1) -> np.ndarray:
    """Five partials; ``step`` 2: but odd ones."""
    t = np.arange(round(seconds * RATE)) / RATE
    wave = sum(np.sin(2 * np.pi * k * hertz * t) / k for k in range(1, 1 + 5 * step, step) if k * hertz < RATE / 2)
    return 0.2 * wave * (0.3 + 0.7 * np.sin(np.pi * beat * t) ** 2)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two songs for training and one for validation, of two stems with labels that differ in sound; six speakers."""
    root = tmp_path_factory.mktemp("mixtures")
    for split, song, shift in (("train", "a", 0), ("train", "b", 4), ("validation", "c", 2)):
        folder = root / "songs" / split / song
        folder.mkdir(parents=True)
        facts = {}
        for stem, pitch, beat, step in (("bass", 40 + shift, 1.5, 1), ("winds", 76 + shift, 2.3, 2)):
            wave = buzz(440 * 2 ** ((pitch - 69) / 12), beat, 4.0, step)
            np.save(folder / f"{stem}.npy", np.round(np.stack([wave, 0.5 * wave], 1) * 20000).astype(np.int16))
            facts[stem] = {"notes": [[0.0, 3.0, pitch, 90, 33]], "monophonic": True}
        (folder / "labels.json").write_text(json.dumps({"sample_rate": RATE, "stems": facts}))
    # Names whose digests put them into train and validation.
    for number in range(12):
        folder = root / "speech" / f"f{number}"
        folder.mkdir(parents=True)
        soundfile.write(folder / "x.wav", buzz(90 + 9 * number, 1 + number / 9, 2.0), RATE)
    return root


def made(kind: type, folder: Path, cache: Path, **settings: Any) -> Any:
    torch.manual_seed(0)
    config_class = {
        SeparationTask: SeparationTaskConfig,
        ClusteringTask: ClusteringTaskConfig,
        SeparationVAETask: SeparationVAETaskConfig,
    }[kind]
    common = {"batch": 2, "seconds": 0.5, "stft_sizes": [256], "validation": 2, "validation_seconds": 1.0}
    config = build(config_class, common | settings, "task")
    return kind(config, FeatureSpec(), folder, cache, 1)


def separation(folder: Path, cache: Path, **settings: Any) -> SeparationTask:
    model = {"hidden": 24, "layers": 1, **GRID}
    music = {"separator": MUSIC, "data": MELODIES, "architecture": "chimera", "model": model}
    return made(SeparationTask, folder, cache, **music | settings)


def vae(folder: Path, cache: Path, **settings: Any) -> SeparationVAETask:
    music = {"separator": MUSIC, "data": MELODIES, "architecture": "lstm-vae-separator", "model": LSTM_VAE}
    return made(SeparationVAETask, folder, cache, **music | settings)


def gained(task: SeparationTask, folder: Path) -> float:
    """By how many dB of SI-SDR 50 steps on one batch better what is separated of it."""
    trainer = Trainer(task, LOOP, folder)
    batch = task.batch(0, 0, 1)
    target, mix = task.levelled(batch["sources"])
    before = si_sdr(task.model(mix), target).mean()
    for _ in range(50):
        trainer._step(batch)
    return (si_sdr(task.model(mix), target).mean() - before).item()


def test_a_batch_and_its_shares(data: Path, tmp_path: Path) -> None:
    task = separation(data, tmp_path, batch=4, separator=STEREO)
    whole = task.batch(3, 0, 1)["sources"]
    assert whole.shape == (4, 2, 2, RATE // 2)
    for rank in (0, 1):
        assert torch.equal(task.batch(3, rank, 2)["sources"], whole[rank::2])
    assert not torch.equal(task.batch(4, 0, 1)["sources"], whole)
    target, mix = task.levelled(whole)
    torch.testing.assert_close(mix.square().mean(dim=(1, 2)), torch.ones(4))
    torch.testing.assert_close(target.sum(dim=1), mix)


@pytest.mark.parametrize("loss", ["waveform", "snr"])
def test_a_mixture_is_learned(data: Path, tmp_path: Path, loss: str) -> None:
    task = separation(data, tmp_path, loss=loss)
    assert gained(task, tmp_path / "run") > 5


@pytest.mark.parametrize("architecture", ["conv-tasnet", "band-split-lstm", "deep-lstm"])
def test_other_separators_take_a_step(data: Path, tmp_path: Path, architecture: str) -> None:
    model = {
        "conv-tasnet": {"filters": 16, "bottleneck": 8, "hidden": 8, "skip": 8, "layers": 2, "repeats": 1},
        "band-split-lstm": {"channels": 8, "hidden": 8, "layers": 1, "bands": 6, "head": 8, **GRID},
        "deep-lstm": {"hidden": 8, "layers": 1, **GRID},
    }[architecture]
    task = separation(data, tmp_path, architecture=architecture, model=model)
    trainer = Trainer(task, LOOP, tmp_path / "run")
    batch = task.batch(0, 0, 1)
    losses = [float(trainer._step(batch)["loss"]) for _ in range(12)]
    assert losses[-1] < losses[0]
    assert not trainer.left_out


BANDS = {"channels": 12, "hidden": 16, "layers": 1, "bands": 8, "head": 16, **GRID}


@pytest.mark.parametrize("loss", ["waveform", "snr"])
@pytest.mark.parametrize("architecture", ["band-split-lstm", "deep-lstm"])
def test_the_spectrum_teaches_as_the_waveform_does(data: Path, tmp_path: Path, architecture: str, loss: str) -> None:
    model = BANDS if architecture == "band-split-lstm" else {"hidden": 24, "layers": 1, "dropout": 0.0, **GRID}
    separator = STEREO if architecture == "band-split-lstm" else MUSIC
    task = separation(
        data, tmp_path, architecture=architecture, model=model, separator=separator, loss=loss, spectral=True
    )
    assert gained(task, tmp_path / "run") > 5


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_compiling_changes_nothing(data: Path, tmp_path: Path) -> None:
    task = separation(data, tmp_path, architecture="band-split-lstm", model=BANDS, loss="snr", spectral=True)
    fused = separation(
        data, tmp_path, architecture="band-split-lstm", model=BANDS, loss="snr", spectral=True, compiled=True
    )
    target, mix = task.levelled(task.batch(0, 0, 1)["sources"])
    masks = task.model.spectral_masks(mix).detach()
    torch.testing.assert_close(fused.spectral_distance(masks, target)[0], task.spectral_distance(masks, target)[0])


def test_speakers_lend_their_voices_as_vocals(data: Path, tmp_path: Path) -> None:
    songs = [{"folder": "songs"}, {"folder": "speech", "layout": "speech"}]
    spec = {**MUSIC, "sources": ["vocals", "bass", "other"]}
    task = separation(
        data, tmp_path, separator=spec, data={"kind": "songs", "songs": songs, "remix": 1.0, "silent": 0.0}
    )
    assert isinstance(task.train_set, StemSet)
    voices = {song.id for song in task.train_set.songs if "vocals" in song.stems}
    heard = {song.id for song in task.validation_set.songs if "vocals" in song.stems}
    assert voices
    assert not voices & heard
    assert (task.batch(0, 0, 1)["sources"].square().mean(dim=(2, 3)) > 0).all()


def test_a_deep_lstm_is_shown_standardised_magnitudes(data: Path, tmp_path: Path) -> None:
    task = separation(data, tmp_path, architecture="deep-lstm", model={"hidden": 8, "layers": 1, "bins": 60, **GRID})
    assert isinstance(task.model, DeepLSTM)
    network = task.model.networks["high"]
    mixes = torch.cat([task.levelled(task.batch(step, 0, 1)["sources"])[1] for step in range(40)])
    levels = task.model.magnitudes(stft(mixes, 256, 64))[:, :, 0, :60]
    seen = (levels + network.input_mean) * network.input_scale
    assert seen.mean(dim=(0, 1)).abs().max() < 0.3
    assert 0.6 < seen.std(dim=(0, 1)).median() < 1.4
    assert set(task.statistics) == {f"networks.{s}.input_{v}" for s in ("low", "high") for v in ("mean", "scale")}


def test_speakers_are_trained_in_the_order_that_fits(data: Path, tmp_path: Path) -> None:
    task = separation(data, tmp_path, separator=TALK, data=SPEAKERS, loss="snr")
    target, mix = task.levelled(task.batch(0, 0, 1)["sources"])
    assert task.order(target, target, mix).tolist() == [[0, 1], [0, 1]]
    assert task.order(target.flip(1), target, mix).tolist() == [[1, 0], [1, 0]]
    trainer = Trainer(task, LOOP, tmp_path / "run")
    swapped = {"sources": task.batch(0, 0, 1)["sources"].flip(1)}
    losses = [float(trainer._step(b)["loss"]) for b in (task.batch(0, 0, 1), swapped) * 15]
    assert losses[-1] < losses[0] - 0.1


def test_discriminators_judge_each_source(data: Path, tmp_path: Path) -> None:
    adversarial = {"weight": 0.1, "feature_weight": 0.2, "begin": 0.0, "discriminators": JUDGES}
    task = separation(data, tmp_path, adversarial=adversarial)
    judge = task.modules["discriminators"]
    assert isinstance(judge, SourceDiscriminators)
    assert len(judge.judges) == 2
    x = torch.randn(2, 2, 1, 4000, generator=torch.Generator().manual_seed(0))
    logits, features = judge(x)
    assert len(logits) == len(features) == 4
    other, _ = judge(torch.cat([x[:, :1], 2 * x[:, 1:]], dim=1))
    assert [torch.equal(a, b) for a, b in zip(logits, other, strict=True)] == [True, True, False, False]
    trainer = Trainer(task, LOOP, tmp_path / "run")
    batch = task.batch(0, 0, 1)
    logs = [trainer._step(batch) for _ in range(15)]
    assert set(logs[0]) == {"loss", "discriminator", "adversarial", "features"}
    assert logs[-1]["discriminator"] < logs[0]["discriminator"]
    assert logs[-1]["loss"] < logs[0]["loss"]
    alike = SourceDiscriminators(task.config.adversarial.discriminators, build(SeparatorSpec, TALK, "x"))
    assert len(alike.judges) == 1
    assert len(alike(x)[0]) == 2


def test_discriminators_wait_until_they_begin(data: Path, tmp_path: Path) -> None:
    late = separation(data, tmp_path, adversarial={"weight": 0.1, "begin": 0.5, "discriminators": JUDGES})
    trainer = Trainer(late, LOOP, tmp_path / "run")
    assert set(trainer._step(late.batch(0, 0, 1))) == {"loss"}
    trainer.progress = 0.5
    assert "adversarial" in trainer._step(late.batch(1, 0, 1))
    assert "discriminators" not in separation(data, tmp_path).modules


@pytest.mark.parametrize("spectral", [False, True])
def test_clustering_is_learned(data: Path, tmp_path: Path, spectral: bool) -> None:
    model = {"hidden": 24, "layers": 1, "embedding": 6, **GRID}
    task = made(ClusteringTask, data, tmp_path, separator=TALK, data=SPEAKERS, model=model, spectral=spectral)
    trainer = Trainer(task, LOOP, tmp_path / "run")
    batch = task.batch(0, 0, 1)
    logs = [trainer._step(batch) for _ in range(40)]
    assert logs[-1]["clusters"] < 0.6 * logs[0]["clusters"]
    assert logs[-1]["loss"] < logs[0]["loss"] - 0.1
    silent = {"sources": batch["sources"] * torch.tensor([1.0, 0.0])[:, None, None]}  # one never dominates
    silent["sources"][1] = 0
    before = trainer.bad_steps
    assert all(torch.isfinite(loss) for loss in trainer._step(silent).values())
    assert trainer.bad_steps == before
    assert all(torch.isfinite(p).all() for p in task.model.parameters())


def test_labels_of_the_heads(data: Path, tmp_path: Path) -> None:
    task = vae(data, tmp_path, seconds=4.0)
    batch = task.batch(0, 0, 1)
    frames = 4 * RATE // 64 + 1
    assert batch["pitch"].shape == (2, 2, frames)
    assert batch["family"].tolist() == [[STEMS.index("bass"), STEMS.index("winds")]] * 2
    for item in batch["pitch"]:
        low, high = item[0], item[1]
        assert int(low[5]) in (40, 44)
        assert int(high[5]) in (76, 80)
        assert int(low[-5]) == NO_NOTE
    unknown = np.load(next((data / "songs").rglob("bass.npy")))
    bare = tmp_path / "bare" / "a"
    bare.mkdir(parents=True)
    for stem in ("bass", "winds"):
        soundfile.write(bare / f"{stem}.wav", unknown, RATE)
    songs = StemSet(prepared(tmp_path / "bare", None), ("bass", "winds"), sample_rate=RATE, cache=tmp_path)
    unlabelled = task._labelled(songs, np.random.default_rng(0), 0.5)
    assert (unlabelled["pitch"] == IGNORED).all()
    assert (unlabelled["family"] == IGNORED).all()


@pytest.mark.parametrize("spectral", [False, True])
@pytest.mark.parametrize(("architecture", "model"), [("lstm-vae-separator", LSTM_VAE), ("tcn-vae-separator", TCN_VAE)])
def test_the_autoencoders_learn(
    data: Path, tmp_path: Path, architecture: str, model: dict[str, Any], spectral: bool
) -> None:
    heads = {"pitch_weight": 0.3, "family_weight": 0.3, "data": {**MELODIES, "transpose": [-5, 5]}}
    task = vae(data, tmp_path, architecture=architecture, model=model, spectral=spectral, loss="snr", **heads)
    trainer = Trainer(task, LOOP, tmp_path / "run")
    batch = task.batch(0, 0, 1)
    target, mix = task.levelled(batch["sources"])
    before = si_sdr(task.model(mix), target).mean()
    logs = [trainer._step(batch) for _ in range(50)]
    assert si_sdr(task.model(mix), target).mean() > before + 5
    assert set(logs[0]) == {"loss", "kl", "magnitude", "pitch", "family"}
    assert logs[-1]["pitch"] < 0.7 * logs[0]["pitch"]
    assert logs[-1]["family"] < 0.5 * logs[0]["family"]
    assert logs[-1]["magnitude"] < 0.8 * logs[0]["magnitude"]
    assert torch.equal(task.model.eval().read(mix).family.argmax(dim=-1), batch["family"])
    task.model.train()
    for number in range(1, 100):  # the heads' running statistics are to be those of more than one batch
        trainer._step(task.batch(number, 0, 1))
    result = task.validate(trainer.ema)
    judged = {"loss", "negative_si_sdri", "kl", "silent_units", "pitch_errors", "family_errors"}
    assert set(result.scalars) == judged
    assert 0 <= result.scalars["silent_units"] <= 4
    assert result.scalars["family_errors"] == 0
    assert set(result.audio) == {f"{source}/{n}" for source in ("low", "high") for n in (0, 1)}


def test_heads_alone_learn_of_a_separation_that_stands_still(data: Path, tmp_path: Path) -> None:
    task = vae(data, tmp_path, heads_only=True, spectral=True, loss="snr", memory=5, heads_steps=3, heads_batch=7)
    before = {name: value.clone() for name, value in task.model.state_dict().items()}
    trainer = Trainer(task, LOOP, tmp_path / "run")
    batch = task.batch(0, 0, 1)
    logs = [trainer._step(batch) for _ in range(40)]
    changed = {name.split(".")[0] for name, value in task.model.state_dict().items() if not value.equal(before[name])}
    assert changed == {"pitch", "family"}
    assert len(task.remembered) == 5
    assert logs[-1]["pitch"] < 0.5 * logs[0]["pitch"]
    assert logs[-1]["family"] < 0.5 * logs[0]["family"]


def test_what_no_head_learns_from_is_not_kept(data: Path, tmp_path: Path) -> None:
    """Sources whose notes alone are known, or whose family alone is."""
    for weights, kept in (({}, 2), ({"pitch_weight": 0.0}, 1), ({"family_weight": 0.0}, 1)):
        task = vae(data, tmp_path, heads_only=True, **weights)
        pitch, family = torch.full((1, 2, 26), IGNORED), torch.tensor([[STEMS.index("winds"), IGNORED]])
        pitch[0, 1] = 60
        task.remember(torch.zeros(1, 2, 9, 26), pitch, family)
        assert len(task.remembered) == kept


@pytest.mark.parametrize("head", ["pitch", "family"])
def test_a_head_of_no_weight_stands_still(data: Path, tmp_path: Path, head: str) -> None:
    """With its statistics, though the family is read at the pitch."""
    weights = {"pitch_weight": 0.0, "family_weight": 0.0, f"{head}_weight": 0.3}
    task = vae(data, tmp_path, heads_only=True, spectral=True, loss="snr", heads_batch=7, **weights)
    before = {name: value.clone() for name, value in task.model.state_dict().items()}
    trainer = Trainer(task, LOOP, tmp_path / "run")
    for number in range(3):
        assert set(trainer._step(task.batch(number, 0, 1))) == {head}
    changed = {name.split(".")[0] for name, value in task.model.state_dict().items() if not value.equal(before[name])}
    assert changed == {head}


def test_beta_holds_the_latents_down(data: Path, tmp_path: Path) -> None:
    nats = []
    for beta in (0.0, 0.3):
        task = vae(data, tmp_path, beta=beta, free_bits=0.0, kl_rise=0.0)
        trainer = Trainer(task, LOOP, tmp_path / f"run{beta}")
        batch = task.batch(0, 0, 1)
        nats.append([float(trainer._step(batch)["kl"]) for _ in range(30)][-1])
    assert nats[1] < 0.2 * nats[0]


def test_the_decoder_begins_from_a_vocoder(data: Path, tmp_path: Path) -> None:
    mel = FeatureSpec(RATE, 256, 64, 256, 20, fmax=None)
    voice = ISTFTVocoder(ISTFTVocoderConfig(16, 24, 2, 5), mel)
    path = tmp_path / "vocoder.safetensors"
    checkpoints.save(path, voice, half=False)
    task = vae(data, tmp_path, architecture="tcn-vae-separator", model=TCN_VAE, vocoder=str(path))
    assert torch.equal(task.model.decoder.embed.weight, voice.embed.weight)
    with pytest.raises(InputError, match="only the decoder of a tcn-vae"):
        vae(data, tmp_path, vocoder=str(path))


def test_a_run_leaves_a_separator(data: Path, tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    task = {"separator": TALK, "data": SPEAKERS, "architecture": "chimera", "loss": "snr", "validation": 2}
    task |= {"model": {"hidden": 8, "layers": 1, **GRID}, "seconds": 0.5, "batch": 2, "stft_sizes": [256]}
    loop = {"steps": 2, "tensorboard": False, "amp": False}
    config.write_text(json.dumps({"kind": "separation", "task": task, "loop": loop}))
    train(config, data=data, output=tmp_path / "run", device="cpu")
    model = checkpoints.load(tmp_path / "run" / "model.safetensors", role="separator")
    assert isinstance(model, Separator)
    assert model.spec == SeparatorSpec(RATE, 1, ("speaker1", "speaker2"), True)
    mix = torch.randn(1, 1, 3000, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model(mix).sum(dim=1), mix, atol=1e-5, rtol=0)


def test_a_voice_over_songs(data: Path, tmp_path: Path) -> None:
    voice = {"kind": "voice", "speakers": ["speech"], "songs": [{"folder": "songs"}]}
    spec = {**MUSIC, "sources": ["voice", "background"]}
    task = separation(data, tmp_path, separator=spec, data=voice)
    assert task.batch(0, 0, 1)["sources"].square().mean(dim=(2, 3)).min() > 1e-6
    with pytest.raises(InputError, match=r"task\.separator\.sources: these mixtures have \('voice', 'background'\)"):
        separation(data, tmp_path, data=voice)


def test_songs_by_name(data: Path, tmp_path: Path) -> None:
    songs = [{"folder": "songs/train", "train": ["a"], "validation": ["b"]}, {"folder": "songs", "weight": 3.0}]
    task = separation(data, tmp_path, data={**MELODIES, "songs": songs})
    assert [song.id for song in task.train_set.songs] == ["a", "a", "b"]
    assert [song.id for song in task.validation_set.songs] == ["b", "c"]
    with pytest.raises(InputError, match="has no song 'z'"):
        separation(data, tmp_path, data={**MELODIES, "songs": [{"folder": "songs/train", "train": ["z"]}]})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"architecture": "unet"}, r"task\.architecture: must be one of band-split-lstm, .*not 'unet'"),
        ({"architecture": "wavenet"}, r"task\.architecture"),
        ({"model": {"units": 3}}, r"task\.model\.units: unknown key"),
        ({"batch": 0}, r"task\.batch"),
        ({"seconds": 0.0}, r"task\.seconds"),
        ({"stft_sizes": []}, r"task\.stft_sizes"),
        ({"loss": "l3"}, r"task\.loss: must be one of waveform, snr"),
        ({"data": {"kind": "songs"}}, r"task\.data\.songs"),
        ({"data": {"kind": "voice"}}, r"task\.data\.speakers"),
        ({"data": {**SONGS, "gain_db": [1.0]}}, r"task\.data\.gain_db"),
        ({"data": {**SONGS, "groups": {"low": "bass"}}}, r"task\.data\.groups\.low"),
        ({"data": {**SONGS, "songs": [{"folder": "nowhere"}]}}, "nowhere.*no such folder"),
        ({"data": {**SONGS, "songs": [{"folder": "x", "weight": 0.0}]}}, r"weight must be positive"),
        ({"data": {**SONGS, "songs": [{"folder": "x", "weight": float("inf")}]}}, r"weight must be positive"),
        ({"seconds": float("inf")}, r"task\.seconds must be positive, 600 at most"),
        ({"validation_seconds": 1e9}, r"task\.validation_seconds must be positive, 600 at most"),
        ({"snr_weight": float("inf")}, r"task\.snr_weight must be 0 or more, and finite"),
        ({"adversarial": {"weight": -1.0}}, r"task\.adversarial\.weight"),
        ({"adversarial": {"weight": 1.0, "begin": 2.0}}, r"task\.adversarial\.begin"),
        ({"adversarial": {"weight": 1.0}, "seconds": 0.05}, r"task\.seconds: 0\.05 s are too short"),
        ({"spectral": True}, r"task\.spectral: a chimera does not mask"),
        ({"spectral": True, "adversarial": {"weight": 1.0}}, r"task\.spectral: discriminators judge waveforms"),
        ({"spectral": True, "separator": TALK, "data": SPEAKERS}, r"task\.spectral: .* ask for task\.loss snr"),
    ],
)
def test_bad_settings(data: Path, tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        separation(data, tmp_path, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beta": -1.0}, r"task\.beta"),
        ({"heads_only": True, "data": SPEAKERS}, r"task\.heads_only: notes and instruments are known"),
        ({"heads_steps": 0}, r"task\.heads_steps must be from 1"),
        ({"memory": 0}, r"task\.memory must be from 1"),
        ({"heads_only": True, "pitch_weight": 0.0, "family_weight": 0.0}, r"task\.heads_only: nothing but"),
        ({"heads_only": True, "adversarial": {"weight": 1.0}}, r"task\.heads_only: nothing but"),
        ({"architecture": "chimera"}, r"task\.architecture: must be one of lstm-vae-separator, tcn-vae-separator"),
        ({"model": {**LSTM_VAE, "families": 3}}, r"task\.model\.families: 12 are told apart, not 3"),
    ],
)
def test_bad_settings_of_autoencoders(data: Path, tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        vae(data, tmp_path, **settings)


def test_bad_settings_of_clustering(data: Path, tmp_path: Path) -> None:
    for settings in ({"alpha": 1.5}, {"range_db": 0.0}):
        with pytest.raises(InputError, match=f"task.{next(iter(settings))}"):
            made(ClusteringTask, data, tmp_path, separator=TALK, data=SPEAKERS, **settings)
