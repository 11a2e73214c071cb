"""ConvNeXt block for sequences (Liu et al. 2022, "A ConvNet for the 2020s"; in one dimension as in Siuzdak 2023)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution → layer norm → pointwise expansion → GELU → pointwise projection → scale → residual.

    Shape: (batch, channels, frames) → the same. Every frame sees ``kernel // 2`` neighbours on each side.
    """

    def __init__(self, channels: int, hidden: int, kernel: int = 7, scale: float = 0.1, dropout: float = 0.0) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.expand = nn.Linear(channels, hidden)
        self.project = nn.Linear(hidden, channels)
        self.dropout = nn.Dropout(dropout)
        self.scale = nn.Parameter(torch.full((channels,), scale))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.depthwise(x).transpose(1, 2))
        y = self.scale * self.dropout(self.project(F.gelu(self.expand(y))))
        return x + y.transpose(1, 2)
