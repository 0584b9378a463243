"""zhao2016: stacked what-where auto-encoders, built from the paper's layer notation.

The parts of a model are its children (`encoder`, `head`, `decoder`), initialised in this order, so that
encoder and head start with the weights of the plain convnet.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import conv_transpose2d, max_pool2d, pad, relu

from pipeline.config.layer_notation import Conv, Full, Layer, Pool
from pipeline.models.layers import Classifier


# torch's max-pooling sums gradients in no fixed order on a GPU, and its unpooling has no deterministic
# implementation; gather and scatter by the pooling's indices are deterministic to the bit
def hard_pool(x: Tensor, size: int, *, beta: float) -> tuple[Tensor, Tensor]:
    """The maximum of each region, and its index among all values of the map."""
    places = max_pool2d(x.detach(), size, ceil_mode=True, return_indices=True)[1]
    channels = torch.arange(x.shape[1], device=x.device).view(-1, 1, 1)
    where = flat(places * x.shape[1] + channels)
    return maps_of(flat(x).gather(1, where), x.shape[1], places.shape[-2:]), where


def hard_unpool(what: Tensor, where: Tensor, size: int, shape: Sequence[int]) -> Tensor:
    values = what.new_zeros(len(what), what.shape[1] * shape[0] * shape[1])
    return maps_of(values.scatter_(1, where, flat(what)), what.shape[1], shape)


def flat(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, H * W * C), without a copy, since x is channels-last in memory."""
    return x.permute(0, 2, 3, 1).flatten(1)


def maps_of(values: Tensor, channels: int, shape: Sequence[int]) -> Tensor:
    return values.view(-1, *shape, channels).permute(0, 3, 1, 2)


def windows(x: Tensor, size: int, *, outside: float) -> Tensor:
    """(N, C, H, W) -> (N, C, h, w, size²): regions, padded at the right and lower edges."""
    h, w = (-(-side // size) for side in x.shape[-2:])
    if (h * size, w * size) != x.shape[-2:]:
        x = pad(x, (0, w * size - x.shape[-1], 0, h * size - x.shape[-2]), value=outside)
    return x.reshape(*x.shape[:2], h, size, w, size).transpose(3, 4).flatten(-2)


def joined(regions: Tensor, size: int, shape: Sequence[int]) -> Tensor:
    """Undo `windows`: (N, C, h, w, size²) -> (N, C, *shape)."""
    n, c, h, w, _ = regions.shape
    x = regions.unflatten(-1, (size, size)).transpose(3, 4).reshape(n, c, h * size, w * size)
    return x[..., : shape[0], : shape[1]]


def soft_pool(x: Tensor, size: int, *, beta: float) -> tuple[Tensor, Tensor]:
    """Equations 3 and 4: `where` is (N, C, h, w, 2), x and y from -1 to 1 over the region."""
    x = x.to(torch.promote_types(x.dtype, torch.float32))  # bfloat16 cannot resolve a position to a pixel
    z = windows(x, size, outside=0)
    weight = windows(beta * x, size, outside=-torch.inf).softmax(dim=-1)
    place = torch.linspace(-1, 1, size, device=z.device, dtype=z.dtype)
    grid = torch.stack([place.repeat(size), place.repeat_interleave(size)], dim=-1)
    return (z * weight).sum(dim=-1), (weight[..., None] * grid).sum(dim=-2)


def places_of(where: Tensor, size: int, *, below: Tensor, above: Tensor) -> Tensor:
    """Hard switches of a pooling from `below` to `above`, as soft pooling gives them: (N, C, h, w, 2)."""
    pixel = maps_of(where // above.shape[1], above.shape[1], above.shape[-2:])
    width = below.shape[-1]
    at = torch.stack([pixel % width % size, pixel // width % size], dim=-1)
    return 2 * at / (size - 1) - 1


def soft_unpool(what: Tensor, where: Tensor, size: int, shape: Sequence[int]) -> Tensor:
    """Spread `what` over the four pixels around `where`, weighted as in bilinear interpolation."""
    at = (where + 1) / 2 * (size - 1)
    pixel = torch.arange(size, device=what.device, dtype=what.dtype)
    columns, rows = ((1 - (at[..., i, None] - pixel).abs()).clamp(min=0) for i in (0, 1))
    regions = (rows[..., :, None] * columns[..., None, :]).flatten(-2) * what[..., None]
    return joined(regions, size, shape)


def upsample(what: Tensor, where: Tensor, size: int, shape: Sequence[int]) -> Tensor:
    """Fill each region with its `what` and ignore `where`: the baseline."""
    up = what.repeat_interleave(size, dim=-1).repeat_interleave(size, dim=-2)
    return up[..., : shape[0], : shape[1]]


POOLINGS: dict[str, tuple[Callable[..., tuple[Tensor, Tensor]], Callable[..., Tensor]]] = {
    "hard": (hard_pool, hard_unpool),
    "soft": (soft_pool, soft_unpool),
    "upsample": (hard_pool, upsample),
}


class Encoder(nn.Module):
    """Convolutions with ReLU, and pooling that separates `what` from `where`."""

    def __init__(
        self,
        layers: Sequence[Layer],
        *,
        channels: int,
        pooling: str = "hard",
        beta: float = 0.0,
        eps: float | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.layers = [layer for layer in layers if not isinstance(layer, Full)]
        self.pooling, self.beta, self.eps = pooling, beta, eps
        convs = [layer for layer in self.layers if isinstance(layer, Conv)]
        self.widths = [channels, *(layer.maps for layer in convs)]
        self.convs = nn.ModuleList(
            nn.Conv2d(width, layer.maps, layer.kernel, padding=layer.kernel // 2)
            for width, layer in zip(self.widths, convs, strict=False)
        )
        self.norms = nn.ModuleList(norm(layer.maps, eps) for layer in convs)
        self.dropout = nn.Dropout(dropout)

    def maps(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """The image and the map of every layer; and the `where` of every pooling."""
        maps, wheres, steps = [x], [], zip(self.convs, self.norms, strict=True)
        pool = POOLINGS[self.pooling][0]
        for layer in self.layers:
            if isinstance(layer, Pool):
                x, where = pool(x, layer.size, beta=self.beta)
                wheres.append(where)
            else:
                conv, normed = next(steps)
                x = self.dropout(relu(normed(conv(x))))
            maps.append(x)
        return maps, wheres

    def forward(self, x: Tensor) -> Tensor:
        return self.maps(x)[0][-1]

    def hidden(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Select the maps of convolutions from the result of `maps`."""
        return [x for x, layer in zip(maps[1:], self.layers, strict=True) if isinstance(layer, Conv)]

    def side(self, side: int) -> int:
        """The side of the last map for images of this side."""
        for layer in self.layers:
            side = -(-side // layer.size) if isinstance(layer, Pool) else side
        return side


def norm(channels: int, eps: float | None) -> nn.Module:
    """BatchNorm, or the identity for networks without it."""
    return nn.Identity() if eps is None else nn.BatchNorm2d(channels, eps=eps)


class ToImage(nn.Conv2d):
    """A convolution to few channels, computed as the transposed one.

    Torch takes a fifth of the time for its gradients on a CPU: a sixth of a training's time on MNIST.
    """

    def forward(self, x: Tensor) -> Tensor:
        assert isinstance(self.padding, tuple)
        padding = [side - 1 - below for side, below in zip(self.kernel_size, self.padding, strict=True)]
        return conv_transpose2d(x, self.weight.transpose(0, 1).flip(2, 3), self.bias, padding=padding)


class Decoder(nn.Module):
    """The encoder's mirror; a ReLU after every convolution but the last, which outputs the image."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.layers, self.pooling = encoder.layers[::-1], encoder.pooling
        widths = encoder.widths[::-1]
        kernels = [layer.kernel for layer in self.layers if isinstance(layer, Conv)]
        types = [*[nn.Conv2d] * (len(kernels) - 1), ToImage]
        self.convs = nn.ModuleList(
            of(width, below, kernel, padding=kernel // 2)
            for of, width, below, kernel in zip(types, widths[:-1], widths[1:], kernels, strict=True)
        )
        self.norms = nn.ModuleList(norm(below, encoder.eps) for below in widths[1:-1])
        self.norms.append(nn.Identity())

    def forward(self, maps: Sequence[Tensor], wheres: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Pairs of an encoder convolution's input and its reconstruction; the image comes last."""
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


class Head(nn.Sequential):
    """Fully connected layers on the last map, each after dropout, with ReLUs between them."""

    def __init__(self, layers: Sequence[Layer], encoder: Encoder, *, side: int, dropout: float) -> None:
        inputs, parts = encoder.widths[-1] * encoder.side(side) ** 2, list[nn.Module]([nn.Flatten()])
        for layer in layers:
            if isinstance(layer, Full):
                parts += [nn.Dropout(dropout), nn.Linear(inputs, layer.units), nn.ReLU()]
                inputs = layer.units
        super().__init__(*(parts[:-1] if len(parts) > 1 else parts))


class AutoEncoder(Classifier):
    """The convnet with a decoder that mirrors its encoder."""

    encoder: Encoder

    def __init__(self, encoder: Encoder, head: Head) -> None:
        super().__init__(encoder, head)
        self.decoder = Decoder(encoder)

    def restored(self, x: Tensor) -> Tensor:
        return self.decoder(*self.encoder.maps(x))[-1][1]
