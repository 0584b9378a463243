"""The graph: which file comes from which. Every value is in params.yaml, every path in pipeline/graph.py."""

import atexit
import os
import re
import sys
import time
from pathlib import Path

from pipeline import papers
from pipeline.config.reading import load
from pipeline.config.typed import nearest
from pipeline.results import architectures, claims, figures, tables
from pipeline.runner import worker
from pipeline.runner.session import alone, idle, pass_on_stops
from pipeline.tracking.delivery import waits
from pipeline.tracking.follower import FOLLOWED, finish, follow
from pipeline.work.graph import Graph
from pipeline.work.identity import Training

if slips := set(config) - {"scale"}:
    sys.exit(f"--config takes scale=…, and no {min(slips)!r}")
try:
    settings = load(scale=config.get("scale"))
    papers.check(settings)
except ValueError as slip:
    sys.exit(str(slip))  # one line, not Snakemake's account of where it was read
graph = Graph(settings)
TABLES = papers.targets("tables")  # results/table6 -> (paper, table)
NETWORKS = papers.targets("architectures")
FIGURES = papers.targets("figures")
CLAIMS = {
    f"{papers.target(paper, claims.NAME)}.csv": paper
    for paper, facts in papers.papers().items()
    if facts.claims
}

FILES = [
    *[f"{each}.{ending}" for each in TABLES | NETWORKS for ending in ("csv", "md")],
    *[f"{each}.png" for each in FIGURES],
    *CLAIMS,
]

# Snakemake's own answer to a misspelt file has twenty lines, and names none that was meant.
for word in sys.argv[1:]:
    if re.fullmatch(r"results/.*\.(csv|md|png)", word) and word not in FILES:
        sys.exit(f"nothing makes {word}; {nearest(word, FILES)}")


def training_of(stage, w):
    made = graph.of_path(
        Path(f"results/runs/{w.scale}/{stage}/{w.name}/{w.seed}-{w.key}/any")
    )
    return made if isinstance(made, Training) else made.training


# Keys stand for freshness, so time does not: an input that exists is the right one.
def data_of(stage):
    return lambda w: ancient(str(training_of(stage, w).shards.manifest))


def measured_on(w):
    made = graph.measurement(w.name, int(w.seed))
    return sorted(
        {ancient(str(each.shards.manifest)) for each in (made, made.training)}
    )


def start_of(stage):
    """The weights that a training begins with; none for most pre-trainings."""

    def weights(w):
        start = training_of(stage, w).start
        return ancient(str(start.weights)) if start else []

    return weights


def weights_of(w):
    training = training_of("evaluate", w)
    return [ancient(str(training.weights)), ancient(str(training.record))]


def raw_of(w):
    fetched = graph.of_path(Path(f"data/{w.scale}/{w.name}-{w.key}/any")).fetched
    return ancient(str(fetched)) if fetched else []


def name_of(shown):
    """As the stages call it: table6 of the main paper, masci2011/table1 of another."""
    return papers.called(*{**TABLES, **FIGURES, **NETWORKS}[f"results/{shown}"])


def outdated(name, stale):
    """Snakemake does not look behind a table that is there: where it shows other runs than are asked for now, a
    file newer than it, and never the same twice, says so."""
    mark = Path("results/.stale") / name
    if not stale:
        return []
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.write_text(str(time.time_ns()))
    return [str(mark)]


def metrics_of(measured):
    return [ancient(str(each.metrics)) for each in measured]


def shown_by_table(w):
    name = name_of(w.table)
    return metrics_of(tables.measurements(graph, name)) + outdated(
        w.table, tables.stale(graph, name)
    )


def shown_by_figure(w):
    name = name_of(w.figure)
    return metrics_of(figures.measurements(graph, name)) + outdated(
        w.figure, figures.stale(graph, name)
    )


def tried_by(w):
    paper = w.paper.strip("/") or papers.MAIN
    return metrics_of(claims.measurements(graph, paper)) + outdated(
        f"{paper}-claims", claims.stale(graph, paper)
    )


def rendered(paper=None):
    """All that is made of one paper, or of all."""
    tables = [
        f"{each}.csv"
        for each, (own, _) in {**TABLES, **NETWORKS}.items()
        if paper in (None, own)
    ]
    figures = [
        f"{each}.png" for each, (own, _) in FIGURES.items() if paper in (None, own)
    ]
    return (
        tables
        + figures
        + [each for each, own in CLAIMS.items() if paper in (None, own)]
    )


def asked(phase):
    """What all tables, figures and claims together need of one phase."""
    measured = [
        each for _, _, label in papers.uses() for each in graph.measurements(label)
    ]
    measured += [
        each for paper in papers.papers() for each in claims.measurements(graph, paper)
    ]
    if phase == "evaluate":
        return sorted({str(each.metrics) for each in measured})
    trainings = [one for each in measured for one in each.training.lineage]
    if phase in ("fetch", "shard"):
        sets = {each.shards for each in [*measured, *trainings]}
        return sorted(
            {str(each.manifest if phase == "shard" else each.fetched) for each in sets}
            - {"None"}
        )
    return sorted({str(each.weights) for each in trainings if each.stage == phase})


locks = []  # on this folder, as long as Snakemake lives
# Who holds torch for the stages, and who hands over to MLflow what happens meanwhile.
beside = []


# What another executor sends elsewhere stays in what it was given there, and is no fork of a process here.
onstart:
    locks.append(alone())
    beside.extend([worker.start() if workflow.local_exec else None, follow()])
    os.environ[FOLLOWED] = "by snakemake"
    pass_on_stops(besides=beside)


onsuccess:
    finish(beside)


onerror:
    finish(beside, within=6)  # who is told to leave has ten seconds


@atexit.register
def hand_over_what_waits():
    """Where nothing is left to make, nothing above starts; yet what a killed graph told may be told to nobody yet."""
    executes = (
        workflow.executor_plugin and workflow.is_main_process and not workflow.dryrun
    )
    if executes and idle() and waits():
        finish([follow()])


# Seconds of work, or a network that only the machine that submits may have.
localrules:
    fetch_raw,
    table,
    figure,
    claims,
    summary,
    report,
    architecture,


wildcard_constraints:
    scale=r"[\w-]+",
    name=r"[\w.-]+",
    seed=r"\d+",
    key=r"[0-9a-f]{10}",
    table="|".join(each.removeprefix("results/") for each in TABLES) or "none",
    figure="|".join(each.removeprefix("results/") for each in FIGURES) or "none",
    networks="|".join(each.removeprefix("results/") for each in NETWORKS) or "none",
    paper=r"(\w+/)?",


rule all:
    input:
        rendered(),


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
        "results/metrics.json",
        "results/report.html",


for paper in papers.papers():

    rule:
        name:
            paper
        input:
            rendered(paper),


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
        "python -m pipeline.runner.worker pretrain {wildcards.name} --seed {wildcards.seed} --scale {wildcards.scale} > {log} 2>&1"


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
        "python -m pipeline.runner.worker finetune {wildcards.name} --seed {wildcards.seed} --scale {wildcards.scale} > {log} 2>&1"


rule evaluate_run:
    input:
        measured_on,
        weights_of,
    output:
        "results/runs/{scale}/evaluate/{name}/{seed}-{key}/metrics.json",
    log:
        "results/logs/{scale}/evaluate/{name}/{seed}-{key}.log",
    threads: settings.engine.threads
    shell:
        "python -m pipeline.runner.worker evaluate {wildcards.name} --seed {wildcards.seed} --scale {wildcards.scale} > {log} 2>&1"


rule table:
    input:
        shown_by_table,
    output:
        "results/{table}.csv",
        "results/{table}.md",
    log:
        "results/logs/table/{table}.log",
    params:
        scale=settings.scale,
        name=lambda w: name_of(w.table),
    shell:
        "python -m pipeline.table {params.name} --scale {params.scale} 2>&1 | tee {log}"


rule figure:
    input:
        shown_by_figure,
    output:
        "results/{figure}.png",
        "results/{figure}.pdf",
    log:
        "results/logs/figure/{figure}.log",
    params:
        scale=settings.scale,
        name=lambda w: name_of(w.figure),
    shell:
        "python -m pipeline.figure {params.name} --scale {params.scale} > {log} 2>&1"


rule claims:
    input:
        tried_by,
    output:
        "results/{paper}claims.csv",
    log:
        "results/logs/{paper}claims.log",
    params:
        scale=settings.scale,
        name=lambda w: w.paper.strip("/") or papers.MAIN,
    shell:
        "python -m pipeline.claims {params.name} --scale {params.scale} > {log} 2>&1"


rule summary:
    input:
        [f"{each}.csv" for each in TABLES],
    output:
        "results/metrics.json",
    log:
        "results/logs/summary.log",
    shell:
        "python -m pipeline.summary > {log} 2>&1"


rule report:
    input:
        rules.all.input,
    output:
        "results/report.html",
    log:
        "results/logs/report.log",
    params:
        scale=settings.scale,
    shell:
        "python -m pipeline.report --scale {params.scale} > {log} 2>&1"


rule architecture:
    input:
        lambda w: outdated(w.networks, architectures.stale(graph, name_of(w.networks))),
    output:
        "results/{networks}.csv",
        "results/{networks}.md",
    log:
        "results/logs/architecture/{networks}.log",
    params:
        scale=settings.scale,
        name=lambda w: name_of(w.networks),
    shell:
        "python -m pipeline.architecture {params.name} --scale {params.scale} > {log} 2>&1"
