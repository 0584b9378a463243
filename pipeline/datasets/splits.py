"""Splits as arrays in memory, or as files on disk."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.datasets import Object, Sample
from pipeline.datasets.pixels import FORMATS


@dataclass(frozen=True)
class Arrays:
    images: np.ndarray  # (N, H, W, C) uint8
    labels: np.ndarray | None
    classes: tuple[str, ...]
    origin: str
    folds: list[list[int]] | None = None

    def __post_init__(self) -> None:
        if self.labels is None:
            return
        if len(self.labels) != len(self.images):
            raise ValueError(f"{self.origin} has {len(self.images)} images and {len(self.labels)} labels")
        if len(self.labels) and not 0 <= self.labels.min() <= self.labels.max() < len(self.classes):
            raise ValueError(
                f"{self.origin} has labels from {self.labels.min()} to {self.labels.max()}; "
                f"it has {len(self.classes)} classes"
            )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> Sample:
        label = None if self.labels is None else int(self.labels[i])
        return Sample(np.ascontiguousarray(self.images[i]), label, origin=f"{self.origin}, image {i}")


@dataclass(frozen=True)
class Files:
    """Encoded image files; `label_of`, `masks` and `objects_of` take the same index."""

    paths: Sequence[Path]
    label_of: Callable[[int], int | list[int] | None]
    classes: tuple[str, ...]
    masks: Sequence[Path] | None = None
    folds: list[list[int]] | None = None
    objects_of: Callable[[int], list[Object]] | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> Sample:
        mask = None if self.masks is None else read_image(self.masks[i])
        objects = None if self.objects_of is None else self.objects_of(i)
        return Sample(read_image(self.paths[i]), self.label_of(i), mask, objects, str(self.paths[i]))


def read_image(path: Path) -> bytes:
    """Read a file whose header is that of an image; only decoding checks the rest."""
    from PIL import Image

    try:
        content = path.read_bytes()
        with Image.open(io.BytesIO(content), formats=FORMATS):
            return content
    except Exception as error:  # Pillow raises a dozen kinds of error for a damaged image
        reason = "unknown image format" if isinstance(error, Image.UnidentifiedImageError) else error
        raise ValueError(f"{path} is not an image ({reason}); replace or remove it") from None
