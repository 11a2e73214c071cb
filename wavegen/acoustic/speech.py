"""Phonemes → mel, all frames at once: a feed-forward Transformer with explicit durations, pitch and energy.

Follows FastPitch (Łańcucki 2021) and FastSpeech 2 (Ren et al. 2021); durations come from
:mod:`wavegen.acoustic.aligner`.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wavegen.acoustic.tokens import token_ids
from wavegen.audio.features import FeatureSpec, MelSpectrogram
from wavegen.errors import InputError
from wavegen.nn.transformer import Transformer
from wavegen.text.symbols import SYMBOLS

SEMITONE = 0.057762265  # ln(2) / 12
LONGEST_TOKEN = 200  # frames; no phoneme or silence of a sentence is longer


@dataclass(frozen=True)
class SpeechTransformerConfig:
    """``channels`` everywhere, ``hidden`` in each block's expansion; layers of encoder and decoder; attention heads."""

    symbols: int = len(SYMBOLS)
    channels: int = 192
    hidden: int = 768
    encoder_layers: int = 4
    decoder_layers: int = 6
    heads: int = 2
    kernel: int = 7
    predictor_channels: int = 192
    dropout: float = 0.1

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if name != "dropout" and value < 1:
                raise InputError(f"SpeechTransformerConfig.{name} must be positive, not {value}")
        if not 0 <= self.dropout < 1:
            raise InputError(f"SpeechTransformerConfig.dropout must lie in [0, 1), not {self.dropout}")
        if self.channels % self.heads:
            raise InputError(
                f"SpeechTransformerConfig: channels {self.channels} is not a multiple of heads {self.heads}"
            )
        if self.kernel % 2 == 0:
            raise InputError(f"SpeechTransformerConfig.kernel must be odd, not {self.kernel}")


@dataclass(frozen=True)
class SpeechOutput:
    """What one pass gives: mel (batch, bands, frames); per token (batch, symbols) log-duration, pitch and energy."""

    mel: Tensor
    log_duration: Tensor
    pitch: Tensor
    energy: Tensor


class Predictor(nn.Module):
    """One number for every token: two convolutions with layer norm. (batch, channels, n), mask → (batch, n)."""

    def __init__(self, channels: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            [nn.Conv1d(channels, hidden, 3, padding=1), nn.Conv1d(hidden, hidden, 3, padding=1)]
        )
        self.norms = nn.ModuleList([nn.LayerNorm(hidden), nn.LayerNorm(hidden)])
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden, 1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        keep = mask[:, None].to(x.dtype)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = F.relu(convolution(x * keep)).transpose(1, 2)
            x = self.dropout(norm(x)).transpose(1, 2)
        y: Tensor = self.output(x.transpose(1, 2))[..., 0].float()
        return y * mask


class SpeechTransformer(nn.Module):
    """The speech acoustic model.

    Pitch is the mean log-F0 of a token's voiced frames, normalised over the training material (0 for unvoiced tokens);
    energy is the mean log-mel of its frames, normalised likewise. The statistics are buffers of the model.
    """

    mel_mean: Tensor
    mel_std: Tensor
    pitch_mean: Tensor
    pitch_std: Tensor
    energy_mean: Tensor
    energy_std: Tensor
    residual: Tensor

    def __init__(self, config: SpeechTransformerConfig, spec: FeatureSpec) -> None:
        super().__init__()
        self.config, self.spec = config, spec
        c = config
        self.embedding = nn.Embedding(c.symbols, c.channels)
        nn.init.normal_(self.embedding.weight, std=c.channels**-0.5)
        self.encoder = Transformer(c.channels, c.hidden, c.encoder_layers, c.heads, c.kernel, c.dropout)
        self.duration_predictor = Predictor(c.channels, c.predictor_channels, 0.3)
        self.pitch_predictor = Predictor(c.channels, c.predictor_channels, 0.3)
        self.energy_predictor = Predictor(c.channels, c.predictor_channels, 0.3)
        self.pitch_embedding = nn.Conv1d(1, c.channels, 3, padding=1)
        self.energy_embedding = nn.Conv1d(1, c.channels, 3, padding=1)
        self.position = nn.Linear(3, c.channels)
        self.decoder = Transformer(c.channels, c.hidden, c.decoder_layers, c.heads, c.kernel, c.dropout)
        self.output = nn.Linear(c.channels, spec.bands)
        self.register_buffer("mel_mean", torch.zeros(spec.bands))
        self.register_buffer("mel_std", torch.ones(spec.bands))
        for name in ("pitch", "energy"):
            self.register_buffer(f"{name}_mean", torch.zeros(()))
            self.register_buffer(f"{name}_std", torch.ones(()))
        # Root mean square of what the predictors miss: (log-duration, pitch).
        self.register_buffer("residual", torch.zeros(2))

    def forward(
        self, tokens: Tensor, token_counts: Tensor, durations: Tensor, pitch: Tensor, energy: Tensor
    ) -> SpeechOutput:
        """Teacher-forced: all (batch, symbols), durations in frames (0 where padded), pitch and energy normalised."""
        mask = _mask(token_counts, tokens.shape[1])
        encoded = self._encode(tokens, mask)
        log_duration, pitch_guess, energy_guess = self._predict(encoded, mask)
        mel = self._decode(encoded, mask, durations, pitch, energy)
        return SpeechOutput(mel, log_duration, pitch_guess, energy_guess)

    def _encode(self, tokens: Tensor, mask: Tensor) -> Tensor:
        encoded: Tensor = self.encoder(self.embedding(tokens).transpose(1, 2), mask)
        return encoded

    def _predict(self, encoded: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        # The predictors learn from few tokens and would overfit the encoder, so they do not train it.
        x = encoded.detach()
        return (
            self.duration_predictor(x, mask),
            self.pitch_predictor(x, mask),
            self.energy_predictor(x, mask),
        )

    def _decode(self, encoded: Tensor, mask: Tensor, durations: Tensor, pitch: Tensor, energy: Tensor) -> Tensor:
        x = encoded + self.pitch_embedding(pitch[:, None]) + self.energy_embedding(energy[:, None])
        x = (x * mask[:, None]).transpose(1, 2)
        frames, frame_mask, place = expand(x, durations)
        decoded = self.decoder((frames + self.position(place)).transpose(1, 2), frame_mask)
        mel: Tensor = self.output(decoded.transpose(1, 2)).transpose(1, 2).float()
        return mel * self.mel_std[:, None] + self.mel_mean[:, None]

    @property
    def pitch_range(self) -> tuple[float, float]:
        """Semitones by which pitch can be shifted and is followed: -1 to 2.5 standard deviations of the speaker's own.

        Measured: further down, voiced sounds lose their voice; further up, the shift falls short.
        """
        deviation = float(self.pitch_std) / SEMITONE
        return -deviation, 2.5 * deviation

    @torch.inference_mode()
    def synthesize(
        self,
        phonemes: Sequence[str],
        *,
        speed: float = 1.0,
        pitch_shift: float = 0.0,
        energy: float = 1.0,
        variation: float = 0.3,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Mel (1, bands, frames) of one utterance, given as symbols of :mod:`wavegen.text.symbols`.

        ``speed`` divides durations (0.1–10); ``pitch_shift`` is in semitones (±12), followed within
        :attr:`pitch_range`; ``energy`` is a factor on amplitude (0.25–4). ``variation`` (0–1) is the share of the
        speaker's unpredictable variation in duration and pitch that is drawn from ``generator``; without a generator
        nothing is random. InputError for values out of range.
        """
        for name, value, low, high in (
            ("speed", speed, 0.1, 10.0),
            ("pitch_shift", pitch_shift, -12.0, 12.0),
            ("energy", energy, 0.25, 4.0),
            ("variation", variation, 0.0, 1.0),
        ):
            if not low <= value <= high:
                raise InputError(f"{name} must lie between {low:g} and {high:g}, not {value:g}")
        device = self.output.weight.device
        tokens = torch.tensor([token_ids(phonemes)], device=device)
        mask = torch.ones_like(tokens, dtype=torch.bool)
        encoded = self._encode(tokens, mask)
        log_duration, pitch, loudness = self._predict(encoded, mask)
        if generator is not None:
            noise = torch.randn(2, tokens.shape[1], generator=generator).to(device)
            log_duration = log_duration + variation * self.residual[0] * noise[0]
            # Pitch varies over words rather than phonemes.
            smooth = F.avg_pool1d(noise[1][None, None], 9, 1, 4, count_include_pad=False)[0] * 3.0
            pitch = pitch + variation * self.residual[1] * smooth
        durations = (torch.exp(log_duration) / speed).round().clamp(1, LONGEST_TOKEN).long()
        pitch = pitch + pitch_shift * SEMITONE / self.pitch_std
        mel = self._decode(encoded, mask, durations, pitch, loudness)
        # On the mel itself, so that the factor is exact: a condition is followed only as far as the speaker went.
        if energy == 1.0:
            return mel
        scale = MelSpectrogram(self.spec).to(device)
        return scale.compress(scale.expand(mel) * energy)


def expand(x: Tensor, durations: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Repeat each token for its frames: x (batch, symbols, channels), durations (batch, symbols).

    Gives frames (batch, frames, channels), their mask (batch, frames), and each frame's place in its token
    (batch, frames, 3): the share passed, the share to come, and the logarithm of the token's duration.
    """
    counts = durations.sum(dim=1)
    longest = int(counts.max())
    ends = durations.cumsum(dim=1)
    position = torch.arange(longest, device=x.device)
    index = torch.searchsorted(ends, position.expand(len(x), -1).contiguous(), right=True)
    index = index.clamp(max=x.shape[1] - 1)
    mask = position[None] < counts[:, None]
    frames = torch.gather(x, 1, index[..., None].expand(-1, -1, x.shape[-1]))
    length = torch.gather(durations, 1, index).clamp(min=1).float()
    start = torch.gather(ends - durations, 1, index).float()
    passed = (position[None] - start + 0.5) / length
    place = torch.stack([passed, 1 - passed, torch.log(length) / 3], dim=-1)
    return frames * mask[..., None], mask, place * mask[..., None]


def _mask(counts: Tensor, length: int) -> Tensor:
    return torch.arange(length, device=counts.device)[None] < counts[:, None]
