"""What a paper consists of on the page: tables, networks, figures, claims, each as far as it was made."""

import base64
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.config.params import Params, Scale
from pipeline.papers import Claim, Paper, numbered
from pipeline.results.claims import NAME
from pipeline.results.kept import KEPT
from pipeline.results.page.cells import Shown, decimals, shown
from pipeline.results.page.runs import Link, Runs
from pipeline.results.rendering import Rendering
from pipeline.system.files import read_lines
from pipeline.work.graph import Graph


@dataclass(kw_only=True)
class Part:
    """A table, a figure, …, of one paper."""

    kind: str
    anchor: str
    name: str  # Table 6
    title: str
    command: str
    note: str = ""
    state: str = "missing"  # made; kept: elsewhere; outdated: of other values than params.yaml has now
    kept: bool = False  # not made here
    scale: str = ""
    data: str = ""
    why: str = ""  # of what is missing
    body: Any = None
    links: list[Link] = field(default_factory=list)

    @property
    def link(self) -> Link:
        return Link(self.name, f"#{self.anchor}")


class Shelf:
    """What lies in results/, beside what params.yaml asks for."""

    def __init__(self, params: Params) -> None:
        self.params = params
        self.graphs: dict[str, Graph] = {}
        self.runs = Runs(self.graph_of)

    def graph_of(self, scale: str) -> Graph | None:
        if scale not in self.params.scales:
            return None
        return self.graphs.setdefault(scale, Graph(replace(self.params, scale=scale)))

    def whole(self, scale: str) -> bool:
        """Whether nothing is capped there."""
        return self.params.scales.get(scale) == Scale()

    def parts(self, paper: str, facts: Paper) -> list[Part]:
        every = [
            *(self.networks(paper, key, wanted.title) for key, wanted in facts.architectures.items()),
            *(self.table(paper, key, wanted) for key, wanted in facts.tables.items()),
            *(self.figure(paper, key, wanted) for key, wanted in facts.figures.items()),
        ]
        return [*every, self.claims(paper, facts.claims)] if facts.claims else every

    def table(self, paper: str, key: str, layout: Any) -> Part:
        rendering = Rendering("table", paper, key)
        part = self._part("table", rendering, title=layout.title, note=layout.note)
        lines = self._lines(rendering)
        self._settle(part, rendering, lines)
        if part.state not in ("made", "kept"):
            part.why = self._why(part, rendering)
        found = {(each["row"], each["column"]): each for each in lines}
        columns = {
            name: decimals([cells[name] for cells in layout.rows.values() if name in cells])
            for name in layout.columns
        }

        def cell(row: str, column: str) -> Shown | None:
            if column not in layout.rows[row]:
                return None
            line = found.get((row, column))
            stands = shown(
                layout.rows[row][column], line, decimals=columns[column], whole=self.whole(part.scale)
            )
            if line and line["runs"] and stands.ours:
                stands.links = self.runs.links(line["runs"], by=part.link)
            return stands

        rows = {row: [cell(row, column) for column in layout.columns] for row in layout.rows}
        counts = {each.n for cells in rows.values() for each in cells if each and each.n}
        part.body = {
            "columns": layout.columns,
            "rows": rows,
            "n": counts.pop() if len(counts) == 1 else "",  # of all numbers alike: said once
        }
        return part

    def networks(self, paper: str, key: str, title: str) -> Part:
        rendering = Rendering("architecture", paper, key)
        part = self._part("networks", rendering, title=title)
        lines = rendering.lines()
        self._settle(part, rendering, lines)
        part.body = {}
        for line in lines:
            part.body.setdefault(line["network"], []).append(line)
        return part

    def figure(self, paper: str, key: str, wanted: Any) -> Part:
        rendering = Rendering("figure", paper, key)
        part = self._part("figure", rendering, title=wanted.title, note=f"The paper: {wanted.says}")
        path, beside, _ = rendering.files
        if path.exists() and beside.exists():
            lines = rendering.lines()
            self._settle(part, rendering, lines)
            image = base64.b64encode(path.read_bytes()).decode()
            part.body = {"image": f"data:image/png;base64,{image}", "caption": lines[0]["caption"]}
            part.links = self.runs.links(lines[0]["runs"], by=part.link)
        if part.state != "made":
            part.why = self._why(part, rendering)
        return part

    def claims(self, paper: str, wanted: dict[str, Claim]) -> Part:
        rendering = Rendering("claims", paper, NAME)
        part = self._part("claims", rendering, title="what the paper says that they show")
        lines = self._lines(rendering)
        self._settle(part, rendering, lines)
        if part.state not in ("made", "kept"):
            part.why = self._why(part, rendering)
        found = {each["claim"]: each for each in lines}
        part.body = [self._claim(part, claim, found.get(name)) for name, claim in wanted.items()]
        return part

    def _claim(self, part: Part, claim: Claim, line: dict[str, str] | None) -> dict[str, Any]:
        told: dict[str, Any] = {"says": claim.says, "where": claim.where, "verdict": ""}
        if line is None:
            return told
        values = {name: float(line[name]) for name in ("difference", "low", "high") if line[name]}
        reach = max((abs(each) for each in values.values()), default=0) or 1
        return {
            **told,
            **{name: line.get(name, "") for name in ("verdict", "p", "level", "design", "compared", "n")},
            "values": values,
            "places": {name: 60 + 54 * value / reach for name, value in values.items()},
            "links": self.runs.links(line["runs"], by=part.link),
        }

    def _part(self, kind: str, rendering: Rendering, *, title: str, note: str = "") -> Part:
        return Part(
            kind=kind,
            anchor=f"{rendering.paper}-{rendering.key}",
            name=numbered(rendering.key),
            title=title,
            note=note,
            command=f"snakemake --cores all {rendering.files[0]}",
            kept=not rendering.files[0].exists(),
        )

    def _lines(self, rendering: Rendering) -> list[dict[str, str]]:
        """Read what was made here, else what is kept at the largest scale."""
        name = rendering.files[0].name
        kept = (read_lines(KEPT / scale / rendering.paper / name) for scale in reversed(self.params.scales))
        return next((lines for lines in (rendering.lines(), *kept) if lines), [])

    def _settle(self, part: Part, rendering: Rendering, lines: list[dict[str, str]]) -> None:
        """Set the part's scale and data, and its state: made, kept, or outdated."""
        if not lines:
            return
        part.scale = next((each["scale"] for each in lines if each["scale"]), self.params.scale)
        part.data = ", ".join(
            dict.fromkeys(
                each["dataset"] for each in lines if each.get("dataset", "") not in ("", "procedural")
            )
        )
        graph = self.graph_of(part.scale)
        fresh = "kept" if part.kept else "made"
        partly = part.kept and part.kind == "claims"  # kept as far as they are tried
        part.state = "outdated" if graph is None or rendering.stale(graph, lines, partly=partly) else fresh
        part.command += f" --config scale={part.scale}"

    def _why(self, part: Part, rendering: Rendering) -> str:
        """Count what is missing at the part's scale."""
        graph = self.graph_of(part.scale or self.params.scale)
        if graph is None:
            return f"params.yaml has no scale {part.scale} any more"
        measured = rendering.measurements(graph)
        trainings = [each.training for each in measured]
        for training in trainings:
            if training.start:
                trainings.append(training.start)
        there = sum(each.metrics.exists() for each in measured)
        untrained = {each.label for each in trainings if not each.weights.exists()}
        shards = [*(each.shards for each in measured), *(each.shards for each in trainings)]
        unfetched = {each.name for each in shards if each.fetched and not each.fetched.exists()}
        if not measured:
            return f"it takes seconds at scale {graph.params.scale}, and no training"
        told = [f"at scale {graph.params.scale}, {there} of {len(measured)} measurements are there"]
        if untrained:
            told.append(f"{len(untrained)} run{'s' * (len(untrained) > 1)} to train")
        if unfetched:
            told.append(f"data to fetch: {', '.join(sorted(unfetched))}")
        return ", ".join(told)
