"""A Transformer encoder for sequences of any length.

Self-attention with linear biases (Press, Smith & Lewis 2022, ALiBi; symmetric, so that it extends beyond the lengths
seen in training) and a ConvNeXt block in place of the feed-forward layer, which gives every position its neighbours.
"""

import torch
from torch import Tensor, nn

from wavegen.nn.convnext import ConvNeXtBlock


class SelfAttention(nn.Module):
    """Pre-norm multi-head self-attention with a residual. (batch, length, channels) → the same."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(channels)
        self.input = nn.Linear(channels, 3 * channels)
        self.output = nn.Linear(channels, channels)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        batch, length, channels = x.shape
        qkv = self.input(self.norm(x)).view(batch, length, 3, self.heads, channels // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        # Three times as fast as scaled_dot_product_attention with a mask in bf16 on a CPU, forward and backward.
        scores = torch.matmul(q * q.shape[-1] ** -0.5, k.transpose(-1, -2)) + bias.to(q.dtype)
        y = torch.matmul(torch.softmax(scores, dim=-1), v)
        joined: Tensor = self.output(y.transpose(1, 2).reshape(batch, length, channels))
        return x + joined


class Transformer(nn.Module):
    """Blocks of self-attention and convolution: (batch, channels, length), mask (batch, length) → as the input.

    Where the mask is False the output is zero, and no other position depends on what stood there.
    """

    slopes: Tensor

    def __init__(self, channels: int, hidden: int, layers: int, heads: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.attention = nn.ModuleList(SelfAttention(channels, heads) for _ in range(layers))
        self.convolution = nn.ModuleList(
            ConvNeXtBlock(channels, hidden, kernel, scale=1.0 / layers, dropout=dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(channels)
        # From a head that sees its neighbours, a nat lost every two positions, to one that sees far: one every 64.
        slopes = 2.0 ** -torch.linspace(1.0, 6.0, heads)
        self.register_buffer("slopes", slopes, persistent=False)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        position = torch.arange(x.shape[-1], device=x.device)
        distance = (position[:, None] - position[None]).abs()
        bias = -self.slopes[None, :, None, None] * distance
        bias = bias.masked_fill(~mask[:, None, None, :], -1e9)
        keep = mask[:, None].to(x.dtype)
        for attention, convolution in zip(self.attention, self.convolution, strict=True):
            x = attention(x.transpose(1, 2), bias).transpose(1, 2)
            x = convolution(x * keep)
        y: Tensor = self.norm(x.transpose(1, 2)).transpose(1, 2)
        return y * keep
