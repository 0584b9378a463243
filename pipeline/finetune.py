"""finetune: learn a task from labels, beginning with the weights of a pre-training."""

from pipeline.command import run_stage
from pipeline.graph import Graph
from pipeline.learn import learn


def finetune(graph: Graph, name: str, seed: int) -> None:
    learn(graph, "finetune", name, seed)


if __name__ == "__main__":
    run_stage("finetune", finetune)
