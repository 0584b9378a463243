"""Official files: which they are, where they are found, that they are the right ones, what is in them."""

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

EXPANSION = 20  # times its own size is the most that an archive may unpack to; STL-10's is 1.2
PATIENCE = 60  # seconds without a byte, after which a server is given up


@dataclass(frozen=True)
class Archive:
    md5: str
    urls: tuple[str, ...] = ()  # none: its users must get it themselves


@cache
def official() -> dict[str, Archive]:
    """File name -> what torchvision knows of it."""
    from torchvision.datasets import CIFAR10, CIFAR100, MNIST, STL10, SVHN
    from torchvision.datasets.imagenet import ARCHIVE_META
    from torchvision.datasets.voc import DATASET_YEAR_DICT

    known = {
        # What MNIST's archives hold: the same digits are about in archives of other compressions.
        "train-images-idx3-ubyte": Archive("6bbc9ace898e44ae57da46a324031adb"),
        "train-labels-idx1-ubyte": Archive("a25bea736e30d166cdddb491f175f624"),
        "t10k-images-idx3-ubyte": Archive("2646ac647ad5339dbf082846283269ea"),
        "t10k-labels-idx1-ubyte": Archive("27ae3e4e09519cfbb04c329615203637"),
    }
    for name, md5 in MNIST.resources:
        known[name] = Archive(md5, tuple(server + name for server in MNIST.mirrors))
    for url, name, md5 in SVHN.split_list.values():
        known[name] = Archive(md5, (url,))
    for each in (CIFAR10, CIFAR100, STL10):
        known[each.filename] = Archive(each.tgz_md5, (each.url,))
    for year in ("2007", "2007-test", "2012"):
        entry = DATASET_YEAR_DICT[year]
        known[entry["filename"]] = Archive(entry["md5"], (entry["url"],))
    for name, md5 in ARCHIVE_META.values():
        known[name] = Archive(md5)
    return known


def md5_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def verify(path: Path, name: str) -> Path:
    """`path`, when its content is the official file `name`."""
    wanted = official()[name].md5
    if not path.is_file():
        raise ValueError(f"{path} is missing; python -m pipeline.fetch {path.parent.name} gets it")
    found = md5_of(path)
    if found != wanted:
        fetched = path.with_name("fetched.json")
        if fetched.exists():  # it was the right one once, and can be got again
            raise damaged(path, f"its md5 is {found}, the official {name} has {wanted}", manifest=fetched)
        raise ValueError(
            f"{path} is damaged or another file: its md5 is {found}, the official {name} has {wanted}; "
            "delete it and fetch again, or put the official one in its place"
        )
    return path


def find(name: str, raw: Path, mirror: Path | None) -> Path | None:
    """The file in `raw` or in the mirror, flat, by source or as torchvision lays it out."""
    places = [raw]
    if mirror is not None:
        places += [mirror, mirror / raw.name, mirror / raw.name.upper() / "raw"]
    return next((place / name for place in places if (place / name).is_file()), None)


def place(name: str, raw: Path, mirror: Path | None) -> Path:
    """The official file in `raw`, verified: what lies there, or the mirror's, or the network's."""
    path, found = raw / name, find(name, raw, mirror)
    if found is None:
        return download(name, raw, mirror)
    verify(found, name)
    if found != path:
        write_whole(path, lambda beside: shutil.copyfile(found, beside))
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
    """A verified archive's files, all of them or none."""
    if folder.is_dir():
        return
    beside = folder.with_name(f".{folder.name}.unpacking")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        (extract or extract_tar)(path, beside)
        beside.replace(folder)
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} does not unpack into {folder}: {error}; nothing was kept of it") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def extract_tar(path: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path) as tar:
        tar.extractall(folder, filter=bounded(path))


def bounded(path: Path) -> Callable[[tarfile.TarInfo, str], tarfile.TarInfo | None]:
    """Refuses members and links that leave the folder, devices, and more than such an archive can hold."""
    left = EXPANSION * path.stat().st_size

    def take(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo | None:
        nonlocal left
        left -= member.size
        free = shutil.disk_usage(folder).free
        if left < 0:
            raise tarfile.TarError(f"with {member.name} it would be {EXPANSION} times its own size")
        if member.size > free:
            raise tarfile.TarError(f"{member.name} needs {member.size} bytes, {free} are free")
        return tarfile.data_filter(member, folder)

    return take
