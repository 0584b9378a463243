"""Drawn pictures for both sides: a folder of files, and shards made from it."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch

from pipeline.config.params import Dataset, Params, Scale
from pipeline.config.runs import Augment
from pipeline.data import writer
from pipeline.data.batches import Batches
from pipeline.data.images import Images
from pipeline.data.manifest import Manifest, open_manifest
from pipeline.datasets import SOURCES
from pipeline.datasets.procedural import open_procedural
from pipeline.work.graph import Graph

SCALE = "bench"


@dataclass(frozen=True)
class Pictures:
    """`count` pictures of one size in the current folder."""

    params: Params
    side: int
    count: int
    jpeg: bool = False

    @property
    def name(self) -> str:
        return f"pictures-{self.side}-{self.count}-{'jpeg' if self.jpeg else 'raw'}"

    @cached_property
    def folder(self) -> Path:
        """Write SPLIT/CLASS/IMAGE as PNG or JPEG files."""
        from PIL import Image

        root = Path(self.name)
        drawn = open_procedural(SOURCES["cifar10"], "train", count=self.count, side=self.side)
        for index in range(self.count):
            sample = drawn[index]
            place = root / "train" / drawn.classes[sample.label]
            place.mkdir(parents=True, exist_ok=True)
            suffix, options = (".jpg", {"quality": 95}) if self.jpeg else (".png", {})
            Image.fromarray(sample.image).save(place / f"{index:06d}{suffix}", **options)
        return root

    @cached_property
    def manifest(self) -> Manifest:
        encoding = "jpeg" if self.jpeg else "raw"
        dataset = Dataset(
            source="folder", path=str(self.folder), side=self.side, splits=("train",), encoding=encoding
        )
        scales = {**self.params.scales, SCALE: Scale()}
        datasets = {**self.params.datasets, self.name: dataset}
        shards = Graph(replace(self.params, scale=SCALE, scales=scales, datasets=datasets)).shards(self.name)
        if not shards.manifest.exists():
            writer.SHARD_BYTES = 1 << 20  # several shards, so that a small set streams like a large one
            writer.shard(shards)
        return open_manifest(shards.manifest, "train")

    def images(self, *, stream: bool = False, on: torch.device | None = None) -> Images:
        """Open the shards as at a stage's start, with nothing cached."""
        above = 0.0 if stream else self.params.engine.stream_above_gb
        return Images(replace(self.manifest), stream_above_gb=above, on=on)

    def batches(self, *, crop: int, batch: int, stream: bool = False) -> Batches:
        import numpy as np

        images = self.images(stream=stream)
        return Batches(images, np.arange(self.count), Augment(crop=crop, flip=True), batch=batch, seed=0)
