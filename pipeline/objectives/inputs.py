"""What a network sees of a batch: corrupted, or as it is."""

from dataclasses import asdict
from typing import Any

import torch
from torch import Generator, Tensor

from pipeline.config.runs import Run
from pipeline.corruptions import CORRUPTIONS, MASKS
from pipeline.data.batches import Batch


def corrupted(batch: Batch, spec: Run, generator: Generator) -> Tensor:
    """The batch as a network sees it, spoiled on the 0-255 scale; a part of one as the whole would be."""
    assert spec.corruption is not None
    spoil, (x, mine) = CORRUPTIONS[spec.corruption.name], whole(batch)
    spoiled = spoil(x, **asdict(spec.corruption.options), generator=generator)[mine]
    if spec.corrupted < 1:
        drawn = torch.rand((len(x), 1, 1, 1), device=x.device, generator=generator)[mine]
        spoiled = torch.where(drawn < spec.corrupted, spoiled, batch.centred)
    return spoiled / batch.std


def whole(batch: Batch) -> tuple[Tensor, Any]:
    """As many images as the whole batch has, since draws go by place, and which of them are one's own."""
    if len(batch.centred) >= batch.whole:
        return batch.centred, slice(None)
    x = batch.centred.new_zeros(batch.whole, *batch.centred.shape[1:])
    x[batch.places] = batch.centred
    return x, batch.places


def hidden(batch: Batch, spec: Run, generator: Generator) -> Tensor:
    """The pixels that a corruption will hide, where it is drawn next; the generator stays where it is."""
    assert spec.corruption is not None
    mask_of, (x, mine) = MASKS[spec.corruption.name], whole(batch)
    return mask_of(x, **asdict(spec.corruption.options), generator=generator.clone_state())[mine]


def seen(batch: Batch, spec: Run, generator: Generator) -> Tensor:
    """What a supervised training learns from: images as they are, unless the run says otherwise."""
    return corrupted(batch, spec, generator) if spec.corruption else batch.x
