"""reuse: put what is kept where the graph looks for it, so that nothing of it is made again.

Tables, records, measurements, and the encoders that runs start from; a file that is there stays as it is.
"""

import argparse
import sys

from pipeline.results.kept import reuse
from pipeline.runner.cli import begun, exit_code_of
from pipeline.work.graph import Graph


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pipeline.reuse", description=__doc__.split("\n")[0])
    parser.add_argument("--scale", default=None, help="instead of the one that params.yaml names")
    given = parser.parse_args()

    def act() -> None:
        print(f"{reuse(Graph(begun(given.scale)))} kept files are in place")
        print("make the shards of their data before the next run: snakemake trains again behind new shards")

    sys.exit(exit_code_of("reuse", act))


if __name__ == "__main__":
    main()
