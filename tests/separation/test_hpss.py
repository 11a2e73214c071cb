"""Harmonic-percussive separation against librosa, and on a tone with clicks."""

import pytest
import torch

from wavegen.errors import InputError
from wavegen.separation.base import SeparatorSpec
from wavegen.separation.hpss import HPSS, HPSSConfig, median
from wavegen.training.separation_losses import si_sdr

SPEC = SeparatorSpec(8000, 1, ("other", "drums"))


def test_median_is_the_median() -> None:
    x = torch.rand(70, 33, generator=torch.Generator().manual_seed(0))
    found = median(x, 5)
    assert found.shape == x.shape
    assert found[60, 10] == x[60, 8:13].median()
    assert found[3, 0] == torch.cat([x[3, :1], x[3, :1], x[3, :3]]).median()
    assert torch.equal(median(x, 1), x)


def test_masks_agree_with_librosa() -> None:
    from librosa.decompose import hpss

    levels = torch.rand(129, 80, generator=torch.Generator().manual_seed(0)) ** 4
    lasting, striking = HPSS(HPSSConfig(256, 64, 17, 13), SPEC).masks(levels)
    theirs = hpss(levels.numpy(), kernel_size=(17, 13), mask=True)
    inside = (slice(7, -7), slice(9, -9))  # the ends are padded otherwise there
    torch.testing.assert_close(lasting[inside], torch.from_numpy(theirs[0])[inside].float(), atol=1e-5, rtol=0)
    torch.testing.assert_close(striking[inside], torch.from_numpy(theirs[1])[inside].float(), atol=1e-5, rtol=0)


def test_a_tone_and_clicks() -> None:
    t = torch.arange(16000) / 8000
    tone = torch.sin(2 * torch.pi * 440 * t)
    clicks = torch.zeros(16000)
    clicks[1000::4000] = 12.0
    sources = torch.stack([tone, clicks])[None, :, None]
    found = HPSS(HPSSConfig(512, 128), SPEC)(sources.sum(dim=1))
    assert (si_sdr(found, sources) - si_sdr(sources.sum(dim=1, keepdim=True), sources)).min() > 8


def test_it_has_two_sources_in_order() -> None:
    for spec in (SeparatorSpec(8000, 1, ("a", "b", "c")), SeparatorSpec(8000, 1, ("a", "b"), True)):
        with pytest.raises(InputError, match="two sources in order"):
            HPSS(HPSSConfig(), spec)
