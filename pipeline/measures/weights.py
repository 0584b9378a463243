"""How large a network's weights are: pure functions of tensors of any shape."""

from collections.abc import Sequence

import torch
from torch import Tensor

NEAR_ZERO = 1e-3  # a tenth of the deviation that dong2016 draws its weights with


def magnitude(weights: Sequence[Tensor]) -> float:
    """The root mean square of all weights."""
    return float(_flat(weights).square().mean().sqrt())


def near_zero(weights: Sequence[Tensor]) -> float:
    """The fraction of weights smaller than `NEAR_ZERO`."""
    return float((_flat(weights).abs() < NEAR_ZERO).double().mean())


def _flat(weights: Sequence[Tensor]) -> Tensor:
    return torch.cat([weight.detach().flatten().double().cpu() for weight in weights])
