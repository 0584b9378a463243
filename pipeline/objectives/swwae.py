"""swwae: classify, and restore the image and its maps from what and where."""

from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from pipeline.config.runs import Run
from pipeline.data.batches import Batch
from pipeline.data.images import Images
from pipeline.data.manifest import Manifest
from pipeline.data.views import central_crops
from pipeline.measures import metrics
from pipeline.measures.pictures import as_pictures
from pipeline.models import swwae
from pipeline.objectives import classify
from pipeline.objectives.networks import what_where
from pipeline.objectives.objective import Objective
from pipeline.work.identity import Measurement


def build(spec: Run, manifest: Manifest) -> nn.Module:
    options = spec.objective.options
    return swwae.AutoEncoder(
        *what_where(spec, manifest, dropout=options.dropout, conv_dropout=options.conv_dropout)
    )


def loss(model: nn.Module, batch: Batch, spec: Run, generator: Generator) -> Tensor:
    """L_NLL + lambda_L2rec L_L2rec + lambda_L2M L_L2M; unlabelled images count in all terms but L_NLL."""
    assert isinstance(model, swwae.AutoEncoder)
    options, known = spec.objective.options, slice(batch.labelled)
    decoded = options.l2rec or options.l2m
    x = batch.x if decoded or options.l1 else batch.x[known]
    maps, wheres = model.encoder.maps(x)
    terms = []
    if options.nll:
        terms.append(options.nll * cross_entropy(model.head(maps[-1][known]).float(), batch.label[known]))
    if decoded:
        *between, image = [mse_loss(y.float(), x.float()) for x, y in model.decoder(maps, wheres)]
        terms += [options.l2rec * image, *(options.l2m * error for error in between)]
    if options.l1:
        terms += [options.l1 * h.float().abs().mean() for h in model.encoder.hidden(maps)]
    return torch.stack(terms).sum()


def measure(
    model: nn.Module, images: Images, indices: np.ndarray, measurement: Measurement, device: torch.device
) -> dict[str, Any]:
    """Classification errors and the PSNR of restored images, as far as the run trains for them."""
    assert isinstance(model, swwae.AutoEncoder)
    options, augment = measurement.training.spec.objective.options, measurement.training.spec.augment
    values: dict[str, Any] = {}
    if options.nll:
        values |= classify.measure(model, images, indices, measurement, device)
    if options.l2rec:
        pairs = [
            (batch.pixels(batch.x), batch.pixels(model.restored(batch.x)))
            for batch in central_crops(images, indices, augment, device)
        ]
        clean, restored = (torch.cat(batches) for batches in zip(*pairs, strict=True))
        values["psnr"] = float(metrics.psnr(clean, restored).mean())
        if keep := measurement.spec.keep:
            values |= {"image": as_pictures(clean[:keep]), "restored": as_pictures(restored[:keep])}
    return values


OBJECTIVE = Objective(build=build, loss=loss, measure=measure)
