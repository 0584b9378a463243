"""Measure the cost of work by running a little of it on procedural pictures in a temporary folder."""

import contextlib
import io
import json
import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from pipeline.compute.device import device_at_hand, prepare
from pipeline.compute.engine import on_device, precision
from pipeline.config.params import Engine
from pipeline.config.protocols import Protocol
from pipeline.config.typed import Choice, plain
from pipeline.data.batches import Batch, Batches, Mixed
from pipeline.data.images import Images, images_of
from pipeline.data.manifest import open_manifest
from pipeline.data.window import Window
from pipeline.data.writer import open_split, write_split
from pipeline.datasets import SOURCES, Split
from pipeline.objectives import objective_of
from pipeline.planning.stand_ins import PICTURES, Taken, drawn, kind_of, on_drawn, photograph, stand_in
from pipeline.protocols import measure_of
from pipeline.training.loop import steps
from pipeline.work.identity import Measurement, Shards, Training

# Processor time of one thread does not depend on the machine's load; several threads or a GPU need the clock.
CLOCKS = {True: time.process_time, False: time.perf_counter}


LONGEST = 2.0  # seconds of one rehearsed step; of a batch that would take longer, a part is rehearsed
UNLAUNCHED = ("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "lift_fresh")
SECONDS = 0.5  # for which a rehearsal repeats its steps, at least


@dataclass(frozen=True)
class Cost:
    flops: float  # of one image
    seconds: float  # of one image
    launches: int = 0  # of kernels, in one step
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
            prepare(self.engine, one_shape=True)
            with contextlib.chdir(self._folder.name), contextlib.redirect_stderr(io.StringIO()):
                self._known[name] = act()
        return self._known[name]

    def sharding(self, shards: Shards) -> Cost:
        kind = ["shard", shards.procedural, *kind_of(shards)]
        return self._once(kind, lambda: Cost(0.0, self._sharding(shards)))

    def reading(self, shards: Shards, split: str) -> float:
        """Seconds to read one image from its shard into memory."""

        def act() -> float:
            manifest = open_manifest(drawn(shards, split).manifest, split)
            every = list(range(len(manifest.record["shards"])))
            return self._timed(lambda: Window(manifest, every)) / manifest.count

        return self._once(["read", split, *kind_of(shards)], act)

    def training(self, training: Training) -> Cost:
        left_out = ("data", "init", "start", "transfer", "schedule", "epochs", "repeats", "evaluate")
        spec = {name: value for name, value in plain(training.spec).items() if name not in left_out}
        kind = ["train", spec, bool(training.spec.data.unlabelled), *kind_of(training.shards)]
        return self._once(kind, lambda: self._training(training))

    def _training(self, training: Training) -> Cost:
        on = self.device if on_device(self.engine, self.device) else None
        images = images_of(on_drawn(training), stream_above_gb=math.inf, on=on)
        spec, manifest = training.spec, images.manifest
        still = replace(spec.optimiser.options, lr=0.0)  # or weights that `init` did not draw may diverge
        spec = replace(spec, optimiser=Choice(spec.optimiser.name, still))
        model = self._ready(objective_of(spec).build(spec, manifest))

        def batches(size: int, images: Images = images) -> Batches | Mixed:
            def take(size: int) -> Batches:
                return Batches(images, np.arange(size) % manifest.count, spec.augment, batch=size, seed=0)

            return Mixed(take(size // 2), take(size - size // 2)) if spec.data.unlabelled else take(size)

        def loss(batch: Batch, generator: torch.Generator) -> Tensor:
            return objective_of(spec).loss(model, batch, spec, generator)

        def train(count: int, size: int, engine: Engine = self.engine, images: Images = images) -> None:
            for _ in steps(
                model,
                loss,
                batches(size, images),
                replace(spec, epochs=count, warmup=0.0),  # frozen epochs are rehearsed as the others
                seed=0,
                owner={},
                folder=Path(),
                engine=engine,
                device=self.device,
                stopping=(),
            ):
                pass

        few = min(4 if spec.data.unlabelled else 2, spec.batch)  # BatchNorm needs two labelled images
        spec = objective_of(spec).prepare(model, batches(few), spec, seed=0, device=self.device)
        batch, generator = batches(few).at(0, self.device), torch.Generator(self.device)
        flops = _flops(lambda: loss(batch, generator).backward()) / few
        as_gpu = replace(self.engine, precision="bf16", compile="never", convolution="torch")
        held = images_of(on_drawn(training), stream_above_gb=math.inf, on=self.device)
        one, two = (kernels(partial(train, count, few, as_gpu, held)) for count in (1, 2))
        train(1, few)
        size = max(few, min(spec.batch, int(LONGEST / self._timed(lambda: train(1, few)) * few)))
        train(1, size)
        count = max(1, min(50, int(LONGEST / 10 / self._timed(lambda: train(1, size)))))
        seconds = self._repeated(lambda: train(count, size)) / count
        return Cost(flops, seconds / size, two - one, sum(weights.numel() for weights in model.parameters()))

    def measuring(self, measurement: Measurement) -> Cost:
        spec, training = measurement.spec, measurement.training.spec
        names = ("objective", "network", "corruption", "augment")
        options = {name: value for name, value in plain(training).items() if name in names}
        kind = ["measure", options, plain(spec), *kind_of(measurement.shards)]
        return self._once(kind, lambda: self._measuring(measurement))

    def _measuring(self, measurement: Measurement) -> Cost:
        training = on_drawn(measurement.training)
        data = training.spec.data
        split = data.split if measurement.spec.split == "validation" else measurement.spec.split
        images = images_of(training, split, stream_above_gb=math.inf, shards=drawn(measurement.shards, split))
        training_split = open_manifest(training.shards.manifest, data.split)
        model = self._ready(objective_of(training.spec).build(training.spec, training_split)).eval()
        rehearsed, measure = replace(measurement, training=training), measure_of(measurement)

        def act(count: int) -> None:
            half = precision(self.engine, self.device) == "bf16"
            with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=half):
                measure(model, images, np.arange(count) % images.manifest.count, rehearsed, self.device)

        fitted = min(labels_of(measurement.spec), PICTURES)
        few = PICTURES if objects_of(measurement.spec) else 2  # two pictures may not show any of them
        flops = _flops(lambda: act(few)) / (few + fitted)
        count = max(few, min(PICTURES, int(LONGEST / self._timed(lambda: act(few)) * few)))
        act(count)
        launches = kernels(lambda: act(few)) // max(1, measurement.spec.crops)
        return Cost(flops, self._repeated(lambda: act(count)) / (count + fitted), launches)

    def _sharding(self, shards: Shards) -> float:
        """Seconds to shard one image; photographs are JPEG files in the source's usual size."""
        replacement = stand_in(shards, shards.dataset.splits[0])
        name = replacement.dataset.splits[0]
        if shards.procedural:
            split: Split = open_split(replacement, name)
        else:
            source = SOURCES[shards.dataset.source]
            full = replace(replacement, dataset=replace(replacement.dataset, side=source.side))
            taken = photograph if source.side > 96 else lambda sample: sample
            split = Taken(open_split(full, name), taken)
        return self._timed(lambda: write_split(replacement, name, split)) / len(split)

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


def objects_of(protocol: Protocol) -> tuple[str, ...]:
    """What images have to show for a measure to look at them."""
    return getattr(protocol.measure.options, "objects", ()) if protocol.measure else ()


def _flops(act: Callable[[], Any]) -> float:
    with FlopCounterMode(display=False) as counter:
        act()
    return float(counter.get_total_flops())


class Kernels(TorchDispatchMode):
    """Count operations that write values; eager torch launches a kernel or more for each on a GPU."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        views = any(each.alias_info and not each.alias_info.is_write for each in func._schema.returns)
        self.count += not (views or func.overloadpacket.__name__ in UNLAUNCHED)
        return func(*args, **(kwargs or {}))


def kernels(act: Callable[[], Any]) -> int:
    with Kernels() as counter:
        act()
    return counter.count
