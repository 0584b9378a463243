"""search: a setting that a paper does not say, tried on images that are kept from training.

A trial is a run like any other, with a key of its own: what was tried before is found again.
"""

import argparse
import os
import statistics
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from pipeline import track
from pipeline.command import answered, begun
from pipeline.files import read_json, read_lines, write_lines
from pipeline.graph import RESULTS, Graph
from pipeline.params import STAGES, Params, Run, check
from pipeline.table import grid
from pipeline.typed import build, plain

PROTOCOL = "validation"
METRICS = ("map", "accuracy", "mean_iou", "psnr", "error")  # of several, the first is looked at
COLUMNS = (
    "run",
    "setting",
    "value",
    "seed",
    "holdout",
    "scale",
    "dataset",
    "metric",
    "score",
    "commit",
    "key",
)


@dataclass(frozen=True)
class Trial:
    stage: str
    name: str
    setting: str  # optimiser.adam.lr, batch, …
    value: str  # as params.yaml would have it
    seed: int
    holdout: int


def varied(params: Params, trial: Trial) -> Params:
    """With another value in that run, and measured on training images that are kept apart alone."""
    Graph(params).training(trial.stage, trial.name, trial.seed)  # or it says what is misspelt
    where, runs = f"{trial.stage}.{trial.name}", params.runs(trial.stage)
    document = plain(runs[trial.name])
    *parents, last = trial.setting.split(".")
    inner = document
    for parent in parents:
        inner = inner.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise ValueError(f"{where}.{trial.setting}: {parent} is {inner!r}, and has no parts")
    try:
        inner[last] = yaml.safe_load(trial.value)
    except yaml.YAMLError:
        raise ValueError(f"{where}.{trial.setting}: {trial.value!r} is no value of YAML") from None
    document["data"] |= {"holdout": trial.holdout}
    document |= {"evaluate": [PROTOCOL]}
    changed: dict[str, Any] = {stage: dict(params.runs(stage)) for stage in STAGES}
    run = changed[trial.stage][trial.name] = build(Run, document, where)
    data, start = run.data, run.start
    while start is not None:  # what it starts from does not see the images kept apart, either
        before = changed["pretrain"][start]
        if (before.data.set, before.data.split) == (data.set, data.split):
            kept = replace(before.data, holdout=trial.holdout)
            changed["pretrain"][start] = replace(before, data=kept)
        start = before.start
    other = replace(params, **changed)
    check(other)
    return other


def tried(graph: Graph, trial: Trial) -> dict[str, Any]:
    """Its line: trained and measured, or found."""
    from pipeline.evaluate import evaluate
    from pipeline.learn import learn

    measurement = graph.measurement(f"{trial.stage}.{trial.name}.{PROTOCOL}", trial.seed)
    training = measurement.training
    for each in reversed(training.lineage):
        if not (each.weights.exists() and each.record.exists()):
            learn(graph, each.stage, each.name, each.seed)
    if not measurement.metrics.exists():
        evaluate(graph, measurement.name, trial.seed)
    record = read_json(measurement.metrics, way_out="try it again")
    metric = next((each for each in METRICS if each in record["metrics"]), None)
    if metric is None:
        raise ValueError(f"{training.label} is measured by none of {', '.join(METRICS)}")
    return {
        "run": training.label,
        "setting": trial.setting,
        "value": trial.value,
        "seed": trial.seed,
        "holdout": record["images"],
        "scale": training.scale,
        "dataset": record["dataset"],
        "metric": metric,
        "score": f"{record['metrics'][metric]:.4f}",
        "commit": record["commit"],
        "key": training.key,
    }


def keep(path: Path, lines: list[dict[str, Any]]) -> None:
    """Beside what was tried before; what is tried again takes its place."""
    old = read_lines(path)
    every = {(each["setting"], each["key"], str(each["seed"])): each for each in [*old, *lines]}
    write_lines(path, COLUMNS, every.values())


def shown(lines: list[dict[str, Any]]) -> str:
    """A row a value, a column a seed."""
    seeds = sorted({line["seed"] for line in lines})
    rows = []
    for value in dict.fromkeys(line["value"] for line in lines):
        scores = [float(line["score"]) for line in lines if line["value"] == value]
        rows.append([value, *(f"{score:.2f}" for score in scores), f"{statistics.fmean(scores):.2f}"])
    head = [lines[0]["setting"], *(f"{lines[0]['metric']}, seed {seed}" for seed in seeds), "mean"]
    return grid(head, rows)


def search(params: Params, label: str, setting: str, values: list[str], *, seeds: int, holdout: int) -> str:
    stage, _, name = label.partition(".")
    if stage not in STAGES or not name:
        raise ValueError(f"{label!r} is not STAGE.RUN, as in finetune.cifar10-ours")
    trials = [Trial(stage, name, setting, value, seed, holdout) for value in values for seed in range(seeds)]
    graphs = [Graph(varied(params, each)) for each in trials]  # what is wrong is said before the first begins
    lines: list[dict[str, Any]] = []
    follower = track.follow()
    os.environ[track.FOLLOWED] = "by search"
    try:
        for graph, trial in zip(graphs, trials, strict=True):
            lines.append(tried(graph, trial))
            keep(RESULTS / "search" / f"{label}.csv", lines)
    finally:
        track.finish([follower])
    return shown(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pipeline.search", description=__doc__.split("\n")[0])
    parser.add_argument("run", help="STAGE.RUN, as in finetune.cifar10-ours")
    parser.add_argument("setting", help="as params.yaml nests it: optimiser.adam.lr, batch, …")
    parser.add_argument("values", nargs="+", help="each as params.yaml would have it")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--holdout", type=int, default=2000, help="training images that are kept apart")
    parser.add_argument("--scale", default=None, help="instead of the one that params.yaml names")
    given = parser.parse_args()

    def act() -> None:
        params = begun(given.scale)
        print(
            search(params, given.run, given.setting, given.values, seeds=given.seeds, holdout=given.holdout),
            end="",
        )

    sys.exit(answered(f"search {given.run}", act))


if __name__ == "__main__":
    main()
