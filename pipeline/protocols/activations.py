"""activations: a layer's most selective map, on clean and on occluded images."""

from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.config.runs import Augment
from pipeline.data.crops import central_boxes
from pipeline.data.images import Images
from pipeline.data.views import central_crops
from pipeline.datasets import voc
from pipeline.measures import metrics
from pipeline.measures.pictures import as_pictures
from pipeline.work.identity import Measurement


def activations(
    model: Any, images: Images, indices: np.ndarray, measurement: Measurement, device: torch.device
) -> dict[str, Any]:
    """Find the layer's map that is most selective for some objects; compare its activations on clean images,
    on images occluded in the middle, and on different images.

    The map is chosen on every other picture that shows such an object, and measured on the rest.
    """
    spec, protocol = measurement.training.spec, measurement.spec
    assert protocol.measure is not None
    layer, objects = protocol.measure.options.layer - 1, protocol.measure.options.objects
    numbers = {voc.CLASSES.index(name) for name in objects}  # or procedural classes of these numbers
    shows = [index for index in indices if numbers & {number for number, *_ in images.objects[index]}]
    apart: list[int] = []  # pictures with positions of the map both inside and outside the boxes
    scores: list[Tensor] = []
    for batch in central_crops(images, np.array(shows, int), spec.augment, device):
        maps = model.encoder.activated(batch.x)[layer].float()
        pixels = inside(images, batch.index.numpy(), spec.augment, numbers).float()
        places = nn.functional.adaptive_avg_pool2d(pixels, maps.shape[2:]).to(device) > 0.5
        both = (places.any(dim=2).any(dim=1) & (~places).any(dim=2).any(dim=1)).cpu()
        apart += batch.index[both].tolist()
        scores += metrics.selectivity(maps[both], places[both])
    if len(apart) < 2:
        raise ValueError(
            f"{measurement.name}: {len(apart)} of {len(indices)} images show {' or '.join(objects)} "
            "with room beside it; at least 2 are needed: raise the scale's test_images"
        )
    selectivity = torch.stack(scores)
    channel = int(selectivity[::2].mean(dim=0).argmax())
    kept = []
    middle = slice(round(spec.augment.crop * 0.4), round(spec.augment.crop * 0.6))
    for batch in central_crops(images, np.array(apart[1::2]), spec.augment, device):
        occluded = batch.centred.clone()
        occluded[:, :, middle, middle] = 0
        kept.append(
            [
                values.float().cpu()
                for x in (batch.x, occluded / batch.std)
                for values in (batch.pixels(x), model.encoder.activated(x)[layer][:, channel])
            ]
        )
    clean, maps, spoiled, spoiled_maps = (torch.cat(batches) for batches in zip(*kept, strict=True))
    one, two = maps.flatten(1), spoiled_maps.flatten(1)
    alike, other = (float(nn.functional.cosine_similarity(one, x).mean()) for x in (two, one.roll(1, dims=0)))
    pictures = {"image": clean, "occluded": spoiled}
    shown = {"map": maps, "occluded map": spoiled_maps}
    return {
        "selectivity": 100 * float(selectivity[1::2, channel].mean()),
        "pictures": len(clean),
        "occlusion_similarity": alike,
        "other_image_similarity": other,
        "occlusion_gap": alike - other,
        **{name: as_pictures(pixels[: protocol.keep]) for name, pixels in pictures.items()},
        **{name: values[: protocol.keep].numpy() for name, values in shown.items()},
    }


def inside(images: Images, indices: np.ndarray, augment: Augment, numbers: Collection[int]) -> Tensor:
    """Masks (N, size, size) of the central crops' pixels in boxes of these classes."""
    boxes = central_boxes(len(indices), augment)
    height, width = np.array([window.shapes[i] for window, i in map(images.place, indices.tolist())]).T
    rows = (boxes.lines(height, boxes.top) + 0.5) / height[:, None]
    columns = (boxes.lines(width, boxes.left) + 0.5) / width[:, None]
    masks = np.zeros((len(indices), augment.crop, augment.crop), bool)
    for index, mask, y, x in zip(indices, masks, rows, columns, strict=True):
        for number, left, top, right, bottom in images.objects[index]:
            if number in numbers:
                mask |= ((top < y) & (y < bottom))[:, None] & ((left < x) & (x < right))
    return torch.from_numpy(masks)
