"""dong2017, figure 3: what is read from each layer, a panel a metric, a line a network."""

from typing import Any

import numpy as np

from pipeline.papers import Figure
from pipeline.results.drawings.style import MARKERS, axes_of, curve
from pipeline.results.frame import from_files
from pipeline.work.graph import Graph


def layers(graph: Graph, wanted: Figure) -> Any:
    panels = wanted.draw.options.panels
    drawn, every = axes_of(4 * len(panels), 3.2, columns=len(panels))
    for axes, (metric, says) in zip(every, panels.items(), strict=True):
        for i, (name, label) in enumerate(wanted.runs.items()):
            found = np.array([by_layer(from_files(each), metric) for each in graph.measurements(label)])
            numbers, mean, sd = np.arange(1, found.shape[1] + 1), found.mean(axis=0), found.std(axis=0)
            curve(axes, i, numbers, mean, sd, label=name, marker=MARKERS[i % 6])
        axes.set(xlabel="layer", ylabel=says)
    every[0].legend(frameon=False)
    return drawn


def by_layer(result: dict[str, Any], metric: str) -> list[float]:
    """metric_1, metric_2, … of a measurement."""
    own = result["metrics"]
    return [own[f"{metric}_{k}"] for k in range(1, len(own) + 1) if f"{metric}_{k}" in own]
