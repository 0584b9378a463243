"""Statistics over seeds (docs/statistics.md); scipy is imported where it is used, to keep starts fast."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

ALPHA = 0.05  # the chance of a false verdict among all claims of a paper


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A mean difference over seeds; the error is NaN if any sample has a single value."""

    difference: float
    error: float
    freedom: float

    def p(self, sign: int = 1) -> float:
        """One-sided p by Student's t for a difference above 0; with sign -1, below 0."""
        if math.isnan(self.error):
            return 1.0
        if self.error == 0:  # no spread, so t is undefined
            return float(sign * self.difference <= 0)
        from scipy.special import stdtr

        return float(stdtr(self.freedom, -sign * self.difference / self.error))

    def interval(self, below: float, above: float) -> tuple[float, float]:
        """Ends with the probabilities (below 0.5) that the true difference lies below and above them."""
        if self.error == 0:
            return self.difference, self.difference
        from scipy.special import stdtrit

        low, high = (float(stdtrit(self.freedom, 1 - chance)) * self.error for chance in (below, above))
        return self.difference - low, self.difference + high


def unpaired(*samples: Sequence[float]) -> Comparison:
    """Sum the samples' means, by Welch's t; pass subtracted samples negated."""
    difference = sum(statistics.fmean(sample) for sample in samples)
    if min(len(sample) for sample in samples) < 2:
        return Comparison(difference=difference, error=math.nan, freedom=math.nan)
    parts = [statistics.variance(sample) / len(sample) for sample in samples]
    spread = sum(part**2 / (len(sample) - 1) for part, sample in zip(parts, samples, strict=True))
    return Comparison(
        difference=difference,
        error=math.sqrt(sum(parts)),
        freedom=sum(parts) ** 2 / spread if spread else math.nan,
    )


def paired(*samples: Sequence[float]) -> Comparison:
    """Sum the samples seed by seed and average, by Student's t."""
    return unpaired([sum(values) for values in zip(*samples, strict=True)])


def band(values: Sequence[float]) -> tuple[float, float]:
    """Prediction interval of one more value at 1 - ALPHA, for normal values."""
    from scipy.special import stdtrit

    n = len(values)
    reach = float(stdtrit(n - 1, 1 - ALPHA / 2)) * statistics.stdev(values) * math.sqrt(1 + 1 / n)
    return statistics.fmean(values) - reach, statistics.fmean(values) + reach


def deviations(values: Sequence[float]) -> list[float]:
    """How far each value lies from their median, for a comparison of spreads (Brown and Forsythe)."""
    median = statistics.median(values)
    return [abs(value - median) for value in values]


def holm(p: Sequence[float]) -> list[float]:
    """Holm's levels: for each p in ascending order, ALPHA over the number of p not yet rejected."""
    levels, left = [0.0] * len(p), len(p)
    for place in sorted(range(len(p)), key=p.__getitem__):
        levels[place] = ALPHA / left
        left -= p[place] <= levels[place]
    return levels


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """A difference that a claim says is above 0: a sum of sample means, subtracted samples negated."""

    says: str
    samples: tuple[list[float], ...]
    given: "Contrast | None" = None  # a premise: p is at least this one's p

    def made(self, *, pairs: bool) -> Comparison:
        return (paired if pairs else unpaired)(*self.samples)

    def p(self, sign: int, *, pairs: bool) -> float:
        p = self.made(pairs=pairs).p(sign)
        return max(p, self.given.p(1, pairs=False)) if self.given else p


@dataclass(kw_only=True)
class Decision:
    """A claim is confirmed if all its contrasts are above 0, and refuted if any is below.

    With `either` it is confirmed if any is above, and refuted if all are below.
    """

    contrasts: list[Contrast]
    pairs: bool
    either: bool = False

    @cached_property
    def confirming(self) -> float:
        return self._any(1) if self.either else self._all(1)

    @cached_property
    def refuting(self) -> float:
        return self._all(-1) if self.either else self._any(-1)

    def _all(self, sign: int) -> float:
        """One-sided p of an intersection-union test: every contrast is tested at the whole level."""
        return max(contrast.p(sign, pairs=self.pairs) for contrast in self.contrasts)

    def _any(self, sign: int) -> float:
        """One-sided p by Bonferroni over the contrasts."""
        return len(self.contrasts) * min(contrast.p(sign, pairs=self.pairs) for contrast in self.contrasts)

    @property
    def p(self) -> float:
        """Two-sided."""
        return min(1.0, 2 * min(self.confirming, self.refuting))

    def verdict(self, level: float) -> str:
        if self.p > level:
            return "undecided"
        return "confirmed" if self.confirming < self.refuting else "refuted"

    def deciding(self, level: float) -> Contrast:
        """The contrast that decides the verdict: the one least above 0; with `either`, the one most above."""
        sign = -1 if self.refuting < self.confirming else 1

        def hardest(contrast: Contrast) -> tuple[float, float]:
            return sign * contrast.p(sign, pairs=self.pairs), -contrast.made(pairs=False).difference

        decides = (min if self.either else max)(self.contrasts, key=hardest)
        shared = level / 2 / len(self.contrasts)
        if decides.given and self.p > level and decides.given.p(1, pairs=False) > shared:
            return decides.given
        return decides

    def interval(self, made: Comparison, level: float) -> tuple[float, float]:
        """An interval that excludes 0 exactly where the contrast confirms (above) or refutes (below)."""
        whole, shared = level / 2, level / 2 / len(self.contrasts)
        return made.interval(shared, whole) if self.either else made.interval(whole, shared)


def half_width(sd: float, n: int) -> float:
    """Half the width of a 95 % confidence interval of a mean of n values, by Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(n - 1, 1 - ALPHA / 2)) * sd / math.sqrt(n)
