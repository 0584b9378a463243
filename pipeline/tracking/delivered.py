"""delivered: which stories a store of MLflow has, so that no graph hands them over again.

A file for each store has a line for each story, and the store keeps a digest of these lines as a tag. Only
lines up to that digest count. So a memory that is lost, edited or another store's, and a store that was
deleted or restored from a backup, lead to a second delivery, never to a missing one.
"""

import hashlib
import json
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from pipeline.system.files import RESULTS, write_text
from pipeline.work.identity import short_hash

FOLDER = RESULTS / ".mlflow"
EXPERIMENT = "evaluate"  # carries the tag
SQLITE = "sqlite:///"
State = tuple[int, int]  # size and time of a story's file


def file_of(store: str, kind: str) -> Path:
    """A file of this folder that belongs to one store, named by its address without passwords."""
    return FOLDER / f"{short_hash(store)}.{kind}"


class Delivered:
    """The stories that one store has."""

    def __init__(self, store: str) -> None:
        self.store, self.path = store, file_of(store, "jsonl")
        self.known: dict[str, State] = {}
        self.trusted = False  # whether the store vouches for them
        lines = self.path.read_bytes().splitlines(keepends=True) if self.path.exists() else []
        self._begin(lines[0] if lines else b"")
        self._lines = lines

    def _begin(self, first: bytes) -> None:
        self.tag = f"pipeline.delivered.{hashlib.sha256(first).hexdigest()[:16]}"  # folders share a server

    def trust(self, vouched: str | None) -> None:
        """Believe the lines up to the digest that the store keeps."""
        digest, covered = hashlib.sha256(), 0
        for number, line in enumerate(self._lines, 1):
            digest.update(line)
            if digest.hexdigest() == vouched:
                covered = number
        self.trusted = covered > 0
        self._lines = self._lines[:covered]
        self.known = {
            line["story"]: (line["size"], line["time"]) for line in map(json.loads, self._lines[1:])
        }

    def believe(self) -> None:
        """Where the store cannot be asked."""
        self.trust(self.digest)

    @property
    def digest(self) -> str:
        return hashlib.sha256(b"".join(self._lines)).hexdigest()

    def add(self, stories: dict[str, State]) -> None:
        """On the disk before the store vouches for it; where nothing is trusted, a memory begins."""
        if not self._lines:
            self._lines = [_written({"store": self.store, "id": uuid.uuid4().hex})]
            self._begin(self._lines[0])
        for story, (size, time) in stories.items():
            self._lines.append(_written({"story": story, "size": size, "time": time}))
        self.known |= stories
        write_text(self.path, b"".join(self._lines).decode())


def _written(line: dict[str, object]) -> bytes:
    return json.dumps(line).encode() + b"\n"


def vouched(store: str, tag: str) -> str | None:
    """The digest that a store keeps, where it is a file: importing MLflow to ask it takes seconds."""
    if not is_file(store):
        return None
    address = f"file:{quote(store.removeprefix(SQLITE))}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True)) as database:
            found = database.execute("select value from experiment_tags where key = ?", (tag,)).fetchone()
    except sqlite3.Error:  # missing, locked, or of another layout: MLflow is asked
        return None
    return found and found[0]


def is_file(store: str) -> bool:
    return store.startswith(SQLITE)


def stories(name: str) -> Iterator[tuple[str, State]]:
    """The stories of all runs, by the run's folder below results/runs."""
    root = RESULTS / "runs"
    for path in sorted(root.glob(f"*/*/*/*/{name}")):
        stat = path.stat()
        yield path.parent.relative_to(root).as_posix(), (stat.st_size, stat.st_mtime_ns)
