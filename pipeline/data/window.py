"""Shards that are shuffled together, decoded into memory."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from pipeline.data.manifest import Manifest
from pipeline.data.reader import read_shards, read_verified


class Window:
    """Images of one size or of many, in one buffer of bytes; labels, masks and objects beside them."""

    def __init__(self, manifest: Manifest, shards: list[int], contents: list[bytes] | None = None) -> None:
        images, labels, masks, self.objects = [], [], [], []
        for sample in read_shards(manifest, shards, contents):
            assert isinstance(sample.image, np.ndarray)
            assert not isinstance(sample.mask, bytes)
            images.append(sample.image)
            labels.append(sample.label)
            masks.append(sample.mask)
            self.objects.append(sample.objects or [])
        self.channels = manifest.channels
        alike = len({image.shape for image in images}) == 1  # the usual case; a shape for each takes long
        shapes = np.array([image.shape[:2] for image in (images[:1] if alike else images)], dtype=np.int64)
        self.shapes = np.broadcast_to(shapes, (len(images), 2))
        sizes = self.shapes.prod(axis=1)
        self.starts = np.concatenate([[0], np.cumsum(sizes)])
        self.bytes = np.concatenate([image.ravel() for image in images])
        self.alike = self.bytes.reshape(len(images), *images[0].shape) if alike else None
        self.masks = (
            np.concatenate([mask.ravel() for mask in masks if mask is not None])
            if masks[0] is not None
            else None
        )
        self.labels = _labels(labels, len(manifest.classes))

    def __len__(self) -> int:
        return len(self.shapes)

    def image(self, index: int) -> np.ndarray:
        if self.alike is not None:
            return self.alike[index]
        height, width = self.shapes[index]
        start, stop = self.starts[index] * self.channels, self.starts[index + 1] * self.channels
        return self.bytes[start:stop].reshape(height, width, self.channels)

    def mask(self, index: int) -> np.ndarray:
        assert self.masks is not None
        return self.masks[self.starts[index] : self.starts[index + 1]].reshape(self.shapes[index])


def _labels(labels: list, classes: int) -> Tensor:
    """Class numbers (N,), -1 without a label; for several classes an image, booleans (N, K)."""
    if not isinstance(labels[0], list):
        return torch.tensor([-1 if label is None else label for label in labels])
    several = torch.zeros(len(labels), classes, dtype=torch.bool)
    for row, present in zip(several, labels, strict=True):
        row[present] = True
    return several


def read_ahead(manifest: Manifest, shards: list[int]) -> Callable[[], Window]:
    """The part of reading that can run beside a training; a call does the rest.

    Photographs are decoded here. Raw shards are only checksummed: parsing holds the GIL and would stall
    training.
    """
    contents = read_verified(manifest, shards)
    if not manifest.compressed:
        return partial(Window, manifest, shards, contents)
    window = Window(manifest, shards, contents)
    return lambda: window
