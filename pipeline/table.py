"""table: the paper's numbers and ours side by side, from metrics.json files or from MLflow alone."""

import argparse
import sys

from pipeline.config.reading import load
from pipeline.papers import check
from pipeline.results.tables import table
from pipeline.runner.cli import exit_code_of
from pipeline.work.graph import Graph


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pipeline.table")
    parser.add_argument("name", help="table6, or masci2011/table1")
    parser.add_argument("--from", dest="source", choices=("files", "mlflow"), default="files")
    parser.add_argument("--scale", default=None)
    arguments = parser.parse_args()

    def act() -> None:
        params = load(scale=arguments.scale)
        check(params)
        print(table(Graph(params), arguments.name, mlflow=arguments.source == "mlflow"))

    sys.exit(exit_code_of(f"table {arguments.name}", act))


if __name__ == "__main__":
    main()
