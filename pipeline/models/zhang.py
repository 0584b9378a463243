"""zhang2016: networks whose macro-layers are decoded again; their parts: encoder, head, decoders, lateral."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import conv2d, max_pool2d, relu

from pipeline.models.layers import Classifier as Plain
from pipeline.models.layers import Combinator

Shape = tuple[int, int]


@dataclass(frozen=True)
class Conv:
    channels: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1
    groups: int = 1

    def side(self, side: int) -> int:
        return (side + 2 * self.padding - self.kernel) // self.stride + 1


@dataclass(frozen=True)
class Macro:
    """Convolutions, each with a ReLU, then max-pooling at every second place, or none."""

    convs: tuple[Conv, ...]
    pool: int = 0  # the side of its window
    mirror: tuple[Conv, ...] = ()  # what the decoder mirrors, where it is not the convolutions themselves


def vgg(n: int) -> list[Macro]:
    """Simonyan and Zisserman's model D: 16 layers with the three of the head."""
    channels, depths = (n, 2 * n, 4 * n, 8 * n, 8 * n), (2, 2, 3, 3, 3)
    return [Macro((Conv(width),) * depth, pool=2) for width, depth in zip(channels, depths, strict=True)]


def alexnet(n: int) -> list[Macro]:
    """Krizhevsky et al.'s, without its normalisation of local responses; a macro-layer is one layer."""

    def even(width: float) -> int:  # a half for each of the two groups
        return 2 * max(1, round(width / 2))

    first, second, third = even(n), even(n * 8 / 3), even(n * 4)
    # An 11x11 window at every fourth place is a 5x5 one and a 4x4 one, each at every second: "three
    # deconvolutional layers to inverse conv1"; their kernels are not said.
    mirror = (Conv(first), Conv(first, 5, 2, 0), Conv(first, 4, 2, 0))
    return [
        Macro((Conv(first, 11, 4, 0),), pool=3, mirror=mirror),
        Macro((Conv(second, 5, 1, 2, groups=2),), pool=3),
        Macro((Conv(third),)),
        Macro((Conv(third, groups=2),)),
        Macro((Conv(second, groups=2),), pool=3),
    ]


NETWORKS: dict[str, Callable[[int], list[Macro]]] = {"vgg": vgg, "alexnet": alexnet}


class Switch(NamedTuple):
    """Of a pooling: where it took each value from, None without one; and the (h, w) of what it got."""

    where: Tensor | None
    shape: Shape


def unchanged(x: Tensor) -> Tensor:
    return x


class Encoder(nn.Module):
    """The convolution-pooling macro-layers; pooling rounds sides up, as Caffe does."""

    def __init__(self, macros: Sequence[Macro], *, channels: int = 3) -> None:
        super().__init__()
        self.macros = macros
        self.widths = [channels, *(macro.convs[-1].channels for macro in macros)]
        self.layers = nn.ModuleList(
            nn.ModuleList(
                nn.Conv2d(inputs, conv.channels, conv.kernel, conv.stride, conv.padding, groups=conv.groups)
                for inputs, conv in chained(below, macro.convs)
            )
            for below, macro in zip(self.widths, macros, strict=False)
        )

    def maps(
        self, x: Tensor, disturb: Callable[[Tensor], Tensor] = unchanged
    ) -> tuple[list[Tensor], list[Switch]]:
        """a_0 = x and each macro-layer's output, `disturb`ed before the next sees it; and the switches."""
        maps, switches = [disturb(x)], []
        for macro, layers in zip(self.macros, self.layers, strict=True):
            assert isinstance(layers, nn.ModuleList)
            x = maps[-1]
            for layer in layers:
                x = relu(layer(x))
            shape, where = (x.shape[-2], x.shape[-1]), None
            if macro.pool:
                window = min(macro.pool, *shape)
                x, where = max_pool2d(x, window, 2, ceil_mode=True, return_indices=True)
            maps.append(disturb(x))
            switches.append(Switch(where, shape))
        return maps, switches

    def forward(self, x: Tensor) -> Tensor:
        return self.maps(x)[0][-1]

    def side(self, side: int) -> int:
        """The side of the last map, for images of this side."""
        for macro in self.macros:
            for conv in macro.convs:
                side = conv.side(side)
            if macro.pool:
                side = -(-(side - min(macro.pool, side)) // 2) + 1
        return side


def chained(inputs: int, convs: Sequence[Conv]) -> Iterator[tuple[int, Conv]]:
    """Each convolution with the channels that it gets."""
    return zip([inputs, *(conv.channels for conv in convs)], convs, strict=False)


def known(where: Tensor, shape: Shape) -> Tensor:
    """The places that max-pooling took its values from."""
    return where


def fixed(where: Tensor, shape: Shape) -> Tensor:
    """The bottom-right of each 2x2, which is the middle of an overlapping 3x3; or what of it lies inside."""
    rows, columns = (
        (2 * torch.arange(size, device=where.device) + 1).clamp(max=whole - 1)
        for size, whole in zip(where.shape[-2:], shape, strict=True)
    )
    return (rows[:, None] * shape[1] + columns).expand_as(where)


SWITCHES: dict[str, Callable[[Tensor, Shape], Tensor]] = {"known": known, "fixed": fixed}


def unpool(x: Tensor, where: Tensor, shape: Shape) -> Tensor:
    """Put each value at its switch, 0 elsewhere: (N, C, h, w) -> (N, C, *shape).

    Of windows that overlap, two may have one switch: the greater value stays. The order of the writing
    never counts, so that it is deterministic.
    """
    empty = x.new_zeros(*x.shape[:2], shape[0] * shape[1])
    full = empty.scatter_reduce(2, where.flatten(2), x.flatten(2), "amax", include_self=False)
    return full.view(*x.shape[:2], *shape)


class Head(nn.Sequential):
    """The inner-product layers."""

    def __init__(
        self, encoder: Encoder, *, classes: int, side: int, hidden: Sequence[int], dropout: float
    ) -> None:
        self.shape = (encoder.widths[-1], encoder.side(side), encoder.side(side))
        self.widths = [torch.Size(self.shape).numel(), *hidden, classes]
        units: list[nn.Module] = [nn.Flatten()]
        for inputs, width in zip(self.widths, hidden, strict=False):
            units += [nn.Linear(inputs, width), nn.ReLU(), nn.Dropout(dropout)]
        super().__init__(*units, nn.Linear(self.widths[-2], classes))

    def maps(self, x: Tensor) -> list[Tensor]:
        """What each inner-product layer gives to the next, and the scores."""
        found = []
        for layer in self:
            x = layer(x)
            if isinstance(layer, nn.Dropout):
                found.append(x)
        return [*found, x]

    def everywhere(self, x: Tensor) -> Tensor:
        """The same weights as convolutions, their scores averaged over all places."""
        shape = self.shape
        for layer in self:
            if isinstance(layer, nn.Linear):
                x, shape = conv2d(x, layer.weight.view(-1, *shape), layer.bias), (layer.out_features, 1, 1)
            elif not isinstance(layer, nn.Flatten):
                x = layer(x)
        return x.mean(dim=(2, 3))


class Classifier(Plain):
    encoder: Encoder
    head: Head

    def everywhere(self, x: Tensor) -> Tensor:
        return self.head.everywhere(self.encoder(x))


class Decoders(nn.ModuleList):
    """The macro-layers mirrored, the image's first; then the inner-product layers, where they are decoded.

    A ReLU follows every layer but the image's last.
    """

    def __init__(self, encoder: Encoder, head: Head, *, levels: int) -> None:
        self.mirrored = [macro.mirror or macro.convs for macro in encoder.macros]
        self.shape = head.shape
        layers: list[nn.Module] = [
            nn.ModuleList(
                nn.ConvTranspose2d(c.channels, inputs, c.kernel, c.stride, c.padding, groups=c.groups)
                for inputs, c in reversed([*chained(below, convs)])
            )
            for below, convs in zip(encoder.widths, self.mirrored, strict=False)
        ]
        products = [
            nn.Linear(width, inputs) for inputs, width in zip(head.widths, head.widths[1:], strict=False)
        ]
        super().__init__([*layers, *products][:levels])

    def down(self, level: int, y: Tensor, where: Tensor | None, pooled: Shape, image: Shape) -> Tensor:
        """From a_level, counted from 1, to a_(level - 1), of side `image`; `pooled` is what pooling got."""
        layers = self[level - 1]
        if isinstance(layers, nn.Linear):
            y = relu(layers(y))
            return y.view(-1, *self.shape) if level - 1 == len(self.mirrored) else y
        assert isinstance(layers, nn.ModuleList)
        sizes = [image]
        for conv in self.mirrored[level - 1]:
            sizes.append((conv.side(sizes[-1][0]), conv.side(sizes[-1][1])))
        assert sizes.pop() == pooled, (level, sizes, pooled)
        y = y if where is None else unpool(y, where, pooled)
        for i, layer in enumerate(layers, start=1):
            y = layer(y, output_size=sizes.pop())
            if level > 1 or i < len(layers):
                y = relu(y)
        return y


class Augmented(Classifier):
    """The classifier with decoding pathways; unless `stacked`, each starts from the encoder's own map."""

    def __init__(
        self, encoder: Encoder, head: Head, *, levels: int, top: int, switches: str, stacked: bool
    ) -> None:
        super().__init__(encoder, head)
        self.decoders = Decoders(encoder, head, levels=levels)
        self.top, self.switch, self.stacked = top, SWITCHES[switches], stacked

    def maps(self, x: Tensor) -> tuple[list[Tensor], list[Switch]]:
        """All that is decoded, the inner-product layers' where they are."""
        maps, switches = self.encoder.maps(x)
        if len(self.decoders) > len(switches):
            maps += self.head.maps(maps[-1])
        return maps, switches

    def down(self, level: int, y: Tensor, maps: list[Tensor], switches: list[Switch]) -> Tensor:
        if level > len(switches):
            return self.decoders.down(level, y, None, (1, 1), (1, 1))
        where, shape = switches[level - 1]
        image = (maps[level - 1].shape[-2], maps[level - 1].shape[-1])
        return self.decoders.down(
            level, y, where if where is None else self.switch(where, shape), shape, image
        )

    def restored(self, maps: list[Tensor], switches: list[Switch]) -> list[Tensor]:
        """What is made of a_0, ..., a_(top - 1) again."""
        y, found = maps[self.top], []
        for level in range(self.top, 0, -1):
            y = self.down(level, y if self.stacked else maps[level], maps, switches)
            found.append(y)
        return found[::-1]

    def paths(self, x: Tensor, *generators: Generator) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """The activations, what is made of them again, and what the head classifies."""
        maps, switches = self.maps(x)
        return maps, self.restored(maps, switches), maps[len(switches)]


def deviation(a: Tensor) -> Tensor:
    """Of each image's map (N, 1, 1, 1), which no BatchNorm makes 1 here."""
    return a.detach().std(dim=(1, 2, 3), keepdim=True).clamp(min=1e-6)


class Ladder(Augmented):
    """Rasmus et al. 2015, as Figure 3 draws it: a noisy encoder of the same weights is classified and
    decoded, each of its maps merged with what comes from above; the targets are the clean maps."""

    def __init__(self, encoder: Encoder, head: Head, *, noise: float, **decoding) -> None:
        super().__init__(encoder, head, stacked=True, **decoding)
        self.noise = noise
        self.lateral = nn.ModuleList(Combinator(width) for width in encoder.widths)

    def paths(self, x: Tensor, *generators: Generator) -> tuple[list[Tensor], list[Tensor], Tensor]:
        def noisy(a: Tensor) -> Tensor:
            """By one generator for all images, or by one for each."""
            parts = zip(a.chunk(len(generators)), generators, strict=True)
            drawn = [torch.randn(part.shape, generator=each, device=a.device) for part, each in parts]
            return a + self.noise * deviation(a) * torch.cat(drawn).to(a.dtype)

        def merged(level: int, above: Tensor) -> Tensor:
            scale = deviation(maps[level])
            return scale * self.lateral[level](maps[level] / scale, above / deviation(above))

        clean = self.encoder.maps(x)[0]
        maps, switches = self.encoder.maps(x, noisy)
        y, found = merged(len(switches), maps[-1]), []
        for level in range(len(switches), 0, -1):
            y = merged(level - 1, self.down(level, y, maps, switches))
            found.append(y)
        return clean, found[::-1], maps[-1]


def caffe(error: Tensor) -> Tensor:
    """The sum of squares over 2N, for which the paper's weights are given."""
    return error.square().sum() / (2 * len(error))


def mean(error: Tensor) -> Tensor:
    return error.square().mean()


NORMS: dict[str, Callable[[Tensor], Tensor]] = {"caffe": caffe, "mean": mean}


def mean_weight(weight: float, shape: Sequence[int]) -> float:
    """The weight of a mean-squared error that equals this weight of Caffe's, for maps (C, H, W)."""
    return weight * torch.Size(shape).numel() / 2


# What torchvision's networks see: (RGB / 255 - mean) / std.
TORCHVISION = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def from_torchvision(
    tensors: dict[str, Tensor], model: Classifier, *, mean: Tensor, std: Tensor
) -> dict[str, Tensor]:
    """torchvision's VGG-16, whose layers stand in the same order, under our names; its first layer becomes
    one of images with this mean and deviation, of the 0-255 scale, taken away."""
    own = model.state_dict()
    if [tuple(each.shape) for each in own.values()] != [tuple(each.shape) for each in tensors.values()]:
        raise ValueError(
            "it is not of the network's shape; torchvision's vgg16 goes with network.vgg.n 64, hidden "
            "[4096, 4096], 1000 classes and crop 224"
        )
    named = dict(zip(own, tensors.values(), strict=True))
    weight, bias = list(named)[:2]
    theirs = {name: 255 * torch.tensor(values) for name, values in TORCHVISION.items()}
    shift = (mean.flatten() - theirs["mean"]) / theirs["std"]
    named[bias] = named[bias] + named[weight].sum(dim=(2, 3)) @ shift
    named[weight] = named[weight] * (std.flatten() / theirs["std"]).view(1, -1, 1, 1)
    return named
