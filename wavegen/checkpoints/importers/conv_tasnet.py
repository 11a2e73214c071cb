"""Conv-TasNet's checkpoints: torchaudio's weights, and asteroid's with their settings."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from wavegen.checkpoints.importers.content import Content, Wanted, filled, tensors_of
from wavegen.errors import InputError
from wavegen.separation.base import Separator, SeparatorSpec
from wavegen.separation.conv_tasnet import ConvTasNet, ConvTasNetConfig

RATE = 8000  # Hz, of the corpora that both were published for
USUAL_LAYERS = 8  # in a repeat; torchaudio's weights do not tell
_BLOCK = {"0": "expand", "1": "prelu1", "2": "norm1", "3": "depthwise", "4": "prelu2", "5": "norm2"}
_NORM = {"gamma": "weight", "beta": "bias"}  # asteroid's names
# What asteroid's model_args may say, with the one value that its layout has room for.
_FIXED = {"causal": (False, None), "fb_name": ("free", "FreeFB", None), "norm_type": ("gLN", None)}


def matches(values: Mapping[str, Any]) -> bool:
    """Whether these are torchaudio's weights, or what asteroid saves of a model of this name."""
    return "mask_generator.input_norm.weight" in values or (
        {"model_name", "model_args", "state_dict"} <= set(values) and values["model_name"] == "ConvTasNet"
    )


def convert(contents: Sequence[Content], wanted: Wanted) -> Separator:
    """The separator in one file. InputError for settings that it cannot have, and for several files."""
    if len(contents) > 1:
        raise InputError("a Conv-TasNet is one file")
    values = contents[0].values
    return _asteroid(values, wanted) if "model_args" in values else _torchaudio(values, wanted)


def _torchaudio(values: Mapping[str, Any], wanted: Wanted) -> Separator:
    weights = {}
    for name, tensor in tensors_of(values).items():
        name = name.removeprefix("mask_generator.")
        found = re.fullmatch(r"conv_layers\.(\d+)\.(conv_layers\.(\d)|res_out|skip_out)\.(\w+)", name)
        if found:
            index, part, layer, parameter = found.groups()
            inner = {"res_out": "residual", "skip_out": "skip"}.get(part) or _BLOCK[layer]
            name = f"blocks.{index}.{inner}.{parameter}"
        weights[name] = tensor
    layers = wanted.layers or USUAL_LAYERS
    return _made(weights, wanted, layers, encoder="linear", mask=wanted.mask or "relu", rate=RATE)


def _asteroid(values: Mapping[str, Any], wanted: Wanted) -> Separator:
    settings = values["model_args"]
    if not isinstance(settings, Mapping) or not isinstance(values["state_dict"], Mapping):
        raise InputError("model_args and state_dict must be dictionaries")
    for name, allowed in _FIXED.items():
        if settings.get(name) not in allowed:
            raise InputError(f"{name} {settings[name]!r} cannot be imported, only {allowed[0]!r}")
    if not settings.get("skip_chan", 128):
        raise InputError("a Conv-TasNet without skip connections cannot be imported")
    mask = wanted.mask or settings.get("mask_act", "sigmoid")
    encoder = settings.get("encoder_activation") or "linear"
    weights = {}
    for name, tensor in tensors_of(values["state_dict"]).items():
        found = re.fullmatch(r"masker\.TCN\.(\d+)\.(shared_block\.(\d)|res_conv|skip_conv)\.(\w+)", name)
        if found:
            index, part, layer, parameter = found.groups()
            inner = {"res_conv": "residual", "skip_conv": "skip"}.get(part) or _BLOCK[layer]
            name = f"blocks.{index}.{inner}.{_NORM.get(parameter, parameter)}"
        else:
            name = _plain(name)
        weights[name] = tensor
    last = max(int(name.split(".")[1]) for name in weights if name.startswith("blocks."))
    for parameter in ("weight", "bias"):  # asteroid's last block computes what nothing uses
        weights.pop(f"blocks.{last}.residual.{parameter}", None)
    rate = settings.get("sample_rate") or RATE
    stride = settings.get("stride")
    kernel = weights["encoder.weight"].shape[2]
    if stride not in (None, kernel // 2):
        raise InputError(f"a stride of {stride} for kernels of {kernel} cannot be imported, only half of them")
    layers = int(wanted.layers or settings.get("n_blocks") or USUAL_LAYERS)
    return _made(weights, wanted, layers, encoder=encoder, mask=mask, rate=int(rate), padded=False)


def _plain(name: str) -> str:
    """Our name for what of asteroid's stands outside of the blocks."""
    known = {
        "encoder.filterbank._filters": "encoder.weight",
        "decoder.filterbank._filters": "decoder.weight",
        "masker.bottleneck.0.gamma": "input_norm.weight",
        "masker.bottleneck.0.beta": "input_norm.bias",
        "masker.bottleneck.1.weight": "input_conv.weight",
        "masker.bottleneck.1.bias": "input_conv.bias",
        "masker.mask_net.0.weight": "output_prelu.weight",
        "masker.mask_net.1.weight": "output_conv.weight",
        "masker.mask_net.1.bias": "output_conv.bias",
    }
    return known.get(name, name)


def _made(
    weights: dict[str, Tensor], wanted: Wanted, layers: int, *, encoder: str, mask: str, rate: int, padded: bool = True
) -> Separator:
    filters, _, kernel = weights["encoder.weight"].shape
    hidden, bottleneck = weights["blocks.0.expand.weight"].shape[:2]
    blocks = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("blocks."))
    count = weights["output_conv.weight"].shape[0] // filters
    if layers < 1 or blocks % layers:
        raise InputError(f"{blocks} blocks are no whole number of repeats of {layers} layers; say how many (--layers)")
    config = ConvTasNetConfig(
        filters=filters,
        kernel=kernel,
        bottleneck=bottleneck,
        hidden=hidden,
        skip=weights["blocks.0.skip.weight"].shape[0],
        width=weights["blocks.0.depthwise.weight"].shape[2],
        layers=layers,
        repeats=blocks // layers,
        encoder=encoder,
        norm="global",
        mask=mask,
        padded=padded,
    )
    usual = tuple(f"speaker{number}" for number in range(1, count + 1))
    spec = SeparatorSpec(
        wanted.sample_rate or rate, 1, wanted.names(count, usual), wanted.sources is None and count > 1
    )
    return filled(ConvTasNet(config, spec), weights)
