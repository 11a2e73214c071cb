"""Published checkpoints: the same output as the packages they come from, on random weights; and files that lie.

The packages are optional: their tests say so where they are missing.
"""

import json
import os
import pickle
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from wavegen import separation_jobs
from wavegen.audio import io
from wavegen.audio.io import Audio
from wavegen.audio.torchaudio_bridge import torchaudio
from wavegen.checkpoints import importers, load
from wavegen.checkpoints.importers import import_separator
from wavegen.cli.main import main
from wavegen.errors import CheckpointError, InputError
from wavegen.separation.base import Separator, SeparatorSpec
from wavegen.separation.conv_tasnet import ConvTasNet
from wavegen.separation.deep_lstm import DeepLSTM, DeepLSTMConfig
from wavegen.separation.hdemucs import HDemucs, HDemucsConfig
from wavegen.separation.htdemucs import HTDemucs, HTDemucsConfig, places_1d, places_2d

PARITY = 1e-4
NAMES = ("drums", "bass", "other", "vocals")


def needs(package: str) -> None:
    """Skip unless the package is there, with torchaudio, where it asks for that, made importable first."""
    for name in (package, "torchaudio") if package != "demucs" else ("demucs", "julius", "einops"):
        if find_spec(name) is None:
            pytest.skip(f"the package {name} is not installed")
    if package != "demucs":
        with warnings.catch_warnings(action="ignore"):
            torchaudio()


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    torch.manual_seed(0)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"torchaudio|openunmix|demucs|torch\.nn")
        yield


def lively(module: nn.Module) -> nn.Module:
    """Every weight and statistic random, so that none is without effect."""
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if tensor.is_floating_point():
            low, high = (0.5, 1.5) if "scale" in name or "running_var" in name else (-0.3, 0.3)
            if "norm" in name or "bn" in name:
                low = 0.5 if name.endswith("weight") else low
            if tensor.dim() < 2:
                tensor.data.uniform_(low, max(high, low + 0.6))
    return module.eval()


def same(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape
    assert expected.abs().max() > 1e-3
    assert (found - expected).abs().max() <= PARITY * expected.abs().max()


# --- Open-Unmix


def open_unmix_files(folder: Path, targets: tuple[str, ...] = ("vocals", "other"), **options: Any) -> dict[str, Any]:
    from openunmix.model import OpenUnmix

    networks = {}
    for target in targets:
        networks[target] = lively(OpenUnmix(nb_bins=257, nb_channels=2, hidden_size=16, nb_layers=2, **options))
        torch.save(networks[target].state_dict(), folder / f"{target}-0a1b2c3d.pth")
    return networks


@pytest.mark.parametrize("max_bin", [None, 100])
@pytest.mark.parametrize("iterations", [0, 1])
def test_open_unmix(max_bin: int | None, iterations: int, tmp_path: Path) -> None:
    needs("openunmix")
    from openunmix.model import Separator as Peer

    random = np.random.default_rng(0)
    mean, scale = random.uniform(0, 1, 257).astype(np.float32), random.uniform(0.5, 2, 257).astype(np.float32)
    networks = open_unmix_files(tmp_path, max_bin=max_bin, input_mean=mean, input_scale=scale)
    model = import_separator([tmp_path])
    assert isinstance(model, DeepLSTM)
    assert model.spec == SeparatorSpec(44100, 2, ("vocals", "other"))
    assert model.config.bins == (max_bin or 0)
    assert model.config.wiener == 1
    peer = Peer(networks, niter=iterations, n_fft=512, n_hop=128).eval()
    object.__setattr__(model.config, "wiener", iterations)
    mix = torch.randn(1, 2, 20001)
    same(model.estimate(mix), peer(mix * model.config.rms) / model.config.rms)


def a_network(bins: int = 33, hidden: int = 8) -> dict[str, Tensor]:
    """The weights of one of ours, which has the published names."""
    config = DeepLSTMConfig(hidden=hidden, layers=1, n_fft=2 * (bins - 1), hop=(bins - 1) // 2, joint=True)
    model = DeepLSTM(config, SeparatorSpec(44100, 2, ("x",)))
    return {name.removeprefix("networks.x."): tensor for name, tensor in model.state_dict().items()}


def test_open_unmix_files_in_any_order(tmp_path: Path) -> None:
    for name in ("noise_04a6fc2d", "speech_f5e0d9f9"):
        torch.save(a_network() | {"sample_rate": torch.tensor(16000)}, tmp_path / f"{name}.pth")
    model = import_separator([tmp_path / "noise_04a6fc2d.pth", tmp_path / "speech_f5e0d9f9.pth"])
    assert model.spec == SeparatorSpec(16000, 2, ("speech", "noise"))
    named = import_separator([tmp_path], sources=["rain", "voice"], sample_rate=8000)
    assert named.spec == SeparatorSpec(8000, 2, ("rain", "voice"))
    assert torch.equal(first_weight(named, "rain"), first_weight(model, "noise"))
    own = import_separator([tmp_path], sources=["speech", "noise"])  # what the files are called, in another order
    assert own.spec == model.spec
    for source in own.spec.sources:
        assert torch.equal(first_weight(own, source), first_weight(model, source))
    assert not torch.equal(first_weight(own, "speech"), first_weight(own, "noise"))


def first_weight(model: Separator, source: str) -> Tensor:
    return model.state_dict()[f"networks.{source}.fc1.weight"]


def test_open_unmix_files_that_do_not_go_together(tmp_path: Path) -> None:
    torch.save(a_network(), tmp_path / "vocals.pth")
    with pytest.raises(InputError, match="one source alone"):
        import_separator([tmp_path / "vocals.pth"])
    torch.save(a_network(hidden=10), tmp_path / "drums.pth")
    with pytest.raises(InputError, match="differ in size"):
        import_separator([tmp_path])
    torch.save(a_network(), tmp_path / "vocals-2.pth")
    with pytest.raises(InputError, match="same source"):
        import_separator([tmp_path / "vocals.pth", tmp_path / "vocals-2.pth"])
    with pytest.raises(InputError, match="there are 2 files of a source each; 1 names"):
        import_separator([tmp_path / "vocals.pth", tmp_path / "vocals-2.pth"], sources=["a"])
    with pytest.raises(InputError, match="a file is called vocals, but not all as the names given"):
        import_separator([tmp_path / "vocals.pth", tmp_path / "drums.pth"], sources=["vocals", "rest"])
    with pytest.raises(InputError, match="mask and layers are for Conv-TasNet; this is Open-Unmix"):
        import_separator([tmp_path / "vocals.pth"], layers=3)
    one_way = {name: tensor for name, tensor in a_network().items() if "reverse" not in name}
    torch.save(one_way, tmp_path / "one.pth")
    torch.save(one_way, tmp_path / "two.pth")
    with pytest.raises(InputError, match="one way"):
        import_separator([tmp_path / "one.pth", tmp_path / "two.pth"])
    torch.save({"weights": torch.zeros(3)}, tmp_path / "x.pth")
    with pytest.raises(InputError, match=r"x\.pth: is no Open-Unmix checkpoint"):
        import_separator([tmp_path / "vocals.pth", tmp_path / "x.pth"])


# --- Conv-TasNet


def torchaudio_conv_tasnet(mask: str) -> nn.Module:
    needs("torchaudio")
    model: nn.Module = torchaudio().models.ConvTasNet(2, 16, 24, 3, 12, 20, 8, 2, mask)
    return lively(model)


@pytest.mark.parametrize("mask", ["relu", "sigmoid"])
@pytest.mark.parametrize("samples", [4000, 3997, 5])
def test_conv_tasnet_of_torchaudio(mask: str, samples: int, tmp_path: Path) -> None:
    peer = torchaudio_conv_tasnet(mask)
    torch.save(peer.state_dict(), tmp_path / "c.pt")
    model = import_separator([tmp_path / "c.pt"], mask=None if mask == "relu" else mask)
    assert isinstance(model, ConvTasNet)
    assert model.spec == SeparatorSpec(8000, 1, ("speaker1", "speaker2"), True)
    mix = torch.randn(2, 1, samples)
    same(model.estimate(mix)[:, :, 0], peer(mix))


def asteroid_checkpoint(**settings: Any) -> dict[str, Any]:
    """Of two repeats of three layers, as asteroid saves it."""
    channels, filters, hidden = 6, 10, 8
    shapes = {
        "encoder.filterbank._filters": (filters, 1, 16),
        "decoder.filterbank._filters": (filters, 1, 16),
        "masker.bottleneck.0.gamma": (filters,),
        "masker.bottleneck.0.beta": (filters,),
        "masker.bottleneck.1.weight": (channels, filters, 1),
        "masker.bottleneck.1.bias": (channels,),
        "masker.mask_net.0.weight": (1,),
        "masker.mask_net.1.weight": (2 * filters, channels, 1),
        "masker.mask_net.1.bias": (2 * filters,),
    }
    for block in range(6):
        of_block = {
            "shared_block.0.weight": (hidden, channels, 1), "shared_block.0.bias": (hidden,),
            "shared_block.1.weight": (1,), "shared_block.2.gamma": (hidden,), "shared_block.2.beta": (hidden,),
            "shared_block.3.weight": (hidden, 1, 3), "shared_block.3.bias": (hidden,), "shared_block.4.weight": (1,),
            "shared_block.5.gamma": (hidden,), "shared_block.5.beta": (hidden,),
            "res_conv.weight": (channels, hidden, 1), "res_conv.bias": (channels,),
            "skip_conv.weight": (channels, hidden, 1), "skip_conv.bias": (channels,),
        }  # fmt: skip
        shapes |= {f"masker.TCN.{block}.{name}": shape for name, shape in of_block.items()}
    given = {"n_src": 2, "n_blocks": 3, "n_repeats": 2, "mask_act": "relu", "norm_type": "gLN", "sample_rate": 16000}
    given |= {"kernel_size": 16, "stride": 8, "n_filters": filters, "fb_name": "free", "skip_chan": channels}
    weights = OrderedDict((name, torch.randn(shape) * 0.5) for name, shape in shapes.items())
    return {
        "model_name": "ConvTasNet",
        "model_args": given | settings,
        "state_dict": weights,
        "infos": {"version": "0"},
    }


def asteroid_output(checkpoint: dict[str, Any], mix: Tensor) -> Tensor:
    """Equations 1 to 13 of the paper, written out from asteroid's names. Mix (1, 1, samples) -> (2, samples)."""
    w, f = checkpoint["state_dict"], nn.functional

    def norm(x: Tensor, name: str) -> Tensor:
        deviation = (x.var(correction=0) + 1e-8).sqrt()
        return (x - x.mean()) / deviation * w[f"{name}.gamma"][:, None] + w[f"{name}.beta"][:, None]

    code = f.conv1d(mix, w["encoder.filterbank._filters"], stride=8)
    if checkpoint["model_args"].get("encoder_activation") == "relu":
        code = code.relu()
    x = f.conv1d(norm(code, "masker.bottleneck.0"), w["masker.bottleneck.1.weight"], w["masker.bottleneck.1.bias"])
    total = 0.0
    for block in range(6):
        p, dilation = f"masker.TCN.{block}.", 2 ** (block % 3)
        y = f.prelu(
            f.conv1d(x, w[p + "shared_block.0.weight"], w[p + "shared_block.0.bias"]), w[p + "shared_block.1.weight"]
        )
        y = norm(y, p + "shared_block.2")
        y = f.conv1d(
            y,
            w[p + "shared_block.3.weight"],
            w[p + "shared_block.3.bias"],
            padding=dilation,
            dilation=dilation,
            groups=8,
        )
        y = norm(f.prelu(y, w[p + "shared_block.4.weight"]), p + "shared_block.5")
        total = total + f.conv1d(y, w[p + "skip_conv.weight"], w[p + "skip_conv.bias"])
        x = x + f.conv1d(y, w[p + "res_conv.weight"], w[p + "res_conv.bias"])
    total = f.prelu(total, w["masker.mask_net.0.weight"])
    masks = f.conv1d(total, w["masker.mask_net.1.weight"], w["masker.mask_net.1.bias"]).reshape(2, 10, -1)
    masks = masks.relu() if checkpoint["model_args"]["mask_act"] == "relu" else masks.sigmoid()
    found = f.conv_transpose1d(masks * code, w["decoder.filterbank._filters"], stride=8)[:, 0]
    return f.pad(found, (0, mix.shape[-1] - found.shape[-1]))


@pytest.mark.parametrize("settings", [{}, {"mask_act": "sigmoid", "encoder_activation": "relu"}])
def test_conv_tasnet_of_asteroid(settings: dict[str, Any], tmp_path: Path) -> None:
    checkpoint = asteroid_checkpoint(**settings)
    torch.save(checkpoint, tmp_path / "pytorch_model.bin")
    model = import_separator([tmp_path / "pytorch_model.bin"])
    assert model.spec == SeparatorSpec(16000, 1, ("speaker1", "speaker2"), True)
    assert model.config.layers == 3
    mix = torch.randn(1, 1, 1003)
    same(model.estimate(mix)[0, :, 0], asteroid_output(checkpoint, mix))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"causal": True}, "causal True"), ({"norm_type": "cLN"}, "norm_type 'cLN'"), ({"stride": 4}, "stride of 4"),
        ({"mask_act": "softmax"}, "ConvTasNetConfig.mask"), ({"fb_name": "stft"}, "fb_name"),
        ({"skip_chan": 0}, "skip"), ({"n_blocks": 4}, "6 blocks"),
    ],
)  # fmt: skip
def test_conv_tasnets_that_cannot_be_imported(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    torch.save(asteroid_checkpoint(**settings), tmp_path / "a.bin")
    with pytest.raises(InputError, match=message):
        import_separator([tmp_path / "a.bin"])


def test_names_and_layers_of_a_conv_tasnet(tmp_path: Path) -> None:
    torch.save(asteroid_checkpoint(), tmp_path / "a.bin")
    model = import_separator([tmp_path / "a.bin"], sources=["speech", "noise"], sample_rate=8000, layers=2)
    assert model.spec == SeparatorSpec(8000, 1, ("speech", "noise"), False)
    assert (model.config.layers, model.config.repeats) == (2, 3)
    with pytest.raises(CheckpointError, match="has 2 sources; 3 names"):
        import_separator([tmp_path / "a.bin"], sources=["a", "b", "c"])


# --- HDemucs and HTDemucs


def published(peer: nn.Module, *, half: bool) -> dict[str, Any]:
    """As its authors save it."""
    args, kwargs = peer._init_args_kwargs  # type: ignore[misc]
    state = {n: t.half() if half else t for n, t in peer.state_dict().items()}
    return {"klass": type(peer), "args": args, "kwargs": kwargs, "state": state, "training_args": {"lr": 3e-4}}


@pytest.mark.parametrize(
    "settings",
    [{}, {"hybrid_old": True, "context_enc": 1}, {"dconv_mode": 3, "depth": 6, "dconv_lstm": 5, "freq_emb": 0.1}],
)
def test_hdemucs(settings: dict[str, Any], tmp_path: Path) -> None:
    needs("demucs")
    from demucs.hdemucs import HDemucs as Peer

    peer = lively(Peer(list(NAMES), channels=8, **settings))
    torch.save(published(peer, half=False), tmp_path / "h.th")
    model = import_separator([tmp_path / "h.th"])
    assert isinstance(model, HDemucs)
    assert model.spec == SeparatorSpec(44100, 2, NAMES)
    for samples in (250_001, 1000):  # beyond 200 frames the LSTMs see parts of them
        mix = torch.randn(1, 2, samples)
        same(model.estimate(mix), peer(mix))


@pytest.mark.parametrize(
    "settings",
    [
        {"bottom_channels": 32, "t_heads": 4, "segment": Fraction(39, 20)},
        {"t_layers": 2, "t_cross_first": True, "use_train_segment": False, "dconv_mode": 3, "t_weight_pos_embed": 0.5},
        {"depth": 5, "nfft": 4096, "t_layers": 0, "segment": 2},
    ],
)
def test_htdemucs(settings: dict[str, Any], tmp_path: Path) -> None:
    needs("demucs")
    from demucs.htdemucs import HTDemucs as Peer

    peer = lively(Peer(list(NAMES), channels=8, **settings))
    torch.save(published(peer, half=False), tmp_path / "h.th")
    model = import_separator([tmp_path / "h.th"])
    assert isinstance(model, HTDemucs)
    for samples in (80_000, 2001):
        mix = torch.randn(1, 2, samples)
        same(model.estimate(mix), peer(mix))


@pytest.mark.parametrize(("n_fft", "depth"), [(1024, 5), (2048, 6), (4096, 6)])
def test_hdemucs_of_torchaudio(n_fft: int, depth: int, tmp_path: Path) -> None:
    needs("torchaudio")
    peer = lively(torchaudio().models.HDemucs(list(NAMES), channels=8, nfft=n_fft, depth=depth))
    torch.save(peer.state_dict(), tmp_path / "h.pt")
    model = import_separator([tmp_path / "h.pt"], sample_rate=48000)
    assert isinstance(model, HDemucs)
    assert model.spec == SeparatorSpec(48000, 2, NAMES)
    mix = torch.randn(1, 2, 120_001)
    same(model.estimate(mix), peer(mix))


def stand_in(name: str) -> type:
    """A class under a published name, for pickles, where its package is not there."""
    module, _, short = name.rpartition(".")
    return type(short, (), {"__module__": module, "__qualname__": short})


def saved_demucs(path: Path, *, transformer: bool, **kwargs: Any) -> Separator:
    """One of ours in the published wrapping, as safetensors."""
    spec = SeparatorSpec(44100, 2, NAMES)
    model: Separator
    if transformer:
        model = HTDemucs(HTDemucsConfig(channels=8, layers=1, segment=1.5), spec).eval()
        kwargs = {
            "channels": 8,
            "t_layers": 1,
            "segment": {"_type": "fraction", "numerator": 3, "denominator": 2},
        } | kwargs
    else:
        model = HDemucs(HDemucsConfig(channels=8), spec).eval()
        kwargs = {"channels": 8} | kwargs
    klass = "demucs.htdemucs.HTDemucs" if transformer else "demucs.hdemucs.HDemucs"
    header = {"klass": klass, "args": json.dumps([list(NAMES)]), "kwargs": json.dumps(kwargs)}
    save_file(model.state_dict(), str(path), metadata=header)
    return model


@pytest.mark.parametrize("transformer", [False, True])
def test_demucs_in_safetensors_and_through_the_command(
    transformer: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = saved_demucs(tmp_path / "955717e8.safetensors", transformer=transformer)
    assert importers.is_published(tmp_path / "955717e8.safetensors")
    output = tmp_path / "ours.safetensors"
    assert main(["import", str(tmp_path / "955717e8.safetensors"), "-o", str(output)]) == 0
    assert "drums, bass, other, vocals, 44100 Hz, 2 channels" in capfd.readouterr().err
    assert not importers.is_published(output)
    ours = load(output, role="separator")
    assert isinstance(ours, Separator)
    assert ours.config == model.config
    mix = torch.randn(1, 2, 30_000)
    assert torch.equal(ours.estimate(mix), model.estimate(mix))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"cac": False}, "cac=False cannot be imported"), ({"multi_freqs": [0.5]}, "multi_freqs"),
        ({"t_emb": "cape"}, "t_emb=cape"), ({"surprise": 1}, "the setting surprise is not known"),
        ({"channels": 0}, "sizes must be positive"), ({"dconv_mode": 2}, "dconv_mode"),
    ],
)  # fmt: skip
def test_demucs_settings_that_cannot_be_imported(kwargs: dict[str, Any], message: str, tmp_path: Path) -> None:
    saved_demucs(tmp_path / "h.safetensors", transformer=True, **kwargs)
    with pytest.raises(InputError, match=message) as caught:
        import_separator([tmp_path / "h.safetensors"])
    assert str(caught.value).startswith(str(tmp_path / "h.safetensors"))


def test_demucs_weights_that_do_not_fit(tmp_path: Path) -> None:
    saved_demucs(tmp_path / "h.safetensors", transformer=False, depth=5)
    with pytest.raises(CheckpointError, match=r"h\.safetensors: .*do not fit: .* and \d+ more"):
        import_separator([tmp_path / "h.safetensors"])
    saved_demucs(tmp_path / "h.safetensors", transformer=False, channels=16)
    with pytest.raises(CheckpointError, match="do not fit"):
        import_separator([tmp_path / "h.safetensors"])


@pytest.mark.parametrize("samples", [1, 2, 999, 30_000])
@pytest.mark.parametrize("transformer", [False, True])
@pytest.mark.parametrize("padded", [False, True])
def test_demucs_of_any_length(samples: int, transformer: bool, padded: bool) -> None:
    spec = SeparatorSpec(44100, 2, ("a", "b"))
    model: Separator = (
        HTDemucs(HTDemucsConfig(channels=4, layers=1, heads=4, residual_compress=4, segment=0.5, padded=padded), spec)
        if transformer
        else HDemucs(HDemucsConfig(channels=8, zero_padded=padded), spec)
    ).eval()
    mix = torch.randn(2, 2, samples)
    found = model(mix)
    assert found.shape == (2, 2, 2, samples)
    assert torch.isfinite(found).all()
    assert (found.sum(dim=1) - mix).abs().max() < 1e-5


def test_places() -> None:
    """Against the formulas, element by element."""
    found = places_1d(5, 8, 100.0)
    assert found[3, 2] == pytest.approx(np.cos(3 / 100 ** (2 / 3)), abs=1e-6)
    assert found[3, 6] == pytest.approx(np.sin(3 / 100 ** (2 / 3)), abs=1e-6)
    table = places_2d(8, 3, 5, 100.0)
    assert table[2, 1, 4] == pytest.approx(np.sin(4 * 100 ** (-2 / 4)), abs=1e-6)
    assert table[7, 2, 0] == pytest.approx(np.cos(2 * 100 ** (-2 / 4)), abs=1e-6)


@pytest.mark.parametrize(
    "change",
    [{"n_fft": 1000}, {"kernel": 6}, {"channels": 0}, {"segment": 0.0}, {"context": -1}, {"residual_compress": 9}],
)
def test_sizes_that_make_no_sense(change: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        HDemucsConfig(**({"channels": 8} | change))
    with pytest.raises(InputError):
        HTDemucsConfig(**({"channels": 8} | change))


def test_branches_that_do_not_meet() -> None:
    with pytest.raises(InputError, match="different rates"):
        HDemucs(HDemucsConfig(channels=8, kernel=12, stride=6), SeparatorSpec(44100, 2, NAMES))
    with pytest.raises(InputError, match="heads"):
        HTDemucsConfig(channels=8, heads=5)


# --- files that lie


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch /tmp/wavegen-was-here",)


def test_nothing_in_a_file_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    called: list[Any] = []
    monkeypatch.setattr(os, "system", called.append)
    torch.save({"klass": 1, "args": (), "kwargs": {}, "state": _Evil()}, tmp_path / "evil.th")
    with pytest.raises(CheckpointError, match=r"evil\.th: refused"):
        import_separator([tmp_path / "evil.th"])
    (tmp_path / "old.pth").write_bytes(pickle.dumps({"fc1.weight": _Evil()}))
    with pytest.raises(CheckpointError):
        import_separator([tmp_path / "old.pth"])
    assert called == []


@pytest.mark.parametrize("content", ["absent", "empty", "noise", "truncated", "list", "unknown", "nan", "keys"])
def test_files_that_are_no_checkpoint(content: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.pth"
    checkpoint = asteroid_checkpoint()
    if content == "empty":
        path.write_bytes(b"")
    elif content == "noise":
        path.write_bytes(np.random.default_rng(0).bytes(5000))
    elif content == "truncated":
        torch.save(checkpoint, path)
        path.write_bytes(path.read_bytes()[:3000])
    elif content == "list":
        torch.save([1, 2, 3], path)
    elif content == "unknown":
        torch.save({"model": {"weight": torch.zeros(2)}}, path)
    elif content == "nan":
        checkpoint["state_dict"]["masker.mask_net.1.bias"][3] = float("nan")
        torch.save(checkpoint, path)
    elif content == "keys":
        del checkpoint["state_dict"]["masker.TCN.3.shared_block.2.gamma"]
        torch.save(checkpoint, path)
    assert main(["import", str(path), "-o", str(tmp_path / "out.safetensors")]) == 2
    shown = capfd.readouterr().err
    assert shown.startswith(f"error: {path}: ")
    assert shown.count("\n") == 1
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize(
    "options",
    [
        ["-o", "out.pth"],
        ["--mask", "softmax"],
        ["--layers", "0"],
        ["--sample-rate", "-8000"],
        ["-o", "/no/such/x.safetensors"],
    ],
)
def test_import_options_that_make_no_sense(
    options: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    torch.save(asteroid_checkpoint(), tmp_path / "a.bin")
    assert main(["import", str(tmp_path / "a.bin"), "-o", str(tmp_path / "o.safetensors"), *options]) == 2
    assert capfd.readouterr().err.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no checkpoint files in it"):
        import_separator([tmp_path])


def test_separating_with_a_published_file(tmp_path: Path) -> None:
    torch.save(asteroid_checkpoint(), tmp_path / "a.bin")
    model = separation_jobs.load_separator(str(tmp_path / "a.bin"))
    assert not model.training
    audio = Audio(np.random.default_rng(0).normal(0, 0.01, (2, 20000)), 44100)
    io.write(tmp_path / "a.wav", audio)
    assert (
        main(["separate", str(tmp_path / "a.wav"), "-o", str(tmp_path / "out"), "--model", str(tmp_path / "a.bin")])
        == 0
    )
    total = sum(io.read(tmp_path / "out" / "a" / f"speaker{n}.wav").samples for n in (1, 2))
    assert np.array_equal(total, io.read(tmp_path / "a.wav").samples)
