"""What a split's shards hold, checked against its seal."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pipeline.config.typed import build
from pipeline.system.files import damaged, read_json, seal

WINDOW = 65_536  # samples that are shuffled together, as far as they fit in WINDOW_BYTES
WINDOW_BYTES = 2 << 30
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
    def outline(self) -> dict[str, Any]:
        """What a network, and the standardisation of its pixels, take from the split."""
        record = {name: self.record[name] for name in ("count", "shape", "mean", "std")}
        return {"classes": self.classes, "channels": self.channels, "splits": {self.split: record}}

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
    license: str = ""  # Croissant's name and spelling, as is url
    url: str = ""
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
