"""params.yaml, read once and checked whole: every value's type, every name's target.

A default here always means "not done" (no noise, no cap, nothing frozen): such a default is not written into
a run's key, so that a new option leaves the keys of all older runs as they are.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pipeline.config.protocols import Protocol
from pipeline.config.runs import Run
from pipeline.config.typed import Natural, Positive

PARAMS = Path("params.yaml")


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Caps: a run does min(its own value, the cap). `paper` has none."""

    procedural: bool = False  # drawn pictures take every data set's place
    substitutes: dict[str, str] = field(default_factory=dict)  # data set -> the one at hand in its place
    images: Positive | None = None  # training images of a data set
    whole: Natural = 0  # data sets of at most this side keep all their training images
    test_images: Positive | None = None
    epochs: dict[str, Natural] = field(default_factory=dict)  # by stage
    batch: Positive | None = None
    width: Positive | None = None  # channels of a network's first layer, the others in proportion
    side: Positive | None = None  # of stored images; crops shrink in proportion
    repeats: Positive | None = None  # seeds, folds or draws of labels


@dataclass(frozen=True, kw_only=True)
class Engine:
    """How the work is done; nothing here can change what is computed beyond rounding."""

    threads: int
    precision: Literal["auto", "fp32", "bf16"]
    images: Literal["auto", "host", "device"]  # which cuts the batches of a set that is held whole
    compile: Literal["auto", "always", "never"]  # whether torch compiles the network
    convolution: Literal["auto", "winograd", "torch"]  # how those of 3 x 3 are computed
    checkpoint_seconds: float
    log_seconds: float
    stream_above_gb: float  # a split whose pixels need more memory than this is streamed


@dataclass(frozen=True, kw_only=True)
class Dataset:
    source: str
    path: str | None = None  # of a folder of the user's own
    side: int | None = None  # photographs: the short side they are stored with
    images: int | None = None  # how many of the training images are taken
    square: bool = False  # of photographs the middle alone, as wide as high
    objects: bool = False  # with the boxes that VOC's annotations give
    synsets: str | None = None  # ImageNet: a list in pipeline/datasets/synsets.py
    splits: tuple[str, ...]
    encoding: Literal["raw", "jpeg"]


@dataclass(frozen=True, kw_only=True)
class Params:
    scale: str
    mirror: str | None
    engine: Engine
    scales: dict[str, Scale]
    datasets: dict[str, Dataset]
    templates: dict[str, dict] = field(metadata={"parts_of": Run})  # values that runs take by `like`
    pretrain: dict[str, Run]
    finetune: dict[str, Run]
    evaluate: dict[str, Protocol]

    def runs(self, stage: str) -> dict[str, Run]:
        return getattr(self, stage)
