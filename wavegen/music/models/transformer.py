"""A causal Transformer over tokens of scores (Vaswani et al. 2017; for music Huang et al. 2018).

Places are relative, as in Music Transformer, but by rotation of queries and keys (Su et al. 2021, RoPE): that needs no
table of distances and no matrix beside the scores, so fused attention serves, and a rotated key never changes, so that
it can be kept. Layers normalise before they act (Xiong et al. 2020).
"""

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wavegen.errors import InputError
from wavegen.music.models.base import NeuralScoreModel, State, TokenEmbedding

BASE = 10000.0

Kept = tuple[Tensor, Tensor]  # a layer's rotated keys and its values, (1, heads, length, channels of a head)


@dataclass(frozen=True)
class TransformerScoreConfig:
    """``channels`` everywhere, ``hidden`` in the feed-forward layers; attention reaches ``context`` tokens, its own
    included."""

    vocabulary: str = "tune"
    channels: int = 256
    hidden: int = 1024
    layers: int = 6
    heads: int = 8
    context: int = 1024
    dropout: float = 0.1

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if name not in ("vocabulary", "dropout") and value < 1:
                raise InputError(f"TransformerScoreConfig.{name} must be positive, not {value}")
        if self.channels % (2 * self.heads):
            raise InputError(
                f"TransformerScoreConfig: channels {self.channels} is not a multiple of twice the heads {self.heads}"
            )
        if not 0 <= self.dropout < 1:
            raise InputError(f"TransformerScoreConfig.dropout must lie in [0, 1), not {self.dropout}")


class CausalBlock(nn.Module):
    """Causal self-attention and a feed-forward layer, each with a residual. (batch, n, channels) → the same."""

    def __init__(self, config: TransformerScoreConfig) -> None:
        super().__init__()
        c = config
        self.heads, self.context, self.rate = c.heads, c.context, c.dropout
        self.attention_norm = nn.LayerNorm(c.channels)
        self.input = nn.Linear(c.channels, 3 * c.channels, bias=False)
        self.output = nn.Linear(c.channels, c.channels, bias=False)
        self.norm = nn.LayerNorm(c.channels)
        self.expand = nn.Linear(c.channels, c.hidden)
        self.reduce = nn.Linear(c.hidden, c.channels)
        self.dropout = nn.Dropout(c.dropout)
        for last in (self.output, self.reduce):
            nn.init.normal_(last.weight, std=0.02 * (2 * c.layers) ** -0.5)

    def forward(self, x: Tensor, rotation: Tensor, kept: Kept | None = None) -> tuple[Tensor, Kept]:
        """``rotation``: cosines and sines (2, n, channels of a head / 2) of these places; ``kept`` of those before."""
        batch, n, channels = x.shape
        qkv = self.input(self.attention_norm(x)).view(batch, n, 3, self.heads, channels // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        q, k = rotated(q, rotation), rotated(k, rotation)
        if kept is not None:
            k = torch.cat([kept[0], k], dim=2)[:, :, -self.context :]
            v = torch.cat([kept[1], v], dim=2)[:, :, -self.context :]
        y = attend(q, k, v, self.context, self.rate if self.training else 0.0)
        x = x + self.dropout(self.output(y.transpose(1, 2).reshape(batch, n, channels)))
        x = x + self.dropout(self.reduce(F.gelu(self.expand(self.norm(x)))))
        return x, (k, v)


def attend(q: Tensor, k: Tensor, v: Tensor, context: int, dropout: float) -> Tensor:
    """Causal attention over the last ``context`` places: all (batch, heads, n, channels), or q of the last place alone.

    Longer sequences are taken in parts of ``context`` queries, so that memory grows with n alone.
    """
    n = q.shape[2]
    if n == 1 or n <= context:
        return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=n > 1)
    parts = []
    for start in range(0, n, context):
        end, first = min(start + context, n), max(0, start - context + 1)
        place, other = torch.arange(start, end, device=q.device), torch.arange(first, end, device=q.device)
        distance = place[:, None] - other[None]
        mask = (distance >= 0) & (distance < context)
        piece = q[:, :, start:end], k[:, :, first:end], v[:, :, first:end]
        parts.append(F.scaled_dot_product_attention(*piece, attn_mask=mask, dropout_p=dropout))
    return torch.cat(parts, dim=2)


def rotated(x: Tensor, rotation: Tensor) -> Tensor:
    """Su et al. 2021, eq. 34, but halves are paired: x (..., n, channels), rotation (2, n, channels / 2)."""
    cosine, sine = rotation.to(x.dtype)
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cosine - b * sine, a * sine + b * cosine], dim=-1)


class TransformerScore(NeuralScoreModel):
    """The causal Transformer. Its state holds every layer's keys and values, the last ``context`` of them."""

    speeds: Tensor

    def __init__(self, config: TransformerScoreConfig) -> None:
        super().__init__(config)
        c = config
        self.embedding = TokenEmbedding(self.vocabulary, c.channels)
        self.blocks = nn.ModuleList(CausalBlock(c) for _ in range(c.layers))
        self.dropout = nn.Dropout(c.dropout)
        self.norm = nn.LayerNorm(c.channels)
        self.output = nn.Linear(c.channels, self.vocabulary.size)
        pairs = c.channels // c.heads // 2
        self.register_buffer("speeds", BASE ** -(torch.arange(pairs) / pairs), persistent=False)

    def rotation(self, first: int, n: int) -> Tensor:
        """Cosines and sines (2, n, pairs) of n places."""
        # In double, so that far places keep their precision.
        angle = torch.arange(first, first + n, device=self.speeds.device).double()[:, None] * self.speeds.double()
        return torch.stack([angle.cos(), angle.sin()]).float()

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.dropout(self.embedding(tokens))
        rotation = self.rotation(0, tokens.shape[1])
        for block in self.blocks:
            x, _ = block(x, rotation)
        return self.normalised(self.output(self.norm(x)), tokens)

    def start(self) -> State:
        return self.embedding.start(), 0, None

    def step(self, state: State, token: int) -> tuple[Tensor, State]:
        where, place, kept = state
        x, where = self.embedding.step(where, token)
        x = self.dropout(x)
        rotation = self.rotation(place, 1)
        found = []
        for i, block in enumerate(self.blocks):
            x, now = block(x, rotation, None if kept is None else kept[i])
            found.append(now)
        log_probs = self.normalised(self.output(self.norm(x)), torch.tensor([[token]], device=x.device))
        return log_probs[0, 0], (where, place + 1, tuple(found))
