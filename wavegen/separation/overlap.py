"""Separation of any length in bounded memory: chunks with their context, joined by crossfades.

On a CPU some chunks are separated at a time, each by its share of the threads: recurrent networks gain little from
several threads, whose work waits for one another at every step.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice, permutations
from typing import NamedTuple

import torch
from torch import Tensor

from wavegen.errors import InputError
from wavegen.nn.device import sharing_threads
from wavegen.separation.base import Separator, level_of

AT_A_TIME = 4  # chunks, at most, for the sake of memory


@dataclass(frozen=True)
class Plan:
    """A stream's cuts, in samples: chunks of ``chunk`` begin every ``stride``; ``shifts`` holds one for each pass."""

    chunk: int
    stride: int
    context: int
    shifts: tuple[int, ...]

    @property
    def fade(self) -> int:
        return self.chunk - self.stride


def plan(
    model: Separator,
    chunk_seconds: float | None = None,
    overlap: float | None = None,
    shifts: int = 0,
    generator: torch.Generator | None = None,
) -> Plan:
    """Chunks and strides that are whole hops, by the model's own habits where nothing is asked for.

    InputError for a chunk that is not positive and finite, an overlap outside [0, 1) or a negative number of shifts.
    """
    seconds = model.chunk_seconds if chunk_seconds is None else chunk_seconds
    overlap = model.overlap if overlap is None else overlap
    if not 0 < seconds < float("inf"):
        raise InputError(f"chunk_seconds must be positive and finite, not {seconds}")
    if not 0 <= overlap < 1:
        raise InputError(f"overlap must be at least 0 and below 1, not {overlap}")
    if shifts < 0:
        raise InputError(f"shifts must not be negative, not {shifts}")
    hop = model.hop
    # Sources without order are matched on what two chunks share, so they must share something.
    least = int(overlap > 0 or model.spec.interchangeable)
    hops = max(1 + least, round(seconds * model.spec.sample_rate / hop))
    faded = min(hops - 1, max(round(overlap * hops), least))
    half_second = max(1, model.spec.sample_rate // 2)
    drawn = torch.randint(half_second, (shifts,), generator=generator).tolist()
    context = -(-model.context // hop) * hop
    return Plan(hops * hop, (hops - faded) * hop, context, tuple(drawn) or (0,))


def separate(
    model: Separator,
    mix: Tensor,
    *,
    chunk_seconds: float | None = None,
    overlap: float | None = None,
    level: float | None = None,
    shifts: int = 0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Mix (channels, samples) → sources (sources, channels, samples), by :func:`separate_stream`.

    ``level`` is the mix's RMS unless given.
    """
    if mix.dim() != 2:
        raise InputError(f"mix must be (channels, samples), not {tuple(mix.shape)}")
    model.check(mix[None])
    if level is None:
        level = float(level_of(mix[None])[0])
    pieces = separate_stream(
        model,
        [mix],
        chunk_seconds=chunk_seconds,
        overlap=overlap,
        level=level,
        shifts=shifts,
        generator=generator,
    )
    empty = mix.new_zeros(len(model.spec.sources), mix.shape[0], 0)
    return torch.cat([empty, *pieces], dim=-1)


def separate_stream(
    model: Separator,
    chunks: Iterable[Tensor],
    *,
    chunk_seconds: float | None = None,
    overlap: float | None = None,
    level: float,
    shifts: int = 0,
    generator: torch.Generator | None = None,
) -> Iterator[Tensor]:
    """Chunks (channels, any number of samples) of a mix → pieces (sources, channels, n), whose lengths add up to it.

    The mix is cut anew into chunks of ``chunk_seconds``, of which a fraction ``overlap`` is crossfaded with the next;
    each is separated in the sight of ``model.context`` samples more on either side, so memory is bounded whatever the
    length. ``level`` is the RMS of the whole mix. With ``shifts``, a chunk is separated that many times,
    framed at places drawn from ``generator``, and averaged (Défossez et al. 2019, "Demucs", section 4.3). The order of
    interchangeable sources is kept: each chunk takes the order that correlates best with the one before where they
    overlap. InputError for bad options and for chunks that are not finite or not of the model's channels.
    """
    if not (level >= 0 and level < float("inf")):
        raise InputError(f"level must not be negative and must be finite, not {level}")
    cut = plan(model, chunk_seconds, overlap, shifts, generator)
    window = _Window(cut, (part for chunk in chunks for part in _checked(model, chunk)))
    order = _Order(model.spec.interchangeable)
    tail: Tensor | None = None  # what the chunk before has to say about where this one begins
    for start, stop, last, margin, estimate in _side_by_side(model, _chunks(window, cut), level):
        with torch.inference_mode():  # as a decorator, it would hold each piece until the next is there
            estimate = order.match(estimate, start - margin)
            order.keep(estimate, start - margin, start + cut.stride - cut.context)
            body = estimate[..., margin : margin + stop - start]
            if tail is not None:
                body = _crossfade(tail, body)
            count = body.shape[-1] if last else cut.stride
            piece, tail = body[..., :count], body[..., count:].clone()
            del estimate, body  # each is large, and would be there beside the next one
        yield piece
        del piece


@dataclass(frozen=True)
class _Chunk:
    """Samples [start, stop) of the mix with ``margin`` more before them, once a shift; ``last``: nothing follows."""

    start: int
    stop: int
    last: bool
    margin: int
    shifts: tuple[int, ...]
    mixes: tuple[Tensor, ...]


def _chunks(window: "_Window", cut: Plan) -> Iterator[_Chunk]:
    start = 0
    while window.reaches(start):
        stop = min(start + cut.chunk, window.end)
        first, after = max(0, start - cut.context), min(stop + cut.context, window.end)
        mixes = tuple(window.read(first - shift, after) for shift in cut.shifts)
        last = window.ended and stop == window.end
        yield _Chunk(start, stop, last, start - first, cut.shifts, mixes)
        if last:
            return
        start += cut.stride


class _Separated(NamedTuple):
    """What is left of a chunk without its mixes, and the sources (sources, channels, n).

    Those without order have the chunk's context with them, of which ``margin`` samples are before it.
    """

    start: int
    stop: int
    last: bool
    margin: int
    sources: Tensor


def _side_by_side(model: Separator, chunks: Iterator[_Chunk], level: float) -> Iterator[_Separated]:
    """The chunks' sources, in order."""

    def separated(chunk: _Chunk) -> _Separated:
        first, after = chunk.margin, chunk.margin + chunk.stop - chunk.start
        if model.spec.interchangeable:  # what two chunks say of the same samples tells their order
            first, after = 0, chunk.mixes[0].shape[-1] - chunk.shifts[0]
        with torch.inference_mode():
            sources = _passes(model, chunk, level, first, after)
        return _Separated(chunk.start, chunk.stop, chunk.last, chunk.margin - first, sources)

    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    count = min(torch.get_num_threads(), AT_A_TIME) if device.type == "cpu" else 1
    first = next(chunks, None)
    if first is None:
        return
    if count == 1 or first.last:
        yield separated(first)
        del first
        yield from map(separated, chunks)
        return
    running: deque[Future[_Separated]] = deque()
    with sharing_threads(count) as pool:
        try:
            running.append(pool.submit(separated, first))
            del first
            while running:
                running.extend(pool.submit(separated, chunk) for chunk in islice(chunks, count - len(running)))
                yield running.popleft().result()
        finally:
            for waiting in running:
                waiting.cancel()


def _passes(model: Separator, chunk: _Chunk, level: float, first: int, after: int) -> Tensor:
    """Sources (sources, channels, n) of samples [first, after) of a chunk with its context, averaged over shifts."""
    total: Tensor | None = None
    for shift, mix in zip(chunk.shifts, chunk.mixes, strict=True):
        found: Tensor = model(mix[None], level=mix.new_full((1,), level), within=(first + shift, after + shift))[0]
        if total is None:
            total = found
        else:
            total = total + best_order(total, found)[0] if model.spec.interchangeable else total + found
    assert total is not None
    return total.div_(len(chunk.mixes))


def _crossfade(before: Tensor, after: Tensor) -> Tensor:
    """``after``, faded in over all of ``before``, which is no longer."""
    count = before.shape[-1]
    rising = (torch.arange(count, dtype=after.dtype, device=after.device) + 0.5) / count
    head = before + rising * (after[..., :count] - before)
    return torch.cat([head, after[..., count:]], dim=-1)


def _checked(model: Separator, chunk: Tensor) -> tuple[Tensor, ...]:
    """A chunk of the input in blocks of a few seconds at most, so that a long one is never copied as a whole."""
    if not isinstance(chunk, Tensor) or not chunk.is_floating_point():
        raise InputError(f"chunks must be tensors of floats, not {getattr(chunk, 'dtype', type(chunk).__name__)}")
    if chunk.dim() != 2:
        raise InputError(f"chunks must be (channels, samples), not {tuple(chunk.shape)}")
    model.check(chunk[None])
    return torch.split(chunk, 4 * model.spec.sample_rate, dim=-1)


class _Window:
    """The part of the input that is still needed. ``end``: samples read so far, all there are once ``ended``."""

    def __init__(self, cut: Plan, chunks: Iterator[Tensor]) -> None:
        self.cut, self.chunks = cut, chunks
        self.parts: list[Tensor] = []
        self.first = 0  # place of the first sample held
        self.end = 0
        self.ended = False

    def reaches(self, start: int) -> bool:
        """Read what a chunk at ``start`` needs and forget what none needs; False if there is nothing to separate."""
        while not self.ended and self.end <= start + self.cut.chunk + self.cut.context:
            part = next(self.chunks, None)
            if part is None:
                self.ended = True
            else:
                self.parts.append(part)
                self.end += part.shape[-1]
        if self.end == 0:
            return False
        held = torch.cat(self.parts, dim=-1)
        needed = max(0, start - self.cut.context - max(self.cut.shifts))
        self.parts = [held[..., needed - self.first :].clone()]
        self.first = needed
        return True

    def read(self, first: int, after: int) -> Tensor:
        """Samples [first, after) of the mix, with zeros before its beginning."""
        (held,) = self.parts
        found = held[..., max(0, first) - self.first : after - self.first]
        return torch.nn.functional.pad(found, (max(0, -first), 0))


class _Order:
    """Keeps the order of sources that have none, by what consecutive estimates say of the same samples."""

    def __init__(self, interchangeable: bool) -> None:
        self.interchangeable = interchangeable
        self.before: Tensor | None = None
        self.start = 0

    def match(self, estimate: Tensor, start: int) -> Tensor:
        """The estimate, which begins at sample ``start``, in the order of the one before."""
        if not self.interchangeable or self.before is None:
            return estimate
        begin = max(start, self.start)
        before, now = self.before[..., begin - self.start :], estimate[..., begin - start :]
        shared = min(before.shape[-1], now.shape[-1])
        _, order = best_order(before[..., :shared], now[..., :shared])
        return estimate[order]

    def keep(self, estimate: Tensor, start: int, needed: int) -> None:
        """Remember what the next chunk will say too: everything from sample ``needed`` on."""
        if self.interchangeable:
            self.start = max(start, needed)
            self.before = estimate[..., self.start - start :].clone()


def best_order(reference: Tensor, estimate: Tensor) -> tuple[Tensor, list[int]]:
    """The estimate (sources, channels, n) in the order that correlates best with the reference, and that order."""
    count = reference.shape[0]
    products = reference.reshape(count, -1).double() @ estimate.reshape(count, -1).double().T
    order = max(permutations(range(count)), key=lambda p: sum(float(products[i, j]) for i, j in enumerate(p)))
    return estimate[list(order)], list(order)
