"""All measurements as one tidy pandas frame, for tables, claims, figures and notebooks: `frame()`."""

import statistics
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.config.reading import load
from pipeline.config.runs import STAGES
from pipeline.results.kept import record_of
from pipeline.system.files import damaged, read_json
from pipeline.work.graph import Graph
from pipeline.work.identity import Measurement

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "measurement",  # stage.run.protocol, as in papers/*.yaml
    "stage",
    "run",
    "protocol",
    "seed",
    "pipeline",  # independent repetition: the seed of the first pre-training
    "scale",
    "dataset",
    "key",
    "commit",
    "metric",
    "value",
)
EARLY = 50  # epochs, as dong2016's Figure 3 shows
MAKE = "make it: snakemake --cores all"
Read = Callable[[Measurement], dict[str, Any]]


def frame(*graphs: Graph) -> "pd.DataFrame":
    """Read all measurements in results/runs and results/reference.

    Without a graph, read those of params.yaml at every scale.
    """
    if not graphs:
        params = load()
        graphs = tuple(Graph(replace(params, scale=scale)) for scale in params.scales)
    works = [work for graph in graphs for work in measurements_of(graph)]
    files = {work.identity: record_of(work.identity, "metrics.json") for work in works}
    made = [work for work in works if files[work.identity].exists()]
    return measured(made, lambda work: read_metrics(files[work.identity]))


def measurements_of(graph: Graph) -> Iterable[Measurement]:
    for stage in STAGES:
        for name, run in graph.params.runs(stage).items():
            for protocol in run.evaluate:
                yield from graph.measurements(f"{stage}.{name}.{protocol}")


def from_files(measurement: Measurement) -> dict[str, Any]:
    return read_metrics(measurement.metrics)


def measured(works: Iterable[Measurement], read: Read = from_files) -> "pd.DataFrame":
    """Read these measurements into a frame: a line for each metric."""
    import pandas as pd

    lines = []
    for work in {work.identity: work for work in works}.values():
        training, result = work.training, read(work)
        who = (work.name, training.stage, training.name, work.protocol, training.seed, training.pipeline)
        what = (training.scale, work.shards.displayed_name, work.key, result["commit"])
        lines += [(*who, *what, metric, value) for metric, value in result["metrics"].items()]
    return pd.DataFrame(lines, columns=COLUMNS)


def by_pipeline(frame: "pd.DataFrame", label: str, metric: str | None) -> "pd.Series":
    """Average the fine-tunings of each pre-training: one value for each independent pipeline."""
    of_label = frame[frame["measurement"] == label]
    values = of_label[of_label["metric"] == metric]
    if values.empty:
        have = ", ".join(sorted(set(of_label["metric"])))
        raise ValueError(f"{label} measures no {metric!r}; it has {have}")
    # fmean rounds once and keeps NaN; sum / 3 of three equal values differs from them in 14 % of cases
    return values.groupby("pipeline")["value"].agg(statistics.fmean)


def from_mlflow(graph: Graph) -> Read:
    """Read from MLflow, for machines that have only its store."""
    from pipeline.tracking import store

    client = store.connect()
    experiment = client.get_experiment_by_name("evaluate")
    runs: dict[str, Any] = {}
    token = None
    while experiment is not None:
        page = client.search_runs(
            [experiment.experiment_id], f"tags.scale = '{graph.params.scale}'", page_token=token
        )
        runs |= {run.data.tags["identity"]: run.data for run in page if run.info.status == "FINISHED"}
        token = page.token
        if not token:
            break

    def read(measurement: Measurement) -> dict[str, Any]:
        if measurement.identity not in runs:
            raise ValueError(
                f"MLflow has no finished run {measurement.identity}; {MAKE} {measurement.metrics}"
            )
        run = runs[measurement.identity]
        metrics = {name: value for name, value in run.metrics.items() if not name.startswith("system/")}
        return {"metrics": metrics, "commit": run.tags["commit"]}

    return read


def read_metrics(file: Path) -> dict[str, Any]:
    result = read_json(file, way_out=f"{MAKE} {file}")
    if not isinstance(result.get("metrics"), dict) or "commit" not in result:
        raise damaged(file, "it lacks 'metrics' or 'commit'")
    if losses := result.get("epoch_losses"):
        result["metrics"]["early_loss"] = statistics.fmean(losses[:EARLY])
    return result


def values(graph: Graph, label: str, metric: str) -> tuple[float, float]:
    """Return mean and standard deviation over the independent pipelines."""
    by_seed = by_pipeline(measured(graph.measurements(label)), label, metric)
    return statistics.fmean(by_seed), statistics.stdev(by_seed) if len(by_seed) > 1 else 0.0


def arrays(measurement: Measurement) -> dict[str, np.ndarray]:
    """Load the arrays that a measurement's protocol keeps for figures."""
    path = measurement.folder / "arrays.npz"
    if not path.exists():
        raise ValueError(
            f"{measurement.name} keeps no arrays: set 'keep', a number of images, in its protocol"
        )
    with np.load(path, allow_pickle=False) as kept:
        return dict(kept)
