"""pretrain: learn features from images without their labels; of zero epochs, an initialisation."""

from pipeline.command import run_stage
from pipeline.graph import Graph
from pipeline.learn import learn


def pretrain(graph: Graph, name: str, seed: int) -> None:
    learn(graph, "pretrain", name, seed)


if __name__ == "__main__":
    run_stage("pretrain", pretrain)
