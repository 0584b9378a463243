"""`make bench` prints the table of ratios for this machine; `python -m benchmarks NAME …` parts of it."""

import argparse
import datetime
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import feeding, gpu, graphs, training
from benchmarks.timing import Row
from pipeline.compute.device import device_at_hand
from pipeline.config.params import Params
from pipeline.config.reading import load
from pipeline.tracking.provenance import commit, machine

PARTS: dict[str, Callable[[Params], Iterator[Row]]] = {
    "training": training.rows,
    "preparation": feeding.preparation,
    "reading": feeding.reading,
    "streaming": feeding.streaming,
    "growth": feeding.growth,
    "side-by-side": graphs.side_by_side,
    "graph": graphs.smoke_graph,
    "up-to-date": graphs.up_to_date,
    "gpu": gpu.rows,
}
COLUMNS = ("what", "against", "ours", "theirs", "ratio", "asked", "verdict")


def line(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def shown(row: Row) -> str:
    ratio = "–" if row.ratio is None else f"{row.ratio:.2f}"
    asked = "–" if row.bound is None else f"{'at most' if row.at_most else 'at least'} {row.bound:g}"
    verdict = row.verdict + (f" ({row.note})" if row.note else "")
    return line(row.what, row.against, row.ours or "–", row.other or "–", ratio, asked, verdict)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("part", nargs="*", help=f"of {', '.join(PARTS)}; all of them when none is named")
    given = parser.parse_args()
    if unknown := set(given.part) - set(PARTS):
        parser.error(f"no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    params, made_by = load(scale="smoke"), commit()
    here = machine(device_at_hand())
    print(f"{here['device']}, {os.cpu_count()} cores, torch {here['torch']}; commit {made_by}, "
          f"{datetime.date.today()}; medians of interleaved repeats\n")  # fmt: skip
    print(line(*COLUMNS), line(*["---"] * len(COLUMNS)), sep="\n", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(Path(folder))
        for part in given.part or PARTS:
            for row in PARTS[part](params):
                print(shown(row), flush=True)
        os.chdir("/")


if __name__ == "__main__":
    main()
