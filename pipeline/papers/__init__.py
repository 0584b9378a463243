"""What the papers printed, and which runs answer it: facts, one file a paper, checked like params.yaml."""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

from pipeline import typed
from pipeline.graph import RESULTS
from pipeline.params import STAGES, Params
from pipeline.typed import nearest

FOLDER = Path(__file__).parent
MAIN = "dong2016"  # its tables are results/table2.csv, …; those of the others have a folder


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One printed number, and the measurement of ours that stands beside it."""

    paper: float | None = None  # None: not printed, or not to be read any more
    of: str | None = None  # stage.run.protocol
    metric: str | None = None
    state: Literal["cited", "withdrawn"] | None = None  # not ours to run

    def __post_init__(self) -> None:
        if (self.of is None) == (self.state is None):
            raise ValueError("a cell has either 'of' (a measurement of ours) or 'state' (cited, withdrawn)")
        if (self.of is None) != (self.metric is None):
            raise ValueError("'of' and 'metric' go together")


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
class Paper:
    title: str
    authors: str
    year: int
    where: str
    tables: dict[str, Table] = field(default_factory=dict)


@cache
def papers() -> dict[str, Paper]:
    read = {}
    for file in sorted(FOLDER.glob("*.yaml")):
        try:
            read[file.stem] = typed.build(Paper, typed.read_yaml(file), "")
        except ValueError as error:
            raise ValueError(f"{file.name}: {error}") from None
    return read


def targets() -> dict[str, tuple[str, str]]:
    """Each table's file, and the paper and table that it is."""
    return {
        str(target(paper, table).with_suffix("")): (paper, table)
        for paper, facts in papers().items()
        for table in facts.tables
    }


def target(paper: str, table: str) -> Path:
    folder = RESULTS if paper == MAIN else RESULTS / paper
    return folder / f"{table}.csv"


def find_table(name: str) -> tuple[str, str, Table]:
    """`table6` of the main paper, `masci2011/table1` of another."""
    paper, _, table = name.rpartition("/")
    paper = paper or MAIN
    if paper not in papers():
        raise ValueError(f"no paper {paper!r}; {nearest(paper, papers())}")
    tables = papers()[paper].tables
    if table not in tables:
        raise ValueError(f"{paper} has no {table!r}; {nearest(table, tables)}")
    return paper, table, tables[table]


def check(params: Params) -> None:
    """Every cell names a run and a protocol that params.yaml has."""
    for paper, facts in papers().items():
        for table, layout in facts.tables.items():
            for row, column, cell in layout.cells():
                if cell.of is not None:
                    _check_measurement(params, cell.of, f"papers/{paper}.yaml: {table}, {row}, {column}")


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


def used_by(label: str) -> dict[str, str]:
    """The papers and tables that show a run, as tags."""
    users = [
        (paper, table)
        for paper, facts in papers().items()
        for table, layout in facts.tables.items()
        if any(
            cell.of and (cell.of == label or cell.of.startswith(label + ".")) for _, _, cell in layout.cells()
        )
    ]
    if not users:
        return {}
    return {
        "paper": ", ".join(dict.fromkeys(paper for paper, _ in users)),
        "tables": ", ".join(f"{paper}/{table}" for paper, table in users),
    }
