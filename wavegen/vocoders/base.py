"""The contract every vocoder keeps."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from wavegen.audio.features import FeatureSpec
from wavegen.errors import InputError

if TYPE_CHECKING:
    from wavegen.vocoders.wavenet import Sampling


class Vocoder(nn.Module):
    """A module that turns a mel (batch, bands, frames) into a waveform (batch, frames × hop).

    A subclass sets ``spec`` and ``context``: the number of neighbouring frames on each side that the samples of a frame
    depend on. From these, :meth:`stream` follows for any vocoder without state. ``refine`` is how many iterations of
    refinement suit mels of recordings, ``sampling`` how samples are drawn, by a vocoder that draws them.
    """

    spec: FeatureSpec
    context: int
    refine: int = 8
    sampling: "Sampling | None" = None

    def forward(self, mel: Tensor) -> Tensor:
        raise NotImplementedError

    @property
    def settings(self) -> tuple[str, ...]:
        """What was chosen beside the weights and is not as usual, in words: ("temperature 0.8",)."""
        return ()

    def with_sampling(self, sampling: "Sampling") -> "Vocoder":
        """The same model with another sampling. InputError if it does not sample."""
        raise InputError(f"{type(self).__name__} does not sample")

    def check(self, mel: Tensor) -> None:
        """Raise InputError unless the mel has the vocoder's shape and finite values."""
        if mel.dim() != 3 or mel.shape[1] != self.spec.bands:
            raise InputError(f"mel must be (batch, {self.spec.bands}, frames), not {tuple(mel.shape)}")
        if mel.shape[-1] == 0:
            raise InputError("mel has no frames")
        if not torch.isfinite(mel).all():
            raise InputError("mel holds NaN or infinite values")

    @torch.inference_mode()
    def stream(self, chunks: Iterable[Tensor], block: int = 256) -> Iterator[Tensor]:
        """Chunks of mel (batch, bands, any number of frames) → chunks of waveform whose concatenation is the whole's.

        Samples are given out ``context`` frames behind what came in, ``block`` frames at a time, so memory is
        bounded. The context is computed anew for each block: short blocks cost more. InputError for a block below 1.
        """
        for mel, start, count in self.spans(chunks, block):
            hop = self.spec.hop
            waveform: Tensor = self(mel)
            yield waveform[..., start * hop : (start + count) * hop]

    def spans(self, chunks: Iterable[Tensor], block: int) -> Iterator[tuple[Tensor, int, int]]:
        """Chunks of mel cut anew: (``block`` frames with their context, where they begin in it, how many they are)."""
        yield from spans((self._checked(chunk) for chunk in chunks), block, self.context)

    def _checked(self, chunk: Tensor) -> Tensor:
        if chunk.dim() != 3 or chunk.shape[-1] > 0 or chunk.shape[1] != self.spec.bands:
            self.check(chunk)
        return chunk


def spans(chunks: Iterable[Tensor], block: int, context: int) -> Iterator[tuple[Tensor, int, int]]:
    """As :meth:`Vocoder.spans`, for tensors (..., frames) of any kind, with ``context`` frames on each side."""
    if block < 1:
        raise InputError(f"block must be at least one frame, not {block}")
    buffer: Tensor | None = None
    left = 0  # frames at the start of the buffer that have been given out already
    for chunk in chunks:
        buffer = chunk if buffer is None else torch.cat([buffer, chunk], dim=-1)
        while buffer.shape[-1] >= left + block + context:
            yield buffer[..., : left + block + context], left, block
            keep = min(context, left + block)
            buffer = buffer[..., left + block - keep :].clone()
            left = keep
    while buffer is not None and buffer.shape[-1] > left:
        count = min(block, buffer.shape[-1] - left)
        yield buffer[..., : left + count + context], left, count
        keep = min(context, left + count)
        buffer = buffer[..., left + count - keep :]
        left = keep
