"""Streaming: as the whole, at awkward lengths, in bounded memory, in one order."""

import math
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from wavegen.errors import InputError
from wavegen.separation.base import Separator, SeparatorSpec, level_of
from wavegen.separation.overlap import plan, separate, separate_stream


class Smoother(Separator):
    """A moving average of exactly ``context`` samples on either side, and what is left."""

    def __init__(self, channels: int = 1, hop: int = 4, context: int = 10, rate: int = 100) -> None:
        super().__init__()
        self.spec = SeparatorSpec(rate, channels, ("low", "high"))
        self.hop, self.context = hop, context
        self.longest = 0

    def estimate(self, mix: Tensor) -> Tensor:
        self.longest = max(self.longest, mix.shape[-1])
        width = 2 * self.context + 1
        padded = F.pad(mix.flatten(0, 1)[:, None], (self.context, self.context))
        low = F.conv1d(padded, torch.full((1, 1, width), 1.0 / width)).reshape(mix.shape)
        return torch.stack([low, 0.5 * (mix - low)], dim=1)


class Fickle(Separator):
    """Two halves of a wave, of which every third estimate gives the second first."""

    def __init__(self) -> None:
        super().__init__()
        self.spec = SeparatorSpec(100, 1, ("a", "b"), interchangeable=True)
        self.hop, self.context = 5, 20
        self.calls = 0

    def estimate(self, mix: Tensor) -> Tensor:
        self.calls += 1
        found = torch.stack([mix.clamp(min=0), mix.clamp(max=0)], dim=1)
        return found.flip(1) if self.calls % 3 == 2 else found


def noise(channels: int, samples: int, seed: int = 0) -> Tensor:
    return torch.randn(channels, samples, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 700),
    st.floats(0.05, 3.0),
    st.floats(0, 0.95),
    st.lists(st.integers(0, 90), max_size=12),
    st.integers(1, 2),
)
def test_streams_are_the_whole(samples: int, seconds: float, overlap: float, cuts: list[int], channels: int) -> None:
    model = Smoother(channels)
    mix = noise(channels, samples)
    edges = sorted({min(cut * 8, samples) for cut in cuts} | {0, samples})
    chunks = [mix[:, a:b] for a, b in pairwise(edges)]
    level = float(level_of(mix[None])[0])
    pieces = list(separate_stream(model, chunks, chunk_seconds=seconds, overlap=overlap, level=level))
    found = torch.cat([torch.zeros(2, channels, 0), *pieces], dim=-1)
    assert found.shape == (2, channels, samples)
    assert torch.allclose(found, model(mix[None])[0], atol=1e-5)
    assert torch.allclose(found.sum(dim=0), mix, atol=1e-6)
    assert torch.allclose(separate(model, mix, chunk_seconds=seconds, overlap=overlap), found, atol=1e-6)


def test_memory_is_bounded_and_output_comes_early() -> None:
    model = Smoother()
    taken = 0

    def source() -> Iterator[Tensor]:
        nonlocal taken
        for i in range(500):
            taken += 100
            yield noise(1, 100, seed=i)

    given_out = 0
    for piece in separate_stream(model, source(), chunk_seconds=2.0, overlap=0.25, level=1.0):
        given_out += piece.shape[-1]
        assert taken - given_out <= 200 + 100 + 2 * 12 + 50
    assert given_out == 50000
    assert model.longest <= 200 + 2 * 12


@pytest.mark.parametrize("overlap", [0.0, 0.25])
def test_nothing_of_a_chunk_is_held_while_the_next_is_separated(overlap: float) -> None:
    class Counts(Smoother):
        """Gives arrays whose end can be seen, as a storage's cannot."""

        def forward(self, mix: Tensor, **options: Any) -> Tensor:
            held.append(sum(reference() is not None for reference in given))
            array = super().forward(mix, **options).numpy().copy()
            given.append(weakref.ref(array))
            return torch.from_numpy(array)

    given: list[weakref.ref[np.ndarray]] = []
    held: list[int] = []
    for piece in separate_stream(Counts(), [noise(1, 1000)], chunk_seconds=2.0, overlap=overlap, level=1.0):
        del piece
    assert held == [0] * len(given)
    assert len(given) >= 5


def test_one_long_chunk_is_not_copied_whole() -> None:
    model = Smoother()
    mix = noise(1, 40_000)
    sizes = []
    stream = separate_stream(model, [mix], chunk_seconds=2.0, overlap=0.0, level=1.0)
    for piece in stream:
        sizes.append(piece.shape[-1])
    assert set(sizes) == {200}
    assert model.longest <= 224


def test_crossfade_joins_estimates_that_differ() -> None:
    class Stepper(Separator):
        """Each chunk says another constant share."""

        def __init__(self) -> None:
            super().__init__()
            self.spec, self.hop, self.context, self.calls = SeparatorSpec(100, 1, ("a", "b")), 1, 0, 0

        def estimate(self, mix: Tensor) -> Tensor:
            self.calls += 1
            share = 0.0 if self.calls == 1 else 1.0
            return torch.stack([share * mix, (1 - share) * mix], dim=1)

    found = separate(Stepper(), torch.ones(1, 150), chunk_seconds=1.0, overlap=0.5)
    ramp = (torch.arange(50) + 0.5) / 50
    expected = torch.cat([torch.zeros(50), ramp, torch.ones(50)])
    assert torch.allclose(found[0, 0], expected, atol=1e-6)
    assert torch.allclose(found.sum(dim=0), torch.ones(1, 150), atol=1e-6)


@pytest.mark.parametrize("overlap", [0.0, 0.1, 0.5])
def test_order_is_kept_across_chunks(overlap: float) -> None:
    model = Fickle()
    mix = noise(1, 2000)
    found = separate(model, mix, chunk_seconds=2.0, overlap=overlap)
    assert model.calls >= 10
    assert torch.allclose(found[0], mix.clamp(min=0), atol=1e-5)
    assert torch.allclose(found[1], mix.clamp(max=0), atol=1e-5)


def test_order_is_kept_across_shifts() -> None:
    mix = noise(1, 600)
    found = separate(Fickle(), mix, chunk_seconds=1.0, overlap=0.2, shifts=3)
    assert torch.allclose(found[0], mix.clamp(min=0), atol=1e-5)


def test_shifts_average_framings_and_repeat_with_the_seed() -> None:
    class Framed(Separator):
        """Keeps the samples at the beginnings of frames: an estimate that depends on where frames fall."""

        def __init__(self) -> None:
            super().__init__()
            self.spec, self.hop, self.context = SeparatorSpec(100, 1, ("a", "b")), 10, 0

        def estimate(self, mix: Tensor) -> Tensor:
            kept = mix * (torch.arange(mix.shape[-1]) % 10 == 0)
            return torch.stack([kept, mix - kept], dim=1)

    mix = torch.ones(1, 300)

    def run(seed: int, shifts: int = 4) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return separate(Framed(), mix, chunk_seconds=1.0, overlap=0.0, level=1.0, shifts=shifts, generator=generator)

    assert torch.equal(run(0), run(0))
    assert not torch.equal(run(0), run(1))
    averaged = run(0)
    assert torch.allclose(averaged.sum(dim=0), mix, atol=1e-6)
    assert averaged[0].max() < 1.0  # four framings, of which none has all
    assert torch.allclose(averaged[0, 0, 100:110], averaged[0, 0, 200:210])  # the same framings in each chunk
    assert averaged[0, 0, 100:110].sum() == pytest.approx(1.0, abs=1e-5)
    plain = separate(Framed(), mix, chunk_seconds=1.0, overlap=0.0, level=1.0)
    assert torch.equal(plain[0, 0, ::10], torch.ones(30))


@pytest.mark.parametrize("samples", [0, 1, 3, 99, 101])
def test_short_mixes_with_shifts(samples: int) -> None:
    mix = noise(1, samples)
    found = separate(Smoother(), mix, chunk_seconds=0.3, overlap=0.5, shifts=2, level=1.0)
    assert found.shape == (2, 1, samples)
    assert torch.allclose(found, Smoother()(mix[None], level=torch.ones(1))[0], atol=1e-5)


def test_silence_within_and_throughout() -> None:
    mix = noise(1, 900)
    mix[:, 200:700] = 0
    found = separate(Smoother(), mix, chunk_seconds=0.6, overlap=0.25)
    assert not found[..., 240:660].any()
    assert not separate(Smoother(), torch.zeros(1, 500)).any()


def test_chunks_are_whole_hops_and_the_model_s_habits_hold() -> None:
    cut = plan(Smoother())
    assert (cut.chunk, cut.stride, cut.context, cut.shifts) == (800, 600, 12, (0,))
    assert plan(Smoother(), 0.001, 0.9).chunk == 8
    assert plan(Smoother(), 1.0, 0.999).stride >= 4
    assert plan(Fickle(), 1.0, 0.0).fade == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chunk_seconds": 0.0}, "chunk_seconds"),
        ({"chunk_seconds": math.inf}, "chunk_seconds"),
        ({"chunk_seconds": math.nan}, "chunk_seconds"),
        ({"overlap": 1.0}, "overlap"),
        ({"overlap": -0.1}, "overlap"),
        ({"shifts": -1}, "shifts"),
        ({"level": -1.0}, "level"),
        ({"level": math.nan}, "level"),
    ],
)
def test_options_that_are_wrong(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        separate(Smoother(), noise(1, 50), **options)


def test_bad_chunks_are_refused_where_they_come() -> None:
    bad = noise(1, 50)
    bad[0, 7] = math.nan
    for chunk, message in ((bad, "NaN"), (torch.zeros(2, 5), "must be"), (torch.zeros(5), r"\(channels, samples\)")):
        with pytest.raises(InputError, match=message):
            list(separate_stream(Smoother(), [noise(1, 50), chunk], level=1.0))
    with pytest.raises(InputError, match="must be"):
        separate(Smoother(), torch.zeros(1, 1, 50))
    with pytest.raises(InputError, match="level must be positive"):
        separate(Smoother(), noise(1, 50), level=0.0)


@pytest.fixture(params=[2, 3, 9])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_chunks_side_by_side_are_the_same(threads: int) -> None:
    """And the threads are afterwards what they were, here and in a thread that begins later."""
    mix = noise(2, 3001)
    model = Smoother(2)
    torch.set_num_threads(1)
    alone = separate(model, mix, chunk_seconds=1.0, overlap=0.3)
    torch.set_num_threads(threads)
    assert torch.equal(separate(model, mix, chunk_seconds=1.0, overlap=0.3), alone)
    assert torch.get_num_threads() == threads
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == threads


def test_chunks_are_separated_at_a_time_but_few(threads: int) -> None:
    """As many as there are threads, up to four, with the threads shared out; and little is read ahead of them."""
    begun = threading.Barrier(min(threads, 4))
    seen: set[int] = set()
    read = 0

    class Meeting(Smoother):
        def estimate(self, mix: Tensor) -> Tensor:
            begun.wait(timeout=60)  # passes only where so many are here at once
            seen.add(torch.get_num_threads())
            return super().estimate(mix)

    def source(count: int) -> Iterator[Tensor]:
        nonlocal read
        for number in range(count):
            read += 1
            yield noise(1, 100, number)

    stream = separate_stream(Meeting(context=0), source(12 * 5), chunk_seconds=5.0, overlap=0.0, level=1.0)
    next(stream)
    assert seen == {max(1, threads // 4)}
    assert read <= 5 * (min(threads, 4) + 1) + 1
    assert sum(piece.shape[-1] for piece in stream) == 500 * 11


def test_an_error_beside_other_chunks_ends_the_stream(threads: int) -> None:
    class Failing(Smoother):
        def estimate(self, mix: Tensor) -> Tensor:
            raise InputError("no")

    with pytest.raises(InputError, match="no"):
        separate(Failing(), noise(1, 3000), chunk_seconds=1.0, overlap=0.3)
    assert torch.get_num_threads() == threads


def test_a_stream_may_be_left(threads: int) -> None:
    model = Smoother()
    stream = separate_stream(model, [noise(1, 5000)], chunk_seconds=1.0, overlap=0.3, level=1.0)
    next(stream)
    stream.close()
    assert torch.get_num_threads() == threads
    assert not [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
