"""The objectives' options."""

from dataclasses import dataclass
from typing import Literal


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
