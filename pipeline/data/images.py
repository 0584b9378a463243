"""Shards as batches: a set that fits is read once, a larger one by windows; same samples, same order."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.data.crops import Boxes
from pipeline.data.manifest import Manifest
from pipeline.data.reader import read_shards, read_verified
from pipeline.datasets import Object


class Pixels:
    """Images of one size or of many, in one buffer of bytes; labels, masks and objects beside them."""

    def __init__(self, manifest: Manifest, shards: list[int], contents: list[bytes] | None = None) -> None:
        images, labels, masks, self.objects = [], [], [], []
        for image, label, mask, objects in read_shards(manifest, shards, contents):
            images.append(image)
            labels.append(label)
            masks.append(mask)
            self.objects.append(objects)
        self.channels = manifest.channels
        alike = len({image.shape for image in images}) == 1  # as most often; one by one takes long
        shapes = np.array([image.shape[:2] for image in (images[:1] if alike else images)], dtype=np.int64)
        self.shapes = np.broadcast_to(shapes, (len(images), 2))
        sizes = self.shapes.prod(axis=1)
        self.starts = np.concatenate([[0], np.cumsum(sizes)])
        self.bytes = np.concatenate([image.ravel() for image in images])
        self.alike = self.bytes.reshape(len(images), *images[0].shape) if alike else None
        self.masks = (
            np.concatenate([each.ravel() for each in masks if each is not None])
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
    """Class numbers (N,); or for several an image, a row of booleans (N, K); -1 where there is none."""
    if not isinstance(labels[0], list):
        return torch.tensor([-1 if label is None else label for label in labels])
    several = torch.zeros(len(labels), classes, dtype=torch.bool)
    for row, present in zip(several, labels, strict=True):
        row[present] = True
    return several


def read_ahead(manifest: Manifest, shards: list[int]) -> Callable[[], Pixels]:
    """What can be done beside a training; the rest when it is asked for.

    Pictures are decoded. Raw ones are verified and no more: to look at them is Python's own work, as much of
    a training is, and each would keep the other from its own.
    """
    contents = read_verified(manifest, shards)
    if not manifest.compressed:
        return partial(Pixels, manifest, shards, contents)
    pixels = Pixels(manifest, shards, contents)
    return lambda: pixels


class Images:
    """A split that batches can be cut from, held whole or window by window."""

    def __init__(
        self,
        manifest: Manifest,
        *,
        stream_above_gb: float,
        statistics: Manifest | None = None,
        raw: bool = False,
        on: torch.device | None = None,  # a device that is to hold it whole, and cut it there
    ) -> None:
        self.manifest, self.stream_above_gb, self.on = manifest, stream_above_gb, on
        gigabytes = manifest.count * manifest.image_bytes / 2**30
        self.streamed = gigabytes > stream_above_gb and len(manifest.windows) > 1
        self._held: dict[int, Pixels | Future] = {}
        self._reader = ThreadPoolExecutor(1)
        middle = [127.5] * manifest.channels
        record = {"mean": middle, "std": middle} if raw else (statistics or manifest).record
        self.mean = torch.tensor(record["mean"], dtype=torch.float32).view(1, -1, 1, 1)
        self.std = torch.tensor(record["std"], dtype=torch.float32).clamp(min=1.0).view(1, -1, 1, 1)

    def hold(self, wanted: list[int]) -> None:
        """Begin to read these windows; of a streamed set, let the others go."""
        if self.streamed:
            self._held = {number: held for number, held in self._held.items() if number in wanted}
        for number in wanted:
            if number not in self._held:
                self._held[number] = self._reader.submit(
                    read_ahead, self.manifest, self.manifest.windows[number]
                )

    def window(self, number: int) -> Pixels:
        held = self._held[number]
        if isinstance(held, Future):
            held = self._held[number] = held.result()()
        return held

    def place(self, index: int) -> tuple[Pixels, int]:
        """The window that holds an image, and where in it."""
        number = int(self.window_of(np.array([index]))[0])
        self.hold([number])
        return self.window(number), index - int(self.firsts[number])

    @cached_property
    def labels(self) -> Tensor:
        every = []
        for number in range(len(self.manifest.windows)):
            self.hold([number])
            every.append(self.window(number).labels)
        return torch.cat(every)

    @cached_property
    def objects(self) -> list[list[Object]]:
        every = []
        for number in range(len(self.manifest.windows)):
            self.hold([number])
            every += self.window(number).objects
        return every

    def crops(
        self, indices: np.ndarray, boxes: "Boxes", *, then: int | None = None
    ) -> tuple[np.ndarray, Tensor, Any]:
        """Cut a box from each image: (N, size, size, C), the labels, and the masks where there are any."""
        size, first = boxes.size, self.firsts
        window = self.window_of(indices)
        self.hold([*dict.fromkeys(window.tolist()), *([then] if then is not None else [])])
        images = np.zeros((len(indices), size, size, self.manifest.channels), np.uint8)
        local, masks = indices - first[window], None
        held = {number: self.window(number) for number in set(window.tolist())}
        each = list(zip([held[number] for number in window.tolist()], local.tolist(), strict=True))
        boxes.cut([own.image(i) for own, i in each], images)
        if each[0][0].masks is not None:
            masks = np.full((len(indices), size, size), 255, np.uint8)
            boxes.cut([own.mask(i) for own, i in each], masks)
        mirror(images, boxes.flip)
        if masks is not None:
            mirror(masks[..., None], boxes.flip)
        labels = each[0][0].labels[:1].repeat_interleave(len(indices), dim=0)
        for number, own in held.items():
            labels[window == number] = own.labels[local[window == number]]
        return images, labels, masks

    @cached_property
    def resident(self) -> "Resident | None":
        """All of it on the device that is to hold it; None where images differ in size or have masks."""
        if self.on is None or self.streamed or self.manifest.record["shape"] is None:
            return None
        every = list(range(len(self.manifest.windows)))
        self.hold(every)
        held = [self.window(number) for number in every]
        return Resident(held, self.on) if held[0].masks is None else None

    @cached_property
    def firsts(self) -> np.ndarray:
        return np.array([self.manifest.first(group[0]) for group in self.manifest.windows])

    def window_of(self, indices: np.ndarray) -> np.ndarray:
        return np.searchsorted(self.firsts, indices, side="right") - 1


def mirror(images: np.ndarray, which: np.ndarray) -> None:
    """In place, (N, H, W, C); by torch, which takes an eighth of numpy's time for it."""
    if which.any():
        chosen = torch.from_numpy(images[which]).permute(0, 3, 1, 2)
        images[which] = chosen.flip(3).permute(0, 2, 3, 1).numpy()


class Resident:
    """Images of one size that lie on a device and are cut there, to the pixel as `Images.crops` cuts them."""

    def __init__(self, held: list[Pixels], device: torch.device) -> None:
        images = [each.alike for each in held if each.alike is not None]
        self.images = torch.cat([torch.from_numpy(each).to(device) for each in images])
        self.labels = torch.cat([each.labels for each in held]).to(device)

    def crops(self, indices: np.ndarray, boxes: Boxes) -> tuple[Tensor, Tensor]:
        _, height, width, _ = self.images.shape
        across = boxes.lines(width, boxes.left)
        lines = (
            indices,
            boxes.lines(height, boxes.top),
            np.where(boxes.flip[:, None], across[:, ::-1], across),
        )
        own, rows, columns = (torch.from_numpy(each).to(self.images.device) for each in lines)
        outside = ((rows < 0) | (rows >= height))[:, :, None] | ((columns < 0) | (columns >= width))[:, None]
        rows, columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
        found = self.images[own[:, None, None], rows[:, :, None], columns[:, None]]
        return found.masked_fill(outside[..., None], 0), self.labels[own]
