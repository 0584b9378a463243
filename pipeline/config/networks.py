"""Options of networks, one record a kind; scales cap `width`."""

from dataclasses import dataclass, replace
from typing import Literal, Self

from pipeline.config import layer_notation
from pipeline.config.typed import Positive


@dataclass(frozen=True, kw_only=True)
class Network2:
    n: Positive
    activation: Literal["post", "pre"] = "post"  # shortcuts carry a layer's output, or its pre-activation

    @property
    def width(self) -> int:
        """Channels of the first layer, capped by the scale."""
        return self.n

    def narrowed(self, width: int) -> Self:
        return replace(self, n=width)


@dataclass(frozen=True, kw_only=True)
class Network1(Network2):
    m: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Convolutions with scaled hyperbolic tangents and max-pooling; lists have one entry per layer."""

    maps: tuple[Positive, ...]
    kernels: tuple[Positive, ...]
    pools: tuple[Positive, ...]  # 1: none
    tanh: tuple[float, float] = (1.7159, 2 / 3)  # a tanh(b x), LeCun's constants
    full: bool = False  # full convolutions, decoded by valid ones
    whole: bool = False  # no scale narrows it, since a figure shows its filters

    def __post_init__(self) -> None:
        if not len(self.maps) == len(self.kernels) == len(self.pools) > 0:
            raise ValueError("'maps', 'kernels' and 'pools' need one entry per layer, and at least one layer")

    @property
    def width(self) -> int:
        return self.maps[0]

    def narrowed(self, width: int) -> Self:
        if self.whole:
            return self
        return replace(self, maps=tuple(max(1, maps * width // self.width) for maps in self.maps))


@dataclass(frozen=True, kw_only=True)
class WhatWhere:
    """A convnet in zhao2016's notation, whose pooling outputs the maximum (what) and its position (where)."""

    layers: str  # (64)5c-2p-10fc: 64 maps by 5x5, 2x2 pooling, 10 units
    pooling: Literal["hard", "soft", "upsample"] = "hard"
    beta: float = 0.0  # of soft pooling; 0 averages
    norm: bool = False  # BatchNorm behind every convolution

    def __post_init__(self) -> None:
        layer_notation.parse(self.layers)
        if self.beta < 0 or bool(self.beta) > (self.pooling == "soft"):
            raise ValueError(f"beta is {self.beta}; expected at least 0, and 0 unless 'pooling: soft'")

    @property
    def width(self) -> int:
        return layer_notation.width(layer_notation.parse(self.layers))

    @property
    def classes(self) -> int | None:
        """Units of the last layer if it is fully connected."""
        last = layer_notation.parse(self.layers)[-1]
        return last.units if isinstance(last, layer_notation.Full) else None

    def narrowed(self, width: int) -> Self:
        layers = layer_notation.narrowed(layer_notation.parse(self.layers), width)
        return replace(self, layers=layer_notation.written(layers))


@dataclass(frozen=True, kw_only=True)
class WideResnet:
    """A convolution and three groups of residual blocks, of n, 2n and 4n channels."""

    n: Positive
    blocks: Positive  # in each group

    @property
    def width(self) -> int:
        return self.n

    def narrowed(self, width: int) -> Self:
        """Reduce blocks in proportion, too: depth dominates the cost."""
        return replace(self, n=width, blocks=max(1, self.blocks * width // self.n))


@dataclass(frozen=True, kw_only=True)
class Vgg:
    """The 16-layer VGG as published (n = 64): with biases and pooling, without BatchNorm."""

    n: Positive
    hidden: tuple[int, ...]  # inner-product layers
    dropout: float

    @property
    def levels(self) -> int:
        """Number of macro-layers that can be decoded: inner-product layers cannot."""
        return 5

    @property
    def width(self) -> int:
        return self.n

    def narrowed(self, width: int) -> Self:
        return replace(self, n=width, hidden=tuple(max(1, units * width // self.n) for units in self.hidden))


@dataclass(frozen=True, kw_only=True)
class AlexNet(Vgg):
    """Krizhevsky et al.'s network (n = 96) without local response normalisation."""

    @property
    def levels(self) -> int:
        """Here inner-product layers can be decoded, too."""
        return 5 + len(self.hidden) + 1


NETWORKS = {
    "network-1": Network1,
    "network-2": Network2,
    "all-cnn-c": Network2,
    "strided-alexnet": Network2,
    "wide-resnet": WideResnet,
    "stack": Stack,
    "what-where": WhatWhere,
    "vgg": Vgg,
    "alexnet": AlexNet,
}
