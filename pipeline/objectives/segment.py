"""segment: one class per pixel."""

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy

from pipeline.config.runs import Run
from pipeline.data.batches import Batch
from pipeline.data.images import Images
from pipeline.data.manifest import Manifest
from pipeline.data.views import central_crops, whole_images
from pipeline.datasets import VOID
from pipeline.measures import metrics
from pipeline.models import dong
from pipeline.objectives.inputs import seen
from pipeline.objectives.networks import autoencoder
from pipeline.objectives.objective import Objective
from pipeline.work.identity import Measurement


def build(spec: Run, manifest: Manifest) -> nn.Module:
    return dong.Segmenter(autoencoder(spec, manifest), classes=len(manifest.classes))


def loss(model: nn.Module, batch: Batch, spec: Run, generator: Generator) -> Tensor:
    assert batch.mask is not None
    return cross_entropy(model(seen(batch, spec, generator)).float(), batch.mask, ignore_index=VOID)


def measure(
    model: nn.Module, images: Images, indices: np.ndarray, measurement: Measurement, device: torch.device
) -> dict[str, float]:
    classes = len(images.manifest.classes)
    total = torch.zeros(classes, classes, dtype=torch.int64)
    views = whole_images if measurement.spec.everywhere else central_crops
    for batch in views(images, indices, measurement.training.spec.augment, device):
        assert batch.mask is not None
        predicted = model(batch.x).argmax(dim=1)
        total += metrics.confusion(predicted.cpu(), batch.mask.cpu(), classes=classes)
    mean, _ = metrics.mean_iou(total)
    return {"mean_iou": 100 * mean}


OBJECTIVE = Objective(build=build, loss=loss, measure=measure)
