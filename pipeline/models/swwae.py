"""zhao2016: stacked what-where auto-encoders, from the paper's own notation of a network.

A model's parts are its children (`encoder`, `head`, `decoder`), drawn in this order: without a decoder the
others begin, and stay, as those of the plain convnet.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, relu

from pipeline.models.layers import Conv


@dataclass(frozen=True)
class Pool:
    size: int


@dataclass(frozen=True)
class Full:
    units: int


Layer = Conv | Pool | Full


def parse(notation: str) -> list[Layer]:
    """`(16)5c-(32)3c-2p-10fc`: convolutions of 16 maps by 5x5 and 32 by 3x3, 2x2 pooling, 10 units."""
    layers: list[Layer] = []
    for word in notation.replace(" ", "").split("-"):
        found = re.fullmatch(r"\(([1-9]\d*)\)([1-9]\d*)c|([1-9]\d*)p|([1-9]\d*)fc", word)
        if not found:
            raise ValueError(f"layers {notation!r} has {word!r}; (64)5c, 2p and 10fc are the allowed kinds")
        maps, kernel, size, units = (int(each) if each else 0 for each in found.groups())
        layers.append(Conv(maps, kernel=kernel) if maps else Pool(size) if size else Full(units))
        if maps and kernel % 2 == 0:
            raise ValueError(f"layers {notation!r} has {word!r}; an odd kernel is wanted")
        if not units and any(isinstance(layer, Full) for layer in layers):
            raise ValueError(
                f"layers {notation!r} has {word!r} behind a fully connected one; those come last"
            )
    if not isinstance(layers[0], Conv):
        raise ValueError(f"layers {notation!r} begins without a convolution; begin it as in (64)5c-2p")
    return layers


def narrowed(layers: Sequence[Layer], width: int) -> list[Layer]:
    """The first layer `width` wide where it is wider, the others in proportion."""
    first = layers[0]
    assert isinstance(first, Conv)
    part = min(width, first.channels)

    def fewer(units: int) -> int:
        return max(1, units * part // first.channels)

    return [
        replace(layer, channels=fewer(layer.channels))
        if isinstance(layer, Conv)
        else replace(layer, units=fewer(layer.units))
        if isinstance(layer, Full)
        else layer
        for layer in layers
    ]


def windows(x: Tensor, size: int) -> Tensor:
    """(N, C, H, W) -> (N, C, h, w, size²): the pooling regions; rows that fill none are left out."""
    h, w = x.shape[-2] // size, x.shape[-1] // size
    x = x[..., : h * size, : w * size].reshape(*x.shape[:2], h, size, w, size)
    return x.transpose(3, 4).flatten(-2)


def joined(regions: Tensor, size: int, shape: Sequence[int]) -> Tensor:
    """What `windows` took apart, as (N, C, *shape); 0 where no region was."""
    n, c, h, w, _ = regions.shape
    x = regions.unflatten(-1, (size, size)).transpose(3, 4).reshape(n, c, h * size, w * size)
    return pad(x, (0, shape[1] - w * size, 0, shape[0] - h * size))


# torch's own max-pooling adds up its gradients in no fixed order on a GPU, and its unpooling refuses to run
# deterministically anywhere; over regions that do not overlap, max and scatter give the same values
def hard_pool(x: Tensor, size: int, *, beta: float) -> tuple[Tensor, Tensor]:
    """The maximum of each region, and where in the region it was."""
    what, where = windows(x, size).max(dim=-1)
    return what, where


def hard_unpool(what: Tensor, where: Tensor, size: int, shape: Sequence[int]) -> Tensor:
    regions = what.new_zeros(*what.shape, size**2).scatter(-1, where[..., None], what[..., None])
    return joined(regions, size, shape)


def soft_pool(x: Tensor, size: int, *, beta: float) -> tuple[Tensor, Tensor]:
    """Equations 3 and 4: `where` is (N, C, h, w, 2), x and y from -1 to 1 over the region."""
    z = windows(x, size)
    weight = (beta * z).softmax(dim=-1)
    place = torch.linspace(-1, 1, size, device=x.device, dtype=x.dtype)
    grid = torch.stack([place.repeat(size), place.repeat_interleave(size)], dim=-1)
    return (z * weight).sum(dim=-1), weight @ grid


def soft_unpool(what: Tensor, where: Tensor, size: int, shape: Sequence[int]) -> Tensor:
    """Shared among the four pixels around `where`, as bilinear interpolation weighs them."""
    at = (where + 1) / 2 * (size - 1)
    pixel = torch.arange(size, device=what.device, dtype=what.dtype)
    columns, rows = ((1 - (at[..., i, None] - pixel).abs()).clamp(min=0) for i in (0, 1))
    regions = (rows[..., :, None] * columns[..., None, :]).flatten(-2) * what[..., None]
    return joined(regions, size, shape)


def upsample(what: Tensor, where: Tensor, size: int, shape: Sequence[int]) -> Tensor:
    """`what` on all of its region, for comparison: `where` is not looked at."""
    up = what.repeat_interleave(size, dim=-1).repeat_interleave(size, dim=-2)
    return pad(up, (0, shape[1] - up.shape[-1], 0, shape[0] - up.shape[-2]))


POOLINGS: dict[str, tuple[Callable[..., tuple[Tensor, Tensor]], Callable[..., Tensor]]] = {
    "hard": (hard_pool, hard_unpool),
    "soft": (soft_pool, soft_unpool),
    "upsample": (hard_pool, upsample),
}


class Encoder(nn.Module):
    """Convolutions with ReLU, and pooling that tells `what` from `where`."""

    def __init__(
        self,
        layers: Sequence[Layer],
        *,
        channels: int,
        pooling: str = "hard",
        beta: float = 1.0,
        eps: float | None = None,
    ) -> None:
        super().__init__()
        self.layers = [layer for layer in layers if not isinstance(layer, Full)]
        self.channels, self.pooling, self.beta, self.eps = channels, pooling, beta, eps
        convs = [layer for layer in self.layers if isinstance(layer, Conv)]
        self.widths = [channels, *(layer.channels for layer in convs)]
        self.convs = nn.ModuleList(
            nn.Conv2d(width, layer.channels, layer.kernel, padding=layer.kernel // 2)
            for width, layer in zip(self.widths, convs, strict=False)
        )
        self.norms = nn.ModuleList(norm(layer.channels, eps) for layer in convs)

    def maps(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """The image and every layer's map; and every pooling's `where`."""
        maps, wheres, steps = [x], [], zip(self.convs, self.norms, strict=True)
        pool = POOLINGS[self.pooling][0]
        for layer in self.layers:
            if isinstance(layer, Pool):
                x, where = pool(x, layer.size, beta=self.beta)
                wheres.append(where)
            else:
                conv, normed = next(steps)
                x = relu(normed(conv(x)))
            maps.append(x)
        return maps, wheres

    def forward(self, x: Tensor) -> Tensor:
        return self.maps(x)[0][-1]


def norm(channels: int, eps: float | None) -> nn.Module:
    """BatchNorm, for the networks that have it."""
    return nn.Identity() if eps is None else nn.BatchNorm2d(channels, eps=eps)


class Decoder(nn.Module):
    """The encoder's mirror; a ReLU after every convolution but the last, which draws the image."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.layers, self.pooling = encoder.layers[::-1], encoder.pooling
        widths = encoder.widths[::-1]
        kernels = [layer.kernel for layer in self.layers if isinstance(layer, Conv)]
        self.convs = nn.ModuleList(
            nn.Conv2d(width, below, kernel, padding=kernel // 2)
            for width, below, kernel in zip(widths, widths[1:], kernels, strict=False)
        )
        self.norms = nn.ModuleList(norm(below, encoder.eps) for below in widths[1:-1])
        self.norms.append(nn.Identity())

    def forward(self, maps: list[Tensor], wheres: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """What each convolution saw, and what the decoder makes of it; the image is the last pair."""
        y, pairs, unpool = maps[-1], [], POOLINGS[self.pooling][1]
        steps, places = zip(self.convs, self.norms, strict=True), iter(wheres[::-1])
        for layer, below in zip(self.layers, maps[-2::-1], strict=True):
            if isinstance(layer, Pool):
                y = unpool(y, next(places), layer.size, below.shape[-2:])
                continue
            conv, normed = next(steps)
            y = normed(conv(y))
            y = y if below is maps[0] else relu(y)
            assert y.shape == below.shape
            pairs.append((below, y))
        return pairs
