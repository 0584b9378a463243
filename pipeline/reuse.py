"""reuse: copy kept results to where the graph looks for them, so that they are not made again.

These are tables, records, measurements, and encoders that runs start from; existing files are not replaced.
"""

import argparse
import sys

from pipeline.results.kept import reuse
from pipeline.runner.cli import begun, exit_code_of
from pipeline.work.graph import Graph


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pipeline.reuse", description=__doc__.split("\n")[0])
    parser.add_argument("--scale", default=None, help="instead of the one that params.yaml names")
    arguments = parser.parse_args()

    def act() -> None:
        print(f"{reuse(Graph(begun(arguments.scale)))} kept files are in place")
        print("make the shards of their data before the next run: snakemake trains again behind new shards")

    sys.exit(exit_code_of("reuse", act))


if __name__ == "__main__":
    main()
