"""Occupancy of each state by every estimator, with intervals."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from pyro_langevin.diagnostics.layout import Draws, state_labels, trusted_stationary
from pyro_langevin.diagnostics.occupancy import occupancy
from pyro_langevin.plots.canvas import axes_or_new, quiet_frame
from pyro_langevin.plots.palette import INK, QUIET, state_look

__all__ = ["plot_occupancy"]

_ESTIMATORS = {
    "path": ("o", "posterior paths: this record"),
    "long_run": ("s", "rates of the paths: long run"),
    "stationary": ("D", "learned potential: long run"),
}


def plot_occupancy(idata: Draws, *, ax: Axes | None = None) -> Axes:
    """Fraction of time in each state, with 90 % intervals, one mark for each estimator.

    The posterior paths' interval covers this record; the other two cover the long run, the length of the
    record included. Small ticks are the learned potentials of single seeds.
    """
    labels = state_labels(idata)
    ax = axes_or_new(ax, height=1.3 + 0.75 * len(labels))
    table = occupancy(idata)
    seeds = trusted_stationary(idata).values
    shift = 0.22
    for place, (estimator, (marker, _)) in enumerate(_ESTIMATORS.items()):
        row = table.sel(estimator=estimator)
        for state in range(len(labels)):
            colour = state_look(state).colour
            y = state + shift * (place - 1)
            mean, low, high = (float(row[name][state]) for name in ("mean", "hdi_low", "hdi_high"))
            ax.plot([low, high], [y, y], color=colour, linewidth=2.2, solid_capstyle="butt")
            filled = colour if estimator == "path" else "white"
            ax.plot(
                mean,
                y,
                marker=marker,
                color=colour,
                markerfacecolor=filled,
                markersize=7,
                markeredgewidth=1.6,
            )
            if estimator == "stationary":
                ax.plot(seeds[:, state], np.full(len(seeds), y + 0.13), "|", color=QUIET, markersize=5)
    for marker, text in _ESTIMATORS.values():
        filled = INK if marker == "o" else "white"
        ax.plot([], [], marker=marker, color=INK, markerfacecolor=filled, linewidth=2.2, label=text)
    ax.plot([], [], "|", color=QUIET, label="learned potential, single seeds")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False, fontsize="small")
    ax.set_yticks(range(len(labels)), labels)
    ax.set_ylim(len(labels) - 0.4, -0.6)
    ax.set_xlim(0.0, min(1.02, 1.1 * float(np.nanmax(table["hdi_high"]))))
    ax.grid(axis="x", color=QUIET, alpha=0.25, linewidth=0.6)
    quiet_frame(ax)
    ax.set_xlabel("fraction of time (90 % intervals)")
    ax.set_ylabel("state")
    return ax
