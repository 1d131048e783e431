"""The learned potential on a plane."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from pyro_langevin.diagnostics.layout import Draws, group, state_labels
from pyro_langevin.plots.canvas import halo
from pyro_langevin.plots.palette import INK, PAPER_EDGE, SURFACE
from pyro_langevin.plots.plane import Plane, plane_of

__all__ = ["draw_plane", "highest_level"]

_WAY = ("path", "saddle")
_ALONG, _UP = {-1.0: "right", 0.0: "center", 1.0: "left"}, {-1.0: "top", 0.0: "center", 1.0: "bottom"}
_MIDDLE = 0.1  # of the states' extent: a saddle so near to their middle has no side


def draw_plane(idata: Draws, landscape: xr.Dataset, ax: Axes) -> Axes:
    """Contours of the seed with the best ELBO, its minima, saddles and paths, and points of its posterior paths."""
    plane = plane_of(idata, landscape)
    top = highest_level(idata, plane)
    levels = np.linspace(0.0, top, int(min(top, 12)) + 1)
    filled = ax.contourf(plane.x, plane.y, plane.potential, levels=levels, cmap=SURFACE, extend="max")
    ax.contour(
        plane.x, plane.y, plane.potential, levels=levels, colors=PAPER_EDGE, linewidths=0.4, alpha=0.6
    )
    visited = plane.visited(idata)
    ax.plot(visited[:, 0], visited[:, 1], ",", color=PAPER_EDGE, alpha=0.8, rasterized=True)
    _paths(idata, ax, plane)
    plane.badges(ax, state_labels(idata))
    ax.set_xlim(plane.x[0], plane.x[-1])
    ax.set_ylim(plane.y[0], plane.y[-1])
    ax.figure.colorbar(filled, ax=ax, label="potential (kT)")
    ax.set_xlabel(plane.labels[0])
    ax.set_ylabel(plane.labels[1])
    return ax


def highest_level(idata: Draws, plane: Plane) -> float:
    """Highest level: three kT above the highest pass between neighbours, where there is one."""
    states = group(idata, "states", "beta_barrier", "beta_energy").isel(chain=plane.chain)
    energy = states["beta_energy"].values
    height = states["beta_barrier"].transpose("state_from", "state_to").values + (energy - np.nanmin(energy))[:, None]
    finite = height[np.isfinite(height)]
    return float(np.ceil((finite.max() if len(finite) else 4.0) + 3.0))


def _heights(states: xr.Dataset) -> np.ndarray:
    """Height of the pass between two states above the lowest minimum, (state_from, state_to), kT.

    NaN where the lowest way does not lead over the states' own saddle, which is then higher by an unknown amount. The
    images of a path lie beside its top; the lowest way is known exactly, and is no higher than the pass it leads over.
    """
    path, saddle = (states[name].transpose("state_from", "state_to", ..., "latent_dim").values for name in _WAY)
    spacing = np.linalg.norm(np.diff(path, axis=2), axis=-1).max(-1)
    over = np.linalg.norm(path - saddle[:, :, None], axis=-1).min(-1) <= spacing  # false for NaN
    if "path_beta_energy" not in states:
        return np.full(over.shape, np.nan)
    lowest = states["beta_barrier"].transpose("state_from", "state_to").values + states["beta_energy"].values[:, None]
    lowest = lowest - np.nanmin(states["beta_energy"].values)
    seen = states["path_beta_energy"].transpose("state_from", "state_to", "image").max("image").values
    return np.asarray(np.where(over & np.isfinite(seen), np.fmax(seen, lowest), np.nan))


def _paths(idata: Draws, ax: Axes, plane: Plane) -> None:
    """Minimum-energy paths between adjacent states, with their saddles and the heights of these."""
    states = group(idata, "states").isel(chain=plane.chain)
    if "path" not in states or "saddle" not in states:
        return
    path = plane.project(states["path"].transpose("state_from", "state_to", "image", "latent_dim").values)
    saddle = plane.project(states["saddle"].transpose("state_from", "state_to", "latent_dim").values)
    known = plane.minimum[np.isfinite(plane.minimum).all(-1)]
    height = _heights(states)
    # Path and saddle of a pair are the same both ways round: one of the two is drawn.
    for i in range(len(path)):
        for j in range(i + 1, len(path)):
            one, other = (i, j) if np.isfinite(saddle[i, j]).all() else (j, i)
            if not np.isfinite(saddle[one, other]).all():
                continue
            # Seen in a cut, the path leaves the plane: broken, as its colours are not those of its heights.
            line = path[one, other].T
            ax.plot(*line, color=PAPER_EDGE, linewidth=3.2, zorder=3.9)
            ax.plot(*line, color=INK, linewidth=1.5, linestyle=(0, (5, 2)) if plane.cut else "-", zorder=4)
            ax.plot(
                *saddle[one, other], marker="X", color=INK, markersize=8, markeredgecolor=PAPER_EDGE, zorder=5
            )
            if np.isfinite(height[one, other]):
                right, up = _outwards(saddle[one, other], known)
                ax.annotate(
                    f"{height[one, other]:.1f} kT", saddle[one, other], xytext=(9 * right, 9 * up),
                    textcoords="offset points", ha=_ALONG[np.sign(right)], va=_UP[np.sign(up)], fontsize="small",
                    color=INK, path_effects=halo(), zorder=6, annotation_clip=True,
                )


def _outwards(point: np.ndarray, known: np.ndarray) -> np.ndarray:
    """On which side of a point to write, right or left and above or below: away from the middle of the states."""
    away = (point - known.mean(0)) / np.ptp(known, axis=0).max()
    if np.linalg.norm(away) < _MIDDLE:
        return np.array([0.0, 1.0])
    return np.asarray(np.where(abs(away) < 0.4 * abs(away).max(), 0.0, np.sign(away)))
