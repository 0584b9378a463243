"""summary: the means of the tables that are there as one JSON file, for `dvc metrics show` and `diff`."""

import sys
from pathlib import Path
from typing import Any

from pipeline.papers import targets
from pipeline.runner.cli import exit_code_of
from pipeline.system.files import RESULTS, read_lines, write_json


def summary() -> None:
    found: dict[str, Any] = {}
    for path, (paper, table) in targets().items():
        for line in read_lines(Path(f"{path}.csv")):
            if line["mean"]:
                row = found.setdefault(paper, {}).setdefault(table, {}).setdefault(line["row"], {})
                row[line["column"]] = float(line["mean"])
    write_json(RESULTS / "metrics.json", found)


if __name__ == "__main__":
    sys.exit(exit_code_of("summary", summary))
