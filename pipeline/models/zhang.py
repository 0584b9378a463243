"""zhang2016: a 16-layer VGG whose macro-layers are decoded again; its parts: encoder, head, decoders."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, max_pool2d, relu

DEPTHS = (2, 2, 3, 3, 3)  # convolutions of VGG-16's macro-layers
FACTORS = (1, 2, 4, 8, 8)  # their channels, in those of the first

Shape = tuple[int, int]


class Encoder(nn.Module):
    """Five macro-layers: some 3x3 convolutions, then max-pooling; rounded up, as Caffe does."""

    def __init__(self, *, n: int, channels: int = 3) -> None:
        super().__init__()
        self.widths = [channels, *(n * factor for factor in FACTORS)]
        self.macros = nn.ModuleList(
            nn.ModuleList(nn.Conv2d(below if i == 0 else width, width, 3, padding=1) for i in range(depth))
            for below, width, depth in zip(self.widths, self.widths[1:], DEPTHS, strict=False)
        )

    def maps(self, x: Tensor) -> tuple[list[Tensor], list[tuple[Tensor, Shape]]]:
        """a_0 = x and every pooled map; each pooling's switches, and the (h, w) of what it pooled."""
        maps, switches = [x], []
        for macro in self.macros:
            assert isinstance(macro, nn.ModuleList)
            for conv in macro:
                x = relu(conv(x))
            shape = (x.shape[-2], x.shape[-1])
            x, where = max_pool2d(x, 2, ceil_mode=True, return_indices=True)
            maps.append(x)
            switches.append((where, shape))
        return maps, switches

    def forward(self, x: Tensor) -> Tensor:
        return self.maps(x)[0][-1]

    def side(self, side: int) -> int:
        for _ in self.macros:
            side = -(-side // 2)
        return side


def known(where: Tensor, shape: Shape) -> Tensor:
    """The places that max-pooling took its values from."""
    return where


def fixed(where: Tensor, shape: Shape) -> Tensor:
    """The bottom-right of each 2x2, or what of it lies inside."""
    rows, columns = (
        (2 * torch.arange(size, device=where.device) + 1).clamp(max=whole - 1)
        for size, whole in zip(where.shape[-2:], shape, strict=True)
    )
    return (rows[:, None] * shape[1] + columns).expand_as(where)


SWITCHES: dict[str, Callable[[Tensor, Shape], Tensor]] = {"known": known, "fixed": fixed}


def unpool(x: Tensor, where: Tensor, shape: Shape) -> Tensor:
    """Put each value at its switch, 0 elsewhere: (N, C, h, w) -> (N, C, *shape); deterministic."""
    empty = x.new_zeros(*x.shape[:2], shape[0] * shape[1])
    return empty.scatter(2, where.flatten(2), x.flatten(2)).view(*x.shape[:2], *shape)


class Decoders(nn.ModuleList):
    """The macro-layers mirrored, from the image's upwards; a ReLU after every layer but the image's."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__(
            nn.ModuleList(
                nn.ConvTranspose2d(width, below if i == depth - 1 else width, 3, padding=1)
                for i in range(depth)
            )
            for below, width, depth in zip(encoder.widths, encoder.widths[1:], DEPTHS, strict=False)
        )

    def down(self, level: int, y: Tensor, where: Tensor, shape: Shape) -> Tensor:
        """From a_level, counted from 1, to a_(level - 1)."""
        layers = self[level - 1]
        assert isinstance(layers, nn.ModuleList)
        y = unpool(y, where, shape)
        for i, layer in enumerate(layers, start=1):
            y = layer(y)
            if level > 1 or i < len(layers):
                y = relu(y)
        return y


class Head(nn.Sequential):
    """VGG's inner-product layers."""

    def __init__(
        self, encoder: Encoder, *, classes: int, side: int, hidden: Sequence[int], dropout: float
    ) -> None:
        self.shape = (encoder.widths[-1], encoder.side(side), encoder.side(side))
        inputs = torch.Size(self.shape).numel()
        units: list[nn.Module] = [nn.Flatten()]
        for width in hidden:
            units += [nn.Linear(inputs, width), nn.ReLU(), nn.Dropout(dropout)]
            inputs = width
        super().__init__(*units, nn.Linear(inputs, classes))

    def everywhere(self, x: Tensor) -> Tensor:
        """The same weights as convolutions, their scores averaged over all places."""
        shape = self.shape
        for layer in self:
            if isinstance(layer, nn.Linear):
                x, shape = conv2d(x, layer.weight.view(-1, *shape), layer.bias), (layer.out_features, 1, 1)
            elif not isinstance(layer, nn.Flatten):
                x = layer(x)
        return x.mean(dim=(2, 3))


class Classifier(nn.Module):
    def __init__(
        self, encoder: Encoder, *, classes: int, side: int, hidden: Sequence[int], dropout: float
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = Head(encoder, classes=classes, side=side, hidden=hidden, dropout=dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x))

    def everywhere(self, x: Tensor) -> Tensor:
        return self.head.everywhere(self.encoder(x))


class Augmented(Classifier):
    """The classifier with decoding pathways; without `stacked`, each starts from the encoder's own map."""

    def __init__(self, encoder: Encoder, *, switches: str, stacked: bool, **head) -> None:
        super().__init__(encoder, **head)
        self.decoders = Decoders(encoder)
        self.switch, self.stacked = SWITCHES[switches], stacked

    def restored(self, maps: list[Tensor], switches: list[tuple[Tensor, Shape]]) -> list[Tensor]:
        """What is made of a_0, ..., a_4 again."""
        y, found = maps[-1], []
        for level in range(len(switches), 0, -1):
            where, shape = switches[level - 1]
            y = self.decoders.down(
                level, y if self.stacked else maps[level], self.switch(where, shape), shape
            )
            found.append(y)
        return found[::-1]

    def image_from(self, level: int, maps: list[Tensor], switches: list[tuple[Tensor, Shape]]) -> Tensor:
        """The image as this level's map alone gives it back."""
        y = maps[level]
        for number in range(level, 0, -1):
            where, shape = switches[number - 1]
            y = self.decoders.down(number, y, self.switch(where, shape), shape)
        return y


def caffe(error: Tensor) -> Tensor:
    """The sum of squares over 2N, for which the paper's weights are given."""
    return error.square().sum() / (2 * len(error))


def mean(error: Tensor) -> Tensor:
    return error.square().mean()


NORMS: dict[str, Callable[[Tensor], Tensor]] = {"caffe": caffe, "mean": mean}


def mean_weight(weight: float, shape: Sequence[int]) -> float:
    """The weight of a mean-squared error that equals this weight of Caffe's, for maps (C, H, W)."""
    return weight * torch.Size(shape).numel() / 2


def from_torchvision(tensors: dict[str, Tensor], model: Classifier) -> dict[str, Tensor]:
    """torchvision's VGG-16, whose layers stand in the same order, under our names."""
    own = {name: each for name, each in model.state_dict().items() if not name.startswith("decoders.")}
    if [tuple(each.shape) for each in own.values()] != [tuple(each.shape) for each in tensors.values()]:
        raise ValueError(
            "it is not the network's shape; torchvision's vgg16 goes with network.vgg.n 64, "
            "objective.classify.hidden [4096, 4096], 1000 classes, crop 224"
        )
    return dict(zip(own, tensors.values(), strict=True))
