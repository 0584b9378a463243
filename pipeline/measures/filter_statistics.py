"""Statistics of first-layer filters: pure functions of weights (K, C, h, w)."""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

ONE_WEIGHT = 0.5  # share of a filter's energy: a position above it is the only weight "on"
WINDOW = 3


def energy(weights: Tensor) -> Tensor:
    """Squared weights as shares of each filter's sum: (K, h, w)."""
    squared = weights.double().square().sum(dim=1)
    return squared / squared.sum(dim=(1, 2), keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)


def structure(weights: Tensor) -> Tensor:
    """The correlation of neighbouring weights within each filter (K,): about 0 for noise."""
    centred = weights.double() - weights.double().mean(dim=(2, 3), keepdim=True)
    products = [centred[..., 1:, :] * centred[..., :-1, :], centred[..., 1:] * centred[..., :-1]]
    neighbours = torch.cat([product.flatten(1) for product in products], dim=1).mean(dim=1)
    variance = centred.square().mean(dim=(1, 2, 3))
    return neighbours / variance.clamp(min=torch.finfo(torch.float64).tiny)


def chance_structure(weights: Tensor) -> float:
    """Upper bound for 97.5 % of random filters of this shape: 2 standard deviations of 1/sqrt(pairs)."""
    _, channels, height, width = weights.shape
    pairs = channels * (height * (width - 1) + (height - 1) * width)
    return 2 / pairs**0.5


def trivial(weights: Tensor) -> Tensor:
    """Mark filters (K,) with one weight on, or with no more structure than noise."""
    one = energy(weights).flatten(1).amax(dim=1) > ONE_WEIGHT
    return one | (structure(weights) < chance_structure(weights))


def localisation(weights: Tensor) -> Tensor:
    """The share of each filter's energy in its best 3 x 3 window (K,)."""
    side = min(WINDOW, *weights.shape[2:])
    return avg_pool2d(energy(weights)[:, None], side, 1).flatten(1).amax(dim=1) * side**2


def described(weights: Tensor) -> dict[str, float]:
    """Means in percent, and the root mean square of the weights."""
    return {
        "trivial": 100 * float(trivial(weights).double().mean()),
        "structure": 100 * float(structure(weights).mean()),
        "localisation": 100 * float(localisation(weights).mean()),
        "magnitude": float(weights.double().square().mean().sqrt()),
    }
