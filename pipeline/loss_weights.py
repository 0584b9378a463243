"""loss_weights: print the loss weights that a run starts with."""

from pipeline.compute.device import device_at_hand
from pipeline.data.batches import Batches
from pipeline.data.images import images_of
from pipeline.data.subsets import subset
from pipeline.objectives import objective_of
from pipeline.runner.cli import run_stage
from pipeline.work.graph import Graph


def loss_weights(graph: Graph, name: str, seed: int) -> None:
    """Print the weights that STAGE.RUN starts with, as a line for params.yaml."""
    from pipeline.training.run import beginning

    stage, _, run = name.partition(".")
    training, device = graph.training(stage, run, seed), device_at_hand()
    spec = training.spec
    if spec.objective.name != "augment":
        raise ValueError(f"{name} has the objective {spec.objective.name!r}; expected 'augment'")
    images = images_of(training, stream_above_gb=graph.params.engine.stream_above_gb)
    batches = Batches(images, subset(images, spec.data, seed=seed), spec.augment, batch=spec.batch, seed=seed)
    model = beginning(training, images.manifest).to(device)
    spec = objective_of(spec).prepare(model, batches, spec, seed=seed, device=device)
    options = spec.objective.options
    print(f"weights: [{', '.join(f'{weight:.3e}' for weight in options.weights)}]  # norm: {options.norm}")


if __name__ == "__main__":
    run_stage("loss_weights", loss_weights)
