"""balance: the weights with which every macro-layer's loss is as great as the image's, on training images."""

from dataclasses import replace

import torch
from torch import nn

from pipeline.compute import distributed
from pipeline.compute.seeds import chance
from pipeline.config.runs import Run
from pipeline.config.typed import Choice
from pipeline.data.batches import Batches, Mixed
from pipeline.models import zhang
from pipeline.objectives.objectives import restoration

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
            losses.append(distributed.total(found) if distributed.RANKS > 1 else found)
    mean = torch.stack(losses).double().mean(dim=0).tolist()
    weights = tuple(options.weights[0] * mean[0] / max(each, 1e-12) for each in mean)
    return replace(spec, objective=Choice(spec.objective.name, replace(options, weights=weights)))
