"""summary: the means of all tables as one JSON file, for `dvc metrics show` and `dvc metrics diff`."""

import csv
import sys
from typing import Any

from pipeline.papers import targets
from pipeline.runner.cli import exit_code_of
from pipeline.system.files import RESULTS, write_json


def summary() -> None:
    found: dict[str, Any] = {}
    for path, (paper, table) in targets().items():
        with open(f"{path}.csv", newline="", encoding="utf-8") as file:  # noqa: PTH123 (csv wants the handle)
            for line in csv.DictReader(file):
                if line["mean"]:
                    row = found.setdefault(paper, {}).setdefault(table, {}).setdefault(line["row"], {})
                    row[line["column"]] = float(line["mean"])
    write_json(RESULTS / "metrics.json", found)


if __name__ == "__main__":
    sys.exit(exit_code_of("summary", summary))
