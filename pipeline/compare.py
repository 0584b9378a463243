"""compare: whether measurements made here lie in the band of the kept runs.

The band is a 95 % prediction interval of one more run, by Student's t from the kept runs' mean and standard
deviation. It needs at least two kept runs, and is wide for few.
"""

import json
import statistics
import sys
from collections.abc import Iterator

from pipeline.papers import find
from pipeline.results.frame import from_files
from pipeline.results.kept import KEPT, kept
from pipeline.results.statistics import band
from pipeline.results.tables import grid
from pipeline.runner.cli import run_rendering
from pipeline.work.graph import Graph

HEAD = ["measurement", "seed", "metric", "here", "kept", "band", ""]


def compare(graph: Graph, name: str) -> None:
    """Compare a table's cells, or all metrics of STAGE.RUN.PROTOCOL; exit with 1 if one lies outside."""
    rows = [
        row for label, metric in asked(graph.params.scale, name) for row in compared(graph, label, metric)
    ]
    if not rows:
        raise ValueError(
            f"{name} has nothing to compare at scale {graph.params.scale}: it takes a measurement in "
            f"results/runs, and two of it in {KEPT}"
        )
    print(grid(HEAD, rows), end="")
    if any("outside" in row[-1] for row in rows):
        sys.exit(1)


def asked(scale: str, name: str) -> list[tuple[str, str | None]]:
    if name.count(".") == 2:
        return [(name, None)]
    _, _, layout = find("tables", name)
    cells = [(label, cell.metric) for _, _, cell in layout.at(scale).cells() for label in cell.labels()]
    return list(dict.fromkeys(cells))


def compared(graph: Graph, label: str, metric: str | None) -> Iterator[list[str]]:
    """Yield a row for each seed measured here and each metric."""
    files = {  # by seed and key: several papers may keep a run
        file.name: file
        for place in sorted((KEPT / graph.params.scale).glob("*"))
        for file in sorted(kept(place, f"{graph.params.scale}/evaluate/{label}/any").parent.glob("*.json"))
    }
    records = [json.loads(file.read_text(encoding="utf-8"))["metrics"] for file in files.values()]
    here = [measurement for measurement in graph.measurements(label) if measurement.metrics.exists()]
    if len(records) < 2:
        return
    for measurement in here:
        metrics = from_files(measurement)["metrics"]
        for name in [metric] if metric else sorted(set(metrics) & set(records[0])):
            values = [record[name] for record in records]
            low, high = band(values)
            inside = low <= metrics[name] <= high
            beyond = max(low - metrics[name], metrics[name] - high)
            yield [
                label,
                str(measurement.training.seed),
                name,
                f"{metrics[name]:.2f}",
                f"{statistics.fmean(values):.2f} ± {statistics.stdev(values):.2f} (n={len(values)})",
                f"{low:.2f} to {high:.2f}",
                "inside" if inside else f"outside by {beyond:.2f}",
            ]


if __name__ == "__main__":
    run_rendering(
        "compare", compare, name="a table, or a measurement: dong2017/table2, pretrain.RUN.PROTOCOL"
    )
