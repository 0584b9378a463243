"""Parts of a paper on the page: tables, networks, figures and claims, as far as they were made."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.config.params import Params
from pipeline.papers import Claim, Paper, Table, numbered
from pipeline.results import statistics
from pipeline.results.claims import NAME
from pipeline.results.page import pictures
from pipeline.results.page.answers import answer, groups
from pipeline.results.page.cells import Displayed, decimals, displayed
from pipeline.results.page.evidence import Evidence, Version
from pipeline.results.page.plots import Panel, around, dot
from pipeline.results.page.runs import Link, Runs
from pipeline.results.rendering import Rendering
from pipeline.system.files import RESULTS

PLOTS = (
    "curves",
    "bars",
    "trend",
    "layers",
    "networks",
    "responses",
)  # line drawings, inverted in dark mode
Rows = dict[str, list[Displayed | None]]


@dataclass(kw_only=True)
class Part:
    """A table, figure, architecture or the claims of a paper."""

    kind: str
    anchor: str
    name: str  # Table 6
    title: str
    command: str
    note: str = ""
    state: str = "missing"  # made; kept: elsewhere; partial; outdated: params.yaml has other values
    level: str = "none"  # worth of its evidence: paper, real, drawn
    scale: str = ""
    data: str = ""
    why: str = ""  # reason why it is missing
    body: Any = None
    links: list[Link] = field(default_factory=list)  # runs behind it
    files: list[Link] = field(default_factory=list)

    @property
    def link(self) -> Link:
        return Link(self.name, f"#{self.anchor}")

    @property
    def folded(self) -> bool:
        """Whether the page folds it: drawn pictures reproduce nothing, and architectures measure nothing."""
        return self.kind == "networks" or self.level in ("drawn", "none")


class Shelf:
    """Results in results/, compared with what params.yaml asks for."""

    def __init__(self, params: Params) -> None:
        self.params = params
        self.evidence = Evidence(params)
        self.runs = Runs(self.evidence.graph_of, whole=self.evidence.scales[0])

    def parts(self, paper: str, facts: Paper) -> list[Part]:
        """Parts of a paper by worth, then in the paper's order."""
        every = [
            *([self.claims(paper, facts.claims)] if facts.claims else []),
            *(self.table(paper, key, wanted) for key, wanted in facts.tables.items()),
            *(self.figure(paper, key, wanted) for key, wanted in facts.figures.items()),
            *(self.networks(paper, key, wanted.title) for key, wanted in facts.architectures.items()),
        ]
        return sorted(every, key=lambda part: part.folded)

    def table(self, paper: str, key: str, layout: Table) -> Part:
        rendering = Rendering("table", paper, key)
        versions = self.evidence.versions(rendering)
        shown = layout.at(versions[0].scale) if versions else layout
        part = self._part("table", rendering, title=layout.title, note=shown.note)
        self._settle(part, rendering, versions)
        every = [self._rows(part, layout, each) for each in versions]
        best: Rows = {
            row: [self._best(part, places) for places in zip(*(rows[row] for rows in every), strict=True)]
            for row in (layout.rows if every else ())
        }
        if not every:
            best = self._rows(part, layout, None)
        part.body = self._grid(layout, best) | {
            "panels": panels(layout, best, part.level),
            "behind": [
                (version, self._grid(layout, rows))
                for version, rows in zip(versions[1:], every[1:], strict=True)
            ],
        }
        return part

    def _rows(self, part: Part, layout: Table, version: Version | None) -> Rows:
        """Cells of a table at one scale."""
        found = {(each["row"], each["column"]): each for each in (version.lines if version else [])}
        columns = {
            name: decimals([cells[name] for cells in layout.rows.values() if name in cells])
            for name in layout.columns
        }

        def cell(row: str, column: str) -> Displayed | None:
            if column not in layout.rows[row]:
                return None
            line = found.get((row, column))
            whole = version is not None and self.evidence.whole(version.scale)
            made = displayed(layout.rows[row][column], line, decimals=columns[column], whole=whole)
            if line and version and made.ours:
                made.scale, made.line = version.scale, line
                made.links = self.runs.links(line["runs"], by=part.link)
            return made

        return {row: [cell(row, column) for column in layout.columns] for row in layout.rows}

    @staticmethod
    def _best(part: Part, places: tuple[Displayed | None, ...]) -> Displayed | None:
        """The first measured cell; versions are sorted best first."""
        found = next((each for each in places if each and each.ours), places[0])
        if found and found.ours and found.scale != part.scale:
            found.note = " ".join(filter(None, (found.note, f"scale {found.scale}")))
        return found

    @staticmethod
    def _grid(layout: Table, rows: Rows) -> dict[str, Any]:
        counts = {each.n for cells in rows.values() for each in cells if each and each.n}
        return {
            "columns": layout.columns,
            "rows": rows,
            "n": counts.pop() if len(counts) == 1 else "",  # if equal for all cells
            "printed": any(each.paper for cells in rows.values() for each in cells if each),
        }

    def networks(self, paper: str, key: str, title: str) -> Part:
        rendering = Rendering("architecture", paper, key)
        part = self._part("networks", rendering, title=title)
        self._settle(part, rendering, self.evidence.versions(rendering)[:1])
        part.body = {}
        for line in rendering.lines():
            part.body.setdefault(line["network"], []).append(line)
        return part

    def figure(self, paper: str, key: str, wanted: Any) -> Part:
        rendering = Rendering("figure", paper, key)
        part = self._part("figure", rendering, title=wanted.title, note=f"The paper: {wanted.says}")
        path, beside, _ = rendering.files
        if path.exists() and beside.exists():
            self._settle(part, rendering, self.evidence.versions(rendering)[:1])
            lines = rendering.lines()
            image, width, height = pictures.of_file(path)
            part.body = {
                "image": image,
                "width": width,
                "height": height,
                "lines": wanted.draw.name in PLOTS,
            }
            part.links = self.runs.links(lines[0]["runs"], by=part.link)
        if part.state != "made":
            part.why = self._why(part, rendering)
        return part

    def claims(self, paper: str, wanted: dict[str, Claim]) -> Part:
        rendering = Rendering("claims", paper, NAME)
        part = self._part("claims", rendering, title="what the paper says that they show")
        versions = self.evidence.versions(rendering)
        self._settle(part, rendering, versions)
        answers = []
        for name, claim in wanted.items():
            lines = [(each, line) for each in versions for line in each.lines if line["claim"] == name]
            version, line = lines[0] if lines else (None, None)
            made = answer(claim, line, level=self.evidence.level(version.scale if version else ""))
            made.links = self.runs.links(line["runs"], by=part.link) if line else []
            made.behind = ", ".join(f"{other['verdict']} at scale {each.scale}" for each, other in lines[1:])
            answers.append(made)
        tried = [each for each in answers if each.outcome in ("holds", "fails", "open")]
        rest = [each for each in answers if each not in tried]
        part.body = {"answers": answers, "tried": groups(tried), "rest": groups(rest)}
        return part

    def _part(self, kind: str, rendering: Rendering, *, title: str, note: str = "") -> Part:
        return Part(
            kind=kind,
            anchor=f"{rendering.paper}-{rendering.key}",
            name=numbered(rendering.key),
            title=title,
            note=note,
            command=f"snakemake --cores all {rendering.files[0]}",
        )

    def _settle(self, part: Part, rendering: Rendering, versions: list[Version]) -> None:
        """Take scale, data, state and worth from the best version; link to the files of all versions."""
        if versions:
            best = versions[0]
            part.scale, part.data, part.state = best.scale, best.data, best.state
            part.level = self.evidence.level(best.scale)
            part.command += f" --config scale={best.scale}"
            part.files = [
                Link(f"{each.file.suffix[1:].upper()}, scale {each.scale}", href(each.file))
                for each in versions
                if each.file
            ]
        if part.state not in ("made", "kept"):
            part.why = self._why(part, rendering)

    def _why(self, part: Part, rendering: Rendering) -> str:
        """Count what is missing at the part's scale."""
        graph = self.evidence.graph_of(part.scale or self.params.scale)
        if graph is None:
            return f"params.yaml has no scale {part.scale} any more"
        measured = rendering.measurements(graph)
        trainings = [each.training for each in measured]
        for training in trainings:
            if training.start:
                trainings.append(training.start)
        there = sum(self.evidence.is_measured(each) for each in measured)
        untrained = {each.label for each in trainings if not self.evidence.is_trained(each)}
        shards = [*(each.shards for each in measured), *(each.shards for each in trainings)]
        unfetched = {each.name for each in shards if each.fetched and not each.fetched.exists()}
        if not measured:
            return f"it takes seconds at scale {graph.params.scale}, and no training"
        counted = [f"at scale {graph.params.scale}, {there} of {len(measured)} measurements are there"]
        if untrained:
            counted.append(f"{len(untrained)} run{'s' * (len(untrained) > 1)} to train")
        if unfetched:
            counted.append(f"data to fetch: {', '.join(sorted(unfetched))}")
        return ", ".join(counted)


def panels(layout: Table, rows: Rows, level: str) -> list[Panel]:
    """One plot for every measured column; columns of a unit share an axis."""

    def shows(cell: Displayed | None) -> bool:
        # numbers of drawn pictures are not plotted beside those of real images
        return bool(cell and cell.line and (level == "drawn" or cell.line["dataset"] != "procedural"))

    places = {
        column: [(row, cells[i]) for row, cells in rows.items() if shows(cells[i])]
        for i, column in enumerate(layout.columns)
    }
    found = []
    for column, measured in places.items():
        unit = layout.columns[column]
        if len(measured) < 2:
            continue
        same = [cell for other, cells in places.items() if layout.columns[other] == unit for _, cell in cells]
        axis = around([value for cell in same for value in ends(cell)], unit)
        panel = Panel(title=heading(layout, column, measured), axis=axis)
        for row, cell in measured:
            mean, low, high, paper = values_of(cell)
            panel.lines.append((row, dot(axis, mean, low=low, high=high, paper=paper), cell))
        found.append(panel)
    return found


def heading(layout: Table, column: str, measured: list[tuple[str, Any]]) -> str:
    """The column's name; where its metric is substituted, both."""
    metrics = {cell.line["metric"] for _, cell in measured}
    if metrics <= {layout.rows[row][column].metric for row, _ in measured}:
        return column
    return f"{', '.join(sorted(metrics))} in place of {column}"


def values_of(cell: Any) -> tuple[float, float, float, float | None]:
    """Our mean, its 95 % interval (NaN without one), and the paper's number, unless ours is a substitute."""
    line = cell.line
    comparable = line["paper"] and line["state"] != "substitute"
    mean, paper = float(line["mean"]), float(line["paper"]) if comparable else None
    reach = statistics.half_width(float(line["sd"]), int(line["n"])) if line["sd"] else float("nan")
    return mean, mean - reach, mean + reach, paper


def ends(cell: Any) -> list[float]:
    mean, low, high, paper = values_of(cell)
    return [mean, low, high, *([] if paper is None else [paper])]


def href(file: Path) -> str:
    """Path relative to the page's folder, results/."""
    return file.relative_to(RESULTS).as_posix()
