"""CIFAR-10 and CIFAR-100: Python 2 pickles in an archive, read from within it."""

import pickle
import tarfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.datasets.archives import place, verify
from pipeline.datasets.splits import Arrays


def _official(classes: int) -> Any:
    from torchvision.datasets import CIFAR10, CIFAR100

    return {10: CIFAR10, 100: CIFAR100}[classes]


def _fetch(classes: int, raw: Path, *, mirror: Path | None, path: Path | None = None) -> None:
    place(_official(classes).filename, raw, mirror)


def _open(
    classes: int,
    raw: Path,
    split: str,
    *,
    path: Path | None = None,
    synsets: tuple[str, ...] | None = None,
) -> Arrays:
    official = _official(classes)
    archive = verify(raw / official.filename, official.filename)
    batches = [name for name, _ in {"train": official.train_list, "test": official.test_list}[split]]
    images, labels = [], []
    with tarfile.open(archive) as tar:
        (names,) = _read(archive, tar, official, official.meta["filename"], official.meta["key"].encode())
        for name in batches:
            key = b"labels" if classes == 10 else b"fine_labels"
            part, numbers = _read(archive, tar, official, name, b"data", key)
            images.append(part)
            labels += numbers
    pixels = np.concatenate(images).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return Arrays(pixels, np.array(labels), tuple(name.decode() for name in names), f"{archive} {split}")


def _read(archive: Path, tar: tarfile.TarFile, official: Any, name: str, *keys: bytes) -> list[Any]:
    member = f"{official.base_folder}/{name}"
    try:
        file = tar.extractfile(member)
        assert file is not None
        content = ArraysOnly(file, encoding="bytes").load()
        return [content[key] for key in keys]
    except MemoryError:
        raise
    except Exception as error:  # what is no such pickle may fail in any way
        raise ValueError(f"{archive}: {member} cannot be read: {error}") from None


class ArraysOnly(pickle.Unpickler):
    """Builds numpy's arrays and plain values; refuses to call anything else."""

    def find_class(self, module: str, name: str) -> Any:
        allowed = {
            ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
        }
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no official file does")
        return allowed[module, name]


fetch_10, open_10 = partial(_fetch, 10), partial(_open, 10)
fetch_100, open_100 = partial(_fetch, 100), partial(_open, 100)
