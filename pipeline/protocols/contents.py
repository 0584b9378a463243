"""contents: how an image is restored inside the boxes of some objects, and outside."""

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.data.images import Images
from pipeline.datasets import voc
from pipeline.measures import metrics
from pipeline.measures.pictures import means
from pipeline.objectives.denoise import restorations
from pipeline.protocols.activations import inside
from pipeline.work.identity import Measurement


def contents(
    model: nn.Module, images: Images, indices: np.ndarray, measurement: Measurement, device: torch.device
) -> dict[str, float]:
    """PSNR inside and outside the boxes, over hidden pixels where the corruption hides some, and their gap.

    An image counts if it has such pixels on both sides.
    """
    spec, protocol = measurement.training.spec, measurement.spec
    assert protocol.measure is not None
    objects = protocol.measure.options.objects
    numbers = {voc.CLASSES.index(name) for name in objects}
    shows = [index for index in indices if numbers & {number for number, *_ in images.objects[index]}]
    values: dict[str, list[Tensor]] = {name: [] for name in ("psnr_inside", "psnr_outside", "psnr_gap")}
    for batch, restored, _, hidden in restorations(model, images, np.array(shows, int), measurement, device):
        boxes = inside(images, batch.index.numpy(), spec.augment, numbers)[:, None].to(device)
        counted = torch.ones_like(boxes) if hidden is None else hidden
        clean, image = batch.pixels(batch.x), batch.pixels(restored)
        within, without = (metrics.psnr(clean, image, where=side & counted) for side in (boxes, ~boxes))
        both = ~(within.isnan() | without.isnan())
        for name, value in zip(values, (within, without, without - within), strict=True):
            values[name].append(value[both])
    pictures = sum(map(len, values["psnr_gap"]))
    if not pictures:
        raise ValueError(
            f"{measurement.name}: none of {len(indices)} images show {' or '.join(objects)} with restored "
            "pixels inside and outside; raise the scale's test_images"
        )
    return means(values) | {"pictures": pictures}
