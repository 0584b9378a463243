"""zhao2016's notation of networks: `(16)5c-(32)3c-2p-10fc`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Conv:
    maps: int
    kernel: int

    def __str__(self) -> str:
        return f"({self.maps}){self.kernel}c"


@dataclass(frozen=True)
class Pool:
    size: int

    def __str__(self) -> str:
        return f"{self.size}p"


@dataclass(frozen=True)
class Full:
    units: int

    def __str__(self) -> str:
        return f"{self.units}fc"


Layer = Conv | Pool | Full


def parse(notation: str) -> list[Layer]:
    """`(16)5c-(32)3c-2p-10fc`: convolutions of 16 maps by 5x5 and 32 by 3x3, 2x2 pooling, 10 units."""
    layers: list[Layer] = []
    for word in notation.replace(" ", "").split("-"):
        match = re.fullmatch(r"\(([1-9]\d*)\)([1-9]\d*)c|([1-9]\d*)p|([1-9]\d*)fc", word)
        if not match:
            raise ValueError(f"layers {notation!r} has {word!r}; (64)5c, 2p and 10fc are the allowed kinds")
        maps, kernel, size, units = (int(group) if group else 0 for group in match.groups())
        if maps and kernel % 2 == 0:
            raise ValueError(f"layers {notation!r} has {word!r}; expected an odd kernel")
        if not units and layers and isinstance(layers[-1], Full):
            raise ValueError(
                f"layers {notation!r} has {word!r} behind a fully connected one; those come last"
            )
        layers.append(Conv(maps, kernel) if maps else Pool(size) if size else Full(units))
    if not isinstance(layers[0], Conv):
        raise ValueError(f"layers {notation!r} begins without a convolution; begin it as in (64)5c-2p")
    return layers


def written(layers: Sequence[Layer]) -> str:
    return "-".join(map(str, layers))


def width(layers: Sequence[Layer]) -> int:
    first = layers[0]
    assert isinstance(first, Conv)
    return first.maps


def narrowed(layers: Sequence[Layer], most: int) -> list[Layer]:
    """Narrow the first layer to `most` maps, the others in proportion, but not a last layer of classes."""

    def fewer(layer: Layer) -> Layer:
        if isinstance(layer, Conv):
            return replace(layer, maps=max(1, layer.maps * most // width(layers)))
        if isinstance(layer, Full):
            return replace(layer, units=max(1, layer.units * most // width(layers)))
        return layer

    classes = [layers[-1]] if isinstance(layers[-1], Full) else []
    return [*map(fewer, layers[: len(layers) - len(classes)]), *classes]
