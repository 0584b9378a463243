"""Estimate jobs: the number of their images times the cost of one image, which a rehearsal measures."""

from dataclasses import dataclass, field, replace
from functools import cache

from pipeline.config.runs import STAGES
from pipeline.data.manifest import open_manifest
from pipeline.data.views import BATCH
from pipeline.data.writer import open_split
from pipeline.datasets import SOURCES
from pipeline.planning.rehearsal import Rehearsal, labels_of
from pipeline.planning.stand_ins import side
from pipeline.system.progress import Progress
from pipeline.work.graph import Graph, least
from pipeline.work.identity import Measurement, Shards, Training

UNPACKING = 100e6  # bytes per second that are verified and unpacked
RENDERING = {"figure": 2.5, "claims": 1.0}  # seconds after the start
BEGINNING = 8.0  # seconds until Snakemake has its graph and the worker has imported torch
OFFICIAL = 4.5  # seconds to import torchvision, which knows the official files
LEARNING = 4.0  # seconds to import scikit-learn, for a measure that fits a classifier
STARTING = 1.0  # seconds to start a job, forked from the worker
JPEG = 0.17  # bytes per value of photographs at quality 95


@dataclass
class Job:
    """One call of a stage that has not run yet."""

    stage: str
    name: str
    seed: int
    images: int = 0  # through the network in all epochs, or into shards
    steps: int = 0
    flops: float = 0.0
    launches: int = 0  # of kernels on a GPU
    seconds: float = 0.0
    disk: int = 0  # bytes of its outputs
    needs: list[str] = field(default_factory=list)  # labels of the jobs that it depends on, finished or not

    @property
    def label(self) -> str:
        return f"{self.stage} {self.name} {self.seed}"


def count_of(shards: Shards, split: str) -> int:
    """The number of images of a split: from its manifest, or the official number after caps."""
    if shards.manifest.exists():
        return open_manifest(shards.manifest, split).count
    cap = shards.test_images if split == "test" else shards.dataset.images
    official = SOURCES[shards.dataset.source].splits.get(split)
    if official is None and not shards.procedural:
        official = len(open_split(shards, split))
    return least(official, cap)


def training_images(training: Training) -> int:
    """The number of images that a training takes from its split."""
    data, total = training.spec.data, count_of(training.shards, training.spec.data.split)
    if data.fold:
        return total // 5  # STL-10: a fold is a fifth of the labelled images
    total -= min(data.holdout, total // 2)
    return least(total, data.labels)


def steps_of(training: Training) -> tuple[int, int]:
    """Steps, and images per step; the unlabelled half of a mixed batch sets the length of an epoch."""
    spec, count = training.spec, training_images(training)
    batch = min(spec.batch, count)
    if spec.data.unlabelled:
        data = replace(spec.data, split=spec.data.unlabelled, labels=None, fold=False)
        holdout = data.holdout if spec.data.unlabelled == spec.data.split else 0
        data = replace(data, holdout=holdout)
        count = training_images(replace(training, spec=replace(spec, data=data)))
        half = min(spec.batch - spec.batch // 2, count)
        return count // half * spec.epochs, min(spec.batch // 2, batch) + half
    return count // batch * spec.epochs, batch


def measured_on(measurement: Measurement) -> int:
    training, protocol = measurement.training, measurement.spec
    if protocol.split == "validation":
        total = min(training.spec.data.holdout, count_of(training.shards, training.spec.data.split) // 2)
    else:
        total = count_of(measurement.shards, protocol.split)
    return least(total, protocol.images)


def cost(graph: Graph, left: list[Job], rehearsal: Rehearsal) -> None:
    """Fill in the images, FLOPs, launches, seconds and bytes of each job."""
    progress = Progress(len(left), "rehearsed: job")
    for number, job in enumerate(left, start=1):
        if job.stage in STAGES:
            _training(job, graph.training(job.stage, job.name, job.seed), rehearsal)
        elif job.stage == "evaluate":
            _measuring(job, graph.measurement(job.name, job.seed), rehearsal)
        elif job.stage == "shard":
            _sharding(job, graph.shards(job.name), rehearsal)
        elif job.stage == "fetch":
            shards = raw(graph)[job.name]
            source = SOURCES[shards.dataset.source]
            job.disk = sum(source.files.values()) * (1 + source.unpacks)
            job.seconds = job.disk / UNPACKING + OFFICIAL
        else:
            job.seconds = RENDERING.get(job.stage, 0.0)
            job.needs = [other.label for other in left if other.stage == "evaluate"]
        job.seconds += STARTING
        progress.say(number, job.label)
    progress.end()


def raw(graph: Graph) -> dict[str, Shards]:
    """One data set for every set of raw files, by the name of the raw files."""
    sets = [graph.shards(name) for name in graph.params.datasets]
    return {shards.raw.name: shards for shards in sets}


def _training(job: Job, training: Training, rehearsal: Rehearsal) -> None:
    spec, rehearsed = training.spec, rehearsal.training(training)
    job.steps, batch = steps_of(training)
    job.images = job.steps * batch
    job.flops, job.launches = job.images * rehearsed.flops, job.steps * rehearsed.launches
    held = count_of(training.shards, spec.data.split) if spec.epochs else 0
    job.seconds = job.images * rehearsed.seconds + held * rehearsal.reading(training.shards, spec.data.split)
    job.disk = 4 * rehearsed.parameters
    job.needs = [f"shard {training.shards.name} 0"]
    if training.start:
        job.needs.append(f"pretrain {training.start.name} {training.start.seed}")


def _measuring(job: Job, measurement: Measurement, rehearsal: Rehearsal) -> None:
    training, protocol, rehearsed = measurement.training, measurement.spec, rehearsal.measuring(measurement)
    job.images = measured_on(measurement) + labels_of(protocol)
    job.steps = -(-job.images // BATCH) * max(1, protocol.crops)
    job.flops, job.launches = job.images * rehearsed.flops, job.steps * rehearsed.launches
    split = training.spec.data.split if protocol.split == "validation" else protocol.split
    held = count_of(measurement.shards, split)
    job.seconds = job.images * rehearsed.seconds + held * rehearsal.reading(measurement.shards, split)
    job.seconds += LEARNING if labels_of(protocol) else 0
    job.needs = [f"{training.stage} {training.name} {training.seed}", f"shard {measurement.shards.name} 0"]


def _sharding(job: Job, shards: Shards, rehearsal: Rehearsal) -> None:
    job.images = sum(count_of(shards, split) for split in shards.dataset.splits)
    job.seconds = job.images * rehearsal.sharding(shards).seconds + (0 if shards.procedural else OFFICIAL)
    source = SOURCES[shards.dataset.source]
    wide = 4 / 3 if source.side > 96 and not shards.procedural else 1  # photographs
    values = source.channels * side(shards) ** 2 * wide
    job.disk = int(job.images * (2048 + values * (1 if shards.dataset.encoding == "raw" else JPEG)))
    job.needs = [f"fetch {shards.raw.name} 0"]


def longest(left: list[Job]) -> float:
    """Seconds of the critical path through the jobs."""
    by_label = {job.label: job for job in left}

    @cache
    def until(label: str) -> float:
        job = by_label[label]
        return job.seconds + max((until(need) for need in job.needs if need in by_label), default=0.0)

    return max(map(until, by_label), default=0.0)
