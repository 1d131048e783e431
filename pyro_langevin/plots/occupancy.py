"""Occupancy of each state by every estimator, with intervals."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from pyro_langevin.diagnostics.correction import corrected_occupancy
from pyro_langevin.diagnostics.layout import Draws, attribute, group, state_labels, trusted_stationary
from pyro_langevin.diagnostics.occupancy import occupancy
from pyro_langevin.plots.canvas import axes_or_new, quiet_frame
from pyro_langevin.plots.palette import INK, QUIET, state_look

__all__ = ["plot_occupancy"]

_RECORD = {
    "path": ("o", "posterior paths: this record"),
    "weights": ("^", "same, guide corrected by weights"),
    "particles": ("v", "same, guide corrected by particles"),
}
_LONG_RUN = {
    "long_run": ("s", "rates of the paths: long run"),
    "stationary": ("D", "learned potential: long run"),
}
_BESIDE = {"sampled": "+", "tempered": "+", "importance": "1", "laplace": "x"}


def plot_occupancy(idata: Draws, *, ax: Axes | None = None) -> Axes:
    """Fraction of time in each state, with 90 % intervals, one mark for each estimator.

    Full marks answer for this record: the posterior paths, and, where draws come from a guide, the same corrected by
    importance weights and by guided particles (:func:`~pyro_langevin.diagnostics.corrected_occupancy`). Hollow marks
    answer for the long run, and their intervals hold the length of the record. Small ticks are the learned potentials
    of single seeds; small crosses are other ways to integrate the potential, which need not be right.
    """
    labels = state_labels(idata)
    rows = _rows(idata)
    ax = axes_or_new(ax, height=1.2 + 0.24 * len(rows) * len(labels) + 0.17 * len(rows))
    step = 0.8 / len(rows)
    for place, (estimator, table) in enumerate(rows.items()):
        marker, text = (_RECORD | _LONG_RUN)[estimator]
        for state in range(len(labels)):
            colour = state_look(state).colour
            y = state + step * (place - (len(rows) - 1) / 2)
            mean, low, high = (float(table[name][state]) for name in ("mean", "hdi_low", "hdi_high"))
            ax.plot([low, high], [y, y], color=colour, linewidth=2.2, solid_capstyle="butt")
            filled = colour if estimator in _RECORD else "white"
            ax.plot(mean, y, marker=marker, color=colour, markerfacecolor=filled, markersize=7, markeredgewidth=1.6)
        filled = INK if estimator in _RECORD else "white"
        ax.plot([], [], marker=marker, color=INK, markerfacecolor=filled, linewidth=2.2, label=text)
    _beside(idata, ax, 0.5 * step * (len(rows) - 1), 0.5 * step)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False, fontsize="small")
    ax.set_yticks(range(len(labels)), labels)
    ax.set_ylim(len(labels) - 0.4, -0.6)
    highest = max(float(np.nanmax(table["hdi_high"], initial=0.0)) for table in rows.values())
    ax.set_xlim(0.0, min(1.02, 1.1 * highest) or 1.0)
    ax.grid(axis="x", color=QUIET, alpha=0.25, linewidth=0.6)
    quiet_frame(ax)
    ax.set_xlabel("fraction of time (90 % intervals)")
    ax.set_ylabel("state")
    return ax


def _rows(idata: Draws) -> Mapping[str, xr.Dataset]:
    """One table of means and intervals for each estimator, in the order they are drawn."""
    table = occupancy(idata)
    rows = {"path": table.sel(estimator="path")}
    # Draws of the exact posterior need no correction, and have none.
    if attribute(idata, "drawn_from", "guide") != "exact posterior" and "log_p" in group(idata, "sample_stats"):
        corrected = corrected_occupancy(idata)
        for name in ("weights", "particles"):
            if bool(corrected["mean"].sel(estimator=name).notnull().any()):
                rows[name] = corrected.sel(estimator=name)
    return rows | {name: table.sel(estimator=name) for name in _LONG_RUN}


def _beside(idata: Draws, ax: Axes, y: float, below: float) -> None:
    """Single seeds, and the other estimates of the same Boltzmann law, under the learned potential's marks."""
    seeds = trusted_stationary(idata).values
    for state in range(seeds.shape[1]):
        ax.plot(seeds[:, state], np.full(len(seeds), state + y + below), "|", color=QUIET, markersize=5)
    ax.plot([], [], "|", color=QUIET, label="learned potential, single seeds")
    stationary = group(idata, "occupancy", "stationary")["stationary"]
    if "estimator" not in stationary.dims:
        return
    for name in stationary["estimator"].values[1:]:
        mean = stationary.sel(estimator=name).mean("chain", skipna=True).values
        known = np.flatnonzero(np.isfinite(mean))
        marker = _BESIDE.get(str(name), "x")
        ax.plot(
            mean[known], known + y + below, marker, color=INK, markersize=5.5, markeredgewidth=1.0,
            label=f"learned potential, {str(name).replace('laplace', 'Laplace')}",
        )
