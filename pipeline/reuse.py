"""reuse: put what is kept where the graph looks for it, so that nothing of it is made again.

Records, measurements and the encoders that runs start from; a file that is there already stays as it is.
"""

import argparse
import shutil
import sys
from functools import partial
from pathlib import Path

from pipeline.command import answered, begun
from pipeline.files import write_whole
from pipeline.graph import RESULTS, Graph
from pipeline.keep import KEPT


def reuse(graph: Graph) -> int:
    """The number of files that were put in place."""
    copied = 0
    for place in sorted((KEPT / graph.params.scale).glob("*")):
        for file in sorted((place / "runs").glob("*/*/*")):
            stage, run, _ = file.relative_to(place / "runs").parts
            folder = RESULTS / "runs" / graph.params.scale / stage / run / file.stem
            copied += _copy(file, folder / _named(stage, file.suffix))
    return copied


def _named(stage: str, suffix: str) -> str:
    if suffix == ".pt":
        return "weights.pt"
    return "metrics.json" if stage == "evaluate" else "run.json"


def _copy(file: Path, to: Path) -> bool:
    if to.exists():
        return False
    write_whole(to, partial(shutil.copyfile, file))
    return True


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pipeline.reuse", description=__doc__.split("\n")[0])
    parser.add_argument("--scale", default=None, help="instead of the one that params.yaml names")
    given = parser.parse_args()

    def act() -> None:
        print(f"{reuse(Graph(begun(given.scale)))} kept files are in place")

    sys.exit(answered("reuse", act))


if __name__ == "__main__":
    main()
