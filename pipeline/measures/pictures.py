"""Images that a measurement saves for inspection."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

SEEN = 64  # pixels, the least side of an image on a sheet


def as_pictures(pixels: Tensor) -> np.ndarray:
    return pixels.clamp(0, 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def keep(kept: dict[str, list[np.ndarray]], seen: dict[str, Tensor], keep: int) -> None:
    """Add images to `kept` until each name has `keep` of them."""
    left = keep - sum(map(len, next(iter(kept.values()), [])))
    if left > 0:
        for name, pixels in seen.items():
            kept.setdefault(name, []).append(as_pictures(pixels[:left]))


def means(values: dict[str, list[Tensor]]) -> dict[str, float]:
    return {name: float(torch.cat(batches).nanmean()) for name, batches in values.items() if batches}


def save_arrays(path: Path, kept: dict[str, np.ndarray]) -> None:
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **kept)


def save_sheet(path: Path, sheets: list[np.ndarray]) -> None:
    """Save a row of images for each array (K, H, W, C); enlarge small images."""
    from PIL import Image

    times = -(-SEEN // sheets[0].shape[1])
    rows = [np.concatenate(list(array), axis=1) for array in sheets]
    sheet = np.concatenate(rows).repeat(times, axis=0).repeat(times, axis=1)
    Image.fromarray(sheet.squeeze()).save(path, format="PNG")
