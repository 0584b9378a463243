"""Files as one tar, cut into parts of a bounded size; `cat NAME.* | tar -x` unpacks it anywhere."""

import hashlib
import io
import itertools
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath

from pipeline.system.files import sha256, write_whole

SUMS = "SHA256SUMS"  # the first file, for sha256sum --check
OVERHEAD = 3072  # bytes of a file's headers, padding and line of sums, at most
END = 2 * 10240  # bytes of a tar's end and of the headers of its sums, at most


def pack(files: Mapping[str, Path | bytes], folder: Path, name: str, *, part: int) -> list[Path]:
    """Write NAME.000, NAME.001, … of `part` bytes in place of an earlier parcel of that name."""
    if wrong := [each for each in files if each == SUMS or not _inside(each)]:
        raise ValueError(f"{wrong[0]} cannot be packed: it is {SUMS}, or lies outside of the folder")
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(f"{name}.[0-9][0-9][0-9]"):
        old.unlink()
    with tempfile.TemporaryFile(dir=folder) as whole:
        with tarfile.open(fileobj=whole, mode="w", format=tarfile.GNU_FORMAT) as tar:
            sums = "".join(f"{_sha256(content)}  {each}\n" for each, content in files.items())
            for each, content in {SUMS: sums.encode(), **files}.items():
                info = tarfile.TarInfo(each)
                with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as file:
                    info.size = file.seek(0, io.SEEK_END)
                    file.seek(0)
                    tar.addfile(info, file)
        whole.seek(0)
        parts: list[Path] = []
        while content := whole.read(part):
            parts.append(folder / f"{name}.{len(parts):03}")
            write_whole(parts[-1], partial(Path.write_bytes, data=content))
    return parts


def fitting(files: Mapping[str, Path], most: int) -> dict[str, Path]:
    """Those that a parcel of `most` bytes has room for; earlier ones go first."""
    chosen, left = {}, most - END
    for name, path in files.items():
        if (size := path.stat().st_size + OVERHEAD) <= left:
            chosen[name], left = path, left - size
    return chosen


def unpack(folder: Path, name: str) -> Iterator[tuple[str, bytes]]:
    """The files of a parcel; of one that lacks its last parts, those that are whole."""
    parts = [folder / f"{name}.{number:03}" for number in range(1000)]
    there = list(itertools.takewhile(Path.exists, parts))
    if not there:
        raise ValueError(f"{parts[0]} is missing; name the folder of the parts that came back")
    stream = io.BytesIO(b"".join(part.read_bytes() for part in there))
    sums: dict[str, str] = {}
    try:
        with tarfile.open(fileobj=stream, mode="r|") as tar:
            for member in tar:
                file = tar.extractfile(member)
                content = file.read() if file else b""
                if member.name == SUMS:
                    lines = content.decode().splitlines()
                    sums = {each: digest for digest, _, each in (line.partition("  ") for line in lines)}
                elif not _inside(member.name) or sums.get(member.name) != hashlib.sha256(content).hexdigest():
                    raise ValueError(f"{member.name} has another sha256 than {SUMS} says; transfer it again")
                else:
                    yield member.name, content
    except tarfile.ReadError:
        return


def _inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def _sha256(content: Path | bytes) -> str:
    return hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else sha256(content)
