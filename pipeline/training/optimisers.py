"""Optimisers and schedules.

The optimisers are torch's own functions without its classes around them: the first of those imports the
compiler, four seconds that a short run has better uses for.
"""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.adam import adam
from torch.optim.sgd import sgd


class Optimiser(Protocol):
    def step(self, rate: float) -> None:
        """Move every parameter that has a gradient, at this learning rate."""

    def state(self) -> dict[str, Any]: ...
    def restore(self, state: dict[str, Any]) -> None: ...


class Adam:
    def __init__(self, parameters: list[nn.Parameter], options: Any) -> None:
        self.parameters = parameters
        self.first = [torch.zeros_like(each) for each in parameters]  # moments
        self.second = [torch.zeros_like(each) for each in parameters]
        self.steps = [torch.zeros((), device=each.device) for each in parameters]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        moved = [i for i, each in enumerate(self.parameters) if each.grad is not None]
        lists: list[list] = [self.parameters, self.first, self.second, self.steps]
        own = [[each[i] for i in moved] for each in lists]
        gradients: list[Any] = [self.parameters[i].grad for i in moved]
        adam(own[0], gradients, own[1], own[2], [], own[3], fused=True, amsgrad=False, beta1=0.9, beta2=0.999,
             lr=rate, weight_decay=0.0, eps=1e-8, maximize=False)  # fmt: skip

    def state(self) -> dict[str, Any]:
        return {"first": self.first, "second": self.second, "steps": self.steps}

    def restore(self, state: dict[str, Any]) -> None:
        for own, saved in ((self.first, "first"), (self.second, "second"), (self.steps, "steps")):
            for tensor, value in zip(own, state[saved], strict=True):
                tensor.copy_(value)


class Sgd:
    def __init__(self, parameters: list[nn.Parameter], options: Any) -> None:
        self.parameters, self.options = parameters, options
        self.velocity: list[Tensor | None] = [None for _ in parameters]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        moved = [i for i, each in enumerate(self.parameters) if each.grad is not None]
        parameters: list[Any] = [self.parameters[i] for i in moved]
        velocity = [self.velocity[i] for i in moved]
        sgd(parameters, [each.grad for each in parameters], velocity, fused=False,
            weight_decay=self.options.weight_decay, momentum=self.options.momentum, lr=rate, dampening=0.0,
            nesterov=False, maximize=False)  # fmt: skip
        for i, each in zip(moved, velocity, strict=True):
            self.velocity[i] = each

    def state(self) -> dict[str, Any]:
        return {"velocity": self.velocity}

    def restore(self, state: dict[str, Any]) -> None:
        self.velocity = [
            None if saved is None else saved.to(own.device)
            for own, saved in zip(self.parameters, state["velocity"], strict=True)
        ]


OPTIMISERS: dict[str, Callable[[list[nn.Parameter], Any], Optimiser]] = {"adam": Adam, "sgd": Sgd}


# The part of the rate that is left in an epoch, from the mean losses of the epochs before it.
def steps(options: Any, epoch: int, losses: list[float]) -> float:
    return options.factor ** sum(at <= epoch for at in options.at)


def plateau(options: Any, epoch: int, losses: list[float]) -> float:
    rate, best, waited = 1.0, float("inf"), 0
    for loss in losses:
        best, waited = (loss, 0) if loss < best else (best, waited + 1)
        if waited == options.after:
            rate, waited = rate * options.factor, 0
    return rate


def constant(options: Any, epoch: int, losses: list[float]) -> float:
    return 1.0


SCHEDULES: dict[str, Callable[[Any, int, list[float]], float]] = {
    "steps": steps,
    "plateau": plateau,
    "constant": constant,
}
