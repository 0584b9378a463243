"""The batches of a training; what is in one follows from (seed, step)."""

from bisect import bisect_right
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from pipeline.compute import distributed
from pipeline.config.runs import Augment
from pipeline.data.crops import Boxes, joined, random_boxes
from pipeline.data.images import Images
from pipeline.data.resident import Resident


@dataclass(frozen=True)
class Batch:
    """Images on the 0-255 scale with their mean taken away; divided by `std` they are what networks see."""

    centred: Tensor  # (N, C, H, W)
    std: Tensor  # (1, C, 1, W)
    mean: Tensor
    label: Tensor
    mask: Tensor | None
    index: Tensor
    labelled: int | None = None  # the first so many have a label; None: all
    places: Tensor | None = None  # of these in the batch that several processes share
    whole: int = 0  # images in that batch

    @property
    def x(self) -> Tensor:
        return self.centred / self.std

    def pixels(self, x: Tensor) -> Tensor:
        """What a network gave, back on the 0-255 scale."""
        return x.float() * self.std + self.mean


class Batches:
    """The batches of a whole training; what is in one follows from (seed, step)."""

    def __init__(
        self, images: Images, indices: np.ndarray, augment: Augment, *, batch: int, seed: int
    ) -> None:
        self.images, self.augment, self.seed = images, augment, seed
        self.indices = indices
        self.batch = min(batch, len(indices))
        self.steps = len(indices) // self.batch  # a last, smaller batch of an epoch is left out
        self._epoch, self._order = -1, indices
        self._begins: list[tuple[int, int]] = []  # where in the order each window begins, and which it is
        self._placed: tuple[int, Tensor] | None = None  # an epoch, and its crops on the device

    def order(self, epoch: int) -> np.ndarray:
        """Windows at random, and the samples at random within each."""
        if epoch != self._epoch:
            rng = np.random.default_rng([3, self.seed, epoch])
            place = rng.permutation(len(self.images.firsts))[self.images.window_of(self.indices)]
            self._order = self.indices[np.lexsort((rng.random(len(self.indices)), place))]
            windows = self.images.window_of(self._order)
            begins = np.flatnonzero(np.diff(windows, prepend=-1))
            self._begins = list(zip(begins.tolist(), windows[begins].tolist(), strict=True))
            self._epoch = epoch
        return self._order

    def at(self, step: int, device: torch.device) -> Batch:
        epoch, number = divmod(step, self.steps)
        order = self.order(epoch)
        own = order[number * self.batch : (number + 1) * self.batch]
        mine, then = distributed.part(len(own)), self._next_window((number + 1) * self.batch)
        if self.images.resident is not None and self.augment.short is None:
            places = self._places(epoch)[number * self.batch : (number + 1) * self.batch][mine]
            batch = resident_crops(self.images, self.images.resident, own[mine], places, self.augment.crop)
        else:
            batch = cut(self.images, own[mine], self._boxes(step).part(mine), device, then=then)
        return replace(batch, places=torch.arange(mine.start, mine.stop), whole=len(own))

    def _boxes(self, step: int) -> Boxes:
        return random_boxes(self.batch, self.augment, np.random.default_rng([4, self.seed, step]))

    def _places(self, epoch: int) -> Tensor:
        """All crops of an epoch, copied to the device at once, so that no step waits for the host."""
        if self._placed is None or self._placed[0] != epoch:
            assert self.images.resident is not None
            boxes = joined([self._boxes(epoch * self.steps + number) for number in range(self.steps)])
            order = self.order(epoch)[: self.steps * self.batch]
            self._placed = epoch, self.images.resident.places(order, boxes)
        return self._placed[1]

    def _next_window(self, position: int) -> int | None:
        """The one to read while that of this position in the order is used."""
        following = bisect_right(self._begins, position, key=lambda each: each[0])
        return self._begins[following][1] if self.images.streamed and following < len(self._begins) else None


class Mixed:
    """The batches of two trainings as one, half and half, for as long as the second one's epochs last."""

    def __init__(self, labelled: Batches, unlabelled: Batches) -> None:
        self.labelled, self.unlabelled = labelled, unlabelled
        self.steps = unlabelled.steps

    def at(self, step: int, device: torch.device) -> Batch:
        one, other = self.labelled.at(step, device), self.unlabelled.at(step, device)
        assert one.places is not None
        assert other.places is not None
        return replace(
            one,
            centred=torch.cat([one.centred, other.centred]),
            label=torch.cat([one.label, torch.full_like(other.label, -1)]),
            index=torch.cat([one.index, other.index]),
            labelled=len(one.label),
            places=torch.cat([one.places, other.places + one.whole]),
            whole=one.whole + other.whole,
        )


def cut(
    images: Images, indices: np.ndarray, boxes: Boxes, device: torch.device, *, then: int | None = None
) -> Batch:
    """One batch, centred, channels last, on its device."""
    if images.resident is not None and boxes.short is None:
        places = images.resident.places(indices, boxes)
        return resident_crops(images, images.resident, indices, places, boxes.size)
    cropped, label, masks = images.crops(indices, boxes, then=then)
    mask = None if masks is None else torch.from_numpy(masks).long().to(device)
    return _batch(images, torch.from_numpy(cropped).to(device), label.to(device), indices, mask)


def resident_crops(
    images: Images, resident: Resident, indices: np.ndarray, places: Tensor, size: int
) -> Batch:
    return _batch(images, *resident.crops(places, size), indices)


def _batch(
    images: Images, pixels: Tensor, label: Tensor, indices: np.ndarray, mask: Tensor | None = None
) -> Batch:
    mean, std = images.statistics(pixels.shape[2], pixels.device)
    centred = pixels.permute(0, 3, 1, 2).float().sub_(mean)
    return Batch(centred, std, mean, label, mask, torch.from_numpy(indices))
