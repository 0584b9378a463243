"""summary: small files of numbers for DVC, one for each table, and the learning curves of Table 6."""

import argparse
import shutil
import statistics
import sys
from pathlib import Path
from typing import Any

from pipeline.config.reading import load
from pipeline.papers import MAIN, called, paper_of, papers, targets
from pipeline.results.kept import record_of
from pipeline.results.rendering import Rendering
from pipeline.runner.cli import exit_code_of
from pipeline.system.files import RESULTS, read_json, read_lines, write_json, write_lines
from pipeline.work.graph import Graph
from pipeline.work.identity import Training

METRICS, CURVES = RESULTS / "metrics", RESULTS / "curves"
TABLE = "table6"  # of the main paper: its cells are metrics of their own, its trainings are plotted


def files(graph: Graph) -> list[Path]:
    """What `summary` writes where every table is made."""
    metrics = [_metrics(*place) for place in targets().values()]
    return [*metrics, *(_curve(name) for name in _trainings(graph))]


def summary(graph: Graph) -> None:
    for folder in (METRICS, CURVES):
        shutil.rmtree(folder, ignore_errors=True)
    for table, (paper, key) in targets().items():
        if numbers := _numbers(read_lines(Path(f"{table}.csv")), cells=(paper, key) == (MAIN, TABLE)):
            write_json(_metrics(paper, key), numbers)
    for name, seeds in _trainings(graph).items():
        records = [record_of(each.identity, "run.json") for each in seeds]
        losses = [read_json(each, way_out="")["epoch_losses"] for each in records if each.exists()]
        means = [statistics.fmean(epoch) for epoch in zip(*losses, strict=True)]
        if means:
            lines = [{"epoch": epoch, "loss": loss} for epoch, loss in enumerate(means, 1)]
            write_lines(_curve(name), ("epoch", "loss"), lines)


def _numbers(lines: list[dict[str, str]], *, cells: bool) -> dict[str, Any]:
    """Count measured cells; for each column, average ours and the differences from the paper's numbers."""
    measured = [line for line in lines if line["mean"]]
    if not measured:
        return {}
    numbers: dict[str, Any] = {"cells": len(measured)}
    for column in dict.fromkeys(line["column"] for line in measured):
        of_column = [line for line in measured if line["column"] == column]
        for name, field in (("ours", "mean"), ("delta", "delta")):
            if values := [float(line[field]) for line in of_column if line[field]]:
                numbers.setdefault(column, {})[name] = round(statistics.fmean(values), 4)
    if cells:
        numbers |= {f"{line['row']}, {line['column']}": float(line["mean"]) for line in measured}
    return numbers


def _trainings(graph: Graph) -> dict[str, list[Training]]:
    """By stage and run, the seeds of the table's trainings and of what they start from."""
    found: dict[str, dict[str, Training]] = {}
    if MAIN in papers() and TABLE in paper_of(MAIN).tables:
        for measurement in Rendering("table", MAIN, TABLE).measurements(graph):
            for each in measurement.training.lineage:
                found.setdefault(each.label, {})[each.identity] = each
    return {
        name: list(seeds.values())
        for name, seeds in found.items()
        if all(each.spec.epochs for each in seeds.values())
    }


def _metrics(paper: str, key: str) -> Path:
    return METRICS / f"{called(paper, key)}.json"


def _curve(name: str) -> Path:
    return CURVES / f"{name}.csv"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pipeline.summary", description=__doc__)
    parser.add_argument("--scale", default=None, help="instead of the one that params.yaml names")
    given = parser.parse_args()
    sys.exit(exit_code_of("summary", lambda: summary(Graph(load(scale=given.scale)))))


if __name__ == "__main__":
    main()
