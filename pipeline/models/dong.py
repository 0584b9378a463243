"""dong2016 and dong2017: symmetrically connected auto-encoders, and networks on their encoders.

The parts of a model are its children (`encoder`, `decoder`, `output`, `head`), saved and loaded by name.
"""

from collections.abc import Callable, Sequence
from typing import Literal

from torch import Tensor, nn
from torch.nn.functional import relu

from pipeline.models.layers import Conv


def block(channels: int, layers: int) -> list[Conv]:
    """`layers` convolutions; the last one halves the resolution."""
    return [Conv(channels)] * (layers - 1) + [Conv(channels, stride=2)] if layers else []


def network_1(*, n: int, m: Sequence[int]) -> list[Conv]:
    """For CIFAR and STL-10: block k has m_k convolutions of 2^(k-1) n channels."""
    return [layer for k, layers in enumerate(m) for layer in block(2**k * n, layers)]


def network_2(*, n: int) -> list[Conv]:
    """For PASCAL VOC (dong2017's Network-3): at n = 64, VGG-16's 13 convolutions without its pooling."""
    return block(n, 2) + block(2 * n, 2) + block(4 * n, 3) + block(8 * n, 3) + block(8 * n, 3)


def all_cnn_c(*, n: int) -> list[Conv]:
    """dong2017's Network-2, n = 96, for CIFAR-10 with 4,000 labels; its last 1x1 convolution is the head."""
    return block(n, 3) + block(2 * n, 3) + [Conv(2 * n), Conv(2 * n, kernel=1)]


def strided_alexnet(*, n: int) -> list[Conv]:
    """AlexNet's five convolutions, n = 96; stride replaces its pooling, as Network-2 replaces VGG-16's."""
    second, third = round(n * 8 / 3), 4 * n
    return [
        Conv(n, kernel=11, stride=8),  # 4, and 2 of the pooling
        Conv(second, kernel=5, stride=2),
        Conv(third),
        Conv(third),
        Conv(second, stride=2),
    ]


NETWORKS: dict[str, Callable[..., list[Conv]]] = {
    "network-1": network_1,
    "network-2": network_2,
    "all-cnn-c": all_cnn_c,
    "strided-alexnet": strided_alexnet,
}

Pairs = list[tuple[int, int]]  # (encoder layer, decoder layer), counted from 1; encoder layer 0 is the input


def none(depth: int) -> Pairs:
    return []


def input_output(depth: int) -> Pairs:
    return [(0, depth)]


def full(depth: int) -> Pairs:
    """A shortcut every 2 convolutional layers, and from input to output; the last encoder layer has none."""
    return [(layer, depth - layer) for layer in range(0, depth, 2)]


SHORTCUTS: dict[str, Callable[[int], Pairs]] = {"none": none, "input_output": input_output, "full": full}


class Encoder(nn.Module):
    """A chain of convolutions.

    `activation` selects the map that shortcuts carry: `post`, a layer's output; `pre` (dong2017, figure 1b),
    the input of its BatchNorm and ReLU, so that maps are added before activation. Nothing else differs.
    """

    def __init__(
        self,
        network: list[Conv],
        *,
        channels: int = 3,
        eps: float,
        activation: Literal["post", "pre"] = "post",
    ) -> None:
        super().__init__()
        self.network, self.channels, self.eps, self.activation = network, channels, eps, activation
        widths = [channels, *(layer.channels for layer in network)]
        self.convs = nn.ModuleList(  # no biases: BatchNorm would subtract them
            nn.Conv2d(width, layer.channels, layer.kernel, layer.stride, layer.kernel // 2, bias=False)
            for width, layer in zip(widths, network, strict=False)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(layer.channels, eps=eps) for layer in network)

    def maps(self, x: Tensor) -> list[Tensor]:
        """The map of every layer; of the last one always the output."""
        maps = []
        for conv, norm in zip(self.convs, self.norms, strict=True):
            before = conv(x)
            x = relu(norm(before), inplace=True)
            maps.append(x if self.activation == "post" else before)
        return [*maps[:-1], x]

    def forward(self, x: Tensor) -> Tensor:
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = relu(norm(conv(x)), inplace=True)
        return x

    def activated(self, x: Tensor) -> list[Tensor]:
        """The output of every layer after its ReLU, for both values of `activation`."""
        outputs = []
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = relu(norm(conv(x)), inplace=True)
            outputs.append(x)
        return outputs

    def side(self, side: int) -> int:
        """The side of the last map for images of this side."""
        for layer in self.network:
            side = layer.side(side)
        return side


class Decoder(nn.Module):
    """The encoder's mirror in transposed convolutions, up to the shape of its first map.

    The transposed convolution that outputs the image is not part of it: the Segmenter has another last layer.
    """

    def __init__(self, encoder: Encoder, *, shortcuts: str) -> None:
        super().__init__()
        self.activation = encoder.activation
        self.pairs = [pair for pair in SHORTCUTS[shortcuts](len(encoder.network)) if pair[0] > 0]
        mirrored = list(zip(encoder.network, encoder.network[1:], strict=False))[::-1]
        self.convs = nn.ModuleList(
            nn.ConvTranspose2d(
                layer.channels, below.channels, layer.kernel, layer.stride, layer.kernel // 2, bias=False
            )
            for below, layer in mirrored
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(below.channels, eps=encoder.eps) for below, _ in mirrored)

    def forward(self, maps: list[Tensor]) -> Tensor:
        y, ends = maps[-1], {layer for _, layer in self.pairs}
        steps = zip(self.convs, self.norms, maps[-2::-1], strict=True)
        for number, (conv, norm, mirror) in enumerate(steps, start=1):
            # the encoder takes sides 29 -> 15 -> 8 -> 4; without output_size the decoder would take 4 -> 7
            y = conv(y, output_size=mirror.shape[-2:])
            assert y.shape == mirror.shape
            if number not in ends:
                y = norm(y)
            elif self.activation == "post":
                y = norm(y) + mirror
            else:
                y = norm(y + mirror)
            y = relu(y, inplace=True)
        return y


class AutoEncoder(nn.Module):
    """From a corrupted image x~ to f(x~); with an input-output shortcut the network learns the difference."""

    def __init__(self, encoder: Encoder, *, shortcuts: str) -> None:
        super().__init__()
        first = encoder.network[0]
        self.encoder = encoder
        self.decoder = Decoder(encoder, shortcuts=shortcuts)
        self.output = nn.ConvTranspose2d(
            first.channels, encoder.channels, first.kernel, first.stride, first.kernel // 2
        )
        self.pairs = SHORTCUTS[shortcuts](len(encoder.network))

    def forward(self, x: Tensor) -> Tensor:
        y = self.decoder(self.encoder.maps(x))
        y = self.output(y, output_size=x.shape[-2:])
        assert y.shape == x.shape
        return x + y if (0, len(self.encoder.network)) in self.pairs else y


class Head(nn.Sequential):
    """Global average pooling or the whole last map, optional hidden layers, one output per class."""

    def __init__(
        self,
        encoder: Encoder,
        *,
        classes: int,
        side: int,
        hidden: Sequence[int] = (),
        pool: bool,
        dropout: float,
    ) -> None:
        if dropout and not hidden:
            raise ValueError(f"dropout is {dropout} without hidden layers: set it to 0, or add a layer")
        inputs = encoder.network[-1].channels * (1 if pool else encoder.side(side) ** 2)
        layers: list[nn.Module] = [nn.AdaptiveAvgPool2d(1), nn.Flatten()] if pool else [nn.Flatten()]
        for width in hidden:
            layers += [nn.Linear(inputs, width), nn.ReLU(inplace=True), nn.Dropout(dropout)]
            inputs = width
        super().__init__(*layers, nn.Linear(inputs, classes))


class Classifier(nn.Module):
    def __init__(
        self,
        encoder: Encoder,
        *,
        classes: int,
        side: int,
        hidden: Sequence[int] = (),
        pool: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = Head(encoder, classes=classes, side=side, hidden=hidden, pool=pool, dropout=dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x))


class Segmenter(nn.Module):
    """The auto-encoder with a convolution of `classes` filters as its last layer: logits (N, C, H, W).

    The input is not added to the logits: it has three channels, they have one per class.
    """

    def __init__(self, autoencoder: AutoEncoder, *, classes: int) -> None:
        super().__init__()
        first = autoencoder.encoder.network[0]
        if first.stride != 1:
            raise ValueError(
                f"the network's first layer has stride {first.stride}, so no map has the image's resolution; "
                "to segment, begin with a layer of stride 1"
            )
        self.encoder, self.decoder = autoencoder.encoder, autoencoder.decoder
        self.head = nn.Conv2d(first.channels, classes, first.kernel, padding=first.kernel // 2)
        self.pairs = autoencoder.decoder.pairs

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.decoder(self.encoder.maps(x)))
