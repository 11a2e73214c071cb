"""Recurrent networks along time that remember no more than a window, so that a chunk is treated as the whole is.

The frames are cut into windows, each of which begins from a state of zeros. Layers whose windows begin half a window
apart see across one another's edges, as the shifted windows of Liu et al. 2021, "Swin transformer", do.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def in_windows(run: Callable[[Tensor], Tensor], x: Tensor, window: int, first: int = 0) -> Tensor:
    """``run`` of x (steps, batch, channels) by windows; all, where ``window`` is 0. Returns (steps, batch, outputs).

    Windows begin at step ``first`` and every ``window`` steps from there; what is before and after them, shorter than
    a window, is one of its own. Whole windows are run side by side, as a larger batch.
    """
    steps, batch, _ = x.shape
    if window == 0 or steps <= first:
        return run(x)
    count = (steps - first) // window
    before, whole, after = torch.split(x, [first, count * window, steps - first - count * window])
    parts = [run(before)] if first else []
    if count:
        found = run(whole.reshape(count, window, batch, -1).transpose(0, 1).flatten(1, 2))
        parts.append(found.reshape(window, count, batch, -1).transpose(0, 1).flatten(0, 1))
    if len(after):
        parts.append(run(after))
    return torch.cat(parts)


def cover(window: int, first: int, start: int, stop: int, steps: int) -> tuple[int, int]:
    """The steps, of 0 to ``steps``, of the windows that decide what :func:`in_windows` makes of [start, stop)."""
    if window == 0:
        return 0, steps
    begin, end = _whole(window, first, start, stop)
    return max(0, begin), min(steps, end)


def _whole(window: int, first: int, start: int, stop: int) -> tuple[int, int]:
    """[start, stop) widened to whole windows, which begin at ``first``."""
    return (start - first) // window * window + first, -(-(stop - first) // window) * window + first


def reach(window: int, firsts: Sequence[int], edge: int) -> int:
    """Steps on either side of a chunk that decide what becomes of it, in whole windows, as the chunk itself is.

    The layers, in order, have windows that begin at ``firsts``. ``edge``: how many steps beyond the chunk its output
    is made of, and beyond a step, its input.
    """
    start, stop = -edge, edge  # from the chunk's first step, and from its end, where windows begin as they do at 0
    for first in reversed(firsts):
        start, stop = _whole(window, first, start, stop)
    return -(-(max(-start, stop) + edge) // window) * window
