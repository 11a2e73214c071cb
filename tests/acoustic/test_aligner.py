"""The aligner: its prior and loss against slow references, padding, and that it learns a planted alignment."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.stats import betabinom

from wavegen.acoustic.aligner import Aligner, AlignerConfig, diagonal_prior, forward_sum_loss
from wavegen.audio.features import FeatureSpec
from wavegen.errors import InputError

SPEC = FeatureSpec()


@pytest.mark.parametrize(("symbols", "frames"), [(1, 1), (1, 9), (5, 5), (7, 40), (60, 900)])
def test_prior_is_the_beta_binomial(symbols: int, frames: int) -> None:
    prior = diagonal_prior(symbols, frames).numpy()
    assert prior.shape == (frames, symbols)
    for t in range(0, frames, max(1, frames // 7)):
        expected = betabinom.logpmf(np.arange(symbols), symbols - 1, t + 1, frames - t)
        assert np.abs(prior[t] - expected).max() < 1e-4 * max(1, np.abs(expected).max())
    assert np.exp(prior).sum(axis=1) == pytest.approx(np.ones(frames), abs=1e-4)


def every_path(log_probabilities: np.ndarray) -> float:
    """Log of the summed probability of all CTC paths 1, 2, …, symbols with the blank at -1, by enumeration."""
    frames, symbols = log_probabilities.shape
    full = np.concatenate([np.full((frames, 1), -1.0), log_probabilities], axis=1)
    full = full - np.log(np.exp(full).sum(axis=1, keepdims=True))
    total = 0.0
    for path in itertools.product(range(symbols + 1), repeat=frames):
        collapsed = [k for k, _ in itertools.groupby(path) if k != 0]
        if collapsed == list(range(1, symbols + 1)):
            total += math.exp(sum(full[t, k] for t, k in enumerate(path)))
    return math.log(total)


def test_forward_sum_is_the_sum_over_all_paths() -> None:
    random = np.random.default_rng(0)
    x = torch.log_softmax(torch.from_numpy(random.standard_normal((2, 5, 3)).astype(np.float32)), -1)
    x[1, :, 2] = -torch.inf  # the second item has two symbols and four frames
    loss = forward_sum_loss(x, torch.tensor([3, 2]), torch.tensor([5, 4]))
    expected = (-every_path(x[0].numpy()) / 5 - every_path(x[1, :4, :2].numpy()) / 4) / 2
    assert float(loss) == pytest.approx(expected, rel=1e-4)


def test_padding_with_symbols_does_not_matter() -> None:
    """But for the last symbol, whose convolution sees the padding."""
    torch.manual_seed(0)
    aligner = Aligner(AlignerConfig(channels=16, keys=8), SPEC).eval()
    tokens, mel = torch.randint(3, 20, (1, 7)), torch.randn(1, 100, 30)
    alone = aligner(tokens, mel, torch.tensor([7]), torch.tensor([30]))
    padded_tokens = torch.nn.functional.pad(tokens, (0, 4))
    counts = torch.tensor([7]), torch.tensor([30])
    padded = aligner(padded_tokens, mel, *counts)
    assert padded.shape == (1, 30, 11)
    assert torch.isneginf(padded[..., 7:]).all()
    assert alone[..., :6].std() > 0.1
    odds, expected = (x[..., :6] - x[..., :1] for x in (padded, alone))
    assert torch.allclose(odds, expected, atol=1e-4)
    assert torch.allclose(padded.exp().sum(-1), torch.ones(1, 30), atol=1e-5)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_durations_on_a_gpu_are_those_on_the_cpu() -> None:
    torch.manual_seed(0)
    aligner = Aligner(AlignerConfig(channels=16, keys=8), SPEC).eval()
    tokens, mel = torch.randint(3, 20, (7,)), torch.randn(100, 30)
    expected = aligner.durations(tokens, mel)
    assert (aligner.cuda().durations(tokens.cuda(), mel.cuda()) == expected).all()


def test_learns_planted_durations() -> None:
    """Symbols with a mel of their own, in random order and of random length, are found within a frame or two."""
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    voices = torch.randn(12, 100)
    examples = []
    for _ in range(24):
        tokens = random.choice(12, 8, replace=False)
        durations = random.integers(3, 9, 8)
        mel = voices[torch.from_numpy(np.repeat(tokens, durations))].T + 0.1 * torch.randn(100, durations.sum())
        examples.append((torch.from_numpy(tokens), mel, durations))
    aligner = Aligner(AlignerConfig(symbols=12, channels=32, keys=16, temperature=0.05), SPEC)
    optimiser = torch.optim.Adam(aligner.parameters(), 3e-3)
    for step in range(240):
        tokens, mel, _ = examples[step % len(examples)]
        counts = torch.tensor([8]), torch.tensor([mel.shape[1]])
        loss = forward_sum_loss(aligner(tokens[None], mel[None], *counts), *counts)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    errors = [np.abs(np.cumsum(aligner.durations(t, m)) - np.cumsum(d)).mean() for t, m, d in examples]
    assert np.mean(errors) < 1.0
    even = [np.abs(np.cumsum(np.full(8, d.sum() / 8)) - np.cumsum(d)).mean() for _, _, d in examples]
    assert np.mean(errors) < np.mean(even) / 2


def test_bad_sizes() -> None:
    with pytest.raises(InputError, match="keys must be positive, not 0"):
        AlignerConfig(keys=0)
    with pytest.raises(InputError, match="temperature must be positive"):
        AlignerConfig(temperature=float("nan"))
