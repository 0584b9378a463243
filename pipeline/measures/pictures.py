"""Images that a measurement keeps to be looked at."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

SEEN = 64  # the least side of a picture that is to be looked at


def as_pictures(pixels: Tensor) -> np.ndarray:
    return pixels.clamp(0, 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def keep(kept: dict[str, list[np.ndarray]], seen: dict[str, Tensor], keep: int) -> None:
    """Add these images until there are as many as are kept."""
    left = keep - sum(map(len, next(iter(kept.values()), [])))
    if left > 0:
        for name, pixels in seen.items():
            kept.setdefault(name, []).append(as_pictures(pixels[:left]))


def means(found: dict[str, list[Tensor]]) -> dict[str, float]:
    return {name: float(torch.cat(each).nanmean()) for name, each in found.items() if each}


def save_arrays(path: Path, kept: dict[str, np.ndarray]) -> None:
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **kept)


def save_sheet(path: Path, sheets: list[np.ndarray]) -> None:
    """A row of images for each array (K, H, W, C), in their order; small ones large enough to be seen."""
    from PIL import Image

    times = -(-SEEN // sheets[0].shape[1])
    rows = [np.concatenate(list(array), axis=1) for array in sheets]
    sheet = np.concatenate(rows).repeat(times, axis=0).repeat(times, axis=1)
    Image.fromarray(sheet.squeeze()).save(path, format="PNG")
