"""A cell as the page shows it: the paper's number, ours, and how both agree."""

from dataclasses import dataclass, field

from pipeline.papers import Cell
from pipeline.results import statistics
from pipeline.results.page.runs import Link

NEAR = 0.02  # of the paper's number


@dataclass(frozen=True)
class Mark:
    name: str  # the class of its style
    symbol: str
    says: str

    @property
    def compares(self) -> bool:
        return self.name in ("agrees", "near", "apart")


MARKS = {
    "agrees": Mark("agrees", "=", "the paper’s number lies in the 95 % interval of our mean"),
    "near": Mark("near", "≈", f"not in it, or a single run, but within {NEAR:.0%} of the paper’s number"),
    "above": Mark("apart", "▲", "further above the paper’s number"),
    "below": Mark("apart", "▼", "further below the paper’s number"),
    "alone": Mark("alone", "", "the paper prints no number here"),
    "substitute": Mark("other", "≠", "measured on other data than the paper’s, so not compared"),
    "capped": Mark("other", "◐", "made at a scale that does less than the paper, so not compared"),
    "drawn": Mark(
        "other", "◌", "made from drawn pictures: shows that the machinery runs, reproduces nothing"
    ),
    "missing": Mark("missing", "–", "not made yet"),
}


@dataclass(kw_only=True)
class Shown:
    """A cell of a table."""

    paper: str
    ours: str = ""
    spread: str = ""
    n: str = ""
    delta: str = ""
    note: str = ""  # cited, withdrawn, or the data that stand in
    mark: Mark | None = None
    scale: str = ""
    line: dict[str, str] | None = None  # of the CSV file
    # its runs; of a difference, those that are taken away, too
    links: list[Link] = field(default_factory=list)


def shown(cell: Cell, line: dict[str, str] | None, *, decimals: int, whole: bool) -> Shown:
    paper = "" if cell.paper is None else f"{cell.paper:.{decimals}f}"
    if cell.spread is not None:
        paper += f" ± {cell.spread:g}"
    if cell.of is None:
        return Shown(paper=paper, note=cell.state or "")
    if line is None or not line["mean"]:
        return Shown(paper=paper, mark=MARKS["missing"])
    return Shown(
        paper=paper,
        ours=f"{float(line['mean']):.{decimals}f}",
        spread=f"{float(line['sd']):.{decimals}f}" if line["sd"] else "",
        n=line["n"],
        delta=f"{float(line['delta']):+.{decimals}f}".replace("-", "−") if line["delta"] else "",
        note=line["dataset"] if line["state"] == "substitute" else "",
        mark=MARKS[agreement(line, whole=whole)],
    )


def agreement(line: dict[str, str], *, whole: bool) -> str:
    """Compared is only what was done in full, on the paper's own data."""
    if line["dataset"] == "procedural":
        return "drawn"
    if not whole:
        return "capped"
    if line["state"] != "measured":
        return "substitute"
    if not line["paper"]:
        return "alone"
    paper, mean, n = float(line["paper"]), float(line["mean"]), int(line["n"])
    if n > 1 and abs(mean - paper) <= statistics.half_width(float(line["sd"]), n):
        return "agrees"
    if abs(mean - paper) <= NEAR * abs(paper):
        return "near"
    return "above" if mean > paper else "below"


def decimals(cells: list[Cell]) -> int:
    """Of a column, as the paper prints it; YAML keeps no closing zeros."""
    printed = [str(each.paper).partition(".")[2] for each in cells if each.paper is not None]
    return max((len(each.rstrip("0")) for each in printed), default=0) or (0 if printed else 2)
