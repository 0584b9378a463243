"""How MLflow shows a run: its name, description, source and data, made of its event log's header."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pipeline.config.runs import STAGES
from pipeline.papers import numbered, papers, target

NOTE, PARENT = "mlflow.note.content", "mlflow.parentRunId"
PICTURES = "pictures.png"


def tags_of(header: dict[str, Any]) -> dict[str, str]:
    """Its own tags, and those in which MLflow expects a name, a source and a commit."""
    commit = header["tags"].get("commit", "unknown")
    return {
        **header["tags"],
        "identity": header["identity"],
        **({"parent": header["parent"]} if header.get("parent") else {}),
        "mlflow.runName": name_of(header),
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": f"{header['tags']['scale']} {header['stage']}",
        "mlflow.source.git.commit": commit.removesuffix("+"),
        "mlflow.source.git.dirty": str(commit.endswith("+")),
    }


def owner_of(log: Path) -> str:
    """Who ran it; a container may have no name for its user."""
    try:
        return log.owner()
    except (KeyError, OSError):
        return "unknown"


def name_of(header: dict[str, Any]) -> str:
    """Run, seed and protocol: of the 18 characters that the list shows, none go to the stage or the key."""
    _, run, *protocol = header["tags"]["run"].split(".")
    seed = header["identity"].rpartition("/")[2].partition("-")[0]
    return " ".join([run, seed, *protocol])


def dataset_of(header: dict[str, Any]) -> Any:
    """The split's shards as a data set of MLflow."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    tags, split = header["tags"], header.get("split")
    context = "eval" if header["stage"] == "evaluate" else "train"
    dataset = Dataset(
        name=tags["dataset"],
        digest=tags["data_sha256"][:8],
        source_type="local",
        source=json.dumps({"uri": header.get("manifest", ""), "split": split}),
        profile=json.dumps({"num_rows": header["images"]}) if "images" in header else None,
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", context)])


def note_of(header: dict[str, Any], *, experiments: dict[str, str], pictures_of: str = "") -> str:
    """What the run is in the papers, the commands that make it and its table, and what follows from it.

    `pictures_of` is the MLflow run, if it has pictures.
    """
    tags, stage = header["tags"], header["stage"]
    scale = tags["scale"]
    shown = [each for each in tags.get("tables", "").split(", ") if each]
    file = "metrics.json" if stage == "evaluate" else "weights.pt"
    warning = " A smoke number reproduces nothing." if scale == "smoke" else ""
    lines = [f"`{tags['run']}`, seed {tags.get('seed', '0')}, at scale `{scale}`.{warning}"]
    if shown:
        lines.append("\n".join(f"- {_use(each, tags.get(each))}" for each in shown))
    if pictures_of:
        lines.append(f"![pictures](get-artifact?path={PICTURES}&run_uuid={pictures_of})")
    tables = [each for each in shown if _kind(each) == "tables"]
    targets = [f"results/runs/{header['identity']}/{file}", *(f"{_target(each)}.csv" for each in tables)]
    lines.append("\n".join(f"    snakemake --cores all {each} --config scale={scale}" for each in targets))
    lines += [
        f"[{text}](#/experiments/{experiments[child]}/runs?searchFilter={_children(header['identity'])})"
        for child, text in CHILDREN.items()
        if stage in STAGES[: len(STAGES) if child == "evaluate" else 1]
    ]
    return "\n\n".join(lines)


CHILDREN = {"evaluate": "Its measurements", "finetune": "Fine-tunings that start from it"}


def _children(identity: str) -> str:
    return quote(f"tags.parent = '{identity}'") + "&workflowType=machine_learning"


def _kind(use: str) -> str:
    """Whether a paper's name is one of its tables, figures or claims."""
    paper, _, name = use.partition("/")
    kinds = ("tables", "figures", "claims")
    return next((kind for kind in kinds if paper in papers() and name in getattr(papers()[paper], kind)), "")


def _use(use: str, place: str | None) -> str:
    paper, _, name = use.partition("/")
    if not (kind := _kind(use)):
        return use
    facts = papers()[paper]
    what = f"claim `{name}`" if kind == "claims" else numbered(name)
    return f"{what} of {facts.by} {facts.year} ({paper}), *{facts.title}*" + (f": {place}" if place else "")


def _target(use: str) -> Path:
    paper, _, name = use.partition("/")
    return target(paper, name)


def views() -> dict[str, str]:
    """A saved view (menu "Views" of the UI) of each table, with the table's runs in the order of its rows."""
    tags: dict[str, str] = {}
    for paper, facts in papers().items():
        for table, layout in facts.tables.items():
            place = f"tags.`{paper}/{table}`"
            metrics = dict.fromkeys(
                f"metrics.`{cell.metric}`" for _, _, cell in layout.cells() if cell.metric
            )
            columns = [place, *metrics, "tags.`scale`"]
            name = f"{paper}, {numbered(table)}"
            tags |= _view(f"{paper}-{table}", name, f"{place} LIKE '%'", order=place, columns=columns)
    return tags


def view_of_scale(scale: str) -> dict[str, str]:
    """A saved view of the runs of one scale, the latest first."""
    return _view(f"scale-{scale}", f"scale {scale}", f"tags.scale = '{scale}'")


def _view(key: str, name: str, where: str, *, order: str = "", columns: Sequence[str] = ()) -> dict[str, str]:
    state = {
        "searchFilter": where,
        "orderByKey": order or "attributes.start_time",
        "orderByAsc": bool(order),
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        **({"selectedColumns": list(columns)} if columns else {}),
    }
    view = {"name": name, "createdAt": 0, "state": json.dumps(state)}
    return {f"mlflow.sharedViewState.{key}": json.dumps(view)}
