"""Procedural pictures in place of a source: the same kind of labels, enough structure to learn from."""

from __future__ import annotations

import colorsys
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pipeline.datasets import VOID, Sample, Source

KINDS = {"class": 0, "classes": 1, "mask": 2}
HUES = {
    "red": 0.0,
    "orange": 0.08,
    "yellow": 0.155,
    "green": 0.33,
    "teal": 0.46,
    "sky": 0.54,
    "blue": 0.63,
    "violet": 0.74,
    "pink": 0.84,
    "crimson": 0.94,
}
TONES = {"black": 0.04, "white": 0.96}  # for images without colour
TEXTURES = {  # waves across an object: frequencies along its width and height
    "plain": (0, 0),
    "level": (0, 5),
    "upright": (5, 0),
    "rising": (3.5, 3.5),
    "falling": (3.5, -3.5),
    "finely level": (0, 9),
    "finely upright": (9, 0),
    "finely rising": (6.5, 6.5),
    "finely falling": (6.5, -6.5),
    "steep": (8, 4),
}
SHAPES = ("disc", "square", "triangle", "ring", "plus", "diamond", "star", "saltire", "bar", "crescent")


class Look(NamedTuple):
    shape: int
    hue: int
    texture: int


def look(k: int) -> Look:
    """The look of class k: neighbours differ in shape and hue, and a thousand classes all differ."""
    units, tens, hundreds = k % 10, k // 10 % 10, k // 100 % 10
    return Look(units, (3 * units + tens) % 10, (tens + hundreds) % 10 if k >= 10 else 0)


def distance(shape: int, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Below 1 inside a shape of about radius 1, above it outside."""
    r, across = np.hypot(u, v), np.maximum(abs(u), abs(v))
    if SHAPES[shape] == "saltire":
        u, v = (u + v) / 2**0.5, (u - v) / 2**0.5
    if SHAPES[shape] in ("plus", "saltire"):
        return np.maximum(np.minimum(abs(u), abs(v)) / 0.3, np.maximum(abs(u), abs(v)))
    if SHAPES[shape] == "star":
        return r / (0.7 - 0.3 * np.sin(5 * np.arctan2(v, u)))
    return {
        "disc": lambda: r,
        "square": lambda: across / 0.82,
        "triangle": lambda: np.maximum(v / 0.7, abs(u) * 1.15 - v * 0.55 + 0.42),
        "ring": lambda: 1 + (abs(r - 0.75) - 0.25),
        "diamond": lambda: abs(u) + abs(v),
        "bar": lambda: np.maximum(abs(u), abs(v) / 0.36),
        "crescent": lambda: np.maximum(r, 1 + 0.75 - np.hypot(u - 0.45, v)),
    }[SHAPES[shape]]()


class Drawn:
    """Picture i depends only on (source, split, i), not on the number of pictures."""

    def __init__(
        self, source: Source, split: str, *, count: int, side: int, only: Sequence[int] | None = None
    ) -> None:
        self.source, self.count, self.side, self.split = source, count, side, split
        self.drawn = (source.classes or 10) - (source.labels == "mask")  # class 0 of masks is the background
        self.only = only or range(self.drawn)  # the classes to draw
        names = tuple(self._name(k) for k in range(self.drawn))
        self.classes = ("background", *names) if source.labels == "mask" else names
        self.folds = None
        if (
            split == "train" and "unlabelled" in source.splits
        ):  # ten folds of a fifth of the images, as in STL-10
            self.folds = [[i for i in range(count) if (i - fold) % 10 < 2] for fold in range(10)]
        images = sum(source.splits.values())  # distinguishes sources of the same kind
        self.seed = (KINDS[source.labels], self.drawn, source.side, images, zlib.crc32(split.encode()))
        places = (np.arange(side, dtype=np.float32) + 0.5) / side
        self.rows, self.columns = places[:, None], places[None, :]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> Sample:
        if not 0 <= i < self.count:
            raise IndexError(i)
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence((*self.seed, i))))
        image = self._background(rng)
        first = self.only[(i + i // len(self.only)) % len(self.only)]  # balanced, also within any stride
        if self.source.labels == "class":
            radius = rng.uniform(0.26, 0.4)
            y, x = rng.uniform(radius, 1 - radius, 2)
            self._paint(image, first, y, x, radius, rng)
            return Sample(self._pixels(image), None if self.split == "unlabelled" else first)
        others = rng.permutation(self.drawn)[: rng.integers(3)]
        classes = list(dict.fromkeys([first, *map(int, others)]))
        mask, objects = np.zeros((self.side, self.side), np.uint8), []
        for k, quarter in zip(classes, rng.permutation(4), strict=False):
            y, x = 0.27 + 0.46 * np.array(divmod(quarter, 2)) + rng.uniform(-0.05, 0.05, 2)
            inside = self._paint(image, k, y, x, rng.uniform(0.2, 0.3), rng)
            mask[inside > 0.05] = VOID
            mask[inside > 0.95] = k + 1
            objects.append((k, *self._box(inside)))
        if self.source.labels == "mask":
            return Sample(self._pixels(image), None, mask)
        return Sample(self._pixels(image), sorted(classes), objects=objects)

    def _box(self, covered: np.ndarray) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of the mostly covered pixels, as fractions of the image's sides."""
        mostly = covered > covered.max() / 2
        columns, rows = (np.flatnonzero(mostly.any(axis=axis)) for axis in (0, 1))
        ends = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
        left, top, right, bottom = (int(end) / self.side for end in ends)
        return left, top, right, bottom

    def _name(self, k: int) -> str:
        shape, hue, texture = look(k)
        colours = list(HUES) if self.source.channels == 3 else list(TONES)
        return f"{list(TEXTURES)[texture]} {colours[hue % len(colours)]} {SHAPES[shape]}"

    def _background(self, rng: np.random.Generator) -> np.ndarray:
        """A gradient between nearly grey corners, and a slow wave."""
        corners = 0.3 + 0.4 * rng.random((3, 1, 1, 1)) + 0.06 * rng.random((3, 1, 1, self.source.channels))
        down, right, phase = rng.uniform(-4, 4), rng.uniform(-4, 4), rng.uniform(0, 7)
        rows, columns = self.rows[..., None], self.columns[..., None]
        slope = corners[0] + rows * (corners[1] - corners[0]) + columns * (corners[2] - corners[0])
        return slope + 0.05 * np.sin(down * rows + right * columns + phase)

    def _paint(
        self, image: np.ndarray, k: int, y: float, x: float, radius: float, rng: np.random.Generator
    ) -> np.ndarray:
        """Paint class k at (y, x); return the fraction of each pixel that it covers."""
        shape, hue, texture = look(k)
        u, v = (self.columns - x) / radius, (self.rows - y) / radius
        covered = np.clip((1 - distance(shape, u, v)) * radius * self.side + 0.5, 0, 1)
        if self.source.channels == 3:
            colour = np.array(colorsys.hsv_to_rgb(list(HUES.values())[hue], 0.85, rng.uniform(0.85, 1)))
        else:
            colour = np.array([list(TONES.values())[hue % len(TONES)]])
        along, down = list(TEXTURES.values())[texture]
        paint = np.ones_like(covered)[..., None] * colour
        if texture:
            wave = 0.5 + 0.5 * np.sin(along * u + down * v)
            paint = paint * (0.35 + 0.65 * wave[..., None])
        image += covered[..., None] * (paint - image)
        return covered

    def _pixels(self, image: np.ndarray) -> np.ndarray:
        return (image.clip(0, 1) * 255).round().astype(np.uint8)


def open_procedural(
    source: Source, split: str, *, count: int, side: int, only: Sequence[int] | None = None
) -> Drawn:
    return Drawn(source, split, count=count, side=side, only=only)
