"""Shards as batches: a set that fits is read once, a larger one by windows; same samples, same order."""

import hashlib
import json
import os
from bisect import bisect_right
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from pipeline import ranks
from pipeline.datasets import Object
from pipeline.files import damaged, read_json, seal
from pipeline.params import Augment, Data
from pipeline.shard import check_classes, decode, resized
from pipeline.typed import build

WINDOW = 65_536  # samples that are shuffled together, as far as they fit in WINDOW_BYTES
WINDOW_BYTES = 2 << 30
TOGETHER = 32  # samples that a thread decodes at a time: one by one, handing over would cost as much
PLAIN = b"0\0"  # what a tar's header says of a plain file
COMPRESSED = ("jpg",)  # members whose decoding is work, and lets go of the interpreter while it works
USUAL_SIDE = 256  # of photographs that are not all of one size, half as long again


@dataclass
class Manifest:
    """What a split's shards hold."""

    folder: Path
    name: str
    split: str
    content: dict[str, Any]

    @property
    def record(self) -> dict[str, Any]:
        return self.content["splits"][self.split]

    @property
    def count(self) -> int:
        return self.record["count"]

    @property
    def classes(self) -> list[str]:
        return self.content["classes"]

    @property
    def channels(self) -> int:
        return self.content["channels"]

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(json.dumps(self.record, sort_keys=True).encode()).hexdigest()

    @property
    def image_bytes(self) -> int:
        side = self.content.get("side") or USUAL_SIDE
        height, width = self.record["shape"] or (side, side * 3 // 2)
        return height * width * self.channels

    @property
    def compressed(self) -> bool:
        """Whether the images are less on the disk than in memory, so that to decode them is work."""
        return sum(shard["bytes"] for shard in self.record["shards"]) < self.count * self.image_bytes

    @cached_property
    def windows(self) -> list[list[int]]:
        """Shards, in groups that are shuffled together; a small set is one window, so shuffled whole."""
        most = min(WINDOW, WINDOW_BYTES // self.image_bytes)
        groups: list[list[int]] = []
        held = most
        for i, shard in enumerate(self.record["shards"]):
            if held + shard["count"] > most:
                groups.append([])
                held = 0
            groups[-1].append(i)
            held += shard["count"]
        return groups

    def first(self, shard: int) -> int:
        return sum(each["count"] for each in self.record["shards"][:shard])


@dataclass(frozen=True, kw_only=True)
class _Tar:
    name: str
    count: int
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class _Split:
    count: int
    shards: tuple[_Tar, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    shape: tuple[int, int] | None
    folds: tuple[tuple[int, ...], ...] | None = None


@dataclass(frozen=True, kw_only=True)
class _Content:
    """What a manifest must be, whoever wrote it."""

    dataset: str
    shown: str
    key: str
    labels: Literal["class", "classes", "mask"]
    channels: Literal[1, 3]
    classes: tuple[str, ...]
    side: int | None = None  # of photographs, the short side that they are stored with
    splits: dict[str, _Split]
    seal: str

    def __post_init__(self) -> None:
        for name, split in self.splits.items():
            counts = [tar.count for tar in split.shards]
            tars = [tar.name for tar in split.shards]
            if not counts or min(counts) < 1 or sum(counts) != split.count:
                raise ValueError(f"split {name!r} has {split.count} samples, its shards {counts}")
            if tars != [f"{name}-{i:05d}.tar" for i in range(len(tars))] or "/" in name:
                raise ValueError(f"split {name!r} has the shards {tars}")
            if not len(split.mean) == len(split.std) == self.channels:
                raise ValueError(f"split {name!r} has another mean or deviation than one for each channel")
            if not all(0 <= value <= 255 for value in (*split.mean, *split.std)):
                raise ValueError(f"split {name!r} has the mean {split.mean} and the deviation {split.std}")
            if split.shape is not None and not 1 <= min(split.shape) <= max(split.shape) <= 1 << 16:
                raise ValueError(f"split {name!r} has the shape {split.shape}")
            if not all(0 <= index < split.count for fold in split.folds or () for index in fold):
                raise ValueError(f"split {name!r} has a fold of samples that it lacks")


def _remedy(path: Path) -> str:
    """The command that makes a manifest: data/<scale>/<name>-<key>/manifest.json."""
    return f"python -m pipeline.shard {path.parent.name[:-11]} --scale {path.parent.parent.name}"


def open_manifest(path: Path, split: str) -> Manifest:
    content = read_json(path, way_out=f"make it: {_remedy(path)}")
    if content.get("seal") != seal(content):
        raise damaged(path, "it does not say what was written")
    try:
        build(_Content, content, "")
    except ValueError as error:
        raise damaged(path, str(error)) from None
    if split not in content["splits"]:
        raise ValueError(f"{path} has no split {split!r}; it has {', '.join(content['splits'])}")
    return Manifest(folder=path.parent, name=content["dataset"], split=split, content=content)


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


def read_verified(manifest: Manifest, shards: list[int]) -> list[bytes]:
    with ThreadPoolExecutor(os.cpu_count()) as readers:
        return list(readers.map(partial(_verified, manifest), shards))


def read_shards(
    manifest: Manifest, shards: list[int], contents: list[bytes] | None = None
) -> Iterator[tuple[np.ndarray, int | list[int] | None, np.ndarray | None, list[Object]]]:
    """The samples of shards, once all of these are read and verified."""
    for shard, content in zip(shards, contents or read_verified(manifest, shards), strict=True):
        yield from _samples(manifest, shard, content)


def _verified(manifest: Manifest, shard: int) -> bytes:
    listed, refuse = manifest.record["shards"][shard], _refusal(manifest, shard)
    try:
        content = (manifest.folder / listed["name"]).read_bytes()
    except FileNotFoundError:
        raise refuse("it is missing") from None
    if hashlib.sha256(content).hexdigest() != listed["sha256"]:
        raise refuse("its sha256 is not the manifest's")
    return content


def _refusal(manifest: Manifest, shard: int) -> Callable[[str], ValueError]:
    path = manifest.folder / manifest.record["shards"][shard]["name"]
    return partial(damaged, path, manifest=manifest.folder / "manifest.json")


def _samples(manifest: Manifest, shard: int, content: bytes) -> Iterator[tuple]:
    """By a scan over the headers of one buffer, without a copy of raw pixels."""
    count, refuse = manifest.record["shards"][shard]["count"], _refusal(manifest, shard)
    try:
        samples = read_tar(content)
        if len(samples) != count:
            raise ValueError(f"it has {len(samples)} samples, {count} in the manifest")
    except ValueError as error:
        raise refuse(str(error)) from None

    def decoded(some: list[tuple[str, dict[str, memoryview]]]) -> list[tuple]:
        found = []
        for key, members in some:
            try:
                found.append(_sample(members, manifest))
            except ValueError as error:
                raise refuse(f"{key}: {error}") from None
        return found

    every = list(samples.items())
    if not any(extension in members for members in samples.values() for extension in COMPRESSED):
        yield from decoded(every)  # raw pixels are only looked at: threads would cost more
        return
    parts = [every[at : at + TOGETHER] for at in range(0, len(every), TOGETHER)]
    with ThreadPoolExecutor(os.cpu_count()) as decoders:
        for part in decoders.map(decoded, parts):
            yield from part


def read_tar(tar: bytes) -> dict[str, dict[str, memoryview]]:
    """The samples of a tar of plain files, by a scan over its headers: key -> extension -> content."""
    samples: dict[str, dict[str, memoryview]] = {}
    contents, at = memoryview(tar), 0
    while at + 512 <= len(tar) and tar[at]:
        name, size = tar[at : at + 100].partition(b"\0")[0].decode("ascii"), int(tar[at + 124 : at + 135], 8)
        key, dot, extension = name.partition(".")
        if tar[at + 156] not in PLAIN or size < 0 or not dot or "/" in name:
            raise ValueError(f"{key[:40]!r}.{extension[:40]!r} of {size} bytes is no plain file")
        start, at = at + 512, at + 512 + size
        if at > len(tar):
            raise ValueError(f"{key}.{extension} says that it has {size} bytes; the file ends before")
        samples.setdefault(key, {})[extension] = contents[start:at]
        at += -at % 512
    return samples


def _sample(members: dict[str, Any], manifest: Manifest) -> tuple:
    image = mask = None
    label: int | list[int] | None = None
    objects: tuple[Object, ...] = ()
    for extension, content in members.items():
        where = extension
        if extension == "cls":
            label = int(bytes(content))
        elif extension == "json":
            label = list(build(tuple[int, ...], json.loads(bytes(content)), "its label"))
        elif extension == "objects.json":
            objects = build(tuple[Object, ...], json.loads(bytes(content)), "its objects")
        elif extension == "mask.pgm":
            mask = decode(content, channels=None, where=where)[:, :, 0]
        else:
            image = decode(content, channels=manifest.channels, where=where)
    if image is None or image.shape[2] != manifest.channels:
        raise ValueError(f"it has no image of {manifest.channels} channels")
    if mask is not None and mask.shape != image.shape[:2]:
        raise ValueError(f"its mask is {mask.shape}, its image {image.shape[:2]}")
    check_classes(label, mask, len(manifest.classes))
    check_classes([number for number, *_ in objects], None, len(manifest.classes))
    for _, left, top, right, bottom in objects:
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            raise ValueError(f"it has the box {(left, top, right, bottom)}; 0 to 1 is the image")
    return image, label, mask, list(objects)


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
        return self._starts(length, place, self.size)[:, None] + np.arange(self.size)

    def _starts(self, length: Any, place: np.ndarray, side: Any) -> np.ndarray:
        """Anywhere in the free room; a crop that is longer stands in the middle."""
        free = length + 2 * self.pad - side
        first = np.where(free >= 0, -self.pad, (length - side) // 2)
        return first + (place * (np.maximum(free, 0) + 1 - 1e-9)).astype(np.int64)


def along(value: Tensor, width: int) -> Tensor:
    """(1, C, 1, 1) as (1, C, 1, W), channels last: so a CPU goes along a line, not by steps of C numbers."""
    return value.expand(-1, -1, 1, width).contiguous(memory_format=torch.channels_last)


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


def random_boxes(count: int, augment: Augment, chance: np.random.Generator) -> Boxes:
    """Crops anywhere, mirrored at random where the run says so."""
    return _boxes(chance.random((4, count)), augment)


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


def subset(images: Images, data: Data, *, seed: int) -> np.ndarray:
    """The samples of the split that a run learns from."""
    total = held_out(images, data, seed=seed)[1]
    if data.labels is None or data.labels >= len(total):
        return total
    return balanced(total, images.labels.numpy()[total], data.labels, seed=seed)


def held_out(images: Images, data: Data, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A fixed draw for validation and the rest, of the split or the seed's fold; at most half is held out."""
    total = np.arange(images.manifest.count)
    if data.fold:
        folds = images.manifest.record.get("folds")
        if not folds:
            raise ValueError(f"{images.manifest.name} has no folds in split {images.manifest.split!r}")
        total = np.array(folds[seed % len(folds)])
    order = total[np.random.default_rng(1).permutation(len(total))]
    count = min(data.holdout, len(order) // 2)
    return np.sort(order[:count]), np.sort(order[count:])


def balanced(indices: np.ndarray, labels: np.ndarray, count: int, *, seed: int) -> np.ndarray:
    """`count` samples, as many of each class as can be, drawn by the seed."""
    order = np.random.default_rng([2, seed]).permutation(len(indices))
    rank = np.empty(len(indices), int)  # of a sample within its class, in the drawn order
    for number in np.unique(labels):
        own = order[labels[order] == number]
        rank[own] = np.arange(len(own))
    return np.sort(indices[order[np.argsort(rank[order], kind="stable")][:count]])


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

    def order(self, epoch: int) -> np.ndarray:
        """Windows at random, and the samples at random within each."""
        if epoch != self._epoch:
            chance = np.random.default_rng([3, self.seed, epoch])
            place = chance.permutation(len(self.images.firsts))[self.images.window_of(self.indices)]
            self._order = self.indices[np.lexsort((chance.random(len(self.indices)), place))]
            windows = self.images.window_of(self._order)
            begins = np.flatnonzero(np.diff(windows, prepend=-1))
            self._begins = list(zip(begins.tolist(), windows[begins].tolist(), strict=True))
            self._epoch = epoch
        return self._order

    def at(self, step: int, device: torch.device) -> Batch:
        epoch, number = divmod(step, self.steps)
        order = self.order(epoch)
        own = order[number * self.batch : (number + 1) * self.batch]
        boxes = random_boxes(len(own), self.augment, np.random.default_rng([4, self.seed, step]))
        mine, then = ranks.part(len(own)), self._next_window((number + 1) * self.batch)
        batch = cut(self.images, own[mine], boxes.part(mine), device, then=then)
        return replace(batch, places=torch.arange(mine.start, mine.stop), whole=len(own))

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
        (pixels, label), mask = images.resident.crops(indices, boxes), None
    else:
        cropped, label, masks = images.crops(indices, boxes, then=then)
        pixels, label = torch.from_numpy(cropped).to(device), label.to(device)
        mask = None if masks is None else torch.from_numpy(masks).long().to(device)
    mean, std = (along(each, pixels.shape[2]).to(device) for each in (images.mean, images.std))
    centred = pixels.permute(0, 3, 1, 2).float().sub_(mean)
    return Batch(centred, std, mean, label, mask, torch.from_numpy(indices))
