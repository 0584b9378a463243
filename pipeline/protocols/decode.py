"""decode, tones: images that a decoding pathway restores, and their contrast and saturation."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.compute.seeds import generators
from pipeline.data.images import Images
from pipeline.data.views import central_crops
from pipeline.measures import metrics
from pipeline.measures import tones as measure
from pipeline.measures.pictures import keep, means
from pipeline.models import zhang
from pipeline.objectives.augment import restoration
from pipeline.work.identity import Measurement


def decode(
    model: nn.Module, images: Images, indices: np.ndarray, measurement: Measurement, device: torch.device
) -> dict[str, Any]:
    """PSNR of the restored images, and the mean squared error of every map."""
    values: dict[str, list[Tensor]] = {}
    kept: dict[str, list[np.ndarray]] = {}
    for clean, image, errors in _restored(model, images, indices, measurement, device):
        values.setdefault("psnr", []).append(metrics.psnr(clean, image))
        for level, error in enumerate(errors):
            values.setdefault(f"error_{level}", []).append(error.flatten(1).square().mean(dim=1))
        keep(kept, {"clean": clean, "restored": image}, measurement.spec.keep)
    return means(values) | {name: np.concatenate(batches) for name, batches in kept.items()}


def tones(
    model: nn.Module, images: Images, indices: np.ndarray, measurement: Measurement, device: torch.device
) -> dict[str, float]:
    """In percent: the share of the error that is contrast and saturation, and how much of them is kept."""
    values: dict[str, list[Tensor]] = {"tone_share": [], "tone_kept": []}
    for clean, image, _ in _restored(model, images, indices, measurement, device):
        for name, value in zip(values, measure.tones(clean, image), strict=True):
            values[name].append(100 * value)
    return means(values)


def _restored(
    model: nn.Module, images: Images, indices: np.ndarray, measurement: Measurement, device: torch.device
) -> Iterator[tuple[Tensor, Tensor, list[Tensor]]]:
    """Batches of clean and of restored pixels, and the error of every map."""
    assert isinstance(model, zhang.Augmented)
    training = measurement.training
    for batch in central_crops(images, indices, training.spec.augment, device):
        restored, errors, _ = restoration(
            model, batch, *generators(batch.index, device, seed=training.seed, purpose="decode")
        )
        yield batch.pixels(batch.x), batch.pixels(restored[0]), errors
