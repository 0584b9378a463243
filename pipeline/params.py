"""params.yaml, read once and checked whole: every value's type, every name's target.

A default here always means "not done" (no noise, no cap, nothing frozen): such a default is not written into
a run's key, so that a new option leaves the keys of all older runs as they are.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pipeline import typed
from pipeline.datasets import SOURCES
from pipeline.typed import Choice, choice, nearest

PARAMS = Path("params.yaml")
STAGES = ("pretrain", "finetune")  # the stages that train, in their order


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Caps: a run does min(its own value, the cap). `paper` has none."""

    procedural: bool = False  # drawn pictures take every data set's place
    substitutes: dict[str, str] = field(default_factory=dict)  # data set -> the one at hand in its place
    images: int | None = None  # training images of a data set
    test_images: int | None = None
    epochs: int | None = None
    batch: int | None = None
    width: int | None = None  # channels of a network's first layer, the others in proportion
    side: int | None = None  # of stored images; crops shrink in proportion
    repeats: int | None = None  # seeds, folds or draws of labels


@dataclass(frozen=True, kw_only=True)
class Engine:
    """How the work is done; nothing here can change what is computed beyond rounding."""

    threads: int
    precision: Literal["auto", "fp32", "bf16"]
    checkpoint_seconds: float
    log_seconds: float
    stream_above_gb: float  # a split whose pixels need more memory than this is streamed


@dataclass(frozen=True, kw_only=True)
class Dataset:
    source: str
    path: str | None = None  # of a folder of the user's own
    side: int | None = None  # photographs: the short side they are stored with
    images: int | None = None  # how many of the training images are taken
    synsets: str | None = None  # ImageNet: a list in pipeline/datasets/synsets.py
    splits: tuple[str, ...]
    encoding: Literal["raw", "jpeg"]


@dataclass(frozen=True, kw_only=True)
class Network1:
    n: int
    m: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Network2:
    n: int


@dataclass(frozen=True, kw_only=True)
class Vgg(Network2):
    """VGG-16 as it was published, at n = 64: with biases and pooling, without BatchNorm."""


NETWORKS = {"network-1": Network1, "network-2": Network2, "all-cnn-c": Network2, "vgg": Vgg}


@dataclass(frozen=True, kw_only=True)
class PixelGaussian:
    sigma: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class PatchGaussian:
    sigma: tuple[float, float]
    patch: int


@dataclass(frozen=True, kw_only=True)
class BigBlock:
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class SmallBlocks:
    fraction: float
    count: int | None = None  # None: 21 or 35, by the number of unlabelled images


@dataclass(frozen=True, kw_only=True)
class FixedGaussian:
    sigma: float


CORRUPTIONS = {
    "pixel_gaussian": PixelGaussian,
    "patch_gaussian": PatchGaussian,
    "big_block": BigBlock,
    "small_blocks": SmallBlocks,
    "fixed_gaussian": FixedGaussian,
}


@dataclass(frozen=True, kw_only=True)
class Denoise:
    shortcuts: Literal["none", "input_output", "full"]


@dataclass(frozen=True, kw_only=True)
class Classify:
    """One class an image (softmax), or several (a logistic output for each)."""

    hidden: tuple[int, ...] = ()
    pool: bool = False
    dropout: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Segment:
    shortcuts: Literal["none", "input_output", "full"]


@dataclass(frozen=True, kw_only=True)
class Augmented:
    """Classification and the reconstruction of each macro-layer's input, or the latter alone."""

    variant: Literal["first", "all", "layerwise"]
    switches: Literal["known", "fixed"]
    part: Literal["decoders", "everything"]
    weights: tuple[float, ...]  # of the image's error, then of each macro-layer's pooled map's
    norm: Literal["caffe", "mean"]  # the sum of squares over 2N, or the mean
    balance: float = 1.0  # lambda, before all of the reconstruction
    hidden: tuple[int, ...] = ()
    dropout: float = 0.0

    def __post_init__(self) -> None:
        wanted = 1 if self.variant == "first" else 5
        if len(self.weights) != wanted:
            raise ValueError(f"'weights' has {len(self.weights)} numbers; {self.variant!r} wants {wanted}")


OBJECTIVES = {
    "denoise": Denoise,
    "classify": Classify,
    "multilabel": Classify,
    "segment": Segment,
    "augment": Augmented,
}
LABELS_OF = {  # what an objective learns from
    "classify": "class",
    "multilabel": "classes",
    "segment": "mask",
    "augment": "class",
}


@dataclass(frozen=True, kw_only=True)
class Adam:
    lr: float


@dataclass(frozen=True, kw_only=True)
class Sgd:
    lr: float
    momentum: float
    weight_decay: float = 0.0


OPTIMISERS = {"adam": Adam, "sgd": Sgd}


@dataclass(frozen=True, kw_only=True)
class Steps:
    """Multiply the rate by `factor` after each of these epochs."""

    at: tuple[float, ...]
    factor: float


@dataclass(frozen=True, kw_only=True)
class Plateau:
    """Multiply the rate by `factor` when the epoch's loss has not dropped for `patience` epochs."""

    patience: int
    factor: float


@dataclass(frozen=True, kw_only=True)
class Constant:
    """One rate throughout."""


SCHEDULES = {"steps": Steps, "plateau": Plateau, "constant": Constant}


@dataclass(frozen=True, kw_only=True)
class Data:
    """Which images of which data set a run learns from."""

    set: str
    split: str
    labels: int | None = None  # this many, drawn by the run's seed, balanced over the classes
    fold: bool = False  # the fold that the run's seed names
    holdout: int = 0  # images kept from training, for validation


@dataclass(frozen=True, kw_only=True)
class Augment:
    crop: int
    flip: bool = False
    pad: int = 0
    zoom: float = 1.0  # images are enlarged by up to this, one factor a batch


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
    freeze: tuple[str, ...] = ()  # the parts that stay as they are
    corruption: Choice | None = choice(CORRUPTIONS, default=None)
    optimiser: Choice = choice(OPTIMISERS)
    schedule: Choice = choice(SCHEDULES)
    epochs: int
    batch: int
    clip: float | None = None  # the largest norm of a gradient
    repeats: int  # seeds, or folds, or draws of labels
    evaluate: tuple[str, ...]  # the protocols that measure it

    def __post_init__(self) -> None:
        if bool(self.start) != bool(self.transfer):
            raise ValueError("'start' and 'transfer' go together: from where, and which parts")
        if self.weights and self.network.name != "vgg":
            raise ValueError(f"'weights' is for the network 'vgg', not {self.network.name!r}")
        if (self.objective.name == "augment") > (self.network.name == "vgg"):
            raise ValueError(f"'augment' wants the network 'vgg', not {self.network.name!r}")
        if self.network.name == "vgg" and self.objective.name not in ("classify", "augment"):
            raise ValueError(f"'vgg' is for 'classify' and 'augment', not {self.objective.name!r}")
        if self.objective.name == "denoise" and self.corruption is None and self.epochs:
            raise ValueError(f"a denoising run needs a corruption; allowed: {', '.join(CORRUPTIONS)}")
        for name, value, least in (
            ("epochs", self.epochs, 0),
            ("batch", self.batch, 1),
            ("repeats", self.repeats, 1),
            ("augment.crop", self.augment.crop, 1),
        ):
            if value < least:
                raise ValueError(f"{name} is {value}; at least {least} is wanted")


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How a trained run is measured."""

    split: str
    crops: int = 0  # random crops whose outputs are averaged; 0: the central crop
    shrink: float = 1.0  # the smallest of the random crops, as a part of the image's short side
    images: int | None = None  # measure the first so many
    keep: int = 0  # images whose pictures are kept to be looked at
    drawn: int | None = None  # measure so many, a fixed draw
    everywhere: bool = False  # the network as convolutions over whole images and their mirrors


@dataclass(frozen=True, kw_only=True)
class Params:
    scale: str
    mirror: str | None
    engine: Engine
    scales: dict[str, Scale]
    datasets: dict[str, Dataset]
    templates: dict[str, dict]  # YAML anchors that runs share; read by nothing else
    pretrain: dict[str, Run]
    finetune: dict[str, Run]
    evaluate: dict[str, Protocol]

    def runs(self, stage: str) -> dict[str, Run]:
        return getattr(self, stage)


def load(path: Path = PARAMS, *, scale: str | None = None) -> Params:
    """Read and check params.yaml; `scale` overrides the one that it names."""
    document = typed.read_yaml(path)
    if scale is not None and isinstance(document, dict):
        document = {**document, "scale": scale}
    try:
        params = typed.build(Params, document, "")
        _check(params)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return params


def _known(name: str, allowed: dict | tuple, where: str) -> None:
    if name not in allowed:
        raise ValueError(f"{where} names {name!r}; {nearest(name, allowed)}")


def _check(params: Params) -> None:
    """Every name leads somewhere, every combination can be done."""
    _known(params.scale, params.scales, "scale")
    for section in ("scales", "datasets", "pretrain", "finetune", "evaluate"):
        for name in getattr(params, section):
            if not name or not all(c.isascii() and (c.isalnum() or c in "-_") for c in name):
                raise ValueError(f"{section} has the name {name!r}; letters, digits, '-' and '_' are allowed")
    for name, dataset in params.datasets.items():
        _check_dataset(name, dataset)
    for name, scale in params.scales.items():
        for wanted, given in scale.substitutes.items():
            _known(wanted, params.datasets, f"scales.{name}.substitutes")
            _known(given, params.datasets, f"scales.{name}.substitutes.{wanted}")
    for stage in STAGES:
        for name, run in params.runs(stage).items():
            _check_run(params, f"{stage}.{name}", run)


def _check_dataset(name: str, dataset: Dataset) -> None:
    where = f"datasets.{name}"
    _known(dataset.source, SOURCES, f"{where}.source")
    source = SOURCES[dataset.source]
    if (dataset.source == "folder") != (dataset.path is not None):
        raise ValueError(f"{where}: 'path' goes with 'source: folder', and only with it")
    for split in dataset.splits:
        if source.splits:
            _known(split, source.splits, f"{where}.splits")
    if dataset.synsets is not None:
        if dataset.source != "imagenet":
            raise ValueError(f"{where}.synsets is for 'source: imagenet'")
        from pipeline.datasets.synsets import SYNSETS

        _known(dataset.synsets, SYNSETS, f"{where}.synsets")


def _check_run(params: Params, where: str, run: Run) -> None:
    _known(run.data.set, params.datasets, f"{where}.data.set")
    dataset = params.datasets[run.data.set]
    _known(run.data.split, dataset.splits, f"{where}.data.split")
    labels, wanted = SOURCES[dataset.source].labels, LABELS_OF.get(run.objective.name, "")
    if wanted and labels != wanted:
        raise ValueError(
            f"{where}.objective {run.objective.name!r} learns from {wanted!r} labels; "
            f"{run.data.set!r} has {labels!r}"
        )
    if run.start is not None:
        _known(run.start, params.pretrain, f"{where}.start")
        other = params.pretrain[run.start]
        if run.network != other.network:
            raise ValueError(f"{where}.network differs from that of pretrain.{run.start}, where it starts")
        _check_chain(params, where, run)
    for protocol in run.evaluate:
        _known(protocol, params.evaluate, f"{where}.evaluate")
        split = params.evaluate[protocol].split
        if split != "validation":
            _known(split, dataset.splits, f"{where}.evaluate {protocol!r}, its split")
        elif not run.data.holdout:
            raise ValueError(f"{where}.evaluate {protocol!r} needs 'holdout' in its data")


def _check_chain(params: Params, where: str, run: Run) -> None:
    seen: list[str] = []
    while run.start is not None:
        if run.start in seen:
            raise ValueError(f"{where}.start goes in a circle: {' -> '.join([*seen, run.start])}")
        seen.append(run.start)
        _known(run.start, params.pretrain, f"{where}.start")
        run = params.pretrain[run.start]
