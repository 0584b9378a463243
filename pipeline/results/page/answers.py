"""Verdicts of claims by the best available evidence, and their dot plots: one axis a metric."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache

from pipeline.papers import Claim, papers
from pipeline.results.page.plots import Axis, Dot, dot, of_differences
from pipeline.results.page.runs import Link

NAMES = {"psnr": "PSNR", "map": "mAP", "mean_iou": "mean IoU"}
UNITS = {"psnr": "dB", "psnr_trend": "dB", "early_loss": "nats", "accuracy_trend": "%", "occlusion_gap": ""}
# order of verdicts: claims tried on real images first
OUTCOMES = ("holds", "fails", "open", "drawn", "untried")


@dataclass(kw_only=True)
class Answer:
    says: str
    where: str
    metric: str
    ours: bool = False
    level: str = "none"  # worth of its scale, as in Part
    scale: str = ""
    verdict: str = ""
    n: str = ""
    p: str = ""
    held_to: str = ""
    design: str = ""
    compared: str = ""
    values: dict[str, float] = field(default_factory=dict)  # difference, low, high
    dot: Dot | None = None
    behind: str = ""  # verdicts at smaller scales
    links: list[Link] = field(default_factory=list)

    @property
    def outcome(self) -> str:
        if self.level in ("none", "drawn"):
            return "drawn" if self.verdict else "untried"
        return {"confirmed": "holds", "refuted": "fails"}.get(self.verdict, "open")

    @property
    def unit(self) -> str:
        return units().get(self.metric, "")


@dataclass(kw_only=True)
class Group:
    """Answers on one axis, since they share a metric."""

    title: str
    axis: Axis | None
    answers: list[Answer]


def answer(claim: Claim, line: dict[str, str] | None, *, level: str) -> Answer:
    found = Answer(says=claim.says, where=claim.where, metric=metric_of(claim), ours=claim.ours)
    if line is None:
        return found
    found.level, found.scale, found.verdict = level, line.get("scale", ""), line["verdict"]
    found.n, found.p, found.held_to = line.get("n", ""), line.get("p", ""), line.get("level", "")
    found.design, found.compared = line.get("design", ""), line.get("compared", "")
    found.values = {name: float(line[name]) for name in ("difference", "low", "high") if line.get(name)}
    return found


def groups(answers: Iterable[Answer]) -> list[Group]:
    """Group answers by metric; a group's dots share an axis."""
    by_metric: dict[str, list[Answer]] = {}
    for each in answers:
        by_metric.setdefault(each.metric, []).append(each)
    found = []
    for metric, members in by_metric.items():
        values = [each.values for each in members if "difference" in each.values]
        axis = of_differences(values, units().get(metric, "")) if values else None
        for each in members:
            if axis is not None and "difference" in each.values:
                ends = {end: each.values[end] for end in ("low", "high") if end in each.values}
                each.dot = dot(axis, each.values["difference"], **ends)
        found.append(Group(title=NAMES.get(metric, metric.replace("_", " ")), axis=axis, answers=members))
    return found


def metric_of(claim: Claim) -> str:
    options = claim.test.options
    return getattr(options, "metric", None) or options.metrics[1]


@cache
def units() -> dict[str, str]:
    """Map metrics to their units in the papers' tables and figures."""
    found = dict(UNITS)
    for facts in papers().values():
        for layout in facts.tables.values():
            found |= {
                cell.metric: layout.columns[column] for _, column, cell in layout.cells() if cell.metric
            }
        for figure in facts.figures.values():
            options = figure.draw.options
            found |= getattr(options, "numbers", {})
            if hasattr(options, "unit"):
                found[options.metric] = options.unit
    return found
