"""What the papers printed, and which runs answer it: facts, one file a paper, checked like params.yaml."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pipeline.config import typed
from pipeline.config.documents import read_yaml
from pipeline.config.params import Params
from pipeline.config.runs import STAGES
from pipeline.config.typed import Choice, choice, nearest
from pipeline.system.files import RESULTS

FOLDER = Path(__file__).parent
MAIN = "dong2016"  # its tables are results/table2.csv, …; those of the others have a folder


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One printed number, and the measurement of ours that stands beside it."""

    paper: float | None = None  # None: not printed, or not to be read any more
    spread: float | None = None  # the deviation printed with it
    of: str | None = None  # stage.run.protocol
    less: str | None = None  # another, whose metric is taken away: the cell is a difference
    metric: str | None = None
    state: Literal["cited", "withdrawn", "substitute"] | None = (
        None  # substitute: ours, without all of its data
    )

    def __post_init__(self) -> None:
        if (self.of is None) != (self.state in ("cited", "withdrawn")):
            raise ValueError("a cell has either 'of' (a measurement of ours) or 'state' (cited, withdrawn)")
        if (self.of is None) != (self.metric is None):
            raise ValueError("'of' and 'metric' go together")
        if self.less is not None and self.of is None:
            raise ValueError("'less' is taken away from 'of'")

    def labels(self) -> list[str]:
        """The measurements that it shows."""
        return [label for label in (self.of, self.less) if label is not None]


@dataclass(frozen=True, kw_only=True)
class Table:
    title: str
    note: str = ""
    columns: dict[str, str]  # column -> its unit
    rows: dict[str, dict[str, Cell]]

    def __post_init__(self) -> None:
        for row, cells in self.rows.items():
            for column in cells:
                if column not in self.columns:
                    raise ValueError(
                        f"row {row!r} has the column {column!r}; {nearest(column, self.columns)}"
                    )

    def cells(self) -> list[tuple[str, str, Cell]]:
        return [(row, column, cell) for row, cells in self.rows.items() for column, cell in cells.items()]


@dataclass(frozen=True, kw_only=True)
class Curves:
    """The mean loss of each epoch, by run."""

    epochs: int | None = None  # the first so many


@dataclass(frozen=True, kw_only=True)
class Bars:
    """One metric, by run."""

    metric: str
    unit: str


@dataclass(frozen=True, kw_only=True)
class Trend:
    """One metric against a number: several lines, each a list of (number, run)."""

    metric: str
    unit: str
    x: str
    lines: dict[str, dict[str, str]]  # line -> number -> stage.run.protocol
    panels: dict[str, tuple[str, ...]] = field(default_factory=dict)  # panel -> its lines; none: all in one

    def __post_init__(self) -> None:
        for panel, names in self.panels.items():
            for name in names:
                if name not in self.lines:
                    raise ValueError(f"panel {panel!r} has the line {name!r}; {nearest(name, self.lines)}")


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Images kept by measurements: for each run a row of each of these arrays."""

    arrays: tuple[str, ...]
    once: tuple[str, ...] = ()  # arrays that several runs share: shown where they change


@dataclass(frozen=True, kw_only=True)
class Filters:
    """A panel of kept filters for each run, and metrics under it."""

    columns: int
    numbers: dict[str, str]  # metric -> its unit


@dataclass(frozen=True, kw_only=True)
class Responses:
    """What and where of moved images against those of images as they are."""

    pixels: int  # how far they were moved


@dataclass(frozen=True, kw_only=True)
class Layers:
    """Metrics of every layer, a panel each: a line for each run."""

    panels: dict[str, str]  # metric -> what its axis says


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """Images decoded from every layer, a row for each line, and their PSNR."""

    lines: dict[str, dict[str, str]]  # line -> layer -> stage.run.protocol


DRAWINGS = {
    "curves": Curves,
    "bars": Bars,
    "trend": Trend,
    "pictures": Pictures,
    "filters": Filters,
    "responses": Responses,
    "layers": Layers,
    "decoded": Decoded,
}


@dataclass(frozen=True, kw_only=True)
class Figure:
    title: str
    says: str  # what the paper says that it shows
    draw: Choice = choice(DRAWINGS)
    runs: dict[str, str] = field(default_factory=dict)  # as the figure names it -> stage.run.protocol

    def labels(self) -> list[str]:
        """Every measurement that it shows."""
        lines = getattr(self.draw.options, "lines", {})
        return list(
            dict.fromkeys([*self.runs.values(), *(of for line in lines.values() for of in line.values())])
        )


@dataclass(frozen=True, kw_only=True)
class Order:
    """Each run's metric lies above that of the next."""

    metric: str
    of: tuple[str, ...]
    lower: bool = False  # below, as errors do


@dataclass(frozen=True, kw_only=True)
class Best:
    """One run's metric lies above that of every other."""

    metric: str
    of: str
    than: tuple[str, ...]
    lower: bool = False


@dataclass(frozen=True, kw_only=True)
class Above:
    """A metric lies above a value."""

    metric: str
    of: str
    value: float
    lower: bool = False  # below it


@dataclass(frozen=True, kw_only=True)
class Gain:
    """The first pair gains more than the second: (after, before) each, the second taken from the first."""

    metric: str
    of: tuple[str, str]
    than: tuple[str, str]
    lower: bool = False  # the gain is a fall, as of errors


@dataclass(frozen=True, kw_only=True)
class Concordant:
    """Of each two runs, the one with more of the first metric has more of the second."""

    metrics: tuple[str, str]
    of: tuple[tuple[str, str], ...]  # pairs of measurements: of the one metric, and of the other


@dataclass(frozen=True, kw_only=True)
class Close:
    """Two runs' metrics lie within a margin of each other, or of a difference."""

    metric: str
    of: tuple[str, str]
    within: float
    by: float = 0.0  # the first lies above the second by about this


CLAIMS = {
    "order": Order,
    "best": Best,
    "above": Above,
    "gain": Gain,
    "concordant": Concordant,
    "close": Close,
}


@dataclass(frozen=True, kw_only=True)
class Claim:
    says: str
    where: str  # the table, figure or section
    test: Choice = choice(CLAIMS)

    def labels(self) -> list[str]:
        options = self.test.options
        others = [label for label, _ in options.of] if isinstance(options, Concordant) else []
        return [*others, *(label for group in self.arms() for label in group)]

    def arms(self) -> list[tuple[str, ...]]:
        """The measurements of one metric that are compared with one another, or with a value."""
        options = self.test.options
        if isinstance(options, Gain):
            return [options.of, options.than]
        if isinstance(options, Best):
            return [(options.of, *options.than)]
        if isinstance(options, Above):
            return [(options.of,)]
        if isinstance(options, Concordant):
            return [tuple(label for _, label in options.of)]
        return [options.of]


@dataclass(frozen=True, kw_only=True)
class Architectures:
    """Networks that a table shows layer by layer, each as a run builds it."""

    title: str
    networks: dict[str, str]  # as the table names it -> stage.run


@dataclass(frozen=True, kw_only=True)
class Paper:
    title: str
    authors: str
    year: int
    where: str
    architectures: dict[str, Architectures] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)
    figures: dict[str, Figure] = field(default_factory=dict)
    claims: dict[str, Claim] = field(default_factory=dict)

    @property
    def by(self) -> str:
        first, *others = self.authors.split(",")
        return f"{first} et al." if others else first


@cache
def papers() -> dict[str, Paper]:
    read = {}
    for file in sorted(FOLDER.glob("*.yaml")):
        try:
            read[file.stem] = typed.build(Paper, read_yaml(file), "")
        except ValueError as error:
            raise ValueError(f"{file.name}: {error}") from None
    return read


def targets(kind: str = "tables") -> dict[str, tuple[str, str]]:
    """Each table's (or figure's) file without its ending, and the paper and table that it is."""
    return {
        str(target(paper, name)): (paper, name)
        for paper, facts in papers().items()
        for name in getattr(facts, kind)
    }


def paper_of(name: str) -> Paper:
    if name not in papers():
        raise ValueError(f"no paper {name!r}; {nearest(name, papers())}")
    return papers()[name]


def target(paper: str, name: str) -> Path:
    return (RESULTS if paper == MAIN else RESULTS / paper) / name


def called(paper: str, key: str) -> str:
    """As the stages call it: table6 of the main paper, masci2011/figure1 of another."""
    return key if paper == MAIN else f"{paper}/{key}"


def numbered(key: str) -> str:
    """table6 as one reads it: Table 6; supplement_c: Supplement C."""
    words = re.sub(r"(?<=[a-z])(?=\d)", " ", key).replace("_", " ").capitalize()
    return re.sub(r" [a-z]$", lambda letter: letter[0].upper(), words)


def find(kind: str, name: str) -> tuple[str, str, Any]:
    """`table6` of the main paper, `masci2011/figure1` of another."""
    if "/" in name:
        paper_of(name.rpartition("/")[0])
    known = {called(*each): each for each in targets(kind).values()}
    if name not in known:
        raise ValueError(f"no paper has {name!r} among its {kind}; {nearest(name, known)}")
    paper, key = known[name]
    return paper, key, getattr(paper_of(paper), kind)[key]


def uses() -> Iterator[tuple[str, str, str]]:
    """Who names which measurement: (paper, table or figure or claim, stage.run.protocol)."""
    for paper, facts in papers().items():
        for table, layout in facts.tables.items():
            for _, _, cell in layout.cells():
                for label in cell.labels():
                    yield paper, table, label
        for kind in (facts.figures, facts.claims):
            for name, shown in kind.items():
                for label in shown.labels():
                    yield paper, name, label


def check(params: Params) -> None:
    """Every cell, figure and claim names a run and a protocol that params.yaml has."""
    for paper, name, label in uses():
        _check_measurement(params, label, f"papers/{paper}.yaml: {name}")
    for paper, facts in papers().items():
        for name, shown in facts.architectures.items():
            for label in shown.networks.values():
                stage, _, run = label.partition(".")
                if stage not in STAGES or run not in params.runs(stage):
                    known = [f"{stage}.{run}" for stage in STAGES for run in params.runs(stage)]
                    raise ValueError(f"papers/{paper}.yaml: {name} names {label!r}; {nearest(label, known)}")


def _check_measurement(params: Params, label: str, where: str) -> None:
    parts = label.split(".")
    if len(parts) != 3 or parts[0] not in STAGES:
        raise ValueError(
            f"{where} names {label!r}; STAGE.RUN.PROTOCOL is wanted, the stage one of {', '.join(STAGES)}"
        )
    stage, name, protocol = parts
    runs = params.runs(stage)
    if name not in runs:
        raise ValueError(f"{where} names {stage}.{name}; {nearest(name, runs)}")
    if protocol not in runs[name].evaluate:
        raise ValueError(
            f"{where} names {label}, which {stage}.{name} does not list under 'evaluate'; "
            f"{nearest(protocol, runs[name].evaluate)}"
        )


def places(label: str) -> dict[str, str]:
    """Where a measurement stands in tables: dong2016/table6 -> its row's number and name, and its column."""
    found: dict[str, list[str]] = {}
    for paper, facts in papers().items():
        for table, layout in facts.tables.items():
            for number, (row, cells) in enumerate(layout.rows.items(), 1):
                columns = [column for column, cell in cells.items() if label in cell.labels()]
                if columns:
                    found.setdefault(f"{paper}/{table}", []).append(
                        f"{number:02} {row}: {', '.join(columns)}"
                    )
    return {table: "; ".join(rows) for table, rows in found.items()}


def used_by(label: str) -> dict[str, str]:
    """The papers, tables and figures that show a run, as tags."""
    users = [(paper, name) for paper, name, of in uses() if of == label or of.startswith(label + ".")]
    if not users:
        return {}
    return {
        "paper": ", ".join(dict.fromkeys(paper for paper, _ in users)),
        "tables": ", ".join(dict.fromkeys(f"{paper}/{name}" for paper, name in users)),
    }
