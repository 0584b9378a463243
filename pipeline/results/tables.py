"""table: the paper's numbers and ours side by side, from metrics.json files or from MLflow alone."""

import itertools
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.config.params import Scale
from pipeline.papers import Cell, Table, find, numbered, papers, target
from pipeline.results.frame import by_pipeline, from_files, from_mlflow, measured
from pipeline.system.files import write_lines, write_text
from pipeline.work.graph import Graph
from pipeline.work.identity import Measurement, Training

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "row",
    "column",
    "metric",
    "paper",
    "mean",
    "sd",
    "n",
    "draws",
    "delta",
    "scale",
    "dataset",
    "capped",
    "state",
    "commit",
    "runs",
)


def table(graph: Graph, name: str, *, mlflow: bool = False) -> str:
    """Write results/<name>.csv and .md; return the Markdown."""
    paper, key, printed = find("tables", name)
    layout = printed.at(graph.params.scale)
    works = [measurement for cell in runs_behind(graph, layout).values() for measurement in cell]
    frame = measured(works, from_mlflow(graph) if mlflow else from_files)
    lines = [line(graph, row, column, cell, frame) for row, column, cell in layout.cells()]
    path = target(paper, key).with_suffix(".csv")
    text = in_layout(paper, key, layout, lines, caps(graph.scale))
    write_text(path.with_suffix(".md"), text)
    write_lines(path, COLUMNS, lines)
    return text


def runs_behind(graph: Graph, layout: Table) -> dict[tuple[str, ...], list[Measurement]]:
    """Map a line (row, column, printed number) to its measurements."""
    return {
        (row, column, number(cell.paper)): _measurements(graph, cell)
        for row, column, cell in layout.at(graph.params.scale).cells()
    }


def _measurements(graph: Graph, cell: Cell) -> list[Measurement]:
    return [measurement for label in cell.labels() for measurement in graph.measurements(label)]


def names(works: Sequence[Measurement | Training]) -> str:
    return " ".join(work.identity for work in works)


def line(graph: Graph, row: str, column: str, cell: Cell, frame: "pd.DataFrame") -> dict[str, str]:
    """Return the CSV line of a printed cell."""
    facts = {
        "row": row,
        "column": column,
        "metric": cell.metric or "",
        "paper": number(cell.paper),
        "state": cell.state or "",
        "scale": graph.params.scale if cell.of else "",
    }
    works = _measurements(graph, cell)
    if not works:
        return facts
    values, *others = (by_pipeline(frame, label, cell.metric) for label in cell.labels())
    for other in others:
        values, other = values.align(other, join="inner")
        values = values - other
    mean, first = statistics.fmean(values), works[0]
    asked = first.spec.set or graph.params.runs(first.training.stage)[first.training.name].data.set
    own = cell.state is None and (first.shards.procedural or first.shards.name == asked)
    commits = [frame.loc[frame["measurement"] == label, "commit"] for label in cell.labels()]
    return {
        **facts,
        "mean": number(mean),
        "sd": number(statistics.stdev(values)) if len(values) > 1 else "",
        "n": str(len(values)),
        "draws": str(len(graph.measurements(cell.labels()[0]))),
        "delta": number(mean - cell.paper) if own and cell.paper is not None else "",
        "dataset": first.shards.displayed_name,
        "capped": graph.capped(first.training),
        "state": "measured" if own else "substitute",
        "commit": " ".join(dict.fromkeys(itertools.chain(*commits))),
        "runs": names(works),
    }


def caps(scale: Scale) -> str:
    """Describe a scale's caps in words."""
    stages = {"pretrain": "pre-training", "finetune": "fine-tuning"}
    said = [f"{epochs} epochs of {stages[stage]}" for stage, epochs in scale.epochs.items()]
    said += [f"width {scale.width}"] if scale.width else []
    if scale.images:
        larger = f" of sets above {scale.whole} pixels" if scale.whole else ""
        said.append(f"{scale.images:,} training images{larger}")
    said += [f"n = {scale.repeats}"] if scale.repeats else []
    said += [f"n = {repeats} on {name}" for name, repeats in scale.repeats_of.items()]
    return f"at most {', '.join(said)}" if said else ""


def number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}".rstrip("0").rstrip(".")


def in_layout(paper: str, key: str, layout: Table, lines: list[dict[str, str]], capped: str) -> str:
    """Lay the table out as the paper does: in each cell its number, then ours with spread and n."""
    cells = {(line["row"], line["column"]): line for line in lines}
    printed = any(cell.paper is not None for _, _, cell in layout.cells())
    head = ["", *(f"{column} ({unit})" for column, unit in layout.columns.items())]
    body = [
        [row, *(cell_text(cells.get((row, name)), row_cells.get(name), printed) for name in layout.columns)]
        for row, row_cells in layout.rows.items()
    ]
    made = {(line["scale"], line["dataset"]) for line in lines if line.get("runs")}
    made_of = "; ".join(f"ours at scale {scale} on {dataset}" for scale, dataset in sorted(made))
    made_of += f" ({capped})" if made and capped else ""
    smoke = any(scale == "smoke" for scale, _ in made)
    warning = " **A smoke run checks the pipeline; it reproduces nothing.**" if smoke else ""
    facts = papers()[paper]
    return (
        f"## {numbered(key)}: {layout.title}\n\n"
        f"{' '.join(filter(None, (f'{facts.by}, {facts.where}.', layout.note)))}\n"
        f"Each cell: {'paper | ' if printed else ''}{made_of}.{warning}\n\n{grid(head, body)}"
    )


def cell_text(cell: dict[str, str] | None, layout: Cell | None, printed: bool) -> str:
    """The paper's number and ours; ours alone if the paper prints no number in this table."""
    if cell is None or layout is None:
        return ""
    paper = (cell["paper"] or "?") + (f" ± {number(layout.spread)}" if layout.spread is not None else "")
    if not cell.get("runs"):
        return f"{paper} ({cell['state']})"
    spread = f" ± {float(cell['sd']):.2f}" if cell["sd"] else ""
    notes = [f"n={cell['n']}"]
    notes += [f"{cell['draws']} draws"] if cell["draws"] != cell["n"] else []
    notes += [f"{cell['metric']} on {cell['dataset']}"] if cell["state"] == "substitute" else []
    notes += [cell["capped"]] if cell["capped"] and cell["dataset"] != "procedural" else []
    return f"{f'{paper} | ' if printed else ''}{float(cell['mean']):.2f}{spread} ({', '.join(notes)})"


def grid(head: list[str], body: list[list[str]]) -> str:
    """A Markdown table with aligned columns."""
    body = [[text.replace("|", "\\|") for text in row] for row in body]
    widths = [max(len(row[i]) for row in [head, *body]) for i in range(len(head))]
    rows = [head, ["-" * width for width in widths], *body]
    return "".join(
        "| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |\n"
        for row in rows
    )
