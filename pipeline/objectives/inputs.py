"""The input of a network: a batch, corrupted or clean."""

from dataclasses import asdict
from typing import Any

import torch
from torch import Generator, Tensor

from pipeline.config.runs import Run
from pipeline.corruptions import CORRUPTIONS, MASKS
from pipeline.data.batches import Batch


def corrupted(batch: Batch, spec: Run, generator: Generator) -> Tensor:
    """Corrupt a batch on the 0-255 scale, then normalise; a part of a batch gets the draws of the whole."""
    assert spec.corruption is not None
    spoil, (x, places) = CORRUPTIONS[spec.corruption.name], whole(batch)
    spoiled = spoil(x, **asdict(spec.corruption.options), generator=generator)[places]
    if spec.corrupted < 1:
        drawn = torch.rand((len(x), 1, 1, 1), device=x.device, generator=generator)[places]
        spoiled = torch.where(drawn < spec.corrupted, spoiled, batch.centred)
    return spoiled / batch.std


def whole(batch: Batch) -> tuple[Tensor, Any]:
    """Images in the size of the whole batch, since draws go by place; and the places of this part."""
    if len(batch.centred) >= batch.whole:
        return batch.centred, slice(None)
    x = batch.centred.new_zeros(batch.whole, *batch.centred.shape[1:])
    x[batch.places] = batch.centred
    return x, batch.places


def hidden(batch: Batch, spec: Run, generator: Generator) -> Tensor:
    """The pixels that the next corruption will hide; the state of the generator stays the same."""
    assert spec.corruption is not None
    mask_of, (x, places) = MASKS[spec.corruption.name], whole(batch)
    return mask_of(x, **asdict(spec.corruption.options), generator=generator.clone_state())[places]


def seen(batch: Batch, spec: Run, generator: Generator) -> Tensor:
    """The input of supervised training: clean images, unless the run has a corruption."""
    return corrupted(batch, spec, generator) if spec.corruption else batch.x
