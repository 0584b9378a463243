"""params.yaml, read once and checked whole: every value's type, every name's target.

A default here always means "not done" (no noise, no cap, nothing frozen): such a default is not written into
a run's key, so that a new option leaves the keys of all older runs as they are.
"""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pipeline import notation, typed
from pipeline.datasets import SOURCES
from pipeline.typed import AtLeast, Choice, choice, nearest, plain

PARAMS = Path("params.yaml")
STAGES = ("pretrain", "finetune")  # the stages that train, in their order
Natural = Annotated[int, AtLeast(0)]
Positive = Annotated[int, AtLeast(1)]


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
class Network2:
    n: Positive
    activation: Literal["post", "pre"] = "post"  # shortcuts carry a layer's output, or what it activates

    @property
    def width(self) -> int:
        """Channels of the first layer, to which a scale's cap applies."""
        return self.n

    def narrowed(self, width: int) -> Self:
        return replace(self, n=width)


@dataclass(frozen=True, kw_only=True)
class Network1(Network2):
    m: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Convolutions, each with a scaled hyperbolic tangent and max-pooling; lists have an entry a layer."""

    maps: tuple[Positive, ...]
    kernels: tuple[Positive, ...]
    pools: tuple[Positive, ...]  # 1: none
    tanh: tuple[float, float] = (1.7159, 2 / 3)  # a tanh(b x), LeCun's constants
    full: bool = False  # full convolutions, decoded by valid ones
    whole: bool = False  # no scale narrows it: its filters are what is looked at

    def __post_init__(self) -> None:
        if not len(self.maps) == len(self.kernels) == len(self.pools) > 0:
            raise ValueError("'maps', 'kernels' and 'pools' have one entry a layer each, and at least one")

    @property
    def width(self) -> int:
        return self.maps[0]

    def narrowed(self, width: int) -> Self:
        if self.whole:
            return self
        return replace(self, maps=tuple(max(1, maps * width // self.width) for maps in self.maps))


@dataclass(frozen=True, kw_only=True)
class WhatWhere:
    """A convnet in zhao2016's notation, whose pooling tells what there was from where it was."""

    layers: str  # (64)5c-2p-10fc: 64 maps by 5x5, 2x2 pooling, 10 units
    pooling: Literal["hard", "soft", "upsample"] = "hard"
    beta: float = 0.0  # of soft pooling; 0 is the mean
    norm: bool = False  # BatchNorm behind every convolution

    def __post_init__(self) -> None:
        notation.parse(self.layers)
        if self.beta < 0 or bool(self.beta) > (self.pooling == "soft"):
            raise ValueError(f"beta is {self.beta}; it is 0 or above, and goes with 'pooling: soft'")

    @property
    def width(self) -> int:
        return notation.width(notation.parse(self.layers))

    @property
    def classes(self) -> int | None:
        """The units of the last fully connected layer, where there is one."""
        last = notation.parse(self.layers)[-1]
        return last.units if isinstance(last, notation.Full) else None

    def narrowed(self, width: int) -> Self:
        layers = notation.narrowed(notation.parse(self.layers), width)
        return replace(self, layers=notation.written(layers))


@dataclass(frozen=True, kw_only=True)
class WideResnet:
    """A convolution and three groups of residual blocks, of n, 2n and 4n channels."""

    n: Positive
    blocks: Positive  # in each group

    @property
    def width(self) -> int:
        return self.n

    def narrowed(self, width: int) -> Self:
        """Of fewer blocks, too: its depth is most of what it costs."""
        return replace(self, n=width, blocks=max(1, self.blocks * width // self.n))


@dataclass(frozen=True, kw_only=True)
class Vgg:
    """The 16-layer VGG as it was published, at n = 64: with biases and pooling, without BatchNorm."""

    n: Positive
    hidden: tuple[int, ...]  # its inner-product layers
    dropout: float

    @property
    def levels(self) -> int:
        """The macro-layers that can be decoded: the inner-product layers cannot."""
        return 5

    @property
    def width(self) -> int:
        return self.n

    def narrowed(self, width: int) -> Self:
        return replace(self, n=width, hidden=tuple(max(1, units * width // self.n) for units in self.hidden))


@dataclass(frozen=True, kw_only=True)
class AlexNet(Vgg):
    """Krizhevsky et al.'s at n = 96, without its normalisation of local responses."""

    @property
    def levels(self) -> int:
        """The inner-product layers, too."""
        return 5 + len(self.hidden) + 1


NETWORKS = {
    "network-1": Network1,
    "network-2": Network2,
    "all-cnn-c": Network2,
    "wide-resnet": WideResnet,
    "stack": Stack,
    "what-where": WhatWhere,
    "vgg": Vgg,
    "alexnet": AlexNet,
}


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


@dataclass(frozen=True, kw_only=True)
class Binomial:
    probability: float
    black: float  # what a pixel that is switched off becomes, once the mean is subtracted
    white: float  # one that is switched on


CORRUPTIONS = {
    "pixel_gaussian": PixelGaussian,
    "patch_gaussian": PatchGaussian,
    "big_block": BigBlock,
    "small_blocks": SmallBlocks,
    "fixed_gaussian": FixedGaussian,
    "binomial": Binomial,
}
HIDING = ("big_block", "small_blocks", "binomial")  # those that hide pixels and leave the others as they are


@dataclass(frozen=True, kw_only=True)
class Denoise:
    shortcuts: Literal["none", "input_output", "full"]
    masked: bool = False  # the error of the hidden pixels alone


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
class Cae:
    """One layer of a stack restores its own input, the code of those below it, which stay as they are."""

    layer: int  # counted from 1


@dataclass(frozen=True, kw_only=True)
class Swwae:
    """zhao2016's equation 1, and what it is compared with; a term of weight 0 is not computed."""

    nll: float = 1.0  # 0: unsupervised
    l2rec: float = 0.0  # of the image
    l2m: float = 0.0  # of the maps between; both 0: the plain convnet
    l1: float = 0.0  # of the convolutions' maps
    dropout: float = 0.0  # before fully connected layers
    conv_dropout: float = 0.0  # behind convolutions


@dataclass(frozen=True, kw_only=True)
class Probe:
    """On every layer of an encoder, a softmax regression and a stack that restores the image."""


@dataclass(frozen=True, kw_only=True)
class Augmented:
    """Classification, and beside it the reconstruction of macro-layers' inputs by a decoding pathway."""

    variant: Literal["first", "all", "layerwise", "ladder"]
    switches: Literal["known", "fixed"]
    weights: tuple[
        float, ...
    ]  # of the image's error, then of each map's; one: the others are balanced with it
    norm: Literal["caffe", "mean"]  # of an error: the sum of squares over 2N, or the mean
    top: int | None = None  # the macro-layer whose output is decoded; None: the last
    strength: float = 1.0  # lambda, before all of the reconstruction
    noise: float = 0.0  # the ladder's, in parts of a map's deviation


OBJECTIVES = {
    "denoise": Denoise,
    "classify": Classify,
    "multilabel": Classify,
    "segment": Segment,
    "cae": Cae,
    "swwae": Swwae,
    "probe": Probe,
    "augment": Augmented,
}
FITS = {  # the objectives of a network; those that are not here have the rest
    "stack": ("cae", "classify"),
    "what-where": ("swwae", "classify"),
    "wide-resnet": ("denoise", "classify", "multilabel", "segment"),
    "vgg": ("augment", "classify"),
    "alexnet": ("augment", "classify"),
}
LABELS_OF = {  # what an objective learns from
    "classify": "class",
    "multilabel": "classes",
    "segment": "mask",
    "swwae": "class",
    "probe": "class",
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
    """Multiply the rate by `factor` once the epoch's loss has not dropped for `after` epochs."""

    after: Positive
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
        if self.objective.name == "denoise" and self.corruption is None and self.epochs:
            raise ValueError(f"a denoising run needs a corruption; allowed: {', '.join(CORRUPTIONS)}")
        hides = self.corruption is not None and self.corruption.name in HIDING and self.corrupted == 1
        if getattr(self.objective.options, "masked", False) and not hides:
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


@dataclass(frozen=True, kw_only=True)
class Activations:
    """How a layer's map that is most selective for some objects answers, to clean and to occluded images."""

    layer: int  # of the encoder, counted from 1
    objects: tuple[str, ...]  # PASCAL VOC's classes


@dataclass(frozen=True, kw_only=True)
class Decode:
    """Images from the layer that is decoded, and how far each macro-layer's input is restored."""


@dataclass(frozen=True, kw_only=True)
class Svm:
    """A linear support vector machine on the top activations."""

    labels: int  # training images that it learns from, drawn by the run's seed, balanced over the classes
    c: float


@dataclass(frozen=True, kw_only=True)
class Shift:
    """What and where of the last pooling, for images moved to every side."""

    pixels: int
    average: Literal["planes"]  # each is correlated by itself: means that differ would pass for a correlation


MEASURES = {"activations": Activations, "svm": Svm, "shift": Shift, "decode": Decode}


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How a trained run is measured."""

    split: str
    set: str | None = None  # of another data set than the run's own
    measure: Choice | None = choice(MEASURES, default=None)  # another than its objective's own
    crops: int = 0  # crops as training cuts them, whose outputs are averaged; 0: the central crop
    everywhere: bool = False  # whole images instead of crops; inner-product layers become convolutions
    mirrored: bool = False  # whole images' mirrors, too: the posteriors of both are averaged
    images: int | None = None  # measure so many, a fixed draw
    keep: int = 0  # images whose pictures are kept to be looked at; or filters


@dataclass(frozen=True, kw_only=True)
class Params:
    scale: str
    mirror: str | None
    engine: Engine
    scales: dict[str, Scale]
    datasets: dict[str, Dataset]
    templates: dict[str, dict] = field(metadata={"parts_of": Run})  # YAML anchors; read by editors alone
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
        check(params)
    except ValueError as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from None
    return params


def _known(name: str, allowed: Collection[str], where: str) -> None:
    if name not in allowed:
        raise ValueError(f"{where} names {name!r}; {nearest(name, allowed)}")


def check(params: Params) -> None:
    """Every name leads somewhere, every combination can be done."""
    if params.scale not in params.scales:
        raise ValueError(f"there is no scale {params.scale!r}; {nearest(params.scale, params.scales)}")
    for section in ("scales", "datasets", "pretrain", "finetune", "evaluate"):
        for name in getattr(params, section):
            _check_name(name, section)
    for name, dataset in params.datasets.items():
        _check_dataset(name, dataset)
    for name, scale in params.scales.items():
        for stage in scale.epochs:
            _known(stage, STAGES, f"scales.{name}.epochs")
        for wanted, given in scale.substitutes.items():
            _known(wanted, params.datasets, f"scales.{name}.substitutes")
            _known(given, params.datasets, f"scales.{name}.substitutes.{wanted}")
    for stage in STAGES:
        for name, run in params.runs(stage).items():
            _check_run(params, f"{stage}.{name}", run)


def _check_name(name: str, where: str) -> None:
    """Names become folders, and words of commands."""
    if not name or name[0] == "-" or not all(c.isascii() and (c.isalnum() or c in "-_") for c in name):
        raise ValueError(
            f"{where} has the name {name!r}; letters, digits, '-' and '_' are allowed, the first no '-'"
        )


def _check_dataset(name: str, dataset: Dataset) -> None:
    where = f"datasets.{name}"
    _known(dataset.source, SOURCES, f"{where}.source")
    source = SOURCES[dataset.source]
    if (dataset.source == "folder") != (dataset.path is not None):
        raise ValueError(f"{where}: 'path' goes with 'source: folder', and only with it")
    for split in dataset.splits:
        _check_name(split, f"{where}.splits")
        if source.splits:
            _known(split, source.splits, f"{where}.splits")
    if dataset.synsets is not None:
        if dataset.source != "imagenet":
            raise ValueError(f"{where}.synsets is for 'source: imagenet'")
        from pipeline.datasets.synsets import SYNSETS

        _known(dataset.synsets, SYNSETS, f"{where}.synsets")
    if dataset.square and source.labels == "mask":
        raise ValueError(f"{where}.square is for images without masks")
    if dataset.objects and (dataset.source != "voc2007" or dataset.square):
        raise ValueError(f"{where}.objects is for 'source: voc2007', and not for squares cut from it")


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
    _check_stack(where, run)
    _check_what_where(params, where, run)
    _check_augmented(where, run)
    if run.start is not None:
        _known(run.start, params.pretrain, f"{where}.start")
        other = params.pretrain[run.start]
        if run.network != other.network:
            raise ValueError(f"{where}.network differs from that of pretrain.{run.start}, where it starts")
        _check_chain(params, where, run)
    for protocol in run.evaluate:
        _known(protocol, params.evaluate, f"{where}.evaluate")
        _check_protocol(params, where, run, protocol)
        split, elsewhere = params.evaluate[protocol].split, params.evaluate[protocol].set
        _check_whole(where, run, protocol, params.evaluate[protocol])
        if elsewhere is not None:
            _known(elsewhere, params.datasets, f"evaluate.{protocol}.set")
            _known(split, params.datasets[elsewhere].splits, f"evaluate.{protocol}.split")
        elif split != "validation":
            _known(split, dataset.splits, f"{where}.evaluate {protocol!r}, its split")
        elif not run.data.holdout:
            raise ValueError(f"{where}.evaluate {protocol!r} needs 'holdout' in its data")


def _check_stack(where: str, run: Run) -> None:
    others = set(OBJECTIVES) - {"cae", "swwae", "augment"}
    fits = FITS.get(run.network.name, tuple(others))
    if run.objective.name not in fits:
        raise ValueError(
            f"{where}.objective {run.objective.name!r} does not go with the network {run.network.name!r}; "
            f"{nearest(run.objective.name, fits)}"
        )
    if run.objective.name == "cae":
        layer, layers = run.objective.options.layer, len(run.network.options.maps)
        if not 1 <= layer <= layers:
            raise ValueError(f"{where}.objective.cae.layer is {layer}; 1 to {layers} are allowed")
        if layer > 1 and run.start is None:
            raise ValueError(f"{where} trains layer {layer}; 'start' from a run that trained those below it")


def _check_whole(where: str, run: Run, name: str, protocol: Protocol) -> None:
    classified = run.network.name in ("vgg", "alexnet")
    if protocol.mirrored and not (protocol.everywhere and classified):
        raise ValueError(
            f"{where}.evaluate {name!r}: 'mirrored' goes with 'everywhere' and is for the networks 'vgg' and "
            "'alexnet'"
        )
    if protocol.everywhere and not classified and run.objective.name != "segment":
        raise ValueError(
            f"{where}.evaluate {name!r} is for the networks 'vgg' and 'alexnet' and the objective 'segment'"
        )


def _check_protocol(params: Params, where: str, run: Run, protocol: str) -> None:
    """A shift is read from the pooling whose `where` is a place in the region, objects from their boxes."""
    measure = params.evaluate[protocol].measure
    if measure is not None and measure.name == "activations":
        from pipeline.datasets.voc import CLASSES

        name = params.evaluate[protocol].set or run.data.set
        if name in params.datasets and not params.datasets[name].objects:
            raise ValueError(f"{where}.evaluate {protocol!r} needs 'objects: true' in datasets.{name}")
        for wanted in measure.options.objects:
            _known(wanted, CLASSES, f"evaluate.{protocol}.measure.activations.objects")
    if measure is None or measure.name != "shift":
        return
    if run.network.name != "what-where" or run.network.options.pooling != "soft":
        raise ValueError(f"{where}.evaluate {protocol!r} wants the network 'what-where' with 'pooling: soft'")


def _check_what_where(params: Params, where: str, run: Run) -> None:
    data, objective = run.data, run.objective
    if data.unlabelled is not None:
        _known(data.unlabelled, params.datasets[data.set].splits, f"{where}.data.unlabelled")
        if objective.name != "swwae":
            raise ValueError(f"{where}.data.unlabelled is for the objective 'swwae', not {objective.name!r}")
        if run.batch < 2:
            raise ValueError(f"{where}.batch is {run.batch}; at least 2, half of them unlabelled, are wanted")
    if run.network.name != "what-where" or (objective.name == "swwae" and not objective.options.nll):
        return
    classes, units = SOURCES[params.datasets[data.set].source].classes, run.network.options.classes
    if units is None or units != (classes or units):
        raise ValueError(
            f"{where}.network.what-where.layers ends in {units or 'no'} units; {data.set!r} has "
            f"{classes or 'as many as its folder'} classes, so it ends in -{classes or 'N'}fc"
        )


def _check_augmented(where: str, run: Run) -> None:
    name, options = run.objective.name, run.objective.options
    if run.weights and (run.network.name, name) != ("vgg", "classify"):
        raise ValueError(f"{where}.weights is for the network 'vgg' and the objective 'classify'")
    if name == "classify" and run.network.name in ("vgg", "alexnet") and options != Classify():
        raise ValueError(
            f"{where}.objective.classify has options; {run.network.name!r} has a head of its own"
        )
    if name != "augment":
        return
    levels = run.network.options.levels
    top = options.top or levels
    if not 1 <= top <= levels:
        raise ValueError(f"{where}.objective.augment.top is {top}; 1 to {levels} are allowed")
    allowed = (1,) if options.variant == "first" else (1, top)
    if len(options.weights) not in allowed:
        raise ValueError(
            f"{where}.objective.augment.weights has {len(options.weights)} numbers; "
            f"{options.variant!r} wants {' or '.join(map(str, allowed))}"
        )
    if (options.variant == "ladder") < bool(options.noise):
        raise ValueError(f"{where}.objective.augment.noise is for the variant 'ladder'")
    if options.variant == "ladder" and (options.top or run.network.name != "vgg"):
        raise ValueError(f"{where}.objective.augment: the ladder is for the whole of the network 'vgg'")


def _check_chain(params: Params, where: str, run: Run) -> None:
    seen: list[str] = []
    while run.start is not None:
        if run.start in seen:
            raise ValueError(f"{where}.start goes in a circle: {' -> '.join([*seen, run.start])}")
        seen.append(run.start)
        _known(run.start, params.pretrain, f"{where}.start")
        run = params.pretrain[run.start]
