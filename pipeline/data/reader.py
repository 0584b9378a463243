"""Shards as samples: bytes are verified, then grouped by webdataset and decoded."""

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import groupby
from typing import Any

from pipeline.data.manifest import Manifest
from pipeline.data.samples import decoded
from pipeline.datasets import Sample
from pipeline.system.files import damaged

TOGETHER = 32  # samples that a thread decodes at a time: one by one, handing over would cost as much
PLAIN = b"0\0"  # the types of a plain file in a tar's header
COMPRESSED = "jpg"  # members whose decoders release the GIL


def read_verified(manifest: Manifest, shards: list[int]) -> list[bytes]:
    with ThreadPoolExecutor(os.cpu_count()) as readers:
        return list(readers.map(partial(_verified, manifest), shards))


def read_shards(
    manifest: Manifest, shards: list[int], contents: list[bytes] | None = None
) -> Iterator[Sample]:
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


def _samples(manifest: Manifest, shard: int, content: bytes) -> Iterator[Sample]:
    """Of one shard, in its order; none of them if their number is not the manifest's."""
    count, refuse = manifest.record["shards"][shard]["count"], _refusal(manifest, shard)
    try:
        grouped = list(by_key(members(content)))
        if len(grouped) != count:
            raise ValueError(f"it has {len(grouped)} samples, {count} in the manifest")
    except ValueError as error:
        raise refuse(error.args[0]) from None  # webdataset adds arguments of its own

    def decode(some: list[dict[str, Any]]) -> list[Sample]:
        samples = []
        for sample in some:
            try:
                samples.append(decoded(sample, manifest))
            except ValueError as error:
                raise refuse(f"{sample['__key__']}: {error}") from None
        return samples

    if not any(COMPRESSED in sample for sample in grouped):
        yield from decode(grouped)  # raw pixels are views: threads would cost more than they save
        return
    parts = [grouped[at : at + TOGETHER] for at in range(0, len(grouped), TOGETHER)]
    with ThreadPoolExecutor(os.cpu_count()) as decoders:
        for part in decoders.map(decode, parts):
            yield from part


def by_key(listed: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Samples as webdataset groups them; a lent machine may lack it (docs/paper-scale.md)."""
    try:
        from webdataset.tariterators import group_by_keys
    except ModuleNotFoundError:
        return by_adjacent_key(listed)
    return group_by_keys(listed, lcase=False)


def by_adjacent_key(listed: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for key, some in groupby(listed, key=lambda member: member["fname"].partition(".")[0]):
        sample = {"__key__": key, "__url__": ""}
        for member in some:
            extension = member["fname"].partition(".")[2]
            if extension in sample:
                raise ValueError(f"{member['fname']}: duplicate file name in tar file")
            sample[extension] = member["data"]
        yield sample


def members(tar: bytes | bytearray) -> Iterator[dict[str, Any]]:
    """As webdataset's tar_file_iterator, but views of verified bytes (docs/decisions.md, Shards)."""
    contents, at = memoryview(tar), 0
    while at + 512 <= len(tar) and tar[at]:
        name = tar[at : at + 100].partition(b"\0")[0].decode("latin-1")
        size = int(tar[at + 124 : at + 135], 8)
        key, dot, extension = name.partition(".")
        if tar[at + 156] not in PLAIN or size < 0 or not (key and dot and name.isascii()) or "/" in name:
            raise ValueError(f"{key[:40]!r}.{extension[:40]!r} of {size} bytes is no plain file")
        start, at = at + 512, at + 512 + size
        if at > len(tar):
            raise ValueError(f"{name} says that it has {size} bytes; the file ends before")
        yield {"fname": name, "data": contents[start:at], "__url__": ""}
        at += -at % 512
