"""shard: a data set as deterministic WebDataset tars and a manifest, written last."""

from pipeline.data.writer import shard
from pipeline.runner.cli import run_stage

if __name__ == "__main__":
    run_stage("shard", lambda graph, name, seed: shard(graph.shards(name)))
