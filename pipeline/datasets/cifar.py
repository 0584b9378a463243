"""CIFAR-10 and CIFAR-100: the official archive of Python 2 pickles, or the same images as files.

Images are ordered by their content, so both give the same shards.
"""

import hashlib
import pickle
import tarfile
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.datasets.archives import find, place, verify
from pipeline.datasets.folder import open_split as open_folder
from pipeline.datasets.pixels import decode
from pipeline.datasets.splits import Arrays
from pipeline.system.files import damaged, write_whole

PACKED = "images.npz"  # `fetch` packs a tree of image files into it
CONTENT = {  # sha256 over the images' sorted sha256, whatever their order and format
    (10, "train"): "d59acf989e068e709ce686cda292672c7b212c08d29d3d3e6d8c3aa99eba6a85",
    (10, "test"): "899683d46c3a8c66fd56e1af12202e69fe5a4517be10b0f68e04c78fe585c57c",
    (100, "train"): "36ce7a701fbea47796e570c34382aad50f2539687cfcbc6ae96e2f56530d29b6",
    (100, "test"): "d3cd5d87a1b9317a0982c8ef5535fe3b86da8da90b13ce5e9b23ea06400dd5eb",
}


def _official(classes: int) -> Any:
    from torchvision.datasets import CIFAR10, CIFAR100

    return {10: CIFAR10, 100: CIFAR100}[classes]


def _fetch(classes: int, raw: Path, *, mirror: Path | None, path: Path | None = None) -> None:
    """Fetch the archive; or pack SPLIT/CLASS/IMAGE from the mirror's folder named after the data set."""
    tree = mirror / raw.name if mirror is not None else None
    if tree is not None and tree.is_dir() and find(_official(classes).filename, raw, mirror) is None:
        _pack(classes, tree, raw / PACKED)
    else:
        place(_official(classes).filename, raw, mirror)


def _pack(classes: int, tree: Path, packed: Path) -> None:
    arrays: dict[str, Any] = {}
    for split in ("train", "test"):
        files = open_folder(tree, split, path=tree)
        labels = np.array([files.label_of(i) for i in range(len(files))])
        images = [decode(files[i].image, channels=3, where=files[i].origin) for i in range(len(files))]
        if content_of(images, labels) != CONTENT[classes, split]:
            raise ValueError(
                f"{tree / split} does not hold the official images of CIFAR-{classes} in folders of their "
                "classes; complete it, or put the official archive into the mirror"
            )
        arrays |= {split: np.stack(images), f"{split}_labels": labels, "classes": np.array(files.classes)}

    def write(beside: Path) -> None:
        with beside.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    write_whole(packed, write)


def _digests(images: Iterable[np.ndarray], labels: np.ndarray) -> list[bytes]:
    return [
        hashlib.sha256(bytes([label]) + image.tobytes()).digest()
        for image, label in zip(images, labels.tolist(), strict=True)
    ]


def content_of(images: Iterable[np.ndarray], labels: np.ndarray) -> str:
    return hashlib.sha256(b"".join(sorted(_digests(images, labels)))).hexdigest()


def _open(
    classes: int,
    raw: Path,
    split: str,
    *,
    path: Path | None = None,
    synsets: tuple[str, ...] | None = None,
) -> Arrays:
    official = _official(classes)
    archive, packed = raw / official.filename, raw / PACKED
    if packed.exists() and not archive.exists():
        return _open_packed(classes, packed, split)
    verify(archive, official.filename)
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
    classes_named = tuple(name.decode() for name in names)
    return _by_content(pixels, np.array(labels), classes_named, f"{archive} {split}")


def _open_packed(classes: int, packed: Path, split: str) -> Arrays:
    try:
        with np.load(packed, allow_pickle=False) as held:
            images, labels, names = held[split], held[f"{split}_labels"], held["classes"].tolist()
    except Exception as error:  # numpy and zipfile raise several kinds of error for a damaged file
        raise damaged(packed, str(error), manifest=packed.with_name("fetched.json")) from None
    if content_of(images, labels) != CONTENT[classes, split]:
        raise damaged(
            packed, "its images are not the official ones", manifest=packed.with_name("fetched.json")
        )
    return _by_content(images, labels, tuple(names), f"{packed} {split}")


def _by_content(images: np.ndarray, labels: np.ndarray, classes: tuple[str, ...], origin: str) -> Arrays:
    digests = _digests(images, labels)
    order = sorted(range(len(digests)), key=digests.__getitem__)
    return Arrays(images[order], labels[order], classes, origin)


def _read(archive: Path, tar: tarfile.TarFile, official: Any, name: str, *keys: bytes) -> list[Any]:
    member = f"{official.base_folder}/{name}"
    try:
        file = tar.extractfile(member)
        assert file is not None
        content = ArraysOnly(file, encoding="bytes").load()
        return [content[key] for key in keys]
    except MemoryError:
        raise
    except Exception as error:  # any other content may fail in any way
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
            raise pickle.UnpicklingError(f"it calls {module}.{name}, which no official file does")
        return allowed[module, name]


fetch_10, open_10 = partial(_fetch, 10), partial(_open, 10)
fetch_100, open_100 = partial(_fetch, 100), partial(_open, 100)
