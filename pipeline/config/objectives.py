"""Options of objectives, and the runs that they refuse."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    from pipeline.config.runs import Run

DONG = ("network-1", "network-2", "all-cnn-c", "strided-alexnet")
DECODED = (*DONG, "wide-resnet")  # networks whose every layer can be decoded
MACRO_LAYERS = ("vgg", "alexnet")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Base of all objectives' options."""

    networks: ClassVar[tuple[str, ...]]  # networks that it can train
    labels: ClassVar[str] = ""  # labels that it trains on: class, classes or mask
    in_parts: ClassVar[bool] = False  # the loss calls parts of the network, never its forward

    def check(self, run: "Run", where: str) -> None:
        """Refuse a run whose other values do not fit these options."""


@dataclass(frozen=True, kw_only=True)
class Denoise(Options):
    networks = DECODED

    shortcuts: Literal["none", "input_output", "full"]
    masked: bool = False  # compute the error on the hidden pixels only


@dataclass(frozen=True, kw_only=True)
class Classify(Options):
    """One class per image: softmax."""

    networks: ClassVar[tuple[str, ...]] = (*DECODED, "stack", "what-where", *MACRO_LAYERS)
    labels = "class"

    hidden: tuple[int, ...] = ()
    pool: bool = False
    dropout: float = 0.0

    def check(self, run: "Run", where: str) -> None:
        if run.network.name in MACRO_LAYERS and self != Classify():
            raise ValueError(
                f"{where}.objective.classify has options; the network {run.network.name!r} includes its head"
            )


@dataclass(frozen=True, kw_only=True)
class Multilabel(Classify):
    """Several classes per image: a logistic output per class."""

    networks = DECODED
    labels = "classes"


@dataclass(frozen=True, kw_only=True)
class Segment(Options):
    networks = DECODED
    labels = "mask"

    shortcuts: Literal["none", "input_output", "full"]


@dataclass(frozen=True, kw_only=True)
class Cae(Options):
    """One layer of a stack learns to restore its input, the code of the frozen layers below."""

    networks = ("stack",)

    layer: int  # counted from 1

    def check(self, run: "Run", where: str) -> None:
        layers = len(run.network.options.maps)
        if not 1 <= self.layer <= layers:
            raise ValueError(f"{where}.objective.cae.layer is {self.layer}; 1 to {layers} are allowed")
        if self.layer > 1 and run.start is None:
            raise ValueError(
                f"{where} trains layer {self.layer}; 'start' from a run that trained those below it"
            )


@dataclass(frozen=True, kw_only=True)
class Swwae(Options):
    """zhao2016's equation 1 and its baselines; terms of weight 0 are not computed."""

    networks = ("what-where",)
    labels = "class"
    in_parts = True

    nll: float = 1.0  # 0: unsupervised
    l2rec: float = 0.0  # of the image
    l2m: float = 0.0  # of the maps between; both 0: the plain convnet
    l1: float = 0.0  # of the convolutions' maps
    dropout: float = 0.0  # before fully connected layers
    conv_dropout: float = 0.0  # behind convolutions


@dataclass(frozen=True, kw_only=True)
class Probe(Options):
    """A softmax regression and an image decoder on every layer of a frozen encoder."""

    networks = DONG
    labels = "class"


@dataclass(frozen=True, kw_only=True)
class Augmented(Options):
    """Classification, and reconstruction of macro-layers' inputs by a decoding pathway."""

    networks = MACRO_LAYERS
    labels = "class"
    in_parts = True

    variant: Literal["first", "all", "layerwise", "ladder"]
    switches: Literal["known", "fixed"]
    # of the image's error, then of the maps' errors; if one is given, the others are balanced with it
    weights: tuple[float, ...]
    norm: Literal["caffe", "mean"]  # normalisation of errors: sum of squares over 2N, or mean
    top: int | None = None  # the macro-layer whose output is decoded; None: the last
    strength: float = 1.0  # lambda, the factor of all reconstruction terms
    noise: float = 0.0  # of the ladder, as a fraction of a map's standard deviation

    def check(self, run: "Run", where: str) -> None:
        levels = run.network.options.levels
        top = self.top or levels
        if not 1 <= top <= levels:
            raise ValueError(f"{where}.objective.augment.top is {top}; 1 to {levels} are allowed")
        allowed = (1,) if self.variant == "first" else (1, top)
        if len(self.weights) not in allowed:
            raise ValueError(
                f"{where}.objective.augment.weights has {len(self.weights)} numbers; "
                f"{self.variant!r} needs {' or '.join(map(str, allowed))}"
            )
        if (self.variant == "ladder") < bool(self.noise):
            raise ValueError(f"{where}.objective.augment.noise is for the variant 'ladder'")
        if self.variant == "ladder" and (self.top or run.network.name != "vgg"):
            raise ValueError(f"{where}.objective.augment: the ladder needs the network 'vgg' and no 'top'")


OBJECTIVES: dict[str, type[Options]] = {
    "denoise": Denoise,
    "classify": Classify,
    "multilabel": Multilabel,
    "segment": Segment,
    "cae": Cae,
    "swwae": Swwae,
    "probe": Probe,
    "augment": Augmented,
}
