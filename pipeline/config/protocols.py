"""How a trained run is measured."""

from dataclasses import dataclass
from typing import Literal

from pipeline.config.typed import Choice, choice


@dataclass(frozen=True, kw_only=True)
class Activations:
    """How a layer's map that is most selective for some objects answers, to clean and to occluded images."""

    layer: int  # of the encoder, counted from 1
    objects: tuple[str, ...]  # PASCAL VOC's classes


@dataclass(frozen=True, kw_only=True)
class Contents:
    """How an image is restored inside the boxes of some objects, and outside."""

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


@dataclass(frozen=True, kw_only=True)
class Weights:
    """How large the encoder's convolution weights are; no image is looked at."""


MEASURES = {
    "activations": Activations,
    "contents": Contents,
    "svm": Svm,
    "shift": Shift,
    "decode": Decode,
    "weights": Weights,
}


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
