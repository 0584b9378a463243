"""Rendered files: which runs each line comes from, and whether a file is stale."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.papers import called, paper_of, papers, target, targets
from pipeline.results import architectures, claims, figures, tables
from pipeline.system.files import read_lines
from pipeline.work.graph import Graph
from pipeline.work.identity import Measurement

Lines = list[dict[str, str]]


@dataclass(frozen=True, kw_only=True)
class Kind:
    section: str  # of papers/*.yaml
    endings: tuple[str, ...]  # of its files, the target's first
    runs_behind: Callable[[Graph, Any], dict[tuple[str, ...], list[Any]]]  # line -> its runs
    names: tuple[str, ...] = ()  # columns that identify a line
    runs: str = "runs"  # column of the line's runs
    columns: tuple[str, ...] = ("scale", "caption", "runs")


KINDS = {
    "table": Kind(
        section="tables",
        endings=(".csv", ".md"),
        runs_behind=tables.runs_behind,
        names=("row", "column", "paper"),
        columns=tables.COLUMNS,
    ),
    "figure": Kind(section="figures", endings=(".png", ".json", ".pdf"), runs_behind=figures.runs_behind),
    "claims": Kind(
        section="claims",
        endings=(".csv",),
        runs_behind=claims.runs_behind,
        names=("claim",),
        columns=claims.COLUMNS,
    ),
    "architecture": Kind(
        section="architectures",
        endings=(".csv", ".md"),
        runs_behind=architectures.runs_behind,
        names=("network",),
        runs="run",
        columns=architectures.COLUMNS,
    ),
}


@dataclass(frozen=True)
class Rendering:
    """A paper's table, figure, claims or architectures, as files in results/."""

    kind: str
    paper: str
    key: str

    @property
    def name(self) -> str:
        """Argument of the stage that renders it: table6, masci2011/figure1; for claims, the paper."""
        return self.paper if self.kind == "claims" else called(self.paper, self.key)

    @property
    def files(self) -> list[Path]:
        return [target(self.paper, self.key).with_suffix(ending) for ending in KINDS[self.kind].endings]

    def runs_behind(self, graph: Graph) -> dict[tuple[str, ...], list[Any]]:
        """Map each line to its measurements or trainings, as params.yaml has them now."""
        section = getattr(paper_of(self.paper), KINDS[self.kind].section)
        return KINDS[self.kind].runs_behind(graph, section if self.kind == "claims" else section[self.key])

    def measurements(self, graph: Graph) -> list[Measurement]:
        works = [work for line_works in self.runs_behind(graph).values() for work in line_works]
        return list({work.identity: work for work in works if isinstance(work, Measurement)}.values())

    def lines(self) -> Lines:
        """Read the rendered file; no lines if it does not exist."""
        file, *others = self.files
        if file.suffix == ".csv":
            return read_lines(file)
        if not others[0].exists():
            return []
        caption = json.loads(others[0].read_text(encoding="utf-8"))
        return [{"scale": caption["runs"].partition("/")[0], **caption}]

    def stale(self, graph: Graph, lines: Lines | None = None, *, partly: bool = False) -> bool:
        """Whether lines (by default the file's) name other runs than params.yaml has now.

        With `partly`, missing lines are allowed.
        """
        kind = KINDS[self.kind]
        named = {
            tuple(line[name] for name in kind.names): line[kind.runs]
            for line in (self.lines() if lines is None else lines)
            if tuple(line) == kind.columns
        }
        asked = {
            name: tables.names(works)
            for name, works in self.runs_behind(graph).items()
            if name in named or not partly
        }
        return [*named.items()] != [*asked.items()]


def renderings() -> dict[str, Rendering]:
    """Map targets without ending (results/table6, results/masci2011/claims) to renderings."""
    files = {
        name: Rendering(kind, *place)
        for kind in ("table", "architecture", "figure")
        for name, place in targets(KINDS[kind].section).items()
    }
    of_claims = [paper for paper, facts in papers().items() if facts.claims]
    return files | {
        str(target(paper, claims.NAME)): Rendering("claims", paper, claims.NAME) for paper in of_claims
    }
