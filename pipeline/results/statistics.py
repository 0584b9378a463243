"""Statistics over seeds, as docs/statistics.md says; importing this is cheap."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

ALPHA = 0.05  # the chance of a false verdict among all claims of a paper


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A difference over seeds; its error is NaN where one of its samples has one value only."""

    difference: float
    error: float
    freedom: float

    def p(self, sign: int = 1) -> float:
        """One-sided, by Student's t: against no difference above 0; with sign -1 below 0."""
        if math.isnan(self.error):
            return 1.0
        if self.error == 0:  # no spread at all: there is no t
            return float(sign * self.difference <= 0)
        from scipy.special import stdtr

        return float(stdtr(self.freedom, -sign * self.difference / self.error))

    def interval(self, below: float, above: float) -> tuple[float, float]:
        """Its ends, which the true difference lies below and above with these chances; below 0.5 each."""
        if self.error == 0:
            return self.difference, self.difference
        from scipy.special import stdtrit

        low, high = (float(stdtrit(self.freedom, 1 - chance)) * self.error for chance in (below, above))
        return self.difference - low, self.difference + high


def unpaired(*samples: Sequence[float]) -> Comparison:
    """The sum of the samples' means, by Welch's t; a sample that is subtracted comes negated."""
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
    """The same seed by seed: the mean of the sums, by Student's t."""
    return unpaired([sum(values) for values in zip(*samples, strict=True)])


def band(values: Sequence[float]) -> tuple[float, float]:
    """Where one more value is expected with a chance of 1 - ALPHA, if all are normal."""
    from scipy.special import stdtrit

    n = len(values)
    reach = float(stdtrit(n - 1, 1 - ALPHA / 2)) * statistics.stdev(values) * math.sqrt(1 + 1 / n)
    return statistics.fmean(values) - reach, statistics.fmean(values) + reach


def deviations(values: Sequence[float]) -> list[float]:
    """How far each value lies from their median, for a comparison of spreads (Brown and Forsythe)."""
    median = statistics.median(values)
    return [abs(value - median) for value in values]


def holm(p: Sequence[float]) -> list[float]:
    """The level that each p is held to: ALPHA over the number of those that are not rejected before it."""
    levels, left = [0.0] * len(p), len(p)
    for place in sorted(range(len(p)), key=p.__getitem__):
        levels[place] = ALPHA / left
        left -= p[place] <= levels[place]
    return levels


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """A difference that a claim wants above 0: the sum of its samples' means, subtracted ones negated."""

    says: str
    samples: tuple[list[float], ...]
    given: "Contrast | None" = None  # it counts as far as this one is above 0

    def made(self, *, pairs: bool) -> Comparison:
        return (paired if pairs else unpaired)(*self.samples)

    def p(self, sign: int, *, pairs: bool) -> float:
        own = self.made(pairs=pairs).p(sign)
        return max(own, self.given.p(1, pairs=False)) if self.given else own


@dataclass(kw_only=True)
class Decision:
    """All of a claim's contrasts have to lie above 0; any one below 0 refutes it."""

    contrasts: list[Contrast]
    pairs: bool

    @cached_property
    def confirming(self) -> float:
        """One-sided p, by intersection and union: each contrast has the whole level."""
        return max(each.p(1, pairs=self.pairs) for each in self.contrasts)

    @cached_property
    def refuting(self) -> float:
        """One-sided p, by Bonferroni: the contrasts share the level."""
        return len(self.contrasts) * min(each.p(-1, pairs=self.pairs) for each in self.contrasts)

    @property
    def p(self) -> float:
        """Two-sided."""
        return min(1.0, 2 * min(self.confirming, self.refuting))

    def verdict(self, level: float) -> str:
        if self.p > level:
            return "undecided"
        return "confirmed" if self.confirming < self.refuting else "refuted"

    def deciding(self, level: float) -> Contrast:
        """The contrast that the verdict hangs on: the one that is least above 0."""
        sign = -1 if self.refuting < self.confirming else 1

        def hardest(each: Contrast) -> tuple[float, float]:
            return sign * each.p(sign, pairs=self.pairs), -each.made(pairs=False).difference

        found = max(self.contrasts, key=hardest)
        shared = level / 2 / len(self.contrasts)
        if found.given and self.p > level and found.given.p(1, pairs=False) > shared:
            return found.given
        return found

    def interval(self, made: Comparison, level: float) -> tuple[float, float]:
        """It lies above 0 where its contrast confirms, and below 0 where it refutes."""
        return made.interval(level / 2, level / 2 / len(self.contrasts))


def half_width(sd: float, n: int) -> float:
    """From a mean of n values to either end of its 95 % interval, by Student's t."""
    from scipy.stats import t

    return float(t.ppf(0.975, n - 1)) * sd / math.sqrt(n)
