"""What Snakemake's targets ask for: the files of a paper, and those of a phase."""

from pipeline.config.runs import STAGES
from pipeline.results.rendering import renderings
from pipeline.work.graph import Graph


def rendered(paper: str | None = None) -> list[str]:
    """The first file of each table, figure, claims and architecture of a paper, or of all."""
    return [str(each.files[0]) for each in renderings().values() if paper in (None, each.paper)]


def phases(graph: Graph) -> dict[str, list[str]]:
    """For each phase, the files that all renderings together need."""
    measured = [each for rendering in renderings().values() for each in rendering.measurements(graph)]
    trainings = [one for each in measured for one in each.training.lineage]
    shards = [each.shards for each in measured] + [each.shards for each in trainings]
    files = {
        "fetch": [each.fetched for each in shards if each.fetched],
        "shard": [each.manifest for each in shards],
        **{stage: [each.weights for each in trainings if each.stage == stage] for stage in STAGES},
        "evaluate": [each.metrics for each in measured],
    }
    return {phase: sorted({str(path) for path in paths}) for phase, paths in files.items()}
