"""shift: how what and where follow translations of the image."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.config.layer_notation import Pool
from pipeline.data.batches import Batch
from pipeline.data.images import Images
from pipeline.data.views import central_crops
from pipeline.measures import metrics
from pipeline.measures.pictures import as_pictures
from pipeline.models import swwae
from pipeline.work.identity import Measurement

AXES = {"horizontal": 0, "vertical": 1}  # of `where`: x, then y


def shift(
    model: nn.Module, images: Images, indices: np.ndarray, measurement: Measurement, device: torch.device
) -> dict[str, Any]:
    """How the last pooling's `what` and `where` (in image pixels) follow translations of the image."""
    assert isinstance(model, swwae.AutoEncoder)
    protocol, augment = measurement.spec, measurement.training.spec.augment
    assert protocol.measure is not None
    most = protocol.measure.options.pixels
    *below, last = (layer.size for layer in model.encoder.layers if isinstance(layer, Pool))
    unit = math.prod(below) * (last - 1) / 2  # pixels per unit of `where`, which goes from -1 to 1
    place = max(i for i, layer in enumerate(model.encoder.layers, start=1) if isinstance(layer, Pool))
    whats: dict[tuple[str, int], list[Tensor]] = {}
    wheres: dict[tuple[str, int], list[Tensor]] = {}
    pictures: dict[str, Tensor] = {}
    for number, batch in enumerate(central_crops(images, indices, augment, device)):
        for direction, axis in AXES.items():
            for by in range(-most, most + 1):
                x = moved(batch, **{direction: by})
                maps, places = model.encoder.maps(x)
                at = places[-1]
                if at.ndim == 2:  # switches of hard pooling
                    at = swwae.places_of(at, last, below=maps[place - 1], above=maps[place])
                whats.setdefault((direction, by), []).append(maps[place].float().flatten(1).cpu())
                pixels = unit * at.float().flatten(1, 3).cpu()
                wheres.setdefault((direction, by), []).append(pixels)
                if number == 0 and axis == 0 and by in (-most, 0, most):
                    name = f"moved by {by:+}" if by else "restored"
                    pictures[name] = batch.pixels(model.decoder(maps, places)[-1][1])
        if number == 0:
            pictures["image"] = batch.pixels(batch.x)
    what, where = ({name: torch.cat(batches) for name, batches in part.items()} for part in (whats, wheres))
    results: dict[str, Any] = {name: as_pictures(x[: protocol.keep]) for name, x in pictures.items()}
    still = what["horizontal", 0]
    plane = int(still.std(dim=0).argmax())  # for the figure: the value that varies most
    for direction, axis in AXES.items():
        ends = torch.cat([what[direction, -most], what[direction, most]])
        results[f"what_correlation_{direction}"] = metrics.correlation(torch.cat([still, still]), ends)
        answers = {
            by: (where[direction, by] - where[direction, 0])[still > 0] for by in range(-most, most + 1)
        }
        for name, coordinate in (("along", axis), ("across", 1 - axis)):
            slope, fit = metrics.line_through_zero({by: x[:, coordinate] for by, x in answers.items()})
            results |= {f"where_slope_{name}_{direction}": slope, f"where_fit_{name}_{direction}": fit}
        for by in (-most, 0, most):
            results[f"what {direction} {by:+}"] = what[direction, by][:, plane].numpy()
            results[f"where {direction} {by:+}"] = where[direction, by][:, plane].numpy()
    return results


def moved(batch: Batch, *, horizontal: int = 0, vertical: int = 0) -> Tensor:
    """Move normalised images right and down by so many pixels; edge pixels are repeated."""
    rows, columns = (
        (torch.arange(side, device=batch.x.device) - by).clamp(0, side - 1)
        for side, by in zip(batch.x.shape[-2:], (vertical, horizontal), strict=True)
    )
    return batch.x[..., rows, :][..., columns]
