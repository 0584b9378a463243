"""Axes and dots of the page's plots, in percent of their width, so that a plot fits any screen."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

TICKS = 6  # approximate number
BEYOND = 3.0  # intervals longer than this times the largest difference are cut, with an arrow


@dataclass(frozen=True)
class Axis:
    low: float
    high: float
    unit: str

    def place(self, value: float) -> float:
        inside = min(max(value, self.low), self.high)
        return round(100 * (inside - self.low) / (self.high - self.low), 2)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Positions and labels of round values."""
        step = nice_step((self.high - self.low) / TICKS)
        digits = max(0, -math.floor(math.log10(step)))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        values = [round(number * step, digits) + 0.0 for number in range(first, last + 1)]
        return [(self.place(value), f"{value:.{digits}f}".replace("-", "−")) for value in values]

    @property
    def zero(self) -> float | None:
        return self.place(0) if self.low <= 0 <= self.high else None


@dataclass(frozen=True, kw_only=True)
class Dot:
    """A value on an axis, its interval where it has one, and the paper's value."""

    at: float | None = None
    low: float | None = None
    high: float | None = None
    cut_low: bool = False  # the interval extends beyond the axis
    cut_high: bool = False
    paper: float | None = None


@dataclass(kw_only=True)
class Panel:
    """A table's column as a plot, one line for every row that we measured."""

    title: str
    axis: Axis
    lines: list[tuple[str, Dot, object]] = field(default_factory=list)


def nice_step(rough: float) -> float:
    """Round up to 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))


def around(values: Iterable[float], unit: str, *, room: float = 0.06) -> Axis:
    """An axis that covers these values with a margin."""
    known = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = min(known), max(known)
    spare = (high - low) * room or abs(high) * 0.01 or 1.0
    return Axis(low - spare, high + spare, unit)


def of_differences(found: list[dict[str, float]], unit: str) -> Axis:
    """One axis with a zero for all differences of a metric; very wide intervals are cut."""
    reach = max((abs(values["difference"]) for values in found), default=0.0) * BEYOND
    ends = [values[end] for values in found for end in ("low", "high") if end in values]
    inside = [min(max(end, -reach), reach) for end in ends if math.isfinite(end)]
    return around([0.0, *(values["difference"] for values in found), *inside], unit)


def dot(
    axis: Axis, at: float | None, *, low: float = math.nan, high: float = math.nan, paper: float | None = None
) -> Dot:
    interval = not math.isnan(low)
    return Dot(
        at=None if at is None else axis.place(at),
        low=axis.place(low) if interval else None,
        high=axis.place(high) if interval else None,
        cut_low=interval and low < axis.low,
        cut_high=interval and high > axis.high,
        paper=None if paper is None else axis.place(paper),
    )
