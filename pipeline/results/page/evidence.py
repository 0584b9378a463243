"""Versions of a table or of claims, one a scale, best evidence first."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from pipeline.config.params import Params, Scale
from pipeline.papers import Table, paper_of
from pipeline.results import tables
from pipeline.results.frame import measured, read_metrics
from pipeline.results.kept import KEPT, record_of
from pipeline.results.rendering import Lines, Rendering
from pipeline.system.files import RESULTS, read_lines
from pipeline.work.graph import Graph
from pipeline.work.identity import Measurement, Training


@dataclass(frozen=True, kw_only=True)
class Version:
    """A table, or claims, at one scale."""

    scale: str
    lines: Lines
    state: str  # made; kept: elsewhere; partial: runs are missing; outdated: params.yaml has other values
    file: Path | None = None  # None: computed from records

    @property
    def data(self) -> str:
        named = (line.get("dataset", "") for line in self.lines)
        return ", ".join(dict.fromkeys(name for name in named if name not in ("", "procedural")))


class Evidence:
    """Read versions: from the file made here, else a kept one, else records of finished runs."""

    def __init__(self, params: Params) -> None:
        self.params = params
        self.graphs: dict[str, Graph] = {}

    def graph_of(self, scale: str) -> Graph | None:
        if scale not in self.params.scales:
            return None
        if scale not in self.graphs:
            self.graphs[scale] = Graph(replace(self.params, scale=scale))
        return self.graphs[scale]

    def whole(self, scale: str) -> bool:
        """Whether the scale caps nothing."""
        return self.params.scales.get(scale) == Scale()

    def drawn(self, scale: str) -> bool:
        """Whether the scale uses procedural pictures."""
        return scale in self.params.scales and self.params.scales[scale].procedural

    def level(self, scale: str) -> str:
        """Rank of a scale's evidence: paper (nothing capped), real images, drawn pictures, none."""
        if not scale:
            return "none"
        return "paper" if self.whole(scale) else "drawn" if self.drawn(scale) else "real"

    @cached_property
    def scales(self) -> list[str]:
        """Sort key: scale paper first, drawn pictures last."""
        larger_first = reversed(self.params.scales)
        return sorted(larger_first, key=self.drawn)

    @cached_property
    def recorded(self) -> set[str]:
        """Scales with any measurement."""
        own = RESULTS.glob("runs/*/evaluate")
        copies = KEPT.glob("*/*/runs/evaluate")
        return {file.parent.name for file in own} | {file.parents[2].name for file in copies}

    @staticmethod
    def is_measured(work: Measurement) -> bool:
        return record_of(work.identity, "metrics.json").exists()

    @staticmethod
    def is_trained(work: Training) -> bool:
        return work.weights.exists() or record_of(work.identity, "run.json").exists()

    def versions(self, rendering: Rendering) -> list[Version]:
        lines, file = rendering.lines(), rendering.files[0]
        made_at = scale_of(lines) or self.params.scale
        found = []
        for scale in dict.fromkeys([*self.scales, *([made_at] if lines else [])]):
            kept = KEPT / scale / rendering.paper / file.name
            copied = read_lines(kept) if file.suffix == ".csv" else []
            if lines and scale == made_at and lines != copied:  # `reuse` puts the kept one in its place
                found.append(self._settled(rendering, scale, lines, file, state="made"))
            elif copied:
                found.append(self._settled(rendering, scale, copied, kept, state="kept"))
            elif partial := self._partial(rendering, scale):
                found.append(Version(scale=scale, lines=partial, state="partial"))
        return found

    def _settled(self, rendering: Rendering, scale: str, lines: Lines, file: Path, *, state: str) -> Version:
        graph = self.graph_of(scale)
        partly = state == "kept" and rendering.kind == "claims"  # claims are kept as far as they were tried
        if graph is None or rendering.stale(graph, lines, partly=partly):
            state = "outdated"
        return Version(scale=scale, lines=lines, state=state, file=file)

    def _partial(self, rendering: Rendering, scale: str) -> Lines:
        """Compute the cells whose runs all have at least one finished pipeline."""
        graph = self.graph_of(scale)
        if rendering.kind != "table" or graph is None or scale not in self.recorded:
            return []
        layout: Table = paper_of(rendering.paper).tables[rendering.key]
        return list(self._cells(graph, layout))

    def _cells(self, graph: Graph, layout: Table) -> Iterator[dict[str, str]]:
        for row, column, cell in layout.at(graph.params.scale).cells():
            works = [each for label in cell.labels() for each in graph.measurements(label)]
            done = [each for each in works if self.is_measured(each)]
            if not done or {each.name for each in done} != set(cell.labels()):
                continue
            frame = measured(done, lambda each: read_metrics(record_of(each.identity, "metrics.json")))
            draws = sum(each.name == cell.of for each in done)
            line = tables.line(graph, row, column, cell, frame)
            yield {**line, "draws": str(draws), "runs": tables.names(done)}


def scale_of(lines: Lines) -> str:
    return next((line["scale"] for line in lines if line["scale"]), "")
