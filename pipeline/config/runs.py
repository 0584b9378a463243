"""A run: everything that a paper says about one training."""

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
    """Which images of which data set a run learns from."""

    set: str
    split: str
    labels: int | None = None  # this many, drawn by the run's seed, balanced over the classes
    fold: bool = False  # the fold that the run's seed names; a holdout is then taken from it
    unlabelled: str | None = None  # the split that half of every batch comes from, its labels not looked at
    holdout: int = 0  # images kept from training, for validation
    raw: bool = False  # pixels go from [0, 255] to [-1, 1], whatever the set's mean and deviation


@dataclass(frozen=True, kw_only=True)
class Augment:
    crop: Positive
    flip: bool = False
    pad: int = 0
    short: tuple[int, int] | None = None  # short sides that images are brought to; measured at the first

    def __post_init__(self) -> None:
        if self.short and not self.crop <= self.short[0] <= self.short[1]:
            raise ValueError(
                f"'short' is {list(self.short)}; at least 'crop', {self.crop}, and rising is wanted"
            )
        if self.short and self.pad:
            raise ValueError("'short' and 'pad' do not go together")


@dataclass(frozen=True, kw_only=True)
class Run:
    """One line of params.yaml: everything that the paper says about one training."""

    objective: Choice = choice(OBJECTIVES)
    network: Choice = choice(NETWORKS)
    data: Data
    augment: Augment
    init: Literal["gaussian", "he", "xavier"]
    eps: float  # BatchNorm's
    start: str | None = None  # the pre-training whose weights it begins with
    transfer: tuple[str, ...] = ()  # the parts taken from there
    weights: str | None = None  # a file of torchvision's VGG-16, which it begins with
    freeze: tuple[str, ...] = ()  # the parts that neither learn nor move their batch statistics
    warmup: float = 0.0  # epochs at the beginning in which the parts taken over are frozen, too
    corruption: Choice | None = choice(CORRUPTIONS, default=None)
    corrupted: float = 1.0  # the chance that an image is; drawn anew each time that it is seen
    optimiser: Choice = choice(OPTIMISERS)
    schedule: Choice = choice(SCHEDULES)
    epochs: Natural
    batch: Positive
    clip: float | None = None  # the largest norm of a gradient
    clip_each: tuple[str, ...] = ()  # the parts whose children learn independently, each with its own norm
    repeats: Positive  # seeds, or folds, or draws of labels
    evaluate: tuple[str, ...]  # the protocols that measure it
    search: dict[str, tuple[int | float | str, ...]] = field(
        default_factory=dict, hash=False
    )  # values to be tried
    tuned: dict[str, tuple[int | float | str, ...]] = field(
        default_factory=dict, hash=False
    )  # setting -> a value a seed

    def __post_init__(self) -> None:
        if bool(self.start) != bool(self.transfer):
            raise ValueError("'start' and 'transfer' go together: from where, and which parts")
        if isinstance(self.objective.options, Denoise):
            if self.corruption is None and self.epochs:
                raise ValueError(f"a denoising run needs a corruption; allowed: {', '.join(CORRUPTIONS)}")
            hides = self.corruption is not None and self.corruption.name in HIDING and self.corrupted == 1
            if self.objective.options.masked and not hides:
                raise ValueError(f"'masked' wants pixels of every image hidden: {', '.join(HIDING)}")
        if self.warmup and not self.start:
            raise ValueError("'warmup' is for the parts that a run takes over: give it 'start'")
        if self.warmup and not 0 < self.warmup <= self.epochs:
            raise ValueError(f"warmup is {self.warmup}; 0 to {self.epochs}, the epochs, are allowed")
        if self.clip_each and self.clip is None:
            raise ValueError("'clip_each' says whose norms are apart: give the run a 'clip'")
        if not 0 < self.corrupted <= 1:
            raise ValueError(f"corrupted is {self.corrupted}; it is a chance, above 0 and up to 1")
        if self.corrupted < 1 and self.corruption is None:
            raise ValueError("'corrupted' says how often: give the run a 'corruption'")


def put(document: dict[str, Any], setting: str, value: Any, where: str) -> None:
    """Write a value of a run where params.yaml nests it: optimiser.adam.lr, batch, …"""
    *parents, last = setting.split(".")
    for parent in parents:
        document = document.setdefault(parent, {})
        if not isinstance(document, dict):
            raise ValueError(f"{where}.{setting}: {parent} is {document!r}, and has no parts")
    document[last] = value


def of_seed(run: Run, seed: int, where: str) -> Run:
    """The run with the values that were tuned for this seed, or fold."""
    document = plain(run)
    for setting, values in document.pop("tuned", {}).items():
        if seed >= len(values):
            raise ValueError(f"{where}.tuned.{setting} has {len(values)} values; seed {seed} lacks one")
        put(document, setting, values[seed], where)
    return typed.build(Run, document, where) if run.tuned else run
