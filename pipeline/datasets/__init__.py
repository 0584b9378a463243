"""Sources of images: the properties of each, how to fetch it, how to read a split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np


# A class and its box: left, top, right, bottom, as fractions of the image's sides.
Object = tuple[int, float, float, float, float]

VOID = 255  # in a mask: no class


@dataclass(frozen=True)
class Sample:
    image: np.ndarray | bytes  # (H, W, C), or the bytes of an encoded file
    label: int | list[int] | None = None  # one class, several classes, or none
    mask: np.ndarray | bytes | None = None  # (H, W) classes or VOID; or a palette PNG
    objects: list[Object] | None = None
    origin: str = ""  # the file that it was read from, for messages


class Split(Protocol):
    classes: tuple[str, ...]
    folds: list[list[int]] | None

    def __len__(self) -> int: ...
    def __getitem__(self, i: int) -> Sample: ...


@dataclass(frozen=True)
class Source:
    labels: Literal["class", "classes", "mask"]  # one per image, several per image, one per pixel
    classes: int | None  # None: counted in the folder
    channels: int
    side: int  # for photographs, the usual shorter side
    splits: dict[str, int]  # official numbers of images
    fetch: Callable[..., None]  # fetch(raw, *, mirror, path)
    open: Callable[..., Split]  # open(raw, split, *, path, synsets)
    files: dict[str, int] = field(default_factory=dict)  # official files and their sizes in bytes
    unpacks: bool = False  # whether the unpacked files lie beside the archive
    licence: str = ""  # what its owners say of its use
    home: str = ""  # their page


def _lazy(module: str, function: str) -> Callable[..., Any]:
    """A function of a module that is imported when first called: this file must load in milliseconds."""

    def call(*words: Any, **named: Any) -> Any:
        return getattr(import_module(f"pipeline.datasets.{module}"), function)(*words, **named)

    return call


SOURCES: dict[str, Source] = {
    "mnist": Source(
        labels="class",
        classes=10,
        channels=1,
        side=28,
        splits={"train": 60_000, "test": 10_000},
        fetch=_lazy("mnist", "fetch"),
        open=_lazy("mnist", "open_split"),
        files={
            "train-images-idx3-ubyte.gz": 9_912_422,
            "train-labels-idx1-ubyte.gz": 28_881,
            "t10k-images-idx3-ubyte.gz": 1_648_877,
            "t10k-labels-idx1-ubyte.gz": 4_542,
        },
        unpacks=True,
        licence="CC BY-SA 3.0",
        home="http://yann.lecun.com/exdb/mnist/",
    ),
    "svhn": Source(
        labels="class",
        classes=10,
        channels=3,
        side=32,
        splits={"train": 73_257, "test": 26_032, "extra": 531_131},
        fetch=_lazy("svhn", "fetch"),
        open=_lazy("svhn", "open_split"),
        files={
            "train_32x32.mat": 182_040_794,
            "test_32x32.mat": 64_275_384,
            "extra_32x32.mat": 1_329_278_602,
        },
        licence="non-commercial use only",
        home="http://ufldl.stanford.edu/housenumbers/",
    ),
    "cifar10": Source(
        labels="class",
        classes=10,
        channels=3,
        side=32,
        splits={"train": 50_000, "test": 10_000},
        fetch=_lazy("cifar", "fetch_10"),
        open=_lazy("cifar", "open_10"),
        files={"cifar-10-python.tar.gz": 170_498_071},
        licence="none stated; its authors ask to be cited",
        home="https://www.cs.toronto.edu/~kriz/cifar.html",
    ),
    "cifar100": Source(
        labels="class",
        classes=100,
        channels=3,
        side=32,
        splits={"train": 50_000, "test": 10_000},
        fetch=_lazy("cifar", "fetch_100"),
        open=_lazy("cifar", "open_100"),
        files={"cifar-100-python.tar.gz": 169_001_437},
        licence="none stated; its authors ask to be cited",
        home="https://www.cs.toronto.edu/~kriz/cifar.html",
    ),
    "stl10": Source(
        labels="class",
        classes=10,
        channels=3,
        side=96,
        splits={"train": 5_000, "test": 8_000, "unlabelled": 100_000},
        fetch=_lazy("stl10", "fetch"),
        open=_lazy("stl10", "open_split"),
        files={"stl10_binary.tar.gz": 2_640_397_119},
        unpacks=True,
        licence="none stated; its images come from ImageNet",
        home="https://cs.stanford.edu/~acoates/stl10/",
    ),
    "voc2007": Source(
        labels="classes",
        classes=20,
        channels=3,
        side=375,
        splits={"train": 5_011, "test": 4_952},  # train is its trainval
        fetch=_lazy("voc", "fetch_2007"),
        open=_lazy("voc", "open_2007"),
        files={"VOCtrainval_06-Nov-2007.tar": 460_032_000, "VOCtest_06-Nov-2007.tar": 451_020_800},
        unpacks=True,
        licence="images under Flickr's terms of use",
        home="http://host.robots.ox.ac.uk/pascal/VOC/voc2007/",
    ),
    "voc2012": Source(
        labels="mask",
        classes=21,
        channels=3,
        side=375,
        splits={"train": 1_464, "test": 1_449},  # test is its val
        fetch=_lazy("voc", "fetch_2012"),
        open=_lazy("voc", "open_2012"),
        files={"VOCtrainval_11-May-2012.tar": 1_999_639_040},
        unpacks=True,
        licence="images under Flickr's terms of use",
        home="http://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
    ),
    "imagenet": Source(
        labels="class",
        classes=1000,
        channels=3,
        side=375,
        splits={"train": 1_281_167, "test": 50_000},  # test is its val
        fetch=_lazy("imagenet", "fetch"),
        open=_lazy("imagenet", "open_split"),
        files={
            "ILSVRC2012_img_train.tar": 147_897_477_120,
            "ILSVRC2012_img_val.tar": 6_744_924_160,
            "ILSVRC2012_devkit_t12.tar.gz": 2_568_145,
        },
        unpacks=True,
        licence="non-commercial research and education, by agreement",
        home="https://image-net.org/download",
    ),
    "folder": Source(
        labels="class",
        classes=None,
        channels=3,
        side=256,
        splits={},
        fetch=_lazy("folder", "fetch"),
        open=_lazy("folder", "open_split"),
        licence="its owner's",
    ),
}
