"""A training's steps as one CUDA graph: the host launches it in place of hundreds of kernels."""

import sys
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any

import torch
from torch import Generator, Tensor
from torch.optim import Optimizer

from pipeline.compute import distributed
from pipeline.config.params import Engine
from pipeline.data.batches import Batch

Update = Callable[[Batch], Tensor]  # one step of the optimiser; returns the loss
FIRST = 3  # steps before a recording, in which libraries choose algorithms and optimisers create their states
VARYING = ("centred", "label", "mask")  # what of a batch a loss reads and the next batch has otherwise


def captures(engine: Engine, device: torch.device) -> bool:
    """Whether steps are recorded; not where several processes exchange gradients within a step."""
    return engine.capture == "auto" and device.type == "cuda" and distributed.RANKS == 1


class Recording:
    """The kernels of one call, to be run again on the memory that they were recorded with.

    Generators go on drawing: a replay takes their seeds of that moment.
    """

    def __init__(self, update: Update, batch: Batch, generator: Generator) -> None:
        self.graph = torch.cuda.CUDAGraph()
        self.graph.register_generator_state(generator)
        with torch.cuda.graph(self.graph):  # records, and computes nothing
            self.loss = update(batch)

    def replay(self) -> Tensor:
        self.graph.replay()
        return self.loss.clone()  # the next replay overwrites it


class Captured:
    """Call an update for its first steps, then record it once and replay the recording for each batch.

    A recording repeats what the host computed. So `settings` have to name all that an update takes from the
    host besides the batch; when they change, it is recorded anew. What torch cannot record is called always.
    """

    def __init__(self, update: Update, optimiser: Optimizer, generator: Generator) -> None:
        self.update, self.optimiser, self.generator = update, optimiser, generator
        self.settings: Hashable = None
        self.called, self.refused = 0, False
        self.recorded: tuple[Batch, Recording] | None = None

    def __call__(self, batch: Batch, settings: Hashable) -> Tensor:
        if settings != self.settings:
            self.settings, self.called, self.recorded = settings, 0, None
        if self.called == FIRST and not self.refused:
            self.record(batch)
        self.called += 1
        if self.recorded is None:
            return self.update(batch)
        held, recording = self.recorded
        for name, tensor in varying(held).items():
            tensor.copy_(getattr(batch, name))
        return recording.replay()

    def record(self, batch: Batch) -> None:
        copies: dict[str, Any] = {name: tensor.clone() for name, tensor in varying(batch).items()}
        held = replace(batch, **copies)
        self._capturable(True)
        try:
            self.recorded = held, Recording(self.update, held, self.generator)
        except RuntimeError as error:  # a copy from the host, or a generator that is not registered
            self.refused = True
            reason = str(error).split("\n")[0][:120]
            print(
                f"engine.capture: torch cannot record these steps ({reason}); they run one by one",
                file=sys.stderr,
            )
        finally:
            self._capturable(False)

    def _capturable(self, wanted: bool) -> None:
        """Tell Adam whether it is being recorded. Untold it refuses; told at other times it warns."""
        for settings in self.optimiser.param_groups:
            if "capturable" in settings:
                settings["capturable"] = wanted


def varying(batch: Batch) -> dict[str, Tensor]:
    return {name: tensor for name in VARYING if (tensor := getattr(batch, name)) is not None}
