"""dong2017, figure 3: metrics of the features of each layer, one panel per metric, one line per network."""

from typing import Any

import numpy as np

from pipeline.papers import Figure
from pipeline.results.drawings.style import MARKERS, axes_of, curve, over_seeds
from pipeline.results.frame import from_files
from pipeline.work.graph import Graph


def layers(graph: Graph, printed: Figure) -> Any:
    panels = printed.draw.options.panels
    drawn, panel_axes = axes_of(4 * len(panels), 3.2, columns=len(panels))
    for axes, (metric, says) in zip(panel_axes, panels.items(), strict=True):
        for i, (name, label) in enumerate(printed.runs.items()):
            by_seed = np.array(
                [by_layer(from_files(measurement), metric) for measurement in graph.measurements(label)]
            )
            numbers = np.arange(1, by_seed.shape[1] + 1)
            curve(axes, i, numbers, *over_seeds(by_seed), label=name, marker=MARKERS[i % 6])
        axes.set(xlabel="layer", ylabel=says)
    panel_axes[0].legend(frameon=False)
    return drawn


def by_layer(result: dict[str, Any], metric: str) -> list[float]:
    """Return metric_1, metric_2, … of a measurement."""
    metrics = result["metrics"]
    return [metrics[f"{metric}_{k}"] for k in range(1, len(metrics) + 1) if f"{metric}_{k}" in metrics]
