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
    origin: str = ""  # the file that it came in, for messages


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
    ),
    "svhn": Source(
        labels="class",
        classes=10,
        channels=3,
        side=32,
        splits={"train": 73_257, "test": 26_032, "extra": 531_131},
        fetch=_lazy("svhn", "fetch"),
        open=_lazy("svhn", "open_split"),
    ),
    "cifar10": Source(
        labels="class",
        classes=10,
        channels=3,
        side=32,
        splits={"train": 50_000, "test": 10_000},
        fetch=_lazy("cifar", "fetch_10"),
        open=_lazy("cifar", "open_10"),
    ),
    "cifar100": Source(
        labels="class",
        classes=100,
        channels=3,
        side=32,
        splits={"train": 50_000, "test": 10_000},
        fetch=_lazy("cifar", "fetch_100"),
        open=_lazy("cifar", "open_100"),
    ),
    "stl10": Source(
        labels="class",
        classes=10,
        channels=3,
        side=96,
        splits={"train": 5_000, "test": 8_000, "unlabelled": 100_000},
        fetch=_lazy("stl10", "fetch"),
        open=_lazy("stl10", "open_split"),
    ),
    "voc2007": Source(
        labels="classes",
        classes=20,
        channels=3,
        side=375,
        splits={"train": 5_011, "test": 4_952},  # train is its trainval
        fetch=_lazy("voc", "fetch_2007"),
        open=_lazy("voc", "open_2007"),
    ),
    "voc2012": Source(
        labels="mask",
        classes=21,
        channels=3,
        side=375,
        splits={"train": 1_464, "test": 1_449},  # test is its val
        fetch=_lazy("voc", "fetch_2012"),
        open=_lazy("voc", "open_2012"),
    ),
    "imagenet": Source(
        labels="class",
        classes=1000,
        channels=3,
        side=375,
        splits={"train": 1_281_167, "test": 50_000},  # test is its val
        fetch=_lazy("imagenet", "fetch"),
        open=_lazy("imagenet", "open_split"),
    ),
    "folder": Source(
        labels="class",
        classes=None,
        channels=3,
        side=256,
        splits={},
        fetch=_lazy("folder", "fetch"),
        open=_lazy("folder", "open_split"),
    ),
}
