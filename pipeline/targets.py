"""What Snakemake's targets ask for: the files of a paper, and those of a phase."""

from pipeline import papers
from pipeline.config.runs import STAGES
from pipeline.results import claims
from pipeline.work.graph import Graph


def rendered(paper: str | None = None) -> list[str]:
    """The CSV files and pictures of a paper, or of all."""

    def named(kind: str) -> list[str]:
        return [path for path, (of, _) in papers.targets(kind).items() if paper in (None, of)]

    judged = [name for name, facts in papers.papers().items() if facts.claims and paper in (None, name)]
    return [
        *(f"{path}.csv" for path in [*named("tables"), *named("architectures")]),
        *(f"{path}.png" for path in named("figures")),
        *(f"{papers.target(name, claims.NAME)}.csv" for name in judged),
    ]


def phases(graph: Graph) -> dict[str, list[str]]:
    """For each phase, the files that all tables, figures and claims need."""
    measured = [each for _, _, label in papers.uses() for each in graph.measurements(label)]
    measured += [each for paper in papers.papers() for each in claims.measurements(graph, paper)]
    trainings = [one for each in measured for one in each.training.lineage]
    shards = [each.shards for each in measured] + [each.shards for each in trainings]
    files = {
        "fetch": [each.fetched for each in shards if each.fetched],
        "shard": [each.manifest for each in shards],
        **{stage: [each.weights for each in trainings if each.stage == stage] for stage in STAGES},
        "evaluate": [each.metrics for each in measured],
    }
    return {phase: sorted({str(path) for path in paths}) for phase, paths in files.items()}
