"""The record of functions that makes an objective."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn

from pipeline.config.runs import Run
from pipeline.data.batches import Batch
from pipeline.data.manifest import Manifest


def unchanged(model: nn.Module, batches: Any, spec: Run, *, seed: int, device: torch.device) -> Run:
    return spec


@dataclass(frozen=True, kw_only=True)
class Objective:
    """How to build, train and measure a network; the options are in pipeline/config/objectives.py."""

    build: Callable[[Run, Manifest], nn.Module]  # the network, not yet initialised
    loss: Callable[[nn.Module, Batch, Run, Generator], Tensor]
    # (model, images, indices, measurement, device) -> metrics, and arrays for inspection
    measure: Callable[..., dict[str, Any]]
    # (model, batches, spec, seed, device) -> the run, with values computed from its first batches
    prepare: Callable[..., Run] = unchanged
