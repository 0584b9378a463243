"""A drawing of a traced network: convolutions as bars, shortcuts and switches as arcs."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from pipeline.datasets import SOURCES
from pipeline.results.architectures import model_of
from pipeline.results.drawings.style import COLOURS
from pipeline.work.identity import Training

ENCODING, DECODING, SHORTCUT, SWITCHES = COLOURS[:4]
FLAT = "0.55"  # the image and fully connected layers
LEAST = 12.0  # width of a row, so that a short network is not stretched
Shape = tuple[int, ...]  # (C, H, W) of a map, (N,) of a vector


@dataclass
class Layer:
    """A convolution or a fully connected layer, with the shapes of its input and output."""

    inputs: Shape
    outputs: Shape
    decodes: bool


@dataclass
class Network:
    image: Shape
    layers: list[Layer]
    shortcuts: list[tuple[int, int]]  # between outputs; 0 is the image, 1 the first layer
    switches: list[tuple[int, int]]  # from the layer before a pooling to the layer behind its unpooling


class Recorder(TorchFunctionMode):
    """Records the shapes of convolutions and linear layers in execution order."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Shape, Shape, bool]] = []  # input, output, whether transposed

    def __torch_function__(self, func: Callable, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in (torch.conv2d, torch.conv_transpose2d, torch.nn.functional.linear):
            transposed = func is torch.conv_transpose2d
            self.calls.append((tuple(args[0].shape[1:]), tuple(result.shape[1:]), transposed))
        return result


def traced(training: Training) -> Network:
    """Trace a training's network on the meta device: shapes only, no data."""
    model, side = model_of(training).to("meta").eval(), training.spec.augment.crop
    image = (SOURCES[training.shards.dataset.source].channels, side, side)
    x = torch.empty(1, *image, device="meta")
    decode = getattr(model, "paths", getattr(model, "restored", None))  # of networks with switches
    with Recorder() as recorder, torch.no_grad():
        (decode or model)(x)
    convolutions = sum(isinstance(part, nn.Conv2d) for part in model.encoder.modules())
    transposed = [number for number, (*_, is_transposed) in enumerate(recorder.calls) if is_transposed]
    encoding = min([convolutions, *transposed])
    layers = [
        Layer(inputs, outputs, decodes=len(outputs) == 3 and number >= encoding)
        for number, (inputs, outputs, _) in enumerate(recorder.calls)
    ]
    if hasattr(model, "pairs") and convolutions != len(model.encoder.network):
        raise ValueError(
            f"{training.label} has shortcuts between blocks; only those between layers are drawn"
        )
    pairs = [(start, encoding + end) for start, end in getattr(model, "pairs", ())]
    switches = pooled(layers) if decode else []
    if decode and model.encoder(x).shape[-1] < layers[encoding - 1].outputs[-1]:
        switches.append((encoding, 1 + next(i for i, layer in enumerate(layers) if layer.decodes)))
    return Network(image, layers, pairs, switches)


def pooled(layers: list[Layer]) -> list[tuple[int, int]]:
    """Pair poolings with the unpoolings that reverse them, by the sizes that change between layers."""
    down: list[int] = []
    pairs = []
    for number, (one, other) in enumerate(pairwise(layers)):
        if not len(one.outputs) == len(other.inputs) == 3:
            continue
        if other.inputs[1] < one.outputs[1]:
            down.append(number + 1)
        elif other.inputs[1] > one.outputs[1] and down:
            pairs.append((down.pop(), number + 2))
    return pairs


def draw(networks: dict[str, Training]) -> Any:
    """Draw one network per row."""
    import matplotlib.pyplot as plt

    drawn, rows = plt.subplots(
        len(networks), 1, figsize=(9, 2.9 * len(networks)), squeeze=False, layout="constrained"
    )
    for (name, training), axes in zip(networks.items(), rows[:, 0], strict=True):
        _row(axes, name, traced(training))
    return drawn


def _row(axes: Any, name: str, network: Network) -> None:
    from matplotlib.patches import FancyArrowPatch, Rectangle

    shapes = [network.image, *(layer.outputs for layer in network.layers)]
    colours = [FLAT]
    for layer in network.layers:
        colours.append(DECODING if layer.decodes else FLAT if len(layer.outputs) == 1 else ENCODING)
    widest = max(shape[0] for shape in shapes)
    places, x = [], 0.0
    for number, (shape, colour) in enumerate(zip(shapes, colours, strict=True)):
        height = (shape[1] / network.image[1]) ** 0.5 if len(shape) == 3 else 0.12
        width = 0.25 + 0.6 * (shape[0] / widest) ** 0.5
        axes.add_patch(Rectangle((x, -height / 2), width, height, facecolor=colour, edgecolor="white"))
        places.append((x, width, height))
        axes.text(x + width / 2, -0.6, shape[0], ha="center", va="top", fontsize=7)
        size = f"{shape[1]}²" if len(shape) == 3 else ""
        if size and (number == 0 or shapes[number - 1][1:] != shape[1:]):
            axes.text(x + width / 2, -0.72, size, ha="center", va="top", fontsize=7, color="0.4")
        x += width + 0.2
    shortcuts: dict[str, Any] = {"color": SHORTCUT}
    switches: dict[str, Any] = {"color": SWITCHES, "linestyle": (0, (3, 2))}
    for (start, end), style in [
        *((pair, shortcuts) for pair in network.shortcuts),
        *((pair, switches) for pair in network.switches),
    ]:
        ends = [(places[place][0] + places[place][1] / 2, places[place][2] / 2) for place in (start, end)]
        bend = -0.1 - 0.06 * (end - start) / len(shapes)
        axes.add_patch(
            FancyArrowPatch(
                *ends, arrowstyle="->", connectionstyle=f"arc3,rad={bend}", mutation_scale=8, **style
            )
        )
    span = max(x, LEAST)
    legend = [("convolution", ENCODING)]
    legend += [("decoding convolution", DECODING)] if any(layer.decodes for layer in network.layers) else []
    legend += [("shortcut, added", SHORTCUT)] if network.shortcuts else []
    legend += [("switches, for unpooling", SWITCHES)] if network.switches else []
    for number, (says, colour) in enumerate(legend):
        axes.text(number * span / 4, 1.3, says, color=colour, fontsize=8, va="bottom")
    axes.set(xlim=(-0.1, span), ylim=(-0.9, 1.5))
    axes.set_title(name, fontsize=9, loc="left")
    axes.axis("off")
