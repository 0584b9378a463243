"""keep: a paper's tables and verdicts, with the records behind them, in results/reference/<scale>/<paper>.

No image and no weights: what is kept says what was found, by which run, on which machine, at which commit.
"""

import json
import shutil
from pathlib import Path

from pipeline import claims, table
from pipeline.command import run_rendering
from pipeline.files import read_json, write_text
from pipeline.graph import RESULTS, Graph
from pipeline.papers import called, paper_of, target

KEPT = RESULTS / "reference"


def keep(graph: Graph, paper: str) -> None:
    facts, place = paper_of(paper), KEPT / graph.params.scale / paper
    names = [called(paper, name) for name in facts.tables]
    make = f"{table.MAKE} {paper} --config scale={graph.params.scale}"
    for name in names:
        if table.stale(graph, name):
            raise ValueError(f"{name} is not what params.yaml asks for; {make}")
    if claims.stale(graph, paper):
        raise ValueError(f"the claims of {paper} are not what params.yaml asks for; {make}")
    measured = {each for name in names for each in table.measurements(graph, name)}
    measured |= set(claims.measurements(graph, paper))
    files = {record: place / record.name for name in facts.tables for record in written(target(paper, name))}
    files[target(paper, f"{claims.NAME}.csv")] = place / f"{claims.NAME}.csv"
    for each in measured:
        files[each.metrics] = kept(place, each.identity)
        for training in each.training.lineage:
            files[training.record] = kept(place, training.identity)
    texts = {copy: text_of(record, way_out=make) for record, copy in files.items()}
    shutil.rmtree(place, ignore_errors=True)
    for copy, text in texts.items():
        write_text(copy, text)


def text_of(record: Path, *, way_out: str) -> str:
    """JSON in one line: a run names thousands of samples."""
    if record.suffix == ".json":
        return json.dumps(read_json(record, way_out=way_out), sort_keys=True) + "\n"
    return record.read_text(encoding="utf-8")


def written(path: Path) -> list[Path]:
    return [path.with_suffix(".csv"), path.with_suffix(".md")]


def kept(place: Path, identity: str) -> Path:
    """Of one run: runs/finetune/mnist-100-plain/0-4711ab.json."""
    _, *rest = identity.split("/")
    return (place / "runs").joinpath(*rest).with_suffix(".json")


def record_of(identity: str, name: str) -> Path:
    """A run's run.json or metrics.json; where the run was not made here, what is kept of it."""
    own, scale = RESULTS / "runs" / identity / name, identity.split("/")[0]
    copies = [kept(place, identity) for place in sorted(KEPT.glob(f"{scale}/*"))]
    return next((file for file in (own, *copies) if file.exists()), own)


if __name__ == "__main__":
    run_rendering("keep", keep, name="of the paper: real, masci2011, …")
