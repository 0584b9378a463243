"""One source of chance: a seed for every step and purpose."""

import hashlib

import torch
from torch import Generator, Tensor


def seed_from(*numbers: int | str) -> int:
    """Hash a run's seed, a step or image, and a purpose to one seed."""
    return int.from_bytes(hashlib.blake2b(repr(numbers).encode(), digest_size=7).digest())


def generators(indices: Tensor, device: torch.device, *, seed: int, purpose: str) -> list[Generator]:
    """One generator per image, so that its draws do not depend on the other images of its batch."""
    seeds = [seed_from(seed, index, purpose) for index in indices.tolist()]
    return [Generator(device).manual_seed(image_seed) for image_seed in seeds]
