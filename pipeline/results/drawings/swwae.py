"""zhao2016, figure 3: `what` and `where` of one feature plane, for shifted against unshifted images."""

from typing import Any

import numpy as np

from pipeline.papers import Figure
from pipeline.results.drawings.style import COLOURS
from pipeline.results.frame import arrays, values
from pipeline.work.graph import Graph


def responses(graph: Graph, printed: Figure) -> Any:
    import matplotlib.pyplot as plt

    (label,) = printed.runs.values()
    kept, most = arrays(graph.measurement(label, 0)), printed.draw.options.pixels
    drawn, panel_axes = plt.subplots(1, 4, figsize=(13, 3.6), layout="constrained")
    panels = [(quantity, way) for way in ("horizontal", "vertical") for quantity in ("what", "where")]
    for letter, axes, (quantity, way) in zip("abcd", panel_axes, panels, strict=True):
        still = kept[f"{quantity} {way} +0"].reshape(len(kept[f"{quantity} {way} +0"]), -1)
        for by, marker in ((most, "o"), (-most, "^")):
            answers = kept[f"{quantity} {way} {by:+}"].reshape(still.shape)
            for k, name in enumerate(["what"] if quantity == "what" else ["x", "y"]):
                style = {"marker": marker, "facecolors": "none", "edgecolors": COLOURS[k]}
                axes.scatter(still[:, k], answers[:, k], 14, label=f"{name}, {by:+}", alpha=0.6, **style)
        ends = np.array([still.min(), still.max()])
        axes.plot(ends, ends, ":", color="0.5", linewidth=1)
        axes.set_title(f"({letter}) {quantity}, moved {way}ly by {most} pixels", fontsize=9)
        if quantity == "what":
            said = f"correlation {values(graph, label, f'what_correlation_{way}')[0]:.2f} (mean over planes)"
        else:
            along, across = (
                values(graph, label, f"where_slope_{name}_{way}")[0] for name in ("along", "across")
            )
            said = f"slope {along:.2f} along the shift, {across:.2f} across it (all planes)"
        axes.set_xlabel(f"as it is\n{said}", fontsize=7)
        axes.set_ylabel("moved", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.locator_params(nbins=5)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(fontsize=6, frameon=False, handletextpad=0.1)
    return drawn
