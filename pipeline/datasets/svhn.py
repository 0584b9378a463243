"""SVHN, format 2: cropped digits in MATLAB files."""

from pathlib import Path

import numpy as np

from pipeline.datasets.archives import place, verify
from pipeline.datasets.splits import Arrays

FILES = {"train": "train_32x32.mat", "test": "test_32x32.mat", "extra": "extra_32x32.mat"}


def fetch(raw: Path, *, mirror: Path | None, path: Path | None = None) -> None:
    for name in FILES.values():
        place(name, raw, mirror)


def open_split(
    raw: Path, split: str, *, path: Path | None = None, synsets: tuple[str, ...] | None = None
) -> Arrays:
    from scipy.io import loadmat

    file = verify(raw / FILES[split], FILES[split])
    content = loadmat(str(file), variable_names=["X", "y"])
    images = np.moveaxis(content["X"], 3, 0)  # from (H, W, C, N)
    return Arrays(
        images, content["y"].ravel() % 10, tuple("0123456789"), str(file)
    )  # SVHN labels the digit 0 as 10
