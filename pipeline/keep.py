"""keep: copy tables with their claims, records and encoders to results/reference/<scale>/<paper>.

Records contain metrics, run, machine and commit. Encoders that kept fine-tunings start from are kept, too,
each with one paper; images are not. `python -m pipeline.reuse` copies all of it back to where the graph
looks for it.
"""

import io
import json
import shutil
from functools import partial
from pathlib import Path

from pipeline.papers import find, paper_of, papers
from pipeline.results import claims
from pipeline.results.frame import MAKE
from pipeline.results.kept import KEPT, kept, reuse
from pipeline.results.rendering import Rendering
from pipeline.runner.cli import run_rendering
from pipeline.system.files import RESULTS, read_json, write_lines, write_text, write_whole
from pipeline.work.graph import Graph
from pipeline.work.identity import Measurement, Training


def keep(graph: Graph, name: str) -> None:
    """Add a table's finished runs to what is kept of the paper; add the table itself once it is whole."""
    reuse(graph)
    paper, chosen = (name, set(paper_of(name).tables)) if name in papers() else _table(name)
    place = KEPT / graph.params.scale / paper
    keys = [key for key in paper_of(paper).tables if key in chosen or (place / f"{key}.csv").exists()]
    texts: dict[Path, str] = {}
    measured: dict[str, Measurement] = {}
    for table in (Rendering("table", paper, key) for key in keys):
        required = table.measurements(graph)
        measured |= {measurement.identity: measurement for measurement in required}
        missing = sum(not measurement.metrics.exists() for measurement in required)
        state = f"{missing} of {len(required)} measurements are missing" if missing else "whole"
        if table.stale(graph):
            remedy = f"{MAKE} {table.files[0]} --config scale={graph.params.scale}"
            state += f"; the table is not kept yet; {remedy}"
        else:
            texts |= {place / file.name: file.read_text("utf-8") for file in table.files}
        print(f"{table.name}: {state}")
    required = Rendering("claims", paper, claims.NAME).measurements(graph)
    tried = [measurement for measurement in required if measurement.metrics.exists()]
    measured |= {measurement.identity: measurement for measurement in tried}
    trainings = {
        training.identity: training
        for measurement in measured.values()
        for training in measurement.training.lineage
    }
    encoders = {  # of a stack the last, which holds the layers below
        training.start.identity: (training, training.start)
        for training in trainings.values()
        if training.start and training.stage == "finetune"
    }

    verdicts = claims.lines(graph, paper, partly=True)
    records = [work.metrics for work in measured.values()] + [work.record for work in trainings.values()]
    texts |= {kept(place, _identity(work)): text_of(work) for work in records if work.exists()}
    others = [each for each in place.parent.glob("*") if each != place]
    contents = {
        kept(place, identity).with_suffix(".pt"): encoder_of(*pair)
        for identity, pair in encoders.items()
        if pair[1].weights.exists()
        and not any(kept(other, identity).with_suffix(".pt").exists() for other in others)
    }
    shutil.rmtree(place, ignore_errors=True)
    write_lines(place / f"{claims.NAME}.csv", claims.COLUMNS, verdicts)
    for copy, text in texts.items():
        write_text(copy, text)
    for copy, content in contents.items():
        write_whole(copy, partial(Path.write_bytes, data=content))


def _identity(record: Path) -> str:
    return record.parent.relative_to(RESULTS / "runs").as_posix()


def _table(name: str) -> tuple[str, set[str]]:
    paper, key, _ = find("tables", name)
    return paper, {key}


def text_of(record: Path) -> str:
    """JSON on one line, since a run lists thousands of samples."""
    return json.dumps(read_json(record, way_out=f"{MAKE} {record}"), sort_keys=True) + "\n"


def encoder_of(training: Training, start: Training) -> bytes:
    """The weights that a training transfers from its start, in the format of weights.pt."""
    import torch

    from pipeline.training.weights import load_weights

    held = load_weights(start)
    parts = {name: part for name, part in held["parts"].items() if name in training.spec.transfer}
    content = io.BytesIO()
    torch.save({**held, "parts": parts}, content)
    return content.getvalue()


if __name__ == "__main__":
    run_rendering("keep", keep, name="a table or a paper: dong2017/table2, masci2011, …")
