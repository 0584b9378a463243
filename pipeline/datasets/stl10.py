"""STL-10: binary files, with the ten folds of its protocol."""

from pathlib import Path

import numpy as np

from pipeline.datasets.archives import place, unpack
from pipeline.datasets.splits import Arrays

ARCHIVE = "stl10_binary.tar.gz"
FILES = {
    "train": ("train_X.bin", "train_y.bin"),
    "test": ("test_X.bin", "test_y.bin"),
    "unlabelled": ("unlabeled_X.bin", None),
}
IMAGE = (3, 96, 96)


def fetch(raw: Path, *, mirror: Path | None, path: Path | None = None) -> None:
    unpack(place(ARCHIVE, raw, mirror), raw / "unpacked")


def open_split(
    raw: Path, split: str, *, path: Path | None = None, synsets: tuple[str, ...] | None = None
) -> Arrays:
    folder = raw / "unpacked" / "stl10_binary"
    if not folder.is_dir():
        raise ValueError(f"{folder} is missing; python -m pipeline.fetch {raw.name} gets it")
    image_file, label_file = FILES[split]
    values = np.memmap(folder / image_file, np.uint8, mode="r")
    if len(values) % np.prod(IMAGE):
        raise ValueError(
            f"{folder / image_file} is cut short; delete {raw / 'unpacked'}, "
            f"then python -m pipeline.fetch {raw.name}"
        )
    images = values.reshape(-1, *IMAGE).transpose(0, 3, 2, 1)  # stored column by column
    labels = None if label_file is None else np.fromfile(folder / label_file, np.uint8).astype(int) - 1
    classes = tuple((folder / "class_names.txt").read_text().split())
    folds = None
    if split == "train":
        lines = (folder / "fold_indices.txt").read_text().splitlines()
        folds = [[int(index) for index in line.split()] for line in lines if line.strip()]
    return Arrays(images, labels, classes, str(folder / image_file), folds)
