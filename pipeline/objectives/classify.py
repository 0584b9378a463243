"""classify: one class per image."""

from collections.abc import Callable, Iterator
from dataclasses import asdict

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy

from pipeline.config.runs import Run
from pipeline.data.batches import Batch
from pipeline.data.images import Images
from pipeline.data.manifest import Manifest
from pipeline.data.views import central_crops, parts, random_crops, whole_images
from pipeline.measures import metrics
from pipeline.models import classifiers, dong, masci
from pipeline.models.layers import Classifier
from pipeline.objectives.inputs import seen
from pipeline.objectives.networks import ENCODERS, macro_layers, stack, what_where
from pipeline.objectives.objective import Objective
from pipeline.work.identity import Measurement


def of_dong(spec: Run, manifest: Manifest) -> nn.Module:
    head = asdict(spec.objective.options)
    encoder = ENCODERS[spec.network.name](spec, manifest)
    return dong.Classifier(encoder, classes=len(manifest.classes), side=spec.augment.crop, **head)


def of_stack(spec: Run, manifest: Manifest) -> nn.Module:
    encoder, hidden = stack(spec, manifest), spec.objective.options.hidden
    return masci.Classifier(encoder, classes=len(manifest.classes), side=spec.augment.crop, hidden=hidden)


def of_what_where(spec: Run, manifest: Manifest) -> nn.Module:
    return Classifier(*what_where(spec, manifest, dropout=spec.objective.options.dropout))


def of_macro_layers(spec: Run, manifest: Manifest) -> classifiers.Classifier:
    return classifiers.Classifier(*macro_layers(spec, manifest))


CLASSIFIERS: dict[str, Callable[[Run, Manifest], nn.Module]] = {  # by network
    **dict.fromkeys(ENCODERS, of_dong),
    "stack": of_stack,
    "what-where": of_what_where,
    **dict.fromkeys(classifiers.NETWORKS, of_macro_layers),
}


def build(spec: Run, manifest: Manifest) -> nn.Module:
    return CLASSIFIERS[spec.network.name](spec, manifest)


def loss(model: nn.Module, batch: Batch, spec: Run, generator: Generator) -> Tensor:
    return cross_entropy(model(seen(batch, spec, generator)).float(), batch.label)


def measure(
    model: nn.Module, images: Images, indices: np.ndarray, measurement: Measurement, device: torch.device
) -> dict[str, float]:
    logits, labels = outputs(model, images, indices, measurement, device)
    top1 = 100 * metrics.accuracy(logits, labels)
    top5 = 100 * metrics.accuracy(logits, labels, top=min(5, logits.shape[1]))
    return {"accuracy": top1, "error": 100 - top1, "top5_error": 100 - top5}


def outputs(
    model: nn.Module, images: Images, indices: np.ndarray, measurement: Measurement, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Scores (N, K) from central crops, random crops or whole images; and the labels."""
    augment, protocol, seed = measurement.training.spec.augment, measurement.spec, measurement.training.seed

    def answers() -> Iterator[tuple[Tensor, Tensor]]:
        if protocol.everywhere:
            for batch in whole_images(images, indices, augment, device):
                yield posteriors(model, batch.x, mirrored=protocol.mirrored), batch.label
        elif protocol.crops:
            for part in parts(indices):
                views = random_crops(images, part, augment, device, crops=protocol.crops, seed=seed)
                crops = [(model(view.x).float(), view.label) for view in views]
                yield torch.stack([logits for logits, _ in crops]).sum(dim=0), crops[0][1]
        else:
            for batch in central_crops(images, indices, augment, device):
                yield model(batch.x).float(), batch.label

    scores, labels = (torch.cat(batches).cpu() for batches in zip(*answers(), strict=True))
    return scores, labels


def posteriors(model: nn.Module, x: Tensor, *, mirrored: bool) -> Tensor:
    """Softmax of the scores averaged over positions; `mirrored` averages it with the flipped images'."""
    assert isinstance(model, classifiers.Classifier)
    views = [x, x.flip(-1)] if mirrored else [x]
    return torch.stack([model.everywhere(view).float().softmax(dim=1) for view in views]).mean(dim=0)


OBJECTIVE = Objective(build=build, loss=loss, measure=measure)
