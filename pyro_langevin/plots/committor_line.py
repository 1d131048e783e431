"""The committor in one dimension."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from pyro_langevin.diagnostics.layout import Draws, state_labels
from pyro_langevin.plots.canvas import halo, quiet_frame
from pyro_langevin.plots.line_positions import line_positions
from pyro_langevin.plots.palette import INK, QUIET, state_look

__all__ = ["draw_committor_line"]


def draw_committor_line(idata: Draws, landscape: xr.Dataset, ax: Axes) -> Axes:
    """One line a state, the mean over the seeds, with each seed's own; labels at the minima."""
    labels = state_labels(idata)
    committor = landscape["committor"].transpose("chain", "state", "point").values
    place, minima, name = line_positions(idata, landscape)
    drawn = np.flatnonzero(np.isfinite(place).all(1))
    x = np.linspace(place[drawn].min(1).max(), place[drawn].max(1).min(), 600)
    for state, label in enumerate(labels):
        look = state_look(state)
        curves = []
        for chain in drawn:
            order = np.argsort(place[chain])
            known = order[np.isfinite(committor[chain, state][order])]
            if len(known):
                curves.append(np.interp(x, place[chain][known], committor[chain, state][known]))
        if not curves:
            continue
        if len(curves) > 1:
            for curve in curves:
                ax.plot(x, curve, color=look.colour, linewidth=0.7, alpha=0.6)
        mean = np.mean(curves, axis=0)
        ax.plot(x, mean, color=look.colour, linestyle=look.line, linewidth=2.0, label=f"to {label}")
        centre = minima[drawn, state]
        if np.isfinite(centre).any():
            at = float(np.nanmean(centre))
            ax.plot(at, 1.0, marker=look.marker, color=look.colour, markersize=8, clip_on=False, zorder=4)
            ax.annotate(
                label, (at, 1.0), xytext=(0, 7), textcoords="offset points", ha="center", va="bottom", color=INK,
                fontweight="bold", path_effects=halo(), annotation_clip=False,
            )
    ax.axhline(0.5, color=QUIET, linewidth=0.6)
    known = minima[drawn][np.isfinite(minima[drawn])]
    reach = float(np.ptp(known)) if len(known) > 1 else 0.0
    if reach > 0.0:
        ax.set_xlim(known.min() - 0.25 * reach, known.max() + 0.25 * reach)
    else:
        ax.set_xlim(x[0], x[-1])
    ax.set_ylim(0.0, 1.0)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize="small")
    quiet_frame(ax)
    ax.set_xlabel(name, parse_math=False)
    ax.set_ylabel("committor")
    return ax
