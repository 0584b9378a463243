"""Table cells on the page: the paper's number, ours, and whether they agree."""

from dataclasses import dataclass, field

from pipeline.papers import Cell
from pipeline.results import statistics
from pipeline.results.page.runs import Link

NEAR = 0.02  # relative to the paper's number


@dataclass(frozen=True)
class Mark:
    name: str  # CSS class
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
    "capped": Mark("capped", "◐", "made at a scale that does less than the paper, so not compared"),
    "drawn": Mark(
        "other", "◌", "made from drawn pictures: shows that the machinery runs, reproduces nothing"
    ),
    "missing": Mark("missing", "–", "not made yet"),
}


@dataclass(kw_only=True)
class Displayed:
    """A cell of a table."""

    paper: str
    ours: str = ""
    spread: str = ""
    n: str = ""
    delta: str = ""
    note: str = ""  # cited, withdrawn, or the substitute: its data set, and its metric if it is another
    mark: Mark | None = None
    scale: str = ""
    line: dict[str, str] | None = None  # its CSV line
    # runs behind it; for a difference, those on both sides
    links: list[Link] = field(default_factory=list)


def displayed(cell: Cell, line: dict[str, str] | None, *, decimals: int, whole: bool) -> Displayed:
    paper = "" if cell.paper is None else f"{cell.paper:.{decimals}f}"
    if cell.spread is not None:
        paper += f" ± {cell.spread:g}"
    if cell.of is None:
        return Displayed(paper=paper, note=cell.state or "")
    if line is None or not line["mean"]:
        return Displayed(paper=paper, mark=MARKS["missing"])
    other = f"{line['metric']} on " if line.get("metric", cell.metric) != cell.metric else ""
    return Displayed(
        paper=paper,
        ours=f"{float(line['mean']):.{decimals}f}",
        spread=f"{float(line['sd']):.{decimals}f}" if line["sd"] else "",
        n=line["n"],
        delta=f"{float(line['delta']):+.{decimals}f}".replace("-", "−") if line["delta"] else "",
        note=f"{other}{line['dataset']}" if line["state"] == "substitute" else "",
        mark=MARKS[agreement(line, whole=whole)],
    )


def agreement(line: dict[str, str], *, whole: bool) -> str:
    """Compare with the paper only if nothing was capped and the data are the paper's."""
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
    """Decimals of a column as printed; YAML drops trailing zeros."""
    printed = [str(each.paper).partition(".")[2] for each in cells if each.paper is not None]
    return max((len(each.rstrip("0")) for each in printed), default=0) or (0 if printed else 2)
