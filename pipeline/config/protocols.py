"""Protocols of measurements, and the options of their measures."""

from dataclasses import dataclass
from typing import Literal

from pipeline.config.typed import Choice, choice


@dataclass(frozen=True, kw_only=True)
class Activations:
    """The response of a layer's most object-selective map to clean and to occluded images."""

    layer: int  # of the encoder, counted from 1
    objects: tuple[str, ...]  # PASCAL VOC's classes


@dataclass(frozen=True, kw_only=True)
class Contents:
    """How an image is restored inside the boxes of some objects, and outside."""

    objects: tuple[str, ...]  # PASCAL VOC's classes


@dataclass(frozen=True, kw_only=True)
class Decode:
    """Images decoded from a layer, and the reconstruction error of each macro-layer's input."""


@dataclass(frozen=True, kw_only=True)
class Tones:
    """How contrast and saturation of images decoded from a layer differ from the originals'."""


@dataclass(frozen=True, kw_only=True)
class Svm:
    """A linear support vector machine on the top activations."""

    labels: int  # training images, drawn by the run's seed, balanced over classes
    c: float


@dataclass(frozen=True, kw_only=True)
class Shift:
    """`what` and `where` of the last pooling, for images shifted in all four directions."""

    pixels: int
    average: Literal["planes"]  # correlate per plane, then average: differing means would look correlated


@dataclass(frozen=True, kw_only=True)
class Weights:
    """How large the encoder's convolution weights are; no image is looked at."""


MEASURES = {
    "activations": Activations,
    "contents": Contents,
    "svm": Svm,
    "shift": Shift,
    "decode": Decode,
    "tones": Tones,
    "weights": Weights,
}


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How a trained run is measured."""

    split: str
    set: str | None = None  # data set, if not the run's
    measure: Choice | None = choice(MEASURES, default=None)  # measure, if not the objective's
    crops: int = 0  # average the outputs of so many random crops, as in training; 0: the central crop
    everywhere: bool = False  # whole images instead of crops; inner-product layers become convolutions
    mirrored: bool = False  # average the posteriors of whole images and their mirror images
    images: int | None = None  # number of images measured, a fixed draw
    keep: int = 0  # number of images (or filters) kept as arrays for figures
