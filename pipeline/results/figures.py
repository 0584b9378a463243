"""figure: a paper's figures from our measurements, as PNG and PDF, with what the paper says they show."""

import json
import textwrap
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from pipeline.papers import Figure, find, numbered, target
from pipeline.results.architectures import trainings
from pipeline.results.drawings import dong, masci, swwae, zhang
from pipeline.results.drawings.style import COLOURS, MARKERS, axes_of, curve, over_seeds
from pipeline.results.frame import arrays, from_files, values
from pipeline.results.tables import names
from pipeline.system.files import write_text, write_whole
from pipeline.work.graph import Graph
from pipeline.work.identity import Measurement, Training

BANDED = ("curves", "bars", "trend", "layers")  # drawings that show the spread over the seeds


def figure(graph: Graph, name: str) -> None:
    """Write results/<name>.png and .pdf, and .json: the caption, and the runs behind it."""
    import matplotlib as mpl

    mpl.use("Agg")
    paper, key, printed = find("figures", name)
    drawn = DRAW[printed.draw.name](graph, printed)
    caption = caption_of(graph, paper, key, printed)
    drawn.text(0.5, -0.03, textwrap.fill(caption, 110), ha="center", va="top", fontsize=7, wrap=True)
    path = target(paper, key)
    # without dates and versions inside, the same runs give the same bytes
    pdf = partial(drawn.savefig, format="pdf", bbox_inches="tight", metadata={"CreationDate": None})
    png = partial(drawn.savefig, format="png", dpi=200, bbox_inches="tight", metadata={"Software": None})
    write_whole(path.with_suffix(".pdf"), pdf)
    write_whole(path.with_suffix(".png"), png)
    (works,) = runs_behind(graph, printed).values()
    beside = {"caption": caption, "runs": names(works)}
    write_text(path.with_suffix(".json"), json.dumps(beside, indent=1) + "\n")


def runs_behind(graph: Graph, printed: Figure) -> dict[tuple[str, ...], list[Measurement | Training]]:
    """Map a figure (one entry, no lines) to its measurements, or to the trainings that build its networks."""
    measurements = [measurement for label in printed.labels() for measurement in graph.measurements(label)]
    return {(): [*measurements, *trainings(graph, printed.networks).values()]}


def caption_of(graph: Graph, paper: str, key: str, printed: Figure) -> str:
    head = f"{numbered(key)} of {paper}: {printed.title}. The paper: {printed.says} "
    if printed.networks:
        return f"{head}Ours: as built at scale {graph.params.scale}; numbers are channels, and sides of maps."
    measurements = [graph.measurement(label, 0) for label in printed.labels()]
    data = ", ".join(sorted({measurement.shards.displayed_name for measurement in measurements}))
    seeds = sorted({graph.pipelines(label) for label in printed.labels()})
    repeats = str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    bands = ", bands one standard deviation" if printed.draw.name in BANDED else ""
    smoke = " A smoke run: it reproduces nothing." if graph.params.scale == "smoke" else ""
    shown = ", the first is shown" if printed.draw.name == "pictures" and repeats != "1" else ""
    return f"{head}Ours: scale {graph.params.scale}, data {data}, n = {repeats}{shown}{bands}.{smoke}"


def curves(graph: Graph, printed: Figure) -> Any:
    """Plot loss against epoch, with a band of one standard deviation over seeds."""
    from matplotlib.ticker import MaxNLocator, NullFormatter, ScalarFormatter

    drawn, (axes,) = axes_of()
    for i, (name, label) in enumerate(printed.runs.items()):
        records = [from_files(measurement)["epoch_losses"] for measurement in graph.measurements(label)]
        losses = np.array([record[: printed.draw.options.epochs] for record in records])
        curve(axes, i, np.arange(1, losses.shape[1] + 1), *over_seeds(losses), label=name, linewidth=1.6)
    axes.set(xlabel="epoch", ylabel=printed.draw.options.loss)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if printed.draw.options.logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(ScalarFormatter())  # 0.04, not 4 x 10^-2
        least, most = axes.get_ylim()
        one_decade = most < 10 * least  # over more of them labels between powers of 10 would overlap
        axes.yaxis.set_minor_formatter(ScalarFormatter() if one_decade else NullFormatter())
    axes.legend(frameon=False)
    return drawn


def bars(graph: Graph, printed: Figure) -> Any:
    drawn, (axes,) = axes_of(5.5, 0.6 + 0.5 * len(printed.runs))
    for i, label in enumerate(printed.runs.values()):
        mean, sd = values(graph, label, printed.draw.options.metric)
        axes.barh(i, mean, 0.6, xerr=sd or None, color=COLOURS[i % 8], capsize=3)
        axes.text(mean + sd, i, f"  {mean:.2f}", va="center", fontsize=8)
        axes.set_yticks(range(len(printed.runs)), list(printed.runs))
    axes.invert_yaxis()
    axes.grid(visible=False)
    axes.set_xlabel(f"{printed.draw.options.metric.replace('_', ' ')} ({printed.draw.options.unit})")
    return drawn


def trend(graph: Graph, printed: Figure) -> Any:
    options = printed.draw.options
    panels = options.panels or {"": tuple(options.lines)}
    drawn, panel_axes = axes_of(5.5 if len(panels) == 1 else 4.2 * len(panels), columns=len(panels))
    for (title, lines), axes in zip(panels.items(), panel_axes, strict=True):
        for i, name in enumerate(lines):
            points = options.lines[name]
            x = np.array([float(number) for number in points])
            spread = np.array([values(graph, label, options.metric) for label in points.values()])
            curve(axes, i, x, spread[:, 0], spread[:, 1], label=name, marker=MARKERS[i % 6])
        axes.set(xlabel=options.x, ylabel=f"{options.metric.replace('_', ' ')} ({options.unit})", title=title)
        axes.legend(frameon=False)
    return drawn


def pictures(graph: Graph, printed: Figure) -> Any:
    """Draw one row per run and array; arrays are images (K, H, W, C) or maps (K, H, W)."""
    rows: list[tuple[str, np.ndarray]] = []
    for name, label in printed.runs.items():
        kept = arrays(graph.measurement(label, 0))
        shared = {array: kept[array] for array in printed.draw.options.once}
        rows += [
            picture
            for picture in shared.items()
            if not any(np.array_equal(picture[1], row) for _, row in rows)
        ]
        rows += [
            (f"{name}\n{array}" if name else array, kept[array]) for array in printed.draw.options.arrays
        ]
    return grid(rows)


def networks(graph: Graph, printed: Figure) -> Any:
    from pipeline.results.drawings.network import draw  # which imports torch

    return draw(trainings(graph, printed.networks))


def grid(rows: list[tuple[str, np.ndarray]]) -> Any:
    import matplotlib.pyplot as plt

    columns = max(len(images) for _, images in rows)
    drawn, grid_axes = plt.subplots(
        len(rows), columns, figsize=(0.75 * columns + 1.2, 0.71 * len(rows)), squeeze=False
    )
    for (name, images), row_axes in zip(rows, grid_axes, strict=True):
        for axes in row_axes:
            axes.axis("off")
        for axes, image in zip(row_axes, images, strict=False):
            flat = image.squeeze()
            # feature maps have no fixed range: scale from least to greatest value
            shade = (
                {"cmap": "gray", "vmin": 0, "vmax": 255} if flat.dtype == np.uint8 else {"cmap": "viridis"}
            )
            axes.imshow(flat, interpolation="nearest", **({} if flat.ndim == 3 else shade))
        row_axes[0].text(
            -0.1, 0.5, name, ha="right", va="center", fontsize=7, transform=row_axes[0].transAxes
        )
    drawn.subplots_adjust(wspace=0.06, hspace=0.06, bottom=0, top=1)  # the caption follows
    return drawn


DRAW: dict[str, Callable[[Graph, Figure], Any]] = {
    "curves": curves,
    "bars": bars,
    "trend": trend,
    "pictures": pictures,
    "filters": masci.filters,
    "responses": swwae.responses,
    "layers": dong.layers,
    "decoded": zhang.decoded,
    "networks": networks,
}
