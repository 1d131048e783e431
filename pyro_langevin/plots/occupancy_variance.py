"""What makes an occupancy unsure: its variance by source."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from pyro_langevin.diagnostics.layout import Draws, state_labels
from pyro_langevin.diagnostics.occupancy_variance import occupancy_variance
from pyro_langevin.plots.canvas import axes_or_new, quiet_frame
from pyro_langevin.plots.palette import INK, PARTS

__all__ = ["plot_occupancy_variance"]

_SOURCES = {
    "path": "noise of the data (draws of the path)",
    "record": "length of the record",
    "seed": "seeds (fits that differ)",
    "monte_carlo": "Monte Carlo",
    "step": "step size",
}


def plot_occupancy_variance(idata: Draws, *, ax: Axes | None = None) -> Axes:
    """Variance of each state's occupancy, its sources stacked; the standard deviation is written beside the bar.

    A longer record cures the length of the record, less noise that of the data, more draws the Monte Carlo part; seeds
    that differ ask for more training or another model.
    """
    labels = state_labels(idata)
    ax = axes_or_new(ax, height=1.9 + 0.5 * len(labels))
    variance = occupancy_variance(idata)["variance"].transpose("source", "state")
    names = [str(name) for name in variance["source"].values]
    values = np.nan_to_num(variance.values)
    begin = np.zeros(len(labels))
    for place, name in enumerate(names):
        part = PARTS[place % len(PARTS)]
        ax.barh(
            range(len(labels)), values[place], left=begin, height=0.6, color=part.colour, hatch=part.hatch,
            edgecolor=INK, linewidth=0.6, label=_SOURCES.get(name, name),
        )
        begin = begin + values[place]
    for state, total in enumerate(begin):
        ax.annotate(
            f"sd {np.sqrt(total):.2g}", (total, state), xytext=(5, 0), textcoords="offset points", va="center",
            fontsize="small", color=INK,
        )
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False, fontsize="small")
    ax.set_yticks(range(len(labels)), labels)
    ax.set_ylim(len(labels) - 0.4, -0.6)
    ax.set_xlim(0.0, 1.18 * begin.max() if begin.max() > 0.0 else 1.0)
    ax.ticklabel_format(axis="x", style="sci", scilimits=(-3, 3), useMathText=True)
    quiet_frame(ax)
    ax.set_xlabel("variance of the fraction of time")
    ax.set_ylabel("state")
    return ax
