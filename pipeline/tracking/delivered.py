"""Remember which event logs an MLflow store has, so that no graph delivers them again.

Each store has a file with one line per event log, and keeps a digest of these lines as a tag. Only lines up
to that digest count. So a file that is lost, edited or another store's, and a store that was deleted or
restored from a backup, cause a second delivery, never a missing one.
"""

import hashlib
import json
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pipeline.system.files import RESULTS, write_text
from pipeline.work.identity import short_hash

FOLDER = RESULTS / ".mlflow"
EXPERIMENT = "evaluate"  # carries the tag
SQLITE = "sqlite:///"
State = tuple[int, int]  # size and modification time of an event log


def file_of(store: str, kind: str) -> Path:
    """The file of one store in this folder, named by the store's address without passwords."""
    return FOLDER / f"{short_hash(store)}.{kind}"


class Delivered:
    """The event logs that one store has."""

    def __init__(self, store: str) -> None:
        self.store, self.path = store, file_of(store, "logs.jsonl")
        self.known: dict[str, State] = {}
        self.trusted = False  # whether the store's digest covers them
        lines = self.path.read_bytes().splitlines(keepends=True) if self.path.exists() else []
        self._begin(lines[0] if lines else b"")
        self._lines = lines

    def _begin(self, first: bytes) -> None:
        self.tag = f"pipeline.delivered.{hashlib.sha256(first).hexdigest()[:16]}"  # servers are shared

    def trust(self, vouched: str | None) -> None:
        """Trust the lines up to the digest that the store keeps."""
        digest, covered = hashlib.sha256(), 0
        for number, line in enumerate(self._lines, 1):
            digest.update(line)
            if digest.hexdigest() == vouched:
                covered = number
        self.trusted = covered > 0
        self._lines = self._lines[:covered]
        self.known = {line["log"]: (line["size"], line["time"]) for line in map(json.loads, self._lines[1:])}

    def believe(self) -> None:
        """Trust all lines, where reading the store would take MLflow."""
        self.trust(self.digest)

    @property
    def digest(self) -> str:
        return hashlib.sha256(b"".join(self._lines)).hexdigest()

    def add(self, logs: dict[str, State]) -> None:
        """Write the file before the store gets its digest; without trusted lines, begin a new file."""
        if not self._lines:
            self._lines = [_written({"store": self.store, "id": uuid.uuid4().hex})]
            self._begin(self._lines[0])
        for log, (size, time) in logs.items():
            self._lines.append(_written({"log": log, "size": size, "time": time}))
        self.known |= logs
        write_text(self.path, b"".join(self._lines).decode())


def _written(line: dict[str, object]) -> bytes:
    return json.dumps(line).encode() + b"\n"


def vouched(store: str, tag: str) -> str | None:
    """The digest in a store that is an SQLite file, read without MLflow, whose import takes seconds."""
    rows = rows_of(store, "select value from experiment_tags where key = ?", tag)
    return rows[0][0] if rows else None


def rows_of(store: str, query: str, *values: str) -> list[tuple[Any, ...]]:
    """Query a store in an SQLite file; no rows if it is no file, missing, locked or of another schema."""
    if not is_file(store):
        return []
    address = f"file:{quote(store.removeprefix(SQLITE))}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True)) as database:
            return database.execute(query, values).fetchall()
    except sqlite3.Error:
        return []


def is_file(store: str) -> bool:
    return store.startswith(SQLITE)


def event_logs(name: str) -> Iterator[tuple[str, State]]:
    """The event logs of all runs, by the run's folder below results/runs."""
    root = RESULTS / "runs"
    for path in sorted(root.glob(f"*/*/*/*/{name}")):
        stat = path.stat()
        yield path.parent.relative_to(root).as_posix(), (stat.st_size, stat.st_mtime_ns)
