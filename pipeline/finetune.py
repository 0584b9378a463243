"""finetune: train on labels, starting from the weights of a pre-training."""

from pipeline.runner.cli import run_stage
from pipeline.training.run import train
from pipeline.work.graph import Graph


def finetune(graph: Graph, name: str, *seeds: int) -> None:
    train(graph, "finetune", name, *seeds)


if __name__ == "__main__":
    run_stage("finetune", finetune, seeds=True)
