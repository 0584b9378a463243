"""Optimisers by name, and learning-rate schedules."""

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.optim import SGD, Adam, Optimizer


def adam(parameters: list[nn.Parameter], options: Any) -> Optimizer:
    return Adam(parameters, lr=options.lr, weight_decay=options.weight_decay, fused=True)


def sgd(parameters: list[nn.Parameter], options: Any) -> Optimizer:
    return SGD(parameters, lr=options.lr, momentum=options.momentum, weight_decay=options.weight_decay)


OPTIMISERS: dict[str, Callable[[list[nn.Parameter], Any], Optimizer]] = {"adam": adam, "sgd": sgd}


# A schedule returns an epoch's factor of the first learning rate, from the losses of the epochs before it.
# Schedules hold no state, so that a resumed run has none to restore.
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
