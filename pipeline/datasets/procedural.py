"""Drawn pictures in place of any source: the same kind of labels, enough structure that learning shows."""

import colorsys

import numpy as np

from pipeline.datasets import Sample, Source

SHAPES = 6
NUMBERS = {"train": 0, "test": 1, "unlabelled": 2, "extra": 3}


class Drawn:
    """Picture i of a split follows from (kind, split, i) alone, however many there are."""

    def __init__(self, source: Source, split: str, *, count: int, side: int) -> None:
        self.source, self.count, self.side, self.number = source, count, side, NUMBERS[split]
        number = source.classes or 10
        self.classes = tuple(f"class {k}" for k in range(number))
        self.folds = None
        if source.side == 96 and split == "train":
            self.folds = [list(range(fold, count, 10)) for fold in range(10)]
        rows, columns = np.mgrid[0:side, 0:side].astype(np.float32) / side
        self.rows, self.columns = rows, columns

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> Sample:
        chance = np.random.default_rng([7, self.source.side, len(self.classes), self.number, i])
        image = self._background(chance)
        first = 1 if self.source.labels == "mask" else 0  # class 0 of a mask is the background
        number = len(self.classes) - first
        several = self.source.labels != "class"
        shown = (
            chance.choice(number, chance.integers(1, min(4, number + 1)), replace=False)
            if several
            else [i % number]
        )
        mask = np.zeros((self.side, self.side), np.uint8)
        for each in shown:
            self._draw(image, mask, int(each), first, chance, small=several)
        pixels = (image.clip(0, 1) * 255).round().astype(np.uint8)
        if self.source.labels == "mask":
            return Sample(pixels, None, mask)
        label = sorted(int(each) for each in shown) if several else int(shown[0])
        return Sample(pixels, None if self.number == NUMBERS["unlabelled"] else label)

    def _background(self, chance: np.random.Generator) -> np.ndarray:
        corner = 0.35 + 0.3 * chance.random((3, self.source.channels), dtype=np.float32)
        return (
            corner[0]
            + self.rows[..., None] * (corner[1] - corner[0])
            + self.columns[..., None] * (corner[2] - corner[0])
        )

    def _draw(
        self,
        image: np.ndarray,
        mask: np.ndarray,
        number: int,
        first: int,
        chance: np.random.Generator,
        *,
        small: bool,
    ) -> None:
        """A class is a shape, a hue and the width of its stripes."""
        radius = chance.uniform(0.14, 0.24) if small else chance.uniform(0.22, 0.36)
        y, x = chance.uniform(radius, 1 - radius, 2)
        inside = _inside(number % SHAPES, (self.rows - y) / radius, (self.columns - x) / radius)
        hue = (number * 0.618034) % 1
        colour = np.array(
            colorsys.hsv_to_rgb(hue, 0.9, 0.95) if self.source.channels == 3 else [(number % 2) * 0.9 + 0.05]
        )
        stripes = 0.8 + 0.2 * np.sign(np.sin((self.rows + self.columns) * (6 + 5 * (number % 7))))
        paint = colour * stripes[..., None]
        image[inside] = paint[inside]
        mask[inside] = (number + first) % 256  # read only where labels are masks


def _inside(shape: int, v: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Pixels of a shape of radius 1 about the origin."""
    r = np.hypot(u, v)
    return (
        r < 1,
        np.maximum(abs(u), abs(v)) < 0.85,
        (v > -0.8) & (v < 0.8) & (abs(u) < (v + 0.8) / 1.6),
        (r < 1) & (r > 0.55),
        (np.minimum(abs(u), abs(v)) < 0.3) & (r < 1),
        abs(u) + abs(v) < 1,
    )[shape]


def open_procedural(source: Source, split: str, *, count: int, side: int) -> Drawn:
    return Drawn(source, split, count=count, side=side)
