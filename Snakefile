"""The graph: which file comes from which. Every value is in params.yaml, every path in pipeline/work/."""

import time
from pathlib import Path

from pipeline import papers
from pipeline.config.runs import STAGES
from pipeline.results import architectures, claims, figures, tables
from pipeline.runner.session import Session
from pipeline.targets import phases, rendered

TABLES = papers.targets("tables")  # results/table6 -> (paper, table)
NETWORKS = papers.targets("architectures")
FIGURES = papers.targets("figures")

session = Session(
    workflow,
    config,
    files=[*rendered(), *(f"{each}.md" for each in TABLES | NETWORKS)],
)
graph = session.graph
settings = graph.params


onstart:
    session.begin()


onsuccess:
    session.end()


onerror:
    session.end(within=6)  # of the ten seconds in which all processes exit


def inputs_of(output):
    """A key changes with whatever its file depends on, so time stamps decide nothing: inputs are ancient."""
    return lambda w: [
        ancient(str(each)) for each in graph.of_path(Path(output.format(**w))).inputs
    ]


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


def any_of(shown):
    return "|".join(each.removeprefix("results/") for each in shown) or "none"


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
    table=any_of(TABLES),
    figure=any_of(FIGURES),
    networks=any_of(NETWORKS),
    paper=r"(\w+/)?",


rule all:
    input:
        rendered(),


# One target for each phase, as dvc.yaml asks for them, and one for each paper.
for target, files in phases(graph).items():

    rule:
        name:
            target
        input:
            files,


for target in papers.papers():

    rule:
        name:
            target
        input:
            rendered(target),


rule render:
    input:
        rules.all.input,
        "results/metrics.json",
        "results/report.html",


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
        inputs_of("data/{scale}/{name}-{key}/manifest.json"),
    output:
        "data/{scale}/{name}-{key}/manifest.json",
    log:
        "results/logs/{scale}/shard/{name}-{key}.log",
    threads: settings.engine.threads
    shell:
        "python -m pipeline.shard {wildcards.name} --scale {wildcards.scale} > {log} 2>&1"


# pretrain_run, finetune_run, evaluate_run
for stage, files in {
    **{each: ("weights.pt", "run.json") for each in STAGES},
    "evaluate": ("metrics.json",),
}.items():
    folder = f"{{scale}}/{stage}/{{name}}/{{seed}}-{{key}}"

    rule:
        name:
            f"{stage}_run"
        input:
            inputs_of(f"results/runs/{folder}/{files[0]}"),
        output:
            [f"results/runs/{folder}/{each}" for each in files],
        log:
            f"results/logs/{folder}.log",
        threads: settings.engine.threads
        shell:
            f"python -m pipeline.runner.worker {stage} {{wildcards.name}} --seed {{wildcards.seed}} --scale {{wildcards.scale}} > {{log}} 2>&1"


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
