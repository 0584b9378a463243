"""Two implementations timed in alternation."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the table. The ratio is how many times ours is faster, or what ours costs (`at_most`)."""

    what: str
    against: str
    ours: str = ""
    other: str = ""
    ratio: float | None = None
    bound: float | None = None
    at_most: bool = False
    note: str = ""

    @property
    def verdict(self) -> str:
        if self.ratio is None:
            return "not measured"
        if self.bound is None:
            return "nothing asked"
        good = self.ratio <= self.bound if self.at_most else self.ratio >= self.bound
        return "reached" if good else "short"


class Rates(NamedTuple):
    """Median images per second; the ratio is the median of the pairs' ratios."""

    ours: float
    other: float
    ratio: float


def seconds_of(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def in_turn(ours: Callable[[], int], other: Callable[[], int], *, repeats: int) -> Rates:
    """Time both sides in alternation; they return their images. A first pair warms up and is not counted."""
    pairs = []
    for _ in range(repeats + 1):
        rates = []
        for side in (ours, other):
            began = time.perf_counter()
            rates.append(side() / (time.perf_counter() - began))
        pairs.append(rates)
    return medians(pairs[1:])


def medians(counted: list[list[float]]) -> Rates:
    """Of pairs of rates, ours and the other's."""
    return Rates(
        statistics.median(pair[0] for pair in counted),
        statistics.median(pair[1] for pair in counted),
        statistics.median(pair[0] / pair[1] for pair in counted),
    )


def rate(value: float, unit: str = "images/s") -> str:
    return f"{value:,.0f} {unit}" if value >= 10 else f"{value:.2f} {unit}"
