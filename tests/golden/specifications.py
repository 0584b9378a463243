"""The key and resolved specification of every piece of work at each scale, and the defaults that both leave out."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from golden import changes, read, write
from pipeline.config.reading import load
from pipeline.config.runs import STAGES
from pipeline.config.typed import plain
from pipeline.work.graph import Graph
from pipeline.work.identity import Measurement, Shards, Training, short_hash


def differences() -> list[str]:
    return [line for name, lines in found().items() for line in changes(read(name), lines)]


def renew() -> None:
    for name, lines in found().items():
        write(name, lines)


def found() -> dict[str, list[str]]:
    """The lines of each record, by its name."""
    params = load()
    return {f"{scale}.txt": of_scale(scale) for scale in params.scales} | {
        "defaults.txt": sorted(defaults(params))
    }


def of_scale(scale: str) -> list[str]:
    """A line for each training or measurement: its folder (stage, run, seed, key) and a digest of its specification."""
    return sorted(
        {
            f"{each.folder.as_posix()} {short_hash(plain(each.dataset if isinstance(each, Shards) else each.spec))}"
            for each in works(Graph(load(scale=scale)))
        }
    )


def works(graph: Graph) -> Iterator[Shards | Training | Measurement]:
    """All pieces of work of params.yaml at a scale."""
    yield from map(graph.shards, graph.params.datasets)
    for stage in STAGES:
        for name in graph.params.runs(stage):
            for training in graph.trainings(stage, name):
                yield training
                for protocol in training.spec.evaluate:
                    yield graph.measurement(f"{training.label}.{protocol}", training.seed)


def defaults(value: Any) -> set[str]:
    """The optional fields of all records in `value`: a default is part of no key and of no digest."""
    if isinstance(value, dict | tuple):
        parts = value.values() if isinstance(value, dict) else value
        return set().union(*map(defaults, parts))
    if not dataclasses.is_dataclass(value):
        return set()
    own = set()
    for field in dataclasses.fields(value):
        if field.default_factory is not dataclasses.MISSING:
            own.add(f"{type(value).__name__}.{field.name} {field.default_factory()!r}")
        elif field.default is not dataclasses.MISSING:
            own.add(f"{type(value).__name__}.{field.name} {field.default!r}")
        own |= defaults(getattr(value, field.name))
    return own
