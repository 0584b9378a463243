"""dong2017, supplement C: a wide residual network as the encoder, with symmetric shortcuts added.

A layer is the first convolution or a block. A block has two convolutions, so that a shortcut from each block
to its mirror is one "every 2 convolutional layers". BatchNorm and ReLU precede convolutions (pre-activation).
"""

from typing import Any

from torch import Tensor, nn
from torch.nn.functional import relu

from pipeline.models.dong import SHORTCUTS, Pairs
from pipeline.models.layers import Conv

FIRST = 16  # channels of the first convolution, for groups of any width


def every_block(depth: int) -> Pairs:
    return [(layer, depth - layer) for layer in range(depth)]


class Block(nn.Module):
    """x + conv(relu(norm(conv(relu(norm(x)))))), with a 1 x 1 convolution for x if the shape changes."""

    def __init__(self, inputs: int, outputs: int, *, stride: int, eps: float, up: bool = False) -> None:
        super().__init__()
        convolution: Any = nn.ConvTranspose2d if up else nn.Conv2d
        self.norms = nn.ModuleList([nn.BatchNorm2d(inputs, eps=eps), nn.BatchNorm2d(outputs, eps=eps)])
        self.convs = nn.ModuleList(
            [
                convolution(inputs, outputs, 3, stride, 1, bias=False),
                convolution(outputs, outputs, 3, 1, 1, bias=False),
            ]
        )
        same = inputs == outputs and stride == 1
        self.around = None if same else convolution(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor, *size: Any) -> Tensor:
        h = relu(self.norms[0](x), inplace=True)
        around = x if self.around is None else self.around(h, *size)
        h = relu(self.norms[1](self.convs[0](h, *size)), inplace=True)
        return around + self.convs[1](h)


class Encoder(nn.Module):
    def __init__(self, *, n: int, blocks: int, channels: int = 3, eps: float) -> None:
        super().__init__()
        self.channels, self.eps = channels, eps
        groups = [
            Conv(n * 2**group, stride=2 if group and not block else 1)
            for group in range(3)
            for block in range(blocks)
        ]
        self.network = [Conv(FIRST), *groups]  # a block is listed by its output
        self.first = nn.Conv2d(channels, FIRST, 3, padding=1, bias=False)
        self.blocks = nn.ModuleList(
            Block(below.channels, layer.channels, stride=layer.stride, eps=eps)
            for below, layer in zip(self.network, groups, strict=False)
        )
        self.norm = nn.BatchNorm2d(groups[-1].channels, eps=eps)

    def maps(self, x: Tensor) -> list[Tensor]:
        """The output of every layer; only the last one passes BatchNorm and ReLU."""
        maps = [self.first(x)]
        for block in self.blocks:
            maps.append(block(maps[-1]))
        return [*maps[:-1], relu(self.norm(maps[-1]), inplace=True)]

    def forward(self, x: Tensor) -> Tensor:
        return self.maps(x)[-1]

    def side(self, side: int) -> int:
        """The side of the last map for images of this side."""
        for layer in self.network:
            side = layer.side(side)
        return side


class Decoder(nn.Module):
    """The encoder's mirror, up to the shape of its first map."""

    def __init__(self, encoder: Encoder, *, pairs: Pairs) -> None:
        super().__init__()
        self.pairs = [pair for pair in pairs if pair[0] > 0]
        mirrored = list(zip(encoder.network, encoder.network[1:], strict=False))[::-1]
        self.blocks = nn.ModuleList(
            Block(layer.channels, below.channels, stride=layer.stride, eps=encoder.eps, up=True)
            for below, layer in mirrored
        )
        self.norm = nn.BatchNorm2d(FIRST, eps=encoder.eps)

    def forward(self, maps: list[Tensor]) -> Tensor:
        y, ends = maps[-1], {layer for _, layer in self.pairs}
        for number, (block, mirror) in enumerate(zip(self.blocks, maps[-2::-1], strict=True), start=1):
            y = block(y, mirror.shape[-2:])
            assert y.shape == mirror.shape
            y = y + mirror if number in ends else y
        return relu(self.norm(y), inplace=True)


class AutoEncoder(nn.Module):
    """From a corrupted image x~ to f(x~)."""

    def __init__(self, encoder: Encoder, *, shortcuts: str) -> None:
        super().__init__()
        depth = len(encoder.network)
        self.pairs = every_block(depth) if shortcuts == "full" else SHORTCUTS[shortcuts](depth)
        self.encoder = encoder
        self.decoder = Decoder(encoder, pairs=self.pairs)
        self.output = nn.ConvTranspose2d(FIRST, encoder.channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.output(self.decoder(self.encoder.maps(x)))
        return x + y if (0, len(self.encoder.network)) in self.pairs else y
