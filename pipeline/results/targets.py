"""The files behind Snakemake's targets: those of a paper, and those of a phase."""

from pipeline.config.runs import STAGES
from pipeline.results.rendering import renderings
from pipeline.work.graph import Graph


def rendered(paper: str | None = None) -> list[str]:
    """First file of each table, figure, claims and architecture of one paper, or of all papers."""
    return [
        str(rendering.files[0]) for rendering in renderings().values() if paper in (None, rendering.paper)
    ]


def phases(graph: Graph) -> dict[str, list[str]]:
    """Map each phase to the files that all renderings need from it."""
    measured = [
        measurement for rendering in renderings().values() for measurement in rendering.measurements(graph)
    ]
    trainings = [training for measurement in measured for training in measurement.training.lineage]
    shards = [work.shards for work in measured] + [work.shards for work in trainings]
    files = {
        "fetch": [dataset.fetched for dataset in shards if dataset.fetched],
        "shard": [dataset.manifest for dataset in shards],
        **{
            stage: [training.weights for training in trainings if training.stage == stage] for stage in STAGES
        },
        "evaluate": [measurement.metrics for measurement in measured],
    }
    return {phase: sorted({str(path) for path in paths}) for phase, paths in files.items()}
