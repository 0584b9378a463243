"""svm: a linear classifier on the top activations."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from pipeline.data.images import Images, images_of
from pipeline.data.subsets import subset
from pipeline.data.views import central_crops
from pipeline.measures import metrics
from pipeline.work.identity import Measurement


def svm(
    model: Any, images: Images, indices: np.ndarray, measurement: Measurement, device: torch.device
) -> dict[str, float]:
    """The test error of a linear SVM on the encoder's top activations, fitted to training images only."""
    training, protocol = measurement.training, measurement.spec
    assert protocol.measure is not None
    data, options = training.spec.data, protocol.measure.options
    training_images = images_of(training, stream_above_gb=images.stream_above_gb)
    drawn = subset(training_images, replace(data, labels=options.labels), seed=training.seed)

    def activations(images: Images, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        batches = central_crops(images, indices, training.spec.augment, device)
        codes = torch.cat([model.encoder(batch.x).flatten(1).float().cpu() for batch in batches])
        return codes.numpy(), images.labels.numpy()[indices]

    error = metrics.linear_svm_error(
        activations(training_images, drawn), activations(images, indices), c=options.c
    )
    return {"error": 100 * error}
