"""The graph: which file comes from which. Every value is in params.yaml, every path in pipeline/graph.py."""

import time
from pathlib import Path

from pipeline import papers
from pipeline.graph import Graph, Training
from pipeline.params import load
from pipeline.table import measurements, stale
from pipeline.track import finish, follow

from pipeline.track import follow

settings = load(scale=config.get("scale"))
papers.check(settings)
graph = Graph(settings)
TABLES = papers.targets()  # results/table6 -> (paper, table)


def training_of(stage, w):
    made = graph.of_path(
        Path(f"results/runs/{w.scale}/{stage}/{w.name}/{w.seed}-{w.key}/any")
    )
    return made if isinstance(made, Training) else made.training


# Keys stand for freshness, so time does not: an input that exists is the right one.
def data_of(stage):
    return lambda w: ancient(str(training_of(stage, w).shards.manifest))


def start_of(stage):
    """The weights that a training begins with; none for most pre-trainings."""

    def weights(w):
        start = training_of(stage, w).start
        return ancient(str(start.weights)) if start else []

    return weights


def weights_of(w):
    return ancient(str(training_of("evaluate", w).weights))


def raw_of(w):
    fetched = graph.of_path(Path(f"data/{w.scale}/{w.name}-{w.key}/any")).fetched
    return ancient(str(fetched)) if fetched else []


def name_of(table):
    paper, key = TABLES[f"results/{table}"]
    return key if paper == papers.MAIN else f"{paper}/{key}"


def metrics_of(w):
    """What a table shows. Snakemake does not look behind a table that is there: where it shows other runs than
    are asked for now, a file newer than it, and never the same twice, says so."""
    name = name_of(w.table)
    needed = [ancient(str(each.metrics)) for each in measurements(graph, name)]
    outdated = Path("results/.stale") / w.table
    if stale(graph, name):
        outdated.parent.mkdir(parents=True, exist_ok=True)
        outdated.write_text(str(time.time_ns()))
        needed.append(str(outdated))
    return needed


def csv_of(paper):
    return [f"{table}.csv" for table, (own, _) in TABLES.items() if own == paper]


def asked(phase):
    """What all tables together need of one phase."""
    measured = [
        each
        for table in TABLES
        for each in measurements(graph, table.removeprefix("results/"))
    ]
    if phase == "evaluate":
        return sorted({str(each.metrics) for each in measured})
    trainings = [each.training for each in measured]
    for training in trainings:
        if training.start:
            trainings.append(training.start)
    if phase in ("fetch", "shard"):
        sets = {each.shards for each in trainings}
        return sorted(
            {str(each.manifest if phase == "shard" else each.fetched) for each in sets}
            - {"None"}
        )
    return sorted({str(each.weights) for each in trainings if each.stage == phase})


followers = []  # who hands over to MLflow what happens meanwhile


onstart:
    followers.append(follow())


onsuccess:
    finish(followers)


onerror:
    finish(followers)


wildcard_constraints:
    scale=r"[\w-]+",
    name=r"[\w.-]+",
    seed=r"\d+",
    key=r"[0-9a-f]{10}",
    table="|".join(table.removeprefix("results/") for table in TABLES),


rule all:
    input:
        [f"{table}.csv" for table in TABLES],


# One target for each phase, as dvc.yaml asks for them, and one for each paper.
rule fetch:
    input:
        asked("fetch"),


rule shard:
    input:
        asked("shard"),


rule pretrain:
    input:
        asked("pretrain"),


rule finetune:
    input:
        asked("finetune"),


rule evaluate:
    input:
        asked("evaluate"),


rule render:
    input:
        rules.all.input,


for paper in papers.papers():

    rule:
        name:
            paper
        input:
            csv_of(paper),


# What makes each file.
rule fetch_raw:
    output:
        "data/raw/{name}/fetched.json",
    log:
        "results/logs/fetch/{name}.log",
    params:
        scale=settings.scale,
    shell:
        "python -m pipeline.fetch {wildcards.name} --scale {params.scale} > {log} 2>&1"


rule shard_set:
    input:
        raw_of,
    output:
        "data/{scale}/{name}-{key}/manifest.json",
    log:
        "results/logs/{scale}/shard/{name}-{key}.log",
    threads: settings.engine.threads
    shell:
        "python -m pipeline.shard {wildcards.name} --scale {wildcards.scale} > {log} 2>&1"


rule pretrain_run:
    input:
        data_of("pretrain"),
        start_of("pretrain"),
    output:
        "results/runs/{scale}/pretrain/{name}/{seed}-{key}/weights.pt",
        "results/runs/{scale}/pretrain/{name}/{seed}-{key}/run.json",
    log:
        "results/logs/{scale}/pretrain/{name}/{seed}-{key}.log",
    threads: settings.engine.threads
    shell:
        "python -m pipeline.pretrain {wildcards.name} --seed {wildcards.seed} --scale {wildcards.scale} > {log} 2>&1"


rule finetune_run:
    input:
        data_of("finetune"),
        start_of("finetune"),
    output:
        "results/runs/{scale}/finetune/{name}/{seed}-{key}/weights.pt",
        "results/runs/{scale}/finetune/{name}/{seed}-{key}/run.json",
    log:
        "results/logs/{scale}/finetune/{name}/{seed}-{key}.log",
    threads: settings.engine.threads
    shell:
        "python -m pipeline.finetune {wildcards.name} --seed {wildcards.seed} --scale {wildcards.scale} > {log} 2>&1"


rule evaluate_run:
    input:
        data_of("evaluate"),
        weights_of,
    output:
        "results/runs/{scale}/evaluate/{name}/{seed}-{key}/metrics.json",
    log:
        "results/logs/{scale}/evaluate/{name}/{seed}-{key}.log",
    threads: settings.engine.threads
    shell:
        "python -m pipeline.evaluate {wildcards.name} --seed {wildcards.seed} --scale {wildcards.scale} > {log} 2>&1"


rule table:
    input:
        metrics_of,
    output:
        "results/{table}.csv",
        "results/{table}.md",
    log:
        "results/logs/table/{table}.log",
    params:
        scale=settings.scale,
    shell:
        "python -m pipeline.table {wildcards.table} --scale {params.scale} 2>&1 | tee {log}"
