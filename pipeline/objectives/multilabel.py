"""multilabel: several classes per image."""

from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from pipeline.config.runs import Run
from pipeline.data.batches import Batch
from pipeline.data.images import Images
from pipeline.measures import metrics
from pipeline.objectives.classify import build, outputs
from pipeline.objectives.inputs import seen
from pipeline.objectives.objective import Objective
from pipeline.work.identity import Measurement


def loss(model: nn.Module, batch: Batch, spec: Run, generator: Generator) -> Tensor:
    """A logistic loss for each class, since an image may show several."""
    return binary_cross_entropy_with_logits(model(seen(batch, spec, generator)).float(), batch.label.float())


def measure(
    model: nn.Module, images: Images, indices: np.ndarray, measurement: Measurement, device: torch.device
) -> dict[str, Any]:
    """Mean average precision by the step sum, by VOC 2007's eleven points, and of random scores."""
    logits, labels = outputs(model, images, indices, measurement, device)
    mean, by_class = metrics.mean_average_precision(logits, labels)
    eleven, _ = metrics.mean_average_precision(logits, labels, measure=metrics.average_precision_11)
    return groups(by_class) | {
        "map": 100 * mean,
        "map_11": 100 * eleven,
        "chance": 100 * float(labels.float().mean(dim=0).mean()),
        **{f"ap_{name}": 100 * value for name, value in zip(images.manifest.classes, by_class, strict=True)},
    }


# The coarse classes of dong2016's Table 8, by their place in PASCAL VOC's alphabetical list of 20.
GROUPS = {"animal": (2, 7, 9, 11, 12, 16), "vehicle": (0, 1, 3, 5, 6, 13, 18)}


def groups(values: list[float]) -> dict[str, float]:
    """Mean average precision of the animals and of the vehicles, where the classes are PASCAL VOC's."""
    if len(values) != 20:
        return {}
    return {
        f"map_{name}": 100 * float(np.nanmean([values[k] for k in members]))
        for name, members in GROUPS.items()
    }


OBJECTIVE = Objective(build=build, loss=loss, measure=measure)
