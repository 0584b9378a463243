"""Tables of the papers: their cells, and our measurement of each."""

from dataclasses import dataclass, field, replace
from typing import Literal

from pipeline.config.typed import nearest


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One printed number, and our measurement of it."""

    paper: float | None = None  # None: not printed, or illegible
    spread: float | None = None  # its printed deviation
    of: str | None = None  # stage.run.protocol
    less: str | None = None  # another, whose metric is subtracted: the cell is a difference
    metric: str | None = None
    # substitute: our measurement, on other data than the paper's or on part of it
    state: Literal["cited", "withdrawn", "substitute"] | None = None

    def __post_init__(self) -> None:
        if (self.of is None) != (self.state in ("cited", "withdrawn")):
            raise ValueError("a cell has either 'of' (a measurement of ours) or 'state' (cited, withdrawn)")
        if (self.of is None) != (self.metric is None):
            raise ValueError("'of' and 'metric' go together")
        if self.less is not None and self.of is None:
            raise ValueError("'less' is subtracted from 'of', which is missing")

    def labels(self) -> list[str]:
        """The measurements that the cell shows."""
        return [label for label in (self.of, self.less) if label is not None]


@dataclass(frozen=True, kw_only=True)
class Instead:
    """What a table shows at a scale for which its own runs ask too much."""

    note: str
    rows: dict[str, dict[str, Cell]]


@dataclass(frozen=True, kw_only=True)
class Table:
    title: str
    note: str = ""
    columns: dict[str, str]  # column -> its unit
    rows: dict[str, dict[str, Cell]]
    instead: dict[str, Instead] = field(default_factory=dict)  # by scale

    def __post_init__(self) -> None:
        for row, cells in self.rows.items():
            for column in cells:
                if column not in self.columns:
                    raise ValueError(
                        f"row {row!r} has the column {column!r}; {nearest(column, self.columns)}"
                    )
        places = [(row, list(cells)) for row, cells in self.rows.items()]
        for scale, other in self.instead.items():
            if [(row, list(cells)) for row, cells in other.rows.items()] != places:
                raise ValueError(f"instead.{scale} has other rows or columns than the table")

    def at(self, scale: str) -> "Table":
        """The table as this scale shows it: the paper's numbers, our measurements or their substitutes."""
        if scale not in self.instead:
            return self
        other = self.instead[scale]
        rows = {
            row: {
                column: replace(
                    other.rows[row][column], paper=cell.paper, spread=cell.spread, state="substitute"
                )
                for column, cell in cells.items()
            }
            for row, cells in self.rows.items()
        }
        return replace(self, note=other.note, rows=rows, instead={})

    def cells(self) -> list[tuple[str, str, Cell]]:
        return [(row, column, cell) for row, cells in self.rows.items() for column, cell in cells.items()]


@dataclass(frozen=True, kw_only=True)
class Architectures:
    """A table of networks layer by layer, as runs build them."""

    title: str
    networks: dict[str, str]  # as the table names it -> stage.run
