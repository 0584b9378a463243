"""table: the paper's numbers and ours side by side, from metrics.json files or from MLflow alone."""

import statistics
from typing import Any

from pipeline.config.params import Scale
from pipeline.papers import Cell, Table, find, numbered, papers, target
from pipeline.system.files import damaged, read_json, read_lines, write_lines, write_text
from pipeline.work.graph import Graph
from pipeline.work.identity import Measurement

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


EARLY = 50  # epochs, as dong2016's Figure 3 shows
MAKE = "make it: snakemake --cores all"


def table(graph: Graph, name: str, *, from_mlflow: bool = False) -> str:
    """Write results/<name>.csv and .md, and return what the .md says."""
    paper, key, layout = find("tables", name)
    read = FromMlflow(graph) if from_mlflow else from_files
    lines = [line(graph, row, column, cell, read) for row, column, cell in layout.cells()]
    path = target(paper, key).with_suffix(".csv")
    shown = in_layout(paper, key, layout, lines, caps(graph.scale))
    write_text(path.with_suffix(".md"), shown)
    write_lines(path, COLUMNS, lines)
    return shown


def wanted(graph: Graph, cell: Cell) -> list[Measurement]:
    return [each for label in cell.labels() for each in graph.measurements(label)]


def measurements(graph: Graph, name: str) -> list[Measurement]:
    """All that a table needs, each once."""
    every = [each for _, _, cell in find("tables", name)[2].cells() for each in wanted(graph, cell)]
    return list({each.identity: each for each in every}.values())


def stale(graph: Graph, name: str) -> bool:
    """Whether the CSV on the disk answers to other runs than params.yaml now asks for."""
    paper, key, _ = find("tables", name)
    return outdated(graph, name, read_lines(target(paper, key).with_suffix(".csv")))


def outdated(graph: Graph, name: str, lines: list[dict[str, str]]) -> bool:
    _, _, layout = find("tables", name)
    found = [(each.get("row"), each.get("column"), each.get("paper"), each.get("runs")) for each in lines]
    return found != [
        (row, column, number(cell.paper), names(wanted(graph, cell))) for row, column, cell in layout.cells()
    ]


def names(measured: list[Measurement]) -> str:
    return " ".join(each.identity for each in measured)


def line(graph: Graph, row: str, column: str, cell: Cell, read: Any) -> dict[str, str]:
    """One printed cell, as a line of the CSV."""
    own = {
        "row": row,
        "column": column,
        "metric": cell.metric or "",
        "paper": number(cell.paper),
        "state": cell.state or "",
        "scale": graph.params.scale if cell.of else "",
    }
    measured = wanted(graph, cell)
    if not measured:
        return own
    results = {each.identity: read(each) for each in measured}
    found, *others = (
        by_pipeline(graph, label, cell.metric, lambda each: results[each.identity]) for label in cell.labels()
    )
    for other in others:
        found = {one: found[one] - other[one] for one in found if one in other}
    values = list(found.values())
    mean = statistics.fmean(values)
    training = measured[0].training
    asked = measured[0].spec.set or graph.params.runs(training.stage)[training.name].data.set
    return {
        **own,
        "mean": number(mean),
        "sd": number(statistics.stdev(values)) if len(values) > 1 else "",
        "n": str(len(values)),
        "draws": str(len(graph.measurements(cell.labels()[0]))),
        "delta": number(mean - cell.paper) if cell.paper is not None else "",
        "dataset": measured[0].shards.shown,
        "capped": graph.capped(training),
        "state": "measured"
        if cell.state is None and (measured[0].shards.procedural or measured[0].shards.name == asked)
        else "substitute",
        "commit": " ".join(dict.fromkeys(result["commit"] for result in results.values())),
        "runs": names(measured),
    }


def by_pipeline(graph: Graph, label: str, metric: str | None, read: Any) -> dict[int, float]:
    """One value an independent pipeline: fine-tunings that start from one pre-training are averaged."""
    found: dict[int, list[float]] = {}
    for each in graph.measurements(label):
        found.setdefault(each.training.pipeline, []).append(value_of(read(each), metric, each))
    return {pipeline: statistics.fmean(values) for pipeline, values in found.items()}


def caps(scale: Scale) -> str:
    """What a scale leaves out, in words."""
    stages = {"pretrain": "pre-training", "finetune": "fine-tuning"}
    said = [f"{epochs} epochs of {stages[stage]}" for stage, epochs in scale.epochs.items()]
    said += [f"width {scale.width}"] if scale.width else []
    if scale.images:
        larger = f" of sets above {scale.whole} pixels" if scale.whole else ""
        said.append(f"{scale.images:,} training images{larger}")
    said += [f"n = {scale.repeats}"] if scale.repeats else []
    return f"at most {', '.join(said)}" if said else ""


def number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}".rstrip("0").rstrip(".")


def value_of(result: dict[str, Any], metric: str | None, measurement: Measurement) -> float:
    if metric not in result["metrics"]:
        have = ", ".join(sorted(result["metrics"]))
        raise ValueError(f"{measurement.name} measures no {metric!r}; it has {have}")
    return result["metrics"][metric]


def from_files(measurement: Measurement) -> dict[str, Any]:
    result = read_json(measurement.metrics, way_out=f"{MAKE} {measurement.metrics}")
    if not isinstance(result.get("metrics"), dict) or "commit" not in result:
        raise damaged(measurement.metrics, "it lacks 'metrics' or 'commit'")
    if losses := result.get("epoch_losses"):
        result["metrics"]["early_loss"] = statistics.fmean(losses[:EARLY])
    return result


class FromMlflow:
    """Results as MLflow keeps them, on a machine that has only the store."""

    def __init__(self, graph: Graph) -> None:
        from pipeline.tracking import store

        made = store.connect()
        held = made.get_experiment_by_name("evaluate")
        self.runs: dict[str, Any] = {}
        token = None
        while held is not None:
            page = made.search_runs(
                [held.experiment_id], f"tags.scale = '{graph.params.scale}'", page_token=token
            )
            self.runs |= {
                each.data.tags["identity"]: each.data for each in page if each.info.status == "FINISHED"
            }
            token = page.token
            if not token:
                break

    def __call__(self, measurement: Measurement) -> dict[str, Any]:
        if measurement.identity not in self.runs:
            raise ValueError(
                f"MLflow has no finished run {measurement.identity}; {MAKE} {measurement.metrics}"
            )
        found = self.runs[measurement.identity]
        return {"metrics": found.metrics, "commit": found.tags["commit"]}


def in_layout(paper: str, key: str, layout: Table, lines: list[dict[str, str]], capped: str) -> str:
    """The table as the paper prints it: its number, then ours with spread and n."""
    cells = {(each["row"], each["column"]): each for each in lines}
    printed = any(cell.paper is not None for _, _, cell in layout.cells())
    head = ["", *(f"{column} ({unit})" for column, unit in layout.columns.items())]
    body = [
        [row, *(shown(cells.get((row, column)), own.get(column), printed) for column in layout.columns)]
        for row, own in layout.rows.items()
    ]
    made = {(each["scale"], each["dataset"]) for each in lines if each.get("runs")}
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


def shown(cell: dict[str, str] | None, own: Cell | None, printed: bool) -> str:
    """The paper's number and ours; where it prints none in the whole table, ours alone."""
    if cell is None or own is None:
        return ""
    paper = (cell["paper"] or "?") + (f" ± {number(own.spread)}" if own.spread is not None else "")
    if not cell.get("runs"):
        return f"{paper} ({cell['state']})"
    spread = f" ± {float(cell['sd']):.2f}" if cell["sd"] else ""
    notes = [f"n={cell['n']}"]
    notes += [f"{cell['draws']} draws"] if cell["draws"] != cell["n"] else []
    notes += [cell["dataset"]] if cell["state"] == "substitute" else []
    notes += [cell["capped"]] if cell["capped"] and cell["dataset"] != "procedural" else []
    return f"{f'{paper} | ' if printed else ''}{float(cell['mean']):.2f}{spread} ({', '.join(notes)})"


def grid(head: list[str], body: list[list[str]]) -> str:
    """A Markdown table whose columns stand under each other as text, too."""
    body = [[each.replace("|", "\\|") for each in row] for row in body]
    widths = [max(len(row[i]) for row in [head, *body]) for i in range(len(head))]
    rows = [head, ["-" * width for width in widths], *body]
    return "".join(
        "| " + " | ".join(each.ljust(width) for each, width in zip(row, widths, strict=True)) + " |\n"
        for row in rows
    )
