"""pretrain: learn features from images without labels; with zero epochs, only initialise."""

from pipeline.runner.cli import run_stage
from pipeline.training.run import train
from pipeline.work.graph import Graph


def pretrain(graph: Graph, name: str, *seeds: int) -> None:
    train(graph, "pretrain", name, *seeds)


if __name__ == "__main__":
    run_stage("pretrain", pretrain, seeds=True)
