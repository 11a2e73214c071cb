"""Recurrent layers by windows: the same as a loop over them, and a reach that is neither too short nor generous."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from wavegen.nn.windows import cover, in_windows, reach


def layer(seed: int = 0) -> nn.LSTM:
    torch.manual_seed(seed)
    return nn.LSTM(3, 4, bidirectional=True).double()


def looped(lstm: nn.LSTM, x: Tensor, window: int, first: int) -> Tensor:
    edges = sorted({0, len(x), *range(first, len(x), window)})
    return torch.cat([lstm(x[a:b])[0] for a, b in itertools.pairwise(edges)])


@settings(deadline=None)
@given(steps=st.integers(1, 40), window=st.integers(1, 12), first=st.integers(0, 12), batch=st.integers(1, 3))
def test_windows_are_run_one_by_one(steps: int, window: int, first: int, batch: int) -> None:
    first = min(first, window - 1)
    lstm = layer()
    x = torch.randn(steps, batch, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(steps))
    with torch.no_grad():
        found = in_windows(lambda part: lstm(part)[0], x, window, first)
        torch.testing.assert_close(found, looped(lstm, x, window, first), atol=1e-12, rtol=0)


def test_no_window_is_one() -> None:
    lstm, x = layer(), torch.randn(9, 2, 3, dtype=torch.float64)
    assert torch.equal(in_windows(lambda part: lstm(part)[0], x, 0), lstm(x)[0])


@pytest.mark.parametrize("firsts", [(0,), (4,), (0, 4), (4, 0), (4, 0, 0, 4), (0, 4, 0, 4)])
@pytest.mark.parametrize("edge", [0, 2])
def test_reach_by_gradients(firsts: tuple[int, ...], edge: int) -> None:
    """What a chunk's steps, and ``edge`` beyond, are made of lies within the reach, and in its outermost window."""
    window, count = 8, 12 * 8
    chunk = slice(5 * window - edge, 6 * window + edge)
    x = torch.randn(count, 1, 4, dtype=torch.float64, requires_grad=True)
    y = x
    for place, first in enumerate(firsts):
        torch.manual_seed(place)
        lstm = nn.LSTM(4, 2, bidirectional=True).double()
        y = y + in_windows(lambda part, lstm=lstm: lstm(part)[0], y, window, first)
    (gradient,) = torch.autograd.grad(y[chunk].sum(), x)
    used = gradient.abs().amax(dim=(1, 2)).nonzero()[:, 0]
    found = reach(window, firsts, edge)
    assert found % window == 0
    before, after = 5 * window - int(used.min()), int(used.max()) + 1 - 6 * window
    assert max(before, after) + edge <= found < max(before, after) + edge + window


@settings(deadline=None)
@given(
    steps=st.integers(1, 40),
    window=st.integers(0, 9),
    first=st.integers(0, 8),
    ends=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_cover_by_gradients(steps: int, window: int, first: int, ends: tuple[float, float]) -> None:
    """It is what the steps are made of: no more, no less."""
    first = min(first, max(0, window - 1))
    start, stop = round(min(ends) * (steps - 1)), 1 + round(max(ends) * (steps - 1))
    x = torch.randn(steps, 1, 3, dtype=torch.float64, requires_grad=True)
    lstm = layer()
    found = in_windows(lambda part: lstm(part)[0], x, window, first)[start:stop]
    (gradient,) = torch.autograd.grad(found.square().sum(), x)
    used = gradient.abs().amax(dim=(1, 2)).nonzero()[:, 0]
    assert cover(window, first, start, stop, steps) == (int(used.min()), int(used.max()) + 1)
