"""augment: classify, and restore the inputs of layers by a decoding pathway."""

from dataclasses import replace

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy

from pipeline.compute import distributed
from pipeline.compute.seeds import seed_from
from pipeline.config.runs import Run
from pipeline.config.typed import Choice
from pipeline.data.batches import Batch, Batches, Mixed
from pipeline.data.manifest import Manifest
from pipeline.models import zhang
from pipeline.objectives import classify
from pipeline.objectives.networks import macro_layers
from pipeline.objectives.objective import Objective

BATCHES = 64  # of the first epoch, at most, from which loss weights follow


def build(spec: Run, manifest: Manifest) -> zhang.Augmented:
    options, levels = spec.objective.options, spec.network.options.levels
    decoding = {"levels": levels, "top": options.top or levels, "switches": options.switches}
    layers = macro_layers(spec, manifest)
    if options.variant == "ladder":
        if distributed.RANKS > 1:
            raise ValueError("a ladder's noise is drawn for whole batches; train it in one process")
        return zhang.Ladder(*layers, noise=options.noise, **decoding)
    return zhang.Augmented(*layers, stacked=options.variant != "layerwise", **decoding)


def loss(model: nn.Module, batch: Batch, spec: Run, generator: Generator) -> Tensor:
    """C(x, y) + lambda U(x); gradients also flow into the targets of U."""
    assert isinstance(model, zhang.Augmented)
    options = spec.objective.options
    _, errors, top = restoration(model, batch, generator)
    norm = zhang.NORMS[options.norm]
    terms = [weight * norm(error) for weight, error in zip(options.weights, errors, strict=False)]
    return cross_entropy(model.head(top).float(), batch.label) + options.strength * torch.stack(terms).sum()


def restoration(
    model: zhang.Augmented, batch: Batch, *generators: Generator
) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Reconstructions of a_0, a_1, ..., their errors, and the input of the head."""
    maps, restored, top = model.paths(batch.x, *generators)
    errors = [y.float() - a.float() for y, a in zip(restored, maps, strict=False)]
    errors[0] = errors[0] * batch.std / 255  # the image's target is RGB in [0, 1]
    return restored, errors, top


def prepare(model: nn.Module, batches: Batches | Mixed, spec: Run, *, seed: int, device: torch.device) -> Run:
    """Set a weight for every loss. zhang2016: "the criterion was to make the weighted loss for every layer
    comparable to each other"; they are equal at the start of the training."""
    options = spec.objective.options
    if options.variant == "first" or len(options.weights) > 1:
        return spec
    assert isinstance(model, zhang.Augmented)
    norm, losses = zhang.NORMS[options.norm], []
    model.eval()  # without dropout, which would change the maps and so the weights; frozen heads train so
    with torch.no_grad():
        for step in range(min(BATCHES, batches.steps)):
            generator = torch.Generator(device).manual_seed(seed_from(seed, step, "balance"))
            batch = batches.at(step, device)
            _, errors, _ = restoration(model, batch, generator)
            batch_losses = torch.stack([norm(error) for error in errors]) * (len(batch.x) / batch.whole)
            losses.append(distributed.total(batch_losses) if distributed.RANKS > 1 else batch_losses)
    mean = torch.stack(losses).double().mean(dim=0).tolist()
    weights = tuple(options.weights[0] * mean[0] / max(error, 1e-12) for error in mean)
    return replace(spec, objective=Choice(spec.objective.name, replace(options, weights=weights)))


OBJECTIVE = Objective(build=build, loss=loss, measure=classify.measure, prepare=prepare)
