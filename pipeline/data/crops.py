"""Where crops are cut: random, central, or following from an image's index."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipeline.config.runs import Augment
from pipeline.datasets.pixels import resized


@dataclass(frozen=True)
class Boxes:
    """Where to cut: places as parts of the free room, so that images of any size have one."""

    size: int
    top: np.ndarray  # (N,) in [0, 1]
    left: np.ndarray
    flip: np.ndarray  # (N,) bool
    pad: int = 0
    short: np.ndarray | None = None  # (N,) the short side that each image is brought to

    def part(self, which: slice) -> "Boxes":
        short = None if self.short is None else self.short[which]
        return replace(self, top=self.top[which], left=self.left[which], flip=self.flip[which], short=short)

    def cut(self, images: list[np.ndarray], into: np.ndarray) -> None:
        """Copy each image's box, not yet mirrored; what lies outside the image stays as `into` was."""
        height, width = np.array([image.shape[:2] for image in images]).T
        sides = np.full(len(images), self.size)
        if self.short is not None:  # a box of the image as it is stored, brought to the size of the crop
            sides = np.rint(self.size * np.minimum(height, width) / self.short).astype(np.int64).clip(min=1)
        rows, columns = self._spans(height, self.top, sides), self._spans(width, self.left, sides)
        for image, part, row, column, side in zip(images, into, rows, columns, sides.tolist(), strict=True):
            if self.short is None:
                part[row[1], column[1]] = image[row[0], column[0]]
                continue
            stored = np.zeros((side, side, *image.shape[2:]), np.uint8)
            stored[row[1], column[1]] = image[row[0], column[0]]
            part[:] = (
                stored if side == self.size else resized(stored, part.shape[:2], nearest=image.ndim == 2)
            )

    def _spans(
        self, length: np.ndarray, place: np.ndarray, side: np.ndarray
    ) -> Iterator[tuple[slice, slice]]:
        """Of each image the slice, and the slice of its crop that it fills."""
        start = self._starts(length, place, side)
        low, high = np.maximum(start, 0), np.minimum(start + side, length)
        ends = np.stack([low, high, low - start, high - start], axis=1)
        return ((slice(one, two), slice(three, four)) for one, two, three, four in ends.tolist())

    def lines(self, length: int, place: np.ndarray) -> np.ndarray:
        """(N, size) the lines of each image that a crop shows; of those outside, numbers that it lacks."""
        return self.starts(length, place)[:, None] + np.arange(self.size)

    def starts(self, length: int, place: np.ndarray) -> np.ndarray:
        """(N,) the first line of each crop in images of this length; it may lie outside."""
        return self._starts(length, place, self.size)

    def _starts(self, length: Any, place: np.ndarray, side: Any) -> np.ndarray:
        """Anywhere in the free room; a crop that is longer stands in the middle."""
        free = length + 2 * self.pad - side
        first = np.where(free >= 0, -self.pad, (length - side) // 2)
        return first + (place * (np.maximum(free, 0) + 1 - 1e-9)).astype(np.int64)


def joined(boxes: list[Boxes]) -> Boxes:
    """Boxes of one size that differ only in their places."""
    top, left, flip = (
        np.concatenate(parts)
        for parts in zip(*((some.top, some.left, some.flip) for some in boxes), strict=True)
    )
    return replace(boxes[0], top=top, left=left, flip=flip)


def random_boxes(count: int, augment: Augment, rng: np.random.Generator) -> Boxes:
    """Crops anywhere, mirrored at random where the run says so."""
    return _boxes(rng.random((4, count)), augment)


def image_boxes(indices: np.ndarray, augment: Augment, seeds: list[int]) -> Boxes:
    """Random boxes that follow from the seeds and each image's own index."""
    drawn = [np.random.default_rng([*seeds, index]).random(4) for index in indices.tolist()]
    return _boxes(np.stack(drawn, axis=1), augment)


def _boxes(drawn: np.ndarray, augment: Augment) -> Boxes:
    """From four numbers in [0, 1) for each image: (4, N)."""
    top, left, side, scale = drawn
    short = None
    if augment.short:
        low, high = augment.short
        short = low + (high - low) * scale
    return Boxes(augment.crop, top, left, (side < 0.5) & augment.flip, augment.pad, short)


def central_boxes(count: int, augment: Augment) -> Boxes:
    """The middle of each image."""
    middle = np.full(count, 0.5)
    short = np.full(count, augment.short[0]) if augment.short else None
    return Boxes(augment.crop, middle, middle, np.zeros(count, bool), short=short)
