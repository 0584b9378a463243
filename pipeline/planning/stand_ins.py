"""Procedural data in place of a data set, of the same kind: what rehearsals run on."""

import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from pipeline.data.writer import shard
from pipeline.datasets import SOURCES, Sample, Split
from pipeline.work.identity import Shards, Training, short_hash

PICTURES = 64  # procedural ones for each kind of data


def kind_of(shards: Shards) -> list:
    """The properties of data that the cost of an image depends on."""
    source = SOURCES[shards.dataset.source]
    return [source.channels, source.classes, source.labels, side(shards), shards.dataset.encoding]


def side(shards: Shards) -> int:
    """The side of the stored images."""
    return shards.dataset.side or SOURCES[shards.dataset.source].side


def stand_in(shards: Shards, *splits: str) -> Shards:
    """Procedural data of the same kind."""
    dataset = replace(
        shards.dataset, images=PICTURES, side=side(shards), splits=splits, synsets=None, path=None
    )
    return replace(
        shards,
        procedural=True,
        test_images=PICTURES,
        dataset=dataset,
        key=short_hash([kind_of(shards), splits]),
    )


def drawn(shards: Shards, split: str) -> Shards:
    """Procedural shards of the same kind, written unless they exist."""
    replacement = stand_in(shards, split)
    if not replacement.manifest.exists():
        shard(replacement)
    return replacement


def on_drawn(training: Training) -> Training:
    """The same training, of drawn pictures."""
    return replace(training, shards=drawn(training.shards, training.spec.data.split))


class Taken:
    """Pictures drawn in advance, so that timings exclude drawing them."""

    folds: list[list[int]] | None = None

    def __init__(self, split: Split, taken: Callable[[Sample], Sample]) -> None:
        self.samples, self.classes = [taken(split[i]) for i in range(len(split))], split.classes

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, i: int) -> Sample:
        return self.samples[i]


def photograph(sample: Sample) -> Sample:
    from PIL import Image

    buffer = io.BytesIO()
    assert isinstance(sample.image, np.ndarray)
    Image.fromarray(sample.image.squeeze()).save(buffer, "JPEG", quality=95)
    return replace(sample, image=buffer.getvalue())
