"""Pieces of work as records: shards, training, measurement, each with its key and its paths."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config.params import Dataset
from pipeline.config.protocols import Protocol
from pipeline.config.runs import Run
from pipeline.datasets import SOURCES
from pipeline.system.files import DATA, RESULTS


def short_hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:10]


@dataclass(frozen=True, kw_only=True)
class Shards:
    """A data set at a scale, as deterministic tars."""

    name: str
    scale: str
    dataset: Dataset
    procedural: bool
    test_images: int | None
    key: str

    @property
    def folder(self) -> Path:
        return DATA / self.scale / f"{self.name}-{self.key}"

    @property
    def manifest(self) -> Path:
        return self.folder / "manifest.json"

    @property
    def fetched(self) -> Path | None:
        """The file that `fetch` writes last; None for drawn pictures, which need no download."""
        return None if self.procedural else self.raw / "fetched.json"

    @property
    def raw(self) -> Path:
        """Folder of the source's files, shared by its data sets; for a user's folder, the data set's name."""
        source = self.dataset.source
        return DATA / "raw" / (self.name if source == "folder" else source)

    @property
    def inputs(self) -> list[Path]:
        return [self.fetched] if self.fetched else []

    @property
    def displayed_name(self) -> str:
        """The data's name in tables."""
        return "procedural" if self.procedural else self.name


def licence_of(shards: Shards) -> dict[str, str]:
    """The images' licence and their owners' page, under Croissant's names; drawn ones are this project's."""
    source = SOURCES[shards.dataset.source]
    if shards.procedural:
        return {"license": "MIT"}
    return {"license": source.licence, **({"url": source.home} if source.home else {})}


@dataclass(frozen=True, kw_only=True)
class Training:
    """A run of params.yaml at a scale, for one seed."""

    stage: str
    name: str
    seed: int
    scale: str
    spec: Run
    shards: Shards
    start: "Training | None"
    key: str

    @property
    def lineage(self) -> list["Training"]:
        """This training, the one it starts from, and so on back to the first."""
        return [self, *(self.start.lineage if self.start else [])]

    @property
    def pipeline(self) -> int:
        """The independent repetition: the seed of the first training of the lineage."""
        return self.lineage[-1].seed

    @property
    def label(self) -> str:
        return f"{self.stage}.{self.name}"

    @property
    def identity(self) -> str:
        return f"{self.scale}/{self.stage}/{self.name}/{self.seed}-{self.key}"

    @property
    def folder(self) -> Path:
        return RESULTS / "runs" / self.identity

    @property
    def weights(self) -> Path:
        return self.folder / "weights.pt"

    @property
    def record(self) -> Path:
        return self.folder / "run.json"

    @property
    def outputs(self) -> list[Path]:
        return [self.weights, self.record]

    @property
    def inputs(self) -> list[Path]:
        """The shards, and the weights that it starts from."""
        return [self.shards.manifest, *([self.start.weights] if self.start else [])]


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """A trained run under one protocol."""

    training: Training
    protocol: str
    spec: Protocol
    shards: Shards  # the data that it is measured on
    key: str

    @property
    def name(self) -> str:
        return f"{self.training.label}.{self.protocol}"

    @property
    def identity(self) -> str:
        return f"{self.training.scale}/evaluate/{self.name}/{self.training.seed}-{self.key}"

    @property
    def folder(self) -> Path:
        return RESULTS / "runs" / self.identity

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.json"

    @property
    def outputs(self) -> list[Path]:
        return [self.metrics]

    @property
    def inputs(self) -> list[Path]:
        """Shards of the measurement and of the training, weights, and the training's record."""
        manifests = dict.fromkeys((self.shards.manifest, self.training.shards.manifest))
        return [*manifests, self.training.weights, self.training.record]


def made(work: Training | Measurement) -> bool:
    return all(file.exists() for file in work.outputs)


def log_of(work: Training | Measurement) -> Path:
    return RESULTS / "logs" / f"{work.identity}.log"


def words_of(works: Sequence[Training | Measurement]) -> str:
    """What `python -m pipeline` is given to make seeds of a run: pretrain a --seed 0 1 --scale paper."""
    trainings = [each if isinstance(each, Training) else each.training for each in works]
    first, training = works[0], trainings[0]
    stage = training.stage if isinstance(first, Training) else "evaluate"
    seeds = " ".join(str(each.seed) for each in trainings)
    return f"{stage} {first.name} --seed {seeds} --scale {training.scale}"
