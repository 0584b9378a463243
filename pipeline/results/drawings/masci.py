"""masci2011, figures 1 and 2: a panel of filters for each run, with metrics that quantify what it shows."""

from typing import Any

import numpy as np

from pipeline.papers import Figure
from pipeline.results.frame import arrays, values
from pipeline.work.graph import Graph


def filters(graph: Graph, printed: Figure) -> Any:
    import matplotlib.pyplot as plt

    drawn, panel_axes = plt.subplots(
        1, len(printed.runs), figsize=(2.3 * len(printed.runs), 2.5), squeeze=False
    )
    for axes, (name, label) in zip(panel_axes[0], printed.runs.items(), strict=True):
        kept = arrays(graph.measurement(label, 0))["filters"]
        shade = {"cmap": "gray", "vmin": 0, "vmax": 1} if kept.shape[3] == 1 else {}
        axes.imshow(
            sheet(kept, columns=printed.draw.options.columns).squeeze(), interpolation="nearest", **shade
        )
        axes.axis("off")
        axes.set_title(name, fontsize=8)
        lines = []
        for metric, unit in printed.draw.options.numbers.items():
            mean, sd = values(graph, label, metric)
            lines.append(f"{metric} {mean:.3g}" + (f" ± {sd:.2g}" if sd else "") + f" {unit}")
        axes.text(0.5, -0.04, "\n".join(lines), ha="center", va="top", fontsize=7, transform=axes.transAxes)
    return drawn


def sheet(kept: np.ndarray, *, columns: int) -> np.ndarray:
    """Tile filters (K, h, w, C) in rows with white lines between; one shared scale, 0 in the middle."""
    count, height, width, channels = kept.shape
    rows = -(-count // columns)
    paper = np.ones((rows * (height + 1) + 1, columns * (width + 1) + 1, channels))
    shades = 0.5 + kept / (2 * max(float(np.abs(kept).max()), np.finfo(float).tiny))
    for i, shade in enumerate(shades):
        top, left = (i // columns) * (height + 1) + 1, (i % columns) * (width + 1) + 1
        paper[top : top + height, left : left + width] = shade
    return paper
