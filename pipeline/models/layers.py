"""Layers that several networks share, and the initialisation of weights."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvTransposeNd


@dataclass(frozen=True)
class Conv:
    """An entry in a network's list of layers: a convolution with its BatchNorm and ReLU."""

    channels: int
    stride: int = 1
    kernel: int = 3

    def side(self, side: int) -> int:
        """The side of the output, for an odd kernel and padding kernel // 2."""
        return -(-side // self.stride)


class Combinator(nn.Module):
    """g(z~, u) = (z~ - mu(u)) v(u) + mu(u) of the ladder network, with ten parameters per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.empty(10, channels))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """mu(u) = u and v(u) = 0: an untrained combinator returns u."""
        self.a.zero_()
        self.a[[1, 3, 6]] = 1.0

    def forward(self, lateral: Tensor, above: Tensor) -> Tensor:
        a, u = self.a.view(10, 1, -1, 1, 1), above
        mean = a[0] * torch.sigmoid(a[1] * u + a[2]) + a[3] * u + a[4]
        variance = a[5] * torch.sigmoid(a[6] * u + a[7]) + a[8] * u + a[9]
        return (lateral - mean) * variance + mean


# torch assumes weights of shape (out, in, k, k). A transposed convolution's are (in, out, k, k), so its
# fan-in, as He et al. define it, is torch's "fan_out". Xavier averages both.
def gaussian(weight: Tensor, *, transposed: bool, generator: Generator) -> None:
    nn.init.normal_(weight, 0.0, 0.01, generator=generator)  # dong2016, section 3.4


def he(weight: Tensor, *, transposed: bool, generator: Generator) -> None:
    nn.init.kaiming_normal_(
        weight, mode="fan_out" if transposed else "fan_in", nonlinearity="relu", generator=generator
    )


def xavier(weight: Tensor, *, transposed: bool, generator: Generator) -> None:
    nn.init.xavier_uniform_(weight, generator=generator)


INITS: dict[str, Callable[..., None]] = {"gaussian": gaussian, "he": he, "xavier": xavier}


@torch.no_grad()
def initialise(module: nn.Module, name: str, *, generator: Generator) -> None:
    """Draw every weight; set biases to 0; reset BatchNorm and combinators to the identity."""
    assert generator.device.type == "cpu", "draw on the CPU: the weights must not depend on the device"
    for owner in module.modules():
        if isinstance(owner, _BatchNorm | Combinator):
            owner.reset_parameters()
            continue
        for kind, parameter in owner.named_parameters(recurse=False):
            assert kind in ("weight", "bias"), f"{type(owner).__name__}.{kind} has no initialisation"
            drawn = torch.zeros(parameter.shape)
            if kind == "weight":
                transposed = isinstance(owner, _ConvTransposeNd)
                INITS[name](drawn, transposed=transposed, generator=generator)
            parameter.copy_(drawn)


class Classifier(nn.Module):
    """An encoder and a head."""

    def __init__(self, encoder: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x))
