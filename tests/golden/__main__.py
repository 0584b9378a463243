"""python -m golden: compare with the records, or renew them on purpose (docs/refactoring.md says when)."""

import argparse
import sys
from pathlib import Path

from golden import machine, specifications, tables, trainings

SHOWN = 40  # lines of what differs


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m golden", description=__doc__)
    parser.add_argument("part", nargs="?", choices=("tables",), help="none: specifications and trainings")
    parser.add_argument("results", nargs="?", type=Path, default=Path("results"), help="where the tables are")
    parser.add_argument("--renew", action="store_true", help="record what there is now")
    given = parser.parse_args()
    try:
        differ = act(given.results if given.part else None, renew=given.renew)
    except ValueError as error:
        sys.exit(f"golden: {error}")
    print(*differ[:SHOWN], *([f"and {len(differ) - SHOWN} more"] if len(differ) > SHOWN else []), sep="\n")
    sys.exit(bool(differ))


def act(results: Path | None, *, renew: bool) -> list[str]:
    """The lines that differ; none after a renewal."""
    if results is not None:
        return (tables.renew if renew else tables.differences)(results) or []
    if renew:
        specifications.renew()
        trainings.renew()
        return []
    return specifications.differences() + trainings.differences(machine.capabilities())


if __name__ == "__main__":
    main()
