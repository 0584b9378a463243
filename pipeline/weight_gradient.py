"""The gradient of a convolution's weights, for CPUs on which torch's own is slow: those without AVX-512.

There oneDNN computes it at three fifths of the rate of the other two passes. weight_gradient.cpp reaches nine
tenths, by the same sums in the same order: on the machines seen the same numbers to the bit.
"""

import ctypes
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.devices import COMPILER

SOURCE = Path(__file__).with_suffix(".cpp")
SWITCHES = "-O3 -march=native -fopenmp -shared -fPIC"
GROUP = 16  # channels; a layer has whole groups, or keeps torch's own


@cache
def library() -> ctypes.CDLL | None:
    """Compiled for this very processor, in a second; None where nothing here can do that."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "weight_gradient.so"
        words = [COMPILER, *SWITCHES.split(), str(SOURCE), "-o", str(made)]
        try:
            subprocess.run(words, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            return None
        found = ctypes.CDLL(str(made))
    found.weight_gradients.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_long] * 11
    return found


def weight_gradient(x: Tensor, dy: Tensor, *, kernel: int, stride: int, pad: int) -> Tensor:
    """What a convolution of x, (N, I, H, W), has for its weights where its output has dy, (N, O, h, w)."""
    x, dy = (each.contiguous(memory_format=torch.channels_last) for each in (x, dy))
    (images, inputs, height, width), (_, outputs, rows, columns) = x.shape, dy.shape
    parts, code = min(torch.get_num_threads(), images), library()
    assert code is not None
    sums = torch.zeros(parts, outputs // GROUP, inputs // GROUP, kernel, kernel, GROUP, GROUP)
    code.weight_gradients(
        *(each.data_ptr() for each in (x, dy, sums)),
        *(images, height, width, inputs, rows, columns, outputs, kernel, stride, pad, parts),
    )
    ordered = sums.sum(0).permute(0, 5, 2, 3, 1, 4).reshape(outputs, kernel, kernel, inputs)
    return ordered.contiguous().permute(0, 3, 1, 2)  # channels last, as the weights are


class Convolution(torch.autograd.Function):
    """torch's own, but for the gradient of its weights."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: int,
        pad: int,
        extra: list[int] | None,
    ) -> Tensor:
        """`extra` is what a transposed convolution adds to its sides; None: it is none."""
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.pad, ctx.transposed = stride, pad, extra is not None
        ctx.how = [stride] * 2, [pad] * 2, [1, 1], ctx.transposed, extra or [0, 0], 1
        return torch.ops.aten.convolution(x, weight, bias, *ctx.how)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:  # type: ignore[override]
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad[:3]
        dx, _, db = torch.ops.aten.convolution_backward(
            dy, x, weight, [dy.shape[1]] if of_bias else None, *ctx.how, [of_x, False, of_bias]
        )
        dw = None
        if of_weight:
            # A transposed convolution's input stands where a plain one's output does.
            wide, narrow = (dy, x) if ctx.transposed else (x, dy)
            dw = weight_gradient(wide, narrow, kernel=weight.shape[-1], stride=ctx.stride, pad=ctx.pad)
        return dx, dw, db, None, None, None


class Conv2d(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        assert isinstance(self.padding[0], int)
        return Convolution.apply(x, self.weight, self.bias, self.stride[0], self.padding[0], None)


class ConvTranspose2d(nn.ConvTranspose2d):
    def forward(self, x: Tensor, output_size: Any = None) -> Tensor:
        stride, kernel, pad = self.stride[0], self.kernel_size[0], self.padding[0]
        assert isinstance(pad, int)
        extra = list(self.output_padding)
        if output_size is not None:
            least = [(side - 1) * stride - 2 * pad + kernel for side in x.shape[-2:]]
            extra = [wanted - side for wanted, side in zip(output_size[-2:], least, strict=True)]
        return Convolution.apply(x, self.weight, self.bias, stride, pad, extra)


OURS = {nn.Conv2d: Conv2d, nn.ConvTranspose2d: ConvTranspose2d}


def suits(layer: nn.Module) -> bool:
    """Whether weight_gradient.cpp can do it: squares of whole groups of channels."""
    return (
        type(layer) in OURS
        and isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
        and layer.groups == 1
        and layer.dilation == (1, 1)
        and layer.padding_mode == "zeros"
        and isinstance(layer.padding, tuple)
        and not any(channels % GROUP for channels in (layer.in_channels, layer.out_channels))
        and all(len(set(each)) == 1 for each in (layer.kernel_size, layer.stride, layer.padding))
    )


def take_over(model: nn.Module) -> None:
    """Give it to every layer that it suits, where it can be compiled."""
    layers = [layer for layer in model.modules() if suits(layer)]
    if layers and library() is not None:
        for layer in layers:
            layer.__class__ = OURS[type(layer)]


def taken_over(model: nn.Module) -> bool:
    return any(type(layer) in OURS.values() for layer in model.modules())
