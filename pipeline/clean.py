"""clean: what lies on the disk and no run of params.yaml names any more, at any scale."""

import argparse
import shutil
import sys
from pathlib import Path

from pipeline.command import answered
from pipeline.graph import DATA, RESULTS, Graph
from pipeline.params import STAGES, load


def wanted() -> set[Path]:
    """Every folder that some scale of params.yaml names."""
    found: set[Path] = set()
    for scale in load().scales:
        graph = Graph(load(scale=scale))
        found |= {graph.shards(name).folder for name in graph.params.datasets}
        for stage in STAGES:
            for name, run in graph.params.runs(stage).items():
                trainings = graph.trainings(stage, name)
                found |= {each.folder for each in trainings}
                labels = [f"{stage}.{name}.{protocol}" for protocol in run.evaluate]
                found |= {each.folder for label in labels for each in graph.measurements(label)}
    return found


def leftovers() -> list[Path]:
    folders = [*DATA.glob("*/*-*/"), *(RESULTS / "runs").glob("*/*/*/*/")]
    kept = wanted()
    return sorted(folder for folder in folders if folder.parts[1] != "raw" and folder not in kept)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pipeline.clean", description=__doc__)
    parser.add_argument("--delete", action="store_true", help="remove what is listed")
    given = parser.parse_args()

    def act() -> None:
        found = leftovers()
        for folder in found:
            size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
            print(f"{size / 2**20:8.1f} MB  {folder}")
            if given.delete:
                shutil.rmtree(folder)
        print(
            f"{len(found)} folders", "removed" if given.delete else "that no run names; --delete removes them"
        )

    sys.exit(answered("clean", act))


if __name__ == "__main__":
    main()
