"""Open-Unmix's checkpoints: for each source a file of the weights of its network."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from wavegen.checkpoints.importers.content import Content, Wanted, filled, tensors_of
from wavegen.errors import InputError
from wavegen.separation.base import Separator, SeparatorSpec
from wavegen.separation.deep_lstm import DeepLSTM, DeepLSTMConfig

ORDER = ("vocals", "drums", "bass", "other", "speech", "noise")
RATE = 44100  # Hz
MUSIC_RMS = 0.15  # what the networks were trained on, which unlike ours look at the level; about that of MUSDB18
_OWN = re.compile(r"(input|output)_(mean|scale)|(fc[123]|bn[123]|lstm)\..+")


def matches(values: Mapping[str, Any]) -> bool:
    """Whether these are the weights of one network."""
    return {"input_mean", "output_scale", "fc1.weight", "fc3.weight"} <= set(values)


def convert(contents: Sequence[Content], wanted: Wanted) -> Separator:
    """One separator of all networks; the names of their sources are the files', up to the first "-", "_" or ".".

    Other names that are wanted go to the files in their order; the same ones only say which source comes first.
    InputError for a single one, as a source alone cannot sum to the mix, for one-way LSTMs, and where networks differ.
    """
    networks = {re.split(r"[-_.]", content.path.name)[0]: content for content in contents}
    if wanted.sources is not None and set(wanted.sources) != set(networks):
        if len(wanted.sources) != len(contents):
            raise InputError(
                f"there are {len(contents)} files of a source each; {len(wanted.sources)} names were given"
            )
        if both := sorted(set(wanted.sources) & set(networks)):
            raise InputError(f"a file is called {both[0]}, but not all as the names given; change all names, or none")
        networks = dict(zip(wanted.sources, contents, strict=True))
    if len(networks) < len(contents):
        raise InputError("several files are named after the same source; name the sources")
    if len(networks) < 2:
        raise InputError("one source alone cannot sum to the mix; import the files of all sources together")
    names = tuple(wanted.sources or sorted(networks, key=lambda n: (ORDER.index(n) if n in ORDER else len(ORDER), n)))
    found = {name: tensors_of(networks[name].values) for name in names}
    shapes = {name: _sizes(weights) for name, weights in found.items()}
    config, channels, rate = shapes[names[0]]
    for name, others in shapes.items():
        if others != shapes[names[0]]:
            raise InputError(f"the networks of {names[0]} and {name} differ in size")
    spec = SeparatorSpec(wanted.sample_rate or rate, channels, names)
    weights = {
        f"networks.{name}.{key}": tensor
        for name, tensors in found.items()
        for key, tensor in tensors.items()
        if _OWN.fullmatch(key)
    }
    return filled(DeepLSTM(config, spec), weights)


def _sizes(weights: Mapping[str, Tensor]) -> tuple[DeepLSTMConfig, int, int]:
    """Config, channels and sample rate."""
    bins, seen = len(weights["output_scale"]), len(weights["input_mean"])
    hidden = weights["fc1.weight"].shape[0]
    layers = sum(re.fullmatch(r"lstm\.weight_ih_l\d+", name) is not None for name in weights)
    if "lstm.weight_ih_l0_reverse" not in weights:
        raise InputError("its LSTM runs one way; only those that run both ways can be imported")
    rate = int(weights.get("sample_rate", torch.tensor(RATE)))
    config = DeepLSTMConfig(
        hidden=hidden,
        layers=layers,
        n_fft=2 * (bins - 1),
        hop=(bins - 1) // 2,
        bins=0 if seen == bins else seen,
        joint=True,
        rms=MUSIC_RMS,
        wiener=1,
    )
    return config, weights["fc3.weight"].shape[0] // bins, rate
