"""architecture: a paper's networks layer by layer, as the code builds them."""

from types import SimpleNamespace
from typing import Any

from pipeline.datasets import SOURCES
from pipeline.papers import find, numbered, target
from pipeline.papers.layouts import Architectures
from pipeline.results.tables import grid
from pipeline.system.files import write_lines, write_text
from pipeline.work.graph import Graph
from pipeline.work.identity import Training

COLUMNS = ("network", "layer", "output", "parameters", "mflops", "scale", "run")


def runs_behind(graph: Graph, layout: Architectures) -> dict[tuple[str, ...], list[Training]]:
    """Map a line (the network) to the training that builds it."""
    return {(title,): [training] for title, training in trainings(graph, layout.networks).items()}


def trainings(graph: Graph, networks: dict[str, str]) -> dict[str, Training]:
    """Map the networks of a table or figure to trainings: of the run's first seed."""
    named = {title: label.split(".") for title, label in networks.items()}
    return {title: graph.training(stage, run, 0) for title, (stage, run) in named.items()}


def architecture(graph: Graph, name: str) -> None:
    """Write results/<name>.csv: each layer's output, parameters and millions of FLOPs of a forward pass."""
    paper, key, layout = find("architectures", name)
    lines = []
    for (network,), (training,) in runs_behind(graph, layout).items():
        rows = [*layers(training)]
        total = ("all", (), sum(row[2] for row in rows), sum(row[3] for row in rows))
        for layer, output, parameters, flops in (*rows, total):
            shape = "x".join(map(str, output))
            values = (
                network,
                layer,
                shape,
                parameters,
                f"{flops / 1e6:.3f}",
                graph.params.scale,
                training.identity,
            )
            lines.append(dict(zip(COLUMNS, map(str, values), strict=True)))
    head = ["network", "layer", "output", "parameters", "MFLOP"]
    body = [[line[column] for column in COLUMNS[:5]] for line in lines]
    heading = f"## {numbered(key)}: {layout.title}\n\n"
    heading += f"At scale {graph.params.scale}.\n\n"
    write_text(target(paper, key).with_suffix(".md"), heading + grid(head, body))
    write_lines(target(paper, key).with_suffix(".csv"), COLUMNS, lines)


def layers(training: Training) -> list[tuple[str, tuple[int, ...], int, int]]:
    """Output, parameters and FLOPs of each layer, counted without running the network."""
    from pipeline.models.layer_costs import count

    channels = SOURCES[training.shards.dataset.source].channels
    counted = count(model_of(training), side=training.spec.augment.crop, channels=channels)
    return [(layer.name, layer.output, layer.parameters, layer.flops) for layer in counted]


def model_of(training: Training) -> Any:
    """Build a run's network without its data: the source gives channels and classes."""
    from pipeline.objectives import objective_of

    source = SOURCES[training.shards.dataset.source]
    manifest: Any = SimpleNamespace(
        channels=source.channels, classes=range(source.classes or 0), count=1, record={"shape": None}
    )
    return objective_of(training.spec).build(training.spec, manifest)
