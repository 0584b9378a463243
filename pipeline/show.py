"""show: print the values of a run, their lines in params.yaml, and the values at a scale."""

import argparse
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from pipeline import papers
from pipeline.config.documents import lines, read_yaml
from pipeline.config.inheritance import TEMPLATES, origins, outer, resolved
from pipeline.config.params import PARAMS
from pipeline.config.reading import load
from pipeline.config.runs import STAGES, Run
from pipeline.config.typed import nearest, plain
from pipeline.runner.cli import exit_code_of
from pipeline.work.graph import Graph
from pipeline.work.identity import Shards

Path = tuple[str, ...]  # of a value within its run: network, network-2, n
WIDTH = 110


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A run, data set, protocol or scale, in params.yaml and after the scale's caps."""

    asked: Any
    made: Any = None  # None: no scale changes it
    facts: dict[str, Any] = field(default_factory=dict)


def _run(graph: Graph, stage: str, name: str, seed: int) -> Entry:
    run, training = graph.params.runs(stage)[name], graph.training(stage, name, seed)
    facts = {"key": training.key, "folder": training.folder, "data": _folder(training.shards)}
    if training.start:
        facts["starts from"] = training.start.folder
    starts = _runs(graph, lambda other: stage == "pretrain" and other.start == name)
    users = _users(lambda label: label.startswith(f"{stage}.{name}."))
    return Entry(asked=run, made=training.spec, facts=facts | {"start of": starts, "used by": users})


def _dataset(graph: Graph, _: str, name: str, __: int) -> Entry:
    shards = graph.shards(name)
    runs = _runs(graph, lambda run: run.data.set == name)
    facts = {"key": shards.key, "folder": _folder(shards), "used by": runs}
    return Entry(asked=graph.params.datasets[name], made=shards.dataset, facts=facts)


def _protocol(graph: Graph, _: str, name: str, __: int) -> Entry:
    runs = _runs(graph, lambda run: name in run.evaluate)
    users = _users(lambda label: label.endswith(f".{name}"))
    return Entry(asked=graph.params.evaluate[name], facts={"measures": runs, "used by": users})


def _scale(graph: Graph, _: str, name: str, __: int) -> Entry:
    return Entry(asked=graph.params.scales[name])


SECTIONS: dict[str, Callable[[Graph, str, str, int], Entry]] = {
    "pretrain": _run,
    "finetune": _run,
    "datasets": _dataset,
    "evaluate": _protocol,
    "scales": _scale,
}


def _folder(shards: Shards) -> str:
    return f"{shards.folder}{' (drawn pictures)' if shards.procedural else ''}"


def _runs(graph: Graph, selects: Callable[[Run], bool]) -> list[str]:
    return [
        f"{stage}.{name}"
        for stage in STAGES
        for name, run in graph.params.runs(stage).items()
        if selects(run)
    ]


def _users(selects: Callable[[str], bool]) -> list[str]:
    """Tables, figures and claims that use such a measurement."""
    return list(dict.fromkeys(f"{paper}/{name}" for paper, name, label in papers.uses() if selects(label)))


def show(graph: Graph, label: str, seed: int) -> list[str]:
    """The lines to print about SECTION.NAME."""
    section, _, name = label.partition(".")
    if section not in SECTIONS:
        raise ValueError(f"params.yaml has no section {section!r}; {nearest(section, SECTIONS)}")
    if name not in getattr(graph.params, section):
        raise ValueError(f"{section} has no {name!r}; {nearest(name, getattr(graph.params, section))}")
    entry = SECTIONS[section](graph, section, name, seed)
    rows = _rows(entry, section, name)
    widths = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
    facts = [
        textwrap.fill(
            f"{fact:<12}{', '.join(value) if isinstance(value, list) else value}",
            WIDTH,
            subsequent_indent=" " * 12,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for fact, value in entry.facts.items()
        if value
    ]
    at = f" at scale {graph.params.scale}" if entry.made else ""
    seeded = f", seed {seed}" if section in STAGES else ""
    return [
        f"{label}{at}{seeded}",
        *(f"{path:<{widths[0]}}  {value:<{widths[1]}}  {where}".rstrip() for path, value, where in rows),
        "",
        *facts,
    ]


def _rows(entry: Entry, section: str, name: str) -> list[tuple[str, str, str]]:
    """Return name, value before and after the scale's caps, and place in params.yaml."""
    document, numbers = read_yaml(PARAMS), lines(PARAMS)
    owners = origins(document).get((section, name), {})
    asked = _leaves(plain(entry.asked))
    written = _leaves(resolved(document)[section][name])  # defaults, too, where they are written
    made = asked if entry.made is None else _leaves(plain(entry.made))
    order = [attribute.name for attribute in fields(entry.asked)]
    rows = []
    for path in sorted({**asked, **written, **made}, key=lambda path: order.index(path[0])):
        value = asked.get(path, written.get(path))
        text = _text(value)
        if entry.made is not None and path[0] not in ("search", "tuned"):  # no part of a single training
            text += f" -> {_text(made.get(path, None if path in asked else value))}"
        dotted = ".".join(path)
        key = next((key for key in (dotted, *reversed(outer(dotted))) if key in owners), path[0])
        owner = owners.get(key, (section, name))
        within = path[key.count(".") + 1 :]
        where = f"{PARAMS}:{_line(numbers, (*owner, key), within)}"
        if owner != (section, name):
            where += f" ({owner[1] if owner[0] == TEMPLATES else '.'.join(owner)})"
        rows.append((dotted, text, where))
    return rows


def _leaves(value: Any, path: Path = ()) -> dict[Path, Any]:
    """Flatten nested mappings to paths; a choice without options is a value."""
    if not isinstance(value, dict):
        return {path: value}
    if not value and len(path) > 1:
        return {path[:-1]: path[-1]}
    return {inner: leaf for name in value for inner, leaf in _leaves(value[name], (*path, name)).items()}


def _text(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_text, value))}]"
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _line(numbers: dict[Path, int], key: Path, within: Path) -> int:
    """The line of a value, or of the innermost mapping that is written."""
    place = (*key, *within)
    return next(numbers[place[:length]] for length in range(len(place), 1, -1) if place[:length] in numbers)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pipeline.show", description=__doc__)
    parser.add_argument(
        "name", help=f"SECTION.NAME, as pretrain.imagenet-full; SECTION: {', '.join(SECTIONS)}"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scale", default=None, help="instead of the one that params.yaml names")
    arguments = parser.parse_args()

    def act() -> None:
        print("\n".join(show(Graph(load(scale=arguments.scale)), arguments.name, arguments.seed)))

    sys.exit(exit_code_of(f"show {arguments.name}", act))


if __name__ == "__main__":
    main()
