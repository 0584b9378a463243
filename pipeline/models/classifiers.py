"""Classifiers of macro-layers (VGG-16, AlexNet), as zhang2016 uses them; their parts are encoder and head."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, max_pool2d, relu

from pipeline.models.layers import Classifier as Plain

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
    """Convolutions, each with a ReLU, then max-pooling with stride 2, or none."""

    convs: tuple[Conv, ...]
    pool: int = 0  # side of the pooling window; 0: no pooling
    mirror: tuple[Conv, ...] = ()  # what the decoder mirrors in place of `convs`


def vgg(n: int) -> list[Macro]:
    """Simonyan and Zisserman's model D (VGG-16): 13 convolutions; the head has the other three layers."""
    channels, depths = (n, 2 * n, 4 * n, 8 * n, 8 * n), (2, 2, 3, 3, 3)
    return [Macro((Conv(width),) * depth, pool=2) for width, depth in zip(channels, depths, strict=True)]


def alexnet(n: int) -> list[Macro]:
    """Krizhevsky et al.'s network without local response normalisation; a macro-layer is one layer."""

    def even(width: float) -> int:  # divisible between the two groups
        return 2 * max(1, round(width / 2))

    first, second, third = even(n), even(n * 8 / 3), even(n * 4)
    # "three deconvolutional layers to inverse conv1", whose kernels the paper does not give: a 5x5 and a 4x4
    # convolution of stride 2 have the receptive field and the stride of one 11x11 convolution of stride 4.
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
    """The indices of a pooling's maxima, None without pooling; and the (h, w) of its input."""

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
        """a_0 = x and the output of each macro-layer, all passed through `disturb`; and the switches."""
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
        """The side of the last map for images of this side."""
        for macro in self.macros:
            for conv in macro.convs:
                side = conv.side(side)
            if macro.pool:
                side = -(-(side - min(macro.pool, side)) // 2) + 1
        return side


def chained(inputs: int, convs: Sequence[Conv]) -> Iterator[tuple[int, Conv]]:
    """Pairs of a convolution's input channels and the convolution."""
    return zip([inputs, *(conv.channels for conv in convs)], convs, strict=False)


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
        """The output of each hidden layer after dropout, and the scores."""
        outputs = []
        for layer in self:
            x = layer(x)
            if isinstance(layer, nn.Dropout):
                outputs.append(x)
        return [*outputs, x]

    def everywhere(self, x: Tensor) -> Tensor:
        """Apply the weights as convolutions and average the scores over all positions."""
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


# torchvision's networks take (RGB / 255 - mean) / std.
TORCHVISION = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def from_torchvision(
    tensors: dict[str, Tensor], model: Classifier, *, mean: Tensor, std: Tensor
) -> dict[str, Tensor]:
    """Rename the tensors of torchvision's VGG-16, whose layers have the same order as ours, and fold our
    normalisation by `mean` and `std` (0-255 scale) into its first layer."""
    ours = model.state_dict()
    if [tuple(x.shape) for x in ours.values()] != [tuple(x.shape) for x in tensors.values()]:
        raise ValueError(
            "its tensors differ from the network in shape; torchvision's vgg16 needs network.vgg.n 64, "
            "hidden [4096, 4096], 1000 classes and crop 224"
        )
    named = dict(zip(ours, tensors.values(), strict=True))
    weight, bias = list(named)[:2]
    theirs = {name: 255 * torch.tensor(values) for name, values in TORCHVISION.items()}
    shift = (mean.flatten() - theirs["mean"]) / theirs["std"]
    named[bias] = named[bias] + named[weight].sum(dim=(2, 3)) @ shift
    named[weight] = named[weight] * (std.flatten() / theirs["std"]).view(1, -1, 1, 1)
    return named
