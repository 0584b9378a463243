"""zhang2016: decoding pathways beside a classifier; their parts are decoders and lateral."""

from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import relu

from pipeline.models.classifiers import Classifier, Encoder, Head, Shape, Switch, chained
from pipeline.models.layers import Combinator


def known(where: Tensor, shape: Shape) -> Tensor:
    """The indices of the maxima."""
    return where


def fixed(where: Tensor, shape: Shape) -> Tensor:
    """The bottom right of each 2x2 window, which is the middle of an overlapping 3x3, clamped to the map."""
    rows, columns = (
        (2 * torch.arange(size, device=where.device) + 1).clamp(max=whole - 1)
        for size, whole in zip(where.shape[-2:], shape, strict=True)
    )
    return (rows[:, None] * shape[1] + columns).expand_as(where)


SWITCHES: dict[str, Callable[[Tensor, Shape], Tensor]] = {"known": known, "fixed": fixed}


def unpool(x: Tensor, where: Tensor, shape: Shape) -> Tensor:
    """Put each value at its switch, 0 elsewhere: (N, C, h, w) -> (N, C, *shape).

    Overlapping windows may share a switch: the greater value stays, so that the order of writes does
    not change the result.
    """
    empty = x.new_zeros(*x.shape[:2], shape[0] * shape[1])
    full = empty.scatter_reduce(2, where.flatten(2), x.flatten(2), "amax", include_self=False)
    return full.view(*x.shape[:2], *shape)


class Decoders(nn.ModuleList):
    """Mirrors of the macro-layers, from the image up; then of the inner-product layers that are decoded.

    A ReLU follows every layer but the one that outputs the image.
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
        """Decode a_level (from 1) to a_(level - 1), of size `image`; `pooled` is the size before pooling."""
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
    """The classifier with decoding pathways; unless `stacked`, each level decodes the encoder's map."""

    def __init__(
        self, encoder: Encoder, head: Head, *, levels: int, top: int, switches: str, stacked: bool
    ) -> None:
        super().__init__(encoder, head)
        self.decoders = Decoders(encoder, head, levels=levels)
        self.top, self.switch, self.stacked = top, SWITCHES[switches], stacked

    def maps(self, x: Tensor) -> tuple[list[Tensor], list[Switch]]:
        """The maps that are decoded, with those of the inner-product layers if need be; and the switches."""
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
        """Reconstructions of a_0, ..., a_(top - 1)."""
        y, reconstructions = maps[self.top], []
        for level in range(self.top, 0, -1):
            y = self.down(level, y if self.stacked else maps[level], maps, switches)
            reconstructions.append(y)
        return reconstructions[::-1]

    def paths(self, x: Tensor, *generators: Generator) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """The activations, their reconstructions, and the input of the head."""
        maps, switches = self.maps(x)
        return maps, self.restored(maps, switches), maps[len(switches)]


def deviation(a: Tensor) -> Tensor:
    """Standard deviation of each image's map (N, 1, 1, 1): no BatchNorm here makes it 1."""
    return a.detach().std(dim=(1, 2, 3), keepdim=True).clamp(min=1e-6)


class Ladder(Augmented):
    """Rasmus et al. 2015, as in Figure 3: a noisy pass through the encoder is classified and decoded, each of
    its maps merged with the decoded map above; the targets are the maps of a clean pass."""

    def __init__(self, encoder: Encoder, head: Head, *, noise: float, **decoding) -> None:
        super().__init__(encoder, head, stacked=True, **decoding)
        self.noise = noise
        self.lateral = nn.ModuleList(Combinator(width) for width in encoder.widths)

    def paths(self, x: Tensor, *generators: Generator) -> tuple[list[Tensor], list[Tensor], Tensor]:
        def noisy(a: Tensor) -> Tensor:
            """Add noise from one generator for the batch, or from one per image."""
            parts = zip(a.chunk(len(generators)), generators, strict=True)
            drawn = [torch.randn(part.shape, generator=source, device=a.device) for part, source in parts]
            return a + self.noise * deviation(a) * torch.cat(drawn).to(a.dtype)

        def merged(level: int, above: Tensor) -> Tensor:
            scale = deviation(maps[level])
            return scale * self.lateral[level](maps[level] / scale, above / deviation(above))

        clean = self.encoder.maps(x)[0]
        maps, switches = self.encoder.maps(x, noisy)
        y, reconstructions = merged(len(switches), maps[-1]), []
        for level in range(len(switches), 0, -1):
            y = merged(level - 1, self.down(level, y, maps, switches))
            reconstructions.append(y)
        return clean, reconstructions[::-1], maps[-1]


def caffe(error: Tensor) -> Tensor:
    """The sum of squares over 2N, Caffe's Euclidean loss: the paper's loss weights refer to it."""
    return error.square().sum() / (2 * len(error))


def mean(error: Tensor) -> Tensor:
    return error.square().mean()


NORMS: dict[str, Callable[[Tensor], Tensor]] = {"caffe": caffe, "mean": mean}


def mean_weight(weight: float, shape: Sequence[int]) -> float:
    """Convert a weight of Caffe's loss to that of the mean squared error, for maps (C, H, W)."""
    return weight * torch.Size(shape).numel() / 2
