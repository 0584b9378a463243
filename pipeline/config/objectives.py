"""The objectives' options."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    from pipeline.config.runs import Run

DONG = ("network-1", "network-2", "all-cnn-c")
DECODED = (*DONG, "wide-resnet")  # networks whose every layer can be decoded
MACRO_LAYERS = ("vgg", "alexnet")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What every objective says of itself."""

    networks: ClassVar[tuple[str, ...]]  # that it fits
    labels: ClassVar[str] = ""  # that it learns from: class, classes or mask
    in_parts: ClassVar[bool] = False  # its loss calls parts of the network, never the whole

    def check(self, run: "Run", where: str) -> None:
        """Refuse a run whose other values do not go with these options."""


@dataclass(frozen=True, kw_only=True)
class Denoise(Options):
    networks = DECODED

    shortcuts: Literal["none", "input_output", "full"]
    masked: bool = False  # the error of the hidden pixels alone


@dataclass(frozen=True, kw_only=True)
class Classify(Options):
    """One class an image: softmax."""

    networks: ClassVar[tuple[str, ...]] = (*DECODED, "stack", "what-where", *MACRO_LAYERS)
    labels = "class"

    hidden: tuple[int, ...] = ()
    pool: bool = False
    dropout: float = 0.0

    def check(self, run: "Run", where: str) -> None:
        if run.network.name in MACRO_LAYERS and self != Classify():
            raise ValueError(
                f"{where}.objective.classify has options; {run.network.name!r} has a head of its own"
            )


@dataclass(frozen=True, kw_only=True)
class Multilabel(Classify):
    """Several classes an image: a logistic output for each."""

    networks = DECODED
    labels = "classes"


@dataclass(frozen=True, kw_only=True)
class Segment(Options):
    networks = DECODED
    labels = "mask"

    shortcuts: Literal["none", "input_output", "full"]


@dataclass(frozen=True, kw_only=True)
class Cae(Options):
    """One layer of a stack restores its own input, the code of those below it, which stay as they are."""

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
    """zhao2016's equation 1, and what it is compared with; a term of weight 0 is not computed."""

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
    """On every layer of an encoder, a softmax regression and a stack that restores the image."""

    networks = DONG
    labels = "class"


@dataclass(frozen=True, kw_only=True)
class Augmented(Options):
    """Classification, and beside it the reconstruction of macro-layers' inputs by a decoding pathway."""

    networks = MACRO_LAYERS
    labels = "class"
    in_parts = True

    variant: Literal["first", "all", "layerwise", "ladder"]
    switches: Literal["known", "fixed"]
    # of the image's error, then of each map's; one: the others are balanced with it
    weights: tuple[float, ...]
    norm: Literal["caffe", "mean"]  # of an error: the sum of squares over 2N, or the mean
    top: int | None = None  # the macro-layer whose output is decoded; None: the last
    strength: float = 1.0  # lambda, before all of the reconstruction
    noise: float = 0.0  # the ladder's, in parts of a map's deviation

    def check(self, run: "Run", where: str) -> None:
        levels = run.network.options.levels
        top = self.top or levels
        if not 1 <= top <= levels:
            raise ValueError(f"{where}.objective.augment.top is {top}; 1 to {levels} are allowed")
        allowed = (1,) if self.variant == "first" else (1, top)
        if len(self.weights) not in allowed:
            raise ValueError(
                f"{where}.objective.augment.weights has {len(self.weights)} numbers; "
                f"{self.variant!r} wants {' or '.join(map(str, allowed))}"
            )
        if (self.variant == "ladder") < bool(self.noise):
            raise ValueError(f"{where}.objective.augment.noise is for the variant 'ladder'")
        if self.variant == "ladder" and (self.top or run.network.name != "vgg"):
            raise ValueError(f"{where}.objective.augment: the ladder is for the whole of the network 'vgg'")


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
