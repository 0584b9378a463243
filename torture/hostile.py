"""Hostile input that tries to leave its folder, run code or fill the disk: refused, or without effect."""

import gzip
import io
import os
import pickle
import pickletools
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random

import torch
import yaml

from pipeline.config.reading import load
from pipeline.datasets import SOURCES
from pipeline.datasets.archives import unpack
from pipeline.training.checkpoint import load_tensors
from torture import Fault, refused
from torture.damage import counts_as_official, short_params

RAN = Path("ran")  # what hostile code would leave


class Evil:
    """An object whose pickle runs code."""

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {RAN.absolute()}",)


def _member(name: str, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def _tars() -> dict[str, list[tarfile.TarInfo]]:
    """Archives with paths, links and devices that lead out of the folder."""
    link, hard = tarfile.SYMTYPE, tarfile.LNKTYPE
    return {
        "a name that goes up": [_member("../outside", size=3)],
        "a name that goes far up": [_member("a/../../../outside", size=3)],
        "an absolute name": [_member("/tmp/torture-outside", size=3)],
        "an absolute link": [_member("link", type=link, linkname="/etc/passwd")],
        "a link upwards": [_member("link", type=link, linkname="../../outside")],
        "a file through a link": [
            _member("link", type=link, linkname=".."),
            _member("link/outside", size=3),
        ],
        "a file through two links": [
            _member("a", type=link, linkname="."),
            _member("a/b", type=link, linkname=".."),
            _member("a/b/outside", size=3),
        ],
        "a hard link out of it": [_member("link", type=hard, linkname="/etc/passwd")],
        "a hard link upwards": [_member("link", type=hard, linkname="../../params.yaml")],
        "a device": [_member("device", type=tarfile.CHRTYPE, devmajor=1, devminor=3)],
        "a block device": [_member("device", type=tarfile.BLKTYPE, devmajor=8, devminor=0)],
        "a pipe": [_member("pipe", type=tarfile.FIFOTYPE)],
    }


def _tree(folder: Path) -> dict[str, int]:
    return {
        str(file.relative_to(folder)): file.lstat().st_mtime_ns
        for file in folder.rglob("*")
        if not file.is_dir() or file.is_symlink()
    }


def archives(place: Path, times: int, rng: Random) -> Iterator[str]:
    for _, (what, members) in zip(range(times), _tars().items(), strict=False):
        archive, folder = place / "some.tar", place / "deep" / "folder"
        folder.parent.mkdir(exist_ok=True)
        with tarfile.open(archive, "w") as tar:
            tar.addfile(_member("good", size=3), io.BytesIO(b"yes"))
            for member in members:
                tar.addfile(member, io.BytesIO(b"bad"))
        before = _tree(place.parent)
        lost = refused(partial(unpack, archive, folder), "some.tar")
        kept = {name for name in _tree(place.parent) if name not in before}
        if lost == "it was taken" and all(name.startswith("project/deep/folder/") for name in kept):
            links = [file for file in folder.rglob("*") if file.is_symlink()]
            lost = "" if all(place in link.resolve().parents for link in links) else "a link leads out"
            if any(not (file.is_file() or file.is_dir()) for file in folder.rglob("*")):
                lost = "a device was made"
        elif kept:
            lost = f"it left {kept}"
        yield lost and f"{what}: {lost}"
        shutil.rmtree(folder, ignore_errors=True)


def bombs(place: Path, times: int, rng: Random) -> Iterator[str]:
    """Archives that unpack to much more: of zeros, of many members, or of a false declared size."""

    def of_zeros(file: io.BufferedIOBase) -> None:
        with gzip.open(file, "wb", 9) as packed:
            packed.write(_member("zeros", size=64 << 20).tobuf())
            for _ in range(64):
                packed.write(bytes(1 << 20))
            packed.write(bytes(1024))

    def of_many(file: io.BufferedIOBase) -> None:
        with tarfile.open(fileobj=file, mode="w:gz") as tar:
            for number in range(400):
                tar.addfile(_member(f"zeros-{number}", size=1 << 17), io.BytesIO(bytes(1 << 17)))

    def declared(file: io.BufferedIOBase) -> None:
        file.write(_member("zeros", size=1 << 50).tobuf(format=tarfile.GNU_FORMAT) + bytes(10240))

    def sparse(file: io.BufferedIOBase) -> None:
        head = bytearray(_member("zeros", size=0, type=b"S").tobuf(format=tarfile.GNU_FORMAT))
        head[386:398], head[398:410] = b"%011o\0" % (1 << 32), b"%011o\0" % 0
        head[483:495] = b"%011o\0" % (1 << 32)
        head[148:156] = b" " * 8
        head[148:156] = b"%06o\0 " % sum(head)
        file.write(bytes(head) + bytes(10240))

    for make in [of_zeros, of_many, declared, sparse][:times]:
        archive = place / "some.tar.gz"
        with archive.open("wb") as file:
            make(file)
        lost = refused(partial(unpack, archive, place / "folder"), "some.tar.gz")
        yield lost or ("something was kept" if (place / "folder").exists() else "")


def _packed(content: dict[str, bytes], how: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", how) as file:
        for name, text in content.items():
            file.writestr(name, text)
    return buffer.getvalue()


def pickles(place: Path, times: int, rng: Random) -> Iterator[str]:
    """Replace tensors by code, other objects, bombs or garbage."""
    path = place / "weights.pt"
    plain = pickle.dumps({"parts": {}})
    many: list = [0]
    for _ in range(40):
        many = [many, many]
    evil: list[Callable[[], object]] = [
        lambda: torch.save({"parts": Evil()}, path),
        lambda: path.write_bytes(pickle.dumps(Evil())),
        lambda: path.write_bytes(_packed({"archive/data.pkl": pickle.dumps(Evil())}, zipfile.ZIP_STORED)),
        lambda: path.write_bytes(_packed({"../../outside": b"x", "a/data.pkl": plain}, zipfile.ZIP_STORED)),
        lambda: path.write_bytes(
            _packed({"a/data.pkl": plain, "a/data/0": bytes(1 << 26)}, zipfile.ZIP_DEFLATED)
        ),
        lambda: torch.save([1, 2], path),
        lambda: torch.save({"parts": {"encoder": torch.nn.Linear(2, 2)}}, path),
        lambda: torch.save({"parts": float("nan")}, path),
        lambda: path.write_bytes(b""),
        lambda: path.write_bytes(b"PK\x05\x06" + bytes(18)),
    ]
    for make in evil[:times]:
        make()
        lost = refused(partial(load_tensors, path), "weights.pt")
        yield lost or ("its code ran" if RAN.exists() else "")


def cifar(place: Path, times: int, rng: Random) -> Iterator[str]:
    """CIFAR batches with accepted checksums: even then only arrays and plain values are built."""
    from torchvision.datasets import CIFAR10

    name, raw = CIFAR10.filename, place / "cifar10"
    raw.mkdir()

    class Calls:
        def __init__(self, module: str, function: str) -> None:
            self.code = f"c{module}\n{function}\n(S'touch {RAN.absolute()}'\ntR.".encode()

    batches = [
        pickle.dumps(Evil(), 2),
        *(Calls(*names).code for names in (("os", "system"), ("builtins", "eval"), ("numpy", "load"))),
        *(Calls("numpy.core.multiarray", names).code for names in ("scalar", "fromfile", "_reconstruct")),
        b"\x80\x02]q\x00.",
        b"",
        bytes(100),
        pickletools.optimize(pickle.dumps({b"data": [1], b"labels": [1]}, 2))[:-3],
    ]
    for content in batches[:times]:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            for member in ("batches.meta", *(batch for batch, _ in CIFAR10.train_list)):
                tar.addfile(
                    _member(f"{CIFAR10.base_folder}/{member}", size=len(content)), io.BytesIO(content)
                )
        (raw / name).write_bytes(buffer.getvalue())
        unverified = refused(partial(SOURCES["cifar10"].open, raw, "train"), "is damaged or another file")
        with counts_as_official(name, buffer.getvalue()):
            lost = refused(partial(SOURCES["cifar10"].open, raw, "train"), name)
        yield unverified or lost or ("its code ran" if RAN.exists() else "")


def documents(place: Path, times: int, rng: Random) -> Iterator[str]:
    """YAML that builds objects or expands; names that are paths or commands."""
    path = place / "params.yaml"
    document = short_params(place)
    touch = f"touch {RAN.absolute()}"
    bomb = "a: &a [0, 0, 0, 0, 0, 0, 0, 0, 0]\n" + "".join(
        f"{name}: &{name} [{', '.join(['*' + old] * 9)}]\n"
        for old, name in zip("abcdefghij", "bcdefghijk", strict=True)
    )
    merges = "a: &a {x: 1}\n" + "".join(
        f"{name}: &{name} {{<<: [{', '.join(['*' + old] * 9)}]}}\n"
        for old, name in zip("abcdefghij", "bcdefghijk", strict=True)
    )
    texts = [
        f"scale: !!python/object/apply:os.system ['{touch}']\n",
        f"scale: !!python/object/new:os.system ['{touch}']\n",
        "scale: !!python/name:os.system\n",
        "scale: !!python/module:os\n",
        f"scale: !!python/object/apply:subprocess.check_output [['{touch}']]\n",
        "scale: !something {}\n",
        bomb + "scale: *k\n",
        merges + "scale: *k\n",
        "scale: &a [*a]\n",
        "[" * 5000 + "]" * 5000,
        "scale: !!int ''\n",
        "scale: !!timestamp x\n",
        "? [a]\n: b\n",
        f"scale: {'9' * 5000}\n",
    ]
    names = [
        "a/b",
        "../outside",
        "a b",
        "a;touch ran",
        "$(touch ran)",
        "`touch ran`",
        "-rf",
        "a\nb",
        "",
        ".",
        "ä",
        "a'b",
    ]
    for name in names:
        for section in ("pretrain", "datasets", "evaluate", "scales"):
            other = {**document, section: {**document[section], name: next(iter(document[section].values()))}}
            texts.append(yaml.safe_dump(other))
        mine = {"source": "folder", "path": ".", "splits": [name], "encoding": "raw"}
        texts.append(yaml.safe_dump({**document, "datasets": {**document["datasets"], "mine": mine}}))
    for text in texts if times >= len(texts) else [*texts[:14], *rng.sample(texts[14:], max(0, times - 14))]:
        path.write_text(text)
        lost = refused(load, "params.yaml")
        yield (
            lost or ("its code ran" if RAN.exists() else "")
        ) and f"{text[:60]!r}: {lost or 'its code ran'}"


FAULTS = {
    "hostile: archives that leave their folder": Fault(archives, 100, few=100),
    "hostile: archives that grow": Fault(bombs, 4, few=4),
    "hostile: code and bombs in place of tensors": Fault(pickles, 100, few=100),
    "hostile: code in batches of CIFAR": Fault(cifar, 100, few=100),
    "hostile: YAML that builds or grows, names that are paths": Fault(documents, 1000, few=20),
}
