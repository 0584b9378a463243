"""fetch: a data set's official files, verified; from the mirror folder first, then from the network."""

from pathlib import Path

from pipeline.config.typed import nearest
from pipeline.datasets import SOURCES
from pipeline.runner.cli import run_stage
from pipeline.system.files import write_json
from pipeline.work.graph import Graph


def fetch(graph: Graph, name: str) -> None:
    """Fetch a source's files; for a user's folder, `name` is the data set."""
    all_shards = [graph.shards(dataset) for dataset in graph.params.datasets]
    matches = [shards for shards in all_shards if shards.raw.name == name]
    if not matches:
        raise ValueError(
            f"nothing is fetched under {name!r}; {nearest(name, {shards.raw.name for shards in all_shards})}"
        )
    shards = matches[0]
    if shards.fetched is None:
        raise ValueError(f"{name} is drawn at scale {graph.params.scale}; there is nothing to fetch")
    mirror = graph.params.mirror_folder
    if mirror is not None and not mirror.is_dir():
        raise ValueError(f"params.yaml: mirror is {str(mirror)!r}, which is not a folder")
    path = Path(shards.dataset.path).expanduser() if shards.dataset.path else None
    shards.raw.mkdir(parents=True, exist_ok=True)
    SOURCES[shards.dataset.source].fetch(shards.raw, mirror=mirror, path=path)
    write_json(shards.fetched, {"source": shards.dataset.source})


if __name__ == "__main__":
    run_stage("fetch", lambda graph, name, seed: fetch(graph, name))
