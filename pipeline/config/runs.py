"""Runs: the values of one training."""

from dataclasses import dataclass, field
from typing import Any, Literal

from pipeline.config import typed
from pipeline.config.corruptions import CORRUPTIONS, HIDING
from pipeline.config.networks import NETWORKS
from pipeline.config.objectives import OBJECTIVES, Denoise
from pipeline.config.optimisers import OPTIMISERS, SCHEDULES
from pipeline.config.typed import Choice, Natural, Positive, choice, plain

STAGES = ("pretrain", "finetune")  # the stages that train, in their order


@dataclass(frozen=True, kw_only=True)
class Data:
    """The images that a run trains on."""

    set: str
    split: str
    labels: int | None = None  # number of labelled images, drawn by the run's seed, balanced over classes
    fold: bool = False  # train on the fold numbered by the run's seed; a holdout is taken from it
    unlabelled: str | None = None  # split of half of every batch, whose labels are ignored
    holdout: int = 0  # images kept from training, for validation
    raw: bool = False  # map pixels from [0, 255] to [-1, 1] instead of standardising them


@dataclass(frozen=True, kw_only=True)
class Augment:
    crop: Positive
    flip: bool = False
    pad: int = 0
    short: tuple[int, int] | None = None  # range of short sides after resizing; evaluation uses the first

    def __post_init__(self) -> None:
        if self.short and not self.crop <= self.short[0] <= self.short[1]:
            raise ValueError(
                f"'short' is {list(self.short)}; expected two rising numbers, at least 'crop', {self.crop}"
            )
        if self.short and self.pad:
            raise ValueError("'short' and 'pad' exclude each other; remove one")


@dataclass(frozen=True, kw_only=True)
class Run:
    """One entry of params.yaml's pretrain or finetune: the values of one training."""

    objective: Choice = choice(OBJECTIVES)
    network: Choice = choice(NETWORKS)
    data: Data
    augment: Augment
    init: Literal["gaussian", "he", "xavier"]
    eps: float  # BatchNorm's
    start: str | None = None  # pre-training whose weights initialise this run
    transfer: tuple[str, ...] = ()  # parts whose weights are taken from `start`
    weights: str | None = None  # file of torchvision's VGG-16 weights to start from
    freeze: tuple[str, ...] = ()  # parts whose weights and batch statistics stay fixed
    warmup: float = 0.0  # first epochs, in which transferred parts are frozen, too
    corruption: Choice | None = choice(CORRUPTIONS, default=None)
    corrupted: float = 1.0  # probability that an image is corrupted, drawn independently in every epoch
    optimiser: Choice = choice(OPTIMISERS)
    schedule: Choice = choice(SCHEDULES)
    epochs: Natural
    batch: Positive
    clip: float | None = None  # largest norm of the gradient
    clip_each: tuple[str, ...] = ()  # parts whose children are clipped independently, by separate norms
    repeats: Positive  # seeds, folds or draws of labels
    evaluate: tuple[str, ...]  # protocols that measure it
    search: dict[str, tuple[int | float | str, ...]] = field(
        default_factory=dict, hash=False
    )  # setting -> values to try
    tuned: dict[str, tuple[int | float | str, ...]] = field(
        default_factory=dict, hash=False
    )  # setting -> one value per seed

    def __post_init__(self) -> None:
        if bool(self.start) != bool(self.transfer):
            raise ValueError("'start' and 'transfer' go together: from where, and which parts")
        if isinstance(self.objective.options, Denoise):
            if self.corruption is None and self.epochs:
                raise ValueError(f"a denoising run needs a corruption; allowed: {', '.join(CORRUPTIONS)}")
            hides = self.corruption is not None and self.corruption.name in HIDING and self.corrupted == 1
            if self.objective.options.masked and not hides:
                raise ValueError(f"'masked' needs pixels of every image hidden: {', '.join(HIDING)}")
        if self.warmup and not self.start:
            raise ValueError("'warmup' freezes transferred parts: set 'start', too")
        if self.warmup and not 0 < self.warmup <= self.epochs:
            raise ValueError(f"warmup is {self.warmup}; expected 0 to {self.epochs}, the epochs")
        if self.clip_each and self.clip is None:
            raise ValueError("'clip_each' names parts with separate norms: set 'clip', too")
        if not 0 < self.corrupted <= 1:
            raise ValueError(f"corrupted is {self.corrupted}; expected a probability, above 0 and up to 1")
        if self.corrupted < 1 and self.corruption is None:
            raise ValueError("'corrupted' is a probability of corruption: set 'corruption', too")


def put(document: dict[str, Any], setting: str, value: Any, where: str) -> None:
    """Set a value of a run by its dotted name: optimiser.adam.lr, batch, …"""
    *parents, last = setting.split(".")
    for parent in parents:
        document = document.setdefault(parent, {})
        if not isinstance(document, dict):
            raise ValueError(f"{where}.{setting}: {parent} is {document!r}, not a mapping")
    document[last] = value


def of_seed(run: Run, seed: int, where: str) -> Run:
    """The run with the values tuned for this seed (or fold)."""
    document = plain(run)
    for setting, values in document.pop("tuned", {}).items():
        if seed >= len(values):
            raise ValueError(f"{where}.tuned.{setting} has {len(values)} values, none for seed {seed}")
        put(document, setting, values[seed], where)
    return typed.build(Run, document, where) if run.tuned else run
