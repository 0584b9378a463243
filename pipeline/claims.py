"""claims: what a paper says that its tables show, tried on our runs: confirmed, refuted or undecided."""

import itertools
import math
import statistics
from typing import Any

from pipeline import comparison
from pipeline.command import run_rendering
from pipeline.files import read_lines, write_lines
from pipeline.graph import Graph, Measurement
from pipeline.papers import Above, Best, Claim, Close, Correlates, Gain, Order, paper_of, papers, target
from pipeline.table import by_pipeline, from_files, names, number

COLUMNS = ("claim", "where", "says", "verdict", "difference", "low", "high", "n", "scale", "dataset", "runs")
NAME = "claims"


def claims(graph: Graph, paper: str) -> None:
    """Write results/claims.csv, or results/<paper>/claims.csv: one line a claim."""
    lines = [line(graph, name, claim) for name, claim in paper_of(paper).claims.items()]
    write_lines(target(paper, NAME).with_suffix(".csv"), COLUMNS, lines)


def measured_by(graph: Graph, claim: Claim) -> list[Measurement]:
    return [each for label in claim.labels() for each in graph.measurements(label)]


def measurements(graph: Graph, paper: str) -> list[Measurement]:
    """All that the paper's claims are tried on, each once."""
    every = [each for claim in papers()[paper].claims.values() for each in measured_by(graph, claim)]
    return list({each.identity: each for each in every}.values())


def stale(graph: Graph, paper: str) -> bool:
    """Whether the verdicts on the disk are of other runs than params.yaml now asks for."""
    return outdated(graph, paper, read_lines(target(paper, NAME).with_suffix(".csv")))


def outdated(graph: Graph, paper: str, lines: list[dict[str, str]]) -> bool:
    found = [(each.get("claim"), each.get("runs")) for each in lines]
    wanted = papers()[paper].claims.items()
    return found != [(name, names(measured_by(graph, claim))) for name, claim in wanted]


def line(graph: Graph, name: str, claim: Claim) -> dict[str, str]:
    """The comparison that decides least, its 95 % interval, and what follows from it."""
    options = claim.test.options

    def values(label: str, metric: str) -> list[float]:
        return list(by_pipeline(graph, label, metric, from_files).values())

    found = TESTS[claim.test.name](options, values)
    measured = measured_by(graph, claim)
    shards = {each.shards.shown for each in measured}
    return {
        "claim": name,
        "where": claim.where,
        "says": claim.says,
        "verdict": verdict(found),
        **{key: "" if math.isnan(value) else number(value) for key, value in weakest(found).items()},
        "n": str(min(graph.pipelines(label) for label in claim.labels())),
        "scale": graph.params.scale,
        "dataset": " ".join(sorted(shards)),
        "runs": names(measured),
    }


Compared = tuple[float, float, float]  # a difference that the claim wants above 0, and its interval


def verdict(found: list[Compared]) -> str:
    """Confirmed where every interval lies above 0, refuted where one lies below, else undecided."""
    if all(low > 0 for _, low, _ in found):
        return "confirmed"
    return "refuted" if any(high < 0 for _, _, high in found) else "undecided"


def weakest(found: list[Compared]) -> dict[str, float]:
    difference, low, high = min(found, key=lambda each: each[0])
    return {"difference": difference, "low": low, "high": high}


def order(options: Order, values: Any) -> list[Compared]:
    sign = -1 if options.lower else 1
    every = [[sign * value for value in values(label, options.metric)] for label in options.of]
    return [comparison.welch(above, below)[:3] for above, below in itertools.pairwise(every)]


def best(options: Best, values: Any) -> list[Compared]:
    sign = -1 if options.lower else 1
    own, *others = (
        [sign * each for each in values(label, options.metric)] for label in (options.of, *options.than)
    )
    return [comparison.welch(own, other)[:3] for other in others]


def above(options: Above, values: Any) -> list[Compared]:
    """The mean's own interval, by Student's t."""
    sign = -1 if options.lower else 1
    found = [sign * (value - options.value) for value in values(options.of, options.metric)]
    difference = statistics.fmean(found)
    if len(found) == 1:
        return [(difference, math.nan, math.nan)]
    half = comparison.half_width(statistics.stdev(found), len(found))
    return [(difference, difference - half, difference + half)]


def gain(options: Gain, values: Any) -> list[Compared]:
    """Differences by seed, where both runs of a pair have that seed."""
    sign = -1 if options.lower else 1
    gains = [
        [
            sign * (after - before)
            for after, before in zip(*(values(label, options.metric) for label in pair), strict=False)
        ]
        for pair in (options.of, options.than)
    ]
    return [comparison.welch(*gains)[:3]]


def correlates(options: Correlates, values: Any) -> list[Compared]:
    """Spearman's rho, with the interval of Fisher's transformation."""
    pairs = [
        [
            sum(found) / len(found)
            for found in (values(label, metric) for label, metric in zip(pair, options.metrics, strict=True))
        ]
        for pair in options.of
    ]
    rho, _ = comparison.rank_correlation(*zip(*pairs, strict=True))
    if len(pairs) < 5 or not abs(rho) < 1:
        return [(rho, math.nan, math.nan)]
    half = 1.96 * math.sqrt((1 + rho**2 / 2) / (len(pairs) - 3))  # Bonett and Wright 2000
    return [(rho, math.tanh(math.atanh(rho) - half), math.tanh(math.atanh(rho) + half))]


def close(options: Close, values: Any) -> list[Compared]:
    """What is left of the margin on either side of the difference."""
    apart = comparison.welch(*(values(label, options.metric) for label in options.of))
    difference, low, high = (each - options.by for each in apart[:3])
    within = options.within
    return [
        (within - difference, within - high, within - low),
        (within + difference, within + low, within + high),
    ]


TESTS: dict[str, Any] = {
    "order": order,
    "best": best,
    "above": above,
    "gain": gain,
    "correlates": correlates,
    "close": close,
}


if __name__ == "__main__":
    run_rendering("claims", claims, name="of the paper: dong2016, …")
