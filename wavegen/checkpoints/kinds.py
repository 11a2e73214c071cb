"""Every kind of model a checkpoint can hold: its role, and where its config and Module live."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Kind:
    """``role`` says what may take its place: "speech" (phonemes → mel), "vocoder" (mel → waveform), "aligner", "score",
    "separator" (mix → sources).

    A score model knows no audio: it has no FeatureSpec, neither here nor in its file. A separator has a SeparatorSpec.
    """

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
        Kind("spectral-vocoder", "vocoder", "wavegen.vocoders.spectral", "SpectralVocoder"),
        Kind("wavenet", "vocoder", "wavegen.vocoders.wavenet", "WaveNet"),
        Kind("speech-transformer", "speech", "wavegen.acoustic.speech", "SpeechTransformer"),
        Kind("aligner", "aligner", "wavegen.acoustic.aligner", "Aligner"),
        Kind("music-lstm", "score", "wavegen.music.models.recurrent", "LSTMScore"),
        Kind("music-gru", "score", "wavegen.music.models.recurrent", "GRUScore"),
        Kind("music-transformer", "score", "wavegen.music.models.transformer", "TransformerScore"),
        Kind("music-ngram", "score", "wavegen.music.models.ngram", "NGram"),
        Kind("music-hmm", "score", "wavegen.music.models.hmm", "HMM"),
        Kind("music-gmm", "score", "wavegen.music.models.gmm", "GMM"),
        Kind("music-vae", "score", "wavegen.music.models.vae", "ScoreVAE"),
        Kind("music-gan", "score", "wavegen.music.models.gan", "BarGAN"),
        Kind("score-transformer", "score-mel", "wavegen.acoustic.score", "ScoreTransformer"),
        Kind("mel-vae", "mel-vae", "wavegen.acoustic.mel_vae", "MelVAE"),
        Kind("mel-lstm", "mel-lstm", "wavegen.acoustic.mel_lstm", "MelLSTM"),
        Kind("band-split-lstm", "separator", "wavegen.separation.band_split", "BandSplitLSTM"),
        Kind("conv-tasnet", "separator", "wavegen.separation.conv_tasnet", "ConvTasNet"),
        Kind("deep-lstm", "separator", "wavegen.separation.deep_lstm", "DeepLSTM"),
        Kind("chimera", "separator", "wavegen.separation.chimera", "Chimera"),
        Kind("lstm-vae-separator", "separator", "wavegen.separation.lstm_vae", "LSTMVAE"),
        Kind("hdemucs", "separator", "wavegen.separation.hdemucs", "HDemucs"),
        Kind("htdemucs", "separator", "wavegen.separation.htdemucs", "HTDemucs"),
        Kind("tcn-vae-separator", "separator", "wavegen.separation.tcn_vae", "TCNVAE"),
    )
}


def kind_of(model: object) -> Kind:
    """The kind of a Module."""
    for kind in KINDS.values():
        if type(model).__name__ == kind.model and type(model).__module__ == kind.module:
            return kind
    raise TypeError(f"{type(model).__name__} is not a kind of model that checkpoints know")
