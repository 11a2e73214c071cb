"""Learns which frames belong to which phoneme, from recordings and their phonemes alone.

Follows "One TTS alignment to rule them all" (Badlani et al. 2022): soft alignment by distances between encoded phonemes
and encoded mel frames, a diagonal prior, trained by the forward-sum loss; the hard alignment is the best monotonic
path.
"""

import math
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from wavegen.audio.features import FeatureSpec
from wavegen.errors import InputError
from wavegen.ops.alignment import monotonic_durations
from wavegen.text.symbols import SYMBOLS


@dataclass(frozen=True)
class AlignerConfig:
    """``channels`` of the encoders, ``keys`` the dimension distances are measured in, ``prior`` its narrowness."""

    symbols: int = len(SYMBOLS)
    channels: int = 128
    keys: int = 64
    temperature: float = 0.005
    prior: float = 1.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not value > 0:
                raise InputError(f"AlignerConfig.{name} must be positive, not {value}")


class Aligner(nn.Module):
    """(tokens, mels) → log-probabilities of the token each frame belongs to."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: AlignerConfig, spec: FeatureSpec) -> None:
        super().__init__()
        self.config, self.spec = config, spec
        c = config.channels
        self.embedding = nn.Embedding(config.symbols, c)
        self.text = nn.ModuleList([nn.Conv1d(c, c, 3, padding=1), nn.Conv1d(c, config.keys, 1)])
        self.mel = nn.ModuleList(
            [nn.Conv1d(spec.bands, c, 5, padding=2), nn.Conv1d(c, c, 3, padding=1), nn.Conv1d(c, config.keys, 1)]
        )
        self.register_buffer("mean", torch.zeros(spec.bands))
        self.register_buffer("std", torch.ones(spec.bands))

    def forward(self, tokens: Tensor, mel: Tensor, token_counts: Tensor, frame_counts: Tensor) -> Tensor:
        """tokens (batch, symbols), mel (batch, bands, frames) → log-probabilities (batch, frames, symbols).

        Padded symbols get -inf; the prior is part of the result.
        """
        keys = self._encode(self.text, self.embedding(tokens).transpose(1, 2))
        queries = self._encode(self.mel, (mel - self.mean[:, None]) / self.std[:, None])
        distance = torch.cdist(queries.float().transpose(1, 2), keys.float().transpose(1, 2)).square()
        scores = -self.config.temperature * distance
        padded = torch.arange(tokens.shape[1], device=mel.device)[None] >= token_counts[:, None]
        scores = torch.log_softmax(scores.masked_fill(padded[:, None], -torch.inf), dim=-1)
        prior = torch.zeros_like(scores)
        for i, (n, t) in enumerate(zip(token_counts.tolist(), frame_counts.tolist(), strict=True)):
            prior[i, :t, :n] = diagonal_prior(n, t, self.config.prior, mel.device).to(scores)
        return torch.log_softmax((scores + prior).masked_fill(padded[:, None], -torch.inf), dim=-1)

    @staticmethod
    def _encode(layers: nn.ModuleList, x: Tensor) -> Tensor:
        for layer in layers[:-1]:
            x = F.relu(layer(x))
        encoded: Tensor = layers[-1](x)
        return encoded

    @torch.inference_mode()
    def durations(self, tokens: Tensor, mel: Tensor) -> NDArray[np.int64]:
        """Frames of each token of one utterance: tokens (symbols,), mel (bands, frames) → (symbols,)."""
        counts = torch.tensor([[tokens.shape[0]], [mel.shape[-1]]], device=mel.device)
        log_probabilities = self(tokens[None], mel[None], *counts)[0]
        return monotonic_durations(log_probabilities.T.float().cpu().numpy())


def diagonal_prior(symbols: int, frames: int, width: float = 1.0, device: torch.device | None = None) -> Tensor:
    """Log of the beta-binomial prior (Badlani et al. 2022, eq. 10): (frames, symbols), each row a distribution."""
    t = torch.arange(1, frames + 1, dtype=torch.float64, device=device)[:, None]
    k = torch.arange(symbols, dtype=torch.float64, device=device)[None]
    n = float(symbols - 1)
    a, b = width * t, width * (frames + 1 - t)
    choose = math.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)
    log_beta = torch.lgamma(k + a) + torch.lgamma(n - k + b) - torch.lgamma(n + a + b)
    return (choose + log_beta - torch.lgamma(a) - torch.lgamma(b) + torch.lgamma(a + b)).float()


def forward_sum_loss(log_probabilities: Tensor, token_counts: Tensor, frame_counts: Tensor) -> Tensor:
    """Negative log-probability of all monotonic paths together, per frame: the CTC loss of 1, 2, …, symbols.

    A blank of log-probability -1 takes part, as in the paper's reference. (batch, frames, symbols) → scalar.
    """
    with_blank = F.pad(log_probabilities, (1, 0), value=-1.0)
    with_blank = torch.log_softmax(with_blank.clamp(min=-1e4), dim=-1)
    targets = torch.arange(1, log_probabilities.shape[-1] + 1, device=log_probabilities.device)
    loss = F.ctc_loss(
        with_blank.transpose(0, 1),
        targets.expand(len(token_counts), -1),
        frame_counts,
        token_counts,
        reduction="none",
        zero_infinity=True,
    )
    return (loss / frame_counts).mean()
