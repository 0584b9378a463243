"""claims: a paper's conclusions, tested on our runs as docs/statistics.md describes."""

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pipeline.papers import (
    Above,
    Best,
    Changed,
    Claim,
    Close,
    Concordant,
    Gain,
    Order,
    Steadier,
    paper_of,
    target,
)
from pipeline.results import statistics
from pipeline.results.frame import by_pipeline, measured
from pipeline.results.statistics import Contrast, Decision
from pipeline.results.tables import names, number
from pipeline.system.files import write_lines
from pipeline.work.graph import Graph
from pipeline.work.identity import Measurement

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "claim",
    "where",
    "says",
    "verdict",
    "p",
    "level",  # Holm's level of the claim, which is decided if p is at most this
    "compared",  # the difference that decided
    "difference",
    "low",
    "high",
    "design",
    "paired_low",
    "paired_high",
    "unpaired_low",
    "unpaired_high",
    "n",
    "scale",
    "dataset",
    "runs",
)


NAME = "claims"
VERDICTS = ("confirmed", "refuted", "undecided", "undecidable", "not learnt")
LEARNT = 1.0  # least gain in dB of a restoration over its corrupted input, in every pipeline
PAIRS = 10  # least number of seeds at which pairing gains more than its lost degrees of freedom cost


def claims(graph: Graph, paper: str) -> None:
    """Write results/claims.csv, or results/<paper>/claims.csv: one line a claim."""
    write_lines(target(paper, NAME).with_suffix(".csv"), COLUMNS, lines(graph, paper))


def measured_by(graph: Graph, claim: Claim) -> list[Measurement]:
    labels = dict.fromkeys([*claim.labels(), *restorations(graph, claim)])
    return [each for label in labels for each in graph.measurements(label)]


def restorations(graph: Graph, claim: Claim) -> list[str]:
    """Restoration measurements of the compared runs' denoising pre-trainings without masked losses."""
    trainings = [one for label in claim.labels() for one in graph.measurement(label, 0).training.lineage]
    return [
        f"{each.label}.restore"
        for each in dict.fromkeys(trainings)
        if each.spec.objective.name == "denoise"
        and not each.spec.objective.options.masked
        and "restore" in each.spec.evaluate
    ]


def runs_behind(graph: Graph, claims: dict[str, Claim]) -> dict[tuple[str, ...], list[Measurement]]:
    """Map a line (the claim) to its measurements."""
    return {(name,): measured_by(graph, claim) for name, claim in claims.items()}


def repeats(graph: Graph, claim: Claim) -> int:
    """The least number of independent pipelines of the claim's runs."""
    return min(graph.pipelines(label) for label in claim.labels())


def decidable(graph: Graph, claim: Claim) -> bool:
    """Whether the scale leaves at least two repeats: without a spread no difference is decided."""
    return repeats(graph, claim) > 1


def tried(graph: Graph, paper: str) -> dict[str, Claim]:
    """The claims whose measurements all exist."""
    return {
        name: claim
        for name, claim in paper_of(paper).claims.items()
        if all(each.metrics.exists() for each in measured_by(graph, claim))
    }


def lines(graph: Graph, paper: str, *, partly: bool = False) -> list[dict[str, str]]:
    """The CSV lines of a paper's claims, corrected together by Holm's method.

    With `partly`, claims without measurements get no line, but still count in the correction.
    """
    every = paper_of(paper).claims
    wanted = tried(graph, paper) if partly else every
    frame = measured(each for claim in wanted.values() for each in measured_by(graph, claim))
    decisions = {name: decision(graph, claim, frame) for name, claim in wanted.items()}
    tested = [name for name, claim in every.items() if decidable(graph, claim)]
    flaws = {name: flaw(graph, claim, frame) for name, claim in wanted.items()}
    p = [decisions[name].p if name in wanted and not flaws[name] else 1.0 for name in tested]
    levels = dict(zip(tested, statistics.holm(p), strict=True))
    return [
        line(graph, name, claim, decisions[name], levels.get(name), flaws[name])
        for name, claim in wanted.items()
    ]


def flaw(graph: Graph, claim: Claim, frame: "pd.DataFrame") -> str:
    """Name the pre-training that restores worst if it gains less than LEARNT: then nothing is decided."""
    gains = {label: min(by_pipeline(frame, label, "psnr_gain")) for label in restorations(graph, claim)}
    label = min(gains, key=gains.__getitem__, default="")
    return f"psnr_gain: {label} - {LEARNT:g}" if gains and gains[label] < LEARNT else ""


def decision(graph: Graph, claim: Claim, frame: "pd.DataFrame") -> Decision:
    def values(label: str, metric: str) -> list[float]:
        return by_pipeline(frame, label, metric).tolist()

    return Decision(
        contrasts=TESTS[claim.test.name](claim.test.options, values),
        pairs=shared(graph, claim) and repeats(graph, claim) >= PAIRS,
        either=claim.test.name in EITHER,
    )


def shared(graph: Graph, claim: Claim) -> bool:
    """Whether the compared runs share seeds, labels and order of images."""

    def alike(group: tuple[str, ...]) -> bool:
        specs = [graph.measurements(label)[0].training.spec for label in group]
        return len(specs) > 1 and len({(spec.data, spec.batch) for spec in specs}) == 1

    counts = {graph.pipelines(label) for group in claim.arms() for label in group}
    return len(counts) == 1 and all(map(alike, claim.arms()))


def line(
    graph: Graph, name: str, claim: Claim, decision: Decision, level: float | None, flaw: str
) -> dict[str, str]:
    """The CSV line: verdict, deciding difference, and its interval at the claim's level."""
    measured, decided = measured_by(graph, claim), {"verdict": "undecidable"}
    shown = decision.deciding(level or statistics.ALPHA)
    if level is not None:
        paired = shared(graph, claim) and shown in decision.contrasts
        made = {"unpaired": shown.made(pairs=False)} | ({"paired": shown.made(pairs=True)} if paired else {})
        design = "paired" if decision.pairs and paired else "unpaired"
        ends = {kind: decision.interval(each, level) for kind, each in made.items()}
        decided = {
            "verdict": "not learnt" if flaw else decision.verdict(level),
            "p": f"{decision.p:.3g}",
            "level": f"{level:.3g}",
            "design": design,
            **dict(zip(("low", "high"), map(number, ends[design]), strict=True)),
            **{f"{kind}_low": number(low) for kind, (low, _) in ends.items()},
            **{f"{kind}_high": number(high) for kind, (_, high) in ends.items()},
        }
    return {
        "claim": name,
        "where": claim.where,
        "says": claim.says,
        **decided,
        "compared": flaw or shown.says,
        "difference": number(shown.made(pairs=False).difference),
        "n": str(repeats(graph, claim)),
        "scale": graph.params.scale,
        "dataset": " ".join(sorted({each.shards.displayed_name for each in measured})),
        "runs": names(measured),
    }


def apart(above: str, below: str, metric: str, *, lower: bool, values: Any) -> Contrast:
    """The contrast first - second, or second - first if lower is better."""
    above, below = (below, above) if lower else (above, below)
    return Contrast(
        says=f"{metric}: {above} - {below}",
        samples=(values(above, metric), [-value for value in values(below, metric)]),
    )


def order(options: Order, values: Any) -> list[Contrast]:
    steps = itertools.pairwise(options.of)
    return [apart(*step, options.metric, lower=options.lower, values=values) for step in steps]


def best(options: Best, values: Any) -> list[Contrast]:
    return [
        apart(options.of, other, options.metric, lower=options.lower, values=values) for other in options.than
    ]


def above(options: Above, values: Any) -> list[Contrast]:
    sign = -1 if options.lower else 1
    found = [sign * (value - options.value) for value in values(options.of, options.metric)]
    ends = (f"{options.value:g}", options.of) if options.lower else (options.of, f"{options.value:g}")
    return [Contrast(says=f"{options.metric}: {ends[0]} - {ends[1]}", samples=(found,))]


def gain(options: Gain, values: Any) -> list[Contrast]:
    of, than = (
        apart(*pair, options.metric, lower=options.lower, values=values)
        for pair in (options.of, options.than)
    )
    subtracted = ([-value for value in sample] for sample in than.samples)
    return [Contrast(says=f"{of.says} - ({than.says})", samples=(*of.samples, *subtracted))]


def concordant(options: Concordant, values: Any) -> list[Contrast]:
    """For each pair of runs: the second metric's difference, in the direction of the first metric's."""
    found = []
    for one, other in itertools.combinations(options.of, 2):
        first, second = options.metrics
        given = apart(one[0], other[0], first, lower=False, values=values)
        lower = given.made(pairs=False).difference < 0
        given = apart(one[0], other[0], first, lower=lower, values=values)
        found.append(replace(apart(one[1], other[1], second, lower=lower, values=values), given=given))
    return found


def close(options: Close, values: Any) -> list[Contrast]:
    """The margin left on either side of the difference."""
    rise, fall = (apart(*options.of, options.metric, lower=lower, values=values) for lower in (False, True))
    sides = (options.within + options.by, rise, fall), (options.within - options.by, fall, rise)
    return [
        Contrast(
            says=f"{margin:g} - ({taken.says})",
            samples=([margin + value for value in negated.samples[0]], negated.samples[1]),
        )
        for margin, taken, negated in sides
    ]


def changed(options: Changed, values: Any) -> list[Contrast]:
    """What the first run has above the second plus the fraction, and below the second less the fraction."""
    one, other = options.of
    ends = (
        (1, one, -(1 + options.by), other, f"{one} - {1 + options.by:g} {other}"),
        (1 - options.by, other, -1, one, f"{1 - options.by:g} {other} - {one}"),
    )
    return [
        Contrast(
            says=f"{options.metric}: {says}",
            samples=tuple(
                [factor * value for value in values(label, options.metric)]
                for factor, label in ((plus, above), (minus, below))
            ),
        )
        for plus, above, minus, below, says in ends
    ]


def steadier(options: Steadier, values: Any) -> list[Contrast]:
    """How much farther the second run's values lie from their median than the first run's do from theirs."""
    first, second = (statistics.deviations(values(label, options.metric)) for label in options.of)
    says = f"{options.metric}, from its median: {options.of[1]} - {options.of[0]}"
    return [Contrast(says=says, samples=(second, [-value for value in first]))]


TESTS: dict[str, Any] = {
    "order": order,
    "best": best,
    "above": above,
    "gain": gain,
    "concordant": concordant,
    "close": close,
    "changed": changed,
    "steadier": steadier,
}
EITHER = ("changed",)  # tests of which one contrast above 0 confirms the claim
