"""What is reported: pure functions of outputs and truth, as parts of one; percentages are the caller's."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor


def psnr(x: Tensor, y: Tensor, *, where: Tensor | None = None) -> Tensor:
    """Per image (N,), peak 255, y clipped to [0, 255]. Equal images give inf, an empty `where` gives NaN."""
    error = (x.float() - y.float().clamp(0, 255)).square()
    if where is None:
        mean = error.mean(dim=(1, 2, 3), dtype=torch.float64)
    else:
        pixels = where.sum(dim=(1, 2, 3)) * x.shape[1]
        mean = (error * where).sum(dim=(1, 2, 3), dtype=torch.float64) / pixels
    return 10 * torch.log10(255.0**2 / mean)


def accuracy(logits: Tensor, labels: Tensor, *, top: int = 1) -> float:
    """The part of the rows whose label is among their `top` largest logits."""
    return float((logits.topk(top).indices == labels[:, None]).any(dim=1).double().mean())


def _counts(scores: np.ndarray, relevant: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """From the highest distinct score down: how many are at least so high, and the relevant of them."""
    assert not np.isnan(scores).any()
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    return last + 1, np.cumsum(relevant[order])[last]


def average_precision(scores, relevant) -> float:
    """The sum over ranks of precision times the step in recall; NaN where nothing is relevant."""
    scores, relevant = np.asarray(scores, float), np.asarray(relevant, bool)
    if not relevant.any():
        return math.nan
    shown, found = _counts(scores, relevant)
    return float(np.sum(np.diff(found, prepend=0) * found / shown) / relevant.sum())


def average_precision_11(scores, relevant) -> float:
    """VOC 2007's own: the mean, over recalls 0, 0.1, …, 1, of the best precision at that recall or more."""
    scores, relevant = np.asarray(scores, float), np.asarray(relevant, bool)
    if not relevant.any():
        return math.nan
    shown, found = _counts(scores, relevant)
    precision, total = found / shown, relevant.sum()
    # In whole numbers, since 3 of 10 is not 0.1 + 0.1 + 0.1.
    return float(np.mean([precision[10 * found >= tenths * total].max() for tenths in range(11)]))


def mean_average_precision(
    scores: Tensor, relevant: Tensor, *, measure: Callable[..., float] = average_precision
) -> tuple[float, list[float]]:
    """Of (N, K) scores: the mean over the classes that occur, and each class's own."""
    columns = zip(scores.double().cpu().numpy().T, relevant.cpu().numpy().T, strict=True)
    each = [measure(score, shown) for score, shown in columns]
    occurring = [value for value in each if not math.isnan(value)]
    return (sum(occurring) / len(occurring) if occurring else math.nan), each


def confusion(predicted: Tensor, truth: Tensor, *, classes: int, void: int = 255) -> Tensor:
    """Pixels counted by (truth, predicted): int64 (K, K); void ones are left out."""
    kept = truth != void
    predicted, truth = predicted[kept].long(), truth[kept].long()
    if len(truth) and not 0 <= int(truth.min()) <= int(truth.max()) < classes:
        wrong = int(truth.max()) if int(truth.max()) >= classes else int(truth.min())
        raise ValueError(f"a mask holds class {wrong}; allowed: 0 to {classes - 1}, and {void} for void")
    return torch.bincount(truth * classes + predicted, minlength=classes**2).view(classes, classes)


def mean_iou(confusion: Tensor) -> tuple[float, list[float]]:
    """Intersection over union: the mean over classes in truth or prediction, and each (NaN: in neither)."""
    hit = confusion.diagonal().double()
    each = hit / (confusion.sum(dim=0) + confusion.sum(dim=1) - hit)
    return float(each.nanmean()), each.tolist()


def correlation(x: Tensor, y: Tensor) -> float:
    """Pearson's within each column of (N, P): the mean over those that vary on both sides, 0 if none does."""
    vary = (x != x[0]).any(dim=0) & (y != y[0]).any(dim=0)
    x, y = (each - each.mean(dim=0) for each in (x[:, vary].double(), y[:, vary].double()))
    each = (x * y).sum(dim=0) / (x.norm(dim=0) * y.norm(dim=0))
    return float(each.mean()) if len(each) else 0.0


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> tuple[float, float]:
    """Spearman's rho and its p; NaN where either side has one value only."""
    if min(len(set(a)), len(set(b))) < 2:
        return math.nan, math.nan
    from scipy.stats import spearmanr

    found = spearmanr(a, b)
    return float(found.statistic), float(found.pvalue)


def selectivity(maps: Tensor, inside: Tensor) -> Tensor:
    """(N, C) of maps (N, C, h, w): how often a place inside answers more than one outside, ties half."""
    found = []
    for answers, own in zip(maps.flatten(2), inside.flatten(1), strict=True):
        within, without = answers[:, own].contiguous(), answers[:, ~own].sort(dim=1).values
        below, up_to = (torch.searchsorted(without, within, right=right) for right in (False, True))
        found.append((below + up_to).double().mean(dim=1) / (2 * without.shape[1]))
    return torch.stack(found)


def line_through_zero(answers: dict[int, Tensor]) -> tuple[float, float]:
    """The least-squares slope of all answers over what they answer to, and the part that it explains."""
    y = torch.cat([each.double().flatten() for each in answers.values()])
    x = torch.cat([torch.full((each.numel(),), float(by)) for by, each in answers.items()]).double()
    xx, xy, yy = float(x @ x), float(x @ y), float(y @ y)
    return (xy / xx, xy**2 / (xx * yy)) if xx * yy else (0.0, 0.0)


def linear_svm_error(
    train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray], *, c: float
) -> float:
    """The part of the test rows that an SVM gets wrong; features are brought to mean 0, variance 1 first."""
    from sklearn.svm import LinearSVC

    (x, y), (x_test, y_test) = train, test
    mean, std = x.mean(axis=0), x.std(axis=0)
    std[std == 0] = 1
    machine = LinearSVC(C=c, dual=False).fit((x - mean) / std, y)
    return float(np.mean(machine.predict((x_test - mean) / std) != y_test))
