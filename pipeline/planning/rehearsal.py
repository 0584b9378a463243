"""Measure the cost of work by running a little of it on procedural pictures in a temporary folder."""

import contextlib
import io
import json
import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from pipeline.compute.device import device_at_hand, prepare
from pipeline.compute.engine import precision
from pipeline.config.params import Engine
from pipeline.config.protocols import Protocol
from pipeline.config.typed import Choice, plain
from pipeline.data.batches import Batch, Batches, Mixed
from pipeline.data.images import images_of
from pipeline.data.manifest import open_manifest
from pipeline.data.window import Window
from pipeline.data.writer import open_split, shard, write_split
from pipeline.datasets import SOURCES, Sample, Split
from pipeline.objectives import objective_of
from pipeline.protocols import measure_of
from pipeline.training.loop import fit
from pipeline.work.identity import Measurement, Shards, Training, short_hash

PICTURES = 64  # procedural ones for each kind of data


# Processor time of one thread does not depend on the machine's load; several threads or a GPU need the clock.
CLOCKS = {True: time.process_time, False: time.perf_counter}


LONGEST = 2.0  # seconds of one rehearsed step; of a batch that would take longer, a part is rehearsed
SECONDS = 0.5  # for which a rehearsal repeats its steps, at least


@dataclass(frozen=True)
class Cost:
    flops: float  # of one image
    seconds: float  # of one image
    parameters: int = 0


class Rehearsal:
    """Costs by kind: work that differs only in pixel values or length is rehearsed once."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.device = replace(engine, checkpoint_seconds=math.inf), device_at_hand()
        self.clock = CLOCKS[self.device.type == "cpu" and engine.threads == 1]
        self._known: dict[str, Any] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="plan-")

    def _once(self, kind: Any, act: Callable[[], Any]) -> Any:
        name = json.dumps(kind, sort_keys=True, default=str)
        if name not in self._known:
            prepare(self.engine.threads)
            with contextlib.chdir(self._folder.name), contextlib.redirect_stderr(io.StringIO()):
                self._known[name] = act()
        return self._known[name]

    def sharding(self, shards: Shards) -> Cost:
        kind = ["shard", shards.procedural, *_kind(shards)]
        return self._once(kind, lambda: Cost(0.0, self._sharding(shards)))

    def reading(self, shards: Shards, split: str) -> float:
        """Seconds to read one image from its shard into memory."""

        def act() -> float:
            manifest = open_manifest(_drawn(shards, split).manifest, split)
            every = list(range(len(manifest.record["shards"])))
            return self._timed(lambda: Window(manifest, every)) / manifest.count

        return self._once(["read", split, *_kind(shards)], act)

    def training(self, training: Training) -> Cost:
        left_out = ("data", "init", "start", "transfer", "schedule", "epochs", "repeats", "evaluate")
        spec = {name: value for name, value in plain(training.spec).items() if name not in left_out}
        kind = ["train", spec, bool(training.spec.data.unlabelled), *_kind(training.shards)]
        return self._once(kind, lambda: self._training(training))

    def _training(self, training: Training) -> Cost:
        images = images_of(_rehearsed(training), stream_above_gb=math.inf)
        spec, manifest = training.spec, images.manifest
        still = replace(spec.optimiser.options, lr=0.0)  # or weights that `init` did not draw may diverge
        spec = replace(spec, optimiser=Choice(spec.optimiser.name, still))
        model = self._ready(objective_of(spec).build(spec, manifest))

        def take(size: int) -> Batches:
            return Batches(images, np.arange(size) % manifest.count, spec.augment, batch=size, seed=0)

        def batches(size: int) -> Batches | Mixed:
            return Mixed(take(size // 2), take(size - size // 2)) if spec.data.unlabelled else take(size)

        def loss(batch: Batch, generator: torch.Generator) -> Tensor:
            return objective_of(spec).loss(model, batch, spec, generator)

        def steps(count: int, size: int) -> None:
            fit(
                model,
                loss,
                batches(size),
                replace(spec, epochs=count),
                seed=0,
                owner={},
                folder=Path(),
                engine=self.engine,
                device=self.device,
            )

        few = min(4 if spec.data.unlabelled else 2, spec.batch)  # BatchNorm needs two labelled images
        spec = objective_of(spec).prepare(model, batches(few), spec, seed=0, device=self.device)
        batch, generator = batches(few).at(0, self.device), torch.Generator(self.device)
        flops = _flops(lambda: loss(batch, generator).backward()) / few
        steps(1, few)
        size = max(few, min(spec.batch, int(LONGEST / self._timed(lambda: steps(1, few)) * few)))
        steps(1, size)
        count = max(1, min(50, int(LONGEST / 10 / self._timed(lambda: steps(1, size)))))
        seconds = self._repeated(lambda: steps(count, size)) / count
        return Cost(flops, seconds / size, sum(weights.numel() for weights in model.parameters()))

    def measuring(self, measurement: Measurement) -> Cost:
        spec, training = measurement.spec, measurement.training.spec
        names = ("objective", "network", "corruption", "augment")
        options = {name: value for name, value in plain(training).items() if name in names}
        kind = ["measure", options, plain(spec), *_kind(measurement.shards)]
        return self._once(kind, lambda: self._measuring(measurement))

    def _measuring(self, measurement: Measurement) -> Cost:
        training = _rehearsed(measurement.training)
        data = training.spec.data
        split = data.split if measurement.spec.split == "validation" else measurement.spec.split
        images = images_of(
            training, split, stream_above_gb=math.inf, shards=_drawn(measurement.shards, split)
        )
        training_split = open_manifest(training.shards.manifest, data.split)
        model = self._ready(objective_of(training.spec).build(training.spec, training_split)).eval()
        rehearsed, measure = replace(measurement, training=training), measure_of(measurement)

        def act(count: int) -> None:
            half = precision(self.engine, self.device) == "bf16"
            with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=half):
                measure(model, images, np.arange(count) % images.manifest.count, rehearsed, self.device)

        fitted = min(labels_of(measurement.spec), PICTURES)
        flops = _flops(lambda: act(2)) / (2 + fitted)
        count = max(2, min(PICTURES, int(LONGEST / self._timed(lambda: act(2)) * 2)))
        act(count)
        return Cost(flops, self._repeated(lambda: act(count)) / (count + fitted))

    def _sharding(self, shards: Shards) -> float:
        """Seconds to shard one image; photographs are JPEG files in the source's usual size."""
        drawn = _stand_in(shards, shards.dataset.splits[0])
        name = drawn.dataset.splits[0]
        if shards.procedural:
            split: Split = open_split(drawn, name)
        else:
            source = SOURCES[shards.dataset.source]
            full = replace(drawn, dataset=replace(drawn.dataset, side=source.side))
            taken = _photograph if source.side > 96 else lambda sample: sample
            split = Taken(open_split(full, name), taken)
        return self._timed(lambda: write_split(drawn, name, split)) / len(split)

    def _timed(self, act: Callable[[], Any]) -> float:
        began = self.clock()
        act()
        return max(1e-6, self.clock() - began)

    def _repeated(self, act: Callable[[], Any]) -> float:
        """Median seconds of one call, repeated for SECONDS and at least twice."""
        durations: list[float] = []
        while len(durations) < 2 or sum(durations) < SECONDS:
            durations.append(self._timed(act))
        return float(np.median(durations))

    def _ready(self, model: nn.Module) -> nn.Module:
        return model.to(self.device).to(memory_format=torch.channels_last)


def labels_of(protocol: Protocol) -> int:
    """The number of training images to which a measure fits a classifier."""
    return getattr(protocol.measure.options, "labels", 0) if protocol.measure else 0


def _kind(shards: Shards) -> list:
    """The properties of data that the cost of an image depends on."""
    source = SOURCES[shards.dataset.source]
    return [source.channels, source.classes, source.labels, side(shards), shards.dataset.encoding]


def side(shards: Shards) -> int:
    """The side of the stored images."""
    return shards.dataset.side or SOURCES[shards.dataset.source].side


def _stand_in(shards: Shards, *splits: str) -> Shards:
    """Procedural data of the same kind."""
    dataset = replace(
        shards.dataset, images=PICTURES, side=side(shards), splits=splits, synsets=None, path=None
    )
    return replace(
        shards,
        procedural=True,
        test_images=PICTURES,
        dataset=dataset,
        key=short_hash([_kind(shards), splits]),
    )


def _drawn(shards: Shards, split: str) -> Shards:
    drawn = _stand_in(shards, split)
    if not drawn.manifest.exists():
        shard(drawn)
    return drawn


def _rehearsed(training: Training) -> Training:
    """The same training, of drawn pictures."""
    return replace(training, shards=_drawn(training.shards, training.spec.data.split))


class Taken:
    """Pictures drawn in advance, so that timings exclude drawing them."""

    folds: list[list[int]] | None = None

    def __init__(self, split: Split, taken: Callable[[Sample], Sample]) -> None:
        self.samples, self.classes = [taken(split[i]) for i in range(len(split))], split.classes

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, i: int) -> Sample:
        return self.samples[i]


def _photograph(sample: Sample) -> Sample:
    from PIL import Image

    buffer = io.BytesIO()
    assert isinstance(sample.image, np.ndarray)
    Image.fromarray(sample.image.squeeze()).save(buffer, "JPEG", quality=95)
    return replace(sample, image=buffer.getvalue())


def _flops(act: Callable[[], Any]) -> float:
    with FlopCounterMode(display=False) as counter:
        act()
    return float(counter.get_total_flops())
