"""A separator for any number of channels, out of one that knows one or two."""

import torch
from torch import Tensor

from wavegen.errors import InputError
from wavegen.separation.base import Separator
from wavegen.separation.overlap import best_order

# Which channels of a file go through a stereo model together: left and right, in the orders of WAV (front, centre, low
# frequencies, back, side). A channel that stands alone goes in as both.
_PAIRS = {
    2: ((0, 1),),
    3: ((0, 1), (2, 2)),
    4: ((0, 1), (2, 3)),
    5: ((0, 1), (2, 2), (3, 4)),
    6: ((0, 1), (2, 2), (3, 3), (4, 5)),
    7: ((0, 1), (2, 2), (3, 3), (4, 4), (5, 6)),
    8: ((0, 1), (2, 2), (3, 3), (4, 5), (6, 7)),
}


class AnyChannels(Separator):
    """``model`` for mixes of ``channels``: a mono model hears each alone, a stereo model left with right.

    Sources without an order are brought into the first channels' order by correlation. The level is that of all
    channels, so that what is quiet in the mix stays quiet.
    """

    def __init__(self, model: Separator, channels: int) -> None:
        super().__init__()
        if channels < 1:
            raise InputError(f"channels must be 1 or more, not {channels}")
        self.model, self.channels = model, channels
        self.config, self.spec = model.config, model.spec
        self.context, self.hop = model.context, model.hop
        self.chunk_seconds, self.overlap = model.chunk_seconds, model.overlap
        alone = tuple((channel, channel) for channel in range(channels))
        self.groups = _PAIRS.get(channels, alone) if model.spec.channels == 2 else alone

    def check(self, mix: Tensor) -> None:
        """As :meth:`Separator.check`, for as many channels as there are."""
        if mix.dim() != 3 or mix.shape[1] != self.channels:
            raise InputError(f"mix must be (batch, {self.channels}, samples), not {tuple(mix.shape)}")
        if not torch.isfinite(mix).all():
            raise InputError("mix holds NaN or infinite values")

    def estimate(self, mix: Tensor) -> Tensor:
        """Mix (batch, channels, samples) → sources (batch, sources, channels, samples), group after group."""
        return self.estimate_within(mix, 0, mix.shape[-1])

    def estimate_within(self, mix: Tensor, start: int, stop: int) -> Tensor:
        """As :meth:`Separator.estimate_within`; all, and a part of it, where a few samples might mistake the order."""
        if self.spec.interchangeable and stop - start < mix.shape[-1]:
            return self.estimate(mix)[..., start:stop]
        parts: list[Tensor] = []
        for group in self.groups:
            heard = mix[:, list(group[: self.spec.channels])]
            if not bool(heard.any()):  # a channel that nothing is on has nothing on it in any source
                parts.append(mix.new_zeros(len(mix), len(self.spec.sources), len(set(group)), stop - start))
                continue
            part = self.model.estimate_within(heard, start, stop)
            if group[0] == group[1]:
                part = part.mean(dim=2, keepdim=True)
            if self.spec.interchangeable and parts:
                reference = parts[0].mean(dim=2, keepdim=True)
                order = [best_order(r, p)[1] for r, p in zip(reference, part.mean(dim=2, keepdim=True), strict=True)]
                part = torch.stack([p[o] for p, o in zip(part, order, strict=True)])
            parts.append(part)
        return torch.cat(parts, dim=2)
