"""denoise: restore an image from its corruption."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import mse_loss

from pipeline.compute.seeds import generators
from pipeline.config.runs import Run
from pipeline.corruptions import MASKS
from pipeline.data.batches import Batch
from pipeline.data.images import Images
from pipeline.data.views import alone, central_crops
from pipeline.measures import metrics
from pipeline.measures.pictures import keep, means
from pipeline.objectives.inputs import corrupted, hidden
from pipeline.objectives.networks import autoencoder
from pipeline.objectives.objective import Objective
from pipeline.work.identity import Measurement


def loss(model: nn.Module, batch: Batch, spec: Run, generator: Generator) -> Tensor:
    """The squared error between x and f(x~), over all pixels or over the hidden ones."""
    assert spec.corruption is not None
    if not spec.objective.options.masked:
        return mse_loss(model(corrupted(batch, spec, generator)).float(), batch.x)
    where = hidden(batch, spec, generator).float()
    error = (model(corrupted(batch, spec, generator)).float() - batch.x).square().mean(dim=1, keepdim=True)
    errors = (error * where).sum(dim=(1, 2, 3)) / where.sum(dim=(1, 2, 3)).clamp(min=1)
    return errors.mean()


def measure(
    model: nn.Module, images: Images, indices: np.ndarray, measurement: Measurement, device: torch.device
) -> dict[str, Any]:
    """PSNR of restored images, of corrupted images, and of restored images over masked pixels only."""
    kept: dict[str, list[np.ndarray]] = {}
    values: dict[str, list[Tensor]] = {
        name: [] for name in ("psnr", "psnr_corrupted", "psnr_gain", "psnr_masked", "error")
    }
    for batch, restored, spoiled, where in restorations(model, images, indices, measurement, device):
        clean = batch.pixels(batch.x)
        after, before = (metrics.psnr(clean, batch.pixels(x)) for x in (restored, spoiled))
        values["psnr"].append(after)
        values["psnr_corrupted"].append(before)
        values["psnr_gain"].append(after - before)
        values["error"].append((restored - batch.x).square().mean(dim=(1, 2, 3)))
        if where is not None:
            values["psnr_masked"].append(metrics.psnr(clean, batch.pixels(restored), where=where))
        pictures = {"clean": clean, "corrupted": batch.pixels(spoiled), "restored": batch.pixels(restored)}
        keep(kept, pictures, measurement.spec.keep)
    return means(values) | {name: np.concatenate(batches) for name, batches in kept.items()}


def restorations(
    model: nn.Module, images: Images, indices: np.ndarray, measurement: Measurement, device: torch.device
) -> Iterator[tuple[Batch, Tensor, Tensor, Tensor | None]]:
    """Batches, restored, corrupted, and which pixels were hidden; None for noise."""
    spec, seed = measurement.training.spec, measurement.training.seed
    assert spec.corruption is not None
    for batch in central_crops(images, indices, spec.augment, device):
        drawn = list(
            zip(alone(batch), generators(batch.index, device, seed=seed, purpose="restore"), strict=True)
        )
        where = (
            torch.cat([hidden(one, spec, generator) for one, generator in drawn])
            if spec.corruption.name in MASKS
            else None
        )
        spoiled = torch.cat([corrupted(one, spec, generator) for one, generator in drawn])
        yield batch, model(spoiled).float(), spoiled, where


OBJECTIVE = Objective(build=autoencoder, loss=loss, measure=measure)
