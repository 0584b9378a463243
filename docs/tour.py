"""Draw the pictures of docs/tour.md: after `make results/table6.csv`, `PYTHONPATH=. python docs/tour.py`."""

from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl

from pipeline.config.reading import load
from pipeline.papers import find
from pipeline.results.drawings.network import draw
from pipeline.results.drawings.style import COLOURS, STYLES, axes_of
from pipeline.results.figures import grid
from pipeline.results.frame import arrays, read_metrics
from pipeline.system.files import write_whole
from pipeline.work.graph import Graph

FOLDER = Path("docs/tour")


def save(drawn: Any, name: str) -> None:
    png = partial(drawn.savefig, format="png", dpi=150, bbox_inches="tight", metadata={"Software": None})
    write_whole(FOLDER / name, png)
    print(FOLDER / name)


def main() -> None:
    mpl.use("Agg")
    graph = Graph(load())
    _, _, table6 = find("tables", "table6")
    arms = {row: graph.measurement(cells["PSNR"].of, 0) for row, cells in table6.rows.items()}
    kept = {row: arrays(arm) for row, arm in arms.items()}
    records = {row: read_metrics(arm.metrics) for row, arm in arms.items()}
    full = records["Ours full shortcut"]["metrics"]

    clean, corrupted = (kept["Ours full shortcut"][name] for name in ("clean", "corrupted"))
    save(grid([("drawn", clean), (f"corrupted\n{full['psnr_corrupted']:.2f} dB", corrupted)]), "pixels.png")
    network = arms["Ours full shortcut"].training
    save(draw({f"{network.name}, scale {network.scale}": network}), "network.png")

    drawn, (axes,) = axes_of(5.5, 3)
    for (row, record), colour, style in zip(records.items(), COLOURS, STYLES, strict=False):
        losses = record["epoch_losses"]
        axes.plot(range(1, len(losses) + 1), losses, style, color=colour, label=row)
    axes.set(xlabel="epoch", ylabel="training loss", ylim=(0, None))
    axes.legend(frameon=False)
    save(drawn, "losses.png")

    restored = [
        (f"{row}\n{records[row]['metrics']['psnr']:.2f} dB", each["restored"]) for row, each in kept.items()
    ]
    save(grid([("drawn", clean), *restored]), "restored.png")


if __name__ == "__main__":
    main()
