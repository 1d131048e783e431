"""The learned potential in two dimensions."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from pyro_langevin.diagnostics.guide_quality import best_chain
from pyro_langevin.diagnostics.layout import Draws, group, state_labels
from pyro_langevin.plots.palette import INK, PAPER_EDGE, SURFACE, state_look

__all__ = ["draw_plane"]

VISITED = 1500
"""Points of the posterior paths that are shown."""
DRAWS = 5
"""Draws that they are taken from: all of a long record's would be gigabytes."""


def draw_plane(idata: Draws, landscape: xr.Dataset, ax: Axes) -> Axes:
    """Contours of the seed with the best ELBO, its minima, and points of its posterior paths."""
    best = best_chain(idata)
    chain = landscape.isel(chain=best)
    potential = chain["beta_potential"].transpose("y", "x").values
    potential = potential - np.nanmin(potential)
    labels = state_labels(idata)
    height = group(idata, "states", "beta_barrier")["beta_barrier"].isel(chain=best).values
    finite = height[np.isfinite(height)]
    top = np.ceil((finite.max() if len(finite) else 4.0) + 3.0)
    levels = np.linspace(0.0, top, int(min(top, 12)) + 1)
    filled = ax.contourf(
        chain["grid_x"].values, chain["grid_y"].values, potential, levels=levels, cmap=SURFACE, extend="max"
    )
    ax.contour(
        chain["grid_x"].values,
        chain["grid_y"].values,
        potential,
        levels=levels,
        colors=PAPER_EDGE,
        linewidths=0.4,
        alpha=0.6,
    )
    visited = _visited(idata, best)
    ax.plot(visited[:, 0], visited[:, 1], ",", color=PAPER_EDGE, alpha=0.8, rasterized=True)
    minimum = (
        group(idata, "states", "minimum")["minimum"].isel(chain=best).transpose("state", "latent_dim").values
    )
    for i, label in enumerate(labels):
        if np.isfinite(minimum[i]).all():
            look = state_look(i)
            badge = {
                "boxstyle": "circle,pad=0.25",
                "facecolor": PAPER_EDGE,
                "edgecolor": look.colour,
                "linewidth": 2.0,
            }
            ax.text(
                float(minimum[i, 0]),
                float(minimum[i, 1]),
                label,
                ha="center",
                va="center",
                fontweight="bold",
                color=INK,
                bbox=badge,
                zorder=5,
            )
    ax.figure.colorbar(filled, ax=ax, label="potential (kT)")
    ax.set_xlabel("latent coordinate 1")
    ax.set_ylabel("latent coordinate 2")
    return ax


def _visited(idata: Draws, chain: int) -> np.ndarray:
    """Points of the posterior paths of one seed, (point, 2), evenly through draws, series and times."""
    posterior = group(idata, "posterior")
    if "z" not in posterior:  # draws may be kept without their paths
        return np.empty((0, 2))
    z = posterior["z"].isel(chain=chain)
    z = z.isel(draw=np.unique(np.linspace(0, z.sizes["draw"] - 1, DRAWS).astype(int)))
    points = z.transpose(..., "latent_dim").values.reshape(-1, 2)
    points = points[np.isfinite(points).all(1)]
    shown: np.ndarray = points[np.linspace(0, len(points) - 1, min(VISITED, len(points))).astype(int)]
    return shown
