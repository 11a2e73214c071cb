"""Blocks: masks are respected, lengths are free, neighbours reach as far as stated."""

import torch

from wavegen.nn.convnext import ConvNeXtBlock
from wavegen.nn.transformer import Transformer


def test_masked_positions_have_no_influence_and_give_zero() -> None:
    torch.manual_seed(0)
    net = Transformer(16, 32, layers=2, heads=2, kernel=5, dropout=0.0).eval()
    x = torch.randn(2, 16, 20)
    mask = torch.arange(20)[None] < torch.tensor([[20], [13]])
    y = net(x, mask)
    changed = x.clone()
    changed[1, :, 13:] = 100.0
    assert torch.equal(net(changed, mask)[0], y[0])
    assert (net(changed, mask)[1, :, :13] - y[1, :, :13]).abs().max() < 1e-5
    assert (y[1, :, 13:] == 0).all()
    assert (net(x[1:, :, :13], mask[1:, :13]) - y[1:, :, :13]).abs().max() < 1e-5


def test_attention_reaches_everything_by_gradient() -> None:
    torch.manual_seed(0)
    net = Transformer(16, 32, layers=1, heads=2, kernel=3, dropout=0.0).eval()
    x = torch.randn(1, 16, 50, requires_grad=True)
    net(x, torch.ones(1, 50, dtype=torch.bool))[0, :, 25].square().sum().backward()
    assert x.grad is not None
    assert (x.grad.abs().sum(dim=1) > 0).all()


def test_convnext_reaches_half_its_kernel_by_gradient() -> None:
    torch.manual_seed(0)
    block = ConvNeXtBlock(8, 16, kernel=7)
    x = torch.randn(1, 8, 31, requires_grad=True)
    block(x)[0, :, 15].square().sum().backward()
    assert x.grad is not None
    touched = torch.nonzero(x.grad[0].abs().sum(dim=0)).flatten()
    assert touched.tolist() == list(range(12, 19))


def test_dropout_acts_in_training_only() -> None:
    block = ConvNeXtBlock(8, 16, dropout=0.5)
    x = torch.randn(1, 8, 9)
    assert torch.equal(block.eval()(x), block(x))
    block.train()
    assert not torch.equal(block(x), block(x))
