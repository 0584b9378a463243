"""What all figures share: colours, line styles, axes, and lines with their bands."""

from typing import Any

import numpy as np

# Okabe and Ito's colours; with the line styles they tell lines apart for colour-blind readers, too
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000", "#F0E442")
STYLES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P")


def axes_of(width: float = 5.5, height: float = 3.4, *, columns: int = 1) -> tuple[Any, list[Any]]:
    import matplotlib.pyplot as plt

    drawn, ((*every,),) = plt.subplots(
        1, columns, figsize=(width, height), squeeze=False, layout="constrained"
    )
    for axes in every:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="0.9", linewidth=0.8)
        axes.set_axisbelow(True)
    return drawn, every


def curve(axes: Any, number: int, x: np.ndarray, mean: np.ndarray, sd: np.ndarray, **how: Any) -> None:
    """A curve in the style of its number, with a band of one standard deviation."""
    axes.plot(x, mean, STYLES[number % 4], color=COLOURS[number % 8], **how)
    axes.fill_between(x, mean - sd, mean + sd, color=COLOURS[number % 8], alpha=0.2, linewidth=0)
