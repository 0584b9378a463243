"""clean: list or remove shards, runs and logs that no run of params.yaml names at any scale."""

import argparse
import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.config.reading import load
from pipeline.config.runs import STAGES
from pipeline.runner.cli import exit_code_of
from pipeline.runner.session import alone
from pipeline.system.files import DATA, RESULTS
from pipeline.work.graph import Graph
from pipeline.work.identity import Measurement, Training, log_of

KEY = "[0-9a-f]" * 10
LOGS = RESULTS / "logs"
OURS = re.compile(  # files that `shard`, trainings and `evaluate` write, also damaged or partial ones
    r"\.?(manifest\.json|[\w-]+-\d{5,}\.tar|weights\.pt|checkpoint\.pt|run\.json|metrics\.json|arrays\.npz"
    r"|pictures\.png|events\.jsonl)(\.damaged|\.\d+\.partial)?"
)


@dataclass(frozen=True)
class Leftover:
    """A log, or a folder of shards or of a run, with the files in it that this project wrote."""

    path: Path
    files: list[Path]

    @property
    def size(self) -> int:
        return sum(file.lstat().st_size for file in self.files)

    def remove(self) -> None:
        """Remove the files, then empty folders; a folder that holds other files stays."""
        for file in self.files:
            file.unlink()
        for folder in (self.path, *self.path.parents)[:3]:  # a run's folders: seed and key, name, stage
            with suppress(OSError):
                folder.rmdir()


def named() -> set[Path]:
    """All folders and logs that params.yaml names at some scale."""
    paths: set[Path] = set()
    for scale in load().scales:
        graph = Graph(load(scale=scale))
        for name in graph.params.datasets:
            shards = graph.shards(name)
            paths |= {shards.folder, LOGS / scale / "shard" / f"{shards.folder.name}.log"}
        for stage in STAGES:
            for name, run in graph.params.runs(stage).items():
                works: list[Training | Measurement] = [*graph.trainings(stage, name)]
                for protocol in run.evaluate:
                    works += graph.measurements(f"{stage}.{name}.{protocol}")
                paths |= {work.folder for work in works}
                paths |= {log_of(work) for work in works}
    return paths


def made() -> Iterator[Path]:
    """Yield the folders of shards and runs, and their logs, at the scales of params.yaml; nothing else."""
    stages = (*STAGES, "evaluate")
    for scale in load().scales:
        yield from (DATA / scale).glob(f"*-{KEY}")
        yield from (LOGS / scale / "shard").glob(f"*-{KEY}.log")
        for stage in stages:
            yield from (RESULTS / "runs" / scale / stage).glob(f"*/*-{KEY}")
            yield from (LOGS / scale / stage).glob(f"*/*-{KEY}.log")


def leftovers() -> list[Leftover]:
    still_named, leftover = named(), []
    for path in sorted(set(made()) - still_named):
        if path.is_symlink():
            continue
        files = [path] if path.suffix == ".log" else [file for file in path.iterdir() if _ours(file)]
        if files:
            leftover.append(Leftover(path, files))
    return leftover


def _ours(file: Path) -> bool:
    return bool(OURS.fullmatch(file.name)) and (file.is_symlink() or file.is_file())


def clean(*, delete: bool, sure: bool) -> None:
    lock = (
        alone() if delete else None
    )  # a graph started before an edit may still write what the edit left over
    removable = leftovers()
    for leftover in removable:
        print(f"{_shown(leftover.size)}  {leftover.path}")
    total = sum(leftover.size for leftover in removable)
    what = f"{len(removable)} folders and logs that no run names, {_shown(total).strip()}"
    if not removable:
        print("nothing to remove: runs of params.yaml name all shards, runs and logs")
    elif not delete:
        print(f"{what}; --delete removes them")
    elif sure or _agreed(f"remove {what}? [y/N] "):
        for leftover in removable:
            leftover.remove()
        print(f"removed {what}")
    if lock is not None:
        lock.close()


def _shown(size: int) -> str:
    return f"{size / 1e6:8.1f} MB"


def _agreed(question: str) -> bool:
    if not os.isatty(0):
        raise ValueError(
            "--delete asks on a terminal, and standard input is none; add --yes to remove what is listed"
        )
    return input(question).strip().lower() in ("y", "yes")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pipeline.clean", description=__doc__)
    parser.add_argument("--delete", action="store_true", help="remove what is listed, after a question")
    parser.add_argument("--yes", action="store_true", help="with --delete: do not ask")
    arguments = parser.parse_args()
    sys.exit(exit_code_of("clean", lambda: clean(delete=arguments.delete, sure=arguments.yes)))


if __name__ == "__main__":
    main()
