"""Mean first passage times as a matrix."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.ticker import LogLocator, MaxNLocator

from pyro_langevin.diagnostics.kinetics import mfpt
from pyro_langevin.diagnostics.layout import Draws, state_labels
from pyro_langevin.plots.canvas import axes_or_new, time_label
from pyro_langevin.plots.palette import INK, OUTSIDE, SURFACE

__all__ = ["plot_mfpt"]


def plot_mfpt(idata: Draws, *, ax: Axes | None = None) -> Axes:
    """Mean time from reaching one state until another is first reached, by both estimators.

    Rows are where a passage starts, columns where it ends. Colour and the upper figure are the learned potential's
    (``prior``), the lower figure that of the posterior paths' jump process, each with its 90 % interval. Dark is fast.
    """
    labels = state_labels(idata)
    n = len(labels)
    ax = axes_or_new(ax, width=2.4 + 1.4 * max(n, 2), height=1.5 + 0.75 * max(n, 2))
    table = mfpt(idata).transpose("estimator", "state_from", "state_to")
    prior = table["mean"].sel(estimator="prior").values
    shown = np.where(np.isfinite(prior), prior, table["mean"].sel(estimator="paths").values)
    known = shown[np.isfinite(shown)]
    # Halfway to white: dark figures can be read on every colour.
    pale = 0.5 + 0.5 * colormaps[SURFACE](np.linspace(0.0, 1.0, 256))
    colours = ListedColormap(pale).with_extremes(bad=OUTSIDE)
    norm = LogNorm(known.min() / 1.1, known.max() * 1.1) if len(known) else LogNorm(1.0, 10.0)
    image = ax.imshow(np.ma.masked_invalid(shown), cmap=colours, norm=norm, aspect="auto")
    if len(known):
        bar = ax.figure.colorbar(image, ax=ax, label=time_label(idata, "mean first passage time"))
        bar.ax.yaxis.set_major_locator(MaxNLocator(5) if known.max() < 8.0 * known.min() else LogLocator())
        bar.ax.yaxis.set_major_formatter("{x:g}")
        bar.ax.yaxis.set_minor_formatter("")
        ax.set_title("upper: learned potential, lower: paths (90 %)", fontsize="small", loc="left")
    for i in range(n):
        for j in range(n):
            if i != j:
                cell = table.isel(state_from=i, state_to=j)
                lines = [_figure(cell.sel(estimator=name)) for name in ("prior", "paths")]
                ax.text(
                    j, i, "\n".join(lines), ha="center", va="center", fontsize="small", linespacing=1.5, color=INK
                )
    if n == 1:
        ax.text(0, 0, "one state:\nno passage", ha="center", va="center", color=INK)
    ax.set_xticks(range(n), labels)
    ax.set_yticks(range(n), labels)
    ax.set_xlabel("to state")
    ax.set_ylabel("from state")
    return ax


def _figure(cell: xr.Dataset) -> str:
    """``12.3 (10.1 to 15.0)``, and ``unknown`` where the estimator has nothing to say."""
    mean, low, high = (float(cell[name]) for name in ("mean", "hdi_low", "hdi_high"))
    return f"{mean:.3g} ({low:.3g} to {high:.3g})" if np.isfinite(mean) else "unknown"
