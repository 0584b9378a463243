"""Pre-training end to end: our loop with its data, against the peer."""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.peer import Peer
from benchmarks.pictures import Pictures
from benchmarks.timing import Row, in_turn, rate, seconds_of
from pipeline.compute.device import device_at_hand, prepare
from pipeline.compute.engine import on_device, precision
from pipeline.config.params import Params
from pipeline.config.typed import Choice
from pipeline.data.batches import Batch, Batches
from pipeline.objectives import OBJECTIVES
from pipeline.training import loop
from pipeline.work.graph import Graph

BATCH, CROP = 64, 29
WARM = 20  # steps before a pace is taken
STEPS = {16: 12, 64: 3}  # per timing, by n
LEAST = {(16, "bf16"): 2.5, (64, "bf16"): 3.0, (16, "fp32"): 1.4, (64, "fp32"): 1.4}


class Repeated(Batches):
    """Repeat the first batch: a training without the cost of its data."""

    kept: Batch | None = None

    def at(self, step: int, device: torch.device) -> Batch:
        self.kept = self.kept or super().at(step, device)
        return self.kept


class Ours:
    """The stage's loop for a given number of steps."""

    def __init__(
        self, params: Params, pictures: Pictures, run: str, *, n: int, batch: int, stage: str = "pretrain"
    ) -> None:
        spec = Graph(replace(params, scale="paper")).training(stage, run, 0).spec
        network = Choice(spec.network.name, spec.network.options.narrowed(n))
        self.spec = replace(spec, network=network, epochs=1, batch=batch)
        self.engine, self.device = params.engine, device_at_hand()
        self.images = pictures.images(on=self.device if on_device(self.engine, self.device) else None)
        self.loss = OBJECTIVES[spec.objective.name].loss
        model = OBJECTIVES[spec.objective.name].build(self.spec, pictures.manifest)
        self.model = model.to(self.device).to(memory_format=torch.channels_last)

    def train(self, steps: int) -> int:
        """A whole training, with its optimiser's start and its last checks; the number of images."""
        with tempfile.TemporaryDirectory() as folder:
            for _ in loop.steps(*self._training(steps, Batches), **self._settings(folder)):
                pass
        return steps * self.spec.batch

    def pace(self, count: int, batches: type[Batches] = Batches) -> float:
        """Images a second in the middle of a training, after WARM steps, which compile and fill caches."""
        with tempfile.TemporaryDirectory() as folder:
            training = self._training(WARM + count + 1, batches)  # it does not end, so no checks are timed
            running = loop.steps(*training, **self._settings(folder))
            for _ in range(WARM):
                next(running)
            seconds = seconds_of(lambda: self._synced(running, count))
        return count * self.spec.batch / seconds

    def _synced(self, running: Iterator[None], count: int) -> None:
        for _ in range(count):
            next(running)
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def _training(self, steps: int, batches: type[Batches]) -> tuple[Any, ...]:
        indices = np.arange(steps * self.spec.batch) % self.images.manifest.count
        return (
            self.model,
            lambda batch, generator: self.loss(self.model, batch, self.spec, generator),
            batches(self.images, indices, self.spec.augment, batch=self.spec.batch, seed=0),
            self.spec,
        )

    def _settings(self, folder: str) -> dict[str, Any]:
        return {
            "seed": 0,
            "owner": {},
            "folder": Path(folder),
            "engine": self.engine,
            "device": self.device,
            "stopping": (),
        }


def rows(params: Params) -> Iterator[Row]:
    threads = os.cpu_count() or 1
    prepare(replace(params.engine, threads=threads), one_shape=True)
    pictures = Pictures(params, side=32, count=2048)
    native = precision(replace(params.engine, precision="auto"), device_at_hand()) == "bf16"
    for n, steps in STEPS.items():
        options = {"n": n, "m": params.pretrain["cifar10-pixel"].network.options.m}
        peer = Peer(pictures.folder / "train", network="network-1", options=options, crop=CROP, batch=BATCH)

        def other(peer: Peer = peer, steps: int = steps) -> int:
            peer.train(steps)
            return steps * BATCH

        for kind in ("bf16", "fp32"):
            what = (
                f"pre-training end to end, Network-1 n={n}, 29 px, batch {BATCH}, {kind}, {threads} threads"
            )
            least = LEAST[n, kind]
            if kind == "bf16" and not native:
                yield Row(what=what, against="the peer", bound=least, note="no native bf16 here")
                continue
            engine = replace(params.engine, precision=kind)
            ours = Ours(replace(params, engine=engine), pictures, "cifar10-pixel", n=n, batch=BATCH)
            timed = in_turn(lambda ours=ours, steps=steps: ours.train(steps), other, repeats=5)
            yield Row(
                what=what,
                against="the peer, fp32",
                ours=rate(timed.ours),
                other=rate(timed.other),
                ratio=timed.ratio,
                bound=least,
            )
