"""MNIST: four idx files."""

import gzip
import hashlib
import math
import zlib
from functools import partial
from pathlib import Path

import numpy as np

from pipeline.datasets.archives import download, find, md5_of, official, verify
from pipeline.datasets.splits import Arrays
from pipeline.system.files import write_whole

FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
LARGEST = 64 << 20  # bytes; the training images are 47 million
BYTES = 0x08  # the idx code of unsigned bytes


def fetch(raw: Path, *, mirror: Path | None, path: Path | None = None) -> None:
    """Keep the unpacked files: their checksums do not depend on who compressed them."""
    for name in (name for pair in FILES.values() for name in pair):
        source = find(name, raw, mirror) or find(f"{name}.gz", raw, mirror)
        source = source or download(f"{name}.gz", raw, mirror)
        if source != raw / name:
            write_whole(raw / name, partial(_write, _content(source, name)))
        verify(raw / name, name)


def _write(content: bytes, path: Path) -> None:
    path.write_bytes(content)


def _content(path: Path, name: str) -> bytes:
    if path.suffix != ".gz":
        return verify(path, name).read_bytes()
    try:
        with gzip.open(path) as file:
            content = file.read(LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(
            f"{path} is damaged ({error}): its md5 is {md5_of(path)}, the official file has "
            f"{official()[path.name].md5}; delete it and fetch again, or put the official one in its place"
        ) from None
    digest, official_md5 = hashlib.md5(content, usedforsecurity=False).hexdigest(), official()[name].md5
    if digest != official_md5:
        raise ValueError(
            f"{path} holds another file: its content has the md5 {digest}, the official {name} has "
            f"{official_md5}; delete it and fetch again, or put the official one in its place"
        )
    return content


def open_split(
    raw: Path, split: str, *, path: Path | None = None, synsets: tuple[str, ...] | None = None
) -> Arrays:
    images, labels = (_read_idx(verify(raw / name, name)) for name in FILES[split])
    return Arrays(images[..., None], labels, tuple("0123456789"), f"{raw} {split}")


def _read_idx(path: Path) -> np.ndarray:
    """Two zeros, the type, the number of dimensions; the lengths, most significant byte first; the values."""
    content = path.read_bytes()
    lengths = np.frombuffer(content, ">i4", content[3], offset=4).tolist()
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * content[3])
    if content[:3] != bytes([0, 0, BYTES]) or len(values) != math.prod(lengths):
        raise ValueError(f"{path} is not an idx file of {lengths} bytes; delete it and fetch again")
    return values.reshape(lengths)
