"""A split's images: held whole where they fit, else streamed by windows; same samples, same order."""

from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.data.crops import Boxes
from pipeline.data.manifest import Manifest, open_manifest
from pipeline.data.resident import Resident
from pipeline.data.window import Window, read_ahead
from pipeline.datasets import VOID, Object
from pipeline.work.identity import Shards, Training


class Images:
    """A split that batches are cut from, held whole or window by window."""

    def __init__(
        self,
        manifest: Manifest,
        *,
        stream_above_gb: float,
        statistics: Manifest | None = None,
        raw: bool = False,
        on: torch.device | None = None,  # a device to hold the split whole, and to cut it there
    ) -> None:
        self.manifest, self.stream_above_gb, self.on = manifest, stream_above_gb, on
        gigabytes = manifest.count * manifest.image_bytes / 2**30
        self.streamed = gigabytes > stream_above_gb and len(manifest.windows) > 1
        self._held: dict[int, Window | Future] = {}
        self._statistics: dict[tuple[int, torch.device], tuple[Tensor, Tensor]] = {}
        self._reader = ThreadPoolExecutor(1)
        self.mean, self.std = mean_and_deviation(statistics or manifest, raw=raw)

    def statistics(self, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Mean and deviation as (1, C, 1, width), copied to the device once."""
        if (width, device) not in self._statistics:
            mean, std = (along(value, width).to(device) for value in (self.mean, self.std))
            self._statistics[width, device] = mean, std
        return self._statistics[width, device]

    def hold(self, numbers: list[int]) -> None:
        """Begin to read these windows; drop the others of a streamed set."""
        if self.streamed:
            self._held = {number: held for number, held in self._held.items() if number in numbers}
        for number in numbers:
            if number not in self._held:
                self._held[number] = self._reader.submit(
                    read_ahead, self.manifest, self.manifest.windows[number]
                )

    def window(self, number: int) -> Window:
        held = self._held[number]
        if isinstance(held, Future):
            held = self._held[number] = held.result()()
        return held

    def place(self, index: int) -> tuple[Window, int]:
        """The window that holds an image, and the image's index in it."""
        number = int(self.window_of(np.array([index]))[0])
        self.hold([number])
        return self.window(number), index - int(self.firsts[number])

    @cached_property
    def labels(self) -> Tensor:
        labels = []
        for number in range(len(self.manifest.windows)):
            self.hold([number])
            labels.append(self.window(number).labels)
        return torch.cat(labels)

    @cached_property
    def objects(self) -> list[list[Object]]:
        objects = []
        for number in range(len(self.manifest.windows)):
            self.hold([number])
            objects += self.window(number).objects
        return objects

    def crops(
        self, indices: np.ndarray, boxes: Boxes, *, then: int | None = None
    ) -> tuple[np.ndarray, Tensor, Any]:
        """A crop of each image (N, size, size, C), the labels, and the masks if the split has them."""
        size, first = boxes.size, self.firsts
        number_of = self.window_of(indices)
        self.hold([*dict.fromkeys(number_of.tolist()), *([then] if then is not None else [])])
        images = np.zeros((len(indices), size, size, self.manifest.channels), np.uint8)
        local, masks = indices - first[number_of], None
        windows = {number: self.window(number) for number in set(number_of.tolist())}
        places = list(zip([windows[number] for number in number_of.tolist()], local.tolist(), strict=True))
        boxes.cut([window.image(i) for window, i in places], images)
        if places[0][0].masks is not None:
            masks = np.full((len(indices), size, size), VOID, np.uint8)
            boxes.cut([window.mask(i) for window, i in places], masks)
        mirror(images, boxes.flip)
        if masks is not None:
            mirror(masks[..., None], boxes.flip)
        labels = places[0][0].labels[:1].repeat_interleave(len(indices), dim=0)
        for number, window in windows.items():
            labels[number_of == number] = window.labels[local[number_of == number]]
        return images, labels, masks

    @cached_property
    def resident(self) -> Resident | None:
        """The split on its device; None if images differ in size or have masks."""
        if self.on is None or self.streamed or self.manifest.record["shape"] is None:
            return None
        numbers = list(range(len(self.manifest.windows)))
        self.hold(numbers)
        windows = [self.window(number) for number in numbers]
        return Resident(windows, self.on) if windows[0].masks is None else None

    @cached_property
    def firsts(self) -> np.ndarray:
        return np.array([self.manifest.first(group[0]) for group in self.manifest.windows])

    def window_of(self, indices: np.ndarray) -> np.ndarray:
        return np.searchsorted(self.firsts, indices, side="right") - 1


def images_of(
    training: Training,
    split: str | None = None,
    *,
    stream_above_gb: float,
    shards: Shards | None = None,
    on: torch.device | None = None,
) -> Images:
    """A split as a training sees it, by default the one it learns from, which gives the mean and deviation.

    Other splits than the training's need `shards`: `evaluate` alone names them, so only it opens test splits.
    """
    data = training.spec.data
    assert shards or split in (None, data.split, data.unlabelled), f"{training.label} may not open {split!r}"
    training_split = open_manifest(training.shards.manifest, data.split)
    manifest = open_manifest((shards or training.shards).manifest, split) if split else training_split
    return Images(manifest, stream_above_gb=stream_above_gb, statistics=training_split, raw=data.raw, on=on)


def mean_and_deviation(manifest: Manifest, *, raw: bool) -> tuple[Tensor, Tensor]:
    """Of each channel (1, C, 1, 1); `raw` ones take pixels to [-1, 1]."""
    middle = [127.5] * manifest.channels
    record = {"mean": middle, "std": middle} if raw else manifest.record
    mean, std = (
        torch.tensor(record[name], dtype=torch.float32).view(1, -1, 1, 1) for name in ("mean", "std")
    )
    return mean, std.clamp(min=1.0)


def along(value: Tensor, width: int) -> Tensor:
    """(1, C, 1, 1) as (1, C, 1, W), channels last: so a CPU goes along a line, not by steps of C numbers."""
    return value.expand(-1, -1, 1, width).contiguous(memory_format=torch.channels_last)


def mirror(images: np.ndarray, which: np.ndarray) -> None:
    """In place, (N, H, W, C); by torch, which takes an eighth of numpy's time for it."""
    if which.any():
        chosen = torch.from_numpy(images[which]).permute(0, 3, 1, 2)
        images[which] = chosen.flip(3).permute(0, 2, 3, 1).numpy()
