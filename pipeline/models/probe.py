"""dong2017, figure 3: predict the class and restore the image from each layer of an encoder."""

from torch import Size, Tensor, nn
from torch.nn.functional import relu

from pipeline.models.dong import Encoder

DEPTH = 3  # transposed convolutions; the paper gives no number: CIFAR's network halves an image 3 times


class Restorer(nn.Module):
    """A stack of transposed convolutions; the last `halvings` of them double the side."""

    def __init__(self, inputs: int, hidden: int, *, channels: int, halvings: int, eps: float) -> None:
        super().__init__()
        widths = [inputs, *[hidden] * (DEPTH - 1), channels]
        strides = [1] * (DEPTH - halvings) + [2] * halvings
        self.convs = nn.ModuleList(
            nn.ConvTranspose2d(before, after, 3, stride, 1, bias=after == channels)
            for before, after, stride in zip(widths, widths[1:], strides, strict=False)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(hidden, eps=eps) for _ in range(DEPTH - 1))

    def forward(self, h: Tensor, sizes: list[Size]) -> Tensor:
        """`sizes` of the encoder's maps, in order from the layer back to the image."""
        way = [h.shape[-2:]] * (DEPTH - len(sizes)) + sizes
        for conv, norm, size in zip(self.convs, self.norms, way, strict=False):
            h = relu(norm(conv(h, output_size=size)), inplace=True)
        return self.convs[-1](h, output_size=way[-1])


def parameters(inputs: int, hidden: int, channels: int) -> int:
    """The number of a Restorer's parameters: weights, BatchNorms, and biases of the last layer."""
    return 9 * (inputs * hidden + (DEPTH - 2) * hidden**2 + hidden * channels) + 4 * hidden + channels


def hidden_widths(inputs: list[int], channels: int) -> list[int]:
    """Choose widths so that every layer's Restorer has about as many parameters as the deepest one's."""
    target = parameters(inputs[-1], max(1, inputs[0] // 4), channels)  # the paper gives no number
    return [
        min(range(1, max(inputs) + 1), key=lambda hidden: abs(parameters(width, hidden, channels) - target))
        for width in inputs
    ]


class Probes(nn.Module):
    """A softmax regression and a Restorer on each layer of a frozen encoder."""

    def __init__(self, encoder: Encoder, *, classes: int, side: int) -> None:
        super().__init__()
        self.encoder = encoder
        sides, halvings = [side], []
        for layer in encoder.network:
            sides.append(layer.side(sides[-1]))
            halvings.append(sum(below.stride == 2 for below in encoder.network[: len(sides) - 1]))
        if halvings[-1] > DEPTH:
            raise ValueError(
                f"the network halves an image {halvings[-1]} times; its probes undo at most {DEPTH}"
            )
        inputs = [layer.channels for layer in encoder.network]
        self.softmaxes = nn.ModuleList(
            nn.Linear(width * map_side**2, classes) for width, map_side in zip(inputs, sides[1:], strict=True)
        )
        self.restorers = nn.ModuleList(
            Restorer(width, hidden, channels=encoder.channels, halvings=times, eps=encoder.eps)
            for width, hidden, times in zip(
                inputs, hidden_widths(inputs, encoder.channels), halvings, strict=True
            )
        )

    def forward(self, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        """For each layer, logits (N, K) and restored images (N, C, H, W)."""
        outputs, below = [], x
        way: list[Size] = []
        probes = zip(self.encoder.network, self.softmaxes, self.restorers, strict=True)
        for h, (layer, softmax, restorer) in zip(self.encoder.activated(x), probes, strict=True):
            if layer.stride == 2:
                way.insert(0, below.shape[-2:])
            outputs.append((softmax(h.flatten(1)), restorer(h, way)))
            below = h
        return outputs
