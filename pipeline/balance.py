"""balance: the weights with which every macro-layer's loss is as great as the image's, on training images."""

from dataclasses import replace

import torch
from torch import nn

from pipeline import ranks
from pipeline.command import run_stage
from pipeline.data import Batches, Images, Mixed, open_manifest, subset
from pipeline.devices import device_at_hand
from pipeline.graph import Graph
from pipeline.models import zhang
from pipeline.objectives import restoration
from pipeline.params import Run
from pipeline.train import chance
from pipeline.typed import Choice

BATCHES = 64  # of the first epoch, at most


def balanced(
    model: nn.Module, batches: Batches | Mixed, spec: Run, *, seed: int, device: torch.device
) -> Run:
    """The run with a weight for every loss. zhang2016: "the criterion was to make the weighted loss for every
    layer comparable to each other"; they are, where the training begins."""
    if spec.objective.name != "augment" or spec.objective.options.variant == "first":
        return spec
    assert isinstance(model, zhang.Augmented)
    options = spec.objective.options
    if len(options.weights) > 1:
        return spec
    norm, losses = zhang.NORMS[options.norm], []
    model.eval()  # as a frozen head learns; dropout would change the maps and their weights
    with torch.no_grad():
        for step in range(min(BATCHES, batches.steps)):
            generator = torch.Generator(device).manual_seed(chance(seed, step, "balance"))
            batch = batches.at(step, device)
            _, errors, _ = restoration(model, batch, generator)
            found = torch.stack([norm(error) for error in errors]) * (len(batch.x) / batch.whole)
            losses.append(ranks.total(found) if ranks.RANKS > 1 else found)
    mean = torch.stack(losses).double().mean(dim=0).tolist()
    weights = tuple(options.weights[0] * mean[0] / max(each, 1e-12) for each in mean)
    return replace(spec, objective=Choice(spec.objective.name, replace(options, weights=weights)))


def balance(graph: Graph, name: str, seed: int) -> None:
    """Print the weights that STAGE.RUN begins with, as params.yaml takes them."""
    from pipeline.learn import beginning

    stage, _, run = name.partition(".")
    training, device = graph.training(stage, run, seed), device_at_hand()
    spec = training.spec
    if spec.objective.name != "augment":
        raise ValueError(f"{name} has the objective {spec.objective.name!r}; 'augment' is wanted")
    manifest = open_manifest(training.shards.manifest, spec.data.split)
    images = Images(manifest, stream_above_gb=graph.params.engine.stream_above_gb, raw=spec.data.raw)
    batches = Batches(images, subset(images, spec.data, seed=seed), spec.augment, batch=spec.batch, seed=seed)
    model = beginning(training, manifest).to(device)
    options = balanced(model, batches, spec, seed=seed, device=device).objective.options
    print(f"weights: [{', '.join(f'{weight:.3e}' for weight in options.weights)}]  # norm: {options.norm}")


if __name__ == "__main__":
    run_stage("balance", balance)
