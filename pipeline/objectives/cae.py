"""cae: one layer of a stack restores its input."""

from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import mse_loss

from pipeline.config.runs import Run
from pipeline.data.batches import Batch
from pipeline.data.images import Images
from pipeline.data.manifest import Manifest
from pipeline.data.views import central_crops
from pipeline.measures import filter_statistics
from pipeline.models import masci
from pipeline.objectives.inputs import corrupted
from pipeline.objectives.networks import stack
from pipeline.objectives.objective import Objective
from pipeline.work.identity import Measurement


def build(spec: Run, manifest: Manifest) -> masci.AutoEncoder:
    layer = spec.objective.options.layer
    codes = masci.Codes(manifest.count) if layer > 1 and unchanging(spec, manifest) else None
    return masci.AutoEncoder(stack(spec, manifest), layer=layer, codes=codes)


def unchanging(spec: Run, manifest: Manifest) -> bool:
    """Whether an image has the same pixels in every epoch."""
    augment, shape = spec.augment, manifest.record["shape"]
    varied = spec.corruption or augment.flip or augment.pad or augment.short
    return not varied and shape is not None and max(shape) <= augment.crop


def loss(model: nn.Module, batch: Batch, spec: Run, generator: Generator) -> Tensor:
    """The squared error between a layer's input and its reconstruction; layers below stay frozen."""
    assert isinstance(model, masci.AutoEncoder)
    x = seen = model.input(batch.x, batch.index)
    if spec.corruption:
        with torch.no_grad():
            seen = model.encoder.below(corrupted(batch, spec, generator), model.layer)
    return mse_loss(model(seen).float(), x.float())


def measure(
    model: nn.Module, images: Images, indices: np.ndarray, measurement: Measurement, device: torch.device
) -> dict[str, Any]:
    """The layer's reconstruction error, and statistics of its filters.

    `error` is in percent of the error of the mean input: a layer with 100 or more restores nothing.
    """
    assert isinstance(model, masci.AutoEncoder)
    protocol, errors = measurement.spec, []
    total, squares = torch.zeros(()), 0.0  # float64: the deviation is a difference of two large sums
    for batch in central_crops(images, indices, measurement.training.spec.augment, device):
        x = model.encoder.below(batch.x, model.layer)
        errors.append((model(x).float() - x.float()).square().mean(dim=(1, 2, 3)))
        total = total + x.double().sum(dim=0).cpu()
        squares += float(x.double().square().sum())
    deviation = (squares - float(total.square().sum()) / len(indices)) / (len(indices) * total.numel())
    reconstruction = float(torch.cat(errors).mean())
    weight = model.encoder.layer(model.layer).weight
    values: dict[str, Any] = {
        "error": 100 * reconstruction / max(deviation, 1e-12),
        "reconstruction": reconstruction,
        **filter_statistics.described(weight.cpu()),
    }
    if protocol.keep:
        values["filters"] = weight[: protocol.keep].permute(0, 2, 3, 1).float().cpu().numpy()
    return values


OBJECTIVE = Objective(build=build, loss=loss, measure=measure)
