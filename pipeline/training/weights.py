"""Read the weights of a finished training."""

import json
from typing import Any

import torch
from torch import nn

from pipeline.data.manifest import Manifest, open_manifest
from pipeline.objectives import objective_of
from pipeline.training.checkpoint import load_tensors, reading
from pipeline.work.identity import Training


def trained(training: Training, manifest: Manifest) -> nn.Module:
    """The run's network with its final weights."""
    model = objective_of(training.spec).build(training.spec, manifest)
    for name, tensors in load_parts(training).items():
        with reading(training.weights):
            getattr(model, name).load_state_dict(tensors)
    return model.eval()


def manifest_of(training: Training) -> Manifest:
    """What the run's data were, from its weights alone; older ones do not say it, so from its shards."""
    path, split = training.shards.manifest, training.spec.data.split
    if (data := load_weights(training).get("data")) is None:
        return open_manifest(path, split)
    return Manifest(path.parent, training.shards.name, split, json.loads(data))


def load_weights(training: Training) -> dict[str, Any]:
    content = load_tensors(training.weights)
    if content.get("identity") != training.identity:
        raise ValueError(f"{training.weights} holds the weights of {content.get('identity')!r}; remove it")
    return content


def load_parts(training: Training) -> dict[str, dict[str, torch.Tensor]]:
    content = load_weights(training)
    with reading(training.weights):
        return content["parts"]
