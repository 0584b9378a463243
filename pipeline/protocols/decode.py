"""decode: images that a decoding pathway restores."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.compute.seeds import generators
from pipeline.data.images import Images
from pipeline.data.views import central_crops
from pipeline.measures import metrics
from pipeline.measures.pictures import keep, means
from pipeline.models import zhang
from pipeline.objectives.augment import restoration
from pipeline.work.identity import Measurement


def decode(
    model: nn.Module, images: Images, indices: np.ndarray, measurement: Measurement, device: torch.device
) -> dict[str, Any]:
    """PSNR of the restored images, and the mean squared error of every map."""
    assert isinstance(model, zhang.Augmented)
    training = measurement.training
    values: dict[str, list[Tensor]] = {}
    kept: dict[str, list[np.ndarray]] = {}
    for batch in central_crops(images, indices, training.spec.augment, device):
        restored, errors, _ = restoration(
            model, batch, *generators(batch.index, device, seed=training.seed, purpose="decode")
        )
        clean, image = batch.pixels(batch.x), batch.pixels(restored[0])
        values.setdefault("psnr", []).append(metrics.psnr(clean, image))
        for level, error in enumerate(errors):
            values.setdefault(f"error_{level}", []).append(error.flatten(1).square().mean(dim=1))
        keep(kept, {"clean": clean, "restored": image}, measurement.spec.keep)
    return means(values) | {name: np.concatenate(batches) for name, batches in kept.items()}
