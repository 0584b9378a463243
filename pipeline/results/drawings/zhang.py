"""zhang2016, figures 4 and 5: images decoded from every layer, one row per decoder, with their PSNR."""

from typing import Any

from pipeline.papers import Figure
from pipeline.results.frame import arrays, values
from pipeline.work.graph import Graph


def decoded(graph: Graph, printed: Figure) -> Any:
    import matplotlib.pyplot as plt

    lines = printed.draw.options.lines
    columns = ["image", *next(iter(lines.values()))]
    kept = {
        name: [arrays(graph.measurement(label, 0)) for label in line.values()] for name, line in lines.items()
    }
    clean = next(iter(kept.values()))[0]["clean"]
    rows = [(image, name) for image in range(len(clean)) for name in lines]
    drawn, grid_axes = plt.subplots(
        len(rows), len(columns), figsize=(0.8 * len(columns) + 1.2, 0.8 * len(rows))
    )
    for (image, name), row_axes in zip(rows, grid_axes, strict=True):
        for axes, images in zip(
            row_axes, [clean, *(record["restored"] for record in kept[name])], strict=True
        ):
            axes.imshow(images[image], interpolation="nearest")
            axes.axis("off")
        row_axes[0].text(
            -0.1, 0.5, name, ha="right", va="center", fontsize=7, transform=row_axes[0].transAxes
        )
    for axes, column in zip(grid_axes[0], columns, strict=True):
        axes.set_title(column, fontsize=7)
    for i, (name, line) in enumerate(lines.items()):
        texts = [f"PSNR (dB), {name}", *(psnr_of(values(graph, label, "psnr")) for label in line.values())]
        for column, (axes, text) in enumerate(zip(grid_axes[-1], texts, strict=True)):
            place = {"x": 0.5, "ha": "center"} if column else {"x": 1.0, "ha": "right"}
            axes.text(y=-0.1 - 0.2 * i, s=text, va="top", fontsize=7, transform=axes.transAxes, **place)
    drawn.subplots_adjust(wspace=0.06, hspace=0.06)
    return drawn


def psnr_of(over_seeds: tuple[float, float]) -> str:
    mean, sd = over_seeds
    return f"{mean:.2f}" + (f" ± {sd:.2f}" if sd else "")
