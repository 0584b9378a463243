"""Paths of kept records, and restoring them into results/runs."""

import shutil
from functools import partial
from pathlib import Path

from pipeline.papers import target
from pipeline.system.files import RESULTS, write_whole
from pipeline.work.graph import Graph

KEPT = RESULTS / "reference"


def reuse(graph: Graph) -> int:
    """Copy kept files of the graph's scale into place unless present; return how many were copied."""
    copied = 0
    for place in sorted((KEPT / graph.params.scale).glob("*")):
        for file in sorted(file for file in place.rglob("*") if file.is_file()):
            to = _place_of(file.relative_to(place), place.name, graph.params.scale)
            if not to.exists():
                write_whole(to, partial(shutil.copyfile, file))
                copied += 1
    return copied


def _place_of(file: Path, paper: str, scale: str) -> Path:
    """Return where results/reference/<scale>/<paper>/<file> belongs."""
    if file.parts[0] != "runs":
        return target(paper, file.name)
    _, stage, run, _ = file.parts
    record = "metrics.json" if stage == "evaluate" else "run.json"
    name = "weights.pt" if file.suffix == ".pt" else record
    return RESULTS / "runs" / scale / stage / run / file.stem / name


def kept(place: Path, identity: str) -> Path:
    """Return a run's kept record: runs/finetune/mnist-100-plain/0-4711ab.json."""
    _, *rest = identity.split("/")
    return (place / "runs").joinpath(*rest).with_suffix(".json")


def record_of(identity: str, name: str) -> Path:
    """Return a run's run.json or metrics.json; the kept copy if there is none in results/runs."""
    here, scale = RESULTS / "runs" / identity / name, identity.split("/")[0]
    copies = [kept(place, identity) for place in sorted(KEPT.glob(f"{scale}/*"))]
    return next((file for file in (here, *copies) if file.exists()), here)
