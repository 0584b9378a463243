"""weights: how large the encoder's convolutions are."""

from typing import Any

import numpy as np
import torch

from pipeline.data.images import Images
from pipeline.measures.weights import magnitude, near_zero
from pipeline.work.identity import Measurement


def weights(
    model: Any, images: Images, indices: np.ndarray, measurement: Measurement, device: torch.device
) -> dict[str, float]:
    """The root mean square of the encoder's convolution weights, and the percentage near zero."""
    convolutions = [weight for weight in model.encoder.parameters() if weight.ndim == 4]
    return {"magnitude": magnitude(convolutions), "near_zero": 100 * near_zero(convolutions)}
