"""Corruptions: pure functions of a batch and a generator.

Images are (N, C, H, W), 0-centred, in units of the 0-255 scale: a sigma is on that scale, a masked pixel is 0.
"""

from collections.abc import Callable

import torch
from torch import Generator, Tensor


def _uniform(shape: tuple[int, ...], low: float, high: float, x: Tensor, generator: Generator) -> Tensor:
    return torch.empty(shape, device=x.device, dtype=x.dtype).uniform_(low, high, generator=generator)


def _noise(shape: tuple[int, ...], x: Tensor, generator: Generator) -> Tensor:
    return torch.randn(shape, device=x.device, dtype=x.dtype, generator=generator)


def pixel_gaussian(x: Tensor, *, sigma: tuple[float, float], generator: Generator) -> Tensor:
    """Noise of its own for every pixel, of one strength for each image."""
    strength = _uniform((len(x), 1, 1, 1), *sigma, x, generator)
    return torch.addcmul(x, strength, _as(x, generator))


def fixed_gaussian(x: Tensor, *, sigma: float, generator: Generator) -> Tensor:
    return torch.add(x, _as(x, generator), alpha=sigma)


def _as(x: Tensor, generator: Generator) -> Tensor:
    """Noise in the memory order of x, so that adding it is one pass."""
    return torch.empty_like(x).normal_(generator=generator)


def patch_gaussian(x: Tensor, *, sigma: tuple[float, float], patch: int, generator: Generator) -> Tensor:
    """The same noise for all pixels of a patch; the last row and column of patches are cut."""
    count, channels, height, width = x.shape
    strength = _uniform((count, 1, 1, 1), *sigma, x, generator)
    rows, columns = (torch.arange(length, device=x.device) // patch for length in (height, width))
    noise = strength * _noise((count, channels, -(-height // patch), -(-width // patch)), x, generator)
    return x + noise[:, :, rows][:, :, :, columns]


def squares(x: Tensor, side: Tensor, generator: Generator) -> Tensor:
    """Which pixels lie in any of an image's squares, whose sides are (N, count): bool (N, 1, H, W)."""
    height, width = x.shape[-2:]
    rows, columns = (_within(length, side, generator) for length in (height, width))
    return (rows.transpose(1, 2) @ columns > 0)[:, None]


def _within(length: int, side: Tensor, generator: Generator) -> Tensor:
    """For squares at random places, 1 where a row (or column) is one of theirs: (N, count, length)."""
    place = torch.rand(side.shape, device=side.device, generator=generator)
    first = (place * (length - side + 1)).floor()[..., None]
    every = torch.arange(length, device=side.device)
    return ((every >= first) & (every < first + side[..., None])).float()


def big_block_mask(x: Tensor, *, low: float, high: float, generator: Generator) -> Tensor:
    length = min(x.shape[-2:])
    least, most = round(length * low), round(length * high)
    side = torch.randint(least, most + 1, (len(x), 1), device=x.device, generator=generator)
    return squares(x, side, generator)


def small_blocks_mask(x: Tensor, *, count: int, fraction: float, generator: Generator) -> Tensor:
    side = max(1, round(min(x.shape[-2:]) * fraction))
    return squares(x, torch.full((len(x), count), side, device=x.device), generator)


def binomial_mask(x: Tensor, *, probability: float, generator: Generator) -> Tensor:
    shape = (len(x), 1, *x.shape[-2:])
    return torch.rand(shape, device=x.device, generator=generator) < probability


MASKS: dict[str, Callable[..., Tensor]] = {
    "big_block": big_block_mask,
    "small_blocks": small_blocks_mask,
    "binomial": binomial_mask,
}


def big_block(x: Tensor, *, low: float, high: float, generator: Generator) -> Tensor:
    """One square is set to 0, its side in [low, high] of the image's."""
    return x.masked_fill(big_block_mask(x, low=low, high=high, generator=generator), 0)


def small_blocks(x: Tensor, *, count: int, fraction: float, generator: Generator) -> Tensor:
    """Many squares of one side, which may overlap, are set to 0."""
    return x.masked_fill(small_blocks_mask(x, count=count, fraction=fraction, generator=generator), 0)


def binomial(x: Tensor, *, probability: float, generator: Generator) -> Tensor:
    return x.masked_fill(binomial_mask(x, probability=probability, generator=generator), 0)


CORRUPTIONS: dict[str, Callable[..., Tensor]] = {
    "pixel_gaussian": pixel_gaussian,
    "fixed_gaussian": fixed_gaussian,
    "patch_gaussian": patch_gaussian,
    "big_block": big_block,
    "small_blocks": small_blocks,
    "binomial": binomial,
}
