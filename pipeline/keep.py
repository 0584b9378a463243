"""keep: a table, or a paper's, with its claims, records and encoders, in results/reference/<scale>/<paper>.

What is kept says what was found, by which run, on which machine, at which commit. Encoders that kept runs
start from are kept, too, but no images. `python -m pipeline.reuse` puts it where the graph looks for it.
"""

import io
import json
import shutil
from functools import partial
from pathlib import Path

from pipeline import claims, table
from pipeline.command import run_rendering
from pipeline.files import read_json, write_lines, write_text, write_whole
from pipeline.graph import RESULTS, Graph, Measurement, Training
from pipeline.papers import called, find, paper_of, papers, target

KEPT = RESULTS / "reference"


def keep(graph: Graph, name: str) -> None:
    """Beside the paper's tables that are kept already."""
    paper, wanted = (name, set(paper_of(name).tables)) if name in papers() else _table(name)
    place = KEPT / graph.params.scale / paper
    keys = [key for key in paper_of(paper).tables if key in wanted or (place / f"{key}.csv").exists()]
    measured: dict[str, Measurement] = {}
    for key in keys:
        if table.stale(graph, called(paper, key)):
            raise ValueError(
                f"{called(paper, key)} is not what params.yaml asks for; {_remedy(graph, paper, key)}"
            )
        measured |= {each.identity: each for each in table.measurements(graph, called(paper, key))}
    verdicts = claims.lines(graph, paper, partly=True)
    for claim in claims.tried(graph, paper).values():
        measured |= {each.identity: each for each in claims.measured_by(graph, claim)}
    trainings = {one.identity: one for each in measured.values() for one in each.training.lineage}

    remedy = _remedy(graph, paper, keys[0])
    texts = {place / each.name: each.read_text("utf-8") for key in keys for each in written(paper, key)}
    texts |= {kept(place, each.identity): text_of(each.metrics, remedy) for each in measured.values()}
    texts |= {kept(place, each.identity): text_of(each.record, remedy) for each in trainings.values()}
    encoders = {
        kept(place, start.identity).with_suffix(".pt"): encoder_of(each, start)
        for each in trainings.values()
        if (start := each.start) is not None
    }
    shutil.rmtree(place, ignore_errors=True)
    write_lines(place / f"{claims.NAME}.csv", claims.COLUMNS, verdicts)
    for copy, text in texts.items():
        write_text(copy, text)
    for copy, content in encoders.items():
        write_whole(copy, partial(Path.write_bytes, data=content))


def _table(name: str) -> tuple[str, set[str]]:
    paper, key, _ = find("tables", name)
    return paper, {key}


def _remedy(graph: Graph, paper: str, key: str) -> str:
    return f"{table.MAKE} {target(paper, key)}.csv --config scale={graph.params.scale}"


def text_of(record: Path, remedy: str) -> str:
    """JSON in one line: a run names thousands of samples."""
    return json.dumps(read_json(record, way_out=remedy), sort_keys=True) + "\n"


def encoder_of(training: Training, start: Training) -> bytes:
    """The weights that a training takes over from where it starts, in the format of weights.pt."""
    import torch

    from pipeline.learn import load_weights

    held = load_weights(start)
    parts = {name: part for name, part in held["parts"].items() if name in training.spec.transfer}
    content = io.BytesIO()
    torch.save({**held, "parts": parts}, content)
    return content.getvalue()


def written(paper: str, key: str) -> list[Path]:
    path = target(paper, key)
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
    run_rendering("keep", keep, name="a table or a paper: dong2017/table2, masci2011, …")
