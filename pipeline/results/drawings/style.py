"""Shared by all figures: colours, line styles, axes, curves with bands."""

from typing import Any

import numpy as np

# Okabe and Ito's colours, which colour-blind readers can distinguish; line styles help, too
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000", "#F0E442")
STYLES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P")


def axes_of(width: float = 5.5, height: float = 3.4, *, columns: int = 1) -> tuple[Any, list[Any]]:
    import matplotlib.pyplot as plt

    drawn, ((*panels,),) = plt.subplots(
        1, columns, figsize=(width, height), squeeze=False, layout="constrained"
    )
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="0.9", linewidth=0.8)
        axes.set_axisbelow(True)
    return drawn, panels


def over_seeds(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and sample standard deviation over the first axis, as in tables; 0 for one seed."""
    mean = values.mean(axis=0)
    return mean, values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros_like(mean)


def curve(axes: Any, number: int, x: np.ndarray, mean: np.ndarray, sd: np.ndarray, **how: Any) -> None:
    """Plot a curve with a band of one standard deviation; `number` selects colour and line style."""
    axes.plot(x, mean, STYLES[number % 4], color=COLOURS[number % 8], **how)
    axes.fill_between(x, mean - sd, mean + sd, color=COLOURS[number % 8], alpha=0.2, linewidth=0)
