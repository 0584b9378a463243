"""Every CSV of a graph (tables, architectures, claims) without its commit column."""

import csv
from pathlib import Path

from golden import changes, forget, machine, read, write

MASKED = ("commit",)
NOT_RENDERED = (
    "curves",
    "reference",
    "runs",
    "search",
)  # folders of results that `snakemake all` does not render


def record() -> str:
    """The name of this machine's record; numbers depend on the kind of machine."""
    return f"tables/{machine.kind(machine.capabilities()[0])}.txt"


def found(results: Path) -> list[str]:
    """A line for each row: its file and its columns."""
    lines = []
    for path in sorted(results.rglob("*.csv")):
        name = path.relative_to(results)
        if name.parts[0] not in NOT_RENDERED:
            with path.open(newline="", encoding="utf-8") as file:
                lines += [f"{name.as_posix()}: {row(each)}" for each in csv.DictReader(file)]
    if not lines:
        raise ValueError(f"{results} has no tables; make them: snakemake --cores all")
    return lines


def row(cells: dict[str, str]) -> str:
    return "; ".join(f"{column} {value}" for column, value in cells.items() if value and column not in MASKED)


def differences(results: Path) -> list[str]:
    if not (recorded := read(record())):
        way_out = "at the commit before the change: python -m golden tables RESULTS --renew"
        raise ValueError(f"{record()} is missing; record this kind of machine {way_out}")
    return changes(recorded, found(results))


def renew(results: Path) -> None:
    """Record this kind of machine; if a cell has moved, delete the records of other machines."""
    lines = found(results)
    if read(record()) not in ([], lines):
        forget("tables")
    write(record(), lines)
