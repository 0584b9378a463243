"""Comparisons over seeds: a difference with its interval, a correlation; importing this is cheap."""

import math
from collections.abc import Sequence

import numpy as np


def welch(a: Sequence[float], b: Sequence[float]) -> tuple[float, float, float, float]:
    """Difference of the means a - b, the ends of its 95 % interval, and p, by Welch's t; NaN where n is 1."""
    difference = float(np.mean(a) - np.mean(b))
    if min(len(a), len(b)) < 2:
        return difference, math.nan, math.nan, math.nan
    if len(set(a)) == len(set(b)) == 1:  # no spread at all: the interval is a point, and there is no t
        return difference, difference, difference, math.nan
    from scipy.stats import ttest_ind

    test = ttest_ind(a, b, equal_var=False)
    low, high = test.confidence_interval(0.95)
    return difference, float(low), float(high), float(test.pvalue)


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> tuple[float, float]:
    """Spearman's rho and its p; NaN where either side has one value only."""
    if min(len(set(a)), len(set(b))) < 2:
        return math.nan, math.nan
    from scipy.stats import spearmanr

    found = spearmanr(a, b)
    return float(found.statistic), float(found.pvalue)


def half_width(sd: float, n: int) -> float:
    """From a mean of n values to either end of its 95 % interval, by Student's t."""
    from scipy.stats import t

    return float(t.ppf(0.975, n - 1)) * sd / math.sqrt(n)
