"""The graph: which file comes from which. Every value is in params.yaml, every path in pipeline/work/."""

import tempfile
from pathlib import Path

from pipeline import papers
from pipeline.config.runs import STAGES
from pipeline.results.rendering import KINDS, renderings
from pipeline.runner.session import Session
from pipeline.results.targets import phases, rendered
from pipeline.summary import files as summarised
from pipeline.work.identity import log_of, words_of

RENDERINGS = renderings()  # by file without its ending: results/table6
# An input of stale renderings only, newer than any of them; removed when Snakemake ends.
NEWER = tempfile.NamedTemporaryFile(prefix="newer-than-stale-")

session = Session(
    workflow,
    config,
    files=[str(file) for each in RENDERINGS.values() for file in each.files],
)
graph = session.graph
settings = graph.params
SUMMARY = summarised(graph)


onstart:
    session.begin()


onsuccess:
    session.end()


onerror:
    session.end(within=6)  # of the ten seconds in which all processes exit


def inputs_of(output):
    """A file's inputs, as ancient(): a changed input has another path, so time stamps carry no information."""
    return lambda w: [
        ancient(str(each)) for each in graph.of_path(Path(output.format(**w))).inputs
    ]


def shown_by(w):
    """The measurements behind a rendering; if it is stale, a newer file as well."""
    rendering = RENDERINGS[f"results/{w.rendering}"]
    inputs = [ancient(str(each.metrics)) for each in rendering.measurements(graph)]
    stale = rendering.files[0].exists() and rendering.stale(graph)
    return [*inputs, NEWER.name] if stale else inputs


# Rules that take seconds, or need a network that cluster nodes may lack.
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


rule all:
    input:
        rendered(),


# One target for each phase, as dvc.yaml asks for them, and one for each paper.
for target, files in {
    **phases(graph),
    **{paper: rendered(paper) for paper in papers.papers()},
}.items():

    rule:
        name:
            target
        input:
            files,


rule render:
    input:
        rules.all.input,
        SUMMARY,
        "results/report.html",


rule fetch_raw:
    output:
        "data/raw/{name}/fetched.json",
    log:
        "results/logs/fetch/{name}.log",
    shell:
        f"python -m pipeline.fetch {{wildcards.name}} --scale {settings.scale} > {{log}} 2>&1"


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
        params:
            stage=stage,  # a shell command is evaluated after the loop
        shell:
            "python -m pipeline.runner.worker {params.stage} {wildcards.name} --seed {wildcards.seed} --scale {wildcards.scale} > {log} 2>&1"


# Seeds of a run as one job: --config together=N. Snakemake prefers a rule without wildcards to those above.
for seeds in session.side_by_side() if session.together > 1 else ():

    rule:
        name:
            f"{seeds[0].stage}_{seeds[0].name}_{seeds[0].seed}"
        input:
            [ancient(str(file)) for each in seeds for file in each.inputs],
        output:
            [str(file) for each in seeds for file in each.outputs],
        log:
            str(log_of(seeds[0])),
        threads: settings.engine.threads
        resources:
            gpu=1,
        params:
            words=words_of(seeds),
        shell:
            "python -m pipeline.runner.worker {params.words} > {log} 2>&1"


# table, figure, claims, architecture
for kind, facts in KINDS.items():

    rule:
        name:
            kind
        input:
            shown_by,
        output:
            [f"results/{{rendering}}{ending}" for ending in facts.endings],
        log:
            f"results/logs/{kind}/{{rendering}}.log",
        wildcard_constraints:
            rendering="|".join(
                path.removeprefix("results/")
                for path, each in RENDERINGS.items()
                if each.kind == kind
            )
            or "none",
        params:
            kind=kind,
            name=lambda w: RENDERINGS[f"results/{w.rendering}"].name,
            scale=settings.scale,
            into="|& tee" if kind == "table" else "&>",
        shell:
            "python -m pipeline.{params.kind} {params.name} --scale {params.scale} {params.into} {log}"


rule summary:
    input:
        [f"{each}.csv" for each in papers.targets("tables")],
    output:
        SUMMARY,
    log:
        "results/logs/summary.log",
    shell:
        f"python -m pipeline.summary --scale {settings.scale} > {{log}} 2>&1"


rule report:
    input:
        rules.all.input,
    output:
        "results/report.html",
    log:
        "results/logs/report.log",
    shell:
        f"python -m pipeline.report --scale {settings.scale} > {{log}} 2>&1"


session.check_targets()
