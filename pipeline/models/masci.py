"""masci2011: a stack of convolutional auto-encoders (CAEs), and the CNN that it initialises."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import conv_transpose2d, max_pool2d

CODES_BYTES = 1 << 30  # inputs of layer 3 for all images fit (0.6 to 0.8 GB), of layer 2 not (3.2 to 3.7 GB)


class ScaledTanh(nn.Module):
    """a tanh(b x)."""

    def __init__(self, *, a: float, b: float) -> None:
        super().__init__()
        self.a, self.b = a, b

    def forward(self, x: Tensor) -> Tensor:
        return self.a * torch.tanh(self.b * x)


class Bias(nn.Module):
    """One bias c for each channel of an auto-encoder's input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias.view(1, -1, 1, 1)


def pooled(h: Tensor, size: int) -> Tensor:
    """Max-pool; regions at the right and lower edges may be smaller."""
    return max_pool2d(h, size, ceil_mode=True) if size > 1 else h


def erased(h: Tensor, size: int) -> Tensor:
    """Set all but the maximum of each region to 0; of equal maxima, keep the first."""
    if size == 1:
        return h
    _, places = max_pool2d(h.detach(), size, ceil_mode=True, return_indices=True)
    kept = torch.zeros(h.shape, dtype=h.dtype, device=h.device).flatten(2)
    return h * kept.scatter_(2, places.flatten(2), 1.0).view(h.shape)


class Encoder(nn.Module):
    """Max-pooled layers h = sigma(x * W + b), counted from 1.

    Layers encode by a valid convolution (the map shrinks) and decode by a full one (to the input's size);
    `full` swaps the two. They differ only in padding, and one padding serves both directions.
    """

    def __init__(
        self,
        *,
        channels: int,
        maps: Sequence[int],
        kernels: Sequence[int],
        pools: Sequence[int],
        tanh: tuple[float, float],
        full: bool = False,
    ) -> None:
        super().__init__()
        self.pools, self.maps, self.full = pools, maps, full
        self.activation = ScaledTanh(a=tanh[0], b=tanh[1])
        self.convs = nn.ModuleList(
            nn.Conv2d(inputs, outputs, kernel, padding=kernel - 1 if full else 0)
            for inputs, outputs, kernel in zip([channels, *maps], maps, kernels, strict=False)
        )

    def layer(self, number: int) -> nn.Conv2d:
        conv = self.convs[number - 1]
        assert isinstance(conv, nn.Conv2d)
        return conv

    def padding(self, number: int) -> int:
        return self.layer(number).kernel_size[0] - 1 if self.full else 0

    def code(self, x: Tensor, layer: int) -> Tensor:
        """h^k = sigma(x * W^k + b^k), one bias per map."""
        return self.activation(self.layer(layer)(x))

    def decode(self, h: Tensor, layer: int) -> Tensor:
        """Sum over k of h^k * ~W^k, with the weights of the code (tied weights).

        ~W is W flipped in both dimensions: convolving with ~W is the transposed convolution with W.
        """
        return conv_transpose2d(h, self.layer(layer).weight, padding=self.padding(layer))

    def below(self, x: Tensor, layer: int) -> Tensor:
        """The input of a layer: the pooled codes of the layer below."""
        for number in range(1, layer):
            x = pooled(self.code(x, number), self.pools[number - 1])
        return x

    def forward(self, x: Tensor) -> Tensor:
        return self.below(x, len(self.convs) + 1)

    def side(self, side: int) -> int:
        """The side of the last map for images of this side."""
        image_side = side
        for number, pool in enumerate(self.pools, start=1):
            side += 2 * self.padding(number) - self.layer(number).kernel_size[0] + 1
            if side < 1:
                raise ValueError(
                    f"{image_side} x {image_side} pixels are too few for the network's convolutions; "
                    "use larger images or smaller kernels"
                )
            side = -(-side // pool)
        return side


class Codes:
    """Cache the input of a layer above frozen layers, by image."""

    def __init__(self, images: int) -> None:
        self.known = torch.zeros(images, dtype=torch.bool)
        self.kept: Tensor | None = None  # (images, H, W, C), so that a batch of it is channels-last

    def of(self, index: Tensor, below: Callable[[], Tensor]) -> Tensor:
        """The codes of these images; if one is missing, `below` computes those of the whole batch."""
        if self.kept is not None and self.known[index].all():
            return self.kept[index.to(self.kept.device)].permute(0, 3, 1, 2)
        codes = below()
        if codes[0].nbytes * len(self.known) <= CODES_BYTES:
            channels_last = codes.permute(0, 2, 3, 1)
            if self.kept is None:
                self.kept = channels_last.new_empty(len(self.known), *channels_last.shape[1:])
            self.kept[index.to(channels_last.device)] = channels_last
            self.known[index] = True
        return codes


class AutoEncoder(nn.Module):
    """The CAE of one layer: y = sigma(sum over k of h^k * ~W^k + c), h with all but its maxima set to 0."""

    def __init__(self, encoder: Encoder, *, layer: int, codes: Codes | None = None) -> None:
        super().__init__()
        self.encoder, self.layer, self.codes = encoder, layer, codes
        self.output = Bias(encoder.layer(layer).in_channels)

    @torch.no_grad()
    def input(self, x: Tensor, index: Tensor) -> Tensor:
        """The layer's input for clean images; `index` is their numbers in the split.

        A GPU computes it each time, since looking it up would wait for the host.
        """
        if self.codes is None or x.is_cuda:
            return self.encoder.below(x, self.layer)
        return self.codes.of(index, lambda: self.encoder.below(x, self.layer))

    def forward(self, x: Tensor) -> Tensor:
        h = erased(self.encoder.code(x, self.layer), self.encoder.pools[self.layer - 1])
        return self.encoder.activation(self.output(self.encoder.decode(h, self.layer)))


class Classifier(nn.Module):
    """The CNN of the stack's topology: fully connected layers on its last maps, one output per class."""

    def __init__(self, encoder: Encoder, *, classes: int, side: int, hidden: Sequence[int]) -> None:
        super().__init__()
        widths = [encoder.maps[-1] * encoder.side(side) ** 2, *hidden]
        layers: list[nn.Module] = [nn.Flatten()]
        for inputs, outputs in zip(widths, hidden, strict=False):
            layers += [nn.Linear(inputs, outputs), encoder.activation]
        self.encoder = encoder
        self.head = nn.Sequential(*layers, nn.Linear(widths[-1], classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x))
