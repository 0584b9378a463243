"""search: compare values of a setting that a paper does not give, on held-out training images.

A trial is a run like any other, with its own key, so earlier trials are not repeated.
"""

import argparse
import math
import os
import statistics
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from pipeline.config.params import Params
from pipeline.config.reading import check
from pipeline.config.runs import STAGES, Run, put
from pipeline.config.typed import build, plain
from pipeline.results.tables import grid
from pipeline.runner.cli import begun, exit_code_of
from pipeline.system.files import RESULTS, read_json, read_lines, write_lines
from pipeline.tracking.follower import FOLLOWED, finish, follow
from pipeline.work.graph import Graph

PROTOCOL = "validation"
METRICS = ("map", "accuracy", "mean_iou", "psnr", "error")  # the first one measured is compared
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
    """Return params with the trial's value in its run, measured only on held-out training images."""
    Graph(params).training(trial.stage, trial.name, trial.seed)  # refuses a misspelt run
    where, runs = f"{trial.stage}.{trial.name}", params.runs(trial.stage)
    document = plain(runs[trial.name])
    document.get("tuned", {}).pop(trial.setting, None)
    try:
        put(document, trial.setting, yaml.safe_load(trial.value), where)
    except yaml.YAMLError:
        raise ValueError(f"{where}.{trial.setting}: {trial.value!r} is no value of YAML") from None
    document["data"] |= {"holdout": trial.holdout}
    document |= {"evaluate": [PROTOCOL]}
    changed: dict[str, Any] = {stage: dict(params.runs(stage)) for stage in STAGES}
    run = changed[trial.stage][trial.name] = build(Run, document, where)
    data, start = run.data, run.start
    while start is not None:  # its pre-trainings must not see the held-out images, either
        before = changed["pretrain"][start]
        if (before.data.set, before.data.split) == (data.set, data.split):
            kept = replace(before.data, holdout=trial.holdout)
            changed["pretrain"][start] = replace(before, data=kept)
        start = before.start
    other = replace(params, **changed)
    check(other)
    return other


def tried(graph: Graph, trial: Trial) -> dict[str, Any]:
    """Train and measure a trial unless that is done; return its line."""
    from pipeline.evaluate import evaluate
    from pipeline.training.run import train

    measurement = graph.measurement(f"{trial.stage}.{trial.name}.{PROTOCOL}", trial.seed)
    training = measurement.training
    for run in reversed(training.lineage):
        if not (run.weights.exists() and run.record.exists()):
            train(graph, run.stage, run.name, run.seed)
    if not measurement.metrics.exists():
        evaluate(graph, measurement.name, trial.seed)
    record = read_json(measurement.metrics, way_out="try it again")
    metric = next((name for name in METRICS if name in record["metrics"]), None)
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
    """Add lines to the file; a repeated trial replaces its earlier line."""
    old = read_lines(path)
    newest = {(line["setting"], line["key"], str(line["seed"])): line for line in [*old, *lines]}
    write_lines(path, COLUMNS, newest.values())


def table(lines: list[dict[str, Any]]) -> str:
    """Format as a table: one row per value, one column per seed; a mean where all seeds were tried."""
    seeds = sorted({int(line["seed"]) for line in lines})
    scores = {(line["value"], int(line["seed"])): float(line["score"]) for line in lines}
    head = [lines[0]["setting"], *(f"{lines[0]['metric']}, seed {seed}" for seed in seeds)]
    rows = []
    for value in dict.fromkeys(line["value"] for line in lines):
        numbers = [scores.get((value, seed), math.nan) for seed in seeds]
        numbers += [statistics.fmean(numbers)] if len(seeds) > 1 else []
        rows.append([value, *("" if math.isnan(number) else f"{number:.2f}" for number in numbers)])
    return grid([*head, "mean"] if len(seeds) > 1 else head, rows)


def search(params: Params, label: str, setting: str, values: list[str], *, seeds: int, holdout: int) -> str:
    return table(trials(params, label, setting, values, seeds=seeds, holdout=holdout))


def tune(params: Params, label: str, *, seeds: int | None, holdout: int) -> str:
    """Search the settings under a run's `search` in turn, with the best values of the earlier ones."""
    stage, name = named(label)
    trained = Graph(params).trainings(stage, name)
    folds, grids = trained[0].spec.data.fold, params.runs(stage)[name].search
    if not grids:
        raise ValueError(f"{label} has no 'search' in params.yaml; give it a setting and values to try")
    said, taken = [], dict[str, Any]()
    for setting, listed in grids.items():
        values = [yaml.safe_dump(value).splitlines()[0] for value in listed]
        count = seeds or (len(trained) if folds else 1)
        lines = trials(params, label, setting, values, seeds=count, holdout=holdout)
        said.append(table(lines))
        document = plain(params.runs(stage)[name])
        if folds:
            taken[setting] = [best([line for line in lines if line["seed"] == seed]) for seed in range(count)]
            document.setdefault("tuned", {})[setting] = taken[setting]
        else:
            taken[setting] = best(lines)
            put(document, setting, taken[setting], label)
        other: dict[str, Any] = {stage: params.runs(stage) | {name: build(Run, document, label)}}
        params = replace(params, **other)
    chosen = {"tuned": taken} if folds else taken
    flow = None if folds else False  # lists in a line
    return "\n".join([*said, yaml.safe_dump(chosen, sort_keys=False, default_flow_style=flow)])


def best(lines: list[dict[str, Any]]) -> Any:
    """The value with the best mean score, as params.yaml reads it."""
    scores: dict[str, list[float]] = {}
    for line in lines:
        scores.setdefault(line["value"], []).append(float(line["score"]))
    sign = -1 if lines[0]["metric"] == "error" else 1
    return yaml.safe_load(max(scores, key=lambda value: sign * statistics.fmean(scores[value])))


def named(label: str) -> tuple[str, str]:
    stage, _, name = label.partition(".")
    if stage not in STAGES or not name:
        raise ValueError(f"{label!r} is not STAGE.RUN, as in finetune.cifar10-ours")
    return stage, name


def trials(
    params: Params, label: str, setting: str, values: list[str], *, seeds: int, holdout: int
) -> list[dict[str, Any]]:
    stage, name = named(label)
    tries = [Trial(stage, name, setting, value, seed, holdout) for value in values for seed in range(seeds)]
    graphs = [Graph(varied(params, trial)) for trial in tries]  # refuse errors before the first training
    lines: list[dict[str, Any]] = []
    follower = follow()
    os.environ[FOLLOWED] = "by search"
    try:
        for graph, trial in zip(graphs, tries, strict=True):
            lines.append(tried(graph, trial))
            keep(RESULTS / "search" / f"{label}.csv", lines)
    finally:
        finish([follower])
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pipeline.search", description=__doc__.split("\n")[0])
    parser.add_argument("run", help="STAGE.RUN, as in finetune.cifar10-ours")
    parser.add_argument("setting", nargs="?", help="optimiser.adam.lr, batch, …; all under the run's search")
    parser.add_argument("values", nargs="*", help="each as params.yaml would have it; those under search")
    parser.add_argument("--seeds", type=int, help="1; of folds all")
    parser.add_argument("--holdout", type=int, default=2000, help="training images that are kept apart")
    parser.add_argument("--scale", default=None, help="instead of the one that params.yaml names")
    arguments = parser.parse_args()

    def act() -> None:
        params, apart = begun(arguments.scale), arguments.holdout
        if arguments.setting is None:
            text = tune(params, arguments.run, seeds=arguments.seeds, holdout=apart)
        elif not arguments.values:
            raise ValueError(f"{arguments.setting} has no values to try; write them after it")
        else:
            text = search(
                params,
                arguments.run,
                arguments.setting,
                arguments.values,
                seeds=arguments.seeds or 1,
                holdout=apart,
            )
        print(text, end="")

    sys.exit(exit_code_of(f"search {arguments.run}", act))


if __name__ == "__main__":
    main()
