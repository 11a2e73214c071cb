"""The one short-time Fourier transform of all separators, and its exact inverse."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional as F

from wavegen.errors import InputError


def stft(waveform: Tensor, n_fft: int, hop: int) -> Tensor:
    """Waveform (..., samples) → complex spectrum (..., n_fft // 2 + 1, 1 + samples // hop), float32 or float64.

    Periodic Hann window, frame t centred on sample t × hop, no scaling. The ends are mirrored, or padded with zeros
    where the waveform is too short for that. samples >= 1. InputError unless n_fft is at least four hops: with fewer,
    the last samples stand under a single window's foot and are lost to rounding.
    """
    if hop < 1 or n_fft < 4 * hop or n_fft % 2:
        raise InputError(f"n_fft must be even and at least 4 hops, not {n_fft} with a hop of {hop}")
    shape = waveform.shape
    flat = waveform.reshape(-1, 1, shape[-1])
    flat = flat if flat.dtype == torch.float64 else flat.float()
    half = n_fft // 2
    padded = F.pad(flat, (half, half), mode="reflect" if shape[-1] > half else "constant")[:, 0]
    window = torch.hann_window(n_fft, dtype=flat.dtype, device=flat.device)
    spectrum = torch.stft(padded, n_fft, hop, window=window, center=False, return_complex=True)
    return spectrum.reshape(*shape[:-1], *spectrum.shape[1:])


def istft(spectrum: Tensor, n_fft: int, hop: int, samples: int) -> Tensor:
    """The inverse of :func:`stft`: complex spectrum (..., n_fft // 2 + 1, frames) → waveform (..., samples)."""
    shape = spectrum.shape
    flat = spectrum.reshape(-1, *shape[-2:])
    window = torch.hann_window(n_fft, dtype=flat.real.dtype, device=flat.device)
    waveform = torch.istft(flat, n_fft, hop, window=window, center=True, length=samples)
    return waveform.reshape(*shape[:-2], samples)


def istft_blocks(blocks: Iterable[Tensor], n_fft: int, hop: int, samples: int, start: int = 0) -> Tensor:
    """As :func:`istft`, from consecutive blocks (..., frames, bins) of one spectrum, n_fft being a multiple of the hop.

    ``start``: how many samples after the centre of the first frame the waveform begins. Frames are added up block by
    block, so that a spectrum which is made in blocks never lies in memory as a whole: several times faster where there
    are many sources. At least one block, each of at least one frame.
    """
    if n_fft % hop:
        raise InputError(f"n_fft must be a multiple of the hop, not {n_fft} with a hop of {hop}")
    parts: list[Tensor] = []
    carry: tuple[Tensor, Tensor] | None = None  # of the frames so far, and of their squared windows
    begin, place = n_fft // 2 + start, 0
    end = begin + samples

    def finished(added: Tensor, envelope: Tensor) -> Tensor:
        """What is wanted of the part at ``place``. It is cut first: at the ends the envelope is 0."""
        wanted = slice(max(0, begin - place), max(0, end - place))
        return added[..., wanted] / envelope[wanted]

    for block in blocks:
        window = torch.hann_window(n_fft, dtype=block.real.dtype, device=block.device)
        added = _overlap_add(torch.fft.irfft(block, n=n_fft) * window, hop)
        envelope = _overlap_add(window.square().expand(block.shape[-2], n_fft), hop)
        if carry is not None:
            added, envelope = _onto(carry[0], added), _onto(carry[1], envelope)
        done = block.shape[-2] * hop
        parts.append(finished(added[..., :done], envelope[:done]))
        carry = added[..., done:], envelope[done:]
        place += done
    assert carry is not None
    return torch.cat([*parts, finished(*carry)], dim=-1)


def _onto(before: Tensor, after: Tensor) -> Tensor:
    """The sum of two that begin together, of which the latter is the longer."""
    count = before.shape[-1]
    return torch.cat([before + after[..., :count], after[..., count:]], dim=-1)


def _overlap_add(pieces: Tensor, hop: int) -> Tensor:
    """Pieces (..., frames, n_fft), each a hop later than the last → their sum (..., (frames - 1) × hop + n_fft)."""
    *items, frames, n_fft = pieces.shape
    ratio = n_fft // hop
    parts = pieces.reshape(*items, frames, ratio, hop).unbind(dim=-2)
    shifted = [F.pad(part, (0, 0, i, ratio - 1 - i)) for i, part in enumerate(parts)]
    total = shifted[0]
    for part in shifted[1:]:
        total = total + part
    return total.flatten(-2)
