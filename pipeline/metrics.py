"""What is reported: pure functions of outputs and truth, as parts of one; percentages are the caller's."""

import numpy as np
import torch
from torch import Tensor


def psnr(x: Tensor, y: Tensor, *, where: Tensor | None = None) -> Tensor:
    """Per image, x and y on the 0-255 scale, y clipped to it; over the pixels `where`, if given."""
    error = (x - y.clamp(0, 255)).square().double()
    if where is None:
        mean = error.mean(dim=(1, 2, 3))
    else:
        mean = (error * where).sum(dim=(1, 2, 3)) / (where.sum(dim=(1, 2, 3)) * x.shape[1])
    return 10 * torch.log10(255.0**2 / mean)


def accuracy(logits: Tensor, labels: Tensor, *, top: int = 1) -> float:
    return float((logits.topk(top).indices == labels[:, None]).any(dim=1).double().mean())


def _curve(scores: np.ndarray, relevant: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall at every distinct score, from the highest down."""
    order = np.argsort(-scores, kind="stable")
    scores, relevant = scores[order], relevant[order]
    last = np.append(np.nonzero(np.diff(scores))[0], len(scores) - 1)
    found = np.cumsum(relevant)[last]
    return found / (last + 1), found / max(1, relevant.sum())


def average_precision(scores, relevant) -> float:
    """The sum of precision times the step in recall; NaN where nothing is relevant."""
    scores, relevant = np.asarray(scores, float), np.asarray(relevant, bool)
    if not relevant.any():
        return float("nan")
    precision, recall = _curve(scores, relevant)
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def average_precision_11(scores, relevant) -> float:
    """VOC 2007's own: the mean, over recalls 0, 0.1, …, 1, of the best precision at that recall or more."""
    scores, relevant = np.asarray(scores, float), np.asarray(relevant, bool)
    if not relevant.any():
        return float("nan")
    precision, recall = _curve(scores, relevant)
    return float(
        np.mean([precision[recall >= level - 1e-12].max(initial=0.0) for level in np.linspace(0, 1, 11)])
    )


def mean_average_precision(
    scores: Tensor, relevant: Tensor, *, measure=average_precision
) -> tuple[float, list[float]]:
    """Over the classes that occur; and each class's own."""
    each = [measure(scores[:, k].numpy(), relevant[:, k].numpy()) for k in range(scores.shape[1])]
    return float(np.nanmean(each)), each


def confusion(predicted: Tensor, truth: Tensor, *, classes: int, void: int = 255) -> Tensor:
    """Pixels counted by (truth, predicted); void ones are left out."""
    kept = truth != void
    return torch.bincount(truth[kept] * classes + predicted[kept], minlength=classes**2).view(
        classes, classes
    )


def mean_iou(confusion: Tensor) -> tuple[float, list[float]]:
    """Intersection over union, mean over the classes that occur in truth or prediction."""
    hit = confusion.diagonal().double()
    each = hit / (confusion.sum(dim=0) + confusion.sum(dim=1) - hit)
    return float(each.nanmean()), each.tolist()
