"""The partials of a separated note: what tells its instrument, whatever the pitch and whatever else sounds.

A note's colour lies in how strong its partials are against one another and against what stands between them, and in how
it begins and ends. Read at the pitch that sounds, these are the same wherever an instrument plays, and other notes of a
mix spoil but a few of them.
"""

from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from wavegen.separation.masking import log_magnitude

PARTIALS = 20
SPREAD = 0.007  # of a partial's frequency, on either side, that it may lie off: a string's upper partials are sharp
REACHES = (1, 3, 7, 15)  # bins on either side that it is looked for in, the nearest of these to its spread
TIMES = 8  # parts of a frame whose levels are told apart
VALUES = 3 * PARTIALS + 1 + TIMES


def partials(levels: Tensor, mix: Tensor, pitch: Tensor, sample_rate: int) -> Tensor:
    """What stands at the partials of a pitch: (batch, 3 × PARTIALS + 1, frames).

    ``levels``: magnitudes of a separated source (batch, bins, frames), ``mix`` those of its mix; ``pitch`` in MIDI
    numbers (batch, frames). Log-magnitudes, as networks are shown them, of each partial and of what stands half a
    partial below it, both less that of the strongest partial; of each partial less that of the mix at the same place;
    and of the strongest. Beyond Nyquist there is silence.
    """
    hertz = 440 * 2 ** ((pitch - 69) / 12)
    base = (hertz * (2 * (levels.shape[1] - 1) / sample_rate))[:, None]  # in bins
    place = base * torch.arange(1, PARTIALS + 1, dtype=base.dtype, device=base.device)[:, None]
    own, whole = (log_magnitude(_about(x, place)[0].amax(dim=2)) for x in (levels, mix))
    found, count = _about(levels, place - base / 2)
    between = log_magnitude(found.sum(dim=2) / count)
    strongest = own.amax(dim=1, keepdim=True)
    return torch.cat([own - strongest, between - strongest, own - whole, strongest], dim=1)


def _about(levels: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
    """The magnitudes, of (batch, bins, frames), about places in bins (batch, values, frames), and how many they are.

    (batch, values, offsets, frames), those beyond the count being 0, and (batch, values, frames).
    """
    widest, last = REACHES[-1], levels.shape[1] - 1
    reaches = torch.tensor(REACHES, device=place.device)
    limits = torch.tensor([(a + b) / 2 for a, b in pairwise(REACHES)], dtype=place.dtype, device=place.device)
    reach = reaches[torch.bucketize(SPREAD * place, limits)][:, :, None]
    offset = torch.arange(-widest, widest + 1, device=place.device)[:, None]
    bins = place.round().long().clamp(max=last)[:, :, None] + offset  # (batch, values, offsets, frames)
    found = F.pad(levels, (0, 0, widest, widest)).gather(1, bins.flatten(1, 2) + widest).reshape(bins.shape)
    near = (offset.abs() <= reach) & (place < last - 2)[:, :, None]
    return torch.where(near, found, 0.0), 2 * reach[:, :, 0] + 1


def envelope(wave: Tensor, hop: int, frames: int) -> Tensor:
    """How loud a waveform (batch, channels, samples) is in parts of each frame: (batch, TIMES, frames).

    A frame is what lies about a multiple of ``hop``, half of it on either side. The logarithm of the power: 0.5 where
    the RMS is 1, about -1 in silence.
    """
    power = F.pad(wave.square().mean(dim=1), (hop // 2, hop))[:, : frames * hop]
    parts = F.adaptive_avg_pool1d(power.reshape(-1, 1, hop), TIMES).reshape(len(wave), frames, TIMES)
    return (torch.log(parts + 1e-4) / 6 + 0.5).transpose(1, 2)
