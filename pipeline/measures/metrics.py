"""Metrics: pure functions of outputs and truth. Shares are fractions; callers convert them to percent."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor


def psnr(x: Tensor, y: Tensor, *, where: Tensor | None = None) -> Tensor:
    """PSNR of each image (N,), peak 255, y clipped to [0, 255]; inf if equal, NaN if `where` is empty."""
    error = (x.float() - y.float().clamp(0, 255)).square()
    if where is None:
        mean = error.mean(dim=(1, 2, 3), dtype=torch.float64)
    else:
        pixels = where.sum(dim=(1, 2, 3)) * x.shape[1]
        mean = (error * where).sum(dim=(1, 2, 3), dtype=torch.float64) / pixels
    return 10 * torch.log10(255.0**2 / mean)


def accuracy(logits: Tensor, labels: Tensor, *, top: int = 1) -> float:
    """The fraction of rows whose label is among their `top` largest logits."""
    return float((logits.topk(top).indices == labels[:, None]).any(dim=1).double().mean())


def _counts(scores: np.ndarray, relevant: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each distinct score, highest first: the number of rows that score as high, and of relevant ones."""
    assert not np.isnan(scores).any()
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    return last + 1, np.cumsum(relevant[order])[last]


def average_precision(scores, relevant) -> float:
    """The sum over ranks of precision times the step in recall; NaN if nothing is relevant."""
    scores, relevant = np.asarray(scores, float), np.asarray(relevant, bool)
    if not relevant.any():
        return math.nan
    retrieved, hits = _counts(scores, relevant)
    return float(np.sum(np.diff(hits, prepend=0) * hits / retrieved) / relevant.sum())


def average_precision_11(scores, relevant) -> float:
    """VOC 2007's definition: the mean over recalls 0, 0.1, …, 1 of the best precision at or above each."""
    scores, relevant = np.asarray(scores, float), np.asarray(relevant, bool)
    if not relevant.any():
        return math.nan
    retrieved, hits = _counts(scores, relevant)
    precision, total = hits / retrieved, relevant.sum()
    # In integers, since 0.1 + 0.1 + 0.1 is not 3 / 10 in floating point.
    return float(np.mean([precision[10 * hits >= tenths * total].max() for tenths in range(11)]))


def mean_average_precision(
    scores: Tensor, relevant: Tensor, *, measure: Callable[..., float] = average_precision
) -> tuple[float, list[float]]:
    """From (N, K) scores: the mean over the classes that occur, and the value of every class."""
    columns = zip(scores.double().cpu().numpy().T, relevant.cpu().numpy().T, strict=True)
    by_class = [measure(score, truth) for score, truth in columns]
    occurring = [value for value in by_class if not math.isnan(value)]
    return (sum(occurring) / len(occurring) if occurring else math.nan), by_class


def confusion(predicted: Tensor, truth: Tensor, *, classes: int, void: int = 255) -> Tensor:
    """Count pixels by (truth, predicted), without void ones: int64 (K, K)."""
    kept = truth != void
    predicted, truth = predicted[kept].long(), truth[kept].long()
    if len(truth) and not 0 <= int(truth.min()) <= int(truth.max()) < classes:
        wrong = int(truth.max()) if int(truth.max()) >= classes else int(truth.min())
        raise ValueError(f"a mask holds class {wrong}; allowed: 0 to {classes - 1}, and {void} for void")
    return torch.bincount(truth * classes + predicted, minlength=classes**2).view(classes, classes)


def mean_iou(confusion: Tensor) -> tuple[float, list[float]]:
    """Intersection over union: the mean over classes, and every class (NaN: not in truth or prediction)."""
    hit = confusion.diagonal().double()
    by_class = hit / (confusion.sum(dim=0) + confusion.sum(dim=1) - hit)
    return float(by_class.nanmean()), by_class.tolist()


def correlation(x: Tensor, y: Tensor) -> float:
    """Pearson's r of each column of (N, P): the mean over columns that vary in x and y, 0 if none does."""
    vary = (x != x[0]).any(dim=0) & (y != y[0]).any(dim=0)
    x, y = (side - side.mean(dim=0) for side in (x[:, vary].double(), y[:, vary].double()))
    r = (x * y).sum(dim=0) / (x.norm(dim=0) * y.norm(dim=0))
    return float(r.mean()) if len(r) else 0.0


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> tuple[float, float]:
    """Spearman's rho and its p-value; NaN if a or b is constant."""
    if min(len(set(a)), len(set(b))) < 2:
        return math.nan, math.nan
    from scipy.stats import spearmanr

    spearman = spearmanr(a, b)
    return float(spearman.statistic), float(spearman.pvalue)


def selectivity(maps: Tensor, inside: Tensor) -> Tensor:
    """(N, C, h, w) -> (N, C): how often an activation inside exceeds one outside; ties count half."""
    shares = []
    for values, mask in zip(maps.flatten(2), inside.flatten(1), strict=True):
        within, without = values[:, mask].contiguous(), values[:, ~mask].sort(dim=1).values
        below, up_to = (torch.searchsorted(without, within, right=right) for right in (False, True))
        shares.append((below + up_to).double().mean(dim=1) / (2 * without.shape[1]))
    return torch.stack(shares)


def line_through_zero(answers: dict[int, Tensor]) -> tuple[float, float]:
    """Fit answer = slope * key by least squares: the slope, and the fraction of squares that it explains."""
    y = torch.cat([values.double().flatten() for values in answers.values()])
    x = torch.cat([torch.full((values.numel(),), float(by)) for by, values in answers.items()]).double()
    xx, xy, yy = float(x @ x), float(x @ y), float(y @ y)
    return (xy / xx, xy**2 / (xx * yy)) if xx * yy else (0.0, 0.0)


def linear_svm_error(
    train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray], *, c: float
) -> float:
    """The fraction of test rows that an SVM misclassifies; features are standardised by the training rows."""
    from sklearn.svm import LinearSVC

    (x, y), (x_test, y_test) = train, test
    mean, std = x.mean(axis=0), x.std(axis=0)
    std[std == 0] = 1
    machine = LinearSVC(C=c, dual=False).fit((x - mean) / std, y)
    return float(np.mean(machine.predict((x_test - mean) / std) != y_test))
