"""probe: predict the class and restore the image from each layer of a frozen encoder."""

import math

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
from pipeline.models import probe
from pipeline.objectives.networks import encoder
from pipeline.objectives.objective import Objective
from pipeline.work.identity import Measurement


def build(spec: Run, manifest: Manifest) -> probe.Probes:
    return probe.Probes(encoder(spec, manifest), classes=len(manifest.classes), side=spec.augment.crop)


def loss(model: nn.Module, batch: Batch, spec: Run, generator: Generator) -> Tensor:
    """The sum of the probes' losses: they share no trainable weights, so each trains as if alone."""
    probes = model(batch.x)
    losses = [
        cross_entropy(logits.float(), batch.label) + mse_loss(y.float(), batch.x) for logits, y in probes
    ]
    return torch.stack(losses).sum()


def measure(
    model: nn.Module, images: Images, indices: np.ndarray, measurement: Measurement, device: torch.device
) -> dict[str, float]:
    """Accuracy and PSNR of each layer, and their trends with depth: Spearman's rho, above 0 if rising."""
    hits: list[list[Tensor]] = []
    psnrs: list[list[Tensor]] = []
    for batch in central_crops(images, indices, measurement.training.spec.augment, device):
        probes, clean = model(batch.x), batch.pixels(batch.x)
        hits.append([(logits.argmax(dim=1) == batch.label).float() for logits, _ in probes])
        psnrs.append([metrics.psnr(clean, batch.pixels(y)) for _, y in probes])
    results: dict[str, float] = {}
    for name, values, unit in (("accuracy", hits, 100.0), ("psnr", psnrs, 1.0)):
        layers = [unit * float(torch.cat(batches).mean()) for batches in zip(*values, strict=True)]
        results |= {f"{name}_{layer}": value for layer, value in enumerate(layers, start=1)}
        rho, _ = metrics.rank_correlation(range(len(layers)), layers)
        results[f"{name}_trend"] = 0.0 if math.isnan(rho) else rho
    return results


OBJECTIVE = Objective(build=build, loss=loss, measure=measure)
