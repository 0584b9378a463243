"""What a refactor must not change, as records: keys and resolved specifications, short trainings, a graph's tables.

`python -m golden` compares, `--renew` records; docs/refactoring.md says when a commit may renew.
"""

from difflib import unified_diff
from pathlib import Path

RECORDS = Path(__file__).with_name("records")


def read(name: str) -> list[str]:
    """The lines of a record; none if it does not exist."""
    path = RECORDS / name
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def write(name: str, lines: list[str]) -> None:
    path = RECORDS / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def names(folder: str) -> list[str]:
    """The records of a folder, one per kind of machine."""
    return sorted(f"{folder}/{path.name}" for path in (RECORDS / folder).glob("*.txt"))


def forget(folder: str) -> None:
    for name in names(folder):
        (RECORDS / name).unlink()


def changes(recorded: list[str], found: list[str]) -> list[str]:
    """-recorded and +found, for each line that differs."""
    compared = list(unified_diff(recorded, found, n=0, lineterm=""))[2:]  # without the names of the files
    return [line for line in compared if not line.startswith("@@")]
