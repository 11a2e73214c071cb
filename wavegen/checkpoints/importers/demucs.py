"""The checkpoints of HDemucs and HTDemucs: pickles or safetensors with the settings, and torchaudio's weights alone."""

import json
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from torch import Tensor

from wavegen.checkpoints.importers.content import Content, Wanted, filled, settings, tensors_of
from wavegen.errors import CheckpointError, InputError
from wavegen.separation.base import Separator, SeparatorSpec
from wavegen.separation.hdemucs import HDemucs, HDemucsConfig
from wavegen.separation.htdemucs import HTDemucs, HTDemucsConfig

RATE = 44100  # Hz
USUAL = ("drums", "bass", "other", "vocals")


class _HDemucsName:
    """Stands, in a pickle, for the class of that name, which is not there and not needed."""


class _HTDemucsName(_HDemucsName):
    """The same."""


# What a pickle may hold beside tensors and plain values.
PLACEHOLDERS: list[Any] = [
    (_HDemucsName, "demucs.hdemucs.HDemucs"),
    (_HTDemucsName, "demucs.htdemucs.HTDemucs"),
    (Fraction, "fractions.Fraction"),
]

# Published settings → ours, where the weights do not tell, and the values of the others that there is room for.
_COMMON = {
    "channels": "channels", "growth": "growth", "nfft": "n_fft", "depth": "depth", "freq_emb": "embedding",
    "emb_scale": "embedding_scale", "kernel_size": "kernel", "time_stride": "time_stride", "stride": "stride",
    "context": "context", "context_enc": "context_enc", "norm_starts": "norm_starts", "norm_groups": "norm_groups",
    "dconv_depth": "residual_depth", "dconv_comp": "residual_compress", "segment": "segment",
}  # fmt: skip
_HYBRID = {"dconv_attn": "attention_starts", "dconv_lstm": "lstm_starts", "hybrid_old": "zero_padded"}
_TRANSFORMER = {
    "bottom_channels": "bottom_channels", "t_layers": "layers", "t_hidden_scale": "hidden_scale", "t_heads": "heads",
    "t_max_period": "max_period", "t_weight_pos_embed": "position_weight", "t_cross_first": "cross_first",
    "use_train_segment": "padded",
}  # fmt: skip
_ONLY: dict[str, tuple[Any, ...]] = {
    "cac": (True,), "rewrite": (True,), "hybrid": (True,), "multi_freqs": (None, [], ()), "channels_time": (None,),
    "dconv_mode": (1, 3), "t_emb": ("sin",), "t_norm_in": (True,), "t_norm_in_group": (False, 0),
    "t_group_norm": (False, 0), "t_norm_first": (True,), "t_norm_out": (True, 1), "t_layer_scale": (True,),
    "t_gelu": (True,), "t_sin_random_shift": (0,), "t_sparse_self_attn": (False,), "t_sparse_cross_attn": (False,),
}  # fmt: skip
# Those that only training, or what is switched off, looks at.
_IDLE = re.compile(
    r"sources|audio_channels|samplerate|wiener_\w+|end_iters|multi_freqs_depth|emb_smooth|dconv_init|rescale|t_dropout|"
    r"t_max_positions|t_weight_decay|t_lr|t_cape_\w+|t_mask_\w+|t_sparse_attn_window|t_global_window|t_sparsity|"
    r"t_auto_sparsity"
)
_TORCHAUDIO = {
    "freq_encoder": "encoder",
    "freq_decoder": "decoder",
    "time_encoder": "tencoder",
    "time_decoder": "tdecoder",
}


def matches(values: Mapping[str, Any]) -> bool:
    """Whether these are weights with the class and arguments that made them, or torchaudio's weights."""
    return {"klass", "args", "kwargs", "state"} <= set(values) or "freq_encoder.0.conv.weight" in values


def convert(contents: Sequence[Content], wanted: Wanted) -> Separator:
    """The separator in one file. InputError for several, and for settings that it cannot have."""
    if len(contents) > 1:
        raise InputError("an HDemucs or HTDemucs is one file; bags of several models cannot be imported as one")
    values = contents[0].values
    if "klass" not in values:
        return _torchaudio(values, wanted)
    if values["klass"] not in (_HDemucsName, _HTDemucsName):
        raise InputError("holds another model than HDemucs or HTDemucs")
    transformer = values["klass"] is _HTDemucsName
    if values["state"].get("__quantized"):
        raise InputError("quantised weights cannot be imported")
    given = dict(values["kwargs"])
    arguments = list(values["args"])
    if len(arguments) > 1:
        raise InputError("settings without names cannot be imported")
    names = tuple(str(name) for name in (arguments[0] if arguments else given["sources"]))
    known = _COMMON | (_TRANSFORMER if transformer else _HYBRID)
    chosen = {}
    for name, value in given.items():
        if name in known:
            chosen[known[name]] = value
        elif name in _ONLY:
            if value not in _ONLY[name]:
                raise InputError(f"{name}={value} cannot be imported, only {_ONLY[name][0]}")
        elif not _IDLE.fullmatch(name):
            raise InputError(f"the setting {name} is not known")
    chosen["residual_decoder"] = given.get("dconv_mode", 1) == 3
    if transformer:
        chosen.setdefault("segment", 10)  # what is usual there, and not ours
    rate, channels = int(given.get("samplerate", RATE)), int(given.get("audio_channels", 2))
    spec = SeparatorSpec(wanted.sample_rate or rate, channels, wanted.names(len(names), names))
    weights = tensors_of(values["state"])
    if transformer:
        return filled(HTDemucs(settings(HTDemucsConfig, chosen), spec), weights)
    return filled(HDemucs(settings(HDemucsConfig, chosen), spec), weights)


def _torchaudio(values: Mapping[str, Any], wanted: Wanted) -> Separator:
    """Settings from the shapes of weights; what these do not tell is what torchaudio has for it."""
    weights = {}
    for name, tensor in tensors_of(values).items():
        branch, _, rest = name.partition(".")
        weights[f"{_TORCHAUDIO.get(branch, branch)}.{rest}"] = tensor
    for name in [n for n in weights if re.fullmatch(r"tencoder\.\d+\.norm1\.\w+", n)]:
        if f"{name.rpartition('.norm1')[0]}.rewrite.weight" not in weights:
            del weights[name]  # of a layer that is its convolution alone, where nothing uses it
    first = weights["encoder.0.conv.weight"]
    depth = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("encoder."))
    stride = first.shape[2] // 2
    channels = weights["tencoder.0.conv.weight"].shape[1]
    branches = len({name.split(".")[1] for name in weights if name.startswith("tdecoder.")})
    count = weights[f"tdecoder.{branches - 1}.conv_tr.weight"].shape[1] // channels

    def starts(part: str) -> int:
        """The first layer that has a part."""
        return next((i for i in range(depth) if f"encoder.{i}.{part}" in weights), depth)

    config = settings(
        HDemucsConfig,
        {
            "channels": first.shape[0],
            "growth": weights["encoder.1.conv.weight"].shape[0] // first.shape[0],
            "depth": depth,
            "n_fft": 2 * stride * weights["freq_emb.embedding.weight"].shape[0],
            "kernel": first.shape[2],
            "stride": stride,
            "context": _half_width(weights["decoder.0.rewrite.weight"]),
            "context_enc": _half_width(weights["encoder.0.rewrite.weight"]),
            "norm_starts": starts("norm1.weight"),
            "residual_depth": len({n.split(".")[4] for n in weights if n.startswith("encoder.0.dconv.layers.")}),
            "residual_compress": first.shape[0] // weights["encoder.0.dconv.layers.0.0.weight"].shape[0],
            "lstm_starts": starts("dconv.layers.0.3.lstm.weight_ih_l0"),
            "attention_starts": min(starts(f"dconv.layers.0.{i}.content.weight") for i in (3, 4)),
        },
    )
    spec = SeparatorSpec(wanted.sample_rate or RATE, channels, wanted.names(count, USUAL))
    return filled(HDemucs(config, spec), weights)


def _half_width(weight: Tensor) -> int:
    return int(weight.shape[-1]) // 2


def is_safetensors(path: Path) -> bool:
    """Whether a safetensors file is one of these, by its header."""
    return "klass" in _metadata(path)


def read_safetensors(path: Path) -> Mapping[str, Any]:
    """The same dictionary as a pickle's: class, arguments, settings and weights."""
    from safetensors.torch import load_file

    metadata = _metadata(path)
    try:
        klass = {name: placeholder for placeholder, name in PLACEHOLDERS[:2]}.get(metadata["klass"])
        if "structure" in metadata:
            raise InputError(f"{path}: quantised weights cannot be imported")
        args, kwargs = (_plain(json.loads(metadata[key])) for key in ("args", "kwargs"))
    except (KeyError, ValueError, ZeroDivisionError, TypeError):
        raise CheckpointError(f"{path}: its header names no model that can be imported") from None
    return {"klass": klass, "args": args, "kwargs": kwargs, "state": load_file(str(path))}


def _metadata(path: Path) -> dict[str, str]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError, ValueError):
        return {}


def _plain(value: Any) -> Any:
    """JSON with its fractions."""
    if isinstance(value, dict):
        if value.get("_type") == "fraction":
            return Fraction(value["numerator"], value["denominator"])
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value
