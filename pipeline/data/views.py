"""The images of a split in its order: central crops, whole images, random crops."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from pipeline.config.runs import Augment
from pipeline.data.batches import Batch, cut
from pipeline.data.crops import central_boxes, image_boxes
from pipeline.data.images import Images
from pipeline.datasets.pixels import resized
from pipeline.system.progress import Progress

BATCH = 100  # images at once; no result depends on it beyond rounding


def central_crops(
    images: Images, indices: np.ndarray, augment: Augment, device: torch.device
) -> Iterator[Batch]:
    """Central crops, in the order of the split."""
    for own in parts(indices):
        yield cut(images, own, central_boxes(len(own), augment), device)


def whole_images(
    images: Images, indices: np.ndarray, augment: Augment, device: torch.device
) -> Iterator[Batch]:
    """All of each image, one by one: their sizes differ."""
    progress, mean, std = Progress(len(indices), "image"), images.mean.to(device), images.std.to(device)
    for done, index in enumerate(indices.tolist(), start=1):
        window, i = images.place(index)
        image, mask = window.image(i), None if window.masks is None else window.mask(i)
        if augment.short:
            shape = tuple(round(side * augment.short[0] / min(image.shape[:2])) for side in image.shape[:2])
            image, mask = resized(image, shape), None if mask is None else resized(mask, shape, nearest=True)
        centred = torch.from_numpy(image.copy()).to(device).permute(2, 0, 1)[None].float() - mean
        classes = None if mask is None else torch.from_numpy(mask.copy()).long()[None].to(device)
        yield Batch(centred, std, mean, window.labels[i : i + 1], classes, torch.tensor([index]))
        progress.say(done)
    progress.end()


def parts(indices: np.ndarray) -> Iterator[np.ndarray]:
    """As many at once as are measured at once."""
    progress = Progress(len(indices), "image")
    for first in range(0, len(indices), BATCH):
        yield indices[first : first + BATCH]
        progress.say(min(first + BATCH, len(indices)))
    progress.end()


def alone(batch: Batch) -> Iterator[Batch]:
    """Each image as a batch of one."""
    for i in range(len(batch.index)):
        one = slice(i, i + 1)
        mask = None if batch.mask is None else batch.mask[one]
        yield replace(
            batch, centred=batch.centred[one], label=batch.label[one], mask=mask, index=batch.index[one]
        )


def random_crops(
    images: Images, indices: np.ndarray, augment: Augment, device: torch.device, *, crops: int, seed: int
) -> Iterator[Batch]:
    """Crops of each image as training cuts them; they follow from the seed and the image alone."""
    for crop in range(crops):
        yield cut(images, indices, image_boxes(indices, augment, [5, seed, crop]), device)
