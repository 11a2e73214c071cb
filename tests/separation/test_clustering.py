"""k-means and spectral clustering: known clusters, seeds, odd input."""

import numpy as np
import pytest
import torch

from wavegen.errors import InputError
from wavegen.separation.base import SeparatorSpec
from wavegen.separation.clustering import SpectralClustering, SpectralClusteringConfig, kmeans
from wavegen.training.separation_losses import best_order, negative_snr, pairwise_negative_snr


def blobs(count: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    centres = torch.tensor([[0.0, 0.0], [6.0, 0.0], [0.0, 6.0]])
    truth = torch.arange(3).repeat_interleave(count)
    return centres[truth] + torch.randn(3 * count, 2, generator=generator), truth


def test_kmeans_finds_blobs_and_agrees_with_another() -> None:
    from sklearn.cluster import KMeans

    points, truth = blobs()
    labels, centres = kmeans(points, 3, seed=0)
    for k in range(3):
        assert (labels[truth == k] == labels[truth == k].mode().values).float().mean() > 0.98
    other = KMeans(3, n_init=4, random_state=0).fit(points.numpy())
    distance = (points - centres[labels]).square().sum()
    assert float(distance) <= other.inertia_ * 1.0001
    assert np.allclose(sorted(centres.tolist()), sorted(other.cluster_centers_.tolist()), atol=1e-2)


def test_kmeans_follows_its_seed() -> None:
    points = torch.rand(25_000, 3, generator=torch.Generator().manual_seed(0))
    one = kmeans(points, 4, seed=1, restarts=1, iterations=3)
    assert all(torch.equal(a, b) for a, b in zip(one, kmeans(points, 4, seed=1, restarts=1, iterations=3), strict=True))
    assert not torch.equal(one[1], kmeans(points, 4, seed=2, restarts=1, iterations=3)[1])


def test_kmeans_weighs_its_points() -> None:
    points, truth = blobs()
    _, (centre,) = kmeans(points, 1, seed=0, weights=(truth == 1).float())
    torch.testing.assert_close(centre, points[truth == 1].mean(dim=0))
    _, centres = kmeans(points, 2, seed=0, weights=(truth != 1).float())
    assert (centres[:, 0] < 1).all()


def test_kmeans_with_fewer_points_than_clusters() -> None:
    labels, centres = kmeans(torch.ones(5, 2), 3, seed=0)
    assert (centres[labels] == 1).all()
    labels, centres = kmeans(torch.tensor([[1.0], [5.0]]), 4, seed=0, weights=torch.zeros(2))
    assert centres[labels].tolist() == [[1.0], [5.0]]
    with pytest.raises(InputError, match="finite points"):
        kmeans(torch.empty(0, 2), 2, seed=0)
    with pytest.raises(InputError, match="finite points"):
        kmeans(torch.full((3, 2), torch.nan), 2, seed=0)
    with pytest.raises(InputError, match="must be positive"):
        kmeans(torch.ones(3, 2), 0, seed=0)


def test_spectral_clustering_separates_what_is_far_apart() -> None:
    """A low pulsed tone and a high one: each cluster is one of them, the low one first."""
    t = torch.arange(16000) / 8000
    low = torch.sin(2 * torch.pi * 200 * t) * (torch.sin(2 * torch.pi * 2 * t) > 0)
    high = torch.sin(2 * torch.pi * 2500 * t) * (torch.sin(2 * torch.pi * 3 * t + 1) > 0)
    sources = torch.stack([low, 0.7 * high])[None, :, None]
    spec = SeparatorSpec(8000, 1, ("low", "high"), interchangeable=True)
    model = SpectralClustering(SpectralClusteringConfig(256, 64, octaves=0.7), spec)
    mix = sources.sum(dim=1)
    found = model(mix)
    assert negative_snr(found, sources, mix[:, None]).max() < -12
    assert best_order(pairwise_negative_snr(found, sources, mix))[1].tolist() == [[0, 1]]


def test_spectral_clustering_of_almost_nothing() -> None:
    spec = SeparatorSpec(8000, 1, ("a", "b", "c"), interchangeable=True)
    model = SpectralClustering(SpectralClusteringConfig(256, 64), spec)
    assert torch.equal(model(torch.zeros(1, 1, 500)), torch.zeros(1, 3, 1, 500))
    levels = torch.zeros(129, 8)
    levels[5, 3] = 1.0
    assert torch.equal(model.masks(levels), torch.full((3, 129, 8), 1 / 3))
