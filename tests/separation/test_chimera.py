"""Chimera's two heads."""

import torch

from wavegen.separation.base import SeparatorSpec
from wavegen.separation.chimera import Chimera, ChimeraConfig

SPEC = SeparatorSpec(8000, 1, ("a", "b", "c"), interchangeable=True)


def small(**changes: object) -> Chimera:
    torch.manual_seed(0)
    return Chimera(ChimeraConfig(hidden=12, layers=2, embedding=5, n_fft=128, hop=32, **changes), SPEC).eval()


def test_shapes_of_the_heads() -> None:
    mix = torch.randn(2, 1, 1600, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = small().analyse(mix)
    assert found.embedding.shape == (2, 65, 51, 5)
    assert found.masks.shape == (2, 3, 65, 51)
    assert found.spectrum.shape == (2, 1, 65, 51)
    torch.testing.assert_close(found.embedding.norm(dim=3), torch.ones(2, 65, 51))
    torch.testing.assert_close(found.masks.sum(dim=1), torch.ones(2, 65, 51))


def test_clusters_take_the_order_of_the_masks() -> None:
    model = small(read="clusters")
    levels = torch.ones(4, 6)
    levels[3] = 1e-4  # too quiet to be clustered
    truth = torch.arange(24).reshape(4, 6) % 3
    for order in ((0, 1, 2), (2, 0, 1), (1, 0, 2)):
        embedding = torch.eye(5)[truth]
        masks = torch.nn.functional.one_hot(torch.tensor(order)[truth], 3).permute(2, 0, 1) * 0.4 + 0.2
        found = model._clustered(embedding, levels, masks)
        torch.testing.assert_close(found[:, :3], (masks[:, :3] > 0.4).float())
        assert torch.equal(found[:, 3], masks[:, 3])


def test_clusters_depend_on_the_seed_alone() -> None:
    mix = torch.randn(1, 1, 4000, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        one, again = small(read="clusters")(mix), small(read="clusters")(mix)
        masked = small()(mix)
    assert torch.equal(one, again)
    assert not torch.allclose(one, masked, atol=1e-2)
    torch.testing.assert_close(one.sum(dim=1), mix, atol=1e-5, rtol=0)
