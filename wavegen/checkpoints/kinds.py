"""Every kind of model a checkpoint can hold: its role, and where its config and Module live."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Kind:
    """``role`` says what may take its place: "speech" (phonemes → mel), "vocoder" (mel → waveform), "aligner"."""

    name: str
    role: str
    module: str
    model: str

    def classes(self) -> tuple[type[Any], type[Any]]:
        """(config dataclass, Module class), imported when needed."""
        module = import_module(self.module)
        return getattr(module, self.model + "Config"), getattr(module, self.model)


KINDS = {
    kind.name: kind
    for kind in (
        Kind("istft-vocoder", "vocoder", "wavegen.vocoders.istft", "ISTFTVocoder"),
        Kind("wavenet", "vocoder", "wavegen.vocoders.wavenet", "WaveNet"),
        Kind("speech-transformer", "speech", "wavegen.acoustic.speech", "SpeechTransformer"),
        Kind("aligner", "aligner", "wavegen.acoustic.aligner", "Aligner"),
    )
}


def kind_of(model: object) -> Kind:
    """The kind of a Module."""
    for kind in KINDS.values():
        if type(model).__name__ == kind.model and type(model).__module__ == kind.module:
            return kind
    raise TypeError(f"{type(model).__name__} is not a kind of model that checkpoints know")
