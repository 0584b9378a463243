"""Count parameters and FLOPs of a network, layer by layer, on torch's meta device."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

IMAGES = 2  # BatchNorm in training refuses a single value per channel


@dataclass
class Layer:
    name: str
    output: tuple[int, ...]  # (C, H, W) of a map, (C,) of a vector
    parameters: int
    flops: int  # of one image's forward pass; a multiply-add counts 2


def count(module: nn.Module, *, side: int, channels: int) -> list[Layer]:
    """List the layers with parameters or FLOPs, in execution order.

    A backward pass costs twice a forward pass, minus the first layer's input gradient, which nobody needs.
    """
    rows: dict[str, Layer] = {}
    began: list[list[int]] = []  # for each running module: FLOPs when it began, FLOPs of its children
    counter = FlopCounterMode(display=False)

    def enter(owner: nn.Module, inputs: Any) -> None:
        began.append([counter.get_total_flops(), 0])

    def leave(name: str, owner: nn.Module, inputs: Any, output: Any) -> None:
        start, children = began.pop()
        total = counter.get_total_flops() - start
        if began:
            began[-1][1] += total
        flops, parameters = total - children, sum(p.numel() for p in owner.parameters(recurse=False))
        if name in rows:
            rows[name].flops += flops // IMAGES
        elif flops or parameters:
            shape = tuple(output.shape[1:]) if isinstance(output, Tensor) else ()
            rows[name] = Layer(name, shape, parameters, flops // IMAGES)

    hooks = [
        hook
        for name, owner in module.named_modules()
        for hook in (
            owner.register_forward_pre_hook(enter),
            owner.register_forward_hook(partial(leave, name)),
        )
    ]
    weights = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    try:
        with torch.no_grad(), counter:
            shapes = {name: tensor.to("meta") for name, tensor in weights.items()}
            functional_call(module, shapes, torch.empty(IMAGES, channels, side, side, device="meta"))
    finally:
        for hook in hooks:
            hook.remove()
    return list(rows.values())
