"""One source of chance: a seed for every step and purpose."""

import hashlib

import torch
from torch import Generator, Tensor


def chance(*numbers: int | str) -> int:
    """A seed that follows from who is drawing, and for what."""
    return int.from_bytes(hashlib.blake2b(repr(numbers).encode(), digest_size=7).digest())


def generators(indices: Tensor, device: torch.device, *, seed: int, purpose: str) -> list[Generator]:
    """One for each image, so that what is drawn for it does not depend on what is measured beside it."""
    seeds = [chance(seed, index, purpose) for index in indices.tolist()]
    return [Generator(device).manual_seed(each) for each in seeds]
