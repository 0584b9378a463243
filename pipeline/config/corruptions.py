"""The corruptions' options."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PixelGaussian:
    sigma: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class PatchGaussian:
    sigma: tuple[float, float]
    patch: int


@dataclass(frozen=True, kw_only=True)
class BigBlock:
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class SmallBlocks:
    fraction: float
    count: int | None = None  # None: 21 or 35, by the number of unlabelled images


@dataclass(frozen=True, kw_only=True)
class FixedGaussian:
    sigma: float


@dataclass(frozen=True, kw_only=True)
class Binomial:
    probability: float
    black: float  # value of a pixel that is switched off, after the mean is subtracted
    white: float  # value of one that is switched on


CORRUPTIONS = {
    "pixel_gaussian": PixelGaussian,
    "patch_gaussian": PatchGaussian,
    "big_block": BigBlock,
    "small_blocks": SmallBlocks,
    "fixed_gaussian": FixedGaussian,
    "binomial": Binomial,
}


HIDING = ("big_block", "small_blocks", "binomial")  # hide some pixels and leave the others unchanged
