"""Relaxation times of potential, discretised dynamics and posterior paths, by lag."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator

from pyro_langevin.diagnostics.implied_timescales import implied_timescales
from pyro_langevin.diagnostics.layout import Draws
from pyro_langevin.plots.canvas import axes_or_new, quiet_frame, time_label
from pyro_langevin.plots.palette import INK, OUTSIDE, QUIET

__all__ = ["plot_timescales"]

_LOOKS = (("#222222", "o"), ("#555555", "s"), ("#777777", "^"), ("#999999", "D"))
"""Processes are no states: greys from the slowest on, with markers."""


def plot_timescales(idata: Draws, *, ax: Axes | None = None) -> Axes:
    """Implied timescales of hopping against the lag at which transitions are counted.

    Marks with 90 % intervals: the posterior paths. Broken lines: the learned dynamics counted the same way, as
    discretised in the fit. Horizontal lines: the learned dynamics in continuous time. All three should agree, and the
    marks be level. In the grey region a timescale is shorter than its lag and cannot be told.
    """
    ax = axes_or_new(ax, height=4.0)
    table = implied_timescales(idata).transpose("lag", "process", ...)
    lags = table["lag"].values.astype(float)
    bars = 0
    for process in range(table.sizes["process"]):
        colour, marker = _LOOKS[min(process, len(_LOOKS) - 1)]
        paths, low, high, prior = (table[name].values[:, process] for name in ("paths", "hdi_low", "hdi_high", "prior"))
        continuous = float(table["continuous"].values[process])
        if not (np.isfinite(paths).any() or np.isfinite(prior).any() or np.isfinite(continuous)):
            continue
        known = np.isfinite(paths)
        nudge = lags * 1.03**process
        ax.vlines(nudge[known], low[known], high[known], color=colour, linewidth=1.6)
        ax.plot(nudge[known], paths[known], linestyle="none", marker=marker, color=colour, markersize=6)
        ax.plot(lags, prior, color=colour, linestyle="--", linewidth=1.4)
        if np.isfinite(continuous):
            ax.axhline(continuous, color=colour, linewidth=1.0)
            ax.annotate(
                f"{continuous:.3g}", (1.0, continuous), xycoords=("axes fraction", "data"), xytext=(4, 0),
                textcoords="offset points", va="center", fontsize="small", color=INK, annotation_clip=False,
            )
        bars += 1
    ax.set_yscale("log")
    ax.set_xscale("log")
    if bars:
        _legend(ax)
        ax.set_xlim(lags.min() / 1.3, lags.max() * 1.3)
        bottom, top = ax.get_ylim()
        edge = np.array(ax.get_xlim())
        ax.fill_between(edge, np.minimum(bottom, edge.min() / 10), edge, color=OUTSIDE, linewidth=0.0, zorder=0)
        ax.set_ylim(bottom, top)
    else:
        ax.tick_params(labelbottom=False, labelleft=False)
        ax.text(0.5, 0.5, "one state: nothing to forget", transform=ax.transAxes, ha="center", color=INK)
    quiet_frame(ax)
    for axis, (least, most) in ((ax.xaxis, ax.get_xlim()), (ax.yaxis, ax.get_ylim())):
        narrow = most < 8.0 * least  # too little for one, two, five
        axis.set_major_locator(MaxNLocator(5) if narrow else LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("")
    ax.set_xlabel(time_label(idata, "lag"))
    ax.set_ylabel(time_label(idata, "timescale"))
    return ax


def _legend(ax: Axes) -> None:
    ax.plot([], [], linestyle="none", marker="o", color=INK, label="posterior paths (90 %)")
    ax.plot([], [], linestyle="--", color=INK, label="learned dynamics, same lag")
    ax.plot([], [], linestyle="-", linewidth=1.0, color=INK, label="learned dynamics, continuous")
    ax.fill_between([], [], [], color=OUTSIDE, edgecolor=QUIET, linewidth=0.5, label="shorter than the lag")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False, fontsize="small")
