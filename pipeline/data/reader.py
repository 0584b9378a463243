"""Verified shards as samples."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from pipeline.config.typed import build
from pipeline.data.manifest import Manifest
from pipeline.data.writer import check_classes
from pipeline.datasets import Object
from pipeline.datasets.pixels import decode
from pipeline.system.files import damaged

TOGETHER = 32  # samples that a thread decodes at a time: one by one, handing over would cost as much
PLAIN = b"0\0"  # what a tar's header says of a plain file
COMPRESSED = ("jpg",)  # members whose decoding is work, and lets go of the interpreter while it works


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
