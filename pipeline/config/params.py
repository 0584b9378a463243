"""The sections of params.yaml.

Defaults always mean "not done" (no noise, no cap, nothing frozen) and are left out of keys, so a new option
leaves the keys of all older runs unchanged.
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
    """Caps: a run uses min(its value, the cap). `paper` has no caps."""

    procedural: bool = False  # drawn pictures replace every data set
    substitutes: dict[str, str] = field(default_factory=dict)  # data set -> its replacement
    images: Positive | None = None  # training images of a data set
    whole: Natural = 0  # data sets with sides up to this keep all their training images
    test_images: Positive | None = None
    epochs: dict[str, Natural] = field(default_factory=dict)  # by stage
    batch: Positive | None = None
    width: Positive | None = None  # channels of a network's first layer, the others in proportion
    side: Positive | None = None  # of stored images; crops shrink in proportion
    repeats: Positive | None = None  # seeds, folds or draws of labels
    repeats_of: dict[str, Positive] = field(default_factory=dict)  # data set -> its cap, not `repeats`


@dataclass(frozen=True, kw_only=True)
class Engine:
    """How work is computed; results are the same up to rounding."""

    threads: int
    precision: Literal["auto", "fp32", "bf16"]
    images: Literal["auto", "host", "device"]  # where batches of a data set in memory are cut
    compile: Literal["auto", "always", "never"]  # whether torch compiles a training
    capture: Literal["auto", "never"]  # whether a GPU repeats a recording of the training's step
    convolution: Literal["auto", "winograd", "torch"]  # algorithm of 3 x 3 convolutions
    deterministic: bool  # a GPU repeats a run to the bit, more slowly
    checkpoint_seconds: float
    log_seconds: float
    stream_above_gb: float  # a split whose pixels need more memory than this is streamed


@dataclass(frozen=True, kw_only=True)
class Dataset:
    source: str
    path: str | None = None  # of a user's folder
    side: int | None = None  # photographs: short side as stored
    images: int | None = None  # number of training images taken
    square: bool = False  # photographs: only the central square
    objects: bool = False  # with the objects' boxes from VOC's annotations
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

    @property
    def mirror_folder(self) -> Path | None:
        return Path(self.mirror).expanduser() if self.mirror else None

    def runs(self, stage: str) -> dict[str, Run]:
        return getattr(self, stage)
