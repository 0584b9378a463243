"""shard: a data set as deterministic WebDataset tars and a manifest, written last."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.samples import check_classes, encode
from pipeline.datasets import SOURCES, Sample, Split
from pipeline.datasets.pixels import from_netpbm
from pipeline.system.files import need_room, seal, sha256, write_json, write_whole
from pipeline.system.progress import Progress
from pipeline.work.identity import Shards, licence_of

SHARD_BYTES = 64 << 20  # a shard is closed at the first sample past this
PROBES = 8  # samples that tell how much room a split needs


def shard(shards: Shards) -> None:
    """Write every split of the data set; the same input gives the same bytes on any machine."""
    source = SOURCES[shards.dataset.source]
    splits: dict[str, Any] = {}
    classes: tuple[str, ...] = ()
    for name in shards.dataset.splits:
        split = open_split(shards, name)
        need_room(shards.folder, _estimated(shards, name, split), what=f"{shards.name}, split {name!r},")
        splits[name] = write_split(shards, name, split)
        classes = classes or tuple(split.classes)
    manifest = {
        "dataset": shards.name,
        "shown": shards.displayed_name,
        "key": shards.key,
        "labels": source.labels,
        "channels": source.channels,
        "side": shards.dataset.side,
        "classes": list(classes),
        **licence_of(shards),
        "splits": splits,
    }
    write_json(shards.manifest, {**manifest, "seal": seal(manifest)})


def open_split(shards: Shards, name: str) -> Split:
    dataset, source = shards.dataset, SOURCES[shards.dataset.source]
    from pipeline.datasets.synsets import SYNSETS

    if shards.procedural:
        from pipeline.datasets.procedural import open_procedural

        cap = shards.test_images if name == "test" else dataset.images
        count = min(each for each in (cap, source.splits.get(name)) if each is not None)
        only = None
        if dataset.synsets:  # each list of classes is stood in for by drawn classes of its own
            only = range(list(SYNSETS).index(dataset.synsets), source.classes or 0, len(SYNSETS))
        assert dataset.side is not None
        return open_procedural(source, name, count=count, side=dataset.side, only=only)
    synsets = SYNSETS[dataset.synsets] if dataset.synsets else None
    path = Path(dataset.path).expanduser() if dataset.path else None
    return source.open(shards.raw, name, path=path, synsets=synsets)


def chosen(shards: Shards, name: str, total: int) -> np.ndarray:
    """A split's samples in a fixed random order, as many as the cap allows.

    Sources list class by class. In this order every window of a streamed set, and the first N of any split,
    is a random draw.
    """
    cap = shards.test_images if name == "test" else shards.dataset.images
    return np.random.default_rng(0).permutation(total)[:cap]


def write_split(shards: Shards, name: str, split: Split) -> dict[str, Any]:
    if not len(split):
        raise ValueError(f"{shards.name}: split {name!r} has no image")
    taken = chosen(shards, name, len(split))
    histogram = np.zeros((SOURCES[shards.dataset.source].channels, 256), dtype=np.int64)
    shapes: set[tuple[int, int]] = set()

    progress = Progress(len(taken), f"{name}: image")

    def samples() -> Iterator[tuple[str, dict[str, bytes]]]:
        for i, index in enumerate(taken):
            where, sample = _sample(shards, name, split, int(index))
            parts, pixels = encode(sample, shards, where=where)
            mask = from_netpbm(parts["mask.pgm"], where=where) if "mask.pgm" in parts else None
            try:
                check_classes(sample.label, mask, len(split.classes))
            except ValueError as error:
                raise ValueError(f"{where}: {error}; mend it or take it away") from None
            shapes.add(pixels.shape[:2])
            for channel, counts in enumerate(histogram):
                counts += np.bincount(pixels[:, :, channel].ravel(), minlength=256)
            progress.say(i + 1)
            yield f"{i:08d}", parts
        progress.end()

    listed = [
        _write_tar(shards.folder / f"{name}-{i:05d}.tar", part) for i, part in enumerate(_parts(samples()))
    ]
    values, pixels = np.arange(256), histogram.sum(axis=1)
    mean = histogram @ values / pixels
    std = np.sqrt(histogram @ values**2 / pixels - mean**2)
    record = {
        "count": len(taken),
        "shards": listed,
        "mean": mean.tolist(),
        "std": std.tolist(),
        "shape": list(shapes.pop()) if len(shapes) == 1 else None,
    }
    if split.folds is not None:
        place = {int(index): i for i, index in enumerate(taken)}
        record["folds"] = [[place[i] for i in fold if i in place] for fold in split.folds]
    return record


def _sample(shards: Shards, name: str, split: Split, index: int) -> tuple[str, Sample]:
    """A sample, and how messages name it."""
    sample = split[index]
    return f"{shards.name} {name} {index}" + (f" ({sample.origin})" if sample.origin else ""), sample


def _estimated(shards: Shards, name: str, split: Split) -> int:
    """Estimate from a few samples how many bytes a split's tars will add to those that they replace."""
    taken = chosen(shards, name, len(split))
    probes = taken[:: max(1, len(taken) // PROBES)]
    sizes = [
        sum(1024 + len(content) for content in encode(sample, shards, where=where)[0].values())
        for where, sample in (_sample(shards, name, split, int(index)) for index in probes)
    ]
    there = sum(file.stat().st_size for file in shards.folder.glob(f"{name}-*.tar"))
    return sum(sizes) * len(taken) // max(1, len(sizes)) - there


def _parts(samples: Iterator) -> Iterator[list]:
    """The samples of a shard at a time; headers count, so webdataset's ShardWriter would cut elsewhere."""
    part: list = []
    size = 0
    for key, members in samples:
        part.append((key, members))
        size += sum(512 + len(content) for content in members.values())
        if size >= SHARD_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


def _write_tar(path: Path, samples: list[tuple[str, dict[str, bytes]]]) -> dict[str, Any]:
    from webdataset.writer import TarWriter  # imports torch

    def write(beside: Path) -> None:
        # No user, no time: the same samples give the same bytes on any machine.
        with (
            beside.open("wb") as file,
            TarWriter(file, user="", group="", mode=0o644, mtime=0, encoder=False) as tar,
        ):
            for key, members in samples:
                for extension, content in members.items():  # one a call: a call would sort them by name
                    tar.write({"__key__": key, extension: content})

    write_whole(path, write)
    return {
        "name": path.name,
        "count": len(samples),
        "bytes": path.stat().st_size,
        "sha256": sha256(path),
    }
