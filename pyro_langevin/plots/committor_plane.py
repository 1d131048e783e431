"""The committor on a plane."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from pyro_langevin.diagnostics.layout import Draws, state_labels
from pyro_langevin.plots.landscape_plane import highest_level
from pyro_langevin.plots.palette import INK, QUIET, state_look
from pyro_langevin.plots.plane import plane_of

__all__ = ["draw_committor_plane"]

TINT = 0.75
"""How strong the states' colours are: paler ones let the lines be read."""


def draw_committor_plane(idata: Draws, landscape: xr.Dataset, ax: Axes) -> Axes:
    """The states' colours mixed as their committors, lines at one half, .1 and .9, the potential's contours."""
    labels = state_labels(idata)
    plane = plane_of(idata, landscape)
    committor = landscape["committor"].isel(chain=plane.chain).transpose("state", "y", "x").values
    top = highest_level(idata, plane)
    hidden = (plane.potential > top) | ~np.isfinite(committor).any(0)
    weights = np.nan_to_num(committor)
    colours = np.array([to_rgb(state_look(state).colour) for state in range(len(labels))])
    mixed = 1.0 - TINT * np.einsum("kyx,kc->yxc", weights, 1.0 - colours)
    mixed[hidden] = 1.0
    extent = (plane.x[0], plane.x[-1], plane.y[0], plane.y[-1])
    # The grid's points are the middles of pixels only nearly: half a cell is less than a line's width.
    ax.imshow(np.clip(mixed, 0.0, 1.0), origin="lower", extent=extent, aspect="auto", interpolation="bilinear")
    potential = np.where(hidden, np.nan, plane.potential)
    ax.contour(plane.x, plane.y, potential, levels=np.arange(1.0, top, 2.0), colors=QUIET, linewidths=0.5)
    for state in range(len(labels)):
        values = np.where(hidden, np.nan, committor[state])
        if not (np.nanmin(values, initial=1.0) < 0.5 < np.nanmax(values, initial=0.0)):
            continue
        ax.contour(
            plane.x, plane.y, values, levels=[0.1, 0.5, 0.9], colors=INK, linewidths=[0.8, 1.6, 0.8],
            linestyles=["--", "-", "--"],
        )
    plane.badges(ax, labels)
    ax.set_xlabel(plane.labels[0])
    ax.set_ylabel(plane.labels[1])
    ax.set_title("lines: committor .5 (full), .1 and .9 (broken)", fontsize="small", loc="left")
    return ax
