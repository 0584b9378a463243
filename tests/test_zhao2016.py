"""Stacked what-where auto-encoders: notation, pooling by what and where, the mirrored decoder."""

import pytest
import torch
from torch import nn

from pipeline.models import swwae
from pipeline.models.layers import Conv
from pipeline.models.swwae import Full, Pool

MNIST = "(64)5c-2p-(64)3c-2p-(64)3c-2p-10fc"
STL = (
    "(64) 3c-4p-(64) 3c-3p-(128) 3c-(128) 3c-2p-(256) 3c-(256) 3c-(256) 3c-(512) 3c-(512) 3c-(512) 3c-2p-10fc"
)


def drawn(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_the_papers_notation_is_read():
    conv = Conv(64, kernel=3)
    assert swwae.parse(MNIST) == [Conv(64, kernel=5), Pool(2), conv, Pool(2), conv, Pool(2), Full(10)]
    assert [each.size for each in swwae.parse(STL) if isinstance(each, Pool)] == [4, 3, 2, 2]


@pytest.mark.parametrize("slip", ["(64)5c-2q", "", "2p-(64)3c", "(64)4c", "(0)3c", "(64)3c-10fc-2p"])
def test_what_is_no_notation_is_refused(slip):
    with pytest.raises(ValueError, match="layers"):
        swwae.parse(slip)


def test_a_narrower_network_keeps_its_proportions():
    assert swwae.narrowed(swwae.parse("(128)5c-2p-(256)3c"), 12) == [Conv(12, kernel=5), Pool(2), Conv(24)]
    assert swwae.narrowed(swwae.parse(MNIST), 1000) == swwae.parse(MNIST)


@pytest.mark.parametrize("size", [2, 3, 4, 16])
def test_hard_pooling_is_torchs_own_also_where_the_side_is_no_multiple(size):
    x = drawn(2, 3, 17, 17)
    what, where = swwae.hard_pool(x, size, beta=1.0)
    expected, switches = nn.functional.max_pool2d(x, size, return_indices=True)
    assert torch.equal(what, expected)
    unpooled = nn.functional.max_unpool2d(expected, switches, size, output_size=x.shape)
    assert torch.equal(swwae.hard_unpool(what, where, size, (17, 17)), unpooled)


def test_pool_and_unpool_are_inverse_to_each_other_on_the_maxima():
    what, where = swwae.hard_pool(drawn(2, 3, 8, 8).abs(), 4, beta=1.0)
    again = swwae.hard_pool(swwae.hard_unpool(what, where, 4, (8, 8)), 4, beta=1.0)
    assert torch.equal(again[0], what)
    assert torch.equal(again[1], where)


def test_a_large_beta_is_the_maximum_and_its_place_and_a_small_one_the_mean():
    x = drawn(1, 2, 8, 8)
    hard, soft = swwae.hard_pool(x, 4, beta=0), swwae.soft_pool(x, 4, beta=1e4)
    assert torch.allclose(soft[0], hard[0])
    place = torch.stack([hard[1] % 4, hard[1] // 4], dim=-1).double() * 2 / 3 - 1  # x, then y
    assert torch.allclose(soft[1], place)
    expected = swwae.hard_unpool(*hard, 4, (8, 8))
    assert torch.allclose(swwae.soft_unpool(*soft, 4, (8, 8)), expected, atol=1e-6)
    assert torch.allclose(swwae.soft_pool(x, 4, beta=0)[0], nn.functional.avg_pool2d(x, 4))


def test_soft_pooling_has_the_gradients_that_differences_give():
    x = drawn(1, 2, 6, 6).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: swwae.soft_pool(x, 3, beta=2.0), x)
    assert torch.autograd.gradcheck(
        lambda x: swwae.soft_unpool(*swwae.soft_pool(x, 3, beta=2.0), 3, (6, 6)), x
    )


def test_upsampling_copies_what_over_its_region():
    what = drawn(1, 1, 2, 2)
    assert torch.equal(swwae.upsample(what, what, 3, (6, 6)), nn.functional.interpolate(what, scale_factor=3))


@pytest.mark.parametrize("pooling", swwae.POOLINGS)
def test_every_convolutions_input_is_reconstructed_deterministically(pooling):
    torch.use_deterministic_algorithms(True)
    try:
        layers = swwae.narrowed(swwae.parse(STL), 4)
        encoder = swwae.Encoder(layers, channels=3, pooling=pooling, beta=100.0, eps=1e-5)
        decoder = swwae.Decoder(encoder)
        x = torch.randn(2, 3, 50, 50)
        pairs = decoder(*encoder.maps(x))
        assert len(pairs) == 10
        assert pairs[-1][0] is x
        assert all(below.shape == y.shape for below, y in pairs)
        sum((below - y).square().mean() for below, y in pairs).backward()
        assert all(each.grad is not None for each in (*encoder.parameters(), *decoder.parameters()))
    finally:
        torch.use_deterministic_algorithms(False)
