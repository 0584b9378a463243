"""Whole files or none: written beside, then renamed; what is damaged is set aside."""

import csv
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

DATA, RESULTS = Path("data"), Path("results")
COMPILED = "PIPELINE_COMPILED"  # environment variable: where a graph's jobs share compiled code


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """`write` fills a file beside `path`; only when all of it is on the disk does it take the name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _drop_partials(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        write(beside)
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    write_whole(path, lambda beside: beside.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


def write_lines(path: Path, columns: Sequence[str], lines: Iterable[Mapping[str, Any]]) -> None:
    """Write a CSV file; a value that a line lacks stays empty."""
    import pandas as pd  # takes 0.4 s: Snakemake imports this module, and writes no CSV

    frame = pd.DataFrame(lines, columns=columns, dtype=object)
    write_text(path, frame.to_csv(index=False, lineterminator="\n"))


def read_lines(path: Path) -> list[dict[str, str]]:
    """Return the lines of a CSV file; none where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def read_json(path: Path, *, way_out: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ValueError(f"{path} is missing; {way_out}") from None
    except (ValueError, RecursionError) as error:
        raise damaged(path, str(error)) from None
    if not isinstance(content, dict):
        raise damaged(path, "it holds no mapping")
    return content


def damaged(path: Path, why: str, *, manifest: Path | None = None) -> ValueError:
    """The error to raise; the file, and the manifest that vouches for it, are out of the next run's way."""
    for each in (path, manifest):
        if each is not None:
            with suppress(OSError):
                each.replace(each.with_name(f"{each.name}.damaged"))
    return ValueError(
        f"{path} is damaged ({why}); it is renamed to {path.name}.damaged, and the next run regenerates it"
    )


def seal(content: dict[str, Any]) -> str:
    """The checksum of a document, over all that it says but this."""
    rest = {name: value for name, value in content.items() if name != "seal"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _drop_partials(path: Path) -> None:
    """Remove what killed processes left half-written of a file."""
    for leftover in path.parent.glob(f".{path.name}.*.partial"):
        try:
            os.kill(int(leftover.name.split(".")[-2]), 0)
        except ProcessLookupError:
            leftover.unlink(missing_ok=True)


def need_room(folder: Path, needed: int, *, what: str) -> None:
    """Refuse to begin what the disk cannot hold."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ValueError(
            f"{what} needs {needed / 2**20:.1f} MB in {folder}, and {free / 2**20:.1f} MB are free there; "
            "make room (`python -m pipeline.clean` lists what no run names)"
        )
