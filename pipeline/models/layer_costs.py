"""What a network costs, layer by layer, without running it."""

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
    flops: int  # of one image's forward pass, 2 for each multiply-add


def count(module: nn.Module, *, side: int, channels: int) -> list[Layer]:
    """The layers that have parameters or do multiplications, in the order in which they run.

    A backward pass costs twice as much, less what the first layer would spend on its input's gradient.
    """
    rows: dict[str, Layer] = {}
    began: list[list[int]] = []  # of each module under way: FLOPs when it began, FLOPs of its children
    counter = FlopCounterMode(display=False)

    def enter(owner: nn.Module, inputs: Any) -> None:
        began.append([counter.get_total_flops(), 0])

    def leave(name: str, owner: nn.Module, inputs: Any, output: Any) -> None:
        start, children = began.pop()
        total = counter.get_total_flops() - start
        if began:
            began[-1][1] += total
        own, parameters = total - children, sum(p.numel() for p in owner.parameters(recurse=False))
        if name in rows:
            rows[name].flops += own // IMAGES
        elif own or parameters:
            shape = tuple(output.shape[1:]) if isinstance(output, Tensor) else ()
            rows[name] = Layer(name, shape, parameters, own // IMAGES)

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
