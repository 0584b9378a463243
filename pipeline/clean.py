"""clean: shards, runs and logs of this project that no run of params.yaml names any more, at any scale."""

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
from pipeline.work.identity import Measurement, Training

KEY = "[0-9a-f]" * 10
LOGS = RESULTS / "logs"
OURS = re.compile(  # a file that `shard`, a training or `evaluate` writes, also damaged or partial
    r"\.?(manifest\.json|[\w-]+-\d{5,}\.tar|weights\.pt|checkpoint\.pt|run\.json|metrics\.json|arrays\.npz"
    r"|pictures\.png|events\.jsonl)(\.damaged|\.\d+\.partial)?"
)


@dataclass(frozen=True)
class Leftover:
    """A folder of shards or of a run, or a log, and its files that this project wrote."""

    path: Path
    files: list[Path]

    @property
    def size(self) -> int:
        return sum(file.lstat().st_size for file in self.files)

    def remove(self) -> None:
        """The files, then what is empty without them; a file of the user's own keeps its folder."""
        for file in self.files:
            file.unlink()
        for folder in (self.path, *self.path.parents)[:3]:  # a run's folders: seed and key, name, stage
            with suppress(OSError):
                folder.rmdir()


def named() -> set[Path]:
    """Every folder and log that some scale of params.yaml names."""
    found: set[Path] = set()
    for scale in load().scales:
        graph = Graph(load(scale=scale))
        for name in graph.params.datasets:
            shards = graph.shards(name)
            found |= {shards.folder, LOGS / scale / "shard" / f"{shards.folder.name}.log"}
        for stage in STAGES:
            for name, run in graph.params.runs(stage).items():
                works: list[Training | Measurement] = [*graph.trainings(stage, name)]
                for protocol in run.evaluate:
                    works += graph.measurements(f"{stage}.{name}.{protocol}")
                found |= {work.folder for work in works}
                found |= {LOGS / f"{work.identity}.log" for work in works}
    return found


def made() -> Iterator[Path]:
    """Where shards, runs and their logs lie, at the scales of params.yaml: no other place is looked at."""
    stages = (*STAGES, "evaluate")
    for scale in load().scales:
        yield from (DATA / scale).glob(f"*-{KEY}")
        yield from (LOGS / scale / "shard").glob(f"*-{KEY}.log")
        for stage in stages:
            yield from (RESULTS / "runs" / scale / stage).glob(f"*/*-{KEY}")
            yield from (LOGS / scale / stage).glob(f"*/*-{KEY}.log")


def leftovers() -> list[Leftover]:
    kept, found = named(), []
    for path in sorted(set(made()) - kept):
        if path.is_symlink():
            continue
        files = [path] if path.suffix == ".log" else [each for each in path.iterdir() if _ours(each)]
        if files:
            found.append(Leftover(path, files))
    return found


def _ours(file: Path) -> bool:
    return bool(OURS.fullmatch(file.name)) and (file.is_symlink() or file.is_file())


def clean(*, delete: bool, sure: bool) -> None:
    lock = (
        alone() if delete else None
    )  # a graph that began before an edit still makes what that edit left over
    found = leftovers()
    for each in found:
        print(f"{_shown(each.size)}  {each.path}")
    what = (
        f"{len(found)} folders and logs that no run names, {_shown(sum(each.size for each in found)).strip()}"
    )
    if not found:
        print("nothing to remove: runs of params.yaml name all shards, runs and logs")
    elif not delete:
        print(f"{what}; --delete removes them")
    elif sure or _agreed(f"remove {what}? [y/N] "):
        for each in found:
            each.remove()
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
    given = parser.parse_args()
    sys.exit(exit_code_of("clean", lambda: clean(delete=given.delete, sure=given.yes)))


if __name__ == "__main__":
    main()
