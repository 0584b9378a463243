"""Where images come from: what each source is, how to get it, how to read a split of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Sample:
    image: np.ndarray | bytes  # (H, W, C), or an encoded file as it came
    label: int | list[int] | None = None  # a class; the classes shown; none
    mask: np.ndarray | bytes | None = None  # (H, W) classes, 255 void; or a palette PNG


class Split(Protocol):
    classes: tuple[str, ...]
    folds: list[list[int]] | None

    def __len__(self) -> int: ...
    def __getitem__(self, i: int) -> Sample: ...


@dataclass(frozen=True)
class Source:
    labels: Literal["class", "classes", "mask"]  # one an image, several an image, one a pixel
    classes: int | None  # None: counted in the folder
    channels: int
    side: int  # of photographs the usual short side
    splits: dict[str, int]  # official numbers of images
    fetch: Callable[..., None]  # fetch(raw, *, mirror, path)
    open: Callable[..., Split]  # open(raw, split, *, path, synsets)


def _lazy(module: str, function: str) -> Callable[..., Any]:
    """A function of a module that is imported when it is first called."""

    def call(*words: Any, **named: Any) -> Any:
        return getattr(import_module(f"pipeline.datasets.{module}"), function)(*words, **named)

    return call


SOURCES: dict[str, Source] = {
    "mnist": Source(
        "class",
        10,
        1,
        28,
        {"train": 60_000, "test": 10_000},
        _lazy("small", "fetch_mnist"),
        _lazy("small", "open_mnist"),
    ),
    "svhn": Source(
        "class",
        10,
        3,
        32,
        {"train": 73_257, "test": 26_032, "extra": 531_131},
        _lazy("small", "fetch_svhn"),
        _lazy("small", "open_svhn"),
    ),
    "cifar10": Source(
        "class",
        10,
        3,
        32,
        {"train": 50_000, "test": 10_000},
        _lazy("small", "fetch_cifar10"),
        _lazy("small", "open_cifar10"),
    ),
    "cifar100": Source(
        "class",
        100,
        3,
        32,
        {"train": 50_000, "test": 10_000},
        _lazy("small", "fetch_cifar100"),
        _lazy("small", "open_cifar100"),
    ),
    "stl10": Source(
        "class",
        10,
        3,
        96,
        {"train": 5_000, "test": 8_000, "unlabelled": 100_000},
        _lazy("small", "fetch_stl10"),
        _lazy("small", "open_stl10"),
    ),
    "voc2007": Source(
        "classes",
        20,
        3,
        375,
        {"train": 5_011, "test": 4_952},
        _lazy("voc", "fetch_2007"),
        _lazy("voc", "open_2007"),
    ),
    "voc2012": Source(
        "mask",
        21,
        3,
        375,
        {"train": 1_464, "test": 1_449},
        _lazy("voc", "fetch_2012"),
        _lazy("voc", "open_2012"),
    ),
    "imagenet": Source(
        "class",
        1000,
        3,
        375,
        {"train": 1_281_167, "test": 50_000},
        _lazy("imagenet", "fetch"),
        _lazy("imagenet", "open"),
    ),
    "folder": Source("class", None, 3, 256, {}, _lazy("folder", "fetch"), _lazy("folder", "open")),
}
