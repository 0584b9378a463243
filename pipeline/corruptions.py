"""Corruptions (dong2016, section 3.3): pure functions of a batch and a generator, the only source of chance.

Images are (N, C, H, W), centred on 0, in units of the 0-255 scale, and so is sigma; a masked pixel is 0.
Draws go in the order N, H, W, C for any memory format of x: on a CPU, PyTorch fills contiguous memory
8 times as fast as a channels-last tensor in place, and no image depends on the format.
"""

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor


def noise(x: Tensor, *, rows: int, columns: int, generator: Generator) -> Tensor:
    """Standard normal noise for each image and channel of x: (N, C, rows, columns), channels-last."""
    shape = (len(x), rows, columns, x.shape[1])
    return torch.randn(shape, device=x.device, generator=generator).permute(0, 3, 1, 2)


def strengths(x: Tensor, sigma: tuple[float, float], generator: Generator) -> Tensor:
    """One sigma for each image: (N, 1, 1, 1)."""
    return torch.empty((len(x), 1, 1, 1), device=x.device).uniform_(*sigma, generator=generator)


def pixel_gaussian(x: Tensor, *, sigma: tuple[float, float], generator: Generator) -> Tensor:
    """Independent noise per pixel, with a strength drawn for each image."""
    strength = strengths(x, sigma, generator)
    drawn = noise(x, rows=x.shape[2], columns=x.shape[3], generator=generator)
    return torch.addcmul(x, strength, drawn).to(x.dtype)


def fixed_gaussian(x: Tensor, *, sigma: float, generator: Generator) -> Tensor:
    """Independent noise per pixel, with one strength for all images."""
    drawn = noise(x, rows=x.shape[2], columns=x.shape[3], generator=generator)
    return torch.add(x, drawn, alpha=sigma).to(x.dtype)


def patch_gaussian(x: Tensor, *, sigma: tuple[float, float], patch: int, generator: Generator) -> Tensor:
    """One noise value per square of a grid; the last row and column of squares may be cut off."""
    height, width = x.shape[2:]
    strength = strengths(x, sigma, generator)
    drawn = noise(x, rows=-(-height // patch), columns=-(-width // patch), generator=generator)
    drawn = (strength * drawn).repeat_interleave(patch, dim=2)[:, :, :height]
    return (x + drawn.repeat_interleave(patch, dim=3)[..., :width]).to(x.dtype)


def blocks_mask(x: Tensor, *, count: int, sides: tuple[int, int], generator: Generator) -> Tensor:
    """The pixels of `count` squares inside the image, sides from `sides`: bool (N, 1, H, W)."""
    images, _, height, width = x.shape
    least, most = sides
    if not 1 <= least <= most <= min(height, width):
        raise ValueError(
            f"blocks of {least} to {most} pixels a side do not fit {height} x {width} pixels; "
            "give sides as fractions of the image's, above 0 and up to 1"
        )
    side = torch.randint(least, most + 1, (images, count), device=x.device, generator=generator)
    top, left = (
        (torch.rand(side.shape, device=x.device, generator=generator) * (length - side + 1)).long()
        for length in (height, width)
    )
    if count == 1:
        rows, columns = torch.arange(height, device=x.device), torch.arange(width, device=x.device)
        beside = (columns >= left) & (columns < left + side)
        return (((rows >= top) & (rows < top + side))[:, :, None] & beside[:, None])[:, None]
    # A square adds 1 at its upper left corner and beyond its lower right one, and subtracts 1 at the others:
    # cumulative sums along both axes count the squares over each pixel. 1.1 to 2.2 times as fast as a batched
    # product of row and column indicators from 29 to 225 pixels, and exact: the sums are integers.
    bottom, right = top + side, left + side
    corners = [(top, left), (bottom, right), (top, right), (bottom, left)]
    place = torch.cat([row * (width + 1) + column for row, column in corners], dim=1)
    change = torch.ones(4 * count, dtype=torch.int16, device=x.device)
    change[2 * count :] = -1
    cover = torch.zeros((images, (height + 1) * (width + 1)), dtype=torch.int16, device=x.device)
    cover = cover.scatter_add_(1, place, change.expand(images, -1)).view(images, 1, height + 1, width + 1)
    cover = cover.cumsum(3, dtype=torch.int16).cumsum(2, dtype=torch.int16)
    return cover[..., :height, :width] > 0


def big_block_mask(x: Tensor, *, low: float, high: float, generator: Generator) -> Tensor:
    """One square with an integer side from low to high times the image's."""
    length, slack = min(x.shape[2:]), 1e-9  # so that 0.28 of 25 is 7
    sides = math.ceil(length * low - slack), math.floor(length * high + slack)
    return blocks_mask(x, count=1, sides=sides, generator=generator)


def small_blocks_mask(x: Tensor, *, count: int, fraction: float, generator: Generator) -> Tensor:
    """Many squares of one side, which may overlap."""
    side = max(1, round(min(x.shape[2:]) * fraction))
    return blocks_mask(x, count=count, sides=(side, side), generator=generator)


def binomial_mask(
    x: Tensor, *, probability: float, black: float, white: float, generator: Generator
) -> Tensor:
    """Hide each pixel independently, whether `black` or `white` replaces it."""
    return switches(x, generator) < probability


def switches(x: Tensor, generator: Generator) -> Tensor:
    """One uniform number in [0, 1) per pixel, shared by its channels."""
    images, _, height, width = x.shape
    return torch.rand((images, 1, height, width), device=x.device, generator=generator)


def masked(x: Tensor, mask: Tensor) -> Tensor:
    """0 where the mask is set. A product: twice as fast as masked_fill, which also loses channels-last."""
    return x * (~mask).to(x.dtype)


def big_block(x: Tensor, *, low: float, high: float, generator: Generator) -> Tensor:
    return masked(x, big_block_mask(x, low=low, high=high, generator=generator))


def small_blocks(x: Tensor, *, count: int, fraction: float, generator: Generator) -> Tensor:
    return masked(x, small_blocks_mask(x, count=count, fraction=fraction, generator=generator))


def binomial(x: Tensor, *, probability: float, black: float, white: float, generator: Generator) -> Tensor:
    """Switch pixels on or off with even odds, in all their channels (masci2011, section 2.2)."""
    drawn = switches(x, generator)
    x = torch.where(drawn < probability, white, x)
    return torch.where(drawn < probability / 2, black, x)


CORRUPTIONS: dict[str, Callable[..., Tensor]] = {
    "pixel_gaussian": pixel_gaussian,
    "fixed_gaussian": fixed_gaussian,
    "patch_gaussian": patch_gaussian,
    "big_block": big_block,
    "small_blocks": small_blocks,
    "binomial": binomial,
}


# The pixels that a corruption hides: same options, and same draws from the same state of the generator.
MASKS: dict[str, Callable[..., Tensor]] = {
    "big_block": big_block_mask,
    "small_blocks": small_blocks_mask,
    "binomial": binomial_mask,
}
