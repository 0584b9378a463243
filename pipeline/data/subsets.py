"""Which samples a run learns from: labels, folds, held-out images."""

import numpy as np

from pipeline.config.runs import Data
from pipeline.data.images import Images


def subset(images: Images, data: Data, *, seed: int) -> np.ndarray:
    """The samples of the split that a run learns from."""
    total = held_out(images, data, seed=seed)[1]
    if data.labels is None or data.labels >= len(total):
        return total
    return balanced(total, images.labels.numpy()[total], data.labels, seed=seed)


def held_out(images: Images, data: Data, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A fixed draw for validation and the rest, of the split or the seed's fold; at most half is held out."""
    total = np.arange(images.manifest.count)
    if data.fold:
        folds = images.manifest.record.get("folds")
        if not folds:
            raise ValueError(f"{images.manifest.name} has no folds in split {images.manifest.split!r}")
        total = np.array(folds[seed % len(folds)])
    order = total[np.random.default_rng(1).permutation(len(total))]
    count = min(data.holdout, len(order) // 2)
    return np.sort(order[:count]), np.sort(order[count:])


def balanced(indices: np.ndarray, labels: np.ndarray, count: int, *, seed: int) -> np.ndarray:
    """`count` samples, as many of each class as can be, drawn by the seed."""
    order = np.random.default_rng([2, seed]).permutation(len(indices))
    rank = np.empty(len(indices), int)  # of a sample within its class, in the drawn order
    for number in np.unique(labels):
        own = order[labels[order] == number]
        rank[own] = np.arange(len(own))
    return np.sort(indices[order[np.argsort(rank[order], kind="stable")][:count]])
