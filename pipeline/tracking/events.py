"""The event log of one run: lines of a file in the run's folder."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import lock_descriptor

from pipeline.tracking.follower import follow
from pipeline.tracking.system_metrics import sampled
from pipeline.work.identity import Measurement, Training

EVENTS = "events.jsonl"


class Events:
    """The event log of one run: its identity, its metrics by step, its end."""

    def __init__(self, path: Path, header: dict[str, Any]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab")
        self._lock()
        lines, self.last = lines_of(path), -1
        if lines and lines[-1].get("end") != "FINISHED":  # it was interrupted: continue its log
            self.last = max((line["step"] for line in lines if "step" in line), default=-1)
            self._file.truncate(sum(len(_written(line)) for line in lines))
            self.began = lines[0]["time"]
        else:
            self._file.truncate(0)
            self.began = _now()
            self._append({"begin": header, "time": self.began})

    def _lock(self) -> None:
        """Allow one process per run: killing Snakemake alone leaves its jobs alive."""
        if not lock_descriptor(self._file.fileno(), blocking=False):
            print(f"{self._file.name}: waiting for another process of the same run", file=sys.stderr)
            lock_descriptor(self._file.fileno())

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """Log each step once, even if a resumed run repeats it."""
        if step > self.last:
            self._append({"step": step, "metrics": metrics, "time": _now()})

    def log_system(self, metrics: dict[str, float]) -> None:
        """Log what the machine does, by the second since the run first began."""
        now = _now()
        self._append({"system": metrics, "second": (now - self.began) // 1000, "time": now})

    def end(self, status: str, files: list[Path]) -> None:
        with self._file:
            self._append({"end": status, "files": [str(file) for file in files], "time": _now()})

    def _append(self, line: dict[str, Any]) -> None:
        self._file.write(_written(line))
        self._file.flush()


def _now() -> int:
    return int(time.time() * 1000)


def _written(line: dict[str, Any]) -> bytes:
    return json.dumps(line).encode() + b"\n"


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The lines of an event log up to the first damaged one: a kill may leave half of the last line."""
    if not path.exists():
        return []
    lines: list[dict[str, Any]] = []
    for text in path.read_bytes().splitlines(keepends=True):
        try:
            line = json.loads(text)
        except ValueError:
            break
        if not isinstance(line, dict) or _written(line) != text or ("begin" in line) != (not lines):
            break
        lines.append(line)
    return lines


@contextmanager
def tracked(
    work: Training | Measurement, manifest: Any, *, commit: str, files: list[Path]
) -> Iterator[Events]:
    """Log a training or a measurement; `files` are its artefacts if it finishes."""
    from pipeline.config.typed import plain
    from pipeline.papers import places, used_by

    training = work if isinstance(work, Training) else work.training
    label = work.label if isinstance(work, Training) else work.name
    parent = training.start if isinstance(work, Training) else training
    protocol = {} if isinstance(work, Training) else flat(plain(work.spec), "protocol")
    header = {
        "stage": work.stage if isinstance(work, Training) else "evaluate",
        "identity": work.identity,
        "parent": parent.identity if parent else None,
        "manifest": str(work.shards.manifest),
        "split": manifest.split,
        "images": manifest.count,
        "params": flat(plain(training.spec)) | protocol,
        "tags": {
            "run": label,
            "seed": str(training.seed),
            "scale": training.scale,
            "key": work.key,
            "commit": commit,
            "dataset": work.shards.displayed_name,
            "data_sha256": manifest.sha256,
            **used_by(label),
            **(places(label) if isinstance(work, Measurement) else {}),
        },
    }
    events = Events(work.folder / EVENTS, header)
    follower = follow()
    try:
        with sampled(events.log_system):
            yield events
    except BaseException as error:
        with suppress(OSError):  # a full disk is reported by the error itself
            events.end("FAILED" if isinstance(error, Exception) else "KILLED", [])
        raise
    else:
        events.end("FINISHED", files)
    finally:
        if follower is not None and follower.stdin is not None:
            follower.stdin.close()


def flat(value: Any, prefix: str = "") -> dict[str, str]:
    """A nested specification as MLflow's parameters: data.set, optimiser.adam.lr, …"""
    if isinstance(value, dict):
        parts: dict[str, str] = {}
        for name, part in value.items():
            parts |= flat(part, f"{prefix}.{name}" if prefix else name)
        return parts
    return {prefix: value if isinstance(value, str) else json.dumps(value)}
